-- What predicates mean: @@, matches, next_change, periods, occurrences and explain, case by case. Each block says what is
-- shown; predicates stand behind their answers. The independent oracle in test/pgtap has the random cases.
SET search_path = crm, public;
SET DateStyle = ISO;
SET TimeZone = 'UTC';
SET crm_marketing.now = '2026-03-15 09:00:00+00';
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- The answers of one profile at one instant
CREATE FUNCTION public.ask(profile crm.profile, VARIADIC predicates text[]) RETURNS SETOF text
	LANGUAGE sql AS $function$
	SELECT concat(crm.matches(profile, p::crm.predicate), ' ', p) FROM unnest(predicates) WITH ORDINALITY u (p, n) ORDER BY n
$function$;

-- When a predicate is true, in local time. That at both ends, and a microsecond to either side, matches() and next_change()
-- say the same is checked on the way.
CREATE FUNCTION public.spans(profile crm.profile, zone text, VARIADIC predicates text[]) RETURNS SETOF text
	LANGUAGE plpgsql SET TimeZone FROM CURRENT AS $function$
DECLARE
	low CONSTANT timestamptz := '2015-01-01Z';
	high CONSTANT timestamptz := '2035-01-01Z';
	predicate text;
	whole tstzmultirange;
	one tstzrange;
	at timestamptz;
	next timestamptz;
	shown text;
BEGIN
	PERFORM set_config('TimeZone', zone, true);
	FOREACH predicate IN ARRAY predicates LOOP
		whole := crm.periods(profile, predicate::crm.predicate, low, high, '2026-03-14 10:00Z', zone);
		FOR one IN SELECT unnest(whole) LOOP
			FOREACH at IN ARRAY ARRAY[lower(one) - interval '1 us', lower(one), upper(one) - interval '1 us', upper(one)] LOOP
				CONTINUE WHEN at < low OR at >= high;
				IF crm.matches(profile, predicate::crm.predicate, at, '2026-03-14 10:00Z', zone) <> (whole @> at) THEN
					RAISE EXCEPTION '% at % against %', predicate, at, whole;
				END IF;
				next := crm.next_change(profile, predicate::crm.predicate, at, '2026-03-14 10:00Z', zone);
				IF next < high AND (whole @> next) = (whole @> at) AND next - at < interval '10 years' OR
					EXISTS (SELECT FROM unnest(whole) r WHERE lower(r) > at AND lower(r) < next OR upper(r) > at AND upper(r) < least(next, high))
				THEN
					RAISE EXCEPTION '% changes at % after % against %', predicate, next, at, whole;
				END IF;
			END LOOP;
		END LOOP;
		shown := replace(replace(replace(whole::text, '"', ''), to_char(low, 'YYYY-MM-DD HH24:MI:SSOF'), 'ever'), to_char(high, 'YYYY-MM-DD HH24:MI:SSOF'), 'ever');
		RETURN NEXT predicate || E'\n    ' || shown;
	END LOOP;
END
$function$;

-- The unknown: a comparison with it is false, and "not" is all others
SELECT public.ask('{"attributes": {"city": "Moscow", "n": 5, "flag": true, "d": "2026-03-15"}}',
	'x = 1', 'x <> 1', 'not x = 1', 'x < 5', 'not x < 5', 'x >= 5', 'x = x', 'x <> x', 'x <> y', 'x in (1)', 'x not in (1)', 'x like ''%''', 'x not like ''%''',
	'x between 1 and 5', 'x not between 1 and 5', 'x contains 1', 'x not contains 1', 'x today', 'x not today', 'x is known', 'x is not known', 'city <> ''Tver''', 'city <> ''Moscow''',
	'not (x = 1 and city = ''Moscow'')', 'not (x = 1 or city = ''Tver'')');
-- so do values of another type
SELECT public.ask('{"attributes": {"city": "Moscow", "n": 5, "flag": true, "d": "2026-03-15", "a": [1, 2]}}',
	'n = ''5''', 'n <> ''5''', 'city > 5', 'city < 5', 'flag = 1', 'flag = ''true''', 'flag = true', 'flag <> true', 'n = d', 'a = 1', 'a contains 1', 'n contains 5', 'city contains ''Mos''',
	'n like ''5''', 'd = ''2026-03-15''', 'd like ''2026%''', 'city today', 'n + city = 5', 'n + flag > 0', '-city = 1', 'city is known', 'n + city is known');
-- and of events: of nothing count, sum, distinct and most are 0, the others unknown
SELECT public.ask('{"events": []}', 'count(order) = 0', 'sum(order.amount) = 0', 'distinct(order.item) = 0', 'most(order.item) = 0', 'avg(order.amount) is known', 'avg(order.amount) = 0',
	'min(order.amount) is known', 'max(order.amount) is known', 'mode(order.item) is known', 'first(order) is known', 'last(order) is known', 'first(order.amount) is known', 'last(order.amount) is known',
	'last(order.status) <> ''done''', 'not last(order.status) = ''done''', 'last(order) not in last 3 days', 'first(order) < ''2030-01-01''', 'has order', 'no order', 'count(order) + 1 = 1', 'avg(order.amount) + 1 is known');
-- unknown and ill-typed values are skipped, save by first and last
SELECT public.ask('{"events": [{"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 1}, {"kind": "o", "at": "2026-01-02T00:00:00Z", "v": "x"}, {"kind": "o", "at": "2026-01-03T00:00:00Z", "v": 5},
	{"kind": "o", "at": "2026-01-04T00:00:00Z"}]}', 'count(o) = 4', 'sum(o.v) = 6', 'avg(o.v) = 3', 'min(o.v) = 1', 'max(o.v) = 5', 'first(o.v) = 1', 'last(o.v) = 5', 'last(o.v) is known',
	'last(o[v is known].v) = 5', 'distinct(o.v) = 3', 'has o[v = ''x'']', 'count(o[v > 1]) = 1', 'count(o[not v > 1]) = 3', 'sum(o.nothing) = 0', 'avg(o.nothing) is known');

-- Several events at one instant: first takes the least, last the greatest value; mode of equals the latest seen, then the least
SELECT public.ask('{"events": [{"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 2, "s": "b"}, {"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 1, "s": "c"}, {"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 3, "s": "a"},
	{"kind": "o", "at": "2026-01-02T00:00:00Z", "v": 9, "s": "c"}, {"kind": "o", "at": "2026-01-02T00:00:00Z", "v": 8, "s": "d"}]}',
	'first(o.v) = 1', 'last(o.v) = 9', 'first(o.s) = ''a''', 'last(o.s) = ''d''', 'mode(o.s) = ''c''', 'most(o.s) = 2', 'mode(o.v) = 8', 'most(o.v) = 1', 'distinct(o.s) = 4', 'first(o) = last(o)',
	'first(o) = ''2026-01-01T00:00:00Z''', 'last(o) = ''2026-01-02 00:00''', 'last(o[v < 9].v) = 8', 'last(o.v before ''2026-01-02'') = 3');
SELECT public.ask('{"events": [{"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 2, "s": "b"}, {"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 1, "s": "c"}, {"kind": "o", "at": "2026-01-01T00:00:00Z", "v": 3, "s": "a"}]}',
	'first(o.v) = 1', 'last(o.v) = 3', 'mode(o.s) = ''a''');

-- Arithmetic is numeric's, to the digit. Each expression is calculated by both; the result is shown and compared as text.
CREATE FUNCTION public.calculate(VARIADIC expressions text[]) RETURNS TABLE (expression text, "numeric" text, same boolean)
	LANGUAGE plpgsql AS $function$
BEGIN
	FOREACH expression IN ARRAY expressions LOOP
		EXECUTE 'SELECT (' || expression || ')::text FROM (VALUES (1.10, 3.0, 7::numeric, 123456789012345678901234567890.5, 0.000000000000000000001)) v (a, b, c, big, tiny)' INTO "numeric";
		SELECT x.value = "numeric" INTO same FROM crm.explain('{"attributes": {"a": 1.10, "b": 3.0, "c": 7, "big": 123456789012345678901234567890.5, "tiny": 0.000000000000000000001}}',
			(expression || ' > 0')::crm.predicate) x WHERE x.text = (SELECT regexp_replace((expression || ' > 0')::crm.predicate::text, ' > 0$', ''));
		"numeric" := left("numeric", 60);
		RETURN NEXT;
	END LOOP;
END
$function$;
SELECT * FROM public.calculate('a + b', 'a - b', 'a * b', 'a / b', 'b / c', 'c / b', '-a', 'a + b * c', '(a + b) * c', 'a - b - c', 'a / b / c', 'big + a', 'big * big', 'big / b', 'tiny * tiny', 'a / tiny', 'big - big',
	'c / 2', '3 / 2.0', 'a * 9223372036854775807', '9223372036854775807 + c', '-9223372036854775807 - c', 'c * 0.5', 'a + 0.005', 'a - tiny');
SELECT public.ask('{"attributes": {"n": 5, "zero": 0, "huge": 1e131071}}', '3 / 2 = 1.5', '1 / 3 = 0.33333333333333333333', '0.1 + 0.2 = 0.3', '1.0 = 1.00', 'n = 5.000', '10 / 4 * 2 = 5', '2 + 3 * 4 = 14', '-n < 0', '-(-n) = n',
	'n / zero = 0', 'n / zero is known', 'not n / zero > 1', 'zero / zero is known', 'huge * huge is known', 'huge * huge > 0', 'huge - huge = 0', 'huge + huge is known', 'huge > n', '-huge < n', '-0 = 0');
SELECT public.ask(profile_agg('customer', NULL, c), 'nan is known', 'nan = nan', 'nan <> 1', 'inf > 5', 'inf is known', 'x = 5') FROM (SELECT 'NaN'::numeric AS nan, 'Infinity'::numeric AS inf, 5 AS x) c;

-- sums of several windows share running sums; each is as if asked alone
SELECT x.text, x.value, x.value IS NOT DISTINCT FROM a.value AS same
FROM (SELECT n, format('{"events": [%s]}', string_agg(format('{"kind": "o", "at": "2026-03-%s", "v": %s}', lpad(d::text, 2, '0') || 'T09:00:00Z', v), ',' ORDER BY d))::profile AS p
	FROM (VALUES (1, '{1.10,2.25,-3.00,1000000.99}'::numeric[]), (2, '{1.1,2.25,-3,0.001}'), (3, '{9223372036854775807,1,9223372036854775807,5}'), (4, '{0.00,0.00,0.00,0.00}')) s (n, vs), unnest(vs) WITH ORDINALITY u (v, d0), LATERAL (SELECT d0 + 9) t (d) GROUP BY n) s,
	explain(p, 'sum(o.v in last 3 days) > 0 and sum(o.v in last 5 days) > 0 and avg(o.v in last 5 days) > 0 and avg(o.v before 3 days ago) > 0 and sum(o.v in last 1 hour) = 0 and avg(o.v in last 1 hour) is known', '2026-03-15Z') x,
	explain(p, (x.text || ' is known')::predicate, '2026-03-15Z') a
WHERE x.depth = 2 AND a.depth = 1 ORDER BY n, x.text COLLATE "C";
-- values of other types
SELECT public.ask('{"events": [{"kind": "o", "at": "2026-01-01T00:00:00Z", "d": "2026-02-01", "t": "2026-02-01T10:00:00Z", "b": true, "m": "2026-02-01"}, {"kind": "o", "at": "2026-01-02T00:00:00Z", "d": "2026-01-01", "t": "2026-03-01T00:00:00Z", "b": false, "m": "2026-02-01T00:00:00Z"}, {"kind": "o", "at": "2026-01-03T00:00:00Z", "b": false, "a": [1]}]}',
	'max(o.d) = ''2026-02-01''', 'min(o.d) = ''2026-01-01''', 'max(o.t) = ''2026-03-01T00:00:00Z''', 'min(o.t) before 1 month ago', 'mode(o.b) = false', 'most(o.b) = 2', 'distinct(o.b) = 2', 'distinct(o.d) = 2', 'sum(o.d) = 0', 'avg(o.b) is known', 'max(o.b) is known', 'max(o.a) is known', 'last(o.a) contains 1', 'first(o.t) > last(o.d)', 'distinct(o.m) = 1',
	'max(o.d) today', 'max(o.d) in last 2 months', 'count(o[d = m]) = 1', 'has o[d in (''2026-02-01'')]', 'has o[t in (''2026-02-01T13:00:00+03'')]', 'count(o[t >= ''2026-02-01'']) = 2', 'count(o[t <= ''2026-02-01 10:00'']) = 1', 'count(o[b = true]) = 1', 'count(o[not b = true]) = 2');
-- in brackets: arithmetic, windows, anniversaries
SELECT public.ask('{"attributes": {"k": 2}, "events": [{"kind": "o", "at": "2026-03-13T00:00:00Z", "v": 1, "w": 2.5, "born": "2000-03-15"}, {"kind": "o", "at": "2026-03-14T12:00:00Z", "v": 4, "born": "2001-03-16", "kids": ["2010-05-05", "2012-03-15"]}]}',
	'count(o[v * 2 >= 8]) = 1', 'count(o[v + w = 3.5]) = 1', 'count(o[-v < -2]) = 1', 'count(o[v <= 1]) = 1', 'count(o[v <> 1]) = 1', 'count(o[w <> 1]) = 2', 'count(o[v / 0 is known]) = 0', 'count(o[v * customer.k = 8]) = 1', 'count(o[true]) = 2', 'count(o[false]) = 0', 'count(o[v between 1 and 4]) = 2',
	'count(o[at in last 1 day]) = 1', 'count(o[at + 2 days in last 1 hour]) = 0', 'count(o[at - 1 day before 2 days ago]) = 1', 'count(o[at + 1 day < ''2026-03-15'']) = 1', 'count(o[anniversary(born) today]) = 1', 'count(o[anniversary(born) - 1 day today]) = 1', 'count(o[anniversary(kids) today]) = 1', 'count(o[anniversary(born + 1 day) today]) = 1',
	'count(o[anniversary(born - 1 day) + 1 day tomorrow]) = 1', 'count(o[v in (1, 5)]) = 1', 'count(o[v not in (1, 5)]) = 1', 'count(o[date = ''2026-03-14'']) = 1');

-- Text goes by bytes; patterns
SELECT public.ask('{"attributes": {"city": "Moscow", "empty": "", "pct": "100%", "under": "a_b", "back": "a\\b", "ru": "Москва", "z": "Z"}}', 'city = ''Moscow''', 'city = ''moscow''', 'city < ''a''', 'ru > ''z''', 'z < ''a''', 'empty = ''''', 'empty < ''a''',
	'city like ''Mos%''', 'city like ''mos%''', 'city ilike ''mos%''', 'city like ''M_scow''', 'city like ''M__cow''', 'city like ''Mos''', 'city like ''%''', 'empty like ''''', 'empty like ''%''', 'empty like ''_''', 'pct like ''100\%''', 'city like ''100\%''', 'pct like ''1%\%''',
	'under like ''a\_b''', 'back like ''a\\b''', 'ru like ''М_____''', 'ru like ''М%а''', 'city not like ''Mos%''', 'city in (''Moscow'', ''Tver'')', 'city in (''moscow'')', 'city not in (''Moscow'')', 'city between ''A'' and ''Z''', 'city between ''N'' and ''Z''');
-- contains
SELECT public.ask('{"attributes": {"tags": ["a", "b"], "n": [1, 2.50], "d": ["2026-01-05"], "none": [], "t": [true]}}', 'tags contains ''a''', 'tags contains ''A''', 'tags contains any (''x'', ''b'')', 'tags contains any (''x'')', 'tags contains all (''a'', ''b'')',
	'tags contains all (''a'', ''x'')', 'n contains 2.5', 'n contains ''1''', 'd contains ''2026-01-05''', 'none contains ''a''', 'none not contains ''a''', 'none is known', 'tags contains 1', 't contains true', 'tags contains all (''a'', ''a'')', 'missing contains ''a''', 'missing not contains ''a''');
-- moments against dates: a date is the first instant of its day, in the zone
SELECT zone, public.ask_in FROM (VALUES ('UTC'), ('Europe/Moscow'), ('America/New_York')) z (zone), LATERAL (SELECT string_agg(concat(matches('{"attributes": {"d": "2026-03-15", "s": "2026-03-15T02:00:00Z"}}', p::predicate, zone => z.zone), ' ', p), ', ' ORDER BY n) AS ask_in
	FROM unnest(ARRAY['s >= ''2026-03-15''', 's < ''2026-03-15''', 's between ''2026-03-15'' and ''2026-03-16''', 's < ''2026-03-15 03:00''', 's = ''2026-03-15T05:00:00+03''', 'd = ''2026-03-15''', 'd < s', 'd >= ''2026-03-15 00:00''', 's + 1 day > ''2026-03-16''']) WITH ORDINALITY u (p, n)) public;

-- The table of windows, for an event at noon of 15 March and a date, 20 March, in Moscow; the entry is 14 March, 13:00
SELECT public.spans('{"attributes": {"due": "2026-03-20"}, "events": [{"kind": "order", "at": "2026-03-15T09:00:00Z"}]}', 'Europe/Moscow', p, replace(p, 'has order', 'due'))
FROM unnest(ARRAY['has order', 'has order in last 3 days', 'has order in last 36 hours', 'has order in last 1 month', 'has order before 3 days ago', 'has order between 3 days and 5 days ago', 'has order in next 3 days',
	'has order today', 'has order yesterday', 'has order tomorrow', 'has order this hour', 'has order this week', 'has order this month', 'has order this quarter', 'has order this year', 'has order previous week', 'has order previous month',
	'has order previous 3 months', 'has order previous 1 quarter', 'has order previous 2 years', 'has order previous 2 hours', 'has order since ''2026-03-15''', 'has order since ''2026-03-15 12:00''', 'has order since ''2026-03-15 12:00:01''', 'has order before ''2026-03-15 12:00''',
	'has order before ''2026-03-15 12:00:01''', 'has order between ''2026-03-15'' and ''2026-03-16''', 'has order between ''2026-03-14'' and ''2026-03-15''', 'has order since entry']) p
WHERE p <> 'has order';
SELECT public.spans('{"attributes": {"due": "2026-03-20"}, "events": [{"kind": "order", "at": "2026-03-15T09:00:00Z"}, {"kind": "order", "at": "2026-03-14T10:00:00Z"}]}', 'Europe/Moscow', 'has order', 'no order', 'no order in last 3 days', 'count(order) = 2', 'count(order since entry) = 1',
	'count(order in next 2 days) = 2', 'sum(order.hour in last 1 day) = 25', 'first(order) in last 1 day', 'last(order) in last 1 day', 'last(order) before 1 day ago', 'last(order) + 1 day in next 1 hour', 'due - 2 days today', 'due not today', 'due in next 3 days and has order in last 4 days',
	'''2026-03-17'' today', '''2026-03-17 18:00'' in last 1 hour', 'true', 'false', 'due in last 10 years');

-- Months clip at their ends, and are not monotone
SELECT public.spans(format('{"events": [{"kind": "o", "at": "%s"}]}', at)::profile, 'UTC', 'has o in last 1 month', 'has o before 1 month ago', 'has o between 1 month and 1 month 1 day ago', 'has o in next 1 month')
FROM unnest('{2026-01-30T12:00:00Z,2026-01-31T00:00:00Z,2026-01-31T12:00:00Z,2024-01-31T12:00:00Z}'::text[]) at;
SELECT public.spans('{"events": [{"kind": "o", "at": "2026-01-30T12:00:00Z"}, {"kind": "o", "at": "2026-01-31T00:00:00Z"}]}', 'UTC', 'count(o in last 1 month) = 2', 'count(o in last 1 month) = 1', 'last(o) in last 1 month', 'last(o.day in last 1 month) = 30', 'last(o.day in last 1 month) = 31');
SELECT public.spans('{"events": [{"kind": "o", "at": "2024-02-29T12:00:00Z"}]}', 'UTC', 'has o in last 1 year', 'has o in last 4 years', 'has o before 12 months ago', 'has o in next 1 year', 'has o previous year');
-- an event for which the bounds cross is in no such window: 31 January plus a month is 28 February, plus 29 days 1 March
SELECT public.spans('{"events": [{"kind": "o", "at": "2026-01-31T00:00:00Z"}]}', 'UTC', 'has o between 29 days and 1 month ago', 'has o between 27 days and 1 month ago');

-- DST: in Berlin 29 March has 23 hours and 25 October has 25; days and hours differ
SELECT public.spans(format('{"events": [{"kind": "o", "at": "%s"}]}', at)::profile, 'Europe/Berlin', 'has o in last 1 day', 'has o in last 24 hours', 'has o today', 'has o this hour', 'has o yesterday')
FROM unnest('{2026-03-28T01:30:00Z,2026-03-29T00:30:00Z,2026-03-29T01:30:00Z,2026-10-24T00:30:00Z,2026-10-25T00:30:00Z,2026-10-25T01:30:00Z}'::text[]) at;
-- the local day begins at its first instant: in Havana midnight of 8 March 2026 does not exist. Apia had no 30 December 2011
SELECT public.spans('{"attributes": {"d": "2026-03-08"}}', 'America/Havana', 'd today', 'd tomorrow', 'd since ''2026-03-08''', 'd in next 1 day');
SELECT matches('{"attributes": {"d": "2011-12-30"}}', 'd today', at, NULL, 'Pacific/Apia'), periods('{"attributes": {"d": "2011-12-30"}}', 'd today', '2011-12-01Z', '2012-02-01Z', NULL, 'Pacific/Apia'),
	periods('{"attributes": {"d": "2011-12-29"}}', 'd yesterday', '2011-12-01Z', '2012-02-01Z', NULL, 'Pacific/Apia') FROM (VALUES (timestamptz '2011-12-30 12:00Z')) v (at);
-- months and then many hours: months land on the day of the change, far from both ends; an event is in a window when its instant is
SELECT w, count(*), count(*) FILTER (WHERE matches(p, ('has o ' || w)::predicate, at, NULL, 'Europe/Berlin')) AS by_event, count(*) FILTER (WHERE matches(p, ('s ' || w)::predicate, at, NULL, 'Europe/Berlin')) AS by_moment
FROM (VALUES ('in next 1 month 300 hours', '2026-04-29Z'::timestamptz, '2026-03-16 12:00Z'::timestamptz), ('in last 2 months 300 hours', '2026-01-28 23:00Z', '2026-04-10 12:00Z'), ('before 2 months 300 hours ago', '2026-01-28 23:00Z', '2026-04-10 12:00Z'), ('in last 1 month 300 hours', '2026-09-24 22:00Z', '2026-11-06 12:00Z')) v (w, s, t),
	generate_series(s, s + interval '5 hours', interval '10 minutes') event, generate_series(t, t + interval '3 hours', interval '15 minutes') at,
	LATERAL format('{"attributes": {"s": "%1$s"}, "events": [{"kind": "o", "at": "%1$s"}]}', to_char(event AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) j, LATERAL (SELECT j::profile AS p) x GROUP BY w, s ORDER BY w, s;

-- What every event has of its own, in local time
SELECT zone, matches('{"events": [{"kind": "o", "at": "2026-12-31T22:30:00Z"}]}', p::predicate, '2027-02-01Z', NULL, zone), p FROM (VALUES ('UTC'), ('Europe/Moscow')) z (zone), unnest(ARRAY['has o[hour = 22 and weekday = 4 and day = 31 and week = 53 and month = 12 and year = 2026]',
	'has o[hour = 1 and weekday = 5 and day = 1 and week = 53 and month = 1 and year = 2027]', 'has o[date = ''2026-12-31'' and week_of = ''2026-12-28'' and month_of = ''2026-12-01'']', 'has o[date = ''2027-01-01'' and week_of = ''2026-12-28'' and month_of = ''2027-01-01'']',
	'has o[at = ''2026-12-31T22:30:00Z'']', 'has o[at since ''2027-01-01'']', 'max(o.hour) = 22', 'has o[date yesterday]', 'distinct(o.month_of previous 1 month) = 1']) p ORDER BY zone, p COLLATE "C";

-- Anniversaries: whole years after, counted from the original day; 29 February is 28 February in common years
SELECT periods(p, q::predicate, '2023-01-01Z', '2029-01-01Z', NULL, 'UTC'), q FROM (VALUES ('{"attributes": {"b": "2020-02-29"}}'::profile)) v (p), unnest(ARRAY['anniversary(b) today', 'anniversary(b) tomorrow', 'anniversary(b) in next 1 day', 'anniversary(b) - 1 day today', 'anniversary(b - 1 day) today']) q;
SELECT periods(p, q::predicate, '2025-11-01Z', '2027-03-01Z', NULL, 'Europe/Moscow'), q FROM (VALUES ('{"attributes": {"b": "1990-01-03", "at": "1990-01-03T20:59:59Z"}}'::profile)) v (p), unnest(ARRAY['anniversary(b) in next 30 days', 'anniversary(b) in last 1 week', 'anniversary(b) this month', 'anniversary(b) previous month', 'anniversary(b) not in next 10 months',
	'anniversary("at") today']) q;
-- none on the day itself, one a year later; of an array of dates any; of an event; none of what is no date
SELECT periods(p, q::predicate, '2024-01-01Z', '2027-01-01Z', NULL, 'UTC'), q FROM (VALUES ('{"attributes": {"joined": "2025-05-01", "children": ["2015-01-10", "2018-07-20"], "city": "x", "ahead": "2026-05-01", "none": []}, "events": [{"kind": "order", "at": "2024-09-09T10:00:00Z"}]}'::profile)) v (p),
	unnest(ARRAY['anniversary(joined) today', 'anniversary(children) today', 'anniversary(children) in next 2 days', 'anniversary(first(order)) today', 'anniversary(city) today', 'anniversary(missing) today', 'anniversary(none) today', 'anniversary(ahead) today', 'anniversary(''2020-12-31'') today']) q;
SELECT public.ask('{"attributes": {"b": "1990-03-15"}}', 'anniversary(b) today', 'anniversary(b) not today', 'not anniversary(b) tomorrow', 'anniversary(b) in last 3 days', 'anniversary(b) since ''2026-03-15''', 'anniversary(b) since ''2090-01-01''', 'anniversary(b) before ''1991-01-01''', 'anniversary(b) before ''1992-01-01''');

-- bucket: stable, by id and salt, 0 to 99
SELECT id, b FROM unnest('{1,2,3,42,-7,9223372036854775807}'::bigint[]) id, LATERAL (SELECT string_agg(x.value, ',') AS b FROM unnest('{spring,autumn}'::text[]) s, explain(format('{"customer": %s}', id)::profile, format('bucket(%L) < 50', s)::predicate) x WHERE x.value IS NOT NULL) e;
SELECT count(*) BETWEEN 450 AND 550 FROM generate_series(1, 1000) id WHERE matches(format('{"customer": %s}', id)::profile, 'bucket(''a/b'') < 50');
SELECT public.ask('{"attributes": {"city": "x"}}', 'bucket(''x'') < 50', 'bucket(''x'') >= 50', 'bucket(''x'') is known');

-- Events that follow. Undecided is neither true nor false, and "not" leaves it so.
SELECT public.spans(p, 'UTC', 'has cart[followed by order within 1 hour]', 'has cart[not followed by order within 1 hour]', 'has cart[followed by order]', 'has cart[not followed by order]', 'has cart[not followed by order within 1 hour] in last 1 day',
	'has cart[followed by order within 1 hour or item = ''a'']', 'has cart[followed by order within 1 hour and item = ''b'']', 'has cart[not (followed by order within 1 hour and item = ''b'')]', 'count(cart[not followed by order within 1 hour]) = 0')
FROM (VALUES ('{"events": [{"kind": "cart", "at": "2026-03-10T10:00:00Z", "item": "a"}]}'::profile), ('{"events": [{"kind": "cart", "at": "2026-03-10T10:00:00Z", "item": "a"}, {"kind": "order", "at": "2026-03-10T11:00:00Z"}]}'),
	('{"events": [{"kind": "cart", "at": "2026-03-10T10:00:00Z", "item": "a"}, {"kind": "order", "at": "2026-03-10T11:00:00.000001Z"}]}'), ('{"events": [{"kind": "cart", "at": "2026-03-10T10:00:00Z", "item": "a"}, {"kind": "order", "at": "2026-03-10T10:00:00Z"}]}')) v (p);
-- preceded by, the same kind strictly later or earlier, same, nesting, filters of what follows
SELECT public.spans('{"attributes": {"fav": "b"}, "events": [{"kind": "view", "at": "2026-03-10T09:00:00Z", "item": "a"}, {"kind": "view", "at": "2026-03-10T10:00:00Z", "item": "b"}, {"kind": "view", "at": "2026-03-10T10:00:00Z", "item": "c"}, {"kind": "order", "at": "2026-03-10T10:30:00Z", "item": "b"}, {"kind": "refund", "at": "2026-03-12T00:00:00Z", "item": "b"}]}',
	'UTC', 'has order[preceded by view within 30 minutes]', 'has order[preceded by view within 29 minutes]', 'has order[preceded by view[item = ''a''] within 2 hours]', 'has order[not preceded by view[same item]]', 'count(view[followed by view]) = 1', 'count(view[preceded by view]) = 2', 'has view[followed by view within 30 minutes]',
	'count(view[followed by order[same item]]) = 1', 'has view[item = ''a'' and followed by order[same item] within 1 day]', 'has view[item = ''a'' and not followed by order[same item] within 1 day]', 'has view[followed by order[same item and not followed by refund[same item] within 7 days]]',
	'has view[followed by order[followed by refund[same item]]]', 'has order[item = customer.fav]', 'has view[followed by order[item = customer.fav] within 1 hour]', 'has order[same_item = 1]', 'has view[followed by order[same nothing]]', 'has view[followed by order within 1 hour] in last 2 hours',
	'first(view[not followed by order within 1 hour]) is known', 'has view[at in last 1 hour and followed by order]', 'has view[followed by order[at in last 1 hour]]');

-- since entry wants an entry; in segment wants to be resolved; both are errors, also where the answer is clear without
SELECT matches('{"events": [{"kind": "o", "at": "2026-03-14T10:00:00Z"}, {"kind": "o", "at": "2026-03-14T10:00:01Z"}]}', 'count(o since entry) = 1', '2026-03-15Z', '2026-03-14 10:00Z');
SELECT matches('{}', 'has o since entry');
SELECT '{}'::profile @@ 'x since entry';
SELECT next_change('{}', 'has o since entry');
SELECT periods('{}', 'has o since entry', '2026-01-01Z', '2026-02-01Z');
SELECT * FROM occurrences('{}', 'has o since entry', '2026-01-01Z', '2026-02-01Z');
SELECT * FROM occurrences('{}', 'no o since entry', '2026-01-01Z', '2026-02-01Z');
SELECT * FROM explain('{}'::profile, 'has o since entry');
SELECT matches('{}', 'false and has o since entry');
SELECT matches('{}', 'in segment ''vip''');
SELECT matches('{}', 'not in segment 4');
SELECT '{}'::profile @@ 'false and in segment ''vip''';
SELECT * FROM explain('{}'::profile, 'in segment ''vip''');

-- NULL arguments, bad zones, bad ranges, infinite instants
SELECT matches(NULL, 'true') IS NULL, matches('{}', NULL) IS NULL, matches('{}', 'true', NULL) IS NULL, matches('{}', 'true', zone => NULL) IS NULL, matches('{}', 'true', '2026-01-01Z', NULL), NULL::profile @@ 'true' IS NULL, ('{}'::profile @@ NULL) IS NULL;
SELECT next_change(NULL, 'true') IS NULL, next_change('{}', NULL) IS NULL, next_change('{}', 'true', NULL) IS NULL, next_change('{}', 'true', zone => NULL) IS NULL;
SELECT periods(NULL, 'true', '2026-01-01Z', '2026-01-02Z') IS NULL, periods('{}', NULL, '2026-01-01Z', '2026-01-02Z') IS NULL, periods('{}', 'true', NULL, '2026-01-02Z') IS NULL, periods('{}', 'true', '2026-01-01Z', NULL) IS NULL,
	periods('{}', 'true', '2026-01-01Z', '2026-01-02Z', zone => NULL) IS NULL, periods('{}', 'true', '2026-01-01Z', '2026-01-02Z', NULL);
SELECT (SELECT count(*) FROM occurrences(NULL, 'has o', '2026-01-01Z', '2026-01-02Z')), (SELECT count(*) FROM occurrences('{}', NULL, '2026-01-01Z', '2026-01-02Z')), (SELECT count(*) FROM explain(NULL::profile, 'true')), (SELECT count(*) FROM explain('{}'::profile, NULL::predicate)), (SELECT count(*) FROM explain('{}'::profile, 'true', NULL));
SELECT matches('{}', 'true', zone => 'Europe/Atlantis');
SELECT matches('{}', 'true', zone => '');
SELECT next_change('{}', 'true', zone => 'MSK-3');
SELECT periods('{}', 'true', '2026-01-01Z', '2026-01-02Z', zone => '+03');
SELECT matches('{}', 'true', zone => repeat('x', 300));
SELECT matches('{}', 'true', zone => 'europe/moscow');
SELECT periods('{}', 'true', '2026-01-02Z', '2026-01-01Z'), 1;
SELECT count(*) FROM occurrences('{}', 'has o', '2026-01-02Z', '2026-01-01Z');
SELECT periods('{}', 'true', '2026-01-02Z', '2026-01-02Z'), periods('{}', 'false', '2026-01-02Z', '2026-01-03Z');
SELECT at, matches(p, 'has o', at), matches(p, 'has o in last 3 days', at), matches(p, 'no o', at), matches(p, 'd today', at), matches(p, 'd since ''2026-01-01''', at), next_change(p, 'has o', at), next_change(p, 'has o in last 3 days', at)
FROM (VALUES ('{"attributes": {"d": "2026-03-15"}, "events": [{"kind": "o", "at": "2026-03-15T09:00:00Z"}]}'::profile)) v (p), unnest('{-infinity,infinity,4713-11-24 00:00:00 BC,294276-12-31 23:59:59.999999Z}'::timestamptz[]) at;
SELECT periods(p, 'has o in last 3 days', '-infinity', 'infinity'), periods(p, 'has o', '-infinity', 'infinity'), periods(p, 'no o in next 3 days', '-infinity', 'infinity')
FROM (VALUES ('{"events": [{"kind": "o", "at": "2026-03-15T09:00:00Z"}]}'::profile)) v (p);
-- attributes that are infinite, and sums past the end of time
SELECT periods(p, q::predicate, '2026-01-01Z', '2027-01-01Z'), q FROM (VALUES ('{"attributes": {"never": {"date": "infinity"}, "always": {"instant": "-infinity"}, "far": "9999-12-31"}, "events": [{"kind": "o", "at": "2026-03-15T09:00:00Z"}]}'::profile)) v (p),
	unnest(ARRAY['never in next 3 days', 'never since ''2026-01-01''', 'always before ''2026-01-01''', 'always in last 3 days', 'never today', 'always before 3 days ago', 'anniversary(never) today', 'anniversary(always) today', 'never > far', 'always < far', 'never is known', 'never + 1 day = never',
	'has o in last 10000 years', 'has o before 10000 years ago', 'far + 10000 years in next 3 days', 'never - 3 days > far', 'o today']) q;

-- next_change: the first real change, or infinity, or a lower bound after ten years
SELECT next_change(p, q::predicate, '2026-03-15 09:00Z', NULL, 'Europe/Moscow'), q FROM (VALUES ('{"attributes": {"b": "1990-01-03", "n": 5}, "events": [{"kind": "o", "at": "2026-03-15T09:00:00Z", "v": 1}, {"kind": "o", "at": "2026-03-14T09:00:00Z", "v": 2}, {"kind": "o", "at": "2026-04-01T00:00:00Z", "v": 3}]}'::profile)) v (p),
	unnest(ARRAY['true', 'n = 5', 'has o', 'no o', 'has o in last 3 days', 'count(o) >= 2', 'count(o) >= 3', 'count(o in last 1 day) = 1', 'sum(o.v in last 3 days) = 3', 'has o today', 'anniversary(b) today', 'has o in last 3 days and n = 5', 'has o in last 3 days and n = 4', 'has o in last 3 days or has o before 3 days ago',
	'o in last 1 day', 'last(o) in last 1 month', '''2035-01-01'' today', '''2037-01-01'' today', 'has o in last 20 years']) q;

-- after 1,000 steps the instant reached, at which to ask again
SELECT next_change(p, 'count(o in last 1 second) < 5', '2026-01-01Z'), next_change(p, 'count(o in last 1 second) < 5', next_change(p, 'count(o in last 1 second) < 5', '2026-01-01Z'))
FROM (SELECT profile_agg('o', '2026-01-01Z'::timestamptz + n * interval '1 minute', NULL::jsonb) AS p FROM generate_series(1, 900) n) s;
SELECT (SELECT count(*) FROM unnest(periods('{"attributes": {"b": "1990-01-03"}}', 'anniversary(b) today', '2000-01-01Z', '2030-01-01Z')));

-- occurrences: each event of the first "has" of the top-level conjunction that is met with the rest
SELECT o.*, q FROM (VALUES ('{"attributes": {"city": "Moscow"}, "events": [{"kind": "cart", "at": "2026-03-01T10:00:00Z", "item": "a", "n": 1.50}, {"kind": "cart", "at": "2026-03-05T10:00:00Z", "item": "b", "due": "2026-04-01", "x": null}, {"kind": "order", "at": "2026-03-05T10:30:00Z"}, {"kind": "cart", "at": "2026-04-05T10:00:00Z"}]}'::profile)) v (p),
	unnest(ARRAY['has cart[not followed by order within 1 hour] in last 1 day', 'has cart in last 2 days and city = ''Moscow''', 'has cart in last 2 days and city = ''Tver''', 'city = ''Moscow'' and has order in last 1 day and has cart in last 1 day', 'has cart[item = ''b'']', 'has cart and no order', 'has cart in last 3 days or has order',
	'not has cart', 'no cart', 'city = ''Moscow''', 'count(cart) > 0', 'has cart in last 3 days and (has order in last 1 day or city = ''x'')']) WITH ORDINALITY q (q, n), occurrences(p, q::predicate, '2026-03-01Z', '2026-04-01Z', NULL, 'UTC') o ORDER BY n, o.at;
-- what lies before the range, and after it
SELECT at, period FROM occurrences('{"events": [{"kind": "o", "at": "2026-02-27T00:00:00Z"}, {"kind": "o", "at": "2026-03-05T00:00:00Z"}, {"kind": "o", "at": "2026-03-31T00:00:00Z"}, {"kind": "o", "at": "2026-04-02T00:00:00Z"}]}', 'has o in next 3 days', '2026-03-01Z', '2026-04-01Z');
-- their periods together are those of the predicate
SELECT range_agg(r) = periods(p, q, '2026-01-01Z', '2027-01-01Z') FROM (VALUES ('{"events": [{"kind": "o", "at": "2026-03-01T00:00:00Z"}, {"kind": "o", "at": "2026-03-02T00:00:00Z"}, {"kind": "o", "at": "2026-08-01T00:00:00Z"}, {"kind": "v", "at": "2026-03-02T12:00:00Z"}]}'::profile, 'has o in last 3 days and no v in last 1 day'::predicate)) v (p, q),
	occurrences(p, q, '2026-01-01Z', '2027-01-01Z') o, unnest(o.period) r GROUP BY p, q::text, q;

-- explain: the tree; until when each node's answer surely stands; the events that decide it
\pset null '-'
SELECT repeat('  ', x.depth) || x.text AS tree, x.value, x.truth, x.until, x.events FROM (VALUES ('{"customer": 42, "attributes": {"city": "Moscow", "n": 2.50, "b": "1990-03-20", "tags": ["a"]}, "events": [{"kind": "order", "at": "2026-03-01T10:00:00Z", "amount": 100.10, "status": "paid"}, {"kind": "order", "at": "2026-03-14T10:00:00Z", "amount": 50, "status": "new", "other": 1}, {"kind": "cart", "at": "2026-03-15T08:30:00Z"}]}'::profile)) v (p),
	unnest(ARRAY['city = ''Moscow'' and has order in last 3 days and not (n > 5 or tags contains ''b'')', 'sum(order.amount in last 1 month) / count(order) > 70 or missing = 1', 'has cart[not followed by order within 1 hour]', 'last(order.status) <> ''paid'' and first(order) before 1 week ago', 'anniversary(b) in next 7 days', 'b + 1 week in last 3 days',
	'no view in last 3 days and n between 1 and n + 1', 'max(order.amount) in (50, 100.1) and last(order) > b and b is known', 'true', 'has order[amount > 60 and status = ''paid'']', 'x is not known and y like ''a%''', 'bucket(''t'') < 100 and first(order.other) is known', 'mode(order.status) = ''new'' and most(order.status) = 1 and distinct(order.status) = 2']) WITH ORDINALITY q (q, n),
	explain(p, q::predicate, '2026-03-15 09:00Z', NULL, 'UTC') WITH ORDINALITY x (depth, text, value, truth, until, events, i) ORDER BY n, i;
-- instants are shown in the zone of the question, whatever the session's
SET TimeZone = 'America/New_York';
SELECT zone, value FROM unnest('{UTC,Europe/Moscow,Asia/Kathmandu}'::text[]) zone, explain('{"attributes": {"x": "2026-03-15T22:00:00.5Z"}}'::profile, 'x is known', now(), NULL, zone) WHERE value IS NOT NULL;
SELECT value FROM explain('{"attributes": {"x": {"instant": "infinity"}, "d": {"date": "-infinity"}, "y": "2026-03-15"}}'::profile, 'x is known and d is known and y is known') WHERE value IS NOT NULL;
SET TimeZone = 'UTC';
-- never more than the latest ten events
SELECT jsonb_array_length(events), events -> 0 ->> 'at', events -> 9 ->> 'at' FROM explain((SELECT profile_agg('o', '2026-01-01Z'::timestamptz + n * interval '1 day', '{}'::jsonb) FROM generate_series(1, 30) n), 'count(o) > 5') WHERE depth = 1;
-- explain() and matches() agree, in any zone
SELECT count(*), bool_and(x.truth = matches(p, q, at, NULL, zone)) FROM (VALUES ('{"attributes": {"d": "2026-03-15"}, "events": [{"kind": "o", "at": "2026-03-15T09:00:00Z"}]}'::profile)) v (p), unnest('{d today,has o today,no o in last 1 day,"d in next 3 days and has o",not d yesterday}'::predicate[]) q, unnest('{UTC,Asia/Tokyo,America/New_York}'::text[]) zone,
	generate_series('2026-03-13 20:00Z'::timestamptz, '2026-03-18Z', '7 hours') at, explain(p, q, at, NULL, zone) x WHERE x.depth = 0;

-- @@ asks at crm.now() in the shop's zone; a plan that is kept answers anew
PREPARE now_and_then AS SELECT '{"events": [{"kind": "o", "at": "2026-03-15T09:00:00Z"}]}'::profile @@ 'has o today', '{"attributes": {"d": "2026-03-16"}}'::profile @@ 'd today';
EXECUTE now_and_then;
SET crm_marketing.now = '2026-03-15 22:00:00+00';
EXECUTE now_and_then;
BEGIN;
SELECT configure('timezone', 'Europe/Moscow');
EXECUTE now_and_then;
ROLLBACK;
EXECUTE now_and_then;
-- one call site with many predicates, zones and profiles
SELECT n, matches(format('{"attributes": {"n": %s, "d": "2026-03-16"}}', n)::profile, (CASE WHEN n % 2 = 0 THEN 'n > 2' ELSE 'd today' END)::predicate, now(), NULL, CASE WHEN n % 3 = 0 THEN 'Europe/Moscow' ELSE 'UTC' END) FROM generate_series(1, 6) n;
RESET crm_marketing.now;

DROP FUNCTION public.ask, public.spans, public.calculate;

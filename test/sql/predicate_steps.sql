-- Stepping through time: what is kept from one instant to the next must give what each instant asked alone gives. And
-- customers with very many events: no answer may cost the square of their number, or this test would not end.
SET search_path = crm, public;
SET DateStyle = ISO;
SET TimeZone = 'UTC';
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- Events of a few hours apart with gaps, several at one instant, values that repeat, are missing or of another type
CREATE TABLE public.busy AS
SELECT crm.profile_agg(CASE WHEN kind = 'd' THEN 'customer' ELSE kind END, at, properties) AS profile
FROM (SELECT (ARRAY['a', 'b', 'c'])[1 + i * 7919 % 101 % 3], '2027-01-20Z'::timestamptz + (i * 6101 % 97) * interval '17 hours' + (i % 3) * interval '1 microsecond',
		jsonb_strip_nulls(jsonb_build_object('item', CASE WHEN i % 7 > 0 THEN i * 3571 % 103 % 5 END, 'n', CASE i % 11 WHEN 0 THEN '"text"' WHEN 1 THEN 'true'
			WHEN 2 THEN '"2027-02-01"' WHEN 3 THEN '"2027-02-01T00:00:00Z"' ELSE to_jsonb((i * 13 % 29) / 4.0) END))
	FROM generate_series(1, 150) i
	UNION ALL SELECT 'd', NULL, '{"born": "2000-02-29"}') e (kind, at, properties);

-- How often the predicates of a form are true at instants around all changes that periods() tells of and between, how often
-- matches() at that instant says otherwise, and next_change() something that is none
CREATE FUNCTION public.compare(zone text, VARIADIC predicates text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	low CONSTANT timestamptz := '2027-01-15Z';
	high CONSTANT timestamptz := '2027-05-15Z';
	p predicate;
	whole tstzmultirange;
	result text;
BEGIN
	FOREACH p IN ARRAY predicates LOOP
		SELECT periods(profile, p, low, high, '2027-02-10 10:00Z', zone) INTO whole FROM public.busy;
		WITH change AS (SELECT lower(r) AS at FROM unnest(whole) r UNION SELECT upper(r) FROM unnest(whole) r),
		instant AS (SELECT at + d AS at FROM change, (VALUES (interval '0'), (interval '-1 us')) v (d) WHERE at + d >= low AND at + d < high
			UNION SELECT generate_series(low, '2027-05-14Z', interval '31 hours 7 minutes'))
		SELECT format('%s spans, %s wrong, %s missed: %s', (SELECT count(*) FROM unnest(whole)),
					  count(*) FILTER (WHERE whole @> at <> matches(profile, p, at, '2027-02-10 10:00Z', zone)),
					  count(*) FILTER (WHERE coalesce((SELECT min(c.at) FROM change c WHERE c.at > i.at AND c.at < high), high)
											 IS DISTINCT FROM least(next_change(profile, p, at, '2027-02-10 10:00Z', zone), high)), p)
		INTO result FROM public.busy, instant i;
		RETURN NEXT result;
	END LOOP;
END
$function$;

SELECT public.compare('Europe/Berlin',
	'count(a in last 3 days) > 2', 'count(a in last 1 month) > 10', 'count(a[item > 1] between 1 day and 1 month ago) > 10', 'has b this hour', 'count(b previous 5 hours) > 1',
	'count(a this week) > 3', 'count(b previous 2 weeks) between 4 and 9', 'has c tomorrow', 'count(a in next 2 days) > 2', 'count(a since entry) in (1, 3, 5, 7, 9, 11)');
SELECT public.compare('Europe/Berlin',
	'sum(a.n in last 10 days) > 20', 'avg(a.n in last 10 days) < 3', 'min(a.n in last 5 days) < 1', 'max(a.n in last 5 days) > 6', 'min(b.n before 1 month ago) < 1',
	'max(c.n in last 2 days) is known', 'max(c.n in last 2 days) = ''2027-02-01''', 'distinct(a.item in last 6 days) > 2', 'distinct(a.date in last 6 days) = 4',
	'most(a.item in last 10 days) > 3', 'most(b.item in last 1 month) >= 6', 'mode(a.item in last 6 days) = 4', 'mode(b.n in last 20 days) > 2', 'mode(c.weekday in last 5 days) = 3',
	'distinct(a.item in last 1 day) < distinct(a.item in last 2 days)', 'first(a.item in last 3 days) = last(b.item in last 3 days)', 'last(a in last 3 days) today');
SELECT public.compare('Europe/Berlin',
	'has a[followed by b within 1 day]', 'has a[not followed by b within 1 day] in last 2 days', 'count(a[not followed by b within 1 day]) > 5',
	'has a[followed by b[same item] within 2 days] in last 3 days', 'count(a[preceded by b[same item and same n]]) > 1', 'has a[not followed by a[same item and item > 1] within 3 days] in last 4 days',
	'has a[followed by b[same item and not followed by c[same item] within 1 day] within 2 days] in last 4 days',
	'has a[not preceded by b[same item or n > 5] within 4 days and item < 4] in last 2 days', 'has a[followed by b[not same item and followed by c within 9 hours]] in last 1 day',
	'sum(a[not followed by c within 12 hours].n in last 10 days) > 12', 'distinct(a[at in last 5 days and not followed by b within 12 hours].item) > 2',
	'last(a[not followed by c within 1 day].item) = 2', 'first(a[followed by b within 9 hours] in last 5 days) in last 3 days', 'count(a[at since entry and followed by b within 12 hours]) > 0');
SELECT public.compare('Europe/Berlin', 'anniversary(born) in last 3 days', 'anniversary(born) - 1 month not in next 3 days', 'anniversary(first(a)) in next 351 days',
	'has a[anniversary(customer.born) today]', 'has a today and anniversary(born) in next 10 days');

-- Each occurrence is the event alone with the rest
WITH p AS (SELECT unnest(ARRAY['has a[item > 1] in last 3 days', 'has a[not followed by b within 1 day] in last 3 days and count(b in last 10 days) > 8 and no c in last 1 day',
	'count(a in last 3 days) > 2 and has b[followed by c[same item] within 2 days] and has a today'])::predicate AS p)
SELECT count(*), sum((SELECT count(*) FROM unnest(o.period))), count(DISTINCT o.at), bool_and(o.period <@ w.whole), range_agg(r) = w.whole, p
FROM public.busy, p, LATERAL (SELECT periods(profile, p, '2027-01-15Z', '2027-05-15Z', NULL, 'Europe/Berlin') AS whole) w,
	LATERAL occurrences(profile, p, '2027-01-15Z', '2027-05-15Z', NULL, 'Europe/Berlin') o, unnest(o.period) r
GROUP BY p, w.whole ORDER BY p;

-- Other facts and another entry at the same call site
SELECT i, matches(profile_agg, p, '2027-03-01Z', '2027-02-01Z'::timestamptz + i * interval '3 days', 'UTC'), next_change(profile_agg, p, '2027-03-01Z', '2027-02-01Z'::timestamptz + i * interval '3 days', 'UTC')
FROM (VALUES ('count(a[at since entry and not followed by b within 1 day]) > 2 and distinct(a.item in last 30 days) > 2'::predicate)) v (p),
	(SELECT i, (SELECT profile_agg('a', '2027-02-01Z'::timestamptz + j * interval '1 day', jsonb_build_object('item', j)) FROM generate_series(0, 12 + i) j)
	 FROM generate_series(1, 6) i) f;

-- Very many events: 80,000 of four kinds, every 6 minutes, few of them the same; what is asked is mostly found nowhere, or at
-- the end, so that all must be looked at
CREATE TABLE public.many AS
SELECT profile_agg((ARRAY['a', 'b', 'c', 'd'])[1 + i % 4], '2026-01-01Z'::timestamptz + i * interval '6 minutes',
				   jsonb_build_object('item', i / 4, 'x', i % 3, 'n', i % 97)) AS profile FROM generate_series(0, 79999) i;
SELECT matches(profile, p, '2027-01-01Z', NULL, 'Europe/Berlin'), p FROM public.many, unnest(ARRAY[
	'has a[followed by b[same item]]', 'has a[followed by a[same item]]', 'has a[followed by b[same x and n < 0]]', 'has a[followed by b[followed by c[followed by d[n < 0]]]]',
	'has a[followed by b[same x and followed by c[same x and followed by d[same x and n < 0]]]]', 'no a[not followed by b[not followed by c[not followed by d within 1 year] within 1 year] within 1 year]',
	'has a[preceded by b[same item] within 30 days and not followed by c[same x and followed by d[n < 0]]]', 'count(a[followed by b[same item and not followed by c[same item] within 1 hour]]) > 0']::predicate[]) p;
SELECT (SELECT count(*) FROM unnest(periods(profile, p, '2026-01-01Z', '2027-02-01Z', NULL, 'Europe/Berlin'))), p FROM public.many, unnest(ARRAY[
	'count(a in last 1 day) > 59', 'count(a in last 1 month) < 1800', 'count(b this hour) > 2', 'count(b previous 3 hours) > 7', 'sum(a.n in last 30 days) > 86420', 'avg(a.n in last 30 days) > 48', 'max(a.n in last 2 hours) > 90',
	'distinct(a.n in last 5 hours) < 13', 'most(a.n in last 7 days) > 5', 'mode(a.n in last 7 days) = 5', 'has a[not followed by b within 5 minutes]', 'count(a[not followed by a within 25 minutes] in last 1 day) > 0',
	'has a[not followed by b[same item] within 1 hour] in last 1 hour']::predicate[]) p;
SELECT (SELECT count(*) FROM occurrences(profile, p, '2026-01-01Z', '2027-02-01Z', NULL, 'Europe/Berlin')), p FROM public.many, unnest(ARRAY[
	'has a in last 1 hour', 'has a[not followed by b within 5 minutes] in last 1 hour and count(b in last 1 hour) > 1']::predicate[]) p;
-- a long list asked of every event, and a predicate of thousands of names
SELECT matches(profile, format('count(a[item in (%s)]) = 5000', (SELECT string_agg((i * 4 + 1)::text, ', ') FROM generate_series(0, 9999) i))::predicate, '2027-01-01Z', NULL, 'UTC'),
	matches(profile, (SELECT string_agg(format('no a%s[p%s = 1] and a%s is not known', i, i, i), ' and ') FROM generate_series(1, 2500) i)::predicate, '2027-01-01Z', NULL, 'UTC') FROM public.many;

DROP FUNCTION public.compare;
DROP TABLE public.busy, public.many;

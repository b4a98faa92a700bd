-- The type crm.profile: what is read, how it is printed, what is refused, its binary form, its parts, equality.
SET search_path = crm, public;
SET TimeZone = 'America/New_York';			-- must not matter, save where timestamptz is shown
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- Each text as it is printed, or its error. What is printed must read back to the same bytes, also by way of jsonb.
CREATE FUNCTION public.show(VARIADIC sources text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	source text;
	printed text;
	message text;
	detail text;
	hint text;
	differs boolean;
BEGIN
	FOREACH source IN ARRAY sources LOOP
		RETURN NEXT CASE WHEN length(source) > 150 THEN left(source, 150) || ' ...' ELSE source END;
		BEGIN
			printed := source::crm.profile::text;
			IF printed::crm.profile::text <> printed OR printed::crm.profile <> source::crm.profile OR
				source::crm.profile::jsonb::crm.profile <> source::crm.profile THEN
				RAISE EXCEPTION 'printed % reads back as %', printed, printed::crm.profile::text;
			END IF;
			RETURN NEXT '  -> ' || CASE WHEN printed = source THEN 'same' ELSE left(printed, 500) END;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			-- where the server can ask for it softly, the same is said
			IF current_setting('server_version_num')::int >= 160000 THEN
				EXECUTE 'SELECT ($2, $3, $4, $5) IS DISTINCT FROM (e.message, coalesce(e.detail, ''''), coalesce(e.hint, ''''), e.sql_error_code)
					FROM pg_input_error_info($1, ''crm.profile'') e' INTO differs USING source, message, detail, hint, SQLSTATE;
				IF differs THEN
					RETURN NEXT 'ANOTHER ERROR, SOFTLY, THAN FOR:';
				END IF;
			END IF;
			RETURN NEXT '  ' || SQLSTATE || ' ' || message;
			RETURN NEXT '  ' || detail;
			IF hint <> '' THEN
				RETURN NEXT '  ' || hint;
			END IF;
		END;
	END LOOP;
END
$function$;

-- The same for one attribute
CREATE FUNCTION public.show_value(VARIADIC sources text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	source text;
	detail text;
BEGIN
	FOREACH source IN ARRAY sources LOOP
		BEGIN
			RETURN NEXT source || ' -> ' || coalesce(substring(
				format('{"customer": 1, "attributes": {"v": %s}, "events": []}', source)::crm.profile::text
				FROM '"attributes": \{"v": (.{0,60}).*\}, "events": \[\]\}$'), 'left out');
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
			RETURN NEXT source || ' -> ' || SQLSTATE || ' ' || SQLERRM || ': ' || detail;
		END;
	END LOOP;
END
$function$;

-- Canonical JSON
SELECT public.show(
	$${"customer": 42, "attributes": {"birthday": "1990-01-03", "city": "Moscow"}, "events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "amount": 100.10, "tags": ["a", "b"]}]}$$,
	$${"events":[{"tags":["a","b"],"at":"2026-01-05T10:00:00+03:00","amount":100.10,"kind":"order"}],"attributes":{"city":"Moscow","birthday":"1990-01-03"},"customer":42}$$,
	'{}', '{"attributes": {}, "events": []}', '{"customer": null}', '{"customer": -7}', '{"customer": 9223372036854775807}',
	'{"customer": -9223372036854775808}', '{"customer": 42.0}', '{"customer": 4e2}', '{"events": []}', '{"attributes": {"x": null}}',
	'{"customer": 1, "customer": 2}', '{"attributes": {"x": 1, "x": 2}}', '{"attributes": {"x": 1}, "attributes": {"y": 2}}',
	'{"attributes": {"é": 1, "Z": 2, "a": 3, "aa": 4, "b": 5, "quote\"d": 6, "back\\slash": 7, "new\nline": 8, "at": 9, "customer": 10}}');

-- Values of each type
SELECT public.show_value('"Moscow"', '""', '" "', '"О''Хара \"x\" \\ \/ \n\t\u0001"', '"\u0416"', 'null', 'true', 'false',
	'0', '-0', '1', '1.0', '1.00', '-1.50', '1e3', '1.5e-3', '0.000000000000000001', '9223372036854775807', '9223372036854775808',
	'-9223372036854775808', '123456789012345678901234567890.123456789', '1e131071', '1e-16383', '0e5', '0.00', '1e400');
-- ISO dates and instants are read as such; what merely looks alike stays text, and says so
SELECT public.show_value('"2026-01-05"', '"2024-02-29"', '"2026-02-29"', '"2026-1-5"', '"20260105"', '"2026-01-05 "', '"2026-13-01"', '"9999-12-31"',
	'"10000-01-01"', '"0001-01-01"', '"0000-01-01"', '"2026-01-05T07:00:00Z"', '"2026-01-05T10:00:00+03:00"', '"2026-01-05 10:00:00+03"', '"2026-01-05T10:00Z"',
	'"2026-01-05T07:00:00.5Z"', '"2026-01-05T07:00:00.123456Z"', '"2026-01-05T07:00:00.1234567Z"', '"2026-01-05T24:00:00Z"', '"2026-01-05T23:59:60Z"',
	'"2026-01-05T10:00:00"', '"2026-01-05 10:00"', '"2026-01-05T10:00:00 Europe/Moscow"', '"2026-01-05T25:00:00Z"', '"yesterday"', '"now"', '"infinity"',
	'"2026-01-05T00:00:00-11:30"', '"2026-01-05T00:00:00+15:59"', '"2026-01-05T00:00:00+16:00"');
SELECT public.show_value('{"text": "2026-01-05"}', '{"text": "2026-01-05T07:00:00Z"}', '{"text": "Moscow"}', '{"text": ""}', '{"date": "2026-01-05"}',
	'{"date": "infinity"}', '{"date": "-infinity"}', '{"date": "0044-03-15 BC"}', '{"date": "12026-01-05"}', '{"instant": "2026-01-05T07:00:00Z"}', '{"instant": "infinity"}',
	'{"instant": "-infinity"}', '{"text": 5}', '{"date": "yesterday"}', '{"date": "2026-02-30"}', '{"date": 5}', '{"instant": "2026-01-05"}', '{"instant": "now"}', '{}',
	'{"a": 1}', '{"text": "a", "date": "2026-01-01"}', '{"Text": "a"}', '{"text": null}');
-- Arrays have one type; unknown elements are left out
SELECT public.show_value('[]', '["a", "b"]', '["b", "a", "b"]', '[1, 2.50]', '[true, false]', '["2026-01-05", "2026-01-06"]', '["2026-01-05T10:00:00+03:00"]',
	'[null]', '["a", null]', '["2026-01-05", {"date": "infinity"}]', '[{"text": "2026-01-05"}, "a"]', '["a", 1]', '["a", "2026-01-05"]', '["2026-01-05", "2026-01-05T07:00:00Z"]',
	'[1, true]', '[[1]]', '[[]]', '[{"a": 1}]', '[1e131071, 1]');

-- Events are sorted by time, kind and content, and never lost; equal facts give equal bytes in whatever order they came
SELECT public.show($${"customer": 1, "events": [
	{"kind": "view", "at": "2026-01-06T00:00:00Z"}, {"kind": "order", "at": "2026-01-05T00:00:00Z", "n": 2}, {"kind": "order", "at": "2026-01-05T00:00:00Z", "n": 1},
	{"kind": "click", "at": "2026-01-05T00:00:00Z"}, {"kind": "order", "at": "2026-01-05T00:00:00Z", "n": 1}, {"kind": "a", "at": "2025-01-01T00:00:00.000001Z"},
	{"kind": "ahead", "at": "2036-01-01T00:00:00Z"}, {"kind": "order", "at": "2026-01-04T19:00:00-05:00", "n": 1, "x": null}]}$$);
WITH event (n, json) AS (
	VALUES (1, '{"kind": "a", "at": "2026-01-01T00:00:00Z", "x": 1}'), (2, '{"kind": "a", "at": "2026-01-01T00:00:00Z", "x": "1"}'),
		(3, '{"kind": "a", "at": "2026-01-01T00:00:00Z", "x": 1.0}'), (4, '{"kind": "a", "at": "2026-01-01T00:00:00Z", "x": [1, 2]}'),
		(5, '{"kind": "a", "at": "2026-01-01T00:00:00Z", "y": 1}'), (6, '{"kind": "b", "at": "2026-01-01T00:00:00Z", "x": 1}'))
SELECT count(*), sum(n) FROM (SELECT p, count(*) AS n FROM (
	SELECT format('{"events": [%s]}', string_agg(json, ',' ORDER BY md5(n::text || seed)))::profile AS p
	FROM event, generate_series(1, 200) seed GROUP BY seed) s GROUP BY p) g;

-- What is refused
SELECT public.show('', 'x', '{', '[]', '5', '"x"', 'null', '[{"customer": 1}]', '{"client": 5}', '{"customer": "42"}', '{"customer": 1.5}', '{"customer": 9223372036854775808}',
	'{"customer": true}', '{"customer": []}', '{"attributes": []}', '{"attributes": 5}', '{"attributes": null}', '{"attributes": {"": 1}}', '{"attributes": {"x": {"y": 1}}}',
	'{"events": {}}', '{"events": null}', '{"events": [5]}', '{"events": [[]]}', '{"events": [null]}', '{"events": [{}]}', '{"events": [{"kind": "order"}]}', '{"events": [{"at": "2026-01-05T07:00:00Z"}]}',
	'{"events": [{"kind": 5, "at": "2026-01-05T07:00:00Z"}]}', '{"events": [{"kind": "", "at": "2026-01-05T07:00:00Z"}]}', '{"events": [{"kind": "order", "at": "2026-01-05"}]}',
	'{"events": [{"kind": "order", "at": "2026-01-05T07:00:00"}]}', '{"events": [{"kind": "order", "at": 5}]}', '{"events": [{"kind": "order", "at": null}]}',
	'{"events": [{"kind": "order", "at": {"instant": "infinity"}}]}', '{"events": [{"kind": "order", "at": {"text": "2026-01-05T07:00:00Z"}}]}',
	'{"events": [{"kind": "customer", "at": "2026-01-05T07:00:00Z"}]}', '{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "month": 5}]}',
	'{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "date": "2026-01-01"}]}', '{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "x": {"y": 1}}]}',
	'{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "": 1}]}', '{"attributes": {"x": "\u0000"}}');
-- every name that events have of their own
SELECT name, public.show(format('{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", %s: 1}]}', to_json(name)))
FROM unnest('{hour,weekday,day,week,month,year,date,week_of,month_of,Hour,kinds}'::text[]) name;
-- limits
SELECT public.show(format('{"attributes": {"%s": 1}}', repeat('n', 300)), format('{"events": [{"kind": "%s", "at": "2026-01-05T07:00:00Z"}]}', repeat('k', 300)),
	format('{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "%s": 1}]}', repeat('ж', 300)));
DO $$
BEGIN
	PERFORM repeat('[', 100000)::crm.profile;
EXCEPTION WHEN statement_too_complex THEN
	RAISE NOTICE 'too deep';
END
$$;
SELECT length(format('{"attributes": {"%s": 1}}', repeat('n', 255))::profile::text);

-- Instants before the year 1 and after the year 9999
SELECT public.show('{"events": [{"kind": "a", "at": {"instant": "0044-03-15T12:00:00Z BC"}}]}', '{"events": [{"kind": "a", "at": "0001-01-01T00:00:00Z"}]}',
	'{"events": [{"kind": "a", "at": {"instant": "12026-01-05T00:00:00Z"}}]}', '{"events": [{"kind": "a", "at": {"instant": "294276-12-31T23:59:59.999999Z"}}]}');

-- Binary form: a version byte and the text. Received as a row of COPY that printf writes, byte by byte.
CREATE TEMP TABLE inbox (p profile);
CREATE FUNCTION public.receive(bytes bytea) RETURNS text
	LANGUAGE plpgsql AS $function$
DECLARE
	stream bytea := bytea '\x5047434f50590aff0d0a0000000000000000000001' || int4send(length(bytes)) || bytes || bytea '\xffff';
	octal text;
BEGIN
	SELECT string_agg(format('\%s%s%s', b >> 6, (b >> 3) & 7, b & 7), '' ORDER BY i) INTO octal
	FROM (SELECT i, get_byte(stream, i) FROM generate_series(0, length(stream) - 1) i) s (i, b);
	TRUNCATE pg_temp.inbox;
	EXECUTE format('COPY pg_temp.inbox FROM PROGRAM %L (FORMAT binary)', format('printf ''%s''', octal));
	RETURN (SELECT i.p::text FROM pg_temp.inbox i);
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ': ' || SQLERRM;
END
$function$;
SELECT profile_send('{"customer": 1}');
SELECT public.receive(profile_send(p)) = p::text FROM (VALUES ('{}'::profile), ('{"customer": 42, "attributes": {"город": "Тверь", "d": "2026-01-05",
	"l": {"text": "2026-01-05"}, "n": [1.50, 1e40]}, "events": [{"kind": "order", "at": "2026-01-05T07:00:00.000001Z", "x": true, "y": []}]}')) v (p);
SELECT bytes, public.receive(bytes) FROM (VALUES (''::bytea), ('\x00'), ('\x01'), ('\x02'::bytea || '{}'), ('\xff'::bytea || '{}'), ('\x01'::bytea || '{'), ('\x01'::bytea || '{}x'),
	('\x01'::bytea || '[]'), ('\x017b7dff'), ('\x017b7d00'), ('{}'), ('\x01'::bytea || '{"customer": 1e400}'), ('\x01'::bytea || '{"events": [{}]}')) v (bytes);
SELECT count(*) > 200, count(*) FILTER (WHERE answer !~ '^(22|42|54)...: ' AND answer::profile IS NULL)
FROM (SELECT profile_send('{"customer": 4, "attributes": {"a": "2026-01-05"}, "events": [{"kind": "o", "at": "2026-01-05T07:00:00Z", "x": [1]}]}') AS whole) w,
	LATERAL (SELECT public.receive(substr(whole, 1, n)) AS answer FROM generate_series(0, length(whole) - 1) n
			 UNION ALL
			 SELECT public.receive(set_byte(whole, n, get_byte(whole, n) # 129)) FROM generate_series(0, length(whole) - 1) n) a;

-- Its parts
CREATE TEMP TABLE sample AS SELECT $${"customer": 42, "attributes": {"birthday": "1990-01-03", "city": "Moscow", "code": {"text": "2026-01-05"}, "debt": -1.50, "ok": true, "tags": ["a", "b"],
	"seen": "2026-01-05T10:00:00+03:00", "forever": {"date": "infinity"}}, "events": [{"kind": "view", "at": "2026-01-06T00:00:00Z"},
	{"kind": "order", "at": "2026-01-05T10:00:00+03:00", "zz": 1, "amount": 100.10, "b": null, "code": {"text": "2026-01-05"}}, {"kind": "order", "at": "2025-07-01T00:00:00Z", "amount": 5}]}$$::profile AS p;
SELECT customer_of(p), customer_of('{}'), customer_of(NULL) FROM sample;
SELECT a.* FROM sample, attributes_of(p) a;
SELECT e.* FROM sample, events_of(p) e;
SELECT count(*) FROM attributes_of('{}');
SELECT count(*) FROM events_of('{}');
SELECT count(*) FROM attributes_of(NULL);
SELECT count(*) FROM events_of(NULL);
SELECT kind, at FROM sample, events_of(p) LIMIT 1;
SELECT e.at FROM sample, events_of(p) WITH ORDINALITY e WHERE e.ordinality = 3;
-- the parts make the whole again
SELECT (SELECT jsonb_build_object('customer', customer_of(p), 'attributes', (SELECT jsonb_object_agg(name, value) FROM attributes_of(p)),
	'events', (SELECT jsonb_agg(properties || jsonb_build_object('kind', kind, 'at', at) ORDER BY at DESC) FROM events_of(p)))::profile) = p, p::jsonb::profile = p FROM sample;

-- Equality, as facts: what prints differently differs
SELECT a::profile = b::profile, a::profile <> b::profile, profile_hash(a::profile) = profile_hash(b::profile), a, b FROM (VALUES
	('{}', '{"events": []}'), ('{"customer": 1}', '{"customer": 1.0}'), ('{"customer": 1}', '{}'), ('{"customer": 0}', '{}'), ('{"attributes": {"x": 1.0}}', '{"attributes": {"x": 1.00}}'),
	('{"attributes": {"x": 1}}', '{"attributes": {"x": "1"}}'), ('{"attributes": {"x": "2026-01-05"}}', '{"attributes": {"x": {"text": "2026-01-05"}}}'),
	('{"attributes": {"x": 1}}', '{"attributes": {"x": 1, "y": null}}'), ('{"attributes": {"x": []}}', '{"attributes": {"x": null}}'), ('{"attributes": {"x": [1, 2]}}', '{"attributes": {"x": [2, 1]}}'),
	('{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z"}]}', '{"events": [{"kind": "a", "at": "2026-01-05T10:00:00+03:00"}]}'),
	('{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z"}]}', '{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z"}, {"kind": "a", "at": "2026-01-05T07:00:00Z"}]}')) v (a, b);
SELECT NULL::profile = '{}', profile_hash(NULL);
SELECT count(*), p FROM (VALUES ('{"customer": 1}'::profile), ('{"customer": 1, "events": []}'), ('{"customer": 2}'), (NULL)) v (p) GROUP BY p ORDER BY p::text;
CREATE TEMP TABLE pair AS SELECT format('{"customer": %s}', n % 10)::profile AS p FROM generate_series(1, 100) n;
SELECT count(DISTINCT h), count(*) FROM (SELECT profile_hash(p) AS h, p FROM pair) s;
SELECT count(*) FROM pair a JOIN pair b USING (p);
SELECT count(*) FROM (SELECT DISTINCT p FROM pair) d;
-- a long one goes through TOAST
CREATE TEMP TABLE long AS SELECT format('{"customer": 1, "events": [%s]}', string_agg(format('{"kind": "k%s", "at": "2026-01-05T07:00:00Z", "n": %s, "t": "%s"}', n % 3, n, md5(n::text)), ','))::profile AS p
FROM generate_series(1, 20000) n;
SELECT customer_of(p), (SELECT count(*) FROM events_of(p)), p = p::text::profile, (SELECT sum((properties ->> 'n')::int) FROM events_of(p)), p @@ 'count(k0) = 6666 and sum(k1.n) > 1'  FROM long;

-- Broken text is an error, or where the server can ask (from 16 on), simply no profile
CREATE FUNCTION public.softly(source text, OUT valid boolean, OUT message text, OUT detail text, OUT hint text, OUT code text)
	LANGUAGE plpgsql AS $function$
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE 'SELECT pg_input_is_valid($1, ''crm.profile''), e.* FROM pg_input_error_info($1, ''crm.profile'') e'
			INTO valid, message, detail, hint, code USING source;
	ELSE
		PERFORM source::crm.profile;
		valid := true;
	END IF;
EXCEPTION WHEN OTHERS THEN
	-- what is thrown where it should have been told is one too many
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	message := CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'THROWN: ' ELSE '' END || message;
	detail := nullif(detail, '');
	hint := nullif(hint, '');
	code := SQLSTATE;
	valid := false;
END
$function$;
SELECT left(text, 60), s.* FROM (VALUES ('{}'), ('{'), (''), ('[]'), ('{"customer": "x"}'), ('{"attributes": {"x": {}}}'), ('{"events": [{}]}'), ('{"events": [{"kind": "a", "at": "2026-01-05"}]}'),
	('{"attributes": {"": 1}}'), (format('{"attributes": {"%s": 1}}', repeat('n', 300)))) v (text), LATERAL public.softly(text) s;
-- limits
SELECT s.* FROM (
	SELECT format('{"attributes": {%s}}', string_agg(format('"n%s": 1', n), ',')) FROM generate_series(1, 65536) n
	UNION ALL SELECT format('{"attributes": {"x": [%s]}}', string_agg('1', ',')) FROM generate_series(1, 65536) n
	UNION ALL SELECT format('{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z", "x": [%s]}]}', string_agg('1', ',')) FROM generate_series(1, 65536) n
	UNION ALL SELECT format('{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z", %s}]}', string_agg(format('"n%s": 1', n), ',')) FROM generate_series(1, 1601) n
	UNION ALL SELECT format('{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z", %s}]}', string_agg(format('"n%s": 1', n), ',')) FROM generate_series(1, 1600) n
	UNION ALL SELECT format('{"events": [%s]}', string_agg(format('{"kind": "k%s", "at": "2026-01-05T07:00:00Z"}', n), ',')) FROM generate_series(1, 65536) n
	UNION ALL SELECT format('{"events": [%s]}', string_agg(format('{"kind": "a", "at": "2026-01-05T07:00:00Z", "n%s": 1}', n), ',')) FROM generate_series(1, 65536) n
	UNION ALL SELECT format('{"events": [%s]}', string_agg(format('{"kind": "a", "at": "2026-01-05T07:00:00Z", "n%s": 1}', n), ',')) FROM generate_series(1, 65534) n
	) v (text), LATERAL public.softly(text) s;
DROP FUNCTION public.softly;

DROP FUNCTION public.show, public.show_value, public.receive;

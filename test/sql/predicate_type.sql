-- The type crm.predicate as a type: forms, casts, order, indexes, joining, what it depends on, and the planner's estimate.
SET search_path = crm, public;
SET max_parallel_workers_per_gather = 0;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

-- What comes of an expression, or its error
CREATE FUNCTION public.try(expression text) RETURNS text
	LANGUAGE plpgsql AS $function$
DECLARE
	result text;
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT (' || expression || ')::text' INTO result;
	RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS result = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || result || E'\n  ' || detail || E'\n  ' || hint;
END
$function$;

-- What a predicate becomes that is received in binary form: as a row of COPY that printf writes, byte by byte
CREATE TEMP TABLE inbox (p predicate);
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

-- Text and casts
SELECT 'has   order'::predicate, predicate('has   order'), 'has   order'::text::predicate, 'has   order'::varchar::predicate,
	CAST('has   order' AS predicate)::text;
SELECT predicate(NULL) IS NULL, NULL::text::predicate IS NULL, NULL::predicate::text IS NULL;
SELECT '{has order,"city in (''a'', ''b'')"}'::predicate[];
SELECT ARRAY['x  =  1'::predicate, 'y=2'], to_jsonb('x=1'::predicate), row('x=1'::predicate);
CREATE DOMAIN public.short_predicate AS predicate CHECK (length(VALUE::text) < 10);
SELECT 'x   =   1'::public.short_predicate;
SELECT 'x = 1 or y = 2'::public.short_predicate;
DROP DOMAIN public.short_predicate;
-- a text is not taken for a predicate unasked
CREATE TEMP TABLE assigned (p predicate DEFAULT 'true');
INSERT INTO assigned DEFAULT VALUES;
INSERT INTO assigned VALUES ('x=1'), (NULL);
INSERT INTO assigned SELECT 'x = 2'::text;
SELECT p FROM assigned ORDER BY p;

-- Binary form: a version, and text
SELECT predicate_send('has   order and city = ''Тверь''');
SELECT public.receive(predicate_send(p)) = p::text FROM (VALUES ('true'::predicate), ('has order and city = ''Тверь'''),
	('a in (1, 2.50, ''x'')'), ('has a[followed by b[same "C"] within 1 hour]')) v (p);
SELECT bool_and(public.receive('\x01'::bytea || convert_to(repeat('not (', n) || 'a = 1' || repeat(')', n), 'UTF8')) IS NOT NULL)
FROM generate_series(1, 3) n;
-- what was sent need not be canonical
SELECT public.receive('\x01'::bytea || '  has    order ');
-- other versions, nothing, half of it, bad encoding, no predicate
SELECT bytes, public.receive(bytes) FROM (VALUES (''::bytea), ('\x00'), ('\x02'::bytea || 'has order'), ('\xff'), ('\x01'),
	('\x01'::bytea || 'has'), ('\x01'::bytea || 'has ord'), ('\x01'::bytea || 'city = ''a'), ('\x01686173ff'), ('\x01d0'),
	('\x0161203d20270027'), ('\x01'::bytea || 'a = 1' || '\x00'::bytea), ('has order')) v (bytes);
-- each beginning of a predicate, and each with a byte turned over, is read or refused in the classes of the language
SELECT count(*) > 50, count(*) FILTER (WHERE answer !~ '^(22|42|54)...: ' AND answer::predicate IS NULL)
FROM (SELECT predicate_send('a > 1.5 and has order[x = ''y'' and not followed by b within 1 hour] in last 3 days') AS whole) w,
	LATERAL (SELECT public.receive(substr(whole, 1, n)) AS answer FROM generate_series(0, length(whole) - 1) n
			 UNION ALL
			 SELECT public.receive(set_byte(whole, n, get_byte(whole, n) # 129)) FROM generate_series(0, length(whole) - 1) n) a;

-- Equality and order: the bytes of the canonical text, not the meaning
SELECT a::predicate = b::predicate AS eq, a::predicate <> b::predicate AS ne, a::predicate < b::predicate AS lt, a::predicate <= b::predicate AS le,
	a::predicate > b::predicate AS gt, a::predicate >= b::predicate AS ge, predicate_compare(a::predicate, b::predicate), a, b
FROM (VALUES ('has order', 'HAS   ORDER'), ('a <> 1', 'a != 1.0'), ('not a in (1)', 'a not in (1)'), ('(a = 1)', 'a = 1'),
	('a = 1 and b = 2', 'b = 2 and a = 1'), ('a = 1', 'a = 10'), ('a = 2', 'a = 10'), ('"B" = 1', 'a = 1'),
	('a = ''я''', 'a = ''z'''), ('x today', 'x this day'), ('x in last 1 day', 'x in last 24 hours')) v (a, b);
SELECT NULL::predicate = 'true', 'true' < NULL::predicate, predicate_compare(NULL, 'true'), predicate_hash(NULL);

CREATE TEMP TABLE target (id int, p predicate);
INSERT INTO target SELECT n, CASE n % 5
	WHEN 0 THEN format('count(order) > %s', n / 5 % 40)
	WHEN 1 THEN format('city = ''c%s'' and no order', n / 5 % 40)
	WHEN 2 THEN format('"City" in (%s, %s)', n / 5 % 40, n)
	WHEN 3 THEN format('has view in last %s days', 1 + n / 5 % 40)
	ELSE 'true' END::predicate
FROM generate_series(1, 500) n;
SELECT count(*), count(DISTINCT p), count(DISTINCT p::text COLLATE "C") FROM target;
SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY p, id) AS a, row_number() OVER (ORDER BY p::text COLLATE "C", id) AS b
	FROM target) o WHERE a <> b;
SELECT p, count(*) FROM target GROUP BY p ORDER BY count(*) DESC, p LIMIT 3;
SELECT p FROM target ORDER BY p DESC LIMIT 2;
SELECT count(*), bool_and(n = (SELECT count(*) FROM target t WHERE t.p::text = g.p::text))
FROM (SELECT p, count(*) AS n FROM target GROUP BY p) g;
-- hashes agree with equality; the seeded one with seed 0 begins with the other
SELECT predicate_hash('has   order') = predicate_hash('has order'), predicate_hash('a = 1') = predicate_hash('a = 2'),
	predicate_hash_extended('has order', 0) & 4294967295 = predicate_hash('has order')::bigint & 4294967295,
	predicate_hash_extended('has order', 1) = predicate_hash_extended('has   order', 1),
	predicate_hash_extended('has order', 1) = predicate_hash_extended('has order', 2);

-- Indexes, and joins of each kind
CREATE INDEX target_hash ON target USING hash (p);
ANALYZE target;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM target WHERE p = 'has   view in last 2 days';
SELECT count(*) FROM target WHERE p = 'has   view in last 2 days';
DROP INDEX target_hash;
CREATE UNIQUE INDEX ON target (p, id);
INSERT INTO target VALUES (4, '(TRUE)');
EXPLAIN (COSTS OFF) SELECT count(*) FROM target WHERE p >= 'has view in last 2 days' AND p < 'i = 1';
SELECT count(*) FROM target WHERE p >= 'has view in last 2 days' AND p < 'i = 1';
RESET enable_seqscan;
SELECT count(*) FROM target WHERE p::text COLLATE "C" >= 'has view in last 2 days' AND p::text COLLATE "C" < 'i = 1';
SET enable_indexscan = off;
SET enable_indexonlyscan = off;
SET enable_nestloop = off;
SET enable_mergejoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM target a JOIN target b USING (p);
SELECT count(*) FROM target a JOIN target b USING (p);
SET enable_mergejoin = on;
SET enable_hashjoin = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM target a JOIN target b USING (p);
SELECT count(*) FROM target a JOIN target b USING (p);
RESET enable_indexscan;
RESET enable_indexonlyscan;
RESET enable_bitmapscan;
RESET enable_nestloop;
RESET enable_hashjoin;
-- spread over partitions by the seeded hash
CREATE TEMP TABLE spread (p predicate) PARTITION BY HASH (p);
CREATE TEMP TABLE spread_0 PARTITION OF spread FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TEMP TABLE spread_1 PARTITION OF spread FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO spread SELECT DISTINCT p FROM target;
SELECT (SELECT count(*) FROM spread_0) > 10, (SELECT count(*) FROM spread_1) > 10, (SELECT count(*) FROM spread WHERE p = 'true');
DROP TABLE target, spread;

-- A long one goes through TOAST, compressed or out of line
CREATE TEMP TABLE long (id int, p predicate);
INSERT INTO long SELECT 1, ('x in (' || string_agg(n::text, ',' ORDER BY n) || ')')::predicate FROM generate_series(1, 20000) n;
INSERT INTO long SELECT 2, p FROM long;
SELECT a.p = b.p, predicate_hash(a.p) = predicate_hash(b.p), length(a.p::text), attributes(a.p), pg_column_size(a.p) < length(a.p::text),
	'{"customer": 1, "attributes": {"x": 20000}, "events": []}'::profile @@ a.p,
	'{"customer": 1, "attributes": {"x": 20001}, "events": []}'::profile @@ a.p
FROM long a, long b WHERE a.id = 1 AND b.id = 2;
DROP TABLE long;

-- Joining: parentheses where they matter, nested chains laid open, NULL for NULL, limits kept
SELECT 'a = 1 or b = 2'::predicate && 'not c = 3', 'a = 1'::predicate && 'b = 2 and c = 3', 'a = 1'::predicate || 'b = 2 and c = 3',
	'a = 1'::predicate || 'b = 2 or c = 3';
SELECT !! 'a = 1 or b = 2'::predicate, !! 'a in (1)'::predicate, !! 'a not in (1)'::predicate, !! !! 'a in (1)'::predicate,
	!! 'true'::predicate, !! 'has order'::predicate, !! 'no order'::predicate;
SELECT !! 'a = 1'::predicate && 'b = 2', !! ('a = 1'::predicate && 'b = 2') || 'c = 3';
SELECT NULL::predicate && 'true' IS NULL, ('true'::predicate || NULL) IS NULL, (!! NULL::predicate) IS NULL;
SELECT predicate_and('a = 1', 'b = 2'), predicate_or('a = 1', 'b = 2'), predicate_not('a = 1');
SELECT public.try(format('%L::crm.predicate && %L', 'a = ''' || repeat('x', 200000) || '''', 'a = ''' || repeat('x', 200000) || ''''));
SELECT public.try(format('crm.predicate_or(%L, %L)', 'a = 1' || repeat(' or a = 1', 6000), 'a = 1' || repeat(' or a = 1', 6000)));
-- joined by an aggregate of the shop's own
CREATE AGGREGATE public.any_of(predicate) (SFUNC = predicate_or, STYPE = predicate);
SELECT public.any_of(p ORDER BY p) FROM (VALUES ('b = 1'::predicate), ('a = 1 or c = 2'), ('d = 1 and e = 2')) v (p);
DROP AGGREGATE public.any_of(predicate);

-- What it depends on: names once each, in the order of bytes
SELECT event_kinds(p::predicate), attributes(p::predicate), p FROM (VALUES
	('true'), ('a = b'), ('has order'), ('no "Order"'), ('has b or has a or count(b) > 1'), ('z = 1 or "Z" = 1 or "ж" = 1'),
	('has order[at today and hour > 5 and amount > customer.cap]'), ('first(a) > last(b) and max(c.at) in last 1 day'),
	('has a[followed by b[preceded by c[same x and y = customer.y]]]'), ('anniversary(birthday + 1 day) today'),
	('anniversary(first(order)) today'), ('bucket(''x'') < 5'), ('in segment ''vip'' and in segment 4'), ('''2026-06-21'' in next 3 days'),
	('x in (''y'') and z between u and v and s contains ''t'' and r is known and -q < 1')) v (p);
SELECT event_kinds(NULL), attributes(NULL);

-- Broken text is an error, or where the server can ask (from 16 on), simply no predicate
CREATE FUNCTION public.softly(source text, OUT valid boolean, OUT message text, OUT detail text, OUT hint text, OUT code text)
	LANGUAGE plpgsql AS $function$
BEGIN
	IF current_setting('server_version_num')::int >= 160000 THEN
		EXECUTE 'SELECT pg_input_is_valid($1, ''crm.predicate''), e.* FROM pg_input_error_info($1, ''crm.predicate'') e'
			INTO valid, message, detail, hint, code USING source;
	ELSE
		PERFORM source::crm.predicate;
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
SELECT public.try('''has''::crm.predicate');
SELECT left(text, 30), s.* FROM (VALUES ('has order'), (' true '), ('has'), (''), ('a = ''x'), ('a > 3 days'), ('x in last 0 days'), ('f(x) = 1'), ('x in last 99999 years'),
	(repeat('(', 200)), ('has a[' || repeat('followed by a[', 5)), ('a = ‘x’'), ('x is null'), (repeat(' ', 300000) || 'true'), (repeat('not ', 70000)), ('a in (1' || repeat(',1', 30000) || ')'), ('b in (1' || repeat(',1', 120000) || ')'), (repeat('a = 1 or ', 15000) || 'b = 1'), (repeat('-', 5000) || '1 = a'),
	('a = ' || repeat('9', 140000)), ('a = 0.' || repeat('1', 20000)), (repeat('n', 300) || ' = 1')) v (text), LATERAL public.softly(text) s;
DROP FUNCTION public.softly;

-- The planner's estimate: of 10,000 profiles, a constant predicate keeps so many
CREATE TEMP TABLE fan (customer profile);
INSERT INTO fan SELECT format('{"customer": %s, "attributes": {}, "events": []}', n)::profile FROM generate_series(1, 10000) n;
ANALYZE fan;
CREATE FUNCTION public.estimate(query text) RETURNS bigint
	LANGUAGE plpgsql AS $function$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan -> 0 -> 'Plan' ->> 'Plan Rows';
END
$function$;
SELECT public.estimate(format('SELECT FROM fan WHERE customer @@ %L', p)), p FROM (VALUES ('true'), ('false'), ('not false'),
	('has order'), ('no order'), ('not has order'), ('has order in last 3 days'), ('has order[amount > 5]'), ('city = ''x'''), ('city <> ''x'''),
	('a > 5'), ('a between 1 and 5'), ('a not between 1 and 5'), ('a in (1, 2)'), ('a in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)'), ('a like ''x%'''),
	('a contains 1'), ('a is known'), ('a is not known'), ('a today'), ('a not today'), ('bucket(''x'') < 50'), ('in segment 1'),
	('city = ''x'' and a > 5'), ('city = ''x'' or a > 5'), ('not (city = ''x'' or a > 5)'), ('true and false'), ('true or false')) v (p);
-- one that is not known when planning, NULL, and one from another table
SET plan_cache_mode = force_generic_plan;
PREPARE ask(predicate) AS SELECT FROM fan WHERE customer @@ $1;
SELECT public.estimate('EXECUTE ask(''true'')');
SET plan_cache_mode = force_custom_plan;
SELECT public.estimate('EXECUTE ask(''true'')');
DEALLOCATE ask;
RESET plan_cache_mode;
SELECT public.estimate('SELECT FROM fan WHERE customer @@ NULL');
SELECT public.estimate('SELECT FROM fan, (VALUES (''true''::predicate), (''false'')) v (p) WHERE customer @@ p');
-- an operator of somebody else's making gets the guess, not a crash
CREATE FUNCTION public.same_length(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN length($1) = length($2);
CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = public.same_length, RESTRICT = crm.predicate_matchsel,
	JOIN = crm.predicate_matchjoinsel);
SELECT public.estimate('SELECT FROM fan WHERE customer::text OPERATOR(public.===) ''has''');
DROP OPERATOR public.=== (text, text);
DROP FUNCTION public.same_length;

DROP FUNCTION public.try, public.receive, public.estimate;

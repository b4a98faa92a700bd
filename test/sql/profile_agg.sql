-- crm.profile_agg(kind, at, properties): one profile of many rows, in any plan the same.
SET search_path = crm, public;
SET TimeZone = 'UTC';
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

CREATE FUNCTION public.try(expression text) RETURNS text
	LANGUAGE plpgsql AS $function$
DECLARE
	result text;
	detail text;
	hint text;
BEGIN
	EXECUTE 'SELECT ' || expression INTO result;
	RETURN coalesce(result, 'NULL');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS result = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ': ' || result || CASE WHEN detail <> '' THEN E'\n  ' || detail ELSE '' END ||
		CASE WHEN hint <> '' THEN E'\n  ' || hint ELSE '' END;
END
$function$;

-- Rows: names of columns become names of properties, NULL is left out
CREATE TEMP TABLE shop_order (customer_id int, at timestamptz, amount numeric(10,2), status text, paid boolean, due date, tags text[], qty int);
INSERT INTO shop_order VALUES (1, '2026-01-05 10:00+03', 100.10, 'paid', true, '2026-01-31', '{a,b}', 2),
	(1, '2025-12-31 10:00Z', 5, NULL, NULL, NULL, NULL, NULL), (2, '2026-02-01 00:00Z', 0.00, '', false, 'infinity', '{}', -1);
SELECT customer_id, profile_agg('order', at, o) FROM shop_order o GROUP BY customer_id ORDER BY customer_id;
SELECT profile_agg('order', at, o) FROM (SELECT at, amount FROM shop_order) o;
SELECT profile_agg('order', o.at, q) FROM shop_order o, LATERAL (SELECT o.amount * 2 AS double, upper(o.status) AS "Status") q;
-- jsonb, and nothing at all
SELECT profile_agg('order', at, jsonb_build_object('amount', amount, 'tags', tags, 'when', due)) FROM shop_order;
SELECT profile_agg('visit', at, NULL::jsonb), profile_agg('visit', at, '{}'::jsonb), profile_agg('visit', at, 'null'::jsonb) FROM shop_order WHERE customer_id = 2;
SELECT profile_agg('visit', at, NULL::shop_order) FROM shop_order WHERE customer_id = 2;
-- kinds side by side, and the customer's attributes
SELECT profile_agg(kind, at, p ORDER BY kind DESC) FROM (VALUES
	('customer', NULL::timestamptz, '{"city": "Moscow", "birthday": "1990-01-03", "at": "2026-01-05"}'::jsonb), ('order', '2026-01-05Z', '{"amount": 100.10}'),
	('view', '2026-01-04Z', '{"item": "SKU-1"}'), ('customer', '2020-01-01Z', '{"vip": true, "gone": null}'), ('customer', NULL, NULL), ('customer', NULL, '{"city": "Moscow"}')) v (kind, at, p);
SELECT profile_agg('customer', NULL, c) FROM (SELECT 42 AS customer_id, 'Moscow' AS city, date '1990-01-03' AS birthday, NULL::text AS phone, 'noon' AS at, 12 AS month) c;
-- every type of property
SELECT profile_agg('e', '2026-01-05Z', p) FROM (SELECT 1::smallint AS i2, 2::int AS i4, 3::bigint AS i8, 1.50::numeric AS n, 'a'::text AS t, 'b'::varchar(5) AS v, 'c'::char(3) AS c, 'd'::name AS nm,
	true AS b, date '2026-01-05' AS d, timestamptz '2026-01-05 10:00+03' AS ts, ARRAY[1, 2] AS ia, ARRAY[1.50, NULL] AS na, ARRAY['x'] AS ta, ARRAY[date '2026-01-05'] AS da,
	ARRAY[true] AS ba, '{}'::text[] AS ea, date 'infinity' AS di, timestamptz '-infinity' AS tn, 'NaN'::numeric AS nan, 'Infinity'::numeric AS inf,
	'2026-01-05'::text AS looks, uuid '00000000-0000-0000-0000-000000000001' AS u) p;
CREATE TYPE public.mood AS ENUM ('sad', 'glad');
CREATE DOMAIN public.money_amount AS numeric CHECK (VALUE >= 0);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 'glad'::public.mood AS mood) p$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 5.0::public.money_amount AS amount) p$$);
DROP TYPE public.mood;
DROP DOMAIN public.money_amount;

-- The time of the event in the row too: the same, or an error
SELECT public.try(format($$profile_agg('e', %s, p) FROM (SELECT %s AS at, 1 AS x) p$$, at, again)) FROM (VALUES
	('timestamptz ''2026-01-05 10:00Z''', 'timestamptz ''2026-01-05 10:00Z'''), ('timestamptz ''2026-01-05 10:00Z''', 'timestamptz ''2026-01-05 10:01Z'''),
	('timestamptz ''2026-01-05 10:00Z''', 'NULL::timestamptz'), ('timestamp ''2026-01-05 10:00''', 'timestamp ''2026-01-05 10:00'''), ('date ''2026-01-05''', 'date ''2026-01-05'''),
	('date ''2026-01-05''', 'date ''2026-01-07'''), ('timestamptz ''2026-01-05 10:00Z''', '''noon''::text'), ('timestamptz ''2026-01-05 10:00Z''', 'timestamptz ''infinity''')) v (at, again);

SELECT public.try(format($$profile_agg('e', %s, p) FROM (SELECT %s AS at, 1 AS x) p$$, at, again)) FROM (VALUES ('timestamptz ''2026-01-04 21:00Z''', 'date ''2026-01-05'''), ('timestamptz ''2026-01-04 21:00Z''', 'timestamp ''2026-01-05 00:00'''),
	('timestamptz ''2026-01-04 21:00Z''', 'timestamp ''2026-01-06 00:00'''), ('timestamptz ''2026-01-04 21:00Z''', 'date ''infinity''')) v (at, again);
SELECT public.try($$profile_agg('customer', NULL, p) FROM (SELECT timestamp '2026-01-05 00:00' AS at) p$$);

-- A dropped column; rows of two shapes at one call site; a column that is wider than a line
ALTER TABLE shop_order ADD COLUMN gone text DEFAULT 'x', ADD COLUMN late text DEFAULT 'y';
ALTER TABLE shop_order DROP COLUMN gone;
SELECT profile_agg('order', at, o) FROM shop_order o WHERE customer_id = 2;
ALTER TABLE shop_order DROP COLUMN late;
SELECT profile_agg('e', '2026-01-05Z'::timestamptz + n * interval '1 day', CASE WHEN n % 2 = 1 THEN x ELSE y END) FROM (SELECT 1 AS a) x, (SELECT 'two' AS b, 3 AS c) y, generate_series(1, 4) n;

-- The customer
SELECT customer_of(profile_agg('e', '2026-01-05Z', p)) FROM (VALUES (NULL::bigint), (7), (7), (NULL)) p (customer_id);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (VALUES (7), (8)) p (customer_id)$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (VALUES (7.0)) p (customer_id)$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (VALUES (7.5)) p (customer_id)$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', p) FROM (VALUES ('seven')) p (customer_id)$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', '{"customer_id": 9}'::jsonb)$$);
SELECT public.try($$profile_agg('e', '2026-01-05Z', '{"customer_id": "9"}'::jsonb)$$);

-- What is refused
SELECT e, public.try(e) FROM unnest(ARRAY[
	$$profile_agg('e', '2026-01-05Z', ROW(1, 2))$$, $$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 1 AS a, 2) p$$, $$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 1 AS a, 2 AS a) p$$,
	$$profile_agg('e', '2026-01-05Z', 5)$$, $$profile_agg('e', '2026-01-05Z', 'x'::text)$$, $$profile_agg('e', '2026-01-05Z', '{}'::json)$$, $$profile_agg('e', '2026-01-05Z', ARRAY[1])$$,
	$$profile_agg('e', '2026-01-05Z', NULL)$$, $$profile_agg('e', '2026-01-05Z', '[]'::jsonb)$$, $$profile_agg('e', '2026-01-05Z', '5'::jsonb)$$,
	$$profile_agg(NULL, '2026-01-05Z', '{}'::jsonb)$$, $$profile_agg('', '2026-01-05Z', '{}'::jsonb)$$, $$profile_agg(repeat('k', 300), '2026-01-05Z', '{}'::jsonb)$$,
	$$profile_agg('e', NULL, '{"x": 1}'::jsonb)$$, $$profile_agg('e', 'infinity', '{}'::jsonb)$$, $$profile_agg('e', '-infinity', p) FROM (SELECT 1 AS x) p$$,
	$$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 1.5::float8 AS x) p$$, $$profile_agg('e', '2026-01-05Z', p) FROM (SELECT now()::timestamp AS x) p$$,
	$$profile_agg('e', '2026-01-05Z', p) FROM (SELECT '{}'::jsonb AS x) p$$, $$profile_agg('e', '2026-01-05Z', p) FROM (SELECT interval '1 day' AS x) p$$,
	$$profile_agg('e', '2026-01-05Z', p) FROM (SELECT ARRAY[1.5::float8] AS x) p$$, $$profile_agg('e', '2026-01-05Z', p) FROM (SELECT ARRAY[[1, 2], [3, 4]] AS x) p$$,
	$$profile_agg('e', '2026-01-05Z', p) FROM (SELECT 5 AS month) p$$, $$profile_agg('e', '2026-01-05Z', '{"month": 5}'::jsonb)$$, $$profile_agg('e', '2026-01-05Z', '{"": 5}'::jsonb)$$, $$profile_agg('e', '2026-01-05Z', (SELECT jsonb_object_agg('p' || n, n) FROM generate_series(1, 1601) n))$$,
	$$profile_agg('e', '2026-01-05Z', '{"x": {"y": 1}}'::jsonb)$$, $$profile_agg('e', '2026-01-05Z', '{"x": ["a", 1]}'::jsonb)$$, $$profile_agg('e', '2026-01-05Z', '{"at": "2026-01-06T00:00:00Z"}'::jsonb)$$,
	$$profile_agg('customer', NULL, p) FROM (VALUES ('{"city": "a"}'::jsonb), ('{"city": "b"}')) v (p)$$,
	$$profile_agg('customer', NULL, p) FROM (VALUES ('{"debt": 1.0}'::jsonb), ('{"debt": 1.00}')) v (p)$$]) e;

-- No rows, nothing but NULLs from an outer join
SELECT profile_agg('e', now(), NULL::jsonb) FROM shop_order WHERE false;
SELECT v.id, profile_agg('order', o.at, o) FROM (VALUES (1), (3)) v (id) LEFT JOIN shop_order o ON o.customer_id = v.id GROUP BY v.id ORDER BY v.id;
SELECT count(*) FROM (SELECT profile_agg('e', now(), NULL::jsonb) FROM shop_order WHERE false GROUP BY customer_id) s;

-- FILTER, ORDER BY, DISTINCT, GROUPING SETS, windows
SELECT profile_agg('order', at, o) FILTER (WHERE amount > 1) = profile_agg('order', at, o ORDER BY random()) FILTER (WHERE amount > 1),
	profile_agg('order', at, o ORDER BY amount DESC) = profile_agg('order', at, o ORDER BY amount) FROM (SELECT at, amount FROM shop_order) o;
SELECT profile_agg(DISTINCT 'visit', at, o) FROM (SELECT at::date::timestamptz AS at, 1 AS n FROM shop_order, generate_series(1, 3)) o;
SELECT customer_id, profile_agg('order', at, o) FROM (SELECT at, amount FROM shop_order) o LEFT JOIN shop_order USING (at) GROUP BY GROUPING SETS ((customer_id), ()) ORDER BY customer_id;
SELECT at, profile_agg('order', at, o) OVER (ORDER BY at) FROM (SELECT at, amount FROM shop_order) o ORDER BY at;
SELECT at, profile_agg('order', at, o) OVER (ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM (SELECT at, amount FROM shop_order) o ORDER BY at;
-- a window's value is not changed by what is added later
SELECT count(*) FROM (SELECT n, profile_agg('e', '2026-01-05Z', p) OVER (ORDER BY n) AS p FROM (SELECT n, n AS x FROM generate_series(1, 300) n) p) s
WHERE (SELECT count(*) FROM events_of(p)) <> n;

-- The state can be stored, merged and finished later
CREATE TEMP TABLE partial AS
SELECT k, profile_state_add(profile_state_add(NULL, 'order', '2026-01-05Z', jsonb_build_object('n', k)), 'customer', NULL, '{"city": "Moscow"}'::jsonb) AS state FROM generate_series(1, 3) k;
SELECT state FROM partial WHERE k = 1;
SELECT profile_state_final(profile_state_merge(a.state, b.state)), profile_state_final(profile_state_merge(a.state, b.state)) = profile_state_final(profile_state_merge(b.state, a.state))
FROM partial a, partial b WHERE a.k = 1 AND b.k = 2;
SELECT profile_state_final(NULL), profile_state_merge(NULL, NULL) IS NULL, profile_state_final(profile_state_merge(NULL, state)) = profile_state_final(profile_state_merge(state, NULL)) FROM partial WHERE k = 1;
SELECT profile_state_final(state::text::profile_state) = profile_state_final(state), profile_state_send(state) = profile_send(profile_state_final(state)) FROM partial ORDER BY k;
SELECT public.try($$crm.profile_state_merge(crm.profile_state_add(NULL, 'customer', NULL, '{"customer_id": 1}'::jsonb), crm.profile_state_add(NULL, 'customer', NULL, '{"customer_id": 2}'::jsonb))$$);
SELECT public.try($$crm.profile_state_final(crm.profile_state_merge(crm.profile_state_add(NULL, 'customer', NULL, '{"x": 1}'::jsonb), crm.profile_state_add(NULL, 'customer', NULL, '{"x": 2}'::jsonb)))$$);
SELECT public.try($$'{"events": [{}]}'::crm.profile_state$$);

-- many shapes, and many attributes
SELECT profile_state_final(profile_state_merge(a.s, b.s)) = profile_state_final(profile_state_merge(b.s, a.s)), (SELECT count(*) FROM events_of(profile_state_final(profile_state_merge(a.s, b.s)))), (SELECT count(*) FROM attributes_of(profile_state_final(b.s)))
FROM (SELECT format('{"customer": 7, "events": [%s]}', string_agg(format('{"kind": "k%s", "at": "2026-01-05T07:00:00Z", "p%s": %s}', n % 50, n % 37, n), ','))::profile_state AS s FROM generate_series(1, 500) n) a,
	(SELECT format('{"customer": 7, "attributes": {%s}}', string_agg(format('"a%s": %s', n, n), ','))::profile_state AS s FROM generate_series(1, 200) n) b;
-- by way of a file, in binary
CREATE TEMP TABLE sent (s profile_state);
COPY (SELECT profile_state_merge('{"customer": 7, "attributes": {"city": "Tver"}}', '{"events": [{"kind": "a", "at": "2026-01-05T07:00:00Z", "n": [1.50]}]}')) TO PROGRAM 'cat >regression_profile_state.tmp' (FORMAT binary);
COPY sent FROM PROGRAM 'cat regression_profile_state.tmp && rm regression_profile_state.tmp' (FORMAT binary);
SELECT s, profile_state_final(s) FROM sent;

-- Decimals are exact: sums and averages are numeric's
CREATE TEMP TABLE payment AS SELECT n % 7 AS customer_id, timestamptz '2026-01-01Z' + n * interval '1 minute' AS at, (n * n % 99991)::numeric / 1000 + (n % 13)::numeric * 0.0000000000001 AS amount FROM generate_series(1, 3000) n;
SELECT customer_id, s, p @@ format('sum(pay.amount) = %s and avg(pay.amount) = %s and max(pay.amount) = %s and count(pay) = %s', s, s / c, m, c)::predicate
FROM (SELECT customer_id, sum(amount) AS s, max(amount) AS m, count(*) AS c, profile_agg('pay', at, p) AS p FROM payment p GROUP BY customer_id) g ORDER BY customer_id;

-- Serial, parallel, hashed, sorted, spilled and partition-wise give the same
CREATE TABLE public.fact (customer_id int, at timestamptz, what text, amount numeric, item text) PARTITION BY HASH (customer_id);
CREATE TABLE public.fact_0 PARTITION OF public.fact FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.fact_1 PARTITION OF public.fact FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.fact SELECT n % 2000, CASE WHEN n % 11 > 0 THEN timestamptz '2026-01-01Z' + n % 5000 * interval '1 hour' END, CASE WHEN n % 11 > 0 THEN 'k' || n % 3 ELSE 'customer' END,
	n % 977 / 10.0, CASE WHEN n % 11 > 0 THEN 'SKU-' || n % 50 END
FROM generate_series(1, 20000) n;
UPDATE public.fact SET amount = NULL, item = 'i' || customer_id WHERE what = 'customer';
ANALYZE public.fact, public.fact_0, public.fact_1;
CREATE VIEW public.fact_profile AS SELECT customer_id, profile_agg(what, at, f) AS p FROM public.fact f GROUP BY customer_id;
CREATE FUNCTION public.nodes(query text) RETURNS text
	LANGUAGE plpgsql AS $function$
DECLARE
	line text;
	result text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		result := concat_ws(', ', nullif(result, ''), substring(line FROM '(Gather Merge|Gather|(?:Partial |Finalize )?(?:HashAggregate|GroupAggregate|Aggregate))'));
	END LOOP;
	RETURN result;
END
$function$;
SET max_parallel_workers_per_gather = 0;
SET enable_sort = off;
SELECT public.nodes('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE hashed AS SELECT * FROM public.fact_profile;
SET enable_sort = on;
SET enable_hashagg = off;
SELECT public.nodes('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE sorted AS SELECT * FROM public.fact_profile;
SET enable_hashagg = on;
SET enable_partitionwise_aggregate = on;
SELECT public.nodes('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE partitioned AS SELECT * FROM public.fact_profile;
SET enable_partitionwise_aggregate = off;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET enable_sort = off;
SELECT public.nodes('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE parallel_hashed AS SELECT * FROM public.fact_profile;
SET enable_sort = on;
SET enable_hashagg = off;
SELECT public.nodes('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE parallel_sorted AS SELECT * FROM public.fact_profile;
-- all customers in one profile, in parts of two workers
SELECT public.nodes($$SELECT profile_agg(what, at, f) FROM (SELECT what, at, amount FROM public.fact WHERE what <> 'customer') f$$);
CREATE TEMP TABLE parallel_one AS SELECT profile_agg(what, at, f) AS p FROM (SELECT what, at, amount FROM public.fact WHERE what <> 'customer') f;
RESET enable_hashagg;
RESET min_parallel_table_scan_size;
RESET parallel_tuple_cost;
RESET parallel_setup_cost;
SET max_parallel_workers_per_gather = 0;
SELECT profile_agg(what, at, f) = (SELECT p FROM parallel_one) FROM (SELECT what, at, amount FROM public.fact WHERE what <> 'customer') f;
-- spilled: the groups do not fit into memory
SET work_mem = '64kB';
SET enable_sort = off;
SET hash_mem_multiplier = 1;
CREATE FUNCTION public.spilled(query text) RETURNS boolean
	LANGUAGE plpgsql AS $function$
DECLARE
	line text;
	result boolean := false;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
		result := result OR line ~ 'Disk Usage: [1-9]';
	END LOOP;
	RETURN result;
END
$function$;
SELECT public.spilled('SELECT * FROM public.fact_profile');
CREATE TEMP TABLE spilled AS SELECT * FROM public.fact_profile;
RESET work_mem;
RESET enable_sort;
RESET hash_mem_multiplier;
SELECT 'sorted' AS plan, count(*), sum(length(p::text)) FROM sorted
UNION ALL SELECT 'hashed', count(*), sum(length(b.p::text)) FROM sorted a JOIN hashed b ON a.customer_id = b.customer_id AND a.p = b.p
UNION ALL SELECT 'partition-wise', count(*), sum(length(b.p::text)) FROM sorted a JOIN partitioned b ON a.customer_id = b.customer_id AND a.p = b.p
UNION ALL SELECT 'parallel, hashed', count(*), sum(length(b.p::text)) FROM sorted a JOIN parallel_hashed b ON a.customer_id = b.customer_id AND a.p = b.p
UNION ALL SELECT 'parallel, sorted', count(*), sum(length(b.p::text)) FROM sorted a JOIN parallel_sorted b ON a.customer_id = b.customer_id AND a.p = b.p
UNION ALL SELECT 'spilled', count(*), sum(length(b.p::text)) FROM sorted a JOIN spilled b ON a.customer_id = b.customer_id AND a.p = b.p;
-- and what is in them is what is in the table
SELECT (SELECT count(*) FROM sorted, events_of(p)) = (SELECT count(*) FROM public.fact WHERE what <> 'customer'),
	(SELECT sum((e.properties ->> 'amount')::numeric) FROM sorted, events_of(p) e) = (SELECT sum(amount) FROM public.fact),
	(SELECT count(*) FROM sorted, attributes_of(p) a WHERE a.name = 'item' AND a.value = to_jsonb('i' || customer_id)) = (SELECT count(DISTINCT customer_id) FROM public.fact WHERE what = 'customer'),
	(SELECT bool_and(customer_of(p) = customer_id) FROM sorted);

DROP VIEW public.fact_profile;
DROP TABLE public.fact;
DROP FUNCTION public.try, public.nodes, public.spilled;

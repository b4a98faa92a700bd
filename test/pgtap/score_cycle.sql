-- Cycles: the published figures of credibility theory, and a real shop (UCI Online Retail) against plain SQL.
--
-- The data does not lie in this project; give its directory as crm_data, else those tests skip.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

\if :{?crm_data}
\else
	\set crm_data ''
\endif

BEGIN;

SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
SET LOCAL jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS crm_marketing;

\ir include/score_common.sql

SELECT plan(16);

------------------------------------------------------------------------------------------------------------------
-- Hachemeister 1975, average claims of five states in twelve quarters: the example by which credibility is taught. Here a
-- state is a customer, and a claim an interval of so many hours. Published (R package actuar, vignette "credibility",
-- Buehlmann's model): collective premium 1671, variance between states 72310, within 46040, credibility factor 0.9496,
-- premiums 2044, 1519, 1814, 1376, 1602.
------------------------------------------------------------------------------------------------------------------

CREATE TEMP TABLE claim ON COMMIT DROP AS
SELECT state, '2000-01-01'::timestamptz + sum(x) OVER (PARTITION BY state ORDER BY n) * interval '1 hour' AS at
  FROM (VALUES (1, '{0,1738,1642,1794,2051,2079,2234,2032,2035,2115,2262,2267,2517}'::int[]),
			   (2, '{0,1364,1408,1597,1444,1342,1675,1470,1448,1464,1831,1612,1471}'),
			   (3, '{0,1759,1685,1479,1763,1674,2103,1502,1622,1828,2155,2233,2059}'),
			   (4, '{0,1223,1146,1010,1257,1426,1532,1953,1123,1343,1243,1762,1306}'),
			   (5, '{0,1456,1499,1609,1741,1482,1572,1606,1735,1607,1573,1613,1690}')) AS v (state, claims),
	   unnest(claims) WITH ORDINALITY AS u (x, n);

SELECT results_eq(
	$$SELECT round(extract(epoch FROM c.cycle) / 3600), round((extract(epoch FROM c.between_customers) / 3600) ^ 2),
			 round((extract(epoch FROM c.within) / 3600) ^ 2 / 10), c.intervals
		FROM crm.cycles_of((SELECT crm.purchase_agg(state, at, 'claim') FROM claim)) AS c$$,
	$$VALUES (1671::numeric, 72310::numeric, 4604::numeric, 60::bigint)$$, 'the published parameters');
SELECT results_eq(
	$$SELECT round(c.weight, 4), round(extract(epoch FROM c.cycle) / 3600)
		FROM crm.customer_cycles_of((SELECT crm.purchase_agg(state, at, 'claim') FROM claim)) AS c ORDER BY c.customer$$,
	$$VALUES (0.9496, 2044::numeric), (0.9496, 1519), (0.9496, 1814), (0.9496, 1376), (0.9496, 1602)$$,
	'the published factors and premiums');

------------------------------------------------------------------------------------------------------------------
-- The same by plain SQL, for any purchases
------------------------------------------------------------------------------------------------------------------

CREATE TABLE public.buy (customer bigint, at timestamptz, item text) PARTITION BY HASH (item);
CREATE TABLE public.buy_0 PARTITION OF public.buy FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.buy_1 PARTITION OF public.buy FOR VALUES WITH (MODULUS 2, REMAINDER 1);

-- Purchases less than a day after the beginning of the one before belong to it.
CREATE VIEW public.purchase AS
WITH RECURSIVE b AS (
	SELECT DISTINCT customer, item, at FROM public.buy
), p AS (
	SELECT customer, item, min(at) AS at FROM b GROUP BY customer, item
	UNION ALL
	SELECT p.customer, p.item, (SELECT min(b.at) FROM public.buy AS b
								 WHERE b.customer = p.customer AND b.item = p.item AND b.at >= p.at + interval '24 hours')
	  FROM p WHERE p.at IS NOT NULL
)
SELECT customer, item, at FROM p WHERE at IS NOT NULL;

CREATE FUNCTION pg_temp.expect() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE expected_pair ON COMMIT DROP AS
	SELECT customer, item, count(*) AS purchases, max(at) AS last, count(x) AS m, avg(x) AS own, coalesce(sum((x - mean) ^ 2), 0) AS squares
	  FROM (SELECT *, avg(x) OVER (PARTITION BY customer, item) AS mean
			  FROM (SELECT customer, item, at,
						   extract(epoch FROM at - lag(at) OVER (PARTITION BY customer, item ORDER BY at))::float8 AS x
					  FROM public.purchase) AS i) AS i
	 GROUP BY customer, item;

	CREATE TEMP TABLE expected_item ON COMMIT DROP AS
	WITH t AS (
		SELECT item, count(*) AS customers, count(own) AS i, coalesce(sum(m), 0) AS n, sum(m ^ 2) AS m2,
			   sum(m * own) / nullif(sum(m), 0) AS mean, sum(squares) / nullif(sum(m) - count(own), 0) AS s2
		  FROM expected_pair GROUP BY item
	), a AS (
		SELECT t.*, CASE WHEN t.i > 1 THEN greatest(
					(SELECT sum(p.m * (p.own - t.mean) ^ 2) FROM expected_pair AS p WHERE p.item = t.item AND p.m > 0)
					- (t.i - 1) * s2, 0) / (n - m2 / n) END AS a
		  FROM t
	), k AS (
		SELECT a.*, CASE WHEN coalesce(a, 0) > 1e-12 * mean ^ 2 THEN s2 / a ELSE 'infinity' END AS k FROM a
	)
	SELECT k.*, coalesce((SELECT sum(p.m / (p.m + k.k) * p.own) / nullif(sum(p.m / (p.m + k.k)), 0)
							FROM expected_pair AS p WHERE p.item = k.item AND p.m > 0 AND k.k < 'infinity'), mean) AS mu
	  FROM k;
END $$;

CREATE FUNCTION pg_temp.seconds(x interval) RETURNS float8 LANGUAGE sql IMMUTABLE AS 'SELECT extract(epoch FROM x)::float8';

-- To the second, and one more for rounding at the half
CREATE FUNCTION pg_temp.near(a float8, b float8) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
	SELECT CASE WHEN a IS NULL OR b IS NULL THEN a IS NULL AND b IS NULL ELSE abs(a - b) <= 1 END
$$;

CREATE FUNCTION pg_temp.compare(label text, items text, customers text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.expect();
	EXECUTE 'CREATE TEMP TABLE got_item ON COMMIT DROP AS ' || items;
	EXECUTE 'CREATE TEMP TABLE got_pair ON COMMIT DROP AS ' || customers;
	RETURN NEXT cmp_ok((SELECT count(*) FROM got_item WHERE cyclic AND prior BETWEEN 0.01 AND 100), '>=', 5::bigint,
					   label || ': there are items whose customers differ');
	RETURN NEXT is_empty($q$
		SELECT e.item, e.mu, e.s2, e.a, g FROM expected_item AS e FULL JOIN got_item AS g USING (item)
		 WHERE (e.customers, e.i, e.n) IS DISTINCT FROM (g.customers, g.repeaters, g.intervals)
			OR NOT pg_temp.near(e.mu, pg_temp.seconds(g.cycle)) OR NOT pg_temp.near(sqrt(e.s2), pg_temp.seconds(g.within))
			OR NOT pg_temp.near(CASE WHEN e.s2 IS NOT NULL AND e.i > 1 THEN sqrt(e.a) END, pg_temp.seconds(g.between_customers))
			OR (e.n >= 5 AND e.i >= 0.25 * e.customers) IS DISTINCT FROM g.cyclic
	$q$, label || ': items');
	RETURN NEXT is_empty($q$
		SELECT e, g FROM (SELECT p.*, i.mu, CASE WHEN p.m = 0 OR i.k = 'infinity' THEN 0 ELSE p.m / (p.m + i.k) END AS z
							FROM expected_pair AS p JOIN expected_item AS i USING (item)) AS e
		  FULL JOIN got_pair AS g USING (customer, item)
		 WHERE (e.purchases, e.last) IS DISTINCT FROM (g.purchases, g.last)
			OR NOT pg_temp.near(e.own, pg_temp.seconds(g.own)) OR abs(e.z - g.weight) > 1e-9
			OR NOT pg_temp.near(CASE WHEN e.m = 0 THEN e.mu ELSE e.z * e.own + (1 - e.z) * e.mu END, pg_temp.seconds(g.cycle))
			OR g.next IS DISTINCT FROM g.last + pg_temp.seconds(g.cycle) * interval '1 second'
	$q$, label || ': customers');
	DROP TABLE expected_pair, expected_item, got_item, got_pair;
END $$;

SELECT setseed(0.125) \g /dev/null
INSERT INTO public.buy
SELECT c, '2025-01-01'::timestamptz + (s + k * len * (0.7 + random() * 0.6)) * interval '1 hour', 'item ' || i
  FROM (SELECT c, i, random() * 500 AS s, (5 + i * 3 + random() * random() * 20 * i) * 24 AS len, floor(random() * random() * 9)::int AS n
		  FROM generate_series(-5, 60) AS c, generate_series(1, 12) AS i WHERE random() < 0.6) AS x,
	   generate_series(0, n) AS k;
-- Hours apart, twice at once; nobody buys it again; one does; all alike
INSERT INTO public.buy SELECT customer, at + interval '5 hours' * (1 + random() * 4), item FROM public.buy WHERE random() < 0.2;
INSERT INTO public.buy SELECT * FROM public.buy WHERE random() < 0.1;
INSERT INTO public.buy SELECT c, '2025-02-01', 'never' FROM generate_series(1, 9) AS c;
INSERT INTO public.buy SELECT c, '2025-02-01'::timestamptz + n * interval '11 days', 'once' FROM generate_series(1, 9) AS c, generate_series(0, 1) AS n WHERE c = 1 OR n = 0;
INSERT INTO public.buy SELECT c, '2025-02-01'::timestamptz + n * interval '10 days', 'alike' FROM generate_series(1, 9) AS c, generate_series(0, 4) AS n;
ANALYZE public.buy;

SELECT pg_temp.compare('random purchases',
	'SELECT * FROM crm.cycles_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy))',
	'SELECT * FROM crm.customer_cycles_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy), only_cyclic => false)');

\set query 'SELECT crm.purchase_agg(customer, at, item)::text FROM public.buy'
SELECT matches(common.plan(:'query', 2), 'Partial .*Aggregate', 'there is a parallel plan');
SELECT is(common.answer(:'query', 2), common.answer(:'query', 0), 'a parallel plan makes the same sales as a serial one');
SELECT is(common.answer(:'query' || ' GROUP BY item', 0), common.answer(replace(:'query', 'item)', 'item ORDER BY random())') || ' GROUP BY item', 0),
		  'as does one by partitions');
CREATE FUNCTION pg_temp.use(sales crm.sales) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(next) FROM crm.customer_cycles_of(sales, only_cyclic => false)
$$;
SELECT is_empty(
	format('SELECT * FROM common.fuzz(''crm.sales'', %L, ''pg_temp.use(s), crm.sales_merge(s, s)::text'', 6000)',
		   (SELECT array_agg(sales::text) FROM (SELECT crm.purchase_agg(customer, at, item) AS sales
												  FROM public.buy GROUP BY customer ORDER BY customer LIMIT 20) AS s)),
	'any bytes as the text of sales give an error or a value');

-- On the feed; then with memory for a few rows only, the rest being in files
SELECT crm.define_event('purchase', 'SELECT customer AS customer_id, at, item FROM public.buy') \g /dev/null
SELECT set_eq($$SELECT c.* FROM crm.customer_cycles(only_cyclic => false, until => 'infinity') AS c$$,
			  $$SELECT c.* FROM crm.customer_cycles_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy), only_cyclic => false) AS c$$,
			  'the feed says what the aggregate says');
SELECT set_eq($$SELECT customer, orders, last, own, weight, cycle, next FROM crm.next_orders(kind => 'purchase', until => 'infinity')$$,
			  $$SELECT customer, purchases, last, own, weight, cycle, next FROM crm.customer_cycles_of(
				(SELECT crm.purchase_agg(customer, at, 'any') FROM public.buy), only_cyclic => false)$$,
			  'all orders as of one item');
SET LOCAL maintenance_work_mem = '1MB';
INSERT INTO public.buy SELECT customer + 1000 * n, at, item FROM public.buy, generate_series(1, 30) AS n;
SELECT set_eq($$SELECT c.* FROM crm.cycles(until => 'infinity') AS c$$,
			  $$SELECT c.* FROM crm.cycles_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy)) AS c$$,
			  'the same through temporary files');
RESET maintenance_work_mem;

------------------------------------------------------------------------------------------------------------------
-- A real shop
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/online_retail/online_retail.csv.gz' AS csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'csv', true)).size IS NOT NULL AS present \gset

\if :present

\ir include/score_retail.sql
TRUNCATE public.buy;
INSERT INTO public.buy SELECT customer, at, item FROM public.retail WHERE customer % 10 = 3;
CREATE INDEX ON public.buy (customer, item, at);
ANALYZE public.buy;
SELECT crm.define_event('purchase', 'SELECT customer AS customer_id, at, item FROM public.buy') \g /dev/null
SELECT pg_temp.compare('Online Retail', 'SELECT * FROM crm.cycles()', 'SELECT * FROM crm.customer_cycles(only_cyclic => false)');
SELECT set_eq('SELECT customer, item, next FROM crm.customer_cycles()',
			  'SELECT c.customer, c.item, c.next FROM crm.customer_cycles(only_cyclic => false) AS c JOIN crm.cycles() AS i USING (item) WHERE i.cyclic',
			  'Online Retail: only what is cyclic');

\else
SELECT * FROM skip('Online Retail is not here: set crm_data to the directory that holds online_retail/', 4);
\endif

SELECT * FROM finish();
ROLLBACK;

-- ABC and XYZ: published examples, a real shop (UCI Online Retail) and random sales against plain SQL.
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

SELECT plan(23);

------------------------------------------------------------------------------------------------------------------
-- Published examples
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/abcxyz/abc_16_items_example.csv' AS abc_csv, :'crm_data' || '/abcxyz/xyz_examples.csv' AS xyz_csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'abc_csv', true)).size IS NOT NULL AS present \gset

\if :present

CREATE TEMP TABLE abc_example (item text, demand numeric, price numeric, usage numeric, percent numeric, class text) ON COMMIT DROP;
SELECT format('COPY abc_example FROM %L WITH (FORMAT csv, HEADER)', :'abc_csv') \gexec
CREATE TEMP TABLE xyz_example (source text, item text, series text, mean numeric, deviation numeric, variation numeric, class text) ON COMMIT DROP;
SELECT format('COPY xyz_example FROM %L WITH (FORMAT csv, HEADER)', :'xyz_csv') \gexec

SELECT is((SELECT count(*) FROM abc_example), 16::bigint, 'there is the example of ABC');
SELECT results_eq(
	$$SELECT a.item, round(100 * a.cumulative, 1), a.abc
		FROM (SELECT crm.item_sales_agg(item, '2026-01-01', usage, demand) AS sales FROM abc_example) AS s, crm.abc_xyz_of(s.sales) AS a$$,
	$$SELECT item, percent, class FROM abc_example$$,
	'the published example of ABC, its order and its percentages');
SELECT results_eq(
	$$SELECT e.source, e.item, round(a.mean, 2), round(a.deviation, 2), round(100 * a.variation, 2), a.xyz
		FROM xyz_example AS e,
			 LATERAL (SELECT crm.item_sales_agg(e.item, ('2012-01-01'::date + (n - 1) * interval '1 month')::date, 1, x::numeric) AS sales
						FROM unnest(string_to_array(e.series, ' ')) WITH ORDINALITY AS u (x, n)) AS s,
			 crm.abc_xyz_of(s.sales) AS a
	   ORDER BY 1, 2$$,
	$$SELECT source, item, round(mean, 2), round(deviation, 2), round(variation, 2), class FROM xyz_example ORDER BY 1, 2$$,
	'the published examples of XYZ');

\else
SELECT * FROM skip('the examples are not here: set crm_data to the directory that holds abcxyz/', 3);
\endif

------------------------------------------------------------------------------------------------------------------
-- Random sales
------------------------------------------------------------------------------------------------------------------

SELECT setseed(0.25) \g /dev/null
CREATE TABLE public.sale (item text, day date, amount numeric, quantity numeric) PARTITION BY HASH (day);
CREATE TABLE public.sale_0 PARTITION OF public.sale FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.sale_1 PARTITION OF public.sale FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.sale
SELECT 'item ' || (random() * random() * 90)::int,
	   '2025-01-10'::date + (random() * 200)::int,
	   CASE WHEN random() < 0.03 THEN NULL WHEN random() < 0.03 THEN -50 ELSE round((random() * random() * 30)::numeric, 1) END,
	   CASE WHEN random() < 0.03 THEN NULL WHEN random() < 0.001 THEN 12345678901234567890 ELSE floor(random() * 5) END
  FROM generate_series(1, 3000);
-- Some of exactly the same amount, some all the same every month
INSERT INTO public.sale SELECT 'same ' || i, '2025-01-15'::date + (m || ' month')::interval, 33.3, 4 + i * (m % 2)
  FROM generate_series(1, 6) AS i, generate_series(0, 6) AS m;
ANALYZE public.sale;

-- The classes by window functions. Equal amounts by the bytes of the name.
CREATE FUNCTION pg_temp.by_sql(period text, since date, until date, cuts numeric[], boundary text, ties text,
							   xyz_cuts numeric[], deviation_of text, gaps text) RETURNS TABLE (
	item text, amount numeric, share numeric, cumulative numeric, abc text, quantity numeric, periods int, mean numeric,
	deviation numeric, variation numeric, xyz text) LANGUAGE sql AS $$
	WITH p AS (
		SELECT item, date_trunc(period, day)::date AS period, sum(coalesce(amount, 0)) AS amount, sum(coalesce(quantity, 0)) AS quantity
		  FROM public.sale WHERE day BETWEEN since AND until GROUP BY 1, 2
	), i AS (
		SELECT item, sum(amount) AS amount, sum(quantity) AS quantity, min(period) AS first FROM p GROUP BY item
	), c AS (
		SELECT i.*, greatest(amount, 0) AS positive, sum(greatest(amount, 0)) OVER () AS total,
			   sum(greatest(amount, 0)) OVER (ORDER BY amount DESC, item COLLATE "C") AS reached,
			   sum(greatest(amount, 0)) OVER (ORDER BY amount DESC) AS reached_together,
			   sum(greatest(amount, 0)) OVER (ORDER BY amount DESC GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before_together
		  FROM i
	), b AS (
		SELECT c.*, CASE ties WHEN 'apart' THEN reached ELSE reached_together END AS by_end,
			   CASE ties WHEN 'apart' THEN reached - positive ELSE coalesce(before_together, 0) END AS by_start
		  FROM c
	), v AS (
		SELECT i.item, count(*) AS n, avg(coalesce(p.quantity, 0)) AS mean,
			   CASE deviation_of WHEN 'sample' THEN stddev_samp(coalesce(p.quantity, 0)) ELSE stddev_pop(coalesce(p.quantity, 0)) END AS deviation
		  FROM i
		  JOIN generate_series(date_trunc(period, since::timestamp), until::timestamp,
							   CASE period WHEN 'quarter' THEN interval '3 months' ELSE ('1 ' || period)::interval END) AS g
			   ON gaps <> 'since_first' OR g >= i.first
		  LEFT JOIN p ON p.item = i.item AND p.period = g::date
		 WHERE gaps <> 'skip' OR p.item IS NOT NULL
		 GROUP BY i.item
	)
	SELECT b.item, b.amount, b.positive / nullif(b.total, 0), b.reached / nullif(b.total, 0),
		   CASE WHEN b.amount <= 0 THEN chr(65 + cardinality(cuts))
				ELSE chr(65 + (SELECT count(*)::int FROM unnest(cuts) AS u
								WHERE CASE boundary WHEN 'within' THEN b.by_end > u * b.total ELSE b.by_start >= u * b.total END)) END,
		   b.quantity, v.n::int, round(v.mean, 8), CASE WHEN v.n > 1 THEN round(v.deviation, 8) END,
		   CASE WHEN v.n > 1 AND v.mean > 0 THEN round(v.deviation / v.mean, 8) END,
		   CASE WHEN v.n > 1 AND v.mean > 0 THEN chr(88 + (SELECT count(*)::int FROM unnest(xyz_cuts) AS u WHERE v.deviation / v.mean > u)) END
	  FROM b JOIN v USING (item)
$$;

CREATE FUNCTION pg_temp.by_crm(period text, since date, until date, cuts numeric[], boundary text, ties text,
							   xyz_cuts numeric[], deviation_of text, gaps text) RETURNS TABLE (
	item text, amount numeric, share numeric, cumulative numeric, abc text, quantity numeric, periods int, mean numeric,
	deviation numeric, variation numeric, xyz text) LANGUAGE sql AS $$
	SELECT a.item, a.amount, a.share, a.cumulative, a.abc, a.quantity, a.periods, round(a.mean, 8), round(a.deviation, 8),
		   round(a.variation, 8), a.xyz
	  FROM (SELECT crm.item_sales_agg(item, day, amount, quantity) AS sales FROM public.sale) AS s,
		   crm.abc_xyz_of(s.sales, period, since, until, cuts, boundary, ties, xyz_cuts, deviation_of, gaps) AS a
$$;

SELECT set_eq(format('SELECT * FROM pg_temp.by_crm(%s)', a), format('SELECT * FROM pg_temp.by_sql(%s)', a), a)
  FROM unnest(ARRAY[
	$$'month', '2025-01-10', '2025-07-29', '{0.8,0.95}', 'within', 'apart', '{0.1,0.25}', 'population', 'zero'$$,
	$$'month', '2025-01-10', '2025-07-29', '{0.8,0.95}', 'crossing', 'apart', '{0.4,0.6}', 'sample', 'zero'$$,
	$$'month', '2025-01-01', '2025-12-31', '{0.8,0.95}', 'within', 'together', '{0.4,0.6}', 'sample', 'since_first'$$,
	$$'week', '2025-01-10', '2025-07-29', '{0.5,0.8,0.95}', 'crossing', 'together', '{0.5,1}', 'population', 'skip'$$,
	$$'day', '2025-03-01', '2025-03-31', '{0.2,0.4,0.6,0.8}', 'within', 'apart', '{1,3}', 'sample', 'zero'$$,
	$$'quarter', '2025-02-01', '2025-06-30', '{0.5}', 'within', 'apart', '{0.1,0.25}', 'population', 'zero'$$,
	$$'year', '2024-01-01', '2025-12-31', '{0.333,0.667}', 'crossing', 'apart', '{0.9,1}', 'population', 'zero'$$]) AS a;

SELECT results_eq($$SELECT item FROM pg_temp.by_crm('month', NULL, NULL, '{0.8,0.95}', 'within', 'apart', '{0.1,0.25}', 'population', 'zero')$$,
				  $$SELECT item FROM public.sale GROUP BY item ORDER BY sum(coalesce(amount, 0)) DESC, item COLLATE "C"$$,
				  'the greatest amount comes first');

-- At a cut-off to the last digit: a third, and a coefficient of exactly 0.1 and 0.25
SELECT results_eq(
	$$SELECT a.item, a.abc FROM crm.abc_xyz_of((SELECT crm.item_sales_agg(i, '2026-01-01', x, 1) FROM (VALUES ('a', 80.00), ('b', 15.0), ('c', 5)) AS v (i, x))) AS a$$,
	$$VALUES ('a', 'A'), ('b', 'B'), ('c', 'C')$$, 'an item that reaches the cut-off belongs to the better class');
SELECT results_eq(
	$$SELECT a.item, a.abc FROM crm.abc_xyz_of((SELECT crm.item_sales_agg(i, '2026-01-01', x, 1) FROM (VALUES ('a', 80.00), ('b', 15.0), ('c', 5)) AS v (i, x)), boundary => 'crossing') AS a$$,
	$$VALUES ('a', 'A'), ('b', 'B'), ('c', 'C')$$, 'where the one before reached it, the next one begins a class');
SELECT results_eq(
	$$SELECT a.item, a.xyz FROM crm.abc_xyz_of((SELECT crm.item_sales_agg(i, d::date, 1, x) FROM (VALUES
		('a', '2026-01-01', 9), ('a', '2026-02-01', 11), ('b', '2026-01-01', 3), ('b', '2026-02-01', 5), ('c', '2026-01-01', 3), ('c', '2026-02-01', 5.0000000001)) AS v (i, d, x))) AS a ORDER BY 1$$,
	$$VALUES ('a', 'X'), ('b', 'Y'), ('c', 'Z')$$, 'a coefficient at the cut-off belongs to the better class');

\set query 'SELECT crm.item_sales_agg(item, day, amount, quantity)::text FROM public.sale'
SELECT matches(common.plan(:'query', 2), 'Partial .*Aggregate', 'there is a parallel plan');
SELECT is(common.answer(:'query', 2), common.answer(:'query', 0), 'a parallel plan makes the same sales as a serial one');
SELECT is(common.answer(:'query' || ' GROUP BY day', 0), common.answer(replace(:'query', 'quantity)', 'quantity ORDER BY random())') || ' GROUP BY day', 0),
		  'as does one by partitions');

-- Numbers of items change when rows are added up in between
SELECT results_eq(
	$$SELECT count(*)::int, sum(amount), bool_and(amount = substr(item, 2)::int * 40) FROM crm.abc_xyz_of(
		(SELECT crm.item_sales_agg('i' || i * 7919 % 5000, '2026-01-01'::date + i / 40000, i * 7919 % 5000, 1) FROM generate_series(0, 199999) AS i))$$,
	$$VALUES (5000, 5000 * 4999 / 2 * 40::numeric, true)$$, 'many rows of items that come in no order');

SELECT throws_ok($$SELECT crm.sales_merge((SELECT crm.item_sales_agg('x', '2026-01-01', 1, 1)), (SELECT crm.purchase_agg(1, '2026-01-01', 'x')))$$,
				 '22023', NULL, 'sales of different aggregates');

CREATE FUNCTION pg_temp.use(sales crm.sales) RETURNS bigint LANGUAGE sql AS $$
	SELECT count(xyz) FROM crm.abc_xyz_of(sales, 'year')
$$;
SELECT is_empty(
	format('SELECT * FROM common.fuzz(''crm.sales'', %L, ''pg_temp.use(s), crm.sales_merge(s, s)::text'', 6000)',
		   (SELECT array_agg(sales::text) FROM (SELECT crm.item_sales_agg(item, day, amount, quantity) AS sales
												  FROM public.sale GROUP BY day ORDER BY day LIMIT 30) AS s)),
	'any bytes as the text of sales give an error or a value');

------------------------------------------------------------------------------------------------------------------
-- A real shop
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/online_retail/online_retail.csv.gz' AS csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'csv', true)).size IS NOT NULL AS present \gset

\if :present

\ir include/score_retail.sql

SET LOCAL TimeZone = 'Europe/London';
TRUNCATE public.sale;
INSERT INTO public.sale SELECT item, at::date, amount, quantity FROM public.retail WHERE at >= '2011-06-01' AND at < '2011-12-01';
CREATE TEMP TABLE expected ON COMMIT DROP AS
SELECT * FROM pg_temp.by_sql('month', '2011-06-01', '2011-11-30', '{0.8,0.95}', 'within', 'apart', '{0.1,0.25}', 'population', 'zero');
TRUNCATE public.sale;
INSERT INTO public.sale SELECT customer::text, at::date, amount, amount FROM public.retail WHERE at >= '2011-06-01' AND at < '2011-12-01';
CREATE TEMP TABLE expected_customers ON COMMIT DROP AS
SELECT * FROM pg_temp.by_sql('month', '2011-06-01', '2011-11-30', '{0.8,0.95}', 'within', 'apart', '{0.1,0.25}', 'population', 'zero');
SET LOCAL TimeZone = 'Asia/Tokyo';

SELECT set_eq(
	$$SELECT item, amount, share, cumulative, abc, quantity, periods, round(mean, 8) AS mean,
			 round(deviation, 8) AS deviation, round(variation, 8) AS variation, xyz
		FROM crm.abc_xyz(periods => 6)$$,
	'SELECT * FROM expected', 'the last six months of Online Retail are classed as by plain SQL');
SELECT set_eq(
	$$SELECT customer::text, amount, abc, periods, round(mean, 8) AS mean, round(variation, 8) AS variation, xyz FROM crm.customer_abc_xyz(periods => 6)$$,
	'SELECT item, amount, abc, periods, mean, variation, xyz FROM expected_customers', 'and so are its customers');
SELECT results_eq('SELECT sum(amount), max(cumulative), count(*)::int FROM crm.abc_xyz(periods => NULL, until => ''2012-01-01Z'')',
				  'SELECT sum(amount), 1::numeric, count(DISTINCT item)::int FROM public.retail', 'all months together are all sales');

\else
SELECT * FROM skip('Online Retail is not here: set crm_data to the directory that holds online_retail/', 3);
\endif

SELECT * FROM finish();
ROLLBACK;

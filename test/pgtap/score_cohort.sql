-- Cohorts of a real shop, UCI Online Retail, against plain SQL; and of random sales in any plan.
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
SET LOCAL jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS crm_marketing;

\ir include/score_common.sql

SELECT plan(16);

------------------------------------------------------------------------------------------------------------------
-- Random sales
------------------------------------------------------------------------------------------------------------------

SELECT setseed(0.5) \g /dev/null
CREATE TABLE public.sale (customer bigint, day date, amount numeric) PARTITION BY HASH (day);
CREATE TABLE public.sale_0 PARTITION OF public.sale FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE public.sale_1 PARTITION OF public.sale FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO public.sale
SELECT (random() * 200)::bigint * (CASE WHEN random() < 0.1 THEN -1000000000000 ELSE 1 END),
	   '2024-12-25'::date + (random() * random() * 400)::int,
	   CASE WHEN random() < 0.05 THEN NULL WHEN random() < 0.02 THEN 12345678901234567890.123456789
			ELSE round((random() * 200 - 20)::numeric, (random() * 3)::int) END
  FROM generate_series(1, 4000);
ANALYZE public.sale;

CREATE FUNCTION pg_temp.by_sql(period text, until date) RETURNS TABLE (
	cohort date, size bigint, age int, customers bigint, orders bigint, amount numeric) LANGUAGE sql AS $$
	WITH s AS (
		SELECT customer, date_trunc(period, day)::date AS period, sale.amount FROM public.sale WHERE day <= until
	), c AS (
		SELECT customer, min(s.period) AS cohort FROM s GROUP BY customer
	), n AS (
		SELECT c.cohort, count(*) AS size FROM c GROUP BY c.cohort
	), p AS (
		SELECT n.cohort, n.size, g.n::int - 1 AS age, g.p::date AS period
		  FROM n, generate_series(n.cohort::timestamp, date_trunc(by_sql.period, until::timestamp),
								  CASE by_sql.period WHEN 'quarter' THEN interval '3 months' ELSE ('1 ' || by_sql.period)::interval END)
				  WITH ORDINALITY AS g (p, n)
	)
	SELECT p.cohort, p.size, p.age, count(DISTINCT s.customer), count(s.customer), coalesce(sum(s.amount), 0)
	  FROM p
	  LEFT JOIN (c JOIN s USING (customer)) ON c.cohort = p.cohort AND s.period = p.period
	 GROUP BY p.cohort, p.size, p.age
$$;

PREPARE by_crm(text, date) AS
	SELECT c.cohort, c.size, c.age, c.customers, c.orders, c.amount
	  FROM (SELECT crm.customer_sales_agg(customer, day, amount) AS sales FROM public.sale) AS s,
		   crm.cohorts_of(s.sales, $1, $2) AS c;

SELECT set_eq(format('EXECUTE by_crm(%L, %L)', p, '2025-11-15'),
			  format('SELECT * FROM pg_temp.by_sql(%L, %L)', p, '2025-11-15'), format('random sales by %s', p))
  FROM unnest('{day,week,month,quarter,year}'::text[]) AS p;

\set query 'SELECT crm.customer_sales_agg(customer, day, amount)::text FROM public.sale GROUP BY customer % 3'
SELECT matches(common.plan(:'query', 2), 'Partial .*Aggregate', 'there is a parallel plan');
SELECT is(common.answer(:'query', 2), common.answer(:'query', 0), 'a parallel plan makes the same sales as a serial one');
SELECT is(common.answer('SELECT crm.customer_sales_agg(customer, day, amount)::text FROM public.sale GROUP BY day', 0),
		  common.answer('SELECT crm.customer_sales_agg(customer, day, amount ORDER BY random())::text FROM public.sale GROUP BY day', 0),
		  'as does one by partitions');

-- In a window the state goes on changing after a row has got its value.
SELECT is_empty($$
	SELECT w.n, a.sales FROM (
		SELECT n, crm.customer_sales_agg(customer, day, amount) OVER (ORDER BY n ROWS BETWEEN 9 PRECEDING AND CURRENT ROW) AS sales
		  FROM (SELECT *, row_number() OVER () AS n FROM public.sale LIMIT 60) AS s ORDER BY random()) AS w
	  JOIN LATERAL (SELECT crm.customer_sales_agg(customer, day, amount) AS sales
					  FROM (SELECT *, row_number() OVER () AS n FROM public.sale LIMIT 60) AS s
					 WHERE s.n BETWEEN w.n - 9 AND w.n) AS a ON a.sales::text <> w.sales::text
$$, 'in a moving frame of a window');
SELECT is_empty($$
	SELECT w.n FROM (
		SELECT n, crm.customer_sales_agg(customer, day, amount) OVER (ORDER BY n) AS sales
		  FROM (SELECT *, row_number() OVER () AS n FROM public.sale LIMIT 60) AS s ORDER BY random()) AS w
	 WHERE (SELECT sum(orders) FROM crm.cohorts_of(w.sales)) <> w.n
$$, 'in a growing frame of a window');

-- More rows than are kept before they are added up
SELECT results_eq(
	$$SELECT sum(customers)::int, sum(orders)::int, sum(amount) FROM crm.cohorts_of(
		(SELECT crm.customer_sales_agg(i % 7, '2026-01-01'::date + i % 40, 0.01 * (i % 100)) FROM generate_series(1, 300000) AS i), 'year')$$,
	$$VALUES (7, 300000, (SELECT sum(0.01 * (i % 100)) FROM generate_series(1, 300000) AS i))$$,
	'many rows of few customers and days');

CREATE FUNCTION pg_temp.use(sales crm.sales) RETURNS bigint LANGUAGE sql AS $$
	SELECT sum(customers) FROM crm.cohorts_of(sales, 'year')
$$;
SELECT is_empty(
	format('SELECT * FROM common.fuzz(''crm.sales'', %L, ''pg_temp.use(s), crm.sales_merge(s, s)::text'', 6000)',
		   (SELECT array_agg(sales::text) FROM (SELECT crm.customer_sales_agg(customer, day, amount) AS sales
												  FROM public.sale GROUP BY day ORDER BY day LIMIT 30) AS s)),
	'any bytes as the text of sales give an error or a value');
SELECT is_empty(
	format('SELECT * FROM common.fuzz_binary(''crm.sales'', %L, 300)',
		   (SELECT array_agg(sales::text) FROM (SELECT crm.customer_sales_agg(customer, day, amount) AS sales
												  FROM public.sale GROUP BY day ORDER BY day LIMIT 30) AS s)),
	'any bytes that are received give an error or a value');

------------------------------------------------------------------------------------------------------------------
-- A real shop
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/online_retail/online_retail.csv.gz' AS csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'csv', true)).size IS NOT NULL AS present \gset

\if :present

\ir include/score_retail.sql

SET LOCAL TimeZone = 'Europe/London';
CREATE TEMP TABLE expected ON COMMIT DROP AS
WITH o AS (
	SELECT customer, invoice_no, date_trunc('month', min(at))::date AS month, sum(amount) AS amount
	  FROM public.retail GROUP BY customer, invoice_no
), c AS (
	SELECT customer, min(month) AS cohort FROM o GROUP BY customer
)
SELECT c.cohort, s.size, (extract(year FROM age(o.month, c.cohort)) * 12 + extract(month FROM age(o.month, c.cohort)))::int AS age,
	   count(DISTINCT customer) AS customers, count(*) AS orders, sum(o.amount) AS amount,
	   count(DISTINCT customer)::numeric / s.size AS retention
  FROM c JOIN o USING (customer) JOIN (SELECT cohort, count(*) AS size FROM c GROUP BY cohort) AS s USING (cohort)
 GROUP BY 1, 2, 3;
-- The session's zone is another one on purpose: it must not matter.
SET LOCAL TimeZone = 'Asia/Tokyo';

SELECT set_eq('SELECT cohort, size, age, customers, orders, amount, retention FROM crm.cohorts()',
			  'SELECT cohort, size, age, customers, orders, amount, retention FROM expected',
			  'the table of cohorts of Online Retail is that of plain SQL');
SELECT results_eq('SELECT sum(size) FILTER (WHERE age = 0)::int, sum(orders)::int, sum(amount), count(*)::int FROM crm.cohorts()',
				  'VALUES (4338, 18532, 8911407.904, 91)', 'its sums are as published');
SELECT set_eq($$SELECT * FROM crm.cohorts('week')$$,
			  $$SELECT c.* FROM (SELECT crm.customer_sales_agg(customer, (at AT TIME ZONE 'Europe/London')::date, amount) AS sales
								   FROM (SELECT customer, min(at) AS at, sum(amount) AS amount FROM public.retail
										  GROUP BY customer, invoice_no) AS o) AS s, crm.cohorts_of(s.sales, 'week', '2011-12-10') AS c$$,
			  'by weeks the feed says what the aggregate says');

\else
SELECT * FROM skip('Online Retail is not here: set crm_data to the directory that holds online_retail/', 3);
\endif

SELECT * FROM finish();
ROLLBACK;

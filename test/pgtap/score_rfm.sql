-- RFM against others: the R package rfm on its own data (MIT), pandas' rule, and SQL's ntile and rank on a real shop.
--
-- The data does not lie in this project; give its directory, an absolute path that the server may read:
--     psql -v crm_data=/path/to/data -f test/pgtap/score_rfm.sql
-- where rfm/ and online_retail/ are under it. Without it only the made-up populations are tried. It runs as superuser.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

BEGIN;

SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
SET LOCAL search_path = public, crm;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS crm_marketing;

\if :{?crm_data}
\else
	\set crm_data ''
\endif

SELECT :'crm_data' || '/rfm/rfm_data_orders.csv' AS rfm_orders, :'crm_data' || '/rfm/rfm_orders_expected.csv' AS rfm_expected,
	   :'crm_data' || '/rfm/rfm_data_customer.csv.gz' AS rfm_customers, :'crm_data' || '/rfm/segment_maps.csv' AS rfm_maps,
	   :'crm_data' || '/online_retail/online_retail.csv.gz' AS retail \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'rfm_expected', true)).size IS NOT NULL
   AND (pg_stat_file(:'retail', true)).size IS NOT NULL AS present \gset

SELECT plan(24);

------------------------------------------------------------------------------------------------------------------
-- The methods, as plain SQL says them, from one row a customer: days, orders, total
------------------------------------------------------------------------------------------------------------------

CREATE TEMP TABLE customer (shop text, id bigint, days int, orders bigint, total numeric) ON COMMIT DROP;

CREATE FUNCTION pg_temp.say(the_shop text, method text, bins int) RETURNS TABLE (id bigint, r int, f int, m int) LANGUAGE sql AS $$
	WITH c AS (
		SELECT id, days, orders, total, count(*) OVER () AS n FROM customer WHERE shop = the_shop
	), bound AS (
		-- Quantiles of type 7 in exact numbers (percentile_cont is double precision), times bins, plus 1 times bins
		SELECT array_agg(days[low] * (bins - rest) + coalesce(days[low + 1], 0) * rest + bins) AS days,
			   array_agg(orders[low] * (bins - rest) + coalesce(orders[low + 1], 0) * rest + bins) AS orders,
			   array_agg(total[low] * (bins - rest) + coalesce(total[low + 1], 0) * rest + bins) AS total
		  FROM (SELECT array_agg(days ORDER BY days) AS days, array_agg(orders ORDER BY orders) AS orders, array_agg(total ORDER BY total) AS total, count(*) AS n FROM c) AS a,
			   generate_series(1, bins - 1) AS k, LATERAL (SELECT 1 + (n - 1) * k / bins AS low, (n - 1) * k % bins AS rest) AS l
	)
	SELECT id,
		   CASE method
			WHEN 'ntile' THEN ntile(bins) OVER (ORDER BY days DESC, id)
			WHEN 'quantile' THEN (1 + bins * (rank() OVER (ORDER BY days DESC) - 1) / n)::int
			WHEN 'pandas' THEN bins + 1 - greatest(1, ceil(bins * (row_number() OVER (ORDER BY days, id) - 1) / nullif(n - 1, 0)::numeric))::int
			WHEN 'r' THEN bins - (SELECT count(*) FROM bound, unnest(bound.days) AS b WHERE c.days * bins >= b)::int END,
		   CASE method
			WHEN 'ntile' THEN ntile(bins) OVER (ORDER BY orders, id)
			WHEN 'quantile' THEN (1 + bins * (rank() OVER (ORDER BY orders) - 1) / n)::int
			WHEN 'pandas' THEN greatest(1, ceil(bins * (row_number() OVER (ORDER BY orders, id) - 1) / nullif(n - 1, 0)::numeric))::int
			WHEN 'r' THEN 1 + (SELECT count(*) FROM bound, unnest(bound.orders) AS b WHERE c.orders * bins >= b)::int END,
		   CASE method
			WHEN 'ntile' THEN ntile(bins) OVER (ORDER BY total, id)
			WHEN 'quantile' THEN (1 + bins * (rank() OVER (ORDER BY total) - 1) / n)::int
			WHEN 'pandas' THEN greatest(1, ceil(bins * (row_number() OVER (ORDER BY total, id) - 1) / nullif(n - 1, 0)::numeric))::int
			WHEN 'r' THEN 1 + (SELECT count(*) FROM bound, unnest(bound.total) AS b WHERE c.total * bins >= b)::int END
	  FROM c
$$;

-- Customers who are scored otherwise than SQL says, or whose numbers are others
CREATE FUNCTION pg_temp.differences(the_shop text, method text, bins int) RETURNS TABLE (id bigint, ours text, expected text) LANGUAGE sql AS $$
	SELECT coalesce(s.customer, e.id), s.score::text, format('%s-%s-%s', e.r, e.f, e.m)
	  FROM (SELECT crm.rfm_agg(id, '2030-01-01Z'::timestamptz - make_interval(days => days), total, orders) AS p FROM customer WHERE shop = the_shop) AS o
	 CROSS JOIN LATERAL crm.scores_of(o.p, '2030-01-01Z', method => method, bins => bins) AS s
	  FULL JOIN (SELECT * FROM customer AS c JOIN pg_temp.say(the_shop, method, bins) AS x USING (id) WHERE c.shop = the_shop) AS e ON e.id = s.customer
	 WHERE s.score IS DISTINCT FROM crm.make_rfm(e.r, e.f, e.m)
		OR (s.recency, s.frequency, s.monetary) IS DISTINCT FROM (e.days, e.orders, e.total)
$$;

-- Made up: from 1 to 200 customers, from no ties at all to nothing but ties, refunds among them
SELECT setseed(0.5);
INSERT INTO customer
SELECT format('made up %s', n), id, (random() * spread)::int, 1 + (random() * spread / 3)::int, round((random() * spread - spread / 5.0)::numeric, n % 3)
  FROM generate_series(1, 25) AS n, LATERAL (SELECT 1 + (n * n * 7 % 200) AS size, (ARRAY[0, 1, 3, 10, 1000])[1 + n % 5] AS spread) AS s,
	   generate_series(1, size) AS id;

SELECT is_empty(format($q$
	SELECT n, bins, d.* FROM generate_series(1, 25) AS n, generate_series(2, 9) AS bins, pg_temp.differences(format('made up %%s', n), %L, bins) AS d
$q$, method), format('25 made-up shops in 2 to 9 bins are scored by method %s as plain SQL scores them', method))
  FROM unnest('{quantile,ntile,r}'::text[]) AS method;

-- One customer alone is in bin 1 by pandas' rule; of more the formula holds
SELECT is_empty($$
	SELECT n, bins, d.* FROM generate_series(1, 25) AS n, generate_series(2, 9) AS bins, pg_temp.differences(format('made up %s', n), 'pandas', bins) AS d
	 WHERE (SELECT count(*) FROM customer WHERE shop = format('made up %s', n)) > 1
$$, '25 made-up shops in 2 to 9 bins are scored by method pandas as plain SQL scores them');

-- Whatever the method, better is not scored worse, and equal values share a score unless the method splits ties
SELECT is_empty($$
	SELECT method, n, a.customer, b.customer, a.score, b.score
	  FROM unnest('{quantile,ntile,r,pandas}'::text[]) AS method, generate_series(1, 25, 3) AS n,
		   LATERAL (SELECT crm.rfm_agg(id, '2030-01-01Z'::timestamptz - make_interval(days => days), total, orders) AS p FROM customer WHERE shop = format('made up %s', n)) AS o,
		   crm.scores_of(o.p, '2030-01-01Z', method => method) AS a, crm.scores_of(o.p, '2030-01-01Z', method => method) AS b
	 WHERE a.recency < b.recency AND crm.rfm_r(a.score) < crm.rfm_r(b.score)
		OR a.frequency > b.frequency AND crm.rfm_f(a.score) < crm.rfm_f(b.score)
		OR a.monetary > b.monetary AND crm.rfm_m(a.score) < crm.rfm_m(b.score)
		OR method IN ('quantile', 'r') AND (a.recency = b.recency AND crm.rfm_r(a.score) <> crm.rfm_r(b.score)
			OR a.frequency = b.frequency AND crm.rfm_f(a.score) <> crm.rfm_f(b.score)
			OR a.monetary = b.monetary AND crm.rfm_m(a.score) <> crm.rfm_m(b.score))
$$, 'nobody who is better is scored worse, and by quantile and r equals are scored equal');

-- Every cell of the grid has one segment, and only those of the map
SELECT is((SELECT count(*) FROM crm.rfm_map AS a JOIN crm.rfm_map AS b ON a.map = b.map AND a.priority < b.priority
			WHERE a.map = 'rf_grid' AND int4range(a.r_low, a.r_high, '[]') && int4range(b.r_low, b.r_high, '[]')
			  AND int4range(a.f_low, a.f_high, '[]') && int4range(b.f_low, b.f_high, '[]')), 0::bigint, 'no two segments of the grid have a cell in common');
SELECT is((SELECT count(crm.rfm_segment(crm.make_rfm(r, f, m))) FROM generate_series(1, 5) r, generate_series(1, 5) f, generate_series(1, 5) m), 125::bigint,
		  'the grid names every score of five bins');

\if :present

------------------------------------------------------------------------------------------------------------------
-- The R package rfm: its orders, its customers, its scores
------------------------------------------------------------------------------------------------------------------

CREATE TEMP TABLE r_order (customer_id text, order_date date, revenue numeric) ON COMMIT DROP;
CREATE TEMP TABLE r_expected (customer_id text, recency_days int, transaction_count int, amount numeric, r int, f int, m int, rfm int, readme text, test text) ON COMMIT DROP;
CREATE TEMP TABLE r_customer (customer_id int, most_recent_visit date, recency_days int, number_of_orders int, revenue numeric) ON COMMIT DROP;
COPY r_order FROM :'rfm_orders' WITH (FORMAT csv, HEADER);
COPY r_expected FROM :'rfm_expected' WITH (FORMAT csv, HEADER);
SELECT format('COPY r_customer FROM PROGRAM %L WITH (FORMAT csv, HEADER)', 'gzip -dc ''' || replace(:'rfm_customers', '''', '''\''''') || '''') \gexec

-- Their customers have names; ours have numbers
CREATE TABLE public.r_name AS SELECT row_number() OVER (ORDER BY customer_id)::int AS id, customer_id AS name FROM r_expected;
CREATE TABLE public.r_sale AS SELECT n.id, o.order_date, o.revenue FROM r_order AS o JOIN public.r_name AS n ON n.name = o.customer_id;
SELECT is((SELECT count(*) FROM public.r_sale), 4906::bigint, 'all orders of the package have a customer');

SELECT is((SELECT count(*) FROM r_expected), 995::bigint, 'there are 995 rows to compare');
SELECT is_empty($$
	SELECT e.customer_id, s.*, e.r, e.f, e.m
	  FROM (SELECT crm.rfm_agg(id, order_date, revenue) AS p FROM public.r_sale) AS o
	 CROSS JOIN LATERAL crm.scores_of(o.p, '2006-12-31', method => 'r') AS s
	  JOIN public.r_name AS n ON n.id = s.customer
	  FULL JOIN r_expected AS e ON e.customer_id = n.name
	 WHERE (s.recency, s.frequency, s.monetary, s.score) IS DISTINCT FROM (e.recency_days, e.transaction_count, e.amount, crm.make_rfm(e.r, e.f, e.m))
$$, 'each is scored as the package scores it, by the aggregate');

SELECT crm.define_event('order', 'SELECT id AS customer_id, order_date::timestamp AT TIME ZONE ''UTC'' AS at, revenue AS amount FROM public.r_sale');
SELECT is_empty($$
	SELECT e.customer_id, s.*, e.r, e.f, e.m
	  FROM crm.rfm_scores('2006-12-31', method => 'r') AS s
	  JOIN public.r_name AS n ON n.id = s.customer
	  FULL JOIN r_expected AS e ON e.customer_id = n.name
	 WHERE (s.recency, s.frequency, s.monetary, s.score) IS DISTINCT FROM (e.recency_days, e.transaction_count, e.amount, crm.make_rfm(e.r, e.f, e.m))
$$, 'and by the feed');

-- Both maps that the package has published
CREATE TEMP TABLE maps (map text, ord int, segment text, r_lo int, r_hi int, f_lo int, f_hi int, m_lo int, m_hi int, note text) ON COMMIT DROP;
COPY maps FROM :'rfm_maps' WITH (FORMAT csv, HEADER);
INSERT INTO crm.rfm_map SELECT map, ord, segment, r_lo, r_hi, f_lo, f_hi, m_lo, m_hi FROM maps WHERE map LIKE 'rfm\_%';
INSERT INTO crm.rfm_map (map, priority, segment) VALUES ('rfm_readme', 99, 'Others'), ('rfm_test', 99, 'Others');
SELECT is_empty($$
	SELECT e.* FROM r_expected AS e WHERE crm.rfm_segment(crm.make_rfm(e.r, e.f, e.m), 'rfm_readme') <> e.readme OR crm.rfm_segment(crm.make_rfm(e.r, e.f, e.m), 'rfm_test') <> e.test
$$, 'and both maps of the package name the segments that it names');
SELECT set_eq($$ SELECT segment, r_low, r_high, f_low, f_high FROM crm.rfm_map WHERE map = 'rf_grid' $$,
			  $$ SELECT segment, r_lo, r_hi, f_lo, f_hi FROM maps WHERE map = 'rf_grid' $$, 'the grid is the published one');

INSERT INTO customer SELECT 'r', customer_id, recency_days, number_of_orders, revenue FROM r_customer;
SELECT is((SELECT count(*) FROM customer WHERE shop = 'r'), 39999::bigint, 'there are 39,999 customers');
SELECT is_empty($$ SELECT * FROM pg_temp.differences('r', 'r', 5) $$, 'all are scored by the same rule');
SELECT is_empty(format('SELECT * FROM pg_temp.differences(%L, %L, 5)', 'r', method), format('and by method %s as plain SQL scores them', method))
  FROM unnest('{quantile,ntile,pandas}'::text[]) AS method;
SELECT is((SELECT count(*) FROM r_customer AS c, LATERAL (SELECT 1) l
			WHERE c.recency_days <> '2007-01-01'::date - c.most_recent_visit), 0::bigint, 'their days are counted to 1 January 2007');

------------------------------------------------------------------------------------------------------------------
-- A real shop: UCI Online Retail (Chen, Sain, Guo 2012; CC BY 4.0)
------------------------------------------------------------------------------------------------------------------

CREATE TEMP TABLE retail_raw (invoice_no text, stock_code text, description text, quantity int, invoice_date timestamp, unit_price numeric, customer_id int, country text) ON COMMIT DROP;
SELECT format('COPY retail_raw FROM PROGRAM %L WITH (FORMAT csv, HEADER)', 'gzip -dc ''' || replace(:'retail', '''', '''\''''') || '''') \gexec
CREATE TABLE public.retail_line AS
SELECT customer_id, invoice_no, invoice_date AT TIME ZONE 'Europe/London' AS at, quantity * unit_price AS amount FROM retail_raw WHERE customer_id IS NOT NULL;

-- Lines, cancellations included; days of London; the day after the last one
SELECT crm.define_event('purchase', 'SELECT customer_id, at, amount FROM public.retail_line');
INSERT INTO customer
SELECT 'retail', customer_id, '2011-12-10' - (max(at) AT TIME ZONE 'Europe/London')::date, count(DISTINCT (at AT TIME ZONE 'Europe/London')::date), sum(amount) FROM public.retail_line GROUP BY customer_id;
SELECT is((SELECT sum(total) FROM customer WHERE shop = 'retail'), (SELECT sum(amount) FROM public.retail_line), 'the shop is there, refunds and all');
SELECT is_empty(format($q$
	SELECT s.*, e.* FROM crm.rfm_scores(recency_to => 'next', method => %L, count_by => 'days', kind => 'purchase', zone => 'Europe/London') AS s
	  FULL JOIN (SELECT * FROM customer JOIN pg_temp.say('retail', %1$L, 5) USING (id) WHERE shop = 'retail') AS e ON e.id = s.customer
	 WHERE (s.recency, s.frequency, s.monetary, s.score) IS DISTINCT FROM (e.days, e.orders, e.total, crm.make_rfm(e.r, e.f, e.m))
$q$, method), format('its days, totals and scores by method %s are those of plain SQL', method)) FROM unnest('{quantile,ntile,r,pandas}'::text[]) AS method;
\else
SELECT skip('real data is not there: give its directory as crm_data', 17);
\endif

SELECT * FROM finish();

ROLLBACK;

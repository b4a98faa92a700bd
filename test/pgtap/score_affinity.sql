-- Affinity and recommendations against plain SQL: random baskets, and a real shop (UCI Online Retail).
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

SELECT plan(25);

------------------------------------------------------------------------------------------------------------------
-- By plain SQL. A basket is what a customer bought at one instant, on one day of Moscow, or ever.
------------------------------------------------------------------------------------------------------------------

CREATE TABLE public.buy (customer bigint, at timestamptz, item text);

CREATE FUNCTION pg_temp.baskets(basket text) RETURNS TABLE (customer bigint, nr bigint, at timestamptz, item text) LANGUAGE sql AS $$
	SELECT customer, dense_rank() OVER (PARTITION BY customer ORDER BY b), min(at) OVER (PARTITION BY customer, b), item
	  FROM (SELECT customer, b, item, min(min(at)) OVER (PARTITION BY customer, b) AS at
			  FROM (SELECT customer, at, item, CASE basket WHEN 'instant' THEN at::text WHEN 'day' THEN (at AT TIME ZONE 'Europe/Moscow')::date::text ELSE '' END AS b
					  FROM public.buy) AS x
			 GROUP BY customer, b, item) AS y
$$;

CREATE FUNCTION pg_temp.by_sql(relation text, basket text, within interval, min_pairs int) RETURNS TABLE (
	item text, other text, pairs bigint, with_item bigint, with_other bigint, cases bigint, support numeric, confidence numeric, lift numeric) LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS b, c;
	CREATE TEMP TABLE b AS SELECT * FROM pg_temp.baskets(basket);
	-- a case: which basket, and which one after it
	IF relation = 'together' THEN
		CREATE TEMP TABLE c AS SELECT DISTINCT customer, nr AS x, nr AS y FROM b;
	ELSE
		CREATE TEMP TABLE c AS SELECT DISTINCT a.customer, a.nr AS x, n.nr AS y FROM b AS a JOIN b AS n ON n.customer = a.customer AND n.nr = a.nr + 1
			WHERE within IS NULL OR n.at - a.at <= within;
	END IF;
	RETURN QUERY
	WITH total AS (SELECT count(*) AS n FROM c),
		 l AS (SELECT b.item, count(*) AS n FROM c JOIN b ON b.customer = c.customer AND b.nr = c.x GROUP BY 1),
		 r AS (SELECT b.item, count(*) AS n FROM c JOIN b ON b.customer = c.customer AND b.nr = c.y GROUP BY 1),
		 p AS (SELECT i.item, o.item AS other, count(*) AS n
				 FROM c JOIN b AS i ON i.customer = c.customer AND i.nr = c.x JOIN b AS o ON o.customer = c.customer AND o.nr = c.y AND o.item <> i.item
				GROUP BY 1, 2 HAVING count(*) >= min_pairs)
	SELECT p.item, p.other, p.n, l.n, r.n, total.n, p.n::numeric / total.n, p.n::numeric / l.n, p.n::numeric * total.n / (l.n::numeric * r.n)
	  FROM p JOIN l USING (item) JOIN r ON r.item = p.other CROSS JOIN total;
END $$;

CREATE FUNCTION pg_temp.by_agg(relation text, basket text, within interval, min_pairs int) RETURNS TABLE (
	item text, other text, pairs bigint, with_item bigint, with_other bigint, cases bigint, support numeric, confidence numeric, lift numeric) LANGUAGE sql AS $$
	SELECT a.* FROM crm.affinity_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy), relation, basket, within, min_pairs, 'Europe/Moscow') AS a
$$;
CREATE FUNCTION pg_temp.by_feed(relation text, basket text, within interval, min_pairs int) RETURNS TABLE (
	item text, other text, pairs bigint, with_item bigint, with_other bigint, cases bigint, support numeric, confidence numeric, lift numeric) LANGUAGE sql AS $$
	SELECT a.* FROM crm.affinity(relation, basket, within, min_pairs, until => 'infinity', zone => 'Europe/Moscow', kind => 'buy') AS a
$$;

SELECT setseed(0.75) \g /dev/null
INSERT INTO public.buy
SELECT c, '2025-01-01'::timestamptz + (n * (1 + random() * 20)) * interval '1 hour', 'item ' || (random() * random() * 40)::int
  FROM generate_series(1, 120) AS c, generate_series(0, 40) AS n
 WHERE random() < 0.5;
-- Several at once, and some twice
INSERT INTO public.buy SELECT customer, at, 'item ' || (random() * random() * 40)::int FROM public.buy, generate_series(1, 3) WHERE random() < 0.5;
INSERT INTO public.buy SELECT * FROM public.buy WHERE random() < 0.05;
ANALYZE public.buy;
SELECT crm.define_event('buy', 'SELECT customer AS customer_id, at, item FROM public.buy') \g /dev/null

SELECT set_eq(format('SELECT * FROM pg_temp.%s(%s)', f, a), format('SELECT * FROM pg_temp.by_sql(%s)', a), f || ': ' || a)
  FROM unnest('{by_agg,by_feed}'::text[]) AS f,
	   unnest(ARRAY[$$'together', 'instant', NULL, 1$$, $$'together', 'instant', NULL, 12$$, $$'together', 'day', NULL, 3$$,
					$$'together', 'customer', NULL, 2$$, $$'next', 'instant', NULL, 1$$, $$'next', 'day', '2 days 12:00', 2$$]) AS a;

SELECT results_eq($$SELECT item, pairs, other FROM pg_temp.by_agg('together', 'instant', NULL, 1)$$,
				  $$SELECT item, pairs, other FROM pg_temp.by_sql('together', 'instant', NULL, 1) ORDER BY item COLLATE "C", pairs DESC, other COLLATE "C"$$,
				  'by item, the most frequent pair first');

------------------------------------------------------------------------------------------------------------------
-- More pairs than there is memory for: 20,000 items, each with each of eleven others once
------------------------------------------------------------------------------------------------------------------

CREATE TABLE public.wide AS
SELECT c AS customer, '2025-01-01'::timestamptz AS at, 'w' || (c * k * k + k) % 20000 AS item
  FROM generate_series(1, 20000) AS c, generate_series(1, 12) AS k;
SELECT crm.define_event('wide', 'SELECT customer AS customer_id, at, item FROM public.wide') \g /dev/null
CREATE TEMP TABLE expected ON COMMIT DROP AS
	SELECT a.item, b.item AS other, count(*) AS pairs
	  FROM (SELECT DISTINCT customer, item FROM public.wide) AS a JOIN (SELECT DISTINCT customer, item FROM public.wide) AS b USING (customer)
	 WHERE a.item <> b.item GROUP BY 1, 2 HAVING count(*) >= 2;
SET LOCAL maintenance_work_mem = '1MB';
SELECT results_eq($$SELECT count(*), sum(pairs), sum(hashtext(item || ' ' || other || ' ' || pairs)::bigint) FROM crm.affinity(min_pairs => 2, kind => 'wide')$$,
				  $$SELECT count(*), sum(pairs), sum(hashtext(item || ' ' || other || ' ' || pairs)::bigint) FROM expected$$,
				  'together, in parts');
SELECT results_eq($$SELECT count(*), sum(pairs), max(cases) FROM crm.affinity('next', min_pairs => 1, kind => 'wide')$$,
				  $$VALUES (0::bigint, NULL::numeric, NULL::bigint)$$, 'who has one basket has no next one');
INSERT INTO public.wide SELECT customer, at + interval '1 day', item FROM public.wide WHERE customer % 2 = 0;
SELECT results_eq($$SELECT count(*), sum(pairs), max(cases) FROM crm.affinity('next', min_pairs => 2, kind => 'wide')$$,
				  $$SELECT count(*), sum(pairs), 10000::bigint FROM (
					SELECT count(*) AS pairs FROM (SELECT DISTINCT customer, item FROM public.wide WHERE customer % 2 = 0) AS a
					  JOIN (SELECT DISTINCT customer, item FROM public.wide WHERE customer % 2 = 0) AS b USING (customer)
					 WHERE a.item <> b.item GROUP BY a.item, b.item HAVING count(*) >= 2) AS p$$,
				  'next, in parts');
RESET maintenance_work_mem;

------------------------------------------------------------------------------------------------------------------
-- Recommendations
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION pg_temp.offers(per_customer int, relation text, best_by text, leads_from text, now timestamptz, again_after interval, ahead interval)
RETURNS TABLE (customer bigint, rank bigint, item text, because text, score numeric, due timestamptz) LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS cyc, rule;
	CREATE TEMP TABLE cyc AS SELECT c.* FROM crm.customer_cycles_of((SELECT crm.purchase_agg(b.customer, b.at, b.item) FROM public.buy AS b), only_cyclic => false) AS c;
	CREATE TEMP TABLE rule AS SELECT r.item, r.other, r.pairs, CASE best_by WHEN 'lift' THEN r.lift ELSE r.confidence END AS score
		FROM pg_temp.by_agg(relation, 'instant', NULL, 3) AS r;
	RETURN QUERY
	WITH last AS (SELECT b.customer, max(b.at) AS at FROM public.buy AS b GROUP BY b.customer),
		 start AS (SELECT DISTINCT b.customer, b.item FROM public.buy AS b JOIN last USING (customer) WHERE leads_from = 'all' OR b.at = last.at),
		 best AS (SELECT DISTINCT ON (s.customer, r.other) s.customer, r.other AS item, s.item AS because, r.score, r.pairs
					FROM start AS s JOIN rule AS r ON r.item = s.item
				   ORDER BY s.customer, r.other, r.score DESC, r.pairs DESC, s.item COLLATE "C"),
		 offer AS (SELECT b.*, CASE WHEN c.cyclic THEN c.next END AS due
					 FROM best AS b LEFT JOIN cyc AS c ON c.customer = b.customer AND c.item = b.item
					WHERE c.customer IS NULL OR CASE WHEN c.cyclic THEN c.next <= now + ahead ELSE c.last < now - again_after END)
	SELECT * FROM (
		SELECT o.customer, row_number() OVER (PARTITION BY o.customer ORDER BY o.score DESC, o.pairs DESC, o.item COLLATE "C") AS rank,
			   o.item, o.because, round(o.score, 10), o.due FROM offer AS o) AS x
	 WHERE x.rank <= per_customer;
END $$;

SELECT set_eq(
	format($$SELECT customer, rank::bigint, item, because, round(score, 10), due FROM crm.recommendations_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy),
			%s, %L, min_pairs => 3, best_by => %L, leads_from => %L, at => %L, again_after => %L, ahead => %L, zone => 'UTC')$$, n, relation, best_by, leads_from, now, again, ahead),
	format('SELECT * FROM pg_temp.offers(%s, %L, %L, %L, %L, %L, %L)', n, relation, best_by, leads_from, now, again, ahead),
	format('recommendations: %s by %s, from %s, at %s', relation, best_by, leads_from, now))
  FROM (VALUES (5, 'together', 'confidence', 'all', '2025-02-01', NULL, '7 days'), (3, 'together', 'lift', 'last', '2025-02-10', NULL, '0'),
			   (50, 'next', 'confidence', 'last', '2025-01-20', '10 days', '3 days'), (4, 'next', 'lift', 'all', '2025-03-01', '1 month', '1 month'))
	   AS v (n, relation, best_by, leads_from, now, again, ahead);

SELECT set_eq($$SELECT r.* FROM crm.recommendations(kind => 'buy', at => '2025-12-01') AS r$$,
			  $$SELECT r.* FROM crm.recommendations_of((SELECT crm.purchase_agg(customer, at, item) FROM public.buy), at => '2025-12-01') AS r$$,
			  'the feed says what the aggregate says');
SELECT is_empty(
	$$SELECT r.* FROM crm.recommendations(20, kind => 'buy', at => '2025-02-01', min_pairs => 1) AS r
		JOIN (SELECT DISTINCT customer, item FROM public.buy WHERE at <= '2025-02-01') AS b USING (customer, item)
		LEFT JOIN crm.customer_cycles(kind => 'buy', until => '2025-02-01') AS c USING (customer, item)
	   WHERE c.next IS NULL OR c.next > '2025-02-08'$$,
	'nobody is offered what he has bought, unless it is cyclic and due');

------------------------------------------------------------------------------------------------------------------
-- A real shop
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/online_retail/online_retail.csv.gz' AS csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'csv', true)).size IS NOT NULL AS present \gset

\if :present

\ir include/score_retail.sql
TRUNCATE public.buy;
INSERT INTO public.buy SELECT customer, at, item FROM public.retail WHERE at >= '2011-06-01' AND at < '2011-07-01';
ANALYZE public.buy;
CREATE TEMP TABLE retail_pair ON COMMIT DROP AS
SELECT a.item, b.item AS other, count(*) AS pairs
  FROM (SELECT DISTINCT customer, at, item FROM public.buy) AS a JOIN (SELECT DISTINCT customer, at, item FROM public.buy) AS b USING (customer, at)
 WHERE a.item < b.item
 GROUP BY 1, 2 HAVING count(*) >= 5;
SELECT set_eq($$SELECT item, other, pairs FROM crm.affinity(since => '2011-06-01Z', until => '2011-06-30 23:59Z') WHERE item < other$$,
			  'SELECT * FROM retail_pair', 'June of Online Retail: together, as the self-join says');
SELECT set_eq($$SELECT * FROM pg_temp.by_feed('next', 'day', NULL, 5)$$, $$SELECT * FROM pg_temp.by_sql('next', 'day', NULL, 5)$$,
			  'June of Online Retail: next')
  FROM (SELECT crm.define_event('buy', 'SELECT customer AS customer_id, at, item FROM public.buy')) AS d;
-- The best known pair of the shop: teacups and saucers of one set in three colours
SELECT results_eq($$SELECT other FROM crm.affinity(min_pairs => 100) WHERE item = '22697' ORDER BY confidence DESC LIMIT 2$$,
				  $$VALUES ('22699'), ('22698')$$, 'whoever buys the green teacup buys the roses and the pink one');

\else
SELECT * FROM skip('Online Retail is not here: set crm_data to the directory that holds online_retail/', 3);
\endif

SELECT * FROM finish();
ROLLBACK;

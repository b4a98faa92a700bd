-- Affinity and recommendations, as an analyst meets them; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
CREATE SCHEMA affinity_shop;
SET search_path = affinity_shop, crm, public;
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET crm_marketing.now = '2026-06-01 00:00:00Z';
CREATE TABLE line (user_id integer, at timestamptz, sku text);
INSERT INTO line VALUES
	(1, '2026-01-01 10:00Z', 'camera'), (1, '2026-01-01 10:00Z', 'card'), (1, '2026-01-01 10:00Z', 'card'), (1, '2026-01-01 23:30Z', 'bag'),
	(2, '2026-01-02 10:00Z', 'camera'), (2, '2026-01-02 10:00Z', 'card'), (2, '2026-01-09 10:00Z', 'bag'), (2, '2026-01-09 10:00Z', 'tripod'),
	(3, '2026-01-03 10:00Z', 'camera'), (3, '2026-03-03 10:00Z', 'bag'),
	(4, '2026-01-04 10:00Z', 'card'), (5, '2026-01-05 10:00Z', 'coffee'), (5, '2026-01-05 10:00Z', 'card'),
	(6, '2026-05-30 10:00Z', 'camera');
--
-- On any query
--
CREATE VIEW purchases AS SELECT purchase_agg(user_id, at, sku) AS sales FROM line;
SELECT item, other, pairs, with_item, with_other, cases, round(support, 3) AS support, round(confidence, 3) AS confidence, round(lift, 3) AS lift
  FROM purchases, affinity_of(sales, min_pairs => 1);
SELECT item, other, pairs, with_item, with_other, cases FROM purchases, affinity_of(sales, min_pairs => 2);
SELECT item, other, pairs, with_item, with_other, cases, round(lift, 3) AS lift FROM purchases, affinity_of(sales, 'next', min_pairs => 1);
SELECT item, other, pairs, with_item, with_other, cases FROM purchases, affinity_of(sales, 'next', within => '30 days', min_pairs => 1);
-- what a basket is
SELECT item, other, pairs, cases FROM purchases, affinity_of(sales, basket => 'day', min_pairs => 2, zone => 'UTC');
SELECT item, other, pairs, cases FROM purchases, affinity_of(sales, basket => 'day', min_pairs => 1, zone => 'Europe/Moscow') WHERE item = 'bag';
SELECT item, other, pairs, cases FROM purchases, affinity_of(sales, basket => 'customer', min_pairs => 2);
SELECT item, other, pairs, cases FROM purchases, affinity_of(sales, 'next', 'day', min_pairs => 2, zone => 'UTC');
SELECT * FROM affinity_of(NULL);
SELECT * FROM affinity_of((SELECT purchase_agg(1, '2026-01-01', 'x')), min_pairs => 1);
-- further apart than 63 bits of microseconds tell
SELECT within, item, other, pairs FROM unnest('{NULL,1 day,106751991 days}'::interval[]) AS within,
	   affinity_of((SELECT purchase_agg(1, at, item) FROM (VALUES ('4714-11-24 00:00Z BC'::timestamptz, 'x'), ('294276-12-31 00:00Z', 'y')) AS v (at, item)),
				   'next', within => within, min_pairs => 1);

-- A card goes with a camera; nobody is offered what he has
SELECT customer, rank, item, because, round(score, 3) AS score, due FROM purchases, recommendations_of(sales, min_pairs => 1) ORDER BY 1, 2;
SELECT customer, rank, item, because, round(score, 3) AS score FROM purchases, recommendations_of(sales, 1, min_pairs => 1, best_by => 'lift') ORDER BY 1, 2;
SELECT customer, rank, item, because, round(score, 3) AS score FROM purchases, recommendations_of(sales, 1, 'next', min_pairs => 1, leads_from => 'last') ORDER BY 1, 2;
SELECT customer, rank, item, because, round(score, 3) AS score FROM purchases, recommendations_of(sales, 2, min_pairs => 1, again_after => '3 months') ORDER BY 1, 2;

-- unless he buys it again and again, and it is time
INSERT INTO line SELECT u, '2026-02-01 10:00Z'::timestamptz + n * interval '20 days', s FROM generate_series(7, 9) u, generate_series(0, 4) n, unnest('{coffee,filter}'::text[]) s
 WHERE s = 'coffee' OR n % 2 = 0;
SELECT item, cycle, cyclic FROM purchases, cycles_of(sales);
SELECT customer, rank, item, because, round(score, 3) AS score, due FROM purchases, recommendations_of(sales, min_pairs => 3, at => '2026-05-20') WHERE customer > 6 ORDER BY 1, 2;
SELECT customer, rank, item, because, due FROM purchases, recommendations_of(sales, min_pairs => 3, at => '2026-05-06') WHERE customer = 7 ORDER BY 1, 2;
SELECT customer, rank, item, because, due FROM purchases, recommendations_of(sales, min_pairs => 3, at => '2026-05-06', ahead => '21 days') WHERE customer = 7 ORDER BY 1, 2;
SELECT customer, rank, item, because, due FROM purchases, recommendations_of(sales, min_pairs => 3, min_repeat => 1, at => '2026-05-20') WHERE customer = 7 ORDER BY 1, 2;

--
-- On the feeds
--
SELECT define_event('purchase', 'SELECT user_id AS customer_id, at, sku AS item, left(sku, 2) AS category, ARRAY[sku] AS tags FROM line');
SELECT item, other, pairs, with_item, with_other, cases, round(lift, 3) AS lift FROM affinity(min_pairs => 2);
SELECT item, other, pairs, cases FROM affinity(min_pairs => 2, since => '2026-01-02', until => '2026-01-31', item => 'category');
SELECT item, other, pairs, cases FROM affinity('next', min_pairs => 2, within => '25 days');
SELECT customer, rank, item, because, round(score, 3) AS score, due FROM recommendations(2, min_pairs => 2) ORDER BY 1, 2;
SELECT customer, rank, item, because FROM recommendations(2, min_pairs => 2, since => '2026-01-01', at => '2026-01-31') ORDER BY 1, 2;

--
-- What is refused
--
SELECT * FROM purchases, affinity_of(sales, 'with');
SELECT * FROM purchases, affinity_of(sales, basket => 'week');
SELECT * FROM purchases, affinity_of(sales, 'next', 'customer');
SELECT * FROM purchases, affinity_of(sales, within => '1 day');
SELECT * FROM purchases, affinity_of(sales, 'next', within => '1 month');
SELECT * FROM purchases, affinity_of(sales, 'next', within => '0');
SELECT * FROM purchases, affinity_of(sales, min_pairs => 0);
SELECT * FROM purchases, affinity_of(sales, basket => 'day', zone => 'Nowhere');
SELECT * FROM affinity_of((SELECT customer_sales_agg(1, '2026-01-01', 1)));
SELECT * FROM affinity(kind => 'sale');
SELECT * FROM affinity(item => 'sku');
SELECT * FROM affinity(item => 'tags');
SELECT * FROM affinity(since => NULL);
SELECT * FROM recommendations(0);
SELECT * FROM recommendations(NULL);
SELECT * FROM recommendations(best_by => 'support');
SELECT * FROM recommendations(leads_from => 'first');
SELECT * FROM recommendations(at => 'infinity');
SELECT * FROM recommendations(again_after => '-1 year');
SELECT * FROM recommendations(ahead => NULL);

SET client_min_messages = warning;
DROP SCHEMA affinity_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

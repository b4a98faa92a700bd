-- Cycles, as an analyst meets them; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
CREATE SCHEMA cycle_shop;
SET search_path = cycle_shop, crm, public;
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET crm_marketing.now = '2026-06-01 00:00:00Z';
CREATE TABLE line (user_id integer, at timestamptz, sku text);
-- Coffee every 10 days, 20 days, 30 days; pads once more after 5 days by one of four; a kettle once
INSERT INTO line SELECT 1, '2026-01-01 10:00Z'::timestamptz + n * interval '10 days', 'coffee' FROM generate_series(0, 4) n;
INSERT INTO line SELECT 2, '2026-01-01 10:00Z'::timestamptz + n * interval '20 days' + n % 2 * interval '2 days', 'coffee' FROM generate_series(0, 3) n;
INSERT INTO line SELECT 3, '2026-01-01 10:00Z'::timestamptz + n * interval '30 days', 'coffee' FROM generate_series(0, 1) n;
INSERT INTO line VALUES (4, '2026-05-20 10:00Z', 'coffee'), (4, '2026-05-20 18:00Z', 'coffee'), (4, '2026-05-20 18:00Z', 'coffee'),
	(1, '2026-01-01 10:00Z', 'pads'), (1, '2026-01-06 10:00Z', 'pads'), (2, '2026-01-01 10:00Z', 'pads'), (3, '2026-01-01 10:00Z', 'pads'), (4, '2026-01-01 10:00Z', 'pads'),
	(1, '2026-01-01 10:00Z', 'kettle'), (NULL, '2026-01-01', 'kettle'), (5, NULL, 'kettle'), (5, '2026-01-01', NULL), (1, '2026-07-01', 'kettle');
--
-- On any query
--
CREATE VIEW purchases AS SELECT purchase_agg(user_id, at, sku) AS sales FROM line WHERE at < '2026-06-01';
SELECT item, customers, repeaters, intervals, cycle, within, between_customers, round(prior, 4) AS prior, cyclic FROM purchases, cycles_of(sales);
SELECT customer, item, purchases, last, own, round(weight, 4) AS weight, cycle, next, cyclic FROM purchases, customer_cycles_of(sales, only_cyclic => false) ORDER BY 2, 1;
SELECT customer, item, next FROM purchases, customer_cycles_of(sales) ORDER BY 2, 1;
-- what is one purchase; how much a customer's own count; what is cyclic
SELECT item, repeaters, intervals, cycle FROM purchases, cycles_of(sales, apart => '0') WHERE item = 'coffee';
SELECT item, intervals, cycle FROM purchases, cycles_of(sales, apart => '11 days');
SELECT customer, own, round(weight, 4) AS weight, cycle FROM purchases, customer_cycles_of(sales, prior => 0) WHERE item = 'coffee' ORDER BY 1;
SELECT customer, own, round(weight, 4) AS weight, cycle FROM purchases, customer_cycles_of(sales, prior => 4) WHERE item = 'coffee' ORDER BY 1;
SELECT item, cyclic FROM purchases, cycles_of(sales, min_intervals => 1);
SELECT item, cyclic FROM purchases, cycles_of(sales, min_repeat => 0.8, min_intervals => 1);
SELECT item, cyclic FROM purchases, cycles_of(sales, min_repeat => 0, min_intervals => 9);
SELECT * FROM cycles_of(NULL);
SELECT * FROM customer_cycles_of(NULL);
SELECT purchase_agg(1, 'infinity', 'x'), purchase_agg(NULL, now(), 'x'), purchase_agg(1, NULL, 'x'), purchase_agg(1, now(), NULL);
SELECT next FROM customer_cycles_of((SELECT purchase_agg(1, at, 'x') FROM unnest('{294000-01-01,294200-01-01}'::timestamptz[]) at), only_cyclic => false);

--
-- On the feeds
--
SELECT define_event('purchase', 'SELECT user_id AS customer_id, at, sku AS item, ARRAY[sku] AS tags FROM line');
SELECT define_event('order', 'SELECT DISTINCT user_id AS customer_id, at FROM line');
SELECT item, customers, repeaters, intervals, cycle, within, between_customers, round(prior, 4) AS prior, cyclic FROM cycles();
SELECT item, customers, repeaters, intervals, cycle FROM cycles(since => '2026-01-11 10:00Z', until => '2026-02-10 10:00Z');
SELECT customer, item, purchases, last, own, round(weight, 4) AS weight, cycle, next FROM customer_cycles() ORDER BY 1, 2;
SELECT customer, item FROM customer_cycles() WHERE next BETWEEN crm.now() AND crm.now() + interval '14 days' ORDER BY 1, 2;
SELECT customer, orders, last, own, round(weight, 4) AS weight, cycle, next FROM next_orders() ORDER BY 1;
SELECT customer, orders, cycle, next FROM next_orders(until => '2026-01-01 12:00Z') ORDER BY 1;
SELECT customer, orders, last FROM next_orders(kind => 'purchase', apart => '12 days', prior => 2) ORDER BY 1;

--
-- What is refused
--
SELECT * FROM purchases, cycles_of(sales, apart => NULL);
SELECT * FROM purchases, cycles_of(sales, apart => '1 month');
SELECT * FROM purchases, cycles_of(sales, apart => '-1 day');
SELECT * FROM purchases, cycles_of(sales, prior => -1);
SELECT * FROM purchases, cycles_of(sales, prior => 'NaN');
SELECT * FROM purchases, cycles_of(sales, min_repeat => 1.5);
SELECT * FROM purchases, cycles_of(sales, min_repeat => NULL);
SELECT * FROM purchases, cycles_of(sales, min_intervals => 0);
SELECT * FROM purchases, customer_cycles_of(sales, only_cyclic => NULL);
SELECT * FROM cycles_of((SELECT customer_sales_agg(1, '2026-01-01', 1)));
SELECT * FROM cycles(kind => 'purchases');
SELECT * FROM cycles(item => 'items');
SELECT * FROM cycles(item => 'tags');
SELECT * FROM cycles(until => NULL);
SELECT * FROM customer_cycles(since => NULL);
SELECT * FROM next_orders(kind => NULL);

SET client_min_messages = warning;
DROP SCHEMA cycle_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- Cohorts, as an analyst meets them; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
CREATE SCHEMA cohort_shop;
SET search_path = cohort_shop, crm, public;
SET datestyle = 'ISO, YMD';
SET timezone = 'Asia/Tokyo';
SET crm_marketing.now = '2026-04-15 12:00:00Z';
CREATE TABLE orders (user_id integer, placed_at timestamptz, total numeric(10, 2));
INSERT INTO orders VALUES
	(1, '2026-01-05 10:00Z', 10), (1, '2026-01-06 10:00Z', 5.50), (1, '2026-02-10 10:00Z', 7), (1, '2026-04-01 10:00Z', 1),
	(2, '2026-01-31 23:30Z', 20), (2, '2026-03-02 10:00Z', 20), (2, '2026-03-03 10:00Z', -5),
	(3, '2026-03-31 21:59Z', 30), (3, '2026-03-31 22:01Z', 40),
	(4, '2026-05-01 10:00Z', 99), (5, NULL, 1), (NULL, '2026-01-01', 1), (6, '2026-01-20 10:00Z', NULL);
--
-- On any query
--
CREATE VIEW days AS SELECT customer_sales_agg(user_id, (placed_at AT TIME ZONE 'UTC')::date, total) AS sales FROM orders;
SELECT cohort, size, age, customers, round(retention, 3) AS retention, orders, amount FROM days, cohorts_of(sales);
SELECT cohort, age, round(retention, 2) AS retention FROM days, cohorts_of(sales, until => '2026-03-15') \crosstabview
SELECT cohort, age, amount FROM days, cohorts_of(sales, 'quarter') \crosstabview
SELECT cohort, age, orders FROM days, cohorts_of(sales, 'year') \crosstabview
SELECT cohort, age, customers FROM days, cohorts_of(sales, 'week', '2026-02-15') \crosstabview
SELECT count(*), sum(orders), sum(amount), min(cohort), max(cohort + age) FROM days, cohorts_of(sales, 'day');
SELECT * FROM days, cohorts_of(sales, until => '2025-12-31');
SELECT * FROM cohorts_of(NULL);

--
-- On the feeds, in the shop's own time: customer 2 is of February, and customer 3 comes again in April
--
SELECT configure('timezone', 'Europe/Berlin');
SELECT define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, total::text AS label FROM orders');
SELECT cohort, size, age, customers, round(retention, 3) AS retention, orders, amount FROM cohorts();
SELECT cohort, age, customers FROM cohorts(zone => 'UTC') \crosstabview
SELECT cohort, age, customers FROM cohorts('week', '2026-02-10 10:00Z') \crosstabview
SELECT cohort, age, customers FROM cohorts('month', '2026-02-10 09:59:59Z') \crosstabview
SELECT cohort, age, customers FROM cohorts('month', '2020-01-01') \crosstabview
SELECT track(8, 'payment', '{"sum": 0.1}', '2026-01-01Z'), track(8, 'payment', '{"sum": 0.2}', '2026-02-01Z'), track(8, 'payment', '{"sum": "a"}', '2026-02-01Z');
SELECT * FROM cohorts(kind => 'payment', amount => 'sum', until => '2026-02-15');

--
-- What is refused
--
SELECT * FROM days, cohorts_of(sales, NULL);
SELECT * FROM days, cohorts_of(sales, 'hour');
SELECT * FROM days, cohorts_of(sales, until => 'infinity');
SELECT * FROM days, cohorts_of(sales, 'day', until => '2050-01-01');
SELECT * FROM cohorts_of((SELECT item_sales_agg('x', '2026-01-01', 1, 1)));
-- one row of 2^63 - 1 orders, and one more
SELECT orders FROM cohorts_of('\x010201029272ffffffffffffffff7f0102');
SELECT orders FROM cohorts_of('\x010202029272ffffffffffffffff7f01020002010102');
SELECT * FROM cohorts('fortnight');
SELECT * FROM cohorts(until => NULL);
SELECT * FROM cohorts(until => 'infinity');
SELECT * FROM cohorts(zone => 'Berlin');
SELECT * FROM cohorts(kind => 'orders');
SELECT * FROM cohorts(amount => 'total');
SELECT * FROM cohorts(amount => 'label');

SET client_min_messages = warning;
DROP SCHEMA cohort_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- ABC and XYZ, as an analyst meets them; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
CREATE SCHEMA abc_shop;
SET search_path = abc_shop, crm, public;
SET datestyle = 'ISO, YMD';
SET timezone = 'Asia/Tokyo';
SET crm_marketing.now = '2026-04-15 12:00:00Z';
CREATE TABLE line (order_id integer, user_id integer, at timestamptz, sku text, brand text, qty integer, price numeric);
INSERT INTO line VALUES
	(1, 1, '2026-01-05 10:00Z', 'bread', 'b1', 10, 2.50), (2, 1, '2026-02-05 10:00Z', 'bread', 'b1', 11, 2.50),
	(3, 2, '2026-03-05 10:00Z', 'bread', 'b1', 10, 2.50), (3, 2, '2026-03-05 10:00Z', 'bread', 'b1', 0, 2.50),
	(4, 2, '2026-01-07 10:00Z', 'milk', 'b2', 9, 1.00), (5, 2, '2026-02-07 10:00Z', 'milk', 'b2', 12, 1.00),
	(6, 3, '2026-03-31 22:30Z', 'milk', 'b2', 8, 1.00),
	(7, 3, '2026-02-01 10:00Z', 'cake', 'b1', 1, 30.00),
	(8, 4, '2026-02-02 10:00Z', 'candle', NULL, 3, 10.00), (9, 4, '2026-03-02 10:00Z', 'candle', NULL, -3, 10.00),
	(10, 5, '2026-04-10 10:00Z', 'bread', 'b1', 500, 2.50),
	(11, 5, '2026-01-10 10:00Z', 'gift', 'b3', 1, NULL), (12, 5, NULL, 'gift', 'b3', 1, 5), (13, NULL, '2026-01-10 10:00Z', 'tea', 'b3', 7, 3.335),
	(14, 5, '2026-02-10 10:00Z', NULL, NULL, 7, 7);

--
-- On any query
--
CREATE VIEW spring AS SELECT crm.item_sales_agg(sku, (at AT TIME ZONE 'UTC')::date, qty * price, qty) AS sales FROM line WHERE at < '2026-04-01';
SELECT item, amount, round(share, 4) AS share, round(cumulative, 4) AS cumulative, abc, quantity, periods,
	   round(mean, 3) AS mean, round(deviation, 3) AS deviation, round(variation, 4) AS variation, xyz
  FROM spring, abc_xyz_of(sales);
-- another boundary, ties, more classes, a sample's deviation
SELECT item, amount, abc FROM spring, abc_xyz_of(sales, boundary => 'crossing');
SELECT item, amount, abc FROM spring, abc_xyz_of(sales, abc_cuts => '{0.2,0.5,0.7,0.9}');
SELECT item, round(deviation, 3) AS deviation, round(variation, 4) AS variation, xyz FROM spring, abc_xyz_of(sales, deviation_of => 'sample', xyz_cuts => '{0.05,0.4}');
CREATE TABLE tie (item text, amount numeric);
INSERT INTO tie VALUES ('a', 40), ('c', 20), ('b', 20), ('d', 20);
CREATE VIEW ties AS SELECT crm.item_sales_agg(item, '2026-01-01', amount, 1) AS sales FROM tie;
SELECT item, cumulative::numeric(3, 2), abc FROM ties, abc_xyz_of(sales, abc_cuts => '{0.6,0.8}');
SELECT item, cumulative::numeric(3, 2), abc FROM ties, abc_xyz_of(sales, abc_cuts => '{0.6,0.8}', ties => 'together');
SELECT item, cumulative::numeric(3, 2), abc FROM ties, abc_xyz_of(sales, abc_cuts => '{0.6,0.8}', boundary => 'crossing');
SELECT item, cumulative::numeric(3, 2), abc FROM ties, abc_xyz_of(sales, abc_cuts => '{0.6,0.8}', boundary => 'crossing', ties => 'together');
-- periods: by day, of a span, without those that had no sale
SELECT item, periods, quantity, round(mean, 3) AS mean, xyz FROM spring, abc_xyz_of(sales, 'quarter');
SELECT item, periods, quantity, round(mean, 3) AS mean, xyz FROM spring, abc_xyz_of(sales, since => '2026-02-02', until => '2026-02-28') ORDER BY 1;
SELECT item, periods, quantity, round(mean, 3) AS mean, xyz FROM spring, abc_xyz_of(sales, 'week', until => '2026-04-13') ORDER BY 1;
SELECT item, periods, round(mean, 3) AS mean, round(variation, 4) AS variation, xyz FROM spring, abc_xyz_of(sales, gaps => 'since_first') ORDER BY 1;
SELECT item, periods, round(mean, 3) AS mean, round(variation, 4) AS variation, xyz FROM spring, abc_xyz_of(sales, gaps => 'skip') ORDER BY 1;
-- nothing, and nothing above 0
SELECT * FROM abc_xyz_of(NULL);
SELECT item_sales_agg(sku, NULL, 1, 1), item_sales_agg(NULL, '2026-01-01', 1, 1), item_sales_agg(sku, 'infinity', 1, 1) FROM line;
SELECT * FROM abc_xyz_of((SELECT item_sales_agg(sku, '2026-01-01', -1, NULL) FROM line WHERE sku IN ('tea', 'milk')));
SELECT item, amount, quantity FROM abc_xyz_of((SELECT item_sales_agg('x', '2026-01-01', a, a) FROM unnest('{NaN,Infinity,-Infinity,NULL,1.50}'::numeric[]) a));

-- a mean that numeric, which divides to a thousand digits, has as 0
SELECT item, abc, mean = 0 AS nothing, variation, xyz FROM abc_xyz_of((SELECT item_sales_agg('dust', d, 1, 1e-1005) FROM (VALUES ('2026-01-01'::date), ('2026-12-01')) AS v (d)));
-- of customers
SELECT customer, amount, round(cumulative, 4) AS cumulative, abc, periods, round(mean, 3) AS mean, round(variation, 4) AS variation, xyz
  FROM (SELECT customer_sales_agg(user_id, at::date, qty * price) AS sales FROM line WHERE at < '2026-04-01') AS l, customer_abc_xyz_of(sales);

-- A partial result can be kept and added up; money is exact, beyond 18 digits too
CREATE TABLE kept AS SELECT date_trunc('month', at) AS month, item_sales_agg(sku, at::date, qty * price, qty) AS sales FROM line GROUP BY 1;
SELECT month AT TIME ZONE 'Asia/Tokyo' AS month, sales FROM kept ORDER BY 1;
CREATE AGGREGATE sales_union(sales) (SFUNC = sales_merge, STYPE = sales);
SELECT item, amount, quantity FROM abc_xyz_of((SELECT sales_union(sales) FROM kept));
SELECT (SELECT sales_union(sales) FROM kept)::text = item_sales_agg(sku, at::date, qty * price, qty ORDER BY price, qty)::text AS same FROM line;
SELECT amount, quantity FROM abc_xyz_of((SELECT item_sales_agg('x', '2026-01-01', a, 0.1) FROM unnest('{123456789012345678901234567890.12,0.000000000000000000001,1}'::numeric[]) a)::text::sales);

--
-- On the feeds. The shop's months begin in Berlin; the last ones before April, which is not over.
--
SELECT configure('timezone', 'Europe/Berlin');
SELECT define_event('purchase', 'SELECT user_id AS customer_id, at, sku AS item, brand, qty AS quantity, qty * price AS amount FROM line');
SELECT define_event('order', 'SELECT user_id AS customer_id, at, sum(qty * price) AS amount, bool_or(qty < 0) AS back FROM line GROUP BY user_id, at');
SELECT item, amount, round(cumulative, 4) AS cumulative, abc, quantity, periods, round(mean, 3) AS mean, round(variation, 4) AS variation, xyz
  FROM abc_xyz(periods => 3);
SELECT item, amount, abc, periods, xyz FROM abc_xyz(periods => 3, item => 'brand');
SELECT item, amount, quantity, periods FROM abc_xyz();
SELECT item, amount, quantity, periods FROM abc_xyz(periods => NULL, until => '2026-05-01 00:00Z');
SELECT item, amount, quantity, periods FROM abc_xyz('week', 2, until => '2026-04-08 00:00Z', zone => 'UTC', quantity => 'amount');
SELECT customer, amount, round(cumulative, 4) AS cumulative, abc, periods, xyz FROM customer_abc_xyz(periods => 3);
SELECT track(9, 'gift', '{"item": 5.0, "amount": 2, "quantity": 1}', '2026-03-01Z'), track(9, 'gift', '{"item": "5", "amount": 3}', '2026-03-02Z'),
	track(9, 'gift', '{"item": true, "amount": "2", "quantity": 2}', '2026-03-01Z'), track(9, 'gift', '{"item": "2026-01-01", "amount": 1}', '2026-03-01Z'),
	track(9, 'gift', '{"item": ["5"], "amount": 2}', '2026-03-01Z'), track(9, 'gift', '{"amount": 2}', '2026-03-01Z');
SELECT item, amount, quantity, periods FROM abc_xyz(kind => 'gift', periods => 2);

--
-- What is refused
--
SELECT * FROM spring, abc_xyz_of(sales, NULL);
SELECT * FROM spring, abc_xyz_of(sales, 'hour');
SELECT * FROM spring, abc_xyz_of(sales, since => 'infinity');
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => NULL);
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => '{}');
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => '{80,95}');
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => '{0.95,0.8}');
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => '{0.8,NULL}');
SELECT * FROM spring, abc_xyz_of(sales, abc_cuts => '{NaN}');
SELECT * FROM spring, abc_xyz_of(sales, xyz_cuts => '{0.1}');
SELECT * FROM spring, abc_xyz_of(sales, xyz_cuts => '{0,0.1}');
SELECT * FROM spring, abc_xyz_of(sales, boundary => 'above');
SELECT * FROM spring, abc_xyz_of(sales, ties => NULL);
SELECT * FROM spring, abc_xyz_of(sales, deviation_of => 'both');
SELECT * FROM spring, abc_xyz_of(sales, gaps => 'none');
SELECT * FROM spring, customer_abc_xyz_of(sales);
SELECT * FROM abc_xyz_of((SELECT customer_sales_agg(user_id, at::date, 1) FROM line));
SELECT sales_merge(sales, (SELECT customer_sales_agg(user_id, at::date, 1) FROM line)) FROM spring;
SELECT item_sales_add((SELECT purchase_agg(user_id, at, sku) FROM line), 'x', '2026-01-01', 1, 1);
SELECT item_sales_agg('x', '2026-01-01', a, 1) FROM unnest(ARRAY[('9' || repeat('0', 131071))::numeric, ('9' || repeat('0', 131071))::numeric]) a;
SELECT 'sales'::sales;
SELECT '\x0101'::sales;
SELECT * FROM abc_xyz(periods => 0);
SELECT * FROM abc_xyz(periods => 100000);
SELECT * FROM abc_xyz(until => 'infinity');
SELECT * FROM abc_xyz(kind => 'purchases');
SELECT * FROM abc_xyz(item => 'sku');
SELECT * FROM abc_xyz(amount => 'item');
SELECT * FROM abc_xyz(amount => 'amounts');
SELECT * FROM abc_xyz(zone => 'Mars/Olympus');
SELECT * FROM customer_abc_xyz(amount => 'back');
SELECT * FROM customer_abc_xyz(kind => 'gift', amount => 'anything');

SET client_min_messages = warning;
DROP SCHEMA abc_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- LTV = ARPA * margin / churn rate.

SET client_min_messages = warning;
SET search_path = public, crm;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET crm_marketing.now = '2026-07-15 12:00:00Z';

-- The formula
SELECT crm.ltv_from(10, 0.04), crm.ltv_from(100, 0.05, 0.8), crm.ltv_from(10, 1), crm.ltv_from(-5, 0.5);
-- No churn: no answer
SELECT crm.ltv_from(10, 0), crm.ltv_from(10, NULL), crm.ltv_from(10, 0.0, 0.5);
SELECT crm.ltv_from(10, 4);
SELECT crm.ltv_from(10, -0.1);
SELECT crm.ltv_from(10, 'NaN');
SELECT crm.ltv_from(10, 0.5, -1);

------------------------------------------------------------------------------------------------------------------
-- Four months of a small shop
------------------------------------------------------------------------------------------------------------------

CREATE TABLE shop_user (id int PRIMARY KEY, city text, vip boolean, points numeric, joined date);
INSERT INTO shop_user VALUES (1, 'Moscow', true, 1.50, '2026-01-05'), (2, 'Moscow', false, 1.5, '2026-01-20'), (3, 'Tver', NULL, 2, '2026-02-01'), (4, NULL, true, 3, '2026-03-31');
CREATE TABLE shop_order (user_id int, placed_at timestamptz, total numeric, channel text);
INSERT INTO shop_order VALUES
	(1, '2026-03-05Z', 10, 'web'), (1, '2026-04-05Z', 10, 'web'), (1, '2026-05-05Z', 10, 'shop'), (1, '2026-06-05Z', 10, 'web'),	-- every month
	(2, '2026-03-31 21:30Z', 20, 'web'), (2, '2026-04-30Z', 20.50, 'web'),															-- lost in May
	(3, '2026-04-10Z', 7, 'shop'), (3, '2026-06-10Z', 8, 'shop'),																	-- lost in May, back in June
	(4, '2026-05-20Z', 40, 'web'), (4, '2026-05-21Z', -40, 'web'),																	-- refunded; lost in June
	(9, '2026-06-30 21:30Z', 5, 'web'),																								-- no customer of the shop
	(1, '2026-07-01Z', 1000, 'web');																								-- a month that is not over
SELECT crm.define_customers('SELECT id AS customer_id, city, vip, points, joined FROM public.shop_user');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, total * 2 AS doubled, channel FROM public.shop_order');

-- April, May, June; active is who ordered in the month. Active 3 + 2 + 3 (1, 2, 3; 1, 4; 1, 3, 9), at risk 2 + 3 + 2, lost 0 + 2 + 1
SELECT * FROM crm.ltv(months => 3, active_within => '1 month');
-- or within two months before its end
SELECT * FROM crm.ltv(months => 3, active_within => '2 months');
-- Less than a month: who ordered in it is active all the same
SELECT * FROM crm.ltv(months => 3, active_within => '1 day');
SELECT * FROM crm.ltv(months => 3, active_within => '1 month', margin => 0.2, amount => 'doubled');
-- Months of Moscow: the order of 31 March is one of April, that of 30 June one of July
SELECT * FROM crm.ltv(months => 3, active_within => '1 month', zone => 'Europe/Moscow');
-- Up to May: what came later is not known
SELECT * FROM crm.ltv('2026-05-31 23:59:59Z', 2, '1 month');
SELECT * FROM crm.ltv('2026-06-01Z', 2, '1 month');

-- By an attribute of the customers, of any type
SELECT * FROM crm.ltv(months => 3, active_within => '1 month', by => 'city');
SELECT group_value, customers, revenue, reason FROM crm.ltv(months => 3, active_within => '1 month', by => 'vip');
SELECT group_value, customers, revenue, reason FROM crm.ltv(months => 3, active_within => '1 month', by => 'points');
SELECT group_value, customers, revenue, reason FROM crm.ltv(months => 3, active_within => '1 month', by => 'joined');
-- By a property of the orders: 1 and 3 are active in both channels
SELECT * FROM crm.ltv(months => 3, active_within => '1 month', by => 'channel');
-- By the month of the first order
SELECT * FROM crm.ltv(months => 3, active_within => '1 month', by => 'cohort');
SELECT group_value::date FROM crm.ltv(months => 3, by => 'cohort') ORDER BY 1 LIMIT 1;

-- No answer, and why
SELECT customers, active, arpa, at_risk, churned, churn_rate, ltv, reason FROM crm.ltv('2026-02-01Z');
SELECT customers, active, arpa, at_risk, churned, churn_rate, ltv, reason FROM crm.ltv('2026-04-01Z');
SELECT customers, active, arpa, at_risk, churned, churn_rate, ltv, reason FROM crm.ltv('2026-05-01Z');

-- Of a population
SELECT l.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'UTC') AS p FROM shop_order) o, crm.ltv_of(o.p, months => 3, active_within => '1 month') l;
SELECT l.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'orders', 'UTC') AS p FROM shop_order) o, crm.ltv_of(o.p, months => 3, active_within => '1 month') l;
SELECT channel, l.* FROM (SELECT channel, crm.rfm_agg(user_id, placed_at, total, 'days', 'Europe/Moscow') AS p FROM shop_order GROUP BY 1) o, crm.ltv_of(o.p, months => 3, active_within => '1 month') l ORDER BY 1;
SELECT * FROM crm.ltv_of(NULL);
-- Active for ever: more days than there are before this date
SELECT days, l.customers, l.active, l.churned
  FROM unnest('{1000,2000000000,2147483647}'::int[]) AS days, (SELECT crm.rfm_agg(c, at, 10, 'days', 'UTC') AS p FROM (VALUES (1, '1980-01-15Z'::timestamptz), (2, '1989-12-01Z')) AS v (c, at)) o,
	   crm.ltv_of(o.p, '1990-01-01Z', active_within => make_interval(days => days), months => 12) l;

-- Tracked orders have no list of properties
SELECT crm.track(1, 'sale', '{"amount": 10, "shelf": 3}', '2026-05-01Z'), crm.track(1, 'sale', '{"amount": 10}', '2026-06-01Z');
SELECT group_value, customers, revenue, active, reason FROM crm.ltv(months => 3, active_within => '1 month', kind => 'sale', by => 'shelf');

-- Errors
SELECT * FROM crm.ltv(by => 'color');
SELECT * FROM crm.ltv(months => 0);
SELECT * FROM crm.ltv(months => 1201);
SELECT * FROM crm.ltv(active_within => '0 days');
SELECT * FROM crm.ltv(active_within => '1 day 1 hour');
SELECT * FROM crm.ltv(active_within => '1 month -1 day');
SELECT * FROM crm.ltv('infinity');
SELECT * FROM crm.ltv('4714-11-24 00:00:00+00 BC', months => 1200);
SELECT * FROM crm.ltv(margin => 'NaN');
SELECT * FROM crm.ltv(margin => NULL);
SELECT * FROM crm.ltv(kind => 'oder');
SELECT * FROM crm.ltv(amount => 'channel');
SELECT * FROM crm.ltv(zone => 'Nowhere');
SELECT l.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o, crm.ltv_of(o.p) l;
SELECT l.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'UTC') AS p FROM shop_order) o, crm.ltv_of(o.p, zone => 'Europe/Moscow') l;
SELECT crm.release_feeds();
SELECT * FROM crm.ltv(by => 'city');
SELECT crm.rebuild_feeds();

SELECT crm.drop_event('order'), crm.drop_event('sale', true);
DROP TABLE shop_order, shop_user CASCADE;
DELETE FROM crm.source WHERE NOT own;

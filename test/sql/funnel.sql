-- Funnels and retention, as an analyst meets them; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
CREATE SCHEMA funnel_shop;
SET search_path = funnel_shop, crm, public;
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
SET crm_marketing.now = '2026-06-01 00:00:00Z';
CREATE TABLE click (user_id integer, at timestamptz, kind text, item text);
INSERT INTO click VALUES
	(1, '2026-01-01 10:00Z', 'view', 'a'), (1, '2026-01-01 10:20Z', 'cart', 'a'), (1, '2026-01-01 10:50Z', 'order', 'a'),
	(2, '2026-01-01 10:00Z', 'view', 'a'), (2, '2026-01-01 10:30Z', 'view', 'b'), (2, '2026-01-01 11:10Z', 'cart', 'b'),
	(2, '2026-01-03 09:00Z', 'order', 'b'),
	(3, '2026-01-01 10:00Z', 'cart', 'c'), (3, '2026-01-01 10:05Z', 'view', 'c'),
	(4, '2026-01-02 23:59Z', 'view', 'a'), (4, '2026-01-02 23:59Z', 'cart', 'a'), (4, '2026-01-02 23:59Z', 'order', 'a'),
	(5, NULL, 'view', 'a'), (5, 'infinity', 'view', 'a'),
	(6, '2026-01-02 10:00Z', 'order', 'a'), (6, '2026-02-01 10:00Z', 'order', 'a');

--
-- On any query
--
SELECT user_id, window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') FROM click GROUP BY 1 ORDER BY 1;
SELECT user_id, window_funnel('2 days', '{strict_increase}', at, kind = 'view', kind = 'cart', kind = 'order')
  FROM click GROUP BY 1 ORDER BY 1;
SELECT user_id, window_funnel('1 day', '{strict_order,strict_once}', at, VARIADIC ARRAY[kind = 'view', kind = 'cart'])
  FROM click GROUP BY 1 ORDER BY 1;
-- of one event several steps, unless it may be but one
SELECT window_funnel('60 days', at, true, kind = 'order', NULL), window_funnel('60 days', '{strict_once}', at, kind = 'order', kind = 'order'),
	window_funnel('60 days', '{strict_once}', at, kind = 'order', kind = 'order', kind = 'order') FROM click WHERE user_id = 6;
SELECT window_funnel('1 hour', at, true), retention(true) FROM click WHERE false;
SELECT user_id, retention(kind = 'view', kind = 'order', item = 'b') FROM click GROUP BY 1 ORDER BY 1;

-- A partial result can be kept
CREATE AGGREGATE funnel_partial(interval, timestamptz, VARIADIC boolean[]) (SFUNC = funnel_state_add, STYPE = funnel_state);
CREATE TABLE kept AS SELECT user_id, at::date AS day, funnel_partial('3 days', at, kind = 'view', kind = 'cart', kind = 'order') AS state
  FROM click GROUP BY 1, 2;
SELECT * FROM kept WHERE user_id = 2 ORDER BY day;
SELECT funnel_state_final(funnel_state_merge(a.state, b.state)), funnel_state_final(a.state), funnel_state_final(b.state)
  FROM kept a, kept b WHERE a.user_id = 2 AND b.user_id = 2 AND a.day = '2026-01-01' AND b.day = '2026-01-03';
SELECT funnel_state_merge(NULL, NULL) IS NULL AS none, funnel_state_final(NULL),
	(funnel_state_merge(NULL, state))::text = state::text AS left, (funnel_state_merge(state, NULL))::text = state::text AS right
  FROM kept WHERE user_id = 1;

--
-- On the feeds
--
SELECT define_event('view', 'SELECT user_id AS customer_id, at, item FROM click WHERE kind = ''view''');
SELECT define_event('cart', 'SELECT user_id AS customer_id, at, item FROM click WHERE kind = ''cart''');
SELECT define_event('order', 'SELECT user_id AS customer_id, at, item FROM click WHERE kind = ''order''');
SELECT track(1, 'visit', '{}', '2026-01-01 09:00Z'), track(7, 'visit', '{}', '2026-01-01 09:00Z');
SELECT step, kind, customers, round(share, 3) AS share, round(conversion, 3) AS conversion, lost, median_time, median_total
  FROM funnel('{view,cart,order}', '1 hour');
SELECT step, kind, customers, lost, median_time, median_total FROM funnel('{visit,view,cart,order}', '2 hours');
SELECT step, customers FROM funnel('{view,cart,order}', '1 hour', '{strict_increase}');
-- from and to, both included
SELECT step, customers FROM funnel('{view,cart}', '1 hour', since => '2026-01-01 10:05Z', until => '2026-01-01 11:10Z');
SELECT step, customers FROM funnel('{view,cart}', '1 hour', until => '2026-01-01 11:09:59Z');
SELECT * FROM funnel('{view,cart}', '1 hour', until => '2020-01-01');
-- a kind named twice is two events, unless one says otherwise
SELECT step, customers, median_time FROM funnel('{order,order}', '1 month');
SELECT step, customers, median_time FROM funnel('{order,order}', '1 month', '{}');
-- months and days are those of the zone: user 6 comes again after 30 days and no more
SELECT step, customers FROM funnel('{order,order}', '30 days');
SELECT step, customers FROM funnel('{order,order}', '29 days 23:59:59.999999');
INSERT INTO click VALUES (8, '2026-03-28 23:00Z', 'view', 'a'), (8, '2026-03-29 22:30Z', 'cart', 'a');
SELECT step, customers FROM funnel('{view,cart}', '1 day', since => '2026-03-01', zone => 'Europe/Berlin');
SELECT step, customers FROM funnel('{view,cart}', '24 hours', since => '2026-03-01', zone => 'Europe/Berlin');
SELECT step, customers FROM funnel('{view,cart}', '1 day', since => '2026-03-01');

--
-- What is refused
--
SELECT window_funnel(NULL, at, true) FROM click;
SELECT window_funnel('1 hour', NULL::text[], at, true) FROM click;
SELECT window_funnel('1 hour', '{NULL}', at, true) FROM click;
SELECT window_funnel('1 hour', '{strict}', at, true) FROM click;
SELECT window_funnel('1 hour', '{allow_reentry}', at, true) FROM click;
SELECT window_funnel('1 month', at, true) FROM click;
SELECT window_funnel('-1 second', at, true) FROM click;
SELECT window_funnel('1 hour', at, VARIADIC NULL) FROM click;
SELECT window_funnel('1 hour', at, VARIADIC '{}') FROM click;
SELECT window_funnel('1 hour', at, VARIADIC array_fill(true, '{33}')) FROM click;
SELECT window_funnel(make_interval(hours => user_id), at, true) FROM click;
SELECT window_funnel('1 hour', at, VARIADIC array_fill(true, ARRAY[user_id])) FROM click;
SELECT retention(VARIADIC NULL) FROM click;
SELECT retention(VARIADIC array_fill(true, '{33}')) FROM click;
SELECT retention(VARIADIC array_fill(true, ARRAY[user_id])) FROM click;
SELECT 'state'::funnel_state;
SELECT '\x0102'::funnel_state;
SELECT * FROM funnel(NULL, '1 hour');
SELECT * FROM funnel('{}', '1 hour');
SELECT * FROM funnel('{view,NULL}', '1 hour');
SELECT * FROM funnel('{view,carts}', '1 hour');
SELECT * FROM funnel('{customer,cart}', '1 hour');
SELECT * FROM funnel('{view,cart}', NULL);
SELECT * FROM funnel('{view,cart}', '-1 hour');
SELECT * FROM funnel('{view,cart}', '1 hour', '{once}');
SELECT * FROM funnel('{view,cart}', '1 day', zone => 'Moscow');
SELECT * FROM funnel('{view,cart}', '1 day', since => NULL);
SELECT release_feeds();
SELECT * FROM funnel('{view,cart}', '1 day');
SELECT rebuild_feeds();

SET client_min_messages = warning;
DROP SCHEMA funnel_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- One customer with a million events, among ordinary ones: the answers are plain SQL's, and nothing takes the square of it.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET crm_marketing.now = '2026-01-01 00:00:00Z';

CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(19);

-- Customer 1 is a terminal at which a whole city buys: one event in half a minute for a year, in no order. 2 to 50 are
-- people, 51 has nothing.
CREATE TABLE users AS SELECT i AS id FROM generate_series(1, 51) AS i;
CREATE TABLE orders AS
SELECT CASE WHEN n <= 1000000 THEN 1 ELSE 2 + n % 49 END AS user_id,
	   timestamptz '2026-01-01 00:00:00Z' - (n * 7919 % 1000000) * interval '31 seconds' - n % 1000 * interval '1 millisecond' AS at,
	   (n % 997 + 0.25)::numeric(10, 2) AS amount,
	   'SKU-' || n * 31 % 1009 AS item
  FROM generate_series(1::bigint, 1000500) AS n;
CREATE TABLE returns AS
SELECT user_id, at + interval '2 hours' AS at, item FROM orders WHERE amount < 2;
CREATE INDEX ON orders (user_id, at);
CREATE INDEX ON returns (user_id);
ALTER TABLE users ADD PRIMARY KEY (id);
ANALYZE users, orders, returns;

\o /dev/null
SELECT crm.define_customers('SELECT id AS customer_id FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, amount, item FROM orders');
SELECT crm.define_event('return', 'SELECT user_id AS customer_id, at, item FROM returns');
\o

\set now '2026-01-01 00:00:00Z'
CREATE TEMP TABLE expected (segment text, predicate text, customers int[], value text);
INSERT INTO expected
SELECT 'count', 'count(order) >= 1000000', array_agg(user_id), max(c)::text
  FROM (SELECT user_id, count(*) AS c FROM orders WHERE at <= :'now' GROUP BY 1 HAVING count(*) >= 1000000) AS x
UNION ALL
SELECT 'sum', 'sum(order.amount in last 1 month) > 1000000', array_agg(user_id), max(c)::text
  FROM (SELECT user_id, sum(amount) AS c FROM orders WHERE at <= :'now' AND at + interval '1 month' > :'now'
		 GROUP BY 1 HAVING sum(amount) > 1000000) AS x
UNION ALL
SELECT 'distinct', 'distinct(order.item in last 90 days) >= 1009', array_agg(user_id), max(c)::text
  FROM (SELECT user_id, count(DISTINCT item) AS c FROM orders WHERE at <= :'now' AND at > :'now'::timestamptz - interval '90 days'
		 GROUP BY 1 HAVING count(DISTINCT item) >= 1009) AS x
UNION ALL
SELECT 'most', 'most(order.item) > 900', array_agg(DISTINCT user_id), max(c)::text
  FROM (SELECT user_id, item, count(*) AS c FROM orders WHERE at <= :'now' GROUP BY 1, 2 HAVING count(*) > 900) AS x
UNION ALL
SELECT 'unanswered', 'count(order[amount < 3 and not followed by return[same item] within 3 hours]) >= 1',
	   array_agg(user_id), max(c)::text
  FROM (SELECT o.user_id, count(*) AS c FROM orders AS o
		 WHERE o.amount < 3 AND o.at + interval '3 hours' <= :'now'
		   AND NOT EXISTS (SELECT FROM returns AS r WHERE r.user_id = o.user_id AND r.item = o.item AND r.at BETWEEN o.at AND o.at + interval '3 hours')
		 GROUP BY 1) AS x
UNION ALL
SELECT 'returned', 'count(order[followed by return[same item] within 3 hours]) >= 1', array_agg(user_id ORDER BY user_id), max(c)::text
  FROM (SELECT o.user_id, count(*) AS c FROM orders AS o
		 WHERE o.at <= :'now'
		   AND EXISTS (SELECT FROM returns AS r WHERE r.user_id = o.user_id AND r.item = o.item AND r.at <= :'now'
						  AND r.at BETWEEN o.at AND o.at + interval '3 hours')
		 GROUP BY 1) AS x
UNION ALL
SELECT 'again', 'count(order[followed by order within 1 minute]) >= 1', array_agg(user_id ORDER BY user_id), max(c)::text
  FROM (SELECT user_id, count(*) AS c
		  FROM (SELECT user_id, at, lead(at) OVER (PARTITION BY user_id ORDER BY at) AS next FROM orders WHERE at <= :'now') AS o
		 WHERE next <= at + interval '1 minute' GROUP BY 1) AS x
UNION ALL
SELECT 'last', 'last(order.item) = ''' || (SELECT item FROM orders WHERE user_id = 1 AND at <= :'now' ORDER BY at DESC LIMIT 1) || '''',
	   array_agg(user_id ORDER BY user_id), NULL
  FROM (SELECT DISTINCT ON (user_id) user_id, item FROM orders WHERE at <= :'now' ORDER BY user_id, at DESC) AS x
 WHERE item = (SELECT item FROM orders WHERE user_id = 1 AND at <= :'now' ORDER BY at DESC LIMIT 1)
UNION ALL
SELECT 'none', 'no order', ARRAY[51], NULL;

SELECT crm.create_segment(segment, predicate::crm.predicate) FROM expected ORDER BY segment
\g /dev/null

-- All facts do not fit in there; one customer's must, whatever the setting says.
SET maintenance_work_mem = '1MB';
SELECT is(customers, 51::bigint, 'all customers are evaluated') FROM crm.refresh_segments(:'now');
SELECT is(ARRAY(SELECT m::int FROM crm.members(segment) AS m ORDER BY m), coalesce(customers, '{}'), segment || ': members')
  FROM expected ORDER BY segment;
SELECT results_eq('SELECT entered, "left" FROM crm.refresh_segments(crm.now())', 'VALUES (0::bigint, 0::bigint)', 'again, nothing changes');
RESET maintenance_work_mem;

-- By index, for that one: some are enough
SELECT is(crm.matches_segment(1, segment), coalesce(1 = ANY (customers), false), segment || ': the fresh answer is the same')
  FROM expected WHERE segment IN ('last', 'none') ORDER BY segment;
SELECT is(x.value::numeric, e.value::numeric, e.segment || ': value')
  FROM expected AS e
 CROSS JOIN LATERAL (SELECT x.value FROM crm.explain(1, e.segment) WITH ORDINALITY AS x WHERE x.value IS NOT NULL
					  ORDER BY x.ordinality LIMIT 1) AS x
 WHERE e.segment IN ('distinct', 'unanswered') ORDER BY segment;
SELECT is(count(*), (SELECT count(*) FROM orders WHERE user_id = 1) + (SELECT count(*) FROM returns WHERE user_id = 1),
		  'the profile has all events') FROM crm.events_of(crm.profile_of(1));

-- Time passes, and windows empty
SELECT is(sum(size)::bigint, (SELECT sum(cardinality(customers)) FROM expected WHERE segment IN ('sum', 'distinct')), 'sizes of the past')
  FROM unnest(ARRAY['sum', 'distinct']) AS s CROSS JOIN LATERAL crm.segment_size(s, crm.now(), crm.now(), '1 day');
SELECT cmp_ok("left", '>=', 2::bigint, 'a refresh half a year later') FROM crm.refresh_segments(crm.now() + interval '6 months');
SELECT results_eq('SELECT c.at, c.reason FROM crm.segment_change AS c WHERE c.segment = ''sum'' AND NOT c.entered AND c.customer_id = 1',
	format('SELECT min(e), ''time'' FROM (SELECT e, sum(amount) OVER () - sum(amount) OVER (ORDER BY e) AS rest '
		   'FROM (SELECT at + interval ''1 month'' AS e, amount FROM orders WHERE user_id = 1 AND at <= %1$L '
		   'AND at + interval ''1 month'' > %1$L) AS w) AS x WHERE rest <= 1000000', :'now'),
	'the instant at which the sum of a month fell below its bound');
SELECT * FROM finish();

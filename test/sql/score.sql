-- Stored scores: refresh_scores(), and what predicates and profiles see of them
SET client_min_messages = warning;
SET search_path = public, crm;
SET DateStyle = 'ISO, YMD';
SET TimeZone = 'UTC';
\pset null -

\set SHOW_CONTEXT never

CREATE SCHEMA score_shop;
SET search_path = score_shop, public, crm;
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE orders (user_id int NOT NULL, at timestamptz NOT NULL, amount numeric NOT NULL, item text NOT NULL);
CREATE INDEX ON orders (user_id);
-- 1 to 300 buy at rates of their own, and after each order some never come back; the last fifty never buy; 300 has an order
-- in the future
CREATE FUNCTION u(key int, salt int) RETURNS float8 LANGUAGE sql
	RETURN (((hashint8extended(key, salt) >> 20) & 1048575) + 1) / 1048577.0::float8;
INSERT INTO users SELECT n, CASE WHEN n % 2 = 0 THEN 'Tver' ELSE 'Kazan' END FROM generate_series(1, 350) n;
INSERT INTO orders
SELECT n, at, round((5 - 40 * ln(u(n, 4)) * (0.5 + u(n * 100 + k, 5)))::numeric, 2), 'item ' || n % 3
  FROM (SELECT n, k, date_trunc('second', '2025-01-06 10:00Z'::timestamptz + (60 * u(n, 1) + coalesce(sum(-ln(u(n * 100 + k, 2)) * 90 / -ln(u(n, 3)))
				FILTER (WHERE k > 0) OVER sofar, 0)) * interval '1 day') AS at,
			   coalesce(bool_and(u(n * 100 + k, 6) > u(n, 7) ^ 2) FILTER (WHERE k > 0) OVER sofar, true) AS alive
		  FROM generate_series(1, 300) n, generate_series(0, 30) k WINDOW sofar AS (PARTITION BY n ORDER BY k)) o
 WHERE alive AND at < '2025-12-01Z';
INSERT INTO orders VALUES (300, '2027-01-01Z', 1, 'item 9');

-- Without feeds there is nothing to score
SELECT * FROM refresh_scores('2026-01-01Z');
SELECT define_customers('SELECT id AS customer_id, city FROM users');
SELECT define_event('order', 'SELECT user_id AS customer_id, at, amount FROM orders');
SELECT create_segment('champions', $$rfm_segment = 'Champions'$$);
SELECT create_segment('fell', $$has score[name = 'rfm_segment' and old = 'Champions'] in last 30 days$$);
SELECT create_segment('unscored', 'rfm is not known');
SELECT create_segment('due soon', 'has due in next 14 days');

SELECT * FROM refresh_scores('2025-12-01Z');
-- What is stored is what the functions say
SELECT count(*) FILTER (WHERE s.rfm = r.score) AS rfm, count(*) FILTER (WHERE s.rfm_segment = rfm_segment(r.score)) AS segments, count(*)
  FROM customer_score s JOIN rfm_scores('2025-12-01Z') r ON r.customer = s.customer_id;
SELECT count(*) AS clv FROM customer_score s JOIN clv('2025-12-01Z') c ON c.customer = s.customer_id
 WHERE s.ltv IS NOT DISTINCT FROM round(c.clv::numeric, 2) AND s.p_alive IS NOT DISTINCT FROM round(c.p_alive::numeric, 4);
SELECT count(*) AS abc_xyz FROM customer_score s LEFT JOIN customer_abc_xyz(until => '2025-12-01Z') a ON a.customer = s.customer_id
 WHERE s.abc IS NOT DISTINCT FROM a.abc AND s.xyz IS NOT DISTINCT FROM a.xyz;
SELECT count(*) AS next_order FROM customer_score s JOIN next_orders(until => '2025-12-01Z') n ON n.customer = s.customer_id
 WHERE s.next_order IS NOT DISTINCT FROM n.next;
-- nothing is logged at first, nothing due without a feed of purchases
SELECT (SELECT count(*) FROM score_change) AS changes, (SELECT count(*) FROM item_due) AS due;
SELECT name, size FROM segments ORDER BY name;
SELECT count(*) = (SELECT count(*) FROM customer_score WHERE rfm_segment = 'Champions') AS same FROM members('champions');

-- Attributes of the profile; whoever has no scores has none
SELECT name, value FROM attributes_of(profile_of(1));
SELECT name, value FROM attributes_of(profile_of(320));
SELECT matches_segment(1, 'champions', '2025-12-01Z') = is_member(1, 'champions') AS same, is_member(320, 'unscored'), is_member(1, 'unscored');

-- Again: nothing new
SELECT * FROM refresh_scores('2025-12-01Z');

-- Purchases, which are due again; and time goes on, so that champions fall
SELECT define_event('purchase', 'SELECT user_id AS customer_id, at, amount, item FROM orders');
INSERT INTO orders SELECT n, '2025-12-10Z', 500, 'item 1' FROM generate_series(200, 299) n;
DELETE FROM orders WHERE user_id = 1;
SELECT customers, changes > 0 AS changed, due > 0 AS due FROM refresh_scores('2025-12-15Z');
SELECT name, count(*) > 0 AS logged, bool_and(old IS DISTINCT FROM new) AS differ, bool_and(at = '2025-12-15Z') AS at FROM score_change GROUP BY name ORDER BY name;
SELECT name, new FROM score_change WHERE customer_id = 1 ORDER BY name;
SELECT count(*) FROM customer_score WHERE customer_id = 1;
SELECT count(*) FILTER (WHERE d.at = c.next) AS same, count(*) = (SELECT count(*) FROM item_due) AS all
  FROM customer_cycles(until => '2025-12-15Z') c JOIN item_due d ON d.customer_id = c.customer AND d.item = c.item;
SELECT array_agg(m ORDER BY m) = (SELECT array_agg(DISTINCT customer_id ORDER BY customer_id) FROM score_change WHERE name = 'rfm_segment' AND old = 'Champions' ) AS fell FROM members('fell') m;
SELECT array_agg(m ORDER BY m) = (SELECT array_agg(DISTINCT customer_id ORDER BY customer_id) FROM item_due WHERE at > '2025-12-15Z' AND at - interval '14 days' <= '2025-12-15Z') AS due FROM members('due soon') m;
-- the bulk pass and the single customer agree
SELECT s.name, count(*) FILTER (WHERE is_member(u.id, s.name) <> matches_segment(u.id, s.name, '2025-12-15Z')) AS differ
  FROM segments s, users u GROUP BY s.name ORDER BY s.name;

-- A shop's own attribute of that name goes before ours; the others stay
SELECT define_customers('SELECT id AS customer_id, city, ''own''::text AS abc FROM users');
SELECT name, value FROM attributes_of(profile_of(2)) WHERE name IN ('abc', 'city', 'rfm_r');
SELECT customers FROM preview('abc = ''own''', '2025-12-15Z');
SELECT customers FROM preview('abc = ''A''', '2025-12-15Z');
SELECT customers = (SELECT count(*) FROM customer_score WHERE rfm_r(rfm) >= 4) AS same FROM preview('rfm_r >= 4', '2025-12-15Z');

-- Names and types are checked as the shop's own are
SELECT create_segment('x', 'rfm_segmnt = ''a''');
SELECT create_segment('x', 'rfm_r = ''a''');
SELECT create_segment('x', 'has score[nam = ''a'']');
-- and are not to be had otherwise
SELECT define_event('score', 'SELECT user_id AS customer_id, at FROM orders');
SELECT define_event('customer.score', 'SELECT user_id AS customer_id, at FROM orders');
SELECT track(1, 'due', at => '2026-01-01Z');
SELECT track(1, 'customer.own', at => '2026-01-01Z');
SELECT drop_event('score');
SELECT kind, state FROM feeds;
-- feeds of the shop come and go, ours stay
SELECT release_feeds(), rebuild_feeds();
SELECT count(*) FROM attributes_of(profile_of(2));

-- Errors
SELECT refresh_scores(NULL);
SELECT refresh_scores('2025-12-16Z', method => 'guess');
SELECT refresh_scores('2025-12-16Z', bins => 1);
SELECT refresh_scores('2025-12-16Z', map => 'none');
SELECT refresh_scores('2025-12-16Z', period => 'fortnight');
SELECT refresh_scores('2025-12-14Z');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT refresh_scores('2025-12-16Z');
ROLLBACK;
-- after which all is as it was
SELECT count(*), max(at) FROM score_change WHERE at > '2025-12-15Z';

-- Nobody orders any more: scores and what is due go
TRUNCATE orders;
SELECT customers, changes > 0 AS changed, due FROM refresh_scores('2025-12-20Z');
SELECT (SELECT count(*) FROM customer_score) AS scores, (SELECT count(*) FROM item_due) AS due;
SELECT name, size FROM segments ORDER BY name;

DROP SCHEMA score_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- RFM: the type, segments of scores, populations of any query, and scores by the feed.

SET client_min_messages = warning;
SET search_path = public, crm;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET crm_marketing.now = '2026-07-01 12:00:00Z';

------------------------------------------------------------------------------------------------------------------
-- The type
------------------------------------------------------------------------------------------------------------------

SELECT '5-4-3'::crm.rfm, '543'::crm.rfm, ' 1-9-1 '::crm.rfm, crm.make_rfm(5, 4, 3);
SELECT crm.rfm_r('5-4-3'), crm.rfm_f('5-4-3'), crm.rfm_m('5-4-3');
SELECT crm.make_rfm(5, NULL, 3), crm.rfm_r(NULL);

-- Ordered by recency, then frequency, then monetary
SELECT s FROM unnest('{3-1-1,1-5-5,3-1-2,5-1-1,3-2-1,1-5-5}'::crm.rfm[]) AS s ORDER BY s;
SELECT '3-2-1'::crm.rfm > '3-1-9', '3-2-1'::crm.rfm >= '3-2-1', '3-2-1'::crm.rfm < '3-2-2', '3-2-1'::crm.rfm <= '3-1-9',
	   '3-2-1'::crm.rfm = '321', '3-2-1'::crm.rfm <> '321';
SELECT DISTINCT s FROM unnest('{3-1-1,311,1-5-5}'::crm.rfm[]) AS s ORDER BY s;
SELECT s, count(*) FROM unnest('{3-1-1,311,1-5-5}'::crm.rfm[]) AS s GROUP BY s ORDER BY s;
SELECT crm.rfm_hash('5-4-3') = crm.rfm_hash('543'), crm.rfm_hash_extended('5-4-3', 1) = crm.rfm_hash_extended('543', 1);
CREATE TABLE scored (customer int PRIMARY KEY, score crm.rfm);
CREATE INDEX ON scored (score);
INSERT INTO scored SELECT i, crm.make_rfm(1 + i % 5, 1 + i / 5 % 5, 1 + i / 25 % 5) FROM generate_series(0, 124) i;
SET enable_seqscan = off;
EXPLAIN (COSTS OFF) SELECT customer FROM scored WHERE score >= '5-5-1';
SELECT customer FROM scored WHERE score >= '5-5-1' ORDER BY score;
RESET enable_seqscan;
-- The same values in binary
CREATE TEMP TABLE copied (customer int, score crm.rfm);
COPY scored TO PROGRAM 'cat >regression_rfm.tmp' (FORMAT binary);
COPY copied FROM PROGRAM 'cat regression_rfm.tmp && rm regression_rfm.tmp' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE s.score = c.score) AS same FROM scored s FULL JOIN copied c USING (customer);
SELECT crm.rfm_send('5-4-3');

\set VERBOSITY terse
SELECT '5-4'::crm.rfm;
SELECT '5-4-0'::crm.rfm;
SELECT '5-43'::crm.rfm;
SELECT '54-3'::crm.rfm;
SELECT '5432'::crm.rfm;
SELECT ''::crm.rfm;
SELECT crm.make_rfm(5, 10, 3);
SELECT crm.make_rfm(0, 1, 3);
\set VERBOSITY default
SELECT '5-4-x'::crm.rfm;

------------------------------------------------------------------------------------------------------------------
-- Segments
------------------------------------------------------------------------------------------------------------------

SELECT r, f, crm.rfm_segment(crm.make_rfm(r, f, 3)) AS segment
  FROM generate_series(5, 1, -1) AS r, generate_series(1, 5) AS f \crosstabview
SELECT crm.rfm_segment('6-1-1'), crm.rfm_segment(NULL), crm.rfm_segment('5-5-5', NULL);

-- A map of one's own: the row of least priority wins, the last one is for all the rest
INSERT INTO crm.rfm_map (map, priority, segment, r_low, m_low) VALUES ('ours', 1, 'Big and new', 4, 5);
INSERT INTO crm.rfm_map (map, priority, segment, r_low) VALUES ('ours', 2, 'New', 4);
INSERT INTO crm.rfm_map (map, priority, segment) VALUES ('ours', 9, 'Others');
SELECT s, crm.rfm_segment(s, 'ours'), crm.rfm_segment(s, m) AS by_turns
  FROM unnest('{5-1-5,5-5-4,3-5-5,1-1-1}'::crm.rfm[], '{ours,rf_grid,ours,rf_grid}'::text[]) AS u (s, m);
-- Copied and changed
INSERT INTO crm.rfm_map SELECT 'mine', priority, CASE segment WHEN 'Promising' THEN 'Perhaps' ELSE segment END,
	r_low, r_high, f_low, f_high, m_low, m_high FROM crm.rfm_map WHERE map = 'rf_grid';
SELECT crm.rfm_segment('4-1-1', 'mine');
SELECT crm.rfm_segment('4-1-1', 'yours');
INSERT INTO crm.rfm_map (map, priority, segment, r_low, r_high) VALUES ('ours', 3, 'none', 5, 4);
INSERT INTO crm.rfm_map (map, priority, segment, m_high) VALUES ('ours', 3, 'none', 10);
-- The map that comes with the extension is not dumped
SELECT c.relname, d.condition
  FROM pg_extension e, unnest(e.extconfig, e.extcondition) AS d (relation, condition) JOIN pg_class c ON c.oid = d.relation
 WHERE e.extname = 'crm_marketing' AND c.relname = 'rfm_map';

------------------------------------------------------------------------------------------------------------------
-- Scores of a query
------------------------------------------------------------------------------------------------------------------

CREATE TABLE shop_order (user_id int, placed_at timestamptz, total numeric);
INSERT INTO shop_order VALUES
	(1, '2026-06-30 10:00Z', 50), (1, '2026-06-01 10:00Z', 25.50), (1, '2026-01-01 10:00Z', 24.5),
	(2, '2026-06-30 23:59Z', 10),
	(3, '2026-03-01 00:00Z', 100), (3, '2026-02-01 00:00Z', 100),
	(4, '2025-07-01 12:00Z', 5),
	(5, '2026-05-15 12:00Z', 300.00), (5, '2026-05-15 12:00Z', 0.01), (5, '2026-05-15 18:00Z', 1);

SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o, crm.scores_of(o.p) s;
-- What else counts as an order: rows at one instant as one, days as one
SELECT c, s.* FROM unnest('{rows,orders,days}'::text[]) c,
	LATERAL (SELECT crm.rfm_agg(user_id, placed_at, total, c, 'UTC') AS p FROM shop_order) o, crm.scores_of(o.p) s
 WHERE s.customer IN (3, 5);
-- A local day
SELECT z, s.recency, s.frequency FROM unnest('{UTC,Europe/Moscow,America/New_York}'::text[]) z,
	LATERAL (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', z) AS p FROM shop_order) o,
	crm.scores_of(o.p, zone => z) s WHERE s.customer IN (2, 3);
-- To which day
SELECT t, s.customer, s.recency FROM unnest('{at,last,next}'::text[]) t, (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o,
	crm.scores_of(o.p, '2026-08-01', t) s WHERE s.customer <= 2;
-- Rows after the instant: a recency below 0
SELECT s.customer, s.recency, s.score FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o, crm.scores_of(o.p, '2026-06-01') s;
-- Aggregated already
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, n) AS p
		FROM (SELECT user_id, max(placed_at) AS placed_at, sum(total) AS total, count(*) AS n FROM shop_order GROUP BY 1) x) o, crm.scores_of(o.p) s;

-- Methods, with five values and ties: 1 1 1 2 10 orders
CREATE TABLE tied AS SELECT c AS customer, n, '2026-06-01'::timestamptz - c * interval '1 day' AS at
  FROM (VALUES (1, 1), (2, 1), (3, 1), (4, 2), (5, 10)) v (c, n);
SELECT m, string_agg(s.score::text, ' ' ORDER BY s.customer) AS scores
  FROM unnest('{quantile,ntile,r,pandas}'::text[]) m, (SELECT crm.rfm_agg(customer, at, 10, n) AS p FROM tied) o,
	   crm.scores_of(o.p, method => m) s GROUP BY m ORDER BY m;
SELECT m, b, string_agg(s.score::text, ' ' ORDER BY s.customer) AS scores
  FROM unnest('{quantile,ntile,r,pandas}'::text[]) m, unnest('{2,3,9}'::int[]) b, (SELECT crm.rfm_agg(customer, at, 10 * n, n) AS p FROM tied) o,
	   crm.scores_of(o.p, method => m, bins => b) s GROUP BY m, b ORDER BY m, b;
-- Bounds: recency up to, frequency and monetary from
SELECT s.* FROM (SELECT crm.rfm_agg(customer, at, 10.5 * n, n) AS p FROM tied) o,
	crm.scores_of(o.p, '2026-06-01', method => 'fixed', recency_bounds => '{2,4}', frequency_bounds => '{2}', monetary_bounds => '{10.50,10.51,105,200}') s;

------------------------------------------------------------------------------------------------------------------
-- Odd populations
------------------------------------------------------------------------------------------------------------------

-- One customer
SELECT m, s.score FROM unnest('{quantile,ntile,r,pandas}'::text[]) m, (SELECT crm.rfm_agg(7, '2026-06-01Z', 10) AS p) o, crm.scores_of(o.p, method => m) s;
-- All equal: by quantile nobody is better than anybody
SELECT m, s.score, count(*) FROM unnest('{quantile,ntile,r,pandas}'::text[]) m, (SELECT crm.rfm_agg(i, '2026-06-01Z', 10) AS p FROM generate_series(1, 10) i) o,
	crm.scores_of(o.p, method => m) s GROUP BY 1, 2 ORDER BY 1, 2;
-- Refunds: totals below 0 are less than nothing
SELECT s.* FROM (SELECT crm.rfm_agg(c, '2026-06-01Z', a) AS p FROM (VALUES (1, 10), (1, -30), (2, -5), (3, 0), (4, 5), (5, 7)) v (c, a)) o, crm.scores_of(o.p) s;
-- NULL, NaN and infinity: no customer or time, no row; no amount, an order all the same
SELECT s.* FROM (SELECT crm.rfm_agg(c, t, a) AS p FROM (VALUES
	(NULL, '2026-06-01Z'::timestamptz, 1.0), (1, NULL, 1), (2, 'infinity', 1), (3, '-infinity', 1),
	(4, '2026-06-01Z', NULL), (5, '2026-06-01Z', 'NaN'), (6, '2026-06-01Z', 'infinity'), (6, '2026-06-01Z', 2.5)) v (c, t, a)) o, crm.scores_of(o.p) s;
SELECT crm.rfm_agg(NULL, now(), 1) IS NULL AS nothing, crm.rfm_agg(1, now(), 1, NULL::bigint) IS NULL AS nothing;
SELECT crm.rfm_agg(user_id, placed_at, total) IS NULL AS nothing FROM shop_order WHERE false;
SELECT count(*) FROM crm.scores_of(NULL);
-- Ids and times at their ends
SELECT s.customer, s.recency, s.frequency FROM (SELECT crm.rfm_agg(c, t, 1) AS p FROM (VALUES (-9223372036854775808, '4714-11-24 00:00:00+00 BC'::timestamptz),
	(9223372036854775807, '294276-12-31 23:59:59.999999+00'), (0, '2026-06-01Z'), (-1, '2026-06-01Z')) v (c, t)) o, crm.scores_of(o.p) s;
-- Money is exact, and shown as numeric's sum shows it
CREATE TABLE money (c int, a numeric);
INSERT INTO money VALUES (1, 0.1), (1, 0.2), (2, 100), (2, 1e30), (3, 9223372036854775807), (3, 9223372036854775807), (4, 0.33333333333333333333), (4, 1e-30),
	(5, 123456789012345678.123456789), (5, -0.000000001), (6, 1.50), (6, 1e18), (7, -1e30), (8, 12), (8, 30);
SELECT w, s.customer, s.monetary, s.monetary::text = e.total::text AS exact, crm.rfm_m(s.score) AS m
  FROM (SELECT 'rows' AS w, crm.rfm_agg(c, '2026-06-01Z', a) AS p FROM money
		UNION ALL SELECT 'days', crm.rfm_agg(c, '2026-06-01Z', a, 'days', 'UTC') FROM money) o,
	   crm.scores_of(o.p, bins => 9) s
  JOIN (SELECT c, sum(a) AS total FROM money GROUP BY c) e ON e.c = s.customer
 ORDER BY w DESC, s.customer;
SELECT m, string_agg(crm.rfm_m(s.score)::text, ' ' ORDER BY s.customer) FROM unnest('{ntile,r,pandas}'::text[]) m,
	(SELECT crm.rfm_agg(c, '2026-06-01Z', a) AS p FROM money) o, crm.scores_of(o.p, method => m, bins => 4) s GROUP BY m ORDER BY m;

------------------------------------------------------------------------------------------------------------------
-- By the feed
------------------------------------------------------------------------------------------------------------------

SELECT * FROM crm.rfm_scores();
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, total * 2 AS doubled, ''x''::text AS note FROM public.shop_order');
SELECT * FROM crm.rfm_scores();
SELECT * FROM crm.rfm_scores(method => 'ntile', bins => 2);
-- Up to an instant and from one on, both included; another amount; other orders
SELECT customer, recency, frequency, monetary FROM crm.rfm_scores('2026-05-15 12:00Z', since => '2026-02-01Z', amount => 'doubled', count_by => 'orders');
SELECT count(*) FROM crm.rfm_scores('2020-01-01');
-- By the feed and by the aggregate
SELECT count(*), count(*) FILTER (WHERE a = b) AS same
  FROM crm.rfm_scores() a FULL JOIN (SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o, crm.scores_of(o.p) s) b USING (customer);

SELECT r, f, customers FROM crm.rfm_matrix() \crosstabview
SELECT * FROM crm.rfm_matrix(bins => 2, map => 'ours');
SELECT sum(customers), sum(monetary) FROM crm.rfm_matrix(method => 'ntile');

SELECT * FROM crm.rfm_movement('2026-03-15');
SELECT segment_before, segment, count(*) FROM crm.rfm_movement('2026-03-15') GROUP BY 1, 2 ORDER BY 1, 2;
-- Each side is what the scores were at the time
SELECT count(*), count(*) FILTER (WHERE m.score_before IS NOT DISTINCT FROM b.score AND m.score = a.score) AS same
  FROM crm.rfm_movement('2026-03-15', '2026-06-15') m LEFT JOIN crm.rfm_scores('2026-03-15') b USING (customer) JOIN crm.rfm_scores('2026-06-15') a USING (customer);

-- Tracked orders
SELECT crm.track(11, 'sale', '{"amount": 10.50}', '2026-06-01Z'), crm.track(11, 'sale', '{"amount": "much"}', '2026-06-02Z'), crm.track(12, 'sale', '{}', '2026-06-03Z');
SELECT * FROM crm.rfm_scores(kind => 'sale');

-- Feeds run as their definer: an analyst sees scores of orders that he may not read
CREATE ROLE regress_rfm_analyst;
SELECT crm.grant_access('regress_rfm_analyst', 'analyst');
SET ROLE regress_rfm_analyst;
SELECT count(*), max(crm.rfm_segment(score)) FROM crm.rfm_scores();
SELECT count(*) FROM public.shop_order;
INSERT INTO crm.rfm_map (map, priority, segment) VALUES ('his', 1, 'x');
RESET ROLE;

------------------------------------------------------------------------------------------------------------------
-- Errors
------------------------------------------------------------------------------------------------------------------

SELECT count(*) FROM crm.rfm_scores(kind => 'orders');
SELECT count(*) FROM crm.rfm_scores(kind => 'customer');
SELECT count(*) FROM crm.rfm_scores(amount => 'total');
SELECT count(*) FROM crm.rfm_scores(amount => 'note');
SELECT count(*) FROM crm.rfm_scores(method => 'best');
SELECT count(*) FROM crm.rfm_scores(recency_to => 'end');
SELECT count(*) FROM crm.rfm_scores(count_by => 'weeks');
SELECT count(*) FROM crm.rfm_scores(bins => 1);
SELECT count(*) FROM crm.rfm_scores(bins => 10);
SELECT count(*) FROM crm.rfm_scores(bins => NULL);
SELECT count(*) FROM crm.rfm_scores('infinity');
SELECT count(*) FROM crm.rfm_scores(NULL);
SELECT count(*) FROM crm.rfm_scores(zone => 'Europe/Nowhere');
SELECT count(*) FROM crm.rfm_scores(recency_bounds => '{1}');
SELECT count(*) FROM crm.rfm_scores(method => 'fixed', recency_bounds => '{1}');
SELECT count(*) FROM crm.rfm_scores(method => 'fixed', recency_bounds => '{2,1}', frequency_bounds => '{2}', monetary_bounds => '{2}');
SELECT count(*) FROM crm.rfm_scores(method => 'fixed', recency_bounds => '{}', frequency_bounds => '{2}', monetary_bounds => '{2}');
SELECT count(*) FROM crm.rfm_scores(method => 'fixed', recency_bounds => '{1,NULL}', frequency_bounds => '{2}', monetary_bounds => '{2}');
SELECT count(*) FROM crm.rfm_scores(method => 'fixed', recency_bounds => '{1,NaN}', frequency_bounds => '{2}', monetary_bounds => '{2}');
SELECT count(*) FROM crm.rfm_matrix(map => 'yours');
SELECT count(*) FROM crm.rfm_movement('2026-08-01');
SELECT count(*) FROM crm.rfm_movement(NULL);
SELECT crm.rfm_agg(1, now(), 1, 0) IS NULL;
SELECT crm.rfm_agg(1, '2026-01-01', 1, 9223372036854775807) IS NULL FROM generate_series(1, 100);
SELECT crm.rfm_agg(1, now(), 1, 'weeks', 'UTC') IS NULL;
SELECT crm.rfm_agg(1, now(), 1, 'days', 'Nowhere') IS NULL;
SELECT crm.rfm_agg(1, now(), 1, 'days', NULL) IS NULL;
SELECT crm.rfm_agg(1, now(), 1, c, 'UTC') IS NULL FROM unnest('{days,rows}'::text[]) c;
SELECT count(*) FROM (SELECT crm.rfm_agg(1, now(), 9e131071) AS p FROM generate_series(1, 2)) o, crm.scores_of(o.p);

SELECT crm.release_feeds();
SELECT count(*) FROM crm.rfm_scores();
SELECT crm.rebuild_feeds();

DROP OWNED BY regress_rfm_analyst;
DROP ROLE regress_rfm_analyst;
SELECT crm.drop_event('order'), crm.drop_event('sale', true);
DELETE FROM crm.rfm_map WHERE map <> 'rf_grid';
DROP TABLE scored, shop_order, tied, money;

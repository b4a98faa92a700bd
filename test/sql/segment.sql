-- Segments of a small shop, as somebody types who sees them for the first time; then what is said when it cannot be.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
SET search_path = segment_shop, public, crm;
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET timezone = 'UTC';
CREATE SCHEMA segment_shop;
CREATE TABLE users (id integer PRIMARY KEY, name text, city text, birthday date, vip boolean, tags text[]);
CREATE TABLE orders (id integer PRIMARY KEY, user_id integer REFERENCES users, placed_at timestamptz, total numeric(12, 2),
	status text);
CREATE INDEX ON orders (user_id);
INSERT INTO users VALUES
	(1, 'Anna', 'Moscow', '1990-01-25', true, '{a,b}'),
	(2, 'Boris', 'Moscow', NULL, false, NULL),
	(3, 'Clara', 'Oslo', '1984-02-29', true, '{}'),
	(4, 'Dan', NULL, NULL, NULL, NULL),
	(5, 'Eve', 'Paris', '2000-12-31', NULL, '{b}');
INSERT INTO orders VALUES
	(1, 1, '2025-06-10 09:00:00Z', 100.10, 'done'),
	(2, 1, '2025-12-30 21:30:00Z', 50, 'done'),
	(3, 1, '2026-01-14 12:00:00Z', 25, 'paid'),
	(4, 2, '2025-11-15 08:00:00Z', 300, 'done'),
	(5, 3, '2025-12-20 10:00:00Z', 20, 'done'),
	(6, 3, '2026-01-10 10:00:00Z', 80, 'cancelled'),
	(7, 4, '2025-03-01 00:00:00Z', 5, 'done');
SET crm_marketing.now = '2026-01-20 00:00:00Z';
SELECT crm.configure('timezone', 'Europe/Moscow');
SELECT crm.define_customers('SELECT id AS customer_id, city, birthday, vip, tags FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, status FROM orders');

--
-- Looking before doing
--
SELECT * FROM crm.preview('has order in last 1 month');
SELECT * FROM crm.preview('city = ''Moscow''', samples => 1);
SELECT * FROM crm.preview('has order in last 1 month', at => '2026-02-01 00:00:00Z', samples => 0);
SELECT crm.matching('no order in last 1 month and has order');
SELECT crm.matching('anniversary(birthday) in next 30 days');
SELECT crm.matching('tags contains ''b'' or vip = true', '2026-01-01 00:00:00Z');
SELECT crm.matching('has order', NULL), crm.matching(NULL);
SELECT * FROM crm.population_size('has order in last 1 month',
	ARRAY['2026-01-20', '2025-12-25', '2025-12-25', 'infinity', '-infinity']::timestamptz[]);
SELECT * FROM crm.population_size('has order', '{}');
SELECT * FROM crm.population_size(NULL, '{2026-01-01}');
SELECT * FROM crm.population_size('has order', ARRAY[NULL]::timestamptz[]);
SELECT crm.evaluate_segment(1, 'sum(order.amount) > 175', crm.now()), crm.evaluate_segment(2, 'sum(order.amount) > 300'),
	crm.evaluate_segment(99, 'no order') IS NULL AS of_nobody;

--
-- Making them
--
SELECT crm.create_segment('buyers', 'has order');
SELECT crm.create_segment('sleeping', 'HAS order and NO order in last 30 DAYS');
SELECT crm.create_segment('fresh', 'has order in last 1 month');
SELECT crm.create_segment('muscovites', 'city = ''Moscow''');
SELECT crm.create_segment('fresh muscovites', 'in segment ''fresh'' and in segment ''muscovites''');
SELECT crm.create_segment('other fresh', 'in segment ''fresh'' and not in segment ''fresh muscovites''');
-- Until the first refresh nobody knows who is in them; what needs no store answers at once.
SELECT * FROM crm.segments ORDER BY segment_id;
SELECT crm.members('fresh');
SELECT crm.is_member(1, 'fresh');
SELECT crm.is_member(99, 'frehs');
SELECT * FROM crm.segment_member ORDER BY customer_id, segment_id;
SELECT u.id, crm.matches_segment(u.id, 'fresh'), crm.matches_segment(u.id, 'fresh muscovites'),
	crm.matches_segment(u.id, 'other fresh')
  FROM users AS u ORDER BY u.id;
SELECT * FROM crm.preview_edit('fresh', 'has order in last 2 months');

SELECT kind, state, reason FROM crm.feeds;
SELECT * FROM crm.refresh_segments();
SELECT kind, state, reason FROM crm.feeds;
SELECT * FROM crm.segments ORDER BY segment_id;
SELECT segment, array_agg(customer_id ORDER BY customer_id) AS members FROM crm.segment_member GROUP BY segment
 ORDER BY segment COLLATE "C";
SELECT * FROM crm.segment_member WHERE customer_id = 1 ORDER BY segment_id;
SELECT crm.members('fresh') ORDER BY 1;
SELECT crm.is_member(1, 'fresh'), crm.is_member(2, 'fresh'), crm.is_member(99, 'fresh'), crm.is_member(NULL, 'fresh');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY segment_id, customer_id;

--
-- A definition names other segments by id: renaming is free.
--
SELECT crm.rename_segment('fresh', 'recent');
SELECT name, definition FROM crm.segments ORDER BY segment_id;
SELECT predicate FROM crm.segment WHERE name = 'other fresh';
SELECT crm.name_segments(predicate), crm.segments_named(predicate) FROM crm.segment WHERE name = 'other fresh';
SELECT crm.resolve_segments('in segment ''recent'' or has order');
SELECT * FROM crm.refresh_segments();

--
-- Time passes, and things happen
--
TRUNCATE crm.membership_change;
-- Nothing of interest: Clara's order of 20 December gets a month old, but she has a later one.
SELECT * FROM crm.refresh_segments('2026-01-21 00:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY change_id;
-- Nothing but time, which is exact: an order of 10 or 14 January gets 30 days old, and a month old.
SELECT * FROM crm.refresh_segments('2026-03-01 00:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) WHERE at > '2026-01-21' ORDER BY at, customer_id, segment_id;
TRUNCATE crm.membership_change;
-- Facts: a first order, a move, an order that is withdrawn. What is not committed yet, matches_segment sees.
-- An order is logged with its own instant; of the others nobody knows more than when they were noticed.
BEGIN;
INSERT INTO orders VALUES (8, 5, '2026-03-01 08:00:00Z', 10, 'new');
SELECT crm.is_member(5, 'recent'), crm.matches_segment(5, 'recent', '2026-03-01 09:00:00Z'),
	crm.matches_segment(5, 'recent', '2026-03-01 07:59:59.999999Z') AS before, crm.matches_segment(5, 'buyers') AS at_now;
COMMIT;
UPDATE users SET city = 'Oslo' WHERE id = 2;
DELETE FROM orders WHERE user_id = 4;
SELECT * FROM crm.refresh_segments('2026-03-01 09:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY segment_id, customer_id;
TRUNCATE crm.membership_change;
-- Gone: the customer is no longer in the feed.
DELETE FROM orders WHERE user_id = 3;
DELETE FROM users WHERE id = 3;
SELECT * FROM crm.refresh_segments('2026-03-01 09:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY segment_id, customer_id;
SELECT * FROM crm.membership ORDER BY customer_id;
INSERT INTO users VALUES (3, 'Clara', 'Oslo', '1984-02-29', true, '{}');
SELECT * FROM crm.refresh_segments('2026-03-01 09:00:00Z');
TRUNCATE crm.membership_change;
-- A day that is entered and left at local midnight.
SELECT crm.create_segment('birthday', 'anniversary(birthday) today');
SELECT * FROM crm.refresh_segments('2026-12-30 20:59:59Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY at, segment_id, customer_id;
TRUNCATE crm.membership_change;
SELECT * FROM crm.refresh_segments('2026-12-31 00:00:00Z');
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY at, segment_id, customer_id;
TRUNCATE crm.membership_change;

--
-- An edit shows its difference first.
--
SELECT * FROM crm.preview_edit('buyers', 'sum(order.amount) > 100', '2027-01-01 00:00:00Z');
SELECT * FROM crm.preview_edit('buyers', 'true', '2027-01-01 00:00:00Z', 1);
SELECT * FROM crm.alter_segment('buyers', 'sum(order.amount) > 100', '2027-01-01 00:00:00Z');
SELECT crm.members('buyers') ORDER BY 1;
SELECT customer_id, entered, at, reason FROM crm.segment_change ORDER BY change_id;
SELECT name, definition, size, version, evaluated_at FROM crm.segments WHERE name = 'buyers';
-- The same definition again is no new version.
SELECT * FROM crm.alter_segment('buyers', 'SUM(order.amount)>100.0', '2027-01-01 00:00:00Z');
SELECT version FROM crm.segments WHERE name = 'buyers';
-- Segments that name an edited one follow at the next refresh.
TRUNCATE crm.membership_change;
SELECT * FROM crm.alter_segment('recent', 'true', '2027-01-01 00:00:00Z');
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) ORDER BY segment_id, customer_id;
SELECT * FROM crm.alter_segment('recent', 'has order in last 1 month', '2027-01-01 00:00:00Z');
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');

--
-- Static segments
--
SELECT crm.create_static_segment('invited', ARRAY[5, 1, 5, 99]);
SELECT crm.create_static_segment('january buyers', predicate => 'has order in last 1 month', at => '2026-02-01 00:00:00Z');
SELECT crm.create_static_segment('nobody', '{}');
SELECT crm.create_segment('uninvited', 'not in segment ''invited''');
SELECT crm.members('invited') ORDER BY 1;
SELECT crm.members('january buyers') ORDER BY 1;
SELECT crm.members('nobody');
SELECT crm.matches_segment(5, 'invited'), crm.matches_segment(2, 'invited'), crm.matches_segment(2, 'uninvited');
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');
SELECT crm.members('invited') ORDER BY 1;
SELECT crm.members('uninvited') ORDER BY 1;
SELECT crm.add_to_segment('invited', ARRAY[1, 2, 2]), crm.add_to_segment('invited', '{}');
SELECT crm.remove_from_segment('invited', ARRAY[5, 5, 77]), crm.remove_from_segment('nobody', ARRAY[1]);
SELECT crm.members('invited') ORDER BY 1;
SELECT crm.matches_segment(2, 'uninvited');
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');
SELECT crm.members('uninvited') ORDER BY 1;
SELECT name, kind, definition, size, evaluated_at FROM crm.segments WHERE kind = 'static' ORDER BY segment_id;
SELECT customer_id, entered, reason FROM crm.segment_change JOIN crm.segment AS s USING (segment_id)
 WHERE s.name = 'invited' ORDER BY change_id;
SELECT * FROM crm.segment_size('invited', '2025-01-01', '2026-01-01', '1 year');
SELECT customer_id, segments = ARRAY(SELECT s FROM unnest(segments) AS s ORDER BY s) AS ascending FROM crm.membership
 ORDER BY customer_id;

--
-- One customer explained
--
SELECT * FROM crm.explain(1, 'recent', '2026-01-20 00:00:00Z');
SELECT * FROM crm.explain(1, 'fresh muscovites');
SELECT * FROM crm.explain(2, 'buyers');
SELECT depth, text, truth, until FROM crm.explain(2, 'uninvited');
SELECT * FROM crm.explain(99, 'recent');
SELECT * FROM crm.explain(NULL::bigint, 'recent');
SELECT * FROM crm.explain(1, NULL);
SELECT * FROM crm.explain(1, 'invited');
SELECT * FROM crm.explain(1, 'recnet');

--
-- Over past time: calendar steps go by the shop's wall clock.
--
SELECT * FROM crm.segment_size('recent', '2025-10-31 00:00:00+03', '2026-03-31 00:00:00+03', '1 month');
SELECT * FROM crm.segment_size('sleeping', '2025-12-31 00:00:00+03', '2026-01-02', '12 hours');
SELECT crm.configure('timezone', 'Europe/Berlin');
SELECT at, at AT TIME ZONE 'Europe/Berlin' AS berlin, size
  FROM crm.segment_size('sleeping', '2026-03-28 02:30:00+01', '2026-03-31', '1 day');
SELECT at, at AT TIME ZONE 'Europe/Berlin' AS berlin, size
  FROM crm.segment_size('sleeping', '2026-03-28 02:30:00+01', '2026-03-31', '24 hours');
SELECT at, at AT TIME ZONE 'Europe/Berlin' AS berlin
  FROM crm.segment_size('sleeping', '2025-10-25 12:00:00+02', '2025-10-28', '1 day 1 hour');
SELECT crm.configure('timezone', 'Europe/Moscow');
-- Another zone, and what is stored is right no more
SELECT kind, state, reason FROM crm.feeds;
SELECT * FROM crm.refresh_segments('2027-01-01 00:00:00Z');
SELECT crm.configure('timezone', 'Europe/Moscow');
SELECT kind, state, reason FROM crm.feeds;
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2025-01-01', '1 day');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-01-01', '1 day');
SELECT count(*) FROM crm.segment_size('nobody', '2026-01-01', '2026-01-01'::timestamptz + interval '9999 minutes', '1 minute');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', '1 second');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', '0');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', '-1 day');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', '1 month -1 day');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', '1 day -1 hour');
SELECT * FROM crm.segment_size('recent', '-infinity', '2026-02-01', '1 day');
SELECT * FROM crm.segment_size('recent', '2026-01-01', 'infinity', '1 day');
SELECT * FROM crm.segment_size('recent', '2026-01-01', '2026-02-01', NULL);
SELECT * FROM crm.segment_size(NULL, '2026-01-01', '2026-02-01', '1 day');
SELECT * FROM crm.segment_size('rezent', '2026-01-01', '2026-02-01', '1 day');

--
-- Dropping
--
SELECT crm.drop_segment('recent');
SELECT crm.drop_segment('invited');
SELECT crm.drop_segment('uninvited', '2027-01-02');
SELECT crm.drop_segment('invited', '2027-01-02');
SELECT name FROM crm.segments ORDER BY segment_id;
SELECT customer_id, segment_id, entered, at, reason FROM crm.segment_change WHERE at >= '2027-01-02' ORDER BY change_id;
SELECT count(*) AS of_dropped FROM crm.segment_member WHERE segment IN ('invited', 'uninvited');
-- The name is free, the id is not.
SELECT crm.create_segment('invited', 'true') > max(segment_id) AS new_id FROM crm.segment_change;
SELECT crm.drop_segment('invited');

--
-- What cannot be: names
--
SELECT crm.create_segment(NULL, 'true');
SELECT crm.create_segment('', 'true');
SELECT crm.create_segment(' x', 'true');
SELECT crm.create_segment(E'a\nb', 'true');
SELECT crm.create_segment(repeat('ы', 32), 'true');
SELECT crm.create_segment('buyers', 'true');
SELECT crm.create_static_segment('buyers', '{}');
SELECT crm.create_static_segment(NULL, '{}');
SELECT crm.rename_segment('buyers', 'recent');
SELECT crm.rename_segment('buyers', '');
SELECT crm.rename_segment('buyers', NULL);
SELECT crm.rename_segment(NULL, 'x');
SELECT crm.rename_segment('byers', 'x');
SELECT crm.rename_segment('something else', 'x');
SELECT crm.members('recnt');
SELECT crm.members(NULL);
SELECT crm.is_member(1, 'recnt');
SELECT crm.matches_segment(1, 'recnt');
SELECT crm.matches_segment(99, 'recent') IS NULL, crm.matches_segment(1, NULL) IS NULL, crm.matches_segment(NULL, 'recent') IS NULL;
SELECT crm.drop_segment('recnt');
SELECT crm.drop_segment(NULL);
SELECT crm.drop_segment('recent', NULL);
SELECT crm.drop_segment('recent', 'infinity');
-- definitions
SELECT crm.create_segment('x', NULL);
SELECT crm.create_segment('x', 'has ordr');
SELECT crm.create_segment('x', 'has xyzzy');
SELECT crm.create_segment('x', 'town = ''Moscow''');
SELECT crm.create_segment('x', 'in segment ''recnt''');
SELECT crm.create_segment('x', 'in segment ''no such thing at all''');
SELECT crm.create_segment('x', 'in segment 4711');
SELECT crm.create_segment('x', 'has order since entry');
SELECT crm.preview('in segment ''recnt''');
SELECT crm.preview(NULL);
SELECT crm.preview('true', NULL);
SELECT crm.preview('has ordr');
SELECT crm.matching('in segment ''recnt''');
SELECT crm.matching('has order since entry');
SELECT crm.evaluate_segment(1, 'in segment 4711');
SELECT crm.alter_segment('buyers', 'has ordr');
SELECT crm.alter_segment('buyers', NULL);
SELECT crm.alter_segment('buyers', 'true', NULL);
SELECT crm.alter_segment('buyers', 'true', 'infinity');
SELECT crm.alter_segment('buyers', 'true', '2026-12-31 23:59:59.999999Z');
SELECT crm.alter_segment('buyers', 'in segment 4711');
SELECT crm.alter_segment(NULL, 'true');
SELECT crm.alter_segment('byers', 'true');
SELECT crm.alter_segment('nobody', 'true');
SELECT crm.preview_edit('nobody', 'true');
SELECT crm.preview_edit('buyers', NULL);
SELECT crm.preview_edit('byers', 'true');
SELECT crm.preview_edit('buyers', 'has ordr');
-- circles
SELECT crm.alter_segment('buyers', 'in segment ''buyers''');
SELECT crm.alter_segment('recent', 'has order and not in segment ''other fresh''');
SELECT crm.preview_edit('muscovites', 'no order or in segment ''fresh muscovites''');
SELECT crm.preview('in segment ''buyers'' and not in segment ''buyers''', '2027-01-01');
-- chains: sixty-four in each other, from whichever end one more is added
SELECT crm.create_segment('c1', 'true') > 0 AS made;
SELECT count(crm.create_segment('c' || i, format('in segment ''c%s'' or in segment ''c1''', i - 1)::crm.predicate))
  FROM generate_series(2, 64) AS i;
SELECT crm.matches_segment(1, 'c64', '2027-01-01');
SELECT crm.create_segment('c65', 'has order and in segment ''c64''');
SELECT crm.alter_segment('c1', 'in segment ''buyers''', '2027-01-01');
SELECT crm.preview_edit('c1', 'in segment ''buyers''', '2027-01-01');
SELECT enter FROM crm.alter_segment('c33', 'in segment ''buyers''', '2027-01-01');
SELECT enter FROM crm.alter_segment('c1', 'in segment ''buyers''', '2027-01-01');
SELECT count(*) FROM (SELECT crm.drop_segment('c' || i, '2027-01-01') FROM generate_series(64, 1, -1) AS i) AS dropped;
-- static segments
SELECT crm.create_static_segment('x');
SELECT crm.create_static_segment('x', '{1}', 'has order');
SELECT crm.create_static_segment('x', '{1}', at => NULL);
SELECT crm.create_static_segment('x', '{1}', at => '-infinity');
SELECT crm.create_static_segment('x', predicate => 'has order', at => 'infinity');
SELECT crm.create_static_segment('x', '{1,NULL}');
SELECT crm.create_static_segment('x', predicate => 'has ordr');
SELECT crm.add_to_segment('buyers', '{1}');
SELECT crm.add_to_segment('nobody', NULL);
SELECT crm.add_to_segment('nobody', '{NULL}');
SELECT crm.add_to_segment(NULL, '{1}');
SELECT crm.add_to_segment('nobdy', '{1}');
SELECT crm.add_to_segment('nobody', '{1}', NULL);
SELECT crm.add_to_segment('nobody', '{1}', 'infinity');
SELECT crm.remove_from_segment('buyers', '{1}');
SELECT crm.remove_from_segment('nobody', '{1,NULL}');
SELECT crm.remove_from_segment('nobdy', '{1}');
SELECT crm.remove_from_segment('january buyers', '{1}', NULL);
SELECT crm.remove_from_segment('january buyers', '{1}', '-infinity');
-- refreshing
SELECT crm.refresh_segments(NULL);
SELECT crm.refresh_segments('infinity');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT crm.refresh_segments('2027-01-01');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT crm.alter_segment('buyers', 'true');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT crm.drop_segment('nobody');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SELECT * FROM crm.preview('has order in last 1 month');
COMMIT;
SELECT crm.refresh_segments('2026-12-31 23:59:59.999999Z');
-- what is left of all these is what there was
SELECT segment_id, name, size, version FROM crm.segments ORDER BY segment_id;

SET client_min_messages = warning;
DROP SCHEMA segment_shop CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

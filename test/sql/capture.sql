-- Capture: what crm.watch() takes and refuses, and what is in the change log afterwards.
SET client_min_messages = warning;
CREATE SCHEMA shop;
SET search_path = shop, public;
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, at timestamptz, total numeric, tags point);
CREATE INDEX ON orders (user_id);
CREATE TABLE items (order_id int, line int, sku text);
CREATE INDEX ON items (order_id);
CREATE VIEW recent AS SELECT * FROM orders;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, total FROM orders');
SELECT crm.define_event('item', 'SELECT o.user_id AS customer_id, o.at, i.sku FROM items i JOIN orders o ON o.id = i.order_id');

-- What is refused
\set SHOW_CONTEXT never
SELECT crm.watch(NULL, 'orders');
SELECT crm.watch('order', NULL);
SELECT crm.watch('nothing', 'orders');
SELECT crm.watch('score', 'orders');
SELECT crm.watch('order', 'recent');
SELECT crm.watch('order', 'pg_class');
SELECT crm.watch('order', 'items');
SELECT crm.watch('order', 'orders', '{}');
SELECT crm.watch('order', 'orders', '{nothing}');
SELECT crm.watch('order', 'orders', '{tags}');
SELECT crm.watch('order', 'orders', ARRAY[NULL]);
SELECT crm.watch('item', 'items', '{order_id,line}');
SELECT crm.watch('item', 'items', NULL, 'SELECT user_id FROM orders WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM nowhere WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id, id FROM orders WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT total FROM orders WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'DELETE FROM orders WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT (random() * 9)::int FROM orders WHERE id = $1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $1; SELECT 1');
SELECT crm.unwatch(NULL);
SELECT crm.capture();
SELECT crm.tick(NULL);
SELECT crm.tick('infinity');
SELECT crm.tick('2999-01-01');
SELECT crm.tick(max_customers => 0);
CALL crm.run_ticks(-1);
CALL crm.run_ticks(naptime => 0);
BEGIN;
CALL crm.run_ticks();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT crm.tick();
ROLLBACK;
SELECT crm.verify_segments(0);
CREATE ROLE crm_capture_stranger;
GRANT USAGE ON SCHEMA crm, shop TO crm_capture_stranger;
GRANT EXECUTE ON FUNCTION crm.watch, crm.unwatch, crm.capture TO crm_capture_stranger;
SET ROLE crm_capture_stranger;
SELECT crm.watch('order', 'orders');
RESET ROLE;

-- What is taken
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('item', 'orders'),
	   crm.watch('item', 'items', '{order_id,line}', 'SELECT user_id FROM orders WHERE id = $1 AND $2 > 0');
SELECT watch_id, kind, relation, key, mapping, search_path FROM crm.watch ORDER BY watch_id;
-- once more replaces
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $1');
SELECT tgname, tgrelid::regclass, tgenabled, pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname LIKE 'crm_watch%' ORDER BY tgname COLLATE "C";

CREATE VIEW log AS
	SELECT l.watch_id, l.id, l.key, l.kind FROM (SELECT * FROM crm.change_log_0 UNION ALL SELECT * FROM crm.change_log_1
												 UNION ALL SELECT * FROM crm.change_log_2) AS l
	 ORDER BY l.watch_id NULLS FIRST, l.id NULLS FIRST, l.key, l.kind;
CREATE PROCEDURE empty_log() LANGUAGE sql AS 'DELETE FROM crm.change_log_0; DELETE FROM crm.change_log_1; DELETE FROM crm.change_log_2';

-- Nothing is logged until somebody reads
INSERT INTO users VALUES (1, 'a'), (2, 'b');
SELECT * FROM log;
SELECT refreshed, more FROM crm.tick();
INSERT INTO users VALUES (3, 'a'), (4, 'b');
INSERT INTO orders VALUES (1, 1, '2026-01-01', 5), (2, 2, '2026-01-01', 5), (3, 1, '2026-01-01', 5), (4, NULL, '2026-01-01', 5);
SELECT * FROM log;
CALL empty_log();
-- old and new
UPDATE orders SET user_id = 7 WHERE id = 1;
SELECT * FROM log;
CALL empty_log();
-- what is rolled back is not there, or harms nobody
BEGIN; DELETE FROM orders; ROLLBACK;
SELECT * FROM log;
BEGIN; SAVEPOINT a; DELETE FROM orders WHERE id = 2; ROLLBACK TO a; INSERT INTO items VALUES (2, 1, 'x'), (NULL, 1, 'y'); COMMIT;
SELECT * FROM log;
CALL empty_log();
COPY orders FROM stdin;
11	11	2026-01-01	5	\N
12	12	2026-01-01	5	\N
\.
SELECT * FROM log;
CALL empty_log();
TRUNCATE items;
SELECT * FROM log;
CALL empty_log();
-- more than a transaction may have
SET crm_marketing.capture_max_keys = 3;
UPDATE orders SET total = 6;
SELECT * FROM log;
CALL empty_log();
RESET crm_marketing.capture_max_keys;
-- the settings
SET crm_marketing.capture = off;
UPDATE orders SET total = 7;
SELECT * FROM log;
CALL empty_log();
SET crm_marketing.capture = hard;
UPDATE orders SET total = 8;
SELECT * FROM log;
SELECT item, state FROM crm.status WHERE item = 'capture';
RESET crm_marketing.capture;
-- tracked events, and what is told by hand
SELECT crm.track(5, 'view', '{}', '2026-01-01'), crm.track(5, 'view', '{}', '2026-01-01', 'key'), crm.track(6, 'view', '{}', '2026-01-01', 'key');
SELECT crm.track(6, 'view', '{}', '2026-01-01', 'key');
SELECT crm.touch('{7,NULL,8,7}', 'order'), crm.touch('{9}'), crm.touch(NULL, 'order');
SELECT * FROM log;
CALL empty_log();
SELECT crm.touch(NULL);
SELECT * FROM log;
CALL empty_log();
-- a column of the key that is not there any more
ALTER TABLE items RENAME order_id TO o;
INSERT INTO items VALUES (1, 1, 'x');
SELECT * FROM log;
CALL empty_log();
ALTER TABLE items RENAME o TO order_id;

-- other keys, and partitions: one made before the watch, one later
CREATE TABLE people (id uuid, name varchar(20), code char(5)) PARTITION BY LIST (name);
CREATE TABLE people_a PARTITION OF people FOR VALUES IN ('a');
SELECT crm.define_event('people', 'SELECT id::text::int AS customer_id, ''2026-01-01''::timestamptz AS at FROM people');
SELECT crm.watch('people', 'people', '{id,name,code}', 'SELECT 1 WHERE $1 IS NOT NULL AND $2 IS NOT NULL AND $3 IS NOT NULL');
CREATE TABLE people_b PARTITION OF people FOR VALUES IN ('b');
INSERT INTO people VALUES ('00000000-0000-0000-0000-000000000001', 'a', 'x'), ('00000000-0000-0000-0000-000000000002', 'b', NULL), (NULL, 'b', NULL);
UPDATE people SET name = 'b' WHERE name = 'a';
SELECT * FROM log;
CALL empty_log();

-- taken away
SELECT crm.unwatch('item', 'items'), crm.unwatch('item', 'items'), crm.unwatch('item'), crm.unwatch('people');
SELECT kind, relation FROM crm.watch ORDER BY watch_id;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crm_watch%' AND tgparentid = 0;
SELECT item, state, detail FROM crm.status WHERE item LIKE 'feed%' OR item LIKE 'watch%' ORDER BY item COLLATE "C";
SELECT crm.stop_ticks();
UPDATE orders SET total = 9;
SELECT * FROM log;
DROP EXTENSION crm_marketing CASCADE;
SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'crm_watch%';
UPDATE orders SET total = 10;
DROP SCHEMA shop CASCADE;
DROP OWNED BY crm_capture_stranger;
DROP ROLE crm_capture_stranger;
CREATE EXTENSION crm_marketing;

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
CREATE TEMP TABLE basket (user_id int);
SELECT crm.watch('order', 'basket');
SELECT crm.watch('order', 1::oid);
SELECT crm.track(1, 'login', '{}', '2026-01-01');
SELECT crm.watch('login', 'orders');
SELECT crm.watch('order', 'items');
SELECT crm.watch('item', 'items', '{order_id,line,sku,order_id,line,sku,order_id,line,sku}', 'SELECT 1');
SELECT crm.watch('item', 'items', '{ctid}', 'SELECT 1');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $2');
SELECT crm.watch('item', 'items', '{order_id}', '');
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE at < now()');
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
SELECT crm.tick(max_customers => NULL);
SELECT crm.tick(mend => NULL);
SELECT crm.tick('2999-01-01');
SELECT crm.tick(max_customers => 0);
CALL crm.run_ticks(-1);
CALL crm.run_ticks(naptime => 0);
CALL crm.run_ticks(max_customers => 0);
CALL crm.run_ticks(NULL);
CALL crm.run_ticks('NaN');
DO $$BEGIN CALL crm.run_ticks(); EXCEPTION WHEN OTHERS THEN RAISE WARNING '%: %', SQLSTATE, SQLERRM; END$$;
BEGIN;
CALL crm.run_ticks();
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT crm.tick();
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT crm.tick();
ROLLBACK;
SELECT crm.verify_segments(0);
CREATE ROLE crm_capture_stranger;
GRANT USAGE ON SCHEMA crm, shop TO crm_capture_stranger;
GRANT EXECUTE ON FUNCTION crm.watch, crm.unwatch, crm.capture TO crm_capture_stranger;
SET ROLE crm_capture_stranger;
SELECT crm.watch('order', 'orders');
CREATE TEMP TABLE own (id int);
CREATE TRIGGER by_hand AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION crm.capture();
CREATE TRIGGER by_hand_too BEFORE INSERT ON own FOR EACH ROW EXECUTE FUNCTION crm.capture('-1', 'id', 'nothing');
INSERT INTO own VALUES (1) RETURNING id;
DROP TABLE own;
RESET ROLE;

-- What is taken
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('item', 'orders'),
	   crm.watch('item', 'items', '{order_id,line}', 'SELECT user_id FROM orders WHERE id = $1 AND $2 > 0');
SELECT watch_id, kind, relation, key, mapping, search_path FROM crm.watch ORDER BY watch_id;
-- once more replaces
SELECT crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $1');
\d items
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
BEGIN; INSERT INTO items VALUES (6, 1, 'x'); SAVEPOINT a; INSERT INTO items VALUES (6, 1, 'x'), (7, 1, 'x'); RELEASE a; DELETE FROM items WHERE order_id = 7; COMMIT;
SELECT * FROM log;
CALL empty_log();
-- what a deferred trigger writes at the commit
CREATE FUNCTION pay() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO items VALUES (NEW.id, 9, ''fee''); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER a_pay AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION pay();
INSERT INTO orders VALUES (10, 10, '2026-01-01', 5);
SELECT * FROM log;
CALL empty_log();
DROP TRIGGER a_pay ON orders;
-- by MERGE, by ON CONFLICT, and where nothing changes
MERGE INTO orders AS o USING (VALUES (10, 20), (13, 13)) AS v (id, u) ON o.id = v.id
	WHEN MATCHED THEN UPDATE SET user_id = v.u WHEN NOT MATCHED THEN INSERT VALUES (v.id, v.u);
INSERT INTO orders VALUES (13, 14) ON CONFLICT (id) DO NOTHING;
INSERT INTO orders VALUES (13, 15) ON CONFLICT (id) DO UPDATE SET user_id = 15;
UPDATE orders SET total = 1 WHERE false;
SELECT * FROM log;
CALL empty_log();
-- where triggers are not fired, as by logical replication: ours are
SET session_replication_role = replica;
DELETE FROM orders WHERE id = 13;
RESET session_replication_role;
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

-- a key of one column that is no number, and one that is too long
CREATE TABLE guests (name text, id uuid, ref bigint);
SELECT crm.define_event('guest', 'SELECT ref::int AS customer_id, ''2026-01-01''::timestamptz AS at FROM guests');
SELECT crm.watch('guest', 'guests', '{name}', 'SELECT 1 WHERE $1 IS NOT NULL');
INSERT INTO guests VALUES (NULL), (''), ('Ann'), ('Ann'), ('{"a,b"}'), (repeat('x', 1024));
SELECT watch_id, id, left(key::text, 20) AS key, length(key[1]) FROM log;
CALL empty_log();
INSERT INTO guests VALUES (repeat('x', 1025)), ('Bob');
SELECT * FROM log;
CALL empty_log();
SELECT crm.watch('guest', 'guests', '{id}', 'SELECT 1 WHERE $1 IS NOT NULL');
INSERT INTO guests VALUES (NULL, '00000000-0000-0000-0000-00000000000A'), (NULL, NULL);
SELECT * FROM log;
CALL empty_log();
SELECT crm.watch('guest', 'guests', '{ref}');
INSERT INTO guests VALUES (NULL, NULL, 9223372036854775807), (NULL, NULL, -1);
SELECT * FROM log;
CALL empty_log();
ALTER TABLE guests DROP ref CASCADE;
INSERT INTO guests VALUES (NULL, NULL);
SELECT * FROM log;
CALL empty_log();
SELECT crm.unwatch('guest');
-- a partition that comes with rows and triggers of its own
CREATE TABLE people_c (id uuid, name varchar(20), code char(5));
ALTER TABLE people ATTACH PARTITION people_c FOR VALUES IN ('c');
INSERT INTO people_c VALUES (NULL, 'c', 'y');
ALTER TABLE people DETACH PARTITION people_c;
INSERT INTO people_c VALUES (NULL, 'c', 'z');
SELECT * FROM log;
CALL empty_log();
TRUNCATE people;
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

-- What goes wrong around live segments: orders commit, crm.status tells, and ticks alone put it right again.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;
SET client_min_messages = error;
CREATE SCHEMA shop;
CREATE ROLE live_owner;
CREATE ROLE live_app;
GRANT USAGE, CREATE ON SCHEMA shop TO live_owner;
GRANT USAGE ON SCHEMA shop TO live_app;
GRANT USAGE ON SCHEMA crm, crm_feed TO live_owner;
GRANT EXECUTE ON FUNCTION crm.define_customers, crm.define_event, crm.watch, crm.unwatch, crm.capture, crm.rebuild_feeds, crm.release_feeds TO live_owner;
SET ROLE live_owner;
SET search_path = shop;
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int, at timestamptz DEFAULT '2026-01-01') ;
CREATE INDEX ON orders (user_id);
CREATE TABLE items (order_id int, sku text);
CREATE INDEX ON items (order_id);
CREATE TABLE parts (user_id int, at timestamptz DEFAULT '2026-01-01') PARTITION BY LIST (user_id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1, 2, 3);
INSERT INTO users SELECT g, 'c' || g % 2 FROM generate_series(1, 20) AS g;
GRANT INSERT, UPDATE, DELETE, SELECT ON ALL TABLES IN SCHEMA shop TO live_app;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders');
SELECT crm.define_event('item', 'SELECT o.user_id AS customer_id, o.at, i.sku FROM items i JOIN orders o ON o.id = i.order_id');
SELECT crm.define_event('part', 'SELECT user_id AS customer_id, at FROM parts');
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('item', 'orders'), crm.watch('part', 'parts'),
	   crm.watch('item', 'items', '{order_id}', 'SELECT user_id FROM shop.orders WHERE id = $1');
RESET ROLE;
RESET search_path;
SELECT crm.create_segment('bought', 'has order'), crm.create_segment('has a', 'has item[sku = ''a'']'),
	   crm.create_segment('has part', 'has part'), crm.create_segment('c1', 'city = ''c1''');

-- Ticks until there is nothing left; whether all is right then
CREATE FUNCTION settled() RETURNS SETOF text LANGUAGE plpgsql AS $f$
BEGIN
	RETURN QUERY SELECT v::text FROM crm.verify_segments() AS v;
	RETURN QUERY SELECT e.message FROM crm.tick_error AS e;
END
$f$;
CREATE FUNCTION state_of(what text) RETURNS text LANGUAGE sql AS
	$$SELECT string_agg(state || coalesce(': ' || detail, ''), '; ') FROM crm.status WHERE item = what$$;
CREATE TABLE tap (n serial, line text);
CALL crm.run_ticks();
SELECT plan(31) AS p \gset
\echo :p
SELECT is_empty('SELECT * FROM settled()', 'at first all is right');

-- An application that knows nothing of crm
SET ROLE live_app;
SET search_path = shop;
INSERT INTO orders (user_id) VALUES (1), (2);
INSERT INTO items VALUES (1, 'a');
RESET ROLE;
RESET search_path;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('bought') ORDER BY 1), '{1,2}', 'an application without rights on crm is captured');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{1}', 'as is what leads to customers by a mapping');

-- A table renamed, and another put in its place
SET ROLE live_owner;
BEGIN;
ALTER TABLE shop.orders RENAME TO orders_old;
CREATE TABLE shop.orders (LIKE shop.orders_old INCLUDING ALL);
INSERT INTO shop.orders (user_id) VALUES (3), (4);
GRANT ALL ON shop.orders TO live_app;
COMMIT;
SET ROLE live_app;
INSERT INTO shop.orders (user_id) VALUES (5);
RESET ROLE;
SELECT matches(state_of('feed order'), '^stale: "orders" is another relation', 'a table that was replaced makes the feed stale');
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('bought') ORDER BY 1), '{3,4,5}', 'ticks read the new table');
SELECT is(state_of('feed order'), 'live', 'which is watched');
SET ROLE live_app;
INSERT INTO shop.orders (user_id) VALUES (6);
RESET ROLE;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('bought') ORDER BY 1), '{3,4,5,6}', 'and goes on being captured');
SELECT is_empty('SELECT * FROM settled()', 'then all is right');

-- A table dropped with all that depends on it, and made again later
SET ROLE live_owner;
DROP TABLE shop.items CASCADE;
RESET ROLE;
CALL crm.run_ticks();
SELECT matches(state_of('feed item'), '^stale: ', 'a table that was dropped makes the feed stale');
SELECT is(state_of('watch item on shop.items'), 'gone', 'and the watch is gone');
INSERT INTO shop.orders (user_id) VALUES (7);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('bought') ORDER BY 1), '{3,4,5,6,7}', 'other feeds go on');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{3}', 'who was in a segment that cannot be evaluated stays');
SET ROLE live_owner;
CREATE TABLE shop.items (order_id int, sku text);
CREATE INDEX ON shop.items (order_id);
RESET ROLE;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 4;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4}', 'when the table is there again, ticks put it right');
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 5;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5}', 'and it is captured');
SELECT is_empty('SELECT * FROM settled()', 'then all is right');

-- A mapping that fails, and one that is refused
SET ROLE live_owner;
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT user_id / (user_id - 6) FROM shop.orders WHERE id = $1');
RESET ROLE;
CALL crm.run_ticks();
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 6;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6}', 'a mapping that fails costs a refresh');
SELECT is(state_of('watch item on shop.items'), 'error: division by zero', 'and is told of');
SET ROLE live_owner;
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT user_id FROM shop.orders WHERE id = $1');
CREATE TABLE shop.hidden AS SELECT 1 AS id;
RESET ROLE;
ALTER TABLE shop.hidden OWNER TO postgres;
REVOKE ALL ON shop.hidden FROM live_owner;
UPDATE crm.watch SET mapping = 'SELECT id FROM shop.hidden WHERE $1 > 0' WHERE relation = 'shop.items'::regclass;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 7;
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'error: permission denied for table hidden', 'a mapping has the rights of its definer');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6,7}', 'and costs a refresh when these do not suffice');

-- Who feeds us tries to act as who ticks
SET ROLE live_owner;
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT user_id FROM shop.orders WHERE id = $1');
CREATE FUNCTION shop.attack(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $f$
BEGIN
	BEGIN
		SET ROLE postgres;
		ALTER ROLE live_owner SUPERUSER;
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	BEGIN
		PERFORM 1 FROM shop.hidden;
		RAISE WARNING 'read what is hidden';
	EXCEPTION WHEN insufficient_privilege THEN NULL;
	END;
	BEGIN
		PERFORM crm.tick();
	EXCEPTION WHEN OTHERS THEN NULL;
	END;
	RETURN n;
END
$f$;
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM shop.orders WHERE shop.attack(id) > 0');
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT shop.attack(user_id) FROM shop.orders WHERE id = $1');
RESET ROLE;
CALL crm.run_ticks();
INSERT INTO shop.orders (user_id) VALUES (8);
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 8;
CALL crm.run_ticks();
SELECT ok(NOT rolsuper, 'a feed and a mapping get no further than their definer') FROM pg_roles WHERE rolname = 'live_owner';
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6,7,8}', 'and go on');
SELECT is_empty('SELECT * FROM settled()', 'without an error');
SET ROLE live_owner;
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM shop.orders');
RESET ROLE;

-- Over the cap
SET crm_marketing.capture_max_keys = 2;
INSERT INTO shop.orders (user_id) SELECT generate_series(9, 15);
RESET crm_marketing.capture_max_keys;
CALL crm.run_ticks();
SELECT is((SELECT count(*) FROM crm.members('bought')), 13::bigint, 'a transaction over the cap costs a refresh');

-- Feeds released for a migration, while orders come in
SELECT crm.release_feeds() > 0 AS released;
INSERT INTO shop.orders (user_id) VALUES (16);
CALL crm.run_ticks();
SELECT matches(state_of('feed order'), '^released', 'released feeds are told of');
ALTER TABLE shop.orders ALTER user_id TYPE bigint;
INSERT INTO shop.orders (user_id) VALUES (17);
CALL crm.run_ticks();
SELECT crm.rebuild_feeds() > 0 AS rebuilt;
INSERT INTO shop.orders (user_id) VALUES (18);
DELETE FROM crm.tick_error;
CALL crm.run_ticks();
SELECT is((SELECT count(*) FROM crm.members('bought')), 16::bigint, 'rebuilt ones are refreshed by ticks');
SELECT is_empty('SELECT * FROM settled()', 'then all is right');

-- Partitions that come and go
INSERT INTO shop.parts VALUES (1), (2);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{1,2}', 'rows of a partition are captured');
TRUNCATE shop.parts_1;
CALL crm.run_ticks();
SELECT is((SELECT count(*) FROM crm.members('has part')), 0::bigint, 'a partition truncated by itself is noticed');
CREATE TABLE shop.parts_2 AS SELECT g AS user_id, timestamptz '2026-01-01' AS at FROM generate_series(11, 13) AS g;
ALTER TABLE shop.parts ATTACH PARTITION shop.parts_2 FOR VALUES IN (11, 12, 13, 14);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{11,12,13}', 'and one that comes with rows');
INSERT INTO shop.parts VALUES (14);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{11,12,13,14}', 'in which rows are captured from then on');
DROP TABLE shop.parts_2;
CALL crm.run_ticks();
SELECT is_empty('SELECT * FROM settled()', 'and one that goes');
SELECT * FROM finish();

SET client_min_messages = error;
DROP EXTENSION crm_marketing CASCADE;
DROP SCHEMA shop CASCADE;
DROP OWNED BY live_owner, live_app;
DROP ROLE live_owner, live_app;

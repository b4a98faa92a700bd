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
SELECT plan(55) AS p \gset
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
-- Compiling a plan takes longer than a whole tick: none is, whatever the session or the planner think of it
SET jit = on;
UPDATE crm.watch SET mapping = 'SELECT user_id / (current_setting(''jit'') = ''off'')::int FROM shop.orders WHERE id = $1'
 WHERE relation = 'shop.items'::regclass;
INSERT INTO shop.items SELECT id, 'b' FROM shop.orders WHERE user_id = 6;
CALL crm.run_ticks();
SELECT unalike(state_of('watch item on shop.items'), '%division by zero%', 'a tick compiles no plans');
RESET jit;
ALTER TABLE shop.hidden OWNER TO postgres;
REVOKE ALL ON shop.hidden FROM live_owner;
UPDATE crm.watch SET mapping = 'SELECT id FROM shop.hidden WHERE $1 > 0' WHERE relation = 'shop.items'::regclass;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 7;
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'error: permission denied for table hidden', 'a mapping has the rights of its definer');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6,7}', 'and costs a refresh when these do not suffice');

-- Who feeds us tries to act as who ticks. A function of his that pretends to be immutable calls one that does what it can, and
-- notes what it got.
SET ROLE live_owner;
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT user_id FROM shop.orders WHERE id = $1');
CREATE TABLE shop.loot (what text);
CREATE TABLE shop.visit (n int);
CREATE TABLE shop.trap (n int);
CREATE FUNCTION shop.spring() RETURNS trigger LANGUAGE plpgsql AS $f$
BEGIN
	INSERT INTO shop.loot VALUES ('deferred as ' || current_user);
	RETURN NULL;
END
$f$;
CREATE CONSTRAINT TRIGGER spring AFTER INSERT ON shop.trap DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION shop.spring();
CREATE FUNCTION shop.do_evil() RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
	evil text;
BEGIN
	INSERT INTO shop.visit VALUES (1);
	FOREACH evil IN ARRAY ARRAY[
		'SET ROLE postgres', 'SET LOCAL ROLE postgres', 'SET SESSION AUTHORIZATION postgres', 'RESET ROLE', 'RESET SESSION AUTHORIZATION',
		$$SELECT set_config('role', 'postgres', false)$$, 'ALTER ROLE live_owner SUPERUSER', 'CREATE ROLE live_evil SUPERUSER',
		'SELECT * FROM shop.hidden', 'SELECT * FROM pg_authid', 'SELECT * FROM crm.membership', 'DELETE FROM crm.membership',
		'UPDATE crm.watch SET key = NULL', 'CREATE TEMP TABLE evil (n int)', 'INSERT INTO shop.trap VALUES (1)',
		'SET CONSTRAINTS ALL DEFERRED; INSERT INTO shop.trap VALUES (1)', 'DECLARE evil CURSOR WITH HOLD FOR SELECT 1',
		$$SELECT set_config('crm_marketing.capture', 'hard', false)$$, $$SELECT set_config('crm_marketing.now', '2001-01-01', false)$$,
		'SELECT crm.tick()', 'SELECT crm.stop_ticks()', 'SELECT crm.forget_changes()', 'CREATE TABLE crm.evil (n int)',
		'CREATE FUNCTION crm_feed.evil() RETURNS int LANGUAGE sql RETURN 1', $$SELECT pg_read_file('/etc/passwd')$$,
		$$COPY shop.loot FROM PROGRAM 'id'$$, 'DROP EXTENSION crm_marketing CASCADE'] LOOP
		BEGIN
			EXECUTE evil;
			INSERT INTO shop.loot VALUES (evil || ' as ' || current_user);
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	IF current_user <> 'live_owner' THEN
		INSERT INTO shop.loot VALUES ('is ' || current_user);
	END IF;
	-- what is not to stay when it has returned
	PERFORM set_config('search_path', 'shop, pg_catalog', false), set_config('TimeZone', 'Asia/Tokyo', false);
END
$f$;
CREATE FUNCTION shop.attack(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM shop.do_evil(); RETURN n; END';
-- and functions and operators that everybody's names could mean
CREATE FUNCTION shop.note(a bigint, b bigint) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
	INSERT INTO shop.loot SELECT 'operator as ' || current_user WHERE current_user OPERATOR(pg_catalog.<>) 'live_owner';
	RETURN pg_catalog.int8eq(a, b);
END
$f$;
CREATE FUNCTION shop.note(a int, b int) RETURNS boolean LANGUAGE sql AS 'SELECT shop.note(a::bigint, b::bigint)';
CREATE FUNCTION shop.note(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $f$
BEGIN
	INSERT INTO shop.loot SELECT 'operator as ' || current_user WHERE current_user OPERATOR(pg_catalog.<>) 'live_owner';
	RETURN pg_catalog.texteq(a, b);
END
$f$;
CREATE OPERATOR shop.= (FUNCTION = shop.note, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR shop.= (FUNCTION = shop.note, LEFTARG = int, RIGHTARG = int);
CREATE OPERATOR shop.= (FUNCTION = shop.note, LEFTARG = text, RIGHTARG = text);
CREATE OPERATOR shop.> (FUNCTION = shop.note, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR shop.<= (FUNCTION = shop.note, LEFTARG = bigint, RIGHTARG = bigint);
CREATE OPERATOR shop.+ (FUNCTION = shop.note, LEFTARG = bigint, RIGHTARG = bigint);
CREATE FUNCTION shop.max(bigint) RETURNS bigint LANGUAGE sql AS $$INSERT INTO shop.loot VALUES ('max as ' || current_user); SELECT $1$$;
CREATE FUNCTION shop.unnest(int[]) RETURNS SETOF int LANGUAGE sql AS $$INSERT INTO shop.loot VALUES ('unnest as ' || current_user); SELECT pg_catalog.unnest($1)$$;
CREATE FUNCTION shop.nextval(text) RETURNS bigint LANGUAGE sql AS $$INSERT INTO shop.loot VALUES ('nextval as ' || current_user); SELECT pg_catalog.nextval($1::regclass)$$;
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM shop.orders WHERE shop.attack(id) > 0');
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT shop.attack(user_id) FROM shop.orders WHERE id = $1');
RESET ROLE;
SET search_path = shop, pg_catalog, public;
CALL crm.run_ticks();
INSERT INTO shop.orders (user_id) VALUES (8);
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id OPERATOR(pg_catalog.=) 8;
CALL crm.run_ticks();
SELECT count(*) FROM crm.status \g /dev/null
SELECT count(*) FROM crm.verify_segments() \g /dev/null
SELECT crm.refresh_segments() \g /dev/null
CALL crm.run_ticks();
SELECT current_setting('search_path') || ' ' || current_setting('TimeZone') || ' ' || current_user AS left_behind \gset
RESET search_path;
SELECT cmp_ok((SELECT count(*) FROM shop.visit), '>', 3::bigint, 'a feed and a mapping try to be more than their definer');
SELECT is(:'left_behind'::text, 'shop, pg_catalog, public UTC postgres', 'what they set does not stay');
SELECT is(ARRAY(SELECT DISTINCT what FROM shop.loot ORDER BY 1), '{}', 'they get nowhere');
SELECT ok(NOT rolsuper, 'their definer is no superuser') FROM pg_roles WHERE rolname = 'live_owner';
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6,7,8}', 'and they go on');
SELECT is_empty('SELECT * FROM settled()', 'without an error');
SET ROLE live_owner;
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM shop.orders');
SELECT crm.watch('item', 'shop.items', '{order_id}', 'SELECT user_id FROM shop.orders WHERE id = $1');
RESET ROLE;
CALL crm.run_ticks();

-- A mapping whose definer or whose column is not there any more
ALTER ROLE live_owner RENAME TO live_other;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 3;
CALL crm.run_ticks();
ALTER ROLE live_other RENAME TO live_owner;
SELECT is(state_of('watch item on shop.items'), 'error: role "live_owner" does not exist', 'a mapping without its definer is not run as nobody');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{3,4,5,6,7,8}', 'and costs a refresh');
INSERT INTO shop.items SELECT id, 'b' FROM shop.orders WHERE user_id = 3;
DELETE FROM shop.items WHERE sku = 'a' AND order_id = (SELECT id FROM shop.orders WHERE user_id = 3);
ALTER TABLE shop.items RENAME order_id TO order_no;
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'error: column "order_id" of table shop.items does not exist',
		  'nor is one whose key was renamed while changes waited');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{4,5,6,7,8}', 'it costs a refresh too');
UPDATE shop.items SET sku = 'a' WHERE sku = 'b';
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{3,4,5,6,7,8}', 'as does every change from then on');
ALTER TABLE shop.items RENAME order_no TO order_id;

-- Rows loaded while triggers are off, as pg_restore --disable-triggers does, which leaves them on but not always; and a trigger
-- that was dropped
DELETE FROM shop.items;
UPDATE crm.watch SET error = NULL;
CALL crm.run_ticks();
ALTER TABLE shop.items DISABLE TRIGGER ALL;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id IN (3, 4);
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'no trigger', 'a trigger that is off is told of');
SELECT is(state_of('feed item'), 'not watched: not watched: shop.items', 'and its feed is not live');
ALTER TABLE shop.items ENABLE TRIGGER ALL;
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'ok', 'when it is on, it is made as it was');
SELECT is(state_of('feed item'), 'live', 'the feed is live');
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{3,4}', 'and what was loaded is seen');
DO $do$
BEGIN
	EXECUTE format('DROP TRIGGER crm_watch_%s ON shop.items', (SELECT watch_id FROM crm.watch WHERE relation = 'shop.items'::regclass));
END
$do$;
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 5;
CALL crm.run_ticks();
SELECT is(state_of('watch item on shop.items'), 'ok', 'as is one that was dropped');
INSERT INTO shop.items SELECT id, 'a' FROM shop.orders WHERE user_id = 6;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has a') ORDER BY 1), '{3,4,5,6}', 'and it captures');
SELECT is_empty('SELECT * FROM settled()', 'then all is right');

-- Over the cap
SET crm_marketing.capture_max_keys = 2;
INSERT INTO shop.orders (user_id) SELECT generate_series(9, 15);
RESET crm_marketing.capture_max_keys;
SELECT (crm.tick(mend => false)).more \g /dev/null
SELECT is(state_of('feed order'), 'stale: changes were captured as a whole', 'a transaction over the cap is told of');
CALL crm.run_ticks();
SELECT is((SELECT count(*) FROM crm.members('bought')), 13::bigint, 'and costs a refresh');
-- also of what the extension itself stores, which no watch names
SELECT crm.track(1, 'view', '{}', '2026-01-01') AS tracked;
CALL crm.run_ticks();
SET crm_marketing.capture_max_keys = 2;
DO $$ BEGIN PERFORM crm.track(g, 'view', '{}', '2026-01-01') FROM generate_series(1, 5) AS g; END $$;
RESET crm_marketing.capture_max_keys;
CALL crm.run_ticks();
SELECT is_empty('SELECT * FROM settled()', 'as does one that tracks more than it may capture');

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
SELECT (crm.tick(mend => false)).more \g /dev/null
SELECT is(state_of('feed part'), 'stale: a table was truncated, rewritten, or has other partitions', 'a partition truncated by itself is told of');
CALL crm.run_ticks();
SELECT is((SELECT count(*) FROM crm.members('has part')), 0::bigint, 'and costs a refresh');
CREATE TABLE shop.parts_2 AS SELECT g AS user_id, timestamptz '2026-01-01' AS at FROM generate_series(11, 13) AS g;
ALTER TABLE shop.parts ATTACH PARTITION shop.parts_2 FOR VALUES IN (11, 12, 13, 14);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{11,12,13}', 'and one that comes with rows');
INSERT INTO shop.parts VALUES (14);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{11,12,13,14}', 'in which rows are captured from then on');
ALTER TABLE shop.parts DETACH PARTITION shop.parts_2;
INSERT INTO shop.parts VALUES (3);
INSERT INTO shop.parts_2 VALUES (15);
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{3}', 'one that goes takes its rows along, and is captured no more');
ALTER TABLE shop.parts ATTACH PARTITION shop.parts_2 FOR VALUES IN (11, 12, 13, 14, 15);
DELETE FROM shop.parts WHERE user_id = 15;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{3,11,12,13,14}', 'and brings them when it comes back');
ALTER TABLE shop.parts_2 OWNER TO live_owner;
ALTER TABLE shop.parts_1 DISABLE TRIGGER ALL;
INSERT INTO shop.parts VALUES (1);
CALL crm.run_ticks();
ALTER TABLE shop.parts_1 ENABLE TRIGGER ALL;
CALL crm.run_ticks();
SELECT is(ARRAY(SELECT crm.members('has part') ORDER BY 1), '{1,3,11,12,13,14}', 'rows loaded into one whose triggers were off are seen');
SELECT is(ARRAY(SELECT DISTINCT tgenabled::text FROM pg_trigger WHERE tgname LIKE 'crm\_watch\_%'), '{A}', 'and its triggers are as they were');
DROP TABLE shop.parts_2;
CALL crm.run_ticks();
SELECT is_empty('SELECT * FROM settled()', 'and one that goes');
SELECT * FROM finish();

SET client_min_messages = error;
DROP EXTENSION crm_marketing CASCADE;
DROP SCHEMA shop CASCADE;
DROP OWNED BY live_owner, live_app;
DROP ROLE live_owner, live_app;

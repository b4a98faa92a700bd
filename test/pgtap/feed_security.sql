-- A feed runs as its definer, under his path and the shop's settings, and for nobody else.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(33);

CREATE ROLE regress_feed_shop;
CREATE ROLE regress_feed_other;
CREATE ROLE regress_feed_reader;
GRANT USAGE ON SCHEMA crm, crm_feed TO regress_feed_shop, regress_feed_other, regress_feed_reader;
GRANT USAGE ON TYPE crm.profile TO regress_feed_shop, regress_feed_other, regress_feed_reader;
GRANT EXECUTE ON FUNCTION crm.define_customers(text), crm.define_event(text, text), crm.drop_event(text, boolean),
	crm.release_feeds(), crm.rebuild_feeds(), crm.profile_of(bigint), crm.profile_out(crm.profile),
	crm.track(bigint, text, jsonb, timestamptz, text, text), crm.now()
	TO regress_feed_shop, regress_feed_other;
GRANT EXECUTE ON FUNCTION crm.profile_of(bigint), crm.profile_out(crm.profile) TO regress_feed_reader;

CREATE SCHEMA regress_feed AUTHORIZATION regress_feed_shop;
GRANT USAGE ON SCHEMA regress_feed TO regress_feed_other;
CREATE TABLE regress_feed.secret (word text);
INSERT INTO regress_feed.secret VALUES ('xyzzy');

-- What a feed's function sees of the session that it runs in.
SET ROLE regress_feed_shop;
SET search_path = regress_feed, pg_temp;
CREATE TABLE regress_feed.visits (id bigint PRIMARY KEY, at timestamptz);
INSERT INTO regress_feed.visits VALUES (1, '2026-01-01 00:00:00Z');
CREATE FUNCTION regress_feed.peek(name text) RETURNS text LANGUAGE sql STABLE AS 'SELECT current_setting(name)';
CREATE FUNCTION regress_feed.me() RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_user; END';
SELECT crm.define_event('visit', $$
	SELECT id AS customer_id, at, me() AS who, peek('search_path') AS path, peek('TimeZone') AS zone, peek('DateStyle') AS style,
		at::date::text AS day_text
	  FROM visits $$);
RESET ROLE;

SET search_path = public;
SET timezone = 'Asia/Tokyo';
SET datestyle = 'German';

CREATE FUNCTION pg_temp.fact(name text) RETURNS text LANGUAGE sql
	AS $$ SELECT crm.profile_of(1)::text::jsonb -> 'events' -> 0 ->> name $$;

SELECT is(pg_temp.fact('who'), 'regress_feed_shop', 'a superuser reads the feed as its definer');
SELECT is(pg_temp.fact('path'), 'regress_feed, pg_temp', 'the path is the one of the definition, temporary tables last');
SELECT is(pg_temp.fact('zone'), 'UTC', 'the zone is the shop''s');
SELECT is(pg_temp.fact('style'), 'ISO, YMD', 'dates are written the same in every session');
SELECT is(current_setting('search_path'), 'public', 'the session has its path again');
SELECT is(current_setting('TimeZone'), 'Asia/Tokyo', 'and its zone');
SELECT isnt(current_user::text, 'regress_feed_shop', 'and its user');
SELECT view_owner_is('crm_feed', 'visit', 'regress_feed_shop', 'the view belongs to the definer');

-- Whoever may call the function needs no right on the shop's tables.
SET ROLE regress_feed_reader;
SELECT throws_ok('SELECT * FROM regress_feed.visits', '42501', NULL, 'the reader may not read the table');
SELECT throws_ok('SELECT * FROM crm_feed.visit', '42501', NULL, 'nor the view');
SELECT isnt(crm.profile_of(1)::text, NULL, 'but the profile');
SELECT throws_ok($$ SELECT crm.define_event('x', 'SELECT 1') $$, '42501', NULL, 'functions are granted to nobody by themselves');
RESET ROLE;

-- It is no shield: the definer's rights are looked at each time.
REVOKE SELECT ON regress_feed.visits FROM regress_feed_shop;
SELECT throws_ok('SELECT crm.profile_of(1)', '42501', NULL, 'the definer''s rights count, not the caller''s');
SELECT is(current_setting('search_path'), 'public', 'an error leaves the path as it was');
SELECT isnt(current_user::text, 'regress_feed_shop', 'and the user');
GRANT SELECT ON regress_feed.visits TO regress_feed_shop;
SELECT isnt(crm.profile_of(1)::text, NULL, 'and again');

-- A function that tries to act for a superuser who reads the feed.
SET ROLE regress_feed_shop;
CREATE OR REPLACE FUNCTION regress_feed.me() RETURNS text LANGUAGE plpgsql STABLE
	AS 'BEGIN RETURN (SELECT word FROM regress_feed.secret); END';
RESET ROLE;
SELECT throws_ok('SELECT crm.profile_of(1)', '42501', 'permission denied for table secret', 'cannot read what its definer cannot');
CREATE OR REPLACE FUNCTION regress_feed.me() RETURNS text LANGUAGE plpgsql STABLE
	AS 'BEGIN PERFORM set_config(''role'', ''none'', false); RETURN current_user; END';
SELECT throws_ok('SELECT crm.profile_of(1)', '42501', NULL, 'cannot set the role back');
CREATE OR REPLACE FUNCTION regress_feed.me() RETURNS text LANGUAGE plpgsql VOLATILE
	AS 'BEGIN CREATE TEMP TABLE trap (x integer); RETURN current_user; END';
SELECT throws_ok('SELECT crm.profile_of(1)', NULL, NULL, 'cannot leave a temporary table in the session');
CREATE OR REPLACE FUNCTION regress_feed.me() RETURNS text LANGUAGE plpgsql STABLE
	AS 'BEGIN PERFORM set_config(''search_path'', ''evil'', false); RETURN current_user; END';
SELECT is(pg_temp.fact('who'), 'regress_feed_shop', 'may set its own path');
SELECT is(current_setting('search_path'), 'public', 'which ends with it');

-- A temporary table does not take the place of the shop's.
SET search_path = regress_feed, public;
CREATE TEMP TABLE visits (id bigint, at timestamptz);
SELECT is(crm.rebuild_feeds(), 1, 'the feed is made again');
SELECT is(pg_temp.fact('day_text'), '{"text": "2026-01-01"}', 'from the shop''s table');
DROP TABLE pg_temp.visits;

-- A feed is its definer's.
SET ROLE regress_feed_other;
SELECT throws_ok($$ SELECT crm.define_event('visit', 'SELECT 1 AS customer_id, timestamptz ''2026-01-01'' AS at') $$,
	'42501', 'must be definer of feed "visit"', 'another role cannot replace it');
SELECT throws_ok($$ SELECT crm.drop_event('visit') $$, '42501', 'must be definer of feed "visit"', 'nor drop it');
SELECT throws_ok('SELECT crm.release_feeds()', '42501', 'must be definer of feed "visit"', 'nor release it');
SELECT throws_ok('SELECT crm.rebuild_feeds()', '42501', 'must be definer of feed "visit"', 'nor make it again');
SELECT throws_ok($$ SELECT crm.define_event('spy', 'SELECT 1 AS customer_id, now() AS at, word FROM regress_feed.secret') $$,
	'42P17', NULL, 'and what flows with time is refused to him too');
SELECT lives_ok($$ SELECT crm.define_event('spy', 'SELECT 1 AS customer_id, timestamptz ''2026-01-01'' AS at, word FROM regress_feed.secret') $$,
	'a feed on a table that he may not read can be defined');
SELECT throws_ok('SELECT crm.profile_of(1)', '42501', 'permission denied for table secret', 'but gives nothing');
SELECT lives_ok($$ SELECT crm.drop_event('spy') $$, 'he drops his own');

-- The right to call track() is all that it needs.
SELECT lives_ok($$ SELECT crm.track(1, 'search', at => '2026-01-01 00:00:00Z') $$, 'an event is tracked without a right on any table');
SELECT throws_ok('SELECT * FROM crm.event', '42501', NULL, 'which stays closed');
RESET ROLE;

SELECT * FROM finish();

ROLLBACK;

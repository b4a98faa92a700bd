-- Whose code runs with whose rights: what a definer writes into a feed, or changes about it later, is never run as anybody
-- else, neither when the feed is made nor when it is read; and nobody else's code is ever run as the definer by our doing.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(49);

CREATE ROLE regress_definer;
CREATE ROLE regress_other;
CREATE ROLE regress_reader;
GRANT USAGE ON SCHEMA crm, crm_feed TO regress_definer, regress_other, regress_reader;
GRANT USAGE ON TYPE crm.profile TO regress_definer, regress_other, regress_reader;
GRANT EXECUTE ON FUNCTION crm.define_customers(text), crm.define_event(text, text), crm.drop_event(text, boolean),
	crm.release_feeds(), crm.rebuild_feeds(), crm.refresh_identities(), crm.profile_of(bigint), crm.profile_out(crm.profile),
	crm.track(bigint, text, jsonb, timestamptz, text, text), crm.now()
	TO regress_definer, regress_other;
GRANT SELECT ON crm.customer_key TO regress_definer;

-- Who was current_user when a function of the shop ran; everybody may write into it, so that it misses nobody.
CREATE SCHEMA regress_trace;
CREATE TABLE regress_trace.ran (who text, what text);
GRANT USAGE ON SCHEMA regress_trace TO PUBLIC;
GRANT SELECT, INSERT ON regress_trace.ran TO PUBLIC;
CREATE FUNCTION regress_trace.note(what text) RETURNS boolean LANGUAGE plpgsql AS
	$$ BEGIN INSERT INTO regress_trace.ran VALUES (current_user, what); RETURN true; END $$;
CREATE FUNCTION pg_temp.others() RETURNS SETOF regress_trace.ran LANGUAGE sql AS
	$$ SELECT DISTINCT who, what FROM regress_trace.ran WHERE who <> 'regress_definer' $$;

-- What is said when a function of the feed "a" makes the call.
CREATE FUNCTION pg_temp.meddle(call text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE OR REPLACE FUNCTION regress_feed.circle(id bigint) RETURNS integer LANGUAGE plpgsql STABLE AS %L',
		format('BEGIN PERFORM %s; RETURN 1; END', call));
	PERFORM crm.profile_of(1);
	RETURN NULL;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLERRM;
END $$;

CREATE SCHEMA regress_feed AUTHORIZATION regress_definer;
SET ROLE regress_definer;
SET search_path = regress_feed, public;
CREATE TABLE visits (id bigint PRIMARY KEY, at timestamptz, page text, seconds numeric);
INSERT INTO visits VALUES (1, '2026-01-01 00:00:00Z', '/', 5), (2, '2026-01-02 00:00:00Z', '/cart', 6);
RESET ROLE;

------------------------------------------------------------------------------------------------------------------
-- A feed is made: to read a literal is to run the CHECK of a domain in it
------------------------------------------------------------------------------------------------------------------

SET ROLE regress_definer;
CREATE DOMAIN noted AS integer CHECK (regress_trace.note('domain ' || value));
CREATE TYPE noted_row AS (n noted);
SELECT lives_ok($$ SELECT crm.define_event('visit', $q$ SELECT id AS customer_id, at, page,
	('{1}'::noted[])[1] AS n, (('(2)'::noted_row).n)::integer AS m FROM visits $q$) $$, 'literals of a domain');
RESET ROLE;
SELECT isnt_empty('SELECT FROM regress_trace.ran', 'whose CHECK runs when they are read');
SELECT is_empty('SELECT * FROM pg_temp.others()', 'runs it as the definer');
SELECT is(crm.rebuild_feeds(), 1, 'a superuser makes the feed again');
SELECT is_empty('SELECT * FROM pg_temp.others()', 'and it runs as the definer then, too');
SELECT is(crm.release_feeds() + crm.rebuild_feeds(), 2, 'also from nothing');
SELECT is_empty('SELECT * FROM pg_temp.others()', 'as the definer');
SELECT isnt(crm.profile_of(1)::text, NULL, 'a superuser reads it');
SELECT is_empty('SELECT * FROM pg_temp.others()', 'as the definer');
SELECT view_owner_is('crm_feed', 'visit', 'regress_definer', 'the view is the definer''s');
SELECT ok(NOT has_schema_privilege('regress_definer', 'crm_feed', 'CREATE'), 'who makes nothing in that schema himself');

------------------------------------------------------------------------------------------------------------------
-- A feed that is made again goes on being what others built upon
------------------------------------------------------------------------------------------------------------------

GRANT SELECT ON crm_feed.visit TO regress_reader WITH GRANT OPTION;
CREATE VIEW regress_trace.over AS SELECT customer_id, page FROM crm_feed.visit;
SET ROLE regress_definer;
SELECT lives_ok($$ SELECT crm.define_event('visit', 'SELECT id AS customer_id, at, page, 1::noted AS n, 2 AS m FROM visits WHERE id = 2') $$,
	'with the columns that it had, it keeps its view');
RESET ROLE;
SELECT is((SELECT page FROM regress_trace.over), '/cart', 'on which other views stand');
DROP VIEW regress_trace.over;
SELECT ok(has_table_privilege('regress_reader', 'crm_feed.visit', 'SELECT WITH GRANT OPTION'), 'and what was granted on it');
SET ROLE regress_definer;
SELECT lives_ok($$ SELECT crm.define_event('visit', 'SELECT id AS customer_id, at, page, seconds FROM visits') $$,
	'with other columns it gets another view');
RESET ROLE;
SELECT ok(has_table_privilege('regress_reader', 'crm_feed.visit', 'SELECT WITH GRANT OPTION'), 'on which the same is granted');

------------------------------------------------------------------------------------------------------------------
-- Roles get other names
------------------------------------------------------------------------------------------------------------------

ALTER ROLE regress_definer RENAME TO regress_renamed;
CREATE ROLE regress_definer;
GRANT USAGE ON SCHEMA crm, crm_feed TO regress_definer;
GRANT EXECUTE ON FUNCTION crm.define_event(text, text), crm.drop_event(text, boolean), crm.release_feeds(), crm.rebuild_feeds()
	TO regress_definer;
SET ROLE regress_definer;
SELECT throws_ok($$ SELECT crm.define_event('visit', 'SELECT 1 AS customer_id, timestamptz ''2026-01-01'' AS at') $$, '42501',
	'must be definer of feed "visit"', 'who has the old name of a definer is not the definer');
SELECT throws_ok($$ SELECT crm.drop_event('visit') $$, '42501', NULL, 'and drops nothing');
SELECT throws_ok('SELECT crm.release_feeds()', '42501', NULL, 'and releases nothing');
RESET ROLE;
SELECT is(crm.release_feeds() + crm.rebuild_feeds(), 2, 'a release remembers the definer by his present name');
SELECT view_owner_is('crm_feed', 'visit', 'regress_renamed', 'so that the feed stays his');
SET ROLE regress_renamed;
SELECT lives_ok($$ SELECT crm.define_event('visit', 'SELECT id AS customer_id, at, page, seconds FROM visits') $$,
	'and he may define it anew');
RESET ROLE;
SELECT is(definer, 'regress_renamed', 'under his present name') FROM crm.feeds WHERE kind = 'visit';
DROP OWNED BY regress_definer;
DROP ROLE regress_definer;
ALTER ROLE regress_renamed RENAME TO regress_definer;

------------------------------------------------------------------------------------------------------------------
-- Whose a view is may rename its columns
------------------------------------------------------------------------------------------------------------------

SET ROLE regress_definer;
ALTER VIEW crm_feed.visit RENAME COLUMN at TO was_at;
ALTER VIEW crm_feed.visit RENAME COLUMN seconds TO at;
SELECT throws_ok('SELECT crm.profile_of(1)', '42804', 'column "at" has type numeric', 'a number is not taken for a time');
ALTER VIEW crm_feed.visit RENAME COLUMN at TO seconds;
ALTER VIEW crm_feed.visit RENAME COLUMN was_at TO at;
ALTER VIEW crm_feed.visit RENAME COLUMN customer_id TO was_id;
ALTER VIEW crm_feed.visit RENAME COLUMN page TO customer_id;
RESET ROLE;
SELECT throws_ok($$ SELECT crm.matching('has visit') $$, '42804', 'column "customer_id" has type text', 'nor a text for a customer');
SELECT is(crm.rebuild_feeds(), 1, 'it is made again');
SELECT is(crm.profile_of(1)::text::jsonb -> 'events' -> 0 ->> 'page', '/', 'as its text says');

------------------------------------------------------------------------------------------------------------------
-- What others put into a schema of the definer's path does not become part of his feed
------------------------------------------------------------------------------------------------------------------

CREATE SCHEMA regress_common;
GRANT USAGE, CREATE ON SCHEMA regress_common TO PUBLIC;
CREATE TABLE regress_feed.users (login varchar(20) PRIMARY KEY);
ALTER TABLE regress_feed.users OWNER TO regress_definer;
INSERT INTO regress_feed.users VALUES ('Anna'), ('Boris');
SET ROLE regress_definer;
SELECT crm.drop_event('visit');
SET search_path = regress_feed, regress_common, public;
SELECT lives_ok($$ SELECT crm.define_customers('SELECT lower(login) AS customer_id FROM users') $$,
	'customers by a text that a function makes');
RESET ROLE;
SET ROLE regress_other;
CREATE FUNCTION regress_common.lower(varchar) RETURNS text LANGUAGE plpgsql STABLE AS
	$$ BEGIN RETURN 'mallory ' || current_user; END $$;
RESET ROLE;
INSERT INTO regress_feed.users VALUES ('Clara');
SELECT is(crm.refresh_identities(), 1::bigint, 'a new customer gets an id');
SELECT set_eq('SELECT key FROM crm.customer_key', ARRAY['anna', 'boris', 'clara'],
	'by the function that was meant, not by one that would be found now');
SET search_path = public;
SELECT hasnt_column('crm_feed', 'visit', 'customer_key', 'an event has no key');
SELECT is(columns, '{}', 'the key is no attribute') FROM crm.feeds WHERE kind = 'customer';
SET ROLE regress_definer;
SET search_path = regress_feed, public;
SELECT throws_ok($$ SELECT crm.define_customers('SELECT login AS customer_id, login AS customer_key FROM users') $$, '42939',
	'column "customer_key" of feed "customer" has a reserved name', 'so an attribute cannot have its name');
RESET ROLE;
SET search_path = public;

------------------------------------------------------------------------------------------------------------------
-- Row level security: the policies bind the definer, whoever reads and however
------------------------------------------------------------------------------------------------------------------

CREATE TABLE regress_trace.sale (user_id text PRIMARY KEY, at timestamptz, shop text);
INSERT INTO regress_trace.sale VALUES ('anna', '2026-01-01', 'north'), ('boris', '2026-01-01', 'south');
ALTER TABLE regress_trace.sale ENABLE ROW LEVEL SECURITY;
CREATE POLICY north ON regress_trace.sale TO regress_definer USING (shop = 'north');
GRANT SELECT ON regress_trace.sale TO regress_definer;
SET ROLE regress_definer;
SELECT lives_ok($$ SELECT crm.define_event('sale', 'SELECT user_id AS customer_id, at, shop FROM regress_trace.sale') $$,
	'a table with policies');
RESET ROLE;
SET row_security = off;
SELECT results_eq($$ SELECT e ->> 'shop' FROM crm.customer_key AS k, jsonb_array_elements(crm.profile_of(k.customer_id)::text::jsonb -> 'events') AS e $$,
	ARRAY['north'], 'gives a superuser what the definer may see');
SELECT is(count(*), 1::bigint, 'also as a whole') FROM crm.matching('has sale');
RESET row_security;
DROP POLICY north ON regress_trace.sale;
CREATE POLICY by_setting ON regress_trace.sale TO regress_definer USING (shop = current_setting('app.shop', true));
SELECT throws_ok('SELECT crm.rebuild_feeds()', '42P17', 'query of a feed must not depend on the session that reads it',
	'a policy that asks the session would give everybody something else');
SET ROLE regress_definer;
SELECT crm.drop_event('sale');
RESET ROLE;

------------------------------------------------------------------------------------------------------------------
-- Tracked events are the extension's
------------------------------------------------------------------------------------------------------------------

SELECT crm.track(1, 'search', at => '2026-01-01');
SET ROLE regress_other;
SELECT throws_ok($$ SELECT crm.drop_event('search', true) $$, '42501', 'must be owner of extension crm_marketing to drop tracked events',
	'who may drop his own feeds does not drop them');
RESET ROLE;
SELECT lives_ok($$ SELECT crm.drop_event('search', true) $$, 'their owner does');

------------------------------------------------------------------------------------------------------------------
-- A feed's function that asks us again, or does what a refresh would write over
------------------------------------------------------------------------------------------------------------------

DELETE FROM crm.source WHERE NOT own;
DROP VIEW crm_feed.customer;
SET ROLE regress_definer;
SET search_path = regress_feed, public;
CREATE FUNCTION ask(id bigint) RETURNS integer LANGUAGE plpgsql STABLE AS
	$$ BEGIN RETURN CASE WHEN id = 1 THEN length(crm.profile_of(2)::text) ELSE 0 END; END $$;
CREATE FUNCTION circle(id bigint) RETURNS integer LANGUAGE plpgsql STABLE AS
	$$ BEGIN RETURN length(crm.profile_of(id)::text); END $$;
-- more kinds than plans are kept, and the first is in use meanwhile
DO $$ BEGIN PERFORM crm.define_event('a', 'SELECT id AS customer_id, at, page, ask(id) AS asked FROM visits'); END $$;
SELECT count(*) FROM (SELECT crm.define_event('k' || i, 'SELECT id AS customer_id, at FROM visits') FROM generate_series(1, 70) AS i) AS k;
RESET ROLE;
SELECT is(jsonb_array_length(crm.profile_of(1)::text::jsonb -> 'events'), 71, 'a function may look up another customer');
SELECT is(crm.profile_of(1)::text::jsonb -> 'events' -> 0 ->> 'page', '/', 'and the first one''s facts are still his');
SET ROLE regress_definer;
SELECT crm.define_event('a', 'SELECT id AS customer_id, at, circle(id) AS asked FROM visits');
RESET ROLE;
SELECT throws_ok('SELECT crm.profile_of(1)', '54001', NULL, 'itself, it cannot');
GRANT EXECUTE ON FUNCTION crm.add_to_segment(text, bigint[], timestamptz), crm.refresh_segments(timestamptz) TO regress_definer;
SELECT crm.create_static_segment('list', ARRAY[1]);
SELECT is(message, 'feeds and segments cannot be changed from within the query of a feed', call)
  FROM unnest(ARRAY['crm.drop_event(''k1'')', 'crm.release_feeds()', 'crm.refresh_identities()', 'crm.refresh_segments()',
		'crm.add_to_segment(''list'', ''{2}'')']) AS call
 CROSS JOIN LATERAL pg_temp.meddle(call) AS message;
SELECT is((SELECT count(*) FROM crm.source WHERE NOT own), 71::bigint, 'so all is as it was');
SELECT is(current_setting('search_path') || ' ' || current_user, 'regress_feed, public ' || session_user,
	'after all of which the session is what it was');

SELECT * FROM finish();

ROLLBACK;

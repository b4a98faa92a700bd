-- Who may do what after crm.grant_access, and after it is taken back.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(54);

CREATE ROLE "Regress ""Analyst""";
CREATE ROLE regress_crm_backend;
CREATE ROLE regress_crm_sender;
CREATE ROLE regress_crm_marketer;
CREATE ROLE regress_crm_nobody;
CREATE ROLE regress_crm_admin SUPERUSER;
CREATE ROLE regress_crm_reader;

CREATE VIEW crm_feed.regress_before AS SELECT 1 AS customer_id;

CREATE TEMP VIEW member_function AS
	SELECT p.oid, p.proname, p.provolatile
	  FROM pg_catalog.pg_depend AS d
	  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
	  JOIN pg_catalog.pg_proc AS p ON d.classid = 'pg_catalog.pg_proc'::regclass AND p.oid = d.objid
	 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'crm_marketing';

CREATE TEMP VIEW member_relation AS
	SELECT c.oid, c.relname, c.relkind
	  FROM pg_catalog.pg_depend AS d
	  JOIN pg_catalog.pg_extension AS e ON e.oid = d.refobjid
	  JOIN pg_catalog.pg_class AS c ON d.classid = 'pg_catalog.pg_class'::regclass AND c.oid = d.objid
	 WHERE d.refclassid = 'pg_catalog.pg_extension'::regclass AND d.deptype = 'e' AND e.extname = 'crm_marketing'
	   AND c.relkind IN ('r', 'p', 'v', 'm');

-- Views that the current role is refused, with the reason: also a function in a view must be open to who reads it
CREATE FUNCTION pg_temp.refused() RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	v regclass;
BEGIN
	FOR v IN SELECT r.oid FROM member_relation AS r WHERE r.relkind IN ('v', 'm') LOOP
		BEGIN
			EXECUTE format('SELECT * FROM %s LIMIT 1', v);
		EXCEPTION WHEN insufficient_privilege THEN
			RETURN NEXT v || ': ' || SQLERRM;
		END;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.callable(role text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT f.oid::regprocedure::text FROM member_function AS f WHERE has_function_privilege(role, f.oid, 'EXECUTE')$$;
CREATE FUNCTION pg_temp.readable(role text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT r.oid::regclass::text FROM member_relation AS r WHERE has_table_privilege(role, r.oid, 'SELECT')$$;
CREATE FUNCTION pg_temp.writable(role text) RETURNS SETOF text LANGUAGE sql AS
	$$SELECT r.oid::regclass::text FROM member_relation AS r
	   WHERE has_table_privilege(role, r.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')$$;

------------------------------------------------------------------------------------------------------------------
-- Nobody has anything to begin with
------------------------------------------------------------------------------------------------------------------

SELECT is_empty($$SELECT pg_temp.callable('regress_crm_nobody')$$, 'a role without a level calls nothing');
SELECT is_empty($$SELECT pg_temp.readable('regress_crm_nobody')$$, 'and reads nothing');
SELECT ok(NOT has_schema_privilege('regress_crm_nobody', 'crm', 'USAGE, CREATE'), 'and does not see the schema');
SELECT ok(NOT has_schema_privilege('regress_crm_nobody', 'crm_feed', 'USAGE, CREATE'), 'nor the feeds');

------------------------------------------------------------------------------------------------------------------
-- Levels
------------------------------------------------------------------------------------------------------------------

SELECT lives_ok($$SELECT crm.grant_access('"Regress ""Analyst"""', 'analyst')$$, 'a role with an odd name gets a level');
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_backend', 'backend')$$, 'backend');
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_sender', 'sender')$$, 'sender');
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_marketer', 'marketer')$$, 'marketer');

CREATE VIEW crm_feed.regress_after AS SELECT 1 AS customer_id;

-- Also by a superuser who does not own the extension, and for feeds of others
SET LOCAL ROLE regress_crm_admin;
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_reader', 'analyst')$$, 'any superuser grants');
SELECT lives_ok($$SELECT crm.define_event('regress feed', 'SELECT 1 AS customer_id, timestamptz ''2026-01-01'' AS at')$$,
	'and defines a feed');
RESET ROLE;
SELECT ok(has_table_privilege('regress_crm_reader', 'crm_feed."regress feed"', 'SELECT'), 'which can be read then');
SELECT crm.drop_event('regress feed');

SELECT is_empty($$SELECT f.oid::regprocedure::text FROM member_function AS f WHERE f.provolatile <> 'v'
				 EXCEPT SELECT pg_temp.callable('Regress "Analyst"')$$,
	'an analyst calls all functions that only read');
SELECT is_empty($$SELECT f.proname FROM member_function AS f
				   WHERE f.provolatile = 'v' AND has_function_privilege('Regress "Analyst"', f.oid, 'EXECUTE')
				 EXCEPT SELECT unnest(ARRAY['feed_status', 'is_member', 'members', 'preview', 'profile_of', 'segment_size',
											'verify_segments']::name[])$$,
	'and of the others only those that write nothing all the same');
SELECT set_eq($$SELECT pg_temp.readable('Regress "Analyst"')$$,
	$$SELECT r.oid::regclass::text FROM member_relation AS r$$, 'and reads every table and view');
SELECT is_empty($$SELECT pg_temp.writable('Regress "Analyst"')$$, 'and writes none');
SELECT ok(has_table_privilege('Regress "Analyst"', 'crm_feed.regress_before', 'SELECT'), 'and reads the feeds');
SELECT ok(has_table_privilege('Regress "Analyst"', 'crm_feed.regress_after', 'SELECT'), 'also those defined later');
SELECT ok(NOT has_schema_privilege('Regress "Analyst"', 'crm', 'CREATE')
	AND NOT has_schema_privilege('Regress "Analyst"', 'crm_feed', 'CREATE'), 'and makes no objects there');

SELECT is_empty($$SELECT pg_temp.callable('regress_crm_backend')
				 EXCEPT SELECT pg_temp.callable('Regress "Analyst"')
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f WHERE f.proname IN ('track', 'identify')$$,
	'a backend tracks events besides, and nothing else');
SELECT is_empty($$SELECT pg_temp.callable('regress_crm_marketer')
				 EXCEPT SELECT pg_temp.callable('Regress "Analyst"')
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f
						 WHERE f.proname ~ '^(create|create_static|alter|rename|drop|add_to|remove_from)_segment$'
							OR f.proname IN ('refresh_segments', 'refresh_scores')$$,
	'a marketer makes segments besides, and nothing else');
SELECT is_empty($$SELECT f.oid::regprocedure::text FROM member_function AS f
				   WHERE f.proname = 'track' OR f.proname ~ '^(create|alter|drop)_segment$'
				 EXCEPT SELECT pg_temp.callable('regress_crm_backend')
				 EXCEPT SELECT pg_temp.callable('regress_crm_marketer')$$,
	'which they really do');
SELECT is_empty($$SELECT r, w FROM unnest(ARRAY['regress_crm_backend', 'regress_crm_sender', 'regress_crm_marketer']) AS r
				   CROSS JOIN LATERAL pg_temp.writable(r) AS w$$,
	'no level writes to tables itself');
SELECT is_empty($$SELECT pg_temp.callable('regress_crm_sender') AS c
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f
						 WHERE f.proname IN ('claim_messages', 'ack', 'nack', 'record_delivery')$$,
	'a sender calls only what handles messages');
SELECT is_empty($$SELECT pg_temp.readable('regress_crm_sender')$$, 'and reads no table');
SELECT ok(NOT has_table_privilege('regress_crm_sender', 'crm_feed.regress_after', 'SELECT'), 'nor a feed');
SELECT is_empty($$SELECT r, f FROM unnest(ARRAY['Regress "Analyst"', 'regress_crm_backend', 'regress_crm_sender',
											   'regress_crm_marketer']) AS r
				   CROSS JOIN LATERAL pg_temp.callable(r) AS f
				  WHERE f ~ '^crm\.(configure|grant_access|revoke_access|define_|drop_event|release_|rebuild_|watch)'$$,
	'administration is for the owner');

GRANT SELECT ON member_relation TO PUBLIC;
SET LOCAL ROLE "Regress ""Analyst""";
SELECT is(crm.timezone(), 'UTC', 'an analyst asks for the zone');
SELECT is((SELECT customer_id FROM crm_feed.regress_after), 1, 'and reads a feed');
SELECT is_empty($$SELECT pg_temp.refused()$$, 'and every view');
SELECT lives_ok($$SELECT crm.profile_of(42)$$, 'and asks what is known of a customer');
SELECT throws_ok($$SELECT crm.track(42, 'regress_access', '{"item": "A"}')$$, '42501', NULL, 'but tracks nothing');
SELECT throws_ok($$SELECT crm.create_static_segment('regress access')$$, '42501', NULL, 'and makes no segment');
SELECT throws_ok($$SELECT crm.configure('timezone', 'UTC')$$, '42501', NULL, 'and sets nothing');
SELECT throws_ok($$SELECT crm.grant_access('regress_crm_nobody', 'analyst')$$, '42501', NULL, 'and grants nothing');
RESET ROLE;

SET LOCAL ROLE regress_crm_backend;
SELECT ok(crm.track(42, 'regress_access', '{"item": "A"}'), 'a backend tracks an event');
SELECT ok(crm.profile_of(42) IS NOT NULL, 'and finds it in the profile');
SELECT throws_ok($$INSERT INTO crm.event VALUES (42, 'regress_access', '2026-01-05', '{}')$$, '42501', NULL,
	'but does not write it past the function');
SELECT throws_ok($$SELECT crm.create_static_segment('regress access')$$, '42501', NULL, 'and makes no segment');
RESET ROLE;

SET LOCAL ROLE regress_crm_marketer;
SELECT lives_ok($$SELECT crm.create_segment('regress access', 'has regress_access')$$, 'a marketer makes a segment');
SELECT lives_ok($$SELECT crm.create_static_segment('regress static', ARRAY[42]::bigint[])$$, 'and a static one');
SELECT ok(crm.is_member(42, 'regress static'), 'and sees who is in it');
SELECT lives_ok($$SELECT crm.refresh_segments()$$, 'and brings them up to date');
SELECT lives_ok($$SELECT crm.alter_segment('regress access', 'no regress_access')$$, 'and changes one');
SELECT lives_ok($$SELECT crm.rename_segment('regress access', 'regress renamed')$$, 'and renames it');
SELECT lives_ok($$SELECT crm.drop_segment('regress renamed')$$, 'and drops it');
SELECT throws_ok($$SELECT crm.track(42, 'regress_access', '{"item": "A"}')$$, '42501', NULL, 'but tracks nothing');
RESET ROLE;

------------------------------------------------------------------------------------------------------------------
-- Errors
------------------------------------------------------------------------------------------------------------------

SELECT throws_ok($$SELECT crm.grant_access('regress_crm_nobody', 'king')$$, '22023', 'unrecognized level "king"',
	'an unknown level');
SELECT throws_ok($$SELECT crm.grant_access('regress_crm_nobody', NULL)$$, '22004', NULL, 'no level');
SELECT throws_ok($$SELECT crm.grant_access(NULL, 'analyst')$$, '22004', NULL, 'no role');
SELECT throws_ok($$SELECT crm.grant_access('regress_crm_unborn', 'analyst')$$, '42704', NULL, 'an unknown role');
SELECT throws_ok($$SELECT crm.grant_access('-', 'analyst')$$, '42704', NULL, 'the role that is none');

-- Whoever was let call it must still own the extension
GRANT USAGE ON SCHEMA crm TO regress_crm_nobody;
GRANT EXECUTE ON FUNCTION crm.grant_access(regrole, text) TO regress_crm_nobody;
SET LOCAL ROLE regress_crm_nobody;
SELECT throws_ok($$SELECT crm.grant_access('regress_crm_nobody', 'analyst')$$, '42501',
	'must be owner of extension crm_marketing', 'not the owner');
RESET ROLE;

------------------------------------------------------------------------------------------------------------------
-- Taken back
------------------------------------------------------------------------------------------------------------------

SELECT lives_ok($$SELECT crm.revoke_access(r::regrole) FROM pg_catalog.pg_roles AS p, quote_ident(p.rolname) AS r
				  WHERE p.rolname ~* '^regress[ _]' AND p.rolname <> current_user$$, 'rights are taken back');
SELECT lives_ok($$
	DROP ROLE "Regress ""Analyst""", regress_crm_backend, regress_crm_sender, regress_crm_marketer, regress_crm_nobody,
		regress_crm_admin, regress_crm_reader
$$, 'nothing is left that holds the roles');

SELECT * FROM finish();

ROLLBACK;

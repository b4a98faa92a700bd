-- Who may do what after crm.grant_access, and after it is taken back.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(115);

CREATE ROLE "Regress ""Analyst""";
CREATE ROLE regress_crm_backend;
CREATE ROLE regress_crm_sender;
CREATE ROLE regress_crm_marketer;
CREATE ROLE regress_crm_operator;
CREATE ROLE regress_crm_nobody;
CREATE ROLE regress_crm_admin SUPERUSER;
CREATE ROLE regress_crm_reader;

CREATE VIEW crm_feed.regress_before AS SELECT 1 AS customer_id;
CREATE TABLE public.regress_users (id bigint PRIMARY KEY, city text, email text, phone text);
INSERT INTO public.regress_users VALUES (42, 'Perm', 'anna@example.org', '+79991234567');
SELECT crm.define_customers('SELECT id AS customer_id, city, email, phone FROM public.regress_users');
SELECT crm.refresh_identities();

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
-- Columns that a role may read, of tables that it may not read as a whole
CREATE FUNCTION pg_temp.partly_readable(role text) RETURNS TABLE (relation text, columns text) LANGUAGE sql AS
	$$SELECT r.oid::regclass::text, string_agg(a.attname, ',' ORDER BY a.attnum)
		FROM member_relation AS r
		JOIN pg_catalog.pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
	   WHERE NOT has_table_privilege(role, r.oid, 'SELECT') AND has_column_privilege(role, r.oid, a.attnum, 'SELECT')
	   GROUP BY r.oid$$;
-- What a backend writes of people
CREATE TEMP TABLE about_people AS SELECT unnest(ARRAY['link_identity', 'unlink_identity', 'set_contact', 'reset_contact', 'record_consent',
	'unsubscribe', 'suppress_address', 'set_attributes', 'add_tag', 'remove_tag']) AS name;
-- What gives or recognises addresses
CREATE TEMP TABLE addresses AS SELECT unnest(ARRAY['audience_wanted', 'contact_for', 'contact_rows', 'contacts_of', 'customer_card', 'decide', 'duplicates',
	'export_customer', 'find_customer', 'find_customers', 'is_erased', 'names_of_ids', 'read_attributes', 'refuse_erased']) AS name;
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
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_operator', 'operator')$$, 'operator');

CREATE VIEW crm_feed.regress_after AS SELECT 1 AS customer_id;

-- Also by a superuser who does not own the extension, and for feeds of others
SET LOCAL ROLE regress_crm_admin;
SELECT lives_ok($$SELECT crm.grant_access('regress_crm_reader', 'analyst')$$, 'any superuser grants');
SELECT lives_ok($$SELECT crm.define_event('regress feed', 'SELECT 1 AS customer_id, timestamptz ''2026-01-01'' AS at')$$,
	'and defines a feed');
RESET ROLE;
SELECT ok(has_table_privilege('regress_crm_reader', 'crm_feed."regress feed"', 'SELECT'), 'which can be read then');
SELECT crm.drop_event('regress feed');

SELECT set_eq($$SELECT f.oid::regprocedure::text FROM member_function AS f WHERE f.provolatile <> 'v'
			   EXCEPT SELECT pg_temp.callable('Regress "Analyst"')$$,
	$$SELECT f.oid::regprocedure::text FROM member_function AS f WHERE f.proname IN (SELECT a.name FROM addresses AS a)$$,
	'an analyst calls all functions that only read, save those about addresses');
SELECT is_empty($$SELECT f.proname FROM member_function AS f
				   WHERE f.provolatile = 'v' AND has_function_privilege('Regress "Analyst"', f.oid, 'EXECUTE')
				 EXCEPT SELECT unnest(ARRAY['feed_status', 'is_member', 'members', 'preview', 'profile_of', 'segment_size',
											'verify_segments']::name[])$$,
	'and of the others only those that write nothing all the same');
SELECT set_eq($$SELECT r.oid::regclass::text FROM member_relation AS r EXCEPT SELECT pg_temp.readable('Regress "Analyst"')$$,
	$$SELECT p.relation FROM pg_temp.partly_readable('Regress "Analyst"') AS p$$, 'and reads every table and view, or part of it');
SELECT set_eq($$SELECT p.relation, p.columns FROM pg_temp.partly_readable('Regress "Analyst"') AS p WHERE p.relation !~ 'change_log|tick_error'$$,
	$$VALUES ('crm.identity', 'namespace,customer_id,source,added_at'), ('crm.shared_identity', 'namespace,reason'),
			 ('crm.contact', 'customer_id,channel,source,set_at'), ('crm.suppression', 'channel,at,reason'), ('crm.erased', 'erased_at'),
			 ('crm.event_key', 'customer_id,kind,at'), ('crm.audience_link', 'customer_id,audience_id'),
			 ('crm.audience_ledger', 'audience_id,entry_id,state,uploaded,since,next_at,attempts,token,forget,added_at,removed_at'),
			 ('crm.watch', 'watch_id,kind,relation,relation_name,key,mapping,search_path,definer,files'),
			 ('crm.consent', 'consent_id,customer_id,channel,purpose,granted,at,recorded_at,source'),
			 ('crm.promo_code', 'code_id,pool,taken_at,valid_until,redeemed_at,reference,withdrawn_at'),
			 ('crm.customer_code', 'customer_id,pool,occasion,code_id,taken_at'),
			 ('crm.message', 'customer_id,message_id,channel,purpose,transactional,priority,guard_id,campaign,run_id,step,arm,message_key,template,language,entry,event_kind,event_at,condition,created_at,due_at,useful_until,state,reason,handed_at,finished_at,token,provider_id,template_version'),
			 ('crm.delivery', 'customer_id,message_id,kind,provider_key,at'),
			 ('crm.run', 'customer_id,run_id,campaign_id,version,occurrence,event_kind,event_at,entry,begun_at,held,state,reason,step,step_at,looked_at,wake_at,goal_at,finished_at,arms,errors'),
			 ('crm.task', 'customer_id,task_id,campaign,step,run_id,guard_id,entry,channel,purpose,transactional,assignee,script,due_at,deadline,state,reason,result,taken_at,finished_at')$$,
	'which is all but addresses and codes');
SELECT set_eq($$SELECT * FROM pg_temp.partly_readable('regress_crm_marketer')$$, $$SELECT * FROM pg_temp.partly_readable('Regress "Analyst"')$$,
	'a marketer reads the same');
SELECT set_eq($$SELECT pg_temp.readable('regress_crm_marketer')$$, $$SELECT pg_temp.readable('Regress "Analyst"')$$, 'and no more');
SELECT set_eq($$SELECT pg_temp.readable('regress_crm_backend')$$, $$SELECT r.oid::regclass::text FROM member_relation AS r$$,
	'a backend reads everything');
SELECT ok(has_column_privilege('Regress "Analyst"', 'crm_feed.customer', 'city', 'SELECT')
	AND NOT has_table_privilege('Regress "Analyst"', 'crm_feed.customer', 'SELECT')
	AND NOT has_column_privilege('Regress "Analyst"', 'crm_feed.customer', 'email', 'SELECT')
	AND NOT has_column_privilege('Regress "Analyst"', 'crm_feed.customer', 'phone', 'SELECT'),
	'of a feed that has addresses an analyst reads the other columns');
SELECT ok(has_table_privilege('regress_crm_backend', 'crm_feed.customer', 'SELECT'), 'and a backend all of them');
SELECT is_empty($$SELECT pg_temp.writable('Regress "Analyst"')$$, 'and writes none');
SELECT ok(has_table_privilege('Regress "Analyst"', 'crm_feed.regress_before', 'SELECT'), 'and reads the feeds');
SELECT ok(has_table_privilege('Regress "Analyst"', 'crm_feed.regress_after', 'SELECT'), 'also those defined later');
SELECT ok(NOT has_schema_privilege('Regress "Analyst"', 'crm', 'CREATE')
	AND NOT has_schema_privilege('Regress "Analyst"', 'crm_feed', 'CREATE'), 'and makes no objects there');

SELECT is_empty($$SELECT pg_temp.callable('regress_crm_backend')
				 EXCEPT SELECT pg_temp.callable('Regress "Analyst"')
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f
						 WHERE f.proname IN (SELECT a.name FROM addresses AS a UNION SELECT p.name FROM about_people AS p)
							OR f.proname IN ('track', 'identify', 'take_code', 'redeem_code', 'release_code', 'send_message', 'record_delivery')$$,
	'a backend tracks events besides, writes and reads of people, handles codes, sends, and nothing else');
SELECT set_eq($$SELECT f.proname::text FROM member_function AS f WHERE has_function_privilege('regress_crm_operator', f.oid, 'EXECUTE')$$,
	$$SELECT p.name FROM about_people AS p WHERE p.name NOT IN ('link_identity', 'unlink_identity', 'suppress_address')
	   UNION VALUES ('customer_card'), ('find_customer'), ('find_customers'), ('code_is_valid'), ('next_task'), ('finish_task'), ('now')$$,
	'an operator finds a customer, sees his card and writes of him, and nothing else');
SELECT is_empty($$SELECT pg_temp.readable('regress_crm_operator') UNION SELECT p.relation FROM pg_temp.partly_readable('regress_crm_operator') AS p$$,
	'and reads no table');
SELECT ok(NOT has_table_privilege('regress_crm_operator', 'crm_feed.customer', 'SELECT')
	AND NOT has_table_privilege('regress_crm_operator', 'crm_feed.regress_after', 'SELECT'), 'nor a feed');
SELECT is_empty($$SELECT pg_temp.callable('regress_crm_marketer')
				 EXCEPT SELECT pg_temp.callable('Regress "Analyst"')
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f
						 WHERE f.proname ~ '^(create|create_static|alter|rename|drop|add_to|remove_from)_segment$'
							OR f.proname ~ '^(create|drop|add_to|remove_from|sync|retry)_audience$'
							OR f.proname IN ('refresh_segments', 'refresh_scores', 'define_code_pool', 'add_codes', 'withdraw_code',
											 'drop_code_pool', 'set_template', 'drop_template', 'create_campaign', 'add_step',
											 'campaign_from_json', 'start_campaign', 'pause_campaign', 'stop_campaign', 'drop_campaign',
											 'migrate_runs', 'create_broadcast', 'set_cap', 'drop_cap', 'set_channel_rule')$$,
	'a marketer makes segments, code pools, campaigns and their rules besides, and nothing else');
SELECT is_empty($$SELECT f.oid::regprocedure::text FROM member_function AS f
				   WHERE f.proname = 'track' OR f.proname ~ '^(create|alter|drop)_segment$'
				 EXCEPT SELECT pg_temp.callable('regress_crm_backend')
				 EXCEPT SELECT pg_temp.callable('regress_crm_marketer')$$,
	'which they really do');
SELECT is_empty($$SELECT r, w FROM unnest(ARRAY['regress_crm_backend', 'regress_crm_sender', 'regress_crm_marketer', 'regress_crm_operator']) AS r
				   CROSS JOIN LATERAL pg_temp.writable(r) AS w$$,
	'no level writes to tables itself');
SELECT is_empty($$SELECT pg_temp.callable('regress_crm_sender') AS c
				 EXCEPT SELECT f.oid::regprocedure::text FROM member_function AS f
						 WHERE f.proname IN ('claim_messages', 'ack_messages', 'nack_message', 'release_messages', 'record_delivery', 'expire_leases', 'unknown_messages',
											 'redrive_messages', 'redrive', 'claim_audience', 'ack_audience', 'nack_audience', 'reconcile_audience', 'now')$$,
	'a sender calls only what handles messages, and what is told to ad networks');
SELECT is_empty($$SELECT pg_temp.readable('regress_crm_sender')$$, 'and reads no table');
SELECT ok(NOT has_table_privilege('regress_crm_sender', 'crm_feed.regress_after', 'SELECT'), 'nor a feed');
SELECT is_empty($$SELECT r, f FROM unnest(ARRAY['Regress "Analyst"', 'regress_crm_backend', 'regress_crm_sender',
											   'regress_crm_marketer', 'regress_crm_operator']) AS r
				   CROSS JOIN LATERAL pg_temp.callable(r) AS f
				  WHERE f ~ '^crm\.(configure|grant_access|revoke_access|define_(?!code_pool)|drop_event|drop_codes|release_feeds|rebuild_|watch|(un)?merge_|erase_|readmit_|set_retention|apply_|hide_|sync_(?!audience\()|share_)'$$,
	'administration is for the owner');

SELECT crm.define_code_pool('regress'), crm.add_codes('regress', '{REGRESS-1}');
SELECT crm.create_segment('regress with mail', 'email = ''anna@example.org'' and city = ''Perm''');
SELECT crm.refresh_segments();
GRANT SELECT ON member_relation TO PUBLIC;
SET LOCAL ROLE "Regress ""Analyst""";
SELECT is(crm.timezone(), 'UTC', 'an analyst asks for the zone');
SELECT is((SELECT customer_id FROM crm_feed.regress_after), 1, 'and reads a feed');
SELECT is_empty($$SELECT pg_temp.refused()$$, 'and every view');
SELECT is((crm.profile_of(42)::jsonb -> 'attributes') - '{channels,consents,reachable}'::text[], '{"city": "Perm"}',
	'and asks what is known of a customer, but not his addresses');
SELECT is(crm.matches_segment(42, 'regress with mail'), true, 'by which he is judged all the same');
SELECT set_eq($$SELECT x.text, x.value, x.truth FROM crm.explain(42, 'regress with mail') AS x WHERE x.depth > 0$$,
	$$VALUES ('email = ''anna@example.org''', NULL, true), ('email', '***', NULL), ('city = ''Perm''', NULL, true), ('city', 'Perm', NULL)$$,
	'and explained');
SELECT is((SELECT p.customers FROM crm.preview('email is known') AS p), 1::bigint, 'and counted');
SELECT results_eq($$SELECT i.namespace, i.value FROM crm.identity_masked AS i WHERE i.customer_id = 42 ORDER BY 1$$,
	$$VALUES ('email', 'a***@example.org'), ('phone', '+7999***4567')$$, 'whose addresses are shown in part');
SELECT is((SELECT count(*) FROM crm.identity AS i WHERE i.namespace = 'email' AND i.source = 'feed'), 1::bigint, 'and can be counted');
SELECT is((SELECT array_agg(c.city) FROM crm_feed.customer AS c), ARRAY['Perm'], 'an analyst reads the customers');
SELECT throws_ok($$SELECT c.email FROM crm_feed.customer AS c$$, '42501', NULL, 'but not their addresses');
SELECT throws_ok($$SELECT i.value FROM crm.identity AS i$$, '42501', NULL, 'not as identities');
SELECT throws_ok($$SELECT i.raw FROM crm.identity AS i$$, '42501', NULL, 'however they are spelt');
SELECT throws_ok($$SELECT c.address FROM crm.contact AS c$$, '42501', NULL, 'not as contacts');
SELECT throws_ok($$SELECT crm.contacts_of(42)$$, '42501', NULL, 'not by a function');
SELECT throws_ok($$SELECT crm.customer_card(42)$$, '42501', NULL, 'not on the card');
SELECT throws_ok($$SELECT crm.export_customer(42)$$, '42501', NULL, 'not in an export');
SELECT throws_ok($$SELECT crm.find_customer('email', 'anna@example.org')$$, '42501', NULL, 'nor whose one is');
SELECT throws_ok($$SELECT crm.read_attributes('{email}')$$, '42501', NULL, 'nor from the feed');
SELECT throws_ok($$SELECT crm.add_tag(42, 'x')$$, '42501', NULL, 'and puts no tags');
SELECT throws_ok($$SELECT crm.track(42, 'regress_access', '{"item": "A"}')$$, '42501', NULL, 'but tracks nothing');
SELECT throws_ok($$SELECT crm.create_static_segment('regress access')$$, '42501', NULL, 'and makes no segment');
SELECT throws_ok($$SELECT c.code FROM crm.promo_code AS c$$, '42501', NULL, 'and sees no codes that could be used');
SELECT is(crm.code_is_valid('REGRESS-1'), false, 'but may ask whether one is valid');
SELECT is((SELECT s.free FROM crm.code_stock AS s WHERE s.pool = 'regress'), 1::bigint, 'and how many there are');
SELECT throws_ok($$SELECT crm.take_code('regress', 42, 'x')$$, '42501', NULL, 'and takes none');
SELECT throws_ok($$SELECT crm.configure('timezone', 'UTC')$$, '42501', NULL, 'and sets nothing');
SELECT throws_ok($$SELECT crm.grant_access('regress_crm_nobody', 'analyst')$$, '42501', NULL, 'and grants nothing');
RESET ROLE;

SET LOCAL ROLE regress_crm_backend;
SELECT ok(crm.track(42, 'regress_access', '{"item": "A"}'), 'a backend tracks an event');
SELECT ok(crm.profile_of(42) IS NOT NULL, 'and finds it in the profile');
SELECT is((crm.profile_of(42)::jsonb) -> 'attributes' ->> 'email', 'anna@example.org', 'with all there is');
SELECT is((SELECT x.value FROM crm.explain(42, 'regress with mail') AS x WHERE x.text = 'email'), 'anna@example.org', 'and explained');
SELECT is(crm.find_customer('email', 'Anna@example.org'), 42::bigint, 'and finds whose an address is');
SELECT isnt_empty($$SELECT crm.contacts_of(42)$$, 'and which there are');
SELECT lives_ok($$SELECT crm.customer_card(42), crm.export_customer(42), crm.set_contact(42, 'push', 'token'), crm.record_consent(42, 'push'),
	crm.set_attributes(42, '{"regress_pet": "cat"}'), crm.add_tag(42, 'regress'), crm.link_identity(42, 'card', 'regress')$$, 'and writes of him');
SELECT is(crm.redeem_code((crm.take_code('regress', 42, 'x')).code, 42, 'regress order'), 'redeemed', 'and gives him a code, which he redeems');
SELECT is(crm.release_code('regress order'), 1, 'and takes it back');
SELECT throws_ok($$SELECT crm.add_codes('regress', '{REGRESS-2}')$$, '42501', NULL, 'but makes no codes');
SELECT throws_ok($$SELECT crm.erase_customer(42)$$, '42501', NULL, 'and erases nobody');
SELECT throws_ok($$SELECT crm.merge_customers(42, 43)$$, '42501', NULL, 'and merges nobody by itself');
SELECT throws_ok($$INSERT INTO crm.event VALUES (42, 'regress_access', '2026-01-05', '{}')$$, '42501', NULL,
	'but does not write it past the function');
SELECT throws_ok($$SELECT crm.create_static_segment('regress access')$$, '42501', NULL, 'and makes no segment');
RESET ROLE;

SET LOCAL ROLE regress_crm_operator;
SELECT is(crm.find_customer('phone', '+7 999 123-45-67'), 42::bigint, 'an operator finds who is calling');
SELECT is(crm.customer_card(42) -> 'attributes' ->> 'phone', '+79991234567', 'and sees his card');
SELECT lives_ok($$SELECT crm.set_contact(42, 'push', NULL), crm.record_consent(42, 'email'), crm.unsubscribe(42, 'sms'),
	crm.set_attributes(42, '{"regress_pet": "dog"}', 'call'), crm.add_tag(42, 'regress call'), crm.remove_tag(42, 'regress')$$,
	'and writes of him');
SELECT is(crm.code_is_valid('regress-1'), true, 'and tells whether his code is valid');
SELECT throws_ok($$SELECT FROM crm_feed.customer$$, '42501', NULL, 'but reads no feed');
SELECT throws_ok($$SELECT FROM crm.identity$$, '42501', NULL, 'and no table');
SELECT throws_ok($$SELECT crm.export_customer(42)$$, '42501', NULL, 'and exports nobody');
SELECT throws_ok($$SELECT crm.profile_of(42)$$, '42501', NULL, 'and reads no profiles');
RESET ROLE;

SET LOCAL ROLE regress_crm_sender;
SELECT throws_ok($$SELECT crm.customer_card(42)$$, '42501', NULL, 'a sender sees no card');
RESET ROLE;

-- Customers who are defined anew, with other columns, and an event that has an address
SELECT crm.define_customers('SELECT id AS customer_id, city, email, phone, city AS telegram FROM public.regress_users');
SELECT crm.define_event('regress mail', 'SELECT id AS customer_id, timestamptz ''2026-01-01'' AS at, email FROM public.regress_users');
SELECT set_eq($$SELECT a.attname FROM pg_catalog.pg_attribute AS a
				 WHERE a.attrelid IN ('crm_feed.customer'::regclass, 'crm_feed."regress mail"'::regclass) AND a.attnum > 0
				   AND has_column_privilege('Regress "Analyst"', a.attrelid, a.attnum, 'SELECT')$$,
	$$VALUES ('customer_id'::name), ('city'), ('at')$$, 'of new feeds an analyst reads no addresses either');
SELECT ok(has_table_privilege('regress_crm_backend', 'crm_feed.customer', 'SELECT')
	AND has_table_privilege('regress_crm_backend', 'crm_feed."regress mail"', 'SELECT'), 'but a backend does');
SELECT crm.release_feeds(), crm.rebuild_feeds();
SELECT ok(has_column_privilege('regress_crm_marketer', 'crm_feed.customer', 'city', 'SELECT')
	AND NOT has_column_privilege('regress_crm_marketer', 'crm_feed.customer', 'email', 'SELECT')
	AND has_table_privilege('regress_crm_backend', 'crm_feed.customer', 'SELECT'), 'nor of those that are made again');

-- By functions that take the name of a property or an attribute, neither
INSERT INTO crm.tick_error (at, sqlstate, message) VALUES (now(), '22P02', 'invalid anna@example.org');
SET LOCAL ROLE "Regress ""Analyst""";
SELECT throws_ok($$SELECT FROM crm.cycles(kind => 'regress mail', item => 'email')$$, '42501', 'permission denied for "email"',
	'an analyst counts no addresses');
SELECT throws_ok($$SELECT FROM crm.abc_xyz(kind => 'regress mail', item => 'email', amount => 'email', quantity => 'email')$$, '42501', NULL,
	'nor classes them');
SELECT throws_ok($$SELECT FROM crm.ltv(kind => 'regress_access', amount => 'amount', by => 'phone')$$, '42501', NULL, 'nor groups by them');
SELECT is((SELECT s.detail FROM crm.status AS s WHERE s.item = 'last error'), '22P02', 'and of the last error sees no text');
RESET ROLE;
SET LOCAL ROLE regress_crm_backend;
SELECT lives_ok($$SELECT FROM crm.cycles(kind => 'regress mail', item => 'email')$$, 'but a backend may');
SELECT is((SELECT s.detail FROM crm.status AS s WHERE s.item = 'last error'), '22P02: invalid anna@example.org', 'and sees it');
RESET ROLE;
SELECT crm.drop_event('regress mail');

-- What becomes a kind of address is none any more for who is granted his level again
SELECT crm.define_channel('regress', 'city');
SELECT crm.grant_access('"Regress ""Analyst"""', 'analyst'), crm.grant_access('regress_crm_backend', 'analyst');
SELECT ok(NOT has_column_privilege('Regress "Analyst"', 'crm_feed.customer', 'city', 'SELECT')
	AND has_column_privilege('Regress "Analyst"', 'crm_feed.customer', 'customer_id', 'SELECT')
	AND has_table_privilege('regress_crm_backend', 'crm_feed.customer', 'SELECT'), 'a new kind of address is taken back');
DELETE FROM crm.channel AS c WHERE c.channel = 'regress';
SELECT crm.grant_access('"Regress ""Analyst"""', 'analyst');
SELECT crm.define_customers('SELECT id AS customer_id, city, email, phone FROM public.regress_users');

SET LOCAL ROLE regress_crm_marketer;
SELECT lives_ok($$SELECT crm.create_segment('regress access', 'has regress_access')$$, 'a marketer makes a segment');
SELECT lives_ok($$SELECT crm.create_static_segment('regress static', ARRAY[42]::bigint[])$$, 'and a static one');
SELECT ok(crm.is_member(42, 'regress static'), 'and sees who is in it');
SELECT lives_ok($$SELECT crm.refresh_segments()$$, 'and brings them up to date');
SELECT lives_ok($$SELECT crm.alter_segment('regress access', 'no regress_access')$$, 'and changes one');
SELECT lives_ok($$SELECT crm.rename_segment('regress access', 'regress renamed')$$, 'and renames it');
SELECT lives_ok($$SELECT crm.drop_segment('regress renamed')$$, 'and drops it');
SELECT lives_ok($$SELECT crm.define_code_pool('regress two'), crm.add_codes('regress two', '{A,B}'), crm.withdraw_code('A'),
	crm.drop_code_pool('regress two')$$, 'and makes a pool of codes');
SELECT throws_ok($$SELECT crm.redeem_code('REGRESS-1')$$, '42501', NULL, 'but redeems none');
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
	DROP ROLE "Regress ""Analyst""", regress_crm_backend, regress_crm_sender, regress_crm_marketer, regress_crm_operator,
		regress_crm_nobody, regress_crm_admin, regress_crm_reader
$$, 'nothing is left that holds the roles');

SELECT * FROM finish();

ROLLBACK;

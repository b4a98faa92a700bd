-- Nothing is left of somebody who was erased, in any table that there is: one that is added later must be erased too, or
-- be named here.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(22);

CREATE TEMP VIEW our_table AS
	SELECT c.oid, c.relname
	  FROM pg_catalog.pg_class AS c
	 WHERE c.relnamespace = 'crm'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition;

-- Tables that are about nobody, or keep no more than they may
CREATE TEMP TABLE exempt (relname name PRIMARY KEY, why text NOT NULL);
INSERT INTO exempt VALUES
	('attribute_source', 'names of sources'),
	('campaign', 'definitions, written by people'),
	('campaign_version', 'as campaign'),
	('cap', 'rules'),
	('audience', 'definitions, written by people'),
	('audience_ledger', 'hashes, until they are removed from the ad networks'),
	('change_cursor', 'positions in the log'),
	('change_log_0', 'keys of what was changed just now; erased besides, as far as they are a customer''s'),
	('change_log_1', 'as change_log_0'),
	('change_log_2', 'as change_log_0'),
	('change_log_current', 'a number'),
	('channel', 'names of channels'),
	('channel_rule', 'rules'),
	('code_pool', 'names of pools'),
	('erased', 'hashes'),
	('erased_customer', 'an id alone, which the shop still has'),
	('follower', 'names of functions'), ('segment_reference', 'likewise'),
	('guard', 'conditions, written by people'),
	('handed', 'numbers'),
	('lease', 'numbers of messages'),
	('listener', 'segments'),
	('promo_code', 'codes, which are nobody''s here; orders for which a person redeemed some are erased besides'),
	('retention', 'names of tables'),
	('rfm_map', 'names of classes'),
	('segment', 'definitions, written by people'),
	('setting', 'names of settings'),
	('shared_identity', 'is several people''s; goes with the last of them'),
	('slot', 'positions in the log'),
	('source', 'texts of the shop''s feeds'),
	('source_property', 'names of properties'),
	('suppression', 'hashes'),
	('template', 'texts with placeholders'),
	('tick_error', 'the last errors; those that tell an identity of his are erased besides'),
	('watch', 'names of tables');

------------------------------------------------------------------------------------------------------------------
-- No table is forgotten
------------------------------------------------------------------------------------------------------------------

SELECT is_empty($$
	SELECT o.relname, a.attname
	  FROM our_table AS o
	  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.oid AND a.attnum > 0 AND NOT a.attisdropped
	  JOIN pg_catalog.pg_type AS t ON t.oid = a.atttypid
	 WHERE (a.atttypid IN ('bigint'::regtype, 'bigint[]'::regtype, 'jsonb'::regtype, 'json'::regtype, 'bytea'::regtype)
			OR t.typcategory = 'S' OR t.typelem IN ('text'::regtype, 'varchar'::regtype, 'jsonb'::regtype)
			OR t.typnamespace = 'crm'::regnamespace)
	   AND o.relname NOT IN (SELECT e.relname FROM exempt AS e)
	   AND o.relname NOT IN (SELECT t.relation FROM crm.customer_tables() AS t)
$$, 'every table that could tell of somebody is one of crm.customer_tables(), or named here');
SELECT is_empty($$
	SELECT e.relname FROM exempt AS e
	 WHERE e.relname NOT IN (SELECT o.relname FROM our_table AS o) OR e.relname IN (SELECT t.relation FROM crm.customer_tables() AS t)
$$, 'what is named here is there, and is not erased');
SELECT is_empty($$
	SELECT t.relation, c
	  FROM crm.customer_tables() AS t
	 CROSS JOIN unnest(t.columns) AS c
	  LEFT JOIN our_table AS o ON o.relname = t.relation
	  LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.oid AND a.attname = c AND a.atttypid = 'bigint'::regtype
	 WHERE a.attname IS NULL
$$, 'what crm.customer_tables() names is there');
SELECT is_empty($$
	SELECT o.relname, a.attname
	  FROM our_table AS o
	  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = o.oid AND a.attnum > 0 AND a.atttypid = 'bigint'::regtype
	  JOIN crm.customer_tables() AS t ON t.relation = o.relname
	 WHERE a.attname <> ALL (t.columns)
	   -- a table's own numbers
	   AND (o.relname, a.attname) NOT IN (('code_redemption', 'code_id'), ('consent', 'consent_id'), ('customer_code', 'code_id'),
										  ('delivery', 'message_id'), ('heard', 'seq'), ('listener_queue', 'seq'),
										  ('membership_change', 'change_id'), ('merge_log', 'merge_id'), ('message', 'message_id'),
										  ('message', 'run_id'), ('message', 'token'),
										  ('occurrence_queue', 'seq'), ('outbox', 'message_id'), ('outbox', 'token'), ('pending', 'seq'),
										  ('run', 'run_id'), ('run_step', 'entry_id'), ('run_step', 'run_id'), ('score_change', 'change_id'),
										  ('task', 'run_id'), ('task', 'task_id'))
$$, 'and no other column of these tables could be a customer');

------------------------------------------------------------------------------------------------------------------
-- Somebody unmistakable, of whom something is in every table, and his neighbour
------------------------------------------------------------------------------------------------------------------

CREATE TABLE public.regress_users (id bigint PRIMARY KEY, email text, phone text, card text, city text);
CREATE TABLE public.regress_orders (id bigint PRIMARY KEY, user_id bigint, placed_at timestamptz, amount numeric);
CREATE INDEX ON public.regress_orders (user_id);
INSERT INTO public.regress_users VALUES
	(987654321987, 'Zyxwvut.Unmistakable@example.org', '+7 987 654-32-10', 'card-98765', 'Perm'),
	(987654321988, 'zyxwvut.second@example.org', NULL, NULL, NULL),
	(1, 'neighbour@example.org', '+79876543211', NULL, 'Perm');
INSERT INTO public.regress_orders
SELECT g, (ARRAY[987654321987, 1])[g % 2 + 1], '2026-01-01Z'::timestamptz + g * interval '1 day', g FROM generate_series(1, 10) AS g;
SELECT crm.define_customers('SELECT id AS customer_id, email, phone, card, city FROM public.regress_users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, amount FROM public.regress_orders');
SET LOCAL crm_marketing.now = '2026-02-01Z';
SELECT crm.watch('customer', 'public.regress_users');

CREATE FUNCTION pg_temp.tell_of(customer bigint, second bigint, payload text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM crm.track(customer, 'view', jsonb_build_object('text', payload), event_key => payload);
	PERFORM crm.link_identity(customer, 'cookie', payload);
	PERFORM crm.set_contact(customer, 'telegram', payload), crm.set_contact(second, 'push', payload);
	PERFORM crm.record_consent(customer, 'email', proof => jsonb_build_object('form', payload), source => payload);
	PERFORM crm.set_attributes(customer, jsonb_build_object('remark', payload), payload), crm.add_tag(second, payload, payload);
	PERFORM crm.share_identity('cookie', payload, reason => payload);
	PERFORM crm.create_static_segment(payload, ARRAY[customer, second]);
	PERFORM crm.define_code_pool('regress pool', 'REGRESS-######', personal => false);
	PERFORM crm.redeem_code((crm.take_code('regress pool', customer, payload)).code, second, payload);
	PERFORM crm.take_code('regress pool', second, payload);
	PERFORM crm.record_consent(customer, 'ad:regress'), crm.add_to_audience('regress', ARRAY[customer]), crm.sync_audience('regress');
	INSERT INTO crm.customer_score (customer_id, rfm_segment) VALUES (customer, payload);
	INSERT INTO crm.score_change (customer_id, at, name, old) VALUES (second, now(), 'rfm', payload);
	INSERT INTO crm.item_due VALUES (customer, payload, now());
	INSERT INTO crm.deadline VALUES (customer, crm.slot_of(customer), 'infinity', 1, now());
	INSERT INTO crm.pending VALUES (crm.slot_of(customer), 1000000 + customer % 1000, customer, 'order');
	INSERT INTO crm.occurrence VALUES (customer, 1, 'order', now(), now());
	INSERT INTO crm.occurrence_queue VALUES (1000000 + customer % 1000, second, 1, 'order', now(), now());
	INSERT INTO crm.interest VALUES (customer);
	INSERT INTO crm.heard (customer_id) VALUES (customer);
	INSERT INTO crm.listener_queue (listener, customer_id) VALUES ('regress', customer);
	PERFORM crm.enqueue_message(customer, 'email', 'none', jsonb_build_object('text', payload));
	INSERT INTO crm.delivery VALUES (customer, 1, 'click', payload, now(), jsonb_build_object('url', payload));
	INSERT INTO crm.run (customer_id, campaign_id, version, occurrence, entry, begun_at, state, step_at, looked_at, event)
	VALUES (second, 1, 1, payload, now(), now(), 'ended', now(), now(), jsonb_build_object('text', payload));
	INSERT INTO crm.run_step (customer_id, run_id, campaign_id, step, at, outcome) VALUES (second, 1, 1, payload, now(), 'done');
	INSERT INTO crm.task (customer_id, channel, purpose, transactional, assignee, script, due_at, note)
	VALUES (customer, 'call', 'service', true, 'anna', 'none', now(), jsonb_build_object('text', payload));
	INSERT INTO crm.change_log_0 (xid, watch_id, id) VALUES ('3', 0, customer);
	INSERT INTO crm.change_log_1 (xid, watch_id, id) SELECT '3', w.watch_id, customer FROM crm.watch AS w;
	INSERT INTO crm.change_log_2 (xid, watch_id, key) SELECT '3', w.watch_id, ARRAY[payload] FROM crm.watch AS w;
	INSERT INTO crm.tick_error (sqlstate, message) VALUES ('XX000', format('invalid input: "%s"', payload));
END
$$;
SELECT crm.define_channel('ad:regress', 'email'), crm.refresh_identities();
SELECT crm.create_audience('regress', 'ad:regress');
SELECT pg_temp.tell_of(987654321987, 987654321988, 'payload-zyxwvut');
SELECT pg_temp.tell_of(1, 1, 'payload-neighbour');
SELECT crm.create_segment('regress buyers', 'has order');
SELECT crm.refresh_segments('2026-02-01Z');
SELECT crm.merge_customers(987654321987, 987654321988, 'payload-zyxwvut');
SELECT crm.forbid_merge(987654321988, 1, 'payload-zyxwvut');
-- the name of a static segment is not his
SELECT crm.rename_segment('payload-zyxwvut', 'regress static');

-- Tables with a row that says something, by the text of the row
CREATE FUNCTION pg_temp.saying(what text) RETURNS SETOF name LANGUAGE plpgsql AS $$
DECLARE
	found boolean;
	o record;
BEGIN
	FOR o IN SELECT t.relname FROM our_table AS t ORDER BY 1 LOOP
		EXECUTE format('SELECT EXISTS (SELECT FROM crm.%I AS t WHERE row_to_json(t)::text ILIKE %L)', o.relname, '%' || what || '%')
		   INTO found;
		IF found THEN
			RETURN NEXT o.relname;
		END IF;
	END LOOP;
END
$$;
CREATE FUNCTION pg_temp.rows_of(ids bigint[]) RETURNS TABLE (relation name, rows bigint) LANGUAGE plpgsql AS $$
DECLARE
	t record;
BEGIN
	FOR t IN SELECT c.* FROM crm.customer_tables() AS c LOOP
		relation := t.relation;
		EXECUTE format('SELECT count(*) FROM crm.%I AS t WHERE %s', t.relation,
			(SELECT string_agg(format('t.%I = ANY ($1)', c), ' OR ') FROM unnest(t.columns) AS c)) INTO rows USING ids;
		RETURN NEXT;
	END LOOP;
END
$$;

SELECT is_empty($$SELECT r.relation FROM pg_temp.rows_of(ARRAY[987654321987, 987654321988]) AS r WHERE r.rows = 0$$,
	'something of him is in every table');
SELECT set_has($$SELECT pg_temp.saying('987654321987')$$,
	$$VALUES ('alias'), ('attribute'), ('event'), ('change_log_0'), ('change_log_1'), ('pending')$$, 'and is found by its text');
CREATE TEMP TABLE neighbour AS SELECT * FROM pg_temp.rows_of(ARRAY[1]) AS r;
UPDATE neighbour SET rows = rows - 1 WHERE relation = 'cannot_link';	-- with him

SELECT lives_ok($$SELECT crm.export_customer(987654321988)$$, 'he is told');
SELECT is_empty($$SELECT r.relation FROM pg_temp.rows_of(ARRAY[987654321987, 987654321988]) AS r
				   WHERE NOT crm.export_customer(987654321988) -> 'tables' ? r.relation$$, 'from every table');

SELECT lives_ok($$SELECT crm.erase_customer(987654321988, 'asked for it')$$, 'he is erased');

------------------------------------------------------------------------------------------------------------------
-- What is left
------------------------------------------------------------------------------------------------------------------

SELECT is_empty($$SELECT r.relation FROM pg_temp.rows_of(ARRAY[987654321987, 987654321988]) AS r WHERE r.rows > 0$$,
	'nothing of him is in any table');
SELECT set_eq($$SELECT pg_temp.saying('98765432198')$$, $$VALUES ('erased_customer'::name)$$, 'only his ids are');
SELECT is_empty($$SELECT pg_temp.saying('zyxwvut')$$, 'no address of his, and nothing that was told of him');
SELECT is_empty($$SELECT pg_temp.saying('9876543210')$$, 'nor his phone');
SELECT is_empty($$SELECT pg_temp.saying('7 987 654')$$, 'nor as the shop spells it');
SELECT is_empty($$SELECT pg_temp.saying('card-98765')$$, 'nor his card');
SELECT is_empty($$SELECT pg_temp.saying('asked for it') EXCEPT VALUES ('erased_customer'::name)$$, 'the reason stays');
SELECT results_eq($$SELECT count(*), count(c.redeemed_at), count(c.reference) FROM crm.promo_code AS c WHERE c.taken_at IS NOT NULL$$,
	$$VALUES (3::bigint, 2::bigint, 1::bigint)$$, 'codes that he had stay given out');
SELECT set_eq($$SELECT * FROM pg_temp.rows_of(ARRAY[1])$$, $$SELECT * FROM neighbour$$, 'his neighbour is as before');
SELECT isnt_empty($$SELECT pg_temp.saying('payload-neighbour')$$, 'with all that was told of him');

SELECT crm.refresh_segments('2026-02-01Z');
SELECT set_eq($$SELECT pg_temp.saying('98765432198')$$, $$VALUES ('erased_customer'::name)$$,
	'a refresh takes nothing up from the shop''s tables');
SELECT set_eq($$SELECT crm.members('regress buyers')$$, ARRAY[1]::bigint[], 'and counts him no more');
SELECT ok(crm.profile_of(987654321987) IS NULL, 'nothing is known of him');

SELECT * FROM finish();

ROLLBACK;

-- Campaigns as a marketer types them: definitions, their errors, versions, pauses, migration, report.
\pset null -
\set SHOW_CONTEXT never
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET crm_marketing.now = '2026-03-02 09:00Z';
SET search_path = public, crm;
CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, ends_at date);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, amount numeric);
CREATE INDEX ON orders (user_id);
INSERT INTO users SELECT n, 'name' || n, 'u' || n || '@example.org' FROM generate_series(1, 6) AS n;
SELECT define_customers('SELECT id AS customer_id, name, email, ends_at FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, at, amount FROM public.orders');
SELECT watch('customer', 'users'), watch('order', 'orders');
SELECT count(record_consent(n, 'email')) FROM generate_series(1, 6) AS n;
SELECT set_template('thanks', 'email', '{"subject": "Thanks", "text": "Dear {{customer.name}}"}');
SELECT create_segment('buyers', 'has order');
SELECT define_code_pool('gifts', 'GIFT-####-####');
CREATE FUNCTION public.noted(customer_id bigint, run jsonb) RETURNS void LANGUAGE sql AS 'SELECT';

SELECT create_campaign('thanks', 'has order in last 1 day and in segment ''buyers''', 'count(order since entry) >= 2', holdout => 0, reentry => '3 days');
SELECT add_step('thanks', 'wait', wait => '1 hour 30 minutes'),
	   add_step('thanks', 'letter', "time" => '10:00', weekday => '{1,2,3}', channel => 'email', template => 'thanks', condition => 'email is known', otherwise => 'leave'),
	   add_step('thanks', 'tag', add_tag => 'thanked'),
	   add_step('thanks', 'half', split => '[{"arm": "a", "percent": 50}, {"arm": "b", "percent": 50, "go_to": "leave"}]'),
	   add_step('thanks', 'note', call => 'public.noted');
SELECT jsonb_pretty(campaign_to_json('thanks'));
-- there and back is the same
SELECT campaign_from_json(campaign_to_json('thanks')) IS NOT NULL AND campaign_to_json('thanks') = campaign_to_json('thanks');
SELECT rename_segment('buyers', 'everybody who bought');
SELECT campaign_to_json('thanks') ->> 'trigger';

-- what is wrong is told with its place
SELECT create_campaign('thanks', 'has order');
SELECT create_campaign('x', 'has ordr');
SELECT create_campaign('x', 'has order since entry');
SELECT create_campaign('x', 'has order', 'has order since entry', priority => 10);
SELECT create_campaign('x', 'has order', reentry => 'twice');
SELECT create_campaign(' x', 'has order');
SELECT create_campaign('x', 'has order', purpose => 'News!');
SELECT campaign_from_json(j::jsonb) FROM unnest(ARRAY[
	'[]', '{}', '{"campaign": "x"}', '{"campaign": "x", "triger": "has order"}']) AS j LIMIT 1;
SELECT campaign_from_json('{"campaign": "x", "triger": "has order"}');
SELECT campaign_from_json('{"campaign": "x"}');
SELECT campaign_from_json('{"campaign": "x", "trigger": "has order", "segment": "buyers"}');
SELECT campaign_from_json('{"campaign": "x", "segment": "buyers"}');
SELECT campaign_from_json('{"campaign": "x", "trigger": "has order and"}');
SELECT campaign_from_json('{"campaign": "x", "trigger": "has order", "steps": {}}');
CREATE FUNCTION try(step text) RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
	m text; d text; h text; s text;
BEGIN
	PERFORM crm.campaign_from_json(format('{"campaign": "x", "trigger": "has order", "steps": [{"step": "first"}, %s, {"step": "last"}]}', step)::jsonb);
	RETURN 'fine';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS s = RETURNED_SQLSTATE, m = MESSAGE_TEXT, d = PG_EXCEPTION_DETAIL, h = PG_EXCEPTION_HINT;
	RETURN concat_ws(E'\n  ', s || ': ' || m, nullif(d, ''), nullif(h, ''));
END
$f$;
\pset format unaligned
\pset tuples_only
SELECT try(s) FROM unnest(ARRAY[
	'1', '{}', '{"step": "first"}', '{"step": "leave"}', '{"step": "s", "wait": "soon"}', '{"step": "s", "wait": "-1 day"}', '{"step": "s", "wait": "11 years"}',
	'{"step": "s", "wait": "1 day", "until": "has order", "timeout": "1 day"}', '{"step": "s", "until": "has order"}', '{"step": "s", "timeout": "1 day"}',
	'{"step": "s", "until": "has order[amont > 1] since entry", "timeout": "1 day"}', '{"step": "s", "date_of": "ends"}', '{"step": "s", "date_of": "ends_at", "offset": "-3 days"}',
	'{"step": "s", "time": "25:00"}', '{"step": "s", "weekday": [8]}', '{"step": "s", "otherwise": "leave"}', '{"step": "s", "if": "city = 1", "otherwise": "leave"}',
	'{"step": "s", "go_to": "lost"}', '{"step": "s", "go_to": "lasst"}', '{"step": "s", "go_to": "first"}', '{"step": "s", "go_to": "last"}', '{"step": "s", "mesage": {}}',
	'{"step": "s", "message": {}}', '{"step": "s", "message": {"channel": "post", "template": "thanks"}}', '{"step": "s", "message": {"channel": "email", "template": "thank"}}',
	'{"step": "s", "message": {"channel": "email", "template": "thanks", "data": []}}', '{"step": "s", "message": {"channel": "email", "template": "thanks"}, "add_tag": "x"}',
	'{"step": "s", "task": {"script": "x", "assignees": []}}', '{"step": "s", "task": {"assignees": ["anna"]}}', '{"step": "s", "set": {}}', '{"step": "s", "set": {"Two words!": 1}}',
	'{"step": "s", "code": {"pool": "none"}}', '{"step": "s", "code": {"pool": "gifts"}, "otherwise": "leave"}', '{"step": "s", "add_to_audience": "none"}', '{"step": "s", "call": "public.none"}',
	'{"step": "s", "split": [{"arm": "a", "percent": 100}]}', '{"step": "s", "split": [{"arm": "a", "percent": 50}, {"arm": "b", "percent": 49}]}',
	'{"step": "s", "split": [{"arm": "a", "percent": 50}, {"arm": "a", "percent": 50}]}', '{"step": "s", "split": [{"arm": "a", "percent": 50}, {"arm": "b", "percent": 50, "go_to": "first"}]}',
	'{"step": "s", "add_tag": ""}', '{"step": "s", "message": {"channel": "email", "template": "thanks", "purpose": "News!"}}',
	'{"step": "s", "task": {"script": "x", "assignees": ["anna"], "purpose": "*"}}']) WITH ORDINALITY AS u(s, n) ORDER BY n;
\pset tuples_only off
\pset format aligned

-- life
SELECT start_campaign('thank');
SELECT start_campaign(NULL);
SELECT create_campaign('empty', 'has order') IS NOT NULL;
SELECT start_campaign('empty');
SELECT pause_campaign('thanks');
SELECT stop_campaign('thanks');
SELECT start_campaign('thanks');
SELECT start_campaign('thanks') AS nothing_new;
SELECT drop_campaign('thanks');
SELECT drop_segment('campaign thanks v1');
SELECT alter_segment('campaign thanks v1', 'has order');
CREATE PROCEDURE go(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	t record;
BEGIN
	PERFORM set_config('crm_marketing.now', instant::text, false);
	COMMIT;
	LOOP
		t := crm.tick();
		COMMIT;
		EXIT WHEN NOT t.more AND t.routed = 0;
	END LOOP;
	PERFORM crm.advance_campaigns();
	COMMIT;
END
$p$;
CREATE VIEW runs AS SELECT customer_id, version, occurrence, state, reason, step, step_at, wake_at FROM crm.run ORDER BY run_id;
CALL go('2026-03-02 09:00Z');
INSERT INTO orders (user_id, at, amount) VALUES (1, '2026-03-02 10:00Z', 10), (2, '2026-03-02 10:00Z', 20), (3, '2026-03-02 10:00Z', 30);
CALL go('2026-03-02 10:00Z');
TABLE runs;
-- once more within 3 days is none; twice since entry is the goal
INSERT INTO orders (user_id, at, amount) VALUES (1, '2026-03-02 11:00Z', 10), (2, '2026-03-02 11:00Z', 5), (2, '2026-03-02 11:10Z', 5);
CALL go('2026-03-02 11:10Z');
TABLE runs;
SELECT customer_id, step, due_at, action, channel, decision FROM dry_run('thanks', '2 days') ORDER BY customer_id, due_at;
SELECT * FROM dry_run_load('thanks', '2 days');
-- paused: nobody goes on; what was too late by then is not sent
SELECT pause_campaign('thanks');
CALL go('2026-03-03 11:00Z');
TABLE runs;
SELECT start_campaign('thanks');
CALL go('2026-03-03 11:01Z');
SELECT message_id, customer_id, address, content FROM claim_messages('email', 'me');
SELECT customer_id, state, reason FROM crm.message ORDER BY message_id;
TABLE runs;
SELECT customer_id, tag, source FROM crm.tag ORDER BY 1;
-- another version, and moving runs to it
INSERT INTO orders (user_id, at, amount) VALUES (4, '2026-03-03 12:00Z', 10);
CALL go('2026-03-03 12:00Z');
SELECT campaign_from_json(jsonb_set(campaign_to_json('thanks'), '{steps,0}', '{"step": "other", "wait": "2 hours"}')) IS NOT NULL;
SELECT start_campaign('thanks');
SELECT campaign_to_json('thanks', 1) #> '{steps,0}', campaign_to_json('thanks', 2) #> '{steps,0}';
SELECT campaign_to_json('thanks', 3);
SELECT * FROM migrate_runs('thanks');
SELECT * FROM migrate_runs('thanks', apply => true);
CALL go('2026-03-03 12:00Z');
SELECT * FROM runs WHERE customer_id = 4;
CALL go('2026-03-04 10:00Z');
SELECT message_id, customer_id FROM claim_messages('email', 'me');
SELECT ack_messages('{3}', 99), ack_messages('{3}', 2), ack_messages('{3}', 2), ack_messages(NULL, 1);
SELECT step, arm, runs, messages, sent, not_sent, goals, revenue, round(conversion::numeric, 2) AS conversion, uplift FROM campaign_report('thanks');
SELECT campaign, state, version, steps, active, ended, goals, failed FROM campaigns;
-- a segment that campaigns name is not dropped, be it by what runs, by a version that somebody is still on, or by what is drawn
SELECT create_campaign('drawn', 'has order', 'in segment ''everybody who bought'' and has order since entry') IS NOT NULL;
SELECT create_static_segment('few', '{1}') IS NOT NULL, campaign_from_json('{"campaign": "wave", "segment": "few"}') IS NOT NULL;
SELECT drop_segment('everybody who bought');
SELECT drop_segment('few');
SELECT drop_campaign('drawn'), drop_campaign('wave'), drop_segment('few');
INSERT INTO orders (user_id, at, amount) VALUES (6, '2026-03-04 10:00Z', 10);
CALL go('2026-03-04 10:00Z');
SELECT campaign_from_json(jsonb_set(campaign_to_json('thanks'), '{trigger}', '"has order in last 1 day"')) IS NOT NULL;
SELECT start_campaign('thanks');
SELECT drop_segment('everybody who bought');
-- and no more is one that a message asks for
SELECT count(*) FROM migrate_runs('thanks', apply => true);
SELECT drop_segment('everybody who bought');
SELECT send_message(1, 'email', 'thanks', condition => 'in segment ''everybody who bought''') AS message \gset
SELECT stop_campaign('thanks');
SELECT drop_segment('everybody who bought');
SELECT bury_message(:message, 'not needed', now());
SELECT drop_segment('everybody who bought');
SELECT drop_campaign('thanks'), drop_campaign('empty');
SELECT count(*) FROM crm.run;
SELECT * FROM uplift(30, 100, 10, 100), uplift(0, 0, 1, 1) AS none;

-- local time
SELECT add_in_zone('2026-03-28 18:00Z', '1 day', 'Europe/Berlin'), add_in_zone('2026-03-28 18:00Z', '24 hours', 'Europe/Berlin'), add_in_zone('2026-01-31 12:00Z', '1 month 1 hour', 'UTC');
SELECT next_local('2026-03-27 09:00Z', '10:00', NULL, 'Europe/Berlin'), next_local('2026-03-27 09:01Z', '10:00', NULL, 'Europe/Berlin'), next_local('2026-03-29 00:00Z', '02:30', NULL, 'Europe/Berlin'),
	   next_local('2026-03-27 09:01Z', NULL, '{1}', 'Europe/Berlin');
SELECT date_due('2000-02-29', '-3 days', true, '2026-03-01Z', 'UTC'), date_due('2026-05-01', '1 day', false, '2026-03-01Z', 'UTC'), date_due('2026-01-01', '0', false, '2026-03-01Z', 'UTC'), date_due('soon', '0', false, '2026-03-01Z', 'UTC');
SELECT nth_weekday(2026, 6, 3, 7), nth_weekday(2026, 6, -1, 7), nth_weekday(2026, 2, 5, 7), nth_weekday(2026, 3, 5, 7), nth_weekday(2026, 6, 0, 7);
DROP VIEW runs;
DROP PROCEDURE go;
DROP FUNCTION try, noted;
DROP TABLE users, orders CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

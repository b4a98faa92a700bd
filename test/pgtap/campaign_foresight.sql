-- A dry run and the real thing at the same instant are the same decisions; a back-test of a quarter is what a live run over that quarter, tick by
-- tick, produced; neither writes anything. Random shops.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
SET client_min_messages = warning;
SET timezone = 'UTC';
SET jit = off;
SET crm_marketing.now = '2026-01-01 00:00Z';
CREATE TABLE users (id bigint PRIMARY KEY, email text, city text);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, amount numeric, item text);
CREATE TABLE carts (id bigserial PRIMARY KEY, user_id bigint, at timestamptz);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON carts (user_id);
INSERT INTO users SELECT n, CASE WHEN n % 17 <> 0 THEN 'u' || n || '@example.org' END, (ARRAY['Perm', 'Omsk'])[1 + n % 2] FROM generate_series(1, 120) AS n;
SELECT setseed(0.42) \g /dev/null
-- all that will happen, to be put into the shop as time comes to it
CREATE TABLE future AS
	SELECT 'order' AS kind, 1 + floor(random() * 120)::bigint AS user_id, timestamptz '2026-01-01Z' + random() * interval '90 days' AS at,
		   round((random() * 100)::numeric, 2) AS amount, (ARRAY['laptop', 'mouse', 'bag'])[1 + floor(random() * 3)::int] AS item
	  FROM generate_series(1, 320)
	UNION ALL
	SELECT 'cart', 1 + floor(random() * 120)::bigint, timestamptz '2026-01-01Z' + random() * interval '90 days', NULL, NULL FROM generate_series(1, 400);
SELECT crm.configure('timezone', 'Europe/Berlin') \g /dev/null
SELECT crm.define_customers('SELECT id AS customer_id, email, city FROM users') \g /dev/null
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, amount, item FROM orders') \g /dev/null
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, at FROM carts') \g /dev/null
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts') \g /dev/null
SELECT crm.record_consent(n, 'email') FROM generate_series(1, 120) AS n WHERE n % 3 <> 0 \g /dev/null
SELECT crm.set_template(t, 'email', '{"text": "x"}') FROM unnest(ARRAY['one', 'two', 'a', 'b']) AS t \g /dev/null
SELECT crm.create_campaign('cart', 'has cart[not followed by order within 1 hour] in last 1 day and city = ''Perm''', 'has order since entry', reentry => '5 days',
						   holdout => 20) \g /dev/null
SELECT crm.add_step('cart', 'one', channel => 'email', template => 'one'),
	   crm.add_step('cart', 'again', until => 'has cart since entry', timeout => '3 days', "time" => NULL, otherwise => 'skip'),
	   crm.add_step('cart', 'two', "time" => '10:00', condition => 'count(cart) > 3', channel => 'email', template => 'two') \g /dev/null
SELECT crm.create_campaign('laptop', 'has order[item = ''laptop''] in last 1 day', 'has order[item = ''bag''] since entry') \g /dev/null
SELECT crm.campaign_from_json(jsonb_set(crm.campaign_to_json('laptop'), '{steps}', '[
	{"step": "wait", "wait": "7 days", "weekday": [1, 3, 5]},
	{"step": "ab", "split": [{"arm": "A", "percent": 40, "go_to": "a"}, {"arm": "B", "percent": 60, "go_to": "b"}]},
	{"step": "a", "message": {"channel": "email", "template": "a"}, "go_to": "leave"},
	{"step": "b", "message": {"channel": "email", "template": "b"}}]')) \g /dev/null
\ir include/campaign_tick.sql
-- What has happened by an instant
CREATE PROCEDURE happen(instant timestamptz) LANGUAGE sql AS $p$
	WITH now AS (DELETE FROM future AS f WHERE f.at <= instant RETURNING f.*), o AS (
		INSERT INTO orders (user_id, at, amount, item) SELECT n.user_id, n.at, n.amount, n.item FROM now AS n WHERE n.kind = 'order')
	INSERT INTO carts (user_id, at) SELECT n.user_id, n.at FROM now AS n WHERE n.kind = 'cart'
$p$;
CREATE PROCEDURE go(instant timestamptz) LANGUAGE plpgsql AS $p$
BEGIN
	CALL happen(instant);
	CALL tick_at(instant);
END
$p$;
CREATE PROCEDURE run_to(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	due timestamptz;
	now timestamptz;
BEGIN
	LOOP
		now := current_setting('crm_marketing.now')::timestamptz;
		due := least((SELECT min(f.at) FROM future AS f), (SELECT min(r.wake_at) FROM crm.run AS r WHERE r.state = 'active' AND r.wake_at > now),
					 (SELECT min(d.due) FROM crm.deadline AS d WHERE isfinite(d.due) AND d.due > now));
		EXIT WHEN due IS NULL OR due >= instant;
		CALL go(due);
	END LOOP;
	CALL go(instant);
END
$p$;
SELECT crm.start_campaign('cart'), crm.start_campaign('laptop') \g /dev/null
SELECT plan(12);
CALL go('2026-01-01 00:00Z');

------------------------------------------------------------------------------------------------------------------
-- The same instant: what the dry run says, and what the claim then does
------------------------------------------------------------------------------------------------------------------

CALL run_to('2026-01-20 12:00Z');
-- facts that no tick has seen
UPDATE users SET email = NULL WHERE id % 5 = 0;
CALL go('2026-01-20 12:30Z');
CREATE TABLE before AS SELECT (SELECT count(*) FROM crm.run) AS runs, (SELECT count(*) FROM crm.message) AS messages, (SELECT count(*) FROM crm.run_step) AS steps;
SELECT set_config('crm_marketing.now', '2026-01-21 11:00Z', false) \g /dev/null
CALL happen('2026-01-21 11:00Z');
CREATE TABLE said AS SELECT 'cart' AS campaign, d.* FROM crm.dry_run('cart', '0') AS d UNION ALL SELECT 'laptop', d.* FROM crm.dry_run('laptop', '0') AS d;
CREATE TABLE ahead AS SELECT d.* FROM crm.dry_run('laptop', '10 days') AS d;
SELECT is((SELECT sum(l.messages) FROM crm.dry_run_load('laptop', '10 days') AS l), (SELECT count(*)::numeric FROM ahead AS a WHERE a.decision = 'send'),
	'the load by hour is that of the dry run');
SELECT results_eq($$SELECT (SELECT count(*) FROM crm.run), (SELECT count(*) FROM crm.message), (SELECT count(*) FROM crm.run_step)$$, $$SELECT * FROM before$$,
	'a dry run writes nothing');
CREATE TABLE steps_before AS SELECT max(s.entry_id) AS entry_id FROM crm.run_step AS s;
CALL go('2026-01-21 11:00Z');
SELECT ok((SELECT array_agg(DISTINCT s.decision) FROM said AS s) @> '{send,no address,no consent}', 'there is something of all kinds to compare');
SELECT set_eq($$SELECT s.customer_id, s.campaign, s.step, s.due_at, s.action FROM said AS s$$,
	$$SELECT s.customer_id, c.campaign, s.step, s.at, s.outcome FROM crm.run_step AS s JOIN crm.campaign AS c USING (campaign_id)
	   WHERE s.entry_id > (SELECT b.entry_id FROM steps_before AS b)$$, 'the moves are those that the dry run told');
CREATE TABLE new_message AS SELECT m.* FROM crm.message AS m WHERE m.created_at = '2026-01-21 11:00Z';
SELECT count(*) FROM generate_series(1, 20) AS g CROSS JOIN LATERAL (SELECT g FROM crm.claim_messages('email', max => 500)) AS c \g /dev/null
SELECT set_eq($$SELECT s.customer_id, s.campaign, s.step, s.decision FROM said AS s WHERE s.action = 'message' AND s.decision <> 'holdout'$$,
	$$SELECT m.customer_id, m.campaign, m.step, CASE WHEN m.state = 'suppressed' THEN m.reason WHEN o.token IS NOT NULL THEN 'send' ELSE coalesce(o.reason, 'queued') END
	    FROM crm.message AS m LEFT JOIN crm.outbox AS o USING (message_id) WHERE m.message_id IN (SELECT n.message_id FROM new_message AS n)$$,
	'and the claim decides what it had told');

------------------------------------------------------------------------------------------------------------------
-- The quarter: back-test and live run
------------------------------------------------------------------------------------------------------------------

CALL run_to('2026-04-01 00:00Z');
SELECT is((SELECT count(*) FROM crm.tick_error), 0::bigint, 'a quarter, tick by tick, without an error');
SELECT is((SELECT count(*) FROM crm.run AS r WHERE r.error IS NOT NULL), 0::bigint, 'of any run');
SELECT ok((SELECT count(*) FROM crm.run_step AS s WHERE s.outcome = 'message') > 100, 'many messages');
SELECT ok((SELECT count(DISTINCT s.outcome) FROM crm.run_step AS s) >= 6, 'and all kinds of ends');
UPDATE users SET email = 'u' || id || '@example.org' WHERE id % 5 = 0 AND id % 17 <> 0;
SELECT set_eq($$SELECT b.customer_id, b.entry, b.held, b.step, b.arm, b.at, b.action FROM crm.backtest('cart', '2026-01-01Z', '2026-04-01Z') AS b WHERE b.action <> 're-entry'$$,
	$$SELECT s.customer_id, r.entry, r.held, s.step, s.arm, s.at, s.outcome
	    FROM crm.run_step AS s JOIN crm.run AS r USING (customer_id, run_id) JOIN crm.campaign AS c ON c.campaign_id = s.campaign_id WHERE c.campaign = 'cart'$$,
	'the back-test of the cart campaign is what happened');
SELECT set_eq($$SELECT b.customer_id, b.entry, b.held, b.step, b.arm, b.at, b.action FROM crm.backtest('laptop', '2026-01-01Z', '2026-04-01Z') AS b$$,
	$$SELECT s.customer_id, r.entry, r.held, s.step, s.arm, s.at, s.outcome
	    FROM crm.run_step AS s JOIN crm.run AS r USING (customer_id, run_id) JOIN crm.campaign AS c ON c.campaign_id = s.campaign_id WHERE c.campaign = 'laptop'$$,
	'and that of the other, arms included');
SELECT results_eq($$SELECT r.runs > 0 AND r.goals <= r.runs AND r.uplift BETWEEN r.uplift_low AND r.uplift_high FROM crm.campaign_report('cart') AS r WHERE r.arm = 'all'$$,
	$$VALUES (true)$$, 'the report has both groups, and the uplift in its interval');
SELECT * FROM finish();
DROP EXTENSION crm_marketing CASCADE;

-- A sender's session keeps its plans, and may have made them when the tables were as good as empty: then a campaign comes. What is
-- handed out, said and put back is found by indexes all the same.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
SET client_min_messages = warning;
SET timezone = 'UTC';
SET crm_marketing.now = '2026-03-02 09:00Z';
CREATE EXTENSION IF NOT EXISTS pgtap;
SELECT plan(13);

CREATE TABLE users (id bigint PRIMARY KEY, name text);
CREATE TABLE orders (user_id bigint NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ON orders (user_id);
INSERT INTO users SELECT n, 'name' FROM generate_series(1, 20000) AS n;
SELECT crm.define_customers('SELECT id AS customer_id, name FROM users'),
	   crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders'),
	   crm.set_template('hello', 'email', '{"text": "Hi {{customer.name}}"}'), crm.create_guard('on', goal => 'has order since entry', holdout => 5),
	   crm.create_guard('paused'), crm.set_guard_state(2, 'paused'), crm.set_cap('weekly', 2, per => '7 days'), crm.set_cap('daily', 1, calendar => 'day'),
	   crm.set_channel_rule('email', '22:00', '08:00', max_attempts => 2),
	   crm.set_contact(1, 'email', '1@example.org'), crm.record_consent(1, 'email') \g /dev/null
VACUUM ANALYZE;

CREATE FUNCTION claim(OUT token bigint, OUT ids bigint[]) LANGUAGE sql AS $f$
	SELECT crm.forget_positions(); SELECT c.token, array_agg(c.message_id) FROM crm.claim_messages('email', 'me') AS c GROUP BY 1
$f$;
-- some go, some not, some later; and each is said to be sent, or not, or is put back, or forgotten
CREATE FUNCTION go() RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
	first record;
	second record;
BEGIN
	first := claim();
	PERFORM crm.ack_messages(first.ids[1:1], first.token, '{p}'), crm.ack_messages(first.ids[2:2], first.token);
	PERFORM crm.nack_message(first.ids[3], first.token, 'busy');
	PERFORM crm.release_messages(first.ids[4:4], first.token);
	second := claim();
	PERFORM crm.expire_leases('2026-03-02 10:00Z');
	PERFORM crm.redrive_messages(first.ids[5:6], first.token);
	PERFORM crm.cancel_messages(1, 1, 'test');
END
$f$;
CREATE FUNCTION enqueue(first int, last int) RETURNS void LANGUAGE sql AS $f$
	SELECT count(crm.enqueue_message(n, 'email', 'hello', priority => CASE WHEN n % 10 = 9 THEN 6 ELSE 5 END, guard_id => CASE n % 10 WHEN 7 THEN 2 ELSE 1 END,
									 run_id => n, step => 'a', entry => crm.now(), useful_until => CASE n % 10 WHEN 8 THEN crm.now() - interval '1 hour' END,
									 condition => 'no order'))
	  FROM generate_series(first, last) AS n
$f$;
-- the plans: those that others make, too; PL/pgSQL settles upon its own after some times
SELECT crm.newest_template('hello', 'email'), crm.contact_states('{1}'), crm.contact_rows('{1}'), crm.profile_of(1),
	   crm.decide(ARRAY[ROW(1, 1, 1, true, 'email', 'marketing', false, 5, crm.now(), NULL, 1, crm.now(), NULL, NULL, NULL, NULL, NULL, NULL, NULL)::crm.claim_item], crm.now()) \g /dev/null
INSERT INTO crm.contact SELECT id, 'email', id || '@example.org', 'given', now() FROM users WHERE id BETWEEN 2 AND 100;
INSERT INTO crm.consent (customer_id, channel, purpose, granted, at, source) SELECT id, 'email', 'marketing', true, '2026-01-01Z', 'given' FROM users WHERE id BETWEEN 2 AND 100;
VACUUM ANALYZE;
DO $$
BEGIN
	FOR i IN 0 .. 9 LOOP
		PERFORM enqueue(1 + 10 * i, 10 + 10 * i), go();
	END LOOP;
	DELETE FROM crm.outbox; DELETE FROM crm.lease; DELETE FROM crm.message;
END $$;

-- the campaign, and a list of those who are not to be written to
INSERT INTO crm.contact SELECT id, 'email', id || '@example.org', 'given', now() FROM users WHERE id > 100;
INSERT INTO crm.consent (customer_id, channel, purpose, granted, at, source) SELECT id, 'email', 'marketing', true, '2026-01-01Z', 'given' FROM users WHERE id > 100;
INSERT INTO crm.suppression SELECT sha256(n::text::bytea), 'email', now() FROM generate_series(1, 20000) AS n;
INSERT INTO crm.alias SELECT n + 20000, n, n, now(), now() FROM generate_series(10001, 20000) AS n;
INSERT INTO crm.erased_customer SELECT n + 40000, now() FROM generate_series(1, 20000) AS n;
INSERT INTO crm.lease SELECT 'email', '2026-03-02 11:00Z', -n, '{1}' FROM generate_series(1, 20000) AS n;
SELECT enqueue(1, 20000) \g /dev/null
BEGIN;
CREATE TEMP TABLE before AS SELECT relname, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_xact_all_tables WHERE schemaname = 'crm';
SELECT go() \g /dev/null
SELECT cmp_ok(s.seq_tup_read + coalesce(s.idx_tup_fetch, 0) - b.read, '<', 10000::bigint, format('rows of %s are found by an index', t))
  FROM unnest('{alias,channel,consent,contact,erased_customer,guard,identity,lease,message,outbox,suppression,template}'::name[]) AS t
  JOIN before AS b ON b.relname = t
  JOIN pg_stat_xact_all_tables AS s ON s.schemaname = 'crm' AND s.relname = t
 ORDER BY t;
SELECT cmp_ok(count(*), '>', 50::bigint, 'some were handed out') FROM crm.outbox AS o WHERE o.handed_at IS NOT NULL;
COMMIT;
SELECT * FROM finish();

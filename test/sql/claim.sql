-- The outbox as a shop and its sender type it: what is put in, what is handed out and what is not, and what becomes of it.
\pset null -
\set SHOW_CONTEXT never
\set VERBOSITY default
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET client_min_messages = warning;
SET crm_marketing.now = '2026-03-02 09:00Z';
SET search_path = public, crm;
CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, phone text, timezone text);
CREATE TABLE orders (user_id bigint, at timestamptz);
CREATE TABLE carts (user_id bigint, at timestamptz);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON carts (user_id);
INSERT INTO users SELECT n, 'name' || n, 'u' || n || '@example.org', '+4915112345' || 100 + n FROM generate_series(1, 30) AS n;
SELECT define_customers('SELECT id AS customer_id, name, email, phone, timezone FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, at FROM public.orders');
SELECT define_event('cart', 'SELECT user_id AS customer_id, at FROM public.carts');
SELECT refresh_identities();
SELECT count(record_consent(n, 'email')), count(record_consent(n, 'sms')) FROM generate_series(1, 30) AS n;
SELECT set_template('hello', 'email', '{"subject": "Hello {{customer.name}}", "text": "{{greeting}} {{message.id}}"}'), set_template('hello', 'sms', '{"text": "Hi"}'),
	   set_template('bad', 'email', '{"text": "x"}');
-- What is in the outbox, and what became of messages
CREATE VIEW waiting AS SELECT message_id, channel, lane, due_at, attempts, token, worker, handed_at, leased_until, reason FROM crm.outbox ORDER BY message_id;
CREATE VIEW told AS SELECT message_id, customer_id AS customer, state, reason, handed_at, finished_at, token, provider_id FROM crm.message ORDER BY message_id;
-- Time goes back and forth here, so the session is not to remember where it found the first message
CREATE FUNCTION claim(channel text DEFAULT 'email', at timestamptz DEFAULT crm.now(), max int DEFAULT 100) RETURNS TABLE (message_id bigint, token bigint, customer bigint, attempt int)
	LANGUAGE sql AS 'SELECT crm.forget_positions(); SELECT c.message_id, c.token, c.customer_id, c.attempt FROM crm.claim_messages(channel, ''me'', max, at => at) AS c';
CREATE FUNCTION expire(at timestamptz) RETURNS int LANGUAGE sql AS 'SELECT crm.forget_positions(); SELECT crm.expire_leases(at)';
-- A new start
CREATE PROCEDURE fresh() LANGUAGE sql AS $p$
	DELETE FROM crm.outbox; DELETE FROM crm.lease; DELETE FROM crm.message; DELETE FROM crm.delivery; DELETE FROM crm.cap; DELETE FROM crm.channel_rule; DELETE FROM crm.handed; DELETE FROM crm.guard;
	SELECT setval('crm.message_id_seq', 1, false), setval('crm.claim_token_seq', 1, false), setval('crm.guard_id_seq', 1, false);
	SELECT set_config('crm_marketing.now', '2026-03-02 09:00Z', false);
	SELECT crm.forget_positions();
$p$;

-- what is wrong is said
SELECT send_message(NULL, 'email', 'hello');
SELECT send_message(1, NULL, 'hello');
SELECT send_message(1, 'email', NULL);
SELECT send_message(1, 'email', 'hello', purpose => NULL);
SELECT send_message(1, 'fax', 'hello');
SELECT send_message(1, 'email', 'helo');
SELECT send_message(1, 'email', 'hello', priority => 10);
SELECT send_message(1, 'email', 'hello', priority => -1);
SELECT send_message(1, 'email', 'hello', '[]');
SELECT send_message(1, 'email', 'hello', due_at => 'infinity');
SELECT send_message(1, 'email', 'hello', condition => 'has ordr');
SELECT send_message(1, 'email', 'hello', condition => 'in segment ''nobody''');
SELECT send_message(1, 'email', 'hello', useful_for => '300000 years');
SELECT send_message(1, 'email', 'hello', purpose => 'Two Words');
SELECT claim_messages(NULL);
SELECT claim_messages('fax');
SELECT claim_messages('email', max => 0);
SELECT claim_messages('email', max => 501);
SELECT claim_messages('email', max => NULL);
SELECT claim_messages('email', at => 'infinity');
SELECT claim_messages('email', at => '294276-12-31');
SELECT claim_messages('email', at => NULL);
SELECT claim_messages('email', lease => '0.5 seconds');
SELECT claim_messages('email', lease => '25 hours');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT claim_messages('email');
ROLLBACK;
SELECT ack_messages('{1}', 1, at => NULL);
SELECT set_cap(NULL, 1, '1 day');
SELECT set_cap('x', NULL, '1 day');
SELECT set_cap('x', 1);
SELECT set_cap('x', 1, '1 day', 'day');
SELECT set_cap('x', -1, '1 day');
SELECT set_cap('x', 1, '0');
SELECT set_cap('x', 1, '2 years');
SELECT set_cap('x', 1, calendar => 'year');
SELECT set_cap('x', 1, '1 day', channels => '{fax}');
SELECT set_cap('x', 1, '1 day', channels => '{NULL}');
SELECT drop_cap('x'), drop_cap(NULL);
SELECT set_channel_rule('fax');
SELECT set_channel_rule(NULL);
SELECT set_channel_rule('email', quiet_from => '21:00');
SELECT set_channel_rule('email', quiet_from => '21:00', quiet_to => '21:00');
SELECT set_channel_rule('email', rate => 0);
SELECT set_channel_rule('email', rate => 1, rate_per => '2 days');
SELECT set_channel_rule('email', rate => 1, rate_per => NULL);
SELECT set_channel_rule('email', lease => '0.5 seconds');
SELECT set_channel_rule('email', lease => NULL);
SELECT set_channel_rule('email', max_attempts => 0);
SELECT set_channel_rule('email', retry_after => '-1 second');
SELECT set_channel_rule('email', on_expiry => 'forget');
SELECT count(*) FROM crm.message;

-- a message, from the transaction of an order
CALL fresh();
BEGIN;
SELECT send_message(1, 'email', 'hello', '{"greeting": "rolled back"}');
ROLLBACK;
SELECT send_message(1, 'email', 'hello', '{"greeting": "Welcome"}', message_key => 'order 1') AS first,
	   send_message(1, 'email', 'hello', message_key => 'order 1') AS again, send_message(2, 'email', 'hello', NULL, message_key => 'order 1') AS other;
SELECT * FROM waiting;
SELECT * FROM claim_messages('email', 'me', 1);
SELECT * FROM claim_messages('email');
SELECT * FROM claim_messages('email');
SELECT * FROM waiting;
SELECT ack_messages('{2,2,77}', 1, '{p-2,p-2,p-77}'), ack_messages('{2}', 1), ack_messages('{3}', 1), ack_messages(NULL, NULL), ack_messages('{3}', NULL), ack_messages('{}', 2);
SELECT * FROM waiting;
SELECT * FROM told;
SELECT customer_id, at, channel, purpose, template FROM crm_feed.message;

-- priorities, and what is not due
CALL fresh();
SELECT send_message(n, 'email', 'hello', priority => p, due_at => '2026-03-02 09:00Z'::timestamptz + d::interval)
  FROM (VALUES (1, 1, '-3 hours'), (2, 9, '-1 hour'), (3, 9, '-2 hours'), (4, 9, '1 second'), (5, 5, '0'), (6, 0, '-1 day')) AS v(n, p, d);
SELECT customer FROM claim(max => 3);
SELECT customer FROM claim();
SELECT customer FROM claim(at => '2026-03-02 09:00:01Z');

-- every reason why not
CALL fresh();
UPDATE users SET email = NULL WHERE id = 2;
SELECT refresh_identities();
SELECT unsubscribe(3, 'email', 'marketing');
SELECT suppress_address('email', 'u4@example.org', 'bounce');
INSERT INTO orders VALUES (5, '2026-03-02 08:30Z'), (7, '2026-03-01 08:30Z');
INSERT INTO carts SELECT n, '2026-03-02 06:00Z' FROM generate_series(1, 12) AS n;
SELECT define_code_pool('gifts', 'GIFT-####-####');
SELECT count(take_code('gifts', n, 'test')) FROM generate_series(8, 9) AS n;
SELECT redeem_code((SELECT c.code FROM crm.promo_code AS c ORDER BY c.code_id LIMIT 1)) IS NOT NULL AS redeemed;
SELECT create_guard('cart', 'has cart[not followed by order within 1 hour] in last 1 day', 'has order since entry') AS plain,
	   create_guard('held', holdout => 100) AS held, create_guard('off') AS off, create_guard('later') AS later;
SELECT set_guard_state(3, 'stopped'), set_guard_state(4, 'paused');
CREATE FUNCTION offer(customer bigint, why text, transactional boolean, guard int DEFAULT 1, code text DEFAULT NULL, condition predicate DEFAULT NULL, useful_until timestamptz DEFAULT NULL,
					  event_at timestamptz DEFAULT '2026-03-02 06:00Z') RETURNS bigint LANGUAGE sql AS $f$
	SELECT crm.enqueue_message(customer, 'email', 'hello', purpose => CASE WHEN transactional THEN 'service' ELSE 'marketing' END, transactional => transactional, guard_id => guard,
							   step => why, code => code, entry => event_at + interval '1 hour', event_kind => 'cart', event_at => event_at, condition => condition,
							   useful_until => useful_until) $f$;
SELECT offer(c, why, t, guard, code, condition::predicate, until::timestamptz, event)
  FROM (VALUES (1, 1, 'goes', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'::timestamptz), (2, 2, 'no address', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'), (3, 3, 'no consent', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'),
			   (4, 4, 'suppressed', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'), (5, 5, 'goal', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'), (6, 6, 'void', 1, NULL, NULL, NULL, '2026-03-02 05:00Z'),
			   (7, 7, 'condition', 1, NULL, 'no order', NULL, '2026-03-02 06:00Z'), (8, 8, 'code', 1, (SELECT c.code FROM crm.promo_code AS c ORDER BY c.code_id LIMIT 1), NULL, NULL, '2026-03-02 06:00Z'),
			   (9, 9, 'goes', 1, (SELECT c.code FROM crm.promo_code AS c ORDER BY c.code_id DESC LIMIT 1), NULL, NULL, '2026-03-02 06:00Z'), (10, 10, 'late', 1, NULL, NULL, '2026-03-02 08:59Z', '2026-03-02 06:00Z'),
			   (11, 11, 'goes', 1, NULL, NULL, '2026-03-02 09:00Z', '2026-03-02 06:00Z'), (12, 12, 'holdout', 2, NULL, NULL, NULL, '2026-03-02 06:00Z'), (13, 12, 'stopped', 3, NULL, NULL, NULL, '2026-03-02 06:00Z'),
			   (14, 12, 'paused', 4, NULL, NULL, NULL, '2026-03-02 06:00Z'), (15, 99, 'no address', 1, NULL, NULL, NULL, '2026-03-02 06:00Z'))
	   AS v(n, c, why, guard, code, condition, until, event)
 CROSS JOIN (VALUES (false), (true)) AS t(t)
 ORDER BY t, n;
SELECT m.message_id, m.step, m.transactional FROM claim() AS c JOIN crm.message AS m USING (message_id) ORDER BY 1;
SELECT m.step, m.transactional, m.state, m.reason, o.due_at, o.reason FROM crm.message AS m LEFT JOIN crm.outbox AS o USING (message_id) WHERE m.step <> 'goes' ORDER BY m.message_id;
-- a customer who is known no more, with an address that was given
SELECT set_contact(40, 'email', 'u40@example.org') IS NULL AS none;
SELECT send_message(40, 'email', 'hello', condition => 'no order');
SELECT customer FROM claim();
SELECT state, reason FROM crm.message WHERE customer_id = 40;
-- a pause ends: what waited for it goes; what is of no use any more by then, does not
SELECT offer(12, 'in time', true, 4, useful_until => '2026-03-02 09:30Z'), offer(12, 'too late', true, 4, useful_until => '2026-03-02 09:09Z'), offer(12, 'now or never', true, 4, useful_until => '2026-03-02 09:00Z');
SELECT customer FROM claim();
SELECT m.step, m.state, m.reason, o.due_at, o.reason FROM crm.message AS m LEFT JOIN crm.outbox AS o USING (message_id) WHERE m.guard_id = 4 ORDER BY m.message_id;
SET crm_marketing.now = '2026-03-02 09:10Z';
SELECT set_guard_state(4, 'on');
SELECT customer FROM claim();
SET crm_marketing.now = '2026-03-02 09:00Z';
-- all are held out
SELECT configure('holdout', '100');
SELECT send_message(1, 'email', 'hello', purpose => 'marketing', transactional => false), send_message(1, 'email', 'hello');
SELECT customer FROM claim();
SELECT configure('holdout', '0');
SELECT reason FROM crm.message ORDER BY message_id DESC LIMIT 2;

-- templates: one that cannot be filled or is not there any more keeps no other
CALL fresh();
SELECT send_message(1, 'email', 'bad'), send_message(2, 'email', 'hello', '{"greeting": "Hi"}'), send_message(1, 'email', 'hello', language => 'de-AT'), send_message(6, 'email', 'hello');
UPDATE crm.template SET parts = '{"text": "{{#open}}"}' WHERE template = 'bad';
UPDATE users SET email = 'u2@example.org' WHERE id = 2;
SELECT refresh_identities();
SELECT set_template('hello', 'email', '{"text": "Hallo {{customer.name}}"}', 'de');
SELECT message_id, customer_id, address, content, attempt FROM claim_messages('email');
SELECT drop_template('hello');
SELECT set_template('hello', 'email', '{"subject": "Hello", "text": "again"}');
SELECT send_message(7, 'sms', 'hello');
SELECT enqueue_message(7, 'sms', 'hello', transactional => true), enqueue_message(7, 'sms', 'never', transactional => true);
SELECT * FROM claim('sms');
SELECT * FROM told;
SELECT set_template('hello', 'sms', '{"text": "Hi"}');

-- failures: back-off, dead letters, another try
CALL fresh();
SELECT set_channel_rule('email', max_attempts => 4, retry_after => '10 minutes');
SELECT send_message(1, 'email', 'hello'), send_message(5, 'email', 'hello', priority => 3);
SELECT * FROM claim();
SELECT nack_message(1, 2, 'stale'), nack_message(99, 1), nack_message(NULL, NULL), nack_message(1, 1, 'busy'), nack_message(1, 1, 'busy'), nack_message(2, 1, 'no such box', permanent => true);
SELECT * FROM waiting;
SELECT * FROM told;
SELECT * FROM claim(at => '2026-03-02 09:09:59Z');
SELECT * FROM claim(at => '2026-03-02 09:10Z');
SELECT nack_message(1, 2, at => '2026-03-02 09:10Z');
SELECT * FROM waiting;
SELECT * FROM claim(at => '2026-03-02 09:30Z');
SELECT nack_message(1, 3, 'soon', '5 seconds', at => '2026-03-02 09:30Z');
SELECT * FROM claim(at => '2026-03-02 09:30:05Z');
SELECT nack_message(1, 4, 'the last', '5 seconds', at => '2026-03-02 09:30:05Z');
SELECT * FROM told;
SELECT redrive('email', since => '2026-03-02 09:30Z'), redrive_messages('{2,2,77}'), redrive_messages('{2}'), redrive_messages(NULL), redrive(NULL);
SELECT * FROM waiting;
SELECT * FROM claim();
SELECT ack_messages('{1,2}', 5);
SELECT redrive_messages('{1,2}');
SELECT state, reason, count(*) FROM crm.message GROUP BY 1, 2;

-- leases that run out
CALL fresh();
SELECT set_channel_rule('email', lease => '1 minute', max_attempts => 2);
SELECT send_message(1, 'email', 'hello'), send_message(5, 'email', 'hello'), send_message(6, 'email', 'hello');
SELECT * FROM claim();
SELECT expire_leases('2026-03-02 09:00:59Z'), expire_leases('2026-03-02 09:01Z', 'sms'), expire_leases('2026-03-02 09:01Z'), expire_leases('2026-03-02 09:01Z');
SELECT * FROM told;
SELECT message_id, token, customer_id, handed_at FROM unknown_messages('email');
SELECT count(*) FROM unknown_messages('sms');
SELECT * FROM claim(at => '2026-03-02 10:00Z');
SELECT nack_message(1, 1), ack_messages('{1,2}', 2), ack_messages('{1}', 1, '{p-1}', '2026-03-02 09:05Z'), ack_messages('{1}', 1), redrive_messages('{1,2}'), ack_messages('{2}', 1);
SELECT * FROM told;
SELECT * FROM claim(at => '2026-03-02 10:00Z');
SELECT ack_messages('{2}', 1), ack_messages('{2}', 2);
SELECT crm.forget_positions();
SELECT redrive('email', 'unknown'), redrive('email', 'sent'), redrive('email', 'queued');
SELECT * FROM claim();
-- where the provider knows repeats, it is tried again, as often as the rule says
SELECT set_channel_rule('email', lease => '1 minute', max_attempts => 2, on_expiry => 'retry');
SELECT expire('2026-03-02 09:01Z');
SELECT * FROM waiting;
SELECT * FROM claim(at => '2026-03-02 09:01Z');
SELECT expire('2026-03-02 09:02Z');
SELECT * FROM waiting;
SELECT * FROM told;
-- it may have been sent, also when it is given back after that, or could not be sent, or is given up
CALL fresh();
SELECT set_channel_rule('email', lease => '1 minute', on_expiry => 'retry'), set_cap('one', 1, '7 days');
SELECT enqueue_message(1, 'email', 'hello');
SELECT count(*) FROM claim();
SELECT expire('2026-03-02 09:01Z'), enqueue_message(1, 'email', 'hello', priority => 9);
SELECT count(*) FROM claim(at => '2026-03-02 09:01Z');
SELECT message_id, token FROM crm.outbox WHERE token IS NOT NULL \gset
SELECT release_messages(ARRAY[:message_id], :token);
SELECT message_id, attempts, handed_at FROM waiting WHERE message_id = :message_id;
SELECT message_id, token FROM claim(at => '2026-03-02 09:01Z') \gset
SELECT nack_message(:message_id, :token, 'busy', '0', at => '2026-03-02 09:01Z');
SELECT message_id, attempts, handed_at FROM waiting WHERE message_id = :message_id;
SELECT * FROM claim(at => '2026-03-02 09:02Z') AS c WHERE c.message_id <> :message_id;
SELECT nack_message(:message_id, (SELECT o.token FROM crm.outbox AS o WHERE o.message_id = :message_id), 'no such address', permanent => true, at => '2026-03-02 09:02Z');
SELECT state, reason, handed_at FROM told WHERE message_id = :message_id;
SELECT * FROM claim(at => '2026-03-02 09:10Z');
-- it may have been sent, and keeps its place under a cap; the next one has none
CALL fresh();
SELECT set_channel_rule('email', lease => '1 minute', on_expiry => 'retry'), set_cap('one', 1, '7 days');
SELECT enqueue_message(1, 'email', 'hello');
SELECT * FROM claim();
SELECT expire('2026-03-02 09:01Z');
SELECT enqueue_message(1, 'email', 'hello', priority => 9);
SELECT * FROM claim(at => '2026-03-02 09:01Z');
SELECT * FROM waiting;
-- decided against after that, it still may have been sent
SELECT create_guard('letter', goal => 'has order in last 2 hours');
SELECT enqueue_message(6, 'email', 'hello', guard_id => 1);
SELECT * FROM claim(at => '2026-03-02 09:01Z');
SELECT expire('2026-03-02 09:02Z');
INSERT INTO orders VALUES (6, '2026-03-02 09:01Z');
SELECT enqueue_message(6, 'email', 'hello');
SELECT * FROM claim(at => '2026-03-02 09:02Z');
SELECT message_id, state, reason, handed_at FROM told WHERE customer = 6;
SELECT due_at, reason FROM waiting WHERE message_id = 4;
-- it counts, until it counts no more
SELECT * FROM claim(at => '2026-03-09 09:00:59Z');
SELECT * FROM claim(at => '2026-03-09 09:01Z');

-- caps
CALL fresh();
SELECT set_cap('weekly', 3, '7 days'), set_cap('sms', 1, '1 day', channels => '{sms}');
SELECT enqueue_message(8, 'email', 'hello', priority => n) FROM generate_series(0, 4) AS n;
SELECT enqueue_message(8, 'sms', 'hello', priority => 9), enqueue_message(8, 'sms', 'hello', priority => 8), enqueue_message(8, 'email', 'hello', transactional => true, priority => 0);
-- what is due for others counts, what is about orders does not
SELECT * FROM claim();
SELECT * FROM claim('sms');
SELECT * FROM waiting;
SELECT * FROM claim(at => '2026-03-02 09:01Z');
SELECT * FROM claim('sms', at => '2026-03-02 09:01Z');
SELECT * FROM waiting;
-- what was not sent gives its place back
SELECT nack_message(6, 2, 'no such number', permanent => true);
SELECT enqueue_message(8, 'sms', 'hello', priority => 0, due_at => '2026-03-02 09:02Z', useful_until => '2026-03-02 10:00Z') AS late,
	   enqueue_message(8, 'email', 'hello', priority => 1, due_at => '2026-03-02 09:02Z', useful_until => '2026-03-02 10:00Z') AS goes;
SELECT * FROM claim(at => '2026-03-02 09:02Z');
SELECT * FROM claim('sms', at => '2026-03-02 09:03Z');
SELECT ack_messages('{4,5,8}', 1), ack_messages('{10}', 3), ack_messages('{10}', 2);
SELECT * FROM waiting;
SELECT message_id, customer, state, reason, handed_at FROM told;
-- a week later there is room again, of each as much as has become free
SELECT * FROM claim(at => '2026-03-09 09:00Z');
SELECT * FROM claim('sms', at => '2026-03-09 09:02Z');
SELECT * FROM waiting;
-- none at all, until it is thought better of
CALL fresh();
SELECT set_cap('none', 0, '1 day', purposes => '{marketing}');
SELECT enqueue_message(9, 'email', 'hello'), send_message(9, 'email', 'hello');
SELECT * FROM claim();
SELECT due_at, reason FROM waiting WHERE token IS NULL;
SELECT drop_cap('none');
SELECT * FROM claim(at => '2026-03-03 08:59:59Z');
SELECT * FROM claim(at => '2026-03-03 09:00Z');
-- by the calendar of the customer
CALL fresh();
UPDATE users SET timezone = CASE id WHEN 10 THEN 'Pacific/Auckland' WHEN 11 THEN 'America/Los_Angeles' WHEN 12 THEN 'Nowhere/Town' END WHERE id IN (10, 11, 12);
SELECT set_cap('daily', 1, calendar => 'day');
SELECT enqueue_message(c, 'email', 'hello') FROM unnest(ARRAY[10, 11, 12]) AS c, generate_series(1, 2);
SELECT * FROM claim();
SELECT * FROM claim(at => '2026-03-02 09:01Z');
SELECT m.customer_id, o.due_at, o.reason FROM crm.outbox AS o JOIN crm.message AS m USING (message_id) WHERE o.token IS NULL ORDER BY 1;
SELECT set_cap('daily', 1, calendar => 'week');
SELECT * FROM claim(at => '2026-03-03 08:00Z');
SELECT m.customer_id, o.due_at, o.reason FROM crm.outbox AS o JOIN crm.message AS m USING (message_id) WHERE o.token IS NULL ORDER BY 1;
SELECT set_cap('daily', 1, calendar => 'month');
SELECT * FROM claim(at => '2026-03-09 07:00Z');
SELECT m.customer_id, o.due_at, o.reason FROM crm.outbox AS o JOIN crm.message AS m USING (message_id) WHERE o.token IS NULL ORDER BY 1;

-- quiet hours, over midnight, in the customer's zone
CALL fresh();
SELECT set_channel_rule('email', quiet_from => '21:00', quiet_to => '08:00');
SELECT enqueue_message(c, 'email', 'hello') FROM unnest(ARRAY[9, 10, 11, 12]) AS c;
SELECT enqueue_message(11, 'email', 'hello', useful_until => '2026-03-02 15:59:59Z'), send_message(11, 'email', 'hello');
SELECT * FROM claim();
SELECT m.customer_id, m.state, m.reason, o.due_at, o.reason FROM crm.message AS m LEFT JOIN crm.outbox AS o USING (message_id) WHERE o.token IS NULL ORDER BY 1;
-- when the clocks change: 02:30 is not there in the morning of 29 March, and twice on 25 October
SELECT at, quiet_until(at::timestamptz, f, t, 'Europe/Berlin')
  FROM (VALUES ('2026-03-28 19:59Z', '21:00'::time, '02:30'::time), ('2026-03-28 20:00Z', '21:00', '02:30'), ('2026-03-29 00:59Z', '21:00', '02:30'), ('2026-03-29 01:30Z', '21:00', '02:30'),
			   ('2026-10-24 19:00Z', '21:00', '02:30'), ('2026-10-25 00:30Z', '21:00', '02:30'), ('2026-10-25 01:29Z', '21:00', '02:30'), ('2026-10-25 01:30Z', '21:00', '02:30'),
			   ('2026-03-29 00:30Z', '01:30', '02:30'), ('2026-03-29 01:30Z', '01:30', '02:30'), ('2026-03-02 12:00Z', '13:00', '14:00'), ('2026-03-02 13:00Z', '13:00', '14:00'),
			   ('2026-03-02 22:30Z', '23:00', '24:00'), ('2026-03-02 23:00Z', '23:00', '24:00'), (NULL, '13:00', '14:00')) AS v(at, f, t);

-- rates
CALL fresh();
SELECT set_channel_rule('email', rate => 3, rate_per => '1 minute');
SELECT count(send_message(n, 'email', 'hello')) FROM generate_series(5, 12) AS n;
SELECT * FROM claim(max => 2);
SELECT * FROM claim();
SELECT * FROM claim(at => '2026-03-02 09:00:59Z');
SELECT * FROM claim(at => '2026-03-02 09:01Z');

-- what providers tell, in any order
CALL fresh();
SELECT send_message(n, 'email', 'hello') FROM generate_series(13, 17) AS n;
SELECT count(*) FROM claim();
SELECT ack_messages('{1,2,3,4,5}', 1, '{a,b}');
SELECT record_delivery(1, 'seen');
SELECT record_delivery(1, NULL);
SELECT record_delivery(1, 'open', NULL);
SELECT record_delivery(1, 'open', 'infinity');
SELECT record_delivery(99, 'open'), record_delivery(NULL, 'open');
SELECT record_delivery(1, 'click', '2026-03-02 09:05Z', detail => '{"url": "https://shop.example/a"}'), record_delivery(1, 'click', '2026-03-02 09:05Z'), record_delivery(1, 'delivered', '2026-03-02 09:01Z', 'k1'),
	   record_delivery(1, 'delivered', '2026-03-02 09:02Z', 'k1'), record_delivery(1, 'open', '2026-03-02 09:04Z', 'k1'), record_delivery(1, 'open', '2026-03-02 09:04Z', 'k2');
SELECT message_id, kind, provider_key, at, detail FROM crm.delivery ORDER BY at, provider_key;
SELECT customer_id, at, url FROM crm_feed.click;
SELECT record_delivery(2, 'bounce', provider_key => 'b', detail => '{"type": "soft"}'), record_delivery(3, 'bounce', provider_key => 'b', detail => '{"type": "hard"}'), record_delivery(3, 'bounce', provider_key => 'b', detail => '{"type": "hard"}'),
	   record_delivery(4, 'complaint'), record_delivery(4, 'open'), record_delivery(5, 'unsubscribe', detail => '{"by": "link"}'), record_delivery(5, 'unsubscribe');
SELECT record_delivery(2, 'bounce', provider_key => 'c', detail => '{"type": "hard", "address": "nobody"}');
SELECT record_delivery(2, 'bounce', provider_key => 'c', detail => '{"type": "hard", "address": "Old@example.org"}');
SELECT send_message(n, 'email', 'hello') FROM generate_series(13, 17) AS n;
SELECT * FROM claim();
SELECT message_id, customer, state, reason FROM told WHERE message_id > 5;
SELECT channel, purpose, granted, source, proof FROM crm.consent WHERE customer_id = 17 ORDER BY at, granted;
-- deleted after a time, with what was told
SELECT drop_messages_before('2026-03-02 09:00Z'), drop_messages_before('2026-03-02 09:00:01Z');
SELECT count(*) FROM crm.delivery;
SELECT message_id, state FROM told;

-- what was not begun is given back, and that was no attempt
CALL fresh();
SELECT send_message(n, 'email', 'hello') AS message FROM generate_series(1, 3) AS n;
SELECT message_id, attempt FROM claim();
SELECT release_messages('{2,3,3,4,NULL}', 1) AS released, release_messages('{2,3}', 1) AS again, release_messages('{1}', 2) AS stale, release_messages(NULL, 1) AS none;
SELECT * FROM waiting;
SELECT message_id, token, attempt FROM claim_messages('email', 'other');
SELECT ack_messages('{2}', 1) AS stale, ack_messages('{2,3}', 2) AS sent, ack_messages('{1}', 1) AS first;
SELECT count(*) AS leases FROM crm.lease;

-- what cannot be decided waits, and keeps nobody else waiting
CALL fresh();
SELECT create_guard('goal', goal => 'has order since entry') AS guard;
ALTER TABLE orders RENAME TO orders_of_old;
SELECT enqueue_message(20, 'email', 'hello', guard_id => 1, entry => '2026-03-02 08:00Z', priority => 9) AS asked, send_message(21, 'email', 'hello') AS plain;
SELECT customer FROM claim();
SELECT message_id, due_at, token, reason FROM waiting;
ALTER TABLE orders_of_old RENAME TO orders;
SELECT customer FROM claim(at => '2026-03-02 09:04:59Z');
SELECT customer FROM claim(at => '2026-03-02 09:05Z');

-- nor does what is wrong of one customer: not what is asked of him, nor his attributes, nor his time zone
CALL fresh();
ALTER TABLE users ADD COLUMN age text;
ALTER TABLE orders ADD COLUMN amount text;
SELECT define_customers('SELECT id AS customer_id, name, email, phone, CASE WHEN age IS NULL THEN timezone ELSE age::int::text END AS timezone FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, at, amount::numeric AS amount FROM public.orders');
INSERT INTO orders VALUES (22, '2026-03-01Z', '1'), (23, '2026-03-01Z', 'one');
SELECT enqueue_message(n, 'email', 'hello', condition => 'sum(order.amount) < 10') FROM generate_series(22, 24) AS n;
SELECT customer FROM claim();
SELECT message_id, reason FROM waiting WHERE token IS NULL;
CALL fresh();
UPDATE users SET age = 'old' WHERE id = 25;
SELECT set_template('named', 'email', '{"text": "Hi {{customer.name}}"}'), set_template('again', 'email', '{"text": "Hi"}');
SELECT send_message(n, 'email', 'named') FROM generate_series(24, 26) AS n;
SELECT customer FROM claim();
SELECT message_id, due_at, reason FROM waiting WHERE token IS NULL;
CALL fresh();
SELECT set_channel_rule('email', '21:00', '08:00');
SELECT enqueue_message(n, 'email', 'again', transactional => n = 27) FROM generate_series(24, 27) AS n;
SELECT customer FROM claim();
SELECT message_id, reason FROM waiting WHERE token IS NULL;
CALL fresh();
SELECT set_cap('daily', 1, calendar => 'day', channels => '{email}');
SELECT enqueue_message(n, 'email', 'again') FROM generate_series(24, 26) AS n;
SELECT enqueue_message(25, 'sms', 'hello');
SELECT customer FROM claim();
SELECT customer FROM claim('sms');
SELECT message_id, reason FROM waiting WHERE token IS NULL;
-- and where it is all of them, only what needs to know waits
CALL fresh();
ALTER TABLE users RENAME TO users_of_old;
SELECT send_message(24, 'email', 'named') AS named, send_message(25, 'email', 'again') AS plain;
SELECT customer FROM claim();
SELECT message_id, reason FROM waiting WHERE token IS NULL;
ALTER TABLE users_of_old RENAME TO users;
DELETE FROM orders WHERE amount IS NOT NULL;
UPDATE users SET age = NULL;

-- zones are what PostgreSQL takes for one
SELECT z, is_timezone(z) FROM unnest('{Europe/Berlin,europe/berlin,UTC,MSK,Moscow,"",+03,Etc/GMT-3}'::text[]) AS z;

DROP VIEW waiting, told;
DROP PROCEDURE fresh;
DROP FUNCTION claim, expire, offer;
DROP TABLE users, orders, carts CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- The stories that campaigns are made for, each from the shop's first row to the last letter. Time is simulated: go() is a worker that
-- ticks, advances campaigns and sends whatever is due, at an instant.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET jit = off;
SET crm_marketing.now = '2026-03-02 09:00Z';
CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, phone text, birthday date, pet_birthday date, profession text, timezone text);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, amount numeric, category text, status text DEFAULT 'paid');
CREATE TABLE carts (id bigserial PRIMARY KEY, user_id bigint, at timestamptz);
CREATE TABLE deliveries (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, stage text);
CREATE TABLE licences (id bigserial PRIMARY KEY, user_id bigint, paid_at timestamptz, ends_at date);
CREATE TABLE holidays (profession text, day date);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON carts (user_id);
CREATE INDEX ON deliveries (user_id);
CREATE INDEX ON licences (user_id);
INSERT INTO users (id, name, email, phone) SELECT n, 'name' || n, 'u' || n || '@example.org', '+7900000' || 1000 + n FROM generate_series(1, 40) AS n;
SELECT crm.configure('timezone', 'Europe/Berlin') \g /dev/null
SELECT crm.define_customers('SELECT id AS customer_id, name, email, phone, birthday, pet_birthday, profession, timezone FROM users') \g /dev/null
SELECT crm.define_event('order', $$SELECT user_id AS customer_id, at, amount, category, id AS number FROM orders WHERE status <> 'cancelled'$$) \g /dev/null
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, at, id AS cart FROM carts') \g /dev/null
SELECT crm.define_event('delivery', 'SELECT user_id AS customer_id, at, stage, id AS parcel FROM deliveries') \g /dev/null
SELECT crm.define_event('licence', 'SELECT user_id AS customer_id, paid_at AS at, ends_at, id AS licence FROM licences') \g /dev/null
SELECT crm.define_event('holiday', 'SELECT u.id AS customer_id, h.day AS at, h.profession FROM holidays AS h JOIN users AS u USING (profession)') \g /dev/null
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts'), crm.watch('delivery', 'deliveries'),
	   crm.watch('licence', 'licences') \g /dev/null
SELECT crm.record_consent(n, 'email'), crm.record_consent(n, 'task') FROM generate_series(1, 40) AS n \g /dev/null
SELECT crm.set_template(t, 'email', jsonb_build_object('subject', t, 'text', 'Dear {{customer.name}}, {{code}}'))
  FROM unnest(ARRAY['accessories', 'coupon', 'cart', 'birthday', 'pet', 'come back', 'last call', 'refill', 'invoice', 'reminder', 'first', 'thanks',
					'stage', 'holiday', 'shorter']) AS t \g /dev/null
SELECT crm.define_code_pool('coupons', 'LAP-####-####') \g /dev/null

CREATE TABLE sent (customer_id bigint, campaign text, step text, at timestamptz, content jsonb, message_id bigint);
\ir include/campaign_tick.sql
CREATE PROCEDURE send_at(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	batch bigint[];
	token bigint;
BEGIN
	LOOP
		WITH claimed AS MATERIALIZED (
			SELECT c.* FROM crm.claim_messages('email', 'story') AS c
		), posted AS (
			INSERT INTO sent SELECT c.customer_id, c.campaign, c.step, instant, c.content, c.message_id FROM claimed AS c
		)
		SELECT array_agg(c.message_id), max(c.token) INTO batch, token FROM claimed AS c;
		COMMIT;
		EXIT WHEN batch IS NULL;
		PERFORM crm.ack_messages(batch, token);
		COMMIT;
	END LOOP;
END
$p$;
CREATE PROCEDURE go(instant timestamptz) LANGUAGE plpgsql AS $p$
BEGIN
	CALL tick_at(instant);
	CALL send_at(instant);
	CALL tick_at(instant);
END
$p$;
-- From an instant to another, stopping wherever a run wants to be woken
CREATE PROCEDURE go_on(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	due timestamptz;
BEGIN
	LOOP
		SELECT least(min(r.wake_at), (SELECT min(o.due_at) FROM crm.outbox AS o WHERE o.due_at > current_setting('crm_marketing.now')::timestamptz),
					 (SELECT min(d.due) FROM crm.deadline AS d WHERE isfinite(d.due)
						AND d.due > current_setting('crm_marketing.now')::timestamptz))
		  INTO due FROM crm.run AS r WHERE r.state = 'active' AND r.wake_at > current_setting('crm_marketing.now')::timestamptz;
		EXIT WHEN due IS NULL OR due >= instant;
		CALL go(due);
	END LOOP;
	CALL go(instant);
END
$p$;
CREATE FUNCTION letters(customer bigint, of_campaign text DEFAULT NULL) RETURNS text[] LANGUAGE sql AS $f$
	SELECT coalesce(array_agg(format('%s %s', s.step, to_char(s.at AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD HH24:MI')) ORDER BY s.at, s.message_id), '{}')
	  FROM sent AS s WHERE s.customer_id = customer AND (of_campaign IS NULL OR s.campaign = of_campaign)
$f$;
CREATE FUNCTION runs(customer bigint, of_campaign text) RETURNS text[] LANGUAGE sql AS $f$
	SELECT coalesce(array_agg(concat_ws(' ', r.state, r.reason) ORDER BY r.run_id), '{}')
	  FROM crm.run AS r JOIN crm.campaign AS c USING (campaign_id) WHERE r.customer_id = customer AND c.campaign = of_campaign
$f$;

SELECT plan(54);

------------------------------------------------------------------------------------------------------------------
-- Bought a laptop, after 7 days a letter about accessories, clicked and no order in 2 days: a coupon
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('laptop', $$has order[category = 'laptop'] in last 1 day$$, $$has order since entry$$, occurrence_key => 'number') \g /dev/null
SELECT crm.add_step('laptop', 'accessories', wait => '7 days', channel => 'email', template => 'accessories'),
	   crm.add_step('laptop', 'clicked', until => $$has click[campaign = 'laptop' and step = 'accessories' and not followed by order within 2 days] since entry$$,
					timeout => '10 days', otherwise => 'leave'),
	   crm.add_step('laptop', 'code', code_pool => 'coupons'),
	   crm.add_step('laptop', 'coupon', channel => 'email', template => 'coupon') \g /dev/null
SELECT crm.start_campaign('laptop') \g /dev/null
CALL go('2026-03-02 09:00Z');
INSERT INTO orders (user_id, at, amount, category) SELECT n, '2026-03-02 10:00Z', 1000, 'laptop' FROM generate_series(1, 9) AS n;
CALL go('2026-03-02 10:00Z');
SELECT is(runs(1, 'laptop'), ARRAY['active'], 'buying a laptop starts a run');
SELECT is(runs(20, 'laptop'), '{}', 'and nothing for others');

-- 2 buys on day 1; 3's order is cancelled; 4 buys a second laptop on another day; 5 does not want letters any more; 6 turns out to be 10
INSERT INTO orders (user_id, at, amount, category) VALUES (2, '2026-03-03 10:00Z', 20, 'mouse');
CALL go_on('2026-03-03 10:00Z');
SELECT is(runs(2, 'laptop'), ARRAY['left goal'], 'who buys something on day 1 leaves at once');
UPDATE orders SET status = 'cancelled' WHERE user_id = 3;
CALL go_on('2026-03-04 10:00Z');
SELECT is(runs(3, 'laptop'), ARRAY['left void'], 'an order that is cancelled was no occasion');
SELECT crm.unsubscribe(5) \g /dev/null
SELECT crm.merge_customers(10, 6) \g /dev/null
CALL go_on('2026-03-05 10:00Z');
CALL go_on('2026-03-09 09:59:59Z');
SELECT is(letters(1), '{}', 'nothing before the 7 days are over');
CALL go('2026-03-09 10:00Z');
SELECT is(letters(1), ARRAY['accessories 2026-03-09 11:00'], 'the letter goes at the very minute');
SELECT is((SELECT s.content FROM sent AS s WHERE s.customer_id = 1), '{"subject": "accessories", "text": "Dear name1, "}', 'and is what the template says');
SELECT is(letters(2) || letters(3), '{}', 'who had left gets none');
SELECT is(letters(5), '{}', 'who has unsubscribed gets none');
SELECT is((SELECT m.state || ' ' || m.reason FROM crm.message AS m WHERE m.customer_id = 5), 'suppressed no consent', 'and it is told why');
SELECT is(letters(10), ARRAY['accessories 2026-03-09 11:00'], 'who was merged gets his as the other one');
SELECT is(letters(6), '{}', 'and not as himself');

-- 1 clicks and buys nothing; 7 clicks twice; 8 clicks and buys; 9 does not click
SELECT crm.record_delivery(s.message_id, 'click', '2026-03-09 12:00Z') FROM sent AS s WHERE s.customer_id IN (1, 7, 8, 10) \g /dev/null
SELECT crm.record_delivery(s.message_id, 'click', '2026-03-10 12:00Z') FROM sent AS s WHERE s.customer_id = 7 \g /dev/null
SELECT ok(NOT crm.record_delivery(s.message_id, 'click', '2026-03-09 12:00Z'), 'a click that is told twice is one') FROM sent AS s WHERE s.customer_id = 1;
CALL go_on('2026-03-09 12:00Z');
INSERT INTO orders (user_id, at, amount, category) VALUES (8, '2026-03-10 09:00Z', 30, 'bag');
CALL go_on('2026-03-11 11:59:59Z');
SELECT is(letters(1), ARRAY['accessories 2026-03-09 11:00'], 'no coupon before two days after the click');
CALL go_on('2026-03-11 12:00Z');
SELECT is(letters(1), ARRAY['accessories 2026-03-09 11:00', 'coupon 2026-03-11 13:00'], 'then the coupon');
SELECT matches((SELECT s.content ->> 'text' FROM sent AS s WHERE s.customer_id = 1 AND s.step = 'coupon'), '^Dear name1, LAP-....-....$', 'with a code');
CALL go_on('2026-03-25 12:00Z');
SELECT is(letters(7), ARRAY['accessories 2026-03-09 11:00', 'coupon 2026-03-11 13:00'], 'two clicks are one coupon');
SELECT is(letters(8), ARRAY['accessories 2026-03-09 11:00'], 'who buys in the two days gets none');
SELECT is(runs(8, 'laptop'), ARRAY['left goal'], 'he has reached the goal');
SELECT is(letters(9), ARRAY['accessories 2026-03-09 11:00'], 'nor does who does not click');
SELECT is(runs(9, 'laptop'), ARRAY['left step'], 'whose run ends with the time-out');
SELECT is(letters(10), ARRAY['accessories 2026-03-09 11:00', 'coupon 2026-03-11 13:00'], 'and the merged one goes on as one person');
SELECT is((SELECT count(*) FROM crm.promo_code AS p WHERE p.taken_at IS NOT NULL), 3::bigint, 'three codes were given');

-- Two laptops on different days, a change of the clocks within the wait (29 March in Berlin), an edit between
INSERT INTO orders (user_id, at, amount, category) VALUES (4, '2026-03-25 18:00Z', 1000, 'laptop');
CALL go_on('2026-03-25 18:00Z');
SELECT crm.campaign_from_json(jsonb_set(jsonb_set(crm.campaign_to_json('laptop'), '{steps,0,wait}', '"3 days"'), '{steps,0,message,template}', '"shorter"')) \g /dev/null
SELECT is(crm.start_campaign('laptop'), 2, 'an edited definition is another version');
INSERT INTO orders (user_id, at, amount, category) VALUES (11, '2026-03-27 18:00Z', 1000, 'laptop');
CALL go_on('2026-04-10 10:00Z');
SELECT is(letters(4), ARRAY['accessories 2026-03-09 11:00', 'accessories 2026-04-01 19:00'],
	'a second laptop has its own letter, at the same hour by the local clock, and a run stays on the version it began with');
SELECT is(letters(11), ARRAY['accessories 2026-03-30 19:00'], 'a new one goes by the new version');
SELECT is((SELECT s.content ->> 'subject' FROM sent AS s WHERE s.customer_id = 11), 'shorter', 'in all it says');

------------------------------------------------------------------------------------------------------------------
-- The abandoned cart
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('cart', $$has cart[not followed by order within 1 hour] in last 1 day$$, $$has order since entry$$, occurrence_key => 'cart') \g /dev/null
SELECT crm.add_step('cart', 'letter', channel => 'email', template => 'cart') \g /dev/null
SELECT crm.start_campaign('cart') \g /dev/null
CALL go('2026-04-10 10:00Z');
INSERT INTO carts (user_id, at) VALUES (12, '2026-04-10 10:05Z'), (13, '2026-04-10 10:05Z'), (14, '2026-04-10 10:05Z');
INSERT INTO carts (user_id, at) VALUES (12, '2026-04-10 10:30Z');
CALL go('2026-04-10 10:30Z');
INSERT INTO orders (user_id, at, amount) VALUES (13, '2026-04-10 11:00Z', 10);
CALL go_on('2026-04-10 11:04:59Z');
SELECT is(letters(12), '{}', 'a cart is not abandoned before its hour is over');
CALL tick_at('2026-04-10 11:05Z');
INSERT INTO orders (user_id, at, amount) VALUES (14, '2026-04-10 11:04Z', 10);
CALL send_at('2026-04-10 11:05Z');
SELECT is(letters(14), '{}', 'an order that commits before the hand-out prevents the letter, although the tick had not seen it');
SELECT is((SELECT m.state || ' ' || m.reason FROM crm.message AS m WHERE m.customer_id = 14), 'suppressed void', 'as the cart was none that was abandoned');
SELECT is(letters(13), '{}', 'who orders in time gets none');
CALL go_on('2026-04-10 14:00Z');
SELECT is(letters(12), ARRAY['letter 2026-04-10 13:05', 'letter 2026-04-10 13:30'], 'each cart has its letter');

------------------------------------------------------------------------------------------------------------------
-- Birthdays, his and his pet's; a trigger by an attribute
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('birthday', 'anniversary(birthday) in next 3 days', useful_for => '2 days'),
	   crm.create_campaign('pet', 'anniversary(pet_birthday) in next 3 days', useful_for => '2 days') \g /dev/null
SELECT crm.add_step('birthday', 'gift', "time" => '09:00', channel => 'email', template => 'birthday'),
	   crm.add_step('pet', 'gift', "time" => '09:00', channel => 'email', template => 'pet') \g /dev/null
SELECT crm.start_campaign('birthday'), crm.start_campaign('pet') \g /dev/null
CALL go('2026-04-10 15:00Z');
UPDATE users SET birthday = '1990-04-20', pet_birthday = '2020-02-29' WHERE id = 15;
UPDATE users SET birthday = '1990-04-20', timezone = 'Asia/Vladivostok' WHERE id = 16;
CALL go_on('2026-04-25 10:00Z');
SELECT is(letters(15, 'birthday'), ARRAY['gift 2026-04-17 09:00'], 'three days before the birthday, at nine');
SELECT is(letters(16, 'birthday'), ARRAY['gift 2026-04-17 01:00'], 'at nine of his own clock');
CALL go_on('2027-03-01 10:00Z');
SELECT is(letters(15, 'pet'), ARRAY['gift 2027-02-25 09:00'], 'a pet of 29 February has its birthday on the 28th');
CALL go_on('2027-04-25 10:00Z');
SELECT is(letters(15, 'birthday'), ARRAY['gift 2026-04-17 09:00', 'gift 2027-04-17 09:00'], 'and so every year');

------------------------------------------------------------------------------------------------------------------
-- Win-back in three steps; first order; thanks; delivery stages
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('win back', 'has order and no order in last 90 days', 'has order since entry', useful_for => '3 days') \g /dev/null
SELECT crm.add_step('win back', 'come back', channel => 'email', template => 'come back'),
	   crm.add_step('win back', 'code', wait => '7 days', code_pool => 'coupons'),
	   crm.add_step('win back', 'coupon', channel => 'email', template => 'coupon'),
	   crm.add_step('win back', 'last call', wait => '14 days', channel => 'email', template => 'last call') \g /dev/null
SELECT crm.create_campaign('thanks', 'first(order) in last 1 day', transactional => true),
	   crm.create_campaign('stage', $$has delivery in last 1 day$$, transactional => true, purpose => 'service') \g /dev/null
SELECT crm.add_step('thanks', 'thanks', wait => '1 hour', channel => 'email', template => 'thanks'),
	   crm.add_step('stage', 'stage', channel => 'email', template => 'stage') \g /dev/null
SELECT crm.start_campaign('win back'), crm.start_campaign('thanks'), crm.start_campaign('stage') \g /dev/null
CALL go('2027-04-25 10:00Z');
INSERT INTO orders (user_id, at, amount) VALUES (17, '2027-04-25 11:00Z', 10), (18, '2027-04-25 11:00Z', 10);
CALL go('2027-04-25 11:00Z');
CALL go_on('2027-04-26 08:00Z');
INSERT INTO deliveries (user_id, at, stage) VALUES (17, '2027-04-26 08:00Z', 'packed'), (17, '2027-04-26 15:00Z', 'sent'), (5, '2027-04-26 15:00Z', 'sent');
CALL go_on('2027-04-26 08:00Z');
CALL go_on('2027-08-01 10:00Z');
SELECT is(letters(17, 'thanks'), ARRAY['thanks 2027-04-25 14:00'], 'thanks for the first order, an hour later');
SELECT is(letters(17, 'stage'), ARRAY['stage 2027-04-26 10:00', 'stage 2027-04-26 17:00'], 'each stage of a delivery is told');
SELECT is(letters(5, 'stage'), ARRAY['stage 2027-04-26 17:00'], 'also to somebody who wants no advertising');
INSERT INTO orders (user_id, at, amount) VALUES (18, '2027-08-02 10:00Z', 10);
CALL go_on('2027-08-02 10:00Z');
CALL go_on('2027-09-01 10:00Z');
SELECT is(letters(17, 'win back'), ARRAY['come back 2027-07-24 13:00', 'coupon 2027-07-31 13:00', 'last call 2027-08-14 13:00'], 'three steps to win somebody back');
SELECT is(letters(18, 'win back'), ARRAY['come back 2027-07-24 13:00', 'coupon 2027-07-31 13:00'], 'who has come back is left in peace');

------------------------------------------------------------------------------------------------------------------
-- Licence renewal: invoice, reminder, task, and again in a year; call lists; professional holidays
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('renewal', $$has licence before 335 days ago$$, $$has licence since entry$$, occurrence_key => 'licence', transactional => true) \g /dev/null
SELECT crm.add_step('renewal', 'invoice', channel => 'email', template => 'invoice'),
	   crm.add_step('renewal', 'reminder', wait => '14 days', channel => 'email', template => 'reminder'),
	   crm.add_step('renewal', 'call', wait => '7 days', "time" => '10:00', weekday => '{1,2,3,4,5}',
					task => '{"script": "Ask {{customer.name}} to renew", "assignees": ["anna"], "channel": "task", "deadline": "5 days"}') \g /dev/null
SELECT crm.start_campaign('renewal') \g /dev/null
CALL go('2027-09-01 10:00Z');
INSERT INTO licences (user_id, paid_at, ends_at) VALUES (19, '2027-09-02 10:00Z', '2028-09-02'), (20, '2027-09-02 10:00Z', '2028-09-02');
CALL go_on('2027-09-02 10:00Z');
CALL go_on('2028-08-10 10:00Z');
INSERT INTO licences (user_id, paid_at, ends_at) VALUES (20, '2028-08-10 10:00Z', '2029-09-02');
CALL go_on('2028-08-25 10:00Z');
SELECT is(letters(19, 'renewal'), ARRAY['invoice 2028-08-02 12:00', 'reminder 2028-08-16 12:00'], 'an invoice a month before, and a reminder');
SELECT is(letters(20, 'renewal'), ARRAY['invoice 2028-08-02 12:00'], 'none for who has paid');
SELECT results_eq($$SELECT t.customer_id, t.address, t.script FROM crm.next_task('anna') AS t$$,
	$$VALUES (19::bigint, '+79000001019', 'Ask name19 to renew')$$, 'then somebody is to call, on a weekday at ten');
SELECT ok(crm.finish_task((SELECT t.task_id FROM crm.task AS t WHERE t.customer_id = 19), 'agreed'), 'who tells what came of it');
SELECT is((SELECT e.properties ->> 'result' FROM crm.events_of(crm.profile_of(19)) AS e WHERE e.kind = 'task'), 'agreed', 'which is an event like any');
CALL go_on('2029-07-15 10:00Z');
SELECT is(letters(20, 'renewal'), ARRAY['invoice 2028-08-02 12:00', 'invoice 2029-07-11 12:00'], 'a year later it begins anew');

INSERT INTO holidays SELECT 'medic', crm.nth_weekday(y, 6, 3, 7) FROM generate_series(2029, 2031) AS y;
UPDATE users SET profession = 'medic' WHERE id = 21;
SELECT crm.create_campaign('holiday', 'has holiday in next 1 day', useful_for => '1 day') \g /dev/null
SELECT crm.add_step('holiday', 'wish', "time" => '09:00', channel => 'email', template => 'holiday') \g /dev/null
SELECT crm.start_campaign('holiday') \g /dev/null
SELECT crm.refresh_segments() \g /dev/null
CALL go_on('2031-07-01 10:00Z');
SELECT is(letters(21, 'holiday'), ARRAY['wish 2030-06-15 09:00', 'wish 2031-06-14 09:00'], 'the third Sunday of June is wished the day before, every year');

------------------------------------------------------------------------------------------------------------------
-- First-order offer; a refill that is due; a call list for a segment
------------------------------------------------------------------------------------------------------------------

SELECT crm.create_campaign('first', 'profession = ''new'' and no order', 'has order since entry', reentry => 'once'),
	   crm.create_campaign('refill', 'has due in next 3 days', 'has order since entry', useful_for => '3 days') \g /dev/null
SELECT crm.add_step('first', 'offer', wait => '2 days', channel => 'email', template => 'first'),
	   crm.add_step('refill', 'refill', channel => 'email', template => 'refill') \g /dev/null
SELECT crm.start_campaign('first'), crm.start_campaign('refill') \g /dev/null
CALL go('2031-07-01 10:00Z');
UPDATE users SET profession = 'new' WHERE id IN (22, 23);
CALL go('2031-07-01 11:00Z');
INSERT INTO orders (user_id, at, amount) VALUES (23, '2031-07-02 10:00Z', 10);
CALL go_on('2031-07-02 10:00Z');
CALL go_on('2031-07-05 10:00Z');
SELECT is(letters(22, 'first') || letters(23, 'first'), ARRAY['offer 2031-07-03 13:00'], 'a first order is offered to who has none by then');

SELECT crm.track(24, 'purchase', '{"item": "feed", "quantity": 1, "amount": 10}', timestamptz '2031-01-10 10:00Z' + n * interval '30 days')
  FROM generate_series(0, 5) AS n \g /dev/null
SELECT crm.track(25 + n % 3, 'purchase', '{"item": "feed", "quantity": 1, "amount": 10}', timestamptz '2031-01-10 10:00Z' + n * interval '10 days')
  FROM generate_series(0, 17) AS n \g /dev/null
CALL go('2031-07-05 11:00Z');
SET client_min_messages = error;					-- so few customers fit no model
SELECT FROM crm.refresh_scores() \g /dev/null
SET client_min_messages = warning;
CALL go_on('2031-07-20 11:00Z');
SELECT is((SELECT array_agg(DISTINCT x ORDER BY x) FROM unnest(letters(24, 'refill')) AS x), ARRAY['refill 2031-07-06 12:00'], 'a refill is offered three days before it is due');

SELECT crm.create_static_segment('to be called', '{30,31,32}') \g /dev/null
SELECT crm.campaign_from_json('{"campaign": "calls", "segment": "to be called", "send_at": "2031-07-21 08:00Z", "steps": [
	{"step": "call", "task": {"script": "Hello {{customer.name}}", "assignees": ["anna", "boris"], "channel": "task"}},
	{"step": "agreed", "until": "has task[campaign = ''calls'' and result = ''agreed''] since entry", "timeout": "3 days", "otherwise": "leave"},
	{"step": "coupon", "message": {"channel": "email", "template": "coupon"}}]}') \g /dev/null
SELECT crm.start_campaign('calls') \g /dev/null
CALL go_on('2031-07-21 09:00Z');
SELECT crm.suppress_address('task', '+79000001032') \g /dev/null
SELECT set_eq($$SELECT t.customer_id, t.script
	FROM (VALUES ('anna', 1), ('anna', 2), ('anna', 3), ('boris', 1), ('boris', 2), ('boris', 3)) AS who(name, n)
   CROSS JOIN LATERAL (SELECT x.* FROM crm.next_task(who.name) AS x WHERE who.n > 0) AS t WHERE t.customer_id IS NOT NULL$$,
	$$VALUES (30::bigint, 'Hello name30'), (31, 'Hello name31')$$, 'a call list for a segment, without who must not be called');
SELECT crm.finish_task(t.task_id, CASE t.customer_id WHEN 30 THEN 'agreed' ELSE 'refused' END) FROM crm.task AS t WHERE t.state = 'taken' \g /dev/null
CALL go('2031-07-21 09:00Z');
CALL go_on('2031-07-25 09:00Z');
SELECT is(letters(30, 'calls') || letters(31, 'calls'), ARRAY['coupon 2031-07-21 11:00'], 'and what was agreed goes on');

SELECT is((SELECT count(*) FROM crm.run AS r WHERE r.error IS NOT NULL), 0::bigint, 'no run had an error');
SELECT is((SELECT count(*) FROM (SELECT FROM sent GROUP BY message_id HAVING count(*) > 1) AS d), 0::bigint, 'and nothing was sent twice');
SELECT * FROM finish();
DROP EXTENSION crm_marketing CASCADE;

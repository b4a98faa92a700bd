-- Random shops with what is in their outboxes, and what has been handed out of them before.

CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, phone text, timezone text);
CREATE TABLE orders (user_id bigint NOT NULL, at timestamptz NOT NULL);
CREATE TABLE carts (user_id bigint NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON carts (user_id);
SELECT crm.define_customers('SELECT id AS customer_id, name, email, phone, timezone FROM users'),
	   crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders'),
	   crm.define_event('cart', 'SELECT user_id AS customer_id, at FROM carts'),
	   crm.define_code_pool('gifts', 'GIFT-####-####', personal => false),
	   crm.set_template('hello', 'email', '{"text": "{{message.id}} for {{customer.name}}"}'),
	   crm.set_template('hello', 'sms', '{"text": "{{message.id}}"}'), crm.set_template('hello', 'whatsapp', '{"text": "{{message.id}}"}'),
	   crm.set_template('bad', 'email', '{"text": "x"}'), crm.set_template('bad', 'sms', '{"text": "x"}'),
	   crm.set_template('bad', 'whatsapp', '{"text": "x"}') \g /dev/null
UPDATE crm.template SET parts = '{"text": "{{#open}}"}' WHERE template = 'bad';

CREATE FUNCTION oracle.one_of(VARIADIC choices text[]) RETURNS text
	LANGUAGE sql VOLATILE
AS $f$ SELECT choices[1 + floor(random() * cardinality(choices))::int] $f$;

CREATE FUNCTION oracle.chance(p float) RETURNS boolean
	LANGUAGE sql VOLATILE
AS $f$ SELECT random() < p $f$;

-- One of these instants before or after another; they are coarse, so that some are the same
CREATE FUNCTION oracle.instant(at timestamptz, hours_before int, hours_after int) RETURNS timestamptz
	LANGUAGE sql VOLATILE
AS $f$ SELECT at + interval '20 minutes' * floor((random() * (hours_before + hours_after) - hours_before) * 3) $f$;

-- People, and what they have done and said
CREATE FUNCTION oracle.make_people(now timestamptz) RETURNS void
	LANGUAGE plpgsql
AS $f$
DECLARE
	a bigint;
	b bigint;
BEGIN
	DELETE FROM crm.outbox; DELETE FROM crm.lease; DELETE FROM crm.message; DELETE FROM crm.cap; DELETE FROM crm.channel_rule; DELETE FROM crm.handed;
	DELETE FROM crm.guard; DELETE FROM crm.alias; DELETE FROM crm.consent; DELETE FROM crm.contact; DELETE FROM crm.suppression;
	DELETE FROM crm.promo_code; DELETE FROM crm.customer_code; DELETE FROM crm.identity;
	DELETE FROM users; DELETE FROM orders; DELETE FROM carts;
	PERFORM set_config('crm_marketing.now', (now - interval '20 days')::text, false);
	INSERT INTO users
	SELECT n, 'name' || n, CASE WHEN oracle.chance(0.85) THEN format('u%s@example.org', n) END,
		   CASE WHEN oracle.chance(0.85) THEN '+4915112345' || 100 + n END,
		   CASE WHEN oracle.chance(0.6) THEN oracle.one_of('Europe/Berlin', 'America/New_York', 'Asia/Kolkata', 'Pacific/Kiritimati',
														   'Pacific/Pago_Pago', 'Nowhere/Land', 'UTC') END
	  FROM generate_series(1, 30) AS n;
	INSERT INTO orders SELECT 1 + floor(random() * 30), oracle.instant(now, 72, 0) FROM generate_series(1, 25);
	INSERT INTO carts SELECT 1 + floor(random() * 30), oracle.instant(now, 30, 0) FROM generate_series(1, 60);
	PERFORM crm.refresh_identities();
	PERFORM crm.set_contact(n, c, CASE WHEN oracle.chance(0.8) THEN CASE c WHEN 'email' THEN format('own%s@example.org', n)
																		   ELSE '+4915112346' || 100 + n END END)
	   FROM generate_series(1, 30) AS n, unnest('{email,sms}'::text[]) AS c WHERE oracle.chance(0.2);
	-- some merge before they agree, some after
	FOR i IN 1 .. 8 LOOP
		PERFORM set_config('crm_marketing.now', (now - interval '20 days' + i * interval '2 days')::text, false);
		PERFORM crm.record_consent(n, c, oracle.one_of('marketing', 'marketing', 'news', 'service'), oracle.chance(0.9))
		   FROM generate_series(1, 30) AS n, unnest('{email,sms,whatsapp}'::text[]) AS c WHERE oracle.chance(0.4);
		PERFORM crm.unsubscribe(n, oracle.one_of('*', 'email', 'sms')) FROM generate_series(1, 30) AS n WHERE oracle.chance(0.01);
		a := 1 + floor(random() * 30);
		b := 1 + floor(random() * 30);
		IF oracle.chance(0.7) AND a <> b THEN
			PERFORM crm.merge_customers(a, b);
		ELSIF oracle.chance(0.5) AND EXISTS (SELECT FROM crm.alias) THEN
			PERFORM crm.unmerge_customers((SELECT x.alias FROM crm.alias AS x ORDER BY random() LIMIT 1));
		END IF;
	END LOOP;
	-- one is a customer no more
	PERFORM crm.set_contact(31, c, CASE c WHEN 'email' THEN 'u31@example.org' ELSE '+4915112345131' END), crm.record_consent(31, c)
	   FROM unnest('{email,sms}'::text[]) AS c;
	PERFORM crm.suppress_address('email', format('%s%s@example.org', oracle.one_of('u', 'own'), n))
	   FROM generate_series(1, 30) AS n WHERE oracle.chance(0.06);
	PERFORM set_config('crm_marketing.now', now::text, false);
END
$f$;

-- What holds messages back, and the messages
CREATE FUNCTION oracle.make_outbox(now timestamptz) RETURNS void
	LANGUAGE plpgsql
AS $f$
DECLARE
	handed record;
	number bigint;
	at timestamptz;
	zone text;
BEGIN
	PERFORM crm.configure('holdout', oracle.one_of('0', '0', '15')),
			crm.configure('timezone', oracle.one_of('UTC', 'Europe/Berlin', 'America/Sao_Paulo'));
	PERFORM crm.set_cap('cap ' || n, oracle.one_of('0', '1', '1', '1', '2', '2', '3')::int,
						per => CASE WHEN NOT calendar THEN oracle.one_of('1 day', '3 days', '1 month', '90 minutes')::interval END,
						calendar => CASE WHEN calendar THEN oracle.one_of('day', 'week', 'month') END,
						channels => CASE WHEN oracle.chance(0.5) THEN ARRAY[oracle.one_of('email', 'sms'), oracle.one_of('whatsapp', 'sms')] END,
						purposes => CASE WHEN oracle.chance(0.4) THEN ARRAY[oracle.one_of('marketing', 'news')] END)
	   FROM generate_series(1, floor(random() * 5)::int) AS n CROSS JOIN LATERAL (SELECT oracle.chance(0.5) AND n > 0 AS calendar OFFSET 0) AS k;
	PERFORM crm.set_channel_rule(c, quiet_from => CASE WHEN quiet THEN (ARRAY['20:00', '22:30', '06:00'])[n]::time END,
								 quiet_to => CASE WHEN quiet THEN (ARRAY['08:00', '07:00', '11:15'])[n]::time END,
								 rate => CASE WHEN oracle.chance(0.3) THEN 5 + floor(random() * 20)::int END, rate_per => '1 hour',
								 lease => oracle.one_of('5 minutes', '1 hour')::interval, max_attempts => 1 + floor(random() * 4)::int,
								 on_expiry => oracle.one_of('unknown', 'retry'))
	   FROM unnest('{email,sms,whatsapp}'::text[]) WITH ORDINALITY AS c(c, n) CROSS JOIN LATERAL (SELECT oracle.chance(0.6) AND n > 0 AS quiet OFFSET 0) AS q
	  WHERE oracle.chance(0.7);
	PERFORM crm.create_guard('guard', CASE WHEN oracle.chance(0.5) THEN 'has cart[not followed by order within 1 hour] in last 1 day' END::crm.predicate,
							 CASE WHEN oracle.chance(0.5) THEN oracle.one_of('has order since entry', 'count(cart) >= 4') END::crm.predicate,
							 CASE WHEN oracle.chance(0.4) THEN 20 ELSE 0 END, 'salt ' || n)
	   FROM generate_series(1, 5) AS n;
	UPDATE crm.guard AS g SET state = oracle.one_of('on', 'on', 'on', 'on', 'paused', 'stopped');
	PERFORM crm.take_code('gifts', n, 'test') FROM generate_series(1, 8) AS n;
	PERFORM crm.redeem_code(c.code) FROM (SELECT c.code FROM crm.promo_code AS c WHERE oracle.chance(0.4)) AS c;
	PERFORM oracle.add_messages(now, 140);

	-- what was handed out before: one part was sent or nobody knows, another is on its way, and another is to be tried again
	FOR handed IN SELECT o.channel, (random() * 9)::int AS n, array_agg(o.message_id) AS ids FROM crm.outbox AS o WHERE oracle.chance(0.45) GROUP BY 1, 2 LOOP
		number := nextval('crm.claim_token_seq');
		at := oracle.instant(now, 24 * (1 + handed.n * handed.n / 4), 0);
		-- some about where a day, week or month begins
		zone := oracle.one_of(crm.timezone(), crm.timezone(), 'Europe/Berlin', 'Asia/Kolkata');
		IF oracle.chance(0.6) THEN
			at := date_trunc(oracle.one_of('day', 'day', 'week', 'month'), now AT TIME ZONE zone) AT TIME ZONE zone
				  + interval '20 minutes' * floor(random() * 4 - 1);
			at := least(at, now);
		END IF;
		UPDATE crm.outbox AS o
		   SET token = number, worker = 'me', handed_at = at, leased_until = now + interval '10 minutes', attempts = 1
		 WHERE o.message_id = ANY (handed.ids);
		IF handed.n < 4 THEN
			PERFORM crm.ack_messages(handed.ids, number);
		ELSIF handed.n < 5 THEN
			UPDATE crm.outbox AS o SET lane = -1 WHERE o.message_id = ANY (handed.ids);
			UPDATE crm.message AS m SET state = 'unknown', reason = 'lease', handed_at = o.handed_at FROM crm.outbox AS o WHERE m.message_id = o.message_id AND o.message_id = ANY (handed.ids);
		ELSIF handed.n < 7 THEN
			INSERT INTO crm.lease (channel, until, token, messages) VALUES (handed.channel, now + interval '10 minutes', number, handed.ids);
		ELSE
			UPDATE crm.outbox AS o SET token = NULL, worker = NULL, leased_until = NULL, reason = 'lease' WHERE o.message_id = ANY (handed.ids);
		END IF;
	END LOOP;
END
$f$;

CREATE FUNCTION oracle.add_messages(now timestamptz, n int) RETURNS void
	LANGUAGE sql
AS $f$
	SELECT count(crm.enqueue_message(m.customer, oracle.one_of('email', 'email', 'sms', 'whatsapp'),
									 CASE WHEN oracle.chance(0.02) THEN 'never' WHEN oracle.chance(0.02) THEN 'bad' ELSE 'hello' END,
									 purpose => CASE WHEN m.transactional THEN 'service' ELSE oracle.one_of('marketing', 'marketing', 'news') END,
									 transactional => m.transactional,
									 priority => CASE WHEN oracle.chance(0.5) THEN 5 ELSE floor(random() * 10)::int END,
									 guard_id => CASE WHEN m.guarded THEN (SELECT min(g.guard_id) FROM crm.guard AS g) + floor(random() * 5)::int END,
									 code => CASE WHEN oracle.chance(0.15) THEN coalesce((SELECT c.code FROM crm.promo_code AS c ORDER BY random() LIMIT 1), 'GIFT-1') END,
									 entry => coalesce(m.event, now) + interval '1 hour', event_kind => CASE WHEN m.guarded AND oracle.chance(0.7) THEN 'cart' END,
									 event_at => m.event,
									 condition => CASE WHEN oracle.chance(0.3)
													   THEN oracle.one_of('no order', 'has order in last 1 day', 'count(cart) >= 2', 'name = ''name7''') END::crm.predicate,
									 due_at => oracle.instant(now, 20, 2),
									 useful_until => CASE WHEN oracle.chance(0.5) THEN oracle.instant(now, 1, 30) END))
	  FROM (SELECT (1 + floor(random() * 31))::bigint AS customer, oracle.chance(0.15) AND n > 0 AS transactional, oracle.chance(0.5) AND n > 0 AS guarded,
				   CASE WHEN n > 0 THEN oracle.instant(now, 20, 0) END AS drawn
			  FROM generate_series(1, add_messages.n) AS n OFFSET 0) AS d
	 CROSS JOIN LATERAL (
		SELECT d.customer, d.transactional, d.guarded,
			   CASE WHEN d.guarded THEN coalesce((SELECT c.at FROM carts AS c WHERE c.user_id = d.customer ORDER BY c.at LIMIT 1), d.drawn) END AS event OFFSET 0) AS m
$f$;

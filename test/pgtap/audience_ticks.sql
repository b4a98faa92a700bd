-- Ad audiences by ticks alone: nobody calls crm.sync_audience(). Stories first, each from what the shop stores, or the clock, to
-- what a worker is given to tell the network; then at random.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
SET client_min_messages = warning;
SET timezone = 'UTC';
SET jit = off;
SET crm_marketing.now = '2026-03-01Z';
CREATE TABLE public.regress_users (id bigint PRIMARY KEY, email text, phone text);
CREATE TABLE public.regress_orders (id bigserial PRIMARY KEY, user_id bigint, at timestamptz);
CREATE INDEX ON public.regress_orders (user_id);
INSERT INTO public.regress_users
SELECT o, n || '@example.org', '+7916000000' || o
  FROM unnest('{anna,boris,clara,dora,egor,frida}'::text[]) WITH ORDINALITY AS u(n, o);
SELECT crm.define_customers('SELECT id AS customer_id, email, phone FROM public.regress_users') \g /dev/null
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM public.regress_orders') \g /dev/null
SELECT crm.watch('customer', 'public.regress_users'), crm.watch('order', 'public.regress_orders') \g /dev/null
SELECT crm.define_channel('ad:mail', 'email'), crm.define_channel('ad:call', 'phone') \g /dev/null
SELECT crm.record_consent(c, h) FROM generate_series(1, 6) AS c, unnest('{ad:mail,ad:call}'::text[]) AS h \g /dev/null
SELECT crm.create_segment('buyers', 'has order in last 7 days'), crm.create_static_segment('friends', '{}'::bigint[]) \g /dev/null
\ir include/audience_network.sql

CREATE PROCEDURE public.regress_order(whose bigint) LANGUAGE sql AS
	$$INSERT INTO public.regress_orders (user_id, at) VALUES (whose, crm.now())$$;
-- How many have waited to be looked at
CREATE FUNCTION pg_temp.waiting() RETURNS bigint LANGUAGE sql AS $$SELECT count(*) FROM crm.listener_queue$$;

SELECT plan(75) AS p \gset
\echo :p

-- no audience
CALL crm.run_ticks();
CALL public.regress_order(6);
CALL crm.run_ticks();
SELECT ok(crm.is_member(6, 'buyers'), 'segments are live');
SELECT is(pg_temp.waiting(), 0::bigint, 'and as long as there is no audience, nobody is told of anything');

-- a new audience
SELECT crm.create_audience('buyers', 'ad:mail', 'buyers') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('frida'))$$, 'a new audience is filled with who is in its segment');

-- in by an order
SELECT pg_temp.later() \g /dev/null
CALL public.regress_order(1);
SELECT is_empty($$SELECT * FROM crm.claim_audience('buyers')$$, 'anna buys');
CALL crm.run_ticks();
SELECT set_eq($$SELECT operation, hash FROM crm.claim_audience('buyers', lease => '1 second')$$, $$VALUES ('add', pg_temp.mail('anna'))$$,
	'and after a tick there waits to be claimed that she is added');
SELECT pg_temp.later() \g /dev/null
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('anna'))$$, 'a worker tells the network');
CALL crm.run_ticks();
CALL public.regress_order(1);
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work()$$, 'another order of hers changes nothing');
SELECT is(pg_temp.waiting(), 0::bigint, 'and nothing waits');

-- another e-mail address, and out by the clock
UPDATE public.regress_users SET email = 'anna.new@example.org' WHERE id = 1;
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('buyers', 'remove', pg_temp.mail('anna')), ('buyers', 'add', pg_temp.mail('anna.new'))$$, 'she changes her e-mail address');
SELECT pg_temp.later('6 days 12 hours') \g /dev/null
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work() WHERE hash <> pg_temp.mail('frida')$$, 'some days pass');
SELECT pg_temp.later('12 hours') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work() WHERE hash <> pg_temp.mail('frida')$$, $$VALUES ('buyers', 'remove', pg_temp.mail('anna.new'))$$,
	'when the 7 days are over, exactly what was uploaded is removed, though nothing has happened');
CALL public.regress_order(2);
CALL crm.run_ticks();
SELECT is(count(*), 1::bigint, 'boris buys') FROM pg_temp.work();
UPDATE public.regress_users SET email = 'boris.new@example.org' WHERE id = 2;
SELECT pg_temp.later('8 days') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('boris'))$$,
	'his address changes and he leaves before anybody looks: what was uploaded is removed, and nothing else');
CALL public.regress_order(2);
SELECT pg_temp.later('8 days') \g /dev/null
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work()$$, 'who comes and goes while nobody looks was never there');

-- consents and suppressions
INSERT INTO public.regress_orders (user_id, at) SELECT c, crm.now() FROM generate_series(1, 5) AS c;
CALL crm.run_ticks();
SELECT is(count(*), 5::bigint, 'five buy') FROM pg_temp.work();
SELECT pg_temp.later() \g /dev/null
SELECT crm.unsubscribe(3, 'ad:mail') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('clara'))$$, 'clara unsubscribes');
SELECT pg_temp.later(), crm.record_consent(3, 'ad:mail') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('clara'))$$, 'and agrees again');
SELECT crm.suppress_address('ad:mail', 'dora@example.org') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('dora'))$$, 'dora''s address is suppressed');
SELECT crm.set_contact(4, 'ad:mail', 'dora.new@example.org') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('dora.new'))$$, 'and she gives another one');
SELECT crm.reset_contact(4, 'ad:mail'), crm.release_address('ad:mail', 'dora@example.org') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('buyers', 'remove', pg_temp.mail('dora.new')), ('buyers', 'add', pg_temp.mail('dora'))$$, 'all of which is taken back');
UPDATE public.regress_users SET phone = NULL WHERE id = 4;
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work()$$, 'her phone is of no matter here');

-- merging
SELECT crm.merge_customers(5, 6) \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('frida'))$$,
	'frida, who has not bought of late, turns out to be egor, who has: both addresses');
SELECT crm.unmerge_customers(6) \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('frida'))$$, 'or she does not');
SELECT pg_temp.later(), crm.unsubscribe(6) \g /dev/null
SELECT crm.merge_customers(6, 5) \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('egor'))$$, 'whoever is one with somebody who has refused has refused');
SELECT crm.unmerge_customers(5) \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('egor'))$$, 'until they are two again');

-- erasing
UPDATE public.regress_users SET email = 'clara@example.org' WHERE id = 2;
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('boris.new'))$$, 'boris and clara have one address');
SELECT is(crm.erase_customer(3) -> 'audience_link', '1', 'clara is erased');
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'remove', pg_temp.mail('clara'))$$, 'and so is her address at the network');
SELECT is_empty($$SELECT FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') = pg_temp.mail('clara')
				   UNION ALL SELECT FROM crm.audience_link AS k WHERE encode(k.hash, 'hex') = pg_temp.mail('clara')
				   UNION ALL SELECT FROM crm.listener_queue AS q WHERE q.customer_id = 3$$, 'nothing of her is left, though boris has it too');
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work()$$, 'nobody takes her up again');

-- a static segment, and one that is filled by hand
SELECT crm.create_audience('friends', 'ad:call', 'friends'), crm.create_audience('hand', 'ad:call') \g /dev/null
SELECT crm.add_to_segment('friends', '{1,2}'), crm.add_to_audience('hand', '{2,5}') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('friends', 'add', pg_temp.phone(1)), ('friends', 'add', pg_temp.phone(2)), ('hand', 'add', pg_temp.phone(2)), ('hand', 'add', pg_temp.phone(5))$$,
	'who is put into a static segment, and who into an audience');
SELECT crm.remove_from_segment('friends', '{2}'), crm.remove_from_audience('hand', '{5}') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('friends', 'remove', pg_temp.phone(2)), ('hand', 'remove', pg_temp.phone(5))$$, 'and out of them');
SELECT crm.add_to_segment('friends', '{5}') \g /dev/null
CALL crm.run_ticks();
DELETE FROM public.regress_users WHERE id = 5;
CALL crm.run_ticks();
SELECT is_empty($$SELECT * FROM pg_temp.work() WHERE audience <> 'buyers'$$, 'who is gone before the worker comes was never there');

-- editing a segment, and dropping one with its audience
SELECT set_eq($$SELECT crm.members('buyers')$$, '{1,2,4}'::bigint[], 'three are left');
SELECT is("leave", 1::bigint, 'a segment gets another definition')
  FROM crm.alter_segment('buyers', 'has order in last 7 days and count(order) >= 2');
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work() WHERE audience = 'buyers'$$,
	$$VALUES ('buyers', 'remove', pg_temp.mail('dora'))$$, 'by which dora is out');
SELECT crm.drop_audience('friends'), crm.drop_segment('friends') \g /dev/null
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('friends', 'remove', pg_temp.phone(1))$$, 'where audience and segment are dropped nobody is in it');

-- what was not captured
BEGIN;
SET LOCAL crm_marketing.capture = off;
SELECT crm.unsubscribe(2, 'ad:call'), crm.set_contact(1, 'ad:mail', 'anna.third@example.org') \g /dev/null
COMMIT;
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('buyers', 'remove', pg_temp.mail('anna.new')), ('buyers', 'add', pg_temp.mail('anna.third')), ('hand', 'remove', pg_temp.phone(2))$$,
	'where nobody knows whose consents have changed, all are looked at');
SELECT crm.stop_ticks() \g /dev/null
SELECT crm.reset_contact(1, 'ad:mail'), crm.add_to_audience('hand', '{4}') \g /dev/null
SELECT pg_temp.later() \g /dev/null
UPDATE public.regress_users SET phone = '+79160000004' WHERE id = 4;
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('buyers', 'remove', pg_temp.mail('anna.third')), ('buyers', 'add', pg_temp.mail('anna.new')), ('hand', 'add', pg_temp.phone(4))$$,
	'and when ticks begin anew');

-- an error
ALTER TABLE crm.audience_link ADD CONSTRAINT regress_check CHECK (customer_id <> 6 OR audience_id IS NULL);
SELECT crm.record_consent(6, 'ad:mail'), crm.record_consent(6, 'ad:call'), pg_temp.later() \g /dev/null
INSERT INTO public.regress_orders (user_id, at) VALUES (6, crm.now()), (4, crm.now());
CALL crm.run_ticks();
SELECT ok(crm.is_member(6, 'buyers') AND crm.is_member(4, 'buyers'), 'an error of it does not keep segments from going on');
SELECT matches((SELECT e.message FROM crm.tick_error AS e ORDER BY e.error_id DESC LIMIT 1), 'regress_check', 'it is told');
SELECT is_empty($$SELECT * FROM pg_temp.work()$$, 'nobody is added');
ALTER TABLE crm.audience_link DROP CONSTRAINT regress_check;
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('buyers', 'add', pg_temp.mail('frida')), ('buyers', 'add', pg_temp.mail('dora'))$$,
	'until it is mended: nothing was lost');
DELETE FROM crm.tick_error;

-- many, by portions
INSERT INTO public.regress_users SELECT 100 + g, format('u%s@example.org', g), NULL FROM generate_series(1, 50) AS g;
INSERT INTO public.regress_orders (user_id, at) SELECT 100 + g % 50 + 1, crm.now() FROM generate_series(1, 100) AS g;
SELECT crm.record_consent(100 + g, 'ad:mail') FROM generate_series(1, 50) AS g \g /dev/null
CALL crm.run_ticks(max_customers => 7);
SELECT is(count(*), 50::bigint, 'of many, some at a time') FROM pg_temp.work();
SELECT crm.create_audience('again', 'ad:mail', 'buyers') \g /dev/null
CALL crm.run_ticks(max_customers => 7);
SELECT set_eq($$SELECT hash FROM pg_temp.work() WHERE audience = 'again'$$,
	$$SELECT n.hash FROM public.regress_network AS n WHERE n.audience = 'buyers'$$, 'as when an audience is filled that is new');
SELECT crm.create_audience('third', 'ad:mail', 'buyers') \g /dev/null
SELECT set_eq('SELECT done, more, next FROM crm.advance_audiences(20)', 'SELECT 21::bigint, true, NULL::timestamptz', 'a part of it is done');
SELECT is((SELECT count(*) FROM crm.audience_link JOIN crm.audience USING (audience_id) WHERE audience = 'third'), 19::bigint, 'and the others not yet');
SELECT is(added, 34::bigint, 'whoever cannot wait brings it up to date himself') FROM crm.sync_audience('third');
SELECT set_eq('SELECT done, more, next FROM crm.advance_audiences(20)', 'SELECT 0::bigint, false, NULL::timestamptz', 'and then there is nothing to be done');
SELECT crm.record_consent(101, 'ad:call') \g /dev/null
SELECT crm.tick() \g /dev/null
SELECT is(pg_temp.waiting(), 1::bigint, 'nor of whom was told');
SELECT is((SELECT s.state FROM crm.status AS s WHERE s.item = 'ad audiences follow'), '1', 'which one can see');
SELECT is((added, removed)::text, '(0,0)', 'when all are brought up to date') FROM crm.sync_audience();
SELECT is(pg_temp.waiting(), 0::bigint, 'he has been looked at');
SELECT count(*) FROM pg_temp.work() \g /dev/null

-- a segment that was not evaluated yet
SELECT crm.create_segment('loyal', 'count(order) >= 3') \g /dev/null
SELECT crm.create_audience('loyal', 'ad:mail', 'loyal') \g /dev/null
SELECT is((SELECT more FROM crm.advance_audiences()), false, 'an audience waits for its segment');
CALL crm.run_ticks();
SELECT set_eq($$SELECT * FROM pg_temp.work()$$, $$VALUES ('loyal', 'add', pg_temp.mail('anna.new'))$$, 'and is filled when it is there');

-- dropping
SELECT crm.drop_audience(a.audience) FROM crm.audience AS a \g /dev/null
SELECT pg_temp.later(), count(*) FROM pg_temp.work() \g /dev/null
SELECT is_empty('SELECT FROM crm.listener', 'when the last audience is dropped, nobody listens');
INSERT INTO public.regress_orders (user_id, at) VALUES (1, crm.now());
CALL crm.run_ticks();
SELECT is_empty('SELECT FROM crm.audience UNION ALL SELECT FROM crm.listener_queue UNION ALL SELECT FROM crm.audience_link', 'nothing is left');
SELECT is_empty('SELECT e.message FROM crm.tick_error AS e', 'and there were no errors');
SELECT throws_ok($$SELECT crm.sync_audience(at => NULL)$$, '22004', NULL, 'the full look is as it was');
TRUNCATE public.regress_network;

------------------------------------------------------------------------------------------------------------------
-- At random
------------------------------------------------------------------------------------------------------------------

SELECT crm.define_channel('ad:visited', 'email') \g /dev/null
SELECT crm.track(1, 'visit', '{}', crm.now() - interval '1 year') \g /dev/null
SELECT crm.create_segment('visited', 'has visit in last 30 minutes') \g /dev/null
SELECT crm.create_audience('visited', 'ad:visited', 'visited') \g /dev/null
\if :{?steps} \else \set steps 80 \endif
\ir include/audience_random.sql

CREATE PROCEDURE public.regress_run(steps int, sequences int) LANGUAGE plpgsql AS $$
BEGIN
	FOR step IN 1 .. steps LOOP
		IF random() < 0.1 THEN
			PERFORM set_config('crm_marketing.capture', 'off', true);
			INSERT INTO public.regress_done VALUES (step, 'not captured');
		END IF;
		PERFORM pg_temp.happen(step, s) FROM generate_series(1, sequences) AS s;
		COMMIT;
		-- workers come before anybody has looked, and after; who has left by the clock is known with the tick
		PERFORM pg_temp.try_work(step, a.audience) FROM public.regress_audience AS a;
		INSERT INTO public.regress_wrong SELECT step, 'unsettled', u FROM pg_temp.unsettled() AS u;
		PERFORM pg_temp.later((1 + floor(random() * 4)) * interval '1 minute');
		COMMIT;
		CALL crm.run_ticks(max_customers => (ARRAY[7, 100, 1000])[1 + floor(random() * 3)::int]);
		INSERT INTO public.regress_wrong SELECT step, 'still waits', q.customer_id::text FROM crm.listener_queue AS q;
		INSERT INTO public.regress_wrong SELECT step, 'error', e.message FROM crm.tick_error AS e;
		INSERT INTO public.regress_wrong SELECT step, 'mismatch', m FROM pg_temp.mismatch() AS m;
		PERFORM pg_temp.try_work(step, a.audience) FROM public.regress_audience AS a;
		IF step % 7 = 0 THEN
			PERFORM pg_temp.drift(step, a.audience) FROM public.regress_audience AS a;
		END IF;
		INSERT INTO public.regress_wrong SELECT step, 'unsettled', u FROM pg_temp.unsettled() AS u;
		COMMIT;
	END LOOP;
END
$$;
CALL public.regress_run(:steps, :sequences);
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what IN ('still waits', 'error') LIMIT 5$$, 'ticks have looked at all of whom was told');
SELECT cmp_ok((SELECT count(*) FROM public.regress_done AS d WHERE d.what = 'not captured'), '>', 0::bigint, 'also when changes were not captured');
SELECT cmp_ok((SELECT count(*) FROM crm.segment_change AS c WHERE c.reason = 'time' AND NOT c.entered), '>', 50::bigint, 'many have left by the clock');
SELECT pg_temp.later() \g /dev/null
CALL crm.run_ticks();
SELECT is((added, removed)::text, '(0,0)', 'in the end a full look finds nothing that ticks have not') FROM crm.sync_audience();
\ir include/audience_random_end.sql

SELECT * FROM finish();

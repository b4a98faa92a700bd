-- Ad audiences against a network that is a table: each story removes exactly what was uploaded, and after whatever happens
-- at random, with answers that are lost, late or refusals, the network has what is wanted and nothing else.

BEGIN;

CREATE EXTENSION IF NOT EXISTS pgtap;

SELECT plan(64);

SET LOCAL client_min_messages = warning;
SET LOCAL crm_marketing.now = '2026-03-01Z';

CREATE TABLE public.regress_users (id bigint PRIMARY KEY, email text, phone text);
INSERT INTO public.regress_users VALUES
	(1, 'anna@example.org', '+79160000001'), (2, 'boris@example.org', '+79160000002'), (3, 'clara@example.org', '+79160000003'),
	(4, 'dora@example.org', '+79160000003'), (5, 'egor@example.org', '+79160000005'), (6, 'frida@example.org', NULL);
SELECT crm.define_customers('SELECT id AS customer_id, email, phone FROM public.regress_users');
SELECT crm.define_channel('ad:mail', 'email'), crm.define_channel('ad:call', 'phone');
SELECT crm.refresh_identities();
SELECT crm.create_static_segment('regress', ARRAY[1, 2, 3, 4, 5, 6]);
SELECT crm.record_consent(c, h) FROM generate_series(1, 6) AS c, unnest('{ad:mail,ad:call}'::text[]) AS h;
SELECT crm.create_audience('mail', 'ad:mail', 'regress'), crm.create_audience('call', 'ad:call', 'regress');

\ir include/audience_network.sql
CREATE FUNCTION pg_temp.sync_and_work(customers bigint[] DEFAULT NULL) RETURNS TABLE (audience text, operation text, hash text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_temp.later();
	PERFORM crm.refresh_segments();
	IF customers IS NULL THEN
		PERFORM crm.sync_audience();
	ELSE
		PERFORM crm.sync_audience_customers(customers);
	END IF;
	RETURN QUERY SELECT * FROM pg_temp.work();
END
$$;

------------------------------------------------------------------------------------------------------------------
-- Stories
------------------------------------------------------------------------------------------------------------------

SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work()$$,
	$$SELECT 'mail' AS audience, 'add' AS operation, pg_temp.mail(n) AS hash FROM unnest('{anna,boris,clara,dora,egor,frida}'::text[]) AS n
	   UNION ALL SELECT 'call', 'add', pg_temp.phone(n) FROM unnest('{1,2,3,5}'::int[]) AS n$$, 'all are uploaded, a phone of two people once');
SELECT is_empty($$SELECT * FROM pg_temp.sync_and_work()$$, 'and that is that');

-- leaving the segment
SELECT crm.remove_from_segment('regress', ARRAY[6]);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{6}')$$, $$VALUES ('mail', 'remove', pg_temp.mail('frida'))$$, 'who leaves the segment is removed');

-- another address
UPDATE public.regress_users SET email = 'egor.new@example.org' WHERE id = 5;
SELECT crm.refresh_identities();
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5}')$$,
	$$VALUES ('mail', 'remove', pg_temp.mail('egor')), ('mail', 'add', pg_temp.mail('egor.new'))$$, 'of a changed address the old one is removed, and the new one added');
SELECT crm.set_contact(5, 'ad:mail', NULL);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5}')$$, $$VALUES ('mail', 'remove', pg_temp.mail('egor.new'))$$, 'also when there is none');
SELECT crm.set_contact(5, 'ad:mail', 'egor@example.org');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5}')$$, $$VALUES ('mail', 'add', pg_temp.mail('egor'))$$, 'and when the first is back');

-- a phone of two people
SELECT crm.unsubscribe(3, 'ad:call');
SELECT is_empty($$SELECT * FROM pg_temp.sync_and_work('{3}')$$, 'a phone of two stays while one of them wants it');
SELECT crm.remove_from_segment('regress', ARRAY[4]);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{4}')$$,
	$$VALUES ('mail', 'remove', pg_temp.mail('dora')), ('call', 'remove', pg_temp.phone(3))$$, 'and goes with the other');

-- merging
SELECT crm.merge_customers(1, 2);
SELECT is_empty($$SELECT * FROM pg_temp.sync_and_work('{1,2}')$$, 'two who become one keep both addresses');
SELECT pg_temp.later();
SELECT crm.unsubscribe(2, 'ad:mail');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{2}')$$,
	$$VALUES ('mail', 'remove', pg_temp.mail('anna')), ('mail', 'remove', pg_temp.mail('boris'))$$, 'and refuse for both');
SELECT crm.unmerge_customers(2);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{1,2}')$$, $$VALUES ('mail', 'add', pg_temp.mail('anna'))$$, 'until they are two again');
SELECT crm.merge_customers(5, 2);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5,2}')$$, $$VALUES ('mail', 'remove', pg_temp.mail('egor'))$$,
	'who is merged with somebody who has refused is removed');
SELECT crm.unmerge_customers(2);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5,2}')$$, $$VALUES ('mail', 'add', pg_temp.mail('egor'))$$, 'and comes back with him gone');
SELECT crm.remove_from_segment('regress', ARRAY[2]), crm.merge_customers(2, 5);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{5,2}')$$, $$VALUES ('mail', 'remove', pg_temp.mail('egor'))$$,
	'merged into somebody outside the segment he brings it along, and the refusal holds');
SELECT set_eq($$SELECT n.hash FROM public.regress_network AS n WHERE n.audience = 'call'$$,
	$$SELECT pg_temp.phone(n) FROM unnest('{1,2,5}'::int[]) AS n$$, 'calls were not refused');
SELECT crm.unmerge_customers(5), crm.suppress_address('ad:mail', 'clara@example.org');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{2,3,5}')$$,
	$$VALUES ('mail', 'add', pg_temp.mail('egor')), ('mail', 'remove', pg_temp.mail('clara')), ('call', 'remove', pg_temp.phone(2))$$,
	'two again; and an address is suppressed');

-- erasing
SELECT set_eq($$SELECT n.* FROM public.regress_network AS n$$,
	$$VALUES ('mail', pg_temp.mail('anna')), ('mail', pg_temp.mail('egor')), ('call', pg_temp.phone(1)), ('call', pg_temp.phone(5))$$,
	'the network has anna and egor');
SELECT ok(crm.export_customer(5) -> 'tables' -> 'audience_link' @> jsonb_build_array(jsonb_build_object('hash', '\x' || pg_temp.mail('egor'))),
	'who asks is told that he was uploaded');
SELECT is(crm.erase_customer(5) -> 'audience_link', '2', 'egor is erased');
SELECT is_empty($$SELECT FROM crm.audience_link AS k WHERE k.customer_id = 5 UNION ALL SELECT FROM crm.audience_member AS m WHERE m.customer_id = 5$$,
	'no audience knows his id');
SELECT set_eq($$SELECT encode(l.hash, 'hex'), l.state, l.forget FROM crm.audience_ledger AS l
				 WHERE encode(l.hash, 'hex') IN (pg_temp.mail('egor'), pg_temp.mail('egor.new'), pg_temp.phone(5))$$,
	$$VALUES (pg_temp.mail('egor'), 'remove', true), (pg_temp.phone(5), 'remove', true)$$,
	'but his hashes are still to be removed; that one was removed before is forgotten at once');
SELECT pg_temp.later();
SELECT lives_ok($$SELECT crm.nack_audience(array_agg(c.entry_id), min(c.token), 'try later') FROM crm.claim_audience('mail') AS c$$, 'the network refuses');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work()$$,
	$$VALUES ('mail', 'remove', pg_temp.mail('egor')), ('call', 'remove', pg_temp.phone(5))$$, 'and is told again');
SELECT is_empty($$SELECT FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') IN (pg_temp.mail('egor'), pg_temp.phone(5))$$,
	'when it has obeyed, nothing of him is left');
SELECT isnt_empty($$SELECT FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') = pg_temp.mail('clara') AND l.state = 'removed'$$,
	'while other removals are kept for the record');
SELECT is_empty($$SELECT * FROM pg_temp.sync_and_work()$$, 'nobody takes him up again');

-- erased while he is being uploaded, and while somebody else has the same phone
UPDATE public.regress_users SET phone = '+79160000001' WHERE id = 3;
SELECT crm.refresh_identities(), pg_temp.later(), crm.record_consent(3, 'ad:call'), crm.set_contact(1, 'ad:mail', 'anna.new@example.org');
SELECT crm.sync_audience();
CREATE TEMP TABLE claimed AS SELECT * FROM crm.claim_audience('mail');
SELECT set_eq($$SELECT c.operation, c.hash FROM claimed AS c$$, $$VALUES ('add', pg_temp.mail('anna.new')), ('remove', pg_temp.mail('anna'))$$,
	'while anna is being uploaded');
SELECT is(crm.erase_customer(1) -> 'audience_link', '2', 'she is erased');
SELECT pg_temp.carry_out('mail', c.operation, ARRAY[c.hash]) FROM claimed AS c;
SELECT is(crm.ack_audience(array_agg(c.entry_id), min(c.token)), 2, 'the worker is done') FROM claimed AS c;
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{3}')$$,
	$$VALUES ('mail', 'remove', pg_temp.mail('anna.new')), ('call', 'remove', pg_temp.phone(1))$$,
	'and is sent again; her phone is suppressed for whoever has it');
SELECT is_empty($$SELECT FROM public.regress_network$$, 'the network has nobody');
SELECT is_empty($$SELECT FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') IN (pg_temp.mail('anna'), pg_temp.mail('anna.new'), pg_temp.phone(1))$$,
	'nothing of her is left');

-- an answer that is lost, and then a refusal
UPDATE public.regress_users SET email = 'clara.new@example.org' WHERE id = 3;
SELECT crm.refresh_identities(), pg_temp.later(), crm.sync_audience();
SELECT pg_temp.carry_out('mail', c.operation, ARRAY[c.hash]) FROM crm.claim_audience('mail') AS c;
SELECT pg_temp.later();
SELECT is(crm.nack_audience(array_agg(c.entry_id), min(c.token)), 1, 'a second worker says that it was not done') FROM crm.claim_audience('mail') AS c;
SELECT crm.set_contact(3, 'ad:mail', NULL);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{3}')$$, $$VALUES ('mail', 'remove', pg_temp.mail('clara.new'))$$,
	'which does not tell of the first: it is removed');
-- refusals of what has come to be wanted otherwise
SELECT crm.set_contact(3, 'ad:mail', 'clara.third@example.org'), pg_temp.later(), crm.sync_audience();
CREATE TEMP TABLE third AS SELECT * FROM crm.claim_audience('mail');
SELECT crm.set_contact(3, 'ad:mail', NULL), crm.sync_audience_customers('{3}');
SELECT is(crm.nack_audience(array_agg(t.entry_id), min(t.token)), 1, 'an upload that is refused') FROM third AS t;
SELECT is_empty($$SELECT * FROM pg_temp.sync_and_work()$$, 'and is not wanted any more, is nothing');
SELECT is_empty($$SELECT FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') = pg_temp.mail('clara.third')$$, 'that anybody keeps');
SELECT crm.set_contact(3, 'ad:mail', 'clara.third@example.org'), pg_temp.sync_and_work(), crm.set_contact(3, 'ad:mail', NULL), pg_temp.later(),
	   crm.sync_audience();
CREATE TEMP TABLE fourth AS SELECT * FROM crm.claim_audience('mail');
SELECT crm.reset_contact(3, 'ad:mail'), crm.set_contact(3, 'ad:mail', 'clara.third@example.org'), crm.sync_audience_customers('{3}');
SELECT is(crm.nack_audience(array_agg(t.entry_id), min(t.token)), 1, 'a removal that is refused') FROM fourth AS t WHERE t.operation = 'remove';
SELECT is((SELECT l.state FROM crm.audience_ledger AS l WHERE encode(l.hash, 'hex') = pg_temp.mail('clara.third')), 'present',
	'and is not wanted any more, has nothing to be done');
SELECT crm.set_contact(3, 'ad:mail', NULL), pg_temp.sync_and_work();

-- by hand, under whichever id
SELECT crm.create_audience('hand', 'ad:call');
UPDATE public.regress_users SET phone = '+79160000033' WHERE id = 3;
SELECT crm.refresh_identities(), crm.record_consent(4, 'ad:call'), crm.add_to_audience('hand', '{3,4}');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{3,4}')$$,
	$$VALUES ('call', 'add', pg_temp.phone(33)), ('hand', 'add', pg_temp.phone(33)), ('hand', 'add', pg_temp.phone(3))$$, 'put in by hand');
SELECT crm.merge_customers(4, 3);
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{3,4}')$$, $$VALUES ('call', 'add', pg_temp.phone(3)), ('mail', 'add', pg_temp.mail('dora'))$$,
	'two in it are one, who is wanted elsewhere with all addresses that may be used');
SELECT is(crm.remove_from_audience('hand', '{3}'), 1, 'taken out by either id');
SELECT set_eq($$SELECT * FROM pg_temp.sync_and_work('{3}')$$,
	$$VALUES ('hand', 'remove', pg_temp.phone(33)), ('hand', 'remove', pg_temp.phone(3))$$, 'he is out with both');
SELECT is(crm.erase_customer(6) ->> 'audience_member', NULL, 'who is in none is erased as ever');
SELECT is(crm.add_to_audience('hand', '{6}'), 0, 'who was erased is not put in');
SELECT is_empty($$SELECT FROM crm.audience_member AS m WHERE m.customer_id = 6$$, 'nor stored');

-- dropping
SELECT is(crm.drop_audience('hand'), 0::bigint, 'an audience of which the network has nothing goes at once');
SELECT is(crm.drop_audience('call'), 2::bigint, 'another one goes when it is told');
SELECT is(crm.drop_audience('mail'), 1::bigint, 'and so does the third one');
SELECT set_eq($$SELECT * FROM pg_temp.work()$$,
	$$VALUES ('call', 'remove', pg_temp.phone(33)), ('call', 'remove', pg_temp.phone(3)), ('mail', 'remove', pg_temp.mail('dora'))$$, 'they are told');
SELECT is_empty($$SELECT FROM crm.audience UNION ALL SELECT FROM crm.audience_ledger UNION ALL SELECT FROM crm.audience_link$$, 'nothing is left');
SELECT crm.drop_segment('regress');

------------------------------------------------------------------------------------------------------------------
-- At random
------------------------------------------------------------------------------------------------------------------

\ir include/audience_random.sql

CREATE FUNCTION pg_temp.run(steps int, sequences int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	touched bigint[];
	full_sync record;
BEGIN
	FOR step IN 1 .. steps LOOP
		PERFORM pg_temp.later((1 + floor(random() * 4)) * interval '1 minute');
		touched := ARRAY(SELECT DISTINCT t FROM generate_series(1, sequences) AS s, unnest(pg_temp.happen(step, s)) AS t);
		PERFORM crm.refresh_segments();
		-- workers come before anybody has looked, and after
		PERFORM pg_temp.try_work(step, w) FROM unnest('{mail,call}'::text[]) AS w;
		INSERT INTO public.regress_wrong SELECT step, 'unsettled', u FROM pg_temp.unsettled() AS u;
		IF step % 5 = 0 THEN
			PERFORM crm.sync_audience();
		ELSE
			PERFORM crm.sync_audience_customers(touched);
			INSERT INTO public.regress_wrong SELECT step, 'mismatch', m FROM pg_temp.mismatch() AS m;
			INSERT INTO public.regress_wrong SELECT step, 'unsettled', u FROM pg_temp.unsettled() AS u;
			SELECT * INTO full_sync FROM crm.sync_audience();
			INSERT INTO public.regress_wrong SELECT step, 'not by customers', full_sync::text WHERE full_sync.added + full_sync.removed > 0;
		END IF;
		INSERT INTO public.regress_wrong SELECT step, 'mismatch', m FROM pg_temp.mismatch() AS m;
		PERFORM pg_temp.try_work(step, w) FROM unnest('{mail,call}'::text[]) AS w;
		IF step % 7 = 0 THEN
			PERFORM pg_temp.drift(step, w) FROM unnest('{mail,call}'::text[]) AS w;
		END IF;
		INSERT INTO public.regress_wrong SELECT step, 'unsettled', u FROM pg_temp.unsettled() AS u;
	END LOOP;
END
$$;
SELECT pg_temp.run(:steps, :sequences);
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'not by customers' LIMIT 5$$, 'also where only some were looked at');
SELECT crm.sync_audience();
\ir include/audience_random_end.sql

SELECT * FROM finish();

ROLLBACK;

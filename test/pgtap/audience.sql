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

CREATE TABLE public.regress_network (audience text, hash text, PRIMARY KEY (audience, hash));
CREATE TABLE public.regress_told (audience text, operation text, hash text);

CREATE FUNCTION pg_temp.mail(name text) RETURNS text LANGUAGE sql AS
	$$SELECT encode(sha256(convert_to(name || '@example.org', 'UTF8')), 'hex')$$;
CREATE FUNCTION pg_temp.phone(last int) RETURNS text LANGUAGE sql AS
	$$SELECT encode(sha256(convert_to(format('+7916000%s', lpad(last::text, 4, '0')), 'UTF8')), 'hex')$$;
CREATE FUNCTION pg_temp.later(by interval DEFAULT '1 hour') RETURNS timestamptz LANGUAGE sql AS
	$$SELECT set_config('crm_marketing.now', (crm.now() + by)::text, true)::timestamptz$$;

-- The network does what it is told
CREATE FUNCTION pg_temp.carry_out(whose text, what text, hashes text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF what = 'add' THEN
		INSERT INTO public.regress_network SELECT whose, h FROM unnest(hashes) AS h ON CONFLICT DO NOTHING;
	ELSE
		DELETE FROM public.regress_network AS n WHERE n.audience = whose AND n.hash = ANY (hashes);
	END IF;
END
$$;
-- A worker who does all that is to be done; what he has told the network is what is returned
CREATE FUNCTION pg_temp.work() RETURNS TABLE (audience text, operation text, hash text) LANGUAGE plpgsql AS $$
DECLARE
	a record;
	c record;
BEGIN
	FOR a IN SELECT x.audience FROM crm.audience AS x ORDER BY 1 LOOP
		FOR c IN SELECT x.operation, array_agg(x.entry_id) AS entries, array_agg(x.hash) AS hashes, min(x.token) AS token
				   FROM crm.claim_audience(a.audience) AS x GROUP BY 1 ORDER BY 1 DESC LOOP
			PERFORM pg_temp.carry_out(a.audience, c.operation, c.hashes);
			PERFORM crm.ack_audience(c.entries, c.token);
			RETURN QUERY SELECT a.audience, c.operation, h FROM unnest(c.hashes) AS h;
		END LOOP;
	END LOOP;
END
$$;
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

-- Sequences beside each other: customers s * 10 + 1 to s * 10 + 6 of sequence s. Some phones are those of several sequences.
\if :{?sequences} \else \set sequences 60 \endif
\if :{?steps} \else \set steps 60 \endif
\if :{?seed} \else \set seed 0.65 \endif
SELECT setseed(:seed);
DELETE FROM public.regress_users;
INSERT INTO public.regress_users
SELECT 1000 + s * 10 + i, format('u%s.%s@example.org', s, i), CASE WHEN i < 5 THEN format('+7917%s', lpad((s / 2 * 10 + i)::text, 7, '0')) END
  FROM generate_series(1, :sequences) AS s, generate_series(1, 6) AS i;
SELECT crm.refresh_identities();
SELECT crm.create_static_segment('regress', '{}'::bigint[]);
SELECT crm.create_audience('mail', 'ad:mail', 'regress'), crm.create_audience('call', 'ad:call', hash_form => 'sha256_digits');

CREATE TABLE public.regress_chosen (audience text, id bigint, PRIMARY KEY (audience, id));
-- What may be at the network: carried out, or nobody knows
CREATE TABLE public.regress_perhaps (audience text, hash text, PRIMARY KEY (audience, hash));
CREATE TABLE public.regress_late (audience text, entries bigint[], operation text, token bigint);
CREATE TABLE public.regress_wrong (step int, what text, detail text);
CREATE TABLE public.regress_done (step int, what text);

-- What is wanted, worked out anew, person by person
CREATE FUNCTION pg_temp.expected(whose text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT DISTINCT encode(sha256(convert_to(ltrim(a.address, '+'), 'UTF8')), 'hex')
	  FROM crm.contact_rows(ARRAY(SELECT DISTINCT crm.resolve_customer(c.id) FROM public.regress_chosen AS c WHERE c.audience = whose)) AS a
	 WHERE a.channel = 'ad:' || whose AND 'marketing' = ANY (a.purposes) AND NOT a.suppressed
$$;

CREATE FUNCTION pg_temp.who_has(addresses text[]) RETURNS bigint[] LANGUAGE sql AS $$
	SELECT coalesce(array_agg(x.id), '{}')
	  FROM (SELECT i.customer_id FROM crm.identity AS i WHERE i.value = ANY (addresses)
			 UNION SELECT c.customer_id FROM crm.contact AS c WHERE c.address = ANY (addresses)) AS x(id)
$$;

-- One thing happens to a sequence; those whom it touches
CREATE FUNCTION pg_temp.happen(step int, s int) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
	whose bigint := 1000 + s * 10 + 1 + floor(random() * 6)::int;
	other bigint := 1000 + s * 10 + 1 + floor(random() * 6)::int;
	channel CONSTANT text := (ARRAY['mail', 'call'])[1 + floor(random() * 2)::int];
	what CONSTANT text := (ARRAY['in', 'in', 'in', 'in', 'out', 'agree', 'agree', 'agree', 'agree', 'refuse', 'refuse all', 'set', 'feed', 'reset',
								 'suppress', 'release', 'merge', 'merge', 'unmerge', 'unmerge', 'erase'])[1 + floor(random() * 21)::int];
	address CONSTANT text := CASE channel WHEN 'mail' THEN format('v%s.%s@example.org', s, floor(random() * 4))
							 ELSE format('+7917%s', lpad((s / 2 * 10 + floor(random() * 8))::text, 7, '0')) END;
	known text[];
BEGIN
	IF what = 'unmerge' THEN
		SELECT a.alias, a.customer_id INTO whose, other FROM crm.alias AS a WHERE a.alias / 10 = 100 + s ORDER BY random() LIMIT 1;
	END IF;
	IF whose IS NULL OR EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id IN (whose, other))
		OR what IN ('set', 'feed') AND crm.is_erased(CASE channel WHEN 'mail' THEN 'email' ELSE 'phone' END, address)
		OR what = 'erase' AND random() < 0.7 THEN
		RETURN '{}';
	END IF;
	INSERT INTO public.regress_done VALUES (step, what);
	CASE what
		WHEN 'in' THEN
			IF channel = 'mail' THEN
				PERFORM crm.add_to_segment('regress', ARRAY[whose]);
			ELSE
				PERFORM crm.add_to_audience('call', ARRAY[whose]);
			END IF;
			INSERT INTO public.regress_chosen VALUES (channel, whose) ON CONFLICT DO NOTHING;
		WHEN 'out' THEN
			IF channel = 'mail' THEN
				PERFORM crm.remove_from_segment('regress', ARRAY[whose]);
			ELSE
				PERFORM crm.remove_from_audience('call', ARRAY[whose]);
			END IF;
			DELETE FROM public.regress_chosen AS c WHERE c.audience = channel AND crm.resolve_customer(c.id) = crm.resolve_customer(whose);
		WHEN 'agree' THEN PERFORM crm.record_consent(whose, 'ad:' || channel);
		WHEN 'refuse' THEN PERFORM crm.unsubscribe(whose, 'ad:' || channel);
		WHEN 'refuse all' THEN PERFORM crm.unsubscribe(whose);
		WHEN 'set' THEN PERFORM crm.set_contact(whose, 'ad:' || channel, CASE WHEN random() < 0.8 THEN address END);
		WHEN 'reset' THEN PERFORM crm.reset_contact(whose, 'ad:' || channel);
		WHEN 'feed' THEN
			IF channel = 'mail' THEN
				UPDATE public.regress_users AS u SET email = address WHERE u.id = whose;
			ELSE
				UPDATE public.regress_users AS u SET phone = address WHERE u.id = whose;
			END IF;
		WHEN 'suppress' THEN
			PERFORM crm.suppress_address('ad:' || channel, address);
			RETURN pg_temp.who_has(ARRAY[address]);
		WHEN 'release' THEN
			PERFORM crm.release_address('ad:' || channel, address);
			RETURN pg_temp.who_has(ARRAY[address]);
		WHEN 'merge' THEN
			PERFORM crm.merge_customers(whose, other);
			RETURN ARRAY[whose, other];
		WHEN 'unmerge' THEN
			PERFORM crm.unmerge_customers(whose);
			RETURN ARRAY[whose, other];
		WHEN 'erase' THEN
			SELECT array_agg(n.value) INTO known FROM crm.names_of_ids(crm.ids_of(crm.resolve_customer(whose))) AS n;
			PERFORM crm.erase_customer(whose);
			DELETE FROM public.regress_chosen AS c WHERE c.id IN (SELECT e.customer_id FROM crm.erased_customer AS e);
			RETURN pg_temp.who_has(known);
	END CASE;
	RETURN ARRAY[whose];
END
$$;

-- A worker claims something. It is carried out and said so, now or later; or is not, and said so; or nobody knows.
CREATE FUNCTION pg_temp.try_work(step int, whose text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c record;
BEGIN
	CREATE TEMP TABLE given AS
	SELECT x.*, (ARRAY['ack', 'ack', 'ack', 'ack', 'late', 'late', 'lost', 'lost, not done', 'nack', 'nack'])[1 + floor(random() * 10)::int] AS answer
	  FROM crm.claim_audience(whose, 1 + floor(random() * 40)::int) AS x;
	INSERT INTO public.regress_wrong
	SELECT step, 'added what nobody wants', g.hash FROM given AS g WHERE g.operation = 'add' AND g.hash NOT IN (SELECT * FROM pg_temp.expected(whose));
	INSERT INTO public.regress_wrong
	SELECT step, 'removed what was not there', g.hash
	  FROM given AS g
	 WHERE g.operation = 'remove' AND NOT EXISTS (SELECT FROM public.regress_perhaps AS p WHERE p.audience = whose AND p.hash = g.hash);
	INSERT INTO public.regress_perhaps SELECT whose, g.hash FROM given AS g WHERE g.operation = 'add' AND g.answer <> 'nack' ON CONFLICT DO NOTHING;
	DELETE FROM public.regress_perhaps AS p USING given AS g
	 WHERE p.audience = whose AND p.hash = g.hash AND g.operation = 'remove' AND g.answer = 'ack';
	FOR c IN SELECT g.operation, g.answer, g.token, array_agg(g.entry_id) AS entries, array_agg(g.hash) AS hashes FROM given AS g GROUP BY 1, 2, 3 LOOP
		INSERT INTO public.regress_done SELECT step, c.operation || ': ' || c.answer FROM unnest(c.entries);
		IF c.answer IN ('ack', 'late', 'lost') THEN
			PERFORM pg_temp.carry_out(whose, c.operation, c.hashes);
		END IF;
		IF c.answer = 'late' THEN
			INSERT INTO public.regress_late VALUES (whose, c.entries, c.operation, c.token);
		ELSIF c.answer IN ('ack', 'nack') THEN
			INSERT INTO public.regress_wrong
			SELECT step, 'not heard', c.answer
			  FROM (SELECT CASE c.answer WHEN 'ack' THEN crm.ack_audience(c.entries, c.token)
										 ELSE crm.nack_audience(c.entries, c.token, 'not now') END AS heard) AS a
			 WHERE a.heard <> cardinality(c.entries);
		END IF;
	END LOOP;
	DROP TABLE given;
	FOR c IN DELETE FROM public.regress_late AS l WHERE random() < 0.2 RETURNING l.* LOOP
		-- what is acknowledged as removed is there no more
		IF c.operation = 'remove' THEN
			DELETE FROM public.regress_perhaps AS p
			 USING crm.audience_ledger AS l
			 WHERE p.audience = c.audience AND encode(l.hash, 'hex') = p.hash AND l.entry_id = ANY (c.entries) AND l.token = c.token;
		END IF;
		INSERT INTO public.regress_done SELECT step, 'late ' || CASE crm.ack_audience(c.entries, c.token) WHEN 0 THEN 'in vain' ELSE 'heard' END;
	END LOOP;
END
$$;

-- The network loses something and gets something from elsewhere, which comes to light
CREATE FUNCTION pg_temp.drift(step int, whose text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	lost text;
	stranger CONSTANT text := encode(sha256(convert_to(random()::text, 'UTF8')), 'hex');
	found text[];
BEGIN
	SELECT n.hash INTO lost
	  FROM public.regress_network AS n
	  JOIN crm.audience_ledger AS l ON encode(l.hash, 'hex') = n.hash AND l.state = 'present'
	  JOIN crm.audience AS a ON a.audience_id = l.audience_id AND a.audience = n.audience
	 WHERE n.audience = whose ORDER BY random() LIMIT 1;
	PERFORM pg_temp.carry_out(whose, 'remove', ARRAY[lost]), pg_temp.carry_out(whose, 'add', ARRAY[stranger]);
	INSERT INTO public.regress_perhaps VALUES (whose, stranger);
	SELECT array_agg(r.hash || ' ' || r.difference) INTO found
	  FROM crm.reconcile_audience(whose, ARRAY(SELECT n.hash FROM public.regress_network AS n WHERE n.audience = whose)) AS r;
	INSERT INTO public.regress_done VALUES (step, 'drift');
	INSERT INTO public.regress_wrong SELECT step, 'not found', found::text
	 WHERE NOT found @> ARRAY[stranger || ' unknown to us'] OR NOT coalesce(found @> ARRAY[lost || ' missing there'], false) AND lost IS NOT NULL;
	-- it also tells what nobody knew
	DELETE FROM public.regress_perhaps AS p
	 USING crm.audience_ledger AS l, crm.audience AS a
	 WHERE p.audience = whose AND encode(l.hash, 'hex') = p.hash AND l.uploaded = 'no' AND l.state NOT IN ('adding', 'removing')
	   AND a.audience_id = l.audience_id AND a.audience = whose;
END
$$;

CREATE FUNCTION pg_temp.mismatch() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT a.audience || ' not expected ' || k.hash
	  FROM crm.audience AS a CROSS JOIN LATERAL (SELECT DISTINCT encode(o.hash, 'hex') FROM crm.audience_link AS o WHERE o.audience_id = a.audience_id
												 EXCEPT SELECT * FROM pg_temp.expected(a.audience)) AS k(hash)
	 UNION ALL
	SELECT a.audience || ' expected ' || k.hash
	  FROM crm.audience AS a CROSS JOIN LATERAL (SELECT * FROM pg_temp.expected(a.audience)
												 EXCEPT SELECT encode(o.hash, 'hex') FROM crm.audience_link AS o WHERE o.audience_id = a.audience_id) AS k(hash)
$$;
-- What follows from it is settled at any time
CREATE FUNCTION pg_temp.unsettled() RETURNS SETOF text LANGUAGE sql AS $$
	SELECT concat_ws(' ', l.audience_id, l.state, encode(l.hash, 'hex'))
	  FROM crm.audience_ledger AS l
	 WHERE l.state NOT IN ('adding', 'removing')
	   AND (l.state IN ('add', 'present', 'refused')) <> EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash)
	 UNION ALL
	SELECT 'no entry ' || encode(k.hash, 'hex')
	  FROM crm.audience_link AS k
	 WHERE NOT EXISTS (SELECT FROM crm.audience_ledger AS l WHERE l.audience_id = k.audience_id AND l.hash = k.hash)
$$;

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

SELECT cmp_ok((SELECT count(*) FROM public.regress_done AS d WHERE d.what ~ '^(add|remove)'), '>=', 500::bigint, 'much was told');
SELECT cmp_ok((SELECT min(n) FROM (SELECT count(d.step) AS n FROM unnest(ARRAY['merge', 'unmerge', 'erase', 'suppress', 'refuse', 'feed', 'set', 'add: lost',
	'add: nack', 'add: late', 'remove: ack', 'remove: lost', 'remove: nack', 'remove: late', 'late heard', 'late in vain', 'drift']) AS w
	LEFT JOIN public.regress_done AS d ON d.what = w GROUP BY w) AS x), '>=', 5::bigint, 'and everything has happened');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'added what nobody wants' LIMIT 5$$, 'nothing was given out to be uploaded that was not wanted by then');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'removed what was not there' LIMIT 5$$, 'and nothing to be removed that cannot have been there');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'mismatch' LIMIT 5$$, 'who is wanted was always as if worked out anew');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'unsettled' LIMIT 5$$, 'and the ledger what follows from it');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what = 'not by customers' LIMIT 5$$, 'also where only some were looked at');
SELECT is_empty($$SELECT w.* FROM public.regress_wrong AS w WHERE w.what IN ('not heard', 'not found') LIMIT 5$$, 'who had a claim was heard, and drift found');

-- in the end
CREATE FUNCTION pg_temp.drain() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1 .. 5 LOOP
		PERFORM pg_temp.later('10 hours'), crm.retry_audience(a.audience) FROM crm.audience AS a WHERE a.stopped IS NULL;
		PERFORM * FROM pg_temp.work();
	END LOOP;
END
$$;
SELECT crm.sync_audience();
SELECT pg_temp.drain();
SELECT isnt_empty($$SELECT FROM public.regress_network$$, 'in the end the network has somebody');
SELECT set_eq($$SELECT n.* FROM public.regress_network AS n$$, $$SELECT a.audience, e FROM crm.audience AS a, pg_temp.expected(a.audience) AS e$$,
	'exactly those whom it is to have');
SELECT is_empty($$SELECT s.* FROM crm.audience_size AS s WHERE s.wanted <> s.present OR s.to_add + s.to_remove + s.refused > 0$$, 'as the ledger says');
SELECT is_empty($$SELECT FROM crm.audience_link AS k JOIN crm.erased_customer AS e USING (customer_id)
				   UNION ALL SELECT FROM crm.audience_ledger AS l WHERE l.forget AND l.state = 'removed'$$, 'nothing is left of those who were erased');
SELECT crm.drop_audience('mail'), crm.drop_audience('call'), pg_temp.later();
SELECT pg_temp.drain();
SELECT is_empty($$SELECT FROM public.regress_network UNION ALL SELECT FROM crm.audience$$, 'and when the audiences are dropped, nothing of anybody');

SELECT * FROM finish();

ROLLBACK;

-- What happens to people in ad audiences at random, what workers and the network make of it, and what is to be so then. Includes
-- audience_network.sql before; who includes it lets things happen, and ends with audience_random_end.sql.

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
-- Those whom something happens to; into any other than these two comes who visits, for half an hour
CREATE TABLE public.regress_audience AS
SELECT a.audience, c.kind FROM crm.audience AS a JOIN crm.channel AS c USING (channel);

CREATE TABLE public.regress_chosen (audience text, id bigint, until timestamptz DEFAULT 'infinity', PRIMARY KEY (audience, id));
-- What may be at the network: carried out, or nobody knows
CREATE TABLE public.regress_perhaps (audience text, hash text, PRIMARY KEY (audience, hash));
CREATE TABLE public.regress_late (audience text, entries bigint[], operation text, token bigint);
CREATE TABLE public.regress_wrong (step int, what text, detail text);
CREATE TABLE public.regress_done (step int, what text);

-- What is wanted, worked out anew, person by person
CREATE FUNCTION pg_temp.expected(whose text) RETURNS SETOF text LANGUAGE sql AS $$
	SELECT DISTINCT encode(sha256(convert_to(ltrim(a.address, '+'), 'UTF8')), 'hex')
	  FROM crm.contact_rows(ARRAY(SELECT DISTINCT crm.resolve_customer(c.id) FROM public.regress_chosen AS c
								 WHERE c.audience = whose AND c.until > crm.now())) AS a
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
	channel CONSTANT text := (SELECT a.audience FROM public.regress_audience AS a ORDER BY random() LIMIT 1);
	kind CONSTANT text := (SELECT a.kind FROM public.regress_audience AS a WHERE a.audience = channel);
	what CONSTANT text := (ARRAY['in', 'in', 'in', 'in', 'out', 'agree', 'agree', 'agree', 'agree', 'refuse', 'refuse all', 'set', 'feed', 'reset',
								 'suppress', 'release', 'merge', 'merge', 'unmerge', 'unmerge', 'erase'])[1 + floor(random() * 21)::int];
	address CONSTANT text := CASE kind WHEN 'email' THEN format('v%s.%s@example.org', s, floor(random() * 4))
							 ELSE format('+7917%s', lpad((s / 2 * 10 + floor(random() * 8))::text, 7, '0')) END;
	known text[];
BEGIN
	IF what = 'unmerge' THEN
		SELECT a.alias, a.customer_id INTO whose, other FROM crm.alias AS a WHERE a.alias / 10 = 100 + s ORDER BY random() LIMIT 1;
	END IF;
	IF whose IS NULL OR EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id IN (whose, other))
		OR what IN ('set', 'feed') AND crm.is_erased(kind, address)
		OR what = 'erase' AND random() < 0.7 THEN
		RETURN '{}';
	END IF;
	INSERT INTO public.regress_done VALUES (step, what);
	CASE what
		WHEN 'in' THEN
			IF channel = 'mail' THEN
				PERFORM crm.add_to_segment('regress', ARRAY[whose]);
			ELSIF channel = 'call' THEN
				PERFORM crm.add_to_audience('call', ARRAY[whose]);
			ELSE
				PERFORM crm.track(whose, 'visit', '{}', crm.now() - interval '10 seconds');
			END IF;
			INSERT INTO public.regress_chosen AS c
			VALUES (channel, whose, CASE WHEN channel IN ('mail', 'call') THEN 'infinity' ELSE crm.now() + interval '29 minutes 50 seconds' END)
			ON CONFLICT (audience, id) DO UPDATE SET until = excluded.until;
		WHEN 'out' THEN
			IF channel = 'mail' THEN
				PERFORM crm.remove_from_segment('regress', ARRAY[whose]);
			ELSE
				PERFORM crm.remove_from_audience('call', ARRAY[whose]);
			END IF;
			DELETE FROM public.regress_chosen AS c
			 WHERE c.audience = CASE channel WHEN 'mail' THEN 'mail' ELSE 'call' END AND crm.resolve_customer(c.id) = crm.resolve_customer(whose);
		WHEN 'agree' THEN PERFORM crm.record_consent(whose, 'ad:' || channel);
		WHEN 'refuse' THEN PERFORM crm.unsubscribe(whose, 'ad:' || channel);
		WHEN 'refuse all' THEN PERFORM crm.unsubscribe(whose);
		WHEN 'set' THEN PERFORM crm.set_contact(whose, 'ad:' || channel, CASE WHEN random() < 0.8 THEN address END);
		WHEN 'reset' THEN PERFORM crm.reset_contact(whose, 'ad:' || channel);
		WHEN 'feed' THEN
			IF kind = 'email' THEN
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
	SELECT step, 'added what nobody wants', format('%s: %s', whose, g.hash) FROM given AS g WHERE g.operation = 'add' AND g.hash NOT IN (SELECT * FROM pg_temp.expected(whose));
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

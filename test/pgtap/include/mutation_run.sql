-- How texts are mutated, what is done with those that are accepted, and what is written down.

CREATE TABLE mutation.tally (what text PRIMARY KEY, cases bigint DEFAULT 0, accepted bigint DEFAULT 0);

CREATE TABLE mutation.failure (n int GENERATED ALWAYS AS IDENTITY, what text, input text, complaint text);

-- Cases that took longest: to be looked at, not to be judged.
CREATE TABLE mutation.slow (what text, input text, seconds numeric);

CREATE FUNCTION mutation.allowed(state text) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN left(state, 2) IN ('22', '42', '54');

CREATE FUNCTION mutation.sort_of(token text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE WHEN token ~ '^-?[0-9]' THEN 'number' WHEN token ~ '^\w' THEN 'word' ELSE left(token, 1) END;

-- Changes of tokens, and then, now and then, of letters.
CREATE FUNCTION mutation.mutate(tokens text[], other text[], scraps text[], letters text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n int;
	i int;
	j int;
	result text;
	how float8 := random();
BEGIN
	IF how < 0.8 THEN
		FOR k IN 0 .. floor(random() * random() * 3)::int LOOP
			n := cardinality(tokens);
			i := 1 + floor(random() * n);
			CASE floor(random() * 12)::int
				WHEN 0 THEN		-- delete
					tokens := tokens[: i - 1] || tokens[i + 1 :];
				WHEN 1 THEN		-- repeat a stretch
					j := least(n, i + floor(random() * 6)::int);
					tokens := tokens[: j] || tokens[i :];
				WHEN 2 THEN		-- swap
					j := 1 + floor(random() * n);
					result := tokens[i];
					tokens[i] := tokens[j];
					tokens[j] := result;
				WHEN 3, 4 THEN	-- insert
					tokens := tokens[: i - 1] || scraps[1 + floor(random() * cardinality(scraps))::int] || tokens[i :];
				WHEN 5, 6 THEN	-- replace
					tokens[i] := scraps[1 + floor(random() * cardinality(scraps))::int];
				WHEN 7, 8, 9, 10 THEN	-- replace by what may well stand there: a number by a number, a word by a word
					FOR attempt IN 1 .. 20 LOOP
						result := scraps[1 + floor(random() * cardinality(scraps))::int];
						IF mutation.sort_of(result) = mutation.sort_of(tokens[i]) THEN
							tokens[i] := result;
							EXIT;
						END IF;
					END LOOP;
				ELSE			-- splice
					j := 1 + floor(random() * cardinality(other));
					tokens := tokens[: i] || other[j :];
			END CASE;
			EXIT WHEN cardinality(tokens) = 0;
		END LOOP;
	END IF;
	result := array_to_string(tokens, ' ');
	IF how > 0.75 THEN
		FOR k IN 0 .. floor(random() * random() * 3)::int LOOP
			i := 1 + floor(random() * (length(result) + 1));
			CASE floor(random() * 5)::int
				WHEN 0 THEN result := overlay(result PLACING '' FROM i FOR 1);
				WHEN 1 THEN result := overlay(result PLACING letters[1 + floor(random() * cardinality(letters))::int] FROM i FOR 1);
				WHEN 2 THEN result := overlay(result PLACING letters[1 + floor(random() * cardinality(letters))::int] FROM i FOR 0);
				WHEN 3 THEN result := overlay(result PLACING reverse(substr(result, i, 2)) FROM i FOR 2);
				ELSE result := left(result, CASE WHEN random() < 0.3 THEN i ELSE length(result) END);
			END CASE;
		END LOOP;
	END IF;
	RETURN result;
END $$;

-- Predicates as deep, as long or as wide as any, around the limits and far beyond.
CREATE FUNCTION mutation.huge_predicate(source text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n int := CASE floor(random() * 4)::int WHEN 0 THEN 1 + floor(random() * 6) WHEN 1 THEN 120 + floor(random() * 16)
		WHEN 2 THEN 1000 + floor(random() * 1000) ELSE 1000 + floor(random() * 40000) END;
BEGIN
	RETURN CASE floor(random() * 14)::int
		WHEN 0 THEN repeat('(', n) || source || repeat(')', n)
		WHEN 1 THEN repeat('not ', n) || source
		WHEN 2 THEN repeat('not (', n) || source || repeat(')', n)
		WHEN 3 THEN 'a = ' || repeat('-', n) || '1'
		WHEN 4 THEN 'a = ' || repeat('- (', n) || '1' || repeat(')', n)
		WHEN 5 THEN repeat('has order[followed by ', n) || 'order' || repeat(']', n)
		WHEN 6 THEN 'has order[' || repeat('followed by order[', n) || 'amount > 1' || repeat(']', n) || ']'
		WHEN 7 THEN source || repeat(' or (' || source || ')', n % 300)
		WHEN 8 THEN 'a in (1' || repeat(', 2', n) || ')'
		WHEN 9 THEN 'a = 1' || repeat(' + 2 * 3', n)
		WHEN 10 THEN 'a = ''' || repeat('x', n * 10) || ''''
		WHEN 11 THEN 'x in last 1 day' || repeat(' 1 second', n)
		WHEN 12 THEN 'a like ''' || repeat('%a', n % 1000) || ''''
		ELSE repeat('(a = 1 and ', n % 140) || 'b = 2' || repeat(' or c = 3)', n % 140)
	END;
END $$;

CREATE FUNCTION mutation.huge_profile() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	n int := CASE floor(random() * 3)::int WHEN 0 THEN 1 + floor(random() * 6) WHEN 1 THEN 1590 + floor(random() * 20)
		ELSE 1000 + floor(random() * 9000) END;
BEGIN
	RETURN CASE floor(random() * 8)::int
		WHEN 0 THEN repeat('[', n) || repeat(']', n)
		WHEN 1 THEN '{"attributes": {"x": ' || repeat('[', n) || repeat(']', n) || '}}'
		WHEN 2 THEN repeat('{"attributes": ', n) || '{}' || repeat('}', n)
		WHEN 3 THEN '{"attributes": {"x": [' || repeat('1, ', n * 10) || '2]}}'
		WHEN 4 THEN '{"attributes": {"x": "' || repeat('é', n * 5) || '"}}'
		WHEN 5 THEN '{"attributes": {' || (SELECT string_agg(format('"n%s": %s', i, i), ', ') FROM generate_series(1, n) i) || '}}'
		WHEN 6 THEN '{"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", ' ||
			(SELECT string_agg(format('"n%s": %s', i, i), ', ') FROM generate_series(1, n) i) || '}]}'
		ELSE '{"attributes": {"x": 1e' || n * 20 || ', "y": 1e-' || n * 3 || '}}'
	END;
END $$;

CREATE FUNCTION mutation.fail(what text, input text, complaint text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO mutation.failure (what, input, complaint) VALUES ($1, $2, $3) $$;

-- Asks a predicate of a profile in all ways.  Whatever may be wrong with that is the caller's to catch.
CREATE FUNCTION mutation.ask(what text, input text, profile crm.profile, predicate crm.predicate, place mutation.place)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	truth bool;
	next timestamptz;
	upto timestamptz := CASE WHEN place.at < '294276-12-30Z' THEN place.at + interval '25 hours' ELSE place.at END;
	inside tstzmultirange;
	state text;
	message text;
BEGIN
	truth := crm.matches(profile, predicate, place.at, place.entry, place.zone);
	next := crm.next_change(profile, predicate, place.at, place.entry, place.zone);
	inside := crm.periods(profile, predicate, place.at, upto, place.entry, place.zone);
	PERFORM count(*) FROM crm.occurrences(profile, predicate, place.at, upto, place.entry, place.zone);
	PERFORM count(*) FROM crm.explain(profile, predicate, place.at, place.entry, place.zone);
	IF truth IS NULL OR next IS NULL OR inside IS NULL THEN
		PERFORM mutation.fail(what, input, format('an answer is NULL at %s', place));
	ELSIF next <= place.at AND next <> 'infinity' THEN
		PERFORM mutation.fail(what, input, format('next_change is %s at %s', next, place));
	ELSIF upto > place.at AND truth <> (inside @> place.at) THEN
		PERFORM mutation.fail(what, input, format('matches is %s, periods are %s at %s', truth, inside, place));
	END IF;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT;
	IF NOT mutation.allowed(state) THEN
		PERFORM mutation.fail(what, input, format('%s %s, when asked at %s', state, message, place));
	END IF;
END $$;

-- What must hold of any predicate that was read.
CREATE FUNCTION mutation.use_predicate(what text, input text, predicate crm.predicate, nfacts int, nplaces int)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	printed text := predicate::text;
	again crm.predicate := printed;
	fact mutation.facts;
	place mutation.place;
	i int := 1 + floor(random() * nfacts);
	j int := CASE WHEN random() < 0.5 THEN 2 ELSE 1 + floor(random() * nplaces) END;
BEGIN
	IF again::text <> printed OR NOT again OPERATOR(crm.=) predicate OR crm.predicate_hash(again) <> crm.predicate_hash(predicate) THEN
		PERFORM mutation.fail(what, input, 'printed ' || printed || ', read back as ' || again::text);
	END IF;
	IF crm.predicate_send(predicate) <> '\x01'::bytea || convert_to(printed, 'UTF8') THEN
		PERFORM mutation.fail(what, input, 'sent as ' || crm.predicate_send(predicate)::text);
	END IF;
	PERFORM crm.event_kinds(predicate), crm.attributes(predicate), (OPERATOR(crm.!!) predicate)::text;
	SELECT * INTO fact FROM mutation.facts WHERE n = i;
	SELECT * INTO place FROM mutation.place WHERE n = j;
	PERFORM mutation.ask(what, input, fact.profile, predicate, place);
END $$;

CREATE FUNCTION mutation.use_profile(what text, input text, profile crm.profile, nquestions int, nplaces int)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	printed text := profile::text;
	again crm.profile := printed;
	question mutation.question;
	place mutation.place;
	i int := 1 + floor(random() * nquestions);
	j int := CASE WHEN random() < 0.5 THEN 2 ELSE 1 + floor(random() * nplaces) END;
BEGIN
	IF again::text <> printed OR NOT again OPERATOR(crm.=) profile OR crm.profile_hash(again) <> crm.profile_hash(profile) THEN
		PERFORM mutation.fail(what, input, 'printed ' || printed || ', read back as ' || again::text);
	END IF;
	IF crm.profile_send(profile) <> '\x01'::bytea || convert_to(printed, 'UTF8') THEN
		PERFORM mutation.fail(what, input, 'sent as ' || crm.profile_send(profile)::text);
	END IF;
	IF (profile::jsonb)::crm.profile::text <> printed THEN
		PERFORM mutation.fail(what, input, 'as jsonb ' || (profile::jsonb)::text);
	END IF;
	PERFORM crm.customer_of(profile), (SELECT count(*) FROM crm.attributes_of(profile)), (SELECT count(*) FROM crm.events_of(profile));
	SELECT * INTO question FROM mutation.question WHERE n = i;
	SELECT * INTO place FROM mutation.place WHERE n = j;
	PERFORM mutation.ask(what, input, profile, question.predicate, place);
END $$;

-- What is refused is refused with the same words when it is asked for softly, and nothing is thrown then, save when the
-- stack is full. Servers before 16 cannot ask.
CREATE FUNCTION mutation.ask_softly(what text, input text, state text, message text, detail text, hint text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	softly text;
BEGIN
	IF current_setting('server_version_num')::int < 160000 THEN
		RETURN;
	END IF;
	EXECUTE 'SELECT concat_ws('' '', e.sql_error_code, e.message, e.detail, e.hint) FROM pg_input_error_info($1, $2) e'
		INTO softly USING input, 'crm.' || split_part(what, ' ', 1);
	IF softly <> concat_ws(' ', state, message, nullif(detail, ''), nullif(hint, '')) THEN
		PERFORM mutation.fail(what, input, format('softly "%s", else "%s"', softly, concat_ws(' ', state, message, detail, hint)));
	END IF;
EXCEPTION WHEN statement_too_complex THEN
	NULL;
WHEN OTHERS THEN
	PERFORM mutation.fail(what, input, 'thrown though asked softly: ' || SQLERRM);
END $$;

-- Bytes changed, cut or added.
CREATE FUNCTION mutation.mutate_bytes(bytes bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	n int;
BEGIN
	FOR k IN 0 .. floor(random() * 3)::int LOOP
		n := length(bytes);
		CASE floor(random() * 6)::int
			WHEN 0 THEN bytes := substr(bytes, 1, floor(random() * n)::int);
			WHEN 1 THEN bytes := bytes || set_byte('\x00'::bytea, 0, floor(random() * 256)::int);
			WHEN 2 THEN bytes := set_byte(bytes, 0, CASE WHEN random() < 0.5 THEN 2 ELSE floor(random() * 256)::int END);
			WHEN 3 THEN bytes := set_byte(bytes, floor(random() * n)::int, 0);
			WHEN 4 THEN bytes := set_bit(bytes, floor(random() * n * 8)::int, floor(random() * 2)::int);
			ELSE bytes := set_byte(bytes, floor(random() * n)::int, floor(random() * 256)::int);
		END CASE;
		EXIT WHEN length(bytes) = 0;
	END LOOP;
	RETURN bytes;
END $$;

-- A file for COPY with one row of one column.  Receive functions cannot be called from SQL in any other way.
CREATE FUNCTION mutation.write_copy_file(file text, bytes bytea) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	object oid := lo_from_bytea(0, '\x5047434f50590aff0d0a00'::bytea || '\x0000000000000000'::bytea || '\x0001'::bytea ||
								int4send(length(bytes)) || bytes || '\xffff'::bytea);
BEGIN
	PERFORM lo_export(object, file);
	PERFORM lo_unlink(object);
END $$;

-- A batch of cases of one kind.  Each has a seed of its own, so that it can be had again.
CREATE FUNCTION mutation.run(what text, seed float8, cases int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	corpus text[] := ARRAY(SELECT array_to_string(tokens, E'\x02') FROM mutation.predicate WHERE what LIKE 'predicate%'
						   UNION ALL SELECT array_to_string(tokens, E'\x02') FROM mutation.profile WHERE what NOT LIKE 'predicate%');
	scraps text[] := (SELECT s.scraps FROM mutation.scrap s WHERE s.what = CASE WHEN $1 LIKE 'predicate%' THEN 'predicate' ELSE 'profile' END);
	letters text[] := (SELECT s.scraps FROM mutation.scrap s WHERE s.what = 'letter');
	nfacts int := (SELECT count(*) FROM mutation.facts);
	nplaces int := (SELECT count(*) FROM mutation.place);
	nquestions int := (SELECT count(*) FROM mutation.question);
	ncorpus int := cardinality(corpus);
	copy_file text := format('crm_mutation_%s', (SELECT oid FROM pg_database WHERE datname = current_database()));
	naccepted bigint := 0;
	longest interval := '0';
	started timestamptz;
	slowest text;
	input text;
	bytes bytea;
	predicate crm.predicate;
	profile crm.profile;
	json jsonb;
	kind text;
	at timestamptz;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM setseed(seed);
	FOR i IN 1 .. cases LOOP
		input := CASE WHEN random() < 0.002 AND what LIKE 'predicate%' THEN mutation.huge_predicate((SELECT p.source FROM mutation.predicate p WHERE p.n = 1 + i % ncorpus))
					  WHEN random() < 0.002 AND what NOT LIKE 'predicate%' THEN mutation.huge_profile()
					  ELSE mutation.mutate(string_to_array(corpus[1 + floor(random() * ncorpus)::int], E'\x02'),
										   string_to_array(corpus[1 + floor(random() * ncorpus)::int], E'\x02'), scraps, letters) END;
		IF what LIKE '% binary' THEN
			-- valid ones too, whose bytes are to be changed
			IF random() < 0.6 THEN
				input := replace(corpus[1 + floor(random() * ncorpus)::int], E'\x02', ' ');
			END IF;
			bytes := '\x01'::bytea || convert_to(input, 'UTF8');
			IF random() < 0.8 THEN
				bytes := mutation.mutate_bytes(bytes);
			END IF;
			input := bytes::text;
		END IF;
		started := clock_timestamp();
		BEGIN
			CASE what
				WHEN 'predicate text' THEN
					predicate := input;
					PERFORM mutation.use_predicate(what, input, predicate, nfacts, nplaces);
				WHEN 'profile text' THEN
					profile := input;
					PERFORM mutation.use_profile(what, input, profile, nquestions, nplaces);
				WHEN 'predicate binary' THEN
					PERFORM mutation.write_copy_file(copy_file, bytes);
					EXECUTE format('COPY mutation.received_predicate FROM %L (FORMAT binary)', copy_file);
					DELETE FROM mutation.received_predicate RETURNING value INTO predicate;
					PERFORM mutation.use_predicate(what, input, predicate, nfacts, nplaces);
				WHEN 'profile binary' THEN
					PERFORM mutation.write_copy_file(copy_file, bytes);
					EXECUTE format('COPY mutation.received_profile FROM %L (FORMAT binary)', copy_file);
					DELETE FROM mutation.received_profile RETURNING value INTO profile;
					PERFORM mutation.use_profile(what, input, profile, nquestions, nplaces);
				WHEN 'jsonb cast' THEN
					json := input;
					profile := json;
					PERFORM mutation.use_profile(what, input, profile, nquestions, nplaces);
				WHEN 'profile_agg' THEN
					-- in the form of rows
					json := input;
					SELECT crm.profile_agg(e.kind, CASE WHEN e.at ~ '^\d{4}-\d\d-\d\dT[0-9:]+Z$' THEN e.at::timestamptz ELSE '2026-01-05Z' END,
										   CASE WHEN jsonb_typeof(e.properties) = 'object' THEN e.properties - e.known ELSE e.properties END)
						INTO profile
						FROM (SELECT 'customer' AS kind, NULL AS at, a AS properties, '{}'::text[] AS known
								FROM jsonb_path_query(json, '$.attributes') a
							  UNION ALL
							  SELECT e ->> 'kind', e ->> 'at', e, CASE WHEN i % 9 = 0 THEN '{kind}'::text[] ELSE '{kind,at}' END
								FROM jsonb_path_query(json, '$.events[*]') e) e;
					PERFORM mutation.use_profile(what, input, profile, nquestions, nplaces);
				WHEN 'track' THEN
					json := input;
					FOR json IN SELECT o FROM jsonb_path_query(json, '$.events[*]') o LIMIT 2 LOOP
						kind := coalesce(json ->> 'kind', scraps[1 + floor(random() * cardinality(scraps))::int]);
						at := (ARRAY['2026-01-05Z', '2026-01-06Z', '2025-12-31Z', '2026-01-05Z', '2026-01-31 23:59:59.999999Z', '2026-02-01Z', 'infinity', '-infinity', '4713-01-01Z BC',
									 '0001-01-01Z', '9999-12-31Z', '10000-01-01Z', '294276-12-31Z'])[1 + floor(random() * random() * 13)::int];
						PERFORM crm.track(i % 50 - 10, kind, CASE WHEN jsonb_typeof(json) = 'object' THEN json - '{kind,at}'::text[] ELSE json END,
										  at, CASE WHEN random() < 0.3 THEN kind END);
					END LOOP;
			END CASE;
			naccepted := naccepted + 1;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			IF NOT mutation.allowed(state) THEN
				PERFORM mutation.fail(what, input, state || ' ' || message);
			ELSIF what LIKE '% text' THEN
				PERFORM mutation.ask_softly(what, input, state, message, detail, hint);
			END IF;
		END;
		IF clock_timestamp() - started > longest THEN
			longest := clock_timestamp() - started;
			slowest := input;
		END IF;
	END LOOP;
	INSERT INTO mutation.tally AS t VALUES (what, cases, naccepted)
		ON CONFLICT ON CONSTRAINT tally_pkey DO UPDATE SET cases = t.cases + excluded.cases, accepted = t.accepted + excluded.accepted;
	INSERT INTO mutation.slow VALUES (what, slowest, extract(epoch FROM longest));
END $$;

CREATE TABLE mutation.received_predicate (value crm.predicate);
CREATE TABLE mutation.received_profile (value crm.profile);

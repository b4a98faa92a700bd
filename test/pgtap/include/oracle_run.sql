-- What is asked of the extension and how the answers are judged.  The extension is always called under another session
-- time zone than the predicate's: only its argument may count.

CREATE TABLE oracle.failure (n int GENERATED ALWAYS AS IDENTITY, what text, seed text, profile text, predicate text,
	instant text, zone text, entry timestamptz, expected text, got text);
CREATE TABLE oracle.tally (what text, n int, trues int);

CREATE FUNCTION oracle.fail(what text, seed text, who int, predicate text, instant text, zone text, entry timestamptz,
	expected text, got text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO oracle.failure (what, seed, profile, predicate, instant, zone, entry, expected, got)
	VALUES (what, seed, (SELECT js FROM oracle.customer WHERE profile = who), predicate, instant, zone, entry, expected, got)
$$;

CREATE FUNCTION oracle.elsewhere(zone text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('TimeZone', CASE WHEN zone = 'Pacific/Apia' THEN 'America/New_York' ELSE 'Pacific/Apia' END, true)
$$;

CREATE FUNCTION oracle.here(zone text) RETURNS void LANGUAGE sql AS $$
	SELECT set_config('TimeZone', zone, true)
$$;

-- The instants at which the predicate is true, in [lo, hi); NULL in "sound" if the candidates missed a change.
CREATE FUNCTION oracle.periods(who int, tree jsonb, expression text, lo timestamptz, hi timestamptz, entry timestamptz,
	OUT periods tstzmultirange, OUT sound bool) LANGUAGE plpgsql AS $$
DECLARE
	cand timestamptz[] := oracle.candidates(who, tree, entry, lo, hi);
BEGIN
	cand := ARRAY(SELECT DISTINCT x FROM unnest(cand || lo) x WHERE x >= lo AND x < hi ORDER BY x);
	WITH span AS (
		SELECT x, coalesce(lead(x) OVER (ORDER BY x), hi) AS y, row_number() OVER (ORDER BY x) AS n FROM unnest(cand) x
	), judged AS (
		SELECT (o - 1) / 3 + 1 AS n, bool_and(truth) AS always, bool_or(truth) AS ever
		FROM oracle.truth(who, expression,
			ARRAY(SELECT v FROM span, LATERAL (VALUES (1, x), (2, x + (y - x) / 2), (3, y - interval '1 microsecond')) w (i, v)
				  ORDER BY x, i)) WITH ORDINALITY q (at, truth, o)
		GROUP BY 1
	)
	SELECT coalesce(range_agg(tstzrange(x, y)) FILTER (WHERE always), '{}'), bool_and(always = ever)
	INTO periods, sound FROM span JOIN judged USING (n);
END $$;

-- The first instant after "at" at which the answer is another, within ten years; else infinity.
CREATE FUNCTION oracle.next_change(who int, tree jsonb, expression text, at timestamptz, entry timestamptz)
RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	cand timestamptz[] := oracle.candidates(who, tree, entry, at + interval '1 microsecond', at + interval '10 years');
	now_true bool := (SELECT truth FROM oracle.truth(who, expression, ARRAY[at]));
	r timestamptz;
BEGIN
	FOR i IN 0 .. cardinality(cand) / 64 LOOP
		SELECT min(x.at) INTO r FROM oracle.truth(who, expression, cand[i * 64 + 1 : i * 64 + 64]) x WHERE x.truth <> now_true;
		IF r IS NOT NULL THEN
			RETURN r;
		END IF;
	END LOOP;
	RETURN 'infinity';
END $$;

-- The deciding events of a conjunction and when each decides.
CREATE FUNCTION oracle.occurrences(who int, tree jsonb, lo timestamptz, hi timestamptz, entry timestamptz)
RETURNS TABLE (kind text, at timestamptz, properties jsonb, period tstzmultirange) LANGUAGE plpgsql AS $$
DECLARE
	parts jsonb := CASE WHEN tree ->> 'op' = 'and' THEN tree -> 'x' ELSE jsonb_build_array(tree) END;
	nth int := (SELECT min(n) FROM jsonb_array_elements(parts) WITH ORDINALITY u (x, n) WHERE x ->> 'op' = 'has');
	rest text := (SELECT coalesce(string_agg(oracle.sql(x, NULL, NULL, 0, entry), ' AND '), 'true')
				  FROM jsonb_array_elements(parts) WITH ORDINALITY u (x, n) WHERE n <> nth);
	cand timestamptz[] := oracle.candidates(who, tree, entry, lo, hi);
BEGIN
	cand := ARRAY(SELECT DISTINCT x FROM unnest(cand || lo) x WHERE x >= lo AND x < hi ORDER BY x);
	RETURN QUERY EXECUTE format('SELECT e.kind, e.at, e.js, range_agg(tstzrange(tt.t, tt.until)) '
		'FROM oracle.customer c CROSS JOIN (SELECT x AS t, coalesce(lead(x) OVER (ORDER BY x), $3) AS until FROM unnest($2) x) tt '
		'CROSS JOIN LATERAL (SELECT e1.* %s) e WHERE c.profile = $1 AND %s GROUP BY e.id, e.kind, e.at, e.js',
		oracle.events_sql(parts #> ARRAY[(nth - 1)::text, 'e'], 'e1', entry), rest)
	USING who, cand, hi;
END $$;

CREATE FUNCTION oracle.check_matches(seed text, who int, tree jsonb, predicate text, expression text, entry timestamptz,
	zone text, instants timestamptz[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	expected bool[] := ARRAY(SELECT truth FROM oracle.truth(who, expression, instants));
	profile text := (SELECT js FROM oracle.customer c WHERE c.profile = who);
	got bool[];
BEGIN
	INSERT INTO oracle.tally VALUES ('matches', cardinality(instants), cardinality(array_positions(expected, true)));
	PERFORM oracle.elsewhere(zone);
	BEGIN
		SELECT array_agg(crm.matches(profile::crm.profile, predicate::crm.predicate, x, entry, zone) ORDER BY n) INTO got
		FROM unnest(instants) WITH ORDINALITY u (x, n);
		IF predicate::crm.predicate::text::crm.predicate::text <> predicate::crm.predicate::text
			OR crm.matches(profile::crm.profile, predicate::crm.predicate::text::crm.predicate, instants[1], entry, zone)
			   IS DISTINCT FROM got[1] THEN
			PERFORM oracle.fail('canonical text', seed, who, predicate, instants[1]::text, zone, entry,
								predicate::crm.predicate::text, predicate::crm.predicate::text::crm.predicate::text);
		END IF;
	EXCEPTION WHEN OTHERS THEN
		PERFORM oracle.fail('matches', seed, who, predicate, NULL, zone, entry, 'no error', SQLSTATE || ' ' || SQLERRM);
		PERFORM oracle.here(zone);
		RETURN;
	END;
	PERFORM oracle.here(zone);
	FOR i IN 1 .. cardinality(instants) LOOP
		IF got[i] IS DISTINCT FROM expected[i] OR expected[i] IS NULL THEN
			PERFORM oracle.fail('matches', seed, who, predicate, oracle.utc_text(instants[i]), zone, entry,
								expected[i]::text, coalesce(got[i]::text, 'NULL'));
		END IF;
	END LOOP;
END $$;

CREATE FUNCTION oracle.check_next_change(seed text, who int, tree jsonb, predicate text, expression text,
	entry_at timestamptz, zone text, instant timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	expected timestamptz := oracle.next_change(who, tree, expression, instant, entry_at);
	profile text := (SELECT js FROM oracle.customer c WHERE c.profile = who);
	got timestamptz;
	message text;
BEGIN
	INSERT INTO oracle.tally VALUES ('next_change', 1, (expected < 'infinity')::int);
	PERFORM oracle.elsewhere(zone);
	BEGIN
		got := crm.next_change(profile::crm.profile, predicate::crm.predicate, instant, entry_at, zone);
	EXCEPTION WHEN OTHERS THEN
		message := SQLSTATE || ' ' || SQLERRM;
	END;
	PERFORM oracle.here(zone);
	-- beyond some years the extension may give up with a lower bound
	IF (CASE WHEN expected < instant + interval '9 years' THEN got = expected
			 ELSE got >= instant + interval '9 years' END) IS NOT TRUE THEN
		PERFORM oracle.fail('next_change', seed, who, predicate, oracle.utc_text(instant), zone, entry_at, oracle.utc_text(expected),
							coalesce(message, oracle.utc_text(got), 'NULL'));
	END IF;
END $$;

CREATE FUNCTION oracle.check_periods(seed text, who int, tree jsonb, predicate text, expression text, entry_at timestamptz,
	zone text, lo timestamptz, hi timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	expected tstzmultirange;
	sound bool;
	profile text := (SELECT js FROM oracle.customer c WHERE c.profile = who);
	got tstzmultirange;
	message text;
BEGIN
	SELECT * INTO expected, sound FROM oracle.periods(who, tree, expression, lo, hi, entry_at);
	INSERT INTO oracle.tally VALUES ('periods', 1, (NOT isempty(expected))::int);
	IF sound IS NOT TRUE THEN
		PERFORM oracle.fail('oracle', seed, who, predicate, format('%s .. %s', oracle.utc_text(lo), oracle.utc_text(hi)), zone, entry_at,
							'constant between candidates', expected::text);
	END IF;
	PERFORM oracle.elsewhere(zone);
	BEGIN
		got := crm.periods(profile::crm.profile, predicate::crm.predicate, lo, hi, entry_at, zone);
	EXCEPTION WHEN OTHERS THEN
		message := SQLSTATE || ' ' || SQLERRM;
	END;
	SET LOCAL TimeZone = 'UTC';
	IF got IS DISTINCT FROM expected THEN
		PERFORM oracle.fail('periods', seed, who, predicate, format('%s .. %s', oracle.utc_text(lo), oracle.utc_text(hi)), zone, entry_at,
							expected::text, coalesce(message, got::text, 'NULL'));
	END IF;
	PERFORM oracle.here(zone);
END $$;

CREATE FUNCTION oracle.check_occurrences(seed text, who int, tree jsonb, predicate text, entry_at timestamptz, zone text,
	lo timestamptz, hi timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	expected jsonb;
	profile text := (SELECT js FROM oracle.customer c WHERE c.profile = who);
	got jsonb;
	message text;
BEGIN
	SELECT coalesce(jsonb_agg(x ORDER BY x), '[]') INTO expected
	FROM (SELECT jsonb_build_object('kind', o.kind, 'at', oracle.utc_text(o.at), 'properties', oracle.typed_all(o.properties),
				'period', (SELECT jsonb_agg(ARRAY[oracle.utc_text(lower(r)), oracle.utc_text(upper(r))]) FROM unnest(o.period) r))
		  FROM oracle.occurrences(who, tree, lo, hi, entry_at) o) y (x);
	INSERT INTO oracle.tally VALUES ('occurrences', 1, (expected <> '[]')::int);
	PERFORM oracle.elsewhere(zone);
	BEGIN
		SELECT coalesce(jsonb_agg(x ORDER BY x), '[]') INTO got
		FROM (SELECT jsonb_build_object('kind', o.kind, 'at', oracle.utc_text(o.at),
				'properties', oracle.typed_all(coalesce(o.properties, '{}')),
				'period', (SELECT jsonb_agg(ARRAY[oracle.utc_text(lower(r)), oracle.utc_text(upper(r))]) FROM unnest(o.period) r))
			  FROM crm.occurrences(profile::crm.profile, predicate::crm.predicate, lo, hi, entry_at, zone) o) y (x);
	EXCEPTION WHEN OTHERS THEN
		message := SQLSTATE || ' ' || SQLERRM;
	END;
	PERFORM oracle.here(zone);
	IF got IS DISTINCT FROM expected THEN
		PERFORM oracle.fail('occurrences', seed, who, predicate, format('%s .. %s', oracle.utc_text(lo), oracle.utc_text(hi)), zone,
							entry_at, expected::text, coalesce(message, got::text));
	END IF;
END $$;

-- An instant at, or next to, one where something can change.
CREATE FUNCTION oracle.choose(cand timestamptz[]) RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN CASE WHEN cardinality(cand) = 0 OR random() < 0.15 THEN oracle.gen_instant()
			ELSE cand[1 + oracle.rnd(cardinality(cand))] END
	+ oracle.pick('0', '0', '1 microsecond', '-1 microsecond')::interval;

-- Such an instant with a change after it, if there is one near.
CREATE FUNCTION oracle.choose_before_change(who int, expression text, near timestamptz[]) RETURNS timestamptz
LANGUAGE plpgsql AS $$
DECLARE
	sample timestamptz[] := ARRAY(SELECT x FROM (SELECT near[1 + i * cardinality(near) / 48] AS x FROM generate_series(0, 47) i) s
								  WHERE x IS NOT NULL GROUP BY x ORDER BY x);
	earlier timestamptz[];
BEGIN
	WITH t AS (SELECT at, truth FROM oracle.truth(who, expression, sample)),
		l AS (SELECT at, truth, lead(truth) OVER (ORDER BY at) AS after FROM t)
	SELECT array_agg(at ORDER BY at) INTO earlier FROM l WHERE at <= (SELECT max(at) FROM l WHERE truth <> after);
	RETURN oracle.choose(coalesce(earlier, near));
END $$;

-- One world: two profiles, three predicates, each asked of each profile at two instants, and some of the rest.
CREATE FUNCTION oracle.run_world(seed text, world int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	name text := seed || ':' || world;
	zone text := oracle.new_world(name);
	who int;
	entry timestamptz;
	tree jsonb;
	predicate text;
	expression text;
	cand timestamptz[];
	near timestamptz[];
	day timestamptz := oracle.anchor()::timestamptz;
	lo timestamptz;
	hi timestamptz;
	n int := 0;
BEGIN
	PERFORM oracle.gen_profile(2 * world), oracle.gen_profile(2 * world + 1);
	FOR k IN 1 .. 3 LOOP
		entry := oracle.gen_instant();
		IF random() < 0.6 THEN
			entry := coalesce((ARRAY(SELECT e.at FROM oracle.event e WHERE e.profile IN (2 * world, 2 * world + 1)
									 ORDER BY e.profile, e.id))[1 + oracle.rnd(8)], entry);
		END IF;
		tree := CASE WHEN k = 3 THEN oracle.gen_conjunction() ELSE oracle.gen_truth(0, oracle.rnd(4)) END;
		predicate := oracle.txt(tree, 1);
		IF NOT tree @? '$.**.w ? (@ == "entry")' AND random() < 0.5 THEN
			entry := NULL;
		END IF;
		expression := oracle.sql(tree, NULL, NULL, 0, entry);
		FOR i IN 0 .. 1 LOOP
			who := 2 * world + i;
			cand := oracle.candidates(who, tree, entry, day - interval '450 days', day + interval '450 days');
			near := ARRAY(SELECT x FROM unnest(cand) x WHERE x BETWEEN day - interval '20 days' AND day + interval '40 days');
			IF random() < 0.75 THEN
				cand := near;
			END IF;
			PERFORM oracle.check_matches(name, who, tree, predicate, expression, entry, zone,
										 ARRAY[oracle.choose(cand), oracle.choose(cand)]);
			n := n + 2;
			IF k = 1 + i THEN
				PERFORM oracle.check_next_change(name, who, tree, predicate, expression, entry, zone,
												 oracle.choose_before_change(who, expression, near));
				lo := oracle.choose(near) - oracle.pick('0', '10 days')::interval;
				hi := lo + oracle.pick('4 days', '45 days', '70 days', '500 days')::interval;
				cand := oracle.candidates(who, tree, entry, lo, hi);
				IF cardinality(cand) > 400 THEN
					hi := cand[400];
				END IF;
				IF hi > lo THEN
					PERFORM oracle.check_periods(name, who, tree, predicate, expression, entry, zone, lo, hi);
				END IF;
			ELSIF k = 3 THEN
				lo := oracle.choose(near) - oracle.pick('0', '10 days', '20 days')::interval;
				hi := lo + oracle.pick('4 days', '45 days', '60 days', '500 days')::interval;
				cand := oracle.candidates(who, tree, entry, lo, hi);
				IF cardinality(cand) > 400 THEN
					hi := cand[400];
				END IF;
				IF hi > lo THEN
					PERFORM oracle.check_occurrences(name, who, tree, predicate, entry, zone, lo, hi);
				END IF;
			END IF;
		END LOOP;
	END LOOP;
	RETURN n;
END $$;

CREATE FUNCTION oracle.run(seed text, first int, cases int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	done int := 0;
	world int := first;
BEGIN
	WHILE done < cases LOOP
		done := done + oracle.run_world(seed, world);
		world := world + 1;
	END LOOP;
END $$;

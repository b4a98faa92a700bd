-- Where the answer can change: every instant that the facts, the predicate and the entry can have to do with.  Far too
-- many on purpose; what matters is that the truth is constant between two neighbours, which the test checks too.

CREATE FUNCTION oracle.candidates(who int, tree jsonb, entry timestamptz, lo timestamptz, hi timestamptz)
RETURNS timestamptz[] LANGUAGE plpgsql AS $$
DECLARE
	-- by their text: 1 month and 30 days are equal as intervals, and are not the same
	ivs interval[] := ARRAY(SELECT oracle.iv(t) FROM (SELECT DISTINCT x #>> '{}' FROM jsonb_path_query(tree, '$.**.iv') x) y (t));
	units text[] := ARRAY(SELECT DISTINCT x #>> '{}' FROM jsonb_path_query(tree, '$.**.u') x);
	names text[] := ARRAY(SELECT DISTINCT x #>> '{}' FROM jsonb_path_query(tree, '$.**.name') x);
	most int := (SELECT coalesce(max((x #>> '{}')::int), 1) FROM jsonb_path_query(tree, '$.**.k') x);
	base timestamptz[];
	r timestamptz[];
	shifted bool := tree @? '$.** ? (@.op == "shift")';
BEGIN
	-- events, moments among the values, literals, entry
	SELECT array_agg(DISTINCT m) INTO base FROM (
		SELECT e.at FROM oracle.event e WHERE e.profile = who
		UNION ALL SELECT entry
		UNION ALL
		SELECT m FROM (
			SELECT v FROM oracle.customer c, jsonb_each(c.p) u (k, v) WHERE c.profile = who AND k = ANY (names)
			UNION ALL
			SELECT v FROM oracle.event e, jsonb_each(e.p) u (k, v) WHERE e.profile = who AND k = ANY (names)
			UNION ALL
			SELECT oracle.iso(x #>> '{}') FROM jsonb_path_query(tree, '$.**.l') x) f,
			jsonb_array_elements(CASE WHEN v ? 'a' THEN v -> 'a' ELSE jsonb_build_array(v) END) g,
			LATERAL (SELECT oracle.start(g) UNION ALL SELECT oracle.day_start((g ->> 'd')::date + 1)) h (m)
	) i (m) WHERE m IS NOT NULL;
	IF shifted THEN
		SELECT array_agg(DISTINCT m) INTO base
		FROM unnest(base) b, LATERAL (SELECT b UNION ALL SELECT b + d FROM unnest(ivs) d UNION ALL SELECT b - d FROM unnest(ivs) d) x (m);
	END IF;
	IF tree @? '$.** ? (@.op == "anniv")' THEN
		SELECT array_agg(DISTINCT m) INTO base FROM (
			SELECT unnest(base)
			UNION ALL
			SELECT a FROM unnest(base) b,
				generate_series(greatest(1, extract(year FROM lo)::int - 2 - extract(year FROM b)::int),
								extract(year FROM hi)::int + 3 - extract(year FROM b)::int) n,
				LATERAL (VALUES (b + make_interval(years => n)),
								(oracle.day_start((b::date + make_interval(years => n))::date)),
								(oracle.day_start((b::date + make_interval(years => n))::date + 1))) y (a)
		) x (m);
	END IF;
	SELECT array_agg(DISTINCT m ORDER BY m) INTO r FROM (
		SELECT unnest(base)
		UNION ALL SELECT b + d FROM unnest(base) b, unnest(ivs) d
		UNION ALL SELECT b - d FROM unnest(base) b, unnest(ivs) d
		UNION ALL SELECT oracle.period_at(b, u, k) FROM unnest(base) b, unnest(units) u, generate_series(-1, most + 1) k
	) x (m) WHERE m BETWEEN lo AND hi;
	RETURN coalesce(r, '{}');
END $$;

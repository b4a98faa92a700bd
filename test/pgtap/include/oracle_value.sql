-- Values of the predicate language, for its oracle: comparison, arithmetic, moments, aggregates.
--
-- A value is a jsonb object of one key, its type: {"t": text} {"n": number} {"b": boolean} {"d": date}
-- {"z": timestamptz, in UTC} {"a": [values]}.  {"l": text} is a string literal, whose type depends on what it meets,
-- and {"y": value} is the set of the anniversaries of a moment.  SQL's NULL is the unknown.

CREATE FUNCTION oracle.kind(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
	SELECT k FROM jsonb_object_keys(v) k
$$;

-- A string in ISO form as a date or a timestamp, else NULL.
CREATE FUNCTION oracle.iso(s text) RETURNS jsonb LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
	IF s ~ '^\d{4}-\d\d-\d\d$' THEN
		RETURN jsonb_build_object('d', s);
	ELSIF s ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:\d\d)?)?$' THEN
		RETURN oracle.z(s::timestamptz);
	END IF;
	RETURN NULL;
END $$;

-- A value as it stands in the text of a profile.
CREATE FUNCTION oracle.typed(j jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
	CASE jsonb_typeof(j)
		WHEN 'null' THEN RETURN NULL;
		WHEN 'number' THEN RETURN jsonb_build_object('n', j);
		WHEN 'boolean' THEN RETURN jsonb_build_object('b', j);
		WHEN 'object' THEN RETURN jsonb_build_object('t', j -> 'text');
		WHEN 'array' THEN
			RETURN jsonb_build_object('a', (SELECT coalesce(jsonb_agg(oracle.typed(x) ORDER BY n), '[]')
											FROM jsonb_array_elements(j) WITH ORDINALITY u (x, n)));
		ELSE RETURN coalesce(oracle.iso(j #>> '{}'), jsonb_build_object('t', j));
	END CASE;
END $$;

CREATE FUNCTION oracle.typed_all(j jsonb) RETURNS jsonb LANGUAGE sql STABLE AS $$
	SELECT coalesce(jsonb_object_agg(k, oracle.typed(v)) FILTER (WHERE jsonb_typeof(v) <> 'null'), '{}')
	FROM jsonb_each(j) u (k, v)
$$;

-- The way back.
CREATE FUNCTION oracle.untyped(v jsonb) RETURNS jsonb LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
	CASE oracle.kind(v)
		WHEN 'a' THEN RETURN (SELECT coalesce(jsonb_agg(oracle.untyped(x) ORDER BY n), '[]')
							  FROM jsonb_array_elements(v -> 'a') WITH ORDINALITY u (x, n));
		WHEN 't' THEN RETURN CASE WHEN oracle.iso(v ->> 't') IS NULL THEN v -> 't'
								  ELSE jsonb_build_object('text', v -> 't') END;
		ELSE RETURN v -> oracle.kind(v);
	END CASE;
END $$;

-- The start of a date or a timestamp.
CREATE FUNCTION oracle.start(v jsonb) RETURNS timestamptz LANGUAGE plpgsql STRICT AS $$
BEGIN
	RETURN CASE WHEN v ? 'd' THEN oracle.day_start((v ->> 'd')::date) ELSE (v ->> 'z')::timestamptz END;
END $$;

-- Negative, 0, positive; NULL when either is unknown or they cannot be compared.
CREATE FUNCTION oracle.sign(a jsonb, b jsonb) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	ka text := oracle.kind(a);
	kb text := oracle.kind(b);
BEGIN
	IF a IS NULL OR b IS NULL THEN
		RETURN NULL;
	END IF;
	IF ka = 'l' AND kb IN ('d', 'z') THEN
		RETURN oracle.sign(oracle.iso(a ->> 'l'), b);
	ELSIF kb = 'l' AND ka IN ('d', 'z') THEN
		RETURN oracle.sign(a, oracle.iso(b ->> 'l'));
	ELSIF ka IN ('l', 't') AND kb IN ('l', 't') THEN
		RETURN CASE WHEN (a ->> ka) COLLATE "C" < (b ->> kb) THEN -1
					WHEN (a ->> ka) COLLATE "C" > (b ->> kb) THEN 1 ELSE 0 END;
	ELSIF ka = 'n' AND kb = 'n' THEN
		RETURN pg_catalog.sign((a ->> 'n')::numeric - (b ->> 'n')::numeric);
	ELSIF ka = 'b' AND kb = 'b' THEN
		RETURN (a ->> 'b')::bool::int - (b ->> 'b')::bool::int;
	ELSIF ka = 'd' AND kb = 'd' THEN
		RETURN pg_catalog.sign((a ->> 'd')::date - (b ->> 'd')::date);
	ELSIF ka IN ('d', 'z') AND kb IN ('d', 'z') THEN
		RETURN pg_catalog.sign(extract(epoch FROM oracle.start(a)) - extract(epoch FROM oracle.start(b)));
	END IF;
	RETURN NULL;
END $$;

CREATE FUNCTION oracle.cmp(a jsonb, op text, b jsonb) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
	s int := oracle.sign(a, b);
BEGIN
	RETURN CASE op WHEN '=' THEN coalesce(s = 0, false) WHEN '<>' THEN NOT coalesce(s = 0, false)
				   WHEN '<' THEN coalesce(s < 0, false) WHEN '<=' THEN coalesce(s <= 0, false)
				   WHEN '>' THEN coalesce(s > 0, false) WHEN '>=' THEN coalesce(s >= 0, false) END;
END $$;

CREATE FUNCTION oracle.is_in(a jsonb, list jsonb) RETURNS bool LANGUAGE sql
RETURN EXISTS (SELECT FROM jsonb_array_elements(list) x WHERE oracle.cmp(a, '=', x));

CREATE FUNCTION oracle.is_like(a jsonb, pattern text, folding bool) RETURNS bool LANGUAGE sql
RETURN coalesce(CASE WHEN folding THEN coalesce(a ->> 't', a ->> 'l') ILIKE pattern
					 ELSE coalesce(a ->> 't', a ->> 'l') LIKE pattern END, false);

-- how: one, any, all
CREATE FUNCTION oracle.contains(a jsonb, how text, list jsonb) RETURNS bool LANGUAGE sql
RETURN a IS NOT NULL AND a ? 'a' AND
	CASE WHEN how = 'all' THEN NOT EXISTS (SELECT FROM jsonb_array_elements(list) x
											WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(a -> 'a') y
															  WHERE oracle.cmp(y, '=', x)))
		 ELSE EXISTS (SELECT FROM jsonb_array_elements(list) x, jsonb_array_elements(a -> 'a') y
					  WHERE oracle.cmp(y, '=', x)) END;

CREATE FUNCTION oracle.arith(a jsonb, op text, b jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	x numeric := a ->> 'n';
	y numeric := b ->> 'n';
BEGIN
	IF x IS NULL OR y IS NULL OR op = '/' AND y = 0 THEN
		RETURN NULL;
	END IF;
	RETURN jsonb_build_object('n', CASE op WHEN '+' THEN x + y WHEN '-' THEN x - y WHEN '*' THEN x * y
										   ELSE x / y END);
END $$;

-- A moment and an interval; the result is an instant, counted from the moment's start.
CREATE FUNCTION oracle.shift(v jsonb, op text, d interval) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	m jsonb := CASE WHEN v ? 'l' THEN oracle.iso(v ->> 'l') ELSE v END;
BEGIN
	RETURN oracle.z(CASE WHEN op = '+' THEN oracle.start(m) + d ELSE oracle.start(m) - d END);
END $$;

-- The moments that a value stands for, as (start, end): none, one, or the anniversaries.  Of these, those of the
-- years around t, or with "all_years" every one up to 2040, which is later than any literal of these tests.
CREATE FUNCTION oracle.moments(v jsonb, t timestamptz, all_years bool) RETURNS TABLE (s timestamptz, e timestamptz)
LANGUAGE plpgsql AS $$
DECLARE
	m jsonb;
	y0 int;
BEGIN
	IF v IS NULL THEN
		RETURN;
	ELSIF v ? 'l' THEN
		RETURN QUERY SELECT x.s, x.e FROM oracle.moments(oracle.iso(v ->> 'l'), t, all_years) x;
	ELSIF v ? 'd' THEN
		s := oracle.day_start((v ->> 'd')::date);
		e := oracle.day_start((v ->> 'd')::date + 1);
		RETURN NEXT;
	ELSIF v ? 'z' THEN
		s := v ->> 'z';
		e := s;
		RETURN NEXT;
	ELSIF v ? 'y' THEN
		FOR m IN SELECT x FROM jsonb_array_elements(CASE WHEN v -> 'y' ? 'a' THEN v #> '{y,a}'
														 ELSE jsonb_build_array(v -> 'y') END) x LOOP
			IF m ? 'l' THEN
				m := oracle.iso(m ->> 'l');
			END IF;
			CONTINUE WHEN m IS NULL OR NOT m ?| '{d,z}';
			y0 := extract(year FROM oracle.start(m));
			FOR n IN greatest(1, CASE WHEN all_years THEN 1 ELSE extract(year FROM t)::int - y0 - 4 END)
				  .. CASE WHEN all_years THEN 2040 ELSE extract(year FROM t)::int + 4 END - y0 LOOP
				RETURN QUERY SELECT x.s, x.e FROM oracle.moments(
					CASE WHEN m ? 'd' THEN jsonb_build_object('d', ((m ->> 'd')::date + make_interval(years => n))::date)
						 ELSE oracle.z((m ->> 'z')::timestamptz + make_interval(years => n)) END, t, all_years) x;
			END LOOP;
		END LOOP;
	END IF;
END $$;

-- The aggregates of a property: the values of the events in question (NULL where an event lacks it) and their times.
CREATE FUNCTION oracle.agg(f text, vals jsonb[], ats timestamptz[]) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	r jsonb;
	sort_down bool := f IN ('max', 'last');
BEGIN
	IF f = 'sum' THEN
		SELECT jsonb_build_object('n', coalesce(sum((v ->> 'n')::numeric), 0)) INTO r FROM unnest(vals) v;
	ELSIF f = 'avg' THEN
		SELECT jsonb_build_object('n', avg((v ->> 'n')::numeric)) INTO r FROM unnest(vals) v HAVING count(v ->> 'n') > 0;
	ELSIF f = 'distinct' THEN
		SELECT jsonb_build_object('n', count(DISTINCT v)) INTO r FROM unnest(vals) v WHERE NOT v ? 'a';
	ELSIF f = 'most' THEN
		SELECT jsonb_build_object('n', coalesce(max(c), 0)) INTO r
		FROM (SELECT count(*) AS c FROM unnest(vals) v WHERE NOT v ? 'a' GROUP BY v) g;
	ELSIF f = 'mode' THEN
		SELECT v INTO r FROM unnest(vals, ats) u (v, at) WHERE NOT v ? 'a' GROUP BY v
		ORDER BY count(*) DESC, max(at) DESC, (v ->> 'b')::bool, v ->> 't' COLLATE "C", (v ->> 'n')::numeric,
				 (v ->> 'd')::date, (v ->> 'z')::timestamptz LIMIT 1;
	ELSE
		-- min, max: of all; first, last: of the events at the first, the last instant
		FOR r IN
			SELECT v FROM unnest(vals, ats) u (v, at)
			WHERE v IS NOT NULL
			  AND (f NOT IN ('min', 'max') OR NOT v ? 'a')
			  AND (f <> 'first' OR at = (SELECT min(x) FROM unnest(ats) x))
			  AND (f <> 'last' OR at = (SELECT max(x) FROM unnest(ats) x))
			ORDER BY CASE WHEN v ? 'n' THEN 1 WHEN v ?| '{d,z}' THEN 2 WHEN v ? 't' THEN 3 ELSE 4 END,
				CASE WHEN sort_down THEN (v ->> 'n')::numeric END DESC,
				CASE WHEN sort_down THEN oracle.start(v) END DESC,
				CASE WHEN sort_down THEN v ->> 't' END COLLATE "C" DESC,
				CASE WHEN sort_down THEN (v ->> 'b')::bool END DESC,
				(v ->> 'n')::numeric, oracle.start(v), v ->> 't' COLLATE "C", (v ->> 'b')::bool
			LIMIT 1
		LOOP
			RETURN r;
		END LOOP;
	END IF;
	RETURN r;
END $$;

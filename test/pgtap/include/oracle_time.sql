-- Local time by its definitions, for the oracle of the predicate language.
--
-- Everything here speaks of the session's TimeZone, which the caller sets to the zone in question; so PostgreSQL's
-- own timestamptz arithmetic is the authority and no second calendar is written.  Nothing is taken from the extension.

-- What the scan of day_start found: the scan is slow and days recur.
CREATE TABLE oracle.day_memo (zone text, d date, start timestamptz, PRIMARY KEY (zone, d));

CREATE FUNCTION oracle.utc_offset(x timestamptz) RETURNS interval LANGUAGE sql STABLE
RETURN x::timestamp - (x AT TIME ZONE 'UTC');

-- The first instant whose local date is d or later.  Where the offset is the same on both sides that is midnight;
-- else every minute around is looked at, because midnight may be missing, come twice, or be undone a minute later.
CREATE FUNCTION oracle.day_start(day date) RETURNS timestamptz LANGUAGE plpgsql STRICT AS $$
DECLARE
	midnight timestamptz := day::timestamptz;
	found_at timestamptz;
BEGIN
	IF oracle.utc_offset(midnight - interval '36 hours') = oracle.utc_offset(midnight + interval '36 hours') THEN
		RETURN midnight;
	END IF;
	SELECT m.start INTO found_at FROM oracle.day_memo m
	WHERE m.zone = current_setting('TimeZone') AND m.d = day;
	IF found_at IS NULL THEN
		SELECT min(x) INTO found_at
		FROM generate_series((day::timestamp AT TIME ZONE 'UTC') - interval '30 hours',
							 (day::timestamp AT TIME ZONE 'UTC') + interval '40 hours', interval '1 minute') x
		WHERE x::date >= day;
		INSERT INTO oracle.day_memo VALUES (current_setting('TimeZone'), day, found_at);
	END IF;
	RETURN found_at;
END $$;

-- The start of the k-th period after the one that holds s (k may be negative).
CREATE FUNCTION oracle.period_at(s timestamptz, unit text, k int) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	step interval := CASE unit WHEN 'quarter' THEN interval '3 months' ELSE ('1 ' || unit)::interval END;
	d timestamp;
BEGIN
	IF unit IN ('second', 'minute', 'hour') THEN
		RETURN date_trunc(unit, s) + k * step;
	END IF;
	d := date_trunc(unit, s::timestamp);
	-- a clock set back over midnight: the calendar shows yesterday again, but the period has begun
	WHILE oracle.day_start((d + step)::date) <= s LOOP
		d := d + step;
	END LOOP;
	RETURN oracle.day_start((d + k * step)::date);
END $$;

-- An interval of the language as PostgreSQL's.
CREATE FUNCTION oracle.iv(words text) RETURNS interval LANGUAGE sql IMMUTABLE STRICT AS $$
	SELECT sum(CASE WHEN m[2] LIKE 'quarter%' THEN make_interval(months => 3 * m[1]::int)
					ELSE (m[1] || ' ' || m[2])::interval END)
	FROM regexp_matches(words, '(\d+) ([a-z]+)', 'g') m
$$;

CREATE FUNCTION oracle.utc_text(x timestamptz) RETURNS text LANGUAGE sql IMMUTABLE STRICT
RETURN to_char(x AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

CREATE FUNCTION oracle.z(x timestamptz) RETURNS jsonb LANGUAGE sql IMMUTABLE STRICT
RETURN jsonb_build_object('z', oracle.utc_text(x));

-- How far a group came through a funnel, written from the rules alone and as slowly as they read: every run that any
-- choice of events gives is kept.
--
-- The rows of one instant are taken step by step, an event of several steps being one event for each; in the mode
-- strict_order, what is no step comes first.

CREATE SCHEMA funnel_oracle;

CREATE TYPE funnel_oracle.event AS (at int, mask int);
CREATE TYPE funnel_oracle.run AS (step int, first int, last int, events int[]);

CREATE FUNCTION funnel_oracle.level(win int, modes text[], steps int, events funnel_oracle.event[]) RETURNS int
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	once boolean := 'strict_once' = ANY (modes);
	dedup boolean := 'strict_deduplication' = ANY (modes);
	ordered boolean := 'strict_order' = ANY (modes);
	increase boolean := 'strict_increase' = ANY (modes);
	reentry boolean := 'allow_reentry' = ANY (modes);
	runs funnel_oracle.run[] := '{}';
	found funnel_oracle.run[];
	furthest int := 0;
	e record;
BEGIN
	FOR e IN
		SELECT u.at, s.step, u.n
		  FROM unnest(events) WITH ORDINALITY AS u (at, mask, n),
			   LATERAL (SELECT k AS step FROM generate_series(1, steps) AS k WHERE (u.mask >> (k - 1)) & 1 = 1
						UNION ALL
						SELECT 0 WHERE u.mask = 0 AND ordered) AS s
		 ORDER BY u.at, s.step, u.mask
	LOOP
		IF e.step = 0 THEN
			EXIT WHEN furthest > 0;
			CONTINUE;
		ELSIF e.step = 1 THEN
			found := ARRAY[ROW(1, e.at, e.at, ARRAY[e.n])::funnel_oracle.run];
		ELSIF dedup AND furthest >= e.step THEN
			EXIT;
		ELSIF furthest < e.step - 1 THEN
			EXIT WHEN ordered AND furthest > 0 AND NOT reentry;
			CONTINUE;
		ELSE
			SELECT array_agg(ROW(e.step, r.first, e.at, r.events || e.n::int)::funnel_oracle.run) INTO found
			  FROM unnest(runs) AS r
			 WHERE r.step = e.step - 1
			   AND e.at <= r.first + win
			   AND (NOT increase OR r.last < e.at)
			   AND (NOT once OR e.n <> ALL (r.events));
		END IF;
		CONTINUE WHEN found IS NULL;
		furthest := greatest(furthest, e.step);
		EXIT WHEN furthest = steps;
		-- Unless strict_once says otherwise, the latest run to a step is the only one that goes on
		IF NOT once THEN
			runs := ARRAY(SELECT r FROM unnest(runs) AS r WHERE r.step <> e.step);
		END IF;
		runs := runs || found;
	END LOOP;
	RETURN furthest;
END $$;

-- Without modes, and with strict_once, a funnel is what anybody would write down: are there such events?
CREATE FUNCTION funnel_oracle.exists_level(win int, once boolean, steps int, events funnel_oracle.event[]) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
	WITH RECURSIVE e AS (
		SELECT u.at, u.mask, u.n FROM unnest(events) WITH ORDINALITY AS u (at, mask, n)
	), way AS (
		SELECT 1 AS step, e.at AS first, e.at AS last, ARRAY[e.n] AS taken FROM e WHERE e.mask & 1 = 1
		UNION
		SELECT w.step + 1, w.first, e.at, CASE WHEN once THEN w.taken || e.n ELSE w.taken END
		  FROM way AS w
		  JOIN e ON (e.mask >> w.step) & 1 = 1 AND e.at >= w.last AND e.at <= w.first + win
				AND (NOT once OR e.n <> ALL (w.taken))
		 WHERE w.step < steps
	)
	SELECT coalesce(max(step), 0) FROM way
$$;

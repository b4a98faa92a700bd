-- Runs: one customer on his way through one campaign, for one occasion.
--
-- crm.next_move() is the one place that decides: from a run, the definition and the facts it tells what comes next and at
-- which instant, and writes nothing. The tick's follower acts on it, crm.dry_run() and crm.backtest() only tell it. A move has
-- the instant at which it was due, not that at which somebody came to make it: so a server that slept, or a simulated clock,
-- changes nothing.

CREATE SEQUENCE crm.run_id_seq;
COMMENT ON SEQUENCE crm.run_id_seq IS 'ids of runs';

CREATE TABLE crm.run (
	customer_id	bigint NOT NULL,
	run_id		bigint NOT NULL DEFAULT pg_catalog.nextval('crm.run_id_seq'),
	campaign_id	int NOT NULL,
	version		int NOT NULL,
	occurrence	text NOT NULL,
	event_kind	text,
	event_at	timestamptz,
	event		jsonb,
	entry		timestamptz NOT NULL,
	begun_at	timestamptz NOT NULL,
	held		boolean NOT NULL DEFAULT false,
	state		text NOT NULL CHECK (state IN ('active', 'ended', 'left', 'skipped', 'failed')),
	reason		text,
	step		int NOT NULL DEFAULT 1,
	step_at		timestamptz NOT NULL,
	looked_at	timestamptz NOT NULL,
	wake_at		timestamptz,
	goal_at		timestamptz,
	finished_at	timestamptz,
	arms		jsonb NOT NULL DEFAULT '{}',
	code		text,
	errors		int NOT NULL DEFAULT 0,
	error		text,
	PRIMARY KEY (customer_id, run_id),
	UNIQUE (customer_id, campaign_id, occurrence)
) WITH (fillfactor = 80);
CREATE INDEX run_wake_at_idx ON crm.run (wake_at, run_id) WHERE state = 'active';
CREATE INDEX run_campaign_id_idx ON crm.run (campaign_id, entry);
COMMENT ON TABLE crm.run IS
'runs: a customer on his way through a campaign, for one occasion; also those that did not begin, and why';
COMMENT ON COLUMN crm.run.customer_id IS 'who; of a merged customer, the id by which it began';
COMMENT ON COLUMN crm.run.run_id IS 'number of the run';
COMMENT ON COLUMN crm.run.campaign_id IS 'campaign';
COMMENT ON COLUMN crm.run.version IS 'the version of the campaign it is on';
COMMENT ON COLUMN crm.run.occurrence IS 'the occasion, of which there is one run: the value of the campaign''s occurrence_key, else the instant of the deciding event or of the entry';
COMMENT ON COLUMN crm.run.event_kind IS 'kind of the deciding event; NULL where no event decides';
COMMENT ON COLUMN crm.run.event_at IS 'its instant';
COMMENT ON COLUMN crm.run.event IS 'its properties as they were when the run began, for templates';
COMMENT ON COLUMN crm.run.entry IS 'since when the trigger was true: what "since entry" is counted from';
COMMENT ON COLUMN crm.run.begun_at IS 'when that was noticed';
COMMENT ON COLUMN crm.run.held IS 'held out: goes the whole way without getting anything, for comparison';
COMMENT ON COLUMN crm.run.state IS 'active; ended: came to its end; left: left before; skipped: did not begin; failed: after too many errors';
COMMENT ON COLUMN crm.run.reason IS 'why it left or did not begin: goal, void (the occasion is none by what is known now), step, stopped, merged, gone, late, re-entry';
COMMENT ON COLUMN crm.run.step IS 'number of the step that is next, from 1';
COMMENT ON COLUMN crm.run.step_at IS 'when it came to this step';
COMMENT ON COLUMN crm.run.looked_at IS 'up to which instant its goal and what it waits for was looked for';
COMMENT ON COLUMN crm.run.wake_at IS 'when it is to be looked at again, if nothing happens before; NULL when it is over';
COMMENT ON COLUMN crm.run.goal_at IS 'when the goal was reached';
COMMENT ON COLUMN crm.run.finished_at IS 'when it was over';
COMMENT ON COLUMN crm.run.arms IS 'arm by step, of the steps that split';
COMMENT ON COLUMN crm.run.code IS 'the promo code that was taken for it last';
COMMENT ON COLUMN crm.run.errors IS 'how often in a row it had an error';
COMMENT ON COLUMN crm.run.error IS 'the last error';
COMMENT ON INDEX crm.run_wake_at_idx IS 'finds who is due';
COMMENT ON INDEX crm.run_campaign_id_idx IS 'all of a campaign';

CREATE SEQUENCE crm.run_step_id_seq;
COMMENT ON SEQUENCE crm.run_step_id_seq IS 'numbers of the entries in crm.run_step';

CREATE TABLE crm.run_step (
	customer_id	bigint NOT NULL,
	entry_id	bigint NOT NULL DEFAULT pg_catalog.nextval('crm.run_step_id_seq'),
	run_id		bigint NOT NULL,
	campaign_id	int NOT NULL,
	step		text NOT NULL,
	arm			text NOT NULL DEFAULT '',
	at			timestamptz NOT NULL,
	outcome		text NOT NULL,
	PRIMARY KEY (customer_id, entry_id)
);
CREATE INDEX run_step_campaign_id_idx ON crm.run_step (campaign_id, at);
COMMENT ON TABLE crm.run_step IS 'what runs have done, step by step';
COMMENT ON COLUMN crm.run_step.customer_id IS 'as crm.run';
COMMENT ON COLUMN crm.run_step.entry_id IS 'number of the entry';
COMMENT ON COLUMN crm.run_step.run_id IS 'run';
COMMENT ON COLUMN crm.run_step.campaign_id IS 'its campaign';
COMMENT ON COLUMN crm.run_step.step IS 'name of the step';
COMMENT ON COLUMN crm.run_step.arm IS 'the arms it was in by then';
COMMENT ON COLUMN crm.run_step.at IS 'when it was due';
COMMENT ON COLUMN crm.run_step.outcome IS
'what was done: message, task, set and the other actions, or done where there is none; or skipped (the condition was false), timed out, no date, no code; goal, void and other ends';
COMMENT ON INDEX crm.run_step_campaign_id_idx IS 'all of a campaign';

SELECT pg_catalog.pg_extension_config_dump('crm.run_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.run', '');
SELECT pg_catalog.pg_extension_config_dump('crm.run_step_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.run_step', '');

CREATE TYPE crm.run_move AS (
	kind		text,
	at			timestamptz,
	outcome		text,
	arm			text,
	next_step	int,
	otherwise	int
);
COMMENT ON TYPE crm.run_move IS
'what a run does next: kind (wait: nothing until "at"; step: its step is done at that instant; end; goal; void; leave), what comes of the step, the arm it falls into, the step that follows, and the one that follows if the action cannot be done (0: it leaves)';

------------------------------------------------------------------------------------------------------------------
-- Local time
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.add_in_zone(at timestamptz, span interval, zone text) RETURNS timestamptz
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN extract(year FROM span) = 0 AND extract(month FROM span) = 0 AND extract(day FROM span) = 0 THEN at
			ELSE (at AT TIME ZONE zone
				  + make_interval(years => extract(year FROM span)::int, months => extract(month FROM span)::int,
								  days => extract(day FROM span)::int)) AT TIME ZONE zone END
	   + make_interval(hours => extract(hour FROM span)::int, mins => extract(minute FROM span)::int,
					   secs => extract(second FROM span)::float8);
COMMENT ON FUNCTION crm.add_in_zone(timestamptz, interval, text) IS
'an instant plus an interval, as PostgreSQL adds in a session of that time zone: months and days by the local calendar and clock, then hours and less by the watch. NULL gives NULL';

CREATE FUNCTION crm.next_local(at timestamptz, "time" time, weekdays int[], zone text) RETURNS timestamptz
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (SELECT min(i.instant)
		  FROM generate_series(0, 8) AS d(n)
		 CROSS JOIN LATERAL (SELECT (at AT TIME ZONE zone)::date + d.n AS day) AS l
		 CROSS JOIN LATERAL (SELECT CASE WHEN "time" IS NULL THEN greatest(at, l.day::timestamp AT TIME ZONE zone)
										 ELSE (l.day + "time") AT TIME ZONE zone END AS instant) AS i
		 WHERE i.instant >= at AND (weekdays IS NULL OR extract(isodow FROM l.day)::int = ANY (weekdays)));
COMMENT ON FUNCTION crm.next_local(timestamptz, time, int[], text) IS
'the first instant, not before the one given, that is at this local time of day (NULL: any) on one of these days of the week (1 Monday to 7 Sunday; NULL: any). A time that a change of the clocks leaves out is as much later';

CREATE FUNCTION crm.date_due(date text, span interval, yearly boolean, base timestamptz, zone text) RETURNS timestamptz
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	local timestamp;
	due timestamptz;
	years int;
BEGIN
	-- A date, or an instant as jsonb shows it, which has its own zone
	local := CASE WHEN date ~ '^\d{4,}-\d\d-\d\d$' THEN date::timestamp ELSE date::timestamptz AT TIME ZONE zone END;
	IF NOT yearly THEN
		due := crm.add_in_zone(local AT TIME ZONE zone, span, zone);
		RETURN CASE WHEN due >= base THEN due END;
	END IF;
	years := greatest(extract(year FROM base AT TIME ZONE zone)::int - extract(year FROM local)::int - 1, 1);
	LOOP
		due := crm.add_in_zone((local + make_interval(years => years)) AT TIME ZONE zone, span, zone);
		EXIT WHEN due >= base;
		years := years + 1;
	END LOOP;
	RETURN due;
EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow THEN
	RETURN NULL;
END
$function$;
COMMENT ON FUNCTION crm.date_due(text, interval, boolean, timestamptz, text) IS
'when a step with date_of is due that was come to at "base": the date (from its local midnight) plus the interval, NULL if that has passed; yearly, the next anniversary of the date plus the interval. NULL for NULL, and for what is no date';

CREATE FUNCTION crm.nth_weekday(year int, month int, n int, weekday int) RETURNS date
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (SELECT CASE WHEN extract(month FROM d.day)::int = month THEN d.day END
		  FROM (SELECT CASE WHEN n > 0 THEN f.first + (weekday - extract(isodow FROM f.first)::int + 7) % 7 + (n - 1) * 7
							WHEN n < 0 THEN f.last - (extract(isodow FROM f.last)::int - weekday + 7) % 7 + (n + 1) * 7 END AS day
				  FROM (SELECT make_date(year, month, 1) AS first,
							   (make_date(year, month, 1) + interval '1 month - 1 day')::date AS last) AS f) AS d);
COMMENT ON FUNCTION crm.nth_weekday(int, int, int, int) IS
'the n-th such day of the week (1 Monday to 7 Sunday) of a month, counted from its end when n is negative: crm.nth_weekday(2026, 6, 3, 7) is the third Sunday of June. NULL where there is none, and for NULL';

CREATE FUNCTION crm.zone_of_profile(profile crm.profile) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	zone text;
BEGIN
	SELECT a.value #>> '{}' INTO zone
	  FROM crm.attributes_of(profile) AS a
	 WHERE a.name IN ('timezone', 'time_zone') AND jsonb_typeof(a.value) = 'string'
	 ORDER BY a.name DESC LIMIT 1;
	RETURN CASE WHEN crm.is_timezone(zone) THEN zone ELSE crm.timezone() END;
END
$function$;
COMMENT ON FUNCTION crm.zone_of_profile(crm.profile) IS 'the time zone of a customer: his attribute timezone (or time_zone) where it is one, else the shop''s. NULL: the shop''s';

------------------------------------------------------------------------------------------------------------------
-- Deciding
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.arm_of(customer_id bigint, salt text, arms jsonb) RETURNS jsonb
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (SELECT a.arm
		  FROM (SELECT a AS arm, o, sum((a ->> 'percent')::int) OVER (ORDER BY o) AS upper
				  FROM jsonb_array_elements(arms) WITH ORDINALITY AS a(a, o)) AS a
		 WHERE a.upper > crm.percent_of(salt || ':' || customer_id)
		 ORDER BY a.o LIMIT 1);
COMMENT ON FUNCTION crm.arm_of(bigint, text, jsonb) IS
'the arm into which a customer falls: the same each time, by a hash of his id and the salt. NULL gives NULL';

CREATE FUNCTION crm.step_number(definition jsonb, name text, number int) RETURNS int
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN name IS NULL OR name = 'skip' THEN number + 1
			WHEN name = 'leave' THEN 0
			ELSE (SELECT s.o::int FROM jsonb_array_elements(definition -> 'steps') WITH ORDINALITY AS s(s, o) WHERE s.s ->> 'step' = name) END;
COMMENT ON FUNCTION crm.step_number(jsonb, text, int) IS 'the number of the step that follows step "number": the next one for NULL and skip, 0 for leave, else the one of that name';

CREATE FUNCTION crm.is_held(customer_id bigint, campaign_id int, definition jsonb) RETURNS boolean
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN crm.in_holdout(is_held.customer_id, format('campaign:%s', is_held.campaign_id), (definition ->> 'holdout')::int)
		   OR NOT (definition -> 'transactional')::boolean AND crm.in_global_holdout(is_held.customer_id);
END
$function$;
COMMENT ON FUNCTION crm.is_held(bigint, int, jsonb) IS
'whether runs of a customer are held out: of this campaign, or of all marketing where it is that. NULL gives NULL';

CREATE FUNCTION crm.bars_reentry(definition jsonb, last_entry timestamptz, entry timestamptz) RETURNS boolean
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN last_entry IS NOT NULL
		   AND CASE definition ->> 'reentry'
				   WHEN 'each' THEN false
				   WHEN 'once' THEN true
				   ELSE last_entry > entry - (definition ->> 'reentry')::interval END;
END
$function$;
COMMENT ON FUNCTION crm.bars_reentry(jsonb, timestamptz, timestamptz) IS
'whether a run that began bars another one of the same customer; last_entry NULL: there is none';

CREATE FUNCTION crm.campaign_profile(customer_id bigint, kinds text[]) RETURNS crm.profile
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	-- who has nothing but events of other kinds is somebody all the same
	RETURN coalesce(crm.profile_of_kinds(campaign_profile.customer_id, campaign_profile.kinds), crm.profile_of(campaign_profile.customer_id));
END
$function$;
COMMENT ON FUNCTION crm.campaign_profile(bigint, text[]) IS
'the facts of a customer that a campaign asks for: events of these kinds, of all where kinds is NULL. NULL for a customer of whom nothing is known';

CREATE FUNCTION crm.new_run(definition jsonb, campaign_id int, customer_id bigint, profile crm.profile, segments int[], kind text,
							event_at timestamptz, started_at timestamptz) RETURNS crm.run
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	run crm.run;
	number int;
BEGIN
	run.customer_id := new_run.customer_id;
	run.campaign_id := new_run.campaign_id;
	run.occurrence := to_char(new_run.event_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
	run.entry := new_run.started_at;
	IF new_run.kind <> '' THEN
		number := crm.occurs(profile, (definition ->> 'trigger')::crm.predicate, run.entry, new_run.kind, new_run.event_at, segments);
		IF number IS NULL THEN
			-- by what is known now it was none
			RETURN NULL;
		END IF;
		run.event_kind := new_run.kind;
		run.event_at := new_run.event_at;
		SELECT e.properties INTO run.event
		  FROM crm.events_of(profile) WITH ORDINALITY AS e(kind, at, properties, n)
		 WHERE e.kind = new_run.kind ORDER BY e.n OFFSET number - 1 LIMIT 1;
		run.occurrence := coalesce(run.event ->> (definition ->> 'occurrence_key'), run.occurrence);
	END IF;
	run.state := 'active';
	run.step := 1;
	run.step_at := run.entry;
	run.looked_at := run.entry;
	run.arms := '{}';
	run.held := crm.is_held(run.customer_id, run.campaign_id, definition);
	RETURN run;
END
$function$;
COMMENT ON FUNCTION crm.new_run(jsonb, int, bigint, crm.profile, int[], text, timestamptz, timestamptz) IS
'the run of a customer at its beginning, for what the trigger has met (kind empty: an entry); NULL if it is none by these facts. Writes nothing';

CREATE FUNCTION crm.next_move(run crm.run, definition jsonb, profile crm.profile, segments int[], zone text, now timestamptz)
	RETURNS crm.run_move
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	move crm.run_move;
	step CONSTANT jsonb := definition -> 'steps' -> (run.step - 1);
	due timestamptz := run.step_at;
	"from" CONSTANT timestamptz := greatest(run.looked_at, run.step_at);
	upto timestamptz;
	goal_at timestamptz;
	goal_truth boolean := false;
	met_at timestamptz;
	met_truth boolean := false;
	wake timestamptz;
	known boolean := true;
	arm jsonb;
	number int;
BEGIN
	IF run.event_kind IS NOT NULL AND crm.occurs(profile, (definition ->> 'trigger')::crm.predicate, run.entry, run.event_kind, run.event_at,
												segments) IS NULL THEN
		move.kind := 'void';
		move.at := now;
		RETURN move;
	END IF;

	IF step IS NULL THEN
		due := run.step_at;
	ELSIF step ? 'wait' THEN
		due := crm.add_in_zone(due, (step ->> 'wait')::interval, zone);
	ELSIF step ? 'until' THEN
		due := crm.add_in_zone(due, (step ->> 'timeout')::interval, zone);
	ELSIF step ? 'date_of' THEN
		due := (SELECT crm.date_due(a.value #>> '{}', (step ->> 'offset')::interval, (step -> 'yearly')::boolean, run.step_at, zone)
				  FROM crm.attributes_of(profile) AS a WHERE a.name = step ->> 'date_of');
		known := due IS NOT NULL;
		due := coalesce(due, run.step_at);
	END IF;
	IF step ?| ARRAY['time', 'weekday'] AND NOT step ? 'until' AND known THEN
		due := crm.next_local(due, (step ->> 'time')::time, CASE WHEN step ? 'weekday' THEN ARRAY(SELECT d::int FROM jsonb_array_elements_text(step -> 'weekday') AS d) END,
							 zone);
	END IF;

	-- What comes first: the goal, what is waited for, or the time
	upto := greatest("from", least(now, due));
	IF definition ? 'goal' THEN
		SELECT f.at, f.truth INTO goal_at, goal_truth
		  FROM crm.first_true(profile, (definition ->> 'goal')::crm.predicate, "from", upto, run.entry, segments) AS f;
	END IF;
	IF step ? 'until' THEN
		SELECT f.at, f.truth INTO met_at, met_truth
		  FROM crm.first_true(profile, (step ->> 'until')::crm.predicate, "from", upto, run.entry, segments) AS f;
	END IF;
	IF goal_truth AND NOT (met_truth AND met_at < goal_at) THEN
		move.kind := 'goal';
		move.at := goal_at;
		RETURN move;
	END IF;
	move.at := CASE WHEN met_truth THEN met_at ELSE due END;
	wake := least(due, goal_at, met_at);
	IF move.at > now THEN
		move.kind := 'wait';
		move.at := wake;
		RETURN move;
	ELSIF step IS NULL THEN
		move.kind := 'end';
		RETURN move;
	END IF;

	move.kind := 'step';
	move.otherwise := crm.step_number(definition, step ->> 'otherwise', run.step);
	IF NOT known THEN
		move.outcome := 'no date';
	ELSIF step ? 'until' AND NOT met_truth THEN
		move.outcome := 'timed out';
	ELSIF step ? 'if' AND NOT (SELECT f.truth FROM crm.first_true(profile, (step ->> 'if')::crm.predicate, move.at, move.at, run.entry, segments) AS f) THEN
		move.outcome := 'skipped';
	END IF;
	IF move.outcome IS NOT NULL THEN
		number := move.otherwise;
	ELSE
		move.outcome := coalesce((SELECT k FROM jsonb_object_keys(step) AS k
								   WHERE k = ANY (ARRAY['message', 'task', 'set', 'add_tag', 'remove_tag', 'add_to_audience',
														'remove_from_audience', 'code', 'call', 'split'])), 'done');
		number := crm.step_number(definition, step ->> 'go_to', run.step);
		IF step ? 'split' THEN
			arm := crm.arm_of(run.customer_id, format('%s:%s', definition ->> 'campaign', step ->> 'step'), step -> 'split');
			move.arm := arm ->> 'arm';
			number := crm.step_number(definition, coalesce(arm ->> 'go_to', step ->> 'go_to'), run.step);
		END IF;
	END IF;
	move.next_step := number;
	RETURN move;
END
$function$;
COMMENT ON FUNCTION crm.next_move(crm.run, jsonb, crm.profile, int[], text, timestamptz) IS
'what a run does next, with a definition as it is stored and these facts, up to an instant; see crm.run_move. Writes nothing. segments: the static segments that the customer is in';

CREATE FUNCTION crm.after_move(run crm.run, move crm.run_move, step text) RETURNS crm.run
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	run.wake_at := move.at;
	IF move.kind <> 'wait' THEN
		run.looked_at := greatest(run.looked_at, move.at);
	END IF;
	IF move.kind = 'step' AND move.next_step > 0 THEN
		run.step := move.next_step;
		run.step_at := move.at;
		IF move.arm IS NOT NULL THEN
			run.arms := run.arms || jsonb_build_object(after_move.step, move.arm);
		END IF;
	ELSIF move.kind <> 'wait' THEN
		run.state := CASE WHEN move.kind = 'end' THEN 'ended' ELSE 'left' END;
		run.reason := CASE move.kind WHEN 'end' THEN NULL WHEN 'step' THEN 'step' ELSE move.kind END;
		run.goal_at := CASE WHEN move.kind = 'goal' THEN move.at END;
		run.finished_at := move.at;
		run.wake_at := NULL;
	END IF;
	RETURN run;
END
$function$;
COMMENT ON FUNCTION crm.after_move(crm.run, crm.run_move, text) IS 'the run as it is after a move, of which this is the name of the step';

CREATE FUNCTION crm.arms_text(arms jsonb) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN CASE WHEN arms <> '{}' THEN (SELECT string_agg(a.value, '/' ORDER BY a.key) FROM jsonb_each_text(arms) AS a) ELSE '' END;
END
$function$;
COMMENT ON FUNCTION crm.arms_text(jsonb) IS 'the arms that a run fell into, by the names of their steps';

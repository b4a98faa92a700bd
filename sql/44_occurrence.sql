-- Triggers: what a segment has met, event by event, and who else is to be looked at because something happened to him.
--
-- The tick tells it here, whoever is above takes it away: crm.follower names the functions that are called after each tick.
-- What was told and what nobody has taken yet is dumped: an entry is found but once, and what an occasion is may be another thing to
-- those who take it by now. Only crm.heard is not: the first refresh after a restore, as any that cannot tell whose facts have changed,
-- puts everybody into it.

CREATE TABLE crm.occurrence (
	customer_id	bigint NOT NULL,
	segment_id	int NOT NULL,
	kind		text NOT NULL,
	event_at	timestamptz NOT NULL,
	started_at	timestamptz NOT NULL,
	PRIMARY KEY (customer_id, segment_id, kind, event_at)
);
CREATE INDEX occurrence_started_at_idx ON crm.occurrence (started_at);
COMMENT ON TABLE crm.occurrence IS
'what triggers have met and was told in crm.occurrence_queue: each once. Kept as long as the triggers look back, see crm.forget_occurrences()';
COMMENT ON COLUMN crm.occurrence.customer_id IS 'whose';
COMMENT ON COLUMN crm.occurrence.segment_id IS 'the trigger';
COMMENT ON COLUMN crm.occurrence.kind IS 'the kind of the deciding event; empty: the entry itself, where no event decides';
COMMENT ON COLUMN crm.occurrence.event_at IS 'when the deciding event was, or the entry';
COMMENT ON COLUMN crm.occurrence.started_at IS 'since when the predicate is true with it';
COMMENT ON INDEX crm.occurrence_started_at_idx IS 'what can be forgotten';

CREATE SEQUENCE crm.occurrence_seq;
COMMENT ON SEQUENCE crm.occurrence_seq IS 'order of crm.occurrence_queue and crm.heard';

CREATE TABLE crm.occurrence_queue (
	seq			bigint NOT NULL PRIMARY KEY,
	customer_id	bigint NOT NULL,
	segment_id	int NOT NULL,
	kind		text NOT NULL,
	event_at	timestamptz NOT NULL,
	started_at	timestamptz NOT NULL
);
COMMENT ON TABLE crm.occurrence_queue IS 'what triggers have met and nobody has acted on yet; who does deletes it';
COMMENT ON COLUMN crm.occurrence_queue.seq IS 'order';
COMMENT ON COLUMN crm.occurrence_queue.customer_id IS 'as crm.occurrence';
COMMENT ON COLUMN crm.occurrence_queue.segment_id IS 'as crm.occurrence';
COMMENT ON COLUMN crm.occurrence_queue.kind IS 'as crm.occurrence';
COMMENT ON COLUMN crm.occurrence_queue.event_at IS 'as crm.occurrence';
COMMENT ON COLUMN crm.occurrence_queue.started_at IS 'as crm.occurrence';

CREATE TABLE crm.interest (
	customer_id	bigint NOT NULL PRIMARY KEY
);
COMMENT ON TABLE crm.interest IS 'customers of whom somebody above wants to hear when their facts change: crm.heard has them then';
COMMENT ON COLUMN crm.interest.customer_id IS 'who, by any of his ids';

CREATE TABLE crm.heard (
	seq			bigint NOT NULL DEFAULT pg_catalog.nextval('crm.occurrence_seq') PRIMARY KEY,
	customer_id	bigint NOT NULL
);
COMMENT ON TABLE crm.heard IS 'customers in crm.interest whose facts have changed, or may have; who has looked at them deletes it';
COMMENT ON COLUMN crm.heard.seq IS 'order';
COMMENT ON COLUMN crm.heard.customer_id IS 'who, as crm.interest has him';

CREATE TABLE crm.follower (
	function	name NOT NULL PRIMARY KEY
);
COMMENT ON TABLE crm.follower IS
'functions of schema crm that crm.run_ticks() and the worker call after each tick, in a transaction of their own: (max int, OUT done bigint, OUT more boolean, OUT next timestamptz), next being when there is more to do with no new fact';
COMMENT ON COLUMN crm.follower.function IS 'its name';

-- No rows of our own are in them, so all of it is dumped.
SELECT pg_catalog.pg_extension_config_dump('crm.occurrence', '');
SELECT pg_catalog.pg_extension_config_dump('crm.occurrence_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.occurrence_queue', '');
SELECT pg_catalog.pg_extension_config_dump('crm.interest', '');

CREATE FUNCTION crm.set_trigger(segment int, since timestamptz, "window" interval) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	PERFORM crm.lock_segments();
	UPDATE crm.segment AS s
	   SET trigger_since = set_trigger.since, trigger_window = CASE WHEN set_trigger.since IS NOT NULL THEN set_trigger."window" END,
		   -- deadlines of a trigger are others: the next refresh computes them
		   stale = s.stale OR s.trigger_since IS NULL AND set_trigger.since IS NOT NULL AND s.evaluated_at IS NOT NULL
	 WHERE s.segment_id = set_trigger.segment
	   AND (s.trigger_since, s.trigger_window) IS DISTINCT FROM (set_trigger.since, set_trigger."window");
END
$function$;
COMMENT ON FUNCTION crm.set_trigger(int, timestamptz, interval) IS
'makes a segment a trigger: what it meets after the instant is told in crm.occurrence_queue, but nothing that began longer ago than the window when it is noticed. since NULL ends it. For campaigns. Errors: those of crm.lock_segments()';

CREATE FUNCTION crm.forget_occurrences(at timestamptz DEFAULT crm.now()) RETURNS bigint
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	-- What may be found once more is kept; a day more for clocks that differ
	WITH gone AS (
		DELETE FROM crm.occurrence AS o
		 WHERE o.started_at < forget_occurrences.at - interval '1 day'
			   - coalesce((SELECT max(s.trigger_window) FROM crm.segment AS s), interval '0')
		RETURNING 1
	)
	SELECT count(*) FROM gone
$function$;
COMMENT ON FUNCTION crm.forget_occurrences(timestamptz) IS
'deletes from crm.occurrence what no trigger looks back to any more; returns how many. NULL deletes nothing';

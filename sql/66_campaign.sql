-- Campaigns: what a marketer draws. A trigger, which is a predicate that becomes true, and the steps that follow from it.
--
-- A definition is one jsonb, whether it was built by crm.create_campaign() and crm.add_step() or came from an editor: so there
-- is one check of it, and one thing to run. Names of segments in its predicates are kept as ids, and shown as names.

CREATE SEQUENCE crm.campaign_id_seq AS int;
COMMENT ON SEQUENCE crm.campaign_id_seq IS 'ids of campaigns; an id is never used again';

CREATE TABLE crm.campaign (
	campaign_id	int NOT NULL DEFAULT pg_catalog.nextval('crm.campaign_id_seq') PRIMARY KEY,
	campaign	text NOT NULL UNIQUE,
	state		text NOT NULL DEFAULT 'draft' CHECK (state IN ('draft', 'running', 'paused', 'stopped')),
	draft		jsonb NOT NULL,
	version		int,
	segment_id	int,
	created_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	started_at	timestamptz,
	sent_up_to	bigint
);
COMMENT ON TABLE crm.campaign IS 'campaigns, and what each is to be when it is started next';
COMMENT ON COLUMN crm.campaign.campaign_id IS 'its id';
COMMENT ON COLUMN crm.campaign.campaign IS 'its name';
COMMENT ON COLUMN crm.campaign.state IS
'draft: never started; running; paused: nobody goes on and no message is handed out, but who is due is remembered; stopped';
COMMENT ON COLUMN crm.campaign.draft IS 'the definition as it was edited last; crm.start_campaign() makes a version of it';
COMMENT ON COLUMN crm.campaign.version IS 'the version by which new runs begin; NULL before the first start';
COMMENT ON COLUMN crm.campaign.segment_id IS 'the segment that is its trigger; NULL for a broadcast, and while there is none';
COMMENT ON COLUMN crm.campaign.created_at IS 'when it was made, by the clock';
COMMENT ON COLUMN crm.campaign.started_at IS 'since when it is on: what its trigger meets later starts runs';

COMMENT ON COLUMN crm.campaign.sent_up_to IS 'of a broadcast: the customer up to whom runs have begun; the greatest possible when all have';

CREATE TABLE crm.campaign_version (
	campaign_id	int NOT NULL,
	version		int NOT NULL,
	definition	jsonb NOT NULL,
	guard_id	int NOT NULL,
	kinds		text[],
	created_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (campaign_id, version)
);
COMMENT ON TABLE crm.campaign_version IS 'what campaigns were and are: a run stays on the version it began with, until crm.migrate_runs()';
COMMENT ON COLUMN crm.campaign_version.campaign_id IS 'campaign';
COMMENT ON COLUMN crm.campaign_version.version IS 'number, from 1';
COMMENT ON COLUMN crm.campaign_version.definition IS 'the definition';
COMMENT ON COLUMN crm.campaign_version.guard_id IS 'under which conditions its messages may go, crm.guard';
COMMENT ON COLUMN crm.campaign_version.kinds IS 'the kinds of events that its predicates ask for; NULL: any, as they name segments';
COMMENT ON COLUMN crm.campaign_version.created_at IS 'when it was started, by the clock';

SELECT pg_catalog.pg_extension_config_dump('crm.campaign_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.campaign', '');
SELECT pg_catalog.pg_extension_config_dump('crm.campaign_version', '');

------------------------------------------------------------------------------------------------------------------
-- Making and editing
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.campaign_named(campaign text) RETURNS crm.campaign
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result crm.campaign;
	near text;
BEGIN
	IF campaign_named.campaign IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name of a campaign must not be null';
	END IF;
	SELECT c.* INTO result FROM crm.campaign AS c WHERE c.campaign = campaign_named.campaign;
	IF NOT FOUND THEN
		near := crm.nearest_name(campaign_named.campaign, ARRAY(SELECT c.campaign FROM crm.campaign AS c ORDER BY c.campaign));
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('campaign "%s" does not exist', campaign_named.campaign),
			HINT = CASE WHEN near IS NULL THEN 'The view crm.campaigns lists all campaigns.' ELSE format('Perhaps you meant "%s".', near) END;
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.campaign_named(text) IS 'the campaign of this name. Errors: 22004 NULL, 42704 there is none, with the nearest name as hint';

CREATE FUNCTION crm.campaign_from_json(definition jsonb) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	checked CONSTANT jsonb := crm.check_campaign(campaign_from_json.definition);
	result int;
BEGIN
	UPDATE crm.campaign AS c SET draft = checked WHERE c.campaign = checked ->> 'campaign' RETURNING c.campaign_id INTO result;
	IF NOT FOUND THEN
		INSERT INTO crm.campaign AS c (campaign, draft) VALUES (checked ->> 'campaign', checked) RETURNING c.campaign_id INTO result;
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.campaign_from_json(jsonb) IS
'makes a campaign, or gives one of this name another draft, from one object: campaign (its name), trigger (a predicate) or segment (the name of one, for a broadcast), goal, reentry (each, once, or an interval), priority (0 to 9, 5), holdout (percent), useful_for (an interval, 1 day), occurrence_key (the property by which events are one occasion), purpose, transactional, window (for how long orders are counted in the report, 30 days), spread, and steps. What runs already is not changed before crm.start_campaign(). Returns its id. Errors: those of crm.check_campaign()';

CREATE FUNCTION crm.named_definition(definition jsonb) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result jsonb := named_definition.definition;
	key text;
	number int;
BEGIN
	FOREACH key IN ARRAY ARRAY['trigger', 'goal'] LOOP
		IF result ? key THEN
			result := jsonb_set(result, ARRAY[key], to_jsonb(crm.name_segments((result ->> key)::crm.predicate)::text));
		END IF;
	END LOOP;
	IF result ? 'segment' THEN
		result := jsonb_set(result, '{segment}', to_jsonb((SELECT s.name FROM crm.segment AS s WHERE s.segment_id = (result ->> 'segment')::int)));
	END IF;
	FOR number IN 0 .. jsonb_array_length(result -> 'steps') - 1 LOOP
		FOREACH key IN ARRAY ARRAY['if', 'until'] LOOP
			IF result -> 'steps' -> number ? key THEN
				result := jsonb_set(result, ARRAY['steps', number::text, key],
									to_jsonb(crm.name_segments((result -> 'steps' -> number ->> key)::crm.predicate)::text));
			END IF;
		END LOOP;
		IF result -> 'steps' -> number -> 'message' ? 'if' THEN
			result := jsonb_set(result, ARRAY['steps', number::text, 'message', 'if'],
								to_jsonb(crm.name_segments((result -> 'steps' -> number -> 'message' ->> 'if')::crm.predicate)::text));
		END IF;
	END LOOP;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.named_definition(jsonb) IS 'a stored definition with segments by name, for people to read. NULL gives NULL';

CREATE FUNCTION crm.definition_predicates(definition jsonb) RETURNS SETOF crm.predicate
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT p.predicate::crm.predicate
	  FROM (SELECT definition ->> 'trigger' UNION ALL SELECT definition ->> 'goal'
			 UNION ALL
			SELECT p.predicate
			  FROM jsonb_array_elements(definition -> 'steps') AS s
			 CROSS JOIN LATERAL (VALUES (s ->> 'if'), (s ->> 'until'), (s -> 'message' ->> 'if')) AS p(predicate)) AS p(predicate)
	 WHERE p.predicate IS NOT NULL;
END;
COMMENT ON FUNCTION crm.definition_predicates(jsonb) IS 'the predicates of a stored definition. NULL has none';

CREATE FUNCTION crm.definition_kinds(definition jsonb) RETURNS text[]
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (
	WITH predicate AS MATERIALIZED (
		SELECT p AS predicate FROM crm.definition_predicates(definition) AS p
	)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM predicate AS p WHERE cardinality(crm.segments_named(p.predicate)) > 0)
				THEN ARRAY(SELECT DISTINCT k FROM predicate AS p CROSS JOIN LATERAL unnest(crm.event_kinds(p.predicate)) AS k ORDER BY k) END);
COMMENT ON FUNCTION crm.definition_kinds(jsonb) IS
'the kinds of events that the predicates of a stored definition ask for; NULL where one names a segment, which may ask for others tomorrow. NULL gives NULL';

CREATE FUNCTION crm.definition_names_segment(definition jsonb, segment int) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN coalesce((definition ->> 'segment')::int = segment, false)
	   OR EXISTS (SELECT FROM crm.definition_predicates(definition) AS p WHERE segment = ANY (crm.segments_named(p)));
COMMENT ON FUNCTION crm.definition_names_segment(jsonb, int) IS
'whether a stored definition goes to a segment, or a predicate of it names it. NULL gives NULL';

CREATE FUNCTION crm.campaign_to_json(campaign text, version int DEFAULT NULL) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	target CONSTANT crm.campaign := crm.campaign_named(campaign_to_json.campaign);
	result jsonb := target.draft;
BEGIN
	IF campaign_to_json.version IS NOT NULL THEN
		SELECT v.definition INTO result
		  FROM crm.campaign_version AS v
		 WHERE v.campaign_id = target.campaign_id AND v.version = campaign_to_json.version;
		IF NOT FOUND THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_object',
				MESSAGE = format('campaign "%s" has no version %s', campaign_to_json.campaign, campaign_to_json.version);
		END IF;
	END IF;
	RETURN crm.named_definition(result);
END
$function$;
COMMENT ON FUNCTION crm.campaign_to_json(text, int) IS
'the definition of a campaign as one object, which crm.campaign_from_json() takes: the draft, or a version. Errors: 22004 NULL, 42704 there is none';

CREATE FUNCTION crm.create_campaign(campaign text, trigger crm.predicate, goal crm.predicate DEFAULT NULL, reentry text DEFAULT 'each',
									priority int DEFAULT 5, holdout int DEFAULT 0, useful_for interval DEFAULT '1 day',
									occurrence_key text DEFAULT NULL, purpose text DEFAULT 'marketing',
									transactional boolean DEFAULT false, "window" interval DEFAULT '30 days') RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF EXISTS (SELECT FROM crm.campaign AS c WHERE c.campaign = create_campaign.campaign) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('campaign "%s" already exists', create_campaign.campaign),
			HINT = 'crm.campaign_from_json() gives it another definition, crm.drop_campaign() removes it.';
	END IF;
	RETURN crm.campaign_from_json(jsonb_strip_nulls(jsonb_build_object(
		'campaign', create_campaign.campaign, 'trigger', create_campaign.trigger::text, 'goal', create_campaign.goal::text,
		'reentry', create_campaign.reentry, 'priority', create_campaign.priority, 'holdout', create_campaign.holdout,
		'useful_for', create_campaign.useful_for, 'occurrence_key', create_campaign.occurrence_key, 'purpose', create_campaign.purpose,
		'transactional', create_campaign.transactional, 'window', create_campaign."window", 'steps', '[]'::jsonb)));
END
$function$;
COMMENT ON FUNCTION crm.create_campaign(text, crm.predicate, crm.predicate, text, int, int, interval, text, text, boolean, interval) IS
'makes a campaign, without steps: crm.add_step() adds them, crm.start_campaign() starts it. A run starts for each event that makes the trigger true (its first "has"), or for each entry where no event decides. goal: leaves at once when this becomes true; "since entry" is since the run began. reentry: each occurrence, once, or at most every so often. priority: 9 goes first where a cap lets only some go. holdout: percent of people who get nothing, for comparison. useful_for: how late a run may still start, and a message be sent. occurrence_key: the property that tells occasions apart (the cart, the order), else each instant is one. Returns its id. Errors: 42710 the name is taken, and those of crm.check_campaign()';

CREATE FUNCTION crm.add_step(campaign text, step text, wait interval DEFAULT NULL, until crm.predicate DEFAULT NULL,
							 timeout interval DEFAULT NULL, date_of text DEFAULT NULL, "offset" interval DEFAULT NULL,
							 yearly boolean DEFAULT NULL, "time" text DEFAULT NULL, weekday int[] DEFAULT NULL,
							 condition crm.predicate DEFAULT NULL, otherwise text DEFAULT NULL, channel text DEFAULT NULL,
							 template text DEFAULT NULL, message jsonb DEFAULT NULL, task jsonb DEFAULT NULL, set jsonb DEFAULT NULL,
							 add_tag text DEFAULT NULL, remove_tag text DEFAULT NULL, add_to_audience text DEFAULT NULL,
							 remove_from_audience text DEFAULT NULL, code_pool text DEFAULT NULL, call text DEFAULT NULL,
							 split jsonb DEFAULT NULL, go_to text DEFAULT NULL) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	draft CONSTANT jsonb := crm.named_definition((crm.campaign_named(add_step.campaign)).draft);
	added jsonb;
BEGIN
	added := jsonb_strip_nulls(jsonb_build_object(
		'step', add_step.step, 'wait', add_step.wait, 'until', add_step.until::text, 'timeout', add_step.timeout, 'date_of', add_step.date_of,
		'offset', add_step."offset", 'yearly', add_step.yearly, 'time', add_step."time", 'weekday', add_step.weekday,
		'if', add_step.condition::text, 'otherwise', add_step.otherwise,
		'message', CASE WHEN add_step.channel IS NOT NULL OR add_step.template IS NOT NULL OR add_step.message IS NOT NULL
						THEN coalesce(add_step.message, '{}') || jsonb_strip_nulls(jsonb_build_object('channel', add_step.channel,
																									 'template', add_step.template)) END,
		'task', add_step.task, 'set', add_step.set, 'add_tag', add_step.add_tag, 'remove_tag', add_step.remove_tag,
		'add_to_audience', add_step.add_to_audience, 'remove_from_audience', add_step.remove_from_audience,
		'code', CASE WHEN add_step.code_pool IS NOT NULL THEN jsonb_build_object('pool', add_step.code_pool) END,
		'call', add_step.call, 'split', add_step.split, 'go_to', add_step.go_to));
	PERFORM crm.campaign_from_json(jsonb_set(draft, '{steps}', draft -> 'steps' || jsonb_build_array(added)));
	RETURN jsonb_array_length(draft -> 'steps') + 1;
END
$function$;
COMMENT ON FUNCTION crm.add_step(text, text, interval, crm.predicate, interval, text, interval, boolean, text, int[], crm.predicate, text, text, text, jsonb, jsonb, jsonb, text, text, text, text, text, text, jsonb, text) IS
'adds a step to a campaign''s draft, after those that are there. First it waits: wait (an interval), until (a predicate becomes true, at most for timeout), or date_of (an attribute, plus offset; yearly: its next anniversary); then to a time of day and a weekday (1 Monday to 7 Sunday) in the customer''s zone. Then condition: if it is false, or the time-out came, otherwise says what: skip the step (the default), leave, or a later step. Then it does at most one thing: a message (channel, template, and in message useful_for, purpose, transactional, if, data), a task (script, assignees, deadline), set attributes, add_tag, remove_tag, add_to_audience, remove_from_audience, a promo code of code_pool (the next messages have it), call of a shop''s function(bigint, jsonb), split into arms by percent, each with a go_to. Then go_to a later step, or leave; else the next one. To lead to a step that is not added yet, use crm.campaign_from_json(). Returns its number. Errors: 42704 unknown campaign, and those of crm.check_campaign()';

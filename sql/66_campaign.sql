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
-- Reading a definition
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.refuse_definition(path text, problem text, hint text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF refuse_definition.hint IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid campaign: %s', refuse_definition.problem),
			DETAIL = format('At %s.', refuse_definition.path);
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'invalid_parameter_value',
		MESSAGE = format('invalid campaign: %s', refuse_definition.problem),
		DETAIL = format('At %s.', refuse_definition.path),
		HINT = refuse_definition.hint;
END
$function$;
COMMENT ON FUNCTION crm.refuse_definition(text, text, text) IS 'raises the error 22023 of a definition: where, what is wrong, and how to mend it';

CREATE FUNCTION crm.definition_keys(object jsonb, path text, known text[]) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	odd text;
	near text;
BEGIN
	IF jsonb_typeof(definition_keys.object) IS DISTINCT FROM 'object' THEN
		PERFORM crm.refuse_definition(path, 'an object is expected');
	END IF;
	SELECT k INTO odd FROM jsonb_object_keys(definition_keys.object) AS k WHERE k <> ALL (known) ORDER BY k LIMIT 1;
	IF FOUND THEN
		near := crm.nearest_name(odd, known);
		PERFORM crm.refuse_definition(path, format('unrecognized "%s"', odd),
			CASE WHEN near IS NULL THEN format('It may have: %s.', array_to_string(known, ', ')) ELSE format('Perhaps you meant "%s".', near) END);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.definition_keys(jsonb, text, text[]) IS 'that a part of a definition is an object and has no other keys than these. Error 22023 otherwise';

CREATE FUNCTION crm.definition_text(object jsonb, path text, key text, required boolean DEFAULT false) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF jsonb_typeof(object -> key) IN ('string', 'number', 'boolean') AND object ->> key <> '' THEN
		RETURN object ->> key;
	ELSIF coalesce(jsonb_typeof(object -> key), 'null') <> 'null' THEN
		PERFORM crm.refuse_definition(format('%s.%s', path, key), 'a text is expected');
	ELSIF required THEN
		PERFORM crm.refuse_definition(path, format('"%s" is missing', key));
	END IF;
	RETURN NULL;
END
$function$;
COMMENT ON FUNCTION crm.definition_text(jsonb, text, text, boolean) IS 'a text of a definition; NULL if there is none. Error 22023 if it is required, or something else';

CREATE FUNCTION crm.definition_interval(object jsonb, path text, key text, required boolean DEFAULT false, negative boolean DEFAULT false)
	RETURNS interval
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result interval;
BEGIN
	BEGIN
		result := crm.definition_text(object, path, key, required)::interval;
	EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow OR interval_field_overflow THEN
		result := NULL;
		PERFORM crm.refuse_definition(format('%s.%s', path, key), format('"%s" is no interval', object ->> key),
									  'Write, for example, "2 days" or "1 hour 30 minutes".');
	END;
	IF NOT negative AND (result < interval '0' OR extract(month FROM result) < 0 OR extract(day FROM result) < 0) THEN
		PERFORM crm.refuse_definition(format('%s.%s', path, key), 'an interval must not be negative');
	ELSIF result > interval '10 years' OR result < interval '-10 years' THEN
		PERFORM crm.refuse_definition(format('%s.%s', path, key), 'an interval must not be longer than ten years');
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.definition_interval(jsonb, text, text, boolean, boolean) IS 'an interval of a definition; NULL if there is none. Error 22023 if it is none, or negative where it must not be';

CREATE FUNCTION crm.definition_number(object jsonb, path text, key text, smallest int, largest int, otherwise int) RETURNS int
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	given text := crm.definition_text(object, path, key);
BEGIN
	IF given IS NULL THEN
		RETURN otherwise;
	ELSIF given !~ '^[0-9]{1,9}$' OR given::int NOT BETWEEN smallest AND largest THEN
		PERFORM crm.refuse_definition(format('%s.%s', path, key), format('"%s" is no whole number from %s to %s', given, smallest, largest));
	END IF;
	RETURN given::int;
END
$function$;
COMMENT ON FUNCTION crm.definition_number(jsonb, text, text, int, int, int) IS 'a whole number of a definition, between two others; otherwise where there is none. Error 22023';

CREATE FUNCTION crm.definition_predicate(object jsonb, path text, key text, has_entry boolean, required boolean DEFAULT false) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	given CONSTANT text := crm.definition_text(object, path, key, required);
	result crm.predicate;
	state text;
	message text;
	detail text;
	hint text;
BEGIN
	IF given IS NULL THEN
		RETURN NULL;
	END IF;
	BEGIN
		result := crm.resolve_segments(given::crm.predicate);
		PERFORM crm.check_predicate(result, has_entry);
	EXCEPTION WHEN OTHERS THEN
		GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	END;
	IF state IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = state,
			MESSAGE = message,
			DETAIL = format('At %s.%s.%s', path, key, CASE WHEN detail <> '' THEN ' ' || detail ELSE '' END),
			HINT = CASE WHEN hint <> '' THEN hint ELSE 'See the section on the predicate language.' END;
	END IF;
	RETURN result::text;
END
$function$;
COMMENT ON FUNCTION crm.definition_predicate(jsonb, text, text, boolean, boolean) IS
'a predicate of a definition, checked against the feeds, with segments by id; NULL if there is none. Errors: those of the language and of crm.check_predicate(), with the place in the definition';

------------------------------------------------------------------------------------------------------------------
-- One step, and all
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.check_step(step jsonb, path text, steps text[], number int) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	actions CONSTANT text[] := ARRAY['message', 'task', 'set', 'add_tag', 'remove_tag', 'add_to_audience', 'remove_from_audience',
									 'code', 'call', 'split'];
	waits CONSTANT text[] := ARRAY['wait', 'date_of', 'until'];
	result jsonb := '{}';
	part jsonb;
	many text;
	value text;
	place text;
	total int := 0;
	arm record;
BEGIN
	PERFORM crm.definition_keys(step, path, ARRAY['step', 'wait', 'date_of', 'offset', 'yearly', 'until', 'timeout', 'time', 'weekday', 'if',
												 'otherwise', 'go_to'] || actions);
	result := jsonb_build_object('step', steps[number]);

	SELECT string_agg(format('"%s"', w), ' and ' ORDER BY o) INTO many FROM unnest(waits) WITH ORDINALITY AS w(w, o) WHERE step ? w;
	IF many LIKE '% and %' THEN
		PERFORM crm.refuse_definition(path, format('a step waits for one thing, not for %s', many), 'Make several steps of it.');
	END IF;
	IF step ? 'wait' THEN
		result := result || jsonb_build_object('wait', crm.definition_interval(step, path, 'wait', true));
	ELSIF step ? 'date_of' THEN
		value := crm.definition_text(step, path, 'date_of', true);
		PERFORM crm.definition_predicate(jsonb_build_object('date_of', format('%I is known', value)), path, 'date_of', true);
		result := result || jsonb_build_object('date_of', value, 'offset', coalesce(crm.definition_interval(step, path, 'offset', false, true), '0'),
											   'yearly', coalesce(step -> 'yearly' = 'true', false));
	ELSIF step ? 'until' THEN
		result := result || jsonb_build_object('until', crm.definition_predicate(step, path, 'until', true, true),
											   'timeout', crm.definition_interval(step, path, 'timeout', true));
	END IF;
	SELECT k INTO many
	  FROM (VALUES ('offset', 'date_of'), ('yearly', 'date_of'), ('timeout', 'until')) AS n(k, needed)
	 WHERE step ? n.k AND NOT step ? n.needed LIMIT 1;
	IF FOUND THEN
		PERFORM crm.refuse_definition(format('%s.%s', path, many), format('"%s" says nothing here', many),
			CASE WHEN many = 'timeout' THEN 'It goes with "until".' ELSE 'It goes with "date_of".' END);
	END IF;

	IF step ? 'time' THEN
		value := crm.definition_text(step, path, 'time', true);
		IF value !~ '^([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$' THEN
			PERFORM crm.refuse_definition(path || '.time', format('"%s" is no time of day', value), 'Write, for example, "10:00".');
		END IF;
		result := result || jsonb_build_object('time', value::time);
	END IF;
	IF step ? 'weekday' THEN
		part := CASE jsonb_typeof(step -> 'weekday') WHEN 'array' THEN step -> 'weekday' ELSE jsonb_build_array(step -> 'weekday') END;
		IF jsonb_array_length(part) = 0 OR EXISTS (SELECT FROM jsonb_array_elements_text(part) AS d WHERE d !~ '^[1-7]$') THEN
			PERFORM crm.refuse_definition(path || '.weekday', 'a day of the week is a number from 1, Monday, to 7, Sunday');
		END IF;
		result := result || jsonb_build_object('weekday', part);
	END IF;

	IF step ? 'if' THEN
		result := result || jsonb_build_object('if', crm.definition_predicate(step, path, 'if', true, true));
	END IF;
	FOREACH place IN ARRAY ARRAY['otherwise', 'go_to'] LOOP
		value := crm.definition_text(step, path, place);
		CONTINUE WHEN value IS NULL;
		IF place = 'otherwise' AND NOT step ?| ARRAY['if', 'until', 'date_of', 'code'] THEN
			PERFORM crm.refuse_definition(path || '.otherwise', '"otherwise" says nothing here', 'It goes with "if", "until", "date_of" or "code".');
		ELSIF value <> 'leave' AND (place = 'go_to' OR value <> 'skip') AND coalesce(array_position(steps, value), 0) = 0 THEN
			PERFORM crm.refuse_definition(format('%s.%s', path, place), format('there is no step "%s"', value),
				coalesce(format('Perhaps you meant "%s".', crm.nearest_name(value, steps || ARRAY['skip', 'leave'])),
						 format('The steps are: %s.', array_to_string(steps, ', '))));
		ELSIF array_position(steps, value) <= number THEN
			PERFORM crm.refuse_definition(format('%s.%s', path, place), format('step "%s" does not come after "%s"', value, steps[number]),
				'Steps go forward only. What begins anew is another run.');
		END IF;
		result := result || jsonb_build_object(place, value);
	END LOOP;

	SELECT string_agg(format('"%s"', a), ' and ' ORDER BY o) INTO many FROM unnest(actions) WITH ORDINALITY AS a(a, o) WHERE step ? a;
	IF many LIKE '% and %' THEN
		PERFORM crm.refuse_definition(path, format('a step does one thing, not %s', many), 'Make several steps of it.');
	END IF;
	IF step ? 'message' THEN
		place := path || '.message';
		part := step -> 'message';
		PERFORM crm.definition_keys(part, place, ARRAY['channel', 'template', 'useful_for', 'purpose', 'transactional', 'if', 'data']);
		value := crm.definition_text(part, place, 'channel', true);
		PERFORM crm.channel_kind(value);
		IF (crm.newest_template(crm.definition_text(part, place, 'template', true), value)).version IS NULL THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_object',
				MESSAGE = format('there is no template "%s" for channel "%s"', part ->> 'template', value),
				DETAIL = format('At %s.', place),
				HINT = 'crm.set_template() makes one.';
		END IF;
		IF jsonb_typeof(coalesce(part -> 'data', '{}')) <> 'object' THEN
			PERFORM crm.refuse_definition(place || '.data', 'an object is expected');
		END IF;
		result := result || jsonb_build_object('message', jsonb_strip_nulls(jsonb_build_object(
			'channel', value, 'template', part ->> 'template', 'useful_for', crm.definition_interval(part, place, 'useful_for'),
			'purpose', crm.definition_text(part, place, 'purpose'), 'transactional', part -> 'transactional' = 'true',
			'if', crm.definition_predicate(part, place, 'if', true), 'data', part -> 'data')));
	ELSIF step ? 'task' THEN
		place := path || '.task';
		part := step -> 'task';
		PERFORM crm.definition_keys(part, place, ARRAY['script', 'assignees', 'deadline', 'channel', 'purpose', 'transactional']);
		IF jsonb_typeof(part -> 'assignees') IS DISTINCT FROM 'array' OR jsonb_array_length(part -> 'assignees') = 0
			OR EXISTS (SELECT FROM jsonb_array_elements(part -> 'assignees') AS a WHERE jsonb_typeof(a) <> 'string' OR a = '""')
		THEN
			PERFORM crm.refuse_definition(place || '.assignees', 'a list of names is expected', 'Those who are named get the tasks by turns.');
		END IF;
		value := coalesce(crm.definition_text(part, place, 'channel'), 'task');
		PERFORM crm.channel_kind(value);
		result := result || jsonb_build_object('task', jsonb_strip_nulls(jsonb_build_object(
			'script', crm.definition_text(part, place, 'script', true), 'assignees', part -> 'assignees', 'channel', value,
			'deadline', crm.definition_interval(part, place, 'deadline'), 'purpose', crm.definition_text(part, place, 'purpose'),
			'transactional', part -> 'transactional' = 'true')));
	ELSIF step ? 'set' THEN
		IF jsonb_typeof(step -> 'set') <> 'object' OR step -> 'set' = '{}' THEN
			PERFORM crm.refuse_definition(path || '.set', 'an object of attributes is expected');
		END IF;
		PERFORM crm.check_attribute_name(k) FROM jsonb_object_keys(step -> 'set') AS k;
		result := result || jsonb_build_object('set', step -> 'set');
	ELSIF step ? 'code' THEN
		PERFORM crm.definition_keys(step -> 'code', path || '.code', ARRAY['pool']);
		value := crm.definition_text(step -> 'code', path || '.code', 'pool', true);
		IF NOT EXISTS (SELECT FROM crm.code_pool AS p WHERE p.pool = value) THEN
			PERFORM crm.refuse_definition(path || '.code.pool', format('there is no pool of codes "%s"', value), 'crm.define_code_pool() makes one.');
		END IF;
		result := result || jsonb_build_object('code', jsonb_build_object('pool', value));
	ELSIF step ? 'split' THEN
		place := path || '.split';
		IF jsonb_typeof(step -> 'split') <> 'array' OR jsonb_array_length(step -> 'split') < 2 THEN
			PERFORM crm.refuse_definition(place, 'a list of at least two arms is expected');
		END IF;
		FOR arm IN SELECT a, o - 1 AS n FROM jsonb_array_elements(step -> 'split') WITH ORDINALITY AS a(a, o) LOOP
			place := format('%s.split[%s]', path, arm.n);
			PERFORM crm.definition_keys(arm.a, place, ARRAY['arm', 'percent', 'go_to']);
			PERFORM crm.definition_text(arm.a, place, 'arm', true);
			IF crm.definition_text(arm.a, place, 'percent', true) IS NOT NULL THEN
				total := total + crm.definition_number(arm.a, place, 'percent', 0, 100, 0);
			END IF;
			value := crm.definition_text(arm.a, place, 'go_to');
			IF value <> 'leave' AND coalesce(array_position(steps, value), 0) <= number THEN
				PERFORM crm.refuse_definition(place || '.go_to', format('there is no later step "%s"', value));
			END IF;
		END LOOP;
		IF total <> 100 THEN
			PERFORM crm.refuse_definition(path || '.split', format('the arms have %s percent together, not 100', total));
		ELSIF (SELECT count(DISTINCT a ->> 'arm') < count(*) FROM jsonb_array_elements(step -> 'split') AS a) THEN
			PERFORM crm.refuse_definition(path || '.split', 'two arms have one name');
		END IF;
		result := result || jsonb_build_object('split', step -> 'split');
	ELSIF step ? 'call' THEN
		value := crm.definition_text(step, path, 'call', true);
		IF to_regprocedure(value || '(bigint, jsonb)') IS NULL THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_function',
				MESSAGE = format('there is no function %s(bigint, jsonb)', value),
				DETAIL = format('At %s.call.', path),
				HINT = 'Give its name with its schema. It takes the customer and what is known of the run.';
		ELSIF NOT has_function_privilege(session_user, to_regprocedure(value || '(bigint, jsonb)'), 'EXECUTE') THEN
			RAISE EXCEPTION USING
				ERRCODE = 'insufficient_privilege',
				MESSAGE = format('permission denied for function %s', value),
				DETAIL = format('At %s.call.', path);
		END IF;
		result := result || jsonb_build_object('call', value);
	ELSE
		FOREACH place IN ARRAY ARRAY['add_tag', 'remove_tag', 'add_to_audience', 'remove_from_audience'] LOOP
			CONTINUE WHEN NOT step ? place;
			value := crm.definition_text(step, path, place, true);
			IF place LIKE '%audience' AND NOT EXISTS (SELECT FROM crm.audience AS a WHERE a.audience = value) THEN
				PERFORM crm.refuse_definition(format('%s.%s', path, place), format('there is no audience "%s"', value), 'crm.create_audience() makes one.');
			END IF;
			result := result || jsonb_build_object(place, value);
		END LOOP;
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.check_step(jsonb, text, text[], int) IS
'a step of a definition as it is stored, if it is right: its place among the steps tells where it may lead. Errors: 22023 with the place in the definition, and those of what it names';

CREATE FUNCTION crm.check_campaign(definition jsonb) RETURNS jsonb
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
	SET IntervalStyle = 'postgres'
	SET TimeZone = 'UTC'							-- as a definition has instants, whoever reads it
AS $function$
DECLARE
	name text;
	steps text[] := '{}';
	checked jsonb := '[]';
	result jsonb;
	reentry text;
	value text;
	number int;
	send_at timestamptz;
BEGIN
	PERFORM crm.definition_keys(definition, 'the definition', ARRAY['campaign', 'trigger', 'segment', 'goal', 'reentry', 'priority', 'holdout',
		'useful_for', 'occurrence_key', 'purpose', 'transactional', 'send_at', 'spread', 'window', 'steps']);
	name := crm.definition_text(definition, 'the definition', 'campaign', true);
	IF name ~ '^\s|\s$|[[:cntrl:]]' OR octet_length(name) > 50 THEN
		PERFORM crm.refuse_definition('campaign', format('invalid name "%s"', name),
			'A name has at most 50 bytes, does not begin or end with a blank, and has no control characters.');
	END IF;
	IF definition ? 'trigger' AND definition ? 'segment' THEN
		PERFORM crm.refuse_definition('segment', 'a campaign has a trigger, or goes to a segment once', 'Make two campaigns of it.');
	ELSIF NOT definition ?| ARRAY['trigger', 'segment'] THEN
		PERFORM crm.refuse_definition('the definition', '"trigger" is missing');
	END IF;
	reentry := coalesce(crm.definition_text(definition, 'the definition', 'reentry'), 'each');
	IF reentry NOT IN ('each', 'once') THEN
		reentry := crm.definition_interval(definition, 'the definition', 'reentry')::text;
	END IF;
	value := coalesce(crm.definition_text(definition, 'the definition', 'purpose'), 'marketing');
	IF value !~ '^[a-z][a-z0-9_]*$' OR length(value) > 63 THEN
		PERFORM crm.refuse_definition('purpose', format('invalid purpose "%s"', value), 'Its name is of small letters, digits and underscores.');
	END IF;
	IF definition ? 'segment' THEN
		BEGIN
			send_at := coalesce(crm.definition_text(definition, 'the definition', 'send_at')::timestamptz, crm.now());
		EXCEPTION WHEN invalid_datetime_format OR datetime_field_overflow THEN
			PERFORM crm.refuse_definition('send_at', format('"%s" is no instant', definition ->> 'send_at'));
		END;
	ELSIF definition ?| ARRAY['send_at', 'spread'] THEN
		PERFORM crm.refuse_definition('the definition', '"send_at" and "spread" go with "segment"');
	END IF;
	result := jsonb_strip_nulls(jsonb_build_object(
		'campaign', name,
		'send_at', send_at,
		'trigger', crm.definition_predicate(definition, 'the definition', 'trigger', false),
		'segment', CASE WHEN definition ? 'segment' THEN crm.segment_id(crm.definition_text(definition, 'the definition', 'segment', true)) END,
		'goal', crm.definition_predicate(definition, 'the definition', 'goal', true),
		'reentry', reentry,
		'priority', crm.definition_number(definition, 'the definition', 'priority', 0, 9, 5),
		'holdout', crm.definition_number(definition, 'the definition', 'holdout', 0, 100, 0),
		'useful_for', coalesce(crm.definition_interval(definition, 'the definition', 'useful_for'), '1 day'),
		'window', coalesce(crm.definition_interval(definition, 'the definition', 'window'), '30 days'),
		'spread', crm.definition_interval(definition, 'the definition', 'spread'),
		'occurrence_key', crm.definition_text(definition, 'the definition', 'occurrence_key'),
		'purpose', value,
		'transactional', coalesce(definition -> 'transactional' = 'true', false)));

	IF jsonb_typeof(coalesce(definition -> 'steps', '[]')) <> 'array' THEN
		PERFORM crm.refuse_definition('steps', 'a list is expected');
	END IF;
	FOR number IN 1 .. jsonb_array_length(coalesce(definition -> 'steps', '[]')) LOOP
		value := format('steps[%s]', number - 1);
		IF jsonb_typeof(definition -> 'steps' -> (number - 1)) <> 'object' THEN
			PERFORM crm.refuse_definition(value, 'an object is expected');
		END IF;
		name := crm.definition_text(definition -> 'steps' -> (number - 1), value, 'step', true);
		IF name !~ '^[A-Za-z_][A-Za-z0-9_ .-]*$' OR length(name) > 63 OR name IN ('skip', 'leave') THEN
			PERFORM crm.refuse_definition(value || '.step', format('invalid name "%s"', name),
				'A step is named by letters, digits, blanks, points, hyphens and underscores, and not skip or leave.');
		ELSIF name = ANY (steps) THEN
			PERFORM crm.refuse_definition(value || '.step', format('there are two steps "%s"', name));
		END IF;
		steps := steps || name;
	END LOOP;
	FOR number IN 1 .. cardinality(steps) LOOP
		checked := checked || jsonb_build_array(crm.check_step(definition -> 'steps' -> (number - 1), format('steps[%s]', number - 1), steps, number));
	END LOOP;
	RETURN result || jsonb_build_object('steps', checked);
END
$function$;
COMMENT ON FUNCTION crm.check_campaign(jsonb) IS
'the definition as it is stored, if it is right: predicates in their canonical form with segments by id, defaults filled in. Errors: 22023 with the place in the definition, those of the predicate language with the place, 42704 and 42883 for what is named and is not there. NULL gives an error as well';

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

CREATE FUNCTION crm.definition_kinds(definition jsonb) RETURNS text[]
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN (
	WITH predicate AS MATERIALIZED (
		SELECT p.predicate::crm.predicate AS predicate
		  FROM (SELECT definition ->> 'trigger' UNION ALL SELECT definition ->> 'goal'
				 UNION ALL
				SELECT p.predicate
				  FROM jsonb_array_elements(definition -> 'steps') AS s
				 CROSS JOIN LATERAL (VALUES (s ->> 'if'), (s ->> 'until'), (s -> 'message' ->> 'if')) AS p(predicate)) AS p(predicate)
		 WHERE p.predicate IS NOT NULL
	)
	SELECT CASE WHEN NOT EXISTS (SELECT FROM predicate AS p WHERE cardinality(crm.segments_named(p.predicate)) > 0)
				THEN ARRAY(SELECT DISTINCT k FROM predicate AS p CROSS JOIN LATERAL unnest(crm.event_kinds(p.predicate)) AS k ORDER BY k) END);
COMMENT ON FUNCTION crm.definition_kinds(jsonb) IS
'the kinds of events that the predicates of a stored definition ask for; NULL where one names a segment, which may ask for others tomorrow. NULL gives NULL';

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

-- The definition of a campaign, checked part by part: each error says where it is.

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

CREATE FUNCTION crm.definition_purpose(object jsonb, path text) RETURNS text
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result CONSTANT text := crm.definition_text(object, path, 'purpose');
	message text;
	detail text;
BEGIN
	IF result IS NOT NULL THEN
		PERFORM crm.check_purpose(result);
	END IF;
	RETURN result;
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
	PERFORM crm.refuse_definition(concat_ws('.', nullif(path, 'the definition'), 'purpose'), message, detail);
END
$function$;
COMMENT ON FUNCTION crm.definition_purpose(jsonb, text) IS 'the purpose that a part of a definition names; NULL if it names none. Error 22023 if it is invalid';

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
			'purpose', crm.definition_purpose(part, place), 'transactional', part -> 'transactional' = 'true',
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
			'deadline', crm.definition_interval(part, place, 'deadline'), 'purpose', crm.definition_purpose(part, place),
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
		'purpose', coalesce(crm.definition_purpose(definition, 'the definition'), 'marketing'),
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

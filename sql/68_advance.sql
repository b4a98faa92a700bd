-- Advancing runs: beginning them when a trigger has met something, doing what their moves say, and what a marketer says of all.

CREATE FUNCTION crm.begin_run(campaign crm.campaign, definition jsonb, customer_id bigint, kind text, event_at timestamptz,
							  started_at timestamptz, now timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(begin_run.customer_id);
	ids CONSTANT bigint[] := crm.ids_of(customer);
	profile CONSTANT crm.profile := crm.profile_of(customer);
	run crm.run;
BEGIN
	IF profile IS NULL THEN
		RETURN NULL;
	END IF;
	run := crm.new_run(definition, begin_run.campaign.campaign_id, customer, profile, crm.static_segments(ids), begin_run.kind,
					   begin_run.event_at, begin_run.started_at);
	IF run.occurrence IS NULL OR EXISTS (SELECT FROM crm.run AS r
										  WHERE r.customer_id = ANY (ids) AND r.campaign_id = run.campaign_id
											AND r.occurrence = run.occurrence)
	THEN
		RETURN NULL;
	END IF;

	run.run_id := nextval('crm.run_id_seq');
	run.version := begin_run.campaign.version;
	run.begun_at := begin_run.now;
	run.errors := 0;
	IF run.entry < begin_run.now - (definition ->> 'useful_for')::interval THEN
		run.state := 'skipped';
		run.reason := 'late';
	ELSIF crm.bars_reentry(definition, (SELECT max(r.entry) FROM crm.run AS r
										 WHERE r.customer_id = ANY (ids) AND r.campaign_id = run.campaign_id AND r.state <> 'skipped'),
						   run.entry)
	THEN
		run.state := 'skipped';
		run.reason := 're-entry';
	ELSE
		run.wake_at := run.entry;
	END IF;
	IF run.state = 'skipped' THEN
		run.finished_at := begin_run.now;
	ELSE
		INSERT INTO crm.interest AS i (customer_id) VALUES (customer) ON CONFLICT DO NOTHING;
	END IF;
	INSERT INTO crm.run SELECT run.* ON CONFLICT DO NOTHING;
	RETURN run.run_id;
END
$function$;
COMMENT ON FUNCTION crm.begin_run(crm.campaign, jsonb, bigint, text, timestamptz, timestamptz, timestamptz) IS
'begins a run of a campaign for what its trigger has met, or stores why it does not begin. NULL if there is one for this occasion already, or it is none by what is known now';

CREATE FUNCTION crm.static_segments(ids bigint[]) RETURNS int[]
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
RETURN ARRAY(SELECT DISTINCT s.segment_id FROM crm.static_member AS s WHERE s.customer_id = ANY (ids) ORDER BY s.segment_id);
COMMENT ON FUNCTION crm.static_segments(bigint[]) IS 'the static segments that a person with these ids is in, ascending. NULL gives NULL';

CREATE FUNCTION crm.take_action(run crm.run, definition jsonb, guard int, step jsonb, outcome text, at timestamptz) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(run.customer_id);
	source CONSTANT text := format('campaign %s', definition ->> 'campaign');
	part jsonb := step -> take_action.outcome;
	taken record;
BEGIN
	CASE take_action.outcome
	WHEN 'message' THEN
		PERFORM crm.enqueue_message(
			customer_id => run.customer_id, channel => part ->> 'channel', template => part ->> 'template',
			data => jsonb_build_object('event', run.event) || coalesce(part -> 'data', '{}'),
			purpose => coalesce(part ->> 'purpose', definition ->> 'purpose'),
			transactional => coalesce((part -> 'transactional')::boolean, false) OR (definition -> 'transactional')::boolean,
			priority => (definition ->> 'priority')::int, guard_id => guard, run_id => run.run_id, step => step ->> 'step',
			arm => crm.arms_text(run.arms), campaign => definition ->> 'campaign', code => run.code, entry => run.entry,
			event_kind => run.event_kind, event_at => run.event_at, condition => (part ->> 'if')::crm.predicate, due_at => take_action.at,
			useful_until => take_action.at + coalesce(part ->> 'useful_for', definition ->> 'useful_for')::interval);
	WHEN 'task' THEN
		PERFORM crm.create_task(run.customer_id, part, definition, guard, run.run_id, run.entry, step ->> 'step', take_action.at);
	WHEN 'set' THEN
		PERFORM crm.set_attributes(customer, part, source);
	WHEN 'add_tag' THEN
		PERFORM crm.add_tag(customer, part #>> '{}', source);
	WHEN 'remove_tag' THEN
		PERFORM crm.remove_tag(customer, part #>> '{}');
	WHEN 'add_to_audience' THEN
		PERFORM crm.add_to_audience(part #>> '{}', ARRAY[customer]);
	WHEN 'remove_from_audience' THEN
		PERFORM crm.remove_from_audience(part #>> '{}', ARRAY[customer]);
	WHEN 'code' THEN
		SELECT c.code INTO taken
		  FROM crm.take_code(part ->> 'pool', customer, format('%s:%s', run.campaign_id, run.occurrence), take_action.at) AS c;
		RETURN taken.code;
	WHEN 'call' THEN
		PERFORM crm.call_function(to_regprocedure((part #>> '{}') || '(bigint, jsonb)'), customer, jsonb_build_object(
			'campaign', definition ->> 'campaign', 'step', step ->> 'step', 'run_id', run.run_id, 'entry', run.entry, 'at', take_action.at,
			'event', run.event, 'code', run.code));
	ELSE
		NULL;
	END CASE;
	RETURN NULL;
END
$function$;
COMMENT ON FUNCTION crm.take_action(crm.run, jsonb, int, jsonb, text, timestamptz) IS
'does what a step of a run says; of a promo code gives the code, NULL if there was none';

CREATE FUNCTION crm.call_function(function oid, customer_id bigint, run jsonb) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_campaign_call_function'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.call_function(oid, bigint, jsonb) IS
'calls a function(bigint, jsonb) of the shop''s as its owner, in a security-restricted operation, with search_path pg_catalog, public. NULL calls nothing. Errors: 42883 no such function, 42809 it takes something else, and its own';

CREATE FUNCTION crm.finish_run(run crm.run, at timestamptz) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF run.reason IN ('goal', 'void', 'stopped', 'merged', 'gone') THEN
		PERFORM crm.cancel_messages(run.customer_id, run.run_id, run.reason);
		PERFORM crm.cancel_tasks(run.customer_id, run.run_id, run.reason);
	END IF;
	DELETE FROM crm.interest AS i
	 WHERE i.customer_id = run.customer_id
	   AND NOT EXISTS (SELECT FROM crm.run AS r
						WHERE r.customer_id = run.customer_id AND r.state = 'active' AND r.run_id <> run.run_id);
END
$function$;
COMMENT ON FUNCTION crm.finish_run(crm.run, timestamptz) IS
'takes back what a run that has left still has in the outbox, and ends the interest in its customer if it was the last one';

CREATE FUNCTION crm.advance_run(run crm.run, now timestamptz) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(run.customer_id);
	ids CONSTANT bigint[] := crm.ids_of(customer);
	segments CONSTANT int[] := crm.static_segments(ids);
	profile crm.profile;
	zone text;
	definition jsonb;
	kinds text[];
	guard int;
	step jsonb;
	move crm.run_move;
	done int := 0;
	code text;
BEGIN
	SELECT v.definition, v.guard_id, v.kinds INTO STRICT definition, guard, kinds
	  FROM crm.campaign_version AS v
	 WHERE v.campaign_id = run.campaign_id AND v.version = run.version;
	profile := crm.campaign_profile(customer, kinds);
	zone := crm.zone_of_profile(profile);
	LOOP
		move := NULL;
		IF profile IS NULL THEN
			move.kind := 'gone';
		ELSIF done = 0 AND definition ->> 'reentry' <> 'each' AND cardinality(ids) > 1
			AND EXISTS (SELECT FROM crm.run AS r
						 WHERE r.customer_id = ANY (ids) AND r.campaign_id = run.campaign_id AND r.state = 'active' AND r.run_id < run.run_id)
		THEN
			-- two people who had a run each are one now
			move.kind := 'merged';
		ELSE
			move := crm.next_move(run, definition, profile, segments, zone, advance_run.now);
		END IF;
		move.at := coalesce(move.at, advance_run.now);
		step := definition -> 'steps' -> (run.step - 1);
		IF move.kind = 'step' AND NOT run.held THEN
			code := crm.take_action(run, definition, guard, step, move.outcome, move.at);
			IF move.outcome = 'code' AND code IS NULL THEN
				move.outcome := 'no code';
				move.next_step := move.otherwise;
			END IF;
			run.code := coalesce(code, run.code);
			IF move.outcome IN ('set', 'add_tag', 'remove_tag', 'call') THEN
				profile := crm.campaign_profile(customer, kinds);
			END IF;
		END IF;
		run := crm.after_move(run, move, step ->> 'step');
		EXIT WHEN move.kind = 'wait';
		INSERT INTO crm.run_step AS s (customer_id, run_id, campaign_id, step, arm, at, outcome)
		VALUES (run.customer_id, run.run_id, run.campaign_id, coalesce(step ->> 'step', ''), crm.arms_text(run.arms), move.at,
				CASE WHEN move.kind = 'step' THEN move.outcome ELSE move.kind END);
		done := done + 1;
		EXIT WHEN run.state <> 'active';
	END LOOP;
	IF run.state <> 'active' THEN
		PERFORM crm.finish_run(run, advance_run.now);
	ELSE
		run.looked_at := greatest(run.looked_at, advance_run.now);
	END IF;
	UPDATE crm.run AS r
	   SET (state, reason, step, step_at, looked_at, wake_at, goal_at, finished_at, arms, code, errors, error)
		   = (run.state, run.reason, run.step, run.step_at, run.looked_at, run.wake_at, run.goal_at, run.finished_at, run.arms, run.code, 0, NULL)
	 WHERE r.customer_id = run.customer_id AND r.run_id = run.run_id;
	RETURN done;
END
$function$;
COMMENT ON FUNCTION crm.advance_run(crm.run, timestamptz) IS
'brings a run, whose row is locked, as far as it comes by an instant, and returns how many moves it made';

CREATE FUNCTION crm.note_run_error(run crm.run, now timestamptz, message text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	-- ten times, ever more seldom: in all some two days
	UPDATE crm.run AS r
	   SET errors = r.errors + 1, error = note_run_error.message,
		   state = CASE WHEN r.errors >= 9 THEN 'failed' ELSE r.state END,
		   finished_at = CASE WHEN r.errors >= 9 THEN note_run_error.now END,
		   wake_at = CASE WHEN r.errors < 9 THEN note_run_error.now + interval '3 minutes' * 2 ^ r.errors END
	 WHERE r.customer_id = (note_run_error.run).customer_id AND r.run_id = (note_run_error.run).run_id;
END;
COMMENT ON FUNCTION crm.note_run_error(crm.run, timestamptz, text) IS 'remembers that a run had an error: it is tried again later, and given up after ten';

CREATE FUNCTION crm.advance_campaigns(max int DEFAULT 1000, OUT done bigint, OUT more boolean, OUT next timestamptz)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
	SET plan_cache_mode = force_generic_plan
AS $function$
DECLARE
	now CONSTANT timestamptz := crm.now();
	batch CONSTANT int := 50;
	met record;
	wide record;
	runs crm.run[];
	run crm.run;
	taken int;
	message text;
	wave timestamptz;
BEGIN
	done := 0;
	more := false;
	IF NOT EXISTS (SELECT FROM crm.campaign AS c WHERE c.state IN ('running', 'paused')) THEN
		RETURN;
	END IF;
	IF random() < 0.002 THEN
		PERFORM crm.forget_occurrences(now);
	END IF;
	-- One at a time begins runs, so that re-entry is decided in order; who waits in vain leaves it to him
	IF pg_try_advisory_xact_lock(hashtext('crm.campaign')) THEN
		FOR met IN
			WITH taken AS (
				DELETE FROM crm.occurrence_queue AS q
				 WHERE q.seq IN (SELECT o.seq FROM crm.occurrence_queue AS o ORDER BY o.seq LIMIT advance_campaigns.max)
				RETURNING q.*
			)
			SELECT t.seq, t.customer_id, t.kind, t.event_at, t.started_at, c AS campaign, v.definition
			  FROM taken AS t
			  LEFT JOIN crm.campaign AS c ON c.segment_id = t.segment_id AND c.state IN ('running', 'paused')
			  LEFT JOIN crm.campaign_version AS v ON v.campaign_id = c.campaign_id AND v.version = c.version
			 ORDER BY t.started_at, t.seq
		LOOP
			done := done + 1;
			CONTINUE WHEN met.definition IS NULL;
			PERFORM crm.begin_run(met.campaign, met.definition, met.customer_id, met.kind, met.event_at, met.started_at, now);
		END LOOP;
		more := done >= advance_campaigns.max;
		SELECT b.begun, b.more INTO wide FROM crm.begin_broadcasts(now, advance_campaigns.max) AS b;
		done := done + wide.begun;
		more := more OR wide.more;

		-- whose facts have changed is looked at now
		WITH heard AS (
			DELETE FROM crm.heard AS h
			 WHERE h.seq IN (SELECT o.seq FROM crm.heard AS o ORDER BY o.seq LIMIT advance_campaigns.max)
			RETURNING h.customer_id
		)
		UPDATE crm.run AS r
		   SET wake_at = now
		  FROM (SELECT DISTINCT h.customer_id FROM heard AS h) AS h
		 WHERE r.customer_id = h.customer_id AND r.state = 'active' AND r.wake_at > now;
	END IF;

	taken := 0;
	WHILE taken < advance_campaigns.max LOOP
		runs := ARRAY(SELECT r
						FROM crm.run AS r
					   WHERE r.state = 'active' AND r.wake_at <= now
						 AND NOT EXISTS (SELECT FROM crm.campaign AS c WHERE c.campaign_id = r.campaign_id AND c.state = 'paused')
					   ORDER BY r.wake_at, r.run_id LIMIT batch
						 FOR UPDATE OF r SKIP LOCKED);
		EXIT WHEN cardinality(runs) = 0;
		taken := taken + cardinality(runs);
		-- All together; only when one has an error each by itself, so that the others are none the worse
		BEGIN
			FOREACH run IN ARRAY runs LOOP
				PERFORM crm.advance_run(run, now);
			END LOOP;
		EXCEPTION WHEN OTHERS THEN
			FOREACH run IN ARRAY runs LOOP
				BEGIN
					PERFORM crm.advance_run(run, now);
				EXCEPTION WHEN OTHERS THEN
					GET STACKED DIAGNOSTICS message = MESSAGE_TEXT;
					PERFORM crm.note_run_error(run, now, message);
				END;
			END LOOP;
		END;
	END LOOP;
	done := done + taken;
	more := more OR taken >= advance_campaigns.max;
	IF done > 0 THEN
		PERFORM pg_notify('crm_outbox', '');
	END IF;

	SELECT min(r.wake_at) INTO next
	  FROM crm.run AS r
	 WHERE r.state = 'active' AND r.wake_at > now
	   AND NOT EXISTS (SELECT FROM crm.campaign AS c WHERE c.campaign_id = r.campaign_id AND c.state = 'paused');
	SELECT min((v.definition ->> 'send_at')::timestamptz) INTO wave
	  FROM crm.campaign AS c
	  JOIN crm.campaign_version AS v USING (campaign_id, version)
	 WHERE c.state = 'running' AND (v.definition ->> 'send_at')::timestamptz > now;
	next := least(next, wave);
END
$function$;
COMMENT ON FUNCTION crm.advance_campaigns(int) IS
'what follows a tick: begins runs for what triggers have met, looks at the runs of customers whose facts have changed, and brings those that are due as far as they come by crm.now(); about max of each, in the calling transaction. Several sessions may do it side by side. An error of one run is stored with it, and the others go on. Returns how much was done, whether there is more, and when there will be. crm.run_ticks() and the worker call it';
INSERT INTO crm.follower VALUES ('advance_campaigns');

------------------------------------------------------------------------------------------------------------------
-- What a marketer says
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.start_campaign(campaign text, at timestamptz DEFAULT crm.now()) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	target crm.campaign := crm.campaign_named(start_campaign.campaign);
	definition jsonb;
	current jsonb;
	guard int;
BEGIN
	PERFORM crm.check_edit_instant(start_campaign.at);
	PERFORM crm.lock_segments();
	SELECT c.* INTO target FROM crm.campaign AS c WHERE c.campaign_id = target.campaign_id FOR UPDATE;
	-- What it names may have changed since it was drawn
	definition := crm.check_campaign(crm.named_definition(target.draft));
	IF jsonb_array_length(definition -> 'steps') = 0 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('campaign "%s" has no steps', target.campaign),
			HINT = 'crm.add_step() adds them.';
	END IF;
	SELECT v.definition, v.guard_id INTO current, guard
	  FROM crm.campaign_version AS v
	 WHERE v.campaign_id = target.campaign_id AND v.version = target.version;
	IF target.state = 'stopped' OR current IS DISTINCT FROM definition THEN
		target.version := coalesce(target.version, 0) + 1;
		guard := crm.create_guard(format('campaign %s, version %s', target.campaign, target.version),
								  (definition ->> 'trigger')::crm.predicate, (definition ->> 'goal')::crm.predicate,
								  (definition ->> 'holdout')::int, format('campaign:%s', target.campaign_id));
		INSERT INTO crm.campaign_version AS v (campaign_id, version, definition, guard_id, kinds)
		VALUES (target.campaign_id, target.version, definition, guard, crm.definition_kinds(definition));
		IF definition ? 'trigger' AND (current ->> 'trigger' IS DISTINCT FROM definition ->> 'trigger' OR target.segment_id IS NULL) THEN
			PERFORM crm.drop_trigger(target.segment_id);
			target.segment_id := crm.create_segment(format('campaign %s v%s', target.campaign, target.version),
												   crm.name_segments((definition ->> 'trigger')::crm.predicate));
		END IF;
	END IF;
	IF target.state <> 'paused' OR target.started_at IS NULL THEN
		target.started_at := CASE WHEN target.state = 'running' THEN target.started_at ELSE start_campaign.at END;
	END IF;
	IF target.segment_id IS NOT NULL THEN
		PERFORM crm.set_trigger(target.segment_id, target.started_at, (definition ->> 'useful_for')::interval);
	END IF;
	UPDATE crm.campaign AS c
	   SET state = 'running', draft = definition, version = target.version, segment_id = target.segment_id, started_at = target.started_at,
		   sent_up_to = CASE WHEN c.version = target.version THEN c.sent_up_to END
	 WHERE c.campaign_id = target.campaign_id;
	PERFORM crm.set_guard_state(v.guard_id, 'on') FROM crm.campaign_version AS v WHERE v.campaign_id = target.campaign_id;
	RETURN target.version;
END
$function$;
COMMENT ON FUNCTION crm.start_campaign(text, timestamptz) IS
'starts a campaign, or goes on with a paused one; a draft that differs becomes a new version, by which new runs begin, while others stay on theirs (crm.migrate_runs() moves them). What the trigger meets after the instant starts runs, from the next tick on, which evaluates it for everybody. Returns the version. Errors: 22004, 22023, 42704 unknown campaign, 55000 it has no steps, those of crm.check_campaign(), and of crm.create_segment()';

CREATE FUNCTION crm.drop_trigger(segment int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF drop_trigger.segment IS NOT NULL THEN
		PERFORM crm.set_trigger(drop_trigger.segment, NULL, NULL);
		PERFORM crm.drop_segment(s.name) FROM crm.segment AS s WHERE s.segment_id = drop_trigger.segment;
		DELETE FROM crm.occurrence_queue AS q WHERE q.segment_id = drop_trigger.segment;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.drop_trigger(int) IS 'drops the segment that is a campaign''s trigger. NULL drops nothing';

CREATE FUNCTION crm.pause_campaign(campaign text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	target CONSTANT crm.campaign := crm.campaign_named(pause_campaign.campaign);
BEGIN
	UPDATE crm.campaign AS c SET state = 'paused' WHERE c.campaign_id = target.campaign_id AND c.state = 'running';
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('campaign "%s" is not running', target.campaign);
	END IF;
	PERFORM crm.set_guard_state(v.guard_id, 'paused') FROM crm.campaign_version AS v WHERE v.campaign_id = target.campaign_id;
END
$function$;
COMMENT ON FUNCTION crm.pause_campaign(text) IS
'nobody goes on and no message of the campaign is handed out, until crm.start_campaign(); runs begin meanwhile, and what is too late by then is not sent. What is handed out already is not called back. Errors: 22004, 42704 unknown campaign, 55000 it is not running';

CREATE FUNCTION crm.stop_campaign(campaign text, at timestamptz DEFAULT crm.now()) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	target crm.campaign := crm.campaign_named(stop_campaign.campaign);
	run crm.run;
	result bigint := 0;
BEGIN
	PERFORM crm.check_edit_instant(stop_campaign.at);
	PERFORM crm.lock_segments();
	SELECT c.* INTO target FROM crm.campaign AS c WHERE c.campaign_id = target.campaign_id FOR UPDATE;
	IF target.state NOT IN ('running', 'paused') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('campaign "%s" is not running', target.campaign);
	END IF;
	PERFORM crm.drop_trigger(target.segment_id);
	UPDATE crm.campaign AS c SET state = 'stopped', segment_id = NULL WHERE c.campaign_id = target.campaign_id;
	PERFORM crm.set_guard_state(v.guard_id, 'stopped') FROM crm.campaign_version AS v WHERE v.campaign_id = target.campaign_id;
	FOR run IN
		UPDATE crm.run AS r
		   SET state = 'left', reason = 'stopped', finished_at = stop_campaign.at, wake_at = NULL
		 WHERE r.campaign_id = target.campaign_id AND r.state = 'active'
		RETURNING r.*
	LOOP
		PERFORM crm.finish_run(run, stop_campaign.at);
		result := result + 1;
	END LOOP;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.stop_campaign(text, timestamptz) IS
'ends a campaign: all its runs leave, reason stopped, and what they have in the outbox is cancelled. Returns how many left. crm.start_campaign() begins anew, with new runs. Errors: 22004, 22023, 42704 unknown campaign, 55000 it is not running';

CREATE FUNCTION crm.drop_campaign(campaign text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	target CONSTANT crm.campaign := crm.campaign_named(drop_campaign.campaign);
BEGIN
	IF target.state IN ('running', 'paused') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_in_use',
			MESSAGE = format('campaign "%s" is running', target.campaign),
			HINT = 'Stop it first, with crm.stop_campaign().';
	END IF;
	DELETE FROM crm.run_step AS s WHERE s.campaign_id = target.campaign_id;
	DELETE FROM crm.run AS r WHERE r.campaign_id = target.campaign_id;
	DELETE FROM crm.campaign_version AS v WHERE v.campaign_id = target.campaign_id;
	DELETE FROM crm.campaign AS c WHERE c.campaign_id = target.campaign_id;
END
$function$;
COMMENT ON FUNCTION crm.drop_campaign(text) IS
'removes a campaign that was stopped or never started, with all its runs; its messages stay in crm.message. Errors: 22004, 42704 unknown campaign, 55006 it is running';

CREATE FUNCTION crm.migrate_runs(campaign text, apply boolean DEFAULT false)
	RETURNS TABLE (run_id bigint, customer_id bigint, from_version int, step text, new_step text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	named CONSTANT crm.campaign := crm.campaign_named(migrate_runs.campaign);
	steps jsonb;
	old record;
	number int;
BEGIN
	SELECT v.definition -> 'steps' INTO steps
	  FROM crm.campaign_version AS v WHERE v.campaign_id = named.campaign_id AND v.version = named.version;
	FOR old IN
		SELECT r.run_id, r.customer_id, r.version, r.step, v.definition -> 'steps' AS steps
		  FROM crm.run AS r
		  JOIN crm.campaign_version AS v ON v.campaign_id = r.campaign_id AND v.version = r.version
		 WHERE r.campaign_id = named.campaign_id AND r.state = 'active' AND r.version <> named.version
		 ORDER BY r.run_id
		   FOR UPDATE OF r
	LOOP
		-- The step it stands at, by name; or the nearest one after it that is still there; or the end
		SELECT t.o::int INTO number
		  FROM jsonb_array_elements(old.steps) WITH ORDINALITY AS s(s, o)
		  JOIN jsonb_array_elements(steps) WITH ORDINALITY AS t(s, o) ON t.s -> 'step' = s.s -> 'step'
		 WHERE s.o >= old.step ORDER BY s.o LIMIT 1;
		number := coalesce(number, jsonb_array_length(steps) + 1);
		migrate_runs.run_id := old.run_id;
		migrate_runs.customer_id := old.customer_id;
		migrate_runs.from_version := old.version;
		migrate_runs.step := old.steps -> (old.step - 1) ->> 'step';
		migrate_runs.new_step := steps -> (number - 1) ->> 'step';
		RETURN NEXT;
		IF migrate_runs.apply THEN
			UPDATE crm.run AS r
			   SET version = named.version, step = number, wake_at = crm.now()
			 WHERE r.customer_id = old.customer_id AND r.run_id = old.run_id;
		END IF;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.migrate_runs(text, boolean) IS
'what would become of the active runs on older versions of a campaign if they were moved to the newest: the step each stands at, and the one it would stand at (the same by name, else the nearest later one that is still there; NULL: its end). With apply, moves them; how long they have waited counts. Errors: 22004, 42704 unknown campaign';

CREATE FUNCTION crm.drop_runs_before(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result bigint;
BEGIN
	DELETE FROM crm.run_step AS s
	 USING crm.run AS r
	 WHERE r.customer_id = s.customer_id AND r.run_id = s.run_id AND r.state <> 'active' AND r.finished_at < drop_runs_before.before;
	DELETE FROM crm.run AS r WHERE r.state <> 'active' AND r.finished_at < drop_runs_before.before;
	GET DIAGNOSTICS result = ROW_COUNT;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.drop_runs_before(timestamptz) IS
'deletes runs that were over before an instant, with their steps; returns how many. Who had one may have another then, where reentry is once. For crm.apply_retention()';

CREATE FUNCTION crm.campaigns_naming(segment int) RETURNS SETOF text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format(CASE WHEN u.used THEN 'campaign "%s"' ELSE 'the draft of campaign "%s"' END, c.campaign)
	  FROM crm.campaign AS c
	 CROSS JOIN LATERAL (
		SELECT EXISTS (SELECT
						 FROM crm.campaign_version AS v
						WHERE v.campaign_id = c.campaign_id AND crm.definition_names_segment(v.definition, campaigns_naming.segment)
						  AND (v.version = c.version
							   OR EXISTS (SELECT FROM crm.run AS r
										   WHERE r.campaign_id = v.campaign_id AND r.version = v.version AND r.state = 'active')
							   OR EXISTS (SELECT FROM crm.task AS t
										   WHERE t.guard_id = v.guard_id AND t.state IN ('open', 'taken')))) AS used) AS u
	 WHERE u.used OR crm.definition_names_segment(c.draft, campaigns_naming.segment)
$function$;
COMMENT ON FUNCTION crm.campaigns_naming(int) IS
'campaigns that name a segment: campaign "thanks", where its newest version does or an older one that runs or tasks are still on, else the draft of campaign "thanks". For crm.drop_segment()';
INSERT INTO crm.segment_reference VALUES ('campaigns_naming');

CREATE VIEW crm.campaigns (campaign, state, version, trigger, goal, steps, active, ended, goals, failed, started_at) AS
	SELECT c.campaign, c.state, c.version, crm.named_definition(c.draft) ->> 'trigger', crm.named_definition(c.draft) ->> 'goal',
		   jsonb_array_length(c.draft -> 'steps'), r.active, r.ended, r.goals, r.failed, c.started_at
	  FROM crm.campaign AS c
	 CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = 'active') AS active,
								count(*) FILTER (WHERE r.state IN ('ended', 'left')) AS ended,
								count(*) FILTER (WHERE r.goal_at IS NOT NULL) AS goals,
								count(*) FILTER (WHERE r.state = 'failed') AS failed
						   FROM crm.run AS r WHERE r.campaign_id = c.campaign_id) AS r
	 ORDER BY c.campaign;
COMMENT ON VIEW crm.campaigns IS 'campaigns for people: state, trigger, goal, and how many runs there are';
COMMENT ON COLUMN crm.campaigns.campaign IS 'name';
COMMENT ON COLUMN crm.campaigns.state IS 'draft, running, paused, stopped';
COMMENT ON COLUMN crm.campaigns.version IS 'by which new runs begin';
COMMENT ON COLUMN crm.campaigns.trigger IS 'of the draft; NULL for a broadcast';
COMMENT ON COLUMN crm.campaigns.goal IS 'of the draft';
COMMENT ON COLUMN crm.campaigns.steps IS 'how many steps the draft has';
COMMENT ON COLUMN crm.campaigns.active IS 'runs that go on';
COMMENT ON COLUMN crm.campaigns.ended IS 'runs that are over';
COMMENT ON COLUMN crm.campaigns.goals IS 'runs that reached the goal';
COMMENT ON COLUMN crm.campaigns.failed IS 'runs given up after errors';
COMMENT ON COLUMN crm.campaigns.started_at IS 'since when it is on';

-- Foresight: what a campaign would do, and would have done. The same decisions as the real thing, by the same functions; nothing
-- is written.

CREATE FUNCTION crm.simulate(definition jsonb, campaign_id int, runs crm.run[], "from" timestamptz, "to" timestamptz,
							 anew boolean DEFAULT false)
	RETURNS TABLE (customer_id bigint, run_id bigint, occurrence text, entry timestamptz, held boolean, step text, arm text, at timestamptz,
				   outcome text)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	met record;
	run crm.run;
	move crm.run_move;
	profile crm.profile;
	segments int[];
	zone text;
	previous bigint;
	last_entry timestamptz;
	occasions text[];
	kinds CONSTANT text[] := crm.definition_kinds(simulate.definition);
BEGIN
	-- Runs that are on their way first, then what the trigger will meet, of each customer in order
	FOR met IN
		SELECT r.customer_id, r.entry AS started_at, ''::text AS kind, r.entry AS event_at, r AS run FROM unnest(simulate.runs) AS r
		UNION ALL
		SELECT o.customer_id, o.started_at, o.kind, o.event_at, NULL
		  FROM crm.population_occurrences((simulate.definition ->> 'trigger')::crm.predicate, simulate."from", simulate."to" + interval '1 microsecond') AS o
		 ORDER BY 1, 5 NULLS LAST, 2, 4
	LOOP
		IF met.customer_id IS DISTINCT FROM previous THEN
			previous := met.customer_id;
			last_entry := (SELECT max(r.entry) FROM crm.run AS r
							WHERE r.customer_id = ANY (crm.ids_of(previous)) AND r.campaign_id = simulate.campaign_id AND r.state <> 'skipped' AND NOT simulate.anew);
			occasions := ARRAY(SELECT r.occurrence FROM crm.run AS r
								WHERE r.customer_id = ANY (crm.ids_of(previous)) AND r.campaign_id = simulate.campaign_id AND NOT simulate.anew);
			profile := crm.campaign_profile(previous, kinds);
			segments := crm.static_segments(crm.ids_of(previous));
			zone := crm.zone_of_profile(profile);
		END IF;
		CONTINUE WHEN profile IS NULL;
		run := met.run;
		IF run.run_id IS NULL THEN
			run := crm.new_run(definition, simulate.campaign_id, previous, profile, segments, met.kind, met.event_at, met.started_at);
			CONTINUE WHEN run.occurrence IS NULL OR run.occurrence = ANY (occasions);
			occasions := occasions || run.occurrence;
		END IF;
		simulate.customer_id := run.customer_id;
		simulate.run_id := run.run_id;
		simulate.occurrence := run.occurrence;
		simulate.entry := run.entry;
		simulate.held := run.held;
		IF run.run_id IS NULL AND crm.bars_reentry(definition, last_entry, run.entry) THEN
			simulate.step := '';
			simulate.arm := '';
			simulate.at := run.entry;
			simulate.outcome := 're-entry';
			RETURN NEXT;
			CONTINUE;
		END IF;
		last_entry := greatest(last_entry, run.entry);
		LOOP
			move := crm.next_move(run, definition, profile, segments, zone, simulate."to");
			EXIT WHEN move.kind = 'wait';
			simulate.step := coalesce(definition -> 'steps' -> (run.step - 1) ->> 'step', '');
			run := crm.after_move(run, move, simulate.step);
			simulate.arm := crm.arms_text(run.arms);
			simulate.at := move.at;
			simulate.outcome := CASE WHEN move.kind = 'step' THEN move.outcome ELSE move.kind END;
			RETURN NEXT;
			EXIT WHEN run.state <> 'active';
		END LOOP;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.simulate(jsonb, int, crm.run[], timestamptz, timestamptz, boolean) IS
'the moves up to "to" of some runs, and of those that would begin for what the trigger meets after "from", by the facts of now: a row for each, as crm.run_step would have it. What campaigns set themselves, tags or attributes, is not seen. anew: as if the campaign had had no runs';

CREATE FUNCTION crm.simulated_definition(campaign crm.campaign) RETURNS jsonb
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN (campaign).state IN ('running', 'paused')
			THEN (SELECT v.definition FROM crm.campaign_version AS v
				   WHERE v.campaign_id = (campaign).campaign_id AND v.version = (campaign).version)
			ELSE crm.check_campaign(crm.named_definition((campaign).draft)) END;
COMMENT ON FUNCTION crm.simulated_definition(crm.campaign) IS 'the definition that crm.dry_run() and crm.backtest() take: of a running campaign its version, else the draft';

CREATE FUNCTION crm.dry_run(campaign text, horizon interval DEFAULT '7 days', at timestamptz DEFAULT crm.now())
	RETURNS TABLE (customer_id bigint, occurrence text, step text, arm text, due_at timestamptz, action text, channel text, decision text,
				   put_off_to timestamptz)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
	target CONSTANT crm.campaign := crm.campaign_named(dry_run.campaign);
	drawn CONSTANT jsonb := crm.simulated_definition(target);
	guard int;
	moves record;
	items crm.claim_item[];
	named jsonb;
BEGIN
	IF NOT drawn ? 'trigger' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('campaign "%s" is a broadcast', dry_run.campaign),
			HINT = 'crm.members() tells who is in its segment.';
	END IF;
	IF dry_run.horizon IS NULL OR dry_run.at IS NULL OR dry_run.horizon < interval '0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'instant and horizon of a dry run must not be null or negative';
	END IF;
	SELECT v.guard_id INTO guard FROM crm.campaign_version AS v WHERE v.campaign_id = target.campaign_id AND v.version = target.version
		AND target.state IN ('running', 'paused');
	-- What is due at one instant is decided together, with what the outbox has then
	FOR moves IN
		WITH move AS MATERIALIZED (
			SELECT s.*, row_number() OVER () AS n, st.step AS definition
			  FROM crm.simulate(drawn, target.campaign_id,
								ARRAY(SELECT r FROM crm.run AS r WHERE r.campaign_id = target.campaign_id AND r.state = 'active'),
								CASE WHEN target.state IN ('running', 'paused')
									 THEN greatest(target.started_at, dry_run.at - (drawn ->> 'useful_for')::interval) ELSE dry_run.at END,
								dry_run.at + dry_run.horizon) AS s
			  LEFT JOIN LATERAL (SELECT e AS step FROM jsonb_array_elements(drawn -> 'steps') AS e WHERE e ->> 'step' = s.step) AS st ON true
		)
		SELECT greatest(m.at, dry_run.at) AS at, array_agg(m ORDER BY m.n) AS moves
		  FROM move AS m
		 GROUP BY greatest(m.at, dry_run.at)
		 ORDER BY 1
	LOOP
		items := ARRAY(
			SELECT ROW(i.id, i.customer_id, i.person, i.mine, i.channel, i.purpose, i.transactional, i.priority, i.due_at, i.useful_until,
					   i.guard_id, i.entry, i.event_kind, i.event_at, i.condition, i.code, NULL, NULL, NULL)::crm.claim_item
			  FROM (SELECT -(o.n) AS id, o.customer_id, crm.resolve_customer(o.customer_id) AS person, true AS mine,
						   o.definition -> 'message' ->> 'channel' AS channel,
						   coalesce(o.definition -> 'message' ->> 'purpose', drawn ->> 'purpose') AS purpose,
						   coalesce((o.definition -> 'message' -> 'transactional')::boolean, false) OR (drawn -> 'transactional')::boolean AS transactional,
						   (drawn ->> 'priority')::int AS priority, o.at AS due_at,
						   o.at + coalesce(o.definition -> 'message' ->> 'useful_for', drawn ->> 'useful_for')::interval AS useful_until,
						   guard AS guard_id, o.entry, NULL::text AS event_kind, NULL::timestamptz AS event_at,
						   (o.definition -> 'message' ->> 'if')::crm.predicate AS condition, NULL::text AS code
					  FROM unnest(moves.moves) AS o(customer_id bigint, run_id bigint, occurrence text, entry timestamptz, held boolean, step text,
													arm text, at timestamptz, outcome text, n bigint, definition jsonb)
					 WHERE o.outcome = 'message' AND NOT o.held
					UNION ALL
					SELECT m.message_id, m.customer_id, crm.resolve_customer(m.customer_id), false, m.channel, m.purpose, m.transactional, m.priority,
						   q.due_at, m.useful_until, m.guard_id, m.entry, m.event_kind, m.event_at, m.condition, m.code
					  FROM crm.outbox AS q
					  JOIN crm.message AS m ON m.customer_id = q.customer_id AND m.message_id = q.message_id
					 WHERE q.token IS NULL AND q.due_at <= moves.at
					   AND q.customer_id IN (SELECT o.customer_id
											   FROM unnest(moves.moves) AS o(customer_id bigint, run_id bigint, occurrence text, entry timestamptz,
																			 held boolean, step text, arm text, at timestamptz, outcome text,
																			 n bigint, definition jsonb))) AS i
			 ORDER BY i.id);
		items := CASE WHEN cardinality(items) > 0 THEN crm.decide(items, moves.at) ELSE items END;
		RETURN QUERY
			SELECT o.customer_id, o.occurrence, o.step, o.arm, o.at, o.outcome, o.definition -> 'message' ->> 'channel',
				   CASE WHEN o.held THEN 'holdout' WHEN o.outcome = 'message' THEN coalesce(i.verdict, 'send') END, i.until
			  FROM unnest(moves.moves) AS o(customer_id bigint, run_id bigint, occurrence text, entry timestamptz, held boolean, step text,
											arm text, at timestamptz, outcome text, n bigint, definition jsonb)
			  LEFT JOIN unnest(items) AS i ON i.message_id = -(o.n) AND i.mine
			 ORDER BY o.n;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.dry_run(text, interval, timestamptz) IS
'who would get what and when, and who would not and why, from an instant on for as long as horizon, by the facts of now: a row for each move of the runs that are on their way and of those that would begin, with what would be decided of each message (send, or the reason, and to when it would be put off). A campaign that does not run is taken as it was drawn and as if it were started then. Writes nothing. Errors: 22004, 42704 unknown campaign, 22023 invalid instant or horizon, 42809 a broadcast, those of crm.check_campaign()';

CREATE FUNCTION crm.dry_run_load(campaign text, horizon interval DEFAULT '7 days', at timestamptz DEFAULT crm.now())
	RETURNS TABLE (hour timestamptz, channel text, messages bigint)
	LANGUAGE sql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT date_trunc('hour', greatest(coalesce(d.put_off_to, d.due_at), dry_run_load.at)), d.channel, count(*)
	  FROM crm.dry_run(dry_run_load.campaign, dry_run_load.horizon, dry_run_load.at) AS d
	 WHERE d.decision = 'send' OR d.put_off_to IS NOT NULL
	 GROUP BY 1, 2
	 ORDER BY 1, 2
$function$;
COMMENT ON FUNCTION crm.dry_run_load(text, interval, timestamptz) IS 'how many messages crm.dry_run() would send in each hour, by channel. Errors: those of crm.dry_run()';

CREATE FUNCTION crm.backtest(campaign text, "from" timestamptz, "to" timestamptz)
	RETURNS TABLE (customer_id bigint, occurrence text, entry timestamptz, held boolean, step text, arm text, at timestamptz, action text,
				   orders bigint, revenue numeric)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
#variable_conflict use_column
DECLARE
	target crm.campaign := crm.campaign_named(backtest.campaign);
	definition CONSTANT jsonb := crm.simulated_definition(target);
BEGIN
	IF NOT definition ? 'trigger' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('campaign "%s" is a broadcast', backtest.campaign);
	END IF;
	RETURN QUERY
		SELECT s.customer_id, s.occurrence, s.entry, s.held, s.step, s.arm, s.at, s.outcome, b.orders, b.revenue
		  FROM crm.simulate(definition, target.campaign_id, '{}', backtest."from", backtest."to", true) AS s
		  LEFT JOIN LATERAL (
			SELECT count(*) AS orders, coalesce(sum((e.properties ->> 'amount')::numeric), 0) AS revenue
			  FROM crm.events_of(crm.profile_of_kinds(s.customer_id, '{order}')) AS e
			 WHERE e.kind = 'order' AND e.at > s.entry AND e.at <= s.entry + (definition ->> 'window')::interval) AS b
					ON s.outcome IN ('goal', 'end', 'leave') OR s.outcome = 're-entry';
END
$function$;
COMMENT ON FUNCTION crm.backtest(text, timestamptz, timestamptz) IS
'what the campaign would have done between two instants ("from" not included), by the facts known now: a row for each move, and with the last one of a run what the customer then bought within the campaign''s window (events of kind order, their property amount). The same moves as ticks at each instant would have made, where the facts were known in time; holdouts and arms fall as they would. Writes nothing. Errors: 22004, 42704 unknown campaign, 42809 a broadcast, those of crm.population_occurrences() and crm.check_campaign()';

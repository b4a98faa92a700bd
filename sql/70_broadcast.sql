-- Broadcasts: a campaign that goes to a segment once, at an instant.

CREATE FUNCTION crm.create_broadcast(campaign text, segment text, channel text, template text, send_at timestamptz DEFAULT crm.now(),
									 spread interval DEFAULT NULL, goal crm.predicate DEFAULT NULL, purpose text DEFAULT 'marketing',
									 priority int DEFAULT 3, holdout int DEFAULT 0, useful_for interval DEFAULT '1 day') RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int;
BEGIN
	IF EXISTS (SELECT FROM crm.campaign AS c WHERE c.campaign = create_broadcast.campaign) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('campaign "%s" already exists', create_broadcast.campaign);
	END IF;
	result := crm.campaign_from_json(jsonb_strip_nulls(jsonb_build_object(
		'campaign', create_broadcast.campaign, 'segment', create_broadcast.segment, 'send_at', create_broadcast.send_at,
		'spread', create_broadcast.spread, 'goal', create_broadcast.goal::text, 'purpose', create_broadcast.purpose,
		'priority', create_broadcast.priority, 'holdout', create_broadcast.holdout, 'useful_for', create_broadcast.useful_for,
		'steps', jsonb_build_array(jsonb_build_object('step', 'message', 'message', jsonb_build_object(
			'channel', create_broadcast.channel, 'template', create_broadcast.template))))));
	PERFORM crm.start_campaign(create_broadcast.campaign);
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.create_broadcast(text, text, text, text, timestamptz, interval, crm.predicate, text, int, int, interval) IS
'one message to all who are in a segment at an instant, spread over an interval (by a hash of the customer) so that neither the shop nor the provider is overrun; the channel''s rate holds besides. It is a campaign of one step, with holdout, goal and report like any. Returns its id. Errors: 42710 the name is taken, and those of crm.check_campaign()';

CREATE FUNCTION crm.begin_broadcasts(now timestamptz, max int, OUT begun bigint, OUT more boolean)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET enable_bitmapscan = off						-- in the order of the key, part by part
AS $function$
DECLARE
	wave record;
	chunk CONSTANT int := greatest(begin_broadcasts.max, 10000);
	taken int;
	last bigint;
BEGIN
	begun := 0;
	more := false;
	FOR wave IN
		SELECT c.campaign_id, c.version, coalesce(c.sent_up_to, -9223372036854775808) AS after, v.definition,
			   (v.definition ->> 'segment')::int AS segment, (v.definition ->> 'send_at')::timestamptz AS send_at,
			   coalesce((v.definition ->> 'spread')::interval, '0') AS spread
		  FROM crm.campaign AS c
		  JOIN crm.campaign_version AS v ON v.campaign_id = c.campaign_id AND v.version = c.version
		 WHERE c.state = 'running' AND v.definition ? 'segment' AND c.sent_up_to IS DISTINCT FROM 9223372036854775807
		   AND (v.definition ->> 'send_at')::timestamptz <= begin_broadcasts.now
		 ORDER BY c.campaign_id
		   FOR UPDATE OF c
	LOOP
		WITH part AS MATERIALIZED (
			SELECT m.customer_id
			  FROM crm.membership AS m
			 WHERE m.customer_id > wave.after AND m.segments @> ARRAY[wave.segment]
			 ORDER BY m.customer_id LIMIT chunk
		), begun AS (
			INSERT INTO crm.run AS r (customer_id, campaign_id, version, occurrence, entry, begun_at, held, state, step_at, looked_at, wake_at)
			SELECT p.customer_id, wave.campaign_id, wave.version, format('broadcast %s', wave.version), e.entry, begin_broadcasts.now,
				   crm.is_held(p.customer_id, wave.campaign_id, wave.definition), 'active', e.entry, e.entry, e.entry
			  FROM part AS p
			 CROSS JOIN LATERAL (SELECT wave.send_at + wave.spread * ((hashint8extended(p.customer_id, wave.campaign_id) & 65535) / 65536.0)
										AS entry) AS e
			ON CONFLICT DO NOTHING
			RETURNING r.customer_id
		), interested AS (
			INSERT INTO crm.interest AS i (customer_id) SELECT b.customer_id FROM begun AS b ON CONFLICT DO NOTHING
		)
		SELECT count(*), max(p.customer_id) INTO taken, last FROM part AS p;
		UPDATE crm.campaign AS c
		   SET sent_up_to = CASE WHEN taken < chunk THEN 9223372036854775807 ELSE last END
		 WHERE c.campaign_id = wave.campaign_id;
		begun := begun + taken;
		more := more OR taken = chunk;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.begin_broadcasts(timestamptz, int) IS
'begins the runs of broadcasts whose instant has come, a part of each; returns how many, and whether there is more';

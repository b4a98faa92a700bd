-- How live the segments are, for people: what is read, what waits, what went wrong; and whether all is right.

CREATE VIEW crm.status (item, state, detail) AS
	WITH cursor AS (
		SELECT c.* FROM crm.change_cursor AS c WHERE c.consumer = 'segments' ORDER BY c.turn DESC LIMIT 1
	), log AS (
		SELECT l.xid FROM crm.change_log_0 AS l UNION ALL SELECT l.xid FROM crm.change_log_1 AS l
		UNION ALL SELECT l.xid FROM crm.change_log_2 AS l
	), unread AS (
		SELECT pg_catalog.count(*) AS rows
		  FROM log AS l, cursor AS c
		 WHERE l.xid >= pg_catalog.pg_snapshot_xmin(c.position) AND NOT pg_catalog.pg_visible_in_snapshot(l.xid, c.position)
	)
	SELECT 'segments', CASE WHEN EXISTS (SELECT FROM crm.slot_now) THEN 'live' ELSE 'stored' END,
		   CASE WHEN EXISTS (SELECT FROM crm.slot_now)
				THEN pg_catalog.format('right at %s or later', (SELECT pg_catalog.min(n.watermark) FROM crm.slot_now AS n))
				ELSE 'as of the last crm.refresh_segments(); the first crm.tick() makes them live' END
	UNION ALL
	SELECT 'capture', pg_catalog.current_setting('crm_marketing.capture'),
		   CASE pg_catalog.current_setting('crm_marketing.capture')
			WHEN 'on' THEN (SELECT pg_catalog.string_agg(pg_catalog.format('another setting for database %s and role %s: %s', s.setdatabase, s.setrole, o), '; ')
							  FROM pg_catalog.pg_db_role_setting AS s, pg_catalog.unnest(s.setconfig) AS o
							 WHERE o LIKE 'crm\_marketing.capture=%')
			WHEN 'off' THEN 'every transaction costs a refresh of all segments'
			ELSE 'changes are not captured at all: stored segments go wrong until crm.refresh_segments()' END
	UNION ALL
	SELECT 'worker', CASE WHEN w.preloaded THEN w.state ELSE 'none' END,
		   CASE WHEN NOT w.preloaded THEN 'crm_marketing is not in shared_preload_libraries: call crm.run_ticks(), as from cron'
				WHEN w.launcher_pid IS NULL THEN 'the launcher does not run; last tick ' || coalesce(w.last_tick::text, 'never')
				ELSE pg_catalog.concat('process ' || w.worker_pid || ', ', 'last tick ', coalesce(w.last_tick::text, 'never')) END
	  FROM crm.worker_status() AS w
	UNION ALL
	SELECT pg_catalog.format('feed %s', f.kind),
		   CASE WHEN f.state IN ('released', 'stale') THEN f.state
				WHEN f.state = 'tracked' THEN 'live'
				WHEN u.tables IS NULL THEN 'live'
				ELSE 'not watched' END,
		   CASE WHEN f.state IN ('released', 'stale') THEN f.reason
				ELSE 'not watched: ' || u.tables END
	  FROM crm.feeds AS f
	 CROSS JOIN LATERAL (SELECT pg_catalog.string_agg(t::text, ', ' ORDER BY t::text) AS tables
						   FROM pg_catalog.unnest(f.tables) AS t
						  WHERE NOT EXISTS (SELECT
											  FROM crm.watch AS w
											  JOIN pg_catalog.pg_trigger AS g
												   ON g.tgrelid = w.relation AND g.tgname = 'crm_watch_' || w.watch_id AND g.tgenabled = 'A'
											 WHERE w.kind = f.kind AND w.relation = t)) AS u
	UNION ALL
	SELECT pg_catalog.format('watch %s on %s', w.kind, w.relation_name),
		   CASE WHEN w.error IS NOT NULL THEN 'error'
				WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_class AS c WHERE c.oid = w.relation) THEN 'gone'
				WHEN NOT EXISTS (SELECT FROM pg_catalog.pg_trigger AS t
								  WHERE t.tgrelid = w.relation AND t.tgname = 'crm_watch_' || w.watch_id AND t.tgenabled = 'A')
				THEN 'no trigger' ELSE 'ok' END,
		   CASE WHEN pg_catalog.has_column_privilege('crm.watch', 'error', 'SELECT') THEN w.error END
	  FROM crm.watch AS w
	UNION ALL
	SELECT 'change log', CASE WHEN c.consumer IS NULL THEN 'not read' WHEN u.rows = 0 THEN 'read' ELSE 'to be read' END,
		   pg_catalog.format('%s rows to be read, %s kept; read last %s', u.rows, (SELECT pg_catalog.count(*) FROM log),
							 c.read_at)
	  FROM unread AS u LEFT JOIN cursor AS c ON true
	UNION ALL
	SELECT 'change log held back', a.pid::text,
		   pg_catalog.format('transaction of %s, running since %s', a.usename, a.xact_start)
	  FROM pg_catalog.pg_stat_activity AS a
	 WHERE a.backend_xid IS NOT NULL AND a.datname = pg_catalog.current_database()
	   AND a.xact_start < pg_catalog.clock_timestamp() - interval '1 minute'
	UNION ALL
	SELECT 'change log held back', p.gid, pg_catalog.format('prepared transaction of %s, since %s', p.owner, p.prepared)
	  FROM pg_catalog.pg_prepared_xacts AS p
	 WHERE p.database = pg_catalog.current_database()
	UNION ALL
	SELECT 'customers waiting', pg_catalog.count(*)::text, NULL
	  FROM crm.slot_now AS n
	  JOIN crm.pending AS p ON p.slot = n.slot AND p.seq > n.position
	UNION ALL
	SELECT 'deadlines due', pg_catalog.count(*)::text, 'next: ' || (SELECT pg_catalog.min(d.due)::text FROM crm.deadline AS d)
	  FROM crm.slot_now AS n
	  JOIN crm.deadline AS d ON d.slot = n.slot AND d.due > n.watermark AND d.due <= crm.now()
	UNION ALL
	SELECT pg_catalog.format('outbox %s', o.channel), pg_catalog.count(*) FILTER (WHERE o.token IS NULL)::text,
		   pg_catalog.concat_ws('; ', 'due since ' || pg_catalog.min(o.due_at) FILTER (WHERE o.token IS NULL)::text,
							 CASE WHEN pg_catalog.count(*) FILTER (WHERE o.lane >= 0 AND o.token IS NOT NULL) > 0
								  THEN pg_catalog.format('%s handed out', pg_catalog.count(*) FILTER (WHERE o.lane >= 0 AND o.token IS NOT NULL)) END,
							 CASE WHEN pg_catalog.count(*) FILTER (WHERE o.lane = -1) > 0
								  THEN pg_catalog.format('%s unknown', pg_catalog.count(*) FILTER (WHERE o.lane = -1)) END)
	  FROM crm.outbox AS o
	 WHERE o.due_at <= crm.now() OR o.token IS NOT NULL
	 GROUP BY o.channel
	UNION ALL
	SELECT pg_catalog.format('campaign %s', c.campaign), c.state, pg_catalog.format('%s runs were given up: see crm.run.error', r.failed)
	  FROM crm.campaign AS c
	 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS failed FROM crm.run AS r WHERE r.campaign_id = c.campaign_id AND r.state = 'failed') AS r
	 WHERE r.failed > 0
	UNION ALL
	SELECT pg_catalog.format('code pool %s', p.pool), CASE WHEN n.free = 0 THEN 'empty' ELSE 'low' END,
		   pg_catalog.format('%s free, low at %s', n.free, p.low_at)
	  FROM crm.code_pool AS p
	 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS free
						   FROM (SELECT
								   FROM crm.promo_code AS c
								  WHERE c.pool = p.pool AND c.taken_at IS NULL AND c.withdrawn_at IS NULL
								  LIMIT p.low_at::bigint + 1) AS f) AS n
	 WHERE p.pattern IS NULL AND n.free <= p.low_at
	UNION ALL
	SELECT pg_catalog.format('ad audience %s', a.audience),
		   CASE WHEN r.failed > 0 THEN 'removals fail' WHEN u.refused > 0 THEN 'uploads refused'
				WHEN a.stopped IS NOT NULL THEN 'dropped' ELSE 'ok' END,
		   pg_catalog.concat_ws('; ', CASE WHEN r.waiting > 0 THEN pg_catalog.format('%s to be removed since %s', r.waiting, r.since) END,
							 CASE WHEN r.failed > 0 THEN pg_catalog.format('%s tried in vain', r.failed) END,
							 CASE WHEN u.refused > 0 THEN pg_catalog.format('%s uploads refused', u.refused) END)
	  FROM crm.audience AS a
	 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS waiting, pg_catalog.min(l.since) AS since,
								pg_catalog.count(*) FILTER (WHERE l.attempts > (l.state = 'removing')::int) AS failed
						   FROM crm.audience_ledger AS l
						  WHERE l.audience_id = a.audience_id AND l.state IN ('remove', 'removing')) AS r
	 CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS refused
						   FROM crm.audience_ledger AS l
						  WHERE l.audience_id = a.audience_id AND l.state = 'refused') AS u
	UNION ALL
	SELECT 'ad audiences follow', pg_catalog.count(*)::text, 'changes are to be looked at, by the next tick or crm.sync_audience()'
	  FROM crm.listener_queue AS q
	 WHERE q.listener = 'audience'
	HAVING pg_catalog.count(*) > 0
	UNION ALL
	(SELECT 'last error', e.at::text, e.sqlstate || CASE WHEN pg_catalog.has_column_privilege('crm.tick_error', 'message', 'SELECT') THEN ': ' || e.message ELSE '' END
	   FROM crm.tick_error AS e
	  ORDER BY e.error_id DESC
	  LIMIT 1);
COMMENT ON VIEW crm.status IS
'how live the segments are: whether changes are captured, whether a background worker ticks, which feeds are watched and which tables are not, what waits to be read and evaluated, what keeps the change log from being emptied, what the outbox has that is due or handed out, which campaigns have runs that were given up, which pools of promo codes are low, what ad networks do not take or remove, and the last error, whose text only those see who may read crm.tick_error';
COMMENT ON COLUMN crm.status.item IS 'what';
COMMENT ON COLUMN crm.status.state IS 'how it is: a word, or a number';
COMMENT ON COLUMN crm.status.detail IS 'more about it';

CREATE FUNCTION crm.verify_segments(sample int DEFAULT NULL, at timestamptz DEFAULT crm.now(),
									OUT segment text, OUT customer_id bigint, OUT stored boolean, OUT fresh boolean)
	RETURNS SETOF record
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	s record;
BEGIN
	IF verify_segments.at IS NULL OR verify_segments.sample < 1 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the instant must not be null, and a sample has at least one customer';
	END IF;
	FOR s IN SELECT g.segment_id, g.name FROM crm.segment AS g WHERE g.predicate IS NOT NULL AND g.evaluated_at IS NOT NULL
			  ORDER BY g.segment_id LOOP
		IF verify_segments.sample IS NULL THEN
			RETURN QUERY
			SELECT s.name, coalesce(o.customer_id, n.customer_id), o.customer_id IS NOT NULL, n.customer_id IS NOT NULL
			  FROM (SELECT m.customer_id FROM crm.membership AS m WHERE m.segments @> ARRAY[s.segment_id]) AS o
			  FULL JOIN crm.matching(format('in segment %s', s.segment_id)::crm.predicate, verify_segments.at)
				   AS n(customer_id) USING (customer_id)
			 WHERE o.customer_id IS NULL OR n.customer_id IS NULL;
		ELSE
			RETURN QUERY
			SELECT s.name, c.customer_id, c.segments @> ARRAY[s.segment_id], f.fresh
			  FROM (SELECT m.customer_id, m.segments FROM crm.membership AS m
					 ORDER BY hashint8extended(m.customer_id, s.segment_id) LIMIT verify_segments.sample) AS c
			 CROSS JOIN LATERAL (SELECT coalesce(crm.evaluate_segment(c.customer_id,
									format('in segment %s', s.segment_id)::crm.predicate, verify_segments.at), false)) AS f(fresh)
			 WHERE c.segments @> ARRAY[s.segment_id] <> f.fresh;
		END IF;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.verify_segments(int, timestamptz) IS
'compares what is stored with a fresh evaluation at an instant: a row for each customer and segment where they differ, none when all is right. Without a sample everybody, by a pass over the feeds for each segment; with one, so many of the stored customers. What was committed since the last tick is a difference. Errors: 22023 a sample below 1, or no instant';

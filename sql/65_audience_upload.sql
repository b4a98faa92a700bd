-- Ad audiences: what workers are given to tell the network, what they answer, and what the network says it has.

CREATE FUNCTION crm.outdated_uploads(audience_id int, entries bigint[], at timestamptz) RETURNS bigint[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment CONSTANT crm.segment := (SELECT s FROM crm.audience AS a JOIN crm.segment AS s USING (segment_id)
									  WHERE a.audience_id = outdated_uploads.audience_id);
	uploads bigint[];
	people bigint[];
	members bigint[];
BEGIN
	IF segment.segment_id IS NULL THEN
		RETURN '{}';
	END IF;
	uploads := ARRAY(SELECT l.entry_id FROM crm.audience_ledger AS l
					  WHERE l.entry_id = ANY (outdated_uploads.entries) AND l.state IN ('add', 'adding'));
	people := ARRAY(SELECT DISTINCT crm.resolve_customer(k.customer_id)
					  FROM crm.audience_ledger AS l
					  JOIN crm.audience_link AS k ON k.audience_id = l.audience_id AND k.hash = l.hash
					 WHERE l.entry_id = ANY (uploads));
	IF cardinality(people) = 0 THEN
		RETURN '{}';
	ELSIF segment.predicate IS NULL THEN
		members := ARRAY(SELECT p.customer_id
						   FROM crm.ids_of_customers(people) AS p
						   JOIN crm.static_member AS s ON s.customer_id = p.id AND s.segment_id = segment.segment_id);
	ELSE
		BEGIN
			members := ARRAY(SELECT people[a.number]
							   FROM crm.ask_customers(segment.predicate, people, array_fill(outdated_uploads.at, ARRAY[cardinality(people)]),
													  array_fill(NULL::timestamptz, ARRAY[cardinality(people)]),
													  array_fill(NULL::text, ARRAY[cardinality(people)]),
													  array_fill(NULL::timestamptz, ARRAY[cardinality(people)])) AS a
							  WHERE a.truth);
		EXCEPTION WHEN OTHERS THEN
			-- facts that cannot be read just now: uploads wait, removals do not
			members := '{}';
		END;
	END IF;
	RETURN ARRAY(SELECT l.entry_id
				   FROM crm.audience_ledger AS l
				   JOIN crm.audience_link AS k ON k.audience_id = l.audience_id AND k.hash = l.hash
				  WHERE l.entry_id = ANY (uploads)
				  GROUP BY l.entry_id
				 HAVING NOT bool_or(crm.resolve_customer(k.customer_id) = ANY (members)));
END
$function$;
COMMENT ON FUNCTION crm.outdated_uploads(int, bigint[], timestamptz) IS
'which of some entries are to be uploaded, but are of nobody who is in the audience''s segment by the facts of an instant: what is stored of members follows some moments later. All that are to be uploaded where the facts cannot be read';

CREATE FUNCTION crm.claim_audience(audience text, max int DEFAULT 1000, lease interval DEFAULT '5 minutes', at timestamptz DEFAULT crm.now())
	RETURNS TABLE (entry_id bigint, operation text, hash text, token bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	ROWS 1000
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
DECLARE
	id CONSTANT int := crm.audience_id(claim_audience.audience);
	claim CONSTANT bigint := nextval('crm.audience_token_seq');
	room int := claim_audience.max;
	held bigint[];
	passed bigint[] := '{}';
	doubtful bigint[];
	outdated bigint[];
	hashes bytea[];
	n int;
BEGIN
	IF claim_audience.max IS NULL OR claim_audience.lease IS NULL OR claim_audience.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'max, lease and instant must not be null';
	END IF;
	IF claim_audience.max < 1 OR claim_audience.lease <= interval '0' OR NOT isfinite(claim_audience.at) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'max and lease must be positive, and the instant finite';
	END IF;
	PERFORM crm.forbid_old_snapshot();
	-- It never waits for anybody: what another one holds is left to him
	WHILE room > 0 LOOP
		held := ARRAY(SELECT l.entry_id
						FROM crm.audience_ledger AS l
					   WHERE l.audience_id = id AND l.state IN ('remove', 'removing') AND l.next_at <= claim_audience.at
						 AND l.entry_id <> ALL (passed)
					   ORDER BY l.next_at, l.entry_id
					   LIMIT room
						 FOR UPDATE SKIP LOCKED);
		n := room - cardinality(held);
		IF n > 0 THEN
			held := held || ARRAY(SELECT l.entry_id
									FROM crm.audience_ledger AS l
								   WHERE l.audience_id = id AND l.state IN ('add', 'adding') AND l.next_at <= claim_audience.at
									 AND l.entry_id <> ALL (passed)
								   ORDER BY l.next_at, l.entry_id
								   LIMIT n
									 FOR UPDATE SKIP LOCKED);
		END IF;
		EXIT WHEN cardinality(held) = 0;

		-- Nothing is uploaded that nobody wants by now, whenever the ledger was brought up to date
		WITH entry AS MATERIALIZED (
			SELECT l.entry_id, l.hash, k.customer_id
			  FROM crm.audience_ledger AS l
			  JOIN crm.audience_link AS k ON k.audience_id = l.audience_id AND k.hash = l.hash
			 WHERE l.entry_id = ANY (held)
		), wanted AS MATERIALIZED (
			SELECT w.customer_id, w.hash FROM crm.audience_wanted(ARRAY[id], ARRAY(SELECT DISTINCT e.customer_id FROM entry AS e)) AS w
		)
		SELECT array_agg(d.entry_id), array_agg(d.hash) INTO doubtful, hashes
		  FROM (SELECT e.entry_id, e.hash
				  FROM entry AS e
				 GROUP BY e.entry_id, e.hash
				HAVING NOT bool_or((e.customer_id, e.hash) IN (SELECT w.customer_id, w.hash FROM wanted AS w))) AS d;
		IF doubtful IS NULL THEN
			NULL;
		ELSIF pg_try_advisory_xact_lock(hashtext('crm.audience'), id) THEN
			-- Nobody else says now who is wanted: looked at once more, and stored
			WITH wanted AS MATERIALIZED (
				SELECT w.customer_id, w.hash
				  FROM crm.audience_wanted(ARRAY[id], ARRAY(SELECT DISTINCT k.customer_id FROM crm.audience_link AS k
															 WHERE k.audience_id = id AND k.hash = ANY (hashes))) AS w
			)
			DELETE FROM crm.audience_link AS k
			 WHERE k.audience_id = id AND k.hash = ANY (hashes)
			   AND (k.customer_id, k.hash) NOT IN (SELECT w.customer_id, w.hash FROM wanted AS w);
			PERFORM crm.settle_audiences(array_fill(id, ARRAY[cardinality(hashes)]), hashes, claim_audience.at);
		ELSE
			passed := passed || doubtful;
		END IF;
		-- Nor by the facts, with which the next tick will store who is in the segment
		outdated := crm.outdated_uploads(id, held, claim_audience.at);
		IF cardinality(outdated) > 0 THEN
			UPDATE crm.audience_ledger AS l SET next_at = claim_audience.at + interval '1 minute' WHERE l.entry_id = ANY (outdated);
			passed := passed || outdated;
		END IF;

		UPDATE crm.audience_ledger AS l
		   SET state = 'refused', uploaded = CASE l.uploaded WHEN 'no' THEN 'perhaps' ELSE l.uploaded END, since = claim_audience.at,
			   next_at = NULL, token = NULL, error = coalesce(l.error, 'no answer')
		 WHERE l.entry_id = ANY (held) AND l.entry_id <> ALL (passed) AND l.state = 'adding' AND l.attempts >= 10
		   AND EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);

		-- A claim that has run out may have done its work
		RETURN QUERY
		WITH given AS (
			UPDATE crm.audience_ledger AS l
			   SET state = CASE WHEN o.wanted THEN 'adding' ELSE 'removing' END,
				   uploaded = CASE WHEN l.state = 'removing' OR l.state = 'adding' AND l.uploaded = 'no' THEN 'perhaps' ELSE l.uploaded END,
				   since = CASE WHEN o.wanted = (l.state IN ('add', 'adding')) THEN l.since ELSE claim_audience.at END,
				   attempts = CASE WHEN o.wanted = (l.state IN ('add', 'adding')) THEN l.attempts ELSE 0 END + 1,
				   next_at = claim_audience.at + claim_audience.lease,
				   token = claim
			  FROM (SELECT e.entry_id,
						   EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = e.audience_id AND k.hash = e.hash) AS wanted
					  FROM crm.audience_ledger AS e
					 WHERE e.entry_id = ANY (held) AND e.entry_id <> ALL (passed)) AS o
			 WHERE l.entry_id = o.entry_id AND l.state IN ('add', 'adding', 'remove', 'removing')
			RETURNING l.entry_id, l.state, l.hash
		)
		SELECT g.entry_id, CASE g.state WHEN 'adding' THEN 'add' ELSE 'remove' END, encode(g.hash, 'hex'), claim
		  FROM given AS g
		 ORDER BY g.state DESC, g.entry_id;
		GET DIAGNOSTICS n = ROW_COUNT;
		room := room - n;
	END LOOP;
	IF room = claim_audience.max THEN
		PERFORM crm.finish_audience(id);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.claim_audience(text, int, interval, timestamptz) IS
'gives a worker entries of an audience to tell the network: operation add or remove, and the hash in hexadecimal digits; removals first. Several workers may claim side by side, and none waits. For the time of the lease nobody else gets them; then they are given out again, and an upload without answer counts as one that may have happened. What must not be uploaded any more by now is not given out. Commit before you talk to the network, and then answer with crm.ack_audience() or crm.nack_audience() and the token; after a time-out, when nobody knows, with neither. To add a hash that is there, or remove one that is not, must be no error. No rows: nothing is due. Errors: 22004 NULL, 42704 unknown audience, 22023 max or lease is not positive, or the instant infinite, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.ack_audience(entries bigint[], token bigint) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	held bigint[];
BEGIN
	PERFORM crm.forbid_old_snapshot();
	held := ARRAY(SELECT l.entry_id
					FROM crm.audience_ledger AS l
				   WHERE l.entry_id = ANY (ack_audience.entries) AND l.token = ack_audience.token AND l.state IN ('adding', 'removing')
				   ORDER BY l.entry_id
					 FOR UPDATE);
	DELETE FROM crm.audience_ledger AS l
	 WHERE l.entry_id = ANY (held) AND l.state = 'removing' AND l.forget
	   AND NOT EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);
	UPDATE crm.audience_ledger AS l
	   SET state = CASE WHEN l.state = 'adding' AND o.wanted THEN 'present' WHEN l.state = 'adding' THEN 'remove'
						WHEN o.wanted THEN 'add' ELSE 'removed' END,
		   uploaded = CASE l.state WHEN 'adding' THEN 'yes' ELSE 'no' END,
		   added_at = CASE l.state WHEN 'adding' THEN crm.now() ELSE l.added_at END,
		   removed_at = CASE l.state WHEN 'removing' THEN crm.now() ELSE l.removed_at END,
		   since = crm.now(), next_at = CASE WHEN o.wanted <> (l.state = 'adding') THEN crm.now() END,
		   attempts = 0, token = NULL, error = NULL
	  FROM (SELECT e.entry_id,
				   EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = e.audience_id AND k.hash = e.hash) AS wanted
			  FROM crm.audience_ledger AS e
			 WHERE e.entry_id = ANY (held)) AS o
	 WHERE l.entry_id = o.entry_id;
	PERFORM crm.finish_audience(a.audience_id) FROM crm.audience AS a WHERE a.stopped IS NOT NULL;
	RETURN cardinality(held);
END
$function$;
COMMENT ON FUNCTION crm.ack_audience(bigint[], bigint) IS
'a worker says that the network has done what he was given by crm.claim_audience(). What has come to be wanted otherwise meanwhile is to be done next. Returns for how many entries that holds: fewer than were acknowledged means that the lease had run out and somebody else has them. NULL acknowledges nothing. Error 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.nack_audience(entries bigint[], token bigint, error text DEFAULT NULL, retry_after interval DEFAULT NULL) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	held bigint[];
BEGIN
	IF nack_audience.retry_after < interval '0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('time to wait must not be negative: %s', nack_audience.retry_after);
	END IF;
	PERFORM crm.forbid_old_snapshot();
	held := ARRAY(SELECT l.entry_id
					FROM crm.audience_ledger AS l
				   WHERE l.entry_id = ANY (nack_audience.entries) AND l.token = nack_audience.token AND l.state IN ('adding', 'removing')
				   ORDER BY l.entry_id
					 FOR UPDATE);
	UPDATE crm.audience_ledger AS l
	   SET state = CASE WHEN l.state = 'removing' THEN 'remove' WHEN l.attempts >= 10 THEN 'refused' ELSE 'add' END,
		   token = NULL, error = left(nack_audience.error, 1000),
		   next_at = CASE WHEN l.state = 'removing' OR l.attempts < 10
						  THEN crm.now() + coalesce(nack_audience.retry_after,
													least(interval '1 minute' * power(2, least(l.attempts, 10) - 1),
														  CASE l.state WHEN 'removing' THEN interval '1 hour' END)) END
	 WHERE l.entry_id = ANY (held);
	-- and what has come to be wanted otherwise meanwhile
	PERFORM crm.settle_audiences(array_agg(l.audience_id), array_agg(l.hash), crm.now())
	   FROM crm.audience_ledger AS l
	  WHERE l.entry_id = ANY (held)
	 HAVING count(*) > 0;
	PERFORM crm.finish_audience(a.audience_id) FROM crm.audience AS a WHERE a.stopped IS NOT NULL;
	RETURN cardinality(held);
END
$function$;
COMMENT ON FUNCTION crm.nack_audience(bigint[], bigint, text, interval) IS
'a worker says that the network has not done what he was given by crm.claim_audience(), and why: it is given out again after 1 minute, 2, 4 and so on, or after the time told here. An upload is given up at the tenth attempt, state refused; crm.retry_audience() tries again. A removal is never given up, and waits an hour at most. Where nobody knows whether it was done, as after a time-out, let the lease run out instead. Returns for how many entries that holds, as crm.ack_audience(). NULL entries or token: none. Errors: 22023 a negative time, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.retry_audience(audience text) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id CONSTANT int := crm.audience_id(retry_audience.audience);
	result bigint;
BEGIN
	UPDATE crm.audience_ledger AS l
	   SET state = 'add', since = crm.now(), next_at = crm.now(), attempts = 0
	 WHERE l.audience_id = id AND l.state = 'refused';
	GET DIAGNOSTICS result = ROW_COUNT;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.retry_audience(text) IS
'has uploads tried again that were refused, when whatever was wrong is mended; returns how many. Errors: 22004 NULL, 42704 unknown audience';

CREATE FUNCTION crm.reconcile_audience(audience text, hashes text[], at timestamptz DEFAULT crm.now())
	RETURNS TABLE (hash text, difference text)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_nestloop = off
	SET jit = off
AS $function$
DECLARE
	id CONSTANT int := crm.audience_id(reconcile_audience.audience);
	held bigint[];
	there bytea[];
BEGIN
	IF reconcile_audience.hashes IS NULL OR array_position(reconcile_audience.hashes, NULL) IS NOT NULL OR reconcile_audience.at IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'hashes and instant must not be null';
	END IF;
	IF EXISTS (SELECT FROM unnest(reconcile_audience.hashes) AS h WHERE h !~ '^[0-9A-Fa-f]{64}$') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid hash "%s"', (SELECT left(h, 100) FROM unnest(reconcile_audience.hashes) AS h
													WHERE h !~ '^[0-9A-Fa-f]{64}$' LIMIT 1)),
			DETAIL = 'It has 64 hexadecimal digits.';
	END IF;
	PERFORM crm.lock_audiences(ARRAY[id], true);
	there := ARRAY(SELECT DISTINCT decode(h, 'hex') FROM unnest(reconcile_audience.hashes) AS h);
	-- What a worker is at just now, he is to answer for
	WITH network AS MATERIALIZED (
		SELECT t AS hash FROM unnest(there) AS t
	), odd AS MATERIALIZED (
		SELECT l.entry_id
		  FROM crm.audience_ledger AS l
		  LEFT JOIN network AS n USING (hash)
		 WHERE l.audience_id = id AND l.state NOT IN ('adding', 'removing')
		   AND l.uploaded <> CASE WHEN n.hash IS NULL THEN 'no' ELSE 'yes' END
	), held AS (
		SELECT l.entry_id FROM crm.audience_ledger AS l JOIN odd AS o USING (entry_id) ORDER BY l.entry_id FOR UPDATE OF l
	)
	SELECT coalesce(array_agg(h.entry_id), '{}') INTO held FROM held AS h;
	RETURN QUERY
	WITH network AS MATERIALIZED (
		SELECT t AS hash FROM unnest(there) AS t
	), entry AS MATERIALIZED (
		SELECT l.entry_id, l.state, l.uploaded, n.hash IS NOT NULL AS is_there,
			   EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = id AND k.hash = l.hash) AS wanted
		  FROM crm.audience_ledger AS l
		  LEFT JOIN network AS n USING (hash)
		 WHERE l.entry_id = ANY (held) AND l.state NOT IN ('adding', 'removing')
	), forgotten AS (
		DELETE FROM crm.audience_ledger AS l
		 USING entry AS e
		 WHERE l.entry_id = e.entry_id AND l.forget AND NOT e.is_there AND NOT e.wanted
		RETURNING l.hash, 'missing there'::text AS difference
	), mended AS (
		UPDATE crm.audience_ledger AS l
		   SET uploaded = CASE WHEN e.is_there THEN 'yes' ELSE 'no' END,
			   state = CASE WHEN e.is_there AND e.wanted THEN 'present' WHEN e.is_there THEN 'remove'
							WHEN e.wanted AND e.state = 'refused' THEN 'refused' WHEN e.wanted THEN 'add' ELSE 'removed' END,
			   since = reconcile_audience.at, attempts = CASE e.state WHEN 'refused' THEN l.attempts ELSE 0 END,
			   next_at = CASE WHEN e.is_there <> e.wanted AND e.state <> 'refused' OR e.is_there AND NOT e.wanted THEN reconcile_audience.at END,
			   added_at = CASE WHEN e.is_there THEN coalesce(l.added_at, reconcile_audience.at) ELSE l.added_at END,
			   removed_at = CASE WHEN e.is_there OR e.wanted THEN l.removed_at ELSE reconcile_audience.at END,
			   error = CASE WHEN e.state = 'refused' AND NOT e.is_there THEN l.error END
		  FROM entry AS e
		 WHERE l.entry_id = e.entry_id AND (e.is_there OR e.wanted OR NOT l.forget)
		RETURNING l.hash, CASE WHEN e.is_there AND NOT e.wanted AND e.uploaded = 'no' THEN 'unknown to us'
							   WHEN NOT e.is_there AND e.uploaded = 'yes' THEN 'missing there' END AS difference
	), found AS (
		INSERT INTO crm.audience_ledger AS l (audience_id, hash, state, uploaded, since, next_at, added_at)
		SELECT id, n.hash, 'remove', 'yes', reconcile_audience.at, reconcile_audience.at, reconcile_audience.at
		  FROM network AS n
		 WHERE NOT EXISTS (SELECT FROM crm.audience_ledger AS e WHERE e.audience_id = id AND e.hash = n.hash)
		RETURNING l.hash, 'unknown to us'::text AS difference
	)
	SELECT encode(d.hash, 'hex'), d.difference
	  FROM (TABLE forgotten UNION ALL TABLE mended UNION ALL TABLE found) AS d
	 WHERE d.difference IS NOT NULL
	 ORDER BY 2 DESC, 1;
	PERFORM crm.finish_audience(id);
END
$function$;
COMMENT ON FUNCTION crm.reconcile_audience(text, text[], timestamptz) IS
'compares the ledger of an audience with what the network says it has, all its hashes in hexadecimal digits, and mends the ledger. Returns where they differ: "unknown to us", which is to be removed now, and "missing there", which is to be uploaded again if it is still wanted. What it tells of uploads and removals without answer is taken over. What a worker has claimed is left to him. Errors: 22004 NULL, also among the hashes, 22023 no hash, 42704 unknown audience, 25001 in a repeatable read or serializable transaction';

------------------------------------------------------------------------------------------------------------------
-- What people read
------------------------------------------------------------------------------------------------------------------

CREATE VIEW crm.audience_size (audience, channel, segment, stopped, wanted, present, to_add, to_remove, refused, oldest_removal) AS
	SELECT a.audience, a.channel, s.name, a.stopped,
		   (SELECT pg_catalog.count(DISTINCT k.hash) FROM crm.audience_link AS k WHERE k.audience_id = a.audience_id),
		   pg_catalog.count(*) FILTER (WHERE l.state = 'present'),
		   pg_catalog.count(*) FILTER (WHERE l.state IN ('add', 'adding')),
		   pg_catalog.count(*) FILTER (WHERE l.state IN ('remove', 'removing')),
		   pg_catalog.count(*) FILTER (WHERE l.state = 'refused'),
		   pg_catalog.min(l.since) FILTER (WHERE l.state IN ('remove', 'removing'))
	  FROM crm.audience AS a
	  LEFT JOIN crm.segment AS s USING (segment_id)
	  LEFT JOIN crm.audience_ledger AS l USING (audience_id)
	 GROUP BY a.audience, a.channel, s.name, a.stopped, a.audience_id;
COMMENT ON VIEW crm.audience_size IS 'ad audiences, and how each stands at its network';
COMMENT ON COLUMN crm.audience_size.audience IS 'name of the audience';
COMMENT ON COLUMN crm.audience_size.channel IS 'its channel';
COMMENT ON COLUMN crm.audience_size.segment IS 'the segment whose members are in it; NULL: it is filled by hand, or the segment was dropped';
COMMENT ON COLUMN crm.audience_size.stopped IS 'when it was dropped, if it was';
COMMENT ON COLUMN crm.audience_size.wanted IS 'how many hashes are to be in it';
COMMENT ON COLUMN crm.audience_size.present IS 'how many the network has';
COMMENT ON COLUMN crm.audience_size.to_add IS 'how many are to be uploaded, those that are claimed included';
COMMENT ON COLUMN crm.audience_size.to_remove IS 'how many are to be removed, those that are claimed included';
COMMENT ON COLUMN crm.audience_size.refused IS 'how many the network has not taken; crm.retry_audience() tries again';
COMMENT ON COLUMN crm.audience_size.oldest_removal IS 'since when the oldest removal waits';

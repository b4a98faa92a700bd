-- Ad audiences: making them, who is put into them, and bringing the ledger up to it.
--
-- Ticks do the latter: of whom something has changed, they tell (crm.listener), and crm.advance_audiences() follows each. It takes
-- locks in this order, as all here: one that only one of those has who take from the queue (never waited for by a tick), those of
-- customers, those of audiences, rows.

------------------------------------------------------------------------------------------------------------------
-- Making and dropping, putting in and taking out
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.listen_for_audiences() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	-- By what others have stored, who come here at the same time
	PERFORM pg_advisory_xact_lock(hashtext('crm.listen_for_audiences'));
	IF EXISTS (SELECT FROM crm.audience AS a WHERE a.stopped IS NULL) THEN
		INSERT INTO crm.listener AS l (listener, segments)
		SELECT 'audience', coalesce(array_agg(DISTINCT a.segment_id) FILTER (WHERE a.segment_id IS NOT NULL), '{}')
		  FROM crm.audience AS a
		 WHERE a.stopped IS NULL
		ON CONFLICT ON CONSTRAINT listener_pkey DO UPDATE SET segments = excluded.segments;
	ELSE
		DELETE FROM crm.listener AS l WHERE l.listener = 'audience';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.listen_for_audiences() IS
'has ticks tell of those whom audiences are about now, and of nobody when there is none. A new audience takes crm.lock_slots() first';

CREATE FUNCTION crm.create_audience(audience text, channel text, segment text DEFAULT NULL, purpose text DEFAULT 'marketing',
									hash_form text DEFAULT 'sha256') RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kind CONSTANT text := crm.channel_kind(create_audience.channel);
	result int;
BEGIN
	PERFORM crm.forbid_old_snapshot();
	IF create_audience.audience IS NULL OR create_audience.purpose IS NULL OR create_audience.hash_form IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'nothing but the segment of an audience may be null';
	END IF;
	IF create_audience.audience ~ '^\s|\s$|[[:cntrl:]]' OR create_audience.audience = '' OR octet_length(create_audience.audience) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_name',
			MESSAGE = format('invalid name of an audience: "%s"', create_audience.audience),
			DETAIL = 'A name has 1 to 63 bytes, does not begin or end with a blank, and has no control characters.';
	END IF;
	IF kind NOT IN ('email', 'phone') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('channel "%s" is for addresses of kind "%s"', create_audience.channel, kind),
			DETAIL = 'Ad networks take e-mail addresses and phone numbers.',
			HINT = 'Define one for the network, for example crm.define_channel(''ad:google'', ''email'').';
	END IF;
	PERFORM crm.check_purpose(create_audience.purpose);
	IF create_audience.hash_form NOT IN ('sha256', 'sha256_digits') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized form of hashes "%s"', create_audience.hash_form),
			HINT = 'Forms are: sha256, and sha256_digits for phone numbers without +.';
	END IF;
	-- Whoever writes memberships has finished, or tells of them
	PERFORM crm.lock_slots();
	INSERT INTO crm.audience AS a (audience, channel, segment_id, purpose, hash_form, created_at)
	VALUES (create_audience.audience, create_audience.channel, crm.segment_id(create_audience.segment), create_audience.purpose,
			create_audience.hash_form, crm.now())
	ON CONFLICT ON CONSTRAINT audience_pkey DO NOTHING
	RETURNING a.audience_id INTO result;
	IF result IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('audience "%s" already exists', create_audience.audience),
			DETAIL = CASE WHEN EXISTS (SELECT FROM crm.audience AS a WHERE a.audience = create_audience.audience AND a.stopped IS NOT NULL)
						  THEN 'It was dropped, and the network has not yet removed all of it.'
						  ELSE 'Two cannot have one name.' END;
	END IF;
	PERFORM crm.listen_for_audiences();
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.create_audience(text, text, text, text, text) IS
'makes an ad audience and returns its id. channel is one of crm.define_channel() for the network, such as ad:google, of kind email or phone: those addresses of people are uploaded that may be used on it for the purpose. The address is what crm.set_contact() has stored for this channel, else the one of the customers'' feed. segment: its members are in it; NULL: those whom crm.add_to_audience() puts in. hash_form: see crm.audience_hash(). Ticks fill it and keep it true, crm.claim_audience() gives out what is to be told to the network. Errors: 22004 NULL, 42602 an invalid name, 42704 unknown channel or segment, 22023 a channel of another kind, an invalid purpose or form, 42710 there is one already, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.drop_audience(audience text, force boolean DEFAULT false) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id CONSTANT int := crm.audience_id(drop_audience.audience);
	result bigint;
BEGIN
	IF drop_audience.force IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'force must not be null';
	END IF;
	PERFORM crm.lock_audiences(ARRAY[id], true);
	DELETE FROM crm.audience_member AS m WHERE m.audience_id = id;
	DELETE FROM crm.audience_link AS k WHERE k.audience_id = id;
	IF drop_audience.force THEN
		DELETE FROM crm.audience_ledger AS l WHERE l.audience_id = id;
		DELETE FROM crm.audience AS a WHERE a.audience_id = id;
		PERFORM crm.listen_for_audiences();
		RETURN 0;
	END IF;
	UPDATE crm.audience AS a SET stopped = crm.now(), walked_to = NULL WHERE a.audience_id = id AND a.stopped IS NULL;
	PERFORM crm.listen_for_audiences();
	PERFORM crm.settle_audiences(ARRAY[id], NULL, crm.now());
	SELECT count(*) INTO result FROM crm.audience_ledger AS l WHERE l.audience_id = id AND l.state <> 'removed';
	PERFORM crm.finish_audience(id);
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.drop_audience(text, boolean) IS
'drops an audience: nobody is wanted in it any more, and when the network has acknowledged that all of it is removed, it is gone. Returns how many hashes are to be removed; 0: it is gone. force: it is gone at once, and what was uploaded stays at the network unless somebody deletes it there. Errors: 22004 NULL, 42704 unknown audience, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.open_audience_id(audience text, customers bigint[]) RETURNS int
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result CONSTANT int := crm.audience_id(open_audience_id.audience);
	found crm.audience;
BEGIN
	IF open_audience_id.customers IS NULL OR array_position(open_audience_id.customers, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customers must not be null';
	END IF;
	SELECT a.* INTO found FROM crm.audience AS a WHERE a.audience_id = result;
	IF found.segment_id IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('audience "%s" is that of a segment', open_audience_id.audience),
			DETAIL = 'Whoever is in the segment is in it, and nobody else.',
			HINT = 'crm.create_audience() without a segment makes one that is filled by hand.';
	ELSIF found.stopped IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('audience "%s" was dropped', open_audience_id.audience),
			DETAIL = 'It is being removed from the network.';
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.open_audience_id(text, bigint[]) IS
'id of the audience into which these customers may be put by hand. Errors: 22004 NULL, also among the customers, 42704 unknown audience, 42809 one of a segment, 55000 one that was dropped';

CREATE FUNCTION crm.add_to_audience(audience text, customers bigint[]) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id CONSTANT int := crm.open_audience_id(add_to_audience.audience, add_to_audience.customers);
	entering bigint[];
BEGIN
	entering := ARRAY(SELECT DISTINCT c
						FROM unnest(add_to_audience.customers) AS u, crm.resolve_customer(u) AS c
					   WHERE NOT EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id IN (u, c))
						 AND NOT EXISTS (SELECT FROM unnest(crm.ids_of(c)) AS i
										   JOIN crm.audience_member AS m ON m.customer_id = i AND m.audience_id = id)
					   ORDER BY c);
	INSERT INTO crm.audience_member AS m (customer_id, audience_id)
	SELECT DISTINCT u, id
	  FROM unnest(add_to_audience.customers) AS u
	 WHERE NOT EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id = u)
	 ORDER BY u
	ON CONFLICT ON CONSTRAINT audience_member_pkey DO NOTHING;
	IF cardinality(entering) > 0 THEN
		PERFORM crm.touch(entering, 'customer.contact');
	END IF;
	RETURN cardinality(entering);
END
$function$;
COMMENT ON FUNCTION crm.add_to_audience(text, bigint[]) IS
'puts customers into an audience that has no segment; returns how many of them were not in it. Whether they have agreed and have an address is looked at by the next tick, and later when it changes; those who were erased are passed over. Errors: 22004 NULL, also among the customers, 42704 unknown audience, 42809 one of a segment, 55000 one that was dropped';

CREATE FUNCTION crm.remove_from_audience(audience text, customers bigint[]) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id CONSTANT int := crm.open_audience_id(remove_from_audience.audience, remove_from_audience.customers);
	leaving bigint[];
BEGIN
	WITH removed AS (
		DELETE FROM crm.audience_member AS m
		 USING unnest(remove_from_audience.customers) AS u, unnest(crm.ids_of(crm.resolve_customer(u))) AS i
		 WHERE m.customer_id = i AND m.audience_id = id
		RETURNING m.customer_id
	)
	SELECT coalesce(array_agg(DISTINCT crm.resolve_customer(r.customer_id)), '{}') INTO leaving FROM removed AS r;
	IF cardinality(leaving) > 0 THEN
		PERFORM crm.touch(leaving, 'customer.contact');
	END IF;
	RETURN cardinality(leaving);
END
$function$;
COMMENT ON FUNCTION crm.remove_from_audience(text, bigint[]) IS
'takes customers out of an audience that has no segment, by whichever of their ids they were put in; returns how many of them were in it. Their hashes are to be removed with the next tick. Errors: those of crm.add_to_audience()';

------------------------------------------------------------------------------------------------------------------
-- Keeping the ledger true
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.sync_audience(audience text DEFAULT NULL, at timestamptz DEFAULT crm.now(), OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_nestloop = off						-- nobody can tell beforehand how many addresses there are
	SET jit = off
AS $function$
DECLARE
	audiences int[];
	id int;
BEGIN
	IF sync_audience.at IS NULL OR NOT isfinite(sync_audience.at) THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN sync_audience.at IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = 'instant must be finite and not null';
	END IF;
	PERFORM crm.forbid_old_snapshot();
	-- From here on nobody looks at what is told, nor begins to walk
	PERFORM pg_advisory_xact_lock(hashtext('crm.advance_audiences'));
	IF sync_audience.audience IS NOT NULL THEN
		audiences := ARRAY[crm.audience_id(sync_audience.audience)];
		-- A segment that was not evaluated yet only looks empty
		PERFORM crm.segment_id(s.name, true)
		   FROM crm.audience AS a JOIN crm.segment AS s USING (segment_id)
		  WHERE a.audience_id = audiences[1];
	ELSE
		audiences := ARRAY(SELECT a.audience_id
							 FROM crm.audience AS a
							 LEFT JOIN crm.segment AS s USING (segment_id)
							WHERE s.segment_id IS NULL OR s.evaluated_at IS NOT NULL);
	END IF;
	PERFORM crm.lock_audiences(audiences, true);
	UPDATE crm.audience AS a SET walked_to = NULL WHERE a.audience_id = ANY (audiences) AND a.walked_to IS NOT NULL;
	IF sync_audience.audience IS NULL THEN
		-- An audience that is not among them is walked yet
		DELETE FROM crm.listener_queue AS q WHERE q.listener = 'audience';
	END IF;
	SELECT r.added, r.removed INTO sync_audience.added, sync_audience.removed
	  FROM crm.renew_audiences(audiences, NULL, sync_audience.at) AS r;
	FOREACH id IN ARRAY audiences LOOP
		PERFORM crm.finish_audience(id);
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.sync_audience(text, timestamptz) IS
'brings the ledger of an audience, or (NULL) of all, up to who is in it and may be: what is wanted and not there is to be uploaded, what is there and not wanted is to be removed, in one pass over contacts and consents. Ticks do so by themselves of those of whom something has changed; this is for shops that do not tick, and to make sure. Nothing is told to the network: see crm.claim_audience(). Returns how many hashes are wanted that were not, and how many no more. An audience whose segment has not been evaluated yet is left as it is. Errors: 22004 NULL instant, 22023 an infinite one, 42704 unknown audience, 55000 its segment has not been evaluated yet, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.renew_audience_customers(audiences int[], customers bigint[], at timestamptz, OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	ids CONSTANT bigint[] := crm.lock_audience_customers(renew_audience_customers.customers);
BEGIN
	PERFORM crm.lock_audiences(renew_audience_customers.audiences, false);
	SELECT r.added, r.removed INTO renew_audience_customers.added, renew_audience_customers.removed
	  FROM crm.renew_audiences(renew_audience_customers.audiences, ids, renew_audience_customers.at) AS r;
END
$function$;
COMMENT ON FUNCTION crm.renew_audience_customers(int[], bigint[], timestamptz) IS
'as crm.renew_audiences(), of the people whose these ids are, under the locks that this takes. Error 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.sync_audience_customers(customers bigint[], at timestamptz DEFAULT crm.now(), OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
DECLARE
	audiences int[];
BEGIN
	IF sync_audience_customers.customers IS NULL OR array_position(sync_audience_customers.customers, NULL) IS NOT NULL
		OR sync_audience_customers.at IS NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customers and instant must not be null';
	END IF;
	audiences := ARRAY(SELECT a.audience_id
						 FROM crm.audience AS a
						 LEFT JOIN crm.segment AS s USING (segment_id)
						WHERE a.stopped IS NULL AND (s.segment_id IS NULL OR s.evaluated_at IS NOT NULL));
	IF cardinality(audiences) = 0 OR cardinality(sync_audience_customers.customers) = 0 THEN
		added := 0;
		removed := 0;
		RETURN;
	END IF;
	SELECT r.added, r.removed INTO sync_audience_customers.added, sync_audience_customers.removed
	  FROM crm.renew_audience_customers(audiences, sync_audience_customers.customers, sync_audience_customers.at) AS r;
END
$function$;
COMMENT ON FUNCTION crm.sync_audience_customers(bigint[], timestamptz) IS
'as crm.sync_audience() for all audiences, but of some customers only, by index: those of whom something has changed. Of two who were merged, or are so no more, both are to be given. Several sessions may do it side by side. Errors: 22004 NULL, also among the customers, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.walk_audience(audience crm.audience, max int, at timestamptz, OUT looked_at bigint, OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET enable_bitmapscan = off						-- in the order of the keys, portion by portion
	SET enable_hashagg = off
AS $function$
DECLARE
	people CONSTANT bigint[] := ARRAY(
		(SELECT m.customer_id FROM crm.membership AS m
		  WHERE m.customer_id > audience.walked_to AND m.segments @> ARRAY[audience.segment_id]
		  ORDER BY 1 LIMIT walk_audience.max)
		 UNION
		(SELECT b.customer_id FROM crm.audience_member AS b
		  WHERE b.customer_id > audience.walked_to AND b.audience_id = audience.audience_id
		  ORDER BY 1 LIMIT walk_audience.max)
		 UNION
		(SELECT DISTINCT k.customer_id FROM crm.audience_link AS k
		  WHERE k.customer_id > audience.walked_to AND k.audience_id = audience.audience_id
		  ORDER BY 1 LIMIT walk_audience.max)
		 ORDER BY 1 LIMIT walk_audience.max);
BEGIN
	looked_at := cardinality(people);
	SELECT r.added, r.removed INTO walk_audience.added, walk_audience.removed
	  FROM crm.renew_audience_customers(ARRAY[audience.audience_id], people, walk_audience.at) AS r;
	UPDATE crm.audience AS a
	   SET walked_to = CASE WHEN looked_at = walk_audience.max THEN people[looked_at] END
	 WHERE a.audience_id = (walk_audience.audience).audience_id AND a.stopped IS NULL;
END
$function$;
COMMENT ON FUNCTION crm.walk_audience(crm.audience, int, timestamptz) IS
'looks at the next max of those who are in an audience or linked to it, in the order of their ids';

CREATE FUNCTION crm.advance_audiences(max int DEFAULT 1000, OUT done bigint, OUT more boolean, OUT next timestamptz)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
DECLARE
	now CONSTANT timestamptz := crm.now();
	told bigint[];
	customers bigint[];
	walking crm.audience;
	renewed record;
	walked record;
BEGIN
	done := 0;
	more := false;
	IF NOT EXISTS (SELECT FROM crm.listener_queue AS q WHERE q.listener = 'audience')
		AND NOT EXISTS (SELECT FROM crm.audience AS a WHERE a.walked_to IS NOT NULL)
		-- Whoever has it goes on
		OR NOT pg_try_advisory_xact_lock(hashtext('crm.advance_audiences'))
	THEN
		RETURN;
	END IF;
	SELECT coalesce(array_agg(q.seq), '{}'), coalesce(array_agg(DISTINCT q.customer_id) FILTER (WHERE q.customer_id IS NOT NULL), '{}')
	  INTO told, customers
	  FROM (SELECT o.seq, o.customer_id
			  FROM crm.listener_queue AS o
			 WHERE o.listener = 'audience'
			 ORDER BY o.seq LIMIT advance_audiences.max) AS q;
	-- Of everybody: a transaction of its own, which waits for nobody
	IF EXISTS (SELECT FROM crm.listener_queue AS q WHERE q.listener = 'audience' AND q.seq = ANY (told) AND q.customer_id IS NULL) THEN
		UPDATE crm.audience AS a SET walked_to = -9223372036854775808 WHERE a.stopped IS NULL;
		DELETE FROM crm.listener_queue AS q WHERE q.listener = 'audience' AND q.seq = ANY (told) AND q.customer_id IS NULL;
		done := 1;
		more := true;
		RETURN;
	END IF;
	SELECT s.added, s.removed INTO renewed FROM crm.sync_audience_customers(customers, now) AS s;
	DELETE FROM crm.listener_queue AS q WHERE q.listener = 'audience' AND q.seq = ANY (told);
	done := cardinality(told);
	more := done >= advance_audiences.max;

	IF NOT more THEN
		SELECT a.* INTO walking
		  FROM crm.audience AS a
		  LEFT JOIN crm.segment AS s USING (segment_id)
		 WHERE a.walked_to IS NOT NULL AND a.stopped IS NULL AND (s.segment_id IS NULL OR s.evaluated_at IS NOT NULL)
		 ORDER BY a.audience_id LIMIT 1;
		IF FOUND THEN
			SELECT w.* INTO walked FROM crm.walk_audience(walking, advance_audiences.max, now) AS w;
			done := done + 1 + walked.looked_at;
			more := true;
			renewed.added := renewed.added + walked.added;
			renewed.removed := renewed.removed + walked.removed;
		END IF;
	END IF;
	IF renewed.added + renewed.removed > 0 THEN
		PERFORM pg_notify('crm_outbox', '');
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.advance_audiences(int) IS
'what follows a tick: brings the ledgers of all audiences up to what has changed of those of whom the tick has told, and of a new audience, or when nobody knows of whom something has changed, up to everybody in it; max at a time, in the calling transaction. One session does it at a time, and the others leave it to that one. Returns how much was done, whether there is more, and NULL: time alone changes nothing that a tick does not tell of. crm.run_ticks() and the worker call it';
INSERT INTO crm.follower VALUES ('advance_audiences');

CREATE FUNCTION crm.leave_audiences(ids bigint[], kinds text[], addresses text[]) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	audiences int[];
	hashes bytea[];
	result bigint;
BEGIN
	PERFORM crm.lock_audience_customers(leave_audiences.ids);
	PERFORM crm.lock_audiences(ARRAY(SELECT a.audience_id FROM crm.audience AS a), false);
	WITH gone AS (
		DELETE FROM crm.audience_link AS k WHERE k.customer_id = ANY (leave_audiences.ids) RETURNING k.audience_id, k.hash
	), known AS (
		SELECT g.audience_id, g.hash FROM gone AS g
		 UNION
		SELECT a.audience_id, crm.audience_hash(a.hash_form, n.kind, n.address)
		  FROM unnest(leave_audiences.kinds, leave_audiences.addresses) AS n(kind, address)
		  JOIN crm.channel AS h USING (kind)
		  JOIN crm.audience AS a USING (channel)
	)
	SELECT coalesce(array_agg(k.audience_id), '{}'), coalesce(array_agg(k.hash), '{}'), (SELECT count(*) FROM gone)
	  INTO audiences, hashes, result
	  FROM known AS k;
	PERFORM crm.settle_audiences(audiences, hashes, crm.now());
	DELETE FROM crm.audience_ledger AS l
	 USING unnest(audiences, hashes) AS t(audience_id, hash)
	 WHERE l.audience_id = t.audience_id AND l.hash = t.hash AND l.state = 'removed';
	UPDATE crm.audience_ledger AS l
	   SET forget = true, error = NULL
	  FROM unnest(audiences, hashes) AS t(audience_id, hash)
	 WHERE l.audience_id = t.audience_id AND l.hash = t.hash;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.leave_audiences(bigint[], text[], text[]) IS
'takes somebody out of all audiences who is being erased, by all his ids, and what he is known by: his hashes stay in the ledger without him until the network has removed them, and not longer. Returns how many links of his there were. For crm.erase_customer()';

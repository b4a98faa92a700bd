-- Ad audiences: whom an ad network may show ads to, as a list of hashes that is kept true there.
--
-- Networks take hashes of addresses, and give none back. So the ledger keeps each hash that was uploaded, by itself: it can
-- be removed when the customer has another address, is somebody else now, or is known no more. What is wanted stands beside
-- it, person by person, in crm.audience_link: a hash stays as long as anybody is linked to it. An entry of the ledger is
-- where these two differ, until a worker has claimed it, told the network, and said so.
--
-- An answer of the network may be lost. So an entry also has what is known of the network: a hash that may be there is
-- removed as one that is.

CREATE SEQUENCE crm.audience_id_seq AS int;
COMMENT ON SEQUENCE crm.audience_id_seq IS 'ids of audiences; an id is never used again';

CREATE TABLE crm.audience (
	audience	text NOT NULL PRIMARY KEY,
	audience_id	int NOT NULL DEFAULT pg_catalog.nextval('crm.audience_id_seq') UNIQUE,
	channel		text NOT NULL,
	segment_id	int,
	purpose		text NOT NULL,
	hash_form	text NOT NULL CHECK (hash_form IN ('sha256', 'sha256_digits')),
	created_at	timestamptz NOT NULL,
	stopped		timestamptz
);
COMMENT ON TABLE crm.audience IS 'ad audiences: lists of people at ad networks; crm.audience_size shows how each stands';
COMMENT ON COLUMN crm.audience.audience IS 'its name';
COMMENT ON COLUMN crm.audience.audience_id IS 'what its entries name it by';
COMMENT ON COLUMN crm.audience.channel IS 'the channel of crm.channel, such as ad:google, whose kind of address is uploaded, and for which people have agreed';
COMMENT ON COLUMN crm.audience.segment_id IS 'the segment whose members are in it; NULL: those whom crm.add_to_audience() has put in';
COMMENT ON COLUMN crm.audience.purpose IS 'for which purpose people must have agreed on the channel';
COMMENT ON COLUMN crm.audience.hash_form IS 'how addresses are hashed, see crm.audience_hash()';
COMMENT ON COLUMN crm.audience.created_at IS 'when it was made';
COMMENT ON COLUMN crm.audience.stopped IS 'when it was dropped: nobody is wanted in it any more, and it goes with the last hash';

CREATE TABLE crm.audience_member (
	customer_id	bigint NOT NULL,
	audience_id	int NOT NULL,
	PRIMARY KEY (customer_id, audience_id)
);
CREATE INDEX audience_member_audience_id_idx ON crm.audience_member (audience_id);
COMMENT ON TABLE crm.audience_member IS 'who was put into which audience by hand or by a campaign, by the id that was given';
COMMENT ON COLUMN crm.audience_member.customer_id IS 'who; of a merged one, the id by which he was put in';
COMMENT ON COLUMN crm.audience_member.audience_id IS 'into which audience';
COMMENT ON INDEX crm.audience_member_audience_id_idx IS 'all of an audience';

CREATE TABLE crm.audience_link (
	customer_id	bigint NOT NULL,
	audience_id	int NOT NULL,
	hash		bytea NOT NULL,
	PRIMARY KEY (customer_id, audience_id, hash)
);
CREATE INDEX audience_link_hash_idx ON crm.audience_link (audience_id, hash);
COMMENT ON TABLE crm.audience_link IS 'for whose sake a hash is wanted in an audience; kept by crm.sync_audience(). A hash of several people has a row for each';
COMMENT ON COLUMN crm.audience_link.customer_id IS 'whose address it is; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.audience_link.audience_id IS 'in which audience';
COMMENT ON COLUMN crm.audience_link.hash IS 'the hash of the address, as by crm.audience_hash()';
COMMENT ON INDEX crm.audience_link_hash_idx IS 'whether anybody wants a hash';

CREATE SEQUENCE crm.audience_entry_id_seq;
COMMENT ON SEQUENCE crm.audience_entry_id_seq IS 'ids of entries of crm.audience_ledger';

CREATE SEQUENCE crm.audience_token_seq;
COMMENT ON SEQUENCE crm.audience_token_seq IS 'tokens of claims of crm.audience_ledger';

CREATE TABLE crm.audience_ledger (
	audience_id	int NOT NULL,
	hash		bytea NOT NULL,
	entry_id	bigint NOT NULL DEFAULT pg_catalog.nextval('crm.audience_entry_id_seq') UNIQUE,
	state		text NOT NULL CHECK (state IN ('add', 'adding', 'present', 'remove', 'removing', 'removed', 'refused')),
	uploaded	text NOT NULL DEFAULT 'no' CHECK (uploaded IN ('no', 'perhaps', 'yes')),
	since		timestamptz NOT NULL,
	next_at		timestamptz,
	attempts	int NOT NULL DEFAULT 0,
	token		bigint,
	error		text,
	forget		boolean NOT NULL DEFAULT false,
	added_at	timestamptz,
	removed_at	timestamptz,
	PRIMARY KEY (audience_id, hash)
);
CREATE INDEX audience_ledger_add_idx ON crm.audience_ledger (audience_id, next_at, entry_id) WHERE state IN ('add', 'adding');
CREATE INDEX audience_ledger_remove_idx ON crm.audience_ledger (audience_id, next_at, entry_id) WHERE state IN ('remove', 'removing');
CREATE INDEX audience_ledger_refused_idx ON crm.audience_ledger (audience_id) WHERE state = 'refused';
COMMENT ON TABLE crm.audience_ledger IS
'what was uploaded to ad networks and is to be, a row for each hash in an audience. It tells of no customer, so that a hash can be removed when he is known no more';
COMMENT ON COLUMN crm.audience_ledger.audience_id IS 'in which audience';
COMMENT ON COLUMN crm.audience_ledger.hash IS 'the hash, as it is uploaded';
COMMENT ON COLUMN crm.audience_ledger.entry_id IS 'number of the entry, by which it is claimed and acknowledged';
COMMENT ON COLUMN crm.audience_ledger.state IS
'add: to be uploaded; adding: a worker is at it; present: is there; remove: to be removed; removing: a worker is at it; removed: is there no more, kept for the record; refused: was not taken after ten attempts';
COMMENT ON COLUMN crm.audience_ledger.uploaded IS
'whether the network has it: no, yes, as it was last acknowledged; perhaps: a claim ended without answer';
COMMENT ON COLUMN crm.audience_ledger.since IS 'since when it is to be uploaded or removed, is there, or is not';
COMMENT ON COLUMN crm.audience_ledger.next_at IS 'not to be claimed before this instant; of a claimed entry, when it may be claimed again. NULL: not to be claimed';
COMMENT ON COLUMN crm.audience_ledger.attempts IS 'how often it was claimed to be uploaded, or to be removed, since that is to be done';
COMMENT ON COLUMN crm.audience_ledger.token IS 'the claim that it was last given out by';
COMMENT ON COLUMN crm.audience_ledger.error IS 'what the network has last said against it';
COMMENT ON COLUMN crm.audience_ledger.forget IS 'somebody whose hash it is was erased: it goes as soon as it is removed, and is not kept for the record';
COMMENT ON COLUMN crm.audience_ledger.added_at IS 'when it was last acknowledged as uploaded';
COMMENT ON COLUMN crm.audience_ledger.removed_at IS 'when it was last acknowledged as removed';
COMMENT ON INDEX crm.audience_ledger_add_idx IS 'what is to be uploaded next';
COMMENT ON INDEX crm.audience_ledger_remove_idx IS 'what is to be removed next';
COMMENT ON INDEX crm.audience_ledger_refused_idx IS 'what was not taken';

-- No rows of our own are in them, so all of it is dumped. A claim that was running ends with its lease.
SELECT pg_catalog.pg_extension_config_dump('crm.audience_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience_member', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience_link', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience_entry_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience_token_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.audience_ledger', '');

------------------------------------------------------------------------------------------------------------------
-- Names, hashes, locks
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.audience_hash(hash_form text, kind text, address text) RETURNS bytea
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN sha256(convert_to(CASE WHEN hash_form = 'sha256_digits' AND kind = 'phone' THEN ltrim(address, '+') ELSE address END, 'UTF8'));
COMMENT ON FUNCTION crm.audience_hash(text, text, text) IS
'the hash of an address as ad networks take it, SHA-256 of its normal form: an e-mail address in small letters, a phone number as E.164 gives it. hash_form sha256 leaves the + before a phone number (Google), sha256_digits does not (Meta, Yandex); of e-mail addresses they are the same. NULL gives NULL';

CREATE FUNCTION crm.audience_id(audience text) RETURNS int
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int;
	near text;
BEGIN
	IF audience_id.audience IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'audience must not be null';
	END IF;
	SELECT a.audience_id INTO result FROM crm.audience AS a WHERE a.audience = audience_id.audience;
	IF NOT FOUND THEN
		near := crm.nearest_name(audience_id.audience, ARRAY(SELECT a.audience FROM crm.audience AS a ORDER BY a.audience));
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('audience "%s" does not exist', audience_id.audience),
			HINT = CASE WHEN near IS NULL THEN 'The view crm.audience_size lists all audiences.'
						ELSE format('Perhaps you meant "%s".', near) END;
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.audience_id(text) IS 'id of the audience with this name. Errors: 22004 NULL, 42704 there is none, with the nearest name as hint';

-- What others have stored while one waited for them must be seen afterwards
CREATE FUNCTION crm.forbid_old_snapshot() RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF current_setting('transaction_isolation') IN ('repeatable read', 'serializable') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'active_sql_transaction',
			MESSAGE = 'ad audiences cannot be changed in a repeatable read or serializable transaction',
			HINT = 'Use the isolation level READ COMMITTED.';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.forbid_old_snapshot() IS
'that each statement of the transaction sees what others have committed before it. Error 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.lock_audiences(audiences int[], alone boolean) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id int;
BEGIN
	PERFORM crm.forbid_old_snapshot();
	FOR id IN SELECT DISTINCT a FROM unnest(lock_audiences.audiences) AS a ORDER BY a LOOP
		IF alone THEN
			PERFORM pg_advisory_xact_lock(hashtext('crm.audience'), id);
		ELSE
			PERFORM pg_advisory_xact_lock_shared(hashtext('crm.audience'), id);
		END IF;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.lock_audiences(int[], boolean) IS
'until the transaction ends, lets only this one say who is wanted in the audiences (alone), or only those that each see to customers of their own. Error 25001 in a repeatable read or serializable transaction';

-- Who is seen to may have been merged while one waited
CREATE FUNCTION crm.lock_audience_customers(customers bigint[]) RETURNS bigint[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	ids bigint[];
	locked bigint[] := '{}';
BEGIN
	LOOP
		ids := ARRAY(SELECT p.id
					   FROM crm.ids_of_customers(ARRAY(SELECT DISTINCT coalesce(a.customer_id, c)
														 FROM unnest(lock_audience_customers.customers) AS c
														 LEFT JOIN crm.alias AS a ON a.alias = c)) AS p);
		EXIT WHEN ids <@ locked;
		PERFORM pg_advisory_xact_lock(hashtext('crm.audience_link'), b.bucket)
		   FROM (SELECT DISTINCT hashint8(i) & 255 AS bucket FROM unnest(ids) AS i ORDER BY 1) AS b;
		locked := ids;
	END LOOP;
	RETURN ids;
END
$function$;
COMMENT ON FUNCTION crm.lock_audience_customers(bigint[]) IS
'keeps others from seeing to the same people in audiences until the transaction ends; returns all ids that they have. To be called before crm.lock_audiences()';

------------------------------------------------------------------------------------------------------------------
-- Who is wanted
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.audience_people(audiences int[], customers bigint[]) RETURNS TABLE (audience_id int, customer_id bigint)
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	ROWS 1000
	SET search_path = pg_catalog, pg_temp
	SET enable_nestloop = on						-- a few are found by index
AS $function$
BEGIN
	IF audience_people.customers IS NULL THEN
		RETURN QUERY
		SELECT DISTINCT a.audience_id, coalesce(l.customer_id, m.customer_id)
		  FROM crm.audience AS a
		 CROSS JOIN LATERAL (SELECT s.customer_id FROM crm.membership AS s WHERE s.segments @> ARRAY[a.segment_id]
							  UNION ALL
							 SELECT b.customer_id FROM crm.audience_member AS b
							  WHERE b.audience_id = a.audience_id AND a.segment_id IS NULL) AS m
		  LEFT JOIN crm.alias AS l ON l.alias = m.customer_id
		 WHERE a.audience_id = ANY (audience_people.audiences) AND a.stopped IS NULL;
	ELSE
		RETURN QUERY
		SELECT a.audience_id, p.customer_id
		  FROM crm.ids_of_customers(audience_people.customers) AS p
		  JOIN crm.membership AS s ON s.customer_id = p.id
		  JOIN crm.audience AS a ON a.segment_id = ANY (s.segments)
		 WHERE a.audience_id = ANY (audience_people.audiences) AND a.stopped IS NULL
		 UNION
		SELECT a.audience_id, p.customer_id
		  FROM crm.ids_of_customers(audience_people.customers) AS p
		  JOIN crm.audience_member AS b ON b.customer_id = p.id
		  JOIN crm.audience AS a ON a.audience_id = b.audience_id
		 WHERE a.audience_id = ANY (audience_people.audiences) AND a.stopped IS NULL AND a.segment_id IS NULL;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.audience_people(int[], bigint[]) IS
'who is in audiences that were not dropped: those stored in the segment, or put in. Of all customers (NULL), or of these, who are none that were merged';

CREATE FUNCTION crm.audience_wanted(audiences int[], customers bigint[] DEFAULT NULL)
	RETURNS TABLE (audience_id int, customer_id bigint, hash bytea)
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	ROWS 1000
	SET search_path = pg_catalog, pg_temp
	SET enable_nestloop = off						-- nobody can tell beforehand how many addresses there are
AS $function$
DECLARE
	people bigint[];
BEGIN
	IF audience_wanted.customers IS NOT NULL THEN
		people := ARRAY(SELECT DISTINCT coalesce(l.customer_id, c)
						  FROM unnest(audience_wanted.customers) AS c
						  LEFT JOIN crm.alias AS l ON l.alias = c);
	END IF;
	RETURN QUERY
	SELECT a.audience_id, r.id, crm.audience_hash(a.hash_form, h.kind, r.address)
	  FROM crm.audience_people(audience_wanted.audiences, people) AS m
	  JOIN crm.audience AS a ON a.audience_id = m.audience_id
	  JOIN crm.channel AS h ON h.channel = a.channel
	  JOIN crm.contact_rows(people) AS r ON r.customer_id = m.customer_id AND r.channel = a.channel
	 WHERE a.purpose = ANY (r.purposes) AND NOT r.suppressed;
END
$function$;
COMMENT ON FUNCTION crm.audience_wanted(int[], bigint[]) IS
'what is to be in audiences: each address of a member that may be used on the audience''s channel for its purpose and is not suppressed, by the id with which the address came, as a hash. Of all customers (NULL), or of the people whose these ids are';

-- From what is wanted and what is known of the network follows what is to be done. Entries that a worker has claimed stay
-- with him: his answer comes here again.
CREATE FUNCTION crm.settle_audiences(audiences int[], hashes bytea[], at timestamptz, OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	held bigint[];
	n bigint;
BEGIN
	-- First the entries are held, by a statement of its own: the next ones see what those have stored whom it waited for
	EXECUTE CASE WHEN settle_audiences.hashes IS NULL THEN $query$
		WITH odd AS MATERIALIZED (
			SELECT l.entry_id
			  FROM crm.audience_ledger AS l
			 WHERE l.audience_id = ANY ($1) AND l.state IN ('add', 'adding', 'present', 'refused')
			   AND NOT EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash)
			 UNION ALL
			SELECT l.entry_id
			  FROM crm.audience_ledger AS l
			 WHERE l.audience_id = ANY ($1) AND l.state IN ('remove', 'removing', 'removed')
			   AND EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash)
		), held AS (
			SELECT l.entry_id FROM crm.audience_ledger AS l JOIN odd AS o USING (entry_id) ORDER BY l.entry_id FOR UPDATE OF l
		)
		SELECT coalesce(array_agg(h.entry_id), '{}') FROM held AS h$query$
	ELSE $query$
		WITH held AS (
			SELECT l.entry_id
			  FROM crm.audience_ledger AS l
			  JOIN unnest($1, $2) AS t(audience_id, hash) ON l.audience_id = t.audience_id AND l.hash = t.hash
			 ORDER BY l.entry_id
			   FOR UPDATE OF l
		)
		SELECT coalesce(array_agg(h.entry_id), '{}') FROM held AS h$query$ END
	   INTO held
	  USING settle_audiences.audiences, settle_audiences.hashes;

	UPDATE crm.audience_ledger AS l
	   SET state = CASE l.uploaded WHEN 'yes' THEN 'present' ELSE 'add' END, since = settle_audiences.at, attempts = 0, error = NULL,
		   next_at = CASE WHEN l.uploaded <> 'yes' THEN settle_audiences.at END
	 WHERE l.entry_id = ANY (held) AND l.state IN ('remove', 'removed')
	   AND EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);
	GET DIAGNOSTICS added = ROW_COUNT;

	UPDATE crm.audience_ledger AS l
	   SET state = 'remove', since = settle_audiences.at, attempts = 0, error = NULL, next_at = settle_audiences.at
	 WHERE l.entry_id = ANY (held) AND l.state IN ('add', 'present', 'refused') AND l.uploaded <> 'no'
	   AND NOT EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);
	GET DIAGNOSTICS removed = ROW_COUNT;

	-- What was never uploaded need not be removed
	UPDATE crm.audience_ledger AS l
	   SET state = 'removed', since = settle_audiences.at, attempts = 0, error = NULL, next_at = NULL
	 WHERE l.entry_id = ANY (held) AND l.state IN ('add', 'refused') AND l.uploaded = 'no' AND l.removed_at IS NOT NULL AND NOT l.forget
	   AND NOT EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := removed + n;
	DELETE FROM crm.audience_ledger AS l
	 WHERE l.entry_id = ANY (held) AND l.state IN ('add', 'refused') AND l.uploaded = 'no'
	   AND NOT EXISTS (SELECT FROM crm.audience_link AS k WHERE k.audience_id = l.audience_id AND k.hash = l.hash);
	GET DIAGNOSTICS n = ROW_COUNT;
	removed := removed + n;

	EXECUTE format($query$
		INSERT INTO crm.audience_ledger AS l (audience_id, hash, state, since, next_at)
		SELECT DISTINCT k.audience_id, k.hash, 'add', $3, $3
		  FROM %s
		 WHERE NOT EXISTS (SELECT FROM crm.audience_ledger AS e WHERE e.audience_id = k.audience_id AND e.hash = k.hash)
		 ORDER BY k.audience_id, k.hash
		ON CONFLICT ON CONSTRAINT audience_ledger_pkey DO NOTHING$query$,
		CASE WHEN settle_audiences.hashes IS NULL
			 THEN '(SELECT o.audience_id, o.hash FROM crm.audience_link AS o WHERE o.audience_id = ANY ($1)) AS k'
			 ELSE 'unnest($1, $2) AS t(audience_id, hash)
				   JOIN crm.audience_link AS k ON k.audience_id = t.audience_id AND k.hash = t.hash' END)
	  USING settle_audiences.audiences, settle_audiences.hashes, settle_audiences.at;
	GET DIAGNOSTICS n = ROW_COUNT;
	added := added + n;
END
$function$;
COMMENT ON FUNCTION crm.settle_audiences(int[], bytea[], timestamptz) IS
'brings entries of the ledger into line with crm.audience_link: those of some hashes, each with its audience, or (hashes NULL) all of the audiences. Returns how many hashes are wanted that were not, and how many no more';

CREATE FUNCTION crm.renew_audiences(audiences int[], customers bigint[], at timestamptz, OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	moved_audiences int[];
	moved_hashes bytea[];
BEGIN
	-- Planned each time: what is best for all customers is not for a few
	EXECUTE format($query$
		WITH wanted AS MATERIALIZED (
			SELECT w.audience_id, w.customer_id, w.hash FROM crm.audience_wanted($1, $2) AS w
		), gone AS (
			DELETE FROM crm.audience_link AS k
			 WHERE k.audience_id = ANY ($1) %s
			RETURNING k.audience_id, k.hash
		), come AS (
			INSERT INTO crm.audience_link AS k (customer_id, audience_id, hash)
			SELECT w.customer_id, w.audience_id, w.hash
			  FROM wanted AS w
			 WHERE NOT EXISTS (SELECT FROM crm.audience_link AS o
								WHERE o.customer_id = w.customer_id AND o.audience_id = w.audience_id AND o.hash = w.hash)
			RETURNING k.audience_id, k.hash
		)
		SELECT %s FROM (TABLE gone UNION TABLE come) AS m$query$,
		CASE WHEN renew_audiences.customers IS NULL
			 THEN 'AND NOT EXISTS (SELECT FROM wanted AS w
									WHERE w.customer_id = k.customer_id AND w.audience_id = k.audience_id AND w.hash = k.hash)'
			 ELSE 'AND k.customer_id = ANY ($2)
				   AND (k.customer_id, k.audience_id, k.hash) NOT IN (SELECT w.customer_id, w.audience_id, w.hash FROM wanted AS w)' END,
		CASE WHEN renew_audiences.customers IS NULL THEN 'NULL::int[], NULL::bytea[]'
			 ELSE 'coalesce(array_agg(m.audience_id), ''{}''), coalesce(array_agg(m.hash), ''{}'')' END)
	   INTO moved_audiences, moved_hashes
	  USING renew_audiences.audiences, renew_audiences.customers;
	IF cardinality(moved_audiences) = 0 THEN
		added := 0;
		removed := 0;
	ELSE
		SELECT s.added, s.removed INTO renew_audiences.added, renew_audiences.removed
		  FROM crm.settle_audiences(coalesce(moved_audiences, renew_audiences.audiences), moved_hashes, renew_audiences.at) AS s;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.renew_audiences(int[], bigint[], timestamptz) IS
'stores who is wanted in audiences now, and what is to be done for it: of all customers (NULL), or of those ids, which must be all of the people whose they are. It takes no lock on the audiences. Returns what crm.settle_audiences() does';

CREATE FUNCTION crm.finish_audience(audience_id int) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF NOT EXISTS (SELECT FROM crm.audience AS a WHERE a.audience_id = finish_audience.audience_id AND a.stopped IS NOT NULL)
		OR EXISTS (SELECT FROM crm.audience_ledger AS l WHERE l.audience_id = finish_audience.audience_id AND l.state <> 'removed')
	THEN
		RETURN false;
	END IF;
	DELETE FROM crm.audience_ledger AS l WHERE l.audience_id = finish_audience.audience_id;
	DELETE FROM crm.audience AS a WHERE a.audience_id = finish_audience.audience_id;
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.finish_audience(int) IS 'removes an audience that was dropped, if the network has nothing of it any more; whether it did';

------------------------------------------------------------------------------------------------------------------
-- Making and dropping, putting in and taking out
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.create_audience(audience text, channel text, segment text DEFAULT NULL, purpose text DEFAULT 'marketing',
									hash_form text DEFAULT 'sha256') RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kind CONSTANT text := crm.channel_kind(create_audience.channel);
	result int;
BEGIN
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
	IF create_audience.purpose !~ '^[a-z][a-z0-9_]*$' OR length(create_audience.purpose) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid purpose "%s"', create_audience.purpose),
			DETAIL = 'Its name is of small letters, digits and underscores.';
	END IF;
	IF create_audience.hash_form NOT IN ('sha256', 'sha256_digits') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized form of hashes "%s"', create_audience.hash_form),
			HINT = 'Forms are: sha256, and sha256_digits for phone numbers without +.';
	END IF;
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
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.create_audience(text, text, text, text, text) IS
'makes an ad audience and returns its id. channel is one of crm.define_channel() for the network, such as ad:google, of kind email or phone: those addresses of people are uploaded that may be used on it for the purpose. The address is what crm.set_contact() has stored for this channel, else the one of the customers'' feed. segment: its members are in it; NULL: those whom crm.add_to_audience() puts in. hash_form: see crm.audience_hash(). crm.sync_audience() fills it, crm.claim_audience() gives out what is to be told to the network. Errors: 22004 NULL, 42602 an invalid name, 42704 unknown channel or segment, 22023 a channel of another kind, an invalid purpose or form, 42710 there is one already';

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
		RETURN 0;
	END IF;
	UPDATE crm.audience AS a SET stopped = crm.now() WHERE a.audience_id = id AND a.stopped IS NULL;
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
'puts customers into an audience that has no segment; returns how many of them were not in it. Whether they have agreed and have an address is looked at by crm.sync_audience(), now and later; those who were erased are passed over. Errors: 22004 NULL, also among the customers, 42704 unknown audience, 42809 one of a segment, 55000 one that was dropped';

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
'takes customers out of an audience that has no segment, by whichever of their ids they were put in; returns how many of them were in it. Their hashes are removed by crm.sync_audience(). Errors: those of crm.add_to_audience()';

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
	SELECT r.added, r.removed INTO sync_audience.added, sync_audience.removed
	  FROM crm.renew_audiences(audiences, NULL, sync_audience.at) AS r;
	FOREACH id IN ARRAY audiences LOOP
		PERFORM crm.finish_audience(id);
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.sync_audience(text, timestamptz) IS
'brings the ledger of an audience, or (NULL) of all, up to who is in it and may be: what is wanted and not there is to be uploaded, what is there and not wanted is to be removed, in one pass over contacts and consents. Nothing is told to the network: see crm.claim_audience(). Returns how many hashes are wanted that were not, and how many no more. An audience whose segment has not been evaluated yet is left as it is. Errors: 22004 NULL instant, 22023 an infinite one, 42704 unknown audience, 55000 its segment has not been evaluated yet, 25001 in a repeatable read or serializable transaction';

CREATE FUNCTION crm.sync_audience_customers(customers bigint[], at timestamptz DEFAULT crm.now(), OUT added bigint, OUT removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
AS $function$
DECLARE
	audiences int[];
	ids bigint[];
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
	ids := crm.lock_audience_customers(sync_audience_customers.customers);
	PERFORM crm.lock_audiences(audiences, false);
	SELECT r.added, r.removed INTO sync_audience_customers.added, sync_audience_customers.removed
	  FROM crm.renew_audiences(audiences, ids, sync_audience_customers.at) AS r;
END
$function$;
COMMENT ON FUNCTION crm.sync_audience_customers(bigint[], timestamptz) IS
'as crm.sync_audience() for all audiences, but of some customers only, by index: those of whom something has changed. Of two who were merged, or are so no more, both are to be given. Several sessions may do it side by side. Errors: 22004 NULL, also among the customers, 25001 in a repeatable read or serializable transaction';

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

------------------------------------------------------------------------------------------------------------------
-- Telling the network
------------------------------------------------------------------------------------------------------------------

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
	id int;
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
	FOR id IN
		SELECT a.audience_id FROM crm.audience AS a
		 WHERE a.stopped IS NOT NULL
	LOOP
		PERFORM crm.finish_audience(id);
	END LOOP;
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
	id int;
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
	FOR id IN
		SELECT a.audience_id FROM crm.audience AS a
		 WHERE a.stopped IS NOT NULL
	LOOP
		PERFORM crm.finish_audience(id);
	END LOOP;
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

CREATE FUNCTION crm.audiences_naming(segment int) RETURNS SETOF text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format('audience "%s"', a.audience) FROM crm.audience AS a WHERE a.segment_id = audiences_naming.segment AND a.stopped IS NULL
$function$;
COMMENT ON FUNCTION crm.audiences_naming(int) IS 'audiences of a segment that were not dropped, each such as: audience "Perm". For crm.drop_segment()';
INSERT INTO crm.segment_reference VALUES ('audiences_naming');

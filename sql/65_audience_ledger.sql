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
	stopped		timestamptz,
	walked_to	bigint DEFAULT -9223372036854775808
);
COMMENT ON TABLE crm.audience IS 'ad audiences: lists of people at ad networks; crm.audience_size shows how each stands';
COMMENT ON COLUMN crm.audience.audience IS 'its name';
COMMENT ON COLUMN crm.audience.audience_id IS 'what its entries name it by';
COMMENT ON COLUMN crm.audience.channel IS 'the channel of crm.channel, such as ad:google, whose kind of address is uploaded, and for which people have agreed';
COMMENT ON COLUMN crm.audience.segment_id IS 'the segment whose members are in it; NULL: those whom crm.add_to_audience() has put in';
COMMENT ON COLUMN crm.audience.purpose IS 'for which purpose people must have agreed on the channel';
COMMENT ON COLUMN crm.audience.hash_form IS 'how addresses are hashed, see crm.audience_hash()';
COMMENT ON COLUMN crm.audience.created_at IS 'when it was made';
COMMENT ON COLUMN crm.audience.walked_to IS
'crm.advance_audiences() is looking at everybody in it, portion by portion, and has come to this customer; NULL: it is done, and looks at those only of whom it is told';
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
COMMENT ON TABLE crm.audience_link IS 'for whose sake a hash is wanted in an audience; kept by crm.advance_audiences() and crm.sync_audience(). A hash of several people has a row for each';
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

CREATE FUNCTION crm.audiences_naming(segment int) RETURNS SETOF text
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	SELECT format('audience "%s"', a.audience) FROM crm.audience AS a WHERE a.segment_id = audiences_naming.segment AND a.stopped IS NULL
$function$;
COMMENT ON FUNCTION crm.audiences_naming(int) IS 'audiences of a segment that were not dropped, each such as: audience "Perm". For crm.drop_segment()';
INSERT INTO crm.segment_reference VALUES ('audiences_naming');

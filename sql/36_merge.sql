-- Merging: two customers who turn out to be one person, and taking that back.

CREATE SEQUENCE crm.merge_id_seq;
COMMENT ON SEQUENCE crm.merge_id_seq IS 'numbers of the entries in crm.merge_log';

CREATE TABLE crm.merge_log (
	merge_id	bigint NOT NULL DEFAULT pg_catalog.nextval('crm.merge_id_seq') PRIMARY KEY,
	alias		bigint NOT NULL,
	customer_id	bigint NOT NULL,
	merged		boolean NOT NULL,
	at			timestamptz NOT NULL,
	by_role		text NOT NULL DEFAULT SESSION_USER,
	reason		text
);
CREATE INDEX merge_log_at_idx ON crm.merge_log (at);
COMMENT ON TABLE crm.merge_log IS 'who was merged into whom, and when that was taken back; crm.alias has what is so now';
COMMENT ON COLUMN crm.merge_log.merge_id IS 'number of the entry';
COMMENT ON COLUMN crm.merge_log.alias IS 'the customer who was merged, or is himself again';
COMMENT ON COLUMN crm.merge_log.customer_id IS 'the customer who he became, or was until then';
COMMENT ON COLUMN crm.merge_log.merged IS 'true: merged; false: taken back';
COMMENT ON COLUMN crm.merge_log.at IS 'when';
COMMENT ON COLUMN crm.merge_log.by_role IS 'the session''s user';
COMMENT ON COLUMN crm.merge_log.reason IS 'why, in the caller''s words';
COMMENT ON INDEX crm.merge_log_at_idx IS 'what happened since an instant';

CREATE TABLE crm.cannot_link (
	customer_a	bigint NOT NULL,
	customer_b	bigint NOT NULL,
	reason		text,
	PRIMARY KEY (customer_a, customer_b),
	CONSTRAINT cannot_link_in_order CHECK (customer_a < customer_b)
);
CREATE INDEX cannot_link_customer_b_idx ON crm.cannot_link (customer_b);
COMMENT ON TABLE crm.cannot_link IS 'pairs of ids of whom somebody has said that they are two people';
COMMENT ON COLUMN crm.cannot_link.customer_a IS 'the lesser id';
COMMENT ON COLUMN crm.cannot_link.customer_b IS 'the greater id';
COMMENT ON COLUMN crm.cannot_link.reason IS 'why, in the caller''s words';
COMMENT ON INDEX crm.cannot_link_customer_b_idx IS 'the pairs of the greater id';

CREATE TABLE crm.shared_identity (
	namespace	text NOT NULL,
	value		text NOT NULL,
	reason		text,
	PRIMARY KEY (namespace, value)
);
COMMENT ON TABLE crm.shared_identity IS
'identities that are several people''s and tell nothing about who is who: the phone of a family, info@ of a firm';
COMMENT ON COLUMN crm.shared_identity.namespace IS 'as in crm.identity';
COMMENT ON COLUMN crm.shared_identity.value IS 'as in crm.identity';
COMMENT ON COLUMN crm.shared_identity.reason IS 'why, in the caller''s words';

SELECT pg_catalog.pg_extension_config_dump('crm.merge_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.merge_log', '');
SELECT pg_catalog.pg_extension_config_dump('crm.cannot_link', '');
SELECT pg_catalog.pg_extension_config_dump('crm.shared_identity', '');

CREATE FUNCTION crm.are_kept_apart(customer_a bigint, customer_b bigint) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN EXISTS (SELECT
				 FROM unnest(crm.ids_of(customer_a)) AS a
				CROSS JOIN unnest(crm.ids_of(customer_b)) AS b
				 JOIN crm.cannot_link AS l ON l.customer_a = least(a, b) AND l.customer_b = greatest(a, b));
COMMENT ON FUNCTION crm.are_kept_apart(bigint, bigint) IS
'whether crm.forbid_merge() was said of two customers, by any of their ids. NULL gives NULL';

CREATE FUNCTION crm.check_people(ids bigint[]) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_customer_check_people'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.check_people(bigint[]) IS
'that nobody has merged, unmerged or kept apart these customers since the snapshot of a repeatable read or serializable transaction; in any other there is nothing to check, as for NULL. Error 40001 otherwise';

-- The aliases of a customer are a tree. Who changes it has a lock on its root; who that is may change while one waits.
CREATE FUNCTION crm.lock_people(ids bigint[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	roots bigint[];
	locked bigint[] := '{}';
BEGIN
	LOOP
		roots := ARRAY(SELECT DISTINCT crm.resolve_customer(i) FROM unnest(ids) AS i WHERE i IS NOT NULL);
		EXIT WHEN roots <@ locked;
		PERFORM pg_advisory_xact_lock(hashtext('crm.alias'), b.bucket)
		   FROM (SELECT DISTINCT hashint8(r) & 1023 AS bucket FROM unnest(roots) AS r ORDER BY 1) AS b;
		locked := locked || roots;
	END LOOP;
	PERFORM crm.check_people(ids || locked);
END
$function$;
COMMENT ON FUNCTION crm.lock_people(bigint[]) IS
'keeps others from merging and unmerging the customers whose these ids are until the transaction ends; a few others share their locks, so that a transaction that merges very many needs no more than 1024 of them';

CREATE FUNCTION crm.merge_customers(into_id bigint, customer_id bigint, reason text DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	kept bigint;
	merged bigint;
	missing bigint;
	forbidden record;
BEGIN
	IF into_id IS NULL OR merge_customers.customer_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customers to be merged must not be null';
	END IF;
	PERFORM crm.lock_people(ARRAY[into_id, merge_customers.customer_id]);
	kept := crm.resolve_customer(into_id);
	merged := crm.resolve_customer(merge_customers.customer_id);
	IF kept = merged THEN
		RETURN kept;
	END IF;
	SELECT c INTO missing FROM unnest(ARRAY[kept, merged]) AS c WHERE crm.profile_of(c) IS NULL LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no customer %s', missing),
			DETAIL = 'The id is neither in the customers'' feed nor in crm.identity, and there is no event of it.';
	END IF;
	SELECT l.* INTO forbidden
	  FROM unnest(crm.ids_of(kept)) AS k
	 CROSS JOIN unnest(crm.ids_of(merged)) AS m
	  JOIN crm.cannot_link AS l ON l.customer_a = least(k, m) AND l.customer_b = greatest(k, m)
	 LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('customers %s and %s are two people', kept, merged),
			DETAIL = format('Somebody said so of %s and %s%s.', forbidden.customer_a, forbidden.customer_b,
							coalesce(': ' || forbidden.reason, '')),
			HINT = 'If that was wrong, call crm.allow_merge() first.';
	END IF;
	INSERT INTO crm.alias AS a (alias, into_id, customer_id, merged_at, joined_at)
	VALUES (merged, kept, kept, crm.now(), crm.now());
	UPDATE crm.alias AS a SET customer_id = kept, joined_at = greatest(a.joined_at, crm.now())
	 WHERE a.customer_id = merged;
	INSERT INTO crm.merge_log AS l (alias, customer_id, merged, at, reason)
	VALUES (merged, kept, true, crm.now(), merge_customers.reason);
	PERFORM crm.touch(ARRAY[kept, merged], 'customer.merge');
	RETURN kept;
END
$function$;
COMMENT ON FUNCTION crm.merge_customers(bigint, bigint, text) IS
'makes two customers one: all that is known of customer_id, now and later, is from now on read as of into_id. Nothing is rewritten: what came under an id stays under it, and crm.unmerge_customers() takes the merge back. Where both know an attribute, that of into_id goes first. Of consents the strictest counts, and an address is written to only if who had it has agreed. Ids that were merged already stand for the customer they became. Returns the id of the customer; merging somebody with himself does nothing. The segments of both follow by the next tick or refresh, reason merge. Errors: 22004 an id is NULL, 42704 there is no such customer, 55000 crm.forbid_merge() was called for the two, 40001 somebody else has merged them since the snapshot of a repeatable read or serializable transaction';

CREATE FUNCTION crm.unmerge_customers(alias bigint, reason text DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	was bigint;
BEGIN
	IF unmerge_customers.alias IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer to be unmerged must not be null';
	END IF;
	PERFORM crm.lock_people(ARRAY[unmerge_customers.alias]);
	DELETE FROM crm.alias AS a WHERE a.alias = unmerge_customers.alias RETURNING a.customer_id INTO was;
	IF NOT FOUND THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('customer %s was not merged into another one', unmerge_customers.alias),
			HINT = 'crm.alias has who was.';
	END IF;
	-- Those who had been merged into him before go with him
	WITH RECURSIVE own AS (
		SELECT a.alias, a.merged_at AS joined_at FROM crm.alias AS a WHERE a.into_id = unmerge_customers.alias
		UNION ALL
		SELECT a.alias, greatest(a.merged_at, o.joined_at) FROM crm.alias AS a JOIN own AS o ON a.into_id = o.alias
	)
	UPDATE crm.alias AS a
	   SET customer_id = unmerge_customers.alias, joined_at = o.joined_at
	  FROM own AS o
	 WHERE a.alias = o.alias;
	INSERT INTO crm.merge_log AS l (alias, customer_id, merged, at, reason)
	VALUES (unmerge_customers.alias, was, false, crm.now(), unmerge_customers.reason);
	PERFORM crm.touch(ARRAY[was, unmerge_customers.alias], 'customer.merge');
	RETURN was;
END
$function$;
COMMENT ON FUNCTION crm.unmerge_customers(bigint, text) IS
'takes back that a customer was merged into another one: he is himself again, with all that came under his id before and since, and with those who had been merged into him. Returns the customer whom he leaves. The segments of both follow by the next tick or refresh, reason merge. To keep the two apart for good, call crm.forbid_merge(). Errors: 22004 NULL, 42704 he was not merged';

CREATE FUNCTION crm.forbid_merge(customer_a bigint, customer_b bigint, reason text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF forbid_merge.customer_a IS NULL OR forbid_merge.customer_b IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customers must not be null';
	END IF;
	PERFORM crm.lock_people(ARRAY[forbid_merge.customer_a, forbid_merge.customer_b]);
	IF crm.resolve_customer(forbid_merge.customer_a) = crm.resolve_customer(forbid_merge.customer_b) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('customers %s and %s are one', forbid_merge.customer_a, forbid_merge.customer_b),
			HINT = 'If they were merged by mistake, call crm.unmerge_customers() first.';
	END IF;
	INSERT INTO crm.cannot_link AS l (customer_a, customer_b, reason)
	VALUES (least(forbid_merge.customer_a, forbid_merge.customer_b), greatest(forbid_merge.customer_a, forbid_merge.customer_b),
			forbid_merge.reason)
	ON CONFLICT ON CONSTRAINT cannot_link_pkey DO UPDATE SET reason = excluded.reason;
END
$function$;
COMMENT ON FUNCTION crm.forbid_merge(bigint, bigint, text) IS
'says that two customers are two people: crm.duplicates() does not propose them any more, and neither they nor others who were merged with them can be merged. Errors: 22004 NULL, 55000 they are one already';

CREATE FUNCTION crm.allow_merge(customer_a bigint, customer_b bigint) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM crm.cannot_link AS l
	 WHERE l.customer_a = least(allow_merge.customer_a, allow_merge.customer_b)
	   AND l.customer_b = greatest(allow_merge.customer_a, allow_merge.customer_b);
	RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION crm.allow_merge(bigint, bigint) IS
'takes crm.forbid_merge() back; false when nothing was forbidden, as for NULL';

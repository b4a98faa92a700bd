-- Identities: by what people are known, and who it is that calls, writes or looks.

CREATE TABLE crm.channel (
	channel	text NOT NULL PRIMARY KEY,
	kind	text NOT NULL,
	own		boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE crm.channel IS 'ways to reach somebody, and what kind of address each needs; crm.define_channel() adds more';
COMMENT ON COLUMN crm.channel.channel IS 'name of the channel';
COMMENT ON COLUMN crm.channel.kind IS
'kind of its addresses, which is a namespace of crm.identity and the column of the customers'' feed that has them';
COMMENT ON COLUMN crm.channel.own IS 'comes with the extension, and is not dumped';
INSERT INTO crm.channel (channel, kind, own) VALUES
	('email', 'email', true), ('sms', 'phone', true), ('call', 'phone', true), ('task', 'phone', true),
	('whatsapp', 'phone', true), ('viber', 'phone', true), ('telegram', 'telegram', true), ('push', 'push', true);

CREATE SEQUENCE crm.lead_id_seq AS bigint INCREMENT -1 MAXVALUE -1 START -1;
COMMENT ON SEQUENCE crm.lead_id_seq IS 'ids of people of whom the shop has no account: negative ones';

SELECT pg_catalog.pg_extension_config_dump('crm.channel', 'WHERE NOT own');
SELECT pg_catalog.pg_extension_config_dump('crm.lead_id_seq', '');

CREATE FUNCTION crm.define_channel(channel text, kind text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF define_channel.channel IS NULL OR define_channel.kind IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'channel and kind must not be null';
	END IF;
	IF define_channel.channel !~ '^[a-z][a-z0-9_]*(:[a-z0-9_]+)?$' OR length(define_channel.channel) > 63
		OR define_channel.kind !~ '^[a-z][a-z0-9_]*$' OR length(define_channel.kind) > 63 OR define_channel.kind = 'shop'
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid channel "%s" or kind "%s"', define_channel.channel, define_channel.kind),
			DETAIL = 'Names are of small letters, digits and underscores; a channel may have two parts, as in ad:network.',
			HINT = 'For example crm.define_channel(''ad:google'', ''email'').';
	END IF;
	IF EXISTS (SELECT FROM crm.channel AS c WHERE c.channel = define_channel.channel AND c.own) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('channel "%s" is the extension''s own', define_channel.channel);
	END IF;
	INSERT INTO crm.channel AS c (channel, kind) VALUES (define_channel.channel, define_channel.kind)
	ON CONFLICT ON CONSTRAINT channel_pkey DO UPDATE SET kind = excluded.kind;
	PERFORM crm.touch(NULL, 'customer.contact');
END
$function$;
COMMENT ON FUNCTION crm.define_channel(text, text) IS
'makes a channel known, or gives it another kind of address: email, phone, telegram, push, or any other name, which is then also a namespace of identities and a column of the customers'' feed. Errors: 22004 NULL, 22023 a name that is none, 42710 a channel of the extension''s own';

------------------------------------------------------------------------------------------------------------------
-- Who is it
------------------------------------------------------------------------------------------------------------------

-- The normal form of an identity that somebody gives. Whose country is not told is the shop's, which is looked up only for
-- phones that need it. 'shop' is for the feeds alone.
CREATE FUNCTION crm.identity_value(namespace text, value text, country text) RETURNS text
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.normal_form(identity_value.namespace, identity_value.value, identity_value.country);
BEGIN
	IF identity_value.namespace IS NULL OR identity_value.value IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'namespace and value of an identity must not be null';
	END IF;
	IF identity_value.namespace !~ '^[a-z][a-z0-9_]*$' OR length(identity_value.namespace) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid namespace "%s"', identity_value.namespace),
			DETAIL = 'Its name is of small letters, digits and underscores.';
	END IF;
	IF normal IS NOT NULL THEN
		IF octet_length(normal) > 1024 THEN
			RAISE EXCEPTION USING
				ERRCODE = 'program_limit_exceeded',
				MESSAGE = 'value of an identity is too long',
				DETAIL = format('It has %s bytes, and may have 1024.', octet_length(normal)),
				HINT = 'A hash of it serves as well.';
		END IF;
		RETURN normal;
	END IF;
	-- These two say what is wrong
	IF identity_value.namespace = 'phone' THEN
		RETURN crm.normalize_phone(identity_value.value, identity_value.country);
	ELSIF identity_value.namespace = 'email' THEN
		RETURN crm.normalize_email(identity_value.value);
	END IF;
	RAISE EXCEPTION USING
		ERRCODE = 'invalid_parameter_value',
		MESSAGE = CASE WHEN identity_value.value ~ '[^[:space:]]' THEN 'value of an identity has no form in UTF-8'
					   ELSE 'value of an identity must not be empty' END;
END
$function$;
COMMENT ON FUNCTION crm.identity_value(text, text, text) IS
'the normal form of an identity: phone and email as crm.normalize_phone() and crm.normalize_email() give it (country NULL: that of the shop), any other without blanks at its ends. Errors: theirs, 22004 NULL, 22023 an invalid namespace, a value that is empty or has no form in UTF-8, 54000 more than 1024 bytes';

CREATE FUNCTION crm.find_customers(namespace text, value text, country text DEFAULT NULL) RETURNS SETOF bigint
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	ROWS 1
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT f.customer_id
	  FROM (SELECT coalesce(a.customer_id, i.customer_id) AS customer_id, min(i.added_at) AS since
			  FROM crm.identity AS i
			  LEFT JOIN crm.alias AS a ON a.alias = i.customer_id
			 WHERE i.namespace = find_customers.namespace
			   AND i.value = coalesce(crm.normal_form(find_customers.namespace, find_customers.value, find_customers.country),
									  crm.normal_form(find_customers.namespace, find_customers.value, crm.country()))
			 GROUP BY 1) AS f
	 ORDER BY f.since, f.customer_id;
END;
COMMENT ON FUNCTION crm.find_customers(text, text, text) IS
'all customers who are known by an identity, the one who has had it longest first. A phone or an e-mail address is brought to its normal form (country NULL: that of crm.configure(''country'')), and a value that has none, as NULL, finds nobody';

CREATE FUNCTION crm.find_customer(namespace text, value text, country text DEFAULT NULL) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_customer_find'
	LANGUAGE C STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.find_customer(text, text, text) IS
'the customer who is known by an identity, as find_customer(''phone'', ''+7 999 123-45-67'') while it rings: one probe of an index. Where several share it, the one who has had it longest; crm.find_customers() gives all. NULL when there is nobody, for NULL, and for a value that is no phone or no e-mail address';

CREATE FUNCTION crm.lock_identity(namespace text, value text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT pg_advisory_xact_lock(hashtext('crm.identity'), hashtext(lock_identity.namespace || ':' || lock_identity.value) & 1023);
END;
COMMENT ON FUNCTION crm.lock_identity(text, text) IS
'keeps others from making somebody known by this identity until the transaction ends; a few others share its lock, so that an import of very many needs no more than 1024 of them';

CREATE FUNCTION crm.check_identity(namespace text, value text) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_customer_check_identity'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.check_identity(text, text) IS
'that nobody else has become known, or has ceased to be, by this identity since the snapshot of a repeatable read or serializable transaction; in any other there is nothing to check, as for NULL. Error 40001 otherwise';

-- One at a time, for those who are not known yet: whoever comes second finds what the first has made
CREATE FUNCTION crm.identify(namespace text, value text, country text DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(identify.namespace, identify.value, identify.country);
	result bigint := crm.find_customer(identify.namespace, normal);
BEGIN
	IF result IS NOT NULL THEN
		RETURN result;
	END IF;
	IF identify.namespace = 'shop' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('there is no customer with the key "%s"', normal),
			DETAIL = 'Identities of namespace "shop" are the keys of the customers'' feed, and come from there.',
			HINT = 'For a customer who was made just now, call crm.refresh_identities() first.';
	END IF;
	PERFORM crm.lock_identity(identify.namespace, normal);
	PERFORM crm.check_identity(identify.namespace, normal);
	result := crm.find_customer(identify.namespace, normal);
	IF result IS NULL THEN
		PERFORM crm.refuse_erased(NULL, identify.namespace, normal);
		result := nextval('crm.lead_id_seq');
		INSERT INTO crm.identity AS i (namespace, value, customer_id) VALUES (identify.namespace, normal, result);
		PERFORM crm.touch(ARRAY[result]);
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.identify(text, text, text) IS
'the customer who is known by an identity, as crm.find_customer(); somebody who is not known yet becomes one, with a negative id, as identify(''cookie'', ''f3a9'') for a visitor of the site, whose events crm.track() takes. When he signs in, crm.link_identity() makes his history the account''s. Errors: those of crm.identity_value(), 22023 an unknown key of the shop, 55000 it is an address of somebody who was erased';

CREATE FUNCTION crm.link_identity(customer_id bigint, namespace text, value text, country text DEFAULT NULL,
								  source text DEFAULT 'given') RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(link_identity.namespace, link_identity.value, link_identity.country);
	customer bigint := crm.resolve_customer(link_identity.customer_id);
	-- An address may be several people's. Anything else is one's.
	shareable CONSTANT boolean := EXISTS (SELECT FROM crm.channel AS c
										   WHERE c.kind = link_identity.namespace AND c.kind IN ('phone', 'email'));
	visitor bigint;
BEGIN
	IF customer IS NULL OR link_identity.source IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer and source must not be null';
	END IF;
	IF link_identity.namespace = 'shop' OR link_identity.source = 'feed' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'reserved_name',
			MESSAGE = 'namespace "shop" and source "feed" are reserved',
			DETAIL = 'They are what comes from the customers'' feed.';
	END IF;
	PERFORM crm.refuse_erased(customer, link_identity.namespace, normal);
	PERFORM crm.lock_identity(link_identity.namespace, normal);
	PERFORM crm.check_identity(link_identity.namespace, normal);
	-- While we waited he may have been merged
	customer := crm.resolve_customer(link_identity.customer_id);
	IF shareable AND EXISTS (SELECT FROM crm.shared_identity AS s
							  WHERE s.namespace = link_identity.namespace AND s.value = normal) THEN
		visitor := NULL;
	ELSE
		-- Somebody without account who has it: the account's owner, as now turns out
		SELECT f INTO visitor
		  FROM crm.find_customers(link_identity.namespace, normal) AS f
		 WHERE f < 0 AND f <> customer
		 ORDER BY f DESC
		 LIMIT 1;
	END IF;
	IF visitor IS NOT NULL THEN
		customer := crm.merge_customers(customer, visitor, format('linked by %s', link_identity.namespace));
	END IF;
	IF NOT shareable THEN
		-- A card or a browser has a new owner; what was done with it before stays where it was
		DELETE FROM crm.identity AS i
		 WHERE i.namespace = link_identity.namespace AND i.value = normal AND crm.resolve_customer(i.customer_id) <> customer;
	END IF;
	-- What the feed has brought is known without it from now on
	UPDATE crm.identity AS i
	   SET source = link_identity.source
	 WHERE i.namespace = link_identity.namespace AND i.value = normal AND i.source = 'feed'
	   AND crm.resolve_customer(i.customer_id) = customer;
	IF NOT EXISTS (SELECT FROM crm.identity AS i
					WHERE i.namespace = link_identity.namespace AND i.value = normal
					  AND crm.resolve_customer(i.customer_id) = customer) THEN
		INSERT INTO crm.identity AS i (namespace, value, customer_id, source)
		VALUES (link_identity.namespace, normal, link_identity.customer_id, link_identity.source);
		PERFORM crm.touch(ARRAY[link_identity.customer_id]);
	END IF;
	RETURN customer;
END
$function$;
COMMENT ON FUNCTION crm.link_identity(bigint, text, text, text, text) IS
'says that a customer is known by an identity. A visitor or another person without account who was known by it until now is the customer: he is merged into him (crm.unmerge_customers() takes that back), unless crm.share_identity() says that it is several people''s. Another account that has the same phone or e-mail address keeps it too; of any other namespace the identity passes to the customer. Returns the customer, who is another one if customer_id was merged. Errors: those of crm.identity_value() and crm.merge_customers(), 22004 NULL, 42939 namespace shop or source feed, 55000 the customer, or somebody who had the address, was erased';

CREATE FUNCTION crm.unlink_identity(customer_id bigint, namespace text, value text, country text DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(unlink_identity.namespace, unlink_identity.value, unlink_identity.country);
	found_any boolean;
BEGIN
	-- What the feed has as well is the feed's from now on
	WITH kept AS (
		UPDATE crm.identity AS i
		   SET source = 'feed'
		 WHERE i.customer_id = ANY (crm.ids_of(crm.resolve_customer(unlink_identity.customer_id)))
		   AND i.namespace = unlink_identity.namespace AND i.value = normal
		   AND i.namespace <> 'shop' AND i.source <> 'feed' AND i.raw IS NOT NULL
		RETURNING true
	), removed AS (
		DELETE FROM crm.identity AS i
		 WHERE i.customer_id = ANY (crm.ids_of(crm.resolve_customer(unlink_identity.customer_id)))
		   AND i.namespace = unlink_identity.namespace AND i.value = normal
		   AND i.namespace <> 'shop' AND i.source <> 'feed' AND i.raw IS NULL
		RETURNING true
	)
	SELECT EXISTS (TABLE kept UNION ALL TABLE removed) INTO found_any;
	IF NOT found_any THEN
		RETURN false;
	END IF;
	PERFORM crm.touch(ARRAY[unlink_identity.customer_id]);
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.unlink_identity(bigint, text, text, text) IS
'a customer is not known by an identity any more; false if he was not. What comes from the customers'' feed is changed there. NULL for the customer gives false. Errors: those of crm.identity_value()';

CREATE FUNCTION crm.share_identity(namespace text, value text, country text DEFAULT NULL, reason text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(share_identity.namespace, share_identity.value, share_identity.country);
BEGIN
	INSERT INTO crm.shared_identity AS s (namespace, value, reason)
	VALUES (share_identity.namespace, normal, share_identity.reason)
	ON CONFLICT ON CONSTRAINT shared_identity_pkey DO UPDATE SET reason = excluded.reason;
END
$function$;
COMMENT ON FUNCTION crm.share_identity(text, text, text, text) IS
'says that an identity is several people''s, such as the phone of a family or info@ of a firm: it proposes no duplicates, and linking it merges nobody. Errors: those of crm.identity_value()';

CREATE FUNCTION crm.unshare_identity(namespace text, value text, country text DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(unshare_identity.namespace, unshare_identity.value, unshare_identity.country);
BEGIN
	DELETE FROM crm.shared_identity AS s WHERE s.namespace = unshare_identity.namespace AND s.value = normal;
	RETURN FOUND;
END
$function$;
COMMENT ON FUNCTION crm.unshare_identity(text, text, text) IS
'takes crm.share_identity() back; false if it was not said. Errors: those of crm.identity_value()';

------------------------------------------------------------------------------------------------------------------
-- What the customers' feed says
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.read_attributes(names text[], customers bigint[] DEFAULT NULL)
	RETURNS TABLE (customer_id bigint, name text, value text)
	AS 'MODULE_PATHNAME', 'crm_feed_read_attributes'
	LANGUAGE C STABLE PARALLEL RESTRICTED
	ROWS 100000;
COMMENT ON FUNCTION crm.read_attributes(text[], bigint[]) IS
'attributes of the customers'' feed that are texts or numbers, as text: a row for each that is known and not empty, none of a name that the feed has not. Of all customers, or of some, by the ids that the feed has, merged or not. Errors: those of a stale feed, 22004 a NULL among the customers';

CREATE FUNCTION crm.sync_identities(customers bigint[] DEFAULT NULL) RETURNS bigint[]
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET jit = off									-- for a few customers it would take longer than all the rest
AS $function$
DECLARE
	namespaces CONSTANT text[] := ARRAY(SELECT DISTINCT c.kind FROM crm.channel AS c UNION SELECT 'card' ORDER BY 1);
	changed bigint[];
BEGIN
	-- What stands in the feed as it stood when it was looked at last is not normalised again. Planned each time: what is
	-- best for all customers is not for a few.
	EXECUTE format($query$
		WITH compared AS MATERIALIZED (
			SELECT f.customer_id, f.name AS namespace, f.value AS raw, i.customer_id AS had_id, i.namespace AS had_namespace, i.value AS had_value
			  FROM crm.read_attributes($1, $2) AS f
			  FULL JOIN (SELECT e.customer_id, e.namespace, e.value, e.raw
						   FROM crm.identity AS e
						  WHERE (e.source = 'feed' OR e.raw IS NOT NULL) %s) AS i
				ON i.customer_id = f.customer_id AND i.namespace = f.name AND i.raw = f.value
			 WHERE f.customer_id IS NULL OR i.customer_id IS NULL
		), other AS MATERIALIZED (
			SELECT DISTINCT ON (c.customer_id, c.namespace) c.customer_id, c.namespace, c.raw,
				   crm.normal_form(c.namespace, c.raw, $3) AS value
			  FROM compared AS c
			 WHERE c.customer_id IS NOT NULL
			 ORDER BY c.customer_id, c.namespace, c.raw
		), respelled AS (
			UPDATE crm.identity AS i
			   SET raw = o.raw
			  FROM other AS o
			 WHERE i.namespace = o.namespace AND i.value = o.value AND i.customer_id = o.customer_id
			RETURNING i.customer_id
		), added AS (
			INSERT INTO crm.identity AS i (namespace, value, customer_id, source, raw)
			SELECT o.namespace, o.value, o.customer_id, 'feed', o.raw
			  FROM other AS o
			 WHERE octet_length(o.value) <= 1024
			   AND NOT EXISTS (SELECT FROM crm.identity AS e
								WHERE e.namespace = o.namespace AND e.value = o.value AND e.customer_id = o.customer_id)
			ON CONFLICT ON CONSTRAINT identity_pkey DO NOTHING
			RETURNING i.customer_id
		), gone AS (
			SELECT c.had_namespace, c.had_value, c.had_id
			  FROM compared AS c
			 WHERE c.customer_id IS NULL
			   AND NOT EXISTS (SELECT FROM other AS o
								WHERE o.customer_id = c.had_id AND o.namespace = c.had_namespace AND o.value = c.had_value)
		), removed AS (
			DELETE FROM crm.identity AS i
			 USING gone AS g
			 WHERE i.namespace = g.had_namespace AND i.value = g.had_value AND i.customer_id = g.had_id AND i.source = 'feed'
			RETURNING i.customer_id
		), left_alone AS (
			-- Somebody has told of it besides
			UPDATE crm.identity AS i
			   SET raw = NULL
			  FROM gone AS g
			 WHERE i.namespace = g.had_namespace AND i.value = g.had_value AND i.customer_id = g.had_id AND i.source <> 'feed'
			RETURNING i.customer_id
		)
		SELECT array_agg(DISTINCT c.customer_id)
		  FROM (TABLE respelled UNION ALL TABLE added UNION ALL TABLE removed UNION ALL TABLE left_alone) AS c$query$,
		CASE WHEN sync_identities.customers IS NOT NULL THEN 'AND e.customer_id = ANY ($2)' END)
	   INTO changed
	  USING namespaces, sync_identities.customers, crm.country();
	RETURN coalesce(changed, '{}');
END
$function$;
COMMENT ON FUNCTION crm.sync_identities(bigint[]) IS
'brings what customers are known by up to what their feed says: its columns named as kinds of addresses (phone, email, telegram, push, others of crm.channel), and card. Of all customers, or of some, by the ids that the feed has. A value that is no phone or no e-mail address is passed over. Refresh and tick call it. Returns the customers of whom something has changed. Errors: those of a stale feed';

CREATE FUNCTION crm.refresh_identities() RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result CONSTANT bigint := crm.refresh_keys();
	changed CONSTANT bigint[] := crm.sync_identities();
BEGIN
	IF cardinality(changed) > 0 THEN
		PERFORM crm.touch(changed, 'customer.contact');
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.refresh_identities() IS
'gives ids to the customers of a shop with uuid or text keys who have none yet, looks again which feeds can be looked up by index, and brings phones, e-mail addresses and other identities up to what the customers'' feed says. Refresh and tick do that too. Returns how many ids were given';

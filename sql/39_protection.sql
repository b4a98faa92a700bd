-- What the data-protection law asks for: to tell a person all that is stored of him, to forget him, and to keep nothing
-- longer than it is needed.
--
-- The shop's own rows are the shop's to erase. As long as it keeps them, the feeds are read without those who were erased
-- (feed_alias.c): an order that must be kept for the tax office makes nobody a customer here.

CREATE TABLE crm.retention (
	kind	text NOT NULL PRIMARY KEY,
	keep	interval NOT NULL
);
COMMENT ON TABLE crm.retention IS
'how long what is stored is kept, as crm.set_retention() was told; what has no row is kept for ever. crm.apply_retention() deletes';
COMMENT ON COLUMN crm.retention.kind IS
'event: tracked events of all kinds; event:KIND: those of one; promo_code: codes that are of no more use; audience_ledger: what was removed from ad networks; membership_change, score_change, merge_log, message, run, task: the table of this name';
COMMENT ON COLUMN crm.retention.keep IS 'how long, counted from the instant of each entry; of a code, from when it was redeemed or withdrawn, or has expired';

SELECT pg_catalog.pg_extension_config_dump('crm.retention', '');

------------------------------------------------------------------------------------------------------------------
-- Where people are
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.customer_tables() RETURNS TABLE (relation name, columns name[])
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
	ROWS 30
BEGIN ATOMIC
	VALUES ('alias'::name, '{alias,into_id,customer_id}'::name[]), ('attribute', '{customer_id}'),
		   ('audience_link', '{customer_id}'), ('audience_member', '{customer_id}'),
		   ('cannot_link', '{customer_a,customer_b}'), ('code_redemption', '{customer_id}'), ('consent', '{customer_id}'),
		   ('contact', '{customer_id}'), ('customer_code', '{customer_id}'), ('customer_score', '{customer_id}'),
		   ('deadline', '{customer_id}'), ('delivery', '{customer_id}'), ('event', '{customer_id}'),
		   ('event_key', '{customer_id}'), ('heard', '{customer_id}'), ('identity', '{customer_id}'),
		   ('interest', '{customer_id}'), ('item_due', '{customer_id}'), ('listener_queue', '{customer_id}'),
		   ('membership', '{customer_id}'), ('membership_change', '{customer_id}'), ('merge_log', '{alias,customer_id}'),
		   ('message', '{customer_id}'), ('occurrence', '{customer_id}'), ('occurrence_queue', '{customer_id}'),
		   ('outbox', '{customer_id}'), ('pending', '{customer_id}'), ('run', '{customer_id}'),
		   ('run_step', '{customer_id}'), ('score_change', '{customer_id}'), ('static_member', '{customer_id}'),
		   ('tag', '{customer_id}'), ('task', '{customer_id}');
END;
COMMENT ON FUNCTION crm.customer_tables() IS
'the tables of schema crm whose rows are about one customer, and the columns that say about whom: what is exported and erased. The change log, whose rows go within seconds, is erased besides';

CREATE FUNCTION crm.names_of_ids(ids bigint[]) RETURNS TABLE (kind text, value text)
	LANGUAGE sql STABLE PARALLEL SAFE
	ROWS 10
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT i.namespace, i.value FROM crm.identity AS i WHERE i.customer_id = ANY (names_of_ids.ids)
	 UNION
	SELECT h.kind, c.address
	  FROM crm.contact AS c
	  JOIN crm.channel AS h USING (channel)
	 WHERE c.customer_id = ANY (names_of_ids.ids) AND c.address IS NOT NULL;
END;
COMMENT ON FUNCTION crm.names_of_ids(bigint[]) IS
'by what ids are known and where they can be written to, as stored: namespace or kind of address, and the value. NULL has none';

------------------------------------------------------------------------------------------------------------------
-- Telling
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.export_customer(customer_id bigint) RETURNS jsonb
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET TimeZone = 'UTC'							-- instants read the same for everybody
AS $function$
DECLARE
	customer CONSTANT bigint := crm.resolve_customer(export_customer.customer_id);
	ids CONSTANT bigint[] := crm.ids_of(customer);
	tables jsonb := '{}';
	handled record;
	found jsonb;
BEGIN
	FOR handled IN SELECT t.relation, t.columns FROM crm.customer_tables() AS t LOOP
		EXECUTE format('SELECT jsonb_agg(r.row ORDER BY r.row) FROM (SELECT to_jsonb(t) AS row FROM crm.%I AS t WHERE %s) AS r',
					   handled.relation,
					   (SELECT string_agg(format('t.%I = ANY ($1)', c), ' OR ') FROM unnest(handled.columns) AS c))
		   INTO found USING ids;
		IF found IS NOT NULL THEN
			tables := tables || jsonb_build_object(handled.relation, found);
		END IF;
	END LOOP;
	SELECT jsonb_agg(to_jsonb(s) - 'address_hash' || jsonb_build_object('kind', a.kind, 'address', a.value)
					 ORDER BY a.kind, a.value, s.channel)
	  INTO found
	  FROM crm.names_of_ids(ids) AS a
	  JOIN crm.suppression AS s ON s.address_hash = crm.address_hash(a.kind, a.value);
	IF found IS NOT NULL THEN
		tables := tables || jsonb_build_object('suppression', found);
	END IF;
	RETURN jsonb_build_object(
		'customer', customer,
		'ids', to_jsonb(ids),
		'exported_at', crm.now(),
		'profile', crm.profile_of(customer)::jsonb,
		'segments', (SELECT coalesce(jsonb_agg(m.segment ORDER BY m.segment), '[]')
					   FROM crm.segment_member AS m
					  WHERE m.customer_id = customer),
		'tables', tables);
END
$function$;
COMMENT ON FUNCTION crm.export_customer(bigint) IS
'all that is stored of a person under any of his ids, for him to read: customer, ids, exported_at, profile (all facts, those of the shop''s own feeds too; NULL for somebody of whom nothing is known), segments by name, and tables: the rows of each table that has any, and the suppressions of his addresses. Instants are UTC. What the shop''s tables have beyond its feeds is the shop''s to tell. NULL for NULL. Errors: those of crm.profile_of()';

------------------------------------------------------------------------------------------------------------------
-- Forgetting
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.is_erased(namespace text, value text) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
RETURN EXISTS (SELECT FROM crm.erased AS e WHERE e.address_hash = crm.address_hash(is_erased.namespace, is_erased.value));
COMMENT ON FUNCTION crm.is_erased(text, text) IS
'whether somebody who was known by this identity, in its normal form, was erased; namespace customer with an id as text: whether that customer was. For whatever imports people. NULL gives NULL';

CREATE FUNCTION crm.refuse_erased(customer_id bigint, namespace text DEFAULT NULL, value text DEFAULT NULL) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id = refuse_erased.customer_id) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('customer %s was erased', refuse_erased.customer_id),
			DETAIL = 'Nothing is stored of him any more.',
			HINT = 'If he wants to be a customer again, call crm.readmit_customer() first.';
	END IF;
	-- Whoever comes with a cookie or a card comes himself; an address may stand in an old list
	IF EXISTS (SELECT FROM crm.channel AS h WHERE h.kind = refuse_erased.namespace)
		AND crm.is_erased(refuse_erased.namespace, refuse_erased.value)
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('somebody who had this address of kind "%s" was erased', refuse_erased.namespace),
			DETAIL = 'He is not taken up again because it stands in some list.',
			HINT = 'If he has come back himself, call crm.readmit_identity() first.';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.refuse_erased(bigint, text, text) IS
'that neither a customer nor an address in its normal form is one of somebody who was erased; NULL, and an identity that is no address, are not looked at. For the functions that store something. Error 55000 if one is';

CREATE FUNCTION crm.erase_customer(customer_id bigint, reason text DEFAULT NULL) RETURNS jsonb
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	ids bigint[];
	handled record;
	-- What he was known by, and where he could be written to, in pairs
	kinds text[] := '{}';
	names text[] := '{}';
	known record;
	erased jsonb := '{}';
	n bigint;
	total bigint;
BEGIN
	IF erase_customer.customer_id IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer to be erased must not be null';
	END IF;
	IF to_regclass('crm_feed.customer') IS NULL AND EXISTS (SELECT FROM crm.source AS s WHERE s.kind = 'customer') THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = 'feed "customer" is stale',
			DETAIL = 'It must be asked for the addresses of the customer, which are to stay suppressed.',
			HINT = 'Call crm.rebuild_feeds(), or define the feed again.';
	END IF;
	-- Whoever computes memberships and scores of what he has just read is waited for, and then waits for us
	PERFORM crm.lock_segments();
	PERFORM crm.lock_slots();
	PERFORM crm.lock_people(ARRAY[erase_customer.customer_id]);
	ids := crm.ids_of(crm.resolve_customer(erase_customer.customer_id));
	-- A slip must not keep out for good who gets this id one day
	IF NOT EXISTS (SELECT FROM crm.erased_customer AS e WHERE e.customer_id = ANY (ids))
		AND (SELECT e.x -> 'profile' = 'null' AND e.x -> 'tables' = '{}' FROM crm.export_customer(ids[1]) AS e(x))
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no customer %s', erase_customer.customer_id),
			DETAIL = 'Neither the feeds nor what is stored has anything of this id.';
	END IF;

	-- Before the feed is asked as well as after it: it may have just lost him, or never have been read
	FOR pass IN 1 .. 2 LOOP
		FOR known IN
			SELECT n.kind, n.value FROM crm.names_of_ids(ids) AS n
		LOOP
			kinds := kinds || known.kind;
			names := names || known.value;
		END LOOP;
		IF pass = 1 THEN
			PERFORM crm.sync_identities(ids);
		END IF;
	END LOOP;
	INSERT INTO crm.erased AS e (address_hash, erased_at)
	SELECT crm.address_hash(k.kind, k.value), crm.now() FROM unnest(kinds, names) AS k(kind, value)
	 UNION
	SELECT crm.address_hash('customer', i::text), crm.now() FROM unnest(ids) AS i
	ON CONFLICT ON CONSTRAINT erased_pkey DO NOTHING;
	INSERT INTO crm.suppression AS s (address_hash, channel, at, reason)
	SELECT DISTINCT crm.address_hash(k.kind, k.value), '*', crm.now(), 'erased'
	  FROM unnest(kinds, names) AS k(kind, value)
	 WHERE k.kind IN (SELECT h.kind FROM crm.channel AS h)
	ON CONFLICT ON CONSTRAINT suppression_pkey DO NOTHING;
	INSERT INTO crm.erased_customer AS e (customer_id, erased_at, reason)
	SELECT i, crm.now(), erase_customer.reason FROM unnest(ids) AS i
	ON CONFLICT ON CONSTRAINT erased_customer_pkey DO NOTHING;

	-- The code stays redeemed, but an order's number would lead to him
	UPDATE crm.promo_code AS c SET reference = NULL
	  FROM crm.code_redemption AS r
	 WHERE r.customer_id = ANY (ids) AND c.pool = r.pool AND c.code_id = r.code_id AND c.reference IS NOT NULL;
	-- What was uploaded of him is still to be removed there
	n := crm.leave_audiences(ids, kinds, names);
	IF n > 0 THEN
		erased := jsonb_build_object('audience_link', n);
	END IF;
	-- Whoever says what became of a message locks its place in the outbox before its record
	PERFORM FROM crm.outbox AS o WHERE o.customer_id = ANY (ids) ORDER BY o.message_id FOR UPDATE;
	FOR handled IN SELECT t.relation, t.columns FROM crm.customer_tables() AS t LOOP
		EXECUTE format('DELETE FROM crm.%I AS t WHERE %s', handled.relation,
					   (SELECT string_agg(format('t.%I = ANY ($1)', c), ' OR ') FROM unnest(handled.columns) AS c))
		  USING ids;
		GET DIAGNOSTICS n = ROW_COUNT;
		IF n > 0 THEN
			erased := erased || jsonb_build_object(handled.relation, n);
		END IF;
	END LOOP;

	-- Others who have one of his addresses cannot be written to there any more
	PERFORM crm.touch_address(k.kind, k.value) FROM (SELECT DISTINCT u.* FROM unnest(kinds, names) AS u(kind, value)) AS k;
	DELETE FROM crm.shared_identity AS s
	 USING unnest(kinds, names) AS k(kind, value)
	 WHERE s.namespace = k.kind AND s.value = k.value
	   AND NOT EXISTS (SELECT FROM crm.identity AS i WHERE i.namespace = s.namespace AND i.value = s.value);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n > 0 THEN
		erased := erased || jsonb_build_object('shared_identity', n);
	END IF;
	-- An error may tell the row that caused it
	DELETE FROM crm.tick_error AS e
	 WHERE EXISTS (SELECT
					 FROM unnest(names) AS v
					WHERE length(v) > 3
					  AND strpos(concat_ws(' ', e.message, e.detail, e.hint, e.context), v) > 0);
	GET DIAGNOSTICS n = ROW_COUNT;
	IF n > 0 THEN
		erased := erased || jsonb_build_object('tick_error', n);
	END IF;
	-- Keys of other tables, such as an order's number, mean nobody by themselves, and go with the next ticks
	total := 0;
	FOR part IN 0 .. 2 LOOP
		EXECUTE format('DELETE FROM crm.change_log_%s AS l'
					   ' WHERE (l.watch_id = 0 OR l.watch_id IN (SELECT w.watch_id FROM crm.watch AS w WHERE w.mapping IS NULL))'
					   '   AND (l.id = ANY ($1) OR l.key && $2)', part)
		  USING ids, names;
		GET DIAGNOSTICS n = ROW_COUNT;
		total := total + n;
	END LOOP;
	IF total > 0 THEN
		erased := erased || jsonb_build_object('change_log', total);
	END IF;
	RETURN erased;
END
$function$;
COMMENT ON FUNCTION crm.erase_customer(bigint, text) IS
'forgets a person: deletes all that is stored of him under any of his ids, in one transaction. What remains are his ids and hashes of what he was known by, which keep him from being taken up again (crm.is_erased()), and his addresses suppressed on all channels for good, also for others who share them; and in crm.audience_ledger the hashes that were uploaded to ad networks, until they are removed there. The shop''s own rows are the shop''s to erase; as long as it keeps them, feeds are read without them. What a transaction stores of him that runs at the same time goes by the next crm.apply_retention(), and is not read. In the change log a key of another table, such as an order''s number, may remain until the next ticks. reason is kept, and should not tell who he was. Returns how many rows were deleted, by table; a second time {}. Waits for a refresh that is running. Errors: 22004 customer is NULL, 42704 nothing is known of him, 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed, 55000 the feed of the customers, which must be asked for his addresses, is stale';

CREATE FUNCTION crm.readmit_customer(customer_id bigint) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM crm.erased_customer AS e WHERE e.customer_id = readmit_customer.customer_id;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	DELETE FROM crm.erased AS e WHERE e.address_hash = crm.address_hash('customer', readmit_customer.customer_id::text);
	PERFORM crm.touch(ARRAY[readmit_customer.customer_id]);
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.readmit_customer(bigint) IS
'lets somebody be a customer again who was erased and wants to be one: the feeds are read with him from now on. His addresses stay suppressed until crm.readmit_identity() is called for each. False if he was not erased, as for NULL';

CREATE FUNCTION crm.readmit_identity(namespace text, value text, country text DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	normal CONSTANT text := crm.identity_value(readmit_identity.namespace, readmit_identity.value, readmit_identity.country);
BEGIN
	DELETE FROM crm.erased AS e WHERE e.address_hash = crm.address_hash(readmit_identity.namespace, normal);
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	DELETE FROM crm.suppression AS s
	 WHERE s.address_hash = crm.address_hash(readmit_identity.namespace, normal) AND s.channel = '*' AND s.reason = 'erased';
	PERFORM crm.touch_address(readmit_identity.namespace, normal);
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.readmit_identity(text, text, text) IS
'lets an identity be used again by which an erased person was known, because he has come back and wants it: takes its mark in crm.erased away, and the suppression that came with it; what was suppressed before stays so. For a shop whose keys are no integers, its key with namespace shop lets the customer in again. False if there was no mark. Errors: those of crm.identity_value()';

------------------------------------------------------------------------------------------------------------------
-- Keeping nothing too long
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.set_retention(kind text, keep interval) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	others CONSTANT text[] := ARRAY['membership_change', 'score_change', 'merge_log', 'promo_code', 'audience_ledger', 'message', 'run', 'task'];
	tracked boolean;
BEGIN
	IF set_retention.kind IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'kind must not be null';
	END IF;
	IF set_retention.kind LIKE 'event:%' THEN
		SELECT s.tracked INTO tracked FROM crm.source AS s WHERE s.kind = substr(set_retention.kind, 7);
		IF tracked IS NULL AND set_retention.keep IS NOT NULL THEN
			RAISE EXCEPTION USING
				ERRCODE = 'undefined_object',
				MESSAGE = format('kind "%s" does not exist', substr(set_retention.kind, 7)),
				HINT = 'A kind is made known by the first crm.track().';
		ELSIF NOT tracked THEN
			RAISE EXCEPTION USING
				ERRCODE = 'wrong_object_type',
				MESSAGE = format('events of kind "%s" are not tracked', substr(set_retention.kind, 7)),
				DETAIL = 'They are read from the shop''s own tables, or follow from what is stored elsewhere.';
		END IF;
	ELSIF set_retention.kind <> 'event' AND set_retention.kind <> ALL (others) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized kind "%s"', set_retention.kind),
			HINT = format('Kinds are: event, event:KIND, %s.', array_to_string(others, ', '));
	END IF;
	-- Whatever instant it is counted from
	IF set_retention.keep IS NOT NULL
		AND (set_retention.keep <= interval '0' OR timestamptz '2000-03-01Z' - set_retention.keep >= timestamptz '2000-03-01Z')
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('time to keep something must be positive: %s', set_retention.keep);
	END IF;
	IF set_retention.keep IS NULL THEN
		DELETE FROM crm.retention AS r WHERE r.kind = set_retention.kind;
	ELSE
		INSERT INTO crm.retention AS r (kind, keep) VALUES (set_retention.kind, set_retention.keep)
		ON CONFLICT ON CONSTRAINT retention_pkey DO UPDATE SET keep = excluded.keep;
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.set_retention(text, interval) IS
'says how long something is kept; NULL: for ever, as everything is at first. kind is event (tracked events of all kinds that have no rule of their own), event:KIND (those of one kind), membership_change (the log of who entered and left segments), score_change, merge_log, promo_code (codes that were redeemed or withdrawn, or have expired, counted from then), audience_ledger (what was removed from ad networks), message (messages that are finished, with what providers told of them), run (runs of campaigns that are over), or task (tasks that are over). Nothing goes until crm.apply_retention() is called. Errors: 22004 kind is NULL, 22023 unknown kind or an interval that is not positive, 42704 no such kind of event, 42809 events that are not tracked';

CREATE FUNCTION crm.apply_retention(at timestamptz DEFAULT crm.now()) RETURNS TABLE (kind text, removed bigint)
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
#variable_conflict use_column
DECLARE
	zone CONSTANT text := crm.timezone();
	rule record;
	handled record;
	own text[];			-- kinds of events with a rule of their own
	oldest timestamptz;	-- before this, events of all kinds go
	n bigint;
BEGIN
	IF apply_retention.at IS NULL OR NOT isfinite(apply_retention.at) THEN
		RAISE EXCEPTION USING
			ERRCODE = CASE WHEN apply_retention.at IS NULL THEN 'null_value_not_allowed' ELSE 'invalid_parameter_value' END,
			MESSAGE = 'instant must be finite and not null';
	END IF;
	SELECT coalesce(array_agg(substr(r.kind, 7)), '{}') INTO own FROM crm.retention AS r WHERE r.kind LIKE 'event:%';

	FOR rule IN
		SELECT r.kind, (apply_retention.at AT TIME ZONE zone - r.keep) AT TIME ZONE zone AS before
		  FROM crm.retention AS r
		 ORDER BY r.kind
	LOOP
		IF rule.kind = 'event' THEN
			-- Whole months can be dropped as far as no kind is kept longer
			SELECT min(least(rule.before, (apply_retention.at AT TIME ZONE zone - r.keep) AT TIME ZONE zone)) INTO oldest
			  FROM crm.retention AS r
			 WHERE r.kind LIKE 'event%';
			SELECT count(*) INTO n FROM crm.event AS e
			 WHERE e.at < date_trunc('month', oldest, 'UTC');
			PERFORM crm.drop_events_before(oldest);
			IF oldest < rule.before THEN
				DELETE FROM crm.event_key AS k WHERE k.at < rule.before AND k.kind <> ALL (own);
				WITH gone AS (
					DELETE FROM crm.event AS e WHERE e.at < rule.before AND e.kind <> ALL (own) RETURNING e.kind
				), counted AS (
					SELECT g.kind, count(*) AS events FROM gone AS g GROUP BY g.kind
				)
				SELECT n + coalesce(sum(c.events), 0) INTO n
				  FROM counted AS c
				 CROSS JOIN LATERAL crm.touch(NULL, c.kind) AS t;
			END IF;
		ELSIF rule.kind LIKE 'event:%' THEN
			DELETE FROM crm.event_key AS k WHERE k.at < rule.before AND k.kind = substr(rule.kind, 7);
			DELETE FROM crm.event AS e WHERE e.at < rule.before AND e.kind = substr(rule.kind, 7);
			GET DIAGNOSTICS n = ROW_COUNT;
			IF n > 0 THEN
				PERFORM crm.touch(NULL, substr(rule.kind, 7));
			END IF;
		ELSIF rule.kind = 'promo_code' THEN
			n := crm.drop_codes_before(rule.before);
		ELSIF rule.kind = 'audience_ledger' THEN
			DELETE FROM crm.audience_ledger AS l WHERE l.state = 'removed' AND l.removed_at < rule.before;
			GET DIAGNOSTICS n = ROW_COUNT;
		ELSIF rule.kind IN ('message', 'run', 'task') THEN
			EXECUTE format('SELECT crm.%I($1)', format('drop_%ss_before', rule.kind)) INTO n USING rule.before;
		ELSE
			EXECUTE format('DELETE FROM crm.%I AS l WHERE l.at < $1', rule.kind) USING rule.before;
			GET DIAGNOSTICS n = ROW_COUNT;
			IF n > 0 AND rule.kind = 'score_change' THEN
				PERFORM crm.touch(NULL, 'score');
			END IF;
		END IF;
		kind := rule.kind;
		removed := n;
		RETURN NEXT;
	END LOOP;

	-- What transactions have stored of people that ran beside their erasure
	kind := 'erased';
	removed := 0;
	UPDATE crm.promo_code AS c SET reference = NULL
	  FROM crm.code_redemption AS r
	  JOIN crm.erased_customer AS e ON e.customer_id = r.customer_id
	 WHERE c.pool = r.pool AND c.code_id = r.code_id AND c.reference IS NOT NULL;
	-- As in crm.erase_customer(); and of a message that has come since then, and may be in somebody's hands, the record is left, too
	PERFORM FROM crm.outbox AS o
	  WHERE o.customer_id IN (SELECT e.customer_id FROM crm.erased_customer AS e) ORDER BY o.message_id FOR UPDATE;
	FOR handled IN SELECT t.relation, t.columns FROM crm.customer_tables() AS t ORDER BY t.relation <> 'outbox' LOOP
		EXECUTE format('DELETE FROM crm.%I AS t WHERE (%s)', handled.relation,
					   (SELECT string_agg(format('t.%I IN (SELECT e.customer_id FROM crm.erased_customer AS e)', c), ' OR ')
						  FROM unnest(handled.columns) AS c))
				|| CASE WHEN handled.relation = 'message'
						THEN ' AND NOT EXISTS (SELECT FROM crm.outbox AS o WHERE o.message_id = t.message_id)' ELSE '' END;
		GET DIAGNOSTICS n = ROW_COUNT;
		removed := removed + n;
	END LOOP;
	RETURN NEXT;
END
$function$;
COMMENT ON FUNCTION crm.apply_retention(timestamptz) IS
'deletes what is older than crm.set_retention() says, counted from the instant in the zone of the shop, and what was stored of erased people while they were being erased; for cron, once a day. Tracked events go by whole months (UTC) where the rule for all kinds reaches, so that some of them stay up to a month longer; by the instant where it is a rule for one kind, or other kinds are kept longer. Returns how many entries were deleted for each rule, and for "erased". It can be cancelled; then nothing is deleted. Segments that ask for what is gone follow by a refresh. Errors: 22004 NULL, 22023 infinite, 55P03 when tracked events are in use for longer than a second: call it again';

-- What became of messages: what the sender says, what the provider tells later, and what is to be tried again.

CREATE TABLE crm.delivery (
	customer_id		bigint NOT NULL,
	message_id		bigint NOT NULL,
	kind			text NOT NULL,
	provider_key	text NOT NULL,
	at				timestamptz NOT NULL,
	detail			jsonb,
	PRIMARY KEY (customer_id, message_id, kind, provider_key)
);
COMMENT ON TABLE crm.delivery IS 'what providers have told of messages, by crm.record_delivery()';
COMMENT ON COLUMN crm.delivery.customer_id IS 'as crm.message';
COMMENT ON COLUMN crm.delivery.message_id IS 'message';
COMMENT ON COLUMN crm.delivery.kind IS 'delivered, open, click, bounce, complaint, unsubscribe';
COMMENT ON COLUMN crm.delivery.provider_key IS 'by which the provider''s repeating itself is known: its key, else the instant';
COMMENT ON COLUMN crm.delivery.at IS 'when it was';
COMMENT ON COLUMN crm.delivery.detail IS 'what else it told, such as the url of a click';

SELECT pg_catalog.pg_extension_config_dump('crm.delivery', '');

------------------------------------------------------------------------------------------------------------------
-- The sender's word
------------------------------------------------------------------------------------------------------------------

-- Plans are kept, and may have been made while the tables were small, when one index seems as good as another. So these find messages
-- by their ids only: they join nothing to them, and ask of the lane as no index can.

CREATE FUNCTION crm.ack_messages(message_ids bigint[], token bigint, provider_ids text[] DEFAULT NULL, at timestamptz DEFAULT crm.now())
	RETURNS int
	AS 'MODULE_PATHNAME', 'crm_outbox_ack_messages'
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
	SET enable_seqscan = off;						-- plans are kept, and may have been made while tables were empty
COMMENT ON FUNCTION crm.ack_messages(bigint[], bigint, text[], timestamptz) IS
'the sender''s word that messages of one claim were sent, with what the provider calls each, in the same order. Returns of how many it could be said: not of those that another claim has had since, or that are finished; of those whose lease ran out, yes, if nobody has queued them again. NULL acknowledges nothing. Error 22004 for a NULL instant';

CREATE FUNCTION crm.bury_message(message_id bigint, reason text, at timestamptz) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	WITH gone AS (
		DELETE FROM crm.outbox AS o WHERE o.message_id = bury_message.message_id RETURNING o.message_id, o.customer_id, o.token, o.perhaps_at
	)
	UPDATE crm.message AS m
	   SET state = 'dead', reason = bury_message.reason, finished_at = bury_message.at, token = g.token, handed_at = g.perhaps_at
	  FROM gone AS g
	 WHERE m.customer_id = g.customer_id AND m.message_id = g.message_id
$function$;
COMMENT ON FUNCTION crm.bury_message(bigint, text, timestamptz) IS 'gives a message up, with the reason';

CREATE FUNCTION crm.nack_message(message_id bigint, token bigint, error text DEFAULT NULL, retry_after interval DEFAULT NULL,
								 permanent boolean DEFAULT false, at timestamptz DEFAULT crm.now()) RETURNS text
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $function$
DECLARE
	queued crm.outbox;
	rule crm.channel_rule;
BEGIN
	SELECT o.* INTO queued FROM crm.outbox AS o
	 WHERE o.message_id = nack_message.message_id AND o.lane <> -1 AND o.token = nack_message.token FOR UPDATE;
	IF NOT FOUND THEN
		RETURN NULL;
	END IF;
	DELETE FROM crm.lease AS l
	 WHERE l.channel = queued.channel AND l.until = queued.leased_until AND l.token = queued.token AND cardinality(l.messages) = 1;
	SELECT r.* INTO rule FROM crm.channel_rule AS r WHERE r.channel = queued.channel;
	IF nack_message.permanent OR queued.attempts >= coalesce(rule.max_attempts, 8) THEN
		PERFORM crm.bury_message(queued.message_id, coalesce(nack_message.error, 'error'), nack_message.at);
		RETURN 'dead';
	END IF;
	UPDATE crm.outbox AS o
	   SET due_at = nack_message.at + coalesce(nack_message.retry_after,
											   least(coalesce(rule.retry_after, '1 minute') * 2 ^ (queued.attempts - 1), '1 day')),
		   token = NULL, worker = NULL, handed_at = o.perhaps_at, leased_until = NULL, reason = coalesce(nack_message.error, 'error')
	 WHERE o.message_id = queued.message_id;
	RETURN 'queued';
END
$function$;
COMMENT ON FUNCTION crm.nack_message(bigint, bigint, text, interval, boolean, timestamptz) IS
'the sender''s word that a message was not sent, and why: it is queued again, after retry_after or by the channel''s rule (a minute, twice as long after each further failure, a day at the most), or given up if permanent, or after as many attempts as the rule says (8). It was not sent, so it does not count for caps, unless an earlier lease of it ran out. Returns queued or dead; NULL for a message that another claim has had since, or that is finished';

CREATE FUNCTION crm.release_messages(message_ids bigint[], token bigint) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $function$
DECLARE
	result int;
BEGIN
	-- back to their places in the queue, which they have never left
	UPDATE crm.outbox AS o
	   SET attempts = o.attempts - 1, token = NULL, worker = NULL, handed_at = o.perhaps_at, leased_until = NULL
	 WHERE o.message_id = ANY (release_messages.message_ids) AND o.lane <> -1 AND o.token = release_messages.token;
	GET DIAGNOSTICS result = ROW_COUNT;
	IF result > 0 THEN
		PERFORM crm.forget_positions();
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.release_messages(bigint[], bigint) IS
'a sender gives messages of one claim back that he has not begun to send, as when he is stopped: they are due as before, and it is no attempt. Returns how many; not those that another claim has had since, or that are finished. NULL releases nothing';

CREATE FUNCTION crm.expire_leases(at timestamptz DEFAULT crm.now(), channel text DEFAULT NULL) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
	SET enable_bitmapscan = off						-- nor are all leases to be sorted, for the first hundred
AS $function$
DECLARE
	result int := 0;
	lease crm.lease;
	ended bigint[];
	lost bigint[];
	handed timestamptz;
BEGIN
	-- Nobody is waited for: what is being acknowledged just now is left to the next time
	FOR lease IN
		SELECT l.*
		  FROM crm.channel AS c
		 CROSS JOIN LATERAL (
			SELECT l.* FROM crm.lease AS l
			 WHERE l.channel = c.channel AND l.until <= expire_leases.at
			 ORDER BY l.until, l.token LIMIT 100
			   FOR UPDATE SKIP LOCKED) AS l
		 WHERE expire_leases.channel IS NULL OR c.channel = expire_leases.channel
	LOOP
		ended := ARRAY(SELECT o.message_id FROM crm.outbox AS o
						WHERE o.message_id = ANY (lease.messages) AND o.token = lease.token AND o.lane <> -1
						ORDER BY o.message_id FOR UPDATE SKIP LOCKED);
		-- Where the provider drops a second one of the same id, it is tried again. It may have been sent, and counts for caps.
		UPDATE crm.outbox AS o
		   SET due_at = expire_leases.at, token = NULL, worker = NULL, leased_until = NULL, perhaps_at = o.handed_at, reason = 'lease'
		  FROM crm.channel_rule AS r
		 WHERE r.channel = lease.channel AND r.on_expiry = 'retry' AND o.message_id = ANY (ended) AND o.attempts < r.max_attempts;
		WITH unknown AS (
			UPDATE crm.outbox AS o SET lane = -1 WHERE o.message_id = ANY (ended) AND o.token = lease.token
			RETURNING o.message_id, o.handed_at
		)
		SELECT array_agg(u.message_id), min(u.handed_at) INTO lost, handed FROM unknown AS u;
		UPDATE crm.message AS m
		   SET state = 'unknown', reason = 'lease', handed_at = handed, finished_at = expire_leases.at, token = lease.token
		 WHERE m.message_id = ANY (lost);
		DELETE FROM crm.lease AS l
		 WHERE l.channel = lease.channel AND l.until = lease.until AND l.token = lease.token
		   AND NOT EXISTS (SELECT FROM crm.outbox AS o
							WHERE o.message_id = ANY (lease.messages) AND o.token = lease.token AND o.lane <> -1);
		result := result + cardinality(ended);
	END LOOP;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.expire_leases(timestamptz, text) IS
'messages whose lease has run out, of which nobody knows whether they were sent: unknown from now on, which counts for caps; or queued again, where crm.set_channel_rule() says retry. crm.claim_messages() does it by the way. channel NULL: of all. Returns how many there were, at most those of 100 claims of a channel';

CREATE FUNCTION crm.unknown_messages(channel text)
	RETURNS TABLE (message_id bigint, token bigint, customer_id bigint, handed_at timestamptz, worker text)
	LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT o.message_id, o.token, o.customer_id, o.handed_at, o.worker
	  FROM crm.outbox AS o
	 WHERE o.channel = unknown_messages.channel AND o.lane = -1
	 ORDER BY o.message_id;
END;
COMMENT ON FUNCTION crm.unknown_messages(text) IS
'messages of a channel that were handed out and of which nobody has said what became of them, with their tokens: whoever can find out, as from the provider''s log, calls crm.ack_messages() or crm.redrive_messages(). NULL has none';

CREATE FUNCTION crm.redrive_messages(message_ids bigint[], token bigint DEFAULT NULL, at timestamptz DEFAULT crm.now()) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $function$
DECLARE
	result int;
BEGIN
	-- first what an acknowledgement locks first
	PERFORM FROM crm.outbox AS o
	  WHERE o.message_id = ANY (redrive_messages.message_ids) AND o.lane + 0 = -1 ORDER BY o.message_id FOR UPDATE;
	WITH again AS (
		UPDATE crm.message AS m
		   SET state = 'queued', reason = NULL, handed_at = NULL, finished_at = NULL, token = NULL
		 WHERE m.message_id = ANY (redrive_messages.message_ids) AND m.state IN ('dead', 'unknown')
		   AND (redrive_messages.token IS NULL OR m.token = redrive_messages.token)
		RETURNING m.message_id, m.customer_id, m.channel, m.priority
	)
	INSERT INTO crm.outbox AS o (message_id, customer_id, channel, lane, due_at)
	SELECT a.message_id, a.customer_id, a.channel, a.priority, redrive_messages.at FROM again AS a
	ON CONFLICT ON CONSTRAINT outbox_pkey DO UPDATE
		SET lane = excluded.lane, due_at = excluded.due_at, attempts = 0, token = NULL, worker = NULL, handed_at = NULL, perhaps_at = NULL,
			leased_until = NULL, reason = NULL;
	GET DIAGNOSTICS result = ROW_COUNT;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.redrive_messages(bigint[], bigint, timestamptz) IS
'queues messages again that were given up or whose fate is unknown, if a token is given only those that were handed out last with it: they are decided anew when they are handed out. Returns how many. NULL queues none';

CREATE FUNCTION crm.redrive(channel text, state text DEFAULT 'dead', since timestamptz DEFAULT '-infinity', at timestamptz DEFAULT crm.now())
	RETURNS int
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	SELECT crm.redrive_messages(ARRAY(SELECT m.message_id FROM crm.message AS m
									   WHERE m.channel = redrive.channel AND m.state = redrive.state AND m.finished_at >= redrive.since), at => redrive.at);
END;
COMMENT ON FUNCTION crm.redrive(text, text, timestamptz, timestamptz) IS
'crm.redrive_messages() of all of a channel that are dead, or unknown, since an instant';

------------------------------------------------------------------------------------------------------------------
-- The provider's word
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.record_delivery(message_id bigint, kind text, at timestamptz DEFAULT crm.now(), provider_key text DEFAULT NULL,
									detail jsonb DEFAULT NULL) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	message crm.message;
	address text;
BEGIN
	IF record_delivery.kind IS NULL OR record_delivery.at IS NULL OR NOT isfinite(record_delivery.at)
		OR record_delivery.kind NOT IN ('delivered', 'open', 'click', 'bounce', 'complaint', 'unsubscribe')
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('unrecognized kind of delivery "%s", or no instant', record_delivery.kind),
			HINT = 'Kinds are: delivered, open, click, bounce, complaint, unsubscribe.';
	END IF;
	SELECT m.* INTO message FROM crm.message AS m WHERE m.message_id = record_delivery.message_id;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	INSERT INTO crm.delivery AS d (customer_id, message_id, kind, provider_key, at, detail)
	VALUES (message.customer_id, message.message_id, record_delivery.kind,
			coalesce(record_delivery.provider_key, to_char(record_delivery.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
			record_delivery.at, record_delivery.detail)
	ON CONFLICT DO NOTHING;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	IF record_delivery.kind = 'unsubscribe' THEN
		PERFORM crm.unsubscribe(message.customer_id, message.channel, message.purpose, record_delivery.detail,
								least(record_delivery.at, crm.now()), 'provider');
	ELSIF record_delivery.kind = 'complaint' OR record_delivery.kind = 'bounce' AND record_delivery.detail ->> 'type' = 'hard' THEN
		-- where it was sent to, if the provider says so, else where one would send to now
		address := coalesce(record_delivery.detail ->> 'address',
							(SELECT r.address FROM crm.contact_rows(ARRAY[crm.resolve_customer(message.customer_id)]) AS r
							  WHERE r.channel = message.channel ORDER BY r.id <> message.customer_id, r.id LIMIT 1));
		IF address IS NOT NULL THEN
			PERFORM crm.suppress_address(message.channel, address, record_delivery.kind);
		END IF;
	END IF;
	PERFORM crm.touch(ARRAY[message.customer_id], record_delivery.kind);
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.record_delivery(bigint, text, timestamptz, text, jsonb) IS
'what the provider tells of a message: delivered, open, click, bounce, complaint or unsubscribe, in any order and as often as it likes: the second of one provider_key (without it, of one instant) is none. A complaint, and a bounce with "type": "hard" in detail, suppress the address (that in detail, else the one of now) on the channel; an unsubscribe is a refusal of the message''s purpose. False if there is no such message, or it is known already. Errors: 22023 another kind, or no finite instant; those of crm.suppress_address() for an address that is none';

CREATE VIEW crm_feed.message AS
	SELECT m.customer_id, m.handed_at AS at, m.channel, m.campaign, m.step, m.arm, m.purpose, m.template
	  FROM crm.message AS m
	 WHERE m.state = 'sent';
COMMENT ON VIEW crm_feed.message IS 'messages that were sent, as events; see crm.message';
COMMENT ON COLUMN crm_feed.message.customer_id IS 'customer';
COMMENT ON COLUMN crm_feed.message.at IS 'when it was handed to the sender';
COMMENT ON COLUMN crm_feed.message.channel IS 'channel';
COMMENT ON COLUMN crm_feed.message.campaign IS 'campaign';
COMMENT ON COLUMN crm_feed.message.step IS 'its step';
COMMENT ON COLUMN crm_feed.message.arm IS 'the arms the run was in';
COMMENT ON COLUMN crm_feed.message.purpose IS 'purpose';
COMMENT ON COLUMN crm_feed.message.template IS 'template';

DO $do$
DECLARE
	kind text;
	said text;
BEGIN
	FOREACH kind IN ARRAY ARRAY['delivered', 'open', 'click', 'bounce', 'complaint'] LOOP
		EXECUTE pg_catalog.format('CREATE VIEW crm_feed.%I AS
			SELECT d.customer_id, d.at, m.channel, m.campaign, m.step, m.arm, d.detail ->> ''url'' AS url, d.detail ->> ''type'' AS type
			  FROM crm.delivery AS d
			  JOIN crm.message AS m ON m.customer_id = d.customer_id AND m.message_id = d.message_id
			 WHERE d.kind = %L', kind, kind);
		EXECUTE pg_catalog.format('COMMENT ON VIEW crm_feed.%I IS %L', kind, 'what providers have told of messages, as events; see crm.record_delivery()');
		FOR said IN SELECT pg_catalog.format('COMMENT ON COLUMN crm_feed.%I.%I IS %L', kind, c.name, c.comment)
					  FROM (VALUES ('customer_id', 'customer'), ('at', 'when'), ('channel', 'of the message'), ('campaign', 'of the message'),
								   ('step', 'of the message'), ('arm', 'of the message'), ('url', 'what was clicked'), ('type', 'hard or soft'))
						AS c(name, comment) LOOP
			EXECUTE said;
		END LOOP;
	END LOOP;
END
$do$;
INSERT INTO crm.source (kind, indexed, own)
VALUES ('message', true, true), ('delivered', true, true), ('open', true, true), ('click', true, true), ('bounce', true, true),
	   ('complaint', true, true);

CREATE FUNCTION crm.drop_messages_before(before timestamptz) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result bigint;
BEGIN
	DELETE FROM crm.delivery AS d
	 USING crm.message AS m
	 WHERE m.customer_id = d.customer_id AND m.message_id = d.message_id AND m.state <> 'queued' AND m.finished_at < drop_messages_before.before;
	DELETE FROM crm.outbox AS o
	 USING crm.message AS m
	 WHERE o.lane = -1 AND m.customer_id = o.customer_id AND m.message_id = o.message_id AND m.finished_at < drop_messages_before.before;
	DELETE FROM crm.message AS m WHERE m.state <> 'queued' AND m.finished_at < drop_messages_before.before;
	GET DIAGNOSTICS result = ROW_COUNT;
	IF result > 0 THEN
		PERFORM crm.touch(NULL, k) FROM unnest(ARRAY['message', 'delivered', 'open', 'click', 'bounce', 'complaint']) AS k;
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.drop_messages_before(timestamptz) IS
'deletes messages that were finished before an instant, with what was told of them; returns how many. For crm.apply_retention()';

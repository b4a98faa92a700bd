-- The outbox: messages, and the queue of those that are not finished.
--
-- A message is written twice: when it is made, and when it is known what became of it. What happens between, that it waits, is
-- handed out, comes back, is kept in crm.outbox, a narrow table whose rows go when the message is finished. Whether it may go is
-- decided when it is handed out, by what is known then (63_claim.sql). Handing out changes no column that has an index, so that it
-- costs no more than the row's new version, for which its page has room: what is handed out stays in its place in the queue, and
-- crm.lease tells when a hand-out ends.

CREATE SEQUENCE crm.guard_id_seq AS int;
COMMENT ON SEQUENCE crm.guard_id_seq IS 'ids of guards';

CREATE TABLE crm.guard (
	guard_id	int NOT NULL DEFAULT pg_catalog.nextval('crm.guard_id_seq') PRIMARY KEY,
	origin		text NOT NULL,
	trigger		crm.predicate,
	goal		crm.predicate,
	holdout		int NOT NULL DEFAULT 0,
	salt		text NOT NULL DEFAULT '',
	state		text NOT NULL DEFAULT 'on' CHECK (state IN ('on', 'paused', 'stopped'))
);
COMMENT ON TABLE crm.guard IS 'under which conditions messages of one origin may still go when they are handed out';
COMMENT ON COLUMN crm.guard.guard_id IS 'its id';
COMMENT ON COLUMN crm.guard.origin IS 'whose messages, for people';
COMMENT ON COLUMN crm.guard.trigger IS 'what the deciding event of a message must still make true, at the instant of its entry; segments by id';
COMMENT ON COLUMN crm.guard.goal IS 'what must not be true; segments by id';
COMMENT ON COLUMN crm.guard.holdout IS 'percent of people who get none';
COMMENT ON COLUMN crm.guard.salt IS 'by which those are told';
COMMENT ON COLUMN crm.guard.state IS 'on; paused: none is handed out; stopped: none goes any more';

CREATE SEQUENCE crm.message_id_seq;
COMMENT ON SEQUENCE crm.message_id_seq IS 'ids of messages';

CREATE TABLE crm.message (
	customer_id		bigint NOT NULL,
	message_id		bigint NOT NULL DEFAULT pg_catalog.nextval('crm.message_id_seq'),
	channel			text NOT NULL,
	purpose			text NOT NULL,
	transactional	boolean NOT NULL,
	priority		smallint NOT NULL,
	guard_id		int,
	campaign		text,
	run_id			bigint,
	step			text,
	arm				text,
	message_key		text,
	template		text NOT NULL,
	language		text NOT NULL,
	data			jsonb,
	code			text,
	entry			timestamptz,
	event_kind		text,
	event_at		timestamptz,
	condition		crm.predicate,
	created_at		timestamptz NOT NULL,
	due_at			timestamptz NOT NULL,
	useful_until	timestamptz,
	state			text NOT NULL DEFAULT 'queued'
					CHECK (state IN ('queued', 'sent', 'suppressed', 'dead', 'unknown', 'cancelled')),
	reason			text,
	handed_at		timestamptz,
	finished_at		timestamptz,
	token			bigint,
	provider_id		text,
	template_version int,
	PRIMARY KEY (customer_id, message_id)
) WITH (fillfactor = 50);						-- those of a page are often finished together, by one acknowledgement
CREATE INDEX message_message_id_idx ON crm.message (message_id);
CREATE UNIQUE INDEX message_run_id_idx ON crm.message (customer_id, run_id, step, channel) WHERE run_id IS NOT NULL;
CREATE UNIQUE INDEX message_message_key_idx ON crm.message (customer_id, message_key) WHERE message_key IS NOT NULL;
CREATE INDEX message_campaign_idx ON crm.message (campaign, created_at) WHERE campaign IS NOT NULL;
COMMENT ON TABLE crm.message IS 'messages, the record of what was to be sent and what became of it; crm.outbox has those that are not finished';
COMMENT ON COLUMN crm.message.customer_id IS 'to whom; of a merged customer, the id by which it was made';
COMMENT ON COLUMN crm.message.message_id IS 'its id, which a provider is to be given as key: it stays the same however often it is handed out';
COMMENT ON COLUMN crm.message.channel IS 'how it goes';
COMMENT ON COLUMN crm.message.purpose IS 'for which purpose it needs consent';
COMMENT ON COLUMN crm.message.transactional IS 'is about something the customer has ordered: needs no consent, and neither holdout, caps nor quiet hours hold it back';
COMMENT ON COLUMN crm.message.priority IS '0 to 9: 9 goes first, and gets the room that caps leave';
COMMENT ON COLUMN crm.message.guard_id IS 'under which conditions it may go, crm.guard';
COMMENT ON COLUMN crm.message.campaign IS 'name of the campaign, as it was then';
COMMENT ON COLUMN crm.message.run_id IS 'the run that made it';
COMMENT ON COLUMN crm.message.step IS 'and its step';
COMMENT ON COLUMN crm.message.arm IS 'the arms the run was in';
COMMENT ON COLUMN crm.message.message_key IS 'what tells it from others, in the caller''s words: a second one with the same key is not made';
COMMENT ON COLUMN crm.message.template IS 'template of its content, by which it is rendered when it is handed out';
COMMENT ON COLUMN crm.message.language IS 'language; empty for any';
COMMENT ON COLUMN crm.message.data IS 'what the placeholders of the template have besides the customer';
COMMENT ON COLUMN crm.message.code IS 'a promo code in it, which must still be valid';
COMMENT ON COLUMN crm.message.entry IS 'what "since entry" is counted from';
COMMENT ON COLUMN crm.message.event_kind IS 'the kind of the deciding event';
COMMENT ON COLUMN crm.message.event_at IS 'and its instant';
COMMENT ON COLUMN crm.message.condition IS 'what must be true when it is handed out; segments by id';
COMMENT ON COLUMN crm.message.created_at IS 'when it was made';
COMMENT ON COLUMN crm.message.due_at IS 'from when it may go';
COMMENT ON COLUMN crm.message.useful_until IS 'until when; NULL: for ever';
COMMENT ON COLUMN crm.message.state IS
'queued: not finished; sent: acknowledged; suppressed: decided against; cancelled: taken back before; dead: given up; unknown: handed out, and nobody said what became of it';
COMMENT ON COLUMN crm.message.reason IS
'why not: goal, void, condition, holdout, late, no address, no consent, suppressed, code, quiet hours, cap, stopped, gone, lease, error: and what it was, or what the sender said';
COMMENT ON COLUMN crm.message.handed_at IS 'when it was handed out last, if it may have been sent: this counts for caps';
COMMENT ON COLUMN crm.message.finished_at IS 'when it was finished';
COMMENT ON COLUMN crm.message.token IS 'of the last hand-out';
COMMENT ON COLUMN crm.message.provider_id IS 'what the provider calls it';
COMMENT ON COLUMN crm.message.template_version IS 'by which version of the template it was rendered';
COMMENT ON INDEX crm.message_message_id_idx IS 'a message by its id';
COMMENT ON INDEX crm.message_run_id_idx IS 'no step of a run sends twice';
COMMENT ON INDEX crm.message_message_key_idx IS 'nor does a key';
COMMENT ON INDEX crm.message_campaign_idx IS 'all of a campaign';

-- Messages come due and go in order: what is at the front is handed out or dead, see queue_position.c
CREATE TABLE crm.outbox (
	message_id	bigint NOT NULL PRIMARY KEY,
	customer_id	bigint NOT NULL,
	channel		text NOT NULL,
	lane		smallint NOT NULL,
	due_at		timestamptz NOT NULL,
	attempts	smallint NOT NULL DEFAULT 0,
	token		bigint,
	worker		text,
	handed_at	timestamptz,
	perhaps_at	timestamptz,
	leased_until timestamptz,
	reason		text
) WITH (fillfactor = 38);
CREATE INDEX outbox_due_idx ON crm.outbox (channel, lane, due_at, message_id);
CREATE INDEX outbox_customer_id_idx ON crm.outbox (customer_id);
COMMENT ON TABLE crm.outbox IS 'messages that are not settled: queued ones, those that are handed out, and those of which nobody knows whether they were sent';
COMMENT ON COLUMN crm.outbox.message_id IS 'message';
COMMENT ON COLUMN crm.outbox.customer_id IS 'as crm.message';
COMMENT ON COLUMN crm.outbox.channel IS 'as crm.message';
COMMENT ON COLUMN crm.outbox.lane IS 'its priority; -1 when nobody knows what became of it';
COMMENT ON COLUMN crm.outbox.due_at IS 'when it is, or was, due';
COMMENT ON COLUMN crm.outbox.attempts IS 'how often it was handed out';
COMMENT ON COLUMN crm.outbox.token IS 'of the hand-out: who has not this one has nothing to say any more. NULL: it waits';
COMMENT ON COLUMN crm.outbox.worker IS 'to whom';
COMMENT ON COLUMN crm.outbox.handed_at IS 'when, if it may have been sent';
COMMENT ON COLUMN crm.outbox.perhaps_at IS 'when it was before that, if it may have been sent then: the lease ran out, and it is tried again';
COMMENT ON COLUMN crm.outbox.leased_until IS 'how long whoever has it has it';
COMMENT ON COLUMN crm.outbox.reason IS 'why it was put off last';
COMMENT ON INDEX crm.outbox_due_idx IS 'what is due, by channel and priority';
COMMENT ON INDEX crm.outbox_customer_id_idx IS 'what else somebody is to get';

CREATE TABLE crm.lease (
	channel		text NOT NULL,
	until		timestamptz NOT NULL,
	token		bigint NOT NULL,
	messages	bigint[] NOT NULL,
	PRIMARY KEY (channel, until, token)
);
COMMENT ON TABLE crm.lease IS 'hand-outs by when they end; some of their messages, or all, may be finished by now';
COMMENT ON COLUMN crm.lease.channel IS 'channel';
COMMENT ON COLUMN crm.lease.until IS 'when it ends';
COMMENT ON COLUMN crm.lease.token IS 'its token';
COMMENT ON COLUMN crm.lease.messages IS 'the messages of it';

SELECT pg_catalog.pg_extension_config_dump('crm.guard_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.guard', '');
SELECT pg_catalog.pg_extension_config_dump('crm.message_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.message', '');
SELECT pg_catalog.pg_extension_config_dump('crm.outbox', '');
SELECT pg_catalog.pg_extension_config_dump('crm.lease', '');

CREATE FUNCTION crm.create_guard(origin text, trigger crm.predicate DEFAULT NULL, goal crm.predicate DEFAULT NULL, holdout int DEFAULT 0,
								 salt text DEFAULT '') RETURNS int
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	INSERT INTO crm.guard (origin, trigger, goal, holdout, salt)
	VALUES (create_guard.origin, create_guard.trigger, create_guard.goal, create_guard.holdout, create_guard.salt)
	RETURNING guard_id;
END;
COMMENT ON FUNCTION crm.create_guard(text, crm.predicate, crm.predicate, int, text) IS 'makes a guard of messages, see crm.guard; returns its id';

CREATE FUNCTION crm.set_guard_state(guard_id int, state text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
	UPDATE crm.guard AS g SET state = set_guard_state.state
	 WHERE g.guard_id = set_guard_state.guard_id AND g.state <> set_guard_state.state;
	-- what was put off because of a pause goes on; in the order in which others lock them, too
	WITH paused AS MATERIALIZED (
		SELECT o.message_id, m.due_at
		  FROM crm.outbox AS o
		  JOIN crm.message AS m ON m.customer_id = o.customer_id AND m.message_id = o.message_id
		 WHERE set_guard_state.state <> 'paused' AND o.reason = 'paused' AND m.guard_id = set_guard_state.guard_id
		 ORDER BY o.message_id
		   FOR UPDATE OF o
	)
	UPDATE crm.outbox AS o SET due_at = p.due_at, reason = NULL FROM paused AS p WHERE o.message_id = p.message_id;
END;
COMMENT ON FUNCTION crm.set_guard_state(int, text) IS 'on, paused or stopped: see crm.guard';

CREATE FUNCTION crm.enqueue_message(customer_id bigint, channel text, template text, data jsonb DEFAULT NULL,
									purpose text DEFAULT 'marketing', transactional boolean DEFAULT false, priority int DEFAULT 5,
									guard_id int DEFAULT NULL, campaign text DEFAULT NULL, run_id bigint DEFAULT NULL,
									step text DEFAULT NULL, arm text DEFAULT NULL, message_key text DEFAULT NULL,
									language text DEFAULT '', code text DEFAULT NULL, entry timestamptz DEFAULT NULL,
									event_kind text DEFAULT NULL, event_at timestamptz DEFAULT NULL,
									condition crm.predicate DEFAULT NULL, due_at timestamptz DEFAULT crm.now(),
									useful_until timestamptz DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	id bigint;
BEGIN
	INSERT INTO crm.message AS m (customer_id, channel, purpose, transactional, priority, guard_id, campaign, run_id, step, arm, message_key,
								  template, language, data, code, entry, event_kind, event_at, condition, created_at, due_at, useful_until)
	VALUES (enqueue_message.customer_id, enqueue_message.channel, enqueue_message.purpose, enqueue_message.transactional,
			enqueue_message.priority, enqueue_message.guard_id, enqueue_message.campaign, enqueue_message.run_id, enqueue_message.step,
			enqueue_message.arm, enqueue_message.message_key, enqueue_message.template, enqueue_message.language, enqueue_message.data,
			enqueue_message.code, enqueue_message.entry, enqueue_message.event_kind, enqueue_message.event_at, enqueue_message.condition,
			crm.now(), enqueue_message.due_at, enqueue_message.useful_until)
	ON CONFLICT DO NOTHING
	RETURNING m.message_id INTO id;
	IF id IS NOT NULL THEN
		INSERT INTO crm.outbox (message_id, customer_id, channel, lane, due_at)
		VALUES (id, enqueue_message.customer_id, enqueue_message.channel, enqueue_message.priority, enqueue_message.due_at);
	END IF;
	RETURN id;
END
$function$;
COMMENT ON FUNCTION crm.enqueue_message(bigint, text, text, jsonb, text, boolean, int, int, text, bigint, text, text, text, text, text, timestamptz, text, timestamptz, crm.predicate, timestamptz, timestamptz) IS
'puts a message into the outbox, with what is to be decided when it is handed out; see crm.message. Checks nothing. NULL if there is one of the same run, step and channel, or of the same key, already. For campaigns';

CREATE FUNCTION crm.send_message(customer_id bigint, channel text, template text, data jsonb DEFAULT '{}', purpose text DEFAULT 'service',
								 message_key text DEFAULT NULL, transactional boolean DEFAULT true, language text DEFAULT '',
								 priority int DEFAULT 9, due_at timestamptz DEFAULT crm.now(), useful_for interval DEFAULT NULL,
								 condition crm.predicate DEFAULT NULL) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	resolved crm.predicate;
BEGIN
	IF send_message.customer_id IS NULL OR send_message.template IS NULL OR send_message.purpose IS NULL
		OR send_message.transactional IS NULL OR send_message.language IS NULL OR send_message.due_at IS NULL OR send_message.priority IS NULL
	THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'nothing but data, key, useful_for and condition of a message may be null';
	END IF;
	PERFORM crm.channel_kind(send_message.channel);
	IF send_message.priority NOT BETWEEN 0 AND 9 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('invalid priority %s', send_message.priority),
			DETAIL = 'It is a number from 0 to 9; 9 goes first.';
	END IF;
	PERFORM crm.check_purpose(send_message.purpose);
	IF NOT isfinite(send_message.due_at) OR jsonb_typeof(coalesce(send_message.data, '{}')) <> 'object' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = CASE WHEN isfinite(send_message.due_at) THEN 'data of a message must be an object' ELSE 'a message must be due at a finite instant' END;
	END IF;
	IF (crm.newest_template(send_message.template, send_message.channel, send_message.language)).version IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('there is no template "%s" for channel "%s"', send_message.template, send_message.channel),
			HINT = 'crm.set_template() makes one.';
	END IF;
	IF send_message.condition IS NOT NULL THEN
		resolved := crm.resolve_segments(send_message.condition);
		PERFORM crm.check_predicate(resolved);
	END IF;
	RETURN crm.enqueue_message(send_message.customer_id, send_message.channel, send_message.template, send_message.data,
							   purpose => send_message.purpose, transactional => send_message.transactional, priority => send_message.priority,
							   message_key => send_message.message_key, language => send_message.language, condition => resolved,
							   due_at => send_message.due_at, useful_until => send_message.due_at + send_message.useful_for);
END
$function$;
COMMENT ON FUNCTION crm.send_message(bigint, text, text, jsonb, text, text, boolean, text, int, timestamptz, interval, crm.predicate) IS
'puts a message of the shop''s own into the outbox, as from the transaction of an order: it goes if that commits. Transactional ones need no consent, and neither caps, quiet hours nor holdouts hold them back; an address that is suppressed binds them too. condition: what must be true when it is handed out. Of one key a customer gets one message: NULL is returned for the second. Returns its id. Errors: 22004 NULL, 42704 unknown channel or template, 22023 invalid priority, purpose, instant or data, those of crm.check_predicate()';

CREATE FUNCTION crm.cancel_messages(customer_id bigint, run_id bigint, reason text) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off
AS $function$
DECLARE
	-- Step by step, and without a join: its plan is kept, and may have been made while the outbox was small
	ids bigint[] := ARRAY(SELECT m.message_id FROM crm.message AS m
						   WHERE m.customer_id = cancel_messages.customer_id AND m.run_id = cancel_messages.run_id AND m.state = 'queued');
	given timestamptz[];
BEGIN
	IF ids = '{}' THEN
		RETURN 0;
	END IF;
	WITH gone AS (
		DELETE FROM crm.outbox AS o WHERE o.message_id = ANY (ids) AND o.token IS NULL RETURNING o.message_id, o.handed_at
	)
	SELECT coalesce(array_agg(g.message_id), '{}'), array_agg(g.handed_at) INTO ids, given FROM gone AS g;
	UPDATE crm.message AS m
	   SET state = 'cancelled', reason = cancel_messages.reason, handed_at = given[array_position(ids, m.message_id)],
		   finished_at = crm.now()
	 WHERE m.message_id = ANY (ids);
	RETURN cardinality(ids);
END
$function$;
COMMENT ON FUNCTION crm.cancel_messages(bigint, bigint, text) IS
'takes back what a run of a customer still has in the outbox, with the reason; what is handed out already goes. Returns how many';

CREATE FUNCTION crm.forget_positions() RETURNS void
	AS 'MODULE_PATHNAME', 'crm_outbox_forget_positions'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.forget_positions() IS
'this session looks for due messages from the front of the queue again, not from where it found some last, as it does every five seconds anyway: for who puts something back and wants it at once';

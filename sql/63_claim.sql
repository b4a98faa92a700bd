-- Handing out: crm.claim_messages(), where everything is decided.
--
-- src/outbox/claim.c tells how; crm.decide() is the decision alone, for crm.dry_run().

CREATE SEQUENCE crm.claim_token_seq;
COMMENT ON SEQUENCE crm.claim_token_seq IS 'tokens of hand-outs';

SELECT pg_catalog.pg_extension_config_dump('crm.claim_token_seq', '');

CREATE TYPE crm.claim_item AS (
	message_id		bigint,
	customer_id		bigint,
	person			bigint,
	mine			boolean,
	channel			text,
	purpose			text,
	transactional	boolean,
	priority		int,
	due_at			timestamptz,
	useful_until	timestamptz,
	guard_id		int,
	entry			timestamptz,
	event_kind		text,
	event_at		timestamptz,
	condition		crm.predicate,
	code			text,
	verdict			text,
	until			timestamptz,
	address			text
);
COMMENT ON TYPE crm.claim_item IS 'a message that is being decided: what it is, and the verdict (NULL: it may go; a reason, and until when it is put off, NULL: for good)';

CREATE FUNCTION crm.decide(items crm.claim_item[], at timestamptz) RETURNS crm.claim_item[]
	AS 'MODULE_PATHNAME', 'crm_outbox_decide'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.decide(crm.claim_item[], timestamptz) IS
'decides messages of people who are no aliases, all that are due of each where a cap binds them: the verdict of each (NULL: it may go, at the address), and until when it is put off. Writes nothing';

CREATE FUNCTION crm.claim_messages(channel text, worker text DEFAULT NULL, max int DEFAULT 100, lease interval DEFAULT NULL,
								   at timestamptz DEFAULT crm.now())
	RETURNS TABLE (message_id bigint, token bigint, customer_id bigint, address text, content jsonb, campaign text, step text, purpose text,
				   attempt int)
	AS 'MODULE_PATHNAME', 'crm_outbox_claim_messages'
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off
	SET enable_seqscan = off;						-- plans are kept, and may have been made while tables were empty
COMMENT ON FUNCTION crm.claim_messages(text, text, int, interval, timestamptz) IS
'hands out messages of a channel that are due, at most max (1 to 500), the highest priority first, to a sender who calls himself worker: each with the id that the provider is to be given as key, a token for crm.ack_messages() and crm.nack_message(), the customer, the address, and the rendered content by part. Whether each may go is decided now, with what has committed by now: stopped, late, address, consent, suppression, holdout, code, deciding event, goal, condition, quiet hours, caps. What may not is finished with the reason, or put off. Commit before sending; the commit waits for the disk, whatever synchronous_commit says. Who says nothing until the lease ends (default: the channel''s rule, else 5 minutes) may have sent them: unknown. Customers whom another claim has in hand are left to the next call. Errors: 22004 NULL channel, max or instant, 22023 an invalid number, instant or lease, 42704 unknown channel, 25001 in a repeatable read or serializable transaction';

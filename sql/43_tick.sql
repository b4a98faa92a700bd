-- Live segments: who waits to be evaluated, when an answer changes by itself, and the tick that sees to both.
--
-- Nothing in these tables is dumped: they are positions and what follows from facts. After a restore the first tick begins
-- anew, with a refresh.

CREATE TABLE crm.slot (
	slot		int NOT NULL,
	turn		bigint NOT NULL,
	position	bigint NOT NULL,
	purged		bigint NOT NULL,
	watermark	timestamptz NOT NULL,
	PRIMARY KEY (slot, turn)
);
COMMENT ON TABLE crm.slot IS
'how far each slot of customers has come: the row with the highest turn counts, older ones are gone or about to go. Empty until the first crm.tick()';
COMMENT ON COLUMN crm.slot.slot IS 'customers fall into 16 slots by a hash of their ids, crm.slot_of()';
COMMENT ON COLUMN crm.slot.turn IS 'rises by one with every change';
COMMENT ON COLUMN crm.slot.position IS 'crm.pending is done up to this seq';
COMMENT ON COLUMN crm.slot.purged IS 'and its rows are deleted up to this one';
COMMENT ON COLUMN crm.slot.watermark IS 'crm.deadline is done up to this instant, at which what is stored was right';

-- The newest entry of each is found at once by index, however many dead ones somebody's old snapshot keeps.
CREATE VIEW crm.slot_now AS
	SELECT s.*
	  FROM pg_catalog.generate_series(0, 15) AS g
	 CROSS JOIN LATERAL (SELECT o.* FROM crm.slot AS o WHERE o.slot = g ORDER BY o.turn DESC LIMIT 1) AS s;
COMMENT ON VIEW crm.slot_now IS 'how far each slot has come; empty where segments are not live';
COMMENT ON COLUMN crm.slot_now.slot IS 'as crm.slot';
COMMENT ON COLUMN crm.slot_now.turn IS 'as crm.slot';
COMMENT ON COLUMN crm.slot_now.position IS 'as crm.slot';
COMMENT ON COLUMN crm.slot_now.purged IS 'as crm.slot';
COMMENT ON COLUMN crm.slot_now.watermark IS 'as crm.slot';

CREATE SEQUENCE crm.pending_seq;
COMMENT ON SEQUENCE crm.pending_seq IS 'order of crm.pending';

CREATE TABLE crm.pending (
	slot		int NOT NULL,
	seq			bigint NOT NULL,
	customer_id	bigint NOT NULL,
	kind		text,
	PRIMARY KEY (slot, seq)
);
COMMENT ON TABLE crm.pending IS 'customers whom a change has touched and who are to be evaluated';
COMMENT ON COLUMN crm.pending.slot IS 'the customer''s slot';
COMMENT ON COLUMN crm.pending.seq IS 'order in which the changes were read';
COMMENT ON COLUMN crm.pending.customer_id IS 'customer';
COMMENT ON COLUMN crm.pending.kind IS 'the kind of facts that has changed; NULL for any';

CREATE TABLE crm.deadline (
	customer_id		bigint NOT NULL PRIMARY KEY,
	slot			int NOT NULL,
	due				timestamptz NOT NULL,
	segment_id		int NOT NULL,
	evaluated_at	timestamptz NOT NULL
);
CREATE INDEX deadline_slot_due_idx ON crm.deadline (slot, due);
COMMENT ON TABLE crm.deadline IS 'when a customer''s segments can change next by time alone; who has no row stays where he is until a fact changes';
COMMENT ON COLUMN crm.deadline.customer_id IS 'customer';
COMMENT ON COLUMN crm.deadline.slot IS 'his slot';
COMMENT ON COLUMN crm.deadline.due IS 'not before this instant';
COMMENT ON COLUMN crm.deadline.segment_id IS 'the segment that can change then; the first one of several';
COMMENT ON COLUMN crm.deadline.evaluated_at IS 'since when this was known: what is stored of him was right from then until due';
COMMENT ON INDEX crm.deadline_slot_due_idx IS 'finds what is due';

CREATE SEQUENCE crm.tick_error_id_seq;
COMMENT ON SEQUENCE crm.tick_error_id_seq IS 'ids of errors of ticks';
CREATE TABLE crm.tick_error (
	error_id	bigint NOT NULL DEFAULT pg_catalog.nextval('crm.tick_error_id_seq') PRIMARY KEY,
	at			timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	sqlstate	text NOT NULL,
	message		text NOT NULL,
	detail		text,
	hint		text,
	context		text
);
COMMENT ON TABLE crm.tick_error IS 'the last 100 errors of ticks that crm.run_ticks() and the background worker have survived';
COMMENT ON COLUMN crm.tick_error.error_id IS 'number of the error';
COMMENT ON COLUMN crm.tick_error.at IS 'when, by the clock';
COMMENT ON COLUMN crm.tick_error.sqlstate IS 'its code';
COMMENT ON COLUMN crm.tick_error.message IS 'its message';
COMMENT ON COLUMN crm.tick_error.detail IS 'its detail';
COMMENT ON COLUMN crm.tick_error.hint IS 'its hint';
COMMENT ON COLUMN crm.tick_error.context IS 'where it happened';

CREATE FUNCTION crm.slot_of(customer_id bigint) RETURNS int
	AS 'MODULE_PATHNAME', 'crm_segment_slot'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.slot_of(bigint) IS 'the slot of a customer, 0 to 15. NULL for NULL';

CREATE FUNCTION crm.lock_slots() RETURNS void
	AS 'MODULE_PATHNAME', 'crm_segment_lock_slots'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.lock_slots() IS
'lets only this transaction write memberships until it ends, waiting for the others; what they have stored is seen by the next statement';

CREATE FUNCTION crm.tick(at timestamptz DEFAULT crm.now(), max_customers int DEFAULT 1000, mend boolean DEFAULT true,
						 OUT routed bigint, OUT touched bigint, OUT due bigint, OUT entered bigint, OUT "left" bigint,
						 OUT refreshed boolean, OUT more boolean)
	RETURNS record
	AS 'MODULE_PATHNAME', 'crm_segment_tick'
	LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
	SET jit = off;									-- compiling a plan takes longer than a tick
COMMENT ON FUNCTION crm.tick(timestamptz, int, boolean) IS
'Brings stored segments up to date for the customers whom committed changes have touched and those whose deadline has come by the instant, about max_customers of them, in the calling transaction; crm.run_ticks() does it until there is nothing left. Several sessions may tick side by side. The first tick of all makes segments live: from then on changes are logged. With mend, a tick that finds a feed whose changes are not known customer by customer, or a segment that was made or redefined, refreshes all segments instead. An instant before that of what is stored counts as the latter. Returns how many changes were read from the log, how many of them and how many deadlines were worked on, entries and leaves, whether all was refreshed, and whether more is to be done. Errors: 22004 NULL instant or mend, 22023 an infinite instant or one that lies ahead, or no customer to be taken, 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed, and those of the feeds.';

CREATE FUNCTION crm.log_tick_error(sqlstate text, message text, detail text, hint text, context text) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
	DELETE FROM crm.tick_error AS e
	 WHERE e.error_id <= (SELECT o.error_id FROM crm.tick_error AS o ORDER BY o.error_id DESC OFFSET 99 LIMIT 1);
	INSERT INTO crm.tick_error (sqlstate, message, detail, hint, context)
	VALUES (log_tick_error.sqlstate, log_tick_error.message, log_tick_error.detail, log_tick_error.hint,
			log_tick_error.context)
$function$;
COMMENT ON FUNCTION crm.log_tick_error(text, text, text, text, text) IS
'stores an error of a tick in crm.tick_error, and drops all but the last 100. For crm.run_ticks() and the worker';

CREATE PROCEDURE crm.run_ticks(for_seconds float8 DEFAULT 0, max_customers int DEFAULT 1000, naptime float8 DEFAULT 0.1)
	AS 'MODULE_PATHNAME', 'crm_segment_run_ticks'
	LANGUAGE C;
COMMENT ON PROCEDURE crm.run_ticks(float8, int, float8) IS
'calls crm.tick() until there is nothing left to do, and commits after each; then goes on for some seconds, looking again after each nap. For cron: CALL crm.run_ticks(for_seconds => 55), once a minute. An error of a tick is stored in crm.tick_error and the rest goes on. To be called outside of a transaction block. Errors: 22023 for NULL or negative arguments, 2D000 within a transaction block';

CREATE FUNCTION crm.stop_ticks() RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	PERFORM crm.lock_segments();
	PERFORM crm.lock_slots();
	DELETE FROM crm.slot;
	DELETE FROM crm.pending;
	DELETE FROM crm.deadline;
	PERFORM crm.forget_changes();
END
$function$;
COMMENT ON FUNCTION crm.stop_ticks() IS
'makes segments stored as of the last refresh again: changes are logged no more, and what is logged is forgotten; watches stay. The next crm.tick() makes them live again. For a shop that ticks no more, whose log would grow. Errors: 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed';

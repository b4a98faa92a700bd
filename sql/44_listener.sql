-- Listeners: who above is told by name of customers in whose standing something has changed.
--
-- Whoever keeps something elsewhere in step with a segment, as an ad audience is, need not look at all its members again and
-- again: where memberships are written, and where a tick finds that somebody's addresses or consents were touched, those customers
-- are put into a queue of his, in the same transaction. He takes them from there, as one of crm.follower.
--
-- The queue is not dumped: with the first tick after a restore everybody is told.

CREATE TABLE crm.listener (
	listener	name NOT NULL PRIMARY KEY,
	segments	int[] NOT NULL
);
COMMENT ON TABLE crm.listener IS
'who wants to be told of customers that enter or leave some segments, and of all whose addresses, consents or identity may have changed: crm.listener_queue has them then. Who becomes one calls crm.lock_slots() first, and looks at everybody himself afterwards';
COMMENT ON COLUMN crm.listener.listener IS 'his name';
COMMENT ON COLUMN crm.listener.segments IS 'ids of the segments';

CREATE SEQUENCE crm.listener_queue_seq;
COMMENT ON SEQUENCE crm.listener_queue_seq IS 'order of crm.listener_queue';

CREATE TABLE crm.listener_queue (
	listener	name NOT NULL,
	seq			bigint NOT NULL DEFAULT pg_catalog.nextval('crm.listener_queue_seq'),
	customer_id	bigint,
	PRIMARY KEY (listener, seq)
);
COMMENT ON TABLE crm.listener_queue IS 'of whom listeners were told and at whom they have not looked yet; who has deletes it';
COMMENT ON COLUMN crm.listener_queue.listener IS 'who is told';
COMMENT ON COLUMN crm.listener_queue.seq IS 'order';
COMMENT ON COLUMN crm.listener_queue.customer_id IS 'of whom, by any of his ids; NULL: of everybody, because nobody knows of whom';

SELECT pg_catalog.pg_extension_config_dump('crm.listener', '');

CREATE FUNCTION crm.tell_listeners(customers bigint[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF NOT EXISTS (SELECT FROM crm.listener) THEN
		RETURN;
	ELSIF tell_listeners.customers IS NULL THEN
		INSERT INTO crm.listener_queue AS q (listener) SELECT l.listener FROM crm.listener AS l;
	ELSE
		INSERT INTO crm.listener_queue AS q (listener, customer_id)
		SELECT l.listener, c
		  FROM crm.listener AS l
		 CROSS JOIN (SELECT DISTINCT u FROM unnest(tell_listeners.customers) AS u) AS t(c);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.tell_listeners(bigint[]) IS
'tells all listeners of customers whose addresses, consents or identity may have changed, or (NULL) of everybody. To be called while nobody can become one: under the slots'' locks';

CREATE FUNCTION crm.tell_moves(customers bigint[], segments int[]) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF EXISTS (SELECT FROM crm.listener) THEN
		INSERT INTO crm.listener_queue AS q (listener, customer_id)
		SELECT DISTINCT l.listener, u.customer_id
		  FROM unnest(tell_moves.customers, tell_moves.segments) AS u(customer_id, segment_id)
		  JOIN crm.listener AS l ON u.segment_id = ANY (l.segments);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.tell_moves(bigint[], int[]) IS
'tells those who listen of customers that have entered or left a segment each. To be called under the slots'' locks';

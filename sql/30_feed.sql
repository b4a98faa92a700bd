-- Feeds: where the facts come from. The shop defines views over its own tables; what it has no table for is tracked.
--
-- Dump and restore. The tables below are dumped with their rows. The views crm_feed.* and the partitions of crm.event are
-- made at run time and are no members of the extension, so pg_dump treats them as the shop's own: views with their owners,
-- partitions with their rows and indexes. crm.event itself is a member and holds no rows. Nothing in crm.source depends on
-- an oid: definers are kept by name, and the tables that a feed reads are found from its view.

CREATE TABLE crm.source (
	kind			text NOT NULL PRIMARY KEY,
	query			text,
	search_path		text,
	definer			text,
	tracked			boolean NOT NULL DEFAULT false,
	key_type		text,
	indexed			boolean NOT NULL DEFAULT false,
	released		boolean NOT NULL DEFAULT false,
	stale_reason	text,
	defined_at		timestamptz NOT NULL DEFAULT pg_catalog.now(),
	own				boolean NOT NULL DEFAULT false,
	reader			text,
	CONSTRAINT source_is_tracked_or_defined CHECK (
		CASE WHEN tracked OR own THEN query IS NULL
			 ELSE query IS NOT NULL AND search_path IS NOT NULL AND definer IS NOT NULL AND key_type IS NOT NULL END)
);
COMMENT ON TABLE crm.source IS 'the feeds, as they were defined; crm.feeds shows how they are now';
COMMENT ON COLUMN crm.source.kind IS 'kind of the events, or "customer" for the customers; name of the view in crm_feed';
COMMENT ON COLUMN crm.source.query IS 'the SELECT; NULL for tracked events';
COMMENT ON COLUMN crm.source.search_path IS 'the path by which the query''s names are understood, pinned at definition';
COMMENT ON COLUMN crm.source.definer IS 'name of the role with whose rights the query runs; the view''s owner says it too';
COMMENT ON COLUMN crm.source.tracked IS 'events are stored by crm.track() instead of being read by a query';
COMMENT ON COLUMN crm.source.key_type IS 'type of the query''s customer_id';
COMMENT ON COLUMN crm.source.indexed IS 'a customer''s rows are found by index';
COMMENT ON COLUMN crm.source.released IS 'the view is dropped until crm.rebuild_feeds()';
COMMENT ON COLUMN crm.source.stale_reason IS
'why what is stored may not agree with the feed: defined, rebuilt, released, time zone changed, or what a refresh found; NULL when it agrees';
COMMENT ON COLUMN crm.source.defined_at IS 'when the feed was defined last';
COMMENT ON COLUMN crm.source.own IS
'the feed is the extension''s own, comes with it and is not dumped: what it knows of customers. That of a kind customer.NAME gives attributes, any other events';

COMMENT ON COLUMN crm.source.reader IS
'of an own feed that is no mere view: the function of schema crm that gives the rows of some customers, or (NULL) of all';

CREATE TABLE crm.source_property (
	kind	text NOT NULL,
	name	text NOT NULL,
	type	text NOT NULL CHECK (type IN ('text', 'number', 'boolean', 'date', 'timestamp', 'array')),
	PRIMARY KEY (kind, name)
);
COMMENT ON TABLE crm.source_property IS
'of an own feed without a view, whose reader gives (customer_id, properties jsonb): which properties there are';
COMMENT ON COLUMN crm.source_property.kind IS 'the feed';
COMMENT ON COLUMN crm.source_property.name IS 'name of the property';
COMMENT ON COLUMN crm.source_property.type IS 'what its values are';

CREATE SEQUENCE crm.customer_id_seq AS bigint;
COMMENT ON SEQUENCE crm.customer_id_seq IS 'ids of customers whom the shop knows by a key that is no integer';

-- A phone or an address may be several people's, the shop's own key may not.
CREATE TABLE crm.identity (
	namespace	text NOT NULL,
	value		text NOT NULL,
	customer_id	bigint NOT NULL,
	source		text NOT NULL DEFAULT 'given',
	raw			text,
	added_at	timestamptz NOT NULL DEFAULT pg_catalog.now(),
	PRIMARY KEY (namespace, value, customer_id)
);
CREATE UNIQUE INDEX identity_shop_idx ON crm.identity (value) WHERE namespace = 'shop';
CREATE INDEX identity_customer_id_idx ON crm.identity (customer_id);
COMMENT ON TABLE crm.identity IS 'by what a customer is known';
COMMENT ON COLUMN crm.identity.namespace IS
'what kind of name it is: phone, email, card, cookie, any other; "shop" is the shop''s own key (uuid or text)';
COMMENT ON COLUMN crm.identity.value IS 'the name, in its normal form';
COMMENT ON COLUMN crm.identity.customer_id IS 'the customer; of a merged one, the id by which it came';
COMMENT ON COLUMN crm.identity.source IS '"feed": from the feed of the customers, and goes when it goes there; otherwise as it was given';
COMMENT ON COLUMN crm.identity.raw IS 'how the feed spells it; NULL for what was given and is not in the feed';
COMMENT ON COLUMN crm.identity.added_at IS 'since when it is known';
COMMENT ON INDEX crm.identity_shop_idx IS 'the customer of a key of the shop';
COMMENT ON INDEX crm.identity_customer_id_idx IS 'all names of a customer';

-- Nothing is rewritten by a merge: facts keep the ids by which they came, and are read as the other customer's.
CREATE TABLE crm.alias (
	alias		bigint NOT NULL PRIMARY KEY,
	into_id		bigint NOT NULL,
	customer_id	bigint NOT NULL,
	merged_at	timestamptz NOT NULL,
	joined_at	timestamptz NOT NULL,
	CONSTRAINT alias_is_another CHECK (alias <> into_id AND alias <> customer_id)
);
CREATE INDEX alias_customer_id_idx ON crm.alias (customer_id);
CREATE INDEX alias_into_id_idx ON crm.alias (into_id);
COMMENT ON TABLE crm.alias IS
'customers who were merged into others; made by crm.merge_customers() and taken back by crm.unmerge_customers()';
COMMENT ON COLUMN crm.alias.alias IS 'id of the one who was merged';
COMMENT ON COLUMN crm.alias.into_id IS 'the one into whom; may be merged further';
COMMENT ON COLUMN crm.alias.customer_id IS 'the one who it is in the end: as whom all facts are read';
COMMENT ON COLUMN crm.alias.merged_at IS 'when that was';
COMMENT ON COLUMN crm.alias.joined_at IS 'since when it is customer_id, who may have come to that later';
COMMENT ON INDEX crm.alias_customer_id_idx IS 'who was merged into a customer';
COMMENT ON INDEX crm.alias_into_id_idx IS 'who was merged into one directly';

CREATE FUNCTION crm.resolve_customer(id bigint) RETURNS bigint
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE		-- which keeps its plan from query to query
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off						-- and may have made it when nobody was merged
AS $function$
BEGIN
	RETURN coalesce((SELECT a.customer_id FROM crm.alias AS a WHERE a.alias = resolve_customer.id), resolve_customer.id);
END
$function$;
COMMENT ON FUNCTION crm.resolve_customer(bigint) IS
'the customer whose an id is: another one when it was merged, otherwise itself, whether there is such a customer or not. NULL gives NULL';

CREATE FUNCTION crm.ids_of(customer_id bigint) RETURNS bigint[]
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
	SET enable_seqscan = off						-- the plan is kept, and may have been made when nobody was merged
AS $function$
BEGIN
	-- by customer first, not by alias through all of them
	RETURN ids_of.customer_id || ARRAY(SELECT i.alias
										 FROM (SELECT a.alias FROM crm.alias AS a WHERE a.customer_id = ids_of.customer_id OFFSET 0) AS i
										ORDER BY i.alias);
END
$function$;
COMMENT ON FUNCTION crm.ids_of(bigint) IS
'all ids of a customer: his own first, then those of customers who were merged into him. Of an id that was merged itself, that alone. NULL gives NULL';

-- What is left of those who were erased: enough not to take them up again.
CREATE TABLE crm.erased_customer (
	customer_id	bigint NOT NULL PRIMARY KEY,
	erased_at	timestamptz NOT NULL,
	reason		text
);
COMMENT ON TABLE crm.erased_customer IS
'ids of people whom crm.erase_customer() has erased: an id alone, which the shop''s own tables may still have. As long as they have it, the feeds are read without it';
COMMENT ON COLUMN crm.erased_customer.customer_id IS 'the id';
COMMENT ON COLUMN crm.erased_customer.erased_at IS 'when that was';
COMMENT ON COLUMN crm.erased_customer.reason IS 'why, in the caller''s words, which should not tell who he was';

CREATE TABLE crm.erased (
	address_hash	bytea NOT NULL PRIMARY KEY,
	erased_at		timestamptz NOT NULL
);
COMMENT ON TABLE crm.erased IS
'what erased people were known by, and their addresses, as hashes only: crm.is_erased() recognises one who is about to be taken up again';
COMMENT ON COLUMN crm.erased.address_hash IS 'crm.address_hash() of namespace and value; of a customer''s id, with namespace customer';
COMMENT ON COLUMN crm.erased.erased_at IS 'when that was';

CREATE FUNCTION crm.ids_of_customers(customers bigint[]) RETURNS TABLE (customer_id bigint, id bigint)
	LANGUAGE sql STABLE PARALLEL SAFE
	ROWS 10
BEGIN ATOMIC
	SELECT DISTINCT c, c
	  FROM pg_catalog.unnest(ids_of_customers.customers) AS c
	 WHERE NOT EXISTS (SELECT FROM crm.alias AS l WHERE l.alias = c)
	UNION ALL
	SELECT l.customer_id, l.alias
	  FROM crm.alias AS l
	 WHERE l.customer_id = ANY (ids_of_customers.customers);
END;
COMMENT ON FUNCTION crm.ids_of_customers(bigint[]) IS
'customers with all ids of each, as crm.ids_of(), for queries over several. An id that was merged itself is none of them. NULL has none';

CREATE VIEW crm.customer_key AS
	SELECT i.value AS key, i.customer_id
	  FROM crm.identity AS i
	 WHERE i.namespace = 'shop';
COMMENT ON VIEW crm.customer_key IS
'the shop''s own keys of customers, where they are no integers; all of crm.identity that the definer of a feed needs to see';
COMMENT ON COLUMN crm.customer_key.key IS 'the shop''s key, as text';
COMMENT ON COLUMN crm.customer_key.customer_id IS 'the customer';

-- Partitions are made by crm.track(), each with its index; the parent has none.
CREATE TABLE crm.event (
	customer_id	bigint NOT NULL,
	kind		text NOT NULL,
	at			timestamptz NOT NULL,
	properties	jsonb NOT NULL
) PARTITION BY RANGE (at);
COMMENT ON TABLE crm.event IS 'tracked events, a partition for each month (UTC) of their instant';
COMMENT ON COLUMN crm.event.customer_id IS 'whose';
COMMENT ON COLUMN crm.event.kind IS 'kind of the event';
COMMENT ON COLUMN crm.event.at IS 'when it happened';
COMMENT ON COLUMN crm.event.properties IS 'its properties, an object';

CREATE TABLE crm.event_key (
	customer_id	bigint NOT NULL,
	kind		text NOT NULL,
	event_key	text NOT NULL,
	at			timestamptz NOT NULL,
	PRIMARY KEY (customer_id, kind, event_key)
);
COMMENT ON TABLE crm.event_key IS 'keys of tracked events that have one: a repeat of a key is no event';
COMMENT ON COLUMN crm.event_key.customer_id IS 'whose';
COMMENT ON COLUMN crm.event_key.kind IS 'kind of the event';
COMMENT ON COLUMN crm.event_key.event_key IS 'the key, unique for a customer and a kind';
COMMENT ON COLUMN crm.event_key.at IS 'when the event happened; the key goes with it';

SELECT pg_catalog.pg_extension_config_dump('crm.source', 'WHERE NOT own');
SELECT pg_catalog.pg_extension_config_dump('crm.source_property', '');
SELECT pg_catalog.pg_extension_config_dump('crm.customer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.identity', '');
SELECT pg_catalog.pg_extension_config_dump('crm.alias', '');
SELECT pg_catalog.pg_extension_config_dump('crm.erased_customer', '');
SELECT pg_catalog.pg_extension_config_dump('crm.erased', '');
SELECT pg_catalog.pg_extension_config_dump('crm.event_key', '');

CREATE FUNCTION crm.define_customers(query text) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_define_customers'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.define_customers(text) IS
'defines who the customers are, or defines it anew: one SELECT with a row for each customer and a column customer_id (integer, uuid or text), every other column being an attribute (text, number, boolean, date, timestamptz, or an array of these; timestamp without time zone is read in the zone of crm.timezone(), with a NOTICE). Where the key is no integer, the view crm_feed.customer has it besides, as customer_key. The query runs as the calling role, under the search_path of now. It must be without parameters, volatile functions, the current time and what differs from session to session. Errors: 42601 not one SELECT, 42703 column missing, 42804 type not supported or another key than the other feeds have, 42611 column without name, 42701 two columns of one name, 42939 an attribute called customer_key where the key is no integer, 42P17 volatile, flowing with time or depending on the session, 42P02 parameters, 0A000 changes data, locks rows, uses what is temporary, or reads other feeds, 42501 not the definer of the feed that is replaced, 22004 query is NULL, 55P03 the feed, or a table, is in use for longer than a second: try again';

CREATE FUNCTION crm.define_event(kind text, query text) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_define_event'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.define_event(text, text) IS
'defines the events of a kind, or defines them anew: as crm.define_customers, and with a column at (timestamptz; a date, which is its beginning, or a timestamp without time zone are read in the zone of crm.timezone(), with a NOTICE). Every other column is a property. Rows whose customer_id or at is NULL, or at is infinite, are passed over. Errors as there, and 42939 for a reserved kind or column, 42602 for an empty and 42622 for a too long kind, 42710 when the kind is tracked';

CREATE FUNCTION crm.drop_event(kind text, with_events boolean DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_drop_event'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.drop_event(text, boolean) IS
'drops a kind of event: of a defined one the view, of a tracked one the stored events, if with_events is true. Errors: 42704 no such kind, 2BP01 tracked events are stored and with_events is false or NULL, 42501 not the definer, and for a tracked kind not the owner of the extension, 42939 kind is customer, 22004 kind is NULL, 55P03 its view is in use for longer than a second';

CREATE FUNCTION crm.release_feeds() RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_feed_release'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.release_feeds() IS
'drops the views of all feeds, so that the shop''s tables can be altered or dropped; crm.rebuild_feeds() makes them again. Until then reading a feed is an error (55000). What was granted on a view goes with it, save what crm.grant_access gives. Returns how many were released. Errors: 42501 for who may not act as all their definers, 55P03 a feed is in use for longer than a second: try again';

CREATE FUNCTION crm.rebuild_feeds() RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_feed_rebuild'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.rebuild_feeds() IS
'makes the views of all feeds again from their texts, as their definers, and marks them stale; to be called after a migration of the shop''s tables. Returns how many there are. Errors: those of crm.define_event, with the feed''s name in the context, and 42704 when the definer''s role is gone';

CREATE FUNCTION crm.define_property(kind text, name text, type text) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_feed_define_property'
	LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.define_property(text, text, text) IS
'for the functions that store facts of the extension''s own: makes a property of a feed without a view known, if it is not known yet, with the type of its values (text, number, boolean, date, timestamp, array). True when it was new; what type it has otherwise is not asked. NULL gives NULL';

CREATE FUNCTION crm.refresh_keys() RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_feed_refresh_identities'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.refresh_keys() IS
'gives ids to the customers of a shop with uuid or text keys who have none yet, and looks again which feeds can be looked up by index. Returns how many ids were given. For crm.refresh_identities(), which does more';

CREATE FUNCTION crm.profile_of(customer_id bigint) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_feed_profile_of'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION crm.profile_of(bigint) IS
'all facts of a customer, from all feeds, each run as its definer; for a role that may not read crm.identity without addresses, which are attributes and properties called as a kind of crm.channel (email, phone, telegram, push and others). NULL for NULL, and for a customer of whom nothing is known: no row of the customers, no event, no identity; who has events only has a profile without attributes. A NOTICE tells of a feed that has no index for it. Of several rows of the customer the first one read is taken, with a WARNING. Error 55000 when a feed is released or its tables are no longer those that its text names';

CREATE FUNCTION crm.profile_of_kinds(customer_id bigint, kinds text[]) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_feed_profile_of_kinds'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION crm.profile_of_kinds(bigint, text[]) IS
'as crm.profile_of(), with events of some kinds only (and, if one of them is tracked, of all that are): who asks for few need not read the rest. NULL also for a customer of whom nothing else is known. Error 22004 for a NULL among the kinds';

CREATE FUNCTION crm.track(
	customer_id bigint,
	kind text,
	properties jsonb DEFAULT '{}',
	at timestamptz DEFAULT crm.now(),
	event_key text DEFAULT NULL,
	on_error text DEFAULT 'error') RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_feed_track'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.track(bigint, text, jsonb, timestamptz, text, text) IS
'stores an event that the shop has no table for. True when it is stored, false when the customer already has an event of this kind with this event_key and for somebody who was erased, NULL when it was refused and on_error is ''warn'', which makes errors warnings. properties is an object of strings (ISO dates and instants are read as such), numbers, booleans, and arrays of these. Errors: 22004 an argument other than event_key is NULL, 22023 properties, 54000 event_key has more than 1024 bytes, 22008 at is infinite or not in the years 1 to 9999, 42710 the kind is defined by a query, 42939 kind is customer, 55P03 a new month''s partition could not be made within a second (it is made ahead, so that this is rare), 55000 the month''s partition is detached; and, whatever on_error is, 22004 or 22023 for on_error itself';

CREATE FUNCTION crm.drop_events_before(before timestamptz) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
	SET lock_timeout = '1s'			-- a shop that is just tracking is not to wait for us, nor we for it
AS $function$
DECLARE
	part record;
	dropped integer := 0;
BEGIN
	IF drop_events_before.before IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'argument "before" must not be null';
	END IF;

	FOR part IN
		SELECT p.relation::regclass AS relation, p.month
		  FROM (SELECT i.inhrelid AS relation,
					   to_date(substring(c.relname FROM '^event_(\d{4}_\d{2})$'), 'YYYY_MM') AS month
				  FROM pg_inherits AS i
				  JOIN pg_class AS c ON c.oid = i.inhrelid
				 WHERE i.inhparent = 'crm.event'::regclass) AS p
		 WHERE (p.month + interval '1 month') AT TIME ZONE 'UTC' <= drop_events_before.before
		 ORDER BY p.month
	LOOP
		EXECUTE format('DROP TABLE %s', part.relation);
		DELETE FROM crm.event_key AS k
		 WHERE k.at >= part.month::timestamp AT TIME ZONE 'UTC'
		   AND k.at < (part.month + interval '1 month') AT TIME ZONE 'UTC';
		dropped := dropped + 1;
	END LOOP;
	IF dropped > 0 THEN
		PERFORM crm.touch(NULL, s.kind) FROM crm.source AS s WHERE s.tracked;
	END IF;
	RETURN dropped;
EXCEPTION WHEN lock_not_available THEN
	RAISE EXCEPTION USING
		ERRCODE = 'lock_not_available',
		MESSAGE = 'tracked events are in use',
		DETAIL = 'A month can be dropped only while no transaction has just read or tracked events.',
		HINT = 'Somebody else uses them for longer than we wait, because others would wait behind us. Try again.';
END
$function$;
COMMENT ON FUNCTION crm.drop_events_before(timestamptz) IS
'drops the tracked events of all months (UTC) that end at or before the given instant, with their keys; a month that the instant lies in stays whole. Returns how many months were dropped. Must be called by the owner of the extension. Errors: 22004 for NULL, 55P03 when a lock is not to be had within a second: call it again';

CREATE FUNCTION crm.feed_status(
	OUT kind text,
	OUT state text,
	OUT reason text,
	OUT definer text,
	OUT indexed boolean,
	OUT key_type text,
	OUT columns text[],
	OUT tables regclass[],
	OUT query text) RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_feed_status'
	LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 20;
COMMENT ON FUNCTION crm.feed_status() IS 'how the feeds are now; crm.feeds shows it';

CREATE VIEW crm.feeds AS
	SELECT s.kind, s.state, s.reason, s.definer, s.indexed, s.key_type, s.columns, s.tables, s.query
	  FROM crm.feed_status() AS s
	 WHERE s.state <> 'own';
COMMENT ON VIEW crm.feeds IS 'the shop''s feeds and how they are now, the customers first';
COMMENT ON COLUMN crm.feeds.kind IS 'kind of the events, or "customer" for the customers';
COMMENT ON COLUMN crm.feeds.state IS
'ok; tracked, events are stored by crm.track(); released until crm.rebuild_feeds(); stale, what is stored may not agree with the feed, or the feed with its tables';
COMMENT ON COLUMN crm.feeds.reason IS 'why it is stale or released';
COMMENT ON COLUMN crm.feeds.definer IS 'the role with whose rights it runs';
COMMENT ON COLUMN crm.feeds.indexed IS 'a customer''s rows are found by index; looked at when it is defined, rebuilt or refreshed';
COMMENT ON COLUMN crm.feeds.key_type IS 'type of the shop''s customer_id';
COMMENT ON COLUMN crm.feeds.columns IS 'attributes or properties, with their types; of tracked events any property may be named';
COMMENT ON COLUMN crm.feeds.tables IS 'what it reads';
COMMENT ON COLUMN crm.feeds.query IS 'its text';

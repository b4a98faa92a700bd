-- Capture: which tables are watched, what the shop's transactions have touched, and who has read how far.
--
-- Dump and restore. What is watched is dumped, and the triggers are dumped with the shop's tables. The log and the positions
-- are not: a position means something in one cluster only, and whoever has none refreshes everything.

CREATE SEQUENCE crm.watch_id_seq AS int;
COMMENT ON SEQUENCE crm.watch_id_seq IS 'ids of watches';

CREATE TABLE crm.watch (
	watch_id		int NOT NULL DEFAULT pg_catalog.nextval('crm.watch_id_seq') PRIMARY KEY,
	kind			text NOT NULL,
	relation		regclass NOT NULL,
	relation_name	text NOT NULL,
	key				text[] NOT NULL,
	mapping			text,
	search_path		text NOT NULL,
	definer			text NOT NULL,
	files			bigint,
	error			text,
	UNIQUE (kind, relation)
);
COMMENT ON TABLE crm.watch IS 'the tables of the shop whose changes are captured, as crm.watch() was told; crm.status shows how they are';
COMMENT ON COLUMN crm.watch.watch_id IS 'what the triggers and the change log name it by';
COMMENT ON COLUMN crm.watch.kind IS 'the feed that reads the table';
COMMENT ON COLUMN crm.watch.relation IS 'the table';
COMMENT ON COLUMN crm.watch.relation_name IS 'its name when it was watched: a table that takes its place is watched in its stead';
COMMENT ON COLUMN crm.watch.key IS 'the columns whose values lead to the customer';
COMMENT ON COLUMN crm.watch.mapping IS 'the SELECT that finds the customers of a key; NULL when the key is the customer''s own';
COMMENT ON COLUMN crm.watch.search_path IS 'the path by which the mapping''s names are understood';
COMMENT ON COLUMN crm.watch.definer IS 'name of the role with whose rights the mapping runs';
COMMENT ON COLUMN crm.watch.files IS 'what files the table consisted of when it was looked at last, as one number';
COMMENT ON COLUMN crm.watch.error IS 'what went wrong last: with the mapping, or with watching a table in another''s stead';

CREATE TABLE crm.change_log_current (
	current		smallint
);
COMMENT ON TABLE crm.change_log_current IS 'which of the three tables of the change log is written to: one row';
COMMENT ON COLUMN crm.change_log_current.current IS '0, 1 or 2; NULL while nobody reads the log, then nothing is logged';
INSERT INTO crm.change_log_current VALUES (NULL);

CREATE TABLE crm.change_log_0 (
	xid			xid8 NOT NULL,
	watch_id	int,
	id			bigint,
	key			text[],
	kind		text
);
CREATE TABLE crm.change_log_1 (LIKE crm.change_log_0 INCLUDING ALL);
CREATE TABLE crm.change_log_2 (LIKE crm.change_log_0 INCLUDING ALL);
CREATE INDEX change_log_0_xid_idx ON crm.change_log_0 (xid);
CREATE INDEX change_log_1_xid_idx ON crm.change_log_1 (xid);
CREATE INDEX change_log_2_xid_idx ON crm.change_log_2 (xid);
COMMENT ON TABLE crm.change_log_0 IS 'change log: what committed transactions have touched and nobody has read yet; one of three tables by turns';
COMMENT ON TABLE crm.change_log_1 IS 'change log, as crm.change_log_0';
COMMENT ON TABLE crm.change_log_2 IS 'change log, as crm.change_log_0';
DO $do$
DECLARE
	n int;
BEGIN
	FOR n IN 0 .. 2 LOOP
		EXECUTE pg_catalog.format('COMMENT ON COLUMN crm.change_log_%s.xid IS ''the transaction''', n);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN crm.change_log_%s.watch_id IS ''the watch; 0 for what the extension itself stores, NULL when anything may have been touched''', n);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN crm.change_log_%s.id IS ''the key, when it is one integer; a customer''''s id when watch_id is 0. Without id and key, anybody may have been touched''', n);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN crm.change_log_%s.key IS ''the key otherwise, as text''', n);
		EXECUTE pg_catalog.format('COMMENT ON COLUMN crm.change_log_%s.kind IS ''when watch_id is 0, the kind of the facts; NULL for any''', n);
		EXECUTE pg_catalog.format('COMMENT ON INDEX crm.change_log_%s_xid_idx IS ''finds what is new''', n);
	END LOOP;
END
$do$;

CREATE SEQUENCE crm.change_log_lost;
COMMENT ON SEQUENCE crm.change_log_lost IS
'the last transaction that could not log what it had touched, because somebody had locked the change log: its commit costs a refresh';

CREATE TABLE crm.change_cursor (
	consumer			text NOT NULL,
	turn				bigint NOT NULL,
	position			pg_snapshot NOT NULL,
	system_identifier	bigint NOT NULL,
	read_at				timestamptz NOT NULL,
	PRIMARY KEY (consumer, turn)
);
COMMENT ON TABLE crm.change_cursor IS
'how far the readers of the change log have come: the row with the highest turn counts, older ones are gone or about to go';
COMMENT ON COLUMN crm.change_cursor.consumer IS 'who reads';
COMMENT ON COLUMN crm.change_cursor.turn IS 'rises by one with every reading';
COMMENT ON COLUMN crm.change_cursor.position IS 'what was visible in this snapshot was read';
COMMENT ON COLUMN crm.change_cursor.system_identifier IS 'the cluster in which the position means something';
COMMENT ON COLUMN crm.change_cursor.read_at IS 'when, by the clock';

SELECT pg_catalog.pg_extension_config_dump('crm.watch_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.watch', '');

CREATE FUNCTION crm.capture() RETURNS trigger
	AS 'MODULE_PATHNAME', 'crm_feed_capture'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.capture() IS
'the trigger that crm.watch() puts on a table: remembers the keys of changed rows, which are logged when the transaction commits. Its arguments are the number of the watch and the columns of the key. Raises no error, whatever happens to the rows. Error 39P01 when it is called otherwise';

CREATE FUNCTION crm.watch(kind text, relation regclass, key text[] DEFAULT NULL, mapping text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_watch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.watch(text, regclass, text[], text) IS
'captures the changes of a table that a feed reads, by triggers on it, from the next change on; a feed whose tables are all watched is live. key: the columns whose old and new values are captured (integers, uuid or text); without it the column that is the feed''s customer_id, if it is one of this table. mapping: a SELECT of one column that finds the customers of a key, with $1, $2 ... for its columns; without it the key is the customer''s own. The mapping runs as the calling role, under the search_path of now. A watch of the same feed and table is replaced. The caller must own the table, and needs EXECUTE on crm.capture() too. Errors: 22004 a NULL kind, table or column, 42704 no such feed, 42809 a tracked kind, or no table of this database, 42939 the extension''s own kind, 22023 no key is known, or it has several columns and no mapping, 42703 no such column, 42804 a type that cannot be captured, or a mapping that does not give one column of such a type, 42601 mapping is not one SELECT, 42P17 it is volatile or flows with time, 42501 not the owner, 55P03 the table is in use for longer than a second: try again';

CREATE FUNCTION crm.unwatch(kind text, relation regclass DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'crm_feed_unwatch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.unwatch(text, regclass) IS
'captures the changes of a table for a feed no more; without table, of all its tables. Returns how many watches were taken away. Errors: 22004 kind is NULL, 42501 not the owner of a table, 55P03 a table is in use for longer than a second: try again';

CREATE FUNCTION crm.touch(customers bigint[], kind text DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_touch'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.touch(bigint[], text) IS
'captures that facts of customers have changed, of a kind, or (NULL) of any; customers NULL means that it may be anybody. For facts that no watched table holds, and for those who do not want to wait for the clock. Somebody who has not changed is looked at in vain';

CREATE FUNCTION crm.forget_changes() RETURNS void
	AS 'MODULE_PATHNAME', 'crm_feed_forget_changes'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.forget_changes() IS 'deletes what is in the change log, and all positions in it; nothing more is logged until somebody begins to read. For crm.stop_ticks()';

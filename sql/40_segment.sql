-- Segments: their definitions, who is in them, and the log of who came and went. Membership is kept by customer, not by
-- segment: a customer's segments are then found by one index probe, and a refresh writes one row per customer.

------------------------------------------------------------------------------------------------------------------
-- Tables
------------------------------------------------------------------------------------------------------------------

CREATE SEQUENCE crm.segment_id_seq AS int;
COMMENT ON SEQUENCE crm.segment_id_seq IS 'ids of segments; an id is never used again';

CREATE TABLE crm.segment (
	segment_id		int NOT NULL DEFAULT pg_catalog.nextval('crm.segment_id_seq') PRIMARY KEY,
	name			text NOT NULL UNIQUE,
	predicate		crm.predicate,
	version			int NOT NULL DEFAULT 1,
	created_at		timestamptz NOT NULL DEFAULT pg_catalog.now(),
	changed_at		timestamptz NOT NULL DEFAULT pg_catalog.now(),
	evaluated_at	timestamptz,
	stale			boolean NOT NULL DEFAULT false,
	trigger_since	timestamptz,
	trigger_window	interval,
	CONSTRAINT segment_trigger CHECK ((trigger_since IS NULL) = (trigger_window IS NULL))
);
COMMENT ON TABLE crm.segment IS 'definitions of segments; crm.segments shows them for people';
COMMENT ON COLUMN crm.segment.segment_id IS 'what stored predicates and memberships name it by, so that renaming is free';
COMMENT ON COLUMN crm.segment.name IS 'what people name it by';
COMMENT ON COLUMN crm.segment.predicate IS
'who is in it, with other segments by id; NULL for a static segment, whose members are listed by hand';
COMMENT ON COLUMN crm.segment.version IS 'rises by one with every new definition';
COMMENT ON COLUMN crm.segment.created_at IS 'when it was made, by the clock';
COMMENT ON COLUMN crm.segment.changed_at IS 'when it was made, redefined or renamed, by the clock';
COMMENT ON COLUMN crm.segment.evaluated_at IS
'the instant that its stored members are right for: of the last refresh or edit. NULL when there has been none yet';
COMMENT ON COLUMN crm.segment.stale IS
'it, or a segment that it names, was redefined since: the next refresh evaluates it for everybody, and crm.tick() makes one';

COMMENT ON COLUMN crm.segment.trigger_since IS
'set by crm.set_trigger(): what it meets after this instant is told in crm.occurrence_queue; NULL when nobody wants to know';
COMMENT ON COLUMN crm.segment.trigger_window IS 'and nothing that began longer ago than this';

CREATE TABLE crm.membership (
	customer_id		bigint NOT NULL PRIMARY KEY,
	segments		int[] NOT NULL
);
CREATE INDEX membership_segments_idx ON crm.membership USING gin (segments);
COMMENT ON TABLE crm.membership IS
'who is in which segments, as stored by the last refresh or edit; crm.segment_member shows it by segment';
COMMENT ON COLUMN crm.membership.customer_id IS 'customer; who is in no segment need not have a row';
COMMENT ON COLUMN crm.membership.segments IS 'ids of the segments, ascending; dynamic and static ones';

CREATE SEQUENCE crm.membership_change_id_seq;
COMMENT ON SEQUENCE crm.membership_change_id_seq IS 'ids of entries in crm.membership_change';

CREATE TABLE crm.membership_change (
	change_id		bigint NOT NULL DEFAULT pg_catalog.nextval('crm.membership_change_id_seq'),
	customer_id		bigint NOT NULL,
	at				timestamptz NOT NULL,
	seen_at			timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp(),
	reason			text NOT NULL CHECK (reason IN ('fact', 'time', 'edit', 'merge', 'gone')),
	entered			int[] NOT NULL DEFAULT '{}',
	exited			int[] NOT NULL DEFAULT '{}',
	PRIMARY KEY (customer_id, change_id)
);
CREATE INDEX membership_change_at_idx ON crm.membership_change (at);
COMMENT ON TABLE crm.membership_change IS
'log of who entered and left which segments, an entry for each customer, instant and reason; crm.segment_change shows it segment by segment. Entries of a dropped segment stay';
COMMENT ON COLUMN crm.membership_change.change_id IS 'number of the entry';
COMMENT ON COLUMN crm.membership_change.customer_id IS 'who';
COMMENT ON COLUMN crm.membership_change.at IS 'the instant at which it became so';
COMMENT ON COLUMN crm.membership_change.seen_at IS 'when it was noticed, by the clock';
COMMENT ON COLUMN crm.membership_change.reason IS
'fact: something happened to the customer, or to what the shop knows of them; time: nothing but time passed; edit: the segment was made, redefined, filled by hand or dropped; merge: two customers became one; gone: the customer is no longer among the shop''s customers';
COMMENT ON COLUMN crm.membership_change.entered IS 'ids of the segments that the customer entered, ascending';
COMMENT ON COLUMN crm.membership_change.exited IS 'ids of the segments that the customer left, ascending';

-- What was put in by hand. crm.membership has it too, of the people whose these ids are now.
CREATE TABLE crm.static_member (
	customer_id		bigint NOT NULL,
	segment_id		int NOT NULL,
	PRIMARY KEY (customer_id, segment_id)
);
CREATE INDEX static_member_segment_id_idx ON crm.static_member (segment_id);
COMMENT ON TABLE crm.static_member IS 'who was put into which static segment, by the id that was given';
COMMENT ON COLUMN crm.static_member.customer_id IS 'who; of a merged customer, the id by which he was put in';
COMMENT ON COLUMN crm.static_member.segment_id IS 'into which segment';
COMMENT ON INDEX crm.static_member_segment_id_idx IS 'all of a segment';

CREATE TABLE crm.segment_reference (
	function	name NOT NULL PRIMARY KEY
);
COMMENT ON TABLE crm.segment_reference IS
'functions of schema crm that crm.drop_segment() asks who names a segment: (segment int) RETURNS SETOF text, each such as: campaign "thanks"';
COMMENT ON COLUMN crm.segment_reference.function IS 'its name';

-- No rows of our own are in them, so all of it is dumped; those of crm.segment_reference come from the script.
SELECT pg_catalog.pg_extension_config_dump('crm.static_member', '');
SELECT pg_catalog.pg_extension_config_dump('crm.segment_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.segment', '');
SELECT pg_catalog.pg_extension_config_dump('crm.membership', '');
SELECT pg_catalog.pg_extension_config_dump('crm.membership_change_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('crm.membership_change', '');

------------------------------------------------------------------------------------------------------------------
-- Names and checks
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.check_predicate(predicate crm.predicate, has_entry boolean DEFAULT false) RETURNS void
	AS 'MODULE_PATHNAME', 'crm_segment_check'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.check_predicate(crm.predicate, boolean) IS
'checks the names and types in a predicate against the feeds that are defined, as creating a segment does; has_entry tells whether "since entry" has a meaning where it will be used. Errors: 42704 unknown kind, 42703 unknown property or attribute, both with the nearest known one as hint; 42804 types that never fit, such as a text compared with a number; 22023 "since entry" without entry. A condition that can never become true is a warning. NULL gives NULL';

CREATE FUNCTION crm.segments_named(predicate crm.predicate) RETURNS int[]
	AS 'MODULE_PATHNAME', 'crm_segment_named'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.segments_named(crm.predicate) IS
'ids of the segments that a stored predicate names with "in segment", ascending, each once; segments given by name are left out. NULL gives NULL';

CREATE FUNCTION crm.nearest_name(name text, names text[]) RETURNS text
	AS 'MODULE_PATHNAME', 'crm_segment_nearest'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.nearest_name(text, text[]) IS
'the one among names that differs from a mistyped name in at most two letters (one, if it is short), or NULL';

CREATE FUNCTION crm.segment_id(name text, evaluated boolean DEFAULT false) RETURNS int
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	found crm.segment;
	near text;
BEGIN
	SELECT s.* INTO found FROM crm.segment AS s WHERE s.name = segment_id.name;
	IF found.segment_id IS NULL THEN
		near := crm.nearest_name(segment_id.name, ARRAY(SELECT s.name FROM crm.segment AS s ORDER BY s.name));
		RAISE EXCEPTION USING
			ERRCODE = 'undefined_object',
			MESSAGE = format('segment "%s" does not exist', segment_id.name),
			HINT = CASE WHEN near IS NULL THEN 'The view crm.segments lists all segments.'
						ELSE format('Perhaps you meant "%s".', near) END;
	END IF;
	IF evaluated AND found.evaluated_at IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('segment "%s" has not been evaluated yet', segment_id.name),
			HINT = 'Call crm.refresh_segments(). crm.preview() and crm.matches_segment() answer without it.';
	END IF;
	RETURN found.segment_id;
END
$function$;
COMMENT ON FUNCTION crm.segment_id(text, boolean) IS
'id of the segment with this name; with evaluated, only if it has been evaluated. NULL gives NULL. Errors: 42704 there is none, with the nearest name as hint; 55000 it has not been evaluated yet';

CREATE FUNCTION crm.check_segment_name(name text) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF check_segment_name.name IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name of a segment must not be null';
	ELSIF check_segment_name.name ~ '^\s|\s$|[[:cntrl:]]' OR check_segment_name.name = '' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_name',
			MESSAGE = format('invalid name of a segment: "%s"', check_segment_name.name),
			DETAIL = 'A name is not empty, does not begin or end with a blank, and has no control characters.';
	ELSIF octet_length(check_segment_name.name) > 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'name_too_long',
			MESSAGE = format('name of segment "%s" is too long', check_segment_name.name),
			DETAIL = format('It has %s bytes; a name has at most 63.', octet_length(check_segment_name.name));
	ELSIF EXISTS (SELECT FROM crm.segment AS s WHERE s.name = check_segment_name.name) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'duplicate_object',
			MESSAGE = format('segment "%s" already exists', check_segment_name.name),
			HINT = 'crm.alter_segment() gives a segment another definition, crm.drop_segment() removes it.';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_segment_name(text) IS
'whether a new segment may have this name: 1 to 63 bytes, no blank at either end, no control characters, not taken. Errors: 22004 NULL, 42602 a malformed name, 42622 too long, 42710 taken';

CREATE FUNCTION crm.check_segment_circle(segment int, predicate crm.predicate) RETURNS void
	LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	-- The segments reached so far, nearest first, and the one that names each of them
	reached int[] := crm.segments_named(predicate);
	named_by int[] := array_fill(segment, ARRAY[cardinality(reached)]);
	position int := 0;
	current int;
	further int[];
	path text;
BEGIN
	WHILE position < cardinality(reached) LOOP
		position := position + 1;
		current := reached[position];
		IF current = segment THEN
			SELECT format('"%s"', s.name) INTO path FROM crm.segment AS s WHERE s.segment_id = segment;
			LOOP
				current := named_by[array_position(reached, current)];
				SELECT format('"%s" -> %s', s.name, path) INTO path
				  FROM crm.segment AS s
				 WHERE s.segment_id = current;
				EXIT WHEN current = segment;
			END LOOP;
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_object_definition',
				MESSAGE = 'a segment cannot be defined by itself',
				DETAIL = format('It would go in a circle: %s.', path);
		END IF;
		SELECT array_agg(n ORDER BY n) INTO further
		  FROM crm.segment AS s, unnest(crm.segments_named(s.predicate)) AS n
		 WHERE s.segment_id = current AND n <> ALL (reached);
		IF further IS NOT NULL THEN
			reached := reached || further;
			named_by := named_by || array_fill(current, ARRAY[cardinality(further)]);
		END IF;
	END LOOP;
END
$function$;
COMMENT ON FUNCTION crm.check_segment_circle(int, crm.predicate) IS
'that a new definition of a segment does not lead back to it through other segments. Error 42P17 if it does, with the way there';

CREATE FUNCTION crm.check_segment_depth(segment int, predicate crm.predicate) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	most CONSTANT int := 64;	-- the compiler's limit too
	depth int;
BEGIN
	-- How long the longest way down from the definition is, and the longest way up to whoever is built on the segment.
	-- Levels are counted, not ways, of which there may be very many.
	WITH RECURSIVE edge AS MATERIALIZED (
		SELECT s.segment_id AS upper, n AS lower
		  FROM crm.segment AS s, unnest(crm.segments_named(s.predicate)) AS n
		 WHERE s.segment_id IS DISTINCT FROM check_segment_depth.segment
	), below(segment_id, level) AS (
		SELECT n, 1 FROM unnest(crm.segments_named(check_segment_depth.predicate)) AS n
		UNION
		SELECT e.lower, b.level + 1 FROM below AS b JOIN edge AS e ON e.upper = b.segment_id WHERE b.level < most
	), above(segment_id, level) AS (
		SELECT check_segment_depth.segment, 1
		UNION
		SELECT e.upper, a.level + 1 FROM above AS a JOIN edge AS e ON e.lower = a.segment_id WHERE a.level < most
	)
	SELECT coalesce((SELECT max(b.level) FROM below AS b), 0) + (SELECT max(a.level) FROM above AS a) INTO depth;
	IF depth > most THEN
		RAISE EXCEPTION USING
			ERRCODE = 'statement_too_complex',
			MESSAGE = 'segments would be nested too deeply',
			DETAIL = format('More than %s segments would stand within each other.', most);
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_segment_depth(int, crm.predicate) IS
'that a definition of a segment (NULL for a new one), which goes in no circle, does not make a chain of segments in segments that is too long to be evaluated, neither below it nor for those that name it. Error 54001 if it does';

CREATE FUNCTION crm.check_edit_instant(at timestamptz) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF check_edit_instant.at IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'the instant of an edit must not be null';
	ELSIF NOT isfinite(check_edit_instant.at) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'the instant of an edit must be finite';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_edit_instant(timestamptz) IS
'that an edit of a segment may be logged with this instant. Errors: 22004 NULL, 22023 infinite';

------------------------------------------------------------------------------------------------------------------
-- Membership
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.change_members(segment int, entering bigint[], leaving bigint[], at timestamptz) RETURNS void
	LANGUAGE sql VOLATILE PARALLEL UNSAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
	WITH entered AS (
		INSERT INTO crm.membership AS m (customer_id, segments)
		SELECT c, ARRAY[segment] FROM unnest(entering) AS c
		ON CONFLICT (customer_id) DO UPDATE
			SET segments = ARRAY(SELECT i FROM unnest(m.segments || excluded.segments) AS i ORDER BY i)
	), emptied AS (
		DELETE FROM crm.membership AS m
		 USING unnest(leaving) AS c
		 WHERE m.customer_id = c AND m.segments = ARRAY[segment]
	), shortened AS (
		UPDATE crm.membership AS m
		   SET segments = array_remove(m.segments, segment)
		  FROM unnest(leaving) AS c
		 WHERE m.customer_id = c AND m.segments <> ARRAY[segment]
	)
	INSERT INTO crm.membership_change (customer_id, at, reason, entered, exited)
	SELECT c, change_members.at, 'edit', ARRAY[segment], '{}'::int[] FROM unnest(entering) AS c
	UNION ALL
	SELECT c, change_members.at, 'edit', '{}'::int[], ARRAY[segment] FROM unnest(leaving) AS c;
	SELECT crm.tell_moves(entering || leaving, array_fill(segment, ARRAY[cardinality(entering) + cardinality(leaving)]))
$function$;
COMMENT ON FUNCTION crm.change_members(int, bigint[], bigint[], timestamptz) IS
'stores who enters a segment (none of them in it) and who leaves it (all of them in it), and logs it with reason edit. Tells listeners of them. For the functions that edit segments: it takes no lock and checks nothing';

CREATE FUNCTION crm.members(name text) RETURNS SETOF bigint
	LANGUAGE sql STABLE PARALLEL SAFE
	ROWS 1000
BEGIN ATOMIC
	-- The name is looked at first, and once, even if nobody is in any segment.
	SELECT m.customer_id
	  FROM (SELECT crm.segment_id(members.name, true) AS id OFFSET 0) AS s
	 CROSS JOIN LATERAL (SELECT o.customer_id FROM crm.membership AS o WHERE o.segments @> ARRAY[s.id] OFFSET 0) AS m;
END;
COMMENT ON FUNCTION crm.members(text) IS
'the customers stored in a segment, found by index. A NULL name has none. Errors: 42704 unknown segment; 55000 a segment that has not been evaluated yet, for it would look empty';

CREATE FUNCTION crm.is_member(customer_id bigint, name text) RETURNS boolean
	LANGUAGE sql STABLE STRICT PARALLEL SAFE
-- The name is looked at first, whether the customer is in any segment or not.
RETURN (SELECT EXISTS (SELECT FROM crm.membership AS m
						WHERE m.customer_id = crm.resolve_customer(is_member.customer_id) AND m.segments @> ARRAY[s.id])
		  FROM crm.segment_id(is_member.name, true) AS s(id));
COMMENT ON FUNCTION crm.is_member(bigint, text) IS
'whether a customer is stored in a segment; for many customers join crm.segment_member instead. NULL gives NULL. Errors: 42704 unknown segment; 55000 a segment that has not been evaluated yet';

CREATE FUNCTION crm.matches_segment(customer_id bigint, name text, at timestamptz DEFAULT crm.now()) RETURNS boolean
	LANGUAGE plpgsql STABLE STRICT PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	RETURN crm.evaluate_segment(matches_segment.customer_id,
								format('in segment %s', crm.segment_id(matches_segment.name))::crm.predicate,
								matches_segment.at);
END
$function$;
COMMENT ON FUNCTION crm.matches_segment(bigint, text, timestamptz) IS
'whether a customer belongs to a segment at an instant, by their facts as this transaction sees them, its own uncommitted rows included; nothing stored is asked, save who is in static segments. NULL gives NULL. Error 42704 for an unknown segment';

------------------------------------------------------------------------------------------------------------------
-- Looking before doing
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.sample_of(customers bigint[], size int DEFAULT 5) RETURNS bigint[]
	LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN ARRAY(SELECT c FROM pg_catalog.unnest(customers) AS c
			  ORDER BY pg_catalog.hashint8extended(c, 0), c LIMIT greatest(size, 0));
COMMENT ON FUNCTION crm.sample_of(bigint[], int) IS
'some of the customers, drawn by a hash of their ids: the same ones at every call, and not just the oldest. NULL gives NULL';

CREATE FUNCTION crm.preview(predicate crm.predicate, at timestamptz DEFAULT crm.now(), samples int DEFAULT 5,
							OUT customers bigint, OUT population bigint, OUT share numeric, OUT sample bigint[])
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	matching bigint[];
BEGIN
	IF predicate IS NULL OR at IS NULL OR samples IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'predicate, instant and number of samples must not be null';
	END IF;
	PERFORM crm.check_predicate(predicate);
	matching := ARRAY(SELECT crm.matching(predicate, at));
	customers := cardinality(matching);
	SELECT count(*) INTO population FROM crm.matching('true', at);
	share := round(customers / nullif(population, 0)::numeric, 4);
	sample := crm.sample_of(matching, samples);
END
$function$;
COMMENT ON FUNCTION crm.preview(crm.predicate, timestamptz, int) IS
'how many customers a predicate is true of at an instant, out of how many, which share that is (NULL of an empty shop), and some of them; nothing is stored. Errors: 22004 NULL, and those of crm.check_predicate';

CREATE FUNCTION crm.segment_difference(segment int, predicate crm.predicate, at timestamptz,
									   OUT entering bigint[], OUT leaving bigint[], OUT stay bigint)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	SELECT coalesce(array_agg(n.customer_id ORDER BY n.customer_id) FILTER (WHERE o.customer_id IS NULL), '{}'),
		   coalesce(array_agg(o.customer_id ORDER BY o.customer_id) FILTER (WHERE n.customer_id IS NULL), '{}'),
		   count(*) FILTER (WHERE n.customer_id = o.customer_id)
	  INTO entering, leaving, stay
	  FROM crm.matching(segment_difference.predicate, segment_difference.at) AS n(customer_id)
	  FULL JOIN (SELECT m.customer_id
				   FROM crm.membership AS m
				  WHERE m.segments @> ARRAY[segment_difference.segment]) AS o USING (customer_id);
END
$function$;
COMMENT ON FUNCTION crm.segment_difference(int, crm.predicate, timestamptz) IS
'who would enter and leave what is stored of a segment, and how many would stay, if it had this predicate at this instant';

CREATE FUNCTION crm.preview_edit(name text, predicate crm.predicate, at timestamptz DEFAULT crm.now(),
								 samples int DEFAULT 5, OUT enter bigint, OUT leave bigint, OUT stay bigint,
								 OUT sample_enter bigint[], OUT sample_leave bigint[])
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment crm.segment;
	resolved crm.predicate;
	difference record;
BEGIN
	IF preview_edit.name IS NULL OR preview_edit.predicate IS NULL OR at IS NULL OR samples IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name, predicate, instant and number of samples must not be null';
	END IF;
	-- The name is looked at first, even if there is no segment.
	SELECT s.* INTO segment
	  FROM crm.segment_id(preview_edit.name) AS i
	  JOIN crm.segment AS s ON s.segment_id = i;
	IF segment.predicate IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('segment "%s" is static', preview_edit.name),
			HINT = 'Its members are listed by hand, with crm.add_to_segment() and crm.remove_from_segment().';
	END IF;
	resolved := crm.resolve_segments(preview_edit.predicate);
	PERFORM crm.check_predicate(resolved);
	PERFORM crm.check_segment_circle(segment.segment_id, resolved);
	PERFORM crm.check_segment_depth(segment.segment_id, resolved);
	difference := crm.segment_difference(segment.segment_id, resolved, preview_edit.at);
	enter := cardinality(difference.entering);
	leave := cardinality(difference.leaving);
	stay := difference.stay;
	sample_enter := crm.sample_of(difference.entering, samples);
	sample_leave := crm.sample_of(difference.leaving, samples);
END
$function$;
COMMENT ON FUNCTION crm.preview_edit(text, crm.predicate, timestamptz, int) IS
'what crm.alter_segment would do: how many customers would enter what is stored of the segment, leave it, and stay, and some of those who would move; nothing is stored. Errors as those of crm.alter_segment';

------------------------------------------------------------------------------------------------------------------
-- Making, changing, dropping. Definitions are changed by one at a time: nobody can drop a segment that another one is
-- just coming to name, or close a circle between two checks; and a refresh does not overlap with it. Who may call these
-- functions needs no rights on the tables: they write as their owner, and run nobody else's code.
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.lock_segments() RETURNS void
	AS 'MODULE_PATHNAME', 'crm_segment_lock'
	LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION crm.lock_segments() IS
'lets only this transaction change segments until it ends; a refresh waits as well. Errors: 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed';

CREATE FUNCTION crm.create_segment(name text, predicate crm.predicate) RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	resolved crm.predicate;
	result int;
BEGIN
	PERFORM crm.lock_segments();
	PERFORM crm.check_segment_name(create_segment.name);
	IF create_segment.predicate IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = format('predicate of segment "%s" must not be null', create_segment.name),
			HINT = 'A segment whose members are listed by hand is made with crm.create_static_segment().';
	END IF;
	resolved := crm.resolve_segments(create_segment.predicate);
	PERFORM crm.check_predicate(resolved);
	PERFORM crm.check_segment_depth(NULL, resolved);
	INSERT INTO crm.segment AS s (name, predicate)
	VALUES (create_segment.name, resolved)
	RETURNING s.segment_id INTO result;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.create_segment(text, crm.predicate) IS
'makes a dynamic segment, all whose customers the predicate is true of, and returns its id. Members are found by the next crm.refresh_segments(), for all segments in one pass; until then crm.members says that there was none. Errors: those of crm.check_segment_name and crm.check_predicate, 22004 NULL, 42704 an unknown segment in "in segment", 54001 segments nested too deeply';

CREATE FUNCTION crm.create_static_segment(name text, customers bigint[] DEFAULT NULL,
										  predicate crm.predicate DEFAULT NULL, at timestamptz DEFAULT crm.now())
	RETURNS int
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int;
BEGIN
	PERFORM crm.lock_segments();
	PERFORM crm.check_segment_name(create_static_segment.name);
	IF (customers IS NULL) = (create_static_segment.predicate IS NULL) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a static segment is made of either customers or a predicate',
			HINT = 'Write customers => ARRAY[1, 2], or predicate => ''has order''.';
	END IF;
	PERFORM crm.check_edit_instant(create_static_segment.at);
	IF customers IS NULL THEN
		PERFORM crm.check_predicate(create_static_segment.predicate);
		customers := ARRAY(SELECT crm.matching(create_static_segment.predicate, create_static_segment.at));
	END IF;
	INSERT INTO crm.segment AS s (name, evaluated_at)
	VALUES (create_static_segment.name, create_static_segment.at)
	RETURNING s.segment_id INTO result;
	PERFORM crm.add_to_segment(create_static_segment.name, customers, create_static_segment.at);
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.create_static_segment(text, bigint[], crm.predicate, timestamptz) IS
'makes a segment whose members stay until they are removed by hand, and returns its id: of the customers given (each counts once), or of those whom a predicate is true of at an instant. Ids that are no customer''s leave at the next refresh, reason gone. Errors: those of crm.check_segment_name and crm.check_predicate; 22023 both or neither of customers and predicate, or an infinite instant; 22004 no instant, or a NULL among the customers';

CREATE FUNCTION crm.static_segment_id(name text, customers bigint[]) RETURNS int
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	result int := crm.segment_id(static_segment_id.name);
BEGIN
	IF result IS NULL OR customers IS NULL OR array_position(customers, NULL) IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name and customers must not be null';
	END IF;
	IF EXISTS (SELECT FROM crm.segment AS s WHERE s.segment_id = result AND s.predicate IS NOT NULL) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('segment "%s" is dynamic', static_segment_id.name),
			HINT = 'Its members follow from its predicate, which crm.alter_segment() changes.';
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.static_segment_id(text, bigint[]) IS
'id of the static segment to which these customers may be added, or from which they may be removed. Errors: 42704 unknown segment, 42809 a dynamic one, 22004 NULL, also among the customers';

CREATE FUNCTION crm.add_to_segment(name text, customers bigint[], at timestamptz DEFAULT crm.now()) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment int;
	entering bigint[];
BEGIN
	PERFORM crm.lock_segments();
	PERFORM crm.check_edit_instant(add_to_segment.at);
	segment := crm.static_segment_id(add_to_segment.name, customers);
	PERFORM crm.lock_slots();
	INSERT INTO crm.static_member AS s (customer_id, segment_id)
	SELECT DISTINCT c, segment FROM unnest(customers) AS c
	ON CONFLICT (customer_id, segment_id) DO NOTHING;
	entering := ARRAY(SELECT DISTINCT c FROM unnest(customers) AS u, crm.resolve_customer(u) AS c
					   WHERE NOT EXISTS (SELECT FROM crm.membership AS m
										  WHERE m.customer_id = c AND m.segments @> ARRAY[segment])
					   ORDER BY c);
	PERFORM crm.change_members(segment, entering, '{}', add_to_segment.at);
	PERFORM crm.touch(entering) WHERE EXISTS (SELECT FROM crm.segment AS s WHERE segment = ANY (crm.segments_named(s.predicate)));
	RETURN cardinality(entering);
END
$function$;
COMMENT ON FUNCTION crm.add_to_segment(text, bigint[], timestamptz) IS
'adds customers to a static segment; returns how many of them were not in it yet. The instant is the one to be logged. Errors: 42704 unknown segment, 42809 a dynamic one, 22004 NULL, also among the customers, 22023 an infinite instant';

CREATE FUNCTION crm.remove_from_segment(name text, customers bigint[], at timestamptz DEFAULT crm.now()) RETURNS bigint
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment int;
	leaving bigint[];
BEGIN
	PERFORM crm.lock_segments();
	PERFORM crm.check_edit_instant(remove_from_segment.at);
	segment := crm.static_segment_id(remove_from_segment.name, customers);
	PERFORM crm.lock_slots();
	DELETE FROM crm.static_member AS s
	 USING unnest(customers) AS c, unnest(crm.ids_of(crm.resolve_customer(c))) AS i
	 WHERE s.customer_id = i AND s.segment_id = segment;
	leaving := ARRAY(SELECT DISTINCT m.customer_id
					   FROM unnest(customers) AS u
					   JOIN crm.membership AS m ON m.customer_id = crm.resolve_customer(u) AND m.segments @> ARRAY[segment]
					  ORDER BY m.customer_id);
	PERFORM crm.change_members(segment, '{}', leaving, remove_from_segment.at);
	PERFORM crm.touch(leaving) WHERE EXISTS (SELECT FROM crm.segment AS s WHERE segment = ANY (crm.segments_named(s.predicate)));
	RETURN cardinality(leaving);
END
$function$;
COMMENT ON FUNCTION crm.remove_from_segment(text, bigint[], timestamptz) IS
'removes customers from a static segment, by whichever of their ids they were put in; returns how many of them were in it. The instant is the one to be logged. Errors: 42704 unknown segment, 42809 a dynamic one, 22004 NULL, also among the customers, 22023 an infinite instant';

CREATE FUNCTION crm.alter_segment(name text, predicate crm.predicate, at timestamptz DEFAULT crm.now(),
								  OUT enter bigint, OUT leave bigint, OUT stay bigint,
								  OUT sample_enter bigint[], OUT sample_leave bigint[])
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment crm.segment;
	resolved crm.predicate;
	difference record;
BEGIN
	IF alter_segment.name IS NULL OR alter_segment.predicate IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name and predicate must not be null';
	END IF;
	PERFORM crm.check_edit_instant(alter_segment.at);
	PERFORM crm.lock_segments();
	-- The name is looked at first, even if there is no segment.
	SELECT s.* INTO segment
	  FROM crm.segment_id(alter_segment.name) AS i
	  JOIN crm.segment AS s ON s.segment_id = i;
	IF segment.predicate IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'wrong_object_type',
			MESSAGE = format('segment "%s" is static', alter_segment.name),
			HINT = 'Its members are listed by hand, with crm.add_to_segment() and crm.remove_from_segment().';
	END IF;
	IF segment.trigger_since IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_in_use',
			MESSAGE = format('segment "%s" is the trigger of a campaign', alter_segment.name),
			HINT = 'Give the campaign another trigger.';
	END IF;
	resolved := crm.resolve_segments(alter_segment.predicate);
	PERFORM crm.check_predicate(resolved);
	PERFORM crm.check_segment_circle(segment.segment_id, resolved);
	PERFORM crm.check_segment_depth(segment.segment_id, resolved);
	IF alter_segment.at < segment.evaluated_at THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_not_in_prerequisite_state',
			MESSAGE = format('segment "%s" was evaluated at a later instant already', alter_segment.name),
			DETAIL = format('It stands at %s.', segment.evaluated_at),
			HINT = 'Give a later one, such as at => clock_timestamp(). crm.preview_edit() tells what the edit would have done then.';
	END IF;
	difference := crm.segment_difference(segment.segment_id, resolved, alter_segment.at);

	-- Ticks went on until now. Whom they have moved in the meantime, by the old definition, is looked at once more.
	PERFORM crm.lock_slots();
	SELECT coalesce(array_agg(c ORDER BY c), '{}') INTO difference.entering
	  FROM unnest(difference.entering) AS c
	 WHERE NOT EXISTS (SELECT FROM crm.membership AS m WHERE m.customer_id = c AND m.segments @> ARRAY[segment.segment_id]);
	SELECT coalesce(array_agg(c ORDER BY c), '{}') INTO difference.leaving
	  FROM unnest(difference.leaving) AS c
	 WHERE EXISTS (SELECT FROM crm.membership AS m WHERE m.customer_id = c AND m.segments @> ARRAY[segment.segment_id]);

	UPDATE crm.segment AS s
	   SET predicate = resolved,
		   version = s.version + (s.predicate::text <> resolved::text)::int,
		   changed_at = now(),
		   evaluated_at = alter_segment.at,
		   stale = EXISTS (SELECT FROM crm.slot)
	 WHERE s.segment_id = segment.segment_id;
	-- Where segments are live, those that are built upon it follow by a refresh, and so do the deadlines
	UPDATE crm.segment AS s
	   SET stale = true
	 WHERE s.segment_id <> segment.segment_id
	   AND EXISTS (SELECT FROM crm.slot)
	   AND s.segment_id IN (WITH RECURSIVE built(segment_id) AS (
								SELECT segment.segment_id
								UNION
								SELECT u.segment_id
								  FROM crm.segment AS u
								  JOIN built AS b ON b.segment_id = ANY (crm.segments_named(u.predicate)))
							SELECT b.segment_id FROM built AS b);
	PERFORM crm.change_members(segment.segment_id, difference.entering, difference.leaving, alter_segment.at);
	enter := cardinality(difference.entering);
	leave := cardinality(difference.leaving);
	stay := difference.stay;
	sample_enter := crm.sample_of(difference.entering);
	sample_leave := crm.sample_of(difference.leaving);
END
$function$;
COMMENT ON FUNCTION crm.alter_segment(text, crm.predicate, timestamptz) IS
'gives a dynamic segment another predicate: a new version of it, evaluated for the instant given, and its difference to what was stored, which is also logged with reason edit: how many customers enter, leave and stay, and some of those who move. crm.preview_edit shows the same beforehand. Segments that name this one follow at the next refresh. Errors: those of crm.check_predicate, 22004 NULL, 22023 an infinite instant, 55000 an instant before that of the last refresh or edit, 42704 unknown segment, 42809 a static one, 55006 the trigger of a campaign, 42P17 a circle, 54001 segments nested too deeply, 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed (both as of all functions that change segments)';

CREATE FUNCTION crm.rename_segment(name text, new_name text) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment int;
BEGIN
	PERFORM crm.lock_segments();
	segment := crm.segment_id(rename_segment.name);
	IF segment IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name of a segment must not be null';
	END IF;
	PERFORM crm.check_segment_name(new_name);
	UPDATE crm.segment AS s SET name = new_name, changed_at = now() WHERE s.segment_id = segment;
END
$function$;
COMMENT ON FUNCTION crm.rename_segment(text, text) IS
'gives a segment another name; predicates that name the segment go on meaning it. Errors: 42704 unknown segment, and those of crm.check_segment_name for the new name';

CREATE FUNCTION crm.drop_segment(name text, at timestamptz DEFAULT crm.now()) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	segment int;
	reference name;
	named_by text;
	users text;
BEGIN
	IF drop_segment.name IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name of a segment must not be null';
	END IF;
	PERFORM crm.check_edit_instant(drop_segment.at);
	PERFORM crm.lock_segments();
	segment := crm.segment_id(drop_segment.name);
	FOR reference IN SELECT r.function FROM crm.segment_reference AS r ORDER BY r.function LOOP
		EXECUTE format('SELECT string_agg(u, '', '' ORDER BY u) FROM crm.%I($1) AS u', reference) INTO named_by USING segment;
		users := concat_ws(', ', nullif(users, ''), named_by);
	END LOOP;
	IF users <> '' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = format('cannot drop segment "%s" because it is in use', drop_segment.name),
			DETAIL = format('It is named by %s.', users),
			HINT = 'Drop or redefine those first, or wait until they are done.';
	END IF;
	SELECT string_agg(format('"%s"', s.name), ', ' ORDER BY s.name) INTO users
	  FROM crm.segment AS s
	 WHERE segment = ANY (crm.segments_named(s.predicate));
	IF users IS NOT NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'dependent_objects_still_exist',
			MESSAGE = format('cannot drop segment "%s" because other segments name it', drop_segment.name),
			DETAIL = format('It is named by %s.', users),
			HINT = 'Drop those first, or give them another definition with crm.alter_segment().';
	END IF;
	IF (SELECT s.trigger_since IS NOT NULL FROM crm.segment AS s WHERE s.segment_id = segment) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'object_in_use',
			MESSAGE = format('segment "%s" is the trigger of a campaign', drop_segment.name),
			HINT = 'Stop or drop the campaign first.';
	END IF;
	PERFORM crm.lock_slots();
	PERFORM crm.change_members(segment, '{}', ARRAY(SELECT m.customer_id FROM crm.membership AS m
													 WHERE m.segments @> ARRAY[segment]
													 ORDER BY m.customer_id), drop_segment.at);
	DELETE FROM crm.static_member AS s WHERE s.segment_id = segment;
	DELETE FROM crm.segment AS s WHERE s.segment_id = segment;
END
$function$;
COMMENT ON FUNCTION crm.drop_segment(text, timestamptz) IS
'removes a segment; its members leave it, reason edit, and its log stays. Errors: 22004 NULL, 22023 an infinite instant, 42704 unknown segment, 2BP01 other segments, campaigns or audiences name it, 55006 it is the trigger of a campaign';

------------------------------------------------------------------------------------------------------------------
-- The past
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.segment_size(name text, "from" timestamptz, "to" timestamptz, step interval)
	RETURNS TABLE (at timestamptz, size bigint)
	LANGUAGE plpgsql STABLE PARALLEL RESTRICTED
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	most CONSTANT int := 10000;
	zone CONSTANT text := crm.timezone();
	-- Months and days go by the wall clock of the shop's zone, hours and less do not, as PostgreSQL adds an interval
	calendar interval;
	clock interval;
	instants timestamptz[] := '{}';
	instant timestamptz;
BEGIN
	IF segment_size.name IS NULL OR "from" IS NULL OR "to" IS NULL OR step IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'name, from, to and step must not be null';
	END IF;
	IF NOT isfinite("from") OR NOT isfinite("to") THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'from and to must be finite';
	END IF;
	calendar := make_interval(months => (extract(year FROM step) * 12 + extract(month FROM step))::int,
							  days => extract(day FROM step)::int);
	clock := step - calendar;
	IF step <= interval '0' OR least(extract(year FROM step), extract(month FROM step), extract(day FROM step)) < 0
	   OR clock < interval '0' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('step must be positive, and all its parts: %s', step);
	END IF;

	-- Each instant is counted from the first one, so that months from a 31st do not stay on the 28th for ever
	FOR n IN 0 .. most LOOP
		instant := ("from" AT TIME ZONE zone + n * calendar) AT TIME ZONE zone + n * clock;
		EXIT WHEN instant > "to";
		IF n = most THEN
			RAISE EXCEPTION USING
				ERRCODE = 'program_limit_exceeded',
				MESSAGE = format('more than %s instants', most),
				HINT = 'Take a longer step, or a shorter time.';
		END IF;
		instants := instants || instant;
	END LOOP;

	RETURN QUERY
	SELECT p.at, p.size
	  FROM crm.population_size(format('in segment %s', crm.segment_id(segment_size.name))::crm.predicate, instants)
		   AS p(at, size)
	 ORDER BY p.at;
END
$function$;
COMMENT ON FUNCTION crm.segment_size(text, timestamptz, timestamptz, interval) IS
'how many customers were in a segment at each step from an instant up to another (the last one included when a step meets it): computed from their events, not remembered, with today''s customers, attributes and definitions; of a static segment, today''s members. Months and days of the step go by the wall clock of crm.timezone(). Errors: 42704 unknown segment; 22004 NULL; 22023 an infinite bound, or a step that is not positive; 54000 more than 10,000 instants';

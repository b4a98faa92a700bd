-- Attributes and tags: what the shop's own tables do not say of people, and somebody has told.
--
-- Each value is kept by the id and the source that it came with. Which one counts is found out when it is read, so that
-- taking a merge back, or trusting a source less, needs no value to be written again.

CREATE TABLE crm.attribute_source (
	source		text NOT NULL PRIMARY KEY,
	priority	int NOT NULL
);
COMMENT ON TABLE crm.attribute_source IS
'which source of attributes goes before which, as crm.set_source_priority() was told; a source without a row has priority 0';
COMMENT ON COLUMN crm.attribute_source.source IS 'the source, as given to crm.set_attributes()';
COMMENT ON COLUMN crm.attribute_source.priority IS 'the higher goes first; of equals, what was set later';

CREATE TABLE crm.attribute (
	customer_id	bigint NOT NULL,
	name		text NOT NULL,
	source		text NOT NULL,
	value		jsonb NOT NULL,
	set_at		timestamptz NOT NULL,
	PRIMARY KEY (customer_id, name, source)
);
COMMENT ON TABLE crm.attribute IS
'attributes of customers that crm.set_attributes() has stored; crm.attribute_states() tells which value counts';
COMMENT ON COLUMN crm.attribute.customer_id IS 'whose; of a merged customer, the id by which it came';
COMMENT ON COLUMN crm.attribute.name IS 'name of the attribute, by which predicates know it';
COMMENT ON COLUMN crm.attribute.source IS 'who says so';
COMMENT ON COLUMN crm.attribute.value IS 'the value, as it was given';
COMMENT ON COLUMN crm.attribute.set_at IS 'since when the source has said so, at its last word';

CREATE TABLE crm.tag (
	customer_id	bigint NOT NULL,
	tag			text NOT NULL,
	source		text NOT NULL,
	set_at		timestamptz NOT NULL,
	PRIMARY KEY (customer_id, tag)
);
CREATE INDEX tag_tag_idx ON crm.tag (tag);
COMMENT ON TABLE crm.tag IS 'tags of customers; predicates see them as attribute "tags": tags contains ''vip''';
COMMENT ON COLUMN crm.tag.customer_id IS 'whose; of a merged customer, the id by which it came';
COMMENT ON COLUMN crm.tag.tag IS 'the tag';
COMMENT ON COLUMN crm.tag.source IS 'who has put it there first';
COMMENT ON COLUMN crm.tag.set_at IS 'when';
COMMENT ON INDEX crm.tag_tag_idx IS 'who has a tag';

SELECT pg_catalog.pg_extension_config_dump('crm.attribute_source', '');
SELECT pg_catalog.pg_extension_config_dump('crm.attribute', '');
SELECT pg_catalog.pg_extension_config_dump('crm.tag', '');

------------------------------------------------------------------------------------------------------------------
-- Attributes
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.attribute_type(name text, value jsonb) RETURNS text
	AS 'MODULE_PATHNAME', 'crm_customer_attribute_type'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.attribute_type(text, jsonb) IS
'the type that predicates see in a value: text, number, boolean, date, timestamp or array; a string in the form of an ISO date, or of an instant with zone, is one. NULL for JSON''s null, and for NULL. Error 22023, with the attribute''s name, for what is no value: an object other than {"text": "..."} and its like, an array in an array, an array of several types';

CREATE FUNCTION crm.check_source(source text) RETURNS void
	LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF check_source.source IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'source must not be null';
	ELSIF octet_length(check_source.source) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'name of a source must have 1 to 255 bytes',
			DETAIL = format('This one has %s.', octet_length(check_source.source));
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_source(text) IS
'that something may be stored with this source. Errors: 22004 NULL, 22023 empty or of more than 255 bytes';

-- For names that come up for the first time: what one of our own feeds gives under that name would be hidden
CREATE FUNCTION crm.check_attribute_name(name text) RETURNS void
	LANGUAGE plpgsql STABLE PARALLEL SAFE
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	IF octet_length(check_attribute_name.name) NOT BETWEEN 1 AND 63 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'name of an attribute must have 1 to 63 bytes',
			DETAIL = format('This one has %s.', octet_length(check_attribute_name.name));
	END IF;
	IF EXISTS (SELECT FROM crm.channel AS h WHERE h.kind = check_attribute_name.name) THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('attribute "%s" has a reserved name', check_attribute_name.name),
			DETAIL = 'It is a kind of address.',
			HINT = 'Addresses are stored by crm.set_contact() and crm.link_identity().';
	END IF;
	IF check_attribute_name.name IN ('customer_id', 'customer_key')
		OR EXISTS (SELECT
					 FROM crm.source AS s
					 JOIN pg_class AS c ON c.relname = s.kind AND c.relnamespace = 'crm_feed'::regnamespace
					 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
					WHERE s.own AND s.kind LIKE 'customer.%' AND a.attname = check_attribute_name.name)
		OR EXISTS (SELECT
					 FROM crm.source_property AS p
					WHERE p.kind LIKE 'customer.%' AND p.kind <> 'customer.attribute' AND p.name = check_attribute_name.name)
	THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = format('attribute "%s" has a reserved name', check_attribute_name.name),
			DETAIL = 'It is what the extension itself knows of customers.',
			HINT = 'Give the attribute another name.';
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.check_attribute_name(text) IS
'that an attribute may be stored under this name: 1 to 63 bytes, not that of an attribute which the extension''s own feeds give, such as tags or rfm, and not a kind of address. Error 22023 otherwise. NULL passes';

CREATE FUNCTION crm.set_attributes(customer_id bigint, attributes jsonb, source text DEFAULT 'given',
								   at timestamptz DEFAULT crm.now()) RETURNS integer
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	given record;
	known text;
	written integer;
	result integer;
	changed integer;
BEGIN
	IF set_attributes.customer_id IS NULL OR set_attributes.attributes IS NULL OR set_attributes.at IS NULL THEN
		RAISE EXCEPTION USING
			ERRCODE = 'null_value_not_allowed',
			MESSAGE = 'customer, attributes and instant must not be null';
	END IF;
	PERFORM crm.check_source(set_attributes.source);
	IF NOT isfinite(set_attributes.at) THEN
		RAISE EXCEPTION USING ERRCODE = 'datetime_field_overflow', MESSAGE = 'instant of attributes must be finite';
	END IF;
	IF jsonb_typeof(set_attributes.attributes) <> 'object' THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'attributes must be a JSON object',
			HINT = 'For example {"city": "Perm", "children": 2}.';
	END IF;

	PERFORM crm.refuse_erased(set_attributes.customer_id);

	-- Always in the order of jsonb, so that two who make the same names known do not wait for each other
	FOR given IN
		SELECT e.key AS name, crm.attribute_type(e.key, e.value) AS type FROM jsonb_each(set_attributes.attributes) AS e
	LOOP
		CONTINUE WHEN given.type IS NULL;
		SELECT p.type INTO known
		  FROM crm.source_property AS p
		 WHERE p.kind = 'customer.attribute' AND p.name = given.name;
		IF NOT FOUND THEN
			PERFORM crm.check_attribute_name(given.name);
			IF EXISTS (SELECT
						 FROM pg_class AS c
						 JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
						WHERE c.relname = 'customer' AND c.relnamespace = 'crm_feed'::regnamespace AND a.attname = given.name)
			THEN
				RAISE NOTICE USING
					MESSAGE = format('attribute "%s" is a column of the customers'' feed', given.name),
					DETAIL = 'What is stored under this name is not seen while the feed has it.';
			END IF;
			PERFORM crm.define_property('customer.attribute', given.name, given.type);
			-- Somebody else may have been faster
			SELECT p.type INTO known
			  FROM crm.source_property AS p
			 WHERE p.kind = 'customer.attribute' AND p.name = given.name;
		END IF;
		IF known <> given.type THEN
			RAISE EXCEPTION USING
				ERRCODE = 'invalid_parameter_value',
				MESSAGE = format('attribute "%s" is of type %s, not %s', given.name, known, given.type),
				DETAIL = 'The first value that was ever stored of an attribute makes its type.',
				HINT = CASE WHEN known = 'text' AND given.type IN ('date', 'timestamp')
							THEN 'A text that only looks like a date or an instant is given as {"text": "..."}.'
							WHEN known IN ('date', 'timestamp') AND given.type = 'text'
							THEN 'A date is given as "2026-01-31", an instant as "2026-01-31T15:00:00+03:00".'
							ELSE 'Give such a value, or store this one under another name.' END;
		END IF;
	END LOOP;

	WITH removed AS (
		DELETE FROM crm.attribute AS a
		 USING jsonb_each(set_attributes.attributes) AS e
		 WHERE a.customer_id = set_attributes.customer_id
		   AND a.name = e.key
		   AND a.source = set_attributes.source
		   AND a.set_at <= set_attributes.at
		   AND e.value = 'null'
		RETURNING true AS changed
	), stored AS (
		INSERT INTO crm.attribute AS a (customer_id, name, source, value, set_at)
		SELECT set_attributes.customer_id, e.key, set_attributes.source, e.value, set_attributes.at
		  FROM jsonb_each(set_attributes.attributes) AS e
		 WHERE e.value <> 'null'
		 ORDER BY e.key COLLATE "C"
		ON CONFLICT ON CONSTRAINT attribute_pkey DO UPDATE
			SET value = excluded.value, set_at = excluded.set_at
			WHERE a.set_at < excluded.set_at OR a.set_at = excluded.set_at AND a.value <> excluded.value
		-- What was there before this statement
		RETURNING a.value IS DISTINCT FROM (SELECT o.value
											  FROM crm.attribute AS o
											 WHERE o.customer_id = a.customer_id AND o.name = a.name AND o.source = a.source) AS changed
	)
	SELECT count(*), count(*) FILTER (WHERE w.changed) INTO written, result
	  FROM (TABLE removed UNION ALL TABLE stored) AS w;
	IF written > 0 THEN
		PERFORM crm.touch(ARRAY[set_attributes.customer_id], 'customer.attribute');
	END IF;
	RETURN result;
END
$function$;
COMMENT ON FUNCTION crm.set_attributes(bigint, jsonb, text, timestamptz) IS
'stores attributes of a customer, as a source says them: an object with a string (ISO dates and instants are read as such), a number, a boolean or an array of these for each name; null takes back what the source has said. Predicates can name them from the first value on, which also makes their type. Of several sources that of the highest priority counts (crm.set_source_priority()), then the one that spoke last; what a source said at a later instant stays. A column of the customers'' feed of the same name goes before all of them, with a NOTICE when the name is used first. A questionnaire is a source: set_attributes(42, ''{"pet": "cat"}'', ''questionnaire:autumn''). Returns how many values of the source are other ones now. Errors: 22004 NULL, 22023 attributes is no object, what is no value, a value of another type than the attribute has, a name that is reserved or not of 1 to 63 bytes, a source that is not of 1 to 255 bytes, 22008 an infinite instant, 55000 the customer was erased';

CREATE FUNCTION crm.set_source_priority(source text, priority int) RETURNS void
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	PERFORM crm.check_source(set_source_priority.source);
	IF set_source_priority.priority IS NULL THEN
		DELETE FROM crm.attribute_source AS s WHERE s.source = set_source_priority.source;
	ELSE
		INSERT INTO crm.attribute_source AS s (source, priority)
		VALUES (set_source_priority.source, set_source_priority.priority)
		ON CONFLICT ON CONSTRAINT attribute_source_pkey DO UPDATE
			SET priority = excluded.priority
			WHERE s.priority <> excluded.priority;
	END IF;
	IF FOUND THEN
		PERFORM crm.touch(NULL, 'customer.attribute');
	END IF;
END
$function$;
COMMENT ON FUNCTION crm.set_source_priority(text, int) IS
'says which source of attributes is to be believed first: the one with the highest number; NULL makes it 0 again, as all sources are. Anybody''s attributes may be others now, which costs a refresh. Errors: 22004 source is NULL, 22023 it is not of 1 to 255 bytes';

CREATE FUNCTION crm.attribute_states(customers bigint[]) RETURNS TABLE (customer_id bigint, properties jsonb)
	LANGUAGE sql STABLE PARALLEL SAFE
	ROWS 1000
BEGIN ATOMIC
	SELECT v.customer_id, pg_catalog.jsonb_object_agg(v.name, v.value)
	  FROM (SELECT DISTINCT ON (w.customer_id, w.name COLLATE "C") w.customer_id, w.name, w.value
			  FROM (SELECT coalesce(l.customer_id, a.customer_id) AS customer_id, a.customer_id AS id, a.name, a.source, a.value,
						   a.set_at
					  FROM crm.attribute AS a
					  LEFT JOIN crm.alias AS l ON l.alias = a.customer_id
					 WHERE attribute_states.customers IS NULL
					UNION ALL
					SELECT i.customer_id, i.id, a.name, a.source, a.value, a.set_at
					  FROM crm.ids_of_customers(attribute_states.customers) AS i
					 CROSS JOIN LATERAL (SELECT o.* FROM crm.attribute AS o WHERE o.customer_id = i.id OFFSET 0) AS a) AS w
			  LEFT JOIN crm.attribute_source AS s ON s.source = w.source
			 ORDER BY w.customer_id, w.name COLLATE "C", w.id <> w.customer_id, w.id, coalesce(s.priority, 0) DESC, w.set_at DESC,
					  w.source COLLATE "C" DESC) AS v
	 GROUP BY v.customer_id;
END;
COMMENT ON FUNCTION crm.attribute_states(bigint[]) IS
'the attributes that count, of some customers, found by index, or (NULL) of all: a row for each who has any. A customer''s own id goes first, then those of customers who were merged into him, in their order; within an id, the source with the highest priority, the latest, the greatest name. An id that was merged itself is none';

INSERT INTO crm.source (kind, indexed, own, reader) VALUES ('customer.attribute', true, true, 'attribute_states');

------------------------------------------------------------------------------------------------------------------
-- Tags
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.add_tag(customer_id bigint, tag text, source text DEFAULT 'given') RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
	had CONSTANT boolean := EXISTS (SELECT FROM crm.tag AS t
									 WHERE t.customer_id = ANY (crm.ids_of(crm.resolve_customer(add_tag.customer_id)))
									   AND t.tag = add_tag.tag);
BEGIN
	IF add_tag.customer_id IS NULL OR add_tag.tag IS NULL THEN
		RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'customer and tag must not be null';
	END IF;
	PERFORM crm.check_source(add_tag.source);
	IF octet_length(add_tag.tag) NOT BETWEEN 1 AND 255 THEN
		RAISE EXCEPTION USING
			ERRCODE = 'invalid_parameter_value',
			MESSAGE = 'a tag must have 1 to 255 bytes',
			DETAIL = format('This one has %s.', octet_length(add_tag.tag));
	END IF;
	PERFORM crm.refuse_erased(add_tag.customer_id);
	INSERT INTO crm.tag AS t (customer_id, tag, source, set_at)
	VALUES (add_tag.customer_id, add_tag.tag, add_tag.source, crm.now())
	ON CONFLICT ON CONSTRAINT tag_pkey DO NOTHING;
	IF NOT FOUND OR had THEN
		RETURN false;
	END IF;
	PERFORM crm.touch(ARRAY[add_tag.customer_id], 'customer.tag');
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.add_tag(bigint, text, text) IS
'puts a tag on a customer. False when he had it already, by whichever of his ids. Errors: 22004 NULL, 22023 a tag or a source that is not of 1 to 255 bytes, 55000 the customer was erased';

CREATE FUNCTION crm.remove_tag(customer_id bigint, tag text) RETURNS boolean
	LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER
	SET search_path = pg_catalog, pg_temp
AS $function$
BEGIN
	DELETE FROM crm.tag AS t
	 WHERE t.customer_id = ANY (crm.ids_of(crm.resolve_customer(remove_tag.customer_id))) AND t.tag = remove_tag.tag;
	IF NOT FOUND THEN
		RETURN false;
	END IF;
	PERFORM crm.touch(ARRAY[remove_tag.customer_id], 'customer.tag');
	RETURN true;
END
$function$;
COMMENT ON FUNCTION crm.remove_tag(bigint, text) IS
'takes a tag from a customer, from all ids that are his. False when he had it not, and for NULL';

CREATE FUNCTION crm.tag_states(customers bigint[]) RETURNS TABLE (customer_id bigint, tags text[])
	LANGUAGE sql STABLE PARALLEL SAFE
	ROWS 1000
BEGIN ATOMIC
	SELECT w.customer_id, pg_catalog.array_agg(DISTINCT w.tag COLLATE "C" ORDER BY w.tag COLLATE "C")
	  FROM (SELECT coalesce(l.customer_id, t.customer_id) AS customer_id, t.tag
			  FROM crm.tag AS t
			  LEFT JOIN crm.alias AS l ON l.alias = t.customer_id
			 WHERE tag_states.customers IS NULL
			UNION ALL
			SELECT i.customer_id, t.tag
			  FROM crm.ids_of_customers(tag_states.customers) AS i
			 CROSS JOIN LATERAL (SELECT o.* FROM crm.tag AS o WHERE o.customer_id = i.id OFFSET 0) AS t) AS w
	 GROUP BY w.customer_id;
END;
COMMENT ON FUNCTION crm.tag_states(bigint[]) IS
'the tags of some customers, found by index, or (NULL) of all: a row for each who has any, with those of all ids that are his, in order. An id that was merged itself is none';

CREATE VIEW crm_feed."customer.tag" AS
	SELECT s.customer_id, s.tags FROM crm.tag_states(NULL) AS s;
COMMENT ON VIEW crm_feed."customer.tag" IS 'tags as an attribute of customers; see crm.tag_states()';
COMMENT ON COLUMN crm_feed."customer.tag".customer_id IS 'customer';
COMMENT ON COLUMN crm_feed."customer.tag".tags IS 'his tags, in order';

INSERT INTO crm.source (kind, indexed, own, reader) VALUES ('customer.tag', true, true, 'tag_states');

-- When something becomes true. Nothing is stored.

CREATE FUNCTION crm.first_true(profile crm.profile, predicate crm.predicate, "from" timestamptz, "to" timestamptz,
							   entry timestamptz DEFAULT NULL, segments int[] DEFAULT NULL, OUT at timestamptz, OUT truth boolean)
	AS 'MODULE_PATHNAME', 'crm_segment_first_true'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10000
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.first_true(crm.profile, crm.predicate, timestamptz, timestamptz, timestamptz, int[]) IS
'the first instant from "from" to "to", both included, at which the predicate is true of the profile, in the shop''s zone; where there is none, truth is false, and before the instant given, which is later than "to", it does not become true with no new fact (infinity: never). segments: the static segments that the customer is in, ascending. NULL in any argument but entry and segments gives NULL. Errors: those of crm.matches(), 42704 an unknown segment, 22023 an infinite instant, or "to" before "from"';

CREATE FUNCTION crm.occurs(profile crm.profile, predicate crm.predicate, at timestamptz, kind text, event_at timestamptz,
						   segments int[] DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'crm_segment_occurs'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 10000
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.occurs(crm.profile, crm.predicate, timestamptz, text, timestamptz, int[]) IS
'whether an event of this kind and instant decides that the predicate is true of the profile at an instant, as crm.occurrences() tells: its number among the profile''s events of its kind (of several, the first), else NULL. segments: as in crm.first_true(). NULL in any other argument gives NULL. Errors: those of crm.first_true()';

CREATE FUNCTION crm.ask_customers(predicate crm.predicate, customers bigint[], instants timestamptz[], entries timestamptz[],
								  kinds text[], events timestamptz[], OUT number int, OUT truth boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_segment_ask_customers'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER COST 10000 ROWS 100
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.ask_customers(crm.predicate, bigint[], timestamptz[], timestamptz[], text[], timestamptz[]) IS
'a predicate asked of some customers, who are no aliases, by index and all together, with the facts that the statement sees: for each (number, from 1) whether it is true at his instant, with his entry; or, where a kind and the instant of an event are given, whether that event decides it, as crm.occurs() tells. No row for somebody of whom nothing is known. Errors: those of crm.first_true(), 2202E arrays of different length, 22004 a NULL customer or instant';

CREATE FUNCTION crm.population_occurrences(predicate crm.predicate, "from" timestamptz, "to" timestamptz,
										   OUT customer_id bigint, OUT kind text, OUT event_at timestamptz, OUT started_at timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_segment_population_occurrences'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER COST 10000000 ROWS 1000
	SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION crm.population_occurrences(crm.predicate, timestamptz, timestamptz) IS
'what a trigger with this predicate would have met later than "from" and before "to", by the facts known now, in one pass over the feeds: customer, kind and instant of the deciding event (kind empty and the instant of the entry where no event decides), and since when the predicate is true with it. No rows for NULL. Errors: 42704 an unknown segment, 22023 an infinite instant, or "to" before "from"';

-- The one pass over the feeds: storing its difference, or only asking. Who stores, writes as the owner of the extension:
-- the right to call the function is the permission, and nobody needs to write to the tables past it.

CREATE FUNCTION crm.refresh_segments(at timestamptz DEFAULT crm.now(),
									 OUT customers bigint, OUT entered bigint, OUT "left" bigint)
RETURNS record
AS 'MODULE_PATHNAME', 'crm_segment_refresh'
LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER COST 1000000
SET search_path = pg_catalog, pg_temp
SET jit = off;

COMMENT ON FUNCTION crm.refresh_segments(timestamptz) IS
'Evaluates all dynamic segments for all customers at the instant, in one pass over each feed that any of them names, and stores the difference: crm.membership, and in crm.membership_change who entered and left what (crm.segment_change shows it), with reason edit (first evaluation of a segment), time (the exact instants), fact or gone. Memory is bounded by maintenance_work_mem; beyond it facts are spilled to temporary files. Returns the number of customers, entries and leaves. Errors: 22004 for NULL, 55000 when a segment was refreshed at a later instant already, 25001 in a repeatable read or serializable transaction, 0A000 within the query of a feed.';

CREATE FUNCTION crm.matching(predicate crm.predicate, at timestamptz DEFAULT crm.now())
RETURNS SETOF bigint
AS 'MODULE_PATHNAME', 'crm_segment_matching'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 1000;

COMMENT ON FUNCTION crm.matching(crm.predicate, timestamptz) IS
'The customers of whom the predicate is true at the instant, ascending, by one pass over the feeds that it names; nothing is stored. "in segment" means the other segment''s definition at the same instant, or the stored members of a static one. No rows for NULL. Errors: 42704 for an unknown segment.';

CREATE FUNCTION crm.population_size(predicate crm.predicate, instants timestamptz[],
									OUT at timestamptz, OUT size bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'crm_segment_population_size'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000000 ROWS 12;

COMMENT ON FUNCTION crm.population_size(crm.predicate, timestamptz[]) IS
'Of how many customers the predicate was true at each of the instants, with the facts known now, by a single pass over the feeds. No rows for NULL. Errors: 22004 for a NULL instant, 42704 for an unknown segment.';

CREATE FUNCTION crm.evaluate_segment(customer_id bigint, predicate crm.predicate, at timestamptz DEFAULT crm.now())
RETURNS boolean
AS 'MODULE_PATHNAME', 'crm_segment_evaluate'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED SECURITY DEFINER COST 10000
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION crm.evaluate_segment(bigint, crm.predicate, timestamptz) IS
'Is the predicate true of the customer at the instant, by the facts that the calling transaction sees (its own uncommitted rows included), read by index? NULL for NULL, and for a customer of whom nothing is known. Errors: 42704 for an unknown segment.';

CREATE FUNCTION crm.explain(customer_id bigint, segment text, at timestamptz DEFAULT crm.now(),
							OUT depth int, OUT text text, OUT value text, OUT truth boolean, OUT until timestamptz,
							OUT events jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'crm_segment_explain'
LANGUAGE C STABLE PARALLEL RESTRICTED SECURITY DEFINER COST 10000 ROWS 10
SET search_path = pg_catalog, pg_temp;

COMMENT ON FUNCTION crm.explain(bigint, text, timestamptz) IS
'Why the customer is in the segment at the instant, or why not: crm.explain(profile, ...) over the customer''s facts as the calling transaction sees them, with each segment that the predicate names unfolded, where it is named first. Addresses (attributes and properties called as a kind of crm.channel) are shown as *** to a role that may not read crm.identity. No rows for NULL, and for a customer of whom nothing is known. Errors: 42704 for an unknown segment, 42809 for a static one.';

CREATE FUNCTION crm.resolve_segments(predicate crm.predicate)
RETURNS crm.predicate
AS 'MODULE_PATHNAME', 'crm_segment_resolve'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000;

COMMENT ON FUNCTION crm.resolve_segments(crm.predicate) IS
'The predicate with the names of segments in "in segment" replaced by their ids, as definitions are stored. NULL for NULL. Errors: 42704 for an unknown segment.';

CREATE FUNCTION crm.name_segments(predicate crm.predicate)
RETURNS crm.predicate
AS 'MODULE_PATHNAME', 'crm_segment_name'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED COST 1000;

COMMENT ON FUNCTION crm.name_segments(crm.predicate) IS
'The predicate with the ids of segments in "in segment" replaced by their names, for people to read; an id of no segment stays. NULL for NULL.';

-- Asking a profile: is the predicate true of it, until when, when was it, why.

CREATE FUNCTION crm.matches(profile crm.profile, predicate crm.predicate, at timestamptz DEFAULT crm.now(),
							entry timestamptz DEFAULT NULL, zone text DEFAULT crm.timezone())
RETURNS boolean
AS 'MODULE_PATHNAME', 'crm_predicate_matches'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 100;

COMMENT ON FUNCTION crm.matches(crm.profile, crm.predicate, timestamptz, timestamptz, text) IS
'Is the predicate true of the profile at the instant "at"? "entry" is the instant at which a campaign run began, for windows "since entry"; "zone" names the time zone of days, months and local times. NULL profile, predicate, at or zone gives NULL. Errors: 22023 for an unknown zone, for "since entry" without entry, and for "in segment", which has a meaning only among stored segments.';

CREATE FUNCTION crm.predicate_matches_now(profile crm.profile, predicate crm.predicate)
RETURNS boolean
AS 'MODULE_PATHNAME', 'crm_predicate_matches_now'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 100;

COMMENT ON FUNCTION crm.predicate_matches_now(crm.profile, crm.predicate) IS
'Implements profile @@ predicate: crm.matches at crm.now() in the zone crm.timezone().';

CREATE OPERATOR crm.@@ (
	FUNCTION = crm.predicate_matches_now,
	LEFTARG = crm.profile,
	RIGHTARG = crm.predicate,
	RESTRICT = crm.predicate_matchsel,
	JOIN = crm.predicate_matchjoinsel
);

COMMENT ON OPERATOR crm.@@ (crm.profile, crm.predicate) IS 'the predicate is true of the profile now';

CREATE FUNCTION crm.next_change(profile crm.profile, predicate crm.predicate, at timestamptz DEFAULT crm.now(),
								entry timestamptz DEFAULT NULL, zone text DEFAULT crm.timezone())
RETURNS timestamptz
AS 'MODULE_PATHNAME', 'crm_predicate_next_change'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;

COMMENT ON FUNCTION crm.next_change(crm.profile, crm.predicate, timestamptz, timestamptz, text) IS
'The first instant later than "at" at which the predicate''s answer is different with no new fact; infinity if there is none. After 1,000 steps, or beyond 10 years, the instant that was reached: a lower bound, at which to ask again. NULL profile, predicate, at or zone gives NULL. Errors as crm.matches.';

CREATE FUNCTION crm.periods(profile crm.profile, predicate crm.predicate, "from" timestamptz, "to" timestamptz,
							entry timestamptz DEFAULT NULL, zone text DEFAULT crm.timezone())
RETURNS tstzmultirange
AS 'MODULE_PATHNAME', 'crm_predicate_periods'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000;

COMMENT ON FUNCTION crm.periods(crm.profile, crm.predicate, timestamptz, timestamptz, timestamptz, text) IS
'Exactly when, from "from" (inclusive) to "to" (exclusive), the predicate is true of the profile. NULL in any argument but entry gives NULL. Errors as crm.matches, and 22023 when "to" lies before "from".';

CREATE FUNCTION crm.occurrences(profile crm.profile, predicate crm.predicate, "from" timestamptz, "to" timestamptz,
								entry timestamptz DEFAULT NULL, zone text DEFAULT crm.timezone(),
								OUT kind text, OUT at timestamptz, OUT properties jsonb, OUT period tstzmultirange)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'crm_predicate_occurrences'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 ROWS 10;

COMMENT ON FUNCTION crm.occurrences(crm.profile, crm.predicate, timestamptz, timestamptz, timestamptz, text) IS
'One row for each deciding event: when the top-level conjunction has a "has", each event of its first "has" that is met with the rest at some time from "from" (inclusive) to "to" (exclusive), with the periods in which it is. No rows for a predicate without such a "has", nor for NULL in any argument but entry. Errors as crm.periods.';

CREATE FUNCTION crm.explain(profile crm.profile, predicate crm.predicate, at timestamptz DEFAULT crm.now(),
							entry timestamptz DEFAULT NULL, zone text DEFAULT crm.timezone(),
							OUT depth int, OUT text text, OUT value text, OUT truth boolean, OUT until timestamptz,
							OUT events jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'crm_predicate_explain'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 10000 ROWS 10;

COMMENT ON FUNCTION crm.explain(crm.profile, crm.predicate, timestamptz, timestamptz, text) IS
'Why the predicate is true of the profile at the instant, or why not: a row for each node of its tree, parents first, with its value or truth, the instant until which that surely stands with no new fact, and the events that decide it (the latest ten). NULL in any argument but entry gives no rows. Errors as crm.matches.';

-- crm.profile: a customer's facts as one value, and the aggregate that makes it.

CREATE TYPE crm.profile;

CREATE FUNCTION crm.profile_in(cstring) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_profile_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_in(cstring) IS
'text form of crm.profile: JSON with the keys customer (bigint), attributes (object) and events (array of objects with kind and at). Strings in the form of an ISO date, or of an ISO date and time with zone, are read as one; {"text": "2026-01-05"} is a text. Error 22P02 for anything else, class 54 beyond a limit';

CREATE FUNCTION crm.profile_out(crm.profile) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_profile_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_out(crm.profile) IS
'canonical JSON: attributes by name, events by time, instants in UTC; equal profiles give equal texts';

CREATE FUNCTION crm.profile_recv(internal) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_profile_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_recv(internal) IS
'binary form of crm.profile: a version byte (1) and the text form. Errors as in the text form, 22P03 for another version';

CREATE FUNCTION crm.profile_send(crm.profile) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_profile_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_send(crm.profile) IS 'binary form: a version byte (1) and the canonical JSON';

CREATE TYPE crm.profile (
	INPUT = crm.profile_in,
	OUTPUT = crm.profile_out,
	RECEIVE = crm.profile_recv,
	SEND = crm.profile_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.profile IS
'a customer''s facts: id, attributes, and events sorted by time, each with a kind, an instant and properties. Values are text, exact decimal, boolean, date, timestamptz, or arrays of these. Made by crm.profile_agg or written as JSON; asked by profile @@ predicate';

-- Equality, as facts: 1.0 and 1.00 differ, because they print differently.

CREATE FUNCTION crm.profile_eq(crm.profile, crm.profile) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_profile_eq'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_eq(crm.profile, crm.profile) IS
'implementation of =: are the canonical texts equal? NULL if an argument is NULL';

CREATE FUNCTION crm.profile_ne(crm.profile, crm.profile) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_profile_ne'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_ne(crm.profile, crm.profile) IS
'implementation of <>: do the canonical texts differ? NULL if an argument is NULL';

CREATE FUNCTION crm.profile_hash(crm.profile) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_profile_hash'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_hash(crm.profile) IS 'hash that agrees with =; NULL for NULL';

CREATE OPERATOR crm.= (
	LEFTARG = crm.profile,
	RIGHTARG = crm.profile,
	FUNCTION = crm.profile_eq,
	COMMUTATOR = OPERATOR(crm.=),
	NEGATOR = OPERATOR(crm.<>),
	RESTRICT = eqsel,
	JOIN = eqjoinsel,
	HASHES
);
COMMENT ON OPERATOR crm.= (crm.profile, crm.profile) IS 'equal facts';

CREATE OPERATOR crm.<> (
	LEFTARG = crm.profile,
	RIGHTARG = crm.profile,
	FUNCTION = crm.profile_ne,
	COMMUTATOR = OPERATOR(crm.<>),
	NEGATOR = OPERATOR(crm.=),
	RESTRICT = neqsel,
	JOIN = neqjoinsel
);
COMMENT ON OPERATOR crm.<> (crm.profile, crm.profile) IS 'different facts';

CREATE OPERATOR FAMILY crm.profile_hash_ops USING hash;
COMMENT ON OPERATOR FAMILY crm.profile_hash_ops USING hash IS 'equality of profiles';

CREATE OPERATOR CLASS crm.profile_hash_ops DEFAULT FOR TYPE crm.profile USING hash FAMILY crm.profile_hash_ops AS
	OPERATOR 1 crm.= ,
	FUNCTION 1 crm.profile_hash(crm.profile);
COMMENT ON OPERATOR CLASS crm.profile_hash_ops USING hash IS 'equality of profiles, for DISTINCT and GROUP BY';

-- Casts.

CREATE FUNCTION crm.profile_from_jsonb(jsonb) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_profile_from_jsonb'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_from_jsonb(jsonb) IS
'the profile that a jsonb says, in the form that the text form has; NULL for NULL. Error 22P02 if it says none';

CREATE FUNCTION crm.profile_to_jsonb(crm.profile) RETURNS jsonb
	AS 'MODULE_PATHNAME', 'crm_profile_to_jsonb'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_to_jsonb(crm.profile) IS 'the canonical JSON of a profile as jsonb; NULL for NULL';

CREATE CAST (jsonb AS crm.profile) WITH FUNCTION crm.profile_from_jsonb(jsonb) AS ASSIGNMENT;
COMMENT ON CAST (jsonb AS crm.profile) IS 'reads the text form of a profile';

CREATE CAST (crm.profile AS jsonb) WITH FUNCTION crm.profile_to_jsonb(crm.profile) AS ASSIGNMENT;
COMMENT ON CAST (crm.profile AS jsonb) IS 'the canonical JSON of a profile';

-- Its parts.

CREATE FUNCTION crm.customer_of(profile crm.profile) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_profile_customer_of'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.customer_of(crm.profile) IS
'the customer''s id; NULL if the profile names none, or for NULL';

CREATE FUNCTION crm.attributes_of(profile crm.profile) RETURNS TABLE (name text, value jsonb)
	AS 'MODULE_PATHNAME', 'crm_profile_attributes_of'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	ROWS 10;
COMMENT ON FUNCTION crm.attributes_of(crm.profile) IS
'a row for each attribute, by name; values as in the text form. No rows for NULL';

CREATE FUNCTION crm.events_of(profile crm.profile) RETURNS TABLE (kind text, at timestamptz, properties jsonb)
	AS 'MODULE_PATHNAME', 'crm_profile_events_of'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE
	ROWS 100;
COMMENT ON FUNCTION crm.events_of(crm.profile) IS
'a row for each event, by time; properties as in the text form, {} where there are none. No rows for NULL';

-- The aggregate. Its state is a type of its own, so that it can be stored, sent and combined anywhere.

CREATE TYPE crm.profile_state;

CREATE FUNCTION crm.profile_state_in(cstring) RETURNS crm.profile_state
	AS 'MODULE_PATHNAME', 'crm_profile_state_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_in(cstring) IS
'text form of crm.profile_state: that of the profile it would give, with the same errors';

CREATE FUNCTION crm.profile_state_out(crm.profile_state) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_profile_state_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_out(crm.profile_state) IS
'text form of the profile that the state would give; errors as in crm.profile_state_final';

CREATE FUNCTION crm.profile_state_recv(internal) RETURNS crm.profile_state
	AS 'MODULE_PATHNAME', 'crm_profile_state_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_recv(internal) IS
'binary form of crm.profile_state: that of the profile it would give, with the same errors';

CREATE FUNCTION crm.profile_state_send(crm.profile_state) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_profile_state_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_send(crm.profile_state) IS
'binary form of the profile that the state would give; errors as in crm.profile_state_final';

CREATE TYPE crm.profile_state (
	INPUT = crm.profile_state_in,
	OUTPUT = crm.profile_state_out,
	RECEIVE = crm.profile_state_recv,
	SEND = crm.profile_state_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.profile_state IS
'state of the aggregate crm.profile_agg: facts in the order of their coming. A partial result that can be stored, merged with crm.profile_state_merge and finished with crm.profile_state_final';

CREATE FUNCTION crm.profile_state_add(state crm.profile_state, kind text, at timestamptz, properties anyelement)
	RETURNS crm.profile_state
	AS 'MODULE_PATHNAME', 'crm_profile_state_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_add(crm.profile_state, text, timestamptz, anyelement) IS
'transition function of crm.profile_agg, see there; a NULL state is an empty one';

CREATE FUNCTION crm.profile_state_merge(crm.profile_state, crm.profile_state) RETURNS crm.profile_state
	AS 'MODULE_PATHNAME', 'crm_profile_state_merge'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_merge(crm.profile_state, crm.profile_state) IS
'combine function of crm.profile_agg: the facts of both; a NULL state is an empty one. Error 22023 if they are of different customers, 54000 beyond 1 GB';

CREATE FUNCTION crm.profile_state_final(crm.profile_state) RETURNS crm.profile
	AS 'MODULE_PATHNAME', 'crm_profile_state_final'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.profile_state_final(crm.profile_state) IS
'final function of crm.profile_agg: the facts sorted; an empty profile for NULL. Error 22023 if an attribute has two different values, class 54 beyond a limit';

CREATE AGGREGATE crm.profile_agg(kind text, at timestamptz, properties anyelement) (
	SFUNC = crm.profile_state_add,
	STYPE = crm.profile_state,
	SSPACE = 1024,
	FINALFUNC = crm.profile_state_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.profile_state_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.profile_agg(text, timestamptz, anyelement) IS
'one profile of all rows of a group, in any order. kind: what happened; with kind ''customer'' the properties are attributes and at is ignored. at: when. properties: a row whose column names become names of properties (the alias of a view or subquery), or a jsonb object, or NULL for none. A column customer_id is not a property but the profile''s customer; a column at must equal the argument. NULL values are left out. A row without at and without any property is passed over, so that LEFT JOIN works; without any rows the profile is empty, not NULL. Errors: 22004 if kind or at is NULL; 22023 for different customers, different values of one attribute, an infinite at; 42804 for a column of another type than text, number, boolean, date, timestamptz and arrays of these; 42939 for a reserved name; class 54 beyond a limit';

-- The type crm.predicate: which customers are meant. What it means for a customer is in 21_predicate_eval.sql.

CREATE TYPE crm.predicate;

CREATE FUNCTION crm.predicate_in(cstring) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_in(cstring) IS
'reads a predicate. Errors: 42601 and 42883 for its syntax, 42804 for parts that do not fit together, class 22 for values, class 54 for its limits';

CREATE FUNCTION crm.predicate_out(crm.predicate) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_predicate_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_out(crm.predicate) IS 'the canonical text of a predicate';

CREATE FUNCTION crm.predicate_recv(internal) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_recv(internal) IS
'reads a predicate in binary form: a byte of version and text, canonical or not. Errors: those of predicate_in, and 22P03 for another version';

CREATE FUNCTION crm.predicate_send(crm.predicate) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_predicate_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_send(crm.predicate) IS
'the binary form of a predicate: a byte of version and its canonical text';

CREATE TYPE crm.predicate (
	INPUT = crm.predicate_in,
	OUTPUT = crm.predicate_out,
	RECEIVE = crm.predicate_recv,
	SEND = crm.predicate_send,
	INTERNALLENGTH = VARIABLE,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.predicate IS
'which customers are meant, in words: has order and no order in last 90 days';

CREATE FUNCTION crm.predicate(source text) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_from_text'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate(text) IS
'the predicate that a text says; NULL for NULL. Errors: those of predicate_in';

CREATE CAST (text AS crm.predicate) WITH FUNCTION crm.predicate(text);
COMMENT ON CAST (text AS crm.predicate) IS 'reads a predicate';

-- Equality and order, of the bytes of the canonical text

CREATE FUNCTION crm.predicate_eq(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_eq'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_eq(crm.predicate, crm.predicate) IS
'whether two predicates have the same canonical text; not whether they mean the same. NULL for NULL';

CREATE FUNCTION crm.predicate_ne(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_ne'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_ne(crm.predicate, crm.predicate) IS
'whether the canonical texts of two predicates differ. NULL for NULL';

CREATE FUNCTION crm.predicate_lt(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_lt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_lt(crm.predicate, crm.predicate) IS
'whether the canonical text of the first predicate sorts before that of the second, by bytes. NULL for NULL';

CREATE FUNCTION crm.predicate_le(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_le'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_le(crm.predicate, crm.predicate) IS
'whether the canonical text of the first predicate sorts before that of the second or is the same, by bytes. NULL for NULL';

CREATE FUNCTION crm.predicate_gt(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_gt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_gt(crm.predicate, crm.predicate) IS
'whether the canonical text of the first predicate sorts after that of the second, by bytes. NULL for NULL';

CREATE FUNCTION crm.predicate_ge(a crm.predicate, b crm.predicate) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_predicate_ge'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_ge(crm.predicate, crm.predicate) IS
'whether the canonical text of the first predicate sorts after that of the second or is the same, by bytes. NULL for NULL';

CREATE FUNCTION crm.predicate_compare(a crm.predicate, b crm.predicate) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_predicate_compare'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_compare(crm.predicate, crm.predicate) IS
'-1, 0 or 1 as the canonical text of the first predicate sorts before, with or after that of the second. NULL for NULL';

CREATE FUNCTION crm.predicate_hash(predicate crm.predicate) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_predicate_hash'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_hash(crm.predicate) IS 'a hash of the canonical text. NULL for NULL';

CREATE FUNCTION crm.predicate_hash_extended(predicate crm.predicate, seed bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_predicate_hash_extended'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_hash_extended(crm.predicate, bigint) IS
'a seeded hash of the canonical text, in 64 bits. NULL for NULL';

CREATE OPERATOR crm.= (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_eq,
	COMMUTATOR = OPERATOR(crm.=), NEGATOR = OPERATOR(crm.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR crm.= (crm.predicate, crm.predicate) IS 'the same canonical text';

CREATE OPERATOR crm.<> (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_ne,
	COMMUTATOR = OPERATOR(crm.<>), NEGATOR = OPERATOR(crm.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR crm.<> (crm.predicate, crm.predicate) IS 'another canonical text';

CREATE OPERATOR crm.< (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_lt,
	COMMUTATOR = OPERATOR(crm.>), NEGATOR = OPERATOR(crm.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR crm.< (crm.predicate, crm.predicate) IS 'sorts before, by the bytes of the canonical text';

CREATE OPERATOR crm.<= (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_le,
	COMMUTATOR = OPERATOR(crm.>=), NEGATOR = OPERATOR(crm.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR crm.<= (crm.predicate, crm.predicate) IS
'sorts before or is the same, by the bytes of the canonical text';

CREATE OPERATOR crm.> (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_gt,
	COMMUTATOR = OPERATOR(crm.<), NEGATOR = OPERATOR(crm.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR crm.> (crm.predicate, crm.predicate) IS 'sorts after, by the bytes of the canonical text';

CREATE OPERATOR crm.>= (
	LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_ge,
	COMMUTATOR = OPERATOR(crm.<=), NEGATOR = OPERATOR(crm.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR crm.>= (crm.predicate, crm.predicate) IS
'sorts after or is the same, by the bytes of the canonical text';

CREATE OPERATOR FAMILY crm.predicate_ops USING btree;
COMMENT ON OPERATOR FAMILY crm.predicate_ops USING btree IS 'order of predicates by the bytes of their canonical text';

CREATE OPERATOR CLASS crm.predicate_ops DEFAULT FOR TYPE crm.predicate USING btree FAMILY crm.predicate_ops AS
	OPERATOR 1 crm.<, OPERATOR 2 crm.<=, OPERATOR 3 crm.=, OPERATOR 4 crm.>=, OPERATOR 5 crm.>,
	FUNCTION 1 crm.predicate_compare(crm.predicate, crm.predicate),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS crm.predicate_ops USING btree IS 'order of predicates by the bytes of their canonical text';

CREATE OPERATOR FAMILY crm.predicate_ops USING hash;
COMMENT ON OPERATOR FAMILY crm.predicate_ops USING hash IS 'equality of predicates by their canonical text';

CREATE OPERATOR CLASS crm.predicate_ops DEFAULT FOR TYPE crm.predicate USING hash FAMILY crm.predicate_ops AS
	OPERATOR 1 crm.=,
	FUNCTION 1 crm.predicate_hash(crm.predicate),
	FUNCTION 2 crm.predicate_hash_extended(crm.predicate, bigint);
COMMENT ON OPERATOR CLASS crm.predicate_ops USING hash IS 'equality of predicates by their canonical text';

-- Joining

CREATE FUNCTION crm.predicate_and(a crm.predicate, b crm.predicate) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_and'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_and(crm.predicate, crm.predicate) IS
'the predicate "a and b"; NULL for NULL. Errors: class 54 if it is beyond the limits of a predicate';

CREATE FUNCTION crm.predicate_or(a crm.predicate, b crm.predicate) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_or'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_or(crm.predicate, crm.predicate) IS
'the predicate "a or b"; NULL for NULL. Errors: class 54 if it is beyond the limits of a predicate';

CREATE FUNCTION crm.predicate_not(predicate crm.predicate) RETURNS crm.predicate
	AS 'MODULE_PATHNAME', 'crm_predicate_not'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_not(crm.predicate) IS
'the predicate "not a": all other customers; NULL for NULL. Errors: class 54 if it is beyond the limits of a predicate';

CREATE OPERATOR crm.&& (LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_and);
COMMENT ON OPERATOR crm.&& (crm.predicate, crm.predicate) IS 'the predicate "a and b"';

CREATE OPERATOR crm.|| (LEFTARG = crm.predicate, RIGHTARG = crm.predicate, FUNCTION = crm.predicate_or);
COMMENT ON OPERATOR crm.|| (crm.predicate, crm.predicate) IS 'the predicate "a or b"';

CREATE OPERATOR crm.!! (RIGHTARG = crm.predicate, FUNCTION = crm.predicate_not);
COMMENT ON OPERATOR crm.!! (NONE, crm.predicate) IS 'the predicate "not a"';

-- What a predicate depends on

CREATE FUNCTION crm.event_kinds(predicate crm.predicate) RETURNS text[]
	AS 'MODULE_PATHNAME', 'crm_predicate_event_kinds'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.event_kinds(crm.predicate) IS
'the kinds of events that a predicate looks at, also those of followed by and preceded by; sorted, each once. NULL for NULL';

CREATE FUNCTION crm.attributes(predicate crm.predicate) RETURNS text[]
	AS 'MODULE_PATHNAME', 'crm_predicate_attributes'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.attributes(crm.predicate) IS
'the customer''s attributes that a predicate looks at; sorted, each once. NULL for NULL';

-- The planner's estimate for profile @@ predicate

CREATE FUNCTION crm.predicate_matchsel(internal, oid, internal, integer) RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_predicate_matchsel'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_matchsel(internal, oid, internal, integer) IS
'the share of profiles that a predicate is likely to keep: a guess for each part, combined as if independent; 0.1 when the predicate is not known';

CREATE FUNCTION crm.predicate_matchjoinsel(internal, oid, internal, smallint, internal) RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_predicate_matchjoinsel'
	LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.predicate_matchjoinsel(internal, oid, internal, smallint, internal) IS
'the share of pairs of profile and predicate that are likely to match: 0.1';

-- RFM: the score of a customer as a value, segments of scores as data, and the scores of a population.

CREATE TYPE crm.rfm;

CREATE FUNCTION crm.rfm_in(cstring) RETURNS crm.rfm
	AS 'MODULE_PATHNAME', 'crm_score_rfm_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_in(cstring) IS
'text form of crm.rfm: three digits 1 to 9, for recency, frequency and monetary, as 5-4-3 or 543. Error 22P02 for anything else';

CREATE FUNCTION crm.rfm_out(crm.rfm) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_score_rfm_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_out(crm.rfm) IS 'the three scores with hyphens: 5-4-3';

CREATE FUNCTION crm.rfm_recv(internal) RETURNS crm.rfm
	AS 'MODULE_PATHNAME', 'crm_score_rfm_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_recv(internal) IS
'binary form of crm.rfm: a byte each for recency, frequency and monetary. Error 22P03 unless each is 1 to 9';

CREATE FUNCTION crm.rfm_send(crm.rfm) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_score_rfm_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_send(crm.rfm) IS 'binary form: a byte each for recency, frequency and monetary';

CREATE TYPE crm.rfm (
	INPUT = crm.rfm_in,
	OUTPUT = crm.rfm_out,
	RECEIVE = crm.rfm_recv,
	SEND = crm.rfm_send,
	INTERNALLENGTH = 4,
	PASSEDBYVALUE,
	ALIGNMENT = int4
);
COMMENT ON TYPE crm.rfm IS
'scores of a customer for recency, frequency and monetary, each 1 (worst) to 9, mostly to 5 (best); text form 5-4-3. Ordered by recency, then frequency, then monetary';

CREATE FUNCTION crm.make_rfm(r integer, f integer, m integer) RETURNS crm.rfm
	AS 'MODULE_PATHNAME', 'crm_score_rfm_make'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.make_rfm(integer, integer, integer) IS
'the value with these scores for recency, frequency and monetary; NULL if one is NULL. Error 22003 unless each is 1 to 9';

CREATE FUNCTION crm.rfm_r(score crm.rfm) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_rfm_r'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_r(crm.rfm) IS 'the score for recency, 1 to 9; NULL for NULL';

CREATE FUNCTION crm.rfm_f(score crm.rfm) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_rfm_f'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_f(crm.rfm) IS 'the score for frequency, 1 to 9; NULL for NULL';

CREATE FUNCTION crm.rfm_m(score crm.rfm) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_rfm_m'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_m(crm.rfm) IS 'the score for monetary, 1 to 9; NULL for NULL';

-- Order and hash

CREATE FUNCTION crm.rfm_eq(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_eq'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_eq(crm.rfm, crm.rfm) IS 'implementation of =';

CREATE FUNCTION crm.rfm_ne(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_ne'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_ne(crm.rfm, crm.rfm) IS 'implementation of <>';

CREATE FUNCTION crm.rfm_lt(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_lt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_lt(crm.rfm, crm.rfm) IS 'implementation of <';

CREATE FUNCTION crm.rfm_le(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_le'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_le(crm.rfm, crm.rfm) IS 'implementation of <=';

CREATE FUNCTION crm.rfm_gt(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_gt'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_gt(crm.rfm, crm.rfm) IS 'implementation of >';

CREATE FUNCTION crm.rfm_ge(crm.rfm, crm.rfm) RETURNS boolean
	AS 'MODULE_PATHNAME', 'crm_score_rfm_ge'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_ge(crm.rfm, crm.rfm) IS 'implementation of >=';

CREATE FUNCTION crm.rfm_compare(crm.rfm, crm.rfm) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_rfm_compare'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_compare(crm.rfm, crm.rfm) IS
'-1, 0 or 1 as the first sorts before, with or after the second: by recency, then frequency, then monetary. NULL for NULL';

CREATE FUNCTION crm.rfm_hash(crm.rfm) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_rfm_hash'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_hash(crm.rfm) IS 'a hash that agrees with =; NULL for NULL';

CREATE FUNCTION crm.rfm_hash_extended(crm.rfm, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_score_rfm_hash_extended'
	LANGUAGE C IMMUTABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION crm.rfm_hash_extended(crm.rfm, bigint) IS 'a seeded hash of 64 bits that agrees with =; NULL for NULL';

CREATE OPERATOR crm.= (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_eq,
	COMMUTATOR = OPERATOR(crm.=), NEGATOR = OPERATOR(crm.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR crm.= (crm.rfm, crm.rfm) IS 'the same three scores';

CREATE OPERATOR crm.<> (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_ne,
	COMMUTATOR = OPERATOR(crm.<>), NEGATOR = OPERATOR(crm.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR crm.<> (crm.rfm, crm.rfm) IS 'other scores';

CREATE OPERATOR crm.< (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_lt,
	COMMUTATOR = OPERATOR(crm.>), NEGATOR = OPERATOR(crm.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR crm.< (crm.rfm, crm.rfm) IS 'sorts before: by recency, then frequency, then monetary';

CREATE OPERATOR crm.<= (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_le,
	COMMUTATOR = OPERATOR(crm.>=), NEGATOR = OPERATOR(crm.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR crm.<= (crm.rfm, crm.rfm) IS 'sorts before or is the same';

CREATE OPERATOR crm.> (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_gt,
	COMMUTATOR = OPERATOR(crm.<), NEGATOR = OPERATOR(crm.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR crm.> (crm.rfm, crm.rfm) IS 'sorts after: by recency, then frequency, then monetary';

CREATE OPERATOR crm.>= (
	LEFTARG = crm.rfm, RIGHTARG = crm.rfm, FUNCTION = crm.rfm_ge,
	COMMUTATOR = OPERATOR(crm.<=), NEGATOR = OPERATOR(crm.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR crm.>= (crm.rfm, crm.rfm) IS 'sorts after or is the same';

CREATE OPERATOR FAMILY crm.rfm_ops USING btree;
COMMENT ON OPERATOR FAMILY crm.rfm_ops USING btree IS 'order of scores by recency, then frequency, then monetary';

CREATE OPERATOR CLASS crm.rfm_ops DEFAULT FOR TYPE crm.rfm USING btree FAMILY crm.rfm_ops AS
	OPERATOR 1 crm.<, OPERATOR 2 crm.<=, OPERATOR 3 crm.=, OPERATOR 4 crm.>=, OPERATOR 5 crm.>,
	FUNCTION 1 crm.rfm_compare(crm.rfm, crm.rfm),
	FUNCTION 4 pg_catalog.btequalimage(oid);
COMMENT ON OPERATOR CLASS crm.rfm_ops USING btree IS 'order of scores by recency, then frequency, then monetary';

CREATE OPERATOR FAMILY crm.rfm_ops USING hash;
COMMENT ON OPERATOR FAMILY crm.rfm_ops USING hash IS 'equality of scores';

CREATE OPERATOR CLASS crm.rfm_ops DEFAULT FOR TYPE crm.rfm USING hash FAMILY crm.rfm_ops AS
	OPERATOR 1 crm.=,
	FUNCTION 1 crm.rfm_hash(crm.rfm),
	FUNCTION 2 crm.rfm_hash_extended(crm.rfm, bigint);
COMMENT ON OPERATOR CLASS crm.rfm_ops USING hash IS 'equality of scores';

-- Segments of scores

CREATE TABLE crm.rfm_map (
	map			text NOT NULL CHECK (map <> ''),
	priority	integer NOT NULL,
	segment		text NOT NULL CHECK (segment <> ''),
	r_low		integer NOT NULL DEFAULT 1,
	r_high		integer NOT NULL DEFAULT 9,
	f_low		integer NOT NULL DEFAULT 1,
	f_high		integer NOT NULL DEFAULT 9,
	m_low		integer NOT NULL DEFAULT 1,
	m_high		integer NOT NULL DEFAULT 9,
	PRIMARY KEY (map, priority),
	CONSTRAINT rfm_map_scores CHECK (
		1 <= r_low AND r_low <= r_high AND r_high <= 9 AND
		1 <= f_low AND f_low <= f_high AND f_high <= 9 AND
		1 <= m_low AND m_low <= m_high AND m_high <= 9)
);
COMMENT ON TABLE crm.rfm_map IS
'names of segments for RFM scores. A map is all rows of its name; of the rows that a score lies in, the one of least priority names it, and a score that lies in none has no segment. The map rf_grid comes with the extension and is not dumped: copy it to another name to change it';
COMMENT ON COLUMN crm.rfm_map.map IS 'name of the map';
COMMENT ON COLUMN crm.rfm_map.priority IS 'place among the rows of the map: the least that matches wins';
COMMENT ON COLUMN crm.rfm_map.segment IS 'name of the segment; several rows may have the same';
COMMENT ON COLUMN crm.rfm_map.r_low IS 'least score for recency';
COMMENT ON COLUMN crm.rfm_map.r_high IS 'greatest score for recency';
COMMENT ON COLUMN crm.rfm_map.f_low IS 'least score for frequency';
COMMENT ON COLUMN crm.rfm_map.f_high IS 'greatest score for frequency';
COMMENT ON COLUMN crm.rfm_map.m_low IS 'least score for monetary';
COMMENT ON COLUMN crm.rfm_map.m_high IS 'greatest score for monetary';

-- The customary grid of recency and frequency in five bins: each cell once
INSERT INTO crm.rfm_map (map, priority, segment, r_low, r_high, f_low, f_high) VALUES
	('rf_grid', 1, 'Hibernating', 1, 2, 1, 2),
	('rf_grid', 2, 'At Risk', 1, 2, 3, 4),
	('rf_grid', 3, 'Can''t Lose', 1, 2, 5, 5),
	('rf_grid', 4, 'About to Sleep', 3, 3, 1, 2),
	('rf_grid', 5, 'Need Attention', 3, 3, 3, 3),
	('rf_grid', 6, 'Loyal Customers', 3, 4, 4, 5),
	('rf_grid', 7, 'Promising', 4, 4, 1, 1),
	('rf_grid', 8, 'New Customers', 5, 5, 1, 1),
	('rf_grid', 9, 'Potential Loyalists', 4, 5, 2, 3),
	('rf_grid', 10, 'Champions', 5, 5, 4, 5);

SELECT pg_catalog.pg_extension_config_dump('crm.rfm_map', 'WHERE map <> ''rf_grid''');

CREATE FUNCTION crm.rfm_segment(score crm.rfm, map text DEFAULT 'rf_grid') RETURNS text
	AS 'MODULE_PATHNAME', 'crm_score_rfm_segment'
	LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION crm.rfm_segment(crm.rfm, text) IS
'the segment that a map of crm.rfm_map names for a score. rf_grid, made for 5 bins: Champions, Loyal Customers, Potential Loyalists, New Customers, Promising, Need Attention, About to Sleep, At Risk, Can''t Lose, Hibernating. NULL when the map has none for the score, and for NULL. Error 42704 when there is no such map';

-- A population

CREATE TYPE crm.population;

CREATE FUNCTION crm.population_in(cstring) RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_in(cstring) IS
'text form of crm.population: \x and the bytes of the binary form in hexadecimal. Error 22P02 or 22P03 for anything else, 22023 for an unknown time zone';

CREATE FUNCTION crm.population_out(crm.population) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_score_population_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_out(crm.population) IS
'the bytes of the binary form in hexadecimal; equal populations give equal texts';

CREATE FUNCTION crm.population_recv(internal) RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_recv(internal) IS
'binary form of crm.population: a version byte (1), and the customers in ascending order, delta coded. Error 22P03 for anything else, 22023 for an unknown time zone';

CREATE FUNCTION crm.population_send(crm.population) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_score_population_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_send(crm.population) IS 'binary form: a version byte (1), and the customers, delta coded';

CREATE TYPE crm.population (
	INPUT = crm.population_in,
	OUTPUT = crm.population_out,
	RECEIVE = crm.population_recv,
	SEND = crm.population_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.population IS
'of each customer of a population: the last instant, how many orders, and their exact total; counted by orders or days also each of these with its amount. Made by crm.rfm_agg, and can be stored as a partial result; of it come crm.scores_of, crm.ltv_of and crm.clv_summary';

CREATE FUNCTION crm.population_add(
	population crm.population, customer bigint, at timestamptz, amount numeric) RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_add(crm.population, bigint, timestamptz, numeric) IS
'a population, or NULL for none yet, with one order more, counted by rows; passed over if customer or at is NULL or at is infinite. Transition function of crm.rfm_agg. Error 22023 if the population is counted otherwise';

CREATE FUNCTION crm.population_add(
	population crm.population, customer bigint, at timestamptz, amount numeric, orders bigint) RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_add_orders'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_add(crm.population, bigint, timestamptz, numeric, bigint) IS
'the same for a row that stands for several orders; passed over if orders is NULL, too. Transition function of crm.rfm_agg. Errors: 22023 if orders is not positive, 22003 if their number overflows';

CREATE FUNCTION crm.population_add(
	population crm.population, customer bigint, at timestamptz, amount numeric, count_by text, zone text)
	RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_add_counted'
	LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_add(crm.population, bigint, timestamptz, numeric, text, text) IS
'the same, with what counts as an order: count_by is rows, orders or days, the days being local ones of the zone. Transition function of crm.rfm_agg. Errors: 22004 count_by or zone is NULL, 22023 they are unknown or not those of the population';

CREATE FUNCTION crm.population_merge(crm.population, crm.population) RETURNS crm.population
	AS 'MODULE_PATHNAME', 'crm_score_population_merge'
	LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.population_merge(crm.population, crm.population) IS
'the orders of both populations together; NULL is a population without orders. Combine function of crm.rfm_agg. Error 22023 if they are counted in different ways or zones';

CREATE AGGREGATE crm.rfm_agg(customer bigint, at timestamptz, amount numeric) (
	SFUNC = crm.population_add,
	STYPE = crm.population,
	COMBINEFUNC = crm.population_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.rfm_agg(bigint, timestamptz, numeric) IS
'all customers of a query as one crm.population, every row an order: SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM orders) AS o, crm.scores_of(o.p) AS s. A row whose customer or at is NULL, or whose at is infinite, is passed over; an amount that is NULL, NaN or infinite adds nothing, but the order counts; negative amounts are subtracted. NULL when no row counts';

CREATE AGGREGATE crm.rfm_agg(customer bigint, at timestamptz, amount numeric, orders bigint) (
	SFUNC = crm.population_add,
	STYPE = crm.population,
	COMBINEFUNC = crm.population_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.rfm_agg(bigint, timestamptz, numeric, bigint) IS
'the same for rows that are aggregated already: each stands for so many orders, the last of them at "at", of "amount" in all. Errors: 22023 if orders is not positive, 22003 if their number overflows';

CREATE AGGREGATE crm.rfm_agg(customer bigint, at timestamptz, amount numeric, count_by text, zone text) (
	SFUNC = crm.population_add,
	STYPE = crm.population,
	COMBINEFUNC = crm.population_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.rfm_agg(bigint, timestamptz, numeric, text, text) IS
'the same with what counts as an order: count_by is rows; orders, rows of a customer at one instant (order lines) being one; or days, rows of a customer on one local day of the zone being one. Errors: 22004 count_by or zone is NULL, 22023 they are unknown or differ between rows';

CREATE FUNCTION crm.scores_of(
	population crm.population,
	at timestamptz DEFAULT crm.now(),
	recency_to text DEFAULT 'at',
	method text DEFAULT 'quantile',
	bins integer DEFAULT 5,
	recency_bounds numeric[] DEFAULT NULL,
	frequency_bounds numeric[] DEFAULT NULL,
	monetary_bounds numeric[] DEFAULT NULL,
	zone text DEFAULT crm.timezone(),
	OUT customer bigint, OUT recency integer, OUT frequency bigint, OUT monetary numeric, OUT score crm.rfm)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_rfm_scores_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10000;
COMMENT ON FUNCTION crm.scores_of(crm.population, timestamptz, text, text, integer, numeric[], numeric[], numeric[], text) IS
'a row for each customer of the population, ascending: recency, the days from his last order''s local date (in the zone) to the date that recency_to says: at, the date of "at"; last, of the last order of all; next, the day after it; frequency, his orders; monetary, their exact total; and their score. method says how the N customers fall into so many bins (2 to 9), 1 the worst, in each of the three. quantile: 1 + floor(bins * (customers who are strictly worse) / N), so equal values share a score. ntile: SQL''s ntile(bins) from the worst to the best, equal values by customer. r: the rule of R''s package rfm, inner quantiles of type 7 plus 1 as bounds, a value at a bound being in the upper bin. pandas: qcut of rank(method => first), the k-th smallest value, equal ones by customer, in bin ceil(bins * (k - 1) / (N - 1)), the first in bin 1. For r and pandas recency is binned by days and turned round. fixed: the bounds given, ascending, one fewer than bins in each of the three arrays (bins is not looked at): recency up to a bound, frequency and monetary from a bound on are in the better bin. No rows for a NULL population. Errors: 22004 another argument is NULL (bounds only with fixed), 22023 an unknown word, zone, number of bins or bounds not ascending, 22003 a total out of numeric''s range';

CREATE FUNCTION crm.rfm_scores(
	at timestamptz DEFAULT crm.now(),
	recency_to text DEFAULT 'at',
	method text DEFAULT 'quantile',
	bins integer DEFAULT 5,
	recency_bounds numeric[] DEFAULT NULL,
	frequency_bounds numeric[] DEFAULT NULL,
	monetary_bounds numeric[] DEFAULT NULL,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	count_by text DEFAULT 'rows',
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	OUT customer bigint, OUT recency integer, OUT frequency bigint, OUT monetary numeric, OUT score crm.rfm)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_rfm_scores'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.rfm_scores(timestamptz, text, text, integer, numeric[], numeric[], numeric[], text, timestamptz, text, text, text) IS
'RFM scores of all customers by the feed of orders: those from "since" up to "at", both included, read in one pass. kind is another feed to read, amount another property of it that is the money; count_by says what counts as an order: rows of the feed; orders, rows of a customer at one instant (of a feed of order lines) being one; or days, those on one local day being one. All else is as in crm.scores_of: by default 5 bins by quantile, and recency to the date of crm.now(). Customers without orders have no row. Errors: as there, and 42704 no such feed, 42703 or 42804 amount is no number of it, 55000 the feed is stale';

CREATE FUNCTION crm.rfm_matrix(
	at timestamptz DEFAULT crm.now(),
	recency_to text DEFAULT 'at',
	method text DEFAULT 'quantile',
	bins integer DEFAULT 5,
	recency_bounds numeric[] DEFAULT NULL,
	frequency_bounds numeric[] DEFAULT NULL,
	monetary_bounds numeric[] DEFAULT NULL,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	count_by text DEFAULT 'rows',
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	map text DEFAULT 'rf_grid',
	OUT r integer, OUT f integer, OUT segment text, OUT customers bigint, OUT monetary numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_rfm_matrix'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 25;
COMMENT ON FUNCTION crm.rfm_matrix(timestamptz, text, text, integer, numeric[], numeric[], numeric[], text, timestamptz, text, text, text, text) IS
'how many customers have which scores for recency and frequency, and their money: a row for every pair, best recency first. To look at: SELECT r, f, customers FROM crm.rfm_matrix() \crosstabview. segment is what the map names for the pair, NULL when it names none, or several by monetary. Arguments and errors as in crm.rfm_scores, and 42704 for an unknown map';

CREATE FUNCTION crm.rfm_movement(
	before timestamptz,
	at timestamptz DEFAULT crm.now(),
	recency_to text DEFAULT 'at',
	method text DEFAULT 'quantile',
	bins integer DEFAULT 5,
	recency_bounds numeric[] DEFAULT NULL,
	frequency_bounds numeric[] DEFAULT NULL,
	monetary_bounds numeric[] DEFAULT NULL,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	count_by text DEFAULT 'rows',
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	map text DEFAULT 'rf_grid',
	OUT customer bigint, OUT score_before crm.rfm, OUT score crm.rfm, OUT segment_before text, OUT segment text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_rfm_movement'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.rfm_movement(timestamptz, timestamptz, text, text, integer, numeric[], numeric[], numeric[], text, timestamptz, text, text, text, text) IS
'the scores of all customers at the instant "before", by the orders up to it, beside those at "at"; score_before is NULL for those who came in between. One pass over the feed. Who moved where: SELECT segment_before, segment, count(*) FROM crm.rfm_movement(''2026-01-01'') GROUP BY 1, 2 \crosstabview. Other arguments and errors as in crm.rfm_matrix, and 22023 if "before" is later than "at"';

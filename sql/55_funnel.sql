-- Funnels: how far customers come through the steps of a way, and who comes back.

------------------------------------------------------------------------------------------------------------------
-- window_funnel
------------------------------------------------------------------------------------------------------------------

CREATE TYPE crm.funnel_state;

CREATE FUNCTION crm.funnel_state_in(cstring) RETURNS crm.funnel_state
	AS 'MODULE_PATHNAME', 'crm_score_funnel_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_in(cstring) IS
'text form of crm.funnel_state: \x and the bytes of the binary form in hexadecimal. Error 22P02 for anything else';

CREATE FUNCTION crm.funnel_state_out(crm.funnel_state) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_score_funnel_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_out(crm.funnel_state) IS
'the bytes of the binary form in hexadecimal; the same events give the same text, in whatever order they came';

CREATE FUNCTION crm.funnel_state_recv(internal) RETURNS crm.funnel_state
	AS 'MODULE_PATHNAME', 'crm_score_funnel_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_recv(internal) IS
'binary form of crm.funnel_state: a version byte (1), number of steps, modes, window, and the events by time, delta coded. Error 22P03 for anything else';

CREATE FUNCTION crm.funnel_state_send(crm.funnel_state) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_score_funnel_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_send(crm.funnel_state) IS
'binary form: a version byte (1), number of steps, modes, window, and the events by time, delta coded';

CREATE TYPE crm.funnel_state (
	INPUT = crm.funnel_state_in,
	OUTPUT = crm.funnel_state_out,
	RECEIVE = crm.funnel_state_recv,
	SEND = crm.funnel_state_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.funnel_state IS
'state of the aggregate crm.window_funnel: the events of a group. A partial result that can be stored, merged with crm.funnel_state_merge and finished with crm.funnel_state_final';

CREATE FUNCTION crm.funnel_state_add(state crm.funnel_state, within interval, at timestamptz, conditions boolean[])
	RETURNS crm.funnel_state
	AS 'MODULE_PATHNAME', 'crm_score_funnel_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_add(crm.funnel_state, interval, timestamptz, boolean[]) IS
'transition function of crm.window_funnel, see there; a NULL state is an empty one';

CREATE FUNCTION crm.funnel_state_add(
	state crm.funnel_state, within interval, modes text[], at timestamptz, conditions boolean[])
	RETURNS crm.funnel_state
	AS 'MODULE_PATHNAME', 'crm_score_funnel_add_modes'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_add(crm.funnel_state, interval, text[], timestamptz, boolean[]) IS
'transition function of crm.window_funnel, see there; a NULL state is an empty one';

CREATE FUNCTION crm.funnel_state_merge(crm.funnel_state, crm.funnel_state) RETURNS crm.funnel_state
	AS 'MODULE_PATHNAME', 'crm_score_funnel_merge'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_merge(crm.funnel_state, crm.funnel_state) IS
'combine function of crm.window_funnel: the events of both; a NULL state is an empty one. Errors: 22023 if they differ in window, modes or number of steps, 54000 beyond 1 GB';

CREATE FUNCTION crm.funnel_state_final(crm.funnel_state) RETURNS integer
	AS 'MODULE_PATHNAME', 'crm_score_funnel_final'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.funnel_state_final(crm.funnel_state) IS
'final function of crm.window_funnel: how many steps were made; 0 for NULL';

CREATE AGGREGATE crm.window_funnel(within interval, at timestamptz, VARIADIC conditions boolean[]) (
	SFUNC = crm.funnel_state_add,
	STYPE = crm.funnel_state,
	SSPACE = 256,
	FINALFUNC = crm.funnel_state_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.funnel_state_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.window_funnel(interval, timestamptz, boolean[]) IS
'how many steps of a funnel the events of a group make, in their order and within a window from the first: the greatest k for which events meet conditions 1 to k at t1 <= ... <= tk <= t1 + within. This is windowFunnel of ClickHouse without modes: of several first steps the latest before the next step counts. SELECT user_id, crm.window_funnel(''1 hour'', at, kind = ''view'', kind = ''cart'', kind = ''order'') FROM events GROUP BY user_id. within is an interval without months, a day being 24 hours. There are 1 to 32 conditions; NULL is false. An event that meets several is each of these steps. Rows whose at is NULL or infinite are passed over. 0 without rows. Errors: 22004 within or the array of conditions is NULL, 22023 within is negative or has months, the number of conditions, or one of these differs within a group, class 54 beyond 1 GB of events in a group';

CREATE AGGREGATE crm.window_funnel(within interval, modes text[], at timestamptz, VARIADIC conditions boolean[]) (
	SFUNC = crm.funnel_state_add,
	STYPE = crm.funnel_state,
	SSPACE = 256,
	FINALFUNC = crm.funnel_state_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.funnel_state_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.window_funnel(interval, text[], timestamptz, boolean[]) IS
'the same with modes, as in ClickHouse. strict_deduplication: a second event of a step that was reached, other than the first step, ends the funnel. strict_order: once there was a first step, an event of no step, or of a step whose predecessor was not reached, ends it; with allow_reentry too a step that comes too early is passed over. strict_increase: each step is later than the one before. strict_once: an event is but one step. They may be combined; allow_reentry needs strict_order. Events of one instant are taken step by step, and among those of one step by the conditions that they meet, where ClickHouse takes them as they come (it matters to strict_once with strict_deduplication only). Errors: as without modes, and 22004 modes or one of them is NULL, 22023 an unknown mode';

------------------------------------------------------------------------------------------------------------------
-- retention
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.retention_add(state bigint, conditions boolean[]) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_score_retention_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.retention_add(bigint, boolean[]) IS
'transition function of crm.retention, see there. The state has the number of conditions above bit 32, and below the conditions that were ever true; NULL is an empty one';

CREATE FUNCTION crm.retention_merge(bigint, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'crm_score_retention_merge'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.retention_merge(bigint, bigint) IS
'combine function of crm.retention. Error 22023 if the numbers of conditions differ';

CREATE FUNCTION crm.retention_final(bigint) RETURNS boolean[]
	AS 'MODULE_PATHNAME', 'crm_score_retention_final'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.retention_final(bigint) IS
'final function of crm.retention. Error 22023 if the number is no state of it';

CREATE AGGREGATE crm.retention(VARIADIC conditions boolean[]) (
	SFUNC = crm.retention_add,
	STYPE = bigint,
	FINALFUNC = crm.retention_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.retention_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.retention(boolean[]) IS
'which conditions a group meets, as retention of ClickHouse: the first element says whether any row met the first condition, each other one whether that is so and any row met its condition, in whatever order. SELECT user_id, crm.retention(at::date = ''2026-01-01'', at::date = ''2026-01-02'') FROM visits GROUP BY user_id. There are 1 to 32 conditions; NULL is false. NULL without rows. Errors: 22004 the array of conditions is NULL, 22023 the number of conditions, or it differs within a group';

------------------------------------------------------------------------------------------------------------------
-- On the feeds
------------------------------------------------------------------------------------------------------------------

CREATE FUNCTION crm.funnel(
	kinds text[],
	within interval,
	modes text[] DEFAULT NULL,
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT crm.now(),
	zone text DEFAULT crm.timezone(),
	OUT step integer, OUT kind text, OUT customers bigint, OUT share numeric, OUT conversion numeric, OUT lost bigint,
	OUT median_time interval, OUT median_total interval)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_funnel'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 5;
COMMENT ON FUNCTION crm.funnel(text[], interval, text[], timestamptz, timestamptz, text) IS
'how far customers come from one kind of event to the next, by the rules of crm.window_funnel: SELECT * FROM crm.funnel(''{view,cart,order}'', ''1 day''). A row for each step: customers who came to it; their share of those who came to the first step; conversion, their share of those who came to the step before, and how many of these were lost; the median time from the step before, and from the first step (the mean of the two in the middle for an even number), in days of 24 hours, by the run of events that brought each customer so far first. Conversion and lost of the first step are NULL, as is what nobody did. Events from "since" up to "until" are read, both included, of the named kinds only; within may have months and days, which are those of the zone. modes are those of crm.window_funnel; NULL is strict_once where a kind is named twice, so that one event is not two steps, and no mode otherwise. Memory is bounded by maintenance_work_mem, beyond it events go to temporary files. Errors: 22004 another argument or a kind is NULL, 22023 a mode, the window or the number of kinds, 42704 no such kind, 55000 a feed is stale';

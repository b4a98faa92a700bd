/*
 * funnel_state.c
 *		crm.window_funnel as an aggregate: the events of a group in one flat varlena, and its input and output.
 *
 * There is a state for every customer at once, so it is flat, with room at its end that is used up in place and doubled when
 * it is full (see profile_state.c, which does the same). VARSIZE covers the room. Twelve bytes an event; what order they
 * have does not matter until the end.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "score/funnel.h"
#include "score/wire.h"

#define STATE_VERSION		1
#define STATE_FIRST_SIZE	128

/* Not aligned to eight bytes: an instant is copied in and out. */
typedef struct StoredRow
{
	char		at[8];			/* TimestampTz */
	uint32		mask;			/* bit k: meets the condition of step k */
} StoredRow;

typedef struct FunnelState
{
	int32		vl_len_;		/* varlena header; do not touch directly */
	uint8		version;		/* STATE_VERSION */
	uint8		nsteps;
	uint16		modes;			/* FUNNEL_... */
	char		window[8];		/* int64, microseconds */
	uint32		nrows;
	StoredRow	rows[FLEXIBLE_ARRAY_MEMBER];
} FunnelState;

/* What the constant arguments of a call site say. Cold at any call, it only saves reading them again. */
typedef struct ModesCache
{
	ArrayType  *array;
	uint32		modes;
} ModesCache;

PG_FUNCTION_INFO_V1(crm_score_funnel_add);
PG_FUNCTION_INFO_V1(crm_score_funnel_add_modes);
PG_FUNCTION_INFO_V1(crm_score_funnel_merge);
PG_FUNCTION_INFO_V1(crm_score_funnel_final);
PG_FUNCTION_INFO_V1(crm_score_funnel_in);
PG_FUNCTION_INFO_V1(crm_score_funnel_out);
PG_FUNCTION_INFO_V1(crm_score_funnel_recv);
PG_FUNCTION_INFO_V1(crm_score_funnel_send);

static FunnelState *
state_create(int nsteps, uint32 modes, int64 window)
{
	FunnelState *state = palloc0(STATE_FIRST_SIZE);

	SET_VARSIZE(state, STATE_FIRST_SIZE);
	state->version = STATE_VERSION;
	state->nsteps = (uint8) nsteps;
	state->modes = (uint16) modes;
	memcpy(state->window, &window, sizeof(int64));
	return state;
}

static void
check_version(const FunnelState *state)
{
	if (state->version != STATE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unsupported version of funnel_state: %d", state->version)));
}

/* The state in an argument, to be read only. */
static const FunnelState *
state_readarg(FunctionCallInfo fcinfo, int argument)
{
	const FunnelState *state = (const FunnelState *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argument));

	check_version(state);
	return state;
}

/* To be written: the executor's own, or a copy where nobody says that it is ours. */
static FunnelState *
state_getarg(FunctionCallInfo fcinfo, int argument)
{
	FunnelState *state = (FunnelState *) PG_GETARG_POINTER(argument);

	if (!AggCheckCallContext(fcinfo, NULL) || VARATT_IS_EXTENDED(state))
		state = (FunnelState *) PG_DETOAST_DATUM_COPY(PointerGetDatum(state));
	check_version(state);
	return state;
}

static FunnelState *
state_reserve(FunnelState *state, uint64 more)
{
	uint64		used = offsetof(FunnelState, rows) + sizeof(StoredRow) * (uint64) state->nrows;
	uint64		size = used + sizeof(StoredRow) * more;
	FunnelState *larger;

	if (likely(size <= VARSIZE(state)))
		return state;
	if (size > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many events in one funnel"),
				 errdetail("A state takes at most 1 GB."),
				 errhint("Group by customer, and leave out events that are no step.")));
	size = Min(Max(size, (uint64) VARSIZE(state) * 2), MaxAllocSize);
	larger = palloc(size);
	memcpy(larger, state, used);
	memset((char *) larger + used, 0, size - used);
	SET_VARSIZE(larger, size);
	return larger;
}

static void
check_same(const FunnelState *state, int nsteps, uint32 modes, int64 window)
{
	if (state->nsteps != nsteps || state->modes != modes ||
		memcmp(state->window, &window, sizeof(int64)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("different funnels cannot be one"),
				 errdetail("Window, modes and number of conditions must be the same for all events of a group.")));
}

/*
 * Which conditions are true.
 */
static uint32
conditions_mask(ArrayType *conditions, int *nsteps)
{
	int			count = ArrayGetNItems(ARR_NDIM(conditions), ARR_DIMS(conditions));
	const bool *values = (const bool *) ARR_DATA_PTR(conditions);
	const bits8 *nulls = ARR_NULLBITMAP(conditions);
	uint32		mask = 0;

	if (count < 1 || count > FUNNEL_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a funnel cannot have %d steps", count),
				 errdetail("There are 1 to %d conditions.", FUNNEL_MAX_STEPS)));
	for (int i = 0; i < count; i++)
	{
		if (nulls != NULL && !(nulls[i / 8] & (1 << (i % 8))))
			continue;
		if (*values++)
			mask |= (uint32) 1 << i;
	}
	*nsteps = count;
	return mask;
}

static int64
within_to_window(const Interval *within)
{
	int64		window;

	if (within->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window of a funnel must not have months or years"),
				 errhint("Give it in days, which are 24 hours here.")));
	if (pg_mul_s64_overflow(within->day, USECS_PER_DAY, &window) ||
		pg_add_s64_overflow(window, within->time, &window) || window < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("window of a funnel must not be negative")));
	return window;
}

static uint32
cached_modes(FunctionCallInfo fcinfo, ArrayType *array)
{
	ModesCache *cache = fcinfo->flinfo->fn_extra;

	if (cache == NULL || VARSIZE(cache->array) != VARSIZE(array) ||
		memcmp(cache->array, array, VARSIZE(array)) != 0)
	{
		uint32		modes = funnel_parse_modes(array);
		ArrayType  *copy = MemoryContextAlloc(fcinfo->flinfo->fn_mcxt, VARSIZE(array));

		memcpy(copy, array, VARSIZE(array));
		if (cache == NULL)
			cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ModesCache));
		else
			pfree(cache->array);
		cache->array = copy;
		cache->modes = modes;
		fcinfo->flinfo->fn_extra = cache;
	}
	return cache->modes;
}

/* Window first, conditions last, and the instant before them. */
static Datum
add_event(FunctionCallInfo fcinfo, uint32 modes, int at_argument)
{
	FunnelState *state = NULL;
	StoredRow  *row;
	TimestampTz at;
	int64		window;
	int			nsteps;
	uint32		mask;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("window of a funnel must not be null")));
	window = within_to_window(PG_GETARG_INTERVAL_P(1));
	if (PG_ARGISNULL(at_argument + 1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("conditions of a funnel must not be null")));
	mask = conditions_mask(PG_GETARG_ARRAYTYPE_P(at_argument + 1), &nsteps);
	if (!PG_ARGISNULL(0))
	{
		state = state_getarg(fcinfo, 0);
		check_same(state, nsteps, modes, window);
	}
	if (PG_ARGISNULL(at_argument) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(at_argument)) ||
		(mask == 0 && !(modes & FUNNEL_STRICT_ORDER)))
	{
		if (state == NULL)
			PG_RETURN_NULL();
		PG_RETURN_POINTER(state);
	}

	at = PG_GETARG_TIMESTAMPTZ(at_argument);
	if (state == NULL)
		state = state_create(nsteps, modes, window);
	state = state_reserve(state, 1);
	row = &state->rows[state->nrows++];
	memcpy(row->at, &at, sizeof(TimestampTz));
	row->mask = mask;
	PG_RETURN_POINTER(state);
}

/*
 * crm.funnel_state_add(state, within, at, conditions)
 */
Datum
crm_score_funnel_add(PG_FUNCTION_ARGS)
{
	return add_event(fcinfo, 0, 2);
}

/*
 * crm.funnel_state_add(state, within, modes, at, conditions)
 */
Datum
crm_score_funnel_add_modes(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("modes of a funnel must not be null"),
				 errhint("Give '{}' for none.")));
	return add_event(fcinfo, cached_modes(fcinfo, PG_GETARG_ARRAYTYPE_P(2)), 3);
}

Datum
crm_score_funnel_merge(PG_FUNCTION_ARGS)
{
	FunnelState *state;
	const FunnelState *other;
	int64		window;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	other = state_readarg(fcinfo, 1);
	if (PG_ARGISNULL(0))
		PG_RETURN_POINTER(other);
	state = state_getarg(fcinfo, 0);
	memcpy(&window, other->window, sizeof(int64));
	check_same(state, other->nsteps, other->modes, window);
	state = state_reserve(state, other->nrows);
	memcpy(&state->rows[state->nrows], other->rows, sizeof(StoredRow) * (Size) other->nrows);
	state->nrows += other->nrows;
	PG_RETURN_POINTER(state);
}

/* The rules of a state, and its events in memory of their own, so that the state stays as it is. */
static FunnelRow *
state_rows(const FunnelState *state, FunnelRules *rules)
{
	FunnelRow  *rows = palloc_extended(sizeof(FunnelRow) * Max((Size) state->nrows, 1), MCXT_ALLOC_HUGE);

	memset(rules, 0, sizeof(FunnelRules));
	rules->nsteps = state->nsteps;
	rules->modes = state->modes;
	memcpy(&rules->window, state->window, sizeof(int64));
	for (uint32 i = 0; i < state->nrows; i++)
	{
		memcpy(&rows[i].at, state->rows[i].at, sizeof(TimestampTz));
		rows[i].mask = state->rows[i].mask;
	}
	return rows;
}

Datum
crm_score_funnel_final(PG_FUNCTION_ARGS)
{
	const FunnelState *state;
	FunnelRules rules;
	FunnelRow  *rows;
	int			level;

	if (PG_ARGISNULL(0))
		PG_RETURN_INT32(0);
	state = state_readarg(fcinfo, 0);
	rows = state_rows(state, &rules);
	level = funnel_level(&rules, rows, state->nrows, NULL);
	pfree(rows);
	PG_RETURN_INT32(level);
}

/*
 * The bytes of a state: version, steps, modes, window, number of events, and these by time, each as the difference to the
 * one before, and its mask.
 */
static void
state_encode(const FunnelState *state, StringInfo out)
{
	FunnelRules rules;
	FunnelRow  *rows = state_rows(state, &rules);
	TimestampTz before = 0;

	funnel_sort(rows, state->nrows);
	pq_sendbyte(out, STATE_VERSION);
	pq_sendbyte(out, rules.nsteps);
	wire_put_unsigned(out, rules.modes);
	wire_put_unsigned(out, rules.window);
	wire_put_unsigned(out, state->nrows);
	for (uint32 i = 0; i < state->nrows; i++)
	{
		/* two instants may be further apart than 63 bits tell; that wraps, here and when it is read */
		wire_put_signed(out, (int64) ((uint64) rows[i].at - (uint64) before));
		wire_put_unsigned(out, rows[i].mask);
		before = rows[i].at;
	}
	pfree(rows);
}

/* NULL if the bytes are no state. */
static FunnelState *
state_decode(const char *bytes, Size length)
{
	WireReader	reader = {bytes, bytes + length, false};
	uint8		version = wire_get_byte(&reader);
	uint8		nsteps = wire_get_byte(&reader);
	uint64		modes = wire_get_unsigned(&reader);
	uint64		window = wire_get_unsigned(&reader);
	uint64		nrows = wire_get_unsigned(&reader);
	TimestampTz at = 0;
	FunnelState *state;

	/* an event takes two bytes at least */
	if (reader.bad || version != STATE_VERSION || nsteps < 1 || nsteps > FUNNEL_MAX_STEPS ||
		modes > FUNNEL_ALL_MODES || !funnel_modes_valid((uint32) modes) || window > PG_INT64_MAX ||
		nrows > wire_left(&reader) / 2)
		return NULL;
	state = state_reserve(state_create(nsteps, (uint32) modes, (int64) window), nrows);
	for (uint64 i = 0; i < nrows; i++)
	{
		uint64		mask;

		at = (TimestampTz) ((uint64) at + (uint64) wire_get_signed(&reader));
		mask = wire_get_unsigned(&reader);
		if (reader.bad || !IS_VALID_TIMESTAMP(at) || mask >> nsteps != 0 ||
			(mask == 0 && !(modes & FUNNEL_STRICT_ORDER)))
			return NULL;
		memcpy(state->rows[i].at, &at, sizeof(TimestampTz));
		state->rows[i].mask = (uint32) mask;
	}
	state->nrows = (uint32) nrows;
	return reader.at == reader.end ? state : NULL;
}

Datum
crm_score_funnel_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	Size		length;
	char	   *bytes = wire_from_hex(text, &length);
	FunnelState *state = bytes == NULL ? NULL : state_decode(bytes, length);

	if (state == NULL)
		crm_ereturn(crm_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", "crm.funnel_state"),
					 errdetail("It is \\x and the bytes of the binary form in hexadecimal.")));
	PG_RETURN_POINTER(state);
}

Datum
crm_score_funnel_out(PG_FUNCTION_ARGS)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	state_encode(state_readarg(fcinfo, 0), &bytes);
	PG_RETURN_CSTRING(wire_to_hex(bytes.data, bytes.len));
}

Datum
crm_score_funnel_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			length = message->len - message->cursor;
	FunnelState *state = state_decode(pq_getmsgbytes(message, length), length);

	if (state == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", "crm.funnel_state")));
	PG_RETURN_POINTER(state);
}

Datum
crm_score_funnel_send(PG_FUNCTION_ARGS)
{
	StringInfoData bytes;

	pq_begintypsend(&bytes);
	state_encode(state_readarg(fcinfo, 0), &bytes);
	PG_RETURN_BYTEA_P(pq_endtypsend(&bytes));
}

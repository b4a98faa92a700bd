/*
 * profile_state.c
 *		The state of crm.profile_agg: facts in the order in which they came, in one flat varlena.
 *
 * There is a state for every customer at once, so it must be small and cheap to begin; an expanded object for each was
 * tried and is quadratic in a hash aggregate. So it is one piece of memory with room at its end. VARSIZE covers that
 * room: the executor copies a state by its VARSIZE when it changes hands, and then leaves it where it is, so that we can
 * append in place until the room is used up. Only then a state of twice the size is returned, which the executor copies
 * once more.
 *
 * Names are not repeated with each event: an event refers to a "shape", its kind and the names of its values, which is
 * usually the same for all events of a kind. Shapes lie between the facts, each with the place of the one before it.
 * Only the latest few are searched; should every event have names of its own, shapes repeat, but nothing gets slow.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "profile/profile_state.h"

#define STATE_VERSION		1
#define STATE_HAS_CUSTOMER	0x01
#define STATE_FIRST_SIZE	256
#define STATE_SEARCH		16	/* shapes to look at */

/*
 * data: entries. Every entry begins with uint32 size (of all of it) and uint32 shape. Where shape is 0 the entry is a
 * shape: uint32 place of the shape before it (0: none), and its bytes as in profile_state.h. Otherwise it is facts, shape
 * being the place of theirs: int64 at (0 for attributes), and the values one after the other, unknown ones included.
 * Places are counted from the beginning of the state. Nothing is aligned.
 */
struct ProfileState
{
	int32		vl_len_;		/* varlena header; do not touch directly */
	uint8		version;		/* STATE_VERSION */
	uint8		flags;			/* STATE_HAS_CUSTOMER */
	uint16		unused;			/* zero */
	uint32		used;			/* bytes in use, header included */
	uint32		last_shape;		/* place of the latest shape, or 0 */
	char		customer[8];	/* int64 */
	char		data[FLEXIBLE_ARRAY_MEMBER];
};

#define ENTRY_HEADER		(2 * sizeof(uint32))
#define SHAPE_HEADER		(ENTRY_HEADER + sizeof(uint32))
#define FACTS_HEADER		(ENTRY_HEADER + sizeof(int64))

static inline uint32
get_uint32(const char *p)
{
	uint32		value;

	memcpy(&value, p, sizeof(uint32));
	return value;
}

static inline char *
put_uint32(char *p, uint32 value)
{
	memcpy(p, &value, sizeof(uint32));
	return p + sizeof(uint32);
}

ProfileState *
state_create(void)
{
	ProfileState *state = palloc0(STATE_FIRST_SIZE);

	SET_VARSIZE(state, STATE_FIRST_SIZE);
	state->version = STATE_VERSION;
	state->used = offsetof(ProfileState, data);
	return state;
}

static void
check_version(const ProfileState *state)
{
	if (state->version != STATE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unsupported version of profile_state: %d", state->version)));
}

ProfileState *
state_getarg(FunctionCallInfo fcinfo, int argument)
{
	ProfileState *state = (ProfileState *) PG_GETARG_POINTER(argument);

	if (!AggCheckCallContext(fcinfo, NULL) || VARATT_IS_EXTENDED(state))
		state = (ProfileState *) PG_DETOAST_DATUM_COPY(PointerGetDatum(state));
	check_version(state);
	return state;
}

/*
 * Room for so many bytes more.
 */
static ProfileState *
state_reserve(ProfileState *state, Size needed)
{
	Size		size = state->used + needed;
	ProfileState *larger;

	if (likely(size <= VARSIZE(state)))
		return state;
	if (size > MaxAllocSize)
		profile_too_large();
	size = Min(Max(size, (Size) VARSIZE(state) * 2), MaxAllocSize);
	larger = palloc(size);
	memcpy(larger, state, state->used);
	memset((char *) larger + state->used, 0, size - state->used);
	SET_VARSIZE(larger, size);
	/* The old one belongs to the executor, or to the memory context of this call. */
	return larger;
}

void
state_set_customer(ProfileState *state, int64 customer)
{
	int64		known;

	memcpy(&known, state->customer, sizeof(int64));
	if ((state->flags & STATE_HAS_CUSTOMER) && known != customer)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("facts of different customers in one profile"),
				 errdetail("Both customer " INT64_FORMAT " and customer " INT64_FORMAT " are named.",
						   Min(known, customer), Max(known, customer)),
				 errhint("Group by customer_id.")));
	state->flags |= STATE_HAS_CUSTOMER;
	memcpy(state->customer, &customer, sizeof(int64));
}

void
shape_begin(StringInfo shape, const char *kind, int length, int nvalues)
{
	uint16		n = (uint16) nvalues;

	Assert(length <= PROFILE_MAX_NAME && nvalues <= PG_UINT16_MAX);
	resetStringInfo(shape);
	appendStringInfoChar(shape, (char) length);
	appendBinaryStringInfo(shape, kind, length);
	appendBinaryStringInfo(shape, (char *) &n, sizeof(uint16));
}

void
shape_add_name(StringInfo shape, const char *name, int length)
{
	Assert(length <= PROFILE_MAX_NAME);
	appendStringInfoChar(shape, (char) length);
	appendBinaryStringInfo(shape, name, length);
}

/*
 * The place of a shape in the state, which may have to be added and so may move the state.
 */
static uint32
state_shape(ProfileState **state, const char *bytes, Size size)
{
	uint32		place = (*state)->last_shape;
	char	   *p;

	for (int i = 0; i < STATE_SEARCH && place != 0; i++)
	{
		const char *shape = (const char *) *state + place;

		if (get_uint32(shape) == SHAPE_HEADER + size && memcmp(shape + SHAPE_HEADER, bytes, size) == 0)
			return place;
		place = get_uint32(shape + ENTRY_HEADER);
	}

	*state = state_reserve(*state, SHAPE_HEADER + size);
	place = (*state)->used;
	p = (char *) *state + place;
	p = put_uint32(p, SHAPE_HEADER + size);
	p = put_uint32(p, 0);
	p = put_uint32(p, (*state)->last_shape);
	memcpy(p, bytes, size);
	(*state)->last_shape = place;
	(*state)->used += SHAPE_HEADER + size;
	return place;
}

ProfileState *
state_append(ProfileState *state, const StringInfoData *shape, TimestampTz at, const Value *values, int nvalues)
{
	uint32		place = state_shape(&state, shape->data, shape->len);
	Size		size = FACTS_HEADER;
	char	   *p;

	for (int i = 0; i < nvalues; i++)
	{
		size += flat_value_size(values[i]);
		if (size > MaxAllocSize)
			profile_too_large();
	}
	state = state_reserve(state, size);
	p = (char *) state + state->used;
	p = put_uint32(p, size);
	p = put_uint32(p, place);
	memcpy(p, &at, sizeof(int64));
	p += sizeof(int64);
	for (int i = 0; i < nvalues; i++)
		p = flat_put_value(p, values[i]);
	state->used += size;
	return state;
}

/*
 * Append all that another state has.
 */
static ProfileState *
state_merge(ProfileState *state, const ProfileState *other)
{
	const char *p = other->data;
	const char *end = (const char *) other + other->used;
	uint32		last_from = 0;	/* a shape of the other one, */
	uint32		last_to = 0;	/* and where it is here */

	if (other->flags & STATE_HAS_CUSTOMER)
	{
		int64		customer;

		memcpy(&customer, other->customer, sizeof(int64));
		state_set_customer(state, customer);
	}
	for (uint32 size; p < end; p += size)
	{
		uint32		from = get_uint32(p + sizeof(uint32));
		const char *shape = (const char *) other + from;
		char	   *to;

		CHECK_FOR_INTERRUPTS();
		size = get_uint32(p);
		if (from == 0)
			continue;
		if (from != last_from)
		{
			last_to = state_shape(&state, shape + SHAPE_HEADER, get_uint32(shape) - SHAPE_HEADER);
			last_from = from;
		}
		state = state_reserve(state, size);
		to = (char *) state + state->used;
		memcpy(to, p, size);
		(void) put_uint32(to + sizeof(uint32), last_to);
		state->used += size;
	}
	return state;
}

/* A shape whose names are being numbered for a builder. */
typedef struct ShapeNames
{
	uint32		place;
	int			kind;			/* -1: attributes */
	int			nvalues;
	int		   *numbers;		/* -1: not met with a value yet */
	const char **names;			/* each after its length */
} ShapeNames;

static void
read_shape(ProfileBuilder *builder, const ProfileState *state, uint32 place, ShapeNames *shape)
{
	const char *p = (const char *) state + place + SHAPE_HEADER;
	int			length = (uint8) *p++;
	uint16		nvalues;

	shape->place = place;
	shape->kind = -1;
	if (length > 0)
	{
		profile_check_kind(p, length);
		shape->kind = builder_intern(builder, p, length);
	}
	p += length;
	memcpy(&nvalues, p, sizeof(uint16));
	p += sizeof(uint16);
	shape->nvalues = nvalues;
	shape->numbers = palloc(sizeof(int) * Max(nvalues, 1));
	shape->names = palloc(sizeof(char *) * Max(nvalues, 1));
	for (int i = 0; i < nvalues; i++)
	{
		shape->numbers[i] = -1;
		shape->names[i] = p;
		p += 1 + (uint8) *p;
	}
}

/*
 * The profile that a state gives. The state is only read.
 */
static Profile *
state_to_profile(const ProfileState *state)
{
	ProfileBuilder *builder = profile_builder_create();
	const char *base = (const char *) state;
	const char *end = base + state->used;
	ShapeNames	shapes[STATE_SEARCH];
	int			nshapes = 0;
	ShapeNames *shape = NULL;
	uint32		size;

	builder->strict = true;
	builder->bytes = unconstify(char *, base);
	if (state->flags & STATE_HAS_CUSTOMER)
	{
		int64		customer;

		memcpy(&customer, state->customer, sizeof(int64));
		profile_set_customer(builder, customer);
	}

	for (const char *p = state->data; p < end; p += size)
	{
		uint32		place = get_uint32(p + sizeof(uint32));
		const char *value = p + FACTS_HEADER;
		TimestampTz at;

		CHECK_FOR_INTERRUPTS();
		size = get_uint32(p);
		if (place == 0)
			continue;
		if (shape == NULL || shape->place != place)
		{
			shape = NULL;
			for (int i = 0; i < Min(nshapes, STATE_SEARCH) && shape == NULL; i++)
			{
				if (shapes[i].place == place)
					shape = &shapes[i];
			}
			if (shape == NULL)
			{
				shape = &shapes[nshapes % STATE_SEARCH];
				if (nshapes >= STATE_SEARCH)
				{
					pfree(shape->numbers);
					pfree(shape->names);
				}
				nshapes++;
				read_shape(builder, state, place, shape);
			}
		}

		memcpy(&at, p + ENTRY_HEADER, sizeof(int64));
		if (shape->kind >= 0)
			builder_begin_event(builder, shape->kind, at);
		for (int i = 0; i < shape->nvalues; i++)
		{
			const char *next = flat_skip_value(value);

			if (*value != VALUE_UNKNOWN)
			{
				if (shape->numbers[i] < 0)
					shape->numbers[i] = builder_intern(builder, shape->names[i] + 1, (uint8) *shape->names[i]);
				if (shape->kind >= 0)
					builder_add_property(builder, shape->numbers[i], value - base, next - value);
				else
					builder_add_attribute(builder, shape->numbers[i], value - base, next - value);
			}
			value = next;
		}
	}
	return profile_build(builder);
}

static ProfileState *
state_from_profile(const Profile *profile)
{
	ProfileState *state = state_create();
	ProfileReader reader;
	StringInfoData shape;
	int			nallocated = 64;
	int		   *names = palloc(sizeof(int) * nallocated);
	Value	   *values = palloc(sizeof(Value) * nallocated);
	int			n;
	int			kind = -1;
	TimestampTz at = 0;

	profile_reader_init(&reader, profile);
	initStringInfo(&shape);
	if (reader.has_customer)
		state_set_customer(state, reader.customer);

	/* First the attributes, then event by event. */
	do
	{
		n = 0;
		while (kind < 0 ? profile_next_attribute(&reader, &names[n], &values[n]) :
			   profile_next_property(&reader, &names[n], &values[n]))
		{
			if (++n < nallocated)
				continue;
			nallocated *= 2;
			names = repalloc(names, sizeof(int) * nallocated);
			values = repalloc(values, sizeof(Value) * nallocated);
		}
		if (kind < 0 && n == 0)
			continue;
		shape_begin(&shape, kind < 0 ? "" : reader.names[kind].name, kind < 0 ? 0 : reader.names[kind].length, n);
		for (int i = 0; i < n; i++)
			shape_add_name(&shape, reader.names[names[i]].name, reader.names[names[i]].length);
		state = state_append(state, &shape, at, values, n);
	} while (profile_next_event(&reader, &kind, &at));
	return state;
}

/*
 * The state in an argument, to be read only.
 */
static const ProfileState *
state_readarg(FunctionCallInfo fcinfo, int argument)
{
	const ProfileState *state = (const ProfileState *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argument));

	check_version(state);
	return state;
}

PG_FUNCTION_INFO_V1(crm_profile_state_merge);

Datum
crm_profile_state_merge(PG_FUNCTION_ARGS)
{
	const ProfileState *other;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	other = state_readarg(fcinfo, 1);
	if (PG_ARGISNULL(0))
		PG_RETURN_POINTER(other);
	PG_RETURN_POINTER(state_merge(state_getarg(fcinfo, 0), other));
}

PG_FUNCTION_INFO_V1(crm_profile_state_final);

Datum
crm_profile_state_final(PG_FUNCTION_ARGS)
{
	/* Nobody falls out for want of facts: no rows are an empty profile, of which "no order" is true. */
	if (PG_ARGISNULL(0))
		PG_RETURN_PROFILE_P(profile_build(profile_builder_create()));
	PG_RETURN_PROFILE_P(state_to_profile(state_readarg(fcinfo, 0)));
}

PG_FUNCTION_INFO_V1(crm_profile_state_in);

Datum
crm_profile_state_in(PG_FUNCTION_ARGS)
{
	Profile    *profile = profile_from_cstring(PG_GETARG_CSTRING(0), crm_escontext(fcinfo));

	if (profile == NULL)
		PG_RETURN_NULL();
	PG_RETURN_POINTER(state_from_profile(profile));
}

PG_FUNCTION_INFO_V1(crm_profile_state_out);

Datum
crm_profile_state_out(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	initStringInfo(&json);
	profile_append_json(&json, state_to_profile(state_readarg(fcinfo, 0)));
	PG_RETURN_CSTRING(json.data);
}

PG_FUNCTION_INFO_V1(crm_profile_state_recv);

Datum
crm_profile_state_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(state_from_profile(profile_receive((StringInfo) PG_GETARG_POINTER(0))));
}

PG_FUNCTION_INFO_V1(crm_profile_state_send);

Datum
crm_profile_state_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(profile_send_json(state_to_profile(state_readarg(fcinfo, 0))));
}

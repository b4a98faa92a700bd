/*
 * profile_ops.c
 *		What SQL can ask of a profile: equality, and its parts as rows.
 *
 * Equal facts have equal bytes, so equality and hash need not look inside.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "profile/profile_private.h"

static bool
profiles_equal(FunctionCallInfo fcinfo)
{
	Profile    *a = PG_GETARG_PROFILE_P(0);
	Profile    *b = PG_GETARG_PROFILE_P(1);
	bool		equal = VARSIZE(a) == VARSIZE(b) &&
		memcmp((char *) a + VARHDRSZ, (char *) b + VARHDRSZ, VARSIZE(a) - VARHDRSZ) == 0;

	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return equal;
}

PG_FUNCTION_INFO_V1(crm_profile_eq);

Datum
crm_profile_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(profiles_equal(fcinfo));
}

PG_FUNCTION_INFO_V1(crm_profile_ne);

Datum
crm_profile_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!profiles_equal(fcinfo));
}

PG_FUNCTION_INFO_V1(crm_profile_hash);

Datum
crm_profile_hash(PG_FUNCTION_ARGS)
{
	Profile    *profile = PG_GETARG_PROFILE_P(0);
	uint32		hash = hash_bytes((unsigned char *) profile + VARHDRSZ, VARSIZE(profile) - VARHDRSZ);

	PG_FREE_IF_COPY(profile, 0);
	PG_RETURN_UINT32(hash);
}

PG_FUNCTION_INFO_V1(crm_profile_customer_of);

Datum
crm_profile_customer_of(PG_FUNCTION_ARGS)
{
	/* The header is enough, however many events there are. */
	Profile    *profile = (Profile *) PG_DETOAST_DATUM_SLICE(PG_GETARG_DATUM(0), 0,
															 offsetof(Profile, data) - VARHDRSZ);
	int64		customer;

	if (!(profile->flags & PROFILE_HAS_CUSTOMER))
		PG_RETURN_NULL();
	memcpy(&customer, profile->customer, sizeof(int64));
	PG_RETURN_INT64(customer);
}

/*
 * Both functions below return a row for a call; the reader is what goes on between calls.
 */
static ProfileReader *
begin_rows(FunctionCallInfo fcinfo, FuncCallContext **context)
{
	MemoryContext old;
	TupleDesc	tupdesc;
	ProfileReader *reader;

	*context = SRF_FIRSTCALL_INIT();
	old = MemoryContextSwitchTo((*context)->multi_call_memory_ctx);
	if (get_call_result_type(fcinfo, NULL, &tupdesc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	(*context)->tuple_desc = BlessTupleDesc(tupdesc);
	reader = palloc(sizeof(ProfileReader));
	profile_reader_init(reader, (Profile *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
	(*context)->user_fctx = reader;
	MemoryContextSwitchTo(old);
	return reader;
}

static Datum
name_datum(const ProfileName *name)
{
	return PointerGetDatum(cstring_to_text_with_len(name->name, name->length));
}

PG_FUNCTION_INFO_V1(crm_profile_attributes_of);

Datum
crm_profile_attributes_of(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	ProfileReader *reader;
	int			name;
	Value		value;

	if (SRF_IS_FIRSTCALL())
		begin_rows(fcinfo, &context);
	context = SRF_PERCALL_SETUP();
	reader = context->user_fctx;
	if (profile_next_attribute(reader, &name, &value))
	{
		Datum		values[2];
		bool		nulls[2] = {false, false};

		values[0] = name_datum(&reader->names[name]);
		values[1] = JsonbPGetDatum(value_to_jsonb(value));
		SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}

/* In the order in which jsonb keeps the keys of an object. */
static int
compare_pairs(const void *a, const void *b)
{
	const JsonbPair *left = a;
	const JsonbPair *right = b;

	if (left->key.val.string.len != right->key.val.string.len)
		return left->key.val.string.len < right->key.val.string.len ? -1 : 1;
	return memcmp(left->key.val.string.val, right->key.val.string.val, left->key.val.string.len);
}

static Jsonb *
properties_to_jsonb(ProfileReader *reader)
{
	JsonbValue	object = {0};
	JsonbPair  *pairs = palloc0(sizeof(JsonbPair) * Max(reader->properties_left, 1));
	int			n = 0;
	int			name;
	Value		value;

	while (profile_next_property(reader, &name, &value))
	{
		pairs[n].key.type = jbvString;
		pairs[n].key.val.string.val = unconstify(char *, reader->names[name].name);
		pairs[n].key.val.string.len = reader->names[name].length;
		value_to_jsonb_value(value, &pairs[n].value);
		n++;
	}
	qsort(pairs, n, sizeof(JsonbPair), compare_pairs);
	object.type = jbvObject;
	object.val.object.nPairs = n;
	object.val.object.pairs = pairs;
	return JsonbValueToJsonb(&object);
}

PG_FUNCTION_INFO_V1(crm_profile_events_of);

Datum
crm_profile_events_of(PG_FUNCTION_ARGS)
{
	FuncCallContext *context;
	ProfileReader *reader;
	int			kind;
	TimestampTz at;

	if (SRF_IS_FIRSTCALL())
		begin_rows(fcinfo, &context);
	context = SRF_PERCALL_SETUP();
	reader = context->user_fctx;
	if (profile_next_event(reader, &kind, &at))
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		values[0] = name_datum(&reader->names[kind]);
		values[1] = TimestampTzGetDatum(at);
		values[2] = JsonbPGetDatum(properties_to_jsonb(reader));
		SRF_RETURN_NEXT(context, HeapTupleGetDatum(heap_form_tuple(context->tuple_desc, values, nulls)));
	}
	SRF_RETURN_DONE(context);
}

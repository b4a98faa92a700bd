/*
 * clv_sample.c
 *		The state of crm.clv_fit: summaries of customers, one after the other.
 *
 * A flat varlena with room at its end, as the state of crm.profile_agg: it is appended to in place, and doubled when it is
 * full. The fit sorts the customers, so that their order, and in how many parts they came, makes no difference.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "compat.h"
#include "score/clv.h"
#include "score/wire.h"

#define SAMPLE_VERSION 1
#define FIRST_CUSTOMERS 32
#define ENTRY_SIZE 32			/* in binary: four numbers */

typedef struct ClvSample
{
	int32		vl_len_;		/* varlena header; do not touch directly; covers the room at the end */
	uint32		version;		/* SAMPLE_VERSION */
	int64		count;
	ClvCustomer customers[FLEXIBLE_ARRAY_MEMBER];
} ClvSample;

#define SAMPLE_SIZE(n) (offsetof(ClvSample, customers) + sizeof(ClvCustomer) * (Size) (n))
#define MAX_CUSTOMERS ((int64) ((MaxAllocSize - offsetof(ClvSample, customers)) / sizeof(ClvCustomer)))

PG_FUNCTION_INFO_V1(crm_score_clv_sample_in);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_out);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_recv);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_send);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_add);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_merge);
PG_FUNCTION_INFO_V1(crm_score_clv_sample_fit);

static ClvSample *
sample_create(int64 room)
{
	ClvSample  *sample;

	if (room > MAX_CUSTOMERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sample has too many customers"),
				 errdetail("The limit is " INT64_FORMAT ".", MAX_CUSTOMERS),
				 errhint("Fit to a random sample of the customers.")));
	sample = palloc(SAMPLE_SIZE(room));
	SET_VARSIZE(sample, SAMPLE_SIZE(room));
	sample->version = SAMPLE_VERSION;
	sample->count = 0;
	return sample;
}

static void
check_sample(const ClvSample *sample)
{
	if (VARSIZE(sample) < SAMPLE_SIZE(0) || sample->version != SAMPLE_VERSION || sample->count < 0 ||
		sample->count > MAX_CUSTOMERS || SAMPLE_SIZE(sample->count) > VARSIZE(sample))
		ereport(ERROR,
				(errcode(ERRCODE_DATA_CORRUPTED),
				 errmsg("invalid value of type %s", "crm.clv_sample")));
}

static const ClvSample *
sample_readarg(FunctionCallInfo fcinfo, int argument)
{
	const ClvSample *sample = (const ClvSample *) PG_DETOAST_DATUM(PG_GETARG_DATUM(argument));

	check_sample(sample);
	return sample;
}

/*
 * The state in an argument, with room for so many more. In an aggregate it is changed in place.
 */
static ClvSample *
sample_getarg(FunctionCallInfo fcinfo, int argument, int64 more)
{
	ClvSample  *sample;
	ClvSample  *larger;

	if (PG_ARGISNULL(argument))
		return sample_create(Max(more, FIRST_CUSTOMERS));
	sample = (ClvSample *) PG_GETARG_POINTER(argument);
	if (!AggCheckCallContext(fcinfo, NULL) || VARATT_IS_EXTENDED(sample))
		sample = (ClvSample *) PG_DETOAST_DATUM_COPY(PointerGetDatum(sample));
	check_sample(sample);
	if (SAMPLE_SIZE(sample->count + more) <= VARSIZE(sample))
		return sample;

	/* The old one belongs to the executor, or to the memory context of this call. */
	if (sample->count + more > MAX_CUSTOMERS)
		(void) sample_create(sample->count + more);
	larger = sample_create(Min(Max(sample->count * 2, sample->count + more), MAX_CUSTOMERS));
	larger->count = sample->count;
	memcpy(larger->customers, sample->customers, sizeof(ClvCustomer) * (Size) sample->count);
	return larger;
}

/* Is it what a customer can be? */
static bool
is_customer(const ClvCustomer *customer)
{
	return customer->x >= 0 && customer->x <= (double) (INT64CONST(1) << 53) && customer->x == floor(customer->x) &&
		customer->t_x >= 0 && customer->t_x <= customer->t && isfinite(customer->t) && !isinf(customer->value) &&
		(customer->x > 0 || customer->t_x == 0);
}

Datum
crm_score_clv_sample_add(PG_FUNCTION_ARGS)
{
	ClvSample  *sample;
	ClvCustomer customer;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	customer.x = (double) PG_GETARG_INT64(1);
	customer.t_x = customer.x > 0 ? PG_GETARG_FLOAT8(2) : 0;
	customer.t = PG_GETARG_FLOAT8(3);
	customer.value = PG_ARGISNULL(4) ? NAN : PG_GETARG_FLOAT8(4);
	if (!is_customer(&customer))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not a customer: x " INT64_FORMAT ", t_x %g, t %g, value %g", PG_GETARG_INT64(1),
						PG_GETARG_FLOAT8(2), PG_GETARG_FLOAT8(3), customer.value),
				 errdetail("x, the number of repeat orders, must not be negative; t_x, the time of the last one after the first order, must be from 0 to t, and value finite.")));
	sample = sample_getarg(fcinfo, 0, 1);
	sample->customers[sample->count++] = customer;
	PG_RETURN_POINTER(sample);
}

Datum
crm_score_clv_sample_merge(PG_FUNCTION_ARGS)
{
	const ClvSample *other;
	ClvSample  *sample;

	if (PG_ARGISNULL(1))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	other = sample_readarg(fcinfo, 1);
	sample = sample_getarg(fcinfo, 0, other->count);
	memcpy(sample->customers + sample->count, other->customers, sizeof(ClvCustomer) * (Size) other->count);
	sample->count += other->count;
	PG_RETURN_POINTER(sample);
}

Datum
crm_score_clv_sample_fit(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	Size		count = 0;
	ClvCustomer *customers = NULL;

	if (!PG_ARGISNULL(0))
	{
		const ClvSample *sample = sample_readarg(fcinfo, 0);

		count = sample->count;
		customers = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ClvCustomer) * Max(count, 1));
		memcpy(customers, sample->customers, sizeof(ClvCustomer) * count);
	}
	clv_fit(customers, count, &model);
	return clv_model_datum(fcinfo, &model);
}

static bytea *
sample_to_bytea(const ClvSample *sample)
{
	StringInfoData message;

	if (sample->count > (int64) (MaxAllocSize - 16) / ENTRY_SIZE)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sample is too large to leave the server process"),
				 errdetail("A value can have 1 GB."),
				 errhint("Fit to a random sample of the customers.")));
	pq_begintypsend(&message);
	pq_sendbyte(&message, SAMPLE_VERSION);
	for (int64 i = 0; i < sample->count; i++)
	{
		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		pq_sendfloat8(&message, sample->customers[i].x);
		pq_sendfloat8(&message, sample->customers[i].t_x);
		pq_sendfloat8(&message, sample->customers[i].t);
		pq_sendfloat8(&message, sample->customers[i].value);
	}
	return pq_endtypsend(&message);
}

/*
 * Nothing is trusted.
 */
static ClvSample *
sample_from_message(StringInfo message)
{
	ClvSample  *sample;
	int64		count;

	if (message->cursor >= message->len || pq_getmsgbyte(message) != SAMPLE_VERSION ||
		(message->len - message->cursor) % ENTRY_SIZE != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", "crm.clv_sample")));
	count = (message->len - message->cursor) / ENTRY_SIZE;
	sample = sample_create(count);
	for (; sample->count < count; sample->count++)
	{
		ClvCustomer *customer = &sample->customers[sample->count];

		customer->x = pq_getmsgfloat8(message);
		customer->t_x = pq_getmsgfloat8(message);
		customer->t = pq_getmsgfloat8(message);
		customer->value = pq_getmsgfloat8(message);
		if (!is_customer(customer))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
					 errmsg("invalid binary form of type %s", "crm.clv_sample")));
	}
	return sample;
}

Datum
crm_score_clv_sample_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(sample_to_bytea(sample_readarg(fcinfo, 0)));
}

Datum
crm_score_clv_sample_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_POINTER(sample_from_message((StringInfo) PG_GETARG_POINTER(0)));
}

Datum
crm_score_clv_sample_out(PG_FUNCTION_ARGS)
{
	bytea	   *bytes = sample_to_bytea(sample_readarg(fcinfo, 0));

	PG_RETURN_CSTRING(wire_to_hex(VARDATA(bytes), VARSIZE(bytes) - VARHDRSZ));
}

Datum
crm_score_clv_sample_in(PG_FUNCTION_ARGS)
{
	Size		size;
	const char *bytes = wire_from_hex(PG_GETARG_CSTRING(0), &size);
	StringInfoData message;

	if (bytes == NULL)
		crm_ereturn(crm_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", "crm.clv_sample"),
					 errdetail("It is \\x and the bytes of the binary form in hexadecimal.")));
	message.data = unconstify(char *, bytes);
	message.len = (int) size;
	message.maxlen = (int) size;
	message.cursor = 0;
	PG_RETURN_POINTER(sample_from_message(&message));
}

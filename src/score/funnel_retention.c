/*
 * funnel_retention.c
 *		crm.retention, as ClickHouse has it: who met the first condition, and which of the others then.
 *
 * The state is a bigint: the number of conditions above bit 32, and in the bits below the conditions that were ever true.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#define RETENTION_MAX_CONDITIONS 32

PG_FUNCTION_INFO_V1(crm_score_retention_add);
PG_FUNCTION_INFO_V1(crm_score_retention_merge);
PG_FUNCTION_INFO_V1(crm_score_retention_final);

static int64
merge_states(int64 a, int64 b)
{
	if (a >> RETENTION_MAX_CONDITIONS != b >> RETENTION_MAX_CONDITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("number of conditions of a retention differs within a group")));
	return a | b;
}

Datum
crm_score_retention_add(PG_FUNCTION_ARGS)
{
	ArrayType  *conditions;
	int			count;
	const bool *values;
	const bits8 *nulls;
	int64		state;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("conditions of a retention must not be null")));
	conditions = PG_GETARG_ARRAYTYPE_P(1);
	count = ArrayGetNItems(ARR_NDIM(conditions), ARR_DIMS(conditions));
	if (count < 1 || count > RETENTION_MAX_CONDITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a retention cannot have %d conditions", count),
				 errdetail("There are 1 to %d.", RETENTION_MAX_CONDITIONS)));
	values = (const bool *) ARR_DATA_PTR(conditions);
	nulls = ARR_NULLBITMAP(conditions);
	state = (int64) count << RETENTION_MAX_CONDITIONS;
	for (int i = 0; i < count; i++)
	{
		if (nulls != NULL && !(nulls[i / 8] & (1 << (i % 8))))
			continue;
		if (*values++)
			state |= INT64CONST(1) << i;
	}
	PG_RETURN_INT64(PG_ARGISNULL(0) ? state : merge_states(PG_GETARG_INT64(0), state));
}

/* STRICT */
Datum
crm_score_retention_merge(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(merge_states(PG_GETARG_INT64(0), PG_GETARG_INT64(1)));
}

Datum
crm_score_retention_final(PG_FUNCTION_ARGS)
{
	int64		state = PG_GETARG_INT64(0);
	int64		count = state >> RETENTION_MAX_CONDITIONS;
	Datum		values[RETENTION_MAX_CONDITIONS];

	if (count < 1 || count > RETENTION_MAX_CONDITIONS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("state of a retention is invalid")));
	for (int i = 0; i < (int) count; i++)
		values[i] = BoolGetDatum((state & 1) && ((state >> i) & 1));
	PG_RETURN_ARRAYTYPE_P(construct_array(values, (int) count, BOOLOID, sizeof(bool), true, TYPALIGN_CHAR));
}

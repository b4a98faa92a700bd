/*
 * feed_attributes.c
 *		crm.read_attributes(): some attributes of the customers, as text, by the ids that the shop has.
 *
 * For what we keep of attributes outside of profiles: addresses by which a customer is found and written to. Read as its
 * definer, as every feed is; merged customers are not folded here, because an address belongs to the id that came with it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "base/decimal.h"
#include "feed/feed_private.h"

PG_FUNCTION_INFO_V1(crm_feed_read_attributes);

typedef struct AttributeReading
{
	Tuplestorestate *store;
	TupleDesc	desc;
	MemoryContext scratch;
	int			nnames;
	Datum	   *names;			/* as texts */
} AttributeReading;

static void
put_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	AttributeReading *reading = context;
	MemoryContext old = MemoryContextSwitchTo(reading->scratch);
	bool		isnull[3] = {false, false, false};

	(void) at;
	for (int i = 0; i < reading->nnames; i++)
	{
		StringInfoData number;
		Datum		row[3] = {Int64GetDatum(customer), reading->names[i]};

		if (values[i].type == VALUE_TEXT && values[i].length > 0)
			row[2] = PointerGetDatum(cstring_to_text_with_len(values[i].u.text, (int) values[i].length));
		else if (values[i].type == VALUE_NUMBER)
		{
			initStringInfo(&number);
			decimal_append(&number, value_decimal(values[i]));
			row[2] = PointerGetDatum(cstring_to_text_with_len(number.data, number.len));
		}
		else
			continue;
		tuplestore_putvalues(reading->store, reading->desc, row, isnull);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(reading->scratch);
}

/* crm.read_attributes(names text[], customers bigint[]) */
Datum
crm_feed_read_attributes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	AttributeReading reading = {0};
	const FeedCustomers *customers;
	const Feed *feed;
	bool	   *missing;
	const char **names;
	bool		pushed = false;
	bool		known = false;

	InitMaterializedSRF(fcinfo, 0);
	feed = feed_find(feed_cached(), FEED_CUSTOMER);
	if (feed == NULL || PG_ARGISNULL(0))
		return (Datum) 0;
	if (feed->stale)
		feed_error_stale(feed);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &reading.names, &missing, &reading.nnames);
	names = palloc(sizeof(char *) * Max(reading.nnames, 1));
	for (int i = 0; i < reading.nnames; i++)
	{
		names[i] = missing[i] ? "" : TextDatumGetCString(reading.names[i]);
		for (int c = 0; c < feed->ncolumns && !known; c++)
			known = strcmp(feed->columns[c].name, names[i]) == 0;
	}
	if (!known)
		return (Datum) 0;
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	if (PG_ARGISNULL(1))
		customers = feed_raw_customers(-1, NULL);
	else
	{
		ArrayType  *ids = PG_GETARG_ARRAYTYPE_P(1);

		if (array_contains_nulls(ids))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("customers must not be null")));
		customers = feed_raw_customers(ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)), (const int64 *) ARR_DATA_PTR(ids));
	}

	reading.store = rsinfo->setResult;
	reading.desc = rsinfo->setDesc;
	reading.scratch = AllocSetContextCreate(CurrentMemoryContext, "crm attributes of a customer", ALLOCSET_SMALL_SIZES);
	feed_read(feed, reading.nnames, names, customers, DT_NOBEGIN, put_row, &reading, NULL);
	if (pushed)
		PopActiveSnapshot();
	return (Datum) 0;
}

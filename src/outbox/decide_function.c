/*
 * decide_function.c
 *		crm.decide(): the decision, for those who only want to know.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "outbox/decide.h"

PG_FUNCTION_INFO_V1(crm_outbox_decide);

/* Columns of crm.claim_item, from 0. */
enum
{
	ITEM_MESSAGE_ID,
	ITEM_CUSTOMER_ID,
	ITEM_PERSON,
	ITEM_MINE,
	ITEM_CHANNEL,
	ITEM_PURPOSE,
	ITEM_TRANSACTIONAL,
	ITEM_PRIORITY,
	ITEM_DUE_AT,
	ITEM_USEFUL_UNTIL,
	ITEM_GUARD_ID,
	ITEM_ENTRY,
	ITEM_EVENT_KIND,
	ITEM_EVENT_AT,
	ITEM_CONDITION,
	ITEM_CODE,
	ITEM_VERDICT,
	ITEM_UNTIL,
	ITEM_ADDRESS,
	ITEM_COLUMNS
};

static void
require(const bool *nulls, int column)
{
	if (nulls[column])
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("a message to decide lacks what it must have")));
}

static DueMessage
message_from_item(const Datum *values, const bool *nulls)
{
	DueMessage	message = {0};

	for (int column = 0; column <= ITEM_DUE_AT; column++)
		require(nulls, column);
	message.id = DatumGetInt64(values[ITEM_MESSAGE_ID]);
	message.customer = DatumGetInt64(values[ITEM_CUSTOMER_ID]);
	message.person = DatumGetInt64(values[ITEM_PERSON]);
	message.mine = DatumGetBool(values[ITEM_MINE]);
	message.channel = TextDatumGetCString(values[ITEM_CHANNEL]);
	message.purpose = TextDatumGetCString(values[ITEM_PURPOSE]);
	message.transactional = DatumGetBool(values[ITEM_TRANSACTIONAL]);
	message.priority = DatumGetInt32(values[ITEM_PRIORITY]);
	message.due_at = DatumGetTimestampTz(values[ITEM_DUE_AT]);
	message.useful_until = nulls[ITEM_USEFUL_UNTIL] ? DT_NOEND : DatumGetTimestampTz(values[ITEM_USEFUL_UNTIL]);
	message.guard = nulls[ITEM_GUARD_ID] ? 0 : DatumGetInt32(values[ITEM_GUARD_ID]);
	message.has_entry = !nulls[ITEM_ENTRY];
	message.entry = message.has_entry ? DatumGetTimestampTz(values[ITEM_ENTRY]) : 0;
	message.event_kind = nulls[ITEM_EVENT_KIND] ? NULL : TextDatumGetCString(values[ITEM_EVENT_KIND]);
	message.has_event_at = !nulls[ITEM_EVENT_AT];
	message.event_at = message.has_event_at ? DatumGetTimestampTz(values[ITEM_EVENT_AT]) : 0;
	message.condition = nulls[ITEM_CONDITION] ? NULL : DatumGetPredicateP(values[ITEM_CONDITION]);
	message.code = nulls[ITEM_CODE] ? NULL : TextDatumGetCString(values[ITEM_CODE]);
	return message;
}

/* crm.decide(items crm.claim_item[], at timestamptz) */
Datum
crm_outbox_decide(PG_FUNCTION_ARGS)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(0);
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(1);
	Oid			type = ARR_ELEMTYPE(array);
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	DueMessage *messages;
	Datum	   *items;
	bool	   *missing;
	int			count;
	int16		length;
	bool		by_value;
	char		align;

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("messages must be decided at a finite instant")));
	if (desc->natts != ITEM_COLUMNS)
		elog(ERROR, "crm.claim_item has %d columns", desc->natts);
	get_typlenbyvalalign(type, &length, &by_value, &align);
	deconstruct_array(array, type, length, by_value, align, &items, &missing, &count);
	messages = palloc(sizeof(DueMessage) * (Size) Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		HeapTupleData tuple = {0};
		Datum		values[ITEM_COLUMNS];
		bool		nulls[ITEM_COLUMNS];

		require(missing, i);
		tuple.t_data = DatumGetHeapTupleHeader(items[i]);
		tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
		heap_deform_tuple(&tuple, desc, values, nulls);
		messages[i] = message_from_item(values, nulls);
	}

	SPI_connect();
	decide_messages(messages, count, at);

	for (int i = 0; i < count; i++)
	{
		HeapTupleData tuple = {0};
		Datum		values[ITEM_COLUMNS] = {0};
		bool		nulls[ITEM_COLUMNS] = {false};
		bool		replaced[ITEM_COLUMNS] = {false};
		HeapTuple	decided;

		tuple.t_data = DatumGetHeapTupleHeader(items[i]);
		tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
		replaced[ITEM_VERDICT] = replaced[ITEM_UNTIL] = replaced[ITEM_ADDRESS] = true;
		nulls[ITEM_VERDICT] = messages[i].verdict == NULL;
		nulls[ITEM_UNTIL] = !messages[i].put_off;
		nulls[ITEM_ADDRESS] = messages[i].address == NULL;
		if (messages[i].verdict != NULL)
			values[ITEM_VERDICT] = CStringGetTextDatum(messages[i].verdict);
		values[ITEM_UNTIL] = TimestampTzGetDatum(messages[i].until);
		if (messages[i].address != NULL)
			values[ITEM_ADDRESS] = CStringGetTextDatum(messages[i].address);
		decided = heap_modify_tuple(&tuple, desc, values, nulls, replaced);
		items[i] = HeapTupleGetDatum(decided);
	}
	ReleaseTupleDesc(desc);
	{
		ArrayType  *made = construct_array(items, count, type, length, by_value, align);
		ArrayType  *result = SPI_palloc(VARSIZE(made));

		memcpy(result, made, VARSIZE(made));
		SPI_finish();
		PG_RETURN_ARRAYTYPE_P(result);
	}
}

/*
 * queue_position.c
 *		Where a session looks for the next message of a queue: crm.queue_positions(), crm.remember_positions().
 *
 * A message that was handed out leaves a dead entry at the front of the queue's index. As long as somebody holds an old
 * snapshot it stays there, and whoever begins at the front walks over all of them, each time. So a session begins where it
 * found the first message last time. That is a hint, no more: a message may come in before it, due earlier or committed later.
 * Every few seconds the session begins at the front, and finds it.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(crm_outbox_queue_positions);
PG_FUNCTION_INFO_V1(crm_outbox_remember_positions);

/* From lane -1, what is handed out, to lane 9. */
#define LANES 11

#define FORGET_MS 5000

typedef struct PositionKey
{
	Oid			database;		/* an extension that was dropped and made again is another queue, but a hint is a hint */
	char		channel[64];
} PositionKey;

typedef struct PositionEntry
{
	PositionKey key;
	TimestampTz since;			/* when it began at the front */
	TimestampTz due[LANES];
	int64		message[LANES];
} PositionEntry;

static HTAB *positions = NULL;

static PositionEntry *
find_positions(text *channel)
{
	PositionKey key = {0};
	PositionEntry *entry;
	bool		found;
	TimestampTz now = GetCurrentTimestamp();

	if (positions == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(PositionKey), .entrysize = sizeof(PositionEntry), .hcxt = TopMemoryContext};

		positions = hash_create("crm queue positions", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	key.database = MyDatabaseId;
	text_to_cstring_buffer(channel, key.channel, sizeof(key.channel));
	entry = hash_search(positions, &key, HASH_ENTER, &found);
	if (!found || TimestampDifferenceExceeds(entry->since, now, FORGET_MS) || now < entry->since)
	{
		entry->since = now;
		for (int lane = 0; lane < LANES; lane++)
		{
			entry->due[lane] = DT_NOBEGIN;
			entry->message[lane] = PG_INT64_MIN;
		}
	}
	return entry;
}

/* crm.queue_positions(channel, OUT due timestamptz[], OUT message bigint[]) */
Datum
crm_outbox_queue_positions(PG_FUNCTION_ARGS)
{
	PositionEntry *entry = find_positions(PG_GETARG_TEXT_PP(0));
	Datum		due[LANES];
	Datum		message[LANES];
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int lane = 0; lane < LANES; lane++)
	{
		due[lane] = TimestampTzGetDatum(entry->due[lane]);
		message[lane] = Int64GetDatum(entry->message[lane]);
	}
	values[0] = PointerGetDatum(construct_array(due, LANES, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(message, LANES, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static Datum *
elements_of(ArrayType *array, Oid type, int expected)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	if (ARR_ELEMTYPE(array) != type || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("positions must not be null")));
	deconstruct_array(array, type, type == INT4OID ? 4 : 8, true, type == INT4OID ? TYPALIGN_INT : TYPALIGN_DOUBLE, &elements,
					  &nulls, &count);
	if (count != expected && expected >= 0)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("positions must be as many as lanes")));
	return elements;
}

/* crm.remember_positions(channel, lanes int[], due timestamptz[], message bigint[]): the first of each lane that is told counts */
Datum
crm_outbox_remember_positions(PG_FUNCTION_ARGS)
{
	PositionEntry *entry = find_positions(PG_GETARG_TEXT_PP(0));
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(1);
	int			count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	Datum	   *lanes = elements_of(array, INT4OID, count);
	Datum	   *due = elements_of(PG_GETARG_ARRAYTYPE_P(2), TIMESTAMPTZOID, count);
	Datum	   *message = elements_of(PG_GETARG_ARRAYTYPE_P(3), INT8OID, count);
	bool		told[LANES] = {false};

	for (int i = 0; i < count; i++)
	{
		int			lane = DatumGetInt32(lanes[i]) + 1;

		if (lane < 0 || lane >= LANES || told[lane])
			continue;
		told[lane] = true;
		entry->due[lane] = DatumGetTimestampTz(due[i]);
		entry->message[lane] = DatumGetInt64(message[i]);
	}
	PG_RETURN_VOID();
}

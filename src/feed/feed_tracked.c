/*
 * feed_tracked.c
 *		Reading tracked events.
 *
 * They are our own rows, so there is no shop's code to run: the read is made as the owner of the extension. Properties
 * are picked out of the jsonb one by one, by name.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "base/kept_plan.h"
#include "feed/feed_private.h"

typedef struct TrackedReceiver
{
	DestReceiver pub;
	MemoryContext caller;
	MemoryContext scratch;		/* emptied after each row */
	/* the first two for one kind, the third for all kinds of a customer */
	FeedFold   *fold;
	bool		packed;			/* attributes: there is no kind and no at */
	Value	   *values;
	FeedTracked tracked;
	void	   *context;
	int			ncolumns;
	const char *const *columns;
	int		   *lengths;
} TrackedReceiver;

static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	(void) self;
	(void) operation;
	(void) desc;
}

static void
receive_nothing(DestReceiver *self)
{
	(void) self;
}

static Value
pick(Jsonb *properties, const char *name, int length)
{
	JsonbValue	found;
	Value		value;
	const char *why;

	if (getKeyJsonValueFromContainer(&properties->root, name, length, &found) == NULL ||
		!value_from_jsonb(&found, &value, &why))
		return value_unknown();
	return value;
}

/* Columns are customer_id, kind, at, properties. */
static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	TrackedReceiver *receiver = (TrackedReceiver *) self;
	MemoryContext old;
	Jsonb	   *properties;
	TimestampTz at;

	slot_getallattrs(slot);
	old = MemoryContextSwitchTo(receiver->scratch);
	at = receiver->packed ? 0 : DatumGetTimestampTz(slot->tts_values[2]);
	properties = DatumGetJsonbP(slot->tts_values[3]);
	if (receiver->tracked != NULL)
	{
		text	   *kind = DatumGetTextPP(slot->tts_values[1]);

		MemoryContextSwitchTo(receiver->caller);
		receiver->tracked(receiver->context, VARDATA_ANY(kind), (int) VARSIZE_ANY_EXHDR(kind), at, properties);
	}
	else
	{
		for (int i = 0; i < receiver->ncolumns; i++)
			receiver->values[i] = pick(properties, receiver->columns[i], receiver->lengths[i]);
		MemoryContextSwitchTo(receiver->caller);
		feed_fold_row(receiver->fold, DatumGetInt64(slot->tts_values[0]), at, receiver->values);
	}
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->scratch);
	return true;
}

static void
set_columns(TrackedReceiver *receiver, int ncolumns, const char *const *columns, FeedFold *fold)
{
	receiver->fold = fold;
	receiver->ncolumns = ncolumns;
	receiver->columns = columns;
	receiver->values = palloc0(sizeof(Value) * (ncolumns + 1));
	receiver->lengths = palloc(sizeof(int) * (ncolumns + 1));
	for (int i = 0; i < ncolumns; i++)
		receiver->lengths[i] = (int) strlen(columns[i]);
}

static void
init_receiver(TrackedReceiver *receiver)
{
	memset(receiver, 0, sizeof(*receiver));
	receiver->pub.receiveSlot = receive_row;
	receiver->pub.rStartup = receive_startup;
	receiver->pub.rShutdown = receive_nothing;
	receiver->pub.rDestroy = receive_nothing;
	receiver->pub.mydest = DestNone;
	receiver->caller = CurrentMemoryContext;
	receiver->scratch = AllocSetContextCreate(CurrentMemoryContext, "crm event row", ALLOCSET_DEFAULT_SIZES);
}

/* With kept, the plan is kept there: that is for some customers, whose facts are read in less time than it takes to plan. */
static void
run(TrackedReceiver *receiver, SPIPlanPtr *kept, const char *sql, ParamListInfo params)
{
	SPIExecuteOptions options = {0};
	FeedRights	rights;
	int			code;
	Oid			types[3];

	options.params = params;
	options.read_only = true;
	options.dest = &receiver->pub;
	SPI_connect();
	feed_enter_extension(&rights);
	for (int i = 0; i < params->numParams; i++)
		types[i] = params->params[i].ptype;
	if (kept != NULL)
		code = SPI_execute_plan_extended(kept_plan(kept, sql, params->numParams, types), &options);
	else
		code = SPI_execute_extended(sql, &options);
	if (code < 0)
		elog(ERROR, "could not read properties: %s", SPI_result_code_string(code));
	feed_leave(&rights);
	SPI_finish();
	MemoryContextDelete(receiver->scratch);
}

static void
set_parameter(ParamListInfo params, int number, Oid type, Datum value)
{
	params->params[number].ptype = type;
	params->params[number].value = value;
	params->params[number].isnull = false;
	params->params[number].pflags = PARAM_FLAG_CONST;
}

void
feed_read_tracked(const Feed *feed, int ncolumns, const char *const *columns, const FeedCustomers *some,
				  TimestampTz since, FeedFold *fold, uint64 *passed_over)
{
	static SPIPlanPtr kept = NULL;
	TrackedReceiver receiver;
	ParamListInfo params = makeParamList(3);

	init_receiver(&receiver);
	set_columns(&receiver, ncolumns, columns, fold);
	set_parameter(params, 0, TEXTOID, CStringGetTextDatum(feed->kind));
	set_parameter(params, 1, TIMESTAMPTZOID, TimestampTzGetDatum(since));
	set_parameter(params, 2, INT8ARRAYOID, feed_id_array(some->nsought, some->sought));
	run(&receiver, some->all ? NULL : &kept,
		!some->all ?
		"SELECT customer_id, kind, at, properties FROM crm.event WHERE customer_id = ANY ($3) AND kind = $1 AND at >= $2" :
		"SELECT customer_id, kind, at, properties FROM crm.event WHERE kind = $1 AND at >= $2",
		params);
	if (passed_over != NULL)
		*passed_over = 0;
}

/* The properties of an own feed that has no view. */
void
feed_read_packed(const Feed *feed, int ncolumns, const char *const *columns, const FeedCustomers *some, FeedFold *fold)
{
	static SPIPlanPtr kept = NULL;
	static char reader[NAMEDATALEN] = "";
	TrackedReceiver receiver;
	ParamListInfo params = makeParamList(1);

	init_receiver(&receiver);
	receiver.packed = true;
	set_columns(&receiver, ncolumns, columns, fold);
	set_parameter(params, 0, INT8ARRAYOID, some->all ? (Datum) 0 : feed_id_array(some->count, some->ids));
	params->params[0].isnull = some->all;
	/* there is one such feed, of attributes; another one would be planned each time */
	if (!some->all && reader[0] == '\0')
		strlcpy(reader, feed->reader, sizeof(reader));
	run(&receiver, some->all || strcmp(reader, feed->reader) != 0 ? NULL : &kept,
		psprintf("SELECT r.customer_id, NULL::text, NULL::timestamptz, r.properties FROM crm.%s($1) AS r",
							quote_identifier(feed->reader)), params);
}

void
feed_read_customer_events(const FeedCustomers *customers, FeedTracked row, void *context)
{
	static SPIPlanPtr kept = NULL;
	TrackedReceiver receiver;
	ParamListInfo params = makeParamList(1);

	init_receiver(&receiver);
	receiver.tracked = row;
	receiver.context = context;
	set_parameter(params, 0, INT8ARRAYOID, feed_id_array(customers->nsought, customers->sought));
	run(&receiver, &kept,
		"SELECT e.customer_id, e.kind, e.at, e.properties FROM crm.event AS e JOIN crm.source AS s USING (kind) "
		"WHERE e.customer_id = ANY ($1) AND s.tracked", params);
}

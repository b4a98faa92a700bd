/*
 * feed_read.c
 *		Reading a feed: rows from the executor, values to the caller.
 *
 * The receiver is given straight to the executor. There is no cursor and no tuplestore between, so that plans may be
 * parallel, and a row costs nothing but the conversion of its columns. What a conversion allocates (a wide numeric, a
 * detoasted text) lies in a context that is emptied after each row, which is free when nothing was allocated.
 *
 * A lookup of customers is made over and over, so its plan is kept for the session. It is a generic plan, and the plan
 * cache sees to it that it is made again when a table, a view or the path changes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "tcop/dest.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "feed/feed_private.h"

#define KEPT_PLANS 64

typedef struct KeptPlan
{
	char	   *sql;
	char	   *search_path;
	Oid			owner;
	SPIPlanPtr	plan;
	uint64		used;			/* when, in calls */
	int			running;		/* how many times at the moment: a feed's function may look up others */
} KeptPlan;

typedef struct FeedReceiver
{
	DestReceiver pub;
	FeedFold   *fold;
	MemoryContext caller;
	MemoryContext scratch;		/* emptied after each row */
	bool		has_at;
	int			first;			/* column of the first fact in the result */
	int			nread;			/* facts in the result */
	const int  *places;			/* of each of them, among the values */
	ValueSource *sources;
	Value	   *values;
	Oid			key_type;
	uint64		passed_over;
} FeedReceiver;

static KeptPlan kept_plans[KEPT_PLANS];
static uint64 kept_calls = 0;

static void
wrong_type(TupleDesc desc, int column)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("column \"%s\" has type %s", NameStr(TupleDescAttr(desc, column)->attname),
					format_type_be(TupleDescAttr(desc, column)->atttypid)),
			 errhint("Define the feed again.")));
}

/* A view's owner may rename its columns: what is in them is not known from when the feed was defined. */
static void
receive_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	FeedReceiver *receiver = (FeedReceiver *) self;
	MemoryContext old = MemoryContextSwitchTo(receiver->caller);

	(void) operation;
	receiver->key_type = getBaseType(TupleDescAttr(desc, 0)->atttypid);
	if (receiver->key_type != INT8OID && receiver->key_type != INT4OID && receiver->key_type != INT2OID)
		wrong_type(desc, 0);
	if (receiver->has_at && getBaseType(TupleDescAttr(desc, 1)->atttypid) != TIMESTAMPTZOID)
		wrong_type(desc, 1);
	for (int i = 0; i < receiver->nread; i++)
	{
		int			column = receiver->first + i;

		if (!value_source_init(&receiver->sources[i], TupleDescAttr(desc, column)->atttypid, receiver->caller))
			wrong_type(desc, column);
	}
	MemoryContextSwitchTo(old);
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	FeedReceiver *receiver = (FeedReceiver *) self;
	MemoryContext old;
	int64		customer;
	TimestampTz at = 0;
	Datum	   *datums;
	bool	   *nulls;

	slot_getallattrs(slot);
	if (slot->tts_isnull[0])
	{
		receiver->passed_over++;
		return true;
	}
	switch (receiver->key_type)
	{
		case INT8OID:
			customer = DatumGetInt64(slot->tts_values[0]);
			break;
		case INT4OID:
			customer = DatumGetInt32(slot->tts_values[0]);
			break;
		default:
			customer = DatumGetInt16(slot->tts_values[0]);
			break;
	}
	if (receiver->has_at)
	{
		at = DatumGetTimestampTz(slot->tts_values[1]);
		if (slot->tts_isnull[1] || TIMESTAMP_NOT_FINITE(at))
		{
			receiver->passed_over++;
			return true;
		}
	}

	datums = slot->tts_values + receiver->first;
	nulls = slot->tts_isnull + receiver->first;
	old = MemoryContextSwitchTo(receiver->scratch);
	for (int i = 0; i < receiver->nread; i++)
		receiver->values[receiver->places[i]] = value_from_datum(&receiver->sources[i], datums[i], nulls[i]);
	MemoryContextSwitchTo(receiver->caller);
	feed_fold_row(receiver->fold, customer, at, receiver->values);
	MemoryContextSwitchTo(old);
	MemoryContextReset(receiver->scratch);
	return true;
}

static void
receive_nothing(DestReceiver *self)
{
	(void) self;
}

void
feed_error_callback(void *arg)
{
	errcontext("feed \"%s\"", (const char *) arg);
}

static const FeedColumn *
find_column(const Feed *feed, const char *name)
{
	for (int i = 0; i < feed->ncolumns; i++)
	{
		if (strcmp(feed->columns[i].name, name) == 0)
			return &feed->columns[i];
	}
	return NULL;
}

/* Whatever was running when a transaction came to its end is not running any more. */
static void
forget_running(XactEvent event, void *arg)
{
	(void) event;
	(void) arg;

	for (int i = 0; i < KEPT_PLANS; i++)
		kept_plans[i].running = 0;
}

static void
discard_plan(KeptPlan *kept)
{
	SPIPlanPtr	plan = kept->plan;

	if (plan == NULL)
		return;
	kept->plan = NULL;
	pfree(kept->sql);
	pfree(kept->search_path);
	SPI_freeplan(plan);
}

/* The place with the kept plan for the text, or with one that is made now; the least lately used makes room. */
static KeptPlan *
keep_plan(const Feed *feed, const char *sql, int nargs, Oid *types)
{
	static bool registered = false;
	KeptPlan   *kept = NULL;
	SPIPlanPtr	plan;

	if (!registered)
	{
		RegisterXactCallback(forget_running, NULL);
		registered = true;
	}
	kept_calls++;
	for (int i = 0; i < KEPT_PLANS; i++)
	{
		KeptPlan   *other = &kept_plans[i];

		if (other->plan != NULL && other->owner == feed->owner && strcmp(other->sql, sql) == 0 &&
			strcmp(other->search_path, feed->search_path) == 0)
		{
			other->used = kept_calls;
			return other;
		}
		if (other->running == 0 && (kept == NULL || other->used < kept->used))
			kept = other;
	}
	if (kept == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
				 errmsg("feeds are nested too deeply"),
				 errdetail("Functions of %d feeds look up customers within each other.", KEPT_PLANS)));

	plan = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	discard_plan(kept);
	kept->sql = MemoryContextStrdup(TopMemoryContext, sql);
	kept->search_path = MemoryContextStrdup(TopMemoryContext, feed->search_path);
	kept->owner = feed->owner;
	kept->used = kept_calls;
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "could not keep a plan");
	kept->plan = plan;
	return kept;
}

static int
run_kept_plan(KeptPlan *kept, const SPIExecuteOptions *options)
{
	int			code;

	kept->running++;
	code = SPI_execute_plan_extended(kept->plan, options);
	kept->running--;
	return code;
}

static void
add_parameter(ParamListInfo params, Oid type, Datum value)
{
	ParamExternData *param = &params->params[params->numParams++];

	param->ptype = type;
	param->value = value;
	param->isnull = false;
	param->pflags = PARAM_FLAG_CONST;
}

static void
read_view(const Feed *feed, int ncolumns, const char *const *columns, const FeedCustomers *some, TimestampTz since,
		  FeedFold *fold, uint64 *passed_over)
{
	bool		customers = feed->customers;
	FeedReceiver receiver = {0};
	FeedRights	rights;
	SPIExecuteOptions options = {0};
	ParamListInfo params = makeParamList(2);
	Oid			types[2];
	StringInfoData sql;
	int		   *places = palloc(sizeof(int) * (ncolumns + 1));
	int			code;

	receiver.pub.receiveSlot = receive_row;
	receiver.pub.rStartup = receive_startup;
	receiver.pub.rShutdown = receive_nothing;
	receiver.pub.rDestroy = receive_nothing;
	receiver.pub.mydest = DestNone;
	receiver.fold = fold;
	receiver.caller = CurrentMemoryContext;
	receiver.scratch = AllocSetContextCreate(CurrentMemoryContext, "crm feed row", ALLOCSET_DEFAULT_SIZES);
	receiver.has_at = !customers;
	receiver.first = customers ? 1 : 2;
	receiver.values = palloc0(sizeof(Value) * (ncolumns + 1));	/* unknown is all zeros */
	receiver.sources = palloc0(sizeof(ValueSource) * (ncolumns + 1));
	receiver.places = places;

	initStringInfo(&sql);
	appendStringInfoString(&sql, customers ? "SELECT customer_id" : "SELECT customer_id, at");
	for (int i = 0; i < ncolumns; i++)
	{
		if (find_column(feed, columns[i]) == NULL)
			continue;
		appendStringInfo(&sql, ", %s", quote_identifier(columns[i]));
		places[receiver.nread++] = i;
	}
	params->numParams = 0;
	if (!some->all && feed->reader != NULL)
	{
		/* it knows by itself who else they are */
		add_parameter(params, INT8ARRAYOID, feed_id_array(some->count, some->ids));
		appendStringInfo(&sql, " FROM crm.%s($%d)", quote_identifier(feed->reader), params->numParams);
	}
	else
		appendStringInfo(&sql, " FROM crm_feed.%s", quote_identifier(feed->kind));
	if (feed->reader != NULL)
		;
	else if (!some->all && some->nsought == 1)
	{
		add_parameter(params, INT8OID, Int64GetDatum(some->sought[0]));
		appendStringInfo(&sql, " WHERE customer_id OPERATOR(pg_catalog.=) $%d", params->numParams);
	}
	else if (!some->all)
	{
		add_parameter(params, INT8ARRAYOID, feed_id_array(some->nsought, some->sought));
		appendStringInfo(&sql, " WHERE customer_id OPERATOR(pg_catalog.=) ANY ($%d)", params->numParams);
	}
	if (!customers && !TIMESTAMP_IS_NOBEGIN(since))
	{
		add_parameter(params, TIMESTAMPTZOID, TimestampTzGetDatum(since));
		appendStringInfo(&sql, " %s at OPERATOR(pg_catalog.>=) $%d", some->all ? "WHERE" : "AND",
						 params->numParams);
	}
	for (int i = 0; i < params->numParams; i++)
		types[i] = params->params[i].ptype;

	options.params = params;
	options.read_only = true;	/* the caller's snapshot, and no other */
	options.dest = &receiver.pub;

	SPI_connect();
	feed_enter(&rights, feed->owner, feed->search_path);
	/* compiling a lookup would take longer than the lookup, whatever the planner makes of tables that it knows nothing of */
	if (!some->all && jit_enabled)
		feed_set("jit", "off");
	if (!some->all)
		code = run_kept_plan(keep_plan(feed, sql.data, params->numParams, types), &options);
	else
		code = SPI_execute_extended(sql.data, &options);
	if (code < 0)
		elog(ERROR, "could not read feed \"%s\": %s", feed->kind, SPI_result_code_string(code));
	feed_leave(&rights);
	SPI_finish();

	MemoryContextDelete(receiver.scratch);
	if (passed_over != NULL)
		*passed_over = receiver.passed_over;
}

void
feed_read(const Feed *feed, int ncolumns, const char *const *columns, const FeedCustomers *some, TimestampTz since,
		  FeedRow row, void *context, uint64 *passed_over)
{
	ErrorContextCallback callback;
	FeedFold   *fold;

	if (feed->stale)
		feed_error_stale(feed);
	if (some == NULL)
		some = feed_all_customers();
	fold = feed_fold_begin(some->aliases, feed->customers, ncolumns, row, context);

	callback.previous = error_context_stack;
	callback.callback = feed_error_callback;
	callback.arg = unconstify(char *, feed->kind);
	error_context_stack = &callback;
	if (feed->packed)
	{
		feed_read_packed(feed, ncolumns, columns, some, fold);
		if (passed_over != NULL)
			*passed_over = 0;
	}
	else if (feed->tracked)
		feed_read_tracked(feed, ncolumns, columns, some, since, fold, passed_over);
	else
	{
		if (!feed_hold(feed))
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("feed \"%s\" has changed in the meantime", feed->kind),
					 errhint("Try again.")));
		read_view(feed, ncolumns, columns, some, since, fold, passed_over);
	}
	error_context_stack = callback.previous;
	feed_fold_end(fold);
}

/* Whether one of our own tables has a row for one of the customers, whose ids are $1. */
bool
feed_has_rows(const char *sql, const FeedCustomers *customers)
{
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {feed_id_array(customers->nsought, customers->sought)};
	FeedRights	rights;
	bool		found;
	int			code;

	SPI_connect();
	feed_enter_extension(&rights);
	code = SPI_execute_with_args(sql, 1, types, values, NULL, true, 1);
	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
	found = SPI_processed > 0;
	feed_leave(&rights);
	SPI_finish();
	return found;
}

/*
 * run.c
 *		crm.run_ticks(): ticks with a commit after each, for cron.
 *
 * An error ends its tick only. A refresh that fails (a feed of the shop's has an error) is tried again after every round,
 * and until it succeeds ticks go on with what they can do one by one.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/contain.h"
#include "segment/run.h"

PG_FUNCTION_INFO_V1(crm_segment_run_ticks);

/* Calls crm.tick() in the transaction that runs, connected to SPI. */
static void
tick(int max_customers, bool mend, TickOutcome *outcome)
{
	Oid			types[] = {INT4OID, BOOLOID};
	Datum		values[] = {Int32GetDatum(max_customers), BoolGetDatum(mend)};
	HeapTuple	tuple;
	bool		isnull;

	if (SPI_execute_with_args("SELECT routed OPERATOR(pg_catalog.+) touched OPERATOR(pg_catalog.+) due, refreshed, more "
							  "FROM crm.tick(max_customers => $1, mend => $2)", 2, types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not tick");
	tuple = SPI_tuptable->vals[0];
	outcome->done = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
	outcome->refreshed = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
	outcome->more = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
	SPI_freetuptable(SPI_tuptable);
}

static Datum
text_or_null(const char *text, char *null)
{
	*null = text == NULL ? 'n' : ' ';
	return text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
log_error(const ErrorData *error)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum		values[5];
	char		nulls[5];

	values[0] = text_or_null(unpack_sql_state(error->sqlerrcode), &nulls[0]);
	values[1] = text_or_null(error->message, &nulls[1]);
	values[2] = text_or_null(error->detail, &nulls[2]);
	values[3] = text_or_null(error->hint, &nulls[3]);
	values[4] = text_or_null(error->context, &nulls[4]);
	if (SPI_execute_with_args("SELECT crm.log_tick_error($1, coalesce($2, ''), $3, $4, $5)", 5, types, values, nulls, false,
							  0) != SPI_OK_SELECT)
		elog(ERROR, "could not store an error");
}

typedef struct Ticking
{
	int			max_customers;
	bool		mend;
	TickOutcome *outcome;
} Ticking;

static void
tick_contained(void *argument)
{
	Ticking    *ticking = argument;

	tick(ticking->max_customers, ticking->mend, ticking->outcome);
}

/* One of those that follow a tick. */
typedef struct Following
{
	const char *function;
	int			max;
	TickOutcome outcome;
} Following;

static void
follow(void *argument)
{
	Following  *following = argument;
	Oid			types[] = {INT4OID};
	Datum		values[] = {Int32GetDatum(following->max)};
	StringInfoData sql;
	bool		isnull;
	HeapTuple	tuple;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT f.done, f.more, f.next FROM crm.%s(max => $1) AS f", quote_identifier(following->function));
	if (SPI_execute_with_args(sql.data, 1, types, values, NULL, false, 0) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not call crm.%s()", following->function);
	tuple = SPI_tuptable->vals[0];
	following->outcome.done = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
	following->outcome.more = DatumGetBool(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull));
	following->outcome.due = DatumGetTimestampTz(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 3, &isnull));
	if (isnull)
		following->outcome.due = DT_NOEND;
	SPI_freetuptable(SPI_tuptable);
}

bool
run_followers(int max_customers, TickOutcome *outcome)
{
	bool		success = true;
	char	  **names;
	uint64		count;

	memset(outcome, 0, sizeof(*outcome));
	outcome->due = DT_NOEND;
	/* the extension's own only: a worker has all rights */
	if (SPI_execute("SELECT f.function FROM crm.follower AS f "
					"JOIN pg_catalog.pg_proc AS p ON p.proname OPERATOR(pg_catalog.=) f.function "
					"AND p.pronamespace OPERATOR(pg_catalog.=) 'crm'::pg_catalog.regnamespace "
					"LEFT JOIN pg_catalog.pg_extension AS e ON e.extname OPERATOR(pg_catalog.=) 'crm_marketing' "
					"LEFT JOIN pg_catalog.pg_depend AS d ON d.classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_proc'::pg_catalog.regclass "
					"AND d.objid OPERATOR(pg_catalog.=) p.oid AND d.deptype OPERATOR(pg_catalog.=) 'e' "
					"AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_extension'::pg_catalog.regclass "
					"AND d.refobjid OPERATOR(pg_catalog.=) e.oid "
					"GROUP BY f.function HAVING pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 "
					"AND pg_catalog.count(d.objid) OPERATOR(pg_catalog.=) 1 ORDER BY f.function", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.follower");
	count = SPI_processed;
	names = palloc(sizeof(char *) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		names[i] = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
	SPI_freetuptable(SPI_tuptable);
	for (uint64 i = 0; i < count; i++)
	{
		Following	following = {.function = names[i], .max = max_customers};
		ErrorData  *error = contain(follow, &following);

		if (error != NULL)
		{
			log_error(error);
			FreeErrorData(error);
			success = false;
			continue;
		}
		outcome->done += following.outcome.done;
		outcome->more |= following.outcome.more;
		outcome->due = Min(outcome->due, following.outcome.due);
	}
	return success;
}

bool
run_one_tick(int max_customers, bool mend, TickOutcome *outcome)
{
	Ticking		ticking = {max_customers, mend, outcome};
	ErrorData  *error;

	memset(outcome, 0, sizeof(*outcome));
	error = contain(tick_contained, &ticking);
	if (error == NULL)
		return true;
	log_error(error);
	FreeErrorData(error);
	return false;
}

Datum
crm_segment_run_ticks(PG_FUNCTION_ARGS)
{
	const CallContext *call = (const CallContext *) fcinfo->context;
	TimestampTz end;
	int			max_customers;
	double		nap;
	bool		mend = true;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || !(PG_GETARG_FLOAT8(0) >= 0 && PG_GETARG_FLOAT8(0) <= 1e9) ||
		PG_GETARG_INT32(1) < 1 || !(PG_GETARG_FLOAT8(2) >= 0.001 && PG_GETARG_FLOAT8(2) <= 1e6))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid argument of run_ticks"),
				 errdetail("Seconds must not be negative, customers at least 1, and the nap at least 0.001 seconds.")));
	if (call == NULL || !IsA(call, CallContext) || call->atomic)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
				 errmsg("run_ticks cannot be called in a transaction block"),
				 errdetail("It commits after each tick."),
				 errhint("Call crm.tick() there.")));
	end = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), PG_GETARG_FLOAT8(0) * 1000);
	max_customers = PG_GETARG_INT32(1);
	nap = PG_GETARG_FLOAT8(2);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	for (;;)
	{
		TickOutcome outcome;
		TickOutcome followed;
		bool		success;

		/* a new transaction, with the clock of now, and one that sees what others have stored */
		SPI_commit();
		XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		success = run_one_tick(max_customers, mend, &outcome);
		PopActiveSnapshot();
		SPI_commit();
		XactIsoLevel = XACT_READ_COMMITTED;
		PushActiveSnapshot(GetTransactionSnapshot());
		if (run_followers(max_customers, &followed))
		{
			outcome.done += followed.done;
			outcome.more |= followed.more;
		}
		PopActiveSnapshot();
		SPI_commit();
		CHECK_FOR_INTERRUPTS();

		if (!success && mend)
		{
			mend = false;
			continue;
		}
		if (success && outcome.more && (outcome.done > 0 || outcome.refreshed))
			continue;
		if (success && outcome.done > 0 && mend)
			continue;
		if (GetCurrentTimestamp() >= end && !(success && outcome.more))
			break;
		mend = true;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, (long) (nap * 1000), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_finish();
	PG_RETURN_VOID();
}

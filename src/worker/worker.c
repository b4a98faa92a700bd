/*
 * worker.c
 *		A worker: ticks in one database until there is nothing left to do.
 *
 * It is the bootstrap superuser, and runs nothing but crm.tick(), which reads feeds as their definers; its search_path holds
 * nothing but pg_catalog. An error of a tick is stored and the next one goes on; any other error ends the worker, and the
 * launcher starts another one after a while.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "segment/run.h"
#include "worker/worker.h"

PG_FUNCTION_INFO_V1(crm_worker_status);

/* Whoever wants to drop or rename the database waits for five seconds. */
#define LINGER_MS 3000

/* After so long a worker looks at a database whatever is known of it. */
#define LOOK_MS 10000

static WorkerDatabase *place = NULL;

static void
leave(int code, Datum argument)
{
	(void) code;
	(void) argument;
	place->pid = 0;
	place->latch = NULL;
	/* for whom it was too late to wake us, the launcher is */
	if (pg_atomic_read_u32(&place->woken) != 0 && worker_shared->launcher_latch != NULL)
		SetLatch(worker_shared->launcher_latch);
}

static void
begin(const char *activity)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	XactIsoLevel = XACT_READ_COMMITTED;
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
}

static void
end(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	(void) pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, "crm_marketing: waiting for changes and deadlines");
}

/* Is the extension there, and has anybody ever ticked? */
static bool
is_live(void)
{
	Oid			schema = get_namespace_oid("crm", true);

	if (!OidIsValid(get_extension_oid("crm_marketing", true)) || !OidIsValid(schema) ||
		!OidIsValid(get_relname_relid("slot", schema)))
		return false;
	return SPI_execute("SELECT FROM crm.slot LIMIT 1", true, 1) == SPI_OK_SELECT && SPI_processed > 0;
}

/* When the next deadline comes; not later than a while from now. */
static TimestampTz
next_deadline(void)
{
	TimestampTz latest = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_MS);
	bool		isnull;
	Datum		due;

	if (SPI_execute("SELECT pg_catalog.min(d.due) FROM pg_catalog.generate_series(0, 15) AS g CROSS JOIN LATERAL "
					"(SELECT o.watermark FROM crm.slot AS o WHERE o.slot OPERATOR(pg_catalog.=) g ORDER BY o.turn DESC LIMIT 1) AS s "
					"CROSS JOIN LATERAL (SELECT e.due FROM crm.deadline AS e WHERE e.slot OPERATOR(pg_catalog.=) g "
					"AND e.due OPERATOR(pg_catalog.>) s.watermark ORDER BY e.due LIMIT 1) AS d", true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.deadline");
	due = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	return isnull ? latest : Min(latest, DatumGetTimestampTz(due));
}

void
crm_worker_main(Datum argument)
{
	Oid			database = DatumGetObjectId(argument);
	TimestampTz busy;
	bool		mend = true;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	place = worker_database(database);
	if (place == NULL)
		proc_exit(0);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	place->pid = MyProcPid;
	place->latch = MyLatch;
	on_shmem_exit(leave, (Datum) 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_SESSION);
	SetConfigOption("application_name", "crm_marketing worker", PGC_USERSET, PGC_S_SESSION);

	busy = GetCurrentTimestamp();
	for (;;)
	{
		TickOutcome outcome = {0};
		bool		live;
		bool		success = true;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		/* what comes from here on is seen by this tick, or wakes us again */
		pg_atomic_write_u32(&place->woken, 0);
		begin("crm_marketing: ticking");
		live = is_live();
		if (live)
			success = run_one_tick(worker_max_customers, mend, &outcome);
		end();
		place->live = live;
		if (!live || !worker_enabled)
			break;
		place->last_tick = GetCurrentTimestamp();
		if (!success && mend)
		{
			/* what a refresh cannot do for all, a tick may do for some */
			mend = false;
			continue;
		}
		if (success && (outcome.done > 0 || outcome.refreshed))
		{
			busy = GetCurrentTimestamp();
			continue;
		}
		mend = true;
		if (TimestampDifferenceExceeds(busy, GetCurrentTimestamp(), LINGER_MS))
			break;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 outcome.more ? Min(worker_naptime, 50) : worker_naptime, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	if (place->live)
	{
		begin("crm_marketing: looking for the next deadline");
		place->next = is_live() ? next_deadline() : TimestampTzPlusMilliseconds(GetCurrentTimestamp(), LOOK_MS);
		end();
	}
	proc_exit(0);
}

Datum
crm_worker_status(PG_FUNCTION_ARGS)
{
	const WorkerDatabase *mine = worker_database(MyDatabaseId);
	TupleDesc	desc;
	Datum		values[5] = {0};
	bool		nulls[5] = {false, true, true, false, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(worker_shared != NULL);
	if (worker_shared != NULL && worker_shared->launcher_pid != 0)
	{
		values[1] = Int32GetDatum((int32) worker_shared->launcher_pid);
		nulls[1] = false;
	}
	if (mine != NULL && mine->pid != 0)
	{
		values[2] = Int32GetDatum((int32) mine->pid);
		nulls[2] = false;
	}
	values[3] = CStringGetTextDatum(worker_shared == NULL ? "not preloaded" : !worker_enabled ? "switched off" :
									mine == NULL ? "unknown database" : !mine->live ? "not live" :
									mine->pid != 0 ? "running" : "waiting");
	if (mine != NULL && mine->last_tick != 0)
	{
		values[4] = TimestampTzGetDatum(mine->last_tick);
		nulls[4] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

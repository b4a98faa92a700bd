/*
 * worker_launcher.c
 *		The launcher: starts a worker where there is something to do.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "worker/worker.h"

/* How often it is looked whether databases have come or gone, and whether one without live segments has them now. */
#define LOOK_MS 10000

static BackgroundWorkerHandle *handles[WORKER_MAX_DATABASES];

static void
leave(int code, Datum argument)
{
	(void) code;
	(void) argument;
	worker_shared->launcher_latch = NULL;
	worker_shared->launcher_pid = 0;
}

/* Gives a place to each database that there is, and takes back those of databases that are gone. */
static void
look_for_databases(void)
{
	bool		seen[WORKER_MAX_DATABASES] = {false};
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		WorkerDatabase *place;

		if (!database->datallowconn || database->datistemplate || database->datconnlimit == -2)
			continue;
		place = worker_database(database->oid);
		if (place == NULL)
		{
			place = worker_database(InvalidOid);
			if (place == NULL)
				continue;
			place->live = false;
			place->next = 0;
			pg_atomic_write_u32(&place->woken, 0);
			place->database = database->oid;
		}
		seen[place - worker_shared->databases] = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	for (int i = 0; i < WORKER_MAX_DATABASES; i++)
	{
		if (!seen[i])
			worker_shared->databases[i].database = InvalidOid;
	}
}

static bool
is_running(int number)
{
	pid_t		pid;

	if (handles[number] == NULL)
		return false;
	if (GetBackgroundWorkerPid(handles[number], &pid) != BGWH_STOPPED)
		return true;
	pfree(handles[number]);
	handles[number] = NULL;
	return false;
}

static void
start_worker(int number)
{
	const WorkerDatabase *place = &worker_shared->databases[number];
	BackgroundWorker worker = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = ObjectIdGetDatum(place->database);
	worker.bgw_notify_pid = MyProcPid;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "crm_marketing");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "crm_worker_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "crm_marketing worker for database %u", place->database);
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "crm_marketing worker");
	if (!RegisterDynamicBackgroundWorker(&worker, &handles[number]))
	{
		handles[number] = NULL;
		ereport(LOG,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("crm_marketing could not start a background worker"),
				 errhint("Increase max_worker_processes.")));
	}
	MemoryContextSwitchTo(old);
}

void
crm_worker_launcher_main(Datum argument)
{
	TimestampTz looked = 0;

	(void) argument;
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	worker_shared->launcher_pid = MyProcPid;
	worker_shared->launcher_latch = MyLatch;
	on_shmem_exit(leave, (Datum) 0);

	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();
		long		sleep = LOOK_MS;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (worker_enabled && TimestampDifferenceExceeds(looked, now, LOOK_MS))
		{
			look_for_databases();
			looked = now;
		}
		for (int i = 0; worker_enabled && i < WORKER_MAX_DATABASES; i++)
		{
			WorkerDatabase *place = &worker_shared->databases[i];

			if (!OidIsValid(place->database) || is_running(i))
				continue;
			if (place->next <= now || pg_atomic_read_u32(&place->woken) != 0)
			{
				/* one that cannot start, or dies at once, is not started all the time */
				place->next = TimestampTzPlusMilliseconds(now, LOOK_MS);
				pg_atomic_write_u32(&place->woken, 0);
				start_worker(i);
			}
			else
				sleep = Min(sleep, TimestampDifferenceMilliseconds(now, place->next) + 1);
		}
		pgstat_report_activity(STATE_IDLE, worker_enabled ? "crm_marketing: waiting for changes and deadlines" :
							   "crm_marketing: switched off");
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, sleep, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * worker_launcher.c
 *		The launcher: starts a worker in each database in which there is something to do.
 *
 * It sees the shared catalogs only. Which databases have the extension is found by workers that visit them, and is
 * remembered for a while. A database is visited when a commit has said so, when its next deadline comes, and now and then.
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
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "compat.h"
#include "worker/worker_private.h"

/* How often pg_database is looked at, in ms; and how soon after somebody unknown has asked for a worker */
#define LIST_EVERY 10000
#define LIST_SOON 1000

/* How long to wait for a free place among the worker processes, in ms */
#define RETRY 1000

/* The launcher never sleeps longer, in ms */
#define SLEEP_LAST 60000

static BackgroundWorkerHandle *handles[WORKER_DATABASES];

static void
leave_shared(int code, Datum argument)
{
	(void) code;
	(void) argument;

	SpinLockAcquire(&worker_shared->mutex);
	if (worker_shared->launcher_pid == MyProcPid)
	{
		worker_shared->launcher_pid = 0;
		worker_shared->launcher_latch = NULL;
	}
	SpinLockRelease(&worker_shared->mutex);
}

static void
enter_shared(void)
{
	SpinLockAcquire(&worker_shared->mutex);
	worker_shared->launcher_pid = MyProcPid;
	worker_shared->launcher_latch = MyLatch;
	for (int i = 0; i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];

		/* what the launcher before us was about to do */
		if (entry->state == WORKER_STARTING && entry->pid == 0)
			entry->state = WORKER_UNKNOWN;
	}
	SpinLockRelease(&worker_shared->mutex);
	before_shmem_exit(leave_shared, (Datum) 0);
}

static bool
is_wanted(const FormData_pg_database *database, const List *names)
{
	ListCell   *cell;

	/* a limit of -2 is that of a database whose DROP was interrupted */
	if (!database->datallowconn || database->datconnlimit == -2)
		return false;
	if (names == NIL)
		return !database->datistemplate;
	foreach(cell, names)
	{
		if (strcmp(lfirst(cell), NameStr(database->datname)) == 0)
			return true;
	}
	return false;
}

/* Which databases there are, and which of them are to be seen to. */
static void
list_databases(void)
{
	static bool warned = false;
	bool		listed[WORKER_DATABASES] = {false};
	Oid			oids[WORKER_DATABASES];
	List	   *names;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;
	bool		full = false;

	for (int i = 0; i < WORKER_DATABASES; i++)
		oids[i] = pg_atomic_read_u32(&worker_shared->databases[i].database);

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	if (!SplitIdentifierString(pstrdup(worker_databases), ',', &names))
		names = NIL;
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		const FormData_pg_database *database = (Form_pg_database) GETSTRUCT(tuple);
		WorkerDatabase *entry;

		if (!is_wanted(database, names))
			continue;
		entry = worker_find_database(database->oid, true);
		if (entry != NULL)
			listed[entry - worker_shared->databases] = true;
		full |= entry == NULL;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();

	for (int i = 0; i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];

		SpinLockAcquire(&worker_shared->mutex);
		entry->listed = listed[i];
		SpinLockRelease(&worker_shared->mutex);
		if (!listed[i] && OidIsValid(oids[i]))
			worker_forget_database(entry, oids[i]);
	}
	if (full && !warned)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("crm_marketing cannot look after all databases"),
				 errdetail("At most %d can have live segments.", WORKER_DATABASES),
				 errhint("Name those that have with crm_marketing.databases, and call crm.run_ticks() in the others.")));
	warned = full;
}

/* Lets go of workers that have ended, and counts the others. */
static int
reap(void)
{
	int			running = 0;

	for (int i = 0; i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];
		bool		present;
		pid_t		pid;

		if (handles[i] != NULL && GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED)
		{
			worker_has_failed(entry);
			pfree(handles[i]);
			handles[i] = NULL;
		}
		SpinLockAcquire(&worker_shared->mutex);
		present = entry->pid != 0 || entry->state == WORKER_STARTING;
		SpinLockRelease(&worker_shared->mutex);
		if (handles[i] != NULL && !present)
		{
			/* it has said that it ends, and just has not come to it yet */
			pfree(handles[i]);
			handles[i] = NULL;
		}
		running += present;
	}
	return running;
}

/* Nobody has dropped it since we looked at all of them? A worker would only complain in the server's log. */
static bool
exists(Oid database)
{
	bool		result;

	StartTransactionCommand();
	result = SearchSysCacheExists1(DATABASEOID, ObjectIdGetDatum(database));
	CommitTransactionCommand();
	return result;
}

static bool
start_worker(int i, Oid database, TimestampTz now)
{
	WorkerDatabase *entry = &worker_shared->databases[i];
	BackgroundWorker worker;
	WorkerState before;
	MemoryContext old;
	bool		success;

	SpinLockAcquire(&worker_shared->mutex);
	before = entry->state;
	entry->state = WORKER_STARTING;
	entry->started = now;
	SpinLockRelease(&worker_shared->mutex);

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION | CRM_BGWORKER_INTERRUPTIBLE;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "crm_marketing", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "crm_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, BGW_MAXLEN, "crm_marketing worker for database %u", database);
	strlcpy(worker.bgw_type, "crm_marketing worker", BGW_MAXLEN);
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	old = MemoryContextSwitchTo(TopMemoryContext);
	success = RegisterDynamicBackgroundWorker(&worker, &handles[i]);
	MemoryContextSwitchTo(old);
	if (!success)
	{
		handles[i] = NULL;
		SpinLockAcquire(&worker_shared->mutex);
		entry->state = before;
		SpinLockRelease(&worker_shared->mutex);
	}
	return success;
}

/* The one that waits longest of those that are to have a worker now; -1 for none. Until when to sleep otherwise. */
static int
choose(TimestampTz now, Oid *database, TimestampTz *next, bool *unknown)
{
	int			chosen = -1;
	TimestampTz started = 0;

	*unknown = false;
	for (int i = 0; i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];
		bool		pending = pg_atomic_read_u32(&entry->pending) != 0;
		TimestampTz from;

		SpinLockAcquire(&worker_shared->mutex);
		if (pg_atomic_read_u32(&entry->database) == InvalidOid || entry->pid != 0 || entry->state == WORKER_STARTING ||
			handles[i] != NULL)
			from = DT_NOEND;
		else if (!entry->listed)
		{
			*unknown |= pending;
			from = DT_NOEND;
		}
		else
			from = pending ? entry->not_before : Max(entry->due, entry->not_before);
		if (from > now)
			*next = Min(*next, from);
		else if (chosen < 0 || entry->started < started)
		{
			chosen = i;
			started = entry->started;
			*database = pg_atomic_read_u32(&entry->database);
		}
		SpinLockRelease(&worker_shared->mutex);
	}
	return chosen;
}

/* Starts what is to be started, and returns when there is something to do next. */
static TimestampTz
start_workers(TimestampTz now, TimestampTz *list_at)
{
	static bool warned = false;
	TimestampTz next = *list_at;
	int			running = reap();
	Oid			database = InvalidOid;
	bool		unknown;
	bool		crowded = false;
	int			i;

	while ((i = choose(now, &database, &next, &unknown)) >= 0)
	{
		if (running >= worker_max_workers)
		{
			crowded = true;
			break;
		}
		if (worker_is_in_the_way(database))
		{
			SpinLockAcquire(&worker_shared->mutex);
			worker_shared->databases[i].not_before = TimestampTzPlusMilliseconds(now, RETRY);
			SpinLockRelease(&worker_shared->mutex);
			continue;
		}
		if (!exists(database))
		{
			worker_forget_database(&worker_shared->databases[i], database);
			continue;
		}
		if (!start_worker(i, database, now))
		{
			crowded = true;
			if (!warned)
				ereport(LOG,
						(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						 errmsg("crm_marketing could not start a worker"),
						 errdetail("All worker processes are in use; it is tried again."),
						 errhint("Consider increasing max_worker_processes.")));
			warned = true;
			next = Min(next, TimestampTzPlusMilliseconds(now, RETRY));
			break;
		}
		warned = false;
		running++;
	}
	pg_atomic_write_u32(&worker_shared->crowded, crowded);
	if (unknown)
	{
		/* a database that was made just now, or one that is not to have a worker */
		*list_at = Min(*list_at, TimestampTzPlusMilliseconds(now, LIST_SOON));
		next = Min(next, *list_at);
	}
	return next;
}

void
crm_worker_launcher_main(Datum argument)
{
	TimestampTz list_at = 0;

	(void) argument;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	enter_shared();

	for (;;)
	{
		TimestampTz now;
		TimestampTz next;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
			list_at = 0;
		}
		now = GetCurrentTimestamp();
		next = TimestampTzPlusMilliseconds(now, SLEEP_LAST);
		if (worker_enabled)
		{
			if (now >= list_at)
			{
				pgstat_report_activity(STATE_RUNNING, "crm_marketing: looking for databases");
				list_databases();
				list_at = TimestampTzPlusMilliseconds(now, LIST_EVERY);
			}
			next = Min(next, start_workers(now, &list_at));
		}
		pgstat_report_activity(STATE_IDLE, NULL);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Max(TimestampDifferenceMilliseconds(GetCurrentTimestamp(), next), 1), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

/*
 * worker_shared.c
 *		What is known of each database, in shared memory; and waking its worker.
 *
 * Waking is part of the shop's commits: it takes a few instructions when the worker knows already that there is something
 * to do, and a spinlock and a signal when it does not. It cannot fail, and it is only a hint: whatever is lost, by a crash
 * or for want of room here, is found when the database is looked at the next time.
 */
#include "postgres.h"

#include "catalog/pg_database.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "worker/worker_private.h"

PG_FUNCTION_INFO_V1(crm_worker_status);

WorkerShared *worker_shared = NULL;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

/* Of a worker: its database. */
static WorkerDatabase *mine = NULL;

static void
request_memory(void)
{
	if (previous_request != NULL)
		previous_request();
	RequestAddinShmemSpace(sizeof(WorkerShared));
}

static void
init_memory(void)
{
	bool		found;

	if (previous_startup != NULL)
		previous_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	worker_shared = ShmemInitStruct("crm_marketing workers", sizeof(WorkerShared), &found);
	if (!found)
	{
		memset(worker_shared, 0, sizeof(WorkerShared));
		SpinLockInit(&worker_shared->mutex);
		pg_atomic_init_u32(&worker_shared->crowded, 0);
		for (int i = 0; i < WORKER_DATABASES; i++)
		{
			pg_atomic_init_u32(&worker_shared->databases[i].database, 0);
			pg_atomic_init_u32(&worker_shared->databases[i].pending, 0);
		}
	}
	LWLockRelease(AddinShmemInitLock);
}

void
worker_shared_request(void)
{
	previous_request = shmem_request_hook;
	shmem_request_hook = request_memory;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = init_memory;
}

static WorkerDatabase *
find(Oid database)
{
	for (int i = 0; i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];

		if (pg_atomic_read_u32(&entry->database) == database)
			return entry;
	}
	return NULL;
}

/* A free place, or one whose database has nothing to do; with the spinlock held. */
static WorkerDatabase *
find_room(void)
{
	WorkerDatabase *room = find(InvalidOid);

	for (int i = 0; room == NULL && i < WORKER_DATABASES; i++)
	{
		WorkerDatabase *entry = &worker_shared->databases[i];

		if ((entry->state == WORKER_NOT_INSTALLED || entry->state == WORKER_STORED || !entry->listed) && entry->pid == 0 &&
			entry->state != WORKER_STARTING && pg_atomic_read_u32(&entry->pending) == 0)
			room = entry;
	}
	return room;
}

static void
clear(WorkerDatabase *entry, Oid database)
{
	pg_atomic_write_u32(&entry->database, database);
	pg_atomic_write_u32(&entry->pending, 0);
	entry->listed = false;
	entry->state = WORKER_UNKNOWN;
	entry->pid = 0;
	entry->latch = NULL;
	entry->started = entry->ticked = entry->due = entry->not_before = entry->mend_after = 0;
	entry->failures = entry->tick_failures = entry->mend_failures = 0;
}

WorkerDatabase *
worker_find_database(Oid database, bool create)
{
	WorkerDatabase *entry = find(database);

	if (entry != NULL || !create)
		return entry;
	SpinLockAcquire(&worker_shared->mutex);
	entry = find(database);
	if (entry == NULL)
	{
		entry = find_room();
		if (entry != NULL)
			clear(entry, database);
	}
	SpinLockRelease(&worker_shared->mutex);
	return entry;
}

void
worker_forget_database(WorkerDatabase *entry, Oid database)
{
	SpinLockAcquire(&worker_shared->mutex);
	if (pg_atomic_read_u32(&entry->database) == database && entry->pid == 0)
		clear(entry, InvalidOid);
	SpinLockRelease(&worker_shared->mutex);
}

/*
 * The latches are in shared memory and are never freed: one that belongs to another process by now is woken for nothing.
 */
void
worker_wake(void)
{
	static WorkerDatabase *entry = NULL;
	Latch	   *latch;

	if (worker_shared == NULL)
		return;
	if (entry == NULL || pg_atomic_read_u32(&entry->database) != MyDatabaseId)
		entry = worker_find_database(MyDatabaseId, true);
	if (entry == NULL)
		return;
	/* our commit is to be seen by whoever takes the flag away after we have seen it set */
	pg_memory_barrier();
	if (pg_atomic_read_u32(&entry->pending) != 0 || pg_atomic_exchange_u32(&entry->pending, 1) != 0)
		return;
	SpinLockAcquire(&worker_shared->mutex);
	latch = entry->latch != NULL ? entry->latch : worker_shared->launcher_latch;
	SpinLockRelease(&worker_shared->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

int64
worker_patience(int failures)
{
	return Min((int64) PATIENCE_FIRST << Min(Max(failures, 1) - 1, 20), PATIENCE_LAST);
}

static void
wake_launcher(void)
{
	Latch	   *latch;

	SpinLockAcquire(&worker_shared->mutex);
	latch = worker_shared->launcher_latch;
	SpinLockRelease(&worker_shared->mutex);
	if (latch != NULL)
		SetLatch(latch);
}

/* With the spinlock held */
static void
note_failure(WorkerDatabase *entry, TimestampTz now)
{
	entry->pid = 0;
	entry->latch = NULL;
	entry->state = WORKER_FAILED;
	entry->failures++;
	entry->due = entry->not_before = TimestampTzPlusMilliseconds(now, worker_patience(entry->failures));
}

void
worker_has_failed(WorkerDatabase *entry)
{
	TimestampTz now = GetCurrentTimestamp();

	SpinLockAcquire(&worker_shared->mutex);
	if (entry->state == WORKER_STARTING && entry->pid == 0)
		note_failure(entry, now);
	SpinLockRelease(&worker_shared->mutex);
}

/* At the end of a worker that has not said why: an error, or it was terminated. */
static void
detach_failed(int code, Datum argument)
{
	TimestampTz now = GetCurrentTimestamp();

	(void) code;
	(void) argument;

	if (mine == NULL)
		return;
	SpinLockAcquire(&worker_shared->mutex);
	note_failure(mine, now);
	SpinLockRelease(&worker_shared->mutex);
	mine = NULL;
	wake_launcher();
}

WorkerDatabase *
worker_attach(Oid database)
{
	WorkerDatabase *entry = worker_shared == NULL ? NULL : worker_find_database(database, true);

	if (entry == NULL)
		return NULL;
	SpinLockAcquire(&worker_shared->mutex);
	if (entry->pid == 0 && pg_atomic_read_u32(&entry->database) == database)
	{
		entry->pid = MyProcPid;
		entry->latch = MyLatch;
		mine = entry;
	}
	SpinLockRelease(&worker_shared->mutex);
	if (mine != NULL)
		before_shmem_exit(detach_failed, (Datum) 0);
	return mine;
}

void
worker_set_state(WorkerState state)
{
	SpinLockAcquire(&worker_shared->mutex);
	mine->state = state;
	SpinLockRelease(&worker_shared->mutex);
}

void
worker_detach(WorkerState state, TimestampTz due, TimestampTz not_before)
{
	WorkerDatabase *entry = mine;

	mine = NULL;
	SpinLockAcquire(&worker_shared->mutex);
	entry->pid = 0;
	entry->latch = NULL;
	entry->state = state;
	entry->due = due;
	entry->not_before = not_before;
	entry->failures = 0;
	SpinLockRelease(&worker_shared->mutex);
	/* whoever commits from here on wakes the launcher, and who has done so just before has woken us */
	wake_launcher();
}

bool
worker_is_in_the_way(Oid database)
{
	LOCKTAG		tag;

	/* what a new connection takes for a moment, and who drops the database keeps out */
	SET_LOCKTAG_OBJECT(tag, InvalidOid, DatabaseRelationId, database, 0);
	if (LockAcquire(&tag, RowExclusiveLock, true, true) == LOCKACQUIRE_NOT_AVAIL)
		return true;
	LockRelease(&tag, RowExclusiveLock, true);
	return false;
}

static const char *
state_name(WorkerState state)
{
	switch (state)
	{
		case WORKER_UNKNOWN:
			return "not visited";
		case WORKER_STARTING:
			return "starting";
		case WORKER_TICKING:
			return "ticking";
		case WORKER_WAITING:
			return "waiting";
		case WORKER_RESTING:
			return "resting";
		case WORKER_GAVE_WAY:
			return "gave way";
		case WORKER_FAILED:
			return "failed";
		case WORKER_STORED:
			return "not live";
		case WORKER_NOT_INSTALLED:
			return "not installed";
	}
	return "unknown";
}

Datum
crm_worker_status(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[5] = {0};
	bool		nulls[5] = {false, true, true, true, true};
	WorkerDatabase *entry = NULL;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = BoolGetDatum(worker_shared != NULL);
	if (worker_shared != NULL)
	{
		WorkerDatabase copy = {0};
		pid_t		launcher;

		entry = worker_find_database(MyDatabaseId, false);
		SpinLockAcquire(&worker_shared->mutex);
		launcher = worker_shared->launcher_pid;
		if (entry != NULL)
		{
			copy.state = entry->state;
			copy.listed = entry->listed;
			copy.pid = entry->pid;
			copy.ticked = entry->ticked;
		}
		SpinLockRelease(&worker_shared->mutex);
		nulls[1] = launcher == 0;
		values[1] = Int32GetDatum(launcher);
		nulls[2] = copy.pid == 0;
		values[2] = Int32GetDatum(copy.pid);
		nulls[3] = false;
		if (!worker_enabled)
			values[3] = CStringGetTextDatum("off");
		else if (entry != NULL && !copy.listed && copy.pid == 0)
			values[3] = CStringGetTextDatum("not listed");
		else
			values[3] = CStringGetTextDatum(state_name(copy.state));
		nulls[4] = copy.ticked == 0;
		values[4] = TimestampTzGetDatum(copy.ticked);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

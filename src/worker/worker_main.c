/*
 * worker_main.c
 *		A worker: ticks in one database while there is something to do, and ends.
 *
 * It runs crm.tick() and nothing else; that reads feeds as those who have defined them. It is connected as the bootstrap
 * superuser, so it makes sure that the crm.tick() it calls is the extension's, and takes no setting of the database's owner
 * that would change what a query means. Errors of ticks are stored by run_one_tick(); what goes wrong beyond that ends the
 * worker, and the launcher starts another one later.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "segment/run.h"
#include "worker/worker_private.h"

/* So often a sleeping worker looks whether it is in somebody's way, in ms. */
#define LOOK_EVERY 500

/* How long a commit waits at the most for others to be evaluated with it, in ms. */
#define GATHER 100

/* Nobody works here longer than that: what has piled up in the process is given back; in ms. */
#define LIFE 600000

/* And when databases wait for their turn, no longer than that. */
#define TURN 1000

typedef enum Finding
{
	FOUND_LIVE,
	FOUND_STORED,
	FOUND_NOTHING,
	FOUND_LOCKED				/* somebody is just dropping it */
} Finding;

typedef struct Round
{
	Finding		found;
	bool		success;
	TickOutcome outcome;
	TimestampTz due;			/* the next deadline that is stored */
} Round;

static void
begin_transaction(const char *what)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, what);
}

static void
end_transaction(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/*
 * Is the extension here, and live? It stays until the transaction ends, by the lock. A schema and tables of these names may
 * be anybody's.
 */
static Finding
look(void)
{
	Oid			extension = get_extension_oid("crm_marketing", true);
	Oid			schema = get_namespace_oid("crm", true);
	Oid			slot = OidIsValid(schema) ? get_relname_relid("slot", schema) : InvalidOid;
	bool		isnull;

	if (!OidIsValid(extension) || !OidIsValid(slot))
		return FOUND_NOTHING;
	if (!ConditionalLockRelationOid(slot, AccessShareLock))
		return FOUND_LOCKED;
	if (get_extension_oid("crm_marketing", true) != extension ||
		getExtensionOfObject(RelationRelationId, slot) != extension)
		return FOUND_NOTHING;
	if (SPI_execute("SELECT EXISTS (SELECT FROM crm.slot)", true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read crm.slot");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) ? FOUND_LIVE : FOUND_STORED;
}

/* When the next deadline comes, by our clock: the shop's may be another one. */
static TimestampTz
next_deadline(void)
{
	bool		isnull;
	float8		seconds;

	if (SPI_execute("SELECT pg_catalog.date_part('epoch', pg_catalog.min(x.due) OPERATOR(pg_catalog.-) crm.now()) "
					"FROM crm.slot_now AS s CROSS JOIN LATERAL "
					"(SELECT d.due FROM crm.deadline AS d WHERE d.slot OPERATOR(pg_catalog.=) s.slot "
					"AND d.due OPERATOR(pg_catalog.>) s.watermark AND pg_catalog.isfinite(d.due) ORDER BY d.due LIMIT 1) AS x",
					true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read crm.deadline");
	seconds = DatumGetFloat8(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull || seconds > 1e6)
		return DT_NOEND;
	return TimestampTzPlusMilliseconds(GetCurrentTimestamp(), (int64) (Max(seconds, 0) * 1000));
}

static void
tick(bool mend, Round *round)
{
	memset(round, 0, sizeof(*round));
	round->due = DT_NOEND;
	begin_transaction("crm_marketing: ticking");
	round->found = look();
	if (round->found == FOUND_LIVE)
	{
		round->success = run_one_tick(worker_max_customers, mend, &round->outcome);
		if (round->success && round->outcome.done == 0 && !round->outcome.more)
		{
			PushActiveSnapshot(GetLatestSnapshot());
			round->due = next_deadline();
			PopActiveSnapshot();
		}
	}
	end_transaction();
	if (round->found == FOUND_LIVE)
	{
		TickOutcome followed = {0};

		begin_transaction("crm_marketing: following the tick");
		if (look() == FOUND_LIVE && run_followers(worker_max_customers, &followed))
		{
			round->outcome.done += followed.done;
			round->outcome.more |= followed.more;
			round->due = Min(round->due, followed.due);
		}
		end_transaction();
	}
}

/* Another worker starts at an instant, or earlier, if somebody commits something, but not before another one. */
static void
leave(WorkerState state, TimestampTz due, TimestampTz not_before)
{
	worker_detach(state, due, not_before);
	proc_exit(0);
}

static void
leave_for(WorkerState state, int64 ms)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz due = TimestampTzPlusMilliseconds(now, ms);

	/* who gives way must not be back before the other one is done */
	leave(state, due, state == WORKER_GAVE_WAY ? due : now);
}

static void
check(Oid database)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
	}
	if (!worker_enabled)
		leave_for(WORKER_RESTING, 0);
	if (worker_is_in_the_way(database))
		leave_for(WORKER_GAVE_WAY, PATIENCE_FIRST);
}

/* Until an instant, or until somebody has committed something. */
static void
sleep_until(Oid database, WorkerDatabase *entry, TimestampTz end, bool wakes)
{
	for (;;)
	{
		TimestampTz now = GetCurrentTimestamp();

		if (now >= end || (wakes && pg_atomic_read_u32(&entry->pending) != 0))
			return;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(Max(TimestampDifferenceMilliseconds(now, end), 1), LOOK_EVERY), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		check(database);
	}
}

static void
connect_to(Oid database)
{
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "false", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_deferrable", "false", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	/* from PostgreSQL 17 on */
	if (GetConfigOption("transaction_timeout", true, false) != NULL)
		SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("role", "none", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("application_name", "crm_marketing worker", PGC_SUSET, PGC_S_OVERRIDE);
}

/* What follows from how a tick went; true when the next one is to follow at once. */
static bool
judge(WorkerDatabase *entry, const Round *round, bool *mend, TimestampTz now)
{
	bool		again;

	SpinLockAcquire(&worker_shared->mutex);
	if (round->success)
	{
		entry->ticked = now;
		entry->tick_failures = 0;
		if (*mend)
			entry->mend_failures = 0;
	}
	else if (*mend)
	{
		/* perhaps it was the refresh that failed: what can be done customer by customer goes on */
		entry->mend_failures++;
		entry->mend_after = TimestampTzPlusMilliseconds(now, worker_patience(entry->mend_failures));
	}
	else
		entry->tick_failures++;
	again = (!round->success && *mend) ||
		(round->success && round->outcome.more && (round->outcome.done > 0 || round->outcome.refreshed));
	*mend = entry->mend_after <= now;
	SpinLockRelease(&worker_shared->mutex);
	return again;
}

void
crm_worker_main(Datum argument)
{
	Oid			database = DatumGetObjectId(argument);
	WorkerDatabase *entry;
	TimestampTz started = GetCurrentTimestamp();
	TimestampTz worked = 0;		/* when there was something to do */
	bool		mend;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	entry = worker_attach(database);
	if (entry == NULL)
		proc_exit(0);
	connect_to(database);

	mend = entry->mend_after <= started;
	for (;;)
	{
		Round		round;
		TimestampTz begun;
		TimestampTz now;
		TimestampTz next;
		bool		crowded;

		check(database);
		worker_set_state(WORKER_TICKING);
		/* what is committed from here on wakes us once more */
		pg_atomic_exchange_u32(&entry->pending, 0);
		begun = GetCurrentTimestamp();
		tick(mend, &round);
		if (round.found == FOUND_LOCKED)
			leave_for(WORKER_GAVE_WAY, PATIENCE_FIRST);
		if (round.found == FOUND_STORED)
			leave_for(WORKER_STORED, REVISIT_STORED);
		if (round.found == FOUND_NOTHING)
			leave_for(WORKER_NOT_INSTALLED, REVISIT_NOT_INSTALLED);
		now = GetCurrentTimestamp();
		if (round.outcome.done > 0 || round.outcome.refreshed)
			worked = now;
		crowded = pg_atomic_read_u32(&worker_shared->crowded) != 0;
		if (judge(entry, &round, &mend, now) && !(crowded && now >= TimestampTzPlusMilliseconds(started, TURN)) &&
			now < TimestampTzPlusMilliseconds(started, LIFE))
			continue;

		/* when it goes on, if nobody commits anything */
		if (!round.success)
			next = TimestampTzPlusMilliseconds(now, Min(worker_patience(entry->tick_failures), PATIENCE_TICK));
		else if (round.outcome.more)
			next = TimestampTzPlusMilliseconds(now, Min(worker_naptime, GATHER));
		else if (round.outcome.done > 0)
			next = TimestampTzPlusMilliseconds(now, worker_naptime);
		else
			next = Max(Min(round.due, TimestampTzPlusMilliseconds(now, REVISIT_LIVE)),
					   TimestampTzPlusMilliseconds(now, worker_naptime));
		if (!mend)
			next = Min(next, Max(entry->mend_after, now));

		if ((crowded && now >= TimestampTzPlusMilliseconds(started, TURN)) ||
			now >= TimestampTzPlusMilliseconds(started, LIFE) ||
			(next > TimestampTzPlusMilliseconds(now, LINGER) &&
			 (!round.success || now > TimestampTzPlusMilliseconds(worked, LINGER))))
			leave(WORKER_RESTING, next, round.success ? now : next);

		worker_set_state(WORKER_WAITING);
		/* orders that come one after the other are evaluated together: half of the time, at most, is ours */
		sleep_until(database, entry, Min(next, TimestampTzPlusMilliseconds(now, Min(GATHER, (now - begun) / 1000))), false);
		if (round.success)
			sleep_until(database, entry, Min(next, TimestampTzPlusMilliseconds(now, worker_naptime)), true);
		else
			sleep_until(database, entry, next, false);
	}
}

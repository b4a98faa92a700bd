/*
 * worker_private.h
 *		What the launcher, the workers, and those who wake them share.
 */
#ifndef CRM_WORKER_PRIVATE_H
#define CRM_WORKER_PRIVATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/spin.h"

/* So many databases are known at a time; those whose segments are not live make room for others. */
#define WORKER_DATABASES 128

/* How long until a database is looked at again, in which nothing is known to be due; in ms. */
#define REVISIT_LIVE 10000
#define REVISIT_STORED 10000
#define REVISIT_NOT_INSTALLED 60000

/* Whoever fails is tried again later, and ever later; in ms. */
#define PATIENCE_FIRST 1000
#define PATIENCE_LAST 60000
#define PATIENCE_TICK 10000		/* a tick, in which the customers of other feeds wait too */

/* How long a worker waits for work after it has done some; in ms. */
#define LINGER 5000

typedef enum WorkerState
{
	WORKER_UNKNOWN,				/* not yet looked at */
	WORKER_STARTING,
	WORKER_TICKING,
	WORKER_WAITING,				/* for the next tick */
	WORKER_RESTING,				/* has ended by itself; another one starts when there is something to do */
	WORKER_GAVE_WAY,			/* has ended because somebody drops, renames or copies the database */
	WORKER_FAILED,				/* has ended by an error, or was terminated */
	WORKER_STORED,				/* segments are not live here */
	WORKER_NOT_INSTALLED		/* no extension here */
} WorkerState;

/* A database. Without the spinlock only the atomic fields may be looked at. */
typedef struct WorkerDatabase
{
	pg_atomic_uint32 database;	/* its oid; 0 for a free place */
	pg_atomic_uint32 pending;	/* something was committed since the worker looked last */
	bool		listed;			/* one for the launcher to see to, as of the last look at pg_database */
	WorkerState state;
	pid_t		pid;			/* of the worker; 0 when there is none */
	Latch	   *latch;			/* the worker's */
	TimestampTz started;		/* when it was started last */
	TimestampTz ticked;			/* when the last tick that succeeded has ended; 0 for never */
	TimestampTz due;			/* the launcher starts a worker then, without being asked; */
	TimestampTz not_before;		/* but not before this one, even if it is asked */
	int			failures;		/* of workers, in a row */
	int			tick_failures;	/* of ticks, in a row */
	int			mend_failures;	/* of refreshes by ticks, in a row */
	TimestampTz mend_after;		/* no refresh is tried before that */
} WorkerDatabase;

typedef struct WorkerShared
{
	slock_t		mutex;
	pid_t		launcher_pid;	/* 0 when there is none */
	Latch	   *launcher_latch;
	pg_atomic_uint32 crowded;	/* databases wait for a worker to end */
	WorkerDatabase databases[WORKER_DATABASES];
} WorkerShared;

/* NULL when the library is not preloaded. */
extern WorkerShared *worker_shared;

/* Settings */
extern bool worker_enabled;
extern int	worker_naptime;
extern int	worker_max_customers;
extern int	worker_max_workers;
extern char *worker_databases;

extern void worker_shared_request(void);

/* The place of a database; of a new one if create, and then NULL when there is no room. */
extern WorkerDatabase *worker_find_database(Oid database, bool create);

/* Frees the place of a database, unless a worker is there. */
extern void worker_forget_database(WorkerDatabase *entry, Oid database);

/* Called after the commit of a transaction that has logged something. */
extern void worker_wake(void);

/* This process is the database's worker from here on, until it ends; NULL if there is one already. */
extern WorkerDatabase *worker_attach(Oid database);

extern void worker_set_state(WorkerState state);

/* Says why this process ends, and when another one is to start. To be called right before proc_exit(). */
extern void worker_detach(WorkerState state, TimestampTz due, TimestampTz not_before);

/* The worker that was started has ended, or has never come to life. */
extern void worker_has_failed(WorkerDatabase *entry);

extern int64 worker_patience(int failures);

/* Does somebody want to drop, rename, move or copy the database? All of these wait for workers to leave. */
extern bool worker_is_in_the_way(Oid database);

extern PGDLLEXPORT void crm_worker_launcher_main(Datum argument);
extern PGDLLEXPORT void crm_worker_main(Datum argument);

#endif							/* CRM_WORKER_PRIVATE_H */

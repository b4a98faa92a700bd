/*
 * worker.h
 *		The optional background worker: ticks by themselves.
 *
 * Where the library is preloaded, a launcher without database starts a worker in each database whose segments are live,
 * when somebody has committed something that was captured, and when a deadline comes. A worker that has nothing to do
 * leaves after a few seconds, because a database to which somebody is connected can be neither dropped nor renamed.
 */
#ifndef CRM_WORKER_H
#define CRM_WORKER_H

#include "postgres.h"

#include "port/atomics.h"
#include "storage/latch.h"
#include "utils/timestamp.h"

/* For _PG_init */
extern void worker_define_gucs(void);
extern void worker_register(void);

extern PGDLLEXPORT void crm_worker_launcher_main(Datum argument);
extern PGDLLEXPORT void crm_worker_main(Datum argument);

#define WORKER_MAX_DATABASES 64

/* What is known of a database. Written by the launcher and the database's worker, read by anybody. */
typedef struct WorkerDatabase
{
	Oid			database;		/* InvalidOid: this place is free */
	pg_atomic_uint32 woken;		/* something was committed that no tick has looked at */
	volatile pid_t pid;			/* of the worker, or 0 */
	Latch	   *volatile latch; /* its own; a process's latch stays where it is, so that a late signal harms nobody */
	volatile bool live;			/* when a worker looked last */
	volatile TimestampTz next;	/* when to look again, if nobody is woken */
	volatile TimestampTz last_tick;
} WorkerDatabase;

typedef struct WorkerShared
{
	volatile pid_t launcher_pid;
	Latch	   *volatile launcher_latch;
	WorkerDatabase databases[WORKER_MAX_DATABASES];
} WorkerShared;

extern WorkerShared *worker_shared;	/* NULL when not preloaded */
extern int	worker_naptime;		/* ms */
extern int	worker_max_customers;
extern bool worker_enabled;

extern WorkerDatabase *worker_database(Oid database);	/* NULL if it has no place */

#endif							/* CRM_WORKER_H */

/*
 * worker.h
 *		The background workers that tick.
 */
#ifndef CRM_WORKER_H
#define CRM_WORKER_H

#include "postgres.h"

extern void worker_define_gucs(void);

/* When the library is preloaded: asks for shared memory, listens to commits, and registers the launcher. */
extern void worker_register(void);

#endif							/* CRM_WORKER_H */

/*
 * worker.c
 *		Settings of the workers, and what is done when the library is preloaded.
 *
 * A launcher, which is connected to no database, starts a worker in each database that has something to do, and a worker
 * ends when there is nothing left: a connected one would be in the way of DROP DATABASE. All of it is for convenience:
 * without it, crm.run_ticks() from cron does the same.
 */
#include "postgres.h"

#include <limits.h>

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/varlena.h"

#include "feed/capture.h"
#include "worker/worker.h"
#include "worker/worker_private.h"

bool		worker_enabled = true;
int			worker_naptime = 1000;
int			worker_max_customers = 1000;
int			worker_max_workers = 4;
char	   *worker_databases = NULL;

/* Names, written as in SQL */
static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char	   *copy = pstrdup(*newval);
	List	   *names;
	bool		sound = SplitIdentifierString(copy, ',', &names);

	(void) extra;
	(void) source;

	if (!sound)
		GUC_check_errdetail("List syntax is invalid.");
	list_free(names);
	pfree(copy);
	return sound;
}

void
worker_define_gucs(void)
{
	DefineCustomBoolVariable("crm_marketing.worker",
							 "Whether segments are kept live by background workers.",
							 "They need crm_marketing in shared_preload_libraries. Without them, crm.run_ticks() does it.",
							 &worker_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.naptime",
							"How often a worker looks for deadlines that have come.",
							"A commit wakes it at once.",
							&worker_naptime,
							1000,
							10, 3600 * 1000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.worker_max_customers",
							"About how many customers a worker evaluates in a transaction.",
							NULL,
							&worker_max_customers,
							1000,
							1, 10000000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.max_workers",
							"In how many databases at a time workers are at work.",
							"Taken from max_worker_processes. Databases take turns when there are more.",
							&worker_max_workers,
							4,
							1, WORKER_DATABASES,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("crm_marketing.databases",
							   "The databases in which workers keep segments live.",
							   "Names, separated by commas. Empty for all that have the extension and live segments.",
							   &worker_databases,
							   "",
							   PGC_SIGHUP,
							   GUC_LIST_INPUT,
							   check_databases, NULL, NULL);
}

void
worker_register(void)
{
	BackgroundWorker worker;

	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	worker_shared_request();
	capture_committed_hook = worker_wake;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 3;
	strlcpy(worker.bgw_library_name, "crm_marketing", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "crm_worker_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "crm_marketing launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "crm_marketing launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}

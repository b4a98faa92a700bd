/*
 * worker_shared.c
 *		What launcher, workers and the shop's sessions share, the settings, and waking.
 *
 * There is no lock. Places are given to databases by the launcher alone, and everything else is single words, of which an
 * old value costs a look in vain, or a look that comes a nap later.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/guc.h"

#include "compat.h"
#include "feed/capture.h"
#include "worker/worker.h"

WorkerShared *worker_shared = NULL;
int			worker_naptime = 1000;
int			worker_max_customers = 1000;
bool		worker_enabled = true;

static shmem_request_hook_type next_request_hook = NULL;
static shmem_startup_hook_type next_startup_hook = NULL;

static void
request_memory(void)
{
	if (next_request_hook != NULL)
		next_request_hook();
	RequestAddinShmemSpace(MAXALIGN(sizeof(WorkerShared)));
}

static void
attach_memory(void)
{
	bool		found;

	if (next_startup_hook != NULL)
		next_startup_hook();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	worker_shared = ShmemInitStruct("crm_marketing", sizeof(WorkerShared), &found);
	if (!found)
	{
		memset(worker_shared, 0, sizeof(WorkerShared));
		for (int i = 0; i < WORKER_MAX_DATABASES; i++)
			pg_atomic_init_u32(&worker_shared->databases[i].woken, 0);
	}
	LWLockRelease(AddinShmemInitLock);
}

WorkerDatabase *
worker_database(Oid database)
{
	for (int i = 0; worker_shared != NULL && i < WORKER_MAX_DATABASES; i++)
	{
		if (worker_shared->databases[i].database == database)
			return &worker_shared->databases[i];
	}
	return NULL;
}

/* A transaction of the shop's has committed, and left something in the change log. */
static void
wake(void)
{
	static WorkerDatabase *mine = NULL;
	Latch	   *latch;

	if (worker_shared == NULL)
		return;
	if (mine == NULL || mine->database != MyDatabaseId)
		mine = worker_database(MyDatabaseId);
	/* whoever comes while the worker has not looked yet need not wake it again */
	if (mine == NULL || !mine->live || pg_atomic_exchange_u32(&mine->woken, 1) != 0)
		return;
	latch = mine->pid != 0 ? mine->latch : worker_shared->launcher_latch;
	if (latch != NULL)
		SetLatch(latch);
}

void
worker_define_gucs(void)
{
	DefineCustomBoolVariable("crm_marketing.worker",
							 "Whether background workers tick in the databases whose segments are live.",
							 "Only where the library is preloaded by shared_preload_libraries.",
							 &worker_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.naptime",
							"How often a background worker looks for deadlines that have come.",
							NULL,
							&worker_naptime,
							1000,
							10, 60000,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.worker_max_customers",
							"How many customers a background worker takes in one transaction, about.",
							NULL,
							&worker_max_customers,
							1000,
							1, 1000000,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
}

void
worker_register(void)
{
	BackgroundWorker worker = {0};

	/* A binary upgrade has the server for itself */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
	next_request_hook = shmem_request_hook;
	shmem_request_hook = request_memory;
	next_startup_hook = shmem_startup_hook;
	shmem_startup_hook = attach_memory;
	capture_committed_hook = wake;

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	snprintf(worker.bgw_library_name, sizeof(worker.bgw_library_name), "crm_marketing");
	snprintf(worker.bgw_function_name, sizeof(worker.bgw_function_name), "crm_worker_launcher_main");
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "crm_marketing launcher");
	snprintf(worker.bgw_type, sizeof(worker.bgw_type), "crm_marketing launcher");
	RegisterBackgroundWorker(&worker);
}

/*-------------------------------------------------------------------------
 *
 * crm_marketing.c
 *	  Loading of the library, and its settings.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "utils/guc.h"

#include "base/clock.h"
#include "feed/capture.h"
#include "worker/worker.h"

PG_MODULE_MAGIC;

extern PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	clock_define_gucs();
	capture_define_gucs();
	worker_define_gucs();

	MarkGUCPrefixReserved("crm_marketing");

	worker_register();
}

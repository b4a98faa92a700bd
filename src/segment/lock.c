/*
 * lock.c
 *		Who changes segments: one at a time, and by what is so now.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "fmgr.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "feed/feed.h"

PG_FUNCTION_INFO_V1(crm_segment_lock);
Datum
crm_segment_lock(PG_FUNCTION_ARGS)
{
	Oid			segment = get_relname_relid("segment", get_namespace_oid("crm", false));

	(void) fcinfo;
	feed_forbid_within_query();
	/* What another one stored while we waited for the lock must be seen afterwards. */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("segments cannot be changed in a repeatable read or serializable transaction"),
				 errhint("Use the isolation level READ COMMITTED.")));
	LockRelationOid(segment, ShareRowExclusiveLock);
	/* whoever has compiled the definitions is to do so again */
	CacheInvalidateRelcacheByRelid(segment);
	PG_RETURN_VOID();
}

/*
 * capture_tables.c
 *		What triggers do not see of a watched table.
 *
 * A partition that is attached, detached, dropped or truncated by itself, and a table that another one takes the place of,
 * change what a feed says without any row being written. So what files a watched table consists of is remembered, and
 * compared before each reading. Nor do they see anything while they are switched off, as for a load; that they were shows
 * in how they are switched on again, which is not as we have made them.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "base/contain.h"
#include "feed/capture.h"
#include "feed/capture_private.h"
#include "feed/feed_private.h"

/*
 * A table that could not be watched in another's stead, for somebody was at work on it, is not captured: so we try again,
 * but not at once, for the shop waits behind who waits for a lock.
 */
#define AGAIN_MS 5000

static TimestampTz again = 0;

/*
 * A number for the files that a table consists of, with all its partitions: another one after TRUNCATE, after a partition
 * came or went, and after a rewrite, which is looked at in vain. 0 if there is no such table.
 */
int64
capture_files_of(Oid relation)
{
	uint64		sum = 1;
	ListCell   *cell;

	if (get_rel_relkind(relation) == '\0')
		return 0;
	foreach(cell, find_all_inheritors(relation, NoLock, NULL))
	{
		HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(lfirst_oid(cell)));
		uint64		one;

		if (!HeapTupleIsValid(tuple))
			continue;
		/* splitmix64 of both, added up: the order of partitions is nothing to us */
		one = ((uint64) lfirst_oid(cell) << 32 | ((Form_pg_class) GETSTRUCT(tuple))->relfilenode) +
			UINT64CONST(0x9e3779b97f4a7c15);
		ReleaseSysCache(tuple);
		one = (one ^ (one >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
		one = (one ^ (one >> 27)) * UINT64CONST(0x94d049bb133111eb);
		sum += one ^ (one >> 31);
	}
	return (int64) (sum == 0 ? 1 : sum);
}

/* What the name means now; InvalidOid for nothing. */
static Oid
named_relation(const char *name)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		result;

	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = CStringGetTextDatum(name);
	fcinfo->args[0].isnull = false;
	result = to_regclass(fcinfo);
	return fcinfo->isnull ? InvalidOid : DatumGetObjectId(result);
}

/* When a table's trigger of rows fires, as pg_trigger.tgenabled says; '\0' when there is none. */
static char
trigger_state_of(Relation rel, Oid relation, const char *name)
{
	ScanKeyData keys[2];
	SysScanDesc scan;
	HeapTuple	tuple;
	char		state = '\0';

	ScanKeyInit(&keys[0], Anum_pg_trigger_tgrelid, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(relation));
	ScanKeyInit(&keys[1], Anum_pg_trigger_tgname, BTEqualStrategyNumber, F_NAMEEQ, CStringGetDatum(name));
	scan = systable_beginscan(rel, TriggerRelidNameIndexId, true, NULL, 2, keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		state = ((Form_pg_trigger) GETSTRUCT(tuple))->tgenabled;
	systable_endscan(scan);
	return state;
}

/*
 * Are the triggers, those of the partitions included, not as we have made them? Who has them switched off wants them off;
 * but who has switched them on again, or dropped them, may have let something go by.
 */
static bool
misses_trigger(const CaptureWatch *watch)
{
	Relation	rel;
	NameData	name;
	ListCell   *cell;
	bool		result = false;

	if (get_rel_relkind(watch->relation) == '\0')
		return false;
	namestrcpy(&name, psprintf("crm_watch_%d", watch->id));
	rel = table_open(TriggerRelationId, AccessShareLock);
	foreach(cell, find_all_inheritors(watch->relation, NoLock, NULL))
	{
		Oid			relation = lfirst_oid(cell);
		char		state;

		if (relation != watch->relation && !get_rel_relispartition(relation))
			continue;
		state = trigger_state_of(rel, relation, NameStr(name));
		result |= state != TRIGGER_FIRES_ALWAYS && state != TRIGGER_DISABLED;
	}
	table_close(rel, AccessShareLock);
	return result;
}

typedef struct Following
{
	CaptureWatch *watch;
	bool		same;
	bool		followed;
} Following;

static void
follow(void *argument)
{
	Following  *following = argument;
	CaptureWatch *watch = following->watch;
	FeedRights	rights;
	FeedImpatience impatience;
	Oid			now;

	SPI_connect();
	feed_enter(&rights, watch->role, watch->search_path);
	now = named_relation(watch->relation_name);
	if (OidIsValid(now) && (now == watch->relation) == following->same)
	{
		feed_begin_impatience(&impatience);
		capture_check_table(now);
		capture_drop_triggers(watch);
		watch->relation = now;
		capture_make_triggers(watch);
		feed_end_impatience(&impatience);
		following->followed = true;
	}
	feed_leave(&rights);
	SPI_finish();
}

/*
 * Where another table has come under the name that was watched, it is watched from now on; and where triggers are missing,
 * they are made again. As the watch's definer.
 */
static bool
watch_again(CaptureWatch *watch, bool same)
{
	Following	following = {watch, same, false};
	ErrorData  *error = contain(follow, &following);

	if (error == NULL)
		return following.followed;
	capture_watch_error(watch->id, error->message);
	FreeErrorData(error);
	again = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), AGAIN_MS);
	return false;
}

/* As the extension, connected to SPI. */
static void
check_watch(CaptureWatch *watch, bool may_follow)
{
	Oid			types[] = {INT4OID, REGCLASSOID, INT8OID};
	Datum		values[3];
	int64		files = capture_files_of(watch->relation);
	Oid			named = named_relation(watch->relation_name);
	Oid			before = watch->relation;
	const char *why = NULL;
	bool		missing = misses_trigger(watch);

	if (may_follow && OidIsValid(named) && (named != watch->relation || missing) && OidIsValid(watch->role) &&
		watch_again(watch, named == watch->relation))
	{
		files = capture_files_of(watch->relation);
		capture_watch_error(watch->id, NULL);
		why = missing && named == before ? "a trigger was switched off or dropped" : "a table was replaced";
	}
	else if (files == watch->files)
		return;
	else
		why = files == 0 ? "a table was dropped" : "a table was truncated, rewritten, or has other partitions";
	values[0] = Int32GetDatum(watch->id);
	values[1] = ObjectIdGetDatum(watch->relation);
	values[2] = Int64GetDatum(files);
	feed_execute("UPDATE crm.watch AS w SET relation = $2, files = $3 WHERE w.watch_id = $1", 3, types, values, NULL);
	feed_mark(watch->kind, why);
}

/* Nothing in the catalogs has changed since all tables were looked at, in a transaction that was committed. */
static bool looked = false;
static bool looking = false;

static void
look_again(Datum argument, Oid relid)
{
	(void) argument;
	(void) relid;
	looked = looking = false;
}

static void
at_end(XactEvent event, void *arg)
{
	(void) arg;

	if (event == XACT_EVENT_COMMIT && looking)
		looked = true;
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		looking = false;
}

void
capture_check_tables(void)
{
	static bool registered = false;
	FeedRights	rights;
	ListCell   *cell;
	bool		may_follow;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(look_again, (Datum) 0);
		RegisterXactCallback(at_end, NULL);
		registered = true;
	}
	AcceptInvalidationMessages();
	may_follow = again == 0 || GetCurrentTimestamp() >= again;
	if (looked && (again == 0 || !may_follow))
		return;
	looking = true;
	if (may_follow)
		again = 0;
	SPI_connect();
	feed_enter_extension(&rights);
	foreach(cell, capture_watches())
		check_watch(lfirst(cell), may_follow);
	feed_mend();
	feed_leave(&rights);
	SPI_finish();
}

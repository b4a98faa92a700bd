/*
 * feed_rights.c
 *		Whose rights and whose settings a feed runs with.
 *
 * A feed is somebody's SQL, and everybody's membership depends on it. So it runs as its definer in a security-restricted
 * operation, as REFRESH MATERIALIZED VIEW does: a function in it cannot act for whoever happens to read it. And it runs
 * under settings that are pinned, so that it says the same in every session: search_path, time zone, and how values turn
 * into text.
 *
 * Our own tables are written as the owner of the extension, under a path that holds nothing but pg_catalog: the right to
 * call the function is the permission.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/clock.h"
#include "compat.h"
#include "feed/feed_private.h"

#define WAIT_MS 1000			/* for a lock, where others may be queueing behind us */

void
feed_set(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

static void
enter(FeedRights *rights, Oid owner, int context, const char *search_path)
{
	GetUserIdAndSecContext(&rights->userid, &rights->context);
	SetUserIdAndSecContext(owner, rights->context | context);
	rights->nestlevel = NewGUCNestLevel();
	feed_set("search_path", search_path);
}

/* As a feed's definer, to run or to plan the feed's query. */
void
feed_enter(FeedRights *rights, Oid owner, const char *search_path)
{
	char	   *zone = clock_timezone();

	enter(rights, owner, SECURITY_RESTRICTED_OPERATION, search_path);
	feed_set("TimeZone", zone);
	feed_set("DateStyle", "ISO, YMD");
	feed_set("IntervalStyle", "postgres");
	feed_set("extra_float_digits", "1");
	feed_set("bytea_output", "hex");
	feed_set("row_security", "on");
	/* What a text means when it is parsed; hardly ever changed, so that asking is cheaper than setting. */
	if (!standard_conforming_strings)
		feed_set("standard_conforming_strings", "on");
	if (Transform_null_equals)
		feed_set("transform_null_equals", "off");
	if (!Array_nulls)
		feed_set("array_nulls", "on");
	pfree(zone);
}

/*
 * To be called by what changes feeds or memberships: not while a feed is read. Whoever reads it works by what there was
 * before, and would write over the change.
 */
void
feed_forbid_within_query(void)
{
	if (InSecurityRestrictedOperation())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("feeds and segments cannot be changed from within the query of a feed"),
				 errhint("Leave it out of the functions that the query calls.")));
}

/* As the owner of our own tables. */
void
feed_enter_extension(FeedRights *rights)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(feed_relation("source")));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for relation crm.source");
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	enter(rights, owner, SECURITY_LOCAL_USERID_CHANGE, FEED_SAFE_PATH);
}

static void
wait_error_callback(void *arg)
{
	(void) arg;

	if (geterrcode() == ERRCODE_LOCK_NOT_AVAILABLE)
		errhint("Somebody else uses it for longer than we wait, because others would wait behind us. Try again.");
}

/*
 * From here on, no lock is waited for longer than a moment: who comes after us and wants the same is the shop. A session
 * that is more impatient stays so.
 */
void
feed_begin_impatience(FeedImpatience *impatience)
{
	impatience->callback.previous = error_context_stack;
	impatience->callback.callback = wait_error_callback;
	impatience->callback.arg = NULL;
	error_context_stack = &impatience->callback;
	impatience->nestlevel = NewGUCNestLevel();
	if (LockTimeout == 0 || LockTimeout > WAIT_MS)
		feed_set("lock_timeout", CppAsString2(WAIT_MS));
}

void
feed_end_impatience(FeedImpatience *impatience)
{
	AtEOXact_GUC(false, impatience->nestlevel);
	error_context_stack = impatience->callback.previous;
}

void
feed_leave(FeedRights *rights)
{
	AtEOXact_GUC(false, rights->nestlevel);
	SetUserIdAndSecContext(rights->userid, rights->context);
}

/* The session's path as it resolves now, to be pinned: schemas that exist, "$user" by name, temporary tables last. */
char *
feed_current_path(void)
{
	StringInfoData path;
	List	   *schemas = fetch_search_path(false);
	ListCell   *cell;

	initStringInfo(&path);
	foreach(cell, schemas)
	{
		char	   *name = get_namespace_name(lfirst_oid(cell));

		if (name != NULL && !isAnyTempNamespace(lfirst_oid(cell)))
			appendStringInfo(&path, "%s, ", quote_identifier(name));
	}
	appendStringInfoString(&path, "pg_temp");
	return path.data;
}

Oid
feed_schema(void)
{
	return get_namespace_oid("crm_feed", false);
}

Oid
feed_relation(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid("crm", false));

	if (!OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation \"crm.%s\" does not exist", name),
				 errhint("It belongs to the extension crm_marketing: create that again.")));
	return relid;
}

/* One of our own statements. The caller has entered as the extension and connected to SPI. */
void
feed_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			code = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);

	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
}

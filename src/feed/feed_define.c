/*
 * feed_define.c
 *		Defining, dropping, releasing and rebuilding feeds.
 *
 * crm.source has the texts, feed_view.c makes the views. Who waits for a view that is dropped or made anew may be the
 * shop, in the middle of an order, and whoever comes behind us waits with us: so none of these waits long for a lock.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "base/contain.h"
#include "feed/capture.h"
#include "feed/feed_private.h"

PG_FUNCTION_INFO_V1(crm_feed_define_customers);
PG_FUNCTION_INFO_V1(crm_feed_define_event);
PG_FUNCTION_INFO_V1(crm_feed_drop_event);
PG_FUNCTION_INFO_V1(crm_feed_release);
PG_FUNCTION_INFO_V1(crm_feed_rebuild);

#define UUID_PATTERN "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

/* Only one at a time changes the feeds; who reads them is not hindered. */
static void
begin_change(FeedImpatience *impatience)
{
	feed_forbid_within_query();
	feed_begin_impatience(impatience);
	LockRelationOid(feed_relation("source"), ShareRowExclusiveLock);
}

static void
changed(void)
{
	CommandCounterIncrement();
	CacheInvalidateRelcacheByRelid(feed_relation("source"));
	CommandCounterIncrement();
}

void
feed_check_privilege(const char *kind, const char *definer)
{
	Oid			role = get_role_oid(definer, true);

	if (OidIsValid(role) ? !has_privs_of_role(GetUserId(), role) : !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be definer of feed \"%s\"", kind),
				 errdetail("It is defined by role \"%s\", with whose rights it runs.", definer),
				 errhint("Have that role, a member of it, or a superuser do it.")));
}

static char *
kind_argument(FunctionCallInfo fcinfo, int argument)
{
	char	   *kind;

	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind of the event must not be null")));
	kind = text_to_cstring(PG_GETARG_TEXT_PP(argument));
	if (kind[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("kind of the event must not be empty")));
	if (strlen(kind) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_NAME_TOO_LONG),
				 errmsg("kind of the event is too long"),
				 errdetail("It has %zu bytes, and may have %d.", strlen(kind), NAMEDATALEN - 1)));
	if (strcmp(kind, FEED_CUSTOMER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("kind \"%s\" is reserved", kind),
				 errdetail("It is the feed of the customers themselves."),
				 errhint("Use crm.define_customers(), or give the event another name.")));
	if (strncmp(kind, FEED_ATTRIBUTES, strlen(FEED_ATTRIBUTES)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("kind \"%s\" is reserved", kind),
				 errdetail("Kinds that begin with \"%s\" are attributes that the extension itself knows.", FEED_ATTRIBUTES),
				 errhint("Give the event another name.")));
	return kind;
}

/* All feeds count customers in the same way, or no event would find its customer. */
static void
check_same_key(const char *kind, FeedKey key, Oid key_type, List *sources)
{
	ListCell   *cell;

	foreach(cell, sources)
	{
		FeedSource *other = lfirst(cell);

		if (other->tracked || other->own || strcmp(other->kind, kind) == 0 || feed_key_of(other->key_type) == key)
			continue;
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"customer_id\" of feed \"%s\" has type %s, but of feed \"%s\" type %s",
						kind, format_type_be(key_type), other->kind, other->key_type),
				 errdetail("All feeds of a shop must have the same key of the customer."),
				 errhint("Join or cast to the key that feed \"%s\" has, or drop that feed first.", other->kind)));
	}
}

/* As the extension's owner, connected to SPI. */
static void
check_old_keys(FeedKey key)
{
	if (key != FEED_KEY_UUID)
		return;
	feed_execute("SELECT FROM crm.identity WHERE namespace = 'shop' AND value !~ '" UUID_PATTERN "' LIMIT 1",
				 0, NULL, NULL, NULL);
	if (SPI_processed > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("there are identities of the shop that are no uuid"),
				 errdetail("They were made when the shop's customers had keys of another type."),
				 errhint("Delete the rows of crm.identity whose namespace is 'shop', if they mean nothing any more.")));
}

static bool
view_is_indexed(const char *kind)
{
	Feed	   *feed = feed_find(feed_load(), kind);
	const char *why;
	const char *cure;

	return feed != NULL && !feed->stale && feed_is_indexed(feed, &why, &cure);
}

static void
set_indexed(const char *kind, bool indexed)
{
	Oid			types[] = {TEXTOID, BOOLOID};
	Datum		values[] = {CStringGetTextDatum(kind), BoolGetDatum(indexed)};

	feed_execute("UPDATE crm.source SET indexed = $2 WHERE kind = $1 AND indexed <> $2", 2, types, values, NULL);
}

static void
define(const char *kind, const char *text)
{
	List	   *sources;
	FeedSource *old;
	FeedQuery  *query;
	FeedRights	rights;
	FeedImpatience impatience;
	Oid			definer = GetUserId();
	char	   *path = feed_current_path();

	begin_change(&impatience);
	sources = feed_sources();
	old = feed_source_find(sources, kind);
	if (old != NULL && old->own)
		feed_error_own(kind);
	if (old != NULL && old->tracked)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("events of kind \"%s\" are tracked", kind),
				 errdetail("A kind is either defined by a query or stored by crm.track(), never both."),
				 errhint("Give the kind another name, or drop the tracked events with crm.drop_event().")));
	if (old != NULL)
		feed_check_privilege(kind, old->definer);

	feed_enter(&rights, definer, path);
	query = feed_check(kind, text, false);
	feed_leave(&rights);
	check_same_key(kind, query->key, query->key_type, sources);

	SPI_connect();
	feed_enter_extension(&rights);
	check_old_keys(query->key);
	feed_make_view(kind, query, definer, path);
	{
		Oid			types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID, TEXTOID};
		Datum		values[] = {
			CStringGetTextDatum(kind), CStringGetTextDatum(query->text), CStringGetTextDatum(path),
			CStringGetTextDatum(GetUserNameFromId(definer, false)),
			CStringGetTextDatum(format_type_be(query->key_type))
		};

		feed_execute("INSERT INTO crm.source AS s (kind, query, search_path, definer, tracked, key_type, indexed, "
					 "                             released, stale_reason, defined_at) "
					 "VALUES ($1, $2, $3, $4, false, $5, false, false, 'defined', pg_catalog.now()) "
					 "ON CONFLICT (kind) DO UPDATE SET query = excluded.query, search_path = excluded.search_path, "
					 "    definer = excluded.definer, key_type = excluded.key_type, indexed = false, "
					 "    released = false, stale_reason = 'defined', defined_at = excluded.defined_at",
					 5, types, values, NULL);
	}
	changed();
	set_indexed(kind, view_is_indexed(kind));
	changed();
	feed_leave(&rights);

	if (query->key != FEED_KEY_INTEGER && strcmp(kind, FEED_CUSTOMER) == 0)
		(void) feed_make_identities(feed_find(feed_load(), kind));
	SPI_finish();
	feed_end_impatience(&impatience);
}

static char *
query_argument(FunctionCallInfo fcinfo, int argument)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("query of the feed must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

Datum
crm_feed_define_customers(PG_FUNCTION_ARGS)
{
	define(FEED_CUSTOMER, query_argument(fcinfo, 0));
	PG_RETURN_VOID();
}

Datum
crm_feed_define_event(PG_FUNCTION_ARGS)
{
	char	   *kind = kind_argument(fcinfo, 0);

	define(kind, query_argument(fcinfo, 1));
	PG_RETURN_VOID();
}

Datum
crm_feed_drop_event(PG_FUNCTION_ARGS)
{
	char	   *kind = kind_argument(fcinfo, 0);
	bool		with_events = !PG_ARGISNULL(1) && PG_GETARG_BOOL(1);
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(kind)};
	FeedSource *source;
	FeedRights	rights;
	FeedImpatience impatience;

	begin_change(&impatience);
	source = feed_source_find(feed_sources(), kind);
	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no event \"%s\"", kind),
				 errhint("crm.feeds lists them.")));
	if (source->own)
		feed_error_own(kind);
	if (!source->tracked)
		feed_check_privilege(kind, source->definer);
	else if (!has_privs_of_role(GetUserId(), feed_owner_of(feed_relation("event"))))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of extension crm_marketing to drop tracked events")));

	SPI_connect();
	feed_enter_extension(&rights);
	if (source->tracked)
	{
		feed_execute("SELECT FROM crm.event WHERE kind = $1 LIMIT 1", 1, types, values, NULL);
		if (SPI_processed > 0 && !with_events)
			ereport(ERROR,
					(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
					 errmsg("there are tracked events of kind \"%s\"", kind),
					 errdetail("The shop has no other record of them."),
					 errhint("To delete them too, call crm.drop_event(%s, with_events => true).",
							 quote_literal_cstr(kind))));
		feed_execute("DELETE FROM crm.event WHERE kind = $1", 1, types, values, NULL);
		feed_execute("DELETE FROM crm.event_key WHERE kind = $1", 1, types, values, NULL);
		capture_all(kind);
	}
	else
		feed_drop_view(kind);
	feed_execute("DELETE FROM crm.source WHERE kind = $1", 1, types, values, NULL);
	changed();
	feed_leave(&rights);
	SPI_finish();
	feed_end_impatience(&impatience);
	PG_RETURN_VOID();
}

Datum
crm_feed_release(PG_FUNCTION_ARGS)
{
	List	   *sources;
	ListCell   *cell;
	FeedRights	rights;
	FeedImpatience impatience;
	int			count = 0;

	(void) fcinfo;
	begin_change(&impatience);
	sources = feed_sources();
	SPI_connect();
	foreach(cell, sources)
	{
		FeedSource *source = lfirst(cell);
		Oid			types[] = {TEXTOID, TEXTOID};
		Datum		values[2];

		if (source->tracked || source->own || source->released)
			continue;
		feed_check_privilege(source->kind, source->definer);
		values[0] = CStringGetTextDatum(source->kind);
		values[1] = CStringGetTextDatum(source->definer);
		feed_enter_extension(&rights);
		feed_drop_view(source->kind);
		feed_execute("UPDATE crm.source SET released = true, stale_reason = 'released', definer = $2 WHERE kind = $1",
					 2, types, values, NULL);
		feed_leave(&rights);
		count++;
	}
	changed();
	SPI_finish();
	feed_end_impatience(&impatience);
	PG_RETURN_INT32(count);
}

/* The error of a feed that cannot be made again is that of its query; say of which. */
static void
rebuild_error_callback(void *arg)
{
	errcontext("rebuilding feed \"%s\"", (const char *) arg);
}

static void
rebuild(const FeedSource *source, List *sources)
{
	ErrorContextCallback callback = {error_context_stack, rebuild_error_callback, source->kind};
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(source->kind), CStringGetTextDatum(source->definer)};
	FeedQuery  *query;
	FeedRights	rights;
	Oid			role;

	error_context_stack = &callback;
	feed_check_privilege(source->kind, source->definer);
	role = get_role_oid(source->definer, true);
	if (!OidIsValid(role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("definer of feed \"%s\" is gone", source->kind),
				 errdetail("There is no role \"%s\".", source->definer),
				 errhint("Define the feed again, as the role with whose rights it is to run.")));

	feed_enter(&rights, role, source->search_path);
	query = feed_check(source->kind, source->query, true);
	feed_leave(&rights);
	check_same_key(source->kind, query->key, query->key_type, sources);

	feed_enter_extension(&rights);
	check_old_keys(query->key);
	feed_make_view(source->kind, query, role, source->search_path);
	feed_execute("UPDATE crm.source SET released = false, stale_reason = 'rebuilt', definer = $2 WHERE kind = $1",
				 2, types, values, NULL);
	changed();
	set_indexed(source->kind, view_is_indexed(source->kind));
	feed_leave(&rights);
	error_context_stack = callback.previous;
}

Datum
crm_feed_rebuild(PG_FUNCTION_ARGS)
{
	List	   *sources;
	ListCell   *cell;
	FeedImpatience impatience;
	int			count = 0;

	(void) fcinfo;
	begin_change(&impatience);
	sources = feed_sources();
	SPI_connect();
	foreach(cell, sources)
	{
		FeedSource *source = lfirst(cell);

		if (source->tracked || source->own)
			continue;
		rebuild(source, sources);
		count++;
	}
	changed();
	SPI_finish();
	feed_end_impatience(&impatience);
	PG_RETURN_INT32(count);
}

typedef struct Mending
{
	FeedSource *source;
	List	   *sources;
} Mending;

static void
mend(void *argument)
{
	Mending    *mending = argument;
	FeedImpatience impatience;

	SPI_connect();
	begin_change(&impatience);
	rebuild(mending->source, mending->sources);
	feed_end_impatience(&impatience);
	SPI_finish();
}

/*
 * Feeds whose tables are others than their texts name, or whose views were dropped, are made again when their texts can be
 * understood again. What cannot be mended stays as it is: crm.feeds says why.
 */
void
feed_mend(void)
{
	List	   *feeds = feed_load();
	List	   *sources = feed_sources();
	ListCell   *cell;

	foreach(cell, feeds)
	{
		const Feed *feed = lfirst(cell);
		Mending		mending = {feed_source_find(sources, feed->kind), sources};
		const FeedSource *source = mending.source;
		ErrorData  *error;

		if (!feed->stale || source == NULL || source->released || source->own || source->tracked)
			continue;
		/* should it become sound by itself, what was missed until then is not to be forgotten */
		if (source->stale_reason == NULL)
			feed_mark(feed->kind, "could not be read");
		error = contain(mend, &mending);
		if (error != NULL)
			FreeErrorData(error);
	}
}

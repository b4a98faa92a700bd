/*
 * feed_track.c
 *		Events that the shop has no table for.
 *
 * crm.event is partitioned by the month of the event (in UTC), so that old ones can be dropped without a scan. The parent
 * carries neither key nor index: each partition is made at run time, is no member of the extension, and has its own. What
 * must be unique, the key by which a repeat is known, therefore has a table of its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "feed/feed_private.h"
#include "profile/profile.h"

PG_FUNCTION_INFO_V1(crm_feed_track);

typedef struct TrackedEvent
{
	int64		customer;
	char	   *kind;
	Jsonb	   *properties;
	TimestampTz at;
	text	   *key;			/* or NULL */
} TrackedEvent;

static void
check_properties(const TrackedEvent *event)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	item;
	char	   *name = NULL;

	if (!JB_ROOT_IS_OBJECT(event->properties))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("properties of an event must be a JSON object"),
				 errhint("For example {\"item\": \"SKU-1\", \"quantity\": 2}.")));
	iterator = JsonbIteratorInit(&event->properties->root);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
		{
			name = pnstrdup(item.val.string.val, item.val.string.len);
			if (profile_is_reserved_property(name, strlen(name)) || strcmp(name, "kind") == 0 ||
				strcmp(name, "at") == 0)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("property \"%s\" has a reserved name", name),
						 errdetail("Every event has \"%s\" by itself.", name),
						 errhint("Give the property another name, or leave it out.")));
			if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("name of a property must have 1 to %d bytes", NAMEDATALEN - 1),
						 errdetail("This one has %zu.", strlen(name))));
		}
		else if (token == WJB_VALUE)
		{
			Value		value;
			const char *why = NULL;

			if (!value_from_jsonb(&item, &value, &why))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("property \"%s\" has no value that a predicate could use", name),
						 why != NULL ? errdetail_internal("%s", why) : 0,
						 errhint("Give a string, a number, true or false, or an array of these.")));
		}
	}
}

/* The first event of a kind makes it known. Connected to SPI, as the extension. */
static void
register_kind(const char *kind)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(kind)};
	bool		isnull;

	if (strcmp(kind, FEED_CUSTOMER) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("kind \"%s\" is reserved", kind),
				 errdetail("It is the feed of the customers themselves."),
				 errhint("Give the event another name.")));
	feed_execute("SELECT tracked FROM crm.source WHERE kind = $1", 1, types, values, NULL);
	if (SPI_processed == 0)
	{
		feed_execute("INSERT INTO crm.source (kind, tracked, indexed) VALUES ($1, true, true) "
					 "ON CONFLICT (kind) DO NOTHING", 1, types, values, NULL);
		CacheInvalidateRelcacheByRelid(feed_relation("source"));
		feed_execute("SELECT tracked FROM crm.source WHERE kind = $1", 1, types, values, NULL);
	}
	if (SPI_processed > 0 && !DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)))
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_OBJECT),
				 errmsg("events of kind \"%s\" are defined by a query", kind),
				 errdetail("A kind is either defined by a query or stored by crm.track(), never both."),
				 errhint("Give the tracked events another kind, or drop the feed with crm.drop_event().")));
}

static char *
month_text(int year, int month)
{
	return psprintf("%04d-%02d-01 00:00:00+00", year, month);
}

/*
 * The partition of the event's month. The lock is the one that ATTACH takes anyway; taken first, it makes others who
 * want the same partition wait and then find it.
 */
static void
make_partition(TimestampTz at)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		name[NAMEDATALEN];
	char	   *from;
	char	   *to;
	Oid			schema = get_namespace_oid("crm", false);

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 || tm.tm_year < 1 || tm.tm_year > 9999)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("instant of the event is out of range"),
				 errdetail("It must lie in the years 1 to 9999.")));
	snprintf(name, sizeof(name), "event_%04d_%02d", tm.tm_year, tm.tm_mon);
	if (OidIsValid(get_relname_relid(name, schema)))
		return;

	feed_set("lock_timeout", "1s");
	feed_set("DateStyle", "ISO, YMD");
	LockRelationOid(feed_relation("event"), ShareUpdateExclusiveLock);
	if (OidIsValid(get_relname_relid(name, schema)))
		return;
	from = month_text(tm.tm_year, tm.tm_mon);
	to = tm.tm_mon < 12 ? month_text(tm.tm_year, tm.tm_mon + 1) : month_text(tm.tm_year + 1, 1);
	feed_execute(psprintf("CREATE TABLE crm.%s (LIKE crm.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", name),
				 0, NULL, NULL, NULL);
	feed_execute(psprintf("CREATE INDEX ON crm.%s (customer_id, kind, at)", name), 0, NULL, NULL, NULL);
	feed_execute(psprintf("ALTER TABLE crm.event ATTACH PARTITION crm.%s FOR VALUES FROM ('%s') TO ('%s')",
						  name, from, to), 0, NULL, NULL, NULL);
}

/* False for a repeat. */
static bool
store(const TrackedEvent *event)
{
	Oid			types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID, JSONBOID, TEXTOID};
	Datum		values[5];
	FeedRights	rights;
	bool		fresh = true;

	if (event->kind[0] == '\0' || strlen(event->kind) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind of the event must have 1 to %d bytes", NAMEDATALEN - 1),
				 errdetail("This one has %zu.", strlen(event->kind))));
	if (TIMESTAMP_NOT_FINITE(event->at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("instant of the event must be finite")));
	check_properties(event);

	values[0] = Int64GetDatum(event->customer);
	values[1] = CStringGetTextDatum(event->kind);
	values[2] = TimestampTzGetDatum(event->at);
	values[3] = JsonbPGetDatum(event->properties);
	values[4] = event->key != NULL ? PointerGetDatum(event->key) : (Datum) 0;

	SPI_connect();
	feed_enter_extension(&rights);
	register_kind(event->kind);
	if (event->key != NULL)
	{
		Datum		key_values[] = {values[0], values[1], values[4], values[2]};
		Oid			key_types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};

		feed_execute("INSERT INTO crm.event_key (customer_id, kind, event_key, at) VALUES ($1, $2, $3, $4) "
					 "ON CONFLICT (customer_id, kind, event_key) DO NOTHING", 4, key_types, key_values, NULL);
		fresh = SPI_processed > 0;
	}
	if (fresh)
	{
		make_partition(event->at);
		feed_execute("INSERT INTO crm.event (customer_id, kind, at, properties) VALUES ($1, $2, $3, $4)",
					 4, types, values, NULL);
	}
	feed_leave(&rights);
	SPI_finish();
	return fresh;
}

/* Whatever is wrong with the event is said as a warning; only a cancelled or terminated session is not held up. */
static bool
store_or_warn(const TrackedEvent *event, bool *fresh)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool stored = false;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		*fresh = store(event);
		ReleaseCurrentSubTransaction();
		stored = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION ||
			ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
			ReThrowError(error);
		ereport(WARNING,
				(errcode(error->sqlerrcode),
				 errmsg("event was not tracked: %s", error->message),
				 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
				 error->hint != NULL ? errhint("%s", error->hint) : 0));
		FreeErrorData(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return stored;
}

static void
null_argument(const char *name)
{
	ereport(ERROR,
			(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
			 errmsg("argument \"%s\" of track() must not be null", name)));
}

Datum
crm_feed_track(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"customer_id", "kind", "properties", "at", NULL, "on_error"};
	TrackedEvent event;
	char	   *on_error;
	bool		warn;
	bool		fresh = false;

	for (int i = 0; i < (int) lengthof(names); i++)
	{
		if (names[i] != NULL && PG_ARGISNULL(i))
			null_argument(names[i]);
	}
	event.customer = PG_GETARG_INT64(0);
	event.kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	event.properties = PG_GETARG_JSONB_P(2);
	event.at = PG_GETARG_TIMESTAMPTZ(3);
	event.key = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4);
	on_error = text_to_cstring(PG_GETARG_TEXT_PP(5));
	warn = strcmp(on_error, "warn") == 0;
	if (!warn && strcmp(on_error, "error") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized on_error \"%s\"", on_error),
				 errhint("Give 'error' or 'warn'.")));

	if (!warn)
		PG_RETURN_BOOL(store(&event));
	if (!store_or_warn(&event, &fresh))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(fresh);
}

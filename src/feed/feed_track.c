/*
 * feed_track.c
 *		Events that the shop has no table for.
 *
 * crm.event is partitioned by the month of the event (in UTC), so that old ones can be dropped without a scan. The parent
 * carries neither key nor index: each partition is made at run time, is no member of the extension, and has its own. What
 * must be unique, the key by which a repeat is known, therefore has a table of its own.
 *
 * Who makes a partition keeps others from making one until his transaction ends, and that may be a long one of the shop.
 * So the partition of the month to come is made as soon as this month is written to, if it can be had without waiting:
 * when the month begins, it is there.
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
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "base/contain.h"
#include "base/kept_plan.h"
#include "feed/capture.h"
#include "feed/feed_private.h"
#include "profile/profile.h"

PG_FUNCTION_INFO_V1(crm_feed_track);

#define PARTITION_NAME "event_%04d_%02d"
#define MAX_KEY_BYTES 1024		/* with the rest of the index's row well under a third of a page */

typedef struct TrackedEvent
{
	int64		customer;
	char	   *kind;
	Jsonb	   *properties;
	TimestampTz at;
	text	   *key;			/* or NULL */
	const char *missing;		/* an argument that is NULL, and then nothing else is set */
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
	if (strncmp(kind, FEED_ATTRIBUTES, strlen(FEED_ATTRIBUTES)) == 0)
		feed_error_own(kind);
	feed_execute("SELECT tracked, own FROM crm.source WHERE kind = $1", 1, types, values, NULL);
	if (SPI_processed > 0 && DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull)))
		feed_error_own(kind);
	if (SPI_processed == 0)
	{
		FeedImpatience impatience;

		/* Whoever defines feeds in a long transaction is not to hold up the shop. */
		feed_begin_impatience(&impatience);
		feed_execute("INSERT INTO crm.source (kind, tracked, indexed) VALUES ($1, true, true) "
					 "ON CONFLICT (kind) DO NOTHING", 1, types, values, NULL);
		feed_end_impatience(&impatience);
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

static void
make_partition(const char *name, int year, int month)
{
	char	   *from = month_text(year, month);
	char	   *to = month < 12 ? month_text(year, month + 1) : month_text(year + 1, 1);

	feed_execute(psprintf("CREATE TABLE crm.%s (LIKE crm.event INCLUDING DEFAULTS INCLUDING CONSTRAINTS)", name),
				 0, NULL, NULL, NULL);
	feed_execute(psprintf("CREATE INDEX ON crm.%s (customer_id, kind, at)", name), 0, NULL, NULL, NULL);
	feed_execute(psprintf("ALTER TABLE crm.event ATTACH PARTITION crm.%s FOR VALUES FROM ('%s') TO ('%s')",
						  name, from, to), 0, NULL, NULL, NULL);
}

/* Is there the partition of the month? One that was taken out of crm.event, but not away, is in the way. */
static bool
partition_exists(const char *name)
{
	Oid			relid = get_relname_relid(name, get_namespace_oid("crm", false));

	if (!OidIsValid(relid))
		return false;
	if (!get_rel_relispartition(relid))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table crm.%s is not attached to crm.event", name),
				 errdetail("Events of this month would belong there."),
				 errhint("Attach it again, or drop it, or move it to another schema.")));
	return true;
}

/*
 * The partition of the event's month. The lock is the one that ATTACH takes anyway; taken first, it makes others who
 * want the same partition wait and then find it. *year and *month are those of the event.
 */
static void
need_partition(TimestampTz at, int *year, int *month)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		name[NAMEDATALEN];
	FeedImpatience impatience;

	if (timestamp2tm(at, NULL, &tm, &fsec, NULL, NULL) != 0 || tm.tm_year < 1 || tm.tm_year > 9999)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("instant of the event is out of range"),
				 errdetail("It must lie in the years 1 to 9999.")));
	*year = tm.tm_year;
	*month = tm.tm_mon;
	snprintf(name, sizeof(name), PARTITION_NAME, tm.tm_year, tm.tm_mon);
	if (partition_exists(name))
		return;

	feed_begin_impatience(&impatience);
	LockRelationOid(feed_relation("event"), ShareUpdateExclusiveLock);
	if (!partition_exists(name))
		make_partition(name, tm.tm_year, tm.tm_mon);
	feed_end_impatience(&impatience);
}

/* The one of the month to come, if this is an event of the present month. */
static void
prepare_partition(int year, int month)
{
	struct pg_tm tm;
	fsec_t		fsec;
	char		name[NAMEDATALEN];

	if (timestamp2tm(GetCurrentTransactionStartTimestamp(), NULL, &tm, &fsec, NULL, NULL) != 0 ||
		tm.tm_year != year || tm.tm_mon != month || year >= 9999)
		return;
	year += month == 12;
	month = month % 12 + 1;
	snprintf(name, sizeof(name), PARTITION_NAME, year, month);
	if (OidIsValid(get_relname_relid(name, get_namespace_oid("crm", false))) ||
		!ConditionalLockRelationOid(feed_relation("event"), ShareUpdateExclusiveLock))
		return;
	if (!OidIsValid(get_relname_relid(name, get_namespace_oid("crm", false))))
		make_partition(name, year, month);
}

static void
check_event(const TrackedEvent *event)
{
	if (event->missing != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" of track() must not be null", event->missing)));
	if (event->kind[0] == '\0' || strlen(event->kind) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("kind of the event must have 1 to %d bytes", NAMEDATALEN - 1),
				 errdetail("This one has %zu.", strlen(event->kind))));
	if (TIMESTAMP_NOT_FINITE(event->at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("instant of the event must be finite")));
	if (event->key != NULL && VARSIZE_ANY_EXHDR(event->key) > MAX_KEY_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event_key is too long"),
				 errdetail("It has %d bytes, and may have %d.", (int) VARSIZE_ANY_EXHDR(event->key), MAX_KEY_BYTES),
				 errhint("A hash of it serves as well.")));
	check_properties(event);
}

/* Nothing is stored of somebody who was erased. Connected to SPI, as the extension; asked for each event, so the plan is kept. */
static bool
was_erased(int64 customer)
{
	static const char *const sql = "SELECT FROM crm.erased_customer AS e WHERE e.customer_id = $1";
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8OID};
	Datum		values[] = {Int64GetDatum(customer)};

	if (SPI_execute_plan(kept_plan(&kept, sql, 1, types), values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.erased_customer");
	return SPI_processed > 0;
}

/* False for a repeat, and for somebody who was erased. */
static bool
store(const TrackedEvent *event)
{
	Oid			types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID, JSONBOID, TEXTOID};
	Datum		values[5];
	FeedRights	rights;
	bool		fresh = true;

	check_event(event);
	values[0] = Int64GetDatum(event->customer);
	values[1] = CStringGetTextDatum(event->kind);
	values[2] = TimestampTzGetDatum(event->at);
	values[3] = JsonbPGetDatum(event->properties);
	values[4] = event->key != NULL ? PointerGetDatum(event->key) : (Datum) 0;

	SPI_connect();
	feed_enter_extension(&rights);
	register_kind(event->kind);
	fresh = !was_erased(event->customer);
	if (fresh && event->key != NULL)
	{
		Datum		key_values[] = {values[0], values[1], values[4], values[2]};
		Oid			key_types[] = {INT8OID, TEXTOID, TEXTOID, TIMESTAMPTZOID};

		feed_execute("INSERT INTO crm.event_key (customer_id, kind, event_key, at) VALUES ($1, $2, $3, $4) "
					 "ON CONFLICT (customer_id, kind, event_key) DO NOTHING", 4, key_types, key_values, NULL);
		fresh = SPI_processed > 0;
	}
	if (fresh)
	{
		int			year,
					month;

		need_partition(event->at, &year, &month);
		prepare_partition(year, month);
		feed_execute("INSERT INTO crm.event (customer_id, kind, at, properties) VALUES ($1, $2, $3, $4)",
					 4, types, values, NULL);
		capture_customer(event->kind, event->customer);
	}
	feed_leave(&rights);
	SPI_finish();
	return fresh;
}

typedef struct Storing
{
	const TrackedEvent *event;
	bool		fresh;
} Storing;

static void
store_event(void *argument)
{
	Storing    *storing = argument;

	storing->fresh = store(storing->event);
}

/* Whatever is wrong with the event is said as a warning; what is wrong with us is not hidden. */
static bool
store_or_warn(const TrackedEvent *event, bool *fresh)
{
	Storing		storing = {event, false};
	ErrorData  *error = contain(store_event, &storing);

	*fresh = storing.fresh;
	if (error == NULL)
		return true;
	if (ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INTERNAL_ERROR)
		ReThrowError(error);
	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("event was not tracked: %s", error->message),
			 error->detail != NULL ? errdetail_internal("%s", error->detail) : 0,
			 error->hint != NULL ? errhint("%s", error->hint) : 0));
	FreeErrorData(error);
	return false;
}

Datum
crm_feed_track(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"customer_id", "kind", "properties", "at"};
	TrackedEvent event = {0};
	char	   *on_error;
	bool		warn;
	bool		fresh = false;

	if (PG_ARGISNULL(5))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"on_error\" of track() must not be null")));
	on_error = text_to_cstring(PG_GETARG_TEXT_PP(5));
	warn = strcmp(on_error, "warn") == 0;
	if (!warn && strcmp(on_error, "error") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized on_error \"%s\"", on_error),
				 errhint("Give 'error' or 'warn'.")));

	for (int i = 0; i < (int) lengthof(names) && event.missing == NULL; i++)
		event.missing = PG_ARGISNULL(i) ? names[i] : NULL;
	if (event.missing == NULL)
	{
		event.customer = PG_GETARG_INT64(0);
		event.kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
		event.properties = PG_GETARG_JSONB_P(2);
		event.at = PG_GETARG_TIMESTAMPTZ(3);
		event.key = PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4);
	}

	if (!warn)
		PG_RETURN_BOOL(store(&event));
	if (!store_or_warn(&event, &fresh))
		PG_RETURN_NULL();
	PG_RETURN_BOOL(fresh);
}

/*
 * capture_read.c
 *		The change log as a reader sees it: whose facts have changed since he came last.
 *
 * A position is a snapshot. What is visible now and was not visible in it is new, so that a transaction that began first
 * and committed last is seen when it has committed, and nothing is seen twice. The reader's own transaction counts as
 * not seen: what it logs itself is logged at its end.
 *
 * Keys become customers by the feed's own key, by crm.identity, or by the query that was given to crm.watch(). That query
 * is somebody's, runs as its definer, and may fail: then the feed is stale, which costs a refresh and loses nothing.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "base/contain.h"
#include "feed/capture.h"
#include "feed/capture_private.h"
#include "feed/feed_private.h"

#define ROWS_AT_ONCE 5000

typedef struct LogRow
{
	int			watch;
	bool		has_id;
	int64		id;
	ArrayType  *key;			/* or NULL */
} LogRow;

typedef struct Reading
{
	CaptureSink sink;
	void	   *context;
	List	   *watches;		/* of CaptureWatch */
	FeedKey		key;			/* what the shop's customers have */
	bool		everything;		/* all feeds are to be stale */
} Reading;

static int
compare_xids(const void *a, const void *b)
{
	uint64		x = *(const uint64 *) a;
	uint64		y = *(const uint64 *) b;

	return x < y ? -1 : x > y;
}

/* The active snapshot as text, with our own transaction among those that are running. */
static char *
current_position(void)
{
	Snapshot	snapshot = GetActiveSnapshot();
	FullTransactionId next = ReadNextFullTransactionId();
	TransactionId own = GetTopTransactionIdIfAny();
	int			count = (int) snapshot->xcnt;
	uint64	   *running = palloc(sizeof(uint64) * (count + 1));
	StringInfoData text;

#define WIDEN(xid) (U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - (xid)))
	for (int i = 0; i < count; i++)
		running[i] = WIDEN(snapshot->xip[i]);
	if (TransactionIdIsValid(own) && TransactionIdPrecedes(own, snapshot->xmax))
		running[count++] = WIDEN(own);
	qsort(running, count, sizeof(uint64), compare_xids);

	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":", WIDEN(snapshot->xmin), WIDEN(snapshot->xmax));
	for (int i = 0; i < count; i++)
		appendStringInfo(&text, "%s" UINT64_FORMAT, i > 0 ? "," : "", running[i]);
#undef WIDEN
	return text.data;
}

/* The reader's position as text, or NULL if he has none in this cluster. */
static char *
stored_position(const char *consumer)
{
	Oid			types[] = {TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(consumer), Int64GetDatum((int64) GetSystemIdentifier())};
	int			code;

	code = SPI_execute_with_args("SELECT c.position::text, c.system_identifier OPERATOR(pg_catalog.=) $2 "
								 "FROM crm.change_cursor AS c WHERE c.consumer OPERATOR(pg_catalog.=) $1 "
								 "ORDER BY c.turn DESC LIMIT 1", 2, types, values, NULL, true, 1);
	if (code != SPI_OK_SELECT)
		elog(ERROR, "could not read a position: %s", SPI_result_code_string(code));
	if (SPI_processed == 0 || strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2), "t") != 0)
		return NULL;
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

/*
 * A position is a row of its own, and the newest counts. An updated row would leave behind as many dead ones as there
 * were readings while somebody holds an old snapshot, and each reading would go through them; the newest entry of an index
 * is found at once.
 */
static void
store_position(const char *consumer, const char *position)
{
	Oid			types[] = {TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {CStringGetTextDatum(consumer), CStringGetTextDatum(position),
	Int64GetDatum((int64) GetSystemIdentifier())};

	feed_execute("WITH old AS (SELECT c.turn FROM crm.change_cursor AS c WHERE c.consumer = $1 ORDER BY c.turn DESC LIMIT 1), "
				 "gone AS (DELETE FROM crm.change_cursor AS c USING old AS o WHERE c.consumer = $1 AND c.turn = o.turn) "
				 "INSERT INTO crm.change_cursor (consumer, turn, position, system_identifier, read_at) "
				 "SELECT $1, coalesce((SELECT o.turn FROM old AS o), 0) + 1, $2::pg_snapshot, $3, clock_timestamp()",
				 3, types, values, NULL);
}

static bool
lock_consumer(const char *consumer)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId, feed_relation("change_cursor"),
					   (uint16) (hash_bytes((const unsigned char *) consumer, (int) strlen(consumer)) & 0x7fff));
	return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
mark_everything(void)
{
	ListCell   *cell;

	foreach(cell, feed_sources())
	{
		const FeedSource *source = lfirst(cell);

		feed_mark(source->kind, "changes were not captured");
	}
}

/* A customer as the shop's key names him, or as our id does. */
static void
give_key(Reading *reading, const CaptureWatch *watch, bool has_id, int64 id, const char *key)
{
	if (reading->key == FEED_KEY_INTEGER)
	{
		if (has_id)
			reading->sink(reading->context, watch->kind, id);
	}
	else if (feed_identity_of(has_id ? psprintf(INT64_FORMAT, id) : key, &id))
		reading->sink(reading->context, watch->kind, id);
}

static Datum
key_datum(Oid type, bool has_id, int64 id, const char *text)
{
	Oid			input;
	Oid			parameter;

	switch (getBaseType(type))
	{
		case INT8OID:
			return Int64GetDatum(has_id ? id : pg_strtoint64(text));
		case INT4OID:
			return Int32GetDatum(has_id ? (int32) id : pg_strtoint32(text));
		case INT2OID:
			return Int16GetDatum(has_id ? (int16) id : pg_strtoint16(text));
		default:
			getTypeInputInfo(getBaseType(type), &input, &parameter);
			return OidInputFunctionCall(input, unconstify(char *, has_id ? psprintf(INT64_FORMAT, id) : text), parameter, -1);
	}
}

/* What the watch's query gives for some keys: customers' keys, as text or as numbers, in memory of the caller's. */
typedef struct Mapped
{
	int			count;
	int			room;
	bool		numbers;
	int64	   *ids;
	char	  **keys;
} Mapped;

static void
map_rows(CaptureWatch *watch, const LogRow *rows, int nrows, Mapped *mapped, MemoryContext context)
{
	FeedRights	rights;
	SPIPlanPtr	plan;
	int			nkeys = watch->nkeys;
	Datum		values[CAPTURE_MAX_KEYS];
	char		nulls[CAPTURE_MAX_KEYS];

	if (!OidIsValid(watch->role))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("role \"%s\" does not exist", watch->definer)));
	for (int i = 0; i < nkeys; i++)
	{
		if (!OidIsValid(watch->types[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table %s does not exist", watch->keys[i], watch->relation_name)));
	}
	SPI_connect();
	feed_enter(&rights, watch->role, watch->search_path);
	plan = SPI_prepare_cursor(watch->mapping, nkeys, watch->types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "could not prepare a mapping: %s", SPI_result_code_string(SPI_result));
	for (int r = 0; r < nrows; r++)
	{
		Datum	   *parts = NULL;
		bool	   *missing = NULL;
		int			nparts = 1;

		CHECK_FOR_INTERRUPTS();
		if (!rows[r].has_id)
			deconstruct_array(rows[r].key, TEXTOID, -1, false, TYPALIGN_INT, &parts, &missing, &nparts);
		if (nparts != nkeys)
			continue;			/* of a time when the watch was another */
		for (int i = 0; i < nkeys; i++)
		{
			nulls[i] = missing != NULL && missing[i] ? 'n' : ' ';
			values[i] = nulls[i] == 'n' ? (Datum) 0 :
				key_datum(watch->types[i], rows[r].has_id, rows[r].id, parts == NULL ? NULL : TextDatumGetCString(parts[i]));
		}
		if (SPI_execute_plan(plan, values, nulls, true, 0) != SPI_OK_SELECT)
			elog(ERROR, "mapping is no query");
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			TupleDesc	desc = SPI_tuptable->tupdesc;
			bool		isnull;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[i], desc, 1, &isnull);
			Oid			type = getBaseType(SPI_gettypeid(desc, 1));

			if (isnull)
				continue;
			if (mapped->count == mapped->room)
			{
				mapped->room = Max(mapped->room * 2, 256);
				mapped->ids = mapped->ids == NULL ? MemoryContextAlloc(context, sizeof(int64) * mapped->room) :
					repalloc_huge(mapped->ids, sizeof(int64) * (Size) mapped->room);
				mapped->keys = mapped->keys == NULL ? MemoryContextAlloc(context, sizeof(char *) * mapped->room) :
					repalloc_huge(mapped->keys, sizeof(char *) * (Size) mapped->room);
			}
			mapped->numbers = type == INT8OID || type == INT4OID || type == INT2OID;
			if (mapped->numbers)
				mapped->ids[mapped->count++] = type == INT8OID ? DatumGetInt64(value) :
					type == INT4OID ? DatumGetInt32(value) : DatumGetInt16(value);
			else
				mapped->keys[mapped->count++] = MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[i], desc, 1));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	feed_leave(&rights);
	SPI_finish();
}

typedef struct Mapping
{
	CaptureWatch *watch;
	const LogRow *rows;
	int			nrows;
	Mapped		mapped;
	MemoryContext context;
} Mapping;

static void
map_contained(void *argument)
{
	Mapping    *mapping = argument;

	map_rows(mapping->watch, mapping->rows, mapping->nrows, &mapping->mapped, mapping->context);
}

/* Runs the watch's query for some keys; an error of it is its own. */
static void
give_mapped(Reading *reading, CaptureWatch *watch, const LogRow *rows, int nrows)
{
	Mapping		mapping = {.watch = watch, .rows = rows, .nrows = nrows, .context = CurrentMemoryContext};
	const Mapped *mapped = &mapping.mapped;
	ErrorData  *error;

	if (watch->failed)
		return;
	error = contain(map_contained, &mapping);
	if (error != NULL)
	{
		watch->failed = true;
		capture_watch_error(watch->id, error->message);
		feed_mark(watch->kind, "a mapping has failed");
		FreeErrorData(error);
		return;
	}
	for (int i = 0; i < mapped->count; i++)
		give_key(reading, watch, mapped->numbers, mapped->numbers ? mapped->ids[i] : 0, mapped->numbers ? NULL : mapped->keys[i]);
}

/* Rows of one watch. */
static void
give_rows(Reading *reading, const LogRow *rows, int nrows)
{
	CaptureWatch *watch = capture_watch_find(reading->watches, rows[0].watch);

	if (watch == NULL)
		return;					/* not watched any more */
	if (!rows[0].has_id && rows[0].key == NULL)
	{
		feed_mark(watch->kind, "changes were captured as a whole");
		return;
	}
	if (watch->mapping != NULL)
	{
		give_mapped(reading, watch, rows, nrows);
		return;
	}
	for (int r = 0; r < nrows; r++)
	{
		Datum	   *parts;
		bool	   *missing;
		int			nparts;

		if (rows[r].has_id)
		{
			give_key(reading, watch, true, rows[r].id, NULL);
			continue;
		}
		deconstruct_array(rows[r].key, TEXTOID, -1, false, TYPALIGN_INT, &parts, &missing, &nparts);
		if (nparts == 1 && !missing[0])
			give_key(reading, watch, false, 0, TextDatumGetCString(parts[0]));
	}
}

/* A batch of rows, ordered by watch. */
static void
give_batch(Reading *reading, SPITupleTable *table, uint64 count)
{
	TupleDesc	desc = table->tupdesc;
	LogRow	   *rows = palloc(sizeof(LogRow) * count);
	int			nrows = 0;

	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = table->vals[i];
		LogRow	   *row = &rows[nrows];
		bool		isnull;
		Datum		value;

		value = SPI_getbinval(tuple, desc, 1, &isnull);
		if (isnull)
		{
			reading->everything = true;
			continue;
		}
		row->watch = DatumGetInt32(value);
		row->id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		row->has_id = !isnull;
		value = SPI_getbinval(tuple, desc, 3, &isnull);
		row->key = isnull ? NULL : DatumGetArrayTypeP(value);
		if (row->watch == CAPTURE_OWN)
		{
			const char *kind = SPI_getvalue(tuple, desc, 4);

			if (row->has_id)
				reading->sink(reading->context, kind, row->id);
			else if (strcmp(kind, FEED_MERGE) == 0)
				reading->everything = true;
			else
				feed_mark(kind, "changed as a whole");
			continue;
		}
		if (nrows > 0 && rows[nrows - 1].watch != row->watch)
		{
			LogRow		next = *row;

			give_rows(reading, rows, nrows);
			rows[0] = next;
			nrows = 0;
		}
		nrows++;
	}
	if (nrows > 0)
		give_rows(reading, rows, nrows);
	pfree(rows);
}

/* Under the active snapshot. */
static void
read_log(Reading *reading, const char *position, const char *now)
{
	/*
	 * Bounds of the index first; then what was running then, or began since. Stale rows come before keys. Who could not
	 * log stands for one that says: anything.
	 */
	static const char *const sql =
		"SELECT DISTINCT l.watch_id, l.id, l.key, l.kind FROM ("
		"SELECT xid, watch_id, id, key, kind FROM crm.change_log_0 WHERE xid >= pg_snapshot_xmin($1::pg_snapshot) UNION ALL "
		"SELECT xid, watch_id, id, key, kind FROM crm.change_log_1 WHERE xid >= pg_snapshot_xmin($1::pg_snapshot) UNION ALL "
		"SELECT xid, watch_id, id, key, kind FROM crm.change_log_2 WHERE xid >= pg_snapshot_xmin($1::pg_snapshot) UNION ALL "
		"SELECT s.last_value::text::xid8, NULL, NULL, NULL, NULL FROM crm.change_log_lost AS s "
		"WHERE s.is_called AND pg_visible_in_snapshot(s.last_value::text::xid8, $2::pg_snapshot)) AS l "
		"WHERE NOT pg_visible_in_snapshot(l.xid, $1::pg_snapshot) "
		"ORDER BY l.watch_id, l.id NULLS FIRST, l.key NULLS FIRST, l.kind";
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(position), CStringGetTextDatum(now)};
	Portal		portal = SPI_cursor_open_with_args(NULL, sql, 2, types, values, NULL, true, 0);

	for (;;)
	{
		SPITupleTable *table;
		uint64		count;

		SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		table = SPI_tuptable;
		count = SPI_processed;
		if (count == 0)
			break;
		give_batch(reading, table, count);
		SPI_freetuptable(table);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

bool
capture_read(const char *consumer, CaptureSink customer, void *context)
{
	Reading		reading = {.sink = customer, .context = context};
	FeedRights	rights;
	FeedSource *customers;
	char	   *position;
	char	   *now;

	if (!lock_consumer(consumer))
		return false;
	SPI_connect();
	feed_enter_extension(&rights);
	/* by index, always: what the planner takes for a small table may be full of rows that are dead, but not for everybody */
	feed_set("enable_seqscan", "off");
	capture_begin();
	PushActiveSnapshot(GetLatestSnapshot());
	now = current_position();
	position = stored_position(consumer);
	customers = feed_source_find(feed_sources(), FEED_CUSTOMER);
	reading.key = customers == NULL ? FEED_KEY_INTEGER : feed_key_of(customers->key_type);
	reading.watches = capture_watches();
	if (position != NULL)
		read_log(&reading, position, now);
	PopActiveSnapshot();
	if (position == NULL || reading.everything)
		mark_everything();
	if (position == NULL || strcmp(position, now) != 0)
	{
		store_position(consumer, now);
		capture_rotate();
	}
	feed_leave(&rights);
	SPI_finish();
	return true;
}

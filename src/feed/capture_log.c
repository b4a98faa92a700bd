/*
 * capture_log.c
 *		The change log: appending to it before a commit, and making room in it.
 *
 * There are three tables. One is written to, by a pointer that a rotation moves on; one that is written to no more is
 * emptied as soon as everything in it was read; so that the log stays small without a dead row, however long somebody
 * holds an old snapshot. Readers read all three. Where a row lies therefore does not matter to anybody, and a writer who
 * cannot have the lock on one table at once, because somebody just empties it, takes another one instead of waiting: an
 * order never waits for us, and cannot be part of a deadlock.
 *
 * Emptying needs the lock that keeps out all writers, and that is asked for without waiting; then it is known that all
 * rows are of transactions that have ended, and those that are visible at all are compared with the readers' positions.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/xid8.h"

#include "compat.h"
#include "feed/capture_private.h"
#include "feed/feed_private.h"

#define LOGS 3
#define ROWS_AT_ONCE 500

/* Columns of the tables */
#define Anum_log_xid		1
#define Anum_log_watch_id	2
#define Anum_log_id			3
#define Anum_log_key		4
#define Anum_log_kind		5
#define Natts_log			5

/* A table that has grown to so many pages is written to no more. */
#define ROTATE_PAGES 128

/* Where all three are locked by somebody who alters them, so long an order waits for it. */
#define PATIENCE_MS 200

static Oid	logs[LOGS];
static Oid	pointer = InvalidOid;
static Oid	losses = InvalidOid;	/* the sequence that keeps who could not log */
static int	current = -1;		/* the table that is written to; -1 while nobody reads */
static bool known = false;		/* the above are right, as far as we have heard */

/* This backend could not log what a transaction had touched; the next one says so. */
static bool lost = false;

static void
invalidate(Datum argument, Oid relid)
{
	(void) argument;

	if (!OidIsValid(relid) || relid == pointer || relid == logs[0] || relid == logs[1] || relid == logs[2])
		known = false;
}

/* False if the extension is not there (any more). */
static bool
find_logs(void)
{
	static bool registered = false;
	Oid			schema;
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (known)
		return true;
	if (!registered)
	{
		CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
		registered = true;
	}
	schema = get_namespace_oid("crm", true);
	if (!OidIsValid(schema))
		return false;
	for (int i = 0; i < LOGS; i++)
	{
		char		name[NAMEDATALEN];

		snprintf(name, sizeof(name), "change_log_%d", i);
		logs[i] = get_relname_relid(name, schema);
		if (!OidIsValid(logs[i]))
			return false;
	}
	losses = get_relname_relid("change_log_lost", schema);
	pointer = get_relname_relid("change_log_current", schema);
	if (!OidIsValid(pointer) || !ConditionalLockRelationOid(pointer, AccessShareLock))
		return OidIsValid(pointer);
	known = true;				/* what we hear from here on makes it false again */
	rel = try_relation_open(pointer, NoLock);
	if (rel == NULL)
		return known = false;
	/* with the newest snapshot: the transaction's own may be older than the last rotation */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		value = heap_getattr(tuple, 1, RelationGetDescr(rel), &isnull);

		current = isnull ? -1 : DatumGetInt16(value) % LOGS;
	}
	systable_endscan(scan);
	relation_close(rel, AccessShareLock);
	return true;
}

/*
 * Nothing is logged until somebody has begun to read. He who begins waits for those who have found nobody, so that he
 * sees what they have done; if he is at it just now, we log for him.
 */
static bool
is_read_by_anybody(void)
{
	if (current >= 0)
		return true;
	if (!ConditionalLockRelationOid(pointer, AccessShareLock))
	{
		current = 0;
		return true;
	}
	return find_logs() && current >= 0;
}

/* The table to write to, locked; NULL if there is none to be had. */
static Relation
open_log(void)
{
	for (int waited = 0;; waited += 10)
	{
		if (!find_logs() || !is_read_by_anybody())
			return NULL;
		for (int i = 0; i < LOGS; i++)
		{
			Oid			relid = logs[(current + i) % LOGS];
			Relation	rel;

			if (!ConditionalLockRelationOid(relid, RowExclusiveLock))
				continue;
			rel = try_relation_open(relid, NoLock);
			if (rel != NULL)
				return rel;
			UnlockRelationOid(relid, RowExclusiveLock);
		}
		if (waited >= PATIENCE_MS)
		{
			ereport(LOG,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("could not log what a transaction has changed"),
					 errdetail("All tables of the change log are locked."),
					 errhint("Nothing is lost but time: the next tick refreshes all segments.")));
			return NULL;
		}
		pg_usleep(10000L);
		AcceptInvalidationMessages();
		known = false;
	}
}

typedef struct LogWriter
{
	Relation	rel;
	CatalogIndexState indexes;
	TupleTableSlot *slots[ROWS_AT_ONCE];
	int			nslots;			/* that are made */
	int			count;			/* that are filled */
	FullTransactionId xid;
} LogWriter;

static void
flush(LogWriter *writer)
{
	CatalogTuplesMultiInsertWithInfo(writer->rel, writer->slots, writer->count, writer->indexes);
	for (int i = 0; i < writer->count; i++)
		ExecClearTuple(writer->slots[i]);
	writer->count = 0;
}

static void
write_row(LogWriter *writer, const int *watch, const int64 *id, const struct varlena *key, const struct varlena *kind)
{
	TupleTableSlot *slot;
	Datum	   *values;
	bool	   *nulls;

	if (writer->count == ROWS_AT_ONCE)
		flush(writer);
	if (writer->count == writer->nslots)
		writer->slots[writer->nslots++] = MakeSingleTupleTableSlot(RelationGetDescr(writer->rel), &TTSOpsHeapTuple);
	slot = writer->slots[writer->count++];
	values = slot->tts_values;
	nulls = slot->tts_isnull;
	memset(nulls, true, sizeof(bool) * Natts_log);
	values[Anum_log_xid - 1] = FullTransactionIdGetDatum(writer->xid);
	nulls[Anum_log_xid - 1] = false;
	if (watch != NULL)
	{
		values[Anum_log_watch_id - 1] = Int32GetDatum(*watch);
		nulls[Anum_log_watch_id - 1] = false;
	}
	if (id != NULL)
	{
		values[Anum_log_id - 1] = Int64GetDatum(*id);
		nulls[Anum_log_id - 1] = false;
	}
	if (key != NULL)
	{
		values[Anum_log_key - 1] = PointerGetDatum(key);
		nulls[Anum_log_key - 1] = false;
	}
	if (kind != NULL)
	{
		values[Anum_log_kind - 1] = PointerGetDatum(kind);
		nulls[Anum_log_kind - 1] = false;
	}
	ExecStoreVirtualTuple(slot);
}

static bool
is_stale(const CapturedKeys *keys, int watch)
{
	for (int i = 0; i < keys->nstale; i++)
	{
		if (keys->stale[i] == watch)
			return true;
	}
	return false;
}

/*
 * A transaction that cannot log says so by a sequence, which LOCK TABLE cannot lock: its value is the last such transaction.
 * Readers see to it when that has committed. Of two at the same moment one may be overwritten; what their sessions do next
 * tells of it once more.
 */
static void
note_loss(void)
{
	HeapTuple	tuple;
	Oid			owner;
	Oid			userid;
	int			context;

	if (XactReadOnly || !OidIsValid(losses) || !ConditionalLockRelationOid(losses, RowExclusiveLock))
		return;
	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(losses));
	if (!HeapTupleIsValid(tuple))
		return;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	GetUserIdAndSecContext(&userid, &context);
	SetUserIdAndSecContext(owner, context | SECURITY_LOCAL_USERID_CHANGE);
	(void) DirectFunctionCall2(setval_oid, ObjectIdGetDatum(losses),
							   Int64GetDatum((int64) U64FromFullTransactionId(GetTopFullTransactionId())));
	SetUserIdAndSecContext(userid, context);
}

/* Appends what a transaction has touched. Never raises an error for anything that another session does. */
void
capture_append(const CapturedKeys *keys)
{
	LogWriter	writer = {0};
	const int	own = CAPTURE_OWN;

	writer.rel = open_log();
	if (writer.rel == NULL)
	{
		lost = known && current >= 0;	/* without the extension, or a reader, there is nothing to lose */
		if (lost)
			note_loss();
		return;
	}
	writer.indexes = CatalogOpenIndexes(writer.rel);
	writer.xid = GetTopFullTransactionId();
	if (keys->all || lost)
		write_row(&writer, NULL, NULL, NULL, NULL);
	for (int i = 0; i < keys->nstale; i++)
		write_row(&writer, &keys->stale[i], NULL, NULL, NULL);
	for (int i = 0; i < keys->count; i++)
	{
		const CapturedKey *key = &keys->keys[i];

		if (key->watch == CAPTURE_OWN)
			write_row(&writer, &own, &key->id, NULL, key->bytes);
		else if (key->watch == CAPTURE_OWN_STALE)
			write_row(&writer, &own, NULL, NULL, key->bytes);
		else if (keys->nstale == 0 || !is_stale(keys, key->watch))
			write_row(&writer, &key->watch, key->bytes == NULL ? &key->id : NULL, key->bytes, NULL);
	}
	flush(&writer);
	for (int i = 0; i < writer.nslots; i++)
		ExecDropSingleTupleTableSlot(writer.slots[i]);
	CatalogCloseIndexes(writer.indexes);
	table_close(writer.rel, NoLock);	/* the lock stays until the transaction has ended */
	lost = false;
}

static BlockNumber
pages_of(Oid relid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	BlockNumber pages = RelationGetNumberOfBlocks(rel);

	table_close(rel, AccessShareLock);
	return pages;
}

/* Is everything in the table read by all? The caller has locked out its writers. */
static bool
is_read(Oid relid)
{
	char	   *sql = psprintf("SELECT NOT EXISTS (SELECT FROM %s AS l WHERE l.xid >= (SELECT pg_catalog.min(pg_catalog.pg_snapshot_xmin(c.position)) "
							   "FROM crm.change_cursor AS c))",
							   quote_qualified_identifier("crm", get_rel_name(relid)));
	bool		isnull;
	bool		result;

	feed_execute(sql, 0, NULL, NULL, NULL);
	result = SPI_processed == 1 && DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	pfree(sql);
	return result;
}

/* Before the first position is stored: from when we have committed, everything is logged. As the next one. */
void
capture_begin(void)
{
	FeedImpatience impatience;

	known = false;
	if (!find_logs() || current >= 0)
		return;
	feed_begin_impatience(&impatience);
	LockRelationOid(pointer, AccessExclusiveLock);
	feed_end_impatience(&impatience);
	feed_execute("UPDATE crm.change_log_current SET current = 0", 0, NULL, NULL, NULL);
	CacheInvalidateRelcacheByRelid(pointer);
}

PG_FUNCTION_INFO_V1(crm_feed_forget_changes);

Datum
crm_feed_forget_changes(PG_FUNCTION_ARGS)
{
	FeedRights	rights;

	(void) fcinfo;
	feed_forbid_within_query();
	SPI_connect();
	feed_enter_extension(&rights);
	feed_execute("DELETE FROM crm.change_cursor", 0, NULL, NULL, NULL);
	feed_execute("UPDATE crm.change_log_current SET current = NULL", 0, NULL, NULL, NULL);
	for (int i = 0; i < LOGS; i++)
		feed_execute(psprintf("DELETE FROM crm.change_log_%d", i), 0, NULL, NULL, NULL);
	CacheInvalidateRelcacheByRelid(feed_relation("change_log_current"));
	feed_leave(&rights);
	SPI_finish();
	PG_RETURN_VOID();
}

/*
 * Empties what was read, and moves the pointer on when the table that is written to has grown and the next one is empty. To
 * be called by a reader after it has stored its position, as the extension, connected to SPI.
 */
void
capture_rotate(void)
{
	known = false;
	if (!find_logs() || current < 0)
		return;
	for (int i = 1; i < LOGS; i++)
	{
		Oid			relid = logs[(current + i) % LOGS];

		if (pages_of(relid) == 0 || !ConditionalLockRelationOid(relid, AccessExclusiveLock))
			continue;
		if (is_read(relid))
			feed_execute(psprintf("TRUNCATE crm.%s", quote_identifier(get_rel_name(relid))), 0, NULL, NULL, NULL);
	}
	if (pages_of(logs[current]) >= ROTATE_PAGES && pages_of(logs[(current + 1) % LOGS]) == 0)
	{
		Oid			types[] = {INT2OID};
		Datum		values[] = {Int16GetDatum((current + 1) % LOGS)};

		feed_execute("UPDATE crm.change_log_current SET current = $1", 1, types, values, NULL);
		CacheInvalidateRelcacheByRelid(pointer);
	}
}

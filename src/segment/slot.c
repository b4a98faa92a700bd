/*
 * slot.c
 *		The slots' locks, and how far each of them has come.
 *
 * A slot's state is a row that is never updated: a new one is put beside it, and the newest counts. While somebody holds
 * an old snapshot, an updated row would leave a dead version behind each time, and whoever looks for it would go through
 * all of them; the newest entry of an index is found at once, however many older ones there are.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "segment/slot.h"

PG_FUNCTION_INFO_V1(crm_segment_lock_slots);
PG_FUNCTION_INFO_V1(crm_segment_slot);

/* Numbers of the locks on crm.slot, beside 1 to 16 for the slots. */
#define REFRESH_LOCK 100

static bool
take(uint16 number, LOCKMODE mode, bool wait)
{
	LOCKTAG		tag;

	SET_LOCKTAG_OBJECT(tag, MyDatabaseId, RelationRelationId,
					   get_relname_relid("slot", get_namespace_oid("crm", false)), number);
	if (LockAcquire(&tag, mode, false, !wait) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	/* what the one before us has changed in definitions */
	AcceptInvalidationMessages();
	return true;
}

bool
slot_lock(int slot, bool wait)
{
	return take((uint16) (slot + 1), ExclusiveLock, wait);
}

bool
slot_lock_refresh(bool wait)
{
	return take(REFRESH_LOCK, ExclusiveLock, wait);
}

bool
slot_refresh_is_running(void)
{
	return !take(REFRESH_LOCK, ShareLock, false);
}

bool
slot_load(Slot slots[POPULATION_SLOTS])
{
	SPITupleTable *table;
	bool		isnull;

	memset(slots, 0, sizeof(Slot) * POPULATION_SLOTS);
	if (SPI_execute("SELECT s.slot, s.turn, s.position, s.purged, s.watermark FROM crm.slot_now AS s", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.slot");
	table = SPI_tuptable;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	tuple = table->vals[i];
		int			number = DatumGetInt32(SPI_getbinval(tuple, table->tupdesc, 1, &isnull));
		Slot	   *slot;

		if (number < 0 || number >= POPULATION_SLOTS)
			continue;
		slot = &slots[number];
		slot->turn = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 2, &isnull));
		slot->position = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 3, &isnull));
		slot->purged = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 4, &isnull));
		slot->watermark = DatumGetTimestampTz(SPI_getbinval(tuple, table->tupdesc, 5, &isnull));
	}
	return SPI_processed > 0;
}

static void
execute(const char *sql, int nargs, Oid *types, Datum *values)
{
	int			code = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);

	if (code < 0)
		elog(ERROR, "could not store a slot: %s", SPI_result_code_string(code));
}

void
slot_store(int number, const Slot *slot)
{
	Oid			types[] = {INT4OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID};
	Datum		values[] = {
		Int32GetDatum(number), Int64GetDatum(slot->turn), Int64GetDatum(slot->position), Int64GetDatum(slot->purged),
		TimestampTzGetDatum(slot->watermark)
	};

	execute("DELETE FROM crm.slot WHERE slot OPERATOR(pg_catalog.=) $1 AND turn OPERATOR(pg_catalog.=) $2", 2, types, values);
	values[1] = Int64GetDatum(slot->turn + 1);
	execute("INSERT INTO crm.slot (slot, turn, position, purged, watermark) VALUES ($1, $2, $3, $4, $5)", 5, types, values);
}

void
slot_begin(void)
{
	execute("INSERT INTO crm.slot (slot, turn, position, purged, watermark) "
			"SELECT g, 1, 0, 0, '-infinity' FROM pg_catalog.generate_series(0, 15) AS g", 0, NULL, NULL);
}

Datum
crm_segment_lock_slots(PG_FUNCTION_ARGS)
{
	(void) fcinfo;

	for (int slot = 0; slot < POPULATION_SLOTS; slot++)
		(void) slot_lock(slot, true);
	PG_RETURN_VOID();
}

Datum
crm_segment_slot(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(population_slot(PG_GETARG_INT64(0)));
}

/*
 * refresh.c
 *		refresh_segments(): all segments of all customers in one pass over the feeds, then one difference.
 *
 * The facts are read, and customers evaluated, under one snapshot and without keeping anybody from anything. What differs
 * is gathered, and stored slot by slot under the slots' locks. A customer whom a tick has looked at in the meantime, with
 * facts that are newer than ours, is left out, and given to the next tick: so nothing newer is overwritten.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compare.h"
#include "customer/contact.h"
#include "customer/identity.h"
#include "feed/capture.h"
#include "feed/feed.h"
#include "segment/listener.h"
#include "segment/refresh.h"

PG_FUNCTION_INFO_V1(crm_segment_refresh);

/* A slot that others have written to, once we have its lock. */
typedef struct LockedSlot
{
	bool		locked;
	Slot		now;
	int			ntouched;
	int64	   *touched;		/* customers, ascending */
} LockedSlot;

typedef struct Refresh
{
	Renewal		renewal;
	Slot		slots[POPULATION_SLOTS];	/* under the snapshot of the facts */
	LockedSlot	locked[POPULATION_SLOTS];
	MemoryContext gathered;
	List	   *found[POPULATION_SLOTS];	/* of Renewed, in the context above */
	MembershipWriter *writer;
	uint64		changes;
	TimestampTz told;
	uint64		done;
	int			nmerged;
	int64	   *merged;			/* customers who were merged since the last refresh, and into whom, ascending */
} Refresh;

/* Locks a slot, and looks at what has happened in it since our snapshot. */
static LockedSlot *
lock_slot(Refresh *refresh, int number)
{
	LockedSlot *slot = &refresh->locked[number];
	Slot		now[POPULATION_SLOTS];
	Oid			types[] = {INT4OID, INT8OID};
	Datum		values[] = {Int32GetDatum(number), Int64GetDatum(refresh->slots[number].position)};
	bool		isnull;

	if (slot->locked)
		return slot;
	(void) slot_lock(number, true);
	slot->locked = true;
	if (!refresh->renewal.live)
		return slot;
	PushActiveSnapshot(GetLatestSnapshot());
	(void) slot_load(now);
	slot->now = now[number];
	if (SPI_execute_with_args("SELECT DISTINCT customer_id FROM crm.pending "
							  "WHERE slot OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.>) $2",
							  2, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.pending");
	slot->touched = MemoryContextAllocHuge(TopTransactionContext, sizeof(int64) * Max(SPI_processed, 1));
	slot->ntouched = (int) SPI_processed;
	for (uint64 i = 0; i < SPI_processed; i++)
		slot->touched[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
	PopActiveSnapshot();
	qsort(slot->touched, slot->ntouched, sizeof(int64), int64_compare);
	return slot;
}

/* Has a tick been at the customer, with facts or at an instant that are newer than ours? */
static bool
is_newer(const Refresh *refresh, const LockedSlot *slot, const Renewed *renewed)
{
	TimestampTz watermark = slot->now.watermark;

	if (!refresh->renewal.live)
		return false;
	/* those of one instant are worked off in parts, while the watermark stays just before it */
	return bsearch(&renewed->customer, slot->touched, slot->ntouched, sizeof(int64), int64_compare) != NULL ||
		renewed->after.due <= watermark || (renewed->before.stored && renewed->before.due <= watermark + 1);
}

/* Stores what was gathered. */
static void
store(Refresh *refresh)
{
	for (int number = 0; number < POPULATION_SLOTS; number++)
	{
		ListCell   *cell;

		if (refresh->found[number] == NIL)
			continue;
		foreach(cell, refresh->found[number])
		{
			const Renewed *renewed = lfirst(cell);

			if (is_newer(refresh, lock_slot(refresh, number), renewed))
				capture_customer(NULL, renewed->customer);
			else
				renewal_write(&refresh->renewal, refresh->writer, renewed);
			if ((foreach_current_index(cell) & 0x3ff) == 0)
				CHECK_FOR_INTERRUPTS();
		}
		refresh->found[number] = NIL;
	}
	membership_flush(refresh->writer);
	MemoryContextReset(refresh->gathered);
}

/*
 * Who was merged, or is no more, since the oldest evaluation of a segment. A merge is of the instant at which its
 * transaction began, and may have come to light later: then the alias still has what was stored of him.
 */
static void
load_merged(Refresh *refresh, TimestampTz since)
{
	Oid			types[] = {TIMESTAMPTZOID};
	Datum		values[] = {TimestampTzGetDatum(since)};
	bool		isnull;

	if (SPI_execute_with_args("SELECT l.alias FROM crm.merge_log AS l WHERE l.at OPERATOR(pg_catalog.>=) $1 UNION "
							  "SELECT l.customer_id FROM crm.merge_log AS l WHERE l.at OPERATOR(pg_catalog.>=) $1 UNION "
							  "SELECT u.id FROM crm.alias AS a JOIN crm.membership AS m ON m.customer_id OPERATOR(pg_catalog.=) a.alias "
							  "CROSS JOIN LATERAL (VALUES (a.alias), (a.customer_id)) AS u (id) "
							  "WHERE pg_catalog.cardinality(m.segments) OPERATOR(pg_catalog.>) 0 ORDER BY 1",
							  1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.merge_log");
	refresh->nmerged = (int) SPI_processed;
	refresh->merged = palloc_extended(sizeof(int64) * (Size) Max(SPI_processed, 1), MCXT_ALLOC_HUGE);
	for (uint64 i = 0; i < SPI_processed; i++)
		refresh->merged[i] = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_freetuptable(SPI_tuptable);
}

static bool
was_merged(void *context, int64 customer)
{
	const Refresh *refresh = context;

	return refresh->nmerged > 0 &&
		bsearch(&customer, refresh->merged, refresh->nmerged, sizeof(int64), int64_compare) != NULL;
}

static void
tell_progress(Refresh *refresh, int customers)
{
	TimestampTz now = GetCurrentTimestamp();

	refresh->done += customers;
	if (TimestampDifferenceExceeds(refresh->told, now, 5000))
	{
		refresh->told = now;
		ereport(NOTICE,
				(errmsg("evaluated " UINT64_FORMAT " customers, " UINT64_FORMAT " changes so far", refresh->done,
						refresh->changes)));
	}
}

static void
refresh_slice(void *context, const PopulationSlice *slice)
{
	Refresh    *refresh = context;
	MemoryContext old = MemoryContextSwitchTo(refresh->gathered);
	List	   *found = renewal_evaluate(&refresh->renewal, slice, NULL, NULL);
	ListCell   *cell;

	foreach(cell, found)
	{
		Renewed    *renewed = lfirst(cell);
		int			number = population_slot(renewed->customer);

		refresh->found[number] = lappend(refresh->found[number], renewed);
		refresh->changes += renewed->nchanges;
	}
	MemoryContextSwitchTo(old);
	if (MemoryContextMemAllocated(refresh->gathered, true) > (Size) maintenance_work_mem * 1024 / 4)
		store(refresh);
	tell_progress(refresh, slice->count);
}

static void
report(const Population *population)
{
	if (population->strangers > 0)
		ereport(NOTICE,
				(errmsg(UINT64_FORMAT " events belong to nobody in the population", population->strangers),
				 errdetail("Their customer_id is neither in the customers' feed nor in crm.identity.")));
	if (population->passed_over > 0)
		ereport(NOTICE,
				(errmsg(UINT64_FORMAT " rows of the feeds were passed over", population->passed_over),
				 errdetail("They have no customer or no time, or an infinite one.")));
	if (population->duplicates > 0)
		ereport(WARNING,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("the customers' feed has " UINT64_FORMAT " rows for customers it has named before",
						population->duplicates),
				 errdetail("For such a customer the row with the lesser attributes counts."),
				 errhint("Define the customers' feed so that each customer has one row.")));
}

/* The marks of stale feeds under the active snapshot: texts of kind and ctid. */
static List *
load_marks(MemoryContext context)
{
	List	   *marks = NIL;
	List	   *feeds = feed_load();

	if (SPI_execute("SELECT kind, ctid::pg_catalog.text FROM crm.source WHERE stale_reason IS NOT NULL AND NOT released", true,
					0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.source");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(context);
		const Feed *feed = feed_find(feeds, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1));

		for (int column = 1; (feed == NULL || !feed->stale) && column <= 2; column++)
			marks = lappend(marks, SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, column));
		MemoryContextSwitchTo(old);
	}
	return marks;
}

/* Takes them back, save those that were set anew while we read: of what they tell we may have seen nothing. */
static void
clear_marks(List *marks)
{
	for (int i = 0; i + 1 < list_length(marks); i += 2)
	{
		Oid			types[] = {TEXTOID, TEXTOID};
		Datum		values[] = {CStringGetTextDatum(list_nth(marks, i)), CStringGetTextDatum(list_nth(marks, i + 1))};

		if (SPI_execute_with_args("UPDATE crm.source SET stale_reason = NULL WHERE kind OPERATOR(pg_catalog.=) $1 "
								  "AND ctid OPERATOR(pg_catalog.=) $2::pg_catalog.tid AND NOT released",
								  2, types, values, NULL, false, 0) != SPI_OK_UPDATE)
			elog(ERROR, "could not update crm.source");
	}
}

/* Nobody knows whose facts have changed: whoever wants to hear of anybody is to look. */
static void
tell_interested(void)
{
	if (SPI_execute("INSERT INTO crm.heard (customer_id) SELECT i.customer_id FROM crm.interest AS i", false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not store who is to be looked at");
}

/*
 * Tells listeners of whom the feed has said something new; of everybody, if changes of addresses and consents were not known
 * customer by customer. Those who have moved are told where that is written.
 */
static void
tell_contacts(List *marks, Datum identities)
{
	bool		everybody = false;

	for (int i = 0; i + 1 < list_length(marks); i += 2)
		everybody |= strcmp(list_nth(marks, i), CONTACT_FEED) == 0;
	if (everybody)
		listeners_tell((Datum) 0);
	else if (identities != (Datum) 0)
		listeners_tell(identities);
}

void
refresh_check_isolation(const char *what)
{
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("segments cannot be %s in a repeatable read or serializable transaction", what),
				 errhint("Use the isolation level READ COMMITTED.")));
}

bool
refresh_readable(const SegmentProgram *segments, bool **unreadable, bool **left_alone)
{
	const Program *program = segments->program;
	List	   *feeds = (List *) feed_load();
	const Feed *customers = feed_find(feeds, FEED_CUSTOMER);

	*unreadable = palloc0(sizeof(bool) * Max(program->nkinds, 1));
	*left_alone = palloc0(sizeof(bool) * Max(segments->ndynamic, 1));
	for (int k = 0; k < program->nkinds; k++)
	{
		const Feed *feed = feed_find(feeds, program->kinds[k].name);

		(*unreadable)[k] = feed != NULL && feed->stale;
		for (int d = 0; d < segments->ndynamic; d++)
			(*left_alone)[d] |= (*unreadable)[k] && segments->names[d][k];
	}
	return customers == NULL || !customers->stale;
}

/* The segments that were not left alone are of this instant now. */
static void
store_instant(const Refresh *refresh)
{
	const SegmentProgram *segments = refresh->renewal.segments;
	Datum	   *ids = palloc(sizeof(Datum) * Max(segments->ndynamic, 1));
	int			count = 0;
	Oid			types[] = {TIMESTAMPTZOID, INT4ARRAYOID};
	Datum		values[2];

	for (int d = 0; d < segments->ndynamic; d++)
	{
		if (refresh->renewal.left_alone == NULL || !refresh->renewal.left_alone[d])
			ids[count++] = Int32GetDatum(segments->dynamic[d]->id);
	}
	values[0] = TimestampTzGetDatum(refresh->renewal.at);
	values[1] = PointerGetDatum(construct_array(ids, count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	if (SPI_execute_with_args("UPDATE crm.segment SET evaluated_at = $1, stale = false "
							  "WHERE segment_id OPERATOR(pg_catalog.=) ANY ($2)", 2, types, values,
							  NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the instant of a refresh");
	CacheInvalidateRelcacheByRelid(get_relname_relid("segment", get_namespace_oid("crm", false)));
}

void
refresh_segments(TimestampTz at, bool mend, RefreshResult *result)
{
	Refresh    *refresh = palloc0(sizeof(Refresh));
	PopulationRequest request = {0};
	SegmentProgram *segments;
	MemoryContext context = CurrentMemoryContext;
	bool	   *unreadable = NULL;
	bool	   *left_alone = NULL;
	List	   *marks;
	Datum		identities;
	Oid			crm = get_namespace_oid("crm", false);

	refresh_check_isolation("refreshed");

	/* Edits wait for us, and we for them; so the definitions stay as they are. A tick does neither. */
	LockRelationOid(get_relname_relid("segment", crm), RowExclusiveLock);
	(void) slot_lock_refresh(true);
	feed_refresh_identities();
	CommandCounterIncrement();

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	identities = identity_sync(NULL);
	PushActiveSnapshot(GetLatestSnapshot());
	segments = segment_program_load();
	if (mend)
		(void) refresh_readable(segments, &unreadable, &left_alone);
	/* a tick waits for nobody, and another one may have been later and quicker: it never goes back behind what is stored */
	for (int d = 0; mend && d < segments->ndynamic; d++)
	{
		if (segments->dynamic[d]->evaluated)
			at = Max(at, segments->dynamic[d]->evaluated_at);
	}
	request.from = at;
	for (int d = 0; d < segments->ndynamic; d++)
	{
		const Segment *segment = segments->dynamic[d];

		if (segment->evaluated && segment->evaluated_at > at)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("segment \"%s\" was refreshed at a later instant already", segment->name),
					 errdetail("It stands at %s.", timestamptz_to_str(segment->evaluated_at)),
					 errhint("crm.matching() and crm.segment_size() tell what was at an earlier instant.")));
		/* what has changed since then is asked of every instant between */
		if (segment->evaluated && segment->evaluated_at < request.from)
			request.from = segment->evaluated_at;
	}
	request.from = Min(request.from, occurrences_since(segments, at));
	marks = load_marks(context);
	refresh->renewal.segments = segments;
	refresh->renewal.evaluation = evaluation_create(segments->program, calendar_zone(clock_timezone()));
	refresh->renewal.at = at;
	refresh->renewal.from = request.from;
	refresh->renewal.live = slot_load(refresh->slots);
	refresh->renewal.slots = refresh->slots;
	refresh->renewal.left_alone = left_alone;
	load_merged(refresh, request.from);
	refresh->renewal.is_merged = was_merged;
	refresh->renewal.merged_context = refresh;
	refresh->gathered = AllocSetContextCreate(CurrentMemoryContext, "what a refresh has found", ALLOCSET_DEFAULT_SIZES);
	refresh->told = GetCurrentTimestamp();
	refresh->writer = membership_writer_create();

	request.evaluation = refresh->renewal.evaluation;
	request.program = segments->program;
	request.memberships = true;
	request.deadlines = refresh->renewal.live;
	request.statics = segments->nstatic > 0;
	request.unreadable = unreadable;
	population_scan(&request, refresh_slice, refresh, &result->population);
	store(refresh);
	for (int number = 0; refresh->renewal.live && number < POPULATION_SLOTS; number++)
	{
		Slot		slot = lock_slot(refresh, number)->now;

		if (slot.watermark < at)
		{
			slot.watermark = at;
			slot_store(number, &slot);
		}
	}
	PopActiveSnapshot();

	store_instant(refresh);
	if (marks != NIL && refresh->renewal.live)
		tell_interested();
	clear_marks(marks);
	tell_contacts(marks, identities);
	if (result->population.duplicates > 0)
		feed_mark(FEED_CUSTOMER, FEED_DUPLICATES);
	SPI_finish();
	report(&result->population);
	result->entered = refresh->renewal.entered;
	result->left = refresh->renewal.left;
	MemoryContextSwitchTo(context);
}

Datum
crm_segment_refresh(PG_FUNCTION_ARGS)
{
	RefreshResult result = {0};
	TimestampTz at;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the instant of a refresh must not be null")));
	at = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instant of a refresh must be finite")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	refresh_segments(at, false, &result);
	values[0] = Int64GetDatum((int64) result.population.customers);
	values[1] = Int64GetDatum((int64) result.entered);
	values[2] = Int64GetDatum((int64) result.left);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

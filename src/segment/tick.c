/*
 * tick.c
 *		crm.tick(): customers whom a change has touched, and those whose deadline has come, are evaluated anew.
 *
 * One batch: what the change log has is put beside the customers' slots (the routing, which one tick at a time does); of
 * the slots that nobody else works on, those customers are taken who wait there, the touched ones first, so that a wave
 * of deadlines, as at midnight, does not hold up who has just bought; their facts are read by index, once for all
 * segments; and what differs is stored. All of it in the caller's transaction.
 *
 * A touched customer is asked only for the segments that name what was touched. When one of these is the segment whose
 * deadline is stored, he is asked for all, because the next deadline may be any one's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "customer/contact.h"
#include "customer/identity.h"
#include "feed/capture.h"
#include "feed/feed.h"
#include "segment/listener.h"
#include "segment/refresh.h"
#include "segment/renewal.h"
#include "segment/slot.h"
#include "segment/tick_private.h"

PG_FUNCTION_INFO_V1(crm_segment_tick);

/* Kinds of the program are bits of a set; these two stand before them. */
#define TOUCHED_ALL 0			/* anything */
#define TOUCHED_CUSTOMER 1		/* attributes */
#define TOUCHED_KIND 2			/* and up */

/* What customers touched alike are asked for. */
typedef struct Asking
{
	Bitmapset  *touched;
	bool	   *wanted;			/* by number of dynamic segment; NULL for all */
} Asking;

typedef struct TickCustomer
{
	int64		customer;		/* first, for the hash table */
	Bitmapset  *touched;
	bool		merged;
	bool		described;		/* his row of the customers' feed was touched */
	bool		contacted;		/* his addresses, his consents or who he is */
	const Asking *asking;
} TickCustomer;

typedef struct Tick
{
	TimestampTz at;
	int			max;
	SegmentProgram *segments;
	bool	   *left_alone;
	Slot		slots[POPULATION_SLOTS];
	bool		mine[POPULATION_SLOTS];
	Slot		after[POPULATION_SLOTS];
	HTAB	   *customers;		/* TickCustomer */
	List	   *askings;
	Renewal		renewal;
	MembershipWriter *writer;
	uint64		nheard;			/* who was touched by whatever kind */
	int64	   *heard;
	uint64		routed;
	uint64		touched;
	uint64		due;
	bool		more;
} Tick;

/* Is there anything that only a refresh of all customers puts right, and does? */
static bool
needs_refresh(void)
{
	const SegmentProgram *segments = tick_segments();
	bool	   *unreadable;
	bool	   *left_alone;

	if (!refresh_readable(segments, &unreadable, &left_alone))
		return false;
	for (int d = 0; d < segments->ndynamic; d++)
	{
		if (!left_alone[d] && (!segments->dynamic[d]->evaluated || segments->dynamic[d]->stale))
			return true;
	}
	return feed_needs_refresh();
}

/* Bits of the kind that was touched, as the program knows it; NULL when no segment asks for it. */
static int
bit_of(const Tick *tick, const char *kind)
{
	const Program *program = tick->segments->program;

	if (kind == NULL || strcmp(kind, FEED_MERGE) == 0)
		return TOUCHED_ALL;
	if (strncmp(kind, FEED_CUSTOMER, strlen(FEED_CUSTOMER)) == 0)
		return TOUCHED_CUSTOMER;
	for (int k = 0; k < program->nkinds; k++)
	{
		if (strcmp(program->kinds[k].name, kind) == 0)
			return TOUCHED_KIND + k;
	}
	return -1;
}

static TickCustomer *
add_customer(Tick *tick, int64 customer, int bit)
{
	bool		found;
	TickCustomer *entry = hash_search(tick->customers, &customer, HASH_ENTER, &found);

	if (!found)
	{
		entry->touched = NULL;
		entry->merged = false;
		entry->described = false;
		entry->contacted = false;
		entry->asking = NULL;
	}
	entry->touched = bms_add_member(entry->touched, bit);
	return entry;
}

/* Those of a slot who were touched, as many as there is room for. */
static void
take_pending(Tick *tick, int number, int room)
{
	Oid			types[] = {INT4OID, INT8OID, INT4OID};
	Datum		values[] = {Int32GetDatum(number), Int64GetDatum(tick->slots[number].position), Int32GetDatum(room)};
	uint64		count = tick_execute("SELECT seq, customer_id, kind FROM crm.pending WHERE slot OPERATOR(pg_catalog.=) $1 "
								"AND seq OPERATOR(pg_catalog.>) $2 ORDER BY seq LIMIT $3", 3, types, values, true);

	tick->heard = tick->heard == NULL ? palloc_extended(sizeof(int64) * Max(count, 1), MCXT_ALLOC_HUGE) :
		repalloc_huge(tick->heard, sizeof(int64) * (tick->nheard + Max(count, 1)));
	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		bool		isnull;
		const char *kind = SPI_getvalue(tuple, desc, 3);
		int			bit = bit_of(tick, kind);

		tick->after[number].position = DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull));
		tick->heard[tick->nheard++] = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
		if (bit >= 0)
		{
			TickCustomer *entry = add_customer(tick, DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull)), bit);

			entry->described |= kind == NULL || strcmp(kind, FEED_CUSTOMER) == 0;
			entry->merged |= kind != NULL && strcmp(kind, FEED_MERGE) == 0;
			entry->contacted |= kind == NULL || strcmp(kind, CONTACT_FEED) == 0 || strcmp(kind, FEED_MERGE) == 0;
		}
	}
	tick->touched += count;
	tick->more |= count == (uint64) room;
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Those of a slot whose deadline has come, in order. A midnight may be the deadline of very many: when some of one instant
 * have to wait for the next batch, the watermark stays just before it; the others have another deadline by then.
 */
static void
take_due(Tick *tick, int number, int room)
{
	TimestampTz watermark = tick->slots[number].watermark;
	Oid			types[] = {INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID};
	Datum		values[] = {Int32GetDatum(number), TimestampTzGetDatum(watermark), TimestampTzGetDatum(tick->at),
	Int32GetDatum(room)};
	uint64		count;
	bool		isnull;

	if (watermark >= tick->at)
		return;
	count = tick_execute("SELECT customer_id, due FROM crm.deadline WHERE slot OPERATOR(pg_catalog.=) $1 "
					"AND due OPERATOR(pg_catalog.>) $2 AND due OPERATOR(pg_catalog.<=) $3 "
					"ORDER BY due LIMIT $4", 4, types, values, true);
	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;

		(void) add_customer(tick, DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull)), TOUCHED_ALL);
		watermark = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 2, &isnull));
	}
	tick->due += count;
	tick->after[number].watermark = count < (uint64) room ? tick->at : Max(tick->slots[number].watermark, watermark - 1);
	tick->more |= count >= (uint64) room;
	SPI_freetuptable(SPI_tuptable);
}

/* Locks the slots that have something to do and that nobody else has; each slot's state is then the newest. */
static void
lock_slots(Tick *tick)
{
	Oid			types[] = {TIMESTAMPTZOID};
	Datum		values[] = {TimestampTzGetDatum(tick->at)};
	uint64		count;
	bool		isnull;

	count = tick_execute("SELECT s.slot FROM crm.slot_now AS s "
					"WHERE EXISTS (SELECT FROM crm.pending AS p "
					"WHERE p.slot OPERATOR(pg_catalog.=) s.slot AND p.seq OPERATOR(pg_catalog.>) s.position) "
					"OR EXISTS (SELECT FROM crm.deadline AS d WHERE d.slot OPERATOR(pg_catalog.=) s.slot "
					"AND d.due OPERATOR(pg_catalog.>) s.watermark AND d.due OPERATOR(pg_catalog.<=) $1) ORDER BY s.slot",
					1, types, values, false);
	for (uint64 i = 0; i < count; i++)
	{
		int			number = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull));

		if (slot_lock(number, false))
			tick->mine[number] = true;
		else
			tick->more = true;
	}
	SPI_freetuptable(SPI_tuptable);
}

/* Fills the batch: the touched ones of all slots first. */
static void
take_customers(Tick *tick)
{
	int			first = (int) (tick->slots[0].turn % POPULATION_SLOTS);
	HASHCTL		control = {.keysize = sizeof(int64), .entrysize = sizeof(TickCustomer), .hcxt = CurrentMemoryContext};

	tick->customers = hash_create("customers of a tick", 1024, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int deadlines = 0; deadlines < 2; deadlines++)
	{
		/* by turns, so that no slot has to wait for another one's wave */
		for (int i = 0; i < POPULATION_SLOTS; i++)
		{
			int			number = (first + i) % POPULATION_SLOTS;
			int			room = tick->max - (int) Min(tick->touched + tick->due, (uint64) tick->max);

			if (!tick->mine[number])
				continue;
			if (deadlines == 0 && room > 0)
				take_pending(tick, number, room);
			else if (deadlines == 1)
				take_due(tick, number, Max(room, tick->max / 64 + 1));
			else
				tick->more = true;
		}
	}
}

static const Asking *
asking_for(Tick *tick, Bitmapset *touched)
{
	const SegmentProgram *segments = tick->segments;
	ListCell   *cell;
	Asking	   *asking;

	foreach(cell, tick->askings)
	{
		asking = lfirst(cell);
		if (bms_equal(asking->touched, touched))
			return asking;
	}
	asking = palloc0(sizeof(Asking));
	asking->touched = touched;
	if (!bms_is_member(TOUCHED_ALL, touched) && !bms_is_member(TOUCHED_CUSTOMER, touched))
	{
		asking->wanted = palloc0(sizeof(bool) * Max(segments->ndynamic, 1));
		for (int d = 0; d < segments->ndynamic; d++)
		{
			for (int k = 0; k < segments->program->nkinds; k++)
				asking->wanted[d] |= segments->names[d][k] && bms_is_member(TOUCHED_KIND + k, touched);
		}
	}
	tick->askings = lappend(tick->askings, asking);
	return asking;
}

static int
number_of_segment(const SegmentProgram *segments, int32 id)
{
	for (int d = 0; d < segments->ndynamic; d++)
	{
		if (segments->dynamic[d]->id == id)
			return d;
	}
	return -1;
}

/* Who is asked for what, by what was touched and by whose deadline is stored. */
static void
decide_askings(Tick *tick, const FeedCustomers *customers)
{
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {feed_id_array(customers->count, customers->ids)};
	const Asking *all = asking_for(tick, bms_make_singleton(TOUCHED_ALL));
	uint64		count;
	bool		isnull;

	for (int i = 0; i < customers->count; i++)
	{
		TickCustomer *entry = hash_search(tick->customers, &customers->ids[i], HASH_FIND, NULL);

		entry->asking = asking_for(tick, entry->touched);
	}
	count = tick_execute("SELECT customer_id, segment_id FROM crm.deadline WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1)",
					1, types, values, true);
	for (uint64 i = 0; i < count; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];
		int64		customer = DatumGetInt64(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 1, &isnull));
		int			d = number_of_segment(tick->segments,
										  DatumGetInt32(SPI_getbinval(tuple, SPI_tuptable->tupdesc, 2, &isnull)));
		TickCustomer *entry = hash_search(tick->customers, &customer, HASH_FIND, NULL);

		if (entry != NULL && entry->asking->wanted != NULL && (d < 0 || entry->asking->wanted[d]))
			entry->asking = all;
	}
	SPI_freetuptable(SPI_tuptable);
}

static const bool *
wanted_of(void *context, int64 customer)
{
	const Tick *tick = context;
	const TickCustomer *entry = hash_search(tick->customers, &customer, HASH_FIND, NULL);

	return entry == NULL ? NULL : entry->asking->wanted;
}

static bool
was_merged(void *context, int64 customer)
{
	const Tick *tick = context;
	const TickCustomer *entry = hash_search(tick->customers, &customer, HASH_FIND, NULL);

	return entry != NULL && entry->merged;
}

static void
renew_slice(void *context, const PopulationSlice *slice)
{
	Tick	   *tick = context;
	ListCell   *cell;

	foreach(cell, renewal_evaluate(&tick->renewal, slice, wanted_of, tick))
		renewal_write(&tick->renewal, tick->writer, lfirst(cell));
}

/* The kinds that somebody is asked for. */
static bool *
kinds_of(const Tick *tick, const FeedCustomers *customers)
{
	const SegmentProgram *segments = tick->segments;
	bool	   *kinds = palloc0(sizeof(bool) * Max(segments->program->nkinds, 1));
	ListCell   *cell;

	foreach(cell, tick->askings)
	{
		const Asking *asking = lfirst(cell);
		bool		used = false;

		for (int i = 0; i < customers->count && !used; i++)
		{
			const TickCustomer *entry = hash_search(tick->customers, &customers->ids[i], HASH_FIND, NULL);

			used = entry->asking == asking;
		}
		for (int d = 0; used && d < segments->ndynamic; d++)
		{
			for (int k = 0; (asking->wanted == NULL || asking->wanted[d]) && k < segments->program->nkinds; k++)
				kinds[k] |= segments->names[d][k];
		}
	}
	return kinds;
}

/* Reads, evaluates and writes the customers of the batch. */
static void
renew_customers(Tick *tick)
{
	int			count = (int) hash_get_num_entries(tick->customers);
	int64	   *ids = palloc(sizeof(int64) * Max(count, 1));
	const FeedCustomers *customers;
	PopulationRequest request = {0};
	Population	population;
	HASH_SEQ_STATUS status;
	TickCustomer *entry;
	bool	   *unreadable;
	TimestampTz oldest = tick->at;
	int			n = 0;

	if (count == 0)
		return;
	hash_seq_init(&status, tick->customers);
	while ((entry = hash_seq_search(&status)) != NULL)
		ids[n++] = entry->customer;
	customers = feed_customers(count, ids);
	decide_askings(tick, customers);
	(void) refresh_readable(tick->segments, &unreadable, &tick->left_alone);

	request.from = tick->at;
	for (int d = 0; d < tick->segments->ndynamic; d++)
	{
		const Segment *segment = tick->segments->dynamic[d];

		/* the first evaluation is a refresh's */
		if (!segment->evaluated)
			tick->left_alone[d] = true;
		else
			request.from = Min(request.from, segment->evaluated_at);
	}
	/* what is stored was right at the slots' watermarks: no need to look farther back than to the oldest */
	for (int number = 0; number < POPULATION_SLOTS; number++)
	{
		if (tick->mine[number])
			oldest = Min(oldest, tick->slots[number].watermark);
	}
	request.from = Min(Max(request.from, oldest), occurrences_since(tick->segments, tick->at));

	tick->renewal.segments = tick->segments;
	tick->renewal.evaluation = evaluation_create(tick->segments->program, calendar_zone(clock_timezone()));
	tick->renewal.at = tick->at;
	tick->renewal.from = request.from;
	tick->renewal.live = true;
	tick->renewal.slots = tick->slots;
	tick->renewal.left_alone = tick->left_alone;
	tick->renewal.is_merged = was_merged;
	tick->renewal.merged_context = tick;
	tick->writer = membership_writer_create();

	request.evaluation = tick->renewal.evaluation;
	request.program = tick->segments->program;
	request.memberships = true;
	request.deadlines = true;
	request.statics = tick->segments->nstatic > 0;
	request.customers = customers;
	request.kinds = kinds_of(tick, customers);
	request.unreadable = unreadable;
	population_scan(&request, renew_slice, tick, &population);
	membership_flush(tick->writer);
}

/* Stores how far the slots have come, and throws away what is done; not while a refresh wants to see who was touched. */
static void
store_slots(Tick *tick)
{
	bool		purge = !slot_refresh_is_running();

	for (int number = 0; number < POPULATION_SLOTS; number++)
	{
		Slot	   *after = &tick->after[number];
		const Slot *before = &tick->slots[number];
		Oid			types[] = {INT4OID, INT8OID, INT8OID};
		Datum		values[] = {Int32GetDatum(number), Int64GetDatum(after->purged), Int64GetDatum(after->position)};

		if (!tick->mine[number])
			continue;
		if (purge && after->purged < after->position)
		{
			(void) tick_execute("DELETE FROM crm.pending WHERE slot OPERATOR(pg_catalog.=) $1 AND seq OPERATOR(pg_catalog.>) $2 "
						   "AND seq OPERATOR(pg_catalog.<=) $3", 3, types, values, false);
			after->purged = after->position;
		}
		if (after->position != before->position || after->purged != before->purged || after->watermark != before->watermark)
			slot_store(number, after);
	}
}

/* The instants of a tick: it never goes back behind what is stored. */
static void
load_slots(Tick *tick)
{
	(void) slot_load(tick->slots);
	memcpy(tick->after, tick->slots, sizeof(tick->slots));
	for (int number = 0; number < POPULATION_SLOTS; number++)
	{
		if (tick->mine[number])
			tick->at = Max(tick->at, tick->slots[number].watermark);
	}
}

/*
 * What is known of customers by what their feed says comes first: segments may ask for it. A refresh has that of all
 * customers in its hands until it commits, and waits for our slots: then the next tick looks again, and nobody waits here.
 * Returns of whom something has changed, as identity_sync() does.
 */
static Datum
sync_identities(const Tick *tick)
{
	Datum		changed = (Datum) 0;
	int64	   *ids = palloc(sizeof(int64) * ((Size) hash_get_num_entries(tick->customers) + 1));
	HASH_SEQ_STATUS status;
	TickCustomer *entry;
	int			count = 0;

	hash_seq_init(&status, tick->customers);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->described)
			ids[count++] = entry->customer;
	}
	if (count > 0 && slot_refresh_is_running())
	{
		for (int i = 0; i < count; i++)
			capture_customer(FEED_CUSTOMER, ids[i]);
	}
	else if (count > 0)
		changed = identity_sync(feed_customers(count, ids));
	pfree(ids);
	return changed;
}

/* Tells listeners whose addresses, consents or identity may be others: of those who were touched, and whose feed has said so. */
static void
tell_contacts(const Tick *tick, Datum identities)
{
	int64	   *ids = palloc(sizeof(int64) * ((Size) hash_get_num_entries(tick->customers) + 1));
	HASH_SEQ_STATUS status;
	TickCustomer *entry;
	int			count = 0;

	hash_seq_init(&status, tick->customers);
	while ((entry = hash_seq_search(&status)) != NULL)
	{
		if (entry->contacted)
			ids[count++] = entry->customer;
	}
	if ((count > 0 || identities != (Datum) 0) && listeners_exist())
	{
		if (count > 0)
			listeners_tell(feed_id_array(count, ids));
		if (identities != (Datum) 0)
			listeners_tell(identities);
	}
	pfree(ids);
}

/* Tells whoever wants to hear of them who was touched, whatever kind of facts it was. */
static void
tell_interested(const Tick *tick)
{
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[1];

	if (tick->nheard == 0 ||
		tick_execute("SELECT FROM crm.interest LIMIT 1", 0, NULL, NULL, true) == 0)
		return;
	values[0] = feed_id_array((int) tick->nheard, tick->heard);
	(void) tick_execute("WITH touched AS MATERIALIZED (SELECT DISTINCT t.id FROM pg_catalog.unnest($1) AS t (id)) "
						"INSERT INTO crm.heard (customer_id) "
						"SELECT i.customer_id FROM crm.interest AS i WHERE i.customer_id OPERATOR(pg_catalog.=) ANY "
						"(ARRAY(SELECT t.id FROM touched AS t UNION ALL SELECT a.alias FROM touched AS t "
						"JOIN crm.alias AS a ON a.customer_id OPERATOR(pg_catalog.=) t.id))", 1, types, values, false);
}

static void
work(Tick *tick)
{
	lock_slots(tick);
	PushActiveSnapshot(GetLatestSnapshot());
	load_slots(tick);
	tick->segments = tick_segments();
	take_customers(tick);
	tell_contacts(tick, sync_identities(tick));
	tell_interested(tick);
	PopActiveSnapshot();
	PushActiveSnapshot(GetLatestSnapshot());
	renew_customers(tick);
	PopActiveSnapshot();
	store_slots(tick);
	if (tick->renewal.entered + tick->renewal.left > 0)
		(void) tick_execute("SELECT pg_catalog.pg_notify('crm_segment_change', '')", 0, NULL, NULL, false);
}

static TimestampTz
instant_argument(FunctionCallInfo fcinfo)
{
	TimestampTz at;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the instant of a tick must not be null")));
	at = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instant of a tick must be finite")));
	if (at > clock_now() && at > GetCurrentTimestamp())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instant of a tick must not lie ahead"),
				 errdetail("Segments would be right for %s, and could not be brought back.", timestamptz_to_str(at)),
				 errhint("To simulate, set crm_marketing.now.")));
	return at;
}

Datum
crm_segment_tick(PG_FUNCTION_ARGS)
{
	Tick	   *tick = palloc0(sizeof(Tick));
	MemoryContext context = CurrentMemoryContext;
	RefreshResult refreshed = {0};
	bool		refreshing = false;
	Slot		slots[POPULATION_SLOTS];
	TupleDesc	desc;
	Datum		values[7];
	bool		nulls[7] = {false};

	feed_forbid_within_query();
	tick->at = instant_argument(fcinfo);
	if (PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("whether a tick may mend must not be null")));
	if (PG_ARGISNULL(1) || PG_GETARG_INT32(1) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a tick must take at least one customer")));
	tick->max = PG_GETARG_INT32(1);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	refresh_check_isolation("ticked");

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	capture_check_tables();
	PushActiveSnapshot(GetLatestSnapshot());
	if (!slot_load(slots))
	{
		/* the first tick of all: from here on changes are logged; the next one evaluates everything */
		PopActiveSnapshot();
		if (slot_lock_refresh(false))
		{
			PushActiveSnapshot(GetLatestSnapshot());
			if (!slot_load(slots))
			{
				slot_begin();
				/* of what came before, nobody was told */
				listeners_tell((Datum) 0);
				tick->routed = tick_route_changes();
			}
			PopActiveSnapshot();
		}
		tick->more = true;
	}
	else
	{
		PopActiveSnapshot();
		if (PG_GETARG_BOOL(2) && needs_refresh() && slot_lock_refresh(false) && needs_refresh())
		{
			refresh_segments(tick->at, true, &refreshed);
			refreshing = true;
			tick->more = true;
		}
		else
		{
			uint64		marks = feed_marks;

			tick->routed = tick_route_changes();
			work(tick);
			/* what could not be told as customers is the next one's */
			tick->more |= feed_marks != marks;
		}
	}
	SPI_finish();

	MemoryContextSwitchTo(context);
	values[0] = Int64GetDatum((int64) tick->routed);
	values[1] = Int64GetDatum((int64) tick->touched);
	values[2] = Int64GetDatum((int64) tick->due);
	values[3] = Int64GetDatum((int64) (tick->renewal.entered + refreshed.entered));
	values[4] = Int64GetDatum((int64) (tick->renewal.left + refreshed.left));
	values[5] = BoolGetDatum(refreshing);
	values[6] = BoolGetDatum(tick->more);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

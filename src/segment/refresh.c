/*
 * refresh.c
 *		refresh_segments(): all segments of all customers in one pass over the feeds, then one difference.
 *
 * What is stored changes only where it differs. When the answer at the last evaluation, with today's facts, is the one that
 * was stored, the log gets the very instants at which the answer flipped since then: by a fact when an event of the customer
 * happened at that instant, else by time alone. Any other change is that of a fact that was not known before, and is logged
 * with the instant of this evaluation. When a segment is evaluated for the first time, its members enter by its creation, which
 * is an edit.
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
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "feed/feed.h"
#include "predicate/eval.h"
#include "segment/membership.h"
#include "segment/population.h"
#include "segment/segment.h"

typedef struct Refresh
{
	SegmentCatalog *catalog;
	int			ndynamic;
	Segment   **dynamic;		/* by id, ascending */
	Evaluation *evaluation;
	int			nkinds;			/* of events, that the program names */
	TimestampTz at;
	int32	   *scratch;
	MembershipWriter *writer;
	uint64		entered;
	uint64		left;
	TimestampTz told;
	uint64		done;
} Refresh;

static void
log_change(Refresh *refresh, int64 customer, int32 segment, bool entered, TimestampTz at, MembershipReason reason)
{
	membership_log(refresh->writer, customer, segment, entered, at, reason);
	if (entered)
		refresh->entered++;
	else
		refresh->left++;
}

/* Did an event of the customer happen at this very instant? */
static bool
happened_at(const Refresh *refresh, const Facts *facts, TimestampTz at)
{
	for (int k = 0; k < refresh->nkinds; k++)
	{
		const KindFacts *kind = &facts->kinds[k];
		int			low = 0,
					high = kind->nevents;

		while (low < high)
		{
			int			middle = low + (high - low) / 2;

			if (kind->at[middle] < at)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < kind->nevents && kind->at[low] == at)
			return true;
	}
	return false;
}

/*
 * A dynamic segment's answer for a customer has changed: finds out whether time alone did it, and when.
 */
static void
log_dynamic_change(Refresh *refresh, const Facts *facts, const Segment *segment, bool entered)
{
	Evaluation *ev = refresh->evaluation;
	TimestampTz at;
	TimestampTz until;
	bool		truth;
	bool		was = !entered;

	if (!segment->evaluated)
	{
		log_change(refresh, facts->customer, segment->id, entered, refresh->at, MEMBERSHIP_EDIT);
		return;
	}
	at = segment->evaluated_at;
	evaluation_set_instant(ev, at, false, 0);
	if (at >= refresh->at || evaluation_truth(ev, segment->root, &until) != was)
	{
		log_change(refresh, facts->customer, segment->id, entered, refresh->at, MEMBERSHIP_FACT);
		return;
	}
	while (until <= refresh->at)
	{
		at = until;
		CHECK_FOR_INTERRUPTS();
		evaluation_set_instant(ev, at, false, 0);
		truth = evaluation_truth(ev, segment->root, &until);
		if (truth != was)
		{
			log_change(refresh, facts->customer, segment->id, truth, at,
					   happened_at(refresh, facts, at) ? MEMBERSHIP_FACT : MEMBERSHIP_TIME);
			was = truth;
		}
	}
}

/* The difference between what is stored and what is so, in the log. */
static void
log_difference(Refresh *refresh, const Facts *facts, bool present, const int32 *now, int nnow)
{
	int			i = 0,
				j = 0;

	while (i < facts->nsegments || j < nnow)
	{
		bool		entered = i >= facts->nsegments || (j < nnow && now[j] < facts->segments[i]);
		int			id = entered ? now[j] : facts->segments[i];
		const Segment *segment;

		if (i < facts->nsegments && j < nnow && now[j] == facts->segments[i])
		{
			i++;
			j++;
			continue;
		}
		segment = segment_by_id(refresh->catalog, id);
		if (!present && segment != NULL)
			log_change(refresh, facts->customer, id, false, refresh->at, MEMBERSHIP_GONE);
		else if (segment != NULL)
			log_dynamic_change(refresh, facts, segment, entered);
		if (entered)
			j++;
		else
			i++;
	}
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
						refresh->entered + refresh->left)));
	}
}

/* A customer stays in a static segment, but not in one that is no more. */
static void
keep_static(Refresh *refresh, int32 id, int *count)
{
	const Segment *stored = segment_by_id(refresh->catalog, id);

	if (stored != NULL && stored->predicate == NULL)
		refresh->scratch[(*count)++] = id;
}

static void
refresh_slice(void *context, const PopulationSlice *slice)
{
	Refresh    *refresh = context;
	Evaluation *ev = refresh->evaluation;
	int		   *changed = palloc(sizeof(int) * Max(slice->count, 1));
	int		   *nnow = palloc(sizeof(int) * Max(slice->count, 1));
	int32	  **now = palloc(sizeof(int32 *) * Max(slice->count, 1));
	int			nchanged = 0;

	/* first all customers at the one instant, then what changed at others */
	evaluation_set_instant(ev, refresh->at, false, 0);
	for (int c = 0; c < slice->count; c++)
	{
		const Facts *facts = &slice->facts[c];
		int			count = 0;

		if ((c & 0xff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (slice->present[c])
		{
			int			s = 0;

			evaluation_set_facts(ev, facts);
			for (int d = 0; d < refresh->ndynamic; d++)
			{
				int32		id = refresh->dynamic[d]->id;

				for (; s < facts->nsegments && facts->segments[s] < id; s++)
					keep_static(refresh, facts->segments[s], &count);
				if (s < facts->nsegments && facts->segments[s] == id)
					s++;
				if (evaluation_truth(ev, refresh->dynamic[d]->root, NULL))
					refresh->scratch[count++] = id;
			}
			for (; s < facts->nsegments; s++)
				keep_static(refresh, facts->segments[s], &count);
		}
		if (count == facts->nsegments && memcmp(refresh->scratch, facts->segments, sizeof(int32) * count) == 0)
			continue;
		nnow[nchanged] = count;
		now[nchanged] = palloc(sizeof(int32) * Max(count, 1));
		memcpy(now[nchanged], refresh->scratch, sizeof(int32) * count);
		changed[nchanged++] = c;
	}

	for (int i = 0; i < nchanged; i++)
	{
		const Facts *facts = &slice->facts[changed[i]];
		CHECK_FOR_INTERRUPTS();
		evaluation_set_facts(ev, facts);
		log_difference(refresh, facts, slice->present[changed[i]], now[i], nnow[i]);
		/* whoever had a row, be it an empty one, has facts->segments set */
		membership_put(refresh->writer, facts->customer, facts->segments != NULL, now[i], nnow[i]);
	}
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

PG_FUNCTION_INFO_V1(crm_segment_refresh);
Datum
crm_segment_refresh(PG_FUNCTION_ARGS)
{
	Refresh		refresh = {0};
	Program    *program;
	Population	population;
	TimestampTz from;
	List	   *feeds;
	ListCell   *cell;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false};
	Oid			crm;
	Oid			types[] = {TIMESTAMPTZOID};
	MemoryContext context = CurrentMemoryContext;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the instant of a refresh must not be null")));
	refresh.at = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(refresh.at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the instant of a refresh must be finite")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("segments cannot be refreshed in a repeatable read or serializable transaction"),
				 errhint("Use the isolation level READ COMMITTED.")));

	/*
	 * One writer at a time; and what the one before stored is to be seen. An edit locks crm.segment first, then writes
	 * memberships; so the locks are taken in this order here, else the two would wait for each other.
	 */
	crm = get_namespace_oid("crm", false);
	LockRelationOid(get_relname_relid("segment", crm), RowExclusiveLock);
	LockRelationOid(get_relname_relid("membership", crm), ShareRowExclusiveLock);
	feed_refresh_identities();
	CommandCounterIncrement();
	PushActiveSnapshot(GetLatestSnapshot());

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	refresh.catalog = segment_catalog_load();
	refresh.dynamic = palloc(sizeof(Segment *) * Max(refresh.catalog->count, 1));
	refresh.scratch = palloc(sizeof(int32) * (refresh.catalog->count + 1));
	program = program_create(CurrentMemoryContext);
	from = refresh.at;
	for (int i = 0; i < refresh.catalog->count; i++)
	{
		Segment    *segment = &refresh.catalog->segments[i];
		Value		self = value_number(decimal_from_int64(segment->id));
		int			id;

		if (segment->predicate == NULL)
			continue;
		if (segment->evaluated && segment->evaluated_at > refresh.at)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					 errmsg("segment \"%s\" was refreshed at a later instant already", segment->name),
					 errdetail("It stands at %s.", timestamptz_to_str(segment->evaluated_at)),
					 errhint("crm.matching() and crm.segment_size() tell what was at an earlier instant.")));
		/* what has changed since then is asked of every instant between */
		if (segment->evaluated && segment->evaluated_at < from)
			from = segment->evaluated_at;
		segment->root = program_add(program, segment_resolver(&self, &id, refresh.catalog), segment_resolver,
									refresh.catalog);
		refresh.dynamic[refresh.ndynamic++] = segment;
	}
	refresh.evaluation = evaluation_create(program, calendar_zone(clock_timezone()));
	refresh.nkinds = program->nkinds;
	refresh.told = GetCurrentTimestamp();
	refresh.writer = membership_writer_create();
	feeds = feed_load();
	population_scan(refresh.evaluation, program, from, true, refresh_slice, &refresh, &population);
	membership_flush(refresh.writer);
	PopActiveSnapshot();

	values[0] = TimestampTzGetDatum(refresh.at);
	if (SPI_execute_with_args("UPDATE crm.segment SET evaluated_at = $1 WHERE predicate IS NOT NULL", 1, types, values,
							  NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not store the instant of a refresh");
	foreach(cell, feeds)
	{
		const Feed *feed = lfirst(cell);

		/* what is stored agrees with all feeds again, as far as they are sound */
		feed_mark(feed->kind, population.duplicates > 0 && strcmp(feed->kind, FEED_CUSTOMER) == 0 ?
				  "customers have more than one row" : NULL);
	}
	SPI_finish();
	report(&population);

	MemoryContextSwitchTo(context);
	values[0] = Int64GetDatum((int64) population.customers);
	values[1] = Int64GetDatum((int64) refresh.entered);
	values[2] = Int64GetDatum((int64) refresh.left);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

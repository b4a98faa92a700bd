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
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "feed/feed.h"
#include "predicate/eval.h"
#include "segment/population.h"
#include "segment/segment.h"

/* Lines for crm.segment_change. */
typedef struct ChangeLog
{
	int			count;
	int			room;
	Datum	   *customers;
	Datum	   *segments;
	Datum	   *entered;
	Datum	   *at;
	Datum	   *reasons;
	Datum		reason_edit,
				reason_fact,
				reason_time,
				reason_gone;
} ChangeLog;

typedef struct Refresh
{
	SegmentCatalog *catalog;
	int			ndynamic;
	Segment   **dynamic;		/* by id, ascending */
	Evaluation *evaluation;
	int			nkinds;			/* of events, that the program names */
	TimestampTz at;
	int32	   *scratch;
	ChangeLog	log;
	SPIPlanPtr	insert_plan,
				update_plan,
				delete_plan,
				log_plan;
	uint64		entered;
	uint64		left;
	TimestampTz told;
	uint64		done;
} Refresh;

static void
log_change(Refresh *refresh, int64 customer, int segment, bool entered, TimestampTz at, Datum reason)
{
	ChangeLog  *log = &refresh->log;

	if (log->count == log->room)
	{
		Size		size;

		log->room = Max(log->room * 2, 1024);
		size = sizeof(Datum) * (Size) log->room;
		log->customers = log->customers ? repalloc_huge(log->customers, size) : palloc(size);
		log->segments = log->segments ? repalloc_huge(log->segments, size) : palloc(size);
		log->entered = log->entered ? repalloc_huge(log->entered, size) : palloc(size);
		log->at = log->at ? repalloc_huge(log->at, size) : palloc(size);
		log->reasons = log->reasons ? repalloc_huge(log->reasons, size) : palloc(size);
	}
	log->customers[log->count] = Int64GetDatum(customer);
	log->segments[log->count] = Int32GetDatum(segment);
	log->entered[log->count] = BoolGetDatum(entered);
	log->at[log->count] = TimestampTzGetDatum(at);
	log->reasons[log->count++] = reason;
	if (entered)
		refresh->entered++;
	else
		refresh->left++;
}

static void
run_plan(SPIPlanPtr plan, Datum *values, int expected)
{
	int			rc = SPI_execute_plan(plan, values, NULL, false, 0);

	if (rc != expected)
		elog(ERROR, "could not store memberships: %s", SPI_result_code_string(rc));
}

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

/* Writes the lines that have gathered, in one statement. */
static void
flush_log(Refresh *refresh)
{
	ChangeLog  *log = &refresh->log;
	Datum		values[6];

	if (log->count == 0)
		return;
	values[0] = PointerGetDatum(construct_array(log->customers, log->count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = PointerGetDatum(construct_array(log->segments, log->count, INT4OID, 4, true, TYPALIGN_INT));
	values[2] = PointerGetDatum(construct_array(log->entered, log->count, BOOLOID, 1, true, TYPALIGN_CHAR));
	values[3] = PointerGetDatum(construct_array(log->at, log->count, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL,
												TYPALIGN_DOUBLE));
	values[4] = PointerGetDatum(construct_array(log->reasons, log->count, TEXTOID, -1, false, TYPALIGN_INT));
	values[5] = TimestampTzGetDatum(clock_now());
	run_plan(refresh->log_plan, values, SPI_OK_INSERT);
	for (int i = 0; i < 5; i++)
		pfree(DatumGetPointer(values[i]));
	log->count = 0;
}

static Datum
segments_array(const int32 *segments, int count)
{
	ArrayType  *array = palloc(ARR_OVERHEAD_NONULLS(1) + sizeof(int32) * (Size) count);

	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + sizeof(int32) * (Size) count);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = INT4OID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), segments, sizeof(int32) * (Size) count);
	return PointerGetDatum(array);
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
		log_change(refresh, facts->customer, segment->id, entered, refresh->at, refresh->log.reason_edit);
		return;
	}
	at = segment->evaluated_at;
	evaluation_set_instant(ev, at, false, 0);
	if (at >= refresh->at || evaluation_truth(ev, segment->root, &until) != was)
	{
		log_change(refresh, facts->customer, segment->id, entered, refresh->at, refresh->log.reason_fact);
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
					   happened_at(refresh, facts, at) ? refresh->log.reason_fact : refresh->log.reason_time);
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
			log_change(refresh, facts->customer, id, false, refresh->at, refresh->log.reason_gone);
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
		Datum		values[2];

		CHECK_FOR_INTERRUPTS();
		evaluation_set_facts(ev, facts);
		log_difference(refresh, facts, slice->present[changed[i]], now[i], nnow[i]);
		values[0] = Int64GetDatum(facts->customer);
		if (nnow[i] == 0)
			run_plan(refresh->delete_plan, values, SPI_OK_DELETE);
		else
		{
			values[1] = segments_array(now[i], nnow[i]);
			/* whoever had a row, be it an empty one, has facts->segments set */
			if (facts->segments == NULL)
				run_plan(refresh->insert_plan, values, SPI_OK_INSERT);
			else
				run_plan(refresh->update_plan, values, SPI_OK_UPDATE);
		}
	}
	flush_log(refresh);
	/* what the log's arrays grew to belongs to the slice */
	refresh->log.room = 0;
	refresh->log.customers = refresh->log.segments = refresh->log.entered = refresh->log.at = refresh->log.reasons = NULL;
	tell_progress(refresh, slice->count);
}

static void
prepare_plans(Refresh *refresh)
{
	Oid			membership[] = {INT8OID, INT4ARRAYOID};
	Oid			change[] = {INT8ARRAYOID, INT4ARRAYOID, BOOLARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID};

	refresh->insert_plan = prepare("INSERT INTO crm.membership (customer_id, segments) VALUES ($1, $2)", 2, membership);
	refresh->update_plan = prepare("UPDATE crm.membership SET segments = $2 WHERE customer_id = $1", 2, membership);
	refresh->delete_plan = prepare("DELETE FROM crm.membership WHERE customer_id = $1", 1, membership);
	refresh->log_plan =
		prepare("INSERT INTO crm.segment_change (customer_id, segment_id, entered, at, reason, seen_at) "
				"SELECT customer_id, segment_id, entered, at, reason, $6 "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), "
				"pg_catalog.unnest($5)) AS u (customer_id, segment_id, entered, at, reason)",
				6, change);
	refresh->log.reason_edit = CStringGetTextDatum("edit");
	refresh->log.reason_fact = CStringGetTextDatum("fact");
	refresh->log.reason_time = CStringGetTextDatum("time");
	refresh->log.reason_gone = CStringGetTextDatum("gone");
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
		segment->root = program_add(program, segment_resolver(&self, &id, refresh.catalog), segment_resolver,
									refresh.catalog);
		refresh.dynamic[refresh.ndynamic++] = segment;
	}
	refresh.evaluation = evaluation_create(program, calendar_zone(clock_timezone()));
	refresh.nkinds = program->nkinds;
	refresh.told = GetCurrentTimestamp();
	prepare_plans(&refresh);
	feeds = feed_load();
	population_scan(program, true, refresh_slice, &refresh, &population);
	PopActiveSnapshot();

	values[0] = TimestampTzGetDatum(refresh.at);
	run_plan(prepare("UPDATE crm.segment SET evaluated_at = $1 WHERE predicate IS NOT NULL", 1, types), values,
			 SPI_OK_UPDATE);
	SPI_finish();
	foreach(cell, feeds)
	{
		const Feed *feed = lfirst(cell);

		/* what is stored agrees with all feeds again, as far as they are sound */
		feed_mark(feed->kind, population.duplicates > 0 && strcmp(feed->kind, FEED_CUSTOMER) == 0 ?
				  "customers have more than one row" : NULL);
	}
	report(&population);

	MemoryContextSwitchTo(context);
	values[0] = Int64GetDatum((int64) population.customers);
	values[1] = Int64GetDatum((int64) refresh.entered);
	values[2] = Int64GetDatum((int64) refresh.left);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/*
 * predicate_functions.c
 *		SQL functions that ask a profile: matches, next_change, periods, occurrences.
 *
 * A query asks the same predicate of many profiles, so the compiled program is kept with the call site; it is made again
 * whenever the predicate or the zone differs, and the cache may be cold at any call.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/multirangetypes.h"
#include "utils/rangetypes.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "base/clock.h"
#include "compat.h"
#include "predicate/eval_internal.h"
#include "predicate/predicate_functions.h"

/* What a call site keeps. */
typedef struct CallCache
{
	MemoryContext context;		/* of the program */
	Predicate  *predicate;
	char	   *zone;
	ClockView	view;			/* in which the zone was read, where it was */
	AstNode    *tree;
	Program    *program;
	int			root;
	Evaluation *evaluation;
	MemoryContext facts;		/* emptied at each call */
} CallCache;

/*
 * The evaluation of a predicate in a zone, from the call site's cache; what belongs to one profile is to be allocated in
 * *facts, which is emptied here.
 */
static CallCache *
cached_evaluation(FunctionCallInfo fcinfo, const Predicate *predicate, const char *zone)
{
	CallCache  *cache = fcinfo->flinfo->fn_extra;
	MemoryContext old;

	if (cache != NULL && cache->program != NULL &&
		VARSIZE(cache->predicate) == VARSIZE(predicate) &&
		memcmp(cache->predicate, predicate, VARSIZE(predicate)) == 0 &&
		strcmp(cache->zone, zone) == 0)
	{
		MemoryContextReset(cache->facts);
		return cache;
	}

	if (cache == NULL)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(CallCache));
		cache->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "compiled predicate", ALLOCSET_DEFAULT_SIZES);
		fcinfo->flinfo->fn_extra = cache;
	}
	/* an error on the way leaves no half-made program behind; the zone may be the very one that goes with the old one */
	cache->program = NULL;
	zone = pstrdup(zone);
	MemoryContextReset(cache->context);
	old = MemoryContextSwitchTo(cache->context);
	cache->predicate = palloc(VARSIZE(predicate));
	memcpy(cache->predicate, predicate, VARSIZE(predicate));
	cache->zone = pstrdup(zone);
	cache->tree = predicate_tree(cache->predicate);
	{
		Program    *program = program_create(cache->context);

		cache->root = program_add(program, cache->tree, NULL, NULL);
		cache->evaluation = evaluation_create(program, calendar_zone(zone));
		cache->facts = AllocSetContextCreate(cache->context, "facts", ALLOCSET_DEFAULT_SIZES);
		cache->program = program;
	}
	MemoryContextSwitchTo(old);
	return cache;
}

static CallCache *
evaluation_for_call(FunctionCallInfo fcinfo, const Predicate *predicate, const char *zone)
{
	CallCache  *cache = cached_evaluation(fcinfo, predicate, zone);
	MemoryContext old = MemoryContextSwitchTo(cache->facts);

	evaluation_set_facts(cache->evaluation, facts_from_profile(cache->program, PG_GETARG_PROFILE_P(0)));
	MemoryContextSwitchTo(old);
	return cache;
}

static void
check_from_to(TimestampTz from, TimestampTz to)
{
	if (to < from)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"to\" must not lie before \"from\"")));
}

PG_FUNCTION_INFO_V1(crm_predicate_matches);
Datum
crm_predicate_matches(PG_FUNCTION_ARGS)
{
	CallCache  *cache;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	cache = evaluation_for_call(fcinfo, PG_GETARG_PREDICATE_P(1), text_to_cstring(PG_GETARG_TEXT_PP(4)));
	evaluation_set_instant(cache->evaluation, PG_GETARG_TIMESTAMPTZ(2), !PG_ARGISNULL(3),
						   PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3));
	PG_RETURN_BOOL(evaluation_truth(cache->evaluation, cache->root, NULL));
}

PG_FUNCTION_INFO_V1(crm_predicate_matches_now);
Datum
crm_predicate_matches_now(PG_FUNCTION_ARGS)
{
	CallCache  *cache = fcinfo->flinfo->fn_extra;
	const Predicate *predicate = PG_GETARG_PREDICATE_P(1);
	ClockView	view = {0};
	const char *zone;

	/* the zone is the same throughout a statement, but a call site in PL/pgSQL lives as long as the transaction */
	if (cache != NULL && cache->program != NULL)
		view = cache->view;
	zone = clock_view_changed(&view) ? clock_timezone() : cache->zone;
	cache = evaluation_for_call(fcinfo, predicate, zone);
	cache->view = view;
	evaluation_set_instant(cache->evaluation, clock_now(), false, 0);
	PG_RETURN_BOOL(evaluation_truth(cache->evaluation, cache->root, NULL));
}

PG_FUNCTION_INFO_V1(crm_predicate_next_change);
Datum
crm_predicate_next_change(PG_FUNCTION_ARGS)
{
	CallCache  *cache;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		PG_RETURN_NULL();
	cache = evaluation_for_call(fcinfo, PG_GETARG_PREDICATE_P(1), text_to_cstring(PG_GETARG_TEXT_PP(4)));
	PG_RETURN_TIMESTAMPTZ(evaluation_next_change(cache->evaluation, cache->root, PG_GETARG_TIMESTAMPTZ(2),
												 !PG_ARGISNULL(3),
												 PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3)));
}

static RangeType *
make_period(TimestampTz from, TimestampTz to)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);
	RangeBound	lower = {.val = TimestampTzGetDatum(from),.inclusive = true,.lower = true};
	RangeBound	upper = {.val = TimestampTzGetDatum(to)};

	return crm_range_serialize(type, &lower, &upper);
}

void
period_list_add(void *context, TimestampTz from, TimestampTz to)
{
	PeriodList *list = context;
	MemoryContext old = MemoryContextSwitchTo(list->context);

	if (list->count == list->room)
	{
		list->room = Max(list->room * 2, 8);
		list->ranges = list->ranges == NULL ? palloc(sizeof(RangeType *) * list->room) :
			repalloc_huge(list->ranges, sizeof(RangeType *) * (Size) list->room);
	}
	list->ranges[list->count++] = make_period(from, to);
	MemoryContextSwitchTo(old);
}

Datum
period_list_multirange(const PeriodList *list)
{
	TypeCacheEntry *type = lookup_type_cache(TSTZRANGEOID, TYPECACHE_RANGE_INFO);

	return MultirangeTypePGetDatum(make_multirange(TSTZMULTIRANGEOID, type, list->count, list->ranges));
}

PG_FUNCTION_INFO_V1(crm_predicate_periods);
Datum
crm_predicate_periods(PG_FUNCTION_ARGS)
{
	CallCache  *cache;
	PeriodList	list = {.context = CurrentMemoryContext};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(5))
		PG_RETURN_NULL();
	check_from_to(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3));
	cache = evaluation_for_call(fcinfo, PG_GETARG_PREDICATE_P(1), text_to_cstring(PG_GETARG_TEXT_PP(5)));
	evaluation_periods(cache->evaluation, cache->root, PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3),
					   !PG_ARGISNULL(4), PG_ARGISNULL(4) ? 0 : PG_GETARG_TIMESTAMPTZ(4), period_list_add, &list);
	PG_RETURN_DATUM(period_list_multirange(&list));
}

/* Rows of occurrences, and how far the profile was read for the events' own properties, which the program need not have. */
typedef struct OccurrenceRows
{
	const Program *program;
	const Facts *facts;
	ProfileReader reader;
	int			seen;			/* events of the kind */
	MemoryContext row;			/* emptied with each */
	ReturnSetInfo *rsinfo;
} OccurrenceRows;

/* The properties of an event, which is no earlier one than that of the call before. */
static Jsonb *
event_properties(OccurrenceRows *rows, const char *kind, int event)
{
	ProfileReader *reader = &rows->reader;
	StringInfoData json;
	Value		value;
	TimestampTz at;
	int			name;

	while (rows->seen <= event && profile_next_event(reader, &name, &at))
	{
		if ((int) strlen(kind) == reader->names[name].length &&
			memcmp(kind, reader->names[name].name, reader->names[name].length) == 0)
			rows->seen++;
	}
	initStringInfo(&json);
	appendStringInfoChar(&json, '{');
	while (profile_next_property(reader, &name, &value))
	{
		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		value_append_json_string(&json, reader->names[name].name, reader->names[name].length);
		appendStringInfoString(&json, ": ");
		value_append_json(&json, value);
	}
	appendStringInfoChar(&json, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/* An OccurrenceSink */
static void
put_occurrence(void *context, int kind, int event, const TimeSpan *spans, int nspans)
{
	OccurrenceRows *rows = context;
	const char *name = rows->program->kinds[kind].name;
	MemoryContext old = MemoryContextSwitchTo(rows->row);
	PeriodList	list = {.context = rows->row};
	Datum		values[4];
	bool		nulls[4] = {false};

	for (int i = 0; i < nspans; i++)
		period_list_add(&list, spans[i].from, spans[i].to);
	values[0] = CStringGetTextDatum(name);
	values[1] = TimestampTzGetDatum(rows->facts->kinds[kind].at[event]);
	values[2] = JsonbPGetDatum(event_properties(rows, name, event));
	values[3] = period_list_multirange(&list);
	tuplestore_putvalues(rows->rsinfo->setResult, rows->rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(rows->row);
}

PG_FUNCTION_INFO_V1(crm_predicate_occurrences);
Datum
crm_predicate_occurrences(PG_FUNCTION_ARGS)
{
	OccurrenceRows rows = {.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo};
	CallCache  *cache;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || PG_ARGISNULL(5))
		return (Datum) 0;
	check_from_to(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3));
	cache = evaluation_for_call(fcinfo, PG_GETARG_PREDICATE_P(1), text_to_cstring(PG_GETARG_TEXT_PP(5)));
	rows.program = cache->program;
	rows.facts = cache->evaluation->facts;
	profile_reader_init(&rows.reader, PG_GETARG_PROFILE_P(0));
	rows.row = AllocSetContextCreate(CurrentMemoryContext, "occurrence", ALLOCSET_DEFAULT_SIZES);
	evaluation_occurrences(cache->evaluation, cache->root, PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3),
						   !PG_ARGISNULL(4), PG_ARGISNULL(4) ? 0 : PG_GETARG_TIMESTAMPTZ(4), put_occurrence, &rows);
	MemoryContextDelete(rows.row);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(crm_predicate_explain);
Datum
crm_predicate_explain(PG_FUNCTION_ARGS)
{
	CallCache  *cache;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		return (Datum) 0;
	cache = evaluation_for_call(fcinfo, PG_GETARG_PREDICATE_P(1), text_to_cstring(PG_GETARG_TEXT_PP(4)));
	evaluation_set_instant(cache->evaluation, PG_GETARG_TIMESTAMPTZ(2), !PG_ARGISNULL(3),
						   PG_ARGISNULL(3) ? 0 : PG_GETARG_TIMESTAMPTZ(3));
	explain_tree(cache->evaluation, cache->tree, cache->program, NULL, NULL, NIL, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

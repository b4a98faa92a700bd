/*
 * foresee.c
 *		When something becomes true: of one customer's facts, and which events of anybody's.
 *
 * What campaigns ask, live and in simulation: nothing here depends on when it is asked.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "predicate/predicate_functions.h"
#include "profile/profile.h"
#include "segment/ask.h"
#include "segment/inquiry.h"
#include "segment/population.h"

PG_FUNCTION_INFO_V1(crm_segment_first_true);
PG_FUNCTION_INFO_V1(crm_segment_occurs);
PG_FUNCTION_INFO_V1(crm_segment_population_occurrences);

static void
check_span(TimestampTz from, TimestampTz to)
{
	if (TIMESTAMP_NOT_FINITE(from) || TIMESTAMP_NOT_FINITE(to))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("both instants must be finite")));
	if (to < from)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"to\" must not lie before \"from\"")));
}

/* The question of the second argument, about the profile of the first, whose static segments are in the sixth. */
static Facts *
ask_of_profile(FunctionCallInfo fcinfo, Question *question)
{
	Facts	   *facts;

	question_init(question, PG_GETARG_PREDICATE_P(1));
	facts = facts_from_profile(question->program, PG_GETARG_PROFILE_P(0));
	if (!PG_ARGISNULL(5))
	{
		ArrayType  *array = PG_GETARG_ARRAYTYPE_P(5);

		if (array_contains_nulls(array))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("segments must not be null")));
		facts->nsegments = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
		facts->segments = (const int32 *) ARR_DATA_PTR(array);
	}
	evaluation_set_facts(question->evaluation, facts);
	return facts;
}

/* crm.first_true(profile, predicate, from, to, entry, segments, OUT at, OUT truth) */
Datum
crm_segment_first_true(PG_FUNCTION_ARGS)
{
	Question	question;
	TimestampTz at;
	TimestampTz to;
	TimestampTz entry = 0;
	bool		has_entry = !PG_ARGISNULL(4);
	bool		truth;
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	at = PG_GETARG_TIMESTAMPTZ(2);
	to = PG_GETARG_TIMESTAMPTZ(3);
	check_span(at, to);
	if (has_entry)
		entry = PG_GETARG_TIMESTAMPTZ(4);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	ask_of_profile(fcinfo, &question);
	evaluation_set_instant(question.evaluation, at, has_entry, entry);
	truth = evaluation_truth(question.evaluation, question.root, NULL);
	while (!truth && at <= to)
	{
		CHECK_FOR_INTERRUPTS();
		/* this may be a lower bound at which it is as false as before */
		at = evaluation_next_change(question.evaluation, question.root, at, has_entry, entry);
		if (at > to)
			break;
		evaluation_set_instant(question.evaluation, at, has_entry, entry);
		truth = evaluation_truth(question.evaluation, question.root, NULL);
	}
	values[0] = TimestampTzGetDatum(at);
	values[1] = BoolGetDatum(truth);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* crm.occurs(profile, predicate, at, kind, event_at, segments) */
Datum
crm_segment_occurs(PG_FUNCTION_ARGS)
{
	Question	question;
	Facts	   *facts;
	TimestampTz at;
	int			number;

	for (int i = 0; i < 5; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}
	at = PG_GETARG_TIMESTAMPTZ(2);
	check_span(at, at);
	facts = ask_of_profile(fcinfo, &question);
	number = question_occurs(&question, facts, at, text_to_cstring(PG_GETARG_TEXT_PP(3)), PG_GETARG_TIMESTAMPTZ(4));
	if (number == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(number);
}

typedef struct Gathering
{
	Question	question;
	TimestampTz from;
	TimestampTz to;
	bool		by_event;
	const Facts *facts;
	ReturnSetInfo *rsinfo;
} Gathering;

static void
put_occurrence(Gathering *gathering, const char *kind, TimestampTz event_at, TimestampTz started_at)
{
	Datum		values[4] = {Int64GetDatum(gathering->facts->customer), CStringGetTextDatum(kind),
	TimestampTzGetDatum(event_at), TimestampTzGetDatum(started_at)};
	bool		nulls[4] = {false};

	tuplestore_putvalues(gathering->rsinfo->setResult, gathering->rsinfo->setDesc, values, nulls);
}

/* What had begun before is not new, as for triggers: see occurrence.c. */
static void
gather_event(void *context, int kind, int event, const TimeSpan *spans, int nspans)
{
	Gathering  *gathering = context;

	for (int i = 0; i < nspans; i++)
	{
		if (spans[i].from <= gathering->from)
			continue;
		put_occurrence(gathering, gathering->question.program->kinds[kind].name, gathering->facts->kinds[kind].at[event],
					   spans[i].from);
		break;
	}
}

static void
gather_entry(void *context, TimestampTz from, TimestampTz to)
{
	Gathering  *gathering = context;

	(void) to;
	if (from > gathering->from)
		put_occurrence(gathering, "", from, from);
}

static void
gather_slice(void *context, const PopulationSlice *slice)
{
	Gathering  *gathering = context;
	Evaluation *evaluation = gathering->question.evaluation;
	int			root = gathering->question.root;

	for (int c = 0; c < slice->count; c++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!slice->present[c])
			continue;
		gathering->facts = &slice->facts[c];
		evaluation_set_facts(evaluation, gathering->facts);
		if (gathering->by_event)
			evaluation_occurrences(evaluation, root, gathering->from, gathering->to, false, 0, gather_event, gathering);
		else
			evaluation_periods(evaluation, root, gathering->from, gathering->to, false, 0, gather_entry, gathering);
	}
}

/* crm.population_occurrences(predicate, from, to) */
Datum
crm_segment_population_occurrences(PG_FUNCTION_ARGS)
{
	Gathering	gathering = {0};
	PopulationRequest request = {0};
	Population	population;

	InitMaterializedSRF(fcinfo, 0);
	question_init(&gathering.question, PG_GETARG_PREDICATE_P(0));
	gathering.from = PG_GETARG_TIMESTAMPTZ(1);
	gathering.to = PG_GETARG_TIMESTAMPTZ(2);
	check_span(gathering.from, gathering.to);
	gathering.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	gathering.by_event = evaluation_has_occurrences(gathering.question.evaluation, gathering.question.root);
	request.evaluation = gathering.question.evaluation;
	request.program = gathering.question.program;
	request.from = gathering.from;
	population_scan(&request, gather_slice, &gathering, &population);
	return (Datum) 0;
}

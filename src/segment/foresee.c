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
#include "segment/population.h"

PG_FUNCTION_INFO_V1(crm_segment_first_true);
PG_FUNCTION_INFO_V1(crm_segment_occurs);
PG_FUNCTION_INFO_V1(crm_segment_ask_customers);
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

typedef struct Seeking
{
	const Program *program;
	const Facts *facts;
	const char *kind;
	TimestampTz event_at;
	int			number;
} Seeking;

static void
seek_event(void *context, int kind, int event, const TimeSpan *spans, int nspans)
{
	Seeking    *seeking = context;

	(void) spans;
	(void) nspans;
	if (seeking->number == 0 && strcmp(seeking->program->kinds[kind].name, seeking->kind) == 0 &&
		seeking->facts->kinds[kind].at[event] == seeking->event_at)
		seeking->number = event + 1;
}

/* crm.occurs(profile, predicate, at, kind, event_at, segments) */
Datum
crm_segment_occurs(PG_FUNCTION_ARGS)
{
	Question	question;
	Seeking		seeking = {0};
	TimestampTz at;

	for (int i = 0; i < 5; i++)
	{
		if (PG_ARGISNULL(i))
			PG_RETURN_NULL();
	}
	at = PG_GETARG_TIMESTAMPTZ(2);
	check_span(at, at);
	seeking.kind = text_to_cstring(PG_GETARG_TEXT_PP(3));
	seeking.event_at = PG_GETARG_TIMESTAMPTZ(4);
	seeking.facts = ask_of_profile(fcinfo, &question);
	seeking.program = question.program;
	evaluation_occurrences(question.evaluation, question.root, at, at + 1, false, 0, seek_event, &seeking);
	if (seeking.number == 0)
		PG_RETURN_NULL();
	PG_RETURN_INT32(seeking.number);
}

/* What is asked of customers, many together. */
typedef struct Asked
{
	int64		customer;
	int			number;			/* of the question, from 1 */
	TimestampTz at;
	bool		has_entry;
	TimestampTz entry;
	const char *kind;			/* NULL: is it true? Else: is this event one that decides it? */
	TimestampTz event_at;
} Asked;

typedef struct Inquiry
{
	Question	question;
	int			count;
	Asked	   *asked;			/* by customer */
	ReturnSetInfo *rsinfo;
} Inquiry;

static int
asked_compare(const void *a, const void *b)
{
	const Asked *x = a;
	const Asked *y = b;

	if (x->customer != y->customer)
		return x->customer < y->customer ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void
inquire_slice(void *context, const PopulationSlice *slice)
{
	Inquiry    *inquiry = context;
	Evaluation *evaluation = inquiry->question.evaluation;
	int			root = inquiry->question.root;

	for (int c = 0; c < slice->count; c++)
	{
		const Facts *facts = &slice->facts[c];
		int			low = 0,
					high = inquiry->count;

		if (!slice->present[c])
			continue;
		while (low < high)
		{
			int			middle = low + (high - low) / 2;

			if (inquiry->asked[middle].customer < facts->customer)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < inquiry->count && inquiry->asked[low].customer == facts->customer; low++)
		{
			const Asked *asked = &inquiry->asked[low];
			Datum		values[2];
			bool		nulls[2] = {false, false};
			bool		truth;

			evaluation_set_facts(evaluation, facts);
			if (asked->kind != NULL)
			{
				Seeking		seeking = {inquiry->question.program, facts, asked->kind, asked->event_at, 0};

				evaluation_occurrences(evaluation, root, asked->at, asked->at + 1, false, 0, seek_event, &seeking);
				truth = seeking.number > 0;
			}
			else
			{
				evaluation_set_instant(evaluation, asked->at, asked->has_entry, asked->entry);
				truth = evaluation_truth(evaluation, root, NULL);
			}
			values[0] = Int32GetDatum(asked->number);
			values[1] = BoolGetDatum(truth);
			tuplestore_putvalues(inquiry->rsinfo->setResult, inquiry->rsinfo->setDesc, values, nulls);
		}
	}
}

static int
elements(FunctionCallInfo fcinfo, int argument, Oid type, Datum **values, bool **nulls)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(argument);
	bool		text = type == TEXTOID;
	int			count;

	deconstruct_array(array, type, text ? -1 : 8, text ? false : FLOAT8PASSBYVAL, text ? TYPALIGN_INT : TYPALIGN_DOUBLE, values,
					  nulls, &count);
	return count;
}

/* crm.ask_customers(predicate, customers bigint[], instants timestamptz[], entries timestamptz[], kinds text[], events timestamptz[]) */
Datum
crm_segment_ask_customers(PG_FUNCTION_ARGS)
{
	Inquiry		inquiry = {0};
	PopulationRequest request = {0};
	Population	population;
	Datum	   *values[5];
	bool	   *nulls[5];
	const Oid	types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID};
	int64	   *ids;
	int			nids = 0;

	InitMaterializedSRF(fcinfo, 0);
	inquiry.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	inquiry.count = elements(fcinfo, 1, types[0], &values[0], &nulls[0]);
	for (int i = 1; i < 5; i++)
	{
		if (elements(fcinfo, i + 1, types[i], &values[i], &nulls[i]) != inquiry.count)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("arrays must have one length")));
	}
	if (inquiry.count == 0)
		return (Datum) 0;
	question_init(&inquiry.question, PG_GETARG_PREDICATE_P(0));
	inquiry.asked = palloc0(sizeof(Asked) * (Size) inquiry.count);
	request.from = DT_NOEND;
	for (int i = 0; i < inquiry.count; i++)
	{
		Asked	   *asked = &inquiry.asked[i];

		if (nulls[0][i] || nulls[1][i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("customers and instants must not be null")));
		asked->customer = DatumGetInt64(values[0][i]);
		asked->number = i + 1;
		asked->at = DatumGetTimestampTz(values[1][i]);
		check_span(asked->at, asked->at);
		asked->has_entry = !nulls[2][i];
		asked->entry = asked->has_entry ? DatumGetTimestampTz(values[2][i]) : 0;
		asked->kind = nulls[3][i] || nulls[4][i] ? NULL : TextDatumGetCString(values[3][i]);
		asked->event_at = asked->kind == NULL ? 0 : DatumGetTimestampTz(values[4][i]);
		request.from = Min(request.from, asked->at);
		if (asked->has_entry && (!request.has_entry || asked->entry < request.entry))
			request.entry = asked->entry;
		request.has_entry |= asked->has_entry;
	}
	qsort(inquiry.asked, inquiry.count, sizeof(Asked), asked_compare);
	ids = palloc(sizeof(int64) * (Size) inquiry.count);
	for (int i = 0; i < inquiry.count; i++)
	{
		if (i == 0 || inquiry.asked[i].customer != inquiry.asked[i - 1].customer)
			ids[nids++] = inquiry.asked[i].customer;
	}
	request.evaluation = inquiry.question.evaluation;
	request.program = inquiry.question.program;
	request.customers = feed_customers(nids, ids);
	population_scan(&request, inquire_slice, &inquiry, &population);
	return (Datum) 0;
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

/*
 * inquiry.c
 *		A predicate asked of many customers together, each at an instant of his own: crm.ask_customers().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "segment/inquiry.h"
#include "segment/population.h"

PG_FUNCTION_INFO_V1(crm_segment_ask_customers);

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

/* The evaluation has these facts. */
int
question_occurs(const Question *question, const Facts *facts, TimestampTz at, const char *kind, TimestampTz event_at)
{
	Seeking		seeking = {question->program, facts, kind, event_at, 0};

	evaluation_occurrences(question->evaluation, question->root, at, at + 1, false, 0, seek_event, &seeking);
	return seeking.number;
}

typedef struct Inquiry
{
	Question	question;
	int			count;
	Asked	   *asked;			/* by customer */
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
			Asked	   *asked = &inquiry->asked[low];

			evaluation_set_facts(evaluation, facts);
			asked->known = true;
			if (asked->kind != NULL)
				asked->truth = question_occurs(&inquiry->question, facts, asked->at, asked->kind, asked->event_at) > 0;
			else
			{
				evaluation_set_instant(evaluation, asked->at, asked->has_entry, asked->entry);
				asked->truth = evaluation_truth(evaluation, inquiry->question.root, NULL);
			}
		}
	}
}

void
inquire(const Predicate *predicate, Asked *asked, int count)
{
	Inquiry		inquiry = {.count = count, .asked = asked};
	PopulationRequest request = {.from = DT_NOEND};
	Population	population;
	int64	   *ids = palloc(sizeof(int64) * (Size) count);
	int			nids = 0;

	question_init(&inquiry.question, predicate);
	qsort(asked, count, sizeof(Asked), asked_compare);
	for (int i = 0; i < count; i++)
	{
		asked[i].known = false;
		request.from = Min(request.from, asked[i].at);
		if (asked[i].has_entry && (!request.has_entry || asked[i].entry < request.entry))
			request.entry = asked[i].entry;
		request.has_entry |= asked[i].has_entry;
		if (i == 0 || asked[i].customer != asked[i - 1].customer)
			ids[nids++] = asked[i].customer;
	}
	request.evaluation = inquiry.question.evaluation;
	request.program = inquiry.question.program;
	request.customers = feed_customers(nids, ids);
	population_scan(&request, inquire_slice, &inquiry, &population);
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
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const Oid	types[] = {INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID};
	Datum	   *values[5];
	bool	   *nulls[5];
	Asked	   *asked;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	count = elements(fcinfo, 1, types[0], &values[0], &nulls[0]);
	for (int i = 1; i < 5; i++)
	{
		if (elements(fcinfo, i + 1, types[i], &values[i], &nulls[i]) != count)
			ereport(ERROR,
					(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
					 errmsg("arrays must have one length")));
	}
	if (count == 0)
		return (Datum) 0;
	asked = palloc0(sizeof(Asked) * (Size) count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[0][i] || nulls[1][i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("customers and instants must not be null")));
		asked[i].customer = DatumGetInt64(values[0][i]);
		asked[i].number = i + 1;
		asked[i].at = DatumGetTimestampTz(values[1][i]);
		if (TIMESTAMP_NOT_FINITE(asked[i].at))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("instants must be finite")));
		asked[i].has_entry = !nulls[2][i];
		asked[i].entry = asked[i].has_entry ? DatumGetTimestampTz(values[2][i]) : 0;
		asked[i].kind = nulls[3][i] || nulls[4][i] ? NULL : TextDatumGetCString(values[3][i]);
		asked[i].event_at = asked[i].kind == NULL ? 0 : DatumGetTimestampTz(values[4][i]);
	}
	inquire(PG_GETARG_PREDICATE_P(0), asked, count);
	for (int i = 0; i < count; i++)
	{
		Datum		result[2] = {Int32GetDatum(asked[i].number), BoolGetDatum(asked[i].truth)};
		bool		isnull[2] = {false, false};

		if (asked[i].known)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, result, isnull);
	}
	return (Datum) 0;
}

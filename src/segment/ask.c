/*
 * ask.c
 *		Asking without storing: who matches, how many at past instants, one customer, why.
 *
 * Population-wide questions go over the same one pass as the refresh; questions about one customer read by index.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/compare.h"
#include "feed/feed.h"
#include "predicate/eval.h"
#include "predicate/predicate_functions.h"
#include "segment/ask.h"
#include "segment/population.h"

static void
question_compile(Question *question, SegmentResolver resolver)
{
	question->program = program_create(CurrentMemoryContext);
	question->root = program_add(question->program, question->tree, resolver, question->catalog);
	question->evaluation = evaluation_create(question->program, calendar_zone(clock_timezone()));
}

static bool
names_segment(AstNode *node, void *context)
{
	*(bool *) context |= node->tag == AST_IN_SEGMENT;
	return true;
}

void
question_init(Question *question, const Predicate *predicate)
{
	bool		segments = false;

	question->tree = predicate_tree(predicate);
	predicate_walk(question->tree, names_segment, &segments);
	question->catalog = segments ? segment_catalog_load() : palloc0(sizeof(SegmentCatalog));
	question_compile(question, segment_resolver);
}

typedef struct Matching
{
	Question	question;
	TimestampTz at;
	int64		count;
	int64		room;
	int64	   *customers;
} Matching;

static void
matching_slice(void *context, const PopulationSlice *slice)
{
	Matching   *matching = context;

	evaluation_set_instant(matching->question.evaluation, matching->at, false, 0);
	for (int c = 0; c < slice->count; c++)
	{
		if (!slice->present[c])
			continue;
		evaluation_set_facts(matching->question.evaluation, &slice->facts[c]);
		if (!evaluation_truth(matching->question.evaluation, matching->question.root, NULL))
			continue;
		if (matching->count == matching->room)
		{
			matching->room *= 2;
			matching->customers = repalloc_huge(matching->customers, sizeof(int64) * matching->room);
		}
		matching->customers[matching->count++] = slice->facts[c].customer;
	}
}

PG_FUNCTION_INFO_V1(crm_segment_matching);
Datum
crm_segment_matching(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Matching	matching = {0};
	PopulationRequest request = {0};
	Population	population;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	question_init(&matching.question, PG_GETARG_PREDICATE_P(0));
	matching.at = PG_GETARG_TIMESTAMPTZ(1);
	matching.room = 1024;
	matching.customers = palloc(sizeof(int64) * matching.room);
	request.evaluation = matching.question.evaluation;
	request.program = matching.question.program;
	request.from = matching.at;
	population_scan(&request, matching_slice, &matching, &population);

	qsort(matching.customers, matching.count, sizeof(int64), int64_compare);
	for (int64 i = 0; i < matching.count; i++)
	{
		Datum		value = Int64GetDatum(matching.customers[i]);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}

typedef struct Sizes
{
	Question	question;
	int			count;
	TimestampTz *at;
	int64	   *sizes;
} Sizes;

static void
sizes_slice(void *context, const PopulationSlice *slice)
{
	Sizes	   *sizes = context;

	for (int i = 0; i < sizes->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		evaluation_set_instant(sizes->question.evaluation, sizes->at[i], false, 0);
		for (int c = 0; c < slice->count; c++)
		{
			if (!slice->present[c])
				continue;
			evaluation_set_facts(sizes->question.evaluation, &slice->facts[c]);
			if (evaluation_truth(sizes->question.evaluation, sizes->question.root, NULL))
				sizes->sizes[i]++;
		}
	}
}

PG_FUNCTION_INFO_V1(crm_segment_population_size);
Datum
crm_segment_population_size(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Sizes		sizes = {0};
	PopulationRequest request = {0};
	Population	population;
	Datum	   *elements;
	bool	   *nulls;
	TimestampTz first = DT_NOEND;

	InitMaterializedSRF(fcinfo, 0);
	question_init(&sizes.question, PG_GETARG_PREDICATE_P(0));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &elements, &nulls, &sizes.count);
	sizes.at = palloc(sizeof(TimestampTz) * Max(sizes.count, 1));
	sizes.sizes = palloc0(sizeof(int64) * Max(sizes.count, 1));
	for (int i = 0; i < sizes.count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("an instant must not be null")));
		sizes.at[i] = DatumGetTimestampTz(elements[i]);
		first = Min(first, sizes.at[i]);
	}
	if (sizes.count == 0)
		return (Datum) 0;
	request.evaluation = sizes.question.evaluation;
	request.program = sizes.question.program;
	request.from = first;
	population_scan(&request, sizes_slice, &sizes, &population);

	for (int i = 0; i < sizes.count; i++)
	{
		Datum		values[2] = {TimestampTzGetDatum(sizes.at[i]), Int64GetDatum(sizes.sizes[i])};
		bool		isnull[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, isnull);
	}
	return (Datum) 0;
}

/* One customer's facts as they are now, with the static segments he is in. NULL if nothing is known of him. */
static Facts *
facts_of_customer(Question *question, int64 customer)
{
	MemoryContext context = CurrentMemoryContext;
	Facts	   *facts = NULL;
	Oid			type = INT8OID;
	Datum		argument = Int64GetDatum(customer);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute_with_args("SELECT crm.profile_of(c.id), (SELECT pg_catalog.array_agg(DISTINCT s.segment_id ORDER BY s.segment_id) "
							  "FROM crm.static_member AS s WHERE s.customer_id OPERATOR(pg_catalog.=) ANY (crm.ids_of(c.id))), c.id "
							  "FROM (SELECT crm.resolve_customer($1) OFFSET 0) AS c (id)",
							  1, &type, &argument, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not read the profile of a customer");
	else
	{
		bool		isnull;
		Datum		profile = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		MemoryContext old = MemoryContextSwitchTo(context);

		if (!isnull)
		{
			Datum		segments;

			facts = facts_from_profile(question->program, (Profile *) PG_DETOAST_DATUM_COPY(profile));
			facts->has_customer = true;
			facts->customer = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &isnull));
			segments = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &isnull);
			if (!isnull)
			{
				ArrayType  *array = (ArrayType *) PG_DETOAST_DATUM_COPY(segments);

				facts->nsegments = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
				facts->segments = (const int32 *) ARR_DATA_PTR(array);
			}
		}
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return facts;
}

PG_FUNCTION_INFO_V1(crm_segment_evaluate);
Datum
crm_segment_evaluate(PG_FUNCTION_ARGS)
{
	Question	question;
	Facts	   *facts;

	question_init(&question, PG_GETARG_PREDICATE_P(1));
	facts = facts_of_customer(&question, PG_GETARG_INT64(0));
	if (facts == NULL)
		PG_RETURN_NULL();
	evaluation_set_facts(question.evaluation, facts);
	evaluation_set_instant(question.evaluation, PG_GETARG_TIMESTAMPTZ(2), false, 0);
	PG_RETURN_BOOL(evaluation_truth(question.evaluation, question.root, NULL));
}

/* segment_resolver, for a tree that people read */
static AstNode *
naming_resolver(const Value *value, int *static_id, void *context)
{
	AstNode    *tree = segment_resolver(value, static_id, context);

	if (tree != NULL)
		segment_ids_to_names(tree, context);
	return tree;
}

PG_FUNCTION_INFO_V1(crm_segment_explain);
Datum
crm_segment_explain(PG_FUNCTION_ARGS)
{
	Question	question;
	Segment    *segment;
	Facts	   *facts;
	text	   *name;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2))
		return (Datum) 0;
	name = PG_GETARG_TEXT_PP(1);
	question.catalog = segment_catalog_load();
	segment = segment_by_name(question.catalog, VARDATA_ANY(name), (int) VARSIZE_ANY_EXHDR(name));
	if (segment->predicate == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("segment \"%s\" is static", segment->name),
				 errdetail("Its members were listed; there is no predicate to explain.")));
	question.tree = predicate_tree(segment->predicate);
	segment_ids_to_names(question.tree, question.catalog);
	question_compile(&question, naming_resolver);
	facts = facts_of_customer(&question, PG_GETARG_INT64(0));
	if (facts == NULL)
		return (Datum) 0;
	evaluation_set_facts(question.evaluation, facts);
	evaluation_set_instant(question.evaluation, PG_GETARG_TIMESTAMPTZ(2), false, 0);
	/* run as the owner of the extension: what may be shown is up to who has called */
	explain_tree(question.evaluation, question.tree, question.program, naming_resolver, question.catalog,
				 feed_hidden_names(GetOuterUserId()), (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(crm_segment_resolve);
Datum
crm_segment_resolve(PG_FUNCTION_ARGS)
{
	AstNode    *tree = predicate_tree(PG_GETARG_PREDICATE_P(0));

	segment_names_to_ids(tree, segment_catalog_load());
	PG_RETURN_PREDICATE_P(predicate_make(tree));
}

PG_FUNCTION_INFO_V1(crm_segment_name);
Datum
crm_segment_name(PG_FUNCTION_ARGS)
{
	AstNode    *tree = predicate_tree(PG_GETARG_PREDICATE_P(0));

	segment_ids_to_names(tree, segment_catalog_load());
	PG_RETURN_PREDICATE_P(predicate_make(tree));
}

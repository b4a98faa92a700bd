/*
 * rfm_scores.c
 *		crm.scores_of(), rfm_scores(), rfm_matrix() and rfm_movement(): scores as rows.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/arguments.h"
#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_rfm_scores_of);
PG_FUNCTION_INFO_V1(crm_score_rfm_scores);
PG_FUNCTION_INFO_V1(crm_score_rfm_matrix);
PG_FUNCTION_INFO_V1(crm_score_rfm_movement);

static void
put_scores(ReturnSetInfo *rsinfo, const RfmPopulation *population, const RfmResult *result)
{
	const RfmCustomer *customers = rfm_population_customers(population);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "crm scores row", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);

	for (uint32 i = 0; i < result->count; i++)
	{
		Datum		values[5];
		bool		nulls[5] = {false};

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		values[0] = Int64GetDatum(customers[result->index[i]].customer);
		values[1] = Int32GetDatum(result->recency[i]);
		values[2] = Int64GetDatum(result->frequency[i]);
		values[3] = NumericGetDatum(decimal_to_numeric(rfm_population_total(population, result->index[i])));
		values[4] = RfmGetDatum(result->score[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
}

Datum
crm_score_rfm_scores_of(PG_FUNCTION_ARGS)
{
	RfmScoring	scoring;
	RfmPopulation *population;
	RfmResult	result;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	rfm_get_scoring(fcinfo, 1, 2, &scoring);
	population = rfm_population_from_datum(PG_GETARG_DATUM(0));
	rfm_score_population(population, &scoring, &result);
	put_scores((ReturnSetInfo *) fcinfo->resultinfo, population, &result);
	return (Datum) 0;
}

/*
 * What the functions on the feed have in common: since, count_by, kind and amount from "first" on.
 */
static void
get_reading(FunctionCallInfo fcinfo, int first, const RfmScoring *scoring, RfmReading *reading)
{
	memset(reading, 0, sizeof(RfmReading));
	argument_require(fcinfo, first, "since");
	reading->since = PG_GETARG_TIMESTAMPTZ(first);
	reading->counting = rfm_parse_counting(argument_text(fcinfo, first + 1, "count_by"));
	reading->kind = argument_text(fcinfo, first + 2, "kind");
	reading->amount = argument_text(fcinfo, first + 3, "amount");
	reading->until = scoring->at;
	reading->refunds = true;
	reading->zone = scoring->zone;
}

Datum
crm_score_rfm_scores(PG_FUNCTION_ARGS)
{
	RfmScoring	scoring;
	RfmReading	reading;
	RfmPopulation *population;
	RfmResult	result;

	InitMaterializedSRF(fcinfo, 0);
	rfm_get_scoring(fcinfo, 0, 1, &scoring);
	get_reading(fcinfo, 8, &scoring, &reading);
	population = rfm_read_population(&reading);
	rfm_score_population(population, &scoring, &result);
	put_scores((ReturnSetInfo *) fcinfo->resultinfo, population, &result);
	return (Datum) 0;
}

/* The segment of a pair of recency and frequency, if it is the same whatever the monetary score. */
static const char *
segment_of_pair(const RfmMap *map, int r, int f, int bins)
{
	const char *segment = rfm_map_segment(map, rfm_make(r, f, 1));

	for (int m = 2; m <= bins && segment != NULL; m++)
	{
		const char *other = rfm_map_segment(map, rfm_make(r, f, m));

		if (other == NULL || strcmp(other, segment) != 0)
			segment = NULL;
	}
	return segment;
}

Datum
crm_score_rfm_matrix(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RfmScoring	scoring;
	RfmReading	reading;
	RfmMap	   *map;
	RfmPopulation *population;
	RfmResult	result;
	DecimalSum *cells = palloc0(sizeof(DecimalSum) * (RFM_MAX_BINS + 1) * (RFM_MAX_BINS + 1));

	InitMaterializedSRF(fcinfo, 0);
	rfm_get_scoring(fcinfo, 0, 1, &scoring);
	get_reading(fcinfo, 8, &scoring, &reading);
	map = rfm_map_load(argument_text(fcinfo, 12, "map"));
	population = rfm_read_population(&reading);
	rfm_score_population(population, &scoring, &result);
	for (uint32 i = 0; i < result.count; i++)
		decimal_sum_add(&cells[rfm_recency(result.score[i]) * (RFM_MAX_BINS + 1) + rfm_frequency(result.score[i])],
						rfm_population_total(population, result.index[i]));

	for (int r = scoring.bins[RFM_R_DIMENSION]; r >= 1; r--)
	{
		for (int f = 1; f <= scoring.bins[RFM_F_DIMENSION]; f++)
		{
			const DecimalSum *cell = &cells[r * (RFM_MAX_BINS + 1) + f];
			const char *segment = segment_of_pair(map, r, f, scoring.bins[RFM_M_DIMENSION]);
			Decimal		total;
			Datum		values[5] = {0};
			bool		nulls[5] = {false};

			if (!decimal_sum_total(cell, &total))
				ereport(ERROR,
						(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						 errmsg("total of the customers is out of range")));
			values[0] = Int32GetDatum(r);
			values[1] = Int32GetDatum(f);
			nulls[2] = segment == NULL;
			if (segment != NULL)
				values[2] = CStringGetTextDatum(segment);
			values[3] = Int64GetDatum(cell->count);
			values[4] = NumericGetDatum(decimal_to_numeric(total));
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	}
	return (Datum) 0;
}

Datum
crm_score_rfm_movement(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RfmScoring	scoring;
	RfmScoring	scoring_before;
	RfmReading	reading;
	RfmMap	   *map;
	RfmPopulation *first;
	RfmPopulation *second;
	RfmResult	before;
	RfmResult	after;
	const RfmCustomer *customers_before;
	const RfmCustomer *customers;
	uint32		b = 0;
	MemoryContext row;
	MemoryContext old;

	InitMaterializedSRF(fcinfo, 0);
	rfm_get_scoring(fcinfo, 1, 2, &scoring);
	get_reading(fcinfo, 9, &scoring, &reading);
	argument_require(fcinfo, 0, "before");
	scoring_before = scoring;
	scoring_before.at = PG_GETARG_TIMESTAMPTZ(0);
	if (TIMESTAMP_NOT_FINITE(scoring_before.at) || scoring_before.at > scoring.at)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite and not later than \"%s\"", "before", "at")));
	map = rfm_map_load(argument_text(fcinfo, 13, "map"));
	rfm_read_populations(&reading, scoring_before.at, &first, &second);
	rfm_score_population(first, &scoring_before, &before);
	rfm_score_population(second, &scoring, &after);
	customers_before = rfm_population_customers(first);
	customers = rfm_population_customers(second);

	/* Both ascend by customer, and whoever was there before is there still. */
	row = AllocSetContextCreate(CurrentMemoryContext, "crm scores row", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(row);
	for (uint32 i = 0; i < after.count; i++)
	{
		int64		customer = customers[after.index[i]].customer;
		const char *segment = rfm_map_segment(map, after.score[i]);
		Datum		values[5] = {0};
		bool		nulls[5] = {false, true, false, true, true};

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		values[0] = Int64GetDatum(customer);
		values[2] = RfmGetDatum(after.score[i]);
		if (segment != NULL)
		{
			values[4] = CStringGetTextDatum(segment);
			nulls[4] = false;
		}
		if (b < before.count && customers_before[before.index[b]].customer == customer)
		{
			values[1] = RfmGetDatum(before.score[b]);
			nulls[1] = false;
			segment = rfm_map_segment(map, before.score[b]);
			if (segment != NULL)
			{
				values[3] = CStringGetTextDatum(segment);
				nulls[3] = false;
			}
			b++;
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	return (Datum) 0;
}

/*
 * rfm_agg.c
 *		crm.rfm_agg(customer, at, amount): the transition and combine functions of a population.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "score/arguments.h"
#include "score/rfm.h"
#include "score/rfm_population_private.h"

PG_FUNCTION_INFO_V1(crm_score_population_add);
PG_FUNCTION_INFO_V1(crm_score_population_add_orders);
PG_FUNCTION_INFO_V1(crm_score_population_add_counted);
PG_FUNCTION_INFO_V1(crm_score_population_merge);

/* Where a state has to live: with the aggregate, or with the call when it is called as any function. */
static MemoryContext
state_context(FunctionCallInfo fcinfo)
{
	MemoryContext context;

	if (AggCheckCallContext(fcinfo, &context))
		return context;
	return CurrentMemoryContext;
}

static Datum
add_row(FunctionCallInfo fcinfo, RfmCounting counting, const char *zone, int64 count)
{
	RfmPopulation *population;
	Decimal		amount;
	bool		known;
	TimestampTz at;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || TIMESTAMP_NOT_FINITE(at = PG_GETARG_TIMESTAMPTZ(2)))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	if (PG_ARGISNULL(0))
		population = rfm_population_create(state_context(fcinfo), counting, zone);
	else
	{
		population = rfm_population_writable(PG_GETARG_DATUM(0), state_context(fcinfo));
		if (population->counting != counting || (counting == RFM_BY_DAYS && strcmp(population->zone, zone) != 0))
			rfm_population_mismatch(population, counting, zone);
	}
	known = !PG_ARGISNULL(3) && decimal_from_datum(PG_GETARG_DATUM(3), &amount);
	rfm_population_add(population, PG_GETARG_INT64(1), at, known ? &amount : NULL, count);
	PG_RETURN_DATUM(rfm_population_datum(population));
}

Datum
crm_score_population_add(PG_FUNCTION_ARGS)
{
	return add_row(fcinfo, RFM_BY_ROWS, "", 1);
}

Datum
crm_score_population_add_orders(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(4))
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	if (PG_GETARG_INT64(4) < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a row cannot stand for " INT64_FORMAT " orders", PG_GETARG_INT64(4))));
	return add_row(fcinfo, RFM_BY_ROWS, "", PG_GETARG_INT64(4));
}

/* The words of the latest call, which are nearly always those of this one; may be cold at any call. */
typedef struct CountedCache
{
	RfmCounting counting;
	int			zone_length;
	char		zone[256];
	int			word_length;
	char		word[16];
} CountedCache;

Datum
crm_score_population_add_counted(PG_FUNCTION_ARGS)
{
	CountedCache *cache = fcinfo->flinfo->fn_extra;
	text	   *word;
	text	   *zone;

	argument_require(fcinfo, 4, "count_by");
	argument_require(fcinfo, 5, "zone");
	word = PG_GETARG_TEXT_PP(4);
	zone = PG_GETARG_TEXT_PP(5);
	if (cache == NULL)
	{
		cache = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(CountedCache));
		cache->word_length = -1;
		fcinfo->flinfo->fn_extra = cache;
	}
	if (cache->word_length != (int) VARSIZE_ANY_EXHDR(word) ||
		memcmp(cache->word, VARDATA_ANY(word), cache->word_length) != 0 ||
		cache->zone_length != (int) VARSIZE_ANY_EXHDR(zone) ||
		memcmp(cache->zone, VARDATA_ANY(zone), cache->zone_length) != 0)
	{
		cache->word_length = -1;
		cache->counting = rfm_parse_counting(text_to_cstring(word));
		cache->zone_length = VARSIZE_ANY_EXHDR(zone);
		if (cache->zone_length >= (int) sizeof(cache->zone))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized time zone \"%s\"", text_to_cstring(zone))));
		memcpy(cache->zone, VARDATA_ANY(zone), cache->zone_length);
		cache->zone[cache->zone_length] = '\0';
		memcpy(cache->word, VARDATA_ANY(word), VARSIZE_ANY_EXHDR(word));
		cache->word_length = VARSIZE_ANY_EXHDR(word);
	}
	return add_row(fcinfo, cache->counting, cache->zone, 1);
}

Datum
crm_score_population_merge(PG_FUNCTION_ARGS)
{
	RfmPopulation *population;

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
		PG_RETURN_NULL();
	population = rfm_population_writable(PG_GETARG_DATUM(PG_ARGISNULL(0) ? 1 : 0), state_context(fcinfo));
	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(1))
		rfm_population_merge(population, rfm_population_from_datum(PG_GETARG_DATUM(1)));
	PG_RETURN_DATUM(rfm_population_datum(population));
}

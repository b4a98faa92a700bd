/*
 * rfm_options.c
 *		Arguments that the functions on populations have in common.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "compat.h"
#include "score/arguments.h"
#include "score/rfm.h"

static const char *const counting_names[] = {"rows", "orders", "days"};
static const char *const method_names[] = {"quantile", "ntile", "r", "pandas", "fixed"};
static const char *const recency_names[] = {"at", "last", "next"};

RfmCounting
rfm_parse_counting(const char *word)
{
	for (int i = 0; i < (int) lengthof(counting_names); i++)
	{
		if (strcmp(word, counting_names[i]) == 0)
			return (RfmCounting) i;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized value of argument \"%s\": \"%s\"", "count_by", word),
			 errhint("It is rows, orders or days.")));
	return RFM_BY_ROWS;			/* keep compiler quiet */
}

const char *
rfm_counting_name(RfmCounting counting)
{
	return counting_names[counting];
}

/*
 * Bounds of a dimension, ascending.
 */
static void
get_bounds(FunctionCallInfo fcinfo, int argument, const char *name, RfmDimension dimension, RfmScoring *scoring)
{
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	argument_require(fcinfo, argument, name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), NUMERICOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	if (count < RFM_MIN_BINS - 1 || count > RFM_MAX_BINS - 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" has %d bounds", name, count),
				 errdetail("There are %d to %d bins, and one bound fewer.", RFM_MIN_BINS, RFM_MAX_BINS)));
	scoring->bins[dimension] = count + 1;
	scoring->bounds[dimension] = palloc(sizeof(Decimal) * count);
	for (int i = 0; i < count; i++)
	{
		Decimal    *bound = &scoring->bounds[dimension][i];

		if (nulls[i] || !decimal_from_numeric(DatumGetNumeric(elements[i]), bound))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a bound in \"%s\" is no number", name)));
		if (i > 0 && decimal_compare(bound[-1], bound[0]) >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("bounds in \"%s\" are not ascending", name)));
	}
}

/*
 * The arguments that all scoring functions have: "at", and from "first" on recency_to, method, bins, three arrays of bounds
 * and zone.
 */
void
rfm_get_scoring(FunctionCallInfo fcinfo, int at, int first, RfmScoring *scoring)
{
	memset(scoring, 0, sizeof(RfmScoring));
	scoring->at = argument_instant(fcinfo, at, "at");
	if (TIMESTAMP_NOT_FINITE(scoring->at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "at")));

	scoring->recency_to = (RfmRecencyTo) argument_word(fcinfo, first, "recency_to", recency_names, lengthof(recency_names));
	scoring->method = (RfmMethod) argument_word(fcinfo, first + 1, "method", method_names, lengthof(method_names));
	if (scoring->method == RFM_FIXED)
	{
		get_bounds(fcinfo, first + 3, "recency_bounds", RFM_R_DIMENSION, scoring);
		get_bounds(fcinfo, first + 4, "frequency_bounds", RFM_F_DIMENSION, scoring);
		get_bounds(fcinfo, first + 5, "monetary_bounds", RFM_M_DIMENSION, scoring);
	}
	else
	{
		int			bins = argument_integer(fcinfo, first + 2, "bins", RFM_MIN_BINS, RFM_MAX_BINS);

		for (int i = 0; i < RFM_DIMENSIONS; i++)
		{
			scoring->bins[i] = bins;
			if (!PG_ARGISNULL(first + 3 + i))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("bounds are given, but the method is \"%s\"", method_names[scoring->method]),
						 errhint("Say method => 'fixed'.")));
		}
	}

	scoring->zone = argument_text(fcinfo, first + 6, "zone");
}

/*
 * The zone of a population's days, for functions that need its orders one by one: the one that is asked for (or NULL), which
 * must be that of the population if it has one, else that of the shop. A population counted by rows has no single orders.
 */
const char *
rfm_zone_of(const RfmPopulation *population, const char *zone)
{
	const char *own = population == NULL ? "" : rfm_population_zone(population);

	if (population != NULL && rfm_population_counting(population) == RFM_BY_ROWS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("population is counted by rows"),
				 errdetail("Only the totals of each customer are kept in it."),
				 errhint("Aggregate it with crm.rfm_agg(customer, at, amount, 'days', zone).")));
	if (zone != NULL && own[0] != '\0' && strcmp(zone, own) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the days of the population are those of time zone \"%s\", not of \"%s\"", own, zone)));
	if (own[0] != '\0')
		return own;
	return zone != NULL ? zone : clock_timezone();
}

/*
 * rfm_bins.c
 *		Values into bins, and a population into scores.
 *
 * Every method comes down to cuts in the sorted customers: how many lie below each bound between two bins. Values are sorted
 * as integers where they are ones (days and orders always, totals nearly always), by digits and not by comparing; customers
 * of equal values stay in the order of their ids.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "score/rfm.h"
#include "score/rfm_population_private.h"

/* One of the three dimensions, sorted. */
typedef struct Sorted
{
	uint32		count;
	const uint32 *place;		/* of the i-th smallest, among the customers by id */
	const uint64 *keys;			/* of the i-th smallest, when they are integers, sortable; else NULL */
	int			scale;			/* of these */
	const Decimal *values;		/* by place; else */
} Sorted;

static Decimal
value_at(const Sorted *sorted, uint32 i)
{
	Decimal		value;

	if (sorted->keys == NULL)
		return sorted->values[sorted->place[i]];
	value.u.mantissa = (int64) rfm_sortable((int64) sorted->keys[i]);
	value.scale = sorted->scale;
	return value;
}

static Decimal
multiply(Decimal a, int64 factor)
{
	Decimal		result;

	if (!decimal_multiply(a, decimal_from_int64(factor), &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return result;
}

static Decimal
add(Decimal a, Decimal b)
{
	Decimal		result;

	if (!decimal_add(a, b, &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return result;
}

/*
 * How many values, times the factor, lie below the bound; or below it or at it.
 */
static uint32
count_below(const Sorted *sorted, int64 factor, Decimal bound, bool or_at)
{
	uint32		low = 0;
	uint32		high = sorted->count;

	while (low < high)
	{
		uint32		middle = low + (high - low) / 2;
		int			order = decimal_compare(multiply(value_at(sorted, middle), factor), bound);

		if (order < 0 || (or_at && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * How many of the sorted customers lie below the upper end of bin "bin" (from 1) of so many.
 */
static uint32
cut_of(const Sorted *sorted, const RfmScoring *scoring, RfmDimension dimension, int bin)
{
	int			bins = scoring->bins[dimension];
	uint64		count = sorted->count;

	switch (scoring->method)
	{
		case RFM_QUANTILE:
			/* In a better bin are those who are better than at least count * bin / bins others. */
			return count_below(sorted, 1, value_at(sorted, (uint32) ((count * bin + bins - 1) / bins) - 1), true);

		case RFM_NTILE:
			return (uint32) (count / bins * bin + Min((uint64) bin, count % bins));

		case RFM_R:
			{
				/* The quantile, plus 1, times the number of bins: exact where the quantile is no decimal number */
				uint64		position = (count - 1) * bin;
				uint32		below = (uint32) (position / bins);
				int64		rest = (int64) (position % bins);
				Decimal		bound = multiply(value_at(sorted, below), bins - rest);

				if (rest > 0)
					bound = add(bound, multiply(value_at(sorted, below + 1), rest));
				bound = add(bound, decimal_from_int64(bins));
				return count_below(sorted, bins, bound, false);
			}

		case RFM_PANDAS:
			return (uint32) (1 + (count - 1) * bin / bins);

		case RFM_FIXED:
			/* Up to so many days ago, but from so many orders or so much money on */
			return count_below(sorted, 1, scoring->bounds[dimension][bin - 1], dimension == RFM_R_DIMENSION);
	}
	pg_unreachable();
}

/*
 * Sets the scores of a dimension by the place of each customer.
 */
static void
assign(const Sorted *sorted, const RfmScoring *scoring, RfmDimension dimension, bool worst_last, int shift, RfmScore *scores)
{
	int			bins = scoring->bins[dimension];
	uint32		i = 0;

	for (int bin = 1; bin <= bins; bin++)
	{
		uint32		end = bin == bins ? sorted->count : Min(cut_of(sorted, scoring, dimension, bin), sorted->count);
		RfmScore	score = (RfmScore) (worst_last ? bins + 1 - bin : bin) << shift;

		for (; i < end; i++)
			scores[sorted->place[i]] |= score;
	}
}

/*
 * Sorts the customers by the keys that the sorter has been given.
 */
static void
sort_integers(RfmSorter *sorter, int scale, Sorted *sorted)
{
	memset(sorted, 0, sizeof(Sorted));
	for (uint32 i = 0; i < sorter->count; i++)
		sorter->values[i] = i;
	rfm_radix_sort(sorter);
	sorted->count = sorter->count;
	sorted->place = sorter->values;
	sorted->keys = sorter->keys;
	sorted->scale = scale;
}

static int
compare_totals(const void *a, const void *b, void *arg)
{
	const Decimal *values = arg;
	uint32		x = *(const uint32 *) a;
	uint32		y = *(const uint32 *) b;
	int			order = decimal_compare(values[x], values[y]);

	if (order == 0)
		order = (x > y) - (x < y);
	return order;
}

static void
score_recency(RfmSorter *sorter, const RfmScoring *scoring, RfmResult *result)
{
	/* Quantiles and ntile go from the worst, the longest, to the best; bounds of days from the shortest on. */
	bool		worst_last = scoring->method != RFM_QUANTILE && scoring->method != RFM_NTILE;
	Sorted		sorted;

	for (uint32 i = 0; i < result->count; i++)
		sorter->keys[i] = rfm_sortable(worst_last ? result->recency[i] : -(int64) result->recency[i]);
	sort_integers(sorter, 0, &sorted);
	assign(&sorted, scoring, RFM_R_DIMENSION, worst_last, 16, result->score);
}

static void
score_frequency(RfmSorter *sorter, const RfmScoring *scoring, RfmResult *result)
{
	Sorted		sorted;

	for (uint32 i = 0; i < result->count; i++)
		sorter->keys[i] = rfm_sortable(result->frequency[i]);
	sort_integers(sorter, 0, &sorted);
	assign(&sorted, scoring, RFM_F_DIMENSION, false, 8, result->score);
}

static void
score_monetary(RfmSorter *sorter, const RfmPopulation *population, const RfmScoring *scoring, RfmResult *result)
{
	Sorted		sorted;

	if (rfm_population_small_totals(population, result->index, (int64 *) sorter->keys))
	{
		for (uint32 i = 0; i < result->count; i++)
			sorter->keys[i] = rfm_sortable((int64) sorter->keys[i]);
		sort_integers(sorter, population->scale, &sorted);
	}
	else
	{
		Decimal    *values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Decimal) * (Size) result->count);

		for (uint32 i = 0; i < result->count; i++)
		{
			values[i] = rfm_population_total(population, result->index[i]);
			sorter->values[i] = i;
		}
		qsort_arg(sorter->values, result->count, sizeof(uint32), compare_totals, values);
		memset(&sorted, 0, sizeof(Sorted));
		sorted.count = result->count;
		sorted.place = sorter->values;
		sorted.values = values;
	}
	assign(&sorted, scoring, RFM_M_DIMENSION, false, 0, result->score);
}

/*
 * Days from the last order of each customer.
 */
static void
count_days(const RfmPopulation *population, const RfmScoring *scoring, RfmResult *result)
{
	RfmDays    *days = rfm_days_create(scoring->zone);
	DateADT		to = rfm_day(days, scoring->at);

	for (uint32 i = 0; i < result->count; i++)
		result->recency[i] = rfm_day(days, population->customers[result->index[i]].last);
	if (scoring->recency_to != RFM_TO_AT && result->count > 0)
	{
		to = result->recency[0];
		for (uint32 i = 1; i < result->count; i++)
			to = Max(to, result->recency[i]);
		if (scoring->recency_to == RFM_TO_NEXT)
			to++;
	}
	for (uint32 i = 0; i < result->count; i++)
		result->recency[i] = to - result->recency[i];
	pfree(days);
}

void
rfm_score_population(RfmPopulation *population, const RfmScoring *scoring, RfmResult *result)
{
	RfmSorter	sorter;
	Size		count;

	rfm_population_finish(population);
	count = population->ncustomers;
	rfm_sorter_init(&sorter, population->ncustomers);
	result->count = population->ncustomers;
	result->index = rfm_population_order_by(population, &sorter);
	result->recency = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int32) * Max(count, 1));
	result->frequency = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(int64) * Max(count, 1));
	result->score = MemoryContextAllocExtended(CurrentMemoryContext, sizeof(RfmScore) * Max(count, 1),
											   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	count_days(population, scoring, result);
	if (count == 0)
		return;
	for (uint32 i = 0; i < result->count; i++)
	{
		uint32		nkeys;

		if (population->counting == RFM_BY_ROWS)
			result->frequency[i] = population->customers[result->index[i]].count;
		else
		{
			(void) rfm_population_keys(population, result->index[i], &nkeys);
			result->frequency[i] = nkeys;
		}
	}
	CHECK_FOR_INTERRUPTS();
	score_recency(&sorter, scoring, result);
	score_frequency(&sorter, scoring, result);
	score_monetary(&sorter, population, scoring, result);
	rfm_sorter_free(&sorter);
}

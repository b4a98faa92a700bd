/*
 * rfm_money.c
 *		The sums of a population.
 *
 * A sum is 128 bits at the population's scale, which is the greatest scale met so far; when a greater one comes, all are
 * multiplied, at most 18 times. What does not fit, or comes as a numeric too long for a mantissa, is summed up beside it.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "score/rfm_population_private.h"

const int64 rfm_power_of_ten[DECIMAL_MAX_SCALE + 1] = {
	INT64CONST(1),
	INT64CONST(10),
	INT64CONST(100),
	INT64CONST(1000),
	INT64CONST(10000),
	INT64CONST(100000),
	INT64CONST(1000000),
	INT64CONST(10000000),
	INT64CONST(100000000),
	INT64CONST(1000000000),
	INT64CONST(10000000000),
	INT64CONST(100000000000),
	INT64CONST(1000000000000),
	INT64CONST(10000000000000),
	INT64CONST(100000000000000),
	INT64CONST(1000000000000000),
	INT64CONST(10000000000000000),
	INT64CONST(100000000000000000),
	INT64CONST(1000000000000000000)
};

/*
 * Sums that did not fit.
 */

static DecimalSum *
wide_sum(RfmPopulation *population, int32 *number)
{
	if (*number == 0)
	{
		if (population->nwide == population->wide_allocated)
		{
			population->wide_allocated = Max(population->wide_allocated * 2, 16);
			population->wide = population->wide == NULL ?
				MemoryContextAllocHuge(population->context, sizeof(DecimalSum) * (Size) population->wide_allocated) :
				repalloc_huge(population->wide, sizeof(DecimalSum) * (Size) population->wide_allocated);
		}
		memset(&population->wide[population->nwide], 0, sizeof(DecimalSum));
		*number = ++population->nwide;
	}
	return &population->wide[*number - 1];
}

void
rfm_add_wide(RfmPopulation *population, int32 *number, Decimal amount)
{
	MemoryContext old = MemoryContextSwitchTo(population->context);

	decimal_sum_add(wide_sum(population, number), amount);
	MemoryContextSwitchTo(old);
}

/* A sum as it stands goes there, and begins anew at 0. */
void
rfm_move_to_wide(RfmPopulation *population, int32 *number, int128 sum, int scale)
{
	DecimalSum	part = {0};
	Decimal		amount;

	part.mantissa = sum;
	part.scale = scale;
	if (!decimal_sum_total(&part, &amount))
		elog(ERROR, "sum of 128 bits is no number");
	rfm_add_wide(population, number, amount);
}

Decimal
rfm_wide_total(const RfmPopulation *population, int32 number)
{
	Decimal		total;

	if (!decimal_sum_total(&population->wide[number - 1], &total))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return total;
}

/*
 * Multiplies all sums, so that amounts with so many digits after the point can be added.
 */
void
rfm_population_set_scale(RfmPopulation *population, int scale)
{
	int64		factor = rfm_power_of_ten[scale - population->scale];

	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		RfmCustomer *customer = &population->customers[i];
		int128		sum;

		if (__builtin_mul_overflow(customer->sum, (int128) factor, &sum))
		{
			rfm_move_to_wide(population, &customer->wide, customer->sum, population->scale);
			sum = 0;
		}
		customer->sum = sum;
	}
	for (Size i = 0; i < population->nkeys; i++)
	{
		RfmKey	   *key = &population->keys[i];
		int64		amount;

		if (__builtin_mul_overflow(key->amount, factor, &amount))
		{
			rfm_move_to_wide(population, &key->wide, key->amount, population->scale);
			amount = 0;
		}
		key->amount = amount;
	}
	population->scale = scale;
}

void
rfm_population_add_sum(RfmPopulation *population, uint32 customer, Decimal amount)
{
	RfmCustomer *record = &population->customers[customer];
	int128		sum;

	if (unlikely(amount.scale == DECIMAL_BIG))
	{
		int			scale = DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(amount.u.numeric)));

		rfm_add_wide(population, &record->wide, amount);
		record->scale = Max(record->scale, scale);
		return;
	}
	if (unlikely(amount.scale > population->scale))
		rfm_population_set_scale(population, amount.scale);
	sum = (int128) amount.u.mantissa * rfm_power_of_ten[population->scale - amount.scale];
	if (unlikely(__builtin_add_overflow(record->sum, sum, &sum)))
	{
		rfm_move_to_wide(population, &record->wide, record->sum, population->scale);
		record->sum = (int128) amount.u.mantissa * rfm_power_of_ten[population->scale - amount.scale];
	}
	else
		record->sum = sum;
	record->scale = Max(record->scale, amount.scale);
}

void
rfm_population_merge_sum(RfmPopulation *population, uint32 index, const RfmPopulation *other, const RfmCustomer *from)
{
	RfmCustomer *record = &population->customers[index];
	int128		sum;

	if (__builtin_mul_overflow(from->sum, (int128) rfm_power_of_ten[population->scale - other->scale], &sum) ||
		__builtin_add_overflow(record->sum, sum, &sum))
		rfm_move_to_wide(population, &record->wide, from->sum, other->scale);
	else
		record->sum = sum;
	if (from->wide != 0)
		rfm_add_wide(population, &record->wide, rfm_wide_total(other, from->wide));
	record->scale = Max(record->scale, from->scale);
}

/*
 * A sum at the population's scale and what is beside it.
 */
static Decimal
total_of(const RfmPopulation *population, int128 sum, int scale, int32 wide)
{
	DecimalSum	total = {0};
	Decimal		result;

	total.mantissa = sum / rfm_power_of_ten[population->scale - scale];
	total.scale = scale;
	if (wide != 0)
		decimal_sum_add(&total, rfm_wide_total(population, wide));
	if (!decimal_sum_total(&total, &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return result;
}

Decimal
rfm_population_total(const RfmPopulation *population, uint32 customer)
{
	const RfmCustomer *record = &population->customers[customer];
	int			scale = Min(record->scale, population->scale);
	Decimal		total;

	if (likely(record->wide == 0 && record->sum >= PG_INT64_MIN && record->sum <= PG_INT64_MAX))
	{
		total.u.mantissa = (int64) record->sum;
		total.scale = population->scale;
		if (scale < population->scale)
		{
			total.u.mantissa /= rfm_power_of_ten[population->scale - scale];
			total.scale = scale;
		}
		return total;
	}

	/* Has no digits but zeros beyond the scale that is shown, so that rounding only sets how it is shown. */
	total = total_of(population, record->sum, scale, record->wide);
	if (record->wide != 0 && record->scale <= NUMERIC_MAX_RESULT_SCALE)
	{
		Datum		rounded = DirectFunctionCall2(numeric_round, NumericGetDatum(decimal_to_numeric(total)),
												  Int32GetDatum(record->scale));

		if (!decimal_from_numeric(DatumGetNumeric(rounded), &total))
			elog(ERROR, "rounded number is not a number");
	}
	return total;
}

Decimal
rfm_population_amount(const RfmPopulation *population, const RfmKey *key)
{
	Decimal		amount;

	if (key->wide != 0)
		return total_of(population, key->amount, population->scale, key->wide);
	amount.u.mantissa = key->amount;
	amount.scale = population->scale;
	return amount;
}

bool
rfm_population_small_totals(const RfmPopulation *population, const uint32 *order, int64 *totals)
{
	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		const RfmCustomer *record = &population->customers[order[i]];

		if (record->wide != 0 || record->sum < PG_INT64_MIN || record->sum > PG_INT64_MAX)
			return false;
		totals[i] = (int64) record->sum;
	}
	return true;
}

/*
 * rfm_money.c
 *		The sums of a population.
 *
 * A sum is 64 bits at the population's scale, which is the greatest scale met so far; when a greater one comes, all are
 * multiplied, at most 18 times. What does not fit, or comes as a numeric too long for a mantissa, is summed up beside it in
 * 128 bits or numeric. Every sum is exact, and a customer's total is shown at the greatest scale of his amounts, as numeric's
 * sum would show it; RfmCustomer.detail is that scale, or WIDE and the number of the sum beside.
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

#define WIDE ((uint32) 1 << 16)

static inline int32
wide_of(const RfmCustomer *record)
{
	return record->detail >= WIDE ? (int32) (record->detail - WIDE) : 0;
}

static DecimalSum *
wide_sum(RfmPopulation *population, int32 *number)
{
	if (*number == 0)
	{
		if (population->nwide == population->wide_allocated)
		{
			int32		allocated = Max(population->wide_allocated * 2, 16);

			population->wide = population->wide == NULL ?
				MemoryContextAllocHuge(population->context, sizeof(RfmWide) * (Size) allocated) :
				repalloc_huge(population->wide, sizeof(RfmWide) * (Size) allocated);
			population->wide_allocated = allocated;
		}
		memset(&population->wide[population->nwide], 0, sizeof(RfmWide));
		*number = ++population->nwide;
	}
	return &population->wide[*number - 1].sum;
}

void
rfm_add_wide(RfmPopulation *population, int32 *number, Decimal amount)
{
	MemoryContext old = MemoryContextSwitchTo(population->context);

	decimal_sum_add(wide_sum(population, number), amount);
	MemoryContextSwitchTo(old);
}

/* A sum at a scale goes there as it stands. */
void
rfm_move_to_wide(RfmPopulation *population, int32 *number, int64 sum, int scale)
{
	Decimal		amount;

	amount.u.mantissa = sum;
	amount.scale = scale;
	rfm_add_wide(population, number, amount);
}

Decimal
rfm_wide_total(const RfmPopulation *population, int32 number)
{
	Decimal		total;

	if (!decimal_sum_total(&population->wide[number - 1].sum, &total))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return total;
}

/*
 * Customers.
 */

int
rfm_shown_scale(const RfmPopulation *population, uint32 customer)
{
	const RfmCustomer *record = &population->customers[customer];
	int32		wide = wide_of(record);

	return wide != 0 ? population->wide[wide - 1].shown : (int) record->detail;
}

void
rfm_show_scale(RfmPopulation *population, uint32 customer, int scale)
{
	RfmCustomer *record = &population->customers[customer];
	int32		wide = wide_of(record);

	if (wide != 0)
		population->wide[wide - 1].shown = Max(population->wide[wide - 1].shown, scale);
	else
		record->detail = Max(record->detail, (uint32) scale);
}

void
rfm_population_add_beside(RfmPopulation *population, uint32 customer, Decimal amount)
{
	RfmCustomer *record = &population->customers[customer];
	int			shown = rfm_shown_scale(population, customer);
	int32		wide = wide_of(record);

	rfm_add_wide(population, &wide, amount);
	population->wide[wide - 1].shown = shown;
	record->detail = WIDE + (uint32) wide;
}

/* The sum of a customer goes beside it, and begins anew at 0. */
static void
move_beside(RfmPopulation *population, uint32 customer)
{
	Decimal		amount;

	amount.u.mantissa = population->customers[customer].sum;
	amount.scale = population->scale;
	population->customers[customer].sum = 0;
	rfm_population_add_beside(population, customer, amount);
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
		int64		sum;

		if (__builtin_mul_overflow(population->customers[i].sum, factor, &sum))
			move_beside(population, i);
		else
			population->customers[i].sum = sum;
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
	int64		sum;

	if (unlikely(amount.scale == DECIMAL_BIG))
	{
		int			scale = DatumGetInt32(DirectFunctionCall1(numeric_scale, NumericGetDatum(amount.u.numeric)));

		rfm_population_add_beside(population, customer, amount);
		rfm_show_scale(population, customer, scale);
		return;
	}
	if (unlikely(amount.scale > population->scale))
		rfm_population_set_scale(population, amount.scale);
	if (likely(!__builtin_mul_overflow(amount.u.mantissa, rfm_power_of_ten[population->scale - amount.scale], &sum) &&
			   !__builtin_add_overflow(record->sum, sum, &sum)))
		record->sum = sum;
	else
		rfm_population_add_beside(population, customer, amount);
	if (unlikely(record->detail < (uint32) amount.scale || record->detail >= WIDE))
		rfm_show_scale(population, customer, amount.scale);
}

void
rfm_population_merge_sum(RfmPopulation *population, uint32 customer, const RfmPopulation *other, uint32 from)
{
	RfmCustomer *record = &population->customers[customer];
	int32		wide = wide_of(&other->customers[from]);
	Decimal		amount;
	int64		sum;

	amount.u.mantissa = other->customers[from].sum;
	amount.scale = other->scale;
	if (!__builtin_mul_overflow(amount.u.mantissa, rfm_power_of_ten[population->scale - other->scale], &sum) &&
		!__builtin_add_overflow(record->sum, sum, &sum))
		record->sum = sum;
	else
		rfm_population_add_beside(population, customer, amount);
	if (wide != 0)
		rfm_population_add_beside(population, customer, rfm_wide_total(other, wide));
	rfm_show_scale(population, customer, rfm_shown_scale(other, from));
}

/*
 * A sum at the population's scale, of which no digit lies beyond the scale given, and what is beside it.
 */
static Decimal
total_of(const RfmPopulation *population, int64 sum, int scale, int32 wide)
{
	Decimal		total;
	Decimal		result;

	total.u.mantissa = sum / rfm_power_of_ten[population->scale - scale];
	total.scale = scale;
	if (likely(wide == 0))
		return total;
	if (!decimal_add(total, rfm_wide_total(population, wide), &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of a customer is out of range")));
	return result;
}

Decimal
rfm_population_total(const RfmPopulation *population, uint32 customer)
{
	const RfmCustomer *record = &population->customers[customer];
	int			shown = rfm_shown_scale(population, customer);
	int32		wide = wide_of(record);
	Decimal		total = total_of(population, record->sum, Min(shown, population->scale), wide);

	/* Has no digits but zeros beyond the scale that is shown, so that rounding only sets how it is shown. */
	if (wide != 0 && shown <= NUMERIC_MAX_RESULT_SCALE)
	{
		Datum		rounded = DirectFunctionCall2(numeric_round, NumericGetDatum(decimal_to_numeric(total)),
												  Int32GetDatum(shown));

		if (!decimal_from_numeric(DatumGetNumeric(rounded), &total))
			elog(ERROR, "rounded number is not a number");
	}
	return total;
}

Decimal
rfm_population_amount(const RfmPopulation *population, const RfmKey *key)
{
	return total_of(population, key->amount, population->scale, key->wide);
}

bool
rfm_population_small_totals(const RfmPopulation *population, const uint32 *order, int64 *totals)
{
	for (uint32 i = 0; i < population->ncustomers; i++)
	{
		const RfmCustomer *record = &population->customers[order[i]];

		if (wide_of(record) != 0)
			return false;
		totals[i] = record->sum;
	}
	return true;
}

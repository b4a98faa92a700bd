/*
 * abc_xyz.c
 *		Classes by share in the total, and by evenness over time.
 *
 * Classes are found without a division, by comparing products, so that an entry at a cut-off is where it belongs to the
 * last digit.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "score/abc_xyz.h"
#include "score/periods.h"

static void
out_of_range(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value overflows numeric format")));
}

static Decimal
plus(Decimal a, Decimal b)
{
	if (!decimal_add(a, b, &a))
		out_of_range();
	return a;
}

static Decimal
minus(Decimal a, Decimal b)
{
	if (!decimal_subtract(a, b, &a))
		out_of_range();
	return a;
}

static Decimal
times(Decimal a, Decimal b)
{
	if (!decimal_multiply(a, b, &a))
		out_of_range();
	return a;
}

static bool
is_positive(Decimal value)
{
	return decimal_compare(value, decimal_from_int64(0)) > 0;
}

/*
 * Adds up the rows of each entry, which lie together and by day.
 */
static void
collect(const Sales *sales, const AbcXyzRules *rules, AbcXyzResult *result, DateADT *first, DateADT *last)
{
	bool		of_items = sales_kind(sales) == SALES_ITEMS;
	int64		nrows;
	const StreamRow *rows = sales_rows(sales, &nrows);
	int64		room = 1024;
	AbcXyz	   *entry = NULL;
	DateADT		period = 0;
	Decimal		quantity = decimal_from_int64(0);

	result->count = 0;
	result->entries = palloc(sizeof(AbcXyz) * room);
	*first = DATEVAL_NOEND;
	*last = DATEVAL_NOBEGIN;
	for (int64 i = 0; i < nrows; i++)
	{
		const StreamRow *row = &rows[i];
		const SalesSum *sum = sales_sum(sales, row);
		int64		key = of_items ? (int64) row->item : row->customer;
		DateADT		start;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if ((rules->has_since && row->at < rules->since) || (rules->has_until && row->at > rules->until))
			continue;
		start = calendar_trunc_date((DateADT) row->at, rules->period);
		*first = Min(*first, start);
		*last = Max(*last, start);
		if (entry == NULL || entry->key != key || period != start)
		{
			if (entry != NULL)
				entry->squares = plus(entry->squares, times(quantity, quantity));
			if (entry == NULL || entry->key != key)
			{
				if (result->count == room)
				{
					room *= 2;
					result->entries = repalloc_huge(result->entries, sizeof(AbcXyz) * room);
				}
				entry = &result->entries[result->count++];
				memset(entry, 0, sizeof(AbcXyz));	/* decimals are 0 then */
				entry->key = key;
				entry->first = start;
			}
			entry->sold++;
			period = start;
			quantity = decimal_from_int64(0);
		}
		quantity = plus(quantity, of_items ? sum->quantity : sum->amount);
		entry->quantity = plus(entry->quantity, of_items ? sum->quantity : sum->amount);
		entry->amount = plus(entry->amount, sum->amount);
	}
	if (entry != NULL)
		entry->squares = plus(entry->squares, times(quantity, quantity));
}

/* The greatest amount first; equal ones by their keys, which are in the order of names. */
static int
compare_entries(const void *a, const void *b)
{
	const AbcXyz *x = a;
	const AbcXyz *y = b;
	int			order = decimal_compare(y->amount, x->amount);

	if (order != 0)
		return order;
	return (x->key > y->key) - (x->key < y->key);
}

/*
 * Which class has what reaches so far of the total: the number of cut-offs that lie below. At a cut-off the better one,
 * and when what counts is where an entry begins, the worse one.
 */
static int
class_of(const AbcXyzRules *rules, Decimal reached, Decimal total)
{
	int			class = 0;

	while (class < rules->nabc)
	{
		int			order = decimal_compare(reached, times(rules->abc[class], total));

		if (rules->crossing ? order < 0 : order <= 0)
			break;
		class++;
	}
	return class;
}

static void
classify_abc(const AbcXyzRules *rules, AbcXyzResult *result)
{
	Decimal		reached = decimal_from_int64(0);
	int64		end;

	qsort(result->entries, result->count, sizeof(AbcXyz), compare_entries);
	result->total = decimal_from_int64(0);
	for (int64 i = 0; i < result->count && is_positive(result->entries[i].amount); i++)
		result->total = plus(result->total, result->entries[i].amount);

	for (int64 i = 0; i < result->count; i = end)
	{
		AbcXyz	   *entry = &result->entries[i];
		Decimal		before = reached;

		CHECK_FOR_INTERRUPTS();
		end = i + 1;
		while (rules->together && end < result->count &&
			   decimal_compare(entry->amount, result->entries[end].amount) == 0)
			end++;
		for (int64 j = i; j < end; j++)
		{
			if (is_positive(entry->amount))
				reached = plus(reached, entry->amount);
			result->entries[j].cumulative = reached;
		}
		for (int64 j = i; j < end; j++)
			result->entries[j].abc = !is_positive(entry->amount) ? rules->nabc :
				class_of(rules, rules->crossing ? before : reached, result->total);
	}
}

/*
 * With N periods, S the sum and Q the sum of squares, the square of the coefficient of variation is (N Q - S^2) / S^2, and
 * N / (N - 1) times that for a sample.
 */
static int
class_by_variation(const AbcXyzRules *rules, const AbcXyz *entry)
{
	Decimal		n = decimal_from_int64(entry->periods);
	Decimal		square = times(entry->quantity, entry->quantity);
	Decimal		spread = minus(times(n, entry->squares), square);
	int			class = 0;

	if (entry->periods < 2 || !is_positive(entry->quantity))
		return -1;
	if (rules->sample)
	{
		spread = times(spread, n);
		square = times(square, decimal_from_int64(entry->periods - 1));
	}
	while (class < XYZ_CUTS &&
		   decimal_compare(spread, times(times(rules->xyz[class], rules->xyz[class]), square)) > 0)
		class++;
	return class;
}

void
abc_xyz_classify(const Sales *sales, const AbcXyzRules *rules, AbcXyzResult *result)
{
	DateADT		first;
	DateADT		last;

	collect(sales, rules, result, &first, &last);
	if (rules->has_since)
		first = calendar_trunc_date(rules->since, rules->period);
	if (rules->has_until)
		last = calendar_trunc_date(rules->until, rules->period);
	for (int64 i = 0; i < result->count; i++)
	{
		AbcXyz	   *entry = &result->entries[i];

		if (rules->gaps == XYZ_GAPS_SKIP)
			entry->periods = entry->sold;
		else
			entry->periods = period_count(rules->gaps == XYZ_GAPS_ZERO ? first : entry->first, last, rules->period) + 1;
		entry->xyz = class_by_variation(rules, entry);
	}
	classify_abc(rules, result);
}

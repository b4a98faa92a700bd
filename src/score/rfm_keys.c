/*
 * rfm_keys.c
 *		The orders or days of a population's customers.
 *
 * They are appended as they come, and put in order when there is no more room: half of them may be repeats.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "score/rfm_population_private.h"

#define FIRST_KEYS 64

static void
add_to_key(RfmPopulation *population, RfmKey *key, Decimal amount)
{
	int64		sum;

	if (likely(amount.scale != DECIMAL_BIG))
	{
		if (unlikely(amount.scale > population->scale))
			rfm_population_set_scale(population, amount.scale);
		if (!__builtin_mul_overflow(amount.u.mantissa, rfm_power_of_ten[population->scale - amount.scale], &sum) &&
			!__builtin_add_overflow(key->amount, sum, &sum))
		{
			key->amount = sum;
			return;
		}
	}
	rfm_add_wide(population, &key->wide, amount);
}

/* The second one is of no use any more. */
static void
merge_keys(RfmPopulation *population, RfmKey *into, const RfmKey *from)
{
	int64		sum;

	if (from->wide != 0)
	{
		if (into->wide == 0)
			into->wide = from->wide;
		else
			rfm_add_wide(population, &into->wide, rfm_wide_total(population, from->wide));
	}
	if (__builtin_add_overflow(into->amount, from->amount, &sum))
	{
		rfm_move_to_wide(population, &into->wide, from->amount, population->scale);
		return;
	}
	into->amount = sum;
}

static int
compare_keys(const void *a, const void *b)
{
	int64		x = ((const RfmKey *) a)->key;
	int64		y = ((const RfmKey *) b)->key;

	return (x > y) - (x < y);
}

void
rfm_population_sort_keys(RfmPopulation *population)
{
	Size	   *starts;
	RfmKey	   *sorted;
	Size		allocated = population->keys_allocated;
	Size		to = 0;
	Size		from = 0;

	if (population->starts != NULL)
		pfree(population->starts);
	starts = MemoryContextAllocExtended(population->context, sizeof(Size) * ((Size) population->ncustomers + 2),
										MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	/* After the second loop, starts[c + 1] is where the keys of c begin; after the third, where they end. */
	for (Size i = 0; i < population->nkeys; i++)
		starts[population->keys[i].customer + 2]++;
	for (uint32 c = 0; c < population->ncustomers; c++)
		starts[c + 1] += starts[c];
	sorted = MemoryContextAllocHuge(population->context, sizeof(RfmKey) * Max(allocated, 1));
	for (Size i = 0; i < population->nkeys; i++)
		sorted[starts[population->keys[i].customer + 1]++] = population->keys[i];

	for (uint32 c = 0; c < population->ncustomers; c++)
	{
		Size		end = starts[c + 1];

		if ((c & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (end - from > 1)
			qsort(&sorted[from], end - from, sizeof(RfmKey), compare_keys);
		starts[c] = to;
		for (; from < end; from++)
		{
			if (to > starts[c] && sorted[to - 1].key == sorted[from].key)
				merge_keys(population, &sorted[to - 1], &sorted[from]);
			else
				sorted[to++] = sorted[from];
		}
	}
	starts[population->ncustomers] = to;

	if (population->keys != NULL)
		pfree(population->keys);
	population->keys = sorted;
	population->nkeys = to;
	population->starts = starts;
	population->keys_sorted = true;
}

void
rfm_population_add_key(RfmPopulation *population, uint32 customer, int64 key, Decimal amount)
{
	RfmKey	   *record;

	/* The lines of an order mostly come together. */
	if (population->nkeys > 0)
	{
		record = &population->keys[population->nkeys - 1];
		if (record->customer == customer && record->key == key)
		{
			add_to_key(population, record, amount);
			return;
		}
	}
	if (population->nkeys == population->keys_allocated)
	{
		if (population->nkeys > FIRST_KEYS)
			rfm_population_sort_keys(population);
		if (population->nkeys >= population->keys_allocated / 2)
		{
			population->keys_allocated = Max(population->keys_allocated * 2, FIRST_KEYS);
			population->keys = population->keys == NULL ?
				MemoryContextAllocHuge(population->context, sizeof(RfmKey) * population->keys_allocated) :
				repalloc_huge(population->keys, sizeof(RfmKey) * population->keys_allocated);
		}
	}
	population->keys_sorted = false;
	record = &population->keys[population->nkeys++];
	record->key = key;
	record->amount = 0;
	record->customer = customer;
	record->wide = 0;
	add_to_key(population, record, amount);
}

const RfmKey *
rfm_population_keys(const RfmPopulation *population, uint32 customer, uint32 *count)
{
	if (population->counting == RFM_BY_ROWS)
	{
		*count = 0;
		return NULL;
	}
	*count = (uint32) (population->starts[customer + 1] - population->starts[customer]);
	return &population->keys[population->starts[customer]];
}

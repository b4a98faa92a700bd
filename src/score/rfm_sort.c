/*
 * rfm_sort.c
 *		Sorting millions of numbers: by digits of 11 bits, from the lowest, leaving out those that are all the same.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "score/rfm_population_private.h"

#define DIGIT_BITS 11
#define DIGITS 6				/* of 64 bits */
#define DIGIT_VALUES (1 << DIGIT_BITS)
#define DIGIT(key, d) (((key) >> ((d) * DIGIT_BITS)) & (DIGIT_VALUES - 1))

void
rfm_sorter_init(RfmSorter *sorter, uint32 count)
{
	Size		n = Max(count, 1);

	sorter->count = count;
	sorter->keys = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint64) * n);
	sorter->values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * n);
	sorter->spare_keys = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint64) * n);
	sorter->spare_values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * n);
}

void
rfm_sorter_free(RfmSorter *sorter)
{
	pfree(sorter->keys);
	pfree(sorter->values);
	pfree(sorter->spare_keys);
	pfree(sorter->spare_values);
}

void
rfm_radix_sort(RfmSorter *sorter)
{
	uint32		count = sorter->count;
	uint32	   *places = palloc0(sizeof(uint32) * DIGITS * DIGIT_VALUES);
	bool		sorted = true;

	for (uint32 i = 0; i < count; i++)
	{
		uint64		key = sorter->keys[i];

		for (int d = 0; d < DIGITS; d++)
			places[d * DIGIT_VALUES + DIGIT(key, d)]++;
		if (i > 0 && key < sorter->keys[i - 1])
			sorted = false;
	}
	for (int d = 0; d < DIGITS && !sorted; d++)
	{
		uint32	   *place = &places[d * DIGIT_VALUES];
		uint64	   *keys = sorter->keys;
		uint32	   *values = sorter->values;
		uint32		sum = 0;

		if (place[DIGIT(keys[0], d)] == count)
			continue;
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < DIGIT_VALUES; i++)
		{
			uint32		n = place[i];

			place[i] = sum;
			sum += n;
		}
		for (uint32 i = 0; i < count; i++)
		{
			uint32		to = place[DIGIT(keys[i], d)]++;

			sorter->spare_keys[to] = keys[i];
			sorter->spare_values[to] = values[i];
		}
		sorter->keys = sorter->spare_keys;
		sorter->values = sorter->spare_values;
		sorter->spare_keys = keys;
		sorter->spare_values = values;
	}
	pfree(places);
}

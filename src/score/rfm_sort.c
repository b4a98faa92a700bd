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
rfm_radix_sort(uint64 *keys, uint32 *values, uint32 count)
{
	uint32	   *places = palloc0(sizeof(uint32) * DIGITS * DIGIT_VALUES);
	uint64	   *keys_from = keys;
	uint32	   *values_from = values;
	uint64	   *spare_keys = NULL;
	uint32	   *spare_values = NULL;
	uint64	   *keys_to;
	uint32	   *values_to;
	bool		sorted = true;

	for (uint32 i = 0; i < count; i++)
	{
		for (int d = 0; d < DIGITS; d++)
			places[d * DIGIT_VALUES + DIGIT(keys[i], d)]++;
		if (i > 0 && keys[i] < keys[i - 1])
			sorted = false;
	}
	if (sorted)
	{
		pfree(places);
		return;
	}

	spare_keys = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint64) * (Size) count);
	spare_values = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) count);
	keys_to = spare_keys;
	values_to = spare_values;
	for (int d = 0; d < DIGITS; d++)
	{
		uint32	   *place = &places[d * DIGIT_VALUES];
		uint32		sum = 0;
		void	   *swap;

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
			uint32		to = place[DIGIT(keys_from[i], d)]++;

			keys_to[to] = keys_from[i];
			values_to[to] = values_from[i];
		}
		swap = keys_from;
		keys_from = keys_to;
		keys_to = swap;
		swap = values_from;
		values_from = values_to;
		values_to = swap;
	}
	if (keys_from != keys)
	{
		memcpy(keys, keys_from, sizeof(uint64) * (Size) count);
		memcpy(values, values_from, sizeof(uint32) * (Size) count);
	}
	pfree(spare_keys);
	pfree(spare_values);
	pfree(places);
}

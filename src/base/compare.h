/*
 * compare.h
 *		Comparisons of integers and instants, for qsort() and bsearch().
 */
#ifndef CRM_COMPARE_H
#define CRM_COMPARE_H

#include "postgres.h"

/* Also of TimestampTz, which is one. */
static inline int
int64_compare(const void *a, const void *b)
{
	int64		x = *(const int64 *) a,
				y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

/* Where a value is, or would be, in an ascending array. */
static inline int
int64_place(const int64 *values, int count, int64 value)
{
	int			low = 0,
				high = count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (values[middle] < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#endif							/* CRM_COMPARE_H */

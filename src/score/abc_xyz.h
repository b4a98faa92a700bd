/*
 * abc_xyz.h
 *		What matters most, and what sells evenly.
 *
 * ABC goes by the share in the total: the greatest amounts that make up the first part of it (80 % by custom) are A, those
 * of the next part B, and so on. XYZ goes by the coefficient of variation of what is sold a period: the standard deviation
 * over the mean.
 */
#ifndef CRM_ABC_XYZ_H
#define CRM_ABC_XYZ_H

#include "postgres.h"

#include "base/calendar.h"
#include "score/sales.h"

#define ABC_MAX_CUTS 25
#define XYZ_CUTS 2

/* Which periods have no sale and count all the same, as 0. */
typedef enum XyzGaps
{
	XYZ_GAPS_ZERO,				/* all */
	XYZ_GAPS_SINCE_FIRST,		/* those after the first with a sale */
	XYZ_GAPS_SKIP				/* none */
} XyzGaps;

typedef struct AbcXyzRules
{
	CalendarUnit period;
	bool		has_since;		/* else from the first day seen */
	bool		has_until;		/* else to the last */
	DateADT		since;			/* both included */
	DateADT		until;
	int			nabc;
	Decimal		abc[ABC_MAX_CUTS];	/* shares, ascending */
	bool		crossing;		/* what goes beyond a cut-off still belongs to the better class */
	bool		together;		/* equal amounts have one class */
	Decimal		xyz[XYZ_CUTS];
	bool		sample;			/* standard deviation of a sample: over n - 1 */
	XyzGaps		gaps;
} AbcXyzRules;

/* One item or customer. */
typedef struct AbcXyz
{
	int64		key;			/* number of the item, or the customer */
	Decimal		amount;
	Decimal		cumulative;		/* with all before it; without what is not positive */
	int			abc;			/* 0 for A */
	Decimal		quantity;		/* of all periods */
	Decimal		squares;		/* sum of the squares of the periods' quantities */
	DateADT		first;			/* first period with a sale */
	int64		sold;			/* periods with a sale */
	int64		periods;		/* that count */
	int			xyz;			/* 0 for X, -1 when it cannot be said */
} AbcXyz;

typedef struct AbcXyzResult
{
	int64		count;
	AbcXyz	   *entries;		/* by amount, the greatest first */
	Decimal		total;			/* of the amounts above 0 */
} AbcXyzResult;

/*
 * All in CurrentMemoryContext. Sales of items by their amounts and quantities, of customers by their amounts for both.
 */
extern void abc_xyz_classify(const Sales *sales, const AbcXyzRules *rules, AbcXyzResult *result);

#endif							/* CRM_ABC_XYZ_H */

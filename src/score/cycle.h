/*
 * cycle.h
 *		After how long something is bought again: of an item, and of a customer and an item.
 *
 * A customer's own mean interval says little when he has few. It is shrunk to the item's by credibility theory: with m
 * intervals of mean x the estimate is Z x + (1 - Z) mu, Z = m / (m + k), k = s^2 / a, where s^2 is the variance of intervals
 * within a customer and a the variance of the customers' means. These are estimated from the item's own data (Buehlmann and
 * Straub 1970; Buehlmann and Gisler, A Course in Credibility Theory, 2005, chapter 4, with all weights 1). With I customers
 * who have intervals, N intervals in all, M the sum of the squares of their numbers, and x their overall mean:
 *
 *		s^2 = sum of (interval - customer's mean)^2 / (N - I)
 *		a	= (sum of m (customer's mean - x)^2 - (I - 1) s^2) / (N - M / N), 0 when that is negative
 *		mu	= sum of Z (customer's mean) / sum of Z, and x when all Z are 0
 */
#ifndef CRM_CYCLE_H
#define CRM_CYCLE_H

#include "postgres.h"

#include "score/purchases.h"

#define CYCLE_UNIT			1e-6	/* of a second, or of a square second */
#define CYCLE_WEIGHT_UNIT	1e-12

typedef struct CycleRules
{
	int64		apart;			/* what is nearer than this to a purchase belongs to it; microseconds */
	double		prior;			/* k, or NaN for that of the data */
	double		min_repeat;		/* an item is cyclic when this share of its buyers bought it again, */
	int			min_intervals;	/* and there are so many intervals */
} CycleRules;

/*
 * Of an item. Times in seconds; sums as integers of a small unit, so that they are the same in whatever order customers
 * come.
 */
typedef struct ItemCycle
{
	int64		customers;
	int64		repeaters;		/* customers who bought it again: I */
	int64		intervals;		/* N */
	int128		sum;			/* of all intervals, in microseconds */
	int128		squares;		/* of all intervals, in CYCLE_UNITs */
	int128		between;		/* sum of (sum of a customer's)^2 / m, in CYCLE_UNITs */
	int128		counts;			/* M */
	int128		weights;		/* sum of Z, in CYCLE_WEIGHT_UNITs */
	int128		weighted;		/* sum of Z (customer's mean), in CYCLE_UNITs */

	double		variance_within;	/* s^2; NaN if nobody has two intervals */
	double		variance_between;	/* a; NaN if it cannot be said */
	double		prior;			/* k; infinite when customers do not differ, or nothing is known of that */
	double		mean;			/* mu; NaN without intervals */
	bool		cyclic;
} ItemCycle;

/* Of a customer and an item. */
typedef struct CustomerCycle
{
	int64		customer;
	uint32		item;
	int64		purchases;
	TimestampTz last;
	double		own;			/* mean of his intervals; NaN when he has none */
	double		weight;			/* Z */
	double		estimate;		/* NaN when nobody has bought it again */
	TimestampTz next;			/* last + estimate, when that is known */
} CustomerCycle;

/* For all items, by number. */
extern ItemCycle *cycles_of_items(const Purchases *purchases, const CycleRules *rules);

/* For all items of one customer, whose rows are then by item; calls for each. */
typedef void (*CycleVisit) (void *context, const CustomerCycle *cycle);
extern void cycles_of_customer(const CycleRules *rules, const ItemCycle *items, StreamRow *rows, int64 nrows,
							   CycleVisit visit, void *context);

/* cycle_functions.c: (apart, prior, min_repeat, min_intervals) from "first" on. */
extern void cycle_rules(FunctionCallInfo fcinfo, int first, CycleRules *rules);

#endif							/* CRM_CYCLE_H */

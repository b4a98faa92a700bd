/*
 * affinity.h
 *		What is bought together, and what next.
 */
#ifndef CRM_AFFINITY_H
#define CRM_AFFINITY_H

#include "postgres.h"

#include "score/periods.h"
#include "score/purchases.h"

typedef enum AffinityRelation
{
	AFFINITY_TOGETHER,			/* both in one basket */
	AFFINITY_NEXT				/* one in a basket, the other in the customer's next one */
} AffinityRelation;

/* What is one basket of a customer. */
typedef enum AffinityBasket
{
	AFFINITY_INSTANT,			/* what he bought at one instant */
	AFFINITY_DAY,				/* on one local day */
	AFFINITY_CUSTOMER			/* ever */
} AffinityBasket;

typedef struct AffinityRules
{
	AffinityRelation relation;
	AffinityBasket basket;
	PeriodMap  *days;			/* for AFFINITY_DAY */
	bool		has_within;
	int64		within;			/* AFFINITY_NEXT: a basket later than this is no next one; microseconds */
	uint32		min_pairs;		/* pairs that are rarer are left out; 1 or more */
} AffinityRules;

/* Together: item < other, and counts for both directions. */
typedef struct AffinityPair
{
	uint32		item;
	uint32		other;
	uint32		count;
} AffinityPair;

/*
 * A case is a basket, or two baskets of which one follows the other. counts is in how many cases there is an item, in the
 * first one of the two; others the same for the second one, and the same array where there is only one.
 */
typedef struct Affinity
{
	const AffinityRules *rules;
	const Purchases *purchases;
	int64		cases;
	uint32	   *counts;
	uint32	   *others;
	int64		npairs;
	AffinityPair *pairs;		/* in no order */
} Affinity;

/* A basket: different items, ascending. */
typedef struct Basket
{
	TimestampTz at;				/* its first instant */
	int64		nitems;
	uint32	   *items;
} Basket;

/* Called for each case; "next" is NULL but for AFFINITY_NEXT. */
typedef void (*AffinityCase) (void *context, const Basket *basket, const Basket *next);

/*
 * affinity_baskets.c: the cases of all customers; and the baskets of one, whose rows are changed. The array belongs to the
 * caller, the items lie in the rows.
 */
extern void affinity_visit(const Purchases *purchases, const AffinityRules *rules, AffinityCase visit, void *context);
extern int64 affinity_baskets(const AffinityRules *rules, StreamRow *rows, int64 nrows, Basket **baskets, int64 *room);

/* affinity_pairs.c: in CurrentMemoryContext, with at most so much memory for pairs while they are counted. */
extern void affinity_count(const Purchases *purchases, const AffinityRules *rules, Size memory, Affinity *affinity);

/* affinity_functions.c: (relation, basket, within, min_pairs) from "first" on. */
extern void affinity_rules(FunctionCallInfo fcinfo, int first, int zone, AffinityRules *rules);

#endif							/* CRM_AFFINITY_H */

/*
 * affinity_baskets.c
 *		The baskets of customers.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "score/affinity.h"

typedef struct Visit
{
	const AffinityRules *rules;
	AffinityCase visit;
	void	   *context;
	Basket	   *baskets;
	int64		room;
} Visit;

/* Is a row, by its instant, of another basket than the one before it? */
static bool
begins_basket(const AffinityRules *rules, const StreamRow *row)
{
	switch (rules->basket)
	{
		case AFFINITY_INSTANT:
			return row[-1].at != row[0].at;
		case AFFINITY_DAY:
			return period_of_instant(rules->days, row[-1].at) != period_of_instant(rules->days, row[0].at);
		case AFFINITY_CUSTOMER:
			break;
	}
	return false;
}

int64
affinity_baskets(const AffinityRules *rules, StreamRow *rows, int64 nrows, Basket **baskets, int64 *room)
{
	uint32	   *items = (uint32 *) rows;	/* which are a sixth of the rows, and written behind what is still read */
	int64		count = 0;
	int64		end;

	for (int64 from = 0; from < nrows; from = end)
	{
		Basket	   *basket;
		bool		many = false;	/* instants, so that items do not ascend */

		for (end = from + 1; end < nrows && !begins_basket(rules, &rows[end]); end++)
			many |= rows[end].at != rows[from].at;
		if (count == *room)
		{
			*room = Max(*room * 2, 16);
			*baskets = *baskets == NULL ? palloc(sizeof(Basket) * *room) :
				repalloc_huge(*baskets, sizeof(Basket) * *room);
		}
		basket = &(*baskets)[count++];
		basket->at = rows[from].at;
		basket->items = items;
		basket->nitems = 0;
		if (many)
			stream_rows_sort_by_item(rows + from, end - from);
		for (int64 i = from; i < end; i++)
		{
			uint32		item = rows[i].item;

			if (basket->nitems > 0 && items[-1] == item)
				continue;
			*items++ = item;
			basket->nitems++;
		}
	}
	return count;
}

static void
visit_customer(void *context, StreamRow *rows, int64 nrows)
{
	Visit	   *visit = context;
	int64		count = affinity_baskets(visit->rules, rows, nrows, &visit->baskets, &visit->room);

	for (int64 i = 0; i < count; i++)
	{
		const Basket *basket = &visit->baskets[i];

		if (visit->rules->relation == AFFINITY_TOGETHER)
			visit->visit(visit->context, basket, NULL);
		/* instants may be further apart than 63 bits tell */
		else if (i + 1 < count &&
				 (!visit->rules->has_within ||
				  (uint64) basket[1].at - (uint64) basket[0].at <= (uint64) visit->rules->within))
			visit->visit(visit->context, basket, basket + 1);
	}
}

void
affinity_visit(const Purchases *purchases, const AffinityRules *rules, AffinityCase visit, void *context)
{
	Visit		mine = {rules, visit, context, NULL, 0};

	purchases_visit(purchases, visit_customer, &mine);
	if (mine.baskets != NULL)
		pfree(mine.baskets);
}

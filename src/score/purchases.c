/*
 * purchases.c
 *		Who bought what and when, customer by customer.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "score/purchases.h"

void
purchases_of_sales(FunctionCallInfo fcinfo, int argument, Purchases *purchases)
{
	memset(purchases, 0, sizeof(Purchases));
	purchases->sales = sales_getarg(fcinfo, argument, SALES_PURCHASES);
	purchases->items = sales_items(purchases->sales);
}

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	Purchases  *purchases = context;
	uint32		item = 0;

	if (at > purchases->until)
		return;
	if (purchases->items != NULL && !item_names_add_value(purchases->items, values[0], &item))
		return;
	streams_add(purchases->store, customer, at, item);
}

void
purchases_read(const Feed *feed, const char *item, TimestampTz since, TimestampTz until, Purchases *purchases)
{
	memset(purchases, 0, sizeof(Purchases));
	purchases->until = until;
	purchases->store = streams_create((Size) maintenance_work_mem * 1024);
	if (item != NULL)
		purchases->items = item_names_create(CurrentMemoryContext);
	feed_read(feed, item != NULL ? 1 : 0, &item, NULL, since, take_row, purchases, NULL);
	streams_finish(purchases->store);
}

void
purchases_visit(const Purchases *purchases, StreamVisit visit, void *context)
{
	if (purchases->sales != NULL)
		sales_visit(purchases->sales, visit, context);
	else
		streams_visit(purchases->store, visit, context);
}

uint32
purchases_count_items(const Purchases *purchases)
{
	return purchases->items == NULL ? 1 : item_names_count(purchases->items);
}

void
purchases_end(Purchases *purchases)
{
	if (purchases->store != NULL)
		streams_destroy(purchases->store);
}

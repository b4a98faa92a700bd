/*
 * purchases.h
 *		Who bought what and when, customer by customer: from crm.sales or from a feed.
 */
#ifndef CRM_PURCHASES_H
#define CRM_PURCHASES_H

#include "postgres.h"

#include "feed/feed.h"
#include "score/sales.h"

typedef struct Purchases
{
	Sales	   *sales;			/* one of the two */
	StreamStore *store;
	ItemNames  *items;			/* NULL when only the instants are looked at */
	TimestampTz until;			/* of a feed: what is later is not taken */
} Purchases;

extern void purchases_of_sales(FunctionCallInfo fcinfo, int argument, Purchases *purchases);

/*
 * Reads events from "since" up to "until", both included. item is the property that names what was bought; NULL for none.
 * Events whose item is not known are passed over. Memory is bounded by maintenance_work_mem.
 */
extern void purchases_read(const Feed *feed, const char *item, TimestampTz since, TimestampTz until,
						   Purchases *purchases);

/* The rows of one customer are by instant, and then by item. */
extern void purchases_visit(const Purchases *purchases, StreamVisit visit, void *context);
extern uint32 purchases_count_items(const Purchases *purchases);
extern void purchases_end(Purchases *purchases);

#endif							/* CRM_PURCHASES_H */

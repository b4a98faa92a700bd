/*
 * streams.h
 *		Events of all customers, read in one pass and given out customer by customer.
 *
 * A feed gives events in no order. They are put into a few hundred streams by hash of the customer, in memory while the
 * budget lasts and in one temporary file each beyond; a stream is then loaded and sorted by itself.
 */
#ifndef CRM_STREAMS_H
#define CRM_STREAMS_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* An event. What "item" means is the user's: number of an item, steps of a funnel. */
typedef struct StreamRow
{
	int64		customer;
	int64		at;				/* an instant, or a date */
	uint32		item;
	uint32		extra;			/* at the user's disposal */
} StreamRow;

StaticAssertDecl(sizeof(StreamRow) == 24, "events should be packed");

typedef struct StreamStore StreamStore;

extern StreamStore *streams_create(Size memory);	/* in CurrentMemoryContext */
extern void streams_add(StreamStore *store, int64 customer, int64 at, uint32 item);
extern void streams_finish(StreamStore *store); /* no more events */
extern void streams_destroy(StreamStore *store);
extern uint64 streams_spilled(const StreamStore *store);	/* bytes in temporary files */

/* The events of one customer by (at, item, extra). They may be changed during the call. */
typedef void (*StreamVisit) (void *context, StreamRow *rows, int64 nrows);

/* Goes through all customers, always in the same order; may be done several times. */
extern void streams_visit(StreamStore *store, StreamVisit visit, void *context);

/* Sorts by customer, at, item; and by item, at. */
extern void stream_rows_sort(StreamRow *rows, int64 nrows);
extern void stream_rows_sort_by_item(StreamRow *rows, int64 nrows);

#endif							/* CRM_STREAMS_H */

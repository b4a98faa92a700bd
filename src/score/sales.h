/*
 * sales.h
 *		crm.sales: who bought what, when and for how much, of everybody at once.
 *
 * The state of three aggregates, which keep different things of a row:
 *
 *	items		item, day, how many rows, amount, quantity		(item_sales_agg: ABC and XYZ of items)
 *	customers	customer, day, how many rows, amount			(customer_sales_agg: cohorts, ABC and XYZ of customers)
 *	purchases	customer, instant, item							(purchase_agg: cycles, affinity)
 *
 * Rows that agree in all but the sums are one. In a backend it is an expanded object: there are few, each large. Where it
 * leaves the backend it is flat, sorted and delta coded (sales_io.c), so that equal sales have equal bytes.
 */
#ifndef CRM_SALES_H
#define CRM_SALES_H

#include "postgres.h"

#include "fmgr.h"

#include "base/decimal.h"
#include "score/items.h"
#include "score/streams.h"

/* The numbers are on disk. */
typedef enum SalesKind
{
	SALES_ITEMS = 1,
	SALES_CUSTOMERS = 2,
	SALES_PURCHASES = 3
} SalesKind;

/* What a row adds up; StreamRow.extra is the index of a row's sum. Purchases have none. */
typedef struct SalesSum
{
	int64		rows;
	Decimal		amount;
	Decimal		quantity;		/* 0 for customers */
} SalesSum;

typedef struct Sales Sales;

extern Sales *sales_create(MemoryContext parent, SalesKind kind);

/*
 * A row. customer is 0 for items, name NULL for customers; at is a date but for purchases. Errors: 22003 when a sum
 * overflows, class 54 when there are too many.
 */
extern void sales_add(Sales *sales, int64 customer, int64 at, const char *name, uint32 length,
					  const SalesSum *sum);

/* The same by an item's number. Making room may give items other numbers, so it is done before a number is asked for. */
extern void sales_make_room(Sales *sales);
extern void sales_add_number(Sales *sales, int64 customer, int64 at, uint32 item, const SalesSum *sum);

/* Adds all of another one; error 22023 if it is of another kind. */
extern void sales_merge(Sales *sales, const Sales *other);

/* Sorts the rows by customer, at and item, items being numbered by name, and adds up. More rows may follow. */
extern void sales_finish(Sales *sales);

extern SalesKind sales_kind(const Sales *sales);
extern ItemNames *sales_items(const Sales *sales);
extern StreamRow *sales_rows(const Sales *sales, int64 *nrows);
extern const SalesSum *sales_sum(const Sales *sales, const StreamRow *row);

/* Goes through the customers, once finished; as streams_visit(). */
extern void sales_visit(const Sales *sales, StreamVisit visit, void *context);

/* An argument that is only read, finished; error 22023 unless it is of the kind. */
extern Sales *sales_getarg(FunctionCallInfo fcinfo, int argument, SalesKind kind);

/* The state of an aggregate, to be written to, and what it returns. */
extern Sales *sales_state(FunctionCallInfo fcinfo, SalesKind kind);
extern Datum sales_datum(Sales *sales);

/* sales_io.c */
extern void sales_encode(Sales *sales, StringInfo out);
extern Sales *sales_decode(MemoryContext parent, const char *bytes, Size length);	/* NULL if it is none */

/* The name of the aggregate that makes the kind. */
extern const char *sales_kind_name(SalesKind kind);

#endif							/* CRM_SALES_H */

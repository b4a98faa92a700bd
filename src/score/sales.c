/*
 * sales.c
 *		crm.sales as an expanded object: rows are appended, and sorted and added up now and then.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "score/sales.h"

#define FIRST_ROOM 64
#define LEAST_TO_ADD_UP 65536	/* rows that are worth a sort */

struct Sales
{
	ExpandedObjectHeader header;
	SalesKind	kind;
	ItemNames  *items;			/* or NULL */
	int64		nrows;
	int64		room;
	StreamRow  *rows;
	SalesSum   *sums;			/* as many as rows, or NULL */
	bool		finished;
	StringInfo	flat;			/* the flat form, while nothing changes; else NULL */
};

static Size sales_flat_size(ExpandedObjectHeader *header);
static void sales_flatten_into(ExpandedObjectHeader *header, void *result, Size size);

static const ExpandedObjectMethods sales_methods = {
	sales_flat_size,
	sales_flatten_into
};

const char *
sales_kind_name(SalesKind kind)
{
	return kind == SALES_ITEMS ? "crm.item_sales_agg" :
		kind == SALES_CUSTOMERS ? "crm.customer_sales_agg" : "crm.purchase_agg";
}

Sales *
sales_create(MemoryContext parent, SalesKind kind)
{
	MemoryContext context = AllocSetContextCreate(parent, "crm.sales", ALLOCSET_START_SMALL_SIZES);
	Sales	   *sales = MemoryContextAllocZero(context, sizeof(Sales));

	EOH_init_header(&sales->header, &sales_methods, context);
	sales->kind = kind;
	sales->room = FIRST_ROOM;
	sales->rows = MemoryContextAlloc(context, sizeof(StreamRow) * FIRST_ROOM);
	if (kind != SALES_PURCHASES)
		sales->sums = MemoryContextAlloc(context, sizeof(SalesSum) * FIRST_ROOM);
	if (kind != SALES_CUSTOMERS)
		sales->items = item_names_create(context);
	sales->finished = true;
	return sales;
}

static void
check_kind(const Sales *sales, SalesKind kind)
{
	if (sales->kind != kind)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sales are of another kind"),
				 errdetail("They were made by %s, and %s makes what is needed here.",
						   sales_kind_name(sales->kind), sales_kind_name(kind))));
}

static void
add_decimal(Decimal *sum, Decimal value)
{
	if (!decimal_add(*sum, value, sum))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("sum of sales overflows numeric format")));
}

static void
add_sum(SalesSum *sum, const SalesSum *other)
{
	if (pg_add_s64_overflow(sum->rows, other->rows, &sum->rows))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("number of sales is out of range")));
	add_decimal(&sum->amount, other->amount);
	add_decimal(&sum->quantity, other->quantity);
}

void
sales_finish(Sales *sales)
{
	MemoryContext old;
	uint32	   *numbers;
	SalesSum   *sums = NULL;
	int64		n = 0;

	if (sales->finished)
		return;
	numbers = sales->items != NULL ? item_names_sort(sales->items) : NULL;
	if (numbers != NULL)
	{
		for (int64 i = 0; i < sales->nrows; i++)
			sales->rows[i].item = numbers[sales->rows[i].item];
		pfree(numbers);
	}
	if (sales->kind == SALES_ITEMS)
		stream_rows_sort_by_item(sales->rows, sales->nrows);
	else
		stream_rows_sort(sales->rows, sales->nrows);

	old = MemoryContextSwitchTo(sales->header.eoh_context);
	if (sales->sums != NULL)
		sums = palloc_extended(sizeof(SalesSum) * (Size) sales->room, MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < sales->nrows; i++)
	{
		StreamRow  *row = &sales->rows[i];
		StreamRow  *last = n > 0 ? &sales->rows[n - 1] : NULL;

		if (last != NULL && last->customer == row->customer && last->at == row->at && last->item == row->item)
		{
			if (sums != NULL)
				add_sum(&sums[n - 1], &sales->sums[row->extra]);
			continue;
		}
		if (sums != NULL)
		{
			sums[n] = sales->sums[row->extra];
			row->extra = (uint32) n;
		}
		sales->rows[n++] = *row;
	}
	sales->nrows = n;
	if (sums != NULL)
	{
		pfree(sales->sums);
		sales->sums = sums;
	}
	sales->finished = true;
	MemoryContextSwitchTo(old);
}

void
sales_make_room(Sales *sales)
{
	if (sales->nrows < sales->room)
		return;
	if (sales->sums != NULL && sales->nrows >= LEAST_TO_ADD_UP)
	{
		sales_finish(sales);
		if (sales->nrows <= sales->room / 2)
			return;
	}
	if (sales->room > PG_UINT32_MAX / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many sales")));
	sales->room *= 2;
	sales->rows = repalloc_huge(sales->rows, sizeof(StreamRow) * (Size) sales->room);
	if (sales->sums != NULL)
		sales->sums = repalloc_huge(sales->sums, sizeof(SalesSum) * (Size) sales->room);
}

static Decimal
keep_decimal(const Sales *sales, Decimal value)
{
	if (value.scale == DECIMAL_BIG)
	{
		Numeric		copy = MemoryContextAlloc(sales->header.eoh_context, VARSIZE(value.u.numeric));

		memcpy(copy, value.u.numeric, VARSIZE(value.u.numeric));
		value.u.numeric = copy;
	}
	return value;
}

void
sales_add_number(Sales *sales, int64 customer, int64 at, uint32 item, const SalesSum *sum)
{
	StreamRow  *row;

	Assert(sales->items == NULL || item < item_names_count(sales->items));
	if (sales->nrows == sales->room)
		sales_make_room(sales);
	row = &sales->rows[sales->nrows];
	row->customer = customer;
	row->at = at;
	row->item = item;
	row->extra = 0;
	if (sales->sums != NULL)
	{
		row->extra = (uint32) sales->nrows;
		sales->sums[sales->nrows].rows = sum->rows;
		sales->sums[sales->nrows].amount = keep_decimal(sales, sum->amount);
		sales->sums[sales->nrows].quantity = keep_decimal(sales, sum->quantity);
	}
	sales->nrows++;
	sales->finished = false;
	if (sales->flat != NULL)
	{
		pfree(sales->flat->data);
		pfree(sales->flat);
		sales->flat = NULL;
	}
}

void
sales_add(Sales *sales, int64 customer, int64 at, const char *name, uint32 length, const SalesSum *sum)
{
	sales_make_room(sales);
	sales_add_number(sales, customer, at, name == NULL ? 0 : item_names_add(sales->items, name, length), sum);
}

void
sales_merge(Sales *sales, const Sales *other)
{
	check_kind(other, sales->kind);
	for (int64 i = 0; i < other->nrows; i++)
	{
		const StreamRow *row = &other->rows[i];
		const char *name = NULL;
		uint32		length = 0;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (other->items != NULL)
			name = item_name(other->items, row->item, &length);
		sales_add(sales, row->customer, row->at, name, length,
				  other->sums == NULL ? NULL : &other->sums[row->extra]);
	}
}

SalesKind
sales_kind(const Sales *sales)
{
	return sales->kind;
}

ItemNames *
sales_items(const Sales *sales)
{
	return sales->items;
}

StreamRow *
sales_rows(const Sales *sales, int64 *nrows)
{
	*nrows = sales->nrows;
	return sales->rows;
}

const SalesSum *
sales_sum(const Sales *sales, const StreamRow *row)
{
	return &sales->sums[row->extra];
}

void
sales_visit(const Sales *sales, StreamVisit visit, void *context)
{
	StreamRow  *rows = NULL;
	int64		room = 0;

	Assert(sales->finished);
	for (int64 from = 0, to; from < sales->nrows; from = to)
	{
		CHECK_FOR_INTERRUPTS();
		for (to = from + 1; to < sales->nrows && sales->rows[to].customer == sales->rows[from].customer;)
			to++;
		/* a copy, because the visitor may change them */
		if (to - from > room)
		{
			if (rows != NULL)
				pfree(rows);
			room = (to - from) * 2;
			rows = palloc_extended(sizeof(StreamRow) * (Size) room, MCXT_ALLOC_HUGE);
		}
		memcpy(rows, &sales->rows[from], sizeof(StreamRow) * (Size) (to - from));
		visit(context, rows, to - from);
	}
}

static Size
sales_flat_size(ExpandedObjectHeader *header)
{
	Sales	   *sales = (Sales *) header;

	if (sales->flat == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(header->eoh_context);
		StringInfo	flat = makeStringInfo();

		sales_encode(sales, flat);
		sales->flat = flat;
		MemoryContextSwitchTo(old);
	}
	return VARHDRSZ + (Size) sales->flat->len;
}

static void
sales_flatten_into(ExpandedObjectHeader *header, void *result, Size size)
{
	Sales	   *sales = (Sales *) header;

	Assert(sales->flat != NULL && size == VARHDRSZ + (Size) sales->flat->len);
	SET_VARSIZE(result, size);
	memcpy(VARDATA(result), sales->flat->data, sales->flat->len);
}

/* What is stored was checked when it was made; should it be damaged, that is told and nothing else happens. */
static Sales *
from_datum(MemoryContext parent, Datum datum)
{
	struct varlena *flat = PG_DETOAST_DATUM(datum);
	Sales	   *sales = sales_decode(parent, VARDATA(flat), VARSIZE(flat) - VARHDRSZ);

	if (sales == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid value of type %s", "crm.sales")));
	if ((Pointer) flat != DatumGetPointer(datum))
		pfree(flat);
	return sales;
}

Sales *
sales_getarg(FunctionCallInfo fcinfo, int argument, SalesKind kind)
{
	Datum		datum = PG_GETARG_DATUM(argument);
	Sales	   *sales;

	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(datum)))
		sales = (Sales *) DatumGetEOHP(datum);
	else
		sales = from_datum(CurrentMemoryContext, datum);
	if (kind != 0)
		check_kind(sales, kind);
	sales_finish(sales);
	return sales;
}

Sales *
sales_state(FunctionCallInfo fcinfo, SalesKind kind)
{
	MemoryContext context;
	Datum		datum = PG_GETARG_DATUM(0);
	Sales	   *sales;

	if (!AggCheckCallContext(fcinfo, &context))
		context = CurrentMemoryContext;
	if (PG_ARGISNULL(0))
		return sales_create(context, kind);
	if (VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(datum)))
		sales = (Sales *) DatumGetEOHP(datum);
	else if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(datum)))
	{
		Sales	   *other = (Sales *) DatumGetEOHP(datum);

		sales = sales_create(context, other->kind);
		sales_merge(sales, other);
	}
	else
		sales = from_datum(context, datum);
	check_kind(sales, kind);
	return sales;
}

Datum
sales_datum(Sales *sales)
{
	return EOHPGetRWDatum(&sales->header);
}

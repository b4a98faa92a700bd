/*
 * sales_io.c
 *		The flat form of crm.sales, and the type's input and output.
 *
 * A byte each for version and kind; the number of items and their names, each after its length, in the order of their bytes
 * (not for customers); the number of rows, and these in order. Of a row: the differences of customer (not for items) and of
 * time to the row before; the item's number (not for customers); and of the kinds that add up, how many rows it stands for,
 * the amount, and for items the quantity. Numbers are in as many bytes as they need (wire.c).
 */
#include "postgres.h"

#include "fmgr.h"
#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/expandeddatum.h"
#include "utils/memutils.h"

#include "compat.h"
#include "score/sales.h"
#include "score/wire.h"

#define SALES_VERSION 1

PG_FUNCTION_INFO_V1(crm_score_sales_in);
PG_FUNCTION_INFO_V1(crm_score_sales_out);
PG_FUNCTION_INFO_V1(crm_score_sales_recv);
PG_FUNCTION_INFO_V1(crm_score_sales_send);

static void
check_length(StringInfo out, Size more)
{
	if ((Size) out->len + more > MaxAllocSize - 1024)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("sales are too large for one value"),
				 errdetail("Its flat form takes at most 1 GB."),
				 errhint("Take a shorter time, or days truncated to months, or the functions that read the feeds.")));
}

void
sales_encode(Sales *sales, StringInfo out)
{
	SalesKind	kind = sales_kind(sales);
	StreamRow  *rows;
	int64		nrows;
	int64		customer = 0;
	int64		at = 0;

	sales_finish(sales);
	rows = sales_rows(sales, &nrows);
	appendStringInfoChar(out, SALES_VERSION);
	appendStringInfoChar(out, (char) kind);
	if (kind != SALES_CUSTOMERS)
	{
		const ItemNames *items = sales_items(sales);

		wire_put_unsigned(out, item_names_count(items));
		for (uint32 i = 0; i < item_names_count(items); i++)
		{
			uint32		length;
			const char *name = item_name(items, i, &length);

			check_length(out, length);
			wire_put_unsigned(out, length);
			appendBinaryStringInfo(out, name, (int) length);
		}
	}
	wire_put_unsigned(out, nrows);
	for (int64 i = 0; i < nrows; i++)
	{
		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		/* three numbers of ten bytes; two of money may take all that numeric can */
		check_length(out, kind == SALES_PURCHASES ? 0 : 400 * 1024);
		/* differences wrap, here and when they are read */
		if (kind != SALES_ITEMS)
			wire_put_signed(out, (int64) ((uint64) rows[i].customer - (uint64) customer));
		wire_put_signed(out, (int64) ((uint64) rows[i].at - (uint64) at));
		if (kind != SALES_CUSTOMERS)
			wire_put_unsigned(out, rows[i].item);
		if (kind != SALES_PURCHASES)
		{
			const SalesSum *sum = sales_sum(sales, &rows[i]);

			wire_put_unsigned(out, sum->rows);
			wire_put_decimal(out, sum->amount);
			if (kind == SALES_ITEMS)
				wire_put_decimal(out, sum->quantity);
		}
		customer = rows[i].customer;
		at = rows[i].at;
	}
}

static void
decode_items(WireReader *reader, ItemNames *items)
{
	uint64		count = wire_get_unsigned(reader);
	const char *before = NULL;
	uint64		before_length = 0;

	for (uint64 i = 0; i < count && !reader->bad; i++)
	{
		uint64		length = wire_get_unsigned(reader);
		const char *name = wire_get_bytes(reader, length);

		if (name == NULL || !pg_verify_mbstr(GetDatabaseEncoding(), name, (int) length, true))
		{
			reader->bad = true;
			break;
		}
		/* in order and each once, so that rows can go by the numbers */
		if (before != NULL)
		{
			int			order = memcmp(before, name, Min(before_length, length));

			if (order > 0 || (order == 0 && before_length >= length))
				reader->bad = true;
		}
		before = name;
		before_length = length;
		if (!reader->bad)
			(void) item_names_add(items, name, (uint32) length);
	}
}

/*
 * Reads rows in any order; equal ones are added up.
 */
static void
decode_rows(WireReader *reader, Sales *sales)
{
	SalesKind	kind = sales_kind(sales);
	uint64		count = wire_get_unsigned(reader);
	int64		customer = 0;
	int64		at = 0;

	for (uint64 i = 0; i < count && !reader->bad; i++)
	{
		uint64		item = 0;
		SalesSum	sum;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (kind != SALES_ITEMS)
			customer = (int64) ((uint64) customer + (uint64) wire_get_signed(reader));
		at = (int64) ((uint64) at + (uint64) wire_get_signed(reader));
		if (kind != SALES_CUSTOMERS)
			item = wire_get_unsigned(reader);
		if (kind != SALES_PURCHASES)
		{
			uint64		rows = wire_get_unsigned(reader);

			sum.amount = wire_get_decimal(reader);
			sum.quantity = kind == SALES_ITEMS ? wire_get_decimal(reader) : decimal_from_int64(0);
			sum.rows = (int64) rows;
			if (rows < 1 || rows > PG_INT64_MAX || at < PG_INT32_MIN || at > PG_INT32_MAX ||
				!IS_VALID_DATE((DateADT) at) || DATE_NOT_FINITE((DateADT) at))
				reader->bad = true;
		}
		else if (!IS_VALID_TIMESTAMP(at))
			reader->bad = true;
		if (kind != SALES_CUSTOMERS && item >= item_names_count(sales_items(sales)))
			reader->bad = true;
		if (!reader->bad)
			sales_add_number(sales, customer, at, (uint32) item, &sum);
	}
}

Sales *
sales_decode(MemoryContext parent, const char *bytes, Size length)
{
	WireReader	reader = {bytes, bytes + length, false};
	uint8		version = wire_get_byte(&reader);
	uint8		kind = wire_get_byte(&reader);
	Sales	   *sales;

	if (reader.bad || version != SALES_VERSION || kind < SALES_ITEMS || kind > SALES_PURCHASES)
		return NULL;
	sales = sales_create(parent, (SalesKind) kind);
	if (kind != SALES_CUSTOMERS)
		decode_items(&reader, sales_items(sales));
	decode_rows(&reader, sales);
	return reader.bad || reader.at != reader.end ? NULL : sales;
}

Datum
crm_score_sales_in(PG_FUNCTION_ARGS)
{
	Size		length;
	char	   *bytes = wire_from_hex(PG_GETARG_CSTRING(0), &length);
	Sales	   *sales = bytes == NULL ? NULL : sales_decode(CurrentMemoryContext, bytes, length);

	if (sales == NULL)
		crm_ereturn(crm_escontext(fcinfo), (Datum) 0,
					(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					 errmsg("invalid input syntax for type %s", "crm.sales"),
					 errdetail("It is \\x and the bytes of the binary form in hexadecimal.")));
	PG_RETURN_DATUM(sales_datum(sales));
}

Datum
crm_score_sales_out(PG_FUNCTION_ARGS)
{
	StringInfoData bytes;

	initStringInfo(&bytes);
	sales_encode(sales_getarg(fcinfo, 0, 0), &bytes);
	PG_RETURN_CSTRING(wire_to_hex(bytes.data, bytes.len));
}

Datum
crm_score_sales_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			length = message->len - message->cursor;
	Sales	   *sales = sales_decode(CurrentMemoryContext, pq_getmsgbytes(message, length), length);

	if (sales == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", "crm.sales")));
	PG_RETURN_DATUM(sales_datum(sales));
}

Datum
crm_score_sales_send(PG_FUNCTION_ARGS)
{
	StringInfoData bytes;

	pq_begintypsend(&bytes);
	sales_encode(sales_getarg(fcinfo, 0, 0), &bytes);
	PG_RETURN_BYTEA_P(pq_endtypsend(&bytes));
}

/*
 * sales_agg.c
 *		The aggregates that make crm.sales.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/expandeddatum.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "score/sales.h"

PG_FUNCTION_INFO_V1(crm_score_item_sales_add);
PG_FUNCTION_INFO_V1(crm_score_customer_sales_add);
PG_FUNCTION_INFO_V1(crm_score_purchase_add);
PG_FUNCTION_INFO_V1(crm_score_sales_merge);
PG_FUNCTION_INFO_V1(crm_score_sales_final);

/* The state as it is, when a row says nothing. */
static Datum
unchanged(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

/* What is not known, NaN and infinity add nothing. */
static Decimal
money_argument(FunctionCallInfo fcinfo, int argument)
{
	Decimal		money;

	if (PG_ARGISNULL(argument) || !decimal_from_datum(PG_GETARG_DATUM(argument), &money))
		return decimal_from_int64(0);
	return money;
}

/*
 * crm.item_sales_add(sales, item, day, amount, quantity)
 */
Datum
crm_score_item_sales_add(PG_FUNCTION_ARGS)
{
	Sales	   *sales;
	text	   *item;
	SalesSum	sum;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || DATE_NOT_FINITE(PG_GETARG_DATEADT(2)))
		return unchanged(fcinfo);
	sales = sales_state(fcinfo, SALES_ITEMS);
	item = PG_GETARG_TEXT_PP(1);
	sum.rows = 1;
	sum.amount = money_argument(fcinfo, 3);
	sum.quantity = money_argument(fcinfo, 4);
	sales_add(sales, 0, PG_GETARG_DATEADT(2), VARDATA_ANY(item), VARSIZE_ANY_EXHDR(item), &sum);
	PG_RETURN_DATUM(sales_datum(sales));
}

/*
 * crm.customer_sales_add(sales, customer, day, amount)
 */
Datum
crm_score_customer_sales_add(PG_FUNCTION_ARGS)
{
	Sales	   *sales;
	SalesSum	sum;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || DATE_NOT_FINITE(PG_GETARG_DATEADT(2)))
		return unchanged(fcinfo);
	sales = sales_state(fcinfo, SALES_CUSTOMERS);
	sum.rows = 1;
	sum.amount = money_argument(fcinfo, 3);
	sum.quantity = decimal_from_int64(0);
	sales_add(sales, PG_GETARG_INT64(1), PG_GETARG_DATEADT(2), NULL, 0, &sum);
	PG_RETURN_DATUM(sales_datum(sales));
}

/*
 * crm.purchase_add(sales, customer, at, item)
 */
Datum
crm_score_purchase_add(PG_FUNCTION_ARGS)
{
	Sales	   *sales;
	text	   *item;

	if (PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3) || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(2)))
		return unchanged(fcinfo);
	sales = sales_state(fcinfo, SALES_PURCHASES);
	item = PG_GETARG_TEXT_PP(3);
	sales_add(sales, PG_GETARG_INT64(1), PG_GETARG_TIMESTAMPTZ(2), VARDATA_ANY(item), VARSIZE_ANY_EXHDR(item), NULL);
	PG_RETURN_DATUM(sales_datum(sales));
}

Datum
crm_score_sales_merge(PG_FUNCTION_ARGS)
{
	Sales	   *other;
	Sales	   *sales;

	if (PG_ARGISNULL(1))
		return unchanged(fcinfo);
	other = sales_getarg(fcinfo, 1, 0);
	sales = sales_state(fcinfo, sales_kind(other));
	sales_merge(sales, other);
	PG_RETURN_DATUM(sales_datum(sales));
}

/*
 * A flat copy: the state may go on changing, when it is a window's.
 */
Datum
crm_score_sales_final(PG_FUNCTION_ARGS)
{
	Sales	   *sales = sales_getarg(fcinfo, 0, 0);
	ExpandedObjectHeader *header = DatumGetEOHP(sales_datum(sales));
	Size		size = EOH_get_flat_size(header);
	struct varlena *flat = palloc(size);

	EOH_flatten_into(header, flat, size);
	PG_RETURN_POINTER(flat);
}

/*
 * cycle_functions.c
 *		Cycles as SQL functions: of crm.sales, and of the feeds.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/arguments.h"
#include "score/cycle.h"

PG_FUNCTION_INFO_V1(crm_score_cycles_of);
PG_FUNCTION_INFO_V1(crm_score_cycles);
PG_FUNCTION_INFO_V1(crm_score_customer_cycles_of);
PG_FUNCTION_INFO_V1(crm_score_customer_cycles);
PG_FUNCTION_INFO_V1(crm_score_next_orders);

/* What is put out, while the customers are gone through. */
typedef struct CycleOutput
{
	ReturnSetInfo *rsinfo;
	MemoryContext row;
	const CycleRules *rules;
	const Purchases *purchases;
	const ItemCycle *items;
	bool		only_cyclic;
	bool		has_item;		/* a column for it, and for whether it is cyclic */
} CycleOutput;

/* apart and prior, from "first" on. */
static void
get_intervals(FunctionCallInfo fcinfo, int first, CycleRules *rules)
{
	rules->apart = argument_span(fcinfo, first, "apart", true);
	rules->prior = get_float8_nan();
	if (!PG_ARGISNULL(first + 1))
	{
		rules->prior = DatumGetFloat8(DirectFunctionCall1(numeric_float8, PG_GETARG_DATUM(first + 1)));
		if (!(rules->prior >= 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" must not be negative", "prior")));
	}
}

void
cycle_rules(FunctionCallInfo fcinfo, int first, CycleRules *rules)
{
	get_intervals(fcinfo, first, rules);
	rules->min_repeat = argument_share(fcinfo, first + 2, "min_repeat");
	rules->min_intervals = argument_integer(fcinfo, first + 3, "min_intervals", 1, PG_INT32_MAX);
}

/* since, until, and at "kind" the feed, with the property that names the item after it. */
static void
read_purchases(FunctionCallInfo fcinfo, int kind, bool has_item, Purchases *purchases)
{
	TimestampTz since = argument_instant(fcinfo, 0, "since");
	TimestampTz until = argument_instant(fcinfo, 1, "until");
	const Feed *feed = argument_feed(feed_load(), argument_text(fcinfo, kind, "kind"));
	const char *item = NULL;

	if (has_item)
	{
		item = argument_text(fcinfo, kind + 1, "item");
		argument_property(feed, item, VALUE_UNKNOWN);
	}
	purchases_read(feed, item, since, until, purchases);
}

/* Seconds, to the whole one; NULL for what is not known. */
static bool
put_seconds(double seconds, Datum *value)
{
	if (isnan(seconds) || fabs(seconds) > (double) (END_TIMESTAMP / USECS_PER_SEC))
		return false;
	*value = span_to_interval((int64) rint(seconds) * USECS_PER_SEC);
	return true;
}

static Datum
to_numeric(double value)
{
	return DirectFunctionCall1(float8_numeric, Float8GetDatum(value));
}

static void
put_items(FunctionCallInfo fcinfo, const Purchases *purchases, const CycleRules *rules)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const ItemCycle *items = cycles_of_items(purchases, rules);
	const uint32 *order = item_names_order(purchases->items);
	uint32		nitems = item_names_count(purchases->items);
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "row of cycles", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);

	for (uint32 i = 0; i < nitems; i++)
	{
		const ItemCycle *item = &items[order[i]];
		Datum		values[9] = {0};
		bool		nulls[9] = {false};

		if (item->customers == 0)
			continue;
		values[0] = item_name_datum(purchases->items, order[i]);
		values[1] = Int64GetDatum(item->customers);
		values[2] = Int64GetDatum(item->repeaters);
		values[3] = Int64GetDatum(item->intervals);
		nulls[4] = !put_seconds(item->mean, &values[4]);
		nulls[5] = !put_seconds(sqrt(item->variance_within), &values[5]);
		nulls[6] = !put_seconds(sqrt(item->variance_between), &values[6]);
		nulls[7] = item->intervals == 0;
		if (!nulls[7])
			values[7] = to_numeric(item->prior);
		values[8] = BoolGetDatum(item->cyclic);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
}

static void
put_customer(void *context, const CustomerCycle *cycle)
{
	CycleOutput *output = context;
	const ItemCycle *item = &output->items[cycle->item];
	MemoryContext old;
	Datum		values[9] = {0};
	bool		nulls[9] = {false};
	int			n = 0;

	if (output->only_cyclic && !item->cyclic)
		return;
	old = MemoryContextSwitchTo(output->row);
	values[n++] = Int64GetDatum(cycle->customer);
	if (output->has_item)
		values[n++] = item_name_datum(output->purchases->items, cycle->item);
	values[n++] = Int64GetDatum(cycle->purchases);
	values[n++] = TimestampTzGetDatum(cycle->last);
	nulls[n] = !put_seconds(cycle->own, &values[n]);
	n++;
	values[n++] = to_numeric(cycle->weight);
	nulls[n] = !put_seconds(cycle->estimate, &values[n]);
	n++;
	nulls[n] = isnan(cycle->estimate);
	values[n++] = TimestampTzGetDatum(cycle->next);
	if (output->has_item)
		values[n++] = BoolGetDatum(item->cyclic);
	tuplestore_putvalues(output->rsinfo->setResult, output->rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(output->row);
}

static void
take_customer(void *context, StreamRow *rows, int64 nrows)
{
	CycleOutput *output = context;

	cycles_of_customer(output->rules, output->items, rows, nrows, put_customer, output);
}

static void
put_customers(FunctionCallInfo fcinfo, const Purchases *purchases, const CycleRules *rules, bool only_cyclic)
{
	CycleOutput output = {0};

	output.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	output.row = AllocSetContextCreate(CurrentMemoryContext, "row of cycles", ALLOCSET_SMALL_SIZES);
	output.rules = rules;
	output.purchases = purchases;
	output.items = cycles_of_items(purchases, rules);
	output.only_cyclic = only_cyclic;
	output.has_item = purchases->items != NULL;
	purchases_visit(purchases, take_customer, &output);
}

/*
 * crm.cycles_of(sales, apart, prior, min_repeat, min_intervals)
 */
Datum
crm_score_cycles_of(PG_FUNCTION_ARGS)
{
	CycleRules	rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	cycle_rules(fcinfo, 1, &rules);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	purchases_of_sales(fcinfo, 0, &purchases);
	put_items(fcinfo, &purchases, &rules);
	return (Datum) 0;
}

/*
 * crm.cycles(since, until, apart, prior, min_repeat, min_intervals, kind, item)
 */
Datum
crm_score_cycles(PG_FUNCTION_ARGS)
{
	CycleRules	rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	cycle_rules(fcinfo, 2, &rules);
	read_purchases(fcinfo, 6, true, &purchases);
	put_items(fcinfo, &purchases, &rules);
	purchases_end(&purchases);
	return (Datum) 0;
}

/*
 * crm.customer_cycles_of(sales, apart, prior, min_repeat, min_intervals, only_cyclic)
 */
Datum
crm_score_customer_cycles_of(PG_FUNCTION_ARGS)
{
	CycleRules	rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	cycle_rules(fcinfo, 1, &rules);
	argument_require(fcinfo, 5, "only_cyclic");
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	purchases_of_sales(fcinfo, 0, &purchases);
	put_customers(fcinfo, &purchases, &rules, PG_GETARG_BOOL(5));
	return (Datum) 0;
}

/*
 * crm.customer_cycles(since, until, apart, prior, min_repeat, min_intervals, only_cyclic, kind, item)
 */
Datum
crm_score_customer_cycles(PG_FUNCTION_ARGS)
{
	CycleRules	rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	cycle_rules(fcinfo, 2, &rules);
	argument_require(fcinfo, 6, "only_cyclic");
	read_purchases(fcinfo, 7, true, &purchases);
	put_customers(fcinfo, &purchases, &rules, PG_GETARG_BOOL(6));
	purchases_end(&purchases);
	return (Datum) 0;
}

/*
 * crm.next_orders(since, until, apart, prior, kind): as if all orders were of one item.
 */
Datum
crm_score_next_orders(PG_FUNCTION_ARGS)
{
	CycleRules	rules = {0};
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	get_intervals(fcinfo, 2, &rules);
	read_purchases(fcinfo, 4, false, &purchases);
	put_customers(fcinfo, &purchases, &rules, false);
	purchases_end(&purchases);
	return (Datum) 0;
}

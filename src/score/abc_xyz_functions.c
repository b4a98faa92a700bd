/*
 * abc_xyz_functions.c
 *		ABC and XYZ as SQL functions: of crm.sales, and of the feeds.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#include "compat.h"
#include "feed/feed.h"
#include "score/abc_xyz.h"
#include "score/arguments.h"
#include "score/periods.h"

PG_FUNCTION_INFO_V1(crm_score_abc_xyz_of);
PG_FUNCTION_INFO_V1(crm_score_customer_abc_xyz_of);
PG_FUNCTION_INFO_V1(crm_score_abc_xyz);
PG_FUNCTION_INFO_V1(crm_score_customer_abc_xyz);

static const char *const boundary_words[] = {"within", "crossing"};
static const char *const tie_words[] = {"apart", "together"};
static const char *const deviation_words[] = {"population", "sample"};
static const char *const gap_words[] = {"zero", "since_first", "skip"};

/* Cut-offs, ascending and above 0; of shares below 1, too. */
static int
get_cuts(FunctionCallInfo fcinfo, int argument, const char *name, Decimal *cuts, int least, int most, bool shares)
{
	Decimal		zero = decimal_from_int64(0);
	Decimal		one = decimal_from_int64(1);
	Datum	   *elements;
	bool	   *nulls;
	int			count;

	argument_require(fcinfo, argument, name);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(argument), NUMERICOID, -1, false, TYPALIGN_INT, &elements, &nulls, &count);
	if (count < least || count > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there cannot be %d cut-offs in \"%s\"", count, name)));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i] || !decimal_from_numeric(DatumGetNumeric(elements[i]), &cuts[i]) ||
			decimal_compare(cuts[i], zero) <= 0 || (shares && decimal_compare(cuts[i], one) >= 0))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 shares ? errmsg("a cut-off in \"%s\" is not between 0 and 1", name) :
					 errmsg("a cut-off in \"%s\" is not above 0", name),
					 errhint("Cut-offs are shares: 0.8 is 80 %%.")));
		if (i > 0 && decimal_compare(cuts[i - 1], cuts[i]) >= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("cut-offs in \"%s\" are not ascending", name)));
	}
	return count;
}

/* The six arguments that all four functions have, from "first" on. */
static void
get_rules(FunctionCallInfo fcinfo, int first, AbcXyzRules *rules)
{
	rules->nabc = get_cuts(fcinfo, first, "abc_cuts", rules->abc, 1, ABC_MAX_CUTS, true);
	rules->crossing = argument_word(fcinfo, first + 1, "boundary", boundary_words, lengthof(boundary_words)) == 1;
	rules->together = argument_word(fcinfo, first + 2, "ties", tie_words, lengthof(tie_words)) == 1;
	(void) get_cuts(fcinfo, first + 3, "xyz_cuts", rules->xyz, XYZ_CUTS, XYZ_CUTS, false);
	rules->sample = argument_word(fcinfo, first + 4, "deviation_of", deviation_words, lengthof(deviation_words)) == 1;
	rules->gaps = (XyzGaps) argument_word(fcinfo, first + 5, "gaps", gap_words, lengthof(gap_words));
}

static bool
get_date(FunctionCallInfo fcinfo, int argument, const char *name, DateADT *date)
{
	if (PG_ARGISNULL(argument))
		return false;
	*date = PG_GETARG_DATEADT(argument);
	if (DATE_NOT_FINITE(*date))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", name)));
	return true;
}

static Decimal
quotient(Decimal a, Decimal b)
{
	Decimal		result;

	if (!decimal_divide(a, b, &result))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("value overflows numeric format")));
	return result;
}

/* Mean, standard deviation, and the one over the other; NULL where they are not defined. */
static void
put_variation(const AbcXyz *entry, bool sample, Datum *values, bool *nulls)
{
	Decimal		n = decimal_from_int64(entry->periods);
	Decimal		mean = quotient(entry->quantity, n);
	Decimal		square;
	Decimal		spread;
	Decimal		variation;
	Datum		deviation;

	values[0] = NumericGetDatum(decimal_to_numeric(mean));
	nulls[1] = nulls[2] = true;
	if (entry->periods < 2)
		return;
	if (!decimal_multiply(entry->quantity, entry->quantity, &square) ||
		!decimal_multiply(n, entry->squares, &spread) || !decimal_subtract(spread, square, &spread))
		return;
	/* periods are numbered by integers */
	spread = quotient(spread, decimal_from_int64(entry->periods * (entry->periods - (sample ? 1 : 0))));
	deviation = DirectFunctionCall1(numeric_sqrt, NumericGetDatum(decimal_to_numeric(spread)));
	values[1] = deviation;
	nulls[1] = false;
	/* a quantity far below what numeric divides has a mean of 0 */
	if (entry->xyz >= 0 && decimal_compare(mean, decimal_from_int64(0)) > 0 &&
		decimal_from_numeric(DatumGetNumeric(deviation), &variation))
	{
		values[2] = NumericGetDatum(decimal_to_numeric(quotient(variation, mean)));
		nulls[2] = false;
	}
}

static Datum
letter(char c)
{
	return PointerGetDatum(cstring_to_text_with_len(&c, 1));
}

static void
put_result(FunctionCallInfo fcinfo, Sales *sales, const AbcXyzRules *rules)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	bool		of_items = sales_kind(sales) == SALES_ITEMS;
	bool		any;
	AbcXyzResult result;
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "row of ABC and XYZ", ALLOCSET_SMALL_SIZES);
	MemoryContext old;

	sales_finish(sales);
	abc_xyz_classify(sales, rules, &result);
	any = decimal_compare(result.total, decimal_from_int64(0)) > 0;
	old = MemoryContextSwitchTo(row);
	for (int64 i = 0; i < result.count; i++)
	{
		const AbcXyz *entry = &result.entries[i];
		Datum		values[11] = {0};
		bool		nulls[11] = {false};
		bool		sold = decimal_compare(entry->amount, decimal_from_int64(0)) > 0;

		values[0] = of_items ? item_name_datum(sales_items(sales), (uint32) entry->key) : Int64GetDatum(entry->key);
		values[1] = NumericGetDatum(decimal_to_numeric(entry->amount));
		nulls[2] = nulls[3] = !any;
		if (any)
		{
			values[2] = NumericGetDatum(decimal_to_numeric(quotient(sold ? entry->amount : decimal_from_int64(0),
																	result.total)));
			values[3] = NumericGetDatum(decimal_to_numeric(quotient(entry->cumulative, result.total)));
		}
		values[4] = letter((char) ('A' + entry->abc));
		values[5] = NumericGetDatum(decimal_to_numeric(entry->quantity));
		values[6] = Int32GetDatum((int32) entry->periods);
		put_variation(entry, rules->sample, values + 7, nulls + 7);
		nulls[10] = entry->xyz < 0;
		if (!nulls[10])
			values[10] = letter((char) ('X' + entry->xyz));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
}

/*
 * (sales, period, since, until, abc_cuts, boundary, ties, xyz_cuts, deviation_of, gaps)
 */
static Datum
classify_sales(FunctionCallInfo fcinfo, SalesKind kind)
{
	AbcXyzRules rules = {0};

	InitMaterializedSRF(fcinfo, 0);
	rules.period = period_argument(fcinfo, 1, "period");
	rules.has_since = get_date(fcinfo, 2, "since", &rules.since);
	rules.has_until = get_date(fcinfo, 3, "until", &rules.until);
	get_rules(fcinfo, 4, &rules);
	if (!PG_ARGISNULL(0))
		put_result(fcinfo, sales_getarg(fcinfo, 0, kind), &rules);
	return (Datum) 0;
}

Datum
crm_score_abc_xyz_of(PG_FUNCTION_ARGS)
{
	return classify_sales(fcinfo, SALES_ITEMS);
}

Datum
crm_score_customer_abc_xyz_of(PG_FUNCTION_ARGS)
{
	return classify_sales(fcinfo, SALES_CUSTOMERS);
}

typedef struct Reading
{
	Sales	   *sales;
	PeriodMap  *map;
	TimestampTz until;			/* not included */
	bool		of_items;
} Reading;

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	Reading    *reading = context;
	SalesSum	sum = {.rows = 1};
	const Value *amounts = reading->of_items ? values + 1 : values;
	uint32		item;
	DateADT		period;

	if (at >= reading->until)
		return;
	if (amounts[0].type == VALUE_NUMBER)
		sum.amount = value_decimal(amounts[0]);
	period = period_of_instant(reading->map, at);
	if (!reading->of_items)
	{
		sales_add(reading->sales, customer, period, NULL, 0, &sum);
		return;
	}
	if (amounts[1].type == VALUE_NUMBER)
		sum.quantity = value_decimal(amounts[1]);
	sales_make_room(reading->sales);
	if (item_names_add_value(sales_items(reading->sales), values[0], &item))
		sales_add_number(reading->sales, 0, period, item, &sum);
}

/*
 * (period, periods, until, abc_cuts, boundary, ties, xyz_cuts, deviation_of, gaps, zone, kind, [item,] amount[, quantity])
 */
static Datum
classify_feed(FunctionCallInfo fcinfo, bool of_items)
{
	AbcXyzRules rules = {0};
	Reading		reading = {0};
	const Feed *feed;
	const char *columns[3];
	int			ncolumns = 0;
	pg_tz	   *zone;
	TimestampTz until;
	TimestampTz since = DT_NOBEGIN;
	TimestampTz end;

	InitMaterializedSRF(fcinfo, 0);
	rules.period = period_argument(fcinfo, 0, "period");
	until = argument_instant(fcinfo, 2, "until");
	if (TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "until")));
	get_rules(fcinfo, 3, &rules);
	zone = calendar_zone(argument_text(fcinfo, 9, "zone"));
	feed = argument_feed(feed_load(), argument_text(fcinfo, 10, "kind"));
	if (of_items)
	{
		columns[ncolumns++] = argument_text(fcinfo, 11, "item");
		argument_property(feed, columns[0], VALUE_UNKNOWN);
	}
	columns[ncolumns] = argument_text(fcinfo, 11 + ncolumns, "amount");
	argument_property(feed, columns[ncolumns++], VALUE_NUMBER);
	if (of_items)
	{
		columns[ncolumns] = argument_text(fcinfo, 11 + ncolumns, "quantity");
		argument_property(feed, columns[ncolumns++], VALUE_NUMBER);
	}

	/* whole periods before the one that holds "until" */
	reading.map = period_map_create(rules.period, zone);
	calendar_period(until, rules.period, 0, zone, &reading.until, &end);
	rules.has_until = true;
	rules.until = period_shift(period_of_instant(reading.map, until), rules.period, -1);
	if (!PG_ARGISNULL(1))
	{
		int			periods = argument_integer(fcinfo, 1, "periods", 1, 100000);

		calendar_period(until, rules.period, -periods, zone, &since, &end);
		rules.has_since = true;
		rules.since = period_shift(rules.until, rules.period, 1 - periods);
	}

	reading.of_items = of_items;
	reading.sales = sales_create(CurrentMemoryContext, of_items ? SALES_ITEMS : SALES_CUSTOMERS);
	feed_read(feed, ncolumns, columns, NULL, since, take_row, &reading, NULL);
	put_result(fcinfo, reading.sales, &rules);
	return (Datum) 0;
}

Datum
crm_score_abc_xyz(PG_FUNCTION_ARGS)
{
	return classify_feed(fcinfo, true);
}

Datum
crm_score_customer_abc_xyz(PG_FUNCTION_ARGS)
{
	return classify_feed(fcinfo, false);
}

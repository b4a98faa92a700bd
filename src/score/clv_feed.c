/*
 * clv_feed.c
 *		CLV of a population: summaries of its customers, and crm.fit_clv() and crm.clv() by the feed of orders.
 */
#include "postgres.h"

#include <math.h>

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/arguments.h"
#include "score/clv.h"
#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_clv_summary);
PG_FUNCTION_INFO_V1(crm_score_clv_fit_feed);
PG_FUNCTION_INFO_V1(crm_score_clv);

/* How many of a customer's orders or days are not after "until", which is a date or an instant as they are. */
static uint32
count_until(const RfmKey *keys, uint32 count, int64 until)
{
	while (count > 0 && keys[count - 1].key > until)
		count--;
	return count;
}

/* The mean of all orders but the first, exact but for the division */
static bool
mean_value(const RfmPopulation *population, const RfmKey *keys, uint32 count, Decimal *mean)
{
	DecimalSum	sum = {0};

	for (uint32 i = 1; i < count; i++)
		decimal_sum_add(&sum, rfm_population_amount(population, &keys[i]));
	return decimal_sum_average(&sum, mean);
}

static double
decimal_to_double(Decimal value)
{
	if (value.scale == 0)
		return (double) value.u.mantissa;
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(decimal_to_numeric(value))));
}

void
clv_summarise(RfmPopulation *population, TimestampTz until, double unit_days, const char *zone, ClvSummary *summary)
{
	bool		by_days = rfm_population_counting(population) == RFM_BY_DAYS;
	double		unit = by_days ? unit_days : unit_days * USECS_PER_DAY;
	int64		end = by_days ? rfm_day(rfm_days_create(zone), until) : until;
	uint32		size = rfm_population_size(population);
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext, "crm mean value", ALLOCSET_SMALL_SIZES);

	summary->count = 0;
	summary->index = rfm_population_order(population);
	summary->customers = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(ClvCustomer) * (Size) Max(size, 1));
	for (uint32 i = 0; i < size; i++)
	{
		uint32		index = summary->index[i];
		uint32		count;
		const RfmKey *keys = rfm_population_keys(population, index, &count);
		ClvCustomer *customer = &summary->customers[summary->count];
		MemoryContext old;
		Decimal		mean;

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		count = count_until(keys, count, end);
		if (count == 0)
			continue;
		customer->x = count - 1;
		/* instants may be further apart than 63 bits tell */
		customer->t_x = (double) ((uint64) keys[count - 1].key - (uint64) keys[0].key) / unit;
		customer->t = (double) ((uint64) end - (uint64) keys[0].key) / unit;
		old = MemoryContextSwitchTo(scratch);
		customer->value = mean_value(population, keys, count, &mean) ? decimal_to_double(mean) : NAN;
		MemoryContextSwitchTo(old);
		MemoryContextReset(scratch);
		summary->index[summary->count++] = index;
	}
	MemoryContextDelete(scratch);
}

/*
 * Customers in the order of x and t, on which the orders that are to be expected depend, if they are alive.
 */
static int
compare_ages(const void *left, const void *right, void *arg)
{
	const ClvCustomer *customers = arg;
	const ClvCustomer *p = &customers[*(const uint32 *) left];
	const ClvCustomer *q = &customers[*(const uint32 *) right];

	if (p->x != q->x)
		return p->x < q->x ? -1 : 1;
	return (p->t > q->t) - (p->t < q->t);
}

static double *
allocate_numbers(uint32 count)
{
	return MemoryContextAllocHuge(CurrentMemoryContext, sizeof(double) * (Size) Max(count, 1));
}

void
clv_forecast(const ClvModel *model, const ClvSummary *summary, const ClvHorizon *horizon, ClvForecast *forecast)
{
	bool		orders = clv_has_orders(model);
	bool		values = clv_has_values(model);
	uint32	   *by_age = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) Max(summary->count, 1));
	double		if_alive = NAN;
	double		discounted = NAN;

	clv_check_horizon(horizon);
	forecast->p_alive = allocate_numbers(summary->count);
	forecast->orders = allocate_numbers(summary->count);
	forecast->value = allocate_numbers(summary->count);
	forecast->clv = allocate_numbers(summary->count);
	for (uint32 i = 0; i < summary->count; i++)
		by_age[i] = i;
	qsort_arg(by_age, summary->count, sizeof(uint32), compare_ages, summary->customers);

	for (uint32 i = 0; i < summary->count; i++)
	{
		uint32		c = by_age[i];
		const ClvCustomer *customer = &summary->customers[c];

		if ((i & 0xff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (orders && (i == 0 || compare_ages(&by_age[i - 1], &by_age[i], summary->customers) != 0))
		{
			if_alive = clv_orders_if_alive(model, customer->x, customer->t,
										   DAYS_OF_MONTH / horizon->unit_days * horizon->months);
			discounted = values ? clv_discounted_orders(model, customer->x, customer->t, horizon) : NAN;
		}
		forecast->p_alive[c] = orders ? clv_p_alive(model, customer->x, customer->t_x, customer->t) : NAN;
		forecast->orders[c] = if_alive * forecast->p_alive[c];
		/* A mean below 0, of refunds, tells of no value that the model knows. */
		forecast->value[c] = values && !(customer->x > 0 && !(customer->value >= 0)) ?
			clv_expected_value(model, customer->x, customer->value) : NAN;
		forecast->clv[c] = forecast->value[c] * horizon->margin * discounted * forecast->p_alive[c];
	}
	pfree(by_age);
}

static void
check_until(TimestampTz until)
{
	if (TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "until")));
}

static double
unit_argument(FunctionCallInfo fcinfo, int argument)
{
	double		unit_days;

	argument_require(fcinfo, argument, "unit_days");
	unit_days = PG_GETARG_FLOAT8(argument);
	if (!(unit_days > 0) || !isfinite(unit_days))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be positive", "unit_days")));
	return unit_days;
}

/* Columns customer, x, t_x, t, value */
#define SUMMARY_COLUMNS 5

static void
summary_row(const RfmPopulation *population, const ClvSummary *summary, uint32 i, Datum *values, bool *nulls)
{
	const ClvCustomer *customer = &summary->customers[i];
	uint32		index = summary->index[i];
	uint32		count;
	const RfmKey *keys = rfm_population_keys(population, index, &count);
	Decimal		mean;

	values[0] = Int64GetDatum(rfm_population_customers(population)[index].customer);
	values[1] = Int64GetDatum((int64) customer->x);
	values[2] = Float8GetDatum(customer->t_x);
	values[3] = Float8GetDatum(customer->t);
	nulls[4] = !mean_value(population, keys, (uint32) customer->x + 1, &mean);
	values[4] = nulls[4] ? (Datum) 0 : NumericGetDatum(decimal_to_numeric(mean));
}

Datum
crm_score_clv_summary(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RfmPopulation *population;
	ClvSummary	summary;
	TimestampTz until;
	double		unit_days;
	MemoryContext row;
	MemoryContext old;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	argument_require(fcinfo, 1, "until");
	until = PG_GETARG_TIMESTAMPTZ(1);
	check_until(until);
	unit_days = unit_argument(fcinfo, 2);
	population = rfm_population_from_datum(PG_GETARG_DATUM(0));
	clv_summarise(population, until, unit_days,
				  rfm_zone_of(population, PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3))), &summary);

	row = AllocSetContextCreate(CurrentMemoryContext, "crm clv row", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(row);
	for (uint32 i = 0; i < summary.count; i++)
	{
		Datum		values[SUMMARY_COLUMNS];
		bool		nulls[SUMMARY_COLUMNS] = {false};

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		summary_row(population, &summary, i, values, nulls);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	return (Datum) 0;
}

/*
 * The arguments that both functions on the feed have: until; unit_days, zone, since, refunds, kind and amount from "first" on.
 */
static double
get_reading(FunctionCallInfo fcinfo, int first, RfmReading *reading)
{
	double		unit_days = unit_argument(fcinfo, first);

	memset(reading, 0, sizeof(RfmReading));
	argument_require(fcinfo, 0, "until");
	reading->until = PG_GETARG_TIMESTAMPTZ(0);
	check_until(reading->until);
	reading->zone = argument_text(fcinfo, first + 1, "zone");
	argument_require(fcinfo, first + 2, "since");
	reading->since = PG_GETARG_TIMESTAMPTZ(first + 2);
	argument_require(fcinfo, first + 3, "refunds");
	reading->refunds = PG_GETARG_BOOL(first + 3);
	reading->kind = argument_text(fcinfo, first + 4, "kind");
	reading->amount = argument_text(fcinfo, first + 5, "amount");
	reading->counting = RFM_BY_DAYS;
	return unit_days;
}

/* The fit sorts what it is given. */
static void
fit_summary(const ClvSummary *summary, ClvModel *model)
{
	Size		size = sizeof(ClvCustomer) * (Size) summary->count;
	ClvCustomer *customers = MemoryContextAllocHuge(CurrentMemoryContext, Max(size, 1));

	memcpy(customers, summary->customers, size);
	clv_fit(customers, summary->count, model);
	pfree(customers);
}

Datum
crm_score_clv_fit_feed(PG_FUNCTION_ARGS)
{
	RfmReading	reading;
	double		unit_days = get_reading(fcinfo, 1, &reading);
	ClvSummary	summary;
	ClvModel	model;

	clv_summarise(rfm_read_population(&reading), reading.until, unit_days, reading.zone, &summary);
	fit_summary(&summary, &model);
	return clv_model_datum(fcinfo, &model);
}

static void
put_number(Datum *values, bool *nulls, int column, double number)
{
	nulls[column] = isnan(number);
	values[column] = Float8GetDatum(number);
}

Datum
crm_score_clv(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	RfmReading	reading;
	ClvHorizon	horizon;
	ClvModel	model;
	RfmPopulation *population;
	ClvSummary	summary;
	ClvForecast forecast;
	MemoryContext row;
	MemoryContext old;

	InitMaterializedSRF(fcinfo, 0);
	argument_require(fcinfo, 1, "months");
	argument_require(fcinfo, 2, "discount");
	argument_require(fcinfo, 3, "margin");
	horizon.months = PG_GETARG_INT32(1);
	horizon.discount = PG_GETARG_FLOAT8(2);
	horizon.margin = PG_GETARG_FLOAT8(3);
	horizon.unit_days = get_reading(fcinfo, 4, &reading);
	clv_check_horizon(&horizon);
	if (!PG_ARGISNULL(10))
		clv_get_model(fcinfo, 10, &model);

	population = rfm_read_population(&reading);
	clv_summarise(population, reading.until, horizon.unit_days, reading.zone, &summary);
	if (PG_ARGISNULL(10))
	{
		fit_summary(&summary, &model);
		if (summary.count > 0 && model.reason != NULL)
			ereport(WARNING,
					(errmsg("the model did not converge"),
					 errdetail("%s.", model.reason),
					 errhint("What it would have to tell is NULL; see crm.fit_clv().")));
		if (!model.converged)
			model.r = NAN;
		if (!model.value_converged)
			model.p = NAN;
	}
	clv_forecast(&model, &summary, &horizon, &forecast);

	row = AllocSetContextCreate(CurrentMemoryContext, "crm clv row", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(row);
	for (uint32 i = 0; i < summary.count; i++)
	{
		Datum		values[SUMMARY_COLUMNS + 4];
		bool		nulls[SUMMARY_COLUMNS + 4] = {false};

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		summary_row(population, &summary, i, values, nulls);
		put_number(values, nulls, 5, forecast.p_alive[i]);
		put_number(values, nulls, 6, forecast.orders[i]);
		put_number(values, nulls, 7, forecast.value[i]);
		put_number(values, nulls, 8, forecast.clv[i]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
	MemoryContextDelete(row);
	return (Datum) 0;
}

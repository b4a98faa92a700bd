/*
 * ltv.c
 *		LTV = ARPA * margin / churn rate.
 *
 * Orders come as days (or instants) of each customer, ascending, so that one walk along his orders and the months tells in
 * which months he was active, and in which he was lost. The sums over all customers are exact; so is the answer, up to the
 * rounding of one division.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "base/calendar.h"
#include "base/clock.h"
#include "compat.h"
#include "score/arguments.h"
#include "score/ltv.h"
#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_ltv_from);
PG_FUNCTION_INFO_V1(crm_score_ltv_of);

static DateADT
shift_month(DateADT date, int64 months)
{
	DateADT		result;

	if (!calendar_add_months(date, months, &result))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("months are out of range")));
	return result;
}

void
ltv_init_months(LtvMonths *months, TimestampTz until, int count, const Interval *active_within, const char *zone)
{
	pg_tz	   *tz = calendar_zone(zone);
	DateADT		end;

	if (count < 1 || count > LTV_MAX_MONTHS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there cannot be %d months", count),
				 errdetail("There can be 1 to %d.", LTV_MAX_MONTHS)));
	if (active_within->time != 0 || active_within->month < 0 || active_within->day < 0 ||
		(active_within->month == 0 && active_within->day == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be a positive number of whole days and months", "active_within"),
				 errhint("Such as interval '3 months'.")));
	if (TIMESTAMP_NOT_FINITE(until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "until")));

	months->count = count;
	months->end = palloc(sizeof(DateADT) * (count + 1));
	months->active_from = palloc(sizeof(DateADT) * (count + 1));
	end = calendar_trunc_date(calendar_date(until, tz), UNIT_MONTH);
	months->start = shift_month(end, -count);
	for (int i = 0; i <= count; i++)
	{
		DateADT		start = shift_month(months->start, i - 1);
		int64		from;

		months->end[i] = shift_month(months->start, i);
		from = (int64) shift_month(months->end[i], -(int64) active_within->month) - active_within->day;
		/* more days than dates reach are all that there are */
		months->active_from[i] = (DateADT) Max(Min(start, from), PG_INT32_MIN);
	}
}

void
ltv_add_customer(const LtvMonths *months, const RfmPopulation *population, uint32 customer, RfmDays *days, LtvSums *sums)
{
	uint32		nkeys;
	const RfmKey *keys = rfm_population_keys(population, customer, &nkeys);
	bool		by_days = rfm_population_counting(population) == RFM_BY_DAYS;
	uint32		k = 0;
	bool		any = false;
	DateADT		last = 0;
	bool		was_active = false;
	bool		ever = false;

	for (int m = 0; m <= months->count; m++)
	{
		bool		active;

		for (; k < nkeys; k++)
		{
			DateADT		day = by_days ? (DateADT) keys[k].key : rfm_day(days, keys[k].key);

			if (day >= months->end[m])
				break;
			if (day >= months->start)
				decimal_sum_add(&sums->revenue, rfm_population_amount(population, &keys[k]));
			last = day;
			any = true;
		}
		active = any && last >= months->active_from[m];
		if (m > 0)
		{
			sums->active += active;
			sums->at_risk += was_active;
			sums->churned += was_active && !active;
			ever |= active;
		}
		was_active = active;
	}
	sums->customers += ever;
}

void
ltv_check_margin(Numeric margin)
{
	Decimal		value;

	if (!decimal_from_numeric(margin, &value) || decimal_compare(value, decimal_from_int64(0)) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("margin must be a number and not negative"),
				 errhint("A margin of 20 percent is 0.2.")));
}

static Datum
divide(Datum a, Datum b)
{
	return DirectFunctionCall2(numeric_div, a, b);
}

static Datum
times(Datum a, int64 factor)
{
	return DirectFunctionCall2(numeric_mul, a, NumericGetDatum(int64_to_numeric(factor)));
}

void
ltv_answer(const LtvSums *sums, Numeric margin, Datum *values, bool *nulls)
{
	const char *reason = NULL;
	Decimal		total;
	Datum		revenue;

	if (!decimal_sum_total(&sums->revenue, &total))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("total of the customers is out of range")));
	revenue = NumericGetDatum(decimal_to_numeric(total));

	if (sums->active == 0)
		reason = "nobody was active";
	else if (sums->at_risk == 0)
		reason = "nobody was active in the month before any of these";
	else if (sums->churned == 0)
		reason = "nobody was lost, the churn rate is 0";

	for (int i = 0; i < LTV_COLUMNS; i++)
	{
		values[i] = (Datum) 0;
		nulls[i] = false;
	}
	values[0] = Int64GetDatum(sums->customers);
	values[1] = revenue;
	values[2] = Int64GetDatum(sums->active);
	nulls[3] = sums->active == 0;
	if (!nulls[3])
		values[3] = divide(revenue, NumericGetDatum(int64_to_numeric(sums->active)));
	values[4] = Int64GetDatum(sums->at_risk);
	values[5] = Int64GetDatum(sums->churned);
	nulls[6] = sums->at_risk == 0;
	if (!nulls[6])
		values[6] = divide(NumericGetDatum(int64_to_numeric(sums->churned)),
						   NumericGetDatum(int64_to_numeric(sums->at_risk)));
	nulls[7] = reason != NULL;
	if (!nulls[7])
		values[7] = divide(times(DirectFunctionCall2(numeric_mul, revenue, NumericGetDatum(margin)), sums->at_risk),
						   times(NumericGetDatum(int64_to_numeric(sums->active)), sums->churned));
	nulls[8] = reason == NULL;
	if (!nulls[8])
		values[8] = CStringGetTextDatum(reason);
}

Datum
crm_score_ltv_from(PG_FUNCTION_ARGS)
{
	Numeric		arpa = PG_GETARG_NUMERIC(0);
	Numeric		rate = PG_GETARG_NUMERIC(1);
	Numeric		margin = PG_GETARG_NUMERIC(2);
	Decimal		churn;

	if (!decimal_from_numeric(rate, &churn) || decimal_compare(churn, decimal_from_int64(0)) < 0 ||
		decimal_compare(churn, decimal_from_int64(1)) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("churn rate must be 0 to 1"),
				 errhint("A rate of 5 percent is 0.05.")));
	ltv_check_margin(margin);
	if (decimal_compare(churn, decimal_from_int64(0)) == 0)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(divide(DirectFunctionCall2(numeric_mul, NumericGetDatum(arpa), NumericGetDatum(margin)),
						   NumericGetDatum(rate)));
}

Datum
crm_score_ltv_of(PG_FUNCTION_ARGS)
{
	RfmPopulation *population = NULL;
	LtvMonths	months;
	LtvSums		sums = {0};
	const char *zone;
	TupleDesc	desc;
	Datum		values[LTV_COLUMNS];
	bool		nulls[LTV_COLUMNS];

	argument_require(fcinfo, 1, "until");
	argument_require(fcinfo, 2, "months");
	argument_require(fcinfo, 3, "active_within");
	argument_require(fcinfo, 4, "margin");
	ltv_check_margin(PG_GETARG_NUMERIC(4));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!PG_ARGISNULL(0))
		population = rfm_population_from_datum(PG_GETARG_DATUM(0));
	zone = rfm_zone_of(population, PG_ARGISNULL(5) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(5)));
	ltv_init_months(&months, PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_INT32(2), PG_GETARG_INTERVAL_P(3), zone);
	if (population != NULL)
	{
		RfmDays    *days = rfm_days_create(zone);

		for (uint32 i = 0; i < rfm_population_size(population); i++)
		{
			if ((i & 0xfff) == 0)
				CHECK_FOR_INTERRUPTS();
			ltv_add_customer(&months, population, i, days, &sums);
		}
	}
	ltv_answer(&sums, PG_GETARG_NUMERIC(4), values, nulls);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

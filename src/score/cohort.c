/*
 * cohort.c
 *		Cohorts: customers by the period in which they first bought, and what becomes of them.
 */
#include "postgres.h"

#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

#include "feed/feed.h"
#include "score/arguments.h"
#include "score/periods.h"
#include "score/sales.h"

/* The table grows with the square of the periods. */
#define COHORT_MAX_PERIODS 4000

PG_FUNCTION_INFO_V1(crm_score_cohorts_of);
PG_FUNCTION_INFO_V1(crm_score_cohorts);

/* A cohort in one period. */
typedef struct CohortCell
{
	int64		customers;		/* who bought */
	int64		orders;
	Decimal		amount;
} CohortCell;

typedef struct Cohorts
{
	CalendarUnit period;
	DateADT		first;			/* period of the first cohort */
	int64		nperiods;
	CohortCell **cells;			/* [cohort][age]; NULL for a cohort without customers */
} Cohorts;

static void
add_row(Cohorts *cohorts, int64 cohort, int64 period, bool again, const SalesSum *sum)
{
	CohortCell *cell;

	if (cohorts->cells[cohort] == NULL)
		cohorts->cells[cohort] = palloc_extended(sizeof(CohortCell) * (Size) (cohorts->nperiods - cohort),
												 MCXT_ALLOC_ZERO);
	cell = &cohorts->cells[cohort][period - cohort];
	if (!again)
		cell->customers++;
	if (pg_add_s64_overflow(cell->orders, sum->rows, &cell->orders))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("number of sales is out of range")));
	if (!decimal_add(cell->amount, sum->amount, &cell->amount))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("sum of sales overflows numeric format")));
}

static void
compute(const Sales *sales, bool has_until, DateADT until, Cohorts *cohorts)
{
	int64		nrows;
	const StreamRow *rows = sales_rows(sales, &nrows);
	DateADT		first = DATEVAL_NOEND;
	DateADT		last = DATEVAL_NOBEGIN;
	int64		cohort = 0;
	int64		before = 0;

	for (int64 i = 0; i < nrows; i++)
	{
		if (has_until && rows[i].at > until)
			continue;
		first = Min(first, (DateADT) rows[i].at);
		last = Max(last, (DateADT) rows[i].at);
	}
	cohorts->nperiods = 0;
	if (first > last)
		return;
	cohorts->first = calendar_trunc_date(first, cohorts->period);
	last = calendar_trunc_date(has_until ? until : last, cohorts->period);
	cohorts->nperiods = period_count(cohorts->first, last, cohorts->period) + 1;
	if (cohorts->nperiods > COHORT_MAX_PERIODS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many periods for a table of cohorts"),
				 errdetail("There are " INT64_FORMAT " from the first sale on; the limit is %d.", cohorts->nperiods,
						   COHORT_MAX_PERIODS),
				 errhint("Choose a longer period.")));
	cohorts->cells = palloc0(sizeof(CohortCell *) * cohorts->nperiods);
	for (int64 i = 0; i < nrows; i++)
	{
		bool		same = i > 0 && rows[i].customer == rows[i - 1].customer;
		int64		period;

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		/* rows of a customer are by day, so what comes after this one is too late as well */
		if (has_until && rows[i].at > until)
			continue;
		period = period_count(cohorts->first, calendar_trunc_date((DateADT) rows[i].at, cohorts->period),
							  cohorts->period);
		if (!same)
			cohort = period;
		add_row(cohorts, cohort, period, same && period == before, sales_sum(sales, &rows[i]));
		before = period;
	}
}

static void
put_cohorts(FunctionCallInfo fcinfo, const Cohorts *cohorts)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext row = AllocSetContextCreate(CurrentMemoryContext, "row of cohorts", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(row);

	for (int64 cohort = 0; cohort < cohorts->nperiods; cohort++)
	{
		const CohortCell *cells = cohorts->cells[cohort];

		if (cells == NULL)
			continue;
		CHECK_FOR_INTERRUPTS();
		for (int64 age = 0; age < cohorts->nperiods - cohort; age++)
		{
			Datum		values[7] = {0};
			bool		nulls[7] = {false};

			values[0] = DateADTGetDatum(period_shift(cohorts->first, cohorts->period, cohort));
			values[1] = Int64GetDatum(cells[0].customers);
			values[2] = Int32GetDatum((int32) age);
			values[3] = Int64GetDatum(cells[age].customers);
			nulls[4] = !ratio_of_counts(cells[age].customers, cells[0].customers, &values[4]);
			values[5] = Int64GetDatum(cells[age].orders);
			values[6] = NumericGetDatum(decimal_to_numeric(cells[age].amount));
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
			MemoryContextReset(row);
		}
	}
	MemoryContextSwitchTo(old);
}

/*
 * crm.cohorts_of(sales, period, until)
 */
Datum
crm_score_cohorts_of(PG_FUNCTION_ARGS)
{
	Cohorts		cohorts = {0};
	DateADT		until = 0;

	InitMaterializedSRF(fcinfo, 0);
	cohorts.period = period_argument(fcinfo, 1, "period");
	if (!PG_ARGISNULL(2))
	{
		until = PG_GETARG_DATEADT(2);
		if (DATE_NOT_FINITE(until))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("argument \"%s\" must be finite", "until")));
	}
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	compute(sales_getarg(fcinfo, 0, SALES_CUSTOMERS), !PG_ARGISNULL(2), until, &cohorts);
	put_cohorts(fcinfo, &cohorts);
	return (Datum) 0;
}

typedef struct CohortReading
{
	Sales	   *sales;
	PeriodMap  *map;
	TimestampTz until;
} CohortReading;

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	CohortReading *reading = context;
	SalesSum	sum = {.rows = 1};

	if (at > reading->until)
		return;
	if (values[0].type == VALUE_NUMBER)
		sum.amount = value_decimal(values[0]);
	sales_add(reading->sales, customer, period_of_instant(reading->map, at), NULL, 0, &sum);
}

/*
 * crm.cohorts(period, until, zone, kind, amount)
 */
Datum
crm_score_cohorts(PG_FUNCTION_ARGS)
{
	Cohorts		cohorts = {0};
	CohortReading reading = {0};
	const Feed *feed;
	const char *columns[1];

	InitMaterializedSRF(fcinfo, 0);
	cohorts.period = period_argument(fcinfo, 0, "period");
	reading.until = argument_instant(fcinfo, 1, "until");
	if (TIMESTAMP_NOT_FINITE(reading.until))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "until")));
	reading.map = period_map_create(cohorts.period, calendar_zone(argument_text(fcinfo, 2, "zone")));
	feed = argument_feed(feed_load(), argument_text(fcinfo, 3, "kind"));
	columns[0] = argument_text(fcinfo, 4, "amount");
	argument_property(feed, columns[0], VALUE_NUMBER);

	reading.sales = sales_create(CurrentMemoryContext, SALES_CUSTOMERS);
	feed_read(feed, 1, columns, NULL, DT_NOBEGIN, take_row, &reading, NULL);
	sales_finish(reading.sales);
	compute(reading.sales, true, period_of_instant(reading.map, reading.until), &cohorts);
	put_cohorts(fcinfo, &cohorts);
	return (Datum) 0;
}

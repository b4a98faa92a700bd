/*
 * cycle.c
 *		Repurchase intervals of items, and of customers shrunk to these.
 */
#include "postgres.h"

#include <math.h>

#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/cycle.h"

/* A customer's purchases of one item. */
typedef struct Series
{
	int64		purchases;
	TimestampTz first;
	TimestampTz last;
	double		squares;		/* of the intervals, in seconds */
} Series;

typedef struct Pass
{
	const CycleRules *rules;
	ItemCycle  *items;
} Pass;

static inline double
seconds_between(TimestampTz from, TimestampTz to)
{
	return ((double) to - (double) from) / USECS_PER_SEC;
}

static inline int128
in_units(double value, double unit)
{
	return (int128) rint(value / unit);
}

/*
 * The rows of one item, by instant. A row that is nearer than "apart" to the beginning of the purchase before it is a part
 * of that.
 */
static int64
take_series(const CycleRules *rules, const StreamRow *rows, int64 nrows, Series *series)
{
	int64		i = 1;

	series->purchases = 1;
	series->first = series->last = rows[0].at;
	series->squares = 0;
	for (; i < nrows && rows[i].item == rows[0].item; i++)
	{
		double		interval;

		if ((uint64) rows[i].at - (uint64) series->last < (uint64) rules->apart)
			continue;
		interval = seconds_between(series->last, rows[i].at);
		series->squares += interval * interval;
		series->last = rows[i].at;
		series->purchases++;
	}
	return i;
}

/* Rows of one instant and item are one purchase, whatever "apart" is. */
static int64
drop_repeats(StreamRow *rows, int64 nrows)
{
	int64		n = 0;

	for (int64 i = 0; i < nrows; i++)
	{
		if (n == 0 || rows[n - 1].item != rows[i].item || rows[n - 1].at != rows[i].at)
			rows[n++] = rows[i];
	}
	return n;
}

static void
first_pass(void *context, StreamRow *rows, int64 nrows)
{
	Pass	   *pass = context;
	Series		series;

	stream_rows_sort_by_item(rows, nrows);
	nrows = drop_repeats(rows, nrows);
	for (int64 i = 0; i < nrows;)
	{
		ItemCycle  *item = &pass->items[rows[i].item];
		int64		m;
		double		sum;

		i += take_series(pass->rules, rows + i, nrows - i, &series);
		item->customers++;
		if (series.purchases == 1)
			continue;
		m = series.purchases - 1;
		sum = seconds_between(series.first, series.last);
		item->repeaters++;
		item->intervals += m;
		item->sum += (int128) series.last - series.first;
		item->squares += in_units(series.squares, CYCLE_UNIT);
		item->between += in_units(sum * sum / (double) m, CYCLE_UNIT);
		item->counts += (int128) m * m;
	}
}

static double
weight_of(const ItemCycle *item, double m)
{
	return isinf(item->prior) ? 0 : m / (m + item->prior);
}

static void
second_pass(void *context, StreamRow *rows, int64 nrows)
{
	Pass	   *pass = context;
	Series		series;

	stream_rows_sort_by_item(rows, nrows);
	nrows = drop_repeats(rows, nrows);
	for (int64 i = 0; i < nrows;)
	{
		ItemCycle  *item = &pass->items[rows[i].item];
		double		m;
		double		weight;

		i += take_series(pass->rules, rows + i, nrows - i, &series);
		if (series.purchases == 1)
			continue;
		m = (double) (series.purchases - 1);
		weight = weight_of(item, m);
		item->weights += in_units(weight, CYCLE_WEIGHT_UNIT);
		item->weighted += in_units(weight * (seconds_between(series.first, series.last) / m), CYCLE_UNIT);
	}
}

static void
estimate_variances(const CycleRules *rules, ItemCycle *item)
{
	double		n = (double) item->intervals;
	double		sum = (double) item->sum / USECS_PER_SEC;
	double		squares = (double) item->squares * CYCLE_UNIT;
	double		between = (double) item->between * CYCLE_UNIT;
	double		deviation;		/* of customers' means from the overall mean */

	item->variance_within = item->variance_between = item->mean = get_float8_nan();
	item->prior = get_float8_infinity();
	item->cyclic = item->intervals >= rules->min_intervals && item->intervals > 0 &&
		(double) item->repeaters >= rules->min_repeat * (double) item->customers;
	if (item->intervals == 0)
		return;
	item->mean = sum / n;
	if (item->intervals > item->repeaters)
	{
		item->variance_within = Max(squares - between, 0) / (n - (double) item->repeaters);
		if (item->repeaters > 1)
		{
			deviation = between - sum * item->mean;
			item->variance_between = Max(deviation - (double) (item->repeaters - 1) * item->variance_within, 0) /
				(n - (double) item->counts / n);
			/* what is left of rounding is no variance */
			if (item->variance_between < 1e-12 * item->mean * item->mean)
				item->variance_between = 0;
			if (item->variance_between > 0)
				item->prior = item->variance_within / item->variance_between;
		}
	}
	if (!isnan(rules->prior))
		item->prior = rules->prior;
}

ItemCycle *
cycles_of_items(const Purchases *purchases, const CycleRules *rules)
{
	uint32		nitems = purchases_count_items(purchases);
	Pass		pass = {rules, NULL};

	pass.items = palloc_extended(sizeof(ItemCycle) * Max((Size) nitems, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	purchases_visit(purchases, first_pass, &pass);
	for (uint32 i = 0; i < nitems; i++)
		estimate_variances(rules, &pass.items[i]);
	purchases_visit(purchases, second_pass, &pass);
	for (uint32 i = 0; i < nitems; i++)
	{
		if (pass.items[i].weights > 0)
			pass.items[i].mean = ((double) pass.items[i].weighted * CYCLE_UNIT) /
				((double) pass.items[i].weights * CYCLE_WEIGHT_UNIT);
	}
	return pass.items;
}

static TimestampTz
add_seconds(TimestampTz at, double seconds)
{
	double		sum = (double) at + seconds * USECS_PER_SEC;

	if (sum >= (double) END_TIMESTAMP)
		return DT_NOEND;
	return at + (int64) rint(seconds) * USECS_PER_SEC;
}

void
cycles_of_customer(const CycleRules *rules, const ItemCycle *items, StreamRow *rows, int64 nrows, CycleVisit visit,
				   void *context)
{
	CustomerCycle cycle;
	Series		series;

	stream_rows_sort_by_item(rows, nrows);
	nrows = drop_repeats(rows, nrows);
	for (int64 i = 0; i < nrows;)
	{
		const ItemCycle *item = &items[rows[i].item];

		cycle.customer = rows[i].customer;
		cycle.item = rows[i].item;
		i += take_series(rules, rows + i, nrows - i, &series);
		cycle.purchases = series.purchases;
		cycle.last = series.last;
		cycle.own = get_float8_nan();
		cycle.weight = 0;
		cycle.estimate = item->mean;
		cycle.next = DT_NOEND;
		if (series.purchases > 1)
		{
			cycle.own = seconds_between(series.first, series.last) / (double) (series.purchases - 1);
			cycle.weight = weight_of(item, (double) (series.purchases - 1));
			cycle.estimate = cycle.weight * cycle.own + (1 - cycle.weight) * item->mean;
		}
		if (!isnan(cycle.estimate))
			cycle.next = add_seconds(cycle.last, cycle.estimate);
		visit(context, &cycle);
	}
}

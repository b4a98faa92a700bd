/*
 * eval_aggregate.c
 *		count, sum, avg, min, max, first, last, distinct, most and mode over the events that count.
 *
 * Sums over windows of one set are differences of running sums, made once per customer; everything else walks the
 * selection. No result depends on the order of events at one instant.
 */
#include "postgres.h"

#include "common/int.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "predicate/eval_internal.h"

/* A value of the property, with the instant at which it was last seen. */
typedef struct Seen
{
	Value		value;
	TimestampTz at;
} Seen;

const SumsMemo *
running_sums(Evaluation *ev, int number)
{
	const ProgramSums *sums = &ev->program->sums[number];
	int			kind = ev->program->sets[sums->set].kind;
	SumsMemo   *memo = &ev->sums[number];
	const SetMemo *members;
	const Value *column;
	int64	   *sum;
	int		   *known;

	if (memo->stamp == ev->facts_stamp)
		return memo;

	memo->stamp = ev->facts_stamp;
	memo->usable = false;
	memo->scale = -1;
	members = set_members(ev, sums->set);
	column = ev->facts->kinds[kind].properties[sums->property.column];
	sum = MemoryContextAllocHuge(ev->facts_context, sizeof(int64) * ((Size) members->count + 1));
	known = MemoryContextAllocHuge(ev->facts_context, sizeof(int) * ((Size) members->count + 1));
	sum[0] = 0;
	known[0] = 0;
	for (int p = 0; p < members->count; p++)
	{
		Value		v = column[members->list == NULL ? p : members->list[p]];

		sum[p + 1] = sum[p];
		known[p + 1] = known[p];
		if (v.type != VALUE_NUMBER)
			continue;
		/* numeric gives a sum the greatest scale of what was summed: with several scales each window has its own */
		if (v.scale == DECIMAL_BIG || (memo->scale >= 0 && v.scale != memo->scale) ||
			pg_add_s64_overflow(sum[p], v.u.integer, &sum[p + 1]))
			return memo;
		memo->scale = v.scale;
		known[p + 1]++;
	}
	memo->sum = sum;
	memo->known = known;
	memo->usable = true;
	return memo;
}

/* Running sums are made for the whole of a set: worth it when many windows look at it, or at many instants. */
static bool
worth_running(Evaluation *ev, int number)
{
	SumsMemo   *memo = &ev->sums[number];

	if (memo->asked_stamp != ev->facts_stamp)
	{
		memo->asked_stamp = ev->facts_stamp;
		memo->asked = 0;
	}
	return ev->program->sums[number].users > 1 || memo->stamp == ev->facts_stamp || ++memo->asked > FEW_INSTANTS;
}

static Value
sum_or_average(Evaluation *ev, const ProgramNode *node, int kind, const Selection *selection)
{
	DecimalSum	sum = {0};
	Decimal		result;
	bool		known;

	if (node->sums >= 0 && selection->contiguous && worth_running(ev, node->sums))
	{
		const SumsMemo *running = running_sums(ev, node->sums);

		if (running->usable)
		{
			int			from = selection->first,
						upto = selection->first + selection->count;
			int			count = running->known[upto] - running->known[from];

			if (count == 0)
				return node->op == AGG_SUM ? value_number(decimal_from_int64(0)) : value_unknown();
			result.scale = running->scale;
			result.u.mantissa = 0;
			if (!pg_sub_s64_overflow(running->sum[upto], running->sum[from], &result.u.mantissa))
			{
				if (node->op == AGG_SUM)
					return value_number(result);
				known = decimal_divide(result, decimal_from_int64(count), &result);
				return known ? value_number(result) : value_unknown();
			}
		}
	}

	for (int i = 0; i < selection->count; i++)
	{
		Value		v = event_property(ev, kind, node->property, SELECTED(selection, i));

		if (v.type == VALUE_NUMBER)
			decimal_sum_add(&sum, value_decimal(v));
	}
	known = node->op == AGG_SUM ? decimal_sum_total(&sum, &result) : decimal_sum_average(&sum, &result);
	return known ? value_number(result) : value_unknown();
}

/* Of values of several types, min and max look at those of the first of: number, moment, text, boolean. */
static int
extreme_rank(Value v)
{
	switch (v.type)
	{
		case VALUE_NUMBER:
			return 4;
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			return 3;
		case VALUE_TEXT:
			return 2;
		case VALUE_BOOLEAN:
			return 1;
		default:
			return 0;
	}
}

static int
compare_alike(Evaluation *ev, Value a, Value b)
{
	if (a.type != b.type)
	{
		TimestampTz x = moment_start(ev, a),
					y = moment_start(ev, b);

		if (x != y)
			return x < y ? -1 : 1;
	}
	return value_compare(a, b);
}

/* Does a value take the place of another as least (min) or greatest (max)? */
bool
extreme_is_better(Evaluation *ev, int op, Value a, Value b)
{
	int			rank = extreme_rank(a);

	if (rank == 0 || rank < extreme_rank(b))
		return false;
	return rank > extreme_rank(b) || (op == AGG_MIN ? compare_alike(ev, a, b) < 0 : compare_alike(ev, a, b) > 0);
}

static Value
extreme(Evaluation *ev, const ProgramNode *node, int kind, const Selection *selection)
{
	Value		best = value_unknown();

	for (int i = 0; i < selection->count; i++)
	{
		Value		v = event_property(ev, kind, node->property, SELECTED(selection, i));

		if (extreme_is_better(ev, node->op, v, best))
			best = v;
	}
	return best;
}

/* The value of the first or last event; of events at one instant, the least or greatest that is known. */
static Value
value_at_end(Evaluation *ev, const ProgramNode *node, int kind, const Selection *selection)
{
	const TimestampTz *at = ev->facts->kinds[kind].at;
	bool		last = node->op == AGG_LAST;
	Value		best = value_unknown();

	for (int i = 0; i < selection->count; i++)
	{
		int			event = SELECTED(selection, last ? selection->count - 1 - i : i);
		Value		v;

		if (at[event] != at[SELECTED(selection, last ? selection->count - 1 : 0)])
			break;
		v = event_property(ev, kind, node->property, event);
		if (v.type == VALUE_UNKNOWN)
			continue;
		if (best.type == VALUE_UNKNOWN || (last ? value_compare(v, best) > 0 : value_compare(v, best) < 0))
			best = v;
	}
	return best;
}

static int
seen_compare(const void *a, const void *b)
{
	return value_compare(((const Seen *) a)->value, ((const Seen *) b)->value);
}

/* distinct, most, mode: sorts what is known, and looks at runs of equals. */
static Value
frequency(Evaluation *ev, const ProgramNode *node, int kind, const Selection *selection)
{
	const TimestampTz *at = ev->facts->kinds[kind].at;
	Seen	   *seen;
	int			count = 0,
				distinct = 0,
				most = 0;
	TimestampTz mode_at = DT_NOBEGIN;
	Value		mode = value_unknown();

	seen = palloc_extended(sizeof(Seen) * (Size) Max(selection->count, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < selection->count; i++)
	{
		int			event = SELECTED(selection, i);
		Value		v = event_property(ev, kind, node->property, event);

		if (v.type == VALUE_UNKNOWN || v.type == VALUE_ARRAY)
			continue;
		seen[count].value = v;
		seen[count++].at = at[event];
	}
	qsort(seen, count, sizeof(Seen), seen_compare);

	for (int i = 0, next; i < count; i = next)
	{
		TimestampTz latest = seen[i].at;

		for (next = i + 1; next < count && value_compare(seen[next].value, seen[i].value) == 0; next++)
			latest = Max(latest, seen[next].at);
		distinct++;
		/* runs come in rising order, so that of equals in all else the first is the least */
		if (next - i > most || (next - i == most && latest > mode_at))
		{
			most = next - i;
			mode = seen[i].value;
			mode_at = latest;
		}
	}
	pfree(seen);

	switch (node->op)
	{
		case AGG_DISTINCT:
			return value_number(decimal_from_int64(distinct));
		case AGG_MOST:
			return value_number(decimal_from_int64(most));
		default:
			return mode;
	}
}

Value
eval_aggregate(Evaluation *ev, const ProgramNode *node, const Selection *selection)
{
	int			kind = ev->program->sets[ev->program->events[node->events].set].kind;
	Value		result;

	if (node->column >= 0 && selection->contiguous && column_aggregate(ev, node, selection, &result))
		return result;
	switch (node->op)
	{
		case AGG_COUNT:
			return value_number(decimal_from_int64(selection->count));
		case AGG_SUM:
		case AGG_AVG:
			return sum_or_average(ev, node, kind, selection);
		case AGG_MIN:
		case AGG_MAX:
			return extreme(ev, node, kind, selection);
		case AGG_FIRST:
		case AGG_LAST:
			return value_at_end(ev, node, kind, selection);
		default:
			return frequency(ev, node, kind, selection);
	}
}

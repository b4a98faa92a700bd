/*
 * eval_column.c
 *		min, max, distinct, most and mode at one instant after the other.
 *
 * To walk through a window at each of the instants at which it changes costs the square of the events. So the values of a
 * property are numbered once in their order, and as the window slides over them the number of each that is in it is kept;
 * for min and max a tree over all events has the best of each stretch.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "predicate/eval_internal.h"

/* A property of a set's members, by position. */
typedef struct ColumnMemo
{
	uint32		stamp;			/* of facts */
	int			asked;			/* for how many selections */
	Value	   *values;
	int		   *numbers;		/* equal values have equal numbers, lesser ones lesser; -1: not counted */
	int			nnumbers;
	Value	   *numbered;
	int		   *best[2];		/* trees for min and max: node i has the children 2i and 2i + 1; leaves are positions */
} ColumnMemo;

/* The window of one node over its column. */
typedef struct SlideMemo
{
	uint32		stamp;			/* of facts */
	int			from;
	int			upto;
	int		   *times;			/* by number: how often it is in the window */
	int		   *numbers_with;	/* by times: how many numbers are in it so often */
	int			distinct;
	int			most;
} SlideMemo;

typedef struct ColumnEntry
{
	Value		value;
	int			position;
} ColumnEntry;

void
column_create(Evaluation *ev)
{
	ev->columns = palloc0(sizeof(ColumnMemo) * Max(ev->program->ncolumns, 1));
	ev->slides = palloc_extended(sizeof(SlideMemo *) * Max(ev->program->nnodes, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void *
facts_alloc(Evaluation *ev, Size size, int count)
{
	return MemoryContextAllocHuge(ev->facts_context, size * Max((Size) count, 1));
}

static ColumnMemo *
column_memo(Evaluation *ev, int number)
{
	ColumnMemo *memo = &ev->columns[number];

	if (memo->stamp != ev->facts_stamp)
	{
		memset(memo, 0, sizeof(ColumnMemo));
		memo->stamp = ev->facts_stamp;
	}
	return memo;
}

static void
prepare_values(Evaluation *ev, int number, ColumnMemo *memo)
{
	const ProgramColumn *column = &ev->program->columns[number];
	const SetMemo *members = set_members(ev, column->set);
	int			kind = ev->program->sets[column->set].kind;
	Value	   *values = facts_alloc(ev, sizeof(Value), members->count);

	for (int p = 0; p < members->count; p++)
		values[p] = event_property(ev, kind, column->property, listed(members->list, p));
	memo->values = values;
}

static int
compare_entries(const void *a, const void *b)
{
	return value_compare(((const ColumnEntry *) a)->value, ((const ColumnEntry *) b)->value);
}

static void
prepare_numbers(Evaluation *ev, int number, ColumnMemo *memo)
{
	int			total = set_members(ev, ev->program->columns[number].set)->count;
	ColumnEntry *entries = facts_alloc(ev, sizeof(ColumnEntry), total);
	int		   *numbers = facts_alloc(ev, sizeof(int), total);
	int			count = 0;

	for (int p = 0; p < total; p++)
	{
		numbers[p] = -1;
		if (memo->values[p].type == VALUE_UNKNOWN || memo->values[p].type == VALUE_ARRAY)
			continue;
		entries[count].value = memo->values[p];
		entries[count++].position = p;
	}
	qsort(entries, count, sizeof(ColumnEntry), compare_entries);
	memo->nnumbers = 0;
	memo->numbered = facts_alloc(ev, sizeof(Value), count);
	for (int i = 0; i < count; i++)
	{
		if (i == 0 || value_compare(entries[i - 1].value, entries[i].value) != 0)
			memo->numbered[memo->nnumbers++] = entries[i].value;
		numbers[entries[i].position] = memo->nnumbers - 1;
	}
	pfree(entries);
	memo->numbers = numbers;
}

/* Of two positions, either perhaps -1, the one with the better value; of equals the earlier. */
static int
better_position(Evaluation *ev, const ColumnMemo *memo, int op, int a, int b)
{
	if (a < 0 || b < 0)
		return Max(a, b);
	if (a > b)
	{
		int			swap = a;

		a = b;
		b = swap;
	}
	return extreme_is_better(ev, op, memo->values[b], memo->values[a]) ? b : a;
}

static Value
extreme_between(Evaluation *ev, int number, ColumnMemo *memo, int op, int from, int upto)
{
	int			total = set_members(ev, ev->program->columns[number].set)->count;
	int		   *tree = memo->best[op == AGG_MAX];
	int			result = -1;

	if (tree == NULL)
	{
		tree = facts_alloc(ev, sizeof(int) * 2, total);
		for (int p = 0; p < total; p++)
			tree[total + p] = extreme_is_better(ev, op, memo->values[p], value_unknown()) ? p : -1;
		for (int i = total - 1; i > 0; i--)
			tree[i] = better_position(ev, memo, op, tree[2 * i], tree[2 * i + 1]);
		memo->best[op == AGG_MAX] = tree;
	}
	for (from += total, upto += total; from < upto; from /= 2, upto /= 2)
	{
		if (from % 2 == 1)
			result = better_position(ev, memo, op, result, tree[from++]);
		if (upto % 2 == 1)
			result = better_position(ev, memo, op, result, tree[--upto]);
	}
	return result < 0 ? value_unknown() : memo->values[result];
}

static void
slide_in(SlideMemo *slide, int number)
{
	if (number < 0)
		return;
	slide->numbers_with[slide->times[number]]--;
	slide->numbers_with[++slide->times[number]]++;
	if (slide->times[number] == 1)
		slide->distinct++;
	if (slide->times[number] > slide->most)
		slide->most = slide->times[number];
}

static void
slide_out(SlideMemo *slide, int number)
{
	if (number < 0)
		return;
	slide->numbers_with[slide->times[number]]--;
	slide->numbers_with[--slide->times[number]]++;
	if (slide->times[number] == 0)
		slide->distinct--;
	if (slide->most > 0 && slide->numbers_with[slide->most] == 0)
		slide->most--;
}

/* Moves the window of a node, one event after the other where that is the shorter way. */
static const SlideMemo *
slide_to(Evaluation *ev, const ProgramNode *node, const ColumnMemo *memo, int from, int upto)
{
	SlideMemo **place = &ev->slides[node - ev->program->nodes];
	SlideMemo  *slide = *place;

	if (slide == NULL)
		*place = slide = MemoryContextAllocZero(GetMemoryChunkContext(ev->slides), sizeof(SlideMemo));
	if (slide->stamp != ev->facts_stamp)
	{
		int			total = set_members(ev, ev->program->columns[node->column].set)->count;

		memset(slide, 0, sizeof(SlideMemo));
		slide->times = facts_alloc(ev, sizeof(int), memo->nnumbers);
		slide->numbers_with = facts_alloc(ev, sizeof(int), total + 1);
		memset(slide->times, 0, sizeof(int) * memo->nnumbers);
		memset(slide->numbers_with, 0, sizeof(int) * ((Size) total + 1));
		slide->numbers_with[0] = memo->nnumbers;
		slide->stamp = ev->facts_stamp;
	}

	if (Max(from, slide->from) >= Min(upto, slide->upto))
	{
		/* nothing in common */
		while (slide->from < slide->upto)
			slide_out(slide, memo->numbers[slide->from++]);
		slide->from = slide->upto = from;
	}
	while (slide->from > from)
		slide_in(slide, memo->numbers[--slide->from]);
	while (slide->upto < upto)
		slide_in(slide, memo->numbers[slide->upto++]);
	while (slide->from < from)
		slide_out(slide, memo->numbers[slide->from++]);
	while (slide->upto > upto)
		slide_out(slide, memo->numbers[--slide->upto]);
	return slide;
}

/* Of the values that are most often in the window the latest seen, and of those seen together the least. */
static Value
mode_of(Evaluation *ev, const ProgramNode *node, const ColumnMemo *memo, const SlideMemo *slide)
{
	const ProgramSet *set = &ev->program->sets[ev->program->columns[node->column].set];
	const int  *list = set_members(ev, ev->program->columns[node->column].set)->list;
	const TimestampTz *at = ev->facts->kinds[set->kind].at;
	TimestampTz latest = 0;
	int			result = -1;

	for (int p = slide->upto - 1; p >= slide->from; p--)
	{
		int			number = memo->numbers[p];

		if (result >= 0 && at[listed(list, p)] < latest)
			break;
		if (number < 0 || slide->times[number] < slide->most)
			continue;
		latest = at[listed(list, p)];
		if (result < 0 || number < result)
			result = number;
	}
	return result < 0 ? value_unknown() : memo->numbered[result];
}

/* The aggregate of a contiguous selection; false where so few are asked for that walking through it is cheaper. */
bool
column_aggregate(Evaluation *ev, const ProgramNode *node, const Selection *selection, Value *result)
{
	ColumnMemo *memo = column_memo(ev, node->column);
	int			from = selection->first;
	int			upto = selection->first + selection->count;
	const SlideMemo *slide;

	if (++memo->asked <= FEW_INSTANTS)
		return false;
	CHECK_FOR_INTERRUPTS();
	if (memo->values == NULL)
		prepare_values(ev, node->column, memo);
	if (node->op == AGG_MIN || node->op == AGG_MAX)
	{
		*result = extreme_between(ev, node->column, memo, node->op, from, upto);
		return true;
	}

	if (memo->numbers == NULL)
		prepare_numbers(ev, node->column, memo);
	slide = slide_to(ev, node, memo, from, upto);
	if (node->op == AGG_DISTINCT)
		*result = value_number(decimal_from_int64(slide->distinct));
	else if (node->op == AGG_MOST)
		*result = value_number(decimal_from_int64(slide->most));
	else
		*result = mode_of(ev, node, memo, slide);
	return true;
}

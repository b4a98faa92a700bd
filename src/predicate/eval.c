/*
 * eval.c
 *		Truth and value of a program's nodes, and stepping through time.
 *
 * Each node gives its result and, when asked, the instant until which that surely stays so. A false conjunction stays
 * false as long as its most lasting false part; a true one until its first part may change; a disjunction mirrors that.
 * The bound need not be the change itself: next_change steps from bound to bound until the truth really differs.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

Evaluation *
evaluation_create(const Program *program, pg_tz *zone)
{
	Evaluation *ev = palloc0(sizeof(Evaluation));

	ev->program = program;
	ev->zone = zone;
	ev->nodes = palloc_extended(sizeof(NodeMemo) * Max(program->nnodes, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	ev->sets = palloc0(sizeof(SetMemo) * Max(program->nsets, 1));
	ev->tris = palloc0(sizeof(TriMemo) * Max(program->nsets, 1));
	ev->events = palloc0(sizeof(EventsMemo) * Max(program->nevents, 1));
	ev->sums = palloc0(sizeof(SumsMemo) * Max(program->nsums, 1));
	ev->windows = palloc0(sizeof(WindowBounds) * Max(program->nwindows, 1));
	follow_create(ev);
	column_create(ev);
	ev->quick = quick_create(program);
	ev->facts_context = AllocSetContextCreate(CurrentMemoryContext, "facts of a customer", ALLOCSET_DEFAULT_SIZES);
	ev->instant_context = AllocSetContextCreate(CurrentMemoryContext, "customer at an instant",
												ALLOCSET_DEFAULT_SIZES);
	return ev;
}

void
evaluation_set_facts(Evaluation *ev, const Facts *facts)
{
	ev->facts = facts;
	ev->stamp++;
	ev->facts_stamp++;
	MemoryContextReset(ev->facts_context);
	MemoryContextReset(ev->instant_context);
}

void
evaluation_set_instant(Evaluation *ev, TimestampTz at, bool has_entry, TimestampTz entry)
{
	if (ev->program->uses_entry && !has_entry)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"since entry\" has no meaning here"),
				 errdetail("The instant of entry is known only within a campaign run."),
				 errhint("Give the argument \"entry\".")));
	if (ev->program->uses_entry && ev->has_entry && entry != ev->entry)
	{
		/* what is remembered of the facts counts from the entry */
		ev->facts_stamp++;
		MemoryContextReset(ev->facts_context);
	}
	ev->at = at;
	ev->has_entry = has_entry;
	ev->entry = entry;
	ev->stamp++;
	ev->instant_stamp++;
	MemoryContextReset(ev->instant_context);
}

/*
 * 0 to 99, the same for a customer and a salt for ever and everywhere: 64-bit FNV-1a over the salt and the id's bytes,
 * least first, mixed as splitmix64 does.
 */
static int
bucket_of(Value salt, int64 customer)
{
	uint64		hash = UINT64CONST(0xcbf29ce484222325);

	for (uint32 i = 0; i < salt.length; i++)
		hash = (hash ^ (unsigned char) salt.u.text[i]) * UINT64CONST(0x100000001b3);
	for (int i = 0; i < 8; i++)
		hash = (hash ^ (((uint64) customer >> (8 * i)) & 0xff)) * UINT64CONST(0x100000001b3);
	hash = (hash ^ (hash >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	hash = (hash ^ (hash >> 27)) * UINT64CONST(0x94d049bb133111eb);
	hash ^= hash >> 31;
	return (int) (((hash >> 32) * 100) >> 32);
}

static Value
compute_value(Evaluation *ev, const ProgramNode *node, TimestampTz *until)
{
	if (until != NULL)
		*until = DT_NOEND;

	switch (node->tag)
	{
		case AST_LITERAL:
			return node->literals[0];
		case AST_NAME:
			return ev->facts->attributes[node->slot];
		case AST_AGGREGATE:
			return eval_aggregate(ev, node, node->op == AGG_COUNT ? select_events(ev, node->events, until) :
								  listed_events(ev, node->events, until));
		case AST_MOMENT_OF:
			{
				const Selection *s = listed_events(ev, node->events, until);
				int			kind = ev->program->sets[ev->program->events[node->events].set].kind;

				if (s->count == 0)
					return value_unknown();
				return value_timestamp(ev->facts->kinds[kind].at[SELECTED(s, node->op == AGG_FIRST ? 0 : s->count - 1)]);
			}
		case AST_BUCKET:
			if (!ev->facts->has_customer)
				return value_unknown();
			return value_number(decimal_from_int64(bucket_of(node->literals[0], ev->facts->customer)));
		case AST_ARITHMETIC:
		case AST_NEGATE:
			{
				Value		args[2];

				for (int i = 0; i < node->nargs; i++)
				{
					TimestampTz one = DT_NOEND;

					if (ev->program->nodes[node->args[i]].tag == AST_INTERVAL)
						continue;
					args[i] = eval_value(ev, node->args[i], until == NULL ? NULL : &one);
					if (until != NULL && one < *until)
						*until = one;
				}
				return arithmetic_value(ev, node, args);
			}
		case AST_ANNIVERSARY:	/* only beneath a window, which looks at all of them */
		default:
			elog(ERROR, "unexpected node %d in a predicate", (int) node->tag);
	}
	return value_unknown();		/* keep compiler quiet */
}

/* x [not] window */
static bool
eval_in_window(Evaluation *ev, const ProgramNode *node, TimestampTz *until)
{
	const ProgramNode *nodes = ev->program->nodes;
	int			inner = node->anniversary < 0 ? node->args[0] : nodes[node->anniversary].args[0];
	TimestampTz value_until = DT_NOEND;
	Value		value = eval_value(ev, inner, until == NULL ? NULL : &value_until);
	bool		result = value_in_window(ev, node, &nodes[inner], value, until);

	if (until != NULL && value_until < *until)
		*until = value_until;
	return result != node->negated;
}

static bool
has_segment(const Facts *facts, int segment)
{
	int			low = 0,
				high = facts->nsegments;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (facts->segments[middle] < segment)
			low = middle + 1;
		else
			high = middle;
	}
	return low < facts->nsegments && facts->segments[low] == segment;
}

static bool
compute_truth(Evaluation *ev, const ProgramNode *node, TimestampTz *until)
{
	if (until != NULL)
		*until = DT_NOEND;

	switch (node->tag)
	{
		case AST_AND:
		case AST_OR:
			{
				/* the truth that decides: false for and, true for or */
				bool		decisive = node->tag == AST_OR;
				TimestampTz decided = DT_NOBEGIN;
				TimestampTz first = DT_NOEND;
				bool		found = false;

				for (int i = 0; i < node->nargs; i++)
				{
					TimestampTz one;
					bool		truth = eval_truth(ev, node->args[i], until == NULL ? NULL : &one);

					if (until == NULL)
					{
						if (truth == decisive)
							return decisive;
						continue;
					}
					if (truth == decisive)
					{
						found = true;
						decided = Max(decided, one);
					}
					first = Min(first, one);
				}
				if (until != NULL)
					*until = found ? decided : first;
				return found ? decisive : !decisive;
			}
		case AST_NOT:
			return !eval_truth(ev, node->args[0], until);
		case AST_LITERAL:
			return node->literals[0].u.integer != 0;
		case AST_HAS:
			return (select_events(ev, node->events, until)->count > 0) != node->negated;
		case AST_IN_WINDOW:
			return eval_in_window(ev, node, until);
		case AST_IN_SEGMENT:
			return has_segment(ev->facts, node->segment);
		case AST_COMPARE:
		case AST_IN_LIST:
		case AST_BETWEEN:
		case AST_LIKE:
		case AST_CONTAINS:
		case AST_KNOWN:
			{
				Value		args[3];

				for (int i = 0; i < node->nargs; i++)
				{
					TimestampTz one = DT_NOEND;

					args[i] = eval_value(ev, node->args[i], until == NULL ? NULL : &one);
					if (until != NULL && one < *until)
						*until = one;
				}
				return compare_truth(ev, node, args);
			}
		default:
			elog(ERROR, "unexpected node %d in a predicate", (int) node->tag);
	}
	return false;				/* keep compiler quiet */
}

bool
eval_truth(Evaluation *ev, int number, TimestampTz *until)
{
	const ProgramNode *node = &ev->program->nodes[number];
	NodeMemo   *memo = &ev->nodes[number];
	bool		result;

	if (!node->shared)
		return compute_truth(ev, node, until);
	if (memo->stamp == ev->stamp && (until == NULL || memo->with_until))
	{
		if (until != NULL)
			*until = memo->until;
		return memo->value.u.integer != 0;
	}
	check_stack_depth();
	result = compute_truth(ev, node, until);
	memo->stamp = ev->stamp;
	memo->value = value_boolean(result);
	memo->with_until = until != NULL;
	if (until != NULL)
		memo->until = *until;
	return result;
}

Value
eval_value(Evaluation *ev, int number, TimestampTz *until)
{
	const ProgramNode *node = &ev->program->nodes[number];
	NodeMemo   *memo = &ev->nodes[number];
	Value		result;

	if (!node->shared || node->tag == AST_NAME || node->tag == AST_LITERAL)
		return compute_value(ev, node, until);
	if (memo->stamp == ev->stamp && (until == NULL || memo->with_until))
	{
		if (until != NULL)
			*until = memo->until;
		return memo->value;
	}
	result = compute_value(ev, node, until);
	memo->stamp = ev->stamp;
	memo->value = result;
	memo->with_until = until != NULL;
	if (until != NULL)
		memo->until = *until;
	return result;
}

bool
evaluation_truth(Evaluation *ev, int root, TimestampTz *until)
{
	MemoryContext old = MemoryContextSwitchTo(ev->instant_context);
	bool		result = until == NULL ? quick_truth(ev, root) : eval_truth(ev, root, until);

	/* a bound that does not move on would hold next_change for ever */
	Assert(until == NULL || *until > ev->at || TIMESTAMP_IS_NOEND(*until));
	MemoryContextSwitchTo(old);
	return result;
}

TimestampTz
evaluation_next_change(Evaluation *ev, int root, TimestampTz at, bool has_entry, TimestampTz entry)
{
	Interval	years = {.month = NEXT_CHANGE_MAX_YEARS * MONTHS_PER_YEAR};
	TimestampTz limit = calendar_add(at, &years, ev->zone);
	TimestampTz until;
	bool		truth;

	evaluation_set_instant(ev, at, has_entry, entry);
	truth = evaluation_truth(ev, root, &until);
	for (int step = 0; step < NEXT_CHANGE_MAX_STEPS && !TIMESTAMP_IS_NOEND(until); step++)
	{
		TimestampTz reached = until;

		CHECK_FOR_INTERRUPTS();
		evaluation_set_instant(ev, reached, has_entry, entry);
		if (evaluation_truth(ev, root, &until) != truth || reached > limit)
			return reached;
		if (step == NEXT_CHANGE_MAX_STEPS - 1)
			return reached;
	}
	return until;
}

void
evaluation_spans(Evaluation *ev, StepTruth truth_of, const void *what, TimestampTz from, TimestampTz to, bool has_entry,
				 TimestampTz entry, PeriodSink sink, void *context)
{
	TimestampTz start = from;
	TimestampTz at = from;
	bool		current = false;

	while (at < to)
	{
		TimestampTz until;
		MemoryContext old;
		bool		truth;

		CHECK_FOR_INTERRUPTS();
		evaluation_set_instant(ev, at, has_entry, entry);
		old = MemoryContextSwitchTo(ev->instant_context);
		truth = truth_of(ev, what, &until);
		MemoryContextSwitchTo(old);
		if (truth && !current)
			start = at;
		else if (!truth && current)
			sink(context, start, at);
		current = truth;
		/* a bound that does not move on would hold us for ever */
		Assert(until > at);
		at = until;
	}
	if (current)
		sink(context, start, to);
}

static bool
root_truth(Evaluation *ev, const void *root, TimestampTz *until)
{
	return eval_truth(ev, *(const int *) root, until);
}

void
evaluation_periods(Evaluation *ev, int root, TimestampTz from, TimestampTz to, bool has_entry, TimestampTz entry,
				   PeriodSink sink, void *context)
{
	evaluation_spans(ev, root_truth, &root, from, to, has_entry, entry, sink, context);
}

/*
 * eval_quick.c
 *		The shapes that most segments have, evaluated at one instant for very many customers.
 *
 * "count(order in last 30 days) >= 2 and sum(order.amount in last 30 days) > 100": the bounds of all windows over one set
 * of events are sorted once for an instant, and one walk along a customer's events then gives every bound its position. A
 * count is a difference of two positions, a sum a difference of two running sums, and what they are compared with is
 * brought to their scale beforehand, so that the comparison is one of integers.
 *
 * Nothing is decided here that the general way would decide otherwise: wherever a case is not of the plain kind (an event
 * in the few days around a bound of months, sums of several scales, a filter that looks at the instant) that way is taken.
 */
#include "postgres.h"

#include "common/int.h"

#include "predicate/eval_internal.h"

typedef enum QuickTag
{
	QUICK_NONE,					/* to be evaluated the general way */
	QUICK_COUNT,
	QUICK_SUM,
	QUICK_AND,
	QUICK_OR,
	QUICK_NOT
} QuickTag;

/* A truth: a whole number lies between two (inclusive), or not; or a junction of such truths. */
typedef struct QuickNode
{
	uint8		tag;
	bool		negated;
	int8		scale;			/* of least and most; they are made anew for another */
	uint8		op;				/* what they are made from, with the limit */
	int			events;			/* QUICK_COUNT, QUICK_SUM */
	int			sums;			/* QUICK_SUM */
	int			nargs;			/* of a junction */
	union
	{
		struct
		{
			int64		least;
			int64		most;
		}			range;
		const int  *args;
	}			u;
} QuickNode;

/* A windowed set at the instant, as numbers of bounds of its set: first event inside, surely inside, outside ... */
typedef struct QuickEvents
{
	int			set;
	int			begin;
	int			sure_begin;
	int			sure_end;
	int			end;
} QuickEvents;

typedef struct QuickSet
{
	uint32		stamp;			/* positions are of these facts at this instant */
	uint32		instant_stamp;	/* bounds are of this instant */
	int			nevents;		/* windowed sets over it, none where the quick way is closed */
	int		   *events;
	int			nbounds;
	TimestampTz *bounds;		/* ascending, each once */
	int		   *positions;		/* of the first event not before the bound */
} QuickSet;

struct Quick
{
	QuickNode  *nodes;
	Decimal    *limits;			/* what a node compares with: looked at only when the scale changes */
	QuickEvents *events;
	QuickSet   *sets;
};

/* The comparison with its operands exchanged. */
static int
mirrored(int op)
{
	switch (op)
	{
		case COMPARE_OP_LT:
			return COMPARE_OP_GT;
		case COMPARE_OP_LE:
			return COMPARE_OP_GE;
		case COMPARE_OP_GT:
			return COMPARE_OP_LT;
		case COMPARE_OP_GE:
			return COMPARE_OP_LE;
		default:
			return op;
	}
}

/* What "x op limit" means for the mantissas x of a scale. False if it cannot be said in 64 bits. */
static bool
set_range(QuickNode *quick, Decimal limit, int scale)
{
	int64		low = limit.u.mantissa;
	bool		exact = true;

	for (int s = limit.scale; s < scale; s++)
	{
		if (pg_mul_s64_overflow(low, 10, &low))
			return false;
	}
	/* towards minus infinity */
	for (int s = scale; s < limit.scale; s++)
	{
		int64		digit = low % 10;

		low /= 10;
		if (digit != 0)
		{
			exact = false;
			if (digit < 0)
				low--;
		}
	}
	if (low == PG_INT64_MIN || low == PG_INT64_MAX)
		return false;

	quick->scale = (int8) scale;
	quick->u.range.least = PG_INT64_MIN;
	quick->u.range.most = PG_INT64_MAX;
	quick->negated = false;
	switch (quick->op)
	{
		case COMPARE_OP_NE:
			quick->negated = true;
			/* FALLTHROUGH */
		case COMPARE_OP_EQ:
			quick->u.range.least = exact ? low : 1;
			quick->u.range.most = exact ? low : 0;
			break;
		case COMPARE_OP_LT:
			quick->u.range.most = exact ? low - 1 : low;
			break;
		case COMPARE_OP_LE:
			quick->u.range.most = low;
			break;
		case COMPARE_OP_GT:
			quick->u.range.least = low + 1;
			break;
		case COMPARE_OP_GE:
			quick->u.range.least = exact ? low : low + 1;
			break;
	}
	return true;
}

/* A count or a sum compared with a number. */
static bool
plan_comparison(const Program *program, const ProgramNode *node, QuickNode *quick, Decimal *limit)
{
	const ProgramNode *left = &program->nodes[node->args[0]];
	const ProgramNode *right = &program->nodes[node->args[1]];

	quick->op = (uint8) node->op;
	if (left->tag == AST_LITERAL)
	{
		const ProgramNode *swapped = left;

		left = right;
		right = swapped;
		quick->op = (uint8) mirrored(node->op);
	}
	if (left->tag != AST_AGGREGATE || right->tag != AST_LITERAL || right->literals[0].type != VALUE_NUMBER ||
		right->literals[0].scale == DECIMAL_BIG)
		return false;
	*limit = value_decimal(right->literals[0]);
	quick->events = left->events;
	if (left->op == AGG_COUNT)
	{
		quick->tag = QUICK_COUNT;
		return set_range(quick, *limit, 0);
	}
	if (left->op == AGG_SUM && left->sums >= 0 && program->sums[left->sums].users > 1)
	{
		quick->tag = QUICK_SUM;
		quick->sums = left->sums;
		return set_range(quick, *limit, 2);
	}
	return false;
}

static void
plan_node(const Program *program, int number, QuickNode *quick, Decimal *limit)
{
	const ProgramNode *node = &program->nodes[number];
	const ProgramSet *set;

	switch (node->tag)
	{
		case AST_AND:
		case AST_OR:
		case AST_NOT:
			quick->tag = node->tag == AST_AND ? QUICK_AND : node->tag == AST_OR ? QUICK_OR : QUICK_NOT;
			quick->nargs = node->nargs;
			quick->u.args = node->args;
			return;
		case AST_HAS:
			quick->tag = QUICK_COUNT;
			quick->events = node->events;
			quick->op = node->negated ? COMPARE_OP_LT : COMPARE_OP_GE;
			*limit = decimal_from_int64(1);
			(void) set_range(quick, *limit, 0);
			break;
		case AST_COMPARE:
			if (!plan_comparison(program, node, quick, limit))
			{
				quick->tag = QUICK_NONE;
				return;
			}
			break;
		default:
			return;
	}

	set = &program->sets[program->events[quick->events].set];
	if (set->timed || set->outer)
		quick->tag = QUICK_NONE;
}

struct Quick *
quick_create(const Program *program)
{
	struct Quick *quick = palloc0(sizeof(struct Quick));

	quick->nodes = palloc_extended(sizeof(QuickNode) * Max(program->nnodes, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	quick->limits = palloc_extended(sizeof(Decimal) * Max(program->nnodes, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	quick->events = palloc0(sizeof(QuickEvents) * Max(program->nevents, 1));
	quick->sets = palloc0(sizeof(QuickSet) * Max(program->nsets, 1));
	for (int i = 0; i < program->nnodes; i++)
		plan_node(program, i, &quick->nodes[i], &quick->limits[i]);

	for (int e = 0; e < program->nevents; e++)
		quick->sets[program->events[e].set].nevents++;
	for (int s = 0; s < program->nsets; s++)
	{
		QuickSet   *set = &quick->sets[s];

		/* four bounds a window */
		set->events = palloc(sizeof(int) * Max(set->nevents, 1));
		set->bounds = palloc_extended(sizeof(TimestampTz) * 4 * Max(set->nevents, 1), MCXT_ALLOC_HUGE);
		set->positions = palloc_extended(sizeof(int) * 4 * Max(set->nevents, 1), MCXT_ALLOC_HUGE);
		set->nevents = 0;
	}
	for (int e = 0; e < program->nevents; e++)
	{
		QuickSet   *set = &quick->sets[program->events[e].set];

		set->events[set->nevents++] = e;
		quick->events[e].set = program->events[e].set;
	}
	return quick;
}

static int
bound_compare(const void *a, const void *b)
{
	TimestampTz x = *(const TimestampTz *) a;
	TimestampTz y = *(const TimestampTz *) b;

	return x < y ? -1 : x > y;
}

static int
bound_number(const QuickSet *set, TimestampTz bound)
{
	TimestampTz *found = bsearch(&bound, set->bounds, set->nbounds, sizeof(TimestampTz), bound_compare);

	return (int) (found - set->bounds);
}

/* The windows over a set at the instant that is set. */
static void
set_bounds(Evaluation *ev, int number)
{
	QuickSet   *set = &ev->quick->sets[number];
	EventsRange *ranges = palloc_extended(sizeof(EventsRange) * Max(set->nevents, 1), MCXT_ALLOC_HUGE);
	int			distinct = 0;

	set->nbounds = 0;
	for (int i = 0; i < set->nevents; i++)
	{
		ranges[i] = events_range(ev, set->events[i]);
		set->bounds[set->nbounds++] = ranges[i].begin;
		set->bounds[set->nbounds++] = ranges[i].sure_begin;
		set->bounds[set->nbounds++] = ranges[i].sure_end;
		set->bounds[set->nbounds++] = ranges[i].end;
	}
	qsort(set->bounds, set->nbounds, sizeof(TimestampTz), bound_compare);
	for (int i = 0; i < set->nbounds; i++)
	{
		if (i == 0 || set->bounds[i] != set->bounds[distinct - 1])
			set->bounds[distinct++] = set->bounds[i];
	}
	set->nbounds = distinct;
	for (int i = 0; i < set->nevents; i++)
	{
		QuickEvents *events = &ev->quick->events[set->events[i]];

		events->begin = bound_number(set, ranges[i].begin);
		events->sure_begin = bound_number(set, ranges[i].sure_begin);
		events->sure_end = bound_number(set, ranges[i].sure_end);
		events->end = bound_number(set, ranges[i].end);
	}
	set->instant_stamp = ev->instant_stamp;
	pfree(ranges);
}

/* Finds the places of all bounds among a customer's events. */
static void
set_positions(Evaluation *ev, int number)
{
	QuickSet   *set = &ev->quick->sets[number];
	const SetMemo *members = set_members(ev, number);
	const TimestampTz *at = ev->facts->kinds[ev->program->sets[number].kind].at;
	int			place = 0;

	if (set->instant_stamp != ev->instant_stamp)
		set_bounds(ev, number);
	set->stamp = ev->stamp;

	/* few bounds among many events are searched, others come by on one walk */
	if (members->count / 16 > set->nbounds)
	{
		for (int i = 0; i < set->nbounds; i++)
			set->positions[i] = position_from(at, members->list, members->count, set->bounds[i]);
	}
	else if (members->list == NULL)
	{
		for (int i = 0; i < set->nbounds; i++)
		{
			while (place < members->count && at[place] < set->bounds[i])
				place++;
			set->positions[i] = place;
		}
	}
	else
	{
		for (int i = 0; i < set->nbounds; i++)
		{
			while (place < members->count && at[members->list[place]] < set->bounds[i])
				place++;
			set->positions[i] = place;
		}
	}
}

/* Which events count, as positions; false where some must be tried one by one. */
static inline bool
quick_range(Evaluation *ev, const QuickNode *node, int *begin, int *end)
{
	const QuickEvents *events = &ev->quick->events[node->events];
	QuickSet   *set = &ev->quick->sets[events->set];

	if (set->stamp != ev->stamp)
		set_positions(ev, events->set);
	*begin = set->positions[events->begin];
	*end = set->positions[events->end];
	if (*end <= *begin)
	{
		*end = *begin;
		return true;
	}
	return *begin == set->positions[events->sure_begin] && *end == set->positions[events->sure_end];
}

static bool
truth_of(Evaluation *ev, int number)
{
	QuickNode  *quick = &ev->quick->nodes[number];
	int			begin,
				end;
	int64		value;

	switch ((QuickTag) quick->tag)
	{
		case QUICK_NONE:
			break;
		case QUICK_COUNT:
			if (!quick_range(ev, quick, &begin, &end))
				break;
			value = end - begin;
			return (value >= quick->u.range.least && value <= quick->u.range.most) != quick->negated;
		case QUICK_SUM:
			{
				const SumsMemo *sums;

				if (!quick_range(ev, quick, &begin, &end))
					break;
				sums = &ev->sums[quick->sums];
				if (sums->stamp != ev->facts_stamp)
					sums = running_sums(ev, quick->sums);
				if (!sums->usable || pg_sub_s64_overflow(sums->sum[end], sums->sum[begin], &value))
					break;
				/* no number at all: every sum is 0, at any scale */
				if (sums->scale >= 0 && sums->scale != quick->scale && !set_range(quick, ev->quick->limits[number], sums->scale))
					break;
				return (value >= quick->u.range.least && value <= quick->u.range.most) != quick->negated;
			}
		case QUICK_AND:
			for (int i = 0; i < quick->nargs; i++)
			{
				if (!truth_of(ev, quick->u.args[i]))
					return false;
			}
			return true;
		case QUICK_OR:
			for (int i = 0; i < quick->nargs; i++)
			{
				if (truth_of(ev, quick->u.args[i]))
					return true;
			}
			return false;
		case QUICK_NOT:
			return !truth_of(ev, quick->u.args[0]);
	}
	return eval_truth(ev, number, NULL);
}

bool
quick_truth(Evaluation *ev, int node)
{
	return truth_of(ev, node);
}

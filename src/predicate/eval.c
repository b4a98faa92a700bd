/*
 * eval.c
 *		Truth and value of a program's nodes, and stepping through time.
 *
 * Each node gives its result and, when asked, the instant until which that surely stays so. A false conjunction stays
 * false as long as its most lasting false part; a true one until its first part may change; a disjunction mirrors that.
 * The bound need not be the change itself: next_change steps from bound to bound until the truth really differs.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
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
	ev->at = at;
	ev->has_entry = has_entry;
	ev->entry = entry;
	ev->stamp++;
	ev->instant_stamp++;
	MemoryContextReset(ev->instant_context);
}

TimestampTz
moment_start(Evaluation *ev, Value moment)
{
	return moment.type == VALUE_DATE ? calendar_day_start((DateADT) moment.u.integer, ev->zone) : moment.u.integer;
}

TimestampTz
moment_end(Evaluation *ev, Value moment)
{
	if (moment.type != VALUE_DATE)
		return moment.u.integer;
	if (DATE_NOT_FINITE((DateADT) moment.u.integer))
		return moment_start(ev, moment);
	return calendar_day_start((DateADT) moment.u.integer + 1, ev->zone);
}

Value
moment_of(Evaluation *ev, const ProgramNode *node, Value value)
{
	if (value.type == VALUE_DATE || value.type == VALUE_TIMESTAMP)
		return value;
	if (value.type == VALUE_TEXT && node->tag == AST_LITERAL)
	{
		const AstMoment *moment = &node->moments[0];

		switch (moment->form)
		{
			case ISO_DATE:
				return value_date(moment->value);
			case ISO_INSTANT:
				return value_timestamp(moment->value);
			case ISO_LOCAL:
				return value_timestamp(calendar_from_local(moment->value, ev->zone));
			case ISO_NONE:
				break;
		}
	}
	return value_unknown();
}

static Value
literal_moment(Evaluation *ev, const AstMoment *moment)
{
	ProgramNode node = {.tag = AST_LITERAL,.moments = (AstMoment *) moment};

	return moment_of(ev, &node, moment->text);
}

/*
 * How two values stand to each other; false if they cannot be compared. An ISO string in the predicate is a moment when
 * the other side is one.
 */
static bool
compare_values(Evaluation *ev, Value a, const AstMoment *a_moment, Value b, const AstMoment *b_moment, int *result)
{
	bool		a_timely = a.type == VALUE_DATE || a.type == VALUE_TIMESTAMP;
	bool		b_timely = b.type == VALUE_DATE || b.type == VALUE_TIMESTAMP;

	if (a_timely && b.type == VALUE_TEXT && b_moment != NULL && b_moment->form != ISO_NONE)
	{
		b = literal_moment(ev, b_moment);
		b_timely = true;
	}
	else if (b_timely && a.type == VALUE_TEXT && a_moment != NULL && a_moment->form != ISO_NONE)
	{
		a = literal_moment(ev, a_moment);
		a_timely = true;
	}

	if (a_timely && b_timely)
	{
		TimestampTz x,
					y;

		if (a.type == VALUE_DATE && b.type == VALUE_DATE)
		{
			x = a.u.integer;
			y = b.u.integer;
		}
		else
		{
			x = moment_start(ev, a);
			y = moment_start(ev, b);
		}
		*result = x < y ? -1 : x > y;
		return true;
	}
	if (a.type != b.type || a.type == VALUE_UNKNOWN || a.type == VALUE_ARRAY)
		return false;
	*result = value_compare(a, b);
	return true;
}

static bool
comparison_holds(int op, bool comparable, int order)
{
	if (!comparable)
		return op == COMPARE_OP_NE;
	switch (op)
	{
		case COMPARE_OP_EQ:
			return order == 0;
		case COMPARE_OP_NE:
			return order != 0;
		case COMPARE_OP_LT:
			return order < 0;
		case COMPARE_OP_LE:
			return order <= 0;
		case COMPARE_OP_GT:
			return order > 0;
		default:
			return order >= 0;
	}
}

static bool
like_matches(Value text, Value pattern, bool fold)
{
	Datum		a,
				b;
	bool		result;

	if (text.type != VALUE_TEXT)
		return false;
	a = PointerGetDatum(cstring_to_text_with_len(text.u.text, (int) text.length));
	b = PointerGetDatum(cstring_to_text_with_len(pattern.u.text, (int) pattern.length));
	result = DatumGetBool(DirectFunctionCall2Coll(fold ? texticlike : textlike, DEFAULT_COLLATION_OID, a, b));
	pfree(DatumGetPointer(a));
	pfree(DatumGetPointer(b));
	return result;
}

static const AstMoment *
iso_of(const Program *program, int node)
{
	const ProgramNode *n = &program->nodes[node];

	return n->tag == AST_LITERAL ? &n->moments[0] : NULL;
}

/* The truth of a node that looks at values only, which are given. */
bool
compare_truth(Evaluation *ev, const ProgramNode *node, const Value *args)
{
	const Program *program = ev->program;
	const AstMoment *iso = iso_of(program, node->args[0]);
	bool		result = false;
	int			order = 0;

	switch (node->tag)
	{
		case AST_COMPARE:
			{
				bool		comparable = compare_values(ev, args[0], iso, args[1], iso_of(program, node->args[1]),
														&order);

				return comparison_holds(node->op, comparable, order);
			}
		case AST_BETWEEN:
			result = compare_values(ev, args[0], iso, args[1], iso_of(program, node->args[1]), &order) && order >= 0 &&
				compare_values(ev, args[0], iso, args[2], iso_of(program, node->args[2]), &order) && order <= 0;
			break;
		case AST_IN_LIST:
			for (int i = 0; i < node->nliterals && !result; i++)
				result = compare_values(ev, args[0], iso, node->literals[i], &node->moments[i], &order) && order == 0;
			break;
		case AST_CONTAINS:
			if (args[0].type != VALUE_ARRAY)
				break;
			result = node->op == CONTAINS_ALL;
			for (int i = 0; i < node->nliterals; i++)
			{
				bool		found = false;

				for (uint32 j = 0; j < args[0].length && !found; j++)
					found = compare_values(ev, args[0].u.elements[j], NULL, node->literals[i], &node->moments[i],
										   &order) && order == 0;
				if (found != (node->op == CONTAINS_ALL))
				{
					result = found;
					break;
				}
			}
			break;
		case AST_LIKE:
			result = like_matches(args[0], node->literals[0], node->op == 1);
			break;
		case AST_KNOWN:
			result = args[0].type != VALUE_UNKNOWN;
			break;
		default:
			elog(ERROR, "unexpected node %d in a predicate", (int) node->tag);
	}
	return result != node->negated;
}

Value
arithmetic_value(Evaluation *ev, const ProgramNode *node, const Value *args)
{
	const ProgramNode *right;
	Decimal		a,
				b,
				result;
	bool		ok = false;

	if (node->tag == AST_NEGATE)
	{
		if (args[0].type != VALUE_NUMBER)
			return value_unknown();
		return value_number(decimal_negate(value_decimal(args[0])));
	}

	right = &ev->program->nodes[node->args[1]];
	if (right->tag == AST_INTERVAL)
	{
		Value		moment = moment_of(ev, &ev->program->nodes[node->args[0]], args[0]);
		TimestampTz start;

		if (moment.type == VALUE_UNKNOWN)
			return moment;
		start = moment_start(ev, moment);
		return value_timestamp(node->op == '+' ? calendar_add(start, &right->span, ev->zone) :
							   calendar_subtract(start, &right->span, ev->zone));
	}

	if (args[0].type != VALUE_NUMBER || args[1].type != VALUE_NUMBER)
		return value_unknown();
	a = value_decimal(args[0]);
	b = value_decimal(args[1]);
	switch (node->op)
	{
		case '+':
			ok = decimal_add(a, b, &result);
			break;
		case '-':
			ok = decimal_subtract(a, b, &result);
			break;
		case '*':
			ok = decimal_multiply(a, b, &result);
			break;
		case '/':
			ok = decimal_divide(a, b, &result);
			break;
	}
	return ok ? value_number(result) : value_unknown();
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
			return eval_aggregate(ev, node, select_events(ev, node->events, until));
		case AST_MOMENT_OF:
			{
				const Selection *s = select_events(ev, node->events, until);
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

/* x [not] window: peels the shifts off an anniversary, which stands for many moments. */
static bool
eval_in_window(Evaluation *ev, const ProgramNode *node, TimestampTz *until)
{
	const Program *program = ev->program;
	Interval   *shifts = NULL;
	int			nshifts = 0;
	int			inner = node->args[0];
	TimestampTz value_until = DT_NOEND;
	bool		result;

	while (program->nodes[inner].tag == AST_ARITHMETIC &&
		   program->nodes[program->nodes[inner].args[1]].tag == AST_INTERVAL)
	{
		nshifts++;
		inner = program->nodes[inner].args[0];
	}

	if (program->nodes[inner].tag == AST_ANNIVERSARY)
	{
		const ProgramNode *anniversary = &program->nodes[inner];
		Value		base = eval_value(ev, anniversary->args[0], until == NULL ? NULL : &value_until);

		if (base.type != VALUE_ARRAY)
			base = moment_of(ev, &program->nodes[anniversary->args[0]], base);
		shifts = MemoryContextAlloc(ev->instant_context, sizeof(Interval) * Max(nshifts, 1));
		inner = node->args[0];
		for (int i = nshifts - 1; i >= 0; i--)
		{
			const ProgramNode *shift = &program->nodes[inner];

			shifts[i] = program->nodes[shift->args[1]].span;
			if (shift->op == '-')
			{
				shifts[i].month = -shifts[i].month;
				shifts[i].day = -shifts[i].day;
				shifts[i].time = -shifts[i].time;
			}
			inner = shift->args[0];
		}
		result = anniversary_in_window(ev, node->window, base, nshifts, shifts, until);
	}
	else
	{
		Value		value = eval_value(ev, node->args[0], until == NULL ? NULL : &value_until);

		result = moment_in_window(ev, node->window, moment_of(ev, &program->nodes[node->args[0]], value), until);
	}
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
evaluation_periods(Evaluation *ev, int root, TimestampTz from, TimestampTz to, bool has_entry, TimestampTz entry,
				   PeriodSink sink, void *context)
{
	TimestampTz start = from;
	TimestampTz at = from;
	bool		current = false;

	while (at < to)
	{
		TimestampTz until;
		bool		truth;

		CHECK_FOR_INTERRUPTS();
		evaluation_set_instant(ev, at, has_entry, entry);
		truth = evaluation_truth(ev, root, &until);
		if (truth && !current)
			start = at;
		else if (!truth && current)
			sink(context, start, at);
		current = truth;
		at = until;
	}
	if (current)
		sink(context, start, to);
}

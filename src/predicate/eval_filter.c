/*
 * eval_filter.c
 *		Brackets: what is true of a single event, in Kleene's three truths.
 *
 * "followed by ... within" is undecided until its time is over, and what is undecided does not count. Values in brackets
 * (properties, the customer's attributes) do not depend on the instant; only windows and followed/preceded by do.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

Value
event_property(Evaluation *ev, int kind, PropertyRef property, int event)
{
	const KindFacts *facts = &ev->facts->kinds[kind];
	CalendarFields fields;
	int64		number = 0;

	if (property.derived == DERIVED_NONE)
		return facts->properties[property.column][event];
	if (property.derived == DERIVED_AT)
		return value_timestamp(facts->at[event]);

	calendar_fields(facts->at[event], ev->zone, &fields);
	switch (property.derived)
	{
		case DERIVED_DATE:
			return value_date(fields.date);
		case DERIVED_WEEK_OF:
			return value_date(calendar_trunc_date(fields.date, UNIT_WEEK));
		case DERIVED_MONTH_OF:
			return value_date(calendar_trunc_date(fields.date, UNIT_MONTH));
		case DERIVED_HOUR:
			number = fields.hour;
			break;
		case DERIVED_WEEKDAY:
			number = fields.weekday;
			break;
		case DERIVED_DAY:
			number = fields.day;
			break;
		case DERIVED_WEEK:
			number = calendar_iso_week(fields.date);
			break;
		case DERIVED_MONTH:
			number = fields.month;
			break;
		default:
			number = fields.year;
			break;
	}
	return value_number(decimal_from_int64(number));
}

static Value
filter_value(Evaluation *ev, int number, const EventFrame *frame)
{
	const ProgramNode *node = &ev->program->nodes[number];

	switch (node->tag)
	{
		case AST_LITERAL:
			return node->literals[0];
		case AST_NAME:
			return event_property(ev, frame->kind, node->property, frame->event);
		case AST_CUSTOMER:
			return ev->facts->attributes[node->slot];
		case AST_ARITHMETIC:
		case AST_NEGATE:
			{
				Value		args[2];

				for (int i = 0; i < node->nargs; i++)
				{
					if (ev->program->nodes[node->args[i]].tag != AST_INTERVAL)
						args[i] = filter_value(ev, node->args[i], frame);
				}
				return arithmetic_value(ev, node, args);
			}
		default:
			elog(ERROR, "unexpected node %d in brackets", (int) node->tag);
	}
	return value_unknown();		/* keep compiler quiet */
}

static Tri
tri_not(Tri tri)
{
	return tri == TRI_UNDECIDED ? TRI_UNDECIDED : tri == TRI_TRUE ? TRI_FALSE : TRI_TRUE;
}

/* moment [not] window; anniversaries may stand here too */
static bool
filter_in_window(Evaluation *ev, const ProgramNode *node, const EventFrame *frame, TimestampTz *until)
{
	const ProgramNode *nodes = ev->program->nodes;
	int			inner = node->anniversary < 0 ? node->args[0] : nodes[node->anniversary].args[0];

	return value_in_window(ev, node, &nodes[inner], filter_value(ev, inner, frame), until);
}

/* same p: the event's p is the outer event's. What is unknown, or an array, is the same as nothing. */
bool
same_holds(Evaluation *ev, const ProgramNode *node, const EventFrame *frame)
{
	Value		mine = event_property(ev, frame->kind, node->property, frame->event);
	Value		outer = event_property(ev, frame->outer->kind, node->outer_property, frame->outer->event);
	bool		timely = mine.type >= VALUE_DATE && outer.type >= VALUE_DATE;

	if (mine.type == VALUE_UNKNOWN || mine.type == VALUE_ARRAY || outer.type == VALUE_ARRAY)
		return false;
	if (timely && mine.type != outer.type)
		return moment_start(ev, mine) == moment_start(ev, outer);
	return mine.type == outer.type && value_compare(mine, outer) == 0;
}

/* a and b, each with the instant until which it surely stands (looked at only when until is wanted) */
Tri
tri_and(Tri a, TimestampTz a_until, Tri b, TimestampTz b_until, TimestampTz *until)
{
	if (until != NULL)
	{
		if (a == TRI_FALSE && b == TRI_FALSE)
			*until = Max(a_until, b_until);
		else if (a == TRI_FALSE || b == TRI_FALSE)
			*until = a == TRI_FALSE ? a_until : b_until;
		else
			*until = Min(a_until, b_until);
	}
	if (a == TRI_FALSE || b == TRI_FALSE)
		return TRI_FALSE;
	return a == TRI_UNDECIDED || b == TRI_UNDECIDED ? TRI_UNDECIDED : TRI_TRUE;
}

/* The conjunction of some parts of a filter. */
Tri
parts_truth(Evaluation *ev, const ProgramParts *parts, const EventFrame *frame, TimestampTz *until)
{
	Tri			result = TRI_TRUE;
	TimestampTz lasting = DT_NOEND;

	for (int i = 0; i < parts->count; i++)
	{
		TimestampTz one = DT_NOEND;
		Tri			tri = filter_truth(ev, parts->nodes[i], frame, until == NULL ? NULL : &one);

		if (until == NULL && tri == TRI_FALSE)
			return TRI_FALSE;
		result = tri_and(result, lasting, tri, one, until == NULL ? NULL : &lasting);
	}
	if (until != NULL)
		*until = lasting;
	return result;
}

Tri
filter_truth(Evaluation *ev, int number, const EventFrame *frame, TimestampTz *until)
{
	const ProgramNode *node = &ev->program->nodes[number];

	if (until != NULL)
		*until = DT_NOEND;

	switch (node->tag)
	{
		case AST_AND:
		case AST_OR:
			{
				Tri			decisive = node->tag == AST_OR ? TRI_TRUE : TRI_FALSE;
				Tri			result = tri_not(decisive);
				TimestampTz decided = DT_NOBEGIN;
				TimestampTz first = DT_NOEND;

				check_stack_depth();
				for (int i = 0; i < node->nargs; i++)
				{
					TimestampTz one = DT_NOEND;
					Tri			tri = filter_truth(ev, node->args[i], frame, until == NULL ? NULL : &one);

					if (tri == decisive)
					{
						/* it stays so at least as long as the most lasting part that decides it */
						if (until == NULL)
							return decisive;
						decided = Max(decided, one);
						result = decisive;
					}
					else if (tri == TRI_UNDECIDED && result != decisive)
						result = TRI_UNDECIDED;
					first = Min(first, one);
				}
				if (until != NULL)
					*until = result == decisive ? decided : first;
				return result;
			}
		case AST_NOT:
			return tri_not(filter_truth(ev, node->args[0], frame, until));
		case AST_LITERAL:
			return node->literals[0].u.integer != 0 ? TRI_TRUE : TRI_FALSE;
		case AST_IN_WINDOW:
			return filter_in_window(ev, node, frame, until) != node->negated ? TRI_TRUE : TRI_FALSE;
		case AST_FOLLOWED:
			return followed_truth(ev, node, frame, until);
		case AST_SAME:
			return same_holds(ev, node, frame) ? TRI_TRUE : TRI_FALSE;
		default:
			{
				Value		args[3];

				for (int i = 0; i < node->nargs; i++)
					args[i] = filter_value(ev, node->args[i], frame);
				return compare_truth(ev, node, args) ? TRI_TRUE : TRI_FALSE;
			}
	}
}

/*
 * What the moving parts of a set's filter say of a member. It is remembered: the same event may be in reach of many others,
 * and at the next instant most answers still stand.
 */
Tri
member_truth(Evaluation *ev, int number, int event, TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[number];
	EventFrame	frame = {set->kind, event, NULL};
	TriMemo    *memo = &ev->tris[number];
	TimestampTz *asof,
			   *upto;

	if (set->moving.count == 0)
	{
		if (until != NULL)
			*until = DT_NOEND;
		return TRI_TRUE;
	}

	if (memo->stamp != ev->facts_stamp)
	{
		Size		count = Max(ev->facts->kinds[set->kind].nevents, 1);

		memo->stamp = ev->facts_stamp;
		memo->tri = MemoryContextAllocHuge(ev->facts_context, count);
		memset(memo->tri, TRI_UNSET, count);
		memo->asof = MemoryContextAllocHuge(ev->facts_context, sizeof(TimestampTz) * count);
		memo->until = MemoryContextAllocHuge(ev->facts_context, sizeof(TimestampTz) * count);
	}
	asof = &memo->asof[event];
	upto = &memo->until[event];
	if (memo->tri[event] != TRI_UNSET &&
		(ev->at == *asof ? until == NULL || *upto > *asof : ev->at > *asof && ev->at < *upto))
	{
		if (until != NULL)
			*until = *upto;
		return (Tri) memo->tri[event];
	}

	*asof = ev->at;
	*upto = ev->at;
	memo->tri[event] = (uint8) parts_truth(ev, &set->moving, &frame, until == NULL ? NULL : upto);
	if (until != NULL)
		*until = *upto;
	return (Tri) memo->tri[event];
}

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
	const Program *program = ev->program;
	int			inner = node->args[0];
	int			nshifts = 0;

	while (program->nodes[inner].tag == AST_ARITHMETIC &&
		   program->nodes[program->nodes[inner].args[1]].tag == AST_INTERVAL)
	{
		nshifts++;
		inner = program->nodes[inner].args[0];
	}
	if (program->nodes[inner].tag == AST_ANNIVERSARY)
	{
		const ProgramNode *anniversary = &program->nodes[inner];
		Value		base = filter_value(ev, anniversary->args[0], frame);
		Interval   *shifts = palloc(sizeof(Interval) * Max(nshifts, 1));
		bool		result;

		if (base.type != VALUE_ARRAY)
			base = moment_of(ev, &program->nodes[anniversary->args[0]], base);
		inner = node->args[0];
		for (int i = nshifts - 1; i >= 0; i--)
		{
			const ProgramNode *shift = &program->nodes[inner];
			int			sign = shift->op == '-' ? -1 : 1;

			shifts[i] = program->nodes[shift->args[1]].span;
			shifts[i].month *= sign;
			shifts[i].day *= sign;
			shifts[i].time *= sign;
			inner = shift->args[0];
		}
		result = anniversary_in_window(ev, node->window, base, nshifts, shifts, until);
		pfree(shifts);
		return result;
	}
	return moment_in_window(ev, node->window,
							moment_of(ev, &program->nodes[node->args[0]], filter_value(ev, node->args[0], frame)),
							until);
}

/* The first event of a kind that lies at or after s (strictly after: from s + 1). */
static int
first_from(const KindFacts *facts, TimestampTz s)
{
	int			low = 0,
				high = facts->nevents;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (facts->at[middle] < s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Whether a qualifying event is among the members of a set without regard to the instant, at times from first to last. */
static bool
member_between(Evaluation *ev, int set, TimestampTz first, TimestampTz last, TimestampTz *found)
{
	const SetMemo *members = set_members(ev, set);
	const TimestampTz *at = ev->facts->kinds[ev->program->sets[set].kind].at;
	int			low = 0,
				high = members->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (at[members->list == NULL ? middle : members->list[middle]] < first)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == members->count)
		return false;
	*found = at[members->list == NULL ? low : members->list[low]];
	return *found <= last;
}

/*
 * followed by | preceded by, at the instant: true once a qualifying event in reach has happened. With "within" it is
 * undecided while one may still come, or while one that came is itself undecided; without, it is decided at any instant.
 */
static Tri
filter_followed(Evaluation *ev, const ProgramNode *node, const EventFrame *frame, TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[node->events];
	const KindFacts *facts = &ev->facts->kinds[set->kind];
	TimestampTz s = ev->facts->kinds[frame->kind].at[frame->event];
	bool		preceded = node->op == 1;
	bool		same_kind = set->kind == frame->kind;
	TimestampTz first,
				last,
				closes;
	TimestampTz changes = DT_NOEND;
	bool		undecided = false;

	if (preceded)
	{
		first = node->has_span ? calendar_subtract(s, &node->span, ev->zone) : DT_NOBEGIN;
		last = same_kind ? s - 1 : s;
		closes = s;
	}
	else
	{
		first = same_kind ? s + 1 : s;
		last = node->has_span ? calendar_add(s, &node->span, ev->zone) : DT_NOEND;
		closes = last;
	}

	if (!set->timed && !set->outer)
	{
		/* which events qualify does not depend on the instant: the first in reach decides */
		TimestampTz found;

		if (member_between(ev, node->events, first, last, &found))
		{
			if (found <= ev->at)
			{
				if (until != NULL)
					*until = DT_NOEND;
				return TRI_TRUE;
			}
			changes = found;
		}
	}
	else
	{
		for (int i = first_from(facts, first); i < facts->nevents && facts->at[i] <= last; i++)
		{
			TimestampTz one = DT_NOEND;
			Tri			tri;

			CHECK_FOR_INTERRUPTS();
			if (facts->at[i] > ev->at)
			{
				changes = Min(changes, facts->at[i]);
				break;
			}
			tri = set_filter(ev, node->events, i, frame, until == NULL ? NULL : &one);
			if (tri == TRI_TRUE)
			{
				if (until != NULL)
					*until = one;
				return TRI_TRUE;
			}
			if (tri == TRI_UNDECIDED)
				undecided = true;
			changes = Min(changes, one);
		}
	}

	if (until != NULL)
	{
		*until = changes;
		if (node->has_span && ev->at < closes)
			*until = Min(*until, closes);
	}
	if (node->has_span && (undecided || ev->at < closes))
		return TRI_UNDECIDED;
	return TRI_FALSE;
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
			{
				Tri			tri = filter_followed(ev, node, frame, until);

				return node->negated ? tri_not(tri) : tri;
			}
		case AST_SAME:
			{
				Value		mine = event_property(ev, frame->kind, node->property, frame->event);
				Value		outer = event_property(ev, frame->outer->kind, node->outer_property, frame->outer->event);
				bool		timely = mine.type >= VALUE_DATE && outer.type >= VALUE_DATE;

				if (mine.type == VALUE_UNKNOWN || mine.type == VALUE_ARRAY || outer.type == VALUE_ARRAY)
					return TRI_FALSE;
				if (timely && mine.type != outer.type)
					return moment_start(ev, mine) == moment_start(ev, outer) ? TRI_TRUE : TRI_FALSE;
				return mine.type == outer.type && value_compare(mine, outer) == 0 ? TRI_TRUE : TRI_FALSE;
			}
		default:
			{
				Value		args[3];

				for (int i = 0; i < node->nargs; i++)
					args[i] = filter_value(ev, node->args[i], frame);
				return compare_truth(ev, node, args) ? TRI_TRUE : TRI_FALSE;
			}
	}
}

/* What a set's filter says of an event; remembered, when it asks for the instant and not for the outer event. */
Tri
set_filter(Evaluation *ev, int number, int event, const EventFrame *outer, TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[number];
	EventFrame	frame = {set->kind, event, outer};
	TriMemo    *memo = &ev->tris[number];
	Tri			result;

	if (set->filter < 0)
	{
		if (until != NULL)
			*until = DT_NOEND;
		return TRI_TRUE;
	}
	if (!set->timed || set->outer)
		return filter_truth(ev, set->filter, &frame, until);

	if (memo->stamp != ev->stamp || (until != NULL && !memo->with_until))
	{
		int			count = ev->facts->kinds[set->kind].nevents;

		memo->stamp = ev->stamp;
		memo->with_until = until != NULL;
		memo->tri = MemoryContextAllocHuge(ev->instant_context, (Size) Max(count, 1));
		memset(memo->tri, TRI_UNSET, Max(count, 1));
		memo->until = until == NULL ? NULL :
			MemoryContextAllocHuge(ev->instant_context, sizeof(TimestampTz) * (Size) Max(count, 1));
	}
	if (memo->tri[event] != TRI_UNSET)
	{
		if (until != NULL)
			*until = memo->until[event];
		return (Tri) memo->tri[event];
	}
	if (memo->with_until)
	{
		result = filter_truth(ev, set->filter, &frame, &memo->until[event]);
		if (until != NULL)
			*until = memo->until[event];
	}
	else
		result = filter_truth(ev, set->filter, &frame, NULL);
	memo->tri[event] = (uint8) result;
	return result;
}

/*
 * eval_value.c
 *		Values and moments: how they compare, match and add up.
 *
 * Nothing here looks at events or at the instant: brackets and the rest of a predicate share it.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

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

/* Is it among the literals of a node? Text, numbers and booleans are looked up where that is worth it. */
static bool
in_literals(Evaluation *ev, const ProgramNode *node, Value value, const AstMoment *moment)
{
	const LiteralIndex *index = node->index;
	int			count = node->nliterals;
	int			order;

	if (value.type == VALUE_UNKNOWN || value.type == VALUE_ARRAY)
		return false;
	if (index != NULL)
	{
		if (value.type != VALUE_DATE && value.type != VALUE_TIMESTAMP)
			return literal_index_has(index, value);
		if (value.type == VALUE_DATE && literal_index_has_date(index, (DateADT) value.u.integer))
			return true;
		count = index->nmoments;
	}
	for (int i = 0; i < count; i++)
	{
		int			literal = index == NULL ? i : index->moments[i];

		if (compare_values(ev, value, moment, node->literals[literal], &node->moments[literal], &order) && order == 0)
			return true;
	}
	return false;
}

static bool
contains_any(Evaluation *ev, const ProgramNode *node, Value array)
{
	for (uint32 i = 0; i < array.length; i++)
	{
		if (in_literals(ev, node, array.u.elements[i], NULL))
			return true;
	}
	return false;
}

static bool
contains_all(Evaluation *ev, const ProgramNode *node, Value array)
{
	for (int i = 0; i < node->nliterals; i++)
	{
		bool		found = false;
		int			order;

		for (uint32 j = 0; j < array.length && !found; j++)
			found = compare_values(ev, array.u.elements[j], NULL, node->literals[i], &node->moments[i], &order) &&
				order == 0;
		if (!found)
			return false;
	}
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
			result = in_literals(ev, node, args[0], iso);
			break;
		case AST_CONTAINS:
			if (args[0].type != VALUE_ARRAY)
				break;
			result = node->op == CONTAINS_ALL ? contains_all(ev, node, args[0]) : contains_any(ev, node, args[0]);
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


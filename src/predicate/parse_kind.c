/*
 * parse_kind.c
 *		Builds the nodes of a predicate, and checks that the kinds of their parts fit.
 *
 * That a condition is no value, a moment no number and an interval neither is known from the text alone. Whether an
 * attribute holds a text, a number or a date is not: a name may be a value or a moment, as its place tells.
 */
#include "postgres.h"

#include "predicate/parse.h"

#define BRIEF_TEXT 60			/* bytes of a node that a hint repeats */

#define WINDOW_HINT "Windows are written \"registered in last 3 days\" or \"registered before 3 days ago\"."

AstNode *
make_node(Parser *parser, AstTag tag, AstKind kind, int location)
{
	AstNode    *node;

	if (++parser->nnodes > PREDICATE_MAX_NODES)
		PARSE_ERROR(parser, parse_token_at(parser, location), NULL,
					errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					errmsg("predicate has more than %d parts", PREDICATE_MAX_NODES),
					errhint("Many values of one attribute are written as a list, x in (1, 2, 3), or kept in a segment."));
	node = palloc0(sizeof(AstNode));
	node->tag = tag;
	node->kind = kind;
	node->location = location;
	return node;
}

AstNode *
make_literal(Parser *parser, Value value, int location)
{
	AstNode    *node;
	AstKind		kind = KIND_VALUE;
	AstMoment	moment;

	if (value.type == VALUE_BOOLEAN)
		kind = KIND_BOOLEAN;
	else if (value.type == VALUE_TEXT && parse_moment(&value, &moment))
		kind = KIND_EITHER;
	node = make_node(parser, AST_LITERAL, kind, location);
	if (node == NULL)
		return NULL;
	node->nliterals = 1;
	node->literals = palloc(sizeof(Value));
	node->literals[0] = value;
	return node;
}

void
set_args(AstNode *node, int nargs, AstNode *first, AstNode *second, AstNode *third)
{
	AstNode    *args[3];

	args[0] = first;
	args[1] = second;
	args[2] = third;
	node->nargs = nargs;
	node->args = palloc(sizeof(AstNode *) * nargs);
	memcpy(node->args, args, sizeof(AstNode *) * nargs);
}

/* The text of a node for a hint, or something else if it is long. */
const char *
node_brief(const AstNode *node, const char *otherwise)
{
	StringInfoData text;

	initStringInfo(&text);
	predicate_print(&text, node);
	return text.len <= BRIEF_TEXT ? text.data : otherwise;
}

static bool
is_literal_text(const AstNode *node)
{
	return node->tag == AST_LITERAL && node->literals[0].type == VALUE_TEXT;
}

static bool
is_literal_date(const AstNode *node)
{
	return node->tag == AST_LITERAL && node->kind == KIND_EITHER;
}

static bool
is_anniversary(const AstNode *node)
{
	while (node->tag == AST_ARITHMETIC)
		node = node->args[0];
	return node->tag == AST_ANNIVERSARY;
}

#define KIND_ERROR(parser, node, result, ...) \
	PARSE_ERROR(parser, parse_token_at(parser, (node)->location), result, errcode(ERRCODE_DATATYPE_MISMATCH), __VA_ARGS__)

bool
require_truth(Parser *parser, const AstNode *node)
{
	switch (node->kind)
	{
		case KIND_TRUTH:
		case KIND_BOOLEAN:
			return true;
		case KIND_MOMENT:
			KIND_ERROR(parser, node, false,
					   errmsg("expected a condition, not a moment"),
					   errhint("Put it into a window: %s in %s 30 days.", node_brief(node, "first(order)"),
							   is_anniversary(node) ? "next" : "last"));
		case KIND_INTERVAL:
			KIND_ERROR(parser, node, false,
					   errmsg("expected a condition, not an interval"),
					   errhint(WINDOW_HINT));
		default:
			if (node->tag == AST_LITERAL)
				KIND_ERROR(parser, node, false,
						   errmsg("expected a condition, not a literal"),
						   errhint("Compare it with something: city = 'Moscow'."));
			else if (node->kind == KIND_VALUE)
				KIND_ERROR(parser, node, false,
						   errmsg("expected a condition, not a value"),
						   errhint("Compare it: %s > 0.", node_brief(node, "count(order)")));
			KIND_ERROR(parser, node, false,
					   errmsg("expected a condition, not a value"),
					   errhint("Compare it: %s = true, or %s is known.", node_brief(node, "x"), node_brief(node, "x")));
	}
}

/* A value, or a moment where that is allowed. */
static bool
require_value(Parser *parser, const AstNode *node, bool allow_moment)
{
	if (node->kind == KIND_TRUTH)
	{
		const char *hint = "Conditions are joined with \"and\" and \"or\"; they are not compared.";

		if (node->tag == AST_HAS)
		{
			AstNode		count = {0};

			count.tag = AST_AGGREGATE;
			count.op = AGG_COUNT;
			count.events = node->events;
			hint = psprintf("Events are counted: %s > 3.", node_brief(&count, "count(order)"));
		}
		KIND_ERROR(parser, node, false,
				   errmsg("expected a value, not a condition"),
				   errhint("%s", hint));
	}
	if (node->kind == KIND_INTERVAL)
		KIND_ERROR(parser, node, false,
				   errmsg("expected a value, not an interval"),
				   errhint(WINDOW_HINT));
	if (is_anniversary(node))
		KIND_ERROR(parser, node, false,
				   errmsg("an anniversary stands before a window only"),
				   errhint("Write \"%s in next 30 days\".", node_brief(node, "anniversary(birthday)")));
	if (node->kind == KIND_MOMENT && !allow_moment)
	{
		if (node->tag == AST_MOMENT_OF)
			KIND_ERROR(parser, node, false,
					   errmsg("expected a value, not a moment"),
					   errhint("Name a property: %s(%s.amount).", node->op == AGG_FIRST ? "first" : "last",
							   node->events->kind));
		KIND_ERROR(parser, node, false,
				   errmsg("expected a value, not a moment"),
				   errhint("A moment is compared with another, or stands before a window."));
	}
	return true;
}

/* Moments are comparable with moments; numbers and plain texts are none. */
static bool
require_comparable(Parser *parser, const AstNode *left, const AstNode *right)
{
	const AstNode *moment = left->kind == KIND_MOMENT ? left : right;
	const AstNode *other = left->kind == KIND_MOMENT ? right : left;

	if (moment->kind != KIND_MOMENT || (other->kind != KIND_VALUE && other->kind != KIND_BOOLEAN))
		return true;
	if (is_literal_text(other))
		KIND_ERROR(parser, other, false,
				   errmsg("a moment cannot be compared with a text that is no date"),
				   errhint("Dates and times are written '2026-01-31', '2026-01-31 12:00' or '2026-01-31T12:00:00Z'."));
	if (moment->tag == AST_MOMENT_OF)
	{
		const char *word = moment->op == AGG_FIRST ? "first" : "last";

		KIND_ERROR(parser, moment, false,
				   errmsg("a moment cannot be compared with a value"),
				   errhint("%s(%s) is when it happened; for a value name the property: %s(%s.amount).", word,
						   moment->events->kind, word, moment->events->kind));
	}
	KIND_ERROR(parser, moment, false,
			   errmsg("a moment cannot be compared with a value"),
			   errhint("It is compared with another moment, or stands before a window."));
}

/* "not" goes into the relations that have a negated form. */
AstNode *
make_not(Parser *parser, AstNode *arg, int location)
{
	AstNode    *node;

	switch (arg->tag)
	{
		case AST_IN_LIST:
		case AST_BETWEEN:
		case AST_LIKE:
		case AST_CONTAINS:
		case AST_KNOWN:
		case AST_IN_WINDOW:
			if (arg->negated)
				break;
			arg->negated = true;
			arg->location = location;
			return arg;
		default:
			break;
	}
	node = make_node(parser, AST_NOT, KIND_TRUTH, location);
	if (node != NULL)
		set_args(node, 1, arg, NULL, NULL);
	return node;
}

AstNode *
make_compare(Parser *parser, CompareOp op, AstNode *left, AstNode *right)
{
	AstNode    *node;

	if (left->kind == KIND_TRUTH && right->kind == KIND_BOOLEAN)
		KIND_ERROR(parser, left, NULL,
				   errmsg("expected a value, not a condition"),
				   errhint("A condition needs no \"= true\"; for its opposite put \"not\" before it."));
	if (!require_value(parser, left, true) || !require_value(parser, right, true) ||
		!require_comparable(parser, left, right))
		return NULL;
	node = make_node(parser, AST_COMPARE, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->op = op;
	set_args(node, 2, left, right, NULL);
	return node;
}

AstNode *
make_in_list(Parser *parser, AstNode *left, bool negated, Value *literals, int nliterals)
{
	AstNode    *node;
	AstMoment	moment;
	int			i;

	if (!require_value(parser, left, true))
		return NULL;
	for (i = 0; i < nliterals && left->kind == KIND_MOMENT; i++)
	{
		if (literals[i].type != VALUE_TEXT || !parse_moment(&literals[i], &moment))
			KIND_ERROR(parser, left, NULL,
					   errmsg("a moment can only be in a list of dates"),
					   errhint("Dates and times are written '2026-01-31', '2026-01-31 12:00' or '2026-01-31T12:00:00Z'."));
	}
	node = make_node(parser, AST_IN_LIST, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->negated = negated;
	node->literals = literals;
	node->nliterals = nliterals;
	set_args(node, 1, left, NULL, NULL);
	return node;
}

AstNode *
make_between(Parser *parser, AstNode *left, bool negated, AstNode *low, AstNode *high)
{
	AstNode    *node;

	if (!require_value(parser, left, true) || !require_value(parser, low, true) ||
		!require_value(parser, high, true) || !require_comparable(parser, left, low) ||
		!require_comparable(parser, left, high))
		return NULL;
	node = make_node(parser, AST_BETWEEN, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->negated = negated;
	set_args(node, 3, left, low, high);
	return node;
}

/* like, ilike and contains */
AstNode *
make_text_test(Parser *parser, AstTag tag, int op, AstNode *left, bool negated, Value *literals, int nliterals)
{
	AstNode    *node;

	if (!require_value(parser, left, false))
		return NULL;
	node = make_node(parser, tag, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->op = op;
	node->negated = negated;
	node->literals = literals;
	node->nliterals = nliterals;
	set_args(node, 1, left, NULL, NULL);
	return node;
}

AstNode *
make_known(Parser *parser, AstNode *left, bool negated)
{
	AstNode    *node;

	if (!require_value(parser, left, true))
		return NULL;
	node = make_node(parser, AST_KNOWN, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->negated = negated;
	set_args(node, 1, left, NULL, NULL);
	return node;
}

/* What to write where something that is no moment stands before a window. */
static const char *
window_hint(const AstNode *left, bool negated, AstWindow *window)
{
	AstNode		meant = *left;
	AstEvents	events;

	if (is_literal_text(left))
		return "Dates and times are written '2026-01-31', '2026-01-31 12:00' or '2026-01-31T12:00:00Z'.";
	if ((left->tag == AST_AGGREGATE || left->tag == AST_HAS) && left->events->window == NULL)
	{
		events = *left->events;
		events.window = window;
		meant.events = &events;
		meant.negated = left->negated != negated;
		return left->tag == AST_HAS ?
			psprintf("Write \"%s\".", node_brief(&meant, "no order in last 3 days")) :
			psprintf("The window stands inside: %s.", node_brief(&meant, "count(order in last 3 days)"));
	}
	if (left->tag == AST_HAS || left->tag == AST_AGGREGATE)
		return "Events have one window; a second one is a condition in brackets: has order[at in last 3 days] this month.";
	return "A moment is an attribute or property that is a date, first(order), last(order) or anniversary(birthday).";
}

AstNode *
make_in_window(Parser *parser, AstNode *left, bool negated, AstWindow *window)
{
	AstNode    *node;

	if (left->kind != KIND_MOMENT && left->kind != KIND_EITHER)
		KIND_ERROR(parser, left, NULL,
				   errmsg("expected a moment before the window"),
				   errhint("%s", window_hint(left, negated, window)));
	node = make_node(parser, AST_IN_WINDOW, KIND_TRUTH, left->location);
	if (node == NULL)
		return NULL;
	node->negated = negated;
	node->window = window;
	set_args(node, 1, left, NULL, NULL);
	return node;
}

/* An operand of + - * / that is no moment and no interval. */
static bool
require_number(Parser *parser, const AstNode *node)
{
	if (!require_value(parser, node, false))
		return false;
	if (node->tag == AST_LITERAL && node->literals[0].type != VALUE_NUMBER)
		KIND_ERROR(parser, node, false,
				   errmsg("arithmetic needs numbers"),
				   errhint("%s", is_literal_text(node) ? "Numbers are written without quotes." :
						   "What is true or false is compared: x = true."));
	return true;
}

AstNode *
make_arithmetic(Parser *parser, int op, AstNode *left, AstNode *right, const Token *token)
{
	AstNode    *node;
	AstKind		kind = KIND_VALUE;

	if (left->kind == KIND_INTERVAL)
		KIND_ERROR(parser, left, NULL,
				   errmsg("an interval cannot be calculated with"),
				   errhint("It is added to a moment that stands before it: registered + 3 days."));
	if (right->kind == KIND_INTERVAL)
	{
		if (op != '+' && op != '-')
			KIND_ERROR(parser, right, NULL,
					   errmsg("an interval cannot be calculated with"),
					   errhint("It is added to a moment or subtracted from one: registered + 3 days."));
		if (left->kind != KIND_MOMENT && left->kind != KIND_EITHER)
			KIND_ERROR(parser, left, NULL,
					   errmsg("an interval can only be added to a moment or subtracted from one"),
					   errhint("A moment is an attribute or property that is a date, first(order) or last(order)."));
		kind = KIND_MOMENT;
	}
	else if (left->kind == KIND_MOMENT || right->kind == KIND_MOMENT || is_literal_date(left) || is_literal_date(right))
	{
		const char *hint = "An interval is added to a moment or subtracted from one: registered + 3 days.";

		if (op == '-' && right->kind != KIND_VALUE)
			hint = "There is no difference of moments; compare them: delivered > promised + 1 hour.";
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_DATATYPE_MISMATCH),
					errmsg("moments take no arithmetic but an interval after them"),
					errhint("%s", hint));
	}
	else if (!require_number(parser, left) || !require_number(parser, right))
		return NULL;
	/* each stands a level deeper in the tree than what it is applied to, though no parenthesis shows it */
	if (Max(left->operations, right->operations) >= PREDICATE_MAX_OPERATIONS)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
					errmsg("calculation has more than %d steps", PREDICATE_MAX_OPERATIONS),
					errhint("Compare parts of it, or let the feed's query calculate them."));
	node = make_node(parser, AST_ARITHMETIC, kind, left->location);
	if (node == NULL)
		return NULL;
	node->op = op;
	node->operations = Max(left->operations, right->operations) + 1;
	set_args(node, 2, left, right, NULL);
	return node;
}

AstNode *
make_negate(Parser *parser, AstNode *arg, int location)
{
	AstNode    *node;

	if (!require_number(parser, arg))
		return NULL;
	node = make_node(parser, AST_NEGATE, KIND_VALUE, location);
	if (node != NULL)
	{
		node->operations = arg->operations;
		set_args(node, 1, arg, NULL, NULL);
	}
	return node;
}

AstNode *
make_anniversary(Parser *parser, AstNode *arg, int location)
{
	AstNode    *node;

	if (is_anniversary(arg))
		KIND_ERROR(parser, arg, NULL,
				   errmsg("an anniversary has no anniversary"),
				   errhint("Take it of the date itself: anniversary(birthday)."));
	if (arg->kind != KIND_MOMENT && arg->kind != KIND_EITHER)
		KIND_ERROR(parser, arg, NULL,
				   errmsg("expected a moment in anniversary()"),
				   errhint("A moment is an attribute or property that is a date, first(order) or last(order)."));
	node = make_node(parser, AST_ANNIVERSARY, KIND_MOMENT, location);
	if (node != NULL)
		set_args(node, 1, arg, NULL, NULL);
	return node;
}

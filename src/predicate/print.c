/*
 * print.c
 *		The canonical text of a predicate.
 *
 * One spelling for one tree: lower case words, single spaces, no parentheses but those that the grammar needs. What is
 * printed reads back as the same tree, save for places of tokens, and so prints the same bytes again.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "predicate/ast.h"
#include "predicate/lex.h"

/* How tightly a node binds. */
typedef enum Level
{
	LEVEL_OR,
	LEVEL_AND,
	LEVEL_NOT,
	LEVEL_RELATION,
	LEVEL_SUM,
	LEVEL_PRODUCT,
	LEVEL_UNARY,
	LEVEL_ATOM
} Level;

static const char *const compare_names[] = {"=", "<>", "<", "<=", ">", ">="};
static const char *const aggregate_names[] = {
	"count", "sum", "avg", "min", "max", "first", "last", "distinct", "most", "mode"
};

static Level
node_level(const AstNode *node)
{
	switch (node->tag)
	{
		case AST_OR:
			return LEVEL_OR;
		case AST_AND:
			return LEVEL_AND;
		case AST_NOT:
			return LEVEL_NOT;
		case AST_COMPARE:
		case AST_IN_LIST:
		case AST_BETWEEN:
		case AST_LIKE:
		case AST_CONTAINS:
		case AST_KNOWN:
		case AST_IN_WINDOW:
			return LEVEL_RELATION;
		case AST_ARITHMETIC:
			return node->op == '+' || node->op == '-' ? LEVEL_SUM : LEVEL_PRODUCT;
		case AST_NEGATE:
			return LEVEL_UNARY;
		default:
			return LEVEL_ATOM;
	}
}

/* A part of another node, in parentheses if it binds less tightly than its place asks. */
static void
print_part(StringInfo out, const AstNode *node, Level least)
{
	bool		parentheses = node_level(node) < least;

	if (parentheses)
		appendStringInfoChar(out, '(');
	predicate_print(out, node);
	if (parentheses)
		appendStringInfoChar(out, ')');
}

void
predicate_print_name(StringInfo out, const char *name)
{
	if (!predicate_name_needs_quotes(name))
	{
		appendStringInfoString(out, name);
		return;
	}
	appendStringInfoChar(out, '"');
	for (; *name; name++)
	{
		if (*name == '"')
			appendStringInfoChar(out, '"');
		appendStringInfoChar(out, *name);
	}
	appendStringInfoChar(out, '"');
}

static void
print_text(StringInfo out, Value text)
{
	uint32		i;

	appendStringInfoChar(out, '\'');
	for (i = 0; i < text.length; i++)
	{
		if (text.u.text[i] == '\'')
			appendStringInfoChar(out, '\'');
		appendStringInfoChar(out, text.u.text[i]);
	}
	appendStringInfoChar(out, '\'');
}

static void
print_literal(StringInfo out, Value value)
{
	if (value.type == VALUE_BOOLEAN)
		appendStringInfoString(out, value.u.integer ? "true" : "false");
	else if (value.type == VALUE_NUMBER)
		decimal_append(out, value_decimal(value));
	else
		print_text(out, value);
}

static void
print_list(StringInfo out, const AstNode *node)
{
	int			i;

	appendStringInfoChar(out, '(');
	for (i = 0; i < node->nliterals; i++)
	{
		if (i > 0)
			appendStringInfoString(out, ", ");
		print_literal(out, node->literals[i]);
	}
	appendStringInfoChar(out, ')');
}

static void
print_count(StringInfo out, int64 number, CalendarUnit unit)
{
	appendStringInfo(out, INT64_FORMAT " %s%s", number, calendar_unit_names[unit], number == 1 ? "" : "s");
}

static void
print_span(StringInfo out, const AstSpan *span)
{
	int			i;

	for (i = 0; i < span->nterms; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ' ');
		print_count(out, span->terms[i].number, span->terms[i].unit);
	}
}

void
predicate_print_window(StringInfo out, const AstWindow *window)
{
	switch (window->tag)
	{
		case WINDOW_NONE:
			break;
		case WINDOW_IN_LAST:
			appendStringInfoString(out, "in last ");
			print_span(out, window->d1);
			break;
		case WINDOW_IN_NEXT:
			appendStringInfoString(out, "in next ");
			print_span(out, window->d1);
			break;
		case WINDOW_BEFORE_AGO:
			appendStringInfoString(out, "before ");
			print_span(out, window->d1);
			appendStringInfoString(out, " ago");
			break;
		case WINDOW_BETWEEN_AGO:
			appendStringInfoString(out, "between ");
			print_span(out, window->d1);
			appendStringInfoString(out, " and ");
			print_span(out, window->d2);
			appendStringInfoString(out, " ago");
			break;
		case WINDOW_SINCE:
			appendStringInfoString(out, "since ");
			print_text(out, window->t1.text);
			break;
		case WINDOW_BEFORE:
			appendStringInfoString(out, "before ");
			print_text(out, window->t1.text);
			break;
		case WINDOW_BETWEEN:
			appendStringInfoString(out, "between ");
			print_text(out, window->t1.text);
			appendStringInfoString(out, " and ");
			print_text(out, window->t2.text);
			break;
		case WINDOW_SINCE_ENTRY:
			appendStringInfoString(out, "since entry");
			break;
		case WINDOW_THIS:
			if (window->unit == UNIT_DAY)
				appendStringInfoString(out, "today");
			else
				appendStringInfo(out, "this %s", calendar_unit_names[window->unit]);
			break;
		case WINDOW_PREVIOUS:
			if (!window->bare)
			{
				appendStringInfoString(out, "previous ");
				print_count(out, window->count, window->unit);
			}
			else if (window->unit == UNIT_DAY)
				appendStringInfoString(out, "yesterday");
			else
				appendStringInfo(out, "previous %s", calendar_unit_names[window->unit]);
			break;
		case WINDOW_TOMORROW:
			appendStringInfoString(out, "tomorrow");
			break;
	}
}

static void
print_events(StringInfo out, const AstEvents *events)
{
	predicate_print_name(out, events->kind);
	if (events->filter)
	{
		appendStringInfoChar(out, '[');
		predicate_print(out, events->filter);
		appendStringInfoChar(out, ']');
	}
	if (events->property)
	{
		appendStringInfoChar(out, '.');
		predicate_print_name(out, events->property);
	}
	if (events->window)
	{
		appendStringInfoChar(out, ' ');
		predicate_print_window(out, events->window);
	}
}

static void
print_junction(StringInfo out, const AstNode *node, const char *word, Level least)
{
	int			i;

	for (i = 0; i < node->nargs; i++)
	{
		if (i > 0)
			appendStringInfoString(out, word);
		print_part(out, node->args[i], least);
	}
}

/* The left side of a relation, and its "not". */
static void
print_left(StringInfo out, const AstNode *node)
{
	print_part(out, node->args[0], LEVEL_SUM);
	appendStringInfoString(out, node->negated ? " not " : " ");
}

static void
print_relation(StringInfo out, const AstNode *node)
{
	switch (node->tag)
	{
		case AST_COMPARE:
			print_part(out, node->args[0], LEVEL_SUM);
			appendStringInfo(out, " %s ", compare_names[node->op]);
			print_part(out, node->args[1], LEVEL_SUM);
			break;
		case AST_IN_LIST:
			print_left(out, node);
			appendStringInfoString(out, "in ");
			print_list(out, node);
			break;
		case AST_BETWEEN:
			print_left(out, node);
			appendStringInfoString(out, "between ");
			print_part(out, node->args[1], LEVEL_SUM);
			appendStringInfoString(out, " and ");
			print_part(out, node->args[2], LEVEL_SUM);
			break;
		case AST_LIKE:
			print_left(out, node);
			appendStringInfoString(out, node->op == 1 ? "ilike " : "like ");
			print_text(out, node->literals[0]);
			break;
		case AST_CONTAINS:
			print_left(out, node);
			appendStringInfoString(out, "contains ");
			if (node->op == CONTAINS_ONE)
				print_literal(out, node->literals[0]);
			else
			{
				appendStringInfoString(out, node->op == CONTAINS_ANY ? "any " : "all ");
				print_list(out, node);
			}
			break;
		case AST_KNOWN:
			print_part(out, node->args[0], LEVEL_SUM);
			appendStringInfoString(out, node->negated ? " is not known" : " is known");
			break;
		default:
			Assert(node->tag == AST_IN_WINDOW);
			print_left(out, node);
			predicate_print_window(out, node->window);
			break;
	}
}

void
predicate_print(StringInfo out, const AstNode *node)
{
	Level		level;

	check_stack_depth();
	switch (node->tag)
	{
		case AST_OR:
			print_junction(out, node, " or ", LEVEL_AND);
			break;
		case AST_AND:
			print_junction(out, node, " and ", LEVEL_NOT);
			break;
		case AST_NOT:
			appendStringInfoString(out, "not ");
			print_part(out, node->args[0], LEVEL_RELATION);
			break;
		case AST_COMPARE:
		case AST_IN_LIST:
		case AST_BETWEEN:
		case AST_LIKE:
		case AST_CONTAINS:
		case AST_KNOWN:
		case AST_IN_WINDOW:
			print_relation(out, node);
			break;
		case AST_HAS:
			appendStringInfoString(out, node->negated ? "no " : "has ");
			print_events(out, node->events);
			break;
		case AST_IN_SEGMENT:
			appendStringInfoString(out, "in segment ");
			print_literal(out, node->literals[0]);
			break;
		case AST_FOLLOWED:
			appendStringInfoString(out, node->op == 1 ? "preceded by " : "followed by ");
			print_events(out, node->events);
			if (node->span)
			{
				appendStringInfoString(out, " within ");
				print_span(out, node->span);
			}
			break;
		case AST_SAME:
			appendStringInfoString(out, "same ");
			predicate_print_name(out, node->name);
			break;
		case AST_LITERAL:
			print_literal(out, node->literals[0]);
			break;
		case AST_NAME:
			predicate_print_name(out, node->name);
			break;
		case AST_CUSTOMER:
			appendStringInfoString(out, "customer.");
			predicate_print_name(out, node->name);
			break;
		case AST_AGGREGATE:
		case AST_MOMENT_OF:
			appendStringInfo(out, "%s(", aggregate_names[node->op]);
			print_events(out, node->events);
			appendStringInfoChar(out, ')');
			break;
		case AST_ANNIVERSARY:
			appendStringInfoString(out, "anniversary(");
			print_part(out, node->args[0], LEVEL_SUM);
			appendStringInfoChar(out, ')');
			break;
		case AST_BUCKET:
			appendStringInfoString(out, "bucket(");
			print_literal(out, node->literals[0]);
			appendStringInfoChar(out, ')');
			break;
		case AST_ARITHMETIC:
			level = node_level(node);
			print_part(out, node->args[0], level);
			appendStringInfo(out, " %c ", node->op);
			print_part(out, node->args[1], (Level) (level + 1));
			break;
		case AST_NEGATE:
			appendStringInfoChar(out, '-');
			/* a minus right before a number would become part of it */
			if (node->args[0]->tag == AST_LITERAL)
			{
				appendStringInfoChar(out, '(');
				predicate_print(out, node->args[0]);
				appendStringInfoChar(out, ')');
			}
			else
				print_part(out, node->args[0], LEVEL_ATOM);
			break;
		case AST_INTERVAL:
			print_span(out, node->span);
			break;
	}
}

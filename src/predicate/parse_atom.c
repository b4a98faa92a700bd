/*
 * parse_atom.c
 *		Reads the smallest parts of an expression: literals, names, events, aggregates, and what stands in brackets.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"

#include "predicate/parse.h"

#define FILTER_HINT \
	"A filter sees literals, the event's properties, customer.attribute and windows over its own moments; " \
	"no aggregates, no segments."

/* Reports something that has no place within brackets. */
static bool
require_outside(Parser *parser, const Token *token, const char *what)
{
	if (parser->brackets > 0)
		PARSE_ERROR(parser, token, false,
					errcode(ERRCODE_SYNTAX_ERROR),
					errmsg("\"%s\" cannot stand inside brackets", what),
					errhint(FILTER_HINT));
	return true;
}

/* The closing parenthesis or bracket of the one that was opened at a token. */
static bool
parse_closing(Parser *parser, int symbol, const Token *opening)
{
	const char *hint = NULL;

	if (parser->token->type == TOKEN_END || (parse_at_symbol(parser, ']') && parser->brackets > 0))
		hint = psprintf("The %s opened at position %d is not closed.", symbol == ')' ? "parenthesis" : "bracket",
						pg_mbstrlen_with_len(parser->text, opening->location) + 1);
	return parse_symbol(parser, symbol, hint);
}

/* "[" expr "]" */
static AstNode *
parse_filter(Parser *parser, bool followed)
{
	Token	   *opening = parser->token++;
	bool		outer = parser->in_followed;
	AstNode    *filter;

	if (parser->brackets >= PREDICATE_MAX_BRACKETS)
		PARSE_ERROR(parser, opening, NULL,
					errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
					errmsg("brackets are nested more than %d deep", PREDICATE_MAX_BRACKETS),
					errhint("Split the condition: each \"has\" and each aggregate may nest that deep."));
	if (!parse_enter(parser, opening, 1))
		return NULL;
	parser->brackets++;
	parser->in_followed = followed;
	filter = parse_expression(parser);
	if (filter == NULL || !parse_closing(parser, ']', opening) || !require_truth(parser, filter))
		return NULL;
	parser->in_followed = outer;
	parser->brackets--;
	parse_leave(parser, 1);
	return filter;
}

/* kind [ "[" expr "]" ] */
static AstEvents *
parse_kind(Parser *parser, const char *expected, bool followed)
{
	AstEvents  *events = palloc0(sizeof(AstEvents));

	events->location = parser->token->location;
	events->kind = parse_name(parser, expected);
	if (events->kind == NULL)
		return NULL;
	if (parse_at_symbol(parser, '['))
	{
		events->filter = parse_filter(parser, followed);
		if (events->filter == NULL)
			return NULL;
	}
	return events;
}

static bool
parse_events_window(Parser *parser, AstEvents *events)
{
	Token	   *first = parser->token;

	if (!parse_at_window(parser))
		return true;
	parser->token++;
	events->window = parse_window(parser, first);
	return events->window != NULL;
}

/* has events, no events */
static AstNode *
parse_has(Parser *parser)
{
	Token	   *token = parser->token++;
	AstNode    *node;

	if (!require_outside(parser, token, token->name))
		return NULL;
	if (token->keyword == WORD_HAS && (parse_at_word(parser, WORD_NO) || parse_at_word(parser, WORD_NOT)))
	{
		parse_unexpected(parser, "the kind of an event after \"has\"", "Write \"no order\".");
		return NULL;
	}
	node = make_node(parser, AST_HAS, KIND_TRUTH, token->location);
	if (node == NULL)
		return NULL;
	node->negated = token->keyword == WORD_NO;
	node->events = parse_kind(parser, psprintf("the kind of an event after \"%s\"", token->name), false);
	if (node->events == NULL)
		return NULL;
	if (parse_at_symbol(parser, '.'))
	{
		parse_unexpected(parser, "a condition on events",
						 psprintf("Properties are tested in brackets: %s %s[amount > 100].", token->name, node->events->kind));
		return NULL;
	}
	if (parse_at_symbol(parser, '('))
	{
		parse_unexpected(parser, "a condition on events",
						 !parse_is_aggregate(parser->token[-1].keyword) ?
						 psprintf("Events are filtered in brackets: %s %s[amount > 100].", token->name, node->events->kind) :
						 psprintf("\"%s\" stands before the kind of an event; an aggregate is compared without it.",
								  token->name));
		return NULL;
	}
	return parse_events_window(parser, node->events) ? node : NULL;
}

static AggregateOp
aggregate_op(Keyword keyword)
{
	switch (keyword)
	{
		case WORD_COUNT:
			return AGG_COUNT;
		case WORD_SUM:
			return AGG_SUM;
		case WORD_AVG:
			return AGG_AVG;
		case WORD_MIN:
			return AGG_MIN;
		case WORD_MAX:
			return AGG_MAX;
		case WORD_FIRST:
			return AGG_FIRST;
		case WORD_LAST:
			return AGG_LAST;
		case WORD_DISTINCT:
			return AGG_DISTINCT;
		case WORD_MOST:
			return AGG_MOST;
		default:
			return AGG_MODE;
	}
}

/* The kind of node that an aggregate of a property is. */
static AstKind
aggregate_kind(AggregateOp op)
{
	switch (op)
	{
		case AGG_MIN:
		case AGG_MAX:
		case AGG_FIRST:
		case AGG_LAST:
		case AGG_MODE:
			return KIND_EITHER;
		default:
			return KIND_VALUE;
	}
}

/* count(events), first(events), sum(kind.property window) and the like; the word has been read */
static AstNode *
parse_aggregate(Parser *parser, const Token *token)
{
	Token	   *opening = parser->token++;
	AggregateOp op = aggregate_op(token->keyword);
	AstTag		tag = AST_AGGREGATE;
	AstKind		kind = aggregate_kind(op);
	AstEvents  *events;
	AstNode    *node;

	if (!require_outside(parser, token, token->name))
		return NULL;
	if (parse_at_symbol(parser, '*') || parse_at_word(parser, WORD_HAS) || parse_at_word(parser, WORD_NO))
	{
		parse_unexpected(parser, psprintf("the kind of an event in %s()", token->name),
						 op == AGG_COUNT ? "Events are counted by kind: count(order)." :
						 psprintf("Write the kind and a property: %s(order.amount).", token->name));
		return NULL;
	}
	events = parse_kind(parser, psprintf("the kind of an event in %s()", token->name), false);
	if (events == NULL)
		return NULL;
	if (parse_at_symbol(parser, '.'))
	{
		if (op == AGG_COUNT)
		{
			parse_unexpected(parser, "\")\" or a window",
							 psprintf("Events are counted by kind, count(%s); values by distinct(%s.%s).", events->kind,
									  events->kind, parser->token[1].type == TOKEN_NAME ?
									  parser->token[1].name : "property"));
			return NULL;
		}
		parser->token++;
		events->property = parse_name(parser, "the name of a property");
		if (events->property == NULL)
			return NULL;
		if (parse_at_symbol(parser, '['))
		{
			parse_unexpected(parser, "\")\" or a window",
							 psprintf("The filter follows the kind: %s(%s[...].%s).", token->name, events->kind,
									  events->property));
			return NULL;
		}
	}
	else if (op == AGG_FIRST || op == AGG_LAST)
	{
		tag = AST_MOMENT_OF;
		kind = KIND_MOMENT;
	}
	else if (op != AGG_COUNT)
	{
		parse_unexpected(parser, "\".\" and a property",
						 psprintf("%s() is of a property, which follows the kind: %s(order.amount).", token->name,
								  token->name));
		return NULL;
	}
	else if (strcmp(events->kind, "distinct") == 0 && parser->token->type == TOKEN_NAME &&
			 parser->token[1].symbol == '.')
	{
		parse_unexpected(parser, "\")\" or a window", "Different values are counted by distinct(order.item).");
		return NULL;
	}
	if (!parse_events_window(parser, events))
		return NULL;
	if (parse_at_symbol(parser, '.'))
	{
		parse_unexpected(parser, "\")\"", events->property ? psprintf("%s() is of one property.", token->name) :
						 psprintf("The property follows the kind, before the window: %s(%s.amount ...).", token->name,
								  events->kind));
		return NULL;
	}
	if (parser->token->type == TOKEN_SYMBOL && !parse_at_symbol(parser, ')') && !parse_at_symbol(parser, ']') &&
		!parse_at_symbol(parser, '['))
	{
		parse_unexpected(parser, "\")\"",
						 psprintf("%s() is of one kind of events; its result is calculated with and compared outside: "
								  "%s(...) > 3.", token->name, token->name));
		return NULL;
	}
	if (!parse_closing(parser, ')', opening))
		return NULL;
	node = make_node(parser, tag, kind, token->location);
	if (node == NULL)
		return NULL;
	node->op = op;
	node->events = events;
	return node;
}

static AstNode *
parse_anniversary(Parser *parser, const Token *token)
{
	Token	   *opening = parser->token++;
	AstNode    *arg;

	if (!parse_enter(parser, opening, 1))
		return NULL;
	arg = parse_sum(parser);
	if (arg == NULL)
		return NULL;
	if (parser->token->type == TOKEN_SYMBOL && !parse_at_symbol(parser, ')') && !parse_at_symbol(parser, ']'))
	{
		parse_unexpected(parser, "\")\"", "An anniversary is of one moment: anniversary(birthday).");
		return NULL;
	}
	if (!parse_closing(parser, ')', opening))
		return NULL;
	parse_leave(parser, 1);
	return make_anniversary(parser, arg, token->location);
}

static AstNode *
parse_bucket(Parser *parser, const Token *token)
{
	Token	   *opening = parser->token++;
	AstNode    *node;
	Token	   *salt = parser->token;

	if (!require_outside(parser, token, token->name))
		return NULL;
	if (salt->type != TOKEN_STRING)
	{
		parse_unexpected(parser, "a text in bucket()", "The text tells one split from another: bucket('spring test') < 50.");
		return NULL;
	}
	parser->token++;
	if (parse_at_symbol(parser, ','))
	{
		parse_unexpected(parser, "\")\"", "It takes a text only, and gives 0 to 99: bucket('spring test') < 50.");
		return NULL;
	}
	if (!parse_closing(parser, ')', opening))
		return NULL;
	node = make_literal(parser, salt->value, token->location);
	if (node == NULL)
		return NULL;
	node->tag = AST_BUCKET;
	node->kind = KIND_VALUE;
	return node;
}

static AstNode *
parse_segment(Parser *parser)
{
	Token	   *token = parser->token++;
	Token	   *segment;
	AstNode    *node;
	Decimal		number;

	if (!parse_word(parser, WORD_SEGMENT, "\"segment\" after \"in\"",
					"A value or a moment stands before \"in\", save in \"in segment 'vip'\"."))
		return NULL;
	if (!require_outside(parser, token, "in segment"))
		return NULL;
	segment = parser->token;
	if (segment->type != TOKEN_STRING && segment->type != TOKEN_NUMBER)
	{
		parse_unexpected(parser, "the name of a segment",
						 "The name of a segment is written in single quotes: in segment 'vip'.");
		return NULL;
	}
	if (segment->type == TOKEN_NUMBER)
	{
		number = value_decimal(segment->value);
		if (number.scale != 0 || number.u.mantissa > PG_INT32_MAX)
			PARSE_ERROR(parser, segment, NULL,
						errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
						errmsg("number of a segment is out of range"),
						errhint("It is a whole number; a name is written in single quotes: in segment 'vip'."));
	}
	parser->token++;
	node = make_literal(parser, segment->value, token->location);
	if (node == NULL)
		return NULL;
	node->tag = AST_IN_SEGMENT;
	node->kind = KIND_TRUTH;
	return node;
}

/* followed by ..., preceded by ...; the first word has been read */
static AstNode *
parse_followed(Parser *parser, const Token *token)
{
	AstNode    *node;

	parser->token++;
	if (parser->brackets == 0)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_SYNTAX_ERROR),
					errmsg("\"%s by\" stands inside brackets only", token->name),
					errhint("It says something of an event: has cart[%s by order within 1 hour].", token->name));
	node = make_node(parser, AST_FOLLOWED, KIND_TRUTH, token->location);
	if (node == NULL)
		return NULL;
	node->op = token->keyword == WORD_PRECEDED ? 1 : 0;
	node->events = parse_kind(parser, psprintf("the kind of an event after \"%s by\"", token->name), true);
	if (node->events == NULL)
		return NULL;
	if (parse_at_word(parser, WORD_WITHIN))
	{
		parser->token++;
		node->span = parse_span(parser, "within");
		if (node->span == NULL)
			return NULL;
	}
	if (parse_at_window(parser))
	{
		parse_unexpected(parser, "\"within\" or the end of the condition",
						 psprintf("The time between the two events is limited by \"within\": %s by %s within 1 hour.",
								  token->name, node->events->kind));
		return NULL;
	}
	return node;
}

/* same property; the word has been read, a name follows */
static AstNode *
parse_same(Parser *parser, const Token *token)
{
	AstNode    *node;

	if (!parser->in_followed)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_SYNTAX_ERROR),
					errmsg("\"same\" stands inside the brackets of \"followed by\" and \"preceded by\" only"),
					errhint("It compares two events: has cart[followed by order[same item]]."));
	node = make_node(parser, AST_SAME, KIND_TRUTH, token->location);
	if (node == NULL)
		return NULL;
	node->name = parse_name(parser, "a property after \"same\"");
	return node->name ? node : NULL;
}

/* A name and "." */
static AstNode *
parse_dotted(Parser *parser, const Token *token)
{
	const char *property = parser->token[1].type == TOKEN_NAME ? parser->token[1].name : "amount";
	AstNode    *node;

	if (token->keyword != WORD_CUSTOMER)
	{
		parse_unexpected(parser, "an aggregate around the property of an event",
						 parser->brackets > 0 ?
						 psprintf("Inside brackets a property stands alone: %s.", property) :
						 psprintf("An event's property is taken by an aggregate: last(%s.%s).", token->name, property));
		return NULL;
	}
	if (parser->brackets == 0)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_SYNTAX_ERROR),
					errmsg("\"customer.\" stands inside brackets only"),
					errhint("Outside of brackets an attribute stands alone: %s.", property));
	parser->token++;
	node = make_node(parser, AST_CUSTOMER, KIND_EITHER, token->location);
	if (node == NULL)
		return NULL;
	node->name = parse_name(parser, "the name of an attribute");
	return node->name ? node : NULL;
}

/* A name and "(" that are no function. */
static AstNode *
parse_unknown_function(Parser *parser, const Token *token)
{
	static const char *const functions[] = {
		"count", "sum", "avg", "min", "max", "first", "last", "distinct", "most", "mode", "anniversary", "bucket"
	};
	static const char *const others[][2] = {
		{"now", NULL}, {"today", NULL}, {"date", NULL}, {"age", NULL}, {"extract", NULL}, {"date_trunc", NULL},
		{"average", "avg"}, {"mean", "avg"}, {"minimum", "min"}, {"maximum", "max"}, {"total", "sum"},
		{"unique", "distinct"}, {"birthday", "anniversary"}, {"frequency", "count"}, {"exists", "has"},
		{"nth", "first"}, {"array_agg", "distinct"}
	};
	const char *nearest = NULL;
	const char *hint = NULL;
	int			i;

	for (i = 0; i < (int) lengthof(others) && hint == NULL; i++)
	{
		if (strcmp(token->name, others[i][0]) != 0)
			continue;
		nearest = others[i][1];
		if (nearest == NULL)
			hint = "Time is said by windows: in last 3 days, before 3 days ago, since '2026-01-31', this month.";
	}
	if (hint == NULL && nearest == NULL)
		nearest = predicate_nearest_word(token->name, functions, lengthof(functions));
	if (hint == NULL)
		hint = nearest ? psprintf("Perhaps you meant \"%s\".", nearest) :
			"The functions are count, sum, avg, min, max, first, last, distinct, most, mode, anniversary and bucket.";
	PARSE_ERROR(parser, token, NULL,
				errcode(ERRCODE_UNDEFINED_FUNCTION),
				errmsg("unknown function \"%s\"", token->name),
				errhint("%s", hint));
}

/* What begins with a name that is not reserved. */
static AstNode *
parse_named(Parser *parser)
{
	Token	   *token = parser->token++;
	AstNode    *node;

	if (!token->quoted && parse_at_symbol(parser, '('))
	{
		if (parse_is_aggregate(token->keyword))
			return parse_aggregate(parser, token);
		switch (token->keyword)
		{
			case WORD_ANNIVERSARY:
				return parse_anniversary(parser, token);
			case WORD_BUCKET:
				return parse_bucket(parser, token);
			default:
				return parse_unknown_function(parser, token);
		}
	}
	if ((token->keyword == WORD_FOLLOWED || token->keyword == WORD_PRECEDED) && parse_at_word(parser, WORD_BY))
		return parse_followed(parser, token);
	if (token->keyword == WORD_SAME && parser->token->type == TOKEN_NAME &&
		!predicate_word_is_reserved(parser->token->keyword) && (parser->in_followed || !parse_at_window(parser)))
		return parse_same(parser, token);
	if (parse_at_symbol(parser, '.'))
		return parse_dotted(parser, token);

	node = make_node(parser, AST_NAME, KIND_EITHER, token->location);
	if (node != NULL)
		node->name = token->name;
	return node;
}

/* A number, or an interval that begins with one. */
static AstNode *
parse_number(Parser *parser)
{
	Token	   *token = parser->token;
	Token	   *next = token + 1;
	AstNode    *node;

	if (next->unit >= 0)
	{
		AstSpan    *span = parse_span(parser, "");

		if (span == NULL)
			return NULL;
		node = make_node(parser, AST_INTERVAL, KIND_INTERVAL, token->location);
		if (node != NULL)
			node->span = span;
		return node;
	}
	parser->token++;
	if (next->type == TOKEN_NAME && !next->quoted && !predicate_word_is_reserved(next->keyword) &&
		!parse_at_window(parser) && next->keyword != WORD_WITHIN)
	{
		const char *nearest = predicate_nearest_unit(next->name);

		if (nearest != NULL)
			PARSE_ERROR(parser, next, NULL,
						errcode(ERRCODE_SYNTAX_ERROR),
						errmsg("unknown unit \"%s\"", next->name),
						errhint("Perhaps you meant \"%s\".", nearest));
	}
	return make_literal(parser, token->value, token->location);
}

/* What to do about a token that begins no atom. */
static const char *
missing_hint(const Parser *parser, const Token *token)
{
	const Token *last = token > parser->tokens ? token - 1 : NULL;

	if (token->type == TOKEN_END && last != NULL)
		return psprintf("There is nothing after \"%.*s\".", last->length, parser->text + last->location);
	if (token->symbol == ']' && last != NULL && last->symbol == '[')
		return "Brackets hold a condition; without one they are left out.";
	if (token->symbol == ')' && last != NULL && last->symbol == '(')
		return "There is nothing in the parentheses.";
	switch (token->keyword)
	{
		case WORD_NOT:
			return "\"not\" stands before a whole condition: not x = 1.";
		case WORD_AND:
		case WORD_OR:
			return psprintf("A condition is missing before \"%s\".", token->name);
		case WORD_NONE:
			break;
		default:
			return psprintf("\"%s\" is a reserved word; as a name it is written in double quotes.", token->name);
	}
	switch (token->symbol)
	{
		case '[':
			return "A filter follows the kind of an event: has order[amount > 100].";
		case ']':
		case ')':
			return psprintf("A condition or a value is missing before \"%c\".", token->symbol);
		case ',':
			return "Commas stand in lists only: x in (1, 2).";
		case '.':
			return "A property follows the kind of an event within an aggregate: last(order.amount).";
		case '*':
			return "Events are counted by kind: count(order).";
		case '=':
		case '<':
		case '>':
		case SYMBOL_NE:
		case SYMBOL_LE:
		case SYMBOL_GE:
			return "A comparison has a value on both sides: count(order) > 3.";
		default:
			return "";
	}
}

AstNode *
parse_atom(Parser *parser)
{
	Token	   *token = parser->token;
	AstNode    *node;
	Value		value;

	if (token->type == TOKEN_NUMBER)
		return parse_number(parser);
	if (token->symbol == '-' && token[1].type == TOKEN_NUMBER && token[2].unit >= 0)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("an interval must be longer than zero"),
					errhint("Subtract it from a moment: registered - 3 days."));
	if (token->type == TOKEN_STRING || token->keyword == WORD_TRUE || token->keyword == WORD_FALSE ||
		(token->symbol == '-' && token[1].type == TOKEN_NUMBER))
		return parse_literal(parser, &value) ? make_literal(parser, value, token->location) : NULL;
	if (token->symbol == '(')
	{
		parser->token++;
		if (!parse_enter(parser, token, 1))
			return NULL;
		node = parse_expression(parser);
		if (node == NULL || !parse_closing(parser, ')', token))
			return NULL;
		parse_leave(parser, 1);
		return node;
	}
	if (token->keyword == WORD_HAS || token->keyword == WORD_NO)
		return parse_has(parser);
	if (token->keyword == WORD_IN)
		return parse_segment(parser);
	if (token->type == TOKEN_NAME && !predicate_word_is_reserved(token->keyword))
		return parse_named(parser);

	parse_unexpected(parser, "a condition or a value", missing_hint(parser, token));
	return NULL;
}

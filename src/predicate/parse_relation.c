/*
 * parse_relation.c
 *		Reads what is said of a value or moment: comparisons, lists, ranges, patterns, windows.
 *
 *		relation = sum [ compare sum | [not] in list | [not] between sum and sum | [not] like string
 *				 | [not] contains ... | is [not] known | [not] window ]
 */
#include "postgres.h"

#include "predicate/parse.h"

static bool
at_comparison(const Parser *parser, CompareOp *op)
{
	switch (parser->token->symbol)
	{
		case '=':
			*op = COMPARE_OP_EQ;
			return true;
		case SYMBOL_NE:
			*op = COMPARE_OP_NE;
			return true;
		case '<':
			*op = COMPARE_OP_LT;
			return true;
		case SYMBOL_LE:
			*op = COMPARE_OP_LE;
			return true;
		case '>':
			*op = COMPARE_OP_GT;
			return true;
		case SYMBOL_GE:
			*op = COMPARE_OP_GE;
			return true;
		default:
			return false;
	}
}

/* "(" literal { "," literal } ")" */
static Value *
parse_list(Parser *parser, int *count)
{
	Value	   *values;
	int			capacity = 8;

	*count = 0;
	if (!parse_symbol(parser, '(', "A list stands in parentheses: ('a', 'b')."))
		return NULL;
	values = palloc(sizeof(Value) * capacity);
	for (;;)
	{
		if (*count == capacity)
		{
			capacity *= 2;
			values = repalloc(values, sizeof(Value) * capacity);
		}
		if (!parse_literal(parser, &values[*count]))
			return NULL;
		(*count)++;
		if (!parse_at_symbol(parser, ','))
			break;
		parser->token++;
	}
	if (!parse_symbol(parser, ')', parser->token->type == TOKEN_END ? "The list is not closed." :
					  "A list has literals only, set apart by commas."))
		return NULL;
	return values;
}

static AstNode *
parse_in(Parser *parser, AstNode *left, bool negated, const Token *first)
{
	Value	   *literals;
	int			count;
	AstWindow  *window;

	if (parse_at_symbol(parser, '('))
	{
		literals = parse_list(parser, &count);
		return literals ? make_in_list(parser, left, negated, literals, count) : NULL;
	}
	if (parse_at_word(parser, WORD_SEGMENT))
	{
		parse_unexpected(parser, "a list or a window after \"in\"",
						 "\"in segment\" stands by itself: in segment 'vip' and city = 'Moscow'.");
		return NULL;
	}
	if (parser->token->type == TOKEN_STRING || parser->token->type == TOKEN_END ||
		(parser->token->type == TOKEN_NUMBER && parser->token[1].unit < 0) ||
		(parser->token->type == TOKEN_NAME && parser->token->keyword == WORD_NONE))
	{
		parse_unexpected(parser, "a list or a window after \"in\"",
						 "Write a list, in ('a', 'b'), or a window, in last 3 days.");
		return NULL;
	}
	window = parse_window(parser, first);
	return window ? make_in_window(parser, left, negated, window) : NULL;
}

/* Two intervals and "ago", or two timestamps, are a window. */
static AstNode *
parse_between(Parser *parser, AstNode *left, bool negated, const Token *first)
{
	AstNode    *low;
	AstNode    *high;
	AstWindow  *window = palloc0(sizeof(AstWindow));

	low = parse_sum(parser);
	if (low == NULL || !parse_word(parser, WORD_AND, "\"and\" after \"between\"",
								   "A range is written \"between 1 and 5\"."))
		return NULL;
	high = parse_sum(parser);
	if (high == NULL)
		return NULL;
	window->location = first->location;
	if (low->tag == AST_INTERVAL && high->tag == AST_INTERVAL)
	{
		if (!parse_word(parser, WORD_AGO, "\"ago\"", "The window is written \"between 7 days and 8 days ago\"."))
			return NULL;
		window->tag = WINDOW_BETWEEN_AGO;
		window->d1 = low->span;
		window->d2 = high->span;
	}
	else if (low->tag == AST_LITERAL && low->kind == KIND_EITHER &&
			 high->tag == AST_LITERAL && high->kind == KIND_EITHER)
	{
		window->tag = WINDOW_BETWEEN;
		parse_moment(&low->literals[0], &window->t1);
		parse_moment(&high->literals[0], &window->t2);
	}
	else
		return make_between(parser, left, negated, low, high);
	window = parse_window_between(parser, first, window);
	return window ? make_in_window(parser, left, negated, window) : NULL;
}

static AstNode *
parse_like(Parser *parser, AstNode *left, bool negated, bool ignore_case)
{
	Token	   *token = parser->token;
	Value	   *pattern;
	uint32		slashes = 0;

	if (token->type != TOKEN_STRING)
	{
		parse_unexpected(parser, psprintf("a pattern after \"%s\"", ignore_case ? "ilike" : "like"),
						 "A pattern is a text in single quotes: 'Mos%'.");
		return NULL;
	}
	pattern = palloc(sizeof(Value));
	*pattern = token->value;
	while (slashes < pattern->length && pattern->u.text[pattern->length - 1 - slashes] == '\\')
		slashes++;
	if (slashes % 2 == 1)
		PARSE_ERROR(parser, token, NULL,
					errcode(ERRCODE_INVALID_ESCAPE_SEQUENCE),
					errmsg("pattern must not end with the escape character"),
					errhint("A backslash itself is written \"\\\\\" in a pattern."));
	parser->token++;
	return make_text_test(parser, AST_LIKE, ignore_case ? 1 : 0, left, negated, pattern, 1);
}

static AstNode *
parse_contains(Parser *parser, AstNode *left, bool negated)
{
	ContainsOp	op = CONTAINS_ONE;
	Value	   *literals;
	int			count = 1;

	if (parse_at_word(parser, WORD_ANY) || parse_at_word(parser, WORD_ALL))
	{
		op = parse_at_word(parser, WORD_ANY) ? CONTAINS_ANY : CONTAINS_ALL;
		parser->token++;
		literals = parse_list(parser, &count);
		if (literals == NULL)
			return NULL;
	}
	else if (parse_at_symbol(parser, '('))
	{
		parse_unexpected(parser, "a text, a number, true or false",
						 "Before a list say which is meant: contains any ('a', 'b'), or contains all ('a', 'b').");
		return NULL;
	}
	else
	{
		literals = palloc(sizeof(Value));
		if (!parse_literal(parser, literals))
			return NULL;
	}
	return make_text_test(parser, AST_CONTAINS, op, left, negated, literals, count);
}

static AstNode *
parse_is(Parser *parser, AstNode *left)
{
	bool		negated = parse_at_word(parser, WORD_NOT);
	const Token *token;
	const char *hint;

	if (negated)
		parser->token++;
	token = parser->token;
	if (parse_at_word(parser, WORD_KNOWN))
	{
		parser->token++;
		return make_known(parser, left, negated);
	}
	if (token->keyword == WORD_TRUE || token->keyword == WORD_FALSE)
		hint = psprintf("Write \"%s %s %s\".", node_brief(left, "x"), negated ? "<>" : "=", token->name);
	else if (token->type == TOKEN_NAME &&
			 (strcmp(token->name, "null") == 0 || strcmp(token->name, "unknown") == 0))
		hint = psprintf("Write \"%s is %sknown\".", node_brief(left, "x"), negated ? "" : "not ");
	else if (token->type == TOKEN_STRING || token->type == TOKEN_NUMBER)
		hint = negated ? "Inequality is written \"<>\"." : "Equality is written \"=\".";
	else
		hint = psprintf("Write \"%s is %sknown\".", node_brief(left, "x"), negated ? "not " : "");
	parse_unexpected(parser, negated ? "\"known\" after \"is not\"" : "\"known\" after \"is\"", hint);
	return NULL;
}

AstNode *
parse_relation(Parser *parser)
{
	AstNode    *left = parse_sum(parser);
	AstNode    *right;
	AstWindow  *window;
	const Token *token;
	CompareOp	op;
	bool		negated;

	if (left == NULL)
		return NULL;
	if (at_comparison(parser, &op))
	{
		parser->token++;
		right = parse_sum(parser);
		return right ? make_compare(parser, op, left, right) : NULL;
	}
	negated = parse_at_word(parser, WORD_NOT);
	if (negated)
		parser->token++;
	token = parser->token;
	switch (token->keyword)
	{
		case WORD_IN:
			parser->token++;
			return parse_in(parser, left, negated, token);
		case WORD_BETWEEN:
			parser->token++;
			return parse_between(parser, left, negated, token);
		case WORD_LIKE:
		case WORD_ILIKE:
			parser->token++;
			return parse_like(parser, left, negated, token->keyword == WORD_ILIKE);
		case WORD_CONTAINS:
			parser->token++;
			return parse_contains(parser, left, negated);
		case WORD_IS:
			if (negated)
				break;
			parser->token++;
			return parse_is(parser, left);
		default:
			if (parse_at_window(parser))
			{
				parser->token++;
				window = parse_window(parser, token);
				return window ? make_in_window(parser, left, negated, window) : NULL;
			}
			break;
	}
	if (!negated)
		return left;
	parse_unexpected(parser, "\"in\", \"between\", \"like\", \"contains\" or a window after \"not\"",
					 token->keyword == WORD_IS ? "Write \"is not known\"." :
					 token->keyword == WORD_KNOWN ? "Write \"is not known\"." :
					 token->keyword == WORD_LAST || token->keyword == WORD_NEXT ?
					 psprintf("Write \"not in %s 3 days\".", token->name) :
					 "\"not\" stands before the whole condition: not x = 1.");
	return NULL;
}

/*
 * parse.c
 *		Reads a predicate: its entry, the junctions and sums of the grammar, and the errors of its syntax.
 *
 * Recursive descent with one token of look-ahead and no backtracking. Relations are in parse_relation.c, atoms in
 * parse_atom.c, windows and intervals in parse_window.c; parse_kind.c builds the nodes. People who are no programmers
 * write predicates, so an error says what was expected, where, and, for the slips that are likely, what to write.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "predicate/parse.h"

#define WINDOWS_HINT \
	"Windows are written \"in last 3 days\", \"before 3 days ago\", \"between 3 days and 5 days ago\"."

int
parse_errposition(const Parser *parser, const Token *token)
{
	return predicate_errposition(parser->text, parser->length, token->location, token->length);
}

int
parse_errhint(const char *hint)
{
	return hint ? errhint("%s", hint) : 0;
}

/* The token that begins at a location. */
const Token *
parse_token_at(const Parser *parser, int location)
{
	int			low = 0;
	int			high = parser->ntokens - 1;

	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (parser->tokens[middle].location < location)
			low = middle + 1;
		else
			high = middle;
	}
	return &parser->tokens[low];
}

/* A nesting begins at a token. Printing and reading back nests no deeper than what was read. */
bool
parse_enter(Parser *parser, const Token *opening, int levels)
{
	check_stack_depth();
	parser->depth += levels;
	if (parser->depth > PREDICATE_MAX_DEPTH)
		PARSE_ERROR(parser, opening, false,
					errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
					errmsg("predicate is nested too deeply"),
					errhint("The limit is %d levels of parentheses, brackets, \"not\" and minus signs.",
							PREDICATE_MAX_DEPTH));
	return true;
}

void
parse_leave(Parser *parser, int levels)
{
	parser->depth -= levels;
}

bool
parse_is_aggregate(Keyword keyword)
{
	switch (keyword)
	{
		case WORD_COUNT:
		case WORD_SUM:
		case WORD_AVG:
		case WORD_MIN:
		case WORD_MAX:
		case WORD_FIRST:
		case WORD_LAST:
		case WORD_DISTINCT:
		case WORD_MOST:
		case WORD_MODE:
			return true;
		default:
			return false;
	}
}

static bool
token_is_comparison(const Token *token)
{
	return token->symbol == '=' || token->symbol == '<' || token->symbol == '>' ||
		(token->symbol >= SYMBOL_NE && token->symbol <= SYMBOL_GE);
}

/* What may have been meant by a token that fits nowhere. */
static const char *
guess_hint(const Parser *parser)
{
	static const char *const words[] = {
		"and", "or", "not", "in", "between", "like", "ilike", "contains", "is", "since", "before", "today",
		"yesterday", "tomorrow", "this", "previous"
	};
	const Token *token = parser->token;
	const Token *last = token > parser->tokens ? token - 1 : NULL;

	if (last != NULL && last->type == TOKEN_NAME && token->type == TOKEN_STRING)
	{
		if (strcmp(last->name, "interval") == 0)
			return "Intervals are written without quotes: 3 days.";
		if (strcmp(last->name, "date") == 0 || strncmp(last->name, "timestamp", 9) == 0)
			return "A text such as '2026-01-31' is a date by itself.";
	}
	if (token->type == TOKEN_NUMBER && token[1].unit >= 0)
		return WINDOWS_HINT;
	if (token->symbol == '.')
		return "Properties of events are tested in brackets, has order[amount > 100], or taken by an aggregate, "
			"last(order.amount).";
	if (last != NULL && last->type == TOKEN_NAME && !last->quoted && token->type == TOKEN_NAME)
	{
		if (last->keyword == WORD_FOLLOWED || last->keyword == WORD_PRECEDED)
			return psprintf("Write \"%s by\".", last->name);
		if (parse_is_aggregate(last->keyword))
			return psprintf("Functions take parentheses: %s(%s).", last->name, token->name);
	}
	if (token->symbol == '[')
		return last != NULL && last->symbol == ']' ?
			"Conditions of one event are joined with \"and\" inside its brackets." :
			"A filter follows the kind of an event: has order[amount > 100].";
	if (token->symbol == '(')
		return last != NULL && last->quoted ? "The name of a function is written without quotes." :
			"Conditions are joined with \"and\" or \"or\".";
	if (token->symbol == ']' || token->symbol == ')')
		return psprintf("There is no open %s for it.", token->symbol == ']' ? "bracket" : "parenthesis");
	if (token->symbol == ',')
		return "Conditions are joined with \"and\" or \"or\"; a number is written without commas.";
	if (token_is_comparison(token))
		return "Comparisons do not chain: write a < b and b < c.";
	if (token->type == TOKEN_NAME && !token->quoted)
	{
		const char *nearest = NULL;

		switch (token->keyword)
		{
			case WORD_LAST:
			case WORD_NEXT:
				if (token[1].symbol == '(')
					break;
				return psprintf("Write \"in %s 3 days\".", token->name);
			case WORD_WITHIN:
				return "\"within\" goes with \"followed by\" and \"preceded by\" only; write \"in last 3 days\".";
			case WORD_AGO:
				return "\"ago\" goes with \"before\" and \"between\" only: before 3 days ago, between 3 days and 5 days ago.";
			case WORD_SINCE:
			case WORD_BEFORE:
			case WORD_TODAY:
			case WORD_YESTERDAY:
			case WORD_TOMORROW:
			case WORD_THIS:
			case WORD_PREVIOUS:
			case WORD_IN:
			case WORD_BETWEEN:
				return "A window follows a moment; that of an aggregate stands inside: count(order in last 3 days) > 2.";
			default:
				break;
		}
		if (strcmp(token->name, "where") == 0)
			return "Events are filtered in brackets: has order[amount > 100].";
		if (strcmp(token->name, "null") == 0)
			return "Write \"is known\" or \"is not known\".";
		if (token->keyword == WORD_NONE)
			nearest = predicate_nearest_word(token->name, words, lengthof(words));
		if (nearest != NULL)
			return psprintf("Perhaps you meant \"%s\".", nearest);
		if (last != NULL && last->type == TOKEN_NUMBER && token->keyword == WORD_NONE &&
			!token_is_comparison(token + 1) && token[1].symbol != '.' && token[1].symbol != '(')
			return "A number takes no unit but those of time; events are counted by count(order) > 3.";
		if (last != NULL && last > parser->tokens && last->type == TOKEN_NAME &&
			(last[-1].keyword == WORD_HAS || last[-1].keyword == WORD_NO) && !predicate_word_is_reserved(token->keyword))
			return psprintf("Conditions are joined with \"and\" or \"or\"; those of the event stand in brackets: "
							"%s %s[%s ...].", last[-1].name, last->name, token->name);
	}
	return "Conditions are joined with \"and\" or \"or\".";
}

/* Reports that the token looked at does not fit. Without a hint one is guessed; an empty one is none. */
bool
parse_unexpected(Parser *parser, const char *expected, const char *hint)
{
	if (hint == NULL && parser->token->type != TOKEN_END)
		hint = guess_hint(parser);
	else if (hint != NULL && *hint == '\0')
		hint = NULL;
	PARSE_ERROR(parser, parser->token, false,
				errcode(ERRCODE_SYNTAX_ERROR),
				errmsg("expected %s", expected),
				parse_errhint(hint));
}

bool
parse_symbol(Parser *parser, int symbol, const char *hint)
{
	if (!parse_at_symbol(parser, symbol))
		return parse_unexpected(parser, psprintf("\"%c\"", symbol), hint);
	parser->token++;
	return true;
}

bool
parse_word(Parser *parser, Keyword keyword, const char *expected, const char *hint)
{
	if (!parse_at_word(parser, keyword))
		return parse_unexpected(parser, expected, hint);
	parser->token++;
	return true;
}

const char *
parse_name(Parser *parser, const char *expected)
{
	Token	   *token = parser->token;

	if (token->type != TOKEN_NAME || predicate_word_is_reserved(token->keyword))
	{
		const char *hint = "A name has letters, digits and underscores; with other characters it stands in double quotes.";

		if (token->type == TOKEN_NAME)
			hint = psprintf("\"%s\" is a reserved word; as a name it is written in double quotes.", token->name);
		else if (token->type == TOKEN_STRING)
			hint = "Names are written without quotes, or in double quotes.";
		parse_unexpected(parser, expected, hint);
		return NULL;
	}
	parser->token++;
	return token->name;
}

bool
parse_literal(Parser *parser, Value *value)
{
	Token	   *token = parser->token;

	if (token->type == TOKEN_STRING || token->type == TOKEN_NUMBER)
		*value = token->value;
	else if (token->keyword == WORD_TRUE || token->keyword == WORD_FALSE)
		*value = value_boolean(token->keyword == WORD_TRUE);
	else if (token->symbol == '-' && token[1].type == TOKEN_NUMBER)
	{
		*value = value_number(decimal_negate(value_decimal(token[1].value)));
		parser->token++;
	}
	else
	{
		const char *hint = "It is written 'Moscow', 5, -1.5, true or false.";

		if (token->type == TOKEN_NAME)
			hint = strcmp(token->name, "null") == 0 ? "Write \"is known\" or \"is not known\"." :
				"Text is written in single quotes: 'Moscow'.";
		else if (token->symbol == ')')
			hint = token[-1].symbol == ',' ? "There is no comma after the last member of a list." :
				"A list has at least one member.";
		return parse_unexpected(parser, "a text, a number, true or false", hint);
	}
	parser->token++;
	return true;
}

static void
append_arg(AstNode *node, AstNode *arg)
{
	/* grows at the powers of two */
	if (node->nargs == 0)
		node->args = palloc(sizeof(AstNode *));
	else if ((node->nargs & (node->nargs - 1)) == 0)
		node->args = repalloc(node->args, sizeof(AstNode *) * node->nargs * 2);
	node->args[node->nargs++] = arg;
}

static AstNode *
parse_not(Parser *parser)
{
	Token	   *token = parser->token;
	AstNode    *arg;

	if (!parse_at_word(parser, WORD_NOT))
		return parse_relation(parser);
	parser->token++;
	if (parse_at_word(parser, WORD_NOT))
	{
		parse_unexpected(parser, "a condition after \"not\"", "A double negation needs parentheses: not (not x = 1).");
		return NULL;
	}
	if (!parse_enter(parser, token, 1))
		return NULL;
	arg = parse_relation(parser);
	if (arg == NULL || !require_truth(parser, arg))
		return NULL;
	parse_leave(parser, 1);
	return make_not(parser, arg, token->location);
}

/* A chain of "or", or of "and"; chains within a chain of the same kind are laid open. */
static AstNode *
parse_junction(Parser *parser, AstTag tag)
{
	Keyword		word = tag == AST_OR ? WORD_OR : WORD_AND;
	AstNode    *junction = NULL;

	for (;;)
	{
		AstNode    *arg = tag == AST_OR ? parse_junction(parser, AST_AND) : parse_not(parser);
		int			i;

		if (arg == NULL)
			return NULL;
		if (junction == NULL && !parse_at_word(parser, word))
			return arg;
		if (!require_truth(parser, arg))
			return NULL;
		if (junction == NULL)
		{
			junction = make_node(parser, tag, KIND_TRUTH, arg->location);
			if (junction == NULL)
				return NULL;
		}
		if (arg->tag == tag)
		{
			for (i = 0; i < arg->nargs; i++)
				append_arg(junction, arg->args[i]);
		}
		else
			append_arg(junction, arg);
		if (!parse_at_word(parser, word))
			return junction;
		parser->token++;
	}
}

AstNode *
parse_expression(Parser *parser)
{
	return parse_junction(parser, AST_OR);
}

/*
 * A minus right before a number belongs to the number. A negation of anything that begins with a minus itself prints
 * with parentheses, and counts for them.
 */
static AstNode *
parse_unary(Parser *parser)
{
	Token	   *token = parser->token;
	AstNode    *arg;
	int			levels;

	if (!parse_at_symbol(parser, '-') || token[1].type == TOKEN_NUMBER)
		return parse_atom(parser);
	parser->token++;
	levels = parse_at_symbol(parser, '-') ? 2 : 1;
	if (!parse_enter(parser, token, levels))
		return NULL;
	arg = parse_atom(parser);
	if (arg == NULL)
		return NULL;
	parse_leave(parser, levels);
	return make_negate(parser, arg, token->location);
}

static AstNode *
parse_product(Parser *parser)
{
	AstNode    *left = parse_unary(parser);

	while (left != NULL && (parse_at_symbol(parser, '*') || parse_at_symbol(parser, '/')))
	{
		Token	   *token = parser->token++;
		AstNode    *right = parse_unary(parser);

		if (right == NULL)
			return NULL;
		left = make_arithmetic(parser, token->symbol, left, right, token);
	}
	return left;
}

AstNode *
parse_sum(Parser *parser)
{
	AstNode    *left = parse_product(parser);

	while (left != NULL && (parse_at_symbol(parser, '+') || parse_at_symbol(parser, '-')))
	{
		Token	   *token = parser->token++;
		AstNode    *right = parse_product(parser);

		if (right == NULL)
			return NULL;
		left = make_arithmetic(parser, token->symbol, left, right, token);
	}
	return left;
}

AstNode *
predicate_parse(const char *text, int length, Node *escontext)
{
	Parser		parser = {0};
	AstNode    *root;

	if (length > PREDICATE_MAX_TEXT)
		crm_ereturn(escontext, NULL,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("predicate is longer than %d bytes", PREDICATE_MAX_TEXT),
					 errdetail("It has %d bytes.", length),
					 errhint("Keep long lists in a segment, and name it with \"in segment\".")));
	parser.text = text;
	parser.length = length;
	parser.escontext = escontext;
	parser.tokens = predicate_lex(text, length, escontext);
	if (parser.tokens == NULL)
		return NULL;
	parser.token = parser.tokens;
	while (parser.tokens[parser.ntokens++].type != TOKEN_END)
		;

	if (parser.token->type == TOKEN_END)
		crm_ereturn(escontext, NULL,
					(errcode(ERRCODE_SYNTAX_ERROR),
					 errmsg("predicate is empty"),
					 predicate_errposition(text, length, length, 0),
					 errhint("Write true for all customers.")));
	root = parse_expression(&parser);
	if (root == NULL)
		return NULL;
	if (parser.token->type != TOKEN_END)
	{
		parse_unexpected(&parser, "the end of the predicate", NULL);
		return NULL;
	}
	if (!require_truth(&parser, root))
		return NULL;
	return root;
}

/*
 * parse.h
 *		What the files of the parser share.
 *
 * Every function that returns a pointer returns NULL, and every one that returns bool false, after an error that went
 * into the soft error context; its caller then returns at once.
 */
#ifndef CRM_PARSE_H
#define CRM_PARSE_H

#include "postgres.h"

#include "predicate/ast.h"
#include "predicate/lex.h"

typedef struct Parser
{
	const char *text;
	int			length;
	Node	   *escontext;
	Token	   *tokens;
	int			ntokens;
	Token	   *token;			/* the one looked at */
	int			depth;			/* towards PREDICATE_MAX_DEPTH */
	int			nnodes;
	int			brackets;		/* open ones */
	bool		in_followed;	/* the innermost bracket belongs to followed by or preceded by */
} Parser;

/* Reports an error at a token: PARSE_ERROR(parser, token, result, errcode(...), errmsg(...), errhint(...)). */
#define PARSE_ERROR(parser, at, result, ...) \
	crm_ereturn((parser)->escontext, result, (__VA_ARGS__, parse_errposition(parser, at)))

/* parse.c */
extern int	parse_errposition(const Parser *parser, const Token *token);
extern int	parse_errhint(const char *hint); /* none if NULL */
extern bool parse_is_aggregate(Keyword keyword);
extern const Token *parse_token_at(const Parser *parser, int location);
extern bool parse_enter(Parser *parser, const Token *opening, int levels);
extern void parse_leave(Parser *parser, int levels);
extern bool parse_unexpected(Parser *parser, const char *expected, const char *hint);
extern bool parse_symbol(Parser *parser, int symbol, const char *hint);
extern bool parse_word(Parser *parser, Keyword keyword, const char *expected, const char *hint);
extern const char *parse_name(Parser *parser, const char *expected);
extern bool parse_literal(Parser *parser, Value *value);
extern AstNode *parse_expression(Parser *parser);
extern AstNode *parse_sum(Parser *parser);

static inline bool
parse_at_symbol(const Parser *parser, int symbol)
{
	return parser->token->symbol == symbol;
}

static inline bool
parse_at_word(const Parser *parser, Keyword keyword)
{
	return parser->token->keyword == keyword;
}

/* parse_relation.c */
extern AstNode *parse_relation(Parser *parser);

/* parse_atom.c */
extern AstNode *parse_atom(Parser *parser);

/* parse_window.c */
extern bool parse_at_window(const Parser *parser);
extern AstWindow *parse_window(Parser *parser, const Token *first);
extern AstWindow *parse_window_between(Parser *parser, const Token *first, AstWindow *window);
extern AstSpan *parse_span(Parser *parser, const char *after);
extern bool parse_moment(const Value *text, AstMoment *moment);

/* parse_kind.c: they build the node and check that the kinds of its parts fit */
extern AstNode *make_node(Parser *parser, AstTag tag, AstKind kind, int location);
extern AstNode *make_literal(Parser *parser, Value value, int location);
extern void set_args(AstNode *node, int nargs, AstNode *first, AstNode *second, AstNode *third);
extern bool require_truth(Parser *parser, const AstNode *node);
extern AstNode *make_not(Parser *parser, AstNode *arg, int location);
extern AstNode *make_compare(Parser *parser, CompareOp op, AstNode *left, AstNode *right);
extern AstNode *make_in_list(Parser *parser, AstNode *left, bool negated, Value *literals, int nliterals);
extern AstNode *make_between(Parser *parser, AstNode *left, bool negated, AstNode *low, AstNode *high);
extern AstNode *make_text_test(Parser *parser, AstTag tag, int op, AstNode *left, bool negated,
							   Value *literals, int nliterals);
extern AstNode *make_known(Parser *parser, AstNode *left, bool negated);
extern AstNode *make_in_window(Parser *parser, AstNode *left, bool negated, AstWindow *window);
extern AstNode *make_arithmetic(Parser *parser, int op, AstNode *left, AstNode *right, const Token *token);
extern AstNode *make_negate(Parser *parser, AstNode *arg, int location);
extern AstNode *make_anniversary(Parser *parser, AstNode *arg, int location);
extern const char *node_brief(const AstNode *node, const char *otherwise);

#endif							/* CRM_PARSE_H */

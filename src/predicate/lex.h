/*
 * lex.h
 *		The words of the predicate language.
 *
 * A text is cut into tokens at once, before it is parsed: an error of a word is then found in one place, and stepping
 * to the next token cannot fail.
 */
#ifndef CRM_LEX_H
#define CRM_LEX_H

#include "postgres.h"

#include "base/value.h"
#include "compat.h"

/*
 * The keywords in alphabetical order, and whether they are reserved; the units of intervals are keywords too and come
 * from calendar_unit_names. Words that are not reserved mean something in their place only.
 */
#define PREDICATE_KEYWORDS(K) \
	K(AGO, "ago", false) \
	K(ALL, "all", false) \
	K(AND, "and", true) \
	K(ANNIVERSARY, "anniversary", false) \
	K(ANY, "any", false) \
	K(AVG, "avg", false) \
	K(BEFORE, "before", false) \
	K(BETWEEN, "between", true) \
	K(BUCKET, "bucket", false) \
	K(BY, "by", false) \
	K(CONTAINS, "contains", true) \
	K(COUNT, "count", false) \
	K(CUSTOMER, "customer", false) \
	K(DISTINCT, "distinct", false) \
	K(ENTRY, "entry", false) \
	K(FALSE, "false", true) \
	K(FIRST, "first", false) \
	K(FOLLOWED, "followed", false) \
	K(HAS, "has", true) \
	K(ILIKE, "ilike", true) \
	K(IN, "in", true) \
	K(IS, "is", true) \
	K(KNOWN, "known", false) \
	K(LAST, "last", false) \
	K(LIKE, "like", true) \
	K(MAX, "max", false) \
	K(MIN, "min", false) \
	K(MODE, "mode", false) \
	K(MOST, "most", false) \
	K(NEXT, "next", false) \
	K(NO, "no", true) \
	K(NOT, "not", true) \
	K(OR, "or", true) \
	K(PRECEDED, "preceded", false) \
	K(PREVIOUS, "previous", false) \
	K(SAME, "same", false) \
	K(SEGMENT, "segment", false) \
	K(SINCE, "since", false) \
	K(SUM, "sum", false) \
	K(THIS, "this", false) \
	K(TODAY, "today", false) \
	K(TOMORROW, "tomorrow", false) \
	K(TRUE, "true", true) \
	K(WITHIN, "within", false) \
	K(YESTERDAY, "yesterday", false)

typedef enum Keyword
{
#define K(symbol, name, reserved) WORD_##symbol,
	PREDICATE_KEYWORDS(K)
#undef K
	WORD_NONE					/* a name, and nothing else; or a unit */
} Keyword;

typedef enum TokenType
{
	TOKEN_END,
	TOKEN_NAME,
	TOKEN_NUMBER,
	TOKEN_STRING,
	TOKEN_SYMBOL
} TokenType;

/* Symbols of one character are that character. */
#define SYMBOL_NE 256			/* <> and != */
#define SYMBOL_LE 257
#define SYMBOL_GE 258

typedef struct Token
{
	TokenType	type;
	Keyword		keyword;		/* of an unquoted name, else WORD_NONE */
	int			unit;			/* CalendarUnit of an unquoted name, else -1 */
	bool		plural;			/* of a unit */
	bool		quoted;			/* a name in double quotes */
	int			symbol;			/* of a symbol, else 0 */
	int			location;		/* byte offset and length in the text */
	int			length;
	const char *name;			/* of a name: folded, terminated */
	Value		value;			/* of a number (stripped, never negative) or a string */
} Token;

/* All tokens of a text, the last one TOKEN_END. NULL after a soft error. */
extern Token *predicate_lex(const char *text, int length, Node *escontext);

/* Whether the word is reserved, and whether it must be quoted when printed as a name. */
extern bool predicate_word_is_reserved(Keyword keyword);
extern bool predicate_name_needs_quotes(const char *name);

/* The word among several that is most like this one, or NULL if none is near. */
extern const char *predicate_nearest_word(const char *word, const char *const *words, int nwords);
extern const char *predicate_nearest_unit(const char *word);

/* The DETAIL of an error: where it is (counted in characters from 1), and the text that stands there. */
extern int	predicate_errposition(const char *text, int length, int location, int token_length);

#endif							/* CRM_LEX_H */

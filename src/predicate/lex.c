/*
 * lex.c
 *		Cuts the text of a predicate into tokens.
 *
 * Text comes in the server's encoding, in which every byte of a character beyond ASCII has its high bit set; so bytes
 * can be looked at one by one, and names beyond ASCII are passed through as PostgreSQL does. People write predicates in
 * letters and word processors: typographic quotes, dashes and spaces are therefore recognised and told of, instead of
 * becoming parts of names.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/varlena.h"

#include "base/calendar.h"
#include "predicate/ast.h"
#include "predicate/lex.h"

#define MAX_DIGITS 1000			/* of one number */
#define NEAR_TEXT 40			/* bytes of a token that a message repeats */

typedef struct KeywordEntry
{
	const char *name;
	bool		reserved;
} KeywordEntry;

static const KeywordEntry keywords[] = {
#define K(symbol, name, reserved) {name, reserved},
	PREDICATE_KEYWORDS(K)
#undef K
};

typedef struct Lexer
{
	const char *text;
	int			length;
	Node	   *escontext;
	Token	   *tokens;
	int			ntokens;
	int			capacity;
} Lexer;

#define LEX_ERROR(lexer, at, size, ...) \
	crm_ereturn((lexer)->escontext, -1, \
				(__VA_ARGS__, predicate_errposition((lexer)->text, (lexer)->length, (at), (size))))

/* A character that looks like one of the language's and is another. */
typedef struct Lookalike
{
	const char *bytes;			/* UTF-8 */
	const char *meant;
} Lookalike;

static const Lookalike lookalikes[] = {
	{"\xE2\x80\x98", "'"}, {"\xE2\x80\x99", "'"}, {"\xE2\x80\x9A", "'"}, {"\xE2\x80\x9B", "'"},
	{"\xE2\x80\x9C", "'"}, {"\xE2\x80\x9D", "'"}, {"\xE2\x80\x9E", "'"}, {"\xE2\x80\x9F", "'"},
	{"\xC2\xAB", "'"}, {"\xC2\xBB", "'"}, {"\xC2\xB4", "'"},
	{"\xE2\x80\x90", "-"}, {"\xE2\x80\x91", "-"}, {"\xE2\x80\x92", "-"}, {"\xE2\x80\x93", "-"},
	{"\xE2\x80\x94", "-"}, {"\xE2\x80\x95", "-"}, {"\xE2\x88\x92", "-"},
	{"\xC2\xA0", " "}, {"\xE2\x80\xAF", " "}, {"\xE2\x80\x89", " "}, {"\xE2\x80\x8B", " "}, {"\xEF\xBB\xBF", " "},
	{"\xE2\x89\xA4", "<="}, {"\xE2\x89\xA5", ">="}, {"\xE2\x89\xA0", "<>"}, {"\xC3\x97", "*"},
};

static const Lookalike *
lookalike_at(const char *s, int left)
{
	int			i;

	if (!IS_HIGHBIT_SET(*s) || GetDatabaseEncoding() != PG_UTF8)
		return NULL;
	for (i = 0; i < (int) lengthof(lookalikes); i++)
	{
		int			size = (int) strlen(lookalikes[i].bytes);

		if (size <= left && memcmp(s, lookalikes[i].bytes, size) == 0)
			return &lookalikes[i];
	}
	return NULL;
}

static inline bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static inline bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || IS_HIGHBIT_SET(c);
}

static inline bool
is_name_part(char c)
{
	return is_name_start(c) || is_digit(c) || c == '$';
}

static Keyword
find_keyword(const char *word)
{
	int			low = 0;
	int			high = (int) lengthof(keywords) - 1;

	while (low <= high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(word, keywords[middle].name);

		if (order == 0)
			return (Keyword) middle;
		if (order < 0)
			high = middle - 1;
		else
			low = middle + 1;
	}
	return WORD_NONE;
}

static int
find_unit(const char *word, bool *plural)
{
	int			unit;

	for (unit = 0; unit < CALENDAR_UNITS; unit++)
	{
		size_t		size = strlen(calendar_unit_names[unit]);

		if (strncmp(word, calendar_unit_names[unit], size) == 0 &&
			(word[size] == '\0' || (word[size] == 's' && word[size + 1] == '\0')))
		{
			*plural = word[size] != '\0';
			return unit;
		}
	}
	*plural = false;
	return -1;
}

bool
predicate_word_is_reserved(Keyword keyword)
{
	return keyword != WORD_NONE && keywords[keyword].reserved;
}

bool
predicate_name_needs_quotes(const char *name)
{
	const char *s;
	const char *end = name + strlen(name);
	bool		plural;

	if (!is_name_start(*name))
		return true;
	for (s = name; s < end; s++)
	{
		if (!is_name_part(*s) || (*s >= 'A' && *s <= 'Z') || lookalike_at(s, (int) (end - s)) != NULL)
			return true;
	}
	return find_keyword(name) != WORD_NONE || find_unit(name, &plural) >= 0;
}

/* Whether two words differ by two neighbours that have changed places. */
static bool
is_swapped(const char *a, const char *b)
{
	while (*a && *a == *b)
	{
		a++;
		b++;
	}
	return *a && *b && a[0] == b[1] && a[1] == b[0] && strcmp(a + 2, b + 2) == 0;
}

const char *
predicate_nearest_word(const char *word, const char *const *words, int nwords)
{
	const char *nearest = NULL;
	int			size = (int) strlen(word);
	int			limit;
	int			i;

	if (size > 63)
		return NULL;
	limit = size <= 3 ? 1 : 2;
	for (i = 0; i < nwords; i++)
	{
		int			distance = is_swapped(word, words[i]) ? 1 :
			varstr_levenshtein_less_equal(word, size, words[i], (int) strlen(words[i]), 1, 1, 1, limit, true);

		if (distance <= limit)
		{
			nearest = words[i];
			limit = distance - 1;
			if (limit < 0)
				break;
		}
	}
	return nearest;
}

const char *
predicate_nearest_unit(const char *word)
{
	static const char *const usual[][2] = {
		{"s", "seconds"}, {"sec", "seconds"}, {"secs", "seconds"},
		{"min", "minutes"}, {"mins", "minutes"},
		{"h", "hours"}, {"hr", "hours"}, {"hrs", "hours"},
		{"d", "days"}, {"w", "weeks"}, {"wk", "weeks"}, {"wks", "weeks"},
		{"m", "months"}, {"mon", "months"}, {"mons", "months"}, {"mth", "months"},
		{"q", "quarters"}, {"y", "years"}, {"yr", "years"}, {"yrs", "years"},
	};
	const char *candidates[CALENDAR_UNITS * 2];
	int			i;

	for (i = 0; i < (int) lengthof(usual); i++)
	{
		if (strcmp(word, usual[i][0]) == 0)
			return usual[i][1];
	}
	for (i = 0; i < CALENDAR_UNITS; i++)
	{
		candidates[2 * i] = psprintf("%ss", calendar_unit_names[i]);
		candidates[2 * i + 1] = calendar_unit_names[i];
	}
	return predicate_nearest_word(word, candidates, CALENDAR_UNITS * 2);
}

int
predicate_errposition(const char *text, int length, int location, int token_length)
{
	int			position = pg_mbstrlen_with_len(text, Min(location, length)) + 1;

	if (location >= length || token_length <= 0)
		return errdetail("At position %d, at the end of the predicate.", position);
	if (token_length > NEAR_TEXT)
		token_length = pg_mbcliplen(text + location, token_length, NEAR_TEXT);
	return errdetail("At position %d, near \"%.*s\".", position, token_length, text + location);
}

static Token *
add_token(Lexer *lexer, TokenType type, int location, int length)
{
	Token	   *token;

	if (lexer->ntokens == lexer->capacity)
	{
		lexer->capacity *= 2;
		lexer->tokens = repalloc(lexer->tokens, sizeof(Token) * lexer->capacity);
	}
	token = &lexer->tokens[lexer->ntokens++];
	memset(token, 0, sizeof(Token));
	token->type = type;
	token->keyword = WORD_NONE;
	token->unit = -1;
	token->location = location;
	token->length = length;
	return token;
}

/* The functions below read one token at a position and return the position after it, or -1 after a soft error. */

static int
lex_word(Lexer *lexer, int at)
{
	const char *text = lexer->text;
	int			end = at;
	char	   *name;
	Token	   *token;
	int			i;

	while (end < lexer->length && is_name_part(text[end]) &&
		   lookalike_at(text + end, lexer->length - end) == NULL)
		end++;
	if (end - at > PREDICATE_MAX_NAME)
		LEX_ERROR(lexer, at, end - at,
				  errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				  errmsg("name is longer than %d bytes", PREDICATE_MAX_NAME),
				  errhint("No feed has such a name; text is written in single quotes."));

	name = pnstrdup(text + at, end - at);
	for (i = 0; i < end - at; i++)
	{
		if (name[i] >= 'A' && name[i] <= 'Z')
			name[i] += 'a' - 'A';
	}
	token = add_token(lexer, TOKEN_NAME, at, end - at);
	token->name = name;
	token->keyword = find_keyword(name);
	token->unit = find_unit(name, &token->plural);
	return end;
}

/* What stands between two quotes, doubled ones made single; *end is the position after the closing quote. */
static char *
lex_quoted(Lexer *lexer, int at, int *size, int *end)
{
	const char *text = lexer->text;
	char		quote = text[at];
	char	   *result;
	int			close = at + 1;
	int			i;

	for (;;)
	{
		if (close >= lexer->length)
			return NULL;
		if (text[close] == quote)
		{
			if (close + 1 >= lexer->length || text[close + 1] != quote)
				break;
			close++;
		}
		close++;
	}

	result = palloc(close - at);
	*size = 0;
	for (i = at + 1; i < close; i++)
	{
		if (text[i] == quote)
			i++;
		result[(*size)++] = text[i];
	}
	result[*size] = '\0';
	*end = close + 1;
	return result;
}

static int
lex_quoted_name(Lexer *lexer, int at)
{
	int			size;
	int			end;
	char	   *name = lex_quoted(lexer, at, &size, &end);
	Token	   *token;

	if (name == NULL)
		LEX_ERROR(lexer, at, lexer->length - at,
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("quoted name is not closed"),
				  errhint("A double quote ends it; one inside the name is doubled."));
	if (size == 0)
		LEX_ERROR(lexer, at, 2,
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("quoted name is empty"),
				  errhint("Text is written in single quotes: ''."));
	if (size > PREDICATE_MAX_NAME)
		LEX_ERROR(lexer, at, end - at,
				  errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				  errmsg("name is longer than %d bytes", PREDICATE_MAX_NAME),
				  errhint("Double quotes are for names; text is written in single quotes."));
	token = add_token(lexer, TOKEN_NAME, at, end - at);
	token->name = name;
	token->quoted = true;
	return end;
}

static int
lex_string(Lexer *lexer, int at)
{
	int			size;
	int			end;
	char	   *string = lex_quoted(lexer, at, &size, &end);
	Token	   *token;

	if (string == NULL)
		LEX_ERROR(lexer, at, lexer->length - at,
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("text is not closed"),
				  errhint("A single quote ends it; one inside the text is doubled: 'O''Hara'."));
	token = add_token(lexer, TOKEN_STRING, at, end - at);
	token->value = value_text(string, (uint32) size);
	return end;
}

static int
lex_number(Lexer *lexer, int at)
{
	const char *text = lexer->text;
	char	   *digits;
	int			ndigits = 0;
	int			end;
	bool		point = false;
	Decimal		number;
	Token	   *token;

	for (end = at; end < lexer->length && (is_digit(text[end]) || (text[end] == '.' && !point)); end++)
		point = point || text[end] == '.';
	if (end < lexer->length && (text[end] == '.' || is_name_part(text[end])) &&
		lookalike_at(text + end, lexer->length - end) == NULL)
	{
		int			junk = end;
		const char *unit;

		while (junk < lexer->length && (text[junk] == '.' || is_name_part(text[junk])))
			junk++;
		unit = predicate_nearest_unit(pnstrdup(text + end, junk - end));
		LEX_ERROR(lexer, at, junk - at,
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("malformed number"),
				  unit ? errhint("Write \"%.*s %s\".", Min(end - at, NEAR_TEXT), text + at, unit) :
				  errhint("A number has digits and at most one decimal point, and a blank after it."));
	}
	if (end - at > MAX_DIGITS)
		LEX_ERROR(lexer, at, end - at,
				  errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				  errmsg("number has more than %d digits", MAX_DIGITS),
				  errhint("Write it with fewer digits, or as a text in single quotes."));

	/* as decimal_from_string() certainly takes it: digits on both sides of the point, if there is one */
	digits = palloc(end - at + 2);
	if (text[at] == '.')
		digits[ndigits++] = '0';
	memcpy(digits + ndigits, text + at, end - at);
	ndigits += end - at;
	if (digits[ndigits - 1] == '.')
		ndigits--;
	if (!decimal_from_string(digits, ndigits, &number))
		LEX_ERROR(lexer, at, end - at,
				  errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				  errmsg("number is out of range"),
				  errhint("Write it with fewer digits, or as a text in single quotes."));
	token = add_token(lexer, TOKEN_NUMBER, at, end - at);
	token->value = value_number(decimal_strip(number));
	return end;
}

static int
lex_symbol(Lexer *lexer, int at)
{
	const char *s = lexer->text + at;
	char		next = at + 1 < lexer->length ? s[1] : '\0';
	int			symbol = (unsigned char) s[0];
	int			size = 1;
	const char *cure = NULL;
	const Lookalike *lookalike = lookalike_at(s, lexer->length - at);

	if (lookalike != NULL)
		LEX_ERROR(lexer, at, (int) strlen(lookalike->bytes),
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("unexpected typographic character"),
				  lookalike->meant[0] == '\'' ? errhint("Text stands between plain single quotes: 'Moscow'.") :
				  lookalike->meant[0] == ' ' ? errhint("Write a plain space instead.") :
				  errhint("Write %s instead.", lookalike->meant));

	switch (s[0])
	{
		case '(':
		case ')':
		case '[':
		case ']':
		case ',':
		case '.':
		case '+':
		case '*':
			break;
		case '-':
			/* a comment of SQL would be read as arithmetic */
			if (next == '-')
			{
				size = 2;
				cure = "There are no comments in a predicate. A number below zero is subtracted with a blank: a - -1.";
			}
			break;
		case '/':
			if (next == '*')
			{
				size = 2;
				cure = "There are no comments in a predicate.";
			}
			break;
		case '=':
			if (next == '=' || next == '>' || next == '<')
			{
				size = 2;
				cure = next == '=' ? "Equality is written \"=\"." :
					next == '>' ? "Greater or equal is written \">=\"." : "Less or equal is written \"<=\".";
			}
			break;
		case '<':
			if (next == '=')
				symbol = SYMBOL_LE;
			else if (next == '>')
				symbol = SYMBOL_NE;
			if (symbol != '<')
				size = 2;
			break;
		case '>':
			if (next == '=')
			{
				symbol = SYMBOL_GE;
				size = 2;
			}
			break;
		case '!':
			if (next == '=')
			{
				symbol = SYMBOL_NE;
				size = 2;
			}
			else
				cure = "Negation is written \"not\".";
			break;
		case '&':
			size = next == '&' ? 2 : 1;
			cure = "Conditions are joined with \"and\".";
			break;
		case '|':
			size = next == '|' ? 2 : 1;
			cure = "Alternatives are joined with \"or\".";
			break;
		case '`':
			cure = "Text is written in single quotes, an unusual name in double quotes.";
			break;
		case '{':
		case '}':
			cure = "Events are filtered in brackets: order[amount > 100].";
			break;
		case '%':
			cure = "Percents are written as numbers: 0.05 for 5 percent.";
			break;
		case ';':
			cure = "A predicate has no end mark.";
			break;
		default:
			cure = "Texts are written in single quotes, names with unusual characters in double quotes.";
			break;
	}
	if (cure != NULL)
		LEX_ERROR(lexer, at, size,
				  errcode(ERRCODE_SYNTAX_ERROR),
				  errmsg("unexpected character \"%.*s\"", size, s),
				  errhint("%s", cure));

	add_token(lexer, TOKEN_SYMBOL, at, size)->symbol = symbol;
	return at + size;
}

Token *
predicate_lex(const char *text, int length, Node *escontext)
{
	Lexer		lexer = {0};
	int			at = 0;

	lexer.text = text;
	lexer.length = length;
	lexer.escontext = escontext;
	lexer.capacity = 32;
	lexer.tokens = palloc(sizeof(Token) * lexer.capacity);

	for (;;)
	{
		char		c;

		while (at < length && is_space(text[at]))
			at++;
		if (at >= length)
			break;
		c = text[at];
		if (is_name_start(c) && lookalike_at(text + at, length - at) == NULL)
			at = lex_word(&lexer, at);
		else if (is_digit(c) || (c == '.' && at + 1 < length && is_digit(text[at + 1])))
			at = lex_number(&lexer, at);
		else if (c == '\'')
			at = lex_string(&lexer, at);
		else if (c == '"')
			at = lex_quoted_name(&lexer, at);
		else
			at = lex_symbol(&lexer, at);
		if (at < 0)
			return NULL;
	}
	add_token(&lexer, TOKEN_END, length, 0);
	return lexer.tokens;
}

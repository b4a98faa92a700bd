/*
 * mustache_parse.c
 *		Reading a template.
 *
 * The language is that of mustache(5), without partials and lambdas. Tags are ASCII, and in every encoding of a server no byte
 * of a longer character is ASCII, so that the source is read byte by byte.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"

#include "template/mustache.h"

#define MAX_DEPTH 64
#define MAX_DELIMITER 15

typedef struct Section
{
	List	  **children;		/* where what follows goes */
	MustacheNode *node;			/* NULL at the top */
} Section;

typedef struct Parser
{
	const char *source;
	const char *end;
	const char *at;
	char		open[MAX_DELIMITER + 1];
	char		close[MAX_DELIMITER + 1];
	int			depth;
	Section		sections[MAX_DEPTH + 1];
} Parser;

static void
refuse(const Parser *parser, const char *where, const char *problem, const char *name, int length, const char *hint)
{
	int			line = 1;
	const char *start = parser->source;

	for (const char *c = parser->source; c < where; c++)
	{
		if (*c == '\n')
		{
			line++;
			start = c + 1;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg(problem, pnstrdup(name, length)),
			 errdetail("At line %d, column %d of the template.", line, pg_mbstrlen_with_len(start, (int) (where - start)) + 1),
			 errhint("%s", hint)));
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

static bool
is_space(char c)
{
	return is_blank(c) || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static void
add_node(Parser *parser, MustacheTag tag, const char *text, int length)
{
	MustacheNode *node = palloc0(sizeof(MustacheNode));
	Section    *section = &parser->sections[parser->depth];

	node->tag = tag;
	node->text = text;
	node->length = length;
	*section->children = lappend(*section->children, node);
	if (tag == MUSTACHE_SECTION || tag == MUSTACHE_INVERTED)
	{
		if (parser->depth == MAX_DEPTH)
			ereport(ERROR,
					(errcode(ERRCODE_STATEMENT_TOO_COMPLEX),
					 errmsg("sections of the template are nested too deeply"),
					 errdetail("More than %d stand within each other.", MAX_DEPTH)));
		parser->depth++;
		parser->sections[parser->depth].children = &node->children;
		parser->sections[parser->depth].node = node;
	}
}

static const char *
find(const char *from, const char *end, const char *what, int length)
{
	for (; end - from >= length; from++)
	{
		if (*from == *what && memcmp(from, what, length) == 0)
			return from;
	}
	return NULL;
}

/* {{=<% %>=}} */
static void
set_delimiters(Parser *parser, const char *tag, const char *from, const char *to)
{
	const char *middle;

	if (to == from || to[-1] != '=')
		refuse(parser, tag, "invalid change of delimiters \"%s\"", from, (int) (to - from), "Write {{=<% %>=}}.");
	to--;
	while (from < to && is_space(*from))
		from++;
	while (to > from && is_space(to[-1]))
		to--;
	for (middle = from; middle < to && !is_space(*middle); middle++)
		;
	if (middle > from && middle - from <= MAX_DELIMITER && middle < to)
	{
		const char *second = middle;

		while (second < to && is_space(*second))
			second++;
		if (to - second <= MAX_DELIMITER && find(second, to, "=", 1) == NULL && find(from, middle, "=", 1) == NULL)
		{
			bool		blank = false;

			for (const char *c = second; c < to; c++)
				blank |= is_space(*c);
			if (!blank)
			{
				strlcpy(parser->open, from, middle - from + 1);
				strlcpy(parser->close, second, to - second + 1);
				return;
			}
		}
	}
	refuse(parser, tag, "invalid change of delimiters \"%s\"", from, (int) (to - from), "Write {{=<% %>=}}.");
}

/* A name, dotted or a dot alone. */
static void
check_name(const Parser *parser, const char *tag, const char *name, int length)
{
	bool		part = false;
	bool		valid = length > 0;

	for (int i = 0; i < length && valid; i++)
	{
		if (is_space(name[i]) || name[i] == '{' || name[i] == '}')
			valid = false;
		else if (name[i] == '.')
		{
			valid = part || length == 1;
			part = false;
		}
		else
			part = true;
	}
	if (!valid || (!part && length != 1))
		refuse(parser, tag, "invalid name \"%s\" in the template", name, length,
			   "A name is a word, or words with points between, such as customer.name.");
}

/* The tag that begins at at->at; text is where the literal text before it begins, and tells where the next one does. */
static const char *
parse_tag(Parser *parser, const char *text)
{
	const char *tag = parser->at;
	const char *from = tag + strlen(parser->open);
	const char *to;
	const char *after;
	const char *before = tag;
	char		kind = from < parser->end ? *from : '\0';
	bool		alone = false;
	int			length;

	if (kind == '{')
	{
		char		close[MAX_DELIMITER + 2] = "}";

		strlcpy(close + 1, parser->close, sizeof(close) - 1);
		to = find(from + 1, parser->end, close, (int) strlen(close));
		after = to == NULL ? NULL : to + strlen(close);
	}
	else
	{
		to = find(from, parser->end, parser->close, (int) strlen(parser->close));
		after = to == NULL ? NULL : to + strlen(parser->close);
	}
	if (to == NULL)
		refuse(parser, tag, "a tag of the template is not closed: \"%s\"", tag, pg_mbcliplen(tag, (int) (parser->end - tag), 20),
			   "A tag ends with }}.");
	if (kind == '#' || kind == '^' || kind == '/' || kind == '!' || kind == '=')
	{
		const char *line = tag;
		const char *rest = after;

		/* alone on its line, it leaves none behind */
		while (line > parser->source && is_blank(line[-1]))
			line--;
		while (rest < parser->end && is_blank(*rest))
			rest++;
		if (rest < parser->end && *rest == '\r' && rest + 1 < parser->end && rest[1] == '\n')
			rest++;
		alone = (line == parser->source || line[-1] == '\n') && (rest == parser->end || *rest == '\n');
		if (alone)
		{
			before = line;
			after = rest < parser->end ? rest + 1 : rest;
		}
	}
	if (before > text)
		add_node(parser, MUSTACHE_TEXT, text, (int) (before - text));

	if (kind == '!')
		return after;
	if (kind == '=')
	{
		set_delimiters(parser, tag, from + 1, to);
		return after;
	}
	if (kind == '>')
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("templates do not include others"),
				 errhint("Put the text itself there.")));
	if (strchr("#^/{&", kind) != NULL && kind != '\0')
		from++;
	while (from < to && is_space(*from))
		from++;
	while (to > from && is_space(to[-1]))
		to--;
	length = (int) (to - from);
	check_name(parser, tag, from, length);
	if (kind == '/')
	{
		const Section *section = &parser->sections[parser->depth];

		if (section->node == NULL)
			refuse(parser, tag, "section \"%s\" of the template is closed and was not opened", from, length,
				   "A section begins with {{#name}} or {{^name}}.");
		if (section->node->length != length || memcmp(section->node->text, from, length) != 0)
			refuse(parser, tag, "section \"%s\" of the template is not closed", section->node->text, section->node->length,
				   "The section that was opened last is closed first.");
		parser->depth--;
		return after;
	}
	add_node(parser, kind == '#' ? MUSTACHE_SECTION : kind == '^' ? MUSTACHE_INVERTED :
			 kind == '{' || kind == '&' ? MUSTACHE_RAW : MUSTACHE_VALUE, from, length);
	return after;
}

List *
mustache_parse(const char *source, int length)
{
	Parser		parser = {.source = source, .end = source + length, .at = source, .open = "{{", .close = "}}"};
	List	   *result = NIL;
	const char *text = source;

	parser.sections[0].children = &result;
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		parser.at = find(text, parser.end, parser.open, (int) strlen(parser.open));
		if (parser.at == NULL)
			break;
		text = parse_tag(&parser, text);
	}
	if (text < parser.end)
		add_node(&parser, MUSTACHE_TEXT, text, (int) (parser.end - text));
	if (parser.depth > 0)
	{
		const Section *section = &parser.sections[parser.depth];

		refuse(&parser, section->node->text, "section \"%s\" of the template is not closed", section->node->text, section->node->length,
			   "Close it with {{/name}}.");
	}
	return result;
}

/*
 * mustache_render.c
 *		Filling a template.
 *
 * A name is looked for in what the innermost section is about, then outwards. What is not there prints nothing: a letter goes
 * out without the name rather than not at all.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#include "template/mustache.h"

#define MAX_RESULT (10 * 1024 * 1024)

typedef struct Frame
{
	const struct Frame *outer;
	const JsonbValue *value;
} Frame;

typedef struct Renderer
{
	MustacheEscape escape;
	StringInfo	result;
} Renderer;

static void
check_length(const Renderer *renderer, int length)
{
	if (renderer->result->len + length > MAX_RESULT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("the filled template is too long"),
				 errdetail("It has more than %d bytes.", MAX_RESULT)));
}

/* The member of an object; NULL if it is none, or has none. */
static JsonbValue *
member(const JsonbValue *value, const char *name, int length)
{
	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		return NULL;
	return getKeyJsonValueFromContainer(value->val.binary.data, name, length, NULL);
}

static const JsonbValue *
look_up(const Frame *frame, const char *name, int length)
{
	const char *end = name + length;
	const JsonbValue *value = NULL;
	const char *dot;

	if (length == 1 && *name == '.')
		return frame->value;
	dot = memchr(name, '.', length);
	for (; frame != NULL && value == NULL; frame = frame->outer)
		value = member(frame->value, name, (int) ((dot == NULL ? end : dot) - name));
	while (value != NULL && dot != NULL)
	{
		name = dot + 1;
		dot = memchr(name, '.', end - name);
		value = member(value, name, (int) ((dot == NULL ? end : dot) - name));
	}
	return value;
}

static void
append_html(StringInfo result, const char *text, int length)
{
	for (const char *c = text; c < text + length; c++)
	{
		switch (*c)
		{
			case '&':
				appendStringInfoString(result, "&amp;");
				break;
			case '<':
				appendStringInfoString(result, "&lt;");
				break;
			case '>':
				appendStringInfoString(result, "&gt;");
				break;
			case '"':
				appendStringInfoString(result, "&quot;");
				break;
			case '\'':
				appendStringInfoString(result, "&#39;");
				break;
			case '`':
				appendStringInfoString(result, "&#96;");
				break;
			case '=':
				appendStringInfoString(result, "&#61;");
				break;
			default:
				appendStringInfoCharMacro(result, *c);
		}
	}
}

static void
append_url(StringInfo result, const char *text, int length)
{
	for (const char *c = text; c < text + length; c++)
	{
		if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr("-._~", *c) != NULL)
			appendStringInfoCharMacro(result, *c);
		else
			appendStringInfo(result, "%%%02X", (unsigned char) *c);
	}
}

static void
append_value(const Renderer *renderer, const JsonbValue *value, MustacheEscape escape)
{
	const char *text;
	int			length;

	switch (value->type)
	{
		case jbvNull:
			return;
		case jbvString:
			text = value->val.string.val;
			length = value->val.string.len;
			break;
		case jbvNumeric:
			/* as it stands there: a price keeps its cents */
			text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
			length = (int) strlen(text);
			break;
		case jbvBool:
			text = value->val.boolean ? "true" : "false";
			length = (int) strlen(text);
			break;
		default:
			text = JsonbToCString(NULL, value->val.binary.data, value->val.binary.len);
			length = (int) strlen(text);
	}
	check_length(renderer, length);
	if (escape == ESCAPE_HTML)
		append_html(renderer->result, text, length);
	else if (escape == ESCAPE_URL)
		append_url(renderer->result, text, length);
	else
		appendBinaryStringInfo(renderer->result, text, length);
}

static bool
is_false(const JsonbValue *value)
{
	if (value == NULL)
		return true;
	switch (value->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return !value->val.boolean;
		case jbvString:
			return value->val.string.len == 0;
		case jbvBinary:
			return JsonContainerIsArray(value->val.binary.data) && JsonContainerSize(value->val.binary.data) == 0;
		default:
			return false;
	}
}

static void
render(const Renderer *renderer, const List *nodes, const Frame *frame)
{
	ListCell   *cell;

	check_stack_depth();
	foreach(cell, nodes)
	{
		const MustacheNode *node = lfirst(cell);
		const JsonbValue *value;

		CHECK_FOR_INTERRUPTS();
		if (node->tag == MUSTACHE_TEXT)
		{
			check_length(renderer, node->length);
			appendBinaryStringInfo(renderer->result, node->text, node->length);
			continue;
		}
		value = look_up(frame, node->text, node->length);
		if (node->tag == MUSTACHE_VALUE || node->tag == MUSTACHE_RAW)
		{
			if (value != NULL)
				append_value(renderer, value, node->tag == MUSTACHE_RAW ? ESCAPE_NONE : renderer->escape);
		}
		else if (node->tag == MUSTACHE_INVERTED)
		{
			if (is_false(value))
				render(renderer, node->children, frame);
		}
		else if (is_false(value))
			;
		else if (value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data))
		{
			for (uint32 i = 0; i < JsonContainerSize(value->val.binary.data); i++)
			{
				const JsonbValue *element = getIthJsonbValueFromContainer(value->val.binary.data, i);
				Frame		inner = {frame, element};

				render(renderer, node->children, &inner);
			}
		}
		else
		{
			Frame		inner = {frame, value};

			render(renderer, node->children, &inner);
		}
	}
}

void
mustache_render(const List *nodes, Jsonb *data, MustacheEscape escape, StringInfo result)
{
	Renderer	renderer = {escape, result};
	JsonbValue	root = {.type = jbvBinary};
	Frame		frame = {NULL, &root};

	root.val.binary.data = &data->root;
	root.val.binary.len = VARSIZE(data) - VARHDRSZ;
	render(&renderer, nodes, &frame);
}

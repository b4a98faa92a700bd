/*
 * template.c
 *		SQL functions of templates: crm.render_text(), crm.render_parts(), crm.template_names().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "compat.h"
#include "template/mustache.h"
#include "template/template.h"

PG_FUNCTION_INFO_V1(crm_template_render_text);
PG_FUNCTION_INFO_V1(crm_template_render_parts);
PG_FUNCTION_INFO_V1(crm_template_names);

/* crm.render_text(template, data, escape) */
Datum
crm_template_render_text(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);
	char	   *escape = text_to_cstring(PG_GETARG_TEXT_PP(2));
	MustacheEscape how;
	StringInfoData result;

	if (strcmp(escape, "none") == 0)
		how = ESCAPE_NONE;
	else if (strcmp(escape, "html") == 0)
		how = ESCAPE_HTML;
	else if (strcmp(escape, "url") == 0)
		how = ESCAPE_URL;
	else
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("unrecognized escaping \"%s\"", escape),
				 errhint("It is none, html or url.")));
	initStringInfo(&result);
	mustache_render(mustache_parse(VARDATA_ANY(source), (int) VARSIZE_ANY_EXHDR(source)), PG_GETARG_JSONB_P(1), how, &result);
	PG_RETURN_TEXT_P(cstring_to_text_with_len(result.data, result.len));
}

static bool
ends_with(const char *text, int length, const char *end)
{
	int			n = (int) strlen(end);

	return length >= n && memcmp(text + length - n, end, n) == 0;
}

/* Nothing but a body has lines: a header that had some could bring another header with it. */
static void
make_one_line(StringInfo text)
{
	for (int i = 0; i < text->len; i++)
	{
		if (text->data[i] == '\n' || text->data[i] == '\r')
			text->data[i] = ' ';
	}
}

Jsonb *
template_render(Jsonb *parts, Jsonb *data)
{
	JsonbParseState *state = NULL;
	JsonbIterator *iterator;
	JsonbValue	value;
	JsonbValue *result;
	JsonbIteratorToken token;
	JsonbValue	key = {.type = jbvNull};

	if (!JB_ROOT_IS_OBJECT(parts))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parts of a template must be an object")));
	iterator = JsonbIteratorInit(&parts->root);
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		if (token == WJB_KEY)
			key = value;
		else if (token == WJB_VALUE)
		{
			StringInfoData filled;
			JsonbValue	text = {.type = jbvString};
			bool		html = ends_with(key.val.string.val, key.val.string.len, "html");

			if (value.type != jbvString)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("part \"%s\" of a template must be a text", pnstrdup(key.val.string.val, key.val.string.len))));
			initStringInfo(&filled);
			mustache_render(mustache_parse(value.val.string.val, value.val.string.len), data, html ? ESCAPE_HTML : ESCAPE_NONE, &filled);
			if (!html && !ends_with(key.val.string.val, key.val.string.len, "text"))
				make_one_line(&filled);
			text.val.string.val = filled.data;
			text.val.string.len = filled.len;
			(void) pushJsonbValue(&state, WJB_KEY, &key);
			(void) pushJsonbValue(&state, WJB_VALUE, &text);
		}
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

/* crm.render_parts(parts, data) */
Datum
crm_template_render_parts(PG_FUNCTION_ARGS)
{
	PG_RETURN_JSONB_P(template_render(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1)));
}

static void
gather_names(const List *nodes, List **names)
{
	ListCell   *cell;

	check_stack_depth();
	foreach(cell, nodes)
	{
		const MustacheNode *node = lfirst(cell);

		if (node->tag == MUSTACHE_TEXT)
			continue;
		if (node->length != 1 || *node->text != '.')
			*names = lappend(*names, pnstrdup(node->text, node->length));
		gather_names(node->children, names);
	}
}

static int
compare_names(const ListCell *a, const ListCell *b)
{
	return strcmp(lfirst(a), lfirst(b));
}

/* crm.template_names(template) */
Datum
crm_template_names(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);
	List	   *names = NIL;
	ListCell   *cell;
	Datum	   *values;
	int			count = 0;
	const char *last = NULL;

	gather_names(mustache_parse(VARDATA_ANY(source), (int) VARSIZE_ANY_EXHDR(source)), &names);
	list_sort(names, compare_names);
	values = palloc(sizeof(Datum) * (Size) Max(list_length(names), 1));
	foreach(cell, names)
	{
		if (last == NULL || strcmp(last, lfirst(cell)) != 0)
			values[count++] = CStringGetTextDatum(lfirst(cell));
		last = lfirst(cell);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT));
}

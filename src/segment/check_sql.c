/*
 * check_sql.c
 *		What SQL asks of a predicate before it is stored: whether it is sound, and which segments it names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "feed/feed.h"
#include "predicate/lex.h"
#include "segment/check.h"

PG_FUNCTION_INFO_V1(crm_segment_check);
Datum
crm_segment_check(PG_FUNCTION_ARGS)
{
	predicate_check(predicate_tree(PG_GETARG_PREDICATE_P(0)), feed_load(), PG_GETARG_BOOL(1));
	PG_RETURN_VOID();
}

static bool
collect_segment(AstNode *node, void *context)
{
	int64		id;

	if (node->tag == AST_IN_SEGMENT && node->literals[0].type == VALUE_NUMBER &&
		node->literals[0].scale == 0)
	{
		List	  **ids = context;

		id = node->literals[0].u.integer;
		if (id >= 0 && id <= PG_INT32_MAX)
			*ids = lappend_int(*ids, (int) id);
	}
	return true;
}

PG_FUNCTION_INFO_V1(crm_segment_named);
Datum
crm_segment_named(PG_FUNCTION_ARGS)
{
	AstNode    *root = predicate_tree(PG_GETARG_PREDICATE_P(0));
	List	   *ids = NIL;
	Datum	   *elements;
	int			nelements = 0;
	ListCell   *cell;

	(void) predicate_walk(root, collect_segment, &ids);
	list_sort(ids, list_int_cmp);
	elements = palloc(sizeof(Datum) * (list_length(ids) + 1));
	foreach(cell, ids)
	{
		if (nelements == 0 || DatumGetInt32(elements[nelements - 1]) != lfirst_int(cell))
			elements[nelements++] = Int32GetDatum(lfirst_int(cell));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(elements, nelements, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(crm_segment_nearest);
Datum
crm_segment_nearest(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Datum	   *elements;
	bool	   *nulls;
	int			nelements;
	int			nnames = 0;
	const char **names;
	const char *near;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &elements, &nulls, &nelements);
	names = palloc(sizeof(char *) * (nelements + 1));
	for (int i = 0; i < nelements; i++)
	{
		if (!nulls[i])
			names[nnames++] = TextDatumGetCString(elements[i]);
	}
	near = predicate_nearest_word(name, names, nnames);
	if (near == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(near));
}

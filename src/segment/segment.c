/*
 * segment.c
 *		The stored segments, and what "in segment" stands for.
 *
 * Stored definitions hold ids, people read and write names: so a renamed segment is the same segment to those that are
 * built on it. The evaluator knows no tables; here "in segment" becomes the other segment's own tree, or the id of a
 * static one.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "predicate/lex.h"
#include "segment/segment.h"

SegmentCatalog *
segment_catalog_load(void)
{
	MemoryContext context = CurrentMemoryContext;
	SegmentCatalog *catalog = palloc0(sizeof(SegmentCatalog));
	SPITupleTable *table;

	catalog->context = context;
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (SPI_execute("SELECT segment_id, name, predicate, evaluated_at, stale, trigger_since, "
					"(extract(epoch FROM trigger_window) OPERATOR(pg_catalog.*) 1000000)::pg_catalog.int8 FROM crm.segment ORDER BY segment_id",
					true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.segment");
	table = SPI_tuptable;
	catalog->count = (int) SPI_processed;
	catalog->segments = MemoryContextAllocZero(context, sizeof(Segment) * Max(catalog->count, 1));
	for (int i = 0; i < catalog->count; i++)
	{
		Segment    *segment = &catalog->segments[i];
		HeapTuple	tuple = table->vals[i];
		MemoryContext old;
		Datum		datum;
		bool		isnull;

		segment->id = DatumGetInt32(SPI_getbinval(tuple, table->tupdesc, 1, &isnull));
		segment->root = -1;
		datum = SPI_getbinval(tuple, table->tupdesc, 4, &isnull);
		segment->evaluated = !isnull;
		if (!isnull)
			segment->evaluated_at = DatumGetTimestampTz(datum);
		segment->stale = DatumGetBool(SPI_getbinval(tuple, table->tupdesc, 5, &isnull));
		datum = SPI_getbinval(tuple, table->tupdesc, 6, &isnull);
		segment->trigger = !isnull;
		if (!isnull)
		{
			segment->trigger_since = DatumGetTimestampTz(datum);
			segment->trigger_window = DatumGetInt64(SPI_getbinval(tuple, table->tupdesc, 7, &isnull));
		}
		old = MemoryContextSwitchTo(context);
		segment->name = TextDatumGetCString(SPI_getbinval(tuple, table->tupdesc, 2, &isnull));
		datum = SPI_getbinval(tuple, table->tupdesc, 3, &isnull);
		if (!isnull)
			segment->predicate = (Predicate *) PG_DETOAST_DATUM_COPY(datum);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
	return catalog;
}

Segment *
segment_by_id(SegmentCatalog *catalog, int id)
{
	int			low = 0,
				high = catalog->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (catalog->segments[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < catalog->count && catalog->segments[low].id == id ? &catalog->segments[low] : NULL;
}

Segment *
segment_by_name(SegmentCatalog *catalog, const char *name, int length)
{
	const char **names = palloc(sizeof(char *) * Max(catalog->count, 1));
	const char *nearest;
	char	   *wanted;

	for (int i = 0; i < catalog->count; i++)
	{
		names[i] = catalog->segments[i].name;
		if ((int) strlen(catalog->segments[i].name) == length && memcmp(catalog->segments[i].name, name, length) == 0)
			return &catalog->segments[i];
	}
	wanted = pnstrdup(name, length);
	nearest = predicate_nearest_word(wanted, names, catalog->count);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("segment \"%s\" does not exist", wanted),
			 nearest == NULL ? errhint("The view crm.segments lists all segments.") :
			 errhint("Perhaps you meant \"%s\".", nearest)));
	return NULL;				/* keep compiler quiet */
}

static Segment *
segment_of_value(SegmentCatalog *catalog, const Value *value)
{
	Segment    *segment;

	if (value->type == VALUE_TEXT)
		return segment_by_name(catalog, value->u.text, (int) value->length);
	segment = segment_by_id(catalog, (int) value->u.integer);
	if (segment == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("segment %d does not exist", (int) value->u.integer),
				 errhint("Name segments by their names: in segment 'name'.")));
	return segment;
}

AstNode *
segment_resolver(const Value *value, int *static_id, void *context)
{
	SegmentCatalog *catalog = context;
	Segment    *segment = segment_of_value(catalog, value);

	*static_id = segment->id;
	if (segment->predicate == NULL)
		return NULL;
	if (segment->tree == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(catalog->context);

		segment->tree = predicate_tree(segment->predicate);
		MemoryContextSwitchTo(old);
	}
	return segment->tree;
}

static bool
to_id(AstNode *node, void *context)
{
	/* an id that somebody has typed is looked at as well: nothing that does not exist may be stored */
	if (node->tag == AST_IN_SEGMENT)
		node->literals[0] = value_number(decimal_from_int64(segment_of_value(context, &node->literals[0])->id));
	return true;
}

static bool
to_name(AstNode *node, void *context)
{
	if (node->tag == AST_IN_SEGMENT && node->literals[0].type == VALUE_NUMBER)
	{
		Segment    *segment = segment_by_id(context, (int) node->literals[0].u.integer);

		if (segment != NULL)
			node->literals[0] = value_text(segment->name, (uint32) strlen(segment->name));
	}
	return true;
}

void
segment_names_to_ids(AstNode *tree, SegmentCatalog *catalog)
{
	predicate_walk(tree, to_id, catalog);
}

void
segment_ids_to_names(AstNode *tree, SegmentCatalog *catalog)
{
	predicate_walk(tree, to_name, catalog);
}

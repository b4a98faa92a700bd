/*
 * feed_index.c
 *		Whether a feed can be looked up by customer without reading a whole table.
 *
 * The planner is asked, with everything that reads whole tables made as dear as it can be: what it then still reads
 * whole, it has no index for. Sizes and statistics have no say in it, so that an empty shop gives the same answer as a
 * full one.
 *
 * An index that is not entered by the customer, nor by what was found for him elsewhere, is no lookup: all orders of a
 * status are as good as all orders. Where the planner has chosen such a one, although another is there for the customer,
 * it did not know the table's size; then the other one counts, because it will be chosen when the table has grown.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "feed/feed_private.h"

typedef struct WholeScan
{
	Oid			relid;			/* InvalidOid while none is found */
	AttrNumber	column;			/* by which it is filtered, 0 if that is not seen */
} WholeScan;

static Oid
scanned_relation(const PlannedStmt *statement, const Scan *scan)
{
	return rt_fetch(scan->scanrelid, statement->rtable)->relid;
}

static bool
has_param(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, Param))
		return true;
	return expression_tree_walker(node, has_param, context);
}

/* A key of a unique index that is given whole: one row, whoever is asked for. */
static bool
is_single_row(Oid index, List *conditions)
{
	HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
	bool		single = false;
	ListCell   *cell;

	if (!HeapTupleIsValid(tuple))
		return false;
	if (((Form_pg_index) GETSTRUCT(tuple))->indisunique)
		single = list_length(conditions) >= ((Form_pg_index) GETSTRUCT(tuple))->indnkeyatts;
	ReleaseSysCache(tuple);
	foreach(cell, conditions)
	{
		OpExpr	   *expr = lfirst(cell);

		if (!IsA(expr, OpExpr) || !op_mergejoinable(expr->opno, exprType(linitial(expr->args))))
			return false;
	}
	return single;
}

/* Is the scan of the index entered by something that depends on the customer? */
static bool
is_lookup(Oid index, List *conditions)
{
	return has_param((Node *) conditions, NULL) || is_single_row(index, conditions);
}

static bool
is_bitmap_lookup(Plan *plan)
{
	ListCell   *cell;

	if (IsA(plan, BitmapIndexScan))
		return is_lookup(((BitmapIndexScan *) plan)->indexid, ((BitmapIndexScan *) plan)->indexqual);
	if (IsA(plan, BitmapAnd))
	{
		foreach(cell, ((BitmapAnd *) plan)->bitmapplans)
		{
			if (is_bitmap_lookup(lfirst(cell)))
				return true;
		}
		return false;
	}
	if (IsA(plan, BitmapOr))
	{
		foreach(cell, ((BitmapOr *) plan)->bitmapplans)
		{
			if (!is_bitmap_lookup(lfirst(cell)))
				return false;
		}
	}
	return true;
}

/* Is there an index that could be entered by the column? */
static bool
has_index_on(Oid relid, AttrNumber column)
{
	Relation	rel;
	List	   *indexes;
	ListCell   *cell;
	bool		found = false;

	if (column <= 0)
		return false;
	rel = table_open(relid, AccessShareLock);
	indexes = RelationGetIndexList(rel);
	foreach(cell, indexes)
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(lfirst_oid(cell)));
		Form_pg_index index;

		if (!HeapTupleIsValid(tuple))
			continue;
		index = (Form_pg_index) GETSTRUCT(tuple);
		if (index->indisvalid && index->indkey.values[0] == column &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL))
			found = true;
		ReleaseSysCache(tuple);
	}
	table_close(rel, AccessShareLock);
	return found;
}

static Node *
strip_relabel(Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/* The column of "column = something from elsewhere" among the conditions. */
static AttrNumber
filter_column(List *conditions)
{
	ListCell   *cell;

	foreach(cell, conditions)
	{
		OpExpr	   *expr = lfirst(cell);

		if (!IsA(expr, OpExpr) || list_length(expr->args) != 2)
			continue;
		for (int i = 0; i < 2; i++)
		{
			Node	   *side = strip_relabel(list_nth(expr->args, i));
			Node	   *other = strip_relabel(list_nth(expr->args, 1 - i));

			if (IsA(side, Var) && ((Var *) side)->varattno > 0 && IsA(other, Param))
				return ((Var *) side)->varattno;
		}
	}
	return 0;
}

static void find_whole_scan(const PlannedStmt *statement, Plan *plan, WholeScan *found);

static void
find_in_list(const PlannedStmt *statement, List *plans, WholeScan *found)
{
	ListCell   *cell;

	foreach(cell, plans)
		find_whole_scan(statement, lfirst(cell), found);
}

static void
find_whole_scan(const PlannedStmt *statement, Plan *plan, WholeScan *found)
{
	bool		whole = false;

	if (plan == NULL || OidIsValid(found->relid))
		return;
	check_stack_depth();
	switch (nodeTag(plan))
	{
		case T_SeqScan:
		case T_SampleScan:
			whole = true;
			break;
		case T_IndexScan:
			whole = !is_lookup(((IndexScan *) plan)->indexid, ((IndexScan *) plan)->indexqual);
			break;
		case T_IndexOnlyScan:
			whole = !is_lookup(((IndexOnlyScan *) plan)->indexid, ((IndexOnlyScan *) plan)->indexqual);
			break;
		case T_BitmapHeapScan:
			whole = !is_bitmap_lookup(plan->lefttree);
			break;
		case T_Append:
			find_in_list(statement, ((Append *) plan)->appendplans, found);
			break;
		case T_MergeAppend:
			find_in_list(statement, ((MergeAppend *) plan)->mergeplans, found);
			break;
		case T_SubqueryScan:
			find_whole_scan(statement, ((SubqueryScan *) plan)->subplan, found);
			break;
		default:
			break;
	}
	if (whole)
	{
		Oid			relid = scanned_relation(statement, (Scan *) plan);
		AttrNumber	column = filter_column(plan->qual);

		if (has_index_on(relid, column))
			return;
		found->relid = relid;
		found->column = column;
		return;
	}
	find_whole_scan(statement, plan->lefttree, found);
	find_whole_scan(statement, plan->righttree, found);
}

static void
describe(const WholeScan *found, const char **why, const char **cure)
{
	const char *table = quote_qualified_identifier(get_namespace_name(get_rel_namespace(found->relid)),
												   get_rel_name(found->relid));

	*why = psprintf("Without an index, table %s must be read whole for each customer.", table);
	if (found->column > 0)
		*cure = psprintf("CREATE INDEX ON %s (%s);", table,
						 quote_identifier(get_attname(found->relid, found->column, false)));
	else
		*cure = psprintf("Create an index on the column of %s that leads to customer_id, "
						 "and let the feed's query give that column as it is.", table);
}

bool
feed_is_indexed(const Feed *feed, const char **why, const char **cure)
{
	static const char *const dear[] = {"enable_seqscan", "enable_hashjoin", "enable_mergejoin"};
	MemoryContext caller = CurrentMemoryContext;
	WholeScan	found = {InvalidOid, 0};
	Oid			types[] = {INT8OID};
	FeedRights	rights;
	SPIPlanPtr	plan;
	CachedPlan *cached;
	ErrorContextCallback callback;
	ListCell   *cell;

	callback.previous = error_context_stack;
	callback.callback = feed_error_callback;
	callback.arg = unconstify(char *, feed->kind);
	error_context_stack = &callback;
	SPI_connect();
	feed_enter(&rights, feed->owner, feed->search_path);
	for (size_t i = 0; i < lengthof(dear); i++)
		feed_set(dear[i], "off");

	plan = SPI_prepare(psprintf("SELECT * FROM crm_feed.%s WHERE customer_id OPERATOR(pg_catalog.=) $1",
								quote_identifier(feed->kind)), 1, types);
	if (plan == NULL)
		elog(ERROR, "could not prepare: %s", SPI_result_code_string(SPI_result));
	cached = SPI_plan_get_cached_plan(plan);
	if (cached == NULL)
		elog(ERROR, "could not plan feed \"%s\"", feed->kind);
	foreach(cell, cached->stmt_list)
	{
		PlannedStmt *statement = lfirst_node(PlannedStmt, cell);

		find_whole_scan(statement, statement->planTree, &found);
		find_in_list(statement, statement->subplans, &found);
	}
	ReleaseCachedPlan(cached, NULL);
	feed_leave(&rights);
	if (OidIsValid(found.relid))
	{
		MemoryContext spi = MemoryContextSwitchTo(caller);

		describe(&found, why, cure);
		MemoryContextSwitchTo(spi);
	}
	SPI_finish();
	error_context_stack = callback.previous;
	return !OidIsValid(found.relid);
}

/* Feeds that lacked an index may have one by now; and one that had may have lost it. */
void
feed_recheck_indexes(void)
{
	ListCell   *cell;

	foreach(cell, feed_load())
	{
		Feed	   *feed = lfirst(cell);
		Oid			types[] = {TEXTOID, BOOLOID};
		Datum		values[2];
		FeedRights	rights;
		const char *why;
		const char *cure;
		bool		indexed;

		if (feed->tracked || feed->stale || feed->reader != NULL)
			continue;
		indexed = feed_is_indexed(feed, &why, &cure);
		if (indexed == feed->indexed)
			continue;
		values[0] = CStringGetTextDatum(feed->kind);
		values[1] = BoolGetDatum(indexed);
		SPI_connect();
		feed_enter_extension(&rights);
		feed_execute("UPDATE crm.source SET indexed = $2 WHERE kind = $1", 2, types, values, NULL);
		feed_leave(&rights);
		SPI_finish();
		CacheInvalidateRelcacheByRelid(feed_relation("source"));
	}
}

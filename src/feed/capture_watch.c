/*
 * capture_watch.c
 *		crm.watch(): which tables a feed hears of, and by which key.
 *
 * A watch is a row of crm.watch and two triggers on the shop's table, which know the row's number and the columns of the
 * key. The triggers belong to the shop's table: they are dumped and restored with it, and go with the extension.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/rel.h"

#include "compat.h"
#include "feed/capture.h"
#include "feed/capture_private.h"
#include "feed/feed_private.h"

PG_FUNCTION_INFO_V1(crm_feed_watch);
PG_FUNCTION_INFO_V1(crm_feed_unwatch);

/* Columns of crm.watch */
#define Anum_watch_id			1
#define Anum_watch_kind			2
#define Anum_watch_relation		3
#define Anum_watch_name			4
#define Anum_watch_key			5
#define Anum_watch_mapping		6
#define Anum_watch_search_path	7
#define Anum_watch_definer		8
#define Anum_watch_files		9

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static void
load_key(CaptureWatch *watch, Datum key)
{
	Datum	   *names;
	bool	   *nulls;

	deconstruct_array(DatumGetArrayTypeP(key), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &watch->nkeys);
	watch->nkeys = Min(watch->nkeys, CAPTURE_MAX_KEYS);
	watch->keys = palloc(sizeof(char *) * watch->nkeys);
	for (int i = 0; i < watch->nkeys; i++)
	{
		AttrNumber	column;

		watch->keys[i] = nulls[i] ? pstrdup("") : TextDatumGetCString(names[i]);
		column = get_attnum(watch->relation, watch->keys[i]);
		watch->types[i] = column > 0 ? get_atttype(watch->relation, column) : InvalidOid;
	}
}

/* As crm.source is read, and for the same reason. */
List *
capture_watches(void)
{
	Relation	rel = table_open(feed_relation("watch"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CaptureWatch *watch = palloc0(sizeof(CaptureWatch));
		bool		isnull;

		watch->id = DatumGetInt32(heap_getattr(tuple, Anum_watch_id, desc, &isnull));
		watch->kind = text_column(tuple, desc, Anum_watch_kind);
		watch->relation = DatumGetObjectId(heap_getattr(tuple, Anum_watch_relation, desc, &isnull));
		watch->relation_name = text_column(tuple, desc, Anum_watch_name);
		load_key(watch, heap_getattr(tuple, Anum_watch_key, desc, &isnull));
		watch->mapping = text_column(tuple, desc, Anum_watch_mapping);
		watch->search_path = text_column(tuple, desc, Anum_watch_search_path);
		watch->definer = text_column(tuple, desc, Anum_watch_definer);
		watch->role = get_role_oid(watch->definer, true);
		watch->files = DatumGetInt64(heap_getattr(tuple, Anum_watch_files, desc, &isnull));
		if (isnull)
			watch->files = 0;
		result = lappend(result, watch);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return result;
}

CaptureWatch *
capture_watch_find(List *watches, int id)
{
	ListCell   *cell;

	foreach(cell, watches)
	{
		CaptureWatch *watch = lfirst(cell);

		if (watch->id == id)
			return watch;
	}
	return NULL;
}

/* As the extension, connected to SPI. */
void
capture_watch_error(int id, const char *message)
{
	Oid			types[] = {INT4OID, TEXTOID};
	Datum		values[] = {Int32GetDatum(id), message == NULL ? (Datum) 0 : CStringGetTextDatum(message)};

	feed_execute("UPDATE crm.watch AS w SET error = $2 WHERE w.watch_id = $1 AND w.error IS DISTINCT FROM $2",
				 2, types, values, message == NULL ? " n" : NULL);
}

/* The column of the table that a query's column is, or 0. */
static AttrNumber
source_column(Query *query, Node *expr, Oid relation)
{
	Var		   *var;
	RangeTblEntry *entry;

	check_stack_depth();
	if (query->setOperations != NULL || query->groupingSets != NIL)
		return 0;
	while (expr != NULL && IsA(expr, RelabelType))
		expr = (Node *) ((RelabelType *) expr)->arg;
	if (expr == NULL || !IsA(expr, Var) || ((Var *) expr)->varlevelsup != 0)
		return 0;
	var = (Var *) expr;
	entry = rt_fetch(var->varno, query->rtable);
	if (entry->rtekind == RTE_RELATION)
		return entry->relid == relation && var->varattno > 0 ? var->varattno : 0;
	if (entry->rtekind == RTE_JOIN && var->varattno > 0)
		return source_column(query, list_nth(entry->joinaliasvars, var->varattno - 1), relation);
	if (entry->rtekind == RTE_SUBQUERY && var->varattno > 0)
	{
		TargetEntry *target = get_tle_by_resno(entry->subquery->targetList, var->varattno);

		return target == NULL ? 0 : source_column(entry->subquery, (Node *) target->expr, relation);
	}
	return 0;
}

/* The table's column that is the feed's customer_id, as the text of the feed says; NULL if there is none. */
static char *
find_key(const FeedSource *source, Oid relation)
{
	FeedRights	rights;
	Oid			role = get_role_oid(source->definer, true);
	Query	   *query;
	ListCell   *cell;
	AttrNumber	column = 0;

	if (!OidIsValid(role))
		return NULL;
	feed_enter(&rights, role, source->search_path);
	query = feed_analyse(linitial_node(RawStmt, feed_parse(source->query)), source->query);
	feed_leave(&rights);
	foreach(cell, query->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);

		if (!entry->resjunk && entry->resname != NULL && strcmp(entry->resname, "customer_id") == 0)
			column = source_column(query, (Node *) entry->expr, relation);
	}
	return column > 0 ? get_attname(relation, column, false) : NULL;
}

void
capture_check_table(Oid relation)
{
	char	   *name = get_rel_name(relation);
	char		kind = get_rel_relkind(relation);

	if (name == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relation)));
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a table", name),
				 errdetail("Only changes of a table's rows in this database can be captured."),
				 errhint("Watch the tables that it is made from.")));
	if (get_rel_persistence(relation) == RELPERSISTENCE_TEMP)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a temporary table", name)));
	if (IsCatalogNamespace(get_rel_namespace(relation)))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is a system catalog", name)));
	if (!crm_owns_relation(relation, GetUserId()))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table %s", name)));
}

static void
check_key(CaptureWatch *watch, int ncolumns)
{
	const char *name = get_rel_name(watch->relation);

	if (ncolumns < 1 || ncolumns > CAPTURE_MAX_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a key must have 1 to %d columns", CAPTURE_MAX_KEYS)));
	for (int i = 0; i < watch->nkeys; i++)
	{
		if (!OidIsValid(watch->types[i]))
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("column \"%s\" of table \"%s\" does not exist", watch->keys[i], name)));
		if (!capture_key_type(getBaseType(watch->types[i])))
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of table \"%s\" has type %s", watch->keys[i], name,
							format_type_be(watch->types[i])),
					 errdetail("A key that is captured has an integer type, uuid, or a type of text."),
					 errhint("Name another column that leads to the customer, with a mapping.")));
	}
	if (watch->mapping == NULL && watch->nkeys > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a key of several columns needs a mapping"),
				 errdetail("Without one, the key is the customer's own."),
				 errhint("Give the SELECT that finds the customers of a key: mapping => 'SELECT ... WHERE a = $1 AND b = $2'.")));
}

static void
mapping_error_callback(void *arg)
{
	errcontext("mapping of watch on table \"%s\"", (const char *) arg);
}

/* A query with a column for the customer, that anybody may run at any time. To be called as the definer. */
static void
check_mapping(CaptureWatch *watch)
{
	ErrorContextCallback callback = {error_context_stack, mapping_error_callback, get_rel_name(watch->relation)};
	SPIPlanPtr	plan;
	CachedPlanSource *source;
	TupleDesc	desc;
	Oid			type;

	error_context_stack = &callback;
	SPI_connect();
	plan = SPI_prepare(watch->mapping, watch->nkeys, watch->types);
	if (plan == NULL)
		elog(ERROR, "could not prepare a mapping: %s", SPI_result_code_string(SPI_result));
	if (list_length(SPI_plan_get_plan_sources(plan)) != 1 || !SPI_is_cursor_plan(plan))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("a mapping must be one SELECT"),
				 errhint("For example: SELECT user_id FROM orders WHERE id = $1.")));
	source = linitial(SPI_plan_get_plan_sources(plan));
	desc = source->resultDesc;
	type = desc != NULL && desc->natts == 1 ? getBaseType(TupleDescAttr(desc, 0)->atttypid) : InvalidOid;
	if (!OidIsValid(type) || !capture_key_type(type))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("a mapping must give one column, the customer's key"),
				 !OidIsValid(type) ? errdetail("It gives %d columns.", desc == NULL ? 0 : desc->natts) :
				 errdetail("It gives type %s.", format_type_be(type))));
	{
		ListCell   *cell;

		foreach(cell, source->query_list)
			feed_check_constancy(lfirst_node(Query, cell), NIL);
	}
	SPI_finish();
	error_context_stack = callback.previous;
}

static char *
trigger_name(int id, bool truncate)
{
	return psprintf("crm_watch_%d%s", id, truncate ? "_truncate" : "");
}

static char *
table_name(Oid relation)
{
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), get_rel_name(relation));
}

static void
execute(const char *sql)
{
	int			code = SPI_execute(sql, false, 0);

	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
}

/* As the owner of the table, connected to SPI. */
void
capture_make_triggers(const CaptureWatch *watch)
{
	char	   *table = table_name(watch->relation);
	StringInfoData arguments;

	initStringInfo(&arguments);
	appendStringInfo(&arguments, "'%d'", watch->id);
	for (int i = 0; i < watch->nkeys; i++)
		appendStringInfo(&arguments, ", %s", quote_literal_cstr(watch->keys[i]));
	for (int truncate = 0; truncate < 2; truncate++)
	{
		char	   *name = trigger_name(watch->id, truncate);

		execute(psprintf("CREATE TRIGGER %s AFTER %s ON %s FOR EACH %s EXECUTE FUNCTION crm.capture(%s)", name,
						 truncate ? "TRUNCATE" : "INSERT OR UPDATE OR DELETE", table, truncate ? "STATEMENT" : "ROW",
						 arguments.data));
		execute(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER %s", table, name));
		execute(psprintf("ALTER TRIGGER %s ON %s DEPENDS ON EXTENSION crm_marketing", name, table));
	}
}

void
capture_drop_triggers(const CaptureWatch *watch)
{
	for (int truncate = 0; truncate < 2; truncate++)
	{
		if (get_rel_relkind(watch->relation) != '\0')
			execute(psprintf("DROP TRIGGER IF EXISTS %s ON %s", trigger_name(watch->id, truncate),
							 table_name(watch->relation)));
	}
}

static FeedSource *
watched_source(const char *kind)
{
	FeedSource *source = feed_source_find(feed_sources(), kind);

	if (source == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no feed \"%s\"", kind),
				 errhint("Define it first, with crm.define_customers() or crm.define_event().")));
	if (source->own)
		feed_error_own(kind);
	if (source->tracked)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("events of kind \"%s\" are tracked", kind),
				 errdetail("crm.track() captures them by itself; there is no table to be watched.")));
	return source;
}

static void
store_watch(CaptureWatch *watch, Datum key)
{
	Oid			types[] = {TEXTOID, REGCLASSOID, TEXTOID, TEXTARRAYOID, TEXTOID, TEXTOID, TEXTOID, INT8OID};
	Datum		values[] = {
		CStringGetTextDatum(watch->kind), ObjectIdGetDatum(watch->relation), CStringGetTextDatum(watch->relation_name), key,
		watch->mapping == NULL ? (Datum) 0 : CStringGetTextDatum(watch->mapping),
		CStringGetTextDatum(watch->search_path), CStringGetTextDatum(watch->definer), Int64GetDatum(watch->files)
	};
	bool		isnull;

	feed_execute("INSERT INTO crm.watch AS w (kind, relation, relation_name, key, mapping, search_path, definer, files) "
				 "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING w.watch_id", 8, types, values,
				 watch->mapping == NULL ? "    n   " : NULL);
	watch->id = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Takes away the watches of a kind on a table (InvalidOid: on all). The caller is connected to SPI. */
static int
remove_watches(const char *kind, Oid relation)
{
	int			count = 0;
	ListCell   *cell;

	foreach(cell, capture_watches())
	{
		const CaptureWatch *watch = lfirst(cell);
		FeedRights	rights;
		Oid			types[] = {INT4OID};
		Datum		values[] = {Int32GetDatum(watch->id)};

		if (strcmp(watch->kind, kind) != 0 || (OidIsValid(relation) && watch->relation != relation))
			continue;
		if (get_rel_relkind(watch->relation) != '\0' && !crm_owns_relation(watch->relation, GetUserId()))
			ereport(ERROR,
					(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
					 errmsg("must be owner of table %s", get_rel_name(watch->relation))));
		capture_drop_triggers(watch);
		feed_enter_extension(&rights);
		feed_execute("DELETE FROM crm.watch WHERE watch_id OPERATOR(pg_catalog.=) $1", 1, types, values, NULL);
		feed_leave(&rights);
		count++;
	}
	return count;
}

static char *
kind_argument(FunctionCallInfo fcinfo)
{
	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind of the feed must not be null")));
	return text_to_cstring(PG_GETARG_TEXT_PP(0));
}

Datum
crm_feed_watch(PG_FUNCTION_ARGS)
{
	char	   *kind = kind_argument(fcinfo);
	CaptureWatch watch = {.kind = kind};
	FeedImpatience impatience;
	FeedRights	rights;
	FeedSource *source;
	Datum		key;

	if (PG_ARGISNULL(1))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("table to be watched must not be null")));
	watch.relation = PG_GETARG_OID(1);
	watch.mapping = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	feed_forbid_within_query();
	source = watched_source(kind);
	capture_check_table(watch.relation);
	if (!PG_ARGISNULL(2))
	{
		if (array_contains_nulls(PG_GETARG_ARRAYTYPE_P(2)))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a column of the key must not be null")));
		key = PG_GETARG_DATUM(2);
	}
	else
	{
		char	   *column = source->released ? NULL : find_key(source, watch.relation);
		Datum		name;

		if (column == NULL || watch.mapping != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("the key by which table \"%s\" leads to customers is not known", get_rel_name(watch.relation)),
					 watch.mapping != NULL ? errdetail("A mapping needs the columns that are its parameters.") :
					 errdetail("The feed's customer_id is no column of this table."),
					 errhint("Name the columns, and a SELECT that finds their customers: key => '{order_id}', "
							 "mapping => 'SELECT user_id FROM orders WHERE id = $1'.")));
		name = CStringGetTextDatum(column);
		key = PointerGetDatum(construct_array(&name, 1, TEXTOID, -1, false, TYPALIGN_INT));
	}
	load_key(&watch, key);
	check_key(&watch, ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(key)), ARR_DIMS(DatumGetArrayTypeP(key))));
	watch.search_path = feed_current_path();
	watch.definer = GetUserNameFromId(GetUserId(), false);
	watch.relation_name = table_name(watch.relation);
	if (watch.mapping != NULL)
	{
		feed_enter(&rights, GetUserId(), watch.search_path);
		check_mapping(&watch);
		feed_leave(&rights);
	}

	feed_begin_impatience(&impatience);
	SPI_connect();
	(void) remove_watches(kind, watch.relation);
	watch.files = capture_files_of(watch.relation);
	feed_enter_extension(&rights);
	store_watch(&watch, key);
	feed_leave(&rights);
	capture_make_triggers(&watch);
	/* what has happened until now was not captured */
	feed_mark(kind, "watched");
	SPI_finish();
	feed_end_impatience(&impatience);
	PG_RETURN_VOID();
}

Datum
crm_feed_unwatch(PG_FUNCTION_ARGS)
{
	char	   *kind = kind_argument(fcinfo);
	Oid			relation = PG_ARGISNULL(1) ? InvalidOid : PG_GETARG_OID(1);
	FeedImpatience impatience;
	int			count;

	feed_forbid_within_query();
	feed_begin_impatience(&impatience);
	SPI_connect();
	count = remove_watches(kind, relation);
	SPI_finish();
	feed_end_impatience(&impatience);
	PG_RETURN_INT32(count);
}

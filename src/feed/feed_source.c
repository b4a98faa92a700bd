/*
 * feed_source.c
 *		The feeds that are defined: crm.source, and what the catalog says about their views.
 *
 * A view holds on to its tables by oid, the text of a feed names them. When a migration renames orders to orders_old and
 * puts a new table in its place, the view goes on reading the old one, which nobody writes any more. So the names of the
 * text are resolved anew, and compared with what the view reads. That is done on the raw parse tree, without locks and
 * without errors: a name that leads nowhere is just another difference.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "rewrite/prs2lock.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "feed/feed_private.h"

/* Columns of crm.source */
#define Anum_source_kind			1
#define Anum_source_query			2
#define Anum_source_search_path		3
#define Anum_source_definer			4
#define Anum_source_tracked			5
#define Anum_source_key_type		6
#define Anum_source_indexed			7
#define Anum_source_released		8
#define Anum_source_stale_reason	9
#define Anum_source_own				11
#define Anum_source_reader			12

/* Columns of crm.source_property */
#define Anum_source_property_kind	1
#define Anum_source_property_name	2
#define Anum_source_property_type	3

PG_FUNCTION_INFO_V1(crm_feed_define_property);

/* The names in a text. */
typedef struct Names
{
	List	   *ranges;			/* of RangeVar */
	List	   *ctes;			/* of char * */
} Names;

static char *
text_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static bool
bool_column(HeapTuple tuple, TupleDesc desc, int column)
{
	bool		isnull;
	Datum		value = heap_getattr(tuple, column, desc, &isnull);

	return !isnull && DatumGetBool(value);
}

/* A role may have another name by now, and its old name may be somebody else's; the view knows. */
static char *
definer_of(const char *kind, char *name)
{
	Oid			view = name != NULL ? feed_view(kind) : InvalidOid;
	char	   *owner = OidIsValid(view) ? GetUserNameFromId(feed_owner_of(view), true) : NULL;

	return owner != NULL ? owner : name;
}

static int
compare_sources(const ListCell *a, const ListCell *b)
{
	const FeedSource *left = lfirst(a);
	const FeedSource *right = lfirst(b);
	bool		left_customer = strcmp(left->kind, FEED_CUSTOMER) == 0;
	bool		right_customer = strcmp(right->kind, FEED_CUSTOMER) == 0;

	if (left_customer != right_customer)
		return left_customer ? -1 : 1;
	return strcmp(left->kind, right->kind);
}

/*
 * A plain scan of a small table, as the catalogs are read: with the newest snapshot, because the views are seen so too,
 * and for a role that may not read the table.
 */
List *
feed_sources(void)
{
	Relation	rel = table_open(feed_relation("source"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	List	   *result = NIL;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		FeedSource *source = palloc0(sizeof(FeedSource));

		source->kind = text_column(tuple, desc, Anum_source_kind);
		source->query = text_column(tuple, desc, Anum_source_query);
		source->search_path = text_column(tuple, desc, Anum_source_search_path);
		source->definer = definer_of(source->kind, text_column(tuple, desc, Anum_source_definer));
		source->tracked = bool_column(tuple, desc, Anum_source_tracked);
		source->own = bool_column(tuple, desc, Anum_source_own);
		source->key_type = text_column(tuple, desc, Anum_source_key_type);
		source->indexed = bool_column(tuple, desc, Anum_source_indexed);
		source->released = bool_column(tuple, desc, Anum_source_released);
		source->stale_reason = text_column(tuple, desc, Anum_source_stale_reason);
		source->reader = text_column(tuple, desc, Anum_source_reader);
		result = lappend(result, source);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	list_sort(result, compare_sources);
	return result;
}

FeedSource *
feed_source_find(List *sources, const char *kind)
{
	ListCell   *cell;

	foreach(cell, sources)
	{
		FeedSource *source = lfirst(cell);

		if (strcmp(source->kind, kind) == 0)
			return source;
	}
	return NULL;
}

FeedKey
feed_key_of(const char *key_type)
{
	if (strcmp(key_type, "uuid") == 0)
		return FEED_KEY_UUID;
	if (strcmp(key_type, "smallint") == 0 || strcmp(key_type, "integer") == 0 || strcmp(key_type, "bigint") == 0)
		return FEED_KEY_INTEGER;
	return FEED_KEY_TEXT;
}

Oid
feed_view(const char *kind)
{
	Oid			relid = get_relname_relid(kind, feed_schema());

	return OidIsValid(relid) && get_rel_relkind(relid) == RELKIND_VIEW ? relid : InvalidOid;
}

static bool
collect_relations(Node *node, void *context)
{
	List	  **relations = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION)
			*relations = list_append_unique_oid(*relations, entry->relid);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, collect_relations, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, collect_relations, context);
}

/* What a view's query reads, views not resolved: a list of Oid. */
static List *
view_relations(Relation view)
{
	List	   *relations = NIL;

	for (int i = 0; view->rd_rules != NULL && i < view->rd_rules->numLocks; i++)
		(void) collect_relations((Node *) view->rd_rules->rules[i]->actions, &relations);

	/* The view itself stands in its own rule; our table of keys is not of the text. */
	relations = list_delete_oid(relations, RelationGetRelid(view));
	return list_delete_oid(relations, feed_relation("customer_key"));
}

static bool
collect_names(Node *node, void *context)
{
	Names	   *names = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeVar))
	{
		names->ranges = lappend(names->ranges, node);
		return false;
	}
	if (IsA(node, CommonTableExpr))
		names->ctes = lappend(names->ctes, makeString(((CommonTableExpr *) node)->ctename));
	return raw_expression_tree_walker(node, collect_names, context);
}

/* What the names of the text mean now; is called as the definer, under the feed's path. */
static Oid
resolve(const RangeVar *range)
{
	Oid			schema;

	if (range->schemaname == NULL)
		return RelnameGetRelid(range->relname);
	schema = get_namespace_oid(range->schemaname, true);
	return OidIsValid(schema) ? get_relname_relid(range->relname, schema) : InvalidOid;
}

/*
 * A sentence that says why the view does not read what the text names, or NULL. A name without schema that is also a
 * WITH query's may mean either.
 */
static const char *
compare_with_text(const FeedSource *source, List *reads, Oid owner)
{
	FeedRights	rights;
	Names		names = {NIL, NIL};
	List	   *named = NIL;
	List	   *statements;
	const char *why = NULL;
	ListCell   *cell;

	feed_enter(&rights, owner, source->search_path);
	statements = feed_parse(source->query);
	if (statements != NIL)
		(void) collect_names(linitial_node(RawStmt, statements)->stmt, &names);

	foreach(cell, names.ranges)
	{
		RangeVar   *range = lfirst(cell);
		Oid			relid = resolve(range);

		if (OidIsValid(relid))
			named = lappend_oid(named, relid);
		if (why != NULL || (OidIsValid(relid) && list_member_oid(reads, relid)))
			continue;
		if (range->schemaname == NULL && list_member(names.ctes, makeString(range->relname)))
			continue;
		if (OidIsValid(relid))
			why = psprintf("\"%s\" is another relation than the one the feed reads.", range->relname);
		else
			why = psprintf("There is no relation \"%s\" any more.", range->relname);
	}
	foreach(cell, reads)
	{
		if (why == NULL && !list_member_oid(named, lfirst_oid(cell)))
			why = psprintf("The feed reads \"%s\", which its text does not name.", get_rel_name(lfirst_oid(cell)));
	}
	feed_leave(&rights);
	return why;
}

Oid
feed_owner_of(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner = InvalidOid;

	if (HeapTupleIsValid(tuple))
	{
		owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
		ReleaseSysCache(tuple);
	}
	return owner;
}

bool
feed_hold(const Feed *feed)
{
	if (feed->packed)
		return true;
	LockRelationOid(feed->view, AccessShareLock);
	return feed_view(feed->kind) == feed->view && feed_owner_of(feed->view) == feed->owner;
}

void
feed_error_stale(const Feed *feed)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("feed \"%s\" is stale", feed->kind),
			 errdetail_internal("%s", feed->why_stale),
			 errhint("Call crm.rebuild_feeds(), or define the feed again.")));
}

void
feed_error_own(const char *kind)
{
	ereport(ERROR,
			(errcode(ERRCODE_RESERVED_NAME),
			 errmsg("kind \"%s\" is reserved", kind),
			 errdetail("Events of this kind come from the extension itself."),
			 errhint("Give the event another name.")));
}

static ValueType
value_type_of(Oid type)
{
	Oid			base = getBaseType(type);

	switch (base)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
		case FLOAT4OID:
		case FLOAT8OID:
			return VALUE_NUMBER;
		case BOOLOID:
			return VALUE_BOOLEAN;
		case DATEOID:
			return VALUE_DATE;
		case TIMESTAMPTZOID:
			return VALUE_TIMESTAMP;
		default:
			return OidIsValid(get_element_type(base)) ? VALUE_ARRAY : VALUE_TEXT;
	}
}

static void
load_columns(Feed *feed, TupleDesc desc, FeedKey key)
{
	bool		customers = feed->customers;

	feed->columns = palloc0(sizeof(FeedColumn) * desc->natts);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		const char *name = NameStr(column->attname);

		if (column->attisdropped || strcmp(name, "customer_id") == 0 || (!customers && strcmp(name, "at") == 0) ||
			(customers && key != FEED_KEY_INTEGER && strcmp(name, FEED_CUSTOMER_KEY) == 0))
			continue;
		feed->columns[feed->ncolumns].name = pstrdup(name);
		feed->columns[feed->ncolumns].type = column->atttypid;
		feed->columns[feed->ncolumns].value_type = value_type_of(column->atttypid);
		feed->ncolumns++;
	}
}

/* False if the view was dropped since its name was looked up. */
static bool
load_view(Feed *feed, const FeedSource *source)
{
	Relation	view = try_relation_open(feed->view, AccessShareLock);

	if (view == NULL)
		return false;
	feed->owner = view->rd_rel->relowner;
	feed->relations = view_relations(view);
	load_columns(feed, RelationGetDescr(view), source->own ? FEED_KEY_INTEGER : feed_key_of(source->key_type));
	feed->why_stale = source->own ? NULL : source->released ? "It is released." : compare_with_text(source, feed->relations, feed->owner);
	relation_close(view, AccessShareLock);
	return true;
}

static ValueType
property_type(const char *name, Oid *type)
{
	static const struct
	{
		const char *name;
		Oid			type;
		ValueType	value_type;
	}			types[] = {
		{"number", NUMERICOID, VALUE_NUMBER},
		{"boolean", BOOLOID, VALUE_BOOLEAN},
		{"date", DATEOID, VALUE_DATE},
		{"timestamp", TIMESTAMPTZOID, VALUE_TIMESTAMP},
		{"array", InvalidOid, VALUE_ARRAY}	/* of elements of any type */
	};

	for (int i = 0; i < (int) lengthof(types); i++)
	{
		if (strcmp(types[i].name, name) == 0)
		{
			*type = types[i].type;
			return types[i].value_type;
		}
	}
	*type = TEXTOID;
	return VALUE_TEXT;
}

/* The properties of a feed without a view; read as crm.source is. */
static void
load_properties(Feed *feed)
{
	Relation	rel = table_open(feed_relation("source_property"), AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	int			room = 16;

	feed->columns = palloc0(sizeof(FeedColumn) * room);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		FeedColumn *column;

		if (strcmp(text_column(tuple, desc, Anum_source_property_kind), feed->kind) != 0)
			continue;
		if (feed->ncolumns == room)
		{
			room *= 2;
			feed->columns = repalloc(feed->columns, sizeof(FeedColumn) * room);
		}
		column = &feed->columns[feed->ncolumns++];
		column->name = text_column(tuple, desc, Anum_source_property_name);
		column->value_type = property_type(text_column(tuple, desc, Anum_source_property_type), &column->type);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

Datum
crm_feed_define_property(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	FeedRights	rights;
	bool		fresh;

	SPI_connect();
	feed_enter_extension(&rights);
	feed_execute("INSERT INTO crm.source_property (kind, name, type) VALUES ($1, $2, $3) ON CONFLICT (kind, name) DO NOTHING",
				 3, types, values, NULL);
	fresh = SPI_processed > 0;
	if (fresh)
		CacheInvalidateRelcacheByRelid(feed_relation("source"));
	feed_leave(&rights);
	SPI_finish();
	PG_RETURN_BOOL(fresh);
}

/* NULL if the feeds were changed in the meantime. */
static Feed *
load(const FeedSource *source)
{
	Feed	   *feed = palloc0(sizeof(Feed));

	feed->kind = source->kind;
	feed->tracked = source->tracked;
	feed->own = source->own;
	feed->customers = strcmp(feed->kind, FEED_CUSTOMER) == 0 ||
		(feed->own && strncmp(feed->kind, FEED_ATTRIBUTES, strlen(FEED_ATTRIBUTES)) == 0);
	if (source->tracked)
	{
		feed->indexed = true;
		feed->owner = feed_owner_of(feed_relation("event"));
		feed->search_path = FEED_SAFE_PATH;
		return feed;
	}
	feed->reader = source->reader;
	feed->packed = source->own && source->reader != NULL && !OidIsValid(feed_view(source->kind));
	if (feed->packed)
	{
		feed->indexed = true;
		feed->owner = feed_owner_of(feed_relation("source"));
		feed->search_path = FEED_SAFE_PATH;
		load_properties(feed);
		return feed;
	}
	feed->indexed = source->indexed;
	feed->search_path = source->own ? FEED_SAFE_PATH : source->search_path;
	feed->view = feed_view(source->kind);
	if (OidIsValid(feed->view))
	{
		if (!load_view(feed, source))
			return NULL;
	}
	else
	{
		feed->owner = source->own ? InvalidOid : get_role_oid(source->definer, true);
		feed->why_stale = source->released ? "It is released." :
			psprintf("Its view crm_feed.%s was dropped.", quote_identifier(source->kind));
	}
	feed->stale = feed->why_stale != NULL;
	return feed;
}

List *
feed_load(void)
{
	for (;;)
	{
		List	   *result = NIL;
		bool		complete = true;
		ListCell   *cell;

		foreach(cell, feed_sources())
		{
			Feed	   *feed = load(lfirst(cell));

			if (feed == NULL)
			{
				complete = false;
				break;
			}
			result = lappend(result, feed);
		}
		if (complete)
			return result;
		/* Somebody made a feed anew, and we have waited for him: now all of it is there to be seen. */
		CHECK_FOR_INTERRUPTS();
	}
}

Feed *
feed_find(const List *feeds, const char *kind)
{
	ListCell   *cell;

	foreach(cell, feeds)
	{
		Feed	   *feed = lfirst(cell);

		if (strcmp(feed->kind, kind) == 0)
			return feed;
	}
	return NULL;
}

static bool
has_column(const Feed *feed, const char *name)
{
	for (int i = 0; i < feed->ncolumns; i++)
	{
		if (strcmp(feed->columns[i].name, name) == 0)
			return true;
	}
	return false;
}

const Feed *
feed_of_attribute(const List *feeds, const char *name)
{
	ListCell   *cell;

	/* the customers' own comes first in the list */
	foreach(cell, feeds)
	{
		const Feed *feed = lfirst(cell);

		if (feed->customers && has_column(feed, name))
			return feed;
	}
	return NULL;
}

/*
 * The list for those who look up one customer and cannot afford to load it each time. Whatever changes a feed sends an
 * invalidation: views and tables by themselves, rows of crm.source because the writers do it for them.
 */
static MemoryContext cache_context = NULL;
static List *cache = NIL;
static bool cache_valid = false;

static void
invalidate_by_relation(Datum argument, Oid relid)
{
	(void) argument;
	(void) relid;
	cache_valid = false;
}

static void
invalidate_by_schema(Datum argument, int cacheid, uint32 hash)
{
	(void) argument;
	(void) cacheid;
	(void) hash;
	cache_valid = false;
}

const List *
feed_cached(void)
{
	if (!cache_valid)
	{
		MemoryContext building;
		MemoryContext old;
		List	   *feeds = NIL;

		if (cache_context == NULL)
		{
			CacheRegisterRelcacheCallback(invalidate_by_relation, (Datum) 0);
			CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_by_schema, (Datum) 0);
			CacheRegisterSyscacheCallback(AUTHOID, invalidate_by_schema, (Datum) 0);
			cache_context = AllocSetContextCreate(CacheMemoryContext, "crm feeds", ALLOCSET_SMALL_SIZES);
		}
		building = AllocSetContextCreate(CurrentMemoryContext, "crm feeds", ALLOCSET_SMALL_SIZES);
		old = MemoryContextSwitchTo(building);
		cache_valid = true;		/* what comes in while loading makes it false again */
		PG_TRY();
		{
			feeds = feed_load();
		}
		PG_CATCH();
		{
			cache_valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
		MemoryContextSwitchTo(old);
		MemoryContextSetParent(building, CacheMemoryContext);
		/* A feed's own function may have called us: whoever goes through the old list may finish. */
		MemoryContextSetParent(cache_context, TopTransactionContext);
		cache_context = building;
		cache = feeds;
	}
	return cache;
}

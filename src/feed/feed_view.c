/*
 * feed_view.c
 *		The view of a feed.
 *
 * A feed is a view crm_feed.<kind> around the shop's query, and belongs to its definer, whose rights on the tables are
 * the ones that count. The view is no member of the extension: it is dumped like any view of the shop.
 *
 * A definer need not be able to create anything in that schema, so the view is made as the owner of the extension. But to
 * know what a text means is to run some of it: a literal of a type goes through the type's input, which for a domain ends
 * in whatever its CHECK calls. So the owner makes a view of the same columns out of nothing but names of types, and gives
 * it away; the query takes its place as the definer.
 *
 * A feed that is made again with the columns that it had keeps its view, and with it what others built upon it.
 *
 * An integer key stays as it is, uncast, so that a lookup by customer goes by the shop's index on it. Any other key is
 * joined to its id, and there it is our text that is cast to the type of the shop's column, for the same reason. The join
 * is an outer one: an event of a key without id must be seen, to be counted as passed over, and a customer without id, to
 * be given one (therefore the customers' view has the key besides).
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/view.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "feed/feed_private.h"

/* Under a path that does not hold it, a collation's own output names its schema. The caller has entered as the extension. */
static const char *
qualified_collation(Oid collation)
{
	return DatumGetCString(DirectFunctionCall1(regcollationout, ObjectIdGetDatum(collation)));
}

/* The query of the view. */
static char *
view_text(const char *kind, const FeedQuery *query)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT");
	for (int i = 0; i < query->ncolumns; i++)
	{
		const char *name = quote_identifier(query->columns[i].name);

		appendStringInfoString(&sql, i > 0 ? ", " : " ");
		if (query->key != FEED_KEY_INTEGER && strcmp(query->columns[i].name, "customer_id") == 0)
			appendStringInfoString(&sql, "k.customer_id");
		else if (query->columns[i].localtime)
			appendStringInfo(&sql, "f.%s::pg_catalog.timestamptz AS %s", name, name);
		else
			appendStringInfo(&sql, "f.%s", name);
	}
	if (query->key != FEED_KEY_INTEGER && strcmp(kind, FEED_CUSTOMER) == 0)
		appendStringInfoString(&sql, ", f.customer_id AS " FEED_CUSTOMER_KEY);
	/* The line end closes a comment at the end of the query. */
	appendStringInfo(&sql, " FROM (\n%s\n) AS f", query->text);
	if (query->key != FEED_KEY_INTEGER)
	{
		appendStringInfo(&sql, " LEFT JOIN crm.customer_key AS k ON f.customer_id OPERATOR(pg_catalog.=) k.key::%s",
						 query->key_type == UUIDOID ? "pg_catalog.uuid" :
						 query->key_type == BPCHAROID ? "pg_catalog.bpchar" : "pg_catalog.text");
		if (OidIsValid(query->key_collation) && query->key_collation != DEFAULT_COLLATION_OID)
			appendStringInfo(&sql, " COLLATE %s", qualified_collation(query->key_collation));
	}
	return sql.data;
}

static bool
has_columns(Oid view, List *columns)
{
	Relation	rel = table_open(view, AccessShareLock);
	TupleDesc	desc = RelationGetDescr(rel);
	bool		same = desc->natts == list_length(columns);
	ListCell   *cell;
	int			i = 0;

	foreach(cell, columns)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Form_pg_attribute column;

		if (!same)
			break;
		column = TupleDescAttr(desc, i++);
		same = strcmp(NameStr(column->attname), entry->resname) == 0 &&
			column->atttypid == exprType((Node *) entry->expr) &&
			column->atttypmod == exprTypmod((Node *) entry->expr) &&
			column->attcollation == exprCollation((Node *) entry->expr);
	}
	table_close(rel, AccessShareLock);
	return same;
}

/* The statement that makes a view of these columns, and of nothing else. */
static char *
empty_view(const char *kind, List *columns)
{
	StringInfoData sql;
	ListCell   *cell;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE VIEW crm_feed.%s AS SELECT", quote_identifier(kind));
	foreach(cell, columns)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		Oid			collation = exprCollation((Node *) entry->expr);

		appendStringInfo(&sql, "%s NULL::%s", foreach_current_index(cell) > 0 ? "," : "",
						 format_type_extended(exprType((Node *) entry->expr), exprTypmod((Node *) entry->expr),
											  FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
		if (OidIsValid(collation) && collation != DEFAULT_COLLATION_OID)
			appendStringInfo(&sql, " COLLATE %s", qualified_collation(collation));
		appendStringInfo(&sql, " AS %s", quote_identifier(entry->resname));
	}
	return sql.data;
}

/* Statements that give the rights on a view that others have than its owner, or NULL. */
static char *
granted(const char *kind, Oid view)
{
	Oid			types[] = {OIDOID, TEXTOID};
	Datum		values[] = {ObjectIdGetDatum(view), CStringGetTextDatum(quote_identifier(kind))};

	feed_execute("SELECT pg_catalog.string_agg(pg_catalog.format('GRANT %s ON crm_feed.%s TO %s%s', a.privilege_type, $2, "
				 "       CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::pg_catalog.regrole::text END, "
				 "       CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END), '; ') "
				 "  FROM pg_catalog.pg_class AS c, pg_catalog.aclexplode(c.relacl) AS a "
				 " WHERE c.oid = $1 AND a.grantee <> c.relowner", 2, types, values, NULL);
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
give(const char *kind, Oid definer)
{
	feed_execute(psprintf("ALTER VIEW crm_feed.%s OWNER TO %s", quote_identifier(kind),
						  quote_identifier(GetUserNameFromId(definer, false))), 0, NULL, NULL, NULL);
}

void
feed_make_view(const char *kind, const FeedQuery *query, Oid definer, const char *search_path)
{
	char	   *text = view_text(kind, query);
	Oid			view = feed_view(kind);
	FeedRights	rights;
	Query	   *meaning;

	/* A literal without zone is of the shop's zone, as the columns are. */
	feed_enter(&rights, definer, search_path);
	meaning = feed_analyse(linitial_node(RawStmt, feed_parse(text)), text);
	feed_leave(&rights);

	if (OidIsValid(view) && has_columns(view, meaning->targetList))
	{
		if (feed_owner_of(view) != definer)
			give(kind, definer);
	}
	else
	{
		Oid			types[] = {OIDOID};
		char	   *grants = NULL;

		if (OidIsValid(view))
		{
			grants = granted(kind, view);
			feed_drop_view(kind);
		}
		feed_execute(empty_view(kind, meaning->targetList), 0, NULL, NULL, NULL);
		give(kind, definer);
		if (grants != NULL)
			feed_execute(grants, 0, NULL, NULL, NULL);
		view = feed_view(kind);
		/* default privileges and those of a former view are of all columns */
		feed_execute("SELECT crm.hide_addresses($1::pg_catalog.regclass)", 1, types, &(Datum) {ObjectIdGetDatum(view)}, NULL);
	}

	feed_enter(&rights, definer, search_path);
	StoreViewQuery(view, meaning, true);
	feed_leave(&rights);
	CommandCounterIncrement();
}

void
feed_drop_view(const char *kind)
{
	if (OidIsValid(feed_view(kind)))
		feed_execute(psprintf("DROP VIEW crm_feed.%s", quote_identifier(kind)), 0, NULL, NULL, NULL);
}

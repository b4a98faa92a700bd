/*
 * feed_check.c
 *		What a feed's query must be: one SELECT that changes nothing, with the columns that facts are made of.
 *
 * The check works on the parse tree: first as written, then analysed, then (feed_constancy.c) with the views in it
 * expanded.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/keywords.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/scanner.h"
#include "rewrite/prs2lock.h"
#include "tcop/tcopprot.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "base/clock.h"
#include "compat.h"
#include "feed/feed_private.h"
#include "profile/profile.h"

#define HINT_SELECT \
	errhint("Give one SELECT, such as SELECT user_id AS customer_id, placed_at AS at, total AS amount FROM orders.")

/* An error of the parser belongs to the feed's text, not to the statement that carries it. */
static void
text_error_callback(void *arg)
{
	int			position = geterrposition();

	if (position > 0)
	{
		errposition(0);
		internalerrposition(position);
		internalerrquery((const char *) arg);
	}
}

List *
feed_parse(const char *text)
{
	ErrorContextCallback callback = {error_context_stack, text_error_callback, unconstify(char *, text)};
	List	   *statements;

	error_context_stack = &callback;
	statements = pg_parse_query(text);
	error_context_stack = callback.previous;
	return statements;
}

Query *
feed_analyse(RawStmt *statement, const char *text)
{
	ErrorContextCallback callback = {error_context_stack, text_error_callback, unconstify(char *, text)};
	Query	   *query;

	error_context_stack = &callback;
	query = parse_analyze_fixedparams(statement, text, NULL, 0, NULL);
	error_context_stack = callback.previous;
	return query;
}

/* What only the text as written shows, or shows best. */
static bool
check_written(Node *node, void *context)
{
	if (node == NULL)
		return false;
	switch (nodeTag(node))
	{
		case T_ParamRef:
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_PARAMETER),
					 errmsg("query of a feed must not have parameters"),
					 errdetail("It refers to $%d.", ((ParamRef *) node)->number),
					 errhint("A feed gives the rows of all customers; one customer is picked out of them when it is read.")));
			break;
		case T_CommonTableExpr:
			if (!IsA(((CommonTableExpr *) node)->ctequery, SelectStmt))
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("query of a feed must not change data"),
						 errdetail("WITH query \"%s\" is %s.", ((CommonTableExpr *) node)->ctename,
								   GetCommandTagName(CreateCommandTag(((CommonTableExpr *) node)->ctequery))),
						 HINT_SELECT));
			break;
		case T_SelectStmt:
			if (((SelectStmt *) node)->intoClause != NULL)
				ereport(ERROR,
						(errcode(ERRCODE_SYNTAX_ERROR),
						 errmsg("query of a feed must be one SELECT"),
						 errdetail("It is SELECT INTO."),
						 HINT_SELECT));
			if (((SelectStmt *) node)->lockingClause != NIL)
				ereport(ERROR,
						(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						 errmsg("query of a feed must not lock rows"),
						 errdetail("It has a clause FOR UPDATE, FOR SHARE or the like."),
						 errhint("Leave the clause out.")));
			break;
		default:
			break;
	}
	return raw_expression_tree_walker(node, check_written, context);
}

static bool check_tables(Node *node, void *context);

static void
check_type(Oid type)
{
	Oid			element = get_element_type(type);
	HeapTuple	tuple = SearchSysCache1(TYPEOID, ObjectIdGetDatum(OidIsValid(element) ? element : type));
	bool		temporary = HeapTupleIsValid(tuple) && isAnyTempNamespace(((Form_pg_type) GETSTRUCT(tuple))->typnamespace);

	if (temporary)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("query of a feed must not use temporary types"),
				 errdetail("Type %s is temporary.", format_type_be(type)),
				 errhint("A feed is read by other sessions too: create the type in a permanent schema.")));
	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
}

/* What a view reads; the view itself stands in its own rule. */
static void
check_view(Oid view)
{
	Relation	rel = table_open(view, AccessShareLock);

	check_stack_depth();
	for (int i = 0; rel->rd_rules != NULL && i < rel->rd_rules->numLocks; i++)
		(void) check_tables((Node *) rel->rd_rules->rules[i]->actions, &view);
	table_close(rel, AccessShareLock);
}

/* Tables and types that another session does not have, and views that are dropped and made again while this one depends on them. */
static bool
check_tables(Node *node, void *context)
{
	const Oid  *inside = context;	/* of which view, or NULL */

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind != RTE_RELATION || (inside != NULL && entry->relid == *inside))
			return false;
		if (get_rel_persistence(entry->relid) == RELPERSISTENCE_TEMP)
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("query of a feed must not read temporary tables"),
					 errdetail("\"%s\" is temporary.", get_rel_name(entry->relid)),
					 errhint("A feed is read by other sessions too: give it a permanent table.")));
		if (get_rel_namespace(entry->relid) == feed_schema())
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("query of a feed must not read another feed"),
					 errdetail("crm_feed.%s is a feed's view.", quote_identifier(get_rel_name(entry->relid))),
					 errhint("Read the tables that the other feed reads.")));
		if (get_rel_relkind(entry->relid) == RELKIND_VIEW)
			check_view(entry->relid);
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, check_tables, context, QTW_EXAMINE_RTES_BEFORE);
	if (IsA(node, Const) || IsA(node, RelabelType) || IsA(node, CoerceViaIO) || IsA(node, ArrayCoerceExpr) ||
		IsA(node, CoerceToDomain) || IsA(node, FuncExpr))
		check_type(exprType(node));
	return expression_tree_walker(node, check_tables, context);
}

/* How to make a fact of a value of a type that facts do not have. */
static const char *
cure_of_type(const char *column, Oid base)
{
	const char *name = quote_identifier(column);

	switch (base)
	{
		case JSONOID:
		case JSONBOID:
			return psprintf("Pick its members, for example (%s ->> 'name') AS name, or cast it: %s::text.", name, name);
		case INTERVALOID:
			return psprintf("Make it a number, for example extract(epoch FROM %s) AS %s.", name, name);
		case CASHOID:
			return psprintf("Cast it: %s::numeric AS %s.", name, name);
		case BYTEAOID:
			return psprintf("Write it as text: encode(%s, 'hex') AS %s.", name, name);
		case TIMESTAMPARRAYOID:
			return psprintf("Cast it: %s::timestamptz[] AS %s.", name, name);
		default:
			return psprintf("Cast it, for example %s::text AS %s.", name, name);
	}
}

static void
notice_local(const char *kind, const char *column, const char *type, const char *meaning)
{
	ereport(NOTICE,
			(errmsg("column \"%s\" of feed \"%s\" has type %s", column, kind, type),
			 errdetail("%s, in the time zone that is set for the shop (now %s).", meaning, clock_timezone()),
			 errhint("Cast it to timestamptz if that is not meant.")));
}

bool
feed_is_localtime(Oid type, bool at)
{
	Oid			base = getBaseType(type);

	return base == TIMESTAMPOID || (at && base == DATEOID);
}

static void
check_key(FeedQuery *query, const char *kind, const TargetEntry *entry)
{
	Oid			type = exprType((Node *) entry->expr);

	query->key_type = getBaseType(type);
	query->key_collation = exprCollation((Node *) entry->expr);
	switch (query->key_type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
			query->key = FEED_KEY_INTEGER;
			break;
		case UUIDOID:
			query->key = FEED_KEY_UUID;
			break;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			query->key = FEED_KEY_TEXT;
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"customer_id\" of feed \"%s\" has type %s", kind, format_type_be(type)),
					 errdetail("A customer's key is an integer, a uuid or a text."),
					 errhint("Cast it to bigint if it holds whole numbers, else to text.")));
	}
}

static void
check_at(const char *kind, const TargetEntry *entry, bool quiet, FeedQueryColumn *column)
{
	Oid			type = exprType((Node *) entry->expr);
	Oid			base = getBaseType(type);

	column->localtime = feed_is_localtime(type, true);
	if (base != TIMESTAMPTZOID && !column->localtime)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"at\" of feed \"%s\" has type %s", kind, format_type_be(type)),
				 errdetail("It is the instant of the event: timestamp with time zone, or a date."),
				 errhint("Cast it to timestamptz, or give the column that says when as \"at\".")));
	if (quiet)
		return;
	if (base == DATEOID)
		notice_local(kind, "at", "date", "An event is taken to be at the beginning of its day");
	else if (base == TIMESTAMPOID)
		notice_local(kind, "at", "timestamp without time zone", "It is read as local time");
}

static void
reserved_column(const char *kind, const char *column, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_RESERVED_NAME),
			 errmsg("column \"%s\" of feed \"%s\" has a reserved name", column, kind),
			 errdetail_internal("%s", why),
			 errhint("Give the column another name with AS, or leave it out.")));
}

static void
check_fact(const char *kind, const TargetEntry *entry, bool customers, bool quiet, FeedQueryColumn *column)
{
	Oid			type = exprType((Node *) entry->expr);
	ValueSource source;

	if (!customers && (profile_is_reserved_property(entry->resname, strlen(entry->resname)) ||
					   strcmp(entry->resname, "kind") == 0))
		reserved_column(kind, entry->resname, psprintf("Every event has \"%s\" by itself.", entry->resname));
	if (feed_is_localtime(type, false))
	{
		column->localtime = true;
		if (!quiet)
			notice_local(kind, entry->resname, "timestamp without time zone", "It is read as local time");
	}
	else if (!value_source_init(&source, type, CurrentMemoryContext))
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of feed \"%s\" has type %s", entry->resname, kind, format_type_be(type)),
				 errdetail("Facts are texts, numbers, booleans, dates, timestamps with time zone, or arrays of these."),
				 errhint("%s", cure_of_type(entry->resname, getBaseType(type)))));
}

static void
missing_column(const char *kind, const char *column, const char *what, const char *example)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("query of feed \"%s\" has no column \"%s\"", kind, column),
			 errdetail("%s", what),
			 errhint("Name it with AS, for example %s.", example)));
}

static void
check_columns(FeedQuery *query, const char *kind, Query *analysed, bool quiet)
{
	bool		customers = strcmp(kind, FEED_CUSTOMER) == 0;
	bool		has_key = false;
	bool		has_at = false;
	ListCell   *cell;

	query->columns = palloc0(sizeof(FeedQueryColumn) * (list_length(analysed->targetList) + 1));
	foreach(cell, analysed->targetList)
	{
		TargetEntry *entry = lfirst_node(TargetEntry, cell);
		FeedQueryColumn *column = &query->columns[query->ncolumns];

		if (entry->resjunk)
			continue;
		if (entry->resname == NULL || strcmp(entry->resname, "?column?") == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_COLUMN_DEFINITION),
					 errmsg("column %d of feed \"%s\" has no name", entry->resno, kind),
					 errdetail("Predicates name facts by the names of the columns."),
					 errhint("Name it with AS.")));
		for (int i = 0; i < query->ncolumns; i++)
		{
			if (strcmp(query->columns[i].name, entry->resname) == 0)
				ereport(ERROR,
						(errcode(ERRCODE_DUPLICATE_COLUMN),
						 errmsg("query of feed \"%s\" has two columns \"%s\"", kind, entry->resname),
						 errdetail("They are columns %d and %d.", i + 1, entry->resno),
						 errhint("Give one of them another name with AS, or leave it out.")));
		}
		column->name = entry->resname;
		query->ncolumns++;
		if (strcmp(entry->resname, "customer_id") == 0)
		{
			has_key = true;
			check_key(query, kind, entry);
		}
		else if (!customers && strcmp(entry->resname, "at") == 0)
		{
			has_at = true;
			check_at(kind, entry, quiet, column);
		}
		else
			check_fact(kind, entry, customers, quiet, column);
	}
	if (customers && query->key != FEED_KEY_INTEGER)
	{
		for (int i = 0; i < query->ncolumns; i++)
		{
			if (strcmp(query->columns[i].name, FEED_CUSTOMER_KEY) == 0)
				reserved_column(kind, FEED_CUSTOMER_KEY, "Where the key is no integer, it is the key itself.");
		}
	}
	if (!has_key)
		missing_column(kind, "customer_id", "It says whose fact a row is.", "user_id AS customer_id");
	if (!customers && !has_at)
		missing_column(kind, "at", "It says when the event happened.", "created_at AS at");
}

/*
 * The text of the one statement, with the comments before it. Until PostgreSQL 17 a statement begins with them, from 18
 * on with its first word: what is left out is looked for here, the semicolons of empty statements.
 */
static char *
statement_text(const char *text, const RawStmt *statement)
{
	core_yy_extra_type extra;
	core_YYSTYPE value;
	YYLTYPE		at;
	core_yyscan_t scanner = scanner_init(text, &extra, &ScanKeywords, ScanKeywordTokens);
	int			start = 0;
	int			end = statement->stmt_len > 0 ? statement->stmt_location + statement->stmt_len : (int) strlen(text);

	while (core_yylex(&value, &at, scanner) == ';')
		start = at + 1;
	scanner_finish(scanner);
	return pnstrdup(text + start, end - start);
}

FeedQuery *
feed_check(const char *kind, const char *text, bool quiet)
{
	FeedQuery  *query = palloc0(sizeof(FeedQuery));
	List	   *statements = feed_parse(text);
	List	   *literals;
	RawStmt    *statement;
	Query	   *analysed;

	if (list_length(statements) != 1)
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a feed must be one SELECT"),
				 statements == NIL ? errdetail("It is empty.") :
				 errdetail("It has %d statements.", list_length(statements)),
				 HINT_SELECT));
	statement = linitial_node(RawStmt, statements);
	if (!IsA(statement->stmt, SelectStmt))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("query of a feed must be one SELECT"),
				 errdetail("It is %s.", GetCommandTagName(CreateCommandTag(statement->stmt))),
				 HINT_SELECT));
	(void) check_written(statement->stmt, NULL);
	literals = feed_flowing_literals(statement->stmt);

	query->text = statement_text(text, statement);
	analysed = feed_analyse(statement, text);
	feed_check_constancy(analysed, literals);
	(void) check_tables((Node *) analysed, NULL);
	check_columns(query, kind, analysed, quiet);
	return query;
}

/*
 * feed_constancy.c
 *		That a feed gives the same rows for the same data.
 *
 * A feed is read again and again, as a whole and by customer, by all kinds of sessions, and its facts are compared with
 * each other. So its query must call nothing volatile, must not look at the session, and must say what happened rather
 * than how long ago: what flows with time belongs into the predicate, whose answer has a known end.
 *
 * The check works on the analysed query, with the views in it expanded (and the policies of its tables, where they bind
 * the definer). A literal such as 'today' is a constant by then; so those that may flow are picked out of the text as it
 * was written, and known again by their places. A function is taken at its word about being stable, save one in SQL,
 * whose body is there to be read, and an aggregate, which says nothing of its own about its parts.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "catalog/namespace.h"
#include "catalog/pg_aggregate.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/nodeFuncs.h"
#include "nodes/parsenodes.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

#include "compat.h"
#include "feed/feed_private.h"

/* A literal of the text that names an instant by where we are now, should it be read as a time. */
typedef struct FlowingLiteral
{
	int			location;
	const char *text;
} FlowingLiteral;

typedef struct Check
{
	List	   *literals;		/* of FlowingLiteral */
	List	   *bodies;			/* of Oid: functions that were read */
	bool		in_body;		/* of a function, which answers for the rest itself */
} Check;

static bool check_node(Node *node, void *context);

static void
flows_with_time(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("query of a feed must not depend on the current time"),
			 errdetail("It, or a view that it reads, uses %s.", what),
			 errhint("A feed says what happened and when; say \"how long ago\" as a window of the predicate, "
					 "such as \"in last 30 days\".")));
}

static void
depends_on_session(const char *what)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
			 errmsg("query of a feed must not depend on the session that reads it"),
			 errdetail("It, or a view or policy that it is subject to, uses %s.", what),
			 errhint("A feed must give the same rows whoever reads it: write the value into the query, "
					 "or keep it in a table.")));
}

/* Is one of the words in the text, with nothing but blanks and marks around it? */
static bool
has_flowing_word(const char *text)
{
	static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};

	while (*text != '\0')
	{
		size_t		length = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

		for (size_t i = 0; i < lengthof(words); i++)
		{
			if (strlen(words[i]) == length && pg_strncasecmp(words[i], text, length) == 0)
				return true;
		}
		text += Max(length, 1);
	}
	return false;
}

static bool
collect_literals(Node *node, void *context)
{
	List	  **literals = context;

	if (node == NULL)
		return false;
	if (IsA(node, A_Const))
	{
		A_Const    *constant = (A_Const *) node;

		if (!constant->isnull && nodeTag(&constant->val) == T_String && has_flowing_word(constant->val.sval.sval))
		{
			FlowingLiteral *literal = palloc(sizeof(FlowingLiteral));

			literal->location = constant->location;
			literal->text = constant->val.sval.sval;
			*literals = lappend(*literals, literal);
		}
	}
	return raw_expression_tree_walker(node, collect_literals, context);
}

List *
feed_flowing_literals(Node *statement)
{
	List	   *literals = NIL;

	(void) collect_literals(statement, &literals);
	return literals;
}

/* Times, and arrays and ranges of them. */
static bool
is_timely(Oid type)
{
	Oid			base = getBaseType(type);

	if (OidIsValid(get_element_type(base)))
		return is_timely(get_element_type(base));
	if (type_is_multirange(base))
		return is_timely(get_multirange_range(base));
	if (type_is_range(base))
		return is_timely(get_range_subtype(base));
	return base == DATEOID || base == TIMEOID || base == TIMETZOID || base == TIMESTAMPOID || base == TIMESTAMPTZOID;
}

/* "node" is a literal, or is made of one, and of that type. */
static void
check_literal(const Check *check, const Node *node, Oid type)
{
	ListCell   *cell;

	while (node != NULL && IsA(node, RelabelType))
		node = (const Node *) ((const RelabelType *) node)->arg;
	if (check->in_body || node == NULL || !IsA(node, Const))
		return;
	foreach(cell, check->literals)
	{
		const FlowingLiteral *literal = lfirst(cell);

		if (literal->location == ((const Const *) node)->location && is_timely(type))
			flows_with_time(psprintf("%s::%s", quote_literal_cstr(literal->text), format_type_be(type)));
	}
}

/* Functions of the current time by name, for bodies that are kept as text. */
static bool
check_written_body(Node *node, void *context)
{
	static const char *const names[] = {
		"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp", "timeofday"
	};

	if (node == NULL)
		return false;
	if (IsA(node, FuncCall))
	{
		List	   *name = ((FuncCall *) node)->funcname;
		const char *last = strVal(llast(name));

		for (size_t i = 0; i < lengthof(names); i++)
		{
			if (strcmp(last, names[i]) == 0 &&
				(list_length(name) == 1 || strcmp(strVal(linitial(name)), "pg_catalog") == 0))
				flows_with_time(psprintf("%s(), in function %s", last, (const char *) context));
		}
		if (strcmp(last, "age") == 0 && list_length(((FuncCall *) node)->args) == 1)
			flows_with_time(psprintf("age(), in function %s", (const char *) context));
	}
	else if (IsA(node, SQLValueFunction) && ((SQLValueFunction *) node)->op <= SVFOP_LOCALTIMESTAMP_N)
		flows_with_time(psprintf("the current time, in function %s", (const char *) context));
	return raw_expression_tree_walker(node, check_written_body, context);
}

/* What a function in SQL does. */
static void
check_body(Check *check, Oid function)
{
	HeapTuple	tuple;
	Datum		body;
	bool		isnull;

	if (function < FirstNormalObjectId || list_member_oid(check->bodies, function))
		return;
	check->bodies = lappend_oid(check->bodies, function);
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	if (!HeapTupleIsValid(tuple))
		return;
	if (((Form_pg_proc) GETSTRUCT(tuple))->prolang == SQLlanguageId)
	{
		body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &isnull);
		if (!isnull)
		{
			Check		inner = *check;

			inner.in_body = true;
			(void) check_node(stringToNode(TextDatumGetCString(body)), &inner);
			check->bodies = inner.bodies;
		}
		else
		{
			ListCell   *cell;

			body = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull);
			foreach(cell, pg_parse_query(TextDatumGetCString(body)))
				(void) check_written_body(lfirst_node(RawStmt, cell)->stmt, format_procedure(function));
		}
	}
	ReleaseSysCache(tuple);
}

static bool check_function(Oid function, void *context);

static void
check_aggregate(Check *check, Oid aggregate)
{
	HeapTuple	tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
	Form_pg_aggregate form;

	if (!HeapTupleIsValid(tuple))
		return;
	form = (Form_pg_aggregate) GETSTRUCT(tuple);
	(void) check_function(form->aggtransfn, check);
	if (OidIsValid(form->aggfinalfn))
		(void) check_function(form->aggfinalfn, check);
	if (OidIsValid(form->aggcombinefn))
		(void) check_function(form->aggcombinefn, check);
	ReleaseSysCache(tuple);
}

static bool
check_function(Oid function, void *context)
{
	Check	   *check = context;

	check_stack_depth();
	switch (function)
	{
		case F_NOW:
		case F_TRANSACTION_TIMESTAMP:
		case F_STATEMENT_TIMESTAMP:
		case F_CLOCK_TIMESTAMP:
		case F_TIMEOFDAY:
		case F_AGE_TIMESTAMPTZ:
		case F_AGE_TIMESTAMP:
		case F_AGE_XID:
		case F_MXID_AGE:
		case F_TXID_CURRENT:
		case F_TXID_CURRENT_IF_ASSIGNED:
		case F_TXID_CURRENT_SNAPSHOT:
		case F_PG_CURRENT_XACT_ID:
		case F_PG_CURRENT_XACT_ID_IF_ASSIGNED:
		case F_PG_CURRENT_SNAPSHOT:
			flows_with_time(format_procedure(function));
			break;
		case F_CURRENT_SETTING_TEXT:
		case F_CURRENT_SETTING_TEXT_BOOL:
		case F_SESSION_USER:
		case F_PG_BACKEND_PID:
		case F_INET_CLIENT_ADDR:
		case F_INET_CLIENT_PORT:
			if (!check->in_body)
				depends_on_session(format_procedure(function));
			break;
		default:
			break;
	}
	if (get_func_namespace(function) == get_namespace_oid("crm", true) && get_func_nargs(function) == 0 &&
		strcmp(get_func_name(function), "now") == 0)
		flows_with_time("crm.now()");
	if (get_func_prokind(function) == PROKIND_AGGREGATE)
		check_aggregate(check, function);
	else
		check_body(check, function);
	if (check->in_body)
		return false;
	if (isAnyTempNamespace(get_func_namespace(function)))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("query of a feed must not call temporary functions"),
				 errdetail("It calls %s.", format_procedure(function)),
				 errhint("A feed is read by other sessions too: create the function in a permanent schema.")));
	if (func_volatile(function) == PROVOLATILE_VOLATILE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("query of a feed must not call volatile functions"),
				 errdetail("It, or a view that it reads, calls %s.", format_procedure(function)),
				 errhint("A feed must give the same rows for the same data. If this function does, "
						 "declare it STABLE or IMMUTABLE.")));
	return false;
}

static void
check_value_function(const Check *check, const SQLValueFunction *function)
{
	switch (function->op)
	{
		case SVFOP_CURRENT_DATE:
			flows_with_time("CURRENT_DATE");
			break;
		case SVFOP_CURRENT_TIME:
		case SVFOP_CURRENT_TIME_N:
			flows_with_time("CURRENT_TIME");
			break;
		case SVFOP_CURRENT_TIMESTAMP:
		case SVFOP_CURRENT_TIMESTAMP_N:
			flows_with_time("CURRENT_TIMESTAMP");
			break;
		case SVFOP_LOCALTIME:
		case SVFOP_LOCALTIME_N:
			flows_with_time("LOCALTIME");
			break;
		case SVFOP_LOCALTIMESTAMP:
		case SVFOP_LOCALTIMESTAMP_N:
			flows_with_time("LOCALTIMESTAMP");
			break;
		case SVFOP_SESSION_USER:
			if (!check->in_body)
				depends_on_session("SESSION_USER");
			break;
		default:
			break;
	}
}

static void
check_query(const Check *check, const Query *query)
{
	if (check->in_body || query->rowMarks == NIL)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("query of a feed must not lock rows"),
			 errdetail("A view that it reads has a clause FOR UPDATE, FOR SHARE or the like."),
			 errhint("Read the tables of that view, or a view without the clause.")));
}

static bool
check_node(Node *node, void *context)
{
	Check	   *check = context;

	if (node == NULL)
		return false;
	(void) check_functions_in_node(node, check_function, context);
	switch (nodeTag(node))
	{
		case T_Const:
			check_literal(check, node, ((Const *) node)->consttype);
			break;
		case T_CoerceViaIO:
			check_literal(check, (Node *) ((CoerceViaIO *) node)->arg, ((CoerceViaIO *) node)->resulttype);
			break;
		case T_ArrayCoerceExpr:
			check_literal(check, (Node *) ((ArrayCoerceExpr *) node)->arg, ((ArrayCoerceExpr *) node)->resulttype);
			break;
		case T_SQLValueFunction:
			check_value_function(check, (SQLValueFunction *) node);
			break;
		case T_TableSampleClause:
			if (!check->in_body && ((TableSampleClause *) node)->repeatable == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
						 errmsg("query of a feed must not take a random sample"),
						 errdetail("It, or a view that it reads, has TABLESAMPLE without REPEATABLE."),
						 errhint("Add REPEATABLE (seed), or leave the clause out.")));
			break;
		case T_Query:
			check_query(check, (Query *) node);
			return query_tree_walker((Query *) node, check_node, context, 0);
		default:
			break;
	}
	return expression_tree_walker(node, check_node, context);
}

void
feed_check_constancy(Query *query, List *literals)
{
	Check		check = {0};

	check.literals = literals;
	(void) check_node((Node *) query, &check);
	/* What is in a view has places of its own text, or none. */
	check.literals = NIL;
	(void) check_node((Node *) QueryRewrite(copyObject(query)), &check);
}

/*
 * ops.c
 *		What is done with predicates as values: order, hash, joining, and what they depend on.
 *
 * Order and equality are those of the canonical text's bytes. They know nothing of meaning: "a and b" and "b and a"
 * are two predicates.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "predicate/ast.h"

PG_FUNCTION_INFO_V1(crm_predicate_eq);
PG_FUNCTION_INFO_V1(crm_predicate_ne);
PG_FUNCTION_INFO_V1(crm_predicate_lt);
PG_FUNCTION_INFO_V1(crm_predicate_le);
PG_FUNCTION_INFO_V1(crm_predicate_gt);
PG_FUNCTION_INFO_V1(crm_predicate_ge);
PG_FUNCTION_INFO_V1(crm_predicate_compare);
PG_FUNCTION_INFO_V1(crm_predicate_hash);
PG_FUNCTION_INFO_V1(crm_predicate_hash_extended);
PG_FUNCTION_INFO_V1(crm_predicate_and);
PG_FUNCTION_INFO_V1(crm_predicate_or);
PG_FUNCTION_INFO_V1(crm_predicate_not);
PG_FUNCTION_INFO_V1(crm_predicate_event_kinds);
PG_FUNCTION_INFO_V1(crm_predicate_attributes);

static int
compare_predicates(FunctionCallInfo fcinfo)
{
	Predicate  *a = PG_GETARG_PREDICATE_P(0);
	Predicate  *b = PG_GETARG_PREDICATE_P(1);
	int			a_length = PredicateTextLength(a);
	int			b_length = PredicateTextLength(b);
	int			result = memcmp(a->text, b->text, Min(a_length, b_length));

	if (result == 0)
		result = a_length - b_length;
	result = (result > 0) - (result < 0);
	PG_FREE_IF_COPY(a, 0);
	PG_FREE_IF_COPY(b, 1);
	return result;
}

Datum
crm_predicate_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) == 0);
}

Datum
crm_predicate_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) != 0);
}

Datum
crm_predicate_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) < 0);
}

Datum
crm_predicate_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) <= 0);
}

Datum
crm_predicate_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) > 0);
}

Datum
crm_predicate_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(compare_predicates(fcinfo) >= 0);
}

Datum
crm_predicate_compare(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(compare_predicates(fcinfo));
}

Datum
crm_predicate_hash(PG_FUNCTION_ARGS)
{
	Predicate  *predicate = PG_GETARG_PREDICATE_P(0);
	Datum		result = hash_any((unsigned char *) predicate->text, PredicateTextLength(predicate));

	PG_FREE_IF_COPY(predicate, 0);
	return result;
}

Datum
crm_predicate_hash_extended(PG_FUNCTION_ARGS)
{
	Predicate  *predicate = PG_GETARG_PREDICATE_P(0);
	Datum		result = hash_any_extended((unsigned char *) predicate->text, PredicateTextLength(predicate),
										   (uint64) PG_GETARG_INT64(1));

	PG_FREE_IF_COPY(predicate, 0);
	return result;
}

/* Appends an operand of "and", "or" or "not", in parentheses where it needs them there. */
static void
append_operand(StringInfo out, const Predicate *predicate, AstTag place)
{
	AstTag		tag = predicate_tree(predicate)->tag;
	bool		parentheses = (tag == AST_OR && place != AST_OR) ||
		((tag == AST_AND || tag == AST_NOT) && place == AST_NOT);

	if (parentheses)
		appendStringInfoChar(out, '(');
	appendBinaryStringInfo(out, predicate->text, PredicateTextLength(predicate));
	if (parentheses)
		appendStringInfoChar(out, ')');
}

/* Reading the joined text lays nested chains open and keeps to the limits. */
static Predicate *
read_joined(StringInfo out)
{
	return predicate_make(predicate_parse(out->data, out->len, NULL));
}

static Predicate *
join_predicates(FunctionCallInfo fcinfo, AstTag tag)
{
	StringInfoData out;

	initStringInfo(&out);
	append_operand(&out, PG_GETARG_PREDICATE_P(0), tag);
	appendStringInfoString(&out, tag == AST_AND ? " and " : " or ");
	append_operand(&out, PG_GETARG_PREDICATE_P(1), tag);
	return read_joined(&out);
}

Datum
crm_predicate_and(PG_FUNCTION_ARGS)
{
	PG_RETURN_PREDICATE_P(join_predicates(fcinfo, AST_AND));
}

Datum
crm_predicate_or(PG_FUNCTION_ARGS)
{
	PG_RETURN_PREDICATE_P(join_predicates(fcinfo, AST_OR));
}

Datum
crm_predicate_not(PG_FUNCTION_ARGS)
{
	StringInfoData out;

	initStringInfo(&out);
	appendStringInfoString(&out, "not ");
	append_operand(&out, PG_GETARG_PREDICATE_P(0), AST_NOT);
	PG_RETURN_PREDICATE_P(read_joined(&out));
}

/* Names met while going through a predicate. */
typedef struct NameList
{
	const char **names;
	int			count;
	int			capacity;
} NameList;

static void
add_name(NameList *list, const char *name)
{
	if (list->count == list->capacity)
	{
		list->capacity = list->capacity ? list->capacity * 2 : 16;
		list->names = list->names ? repalloc(list->names, sizeof(char *) * list->capacity) :
			palloc(sizeof(char *) * list->capacity);
	}
	list->names[list->count++] = name;
}

static int
compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/* Each name once, in the order of bytes. */
static ArrayType *
name_array(NameList *list)
{
	Datum	   *datums;
	int			count = 0;
	int			i;

	if (list->count == 0)
		return construct_empty_array(TEXTOID);
	qsort(list->names, list->count, sizeof(char *), compare_names);
	datums = palloc(sizeof(Datum) * list->count);
	for (i = 0; i < list->count; i++)
	{
		if (i == 0 || strcmp(list->names[i], list->names[i - 1]) != 0)
			datums[count++] = CStringGetTextDatum(list->names[i]);
	}
	return construct_array(datums, count, TEXTOID, -1, false, TYPALIGN_INT);
}

static bool
collect_kind(AstNode *node, void *context)
{
	if (node->events)
		add_name(context, node->events->kind);
	return true;
}

Datum
crm_predicate_event_kinds(PG_FUNCTION_ARGS)
{
	NameList	list = {0};

	predicate_walk(predicate_tree(PG_GETARG_PREDICATE_P(0)), collect_kind, &list);
	PG_RETURN_ARRAYTYPE_P(name_array(&list));
}

/* A bare name is an attribute outside of brackets and a property inside. */
static void
collect_attributes(const AstNode *node, bool in_brackets, NameList *list)
{
	int			i;

	check_stack_depth();
	if (node->tag == AST_CUSTOMER || (node->tag == AST_NAME && !in_brackets))
		add_name(list, node->name);
	for (i = 0; i < node->nargs; i++)
		collect_attributes(node->args[i], in_brackets, list);
	if (node->events && node->events->filter)
		collect_attributes(node->events->filter, true, list);
}

Datum
crm_predicate_attributes(PG_FUNCTION_ARGS)
{
	NameList	list = {0};

	collect_attributes(predicate_tree(PG_GETARG_PREDICATE_P(0)), false, &list);
	PG_RETURN_ARRAYTYPE_P(name_array(&list));
}

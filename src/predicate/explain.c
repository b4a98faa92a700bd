/*
 * explain.c
 *		Why a predicate is true of a customer, or not: its tree, node by node.
 *
 * The nodes shown are those that a reader sees in the text: operands that are mere names or literals are told by the row
 * of the comparison they belong to (as its value), not by rows of their own.
 */
#include "postgres.h"

#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "base/name_list.h"
#include "predicate/eval_internal.h"
#include "predicate/predicate_functions.h"

#define EXPLAIN_EVENTS 10

typedef struct Explanation
{
	Evaluation *ev;
	Program    *program;
	SegmentResolver resolver;
	void	   *context;
	ReturnSetInfo *rsinfo;
	List	   *unfolded;		/* of AstNode: segments that were shown */
	const List *hidden;			/* of const char *: names whose values are not to be shown */
} Explanation;

static bool
is_hidden(const Explanation *x, const char *name)
{
	return name != NULL && name_list_has(x->hidden, name, (int) strlen(name));
}

/* A visitor: stops at what tells a hidden value. */
static bool
tells_nothing(AstNode *node, void *context)
{
	return !is_hidden(context, node->name) && !(node->events != NULL && is_hidden(context, node->events->property));
}

static bool
is_truth(const AstNode *ast)
{
	return ast->kind == KIND_TRUTH || (ast->kind == KIND_BOOLEAN && ast->tag == AST_LITERAL);
}

/* The latest events of a selection, as JSON. */
static Jsonb *
selected_events(Explanation *x, int events, const Selection *selection)
{
	int			kind = x->program->sets[x->program->events[events].set].kind;
	const ProgramKind *program_kind = &x->program->kinds[kind];
	const KindFacts *facts = &x->ev->facts->kinds[kind];
	StringInfoData json;

	initStringInfo(&json);
	appendStringInfoChar(&json, '[');
	for (int i = Max(selection->count - EXPLAIN_EVENTS, 0); i < selection->count; i++)
	{
		int			event = SELECTED(selection, i);

		if (json.len > 1)
			appendStringInfoString(&json, ", ");
		appendStringInfoString(&json, "{\"kind\": ");
		value_append_json_string(&json, program_kind->name, (int) strlen(program_kind->name));
		appendStringInfoString(&json, ", \"at\": ");
		value_append_json(&json, value_timestamp(facts->at[event]));
		for (int p = 0; p < program_kind->nproperties; p++)
		{
			if (facts->properties[p][event].type == VALUE_UNKNOWN || is_hidden(x, program_kind->properties[p]))
				continue;
			appendStringInfoString(&json, ", ");
			value_append_json_string(&json, program_kind->properties[p], (int) strlen(program_kind->properties[p]));
			appendStringInfoString(&json, ": ");
			value_append_json(&json, facts->properties[p][event]);
		}
		appendStringInfoChar(&json, '}');
	}
	appendStringInfoChar(&json, ']');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json.data)));
}

/* In the zone of the question, not in the session's. */
static char *
instant_for_people(TimestampTz at, pg_tz *zone)
{
	char		out[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	const char *abbreviation;

	if (TIMESTAMP_NOT_FINITE(at))
		EncodeSpecialTimestamp(at, out);
	else if (timestamp2tm(at, &offset, &tm, &fsec, &abbreviation, zone) == 0)
		EncodeDateTime(&tm, fsec, true, offset, abbreviation, USE_ISO_DATES, out);
	else
		strlcpy(out, "(timestamp out of range)", sizeof(out));
	return pstrdup(out);
}

static char *
value_for_people(Value value, pg_tz *zone)
{
	StringInfoData out;

	if (value.type == VALUE_UNKNOWN)
		return NULL;
	if (value.type == VALUE_TEXT)
		return pnstrdup(value.u.text, value.length);
	initStringInfo(&out);
	if (value.type == VALUE_TIMESTAMP)
		return instant_for_people(value.u.integer, zone);
	if (value.type != VALUE_DATE)
		value_append_json(&out, value);
	else if (DATE_NOT_FINITE((DateADT) value.u.integer))
		appendStringInfoString(&out, DATE_IS_NOBEGIN((DateADT) value.u.integer) ? "-infinity" : "infinity");
	else
		value_append_date(&out, (DateADT) value.u.integer);
	return out.data;
}

static void
explain_node(Explanation *x, AstNode *ast, int depth)
{
	const ProgramNode *node;
	Datum		values[6];
	bool		nulls[6] = {false, false, true, true, true, true};
	StringInfoData text;
	TimestampTz until = DT_NOEND;
	int			number;

	check_stack_depth();
	CHECK_FOR_INTERRUPTS();

	number = program_add(x->program, ast, x->resolver, x->context);
	node = &x->program->nodes[number];

	initStringInfo(&text);
	predicate_print(&text, ast);
	values[0] = Int32GetDatum(depth);
	values[1] = CStringGetTextDatum(text.data);

	if (is_truth(ast))
	{
		nulls[3] = false;
		values[3] = BoolGetDatum(evaluation_truth(x->ev, number, &until));
	}
	else if (ast->tag != AST_ANNIVERSARY && ast->tag != AST_INTERVAL && ast->kind != KIND_INTERVAL)
	{
		char	   *value = value_for_people(eval_value(x->ev, number, &until), x->ev->zone);

		if (value != NULL && !predicate_walk(ast, tells_nothing, x))
			value = "***";
		if (value != NULL)
		{
			nulls[2] = false;
			values[2] = CStringGetTextDatum(value);
		}
	}
	nulls[4] = false;
	values[4] = TimestampTzGetDatum(until);
	if (ast->tag == AST_HAS || ast->tag == AST_AGGREGATE || ast->tag == AST_MOMENT_OF)
	{
		const Selection *selection = select_events(x->ev, node->events, NULL);

		if (selection->count > 0)
		{
			nulls[5] = false;
			values[5] = JsonbPGetDatum(selected_events(x, node->events, selection));
		}
	}
	tuplestore_putvalues(x->rsinfo->setResult, x->rsinfo->setDesc, values, nulls);

	for (int i = 0; i < ast->nargs; i++)
	{
		AstNode    *arg = ast->args[i];

		/* anniversaries are many moments, intervals none: the row above tells */
		if (arg->tag == AST_LITERAL || arg->tag == AST_INTERVAL || arg->tag == AST_ANNIVERSARY)
			continue;
		if (ast->tag == AST_IN_WINDOW && arg->tag == AST_ARITHMETIC)
			continue;
		explain_node(x, arg, depth + 1);
	}
	if (ast->tag == AST_IN_SEGMENT && x->resolver != NULL)
	{
		int			id;
		AstNode    *inner = x->resolver(&ast->literals[0], &id, x->context);

		/* Once: segments that name each other in many ways would be unfolded in each of them. */
		if (inner != NULL && !list_member_ptr(x->unfolded, inner))
		{
			x->unfolded = lappend(x->unfolded, inner);
			explain_node(x, inner, depth + 1);
		}
	}
}

void
explain_tree(Evaluation *evaluation, AstNode *tree, Program *program, SegmentResolver resolver, void *context,
			 const List *hidden, ReturnSetInfo *rsinfo)
{
	Explanation x = {evaluation, program, resolver, context, rsinfo, NIL, hidden};

	explain_node(&x, tree, 0);
}

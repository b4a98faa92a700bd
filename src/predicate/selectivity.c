/*
 * selectivity.c
 *		How many customers a predicate is likely to keep: the planner's estimate for profile @@ predicate.
 *
 * Nothing is known of the facts inside a profile, so each part of the predicate gets a customary guess, and the parts
 * are combined as if they were independent. That is enough to put a cheap condition before an expensive one, and to
 * tell "everybody" from "a few".
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/primnodes.h"
#include "optimizer/optimizer.h"
#include "utils/lsyscache.h"
#include "utils/selfuncs.h"

#include "predicate/ast.h"

PG_FUNCTION_INFO_V1(crm_predicate_matchsel);
PG_FUNCTION_INFO_V1(crm_predicate_matchjoinsel);

extern Datum crm_predicate_in(PG_FUNCTION_ARGS);

#define GUESS_ANY 0.1			/* of a predicate that is not known when planning */
#define GUESS_EQUAL 0.05
#define GUESS_RANGE 0.33
#define GUESS_BETWEEN 0.15
#define GUESS_LIKE 0.1
#define GUESS_CONTAINS 0.2
#define GUESS_KNOWN 0.8
#define GUESS_WINDOW 0.2
#define GUESS_HAS 0.3			/* at least one such event, at any time */
#define GUESS_FILTER 0.5		/* of the events, in brackets */
#define GUESS_SEGMENT 0.1

static double
guess(const AstNode *node)
{
	double		result;
	int			i;

	check_stack_depth();
	switch (node->tag)
	{
		case AST_AND:
			result = 1;
			for (i = 0; i < node->nargs; i++)
				result *= guess(node->args[i]);
			return result;
		case AST_OR:
			result = 1;
			for (i = 0; i < node->nargs; i++)
				result *= 1 - guess(node->args[i]);
			return 1 - result;
		case AST_NOT:
			return 1 - guess(node->args[0]);
		case AST_LITERAL:
			return node->literals[0].u.integer ? 1 : 0;
		case AST_COMPARE:
			result = node->op == COMPARE_OP_EQ ? GUESS_EQUAL : node->op == COMPARE_OP_NE ? 1 - GUESS_EQUAL : GUESS_RANGE;
			break;
		case AST_IN_LIST:
			result = Min(GUESS_EQUAL * node->nliterals, 0.5);
			break;
		case AST_BETWEEN:
			result = GUESS_BETWEEN;
			break;
		case AST_LIKE:
			result = GUESS_LIKE;
			break;
		case AST_CONTAINS:
			result = GUESS_CONTAINS;
			break;
		case AST_KNOWN:
			result = GUESS_KNOWN;
			break;
		case AST_IN_WINDOW:
			result = GUESS_WINDOW;
			break;
		case AST_HAS:
			result = GUESS_HAS;
			if (node->events->filter)
				result *= GUESS_FILTER;
			if (node->events->window)
				result *= GUESS_WINDOW;
			break;
		case AST_IN_SEGMENT:
			result = GUESS_SEGMENT;
			break;
		default:
			result = GUESS_ANY;
			break;
	}
	return node->negated ? 1 - result : result;
}

/* Anybody may make an operator that names this function, so the type of the constant is looked at. */
static bool
is_predicate(Oid type)
{
	Oid			input;
	Oid			param;
	FmgrInfo	info;

	getTypeInputInfo(type, &input, &param);
	fmgr_info(input, &info);
	return info.fn_addr == crm_predicate_in;
}

Datum
crm_predicate_matchsel(PG_FUNCTION_ARGS)
{
	PlannerInfo *root = (PlannerInfo *) PG_GETARG_POINTER(0);
	List	   *args = (List *) PG_GETARG_POINTER(2);
	double		result = GUESS_ANY;
	Node	   *right;

	if (list_length(args) != 2)
		PG_RETURN_FLOAT8(GUESS_ANY);
	right = estimate_expression_value(root, (Node *) lsecond(args));
	if (IsA(right, Const))
	{
		Const	   *constant = (Const *) right;

		if (constant->constisnull)
			PG_RETURN_FLOAT8(0);
		if (is_predicate(constant->consttype))
			result = guess(predicate_tree(DatumGetPredicateP(constant->constvalue)));
	}
	CLAMP_PROBABILITY(result);
	PG_RETURN_FLOAT8(result);
}

Datum
crm_predicate_matchjoinsel(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_FLOAT8(GUESS_ANY);
}

/*
 * walk.c
 *		Visits the nodes of a predicate.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "predicate/ast.h"

bool
predicate_walk(AstNode *node, AstVisitor visit, void *context)
{
	int			i;

	check_stack_depth();
	if (!visit(node, context))
		return false;
	for (i = 0; i < node->nargs; i++)
	{
		if (!predicate_walk(node->args[i], visit, context))
			return false;
	}
	if (node->events && node->events->filter)
		return predicate_walk(node->events->filter, visit, context);
	return true;
}

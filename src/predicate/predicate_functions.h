/*
 * predicate_functions.h
 *		Periods as a multirange, and explanations, for SQL functions here and above.
 */
#ifndef CRM_PREDICATE_FUNCTIONS_H
#define CRM_PREDICATE_FUNCTIONS_H

#include "postgres.h"

#include "nodes/execnodes.h"
#include "utils/rangetypes.h"

#include "predicate/eval.h"

typedef struct PeriodList
{
	MemoryContext context;
	int			count;
	int			room;
	RangeType **ranges;
} PeriodList;

extern void period_list_add(void *list, TimestampTz from, TimestampTz to);	/* a PeriodSink */
extern Datum period_list_multirange(const PeriodList *list);

/*
 * Puts a row for each node of the tree into the set: depth, text, value, truth, until, events. The evaluation stands at
 * the customer and instant asked about; the tree is one that was compiled into the program with that resolver. Values of the
 * attributes and properties whose names are hidden are shown as ***.
 */
extern void explain_tree(Evaluation *evaluation, AstNode *tree, Program *program, SegmentResolver resolver,
						 void *context, const List *hidden, ReturnSetInfo *rsinfo);

#endif							/* CRM_PREDICATE_FUNCTIONS_H */

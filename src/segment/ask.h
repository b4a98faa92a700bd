/*
 * ask.h
 *		A predicate that is asked among the stored segments, without storing anything.
 */
#ifndef CRM_ASK_H
#define CRM_ASK_H

#include "postgres.h"

#include "predicate/eval.h"
#include "segment/segment.h"

typedef struct Question
{
	SegmentCatalog *catalog;	/* empty where the predicate names no segment */
	AstNode    *tree;
	Program    *program;
	int			root;
	Evaluation *evaluation;
} Question;

/* In CurrentMemoryContext, compiled for the shop's zone. */
extern void question_init(Question *question, const Predicate *predicate);

#endif							/* CRM_ASK_H */

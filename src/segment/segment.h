/*
 * segment.h
 *		The stored segments, and what "in segment" stands for.
 */
#ifndef CRM_SEGMENT_H
#define CRM_SEGMENT_H

#include "postgres.h"

#include "predicate/program.h"

typedef struct Segment
{
	int			id;
	char	   *name;
	Predicate  *predicate;		/* NULL: static */
	AstNode    *tree;			/* parsed when first asked for */
	bool		evaluated;
	TimestampTz evaluated_at;
	bool		stale;			/* edited since: what is stored, or its deadlines, are of another definition */
	bool		trigger;		/* its occurrences are told: those later than this instant, and no older than this many us */
	TimestampTz trigger_since;
	int64		trigger_window;
	int			root;			/* for the user of the catalog: its node in a program */
} Segment;

typedef struct SegmentCatalog
{
	int			count;
	Segment    *segments;		/* by id, ascending */
	MemoryContext context;
} SegmentCatalog;

/* All stored segments, in CurrentMemoryContext. */
extern SegmentCatalog *segment_catalog_load(void);
extern Segment *segment_by_id(SegmentCatalog *catalog, int id);	/* NULL when there is none */
extern Segment *segment_by_name(SegmentCatalog *catalog, const char *name, int length);	/* error 42704 */

/* A SegmentResolver; its context is the catalog. */
extern AstNode *segment_resolver(const Value *segment, int *static_id, void *catalog);

/* The tree with names in "in segment" replaced by ids, and the reverse for people to read. In place. */
extern void segment_names_to_ids(AstNode *tree, SegmentCatalog *catalog);
extern void segment_ids_to_names(AstNode *tree, SegmentCatalog *catalog);

#endif							/* CRM_SEGMENT_H */

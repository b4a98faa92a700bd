/*
 * program.h
 *		Predicates compiled for evaluation: many of them into one program.
 *
 * Equal parts of all predicates of a program are one node, one event set, one window, so that a condition which a
 * hundred segments share is computed once per customer. Names are resolved to slots: a program lists the attributes,
 * kinds and properties that it needs, and whoever evaluates it supplies just these (see Facts in eval.h).
 */
#ifndef CRM_PROGRAM_H
#define CRM_PROGRAM_H

#include "postgres.h"

#include "predicate/ast.h"
#include "utils/hsearch.h"

/* What every event has besides its own properties; the local ones depend on the zone. */
typedef enum DerivedProperty
{
	DERIVED_NONE,
	DERIVED_AT,
	DERIVED_HOUR,
	DERIVED_WEEKDAY,
	DERIVED_DAY,
	DERIVED_WEEK,
	DERIVED_MONTH,
	DERIVED_YEAR,
	DERIVED_DATE,
	DERIVED_WEEK_OF,
	DERIVED_MONTH_OF
} DerivedProperty;

/* Where a property is found: in a column of its kind, or computed from the event's time. */
typedef struct PropertyRef
{
	DerivedProperty derived;
	int			column;			/* when derived is DERIVED_NONE */
} PropertyRef;

typedef struct ProgramNode
{
	AstTag		tag;
	int			op;
	bool		negated;
	bool		shared;			/* more than one user: its result is remembered per customer and instant */
	bool		timed;			/* in brackets: its truth depends on the instant (windows, followed by) */
	bool		outer;			/* in brackets: depends on the outer event (same) */
	int			nargs;
	int		   *args;			/* nodes */
	int			nliterals;
	Value	   *literals;
	AstMoment  *moments;		/* of the literals, where they are ISO strings; form ISO_NONE where not */
	int			slot;			/* AST_NAME outside brackets, AST_CUSTOMER: attribute */
	PropertyRef property;		/* AST_NAME in brackets, AST_AGGREGATE; AST_SAME: of the inner event */
	PropertyRef outer_property; /* AST_SAME: of the outer event */
	int			events;			/* AST_HAS, AST_AGGREGATE, AST_MOMENT_OF: windowed set; AST_FOLLOWED: base set */
	int			window;			/* AST_IN_WINDOW */
	int			segment;		/* AST_IN_SEGMENT: static segment's id */
	int			sums;			/* AST_AGGREGATE sum, avg: running sums, or -1 */
	bool		has_span;
	Interval	span;			/* AST_FOLLOWED within, AST_INTERVAL */
	const AstNode *ast;			/* first of the equal nodes it was made from */
} ProgramNode;

/* Events of one kind that meet one filter, at any time. */
typedef struct ProgramSet
{
	int			kind;
	int			filter;			/* node, or -1 */
	bool		timed;			/* the filter's truth depends on the instant */
	bool		outer;			/* ... or on the outer event */
} ProgramSet;

/* A set seen through a window, or the whole of it (window -1). */
typedef struct ProgramEvents
{
	int			set;
	int			window;
} ProgramEvents;

typedef struct ProgramSums
{
	int			set;			/* not timed */
	PropertyRef property;
	int			users;
} ProgramSums;

typedef struct ProgramKind
{
	const char *name;
	int			nproperties;
	const char **properties;
} ProgramKind;

typedef struct Program
{
	MemoryContext context;

	int			nattributes;
	const char **attributes;
	int			nkinds;
	ProgramKind *kinds;

	int			nnodes;
	ProgramNode *nodes;
	int			nsets;
	ProgramSet *sets;
	int			nevents;
	ProgramEvents *events;
	int			nwindows;
	AstWindow **windows;
	int			nsums;
	ProgramSums *sums;

	bool		uses_entry;		/* some window is "since entry" */
	bool		uses_segments;	/* some node asks for a static segment */
	HTAB	   *index;			/* canonical text, with its scope -> node, set, ... */
} Program;

/*
 * Says what "in segment" stands for: the tree of a dynamic segment's predicate (compiled in its place), or NULL and the
 * id of a static one (asked of Facts). Raises an error for an unknown segment. Without a resolver, "in segment" is an
 * error of class 22: not resolved.
 */
typedef AstNode *(*SegmentResolver) (const Value *segment, int *static_id, void *context);

extern Program *program_create(MemoryContext context);

/* Adds a predicate; gives the node that is its root. The tree must live as long as the program. */
extern int	program_add(Program *program, AstNode *tree, SegmentResolver resolver, void *context);

/* -1 when the program does not know the name. */
extern int	program_attribute(const Program *program, const char *name, int length);
extern int	program_kind(const Program *program, const char *name, int length);
extern int	program_property(const ProgramKind *kind, const char *name, int length);

/* DERIVED_NONE for any other name. */
extern DerivedProperty derived_property(const char *name);

#endif							/* CRM_PROGRAM_H */

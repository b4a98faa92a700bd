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

/* A long list of literals in order; short ones have none and are walked. */
typedef struct LiteralIndex
{
	int			nsorted;
	Value	   *sorted;			/* all of them, ascending */
	int			nmoments;
	int		   *moments;		/* numbers of those in ISO form */
	int			ndates;
	int64	   *dates;			/* those that are dates, ascending */
} LiteralIndex;

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
	LiteralIndex *index;		/* of the literals, or NULL */
	int			slot;			/* AST_NAME outside brackets, AST_CUSTOMER: attribute */
	PropertyRef property;		/* AST_NAME in brackets, AST_AGGREGATE; AST_SAME: of the inner event */
	PropertyRef outer_property; /* AST_SAME: of the outer event */
	int			events;			/* AST_HAS, AST_AGGREGATE, AST_MOMENT_OF: windowed set; AST_FOLLOWED: base set */
	int			window;			/* AST_IN_WINDOW */
	int			anniversary;	/* AST_IN_WINDOW: the node of an anniversary, however it is shifted, or -1 */
	int			nshifts;
	Interval   *shifts;			/* what is added to the anniversary, in this order */
	int			segment;		/* AST_IN_SEGMENT: static segment's id */
	int			sums;			/* AST_AGGREGATE sum, avg: running sums, or -1 */
	int			column;			/* AST_AGGREGATE distinct, most, mode, min, max: column, or -1 */
	bool		has_span;
	Interval	span;			/* AST_FOLLOWED within, AST_INTERVAL */
	const AstNode *ast;			/* first of the equal nodes it was made from */
} ProgramNode;

/* Parts of a conjunction. */
typedef struct ProgramParts
{
	int			count;
	int		   *nodes;
} ProgramParts;

/*
 * Events of one kind that meet one filter, at any time. The filter is a conjunction of parts that are asked in different
 * ways: the plain ones once for an event, the timed ones once for an instant, those on the outer event for each pair; of
 * these "same" are met by looking up instead of by trying.
 */
typedef struct ProgramSet
{
	int			kind;
	int			filter;			/* node, or -1 */
	bool		timed;			/* the filter's truth depends on the instant */
	bool		outer;			/* ... or on the outer event */
	ProgramParts plain;			/* neither timed nor outer */
	ProgramParts moving;		/* timed, not outer */
	ProgramParts same;			/* AST_SAME */
	ProgramParts pairs;			/* others that look at the outer event */
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

/* What distinct, most, mode, min and max look at: a property of a set's events. */
typedef struct ProgramColumn
{
	int			set;			/* not timed */
	PropertyRef property;
} ProgramColumn;

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
	int			ncolumns;
	ProgramColumn *columns;

	bool		uses_entry;		/* some window is "since entry" */
	bool		uses_segments;	/* some node asks for a static segment */
	HTAB	   *index;			/* canonical text, with its scope -> node, set, ... */
	HTAB	   *names;			/* ProgramName */
} Program;

/* What a name stands for. */
typedef struct NameKey
{
	const char *name;			/* not terminated, when it is looked for */
	int			length;
} NameKey;

typedef struct ProgramProperty
{
	int			kind;
	int			slot;
} ProgramProperty;

typedef struct ProgramName
{
	NameKey		key;			/* first, for the hash table */
	int			attribute;		/* slot, or -1 */
	int			kind;			/* slot, or -1 */
	int			nproperties;
	ProgramProperty *properties;	/* ascending by kind */
} ProgramName;

/*
 * Says what "in segment" stands for: the tree of a dynamic segment's predicate (compiled in its place), or NULL and the
 * id of a static one (asked of Facts). Raises an error for an unknown segment. Without a resolver, "in segment" is an
 * error of class 22: not resolved.
 */
typedef AstNode *(*SegmentResolver) (const Value *segment, int *static_id, void *context);

extern Program *program_create(MemoryContext context);

/* Adds a predicate; gives the node that is its root. The tree must live as long as the program. */
extern int	program_add(Program *program, AstNode *tree, SegmentResolver resolver, void *context);

/* NULL when the program does not know the name. */
extern const ProgramName *program_find_name(const Program *program, const char *name, int length);

/* Its slot as a property of a kind, or -1. */
extern int	program_property(const ProgramName *name, int kind);

extern bool literal_index_has(const LiteralIndex *index, Value value);
extern bool literal_index_has_date(const LiteralIndex *index, DateADT date);

/* DERIVED_NONE for any other name. */
extern DerivedProperty derived_property(const char *name);

#endif							/* CRM_PROGRAM_H */

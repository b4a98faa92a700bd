/*
 * ast.h
 *		A predicate as a tree: what the parser makes, the printer prints and the compiler reads.
 *
 * crm.predicate is stored as its canonical text, which is short, portable and survives any change of these structs. A
 * tree lives only as long as the memory context it was parsed in.
 */
#ifndef CRM_AST_H
#define CRM_AST_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/calendar.h"
#include "base/value.h"
#include "compat.h"

/* Limits; beyond each of them is an error of class 54. */
#define PREDICATE_MAX_TEXT (256 * 1024)	/* bytes */
#define PREDICATE_MAX_DEPTH 128 /* of parentheses, brackets, not and unary minus */
#define PREDICATE_MAX_NODES 20000
#define PREDICATE_MAX_OPERATIONS 500	/* of + - * / one upon the other */
#define PREDICATE_MAX_BRACKETS 4	/* brackets within brackets */
#define PREDICATE_MAX_NAME 255	/* bytes of a name */

typedef enum AstTag
{
	/* truths */
	AST_AND,					/* args: two or more, none of them AST_AND */
	AST_OR,						/* args: two or more, none of them AST_OR */
	AST_NOT,					/* args[0] */
	AST_COMPARE,				/* args[0] op args[1]; op is a CompareOp */
	AST_IN_LIST,				/* args[0] [not] in (literals) */
	AST_BETWEEN,				/* args[0] [not] between args[1] and args[2], closed */
	AST_LIKE,					/* args[0] [not] like|ilike text; op is 1 for ilike */
	AST_CONTAINS,				/* args[0] [not] contains literals; op is a ContainsOp */
	AST_KNOWN,					/* args[0] is [not] known */
	AST_IN_WINDOW,				/* args[0], a moment, [not] window */
	AST_HAS,					/* has|no events; negated is "no" */
	AST_IN_SEGMENT,				/* in segment text, or (resolved) in segment number: literals[0] */
	AST_FOLLOWED,				/* followed|preceded by events [within span]; op is 1 for preceded; in brackets */
	AST_SAME,					/* same name; in brackets */
	/* values and moments */
	AST_LITERAL,				/* literals[0]; a text in ISO form may serve as a moment too */
	AST_NAME,					/* name: an attribute, or in brackets a property or at, hour, ... of the event */
	AST_CUSTOMER,				/* customer.name; in brackets */
	AST_AGGREGATE,				/* op is an AggregateOp, over events (and events->property, save count) */
	AST_MOMENT_OF,				/* first|last(events): op is AGG_FIRST or AGG_LAST */
	AST_ANNIVERSARY,			/* anniversary(args[0]) */
	AST_BUCKET,					/* bucket(text) */
	AST_ARITHMETIC,				/* args[0] op args[1]; op is '+', '-', '*' or '/' */
	AST_NEGATE,					/* - args[0] */
	AST_INTERVAL				/* span */
} AstTag;

/* What a node is. A name, and a text in ISO form, may be a value or a moment: which of both its place tells. */
typedef enum AstKind
{
	KIND_TRUTH,
	KIND_VALUE,
	KIND_MOMENT,				/* first(order), anniversary(x), m + 1 day */
	KIND_EITHER,				/* value or moment */
	KIND_INTERVAL,
	KIND_BOOLEAN				/* true, false: a literal, or a truth */
} AstKind;

typedef enum CompareOp
{
	COMPARE_OP_EQ,
	COMPARE_OP_NE,
	COMPARE_OP_LT,
	COMPARE_OP_LE,
	COMPARE_OP_GT,
	COMPARE_OP_GE
} CompareOp;

/* The names before PostgreSQL 18 took them for itself; only eval_quick.c still has them. */
#define COMPARE_OP_EQ		COMPARE_OP_EQ
#define COMPARE_OP_NE		COMPARE_OP_NE
#define COMPARE_OP_LT		COMPARE_OP_LT
#define COMPARE_OP_LE		COMPARE_OP_LE
#define COMPARE_OP_GT		COMPARE_OP_GT
#define COMPARE_OP_GE		COMPARE_OP_GE

typedef enum ContainsOp
{
	CONTAINS_ONE,				/* contains literal */
	CONTAINS_ANY,
	CONTAINS_ALL
} ContainsOp;

typedef enum AggregateOp
{
	AGG_COUNT,
	AGG_SUM,
	AGG_AVG,
	AGG_MIN,
	AGG_MAX,
	AGG_FIRST,
	AGG_LAST,
	AGG_DISTINCT,
	AGG_MOST,
	AGG_MODE
} AggregateOp;

/* An interval as written (its terms, for printing) and as PostgreSQL adds it. */
typedef struct AstTerm
{
	int64		number;
	CalendarUnit unit;
} AstTerm;

typedef struct AstSpan
{
	int			nterms;
	AstTerm    *terms;
	Interval	interval;
} AstSpan;

typedef enum WindowTag
{
	WINDOW_NONE,				/* only inside the evaluator: [s, ever) */
	WINDOW_IN_LAST,				/* d1 */
	WINDOW_IN_NEXT,				/* d1 */
	WINDOW_BEFORE_AGO,			/* d1 */
	WINDOW_BETWEEN_AGO,			/* d1, d2 */
	WINDOW_SINCE,				/* t1 */
	WINDOW_BEFORE,				/* t1 */
	WINDOW_BETWEEN,				/* t1, t2 */
	WINDOW_SINCE_ENTRY,
	WINDOW_THIS,				/* unit; today is this day, printed today */
	WINDOW_PREVIOUS,			/* unit, count: previous unit is count 1 without a number, see bare */
	WINDOW_TOMORROW
} WindowTag;

/* A timestamp literal. */
typedef struct AstMoment
{
	Value		text;			/* as written */
	IsoForm		form;
	int64		value;			/* as value_parse_iso() gives it */
} AstMoment;

typedef struct AstWindow
{
	WindowTag	tag;
	AstSpan    *d1;
	AstSpan    *d2;
	AstMoment	t1;
	AstMoment	t2;
	CalendarUnit unit;
	int64		count;
	bool		bare;			/* previous unit (yesterday when the unit is day), not previous n units */
	int			location;
} AstWindow;

struct AstNode;

typedef struct AstEvents
{
	const char *kind;
	struct AstNode *filter;		/* or NULL */
	const char *property;		/* of an aggregate, or NULL */
	AstWindow  *window;			/* or NULL */
	int			location;
} AstEvents;

typedef struct AstNode
{
	AstTag		tag;
	AstKind		kind;
	int			op;
	bool		negated;
	int			location;		/* byte offset of the token it begins with, for messages */
	int			operations;		/* of arithmetic one upon the other, this the topmost */
	int			nargs;
	struct AstNode **args;
	int			nliterals;
	Value	   *literals;
	const char *name;
	AstEvents  *events;
	AstWindow  *window;
	AstSpan    *span;			/* of AST_INTERVAL; of AST_FOLLOWED: within, or NULL */
} AstNode;

/*
 * Reads a predicate. With a soft error context (PostgreSQL 16 on) an error is saved there and NULL returned; with NULL
 * for it, raised.
 */
extern AstNode *predicate_parse(const char *text, int length, Node *escontext);

/* The canonical text of a tree, or of any node of it. */
extern void predicate_print(StringInfo out, const AstNode *node);
extern void predicate_print_window(StringInfo out, const AstWindow *window);
extern void predicate_print_name(StringInfo out, const char *name);

/* Calls visit on every node, parents first, also within brackets; a NULL visit result goes on, false stops. */
typedef bool (*AstVisitor) (AstNode *node, void *context);
extern bool predicate_walk(AstNode *node, AstVisitor visit, void *context);

/* The type: a varlena of a version byte and the canonical text. */
typedef struct Predicate
{
	int32		vl_len_;		/* varlena header (do not touch directly!) */
	uint8		version;		/* PREDICATE_VERSION */
	char		text[FLEXIBLE_ARRAY_MEMBER];	/* canonical, not terminated */
} Predicate;

#define PREDICATE_VERSION 1
#define PREDICATE_HEADER offsetof(Predicate, text)
#define PredicateTextLength(p) ((int) (VARSIZE(p) - PREDICATE_HEADER))
#define DatumGetPredicateP(d) ((Predicate *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PREDICATE_P(n) DatumGetPredicateP(PG_GETARG_DATUM(n))
#define PG_RETURN_PREDICATE_P(p) PG_RETURN_POINTER(p)

extern Predicate *predicate_make(const AstNode *root);
extern AstNode *predicate_tree(const Predicate *predicate); /* parses its text again; checks the version */

#endif							/* CRM_AST_H */

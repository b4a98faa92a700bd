/*
 * eval_internal.h
 *		What the files of the evaluator share: eval.c (nodes), eval_window.c (windows and windowed sets), eval_filter.c
 *		(brackets), eval_aggregate.c.
 */
#ifndef CRM_EVAL_INTERNAL_H
#define CRM_EVAL_INTERNAL_H

#include "postgres.h"

#include "base/calendar.h"
#include "predicate/eval.h"

/* Kleene's three truths. */
typedef enum Tri
{
	TRI_FALSE,
	TRI_TRUE,
	TRI_UNDECIDED
} Tri;

/* Some events of a kind, by time: event i is list[first + i], or first + i without a list. */
typedef struct Selection
{
	int			count;
	int			first;
	const int  *list;
	bool		contiguous;		/* the base set's positions first .. first + count - 1 */
} Selection;

#define SELECTED(s, i) ((s)->list == NULL ? (s)->first + (i) : (s)->list[(s)->first + (i)])

typedef struct NodeMemo
{
	uint32		stamp;
	bool		with_until;
	Value		value;			/* a truth is a boolean */
	TimestampTz until;
} NodeMemo;

/* The members of a set whose filter does not depend on the instant. */
typedef struct SetMemo
{
	uint32		stamp;			/* of facts */
	int			count;
	const int  *list;			/* NULL: all events of the kind */
} SetMemo;

/* What the filter of a set says of each event, at one instant. */
typedef struct TriMemo
{
	uint32		stamp;
	bool		with_until;
	uint8	   *tri;			/* TRI_UNSET where not asked yet */
	TimestampTz *until;
} TriMemo;

#define TRI_UNSET 3

typedef struct EventsMemo
{
	uint32		stamp;
	bool		with_until;
	Selection	selection;
	TimestampTz until;
} EventsMemo;

/* Running sums over the positions of a set; usable when all numbers are of one scale and nothing overflows. */
typedef struct SumsMemo
{
	uint32		stamp;			/* of facts */
	bool		usable;
	int			scale;
	const int64 *sum;			/* [count + 1] */
	const int  *known;			/* [count + 1]: how many numbers */
} SumsMemo;

/*
 * A window at an instant t, as bounds on an event's time s: s counts when it starts to count no later than t ("starts":
 * not after its out_upto surely so, from in_from surely not) and ends to count later than t ("ends": up to out_upto surely
 * over, from in_from surely not), lies below "below", and has happened, unless the window looks ahead.
 */
typedef struct WindowBounds
{
	uint32		stamp;			/* of the instant */
	bool		ahead;
	CalendarBound starts;
	CalendarBound ends;
	TimestampTz below;
} WindowBounds;

/*
 * The same for a windowed set: an event of time s surely counts when sure_begin <= s < sure_end, surely not when s < begin
 * or s >= end, and is to be tried otherwise.
 */
typedef struct EventsRange
{
	TimestampTz begin;
	TimestampTz sure_begin;
	TimestampTz sure_end;
	TimestampTz end;
} EventsRange;

struct Evaluation
{
	const Program *program;
	pg_tz	   *zone;
	const Facts *facts;
	TimestampTz at;
	bool		has_entry;
	TimestampTz entry;

	uint32		stamp;			/* changes with facts and instant */
	uint32		facts_stamp;
	uint32		instant_stamp;

	NodeMemo   *nodes;
	SetMemo    *sets;
	TriMemo    *tris;
	EventsMemo *events;
	SumsMemo   *sums;
	WindowBounds *windows;
	struct Quick *quick;

	MemoryContext facts_context;	/* emptied with the facts */
	MemoryContext instant_context;	/* emptied with facts and instant */
};

/* The event that brackets are about, and the one around them. */
typedef struct EventFrame
{
	int			kind;
	int			event;
	const struct EventFrame *outer;
} EventFrame;

#define DAY_MARGIN (10 * USECS_PER_DAY)

/* eval.c */
extern bool eval_truth(Evaluation *ev, int node, TimestampTz *until);
extern Value eval_value(Evaluation *ev, int node, TimestampTz *until);

/* What brackets and the rest share: comparisons and arithmetic on values that were found. */
extern bool compare_truth(Evaluation *ev, const ProgramNode *node, const Value *args);
extern Value arithmetic_value(Evaluation *ev, const ProgramNode *node, const Value *args);

/* The moment that a value is, or that a node's ISO string says; unknown if none. A DATE or TIMESTAMP value. */
extern Value moment_of(Evaluation *ev, const ProgramNode *node, Value value);
extern TimestampTz moment_start(Evaluation *ev, Value moment);
extern TimestampTz moment_end(Evaluation *ev, Value moment);

/* eval_window.c */
extern void window_span(Evaluation *ev, const AstWindow *window, TimestampTz start, TimestampTz end, bool event,
						TimestampTz *from, TimestampTz *upto);
extern bool span_holds(TimestampTz from, TimestampTz upto, TimestampTz at, TimestampTz *until);
extern bool moment_in_window(Evaluation *ev, int window, Value moment, TimestampTz *until);
extern bool anniversary_in_window(Evaluation *ev, int window, Value base, int nshifts, const Interval *shifts,
								  TimestampTz *until);
extern const SetMemo *set_members(Evaluation *ev, int set);
extern const Selection *select_events(Evaluation *ev, int events, TimestampTz *until);
extern int	position_from(const TimestampTz *at, const int *list, int count, TimestampTz s);
extern EventsRange events_range(Evaluation *ev, int events);
extern bool event_selected(Evaluation *ev, int events, int event, TimestampTz *until);

/* eval_filter.c */
extern Tri	filter_truth(Evaluation *ev, int node, const EventFrame *frame, TimestampTz *until);
extern Tri	set_filter(Evaluation *ev, int set, int event, const EventFrame *outer, TimestampTz *until);
extern Value event_property(Evaluation *ev, int kind, PropertyRef property, int event);

/* eval_quick.c: truth at the instant, with no until */
extern struct Quick *quick_create(const Program *program);
extern bool quick_truth(Evaluation *ev, int node);

/* eval_aggregate.c */
extern const SumsMemo *running_sums(Evaluation *ev, int number);
extern Value eval_aggregate(Evaluation *ev, const ProgramNode *node, const Selection *selection);

#endif							/* CRM_EVAL_INTERNAL_H */

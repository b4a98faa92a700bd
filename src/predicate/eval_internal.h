/*
 * eval_internal.h
 *		What the files of the evaluator share: eval.c (nodes), eval_value.c (values), eval_window.c (windows of moments),
 *		eval_bounds.c, eval_select.c and eval_sweep.c (events through windows), eval_filter.c and eval_follow.c (brackets),
 *		eval_aggregate.c and eval_column.c.
 *
 * An evaluation remembers: for the customer, what does not depend on the instant; for customer and instant, the rest. To
 * step through time costs little then: at each step only what has changed is looked at.
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
	bool		unlisted;		/* only counted so far: listed_events() */
} Selection;

#define SELECTED(s, i) ((s)->list == NULL ? (s)->first + (i) : (s)->list[(s)->first + (i)])

typedef struct NodeMemo
{
	uint32		stamp;
	bool		with_until;
	Value		value;			/* a truth is a boolean */
	TimestampTz until;
} NodeMemo;

/* The members of a set: events that pass the plain parts of its filter. */
typedef struct SetMemo
{
	uint32		stamp;			/* of facts */
	int			count;
	const int  *list;			/* NULL: all events of the kind */
} SetMemo;

/*
 * What the moving parts of a set's filter say of each event. An answer stands for the instant at which it was found and,
 * where until lies after that, all instants before until.
 */
typedef struct TriMemo
{
	uint32		stamp;			/* of facts */
	uint8	   *tri;			/* TRI_UNSET where not asked yet */
	TimestampTz *asof;
	TimestampTz *until;
} TriMemo;

#define TRI_UNSET 3

/* Of a windowed set. */
typedef struct EventsMemo
{
	uint32		stamp;
	bool		with_until;
	Selection	selection;
	TimestampTz until;

	/* of facts: */
	uint32		facts_stamp;
	int			asked;			/* at how many instants until was */
	struct Spans *spans;		/* of all members; NULL while few instants are asked for */
	struct Sweep *sweep;		/* of a timed set */
} EventsMemo;

/* Running sums over the positions of a set; usable when all numbers are of one scale and nothing overflows. */
typedef struct SumsMemo
{
	uint32		stamp;			/* of facts */
	bool		usable;
	int			scale;
	const int64 *sum;			/* [count + 1] */
	const int  *known;			/* [count + 1]: how many numbers */
	uint32		asked_stamp;	/* of facts */
	int			asked;			/* for how many selections */
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
	struct ColumnMemo *columns;
	struct SlideMemo **slides;	/* by node */
	struct SameMemo *sames;		/* by set */
	struct TriIndex *indexes;	/* by set */
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

/* Steps through time are worth preparing for when more than this many instants are asked of one customer. */
#define FEW_INSTANTS 4

/* The first instant after s; DT_NOBEGIN and DT_NOEND stay. */
static inline TimestampTz
just_after(TimestampTz s)
{
	return TIMESTAMP_NOT_FINITE(s) ? s : s + 1;
}

/* The event at a position of a list of members. */
static inline int
listed(const int *list, int position)
{
	return list == NULL ? position : list[position];
}

/* eval.c */
extern bool eval_truth(Evaluation *ev, int node, TimestampTz *until);
extern Value eval_value(Evaluation *ev, int node, TimestampTz *until);

/* The spans of [from, to) in which something is true, stepping from until to until; it is asked in the instant's context. */
typedef bool (*StepTruth) (Evaluation *ev, const void *what, TimestampTz *until);
extern void evaluation_spans(Evaluation *ev, StepTruth truth_of, const void *what, TimestampTz from, TimestampTz to,
							 bool has_entry, TimestampTz entry, PeriodSink sink, void *context);

/* eval_value.c: comparisons and arithmetic on values that were found */
extern bool compare_truth(Evaluation *ev, const ProgramNode *node, const Value *args);
extern Value arithmetic_value(Evaluation *ev, const ProgramNode *node, const Value *args);

/* The moment that a value is, or that a node's ISO string says; unknown if none. A DATE or TIMESTAMP value. */
extern Value moment_of(Evaluation *ev, const ProgramNode *node, Value value);
extern TimestampTz moment_start(Evaluation *ev, Value moment);
extern TimestampTz moment_end(Evaluation *ev, Value moment);

/* eval_window.c */
extern void fixed_range(Evaluation *ev, const AstWindow *window, TimestampTz *first, TimestampTz *below);
extern void window_span(Evaluation *ev, const AstWindow *window, TimestampTz start, TimestampTz end, bool event,
						TimestampTz *from, TimestampTz *upto);
extern bool span_holds(TimestampTz from, TimestampTz upto, TimestampTz at, TimestampTz *until);
extern bool value_in_window(Evaluation *ev, const ProgramNode *node, const ProgramNode *giver, Value value,
							TimestampTz *until);

/* eval_bounds.c */
extern EventsRange events_range(Evaluation *ev, int events);

/* eval_select.c */
extern const AstWindow *events_window(Evaluation *ev, int events);
extern const SetMemo *set_members(Evaluation *ev, int set);
extern const Selection *select_events(Evaluation *ev, int events, TimestampTz *until);
extern const Selection *listed_events(Evaluation *ev, int events, TimestampTz *until);
extern int	position_from(const TimestampTz *at, const int *list, int count, TimestampTz s);
extern bool event_counts(Evaluation *ev, int events, int position, TimestampTz *until);

/* eval_sweep.c: a timed set at one instant after the other */
extern int	sweep_events(Evaluation *ev, int events, TimestampTz *until);
extern const int *sweep_list(Evaluation *ev, int events);

/* eval_filter.c */
extern Tri	filter_truth(Evaluation *ev, int node, const EventFrame *frame, TimestampTz *until);
extern Tri	parts_truth(Evaluation *ev, const ProgramParts *parts, const EventFrame *frame, TimestampTz *until);
extern Tri	tri_and(Tri a, TimestampTz a_until, Tri b, TimestampTz b_until, TimestampTz *until);
extern Tri	member_truth(Evaluation *ev, int set, int event, TimestampTz *until);
extern bool same_holds(Evaluation *ev, const ProgramNode *node, const EventFrame *frame);
extern Value event_property(Evaluation *ev, int kind, PropertyRef property, int event);

/* eval_follow.c */
extern void follow_create(Evaluation *ev);
extern Tri	followed_truth(Evaluation *ev, const ProgramNode *node, const EventFrame *frame, TimestampTz *until);

/* eval_quick.c: truth at the instant, with no until */
extern struct Quick *quick_create(const Program *program);
extern bool quick_truth(Evaluation *ev, int node);

/* eval_aggregate.c */
extern const SumsMemo *running_sums(Evaluation *ev, int number);
extern Value eval_aggregate(Evaluation *ev, const ProgramNode *node, const Selection *selection);
extern bool extreme_is_better(Evaluation *ev, int op, Value a, Value b);

/* eval_column.c: aggregates of a column at one instant after the other */
extern void column_create(Evaluation *ev);
extern bool column_aggregate(Evaluation *ev, const ProgramNode *node, const Selection *selection, Value *result);

#endif							/* CRM_EVAL_INTERNAL_H */

/*
 * eval.h
 *		The evaluator: is a predicate true of a customer's facts at an instant, and until when?
 *
 * The one place where segments, previews, back-tests and explanations get their truth from. It knows no tables, no
 * clock and no session settings: facts, instant, entry and zone are given.
 */
#ifndef CRM_EVAL_H
#define CRM_EVAL_H

#include "postgres.h"

#include "predicate/program.h"
#include "profile/profile.h"

/* The events of one kind, by time. Slots of properties are those of the program's ProgramKind. */
typedef struct KindFacts
{
	int			nevents;
	const TimestampTz *at;
	Value	  **properties;		/* properties[slot][event] */
} KindFacts;

/* One customer. Whatever the program does not name need not be there. */
typedef struct Facts
{
	bool		has_customer;
	int64		customer;
	const Value *attributes;	/* by the program's slots */
	const KindFacts *kinds;
	int			nsegments;		/* static segments the customer is in, ascending */
	const int32 *segments;
} Facts;

/* Those of a profile, for a program. */
extern Facts *facts_from_profile(const Program *program, const Profile *profile);

typedef struct Evaluation Evaluation;

/* Allocated in CurrentMemoryContext; works in a context of its own, which is emptied for each customer. */
extern Evaluation *evaluation_create(const Program *program, pg_tz *zone);

/* Each of the two may be called again while the other stands. */
extern void evaluation_set_facts(Evaluation *evaluation, const Facts *facts);
extern void evaluation_set_instant(Evaluation *evaluation, TimestampTz at, bool has_entry, TimestampTz entry);

/*
 * For each kind of the program, the time before which no event matters to any root at the instant that is set or later:
 * DT_NOBEGIN where all do. In CurrentMemoryContext.
 */
extern TimestampTz *evaluation_lookback(Evaluation *evaluation);

/*
 * The truth of a root. When until is wanted: the answer surely stays the same before *until with no new fact (a lower
 * bound that is later than the instant; DT_NOEND for ever). Bulk work passes NULL, which is much cheaper.
 */
extern bool evaluation_truth(Evaluation *evaluation, int root, TimestampTz *until);

/* The first instant after the one that is set at which the truth of the root is different, or DT_NOEND. Moves the instant. */
#define NEXT_CHANGE_MAX_STEPS 1000
#define NEXT_CHANGE_MAX_YEARS 10
extern TimestampTz evaluation_next_change(Evaluation *evaluation, int root, TimestampTz at, bool has_entry,
										  TimestampTz entry);

/* Calls the sink for each span of [from, to) in which the root is true, in order; spans never touch. */
typedef void (*PeriodSink) (void *context, TimestampTz from, TimestampTz to);
extern void evaluation_periods(Evaluation *evaluation, int root, TimestampTz from, TimestampTz to, bool has_entry,
							   TimestampTz entry, PeriodSink sink, void *context);

/*
 * When the top-level conjunction has a "has": calls the sink for each event of its first "has" that is met with the rest at
 * some time of [from, to), in order, with the spans of time in which it is. The event is a number among those of its kind.
 */
typedef struct TimeSpan
{
	TimestampTz from;
	TimestampTz to;
} TimeSpan;

extern bool evaluation_has_occurrences(const Evaluation *evaluation, int root);

typedef void (*OccurrenceSink) (void *context, int kind, int event, const TimeSpan *spans, int nspans);
extern void evaluation_occurrences(Evaluation *evaluation, int root, TimestampTz from, TimestampTz to, bool has_entry,
								   TimestampTz entry, OccurrenceSink sink, void *context);

/*
 * Where the root is true at the instant that is set, one more of its events may be met at a later one: no event that is there
 * already is before the instant that is given (a lower bound; DT_NOEND for never).
 */
extern TimestampTz evaluation_next_occurrence(Evaluation *evaluation, int root);

#endif							/* CRM_EVAL_H */

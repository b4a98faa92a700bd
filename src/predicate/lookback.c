/*
 * lookback.c
 *		How far back a program looks: what is older need not be read.
 *
 * An event leaves a window at an instant that rises with its time, so what is behind all windows at an instant is behind
 * them at every later one too. Within brackets a following event is no older than the one it follows, and a preceding one
 * older by its "within" at most.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "predicate/eval_internal.h"

/* Local midnights and month ends move the sum of a time and a span by less than this. */
#define SLACK_DAYS 5

typedef struct Lookback
{
	Evaluation *ev;
	TimestampTz *since;			/* by kind */
	TimestampTz *reached;		/* by set */
} Lookback;

static void set_lookback(Lookback *lookback, int number, TimestampTz since);

/* The sets that a filter names, where the event that it is about is no older than since. */
static void
filter_lookback(Lookback *lookback, int number, TimestampTz since)
{
	const ProgramNode *node = &lookback->ev->program->nodes[number];

	check_stack_depth();
	if (node->tag == AST_FOLLOWED)
	{
		bool		preceded = node->op == 1;

		if (preceded && !node->has_span)
			since = DT_NOBEGIN;
		else if (preceded && !TIMESTAMP_NOT_FINITE(since))
		{
			Interval	slack = {.day = SLACK_DAYS};

			since = calendar_subtract(since, &node->span, lookback->ev->zone);
			if (!TIMESTAMP_NOT_FINITE(since))
				since = calendar_subtract(since, &slack, lookback->ev->zone);
		}
		set_lookback(lookback, node->events, since);
		return;
	}
	for (int i = 0; i < node->nargs; i++)
		filter_lookback(lookback, node->args[i], since);
}

static void
set_lookback(Lookback *lookback, int number, TimestampTz since)
{
	const ProgramSet *set = &lookback->ev->program->sets[number];

	if (lookback->reached[number] <= since)
		return;
	lookback->reached[number] = since;
	if (since < lookback->since[set->kind])
		lookback->since[set->kind] = since;
	if (set->filter >= 0)
		filter_lookback(lookback, set->filter, since);
}

TimestampTz *
evaluation_lookback(Evaluation *ev)
{
	const Program *program = ev->program;
	Lookback	lookback = {.ev = ev};

	lookback.since = palloc(sizeof(TimestampTz) * Max(program->nkinds, 1));
	lookback.reached = palloc(sizeof(TimestampTz) * Max(program->nsets, 1));
	for (int i = 0; i < program->nkinds; i++)
		lookback.since[i] = DT_NOEND;
	for (int i = 0; i < program->nsets; i++)
		lookback.reached[i] = DT_NOEND;
	for (int i = 0; i < program->nevents; i++)
		set_lookback(&lookback, program->events[i].set, events_range(ev, i).begin);
	pfree(lookback.reached);
	return lookback.since;
}

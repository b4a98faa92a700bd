/*
 * occurrences.c
 *		Which events make a predicate true, and when.
 *
 * Of a conjunction with a "has", each event that the "has" counts is an occurrence while all the rest is true. When the rest
 * is, is found once; each event adds its own spans of time, of which there are few.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "predicate/eval_internal.h"

/* What is asked at each step. */
typedef struct Question
{
	const int  *rest;			/* nodes that are all to be true */
	int			nrest;
	int			events;			/* a member that is to count, or -1 */
	int			position;
} Question;

typedef struct SpanList
{
	TimeSpan   *spans;
	int			count;
	int			room;
} SpanList;

static void
add_span(SpanList *list, TimestampTz from, TimestampTz to)
{
	if (list->count == list->room)
	{
		list->room = Max(list->room * 2, 8);
		list->spans = list->spans == NULL ? palloc(sizeof(TimeSpan) * list->room) :
			repalloc_huge(list->spans, sizeof(TimeSpan) * (Size) list->room);
	}
	list->spans[list->count].from = from;
	list->spans[list->count++].to = to;
}

static void
span_sink(void *context, TimestampTz from, TimestampTz to)
{
	add_span(context, from, to);
}

/* The truth of a conjunction, as in eval.c. */
static bool
question_truth(Evaluation *ev, const void *context, TimestampTz *until)
{
	const Question *question = context;
	TimestampTz one;
	TimestampTz first = DT_NOEND;
	TimestampTz decided = DT_NOBEGIN;
	bool		result = true;

	for (int i = 0; i < question->nrest; i++)
	{
		if (!eval_truth(ev, question->rest[i], &one))
		{
			result = false;
			decided = Max(decided, one);
		}
		first = Min(first, one);
	}
	if (question->events >= 0)
	{
		if (!event_counts(ev, question->events, question->position, &one))
		{
			result = false;
			decided = Max(decided, one);
		}
		first = Min(first, one);
	}
	*until = result ? first : decided;
	return result;
}

/* The spans of time that are in two lists, of which neither has spans that touch. */
static void
intersect(const SpanList *a, const SpanList *b, SpanList *result)
{
	int			low = 0,
				high = b->count;

	result->count = 0;
	if (a->count == 0)
		return;
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (b->spans[middle].to <= a->spans[0].from)
			low = middle + 1;
		else
			high = middle;
	}
	for (int i = 0; i < a->count && low < b->count;)
	{
		TimestampTz from = Max(a->spans[i].from, b->spans[low].from);
		TimestampTz to = Min(a->spans[i].to, b->spans[low].to);

		if (from < to)
			add_span(result, from, to);
		if (a->spans[i].to < b->spans[low].to)
			i++;
		else
			low++;
	}
}

/* The first "has" of the top-level conjunction, as its events, or -1; and the rest. */
static int
split_conjunction(const Program *program, int root, int *rest, int *nrest)
{
	const ProgramNode *node = &program->nodes[root];
	int			result = -1;

	*nrest = 0;
	if (node->tag == AST_HAS && !node->negated)
		return node->events;
	if (node->tag != AST_AND)
		return -1;
	for (int i = 0; i < node->nargs; i++)
	{
		const ProgramNode *part = &program->nodes[node->args[i]];

		if (result < 0 && part->tag == AST_HAS && !part->negated)
			result = part->events;
		else
			rest[(*nrest)++] = node->args[i];
	}
	return result;
}

bool
evaluation_has_occurrences(const Evaluation *ev, int root)
{
	int		   *rest = palloc(sizeof(int) * Max(ev->program->nodes[root].nargs, 1));
	int			nrest;
	bool		result = split_conjunction(ev->program, root, rest, &nrest) >= 0;

	pfree(rest);
	return result;
}

TimestampTz
evaluation_next_occurrence(Evaluation *ev, int root)
{
	const Program *program = ev->program;
	int		   *rest = palloc(sizeof(int) * Max(program->nodes[root].nargs, 1));
	TimestampTz result = DT_NOEND;
	TimestampTz until;
	const SetMemo *members;
	int			nrest;
	int			events = split_conjunction(program, root, rest, &nrest);

	pfree(rest);
	if (events < 0)
		return result;
	members = set_members(ev, program->events[events].set);
	for (int position = 0; position < members->count; position++)
	{
		if ((position & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (!event_counts(ev, events, position, &until))
			result = Min(result, until);
	}
	return result;
}

void
evaluation_occurrences(Evaluation *ev, int root, TimestampTz from, TimestampTz to, bool has_entry, TimestampTz entry,
					   OccurrenceSink sink, void *context)
{
	const Program *program = ev->program;
	int		   *rest = palloc(sizeof(int) * Max(program->nodes[root].nargs, 1));
	Question	question = {rest, 0, -1, 0};
	int			events;
	SpanList	all = {0},
				own = {0},
				both = {0};
	const SetMemo *members;
	int			kind;

	/* an entry that is missed is an error, also where nothing asks for it */
	evaluation_set_instant(ev, from, has_entry, entry);
	events = split_conjunction(program, root, rest, &question.nrest);
	if (events < 0)
		return;
	evaluation_spans(ev, question_truth, &question, from, to, has_entry, entry, span_sink, &all);
	if (all.count == 0)
		return;

	kind = program->sets[program->events[events].set].kind;
	members = set_members(ev, program->events[events].set);
	question.nrest = 0;
	question.events = events;
	for (question.position = 0; question.position < members->count; question.position++)
	{
		CHECK_FOR_INTERRUPTS();
		own.count = 0;
		evaluation_spans(ev, question_truth, &question, from, to, has_entry, entry, span_sink, &own);
		intersect(&own, &all, &both);
		if (both.count > 0)
			sink(context, kind, listed(members->list, question.position), both.spans, both.count);
	}
}

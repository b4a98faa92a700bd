/*
 * eval_follow.c
 *		followed by, preceded by: is there, in reach of an event, another one that qualifies?
 *
 * Which events are in reach is found by search, as events lie in time order; so it is among those with the same property,
 * once events are sorted by it. Whether an event qualifies may depend on the instant: then the answers lie in an index
 * over all events, which finds the first that is true. So each event costs a few searches, not a walk through the others,
 * and each level of nesting n log n.
 *
 * An index is made only when walking has cost as much: most often one of the first events in reach decides.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/date.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

/* The members of a set, those with equal values of its "same" properties together, and among these by time. */
typedef struct SameMemo
{
	uint32		stamp;			/* of facts */
	bool		irregular;		/* values that are not equal as instants are: try each */
	int			count;
	const int  *list;			/* events */
	const Value **keys;			/* by position */
} SameMemo;

/* What member_truth() says at an instant of all events of a list, by position. */
typedef struct TriIndex
{
	uint32		stamp;
	bool		with_until;
	uint32		walked_stamp;
	int			walked;			/* events at this instant, without an index */
	int		   *next_true;		/* the first position from here on that is true, or count */
	int		   *next_undecided;
	TimestampTz *until;			/* a tree of minima: node i has the children 2i and 2i + 1, the leaves come last */
} TriIndex;

/* Events that may qualify, in time order. */
typedef struct Candidates
{
	const int  *list;
	int			count;
	int			base;			/* position of the first one in the index */
	int			total;			/* of what the index is over */
	const int  *whole;
	bool		try_same;		/* "same" is still to be asked */
} Candidates;

typedef struct SameEntry
{
	int			event;
	const Value *keys;
} SameEntry;

void
follow_create(Evaluation *ev)
{
	ev->sames = palloc0(sizeof(SameMemo) * Max(ev->program->nsets, 1));
	ev->indexes = palloc0(sizeof(TriIndex) * Max(ev->program->nsets, 1));
}

/*
 * A value by which equals are found: a date is the instant at which it begins, as it is when it is compared with one. That
 * cannot tell a day that a zone has skipped from the next one; then *irregular is set. False for what is never the same.
 */
static bool
same_key(Evaluation *ev, Value value, Value *key, bool *irregular)
{
	TimestampTz start;

	*key = value;
	if (value.type == VALUE_UNKNOWN || value.type == VALUE_ARRAY)
		return false;
	if (value.type == VALUE_DATE)
	{
		start = moment_start(ev, value);
		if (start == moment_end(ev, value))
			*irregular = true;
		*key = value_timestamp(start);
	}
	return true;
}

static int
compare_keys(const Value *a, const Value *b, int nkeys)
{
	for (int i = 0; i < nkeys; i++)
	{
		int			result = value_compare(a[i], b[i]);

		if (result != 0)
			return result;
	}
	return 0;
}

static int
compare_entries(const void *a, const void *b, void *nkeys)
{
	const SameEntry *x = a;
	const SameEntry *y = b;
	int			result = compare_keys(x->keys, y->keys, *(const int *) nkeys);

	return result != 0 ? result : x->event - y->event;
}

static const SameMemo *
same_members(Evaluation *ev, int number)
{
	const ProgramSet *set = &ev->program->sets[number];
	SameMemo   *memo = &ev->sames[number];
	const SetMemo *members;
	SameEntry  *entries;
	Value	   *keys;
	int		   *list;
	int			nkeys = set->same.count;
	int			count = 0;
	MemoryContext old;

	if (memo->stamp == ev->facts_stamp)
		return memo;

	members = set_members(ev, number);
	old = MemoryContextSwitchTo(ev->facts_context);
	memo->irregular = false;
	keys = palloc_extended(sizeof(Value) * Max(members->count, 1) * nkeys, MCXT_ALLOC_HUGE);
	entries = palloc_extended(sizeof(SameEntry) * Max(members->count, 1), MCXT_ALLOC_HUGE);
	for (int p = 0; p < members->count; p++)
	{
		int			event = listed(members->list, p);
		Value	   *mine = &keys[(Size) count * nkeys];
		bool		any = true;

		for (int i = 0; i < nkeys && any; i++)
			any = same_key(ev, event_property(ev, set->kind, ev->program->nodes[set->same.nodes[i]].property, event),
						   &mine[i], &memo->irregular);
		if (!any)
			continue;
		entries[count].event = event;
		entries[count++].keys = mine;
	}
	qsort_arg(entries, count, sizeof(SameEntry), compare_entries, &nkeys);

	list = palloc_extended(sizeof(int) * Max(count, 1), MCXT_ALLOC_HUGE);
	memo->keys = palloc_extended(sizeof(Value *) * Max(count, 1), MCXT_ALLOC_HUGE);
	for (int p = 0; p < count; p++)
	{
		list[p] = entries[p].event;
		memo->keys[p] = entries[p].keys;
	}
	pfree(entries);
	memo->list = list;
	memo->count = count;
	memo->stamp = ev->facts_stamp;
	MemoryContextSwitchTo(old);
	return memo;
}

/* The first position whose keys are not before (or, with after, are behind) some others. */
static int
same_position(const SameMemo *memo, const Value *keys, int nkeys, bool after)
{
	int			low = 0,
				high = memo->count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			order = compare_keys(memo->keys[middle], keys, nkeys);

		if (order < 0 || (after && order == 0))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Which events of a set may qualify for the outer one, whenever they happened. */
static Candidates
find_candidates(Evaluation *ev, int number, const EventFrame *outer)
{
	const ProgramSet *set = &ev->program->sets[number];
	const SetMemo *members = set_members(ev, number);
	Candidates	result = {members->list, members->count, 0, members->count, members->list, set->same.count > 0};
	const SameMemo *same;
	Value		few[4];
	Value	   *keys = few;
	int			nkeys = set->same.count;
	bool		irregular;
	bool		any = true;
	int			upto;

	if (nkeys == 0)
		return result;
	same = same_members(ev, number);
	irregular = same->irregular;
	if (nkeys > (int) lengthof(few))
		keys = palloc(sizeof(Value) * nkeys);
	for (int i = 0; i < nkeys && any; i++)
		any = same_key(ev, event_property(ev, outer->kind, ev->program->nodes[set->same.nodes[i]].outer_property,
										  outer->event),
					   &keys[i], &irregular);
	if (!any)
		result.count = 0;
	else if (!irregular)
	{
		result.base = same_position(same, keys, nkeys, false);
		upto = same_position(same, keys, nkeys, true);
		result.list = same->list + result.base;
		result.count = upto - result.base;
		result.whole = same->list;
		result.total = same->count;
		result.try_same = false;
	}
	if (keys != few)
		pfree(keys);
	return result;
}

static void
build_index(Evaluation *ev, int number, const Candidates *candidates, bool with_until)
{
	TriIndex   *index = &ev->indexes[number];
	const TimestampTz *at = ev->facts->kinds[ev->program->sets[number].kind].at;
	int			count = candidates->total;
	MemoryContext old = MemoryContextSwitchTo(ev->instant_context);

	index->next_true = palloc_extended(sizeof(int) * ((Size) count + 1), MCXT_ALLOC_HUGE);
	index->next_undecided = palloc_extended(sizeof(int) * ((Size) count + 1), MCXT_ALLOC_HUGE);
	index->until = palloc_extended(sizeof(TimestampTz) * 2 * Max((Size) count, 1), MCXT_ALLOC_HUGE);
	index->next_true[count] = index->next_undecided[count] = count;
	for (int p = count - 1; p >= 0; p--)
	{
		int			event = listed(candidates->whole, p);
		Tri			tri = TRI_FALSE;
		TimestampTz one = DT_NOEND;

		CHECK_FOR_INTERRUPTS();
		/* those that have not happened are not asked for */
		if (at[event] <= ev->at)
			tri = member_truth(ev, number, event, with_until ? &one : NULL);
		index->next_true[p] = tri == TRI_TRUE ? p : index->next_true[p + 1];
		index->next_undecided[p] = tri == TRI_UNDECIDED ? p : index->next_undecided[p + 1];
		index->until[count + p] = one;
	}
	for (int i = count - 1; i > 0; i--)
		index->until[i] = Min(index->until[2 * i], index->until[2 * i + 1]);
	MemoryContextSwitchTo(old);
	index->with_until = with_until;
	index->stamp = ev->stamp;
}

/* The least until from one position to before another. */
static TimestampTz
least_until(const TriIndex *index, int count, int from, int upto)
{
	TimestampTz result = DT_NOEND;

	for (from += count, upto += count; from < upto; from /= 2, upto /= 2)
	{
		if (from % 2 == 1)
		{
			result = Min(result, index->until[from]);
			from++;
		}
		if (upto % 2 == 1)
		{
			upto--;
			result = Min(result, index->until[upto]);
		}
	}
	return result;
}

/* What a candidate says of itself, and of itself and the outer event. */
static Tri
candidate_truth(Evaluation *ev, int number, const Candidates *candidates, int event, const EventFrame *outer,
				TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[number];
	EventFrame	frame = {set->kind, event, outer};
	TimestampTz own = DT_NOEND,
				both = DT_NOEND;
	Tri			tri;

	for (int i = 0; candidates->try_same && i < set->same.count; i++)
	{
		if (!same_holds(ev, &ev->program->nodes[set->same.nodes[i]], &frame))
		{
			if (until != NULL)
				*until = DT_NOEND;
			return TRI_FALSE;
		}
	}
	tri = member_truth(ev, number, event, until == NULL ? NULL : &own);
	if (set->pairs.count == 0)
	{
		if (until != NULL)
			*until = own;
		return tri;
	}
	return tri_and(tri, own, parts_truth(ev, &set->pairs, &frame, until == NULL ? NULL : &both), both, until);
}

/*
 * Is one of the candidates from a position to before another true? Else, is one undecided? They all have happened.
 */
static Tri
any_truth(Evaluation *ev, int number, const Candidates *candidates, int from, int upto, const EventFrame *outer,
		  TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[number];
	TriIndex   *index = &ev->indexes[number];
	bool		indexed = !candidates->try_same && set->pairs.count == 0;
	Tri			result = TRI_FALSE;
	TimestampTz first = DT_NOEND;

	if (until != NULL)
		*until = DT_NOEND;
	/* nothing more to ask */
	if (indexed && set->moving.count == 0)
		return from < upto ? TRI_TRUE : TRI_FALSE;

	if (index->walked_stamp != ev->stamp)
	{
		index->walked_stamp = ev->stamp;
		index->walked = 0;
	}
	for (int p = from; p < upto; p++)
	{
		TimestampTz one = DT_NOEND;
		Tri			tri;

		CHECK_FOR_INTERRUPTS();
		if (indexed && index->walked >= candidates->total &&
			(index->stamp != ev->stamp || (until != NULL && !index->with_until)))
			build_index(ev, number, candidates, until != NULL);
		if (indexed && index->stamp == ev->stamp && (until == NULL || index->with_until))
		{
			int			base = candidates->base;

			if (index->next_true[base + p] < base + upto)
			{
				if (until != NULL)
					*until = index->until[candidates->total + index->next_true[base + p]];
				return TRI_TRUE;
			}
			if (index->next_undecided[base + p] < base + upto)
				result = TRI_UNDECIDED;
			if (until != NULL)
				first = Min(first, least_until(index, candidates->total, base + p, base + upto));
			break;
		}

		index->walked++;
		tri = candidate_truth(ev, number, candidates, listed(candidates->list, p), outer, until == NULL ? NULL : &one);
		if (tri == TRI_TRUE)
		{
			if (until != NULL)
				*until = one;
			return TRI_TRUE;
		}
		if (tri == TRI_UNDECIDED)
			result = TRI_UNDECIDED;
		first = Min(first, one);
	}
	if (until != NULL)
		*until = first;
	return result;
}

/*
 * followed by | preceded by, at the instant: true once a qualifying event in reach has happened. With "within" it is
 * undecided while one may still come, or while one that came is itself undecided; without, it is decided at any instant.
 */
Tri
followed_truth(Evaluation *ev, const ProgramNode *node, const EventFrame *frame, TimestampTz *until)
{
	const ProgramSet *set = &ev->program->sets[node->events];
	const TimestampTz *at = ev->facts->kinds[set->kind].at;
	TimestampTz s = ev->facts->kinds[frame->kind].at[frame->event];
	bool		same_kind = set->kind == frame->kind;
	Candidates	candidates;
	TimestampTz first,
				last,
				closes;
	TimestampTz changes = DT_NOEND;
	int			from,
				upto;
	Tri			tri;

	if (node->op == 1)
	{
		first = node->has_span ? calendar_subtract(s, &node->span, ev->zone) : DT_NOBEGIN;
		last = same_kind ? s - 1 : s;
		closes = s;
	}
	else
	{
		first = same_kind ? s + 1 : s;
		last = node->has_span ? calendar_add(s, &node->span, ev->zone) : DT_NOEND;
		closes = last;
	}

	candidates = find_candidates(ev, node->events, frame);
	from = position_from(at, candidates.list, candidates.count, first);
	upto = Max(position_from(at, candidates.list, candidates.count, just_after(Min(last, ev->at))), from);
	tri = any_truth(ev, node->events, &candidates, from, upto, frame, until == NULL ? NULL : &changes);
	if (tri == TRI_TRUE)
	{
		if (until != NULL)
			*until = changes;
		return TRI_TRUE;
	}

	if (until != NULL)
	{
		/* the next one in reach that is to come */
		if (upto < candidates.count && at[listed(candidates.list, upto)] <= last)
			changes = Min(changes, at[listed(candidates.list, upto)]);
		*until = changes;
		if (node->has_span && ev->at < closes)
			*until = Min(*until, closes);
	}
	if (node->has_span && (tri == TRI_UNDECIDED || ev->at < closes))
		return TRI_UNDECIDED;
	return TRI_FALSE;
}

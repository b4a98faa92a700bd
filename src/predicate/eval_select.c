/*
 * eval_select.c
 *		Events through windows: which events of a set count at an instant, and until when these do.
 *
 * Events lie in time order, so that those which surely count are found by search, and the few around a bound are tried.
 * Where many instants are asked of one customer, the spans of all events are computed once and kept, with the instants at
 * which any of them begins or ends; then each further instant costs a search.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

/*
 * When the members of a set are in the window, by position. Begins and ends rise with the events' times, save for clipped
 * month ends and changes of the clocks: from the greatest so far and the least from here on it is found by search which
 * members surely have begun, or ended.
 */
typedef struct Spans
{
	int			count;
	TimestampTz *from;
	TimestampTz *upto;
	TimestampTz *latest_from;	/* of the members up to here */
	TimestampTz *latest_upto;
	TimestampTz *earliest_from; /* of the members from here on */
	TimestampTz *earliest_upto;
	TimestampTz *changes;		/* the instants at which any begins or ends, ascending, each once */
	int			nchanges;
} Spans;

/* Which positions count: surely, or perhaps. */
typedef struct PositionRange
{
	int			begin;
	int			sure_begin;
	int			sure_end;
	int			end;
} PositionRange;

static const AstWindow no_window = {.tag = WINDOW_NONE};

const AstWindow *
events_window(Evaluation *ev, int number)
{
	int			window = ev->program->events[number].window;

	return window < 0 ? &no_window : ev->program->windows[window];
}

/* The first position of a set whose event is not before s. */
int
position_from(const TimestampTz *at, const int *list, int count, TimestampTz s)
{
	int			low = 0,
				high = count;

	if (TIMESTAMP_IS_NOBEGIN(s))
		return 0;
	/* most events of most customers are few */
	if (count <= 8)
	{
		while (low < count && at[list == NULL ? low : list[low]] < s)
			low++;
		return low;
	}
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (at[list == NULL ? middle : list[middle]] < s)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Does an event pass what its set's filter asks without instant and outer event? */
static bool
event_is_member(Evaluation *ev, const ProgramSet *set, int event)
{
	EventFrame	frame = {set->kind, event, NULL};

	for (int i = 0; i < set->plain.count; i++)
	{
		if (filter_truth(ev, set->plain.nodes[i], &frame, NULL) != TRI_TRUE)
			return false;
	}
	return true;
}

const SetMemo *
set_members(Evaluation *ev, int number)
{
	const ProgramSet *set = &ev->program->sets[number];
	SetMemo    *memo = &ev->sets[number];
	const KindFacts *facts = &ev->facts->kinds[set->kind];

	if (memo->stamp == ev->facts_stamp)
		return memo;

	memo->list = NULL;
	memo->count = facts->nevents;
	if (set->plain.count > 0 && facts->nevents > 0)
	{
		int		   *list = MemoryContextAllocHuge(ev->facts_context, sizeof(int) * (Size) facts->nevents);
		int			count = 0;

		for (int i = 0; i < facts->nevents; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (event_is_member(ev, set, i))
				list[count++] = i;
		}
		memo->list = list;
		memo->count = count;
	}
	memo->stamp = ev->facts_stamp;
	return memo;
}

static EventsMemo *
events_memo(Evaluation *ev, int number)
{
	EventsMemo *memo = &ev->events[number];

	if (memo->facts_stamp != ev->facts_stamp)
	{
		memo->facts_stamp = ev->facts_stamp;
		memo->asked = 0;
		memo->spans = NULL;
		memo->sweep = NULL;
	}
	return memo;
}

/* When a member lies in the window. */
static void
member_span(Evaluation *ev, int number, int position, TimestampTz *from, TimestampTz *upto)
{
	const EventsMemo *memo = events_memo(ev, number);

	if (memo->spans != NULL)
	{
		*from = memo->spans->from[position];
		*upto = memo->spans->upto[position];
	}
	else
	{
		int			set = ev->program->events[number].set;
		const SetMemo *members = set_members(ev, set);
		TimestampTz s = ev->facts->kinds[ev->program->sets[set].kind].at[listed(members->list, position)];

		window_span(ev, events_window(ev, number), s, s, true, from, upto);
	}
}

static int
compare_instants(const void *a, const void *b)
{
	TimestampTz x = *(const TimestampTz *) a;
	TimestampTz y = *(const TimestampTz *) b;

	return (x > y) - (x < y);
}

static TimestampTz *
alloc_instants(Evaluation *ev, int count)
{
	return MemoryContextAllocHuge(ev->facts_context, sizeof(TimestampTz) * (Size) Max(count, 1));
}

static void
prepare_spans(Evaluation *ev, int number)
{
	int			count = set_members(ev, ev->program->events[number].set)->count;
	Spans	   *spans = MemoryContextAllocZero(ev->facts_context, sizeof(Spans));
	int			nchanges = 0;

	spans->count = count;
	spans->from = alloc_instants(ev, count);
	spans->upto = alloc_instants(ev, count);
	spans->latest_from = alloc_instants(ev, count);
	spans->latest_upto = alloc_instants(ev, count);
	spans->earliest_from = alloc_instants(ev, count);
	spans->earliest_upto = alloc_instants(ev, count);
	spans->changes = MemoryContextAllocHuge(ev->facts_context, sizeof(TimestampTz) * 2 * (Size) Max(count, 1));
	for (int p = 0; p < count; p++)
	{
		CHECK_FOR_INTERRUPTS();
		member_span(ev, number, p, &spans->from[p], &spans->upto[p]);
		spans->latest_from[p] = p == 0 ? spans->from[p] : Max(spans->latest_from[p - 1], spans->from[p]);
		spans->latest_upto[p] = p == 0 ? spans->upto[p] : Max(spans->latest_upto[p - 1], spans->upto[p]);
		if (spans->from[p] >= spans->upto[p])
			continue;
		if (!TIMESTAMP_NOT_FINITE(spans->from[p]))
			spans->changes[nchanges++] = spans->from[p];
		if (!TIMESTAMP_NOT_FINITE(spans->upto[p]))
			spans->changes[nchanges++] = spans->upto[p];
	}
	for (int p = count - 1; p >= 0; p--)
	{
		bool		last = p == count - 1;

		spans->earliest_from[p] = last ? spans->from[p] : Min(spans->earliest_from[p + 1], spans->from[p]);
		spans->earliest_upto[p] = last ? spans->upto[p] : Min(spans->earliest_upto[p + 1], spans->upto[p]);
	}

	qsort(spans->changes, nchanges, sizeof(TimestampTz), compare_instants);
	for (int i = 0; i < nchanges; i++)
	{
		if (spans->nchanges == 0 || spans->changes[i] != spans->changes[spans->nchanges - 1])
			spans->changes[spans->nchanges++] = spans->changes[i];
	}
	ev->events[number].spans = spans;
}

static PositionRange
range_from_spans(const Spans *spans, TimestampTz at)
{
	TimestampTz later = just_after(at);
	PositionRange range;

	range.begin = position_from(spans->latest_upto, NULL, spans->count, later);
	range.sure_begin = position_from(spans->earliest_upto, NULL, spans->count, later);
	range.sure_end = position_from(spans->latest_from, NULL, spans->count, later);
	range.end = position_from(spans->earliest_from, NULL, spans->count, later);
	return range;
}

static PositionRange
range_from_bounds(Evaluation *ev, int number, const SetMemo *members, const TimestampTz *at)
{
	EventsRange bounds = events_range(ev, number);
	const int  *list = members->list;
	int			count = members->count;
	PositionRange range;

	range.begin = position_from(at, list, count, bounds.begin);
	range.sure_begin = bounds.sure_begin == bounds.begin ? range.begin :
		position_from(at, list, count, bounds.sure_begin);
	/* all have happened, nearly always */
	range.end = at[listed(list, count - 1)] < bounds.end ? count : position_from(at, list, count, bounds.end);
	range.sure_end = bounds.sure_end == bounds.end ? range.end : position_from(at, list, count, bounds.sure_end);
	return range;
}

/*
 * Does a member count at the instant, by its window and, where that looks at the instant, by its filter? What is still to
 * come is asked again when it comes.
 */
bool
event_counts(Evaluation *ev, int number, int position, TimestampTz *until)
{
	int			set = ev->program->events[number].set;
	TimestampTz from,
				upto,
				filter_until = DT_NOEND;
	bool		inside;
	Tri			filter;

	member_span(ev, number, position, &from, &upto);
	inside = span_holds(from, upto, ev->at, until);
	if (!inside || !ev->program->sets[set].timed)
		return inside;

	filter = member_truth(ev, set, listed(set_members(ev, set)->list, position), until == NULL ? NULL : &filter_until);
	if (until != NULL)
	{
		if (filter == TRI_TRUE)
			*until = Min(*until, filter_until);
		else
			*until = filter_until < *until ? filter_until : DT_NOEND;
	}
	return filter == TRI_TRUE;
}

/*
 * When a selection of a set that is not timed may change: the first end of an event that counts, or the first start of one
 * that will. Ends and starts rise with the events' times, but for a few days' slack.
 */
static TimestampTz
selection_until(Evaluation *ev, int number, const SetMemo *members, const TimestampTz *at, int begin)
{
	const EventsMemo *memo = &ev->events[number];
	int			window = ev->program->events[number].window;
	TimestampTz result = DT_NOEND;
	TimestampTz first_inside = DT_NOEND;
	TimestampTz first_ahead = DT_NOEND;
	TimestampTz started = window < 0 ? ev->at : ev->windows[window].starts.out_upto;

	if (memo->spans != NULL)
	{
		int			next = position_from(memo->spans->changes, NULL, memo->spans->nchanges, just_after(ev->at));

		return next < memo->spans->nchanges ? memo->spans->changes[next] : DT_NOEND;
	}

	for (int p = begin; p < members->count; p++)
	{
		TimestampTz s = at[listed(members->list, p)];
		TimestampTz from,
					upto,
					until;

		CHECK_FOR_INTERRUPTS();
		member_span(ev, number, p, &from, &upto);
		if (span_holds(from, upto, ev->at, &until))
		{
			if (TIMESTAMP_IS_NOEND(first_inside))
				first_inside = s;
			/* the rest of those inside end later: on to the first that may not have started to count */
			else if (s - first_inside > DAY_MARGIN)
			{
				int			next = position_from(at, members->list, members->count, started);

				if (next > p + 1)
					p = next - 1;
			}
		}
		else if (ev->at < from && from < upto)
		{
			if (TIMESTAMP_IS_NOEND(first_ahead))
				first_ahead = s;
			else if (s - first_ahead > DAY_MARGIN)
				break;
		}
		result = Min(result, until);
	}
	return result;
}

/* Keeps those of the positions that the window, tried exactly, and a timed filter let through. */
static void
select_one_by_one(Evaluation *ev, int number, const SetMemo *members, const PositionRange *range, Selection *selection)
{
	int		   *list = MemoryContextAllocHuge(ev->instant_context, sizeof(int) * (Size) (range->end - range->begin));
	int			count = 0;

	for (int p = range->begin; p < range->end; p++)
	{
		CHECK_FOR_INTERRUPTS();
		if (event_counts(ev, number, p, NULL))
			list[count++] = listed(members->list, p);
	}
	selection->first = 0;
	selection->count = count;
	selection->list = list;
	selection->contiguous = false;
}

/* Those that count nearly always follow each other; false where they do not. */
static bool
select_run(Evaluation *ev, int number, const PositionRange *range, Selection *selection)
{
	int			last = -1;

	for (int p = range->begin; p < range->end; p++)
	{
		int			sure = p >= range->sure_begin && p < range->sure_end ? Min(range->sure_end, range->end) - p : 0;

		if (sure == 0 && !event_counts(ev, number, p, NULL))
			continue;
		if (selection->count == 0)
			selection->first = p;
		else if (last != p - 1)
			return false;
		p += Max(sure - 1, 0);
		last = p;
		selection->count = p + 1 - selection->first;
	}
	return true;
}

/* The events of a windowed set that count at the instant; for a timed set perhaps their number only. */
const Selection *
select_events(Evaluation *ev, int number, TimestampTz *until)
{
	const ProgramEvents *events = &ev->program->events[number];
	const ProgramSet *set = &ev->program->sets[events->set];
	EventsMemo *memo = events_memo(ev, number);
	Selection  *selection = &memo->selection;
	const SetMemo *members;
	const TimestampTz *at;
	PositionRange range;

	if (memo->stamp == ev->stamp && (until == NULL || memo->with_until))
	{
		if (until != NULL)
			*until = memo->until;
		return selection;
	}

	members = set_members(ev, events->set);
	at = ev->facts->kinds[set->kind].at;
	memo->with_until = until != NULL;
	memo->until = DT_NOEND;
	selection->count = 0;
	selection->first = 0;
	selection->list = members->list;
	selection->contiguous = true;
	selection->unlisted = false;

	if (members->count > 0 && set->timed && until != NULL)
	{
		selection->count = sweep_events(ev, number, &memo->until);
		selection->contiguous = false;
		selection->unlisted = true;
	}
	else if (members->count > 0)
	{
		if (until != NULL && ++memo->asked > FEW_INSTANTS && memo->spans == NULL)
			prepare_spans(ev, number);
		range = memo->spans != NULL && !TIMESTAMP_NOT_FINITE(ev->at) ? range_from_spans(memo->spans, ev->at) :
			range_from_bounds(ev, number, members, at);
		if (range.begin < range.end &&
			(set->timed || !select_run(ev, number, &range, selection)))
			select_one_by_one(ev, number, members, &range, selection);
		if (until != NULL)
			memo->until = selection_until(ev, number, members, at, range.begin);
	}
	memo->stamp = ev->stamp;
	if (until != NULL)
		*until = memo->until;
	return selection;
}

/* The same, each of the events named. */
const Selection *
listed_events(Evaluation *ev, int number, TimestampTz *until)
{
	const Selection *selection = select_events(ev, number, until);

	if (selection->unlisted)
	{
		ev->events[number].selection.list = sweep_list(ev, number);
		ev->events[number].selection.unlisted = false;
	}
	return selection;
}

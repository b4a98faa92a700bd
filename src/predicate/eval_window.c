/*
 * eval_window.c
 *		Windows: when a moment counts, and which events count at an instant.
 *
 * A moment lies in a window during one half-open span of time, computed exactly by window_span(). To ask that of every
 * event of every customer would cost calendar arithmetic each time, so for an instant each window is turned once into
 * bounds on the events' times (calendar_bound()): events lie in time order, and all but those in the narrow band between
 * the bounds, which is nearly always empty, are decided by a comparison.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

static const AstWindow no_window = {.tag = WINDOW_NONE};

static Interval
negated(const Interval *span)
{
	Interval	result;

	result.month = -span->month;
	result.day = -span->day;
	result.time = -span->time;
	return result;
}

static TimestampTz
literal_start(Evaluation *ev, const AstMoment *moment)
{
	switch (moment->form)
	{
		case ISO_DATE:
			return calendar_day_start((DateADT) moment->value, ev->zone);
		case ISO_LOCAL:
			return calendar_from_local(moment->value, ev->zone);
		default:
			return moment->value;
	}
}

/* Windows that compare the moment with something fixed, whatever the instant is. */
static bool
window_is_fixed(const AstWindow *window)
{
	return window->tag == WINDOW_SINCE || window->tag == WINDOW_BEFORE || window->tag == WINDOW_BETWEEN ||
		window->tag == WINDOW_SINCE_ENTRY;
}

/* The first s and the first s no more of a fixed window. */
static void
fixed_range(Evaluation *ev, const AstWindow *window, TimestampTz *first, TimestampTz *below)
{
	*first = DT_NOBEGIN;
	*below = DT_NOEND;
	switch (window->tag)
	{
		case WINDOW_SINCE:
			*first = literal_start(ev, &window->t1);
			break;
		case WINDOW_BEFORE:
			*below = literal_start(ev, &window->t1);
			break;
		case WINDOW_BETWEEN:
			*first = literal_start(ev, &window->t1);
			*below = literal_start(ev, &window->t2);
			break;
		default:				/* since entry: strictly after it */
			*first = TIMESTAMP_NOT_FINITE(ev->entry) ? ev->entry : ev->entry + 1;
			break;
	}
}

/*
 * The span of instants at which a moment from start to end lies in the window: [*from, *upto), where upto DT_NOEND is for
 * ever, and an empty span is never. An event is in no window before its own instant, save those that look ahead.
 */
void
window_span(Evaluation *ev, const AstWindow *window, TimestampTz start, TimestampTz end, bool event,
			TimestampTz *from, TimestampTz *upto)
{
	TimestampTz unused;

	switch (window->tag)
	{
		case WINDOW_NONE:
			*from = start;
			*upto = DT_NOEND;
			return;
		case WINDOW_IN_LAST:
			*from = start;
			*upto = calendar_add(start, &window->d1->interval, ev->zone);
			return;
		case WINDOW_IN_NEXT:
			*from = calendar_subtract(start, &window->d1->interval, ev->zone);
			*upto = end;
			return;
		case WINDOW_BEFORE_AGO:
			*from = calendar_add(start, &window->d1->interval, ev->zone);
			*upto = DT_NOEND;
			return;
		case WINDOW_BETWEEN_AGO:
			*from = calendar_add(start, &window->d1->interval, ev->zone);
			*upto = calendar_add(start, &window->d2->interval, ev->zone);
			return;
		case WINDOW_THIS:
			calendar_period(start, window->unit, 0, ev->zone, from, upto);
			if (event)
				*from = Max(*from, start);
			return;
		case WINDOW_PREVIOUS:
			calendar_period(start, window->unit, 0, ev->zone, &unused, from);
			calendar_period(start, window->unit, window->count, ev->zone, &unused, upto);
			return;
		case WINDOW_TOMORROW:
			calendar_period(start, UNIT_DAY, -1, ev->zone, from, upto);
			return;
		default:
			{
				TimestampTz first,
							below;

				fixed_range(ev, window, &first, &below);
				if (start < first || start >= below)
				{
					*from = *upto = DT_NOBEGIN;
					return;
				}
				*from = event ? start : DT_NOBEGIN;
				*upto = DT_NOEND;
			}
	}
}

/* Is the instant in the span, and until when does that answer stand? */
bool
span_holds(TimestampTz from, TimestampTz upto, TimestampTz at, TimestampTz *until)
{
	bool		inside = from <= at && (at < upto || TIMESTAMP_IS_NOEND(upto));

	/* a moment that never is: infinitely far ahead */
	if (TIMESTAMP_IS_NOEND(from))
		inside = false;
	if (until != NULL)
	{
		if (inside)
			*until = upto;
		else if (at < from && from < upto)
			*until = from;
		else
			*until = DT_NOEND;
	}
	return inside;
}

bool
moment_in_window(Evaluation *ev, int window, Value moment, TimestampTz *until)
{
	TimestampTz from,
				upto;

	if (moment.type == VALUE_UNKNOWN)
	{
		if (until != NULL)
			*until = DT_NOEND;
		return false;
	}
	window_span(ev, ev->program->windows[window], moment_start(ev, moment), moment_end(ev, moment), false,
				&from, &upto);
	return span_holds(from, upto, ev->at, until);
}

/* The n-th anniversary, shifted; false past the range of time. */
static bool
anniversary_instance(Evaluation *ev, Value base, int64 n, int nshifts, const Interval *shifts, Value *result)
{
	if (base.type == VALUE_DATE)
	{
		DateADT		date;

		if (!calendar_add_months((DateADT) base.u.integer, n * MONTHS_PER_YEAR, &date))
			return false;
		*result = value_date(date);
	}
	else
	{
		Interval	years = {.month = (int32) (n * MONTHS_PER_YEAR)};
		TimestampTz at = calendar_add(base.u.integer, &years, ev->zone);

		if (TIMESTAMP_NOT_FINITE(at))
			return false;
		*result = value_timestamp(at);
	}
	for (int i = 0; i < nshifts; i++)
		*result = value_timestamp(calendar_add(moment_start(ev, *result), &shifts[i], ev->zone));
	return true;
}

/* The least n of 1 to 300,000 whose anniversary is no longer over (or, for a fixed window, has reached it). */
static bool
anniversary_passed(Evaluation *ev, const AstWindow *window, Value base, int64 n, int nshifts, const Interval *shifts)
{
	Value		moment;
	TimestampTz from,
				upto,
				below;

	if (!anniversary_instance(ev, base, n, nshifts, shifts, &moment))
		return false;
	if (window_is_fixed(window))
	{
		fixed_range(ev, window, &from, &below);
		return moment_start(ev, moment) < from;
	}
	window_span(ev, window, moment_start(ev, moment), moment_end(ev, moment), false, &from, &upto);
	return upto <= ev->at && !TIMESTAMP_IS_NOEND(upto);
}

static bool
one_anniversary_in_window(Evaluation *ev, int number, Value base, int nshifts, const Interval *shifts,
						  TimestampTz *until)
{
	const AstWindow *window = ev->program->windows[number];
	int64		low = 1,
				high = 300000;

	*until = DT_NOEND;
	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (anniversary_passed(ev, window, base, middle, nshifts, shifts))
			low = middle + 1;
		else
			high = middle;
	}
	/* one before, lest a clipped day or a change of the clocks be missed */
	for (int64 n = Max(low - 1, 1); n <= low + 1; n++)
	{
		Value		moment;
		TimestampTz one;

		if (!anniversary_instance(ev, base, n, nshifts, shifts, &moment))
			break;
		if (moment_in_window(ev, number, moment, &one))
		{
			*until = one;
			return true;
		}
		*until = Min(*until, one);
	}
	return false;
}

bool
anniversary_in_window(Evaluation *ev, int window, Value base, int nshifts, const Interval *shifts,
					  TimestampTz *until)
{
	bool		result = false;
	TimestampTz first = DT_NOEND;
	TimestampTz lasting = DT_NOBEGIN;
	Value	   *elements = base.type == VALUE_ARRAY ? (Value *) base.u.elements : &base;
	int			count = base.type == VALUE_ARRAY ? (int) base.length : 1;

	for (int i = 0; i < count; i++)
	{
		TimestampTz one;

		if (elements[i].type != VALUE_DATE && elements[i].type != VALUE_TIMESTAMP)
			continue;
		if (elements[i].type == VALUE_DATE ? DATE_NOT_FINITE((DateADT) elements[i].u.integer) :
			TIMESTAMP_NOT_FINITE(elements[i].u.integer))
			continue;
		if (one_anniversary_in_window(ev, window, elements[i], nshifts, shifts, &one))
		{
			result = true;
			lasting = Max(lasting, one);
		}
		first = Min(first, one);
	}
	if (until != NULL)
		*until = result ? lasting : first;
	return result;
}

/* ------------------------------------------------------------------------------------------------------------------
 * Events
 * ------------------------------------------------------------------------------------------------------------------ */

static void
everything_uncertain(CalendarBound *bound)
{
	bound->out_upto = DT_NOBEGIN;
	bound->in_from = DT_NOEND;
}

static void
exactly_from(CalendarBound *bound, TimestampTz first)
{
	bound->in_from = first;
	bound->out_upto = TIMESTAMP_NOT_FINITE(first) ? first : first - 1;
}

/* Nothing between the two bounds is left to be tried. */
static bool
bound_is_exact(const CalendarBound *bound)
{
	return bound->in_from <= bound->out_upto ||
		(!TIMESTAMP_NOT_FINITE(bound->out_upto) && bound->in_from == bound->out_upto + 1);
}

/* The window at the instant that is set, as bounds on the events' times. */
static const WindowBounds *
window_bounds(Evaluation *ev, int number)
{
	const AstWindow *window = ev->program->windows[number];
	WindowBounds *bounds = &ev->windows[number];
	TimestampTz t = ev->at;
	TimestampTz start,
				end,
				unused;
	Interval	back;

	if (bounds->stamp == ev->instant_stamp)
		return bounds;

	bounds->stamp = ev->instant_stamp;
	bounds->ahead = window->tag == WINDOW_IN_NEXT || window->tag == WINDOW_TOMORROW;
	bounds->below = DT_NOEND;
	/* by default: starts to count by happening, and never ends */
	exactly_from(&bounds->starts, TIMESTAMP_NOT_FINITE(t) ? t : t + 1);
	exactly_from(&bounds->ends, DT_NOBEGIN);

	if (TIMESTAMP_NOT_FINITE(t))
	{
		everything_uncertain(&bounds->starts);
		everything_uncertain(&bounds->ends);
		return bounds;
	}

	switch (window->tag)
	{
		case WINDOW_IN_LAST:
			calendar_bound(t, &window->d1->interval, ev->zone, &bounds->ends);
			break;
		case WINDOW_IN_NEXT:
			back = negated(&window->d1->interval);
			calendar_bound(t, &back, ev->zone, &bounds->starts);
			exactly_from(&bounds->ends, t + 1);
			break;
		case WINDOW_BEFORE_AGO:
			calendar_bound(t, &window->d1->interval, ev->zone, &bounds->starts);
			break;
		case WINDOW_BETWEEN_AGO:
			calendar_bound(t, &window->d1->interval, ev->zone, &bounds->starts);
			calendar_bound(t, &window->d2->interval, ev->zone, &bounds->ends);
			break;
		case WINDOW_THIS:
		case WINDOW_PREVIOUS:
			if (window->unit < UNIT_DAY)
			{
				/* where the clocks change by half an hour, hours overlap: try each */
				everything_uncertain(&bounds->ends);
				if (window->tag == WINDOW_PREVIOUS)
					everything_uncertain(&bounds->starts);
				break;
			}
			calendar_period(t, window->unit, 0, ev->zone, &start, &end);
			if (window->tag == WINDOW_THIS)
				exactly_from(&bounds->ends, start);
			else
			{
				exactly_from(&bounds->starts, start);
				calendar_period(t, window->unit, -window->count, ev->zone, &start, &unused);
				exactly_from(&bounds->ends, start);
			}
			break;
		case WINDOW_TOMORROW:
			calendar_period(t, UNIT_DAY, 1, ev->zone, &start, &end);
			exactly_from(&bounds->starts, end);
			exactly_from(&bounds->ends, start);
			break;
		case WINDOW_NONE:
			break;
		default:
			{
				TimestampTz first;

				fixed_range(ev, window, &first, &bounds->below);
				exactly_from(&bounds->ends, first);
			}
	}
	return bounds;
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

/* The first instant after s; DT_NOBEGIN and DT_NOEND stay. */
static inline TimestampTz
just_after(TimestampTz s)
{
	return TIMESTAMP_NOT_FINITE(s) ? s : s + 1;
}

/* When the events of a windowed set happened that count at the instant. */
EventsRange
events_range(Evaluation *ev, int number)
{
	const ProgramEvents *events = &ev->program->events[number];
	const WindowBounds *bounds;
	EventsRange range;

	if (events->window < 0)
	{
		range.begin = range.sure_begin = DT_NOBEGIN;
		range.end = range.sure_end = just_after(ev->at);
		return range;
	}

	bounds = window_bounds(ev, events->window);
	range.begin = just_after(bounds->ends.out_upto);
	range.sure_begin = bound_is_exact(&bounds->ends) ? range.begin : bounds->ends.in_from;
	range.end = bounds->starts.in_from;
	if (!bounds->ahead)
		range.end = Min(range.end, just_after(ev->at));
	range.end = Min(range.end, bounds->below);
	range.sure_end = bound_is_exact(&bounds->starts) ? range.end : Min(just_after(bounds->starts.out_upto), range.end);
	return range;
}

/* The members of a set whose filter looks at no instant; of a set whose filter does, all events of the kind. */
const SetMemo *
set_members(Evaluation *ev, int number)
{
	const ProgramSet *set = &ev->program->sets[number];
	SetMemo    *memo = &ev->sets[number];
	const KindFacts *facts = &ev->facts->kinds[set->kind];

	if (memo->stamp == ev->facts_stamp)
		return memo;

	memo->stamp = ev->facts_stamp;
	memo->list = NULL;
	memo->count = facts->nevents;
	if (set->filter >= 0 && !set->timed && !set->outer && facts->nevents > 0)
	{
		int		   *list = MemoryContextAllocHuge(ev->facts_context, sizeof(int) * (Size) facts->nevents);
		int			count = 0;

		for (int i = 0; i < facts->nevents; i++)
		{
			if (set_filter(ev, number, i, NULL, NULL) == TRI_TRUE)
				list[count++] = i;
		}
		memo->list = list;
		memo->count = count;
	}
	return memo;
}

/*
 * Does the event count at the instant, by its window and, where that looks at the instant, by its filter? Out of window
 * and out of filter it stays until the later of the two changes.
 */
static bool
event_counts(Evaluation *ev, const ProgramEvents *events, const AstWindow *window, TimestampTz s, int event,
			 TimestampTz *until)
{
	bool		timed = ev->program->sets[events->set].timed;
	TimestampTz from,
				upto,
				filter_until;
	bool		inside;
	Tri			filter;

	window_span(ev, window, s, s, true, &from, &upto);
	inside = span_holds(from, upto, ev->at, until);
	if (!timed)
		return inside;
	if (until == NULL)
		return inside && set_filter(ev, events->set, event, NULL, NULL) == TRI_TRUE;
	if (!inside && TIMESTAMP_IS_NOEND(*until))
		return false;

	filter = set_filter(ev, events->set, event, NULL, &filter_until);
	if (inside && filter == TRI_TRUE)
		*until = Min(*until, filter_until);
	else if (!inside)
		*until = filter == TRI_TRUE ? *until : Max(*until, filter_until);
	else
		*until = filter_until < *until ? filter_until : DT_NOEND;
	return inside && filter == TRI_TRUE;
}

bool
event_selected(Evaluation *ev, int number, int event, TimestampTz *until)
{
	const ProgramEvents *events = &ev->program->events[number];
	const ProgramSet *set = &ev->program->sets[events->set];
	const AstWindow *window = events->window < 0 ? &no_window : ev->program->windows[events->window];

	return event_counts(ev, events, window, ev->facts->kinds[set->kind].at[event], event, until);
}

/*
 * When a selection may change: the first end of an event that counts, or the first start of one that will. Ends and
 * starts rise with the events' times, but for a few days' slack.
 */
static TimestampTz
selection_until(Evaluation *ev, const ProgramEvents *events, const AstWindow *window, const SetMemo *members,
				const TimestampTz *at, int begin)
{
	bool		timed = ev->program->sets[events->set].timed;
	TimestampTz result = DT_NOEND;
	TimestampTz first_inside = DT_NOEND;
	TimestampTz first_ahead = DT_NOEND;
	TimestampTz started = events->window < 0 ? ev->at : ev->windows[events->window].starts.out_upto;

	for (int p = begin; p < members->count; p++)
	{
		int			event = members->list == NULL ? p : members->list[p];
		TimestampTz s = at[event];
		TimestampTz from,
					upto,
					until;
		bool		inside;

		CHECK_FOR_INTERRUPTS();
		if (timed)
			event_counts(ev, events, window, s, event, &until);
		window_span(ev, window, s, s, true, &from, &upto);
		inside = span_holds(from, upto, ev->at, timed ? NULL : &until);
		result = Min(result, until);

		if (inside)
		{
			if (TIMESTAMP_IS_NOEND(first_inside))
				first_inside = s;
			/* the rest of those inside end later: on to the first that may not have started to count */
			else if (!timed && s - first_inside > DAY_MARGIN)
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
	}
	return result;
}

/* Keeps those of the positions that the window, tried exactly, and a timed filter let through. */
static void
select_one_by_one(Evaluation *ev, const ProgramEvents *events, const AstWindow *window, const SetMemo *members,
				  const TimestampTz *at, int begin, int sure_begin, int sure_end, int end, Selection *selection)
{
	bool		timed = ev->program->sets[events->set].timed;
	int		   *list = MemoryContextAllocHuge(ev->instant_context, sizeof(int) * (Size) Max(end - begin, 1));
	int			count = 0;

	for (int p = begin; p < end; p++)
	{
		int			event = members->list == NULL ? p : members->list[p];
		bool		counts;

		if (p >= sure_begin && p < sure_end)
			counts = !timed || set_filter(ev, events->set, event, NULL, NULL) == TRI_TRUE;
		else
			counts = event_counts(ev, events, window, at[event], event, NULL);
		if (counts)
			list[count++] = event;
	}
	selection->first = 0;
	selection->count = count;
	selection->list = list;
	selection->contiguous = false;
}

const Selection *
select_events(Evaluation *ev, int number, TimestampTz *until)
{
	const ProgramEvents *events = &ev->program->events[number];
	const ProgramSet *set = &ev->program->sets[events->set];
	EventsMemo *memo = &ev->events[number];
	Selection  *selection = &memo->selection;
	const SetMemo *members;
	const TimestampTz *at;
	const AstWindow *window;
	EventsRange range;
	int			begin,
				sure_begin,
				sure_end,
				end;

	if (memo->stamp == ev->stamp && (until == NULL || memo->with_until))
	{
		if (until != NULL)
			*until = memo->until;
		return selection;
	}

	members = set_members(ev, events->set);
	at = ev->facts->kinds[set->kind].at;
	memo->stamp = ev->stamp;
	memo->with_until = until != NULL;
	memo->until = DT_NOEND;
	selection->count = 0;
	selection->first = 0;
	selection->list = members->list;
	selection->contiguous = true;
	if (members->count == 0)
	{
		if (until != NULL)
			*until = DT_NOEND;
		return selection;
	}

	window = events->window < 0 ? &no_window : ev->program->windows[events->window];
	range = events_range(ev, number);
	begin = position_from(at, members->list, members->count, range.begin);
	sure_begin = range.sure_begin == range.begin ? begin :
		position_from(at, members->list, members->count, range.sure_begin);
	/* all have happened, nearly always */
	if (at[members->list == NULL ? members->count - 1 : members->list[members->count - 1]] < range.end)
		end = members->count;
	else
		end = position_from(at, members->list, members->count, range.end);
	sure_end = range.sure_end == range.end ? end :
		position_from(at, members->list, members->count, range.sure_end);

	if (end > begin)
	{
		if (!set->timed && begin == sure_begin && end == sure_end)
		{
			selection->first = begin;
			selection->count = end - begin;
		}
		else
			select_one_by_one(ev, events, window, members, at, begin, sure_begin, sure_end, end, selection);
	}

	if (until != NULL)
	{
		memo->until = selection_until(ev, events, window, members, at, begin);
		*until = memo->until;
	}
	return selection;
}

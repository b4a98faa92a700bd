/*
 * eval_bounds.c
 *		Windows at one instant, as bounds on the times of events.
 *
 * To ask window_span() of every event of every customer would cost calendar arithmetic each time, so for an instant each
 * window is turned once into bounds (calendar_bound()): all events but those in the narrow band between them, which is
 * nearly always empty, are decided by a comparison. The bounds of an instant serve all customers.
 */
#include "postgres.h"

#include "common/int.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

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

/*
 * Hours and less have one length, but where the clocks change by half an hour they overlap. An event lies in its period
 * P, so the n-th period after P begins less than n lengths after the event and ends at most n + 1 after it.
 */
static void
clock_bounds(WindowBounds *bounds, const AstWindow *window, TimestampTz t)
{
	Interval	unit = {.time = window->unit == UNIT_HOUR ? USECS_PER_HOUR :
	window->unit == UNIT_MINUTE ? USECS_PER_MINUTE : USECS_PER_SEC};
	int64		count = window->tag == WINDOW_THIS ? 0 : window->count;
	int64		reach;

	if (pg_mul_s64_overflow(count + 1, unit.time, &reach) || pg_sub_s64_overflow(t, reach, &bounds->ends.out_upto))
	{
		everything_uncertain(&bounds->ends);
		everything_uncertain(&bounds->starts);
		return;
	}
	bounds->ends.in_from = t - count * unit.time + 1;
	if (window->tag == WINDOW_PREVIOUS)
	{
		bounds->starts.out_upto = t - unit.time;
		bounds->starts.in_from = t;
	}
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
			back = calendar_negated(&window->d1->interval);
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
				clock_bounds(bounds, window, t);
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

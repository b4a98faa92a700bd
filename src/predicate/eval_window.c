/*
 * eval_window.c
 *		Windows: when a moment counts.
 *
 * A moment lies in a window during one half-open span of time, computed exactly by window_span(); an anniversary is many
 * moments, of which those around the instant are looked at. Windows over events are in eval_select.c.
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

/* Time itself ends before. */
#define MAX_ANNIVERSARY 300000

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
void
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
				/* never, but in the order of the moments */
				if (start < first || start >= below)
				{
					*from = *upto = start < first ? DT_NOBEGIN : DT_NOEND;
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

static bool
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
anniversary_instance(Evaluation *ev, const ProgramNode *node, Value base, int64 n, Value *result)
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
	for (int i = 0; i < node->nshifts; i++)
		*result = value_timestamp(calendar_add(moment_start(ev, *result), &node->shifts[i], ev->zone));
	return true;
}

/* Whether the n-th anniversary is over (or, for a fixed window, does not reach it). */
static bool
anniversary_passed(Evaluation *ev, const ProgramNode *node, Value base, int64 n)
{
	const AstWindow *window = ev->program->windows[node->window];
	Value		moment;
	TimestampTz from,
				upto,
				below;

	if (!anniversary_instance(ev, node, base, n, &moment))
		return false;
	if (window_is_fixed(window))
	{
		fixed_range(ev, window, &from, &below);
		return moment_start(ev, moment) < from;
	}
	window_span(ev, window, moment_start(ev, moment), moment_end(ev, moment), false, &from, &upto);
	return upto <= ev->at && !TIMESTAMP_IS_NOEND(upto);
}

/* The least n of those whose anniversary has not passed. */
static int64
first_anniversary(Evaluation *ev, const ProgramNode *node, Value base)
{
	const int64 year = INT64CONST(31556952) * USECS_PER_SEC;
	int64		low = 1,
				high = MAX_ANNIVERSARY;
	int64		guess;

	/* mostly the one around the instant: gallop from there, then halve what is left */
	if (TIMESTAMP_NOT_FINITE(ev->at))
		guess = TIMESTAMP_IS_NOBEGIN(ev->at) ? low : high;
	else if (base.type == VALUE_DATE)
		guess = ev->at / year - base.u.integer / (year / USECS_PER_DAY);
	else
		guess = ev->at / year - base.u.integer / year;
	guess = Max(Min(guess, high - 1), low);
	if (anniversary_passed(ev, node, base, guess))
	{
		low = guess + 1;
		for (int64 step = 1; low < high; step *= 2)
		{
			int64		probe = Min(low + step - 1, high - 1);

			if (!anniversary_passed(ev, node, base, probe))
			{
				high = probe;
				break;
			}
			low = probe + 1;
		}
	}
	else
	{
		high = guess;
		for (int64 step = 1; low < high; step *= 2)
		{
			int64		probe = Max(high - step, low);

			if (anniversary_passed(ev, node, base, probe))
			{
				low = probe + 1;
				break;
			}
			high = probe;
		}
	}
	while (low < high)
	{
		int64		middle = low + (high - low) / 2;

		if (anniversary_passed(ev, node, base, middle))
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool
one_anniversary_in_window(Evaluation *ev, const ProgramNode *node, Value base, TimestampTz *until)
{
	int64		low = first_anniversary(ev, node, base);

	*until = DT_NOEND;
	/* one before, lest a clipped day or a change of the clocks be missed */
	for (int64 n = Max(low - 1, 1); n <= low + 1; n++)
	{
		Value		moment;
		TimestampTz one;

		if (!anniversary_instance(ev, node, base, n, &moment))
			break;
		if (moment_in_window(ev, node->window, moment, &one))
		{
			*until = one;
			return true;
		}
		*until = Min(*until, one);
	}
	return false;
}

/* Of an array of dates, any element counts. */
static bool
anniversary_in_window(Evaluation *ev, const ProgramNode *node, Value base, TimestampTz *until)
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
		if (one_anniversary_in_window(ev, node, elements[i], &one))
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

/* Is a value, which a node gave, in the window of another, as a moment or as what anniversaries are of? */
bool
value_in_window(Evaluation *ev, const ProgramNode *node, const ProgramNode *giver, Value value, TimestampTz *until)
{
	if (node->anniversary < 0)
		return moment_in_window(ev, node->window, moment_of(ev, giver, value), until);
	if (value.type != VALUE_ARRAY)
		value = moment_of(ev, giver, value);
	return anniversary_in_window(ev, node, value, until);
}

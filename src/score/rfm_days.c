/*
 * rfm_days.c
 *		The local date of an instant, millions of times.
 *
 * Asking the time zone for each instant costs more than all the rest of a row. A zone has one offset from UTC for months at
 * a stretch, so stretches that were met are kept, and a date is then an addition and a division.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/timestamp.h"

#include "base/calendar.h"
#include "score/rfm_population.h"

#define KEPT_SPANS 64

/* [from, until) has one offset */
typedef struct DaySpan
{
	TimestampTz from;
	TimestampTz until;
	int64		offset;			/* microseconds east of UTC */
} DaySpan;

struct RfmDays
{
	pg_tz	   *zone;
	int			latest;
	int			count;
	DaySpan		spans[KEPT_SPANS];
};

RfmDays *
rfm_days_create(const char *zone)
{
	RfmDays    *days = palloc0(sizeof(RfmDays));

	days->zone = calendar_zone(zone);
	return days;
}

/*
 * Finds or makes the span that holds the instant, and remembers it as the latest.
 */
static void
find_span(RfmDays *days, TimestampTz at)
{
	pg_time_t	second;
	pg_time_t	boundary;
	long		offset;
	long		next_offset;
	int			is_dst;
	DaySpan		span;
	int			found;

	for (int i = 0; i < days->count; i++)
	{
		if (at >= days->spans[i].from && at < days->spans[i].until)
		{
			days->latest = i;
			return;
		}
	}

	second = at / USECS_PER_SEC - (at % USECS_PER_SEC < 0 ? 1 : 0);
	span.from = second * USECS_PER_SEC;
	span.until = DT_NOEND;
	second += (pg_time_t) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
	found = pg_next_dst_boundary(&second, &offset, &is_dst, &boundary, &next_offset, &is_dst, days->zone);
	if (found < 0)
	{
		/* Cannot happen to a zone that was loaded; what UTC says is what timestamptz falls back to, too. */
		offset = 0;
		span.until = span.from + USECS_PER_SEC;
	}
	else if (found > 0)
	{
		boundary -= (pg_time_t) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY;
		if (boundary < DT_NOEND / USECS_PER_SEC)
			span.until = boundary * USECS_PER_SEC;
	}
	span.offset = offset * USECS_PER_SEC;

	/* A span is known from the earliest instant asked for: widen one that is known from later on. */
	for (int i = 0; i < days->count; i++)
	{
		if (days->spans[i].until == span.until && found >= 0)
		{
			days->spans[i].from = span.from;
			days->latest = i;
			return;
		}
	}
	if (days->count == KEPT_SPANS)
		days->count = 0;
	days->latest = days->count++;
	days->spans[days->latest] = span;
}

DateADT
rfm_day(RfmDays *days, TimestampTz at)
{
	const DaySpan *span = &days->spans[days->latest];
	int64		local;

	if (unlikely(days->count == 0 || at < span->from || at >= span->until))
	{
		find_span(days, at);
		span = &days->spans[days->latest];
	}
	local = at + span->offset;
	return (DateADT) (local / USECS_PER_DAY - (local % USECS_PER_DAY < 0 ? 1 : 0));
}

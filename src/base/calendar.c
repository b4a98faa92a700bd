/*
 * calendar.c
 *		Local time arithmetic in a zone that is an argument.
 *
 * Adding an interval follows timestamptz_pl_interval() step by step (months, then days, then time; month ends clip; a
 * local time that a DST change skips or repeats is resolved by DetermineTimeZoneOffset()), only that the zone is given
 * and that what falls off the range of timestamptz is infinite.
 *
 * A local day begins at the first instant whose local date is that day. That is midnight nearly always, but not where
 * the clocks change at midnight, nor where a zone skipped a whole day.
 */
#include "postgres.h"

#include "common/int.h"
#include "parser/scansup.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/calendar.h"
#include "compat.h"

PG_FUNCTION_INFO_V1(crm_calendar_is_timezone);

#define UNIX_EPOCH_SECS (((pg_time_t) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE)) * SECS_PER_DAY)

const char *const calendar_unit_names[CALENDAR_UNITS] =
{"second", "minute", "hour", "day", "week", "month", "quarter", "year"};

pg_tz *
calendar_zone(const char *name)
{
	pg_tz	   *zone = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : NULL;

	if (zone == NULL || !pg_tz_acceptable(zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 errhint("The view pg_timezone_names lists the known time zones.")));
	return zone;
}

bool
calendar_is_zone(const char *name)
{
	char	   *lower = downcase_truncate_identifier(name, (int) strlen(name), false);
	pg_tz	   *zone;

	/* as timestamptz_zone() has it */
	if (crm_is_timezone_abbreviation(lower))
		return true;
	zone = strlen(name) <= TZ_STRLEN_MAX ? pg_tzset(name) : NULL;
	return zone != NULL;
}

/* crm.is_timezone(zone) */
Datum
crm_calendar_is_timezone(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(calendar_is_zone(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

/* Seconds east of UTC that the zone's clocks show at an instant. */
static long
offset_at(TimestampTz at, pg_tz *zone)
{
	pg_time_t	secs;
	struct pg_tm *tm;

	secs = (at >= 0 ? at / USECS_PER_SEC : -((-at + USECS_PER_SEC - 1) / USECS_PER_SEC)) + UNIX_EPOCH_SECS;
	tm = pg_localtime(&secs, zone);
	return tm == NULL ? 0 : tm->tm_gmtoff;
}

/* The instant as the wall shows it, as microseconds of a timestamp without zone. */
static Timestamp
to_local(TimestampTz at, pg_tz *zone)
{
	return at + offset_at(at, zone) * USECS_PER_SEC;
}

static TimestampTz
in_range(TimestampTz at)
{
	if (at < MIN_TIMESTAMP)
		return DT_NOBEGIN;
	if (at >= END_TIMESTAMP)
		return DT_NOEND;
	return at;
}

static DateADT
date_of_local(Timestamp local)
{
	return (DateADT) (local >= 0 ? local / USECS_PER_DAY : -((-local + USECS_PER_DAY - 1) / USECS_PER_DAY));
}

/* A local date and time of day as an instant, as PostgreSQL resolves it. */
static TimestampTz
from_local_parts(int64 date, int64 time, pg_tz *zone)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;

	j2date((int) (date + POSTGRES_EPOCH_JDATE), &tm.tm_year, &tm.tm_mon, &tm.tm_mday);
	dt2time(time, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fsec);
	tm.tm_isdst = -1;
	tz = DetermineTimeZoneOffset(&tm, zone);
	return date * USECS_PER_DAY + time + (int64) tz * USECS_PER_SEC;
}

TimestampTz
calendar_from_local(Timestamp local, pg_tz *zone)
{
	DateADT		date;

	if (TIMESTAMP_NOT_FINITE(local))
		return local;
	date = date_of_local(local);
	return in_range(from_local_parts(date, local - (int64) date * USECS_PER_DAY, zone));
}

/* A date so many months away, its day clipped to the month's end; false when out of range. */
static bool
add_months(DateADT date, int64 months, int64 *result)
{
	int			year,
				month,
				day;
	int64		index;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	index = (int64) year * 12 + (month - 1) + months;
	/* j2date() numbers years astronomically, from -4713; int division must round down */
	year = (int) (index >= 0 ? index / 12 : -((-index + 11) / 12));
	month = (int) (index - (int64) year * 12) + 1;
	if (year < JULIAN_MINYEAR + 1 || year > 294276)
	{
		*result = months > 0 ? 1 : -1;
		return false;
	}
	if (day > day_tab[isleap(year)][month - 1])
		day = day_tab[isleap(year)][month - 1];
	*result = (int64) date2j(year, month, day) - POSTGRES_EPOCH_JDATE;
	return true;
}

static TimestampTz
add_parts(TimestampTz at, int64 months, int64 days, int64 time, pg_tz *zone)
{
	int64		date;

	if (TIMESTAMP_NOT_FINITE(at))
		return at;
	if (months != 0)
	{
		Timestamp	local = to_local(at, zone);
		DateADT		from = date_of_local(local);

		if (!add_months(from, months, &date))
			return date > 0 ? DT_NOEND : DT_NOBEGIN;
		at = from_local_parts(date, local - (int64) from * USECS_PER_DAY, zone);
		if (!IS_VALID_TIMESTAMP(at))
			return in_range(at);
	}
	if (days != 0)
	{
		Timestamp	local = to_local(at, zone);
		DateADT		from = date_of_local(local);

		date = (int64) from + days;
		if (date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
			return DT_NOEND;
		if (date < DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE)
			return DT_NOBEGIN;
		at = from_local_parts(date, local - (int64) from * USECS_PER_DAY, zone);
		if (!IS_VALID_TIMESTAMP(at))
			return in_range(at);
	}
	if (pg_add_s64_overflow(at, time, &at))
		return time > 0 ? DT_NOEND : DT_NOBEGIN;
	return in_range(at);
}

TimestampTz
calendar_add(TimestampTz at, const Interval *span, pg_tz *zone)
{
	return add_parts(at, span->month, span->day, span->time, zone);
}

TimestampTz
calendar_subtract(TimestampTz at, const Interval *span, pg_tz *zone)
{
	return add_parts(at, -(int64) span->month, -(int64) span->day, -span->time, zone);
}

/*
 * Walks the zone's stretches of constant offset from well before the date's midnight, and takes the first instant that
 * shows it or anything later.
 */
TimestampTz
calendar_day_start(DateADT date, pg_tz *zone)
{
	pg_time_t	midnight;
	pg_time_t	from;

	if (DATE_NOT_FINITE(date))
		return DATE_IS_NOBEGIN(date) ? DT_NOBEGIN : DT_NOEND;
	if (date >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
		return DT_NOEND;
	if (date < DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE)
		return DT_NOBEGIN;

	midnight = (pg_time_t) date * SECS_PER_DAY + UNIX_EPOCH_SECS;
	from = midnight - 2 * SECS_PER_DAY;
	for (;;)
	{
		long		offset,
					next_offset;
		int			isdst,
					next_isdst;
		pg_time_t	boundary;
		int			found;
		pg_time_t	first;

		found = pg_next_dst_boundary(&from, &offset, &isdst, &boundary, &next_offset, &next_isdst, zone);
		first = Max(from, midnight - offset);
		if (found <= 0 || first < boundary)
			return in_range(((TimestampTz) first - UNIX_EPOCH_SECS) * USECS_PER_SEC);
		from = boundary;
	}
}

/* The date that the clock shows. */
DateADT
calendar_date(TimestampTz at, pg_tz *zone)
{
	if (TIMESTAMP_IS_NOBEGIN(at))
		return DATEVAL_NOBEGIN;
	if (TIMESTAMP_IS_NOEND(at))
		return DATEVAL_NOEND;
	return date_of_local(to_local(at, zone));
}

void
calendar_fields(TimestampTz at, pg_tz *zone, CalendarFields *fields)
{
	Timestamp	local = to_local(at, zone);

	fields->date = date_of_local(local);
	fields->hour = (int) ((local - (int64) fields->date * USECS_PER_DAY) / USECS_PER_HOUR);
	j2date(fields->date + POSTGRES_EPOCH_JDATE, &fields->year, &fields->month, &fields->day);
	fields->weekday = j2day(fields->date + POSTGRES_EPOCH_JDATE);
	if (fields->weekday == 0)
		fields->weekday = 7;
}

int
calendar_iso_week(DateADT date)
{
	int			year,
				month,
				day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return date2isoweek(year, month, day);
}

DateADT
calendar_trunc_date(DateADT date, CalendarUnit unit)
{
	int			year,
				month,
				day;

	if (unit == UNIT_DAY)
		return date;
	if (unit == UNIT_WEEK)
	{
		int			weekday = j2day(date + POSTGRES_EPOCH_JDATE);

		return date - (weekday + 6) % 7;
	}
	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	if (unit == UNIT_QUARTER)
		month = (month - 1) / 3 * 3 + 1;
	else if (unit == UNIT_YEAR)
		month = 1;
	return date2j(year, month, 1) - POSTGRES_EPOCH_JDATE;
}

/* A date at a unit's beginning, moved by so many units. */
static int64
shift_date(DateADT date, CalendarUnit unit, int64 shift)
{
	static const int months[CALENDAR_UNITS] = {0, 0, 0, 0, 0, 1, 3, 12};
	int64		result;

	if (unit == UNIT_DAY)
		return date + shift;
	if (unit == UNIT_WEEK)
		return date + shift * 7;
	if (!add_months(date, shift * months[unit], &result))
		return result > 0 ? PG_INT32_MAX : PG_INT32_MIN;
	return result;
}

static TimestampTz
start_of(int64 date, pg_tz *zone)
{
	if (date >= PG_INT32_MAX)
		return DT_NOEND;
	if (date <= PG_INT32_MIN)
		return DT_NOBEGIN;
	return calendar_day_start((DateADT) date, zone);
}

void
calendar_period(TimestampTz at, CalendarUnit unit, int64 shift, pg_tz *zone, TimestampTz *start, TimestampTz *end)
{
	if (TIMESTAMP_NOT_FINITE(at))
	{
		*start = *end = at;
		return;
	}
	if (unit < UNIT_DAY)
	{
		static const int64 lengths[] = {USECS_PER_SEC, USECS_PER_MINUTE, USECS_PER_HOUR};
		int64		length = lengths[unit];
		int64		offset = offset_at(at, zone) * USECS_PER_SEC;
		Timestamp	local = at + offset;
		int64		rest = local % length;
		int64		moved;

		if (rest < 0)
			rest += length;
		local -= rest;
		if (pg_mul_s64_overflow(shift, length, &moved) || pg_add_s64_overflow(local - offset, moved, start))
			*start = shift > 0 ? DT_NOEND : DT_NOBEGIN;
		*start = in_range(*start);
		*end = TIMESTAMP_NOT_FINITE(*start) ? *start : in_range(*start + length);
	}
	else
	{
		DateADT		date = date_of_local(to_local(at, zone));
		DateADT		first;

		/* the clock was put back over midnight: by instants the next day has begun already */
		if (at >= calendar_day_start(date + 1, zone))
			date++;
		first = calendar_trunc_date(date, unit);
		*start = start_of(shift_date(first, unit, shift), zone);
		*end = start_of(shift_date(first, unit, shift + 1), zone);
	}
}

/*
 * Whether the zone keeps one offset from "from" to "to".
 */
static bool
offset_constant(TimestampTz from, TimestampTz to, pg_tz *zone)
{
	pg_time_t	at = from / USECS_PER_SEC - 1 + UNIX_EPOCH_SECS;
	pg_time_t	boundary;
	long		before,
				after;
	int			before_isdst,
				after_isdst;

	if (pg_next_dst_boundary(&at, &before, &before_isdst, &boundary, &after, &after_isdst, zone) <= 0)
		return true;
	return (boundary - UNIX_EPOCH_SECS) * USECS_PER_SEC > to;
}

/* How far from the guess a bound of months or days can lie: clipped month ends and changes of the clocks. */
#define BOUND_MARGIN_DAYS 5

/*
 * Whether no clock changes where "at" and what lies around it passes on its way to the sum with a span: where it begins,
 * where the months lead, and where the days lead from there. The time is added to an instant, and asks no clock.
 */
static bool
clocks_stand_still(TimestampTz at, const Interval *span, pg_tz *zone, int64 margin)
{
	if (!offset_constant(at - margin, at + margin, zone))
		return false;

	/* what is around may be clipped, or not, on the way: the margin widens */
	margin *= 2;
	if (span->month != 0)
	{
		at = add_parts(at, span->month, 0, 0, zone);
		if (TIMESTAMP_NOT_FINITE(at) || !offset_constant(at - margin, at + margin, zone))
			return false;
	}
	if (span->day != 0)
	{
		at = add_parts(at, 0, span->day, 0, zone);
		if (TIMESTAMP_NOT_FINITE(at) || !offset_constant(at - margin, at + margin, zone))
			return false;
	}
	return true;
}

void
calendar_bound(TimestampTz t, const Interval *span, pg_tz *zone, CalendarBound *bound)
{
	const int64 margin = BOUND_MARGIN_DAYS * USECS_PER_DAY;
	TimestampTz guess;

	if (TIMESTAMP_NOT_FINITE(t))
	{
		/* s + span > infinity never; s + span > -infinity always */
		bound->out_upto = TIMESTAMP_IS_NOEND(t) ? DT_NOEND : DT_NOBEGIN;
		bound->in_from = bound->out_upto;
		return;
	}
	guess = calendar_subtract(t, span, zone);
	if (TIMESTAMP_NOT_FINITE(guess) || guess < MIN_TIMESTAMP + margin || guess > END_TIMESTAMP - margin ||
		t < MIN_TIMESTAMP + margin || t > END_TIMESTAMP - margin)
	{
		/* at the range's ends everything is tried */
		bound->out_upto = DT_NOBEGIN;
		bound->in_from = DT_NOEND;
		return;
	}
	if (span->month == 0 && span->day == 0)
	{
		bound->out_upto = guess;
		bound->in_from = guess + 1;
		return;
	}
	if (clocks_stand_still(guess, span, zone, margin))
	{
		/*
		 * No clock changes anywhere on the way, so that only clipped month ends are left: then a few days share one
		 * image. Days before and after the day of the guess, as far as the margin reaches, tell.
		 */
		TimestampTz low = guess - margin;
		TimestampTz high = guess + margin;
		DateADT		day = date_of_local(to_local(guess, zone));
		int64		image,
					last = 0;
		bool		clipped = false;
		int			i;

		for (i = -BOUND_MARGIN_DAYS - 1; i <= BOUND_MARGIN_DAYS + 1; i++)
		{
			if (!add_months(day + i, span->month, &image))
				clipped = true;
			else if (i > -BOUND_MARGIN_DAYS - 1 && image <= last)
				clipped = true;
			last = image;
		}
		if (!clipped)
		{
			if (calendar_add(guess, span, zone) == t)
			{
				bound->out_upto = guess;
				bound->in_from = guess + 1;
				return;
			}
			/* strictly rising: bisect for the last s that does not lie after t */
			while (high - low > 1)
			{
				TimestampTz middle = low + (high - low) / 2;

				if (calendar_add(middle, span, zone) > t)
					high = middle;
				else
					low = middle;
			}
			bound->out_upto = low;
			bound->in_from = high;
			return;
		}
	}
	bound->out_upto = guess - margin;
	bound->in_from = guess + margin;
}

bool
calendar_add_months(DateADT date, int64 months, DateADT *result)
{
	int64		moved;

	if (DATE_NOT_FINITE(date) || !add_months(date, months, &moved))
		return false;
	*result = (DateADT) moved;
	return true;
}

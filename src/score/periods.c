/*
 * periods.c
 *		Days, weeks, months, quarters and years as their first dates.
 */
#include "postgres.h"

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "score/arguments.h"
#include "score/periods.h"

/* A period that was met: [start, end) are instants. */
typedef struct KnownPeriod
{
	TimestampTz start;
	TimestampTz end;
	DateADT		date;
} KnownPeriod;

struct PeriodMap
{
	CalendarUnit unit;
	pg_tz	   *zone;
	int			last;			/* where the last instant was found */
	int			count;
	int			room;
	KnownPeriod *known;			/* ascending */
};

CalendarUnit
period_argument(FunctionCallInfo fcinfo, int argument, const char *name)
{
	return (CalendarUnit) (UNIT_DAY + argument_word(fcinfo, argument, name, calendar_unit_names + UNIT_DAY,
													CALENDAR_UNITS - UNIT_DAY));
}

static int64
month_number(DateADT date)
{
	int			year,
				month,
				day;

	j2date(date + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	return (int64) year * 12 + month - 1;
}

static int
unit_months(CalendarUnit unit)
{
	return unit == UNIT_YEAR ? 12 : unit == UNIT_QUARTER ? 3 : 1;
}

DateADT
period_shift(DateADT start, CalendarUnit unit, int64 shift)
{
	DateADT		date;
	int64		days;

	if (unit > UNIT_WEEK)
	{
		if (calendar_add_months(start, shift * unit_months(unit), &date))
			return date;
	}
	else
	{
		days = start + shift * (unit == UNIT_WEEK ? 7 : 1);
		if (days >= PG_INT32_MIN && days <= PG_INT32_MAX && IS_VALID_DATE((DateADT) days))
			return (DateADT) days;
	}
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("date out of range")));
	return 0;					/* keep compiler quiet */
}

int64
period_count(DateADT from, DateADT to, CalendarUnit unit)
{
	if (unit > UNIT_WEEK)
		return (month_number(to) - month_number(from)) / unit_months(unit);
	return ((int64) to - from) / (unit == UNIT_WEEK ? 7 : 1);
}

PeriodMap *
period_map_create(CalendarUnit unit, pg_tz *zone)
{
	PeriodMap  *map = palloc0(sizeof(PeriodMap));

	map->unit = unit;
	map->zone = zone;
	map->room = 64;
	map->known = palloc(sizeof(KnownPeriod) * map->room);
	return map;
}

DateADT
period_of_instant(PeriodMap *map, TimestampTz at)
{
	KnownPeriod *known = &map->known[map->last];
	int			low = 0;
	int			high = map->count;

	if (likely(map->count > 0 && at >= known->start && at < known->end))
		return known->date;

	/* the first that ends after the instant */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (map->known[middle].end <= at)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == map->count || map->known[low].start > at)
	{
		if (map->count == map->room)
		{
			map->room *= 2;
			map->known = repalloc(map->known, sizeof(KnownPeriod) * map->room);
		}
		memmove(&map->known[low + 1], &map->known[low], sizeof(KnownPeriod) * (map->count - low));
		map->count++;
		known = &map->known[low];
		calendar_period(at, map->unit, 0, map->zone, &known->start, &known->end);
		/* once more truncated, because a zone may have skipped the date that the period begins with */
		known->date = calendar_trunc_date(calendar_date(TIMESTAMP_NOT_FINITE(known->start) ? at : known->start,
														map->zone), map->unit);
	}
	map->last = low;
	return map->known[low].date;
}

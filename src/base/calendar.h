/*
 * calendar.h
 *		Local time arithmetic in a zone that is an argument, never a GUC.
 *
 * PostgreSQL's own arithmetic on timestamptz works in the session's zone. A segment must not change with the session
 * that looks at it, so everything here takes the zone. Results past the range of timestamptz are infinite, not errors.
 */
#ifndef CRM_CALENDAR_H
#define CRM_CALENDAR_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "pgtime.h"
#include "utils/date.h"

/* The units of the predicate language, in rising length. */
typedef enum CalendarUnit
{
	UNIT_SECOND,
	UNIT_MINUTE,
	UNIT_HOUR,
	UNIT_DAY,
	UNIT_WEEK,
	UNIT_MONTH,
	UNIT_QUARTER,
	UNIT_YEAR
} CalendarUnit;

#define CALENDAR_UNITS (UNIT_YEAR + 1)

/* "second", "minute", ... */
extern const char *const calendar_unit_names[CALENDAR_UNITS];

/* What an instant looks like on the wall. */
typedef struct CalendarFields
{
	int			year;
	int			month;			/* 1 to 12 */
	int			day;			/* 1 to 31 */
	int			hour;			/* 0 to 23 */
	int			weekday;		/* ISO: Monday is 1, Sunday 7 */
	DateADT		date;			/* the local date */
} CalendarFields;

/*
 * The instants s for which s + span lies after a given instant t: none up to out_upto, all from in_from, and between
 * the two each must be tried. Adding months or days is not monotone (clipped month ends, DST), so that there is a band
 * of instants near the bound at which later may be sooner; it is nearly always empty.
 */
typedef struct CalendarBound
{
	TimestampTz out_upto;
	TimestampTz in_from;
} CalendarBound;

extern pg_tz *calendar_zone(const char *name);	/* error 22023 if there is no such zone */
/* Does AT TIME ZONE take it? */
extern bool calendar_is_zone(const char *name);

/* Of spans that stay far from the range's ends. */
static inline Interval
calendar_negated(const Interval *span)
{
	Interval	result;

	result.month = -span->month;
	result.day = -span->day;
	result.time = -span->time;
	return result;
}

extern TimestampTz calendar_add(TimestampTz at, const Interval *span, pg_tz *zone);
extern TimestampTz calendar_subtract(TimestampTz at, const Interval *span, pg_tz *zone);

extern TimestampTz calendar_day_start(DateADT date, pg_tz *zone);
extern DateADT calendar_date(TimestampTz at, pg_tz *zone);
extern void calendar_fields(TimestampTz at, pg_tz *zone, CalendarFields *fields);
/* So many months away, the day clipped to the month's end; false when that is out of range. */
extern bool calendar_add_months(DateADT date, int64 months, DateADT *result);
extern int	calendar_iso_week(DateADT date);
extern DateADT calendar_trunc_date(DateADT date, CalendarUnit unit);	/* unit is a day or longer */
extern TimestampTz calendar_from_local(Timestamp local, pg_tz *zone);

/* The period of the unit that holds the instant, moved by so many units; [*start, *end). */
extern void calendar_period(TimestampTz at, CalendarUnit unit, int64 shift, pg_tz *zone,
							TimestampTz *start, TimestampTz *end);

extern void calendar_bound(TimestampTz t, const Interval *span, pg_tz *zone, CalendarBound *bound);

#endif							/* CRM_CALENDAR_H */

/*
 * periods.h
 *		Days, weeks, months, quarters and years as their first dates.
 */
#ifndef CRM_PERIODS_H
#define CRM_PERIODS_H

#include "postgres.h"

#include "fmgr.h"

#include "base/calendar.h"

/* The unit that an argument names, a day or longer; error 22023. */
extern CalendarUnit period_argument(FunctionCallInfo fcinfo, int argument, const char *name);

/* The first date of the period so many periods later, and how many lie between two first dates. */
extern DateADT period_shift(DateADT start, CalendarUnit unit, int64 shift);
extern int64 period_count(DateADT from, DateADT to, CalendarUnit unit);

/* Instants to the first dates of their periods in a zone; what was found is kept. */
typedef struct PeriodMap PeriodMap;

extern PeriodMap *period_map_create(CalendarUnit unit, pg_tz *zone);
extern DateADT period_of_instant(PeriodMap *map, TimestampTz at);

#endif							/* CRM_PERIODS_H */

/*
 * arguments.h
 *		What the functions of scores ask of their callers and of the feeds: arguments by name, feeds, properties.
 */
#ifndef CRM_ARGUMENTS_H
#define CRM_ARGUMENTS_H

#include "postgres.h"

#include "fmgr.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

#include "base/decimal.h"
#include "feed/feed.h"

/* Error 22004 when the argument is NULL. */
extern void argument_require(FunctionCallInfo fcinfo, int argument, const char *name);
extern char *argument_text(FunctionCallInfo fcinfo, int argument, const char *name);
extern TimestampTz argument_instant(FunctionCallInfo fcinfo, int argument, const char *name);

/* The number of the word among several; error 22023 if it is none of them. */
extern int	argument_word(FunctionCallInfo fcinfo, int argument, const char *name, const char *const *words, int nwords);

/* A number between two others; error 22023 if it lies outside. */
extern int	argument_integer(FunctionCallInfo fcinfo, int argument, const char *name, int least, int greatest);
extern double argument_share(FunctionCallInfo fcinfo, int argument, const char *name);	/* 0 to 1 */

/* A positive interval of a fixed length, a day being 24 hours, in microseconds; error 22023 for months and what is not. */
extern int64 argument_span(FunctionCallInfo fcinfo, int argument, const char *name, bool may_be_zero);

/* An interval of the calendar, no part of it negative; error 22023. */
extern const Interval *argument_interval(FunctionCallInfo fcinfo, int argument, const char *name);

/* The feed of a kind of events; error 42704 if there is none, with the nearest kind as hint. */
extern const Feed *argument_feed(List *feeds, const char *kind);

/* That the caller may read what is called so: error 42501 for a kind of address, if he may not read crm.identity. */
extern void argument_readable(const char *name);

/*
 * That events of the feed have the property, and of that type where it is not VALUE_UNKNOWN; errors 42703 and 42804. Of a
 * tracked kind any is taken for granted. And that the caller may read it.
 */
extern void argument_property(const Feed *feed, const char *property, ValueType type);

/* A span of microseconds as an interval of days and a time. */
extern Datum span_to_interval(int64 span);

/* a / b as numeric; false if b is 0. */
extern bool ratio_of_counts(int64 a, int64 b, Datum *result);

#endif							/* CRM_ARGUMENTS_H */

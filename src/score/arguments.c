/*
 * arguments.c
 *		What the functions of scores ask of their callers and of the feeds.
 */
#include "postgres.h"

#include <math.h>

#include "common/int.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "compat.h"
#include "base/name_list.h"
#include "predicate/lex.h"
#include "score/arguments.h"

void
argument_require(FunctionCallInfo fcinfo, int argument, const char *name)
{
	if (PG_ARGISNULL(argument))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("argument \"%s\" must not be null", name)));
}

char *
argument_text(FunctionCallInfo fcinfo, int argument, const char *name)
{
	argument_require(fcinfo, argument, name);
	return text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

TimestampTz
argument_instant(FunctionCallInfo fcinfo, int argument, const char *name)
{
	argument_require(fcinfo, argument, name);
	return PG_GETARG_TIMESTAMPTZ(argument);
}

int
argument_word(FunctionCallInfo fcinfo, int argument, const char *name, const char *const *words, int nwords)
{
	char	   *word = argument_text(fcinfo, argument, name);
	StringInfoData list;

	for (int i = 0; i < nwords; i++)
	{
		if (strcmp(word, words[i]) == 0)
			return i;
	}
	initStringInfo(&list);
	for (int i = 0; i < nwords; i++)
		appendStringInfo(&list, "%s%s", i == 0 ? "" : i == nwords - 1 ? " or " : ", ", words[i]);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized value of argument \"%s\": \"%s\"", name, word),
			 errhint("It is %s.", list.data)));
	return -1;					/* keep compiler quiet */
}

int
argument_integer(FunctionCallInfo fcinfo, int argument, const char *name, int least, int greatest)
{
	int32		value;

	argument_require(fcinfo, argument, name);
	value = PG_GETARG_INT32(argument);
	if (value < least || value > greatest)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be between %d and %d", name, least, greatest)));
	return value;
}

double
argument_share(FunctionCallInfo fcinfo, int argument, const char *name)
{
	double		value;

	argument_require(fcinfo, argument, name);
	value = DatumGetFloat8(DirectFunctionCall1(numeric_float8, PG_GETARG_DATUM(argument)));
	if (!(value >= 0 && value <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be between 0 and 1", name)));
	return value;
}

int64
argument_span(FunctionCallInfo fcinfo, int argument, const char *name, bool may_be_zero)
{
	const Interval *span;
	int64		length;

	argument_require(fcinfo, argument, name);
	span = PG_GETARG_INTERVAL_P(argument);
	if (span->month != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not have months or years", name),
				 errhint("Give it in days, which are 24 hours here.")));
	if (pg_mul_s64_overflow(span->day, USECS_PER_DAY, &length) || pg_add_s64_overflow(length, span->time, &length) ||
		length < 0 || (length == 0 && !may_be_zero))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 may_be_zero ? errmsg("argument \"%s\" must not be negative", name) :
				 errmsg("argument \"%s\" must be positive", name)));
	return length;
}

const Interval *
argument_interval(FunctionCallInfo fcinfo, int argument, const char *name)
{
	const Interval *span;

	argument_require(fcinfo, argument, name);
	span = PG_GETARG_INTERVAL_P(argument);
	if (span->month < 0 || span->day < 0 || span->time < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must not be negative", name)));
	return span;
}

const Feed *
argument_feed(List *feeds, const char *kind)
{
	const Feed *feed = strcmp(kind, FEED_CUSTOMER) == 0 ? NULL : feed_find(feeds, kind);
	const char **kinds;
	const char *near;
	int			nkinds = 0;
	ListCell   *cell;

	if (feed != NULL)
		return feed;
	kinds = palloc(sizeof(char *) * (list_length(feeds) + 1));
	foreach(cell, feeds)
	{
		const Feed *other = lfirst(cell);

		if (strcmp(other->kind, FEED_CUSTOMER) != 0)
			kinds[nkinds++] = other->kind;
	}
	near = predicate_nearest_word(kind, kinds, nkinds);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there are no events of kind \"%s\"", kind),
			 near != NULL ? errhint("Perhaps you meant \"%s\".", near) :
			 errhint("Define them with crm.define_event(), or name another kind.")));
	return NULL;				/* keep compiler quiet */
}

void
argument_readable(const char *name)
{
	if (name_list_has(feed_hidden_names(GetUserId()), name, (int) strlen(name)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for \"%s\"", name),
				 errdetail("It is a kind of address, which only those read who may read crm.identity.")));
}

void
argument_property(const Feed *feed, const char *property, ValueType type)
{
	const char **names;
	const char *near;

	argument_readable(property);
	if (feed->tracked)
		return;
	names = palloc(sizeof(char *) * (feed->ncolumns + 1));
	for (int i = 0; i < feed->ncolumns; i++)
	{
		names[i] = feed->columns[i].name;
		if (strcmp(names[i], property) != 0)
			continue;
		if (type != VALUE_UNKNOWN && feed->columns[i].value_type != type)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 type == VALUE_NUMBER ? errmsg("property \"%s\" of \"%s\" is no number", property, feed->kind) :
					 errmsg("property \"%s\" of \"%s\" has another type", property, feed->kind)));
		if (feed->columns[i].value_type == VALUE_ARRAY)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("property \"%s\" of \"%s\" is an array", property, feed->kind)));
		return;
	}
	near = predicate_nearest_word(property, names, feed->ncolumns);
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("events of kind \"%s\" have no property \"%s\"", feed->kind, property),
			 near != NULL ? errhint("Perhaps you meant \"%s\".", near) :
			 errhint("The view crm.feeds lists the properties of each kind.")));
}

Datum
span_to_interval(int64 span)
{
	Interval   *interval = palloc0(sizeof(Interval));

	interval->day = (int32) (span / USECS_PER_DAY);
	interval->time = span % USECS_PER_DAY;
	return IntervalPGetDatum(interval);
}

bool
ratio_of_counts(int64 a, int64 b, Datum *result)
{
	bool		failed = false;

	if (b == 0)
		return false;
	*result = NumericGetDatum(crm_numeric_div(int64_to_numeric(a), int64_to_numeric(b), &failed));
	return !failed;
}

/*
 * value.c
 *		Order, hash and copies of values, and their ISO form.
 *
 * The ISO reader is our own because it decides what a string *is*: PostgreSQL's would take "now", "today", "1/2/2026" or
 * "2026-01-05 10:00 Europe/Paris" for a date too, depending on settings.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "miscadmin.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "base/value.h"
#include "base/value_private.h"

#define MAX_OFFSET_HOURS	15	/* as PostgreSQL's MAX_TZDISP_HOUR */

int
value_compare(Value a, Value b)
{
	int			result;

	if (a.type != b.type)
		return a.type < b.type ? -1 : 1;
	switch ((ValueType) a.type)
	{
		case VALUE_UNKNOWN:
			return 0;
		case VALUE_TEXT:
			result = memcmp(a.u.text, b.u.text, Min(a.length, b.length));
			if (result != 0)
				return result < 0 ? -1 : 1;
			return (a.length > b.length) - (a.length < b.length);
		case VALUE_NUMBER:
			return decimal_compare(value_decimal(a), value_decimal(b));
		case VALUE_BOOLEAN:
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			return (a.u.integer > b.u.integer) - (a.u.integer < b.u.integer);
		case VALUE_ARRAY:
			for (uint32 i = 0; i < a.length && i < b.length; i++)
			{
				result = value_compare(a.u.elements[i], b.u.elements[i]);
				if (result != 0)
					return result;
			}
			return (a.length > b.length) - (a.length < b.length);
	}
	return 0;
}

uint32
value_hash(Value v)
{
	uint32		hash = murmurhash32((uint32) v.type + 1);

	switch ((ValueType) v.type)
	{
		case VALUE_UNKNOWN:
			break;
		case VALUE_TEXT:
			hash = hash_combine(hash, hash_bytes((const unsigned char *) v.u.text, v.length));
			break;
		case VALUE_NUMBER:
			hash = hash_combine(hash, decimal_hash(value_decimal(v)));
			break;
		case VALUE_BOOLEAN:
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			hash = hash_combine(hash, murmurhash32((uint32) v.u.integer));
			hash = hash_combine(hash, murmurhash32((uint32) (v.u.integer >> 32)));
			break;
		case VALUE_ARRAY:
			for (uint32 i = 0; i < v.length; i++)
				hash = hash_combine(hash, value_hash(v.u.elements[i]));
			break;
	}
	return hash;
}

Value
value_copy(Value v)
{
	switch ((ValueType) v.type)
	{
		case VALUE_TEXT:
			{
				char	   *text = palloc(Max(v.length, 1));

				memcpy(text, v.u.text, v.length);
				v.u.text = text;
				break;
			}
		case VALUE_NUMBER:
			if (v.scale == DECIMAL_BIG)
				v.u.numeric = DatumGetNumericCopy(NumericGetDatum(v.u.numeric));
			break;
		case VALUE_ARRAY:
			{
				Value	   *elements = palloc(sizeof(Value) * Max(v.length, 1));

				for (uint32 i = 0; i < v.length; i++)
					elements[i] = value_copy(v.u.elements[i]);
				v.u.elements = elements;
				break;
			}
		default:
			break;
	}
	return v;
}

/*
 * Exactly two digits, or -1.
 */
static int
two_digits(const char *s, const char *end)
{
	if (end - s < 2 || s[0] < '0' || s[0] > '9' || s[1] < '0' || s[1] > '9')
		return -1;
	return (s[0] - '0') * 10 + (s[1] - '0');
}

/*
 * A calendar day. Returns what follows it, or NULL.
 */
static const char *
parse_day(const char *s, const char *end, int *year, int *month, int *day)
{
	const char *start = s;

	*year = 0;
	while (s < end && *s >= '0' && *s <= '9')
	{
		if (s - start >= 7)
			return NULL;
		*year = *year * 10 + (*s++ - '0');
	}
	if (s - start < 4 || (s - start > 4 && *start == '0') || *year == 0)
		return NULL;
	if (s >= end || *s++ != '-' || (*month = two_digits(s, end)) < 0)
		return NULL;
	s += 2;
	if (s >= end || *s++ != '-' || (*day = two_digits(s, end)) < 0)
		return NULL;
	s += 2;
	if (*month < 1 || *month > 12 || *day < 1)
		return NULL;
	return s;
}

/*
 * The julian day, or false if there is no such day. Here a year before 1 is 0 or less.
 */
static bool
julian_day(int year, int month, int day, int *julian)
{
	if (day > day_tab[isleap(year)][month - 1] || !IS_VALID_JULIAN(year, month, day))
		return false;
	*julian = date2j(year, month, day);
	return true;
}

/*
 * Time of day in microseconds. Returns what follows it, or NULL.
 */
static const char *
parse_time(const char *s, const char *end, int64 *time)
{
	int			hour;
	int			minute;
	int			second = 0;
	int			fraction = 0;

	hour = two_digits(s, end);
	if (hour < 0 || hour > 23 || end - s < 5 || s[2] != ':')
		return NULL;
	minute = two_digits(s + 3, end);
	if (minute < 0 || minute > 59)
		return NULL;
	s += 5;
	if (s < end && *s == ':')
	{
		second = two_digits(s + 1, end);
		if (second < 0 || second > 59)
			return NULL;
		s += 3;
		if (s < end && *s == '.')
		{
			int			unit = USECS_PER_SEC / 10;

			s++;
			if (s >= end || *s < '0' || *s > '9')
				return NULL;
			for (; s < end && *s >= '0' && *s <= '9'; s++)
			{
				if (unit == 0)
					return NULL;
				fraction += (*s - '0') * unit;
				unit /= 10;
			}
		}
	}
	*time = ((hour * MINS_PER_HOUR + minute) * INT64CONST(60) + second) * USECS_PER_SEC + fraction;
	return s;
}

/*
 * An offset from UTC, in seconds east. Returns what follows it, or NULL.
 */
static const char *
parse_offset(const char *s, const char *end, int *offset)
{
	int			sign;
	int			hour;
	int			minute = 0;
	int			second = 0;

	if (*s == 'Z')
	{
		*offset = 0;
		return s + 1;
	}
	if (*s != '+' && *s != '-')
		return NULL;
	sign = *s == '-' ? -1 : 1;
	hour = two_digits(s + 1, end);
	if (hour < 0 || hour > MAX_OFFSET_HOURS)
		return NULL;
	s += 3;
	if (s < end && *s == ':')
	{
		minute = two_digits(s + 1, end);
		if (minute < 0 || minute > 59)
			return NULL;
		s += 3;
		if (s < end && *s == ':')
		{
			second = two_digits(s + 1, end);
			if (second < 0 || second > 59)
				return NULL;
			s += 3;
		}
	}
	*offset = sign * ((hour * MINS_PER_HOUR + minute) * SECS_PER_MINUTE + second);
	return s;
}

/*
 * The reader. "wide" admits what strings alone do not: years before the first (with " BC" at the end) and dates in years
 * that timestamps do not reach.
 */
static IsoForm
parse_iso(const char *string, int length, bool wide, int64 *result)
{
	const char *s = string;
	const char *end = string + length;
	int			year;
	int			month;
	int			day;
	int			julian;
	int			offset = 0;
	int64		time;
	int64		at;
	IsoForm		form = ISO_LOCAL;

	if (wide && length > 3 && memcmp(end - 3, " BC", 3) == 0)
		end -= 3;
	s = parse_day(s, end, &year, &month, &day);
	if (s == NULL)
		return ISO_NONE;
	if (end != string + length)
		year = 1 - year;
	if (!julian_day(year, month, day, &julian))
		return ISO_NONE;
	if (s == end)
	{
		if ((!wide && year > 294276) || !IS_VALID_DATE(julian - POSTGRES_EPOCH_JDATE))
			return ISO_NONE;
		*result = julian - POSTGRES_EPOCH_JDATE;
		return ISO_DATE;
	}

	if (*s != 'T' && *s != ' ')
		return ISO_NONE;
	s = parse_time(s + 1, end, &time);
	if (s == NULL)
		return ISO_NONE;
	if (s < end)
	{
		s = parse_offset(s, end, &offset);
		if (s == NULL || s != end)
			return ISO_NONE;
		form = ISO_INSTANT;
	}

	/* 64 bits of microseconds end eight days after the last timestamp, so the sum cannot overflow. */
	if ((!wide && year > 294276) || julian > TIMESTAMP_END_JULIAN)
		return ISO_NONE;
	at = (julian - POSTGRES_EPOCH_JDATE) * USECS_PER_DAY + time - offset * USECS_PER_SEC;
	if (!IS_VALID_TIMESTAMP(at))
		return ISO_NONE;
	*result = at;
	return form;
}

IsoForm
value_parse_iso(const char *string, int length, int64 *result)
{
	/* Most strings are something else. */
	if (length < 10 || string[0] < '0' || string[0] > '9')
		return ISO_NONE;
	return parse_iso(string, length, false, result);
}

/*
 * What {"date": "..."} and {"instant": "..."} may say: the infinities and all that the type can hold.
 */
bool
value_parse_special(const char *string, int length, ValueType type, int64 *result)
{
	int64		parsed;

	if (length == 8 && memcmp(string, "infinity", 8) == 0)
	{
		*result = type == VALUE_DATE ? (int64) DATEVAL_NOEND : DT_NOEND;
		return true;
	}
	if (length == 9 && memcmp(string, "-infinity", 9) == 0)
	{
		*result = type == VALUE_DATE ? (int64) DATEVAL_NOBEGIN : DT_NOBEGIN;
		return true;
	}
	if (parse_iso(string, length, true, &parsed) != (type == VALUE_DATE ? ISO_DATE : ISO_INSTANT))
		return false;
	*result = parsed;
	return true;
}

bool
value_is_plain(Value v)
{
	int			julian;
	int			year;
	int			month;
	int			day;

	if (v.type == VALUE_DATE)
	{
		if (DATE_NOT_FINITE((DateADT) v.u.integer))
			return false;
		julian = (int) v.u.integer + POSTGRES_EPOCH_JDATE;
	}
	else
	{
		int64		days = v.u.integer / USECS_PER_DAY;

		if (TIMESTAMP_NOT_FINITE(v.u.integer))
			return false;
		if (v.u.integer % USECS_PER_DAY < 0)
			days--;
		julian = (int) days + POSTGRES_EPOCH_JDATE;
	}
	j2date(julian, &year, &month, &day);
	return year >= 1 && year <= 294276;
}

static void
append_day(StringInfo out, int julian, bool *before_christ)
{
	int			year;
	int			month;
	int			day;

	j2date(julian, &year, &month, &day);
	*before_christ = year < 1;
	if (year < 1)
		year = 1 - year;
	appendStringInfo(out, "%04d-%02d-%02d", year, month, day);
}

void
value_append_date(StringInfo out, DateADT date)
{
	bool		before_christ;

	Assert(!DATE_NOT_FINITE(date));
	append_day(out, date + POSTGRES_EPOCH_JDATE, &before_christ);
	if (before_christ)
		appendStringInfoString(out, " BC");
}

void
value_append_instant(StringInfo out, TimestampTz at)
{
	int64		days = at / USECS_PER_DAY;
	int64		time = at % USECS_PER_DAY;
	bool		before_christ;

	Assert(!TIMESTAMP_NOT_FINITE(at));
	if (time < 0)
	{
		time += USECS_PER_DAY;
		days--;
	}
	append_day(out, (int) days + POSTGRES_EPOCH_JDATE, &before_christ);
	appendStringInfo(out, "T%02d:%02d:%02d", (int) (time / USECS_PER_HOUR), (int) (time / USECS_PER_MINUTE % 60),
					 (int) (time / USECS_PER_SEC % 60));
	if (time % USECS_PER_SEC != 0)
	{
		int			fraction = (int) (time % USECS_PER_SEC);
		int			width = 6;

		/* As PostgreSQL does: no trailing zeros. */
		while (fraction % 10 == 0)
		{
			fraction /= 10;
			width--;
		}
		appendStringInfo(out, ".%0*d", width, fraction);
	}
	appendStringInfoString(out, before_christ ? "Z BC" : "Z");
}

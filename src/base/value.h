/*
 * value.h
 *		One value of a customer's facts: an attribute, a property of an event, or a literal of the language.
 *
 * Sixteen bytes, passed by value. Text and array elements are pointed to and belong to whoever made the value.
 */
#ifndef CRM_VALUE_H
#define CRM_VALUE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/date.h"
#include "utils/jsonb.h"

#include "base/decimal.h"

/* In the order in which values of different types sort. */
typedef enum ValueType
{
	VALUE_UNKNOWN,				/* missing, or SQL's NULL, or NaN */
	VALUE_BOOLEAN,
	VALUE_TEXT,
	VALUE_NUMBER,
	VALUE_DATE,
	VALUE_TIMESTAMP,			/* with time zone */
	VALUE_ARRAY					/* of the scalar types above, none of them unknown */
} ValueType;

typedef struct Value
{
	uint8		type;			/* ValueType */
	int8		scale;			/* of a number, as in Decimal */
	uint32		length;			/* bytes of a text, elements of an array */
	union
	{
		int64		integer;	/* boolean, mantissa of a number, date, timestamp */
		Numeric		numeric;
		const char *text;		/* not terminated */
		const struct Value *elements;
	}			u;
} Value;

StaticAssertDecl(sizeof(Value) == 16, "Value should stay at 16 bytes");

static inline Value
value_unknown(void)
{
	Value		v = {0};

	return v;
}

static inline Value
value_integer_of(ValueType type, int64 integer)
{
	Value		v = {0};

	v.type = type;
	v.u.integer = integer;
	return v;
}

#define value_boolean(b) value_integer_of(VALUE_BOOLEAN, (b) ? 1 : 0)
#define value_date(d) value_integer_of(VALUE_DATE, (d))
#define value_timestamp(t) value_integer_of(VALUE_TIMESTAMP, (t))

static inline Value
value_number(Decimal d)
{
	Value		v = {0};

	v.type = VALUE_NUMBER;
	v.scale = (int8) d.scale;
	if (d.scale == DECIMAL_BIG)
		v.u.numeric = d.u.numeric;
	else
		v.u.integer = d.u.mantissa;
	return v;
}

static inline Decimal
value_decimal(Value v)
{
	Decimal		d;

	Assert(v.type == VALUE_NUMBER);
	d.scale = v.scale;
	if (d.scale == DECIMAL_BIG)
		d.u.numeric = v.u.numeric;
	else
		d.u.mantissa = v.u.integer;
	return d;
}

static inline Value
value_text(const char *text, uint32 length)
{
	Value		v = {0};

	v.type = VALUE_TEXT;
	v.length = length;
	v.u.text = text;
	return v;
}

/* Of one type: numbers by value, text by bytes. Of different types: by the order of ValueType. A total order. */
extern int	value_compare(Value a, Value b);
extern uint32 value_hash(Value v);	/* agrees with value_compare() = 0 */

/* A copy whose text, elements and numeric live in CurrentMemoryContext. */
extern Value value_copy(Value v);

/*
 * What an ISO string says: a date, an instant (date and time with zone), or a local time (without zone). The accepted
 * forms are YYYY-MM-DD and YYYY-MM-DD{T| }HH:MM[:SS[.ffffff]][Z|{+|-}HH[:MM[:SS]]], years 0001 to 294276 of four digits
 * or more, valid calendar days only. Anything else is ISO_NONE.
 */
typedef enum IsoForm
{
	ISO_NONE,
	ISO_DATE,					/* *result is a DateADT */
	ISO_INSTANT,				/* *result is a TimestampTz */
	ISO_LOCAL					/* *result is a Timestamp without zone */
} IsoForm;

extern IsoForm value_parse_iso(const char *string, int length, int64 *result);

/* 2026-01-05, and 2026-01-05T07:00:00[.ffffff]Z; finite ones only. */
extern void value_append_date(StringInfo out, DateADT date);
extern void value_append_instant(StringInfo out, TimestampTz at);

/*
 * JSON: a text is written as a string, unless it would be read as a date or instant, then {"text": "..."}; dates and
 * instants as ISO strings, infinite ones as {"date": "infinity"} and {"instant": "-infinity"}, and likewise those before
 * the year 1, {"date": "0044-03-15 BC"}, or with a year that timestamps do not reach. Unknown is null.
 */
extern void value_append_json(StringInfo out, Value v);
extern void value_append_json_string(StringInfo out, const char *text, int length);	/* always a string */
extern Jsonb *value_to_jsonb(Value v);
extern void value_to_jsonb_value(Value v, JsonbValue *result);	/* for JsonbValueToJsonb(); points into the value */

/*
 * The value that a JSON scalar, array or {"text": ...}-like object stands for. False with *why (a complete DETAIL
 * sentence) if it stands for none: an object of another shape, a nested array, an array of mixed types. Null is unknown,
 * and is left out of an array. Text points into the jsonb.
 */
extern bool value_from_jsonb(JsonbValue *json, Value *result, const char **why);

/* How the datums of a column become values. */
typedef struct ValueSource
{
	Oid			type;			/* the column's type */
	Oid			base;			/* beneath domains */
	Oid			element;		/* base type of the elements, of an array */
	int			how;			/* private to value_datum.c */
	FmgrInfo	output;			/* of types that become text by their output function: enums, uuid */
} ValueSource;

/*
 * Text, varchar, char, name, citext, enum, uuid; integers, numeric, float (by its shortest text); boolean; date; timestamptz;
 * domains over them, and arrays of them. False for any other type (timestamp without time zone among them).
 */
extern bool value_source_init(ValueSource *source, Oid type, MemoryContext context);

/* May point into the datum; detoasts and converts into CurrentMemoryContext. Arrays lose their nulls and dimensions. */
extern Value value_from_datum(ValueSource *source, Datum datum, bool isnull);

#endif							/* CRM_VALUE_H */

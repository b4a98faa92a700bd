/*
 * decimal.h
 *		Exact numbers: a 64-bit integer and a scale where that is enough, PostgreSQL's numeric where it is not.
 *
 * A shop's amounts fit into 18 digits nearly always, and adding two of them should cost an addition. Whatever does not
 * fit falls back to numeric, so that results equal numeric's to the digit (value and display scale).
 */
#ifndef CRM_DECIMAL_H
#define CRM_DECIMAL_H

#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/numeric.h"

#define DECIMAL_BIG (-1)		/* "scale" of a decimal kept as numeric */
#define DECIMAL_MAX_SCALE 18	/* of a decimal kept as integer */

typedef struct Decimal
{
	union
	{
		int64		mantissa;	/* the value is mantissa / 10^scale */
		Numeric		numeric;	/* when scale is DECIMAL_BIG; never NaN or infinite */
	}			u;
	int			scale;			/* digits after the point, 0 to DECIMAL_MAX_SCALE, or DECIMAL_BIG */
} Decimal;

/* A running sum: 128 bits at one scale, numeric beyond. Zeroed is empty. */
typedef struct DecimalSum
{
	int128		mantissa;
	int			scale;
	Numeric		numeric;		/* what did not fit, or NULL */
	int64		count;
} DecimalSum;

static inline Decimal
decimal_from_int64(int64 value)
{
	Decimal		result;

	result.u.mantissa = value;
	result.scale = 0;
	return result;
}

/* False for NaN and infinity: there they are unknown. Big results live in CurrentMemoryContext. */
extern bool decimal_from_numeric(Numeric value, Decimal *result);
extern Numeric decimal_to_numeric(Decimal value);

/* The same for a column's datum: the short header of a tuple's numeric costs no copy. */
extern bool decimal_from_datum(Datum datum, Decimal *result);

/* Digits with at most one point, no sign or one minus; false if it is not such a number or is out of numeric's range. */
extern bool decimal_from_string(const char *string, int length, Decimal *result);
extern void decimal_append(StringInfo out, Decimal value);	/* as numeric prints it */

extern int	decimal_compare(Decimal a, Decimal b);	/* 1.0 and 1.00 are equal */
extern uint32 decimal_hash(Decimal value);	/* equal for equal values */

/* False for overflow and division by zero. */
extern bool decimal_add(Decimal a, Decimal b, Decimal *result);
extern bool decimal_subtract(Decimal a, Decimal b, Decimal *result);
extern bool decimal_multiply(Decimal a, Decimal b, Decimal *result);
extern bool decimal_divide(Decimal a, Decimal b, Decimal *result);
extern Decimal decimal_negate(Decimal value);
extern Decimal decimal_strip(Decimal value);	/* without trailing zeros after the point */

extern void decimal_sum_add(DecimalSum *sum, Decimal value);
extern bool decimal_sum_total(const DecimalSum *sum, Decimal *result);	/* 0 when empty */
extern bool decimal_sum_average(const DecimalSum *sum, Decimal *result);	/* false when empty */

#endif							/* CRM_DECIMAL_H */

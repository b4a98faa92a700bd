/*
 * decimal.c
 *		Exact numbers: a 64-bit integer and a scale where that is enough, PostgreSQL's numeric where it is not.
 *
 * Every result equals numeric's to the digit, display scale included: what is done in integers here is what numeric
 * would have done, and everything else is handed to numeric itself. Nothing raises an error: what numeric would refuse
 * (overflow, division by zero) is returned as false, because in the language it is the unknown.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"

#include "base/decimal.h"
#include "compat.h"

/*
 * numeric's storage, which numeric.c keeps to itself; it cannot change without breaking every database on disk. After the
 * varlena header comes a 16-bit word whose two top bits tell the form. Long: sign in the word's top bits, display scale
 * in its lower 14, then a 16-bit weight. Short: sign, 6 bits of display scale and 7 bits of weight (with its sign) in
 * the word itself. Then the digits, base 10000, most significant first; the first one counts 10000^weight.
 */
#define NUM_SIGN_MASK			0xC000
#define NUM_NEG					0x4000
#define NUM_SHORT				0x8000
#define NUM_SPECIAL				0xC000	/* NaN and the infinities */
#define NUM_DSCALE_MASK			0x3FFF
#define NUM_SHORT_SIGN			0x2000
#define NUM_SHORT_DSCALE_MASK	0x1F80
#define NUM_SHORT_DSCALE_SHIFT	7
#define NUM_SHORT_WEIGHT_SIGN	0x0040
#define NUM_SHORT_WEIGHT_MASK	0x003F
#define NUM_DIGITS				4	/* decimal digits in a digit */

/* What numeric can hold before and after the point. */
#define NUMERIC_INTEGER_DIGITS	131072
#define NUMERIC_FRACTION_DIGITS	16383

/* Below this a sum can take any scaled mantissa more without leaving 128 bits: 10^37 * 8 + 2^63 * 10^18 < 2^127. */
#define SUM_LIMIT	((int128) INT64CONST(80000000000000000) * INT64CONST(1000000000000000000) * 1000)

static const int64 power_of_ten[DECIMAL_MAX_SCALE + 1] = {
	INT64CONST(1),
	INT64CONST(10),
	INT64CONST(100),
	INT64CONST(1000),
	INT64CONST(10000),
	INT64CONST(100000),
	INT64CONST(1000000),
	INT64CONST(10000000),
	INT64CONST(100000000),
	INT64CONST(1000000000),
	INT64CONST(10000000000),
	INT64CONST(100000000000),
	INT64CONST(1000000000000),
	INT64CONST(10000000000000),
	INT64CONST(100000000000000),
	INT64CONST(1000000000000000),
	INT64CONST(10000000000000000),
	INT64CONST(100000000000000000),
	INT64CONST(1000000000000000000)
};

typedef enum Decoded
{
	DECODED_SMALL,				/* fits into a mantissa */
	DECODED_BIG,
	DECODED_SPECIAL				/* NaN or infinite */
} Decoded;

/*
 * Read numeric's bytes after the varlena header, which may lie at any address.
 */
static Decoded
decode_numeric(const char *data, int size, Decimal *result)
{
	uint16		header;
	bool		negative;
	int			scale;
	int			weight;
	int			ndigits;
	int			fraction;
	int			groups;
	uint64		mantissa = 0;

	if (unlikely(size < (int) sizeof(uint16)))
		return DECODED_SPECIAL;
	memcpy(&header, data, sizeof(uint16));
	data += sizeof(uint16);
	size -= sizeof(uint16);

	if ((header & NUM_SIGN_MASK) == NUM_SPECIAL)
		return DECODED_SPECIAL;
	if (header & NUM_SHORT)
	{
		negative = (header & NUM_SHORT_SIGN) != 0;
		scale = (header & NUM_SHORT_DSCALE_MASK) >> NUM_SHORT_DSCALE_SHIFT;
		weight = header & NUM_SHORT_WEIGHT_MASK;
		if (header & NUM_SHORT_WEIGHT_SIGN)
			weight |= ~NUM_SHORT_WEIGHT_MASK;
	}
	else
	{
		int16		long_weight;

		if (unlikely(size < (int) sizeof(int16)))
			return DECODED_SPECIAL;
		memcpy(&long_weight, data, sizeof(int16));
		data += sizeof(int16);
		size -= sizeof(int16);
		negative = (header & NUM_SIGN_MASK) == NUM_NEG;
		scale = header & NUM_DSCALE_MASK;
		weight = long_weight;
	}
	ndigits = size / sizeof(int16);

	if (scale > DECIMAL_MAX_SCALE || weight > 4)
		return DECODED_BIG;

	/*
	 * Groups run from the first digit, or from the first one after the point, to the group that holds the last decimal
	 * digit of the display scale.
	 */
	fraction = (scale + NUM_DIGITS - 1) / NUM_DIGITS;
	groups = weight + 1 + fraction;
	for (int i = 0; i < groups; i++)
	{
		int16		digit = 0;
		uint64		factor = 10000;
		uint64		addend;

		if (i < ndigits)
			memcpy(&digit, data + i * sizeof(int16), sizeof(int16));
		addend = digit;
		if (i == groups - 1 && scale % NUM_DIGITS != 0)
		{
			factor = power_of_ten[scale % NUM_DIGITS];
			addend /= 10000 / factor;
		}
		if (i < 4)
			mantissa = mantissa * factor + addend;	/* at most 16 digits: cannot overflow */
		else if (pg_mul_u64_overflow(mantissa, factor, &mantissa) ||
				 pg_add_u64_overflow(mantissa, addend, &mantissa))
			return DECODED_BIG;
	}

	if (mantissa > (uint64) PG_INT64_MAX)
	{
		if (!negative || mantissa != (uint64) PG_INT64_MAX + 1)
			return DECODED_BIG;
		result->u.mantissa = PG_INT64_MIN;
	}
	else
		result->u.mantissa = negative ? -(int64) mantissa : (int64) mantissa;
	result->scale = scale;
	return DECODED_SMALL;
}

bool
decimal_from_numeric(Numeric value, Decimal *result)
{
	switch (decode_numeric(VARDATA((char *) value), VARSIZE((char *) value) - VARHDRSZ, result))
	{
		case DECODED_SMALL:
			return true;
		case DECODED_SPECIAL:
			return false;
		case DECODED_BIG:
			break;
	}
	result->u.numeric = DatumGetNumericCopy(NumericGetDatum(value));
	result->scale = DECIMAL_BIG;
	return true;
}

bool
decimal_from_datum(Datum datum, Decimal *result)
{
	struct varlena *value = (struct varlena *) DatumGetPointer(datum);

	/* Short headers come straight from tuples and would otherwise be copied for the sake of alignment. */
	if (VARATT_IS_COMPRESSED(value) || VARATT_IS_EXTERNAL(value))
		return decimal_from_numeric(DatumGetNumeric(datum), result);
	switch (decode_numeric(VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value), result))
	{
		case DECODED_SMALL:
			return true;
		case DECODED_SPECIAL:
			return false;
		case DECODED_BIG:
			break;
	}
	result->u.numeric = DatumGetNumericCopy(datum);
	result->scale = DECIMAL_BIG;
	return true;
}

Numeric
decimal_to_numeric(Decimal value)
{
	if (value.scale == DECIMAL_BIG)
		return value.u.numeric;
	return int64_div_fast_to_numeric(value.u.mantissa, value.scale);
}

/*
 * What a numeric operation gave, as a decimal.
 */
static bool
from_result(Numeric value, bool failed, Decimal *result)
{
	if (failed || value == NULL)
		return false;
	return decimal_from_numeric(value, result);
}

bool
decimal_from_string(const char *string, int length, Decimal *result)
{
	int			i = 0;
	bool		negative = false;
	bool		point = false;
	int			integer_digits = 0; /* without leading zeros */
	int			fraction_digits = 0;
	bool		any = false;
	int64		mantissa = 0;
	char	   *copy;
	Numeric		numeric;

	if (length > 0 && string[0] == '-')
	{
		negative = true;
		i++;
	}
	for (; i < length; i++)
	{
		char		c = string[i];

		if (c == '.' && !point)
		{
			point = true;
			continue;
		}
		if (c < '0' || c > '9')
			return false;
		any = true;
		if (point)
			fraction_digits++;
		else if (integer_digits > 0 || c != '0')
			integer_digits++;
		if (integer_digits + fraction_digits <= 18)
			mantissa = mantissa * 10 + (c - '0');
	}
	if (!any)
		return false;
	if (integer_digits + fraction_digits <= 18)
	{
		result->u.mantissa = negative ? -mantissa : mantissa;
		result->scale = fraction_digits;
		return true;
	}
	if (integer_digits > NUMERIC_INTEGER_DIGITS || fraction_digits > NUMERIC_FRACTION_DIGITS)
		return false;

	copy = pnstrdup(string, length);
	numeric = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(copy),
												  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	pfree(copy);
	return decimal_from_numeric(numeric, result);
}

void
decimal_append(StringInfo out, Decimal value)
{
	char		digits[24];
	int			length = 0;
	uint64		rest;

	if (value.scale == DECIMAL_BIG)
	{
		char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value.u.numeric)));

		appendStringInfoString(out, text);
		pfree(text);
		return;
	}

	/* Backwards: at least one digit before the point, exactly as many after it as the scale says. */
	rest = value.u.mantissa < 0 ? -(uint64) value.u.mantissa : (uint64) value.u.mantissa;
	while (rest != 0 || length <= value.scale)
	{
		digits[length++] = '0' + (char) (rest % 10);
		rest /= 10;
	}
	if (value.u.mantissa < 0)
		appendStringInfoChar(out, '-');
	while (length > 0)
	{
		if (length == value.scale)
			appendStringInfoChar(out, '.');
		appendStringInfoChar(out, digits[--length]);
	}
}

int
decimal_compare(Decimal a, Decimal b)
{
	int128		left;
	int128		right;

	if (likely(a.scale == b.scale && a.scale != DECIMAL_BIG))
		return (a.u.mantissa > b.u.mantissa) - (a.u.mantissa < b.u.mantissa);
	if (a.scale == DECIMAL_BIG || b.scale == DECIMAL_BIG)
		return DatumGetInt32(DirectFunctionCall2(numeric_cmp,
												 NumericGetDatum(decimal_to_numeric(a)),
												 NumericGetDatum(decimal_to_numeric(b))));
	left = a.u.mantissa;
	right = b.u.mantissa;
	if (a.scale < b.scale)
		left *= power_of_ten[b.scale - a.scale];
	else
		right *= power_of_ten[a.scale - b.scale];
	return (left > right) - (left < right);
}

/*
 * A big decimal may equal a small one (1 with twenty zeros after the point), so both are hashed without trailing zeros,
 * where the form is unique.
 */
uint32
decimal_hash(Decimal value)
{
	value = decimal_strip(value);
	if (value.scale == DECIMAL_BIG)
		return DatumGetUInt32(DirectFunctionCall1(hash_numeric, NumericGetDatum(value.u.numeric)));
	return hash_combine(murmurhash32((uint32) value.u.mantissa),
						murmurhash32((uint32) (value.u.mantissa >> 32) + (uint32) value.scale));
}

/*
 * Add (or subtract, sign -1) in integers if that is possible.
 */
static bool
add_small(Decimal a, Decimal b, int sign, Decimal *result)
{
	int64		left;
	int64		right;

	if (a.scale == DECIMAL_BIG || b.scale == DECIMAL_BIG)
		return false;
	left = a.u.mantissa;
	right = b.u.mantissa;
	if (a.scale < b.scale)
	{
		if (pg_mul_s64_overflow(left, power_of_ten[b.scale - a.scale], &left))
			return false;
	}
	else if (a.scale > b.scale)
	{
		if (pg_mul_s64_overflow(right, power_of_ten[a.scale - b.scale], &right))
			return false;
	}
	if (sign > 0 ? pg_add_s64_overflow(left, right, &left) : pg_sub_s64_overflow(left, right, &left))
		return false;
	result->u.mantissa = left;
	result->scale = Max(a.scale, b.scale);
	return true;
}

bool
decimal_add(Decimal a, Decimal b, Decimal *result)
{
	bool		failed = false;
	Numeric		numeric;

	if (add_small(a, b, 1, result))
		return true;
	numeric = crm_numeric_add(decimal_to_numeric(a), decimal_to_numeric(b), &failed);
	return from_result(numeric, failed, result);
}

bool
decimal_subtract(Decimal a, Decimal b, Decimal *result)
{
	bool		failed = false;
	Numeric		numeric;

	if (add_small(a, b, -1, result))
		return true;
	numeric = crm_numeric_sub(decimal_to_numeric(a), decimal_to_numeric(b), &failed);
	return from_result(numeric, failed, result);
}

bool
decimal_multiply(Decimal a, Decimal b, Decimal *result)
{
	bool		failed = false;
	Numeric		numeric;
	int64		product;

	if (a.scale != DECIMAL_BIG && b.scale != DECIMAL_BIG && a.scale + b.scale <= DECIMAL_MAX_SCALE &&
		!pg_mul_s64_overflow(a.u.mantissa, b.u.mantissa, &product))
	{
		result->u.mantissa = product;
		result->scale = a.scale + b.scale;
		return true;
	}
	numeric = crm_numeric_mul(decimal_to_numeric(a), decimal_to_numeric(b), &failed);
	return from_result(numeric, failed, result);
}

bool
decimal_divide(Decimal a, Decimal b, Decimal *result)
{
	bool		failed = false;
	Numeric		numeric;

	if (b.scale != DECIMAL_BIG && b.u.mantissa == 0)
		return false;
	numeric = crm_numeric_div(decimal_to_numeric(a), decimal_to_numeric(b), &failed);
	return from_result(numeric, failed, result);
}

Decimal
decimal_negate(Decimal value)
{
	Numeric		numeric;

	if (value.scale != DECIMAL_BIG && value.u.mantissa != PG_INT64_MIN)
	{
		value.u.mantissa = -value.u.mantissa;
		return value;
	}
	numeric = DatumGetNumeric(DirectFunctionCall1(numeric_uminus, NumericGetDatum(decimal_to_numeric(value))));
	if (!decimal_from_numeric(numeric, &value))
		elog(ERROR, "negated number is not a number");
	return value;
}

Decimal
decimal_strip(Decimal value)
{
	Numeric		numeric;

	if (value.scale != DECIMAL_BIG)
	{
		while (value.scale > 0 && value.u.mantissa % 10 == 0)
		{
			value.u.mantissa /= 10;
			value.scale--;
		}
		return value;
	}
	numeric = DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, NumericGetDatum(value.u.numeric)));
	if (!decimal_from_numeric(numeric, &value))
		elog(ERROR, "trimmed number is not a number");
	return value;
}

/*
 * mantissa / 10^scale as numeric: three pieces of 18 digits, put together by numeric's own arithmetic.
 */
static Numeric
int128_to_numeric(int128 mantissa, int scale)
{
	const int64 base = power_of_ten[DECIMAL_MAX_SCALE];
	int64		low = (int64) (mantissa % base);
	int64		middle = (int64) (mantissa / base % base);
	int64		high = (int64) (mantissa / base / base);
	Datum		factor = NumericGetDatum(int64_to_numeric(base));
	Datum		result = NumericGetDatum(int64_to_numeric(high));

	result = DirectFunctionCall2(numeric_mul, result, factor);
	result = DirectFunctionCall2(numeric_add, result, NumericGetDatum(int64_to_numeric(middle)));
	result = DirectFunctionCall2(numeric_mul, result, factor);
	result = DirectFunctionCall2(numeric_add, result, NumericGetDatum(int64_to_numeric(low)));
	if (scale > 0)
		result = DirectFunctionCall2(numeric_mul, result,
									 NumericGetDatum(int64_div_fast_to_numeric(1, scale)));
	return DatumGetNumeric(result);
}

/*
 * Add to the part of a sum that is kept as numeric. A sum out of numeric's range becomes NaN and stays so.
 */
static void
sum_add_numeric(DecimalSum *sum, Numeric value)
{
	bool		failed = false;
	Numeric		total;

	if (sum->numeric == NULL)
	{
		sum->numeric = DatumGetNumericCopy(NumericGetDatum(value));
		return;
	}
	total = crm_numeric_add(sum->numeric, value, &failed);
	if (failed || total == NULL)
		total = DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum("NaN"),
													ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	pfree(sum->numeric);
	sum->numeric = total;
}

static void
sum_spill(DecimalSum *sum)
{
	sum_add_numeric(sum, int128_to_numeric(sum->mantissa, sum->scale));
	sum->mantissa = 0;
}

void
decimal_sum_add(DecimalSum *sum, Decimal value)
{
	int128		mantissa;

	sum->count++;
	if (unlikely(value.scale == DECIMAL_BIG))
	{
		sum_add_numeric(sum, value.u.numeric);
		return;
	}

	mantissa = value.u.mantissa;
	if (value.scale < sum->scale)
		mantissa *= power_of_ten[sum->scale - value.scale];
	else if (value.scale > sum->scale)
	{
		int64		factor = power_of_ten[value.scale - sum->scale];

		if (sum->mantissa > SUM_LIMIT / factor || sum->mantissa < -SUM_LIMIT / factor)
			sum_spill(sum);
		sum->mantissa *= factor;
		sum->scale = value.scale;
	}
	if (unlikely(sum->mantissa > SUM_LIMIT || sum->mantissa < -SUM_LIMIT))
		sum_spill(sum);
	sum->mantissa += mantissa;
}

bool
decimal_sum_total(const DecimalSum *sum, Decimal *result)
{
	Numeric		total;
	bool		failed = false;

	if (sum->numeric == NULL && sum->mantissa >= PG_INT64_MIN && sum->mantissa <= PG_INT64_MAX)
	{
		result->u.mantissa = (int64) sum->mantissa;
		result->scale = sum->scale;
		return true;
	}
	total = int128_to_numeric(sum->mantissa, sum->scale);
	if (sum->numeric != NULL)
		total = crm_numeric_add(sum->numeric, total, &failed);
	return from_result(total, failed, result);
}

bool
decimal_sum_average(const DecimalSum *sum, Decimal *result)
{
	Decimal		total;

	if (sum->count == 0 || !decimal_sum_total(sum, &total))
		return false;
	return decimal_divide(total, decimal_from_int64(sum->count), result);
}

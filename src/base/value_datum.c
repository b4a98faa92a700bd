/*
 * value_datum.c
 *		Values from the datums of a query's columns.
 *
 * This runs for every column of every row that bulk work reads, so the way is chosen once for a column, and the usual
 * types are converted without a copy and without a text in between.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "parser/parse_coerce.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "base/value.h"
#include "compat.h"

typedef enum How
{
	HOW_NONE,
	HOW_TEXT,					/* text and what is stored like it: varchar, citext */
	HOW_CHAR,					/* character(n): without the padding */
	HOW_NAME,
	HOW_OUTPUT,					/* what the type's output function says */
	HOW_INT2,
	HOW_INT4,
	HOW_INT8,
	HOW_NUMERIC,
	HOW_FLOAT4,
	HOW_FLOAT8,
	HOW_BOOLEAN,
	HOW_DATE,
	HOW_TIMESTAMP,
	HOW_MASK = 0xff,
	HOW_ARRAY = 0x100			/* of the above */
} How;

static How
how_of_type(Oid base)
{
	switch (base)
	{
		case TEXTOID:
		case VARCHAROID:
			return HOW_TEXT;
		case BPCHAROID:
			return HOW_CHAR;
		case NAMEOID:
			return HOW_NAME;
		case INT2OID:
			return HOW_INT2;
		case INT4OID:
			return HOW_INT4;
		case INT8OID:
			return HOW_INT8;
		case NUMERICOID:
			return HOW_NUMERIC;
		case FLOAT4OID:
			return HOW_FLOAT4;
		case FLOAT8OID:
			return HOW_FLOAT8;
		case BOOLOID:
			return HOW_BOOLEAN;
		case DATEOID:
			return HOW_DATE;
		case TIMESTAMPTZOID:
			return HOW_TIMESTAMP;
		case CHAROID:
		case UUIDOID:
			return HOW_OUTPUT;
		default:
			break;
	}
	if (type_is_enum(base))
		return HOW_OUTPUT;
	/* citext, and other extensions' texts that are just text inside. */
	if (get_typtype(base) == TYPTYPE_BASE && get_typlen(base) == -1 && IsBinaryCoercible(base, TEXTOID))
		return HOW_TEXT;
	return HOW_NONE;
}

bool
value_source_init(ValueSource *source, Oid type, MemoryContext context)
{
	Oid			element;

	memset(source, 0, sizeof(ValueSource));
	source->type = type;
	source->base = getBaseType(type);
	element = get_element_type(source->base);
	if (OidIsValid(element))
	{
		source->element = getBaseType(element);
		source->how = how_of_type(source->element);
		if (source->how != HOW_NONE)
			source->how |= HOW_ARRAY;
	}
	else
		source->how = how_of_type(source->base);
	if (source->how == HOW_NONE)
		return false;

	if ((source->how & HOW_MASK) == HOW_OUTPUT)
	{
		Oid			output;
		bool		is_varlena;

		getTypeOutputInfo(OidIsValid(element) ? source->element : source->base, &output, &is_varlena);
		fmgr_info_cxt(output, &source->output, context);
	}
	return true;
}

static Value
value_from_cstring(const char *text)
{
	return value_text(text, strlen(text));
}

/*
 * A float is the decimal that its shortest text says: 0.1 is 0.1, whatever extra_float_digits is. "text" is that text for
 * the type; whole numbers do not need it while they have fewer digits than the type keeps.
 */
static Value
value_from_float(double number, double exact, const char *text)
{
	Decimal		decimal;

	if (number == floor(number) && fabs(number) < exact)
		return value_number(decimal_from_int64((int64) number));
	if (!decimal_from_numeric(DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
																  ObjectIdGetDatum(InvalidOid),
																  Int32GetDatum(-1))),
							  &decimal))
		return value_unknown();
	return value_number(decimal);
}

static inline Value
value_from_scalar(ValueSource *source, How how, Datum datum)
{
	Decimal		decimal;
	char		digits[DOUBLE_SHORTEST_DECIMAL_LEN];

	switch (how)
	{
		case HOW_TEXT:
			{
				struct varlena *text = PG_DETOAST_DATUM_PACKED(datum);

				return value_text(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text));
			}
		case HOW_CHAR:
			{
				struct varlena *text = PG_DETOAST_DATUM_PACKED(datum);

				return value_text(VARDATA_ANY(text), bpchartruelen(VARDATA_ANY(text), VARSIZE_ANY_EXHDR(text)));
			}
		case HOW_NAME:
			return value_from_cstring(NameStr(*DatumGetName(datum)));
		case HOW_OUTPUT:
			return value_from_cstring(OutputFunctionCall(&source->output, datum));
		case HOW_INT2:
			return value_number(decimal_from_int64(DatumGetInt16(datum)));
		case HOW_INT4:
			return value_number(decimal_from_int64(DatumGetInt32(datum)));
		case HOW_INT8:
			return value_number(decimal_from_int64(DatumGetInt64(datum)));
		case HOW_NUMERIC:
			return decimal_from_datum(datum, &decimal) ? value_number(decimal) : value_unknown();
		case HOW_FLOAT4:
			if (isnan(DatumGetFloat4(datum)) || isinf(DatumGetFloat4(datum)))
				return value_unknown();
			float_to_shortest_decimal_buf(DatumGetFloat4(datum), digits);
			return value_from_float(DatumGetFloat4(datum), 1e7, digits);
		case HOW_FLOAT8:
			if (isnan(DatumGetFloat8(datum)) || isinf(DatumGetFloat8(datum)))
				return value_unknown();
			double_to_shortest_decimal_buf(DatumGetFloat8(datum), digits);
			return value_from_float(DatumGetFloat8(datum), 1e15, digits);
		case HOW_BOOLEAN:
			return value_boolean(DatumGetBool(datum));
		case HOW_DATE:
			return value_date(DatumGetDateADT(datum));
		case HOW_TIMESTAMP:
			return value_timestamp(DatumGetTimestampTz(datum));
		case HOW_NONE:
		case HOW_MASK:
		case HOW_ARRAY:
			break;
	}
	elog(ERROR, "value source of type %u is not initialised", source->type);
}

static Value
value_from_array_datum(ValueSource *source, Datum datum)
{
	ArrayType  *array = DatumGetArrayTypeP(datum);
	int16		length;
	bool		by_value;
	char		align;
	Datum	   *datums;
	bool	   *nulls;
	int			ndatums;
	Value	   *elements;
	Value		result = {0};

	get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
	deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, &datums, &nulls, &ndatums);
	elements = palloc(sizeof(Value) * Max(ndatums, 1));
	for (int i = 0; i < ndatums; i++)
	{
		Value		element;

		if (nulls[i])
			continue;
		element = value_from_scalar(source, source->how & HOW_MASK, datums[i]);
		if (element.type != VALUE_UNKNOWN)
			elements[result.length++] = element;
	}
	result.type = VALUE_ARRAY;
	result.u.elements = elements;
	return result;
}

Value
value_from_datum(ValueSource *source, Datum datum, bool isnull)
{
	if (isnull)
		return value_unknown();
	if (source->how & HOW_ARRAY)
		return value_from_array_datum(source, datum);
	return value_from_scalar(source, source->how, datum);
}

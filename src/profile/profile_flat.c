/*
 * profile_flat.c
 *		Values as bytes of a profile.
 *
 * One byte of type, then: a boolean, 1 byte; a text, varint length and its bytes; a number, its scale in 1 byte and 8
 * bytes of mantissa, or for DECIMAL_BIG varint length and the whole numeric; a date, 4 bytes; an instant, 8 bytes; an
 * array, 1 byte of element type, varint count, and the elements without their types; the unknown (only in states), nothing.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "profile/profile_private.h"

static Size
payload_size(Value v)
{
	Size		size;

	switch ((ValueType) v.type)
	{
		case VALUE_UNKNOWN:
			return 0;
		case VALUE_BOOLEAN:
			return 1;
		case VALUE_TEXT:
			return varint_size(v.length) + v.length;
		case VALUE_NUMBER:
			if (v.scale != DECIMAL_BIG)
				return 1 + sizeof(int64);
			size = VARSIZE((char *) v.u.numeric);
			return 1 + varint_size(size) + size;
		case VALUE_DATE:
			return sizeof(int32);
		case VALUE_TIMESTAMP:
			return sizeof(int64);
		case VALUE_ARRAY:
			size = 1 + varint_size(v.length);
			for (uint32 i = 0; i < v.length; i++)
				size += payload_size(v.u.elements[i]);
			return size;
	}
	return 0;
}

static char *
put_payload(char *p, Value v)
{
	switch ((ValueType) v.type)
	{
		case VALUE_UNKNOWN:
			break;
		case VALUE_BOOLEAN:
			*p++ = v.u.integer != 0;
			break;
		case VALUE_TEXT:
			p = put_varint(p, v.length);
			memcpy(p, v.u.text, v.length);
			p += v.length;
			break;
		case VALUE_NUMBER:
			*p++ = (char) v.scale;
			if (v.scale != DECIMAL_BIG)
			{
				memcpy(p, &v.u.integer, sizeof(int64));
				p += sizeof(int64);
			}
			else
			{
				Size		size = VARSIZE((char *) v.u.numeric);

				p = put_varint(p, size);
				memcpy(p, v.u.numeric, size);
				p += size;
			}
			break;
		case VALUE_DATE:
			{
				int32		date = (int32) v.u.integer;

				memcpy(p, &date, sizeof(int32));
				p += sizeof(int32);
				break;
			}
		case VALUE_TIMESTAMP:
			memcpy(p, &v.u.integer, sizeof(int64));
			p += sizeof(int64);
			break;
		case VALUE_ARRAY:
			*p++ = v.length > 0 ? v.u.elements[0].type : VALUE_UNKNOWN;
			p = put_varint(p, v.length);
			for (uint32 i = 0; i < v.length; i++)
				p = put_payload(p, v.u.elements[i]);
			break;
	}
	return p;
}

/*
 * With a NULL value, only pass over it.
 */
static const char *
get_payload(const char *p, uint8 type, Value *v)
{
	uint32		length;

	if (v != NULL)
	{
		*v = value_unknown();
		v->type = type;
	}
	switch ((ValueType) type)
	{
		case VALUE_UNKNOWN:
			return p;
		case VALUE_BOOLEAN:
			if (v != NULL)
				v->u.integer = *p;
			return p + 1;
		case VALUE_TEXT:
			p = get_varint(p, &length);
			if (v != NULL)
			{
				v->length = length;
				v->u.text = p;
			}
			return p + length;
		case VALUE_NUMBER:
			if ((int8) *p != DECIMAL_BIG)
			{
				if (v != NULL)
				{
					v->scale = (int8) *p;
					memcpy(&v->u.integer, p + 1, sizeof(int64));
				}
				return p + 1 + sizeof(int64);
			}
			p = get_varint(p + 1, &length);
			if (v != NULL)
			{
				char	   *numeric = palloc(length);

				/* numeric's own functions want it aligned */
				memcpy(numeric, p, length);
				v->scale = DECIMAL_BIG;
				v->u.numeric = (Numeric) numeric;
			}
			return p + length;
		case VALUE_DATE:
			if (v != NULL)
			{
				int32		date;

				memcpy(&date, p, sizeof(int32));
				v->u.integer = date;
			}
			return p + sizeof(int32);
		case VALUE_TIMESTAMP:
			if (v != NULL)
				memcpy(&v->u.integer, p, sizeof(int64));
			return p + sizeof(int64);
		case VALUE_ARRAY:
			{
				uint8		element = *p;
				Value	   *elements = NULL;

				p = get_varint(p + 1, &length);
				if (v != NULL)
				{
					elements = palloc(sizeof(Value) * Max(length, 1));
					v->length = length;
					v->u.elements = elements;
				}
				for (uint32 i = 0; i < length; i++)
					p = get_payload(p, element, elements != NULL ? &elements[i] : NULL);
				return p;
			}
	}
	elog(ERROR, "unrecognized value type in profile: %d", type);
}

bool
flat_check_value(Value v, Node *escontext)
{
	if (v.type == VALUE_ARRAY && v.length > PROFILE_MAX_ELEMENTS)
		crm_ereturn(escontext, false,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("array in a profile has too many elements"),
					 errdetail("It has %u elements; the limit is %d.", v.length, PROFILE_MAX_ELEMENTS)));
	return true;
}

/*
 * Checks limits too, as everything that is stored passes here.
 */
Size
flat_value_size(Value v)
{
	Size		size;

	(void) flat_check_value(v, NULL);
	size = 1 + payload_size(v);
	if (size > MaxAllocSize)
		profile_too_large();
	return size;
}

char *
flat_put_value(char *p, Value v)
{
	*p++ = v.type;
	return put_payload(p, v);
}

const char *
flat_get_value(const char *p, Value *v)
{
	uint8		type = *p;

	return get_payload(p + 1, type, v);
}

const char *
flat_skip_value(const char *p)
{
	uint8		type = *p;

	return get_payload(p + 1, type, NULL);
}

/*
 * A total order in which only equal bytes are equal: by type and value, then by bytes (1.0 before 1.00). Values that would
 * have to be allocated go by bytes alone.
 */
int
flat_compare_values(const char *a, Size a_size, const char *b, Size b_size)
{
	int			result;

	if (a_size == b_size && memcmp(a, b, a_size) == 0)
		return 0;
	if (a[0] != b[0])
		return a[0] < b[0] ? -1 : 1;
	if (a[0] != VALUE_ARRAY &&
		!(a[0] == VALUE_NUMBER && ((int8) a[1] == DECIMAL_BIG || (int8) b[1] == DECIMAL_BIG)))
	{
		Value		left;
		Value		right;

		(void) flat_get_value(a, &left);
		(void) flat_get_value(b, &right);
		result = value_compare(left, right);
		if (result != 0)
			return result;
	}
	result = memcmp(a, b, Min(a_size, b_size));
	if (result != 0)
		return result < 0 ? -1 : 1;
	return (a_size > b_size) - (a_size < b_size);
}

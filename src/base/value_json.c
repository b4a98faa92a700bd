/*
 * value_json.c
 *		Values as JSON and back.
 *
 * JSON has no dates. A string in ISO form stands for one, and what that leaves unsaid (a text that merely looks like a
 * date, an infinite date) is an object with one key that names the type. So every value has one spelling, and reading
 * it gives the value back.
 *
 * Jsonb is put together from JsonbValues in their final order, without pushJsonbValue(), whose interface differs between
 * the majors.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/timestamp.h"

#include "base/value.h"
#include "base/value_private.h"

#define KEY_TEXT	"text"
#define KEY_DATE	"date"
#define KEY_INSTANT	"instant"

/* Would a string of this text be read as something else? */
static bool
text_needs_wrapping(Value v)
{
	int64		ignored;
	IsoForm		form = value_parse_iso(v.u.text, v.length, &ignored);

	return form == ISO_DATE || form == ISO_INSTANT;
}

void
value_append_json_string(StringInfo out, const char *text, int length)
{
	int			done = 0;

	appendStringInfoCharMacro(out, '"');
	for (int i = 0; i < length; i++)
	{
		unsigned char c = text[i];

		if (likely(c >= ' ' && c != '"' && c != '\\'))
			continue;
		appendBinaryStringInfo(out, text + done, i - done);
		done = i + 1;
		switch (c)
		{
			case '"':
				appendStringInfoString(out, "\\\"");
				break;
			case '\\':
				appendStringInfoString(out, "\\\\");
				break;
			case '\b':
				appendStringInfoString(out, "\\b");
				break;
			case '\f':
				appendStringInfoString(out, "\\f");
				break;
			case '\n':
				appendStringInfoString(out, "\\n");
				break;
			case '\r':
				appendStringInfoString(out, "\\r");
				break;
			case '\t':
				appendStringInfoString(out, "\\t");
				break;
			default:
				appendStringInfo(out, "\\u%04x", c);
				break;
		}
	}
	appendBinaryStringInfo(out, text + done, length - done);
	appendStringInfoCharMacro(out, '"');
}

/*
 * A date or an instant as bare text, infinite or not.
 */
static void
append_moment(StringInfo out, Value v)
{
	if (v.type == VALUE_DATE)
	{
		if (DATE_IS_NOBEGIN((DateADT) v.u.integer))
			appendStringInfoString(out, "-infinity");
		else if (DATE_IS_NOEND((DateADT) v.u.integer))
			appendStringInfoString(out, "infinity");
		else
			value_append_date(out, (DateADT) v.u.integer);
	}
	else
	{
		if (TIMESTAMP_IS_NOBEGIN(v.u.integer))
			appendStringInfoString(out, "-infinity");
		else if (TIMESTAMP_IS_NOEND(v.u.integer))
			appendStringInfoString(out, "infinity");
		else
			value_append_instant(out, v.u.integer);
	}
}

void
value_append_json(StringInfo out, Value v)
{
	switch ((ValueType) v.type)
	{
		case VALUE_UNKNOWN:
			appendStringInfoString(out, "null");
			break;
		case VALUE_BOOLEAN:
			appendStringInfoString(out, v.u.integer ? "true" : "false");
			break;
		case VALUE_TEXT:
			if (text_needs_wrapping(v))
			{
				appendStringInfoString(out, "{\"" KEY_TEXT "\": ");
				value_append_json_string(out, v.u.text, v.length);
				appendStringInfoChar(out, '}');
			}
			else
				value_append_json_string(out, v.u.text, v.length);
			break;
		case VALUE_NUMBER:
			decimal_append(out, value_decimal(v));
			break;
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			if (value_is_plain(v))
			{
				appendStringInfoChar(out, '"');
				append_moment(out, v);
				appendStringInfoChar(out, '"');
			}
			else
			{
				appendStringInfoString(out, v.type == VALUE_DATE ? "{\"" KEY_DATE "\": \"" : "{\"" KEY_INSTANT "\": \"");
				append_moment(out, v);
				appendStringInfoString(out, "\"}");
			}
			break;
		case VALUE_ARRAY:
			appendStringInfoChar(out, '[');
			for (uint32 i = 0; i < v.length; i++)
			{
				if (i > 0)
					appendStringInfoString(out, ", ");
				value_append_json(out, v.u.elements[i]);
			}
			appendStringInfoChar(out, ']');
			break;
	}
}

static void
set_string(JsonbValue *result, const char *text, int length)
{
	result->type = jbvString;
	result->val.string.val = unconstify(char *, text);
	result->val.string.len = length;
}

/* {"key": text} */
static void
set_wrapped(JsonbValue *result, const char *key, const char *text, int length)
{
	JsonbPair  *pair = palloc0(sizeof(JsonbPair));

	set_string(&pair->key, key, strlen(key));
	set_string(&pair->value, text, length);
	result->type = jbvObject;
	result->val.object.nPairs = 1;
	result->val.object.pairs = pair;
}

void
value_to_jsonb_value(Value v, JsonbValue *result)
{
	StringInfoData text;

	switch ((ValueType) v.type)
	{
		case VALUE_UNKNOWN:
			result->type = jbvNull;
			break;
		case VALUE_BOOLEAN:
			result->type = jbvBool;
			result->val.boolean = v.u.integer != 0;
			break;
		case VALUE_TEXT:
			if (text_needs_wrapping(v))
				set_wrapped(result, KEY_TEXT, v.u.text, v.length);
			else
				set_string(result, v.u.text, v.length);
			break;
		case VALUE_NUMBER:
			result->type = jbvNumeric;
			result->val.numeric = decimal_to_numeric(value_decimal(v));
			break;
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			initStringInfo(&text);
			append_moment(&text, v);
			if (value_is_plain(v))
				set_string(result, text.data, text.len);
			else
				set_wrapped(result, v.type == VALUE_DATE ? KEY_DATE : KEY_INSTANT, text.data, text.len);
			break;
		case VALUE_ARRAY:
			result->type = jbvArray;
			result->val.array.rawScalar = false;
			result->val.array.nElems = v.length;
			result->val.array.elems = palloc0(sizeof(JsonbValue) * Max(v.length, 1));
			for (uint32 i = 0; i < v.length; i++)
				value_to_jsonb_value(v.u.elements[i], &result->val.array.elems[i]);
			break;
	}
}

Jsonb *
value_to_jsonb(Value v)
{
	JsonbValue	json;

	value_to_jsonb_value(v, &json);
	return JsonbValueToJsonb(&json);
}

/*
 * What a string says.
 */
static Value
value_from_string(const char *text, int length)
{
	int64		parsed;

	switch (value_parse_iso(text, length, &parsed))
	{
		case ISO_DATE:
			return value_date(parsed);
		case ISO_INSTANT:
			return value_timestamp(parsed);
		case ISO_NONE:
		case ISO_LOCAL:
			break;
	}
	return value_text(text, length);
}

static bool
value_from_object(JsonbContainer *container, Value *result, const char **why)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	key;
	JsonbValue	value;
	int64		parsed;

	if (JsonContainerSize(container) == 1)
	{
		(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
		(void) JsonbIteratorNext(&it, &key, true);
		(void) JsonbIteratorNext(&it, &value, true);

#define KEY_IS(name) \
		(key.val.string.len == (int) strlen(name) && memcmp(key.val.string.val, name, strlen(name)) == 0)

		if (KEY_IS(KEY_TEXT) && value.type == jbvString)
		{
			*result = value_text(value.val.string.val, value.val.string.len);
			return true;
		}
		if (KEY_IS(KEY_DATE) && value.type == jbvString)
		{
			if (value_parse_special(value.val.string.val, value.val.string.len, VALUE_DATE, &parsed))
			{
				*result = value_date(parsed);
				return true;
			}
			*why = "\"date\" must be a calendar day such as \"2026-01-05\", or \"infinity\" or \"-infinity\".";
			return false;
		}
		if (KEY_IS(KEY_INSTANT) && value.type == jbvString)
		{
			if (value_parse_special(value.val.string.val, value.val.string.len, VALUE_TIMESTAMP, &parsed))
			{
				*result = value_timestamp(parsed);
				return true;
			}
			*why = "\"instant\" must be a date and time with zone such as \"2026-01-05T10:00:00Z\", or \"infinity\" or "
				"\"-infinity\".";
			return false;
		}
	}
	*why = "An object can only be {\"text\": \"...\"}, {\"date\": \"...\"} or {\"instant\": \"...\"}.";
	return false;
}

static bool
value_from_array(JsonbContainer *container, Value *result, const char **why)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbIteratorToken token;
	JsonbValue	json;
	Value	   *elements = palloc(sizeof(Value) * Max(JsonContainerSize(container), 1));
	uint32		n = 0;

	(void) JsonbIteratorNext(&it, &json, true); /* the array itself */
	while ((token = JsonbIteratorNext(&it, &json, true)) == WJB_ELEM)
	{
		Value		element;

		if (json.type == jbvBinary && JsonContainerIsArray(json.val.binary.data))
		{
			*why = "An array cannot contain arrays.";
			return false;
		}
		if (!value_from_jsonb(&json, &element, why))
			return false;
		if (element.type == VALUE_UNKNOWN)
			continue;
		if (n > 0 && element.type != elements[0].type)
		{
			*why = "The elements of an array must be of one type. A text that looks like a date or an instant is written "
				"{\"text\": \"...\"}.";
			return false;
		}
		elements[n++] = element;
	}
	Assert(token == WJB_END_ARRAY);

	*result = value_unknown();
	result->type = VALUE_ARRAY;
	result->length = n;
	result->u.elements = elements;
	return true;
}

bool
value_from_jsonb(JsonbValue *json, Value *result, const char **why)
{
	Decimal		decimal;

	switch (json->type)
	{
		case jbvNull:
			*result = value_unknown();
			return true;
		case jbvBool:
			*result = value_boolean(json->val.boolean);
			return true;
		case jbvString:
			*result = value_from_string(json->val.string.val, json->val.string.len);
			return true;
		case jbvNumeric:
			*result = decimal_from_numeric(json->val.numeric, &decimal) ? value_number(decimal) : value_unknown();
			return true;
		case jbvBinary:
			if (JsonContainerIsScalar(json->val.binary.data))
			{
				JsonbIterator *it = JsonbIteratorInit(json->val.binary.data);
				JsonbValue	scalar;

				(void) JsonbIteratorNext(&it, &scalar, true);
				(void) JsonbIteratorNext(&it, &scalar, true);
				return value_from_jsonb(&scalar, result, why);
			}
			if (JsonContainerIsArray(json->val.binary.data))
				return value_from_array(json->val.binary.data, result, why);
			return value_from_object(json->val.binary.data, result, why);
		default:
			*why = "Only strings, numbers, booleans and arrays of these can be values.";
			return false;
	}
}

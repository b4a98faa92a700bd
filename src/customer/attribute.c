/*
 * attribute.c
 *		What type a value of an attribute has, by the same reading that profiles do.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#include "base/value.h"

PG_FUNCTION_INFO_V1(crm_customer_attribute_type);

/* As crm.source_property has them. NULL for the unknown. */
static const char *
type_name(ValueType type)
{
	switch (type)
	{
		case VALUE_UNKNOWN:
			break;
		case VALUE_BOOLEAN:
			return "boolean";
		case VALUE_TEXT:
			return "text";
		case VALUE_NUMBER:
			return "number";
		case VALUE_DATE:
			return "date";
		case VALUE_TIMESTAMP:
			return "timestamp";
		case VALUE_ARRAY:
			return "array";
	}
	return NULL;
}

/* crm.attribute_type(name text, value jsonb) */
Datum
crm_customer_attribute_type(PG_FUNCTION_ARGS)
{
	Jsonb	   *jsonb = PG_GETARG_JSONB_P(1);
	JsonbValue	json;
	Value		value;
	const char *why = NULL;
	const char *name;

	json.type = jbvBinary;
	json.val.binary.data = &jsonb->root;
	json.val.binary.len = (int) VARSIZE_ANY_EXHDR(jsonb);
	if (!value_from_jsonb(&json, &value, &why))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("attribute \"%s\" has no value that a predicate could use", text_to_cstring(PG_GETARG_TEXT_PP(0))),
				 why != NULL ? errdetail_internal("%s", why) : 0,
				 errhint("Give a string, a number, true or false, or an array of these.")));
	name = type_name((ValueType) value.type);
	if (name == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

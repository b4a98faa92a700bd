/*
 * profile_io.c
 *		Text and binary form of profiles: canonical JSON.
 *
 * The binary form is a version byte and the same text, as jsonb's is: whatever bytes come in, they pass through the JSON
 * parser and the builder, so no received profile can have a bad length or offset.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "profile/profile_private.h"

#define BINARY_VERSION	1

#define SHAPE_HINT \
	errhint("The form is {\"customer\": 42, \"attributes\": {\"city\": \"Moscow\"}, \"events\": [{\"kind\": \"order\", " \
			"\"at\": \"2026-01-05T07:00:00Z\", \"amount\": 100.10}]}.")

#define invalid_profile(escontext, ...) \
	crm_ereturn(escontext, false, \
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION), \
				 errmsg("invalid input for type crm.profile"), __VA_ARGS__))

void
profile_append_json(StringInfo out, const Profile *profile)
{
	ProfileReader reader;
	int			name;
	int			kind;
	TimestampTz at;
	Value		value;
	bool		first = true;

	profile_reader_init(&reader, profile);
	appendStringInfoChar(out, '{');
	if (reader.has_customer)
		appendStringInfo(out, "\"customer\": " INT64_FORMAT ", ", reader.customer);

	appendStringInfoString(out, "\"attributes\": {");
	while (profile_next_attribute(&reader, &name, &value))
	{
		if (!first)
			appendStringInfoString(out, ", ");
		first = false;
		value_append_json_string(out, reader.names[name].name, reader.names[name].length);
		appendStringInfoString(out, ": ");
		value_append_json(out, value);
	}

	appendStringInfoString(out, "}, \"events\": [");
	first = true;
	while (profile_next_event(&reader, &kind, &at))
	{
		CHECK_FOR_INTERRUPTS();
		appendStringInfoString(out, first ? "{\"kind\": " : ", {\"kind\": ");
		first = false;
		value_append_json_string(out, reader.names[kind].name, reader.names[kind].length);
		appendStringInfoString(out, ", \"at\": ");
		value_append_json(out, value_timestamp(at));
		while (profile_next_property(&reader, &name, &value))
		{
			appendStringInfoString(out, ", ");
			value_append_json_string(out, reader.names[name].name, reader.names[name].length);
			appendStringInfoString(out, ": ");
			value_append_json(out, value);
		}
		appendStringInfoChar(out, '}');
	}
	appendStringInfoString(out, "]}");
}

static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) && memcmp(key->val.string.val, name, strlen(name)) == 0;
}

/* As much of a name as a message should show. */
static char *
shown(const JsonbValue *key)
{
	return pnstrdup(key->val.string.val, pg_mbcliplen(key->val.string.val, key->val.string.len, 64));
}

/*
 * The builder checks names too, but cannot do it softly.
 */
static bool
check_name(const JsonbValue *key, const char *what, Node *escontext)
{
	if (key->val.string.len == 0)
		invalid_profile(escontext, errdetail("A %s must not be empty.", what));
	if (key->val.string.len > PROFILE_MAX_NAME)
		crm_ereturn(escontext, false,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("name in a profile is too long: \"%s...\"", shown(key)),
					 errdetail("It has %d bytes; the limit is %d.", key->val.string.len, PROFILE_MAX_NAME)));
	return true;
}

static bool
read_value(const JsonbValue *key, JsonbValue *json, const char *what, Value *value, Node *escontext)
{
	const char *why;

	if (!value_from_jsonb(json, value, &why))
		invalid_profile(escontext, errdetail("The value of %s \"%s\" cannot be used: %s", what, shown(key), why));
	return true;
}

static bool
read_attributes(ProfileBuilder *builder, JsonbContainer *container, Node *escontext)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	key;
	JsonbValue	json;
	Value		value;

	(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &json, true);
		if (!check_name(&key, "name of an attribute", escontext) ||
			!read_value(&key, &json, "attribute", &value, escontext) ||
			!profile_set_attribute(builder, key.val.string.val, key.val.string.len, value))
			return false;
	}
	return true;
}

/*
 * Find kind and at of an event, and begin it.
 */
static bool
begin_event(ProfileBuilder *builder, JsonbContainer *container, Node *escontext)
{
	JsonbValue	kind;
	JsonbValue	at;
	int64		instant;

	if (getKeyJsonValueFromContainer(container, "kind", 4, &kind) == NULL || kind.type != jbvString)
		invalid_profile(escontext, errdetail("Every event must have a \"kind\", a string."), SHAPE_HINT);
	if (!check_name(&kind, "kind of an event", escontext))
		return false;
	if (key_is(&kind, PROFILE_CUSTOMER_KIND))
		invalid_profile(escontext,
						errdetail("\"%s\" is not a kind of event.", PROFILE_CUSTOMER_KIND),
						errhint("Put facts about the customer into \"attributes\"."));

	if (getKeyJsonValueFromContainer(container, "at", 2, &at) == NULL)
		invalid_profile(escontext,
						errdetail("An event of kind \"%s\" has no \"at\".", shown(&kind)),
						SHAPE_HINT);
	if (at.type != jbvString ||
		value_parse_iso(at.val.string.val, at.val.string.len, &instant) != ISO_INSTANT)
	{
		/* Instants before the year 1 are the one thing here that plain ISO cannot say. */
		Value		value;
		const char *why;

		if (at.type != jbvBinary || !value_from_jsonb(&at, &value, &why) || value.type != VALUE_TIMESTAMP ||
			TIMESTAMP_NOT_FINITE(value.u.integer))
			invalid_profile(escontext,
							errdetail("\"at\" of an event of kind \"%s\" is not an instant.", shown(&kind)),
							errhint("Write date, time and zone, such as \"2026-01-05T10:00:00+03:00\"."));
		instant = value.u.integer;
	}
	return profile_begin_event(builder, kind.val.string.val, kind.val.string.len, instant);
}

static bool
read_event(ProfileBuilder *builder, JsonbContainer *container, Node *escontext)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	json;
	Value		value;

	if (!begin_event(builder, container, escontext))
		return false;
	it = JsonbIteratorInit(container);
	(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &json, true);
		if (key_is(&key, "kind") || key_is(&key, "at"))
			continue;
		if (!check_name(&key, "name of a property", escontext))
			return false;
		if (profile_is_reserved_property(key.val.string.val, key.val.string.len))
			invalid_profile(escontext,
							errdetail("The property name \"%s\" is reserved: every event has one of its own.",
									  shown(&key)),
							errhint("Give the property another name."));
		if (!read_value(&key, &json, "property", &value, escontext) ||
			!profile_add_property(builder, key.val.string.val, key.val.string.len, value))
			return false;
	}
	return true;
}

static bool
read_events(ProfileBuilder *builder, JsonbContainer *container, Node *escontext)
{
	JsonbIterator *it = JsonbIteratorInit(container);
	JsonbValue	json;

	(void) JsonbIteratorNext(&it, &json, true); /* the array itself */
	while (JsonbIteratorNext(&it, &json, true) == WJB_ELEM)
	{
		CHECK_FOR_INTERRUPTS();
		if (json.type != jbvBinary || !JsonContainerIsObject(json.val.binary.data))
			invalid_profile(escontext, errdetail("Every event must be an object."), SHAPE_HINT);
		if (!read_event(builder, json.val.binary.data, escontext))
			return false;
	}
	return true;
}

static bool
read_customer(ProfileBuilder *builder, JsonbValue *json, Node *escontext)
{
	Decimal		number;

	if (json->type == jbvNull)
		return true;
	if (json->type == jbvNumeric && decimal_from_numeric(json->val.numeric, &number))
	{
		number = decimal_strip(number);
		if (number.scale == 0)
		{
			profile_set_customer(builder, number.u.mantissa);
			return true;
		}
	}
	invalid_profile(escontext,
					errdetail("\"customer\" must be an integer of type bigint."),
					errhint("A customer with another key gets an integer id in crm.identity."));
}

static bool
read_profile(ProfileBuilder *builder, JsonbContainer *container, Node *escontext)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	json;

	if (!JsonContainerIsObject(container))
		invalid_profile(escontext, errdetail("A profile must be a JSON object."), SHAPE_HINT);
	it = JsonbIteratorInit(container);
	(void) JsonbIteratorNext(&it, &key, true);	/* the object itself */
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &json, true);
		if (key_is(&key, "customer"))
		{
			if (!read_customer(builder, &json, escontext))
				return false;
		}
		else if (key_is(&key, "attributes"))
		{
			if (json.type != jbvBinary || !JsonContainerIsObject(json.val.binary.data))
				invalid_profile(escontext, errdetail("\"attributes\" must be an object."), SHAPE_HINT);
			if (!read_attributes(builder, json.val.binary.data, escontext))
				return false;
		}
		else if (key_is(&key, "events"))
		{
			if (json.type != jbvBinary || !JsonContainerIsArray(json.val.binary.data))
				invalid_profile(escontext, errdetail("\"events\" must be an array."), SHAPE_HINT);
			if (!read_events(builder, json.val.binary.data, escontext))
				return false;
		}
		else
			invalid_profile(escontext,
							errdetail("A profile has no key \"%s\".", shown(&key)),
							SHAPE_HINT);
	}
	return true;
}

Profile *
profile_from_jsonb(Jsonb *jsonb, Node *escontext)
{
	ProfileBuilder *builder = profile_builder_create();

	builder->escontext = escontext;
	if (!read_profile(builder, &jsonb->root, escontext))
		return NULL;
	return profile_build(builder);
}

Profile *
profile_from_cstring(char *string, Node *escontext)
{
	Jsonb	   *jsonb = crm_jsonb_from_cstring(string, escontext);

	if (jsonb == NULL)
		return NULL;
	return profile_from_jsonb(jsonb, escontext);
}

Profile *
profile_receive(StringInfo message)
{
	int			version;
	char	   *string;
	int			length;

	/* pqformat would call it a protocol violation */
	if (message->cursor >= message->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("binary profile is empty")));
	version = pq_getmsgbyte(message);
	if (version != BINARY_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("unsupported version of profile: %d", version)));
	string = pq_getmsgtext(message, message->len - message->cursor, &length);
	return profile_from_cstring(string, NULL);
}

bytea *
profile_send_json(const Profile *profile)
{
	StringInfoData message;
	StringInfoData json;

	initStringInfo(&json);
	profile_append_json(&json, profile);
	pq_begintypsend(&message);
	pq_sendbyte(&message, BINARY_VERSION);
	pq_sendtext(&message, json.data, json.len);
	pfree(json.data);
	return pq_endtypsend(&message);
}

PG_FUNCTION_INFO_V1(crm_profile_in);

Datum
crm_profile_in(PG_FUNCTION_ARGS)
{
	Profile    *profile = profile_from_cstring(PG_GETARG_CSTRING(0), crm_escontext(fcinfo));

	if (profile == NULL)
		PG_RETURN_NULL();
	PG_RETURN_PROFILE_P(profile);
}

PG_FUNCTION_INFO_V1(crm_profile_out);

Datum
crm_profile_out(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	initStringInfo(&json);
	profile_append_json(&json, PG_GETARG_PROFILE_P(0));
	PG_RETURN_CSTRING(json.data);
}

PG_FUNCTION_INFO_V1(crm_profile_recv);

Datum
crm_profile_recv(PG_FUNCTION_ARGS)
{
	PG_RETURN_PROFILE_P(profile_receive((StringInfo) PG_GETARG_POINTER(0)));
}

PG_FUNCTION_INFO_V1(crm_profile_send);

Datum
crm_profile_send(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(profile_send_json(PG_GETARG_PROFILE_P(0)));
}

PG_FUNCTION_INFO_V1(crm_profile_from_jsonb);

Datum
crm_profile_from_jsonb(PG_FUNCTION_ARGS)
{
	PG_RETURN_PROFILE_P(profile_from_jsonb(PG_GETARG_JSONB_P(0), NULL));
}

PG_FUNCTION_INFO_V1(crm_profile_to_jsonb);

Datum
crm_profile_to_jsonb(PG_FUNCTION_ARGS)
{
	StringInfoData json;

	initStringInfo(&json);
	profile_append_json(&json, PG_GETARG_PROFILE_P(0));
	PG_RETURN_JSONB_P(crm_jsonb_from_cstring(json.data, NULL));
}

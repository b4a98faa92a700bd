/*
 * profile_agg.c
 *		crm.profile_agg(kind, at, properties): a row of facts into the state.
 *
 * What can be known about the columns of a row type is found out once and kept with the call site: which are properties,
 * how they become values, and the shape that the state will be asked for. The cache may be cold at any call (some
 * executors keep nothing between calls); it only saves time.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

#include "profile/profile_state.h"

#define COLUMN_CUSTOMER	"customer_id"
#define COLUMN_AT		"at"

/* No zone is further than this from UTC, in microseconds. */
#define MAX_ZONE_OFFSET	(16 * USECS_PER_HOUR)

typedef enum ColumnRole
{
	COLUMN_DROPPED,
	COLUMN_IS_CUSTOMER,
	COLUMN_IS_AT,				/* an attribute like others, when the row is the customer's */
	COLUMN_IS_PROPERTY
} ColumnRole;

typedef struct AggColumn
{
	ColumnRole	role;
	ValueSource source;			/* none for COLUMN_IS_AT of a local type */
	bool		usable;			/* source is initialised */
	const char *name;
} AggColumn;

typedef enum PropertiesForm
{
	PROPERTIES_UNRESOLVED,
	PROPERTIES_ROW,
	PROPERTIES_JSONB
} PropertiesForm;

typedef struct AggCache
{
	PropertiesForm form;

	/* the row type that the columns below are of */
	MemoryContext row_context;
	Oid			row_type;
	uint64		row_identifier; /* of its definition: of one type it changes when that is altered */
	TupleDesc	tupdesc;
	AggColumn  *columns;
	Datum	   *datums;
	bool	   *nulls;
	Value	   *values;
	const char *reserved;		/* a column that no event can have, or NULL */

	/* the kind that the shape is of */
	bool		shape_valid;
	int			kind_length;
	char		kind[PROFILE_MAX_NAME];
	StringInfoData shape;
} AggCache;

/* The row's own facts, before it is known whether they are worth anything. */
typedef struct AggFacts
{
	const char *kind;
	int			kind_length;
	bool		is_customer;
	bool		has_at;
	TimestampTz at;
	bool		has_customer;
	int64		customer;
} AggFacts;

static void
refuse_properties(Oid type)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATATYPE_MISMATCH),
			 errmsg("properties must be a row or jsonb, not %s", format_type_be(type)),
			 errhint("Pass a row, such as the alias of a view or subquery, or jsonb_build_object(...), or NULL::jsonb.")));
}

static AggCache *
get_cache(FunctionCallInfo fcinfo)
{
	AggCache   *cache = fcinfo->flinfo->fn_extra;

	if (cache == NULL)
	{
		Oid			type = get_fn_expr_argtype(fcinfo->flinfo, 3);
		Oid			base;
		MemoryContext old;

		if (!OidIsValid(type))
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("type of the properties cannot be determined")));
		base = getBaseType(type);
		old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
		cache = palloc0(sizeof(AggCache));
		initStringInfo(&cache->shape);
		MemoryContextSwitchTo(old);
		if (base == JSONBOID)
			cache->form = PROPERTIES_JSONB;
		else if (type_is_rowtype(base))
			cache->form = PROPERTIES_ROW;
		else
			refuse_properties(type);
		fcinfo->flinfo->fn_extra = cache;
	}
	return cache;
}

static void
init_column(AggCache *cache, Form_pg_attribute attribute, int number)
{
	AggColumn  *column = &cache->columns[number];
	const char *name = NameStr(attribute->attname);
	Oid			type = attribute->atttypid;
	Oid			base = getBaseType(type);
	char		unnamed[32];

	column->name = pstrdup(name);
	for (int i = 0; i < number; i++)
	{
		if (cache->columns[i].role != COLUMN_DROPPED && strcmp(cache->columns[i].name, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_COLUMN),
					 errmsg("column \"%s\" is twice in the properties", name),
					 errhint("Give each column a name of its own.")));
	}
	snprintf(unnamed, sizeof(unnamed), "f%d", number + 1);
	if (name[0] == '\0' || strcmp(name, "?column?") == 0 ||
		(cache->row_type == RECORDOID && strcmp(name, unnamed) == 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_COLUMN_REFERENCE),
				 errmsg("column %d of the properties has no name", number + 1),
				 errhint("Names of columns become names of properties: pass the alias of a view or subquery instead of "
						 "ROW(...), or jsonb_build_object('name', value, ...).")));

	column->usable = value_source_init(&column->source, type, cache->row_context);
	if (strcmp(name, COLUMN_CUSTOMER) == 0)
	{
		column->role = COLUMN_IS_CUSTOMER;
		if (base != INT2OID && base != INT4OID && base != INT8OID && base != NUMERICOID)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of type %s is no customer id", name, format_type_be(type)),
					 errhint("Customer ids are integers. A customer with another key gets one in crm.identity.")));
		return;
	}
	column->role = COLUMN_IS_PROPERTY;
	if (strcmp(name, COLUMN_AT) == 0 &&
		(base == TIMESTAMPTZOID || base == TIMESTAMPOID || base == DATEOID))
		column->role = COLUMN_IS_AT;
	else if (profile_is_reserved_property(name, strlen(name)) && cache->reserved == NULL)
		cache->reserved = column->name;
	if (!column->usable && column->role != COLUMN_IS_AT)
		ereport(ERROR,
				(errcode(ERRCODE_DATATYPE_MISMATCH),
				 errmsg("column \"%s\" of type %s cannot be a property", name, format_type_be(type)),
				 errdetail("Properties are texts, numbers, booleans, dates, timestamps with time zone, and arrays of these."),
				 base == TIMESTAMPOID ?
				 errhint("Say in which time zone it is: %s AT TIME ZONE 'Europe/Moscow'.", quote_identifier(name)) :
				 errhint("Cast the column to text, or leave it out.")));
}

/*
 * Get to know a row type.
 */
static void
init_row(FunctionCallInfo fcinfo, AggCache *cache, Oid type, int32 typmod)
{
	MemoryContext old;
	TupleDesc	tupdesc;
	MemoryContext context;

	if (cache->row_context != NULL)
	{
		context = cache->row_context;
		cache->row_context = NULL;
		cache->tupdesc = NULL;
		MemoryContextDelete(context);
	}
	cache->reserved = NULL;
	cache->shape_valid = false;
	context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "crm.profile_agg columns", ALLOCSET_SMALL_SIZES);
	cache->row_context = context;
	old = MemoryContextSwitchTo(context);
	tupdesc = lookup_rowtype_tupdesc_copy(type, typmod);
	cache->row_type = type;
	cache->row_identifier = assign_record_type_identifier(type, typmod);
	cache->columns = palloc0(sizeof(AggColumn) * Max(tupdesc->natts, 1));
	cache->datums = palloc(sizeof(Datum) * Max(tupdesc->natts, 1));
	cache->nulls = palloc(sizeof(bool) * Max(tupdesc->natts, 1));
	cache->values = palloc(sizeof(Value) * Max(tupdesc->natts, 1));
	for (int i = 0; i < tupdesc->natts; i++)
	{
		if (!TupleDescAttr(tupdesc, i)->attisdropped)
			init_column(cache, TupleDescAttr(tupdesc, i), i);
	}
	MemoryContextSwitchTo(old);
	cache->tupdesc = tupdesc;	/* last: an error above leaves the cache cold */
}

static void
set_customer(AggFacts *facts, Value value)
{
	Decimal		number;

	if (value.type == VALUE_UNKNOWN)
		return;
	if (value.type == VALUE_NUMBER)
	{
		number = decimal_strip(value_decimal(value));
		if (number.scale == 0)
		{
			facts->has_customer = true;
			facts->customer = number.u.mantissa;
			return;
		}
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s must be an integer of type bigint", COLUMN_CUSTOMER),
			 errhint("A customer with another key gets an integer id in crm.identity.")));
}

static void
check_at(const AggFacts *facts, Value value, bool local)
{
	int64		at;

	if (value.type == VALUE_UNKNOWN)
		return;
	at = value.u.integer;
	if (value.type == VALUE_DATE)
	{
		/* The row's day as its UTC midnight, if it has one in the range of timestamps. */
		if (DATE_NOT_FINITE((DateADT) at) || at >= TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE)
			at = DT_NOEND;
		else
			at *= USECS_PER_DAY;
	}
	if (value.type == VALUE_DATE || value.type == VALUE_TIMESTAMP)
	{
		/* A local time became the argument in some session's zone, which must not matter here. */
		if (at == facts->at)
			return;
		if (local && !TIMESTAMP_NOT_FINITE(at) &&
			at >= facts->at - MAX_ZONE_OFFSET && at <= facts->at + MAX_ZONE_OFFSET)
			return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("property \"%s\" differs from the time of the event", COLUMN_AT),
			 errhint("Pass the same %s as second argument, or leave it out of the properties.", COLUMN_AT)));
}

/*
 * Complain of a row of which the kind or the time is missing.
 */
static void
check_facts(AggFacts *facts)
{
	if (facts->kind == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("kind of an event must not be null")));
	if (facts->is_customer)
		return;
	profile_check_kind(facts->kind, facts->kind_length);
	if (!facts->has_at)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("time of an event must not be null"),
				 errdetail("The event is of kind \"%.*s\".", facts->kind_length, facts->kind)));
	profile_check_instant(facts->at);
}

static ProfileState *
writable_state(FunctionCallInfo fcinfo)
{
	return PG_ARGISNULL(0) ? state_create() : state_getarg(fcinfo, 0);
}

/*
 * Store. An attribute row that says nothing adds nothing; an event without properties is still an event.
 */
static ProfileState *
add_facts(FunctionCallInfo fcinfo, const AggFacts *facts, const StringInfoData *shape, const Value *values, int nvalues)
{
	ProfileState *state = writable_state(fcinfo);
	bool		any = !facts->is_customer;

	if (facts->has_customer)
		state_set_customer(state, facts->customer);
	for (int i = 0; i < nvalues && !any; i++)
		any = values[i].type != VALUE_UNKNOWN;
	if (!any)
		return state;
	return state_append(state, shape, facts->is_customer ? 0 : facts->at, values, nvalues);
}

/*
 * A property that is none: the customer's id, or the event's time again.
 */
static bool
is_stored(const AggFacts *facts, const AggColumn *column)
{
	return column->role == COLUMN_IS_PROPERTY || (column->role == COLUMN_IS_AT && facts->is_customer);
}

static void
make_row_shape(AggCache *cache, const AggFacts *facts)
{
	int			nvalues = 0;

	if (!facts->is_customer && cache->reserved != NULL)
		profile_check_property(cache->reserved, strlen(cache->reserved));
	for (int i = 0; i < cache->tupdesc->natts; i++)
		nvalues += is_stored(facts, &cache->columns[i]) ? 1 : 0;
	shape_begin(&cache->shape, facts->kind, facts->is_customer ? 0 : facts->kind_length, nvalues);
	for (int i = 0; i < cache->tupdesc->natts; i++)
	{
		AggColumn  *column = &cache->columns[i];

		if (!is_stored(facts, column))
			continue;
		if (!column->usable)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of type %s cannot be an attribute", column->name,
							format_type_be(column->source.type)),
					 errhint("Say in which time zone it is: %s AT TIME ZONE 'Europe/Moscow'.",
							 quote_identifier(column->name))));
		shape_add_name(&cache->shape, column->name, strlen(column->name));
	}
	memcpy(cache->kind, facts->kind, facts->kind_length);
	cache->kind_length = facts->kind_length;
	cache->shape_valid = true;
}

/*
 * Facts in a row. Returns the state, or NULL if there is none yet.
 */
static ProfileState *
add_row(FunctionCallInfo fcinfo, AggCache *cache, AggFacts *facts)
{
	bool		empty = true;
	int			n = 0;

	if (!PG_ARGISNULL(3))
	{
		HeapTupleHeader row = PG_GETARG_HEAPTUPLEHEADER(3);
		HeapTupleData tuple;
		Oid			type = HeapTupleHeaderGetTypeId(row);
		int32		typmod = HeapTupleHeaderGetTypMod(row);

		/* the call site may outlive the definition: one in PL/pgSQL stays for a transaction */
		if (unlikely(cache->tupdesc == NULL ||
					 cache->row_identifier != assign_record_type_identifier(type, typmod)))
			init_row(fcinfo, cache, type, typmod);
		tuple.t_len = HeapTupleHeaderGetDatumLength(row);
		ItemPointerSetInvalid(&tuple.t_self);
		tuple.t_tableOid = InvalidOid;
		tuple.t_data = row;
		heap_deform_tuple(&tuple, cache->tupdesc, cache->datums, cache->nulls);
		for (int i = 0; i < cache->tupdesc->natts && empty; i++)
			empty = cache->nulls[i] || cache->columns[i].role == COLUMN_DROPPED;
	}

	if (empty && (!facts->has_at || facts->is_customer))
		return NULL;
	check_facts(facts);
	if (PG_ARGISNULL(3))
	{
		/* Nothing is known of columns; an event without properties has the shape of its kind. */
		StringInfoData shape;

		initStringInfo(&shape);
		shape_begin(&shape, facts->kind, facts->kind_length, 0);
		return add_facts(fcinfo, facts, &shape, NULL, 0);
	}

	if (unlikely(!cache->shape_valid || cache->kind_length != facts->kind_length ||
				 memcmp(cache->kind, facts->kind, facts->kind_length) != 0))
		make_row_shape(cache, facts);
	for (int i = 0; i < cache->tupdesc->natts; i++)
	{
		AggColumn  *column = &cache->columns[i];

		if (column->role == COLUMN_DROPPED)
			continue;
		if (is_stored(facts, column))
			cache->values[n++] = value_from_datum(&column->source, cache->datums[i], cache->nulls[i]);
		else if (column->role == COLUMN_IS_CUSTOMER)
			set_customer(facts, value_from_datum(&column->source, cache->datums[i], cache->nulls[i]));
		else if (column->usable)
			check_at(facts, value_from_datum(&column->source, cache->datums[i], cache->nulls[i]),
					 column->source.base == DATEOID);
		else if (!cache->nulls[i])
			check_at(facts, value_timestamp(DatumGetTimestamp(cache->datums[i])), true);
	}
	return add_facts(fcinfo, facts, &cache->shape, cache->values, n);
}

/*
 * Is it the key, and is it not just an attribute of that name?
 */
static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == (int) strlen(name) && memcmp(key->val.string.val, name, strlen(name)) == 0;
}

static ProfileState *
add_jsonb(FunctionCallInfo fcinfo, AggCache *cache, AggFacts *facts)
{
	Jsonb	   *jsonb = PG_ARGISNULL(3) ? NULL : PG_GETARG_JSONB_P(3);
	JsonbIterator *it;
	JsonbValue *pairs;
	Value	   *values;
	int			npairs = 0;
	int			nvalues = 0;

	if (jsonb != NULL && JB_ROOT_IS_SCALAR(jsonb))
	{
		JsonbValue	scalar;

		if (JsonbExtractScalar(&jsonb->root, &scalar) && scalar.type == jbvNull)
			jsonb = NULL;
	}
	if (jsonb == NULL && (!facts->has_at || facts->is_customer))
		return NULL;
	check_facts(facts);
	if (jsonb != NULL && !JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("properties must be a JSON object"),
				 errhint("Such as {\"amount\": 100.10}.")));
	if (jsonb != NULL && JB_ROOT_COUNT(jsonb) > PROFILE_MAX_PROPERTIES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("event has too many properties"),
				 errdetail("The limit is %d.", PROFILE_MAX_PROPERTIES)));

	pairs = palloc(sizeof(JsonbValue) * (jsonb != NULL ? JB_ROOT_COUNT(jsonb) + 1 : 1));
	values = palloc(sizeof(Value) * (jsonb != NULL ? JB_ROOT_COUNT(jsonb) + 1 : 1));
	if (jsonb != NULL)
	{
		JsonbValue	json;
		JsonbValue *key;

		it = JsonbIteratorInit(&jsonb->root);
		(void) JsonbIteratorNext(&it, &pairs[0], true); /* the object itself */
		while (key = &pairs[npairs], JsonbIteratorNext(&it, key, true) == WJB_KEY)
		{
			const char *why;
			Value		value;

			(void) JsonbIteratorNext(&it, &json, true);
			if (!value_from_jsonb(&json, &value, &why))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("value of property \"%s\" cannot be used",
								pnstrdup(key->val.string.val,
										 pg_mbcliplen(key->val.string.val, key->val.string.len, 64))),
						 errdetail_internal("%s", why)));
			if (key_is(key, COLUMN_CUSTOMER))
				set_customer(facts, value);
			else if (key_is(key, COLUMN_AT) && !facts->is_customer)
				check_at(facts, value, false);
			else
			{
				if (facts->is_customer)
					profile_check_name(key->val.string.val, key->val.string.len);
				else
					profile_check_property(key->val.string.val, key->val.string.len);
				if (value.type == VALUE_UNKNOWN)
					continue;
				values[npairs++] = value;
			}
		}
		nvalues = npairs;
	}

	cache->shape_valid = false;
	shape_begin(&cache->shape, facts->kind, facts->is_customer ? 0 : facts->kind_length, nvalues);
	for (int i = 0; i < nvalues; i++)
		shape_add_name(&cache->shape, pairs[i].val.string.val, pairs[i].val.string.len);
	return add_facts(fcinfo, facts, &cache->shape, values, nvalues);
}

PG_FUNCTION_INFO_V1(crm_profile_state_add);

/*
 * crm.profile_state_add(state, kind, at, properties)
 */
Datum
crm_profile_state_add(PG_FUNCTION_ARGS)
{
	AggCache   *cache = get_cache(fcinfo);
	AggFacts	facts = {0};
	ProfileState *state;

	if (!PG_ARGISNULL(1))
	{
		text	   *kind = PG_GETARG_TEXT_PP(1);

		facts.kind = VARDATA_ANY(kind);
		facts.kind_length = VARSIZE_ANY_EXHDR(kind);
		facts.is_customer = facts.kind_length == (int) strlen(PROFILE_CUSTOMER_KIND) &&
			memcmp(facts.kind, PROFILE_CUSTOMER_KIND, facts.kind_length) == 0;
	}
	if (!PG_ARGISNULL(2))
	{
		facts.has_at = true;
		facts.at = PG_GETARG_TIMESTAMPTZ(2);
	}

	if (cache->form == PROPERTIES_JSONB)
		state = add_jsonb(fcinfo, cache, &facts);
	else
		state = add_row(fcinfo, cache, &facts);
	if (state == NULL)
	{
		if (PG_ARGISNULL(0))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	}
	PG_RETURN_POINTER(state);
}

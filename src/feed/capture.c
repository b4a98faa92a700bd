/*
 * capture.c
 *		Inside the shop's transactions: remembering which keys they touch.
 *
 * The trigger puts the keys of the old and the new row into a table in memory, each once; before the commit, or the
 * prepare, they are appended to the change log (capture_log.c). Nothing is looked up and no query is run, so there is
 * nothing to wait for and nothing to fail. A subtransaction that is rolled back leaves its keys behind: somebody is then
 * looked at for whom nothing has changed, which harms nobody.
 *
 * What a trigger cannot tell as keys (too many of them, a column that is not what it was, no memory) it tells as one row:
 * of this watch, anybody may have changed.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "executor/tuptable.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/uuid.h"

#include "compat.h"
#include "feed/capture.h"
#include "feed/capture_private.h"

PG_FUNCTION_INFO_V1(crm_feed_capture);

/* A key that is longer is not remembered by its value. */
#define MAX_KEY_BYTES 1024

typedef enum CaptureMode
{
	CAPTURE_ON,
	CAPTURE_OFF,
	CAPTURE_HARD
} CaptureMode;

static const struct config_enum_entry modes[] = {
	{"on", CAPTURE_ON, false},
	{"off", CAPTURE_OFF, false},
	{"hard", CAPTURE_HARD, false},
	{NULL, 0, false}
};

static int	mode = CAPTURE_ON;
static int	max_keys = 100000;

CaptureHook capture_committed_hook = NULL;

/* What this transaction has touched; all of it in memory that goes with the transaction. */
static CapturedKeys captured = {0};

/* Something was appended, and the transaction is about to end. */
static bool appended = false;

static void
forget(void)
{
	memset(&captured, 0, sizeof(captured));
}

/*
 * Before the commit all of a transaction's own work is done, deferred triggers included; and what is written here is part
 * of it.
 */
static void
at_transaction_event(XactEvent event, void *arg)
{
	(void) arg;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
		case XACT_EVENT_PRE_PREPARE:
			if (captured.context != NULL || captured.all)
			{
				capture_append(&captured);
				appended = event == XACT_EVENT_PRE_COMMIT;
			}
			forget();
			break;
		case XACT_EVENT_COMMIT:
			if (appended && capture_committed_hook != NULL)
				capture_committed_hook();
			appended = false;
			forget();
			break;
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			appended = false;
			forget();
			break;
		default:
			break;
	}
}

static void
begin(void)
{
	static bool registered = false;

	if (captured.context != NULL)
		return;
	if (!registered)
	{
		RegisterXactCallback(at_transaction_event, NULL);
		registered = true;
	}
	captured.context = AllocSetContextCreate(TopTransactionContext, "captured keys", ALLOCSET_DEFAULT_SIZES);
}

/* Nothing that is known of the watch by its keys is of use any more. */
static void
capture_stale(int watch)
{
	/* what the extension itself stores has no watch to be named */
	if (watch <= 0)
	{
		captured.all = true;
		return;
	}
	for (int i = 0; i < captured.nstale; i++)
	{
		if (captured.stale[i] == watch)
			return;
	}
	if (captured.nstale < (int) lengthof(captured.stale))
		captured.stale[captured.nstale++] = watch;
	else
		captured.all = true;
}

static bool
is_stale(int watch)
{
	for (int i = 0; i < captured.nstale; i++)
	{
		if (captured.stale[i] == watch)
			return true;
	}
	return captured.all;
}

static inline bool
same_bytes(const struct varlena *a, const struct varlena *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE(a) == VARSIZE(b) && memcmp(a, b, VARSIZE(a)) == 0;
}

static inline uint32
hash_of(int watch, int64 id, const struct varlena *bytes)
{
	uint32		hash = hash_combine(murmurhash32((uint32) watch), murmurhash32((uint32) id ^ (uint32) ((uint64) id >> 32)));

	return bytes == NULL ? hash : hash_combine(hash, hash_bytes((const unsigned char *) bytes, (int) VARSIZE(bytes)));
}

/* Makes the table twice as large; false if there is no memory for it. */
static bool
grow(void)
{
	int			room = captured.room == 0 ? 64 : captured.room * 2;
	CapturedKey *keys = MemoryContextAllocExtended(captured.context, sizeof(CapturedKey) * (Size) room,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM);
	int		   *places = MemoryContextAllocExtended(captured.context, sizeof(int) * (Size) room * 2,
													MCXT_ALLOC_HUGE | MCXT_ALLOC_NO_OOM | MCXT_ALLOC_ZERO);
	uint32		mask = (uint32) room * 2 - 1;

	if (keys == NULL || places == NULL)
		return false;
	if (captured.count > 0)
		memcpy(keys, captured.keys, sizeof(CapturedKey) * (Size) captured.count);
	for (int i = 0; i < captured.count; i++)
	{
		uint32		place = hash_of(keys[i].watch, keys[i].id, keys[i].bytes) & mask;

		while (places[place] != 0)
			place = (place + 1) & mask;
		places[place] = i + 1;
	}
	if (captured.keys != NULL)
	{
		pfree(captured.keys);
		pfree(captured.places);
	}
	captured.keys = keys;
	captured.places = places;
	captured.room = room;
	return true;
}

/*
 * Remembers a key: a number, or bytes. What comes twice is most often the same as what came last: the rows of a table that
 * are written together belong together.
 */
static void
remember(int watch, int64 id, const struct varlena *bytes)
{
	uint32		mask;
	uint32		place;
	CapturedKey *key;

	begin();
	if (captured.count > 0)
	{
		key = &captured.keys[captured.count - 1];
		if (key->watch == watch && key->id == id && same_bytes(key->bytes, bytes))
			return;
	}
	if (captured.nstale > 0 && is_stale(watch))
		return;
	if (captured.count >= max_keys || (captured.count == captured.room && !grow()))
	{
		capture_stale(watch);
		return;
	}
	mask = (uint32) captured.room * 2 - 1;
	for (place = hash_of(watch, id, bytes) & mask; captured.places[place] != 0; place = (place + 1) & mask)
	{
		key = &captured.keys[captured.places[place] - 1];
		if (key->watch == watch && key->id == id && same_bytes(key->bytes, bytes))
			return;
	}
	key = &captured.keys[captured.count];
	key->watch = watch;
	key->id = id;
	key->bytes = NULL;
	if (bytes != NULL)
	{
		key->bytes = MemoryContextAllocExtended(captured.context, VARSIZE(bytes), MCXT_ALLOC_NO_OOM);
		if (key->bytes == NULL)
		{
			capture_stale(watch);
			return;
		}
		memcpy(key->bytes, bytes, VARSIZE(bytes));
	}
	captured.places[place] = ++captured.count;
}

void
capture_customer(const char *kind, int64 customer)
{
	if (mode == CAPTURE_HARD)
		return;
	if (mode == CAPTURE_OFF)
		capture_all(kind);
	else
		remember(CAPTURE_OWN, customer, kind == NULL ? NULL : (struct varlena *) cstring_to_text(kind));
}

void
capture_all(const char *kind)
{
	if (mode == CAPTURE_HARD)
		return;
	begin();
	if (kind == NULL)
		captured.all = true;
	else
		remember(CAPTURE_OWN_STALE, 0, (struct varlena *) cstring_to_text(kind));
}

/* How a trigger finds the key in a row. */
typedef struct KeyColumns
{
	int			watch;
	bool		sound;			/* all of them are there, and of types that we know */
	int			count;
	AttrNumber	columns[CAPTURE_MAX_KEYS];
	Oid			types[CAPTURE_MAX_KEYS];
} KeyColumns;

bool
capture_key_type(Oid type)
{
	switch (type)
	{
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case UUIDOID:
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			return true;
		default:
			return false;
	}
}

static KeyColumns *
find_columns(FunctionCallInfo fcinfo, const TriggerData *data)
{
	KeyColumns *key = fcinfo->flinfo->fn_extra;
	const Trigger *trigger = data->tg_trigger;
	TupleDesc	desc = RelationGetDescr(data->tg_relation);

	if (key != NULL)
		return key;
	key = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(KeyColumns));
	key->watch = trigger->tgnargs > 0 ? atoi(trigger->tgargs[0]) : CAPTURE_OWN;
	key->count = trigger->tgnargs - 1;
	key->sound = key->count > 0 && key->count <= CAPTURE_MAX_KEYS && key->watch > 0;
	for (int i = 0; key->sound && i < key->count; i++)
	{
		key->sound = false;
		for (int a = 0; a < desc->natts; a++)
		{
			Form_pg_attribute column = TupleDescAttr(desc, a);

			if (column->attisdropped || strcmp(NameStr(column->attname), trigger->tgargs[i + 1]) != 0)
				continue;
			key->columns[i] = column->attnum;
			key->types[i] = getBaseType(column->atttypid);
			key->sound = capture_key_type(key->types[i]);
			break;
		}
	}
	fcinfo->flinfo->fn_extra = key;
	return key;
}

static inline bool
integer_key(Oid type, Datum value, int64 *id)
{
	switch (type)
	{
		case INT8OID:
			*id = DatumGetInt64(value);
			return true;
		case INT4OID:
			*id = DatumGetInt32(value);
			return true;
		case INT2OID:
			*id = DatumGetInt16(value);
			return true;
		default:
			return false;
	}
}

/* A key's part as text; the types are such that no code of a user's runs. NULL where it is too long. */
static text *
key_text(Oid type, Datum value)
{
	int64		id;

	if (integer_key(type, value, &id))
		return cstring_to_text(psprintf(INT64_FORMAT, id));
	if (type == UUIDOID)
		return cstring_to_text(DatumGetCString(DirectFunctionCall1(uuid_out, value)));
	if (toast_raw_datum_size(value) - VARHDRSZ > MAX_KEY_BYTES)
		return NULL;
	return DatumGetTextPP(value);
}

static void
capture_row(const KeyColumns *key, TupleTableSlot *slot)
{
	Datum		parts[CAPTURE_MAX_KEYS];
	bool		nulls[CAPTURE_MAX_KEYS];
	bool		known = false;
	int64		id;
	int			one = 1;
	int			count = key->count;

	for (int i = 0; i < count; i++)
	{
		Datum		value = slot_getattr(slot, key->columns[i], &nulls[i]);

		if (nulls[i])
			continue;
		known = true;
		if (count == 1 && integer_key(key->types[0], value, &id))
		{
			remember(key->watch, id, NULL);
			return;
		}
		parts[i] = PointerGetDatum(key_text(key->types[i], value));
		if (DatumGetPointer(parts[i]) == NULL)
		{
			begin();
			capture_stale(key->watch);
			return;
		}
	}
	/* a row without any key is nobody's */
	if (known)
		remember(key->watch, 0, (struct varlena *) construct_md_array(parts, nulls, 1, &count, &one, TEXTOID, -1, false,
																	  TYPALIGN_INT));
}

Datum
crm_feed_capture(PG_FUNCTION_ARGS)
{
	const TriggerData *data = (const TriggerData *) fcinfo->context;
	const KeyColumns *key;
	HeapTuple	result;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("crm.capture() must be called as a trigger"),
				 errhint("crm.watch() makes its triggers.")));
	/* whoever has made a trigger by hand that fires before is to get his row */
	result = TRIGGER_FIRED_BY_UPDATE(data->tg_event) ? data->tg_newtuple : data->tg_trigtuple;
	if (mode == CAPTURE_HARD)
		return PointerGetDatum(result);

	key = find_columns(fcinfo, data);
	if (key->watch <= 0)
		return PointerGetDatum(result);
	if (mode == CAPTURE_OFF || !key->sound || !TRIGGER_FIRED_FOR_ROW(data->tg_event))
	{
		begin();
		capture_stale(key->watch);
		return PointerGetDatum(result);
	}
	capture_row(key, data->tg_trigslot);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		capture_row(key, data->tg_newslot);
	return PointerGetDatum(result);
}

void
capture_define_gucs(void)
{
	DefineCustomEnumVariable("crm_marketing.capture",
							 "Whether changes of watched tables are captured.",
							 "on: the keys of changed rows; off: only that a table has changed, which costs a refresh of all "
							 "segments; hard: nothing, stored segments go wrong until crm.refresh_segments().",
							 &mode,
							 CAPTURE_ON,
							 modes,
							 PGC_SUSET,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("crm_marketing.capture_max_keys",
							"How many different keys a transaction captures at the most.",
							"A transaction that touches more is captured as one that may have touched anybody, which costs a "
							"refresh of all segments.",
							&max_keys,
							100000,
							1, 10000000,
							PGC_SUSET,
							0,
							NULL, NULL, NULL);
}

PG_FUNCTION_INFO_V1(crm_feed_touch);
Datum
crm_feed_touch(PG_FUNCTION_ARGS)
{
	char	   *kind = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	Datum	   *customers;
	bool	   *nulls;
	int			count;

	if (PG_ARGISNULL(0))
	{
		capture_all(kind);
		PG_RETURN_VOID();
	}
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &customers,
					  &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (!nulls[i])
			capture_customer(kind, DatumGetInt64(customers[i]));
	}
	PG_RETURN_VOID();
}

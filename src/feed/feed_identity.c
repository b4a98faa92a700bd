/*
 * feed_identity.c
 *		Ids for customers whom the shop knows by uuid or text.
 *
 * The shop's query runs as its definer, the ids are written as the owner of the extension; so keys are fetched and
 * stored by turns, some thousands at a time, whatever the size of the shop.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "feed/feed_private.h"

#define KEYS_AT_ONCE 10000

/* The hash of a key, as crm.erased has those of people who were erased: they get no id again. */
#define ERASED_KEY(key) "pg_catalog.sha256(pg_catalog.convert_to('shop:' || " key ", 'UTF8'))"

PG_FUNCTION_INFO_V1(crm_feed_refresh_identities);

static uint64
store_keys(SPITupleTable *table, uint64 count)
{
	Oid			types[] = {TEXTARRAYOID};
	Datum		values[1];
	Datum	   *keys = palloc(sizeof(Datum) * count);
	FeedRights	rights;
	uint64		stored;

	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;

		keys[i] = SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull);
	}
	values[0] = PointerGetDatum(construct_array(keys, (int) count, TEXTOID, -1, false, TYPALIGN_INT));
	feed_enter_extension(&rights);
	feed_execute("INSERT INTO crm.identity (namespace, value, customer_id) "
				 "SELECT 'shop', k, pg_catalog.nextval('crm.customer_id_seq'::pg_catalog.regclass) "
				 "  FROM pg_catalog.unnest($1) AS k "
				 " WHERE NOT EXISTS (SELECT FROM crm.erased AS e WHERE e.address_hash = " ERASED_KEY("k") ") "
				 "ON CONFLICT (value) WHERE namespace = 'shop' DO NOTHING",
				 1, types, values, NULL);
	stored = SPI_processed;
	feed_leave(&rights);
	return stored;
}

/*
 * Asks the view, which knows what the shop's query meant when it was defined: its text might mean something else by now.
 * The caller is connected to SPI.
 */
uint64
feed_make_identities(const Feed *feed)
{
	static const char *const sql =
		"SELECT f." FEED_CUSTOMER_KEY "::pg_catalog.text FROM crm_feed.customer AS f "
		"WHERE f.customer_id IS NULL AND f." FEED_CUSTOMER_KEY " IS NOT NULL";
	ErrorContextCallback callback;
	SPIPlanPtr	plan;
	Portal		portal;
	FeedRights	rights;
	uint64		made = 0;

	callback.previous = error_context_stack;
	callback.callback = feed_error_callback;
	callback.arg = unconstify(char *, feed->kind);
	error_context_stack = &callback;
	feed_enter(&rights, feed->owner, feed->search_path);
	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	PushActiveSnapshot(GetTransactionSnapshot());
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, true);
	PopActiveSnapshot();
	for (;;)
	{
		SPITupleTable *table;
		uint64		count;

		SPI_cursor_fetch(portal, true, KEYS_AT_ONCE);
		table = SPI_tuptable;
		count = SPI_processed;
		if (count == 0)
			break;
		made += store_keys(table, count);
		SPI_freetuptable(table);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	feed_leave(&rights);
	error_context_stack = callback.previous;
	CommandCounterIncrement();
	return made;
}

/* Is there a customer in the feed who has this key? */
static bool
has_customer(const Feed *feed, FeedKey key, const char *value)
{
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(value)};
	FeedRights	rights;
	int			code;

	feed_enter(&rights, feed->owner, feed->search_path);
	code = SPI_execute_with_args(key == FEED_KEY_UUID ?
								 "SELECT FROM crm_feed.customer WHERE " FEED_CUSTOMER_KEY
								 " OPERATOR(pg_catalog.=) $1::pg_catalog.uuid LIMIT 1" :
								 "SELECT FROM crm_feed.customer WHERE " FEED_CUSTOMER_KEY
								 " OPERATOR(pg_catalog.=) $1::pg_catalog.text LIMIT 1",
								 1, types, values, NULL, true, 1);
	if (code != SPI_OK_SELECT)
		elog(ERROR, "could not look for a customer: %s", SPI_result_code_string(code));
	feed_leave(&rights);
	return SPI_processed > 0;
}

/* The id of the customer whom the shop knows by the key; given now if it is a customer who has none. */
bool
feed_identity_of(const char *key, int64 *id)
{
	static const char *const find =
		"SELECT i.customer_id FROM crm.identity AS i WHERE i.namespace = 'shop' AND i.value = $1";
	Oid			types[] = {TEXTOID};
	Datum		values[] = {CStringGetTextDatum(key)};
	FeedRights	rights;
	bool		found;
	bool		isnull;

	SPI_connect();
	feed_enter_extension(&rights);
	feed_execute(find, 1, types, values, NULL);
	if (SPI_processed == 0)
	{
		const Feed *feed = feed_find(feed_cached(), FEED_CUSTOMER);
		const FeedSource *source = feed_source_find(feed_sources(), FEED_CUSTOMER);

		if (feed != NULL && source != NULL && !feed->stale && has_customer(feed, feed_key_of(source->key_type), key))
		{
			feed_execute("INSERT INTO crm.identity (namespace, value, customer_id) "
						 "SELECT 'shop', $1, nextval('crm.customer_id_seq'::regclass) "
						 " WHERE NOT EXISTS (SELECT FROM crm.erased AS e WHERE e.address_hash = " ERASED_KEY("$1") ") "
						 "ON CONFLICT (value) WHERE namespace = 'shop' DO NOTHING", 1, types, values, NULL);
			feed_execute(find, 1, types, values, NULL);
		}
	}
	found = SPI_processed > 0;
	if (found)
		*id = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	feed_leave(&rights);
	SPI_finish();
	return found;
}

uint64
feed_refresh_identities(void)
{
	FeedSource *source = feed_source_find(feed_sources(), FEED_CUSTOMER);
	Feed	   *feed;
	uint64		made = 0;

	feed_forbid_within_query();
	feed_recheck_indexes();
	if (source == NULL || feed_key_of(source->key_type) == FEED_KEY_INTEGER)
		return 0;
	feed = feed_find(feed_load(), FEED_CUSTOMER);
	if (feed == NULL)
		return 0;				/* dropped between the two looks */
	if (feed->stale)
		feed_error_stale(feed);
	SPI_connect();
	made = feed_make_identities(feed);
	SPI_finish();
	return made;
}

uint64		feed_marks = 0;

void
feed_mark(const char *kind, const char *reason)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[2];
	FeedRights	rights;

	if (reason != NULL)
		feed_marks++;
	values[0] = CStringGetTextDatum(kind);
	values[1] = reason != NULL ? CStringGetTextDatum(reason) : (Datum) 0;
	SPI_connect();
	feed_enter_extension(&rights);
	feed_execute("UPDATE crm.source SET stale_reason = $2 WHERE kind = $1 AND stale_reason IS DISTINCT FROM $2 "
				 "   AND NOT released",
				 2, types, values, reason != NULL ? NULL : " n");
	feed_leave(&rights);
	SPI_finish();
}

bool
feed_needs_refresh(void)
{
	List	   *feeds = feed_load();
	ListCell   *cell;

	foreach(cell, feed_sources())
	{
		const FeedSource *source = lfirst(cell);
		const Feed *feed = feed_find(feeds, source->kind);

		if (source->stale_reason != NULL && !source->released && strcmp(source->stale_reason, FEED_DUPLICATES) != 0 &&
			(feed == NULL || !feed->stale))
			return true;
	}
	return false;
}

Datum
crm_feed_refresh_identities(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	PG_RETURN_INT64((int64) feed_refresh_identities());
}

/*
 * feed_profile.c
 *		crm.profile_of(): a customer's facts from all feeds, and crm.feed_status().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "compat.h"
#include "base/name_list.h"
#include "feed/feed_private.h"
#include "profile/profile.h"

PG_FUNCTION_INFO_V1(crm_feed_profile_of);
PG_FUNCTION_INFO_V1(crm_feed_profile_of_kinds);
PG_FUNCTION_INFO_V1(crm_feed_status);

typedef struct Gathering
{
	ProfileBuilder *builder;
	const List *feeds;
	const Feed *feed;
	const char **names;
	const List *hidden;			/* names that the caller is not to see */
	uint64		rows;			/* of this feed */
	uint64		total;
} Gathering;

List *
feed_hidden_names(Oid role)
{
	MemoryContext context = CurrentMemoryContext;
	FeedRights	rights;
	List	   *names = NIL;

	if (pg_class_aclcheck(feed_relation("identity"), role, ACL_SELECT) == ACLCHECK_OK)
		return NIL;
	SPI_connect();
	feed_enter_extension(&rights);
	if (SPI_execute("SELECT DISTINCT c.kind FROM crm.channel AS c", true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.channel");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		char	   *name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(context);

		names = lappend(names, pstrdup(name));
		MemoryContextSwitchTo(old);
	}
	feed_leave(&rights);
	SPI_finish();
	return names;
}

static void
gather_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	Gathering  *gathering = context;
	const Feed *feed = gathering->feed;
	bool		customers = feed->customers;

	(void) customer;
	/* that we have scored somebody does not make him a customer */
	if (!feed->own || !customers)
		gathering->total++;
	if (gathering->rows++ > 0 && customers)
		return;
	if (!customers)
		profile_begin_event(gathering->builder, feed->kind, strlen(feed->kind), at);
	for (int i = 0; i < feed->ncolumns; i++)
	{
		if (values[i].type == VALUE_UNKNOWN)
			continue;
		/* what the shop says of a customer goes before what we do */
		if (feed->own && customers && feed_of_attribute(gathering->feeds, gathering->names[i]) != feed)
			continue;
		if (name_list_has(gathering->hidden, gathering->names[i], (int) strlen(gathering->names[i])))
			continue;
		if (customers)
			profile_set_attribute(gathering->builder, gathering->names[i], strlen(gathering->names[i]), values[i]);
		else
			profile_add_property(gathering->builder, gathering->names[i], strlen(gathering->names[i]), values[i]);
	}
}

static void
gather_tracked(void *context, const char *kind, int kind_length, TimestampTz at, Jsonb *properties)
{
	Gathering  *gathering = context;
	JsonbIterator *iterator = JsonbIteratorInit(&properties->root);
	JsonbIteratorToken token;
	JsonbValue	item;
	JsonbValue	key = {0};

	gathering->total++;
	profile_begin_event(gathering->builder, kind, kind_length, at);
	while ((token = JsonbIteratorNext(&iterator, &item, true)) != WJB_DONE)
	{
		Value		value;
		const char *why;

		if (token == WJB_KEY)
			key = item;
		else if (token == WJB_VALUE && !name_list_has(gathering->hidden, key.val.string.val, key.val.string.len) &&
				 value_from_jsonb(&item, &value, &why) && value.type != VALUE_UNKNOWN)
			profile_add_property(gathering->builder, key.val.string.val, key.val.string.len, value);
	}
}

/*
 * Once for a call site: a query over all customers is not to say it for each of them. What is remembered is the feed's
 * kind, because the list of feeds may be loaded anew at any time.
 */
static void
notice_unindexed(FunctionCallInfo fcinfo, const Feed *feed)
{
	List	   *said = fcinfo->flinfo->fn_extra;
	MemoryContext old;
	ListCell   *cell;
	const char *why;
	const char *cure;

	foreach(cell, said)
	{
		if (strcmp(lfirst(cell), feed->kind) == 0)
			return;
	}
	old = MemoryContextSwitchTo(fcinfo->flinfo->fn_mcxt);
	fcinfo->flinfo->fn_extra = lappend(said, pstrdup(feed->kind));
	MemoryContextSwitchTo(old);

	if (!feed_is_indexed(feed, &why, &cure))
		ereport(NOTICE,
				(errmsg("feed \"%s\" cannot be looked up by customer", feed->kind),
				 errdetail_internal("%s", why),
				 errhint("%s", cure)));
}

static void
gather_feed(FunctionCallInfo fcinfo, Gathering *gathering, const Feed *feed, const FeedCustomers *customers)
{
	if (feed->stale)
		feed_error_stale(feed);
	if (!feed->indexed)
		notice_unindexed(fcinfo, feed);

	gathering->feed = feed;
	gathering->rows = 0;
	gathering->names = palloc(sizeof(char *) * (feed->ncolumns + 1));
	for (int i = 0; i < feed->ncolumns; i++)
		gathering->names[i] = feed->columns[i].name;
	feed_read(feed, feed->ncolumns, gathering->names, customers, DT_NOBEGIN, gather_row, gathering, NULL);
	if (gathering->rows > 1 && strcmp(feed->kind, FEED_CUSTOMER) == 0)
		ereport(WARNING,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("there are " UINT64_FORMAT " rows of customer " INT64_FORMAT, gathering->rows, customers->ids[0]),
				 errdetail("The first one that was read is taken."),
				 errhint("The query of crm.define_customers() is to give one row for each customer.")));
}

/* The feeds as they are, and stay while we read them. Who changes them has the locks that we wait for. */
static const List *
held_feeds(void)
{
	for (;;)
	{
		const List *feeds = feed_cached();
		bool		held = true;
		ListCell   *cell;

		foreach(cell, feeds)
		{
			const Feed *feed = lfirst(cell);

			if (!feed->stale && !feed->tracked && !feed_hold(feed))
				held = false;
		}
		if (held)
			return feeds;
		CHECK_FOR_INTERRUPTS();
	}
}

/* Is it one of the kinds that are wanted? NULL: all are. What describes customers always is. */
static bool
is_wanted(const Feed *feed, int count, Datum *kinds)
{
	if (kinds == NULL || feed->customers || strncmp(feed->kind, FEED_CUSTOMER, strlen(FEED_CUSTOMER)) == 0)
		return true;
	for (int i = 0; i < count; i++)
	{
		text	   *kind = DatumGetTextPP(kinds[i]);

		if (strlen(feed->kind) == VARSIZE_ANY_EXHDR(kind) && memcmp(feed->kind, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind)) == 0)
			return true;
	}
	return false;
}

static Datum
profile_of(FunctionCallInfo fcinfo, int64 customer, int nkinds, Datum *kinds)
{
	Gathering	gathering = {0};
	bool		tracked = false;
	bool		pushed = false;
	const List *feeds;
	const FeedCustomers *customers;
	ListCell   *cell;

	check_stack_depth();
	feeds = held_feeds();
	gathering.feeds = feeds;
	if (!ActiveSnapshotSet())
	{
		PushActiveSnapshot(GetTransactionSnapshot());
		pushed = true;
	}
	gathering.hidden = feed_hidden_names(GetUserId());
	customers = feed_customers(1, &customer);
	if (customers->nsought == 0)
	{
		/* an alias: it is the other one who is meant */
		customer = feed_customer_of(customers->aliases, customer);
		customers = feed_customers(1, &customer);
	}
	gathering.builder = profile_builder_create();
	profile_set_customer(gathering.builder, customer);
	foreach(cell, feeds)
	{
		const Feed *feed = lfirst(cell);

		if (!is_wanted(feed, nkinds, kinds))
			continue;
		if (feed->tracked)
			tracked = true;
		else
			gather_feed(fcinfo, &gathering, feed, customers);
	}
	if (tracked)
		feed_read_customer_events(customers, gather_tracked, &gathering);
	if (gathering.total == 0 &&
		!feed_has_rows("SELECT FROM crm.identity WHERE customer_id = ANY ($1) AND source <> 'feed'", customers))
	{
		if (pushed)
			PopActiveSnapshot();
		PG_RETURN_NULL();
	}
	if (pushed)
		PopActiveSnapshot();
	PG_RETURN_PROFILE_P(profile_build(gathering.builder));
}

Datum
crm_feed_profile_of(PG_FUNCTION_ARGS)
{
	return profile_of(fcinfo, PG_GETARG_INT64(0), 0, NULL);
}

/* crm.profile_of_kinds(customer_id, kinds text[]) */
Datum
crm_feed_profile_of_kinds(PG_FUNCTION_ARGS)
{
	Datum	   *kinds;
	bool	   *nulls;
	int			count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), TEXTOID, -1, false, TYPALIGN_INT, &kinds, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("kinds must not be null")));
	}
	return profile_of(fcinfo, PG_GETARG_INT64(0), count, kinds);
}

static Datum
text_array(Datum *items, int count)
{
	return PointerGetDatum(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}

/* For crm.feeds: a row for each feed. */
Datum
crm_feed_status(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	List	   *sources = feed_sources();
	ListCell   *cell;

	InitMaterializedSRF(fcinfo, 0);
	foreach(cell, feed_load())
	{
		Feed	   *feed = lfirst(cell);
		FeedSource *source = feed_source_find(sources, feed->kind);
		Datum		values[9];
		bool		nulls[9] = {false};
		Datum	   *items = palloc(sizeof(Datum) * (feed->ncolumns + 1));
		ListCell   *relation;
		int			n = 0;

		if (source == NULL)
			continue;			/* dropped between the two looks */
		values[0] = CStringGetTextDatum(feed->kind);
		values[1] = CStringGetTextDatum(feed->tracked ? "tracked" : feed->own ? "own" : source->released ? "released" :
										feed->stale || source->stale_reason != NULL ? "stale" : "ok");
		if (feed->why_stale != NULL && !source->released)
			values[2] = CStringGetTextDatum(feed->why_stale);
		else if (source->stale_reason != NULL)
			values[2] = CStringGetTextDatum(source->stale_reason);
		else
			nulls[2] = true;
		if (feed->tracked)
			nulls[3] = true;
		else
			values[3] = CStringGetTextDatum(OidIsValid(feed->owner) ? GetUserNameFromId(feed->owner, false) :
											source->definer);
		values[4] = BoolGetDatum(feed->indexed);
		if (source->key_type != NULL)
			values[5] = CStringGetTextDatum(source->key_type);
		else
			nulls[5] = true;
		for (int i = 0; i < feed->ncolumns; i++)
			items[i] = CStringGetTextDatum(psprintf("%s %s", quote_identifier(feed->columns[i].name),
													OidIsValid(feed->columns[i].type) ?
													format_type_be(feed->columns[i].type) : "array"));
		values[6] = text_array(items, feed->ncolumns);
		items = palloc(sizeof(Datum) * (list_length(feed->relations) + 1));
		foreach(relation, feed->relations)
			items[n++] = ObjectIdGetDatum(lfirst_oid(relation));
		values[7] = PointerGetDatum(construct_array(items, n, REGCLASSOID, sizeof(Oid), true, TYPALIGN_INT));
		if (source->query != NULL)
			values[8] = CStringGetTextDatum(source->query);
		else
			nulls[8] = true;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

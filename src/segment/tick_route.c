/*
 * tick_route.c
 *		What a tick works with: the compiled segments, and what the change log has, put beside the customers' slots.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "feed/capture.h"
#include "feed/feed.h"
#include "segment/population.h"
#include "segment/tick_private.h"

#define CONSUMER "segments"
#define ROUTED_AT_ONCE 10000

uint64
tick_execute(const char *sql, int nargs, Oid *types, Datum *values, bool read_only)
{
	int			code = SPI_execute_with_args(sql, nargs, types, values, NULL, read_only, 0);

	if (code < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(code));
	return SPI_processed;
}

/* The compiled segments, kept until a definition changes. */
static MemoryContext kept_context = NULL;
static SegmentProgram *kept_segments = NULL;
static bool kept_valid = false;
static Oid	kept_relation = InvalidOid;

static void
forget_segments(Datum argument, Oid relid)
{
	(void) argument;

	if (!OidIsValid(relid) || relid == kept_relation)
		kept_valid = false;
}

SegmentProgram *
tick_segments(void)
{
	static bool registered = false;
	MemoryContext building;
	MemoryContext old;

	if (!registered)
	{
		CacheRegisterRelcacheCallback(forget_segments, (Datum) 0);
		registered = true;
	}
	AcceptInvalidationMessages();
	if (kept_valid)
		return kept_segments;
	kept_relation = get_relname_relid("segment", get_namespace_oid("crm", false));
	kept_valid = true;			/* what is heard from here on makes it false again */
	building = AllocSetContextCreate(CurrentMemoryContext, "crm segments", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(building);
	/* newer than whatever was heard of */
	PushActiveSnapshot(GetLatestSnapshot());
	PG_TRY();
	{
		kept_segments = segment_program_load();
	}
	PG_CATCH();
	{
		kept_valid = false;
		kept_segments = NULL;
		PG_RE_THROW();
	}
	PG_END_TRY();
	PopActiveSnapshot();
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(building, CacheMemoryContext);
	if (kept_context != NULL)
		MemoryContextDelete(kept_context);
	kept_context = building;
	return kept_segments;
}

/* What the log gives, on its way to the slots. */
typedef struct Routing
{
	int			count;
	int64		customers[ROUTED_AT_ONCE];
	Datum		slots[ROUTED_AT_ONCE];
	Datum		kinds[ROUTED_AT_ONCE];
	bool		nulls[ROUTED_AT_ONCE];
	bool		merges[ROUTED_AT_ONCE];
	MemoryContext context;		/* of the texts */
	uint64		total;
} Routing;

static void
put_pending(Routing *routing)
{
	Oid			types[] = {INT4ARRAYOID, INT8ARRAYOID, TEXTARRAYOID};
	Datum		values[3];
	int			one = 1;
	int64	   *resolved;

	if (routing->count == 0)
		return;
	/* facts of somebody who was merged are the other one's; but that he was merged is his own concern */
	resolved = palloc(sizeof(int64) * (Size) routing->count);
	memcpy(resolved, routing->customers, sizeof(int64) * (Size) routing->count);
	feed_resolve(routing->count, resolved);
	for (int i = 0; i < routing->count; i++)
	{
		if (!routing->merges[i])
			routing->customers[i] = resolved[i];
		routing->slots[i] = Int32GetDatum(population_slot(routing->customers[i]));
	}
	pfree(resolved);
	values[0] = PointerGetDatum(construct_array(routing->slots, routing->count, INT4OID, sizeof(int32), true, TYPALIGN_INT));
	values[1] = feed_id_array(routing->count, routing->customers);
	values[2] = PointerGetDatum(construct_md_array(routing->kinds, routing->nulls, 1, &routing->count, &one, TEXTOID, -1,
												   false, TYPALIGN_INT));
	(void) tick_execute("INSERT INTO crm.pending (slot, seq, customer_id, kind) "
				   "SELECT u.s, pg_catalog.nextval('crm.pending_seq'), u.c, u.k "
				   "FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u (s, c, k)",
				   3, types, values, false);
	routing->count = 0;
	MemoryContextReset(routing->context);
}

static void
route(void *context, const char *kind, int64 customer)
{
	Routing    *routing = context;
	int			n = routing->count;

	routing->customers[n] = customer;
	routing->nulls[n] = kind == NULL;
	routing->merges[n] = kind != NULL && strcmp(kind, FEED_MERGE) == 0;
	if (kind != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(routing->context);

		routing->kinds[n] = CStringGetTextDatum(kind);
		MemoryContextSwitchTo(old);
	}
	routing->total++;
	if (++routing->count == ROUTED_AT_ONCE)
		put_pending(routing);
}

uint64
tick_route_changes(void)
{
	Routing    *routing = palloc(sizeof(Routing));
	uint64		total;

	routing->count = 0;
	routing->total = 0;
	routing->context = AllocSetContextCreate(CurrentMemoryContext, "routed kinds", ALLOCSET_DEFAULT_SIZES);
	(void) capture_read(CONSUMER, route, routing);
	put_pending(routing);
	total = routing->total;
	MemoryContextDelete(routing->context);
	pfree(routing);
	return total;
}

/*
 * feed_alias.c
 *		Customers who were merged into others: their facts are the others' facts.
 *
 * Nothing is rewritten when two customers turn out to be one. The facts stay where they are, under the id by which they
 * came, and feed_read() gives them out under the id of the customer whom they belong to now. So a merge costs a row, and
 * taking it back costs as little.
 *
 * Attributes are no sequence of facts: a customer has one row of them. Where several ids are one person, the rows are held
 * back until all are read, and become one: what the customer's own row does not know is taken from the others, by id.
 *
 * Those who were erased go the same way, into nothing: the shop may keep their rows, but they have no facts here. An id that
 * was erased is nobody's alias, and nobody is its.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "base/kept_plan.h"
#include "feed/feed_private.h"

typedef struct AliasEntry
{
	int64		alias;
	int64		customer;
	char		status;
} AliasEntry;

#define SH_PREFIX alias_map
#define SH_ELEMENT_TYPE AliasEntry
#define SH_KEY_TYPE int64
#define SH_KEY alias
#define SH_HASH_KEY(tb, key) murmurhash32((uint32) (key) ^ (uint32) ((uint64) (key) >> 32))
#define SH_EQUAL(tb, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

struct FeedAliases
{
	alias_map_hash *customers;	/* of aliases */
	alias_map_hash *merged;		/* those into whom others were merged: each is its own customer */
	alias_map_hash *erased;		/* those whose facts are left out: likewise */
	uint64	   *filter;			/* a bit for each hash of an alias: most ids are none, and that is known without the map */
	int			shift;			/* the hash's bits beyond those of the filter */
};

/* The filter stays in a processor's cache, the map may not. */
#define FILTER_MIN_BITS 10
#define FILTER_MAX_BITS 22

static inline uint64
filter_place(const FeedAliases *aliases, int64 id)
{
	return ((uint64) id * UINT64CONST(0x9e3779b97f4a7c15)) >> aliases->shift;
}

static void
make_filter(FeedAliases *aliases)
{
	int			bits = FILTER_MIN_BITS;
	alias_map_iterator iterator;
	AliasEntry *entry;

	while (bits < FILTER_MAX_BITS && (UINT64CONST(1) << bits) < (uint64) aliases->customers->members * 16)
		bits++;
	aliases->shift = 64 - bits;
	aliases->filter = palloc0(((Size) 1 << bits) / 8);
	alias_map_start_iterate(aliases->customers, &iterator);
	while ((entry = alias_map_iterate(aliases->customers, &iterator)) != NULL)
	{
		uint64		place = filter_place(aliases, entry->alias);

		aliases->filter[place / 64] |= UINT64CONST(1) << (place % 64);
	}
}

/* A row of attributes that waits for the others of the same customer. */
typedef struct HeldRow
{
	int64		customer;
	int64		from;
	Value	   *values;
} HeldRow;

struct FeedFold
{
	const FeedAliases *aliases;
	FeedRow		row;
	void	   *context;
	MemoryContext memory;
	int			nvalues;
	int			count;
	int			room;
	HeldRow    *rows;
};

static FeedAliases *
no_aliases(void)
{
	FeedAliases *aliases = palloc(sizeof(FeedAliases));

	aliases->customers = alias_map_create(CurrentMemoryContext, 16, NULL);
	aliases->merged = alias_map_create(CurrentMemoryContext, 16, NULL);
	aliases->erased = alias_map_create(CurrentMemoryContext, 16, NULL);
	return aliases;
}

/* Rows of an alias and its customer, and of somebody who was erased and NULL. */
static void
take_aliases(FeedAliases *aliases, SPITupleTable *table, uint64 count)
{
	for (uint64 i = 0; i < count; i++)
	{
		bool		isnull;
		bool		found;
		int64		alias = DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 1, &isnull));
		int64		customer = DatumGetInt64(SPI_getbinval(table->vals[i], table->tupdesc, 2, &isnull));

		if (isnull)
		{
			alias_map_insert(aliases->erased, alias, &found)->customer = alias;
			continue;
		}
		alias_map_insert(aliases->customers, alias, &found)->customer = customer;
		alias_map_insert(aliases->merged, customer, &found)->customer = customer;
	}
}

static void
load_all(FeedAliases *aliases, const char *sql)
{
	Portal		portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);

	for (;;)
	{
		SPI_cursor_fetch(portal, true, 10000);
		if (SPI_processed == 0)
			break;
		take_aliases(aliases, SPI_tuptable, SPI_processed);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

/* This is asked for each profile: the plan is kept. */
static void
load_some(FeedAliases *aliases, Datum *values)
{
	static const char *const sql =
		"SELECT a.alias, a.customer_id FROM crm.alias AS a WHERE a.customer_id = ANY ($1) UNION ALL "
		"SELECT a.alias, a.customer_id FROM crm.alias AS a WHERE a.alias = ANY ($1) AND a.customer_id <> ALL ($1) UNION ALL "
		"SELECT e.customer_id, NULL FROM crm.erased_customer AS e WHERE e.customer_id = ANY ($1)";
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID};
	int			probes = probes_begin();

	if (SPI_execute_plan(kept_plan(&kept, sql, 1, types), values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.alias");
	probes_end(probes);
	take_aliases(aliases, SPI_tuptable, SPI_processed);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * Under the active snapshot. Of all customers, or of some: who they are, and who else they are; when they are to stay who
 * they are, only who was erased.
 */
static FeedAliases *
load_aliases(int count, const int64 *ids, bool raw)
{
	FeedAliases *aliases = no_aliases();
	FeedRights	rights;
	Datum		values[1];

	if (ids != NULL)
		values[0] = feed_id_array(count, ids);
	SPI_connect();
	feed_enter_extension(&rights);
	if (ids == NULL)
	{
		if (!raw)
			load_all(aliases, "SELECT a.alias, a.customer_id FROM crm.alias AS a");
		load_all(aliases, "SELECT e.customer_id, NULL::pg_catalog.int8 FROM crm.erased_customer AS e");
	}
	else
		load_some(aliases, values);
	if (raw)
	{
		alias_map_reset(aliases->customers);
		alias_map_reset(aliases->merged);
	}
	feed_leave(&rights);
	SPI_finish();
	make_filter(aliases);
	return aliases;
}

int64
feed_customer_of(const FeedAliases *aliases, int64 id)
{
	uint64		place;
	AliasEntry *entry;

	if (aliases->customers->members == 0)
		return id;
	place = filter_place(aliases, id);
	if ((aliases->filter[place / 64] & (UINT64CONST(1) << (place % 64))) == 0)
		return id;
	entry = alias_map_lookup(aliases->customers, id);
	return entry == NULL ? id : entry->customer;
}

bool
feed_is_erased(const FeedAliases *aliases, int64 id)
{
	return aliases->erased->members > 0 && alias_map_lookup(aliases->erased, id) != NULL;
}

static bool
is_merged(const FeedAliases *aliases, int64 customer)
{
	return aliases->merged->members > 0 && alias_map_lookup(aliases->merged, customer) != NULL;
}

const FeedCustomers *
feed_customers(int count, const int64 *ids)
{
	FeedCustomers *customers = palloc0(sizeof(FeedCustomers));
	FeedAliases *aliases = load_aliases(count, ids, false);
	int64	   *sought = palloc(sizeof(int64) * ((Size) count + aliases->customers->members + 1));
	alias_map_iterator iterator;
	AliasEntry *entry;

	customers->ids = ids;
	customers->count = count;
	customers->aliases = aliases;
	customers->sought = sought;

	/* Whoever is merged into somebody else, or erased, has no facts any more; those who are merged into these have theirs */
	for (int i = 0; i < count; i++)
	{
		if (feed_customer_of(aliases, ids[i]) == ids[i] && !feed_is_erased(aliases, ids[i]))
			sought[customers->nsought++] = ids[i];
	}
	if (aliases->customers->members > 0)
	{
		alias_map_hash *asked = alias_map_create(CurrentMemoryContext, (uint32) count, NULL);
		bool		found;

		for (int i = 0; i < count; i++)
			(void) alias_map_insert(asked, ids[i], &found);
		alias_map_start_iterate(aliases->customers, &iterator);
		while ((entry = alias_map_iterate(aliases->customers, &iterator)) != NULL)
		{
			if (alias_map_lookup(asked, entry->customer) != NULL)
				sought[customers->nsought++] = entry->alias;
		}
		alias_map_destroy(asked);
	}
	return customers;
}

const FeedCustomers *
feed_all_customers(void)
{
	FeedCustomers *customers = palloc0(sizeof(FeedCustomers));

	customers->all = true;
	customers->aliases = load_aliases(0, NULL, false);
	return customers;
}

const FeedCustomers *
feed_raw_customers(int count, const int64 *ids)
{
	FeedCustomers *customers = palloc0(sizeof(FeedCustomers));
	FeedAliases *aliases = load_aliases(Max(count, 0), count < 0 ? NULL : ids, true);

	customers->all = count < 0;
	customers->count = customers->nsought = Max(count, 0);
	customers->ids = customers->sought = ids;
	customers->aliases = aliases;
	return customers;
}

void
feed_resolve(int count, int64 *ids)
{
	const FeedAliases *aliases;

	if (count == 0)
		return;
	aliases = load_aliases(count, ids, false);
	for (int i = 0; i < count; i++)
		ids[i] = feed_customer_of(aliases, ids[i]);
}

Datum
feed_id_array(int count, const int64 *ids)
{
	Size		size = ARR_OVERHEAD_NONULLS(1) + sizeof(int64) * (Size) count;
	ArrayType  *array;

	if (count == 0)
		return PointerGetDatum(construct_empty_array(INT8OID));
	array = palloc(size);
	SET_VARSIZE(array, size);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = INT8OID;
	ARR_DIMS(array)[0] = count;
	ARR_LBOUND(array)[0] = 1;
	memcpy(ARR_DATA_PTR(array), ids, sizeof(int64) * (Size) count);
	return PointerGetDatum(array);
}

FeedFold *
feed_fold_begin(const FeedAliases *aliases, bool attributes, int nvalues, FeedRow row, void *context)
{
	FeedFold   *fold = palloc0(sizeof(FeedFold));

	fold->aliases = aliases;
	fold->row = row;
	fold->context = context;
	fold->nvalues = nvalues;
	if (attributes && aliases->customers->members > 0)
		fold->memory = AllocSetContextCreate(CurrentMemoryContext, "rows of merged customers", ALLOCSET_DEFAULT_SIZES);
	return fold;
}

static void
hold(FeedFold *fold, int64 customer, int64 from, const Value *values)
{
	MemoryContext old = MemoryContextSwitchTo(fold->memory);
	HeldRow    *held;

	if (fold->count == fold->room)
	{
		fold->room = Max(fold->room * 2, 64);
		fold->rows = fold->rows == NULL ? palloc(sizeof(HeldRow) * (Size) fold->room) :
			repalloc_huge(fold->rows, sizeof(HeldRow) * (Size) fold->room);
	}
	held = &fold->rows[fold->count++];
	held->customer = customer;
	held->from = from;
	held->values = palloc(sizeof(Value) * Max(fold->nvalues, 1));
	for (int i = 0; i < fold->nvalues; i++)
		held->values[i] = value_copy(values[i]);
	MemoryContextSwitchTo(old);
}

void
feed_fold_row(FeedFold *fold, int64 from, TimestampTz at, const Value *values)
{
	int64		customer = feed_customer_of(fold->aliases, from);

	if (feed_is_erased(fold->aliases, from))
		return;
	if (fold->memory != NULL && is_merged(fold->aliases, customer))
		hold(fold, customer, from, values);
	else
		fold->row(fold->context, customer, at, values);
}

/* By customer; his own row first, then by id; several of one id by their values, so that the order of reading is nothing. */
static int
compare_held(const void *a, const void *b, void *context)
{
	const HeldRow *x = a;
	const HeldRow *y = b;
	const FeedFold *fold = context;

	if (x->customer != y->customer)
		return x->customer < y->customer ? -1 : 1;
	if (x->from != y->from)
		return x->from == x->customer ? -1 : y->from == y->customer ? 1 : x->from < y->from ? -1 : 1;
	for (int i = 0; i < fold->nvalues; i++)
	{
		int			order = value_compare(x->values[i], y->values[i]);

		if (order != 0)
			return order;
	}
	return 0;
}

void
feed_fold_end(FeedFold *fold)
{
	if (fold->memory == NULL)
		return;
	if (fold->count > 0)
		qsort_arg(fold->rows, fold->count, sizeof(HeldRow), compare_held, fold);
	for (int from = 0, to; from < fold->count; from = to)
	{
		HeldRow    *own = &fold->rows[from];

		for (to = from + 1; to < fold->count && fold->rows[to].customer == own->customer; to++)
		{
			for (int i = 0; i < fold->nvalues && fold->rows[to].from != fold->rows[to - 1].from; i++)
			{
				if (own->values[i].type == VALUE_UNKNOWN)
					own->values[i] = fold->rows[to].values[i];
			}
		}
		fold->row(fold->context, own->customer, 0, own->values);
		/* a second row of one id is not for us to judge */
		for (int i = from + 1; i < to; i++)
		{
			if (fold->rows[i].from == fold->rows[i - 1].from)
				fold->row(fold->context, own->customer, 0, fold->rows[i].values);
		}
		CHECK_FOR_INTERRUPTS();
	}
	MemoryContextDelete(fold->memory);
}

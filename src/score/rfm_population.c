/*
 * rfm_population.c
 *		A population in memory: customers by hash, and their sums.
 *
 * Rows come in no order, so that nearly every one finds its customer's record out of the cache. Therefore rows wait, 64 at a
 * time, while the places that they will need are fetched: that halves the time of a large population. Records lie one after
 * the other and the hash table has only their numbers, so that the table is small and sorting needs no copy.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "score/rfm.h"
#include "score/rfm_population_private.h"

#define FIRST_CUSTOMERS 64
#define MAX_CUSTOMERS ((uint32) 1 << 30)

#define prefetch(address) __builtin_prefetch(address)

/* splitmix64 */
static inline uint64
hash_customer(int64 customer)
{
	uint64		h = (uint64) customer + UINT64CONST(0x9e3779b97f4a7c15);

	h = (h ^ (h >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

RfmPopulation *
rfm_population_allocate(MemoryContext parent, RfmCounting counting, const char *zone)
{
	MemoryContext context = AllocSetContextCreate(parent, "crm.population", ALLOCSET_DEFAULT_SIZES);
	RfmPopulation *population = MemoryContextAllocZero(context, sizeof(RfmPopulation));
	MemoryContext old = MemoryContextSwitchTo(context);

	EOH_init_header(&population->hdr, &rfm_population_methods, context);
	population->magic = RFM_POPULATION_MAGIC;
	population->context = context;
	population->counting = counting;
	population->zone = pstrdup(counting == RFM_BY_DAYS ? zone : "");
	population->ordered = true;
	MemoryContextSwitchTo(old);
	return population;
}

RfmPopulation *
rfm_population_create(MemoryContext parent, RfmCounting counting, const char *zone)
{
	RfmPopulation *population = rfm_population_allocate(parent, counting, zone);

	if (counting == RFM_BY_DAYS)
	{
		MemoryContext old = MemoryContextSwitchTo(population->context);

		population->days = rfm_days_create(zone);
		MemoryContextSwitchTo(old);
	}
	return population;
}

/*
 * Customers.
 */

static void
insert_slot(RfmPopulation *population, uint64 hash, uint32 index)
{
	uint32		mask = population->nslots - 1;
	uint32		place = (uint32) hash & mask;

	while (population->slots[place] != 0)
		place = (place + 1) & mask;
	population->slots[place] = (hash & UINT64CONST(0xffffffff00000000)) | (index + 1);
}

/*
 * A table in which so many more customers find room, half of it empty.
 */
static void
reserve_slots(RfmPopulation *population, uint32 more)
{
	Size		needed = ((Size) population->ncustomers + more) * 2;
	Size		nslots = Max(population->nslots, FIRST_CUSTOMERS * 2);

	if (population->slots != NULL && needed <= population->nslots)
		return;
	while (nslots < needed)
		nslots *= 2;
	if (population->slots != NULL)
		pfree(population->slots);
	population->slots = MemoryContextAllocExtended(population->context, sizeof(uint64) * nslots,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	population->nslots = nslots;
	for (uint32 i = 0; i < population->ncustomers; i++)
		insert_slot(population, hash_customer(population->customers[i].customer), i);
}

/*
 * A customer whom nobody has met yet. The table of slots is the caller's.
 */
uint32
rfm_population_append(RfmPopulation *population, int64 customer, TimestampTz last, uint32 count)
{
	RfmCustomer *record;

	if (population->ncustomers == population->customers_allocated)
	{
		uint32		allocated = Max(population->customers_allocated * 2, FIRST_CUSTOMERS);

		if (allocated > MAX_CUSTOMERS)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("population has too many customers"),
					 errdetail("The limit is %u.", MAX_CUSTOMERS)));
		population->customers = population->customers == NULL ?
			MemoryContextAllocHuge(population->context, sizeof(RfmCustomer) * (Size) allocated) :
			repalloc_huge(population->customers, sizeof(RfmCustomer) * (Size) allocated);
		population->customers_allocated = allocated;
	}
	if (population->ncustomers > 0 && population->customers[population->ncustomers - 1].customer > customer)
		population->ordered = false;
	record = &population->customers[population->ncustomers];
	memset(record, 0, sizeof(RfmCustomer));
	record->customer = customer;
	record->last = last;
	record->count = count;
	return population->ncustomers++;
}

/*
 * The index of a customer, who is made if need be. There is room in the table.
 */
static inline uint32
find_customer(RfmPopulation *population, int64 customer, uint64 hash, TimestampTz at)
{
	uint32		mask = population->nslots - 1;
	uint32		place = (uint32) hash & mask;

	for (;;)
	{
		uint64		slot = population->slots[place];
		uint32		index;

		if (slot == 0)
		{
			index = rfm_population_append(population, customer, at, 0);
			population->slots[place] = (hash & UINT64CONST(0xffffffff00000000)) | (index + 1);
			return index;
		}
		if ((slot ^ hash) >> 32 == 0)
		{
			index = (uint32) slot - 1;
			if (likely(population->customers[index].customer == customer))
				return index;
		}
		place = (place + 1) & mask;
	}
}

/*
 * Rows.
 */

static void
overflow_error(int64 customer)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("number of orders is out of range"),
			 errdetail("The customer is " INT64_FORMAT ".", customer)));
}

static inline void
count_row(RfmPopulation *population, uint32 index, TimestampTz at, Decimal amount, int64 count)
{
	RfmCustomer *record = &population->customers[index];

	if (at > record->last)
		record->last = at;
	if (population->counting == RFM_BY_ROWS)
	{
		if (unlikely(count > PG_UINT32_MAX - record->count))
			overflow_error(record->customer);
		record->count += (uint32) count;
	}
	else
		rfm_population_add_key(population, index,
							   population->counting == RFM_BY_DAYS ? rfm_day(population->days, at) : at, amount);
	rfm_population_add_sum(population, index, amount);
}

/*
 * Room for what waits; all that was computed from the rows is of no use any more.
 */
static void
begin_change(RfmPopulation *population, uint32 more)
{
	reserve_slots(population, more);
	if (population->flat != NULL)
	{
		pfree(population->flat);
		population->flat = NULL;
	}
	if (population->counting == RFM_BY_DAYS && population->days == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(population->context);

		population->days = rfm_days_create(population->zone);
		MemoryContextSwitchTo(old);
	}
}

static void
flush_pending(RfmPopulation *population)
{
	uint64		hashes[RFM_PENDING];
	uint32		mask;
	int			npending = population->npending;

	if (npending == 0)
		return;
	begin_change(population, npending);
	mask = population->nslots - 1;
	for (int i = 0; i < npending; i++)
	{
		hashes[i] = hash_customer(population->pending[i].customer);
		prefetch(&population->slots[(uint32) hashes[i] & mask]);
	}
	for (int i = 0; i < npending; i++)
	{
		uint64		slot = population->slots[(uint32) hashes[i] & mask];

		if (slot != 0 && (slot ^ hashes[i]) >> 32 == 0)
			prefetch(&population->customers[(uint32) slot - 1]);
	}
	population->npending = 0;
	for (int i = 0; i < npending; i++)
	{
		RfmPending *row = &population->pending[i];
		uint32		index = find_customer(population, row->customer, hashes[i], row->at);
		Decimal		amount;

		amount.u.mantissa = row->mantissa;
		amount.scale = row->scale;
		count_row(population, index, row->at, amount, row->count);
	}
}

void
rfm_population_add(RfmPopulation *population, int64 customer, TimestampTz at, const Decimal *amount, int64 count)
{
	RfmPending *row;

	if (unlikely(amount != NULL && amount->scale == DECIMAL_BIG))
	{
		flush_pending(population);
		begin_change(population, 1);
		count_row(population, find_customer(population, customer, hash_customer(customer), at), at, *amount, count);
		return;
	}
	row = &population->pending[population->npending];
	row->customer = customer;
	row->at = at;
	row->mantissa = amount == NULL ? 0 : amount->u.mantissa;
	row->scale = amount == NULL ? 0 : amount->scale;
	row->count = count;
	if (++population->npending == RFM_PENDING)
		flush_pending(population);
}

void
rfm_population_finish(RfmPopulation *population)
{
	flush_pending(population);
	if (population->counting != RFM_BY_ROWS && !population->keys_sorted)
		rfm_population_sort_keys(population);
}

void
rfm_population_mismatch(const RfmPopulation *population, RfmCounting counting, const char *zone)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("populations that are counted in different ways cannot be put together"),
			 population->counting == counting ?
			 errdetail("One is counted by days of time zone \"%s\", one by those of \"%s\".", population->zone, zone) :
			 errdetail("One is counted by %s, one by %s.", rfm_counting_name(population->counting),
					   rfm_counting_name(counting))));
}

void
rfm_population_merge(RfmPopulation *population, RfmPopulation *other)
{
	if (population->counting != other->counting || strcmp(population->zone, other->zone) != 0)
		rfm_population_mismatch(population, other->counting, other->zone);
	rfm_population_finish(other);
	flush_pending(population);
	if (other->scale > population->scale)
		rfm_population_set_scale(population, other->scale);
	begin_change(population, other->ncustomers);
	for (uint32 i = 0; i < other->ncustomers; i++)
	{
		const RfmCustomer *from = &other->customers[i];
		uint32		index = find_customer(population, from->customer, hash_customer(from->customer), from->last);
		RfmCustomer *record = &population->customers[index];
		uint32		nkeys;
		const RfmKey *keys = rfm_population_keys(other, i, &nkeys);

		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (from->last > record->last)
			record->last = from->last;
		if (from->count > PG_UINT32_MAX - record->count)
			overflow_error(from->customer);
		record->count += from->count;
		rfm_population_merge_sum(population, index, other, i);
		for (uint32 k = 0; k < nkeys; k++)
			rfm_population_add_key(population, index, keys[k].key, rfm_population_amount(other, &keys[k]));
	}
}

/*
 * What is read of a population.
 */

RfmCounting
rfm_population_counting(const RfmPopulation *population)
{
	return population->counting;
}

const char *
rfm_population_zone(const RfmPopulation *population)
{
	return population->zone;
}

uint32
rfm_population_size(const RfmPopulation *population)
{
	return population->ncustomers;
}

const RfmCustomer *
rfm_population_customers(const RfmPopulation *population)
{
	return population->customers;
}

/*
 * Counted by rows, nothing else knows the customers' indexes, and the records themselves are put in order: what is asked of
 * them next is asked in that order, and finds one beside the other.
 */
uint32 *
rfm_population_order_by(RfmPopulation *population, RfmSorter *sorter)
{
	uint32		count = population->ncustomers;
	uint32	   *order = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(uint32) * (Size) Max(count, 1));
	RfmCustomer *customers;

	for (uint32 i = 0; i < count; i++)
		order[i] = i;
	if (population->ordered)
		return order;

	for (uint32 i = 0; i < count; i++)
		sorter->keys[i] = rfm_sortable(population->customers[i].customer);
	memcpy(sorter->values, order, sizeof(uint32) * (Size) count);
	rfm_radix_sort(sorter);
	memcpy(order, sorter->values, sizeof(uint32) * (Size) count);
	if (population->counting != RFM_BY_ROWS)
		return order;

	customers = MemoryContextAllocHuge(population->context, sizeof(RfmCustomer) * (Size) population->customers_allocated);
	for (uint32 i = 0; i < count; i++)
	{
		prefetch(&population->customers[order[Min(i + 16, count - 1)]]);
		customers[i] = population->customers[order[i]];
	}
	for (uint32 i = 0; i < count; i++)
		order[i] = i;
	pfree(population->customers);
	population->customers = customers;
	population->ordered = true;
	if (population->slots != NULL)
		pfree(population->slots);
	population->slots = NULL;
	population->nslots = 0;
	return order;
}

uint32 *
rfm_population_order(RfmPopulation *population)
{
	RfmSorter	sorter;
	uint32	   *order;

	if (population->ordered)
		return rfm_population_order_by(population, NULL);
	rfm_sorter_init(&sorter, population->ncustomers);
	order = rfm_population_order_by(population, &sorter);
	rfm_sorter_free(&sorter);
	return order;
}

/*
 * A population as a datum.
 */

static RfmPopulation *
expanded_population(Datum datum)
{
	RfmPopulation *population = (RfmPopulation *) DatumGetEOHP(datum);

	if (population->magic != RFM_POPULATION_MAGIC)
		elog(ERROR, "expanded object is no population");
	return population;
}

RfmPopulation *
rfm_population_from_datum(Datum datum)
{
	RfmPopulation *population;

	if (VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(datum)))
		population = expanded_population(datum);
	else
	{
		struct varlena *flat = PG_DETOAST_DATUM(datum);

		population = rfm_population_decode(CurrentMemoryContext, VARDATA(flat), VARSIZE(flat) - VARHDRSZ);
	}
	rfm_population_finish(population);
	return population;
}

RfmPopulation *
rfm_population_writable(Datum datum, MemoryContext context)
{
	struct varlena *flat;
	RfmPopulation *population;

	if (VARATT_IS_EXTERNAL_EXPANDED_RW(DatumGetPointer(datum)))
		return expanded_population(datum);
	flat = PG_DETOAST_DATUM_COPY(datum);
	population = rfm_population_decode(context, VARDATA(flat), VARSIZE(flat) - VARHDRSZ);
	pfree(flat);
	return population;
}

Datum
rfm_population_datum(RfmPopulation *population)
{
	return EOHPGetRWDatum(&population->hdr);
}

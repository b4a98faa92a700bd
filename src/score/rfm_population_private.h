/*
 * rfm_population_private.h
 *		What the rfm_population*.c files share: the expanded form of a population.
 */
#ifndef CRM_RFM_POPULATION_PRIVATE_H
#define CRM_RFM_POPULATION_PRIVATE_H

#include "compat.h"
#include "score/rfm_population.h"

#define RFM_POPULATION_MAGIC 0x72666d70
#define RFM_PENDING 64
#define RFM_MAX_SHOWN_SCALE 16383	/* digits after the point that numeric can show */

/* A sum that did not fit into 64 bits at the population's scale. */
typedef struct RfmWide
{
	DecimalSum	sum;
	int			shown;			/* of a customer: at what scale his total is shown */
} RfmWide;

/* A row that waits for its place to come into the cache. */
typedef struct RfmPending
{
	int64		customer;
	TimestampTz at;
	int64		mantissa;
	int64		count;
	int			scale;
} RfmPending;

struct RfmPopulation
{
	ExpandedObjectHeader hdr;
	uint32		magic;			/* RFM_POPULATION_MAGIC */
	MemoryContext context;		/* of all that follows; the expanded object's own */
	RfmCounting counting;
	char	   *zone;			/* "" unless counted by days */
	RfmDays    *days;
	int			scale;			/* of all sums and amounts; the greatest of any amount, up to DECIMAL_MAX_SCALE */

	RfmCustomer *customers;
	uint32		ncustomers;
	uint32		customers_allocated;
	bool		ordered;		/* customers ascend by id */

	/*
	 * Open addressing: the upper half of the customer's hash, and below it his index + 1; 0 is empty. NULL until somebody
	 * looks for a customer.
	 */
	uint64	   *slots;
	uint32		nslots;

	RfmKey	   *keys;
	Size		nkeys;
	Size		keys_allocated;
	bool		keys_sorted;	/* by customer and key, each once, and starts is right */
	Size	   *starts;			/* of each customer's keys, and the end */

	RfmWide    *wide;
	int32		nwide;
	int32		wide_allocated;

	int			npending;
	RfmPending	pending[RFM_PENDING];

	char	   *flat;			/* coded, until something changes; or NULL */
	Size		flat_size;
};

/* A signed number as one that sorts the same without sign. */
static inline uint64
rfm_sortable(int64 number)
{
	return (uint64) number ^ UINT64CONST(0x8000000000000000);
}

/* rfm_sort.c: sorts by key, keeping the order of equal ones; the values go with the keys. May be used again and again. */
typedef struct RfmSorter
{
	uint32		count;
	uint64	   *keys;
	uint32	   *values;
	uint64	   *spare_keys;
	uint32	   *spare_values;
} RfmSorter;

extern void rfm_sorter_init(RfmSorter *sorter, uint32 count);
extern void rfm_sorter_free(RfmSorter *sorter);
extern void rfm_radix_sort(RfmSorter *sorter);

/* rfm_population.c: for those who put a population together from its parts. */
extern RfmPopulation *rfm_population_allocate(MemoryContext parent, RfmCounting counting, const char *zone);
extern uint32 rfm_population_append(RfmPopulation *population, int64 customer, TimestampTz last, uint32 count);
extern uint32 *rfm_population_order_by(RfmPopulation *population, RfmSorter *sorter);
pg_noreturn extern void rfm_population_mismatch(const RfmPopulation *population, RfmCounting counting, const char *zone);

/* rfm_money.c */
extern const int64 rfm_power_of_ten[DECIMAL_MAX_SCALE + 1];

extern void rfm_population_set_scale(RfmPopulation *population, int scale);
extern void rfm_population_add_sum(RfmPopulation *population, uint32 customer, Decimal amount);
extern void rfm_population_merge_sum(RfmPopulation *population, uint32 customer, const RfmPopulation *other,
									 uint32 from);
extern void rfm_population_add_beside(RfmPopulation *population, uint32 customer, Decimal amount);
extern int	rfm_shown_scale(const RfmPopulation *population, uint32 customer);
extern void rfm_show_scale(RfmPopulation *population, uint32 customer, int scale);	/* no less than it was */
extern void rfm_add_wide(RfmPopulation *population, int32 *number, Decimal amount);
extern void rfm_move_to_wide(RfmPopulation *population, int32 *number, int64 sum, int scale);
extern Decimal rfm_wide_total(const RfmPopulation *population, int32 number);

/* rfm_keys.c */
extern void rfm_population_add_key(RfmPopulation *population, uint32 customer, int64 key, Decimal amount);
extern void rfm_population_sort_keys(RfmPopulation *population);

/* rfm_population_io.c */
extern const ExpandedObjectMethods rfm_population_methods;
extern RfmPopulation *rfm_population_decode(MemoryContext parent, const char *data, Size size);

#endif							/* CRM_RFM_POPULATION_PRIVATE_H */

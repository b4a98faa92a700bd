/*
 * rfm_population.h
 *		crm.population: when each customer bought, how often and for how much, of all customers at once.
 *
 * This is the state of crm.rfm_agg, and what the functions on the feed read into. Three ways of counting differ in what is
 * kept: by rows only totals of each customer; by orders or by days also each order (rows at one instant) or each local day
 * with its amount, of which CLV and LTV are made.
 *
 * In a backend it is an expanded object: there are few populations, each large. Where it leaves the backend it is flat and
 * delta coded (rfm_population_io.c).
 */
#ifndef CRM_RFM_POPULATION_H
#define CRM_RFM_POPULATION_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/date.h"
#include "utils/expandeddatum.h"

#include "base/decimal.h"

/* The numbers are on disk. */
typedef enum RfmCounting
{
	RFM_BY_ROWS = 0,			/* every row is an order */
	RFM_BY_ORDERS = 1,			/* rows of a customer at one instant are one order */
	RFM_BY_DAYS = 2				/* rows of a customer on one local day are one */
} RfmCounting;

/* Instants to local dates, quickly: what is known of the zone is kept in spans of one offset each. */
typedef struct RfmDays RfmDays;

extern RfmDays *rfm_days_create(const char *zone);	/* error 22023 if there is no such zone */
extern DateADT rfm_day(RfmDays *days, TimestampTz at);

/* Two of them to a cache line: most of the time of a large population is waiting for one. */
typedef struct RfmCustomer
{
	int64		customer;
	TimestampTz last;
	int64		sum;			/* of money, times 10^scale of the population; and what is beside it */
	uint32		count;			/* rows, or the orders that they stand for; counted by orders or days: 0 */
	uint32		detail;			/* private to rfm_money.c */
} RfmCustomer;

StaticAssertDecl(sizeof(RfmCustomer) == 32, "RfmCustomer should stay at 32 bytes");

/* An order or a day of a customer. */
typedef struct RfmKey
{
	int64		key;			/* the instant, or the date */
	int64		amount;			/* as sum above */
	uint32		customer;		/* index of the customer */
	int32		wide;			/* number of the sum beside it; 0: none */
} RfmKey;

typedef struct RfmPopulation RfmPopulation;

extern RfmPopulation *rfm_population_create(MemoryContext parent, RfmCounting counting, const char *zone);

/*
 * A row. The amount may be NULL: an order whose amount is not known adds none. count is how many orders the row stands for,
 * counted by rows, and 1 otherwise. An infinite instant is an error of the caller. Errors: 54000 for more customers than
 * 2^30, 22003 when the number of orders is 2^32 or more.
 */
extern void rfm_population_add(RfmPopulation *population, int64 customer, TimestampTz at, const Decimal *amount,
							   int64 count);

/* Adds all of another one; error 22023 if it is counted otherwise. */
extern void rfm_population_merge(RfmPopulation *population, RfmPopulation *other);

/* Must be called before the functions below; more rows may follow. */
extern void rfm_population_finish(RfmPopulation *population);

extern RfmCounting rfm_population_counting(const RfmPopulation *population);
extern const char *rfm_population_zone(const RfmPopulation *population);	/* "" when counted by rows or orders */
extern uint32 rfm_population_size(const RfmPopulation *population);
extern const RfmCustomer *rfm_population_customers(const RfmPopulation *population);

/* The orders or days of a customer by his index, ascending by key; none when counted by rows. */
extern const RfmKey *rfm_population_keys(const RfmPopulation *population, uint32 customer, uint32 *count);

/* Indexes of the customers, ascending by id; palloc'd. May change the indexes, so to be asked for before these are used. */
extern uint32 *rfm_population_order(RfmPopulation *population);

/* Exact, shown with as many digits as numeric's sum would have. Error 22003 when out of numeric's range. */
extern Decimal rfm_population_total(const RfmPopulation *population, uint32 customer);
extern Decimal rfm_population_amount(const RfmPopulation *population, const RfmKey *key);

/* All totals as integers of one scale, if each is one: the quick way to sort. */
extern bool rfm_population_small_totals(const RfmPopulation *population, const uint32 *order, int64 *totals);

/* An argument, flat or not; the result is only to be read. */
extern RfmPopulation *rfm_population_from_datum(Datum datum);

/* The state of an aggregate, to be written to; a flat one is expanded into the context. */
extern RfmPopulation *rfm_population_writable(Datum datum, MemoryContext context);

extern Datum rfm_population_datum(RfmPopulation *population);

#endif							/* CRM_RFM_POPULATION_H */

/*
 * zones.h
 *		The time zones of customers.
 */
#ifndef CRM_ZONES_H
#define CRM_ZONES_H

#include "postgres.h"

typedef struct Zones
{
	int			count;
	const int64 *customers;		/* ascending */
	text	  **names;			/* NULL: he has none of his own */
	const char **errors;		/* why his cannot be read; NULL: it could */
	text	   *shop;			/* of all others */
} Zones;

/* Of customers, ascending, each once; under the active snapshot, connected to SPI, in CurrentMemoryContext. */
extern const Zones *zones_load(int count, const int64 *customers);

/* Of one of them. The error is NULL where there was none. */
extern text *zone_of(const Zones *zones, int64 customer);
extern const char *zone_error(const Zones *zones, int64 customer);

#endif							/* CRM_ZONES_H */

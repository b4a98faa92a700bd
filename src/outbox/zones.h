/*
 * zones.h
 *		The time zones of customers.
 */
#ifndef CRM_ZONES_H
#define CRM_ZONES_H

#include "postgres.h"

typedef struct Zones
{
	int			count;			/* of those who have one of their own */
	int64	   *customers;		/* ascending */
	text	  **names;
	text	   *shop;			/* of all others */
} Zones;

/* Under the active snapshot, connected to SPI, in CurrentMemoryContext. */
extern const Zones *zones_load(int count, const int64 *customers);

extern text *zone_of(const Zones *zones, int64 customer);

#endif							/* CRM_ZONES_H */

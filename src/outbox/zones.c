/*
 * zones.c
 *		The time zones of customers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/clock.h"
#include "base/compare.h"
#include "base/contain.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "feed/feed.h"
#include "outbox/zones.h"

static void
read_zones(void *argument, int first, int count)
{
	static SPIPlanPtr kept = NULL;
	Zones	   *zones = argument;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {feed_id_array(count, zones->customers + first)};

	kept_execute(&kept, "SELECT z.customer_id, z.zone FROM crm.zones_of($1) AS z", 1, types, values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
		zones->names[int64_place(zones->customers, zones->count, row_int64(i, 1))] = DatumGetTextPCopy(row_value(i, 2));
	SPI_freetuptable(SPI_tuptable);
}

static void
cannot_read(void *argument, int number, const char *error)
{
	Zones	   *zones = argument;

	zones->errors[number] = error;
}

const Zones *
zones_load(int count, const int64 *customers)
{
	Zones	   *zones = palloc0(sizeof(Zones));

	zones->shop = cstring_to_text(clock_timezone());
	zones->count = count;
	zones->customers = customers;
	zones->names = palloc0(sizeof(text *) * (Size) count);
	zones->errors = palloc0(sizeof(char *) * (Size) count);
	contain_each(count, read_zones, cannot_read, zones);
	return zones;
}

text *
zone_of(const Zones *zones, int64 customer)
{
	text	   *name = zones->names[int64_place(zones->customers, zones->count, customer)];

	return name != NULL ? name : zones->shop;
}

const char *
zone_error(const Zones *zones, int64 customer)
{
	return zones->errors[int64_place(zones->customers, zones->count, customer)];
}

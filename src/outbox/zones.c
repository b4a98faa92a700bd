/*
 * zones.c
 *		The time zones of customers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/clock.h"
#include "base/compare.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "feed/feed.h"
#include "outbox/zones.h"

const Zones *
zones_load(int count, const int64 *customers)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {feed_id_array(count, customers)};
	Zones	   *zones = palloc0(sizeof(Zones));

	zones->shop = cstring_to_text(clock_timezone());
	zones->count = (int) kept_execute(&kept, "SELECT z.customer_id, z.zone FROM crm.zones_of($1) AS z ORDER BY 1",
									  1, types, values, NULL, true);
	zones->customers = palloc(sizeof(int64) * (Size) zones->count);
	zones->names = palloc(sizeof(text *) * (Size) zones->count);
	for (int i = 0; i < zones->count; i++)
	{
		zones->customers[i] = row_int64(i, 1);
		zones->names[i] = DatumGetTextPCopy(row_value(i, 2));
	}
	SPI_freetuptable(SPI_tuptable);
	return zones;
}

text *
zone_of(const Zones *zones, int64 customer)
{
	int			place = int64_place(zones->customers, zones->count, customer);

	return place < zones->count && zones->customers[place] == customer ? zones->names[place] : zones->shop;
}

/*
 * identity.c
 *		Phones, addresses and cards of the customers' feed, as identities. The work is that of crm.sync_identities().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "customer/identity.h"

void
identity_sync(const FeedCustomers *customers)
{
	const Feed *feed = feed_find(feed_cached(), FEED_CUSTOMER);
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {customers == NULL ? (Datum) 0 : feed_id_array(customers->nsought, customers->sought)};

	if (feed == NULL || feed->stale || feed->ncolumns == 0)
		return;
	if (SPI_execute_with_args("SELECT crm.sync_identities($1)", 1, types, values, customers == NULL ? "n" : " ", false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not look at identities");
	SPI_freetuptable(SPI_tuptable);
}

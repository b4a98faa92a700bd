/*
 * identity.c
 *		Who it is that calls: crm.find_customer(). And phones, addresses and cards of the customers' feed, which become
 *		identities by crm.sync_identities().
 *
 * A caller is looked up while it rings, so the plan is kept: that of a function in SQL would be made for each call.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/kept_plan.h"
#include "base/setting.h"
#include "customer/identity.h"

PG_FUNCTION_INFO_V1(crm_customer_find);

Datum
identity_sync(const FeedCustomers *customers)
{
	const Feed *feed = feed_find(feed_cached(), FEED_CUSTOMER);
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {customers == NULL ? (Datum) 0 : feed_id_array(customers->nsought, customers->sought)};
	Datum		changed;
	bool		isnull;

	if (feed == NULL || feed->stale || feed->ncolumns == 0)
		return (Datum) 0;
	if (SPI_execute_with_args("SELECT crm.sync_identities($1)", 1, types, values, customers == NULL ? "n" : " ", false, 1) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not look at identities");
	changed = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (isnull || ArrayGetNItems(ARR_NDIM(DatumGetArrayTypeP(changed)), ARR_DIMS(DatumGetArrayTypeP(changed))) == 0)
		changed = (Datum) 0;
	else
		changed = PointerGetDatum(DatumGetArrayTypePCopy(changed));
	SPI_freetuptable(SPI_tuptable);
	return changed;
}

/* Whose country is not told is the shop's. Most numbers come with their own, and then the setting need not be read. */
static bool
needs_country(const text *namespace, const text *value)
{
	const char *from = VARDATA_ANY(value);
	const char *end = from + VARSIZE_ANY_EXHDR(value);

	if (VARSIZE_ANY_EXHDR(namespace) != strlen("phone") || memcmp(VARDATA_ANY(namespace), "phone", strlen("phone")) != 0)
		return false;
	while (from < end && *from == ' ')
		from++;
	return from == end || *from != '+';
}

Datum
crm_customer_find(PG_FUNCTION_ARGS)
{
	static const char *const sql =
		"SELECT coalesce((SELECT a.customer_id FROM crm.alias AS a WHERE a.alias = f.customer_id), f.customer_id) "
		"FROM (SELECT i.customer_id FROM crm.identity AS i "
		"WHERE i.namespace = $1 AND i.value = crm.normal_form($1, $2, $3) ORDER BY i.added_at, i.customer_id LIMIT 1) AS f";
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[3];
	char		nulls[3] = {' ', ' ', ' '};
	int64		result = 0;
	bool		isnull = true;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	values[0] = PointerGetDatum(PG_GETARG_TEXT_PP(0));
	values[1] = PointerGetDatum(PG_GETARG_TEXT_PP(1));
	values[2] = PG_ARGISNULL(2) ? (Datum) 0 : PG_GETARG_DATUM(2);
	if (PG_ARGISNULL(2) && needs_country(PG_GETARG_TEXT_PP(0), PG_GETARG_TEXT_PP(1)))
	{
		char	   *country = setting_read("country");

		values[2] = country == NULL ? (Datum) 0 : CStringGetTextDatum(country);
	}
	if (values[2] == (Datum) 0)
		nulls[2] = 'n';

	SPI_connect();
	if (SPI_execute_plan(kept_plan(&kept, sql, lengthof(types), types), values, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.identity");
	if (SPI_processed > 0)
		result = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_INT64(result);
}

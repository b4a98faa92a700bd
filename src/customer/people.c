/*
 * people.c
 *		Whether what a transaction sees of people is still so: crm.check_people() and crm.check_identity().
 *
 * A lock keeps others from changing who is who at the same time. It does not show what they have changed before, to a
 * transaction that keeps its snapshot: that one would make two people each other's alias, or one visitor two.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/snapmgr.h"

#include "customer/identity.h"

PG_FUNCTION_INFO_V1(crm_customer_check_people);
PG_FUNCTION_INFO_V1(crm_customer_check_identity);

/* What a query of one text says, under the active snapshot. */
static char *
ask(const char *sql, int nargs, Oid *types, Datum *values)
{
	if (SPI_execute_with_args(sql, nargs, types, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "could not look at people");
	return SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
}

static void
check_newest(const char *sql, int nargs, Oid *types, Datum *values)
{
	const char *seen;
	const char *newest;

	if (!IsolationUsesXactSnapshot())
		return;
	SPI_connect();
	seen = ask(sql, nargs, types, values);
	PushActiveSnapshot(GetLatestSnapshot());
	newest = ask(sql, nargs, types, values);
	PopActiveSnapshot();
	if (strcmp(seen, newest) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent update"),
				 errdetail("Somebody else has told who these people are since this transaction began."),
				 errhint("The transaction might succeed if retried.")));
	SPI_finish();
}

/* crm.check_people(ids bigint[]) */
Datum
crm_customer_check_people(PG_FUNCTION_ARGS)
{
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {PG_GETARG_DATUM(0)};

	check_newest("SELECT pg_catalog.concat((SELECT pg_catalog.array_agg(a ORDER BY a.alias) FROM crm.alias AS a "
				 "WHERE a.alias OPERATOR(pg_catalog.=) ANY ($1) OR a.customer_id OPERATOR(pg_catalog.=) ANY ($1)), "
				 "(SELECT pg_catalog.array_agg(l ORDER BY l.customer_a, l.customer_b) FROM crm.cannot_link AS l "
				 "WHERE l.customer_a OPERATOR(pg_catalog.=) ANY ($1) OR l.customer_b OPERATOR(pg_catalog.=) ANY ($1)))",
				 1, types, values);
	PG_RETURN_VOID();
}

/* crm.check_identity(namespace text, value text) */
Datum
crm_customer_check_identity(PG_FUNCTION_ARGS)
{
	Oid			types[] = {TEXTOID, TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};

	check_newest("SELECT pg_catalog.concat(pg_catalog.array_agg(i.customer_id ORDER BY i.customer_id)) FROM crm.identity AS i "
				 "WHERE i.namespace OPERATOR(pg_catalog.=) $1 AND i.value OPERATOR(pg_catalog.=) $2", 2, types, values);
	PG_RETURN_VOID();
}

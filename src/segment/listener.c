/*
 * listener.c
 *		Telling listeners.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"

#include "segment/listener.h"

static void
call(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	int			code = SPI_execute_with_args(sql, nargs, types, values, nulls, false, 0);

	if (code != SPI_OK_SELECT)
		elog(ERROR, "could not tell listeners: %s", SPI_result_code_string(code));
	SPI_freetuptable(SPI_tuptable);
}

/* Not read-only: with a snapshot that is newer than the locks. */
bool
listeners_exist(void)
{
	bool		exist;

	if (SPI_execute("SELECT FROM crm.listener LIMIT 1", false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.listener");
	exist = SPI_processed > 0;
	SPI_freetuptable(SPI_tuptable);
	return exist;
}

void
listeners_tell(Datum customers)
{
	Oid			types[] = {INT8ARRAYOID};

	call("SELECT crm.tell_listeners($1)", 1, types, &customers, customers == (Datum) 0 ? "n" : " ");
}

void
listeners_tell_moves(Datum customers, Datum segments)
{
	Oid			types[] = {INT8ARRAYOID, INT4ARRAYOID};
	Datum		values[] = {customers, segments};

	call("SELECT crm.tell_moves($1, $2)", 2, types, values, NULL);
}

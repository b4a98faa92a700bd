/*
 * newest.c
 *		The template that is used: crm.newest_template().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"

#include "base/kept_plan.h"
#include "base/row.h"
#include "compat.h"
#include "template/template.h"

PG_FUNCTION_INFO_V1(crm_template_newest);

/* Of this very language, else of the one without its country, else of none. */
#define FROM_NEWEST \
	" FROM crm.template AS t WHERE t.template = $1 AND t.channel = $2 AND NOT t.dropped " \
	"AND t.language IN ($3, substring($3 FROM '^[a-z]+'), '') ORDER BY length(t.language) DESC, t.version DESC LIMIT 1"

Jsonb *
template_newest(const char *template, const char *channel, const char *language)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {CStringGetTextDatum(template), CStringGetTextDatum(channel), CStringGetTextDatum(language)};
	Jsonb	   *parts = NULL;

	if (kept_execute(&kept, "SELECT t.parts" FROM_NEWEST, 3, types, values, NULL, true) > 0)
		parts = DatumGetJsonbPCopy(row_value(0, 1));
	SPI_freetuptable(SPI_tuptable);
	return parts;
}

/* crm.newest_template(template, channel, language) */
Datum
crm_template_newest(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TEXTOID, TEXTOID};
	Datum		values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2)};
	Datum		result = (Datum) 0;
	bool		found;

	SPI_connect();
	found = kept_execute(&kept, "SELECT t" FROM_NEWEST, 3, types, values, NULL, true) > 0;
	if (found)
		result = SPI_datumTransfer(row_value(0, 1), false, -1);
	SPI_finish();
	if (!found)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}

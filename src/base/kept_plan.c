/*
 * kept_plan.c
 *		Plans of our own statements, kept for the session.
 */
#include "postgres.h"

#include "base/kept_plan.h"

SPIPlanPtr
kept_plan(SPIPlanPtr *kept, const char *sql, int nargs, Oid *types)
{
	if (*kept == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare_cursor(sql, nargs, types, CURSOR_OPT_GENERIC_PLAN);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
		*kept = plan;
	}
	return *kept;
}

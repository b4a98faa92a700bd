/*
 * kept_plan.c
 *		Plans of our own statements, kept for the session.
 */
#include "postgres.h"

#include "utils/guc.h"

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

uint64
kept_execute(SPIPlanPtr *kept, const char *sql, int nargs, Oid *types, Datum *values, const bool *nulls, bool read_only)
{
	char		spi_nulls[FUNC_MAX_ARGS];
	int			result;

	Assert(nargs <= FUNC_MAX_ARGS);
	for (int i = 0; i < nargs; i++)
		spi_nulls[i] = nulls != NULL && nulls[i] ? 'n' : ' ';
	result = SPI_execute_plan(kept_plan(kept, sql, nargs, types), values, spi_nulls, read_only, 0);
	if (result < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}

int
probes_begin(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("enable_seqscan", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return level;
}

void
probes_end(int probes)
{
	AtEOXact_GUC(true, probes);
}

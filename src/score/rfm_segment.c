/*
 * rfm_segment.c
 *		Names of segments for scores, by the maps in crm.rfm_map.
 *
 * A map is read as a whole, once a query or a call site, into a cube of 9 x 9 x 9 names.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_rfm_segment);

static int
get_score(HeapTuple row, TupleDesc desc, int column)
{
	bool		isnull;

	return DatumGetInt32(SPI_getbinval(row, desc, column, &isnull));
}

RfmMap *
rfm_map_load(const char *name)
{
	MemoryContext context = CurrentMemoryContext;
	RfmMap	   *map = palloc0(sizeof(RfmMap));
	Oid			type = TEXTOID;
	Datum		argument = CStringGetTextDatum(name);

	SPI_connect();
	/* The row of least priority comes last, and stays. */
	if (SPI_execute_with_args("SELECT segment, r_low, r_high, f_low, f_high, m_low, m_high FROM crm.rfm_map"
							  " WHERE map OPERATOR(pg_catalog.=) $1 ORDER BY priority DESC",
							  1, &type, &argument, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.rfm_map");
	if (SPI_processed == 0)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("RFM map \"%s\" does not exist", name),
				 errhint("A map is the rows of its name in crm.rfm_map.")));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple	row = SPI_tuptable->vals[i];
		TupleDesc	desc = SPI_tuptable->tupdesc;
		char	   *segment = MemoryContextStrdup(context, SPI_getvalue(row, desc, 1));

		for (int r = get_score(row, desc, 2); r <= get_score(row, desc, 3); r++)
		{
			for (int f = get_score(row, desc, 4); f <= get_score(row, desc, 5); f++)
			{
				for (int m = get_score(row, desc, 6); m <= get_score(row, desc, 7); m++)
					map->names[r - 1][f - 1][m - 1] = segment;
			}
		}
	}
	SPI_finish();
	return map;
}

typedef struct SegmentCache
{
	MemoryContext context;
	text	   *name;
	RfmMap	   *map;
} SegmentCache;

Datum
crm_score_rfm_segment(PG_FUNCTION_ARGS)
{
	SegmentCache *cache = fcinfo->flinfo->fn_extra;
	text	   *name = PG_GETARG_TEXT_PP(1);
	const char *segment;

	if (cache == NULL || VARSIZE_ANY_EXHDR(name) != VARSIZE_ANY_EXHDR(cache->name) ||
		memcmp(VARDATA_ANY(name), VARDATA_ANY(cache->name), VARSIZE_ANY_EXHDR(name)) != 0)
	{
		MemoryContext context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "crm.rfm_map", ALLOCSET_SMALL_SIZES);
		MemoryContext old = MemoryContextSwitchTo(context);
		SegmentCache *fresh = palloc(sizeof(SegmentCache));

		fresh->context = context;
		fresh->map = rfm_map_load(text_to_cstring(name));
		fresh->name = (text *) PG_DETOAST_DATUM_COPY(PointerGetDatum(name));
		MemoryContextSwitchTo(old);
		if (cache != NULL)
			MemoryContextDelete(cache->context);
		cache = fcinfo->flinfo->fn_extra = fresh;
	}
	segment = rfm_map_segment(cache->map, PG_GETARG_RFM(0));
	if (segment == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(segment));
}

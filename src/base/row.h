/*
 * row.h
 *		Values of the rows that the last statement gave to SPI.
 */
#ifndef CRM_ROW_H
#define CRM_ROW_H

#include "postgres.h"

#include "access/htup_details.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* The row taken apart, for who wants many of its columns. */
static inline void
row_deform(uint64 row, Datum *values, bool *nulls)
{
	heap_deform_tuple(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, values, nulls);
}

/* Columns are counted from 1. */
static inline Datum
row_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

/* A value that is never NULL. */
static inline Datum
row_value(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	if (isnull)
		elog(ERROR, "unexpected NULL in column %d", column);
	return value;
}

static inline int64
row_int64(uint64 row, int column)
{
	return DatumGetInt64(row_value(row, column));
}

static inline bool
row_bool(uint64 row, int column)
{
	return DatumGetBool(row_value(row, column));
}

/* A text in CurrentMemoryContext; NULL for NULL. */
static inline char *
row_text(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* An instant, and what stands for NULL. */
static inline TimestampTz
row_instant(uint64 row, int column, TimestampTz otherwise)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

#endif							/* CRM_ROW_H */

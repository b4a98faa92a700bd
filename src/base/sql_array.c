/*
 * sql_array.c
 *		Values as an SQL array, for parameters of statements.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "storage/itemptr.h"
#include "utils/array.h"

#include "base/sql_array.h"

Datum
sql_array(const Datum *values, int count, Oid type)
{
	Datum	   *elements = unconstify(Datum *, values);
	ArrayType  *array = NULL;

	switch (type)
	{
		case INT2OID:
			array = construct_array(elements, count, type, sizeof(int16), true, TYPALIGN_SHORT);
			break;
		case INT4OID:
			array = construct_array(elements, count, type, sizeof(int32), true, TYPALIGN_INT);
			break;
		case INT8OID:
		case TIMESTAMPTZOID:
			array = construct_array(elements, count, type, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
			break;
		case TIDOID:
			array = construct_array(elements, count, type, sizeof(ItemPointerData), false, TYPALIGN_SHORT);
			break;
		case TEXTOID:
			array = construct_array(elements, count, type, -1, false, TYPALIGN_INT);
			break;
		default:
			elog(ERROR, "unexpected type %u of an array", type);
	}
	return PointerGetDatum(array);
}

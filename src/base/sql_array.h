/*
 * sql_array.h
 *		Values as an SQL array, for parameters of statements.
 */
#ifndef CRM_SQL_ARRAY_H
#define CRM_SQL_ARRAY_H

#include "postgres.h"

/* Of one of the types that it knows; none is NULL. In CurrentMemoryContext. */
extern Datum sql_array(const Datum *values, int count, Oid type);

#endif							/* CRM_SQL_ARRAY_H */

/*
 * name_list.h
 *		Lists of names.
 */
#ifndef CRM_NAME_LIST_H
#define CRM_NAME_LIST_H

#include "postgres.h"

#include "nodes/pg_list.h"

/* Is it one of a list of const char *? */
static inline bool
name_list_has(const List *names, const char *name, int length)
{
	ListCell   *cell;

	foreach(cell, names)
	{
		const char *other = lfirst(cell);

		if ((int) strlen(other) == length && memcmp(other, name, length) == 0)
			return true;
	}
	return false;
}

#endif							/* CRM_NAME_LIST_H */

/*
 * contain.h
 *		Doing something whose error is not to be the caller's.
 */
#ifndef CRM_CONTAIN_H
#define CRM_CONTAIN_H

#include "postgres.h"

/*
 * Does it in a subtransaction. NULL if it succeeded; else what it did is undone, and the error is given, in
 * CurrentMemoryContext. Only a cancelled or terminated session is not held up: that goes on to the caller's caller.
 */
typedef void (*Contained) (void *argument);
extern ErrorData *contain(Contained what, void *argument);

/*
 * Does it for count things together, and if that has an error, for each by itself, so that one keeps no others from it; but not
 * where the error is none of theirs, as that of a table which is not there, or is locked. Each that has one is told. Beside
 * parallel workers there is no subtransaction: there the error is the caller's.
 */
typedef void (*ContainedOfMany) (void *argument, int first, int count);
typedef void (*ContainedFailure) (void *argument, int number, const char *error);
extern void contain_each(int count, ContainedOfMany what, ContainedFailure failed, void *argument);

#endif							/* CRM_CONTAIN_H */

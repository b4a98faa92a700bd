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

#endif							/* CRM_CONTAIN_H */

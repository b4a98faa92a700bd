/*
 * listener.h
 *		Telling those above who want to hear of customers by name (crm.listener): who has moved between segments, and whose
 *		addresses, consents or identity may have changed.
 *
 * Under the lock of the customers' slots, connected to SPI: who becomes a listener has all of these first, so that each change
 * is either told or there before he looks.
 */
#ifndef CRM_LISTENER_H
#define CRM_LISTENER_H

#include "postgres.h"

/* Is anybody there? Cheaper than to gather what nobody wants. */
extern bool listeners_exist(void);

/* Customers as bigint[]; (Datum) 0: everybody. */
extern void listeners_tell(Datum customers);

/* Each with the segment that he has entered or left: bigint[], int[]. */
extern void listeners_tell_moves(Datum customers, Datum segments);

#endif							/* CRM_LISTENER_H */

/*
 * slot.h
 *		Who may write memberships: customers fall into slots, and a writer has the slot's lock.
 *
 * A writer takes the locks of the slots he writes to, then a new snapshot, and keeps the locks to the end of his transaction:
 * so he sees what the writer before him wrote, and nothing newer is overwritten by something older. Whoever waits for
 * several slots takes them in ascending order. The tick waits for none: what others have it leaves to them.
 *
 * How far a slot has come is kept where segments are live, that is, where crm.tick() has ever been called.
 */
#ifndef CRM_SLOT_H
#define CRM_SLOT_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "segment/population.h"

typedef struct Slot
{
	int64		turn;			/* rises with each change; 0 when segments are not live */
	int64		position;		/* what is pending up to here is done */
	int64		purged;			/* and is gone up to here */
	TimestampTz watermark;		/* deadlines up to here are done: what is stored is right at this instant */
} Slot;

extern bool slot_lock(int slot, bool wait);

/* For who reads all facts, which takes long: one at a time. While he works, what is pending is not purged. */
extern bool slot_lock_refresh(bool wait);
extern bool slot_refresh_is_running(void);	/* and none begins before the end of our transaction, if not */

/* The slots as the active snapshot sees them; false, and all zero, when segments are not live. Connected to SPI, as below. */
extern bool slot_load(Slot slots[POPULATION_SLOTS]);

/* Stores a slot that is locked. */
extern void slot_store(int number, const Slot *slot);

/* Makes segments live: all slots at their beginning. */
extern void slot_begin(void);

#endif							/* CRM_SLOT_H */

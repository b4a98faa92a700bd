/*
 * run.h
 *		One tick after the other.
 */
#ifndef CRM_RUN_H
#define CRM_RUN_H

#include "postgres.h"

#include "datatype/timestamp.h"

typedef struct TickOutcome
{
	int64		done;			/* changes and deadlines that were worked on */
	bool		refreshed;
	bool		more;			/* there is more to do */
	TimestampTz due;			/* of followers: when there will be, by the clock of crm.now(); DT_NOEND for never */
} TickOutcome;

/*
 * Calls crm.tick() in the transaction that runs, with an active snapshot and connected to SPI. An error of it is stored in
 * crm.tick_error, and gives false; a cancelled or terminated session is not held up.
 */
extern bool run_one_tick(int max_customers, bool mend, TickOutcome *outcome);

/*
 * Calls those who follow a tick (crm.follower), likewise, in another transaction: what they find is committed then. False if
 * one had an error; the others have done their work.
 */
extern bool run_followers(int max_customers, TickOutcome *outcome);

#endif							/* CRM_RUN_H */

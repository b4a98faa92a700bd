/*
 * run.h
 *		One tick after the other.
 */
#ifndef CRM_RUN_H
#define CRM_RUN_H

#include "postgres.h"

typedef struct TickOutcome
{
	int64		done;			/* changes and deadlines that were worked on */
	bool		refreshed;
	bool		more;			/* there is more to do */
} TickOutcome;

/*
 * Calls crm.tick() in the transaction that runs, with an active snapshot and connected to SPI. An error of it is stored in
 * crm.tick_error, and gives false; a cancelled or terminated session is not held up.
 */
extern bool run_one_tick(int max_customers, bool mend, TickOutcome *outcome);

#endif							/* CRM_RUN_H */

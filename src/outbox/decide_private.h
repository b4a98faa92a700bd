/*
 * decide_private.h
 *		What decisions share.
 */
#ifndef CRM_DECIDE_PRIVATE_H
#define CRM_DECIDE_PRIVATE_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "outbox/decide.h"

/* A row of crm.guard. */
typedef struct Guard
{
	int			id;
	const Predicate *trigger;	/* NULL: none */
	const Predicate *goal;		/* likewise */
	int			holdout;
	const char *salt;
	bool		paused;
	bool		stopped;
} Guard;

typedef struct Decision
{
	DueMessage *messages;
	int			count;
	TimestampTz at;
	List	   *guards;			/* of Guard * */
	const Zones *zones;			/* NULL: nobody has asked yet */
} Decision;

/* Of a message; NULL: it has none. */
static inline const Guard *
guard_of(const Decision *decision, const DueMessage *message)
{
	ListCell   *cell;

	foreach(cell, decision->guards)
	{
		const Guard *guard = lfirst(cell);

		if (guard->id == message->guard)
			return guard;
	}
	return NULL;
}

/* decide_facts.c: void, goal, condition */
extern void decide_by_facts(Decision *decision);

/* decide_quiet.c */
extern void decide_by_quiet_hours(Decision *decision);

#endif							/* CRM_DECIDE_PRIVATE_H */

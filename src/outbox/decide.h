/*
 * decide.h
 *		Whether messages may go: by what is known of them, of their customers, and of what these have had.
 */
#ifndef CRM_DECIDE_H
#define CRM_DECIDE_H

#include "postgres.h"

#include "outbox/due_message.h"
#include "outbox/zones.h"

/*
 * Decides, under the active snapshot, connected to SPI; writes nothing. Of persons whom a cap binds, all is to be among them that
 * goes before what is to be decided.
 */
extern void decide_messages(DueMessage *messages, int count, TimestampTz at);

/*
 * cap.c: of what is not decided against, that for which the caps leave no room. Zones are read when they are needed; *zones may
 * have been, then it has all these persons.
 */
extern void decide_by_caps(DueMessage *messages, int count, TimestampTz at, const Zones **zones);

#endif							/* CRM_DECIDE_H */

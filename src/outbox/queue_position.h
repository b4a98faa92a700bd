/*
 * queue_position.h
 *		Where a session looks for the next message of a queue.
 */
#ifndef CRM_QUEUE_POSITION_H
#define CRM_QUEUE_POSITION_H

#include "postgres.h"

#include "datatype/timestamp.h"

#define QUEUE_LANES 10			/* of priority 0 to 9 */

/* Nothing that is to be handed out lies before it, as far as this session knows. */
typedef struct QueuePosition
{
	TimestampTz due;
	int64		message;
} QueuePosition;

typedef struct QueuePositions
{
	QueuePosition lanes[QUEUE_LANES];
	TimestampTz lease;			/* no lease that ends before it is open */
} QueuePositions;

/* Of a channel; valid until the next call. They may be moved on. */
extern QueuePositions *queue_positions(const char *channel);

#endif							/* CRM_QUEUE_POSITION_H */

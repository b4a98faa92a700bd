/*
 * queue_position.c
 *		Where a session looks for the next message of a queue.
 *
 * What is handed out stays where it is in the queue's index until it is acknowledged, and then leaves a dead entry, which stays as
 * long as somebody holds an old snapshot. Whoever begins at the front walks over all of them, each time. So a session begins where
 * it found the first message last time. That is a hint, no more: a message may come in before it, due earlier or committed later.
 * Every few seconds the session begins at the front, and finds it.
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "outbox/queue_position.h"

PG_FUNCTION_INFO_V1(crm_outbox_forget_positions);

#define FORGET_MS 5000

typedef struct PositionKey
{
	Oid			database;		/* an extension that was dropped and made again is another queue, but a hint is a hint */
	char		channel[64];	/* of two with one beginning the hints are one's: still hints, if poor ones */
} PositionKey;

typedef struct PositionEntry
{
	PositionKey key;
	TimestampTz since;			/* when it began at the front */
	QueuePositions positions;
} PositionEntry;

static HTAB *entries = NULL;

QueuePositions *
queue_positions(const char *channel)
{
	PositionKey key = {0};
	PositionEntry *entry;
	bool		found;
	TimestampTz now = GetCurrentTimestamp();

	if (entries == NULL)
	{
		HASHCTL		control = {.keysize = sizeof(PositionKey), .entrysize = sizeof(PositionEntry), .hcxt = TopMemoryContext};

		entries = hash_create("crm queue positions", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	key.database = MyDatabaseId;
	strlcpy(key.channel, channel, sizeof(key.channel));
	entry = hash_search(entries, &key, HASH_ENTER, &found);
	if (!found || TimestampDifferenceExceeds(entry->since, now, FORGET_MS) || now < entry->since)
	{
		entry->since = now;
		for (int lane = 0; lane < QUEUE_LANES; lane++)
		{
			entry->positions.lanes[lane].due = DT_NOBEGIN;
			entry->positions.lanes[lane].message = PG_INT64_MIN;
		}
		entry->positions.lease = DT_NOBEGIN;
	}
	return &entry->positions;
}

/* crm.forget_positions() */
Datum
crm_outbox_forget_positions(PG_FUNCTION_ARGS)
{
	(void) fcinfo;
	if (entries != NULL)
		hash_destroy(entries);
	entries = NULL;
	PG_RETURN_VOID();
}

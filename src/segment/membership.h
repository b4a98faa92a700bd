/*
 * membership.h
 *		Writing who is in which segments, and the log of who came and went.
 *
 * Rows are gathered, and written by a few statements a batch: a row at a time would cost more than its evaluation. The
 * statements are plain SQL, so that they work on a distributed table too.
 */
#ifndef CRM_MEMBERSHIP_H
#define CRM_MEMBERSHIP_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* Why somebody entered or left, in the order in which the log has them at one instant. */
typedef enum MembershipReason
{
	MEMBERSHIP_EDIT,
	MEMBERSHIP_TIME,
	MEMBERSHIP_FACT,
	MEMBERSHIP_GONE,
	MEMBERSHIP_MERGE
} MembershipReason;

typedef struct MembershipWriter MembershipWriter;

/* To be called, as all of these, while connected to SPI. */
extern MembershipWriter *membership_writer_create(void);

/*
 * What a customer's segments are from now on, ascending; stored tells whether there is a row already. This comes after the
 * customer's changes, and may write a batch.
 */
extern void membership_put(MembershipWriter *writer, int64 customer, bool stored, const int32 *segments, int count);

/* A change of one segment. The changes of one customer are to come together. */
extern void membership_log(MembershipWriter *writer, int64 customer, int32 segment, bool entered, TimestampTz at,
						   MembershipReason reason);

/* When an answer of the customer's can change next with no new fact: due, DT_NOEND for never; of which segment. */
extern void membership_deadline(MembershipWriter *writer, int64 customer, bool stored, TimestampTz due, int32 segment,
								TimestampTz evaluated_at);

/* An event that a trigger has met, or (kind "") an entry: told to whoever is above, if it was not told before. */
extern void membership_occurrence(MembershipWriter *writer, int64 customer, int32 segment, const char *kind,
								  TimestampTz event_at, TimestampTz started_at);

/* Writes a batch when one has gathered, as membership_put does. */
extern void membership_flush_if_full(MembershipWriter *writer);

/* Writes what has gathered. */
extern void membership_flush(MembershipWriter *writer);

#endif							/* CRM_MEMBERSHIP_H */

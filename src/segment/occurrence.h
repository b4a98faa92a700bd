/*
 * occurrence.h
 *		What triggers have met: events that made their predicate true, told one by one to whoever acts on them.
 *
 * A trigger is a segment of which not only entries count: the second cart of somebody whose first one still makes the
 * predicate true is an occurrence of its own.
 */
#ifndef CRM_OCCURRENCE_H
#define CRM_OCCURRENCE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "predicate/eval.h"
#include "segment/segment.h"

typedef struct Occurrence
{
	int32		segment;
	const char *kind;			/* of the deciding event; "" of an entry */
	TimestampTz event_at;
	TimestampTz started_at;		/* since when the predicate is true with it */
} Occurrence;

/*
 * Appends what began, by the facts as they are now, after the trigger was set and within its window before the instant.
 * Asking once more gives the same once more. Moves the evaluation's instant.
 */
extern List *occurrences_find(Evaluation *evaluation, const Program *program, const Segment *segment, const Facts *facts,
							  TimestampTz at, List *occurrences);

extern Occurrence *occurrence_of_entry(const Segment *segment, TimestampTz at);

/* From when on facts must be good, so that the occurrences at an instant can be found; the instant where there are no triggers. */
struct SegmentProgram;
extern TimestampTz occurrences_since(const struct SegmentProgram *segments, TimestampTz at);

#endif							/* CRM_OCCURRENCE_H */

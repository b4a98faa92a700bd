/*
 * renewal.h
 *		Bringing what is stored of customers up to what is so: memberships, their log, and deadlines.
 *
 * Refresh and tick hand over customers with their facts; here they are evaluated, compared with what is stored, and the
 * difference is written.
 */
#ifndef CRM_RENEWAL_H
#define CRM_RENEWAL_H

#include "postgres.h"

#include "predicate/eval.h"
#include "segment/membership.h"
#include "segment/occurrence.h"
#include "segment/population.h"
#include "segment/segment.h"
#include "segment/slot.h"

/* All dynamic segments, compiled together. */
typedef struct SegmentProgram
{
	SegmentCatalog *catalog;
	Program    *program;
	int			nstatic;
	int			ndynamic;
	int			ntriggers;		/* of the dynamic ones */
	Segment   **dynamic;		/* by id, ascending; of each the root is set */
	bool	  **names;			/* names[segment][kind]: the segment's answer depends on events of the program's kind */
} SegmentProgram;

/* In CurrentMemoryContext. */
extern SegmentProgram *segment_program_load(void);

/* What is found out for one customer; changes follow. */
typedef struct Renewed
{
	int64		customer;
	bool		present;
	bool		merged;			/* with another one, or no more, since the last evaluation */
	bool		stored;			/* there is a row of memberships */
	bool		differs;		/* and it is to be another one */
	bool		passed;			/* something may have come and gone since the last evaluation */
	const bool *wanted;			/* the segments that were asked; NULL for all */
	int			nsegments;
	int32	   *segments;
	StoredDeadline before;
	StoredDeadline after;
	int			nchanges;
	struct RenewedChange *changes;
	List	   *occurrences;	/* of Occurrence */
} Renewed;

typedef struct RenewedChange
{
	int32		segment;
	bool		entered;
	MembershipReason reason;
	TimestampTz at;
} RenewedChange;

typedef struct Renewal
{
	const SegmentProgram *segments;
	Evaluation *evaluation;
	TimestampTz at;
	TimestampTz from;			/* the facts are good for this instant and later ones; what is stored was right at it or since */
	bool		live;			/* deadlines are kept */
	const Slot *slots;			/* as they were when the facts were read */
	const bool *left_alone;		/* by number of dynamic segment: not to be evaluated; or NULL */
	bool		(*is_merged) (void *context, int64 customer);	/* since the last evaluation; or NULL */
	void	   *merged_context;
	uint64		entered;
	uint64		left;
} Renewal;

/*
 * Evaluates customers of a slice, of each the segments that "wanted" tells (by number of dynamic segment; NULL for all), and
 * gives those for whom something is to be written, in CurrentMemoryContext.
 */
typedef const bool *(*RenewalWanted) (void *context, int64 customer);
extern List *renewal_evaluate(Renewal *renewal, const PopulationSlice *slice, RenewalWanted wanted, void *context);

/* Writes what was found out for a customer. */
extern void renewal_write(Renewal *renewal, MembershipWriter *writer, const Renewed *renewed);

#endif							/* CRM_RENEWAL_H */

/*
 * population.h
 *		The facts of all customers, read in one pass over each feed and given out slice by slice.
 *
 * Rows go from the executor into a few hundred streams by hash of the customer, in memory while maintenance_work_mem
 * lasts and in one temporary file each beyond. A stream then holds a small share of the customers with all their facts,
 * fits the processor's cache, and is laid out as the evaluator wants it.
 */
#ifndef CRM_POPULATION_H
#define CRM_POPULATION_H

#include "postgres.h"

#include "feed/feed.h"
#include "predicate/eval.h"

/* A row of crm.deadline. */
typedef struct StoredDeadline
{
	bool		stored;
	TimestampTz due;			/* the instant at which an answer can change with no new fact; DT_NOEND when not stored */
	int32		segment;		/* whose answer */
	TimestampTz evaluated_at;
} StoredDeadline;

/* A row of crm.membership. */
typedef struct StoredMembership
{
	bool		stored;
	int			count;
	const int32 *segments;		/* ascending */
} StoredMembership;

/* Some of the customers, with all their facts. */
typedef struct PopulationSlice
{
	int			count;
	Facts	   *facts;			/* customer is set, and segments when asked for: the static ones, ascending */
	bool	   *present;		/* a customer of the population; otherwise known only by what is stored */
	StoredDeadline *deadlines;	/* when these were asked for */
	StoredMembership *memberships;	/* likewise */
} PopulationSlice;

typedef void (*PopulationSink) (void *context, const PopulationSlice *slice);

typedef struct Population
{
	uint64		customers;		/* of the population */
	uint64		events;			/* that were read, of anybody */
	uint64		strangers;		/* events of others than these */
	uint64		passed_over;	/* rows without customer or time */
	uint64		duplicates;		/* customers with more than one row */
	uint64		spilled;		/* bytes in temporary files */
} Population;

/* What is to be read. */
typedef struct PopulationRequest
{
	Evaluation *evaluation;
	const Program *program;
	TimestampTz from;			/* of each kind, only events are read that matter at this instant or later */
	bool		has_entry;		/* "since entry" may be asked, of this entry or later ones */
	TimestampTz entry;
	bool		memberships;	/* stored ones are wanted, and deadlines */
	bool		deadlines;
	bool		statics;		/* static segments are wanted, although no node may ask for them */
	const FeedCustomers *customers; /* of these only, by index; NULL for all */
	const bool *kinds;			/* the program's kinds whose events are wanted; NULL for all */
	const bool *unreadable;		/* set for kinds whose feed is stale; they are left out. NULL: that is an error */
} PopulationRequest;

/*
 * Reads what the evaluation needs under the active snapshot, and calls the sink for each slice: all customers of slot 0
 * first, then those of slot 1 ... The sink runs as the caller and may write tables; memory of a slice is gone after the call.
 */
extern void population_scan(const PopulationRequest *request, PopulationSink sink, void *context, Population *population);

/* Customers fall into slots, so that several may write memberships side by side. */
#define POPULATION_SLOTS 16
extern int	population_slot(int64 customer);

#endif							/* CRM_POPULATION_H */

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

#include "predicate/eval.h"

/* Some of the customers, with all their facts. */
typedef struct PopulationSlice
{
	int			count;
	Facts	   *facts;			/* customer and segments are set; segments are those stored now, ascending */
	bool	   *present;		/* a customer of the population; otherwise known only by stored memberships */
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

/*
 * Reads what the evaluation needs under the active snapshot, with the stored memberships if these are wanted (or some node
 * asks for them), and calls the sink for each slice. Of each kind, only events are read that matter at the instant "from" or
 * later. The sink runs as the caller and may write tables; memory of a slice is gone after the call.
 */
extern void population_scan(Evaluation *evaluation, const Program *program, TimestampTz from, bool memberships,
							PopulationSink sink, void *context, Population *population);

#endif							/* CRM_POPULATION_H */

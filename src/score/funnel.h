/*
 * funnel.h
 *		How far somebody came through the steps of a funnel, by the rules of ClickHouse's windowFunnel.
 */
#ifndef CRM_FUNNEL_H
#define CRM_FUNNEL_H

#include "postgres.h"

#include "pgtime.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define FUNNEL_MAX_STEPS 32

/* The numbers are in stored states. */
#define FUNNEL_STRICT_DEDUPLICATION	0x01
#define FUNNEL_STRICT_ORDER			0x02
#define FUNNEL_STRICT_INCREASE		0x04
#define FUNNEL_STRICT_ONCE			0x08
#define FUNNEL_ALLOW_REENTRY		0x10
#define FUNNEL_ALL_MODES			0x1f

/* An event: bit k of the mask is set when it meets the condition of step k, counted from 0. */
typedef struct FunnelRow
{
	TimestampTz at;
	uint32		mask;
} FunnelRow;

typedef struct FunnelRules
{
	int			nsteps;
	uint32		modes;
	int64		window;			/* microseconds from the first step to the last, where there is no zone */
	const Interval *within;		/* the same as an interval of the calendar of the zone */
	pg_tz	   *zone;			/* or NULL */
} FunnelRules;

/* A run through the first steps. */
typedef struct FunnelChain
{
	bool		reached;
	TimestampTz deadline;		/* first step plus the window: the last instant that still counts */
	TimestampTz last;
	TimestampTz path[FUNNEL_MAX_STEPS]; /* when each step was made */
} FunnelChain;

/*
 * The greatest number of steps made in their order within the window. Sorts the rows. If path is not NULL, it gets the
 * instants of these steps, of the first run that came so far.
 */
extern int	funnel_level(const FunnelRules *rules, FunnelRow *rows, int64 nrows, TimestampTz *path);

/* The same for FUNNEL_STRICT_ONCE, rows sorted. */
extern int	funnel_level_once(const FunnelRules *rules, const FunnelRow *rows, int64 nrows, TimestampTz *path);

extern void funnel_sort(FunnelRow *rows, int64 nrows);	/* by instant, then mask */
extern TimestampTz funnel_deadline(const FunnelRules *rules, TimestampTz first);

/* The modes that an array of words names; errors 22023 and 22004. */
extern uint32 funnel_parse_modes(ArrayType *modes);
/* That these modes can be had together; error 22023. */
extern bool funnel_modes_valid(uint32 modes);

#endif							/* CRM_FUNNEL_H */

/*
 * kept_plan.h
 *		Plans of our own statements, kept for the session.
 */
#ifndef CRM_KEPT_PLAN_H
#define CRM_KEPT_PLAN_H

#include "postgres.h"

#include "executor/spi.h"

/*
 * The plan in *kept, made when it is not there yet: a generic one, which the plan cache makes again when a table has changed.
 * Connected to SPI, under a search path that does not change.
 */
extern SPIPlanPtr kept_plan(SPIPlanPtr *kept, const char *sql, int nargs, Oid *types);

/*
 * Runs it, likewise. Read-only it is under the active snapshot, else under a new one. The rows are in SPI_tuptable; returns how
 * many were processed. nulls may be NULL: there is none.
 */
extern uint64 kept_execute(SPIPlanPtr *kept, const char *sql, int nargs, Oid *types, Datum *values, const bool *nulls, bool read_only);

/*
 * What is planned between these two does not read a table whole where an index will do, however small the table is. A plan is kept
 * when it is a large one, until it is vacuumed or analyzed. Not for statements that read feeds: those are the shop's.
 */
extern int	probes_begin(void);
extern void probes_end(int probes);

#endif							/* CRM_KEPT_PLAN_H */

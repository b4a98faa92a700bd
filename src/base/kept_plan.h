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

#endif							/* CRM_KEPT_PLAN_H */

/*
 * tick_private.h
 *		What the files of the tick share.
 */
#ifndef CRM_TICK_PRIVATE_H
#define CRM_TICK_PRIVATE_H

#include "postgres.h"

#include "segment/renewal.h"

/* One of our own statements, connected to SPI; gives the number of rows. */
extern uint64 tick_execute(const char *sql, int nargs, Oid *types, Datum *values, bool read_only);

/* All segments, compiled; kept from tick to tick, until a definition changes. */
extern SegmentProgram *tick_segments(void);

/* Reads the change log, if nobody else is at it, into crm.pending; gives how many customers and kinds there were. */
extern uint64 tick_route_changes(void);

#endif							/* CRM_TICK_PRIVATE_H */

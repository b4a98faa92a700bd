/*-------------------------------------------------------------------------
 *
 * clock.h
 *	  The one place that instant and time zone come from.
 *
 * The engine below never asks for either: they travel as arguments.
 *
 *-------------------------------------------------------------------------
 */
#ifndef CRM_CLOCK_H
#define CRM_CLOCK_H

#include "datatype/timestamp.h"

/* crm_marketing.now when it is set, else the start of the transaction */
extern TimestampTz clock_now(void);

/* The name of the zone set by crm.configure('timezone', ...), palloc'd; "UTC" when none is */
extern char *clock_timezone(void);

/*
 * Reading the zone costs a scan.  Who keeps it from call to call (zeroed at
 * first) asks whether it may have changed since this was asked last: in one
 * transaction, too, another statement may see another row.
 */
typedef struct ClockView
{
	bool		valid;
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
	SubTransactionId subtransaction;
} ClockView;

extern bool clock_view_changed(ClockView *view);

/* Defines crm_marketing.now; for _PG_init */
extern void clock_define_gucs(void);

#endif							/* CRM_CLOCK_H */

/*
 * refresh.h
 *		All segments of all customers at once.
 */
#ifndef CRM_REFRESH_H
#define CRM_REFRESH_H

#include "postgres.h"

#include "datatype/timestamp.h"

#include "segment/population.h"
#include "segment/renewal.h"

typedef struct RefreshResult
{
	Population	population;
	uint64		entered;
	uint64		left;
} RefreshResult;

/*
 * The refresh of crm.refresh_segments(). With mend, segments that name a stale feed are left as they are instead of being an
 * error. In a READ COMMITTED transaction, as the extension.
 */
extern void refresh_segments(TimestampTz at, bool mend, RefreshResult *result);

/*
 * Which of the program's kinds cannot be read, because their feeds are stale, and which segments therefore cannot be
 * evaluated. False if not even the customers can be read.
 */
extern bool refresh_readable(const SegmentProgram *segments, bool **unreadable, bool **left_alone);

/* Raises the error of a transaction that would not see what others have stored. */
extern void refresh_check_isolation(const char *what);

#endif							/* CRM_REFRESH_H */

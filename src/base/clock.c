/*-------------------------------------------------------------------------
 *
 * clock.c
 *	  The instant and the time zone that answers are given for.
 *
 * The instant is the start of the transaction, unless a test or a simulation
 * sets crm_marketing.now.  The setting is for superusers: who moves the
 * clock decides who is in which segment.
 *
 * The zone is a row of crm.setting and not a GUC, because a shop has one, and
 * membership must not depend on the session that happens to compute it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "base/clock.h"
#include "base/setting.h"

#define DEFAULT_TIMEZONE	"UTC"

static char *now_text = NULL;	/* crm_marketing.now, canonical */
static bool now_is_set = false;
static TimestampTz now_value = 0;

PG_FUNCTION_INFO_V1(crm_clock_now);
PG_FUNCTION_INFO_V1(crm_clock_timezone);

/*
 * Reads an instant without ever throwing: the hook also runs for a line of
 * postgresql.conf, where an error would keep the server from starting.
 */
static bool
parse_instant(const char *text, TimestampTz *result)
{
	char		buf[MAXDATELEN + MAXDATEFIELDS];
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			tz = 0;
	fsec_t		fsec;
	struct pg_tm tm;

	if (ParseDateTime(text, buf, sizeof(buf), field, ftype, MAXDATEFIELDS, &nf) != 0)
		return false;
	if (!crm_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz))
		return false;
	if (dtype != DTK_DATE)
		return false;
	return tm2timestamp(&tm, fsec, &tz, result) == 0;
}

/*
 * The value is kept as text in UTC, because it is read again in parallel
 * workers, whose TimeZone may not be in place by then.
 */
static bool
check_now(char **newval, void **extra, GucSource source)
{
	TimestampTz instant;
	TimestampTz *kept;
	char		canonical[MAXDATELEN + 1];
	char	   *copy;
	struct pg_tm tm;
	fsec_t		fsec;

	(void) source;

	if (*newval == NULL || **newval == '\0')
		return true;

	if (!parse_instant(*newval, &instant) || timestamp2tm(instant, NULL, &tm, &fsec, NULL, NULL) != 0)
	{
		GUC_check_errcode(ERRCODE_INVALID_PARAMETER_VALUE);
		GUC_check_errhint("Give an instant such as '2026-01-05 10:00:00+03', or '' for the real time.");
		return false;
	}
	tm.tm_isdst = 0;			/* else the +00 is not printed */
	EncodeDateTime(&tm, fsec, true, 0, NULL, USE_ISO_DATES, canonical);

	kept = crm_guc_malloc(sizeof(TimestampTz));
	copy = crm_guc_strdup(canonical);
	if (kept == NULL || copy == NULL)
		return false;
	*kept = instant;
	*extra = kept;
	crm_guc_free(*newval);
	*newval = copy;
	return true;
}

static void
assign_now(const char *newval, void *extra)
{
	(void) newval;

	now_is_set = extra != NULL;
	if (extra != NULL)
		now_value = *(TimestampTz *) extra;
}

void
clock_define_gucs(void)
{
	DefineCustomStringVariable("crm_marketing.now",
							   "The instant that crm.now() tells.",
							   "For tests and simulations; empty means the start of the transaction.",
							   &now_text,
							   "",
							   PGC_SUSET,
							   0,
							   check_now,
							   assign_now,
							   NULL);
}

TimestampTz
clock_now(void)
{
	return now_is_set ? now_value : GetCurrentTransactionStartTimestamp();
}

char *
clock_timezone(void)
{
	char	   *name = setting_read("timezone");

	return name != NULL ? name : pstrdup(DEFAULT_TIMEZONE);
}

/*
 * Two snapshots of one transaction with the same bounds and number of running
 * transactions see the same: between the bounds transactions only end.  What
 * a subtransaction wrote goes with it.
 */
bool
clock_view_changed(ClockView *view)
{
	Snapshot	snapshot;
	ClockView	now = {0};

	if (!ActiveSnapshotSet())
		return true;
	snapshot = GetActiveSnapshot();
	now.valid = true;
	now.xmin = snapshot->xmin;
	now.xmax = snapshot->xmax;
	now.xcnt = snapshot->xcnt;
	now.subxcnt = snapshot->subxcnt;
	now.curcid = snapshot->curcid;
	now.subtransaction = GetCurrentSubTransactionId();

	if (view->valid && view->xmin == now.xmin && view->xmax == now.xmax && view->xcnt == now.xcnt &&
		view->subxcnt == now.subxcnt && view->curcid == now.curcid && view->subtransaction == now.subtransaction)
		return false;
	*view = now;
	return true;
}

Datum
crm_clock_now(PG_FUNCTION_ARGS)
{
	(void) fcinfo;

	PG_RETURN_TIMESTAMPTZ(clock_now());
}

Datum
crm_clock_timezone(PG_FUNCTION_ARGS)
{
	(void) fcinfo;

	PG_RETURN_TEXT_P(cstring_to_text(clock_timezone()));
}

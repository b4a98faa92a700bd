/*
 * claim.c
 *		Handing out: crm.claim_messages().
 *
 * Customers are locked first, and then a new snapshot is taken, under which all is decided: what has committed before, an order, a
 * refusal, another message, is seen. What commits later is the one race that is left, and is seen as such in the report. Two
 * sessions never decide of one person at the same time, so caps are exact.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"

#include "base/clock.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "base/sql_array.h"
#include "compat.h"
#include "outbox/claim.h"
#include "outbox/decide.h"
#include "outbox/queue_position.h"

PG_FUNCTION_INFO_V1(crm_outbox_claim_messages);

#define MAX_MESSAGES 500
/* What is not to go must not keep others waiting that are. */
#define MAX_LOOKED_AT 1000

/* How messages of the channel are handed out. */
typedef struct Rule
{
	int			rate;			/* 0: as fast as one likes */
	Interval	rate_per;
	Interval	lease;
} Rule;

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const Interval shortest = {.time = USECS_PER_SEC};
	static const Interval longest = {.day = 1};
	bool		invalid;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2) || PG_ARGISNULL(4))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("channel, number and instant of a claim must not be null")));
	/* with room for what it may put off to */
	invalid = PG_GETARG_INT32(2) < 1 || PG_GETARG_INT32(2) > MAX_MESSAGES || TIMESTAMP_NOT_FINITE(PG_GETARG_TIMESTAMPTZ(4)) ||
		PG_GETARG_TIMESTAMPTZ(4) > END_TIMESTAMP - 2 * USECS_PER_DAY;
	if (!PG_ARGISNULL(3))
		invalid |= DatumGetBool(DirectFunctionCall2(interval_lt, PG_GETARG_DATUM(3), IntervalPGetDatum(&shortest))) ||
			DatumGetBool(DirectFunctionCall2(interval_gt, PG_GETARG_DATUM(3), IntervalPGetDatum(&longest)));
	if (invalid)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid claim"),
				 errdetail("It is of 1 to 500 messages, at a finite instant, for a second to a day.")));
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("messages cannot be claimed in a repeatable read or serializable transaction"),
				 errdetail("What was committed before they are handed out must be seen."),
				 errhint("Use the isolation level READ COMMITTED.")));
}

/* The channel's rule; an error if there is no such channel. *expired is set if leases have run out. */
static Rule
read_rule(const Claim *claim, const QueuePositions *positions, bool *expired)
{
	static SPIPlanPtr kept = NULL;
	static SPIPlanPtr kept_kind = NULL;
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[] = {CStringGetTextDatum(claim->channel), TimestampTzGetDatum(claim->at), TimestampTzGetDatum(positions->lease)};
	Rule		rule = {.lease = {.time = 5 * USECS_PER_MINUTE}};
	bool		isnull;
	Datum		value;
	bool		known;

	kept_execute(&kept, "SELECT r.lease, r.rate, r.rate_per, EXISTS (SELECT FROM crm.lease AS l WHERE l.channel = $1 AND l.until <= $2 "
				 "AND l.until >= $3) FROM (VALUES ($1)) AS c(channel) LEFT JOIN crm.channel_rule AS r ON r.channel = c.channel",
				 3, types, values, NULL, true);
	value = row_datum(0, 1, &isnull);
	known = !isnull;
	if (known)
	{
		rule.lease = *DatumGetIntervalP(value);
		value = row_datum(0, 2, &isnull);
		rule.rate = isnull ? 0 : DatumGetInt32(value);
		rule.rate_per = *DatumGetIntervalP(row_value(0, 3));
	}
	*expired = row_bool(0, 4);
	SPI_freetuptable(SPI_tuptable);
	if (!known)
	{
		kept_execute(&kept_kind, "SELECT crm.channel_kind($1)", 1, types, values, NULL, true);
		SPI_freetuptable(SPI_tuptable);
	}
	return rule;
}

/* What the rate leaves; from then on nobody else takes any of it. */
static int
rate_room(const Claim *claim, const Rule *rule)
{
	static SPIPlanPtr kept_lock = NULL;
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, INTERVALOID};
	Datum		values[] = {CStringGetTextDatum(claim->channel), TimestampTzGetDatum(claim->at), IntervalPGetDatum(&rule->rate_per)};
	int64		handed;

	kept_execute(&kept_lock, "SELECT pg_advisory_xact_lock(hashtext('crm.handed'), hashtext($1))", 1, types, values, NULL, false);
	SPI_freetuptable(SPI_tuptable);
	kept_execute(&kept, "SELECT coalesce(sum(h.count), 0)::bigint FROM crm.handed AS h WHERE h.channel = $1 AND h.at > $2 - $3",
				 3, types, values, NULL, false);
	handed = row_int64(0, 1);
	SPI_freetuptable(SPI_tuptable);
	return (int) Max(0, Min(claim->room, rule->rate - handed));
}

static void
note_handed(const Claim *claim, const Rule *rule, int count)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, INTERVALOID, INT4OID};
	Datum		values[] = {CStringGetTextDatum(claim->channel), TimestampTzGetDatum(claim->at), IntervalPGetDatum(&rule->rate_per),
	Int32GetDatum(count)};

	kept_execute(&kept, "WITH old AS (DELETE FROM crm.handed AS h WHERE h.channel = $1 AND h.at < $2 - $3 - interval '1 minute') "
				 "INSERT INTO crm.handed (channel, at, count) VALUES ($1, $2, $4)", 4, types, values, NULL, false);
}

static void
expire_leases(const Claim *claim)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TIMESTAMPTZOID, TEXTOID};
	Datum		values[] = {TimestampTzGetDatum(claim->at), CStringGetTextDatum(claim->channel)};

	kept_execute(&kept, "SELECT crm.expire_leases($1, $2)", 2, types, values, NULL, false);
	SPI_freetuptable(SPI_tuptable);
}

/*
 * What is not to go, with its reason; also what is put off beyond its use. Returns whether there is any. Each table is written by a
 * statement that joins nothing to it: a join that was planned while the table was small may read all of it.
 */
static bool
refuse(const Claim *claim)
{
	static SPIPlanPtr kept_gone = NULL;
	static SPIPlanPtr kept_later = NULL;
	Oid			gone_types[] = {TIDARRAYOID, INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZOID};
	Oid			later_types[] = {TIDARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID};
	Size		room = sizeof(Datum) * (Size) claim->count;
	Datum	   *gone = palloc(room);
	Datum	   *ids = palloc(room);
	Datum	   *gone_reasons = palloc(room);
	Datum	   *handed_at = palloc(room);
	Datum	   *later = palloc(room);
	Datum	   *until = palloc(room);
	Datum	   *later_reasons = palloc(room);
	int			ngone = 0;
	int			nlater = 0;

	for (int i = 0; i < claim->count; i++)
	{
		const DueMessage *message = &claim->messages[i];

		if (message->verdict == NULL)
			continue;
		if (message->put_off && message->until <= message->useful_until)
		{
			later[nlater] = PointerGetDatum(&claim->candidates[i].tid);
			until[nlater] = TimestampTzGetDatum(message->until);
			later_reasons[nlater++] = CStringGetTextDatum(message->verdict);
		}
		else
		{
			gone[ngone] = PointerGetDatum(&claim->candidates[i].tid);
			ids[ngone] = Int64GetDatum(message->id);
			handed_at[ngone] = TimestampTzGetDatum(claim->candidates[i].handed_at);
			gone_reasons[ngone++] = CStringGetTextDatum(message->verdict);
		}
	}
	if (ngone > 0)
	{
		Datum		values[] = {sql_array(gone, ngone, TIDOID), sql_array(ids, ngone, INT8OID), sql_array(gone_reasons, ngone, TEXTOID),
		sql_array(handed_at, ngone, TIMESTAMPTZOID), TimestampTzGetDatum(claim->at)};

		kept_execute(&kept_gone, "WITH gone AS (DELETE FROM crm.outbox AS o WHERE o.ctid = ANY ($1)) "
					 "UPDATE crm.message AS m SET state = 'suppressed', reason = ($3)[array_position($2, m.message_id)], "
					 "handed_at = nullif(($4)[array_position($2, m.message_id)], '-infinity'), finished_at = $5 "
					 "WHERE m.message_id = ANY ($2)", 5, gone_types, values, NULL, false);
	}
	if (nlater > 0)
	{
		Datum		values[] = {sql_array(later, nlater, TIDOID), sql_array(until, nlater, TIMESTAMPTZOID),
		sql_array(later_reasons, nlater, TEXTOID)};

		kept_execute(&kept_later, "UPDATE crm.outbox AS o SET due_at = ($2)[array_position($1, o.ctid)], "
					 "reason = ($3)[array_position($1, o.ctid)] WHERE o.ctid = ANY ($1)", 3, later_types, values, NULL, false);
	}
	return ngone > 0 || nlater > 0;
}

/* What cannot be rendered is given up. Returns whether there is any. */
static bool
bury(const Claim *claim)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8OID, TEXTOID, TIMESTAMPTZOID};
	bool		any = false;

	for (int i = 0; i < claim->count; i++)
	{
		const Candidate *candidate = &claim->candidates[i];

		if (candidate->error != NULL)
		{
			Datum		values[] = {Int64GetDatum(claim->messages[i].id), CStringGetTextDatum(candidate->error),
			TimestampTzGetDatum(claim->at)};

			kept_execute(&kept, "SELECT crm.bury_message($1, $2, $3)", 3, types, values, NULL, false);
			SPI_freetuptable(SPI_tuptable);
			any = true;
		}
	}
	return any;
}

/* Numbers of messages. */
static int
handed_compare(const void *a, const void *b, void *argument)
{
	const Claim *claim = argument;

	return due_compare(&claim->messages[*(const int *) a], &claim->messages[*(const int *) b]);
}

static void
hand_out(Claim *claim, const Rule *rule, const int *handed, int count, FunctionCallInfo fcinfo)
{
	static SPIPlanPtr kept = NULL;
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			types[] = {TIDARRAYOID, TEXTOID, TEXTOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8ARRAYOID};
	Datum	   *tids = palloc(sizeof(Datum) * (Size) count);
	Datum	   *ids = palloc(sizeof(Datum) * (Size) count);
	Datum		lease = PG_ARGISNULL(3) ? IntervalPGetDatum(&rule->lease) : PG_GETARG_DATUM(3);
	Datum		at = TimestampTzGetDatum(claim->at);
	Datum		values[6];
	bool		nulls[6] = {false};
	Datum		token;

	/* It is sent before long: a crash must not forget it */
	if (synchronous_commit == SYNCHRONOUS_COMMIT_OFF)
		(void) set_config_option("synchronous_commit", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (rule->rate > 0)
		note_handed(claim, rule, count);
	for (int i = 0; i < count; i++)
	{
		tids[i] = PointerGetDatum(&claim->candidates[handed[i]].tid);
		ids[i] = Int64GetDatum(claim->messages[handed[i]].id);
	}
	values[0] = sql_array(tids, count, TIDOID);
	values[1] = CStringGetTextDatum(claim->channel);
	nulls[2] = PG_ARGISNULL(1);
	values[2] = nulls[2] ? (Datum) 0 : PG_GETARG_DATUM(1);
	values[3] = at;
	values[4] = DirectFunctionCall2(timestamptz_pl_interval, at, lease);
	values[5] = sql_array(ids, count, INT8OID);
	if (kept_execute(&kept, "WITH lease AS ("
					 "INSERT INTO crm.lease AS l (channel, until, token, messages) "
					 "VALUES ($2, $5, nextval('crm.claim_token_seq'), $6) RETURNING l.token) "
					 "UPDATE crm.outbox AS o SET token = l.token, worker = $3, handed_at = $4, leased_until = $5, attempts = o.attempts + 1, "
					 "reason = NULL FROM lease AS l WHERE o.ctid = ANY ($1) RETURNING l.token",
					 6, types, values, nulls, false) != (uint64) count)
		elog(ERROR, "messages that were locked have changed");
	token = Int64GetDatum(row_int64(0, 1));
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < count; i++)
	{
		const DueMessage *message = &claim->messages[handed[i]];
		const Candidate *candidate = &claim->candidates[handed[i]];
		Datum		row[] = {Int64GetDatum(message->id), token, Int64GetDatum(message->person), CStringGetTextDatum(message->address),
			JsonbPGetDatum(candidate->content), candidate->campaign == NULL ? (Datum) 0 : CStringGetTextDatum(candidate->campaign),
			candidate->step == NULL ? (Datum) 0 : CStringGetTextDatum(candidate->step), CStringGetTextDatum(message->purpose),
		Int32GetDatum(candidate->attempts + 1)};
		bool		isnull[] = {false, false, false, false, false, candidate->campaign == NULL, candidate->step == NULL, false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, isnull);
	}
}

/* Under one snapshot that is newer than the locks. */
static void
decide(Claim *claim)
{
	CommandCounterIncrement();
	PushActiveSnapshot(GetTransactionSnapshot());
	claim_resolve(claim);
	claim_add_rivals(claim);
	decide_messages(claim->messages, claim->nmessages, claim->at);
	claim_render(claim);
	PopActiveSnapshot();
}

/* crm.claim_messages(channel text, worker text, max int, lease interval, at timestamptz) */
Datum
crm_outbox_claim_messages(PG_FUNCTION_ARGS)
{
	Claim		claim = {0};
	Rule		rule;
	bool		expired;
	int			looked_at = 0;

	check_arguments(fcinfo);
	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	claim.channel = TextDatumGetCString(PG_GETARG_DATUM(0));
	claim.room = PG_GETARG_INT32(2);
	claim.at = PG_GETARG_TIMESTAMPTZ(4);
	rule = read_rule(&claim, queue_positions(claim.channel), &expired);
	if (rule.rate > 0)
		claim.room = rate_room(&claim, &rule);
	if (expired)
		expire_leases(&claim);
	else
		queue_positions(claim.channel)->lease = claim.at;
	while (claim.room > 0 && claim_find(&claim))
	{
		int		   *handed;
		int			count = 0;
		bool		refused;

		CHECK_FOR_INTERRUPTS();
		looked_at += claim.count;
		if (claim.count == 0)
			break;
		decide(&claim);
		if (claim.count == 0)
			break;
		refused = refuse(&claim);
		refused |= bury(&claim);
		handed = palloc(sizeof(int) * (Size) claim.count);
		for (int i = 0; i < claim.count; i++)
		{
			if (claim.messages[i].verdict == NULL && claim.candidates[i].content != NULL)
				handed[count++] = i;
		}
		if (count > 0)
		{
			qsort_arg(handed, count, sizeof(int), handed_compare, &claim);
			hand_out(&claim, &rule, handed, count, fcinfo);
			break;
		}
		if (!refused || looked_at >= MAX_LOOKED_AT)
			break;
	}
	SPI_finish();
	return (Datum) 0;
}

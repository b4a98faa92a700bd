/*
 * claim_find.c
 *		What is due, whose it is, and what goes before it.
 *
 * Rows and persons that another session has in hand are passed over: nobody waits. A person is locked by a key of his own, and
 * against being merged. Probes are subqueries with OFFSET 0, so that each is a probe of an index, whatever was in the tables when
 * the statement was planned.
 */
#include "postgres.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"

#include "base/compare.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "base/sql_array.h"
#include "compat.h"
#include "feed/feed.h"
#include "outbox/claim.h"
#include "outbox/queue_position.h"

#define MESSAGE_COLUMNS \
	"m.message_id, m.customer_id, m.channel, m.purpose, m.transactional, m.priority, m.useful_until, m.guard_id, m.entry, " \
	"m.event_kind, m.event_at, m.condition, m.code"
#define MESSAGE_COLUMN_COUNT 13

static char *
text_or_null(Datum value, bool isnull)
{
	return isnull ? NULL : TextDatumGetCString(value);
}

/* The message of these columns. */
static DueMessage
read_message(const Datum *values, const bool *nulls)
{
	DueMessage	message = {0};

	message.id = DatumGetInt64(values[0]);
	message.customer = DatumGetInt64(values[1]);
	message.channel = TextDatumGetCString(values[2]);
	message.purpose = TextDatumGetCString(values[3]);
	message.transactional = DatumGetBool(values[4]);
	message.priority = DatumGetInt16(values[5]);
	message.useful_until = nulls[6] ? DT_NOEND : DatumGetTimestampTz(values[6]);
	message.guard = nulls[7] ? 0 : DatumGetInt32(values[7]);
	message.has_entry = !nulls[8];
	message.entry = nulls[8] ? 0 : DatumGetTimestampTz(values[8]);
	message.event_kind = text_or_null(values[9], nulls[9]);
	message.has_event_at = !nulls[10];
	message.event_at = nulls[10] ? 0 : DatumGetTimestampTz(values[10]);
	message.condition = nulls[11] ? NULL : (const Predicate *) PG_DETOAST_DATUM_COPY(values[11]);
	message.code = text_or_null(values[12], nulls[12]);
	return message;
}

/* The persons' locks are of this session until the end of the transaction. */
static bool
lock_person(int64 person)
{
	static int32 message_key = 0;
	static int32 alias_key = 0;
	int32		hash = DatumGetInt32(DirectFunctionCall1(hashint8, Int64GetDatum(person)));

	if (message_key == 0)
	{
		message_key = DatumGetInt32(DirectFunctionCall1Coll(hashtext, DEFAULT_COLLATION_OID, CStringGetTextDatum("crm.message")));
		alias_key = DatumGetInt32(DirectFunctionCall1Coll(hashtext, DEFAULT_COLLATION_OID, CStringGetTextDatum("crm.alias")));
	}
	return DatumGetBool(DirectFunctionCall2(pg_try_advisory_xact_lock_int4, Int32GetDatum(message_key), Int32GetDatum(hash))) &&
		DatumGetBool(DirectFunctionCall2(pg_try_advisory_xact_lock_shared_int4, Int32GetDatum(alias_key), Int32GetDatum(hash & 1023)));
}

/* Next time the session begins where this one found something. */
static void
remember(QueuePositions *positions, const DueMessage *messages, const int *lanes, int count)
{
	bool		told[QUEUE_LANES] = {false};

	for (int i = 0; i < count; i++)
	{
		QueuePosition *position = &positions->lanes[lanes[i]];

		if (told[lanes[i]] && (messages[i].due_at > position->due ||
							   (messages[i].due_at == position->due && messages[i].id > position->message)))
			continue;
		told[lanes[i]] = true;
		position->due = messages[i].due_at;
		position->message = messages[i].id;
	}
}

bool
claim_find(Claim *claim)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, INT2ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID, INT8OID};
	QueuePositions *positions = queue_positions(claim->channel);
	Datum		lanes[QUEUE_LANES];
	Datum		due[QUEUE_LANES];
	Datum		first[QUEUE_LANES];
	Datum		values[6];
	int		   *lane;
	int			found;

	/* the highest priority first */
	for (int i = 0; i < QUEUE_LANES; i++)
	{
		const QueuePosition *position = &positions->lanes[QUEUE_LANES - 1 - i];

		lanes[i] = Int16GetDatum(QUEUE_LANES - 1 - i);
		due[i] = TimestampTzGetDatum(position->due);
		first[i] = Int64GetDatum(position->message);
	}
	values[0] = CStringGetTextDatum(claim->channel);
	values[1] = sql_array(lanes, QUEUE_LANES, INT2OID);
	values[2] = sql_array(due, QUEUE_LANES, TIMESTAMPTZOID);
	values[3] = sql_array(first, QUEUE_LANES, INT8OID);
	values[4] = TimestampTzGetDatum(claim->at);
	values[5] = Int64GetDatum(claim->room);
	found = (int)
		kept_execute(&kept, "SELECT " MESSAGE_COLUMNS ", f.lane, f.due_at, f.attempts, f.tid, f.handed_at, m.campaign, m.step, m.template, m.language, "
					 "m.data, coalesce(a.customer_id, f.customer_id) FROM ("
					 "SELECT o.* FROM unnest($2, $3, $4) AS l(lane, due, message) CROSS JOIN LATERAL ("
					 "SELECT o.ctid AS tid, o.message_id, o.customer_id, o.lane, o.due_at, o.attempts, o.handed_at "
					 "FROM crm.outbox AS o "
					 "WHERE o.channel = $1 AND o.lane = l.lane AND o.due_at <= $5 AND (o.due_at, o.message_id) >= (l.due, l.message) "
					 "AND o.token IS NULL ORDER BY o.due_at, o.message_id LIMIT $6 FOR UPDATE SKIP LOCKED) AS o LIMIT $6) AS f "
					 "CROSS JOIN LATERAL (SELECT m.* FROM crm.message AS m "
					 "WHERE m.customer_id = f.customer_id AND m.message_id = f.message_id OFFSET 0) AS m "
					 "LEFT JOIN LATERAL (SELECT a.customer_id FROM crm.alias AS a WHERE a.alias = f.customer_id OFFSET 0) AS a ON true",
					 6, types, values, NULL, false);
	claim->count = claim->nmessages = 0;
	if (found == 0)
		return false;
	claim->candidates = palloc0(sizeof(Candidate) * (Size) found);
	claim->messages = palloc(sizeof(DueMessage) * (Size) found);
	lane = palloc(sizeof(int) * (Size) found);
	for (int i = 0; i < found; i++)
	{
		DueMessage *message = &claim->messages[i];
		Candidate  *candidate = &claim->candidates[i];
		Datum		row[MESSAGE_COLUMN_COUNT + 11];
		bool		nulls[lengthof(row)];
		const Datum *besides = row + MESSAGE_COLUMN_COUNT;
		const bool *missing = nulls + MESSAGE_COLUMN_COUNT;

		row_deform(i, row, nulls);
		*message = read_message(row, nulls);
		message->mine = true;
		lane[i] = DatumGetInt16(besides[0]);
		message->due_at = DatumGetTimestampTz(besides[1]);
		candidate->attempts = DatumGetInt16(besides[2]);
		candidate->tid = *(ItemPointer) DatumGetPointer(besides[3]);
		candidate->handed_at = missing[4] ? DT_NOBEGIN : DatumGetTimestampTz(besides[4]);
		candidate->campaign = text_or_null(besides[5], missing[5]);
		candidate->step = text_or_null(besides[6], missing[6]);
		candidate->template = TextDatumGetCString(besides[7]);
		candidate->language = TextDatumGetCString(besides[8]);
		candidate->data = missing[9] ? NULL : DatumGetJsonbPCopy(besides[9]);
		message->person = DatumGetInt64(besides[10]);
	}
	SPI_freetuptable(SPI_tuptable);
	remember(positions, claim->messages, lane, found);
	for (int i = 0; i < found; i++)
	{
		if (!lock_person(claim->messages[i].person))
			continue;
		claim->messages[claim->count] = claim->messages[i];
		claim->candidates[claim->count++] = claim->candidates[i];
	}
	claim->nmessages = claim->count;
	return true;
}

void
claim_resolve(Claim *claim)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID};
	int64	   *persons = palloc(sizeof(int64) * (Size) Max(claim->count, 1));
	Datum		values[1];
	int			count = 0;

	for (int i = 0; i < claim->count; i++)
		persons[i] = claim->messages[i].customer;
	values[0] = feed_id_array(claim->count, persons);
	kept_execute(&kept, "SELECT a.alias, a.customer_id FROM crm.alias AS a WHERE a.alias = ANY ($1)", 1, types, values, NULL, true);
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		for (int i = 0; i < claim->count; i++)
		{
			if (claim->messages[i].customer == row_int64(row, 1))
				persons[i] = row_int64(row, 2);
		}
	}
	SPI_freetuptable(SPI_tuptable);
	for (int i = 0; i < claim->count; i++)
	{
		bool		locked = persons[i] == claim->messages[i].person;

		/* he may have been merged just before he was locked */
		for (int j = 0; j < claim->count && !locked; j++)
			locked = claim->messages[j].person == persons[i];
		if (!locked)
			continue;
		claim->messages[count] = claim->messages[i];
		claim->messages[count].person = persons[i];
		claim->candidates[count++] = claim->candidates[i];
	}
	claim->count = claim->nmessages = count;
}

/* Of the persons of marketing messages, ascending, that message of each which goes last. */
static int
last_messages(const Claim *claim, const DueMessage **last)
{
	int			npersons;
	int64	   *persons = due_persons(claim->messages, claim->count, false, &npersons);
	int			count = 0;

	memset(last, 0, sizeof(*last) * (Size) npersons);
	for (int i = 0; i < claim->count; i++)
	{
		const DueMessage *message = &claim->messages[i];
		int			place = int64_place(persons, npersons, message->person);

		if (message->transactional)
			continue;
		if (last[place] == NULL || due_compare(message, last[place]) > 0)
			last[place] = message;
	}
	for (int i = 0; i < npersons; i++)
	{
		if (last[i] != NULL)
			last[count++] = last[i];
	}
	return count;
}

void
claim_add_rivals(Claim *claim)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, INT2ARRAYOID, TIMESTAMPTZARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID};
	Size		room = sizeof(Datum) * (Size) Max(claim->count, 1);
	const DueMessage **last = palloc(sizeof(DueMessage *) * (Size) Max(claim->count, 1));
	int			nlast = last_messages(claim, last);
	Datum	   *persons = palloc(room);
	Datum	   *priorities = palloc(room);
	Datum	   *due = palloc(room);
	Datum	   *ids = palloc(room);
	Datum	   *mine = palloc(room);
	Datum		values[6];
	uint64		found;

	if (nlast == 0)
		return;
	for (int i = 0; i < nlast; i++)
	{
		persons[i] = Int64GetDatum(last[i]->person);
		priorities[i] = Int16GetDatum((int16) last[i]->priority);
		due[i] = TimestampTzGetDatum(last[i]->due_at);
		ids[i] = Int64GetDatum(last[i]->id);
	}
	for (int i = 0; i < claim->count; i++)
		mine[i] = Int64GetDatum(claim->messages[i].id);
	values[0] = sql_array(persons, nlast, INT8OID);
	values[1] = sql_array(priorities, nlast, INT2OID);
	values[2] = sql_array(due, nlast, TIMESTAMPTZOID);
	values[3] = sql_array(ids, nlast, INT8OID);
	values[4] = sql_array(mine, claim->count, INT8OID);
	values[5] = TimestampTzGetDatum(claim->at);
	found = kept_execute(&kept, "SELECT " MESSAGE_COLUMNS ", o.due_at, p.person "
						 "FROM unnest($1, $2, $3, $4) AS p(person, priority, due_at, message_id) "
						 "CROSS JOIN LATERAL (SELECT p.person UNION ALL "
						 "SELECT a.alias FROM crm.alias AS a WHERE a.customer_id = p.person) AS i(id) "
						 "CROSS JOIN LATERAL (SELECT o.* FROM crm.outbox AS o WHERE o.customer_id = i.id OFFSET 0) AS o "
						 "CROSS JOIN LATERAL (SELECT m.* FROM crm.message AS m WHERE m.customer_id = o.customer_id "
						 "AND m.message_id = o.message_id OFFSET 0) AS m "
						 "WHERE o.token IS NULL AND o.lane >= p.priority AND o.due_at <= $6 "
						 "AND (o.lane > p.priority OR (o.due_at, o.message_id) < (p.due_at, p.message_id)) "
						 "AND NOT m.transactional AND m.message_id <> ALL ($5) AND EXISTS (SELECT FROM crm.cap)",
						 6, types, values, NULL, true);
	claim->messages = repalloc(claim->messages, sizeof(DueMessage) * (Size) (claim->count + found));
	for (uint64 i = 0; i < found; i++)
	{
		Datum		row[MESSAGE_COLUMN_COUNT + 2];
		bool		nulls[lengthof(row)];
		DueMessage	message;

		row_deform(i, row, nulls);
		message = read_message(row, nulls);
		message.due_at = DatumGetTimestampTz(row[MESSAGE_COLUMN_COUNT]);
		message.person = DatumGetInt64(row[MESSAGE_COLUMN_COUNT + 1]);
		claim->messages[claim->nmessages++] = message;
	}
	SPI_freetuptable(SPI_tuptable);
}

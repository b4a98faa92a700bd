/*
 * decide.c
 *		Whether messages may go: by what is known of them, of their customers, and of what these have had.
 *
 * The first reason that is found is the one that is kept, in the order of the checks here. What only puts off comes last.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/compare.h"
#include "base/kept_plan.h"
#include "base/name_list.h"
#include "base/row.h"
#include "base/setting.h"
#include "base/sql_array.h"
#include "customer/contact.h"
#include "feed/feed.h"
#include "outbox/decide_private.h"

/* What cannot be decided because of an error is tried again. */
#define ERROR_DELAY (5 * USECS_PER_MINUTE)

void
due_put_off(DueMessage *message, const char *error, TimestampTz at)
{
	message->verdict = psprintf("error: %s", error);
	message->put_off = true;
	message->until = at + ERROR_DELAY;
}

int64 *
due_persons(const DueMessage *messages, int count, bool undecided, int *npersons)
{
	int64	   *persons = palloc(sizeof(int64) * (Size) Max(count, 1));
	int			n = 0;
	int			distinct = 0;

	for (int i = 0; i < count; i++)
	{
		if (!undecided || messages[i].verdict == NULL)
			persons[n++] = messages[i].person;
	}
	qsort(persons, n, sizeof(int64), int64_compare);
	for (int i = 0; i < n; i++)
	{
		if (i == 0 || persons[i] != persons[i - 1])
			persons[distinct++] = persons[i];
	}
	*npersons = distinct;
	return persons;
}

static const Predicate *
predicate_or_null(uint64 row, int column)
{
	bool		isnull;
	Datum		value = row_datum(row, column, &isnull);

	return isnull ? NULL : (const Predicate *) PG_DETOAST_DATUM_COPY(value);
}

static void
load_guards(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT4ARRAYOID};
	Datum	   *ids = palloc(sizeof(Datum) * (Size) decision->count);
	Datum		values[1];
	int			nids = 0;

	for (int i = 0; i < decision->count; i++)
	{
		bool		is_new = decision->messages[i].guard != 0;

		for (int j = 0; j < nids && is_new; j++)
			is_new = DatumGetInt32(ids[j]) != decision->messages[i].guard;
		if (is_new)
			ids[nids++] = Int32GetDatum(decision->messages[i].guard);
	}
	if (nids == 0)
		return;
	values[0] = sql_array(ids, nids, INT4OID);
	kept_execute(&kept, "SELECT g.guard_id, g.trigger, g.goal, g.holdout, g.salt, g.state = 'paused', g.state = 'stopped' "
				 "FROM crm.guard AS g WHERE g.guard_id = ANY ($1)", 1, types, values, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Guard	   *guard = palloc(sizeof(Guard));

		guard->id = DatumGetInt32(row_value(i, 1));
		guard->trigger = predicate_or_null(i, 2);
		guard->goal = predicate_or_null(i, 3);
		guard->holdout = DatumGetInt32(row_value(i, 4));
		guard->salt = row_text(i, 5);
		guard->paused = row_bool(i, 6);
		guard->stopped = row_bool(i, 7);
		decision->guards = lappend(decision->guards, guard);
	}
	SPI_freetuptable(SPI_tuptable);
}

static bool
has_purpose(const ContactRow *row, const DueMessage *message)
{
	return name_list_has(row->purposes, message->purpose, (int) strlen(message->purpose));
}

/* As crm.contact_for() has it: what may be used rather than what may not, his own rather than that of an id he was merged with */
static bool
is_better(const ContactRow *a, const ContactRow *b, const DueMessage *message)
{
	bool		a_may = message->transactional || has_purpose(a, message);
	bool		b_may = message->transactional || has_purpose(b, message);

	if (a_may != b_may)
		return a_may;
	if (a->suppressed != b->suppressed)
		return b->suppressed;
	if ((a->id == message->person) != (b->id == message->person))
		return a->id == message->person;
	return a->id < b->id;
}

/* Where each would go to. NULL: he has no address there. */
static const ContactRow **
find_contacts(const Decision *decision)
{
	const ContactRow **found = palloc0(sizeof(ContactRow *) * (Size) decision->count);
	const char *channel = decision->messages[0].channel;
	int			npersons;
	int64	   *persons = due_persons(decision->messages, decision->count, false, &npersons);
	bool		marketing = false;
	List	   *rows;

	for (int i = 0; i < decision->count; i++)
	{
		if (channel != NULL && strcmp(decision->messages[i].channel, channel) != 0)
			channel = NULL;
		marketing |= !decision->messages[i].transactional;
	}
	rows = contact_rows(npersons, persons, channel, marketing);
	for (int i = 0; i < decision->count; i++)
	{
		const DueMessage *message = &decision->messages[i];
		int			low = 0,
					high = list_length(rows);

		while (low < high)
		{
			int			middle = low + (high - low) / 2;

			if (((const ContactRow *) list_nth(rows, middle))->person < message->person)
				low = middle + 1;
			else
				high = middle;
		}
		for (; low < list_length(rows); low++)
		{
			const ContactRow *row = list_nth(rows, low);

			if (row->person != message->person)
				break;
			if (strcmp(row->channel, message->channel) == 0 && (found[i] == NULL || is_better(row, found[i], message)))
				found[i] = row;
		}
	}
	return found;
}

/* What the message itself says, and where it goes. */
static void
decide_by_message(Decision *decision)
{
	const ContactRow **contacts = find_contacts(decision);

	for (int i = 0; i < decision->count; i++)
	{
		DueMessage *message = &decision->messages[i];
		const Guard *guard = guard_of(decision, message);
		const ContactRow *contact = contacts[i];

		message->address = contact == NULL ? NULL : contact->address;
		if (guard != NULL && guard->stopped)
			message->verdict = "stopped";
		else if (message->useful_until < decision->at)
			message->verdict = "late";
		else if (guard != NULL && guard->paused)
		{
			message->verdict = "paused";
			/* as long as it is of use, the pause may end in time */
			message->put_off = message->useful_until > decision->at;
			message->until = Min(decision->at + USECS_PER_HOUR, message->useful_until);
		}
		else if (contact == NULL)
			message->verdict = "no address";
		else if (!message->transactional && !has_purpose(contact, message))
			message->verdict = "no consent";
		else if (contact->suppressed)
			message->verdict = "suppressed";
	}
}

/* Those about which something is asked of each, and what. */
typedef struct Asking
{
	int			count;
	int		   *numbers;		/* of messages */
	Datum	   *persons;
	Datum	   *texts;
	Datum	   *percents;
} Asking;

static void
ask_whether_held(Asking *asking, int number, const DueMessage *message, const char *salt, int percent)
{
	if (percent <= 0)
		return;
	asking->numbers[asking->count] = number;
	asking->persons[asking->count] = Int64GetDatum(message->person);
	asking->texts[asking->count] = CStringGetTextDatum(salt);
	asking->percents[asking->count] = Int32GetDatum(percent);
	asking->count++;
}

/* Is there a message left that more is asked of than of one about an order? */
static bool
may_go_as_marketing(const Decision *decision)
{
	for (int i = 0; i < decision->count; i++)
	{
		if (decision->messages[i].verdict == NULL && !decision->messages[i].transactional)
			return true;
	}
	return false;
}

static void
decide_by_holdout(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID};
	Asking		asking = {0};
	Size		room = (Size) decision->count * 2;
	char	   *setting;

	if (!may_go_as_marketing(decision))
		return;
	setting = setting_read("holdout");
	asking.numbers = palloc(sizeof(int) * room);
	asking.persons = palloc(sizeof(Datum) * room);
	asking.texts = palloc(sizeof(Datum) * room);
	asking.percents = palloc(sizeof(Datum) * room);
	for (int i = 0; i < decision->count; i++)
	{
		const DueMessage *message = &decision->messages[i];
		const Guard *guard = guard_of(decision, message);

		if (message->verdict != NULL || message->transactional)
			continue;
		if (guard != NULL)
			ask_whether_held(&asking, i, message, guard->salt, guard->holdout);
		if (setting != NULL)
			ask_whether_held(&asking, i, message, "global", pg_strtoint32(setting));
	}
	if (asking.count > 0)
	{
		Datum		values[] = {sql_array(asking.persons, asking.count, INT8OID), sql_array(asking.texts, asking.count, TEXTOID),
		sql_array(asking.percents, asking.count, INT4OID)};

		kept_execute(&kept, "SELECT crm.in_holdout(h.person, h.salt, h.percent) "
					 "FROM unnest($1, $2, $3) WITH ORDINALITY AS h(person, salt, percent, n) ORDER BY h.n",
					 3, types, values, NULL, true);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			if (row_bool(i, 1))
				decision->messages[asking.numbers[i]].verdict = "holdout";
		}
		SPI_freetuptable(SPI_tuptable);
	}
}

static void
decide_by_code(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTARRAYOID, TIMESTAMPTZOID};
	int		   *numbers = palloc(sizeof(int) * (Size) decision->count);
	Datum	   *codes = palloc(sizeof(Datum) * (Size) decision->count);
	int			count = 0;

	for (int i = 0; i < decision->count; i++)
	{
		const DueMessage *message = &decision->messages[i];

		if (message->verdict != NULL || message->code == NULL)
			continue;
		numbers[count] = i;
		codes[count++] = CStringGetTextDatum(message->code);
	}
	if (count > 0)
	{
		Datum		values[] = {sql_array(codes, count, TEXTOID), TimestampTzGetDatum(decision->at)};

		kept_execute(&kept, "SELECT crm.code_is_valid(c.code, $2) FROM unnest($1) WITH ORDINALITY AS c(code, n) ORDER BY c.n",
					 2, types, values, NULL, true);
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			if (!row_bool(i, 1))
				decision->messages[numbers[i]].verdict = "code";
		}
		SPI_freetuptable(SPI_tuptable);
	}
}

void
decide_messages(DueMessage *messages, int count, TimestampTz at)
{
	Decision	decision = {.messages = messages, .count = count, .at = at};

	if (count == 0)
		return;
	load_guards(&decision);
	decide_by_message(&decision);
	decide_by_holdout(&decision);
	decide_by_code(&decision);
	decide_by_facts(&decision);
	if (may_go_as_marketing(&decision))
	{
		decide_by_quiet_hours(&decision);
		decide_by_caps(messages, count, at, &decision.zones);
	}
}

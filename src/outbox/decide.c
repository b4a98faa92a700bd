/*
 * decide.c
 *		Whether messages may go: by what is known of them, of their customers, and of what these have had.
 *
 * The first reason that is found is the one that is kept, in the order of the checks here. What only puts off comes last.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"

#include "base/contain.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "base/setting.h"
#include "base/sql_array.h"
#include "customer/contact.h"
#include "feed/feed.h"
#include "outbox/decide.h"
#include "segment/inquiry.h"

/* What cannot be decided because of an error is tried again. */
#define ERROR_DELAY (5 * USECS_PER_MINUTE)

/* A row of crm.guard. */
typedef struct Guard
{
	int			id;
	const Predicate *trigger;	/* NULL: none */
	const Predicate *goal;		/* likewise */
	int			holdout;
	const char *salt;
	bool		paused;
	bool		stopped;
} Guard;

typedef struct Decision
{
	DueMessage *messages;
	int			count;
	TimestampTz at;
	List	   *guards;			/* of Guard * */
	const Zones *zones;			/* NULL: nobody has asked yet */
} Decision;

static int
int64_compare(const void *a, const void *b)
{
	int64		x = *(const int64 *) a,
				y = *(const int64 *) b;

	return x < y ? -1 : x > y;
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

static const Guard *
guard_of(const Decision *decision, const DueMessage *message)
{
	ListCell   *cell;

	foreach(cell, decision->guards)
	{
		const Guard *guard = lfirst(cell);

		if (guard->id == message->guard)
			return guard;
	}
	return NULL;
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
	ListCell   *cell;

	foreach(cell, row->purposes)
	{
		if (strcmp(lfirst(cell), message->purpose) == 0)
			return true;
	}
	return false;
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

static void
decide_by_holdout(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, TEXTARRAYOID, INT4ARRAYOID};
	Asking		asking = {0};
	Size		room = (Size) decision->count * 2;
	char	   *setting = NULL;
	bool		marketing = false;

	for (int i = 0; i < decision->count; i++)
		marketing |= decision->messages[i].verdict == NULL && !decision->messages[i].transactional;
	if (!marketing)
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

/* What is asked of the customer's facts. */
typedef enum FactQuestion
{
	ASK_VOID,					/* does the deciding event still decide? */
	ASK_GOAL,					/* is the goal reached? */
	ASK_CONDITION,
	ASK_KINDS
} FactQuestion;

static const Predicate *
question_of(const Decision *decision, const DueMessage *message, FactQuestion which)
{
	const Guard *guard = guard_of(decision, message);

	switch (which)
	{
		case ASK_VOID:
			return guard != NULL && message->event_kind != NULL ? guard->trigger : NULL;
		case ASK_GOAL:
			return guard != NULL ? guard->goal : NULL;
		default:
			return message->condition;
	}
}

typedef struct Inquiry
{
	const Predicate *predicate;
	Asked	   *asked;
	int			count;
} Inquiry;

static void
ask(void *argument)
{
	Inquiry    *inquiry = argument;

	inquire(inquiry->predicate, inquiry->asked, inquiry->count);
}

static ErrorData *
ask_contained(Inquiry *inquiry)
{
	/* there is no subtransaction beside parallel workers, where somebody only wants to know */
	if (!IsInParallelMode())
		return contain(ask, inquiry);
	ask(inquiry);
	return NULL;
}

/*
 * Each predicate is asked of all together. What cannot be answered, as when the shop has changed a table under its feed, waits: it is
 * not to keep the channel from others, such as an order's confirmation.
 */
static void
decide_by_facts(Decision *decision, FactQuestion which)
{
	static const char *const reasons[ASK_KINDS] = {"void", "goal", "condition"};
	bool	   *is_asked = palloc0(sizeof(bool) * (Size) decision->count);

	for (int i = 0; i < decision->count; i++)
	{
		const Predicate *predicate = question_of(decision, &decision->messages[i], which);
		Asked	   *asked;
		ErrorData  *error;
		int			count = 0;

		if (is_asked[i] || decision->messages[i].verdict != NULL || predicate == NULL)
			continue;
		asked = palloc0(sizeof(Asked) * (Size) (decision->count - i));
		for (int j = i; j < decision->count; j++)
		{
			const DueMessage *message = &decision->messages[j];
			const Predicate *other = question_of(decision, message, which);

			if (message->verdict != NULL || other == NULL ||
				(other != predicate &&
				 (VARSIZE(other) != VARSIZE(predicate) || memcmp(other, predicate, VARSIZE(predicate)) != 0)))
				continue;
			is_asked[j] = true;
			asked[count].customer = message->person;
			asked[count].number = j;
			asked[count].has_entry = message->has_entry;
			asked[count].entry = message->entry;
			asked[count].at = decision->at;
			if (which == ASK_VOID)
			{
				asked[count].at = message->has_entry ? message->entry : decision->at;
				asked[count].kind = message->has_event_at ? message->event_kind : NULL;
				asked[count].event_at = message->event_at;
			}
			count++;
		}
		error = ask_contained(&(Inquiry) {predicate, asked, count});
		for (int a = 0; a < count; a++)
		{
			DueMessage *message = &decision->messages[asked[a].number];

			if (error != NULL)
			{
				message->verdict = psprintf("error: %s", error->message);
				message->put_off = true;
				message->until = decision->at + ERROR_DELAY;
			}
			else if (!asked[a].known)
				message->verdict = "gone";
			else if (asked[a].truth == (which == ASK_GOAL))
				message->verdict = reasons[which];
		}
	}
}

/* An instant to which a channel's quiet hours put off, in a zone. */
typedef struct QuietEnd
{
	const char *channel;
	text	   *zone;
	bool		is_quiet;
	TimestampTz until;
} QuietEnd;

static const QuietEnd *
quiet_end(List **known, const Decision *decision, const char *channel, text *zone, Datum from, Datum to)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TIMESTAMPTZOID, TIMEOID, TIMEOID, TEXTOID};
	Datum		values[] = {TimestampTzGetDatum(decision->at), from, to, PointerGetDatum(zone)};
	QuietEnd   *end;
	ListCell   *cell;

	foreach(cell, *known)
	{
		end = lfirst(cell);
		if (strcmp(end->channel, channel) == 0 && VARSIZE_ANY(end->zone) == VARSIZE_ANY(zone) &&
			memcmp(end->zone, zone, VARSIZE_ANY(zone)) == 0)
			return end;
	}
	end = palloc(sizeof(QuietEnd));
	end->channel = channel;
	end->zone = zone;
	kept_execute(&kept, "SELECT crm.quiet_until($1, $2, $3, $4)", 4, types, values, NULL, true);
	end->until = row_instant(0, 1, DT_NOBEGIN);
	end->is_quiet = end->until != DT_NOBEGIN;
	SPI_freetuptable(SPI_tuptable);
	*known = lappend(*known, end);
	return end;
}

static void
decide_by_quiet_hours(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	SPITupleTable *rules;
	uint64		nrules = kept_execute(&kept, "SELECT r.channel, r.quiet_from, r.quiet_to FROM crm.channel_rule AS r "
									  "WHERE r.quiet_from IS NOT NULL", 0, NULL, NULL, NULL, true);
	List	   *known = NIL;

	rules = SPI_tuptable;
	for (uint64 r = 0; r < nrules; r++)
	{
		bool		isnull;
		char	   *channel = SPI_getvalue(rules->vals[r], rules->tupdesc, 1);
		Datum		from = SPI_getbinval(rules->vals[r], rules->tupdesc, 2, &isnull);
		Datum		to = SPI_getbinval(rules->vals[r], rules->tupdesc, 3, &isnull);

		for (int i = 0; i < decision->count; i++)
		{
			DueMessage *message = &decision->messages[i];
			const QuietEnd *end;

			if (message->verdict != NULL || message->transactional || strcmp(message->channel, channel) != 0)
				continue;
			if (decision->zones == NULL)
			{
				int			npersons;
				int64	   *persons = due_persons(decision->messages, decision->count, true, &npersons);

				decision->zones = zones_load(npersons, persons);
			}
			end = quiet_end(&known, decision, message->channel, zone_of(decision->zones, message->person), from, to);
			if (end->is_quiet)
			{
				message->verdict = "quiet hours";
				message->put_off = true;
				message->until = end->until;
			}
		}
	}
	SPI_freetuptable(rules);
}

void
decide_messages(DueMessage *messages, int count, TimestampTz at)
{
	Decision	decision = {.messages = messages, .count = count, .at = at};
	bool		marketing = false;

	if (count == 0)
		return;
	load_guards(&decision);
	decide_by_message(&decision);
	decide_by_holdout(&decision);
	decide_by_code(&decision);
	for (int which = 0; which < ASK_KINDS; which++)
		decide_by_facts(&decision, which);
	for (int i = 0; i < count; i++)
		marketing |= messages[i].verdict == NULL && !messages[i].transactional;
	if (marketing)
	{
		decide_by_quiet_hours(&decision);
		decide_by_caps(messages, count, at, &decision.zones);
	}
}

/*
 * cap.c
 *		How many messages a person gets at the most: an auction.
 *
 * By priority, each message takes a place under every cap that binds it, or none. Whatever may have been sent is counted. What may
 * have been sent and is to be tried again has its place.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#include "base/compare.h"
#include "base/kept_plan.h"
#include "base/name_list.h"
#include "base/row.h"
#include "compat.h"
#include "feed/feed.h"
#include "outbox/decide.h"

/* A row of crm.cap. */
typedef struct Cap
{
	int			max;
	Interval   *per;			/* within any such span; NULL: within each of a calendar's */
	text	   *calendar;		/* day, week, month */
	List	   *channels;		/* of const char *; all if every_channel */
	List	   *purposes;		/* likewise */
	bool		every_channel;
	bool		every_purpose;
} Cap;

/* A message that a person has had, or may have had. */
typedef struct Had
{
	int64		person;
	const char *channel;
	const char *purpose;
	TimestampTz at;
	int64		waits;			/* the message, if it waits to be tried again; else 0 */
} Had;

/* The room that a cap leaves a person. */
typedef struct Room
{
	const Cap  *cap;
	List	   *waiting;		/* of const int64 *: what has its place */
	int			count;			/* of what is counted */
	TimestampTz *frees;			/* until when each is, ascending */
	int			taken;			/* given away here */
} Room;

typedef struct Auction
{
	TimestampTz at;
	List	   *caps;			/* of Cap * */
	int			nhad;
	Had		   *had;			/* by person */
	const Zones *zones;
} Auction;

static List *
names_of(uint64 row, int column, bool *every)
{
	Datum		value = row_datum(row, column, every);
	List	   *names = NIL;
	Datum	   *elements;
	int			count;

	if (*every)
		return NIL;
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
		names = lappend(names, TextDatumGetCString(elements[i]));
	return names;
}

static List *
load_caps(void)
{
	static SPIPlanPtr kept = NULL;
	List	   *caps = NIL;

	kept_execute(&kept, "SELECT c.max, c.per, c.calendar, c.channels, c.purposes FROM crm.cap AS c", 0, NULL, NULL, NULL, true);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Cap		   *cap = palloc0(sizeof(Cap));
		bool		isnull;
		Datum		value;

		cap->max = DatumGetInt32(row_value(i, 1));
		value = row_datum(i, 2, &isnull);
		if (!isnull)
		{
			cap->per = palloc(sizeof(Interval));
			*cap->per = *DatumGetIntervalP(value);
		}
		else
			cap->calendar = DatumGetTextPCopy(row_value(i, 3));
		cap->channels = names_of(i, 4, &cap->every_channel);
		cap->purposes = names_of(i, 5, &cap->every_purpose);
		caps = lappend(caps, cap);
	}
	SPI_freetuptable(SPI_tuptable);
	return caps;
}

static TimestampTz
later(TimestampTz at, const Interval *span)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(at), IntervalPGetDatum(span)));
}

/* What was handed out before counts under no cap. A month may be 31 days, and a day 25 hours. */
static TimestampTz
counts_from(const Auction *auction)
{
	TimestampTz from = auction->at;
	ListCell   *cell;

	foreach(cell, auction->caps)
	{
		const Cap  *cap = lfirst(cell);
		int64		days = 32;

		if (cap->per != NULL)
			days = (int64) cap->per->month * (cap->per->month < 0 ? 28 : 31) + cap->per->day + cap->per->time / USECS_PER_DAY + 3;

		from = Min(from, auction->at - days * USECS_PER_DAY);
	}
	return from;
}

static int
had_compare(const void *a, const void *b)
{
	const Had  *x = a;
	const Had  *y = b;

	return x->person < y->person ? -1 : x->person > y->person;
}

static void
load_had(Auction *auction, int npersons, const int64 *persons)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, TIMESTAMPTZOID};
	Datum		values[] = {feed_id_array(npersons, persons), TimestampTzGetDatum(counts_from(auction))};
	int			probes;

	probes = probes_begin();
	/* subqueries of their own, so that each is a probe of an index, whatever is in the tables when this is planned */
	kept_execute(&kept, "WITH id AS MATERIALIZED ("
				 "SELECT u.person, u.person AS id FROM unnest($1) AS u(person) UNION ALL "
				 "SELECT a.customer_id, a.alias FROM crm.alias AS a WHERE a.customer_id = ANY ($1)) "
				 "SELECT i.person, m.channel, m.purpose, m.handed_at, NULL::bigint FROM id AS i CROSS JOIN LATERAL ("
				 "SELECT m.channel, m.purpose, m.handed_at FROM crm.message AS m WHERE m.customer_id = i.id "
				 "AND m.state NOT IN ('queued', 'unknown') AND m.handed_at > $2 AND NOT m.transactional OFFSET 0) AS m "
				 "UNION ALL "
				 "SELECT i.person, m.channel, m.purpose, o.handed_at, CASE WHEN o.token IS NULL THEN o.message_id END "
				 "FROM id AS i CROSS JOIN LATERAL ("
				 "SELECT o.message_id, o.customer_id, o.handed_at, o.token FROM crm.outbox AS o WHERE o.customer_id = i.id "
				 "AND o.handed_at > $2 OFFSET 0) AS o CROSS JOIN LATERAL ("
				 "SELECT m.channel, m.purpose FROM crm.message AS m WHERE m.customer_id = o.customer_id "
				 "AND m.message_id = o.message_id AND NOT m.transactional OFFSET 0) AS m",
				 2, types, values, NULL, true);
	probes_end(probes);
	auction->nhad = (int) SPI_processed;
	auction->had = palloc(sizeof(Had) * (Size) auction->nhad);
	for (int i = 0; i < auction->nhad; i++)
	{
		Had		   *had = &auction->had[i];
		bool		isnull;
		Datum		waits = row_datum(i, 5, &isnull);

		had->person = row_int64(i, 1);
		had->channel = row_text(i, 2);
		had->purpose = row_text(i, 3);
		had->at = DatumGetTimestampTz(row_value(i, 4));
		had->waits = isnull ? 0 : DatumGetInt64(waits);
	}
	SPI_freetuptable(SPI_tuptable);
	qsort(auction->had, auction->nhad, sizeof(Had), had_compare);
}

static bool
binds(const Cap *cap, const char *channel, const char *purpose)
{
	return (cap->every_channel || name_list_has(cap->channels, channel, (int) strlen(channel))) &&
		(cap->every_purpose || name_list_has(cap->purposes, purpose, (int) strlen(purpose)));
}

/* The day, week or month of the zone in which the instant is; as SQL has it. */
static void
calendar_span(text *calendar, text *zone, TimestampTz at, TimestampTz *begins, TimestampTz *ends)
{
	Datum		name = PointerGetDatum(zone);
	Datum		local = DirectFunctionCall2(timestamptz_zone, name, TimestampTzGetDatum(at));
	Datum		start = DirectFunctionCall2(timestamp_trunc, PointerGetDatum(calendar), local);
	Interval	length = {0};
	Datum		end;

	if (memcmp(VARDATA_ANY(calendar), "m", 1) == 0)
		length.month = 1;
	else
		length.day = memcmp(VARDATA_ANY(calendar), "w", 1) == 0 ? 7 : 1;
	end = DirectFunctionCall2(timestamp_pl_interval, start, IntervalPGetDatum(&length));
	*begins = DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, name, start));
	*ends = DatumGetTimestampTz(DirectFunctionCall2(timestamp_zone, name, end));
}

static Room *
make_room(const Auction *auction, const Cap *cap, int64 person, const Had *had, int nhad)
{
	Room	   *room = palloc0(sizeof(Room));
	TimestampTz begins = 0;
	TimestampTz ends = 0;

	room->cap = cap;
	room->frees = palloc(sizeof(TimestampTz) * (Size) Max(nhad, 1));
	if (cap->calendar != NULL && nhad > 0)
		calendar_span(cap->calendar, zone_of(auction->zones, person), auction->at, &begins, &ends);
	for (int i = 0; i < nhad; i++)
	{
		TimestampTz free = cap->per != NULL ? later(had[i].at, cap->per) : ends;

		if (!binds(cap, had[i].channel, had[i].purpose) || (cap->per != NULL ? free <= auction->at : had[i].at < begins))
			continue;
		room->frees[room->count++] = free;
		if (had[i].waits != 0)
			room->waiting = lappend(room->waiting, unconstify(int64 *, &had[i].waits));
	}
	qsort(room->frees, room->count, sizeof(TimestampTz), int64_compare);
	return room;
}

/* One for each cap, in the caps' order. */
static List *
make_rooms(const Auction *auction, int64 person)
{
	List	   *rooms = NIL;
	ListCell   *cell;
	int			low = 0,
				high = auction->nhad;
	int			end;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (auction->had[middle].person < person)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < auction->nhad && auction->had[end].person == person; end++)
		continue;
	foreach(cell, auction->caps)
		rooms = lappend(rooms, make_room(auction, lfirst(cell), person, auction->had + low, end - low));
	return rooms;
}

static bool
has_place(const Room *room, const DueMessage *message)
{
	ListCell   *cell;

	foreach(cell, room->waiting)
	{
		if (*(const int64 *) lfirst(cell) == message->id)
			return true;
	}
	return false;
}

/*
 * When there is room: when enough of what was had counts no more. If others only go first now, soon; if there never is, tomorrow
 * the cap may be another one.
 */
static TimestampTz
has_room_at(const Room *room, TimestampTz at)
{
	if (room->count < room->cap->max)
		return at + USECS_PER_MINUTE;
	if (room->cap->max == 0)
		return later(at, &(Interval) {.day = 1});
	return room->frees[room->count - room->cap->max];
}

static void
take_place(DueMessage *message, List *rooms, TimestampTz at)
{
	ListCell   *cell;

	foreach(cell, rooms)
	{
		const Room *room = lfirst(cell);

		if (binds(room->cap, message->channel, message->purpose) && !has_place(room, message) &&
			room->count + room->taken >= room->cap->max)
		{
			TimestampTz until = has_room_at(room, at);

			message->until = message->verdict == NULL ? until : Max(message->until, until);
			message->verdict = "cap";
			message->put_off = true;
		}
	}
	if (message->verdict != NULL)
		return;
	foreach(cell, rooms)
	{
		Room	   *room = lfirst(cell);

		if (binds(room->cap, message->channel, message->purpose) && !has_place(room, message))
			room->taken++;
	}
}

/* Of whom it is not known which day it is. */
static void
put_off_unzoned(const Cap *cap, const Zones *zones, DueMessage *messages, int count, TimestampTz at)
{
	for (int i = 0; i < count; i++)
	{
		DueMessage *message = &messages[i];
		const char *error;

		if (message->verdict != NULL || message->transactional || !binds(cap, message->channel, message->purpose))
			continue;
		error = zone_error(zones, message->person);
		if (error != NULL)
			due_put_off(message, error, at);
	}
}

/* By person; of each in the order in which they go first. */
static int
bid_compare(const void *a, const void *b)
{
	const DueMessage *x = *(DueMessage *const *) a;
	const DueMessage *y = *(DueMessage *const *) b;

	if (x->person != y->person)
		return x->person < y->person ? -1 : 1;
	return due_compare(x, y);
}

void
decide_by_caps(DueMessage *messages, int count, TimestampTz at, const Zones **zones)
{
	Auction		auction = {.at = at, .caps = load_caps()};
	DueMessage **bids;
	List	   *rooms = NIL;
	int64	   *persons;
	int			npersons;
	int			nbids = 0;
	ListCell   *cell;

	if (auction.caps == NIL)
		return;
	persons = due_persons(messages, count, true, &npersons);
	foreach(cell, auction.caps)
	{
		const Cap  *cap = lfirst(cell);

		if (cap->calendar == NULL)
			continue;
		if (*zones == NULL)
			*zones = zones_load(npersons, persons);
		put_off_unzoned(cap, *zones, messages, count, at);
	}
	auction.zones = *zones;
	load_had(&auction, npersons, persons);
	bids = palloc(sizeof(DueMessage *) * (Size) count);
	for (int i = 0; i < count; i++)
	{
		if (messages[i].verdict == NULL && !messages[i].transactional)
			bids[nbids++] = &messages[i];
	}
	qsort(bids, nbids, sizeof(DueMessage *), bid_compare);
	for (int i = 0; i < nbids; i++)
	{
		if (i == 0 || bids[i]->person != bids[i - 1]->person)
			rooms = make_rooms(&auction, bids[i]->person);
		take_place(bids[i], rooms, at);
	}
}

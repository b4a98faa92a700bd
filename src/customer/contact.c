/*
 * contact.c
 *		crm.contact_states() and crm.contact_rows(): what is stored of contacts and consents, person by person.
 *
 * All of it comes from one query, ordered by person, so that it makes no difference whether one is asked for or all are: a
 * person is complete when the next one begins, and nothing but he is in memory.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#include "base/kept_plan.h"
#include "customer/contact.h"
#include "feed/feed.h"

PG_FUNCTION_INFO_V1(crm_customer_contact_states);
PG_FUNCTION_INFO_V1(crm_customer_contact_rows);

#define ROWS_AT_ONCE 1000
#define FEW 1000

/* What a row of the query is. */
enum
{
	ROW_CONTACT = 1,
	ROW_IDENTITY,
	ROW_CONSENT
};

typedef struct Reading Reading;

struct Reading
{
	void		(*give) (Reading *reading, const Person *person);
	ReturnSetInfo *result;		/* for what gives rows */
	List	  **rows;			/* for what gathers them */
	MemoryContext caller;
	const char *channel;		/* NULL: all */
	bool		addresses_only;
	List	   *channels;		/* of Channel *, by name */
	MemoryContext memory;		/* of the person */
	Person	   *person;
};

/*
 * $1: of the people who have these ids, all ids; without it, of all. Suppressions are joined before the consents are there: those
 * have no address, and a hash join would split its batches for so many NULLs again and again. Of some, what is joined is a subquery
 * with OFFSET 0, so that it is a probe of an index, whatever was in the tables when it was planned.
 */
#define QUERY_BEGIN \
	"SELECT coalesce(a.customer_id, x.customer_id), x.customer_id, coalesce(a.joined_at, '-infinity'), " \
	"x.what, x.name, x.value, x.suppressed, x.granted, x.at, x.number FROM ("
#define QUERY_CONTACTS(suppression) \
	"SELECT c.customer_id, 1 AS what, c.channel AS name, c.address AS value, s.channel AS suppressed, NULL::boolean AS granted, " \
	"NULL::timestamptz AS at, NULL::bigint AS number " \
	"FROM crm.contact AS c JOIN crm.channel AS h USING (channel) " suppression("crm.address_hash(h.kind, c.address)")
#define QUERY_IDENTITIES(suppression) \
	" UNION ALL SELECT i.customer_id, 2, i.namespace, i.value, s.channel, NULL, NULL, NULL " \
	"FROM crm.identity AS i " suppression("crm.address_hash(i.namespace, i.value)") "WHERE (i.source = 'feed' OR i.raw IS NOT NULL)"
#define QUERY_CONSENTS \
	" UNION ALL SELECT c.customer_id, 3, c.channel, c.purpose, NULL, c.granted, c.at, c.consent_id FROM crm.consent AS c"
#define QUERY_END(alias) ") AS x " alias " ORDER BY 1, 2, 4, 5, 6"
#define EACH_SUPPRESSION(hash) "LEFT JOIN crm.suppression AS s ON s.address_hash = " hash " "
#define EACH_ALIAS "LEFT JOIN crm.alias AS a ON a.alias = x.customer_id"
#define ONE_SUPPRESSION(hash) \
	"LEFT JOIN LATERAL (SELECT s.channel FROM crm.suppression AS s WHERE s.address_hash = " hash " OFFSET 0) AS s ON true "
#define ONE_ALIAS \
	"LEFT JOIN LATERAL (SELECT a.customer_id, a.joined_at FROM crm.alias AS a WHERE a.alias = x.customer_id OFFSET 0) AS a ON true"
static const char *const query_of_some = QUERY_BEGIN QUERY_CONTACTS(ONE_SUPPRESSION) "WHERE c.customer_id = ANY ($1)"
	QUERY_IDENTITIES(ONE_SUPPRESSION) " AND i.customer_id = ANY ($1)" QUERY_CONSENTS " WHERE c.customer_id = ANY ($1)"
	QUERY_END(ONE_ALIAS);
static const char *const query_of_addresses = QUERY_BEGIN QUERY_CONTACTS(ONE_SUPPRESSION) "WHERE c.customer_id = ANY ($1)"
	QUERY_IDENTITIES(ONE_SUPPRESSION) " AND i.customer_id = ANY ($1)" QUERY_END(ONE_ALIAS);
static const char *const query_of_all = QUERY_BEGIN QUERY_CONTACTS(EACH_SUPPRESSION) QUERY_IDENTITIES(EACH_SUPPRESSION) QUERY_CONSENTS
	QUERY_END(EACH_ALIAS);

static List *
load_channels(void)
{
	static SPIPlanPtr kept = NULL;
	List	   *channels = NIL;

	if (SPI_execute_plan(kept_plan(&kept, "SELECT c.channel, c.kind FROM crm.channel AS c ORDER BY c.channel COLLATE \"C\"", 0, NULL),
						 NULL, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.channel");
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		Channel    *channel = palloc(sizeof(Channel));

		channel->name = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1);
		channel->kind = SPI_getvalue(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 2);
		channels = lappend(channels, channel);
	}
	SPI_freetuptable(SPI_tuptable);
	return channels;
}

/* The person whose row this is; a new one when it is not the one whom we are at. */
static void
turn_to(Reading *reading, int64 customer)
{
	MemoryContext old;

	if (reading->person != NULL && reading->person->customer == customer)
		return;
	if (reading->person != NULL)
	{
		old = MemoryContextSwitchTo(reading->memory);
		reading->give(reading, reading->person);
		MemoryContextSwitchTo(old);
		MemoryContextReset(reading->memory);
	}
	reading->person = MemoryContextAllocZero(reading->memory, sizeof(Person));
	reading->person->customer = customer;
}

static void
take_row(Reading *reading, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull;
	int64		id = DatumGetInt64(SPI_getbinval(tuple, desc, 2, &isnull));
	int			what = DatumGetInt32(SPI_getbinval(tuple, desc, 4, &isnull));
	MemoryContext old;
	Person	   *person;
	PersonId   *last;
	char	   *name;
	char	   *value;

	turn_to(reading, DatumGetInt64(SPI_getbinval(tuple, desc, 1, &isnull)));
	old = MemoryContextSwitchTo(reading->memory);
	person = reading->person;
	last = person->ids == NIL ? NULL : llast(person->ids);
	if (last == NULL || last->id != id)
	{
		last = palloc(sizeof(PersonId));
		last->id = id;
		last->joined_at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 3, &isnull));
		person->ids = lappend(person->ids, last);
	}
	name = SPI_getvalue(tuple, desc, 5);
	value = SPI_getvalue(tuple, desc, 6);
	if (what == ROW_CONSENT)
	{
		Statement  *statement = palloc(sizeof(Statement));

		statement->id = list_length(person->ids) - 1;
		statement->channel = name;
		statement->purpose = value;
		statement->granted = DatumGetBool(SPI_getbinval(tuple, desc, 8, &isnull));
		statement->at = DatumGetTimestampTz(SPI_getbinval(tuple, desc, 9, &isnull));
		statement->number = DatumGetInt64(SPI_getbinval(tuple, desc, 10, &isnull));
		person->statements = lappend(person->statements, statement);
	}
	else
	{
		PersonAddress *address = person->addresses == NIL ? NULL : llast(person->addresses);
		bool		set = what == ROW_CONTACT;
		char	   *suppressed = SPI_getvalue(tuple, desc, 7);

		/* an address that is suppressed on several channels has several rows */
		if (address == NULL || address->id != list_length(person->ids) - 1 || address->set != set ||
			strcmp(address->name, name) != 0 || value == NULL || strcmp(address->address, value) != 0)
		{
			address = palloc0(sizeof(PersonAddress));
			address->id = list_length(person->ids) - 1;
			address->set = set;
			address->name = name;
			address->address = value;
			person->addresses = lappend(person->addresses, address);
		}
		if (suppressed != NULL)
			address->suppressed = lappend(address->suppressed, suppressed);
	}
	MemoryContextSwitchTo(old);
}

/* The rows that SPI has; returns how many. */
static uint64
take_rows(Reading *reading)
{
	uint64		count = SPI_processed;

	for (uint64 i = 0; i < count; i++)
		take_row(reading, SPI_tuptable->vals[i], SPI_tuptable->tupdesc);
	SPI_freetuptable(SPI_tuptable);
	CHECK_FOR_INTERRUPTS();
	return count;
}

/* Gives each person; ids: of those of these ids, NULL: of all. */
static void
read_people(Reading *reading, int count, const int64 *ids)
{
	static SPIPlanPtr kept = NULL;
	static SPIPlanPtr kept_addresses = NULL;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[1];
	Portal		portal = NULL;

	reading->caller = CurrentMemoryContext;
	SPI_connect();
	reading->channels = load_channels();
	reading->memory = AllocSetContextCreate(CurrentMemoryContext, "crm contacts of a person", ALLOCSET_DEFAULT_SIZES);
	if (ids == NULL)
		portal = SPI_cursor_open_with_args(NULL, query_of_all, 0, NULL, NULL, NULL, true, 0);
	else
	{
		const FeedCustomers *customers = feed_customers(count, ids);
		SPIPlanPtr	plan;
		int			probes;

		values[0] = feed_id_array(customers->nsought, customers->sought);
		probes = probes_begin();
		plan = reading->addresses_only ? kept_plan(&kept_addresses, query_of_addresses, 1, types) :
			kept_plan(&kept, query_of_some, 1, types);
		/* of few all at once: a cursor costs more than their rows */
		if (count > FEW)
			portal = SPI_cursor_open(NULL, plan, values, NULL, true);
		else if (SPI_execute_plan(plan, values, NULL, true, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not read contacts");
		probes_end(probes);
	}
	if (portal == NULL)
		take_rows(reading);
	else
	{
		do
		{
			SPI_cursor_fetch(portal, true, ROWS_AT_ONCE);
		} while (take_rows(reading) > 0);
		SPI_cursor_close(portal);
	}
	if (reading->person != NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(reading->memory);

		reading->give(reading, reading->person);
		MemoryContextSwitchTo(old);
	}
	SPI_finish();
}

/* The address of one of the ids on a channel: what was set for it, else what the feed says. NULL if there is none. */
static const PersonAddress *
address_on(const Person *person, int id, const Channel *channel)
{
	const PersonAddress *result = NULL;
	ListCell   *cell;

	foreach(cell, person->addresses)
	{
		const PersonAddress *address = lfirst(cell);

		if (address->id == id && strcmp(address->name, address->set ? channel->name : channel->kind) == 0 &&
			(result == NULL || (address->set && !result->set)))
			result = address;
	}
	return result != NULL && result->address != NULL ? result : NULL;
}

/* Who is not to be called is not to be given to somebody who calls. */
static bool
is_suppressed(const PersonAddress *address, const Channel *channel)
{
	ListCell   *cell;

	foreach(cell, address->suppressed)
	{
		const char *on = lfirst(cell);

		if (strcmp(on, "*") == 0 || strcmp(on, channel->name) == 0 ||
			(strcmp(on, "call") == 0 && strcmp(channel->name, "task") == 0))
			return true;
	}
	return false;
}

static Datum
text_array(const List *texts)
{
	Datum	   *items = palloc(sizeof(Datum) * (Size) (list_length(texts) + 1));
	ListCell   *cell;
	int			count = 0;

	foreach(cell, texts)
		items[count++] = CStringGetTextDatum((const char *) lfirst(cell));
	return PointerGetDatum(construct_array(items, count, TEXTOID, -1, false, TYPALIGN_INT));
}

static void
give_state(Reading *reading, const Person *person)
{
	List	   *agreements = person_agreements(person);
	List	   *channels = NIL;
	List	   *consents = NIL;
	List	   *reachable = NIL;
	ListCell   *cell;
	ListCell   *other;
	Datum		values[4];
	bool		nulls[4] = {false};

	foreach(cell, agreements)
	{
		const Agreement *agreement = lfirst(cell);
		const Agreement *before = foreach_current_index(cell) == 0 ? NULL : list_nth(agreements, foreach_current_index(cell) - 1);

		if (before == NULL || strcmp(before->channel, agreement->channel) != 0)
			consents = lappend(consents, unconstify(char *, agreement->channel));
		consents = lappend(consents, psprintf("%s:%s", agreement->channel, agreement->purpose));
	}
	foreach(cell, reading->channels)
	{
		const Channel *channel = lfirst(cell);
		bool		has_address = false;
		bool		can_reach = false;

		for (int id = 0; id < list_length(person->ids); id++)
		{
			const PersonAddress *address = address_on(person, id, channel);

			if (address == NULL)
				continue;
			has_address = true;
			foreach(other, agreements)
			{
				const Agreement *agreement = lfirst(other);

				can_reach |= agreement->covers[id] && strcmp(agreement->purpose, "marketing") == 0 &&
					strcmp(agreement->channel, channel->name) == 0 && !is_suppressed(address, channel);
			}
		}
		if (has_address)
			channels = lappend(channels, unconstify(char *, channel->name));
		if (can_reach)
			reachable = lappend(reachable, unconstify(char *, channel->name));
	}
	values[0] = Int64GetDatum(person->customer);
	values[1] = text_array(channels);
	values[2] = text_array(consents);
	values[3] = text_array(reachable);
	tuplestore_putvalues(reading->result->setResult, reading->result->setDesc, values, nulls);
}

static void
gather_rows(Reading *reading, const Person *person)
{
	List	   *agreements = person_agreements(person);
	ListCell   *cell;
	ListCell   *other;

	foreach(cell, reading->channels)
	{
		const Channel *channel = lfirst(cell);

		if (reading->channel != NULL && strcmp(channel->name, reading->channel) != 0)
			continue;
		for (int id = 0; id < list_length(person->ids); id++)
		{
			const PersonAddress *address = address_on(person, id, channel);
			MemoryContext old;
			ContactRow *row;

			if (address == NULL)
				continue;
			old = MemoryContextSwitchTo(reading->caller);
			row = palloc0(sizeof(ContactRow));
			row->person = person->customer;
			row->id = ((const PersonId *) list_nth(person->ids, id))->id;
			row->channel = pstrdup(channel->name);
			row->address = pstrdup(address->address);
			foreach(other, agreements)
			{
				const Agreement *agreement = lfirst(other);

				if (agreement->covers[id] && strcmp(agreement->channel, channel->name) == 0)
					row->purposes = lappend(row->purposes, pstrdup(agreement->purpose));
			}
			row->suppressed = is_suppressed(address, channel);
			*reading->rows = lappend(*reading->rows, row);
			MemoryContextSwitchTo(old);
		}
	}
}

List *
contact_rows(int count, const int64 *persons, const char *channel, bool purposes)
{
	List	   *rows = NIL;
	Reading		reading = {.give = gather_rows, .rows = &rows, .channel = channel, .addresses_only = !purposes};

	read_people(&reading, count, persons);
	return rows;
}

static void
give_rows(Reading *reading, const Person *person)
{
	List	   *rows = NIL;
	Reading		gathering = {.channels = reading->channels, .rows = &rows, .caller = CurrentMemoryContext};
	ListCell   *cell;

	gather_rows(&gathering, person);
	foreach(cell, rows)
	{
		const ContactRow *row = lfirst(cell);
		Datum		values[6] = {Int64GetDatum(row->person), Int64GetDatum(row->id), CStringGetTextDatum(row->channel),
		CStringGetTextDatum(row->address), text_array(row->purposes), BoolGetDatum(row->suppressed)};
		bool		nulls[6] = {false};

		tuplestore_putvalues(reading->result->setResult, reading->result->setDesc, values, nulls);
	}
}

static void
give_people(FunctionCallInfo fcinfo, void (*give) (Reading *reading, const Person *person))
{
	Reading		reading = {.give = give, .result = (ReturnSetInfo *) fcinfo->resultinfo};
	ArrayType  *ids;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
	{
		read_people(&reading, 0, NULL);
		return;
	}
	ids = PG_GETARG_ARRAYTYPE_P(0);
	if (array_contains_nulls(ids))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("customers must not be null")));
	read_people(&reading, ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids)), (const int64 *) ARR_DATA_PTR(ids));
}

Datum
crm_customer_contact_states(PG_FUNCTION_ARGS)
{
	give_people(fcinfo, give_state);
	return (Datum) 0;
}

Datum
crm_customer_contact_rows(PG_FUNCTION_ARGS)
{
	give_people(fcinfo, give_rows);
	return (Datum) 0;
}

/*
 * membership.c
 *		Writing who is in which segments, the log of who came and went, and what triggers have met.
 *
 * A batch goes to the server as arrays, one element a row. What is itself an array in each row (segments) travels as one
 * long array, of which each row takes its slice.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "segment/listener.h"
#include "segment/membership.h"
#include "segment/population.h"

/* So many segments or changes, and the batch is written. */
#define BATCH 100000

static const char *const reason_names[] = {"edit", "time", "fact", "gone", "merge"};

/* Fixed-size elements that become an SQL array. */
typedef struct Vector
{
	Oid			type;
	int			width;
	int			count;
	int			room;			/* in elements */
	char	   *array;			/* ArrayType, of which the header is filled in at the end */
} Vector;

/* New rows of crm.membership, or changed ones. */
typedef struct Rows
{
	Vector		customers;
	Vector		offsets;
	Vector		counts;
	Vector		segments;
} Rows;

typedef struct Change
{
	int			customer;		/* how many customers came before */
	TimestampTz at;
	int32		segment;
	uint8		reason;
	bool		entered;
} Change;

struct MembershipWriter
{
	MemoryContext context;
	Rows		inserts;
	Rows		updates;
	Vector		deletes;

	Vector		due_customers;	/* deadlines, and those that are no more */
	Vector		due_slots;
	Vector		dues;
	Vector		due_segments;
	Vector		due_since;
	Vector		undue;

	Vector		met_customers;	/* occurrences */
	Vector		met_segments;
	Vector		met_events;
	Vector		met_since;
	List	   *met_kinds;		/* of Datum, texts */

	int			nchanges;
	int			changes_room;
	bool		sorted;
	Change	   *changes;
	Vector		customers;		/* of the changes */

	SPIPlanPtr	insert_plan;
	SPIPlanPtr	update_plan;
	SPIPlanPtr	delete_plan;
	SPIPlanPtr	log_plan;
	SPIPlanPtr	deadline_plan;
	SPIPlanPtr	undue_plan;
	SPIPlanPtr	met_plan;
};

static void
vector_init(Vector *vector, Oid type, int width)
{
	vector->type = type;
	vector->width = width;
	vector->count = 0;
	vector->room = 1024;
	vector->array = palloc(ARR_OVERHEAD_NONULLS(1) + (Size) vector->room * width);
}

/* Room for more elements, which are uninitialised. */
static void *
vector_extend(Vector *vector, int count)
{
	char	   *place;

	if (vector->room - vector->count < count)
	{
		while (vector->room - vector->count < count)
			vector->room *= 2;
		/* a batch is some thousand customers with their segments: nowhere near the limit of an allocation */
		vector->array = repalloc(vector->array, ARR_OVERHEAD_NONULLS(1) + (Size) vector->room * vector->width);
	}
	place = vector->array + ARR_OVERHEAD_NONULLS(1) + (Size) vector->count * vector->width;
	vector->count += count;
	return place;
}

static void
vector_int32(Vector *vector, int32 value)
{
	*(int32 *) vector_extend(vector, 1) = value;
}

static void
vector_int64(Vector *vector, int64 value)
{
	*(int64 *) vector_extend(vector, 1) = value;
}

static Datum
vector_datum(Vector *vector)
{
	ArrayType  *array = (ArrayType *) vector->array;

	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + (Size) vector->count * vector->width);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = vector->type;
	ARR_DIMS(array)[0] = vector->count;
	ARR_LBOUND(array)[0] = 1;
	return PointerGetDatum(array);
}

static void
rows_init(Rows *rows)
{
	vector_init(&rows->customers, INT8OID, sizeof(int64));
	vector_init(&rows->offsets, INT4OID, sizeof(int32));
	vector_init(&rows->counts, INT4OID, sizeof(int32));
	vector_init(&rows->segments, INT4OID, sizeof(int32));
}

static SPIPlanPtr
prepare(const char *sql, int nargs, Oid *types)
{
	SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

	if (plan == NULL)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	return plan;
}

static void
run(SPIPlanPtr plan, Datum *values, int expected)
{
	int			rc = SPI_execute_plan(plan, values, NULL, false, 0);

	if (rc != expected)
		elog(ERROR, "could not store memberships: %s", SPI_result_code_string(rc));
}

MembershipWriter *
membership_writer_create(void)
{
	Oid			rows[] = {INT8ARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID};
	Oid			log[] = {INT8ARRAYOID, TIMESTAMPTZARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT4ARRAYOID, INT4ARRAYOID,
	INT4ARRAYOID};
	Oid			occurrences[] = {INT8ARRAYOID, INT4ARRAYOID, TEXTARRAYOID, TIMESTAMPTZARRAYOID, TIMESTAMPTZARRAYOID};
	Oid			deadlines[] = {INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID, INT4ARRAYOID, TIMESTAMPTZARRAYOID};
	MembershipWriter *writer = palloc0(sizeof(MembershipWriter));

	writer->context = CurrentMemoryContext;
	rows_init(&writer->inserts);
	rows_init(&writer->updates);
	vector_init(&writer->deletes, INT8OID, sizeof(int64));
	vector_init(&writer->customers, INT8OID, sizeof(int64));
	vector_init(&writer->due_customers, INT8OID, sizeof(int64));
	vector_init(&writer->due_slots, INT4OID, sizeof(int32));
	vector_init(&writer->dues, TIMESTAMPTZOID, sizeof(TimestampTz));
	vector_init(&writer->due_segments, INT4OID, sizeof(int32));
	vector_init(&writer->due_since, TIMESTAMPTZOID, sizeof(TimestampTz));
	vector_init(&writer->undue, INT8OID, sizeof(int64));
	vector_init(&writer->met_customers, INT8OID, sizeof(int64));
	vector_init(&writer->met_segments, INT4OID, sizeof(int32));
	vector_init(&writer->met_events, TIMESTAMPTZOID, sizeof(TimestampTz));
	vector_init(&writer->met_since, TIMESTAMPTZOID, sizeof(TimestampTz));
	writer->sorted = true;

	writer->insert_plan =
		prepare("INSERT INTO crm.membership (customer_id, segments) "
				"SELECT u.c, ($4)[u.o OPERATOR(pg_catalog.+) 1 : u.o OPERATOR(pg_catalog.+) u.n] "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u (c, o, n)",
				4, rows);
	writer->update_plan =
		prepare("UPDATE crm.membership AS m SET segments = ($4)[u.o OPERATOR(pg_catalog.+) 1 : u.o OPERATOR(pg_catalog.+) u.n] "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS u (c, o, n) "
				"WHERE m.customer_id OPERATOR(pg_catalog.=) u.c",
				4, rows);
	writer->delete_plan =
		prepare("DELETE FROM crm.membership WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1)", 1, rows);
	writer->log_plan =
		prepare("INSERT INTO crm.membership_change (customer_id, at, reason, entered, exited) "
				"SELECT u.c, u.at, u.reason, ($4)[u.o OPERATOR(pg_catalog.+) 1 : u.o OPERATOR(pg_catalog.+) u.n], "
				"($4)[u.o OPERATOR(pg_catalog.+) u.n OPERATOR(pg_catalog.+) 1 : "
				"u.o OPERATOR(pg_catalog.+) u.n OPERATOR(pg_catalog.+) u.x] "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
				"pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7)) AS u (c, at, reason, o, n, x)",
				7, log);
	writer->deadline_plan =
		prepare("INSERT INTO crm.deadline AS d (customer_id, slot, due, segment_id, evaluated_at) "
				"SELECT u.c, u.s, u.due, u.g, u.e "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
				"pg_catalog.unnest($4), pg_catalog.unnest($5)) AS u (c, s, due, g, e) "
				"ON CONFLICT (customer_id) DO UPDATE SET due = excluded.due, segment_id = excluded.segment_id, "
				"evaluated_at = excluded.evaluated_at",
				5, deadlines);
	writer->undue_plan =
		prepare("DELETE FROM crm.deadline WHERE customer_id OPERATOR(pg_catalog.=) ANY ($1)", 1, rows);
	writer->met_plan =
		prepare("WITH new AS (INSERT INTO crm.occurrence (customer_id, segment_id, kind, event_at, started_at) "
				"SELECT u.c, u.s, u.k, u.e, u.t "
				"FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3), "
				"pg_catalog.unnest($4), pg_catalog.unnest($5)) AS u (c, s, k, e, t) "
				"ON CONFLICT DO NOTHING RETURNING customer_id, segment_id, kind, event_at, started_at) "
				"INSERT INTO crm.occurrence_queue (seq, customer_id, segment_id, kind, event_at, started_at) "
				"SELECT pg_catalog.nextval('crm.occurrence_seq'), n.customer_id, n.segment_id, n.kind, n.event_at, n.started_at "
				"FROM new AS n",
				5, occurrences);
	return writer;
}

void
membership_put(MembershipWriter *writer, int64 customer, bool stored, const int32 *segments, int count)
{
	Rows	   *rows = stored ? &writer->updates : &writer->inserts;

	if (count > 0)
	{
		vector_int64(&rows->customers, customer);
		vector_int32(&rows->offsets, rows->segments.count);
		vector_int32(&rows->counts, count);
		memcpy(vector_extend(&rows->segments, count), segments, sizeof(int32) * (Size) count);
	}
	else if (stored)
		vector_int64(&writer->deletes, customer);

	membership_flush_if_full(writer);
}

void
membership_deadline(MembershipWriter *writer, int64 customer, bool stored, TimestampTz due, int32 segment,
					TimestampTz evaluated_at)
{
	if (!TIMESTAMP_IS_NOEND(due))
	{
		vector_int64(&writer->due_customers, customer);
		vector_int32(&writer->due_slots, population_slot(customer));
		vector_int64(&writer->dues, due);
		vector_int32(&writer->due_segments, segment);
		vector_int64(&writer->due_since, evaluated_at);
	}
	else if (stored)
		vector_int64(&writer->undue, customer);
}

void
membership_occurrence(MembershipWriter *writer, int64 customer, int32 segment, const char *kind, TimestampTz event_at,
					  TimestampTz started_at)
{
	MemoryContext old = MemoryContextSwitchTo(writer->context);

	vector_int64(&writer->met_customers, customer);
	vector_int32(&writer->met_segments, segment);
	vector_int64(&writer->met_events, event_at);
	vector_int64(&writer->met_since, started_at);
	writer->met_kinds = lappend(writer->met_kinds, cstring_to_text(kind));
	MemoryContextSwitchTo(old);
}

void
membership_flush_if_full(MembershipWriter *writer)
{
	if (writer->inserts.segments.count >= BATCH || writer->updates.segments.count >= BATCH ||
		writer->deletes.count >= BATCH || writer->nchanges >= BATCH || writer->dues.count >= BATCH ||
		writer->undue.count >= BATCH || writer->met_customers.count >= BATCH)
		membership_flush(writer);
}

static int
change_compare(const void *a, const void *b)
{
	const Change *x = a;
	const Change *y = b;

	if (x->customer != y->customer)
		return x->customer < y->customer ? -1 : 1;
	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	if (x->reason != y->reason)
		return x->reason < y->reason ? -1 : 1;
	return x->segment < y->segment ? -1 : x->segment > y->segment;
}

void
membership_log(MembershipWriter *writer, int64 customer, int32 segment, bool entered, TimestampTz at,
			   MembershipReason reason)
{
	Vector	   *customers = &writer->customers;
	Change	   *change;

	if (customers->count == 0 ||
		((int64 *) (customers->array + ARR_OVERHEAD_NONULLS(1)))[customers->count - 1] != customer)
		vector_int64(customers, customer);
	if (writer->nchanges == writer->changes_room)
	{
		writer->changes_room = Max(writer->changes_room * 2, 1024);
		writer->changes = writer->changes == NULL ?
			MemoryContextAlloc(writer->context, sizeof(Change) * (Size) writer->changes_room) :
			repalloc_huge(writer->changes, sizeof(Change) * (Size) writer->changes_room);
	}
	change = &writer->changes[writer->nchanges++];
	change->customer = customers->count - 1;
	change->at = at;
	change->segment = segment;
	change->reason = (uint8) reason;
	change->entered = entered;
	if (writer->nchanges > 1 && change_compare(change - 1, change) > 0)
		writer->sorted = false;
}

static void
flush_rows(Rows *rows, SPIPlanPtr plan, int expected)
{
	Datum		values[4];

	if (rows->customers.count == 0)
		return;
	values[0] = vector_datum(&rows->customers);
	values[1] = vector_datum(&rows->offsets);
	values[2] = vector_datum(&rows->counts);
	values[3] = vector_datum(&rows->segments);
	run(plan, values, expected);
	rows->customers.count = rows->offsets.count = rows->counts.count = rows->segments.count = 0;
}

/*
 * Whoever listens is told of them. Not of the first evaluation of a segment, the one edit that is logged here: who listens to a
 * segment looks at all its members after that.
 */
static void
tell_moves(MembershipWriter *writer)
{
	const int64 *ids = (const int64 *) (writer->customers.array + ARR_OVERHEAD_NONULLS(1));
	Vector		customers,
				segments;

	if (!listeners_exist())
		return;
	vector_init(&customers, INT8OID, sizeof(int64));
	vector_init(&segments, INT4OID, sizeof(int32));
	for (int i = 0; i < writer->nchanges; i++)
	{
		const Change *change = &writer->changes[i];

		if (change->reason == MEMBERSHIP_EDIT)
			continue;
		vector_int64(&customers, ids[change->customer]);
		vector_int32(&segments, change->segment);
	}
	if (customers.count > 0)
		listeners_tell_moves(vector_datum(&customers), vector_datum(&segments));
	pfree(customers.array);
	pfree(segments.array);
}

/* What changed for a customer at one instant and for one reason is one row. */
static void
flush_log(MembershipWriter *writer)
{
	MemoryContext batch;
	MemoryContext old;
	Vector		customers,
				instants,
				offsets,
				entered,
				exited,
				segments;
	Datum	   *reasons;
	Datum		names[lengthof(reason_names)];
	Datum		values[7];
	const int64 *ids = (const int64 *) (writer->customers.array + ARR_OVERHEAD_NONULLS(1));

	if (writer->nchanges == 0)
		return;
	if (!writer->sorted)
		qsort(writer->changes, writer->nchanges, sizeof(Change), change_compare);

	batch = AllocSetContextCreate(writer->context, "log of memberships", ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(batch);
	vector_init(&customers, INT8OID, sizeof(int64));
	vector_init(&instants, TIMESTAMPTZOID, sizeof(TimestampTz));
	vector_init(&offsets, INT4OID, sizeof(int32));
	vector_init(&entered, INT4OID, sizeof(int32));
	vector_init(&exited, INT4OID, sizeof(int32));
	vector_init(&segments, INT4OID, sizeof(int32));
	reasons = palloc_extended(sizeof(Datum) * (Size) writer->nchanges, MCXT_ALLOC_HUGE);
	for (int i = 0; i < (int) lengthof(reason_names); i++)
		names[i] = CStringGetTextDatum(reason_names[i]);

	for (int from = 0, to; from < writer->nchanges; from = to)
	{
		const Change *first = &writer->changes[from];

		for (to = from + 1; to < writer->nchanges; to++)
		{
			const Change *next = &writer->changes[to];

			if (next->customer != first->customer || next->at != first->at || next->reason != first->reason)
				break;
		}
		reasons[customers.count] = names[first->reason];
		vector_int64(&customers, ids[first->customer]);
		vector_int64(&instants, first->at);
		vector_int32(&offsets, segments.count);
		for (int i = from; i < to; i++)
		{
			if (writer->changes[i].entered)
				vector_int32(&segments, writer->changes[i].segment);
		}
		vector_int32(&entered, segments.count - ((int32 *) (offsets.array + ARR_OVERHEAD_NONULLS(1)))[offsets.count - 1]);
		for (int i = from; i < to; i++)
		{
			if (!writer->changes[i].entered)
				vector_int32(&segments, writer->changes[i].segment);
		}
		vector_int32(&exited, to - from -
					 ((int32 *) (entered.array + ARR_OVERHEAD_NONULLS(1)))[entered.count - 1]);
	}

	values[0] = vector_datum(&customers);
	values[1] = vector_datum(&instants);
	values[2] = PointerGetDatum(construct_array(reasons, customers.count, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = vector_datum(&segments);
	values[4] = vector_datum(&offsets);
	values[5] = vector_datum(&entered);
	values[6] = vector_datum(&exited);
	run(writer->log_plan, values, SPI_OK_INSERT);
	tell_moves(writer);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(batch);
	writer->nchanges = 0;
	writer->customers.count = 0;
	writer->sorted = true;
}

static void
flush_occurrences(MembershipWriter *writer)
{
	Datum	   *kinds;
	Datum		values[5];
	ListCell   *cell;
	int			n = 0;

	if (writer->met_kinds == NIL)
		return;
	kinds = palloc(sizeof(Datum) * (Size) list_length(writer->met_kinds));
	foreach(cell, writer->met_kinds)
		kinds[n++] = PointerGetDatum(lfirst(cell));
	values[0] = vector_datum(&writer->met_customers);
	values[1] = vector_datum(&writer->met_segments);
	values[2] = PointerGetDatum(construct_array(kinds, n, TEXTOID, -1, false, TYPALIGN_INT));
	values[3] = vector_datum(&writer->met_events);
	values[4] = vector_datum(&writer->met_since);
	run(writer->met_plan, values, SPI_OK_INSERT);
	pfree(DatumGetPointer(values[2]));
	pfree(kinds);
	list_free_deep(writer->met_kinds);
	writer->met_kinds = NIL;
	writer->met_customers.count = writer->met_segments.count = writer->met_events.count = writer->met_since.count = 0;
}

void
membership_flush(MembershipWriter *writer)
{
	flush_rows(&writer->inserts, writer->insert_plan, SPI_OK_INSERT);
	flush_rows(&writer->updates, writer->update_plan, SPI_OK_UPDATE);
	if (writer->deletes.count > 0)
	{
		Datum		values[1];

		values[0] = vector_datum(&writer->deletes);
		run(writer->delete_plan, values, SPI_OK_DELETE);
		writer->deletes.count = 0;
	}
	if (writer->dues.count > 0)
	{
		Datum		values[5];

		values[0] = vector_datum(&writer->due_customers);
		values[1] = vector_datum(&writer->due_slots);
		values[2] = vector_datum(&writer->dues);
		values[3] = vector_datum(&writer->due_segments);
		values[4] = vector_datum(&writer->due_since);
		run(writer->deadline_plan, values, SPI_OK_INSERT);
		writer->due_customers.count = writer->due_slots.count = writer->dues.count = 0;
		writer->due_segments.count = writer->due_since.count = 0;
	}
	if (writer->undue.count > 0)
	{
		Datum		values[1];

		values[0] = vector_datum(&writer->undue);
		run(writer->undue_plan, values, SPI_OK_DELETE);
		writer->undue.count = 0;
	}
	flush_log(writer);
	flush_occurrences(writer);
}

/*
 * population.c
 *		Reads all facts once, and gives them out customer by customer.
 *
 * The first half takes rows from the feeds and appends them to streams by hash of the customer (population_rows.c keeps
 * these); the second takes one stream at a time, finds its customers, sorts their events by kind, customer and time, and
 * hands the slice over.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/kept_plan.h"
#include "feed/feed.h"
#include "segment/population_rows.h"

/* For the facts of a few customers, until they are spilled. */
#define FEW_MEMORY ((Size) 8 * 1024 * 1024)

/* Customers of a slice by their id: open addressing. */
typedef struct SliceIndex
{
	uint32		mask;
	int		   *slots;			/* customer + 1, or 0 */
	int64	   *ids;
} SliceIndex;

/* A slice's own feed of attributes, and which of the program's it gives. */
typedef struct AttributeFeed
{
	const Feed *feed;
	int			count;
	const char **names;
	int		   *slots;
} AttributeFeed;

/* What is read at the moment. */
typedef struct FeedReading
{
	RowStore   *store;
	int			kind;
	int			nvalues;
	uint64		rows;
	uint64		step;			/* rows until the clock is looked at again */
	const char *name;
	TimestampTz started;
	TimestampTz told;
} FeedReading;

/* Says what takes so long, every few seconds. */
static void
tell_progress(FeedReading *reading)
{
	TimestampTz now = GetCurrentTimestamp();

	CHECK_FOR_INTERRUPTS();
	if (TimestampDifferenceExceeds(reading->told, now, 5000))
	{
		reading->told = now;
		ereport(NOTICE,
				(errmsg("read " UINT64_FORMAT " rows of feed \"%s\" in %d s", reading->rows, reading->name,
						(int) ((now - reading->started) / USECS_PER_SEC))));
	}
}

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	FeedReading *reading = context;

	row_store_append(reading->store, customer, reading->kind, at, reading->nvalues, values);
	if ((++reading->rows & 0xffff) == 0)
		tell_progress(reading);
}

static void
read_feed(RowStore *store, const Feed *feed, int kind, int ncolumns, const char *const *columns,
		  const FeedCustomers *customers, TimestampTz since, Population *population)
{
	FeedReading reading = {0};
	uint64		passed_over = 0;

	reading.store = store;
	reading.kind = kind;
	reading.nvalues = ncolumns;
	reading.name = feed->kind;
	reading.started = reading.told = GetCurrentTimestamp();
	feed_read(feed, ncolumns, columns, customers, since, take_row, &reading, &passed_over);
	population->passed_over += passed_over;
	if (kind >= 0)
		population->events += reading.rows;
}

/* Customers by crm.identity, stored memberships and deadlines: our own tables, read through a receiver as well. */
typedef struct TableReceiver
{
	DestReceiver pub;
	RowStore   *store;
	int			kind;
	const FeedAliases *aliases;
	StringInfoData packed;
} TableReceiver;

/*
 * Ids of segments, ascending, as their differences of seven bits a byte: most are one byte, and a customer may be in
 * hundreds. Whatever else somebody has written into the table past us (ids twice, out of order) is left out, so that the
 * row is found to differ and is written anew.
 */
static void
pack_segments(StringInfo packed, const int32 *segments, int count)
{
	int32		before = 0;

	resetStringInfo(packed);
	enlargeStringInfo(packed, count * 5);
	for (int i = 0; i < count; i++)
	{
		uint32		difference = (uint32) segments[i] - (uint32) before;

		if (segments[i] <= before)
			continue;
		for (; difference >= 0x80; difference >>= 7)
			packed->data[packed->len++] = (char) (difference | 0x80);
		packed->data[packed->len++] = (char) difference;
		before = segments[i];
	}
}

static int32 *
unpack_segments(Value packed, int *count)
{
	const unsigned char *from = (const unsigned char *) packed.u.text;
	const unsigned char *end = from + packed.length;
	int32	   *segments = palloc(sizeof(int32) * Max(packed.length, 1));
	uint32		before = 0;

	*count = 0;
	while (from < end)
	{
		for (int shift = 0;; shift += 7)
		{
			uint32		byte = *from++;

			before += (byte & 0x7f) << shift;
			if (byte < 0x80)
				break;
		}
		segments[(*count)++] = (int32) before;
	}
	return segments;
}

static void
receiver_nothing(DestReceiver *self)
{
	(void) self;
}

static void
receiver_startup(DestReceiver *self, int operation, TupleDesc desc)
{
	(void) self;
	(void) operation;
	(void) desc;
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	TableReceiver *receiver = (TableReceiver *) self;
	int64		customer;

	slot_getallattrs(slot);
	customer = DatumGetInt64(slot->tts_values[0]);
	/* what was stored of him while he was being erased is still to be swept up */
	if ((receiver->kind == ROW_IDENTITY || receiver->kind == ROW_STATIC) && feed_is_erased(receiver->aliases, customer))
		return true;
	if (receiver->kind == ROW_MEMBERSHIP)
	{
		ArrayType  *array = DatumGetArrayTypeP(slot->tts_values[1]);

		pack_segments(&receiver->packed, (const int32 *) ARR_DATA_PTR(array),
					  array_contains_nulls(array) ? 0 : ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)));
		row_store_append_blob(receiver->store, customer, receiver->kind,
							  value_text(receiver->packed.data, receiver->packed.len));
		if ((Pointer) array != DatumGetPointer(slot->tts_values[1]))
			pfree(array);
	}
	else if (receiver->kind == ROW_DEADLINE)
	{
		Value		values[3] = {
			value_timestamp(DatumGetTimestampTz(slot->tts_values[1])),
			value_timestamp(DatumGetInt32(slot->tts_values[2])),
			value_timestamp(DatumGetTimestampTz(slot->tts_values[3]))
		};

		row_store_append(receiver->store, customer, receiver->kind, 0, lengthof(values), values);
	}
	else if (receiver->kind == ROW_STATIC)
	{
		Value		segment = value_timestamp(DatumGetInt32(slot->tts_values[1]));

		row_store_append(receiver->store, feed_customer_of(receiver->aliases, customer), receiver->kind, 0, 1, &segment);
	}
	else
		row_store_append(receiver->store, feed_customer_of(receiver->aliases, customer), receiver->kind, 0, 0, NULL);
	return true;
}

/*
 * Of all customers, or of some, as the statement's last condition, which follows another one. What is stored of a customer is so under his own id;
 * what he is known by, or was put into by hand, may be so under others.
 */
static void
read_table(RowStore *store, const char *sql, const FeedCustomers *customers, int kind)
{
	static SPIPlanPtr kept[-ROW_STATIC + 1] = {NULL};
	TableReceiver receiver = {0};
	SPIExecuteOptions options = {0};
	ParamListInfo params = makeParamList(1);
	int			rc;

	receiver.pub.receiveSlot = receive_row;
	receiver.pub.rStartup = receiver_startup;
	receiver.pub.rShutdown = receiver_nothing;
	receiver.pub.rDestroy = receiver_nothing;
	receiver.pub.mydest = DestNone;
	receiver.store = store;
	receiver.kind = kind;
	initStringInfo(&receiver.packed);
	options.read_only = true;
	options.dest = &receiver.pub;
	params->params[0].ptype = INT8ARRAYOID;
	params->params[0].isnull = customers->all;
	params->params[0].pflags = PARAM_FLAG_CONST;
	receiver.aliases = customers->aliases;
	if (!customers->all)
	{
		params->params[0].value = kind == ROW_IDENTITY || kind == ROW_STATIC ?
			feed_id_array(customers->nsought, customers->sought) : feed_id_array(customers->count, customers->ids);
		sql = psprintf("%s AND customer_id OPERATOR(pg_catalog.=) ANY ($1)", sql);
	}
	options.params = params;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	/* of a few customers, planning would take longer than reading; each kind has one statement */
	if (!customers->all)
		rc = SPI_execute_plan_extended(kept_plan(&kept[-kind], sql, 1, &params->params[0].ptype), &options);
	else
		rc = SPI_execute_extended(sql, &options);
	/* what SPI answers depends on the receiver; only a failure is of interest */
	if (rc < 0)
		elog(ERROR, "could not execute \"%s\": %s", sql, SPI_result_code_string(rc));
	SPI_finish();
}

static inline uint32
slice_probe(int64 id)
{
	/* other bits than those that chose the stream */
	return (uint32) (row_store_hash(id) >> 32);
}

static void
slice_index_create(SliceIndex *index, int rows)
{
	uint32		size = 16;

	while (size < (uint32) rows * 2)
		size *= 2;
	index->mask = size - 1;
	index->slots = palloc_extended(sizeof(int) * (Size) size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	index->ids = palloc_extended(sizeof(int64) * (Size) Max(rows, 1), MCXT_ALLOC_HUGE);
}

/* The number of a customer; a new one when add is set, else -1. */
static inline int
slice_customer(SliceIndex *index, int64 id, int *count, bool add)
{
	uint32		slot = slice_probe(id) & index->mask;

	while (index->slots[slot] != 0)
	{
		if (index->ids[index->slots[slot] - 1] == id)
			return index->slots[slot] - 1;
		slot = (slot + 1) & index->mask;
	}
	if (!add)
		return -1;
	index->ids[*count] = id;
	index->slots[slot] = ++*count;
	return *count - 1;
}

/* Sorts one customer's events of a kind by time; they come nearly sorted, and are few. */
static void
sort_events(TimestampTz *at, Value **columns, int ncolumns, int from, int count)
{
	bool		sorted = true;

	for (int i = from + 1; i < from + count && sorted; i++)
		sorted = at[i - 1] <= at[i];
	if (sorted)
		return;

	if (count <= 32)
	{
		for (int i = from + 1; i < from + count; i++)
		{
			for (int j = i; j > from && at[j - 1] > at[j]; j--)
			{
				TimestampTz t = at[j];

				at[j] = at[j - 1];
				at[j - 1] = t;
				for (int c = 0; c < ncolumns; c++)
				{
					Value		v = columns[c][j];

					columns[c][j] = columns[c][j - 1];
					columns[c][j - 1] = v;
				}
			}
		}
	}
	else
		row_store_sort(at, columns, ncolumns, from, count);
}

/* Two rows for one customer: the one with the lesser attributes counts, whatever order they were read in. */
static bool
attributes_less(const Value *a, const Value *b, int count)
{
	for (int i = 0; i < count; i++)
	{
		int			order = value_compare(a[i], b[i]);

		if (order != 0)
			return order < 0;
	}
	return false;
}

/* The feeds of attributes besides the customers' own, as far as the program asks for what they have. */
static List *
attribute_feeds(const Program *program, const List *feeds)
{
	List	   *result = NIL;
	ListCell   *cell;

	foreach(cell, feeds)
	{
		AttributeFeed *further = palloc0(sizeof(AttributeFeed));
		const Feed *feed = lfirst(cell);

		if (!feed->customers || strcmp(feed->kind, FEED_CUSTOMER) == 0)
			continue;
		further->feed = feed;
		further->names = palloc(sizeof(char *) * Max(program->nattributes, 1));
		further->slots = palloc(sizeof(int) * Max(program->nattributes, 1));
		for (int i = 0; i < program->nattributes; i++)
		{
			if (feed_of_attribute(feeds, program->attributes[i]) != feed)
				continue;
			further->names[further->count] = program->attributes[i];
			further->slots[further->count++] = i;
		}
		if (further->count > 0)
			result = lappend(result, further);
	}
	return result;
}

/* Puts further attributes into their places, of those who are there. */
static void
set_attributes(const Program *program, const List *further, Row *row, SliceIndex *index, PopulationSlice *slice,
			   Value *attributes)
{
	const AttributeFeed *feed = list_nth(further, ROW_ATTRIBUTES - row->kind);
	int			c = slice_customer(index, row->customer, &slice->count, false);
	Value	   *values = row_values(row, feed->count);

	if (c < 0)
		return;
	for (int i = 0; i < feed->count; i++)
		attributes[(Size) c * program->nattributes + feed->slots[i]] = values[i];
}

/* A customer's static segments, ascending. */
static const int32 *
list_statics(const Bitmapset *statics, int *count)
{
	int32	   *result;
	int			segment = -1;

	*count = 0;
	if (statics == NULL)
		return NULL;
	result = palloc(sizeof(int32) * (Size) bms_num_members(statics));
	while ((segment = bms_next_member(statics, segment)) >= 0)
		result[(*count)++] = segment;
	return result;
}

/* Lays out one stream, and hands it over. */
static void
give_slice(const Program *program, const List *further, RowStore *store, int stream, PopulationSink sink, void *context,
		   Population *population)
{
	int			nkinds = program->nkinds;
	RowReader	reader;
	Row		   *row;
	SliceIndex	index;
	PopulationSlice slice = {0};
	Value	   *attributes;
	Bitmapset **statics;
	bool	   *described;
	KindFacts  *kinds;
	Value	  **properties;
	int			nproperties = 0;
	int			rows = 0;
	int		  **offsets = palloc(sizeof(int *) * Max(nkinds, 1));
	TimestampTz **times = palloc(sizeof(TimestampTz *) * Max(nkinds, 1));
	Value	 ***columns = palloc(sizeof(Value **) * Max(nkinds, 1));

	/* who there is: customers, and people with memberships */
	for (row_reader_init(&reader, store, stream); (row = row_reader_next(&reader)) != NULL;)
	{
		if (row->kind < 0 && row->kind > ROW_ATTRIBUTES)
			rows++;
	}
	if (rows == 0)
	{
		for (row_reader_init(&reader, store, stream); (row = row_reader_next(&reader)) != NULL;)
		{
			if (row->kind >= 0)
				population->strangers++;
		}
		return;
	}
	slice_index_create(&index, rows);
	attributes = palloc_extended(sizeof(Value) * (Size) rows * Max(program->nattributes, 1),
								 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	slice.facts = palloc_extended(sizeof(Facts) * (Size) rows, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	slice.present = palloc0(sizeof(bool) * rows);
	slice.deadlines = palloc0(sizeof(StoredDeadline) * rows);
	slice.memberships = palloc0(sizeof(StoredMembership) * rows);
	statics = palloc0(sizeof(Bitmapset *) * rows);
	described = palloc0(sizeof(bool) * rows);
	for (row_reader_init(&reader, store, stream); (row = row_reader_next(&reader)) != NULL;)
	{
		int			c;

		if (row->kind >= 0 || row->kind <= ROW_ATTRIBUTES)
			continue;
		c = slice_customer(&index, row->customer, &slice.count, true);
		if (!slice.facts[c].has_customer)
			slice.deadlines[c].due = DT_NOEND;
		slice.facts[c].has_customer = true;
		slice.facts[c].customer = row->customer;
		if (row->kind == ROW_MEMBERSHIP)
		{
			slice.memberships[c].stored = true;
			slice.memberships[c].segments = unpack_segments(row_blob(row), &slice.memberships[c].count);
			continue;
		}
		if (row->kind == ROW_DEADLINE)
		{
			const Value *values = row_values(row, 3);

			slice.deadlines[c].stored = true;
			slice.deadlines[c].due = values[0].u.integer;
			slice.deadlines[c].segment = (int32) values[1].u.integer;
			slice.deadlines[c].evaluated_at = values[2].u.integer;
			continue;
		}
		if (row->kind == ROW_STATIC)
		{
			statics[c] = bms_add_member(statics[c], (int) row_values(row, 1)[0].u.integer);
			continue;
		}
		slice.present[c] = true;
		if (row->kind == ROW_CUSTOMER)
		{
			Value	   *values = row_values(row, program->nattributes);
			Value	   *mine = attributes + (Size) c * program->nattributes;

			if (described[c])
				population->duplicates++;
			if (!described[c] || attributes_less(values, mine, program->nattributes))
				memcpy(mine, values, sizeof(Value) * program->nattributes);
			described[c] = true;
		}
	}

	for (int c = 0; c < slice.count; c++)
		slice.facts[c].segments = list_statics(statics[c], &slice.facts[c].nsegments);

	for (row_reader_init(&reader, store, stream); further != NIL && (row = row_reader_next(&reader)) != NULL;)
	{
		if (row->kind <= ROW_ATTRIBUTES)
			set_attributes(program, further, row, &index, &slice, attributes);
	}

	/* how many events of each kind each has, as offsets; then the events in their places */
	for (int k = 0; k < nkinds; k++)
	{
		offsets[k] = palloc0(sizeof(int) * ((Size) slice.count + 1));
		nproperties += program->kinds[k].nproperties;
	}
	for (row_reader_init(&reader, store, stream); (row = row_reader_next(&reader)) != NULL;)
	{
		int			c;

		if (row->kind < 0)
			continue;
		c = slice_customer(&index, row->customer, &slice.count, false);
		if (c >= 0 && slice.present[c])
		{
			offsets[row->kind][c + 1]++;
			row->number = c;
		}
		else
		{
			population->strangers++;
			row->number = -1;
		}
	}
	for (int k = 0; k < nkinds; k++)
	{
		Size		total;

		for (int c = 0; c < slice.count; c++)
			offsets[k][c + 1] += offsets[k][c];
		total = Max(offsets[k][slice.count], 1);
		times[k] = palloc_extended(sizeof(TimestampTz) * total, MCXT_ALLOC_HUGE);
		columns[k] = palloc(sizeof(Value *) * Max(program->kinds[k].nproperties, 1));
		for (int p = 0; p < program->kinds[k].nproperties; p++)
			columns[k][p] = palloc_extended(sizeof(Value) * total, MCXT_ALLOC_HUGE);
	}
	for (row_reader_init(&reader, store, stream); (row = row_reader_next(&reader)) != NULL;)
	{
		int			place;
		Value	   *values;

		if (row->kind < 0 || row->number < 0)
			continue;
		/* afterwards offsets[c] is where c's events end, which is where those of c + 1 begin */
		place = offsets[row->kind][row->number]++;
		times[row->kind][place] = row->at;
		values = row_values(row, program->kinds[row->kind].nproperties);
		for (int p = 0; p < program->kinds[row->kind].nproperties; p++)
			columns[row->kind][p][place] = values[p];
	}

	kinds = palloc_extended(sizeof(KindFacts) * (Size) slice.count * Max(nkinds, 1), MCXT_ALLOC_HUGE);
	properties = palloc_extended(sizeof(Value *) * (Size) slice.count * Max(nproperties, 1), MCXT_ALLOC_HUGE);
	for (int c = 0; c < slice.count; c++)
	{
		KindFacts  *mine = kinds + (Size) c * nkinds;
		Value	  **props = properties + (Size) c * nproperties;

		for (int k = 0; k < nkinds; k++)
		{
			int			from = c == 0 ? 0 : offsets[k][c - 1];
			int			count = offsets[k][c] - from;

			if (count > 1)
				sort_events(times[k], columns[k], program->kinds[k].nproperties, from, count);
			mine[k].nevents = count;
			mine[k].at = times[k] + from;
			mine[k].properties = props;
			for (int p = 0; p < program->kinds[k].nproperties; p++)
				*props++ = columns[k][p] + from;
		}
		slice.facts[c].kinds = mine;
		slice.facts[c].attributes = attributes + (Size) c * program->nattributes;
		if (slice.present[c])
			population->customers++;
	}
	sink(context, &slice);
}

int
population_slot(int64 customer)
{
	return (int) (row_store_hash(customer) % POPULATION_SLOTS);
}

/* Facts of a few customers need neither much memory nor many streams. */
static RowStore *
make_store(const PopulationRequest *request)
{
	Size		memory = (Size) maintenance_work_mem * 1024;

	return request->customers == NULL ? row_store_create(memory, ROW_STREAMS) :
		row_store_create(Min(memory, FEW_MEMORY), 1);
}

void
population_scan(const PopulationRequest *request, PopulationSink sink, void *context, Population *population)
{
	const Program *program = request->program;
	const FeedCustomers *customers;
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext memory = AllocSetContextCreate(outer, "population", ALLOCSET_DEFAULT_SIZES);
	MemoryContext slice = AllocSetContextCreate(outer, "slice of the population", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);
	RowStore   *store;
	List	   *feeds = feed_load();
	Feed	   *feed;
	TimestampTz *since;
	List	   *further;
	ListCell   *cell;

	memset(population, 0, sizeof(*population));
	customers = request->customers != NULL ? request->customers : feed_all_customers();
	evaluation_set_instant(request->evaluation, request->from, request->has_entry, request->entry);
	since = evaluation_lookback(request->evaluation);
	store = make_store(request);

	further = attribute_feeds(program, feeds);
	foreach(cell, further)
	{
		const AttributeFeed *attributes = lfirst(cell);

		read_feed(store, attributes->feed, ROW_ATTRIBUTES - foreach_current_index(cell), attributes->count,
				  attributes->names, customers, DT_NOBEGIN, population);
	}
	feed = feed_find(feeds, FEED_CUSTOMER);
	if (feed != NULL)
		read_feed(store, feed, ROW_CUSTOMER, program->nattributes, program->attributes, customers, DT_NOBEGIN,
				  population);
	/* who is known by what the feed says of him is in the feed */
	read_table(store, "SELECT DISTINCT customer_id FROM crm.identity WHERE source OPERATOR(pg_catalog.<>) 'feed'", customers,
			   ROW_IDENTITY);
	if (request->memberships)
		read_table(store, "SELECT customer_id, segments FROM crm.membership WHERE true", customers, ROW_MEMBERSHIP);
	if (request->statics || program->uses_segments)
		read_table(store, "SELECT customer_id, segment_id FROM crm.static_member WHERE true", customers, ROW_STATIC);
	if (request->deadlines)
		read_table(store, "SELECT customer_id, due, segment_id, evaluated_at FROM crm.deadline WHERE true", customers, ROW_DEADLINE);
	for (int k = 0; k < program->nkinds; k++)
	{
		feed = feed_find(feeds, program->kinds[k].name);
		if (feed != NULL && !feed->customers && (request->kinds == NULL || request->kinds[k]) &&
			(request->unreadable == NULL || !request->unreadable[k]))
			read_feed(store, feed, k, program->kinds[k].nproperties, program->kinds[k].properties, customers, since[k],
					  population);
	}
	population->spilled = row_store_finish(store);

	for (int stream = 0; stream < row_store_streams(store); stream++)
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(slice);
		give_slice(program, further, store, row_store_stream_in_order(store, stream), sink, context, population);
		MemoryContextSwitchTo(memory);
		MemoryContextReset(slice);
	}
	row_store_destroy(store);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(slice);
	MemoryContextDelete(memory);
}

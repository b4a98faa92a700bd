/*
 * population_rows.c
 *		Rows of facts in streams by hash of the customer, in memory or in temporary files.
 *
 * A value is stored as it is, sixteen bytes. Short texts that repeat (cities, brands, items) are kept once, in a
 * dictionary, and pointed to; any other text, an array or a long number follows its row as bytes.
 *
 * Rows lie in chunks of one size, cut from large slabs. When the budget does not allow another slab, all chunks are
 * written out, one file a stream, and filled again.
 */
#include "postgres.h"

#ifndef WIN32
#include <sys/mman.h>
#endif

#include "common/hashfn.h"
#include "commands/tablespace.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "segment/population_rows.h"

/* Bytes of a chunk with its header, by the budget; and of a slab of chunks. */
#define MIN_CHUNK 1024
#define MAX_CHUNK (64 * 1024)
#define MAX_SLAB (32 * 1024 * 1024)

/* Texts longer than this are not worth a dictionary. */
#define MAX_INTERNED 64

/* A value whose bytes follow the row; otherwise its pointer is good as it is. */
#define VALUE_FOLLOWS 0x80

/* One cache line: a row goes to another stream than the one before. */
typedef struct RowStream
{
	char	   *write;			/* where the next row goes in the last chunk, */
	char	   *end;			/* which ends here */
	RowChunk   *first;
	RowChunk   *last;
	BufFile    *file;
	Size		spilled;
} RowStream;

typedef struct InternedText
{
	const char *text;
	uint32		length;
	uint32		hash;
} InternedText;

struct RowStore
{
	MemoryContext context;
	Size		budget;
	int			nstreams;
	Size		used;			/* slabs, and chunks of a size of their own */
	Size		chunk_size;
	Size		slab_size;
	char	   *slab;			/* the rest of the newest one */
	char	   *slab_end;
	RowChunk   *free;
	RowStream	streams[ROW_STREAMS];

	/* the dictionary: open addressing */
	uint32		mask;
	uint32		interned;
	Size		interned_bytes;
	InternedText *texts;
	MemoryContext texts_context;

	/* the stream that is read, when it was spilled */
	int			loaded;			/* or -1 */
	RowChunk   *buffer;
};

RowStore *
row_store_create(Size memory, int nstreams)
{
	RowStore   *store = palloc0(sizeof(RowStore));

	store->context = CurrentMemoryContext;
	store->budget = memory;
	store->nstreams = nstreams;
	/* a chunk for each stream takes an eighth of the budget at the most */
	store->chunk_size = MIN_CHUNK;
	while (store->chunk_size < MAX_CHUNK && store->chunk_size * 2 * nstreams <= memory / 8)
		store->chunk_size *= 2;
	store->slab_size = Max(Min(memory / 16, MAX_SLAB), store->chunk_size);
	store->mask = 1023;
	store->texts = palloc0(sizeof(InternedText) * (store->mask + 1));
	store->texts_context = AllocSetContextCreate(CurrentMemoryContext, "texts of facts", ALLOCSET_DEFAULT_SIZES);
	store->loaded = -1;
	return store;
}

static void
grow_dictionary(RowStore *store)
{
	uint32		size = (store->mask + 1) * 2;
	InternedText *texts = MemoryContextAllocExtended(store->context, sizeof(InternedText) * (Size) size,
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);

	for (uint32 i = 0; i <= store->mask; i++)
	{
		uint32		slot = store->texts[i].hash & (size - 1);

		if (store->texts[i].text == NULL)
			continue;
		while (texts[slot].text != NULL)
			slot = (slot + 1) & (size - 1);
		texts[slot] = store->texts[i];
	}
	pfree(store->texts);
	store->texts = texts;
	store->mask = size - 1;
	store->interned_bytes += sizeof(InternedText) * (Size) (size / 2);
}

/* The one copy of a text, or NULL when it is not worth one or the dictionary has taken its share of memory. */
static const char *
intern(RowStore *store, Value v)
{
	uint32		hash;
	uint32		slot;
	char	   *copy;

	if (v.length > MAX_INTERNED)
		return NULL;
	hash = hash_bytes((const unsigned char *) v.u.text, (int) v.length);
	for (slot = hash & store->mask; store->texts[slot].text != NULL; slot = (slot + 1) & store->mask)
	{
		if (store->texts[slot].hash == hash && store->texts[slot].length == v.length &&
			memcmp(store->texts[slot].text, v.u.text, v.length) == 0)
			return store->texts[slot].text;
	}
	if (store->interned_bytes > store->budget / 4)
		return NULL;
	copy = MemoryContextAlloc(store->texts_context, Max(v.length, 1));
	memcpy(copy, v.u.text, v.length);
	store->texts[slot].text = copy;
	store->texts[slot].length = v.length;
	store->texts[slot].hash = hash;
	store->interned_bytes += Max(v.length, 8) + 16;
	if (++store->interned * 2 > store->mask)
		grow_dictionary(store);
	return copy;
}

/* Writes a stream's chunks to its file, to be used again. */
static void
write_out(RowStore *store, RowStream *stream)
{
	RowChunk   *chunk = stream->first;

	if (stream->last != NULL)
		stream->last->used = stream->write - stream->last->data;
	while (chunk != NULL)
	{
		RowChunk   *next = chunk->next;

		if (stream->file == NULL)
		{
			PrepareTempTablespaces();
			stream->file = BufFileCreateTemp(false);
		}
		BufFileWrite(stream->file, chunk->data, chunk->used);
		stream->spilled += chunk->used;
		if (chunk->size == store->chunk_size)
		{
			chunk->next = store->free;
			store->free = chunk;
		}
		else
		{
			store->used -= chunk->size;
			pfree(chunk);
		}
		chunk = next;
	}
	stream->first = stream->last = NULL;
	stream->write = stream->end = NULL;
}

static void
write_all_out(RowStore *store)
{
	for (int i = 0; i < store->nstreams; i++)
		write_out(store, &store->streams[i]);
}

/*
 * A slab of chunks. Hundreds of streams are written in turn, each in a page of its own: with pages of the usual size that
 * costs a miss of the address cache for each row, and a page fault for each 4 kB.
 */
static void
new_slab(RowStore *store)
{
	store->slab = palloc_extended(store->slab_size, MCXT_ALLOC_HUGE);
	store->slab_end = store->slab + store->slab_size;
	store->used += store->slab_size;
#ifdef MADV_HUGEPAGE
	{
		const uintptr_t huge = 2 * 1024 * 1024;
		uintptr_t	from = TYPEALIGN(huge, store->slab);
		uintptr_t	to = TYPEALIGN_DOWN(huge, store->slab_end);

		/* only advice: nothing depends on its being taken */
		if (from < to)
			(void) madvise((void *) from, to - from, MADV_HUGEPAGE);
	}
#endif
}

/* A chunk with room for so many bytes. */
static RowChunk *
new_chunk(RowStore *store, Size length)
{
	Size		size = store->chunk_size;
	RowChunk   *chunk;

	if (offsetof(RowChunk, data) + length > size)
	{
		/* a large row: by itself */
		size = offsetof(RowChunk, data) + length;
		if (store->used + store->interned_bytes + size > store->budget)
			write_all_out(store);
		chunk = palloc_extended(size, MCXT_ALLOC_HUGE);
		store->used += size;
	}
	else
	{
		if (store->free == NULL && (Size) (store->slab_end - store->slab) < size)
		{
			/* the first slab there is in any case */
			if (store->slab != NULL && store->used + store->interned_bytes + store->slab_size > store->budget)
				write_all_out(store);
			if (store->free == NULL)
				new_slab(store);
		}
		if (store->free != NULL)
		{
			chunk = store->free;
			store->free = chunk->next;
		}
		else
		{
			chunk = (RowChunk *) store->slab;
			store->slab += size;
		}
	}
	chunk->next = NULL;
	chunk->size = size;
	chunk->used = 0;
	return chunk;
}

/* Room for so many bytes at the end of a stream, in a new chunk. */
static pg_noinline char *
row_room_in_chunk(RowStore *store, RowStream *stream, Size length)
{
	MemoryContext old = MemoryContextSwitchTo(store->context);
	RowChunk   *chunk = new_chunk(store, length);

	if (stream->last == NULL)
		stream->first = chunk;
	else
	{
		stream->last->used = stream->write - stream->last->data;
		stream->last->next = chunk;
	}
	stream->last = chunk;
	stream->write = chunk->data + length;
	stream->end = (char *) chunk + chunk->size;
	MemoryContextSwitchTo(old);
	return chunk->data;
}

static inline char *
row_room(RowStore *store, RowStream *stream, Size length)
{
	char	   *result = stream->write;

	if ((Size) (stream->end - result) < length)
		return row_room_in_chunk(store, stream, length);
	stream->write += length;
	return result;
}

/* How many bytes of a value follow its row, and writing and reading them. */
static Size
following_size(Value v)
{
	Size		size = 0;

	switch (v.type)
	{
		case VALUE_TEXT:
			return MAXALIGN(v.length);
		case VALUE_NUMBER:
			return v.scale == DECIMAL_BIG ? MAXALIGN(VARSIZE_ANY(v.u.numeric)) : 0;
		case VALUE_ARRAY:
			size = sizeof(Value) * (Size) v.length;
			for (uint32 i = 0; i < v.length; i++)
				size += following_size(v.u.elements[i]);
			return size;
		default:
			return 0;
	}
}

static char *
write_following(char *to, Value v)
{
	switch (v.type)
	{
		case VALUE_TEXT:
			memcpy(to, v.u.text, v.length);
			return to + MAXALIGN(v.length);
		case VALUE_NUMBER:
			if (v.scale != DECIMAL_BIG)
				return to;
			memcpy(to, v.u.numeric, VARSIZE_ANY(v.u.numeric));
			return to + MAXALIGN(VARSIZE_ANY(v.u.numeric));
		case VALUE_ARRAY:
			memcpy(to, v.u.elements, sizeof(Value) * (Size) v.length);
			to += sizeof(Value) * (Size) v.length;
			for (uint32 i = 0; i < v.length; i++)
				to = write_following(to, v.u.elements[i]);
			return to;
		default:
			return to;
	}
}

static char *
point_following(char *from, Value *v)
{
	switch (v->type)
	{
		case VALUE_TEXT:
			v->u.text = from;
			return from + MAXALIGN(v->length);
		case VALUE_NUMBER:
			if (v->scale != DECIMAL_BIG)
				return from;
			v->u.numeric = (Numeric) from;
			return from + MAXALIGN(VARSIZE_ANY(from));
		case VALUE_ARRAY:
			{
				Value	   *elements = (Value *) from;

				v->u.elements = elements;
				from += sizeof(Value) * (Size) v->length;
				for (uint32 i = 0; i < v->length; i++)
					from = point_following(from, &elements[i]);
				return from;
			}
		default:
			return from;
	}
}

static inline RowStream *
stream_of(RowStore *store, int64 customer)
{
	return &store->streams[row_store_hash(customer) % (uint64) store->nstreams];
}

void
row_store_append(RowStore *store, int64 customer, int kind, TimestampTz at, int nvalues, const Value *values)
{
	Size		length = sizeof(Row) + sizeof(Value) * (Size) nvalues;
	Row		   *row;
	Value	   *stored;
	char	   *following;
	const char *texts[64];
	bool		plain = true;

	for (int i = 0; i < nvalues; i++)
	{
		const Value *v = &values[i];

		if (v->type == VALUE_TEXT)
		{
			const char *text = i < (int) lengthof(texts) ? intern(store, *v) : NULL;

			if (i < (int) lengthof(texts))
				texts[i] = text;
			if (text != NULL)
				continue;
		}
		if (v->type == VALUE_TEXT || v->type == VALUE_ARRAY || (v->type == VALUE_NUMBER && v->scale == DECIMAL_BIG))
		{
			length += following_size(*v);
			plain = false;
		}
	}
	if (length > MaxAllocSize)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("facts of customer " INT64_FORMAT " are too large", customer),
				 errdetail("One row of a feed takes more than 1 GB.")));

	row = (Row *) row_room(store, stream_of(store, customer), length);
	row->customer = customer;
	row->at = at;
	row->length = (uint32) length;
	row->kind = (int16) kind;
	row->pointed = plain;
	stored = (Value *) (row + 1);
	following = (char *) (stored + nvalues);
	for (int i = 0; i < nvalues; i++)
	{
		stored[i] = values[i];
		if (values[i].type == VALUE_TEXT && i < (int) lengthof(texts) && texts[i] != NULL)
			stored[i].u.text = texts[i];
		else if (!plain && following_size(values[i]) > 0)
		{
			following = write_following(following, values[i]);
			stored[i].type |= VALUE_FOLLOWS;
		}
	}
}

void
row_store_append_blob(RowStore *store, int64 customer, int kind, Value blob)
{
	Size		length = sizeof(Row) + sizeof(Value) + MAXALIGN(blob.length);
	Row		   *row = (Row *) row_room(store, stream_of(store, customer), length);

	row->customer = customer;
	row->at = 0;
	row->length = (uint32) length;
	row->kind = (int16) kind;
	row->pointed = false;
	memcpy(row + 1, &blob, sizeof(Value));
	write_following((char *) (row + 1) + sizeof(Value), blob);
}

Value
row_blob(Row *row)
{
	Value		blob = *(Value *) (row + 1);

	blob.u.text = (char *) (row + 1) + sizeof(Value);
	return blob;
}

Value *
row_values(Row *row, int nvalues)
{
	Value	   *values = (Value *) (row + 1);

	if (!row->pointed)
	{
		char	   *following = (char *) (values + nvalues);

		for (int i = 0; i < nvalues; i++)
		{
			if (values[i].type & VALUE_FOLLOWS)
			{
				values[i].type &= ~VALUE_FOLLOWS;
				following = point_following(following, &values[i]);
			}
		}
		row->pointed = true;
	}
	return values;
}

uint64
row_store_finish(RowStore *store)
{
	uint64		spilled = 0;
	bool		spilling = false;

	for (int i = 0; i < store->nstreams; i++)
		spilling |= store->streams[i].file != NULL;
	if (spilling)
		write_all_out(store);
	for (int i = 0; i < store->nstreams; i++)
	{
		RowStream  *stream = &store->streams[i];

		if (stream->last != NULL)
			stream->last->used = stream->write - stream->last->data;
		spilled += stream->spilled;
	}
	return spilled;
}

int
row_store_streams(const RowStore *store)
{
	return store->nstreams;
}

void
row_store_destroy(RowStore *store)
{
	for (int i = 0; i < store->nstreams; i++)
	{
		if (store->streams[i].file != NULL)
			BufFileClose(store->streams[i].file);
	}
}

static void
load_stream(RowStore *store, int number)
{
	RowStream  *stream = &store->streams[number];
	MemoryContext old = MemoryContextSwitchTo(store->context);

	if (store->buffer != NULL)
		pfree(store->buffer);
	store->buffer = palloc_extended(offsetof(RowChunk, data) + stream->spilled, MCXT_ALLOC_HUGE);
	store->buffer->next = NULL;
	store->buffer->size = store->buffer->used = stream->spilled;
	if (BufFileSeek(stream->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind temporary file of facts: %m")));
	if (BufFileRead(stream->file, store->buffer->data, stream->spilled) != stream->spilled)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read temporary file of facts: %m")));
	store->loaded = number;
	MemoryContextSwitchTo(old);
}

void
row_reader_init(RowReader *reader, RowStore *store, int number)
{
	RowStream  *stream = &store->streams[number];

	reader->store = store;
	reader->position = 0;
	if (stream->file != NULL)
	{
		if (store->loaded != number)
			load_stream(store, number);
		reader->chunk = store->buffer;
	}
	else
		reader->chunk = stream->first;
}

typedef struct EventOrder
{
	TimestampTz at;
	int			place;
} EventOrder;

static int
event_order_compare(const void *a, const void *b)
{
	const EventOrder *x = a;
	const EventOrder *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	return x->place < y->place ? -1 : x->place > y->place;
}

void
row_store_sort(TimestampTz *at, Value **columns, int ncolumns, int from, int count)
{
	EventOrder *order = palloc_extended(sizeof(EventOrder) * (Size) count, MCXT_ALLOC_HUGE);
	Value	   *sorted = palloc_extended(sizeof(Value) * (Size) count, MCXT_ALLOC_HUGE);

	for (int i = 0; i < count; i++)
	{
		order[i].at = at[from + i];
		order[i].place = from + i;
	}
	qsort(order, count, sizeof(EventOrder), event_order_compare);
	for (int i = 0; i < count; i++)
		at[from + i] = order[i].at;
	for (int c = 0; c < ncolumns; c++)
	{
		for (int i = 0; i < count; i++)
			sorted[i] = columns[c][order[i].place];
		memcpy(columns[c] + from, sorted, sizeof(Value) * (Size) count);
	}
	pfree(order);
	pfree(sorted);
}

/*
 * streams.c
 *		Events of all customers, read in one pass and given out customer by customer.
 *
 * Events lie in chunks of one size. When the budget does not allow another chunk, all are written out, one file a stream,
 * and filled again. A stream that has been sorted is put back as such, so that going through it again costs a copy.
 */
#include "postgres.h"

#include "commands/tablespace.h"
#include "miscadmin.h"
#include "storage/buffile.h"
#include "utils/memutils.h"

#include "score/streams.h"

#define STREAMS 256
#define MIN_CHUNK_ROWS 32
#define MAX_CHUNK_ROWS 1360		/* just below 32 kB */

typedef struct StreamChunk
{
	struct StreamChunk *next;
	int			nrows;
	StreamRow	rows[FLEXIBLE_ARRAY_MEMBER];
} StreamChunk;

typedef struct Stream
{
	StreamChunk *first;
	StreamChunk *last;
	int64		nrows;			/* in chunks */
	int64		spilled;		/* rows in the file */
	BufFile    *file;
	bool		sorted;
} Stream;

struct StreamStore
{
	MemoryContext context;
	Size		budget;
	Size		used;
	int			chunk_rows;
	StreamChunk *free;
	Stream		streams[STREAMS];
	StreamRow  *buffer;			/* the stream that is given out */
	int64		buffer_rows;
};

static inline int
row_compare(const StreamRow *a, const StreamRow *b)
{
	if (a->customer != b->customer)
		return a->customer < b->customer ? -1 : 1;
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	if (a->item != b->item)
		return a->item < b->item ? -1 : 1;
	return (a->extra > b->extra) - (a->extra < b->extra);
}

static inline int
row_compare_by_item(const StreamRow *a, const StreamRow *b)
{
	if (a->item != b->item)
		return a->item < b->item ? -1 : 1;
	return (a->at > b->at) - (a->at < b->at);
}

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE StreamRow
#define ST_COMPARE(a, b) row_compare(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

#define ST_SORT sort_rows_by_item
#define ST_ELEMENT_TYPE StreamRow
#define ST_COMPARE(a, b) row_compare_by_item(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

void
stream_rows_sort(StreamRow *rows, int64 nrows)
{
	sort_rows(rows, nrows);
}

void
stream_rows_sort_by_item(StreamRow *rows, int64 nrows)
{
	sort_rows_by_item(rows, nrows);
}

static inline Size
chunk_size(const StreamStore *store)
{
	return offsetof(StreamChunk, rows) + sizeof(StreamRow) * (Size) store->chunk_rows;
}

StreamStore *
streams_create(Size memory)
{
	StreamStore *store = palloc0(sizeof(StreamStore));

	store->context = CurrentMemoryContext;
	store->budget = memory;
	/* a chunk for each stream takes an eighth of the budget at the most */
	store->chunk_rows = MIN_CHUNK_ROWS;
	while (store->chunk_rows < MAX_CHUNK_ROWS && chunk_size(store) * 2 * STREAMS <= memory / 8)
		store->chunk_rows = Min(store->chunk_rows * 2, MAX_CHUNK_ROWS);
	return store;
}

static void
write_all_out(StreamStore *store)
{
	MemoryContext old = MemoryContextSwitchTo(store->context);

	PrepareTempTablespaces();
	for (int i = 0; i < STREAMS; i++)
	{
		Stream	   *stream = &store->streams[i];

		if (stream->first == NULL)
			continue;
		if (stream->file == NULL)
			stream->file = BufFileCreateTemp(false);
		for (StreamChunk *chunk = stream->first; chunk != NULL; chunk = chunk->next)
			BufFileWrite(stream->file, chunk->rows, sizeof(StreamRow) * (Size) chunk->nrows);
		stream->last->next = store->free;
		store->free = stream->first;
		stream->first = stream->last = NULL;
		stream->spilled += stream->nrows;
		stream->nrows = 0;
	}
	MemoryContextSwitchTo(old);
}

static StreamChunk *
get_chunk(StreamStore *store)
{
	StreamChunk *chunk;

	CHECK_FOR_INTERRUPTS();
	if (store->free == NULL && store->used + chunk_size(store) > store->budget &&
		store->used >= STREAMS * chunk_size(store))
		write_all_out(store);
	chunk = store->free;
	if (chunk != NULL)
		store->free = chunk->next;
	else
	{
		chunk = MemoryContextAlloc(store->context, chunk_size(store));
		store->used += chunk_size(store);
	}
	chunk->next = NULL;
	chunk->nrows = 0;
	return chunk;
}

void
streams_add(StreamStore *store, int64 customer, int64 at, uint32 item)
{
	Stream	   *stream = &store->streams[((uint64) customer * UINT64CONST(0x9e3779b97f4a7c15)) >> 56];
	StreamRow  *row;

	if (stream->last == NULL || stream->last->nrows == store->chunk_rows)
	{
		StreamChunk *chunk = get_chunk(store);

		if (stream->last == NULL)
			stream->first = chunk;
		else
			stream->last->next = chunk;
		stream->last = chunk;
	}
	row = &stream->last->rows[stream->last->nrows++];
	row->customer = customer;
	row->at = at;
	row->item = item;
	row->extra = 0;
	stream->nrows++;
}

void
streams_finish(StreamStore *store)
{
	for (int i = 0; i < STREAMS; i++)
	{
		if (store->streams[i].file != NULL)
		{
			write_all_out(store);
			break;
		}
	}
}

void
streams_destroy(StreamStore *store)
{
	for (int i = 0; i < STREAMS; i++)
	{
		if (store->streams[i].file != NULL)
			BufFileClose(store->streams[i].file);
	}
}

uint64
streams_spilled(const StreamStore *store)
{
	uint64		rows = 0;

	for (int i = 0; i < STREAMS; i++)
		rows += store->streams[i].spilled;
	return rows * sizeof(StreamRow);
}

static void
rewind_file(Stream *stream)
{
	if (BufFileSeek(stream->file, 0, 0, SEEK_SET) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not rewind temporary file of events: %m")));
}

/* Brings a stream into the buffer, sorted. Gives the number of its rows. */
static int64
load_stream(StreamStore *store, Stream *stream)
{
	int64		nrows = stream->nrows + stream->spilled;
	StreamRow  *row;

	if (nrows > store->buffer_rows)
	{
		if (store->buffer != NULL)
			pfree(store->buffer);
		store->buffer_rows = nrows + nrows / 4;
		store->buffer = MemoryContextAllocHuge(store->context, sizeof(StreamRow) * (Size) store->buffer_rows);
	}
	row = store->buffer;
	if (stream->file != NULL)
	{
		Size		size = sizeof(StreamRow) * (Size) stream->spilled;

		rewind_file(stream);
		if (BufFileRead(stream->file, row, size) != size)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not read temporary file of events: %m")));
		row += stream->spilled;
	}
	for (StreamChunk *chunk = stream->first; chunk != NULL; chunk = chunk->next)
	{
		memcpy(row, chunk->rows, sizeof(StreamRow) * (Size) chunk->nrows);
		row += chunk->nrows;
	}
	if (stream->sorted)
		return nrows;

	sort_rows(store->buffer, nrows);
	row = store->buffer;
	if (stream->file != NULL)
	{
		rewind_file(stream);
		BufFileWrite(stream->file, row, sizeof(StreamRow) * (Size) stream->spilled);
		row += stream->spilled;
	}
	for (StreamChunk *chunk = stream->first; chunk != NULL; chunk = chunk->next)
	{
		memcpy(chunk->rows, row, sizeof(StreamRow) * (Size) chunk->nrows);
		row += chunk->nrows;
	}
	stream->sorted = true;
	return nrows;
}

void
streams_visit(StreamStore *store, StreamVisit visit, void *context)
{
	for (int i = 0; i < STREAMS; i++)
	{
		int64		nrows = load_stream(store, &store->streams[i]);

		for (int64 from = 0, to; from < nrows; from = to)
		{
			CHECK_FOR_INTERRUPTS();
			for (to = from + 1; to < nrows && store->buffer[to].customer == store->buffer[from].customer;)
				to++;
			visit(context, store->buffer + from, to - from);
		}
	}
}

/*
 * population_rows.h
 *		Rows of facts in streams by hash of the customer, in memory or in temporary files.
 */
#ifndef CRM_POPULATION_ROWS_H
#define CRM_POPULATION_ROWS_H

#include "postgres.h"

#include "base/value.h"
#include "segment/population.h"

#define ROW_STREAMS 512

/* Kinds of rows beside the program's kinds of events, which are 0 and up. */
#define ROW_CUSTOMER (-1)		/* a row of the customers' feed: attributes */
#define ROW_IDENTITY (-2)		/* a customer of crm.identity: no values */
#define ROW_MEMBERSHIP (-3)		/* what is stored: a blob */
#define ROW_DEADLINE (-4)		/* what is stored: three values */
#define ROW_STATIC (-5)			/* a segment into which he was put by hand: one value */
#define ROW_ATTRIBUTES (-6)		/* of the first feed of further attributes; -7 of the second ... */

/* A row, followed by its values, and these by the bytes of values that are kept in the row itself. */
typedef struct Row
{
	int64		customer;
	TimestampTz at;
	uint32		length;			/* with all that follows */
	int16		kind;
	bool		pointed;		/* the values' pointers are set */
	int			number;			/* for the reader's use */
} Row;

typedef struct RowStore RowStore;

/* Rows one after the other. */
typedef struct RowChunk
{
	struct RowChunk *next;
	Size		size;			/* with this header */
	Size		used;			/* of data; kept for the last one of a stream by the writer */
	char		data[FLEXIBLE_ARRAY_MEMBER];
} RowChunk;

typedef struct RowReader
{
	RowStore   *store;
	struct RowChunk *chunk;
	Size		position;
} RowReader;

/* nstreams: a power of two, ROW_STREAMS at the most; fewer of them for a few customers */
extern RowStore *row_store_create(Size memory, int nstreams);
extern void row_store_append(RowStore *store, int64 customer, int kind, TimestampTz at, int nvalues,
							 const Value *values);
extern void row_store_append_blob(RowStore *store, int64 customer, int kind, Value blob);

/* No more rows: gives the bytes that were spilled. */
extern uint64 row_store_finish(RowStore *store);
extern void row_store_destroy(RowStore *store);

extern int	row_store_streams(const RowStore *store);

/* The streams in an order in which all customers of one slot (population_slot) come before those of the next. */
static inline int
row_store_stream_in_order(const RowStore *store, int number)
{
	int			nstreams = row_store_streams(store);

	return nstreams < POPULATION_SLOTS ? number :
		number % (nstreams / POPULATION_SLOTS) * POPULATION_SLOTS + number / (nstreams / POPULATION_SLOTS);
}

/* Reads a stream; may be done several times. The stream that was read before is forgotten. */
extern void row_reader_init(RowReader *reader, RowStore *store, int stream);


static inline Row *
row_reader_next(RowReader *reader)
{
	Row		   *row;

	while (reader->chunk != NULL && reader->position >= reader->chunk->used)
	{
		reader->chunk = reader->chunk->next;
		reader->position = 0;
	}
	if (reader->chunk == NULL)
		return NULL;
	row = (Row *) (reader->chunk->data + reader->position);
	reader->position += row->length;
	return row;
}

extern Value *row_values(Row *row, int nvalues);
extern Value row_blob(Row *row);

/* Sorts events and their columns by time. */
extern void row_store_sort(TimestampTz *at, Value **columns, int ncolumns, int from, int count);

/* splitmix64: the streams go by its low bits, what is made of a stream by its high ones */
static inline uint64
row_store_hash(int64 id)
{
	uint64		h = (uint64) id + UINT64CONST(0x9e3779b97f4a7c15);

	h = (h ^ (h >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	h = (h ^ (h >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return h ^ (h >> 31);
}

#endif							/* CRM_POPULATION_ROWS_H */

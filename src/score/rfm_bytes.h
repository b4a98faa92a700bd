/*
 * rfm_bytes.h
 *		States as bytes: writing them within the limit of a value, reading them without trust.
 */
#ifndef CRM_RFM_BYTES_H
#define CRM_RFM_BYTES_H

#include "postgres.h"

#include "utils/memutils.h"

typedef struct ByteWriter
{
	char	   *data;			/* in the context given */
	Size		size;
	Size		allocated;
	const char *what;			/* "population", for the error */
	const char *hint;
} ByteWriter;

extern void writer_init(ByteWriter *writer, MemoryContext context, const char *what, const char *hint);
extern void writer_reserve(ByteWriter *writer, Size more);	/* error 54000 when the whole cannot be a value */

static inline void
put_byte(ByteWriter *writer, int byte)
{
	if (writer->size == writer->allocated)
		writer_reserve(writer, 1);
	writer->data[writer->size++] = (char) byte;
}

static inline void
put_varint64(ByteWriter *writer, uint64 value)
{
	if (writer->size + 10 > writer->allocated)
		writer_reserve(writer, 10);
	while (value >= 0x80)
	{
		writer->data[writer->size++] = (char) (value | 0x80);
		value >>= 7;
	}
	writer->data[writer->size++] = (char) value;
}

static inline void
put_signed(ByteWriter *writer, int64 value)
{
	put_varint64(writer, ((uint64) value << 1) ^ (uint64) (value >> 63));
}

static inline void
put_bytes(ByteWriter *writer, const char *bytes, Size size)
{
	if (writer->size + size > writer->allocated)
		writer_reserve(writer, size);
	memcpy(writer->data + writer->size, bytes, size);
	writer->size += size;
}

typedef struct ByteReader
{
	const char *data;
	Size		size;
	Size		position;
	const char *type;			/* "crm.population", for the error */
} ByteReader;

static inline void
reader_init(ByteReader *reader, const char *data, Size size, const char *type)
{
	reader->data = data;
	reader->size = size;
	reader->position = 0;
	reader->type = type;
}

/* Each of these is an error 22P03 at the end of the bytes. */
extern int	get_byte(ByteReader *reader);
extern uint64 get_varint64(ByteReader *reader);
extern int64 get_signed(ByteReader *reader);
extern const char *get_bytes(ByteReader *reader, Size size);

extern bytea *bytes_to_bytea(const char *bytes, Size size);

#endif							/* CRM_RFM_BYTES_H */

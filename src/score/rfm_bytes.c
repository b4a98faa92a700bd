/*
 * rfm_bytes.c
 *		States as bytes: writing them within the limit of a value, reading them without trust.
 */
#include "postgres.h"

#include "compat.h"
#include "score/rfm_bytes.h"

void
writer_init(ByteWriter *writer, MemoryContext context, const char *what, const char *hint)
{
	writer->allocated = 1024;
	writer->data = MemoryContextAlloc(context, writer->allocated);
	writer->size = 0;
	writer->what = what;
	writer->hint = hint;
}

void
writer_reserve(ByteWriter *writer, Size more)
{
	Size		needed = writer->size + more;

	/* The ten bytes that a varint reserves may lie beyond, but not the data itself. */
	if (needed > MaxAllocSize - VARHDRSZ)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("%s is too large to leave the server process", writer->what),
				 errdetail("A value can have 1 GB."),
				 errhint("%s", writer->hint)));
	writer->allocated = Min(Max(needed, writer->allocated * 2), MaxAllocSize - VARHDRSZ);
	writer->data = repalloc(writer->data, writer->allocated);
}

static void
invalid(const ByteReader *reader)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
			 errmsg("invalid binary form of type %s", reader->type)));
}

int
get_byte(ByteReader *reader)
{
	if (reader->position >= reader->size)
		invalid(reader);
	return (uint8) reader->data[reader->position++];
}

uint64
get_varint64(ByteReader *reader)
{
	uint64		result = 0;

	for (int shift = 0;; shift += 7)
	{
		uint64		byte = get_byte(reader);

		/* No more than 64 bits, and no zeros at the end: each number has one form. */
		if ((shift == 63 && byte > 1) || (shift > 0 && byte == 0))
			invalid(reader);
		result |= (byte & 0x7f) << shift;
		if (byte < 0x80)
			return result;
	}
}

int64
get_signed(ByteReader *reader)
{
	uint64		value = get_varint64(reader);

	return (int64) (value >> 1) ^ -(int64) (value & 1);
}

const char *
get_bytes(ByteReader *reader, Size size)
{
	const char *bytes = reader->data + reader->position;

	if (size > reader->size - reader->position)
		invalid(reader);
	reader->position += size;
	return bytes;
}

bytea *
bytes_to_bytea(const char *bytes, Size size)
{
	bytea	   *result = palloc(size + VARHDRSZ);

	SET_VARSIZE(result, size + VARHDRSZ);
	memcpy(VARDATA(result), bytes, size);
	return result;
}

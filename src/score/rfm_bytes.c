/*
 * rfm_bytes.c
 *		States as bytes: writing them within the limit of a value, reading them without trust, and as hexadecimal text.
 */
#include "postgres.h"

#include "utils/builtins.h"

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

char *
bytes_to_hex(const char *bytes, Size size)
{
	char	   *result;

	if (size > (MaxAllocSize - 3) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("value is too large to be written as text"),
				 errdetail("A text can have 1 GB."),
				 errhint("Copy it in binary.")));
	result = palloc(size * 2 + 3);
	result[0] = '\\';
	result[1] = 'x';
	result[2 + hex_encode(bytes, size, result + 2)] = '\0';
	return result;
}

static int
hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

const char *
bytes_from_hex(const char *hex, Size *size, const char *type, Node *escontext)
{
	Size		length = strlen(hex);
	char	   *bytes;

	if (length < 2 || hex[0] != '\\' || hex[1] != 'x' || length % 2 != 0)
		goto invalid;
	bytes = palloc(length / 2);
	for (Size i = 1; i < length / 2; i++)
	{
		int			high = hex_value(hex[2 * i]);
		int			low = hex_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			goto invalid;
		bytes[i - 1] = (char) (high << 4 | low);
	}
	*size = length / 2 - 1;
	return bytes;

invalid:
	crm_ereturn(escontext, NULL,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s", type),
				 errdetail("It is \\x and the bytes of the binary form in hexadecimal.")));
}

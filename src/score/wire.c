/*
 * wire.c
 *		Bytes of states that leave their backend.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "score/wire.h"

void
wire_put_unsigned(StringInfo out, uint64 value)
{
	char		bytes[10];
	int			length = 0;

	while (value >= 0x80)
	{
		bytes[length++] = (char) (value | 0x80);
		value >>= 7;
	}
	bytes[length++] = (char) value;
	appendBinaryStringInfo(out, bytes, length);
}

void
wire_put_signed(StringInfo out, int64 value)
{
	wire_put_unsigned(out, ((uint64) value << 1) ^ (uint64) (value < 0 ? -1 : 0));
}

/* The scale plus one and the mantissa; for a big number 0 and its digits as text. */
void
wire_put_decimal(StringInfo out, Decimal value)
{
	if (value.scale == DECIMAL_BIG)
	{
		StringInfoData text;

		initStringInfo(&text);
		decimal_append(&text, value);
		wire_put_unsigned(out, 0);
		wire_put_unsigned(out, text.len);
		appendBinaryStringInfo(out, text.data, text.len);
		pfree(text.data);
		return;
	}
	wire_put_unsigned(out, value.scale + 1);
	wire_put_signed(out, value.u.mantissa);
}

uint64
wire_get_unsigned(WireReader *reader)
{
	uint64		value = 0;

	for (int shift = 0; shift < 64; shift += 7)
	{
		uint64		byte;

		if (reader->bad || reader->at == reader->end)
			break;
		byte = (unsigned char) *reader->at++;
		if (shift == 63 && byte > 1)
			break;
		value |= (byte & 0x7f) << shift;
		if (byte < 0x80)
			return value;
	}
	reader->bad = true;
	return 0;
}

int64
wire_get_signed(WireReader *reader)
{
	uint64		value = wire_get_unsigned(reader);

	return (int64) ((value >> 1) ^ (value & 1 ? ~UINT64CONST(0) : 0));
}

uint8
wire_get_byte(WireReader *reader)
{
	const char *byte = wire_get_bytes(reader, 1);

	return byte == NULL ? 0 : (uint8) *byte;
}

const char *
wire_get_bytes(WireReader *reader, uint64 length)
{
	const char *bytes = reader->at;

	if (length > wire_left(reader))
	{
		reader->bad = true;
		return NULL;
	}
	reader->at += length;
	return bytes;
}

Decimal
wire_get_decimal(WireReader *reader)
{
	uint64		form = wire_get_unsigned(reader);
	Decimal		value = decimal_from_int64(0);

	if (form == 0)
	{
		uint64		length = wire_get_unsigned(reader);
		const char *text = wire_get_bytes(reader, length);

		if (text == NULL || length > PG_INT32_MAX || !decimal_from_string(text, (int) length, &value))
			reader->bad = true;
	}
	else if (form > DECIMAL_MAX_SCALE + 1)
		reader->bad = true;
	else
	{
		value.u.mantissa = wire_get_signed(reader);
		value.scale = (int) form - 1;
	}
	return reader->bad ? decimal_from_int64(0) : value;
}

char *
wire_to_hex(const char *bytes, Size length)
{
	char	   *text;

	if (length > (MaxAllocSize - 3) / 2)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("state is too large for its text form"),
				 errhint("Its binary form is half as long.")));
	text = palloc(length * 2 + 3);
	text[0] = '\\';
	text[1] = 'x';
	hex_encode(bytes, length, text + 2);
	text[length * 2 + 2] = '\0';
	return text;
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

char *
wire_from_hex(const char *text, Size *length)
{
	Size		digits;
	char	   *bytes;

	if (text[0] != '\\' || text[1] != 'x')
		return NULL;
	text += 2;
	digits = strlen(text);
	if (digits % 2 != 0)
		return NULL;
	*length = digits / 2;
	bytes = palloc(Max(*length, 1));
	for (Size i = 0; i < *length; i++)
	{
		int			high = hex_digit(text[2 * i]);
		int			low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return NULL;
		bytes[i] = (char) (high << 4 | low);
	}
	return bytes;
}

/*
 * wire.h
 *		Bytes of states that leave their backend: small numbers in few bytes, and reading that trusts nothing.
 */
#ifndef CRM_WIRE_H
#define CRM_WIRE_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/decimal.h"

/*
 * What is read. After the first thing that cannot be, "bad" is set and everything reads as 0 or as empty, so that callers
 * need to look only where they would loop or allocate.
 */
typedef struct WireReader
{
	const char *at;
	const char *end;
	bool		bad;
} WireReader;

/* Seven bits a byte, the low ones first; signed numbers as 0, -1, 1, -2, ... */
extern void wire_put_unsigned(StringInfo out, uint64 value);
extern void wire_put_signed(StringInfo out, int64 value);
extern void wire_put_decimal(StringInfo out, Decimal value);

extern uint64 wire_get_unsigned(WireReader *reader);
extern int64 wire_get_signed(WireReader *reader);
extern uint8 wire_get_byte(WireReader *reader);
extern const char *wire_get_bytes(WireReader *reader, uint64 length);	/* NULL if there are not so many */
extern Decimal wire_get_decimal(WireReader *reader);	/* a big one in CurrentMemoryContext */

static inline uint64
wire_left(const WireReader *reader)
{
	return reader->bad ? 0 : reader->end - reader->at;
}

/* \x and two digits a byte, as of bytea. Reading gives NULL for anything else. */
extern char *wire_to_hex(const char *bytes, Size length);
extern char *wire_from_hex(const char *text, Size *length);

#endif							/* CRM_WIRE_H */

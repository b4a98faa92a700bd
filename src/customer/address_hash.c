/*
 * address_hash.c
 *		crm.address_hash(): the hash by which an address is suppressed, SHA-256 of "kind:address" in UTF-8.
 *
 * Every address is hashed each time it is looked at, so this is no SQL function, whose plan is made anew for each query.
 */
#include "postgres.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"

#include "compat.h"

PG_FUNCTION_INFO_V1(crm_customer_address_hash);

Datum
crm_customer_address_hash(PG_FUNCTION_ARGS)
{
	text	   *kind = PG_GETARG_TEXT_PP(0);
	text	   *address = PG_GETARG_TEXT_PP(1);
	bytea	   *result = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	StringInfoData source;
	char	   *utf8;
	pg_cryptohash_ctx *context;

	initStringInfo(&source);
	appendBinaryStringInfo(&source, VARDATA_ANY(kind), VARSIZE_ANY_EXHDR(kind));
	appendStringInfoChar(&source, ':');
	appendBinaryStringInfo(&source, VARDATA_ANY(address), VARSIZE_ANY_EXHDR(address));
	utf8 = pg_server_to_any(source.data, source.len, PG_UTF8);
	context = pg_cryptohash_create(PG_SHA256);
	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (uint8 *) utf8, utf8 == source.data ? (size_t) source.len : strlen(utf8)) < 0 ||
		pg_cryptohash_final(context, (uint8 *) VARDATA(result), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	SET_VARSIZE(result, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	PG_RETURN_BYTEA_P(result);
}

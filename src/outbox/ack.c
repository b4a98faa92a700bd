/*
 * ack.c
 *		The sender's word that messages were sent: crm.ack_messages().
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

#include "base/kept_plan.h"
#include "base/row.h"
#include "base/sql_array.h"
#include "feed/capture.h"

PG_FUNCTION_INFO_V1(crm_outbox_ack_messages);

/* What the provider calls the message; NULL if the sender does not say. */
static bool
provider_of(int64 message, const Datum *ids, const bool *missing, int count, Datum *provider, const Datum *providers,
			const bool *unnamed, int nproviders)
{
	for (int i = 0; i < Min(count, nproviders); i++)
	{
		if (!missing[i] && DatumGetInt64(ids[i]) == message)
		{
			*provider = providers[i];
			return !unnamed[i];
		}
	}
	return false;
}

/* What the messages of one hand-out have in common. */
typedef struct HandOut
{
	Datum		channel;
	Datum		handed_at;
	Datum		leased_until;
	Datum		token;
} HandOut;

/* Without a join: one that was planned while the table was small may read all of it. */
static void
record(const HandOut *handout, Datum messages, Datum providers, Datum at)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, TEXTARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT8OID};
	Datum		values[] = {messages, providers, handout->handed_at, at, handout->token};
	bool		nulls[] = {false, DatumGetPointer(providers) == NULL, false, false, false};

	kept_execute(&kept, "UPDATE crm.message AS m SET state = 'sent', reason = NULL, handed_at = $3, finished_at = $4, token = $5, "
				 "provider_id = ($2)[array_position($1, m.message_id)] WHERE m.message_id = ANY ($1)", 5, types, values, nulls, false);
}

/* The lease of a hand-out of which only some are acknowledged here ends by itself. */
static void
end_lease(const HandOut *handout, int count)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TEXTOID, TIMESTAMPTZOID, INT8OID, INT4OID};
	Datum		values[] = {handout->channel, handout->leased_until, handout->token, Int32GetDatum(count)};

	kept_execute(&kept, "DELETE FROM crm.lease AS l WHERE l.channel = $1 AND l.until = $2 AND l.token = $3 AND cardinality(l.messages) = $4",
				 4, types, values, NULL, false);
}

/* crm.ack_messages(message_ids bigint[], token bigint, provider_ids text[], at timestamptz) */
Datum
crm_outbox_ack_messages(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID, INT8OID};
	Datum		values[] = {PG_GETARG_DATUM(0), PG_GETARG_DATUM(1)};
	HandOut		handout = {.token = PG_GETARG_DATUM(1)};
	Datum	   *ids;
	Datum	   *given = NULL;
	bool	   *missing;
	bool	   *unnamed = NULL;
	int			nids;
	int			ngiven = 0;
	int			count;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_INT32(0);
	if (PG_ARGISNULL(3))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("instant of an acknowledgement must not be null")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &ids, &missing, &nids);
	if (!PG_ARGISNULL(2))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), TEXTOID, -1, false, TYPALIGN_INT, &given, &unnamed, &ngiven);
	SPI_connect();
	count = (int)
		kept_execute(&kept, "DELETE FROM crm.outbox AS o WHERE o.message_id = ANY ($1) AND o.token = $2 "
					 "RETURNING o.message_id, o.customer_id, o.channel, o.handed_at, o.leased_until", 2, types, values, NULL, false);
	if (count > 0)
	{
		SPITupleTable *gone = SPI_tuptable;
		Size		room = sizeof(Datum) * (Size) count;
		Datum	   *messages = palloc(room);
		Datum	   *customers = palloc(room);
		Datum	   *providers = palloc0(room);
		bool	   *nulls = palloc(sizeof(bool) * (Size) count);
		ArrayType  *named = NULL;

		handout.channel = row_value(0, 3);
		handout.handed_at = row_value(0, 4);
		handout.leased_until = row_value(0, 5);
		for (int i = 0; i < count; i++)
		{
			messages[i] = Int64GetDatum(row_int64(i, 1));
			customers[i] = Int64GetDatum(row_int64(i, 2));
			nulls[i] = !provider_of(DatumGetInt64(messages[i]), ids, missing, nids, &providers[i], given, unnamed, ngiven);
		}
		if (ngiven > 0)
			named = construct_md_array(providers, nulls, 1, &count, (int[]) {1}, TEXTOID, -1, false, TYPALIGN_INT);
		record(&handout, sql_array(messages, count, INT8OID), PointerGetDatum(named), PG_GETARG_DATUM(3));
		end_lease(&handout, count);
		SPI_freetuptable(gone);
		for (int i = 0; i < count; i++)
			capture_customer("message", DatumGetInt64(customers[i]));
	}
	SPI_finish();
	PG_RETURN_INT32(count);
}

/*
 * rfm_type.c
 *		The type crm.rfm: three scores in four bytes.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "libpq/pqformat.h"

#include "compat.h"
#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_rfm_in);
PG_FUNCTION_INFO_V1(crm_score_rfm_out);
PG_FUNCTION_INFO_V1(crm_score_rfm_recv);
PG_FUNCTION_INFO_V1(crm_score_rfm_send);
PG_FUNCTION_INFO_V1(crm_score_rfm_make);
PG_FUNCTION_INFO_V1(crm_score_rfm_r);
PG_FUNCTION_INFO_V1(crm_score_rfm_f);
PG_FUNCTION_INFO_V1(crm_score_rfm_m);
PG_FUNCTION_INFO_V1(crm_score_rfm_eq);
PG_FUNCTION_INFO_V1(crm_score_rfm_ne);
PG_FUNCTION_INFO_V1(crm_score_rfm_lt);
PG_FUNCTION_INFO_V1(crm_score_rfm_le);
PG_FUNCTION_INFO_V1(crm_score_rfm_gt);
PG_FUNCTION_INFO_V1(crm_score_rfm_ge);
PG_FUNCTION_INFO_V1(crm_score_rfm_compare);
PG_FUNCTION_INFO_V1(crm_score_rfm_hash);
PG_FUNCTION_INFO_V1(crm_score_rfm_hash_extended);

static bool
is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f';
}

/*
 * 5-4-3, as it is printed, or 543, as other tools write it; space around it is of no account.
 */
Datum
crm_score_rfm_in(PG_FUNCTION_ARGS)
{
	char	   *string = PG_GETARG_CSTRING(0);
	Node	   *escontext = crm_escontext(fcinfo);
	const char *p = string;
	int			scores[RFM_DIMENSIONS];
	bool		hyphens = false;

	while (is_space(*p))
		p++;
	for (int i = 0; i < RFM_DIMENSIONS; i++)
	{
		if (i == 1)
			hyphens = *p == '-';
		if (i > 0 && hyphens && *p++ != '-')
			goto invalid;
		if (*p < '1' || *p > '9')
			goto invalid;
		scores[i] = *p++ - '0';
	}
	while (is_space(*p))
		p++;
	if (*p != '\0')
		goto invalid;
	PG_RETURN_RFM(rfm_make(scores[0], scores[1], scores[2]));

invalid:
	crm_ereturn(escontext, (Datum) 0,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("invalid input syntax for type %s: \"%s\"", "crm.rfm", string),
				 errdetail("Scores are three digits 1 to 9, for recency, frequency and monetary, such as 5-4-3.")));
}

Datum
crm_score_rfm_out(PG_FUNCTION_ARGS)
{
	RfmScore	score = PG_GETARG_RFM(0);
	char	   *result = palloc(6);

	result[0] = (char) ('0' + rfm_recency(score));
	result[1] = '-';
	result[2] = (char) ('0' + rfm_frequency(score));
	result[3] = '-';
	result[4] = (char) ('0' + rfm_monetary(score));
	result[5] = '\0';
	PG_RETURN_CSTRING(result);
}

Datum
crm_score_rfm_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			r = pq_getmsgbyte(message);
	int			f = pq_getmsgbyte(message);
	int			m = pq_getmsgbyte(message);

	if (r < 1 || r > 9 || f < 1 || f > 9 || m < 1 || m > 9)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("invalid binary form of type %s", "crm.rfm")));
	PG_RETURN_RFM(rfm_make(r, f, m));
}

Datum
crm_score_rfm_send(PG_FUNCTION_ARGS)
{
	RfmScore	score = PG_GETARG_RFM(0);
	StringInfoData message;

	pq_begintypsend(&message);
	pq_sendbyte(&message, rfm_recency(score));
	pq_sendbyte(&message, rfm_frequency(score));
	pq_sendbyte(&message, rfm_monetary(score));
	PG_RETURN_BYTEA_P(pq_endtypsend(&message));
}

Datum
crm_score_rfm_make(PG_FUNCTION_ARGS)
{
	for (int i = 0; i < RFM_DIMENSIONS; i++)
	{
		if (PG_GETARG_INT32(i) < 1 || PG_GETARG_INT32(i) > 9)
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("score %d is out of range", PG_GETARG_INT32(i)),
					 errdetail("Scores are 1 to 9.")));
	}
	PG_RETURN_RFM(rfm_make(PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2)));
}

Datum
crm_score_rfm_r(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(rfm_recency(PG_GETARG_RFM(0)));
}

Datum
crm_score_rfm_f(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(rfm_frequency(PG_GETARG_RFM(0)));
}

Datum
crm_score_rfm_m(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(rfm_monetary(PG_GETARG_RFM(0)));
}

Datum
crm_score_rfm_eq(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) == PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_ne(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) != PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_lt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) < PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_le(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) <= PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_gt(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) > PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_ge(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(PG_GETARG_RFM(0) >= PG_GETARG_RFM(1));
}

Datum
crm_score_rfm_compare(PG_FUNCTION_ARGS)
{
	RfmScore	a = PG_GETARG_RFM(0);
	RfmScore	b = PG_GETARG_RFM(1);

	PG_RETURN_INT32((a > b) - (a < b));
}

Datum
crm_score_rfm_hash(PG_FUNCTION_ARGS)
{
	return hash_uint32(PG_GETARG_RFM(0));
}

Datum
crm_score_rfm_hash_extended(PG_FUNCTION_ARGS)
{
	return hash_uint32_extended(PG_GETARG_RFM(0), PG_GETARG_INT64(1));
}

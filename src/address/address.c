/*-------------------------------------------------------------------------
 *
 * address.c
 *	  Normal forms of phone numbers and e-mail addresses, as SQL functions.
 *
 * A library of its own, beside crm_marketing: the libraries it needs bring
 * others with them, some megabytes and some milliseconds, which no session
 * should pay for that only writes an order.
 *
 * Values are looked at in UTF-8.  One that has no form in it, or none in the
 * encoding of the database on the way back, is not valid, like any other that
 * is not: crm.normal_form() raises no error for any bytes.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "compat.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/syscache.h"

#include "address/email.h"
#include "address/phone.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(crm_address_normalize_phone);
PG_FUNCTION_INFO_V1(crm_address_normalize_email);
PG_FUNCTION_INFO_V1(crm_address_normal_form);

/* Of a value, what an error shows */
#define MAX_SHOWN	64

/* A text that is looked at where it lies; it ends with no 0 */
typedef struct Span
{
	const char *text;
	int			len;
} Span;

static Span
span_of(text *value)
{
	Span		result = {VARDATA_ANY(value), VARSIZE_ANY_EXHDR(value)};

	return result;
}

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static Span
trim(Span span)
{
	while (span.len > 0 && is_blank(span.text[0]))
	{
		span.text++;
		span.len--;
	}
	while (span.len > 0 && is_blank(span.text[span.len - 1]))
		span.len--;
	return span;
}

static bool
is_ascii(Span span)
{
	for (int i = 0; i < span.len; i++)
	{
		if (IS_HIGHBIT_SET(span.text[i]))
			return false;
	}
	return true;
}

/*
 * Brings the text to another encoding; false when it has no form in it.  Not
 * pg_server_to_any() and its like, which throw.
 */
static bool
recode(Span *span, int from, int to)
{
	Oid			proc;
	Size		size;
	unsigned char *buffer;

	if (from == to || is_ascii(*span))
		return true;
	/* Nobody knows what the bytes of such a database are; they may be UTF-8 */
	if (from == PG_SQL_ASCII)
		return pg_verify_mbstr(to, span->text, span->len, true);
	if (to == PG_SQL_ASCII)
		return true;

	proc = FindDefaultConversionProc(from, to);
	if (!OidIsValid(proc))
		return false;
	size = (Size) span->len * MAX_CONVERSION_GROWTH + 1;
	buffer = palloc(size);
	if (pg_do_encoding_conversion_buf(proc, from, to, (unsigned char *) unconstify(char *, span->text), span->len,
									  buffer, size, true) != span->len)
		return false;
	span->text = (char *) buffer;
	span->len = strlen(span->text);
	return true;
}

/* For an error: the value, or the beginning of a long one */
static char *
shown(Span span)
{
	if (span.len <= MAX_SHOWN)
		return pnstrdup(span.text, span.len);
	return psprintf("%.*s...", pg_mbcliplen(span.text, span.len, MAX_SHOWN), span.text);
}

/* The two letters of a country, in capitals; false when it is no such */
static bool
read_country(Span span, char country[3])
{
	if (span.len != 2)
		return false;
	for (int i = 0; i < 2; i++)
	{
		unsigned char c = pg_ascii_toupper((unsigned char) span.text[i]);

		if (c < 'A' || c > 'Z')
			return false;
		country[i] = c;
	}
	country[2] = '\0';
	return true;
}

/*
 * What crm.country() says, or NULL.  Found in the catalog and not as a name
 * in a query, which would ask for rights on the schema: the caller may be a
 * view.
 */
static text *
shop_country(FmgrInfo *flinfo)
{
	LOCAL_FCINFO(call, 0);
	FmgrInfo   *function = flinfo->fn_extra;
	Datum		result;

	if (function == NULL)
	{
		Oid			oid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid,
										  CStringGetDatum("country"),
										  PointerGetDatum(buildoidvector(NULL, 0)),
										  ObjectIdGetDatum(get_namespace_oid("crm", false)));

		if (!OidIsValid(oid))
			elog(ERROR, "function crm.country() does not exist");
		function = MemoryContextAllocZero(flinfo->fn_mcxt, sizeof(FmgrInfo));
		fmgr_info_cxt(oid, function, flinfo->fn_mcxt);
		flinfo->fn_extra = function;
	}

	InitFunctionCallInfoData(*call, function, 0, InvalidOid, NULL, NULL);
	result = FunctionCallInvoke(call);
	return call->isnull ? NULL : DatumGetTextPP(result);
}

/*
 * The border to the library of phone numbers.  What is not the value's fault
 * is an error here.
 */
static PhoneStatus
phone_normal_form(Span phone, const char *country, char result[PHONE_RESULT_SIZE])
{
	PhoneStatus status;

	if (phone.len > PHONE_MAX_INPUT)
		return PHONE_TOO_LONG;
	if (!recode(&phone, GetDatabaseEncoding(), PG_UTF8))
		return PHONE_NOT_A_NUMBER;
	status = address_phone_normal_form(phone.text, phone.len, country, result);
	if (status == PHONE_NO_MEMORY)
		ereport(ERROR,
				(errcode(ERRCODE_OUT_OF_MEMORY),
				 errmsg("out of memory")));
	if (status == PHONE_FAILED)
		elog(ERROR, "libphonenumber failed");
	return status;
}

pg_noreturn static void refuse_phone(Span phone, PhoneStatus status, const char *country);

static void
refuse_phone(Span phone, PhoneStatus status, const char *country)
{
	const char *detail;
	const char *hint = "Write it with + and the country's calling code, such as +7 916 123-45-67.";

	switch (status)
	{
		case PHONE_NO_COUNTRY:
			detail = "It does not begin with +, and no country is known.";
			hint = "Write it with + and the country's calling code, name its country,"
				" or set the shop's with crm.configure('country', ...).";
			break;
		case PHONE_HAS_LETTERS:
			detail = "There are letters among its digits.";
			break;
		case PHONE_NO_CALLING_CODE:
			detail = "It does not begin with a country's calling code.";
			break;
		case PHONE_TOO_SHORT:
			detail = "It is too short.";
			break;
		case PHONE_TOO_LONG:
			detail = "It is too long.";
			break;
		case PHONE_NO_SUCH_LENGTH:
			detail = "No number of its country has as many digits.";
			break;
		case PHONE_LOCAL_ONLY:
			detail = "The area code is missing.";
			break;
		case PHONE_NOT_VALID:
			if (country != NULL)
				detail = psprintf("It is not a valid number in country %s.", country);
			else
				detail = "It is not a valid number.";
			hint = "If it exists, write it with + and the country's calling code:"
				" then only the count of its digits matters.";
			break;
		default:
			detail = "It does not look like a phone number.";
			break;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid phone number: \"%s\"", shown(phone)),
			 errdetail_internal("%s", detail),
			 errhint("%s", hint)));
}

pg_noreturn static void refuse_country(Span country);

static void
refuse_country(Span country)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unrecognized country \"%s\"", shown(country)),
			 errhint("Give the two letters of ISO 3166, such as RU or GB.")));
}

Datum
crm_address_normalize_phone(PG_FUNCTION_ARGS)
{
	Span		phone;
	text	   *country;
	char		code[3];
	char		result[PHONE_RESULT_SIZE];
	PhoneStatus status;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	phone = trim(span_of(PG_GETARG_TEXT_PP(0)));
	country = PG_ARGISNULL(1) ? shop_country(fcinfo->flinfo) : PG_GETARG_TEXT_PP(1);
	if (country != NULL && !read_country(span_of(country), code))
		refuse_country(span_of(country));

	status = phone_normal_form(phone, country != NULL ? code : NULL, result);
	if (status == PHONE_UNKNOWN_COUNTRY)
		refuse_country(span_of(country));
	if (status == PHONE_NOT_SUPPORTED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot read phone number in national form: \"%s\"", shown(phone)),
				 errdetail("This build of crm_marketing is without libphonenumber, which knows the countries' numbers."),
				 errhint("Write it with + and the country's calling code, or build with libphonenumber.")));
	if (status != PHONE_OK)
		refuse_phone(phone, status, country != NULL ? code : NULL);

	PG_RETURN_TEXT_P(cstring_to_text(result));
}

/* NULL when the address is not valid; then the flaw tells why */
static text *
email_normal_form(Span email, EmailFlaw *flaw)
{
	Span		result;

	if (!recode(&email, GetDatabaseEncoding(), PG_UTF8))
	{
		flaw->detail = "There is a character in it that has no form in UTF-8.";
		flaw->hint = "An address looks like anna@example.org.";
		return NULL;
	}
	result.text = address_email_normal_form(email.text, email.len, flaw);
	if (result.text == NULL)
		return NULL;
	result.len = strlen(result.text);
	if (!recode(&result, PG_UTF8, GetDatabaseEncoding()))
	{
		flaw->detail = "There is a character in it that has no form in the encoding of the database.";
		flaw->hint = "An address looks like anna@example.org.";
		return NULL;
	}
	return cstring_to_text_with_len(result.text, result.len);
}

Datum
crm_address_normalize_email(PG_FUNCTION_ARGS)
{
	Span		email = trim(span_of(PG_GETARG_TEXT_PP(0)));
	EmailFlaw	flaw;
	text	   *result = email_normal_form(email, &flaw);

	if (result == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("invalid email address: \"%s\"", shown(email)),
				 errdetail_internal("%s", flaw.detail),
				 errhint("%s", flaw.hint)));
	PG_RETURN_TEXT_P(result);
}

static bool
span_is(Span span, const char *word)
{
	return span.len == (int) strlen(word) && memcmp(span.text, word, span.len) == 0;
}

Datum
crm_address_normal_form(PG_FUNCTION_ARGS)
{
	Span		namespace;
	Span		value;
	Span		recoded;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	namespace = span_of(PG_GETARG_TEXT_PP(0));
	value = trim(span_of(PG_GETARG_TEXT_PP(1)));

	if (span_is(namespace, "phone"))
	{
		char		code[3];
		bool		has_country = !PG_ARGISNULL(2) && read_country(span_of(PG_GETARG_TEXT_PP(2)), code);
		char		result[PHONE_RESULT_SIZE];
		PhoneStatus status = phone_normal_form(value, has_country ? code : NULL, result);

		/* What is in a customer's row may be no country */
		if (status == PHONE_UNKNOWN_COUNTRY)
			status = phone_normal_form(value, NULL, result);
		if (status != PHONE_OK)
			PG_RETURN_NULL();
		PG_RETURN_TEXT_P(cstring_to_text(result));
	}
	if (span_is(namespace, "email"))
	{
		EmailFlaw	flaw;
		text	   *result = email_normal_form(value, &flaw);

		if (result == NULL)
			PG_RETURN_NULL();
		PG_RETURN_TEXT_P(result);
	}

	/* Its hash is of its form in UTF-8 */
	recoded = value;
	if (value.len == 0 || !recode(&recoded, GetDatabaseEncoding(), PG_UTF8))
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text_with_len(value.text, value.len));
}

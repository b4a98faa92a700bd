/*
 * io.c
 *		The type crm.predicate: input, output, and its binary form.
 *
 * What is stored is a version and the canonical text. A tree would be quicker to evaluate, but evaluation compiles it
 * once for many customers anyway, and text survives every later change of the tree.
 */
#include "postgres.h"

#include "libpq/pqformat.h"
#include "utils/builtins.h"

#include "predicate/ast.h"

PG_FUNCTION_INFO_V1(crm_predicate_in);
PG_FUNCTION_INFO_V1(crm_predicate_out);
PG_FUNCTION_INFO_V1(crm_predicate_recv);
PG_FUNCTION_INFO_V1(crm_predicate_send);
PG_FUNCTION_INFO_V1(crm_predicate_from_text);

/* Canonical text may be a little longer than what was read, and must be readable too. */
static Predicate *
make_predicate(const AstNode *root, Node *escontext)
{
	StringInfoData out;
	Predicate  *result;

	initStringInfo(&out);
	appendStringInfoSpaces(&out, PREDICATE_HEADER);
	predicate_print(&out, root);
	if (out.len - (int) PREDICATE_HEADER > PREDICATE_MAX_TEXT)
		crm_ereturn(escontext, NULL,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("predicate is longer than %d bytes", PREDICATE_MAX_TEXT),
					 errdetail("In its canonical form it has %d bytes.", out.len - (int) PREDICATE_HEADER),
					 errhint("Keep long lists in a segment, and name it with \"in segment\".")));
	result = (Predicate *) out.data;
	SET_VARSIZE(result, out.len);
	result->version = PREDICATE_VERSION;
	return result;
}

Predicate *
predicate_make(const AstNode *root)
{
	return make_predicate(root, NULL);
}

static Predicate *
read_predicate(const char *text, int length, Node *escontext)
{
	AstNode    *root = predicate_parse(text, length, escontext);

	return root ? make_predicate(root, escontext) : NULL;
}

static void
check_version(const Predicate *predicate)
{
	if (VARSIZE(predicate) < PREDICATE_HEADER || predicate->version != PREDICATE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("predicate has a version that is not known here"),
				 errhint("It was written by a later version of the extension.")));
}

AstNode *
predicate_tree(const Predicate *predicate)
{
	check_version(predicate);
	return predicate_parse(predicate->text, PredicateTextLength(predicate), NULL);
}

Datum
crm_predicate_in(PG_FUNCTION_ARGS)
{
	char	   *text = PG_GETARG_CSTRING(0);
	size_t		length = strlen(text);
	Predicate  *result = read_predicate(text, (int) Min(length, (size_t) PG_INT32_MAX),
										crm_escontext(fcinfo));

	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_PREDICATE_P(result);
}

Datum
crm_predicate_from_text(PG_FUNCTION_ARGS)
{
	text	   *source = PG_GETARG_TEXT_PP(0);

	PG_RETURN_PREDICATE_P(read_predicate(VARDATA_ANY(source), VARSIZE_ANY_EXHDR(source), NULL));
}

Datum
crm_predicate_out(PG_FUNCTION_ARGS)
{
	Predicate  *predicate = PG_GETARG_PREDICATE_P(0);

	check_version(predicate);
	PG_RETURN_CSTRING(pnstrdup(predicate->text, PredicateTextLength(predicate)));
}

Datum
crm_predicate_recv(PG_FUNCTION_ARGS)
{
	StringInfo	message = (StringInfo) PG_GETARG_POINTER(0);
	int			version;
	char	   *text;
	int			length;

	/* pqformat would call it a protocol violation */
	if (message->cursor >= message->len)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("binary predicate is empty")));
	version = pq_getmsgbyte(message);
	if (version != PREDICATE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
				 errmsg("predicate has version %d, and %d is supported", version, PREDICATE_VERSION)));
	text = pq_getmsgtext(message, message->len - message->cursor, &length);
	PG_RETURN_PREDICATE_P(read_predicate(text, length, NULL));
}

Datum
crm_predicate_send(PG_FUNCTION_ARGS)
{
	Predicate  *predicate = PG_GETARG_PREDICATE_P(0);
	StringInfoData out;

	check_version(predicate);
	pq_begintypsend(&out);
	pq_sendbyte(&out, predicate->version);
	pq_sendtext(&out, predicate->text, PredicateTextLength(predicate));
	PG_RETURN_BYTEA_P(pq_endtypsend(&out));
}

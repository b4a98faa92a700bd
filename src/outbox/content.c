/*
 * content.c
 *		The content of messages that are to go.
 *
 * Each template is looked up once, and all messages are filled together; only when one has an error, each by itself.
 */
#include "postgres.h"

#include "catalog/pg_type.h"

#include "base/contain.h"
#include "base/kept_plan.h"
#include "base/row.h"
#include "compat.h"
#include "feed/feed.h"
#include "outbox/claim.h"
#include "template/template.h"

/* A template in its newest version. */
typedef struct UsedTemplate
{
	const char *template;
	const char *language;
	Jsonb	   *parts;			/* NULL: there is none */
	bool		names_customer;
} UsedTemplate;

static UsedTemplate *
used_template(List **used, const char *template, const char *channel, const char *language)
{
	UsedTemplate *result;
	ListCell   *cell;

	foreach(cell, *used)
	{
		result = lfirst(cell);
		if (strcmp(result->template, template) == 0 && strcmp(result->language, language) == 0)
			return result;
	}
	result = palloc0(sizeof(UsedTemplate));
	result->template = template;
	result->language = language;
	result->parts = template_newest(template, channel, language);
	if (result->parts != NULL)
		result->names_customer = strstr(JsonbToCString(NULL, &result->parts->root, VARSIZE(result->parts)), "customer") != NULL;
	*used = lappend(*used, result);
	return result;
}

/* The attributes of customers whom their template names, by the number of the message. */
static Jsonb **
read_attributes(const Claim *claim, UsedTemplate *const *templates)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {INT8ARRAYOID};
	Jsonb	  **attributes = palloc0(sizeof(Jsonb *) * (Size) claim->count);
	int		   *numbers = palloc(sizeof(int) * (Size) claim->count);
	int64	   *persons = palloc(sizeof(int64) * (Size) claim->count);
	int			count = 0;
	Datum		values[1];

	for (int i = 0; i < claim->count; i++)
	{
		if (templates[i] == NULL || !templates[i]->names_customer)
			continue;
		numbers[count] = i;
		persons[count++] = claim->messages[i].person;
	}
	if (count == 0)
		return attributes;
	values[0] = feed_id_array(count, persons);
	kept_execute(&kept, "SELECT (SELECT jsonb_object_agg(a.name, a.value) FROM crm.attributes_of(crm.profile_of_kinds(p.person, '{}')) AS a) "
				 "FROM unnest($1) WITH ORDINALITY AS p(person, n) ORDER BY p.n", 1, types, values, NULL, true);
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		value = row_datum(i, 1, &isnull);

		if (!isnull)
			attributes[numbers[i]] = DatumGetJsonbPCopy(value);
	}
	SPI_freetuptable(SPI_tuptable);
	return attributes;
}

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = unconstify(char *, name);
	key.val.string.len = (int) strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
}

static void
push_text(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	value = {.type = jbvNull};

	push_key(state, name);
	if (text != NULL)
	{
		value.type = jbvString;
		value.val.string.val = unconstify(char *, text);
		value.val.string.len = (int) strlen(text);
	}
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_jsonb(JsonbParseState **state, const char *name, Jsonb *jsonb)
{
	JsonbValue	value = {.type = jbvNull};

	push_key(state, name);
	if (jsonb != NULL)
	{
		value.type = jbvBinary;
		value.val.binary.data = &jsonb->root;
		value.val.binary.len = (int) (VARSIZE(jsonb) - VARHDRSZ);
	}
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

/* What a template is filled with: the customer, the code, the message, and over these what the message has with it. */
static Jsonb *
make_context(const DueMessage *message, const Candidate *candidate, Jsonb *attributes)
{
	JsonbParseState *state = NULL;
	JsonbValue	id = {.type = jbvNumeric};
	Jsonb	   *context;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_jsonb(&state, "customer", attributes);
	push_text(&state, "code", message->code);
	push_key(&state, "message");
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "id");
	id.val.numeric = int64_to_numeric(message->id);
	(void) pushJsonbValue(&state, WJB_VALUE, &id);
	push_text(&state, "campaign", candidate->campaign);
	push_text(&state, "step", candidate->step);
	(void) pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	context = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
	if (candidate->data != NULL)
		context = DatumGetJsonbP(DirectFunctionCall2(jsonb_concat, JsonbPGetDatum(context), JsonbPGetDatum(candidate->data)));
	return context;
}

/* The messages from "first" on, count of them. */
typedef struct Filling
{
	Claim	   *claim;
	UsedTemplate *const *templates;
	Jsonb	  **attributes;
	int			first;
	int			count;
} Filling;

static void
fill(void *argument)
{
	Filling    *filling = argument;

	for (int i = filling->first; i < filling->first + filling->count; i++)
	{
		const DueMessage *message = &filling->claim->messages[i];
		Candidate  *candidate = &filling->claim->candidates[i];

		if (filling->templates[i] == NULL)
			continue;
		candidate->content = template_render(filling->templates[i]->parts, make_context(message, candidate, filling->attributes[i]));
	}
}

void
claim_render(Claim *claim)
{
	UsedTemplate **templates = palloc0(sizeof(UsedTemplate *) * (Size) Max(claim->count, 1));
	Filling		filling = {.claim = claim, .templates = templates, .count = claim->count};
	List	   *used = NIL;

	for (int i = 0; i < claim->count; i++)
	{
		if (claim->messages[i].verdict != NULL)
			continue;
		templates[i] = used_template(&used, claim->candidates[i].template, claim->channel, claim->candidates[i].language);
		if (templates[i]->parts == NULL)
		{
			claim->candidates[i].error = "there is no such template";
			templates[i] = NULL;
		}
	}
	filling.attributes = read_attributes(claim, templates);
	if (contain(fill, &filling) == NULL)
		return;
	for (filling.first = 0, filling.count = 1; filling.first < claim->count; filling.first++)
	{
		Candidate  *candidate = &claim->candidates[filling.first];
		ErrorData  *error;

		candidate->content = NULL;
		error = contain(fill, &filling);
		if (error != NULL)
			candidate->error = error->message;
	}
}

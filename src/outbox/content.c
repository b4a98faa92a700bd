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

/* Reading the attributes of customers whom their template names. */
typedef struct Attributes
{
	Claim	   *claim;
	int		   *numbers;		/* of messages */
	int64	   *persons;
	Jsonb	  **attributes;		/* by the number of the message */
} Attributes;

static void
read_attributes(void *argument, int first, int count)
{
	static SPIPlanPtr kept = NULL;
	Attributes *reading = argument;
	Oid			types[] = {INT8ARRAYOID};
	Datum		values[] = {feed_id_array(count, reading->persons + first)};

	kept_execute(&kept, "SELECT (SELECT jsonb_object_agg(a.name, a.value) FROM crm.attributes_of(crm.profile_of_kinds(p.person, '{}')) AS a) "
				 "FROM unnest($1) WITH ORDINALITY AS p(person, n) ORDER BY p.n", 1, types, values, NULL, true);
	for (int i = 0; i < count; i++)
	{
		bool		isnull;
		Datum		value = row_datum(i, 1, &isnull);

		if (!isnull)
			reading->attributes[reading->numbers[first + i]] = DatumGetJsonbPCopy(value);
	}
	SPI_freetuptable(SPI_tuptable);
}

/* The customer's feed is to be mended, and then it goes. */
static void
cannot_read(void *argument, int number, const char *error)
{
	Attributes *reading = argument;

	due_put_off(&reading->claim->messages[reading->numbers[number]], error, reading->claim->at);
}

static Jsonb **
attributes_named(Claim *claim, UsedTemplate **templates)
{
	Attributes	reading = {.claim = claim};
	int			count = 0;

	reading.attributes = palloc0(sizeof(Jsonb *) * (Size) claim->count);
	reading.numbers = palloc(sizeof(int) * (Size) claim->count);
	reading.persons = palloc(sizeof(int64) * (Size) claim->count);
	for (int i = 0; i < claim->count; i++)
	{
		if (templates[i] == NULL || !templates[i]->names_customer)
			continue;
		reading.numbers[count] = i;
		reading.persons[count++] = claim->messages[i].person;
	}
	contain_each(count, read_attributes, cannot_read, &reading);
	for (int i = 0; i < claim->count; i++)
	{
		if (claim->messages[i].verdict != NULL)
			templates[i] = NULL;
	}
	return reading.attributes;
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

typedef struct Filling
{
	Claim	   *claim;
	UsedTemplate **templates;	/* by the number of the message; NULL: it is not to go */
	Jsonb	  **attributes;		/* likewise */
} Filling;

static void
fill(void *argument, int first, int count)
{
	Filling    *filling = argument;

	for (int i = first; i < first + count; i++)
	{
		const DueMessage *message = &filling->claim->messages[i];
		Candidate  *candidate = &filling->claim->candidates[i];

		candidate->content = NULL;
		if (filling->templates[i] != NULL)
			candidate->content = template_render(filling->templates[i]->parts, make_context(message, candidate, filling->attributes[i]));
	}
}

static void
cannot_fill(void *argument, int number, const char *error)
{
	Filling    *filling = argument;

	filling->claim->candidates[number].content = NULL;
	if (filling->templates[number] != NULL)
		filling->claim->candidates[number].error = error;
}

void
claim_render(Claim *claim)
{
	UsedTemplate **templates = palloc0(sizeof(UsedTemplate *) * (Size) Max(claim->count, 1));
	Filling		filling = {.claim = claim, .templates = templates};
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
	filling.attributes = attributes_named(claim, templates);
	contain_each(claim->count, fill, cannot_fill, &filling);
}

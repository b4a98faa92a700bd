/*
 * consent.c
 *		To what a person has agreed.
 *
 * An id's last word on a channel and a purpose counts, refusals of everything with it. A person with several ids has agreed
 * when one of them has and none has refused: a merge makes nobody reachable who had refused. There is one way back, or a
 * person who has ever refused under some old id could never agree again: a consent that was given after the refusal, when
 * both ids were already his. It is his own word then, about himself. Taking the merge back takes that away from the other
 * id as well, since all of it follows from what each has said and from when they became one.
 *
 * For the same reason a consent covers the addresses of the id that gave it, and those of ids that were the person's before.
 */
#include "postgres.h"

#include "customer/contact.h"

static bool
is_about(const char *said, const char *asked)
{
	return strcmp(said, "*") == 0 || strcmp(said, asked) == 0;
}

static bool
is_later(const Statement *a, const Statement *b)
{
	if (a->at != b->at)
		return a->at > b->at;
	if (a->granted != b->granted)
		return !a->granted;
	return a->number > b->number;
}

/* What each id has said last; NULL where it has said nothing. */
static const Statement **
last_words(const Person *person, const char *channel, const char *purpose)
{
	const Statement **words = palloc0(sizeof(Statement *) * (Size) list_length(person->ids));
	ListCell   *cell;

	foreach(cell, person->statements)
	{
		const Statement *statement = lfirst(cell);
		const Statement **word = &words[statement->id];

		if (is_about(statement->channel, channel) && is_about(statement->purpose, purpose) &&
			(*word == NULL || is_later(statement, *word)))
			*word = statement;
	}
	return words;
}

/* Was it said when both ids were the person's? */
static bool
speaks_for(const Person *person, const Statement *statement, int id)
{
	const PersonId *own = list_nth(person->ids, statement->id);
	const PersonId *other = list_nth(person->ids, id);

	return statement->id == id || statement->at > Max(own->joined_at, other->joined_at);
}

/* Has he taken an id's refusal back by another id, as one person? */
static bool
is_overruled(const Person *person, const Statement **words, const Statement *refusal)
{
	for (int i = 0; i < list_length(person->ids); i++)
	{
		const Statement *other = words[i];

		if (other != NULL && other->granted && other->at > refusal->at && speaks_for(person, other, refusal->id))
			return true;
	}
	return false;
}

/* NULL if he has not agreed. */
static Agreement *
agreement_on(const Person *person, const char *channel, const char *purpose)
{
	const Statement **words = last_words(person, channel, purpose);
	int			nids = list_length(person->ids);
	Agreement  *agreement;

	for (int i = 0; i < nids; i++)
	{
		const Statement *statement = words[i];

		if (statement != NULL && !statement->granted && !is_overruled(person, words, statement))
			return NULL;
	}
	agreement = palloc(sizeof(Agreement));
	agreement->channel = channel;
	agreement->purpose = purpose;
	agreement->covers = palloc0(sizeof(bool) * (Size) nids);
	for (int i = 0; i < nids; i++)
	{
		for (int by = 0; by < nids; by++)
		{
			const Statement *statement = words[by];

			if (statement != NULL && statement->granted && speaks_for(person, statement, i))
				agreement->covers[i] = true;
		}
	}
	/* whoever agreed once and then refused by the same id has agreed to nothing */
	for (int i = 0; i < nids; i++)
	{
		if (agreement->covers[i])
			return agreement;
	}
	return NULL;
}

static int
compare_agreements(const ListCell *a, const ListCell *b)
{
	const Agreement *x = lfirst(a);
	const Agreement *y = lfirst(b);
	int			order = strcmp(x->channel, y->channel);

	return order != 0 ? order : strcmp(x->purpose, y->purpose);
}

List *
person_agreements(const Person *person)
{
	List	   *agreements = NIL;
	List	   *asked = NIL;
	ListCell   *cell;

	foreach(cell, person->statements)
	{
		const Statement *statement = lfirst(cell);
		Agreement  *agreement;
		ListCell   *before;
		bool		done = !statement->granted;

		foreach(before, asked)
		{
			const Statement *other = lfirst(before);

			done |= strcmp(other->channel, statement->channel) == 0 && strcmp(other->purpose, statement->purpose) == 0;
		}
		if (done)
			continue;
		asked = lappend(asked, unconstify(Statement *, statement));
		agreement = agreement_on(person, statement->channel, statement->purpose);
		if (agreement != NULL)
			agreements = lappend(agreements, agreement);
	}
	list_sort(agreements, compare_agreements);
	list_free(asked);
	return agreements;
}

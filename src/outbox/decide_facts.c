/*
 * decide_facts.c
 *		Whether messages may go, by the facts of their customers.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "base/contain.h"
#include "compat.h"
#include "outbox/decide_private.h"
#include "segment/inquiry.h"

/* What is asked of the customer's facts. */
typedef enum FactQuestion
{
	ASK_VOID,					/* does the deciding event still decide? */
	ASK_GOAL,					/* is the goal reached? */
	ASK_CONDITION,
	ASK_KINDS
} FactQuestion;

static const Predicate *
question_of(const Decision *decision, const DueMessage *message, FactQuestion which)
{
	const Guard *guard = guard_of(decision, message);

	switch (which)
	{
		case ASK_VOID:
			return guard != NULL && message->event_kind != NULL ? guard->trigger : NULL;
		case ASK_GOAL:
			return guard != NULL ? guard->goal : NULL;
		default:
			return message->condition;
	}
}

typedef struct Inquiry
{
	const Decision *decision;
	const Predicate *predicate;
	Asked	   *asked;
} Inquiry;

static void
ask(void *argument, int first, int count)
{
	const Inquiry *inquiry = argument;
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "crm inquiry", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(memory);

	inquire(inquiry->predicate, inquiry->asked + first, count);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(memory);
}

static void
cannot_ask(void *argument, int number, const char *error)
{
	const Inquiry *inquiry = argument;

	due_put_off(&inquiry->decision->messages[inquiry->asked[number].number], error, inquiry->decision->at);
}

/* Each predicate is asked of all together. What cannot be answered, as when the shop has changed a table under its feed, waits. */
static void
decide_by(Decision *decision, FactQuestion which)
{
	static const char *const reasons[ASK_KINDS] = {"void", "goal", "condition"};
	bool	   *is_asked = palloc0(sizeof(bool) * (Size) decision->count);

	for (int i = 0; i < decision->count; i++)
	{
		const Predicate *predicate = question_of(decision, &decision->messages[i], which);
		Asked	   *asked;
		int			count = 0;

		if (is_asked[i] || decision->messages[i].verdict != NULL || predicate == NULL)
			continue;
		asked = palloc0(sizeof(Asked) * (Size) (decision->count - i));
		for (int j = i; j < decision->count; j++)
		{
			const DueMessage *message = &decision->messages[j];
			const Predicate *other = question_of(decision, message, which);

			if (message->verdict != NULL || other == NULL ||
				(other != predicate &&
				 (VARSIZE(other) != VARSIZE(predicate) || memcmp(other, predicate, VARSIZE(predicate)) != 0)))
				continue;
			is_asked[j] = true;
			asked[count].customer = message->person;
			asked[count].number = j;
			asked[count].has_entry = message->has_entry;
			asked[count].entry = message->entry;
			asked[count].at = decision->at;
			if (which == ASK_VOID)
			{
				asked[count].at = message->has_entry ? message->entry : decision->at;
				asked[count].kind = message->has_event_at ? message->event_kind : NULL;
				asked[count].event_at = message->event_at;
			}
			count++;
		}
		contain_each(count, ask, cannot_ask, &(Inquiry) {decision, predicate, asked});
		for (int a = 0; a < count; a++)
		{
			DueMessage *message = &decision->messages[asked[a].number];

			if (message->verdict != NULL)
				continue;
			if (!asked[a].known)
				message->verdict = "gone";
			else if (asked[a].truth == (which == ASK_GOAL))
				message->verdict = reasons[which];
		}
	}
}

void
decide_by_facts(Decision *decision)
{
	for (int which = 0; which < ASK_KINDS; which++)
		decide_by(decision, which);
}

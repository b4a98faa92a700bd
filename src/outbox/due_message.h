/*
 * due_message.h
 *		A message that is due, and what is decided of it.
 */
#ifndef CRM_DUE_MESSAGE_H
#define CRM_DUE_MESSAGE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "predicate/ast.h"

typedef struct DueMessage
{
	int64		id;
	int64		customer;
	int64		person;			/* who the customer is, no alias */
	bool		mine;			/* is to go; else it only waits for room under a cap, too */
	const char *channel;
	const char *purpose;
	bool		transactional;
	int			priority;
	TimestampTz due_at;
	TimestampTz useful_until;	/* DT_NOEND: for ever */
	int			guard;			/* crm.guard; 0: none */
	bool		has_entry;
	TimestampTz entry;
	const char *event_kind;		/* the deciding event; NULL: none */
	bool		has_event_at;
	TimestampTz event_at;
	const Predicate *condition; /* NULL: none */
	const char *code;			/* NULL: none */

	const char *verdict;		/* NULL: it may go, to the address; else why not */
	bool		put_off;		/* but it may later */
	TimestampTz until;
	const char *address;
} DueMessage;

/* What cannot be decided because of an error is tried again soon: it is not to keep others waiting, such as an order's confirmation. */
extern void due_put_off(DueMessage *message, const char *error, TimestampTz at);

/* The order in which they go: the highest priority first, then what was due first. */
static inline int
due_compare(const DueMessage *a, const DueMessage *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority ? -1 : 1;
	if (a->due_at != b->due_at)
		return a->due_at < b->due_at ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* The persons of messages, or of those that are not decided against, each once, ascending. */
extern int64 *due_persons(const DueMessage *messages, int count, bool undecided, int *npersons);

#endif							/* CRM_DUE_MESSAGE_H */

/*
 * inquiry.h
 *		A predicate asked of many customers together, each at an instant of his own.
 */
#ifndef CRM_INQUIRY_H
#define CRM_INQUIRY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "predicate/ast.h"
#include "segment/ask.h"

/* What is asked of a customer, and the answer. */
typedef struct Asked
{
	int64		customer;		/* no alias */
	int			number;			/* whose question it is, for the caller */
	TimestampTz at;				/* finite */
	bool		has_entry;
	TimestampTz entry;
	const char *kind;			/* NULL: is it true? Else: is this event one that decides it? */
	TimestampTz event_at;
	bool		known;			/* something is known of him */
	bool		truth;
} Asked;

/* Answers, under the active snapshot; sorts the questions by customer. */
extern void inquire(const Predicate *predicate, Asked *asked, int count);

/* The number, from 1, of the event among those of its kind if it is one that decides the question at an instant; else 0. */
extern int	question_occurs(const Question *question, const Facts *facts, TimestampTz at, const char *kind, TimestampTz event_at);

#endif							/* CRM_INQUIRY_H */

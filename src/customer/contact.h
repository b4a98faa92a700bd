/*
 * contact.h
 *		Where a person can be written to, and what he has agreed to.
 *
 * What is stored comes with an id, and a person may have several (see feed.h). Here it becomes a person's: his last word by
 * each id, and which of his ids' addresses it covers.
 */
#ifndef CRM_CUSTOMER_CONTACT_H
#define CRM_CUSTOMER_CONTACT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/* The feed of all this, under whose name it is captured that something of it was said. */
#define CONTACT_FEED "customer.contact"

/* A way to reach somebody, and the kind of address that it needs. */
typedef struct Channel
{
	const char *name;
	const char *kind;
} Channel;

/* One of a person's ids. */
typedef struct PersonId
{
	int64		id;
	TimestampTz joined_at;		/* since when it is the person's; DT_NOBEGIN for his own */
} PersonId;

/* An address of one of his ids on a channel, or of a kind. */
typedef struct PersonAddress
{
	int			id;				/* number of the id */
	bool		set;			/* for the channel; else what the feed says, for all channels of the kind */
	const char *name;			/* channel, or kind */
	const char *address;		/* NULL: he has none there */
	List	   *suppressed;		/* of const char *: channels on which it is, * for all */
} PersonAddress;

/* A statement of his by one of his ids. */
typedef struct Statement
{
	int			id;
	const char *channel;		/* * of a refusal: all */
	const char *purpose;		/* likewise */
	bool		granted;
	TimestampTz at;
	int64		number;			/* of two at one instant, a refusal counts, then the greater number */
} Statement;

typedef struct Person
{
	int64		customer;
	List	   *ids;			/* of PersonId * */
	List	   *addresses;		/* of PersonAddress * */
	List	   *statements;		/* of Statement * */
} Person;

/* To what he has agreed: a channel for a purpose. */
typedef struct Agreement
{
	const char *channel;
	const char *purpose;
	bool	   *covers;			/* by number of the id: its addresses may be used */
} Agreement;

/* consent.c: of Agreement *, by channel and purpose, in CurrentMemoryContext */
extern List *person_agreements(const Person *person);

/* Where one of a person's ids can be written to on a channel. */
typedef struct ContactRow
{
	int64		person;
	int64		id;
	const char *channel;
	const char *address;
	List	   *purposes;		/* of const char *: for which it may be used */
	bool		suppressed;
} ContactRow;

/*
 * contact.c: of ContactRow *, by person, then by channel, in CurrentMemoryContext; under the active snapshot. On one channel, or on
 * all (NULL). Who does not ask for purposes gets none.
 */
extern List *contact_rows(int count, const int64 *persons, const char *channel, bool purposes);

#endif							/* CRM_CUSTOMER_CONTACT_H */

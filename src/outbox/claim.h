/*
 * claim.h
 *		Messages that are being handed out.
 */
#ifndef CRM_CLAIM_H
#define CRM_CLAIM_H

#include "postgres.h"

#include "storage/itemptr.h"
#include "utils/jsonb.h"

#include "outbox/due_message.h"

/* What is known of a message besides, by the number of its DueMessage. */
typedef struct Candidate
{
	ItemPointerData tid;		/* its row in crm.outbox, which is locked */
	int			attempts;		/* before this one */
	TimestampTz handed_at;		/* if it may have been sent; DT_NOBEGIN: not */
	const char *campaign;		/* NULL: none */
	const char *step;			/* likewise */
	const char *template;
	const char *language;
	Jsonb	   *data;			/* NULL: none */
	Jsonb	   *content;		/* content.c; NULL: it could not be rendered */
	const char *error;			/* why */
} Candidate;

typedef struct Claim
{
	const char *channel;
	TimestampTz at;
	int			room;			/* so many at the most */
	int			count;			/* of candidates */
	Candidate  *candidates;
	int			nmessages;		/* these first, then what waits besides under a cap */
	DueMessage *messages;
} Claim;

/*
 * claim_find.c, each connected to SPI. What is due, and is nobody's: its rows are locked, and so are the persons, if nobody has
 * them; of the others none is left. False if nothing is due.
 */
extern bool claim_find(Claim *claim);

/* Under a snapshot newer than the locks: who they are now; leaves out whose person is not locked. */
extern void claim_resolve(Claim *claim);

/* What else waits of these persons and goes before any of it, if there are caps. */
extern void claim_add_rivals(Claim *claim);

/* content.c: the content of those that are to go, under the active snapshot. */
extern void claim_render(Claim *claim);

#endif							/* CRM_CLAIM_H */

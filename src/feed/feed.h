/*
 * feed.h
 *		Where facts come from: the shop's own tables through views, and tracked events.
 *
 * Everything above reads facts through feed_read(), which runs a feed as its definer, under a pinned search_path and the
 * time zone of crm.setting, and hands over values, not datums, straight from the executor.
 */
#ifndef CRM_FEED_H
#define CRM_FEED_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/snapshot.h"

#include "base/value.h"

typedef struct FeedColumn
{
	const char *name;
	Oid			type;			/* InvalidOid for an array of a feed without view: of elements of any type */
	ValueType	value_type;		/* VALUE_ARRAY for arrays, VALUE_UNKNOWN for any */
} FeedColumn;

typedef struct Feed
{
	const char *kind;			/* "customer" for the customers */
	bool		tracked;		/* events of crm.event, not a view */
	bool		own;			/* the extension's own: what other slices know of customers */
	const char *reader;			/* of an own feed: the function that gives the rows of some customers, if not the view itself */
	bool		packed;			/* there is no view: the reader gives a customer's properties as one jsonb */
	bool		customers;		/* its rows are of customers, and have no at: the customers', and own ones of attributes */
	bool		stale;			/* released, or its tables are no longer those that its text names */
	const char *why_stale;		/* a sentence for people; NULL when it is not */
	bool		indexed;		/* can be looked up by customer */
	Oid			view;			/* InvalidOid for a tracked kind, and a packed one */
	Oid			owner;			/* the definer */
	const char *search_path;	/* at definition */
	List	   *relations;		/* of Oid: what the view reads, other views not resolved */
	int			ncolumns;		/* without customer_id and at */
	FeedColumn *columns;
} Feed;

/*
 * A customer's kind is told by its name alone. Tracked kinds have no columns: any property may be read, and is unknown
 * where an event lacks it.
 */
#define FEED_CUSTOMER "customer"

/* What capture calls it when an id has become another customer's, or its own again: facts of all kinds have changed. */
#define FEED_MERGE "customer.merge"

/* The kinds of feeds that give further attributes of customers: a slice's own, "customer.score" */
#define FEED_ATTRIBUTES "customer."

/* All feeds that are defined (customer first when there is one), in CurrentMemoryContext. */
extern List *feed_load(void);
extern const List *feed_cached(void);	/* the same, kept until something in the catalog changes */
extern Feed *feed_find(const List *feeds, const char *kind);	/* NULL when there is none */

/* The feed of an attribute of customers: the customers' own if that has it, else a slice's; NULL when none has. */
extern const Feed *feed_of_attribute(const List *feeds, const char *name);

/*
 * Customers, and the ids of those who were merged into them. A customer who was merged into another one is an alias: his
 * facts are given out as those of the other, and he has none. Nor has he who was erased.
 */
typedef struct FeedAliases FeedAliases;

typedef struct FeedCustomers
{
	bool		all;			/* and then the next four are nothing */
	int			count;
	const int64 *ids;			/* who is asked for */
	int			nsought;
	const int64 *sought;		/* the ids whose facts are theirs */
	const FeedAliases *aliases;
} FeedCustomers;

/* Under the active snapshot, in CurrentMemoryContext; ids stays the caller's. */
extern const FeedCustomers *feed_customers(int count, const int64 *ids);
extern const FeedCustomers *feed_all_customers(void);

/* The customer to whom an id's facts belong, as far as the aliases were looked up: mostly itself. */
extern int64 feed_customer_of(const FeedAliases *aliases, int64 id);

/* Is it the id of somebody who was erased? As far as was looked up; he has no facts, whatever the shop has of him. */
extern bool feed_is_erased(const FeedAliases *aliases, int64 id);

/* Replaces aliases by their customers, under the active snapshot. */
extern void feed_resolve(int count, int64 *ids);

/* Ids as an SQL array. */
extern Datum feed_id_array(int count, const int64 *ids);

/*
 * Names of attributes and properties that are addresses (the kinds of crm.channel), which a role is not to see: one that may
 * not read crm.identity. NIL when it may. In CurrentMemoryContext.
 */
extern List *feed_hidden_names(Oid role);

/* Called for every row; values are valid during the call. at is 0 for customers. */
typedef void (*FeedRow) (void *context, int64 customer, TimestampTz at, const Value *values);

/*
 * Reads a feed: the named columns (a name that the feed lacks gives unknown), of some customers (by index) or of all
 * (customers NULL does it too), and of events at or after "since" only (DT_NOBEGIN for all). The rows of aliases are given
 * as their customers'; of attributes there is one row for a customer, however many ids he has. A row whose customer_id or
 * at is NULL, or whose at is infinite, is passed over and counted. Errors of the shop's query come with the feed's name in their context.
 * The caller holds an active snapshot, which is the one that is read. A stale feed is an error (55000): it would give facts
 * of other tables than its text names. The values and the name of the kind are the reader's; *passed_over is set, not
 * added to, and may be NULL. "row" runs in the caller's memory context, but as the feed's definer and possibly while a
 * parallel plan runs: it must neither read nor write tables.
 */
extern void feed_read(const Feed *feed, int ncolumns, const char *const *columns,
					  const FeedCustomers *customers, TimestampTz since,
					  FeedRow row, void *context, uint64 *passed_over);

/* Raises an error if called by a function of a feed's query. For what changes feeds or memberships. */
extern void feed_forbid_within_query(void);

/*
 * Gives ids to the customers of a shop with uuid or text keys who have none yet, and looks again whether the feeds that
 * lacked an index have one now. Writes; to be called before a bulk read. Returns how many ids were given.
 */
extern uint64 feed_refresh_identities(void);

/*
 * Remembers, for people (crm.feeds), why what is stored does not agree with a feed: it was defined anew, rebuilt, or has
 * two rows for one customer. NULL when all agrees. Writes.
 */
extern void feed_mark(const char *kind, const char *reason);

/* How many marks this process has set. */
extern uint64 feed_marks;

/* Has a feed that can be read such a mark, that a refresh takes away? */
extern bool feed_needs_refresh(void);

/* Two rows for one customer: the mark that a refresh cannot take away. */
#define FEED_DUPLICATES "customers have more than one row"

#endif							/* CRM_FEED_H */

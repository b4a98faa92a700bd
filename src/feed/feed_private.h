/*
 * feed_private.h
 *		What the files of the feed slice share.
 */
#ifndef CRM_FEED_PRIVATE_H
#define CRM_FEED_PRIVATE_H

#include "postgres.h"

#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"

#include "compat.h"
#include "feed/feed.h"

/* A row of crm.source. */
typedef struct FeedSource
{
	char	   *kind;
	char	   *query;			/* NULL for a tracked kind, as are the next two and key_type */
	char	   *search_path;
	char	   *definer;		/* the role's name: of the view's owner, where there is a view */
	bool		tracked;
	bool		own;			/* has a view, but neither text nor definer */
	char	   *key_type;
	bool		indexed;
	bool		released;
	char	   *stale_reason;
	char	   *reader;			/* of an own feed: the function that gives its rows; else NULL */
} FeedSource;

/* What customer_id is. All feeds of a shop agree on it. */
typedef enum FeedKey
{
	FEED_KEY_INTEGER,			/* is the customer's id */
	FEED_KEY_UUID,				/* has one by crm.identity, as has the next */
	FEED_KEY_TEXT
} FeedKey;

typedef struct FeedQueryColumn
{
	const char *name;
	bool		localtime;		/* a timestamp without time zone, or a date as "at": cast when read */
} FeedQueryColumn;

/* A shop's query that has passed all checks. */
typedef struct FeedQuery
{
	const char *text;			/* without semicolon */
	FeedKey		key;
	Oid			key_type;		/* beneath domains */
	Oid			key_collation;
	int			ncolumns;		/* with customer_id, and at */
	FeedQueryColumn *columns;
} FeedQuery;

/* Running as somebody else, under settings that do not depend on the session. */
typedef struct FeedRights
{
	Oid			userid;
	int			context;
	int			nestlevel;
} FeedRights;

/* Not waiting long for locks. */
typedef struct FeedImpatience
{
	ErrorContextCallback callback;
	int			nestlevel;
} FeedImpatience;

/* What the customers' view has besides, where the key is no integer: the shop's own key. */
#define FEED_CUSTOMER_KEY "customer_key"

#define FEED_SAFE_PATH "pg_catalog, pg_temp"

/* feed_rights.c. An error leaves by itself: the end of a (sub)transaction restores user and settings. */
extern void feed_enter(FeedRights *rights, Oid owner, const char *search_path);
extern void feed_enter_extension(FeedRights *rights);
extern void feed_leave(FeedRights *rights);
extern void feed_set(const char *name, const char *value);	/* until feed_leave() */
extern void feed_begin_impatience(FeedImpatience *impatience);
extern void feed_end_impatience(FeedImpatience *impatience);
extern char *feed_current_path(void);
extern Oid	feed_schema(void);
extern Oid	feed_relation(const char *name);	/* of schema crm; error if there is none */
extern void feed_execute(const char *sql, int nargs, Oid *types, Datum *values, const char *nulls);

/* feed_source.c */
extern List *feed_sources(void);	/* of FeedSource, the customers' first, then by kind */
extern FeedSource *feed_source_find(List *sources, const char *kind);
extern Oid	feed_view(const char *kind);	/* InvalidOid if there is none */
extern Oid	feed_owner_of(Oid relid);	/* InvalidOid if it is gone */
extern FeedKey feed_key_of(const char *key_type);
pg_noreturn extern void feed_error_own(const char *kind);
extern bool feed_hold(const Feed *feed);	/* locks its view against changes; false if it is no longer as it was loaded */
pg_noreturn extern void feed_error_stale(const Feed *feed);

/* feed_check.c: to be called as the definer, under the pinned path. */
extern FeedQuery *feed_check(const char *kind, const char *text, bool quiet);
extern List *feed_parse(const char *text);	/* of RawStmt; errors point into the text */
extern Query *feed_analyse(RawStmt *statement, const char *text);	/* errors as well */
extern bool feed_is_localtime(Oid type, bool at);

/* feed_constancy.c: literals of the statement as it was written; whether the analysed query always gives the same. */
extern List *feed_flowing_literals(Node *statement);
extern void feed_check_constancy(Query *query, List *literals);

/* feed_view.c: to be called as the extension's owner, connected to SPI. */
extern void feed_make_view(const char *kind, const FeedQuery *query, Oid definer, const char *search_path);
extern void feed_drop_view(const char *kind);

/* feed_define.c */
extern void feed_check_privilege(const char *kind, const char *definer);
extern void feed_mend(void);	/* rebuilds stale feeds, as far as that can be done; as the extension, connected to SPI */

/* feed_index.c: whether the view can be looked up by customer; if not, *why and *cure are sentences. */
extern bool feed_is_indexed(const Feed *feed, const char **why, const char **cure);
extern void feed_recheck_indexes(void);

/* feed_identity.c */
extern uint64 feed_make_identities(const Feed *feed);
extern bool feed_identity_of(const char *key, int64 *id);	/* false if no customer has the key */

/* feed_alias.c: rows on their way from ids to customers; nvalues are in each */
typedef struct FeedFold FeedFold;
extern const FeedCustomers *feed_raw_customers(int count, const int64 *ids);	/* ids as they are, save the erased; all when count is negative */
extern FeedFold *feed_fold_begin(const FeedAliases *aliases, bool attributes, int nvalues, FeedRow row, void *context);
extern void feed_fold_row(FeedFold *fold, int64 from, TimestampTz at, const Value *values);
extern void feed_fold_end(FeedFold *fold);

/* feed_tracked.c */
extern void feed_read_tracked(const Feed *feed, int ncolumns, const char *const *columns,
							  const FeedCustomers *customers, TimestampTz since,
							  FeedFold *fold, uint64 *passed_over);
extern void feed_read_packed(const Feed *feed, int ncolumns, const char *const *columns,
							 const FeedCustomers *customers, FeedFold *fold);

/* All properties of all tracked events of customers. */
typedef void (*FeedTracked) (void *context, const char *kind, int kind_length, TimestampTz at, Jsonb *properties);
extern void feed_read_customer_events(const FeedCustomers *customers, FeedTracked row, void *context);

/* feed_read.c */
extern void feed_error_callback(void *kind);	/* whose error it is */
extern bool feed_has_rows(const char *sql, const FeedCustomers *customers);	/* run as the extension's owner */

#endif							/* CRM_FEED_PRIVATE_H */

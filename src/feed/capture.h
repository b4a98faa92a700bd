/*
 * capture.h
 *		What the shop's transactions touch: remembered by triggers, logged at commit, given out as customers.
 *
 * The writing half runs inside the shop's transactions, so it does next to nothing and never fails by itself. The reading
 * half maps what was logged to customers, and is the tick's work.
 */
#ifndef CRM_CAPTURE_H
#define CRM_CAPTURE_H

#include "postgres.h"

#include "nodes/pg_list.h"

extern void capture_define_gucs(void);

/*
 * To be called by slices that store facts of their own: this transaction has changed facts of the customer of this kind
 * (NULL: of any, and what follows from no fact, such as the members of a static segment). Logged when it commits.
 */
extern void capture_customer(const char *kind, int64 customer);

/* Facts of a kind have changed of nobody knows whom. NULL: of all kinds. */
extern void capture_all(const char *kind);

/* Called after the commit of a transaction that has logged something; NULL when nobody listens. Must not fail. */
typedef void (*CaptureHook) (void);
extern PGDLLIMPORT CaptureHook capture_committed_hook;

/*
 * What was logged since the consumer came last, and moves the consumer on: transactions that are visible now and were not
 * then, in whatever order they began and committed. Each customer and kind is given once. "customer" gets the kind that was
 * touched, or NULL for any. What cannot be told as customers (a cap was passed, a mapping fails, a table was truncated or
 * replaced) marks the feed as stale, see feed_mark(); for all feeds when the position is not one in this cluster's history.
 * At most one transaction at a time reads for a consumer: false, and nothing read, if another one does. To be called in a
 * READ COMMITTED transaction, which keeps the position only if it commits.
 */
typedef void (*CaptureSink) (void *context, const char *kind, int64 customer);
extern bool capture_read(const char *consumer, CaptureSink customer, void *context);

/* Marks feeds as stale whose tables are others, or other files, than when they were looked at last. */
extern void capture_check_tables(void);

#endif							/* CRM_CAPTURE_H */

/*
 * check.h
 *		Do the names in a predicate exist, and can its types ever fit?
 *
 * Ad hoc, an unknown name is just unknown: profiles may come from anywhere. What is going to be stored, a segment or a
 * campaign, is checked against the feeds first, because a misspelt name would give a segment that stays empty for ever.
 */
#ifndef CRM_CHECK_H
#define CRM_CHECK_H

#include "postgres.h"

#include "nodes/pg_list.h"

#include "predicate/ast.h"

/*
 * Raises an error for a kind, property or attribute that no feed (see feed_load) has, and for types that never fit; warns
 * of conditions that can never become true. has_entry: whether "since entry" has a meaning where the predicate is used.
 */
extern void predicate_check(AstNode *root, List *feeds, bool has_entry);

#endif							/* CRM_CHECK_H */

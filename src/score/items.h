/*
 * items.h
 *		Names of items as small numbers.
 */
#ifndef CRM_ITEMS_H
#define CRM_ITEMS_H

#include "postgres.h"

#include "lib/stringinfo.h"

#include "base/value.h"

typedef struct ItemNames ItemNames;

extern ItemNames *item_names_create(MemoryContext context);
extern uint32 item_names_add(ItemNames *names, const char *name, uint32 length);	/* the old number if it is there */
extern uint32 item_names_count(const ItemNames *names);
extern const char *item_name(const ItemNames *names, uint32 item, uint32 *length);	/* not terminated */
extern Datum item_name_datum(const ItemNames *names, uint32 item);	/* text */

/*
 * Numbers the items anew, in the order of their bytes. Gives the new number of each old one, palloc'd, or NULL if they
 * were in order.
 */
extern uint32 *item_names_sort(ItemNames *names);

/* The items' numbers in the order of their bytes, palloc'd; nothing is numbered anew. */
extern uint32 *item_names_order(const ItemNames *names);

/* The number of the item that a value of a feed names; false where it is unknown or an array. */
extern bool item_names_add_value(ItemNames *names, Value value, uint32 *item);

#endif							/* CRM_ITEMS_H */

/*
 * value_private.h
 *		What the value_*.c files share and nobody else needs.
 */
#ifndef CRM_VALUE_PRIVATE_H
#define CRM_VALUE_PRIVATE_H

#include "base/value.h"

/* Can the date or instant be written as a plain ISO string, that is, one that is read back as itself? */
extern bool value_is_plain(Value v);

/* What {"date": "..."} or {"instant": "..."} says: more than plain ISO strings can. False if it is none. */
extern bool value_parse_special(const char *string, int length, ValueType type, int64 *result);

#endif							/* CRM_VALUE_PRIVATE_H */

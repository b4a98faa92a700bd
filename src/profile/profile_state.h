/*
 * profile_state.h
 *		The state of crm.profile_agg.
 */
#ifndef CRM_PROFILE_STATE_H
#define CRM_PROFILE_STATE_H

#include "profile/profile_private.h"

typedef struct ProfileState ProfileState;

/* The state in an argument, ready to be changed: the aggregate's own, or a copy. */
extern ProfileState *state_getarg(FunctionCallInfo fcinfo, int argument);
extern ProfileState *state_create(void);

/*
 * What facts look like, as bytes: 1 byte length of the kind and the kind (none: attributes), 2 bytes number of values, and
 * for each 1 byte length and its name.
 */
extern void shape_begin(StringInfo shape, const char *kind, int length, int nvalues);
extern void shape_add_name(StringInfo shape, const char *name, int length);

/* These return the state, which may have moved. */
extern ProfileState *state_append(ProfileState *state, const StringInfoData *shape, TimestampTz at,
								  const Value *values, int nvalues);
extern void state_set_customer(ProfileState *state, int64 customer);

#endif							/* CRM_PROFILE_STATE_H */

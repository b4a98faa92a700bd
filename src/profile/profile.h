/*
 * profile.h
 *		crm.profile: a customer's facts as one value.
 *
 * A flat varlena: a version word, the customer's id, a dictionary of names (attributes, kinds, properties), the
 * attributes, and the events sorted by time. Readers walk it in order; the dictionary lets them resolve each name once.
 */
#ifndef CRM_PROFILE_H
#define CRM_PROFILE_H

#include "postgres.h"

#include "fmgr.h"

#include "base/value.h"

typedef struct Profile Profile; /* private to profile.c; a varlena */

#define DatumGetProfileP(d) ((Profile *) PG_DETOAST_DATUM(d))
#define PG_GETARG_PROFILE_P(n) DatumGetProfileP(PG_GETARG_DATUM(n))
#define PG_RETURN_PROFILE_P(p) PG_RETURN_POINTER(p)

/*
 * Building: facts in any order. Everything is copied into the memory context in which the builder was created. Unknown
 * values are left out; of two values for one name the last one stays. Errors: 22023 for an empty name or kind, the kind
 * "customer", an infinite instant; 42939 for a reserved property; 54000 for names over 255 bytes and other limits.
 *
 * The functions that say bool answer false after a soft error only, which only a builder of profile_io.c can have.
 */
typedef struct ProfileBuilder ProfileBuilder;

extern ProfileBuilder *profile_builder_create(void);
extern void profile_set_customer(ProfileBuilder *builder, int64 customer);	/* error 22023 if it was another */
extern bool profile_set_attribute(ProfileBuilder *builder, const char *name, int length, Value value);
extern bool profile_begin_event(ProfileBuilder *builder, const char *kind, int length, TimestampTz at);
extern bool profile_add_property(ProfileBuilder *builder, const char *name, int length, Value value);
extern Profile *profile_build(ProfileBuilder *builder);

/*
 * Reading. Values point into the profile; elements of arrays and numbers too big for an integer are allocated in
 * CurrentMemoryContext, and so is the dictionary.
 */
typedef struct ProfileName
{
	const char *name;			/* not terminated */
	int			length;
} ProfileName;

typedef struct ProfileReader
{
	const Profile *profile;
	bool		has_customer;
	int64		customer;
	int			nnames;
	ProfileName *names;			/* the dictionary */
	int			nattributes;
	int			nevents;
	/* private to the reader's functions */
	const char *cursor;
	const char *next_event;
	int			attributes_left;
	int			events_left;
	int			properties_left;
} ProfileReader;

/* To be read in this order: all attributes, then event by event, each with its properties (skipped ones are passed over). */
extern void profile_reader_init(ProfileReader *reader, const Profile *profile);
extern bool profile_next_attribute(ProfileReader *reader, int *name, Value *value);
extern bool profile_next_event(ProfileReader *reader, int *kind, TimestampTz *at);
extern bool profile_next_property(ProfileReader *reader, int *name, Value *value);

/* Names that every event has besides its own properties, and that therefore no property may have. */
extern bool profile_is_reserved_property(const char *name, int length);

#endif							/* CRM_PROFILE_H */

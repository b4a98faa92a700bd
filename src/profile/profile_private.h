/*
 * profile_private.h
 *		What the profile_*.c files share: the layout of a profile on disk, the builder, and the limits.
 */
#ifndef CRM_PROFILE_PRIVATE_H
#define CRM_PROFILE_PRIVATE_H

#include "nodes/nodes.h"

#include "compat.h"
#include "profile/profile.h"

#define PROFILE_VERSION			1
#define PROFILE_HAS_CUSTOMER	0x01	/* in flags */

#define PROFILE_MAX_NAME		255 /* bytes of a name or kind */
#define PROFILE_MAX_NAMES		65535	/* different ones in a profile */
#define PROFILE_MAX_PROPERTIES	1600	/* of an event, as columns of a table */
#define PROFILE_MAX_ELEMENTS	65535	/* of an array */

/* The kind whose facts are attributes; no event can have it. */
#define PROFILE_CUSTOMER_KIND	"customer"

/*
 * On disk. Nothing after the header is aligned; integers are in the machine's byte order and read with memcpy. "varint"
 * is 7 bits to a byte, lowest first, the top bit set in all but the last.
 *
 * data:	nnames names, ascending by bytes, without repetition: 1 byte length, bytes
 *			nattributes attributes, ascending by name: varint name, value
 *			nevents events: varint kind (a name), int64 at, varint number of properties, uint32 bytes of all properties,
 *			properties ascending by name: varint name, value
 * value:	1 byte ValueType, then its payload (profile_flat.c)
 *
 * Events are sorted by at, kind, and then their properties: names, then values. So equal facts give equal bytes.
 */
struct Profile
{
	int32		vl_len_;		/* varlena header; do not touch directly */
	uint8		version;		/* PROFILE_VERSION */
	uint8		flags;			/* PROFILE_HAS_CUSTOMER */
	uint16		nnames;			/* in the dictionary */
	uint32		nattributes;
	uint32		nevents;
	char		customer[8];	/* int64; zero when there is none */
	char		data[FLEXIBLE_ARRAY_MEMBER];
};

/* profile_flat.c: values as bytes */
extern bool flat_check_value(Value v, Node *escontext); /* its limits */
extern Size flat_value_size(Value v);	/* checks them too, and throws */
extern char *flat_put_value(char *p, Value v);
extern const char *flat_get_value(const char *p, Value *v);
extern const char *flat_skip_value(const char *p);
extern int	flat_compare_values(const char *a, Size a_size, const char *b, Size b_size);

static inline Size
varint_size(uint32 value)
{
	Size		size = 1;

	while (value >= 0x80)
	{
		value >>= 7;
		size++;
	}
	return size;
}

static inline char *
put_varint(char *p, uint32 value)
{
	while (value >= 0x80)
	{
		*p++ = (char) (value | 0x80);
		value >>= 7;
	}
	*p++ = (char) value;
	return p;
}

static inline const char *
get_varint(const char *p, uint32 *value)
{
	uint32		byte = (uint8) *p++;
	uint32		result = byte & 0x7f;

	for (int shift = 7; byte & 0x80; shift += 7)
	{
		byte = (uint8) *p++;
		result |= (byte & 0x7f) << shift;
	}
	*value = result;
	return p;
}

/*
 * The builder. Encoded values lie in one block of bytes, its own or (when a state becomes a profile) somebody else's, and
 * are named by their place in it.
 */
typedef struct BuilderName
{
	const char *name;
	uint32		hash;
	uint8		length;
	bool		reserved;		/* for properties */
} BuilderName;

typedef struct BuilderValue
{
	uint32		name;			/* index into names; while building, its rank */
	uint32		offset;			/* of the encoded value; later ones have greater offsets */
	uint32		size;
} BuilderValue;

typedef struct BuilderEvent
{
	TimestampTz at;
	uint32		kind;			/* as name above */
	uint32		first;			/* index into properties */
	uint32		nproperties;
} BuilderEvent;

struct ProfileBuilder
{
	MemoryContext context;
	Node	   *escontext;		/* where limits are reported softly, or NULL */
	bool		has_customer;
	bool		strict;			/* two different values of an attribute are an error */
	int64		customer;

	BuilderName *names;
	int			nnames;
	int			names_allocated;
	int		   *buckets;		/* of the hash table over names: index + 1, or 0; twice as many as names fit */

	char	   *bytes;			/* encoded values */
	Size		nbytes;
	Size		bytes_allocated;	/* 0: the bytes are not ours */

	BuilderValue *attributes;
	uint32		nattributes;
	uint32		attributes_allocated;
	BuilderValue *properties;
	uint32		nproperties;
	uint32		properties_allocated;
	BuilderEvent *events;
	uint32		nevents;
	uint32		events_allocated;
};

/* profile_build.c: for those who hold encoded values already. After a soft error they give -1 or false. */
extern int	builder_intern(ProfileBuilder *builder, const char *name, int length);
extern void builder_begin_event(ProfileBuilder *builder, int kind, TimestampTz at);
extern bool builder_add_property(ProfileBuilder *builder, int name, uint32 offset, uint32 size);
extern void builder_add_attribute(ProfileBuilder *builder, int name, uint32 offset, uint32 size);

extern void profile_check_name(const char *name, int length);
extern void profile_check_kind(const char *name, int length);
extern void profile_check_property(const char *name, int length);
extern void profile_check_instant(TimestampTz at);
pg_noreturn extern void profile_too_large(void);

/* profile_io.c */
extern void profile_append_json(StringInfo out, const Profile *profile);
extern Profile *profile_from_jsonb(Jsonb *jsonb, Node *escontext);	/* NULL after a soft error */
extern Profile *profile_from_cstring(char *string, Node *escontext);
extern Profile *profile_receive(StringInfo message);
extern bytea *profile_send_json(const Profile *profile);

#endif							/* CRM_PROFILE_PRIVATE_H */

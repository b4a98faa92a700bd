/*
 * profile_build.c
 *		Building profiles from facts in any order.
 *
 * Values are encoded as they come and then only moved; what is sorted are small records that point to them. Names are
 * numbered as they come and renumbered at the end in the order of their bytes, so that the same facts give the same
 * profile whatever order they came in.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "profile/profile_private.h"

void
profile_too_large(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
			 errmsg("profile is too large"),
			 errdetail("The facts of one customer must stay below 1 GB."),
			 errhint("Group by customer, or take fewer events or fewer properties.")));
}

void
profile_check_name(const char *name, int length)
{
	if (length == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("name in a profile must not be empty")));
	if (length > PROFILE_MAX_NAME)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("name in a profile is too long: \"%.*s...\"",
						pg_mbcliplen(name, length, 40), name),
				 errdetail("It has %d bytes; the limit is %d.", length, PROFILE_MAX_NAME)));
}

void
profile_check_kind(const char *name, int length)
{
	profile_check_name(name, length);
	if (length == (int) strlen(PROFILE_CUSTOMER_KIND) && memcmp(name, PROFILE_CUSTOMER_KIND, length) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a kind of event", PROFILE_CUSTOMER_KIND),
				 errdetail("It stands for the attributes of the customer.")));
}

void
profile_check_property(const char *name, int length)
{
	profile_check_name(name, length);
	if (profile_is_reserved_property(name, length))
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("property name \"%.*s\" is reserved", length, name),
				 errdetail("Every event has kind, at, hour, weekday, day, week, month, year, date, week_of and month_of "
						   "of its own."),
				 errhint("Give the property another name.")));
}

void
profile_check_instant(TimestampTz at)
{
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time of an event must be finite")));
}

ProfileBuilder *
profile_builder_create(void)
{
	ProfileBuilder *builder = palloc0(sizeof(ProfileBuilder));

	builder->context = CurrentMemoryContext;
	return builder;
}

/*
 * Room for one more in an array of the builder.
 */
static inline void *
grow(ProfileBuilder *builder, void *array, Size element, uint32 n, uint32 *allocated)
{
	if (likely(n < *allocated))
		return array;
	if (n >= MaxAllocSize / 2)
		profile_too_large();
	*allocated = Max(*allocated * 2, 16);
	if (array == NULL)
		return MemoryContextAlloc(builder->context, element * *allocated);
	return repalloc_huge(array, element * *allocated);
}

static bool
grow_names(ProfileBuilder *builder)
{
	uint32		mask;

	if (builder->nnames >= PROFILE_MAX_NAMES)
		crm_ereturn(builder->escontext, false,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("profile has too many different names of kinds, attributes and properties"),
					 errdetail("The limit is %d.", PROFILE_MAX_NAMES)));
	builder->names_allocated = Max(builder->names_allocated * 2, 16);
	if (builder->names == NULL)
		builder->names = MemoryContextAlloc(builder->context, sizeof(BuilderName) * builder->names_allocated);
	else
	{
		builder->names = repalloc(builder->names, sizeof(BuilderName) * builder->names_allocated);
		pfree(builder->buckets);
	}
	builder->buckets = MemoryContextAllocZero(builder->context, sizeof(int) * builder->names_allocated * 2);
	mask = builder->names_allocated * 2 - 1;
	for (int i = 0; i < builder->nnames; i++)
	{
		uint32		bucket = builder->names[i].hash & mask;

		while (builder->buckets[bucket] != 0)
			bucket = (bucket + 1) & mask;
		builder->buckets[bucket] = i + 1;
	}
	return true;
}

/*
 * The number of a name. The caller has checked it, or lets the name's first use check it.
 */
int
builder_intern(ProfileBuilder *builder, const char *name, int length)
{
	uint32		hash = hash_bytes((const unsigned char *) name, length);
	uint32		mask;
	uint32		bucket;
	BuilderName *new;
	char	   *copy;

	if (builder->names_allocated > 0)
	{
		mask = builder->names_allocated * 2 - 1;
		for (bucket = hash & mask; builder->buckets[bucket] != 0; bucket = (bucket + 1) & mask)
		{
			BuilderName *known = &builder->names[builder->buckets[bucket] - 1];

			if (known->hash == hash && known->length == length && memcmp(known->name, name, length) == 0)
				return builder->buckets[bucket] - 1;
		}
	}

	profile_check_name(name, length);
	if ((builder->nnames >= builder->names_allocated || builder->nnames >= PROFILE_MAX_NAMES) && !grow_names(builder))
		return -1;
	mask = builder->names_allocated * 2 - 1;
	bucket = hash & mask;
	while (builder->buckets[bucket] != 0)
		bucket = (bucket + 1) & mask;
	copy = MemoryContextAlloc(builder->context, length);
	memcpy(copy, name, length);
	new = &builder->names[builder->nnames];
	new->name = copy;
	new->hash = hash;
	new->length = length;
	new->reserved = profile_is_reserved_property(name, length);
	builder->buckets[bucket] = ++builder->nnames;
	return builder->nnames - 1;
}

/*
 * Encode a value behind the others.
 */
static bool
put_value(ProfileBuilder *builder, Value value, uint32 *offset, uint32 *size)
{
	Size		needed;

	if (!flat_check_value(value, builder->escontext))
		return false;
	*offset = builder->nbytes;
	*size = flat_value_size(value);
	needed = builder->nbytes + *size;
	if (needed > MaxAllocSize)
		profile_too_large();
	if (needed > builder->bytes_allocated)
	{
		Size		allocate = Min(Max(Max(builder->bytes_allocated * 2, needed), 512), MaxAllocSize);

		Assert(builder->bytes == NULL || builder->bytes_allocated > 0);
		if (builder->bytes == NULL)
			builder->bytes = MemoryContextAlloc(builder->context, allocate);
		else
			builder->bytes = repalloc(builder->bytes, allocate);
		builder->bytes_allocated = allocate;
	}
	(void) flat_put_value(builder->bytes + *offset, value);
	builder->nbytes = needed;
	return true;
}

void
profile_set_customer(ProfileBuilder *builder, int64 customer)
{
	if (builder->has_customer && builder->customer != customer)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("facts of different customers in one profile"),
				 errdetail("Both customer " INT64_FORMAT " and customer " INT64_FORMAT " are named.",
						   Min(builder->customer, customer), Max(builder->customer, customer)),
				 errhint("Group by customer_id.")));
	builder->has_customer = true;
	builder->customer = customer;
}

void
builder_add_attribute(ProfileBuilder *builder, int name, uint32 offset, uint32 size)
{
	BuilderValue *attribute;

	builder->attributes = grow(builder, builder->attributes, sizeof(BuilderValue), builder->nattributes,
							   &builder->attributes_allocated);
	attribute = &builder->attributes[builder->nattributes++];
	attribute->name = name;
	attribute->offset = offset;
	attribute->size = size;
}

bool
profile_set_attribute(ProfileBuilder *builder, const char *name, int length, Value value)
{
	uint32		offset;
	uint32		size;
	int			number;

	if (value.type == VALUE_UNKNOWN)
		return true;
	if (!put_value(builder, value, &offset, &size) || (number = builder_intern(builder, name, length)) < 0)
		return false;
	builder_add_attribute(builder, number, offset, size);
	return true;
}

void
builder_begin_event(ProfileBuilder *builder, int kind, TimestampTz at)
{
	BuilderEvent *event;

	profile_check_instant(at);
	builder->events = grow(builder, builder->events, sizeof(BuilderEvent), builder->nevents,
						   &builder->events_allocated);
	event = &builder->events[builder->nevents++];
	event->at = at;
	event->kind = kind;
	event->first = builder->nproperties;
	event->nproperties = 0;
}

bool
profile_begin_event(ProfileBuilder *builder, const char *kind, int length, TimestampTz at)
{
	int			number;

	profile_check_kind(kind, length);
	number = builder_intern(builder, kind, length);
	if (number < 0)
		return false;
	builder_begin_event(builder, number, at);
	return true;
}

bool
builder_add_property(ProfileBuilder *builder, int name, uint32 offset, uint32 size)
{
	BuilderEvent *event;
	BuilderValue *property;

	Assert(builder->nevents > 0);
	event = &builder->events[builder->nevents - 1];
	if (unlikely(builder->names[name].reserved))
		profile_check_property(builder->names[name].name, builder->names[name].length);
	if (unlikely(event->nproperties >= PROFILE_MAX_PROPERTIES))
		crm_ereturn(builder->escontext, false,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("event has too many properties"),
					 errdetail("The limit is %d.", PROFILE_MAX_PROPERTIES)));
	builder->properties = grow(builder, builder->properties, sizeof(BuilderValue), builder->nproperties,
							   &builder->properties_allocated);
	property = &builder->properties[builder->nproperties++];
	property->name = name;
	property->offset = offset;
	property->size = size;
	event->nproperties++;
	return true;
}

bool
profile_add_property(ProfileBuilder *builder, const char *name, int length, Value value)
{
	uint32		offset;
	uint32		size;
	int			number;

	if (value.type == VALUE_UNKNOWN)
		return true;
	if (!put_value(builder, value, &offset, &size) || (number = builder_intern(builder, name, length)) < 0)
		return false;
	return builder_add_property(builder, number, offset, size);
}

static int
compare_names(const void *a, const void *b, void *arg)
{
	const BuilderName *names = arg;
	const BuilderName *left = &names[*(const int *) a];
	const BuilderName *right = &names[*(const int *) b];
	int			result = memcmp(left->name, right->name, Min(left->length, right->length));

	if (result != 0)
		return result;
	return (int) left->length - (int) right->length;
}

static int
compare_places(const void *a, const void *b)
{
	const BuilderValue *left = a;
	const BuilderValue *right = b;

	if (left->name != right->name)
		return left->name < right->name ? -1 : 1;
	return (left->offset > right->offset) - (left->offset < right->offset);
}

/*
 * Sort values by name and keep the last of each name. Returns how many are left.
 */
static uint32
sort_values(ProfileBuilder *builder, BuilderValue *values, uint32 n, bool strict)
{
	uint32		kept = 0;
	bool		sorted = true;

	for (uint32 i = 1; i < n && sorted; i++)
		sorted = values[i - 1].name < values[i].name;
	if (sorted)
		return n;

	qsort(values, n, sizeof(BuilderValue), compare_places);
	for (uint32 i = 0; i < n; i++)
	{
		if (kept > 0 && values[kept - 1].name == values[i].name)
		{
			if (strict && (values[kept - 1].size != values[i].size ||
						   memcmp(builder->bytes + values[kept - 1].offset, builder->bytes + values[i].offset,
								  values[i].size) != 0))
			{
				const BuilderName *name = NULL;

				/* Values know ranks only by now; rank_names() left those of the names in the buckets. */
				for (int j = 0; j < builder->nnames && name == NULL; j++)
				{
					if (builder->buckets[j] == (int) values[i].name)
						name = &builder->names[j];
				}
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("attribute \"%.*s\" has two different values in one profile",
								name != NULL ? name->length : 0, name != NULL ? name->name : ""),
						 errhint("Each customer must have one row of attributes.")));
			}
			values[kept - 1] = values[i];
		}
		else
			values[kept++] = values[i];
	}
	return kept;
}

static int
compare_events(const void *a, const void *b, void *arg)
{
	const ProfileBuilder *builder = arg;
	const BuilderEvent *left = a;
	const BuilderEvent *right = b;

	if (left->at != right->at)
		return left->at < right->at ? -1 : 1;
	if (left->kind != right->kind)
		return left->kind < right->kind ? -1 : 1;

	CHECK_FOR_INTERRUPTS();
	for (uint32 i = 0; i < left->nproperties && i < right->nproperties; i++)
	{
		const BuilderValue *l = &builder->properties[left->first + i];
		const BuilderValue *r = &builder->properties[right->first + i];
		int			result;

		if (l->name != r->name)
			return l->name < r->name ? -1 : 1;
		result = flat_compare_values(builder->bytes + l->offset, l->size, builder->bytes + r->offset, r->size);
		if (result != 0)
			return result;
	}
	return (left->nproperties > right->nproperties) - (left->nproperties < right->nproperties);
}

static Size
values_size(const BuilderValue *values, uint32 n)
{
	Size		size = 0;

	for (uint32 i = 0; i < n; i++)
		size += varint_size(values[i].name) + values[i].size;
	return size;
}

static char *
put_values(const ProfileBuilder *builder, char *p, const BuilderValue *values, uint32 n)
{
	for (uint32 i = 0; i < n; i++)
	{
		p = put_varint(p, values[i].name);
		memcpy(p, builder->bytes + values[i].offset, values[i].size);
		p += values[i].size;
	}
	return p;
}

/*
 * Number names by the order of their bytes. Returns their order; the ranks by former number are left in the buckets,
 * which nobody needs any more.
 */
static int *
rank_names(ProfileBuilder *builder)
{
	int		   *order = palloc(sizeof(int) * Max(builder->nnames, 1));
	int		   *rank = builder->buckets;

	for (int i = 0; i < builder->nnames; i++)
		order[i] = i;
	qsort_arg(order, builder->nnames, sizeof(int), compare_names, builder->names);
	for (int i = 0; i < builder->nnames; i++)
		rank[order[i]] = i;

	for (uint32 i = 0; i < builder->nattributes; i++)
		builder->attributes[i].name = rank[builder->attributes[i].name];
	for (uint32 i = 0; i < builder->nproperties; i++)
		builder->properties[i].name = rank[builder->properties[i].name];
	return order;
}

/*
 * The profile, in CurrentMemoryContext. The builder cannot be used afterwards.
 */
Profile *
profile_build(ProfileBuilder *builder)
{
	int		   *order = rank_names(builder);
	Size		size = offsetof(Profile, data);
	bool		sorted = true;
	Profile    *profile;
	char	   *p;

	builder->nattributes = sort_values(builder, builder->attributes, builder->nattributes, builder->strict);
	for (uint32 i = 0; i < builder->nevents; i++)
	{
		BuilderEvent *event = &builder->events[i];

		CHECK_FOR_INTERRUPTS();
		event->kind = builder->buckets[event->kind];
		if (event->nproperties > 1)
			event->nproperties = sort_values(builder, builder->properties + event->first, event->nproperties, false);
		if (sorted && i > 0)
			sorted = compare_events(event - 1, event, builder) <= 0;
	}
	if (!sorted)
		qsort_arg(builder->events, builder->nevents, sizeof(BuilderEvent), compare_events, builder);

	for (int i = 0; i < builder->nnames; i++)
		size += 1 + builder->names[i].length;
	size += values_size(builder->attributes, builder->nattributes);
	for (uint32 i = 0; i < builder->nevents; i++)
	{
		BuilderEvent *event = &builder->events[i];

		size += varint_size(event->kind) + sizeof(int64) + varint_size(event->nproperties) + sizeof(uint32) +
			values_size(builder->properties + event->first, event->nproperties);
	}
	if (size > MaxAllocSize)
		profile_too_large();

	profile = palloc(size);
	SET_VARSIZE(profile, size);
	profile->version = PROFILE_VERSION;
	profile->flags = builder->has_customer ? PROFILE_HAS_CUSTOMER : 0;
	profile->nnames = builder->nnames;
	profile->nattributes = builder->nattributes;
	profile->nevents = builder->nevents;
	memcpy(profile->customer, &builder->customer, sizeof(int64));
	p = profile->data;
	for (int i = 0; i < builder->nnames; i++)
	{
		BuilderName *name = &builder->names[order[i]];

		*p++ = (char) name->length;
		memcpy(p, name->name, name->length);
		p += name->length;
	}
	p = put_values(builder, p, builder->attributes, builder->nattributes);
	for (uint32 i = 0; i < builder->nevents; i++)
	{
		BuilderEvent *event = &builder->events[i];
		uint32		bytes;
		char	   *size_at;

		CHECK_FOR_INTERRUPTS();
		p = put_varint(p, event->kind);
		memcpy(p, &event->at, sizeof(int64));
		p = put_varint(p + sizeof(int64), event->nproperties);
		size_at = p;
		p = put_values(builder, p + sizeof(uint32), builder->properties + event->first, event->nproperties);
		bytes = p - size_at - sizeof(uint32);
		memcpy(size_at, &bytes, sizeof(uint32));
	}
	Assert((Size) (p - (char *) profile) == size);
	pfree(order);
	return profile;
}

/*
 * profile.c
 *		Reading profiles, and the names that are reserved in them.
 *
 * A reader goes once through the bytes from left to right. Names come as numbers of the dictionary, so that a caller
 * resolves each name once for a profile and not once for an event; an event knows the size of its properties, so that
 * those of kinds that nobody asked for are passed over.
 */
#include "postgres.h"

#include "profile/profile_private.h"

void
profile_reader_init(ProfileReader *reader, const Profile *profile)
{
	const char *p = profile->data;

	if (profile->version != PROFILE_VERSION)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("unsupported version of profile: %d", profile->version)));

	reader->profile = profile;
	reader->has_customer = (profile->flags & PROFILE_HAS_CUSTOMER) != 0;
	memcpy(&reader->customer, profile->customer, sizeof(int64));
	reader->nnames = profile->nnames;
	reader->names = palloc(sizeof(ProfileName) * Max(profile->nnames, 1));
	for (int i = 0; i < reader->nnames; i++)
	{
		reader->names[i].length = (uint8) *p++;
		reader->names[i].name = p;
		p += reader->names[i].length;
	}
	reader->nattributes = profile->nattributes;
	reader->nevents = profile->nevents;
	reader->cursor = p;
	reader->next_event = NULL;
	reader->attributes_left = profile->nattributes;
	reader->events_left = profile->nevents;
	reader->properties_left = 0;
}

bool
profile_next_attribute(ProfileReader *reader, int *name, Value *value)
{
	uint32		index;

	if (reader->attributes_left == 0)
		return false;
	reader->attributes_left--;
	reader->cursor = get_varint(reader->cursor, &index);
	reader->cursor = flat_get_value(reader->cursor, value);
	*name = (int) index;
	return true;
}

bool
profile_next_event(ProfileReader *reader, int *kind, TimestampTz *at)
{
	const char *p;
	uint32		index;
	uint32		nproperties;
	uint32		size;

	while (reader->attributes_left > 0)
	{
		reader->attributes_left--;
		reader->cursor = get_varint(reader->cursor, &index);
		reader->cursor = flat_skip_value(reader->cursor);
	}
	p = reader->next_event != NULL ? reader->next_event : reader->cursor;
	if (reader->events_left == 0)
	{
		reader->properties_left = 0;
		return false;
	}
	reader->events_left--;

	p = get_varint(p, &index);
	*kind = (int) index;
	memcpy(at, p, sizeof(int64));
	p = get_varint(p + sizeof(int64), &nproperties);
	memcpy(&size, p, sizeof(uint32));
	p += sizeof(uint32);
	reader->properties_left = nproperties;
	reader->cursor = p;
	reader->next_event = p + size;
	return true;
}

bool
profile_next_property(ProfileReader *reader, int *name, Value *value)
{
	uint32		index;

	if (reader->properties_left == 0)
		return false;
	reader->properties_left--;
	reader->cursor = get_varint(reader->cursor, &index);
	reader->cursor = flat_get_value(reader->cursor, value);
	*name = (int) index;
	return true;
}

bool
profile_is_reserved_property(const char *name, int length)
{
	static const char *const reserved[] = {
		"kind", "at", "hour", "weekday", "day", "week", "month", "year", "date", "week_of", "month_of"
	};

	for (int i = 0; i < (int) lengthof(reserved); i++)
	{
		if ((int) strlen(reserved[i]) == length && memcmp(reserved[i], name, length) == 0)
			return true;
	}
	return false;
}

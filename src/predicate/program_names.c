/*
 * program_names.c
 *		The names of a program and their slots.
 *
 * One name may be an attribute, a kind and a property of several kinds at once. It is looked up once, by hash, and then
 * tells all of these: a profile resolves each name of its dictionary so, whatever the program's size.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "predicate/program_internal.h"

static uint32
name_hash(const void *key, Size keysize)
{
	const NameKey *name = key;

	(void) keysize;
	return hash_bytes((const unsigned char *) name->name, name->length);
}

static int
name_match(const void *a, const void *b, Size keysize)
{
	const NameKey *left = a;
	const NameKey *right = b;

	(void) keysize;
	return left->length == right->length ? memcmp(left->name, right->name, left->length) : 1;
}

void
program_names_create(Program *program)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(NameKey);
	ctl.entrysize = sizeof(ProgramName);
	ctl.hash = name_hash;
	ctl.match = name_match;
	ctl.hcxt = program->context;
	program->names = hash_create("names of predicates", 64, &ctl,
								 HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
}

const ProgramName *
program_find_name(const Program *program, const char *name, int length)
{
	NameKey		key = {name, length};

	return hash_search(program->names, &key, HASH_FIND, NULL);
}

/* The place of the first of a name's properties whose kind is not before this one. */
static int
property_place(const ProgramName *name, int kind)
{
	int			low = 0,
				high = name->nproperties;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (name->properties[middle].kind < kind)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int
program_property(const ProgramName *name, int kind)
{
	int			place = property_place(name, kind);

	return place < name->nproperties && name->properties[place].kind == kind ? name->properties[place].slot : -1;
}

DerivedProperty
derived_property(const char *name)
{
	static const struct
	{
		const char *name;
		DerivedProperty derived;
	}			known[] = {
		{"at", DERIVED_AT}, {"hour", DERIVED_HOUR}, {"weekday", DERIVED_WEEKDAY}, {"day", DERIVED_DAY},
		{"week", DERIVED_WEEK}, {"month", DERIVED_MONTH}, {"year", DERIVED_YEAR}, {"date", DERIVED_DATE},
		{"week_of", DERIVED_WEEK_OF}, {"month_of", DERIVED_MONTH_OF}
	};

	for (int i = 0; i < (int) lengthof(known); i++)
	{
		if (strcmp(known[i].name, name) == 0)
			return known[i].derived;
	}
	return DERIVED_NONE;
}

/* The entry of a name, which is made if it is not there. */
static ProgramName *
enter_name(Program *program, const char *name)
{
	NameKey		key = {name, (int) strlen(name)};
	ProgramName *entry = hash_search(program->names, &key, HASH_FIND, NULL);

	if (entry != NULL)
		return entry;
	key.name = MemoryContextStrdup(program->context, name);
	entry = hash_search(program->names, &key, HASH_ENTER, NULL);
	entry->attribute = entry->kind = -1;
	entry->nproperties = 0;
	entry->properties = NULL;
	return entry;
}

int
attribute_slot(Program *program, const char *name)
{
	ProgramName *entry = enter_name(program, name);

	if (entry->attribute < 0)
	{
		entry->attribute = program->nattributes;
		APPEND(program, program->attributes, program->nattributes);
		program->attributes[entry->attribute] = entry->key.name;
	}
	return entry->attribute;
}

int
kind_slot(Program *program, const char *name)
{
	ProgramName *entry = enter_name(program, name);

	if (entry->kind < 0)
	{
		entry->kind = program->nkinds;
		APPEND(program, program->kinds, program->nkinds);
		program->kinds[entry->kind].name = entry->key.name;
	}
	return entry->kind;
}

PropertyRef
property_ref(Program *program, int kind, const char *name)
{
	PropertyRef ref = {0};
	ProgramKind *of = &program->kinds[kind];
	ProgramName *entry;
	int			place;

	ref.derived = derived_property(name);
	if (ref.derived != DERIVED_NONE)
		return ref;

	entry = enter_name(program, name);
	ref.column = program_property(entry, kind);
	if (ref.column >= 0)
		return ref;
	ref.column = of->nproperties;
	APPEND(program, of->properties, of->nproperties);
	of->properties[ref.column] = entry->key.name;

	place = property_place(entry, kind);
	APPEND(program, entry->properties, entry->nproperties);
	memmove(&entry->properties[place + 1], &entry->properties[place],
			sizeof(ProgramProperty) * (entry->nproperties - 1 - place));
	entry->properties[place].kind = kind;
	entry->properties[place].slot = ref.column;
	return ref;
}

/*
 * facts.c
 *		The facts of a profile, laid out as a program wants them.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "predicate/eval.h"

Facts *
facts_from_profile(const Program *program, const Profile *profile)
{
	Facts	   *facts = palloc0(sizeof(Facts));
	ProfileReader reader;
	Value	   *attributes = palloc0(sizeof(Value) * Max(program->nattributes, 1));
	KindFacts  *kinds = palloc0(sizeof(KindFacts) * Max(program->nkinds, 1));
	TimestampTz **times = palloc0(sizeof(TimestampTz *) * Max(program->nkinds, 1));
	int		   *counts = palloc0(sizeof(int) * Max(program->nkinds, 1));
	const ProgramName **names;
	Value		value;
	TimestampTz at;
	int			name;

	profile_reader_init(&reader, profile);
	facts->has_customer = reader.has_customer;
	facts->customer = reader.customer;

	/* each name of the dictionary is looked up once */
	names = palloc(sizeof(ProgramName *) * Max(reader.nnames, 1));
	for (int i = 0; i < reader.nnames; i++)
		names[i] = program_find_name(program, reader.names[i].name, reader.names[i].length);

	while (profile_next_attribute(&reader, &name, &value))
	{
		if (names[name] != NULL && names[name]->attribute >= 0)
			attributes[names[name]->attribute] = value;
	}
	facts->attributes = attributes;

	/* how many of each kind there are, then the events themselves */
	while (profile_next_event(&reader, &name, &at))
	{
		if (names[name] != NULL && names[name]->kind >= 0)
			counts[names[name]->kind]++;
	}
	for (int k = 0; k < program->nkinds; k++)
	{
		const ProgramKind *kind = &program->kinds[k];

		times[k] = palloc_extended(sizeof(TimestampTz) * (Size) Max(counts[k], 1), MCXT_ALLOC_HUGE);
		kinds[k].at = times[k];
		kinds[k].properties = palloc(sizeof(Value *) * Max(kind->nproperties, 1));
		for (int p = 0; p < kind->nproperties; p++)
			kinds[k].properties[p] = palloc_extended(sizeof(Value) * (Size) Max(counts[k], 1),
													 MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	}

	profile_reader_init(&reader, profile);
	while (profile_next_attribute(&reader, &name, &value))
		 /* already read */ ;
	while (profile_next_event(&reader, &name, &at))
	{
		int			k = names[name] == NULL ? -1 : names[name]->kind;
		KindFacts  *kind;

		if (k < 0)
			continue;
		kind = &kinds[k];
		times[k][kind->nevents] = at;
		while (profile_next_property(&reader, &name, &value))
		{
			int			slot = names[name] == NULL ? -1 : program_property(names[name], k);

			if (slot >= 0)
				kind->properties[slot][kind->nevents] = value;
		}
		kind->nevents++;
	}
	facts->kinds = kinds;
	return facts;
}

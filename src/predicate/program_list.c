/*
 * program_list.c
 *		Long lists of literals, in order, so that a value is looked up in them and not compared with each.
 *
 * "item in (...)" may name ten thousand items and be asked of every event. Texts, numbers and booleans are equal by value
 * alone, and so are two dates. What else a literal in ISO form is equal to, its zone tells: those are few, and tried one by
 * one.
 */
#include "postgres.h"

#include "predicate/program_internal.h"

/* A list no longer than this is walked. */
#define SHORT_LIST 8

static int
compare_literals(const void *a, const void *b)
{
	return value_compare(*(const Value *) a, *(const Value *) b);
}

static int
compare_dates(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return (x > y) - (x < y);
}

LiteralIndex *
literal_index(Program *program, int nliterals, const Value *literals, const AstMoment *moments)
{
	LiteralIndex *index;

	if (nliterals <= SHORT_LIST)
		return NULL;
	index = MemoryContextAllocZero(program->context, sizeof(LiteralIndex));
	index->sorted = MemoryContextAlloc(program->context, sizeof(Value) * nliterals);
	memcpy(index->sorted, literals, sizeof(Value) * nliterals);
	index->nsorted = nliterals;
	qsort(index->sorted, nliterals, sizeof(Value), compare_literals);

	index->dates = MemoryContextAlloc(program->context, sizeof(int64) * nliterals);
	index->moments = MemoryContextAlloc(program->context, sizeof(int) * nliterals);
	for (int i = 0; i < nliterals; i++)
	{
		if (moments[i].form == ISO_NONE)
			continue;
		index->moments[index->nmoments++] = i;
		if (moments[i].form == ISO_DATE)
			index->dates[index->ndates++] = moments[i].value;
	}
	qsort(index->dates, index->ndates, sizeof(int64), compare_dates);
	return index;
}

bool
literal_index_has(const LiteralIndex *index, Value value)
{
	return bsearch(&value, index->sorted, index->nsorted, sizeof(Value), compare_literals) != NULL;
}

bool
literal_index_has_date(const LiteralIndex *index, DateADT date)
{
	int64		key = date;

	return bsearch(&key, index->dates, index->ndates, sizeof(int64), compare_dates) != NULL;
}

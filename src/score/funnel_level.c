/*
 * funnel_level.c
 *		The rules of windowFunnel, as ClickHouse 26 has them.
 *
 * Events are taken in the order of their instants; those of one instant step by step, an event that meets the conditions of
 * several steps being an event of each. A step counts when the one before it was reached by a run whose window is still
 * open. For every step the latest run that came to it is kept, and only that.
 *
 *	strict_deduplication	a second event of a step that was reached already ends it all (not of the first step)
 *	strict_order			an event of no step, or of a step whose predecessor was not reached, ends it all, once there
 *							was a first step
 *	allow_reentry			with strict_order: such a step too early is passed over
 *	strict_increase			a step must be later than the step before it
 *	strict_once				an event can be but one step of a run; in funnel_once.c
 *
 * ClickHouse takes the rows of one instant in the order of their coming where that matters (strict_once and
 * strict_deduplication together). Here they are taken by their masks, so that the order of coming matters nowhere.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/builtins.h"

#include "base/calendar.h"
#include "score/funnel.h"

static const struct
{
	const char *name;
	uint32		mode;
}			mode_names[] =
{
	{"strict_deduplication", FUNNEL_STRICT_DEDUPLICATION},
	{"strict_order", FUNNEL_STRICT_ORDER},
	{"strict_increase", FUNNEL_STRICT_INCREASE},
	{"strict_once", FUNNEL_STRICT_ONCE},
	{"allow_reentry", FUNNEL_ALLOW_REENTRY},
};

static inline int
row_compare(const FunnelRow *a, const FunnelRow *b)
{
	if (a->at != b->at)
		return a->at < b->at ? -1 : 1;
	return (a->mask > b->mask) - (a->mask < b->mask);
}

#define ST_SORT sort_rows
#define ST_ELEMENT_TYPE FunnelRow
#define ST_COMPARE(a, b) row_compare(a, b)
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DEFINE
#include "lib/sort_template.h"

void
funnel_sort(FunnelRow *rows, int64 nrows)
{
	sort_rows(rows, nrows);
}

bool
funnel_modes_valid(uint32 modes)
{
	return (modes & ~FUNNEL_ALL_MODES) == 0 && (!(modes & FUNNEL_ALLOW_REENTRY) || (modes & FUNNEL_STRICT_ORDER));
}

uint32
funnel_parse_modes(ArrayType *modes)
{
	Datum	   *words;
	bool	   *nulls;
	int			count;
	uint32		result = 0;

	deconstruct_array(modes, TEXTOID, -1, false, TYPALIGN_INT, &words, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		char	   *word;
		uint32		mode = 0;

		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("mode of a funnel must not be null")));
		word = TextDatumGetCString(words[i]);
		for (int m = 0; m < (int) lengthof(mode_names); m++)
		{
			if (strcmp(word, mode_names[m].name) == 0)
				mode = mode_names[m].mode;
		}
		if (mode == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unrecognized mode of a funnel \"%s\"", word),
					 errhint("Modes are: strict_deduplication, strict_order, strict_increase, strict_once, "
							 "allow_reentry.")));
		result |= mode;
	}
	if (!funnel_modes_valid(result))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("mode allow_reentry of a funnel needs strict_order")));
	return result;
}

TimestampTz
funnel_deadline(const FunnelRules *rules, TimestampTz first)
{
	TimestampTz deadline;

	if (rules->zone != NULL)
		return calendar_add(first, rules->within, rules->zone);
	if (pg_add_s64_overflow(first, rules->window, &deadline))
		return DT_NOEND;
	return deadline;
}

/*
 * All events of one instant: "once" has the steps that any of them is, "twice" those that several are, "none" tells of an
 * event of no step. False when this was the end.
 */
static bool
take_instant(const FunnelRules *rules, FunnelChain *chains, int *level, TimestampTz *path,
			 TimestampTz at, uint32 once, uint32 twice, bool none)
{
	bool		strict_order = (rules->modes & FUNNEL_STRICT_ORDER) != 0;

	if (none && strict_order && chains[0].reached)
		return false;
	while (once != 0)
	{
		int			step = pg_rightmost_one_pos32(once);
		FunnelChain *chain = &chains[step];
		FunnelChain *before = chain - 1;

		once &= once - 1;
		if (step == 0)
		{
			chain->deadline = funnel_deadline(rules, at);
		}
		else if ((rules->modes & FUNNEL_STRICT_DEDUPLICATION) && chain->reached)
			return false;
		else if (!before->reached)
		{
			if (strict_order && chains[0].reached && !(rules->modes & FUNNEL_ALLOW_REENTRY))
				return false;
			continue;
		}
		else if (at > before->deadline || ((rules->modes & FUNNEL_STRICT_INCREASE) && at <= before->last))
			continue;
		else
		{
			chain->deadline = before->deadline;
			if (path != NULL)
				memcpy(chain->path, before->path, sizeof(TimestampTz) * step);
		}
		chain->last = at;
		if (path != NULL)
			chain->path[step] = at;
		if (!chain->reached)
		{
			/* steps are reached one after the other, so this is the furthest so far */
			chain->reached = true;
			*level = step + 1;
			if (path != NULL)
				memcpy(path, chain->path, sizeof(TimestampTz) * *level);
			if (*level == rules->nsteps && step > 0)
				return false;
		}
		if (step > 0 && ((twice >> step) & 1) && (rules->modes & FUNNEL_STRICT_DEDUPLICATION))
			return false;
	}
	return true;
}

int
funnel_level(const FunnelRules *rules, FunnelRow *rows, int64 nrows, TimestampTz *path)
{
	FunnelChain chains[FUNNEL_MAX_STEPS];
	int			level = 0;

	Assert(rules->nsteps > 0 && rules->nsteps <= FUNNEL_MAX_STEPS);
	if (nrows == 0)
		return 0;
	sort_rows(rows, nrows);
	if (rules->modes & FUNNEL_STRICT_ONCE)
		return funnel_level_once(rules, rows, nrows, path);

	for (int i = 0; i < rules->nsteps; i++)
		chains[i].reached = false;
	for (int64 i = 0; i < nrows;)
	{
		TimestampTz at = rows[i].at;
		uint32		once = 0;
		uint32		twice = 0;
		bool		none = false;

		CHECK_FOR_INTERRUPTS();
		for (; i < nrows && rows[i].at == at; i++)
		{
			twice |= once & rows[i].mask;
			once |= rows[i].mask;
			none |= rows[i].mask == 0;
		}
		if (!take_instant(rules, chains, &level, path, at, once, twice, none))
			break;
	}
	return level;
}

/*
 * funnel_once.c
 *		windowFunnel in the mode strict_once: an event can be but one step of a run.
 *
 * ClickHouse keeps every run that any choice of events gives; their number can grow with the power of the steps. Here one
 * run a step is enough. What a run is worth later is told by its deadline alone, and the same event can come twice only
 * among the steps that are made at one instant. So runs from before the instant are represented by the one with the latest
 * deadline; and within an instant a run that comes to a step continues such a one by some steps, each made by an event of
 * its own, which is a matching of these steps to the events. The less steps the older run has, the later its deadline, for
 * every run to a step begins as one to the step before.
 */
#include "postgres.h"

#include "miscadmin.h"

#include "score/funnel.h"

/* The events of an instant that have one mask. */
typedef struct EventGroup
{
	uint32		mask;
	int			free;			/* events that are no step yet */
} EventGroup;

typedef struct Instant
{
	TimestampTz at;
	int			ngroups;
	EventGroup *groups;
	int		   *group_of;		/* of each step, while steps are matched */
	bool	   *seen;			/* groups, while a way is looked for */
} Instant;

/* Finds an event for a step, giving those that hold one another if need be. */
static bool
place_step(Instant *instant, int step, int first, int end)
{
	for (int g = 0; g < instant->ngroups; g++)
	{
		EventGroup *group = &instant->groups[g];

		if (!((group->mask >> step) & 1) || instant->seen[g])
			continue;
		instant->seen[g] = true;
		if (group->free > 0)
		{
			group->free--;
			instant->group_of[step] = g;
			return true;
		}
		for (int other = first; other < end; other++)
		{
			if (instant->group_of[other] == g && place_step(instant, other, first, end))
			{
				instant->group_of[step] = g;
				return true;
			}
		}
	}
	return false;
}

/* Can the steps from first on up to "last" all be made at this instant, the last one by an event of the group? */
static bool
can_make_steps(Instant *instant, int first, int last, int group)
{
	bool		possible = true;

	if (first == last)
		return true;
	instant->groups[group].free--;
	for (int step = first; step < last; step++)
		instant->group_of[step] = -1;
	for (int step = first; step < last && possible; step++)
	{
		memset(instant->seen, 0, sizeof(bool) * instant->ngroups);
		possible = place_step(instant, step, first, last);
	}
	for (int step = first; step < last; step++)
	{
		if (instant->group_of[step] >= 0)
			instant->groups[instant->group_of[step]].free++;
	}
	instant->groups[group].free++;
	return possible;
}

/*
 * The best run that comes to the step by an event of the group: how many of its steps were made before this instant, or -1
 * if there is no run.
 */
static int
best_run(const FunnelRules *rules, const FunnelChain *before, Instant *instant, int step, int group)
{
	for (int made = rules->modes & FUNNEL_STRICT_INCREASE ? step : 0; made <= step; made++)
	{
		CHECK_FOR_INTERRUPTS();
		if (made > 0 && (!before[made - 1].reached || instant->at > before[made - 1].deadline))
			continue;
		if (can_make_steps(instant, made, step, group))
			return made;
	}
	return -1;
}

static void
set_chain(const FunnelRules *rules, FunnelChain *chain, const FunnelChain *before, TimestampTz at, int step, int made)
{
	chain->reached = true;
	if (made == 0)
		chain->deadline = funnel_deadline(rules, at);
	else
	{
		chain->deadline = before[made - 1].deadline;
		memcpy(chain->path, before[made - 1].path, sizeof(TimestampTz) * made);
	}
	for (int i = made; i <= step; i++)
		chain->path[i] = at;
}

int
funnel_level_once(const FunnelRules *rules, const FunnelRow *rows, int64 nrows, TimestampTz *path)
{
	FunnelChain before[FUNNEL_MAX_STEPS];	/* the best runs of earlier instants */
	FunnelChain now[FUNNEL_MAX_STEPS];	/* and those that end at this one */
	int			group_of[FUNNEL_MAX_STEPS];
	Instant		instant = {0};
	int64		room = 0;
	int			level = 0;
	bool		over = false;

	for (int i = 0; i < rules->nsteps; i++)
		before[i].reached = false;
	instant.group_of = group_of;

	for (int64 i = 0; i < nrows && !over;)
	{
		int64		end = i;

		instant.at = rows[i].at;
		while (end < nrows && rows[end].at == instant.at)
			end++;
		if (end - i > room)
		{
			if (room > 0)
			{
				pfree(instant.groups);
				pfree(instant.seen);
			}
			room = Max(end - i, 16);
			instant.groups = palloc_extended(sizeof(EventGroup) * room, MCXT_ALLOC_HUGE);
			instant.seen = palloc_extended(sizeof(bool) * room, MCXT_ALLOC_HUGE);
		}
		instant.ngroups = 0;
		for (; i < end; i++)
		{
			if (instant.ngroups > 0 && instant.groups[instant.ngroups - 1].mask == rows[i].mask)
				instant.groups[instant.ngroups - 1].free++;
			else
			{
				instant.groups[instant.ngroups].mask = rows[i].mask;
				instant.groups[instant.ngroups++].free = 1;
			}
		}
		/* rows are sorted by mask */
		if (instant.groups[0].mask == 0 && (rules->modes & FUNNEL_STRICT_ORDER) && level > 0)
			break;

		for (int step = 0; step < rules->nsteps; step++)
			now[step].reached = false;
		for (int step = 0; step < rules->nsteps && !over; step++)
		{
			int			best = step + 1;	/* steps made before: none found */

			for (int g = 0; g < instant.ngroups && !over; g++)
			{
				int			made;

				if (!((instant.groups[g].mask >> step) & 1))
					continue;
				for (int again = 0; again < instant.groups[g].free && !over; again++)
				{
					if (step == 0)
						made = 0;
					else if ((rules->modes & FUNNEL_STRICT_DEDUPLICATION) && level > step)
					{
						over = true;
						break;
					}
					else if (level < step)
					{
						/* the step before was never reached */
						over = (rules->modes & FUNNEL_STRICT_ORDER) && level > 0 &&
							!(rules->modes & FUNNEL_ALLOW_REENTRY);
						break;
					}
					else
						made = best_run(rules, before, &instant, step, g);
					if (made >= 0 && made < best)
					{
						best = made;
						set_chain(rules, &now[step], before, instant.at, step, made);
						if (level <= step)
						{
							level = step + 1;
							if (path != NULL)
								memcpy(path, now[step].path, sizeof(TimestampTz) * level);
							if (level == rules->nsteps && step > 0)
								over = true;
						}
					}
					/* Another event of the same mask can do no more, unless its mere coming ends it all. */
					if (!(rules->modes & FUNNEL_STRICT_DEDUPLICATION) || step == 0 || made < 0)
						break;
				}
			}
		}
		for (int step = 0; step < rules->nsteps; step++)
		{
			if (now[step].reached && (!before[step].reached || now[step].deadline > before[step].deadline))
				before[step] = now[step];
		}
	}
	if (room > 0)
	{
		pfree(instant.groups);
		pfree(instant.seen);
	}
	return level;
}

/*
 * eval_sweep.c
 *		A timed set at one instant after the other.
 *
 * What a filter with "followed by" or a window says of an event changes with time, of each event a few times. So the answers
 * are kept, with the instant until which each stands in a heap, and the next instant asks again only those whose time is
 * over. Going back in time begins anew.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "port/pg_bitutils.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "predicate/eval_internal.h"

typedef struct Expiry
{
	TimestampTz until;
	int			position;
} Expiry;

typedef struct Sweep
{
	bool		valid;
	TimestampTz at;				/* the answers are those of this instant */
	int			counting;		/* members that count */
	uint64	   *counts;			/* a bit for each member, by position */
	int			nexpiries;
	Expiry	   *expiries;		/* a heap, the earliest first; one at most for each member */
} Sweep;

#define WORDS(count) (((Size) (count) + 63) / 64)

static void
push_expiry(Sweep *sweep, TimestampTz until, int position)
{
	int			place = sweep->nexpiries++;

	while (place > 0 && sweep->expiries[(place - 1) / 2].until > until)
	{
		sweep->expiries[place] = sweep->expiries[(place - 1) / 2];
		place = (place - 1) / 2;
	}
	sweep->expiries[place].until = until;
	sweep->expiries[place].position = position;
}

static int
pop_expiry(Sweep *sweep)
{
	int			result = sweep->expiries[0].position;
	Expiry		last = sweep->expiries[--sweep->nexpiries];
	int			place = 0;

	for (;;)
	{
		int			child = 2 * place + 1;

		if (child >= sweep->nexpiries)
			break;
		if (child + 1 < sweep->nexpiries && sweep->expiries[child + 1].until < sweep->expiries[child].until)
			child++;
		if (sweep->expiries[child].until >= last.until)
			break;
		sweep->expiries[place] = sweep->expiries[child];
		place = child;
	}
	sweep->expiries[place] = last;
	return result;
}

static void
ask_member(Evaluation *ev, int number, Sweep *sweep, int position)
{
	uint64		bit = UINT64CONST(1) << (position % 64);
	uint64	   *word = &sweep->counts[position / 64];
	TimestampTz until;
	bool		counts = event_counts(ev, number, position, &until);

	if (counts != ((*word & bit) != 0))
	{
		*word ^= bit;
		sweep->counting += counts ? 1 : -1;
	}
	if (!TIMESTAMP_IS_NOEND(until))
		push_expiry(sweep, until, position);
}

/* How many members count at the instant, and until when surely these do. */
int
sweep_events(Evaluation *ev, int number, TimestampTz *until)
{
	const ProgramEvents *events = &ev->program->events[number];
	const SetMemo *members = set_members(ev, events->set);
	Sweep	   *sweep = ev->events[number].sweep;

	if (sweep == NULL)
	{
		sweep = MemoryContextAllocZero(ev->facts_context, sizeof(Sweep));
		sweep->counts = MemoryContextAllocHuge(ev->facts_context, sizeof(uint64) * WORDS(members->count));
		sweep->expiries = MemoryContextAllocHuge(ev->facts_context, sizeof(Expiry) * members->count);
		ev->events[number].sweep = sweep;
	}

	if (!sweep->valid || ev->at < sweep->at)
	{
		const TimestampTz *at = ev->facts->kinds[ev->program->sets[events->set].kind].at;

		/* those before have left the window for ever */
		sweep->valid = false;
		sweep->counting = sweep->nexpiries = 0;
		memset(sweep->counts, 0, sizeof(uint64) * WORDS(members->count));
		for (int p = position_from(at, members->list, members->count, events_range(ev, number).begin);
			 p < members->count; p++)
		{
			CHECK_FOR_INTERRUPTS();
			ask_member(ev, number, sweep, p);
		}
	}
	else
	{
		sweep->valid = false;	/* should asking fail */
		while (sweep->nexpiries > 0 && sweep->expiries[0].until <= ev->at)
		{
			CHECK_FOR_INTERRUPTS();
			ask_member(ev, number, sweep, pop_expiry(sweep));
		}
	}
	sweep->at = ev->at;
	sweep->valid = true;
	*until = sweep->nexpiries > 0 ? sweep->expiries[0].until : DT_NOEND;
	return sweep->counting;
}

/* The events that count, after sweep_events(). */
const int *
sweep_list(Evaluation *ev, int number)
{
	const SetMemo *members = set_members(ev, ev->program->events[number].set);
	const Sweep *sweep = ev->events[number].sweep;
	int		   *list = MemoryContextAllocHuge(ev->instant_context, sizeof(int) * (Size) Max(sweep->counting, 1));
	int			count = 0;

	for (Size word = 0; word < WORDS(members->count); word++)
	{
		for (uint64 bits = sweep->counts[word]; bits != 0; bits &= bits - 1)
			list[count++] = listed(members->list, (int) (word * 64) + pg_rightmost_one_pos64(bits));
	}
	Assert(count == sweep->counting);
	return list;
}

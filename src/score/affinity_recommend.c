/*
 * affinity_recommend.c
 *		What to offer each customer: what goes with what he bought, and nothing that he has and will not need again.
 *
 * From an item lead rules to others, the pairs of affinity; for a customer the best rule from any of his items to an other
 * one counts. What he has bought already is offered only when it is a cyclic item (cycle.h) and his next purchase of it is
 * due, or when he bought it so long ago that the caller says it is forgotten.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/float.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "score/affinity.h"
#include "score/arguments.h"
#include "score/cycle.h"

PG_FUNCTION_INFO_V1(crm_score_recommendations_of);
PG_FUNCTION_INFO_V1(crm_score_recommendations);

static const char *const measure_words[] = {"confidence", "lift"};
static const char *const start_words[] = {"all", "last"};

/* What the arguments say. */
typedef struct RecommendRules
{
	int			per_customer;
	AffinityRules affinity;
	bool		by_lift;
	bool		from_last;		/* only the items of the last basket lead anywhere */
	TimestampTz at;
	TimestampTz due_until;		/* what is cyclic and due by then may be offered again */
	TimestampTz forgotten;		/* what is not cyclic, when it was bought before that */
	CycleRules	cycle;
} RecommendRules;

/* A rule that leads to an item. */
typedef struct Lead
{
	uint32		other;
	uint32		count;
	double		score;
} Lead;

/* What is known of an item for the customer at hand; valid when its stamp is his. */
typedef struct Candidate
{
	uint64		stamp;			/* he has a rule to it */
	uint64		bought_stamp;	/* he has bought it */
	double		score;
	uint32		count;
	uint32		because;
	bool		offered;		/* though he bought it */
	TimestampTz due;			/* DT_NOEND when it is not cyclic */
} Candidate;

typedef struct Recommending
{
	const RecommendRules *rules;
	const Purchases *purchases;
	ReturnSetInfo *rsinfo;
	MemoryContext row;
	const ItemCycle *cycles;
	uint32	   *place;			/* of items in the order of names */
	uint64	   *first_lead;		/* of each item, and one more */
	Lead	   *leads;
	uint64		stamp;
	Candidate  *candidates;		/* of each item */
	uint32	   *bought;			/* by the customer at hand */
	uint32		nbought;
	uint32	   *found;			/* those that he has a rule to */
	uint32		nfound;
	Basket	   *baskets;
	int64		room;
	StreamRow  *copy;
	int64		copy_room;
} Recommending;

/* The best first. All that follows is in this order, so that no answer depends on the order of events. */
static int
compare_leads(const void *a, const void *b, void *arg)
{
	const Lead *x = a;
	const Lead *y = b;
	const uint32 *place = arg;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return place[x->other] < place[y->other] ? -1 : 1;
}

/*
 * The rules by the item they begin at.
 */
static void
make_leads(Recommending *state, const Affinity *affinity, uint32 nitems)
{
	bool		together = state->rules->affinity.relation == AFFINITY_TOGETHER;
	uint64		nleads = 0;
	uint64	   *next;

	state->first_lead = palloc_extended(sizeof(uint64) * ((Size) nitems + 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (int64 i = 0; i < affinity->npairs; i++)
	{
		state->first_lead[affinity->pairs[i].item + 1]++;
		if (together)
			state->first_lead[affinity->pairs[i].other + 1]++;
	}
	for (uint32 i = 0; i < nitems; i++)
		state->first_lead[i + 1] += state->first_lead[i];
	nleads = state->first_lead[nitems];
	state->leads = palloc_extended(sizeof(Lead) * Max(nleads, 1), MCXT_ALLOC_HUGE);
	next = palloc_extended(sizeof(uint64) * Max((Size) nitems, 1), MCXT_ALLOC_HUGE);
	memcpy(next, state->first_lead, sizeof(uint64) * (Size) nitems);
	for (int64 i = 0; i < affinity->npairs; i++)
	{
		const AffinityPair *pair = &affinity->pairs[i];

		for (int direction = 0; direction < (together ? 2 : 1); direction++)
		{
			uint32		item = direction == 0 ? pair->item : pair->other;
			uint32		other = direction == 0 ? pair->other : pair->item;
			Lead	   *lead = &state->leads[next[item]++];

			lead->other = other;
			lead->count = pair->count;
			/* an integer over an integer, so that equal ratios are equal */
			lead->score = (double) pair->count / (double) affinity->counts[item];
			if (state->rules->by_lift)
				lead->score = (double) pair->count * (double) affinity->cases /
					((double) affinity->counts[item] * (double) affinity->others[other]);
		}
	}
	pfree(next);
	for (uint32 i = 0; i < nitems; i++)
	{
		CHECK_FOR_INTERRUPTS();
		qsort_arg(state->leads + state->first_lead[i], state->first_lead[i + 1] - state->first_lead[i], sizeof(Lead),
				  compare_leads, state->place);
	}
}

/* Whether a bought item may be offered again, and when it is due. */
static void
take_cycle(void *context, const CustomerCycle *cycle)
{
	Recommending *state = context;
	const RecommendRules *rules = state->rules;
	Candidate  *candidate = &state->candidates[cycle->item];

	state->bought[state->nbought++] = cycle->item;
	candidate->bought_stamp = state->stamp;
	candidate->due = DT_NOEND;
	candidate->offered = false;
	if (state->cycles[cycle->item].cyclic)
	{
		/* infinite when it lies beyond all time, and not due then, whatever is asked */
		candidate->due = cycle->next;
		candidate->offered = cycle->next <= rules->due_until;
	}
	else
		candidate->offered = cycle->last < rules->forgotten;
}

/*
 * Takes the rules from an item. Of those that lead elsewhere than to what he bought as many as are wanted are enough: the
 * others are no better than each of these.
 */
static void
follow_leads(Recommending *state, uint32 item)
{
	uint64		end = Min(state->first_lead[item + 1],
						  state->first_lead[item] + state->rules->per_customer + state->nbought);

	for (uint64 l = state->first_lead[item]; l < end; l++)
	{
		const Lead *lead = &state->leads[l];
		Candidate  *candidate = &state->candidates[lead->other];

		if (candidate->stamp != state->stamp)
		{
			candidate->stamp = state->stamp;
			state->found[state->nfound++] = lead->other;
		}
		else if (lead->score < candidate->score)
			continue;
		else if (lead->score == candidate->score &&
				 (lead->count < candidate->count ||
				  (lead->count == candidate->count && state->place[item] >= state->place[candidate->because])))
			continue;
		candidate->score = lead->score;
		candidate->count = lead->count;
		candidate->because = item;
	}
}

static bool
is_better(const Recommending *state, uint32 item, uint32 other)
{
	const Candidate *x = &state->candidates[item];
	const Candidate *y = &state->candidates[other];

	if (x->score != y->score)
		return x->score > y->score;
	if (x->count != y->count)
		return x->count > y->count;
	return state->place[item] < state->place[other];
}

static void
put_offer(Recommending *state, int64 customer, int rank, uint32 item)
{
	const Candidate *candidate = &state->candidates[item];
	MemoryContext old = MemoryContextSwitchTo(state->row);
	Datum		values[6] = {0};
	bool		nulls[6] = {false};

	values[0] = Int64GetDatum(customer);
	values[1] = Int32GetDatum(rank);
	values[2] = item_name_datum(state->purchases->items, item);
	values[3] = item_name_datum(state->purchases->items, candidate->because);
	values[4] = DirectFunctionCall1(float8_numeric, Float8GetDatum(candidate->score));
	nulls[5] = candidate->bought_stamp != state->stamp || TIMESTAMP_IS_NOEND(candidate->due);
	values[5] = TimestampTzGetDatum(candidate->due);
	tuplestore_putvalues(state->rsinfo->setResult, state->rsinfo->setDesc, values, nulls);
	MemoryContextSwitchTo(old);
	MemoryContextReset(state->row);
}

static void
take_customer(void *context, StreamRow *rows, int64 nrows)
{
	Recommending *state = context;
	int64		customer = rows[0].customer;
	uint32		nleft = 0;

	/* both the cycles and the baskets want rows of their own */
	if (nrows > state->copy_room)
	{
		if (state->copy != NULL)
			pfree(state->copy);
		state->copy_room = nrows * 2;
		state->copy = palloc_extended(sizeof(StreamRow) * (Size) state->copy_room, MCXT_ALLOC_HUGE);
	}
	memcpy(state->copy, rows, sizeof(StreamRow) * (Size) nrows);

	state->stamp++;
	state->nbought = state->nfound = 0;
	cycles_of_customer(&state->rules->cycle, state->cycles, state->copy, nrows, take_cycle, state);
	if (state->rules->from_last)
	{
		int64		nbaskets = affinity_baskets(&state->rules->affinity, rows, nrows, &state->baskets, &state->room);
		const Basket *last = &state->baskets[nbaskets - 1];

		for (int64 i = 0; i < last->nitems; i++)
			follow_leads(state, last->items[i]);
	}
	else
	{
		for (uint32 i = 0; i < state->nbought; i++)
			follow_leads(state, state->bought[i]);
	}

	for (uint32 i = 0; i < state->nfound; i++)
	{
		const Candidate *candidate = &state->candidates[state->found[i]];

		if (candidate->bought_stamp != state->stamp || candidate->offered)
			state->found[nleft++] = state->found[i];
	}
	/* few of many are wanted: each is looked for among those that are left */
	for (int rank = 1; rank <= state->rules->per_customer && nleft > 0; rank++)
	{
		uint32		best = 0;

		for (uint32 i = 1; i < nleft; i++)
		{
			if (is_better(state, state->found[i], state->found[best]))
				best = i;
		}
		put_offer(state, customer, rank, state->found[best]);
		state->found[best] = state->found[--nleft];
	}
}

static void
put_recommendations(FunctionCallInfo fcinfo, const Purchases *purchases, const RecommendRules *rules)
{
	uint32		nitems = item_names_count(purchases->items);
	Size		size = Max((Size) nitems, 1);
	Recommending state = {0};
	Affinity	affinity;
	const uint32 *order = item_names_order(purchases->items);

	affinity_count(purchases, &rules->affinity, (Size) maintenance_work_mem * 1024, &affinity);
	state.rules = rules;
	state.purchases = purchases;
	state.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	state.row = AllocSetContextCreate(CurrentMemoryContext, "row of recommendations", ALLOCSET_SMALL_SIZES);
	state.cycles = cycles_of_items(purchases, &rules->cycle);
	state.place = palloc_extended(sizeof(uint32) * size, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < nitems; i++)
		state.place[order[i]] = i;
	make_leads(&state, &affinity, nitems);
	pfree(affinity.pairs);
	state.candidates = palloc_extended(sizeof(Candidate) * size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	state.bought = palloc_extended(sizeof(uint32) * size, MCXT_ALLOC_HUGE);
	state.found = palloc_extended(sizeof(uint32) * size, MCXT_ALLOC_HUGE);
	purchases_visit(purchases, take_customer, &state);
}

/*
 * per_customer, relation, basket, within, min_pairs, best_by, leads_from, at, again_after, ahead, apart, prior, min_repeat,
 * min_intervals, zone; from "first" on
 */
static void
get_rules(FunctionCallInfo fcinfo, int first, RecommendRules *rules)
{
	pg_tz	   *zone = calendar_zone(argument_text(fcinfo, first + 14, "zone"));

	memset(rules, 0, sizeof(RecommendRules));
	rules->per_customer = argument_integer(fcinfo, first, "per_customer", 1, 1000);
	affinity_rules(fcinfo, first + 1, first + 14, &rules->affinity);
	rules->by_lift = argument_word(fcinfo, first + 5, "best_by", measure_words, lengthof(measure_words)) == 1;
	rules->from_last = argument_word(fcinfo, first + 6, "leads_from", start_words, lengthof(start_words)) == 1;
	rules->at = argument_instant(fcinfo, first + 7, "at");
	if (TIMESTAMP_NOT_FINITE(rules->at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be finite", "at")));
	rules->forgotten = DT_NOBEGIN;
	if (!PG_ARGISNULL(first + 8))
		rules->forgotten = calendar_subtract(rules->at, argument_interval(fcinfo, first + 8, "again_after"), zone);
	rules->due_until = calendar_add(rules->at, argument_interval(fcinfo, first + 9, "ahead"), zone);
	if (TIMESTAMP_IS_NOEND(rules->due_until))
		rules->due_until--;
	cycle_rules(fcinfo, first + 10, &rules->cycle);
}

/*
 * crm.recommendations_of(sales, ...)
 */
Datum
crm_score_recommendations_of(PG_FUNCTION_ARGS)
{
	RecommendRules rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	get_rules(fcinfo, 1, &rules);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	purchases_of_sales(fcinfo, 0, &purchases);
	put_recommendations(fcinfo, &purchases, &rules);
	return (Datum) 0;
}

/*
 * crm.recommendations(..., since, kind, item)
 */
Datum
crm_score_recommendations(PG_FUNCTION_ARGS)
{
	RecommendRules rules;
	Purchases	purchases;
	const Feed *feed;
	const char *item;

	InitMaterializedSRF(fcinfo, 0);
	get_rules(fcinfo, 0, &rules);
	feed = argument_feed(feed_load(), argument_text(fcinfo, 16, "kind"));
	item = argument_text(fcinfo, 17, "item");
	argument_property(feed, item, VALUE_UNKNOWN);
	purchases_read(feed, item, argument_instant(fcinfo, 15, "since"), rules.at, &purchases);
	put_recommendations(fcinfo, &purchases, &rules);
	purchases_end(&purchases);
	return (Datum) 0;
}

/*
 * affinity_functions.c
 *		crm.affinity_of() and crm.affinity().
 */
#include "postgres.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "score/affinity.h"
#include "score/arguments.h"

PG_FUNCTION_INFO_V1(crm_score_affinity_of);
PG_FUNCTION_INFO_V1(crm_score_affinity);

static const char *const relation_words[] = {"together", "next"};
static const char *const basket_words[] = {"instant", "day", "customer"};

/* A pair in one direction, by the places of both in the order of names. */
typedef struct DirectedPair
{
	uint32		item;
	uint32		other;
	uint32		count;
} DirectedPair;

void
affinity_rules(FunctionCallInfo fcinfo, int first, int zone, AffinityRules *rules)
{
	memset(rules, 0, sizeof(AffinityRules));
	rules->relation = (AffinityRelation) argument_word(fcinfo, first, "relation", relation_words,
													   lengthof(relation_words));
	rules->basket = (AffinityBasket) argument_word(fcinfo, first + 1, "basket", basket_words, lengthof(basket_words));
	if (rules->relation == AFFINITY_NEXT && rules->basket == AFFINITY_CUSTOMER)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("nothing is next where all that a customer bought is one basket")));
	rules->has_within = !PG_ARGISNULL(first + 2);
	if (rules->has_within)
		rules->within = argument_span(fcinfo, first + 2, "within", false);
	if (rules->has_within && rules->relation != AFFINITY_NEXT)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" is for what is bought next", "within")));
	rules->min_pairs = (uint32) argument_integer(fcinfo, first + 3, "min_pairs", 1, PG_INT32_MAX);
	if (rules->basket == AFFINITY_DAY)
		rules->days = period_map_create(UNIT_DAY, calendar_zone(argument_text(fcinfo, zone, "zone")));
}

static int
compare_pairs(const void *a, const void *b)
{
	const DirectedPair *x = a;
	const DirectedPair *y = b;

	if (x->item != y->item)
		return x->item < y->item ? -1 : 1;
	if (x->count != y->count)
		return x->count > y->count ? -1 : 1;
	return (x->other > y->other) - (x->other < y->other);
}

/* Support, confidence and lift, exactly. */
static void
put_measures(int64 count, int64 with_item, int64 with_other, int64 cases, Datum *values)
{
	Datum		confidence = (Datum) 0;
	Datum		share = (Datum) 0;

	(void) ratio_of_counts(count, cases, &values[0]);
	(void) ratio_of_counts(count, with_item, &confidence);
	values[1] = confidence;
	/* count * cases / (with_item * with_other), where only the products may be too large for integers */
	share = DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric(with_item)),
								NumericGetDatum(int64_to_numeric(with_other)));
	values[2] = DirectFunctionCall2(numeric_div,
									DirectFunctionCall2(numeric_mul, NumericGetDatum(int64_to_numeric(count)),
														NumericGetDatum(int64_to_numeric(cases))),
									share);
}

static void
put_pairs(FunctionCallInfo fcinfo, const Purchases *purchases, const AffinityRules *rules)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Affinity	affinity;
	const uint32 *order;		/* items by name */
	uint32	   *place;			/* and the other way round */
	DirectedPair *pairs;
	int64		npairs = 0;
	MemoryContext row;
	MemoryContext old;

	affinity_count(purchases, rules, (Size) maintenance_work_mem * 1024, &affinity);
	order = item_names_order(purchases->items);
	place = palloc_extended(sizeof(uint32) * Max((Size) item_names_count(purchases->items), 1), MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < item_names_count(purchases->items); i++)
		place[order[i]] = i;
	pairs = palloc_extended(sizeof(DirectedPair) * Max((Size) affinity.npairs * 2, 1), MCXT_ALLOC_HUGE);
	for (int64 i = 0; i < affinity.npairs; i++)
	{
		const AffinityPair *pair = &affinity.pairs[i];

		pairs[npairs++] = (DirectedPair) {place[pair->item], place[pair->other], pair->count};
		if (rules->relation == AFFINITY_TOGETHER)
			pairs[npairs++] = (DirectedPair) {place[pair->other], place[pair->item], pair->count};
	}
	pfree(affinity.pairs);
	qsort(pairs, npairs, sizeof(DirectedPair), compare_pairs);

	row = AllocSetContextCreate(CurrentMemoryContext, "row of affinity", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(row);
	for (int64 i = 0; i < npairs; i++)
	{
		uint32		item = order[pairs[i].item];
		uint32		other = order[pairs[i].other];
		Datum		values[9];
		bool		nulls[9] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = item_name_datum(purchases->items, item);
		values[1] = item_name_datum(purchases->items, other);
		values[2] = Int64GetDatum(pairs[i].count);
		values[3] = Int64GetDatum(affinity.counts[item]);
		values[4] = Int64GetDatum(affinity.others[other]);
		values[5] = Int64GetDatum(affinity.cases);
		put_measures(pairs[i].count, affinity.counts[item], affinity.others[other], affinity.cases, values + 6);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		MemoryContextReset(row);
	}
	MemoryContextSwitchTo(old);
}

/*
 * crm.affinity_of(sales, relation, basket, within, min_pairs, zone)
 */
Datum
crm_score_affinity_of(PG_FUNCTION_ARGS)
{
	AffinityRules rules;
	Purchases	purchases;

	InitMaterializedSRF(fcinfo, 0);
	affinity_rules(fcinfo, 1, 5, &rules);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	purchases_of_sales(fcinfo, 0, &purchases);
	put_pairs(fcinfo, &purchases, &rules);
	return (Datum) 0;
}

/*
 * crm.affinity(relation, basket, within, min_pairs, since, until, zone, kind, item)
 */
Datum
crm_score_affinity(PG_FUNCTION_ARGS)
{
	AffinityRules rules;
	Purchases	purchases;
	const Feed *feed;
	const char *item;

	InitMaterializedSRF(fcinfo, 0);
	affinity_rules(fcinfo, 0, 6, &rules);
	feed = argument_feed(feed_load(), argument_text(fcinfo, 7, "kind"));
	item = argument_text(fcinfo, 8, "item");
	argument_property(feed, item, VALUE_UNKNOWN);
	purchases_read(feed, item, argument_instant(fcinfo, 4, "since"), argument_instant(fcinfo, 5, "until"),
				   &purchases);
	put_pairs(fcinfo, &purchases, &rules);
	purchases_end(&purchases);
	return (Datum) 0;
}

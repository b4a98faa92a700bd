/*
 * rfm_feed.c
 *		The population that a feed of orders tells of: rows from the executor straight into sums.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include "feed/feed.h"
#include "score/arguments.h"
#include "score/rfm.h"
#include "score/rfm_population_private.h"

/* A pass over the feed. */
typedef struct Pass
{
	TimestampTz before;
	TimestampTz until;
	bool		refunds;
	RfmPopulation *first;		/* of what is not after "before"; or NULL */
	RfmPopulation *second;		/* of what is not after "until" */
	uint64		rows;
} Pass;

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	Pass	   *pass = context;
	bool		known = values[0].type == VALUE_NUMBER;
	Decimal		amount;

	if (unlikely((++pass->rows & 0xffff) == 0))
		CHECK_FOR_INTERRUPTS();
	if (at > pass->until)
		return;
	if (known)
	{
		amount = value_decimal(values[0]);
		if (!pass->refunds && decimal_compare(amount, decimal_from_int64(0)) < 0)
			return;
	}
	rfm_population_add(pass->second, customer, at, known ? &amount : NULL, 1);
	if (pass->first != NULL && at <= pass->before)
		rfm_population_add(pass->first, customer, at, known ? &amount : NULL, 1);
}

void
rfm_read_populations(const RfmReading *reading, TimestampTz before, RfmPopulation **first, RfmPopulation **second)
{
	const Feed *feed = argument_feed(feed_load(), reading->kind);
	Pass		pass = {0};

	/* What a stale feed would have is not known; its reader refuses it. */
	if (!feed->stale)
		argument_property(feed, reading->amount, VALUE_NUMBER);
	pass.before = before;
	pass.until = reading->until;
	pass.refunds = reading->refunds;
	pass.second = rfm_population_create(CurrentMemoryContext, reading->counting, reading->zone);
	if (first != NULL)
		pass.first = rfm_population_create(CurrentMemoryContext, reading->counting, reading->zone);
	feed_read(feed, 1, &reading->amount, NULL, reading->since, take_row, &pass, NULL);
	rfm_population_finish(pass.second);
	if (first != NULL)
	{
		rfm_population_finish(pass.first);
		*first = pass.first;
	}
	*second = pass.second;
}

RfmPopulation *
rfm_read_population(const RfmReading *reading)
{
	RfmPopulation *population;

	rfm_read_populations(reading, DT_NOBEGIN, NULL, &population);
	return population;
}

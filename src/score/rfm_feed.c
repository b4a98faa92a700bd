/*
 * rfm_feed.c
 *		The population that a feed of orders tells of: rows from the executor straight into sums.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "feed/feed.h"
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

const Feed *
rfm_order_feed(List *feeds, const char *kind)
{
	const Feed *feed = strcmp(kind, FEED_CUSTOMER) == 0 ? NULL : feed_find(feeds, kind);

	if (feed == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("kind \"%s\" does not exist", kind),
				 errhint("Define it with crm.define_event().")));
	return feed;
}

void
rfm_check_amount(const Feed *feed, const char *amount)
{
	/* Of a tracked kind any property may be there, and is unknown where it is not; a stale feed is for its reader to refuse. */
	if (feed->tracked || feed->stale)
		return;
	for (int i = 0; i < feed->ncolumns; i++)
	{
		const FeedColumn *column = &feed->columns[i];

		if (strcmp(column->name, amount) != 0)
			continue;
		if (column->value_type != VALUE_NUMBER)
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("property \"%s\" of kind \"%s\" is no number", amount, feed->kind),
					 errdetail("It is of type %s.", format_type_be(column->type))));
		return;
	}
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_COLUMN),
			 errmsg("property \"%s\" of kind \"%s\" does not exist", amount, feed->kind),
			 errhint("Define it with crm.define_event(), or name another with amount => ...")));
}

void
rfm_read_populations(const RfmReading *reading, TimestampTz before, RfmPopulation **first, RfmPopulation **second)
{
	const Feed *feed = rfm_order_feed(feed_load(), reading->kind);
	Pass		pass = {0};

	rfm_check_amount(feed, reading->amount);
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

/*
 * funnel.c
 *		crm.funnel(): how far the customers come through kinds of events, with losses and times.
 *
 * The feeds of the kinds are read one after the other; a stream of customers is then laid out in time and each customer's
 * run found by the rules of window_funnel.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/calendar.h"
#include "feed/feed.h"
#include "score/arguments.h"
#include "score/funnel.h"
#include "score/streams.h"

PG_FUNCTION_INFO_V1(crm_score_funnel);

/* Times that a step took. */
typedef struct Times
{
	int64	   *values;
	int64		count;
	int64		room;
} Times;

typedef struct Funnel
{
	FunnelRules rules;
	char	  **kinds;			/* of each step */
	TimestampTz until;
	StreamStore *store;
	uint32		mask;			/* steps that the kind being read is */
	FunnelRow  *rows;
	int64		room;
	int64		reached[FUNNEL_MAX_STEPS];	/* customers who came to the step, or further */
	Times		from_before[FUNNEL_MAX_STEPS];
	Times		from_first[FUNNEL_MAX_STEPS];
} Funnel;

static void
take_row(void *context, int64 customer, TimestampTz at, const Value *values)
{
	Funnel	   *funnel = context;

	(void) values;
	if (at <= funnel->until)
		streams_add(funnel->store, customer, at, funnel->mask);
}

static void
add_time(Times *times, int64 value)
{
	if (times->count == times->room)
	{
		times->room = Max(times->room * 2, 256);
		times->values = times->values == NULL ? palloc(sizeof(int64) * times->room) :
			repalloc_huge(times->values, sizeof(int64) * times->room);
	}
	times->values[times->count++] = value;
}

static void
take_customer(void *context, StreamRow *events, int64 nevents)
{
	Funnel	   *funnel = context;
	TimestampTz path[FUNNEL_MAX_STEPS];
	int			level;

	if (nevents > funnel->room)
	{
		pfree(funnel->rows);
		funnel->room = nevents + nevents / 2;
		funnel->rows = palloc_extended(sizeof(FunnelRow) * (Size) funnel->room, MCXT_ALLOC_HUGE);
	}
	for (int64 i = 0; i < nevents; i++)
	{
		funnel->rows[i].at = events[i].at;
		funnel->rows[i].mask = events[i].item;
	}
	level = funnel_level(&funnel->rules, funnel->rows, nevents, path);
	for (int step = 0; step < level; step++)
	{
		funnel->reached[step]++;
		if (step > 0)
		{
			add_time(&funnel->from_before[step], path[step] - path[step - 1]);
			add_time(&funnel->from_first[step], path[step] - path[0]);
		}
	}
}

/* Puts the n-th smallest at its place, with smaller ones before it. */
static void
select_nth(int64 *values, int64 count, int64 n)
{
	int64		left = 0;
	int64		right = count - 1;

	while (left < right)
	{
		int64		pivot = values[left + (right - left) / 2];
		int64		i = left;
		int64		j = right;

		while (i <= j)
		{
			while (values[i] < pivot)
				i++;
			while (values[j] > pivot)
				j--;
			if (i <= j)
			{
				int64		swapped = values[i];

				values[i++] = values[j];
				values[j--] = swapped;
			}
		}
		if (n <= j)
			right = j;
		else if (n >= i)
			left = i;
		else
			return;
	}
}

/* The middle one, or the mean of the two in the middle, as percentile_cont(0.5) has it. */
static int64
median(Times *times)
{
	int64		middle = times->count / 2;
	int64		upper;
	int64		lower;

	select_nth(times->values, times->count, middle);
	upper = times->values[middle];
	if (times->count % 2 != 0)
		return upper;
	lower = times->values[0];
	for (int64 i = 1; i < middle; i++)
		lower = Max(lower, times->values[i]);
	return lower + (upper - lower) / 2;
}

/* The kinds, and the modes: what is not said is that one event of a kind named twice is not two steps. */
static void
get_steps(FunctionCallInfo fcinfo, Funnel *funnel)
{
	Datum	   *words;
	bool	   *nulls;
	bool		repeated = false;

	argument_require(fcinfo, 0, "kinds");
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &words, &nulls,
					  &funnel->rules.nsteps);
	if (funnel->rules.nsteps < 1 || funnel->rules.nsteps > FUNNEL_MAX_STEPS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a funnel cannot have %d steps", funnel->rules.nsteps),
				 errdetail("There are 1 to %d kinds of events.", FUNNEL_MAX_STEPS)));
	funnel->kinds = palloc(sizeof(char *) * funnel->rules.nsteps);
	for (int i = 0; i < funnel->rules.nsteps; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("kind of a step must not be null")));
		funnel->kinds[i] = TextDatumGetCString(words[i]);
		for (int j = 0; j < i; j++)
			repeated |= strcmp(funnel->kinds[i], funnel->kinds[j]) == 0;
	}
	if (!PG_ARGISNULL(2))
		funnel->rules.modes = funnel_parse_modes(PG_GETARG_ARRAYTYPE_P(2));
	else if (repeated)
		funnel->rules.modes = FUNNEL_STRICT_ONCE;
}

static void
get_window(FunctionCallInfo fcinfo, Funnel *funnel)
{
	const Interval *within = argument_interval(fcinfo, 1, "within");

	funnel->rules.within = within;
	funnel->rules.window = within->time;
	/* hours are the same in every zone */
	if (within->month != 0 || within->day != 0)
		funnel->rules.zone = calendar_zone(argument_text(fcinfo, 5, "zone"));
}

static void
put_steps(Funnel *funnel, ReturnSetInfo *rsinfo)
{
	for (int step = 0; step < funnel->rules.nsteps; step++)
	{
		Datum		values[8] = {0};
		bool		nulls[8] = {false};

		values[0] = Int32GetDatum(step + 1);
		values[1] = CStringGetTextDatum(funnel->kinds[step]);
		values[2] = Int64GetDatum(funnel->reached[step]);
		nulls[3] = !ratio_of_counts(funnel->reached[step], funnel->reached[0], &values[3]);
		nulls[4] = nulls[5] = step == 0;
		if (step > 0)
		{
			nulls[4] = !ratio_of_counts(funnel->reached[step], funnel->reached[step - 1], &values[4]);
			values[5] = Int64GetDatum(funnel->reached[step - 1] - funnel->reached[step]);
		}
		nulls[6] = nulls[7] = funnel->from_before[step].count == 0;
		if (!nulls[6])
		{
			values[6] = span_to_interval(median(&funnel->from_before[step]));
			values[7] = span_to_interval(median(&funnel->from_first[step]));
		}
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
}

/*
 * crm.funnel(kinds, within, modes, since, until, zone)
 */
Datum
crm_score_funnel(PG_FUNCTION_ARGS)
{
	Funnel		funnel = {0};
	List	   *feeds;
	TimestampTz since;

	InitMaterializedSRF(fcinfo, 0);
	get_steps(fcinfo, &funnel);
	get_window(fcinfo, &funnel);
	since = argument_instant(fcinfo, 3, "since");
	funnel.until = argument_instant(fcinfo, 4, "until");
	funnel.store = streams_create((Size) maintenance_work_mem * 1024);
	funnel.room = 64;
	funnel.rows = palloc(sizeof(FunnelRow) * funnel.room);

	feeds = feed_load();
	for (int step = 0; step < funnel.rules.nsteps; step++)
	{
		const Feed *feed = argument_feed(feeds, funnel.kinds[step]);
		bool		read_before = false;

		funnel.mask = 0;
		for (int other = 0; other < funnel.rules.nsteps; other++)
		{
			if (strcmp(funnel.kinds[other], funnel.kinds[step]) != 0)
				continue;
			funnel.mask |= (uint32) 1 << other;
			read_before |= other < step;
		}
		if (!read_before)
			feed_read(feed, 0, NULL, NULL, since, take_row, &funnel, NULL);
	}
	streams_finish(funnel.store);
	streams_visit(funnel.store, take_customer, &funnel);
	streams_destroy(funnel.store);

	put_steps(&funnel, (ReturnSetInfo *) fcinfo->resultinfo);
	return (Datum) 0;
}

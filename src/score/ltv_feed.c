/*
 * ltv_feed.c
 *		crm.ltv(): LTV by the feed of orders, of all customers or group by group.
 *
 * Groups are of customers (an attribute, or the month of the first order), or of orders (a property). In the latter case each
 * group is a population of its own, for a customer may be active in one and lost to another.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "base/calendar.h"
#include "compat.h"
#include "feed/feed.h"
#include "score/arguments.h"
#include "score/ltv.h"
#include "score/rfm.h"

PG_FUNCTION_INFO_V1(crm_score_ltv);

#define BY_COHORT "cohort"

/* Which group a customer is in */
typedef struct CustomerGroup
{
	int64		customer;
	int			group;
	char		status;
} CustomerGroup;

#define SH_PREFIX customer_group
#define SH_ELEMENT_TYPE CustomerGroup
#define SH_KEY_TYPE int64
#define SH_KEY customer
#define SH_HASH_KEY(table, key) hash_bytes_uint32_extended((uint32) (key), (uint64) (key) >> 32)
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DECLARE
#define SH_DEFINE
#include "lib/simplehash.h"

typedef struct LtvGroup
{
	Value		value;
	char	   *name;			/* NULL: of whom it is not known */
	RfmPopulation *population;	/* of groups of orders */
	LtvSums		sums;
} LtvGroup;

typedef struct LtvGroups
{
	MemoryContext context;
	int			count;
	int			allocated;
	LtvGroup	   *groups;
	uint32		nslots;			/* hash table over the values: number + 1, or 0 */
	int		   *slots;
} LtvGroups;

/* How a value of a group is shown. */
static char *
value_name(Value value)
{
	StringInfoData name;

	if (value.type == VALUE_UNKNOWN)
		return NULL;
	initStringInfo(&name);
	switch ((ValueType) value.type)
	{
		case VALUE_TEXT:
			appendBinaryStringInfo(&name, value.u.text, value.length);
			break;
		case VALUE_NUMBER:
			decimal_append(&name, decimal_strip(value_decimal(value)));
			break;
		case VALUE_DATE:
			if (!DATE_NOT_FINITE((DateADT) value.u.integer))
			{
				value_append_date(&name, (DateADT) value.u.integer);
				break;
			}
			/* FALLTHROUGH */
		case VALUE_TIMESTAMP:
			if (value.type == VALUE_TIMESTAMP && !TIMESTAMP_NOT_FINITE(value.u.integer))
			{
				value_append_instant(&name, value.u.integer);
				break;
			}
			/* FALLTHROUGH */
		default:
			value_append_json(&name, value);
			break;
	}
	return name.data;
}

static void
insert_group(LtvGroups *groups, int number)
{
	uint32		place = value_hash(groups->groups[number].value) & (groups->nslots - 1);

	while (groups->slots[place] != 0)
		place = (place + 1) & (groups->nslots - 1);
	groups->slots[place] = number + 1;
}

/*
 * The number of the group with this value, which is made if need be.
 */
static int
find_group(LtvGroups *groups, Value value)
{
	MemoryContext old;

	if (groups->nslots > 0)
	{
		uint32		place = value_hash(value) & (groups->nslots - 1);

		for (; groups->slots[place] != 0; place = (place + 1) & (groups->nslots - 1))
		{
			if (value_compare(groups->groups[groups->slots[place] - 1].value, value) == 0)
				return groups->slots[place] - 1;
		}
	}

	old = MemoryContextSwitchTo(groups->context);
	if (groups->count == groups->allocated)
	{
		groups->allocated = Max(groups->allocated * 2, 16);
		groups->groups = groups->groups == NULL ?
			MemoryContextAllocHuge(groups->context, sizeof(LtvGroup) * (Size) groups->allocated) :
			repalloc_huge(groups->groups, sizeof(LtvGroup) * (Size) groups->allocated);
		if (groups->slots != NULL)
			pfree(groups->slots);
		groups->nslots = (uint32) groups->allocated * 2;
		groups->slots = MemoryContextAllocExtended(groups->context, sizeof(int) * (Size) groups->nslots,
												   MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		for (int i = 0; i < groups->count; i++)
			insert_group(groups, i);
	}
	memset(&groups->groups[groups->count], 0, sizeof(LtvGroup));
	groups->groups[groups->count].value = value_copy(value);
	groups->groups[groups->count].name = value_name(value);
	insert_group(groups, groups->count);
	MemoryContextSwitchTo(old);
	return groups->count++;
}

static int
compare_groups(const void *a, const void *b)
{
	const LtvGroup *x = a;
	const LtvGroup *y = b;

	if (x->name == NULL || y->name == NULL)
		return (x->name == NULL) - (y->name == NULL);
	return value_compare(x->value, y->value);
}

/* Reading the customers */
typedef struct AttributePass
{
	LtvGroups	   *groups;
	customer_group_hash *customers;
	uint64		rows;
} AttributePass;

static void
take_customer(void *context, int64 customer, TimestampTz at, const Value *values)
{
	AttributePass *pass = context;
	bool		found;
	CustomerGroup *entry;

	(void) at;
	if ((++pass->rows & 0xffff) == 0)
		CHECK_FOR_INTERRUPTS();
	if (values[0].type == VALUE_UNKNOWN)
		return;
	entry = customer_group_insert(pass->customers, customer, &found);
	if (!found)
		entry->group = find_group(pass->groups, values[0]);
}

/* Reading the orders */
typedef struct OrderPass
{
	TimestampTz until;
	const char *zone;
	bool		by_property;
	LtvGroups	   *groups;
	RfmPopulation *population;
	uint64		rows;
} OrderPass;

static void
take_order(void *context, int64 customer, TimestampTz at, const Value *values)
{
	OrderPass  *pass = context;
	RfmPopulation *population = pass->population;
	bool		known = values[0].type == VALUE_NUMBER;
	Decimal		amount;

	if ((++pass->rows & 0xffff) == 0)
		CHECK_FOR_INTERRUPTS();
	if (at > pass->until)
		return;
	if (pass->by_property)
	{
		int			number = find_group(pass->groups, values[1]);
		LtvGroup	   *group = &pass->groups->groups[number];

		if (group->population == NULL)
			group->population = rfm_population_create(pass->groups->context, RFM_BY_DAYS, pass->zone);
		population = group->population;
	}
	if (known)
		amount = value_decimal(values[0]);
	rfm_population_add(population, customer, at, known ? &amount : NULL, 1);
}

static bool
has_column(const Feed *feed, const char *name)
{
	for (int i = 0; i < feed->ncolumns; i++)
	{
		if (strcmp(feed->columns[i].name, name) == 0)
			return true;
	}
	return false;
}

static void
add_population(const LtvMonths *months, RfmPopulation *population, RfmDays *days, LtvGroups *groups, int group,
			   bool by_cohort, customer_group_hash *customers)
{
	rfm_population_finish(population);
	for (uint32 i = 0; i < rfm_population_size(population); i++)
	{
		int			number = group;

		if ((i & 0xfff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (by_cohort)
		{
			uint32		count;
			const RfmKey *keys = rfm_population_keys(population, i, &count);

			number = find_group(groups, value_date(calendar_trunc_date((DateADT) keys[0].key, UNIT_MONTH)));
		}
		else if (customers != NULL)
		{
			CustomerGroup *entry = customer_group_lookup(customers, rfm_population_customers(population)[i].customer);

			number = entry != NULL ? entry->group : find_group(groups, value_unknown());
		}
		ltv_add_customer(months, population, i, days, &groups->groups[number].sums);
	}
}

Datum
crm_score_ltv(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	LtvMonths	months;
	LtvGroups		groups = {0};
	OrderPass	pass = {0};
	customer_group_hash *customers = NULL;
	char	   *by = NULL;
	bool		by_cohort = false;
	const char *columns[2];
	List	   *feeds;
	const Feed *orders;
	const char *kind;
	RfmDays    *days;
	TimestampTz since = DT_NOBEGIN;

	InitMaterializedSRF(fcinfo, 0);
	argument_require(fcinfo, 0, "until");
	argument_require(fcinfo, 1, "months");
	argument_require(fcinfo, 2, "active_within");
	argument_require(fcinfo, 3, "margin");
	ltv_check_margin(PG_GETARG_NUMERIC(3));
	if (!PG_ARGISNULL(4))
		by = text_to_cstring(PG_GETARG_TEXT_PP(4));
	pass.zone = argument_text(fcinfo, 5, "zone");
	kind = argument_text(fcinfo, 6, "kind");
	columns[0] = argument_text(fcinfo, 7, "amount");
	columns[1] = by;
	ltv_init_months(&months, PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_INT32(1), PG_GETARG_INTERVAL_P(2), pass.zone);
	days = rfm_days_create(pass.zone);

	feeds = feed_load();
	orders = argument_feed(feeds, kind);
	if (!orders->stale)
		argument_property(orders, columns[0], VALUE_NUMBER);
	groups.context = CurrentMemoryContext;
	pass.groups = &groups;
	pass.until = PG_GETARG_TIMESTAMPTZ(0);

	if (by != NULL && strcmp(by, BY_COHORT) == 0)
		by_cohort = true;
	else if (by != NULL)
	{
		const Feed *customer_feed = feed_find(feeds, FEED_CUSTOMER);

		argument_readable(by);
		/* What a stale feed would have is not known, and to read it is an error. */
		if (customer_feed != NULL && (customer_feed->stale || has_column(customer_feed, by)))
		{
			AttributePass attributes = {0};

			attributes.groups = &groups;
			attributes.customers = customers = customer_group_create(CurrentMemoryContext, 1024, NULL);
			feed_read(customer_feed, 1, &columns[1], NULL, DT_NOBEGIN, take_customer, &attributes, NULL);
		}
		else if (orders->tracked || orders->stale || has_column(orders, by))
			pass.by_property = true;
		else
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("\"%s\" is neither an attribute of customers nor a property of kind \"%s\"", by, kind),
					 errhint("Group by one of these, or by cohort, the month of the first order.")));
	}

	/* Who was active in the month before the first may have ordered no later than this; a cohort needs all orders. */
	if (!by_cohort)
		since = calendar_day_start(months.active_from[0], calendar_zone(pass.zone));
	if (!pass.by_property)
		pass.population = rfm_population_create(CurrentMemoryContext, RFM_BY_DAYS, pass.zone);
	if (by == NULL)
		(void) find_group(&groups, value_unknown());
	feed_read(orders, pass.by_property ? 2 : 1, columns, NULL, since, take_order, &pass, NULL);

	if (pass.by_property)
	{
		for (int i = 0; i < groups.count; i++)
			add_population(&months, groups.groups[i].population, days, &groups, i, false, NULL);
	}
	else
		add_population(&months, pass.population, days, &groups, 0, by_cohort, customers);

	if (groups.count > 0)
		qsort(groups.groups, groups.count, sizeof(LtvGroup), compare_groups);
	for (int i = 0; i < groups.count; i++)
	{
		Datum		values[1 + LTV_COLUMNS];
		bool		nulls[1 + LTV_COLUMNS];

		nulls[0] = groups.groups[i].name == NULL;
		values[0] = nulls[0] ? (Datum) 0 : CStringGetTextDatum(groups.groups[i].name);
		ltv_answer(&groups.groups[i].sums, PG_GETARG_NUMERIC(3), values + 1, nulls + 1);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

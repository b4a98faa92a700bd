/*
 * items.c
 *		Names of items as small numbers: a hash table with open addressing.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "score/items.h"

#define FIRST_SLOTS 256

typedef struct ItemName
{
	const char *name;
	uint32		length;
	uint32		hash;
} ItemName;

struct ItemNames
{
	MemoryContext context;
	uint32		count;
	uint32		room;
	ItemName   *items;
	uint32		mask;
	uint32	   *slots;			/* item + 1, or 0 */
	StringInfoData scratch;		/* of values that are no texts */
};

ItemNames *
item_names_create(MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	ItemNames  *names = palloc0(sizeof(ItemNames));

	names->context = context;
	names->room = FIRST_SLOTS / 2;
	names->items = palloc(sizeof(ItemName) * names->room);
	names->mask = FIRST_SLOTS - 1;
	names->slots = palloc0(sizeof(uint32) * FIRST_SLOTS);
	initStringInfo(&names->scratch);
	MemoryContextSwitchTo(old);
	return names;
}

static void
fill_slots(ItemNames *names)
{
	for (uint32 i = 0; i < names->count; i++)
	{
		uint32		slot = names->items[i].hash & names->mask;

		while (names->slots[slot] != 0)
			slot = (slot + 1) & names->mask;
		names->slots[slot] = i + 1;
	}
}

static void
grow(ItemNames *names)
{
	if (names->room > PG_INT32_MAX / 4)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many different items")));
	names->room *= 2;
	names->items = repalloc_huge(names->items, sizeof(ItemName) * (Size) names->room);
	pfree(names->slots);
	names->mask = names->room * 2 - 1;
	names->slots = MemoryContextAllocExtended(names->context, sizeof(uint32) * ((Size) names->mask + 1),
											  MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	fill_slots(names);
}

uint32
item_names_add(ItemNames *names, const char *name, uint32 length)
{
	uint32		hash = hash_bytes((const unsigned char *) name, (int) length);
	uint32		slot = hash & names->mask;
	char	   *copy;

	for (; names->slots[slot] != 0; slot = (slot + 1) & names->mask)
	{
		const ItemName *item = &names->items[names->slots[slot] - 1];

		if (item->hash == hash && item->length == length && memcmp(item->name, name, length) == 0)
			return names->slots[slot] - 1;
	}
	if (names->count == names->room)
	{
		grow(names);
		for (slot = hash & names->mask; names->slots[slot] != 0;)
			slot = (slot + 1) & names->mask;
	}
	copy = MemoryContextAlloc(names->context, Max(length, 1));
	memcpy(copy, name, length);
	names->items[names->count].name = copy;
	names->items[names->count].length = length;
	names->items[names->count].hash = hash;
	names->slots[slot] = ++names->count;
	return names->count - 1;
}

uint32
item_names_count(const ItemNames *names)
{
	return names->count;
}

const char *
item_name(const ItemNames *names, uint32 item, uint32 *length)
{
	*length = names->items[item].length;
	return names->items[item].name;
}

Datum
item_name_datum(const ItemNames *names, uint32 item)
{
	return PointerGetDatum(cstring_to_text_with_len(names->items[item].name, (int) names->items[item].length));
}

static int
name_compare(const void *a, const void *b, void *arg)
{
	const ItemName *items = arg;
	const ItemName *x = &items[*(const uint32 *) a];
	const ItemName *y = &items[*(const uint32 *) b];
	int			order = memcmp(x->name, y->name, Min(x->length, y->length));

	if (order != 0)
		return order;
	return (x->length > y->length) - (x->length < y->length);
}

static uint32 *
sorted_numbers(const ItemNames *names, bool *changed)
{
	uint32	   *order = palloc_extended(sizeof(uint32) * Max((Size) names->count, 1), MCXT_ALLOC_HUGE);

	*changed = false;
	for (uint32 i = 0; i < names->count; i++)
	{
		order[i] = i;
		if (i > 0 && !*changed)
			*changed = name_compare(&order[i - 1], &order[i], names->items) > 0;
	}
	if (*changed)
		qsort_arg(order, names->count, sizeof(uint32), name_compare, names->items);
	return order;
}

uint32 *
item_names_order(const ItemNames *names)
{
	bool		changed;

	return sorted_numbers(names, &changed);
}

uint32 *
item_names_sort(ItemNames *names)
{
	bool		changed;
	uint32	   *order = sorted_numbers(names, &changed);
	uint32	   *number;
	ItemName   *items;

	if (!changed)
	{
		pfree(order);
		return NULL;
	}
	number = palloc_extended(sizeof(uint32) * (Size) names->count, MCXT_ALLOC_HUGE);
	items = MemoryContextAllocHuge(names->context, sizeof(ItemName) * (Size) names->room);
	for (uint32 i = 0; i < names->count; i++)
	{
		number[order[i]] = i;
		items[i] = names->items[order[i]];
	}
	pfree(names->items);
	names->items = items;
	memset(names->slots, 0, sizeof(uint32) * ((Size) names->mask + 1));
	fill_slots(names);
	pfree(order);
	return number;
}

bool
item_names_add_value(ItemNames *names, Value value, uint32 *item)
{
	switch ((ValueType) value.type)
	{
		case VALUE_TEXT:
			*item = item_names_add(names, value.u.text, value.length);
			return true;
		case VALUE_UNKNOWN:
		case VALUE_ARRAY:
			return false;
		case VALUE_NUMBER:
			resetStringInfo(&names->scratch);
			decimal_append(&names->scratch, decimal_strip(value_decimal(value)));
			break;
		case VALUE_BOOLEAN:
			resetStringInfo(&names->scratch);
			appendStringInfoString(&names->scratch, value.u.integer != 0 ? "true" : "false");
			break;
		case VALUE_DATE:
		case VALUE_TIMESTAMP:
			/* as JSON, which has a form for infinite ones too, without the quotes where it has them */
			resetStringInfo(&names->scratch);
			value_append_json(&names->scratch, value);
			if (names->scratch.data[0] == '"')
			{
				*item = item_names_add(names, names->scratch.data + 1, names->scratch.len - 2);
				return true;
			}
			break;
	}
	*item = item_names_add(names, names->scratch.data, names->scratch.len);
	return true;
}

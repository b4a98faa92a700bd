/*
 * affinity_pairs.c
 *		Counts pairs of items.
 *
 * First the items are counted: a pair is no more frequent than either of its items, so that those which are too rare fall
 * out at once. The others are numbered anew, without gaps. If a counter for every possible pair fits into memory, there is
 * one. Otherwise pairs are counted in a hash table; when that is full, one half of the pairs, by their hash, is put off to
 * another pass over the baskets, and so on, so that memory is bounded and no count is lost.
 */
#include "postgres.h"

#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "utils/memutils.h"

#include "score/affinity.h"

#define FIRST_SLOTS 1024
#define NOT_COUNTED PG_UINT32_MAX

/* Pairs whose hash has the rest "part" when divided by 2^bits. */
typedef struct Part
{
	int			bits;
	uint64		part;
} Part;

typedef struct PairTable
{
	uint64		mask;
	uint64		used;
	uint64	   *keys;			/* item above bit 32, and other below */
	uint32	   *counts;			/* 0: the slot is free */
} PairTable;

typedef struct Counting
{
	Affinity   *affinity;
	bool		together;
	uint32		nfrequent;
	uint32	   *frequent;		/* number of an item among the frequent ones, or NOT_COUNTED */
	uint32	   *item_of;		/* the other way round */
	uint32	   *dense;			/* counters of all pairs, or NULL */
	uint64		max_slots;
	PairTable	table;
	Part		now;
	List	   *later;			/* of Part */
	uint32	   *left;			/* frequent items of a basket */
	uint32	   *right;
	int64		room;
	int64		room_for_pairs;
} Counting;

static void
count_items(void *context, const Basket *basket, const Basket *next)
{
	Affinity   *affinity = context;

	affinity->cases++;
	for (int64 i = 0; i < basket->nitems; i++)
		affinity->counts[basket->items[i]]++;
	for (int64 i = 0; next != NULL && i < next->nitems; i++)
		affinity->others[next->items[i]]++;
}

static inline uint64
hash_pair(uint64 key)
{
	key = (key ^ (key >> 30)) * UINT64CONST(0xbf58476d1ce4e5b9);
	key = (key ^ (key >> 27)) * UINT64CONST(0x94d049bb133111eb);
	return key ^ (key >> 31);
}

static inline bool
is_in_part(uint64 hash, Part part)
{
	return (hash & ((UINT64CONST(1) << part.bits) - 1)) == part.part;
}

static void
table_init(PairTable *table, uint64 slots)
{
	table->mask = slots - 1;
	table->used = 0;
	table->keys = palloc_extended(sizeof(uint64) * slots, MCXT_ALLOC_HUGE);
	table->counts = palloc_extended(sizeof(uint32) * slots, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
}

static void
table_free(PairTable *table)
{
	pfree(table->keys);
	pfree(table->counts);
}

/* Adds to a pair; parts go by the hash's low bits, and slots by its high ones. */
static inline void
table_add(PairTable *table, uint64 key, uint64 hash, uint32 count)
{
	uint64		slot = (hash >> 20) & table->mask;

	while (table->counts[slot] != 0)
	{
		if (table->keys[slot] == key)
		{
			table->counts[slot] += count;
			return;
		}
		slot = (slot + 1) & table->mask;
	}
	table->keys[slot] = key;
	table->counts[slot] = count;
	table->used++;
}

/*
 * The table is full: a larger one, or the same for half of the pairs.
 */
static void
table_grow(Counting *counting)
{
	PairTable	old = counting->table;
	uint64		slots = old.mask + 1;

	if (slots * 2 <= counting->max_slots)
		slots *= 2;
	else
	{
		Part	   *part = palloc(sizeof(Part));

		if (counting->now.bits >= 20)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("too many pairs of items"),
					 errhint("Raise min_pairs, or maintenance_work_mem.")));
		part->bits = counting->now.bits + 1;
		part->part = counting->now.part | (UINT64CONST(1) << counting->now.bits);
		counting->later = lappend(counting->later, part);
		counting->now.bits++;
	}
	table_init(&counting->table, slots);
	for (uint64 i = 0; i <= old.mask; i++)
	{
		uint64		hash;

		if (old.counts[i] == 0)
			continue;
		hash = hash_pair(old.keys[i]);
		if (is_in_part(hash, counting->now))
			table_add(&counting->table, old.keys[i], hash, old.counts[i]);
	}
	table_free(&old);
}

/* The frequent items of a basket by their new numbers, ascending as before. */
static int64
frequent_items(const Counting *counting, const Basket *basket, uint32 *items)
{
	int64		n = 0;

	for (int64 i = 0; i < basket->nitems; i++)
	{
		uint32		item = counting->frequent[basket->items[i]];

		if (item != NOT_COUNTED)
			items[n++] = item;
	}
	return n;
}

static inline void
count_pair(Counting *counting, uint32 item, uint32 other)
{
	uint64		key = (uint64) item << 32 | other;
	uint64		hash = hash_pair(key);

	if (!is_in_part(hash, counting->now))
		return;
	table_add(&counting->table, key, hash, 1);
	if (unlikely(counting->table.used > counting->table.mask - counting->table.mask / 4))
		table_grow(counting);
}

static void
count_pairs(void *context, const Basket *basket, const Basket *next)
{
	Counting   *counting = context;
	int64		longest = Max(basket->nitems, next == NULL ? 0 : next->nitems);
	int64		nleft;
	int64		nright;
	const uint32 *right;

	if (longest > counting->room)
	{
		if (counting->room > 0)
		{
			pfree(counting->left);
			pfree(counting->right);
		}
		counting->room = longest * 2;
		counting->left = palloc_extended(sizeof(uint32) * (Size) counting->room, MCXT_ALLOC_HUGE);
		counting->right = palloc_extended(sizeof(uint32) * (Size) counting->room, MCXT_ALLOC_HUGE);
	}
	nleft = nright = frequent_items(counting, basket, counting->left);
	right = counting->left;
	if (next != NULL)
	{
		nright = frequent_items(counting, next, counting->right);
		right = counting->right;
	}

	for (int64 i = 0; i < nleft; i++)
	{
		uint32		item = counting->left[i];

		if (i % 64 == 63)
			CHECK_FOR_INTERRUPTS();
		if (counting->dense == NULL)
		{
			for (int64 j = counting->together ? i + 1 : 0; j < nright; j++)
			{
				if (right[j] != item)
					count_pair(counting, item, right[j]);
			}
		}
		else if (counting->together)
		{
			/* a row for each item, of those before it */
			uint32	   *row = counting->dense + (uint64) item * (item - 1) / 2;

			for (int64 j = 0; j < i; j++)
				row[counting->left[j]]++;
		}
		else
		{
			uint32	   *row = counting->dense + (uint64) item * counting->nfrequent;

			for (int64 j = 0; j < nright; j++)
				row[right[j]]++;
		}
	}
}

static void
put_pair(Counting *counting, uint32 item, uint32 other, uint32 count)
{
	Affinity   *affinity = counting->affinity;
	AffinityPair *pair;

	if (count < affinity->rules->min_pairs || item == other)
		return;
	if (affinity->npairs == counting->room_for_pairs)
	{
		counting->room_for_pairs *= 2;
		affinity->pairs = repalloc_huge(affinity->pairs, sizeof(AffinityPair) * counting->room_for_pairs);
	}
	pair = &affinity->pairs[affinity->npairs++];
	pair->item = counting->item_of[item];
	pair->other = counting->item_of[other];
	pair->count = count;
}

static void
count_densely(Counting *counting)
{
	uint32		n = counting->nfrequent;
	const uint32 *count = counting->dense;

	affinity_visit(counting->affinity->purchases, counting->affinity->rules, count_pairs, counting);
	for (uint32 item = 0; item < n; item++)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 other = 0; other < (counting->together ? item : n); other++)
		{
			if (counting->together)
				put_pair(counting, other, item, *count++);
			else
				put_pair(counting, item, other, *count++);
		}
	}
	pfree(counting->dense);
}

static void
count_in_parts(Counting *counting)
{
	Part	   *first = palloc0(sizeof(Part));

	counting->later = list_make1(first);
	while (counting->later != NIL)
	{
		Part	   *part = llast(counting->later);

		counting->later = list_delete_last(counting->later);
		counting->now = *part;
		pfree(part);
		table_init(&counting->table, FIRST_SLOTS);
		affinity_visit(counting->affinity->purchases, counting->affinity->rules, count_pairs, counting);
		for (uint64 i = 0; i <= counting->table.mask; i++)
		{
			if (counting->table.counts[i] != 0)
				put_pair(counting, (uint32) (counting->table.keys[i] >> 32), (uint32) counting->table.keys[i],
						 counting->table.counts[i]);
		}
		table_free(&counting->table);
	}
}

void
affinity_count(const Purchases *purchases, const AffinityRules *rules, Size memory, Affinity *affinity)
{
	uint32		nitems = purchases_count_items(purchases);
	Size		size = sizeof(uint32) * Max((Size) nitems, 1);
	Counting	counting = {0};
	uint64		npossible;

	memset(affinity, 0, sizeof(Affinity));
	affinity->rules = rules;
	affinity->purchases = purchases;
	affinity->counts = palloc_extended(size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	affinity->others = affinity->counts;
	if (rules->relation == AFFINITY_NEXT)
		affinity->others = palloc_extended(size, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	affinity_visit(purchases, rules, count_items, affinity);

	counting.affinity = affinity;
	counting.together = rules->relation == AFFINITY_TOGETHER;
	counting.frequent = palloc_extended(size, MCXT_ALLOC_HUGE);
	counting.item_of = palloc_extended(size, MCXT_ALLOC_HUGE);
	for (uint32 i = 0; i < nitems; i++)
	{
		if (Max(affinity->counts[i], affinity->others[i]) >= rules->min_pairs)
		{
			counting.item_of[counting.nfrequent] = i;
			counting.frequent[i] = counting.nfrequent++;
		}
		else
			counting.frequent[i] = NOT_COUNTED;
	}
	counting.room_for_pairs = 1024;
	affinity->pairs = palloc(sizeof(AffinityPair) * counting.room_for_pairs);
	if (counting.nfrequent < 2)
		return;

	npossible = (uint64) counting.nfrequent * (counting.together ? counting.nfrequent - 1 : counting.nfrequent);
	if (counting.together)
		npossible /= 2;
	if (npossible <= memory / sizeof(uint32))
	{
		counting.dense = palloc_extended(sizeof(uint32) * npossible, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
		count_densely(&counting);
	}
	else
	{
		/* while a table grows there are two, of which the old one is half as large at the least */
		counting.max_slots = FIRST_SLOTS;
		while (counting.max_slots * 2 * (sizeof(uint64) + sizeof(uint32)) <= memory / 2)
			counting.max_slots *= 2;
		count_in_parts(&counting);
	}
	pfree(counting.frequent);
	pfree(counting.item_of);
}

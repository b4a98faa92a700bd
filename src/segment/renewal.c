/*
 * renewal.c
 *		Evaluating customers, and finding out how what is stored of them differs.
 *
 * When the answer at the last evaluation, with today's facts, is the one that was stored, the log gets the very instants at
 * which the answer flipped since then: by a fact when an event of the customer happened at that instant, else by time
 * alone. Any other change is that of a fact that was not known before, and is logged with the instant of this evaluation.
 * When a segment is evaluated for the first time, its members enter by its creation, which is an edit.
 *
 * The last evaluation may be any instant at which what is stored was right: the customer's own, which his deadline tells;
 * else the one that his slot has come to; else that of the segment's last refresh.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

#include "segment/renewal.h"

static void
mark_kinds(const Program *program, int number, bool *kinds)
{
	const ProgramNode *node = &program->nodes[number];

	check_stack_depth();
	if (node->tag == AST_HAS || node->tag == AST_AGGREGATE || node->tag == AST_MOMENT_OF || node->tag == AST_FOLLOWED)
	{
		int			set = node->tag == AST_FOLLOWED ? node->events : program->events[node->events].set;

		kinds[program->sets[set].kind] = true;
		if (program->sets[set].filter >= 0)
			mark_kinds(program, program->sets[set].filter, kinds);
	}
	for (int i = 0; i < node->nargs; i++)
		mark_kinds(program, node->args[i], kinds);
	if (node->anniversary >= 0 && node->tag == AST_IN_WINDOW)
		mark_kinds(program, node->anniversary, kinds);
}

SegmentProgram *
segment_program_load(void)
{
	SegmentProgram *result = palloc0(sizeof(SegmentProgram));
	SegmentCatalog *catalog = segment_catalog_load();

	result->catalog = catalog;
	result->dynamic = palloc(sizeof(Segment *) * Max(catalog->count, 1));
	result->program = program_create(CurrentMemoryContext);
	for (int i = 0; i < catalog->count; i++)
	{
		Segment    *segment = &catalog->segments[i];
		Value		self = value_number(decimal_from_int64(segment->id));
		int			id;

		if (segment->predicate == NULL)
		{
			result->nstatic++;
			continue;
		}
		segment->root = program_add(result->program, segment_resolver(&self, &id, catalog), segment_resolver, catalog);
		result->dynamic[result->ndynamic++] = segment;
		result->ntriggers += segment->trigger ? 1 : 0;
	}
	result->names = palloc(sizeof(bool *) * Max(result->ndynamic, 1));
	for (int d = 0; d < result->ndynamic; d++)
	{
		result->names[d] = palloc0(sizeof(bool) * Max(result->program->nkinds, 1));
		mark_kinds(result->program, result->dynamic[d]->root, result->names[d]);
	}
	return result;
}

static void
log_change(Renewed *renewed, int32 segment, bool entered, TimestampTz at, MembershipReason reason)
{
	RenewedChange *change;

	renewed->changes = renewed->changes == NULL ? palloc(sizeof(RenewedChange) * 4) :
		renewed->nchanges >= 4 && (renewed->nchanges & (renewed->nchanges - 1)) == 0 ?
		repalloc(renewed->changes, sizeof(RenewedChange) * (Size) renewed->nchanges * 2) : renewed->changes;
	change = &renewed->changes[renewed->nchanges++];
	change->segment = segment;
	change->entered = entered;
	change->at = at;
	change->reason = reason;
}

/* Did an event of the customer happen at this very instant? */
static bool
happened_at(const Renewal *renewal, const Facts *facts, TimestampTz at)
{
	for (int k = 0; k < renewal->segments->program->nkinds; k++)
	{
		const KindFacts *kind = &facts->kinds[k];
		int			low = 0,
					high = kind->nevents;

		while (low < high)
		{
			int			middle = low + (high - low) / 2;

			if (kind->at[middle] < at)
				low = middle + 1;
			else
				high = middle;
		}
		if (low < kind->nevents && kind->at[low] == at)
			return true;
	}
	return false;
}

/* An instant at which what is stored of a customer for a segment was right. */
static TimestampTz
right_at(const Renewal *renewal, const Renewed *renewed, const Segment *segment)
{
	TimestampTz at = Max(segment->evaluated_at, renewal->from);

	if (!renewal->live || segment->stale)
		return at;
	return Max(at, renewed->before.stored ? renewed->before.evaluated_at :
			   renewal->slots[population_slot(renewed->customer)].watermark);
}

/* Setting the instant that is set already would forget what is known at it. */
static void
set_instant(Renewal *renewal, TimestampTz at, TimestampTz *current)
{
	if (*current != at)
		evaluation_set_instant(renewal->evaluation, at, false, 0);
	*current = at;
}

/*
 * The last change of a customer's segment that the log has. While a slot is amid a wave of deadlines, its watermark stays
 * behind, and what came and went was logged when he was looked at before. Things come and go seldom: asking is no burden.
 */
static TimestampTz
last_logged(int64 customer, int32 segment)
{
	Oid			types[] = {INT8OID, INT4OID};
	Datum		values[] = {Int64GetDatum(customer), Int32GetDatum(segment)};
	TimestampTz result = DT_NOBEGIN;
	bool		isnull;
	Datum		at;

	if (SPI_execute_with_args("SELECT pg_catalog.max(c.at) FROM crm.membership_change AS c "
							  "WHERE c.customer_id OPERATOR(pg_catalog.=) $1 AND ($2 OPERATOR(pg_catalog.=) ANY (c.entered) "
							  "OR $2 OPERATOR(pg_catalog.=) ANY (c.exited))", 2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read crm.membership_change");
	at = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (!isnull)
		result = DatumGetTimestampTz(at);
	SPI_freetuptable(SPI_tuptable);
	return result;
}

/* Of the changes from the given one on, takes back those that came and went and are logged already. */
static void
forget_logged(Renewed *renewed, int32 segment, int first)
{
	TimestampTz known = last_logged(renewed->customer, segment);
	int			count = 0;

	while (first + count + 1 < renewed->nchanges && renewed->changes[first + count + 1].at <= known)
		count += 2;
	if (count > 0)
	{
		memmove(&renewed->changes[first], &renewed->changes[first + count],
				sizeof(RenewedChange) * (Size) (renewed->nchanges - first - count));
		renewed->nchanges -= count;
	}
}

/*
 * Finds out whether time alone, or a fact that has its own instant, has changed a dynamic segment's answer for a customer, and
 * when: perhaps several times, and back again.
 */
static void
log_dynamic_change(Renewal *renewal, Renewed *renewed, const Facts *facts, const Segment *segment, bool was, bool now,
				   TimestampTz *current)
{
	Evaluation *ev = renewal->evaluation;
	const int	first = renewed->nchanges;
	TimestampTz at;
	TimestampTz until;
	bool		truth;

	if (renewed->merged)
	{
		/* the history of two people is nobody's: what was answered before was asked of another one */
		if (was != now)
			log_change(renewed, segment->id, now, renewal->at, MEMBERSHIP_MERGE);
		return;
	}
	if (!segment->evaluated)
	{
		if (was != now)
			log_change(renewed, segment->id, now, renewal->at, MEMBERSHIP_EDIT);
		return;
	}
	at = right_at(renewal, renewed, segment);
	if (at < renewal->at)
		set_instant(renewal, at, current);
	if (at >= renewal->at || evaluation_truth(ev, segment->root, &until) != was)
	{
		if (was != now)
			log_change(renewed, segment->id, now, renewal->at, MEMBERSHIP_FACT);
		return;
	}
	while (until <= renewal->at)
	{
		at = until;
		CHECK_FOR_INTERRUPTS();
		set_instant(renewal, at, current);
		truth = evaluation_truth(ev, segment->root, &until);
		if (truth != was)
		{
			log_change(renewed, segment->id, truth, at,
					   happened_at(renewal, facts, at) ? MEMBERSHIP_FACT : MEMBERSHIP_TIME);
			was = truth;
		}
	}
	if (renewed->nchanges - first >= 2)
		forget_logged(renewed, segment->id, first);
}

static bool
has_id(const int32 *ids, int count, int32 id)
{
	int			low = 0,
				high = count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && ids[low] == id;
}

/* All that has happened since the last evaluation in the segments that were asked, also what was over before we looked. */
static void
log_periods(Renewal *renewal, Renewed *renewed, const Facts *facts, const StoredMembership *stored)
{
	const bool *wanted = renewed->wanted;
	const SegmentProgram *segments = renewal->segments;
	TimestampTz current = DT_NOBEGIN;

	for (int d = 0; d < segments->ndynamic; d++)
	{
		const Segment *segment = segments->dynamic[d];

		if ((wanted == NULL || wanted[d]) && (renewal->left_alone == NULL || !renewal->left_alone[d]))
			log_dynamic_change(renewal, renewed, facts, segment, has_id(stored->segments, stored->count, segment->id),
							   has_id(renewed->segments, renewed->nsegments, segment->id), &current);
	}
}

/*
 * The difference between what is stored and what is so, in the log: of all segments, or of the static ones only. Into a
 * static segment comes by itself who was put into it before, and is there again, or is now somebody who was.
 */
static void
log_difference(Renewal *renewal, Renewed *renewed, const Facts *facts, const StoredMembership *stored, bool statics_only)
{
	const int32 *now = renewed->segments;
	int			nnow = renewed->nsegments;
	TimestampTz current = DT_NOBEGIN;
	int			i = 0,
				j = 0;

	while (i < stored->count || j < nnow)
	{
		bool		entered = i >= stored->count || (j < nnow && now[j] < stored->segments[i]);
		int			id = entered ? now[j] : stored->segments[i];
		const Segment *segment;

		if (i < stored->count && j < nnow && now[j] == stored->segments[i])
		{
			i++;
			j++;
			continue;
		}
		segment = segment_by_id(renewal->segments->catalog, id);
		if (segment == NULL || (statics_only && segment->predicate != NULL))
			;
		else if (!renewed->present)
			log_change(renewed, id, false, renewal->at, renewed->merged ? MEMBERSHIP_MERGE : MEMBERSHIP_GONE);
		else if (segment->predicate == NULL)
			log_change(renewed, id, entered, renewal->at, renewed->merged ? MEMBERSHIP_MERGE : MEMBERSHIP_FACT);
		else
			log_dynamic_change(renewal, renewed, facts, segment, !entered, entered, &current);
		if (entered)
			j++;
		else
			i++;
	}
}

/*
 * Evaluates one customer's segments at the instant that is set; into now, and the deadline. Into static ones he was put by
 * hand; a segment that is not asked stays as it is stored.
 */
static int
evaluate(Renewal *renewal, const Facts *facts, const StoredMembership *stored, const bool *wanted, int32 *now,
		 StoredDeadline *deadline)
{
	Evaluation *ev = renewal->evaluation;
	const SegmentProgram *segments = renewal->segments;
	int			count = 0;
	int			s = 0;

	evaluation_set_facts(ev, facts);
	for (int d = 0; d < segments->ndynamic; d++)
	{
		int32		id = segments->dynamic[d]->id;
		TimestampTz until;

		while (s < facts->nsegments && facts->segments[s] < id)
			now[count++] = facts->segments[s++];
		if ((wanted != NULL && !wanted[d]) || (renewal->left_alone != NULL && renewal->left_alone[d]))
		{
			if (has_id(stored->segments, stored->count, id))
				now[count++] = id;
			continue;
		}
		if (evaluation_truth(ev, segments->dynamic[d]->root, renewal->live ? &until : NULL))
		{
			now[count++] = id;
			/* one more event is met while the answer stays the same */
			if (renewal->live && segments->dynamic[d]->trigger)
				until = Min(until, evaluation_next_occurrence(ev, segments->dynamic[d]->root));
		}
		if (renewal->live && until < deadline->due)
		{
			deadline->due = until;
			deadline->segment = id;
		}
	}
	while (s < facts->nsegments)
		now[count++] = facts->segments[s++];
	return count;
}

/* What the triggers among the segments that were asked have met. */
static List *
find_occurrences(Renewal *renewal, const Facts *facts, const bool *wanted)
{
	const SegmentProgram *segments = renewal->segments;
	List	   *result = NIL;

	for (int d = 0; d < segments->ndynamic; d++)
	{
		if (segments->dynamic[d]->trigger && (wanted == NULL || wanted[d]) &&
			(renewal->left_alone == NULL || !renewal->left_alone[d]))
			result = occurrences_find(renewal->evaluation, segments->program, segments->dynamic[d], facts, renewal->at, result);
	}
	return result;
}

/* Entries of triggers whose events are not told apart. */
static List *
entries_as_occurrences(const Renewal *renewal, const Renewed *renewed, List *occurrences)
{
	for (int i = 0; i < renewed->nchanges; i++)
	{
		const RenewedChange *change = &renewed->changes[i];
		const Segment *segment = segment_by_id(renewal->segments->catalog, change->segment);

		if (segment->trigger && change->entered && change->at > segment->trigger_since &&
			(change->reason == MEMBERSHIP_FACT || change->reason == MEMBERSHIP_TIME) &&
			!evaluation_has_occurrences(renewal->evaluation, segment->root))
			occurrences = lappend(occurrences, occurrence_of_entry(segment, change->at));
	}
	return occurrences;
}

List *
renewal_evaluate(Renewal *renewal, const PopulationSlice *slice, RenewalWanted wanted_by, void *context)
{
	List	   *result = NIL;
	List	   *places = NIL;
	int32	   *now = palloc(sizeof(int32) * (renewal->segments->catalog->count + 1));
	ListCell   *cell;
	ListCell   *place;

	/* first all customers at the one instant, then what changed at others */
	evaluation_set_instant(renewal->evaluation, renewal->at, false, 0);
	for (int c = 0; c < slice->count; c++)
	{
		const Facts *facts = &slice->facts[c];
		const StoredMembership *stored = &slice->memberships[c];
		StoredDeadline before = slice->deadlines[c];
		StoredDeadline after = {.due = DT_NOEND, .evaluated_at = renewal->at};
		const bool *wanted = NULL;
		Renewed    *renewed;
		List	   *met = NIL;
		int			count = 0;
		bool		differs;
		bool		passed;

		if ((c & 0xff) == 0)
			CHECK_FOR_INTERRUPTS();
		if (slice->present[c])
		{
			wanted = wanted_by == NULL ? NULL : wanted_by(context, facts->customer);

			/* where the segment whose deadline is stored is not asked, that stands */
			if (wanted != NULL && before.stored)
				after = before;
			count = evaluate(renewal, facts, stored, wanted, now, &after);
			after.stored = !TIMESTAMP_IS_NOEND(after.due);
		}
		if (renewal->segments->ntriggers > 0 && slice->present[c])
		{
			met = find_occurrences(renewal, facts, wanted);
			evaluation_set_instant(renewal->evaluation, renewal->at, false, 0);
		}
		differs = count != stored->count || (count > 0 && memcmp(now, stored->segments, sizeof(int32) * (Size) count) != 0);
		/* who was touched, or whose deadline has passed, may have come and gone in between */
		passed = renewal->live && slice->present[c] && (wanted_by != NULL || before.due <= renewal->at);
		if (!differs && !passed && before.due == after.due && before.stored == after.stored && met == NIL)
			continue;
		renewed = palloc0(sizeof(Renewed));
		renewed->customer = facts->customer;
		renewed->present = slice->present[c];
		renewed->merged = renewal->is_merged != NULL && renewal->is_merged(renewal->merged_context, facts->customer);
		renewed->stored = stored->stored;
		renewed->differs = differs;
		renewed->passed = passed;
		renewed->wanted = wanted;
		renewed->nsegments = count;
		renewed->segments = palloc(sizeof(int32) * (Size) Max(count, 1));
		memcpy(renewed->segments, now, sizeof(int32) * (Size) count);
		renewed->before = before;
		renewed->after = after;
		renewed->after.evaluated_at = renewal->at;
		renewed->occurrences = met;
		result = lappend(result, renewed);
		places = lappend_int(places, c);
	}

	forboth(cell, result, place, places)
	{
		Renewed    *renewed = lfirst(cell);
		const Facts *facts = &slice->facts[lfirst_int(place)];
		const StoredMembership *stored = &slice->memberships[lfirst_int(place)];

		if (!renewed->differs && !renewed->passed)
			continue;
		CHECK_FOR_INTERRUPTS();
		evaluation_set_facts(renewal->evaluation, facts);
		if (renewed->passed)
		{
			log_periods(renewal, renewed, facts, stored);
			log_difference(renewal, renewed, facts, stored, true);
		}
		else
			log_difference(renewal, renewed, facts, stored, false);
		if (renewal->segments->ntriggers > 0 && renewed->nchanges > 0)
			renewed->occurrences = entries_as_occurrences(renewal, renewed, renewed->occurrences);
	}
	list_free(places);
	pfree(now);
	return result;
}

void
renewal_write(Renewal *renewal, MembershipWriter *writer, const Renewed *renewed)
{
	ListCell   *cell;

	for (int i = 0; i < renewed->nchanges; i++)
	{
		const RenewedChange *change = &renewed->changes[i];

		membership_log(writer, renewed->customer, change->segment, change->entered, change->at, change->reason);
		if (change->entered)
			renewal->entered++;
		else
			renewal->left++;
	}
	foreach(cell, renewed->occurrences)
	{
		const Occurrence *occurrence = lfirst(cell);

		membership_occurrence(writer, renewed->customer, occurrence->segment, occurrence->kind, occurrence->event_at,
							  occurrence->started_at);
	}
	/* since when it is known is stored with it: what was logged is not to be logged once more */
	if (renewed->before.due != renewed->after.due || renewed->before.stored != renewed->after.stored ||
		(renewed->nchanges > 0 && renewed->after.stored))
		membership_deadline(writer, renewed->customer, renewed->before.stored, renewed->after.due, renewed->after.segment,
							renewed->after.evaluated_at);
	if (renewed->differs)
		membership_put(writer, renewed->customer, renewed->stored, renewed->segments, renewed->nsegments);
	else
		membership_flush_if_full(writer);
}

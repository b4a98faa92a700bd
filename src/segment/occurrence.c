/*
 * occurrence.c
 *		Finding what triggers have met.
 *
 * Nothing is remembered between two looks: of the time since the trigger was set, or of its window if that is shorter, all
 * that began is found each time, by the facts of now. So a fact that comes late, with an instant long gone, is not missed;
 * what was told before is known by its key (crm.occurrence).
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "segment/occurrence.h"
#include "segment/renewal.h"

typedef struct Finding
{
	const Program *program;
	const Segment *segment;
	const Facts *facts;
	TimestampTz since;
	List	   *found;
} Finding;

static TimestampTz
since(const Segment *segment, TimestampTz at)
{
	TimestampTz oldest = at - segment->trigger_window;

	return Max(segment->trigger_since, oldest);
}

/* A span that began before we look was begun by then: it is not new. */
static void
met(void *context, int kind, int event, const TimeSpan *spans, int nspans)
{
	Finding    *finding = context;

	for (int i = 0; i < nspans; i++)
	{
		Occurrence *occurrence;

		if (spans[i].from <= finding->since)
			continue;
		occurrence = palloc(sizeof(Occurrence));
		occurrence->segment = finding->segment->id;
		occurrence->kind = finding->program->kinds[kind].name;
		occurrence->event_at = finding->facts->kinds[kind].at[event];
		occurrence->started_at = spans[i].from;
		finding->found = lappend(finding->found, occurrence);
		break;
	}
}

List *
occurrences_find(Evaluation *evaluation, const Program *program, const Segment *segment, const Facts *facts, TimestampTz at,
				 List *occurrences)
{
	Finding		finding = {program, segment, facts, since(segment, at), occurrences};

	if (finding.since < at)
		evaluation_occurrences(evaluation, segment->root, finding.since, at + 1, false, 0, met, &finding);
	return finding.found;
}

Occurrence *
occurrence_of_entry(const Segment *segment, TimestampTz at)
{
	Occurrence *occurrence = palloc(sizeof(Occurrence));

	occurrence->segment = segment->id;
	occurrence->kind = "";
	occurrence->event_at = at;
	occurrence->started_at = at;
	return occurrence;
}

TimestampTz
occurrences_since(const SegmentProgram *segments, TimestampTz at)
{
	TimestampTz result = at;

	for (int d = 0; d < segments->ndynamic; d++)
	{
		if (segments->dynamic[d]->trigger)
			result = Min(result, since(segments->dynamic[d], at));
	}
	return result;
}

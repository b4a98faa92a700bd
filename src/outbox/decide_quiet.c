/*
 * decide_quiet.c
 *		Quiet hours, by the clocks of customers.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/date.h"

#include "base/kept_plan.h"
#include "base/row.h"
#include "compat.h"
#include "outbox/decide_private.h"

/* An instant to which a channel's quiet hours put off, in a zone. */
typedef struct QuietEnd
{
	const char *channel;
	text	   *zone;
	TimestampTz until;			/* DT_NOBEGIN: it is not quiet there */
} QuietEnd;

static const QuietEnd *
quiet_end(List **known, const Decision *decision, const char *channel, text *zone, Datum from, Datum to)
{
	static SPIPlanPtr kept = NULL;
	Oid			types[] = {TIMESTAMPTZOID, TIMEOID, TIMEOID, TEXTOID};
	Datum		values[] = {TimestampTzGetDatum(decision->at), from, to, PointerGetDatum(zone)};
	QuietEnd   *end;
	ListCell   *cell;

	foreach(cell, *known)
	{
		end = lfirst(cell);
		if (strcmp(end->channel, channel) == 0 && VARSIZE_ANY(end->zone) == VARSIZE_ANY(zone) &&
			memcmp(end->zone, zone, VARSIZE_ANY(zone)) == 0)
			return end;
	}
	end = palloc(sizeof(QuietEnd));
	end->channel = channel;
	end->zone = zone;
	kept_execute(&kept, "SELECT crm.quiet_until($1, $2, $3, $4)", 4, types, values, NULL, true);
	end->until = row_instant(0, 1, DT_NOBEGIN);
	SPI_freetuptable(SPI_tuptable);
	*known = lappend(*known, end);
	return end;
}

void
decide_by_quiet_hours(Decision *decision)
{
	static SPIPlanPtr kept = NULL;
	SPITupleTable *rules;
	uint64		nrules = kept_execute(&kept, "SELECT r.channel, r.quiet_from, r.quiet_to FROM crm.channel_rule AS r "
									  "WHERE r.quiet_from IS NOT NULL", 0, NULL, NULL, NULL, true);
	List	   *known = NIL;

	rules = SPI_tuptable;
	for (uint64 r = 0; r < nrules; r++)
	{
		bool		isnull;
		char	   *channel = SPI_getvalue(rules->vals[r], rules->tupdesc, 1);
		Datum		from = SPI_getbinval(rules->vals[r], rules->tupdesc, 2, &isnull);
		Datum		to = SPI_getbinval(rules->vals[r], rules->tupdesc, 3, &isnull);

		for (int i = 0; i < decision->count; i++)
		{
			DueMessage *message = &decision->messages[i];
			const QuietEnd *end;
			const char *error;

			if (message->verdict != NULL || message->transactional || strcmp(message->channel, channel) != 0)
				continue;
			if (decision->zones == NULL)
			{
				int			npersons;
				int64	   *persons = due_persons(decision->messages, decision->count, true, &npersons);

				decision->zones = zones_load(npersons, persons);
			}
			error = zone_error(decision->zones, message->person);
			if (error != NULL)
			{
				due_put_off(message, error, decision->at);
				continue;
			}
			end = quiet_end(&known, decision, message->channel, zone_of(decision->zones, message->person), from, to);
			if (end->until != DT_NOBEGIN)
			{
				message->verdict = "quiet hours";
				message->put_off = true;
				message->until = end->until;
			}
		}
	}
	SPI_freetuptable(rules);
}

/*
 * rfm.h
 *		Recency, frequency, monetary: the score of a customer, and the scores of a whole population.
 *
 * A population (rfm_population.h) is read from the feed or aggregated by any query; binning happens afterwards, so that one
 * population can be scored in several ways. For other slices and for crm.refresh_scores(), rfm_read_population() and
 * rfm_score_population() are all that is needed.
 */
#ifndef CRM_RFM_H
#define CRM_RFM_H

#include "postgres.h"

#include "fmgr.h"

#include "score/rfm_population.h"

/* crm.rfm: the three scores, 1 to 9 each, as bytes of an integer, so that its order is by r, then f, then m. */
typedef uint32 RfmScore;

#define RFM_MIN_BINS 2
#define RFM_MAX_BINS 9

#define rfm_make(r, f, m) ((RfmScore) (((uint32) (r) << 16) | ((uint32) (f) << 8) | (uint32) (m)))
#define rfm_recency(score) ((int) ((score) >> 16))
#define rfm_frequency(score) ((int) (((score) >> 8) & 0xff))
#define rfm_monetary(score) ((int) ((score) & 0xff))

#define DatumGetRfm(x) DatumGetUInt32(x)
#define RfmGetDatum(x) UInt32GetDatum(x)
#define PG_GETARG_RFM(n) DatumGetRfm(PG_GETARG_DATUM(n))
#define PG_RETURN_RFM(x) return RfmGetDatum(x)

/*
 * How values become bins. N customers, b bins, worst value first; recency is worst when it is longest.
 */
typedef enum RfmMethod
{
	RFM_QUANTILE,				/* 1 + floor(b * (customers who are strictly worse) / N): equal values together */
	RFM_NTILE,					/* SQL's ntile(b), equal values by customer */
	RFM_R,						/* package rfm of R: inner type-7 quantiles plus 1, half-open */
	RFM_PANDAS,					/* qcut(rank(method='first')): k-th smallest in bin ceil(b * (k - 1) / (N - 1)) */
	RFM_FIXED					/* bounds that are given */
} RfmMethod;

/* To what day recency is counted. */
typedef enum RfmRecencyTo
{
	RFM_TO_AT,					/* the day of the instant "at" */
	RFM_TO_LAST,				/* the day of the population's last row */
	RFM_TO_NEXT					/* the day after it */
} RfmRecencyTo;

typedef enum RfmDimension
{
	RFM_R_DIMENSION,
	RFM_F_DIMENSION,
	RFM_M_DIMENSION
} RfmDimension;

#define RFM_DIMENSIONS 3

typedef struct RfmScoring
{
	TimestampTz at;
	RfmRecencyTo recency_to;
	RfmMethod	method;
	int			bins[RFM_DIMENSIONS];
	Decimal    *bounds[RFM_DIMENSIONS]; /* bins - 1 of them, ascending, for RFM_FIXED */
	const char *zone;			/* in which days are days */
} RfmScoring;

/* Customers ascending by id; i-th elements belong together. Monetary is rfm_population_total(population, index[i]). */
typedef struct RfmResult
{
	uint32		count;
	uint32	   *index;			/* among the population's customers */
	int32	   *recency;		/* days */
	int64	   *frequency;
	RfmScore   *score;
} RfmResult;

/* rfm_bins.c. Everything in CurrentMemoryContext. */
extern void rfm_score_population(RfmPopulation *population, const RfmScoring *scoring, RfmResult *result);

/* What is read of the feed. */
typedef struct RfmReading
{
	const char *kind;			/* of the events: "order" */
	const char *amount;			/* the property that is money: "amount" */
	TimestampTz since;			/* only events at or after it */
	TimestampTz until;			/* and not after this */
	bool		refunds;		/* events with a negative amount count, too */
	RfmCounting counting;
	const char *zone;
} RfmReading;

/*
 * rfm_feed.c: the population that the feed tells of, in CurrentMemoryContext. Reads under the active snapshot. Errors: 42704
 * when the kind is not defined, 42703 or 42804 when the amount is no number of it.
 */
extern RfmPopulation *rfm_read_population(const RfmReading *reading);

/* Two populations by one pass: of events not after "before", and of those not after reading->until. */
extern void rfm_read_populations(const RfmReading *reading, TimestampTz before, RfmPopulation **first,
								 RfmPopulation **second);

/* rfm_options.c: arguments that the SQL functions have in common. Errors 22023, 22004. */
extern RfmCounting rfm_parse_counting(const char *word);
extern const char *rfm_counting_name(RfmCounting counting);
extern const char *rfm_zone_of(const RfmPopulation *population, const char *zone);
extern void rfm_get_scoring(FunctionCallInfo fcinfo, int at, int first, RfmScoring *scoring);

/* rfm_segment.c: the segments that a map names, for each score. */
typedef struct RfmMap
{
	char	   *names[RFM_MAX_BINS][RFM_MAX_BINS][RFM_MAX_BINS];	/* [r - 1][f - 1][m - 1]; NULL: none */
} RfmMap;

extern RfmMap *rfm_map_load(const char *name);	/* in CurrentMemoryContext; error 42704 if there is no such map */

static inline const char *
rfm_map_segment(const RfmMap *map, RfmScore score)
{
	return map->names[rfm_recency(score) - 1][rfm_frequency(score) - 1][rfm_monetary(score) - 1];
}

#endif							/* CRM_RFM_H */

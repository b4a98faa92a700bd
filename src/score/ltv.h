/*
 * ltv.h
 *		LTV = ARPA * margin / churn rate, of a population's months.
 */
#ifndef CRM_LTV_H
#define CRM_LTV_H

#include "postgres.h"

#include "utils/timestamp.h"

#include "score/rfm_population.h"

#define LTV_MAX_MONTHS 1200

/* Month 0 is the one before the first that counts: who was active in it may churn in month 1. */
typedef struct LtvMonths
{
	int			count;			/* that count; there is one more */
	DateADT		start;			/* of month 1 */
	DateADT    *end;			/* of each month: the first day after it */
	DateADT    *active_from;	/* whose last order is not before it is active */
} LtvMonths;

typedef struct LtvSums
{
	int64		customers;		/* active in any of the months */
	DecimalSum	revenue;
	int64		active;			/* sum over the months */
	int64		at_risk;		/* of those active in the month before */
	int64		churned;		/* of those not active any more */
} LtvSums;

/* Columns from customers on, as crm.ltv_of gives them. */
#define LTV_COLUMNS 9

/* The last whole months before the instant; errors 22023. */
extern void ltv_init_months(LtvMonths *months, TimestampTz until, int count, const Interval *active_within,
							const char *zone);

/* Adds what a customer of a population counted by days or orders did in these months. */
extern void ltv_add_customer(const LtvMonths *months, const RfmPopulation *population, uint32 customer, RfmDays *days,
							 LtvSums *sums);

extern void ltv_check_margin(Numeric margin);
extern void ltv_answer(const LtvSums *sums, Numeric margin, Datum *values, bool *nulls);

#endif							/* CRM_LTV_H */

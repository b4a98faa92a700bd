/*
 * clv.h
 *		What customers will be worth: BG/NBD for how many orders, Gamma-Gamma for their value.
 *
 * Notation is that of the papers: x repeat orders, the last of them t_x after the first, which was t ago (Fader, Hardie, Lee:
 * "Counting your customers" the easy way, 2005; Fader, Hardie: The Gamma-Gamma model of monetary value, 2013).
 */
#ifndef CRM_CLV_H
#define CRM_CLV_H

#include "postgres.h"

#include "fmgr.h"

#include "score/rfm_population.h"

#define DAYS_OF_MONTH (365.2425 / 12)
#define CLV_MAX_MONTHS 1200

/* A customer, as crm.clv_fit is told of him. Also on disk, in crm.clv_sample. */
typedef struct ClvCustomer
{
	double		x;
	double		t_x;			/* 0 when x is */
	double		t;
	double		value;			/* mean of the repeat orders; NaN when it is not known */
} ClvCustomer;

/* crm.clv_model */
typedef struct ClvModel
{
	double		r;				/* BG/NBD; NaN when there is none */
	double		alpha;
	double		a;
	double		b;
	double		p;				/* Gamma-Gamma; NaN when there is none */
	double		q;
	double		v;
	int64		customers;
	int64		repeaters;
	double		log_likelihood;
	double		value_log_likelihood;
	int			iterations;
	bool		converged;
	bool		value_converged;
	char	   *reason;			/* NULL: both converged */
} ClvModel;

/* clv_math.c */
extern double clv_digamma(double x);	/* derivative of ln gamma, x > 0 */
extern double clv_trigamma(double x);	/* and its derivative */
extern double clv_log_rising(double x, double n, double *first, double *second);

/*
 * clv_optimise.c: the maximum of a function of up to CLV_MAX_PARAMETERS positive parameters, whose value, gradient and matrix
 * of second derivatives are known.
 */
#define CLV_MAX_PARAMETERS 4

typedef double (*ClvObjective) (const void *context, const double *parameters, double *gradient,
								double (*hessian)[CLV_MAX_PARAMETERS]);

typedef struct ClvMaximum
{
	double		parameters[CLV_MAX_PARAMETERS];
	double		value;
	int			iterations;
	bool		converged;
	int			runaway;		/* the parameter that tends to 0 or infinity, or -1 */
} ClvMaximum;

extern void clv_maximise(ClvObjective objective, const void *context, int nparameters, const double *start,
						 ClvMaximum *maximum);

/* clv_bgnbd.c, clv_expect.c, clv_gamma.c: the likelihoods, and what follows from the parameters. */
extern double clv_log_likelihood(const ClvModel *model, double x, double t_x, double t);
extern double clv_p_alive(const ClvModel *model, double x, double t_x, double t);
extern double clv_expected_orders(const ClvModel *model, double x, double t_x, double t, double horizon);
extern double clv_value_log_likelihood(const ClvModel *model, double x, double value);
extern double clv_expected_value(const ClvModel *model, double x, double value);	/* NaN when there is none */

/* Parts of expected_orders: the orders expected were he alive (of x and t only), and by what to divide them. */
extern double clv_orders_if_alive(const ClvModel *model, double x, double t, double horizon);
extern double clv_odds(const ClvModel *model, double x, double t_x, double t);

/* Fitting; the customers are sorted by it. */
extern void clv_fit_orders(ClvCustomer *customers, Size count, ClvModel *model);
extern void clv_fit_values(ClvCustomer *customers, Size count, ClvModel *model);
extern void clv_fit(ClvCustomer *customers, Size count, ClvModel *model);

/* clv_model.c: the model as an SQL value. Error 22023 when a parameter that is there is not positive. */
extern bool clv_has_orders(const ClvModel *model);
extern bool clv_has_values(const ClvModel *model);
extern void clv_get_model(FunctionCallInfo fcinfo, int argument, ClvModel *model);
extern Datum clv_model_datum(FunctionCallInfo fcinfo, const ClvModel *model);

/* clv_feed.c: of a population counted by days or orders. */
typedef struct ClvSummary
{
	uint32		count;
	uint32	   *index;			/* among the population's customers, ascending by id */
	ClvCustomer *customers;
} ClvSummary;

typedef struct ClvHorizon
{
	int			months;
	double		discount;		/* a year */
	double		margin;
	double		unit_days;
} ClvHorizon;

/* i-th elements belong to the i-th of the summary; NaN where the model has no answer. */
typedef struct ClvForecast
{
	double	   *p_alive;
	double	   *orders;
	double	   *value;
	double	   *clv;
} ClvForecast;

extern void clv_summarise(RfmPopulation *population, TimestampTz until, double unit_days, const char *zone,
						  ClvSummary *summary);
extern void clv_forecast(const ClvModel *model, const ClvSummary *summary, const ClvHorizon *horizon,
						 ClvForecast *forecast);
extern double clv_discounted_orders(const ClvModel *model, double x, double t, const ClvHorizon *horizon);
extern void clv_check_horizon(const ClvHorizon *horizon);

#endif							/* CRM_CLV_H */

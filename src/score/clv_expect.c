/*
 * clv_expect.c
 *		How many orders BG/NBD expects of a customer.
 *
 * Of a customer who has not dropped out, in the time h after t,
 *
 *		(a + b + x - 1) / (a - 1) * (1 - (1 - z)^(r + x) * 2F1(r + x, b + x; a + b + x - 1; z)),	z = h / (alpha + t + h)
 *
 * which as it stands overflows for many orders, and is 0 / 0 at a = 1. Euler's transformation makes of the power and the
 * series (1 - z)^(a - 1) * 2F1(d, a - 1; c; z), with c = a + b + x - 1 and d = a + b - 1 - r, in which nothing grows with x.
 * Every term of that series but the first has the factor a - 1, which is divided out: with u = (a - 1) ln(1 - z) and
 * S = c (2F1 - 1) / (a - 1), the result is -c ln(1 - z) (exp(u) - 1) / u  -  exp(u) S.
 *
 * The series is slow where z is close to 1 (a horizon much longer than the customer's age), and its terms alternate and
 * cancel where d is far below 0. There the same is computed as the mean over the probability p to drop out, which is
 * beta(a, b + x) distributed, of (1 - ((alpha + t) / (alpha + t + p h))^(r + x)) / p.
 *
 * When customers hardly differ in p, a and b are large: then exp(u) vanishes while S is beyond all numbers, and p^a, which
 * the quadrature goes by, is too small for one. There, and in the corner where neither of the two is good, the mean is taken
 * over the logit of p, which is nearly normal then.
 */
#include "postgres.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

#include "score/clv.h"

/* Where the series is good, and below which u it cannot be computed */
#define SERIES_MAX_Z 0.99
#define SERIES_MIN_D (-12.0)
#define SERIES_MIN_U (-600.0)

/* Below this the quadrature cannot reach into the corner at p = 1; and beyond this not to a typical -ln p^a. */
#define QUADRATURE_MIN_BX 0.06
#define QUADRATURE_MAX_LOG 300.0

static double
by_series(const ClvModel *model, double x, double t, double horizon)
{
	double		z = horizon / (model->alpha + t + horizon);
	double		log_rest = -log1p(horizon / (model->alpha + t));
	double		c = model->a + model->b + x - 1;
	double		d = model->a + model->b - 1 - model->r;
	double		u = (model->a - 1) * log_rest;
	double		term = d * z;	/* (d)_n (a)_(n-1) / ((c + 1)_(n-1) n!) * z^n */
	double		series = term;

	for (double n = 1; fabs(term) > fabs(series) * DBL_EPSILON / 4 * (1 - z); n++)
	{
		/* with z next to 1 there are millions of them */
		CHECK_FOR_INTERRUPTS();
		term *= (d + n) * (model->a + n - 1) / ((c + n) * (n + 1)) * z;
		series += term;
	}
	return -c * log_rest * (u == 0 ? 1 : expm1(u) / u) - exp(u) * series;
}

/* (1 - ((alpha + t) / (alpha + t + p h))^(r + x)) / p */
static inline double
orders_at(const ClvModel *model, double x, double t, double horizon, double p)
{
	if (p * horizon < 1e-300)
		return (model->r + x) * horizon / (model->alpha + t);
	return -expm1(-(model->r + x) * log1p(p * horizon / (model->alpha + t))) / p;
}

/*
 * Of y = p^a, of which the density is flat where p is small, by the tanh-sinh rule: y = 1 / (1 + exp(-pi sinh s)) and the
 * trapezoid rule in s, the step being halved until nothing changes.
 */
static double
by_quadrature(const ClvModel *model, double x, double t, double horizon)
{
	const double limit = 6.0;
	double		a = model->a;
	double		bx = model->b + x;
	double		log_norm = lgamma(a + bx) - lgamma(a + 1) - lgamma(bx);
	double		step = 0.5;
	double		sum = 0;
	double		previous = -1;

	for (int level = 0; level < 9; level++)
	{
		/* The first time all points, and then those in the middle between them */
		double		first = level == 0 ? -limit : -limit + step;
		double		stride = level == 0 ? step : 2 * step;
		double		result;

		for (double s = first; s <= limit + step / 2; s += stride)
		{
			double		e = M_PI * sinh(s);
			double		log_y = e > 0 ? -log1p(exp(-e)) : e - log1p(exp(e));
			double		log_1y = e > 0 ? -e - log1p(exp(-e)) : -log1p(exp(e));
			double		log_p = log_y / a;
			double		p = exp(log_p);
			double		rest = -expm1(log_p);	/* 1 - p */

			if (rest <= 0)
				continue;
			sum += orders_at(model, x, t, horizon, p) *
				exp(log_norm + (bx - 1) * log(rest) + log_y + log_1y) * M_PI * cosh(s);
		}
		result = sum * step;
		if (level > 2 && fabs(result - previous) <= 1e-12 * fabs(result))
			return result;
		previous = result;
		step /= 2;
	}
	return previous;
}

/*
 * Of the logit of p, by the trapezoid rule in s, the logit being m + w sinh(s) with m that of the density's peak and w its
 * standard deviation. The density is divided by its sum over the same points, for what gamma functions say of large numbers
 * is not exact.
 */
static double
by_logit(const ClvModel *model, double x, double t, double horizon)
{
	const double limit = 6.0;
	double		a = model->a;
	double		bx = model->b + x;
	double		peak = log(a / bx);
	double		width = sqrt(clv_trigamma(a) + clv_trigamma(bx));
	double		peak_log_p = -log1p(bx / a);
	double		peak_log_1p = -log1p(a / bx);
	double		step = 0.5;
	double		sum = 0;
	double		weights = 0;
	double		previous = -1;

	for (int level = 0; level < 13; level++)
	{
		double		first = level == 0 ? -limit : -limit + step;
		double		stride = level == 0 ? step : 2 * step;
		double		result;

		CHECK_FOR_INTERRUPTS();
		for (double s = first; s <= limit + step / 2; s += stride)
		{
			double		logit = peak + width * sinh(s);
			double		log_p = logit > 0 ? -log1p(exp(-logit)) : logit - log1p(exp(logit));
			double		log_1p = logit > 0 ? -logit - log1p(exp(-logit)) : -log1p(exp(logit));
			double		weight = exp(a * (log_p - peak_log_p) + bx * (log_1p - peak_log_1p)) * cosh(s);

			weights += weight;
			sum += weight * orders_at(model, x, t, horizon, exp(log_p));
		}
		result = sum / weights;
		if (level > 2 && fabs(result - previous) <= 1e-12 * fabs(result))
			return result;
		previous = result;
		step /= 2;
	}
	return previous;
}

double
clv_orders_if_alive(const ClvModel *model, double x, double t, double horizon)
{
	double		z = horizon / (model->alpha + t + horizon);
	double		u = -(model->a - 1) * log1p(horizon / (model->alpha + t));
	double		d = model->a + model->b - 1 - model->r;
	double		bx = model->b + x;
	double		result;

	CHECK_FOR_INTERRUPTS();
	if ((z > SERIES_MAX_Z || d < SERIES_MIN_D) && bx >= QUADRATURE_MIN_BX)
		result = model->a * log1p(bx / model->a) > QUADRATURE_MAX_LOG ? by_logit(model, x, t, horizon) :
			by_quadrature(model, x, t, horizon);
	else
		result = u < SERIES_MIN_U || d < SERIES_MIN_D ? by_logit(model, x, t, horizon) :
			by_series(model, x, t, horizon);

	/* What rounding leaves of next to nothing is not to be negative. */
	return Max(result, 0);
}

double
clv_expected_orders(const ClvModel *model, double x, double t_x, double t, double horizon)
{
	return clv_orders_if_alive(model, x, t, horizon) / (1 + clv_odds(model, x, t_x, t));
}

/*
 * The orders of each month, if alive, discounted from its end.
 */
double
clv_discounted_orders(const ClvModel *model, double x, double t, const ClvHorizon *horizon)
{
	double		month = DAYS_OF_MONTH / horizon->unit_days;
	double		before = 0;
	double		sum = 0;

	for (int i = 1; i <= horizon->months; i++)
	{
		double		orders = clv_orders_if_alive(model, x, t, month * i);

		sum += (orders - before) * exp(-log1p(horizon->discount) * i / 12);
		before = orders;
	}
	return sum;
}

void
clv_check_horizon(const ClvHorizon *horizon)
{
	if (horizon->months < 1 || horizon->months > CLV_MAX_MONTHS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there cannot be %d months", horizon->months),
				 errdetail("There can be 1 to %d.", CLV_MAX_MONTHS)));
	if (!(horizon->discount > -1) || !isfinite(horizon->discount))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("discount must be above -1"),
				 errhint("A discount of 10 percent a year is 0.1.")));
	if (!isfinite(horizon->margin))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("margin must be a number"),
				 errhint("A margin of 20 percent is 0.2.")));
	if (!(horizon->unit_days > 0) || !isfinite(horizon->unit_days))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"%s\" must be positive", "unit_days")));
}

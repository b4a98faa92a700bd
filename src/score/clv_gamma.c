/*
 * clv_gamma.c
 *		Gamma-Gamma: the value of a customer's orders varies about his own mean, and the means vary among customers.
 *
 * The likelihood of the mean value m of x orders is
 *
 *		gamma(p x + q) / (gamma(p x) gamma(q)) * v^q m^(p x - 1) x^(p x) / (v + m x)^(p x + q)
 */
#include "postgres.h"

#include <math.h>

#include "score/clv.h"

enum
{
	P,
	Q,
	V
};

/* Customers of the same x and mean value */
typedef struct Point
{
	double		x;
	double		m;
	double		count;
} Point;

typedef struct Points
{
	Size		count;
	Point	   *points;			/* ascending by x */
} Points;

static double
log_of_x(double p, double q, double v, double x)
{
	return lgamma(p * x + q) - lgamma(p * x) - lgamma(q) + q * log(v);
}

double
clv_value_log_likelihood(const ClvModel *model, double x, double value)
{
	double		px = model->p * x;

	return log_of_x(model->p, model->q, model->v, x) - log(value) + px * (log(value) + log(x)) -
		(px + model->q) * log(model->v + value * x);
}

static double
log_likelihood(const void *context, const double *parameters, double *gradient, double (*hessian)[CLV_MAX_PARAMETERS])
{
	const Points *points = context;
	double		p = parameters[P];
	double		q = parameters[Q];
	double		v = parameters[V];
	double		value = 0;
	double		at_q = clv_digamma(q);
	double		at2_q = clv_trigamma(q);
	Size		i = 0;

	memset(gradient, 0, sizeof(double) * CLV_MAX_PARAMETERS);
	memset(hessian, 0, sizeof(double) * CLV_MAX_PARAMETERS * CLV_MAX_PARAMETERS);
	while (i < points->count)
	{
		double		x = points->points[i].x;
		double		px = p * x;
		double		at_pxq = clv_digamma(px + q);
		double		at2_pxq = clv_trigamma(px + q);
		double		count = 0;

		for (; i < points->count && points->points[i].x == x; i++)
		{
			double		n = points->points[i].count;
			double		m = points->points[i].m;
			double		log_m = log(m);
			double		total = v + m * x;
			double		log_total = log(total);
			double		log_mx = log_m + log(x);

			count += n;
			value += n * (-log_m + px * log_mx - (px + q) * log_total);
			gradient[P] += n * x * (log_mx - log_total);
			gradient[Q] -= n * log_total;
			gradient[V] -= n * (px + q) / total;
			hessian[P][V] -= n * x / total;
			hessian[Q][V] -= n / total;
			hessian[V][V] += n * (px + q) / (total * total);
		}
		value += count * log_of_x(p, q, v, x);
		gradient[P] += count * x * (at_pxq - clv_digamma(px));
		gradient[Q] += count * (at_pxq - at_q + log(v));
		gradient[V] += count * q / v;
		hessian[P][P] += count * x * x * (at2_pxq - clv_trigamma(px));
		hessian[P][Q] += count * x * at2_pxq;
		hessian[Q][Q] += count * (at2_pxq - at2_q);
		hessian[Q][V] += count / v;
		hessian[V][V] -= count * q / (v * v);
	}
	for (int j = 0; j < CLV_MAX_PARAMETERS; j++)
	{
		for (int k = 0; k < j; k++)
			hessian[j][k] = hessian[k][j];
	}
	return value;
}

static int
compare_values(const void *left, const void *right)
{
	const ClvCustomer *a = left;
	const ClvCustomer *b = right;

	if (a->x != b->x)
		return a->x < b->x ? -1 : 1;
	return (a->value > b->value) - (a->value < b->value);
}

/*
 * Fits to the customers with repeat orders of known, positive value. They are moved to the front.
 */
void
clv_fit_values(ClvCustomer *customers, Size count, ClvModel *model)
{
	static const char *const runaway[] = {"p", "q", "v"};
	static const double starts[][3] = {{6, 4, 0.5}, {1, 3, 2}, {2, 1.5, 0.25}};
	Points		points = {0};
	ClvMaximum	best = {.value = -INFINITY};
	Size		n = 0;
	double		mean = 0;
	const char *reason = NULL;

	for (Size i = 0; i < count; i++)
	{
		if (customers[i].x > 0 && customers[i].value > 0)
			customers[n++] = customers[i];
	}
	model->repeaters = (int64) n;
	model->p = model->q = model->v = model->value_log_likelihood = NAN;
	model->value_converged = false;
	if (n == 0)
		reason = "Gamma-Gamma: no customer has a repeat order of known, positive value";
	else
	{
		qsort(customers, n, sizeof(ClvCustomer), compare_values);
		points.points = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Point) * n);
		for (Size i = 0; i < n; i++)
		{
			Point	   *point = &points.points[points.count];

			mean += customers[i].value / n;
			if (points.count > 0 && point[-1].x == customers[i].x && point[-1].m == customers[i].value)
			{
				point[-1].count++;
				continue;
			}
			point->x = customers[i].x;
			point->m = customers[i].value;
			point->count = 1;
			points.count++;
		}
		for (Size i = 0; i < points.count; i++)
			points.points[i].m /= mean;
		for (int i = 0; i < (int) lengthof(starts); i++)
		{
			ClvMaximum	maximum;

			clv_maximise(log_likelihood, &points, 3, starts[i], &maximum);
			model->iterations += maximum.iterations;
			if (maximum.value > best.value + (best.converged && !maximum.converged ? 1e-6 : 0) ||
				(maximum.converged && !best.converged && maximum.value > best.value - 1e-6))
				best = maximum;
		}
		pfree(points.points);

		if (!isfinite(best.value))
			reason = "Gamma-Gamma: the likelihood is out of range";
		else
		{
			/* A density of money is in units of money to the power of -1. */
			model->value_log_likelihood = best.value - (double) n * log(mean);
			model->value_converged = best.converged;
			model->p = best.parameters[P];
			model->q = best.parameters[Q];
			model->v = best.parameters[V] * mean;
		}
		if (reason == NULL && !best.converged)
			reason = best.runaway >= 0 ?
				psprintf("Gamma-Gamma: %s tends to %s", runaway[best.runaway],
						 best.parameters[best.runaway] < 1 ? "0" : "infinity") :
				psprintf("Gamma-Gamma: no maximum was found in %d steps", best.iterations);
	}
	if (reason != NULL)
		model->reason = model->reason == NULL ? pstrdup(reason) : psprintf("%s; %s", model->reason, reason);
}

void
clv_fit(ClvCustomer *customers, Size count, ClvModel *model)
{
	memset(model, 0, sizeof(ClvModel));
	clv_fit_orders(customers, count, model);
	clv_fit_values(customers, count, model);
}

/*
 * p (v + m x) / (p x + q - 1)
 */
double
clv_expected_value(const ClvModel *model, double x, double value)
{
	double		divisor = model->p * x + model->q - 1;

	if (divisor <= 0)
		return NAN;
	return model->p * (model->v + (x > 0 ? value * x : 0)) / divisor;
}

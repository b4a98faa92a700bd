/*
 * clv_bgnbd.c
 *		BG/NBD: customers buy at random, at rates that are gamma distributed, and drop out after an order with a probability
 *		that is beta distributed.
 *
 * The likelihood of a customer is
 *
 *		gamma(r + x) / gamma(r) * alpha^r * gamma(a + b) gamma(b + x) / (gamma(b) gamma(a + b + x)) *
 *		((alpha + t)^-(r + x)  +  [x > 0] a / (b + x - 1) * (alpha + t_x)^-(r + x))
 *
 * whose powers overflow or vanish for many orders; so the sum is taken of their logarithms, the greater one being taken out
 * of it. Terms of x alone are computed once for each x, and all others once for each x, t_x and t.
 */
#include "postgres.h"

#include <math.h>

#include "score/clv.h"

enum
{
	R,
	ALPHA,
	A,
	B
};

/* Customers of the same x, t_x and t */
typedef struct Point
{
	double		x;
	double		t_x;
	double		t;
	double		count;
} Point;

typedef struct Points
{
	Size		count;
	Point	   *points;			/* ascending by x */
} Points;

/* The logarithms of the two summands; the second one only for x > 0 */
static inline double
log_alive(double r, double alpha, double x, double t)
{
	return -(r + x) * log(alpha + t);
}

static inline double
log_gone(double r, double alpha, double a, double b, double x, double t_x)
{
	return log(a / (b + x - 1)) - (r + x) * log(alpha + t_x);
}

double
clv_log_likelihood(const ClvModel *model, double x, double t_x, double t)
{
	double		alive = log_alive(model->r, model->alpha, x, t);
	double		first;
	double		second;
	double		result = model->r * log(model->alpha) + clv_log_rising(model->r, x, &first, &second) +
		clv_log_rising(model->b, x, &first, &second) - clv_log_rising(model->a + model->b, x, &first, &second);
	double		gone;

	if (x == 0)
		return result + alive;
	gone = log_gone(model->r, model->alpha, model->a, model->b, x, t_x);
	return result + Max(alive, gone) + log1p(exp(-fabs(alive - gone)));
}

/*
 * The log-likelihood of all, with its first and second derivatives by r, alpha, a and b.
 */
static double
log_likelihood(const void *context, const double *parameters, double *gradient, double (*hessian)[CLV_MAX_PARAMETERS])
{
	const Points *points = context;
	double		r = parameters[R];
	double		alpha = parameters[ALPHA];
	double		a = parameters[A];
	double		b = parameters[B];
	double		value = 0;
	Size		i = 0;

	memset(gradient, 0, sizeof(double) * CLV_MAX_PARAMETERS);
	memset(hessian, 0, sizeof(double) * CLV_MAX_PARAMETERS * CLV_MAX_PARAMETERS);

	while (i < points->count)
	{
		double		x = points->points[i].x;
		double		rx = r + x;
		double		bx = b + x - 1;
		double		count = 0;
		double		sum = 0;
		double		r1,
					r2,
					b1,
					b2,
					ab1,
					ab2;

		for (; i < points->count && points->points[i].x == x; i++)
		{
			const Point *point = &points->points[i];
			double		n = point->count;
			double		log_t = log(alpha + point->t);
			double		u = 1 / (alpha + point->t);
			double		alive = -rx * log_t;
			double		log_tx;
			double		w_gone;
			double		v;
			double		gone;
			double		w;
			double		d_r;
			double		d_alpha;

			count += n;
			if (x == 0)
			{
				sum += n * alive;
				gradient[R] -= n * log_t;
				gradient[ALPHA] -= n * rx * u;
				hessian[R][ALPHA] -= n * u;
				hessian[ALPHA][ALPHA] += n * rx * u * u;
				continue;
			}
			log_tx = log(alpha + point->t_x);
			v = 1 / (alpha + point->t_x);
			gone = log(a / bx) - rx * log_tx;

			/* w is the share of the second summand, and w_gone the product of both shares */
			if (alive >= gone)
			{
				double		ratio = exp(gone - alive);

				sum += n * (alive + log1p(ratio));
				w = ratio / (1 + ratio);
				w_gone = ratio / ((1 + ratio) * (1 + ratio));
			}
			else
			{
				double		ratio = exp(alive - gone);

				sum += n * (gone + log1p(ratio));
				w = 1 / (1 + ratio);
				w_gone = ratio / ((1 + ratio) * (1 + ratio));
			}

			/* By how much more the second summand grows than the first */
			d_r = log_t - log_tx;
			d_alpha = rx * (u - v);

			gradient[R] += n * (-log_t + w * d_r);
			gradient[ALPHA] += n * (-rx * u + w * d_alpha);
			gradient[A] += n * w / a;
			gradient[B] -= n * w / bx;

			hessian[R][R] += n * w_gone * d_r * d_r;
			hessian[R][ALPHA] += n * (-u + w * (u - v) + w_gone * d_r * d_alpha);
			hessian[R][A] += n * w_gone * d_r / a;
			hessian[R][B] -= n * w_gone * d_r / bx;
			hessian[ALPHA][ALPHA] += n * (rx * u * u + w * rx * (v * v - u * u) + w_gone * d_alpha * d_alpha);
			hessian[ALPHA][A] += n * w_gone * d_alpha / a;
			hessian[ALPHA][B] -= n * w_gone * d_alpha / bx;
			hessian[A][A] += n * (-w + w_gone) / (a * a);
			hessian[A][B] -= n * w_gone / (a * bx);
			hessian[B][B] += n * (w + w_gone) / (bx * bx);
		}

		/* The terms of x alone */
		value += sum + count * (r * log(alpha) + clv_log_rising(r, x, &r1, &r2) + clv_log_rising(b, x, &b1, &b2) -
								clv_log_rising(a + b, x, &ab1, &ab2));
		gradient[R] += count * (r1 + log(alpha));
		gradient[ALPHA] += count * r / alpha;
		gradient[A] -= count * ab1;
		gradient[B] += count * (b1 - ab1);
		hessian[R][R] += count * r2;
		hessian[R][ALPHA] += count / alpha;
		hessian[ALPHA][ALPHA] -= count * r / (alpha * alpha);
		hessian[A][A] -= count * ab2;
		hessian[A][B] -= count * ab2;
		hessian[B][B] += count * (b2 - ab2);
	}
	for (int j = 0; j < CLV_MAX_PARAMETERS; j++)
	{
		for (int k = 0; k < j; k++)
			hessian[j][k] = hessian[k][j];
	}
	return value;
}

static int
compare_customers(const void *left, const void *right)
{
	const ClvCustomer *p = left;
	const ClvCustomer *q = right;

	if (p->x != q->x)
		return p->x < q->x ? -1 : 1;
	if (p->t_x != q->t_x)
		return p->t_x < q->t_x ? -1 : 1;
	return (p->t > q->t) - (p->t < q->t);
}

/*
 * Starts from a few places, because the likelihood may have a ridge on which one of them is far away, and takes the best.
 */
void
clv_fit_orders(ClvCustomer *customers, Size count, ClvModel *model)
{
	static const char *const runaway[] = {"r", "alpha", "a", "b"};
	static const double starts[][2] = {{0.8, 2.5}, {0.05, 3}, {3, 3}};
	Points		points = {0};
	ClvMaximum	best = {.value = -INFINITY};
	double		mean_t = 0;
	double		mean_x = 0;

	model->customers = (int64) count;
	model->r = model->alpha = model->a = model->b = model->log_likelihood = NAN;
	model->converged = false;
	if (count == 0)
	{
		model->reason = pstrdup("BG/NBD: no customers");
		return;
	}

	qsort(customers, count, sizeof(ClvCustomer), compare_customers);
	points.points = MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Point) * count);
	for (Size i = 0; i < count; i++)
	{
		Point	   *point = &points.points[points.count];

		mean_t += customers[i].t / count;
		mean_x += customers[i].x / count;
		if (points.count > 0 && point[-1].x == customers[i].x && point[-1].t_x == customers[i].t_x &&
			point[-1].t == customers[i].t)
		{
			point[-1].count++;
			continue;
		}
		point->x = customers[i].x;
		point->t_x = customers[i].t_x;
		point->t = customers[i].t;
		point->count = 1;
		points.count++;
	}
	if (mean_x == 0)
	{
		model->reason = pstrdup("BG/NBD: no customer has a repeat order");
		return;
	}
	if (mean_t == 0)
	{
		model->reason = pstrdup("BG/NBD: no time was observed");
		return;
	}

	/* In units of the time observed, so that no parameter is large only because the unit is small */
	for (Size i = 0; i < points.count; i++)
	{
		points.points[i].t_x /= mean_t;
		points.points[i].t /= mean_t;
	}
	for (int i = 0; i < (int) lengthof(starts); i++)
	{
		double		start[CLV_MAX_PARAMETERS] = {0.5, 0.5 / Max(mean_x, 0.1), starts[i][0], starts[i][1]};
		ClvMaximum	maximum;

		clv_maximise(log_likelihood, &points, 4, start, &maximum);
		model->iterations += maximum.iterations;
		if (maximum.value > best.value + (best.converged && !maximum.converged ? 1e-6 : 0) ||
			(maximum.converged && !best.converged && maximum.value > best.value - 1e-6))
			best = maximum;
	}
	pfree(points.points);

	if (!isfinite(best.value))
	{
		model->reason = pstrdup("BG/NBD: the likelihood is out of range");
		return;
	}
	model->converged = best.converged;
	model->r = best.parameters[R];
	model->alpha = best.parameters[ALPHA] * mean_t;
	model->a = best.parameters[A];
	model->b = best.parameters[B];
	/* A density of x orders in time is in units of time to the power of -x. */
	model->log_likelihood = best.value - mean_x * (double) count * log(mean_t);
	if (best.converged)
		return;
	if (best.runaway >= 0)
		model->reason = psprintf("BG/NBD: %s tends to %s", runaway[best.runaway],
								 best.parameters[best.runaway] < 1 ? "0" : "infinity");
	else
		model->reason = psprintf("BG/NBD: no maximum was found in %d steps", best.iterations);
}

/*
 * a / (b + x - 1) * ((alpha + t) / (alpha + t_x))^(r + x): the odds that he has dropped out.
 */
double
clv_odds(const ClvModel *model, double x, double t_x, double t)
{
	if (x == 0)
		return 0;
	return exp(log_gone(model->r, model->alpha, model->a, model->b, x, t_x) -
			   log_alive(model->r, model->alpha, x, t));
}

double
clv_p_alive(const ClvModel *model, double x, double t_x, double t)
{
	return 1 / (1 + clv_odds(model, x, t_x, t));
}

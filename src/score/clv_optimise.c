/*
 * clv_optimise.c
 *		The maximum of a log-likelihood.
 *
 * Newton's method on the logarithms of the parameters, which keeps them positive, with a matrix of second derivatives that is
 * made definite where it is not, and with steps that are shortened until the likelihood rises. A library was considered:
 * NLopt brings LGPL code and a C++ run-time into the server, GSL is under the GPL, and both would be one more package for a
 * DBA to install, for problems of three and four parameters whose second derivatives are known in closed form. With these
 * there is no step size to tune, a narrow and curved ridge (such as that of a and b) costs no more steps than any other, and
 * at the end the curvature tells whether it is a maximum.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"

#include "score/clv.h"

#define MAX_ITERATIONS 200
#define MAX_STEP 3.0			/* in any logarithm */

/*
 * Half of gradient times step is what the likelihood would still gain; when it is less than this, the parameters are within
 * 10^-5 of their standard errors of the maximum.
 */
#define ENOUGH 1e-11

/*
 * A parameter beyond the first of these has run away: the likelihood rises for ever, if ever less. One beyond the second is
 * likely to be the reason why no maximum was found.
 */
#define RUNAWAY 1e7
#define EXTREME 1e3

/*
 * Solves matrix * x = b by Cholesky; false if the matrix is not positive definite.
 */
static bool
solve(int n, double (*matrix)[CLV_MAX_PARAMETERS], const double *b, double *x)
{
	double		l[CLV_MAX_PARAMETERS][CLV_MAX_PARAMETERS];

	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j <= i; j++)
		{
			double		sum = matrix[i][j];

			for (int k = 0; k < j; k++)
				sum -= l[i][k] * l[j][k];
			if (i == j)
			{
				/* What is left of the diagonal must be more than rounding leaves */
				if (!(sum > matrix[i][i] * 1e-13))
					return false;
				l[i][i] = sqrt(sum);
			}
			else
				l[i][j] = sum / l[j][j];
		}
	}
	for (int i = 0; i < n; i++)
	{
		x[i] = b[i];
		for (int k = 0; k < i; k++)
			x[i] -= l[i][k] * x[k];
		x[i] /= l[i][i];
	}
	for (int i = n - 1; i >= 0; i--)
	{
		for (int k = i + 1; k < n; k++)
			x[i] -= l[k][i] * x[k];
		x[i] /= l[i][i];
	}
	return true;
}

/*
 * The objective and its derivatives by the logarithms.
 */
static double
evaluate(ClvObjective objective, const void *context, int n, const double *logs, double *gradient,
		 double (*curvature)[CLV_MAX_PARAMETERS])
{
	double		parameters[CLV_MAX_PARAMETERS] = {0};
	double		hessian[CLV_MAX_PARAMETERS][CLV_MAX_PARAMETERS];
	double		value;

	for (int i = 0; i < n; i++)
		parameters[i] = exp(logs[i]);
	value = objective(context, parameters, gradient, hessian);
	for (int i = 0; i < n; i++)
	{
		for (int j = 0; j < n; j++)
			curvature[i][j] = -parameters[i] * parameters[j] * hessian[i][j];
		gradient[i] *= parameters[i];
		curvature[i][i] -= gradient[i];
	}
	return value;
}

void
clv_maximise(ClvObjective objective, const void *context, int nparameters, const double *start, ClvMaximum *maximum)
{
	int			n = nparameters;
	double		logs[CLV_MAX_PARAMETERS] = {0};
	double		gradient[CLV_MAX_PARAMETERS];
	double		curvature[CLV_MAX_PARAMETERS][CLV_MAX_PARAMETERS];
	double		value;
	double		damping = 0;

	for (int i = 0; i < n; i++)
		logs[i] = log(start[i]);
	maximum->converged = false;
	maximum->iterations = 0;
	maximum->runaway = -1;
	value = evaluate(objective, context, n, logs, gradient, curvature);

	while (maximum->iterations < MAX_ITERATIONS && maximum->runaway < 0 && isfinite(value))
	{
		double		damped[CLV_MAX_PARAMETERS][CLV_MAX_PARAMETERS];
		double		step[CLV_MAX_PARAMETERS];
		double		gain = 0;
		double		length = 0;
		double		next[CLV_MAX_PARAMETERS] = {0};
		double		next_gradient[CLV_MAX_PARAMETERS];
		double		next_curvature[CLV_MAX_PARAMETERS][CLV_MAX_PARAMETERS];
		double		next_value;

		CHECK_FOR_INTERRUPTS();
		memcpy(damped, curvature, sizeof(damped));
		for (int i = 0; i < n; i++)
			damped[i][i] += damping * (fabs(curvature[i][i]) + 1e-12);
		if (!solve(n, damped, gradient, step))
		{
			damping = Max(damping * 4, 1e-3);
			if (damping > 1e12)
				break;
			continue;
		}
		for (int i = 0; i < n; i++)
		{
			gain += gradient[i] * step[i] / 2;
			length = Max(length, fabs(step[i]));
		}
		if (damping == 0 && gain < ENOUGH)
		{
			maximum->converged = true;
			break;
		}
		if (length > MAX_STEP)
		{
			for (int i = 0; i < n; i++)
				step[i] *= MAX_STEP / length;
		}
		for (int i = 0; i < n; i++)
			next[i] = logs[i] + step[i];
		maximum->iterations++;
		next_value = evaluate(objective, context, n, next, next_gradient, next_curvature);

		/* Close to the maximum the value itself is but rounding; there the step is right. */
		if (!isfinite(next_value) || next_value < value - 1e-12 * fabs(value))
		{
			damping = Max(damping * 4, 1e-3);
			if (damping > 1e12)
				break;
			continue;
		}
		damping = damping < 1e-3 ? 0 : damping / 8;
		memcpy(logs, next, sizeof(logs));
		memcpy(gradient, next_gradient, sizeof(gradient));
		memcpy(curvature, next_curvature, sizeof(curvature));
		value = next_value;
		for (int i = 0; i < n; i++)
		{
			if (fabs(logs[i]) > log(RUNAWAY))
				maximum->runaway = i;
		}
	}
	if (!maximum->converged && maximum->runaway < 0)
	{
		double		furthest = log(EXTREME);

		for (int i = 0; i < n; i++)
		{
			if (fabs(logs[i]) > furthest)
			{
				furthest = fabs(logs[i]);
				maximum->runaway = i;
			}
		}
	}
	maximum->value = value;
	for (int i = 0; i < n; i++)
		maximum->parameters[i] = exp(logs[i]);
}

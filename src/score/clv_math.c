/*
 * clv_math.c
 *		Functions that the C library lacks.
 */
#include "postgres.h"

#include <math.h>

#include "score/clv.h"

/* From here on the asymptotic series are exact to the last digits. */
#define ASYMPTOTIC 10.0

/*
 * psi(x) = psi(x + 1) - 1 / x up to where the asymptotic series holds: Abramowitz and Stegun 6.3.18.
 */
double
clv_digamma(double x)
{
	double		result = 0;
	double		y;

	while (x < ASYMPTOTIC)
	{
		result -= 1 / x;
		x += 1;
	}
	y = 1 / (x * x);
	return result + log(x) - 0.5 / x -
		y * (1.0 / 12 - y * (1.0 / 120 - y * (1.0 / 252 - y * (1.0 / 240 - y * (1.0 / 132 - y * (691.0 / 32760 -
																								  y / 12))))));
}

/*
 * The same for its derivative: 6.4.12.
 */
double
clv_trigamma(double x)
{
	double		result = 0;
	double		y;

	while (x < ASYMPTOTIC)
	{
		result += 1 / (x * x);
		x += 1;
	}
	y = 1 / (x * x);
	return result + 1 / x + y / 2 +
		y / x * (1.0 / 6 - y * (1.0 / 30 - y * (1.0 / 42 - y * (1.0 / 30 - y * (5.0 / 66 - y * (691.0 / 2730 -
																								y * 7.0 / 6))))));
}

/* Up to here a sum is quicker, and exact where the difference of two gammas is not. */
#define FEW_FACTORS 64

/*
 * ln (x (x + 1) ... (x + n - 1)) = ln gamma(x + n) - ln gamma(x), with its first and second derivatives by x.
 */
double
clv_log_rising(double x, double n, double *first, double *second)
{
	double		result = 0;

	if (n > FEW_FACTORS)
	{
		*first = clv_digamma(x + n) - clv_digamma(x);
		*second = clv_trigamma(x + n) - clv_trigamma(x);
		return lgamma(x + n) - lgamma(x);
	}
	*first = *second = 0;
	for (int i = 0; i < (int) n; i++)
	{
		double		factor = x + i;

		result += log(factor);
		*first += 1 / factor;
		*second -= 1 / (factor * factor);
	}
	return result;
}

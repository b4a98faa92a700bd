/*
 * clv_model.c
 *		crm.clv_model as a value, and what it says of one customer.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "executor/executor.h"
#include "funcapi.h"
#include "utils/builtins.h"

#include "score/clv.h"
#include "score/rfm.h"

#define MODEL_COLUMNS 15
#define MAX_HORIZON 100000.0	/* times alpha + t */

PG_FUNCTION_INFO_V1(crm_score_clv_p_alive);
PG_FUNCTION_INFO_V1(crm_score_clv_expected_orders);
PG_FUNCTION_INFO_V1(crm_score_clv_expected_value);
PG_FUNCTION_INFO_V1(crm_score_clv_of);
PG_FUNCTION_INFO_V1(crm_score_clv_log_likelihood);
PG_FUNCTION_INFO_V1(crm_score_clv_value_log_likelihood);

bool
clv_has_orders(const ClvModel *model)
{
	return !isnan(model->r) && !isnan(model->alpha) && !isnan(model->a) && !isnan(model->b);
}

bool
clv_has_values(const ClvModel *model)
{
	return !isnan(model->p) && !isnan(model->q) && !isnan(model->v);
}

/*
 * The parameters in an argument; NULL becomes NaN.
 */
void
clv_get_model(FunctionCallInfo fcinfo, int argument, ClvModel *model)
{
	static const char *const names[] = {"r", "alpha", "a", "b", "p", "q", "v"};
	HeapTupleHeader tuple = PG_GETARG_HEAPTUPLEHEADER(argument);
	double	   *parameters[] = {&model->r, &model->alpha, &model->a, &model->b, &model->p, &model->q, &model->v};

	memset(model, 0, sizeof(ClvModel));
	for (int i = 0; i < (int) lengthof(parameters); i++)
	{
		bool		isnull;
		Datum		value = GetAttributeByNum(tuple, (AttrNumber) (i + 1), &isnull);

		*parameters[i] = isnull ? NAN : DatumGetFloat8(value);
		if (!isnull && (!(*parameters[i] > 0) || !isfinite(*parameters[i])))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("parameter \"%s\" of the model must be positive", names[i])));
	}
}

Datum
clv_model_datum(FunctionCallInfo fcinfo, const ClvModel *model)
{
	TupleDesc	desc;
	Datum		values[MODEL_COLUMNS] = {0};
	bool		nulls[MODEL_COLUMNS] = {false};
	const double numbers[] = {model->r, model->alpha, model->a, model->b, model->p, model->q, model->v};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE || desc->natts != MODEL_COLUMNS)
		elog(ERROR, "return type must be crm.clv_model");
	for (int i = 0; i < (int) lengthof(numbers); i++)
	{
		nulls[i] = isnan(numbers[i]);
		values[i] = Float8GetDatum(numbers[i]);
	}
	values[7] = Int64GetDatum(model->customers);
	values[8] = Int64GetDatum(model->repeaters);
	values[9] = Float8GetDatum(model->log_likelihood);
	nulls[9] = isnan(model->log_likelihood);
	values[10] = Float8GetDatum(model->value_log_likelihood);
	nulls[10] = isnan(model->value_log_likelihood);
	values[11] = Int32GetDatum(model->iterations);
	values[12] = BoolGetDatum(model->converged);
	values[13] = BoolGetDatum(model->value_converged);
	nulls[14] = model->reason == NULL;
	if (model->reason != NULL)
		values[14] = CStringGetTextDatum(model->reason);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/*
 * A customer in the arguments x, t_x and t.
 */
static void
get_customer(FunctionCallInfo fcinfo, ClvCustomer *customer)
{
	customer->x = (double) PG_GETARG_INT64(1);
	customer->t_x = customer->x > 0 ? PG_GETARG_FLOAT8(2) : 0;
	customer->t = PG_GETARG_FLOAT8(3);
	if (customer->x < 0 || !(customer->t_x >= 0 && customer->t_x <= customer->t) || !isfinite(customer->t))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not a customer: x " INT64_FORMAT ", t_x %g, t %g", PG_GETARG_INT64(1), PG_GETARG_FLOAT8(2),
						PG_GETARG_FLOAT8(3)),
				 errdetail("x, the number of repeat orders, must not be negative, and t_x, the time of the last one after the first order, must be from 0 to t.")));
}

static void
check_value(double x, double value, bool positive)
{
	if (x < 0 || (positive && x == 0) || !(value >= 0) || (positive && value == 0) || !isfinite(value))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%.0f repeat orders cannot have a mean value of %g here", x, value),
				 positive ? errdetail("Both must be positive.") : errdetail("Neither may be negative.")));
}

Datum
crm_score_clv_p_alive(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	ClvCustomer customer;

	clv_get_model(fcinfo, 0, &model);
	get_customer(fcinfo, &customer);
	if (!clv_has_orders(&model))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(clv_p_alive(&model, customer.x, customer.t_x, customer.t));
}

static void
check_reach(const ClvModel *model, double t, double horizon)
{
	if (!(horizon >= 0) || horizon > MAX_HORIZON * (model->alpha + t))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a horizon of %g is out of range", horizon),
				 errdetail("It is 0 to %.0f times alpha + t.", MAX_HORIZON)));
}

Datum
crm_score_clv_expected_orders(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	ClvCustomer customer;
	double		horizon = PG_GETARG_FLOAT8(4);

	clv_get_model(fcinfo, 0, &model);
	get_customer(fcinfo, &customer);
	if (!clv_has_orders(&model))
		PG_RETURN_NULL();
	check_reach(&model, customer.t, horizon);
	PG_RETURN_FLOAT8(clv_expected_orders(&model, customer.x, customer.t_x, customer.t, horizon));
}

Datum
crm_score_clv_expected_value(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	double		x;
	double		value;
	double		result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	x = (double) PG_GETARG_INT64(1);
	if (PG_ARGISNULL(2) && x != 0)
		PG_RETURN_NULL();
	clv_get_model(fcinfo, 0, &model);
	value = PG_ARGISNULL(2) ? 0 : PG_GETARG_FLOAT8(2);
	check_value(x, value, false);
	if (!clv_has_values(&model))
		PG_RETURN_NULL();
	result = clv_expected_value(&model, x, value);
	if (isnan(result))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(result);
}

Datum
crm_score_clv_of(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	ClvCustomer customer;
	ClvHorizon	horizon;
	double		value;

	for (int i = 0; i < PG_NARGS(); i++)
	{
		if (PG_ARGISNULL(i) && (i != 4 || PG_GETARG_INT64(1) != 0))
			PG_RETURN_NULL();
	}
	clv_get_model(fcinfo, 0, &model);
	get_customer(fcinfo, &customer);
	customer.value = PG_ARGISNULL(4) ? 0 : PG_GETARG_FLOAT8(4);
	check_value(customer.x, customer.value, false);
	horizon.months = PG_GETARG_INT32(5);
	horizon.discount = PG_GETARG_FLOAT8(6);
	horizon.margin = PG_GETARG_FLOAT8(7);
	horizon.unit_days = PG_GETARG_FLOAT8(8);
	clv_check_horizon(&horizon);
	if (!clv_has_orders(&model) || !clv_has_values(&model))
		PG_RETURN_NULL();
	check_reach(&model, customer.t, horizon.months * DAYS_OF_MONTH / horizon.unit_days);
	value = clv_expected_value(&model, customer.x, customer.value);
	if (isnan(value))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(value * horizon.margin * clv_discounted_orders(&model, customer.x, customer.t, &horizon) *
					 clv_p_alive(&model, customer.x, customer.t_x, customer.t));
}

Datum
crm_score_clv_log_likelihood(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	ClvCustomer customer;

	clv_get_model(fcinfo, 0, &model);
	get_customer(fcinfo, &customer);
	if (!clv_has_orders(&model))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(clv_log_likelihood(&model, customer.x, customer.t_x, customer.t));
}

Datum
crm_score_clv_value_log_likelihood(PG_FUNCTION_ARGS)
{
	ClvModel	model;
	double		x = (double) PG_GETARG_INT64(1);
	double		value = PG_GETARG_FLOAT8(2);

	clv_get_model(fcinfo, 0, &model);
	check_value(x, value, true);
	if (!clv_has_values(&model))
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(clv_value_log_likelihood(&model, x, value));
}

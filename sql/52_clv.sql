-- CLV: what a customer will be worth, by the models BG/NBD (how many orders) and Gamma-Gamma (of what value).

CREATE TYPE crm.clv_model AS (
	r					double precision,
	alpha				double precision,
	a					double precision,
	b					double precision,
	p					double precision,
	q					double precision,
	v					double precision,
	customers			bigint,
	repeaters			bigint,
	log_likelihood		double precision,
	value_log_likelihood	double precision,
	iterations			integer,
	converged			boolean,
	value_converged		boolean,
	reason				text
);
COMMENT ON TYPE crm.clv_model IS
'the parameters of BG/NBD (r, alpha, a, b) and of Gamma-Gamma (p, q, v), and how they were fitted. Made by crm.clv_fit, crm.fit_clv or crm.make_clv_model';
COMMENT ON COLUMN crm.clv_model.r IS 'shape of the gamma distribution of the customers'' rates of buying';
COMMENT ON COLUMN crm.clv_model.alpha IS 'its scale, in the unit of time of the data';
COMMENT ON COLUMN crm.clv_model.a IS 'first parameter of the beta distribution of the probability to drop out after an order';
COMMENT ON COLUMN crm.clv_model.b IS 'its second parameter';
COMMENT ON COLUMN crm.clv_model.p IS 'shape of the gamma distribution of the value of a customer''s orders';
COMMENT ON COLUMN crm.clv_model.q IS 'shape of the gamma distribution of its scale among customers';
COMMENT ON COLUMN crm.clv_model.v IS 'scale of that distribution, in money';
COMMENT ON COLUMN crm.clv_model.customers IS 'customers that BG/NBD was fitted to';
COMMENT ON COLUMN crm.clv_model.repeaters IS 'those with a repeat order of known, positive value: Gamma-Gamma was fitted to them';
COMMENT ON COLUMN crm.clv_model.log_likelihood IS 'of BG/NBD at the parameters';
COMMENT ON COLUMN crm.clv_model.value_log_likelihood IS 'of Gamma-Gamma at the parameters';
COMMENT ON COLUMN crm.clv_model.iterations IS 'steps that both fits took together';
COMMENT ON COLUMN crm.clv_model.converged IS
'the parameters of BG/NBD are a maximum: the gradient vanishes and the curvature is negative';
COMMENT ON COLUMN crm.clv_model.value_converged IS 'the same of Gamma-Gamma';
COMMENT ON COLUMN crm.clv_model.reason IS 'what stands against it, where one did not converge; NULL when both did';

CREATE FUNCTION crm.make_clv_model(
	r double precision, alpha double precision, a double precision, b double precision,
	p double precision DEFAULT NULL, q double precision DEFAULT NULL, v double precision DEFAULT NULL)
	RETURNS crm.clv_model
	LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ROW (r, alpha, a, b, p, q, v, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)::crm.clv_model;
COMMENT ON FUNCTION crm.make_clv_model(double precision, double precision, double precision, double precision, double precision, double precision, double precision) IS
'a model of known parameters, as fitted elsewhere; those of Gamma-Gamma may be NULL, then values are';

-- Fitting to summaries of customers

CREATE TYPE crm.clv_sample;

CREATE FUNCTION crm.clv_sample_in(cstring) RETURNS crm.clv_sample
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_in(cstring) IS
'text form of crm.clv_sample: \x and the bytes of the binary form in hexadecimal. Error 22P02 or 22P03 for anything else';

CREATE FUNCTION crm.clv_sample_out(crm.clv_sample) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_out(crm.clv_sample) IS 'the bytes of the binary form in hexadecimal';

CREATE FUNCTION crm.clv_sample_recv(internal) RETURNS crm.clv_sample
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_recv(internal) IS
'binary form of crm.clv_sample: a version byte (1), and for each customer x, t_x, t and value as double precision. Error 22P03 for anything else';

CREATE FUNCTION crm.clv_sample_send(crm.clv_sample) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_send(crm.clv_sample) IS 'binary form: a version byte (1), and x, t_x, t and value of each customer';

CREATE TYPE crm.clv_sample (
	INPUT = crm.clv_sample_in,
	OUTPUT = crm.clv_sample_out,
	RECEIVE = crm.clv_sample_recv,
	SEND = crm.clv_sample_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = double,
	STORAGE = extended
);
COMMENT ON TYPE crm.clv_sample IS 'state of crm.clv_fit: the summaries of customers that a model is to be fitted to';

CREATE FUNCTION crm.clv_sample_add(
	sample crm.clv_sample, x bigint, t_x double precision, t double precision, value double precision)
	RETURNS crm.clv_sample
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_add'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_add(crm.clv_sample, bigint, double precision, double precision, double precision) IS
'a sample, or NULL for none yet, with a customer more; passed over if x, t_x or t is NULL. Transition function of crm.clv_fit. Errors: 22023 unless x >= 0 and 0 <= t_x <= t, 54000 for more customers than fit into 1 GB';

CREATE FUNCTION crm.clv_sample_merge(crm.clv_sample, crm.clv_sample) RETURNS crm.clv_sample
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_merge'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_merge(crm.clv_sample, crm.clv_sample) IS
'the customers of both samples. Combine function of crm.clv_fit. Error 54000 for more customers than fit into 1 GB';

CREATE FUNCTION crm.clv_sample_fit(crm.clv_sample) RETURNS crm.clv_model
	AS 'MODULE_PATHNAME', 'crm_score_clv_sample_fit'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_sample_fit(crm.clv_sample) IS 'the models that fit a sample best. Final function of crm.clv_fit';

CREATE AGGREGATE crm.clv_fit(x bigint, t_x double precision, t double precision, value double precision) (
	SFUNC = crm.clv_sample_add,
	STYPE = crm.clv_sample,
	FINALFUNC = crm.clv_sample_fit,
	COMBINEFUNC = crm.clv_sample_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.clv_fit(bigint, double precision, double precision, double precision) IS
'BG/NBD and Gamma-Gamma by maximum likelihood (Fader, Hardie, Lee 2005; Fader, Hardie 2013), to a row for each customer: x repeat orders, the last of them t_x after the first order, the first order t before the end of observation, in any unit of time; and the mean value of the repeat orders, NULL where it is not known (only those above 0 tell of value). A row whose x, t_x or t is NULL is passed over. The result does not depend on the order of the rows. Where a maximum was not found, converged or value_converged is false and reason says what is wrong; the parameters are then the best that were met. Errors: 22023 unless x >= 0 and 0 <= t_x <= t, 54000 for more customers than fit into 1 GB';

CREATE FUNCTION crm.clv_summary(
	population crm.population,
	until timestamptz DEFAULT crm.now(),
	unit_days double precision DEFAULT 7,
	zone text DEFAULT NULL,
	OUT customer bigint, OUT x bigint, OUT t_x double precision, OUT t double precision, OUT value numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_clv_summary'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10000;
COMMENT ON FUNCTION crm.clv_summary(crm.population, timestamptz, double precision, text) IS
'what crm.clv_fit wants to know of each customer of a population counted by days or orders, ascending by customer: x, his days with orders (or orders) without the first; t_x, from the first to the last; t, from the first to the date (or, of orders, instant) of "until", both in units of so many days (7: weeks); value, the mean amount of all but the first, NULL when x is 0. Days (orders) after "until" are left out. zone may be given to be sure of that of the population''s days. No rows for a NULL population. Errors: 22004 until or unit_days is NULL, 22023 unit_days is not positive, the zone is not that of the population''s days, or the population is counted by rows';

CREATE FUNCTION crm.fit_clv(
	until timestamptz DEFAULT crm.now(),
	unit_days double precision DEFAULT 7,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	refunds boolean DEFAULT false,
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount')
	RETURNS crm.clv_model
	AS 'MODULE_PATHNAME', 'crm_score_clv_fit_feed'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000;
COMMENT ON FUNCTION crm.fit_clv(timestamptz, double precision, text, timestamptz, boolean, text, text) IS
'crm.clv_fit to the customers by the feed of orders from "since" up to "until": orders of a local day of the zone are one, times are in units of so many days (7: weeks). Orders with a negative amount are left out unless refunds is true. kind is another feed to read, amount another property of it that is the money. Errors: 22004 an argument is NULL, 22023 unit_days or zone, 42704 no such feed, 42703 or 42804 amount is no number of it, 55000 the feed is stale';

CREATE FUNCTION crm.clv(
	until timestamptz DEFAULT crm.now(),
	months integer DEFAULT 12,
	discount double precision DEFAULT 0.1,
	margin double precision DEFAULT 1,
	unit_days double precision DEFAULT 7,
	zone text DEFAULT crm.timezone(),
	since timestamptz DEFAULT '-infinity',
	refunds boolean DEFAULT false,
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	model crm.clv_model DEFAULT NULL,
	OUT customer bigint, OUT x bigint, OUT t_x double precision, OUT t double precision, OUT value numeric,
	OUT p_alive double precision, OUT expected_orders double precision, OUT expected_value double precision,
	OUT clv double precision)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_clv'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.clv(timestamptz, integer, double precision, double precision, double precision, text, timestamptz, boolean, text, text, crm.clv_model) IS
'for each customer by the feed of orders, ascending: what crm.clv_summary says of him, the probability that he is still a customer, and the days with orders, the value of one, and their discounted sum that are to be expected of him in the next so many months, as crm.p_alive, crm.expected_orders, crm.expected_value and crm.clv_of. The model is fitted to the same customers unless one is given; what a fit that did not converge would have to tell is NULL, with a WARNING. Other arguments and errors as in crm.fit_clv and crm.clv_of';

-- What a model says

CREATE FUNCTION crm.p_alive(model crm.clv_model, x bigint, t_x double precision, t double precision)
	RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_p_alive'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.p_alive(crm.clv_model, bigint, double precision, double precision) IS
'the probability that a customer with x repeat orders, the last t_x after the first order, which was t ago, has not dropped out: 1 / (1 + a / (b + x - 1) * ((alpha + t) / (alpha + t_x)) ^ (r + x)), and exactly 1 when x is 0. NULL for NULL. Errors: 22023 unless x >= 0 and 0 <= t_x <= t, or a parameter of the model is not positive';

CREATE FUNCTION crm.expected_orders(
	model crm.clv_model, x bigint, t_x double precision, t double precision, horizon double precision)
	RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_expected_orders'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.expected_orders(crm.clv_model, bigint, double precision, double precision, double precision) IS
'how many orders are to be expected of a customer in the time "horizon" after t, in the unit of time of the model: E[Y(horizon) | x, t_x, t] of Fader, Hardie, Lee (2005). Of a new customer: x, t_x and t are 0. NULL for NULL. Errors: as crm.p_alive, and 22023 when horizon is negative, or more than 100,000 times alpha + t';

CREATE FUNCTION crm.expected_value(model crm.clv_model, x bigint, value double precision) RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_expected_value'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.expected_value(crm.clv_model, bigint, double precision) IS
'the value of an order that is to be expected of a customer with x repeat orders of the mean value "value": p * (v + x * value) / (p * x + q - 1) of Gamma-Gamma; value may be NULL when x is 0. NULL when there is no expectation (p * x + q <= 1), and for NULL. Errors: 22023 when x or value is negative, or a parameter of the model is not positive';

CREATE FUNCTION crm.clv_of(
	model crm.clv_model, x bigint, t_x double precision, t double precision, value double precision,
	months integer DEFAULT 12,
	discount double precision DEFAULT 0.1,
	margin double precision DEFAULT 1,
	unit_days double precision DEFAULT 7)
	RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_of'
	LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_of(crm.clv_model, bigint, double precision, double precision, double precision, integer, double precision, double precision, double precision) IS
'what a customer is to be expected to spend in the next so many months (of 365.2425 / 12 days), times margin: crm.expected_value times the sum over the months of the orders expected in each, discounted to now from its end by the yearly rate "discount" (0.1: 10 percent). unit_days is the unit of time of the model, in days. NULL for NULL, though value may be NULL when x is 0. Errors: as crm.expected_orders and crm.expected_value, and 22023 when months is not 1 to 1200, discount is not above -1, or unit_days is not positive';

CREATE FUNCTION crm.clv_log_likelihood(model crm.clv_model, x bigint, t_x double precision, t double precision)
	RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_log_likelihood'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_log_likelihood(crm.clv_model, bigint, double precision, double precision) IS
'the logarithm of the likelihood of a customer under BG/NBD; of independent customers the sum. NULL for NULL. Errors as crm.p_alive';

CREATE FUNCTION crm.clv_value_log_likelihood(model crm.clv_model, x bigint, value double precision) RETURNS double precision
	AS 'MODULE_PATHNAME', 'crm_score_clv_value_log_likelihood'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.clv_value_log_likelihood(crm.clv_model, bigint, double precision) IS
'the logarithm of the likelihood of the mean value of a customer''s x repeat orders under Gamma-Gamma. NULL for NULL. Error 22023 unless x and value are positive, or a parameter of the model is not';

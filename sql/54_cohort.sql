-- Cohorts: customers by the period of their first order, and how many of them still buy.

CREATE FUNCTION crm.cohorts_of(
	sales crm.sales,
	period text DEFAULT 'month',
	until date DEFAULT NULL,
	OUT cohort date, OUT size bigint, OUT age integer, OUT customers bigint, OUT retention numeric,
	OUT orders bigint, OUT amount numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_cohorts_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION crm.cohorts_of(crm.sales, text, date) IS
'retention of the customers of crm.customer_sales_agg, by the period in which each has his first row. A row for each cohort and each age from 0, the period of the cohort itself, to the period that holds "until" (NULL: the last day with a sale), also where nobody bought: size, the customers of the cohort; customers of it who bought in that period; retention, their share in the size (0 to 1); their orders (rows), and the exact sum of their amounts. period is day, week (from Monday), month, quarter or year; cohort is its first day. Rows after "until" do not count. To look at: SELECT cohort, age, round(retention, 2) FROM crm.cohorts_of(...) \crosstabview. No rows for NULL. Errors: 22004 period is NULL, 22023 an unknown period, or sales of another aggregate, 54000 more than 4000 periods';

CREATE FUNCTION crm.cohorts(
	period text DEFAULT 'month',
	until timestamptz DEFAULT crm.now(),
	zone text DEFAULT crm.timezone(),
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	OUT cohort date, OUT size bigint, OUT age integer, OUT customers bigint, OUT retention numeric,
	OUT orders bigint, OUT amount numeric)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_cohorts'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 100;
COMMENT ON FUNCTION crm.cohorts(text, timestamptz, text, text, text) IS
'retention of the customers by the feed of orders, as crm.cohorts_of, periods being those of the zone. Events up to "until" count, that instant included; the period that holds it is the last one, and may not be over yet. kind is another feed to read, amount another property of it that is the money; an amount that is not known adds nothing. Errors: as there, and 22004 an argument is NULL, 22023 an unknown zone, 42704 no such feed, 42703 or 42804 amount is no number of it, 55000 the feed is stale';

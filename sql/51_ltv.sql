-- LTV: what a customer is worth by the rate at which customers are lost.

CREATE FUNCTION crm.ltv_from(arpa numeric, churn_rate numeric, margin numeric DEFAULT 1) RETURNS numeric
	AS 'MODULE_PATHNAME', 'crm_score_ltv_from'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.ltv_from(numeric, numeric, numeric) IS
'arpa * margin / churn_rate: average revenue per active customer and period, by the share of active customers that is lost in a period (0 to 1), times the share of revenue that is earned. NULL when the churn rate is 0, for then there is no answer, and for NULL. Error 22023 when the churn rate is not 0 to 1';

CREATE FUNCTION crm.ltv_of(
	population crm.population,
	until timestamptz DEFAULT crm.now(),
	months integer DEFAULT 12,
	active_within interval DEFAULT '3 months',
	margin numeric DEFAULT 1,
	zone text DEFAULT NULL,
	OUT customers bigint, OUT revenue numeric, OUT active bigint, OUT arpa numeric,
	OUT at_risk bigint, OUT churned bigint, OUT churn_rate numeric, OUT ltv numeric, OUT reason text)
	RETURNS record
	AS 'MODULE_PATHNAME', 'crm_score_ltv_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION crm.ltv_of(crm.population, timestamptz, integer, interval, numeric, text) IS
'LTV = ARPA * margin / churn rate of a population counted by days or orders, over the last so many whole calendar months before "until". zone is that of the months, by default the one in which the population''s days are counted, or crm.timezone() for orders. A customer is active in a month if he ordered in it or within active_within (whole days and months) before its end, and churned in it if he was active in the month before and is not any more. customers were active in any of the months; revenue is the total of the months; active and at_risk are sums over the months of the customers who are active in it, and in the one before; arpa = revenue / active; churn_rate = churned / at_risk. ltv is NULL when there is no answer, and reason says why. A NULL population is an empty one. Errors: 22004 an argument other than population and zone is NULL, 22023 months is not 1 to 1200, active_within is not positive or has hours, margin is negative, the zone is unknown or not that of the population''s days, or the population is counted by rows';

CREATE FUNCTION crm.ltv(
	until timestamptz DEFAULT crm.now(),
	months integer DEFAULT 12,
	active_within interval DEFAULT '3 months',
	margin numeric DEFAULT 1,
	by text DEFAULT NULL,
	zone text DEFAULT crm.timezone(),
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	OUT group_value text, OUT customers bigint, OUT revenue numeric, OUT active bigint, OUT arpa numeric,
	OUT at_risk bigint, OUT churned bigint, OUT churn_rate numeric, OUT ltv numeric, OUT reason text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_ltv'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 20;
COMMENT ON FUNCTION crm.ltv(timestamptz, integer, interval, numeric, text, text, text, text) IS
'LTV by the feed of orders, as crm.ltv_of: one row, or a row for each value of by. by may be cohort, the month of a customer''s first order (as its first day); an attribute of the customers; or, where there is none of that name, a property of the orders, each order then counting for the value that it has. The group of those of whom it is not known is NULL and comes last. kind is another feed to read, amount another property of it that is the money. Errors: as there, and 42704 no such feed, 42703 by or amount is not known, 42804 amount is no number, 55000 a feed is stale';

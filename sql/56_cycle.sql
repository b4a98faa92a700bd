-- Cycles: after how long an item is bought again, by whom, and when that is due.

CREATE FUNCTION crm.cycles_of(
	sales crm.sales,
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	OUT item text, OUT customers bigint, OUT repeaters bigint, OUT intervals bigint,
	OUT cycle interval, OUT within interval, OUT between_customers interval, OUT prior numeric, OUT cyclic boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_cycles_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION crm.cycles_of(crm.sales, interval, numeric, numeric, integer) IS
'after how long the items of crm.purchase_agg are bought again by the same customer; a row for each, by name. Purchases of a customer that are less than "apart" (days being 24 hours) after the one before are part of that one. customers bought the item, repeaters bought it again, intervals is how often that was. cycle is the interval to be expected of somebody of whom nothing is known; within the standard deviation of the intervals of one customer, between_customers that of the customers'' means. These are the estimates of credibility theory (Buehlmann and Straub 1970; Buehlmann and Gisler, A Course in Credibility Theory, 2005, chapter 4, with all weights 1): with N intervals of I repeaters, m intervals of mean x each, and M the sum of all m^2: within^2 = sum((interval - x)^2) / (N - I); between^2 = (sum(m (x - overall mean)^2) - (I - 1) within^2) / (N - M / N), 0 when negative; prior = within^2 / between^2; weight of a customer Z = m / (m + prior); cycle = sum(Z x) / sum(Z), the overall mean when all Z are 0. prior is of how many intervals of his own a customer''s mean weighs as much as the item''s cycle; infinite where customers do not differ or that cannot be said (nobody has two intervals, or only one repeater). The argument prior, when it is not NULL, is taken for all items instead. An item is cyclic when at least the share min_repeat (0 to 1) of its customers bought it again, and there are min_intervals. Times are rounded to the second. What is not known is NULL. No rows for NULL. Errors: 22004 another argument is NULL, 22023 a negative or impossible argument, apart with months, or sales of another aggregate';

CREATE FUNCTION crm.customer_cycles_of(
	sales crm.sales,
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	only_cyclic boolean DEFAULT true,
	OUT customer bigint, OUT item text, OUT purchases bigint, OUT last timestamptz, OUT own interval,
	OUT weight numeric, OUT cycle interval, OUT next timestamptz, OUT cyclic boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_customer_cycles_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 100000;
COMMENT ON FUNCTION crm.customer_cycles_of(crm.sales, interval, numeric, numeric, integer, boolean) IS
'when each customer of crm.purchase_agg is expected to buy each of his items again: purchases, how often he bought it, and the last time; own, the mean of his intervals, NULL when he has none; cycle = weight * own + (1 - weight) * the item''s cycle, where weight = m / (m + prior) with his m intervals (Buehlmann''s credibility, see crm.cycles_of), so that who has few is taken for a customer like others; next = last + cycle, which may have passed already. With only_cyclic only the items that are cyclic, else all. cycle and next are NULL where nobody has bought the item again. The rows are in no particular order. Other arguments and errors as in crm.cycles_of';

CREATE FUNCTION crm.cycles(
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT crm.now(),
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	kind text DEFAULT 'purchase',
	item text DEFAULT 'item',
	OUT item text, OUT customers bigint, OUT repeaters bigint, OUT intervals bigint,
	OUT cycle interval, OUT within interval, OUT between_customers interval, OUT prior numeric, OUT cyclic boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_cycles'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 1000;
COMMENT ON FUNCTION crm.cycles(timestamptz, timestamptz, interval, numeric, numeric, integer, text, text) IS
'after how long items are bought again, by the feed of order lines: crm.cycles_of the events from "since" up to "until", both included. kind is another feed to read, item the property that says what was bought; events of which it is not known are passed over. Memory is bounded by maintenance_work_mem, beyond it events go to temporary files. Errors: as there, and 42704 no such feed, 42703 or 42804 no such property or it is an array, 55000 the feed is stale';

CREATE FUNCTION crm.customer_cycles(
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT crm.now(),
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	min_repeat numeric DEFAULT 0.25,
	min_intervals integer DEFAULT 5,
	only_cyclic boolean DEFAULT true,
	kind text DEFAULT 'purchase',
	item text DEFAULT 'item',
	OUT customer bigint, OUT item text, OUT purchases bigint, OUT last timestamptz, OUT own interval,
	OUT weight numeric, OUT cycle interval, OUT next timestamptz, OUT cyclic boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_customer_cycles'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 100000;
COMMENT ON FUNCTION crm.customer_cycles(timestamptz, timestamptz, interval, numeric, numeric, integer, boolean, text, text) IS
'when each customer is expected to buy each of his items again, by the feed of order lines: crm.customer_cycles_of the events from "since" up to "until", both included. Who is due in the coming week: SELECT customer, item, next FROM crm.customer_cycles() WHERE next BETWEEN crm.now() AND crm.now() + interval ''7 days''. kind, item and errors as in crm.cycles';

CREATE FUNCTION crm.next_orders(
	since timestamptz DEFAULT '-infinity',
	until timestamptz DEFAULT crm.now(),
	apart interval DEFAULT '1 day',
	prior numeric DEFAULT NULL,
	kind text DEFAULT 'order',
	OUT customer bigint, OUT orders bigint, OUT last timestamptz, OUT own interval, OUT weight numeric,
	OUT cycle interval, OUT next timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_next_orders'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.next_orders(timestamptz, timestamptz, interval, numeric, text) IS
'when each customer is expected to order again, whatever it is: as crm.customer_cycles, all orders being of one item, the others'' intervals counting for who has few of his own. kind is another feed to read. A row for every customer with an order; next is NULL when nobody has ordered twice';

-- ABC: what makes up most of the money. XYZ: what sells evenly.

CREATE FUNCTION crm.abc_xyz_of(
	sales crm.sales,
	period text DEFAULT 'month',
	since date DEFAULT NULL,
	until date DEFAULT NULL,
	abc_cuts numeric[] DEFAULT '{0.8,0.95}',
	boundary text DEFAULT 'within',
	ties text DEFAULT 'apart',
	xyz_cuts numeric[] DEFAULT '{0.1,0.25}',
	deviation_of text DEFAULT 'population',
	gaps text DEFAULT 'zero',
	OUT item text, OUT amount numeric, OUT share numeric, OUT cumulative numeric, OUT abc text,
	OUT quantity numeric, OUT periods integer, OUT mean numeric, OUT deviation numeric, OUT variation numeric,
	OUT xyz text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_abc_xyz_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION crm.abc_xyz_of(crm.sales, text, date, date, numeric[], text, text, numeric[], text, text) IS
'the classes of the items of crm.item_sales_agg, the greatest amount first, equal ones by name. amount is an item''s total, share its part of the total of all items (0 to 1), cumulative that of it and all before it. ABC: with boundary within, an item is A when its cumulative share does not go beyond the first of abc_cuts, B when not beyond the second, and so on; with crossing, it is A when what lies before it is below the first cut-off, so that the item which crosses it is A, too. With ties together, items of equal amounts have one class: by the last of them (within) or the first (crossing); apart goes item by item. Items whose amount is not above 0 have share 0, and the last class. There are 1 to 25 cut-offs. XYZ: variation is the standard deviation of the quantities of the periods over their mean; X when it is not above the first of xyz_cuts, Y when not above the second, else Z. deviation_of is population (over n) or sample (over n - 1). period is day, week, month, quarter or year; the periods run from the one that holds the day "since" to the one that holds "until", both included, NULL being the first and the last day with a sale. gaps says which periods without a sale count as 0: zero, all; since_first, those after the item''s first sale; skip, none. periods is how many count. Deviation, variation and xyz are NULL with less than two, variation and xyz also where the mean is not above 0. No rows for NULL. Errors: 22004 another argument is NULL, 22023 an unknown word, bad cut-offs, or sales of another aggregate, 22003 out of numeric''s range';

CREATE FUNCTION crm.customer_abc_xyz_of(
	sales crm.sales,
	period text DEFAULT 'month',
	since date DEFAULT NULL,
	until date DEFAULT NULL,
	abc_cuts numeric[] DEFAULT '{0.8,0.95}',
	boundary text DEFAULT 'within',
	ties text DEFAULT 'apart',
	xyz_cuts numeric[] DEFAULT '{0.1,0.25}',
	deviation_of text DEFAULT 'population',
	gaps text DEFAULT 'zero',
	OUT customer bigint, OUT amount numeric, OUT share numeric, OUT cumulative numeric, OUT abc text,
	OUT quantity numeric, OUT periods integer, OUT mean numeric, OUT deviation numeric, OUT variation numeric,
	OUT xyz text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_customer_abc_xyz_of'
	LANGUAGE C STABLE PARALLEL SAFE COST 1000 ROWS 10000;
COMMENT ON FUNCTION crm.customer_abc_xyz_of(crm.sales, text, date, date, numeric[], text, text, numeric[], text, text) IS
'the classes of the customers of crm.customer_sales_agg, as crm.abc_xyz_of; both ABC and XYZ go by the amounts, so quantity is the amount again. Equal amounts are by customer';

CREATE FUNCTION crm.abc_xyz(
	period text DEFAULT 'month',
	periods integer DEFAULT 12,
	until timestamptz DEFAULT crm.now(),
	abc_cuts numeric[] DEFAULT '{0.8,0.95}',
	boundary text DEFAULT 'within',
	ties text DEFAULT 'apart',
	xyz_cuts numeric[] DEFAULT '{0.1,0.25}',
	deviation_of text DEFAULT 'population',
	gaps text DEFAULT 'zero',
	zone text DEFAULT crm.timezone(),
	kind text DEFAULT 'purchase',
	item text DEFAULT 'item',
	amount text DEFAULT 'amount',
	quantity text DEFAULT 'quantity',
	OUT item text, OUT amount numeric, OUT share numeric, OUT cumulative numeric, OUT abc text,
	OUT quantity numeric, OUT periods integer, OUT mean numeric, OUT deviation numeric, OUT variation numeric,
	OUT xyz text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_abc_xyz'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 1000;
COMMENT ON FUNCTION crm.abc_xyz(text, integer, timestamptz, numeric[], text, text, numeric[], text, text, text, text, text, text, text) IS
'ABC and XYZ of the items in the feed of order lines, as crm.abc_xyz_of, over the last so many whole periods (of the zone) before the one that holds "until"; periods NULL takes all that there were. kind is another feed to read; item the property to classify by (a brand or category will do), amount the one that ABC goes by, quantity the one that XYZ goes by. Events whose item is not known are passed over; an amount or quantity that is not known adds nothing. Errors: as there, and 42704 no such feed, 42703 or 42804 no such property or it is no number, 22008 periods before the calendar begins, 55000 the feed is stale';

CREATE FUNCTION crm.customer_abc_xyz(
	period text DEFAULT 'month',
	periods integer DEFAULT 12,
	until timestamptz DEFAULT crm.now(),
	abc_cuts numeric[] DEFAULT '{0.8,0.95}',
	boundary text DEFAULT 'within',
	ties text DEFAULT 'apart',
	xyz_cuts numeric[] DEFAULT '{0.1,0.25}',
	deviation_of text DEFAULT 'population',
	gaps text DEFAULT 'zero',
	zone text DEFAULT crm.timezone(),
	kind text DEFAULT 'order',
	amount text DEFAULT 'amount',
	OUT customer bigint, OUT amount numeric, OUT share numeric, OUT cumulative numeric, OUT abc text,
	OUT quantity numeric, OUT periods integer, OUT mean numeric, OUT deviation numeric, OUT variation numeric,
	OUT xyz text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'crm_score_customer_abc_xyz'
	LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000000 ROWS 10000;
COMMENT ON FUNCTION crm.customer_abc_xyz(text, integer, timestamptz, numeric[], text, text, numeric[], text, text, text, text, text) IS
'ABC and XYZ of the customers by the feed of orders, as crm.abc_xyz and crm.customer_abc_xyz_of. Customers without an order in these periods have no row';

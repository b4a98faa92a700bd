-- crm.sales: who bought what, when and for how much, as one value; made by three aggregates from any query, and asked for
-- ABC and XYZ, cohorts, cycles and affinity.

CREATE TYPE crm.sales;

CREATE FUNCTION crm.sales_in(cstring) RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_sales_in'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_in(cstring) IS
'text form of crm.sales: \x and the bytes of the binary form in hexadecimal. Errors: 22P02 for anything else, 22003 if a sum overflows';

CREATE FUNCTION crm.sales_out(crm.sales) RETURNS cstring
	AS 'MODULE_PATHNAME', 'crm_score_sales_out'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_out(crm.sales) IS
'the bytes of the binary form in hexadecimal; equal sales give equal texts, in whatever order they were added';

CREATE FUNCTION crm.sales_recv(internal) RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_sales_recv'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_recv(internal) IS
'binary form of crm.sales: a version byte (1), a byte for the aggregate that made it, the names of items, and the rows, sorted and delta coded. Errors: 22P03 for anything else, 22003 if a sum overflows';

CREATE FUNCTION crm.sales_send(crm.sales) RETURNS bytea
	AS 'MODULE_PATHNAME', 'crm_score_sales_send'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_send(crm.sales) IS
'binary form: a version byte (1), a byte for the aggregate that made it, the names of items, and the rows, sorted and delta coded';

CREATE TYPE crm.sales (
	INPUT = crm.sales_in,
	OUTPUT = crm.sales_out,
	RECEIVE = crm.sales_recv,
	SEND = crm.sales_send,
	INTERNALLENGTH = variable,
	ALIGNMENT = int4,
	STORAGE = extended
);
COMMENT ON TYPE crm.sales IS
'sales of a whole shop: by item and day, with amount and quantity (crm.item_sales_agg); by customer and day, with amount (crm.customer_sales_agg); or by customer, instant and item (crm.purchase_agg). Sums are exact. It can be stored as a partial result and added up with crm.sales_merge; of it come crm.abc_xyz_of, crm.customer_abc_xyz_of, crm.cohorts_of, crm.cycles_of, crm.customer_cycles_of, crm.affinity_of and crm.recommendations_of';

CREATE FUNCTION crm.item_sales_add(sales crm.sales, item text, day date, amount numeric, quantity numeric)
	RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_item_sales_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.item_sales_add(crm.sales, text, date, numeric, numeric) IS
'transition function of crm.item_sales_agg, see there; NULL sales are none yet. Error 22023 if they are of another aggregate';

CREATE FUNCTION crm.customer_sales_add(sales crm.sales, customer bigint, day date, amount numeric)
	RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_customer_sales_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.customer_sales_add(crm.sales, bigint, date, numeric) IS
'transition function of crm.customer_sales_agg, see there; NULL sales are none yet. Error 22023 if they are of another aggregate';

CREATE FUNCTION crm.purchase_add(sales crm.sales, customer bigint, at timestamptz, item text)
	RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_purchase_add'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.purchase_add(crm.sales, bigint, timestamptz, text) IS
'transition function of crm.purchase_agg, see there; NULL sales are none yet. Error 22023 if they are of another aggregate';

CREATE FUNCTION crm.sales_merge(crm.sales, crm.sales) RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_sales_merge'
	LANGUAGE C IMMUTABLE CALLED ON NULL INPUT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_merge(crm.sales, crm.sales) IS
'the sales of both together; NULL sales are none. Combine function of the three aggregates. Errors: 22023 if different aggregates made them, 22003 if a sum overflows';

CREATE FUNCTION crm.sales_final(crm.sales) RETURNS crm.sales
	AS 'MODULE_PATHNAME', 'crm_score_sales_final'
	LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION crm.sales_final(crm.sales) IS
'final function of the three aggregates: the same sales. Error 54000 beyond 1 GB';

CREATE AGGREGATE crm.item_sales_agg(item text, day date, amount numeric, quantity numeric) (
	SFUNC = crm.item_sales_add,
	STYPE = crm.sales,
	FINALFUNC = crm.sales_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.sales_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.item_sales_agg(text, date, numeric, numeric) IS
'the sales of a query by item and day: how many rows, and the exact sums of amount and quantity. SELECT s.* FROM (SELECT crm.item_sales_agg(sku, day, amount, quantity) AS sales FROM lines) AS l, crm.abc_xyz_of(l.sales) AS s. A day truncated to the month makes a smaller value that is as good for months. Rows whose item or day is NULL, or whose day is infinite, are passed over; an amount or quantity that is NULL, NaN or infinite adds nothing; negative ones are subtracted. NULL when no row counts. Errors: 22003 if a sum overflows, 54000 beyond 1 GB';

CREATE AGGREGATE crm.customer_sales_agg(customer bigint, day date, amount numeric) (
	SFUNC = crm.customer_sales_add,
	STYPE = crm.sales,
	FINALFUNC = crm.sales_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.sales_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.customer_sales_agg(bigint, date, numeric) IS
'the sales of a query by customer and day: how many rows, and the exact sum of amount. SELECT c.* FROM (SELECT crm.customer_sales_agg(user_id, placed_at::date, total) AS sales FROM orders) AS o, crm.cohorts_of(o.sales) AS c. Rows whose customer or day is NULL, or whose day is infinite, are passed over; an amount that is NULL, NaN or infinite adds nothing, but the row counts. NULL when no row counts. Errors: 22003 if a sum overflows, 54000 beyond 1 GB';

CREATE AGGREGATE crm.purchase_agg(customer bigint, at timestamptz, item text) (
	SFUNC = crm.purchase_add,
	STYPE = crm.sales,
	FINALFUNC = crm.sales_final,
	FINALFUNC_MODIFY = READ_ONLY,
	COMBINEFUNC = crm.sales_merge,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE crm.purchase_agg(bigint, timestamptz, text) IS
'the purchases of a query by customer, instant and item, equal ones once. SELECT a.* FROM (SELECT crm.purchase_agg(user_id, placed_at, sku) AS sales FROM lines) AS l, crm.affinity_of(l.sales) AS a. Rows with a NULL, or whose at is infinite, are passed over. NULL when no row counts. Error 54000 beyond 1 GB';

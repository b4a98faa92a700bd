-- CLV: BG/NBD and Gamma-Gamma. The published figures of CDNOW are in test/pgtap/score_clv.sql; here is what needs no data.

SET client_min_messages = warning;
SET search_path = public, crm;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET extra_float_digits = 0;
SET crm_marketing.now = '2026-07-01 12:00:00Z';

------------------------------------------------------------------------------------------------------------------
-- What a model says
------------------------------------------------------------------------------------------------------------------

CREATE TABLE model AS SELECT crm.make_clv_model(0.243, 4.414, 0.793, 2.426, 6.25, 3.74, 15.44) AS m;
SELECT * FROM model;

-- E[Y(39) | x = 2, t_x = 30.43, t = 38.86] of Fader, Hardie, Lee is 1.226
SELECT round(crm.expected_orders(m, 2, 30.43, 38.86, 39)::numeric, 3) AS expected, round(crm.p_alive(m, 2, 30.43, 38.86)::numeric, 4) AS alive FROM model;
-- Exactly 1 without a repeat order, whatever the time
SELECT crm.p_alive(m, 0, 0, 38.86), crm.p_alive(m, 0, 0, 0), crm.p_alive(m, 0, 0, 1e6) FROM model;
-- The longer ago the last one, the less; and the more often before, the sooner
SELECT x, array_agg(round(crm.p_alive(m, x, t_x, 39)::numeric, 4) ORDER BY t_x) FROM model, unnest('{1,5,25,1000}'::int[]) x, unnest('{0,20,38,39}'::int[]) t_x GROUP BY x ORDER BY x;
-- Numerically hard ones
SELECT crm.clv_log_likelihood(h, 0, 0, 40)::numeric(12,8), crm.clv_log_likelihood(h, 200, 38, 40)::numeric(12,4), crm.clv_log_likelihood(h, 100000, 39.9, 40)::numeric(14,2)
  FROM crm.make_clv_model(0.25, 4, 0.8, 2.5) h;
-- Nothing in no time, and more and more; smooth where a is 1, which is 0 / 0 in the formula, and where its series would not end
SELECT crm.expected_orders(m, 2, 30.43, 38.86, 0) FROM model;
SELECT h, round(crm.expected_orders(m, 2, 30.43, 38.86, h)::numeric, 6) FROM model, unnest('{1e-6,0.1,1,10,100,1000,10000,4e6}'::float8[]) h;
SELECT a, round(crm.expected_orders(crm.make_clv_model(0.243, 4.414, 1 + a, 2.426), 2, 30.43, 38.86, 39)::numeric, 6) FROM unnest('{-1e-3,-1e-9,0,1e-9,1e-3}'::float8[]) a;
SELECT z, round(crm.expected_orders(crm.make_clv_model(0.243, 1, 0.793, 2.426), 0, 0, 0, z / (1 - z))::numeric, 5) FROM unnest('{0.98,0.9899,0.9901,0.992}'::float8[]) z;
SELECT r, round(crm.expected_orders(crm.make_clv_model(r, 4.414 / 0.243 * r, 0.793, 2.426), 2, 30.43, 38.86, 39)::numeric, 5) FROM unnest('{13.9,14.3,14.7,500,50000}'::float8[]) r;
-- Where customers hardly differ in how soon they drop out; the series and its quadrature would say 0. As mpmath has it
SELECT r, a, b, x, h, round(crm.orders::numeric, 9) AS orders, abs(crm.orders / expected - 1) < 1e-10 AS same
  FROM (VALUES (0.5, 20, 100, 0, 10, 1.5776697636626536), (0.5, 400, 2000, 0, 10, 1.5691607069783117), (0.5, 2000, 10000, 0, 10, 1.5687972535077048), (0.5, 1e6, 5e6, 0, 1, 0.23538646374957595),
			   (0.5, 1e6, 5e6, 0, 0.01, 0.0024984385842797432), (1e4, 1000, 5000, 0, 10, 6.005005005005005), (0.5, 400, 0.001, 0, 800, 0.95006470162507136)) AS v (r, a, b, x, h, expected),
	   crm.expected_orders(crm.make_clv_model(r, 1, a, b), x, 0, 1, h) AS crm (orders);
-- Of a new customer, and of one who has bought a thousand times
SELECT round(crm.expected_orders(m, 0, 0, 0, 52)::numeric, 5), round(crm.expected_orders(m, 1000, 38, 38.86, 52)::numeric, 3) FROM model;

-- Gamma-Gamma: of nobody's own value the mean of all, p v / (q - 1)
SELECT crm.expected_value(m, 0, NULL)::numeric(10,4) AS mean, (6.25 * 15.44 / 2.74)::numeric(10,4) AS mean, crm.expected_value(m, 0, 99)::numeric(10,4),
	   crm.expected_value(m, 1, 100)::numeric(10,4), crm.expected_value(m, 100, 100)::numeric(10,4), crm.expected_value(m, 3, 0)::numeric(10,4) FROM model;
SELECT crm.expected_value(crm.make_clv_model(1, 1, 1, 1, 2, 1, 10), 0, NULL) AS no_mean, crm.expected_value(crm.make_clv_model(1, 1, 1, 1, 2, 1, 10), 1, 10) AS a_mean,
	   crm.expected_value(crm.make_clv_model(1, 1, 1, 1), 1, 10) AS no_model, crm.expected_value(m, 1, NULL) AS not_known, crm.expected_value(m, NULL, 1) AS not_known FROM model;
SELECT crm.clv_value_log_likelihood(m, 3, 30)::numeric(12,6) FROM model;

-- Discounted month by month
SELECT crm.clv_of(m, 2, 30.43, 38.86, 22.35)::numeric(12,6) AS clv,
	   (SELECT sum((crm.expected_orders(m, 2, 30.43, 38.86, 365.2425 / 84 * i) - crm.expected_orders(m, 2, 30.43, 38.86, 365.2425 / 84 * (i - 1))) / 1.1 ^ (i / 12.0))
		  FROM generate_series(1, 12) i)::numeric * crm.expected_value(m, 2, 22.35)::numeric(20,12) AS by_hand FROM model;
SELECT crm.clv_of(m, 2, 30.43, 38.86, 22.35, discount => 0)::numeric(12,6) AS clv, (crm.expected_orders(m, 2, 30.43, 38.86, 365.2425 / 7) * crm.expected_value(m, 2, 22.35))::numeric(12,6) AS by_hand,
	   crm.clv_of(m, 2, 30.43, 38.86, 22.35, months => 24, discount => 0, margin => 0.2)::numeric(12,6), crm.clv_of(m, 0, 0, 0, NULL)::numeric(12,6) AS of_a_new_one, crm.clv_of(m, 1, 0, 0, NULL) AS not_known FROM model;
-- In days instead of weeks the same
SELECT crm.clv_of(crm.make_clv_model(0.243, 4.414 * 7, 0.793, 2.426, 6.25, 3.74, 15.44), 2, 30.43 * 7, 38.86 * 7, 22.35, unit_days => 1)::numeric(12,6) AS clv;

------------------------------------------------------------------------------------------------------------------
-- Fitting
------------------------------------------------------------------------------------------------------------------

-- Customers who behave as a model says: r = 1, alpha = 10, a = 1, b = 2, p = 1, q = 3, v = 40
CREATE FUNCTION behave(id int, OUT x int, OUT t_x float8, OUT t float8, OUT value float8) LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	rate float8 := -ln(1 - random()) / 10;
	dropout float8 := 1 - sqrt(1 - random());
	price float8 := -ln((1 - random()) * (1 - random()) * (1 - random())) / 40;
	at float8 := 0;
	total float8 := 0;
BEGIN
	t := 20 + floor(random() * 20);
	x := 0;
	t_x := 0;
	LOOP
		EXIT WHEN random() < dropout AND x > 0;
		at := at - ln(1 - random()) / rate;
		EXIT WHEN at > t;
		x := x + 1;
		t_x := at;
		total := total - ln(1 - random()) / price;
	END LOOP;
	value := CASE WHEN x > 0 THEN total / x END;
END $$;
SELECT setseed(0.1);
CREATE TABLE sample AS SELECT i AS id, b.* FROM generate_series(1, 2000) i, behave(i) b;
CREATE TABLE fitted AS SELECT (crm.clv_fit(x, t_x, t, value)).* FROM sample;
SELECT customers, repeaters, converged, value_converged, reason, round(r::numeric, 2) AS r, round(alpha::numeric, 1) AS alpha, round(a::numeric, 2) AS a, round(b::numeric, 2) AS b, round(p::numeric, 2) AS p, round(q::numeric, 2) AS q, round(v::numeric, 0) AS v FROM fitted;
-- The likelihood is that of the model, and a maximum: less on each side of each parameter
SELECT round((f.log_likelihood - sum(crm.clv_log_likelihood(m, x, t_x, t)))::numeric, 6) AS difference,
	   round((f.value_log_likelihood - sum(crm.clv_value_log_likelihood(m, x, value)) FILTER (WHERE x > 0))::numeric, 6) AS difference
  FROM fitted f, sample s, LATERAL (SELECT crm.make_clv_model(f.r, f.alpha, f.a, f.b, f.p, f.q, f.v)) l (m) GROUP BY f.log_likelihood, f.value_log_likelihood;
SELECT which, factor, sum(crm.clv_log_likelihood(m, x, t_x, t)) < f.log_likelihood AS less
  FROM fitted f, sample s, unnest('{0.99,1.01}'::float8[]) factor, unnest('{r,alpha,a,b}'::text[]) which,
	   LATERAL (SELECT crm.make_clv_model(f.r * CASE which WHEN 'r' THEN factor ELSE 1 END, f.alpha * CASE which WHEN 'alpha' THEN factor ELSE 1 END,
										  f.a * CASE which WHEN 'a' THEN factor ELSE 1 END, f.b * CASE which WHEN 'b' THEN factor ELSE 1 END)) l (m)
 GROUP BY which, factor, f.log_likelihood ORDER BY which, factor;

-- The same in any order, in another unit of time (alpha goes with it) and of money (v goes with it), and of everybody twice
CREATE FUNCTION differ(a fitted, b crm.clv_model) RETURNS numeric LANGUAGE sql AS $$
	SELECT round(greatest(abs(ln(a.r / b.r)), abs(ln(a.alpha / b.alpha)), abs(ln(a.a / b.a)), abs(ln(a.b / b.b)), abs(ln(a.p / b.p)), abs(ln(a.q / b.q)), abs(ln(a.v / b.v)))::numeric, 5)
$$;
SELECT fitted::text = b.m::text AS same FROM fitted, (SELECT crm.clv_fit(x, t_x, t, value ORDER BY id DESC) m FROM sample) b;
SELECT differ(fitted, b.m) FROM fitted, (SELECT crm.clv_fit(x, t_x * 7, t * 7, value) m FROM sample) s, LATERAL (SELECT s.m) l, LATERAL (SELECT crm.make_clv_model((s.m).r, (s.m).alpha / 7, (s.m).a, (s.m).b, (s.m).p, (s.m).q, (s.m).v) m) b;
SELECT differ(fitted, b.m) FROM fitted, (SELECT crm.clv_fit(x, t_x, t, value * 1000) m FROM sample) s, LATERAL (SELECT crm.make_clv_model((s.m).r, (s.m).alpha, (s.m).a, (s.m).b, (s.m).p, (s.m).q, (s.m).v / 1000) m) b;
SELECT differ(fitted, s.m), (s.m).customers, round(((s.m).log_likelihood / f.log_likelihood)::numeric, 6) FROM fitted, fitted f, (SELECT crm.clv_fit(x, t_x, t, value) m FROM sample, generate_series(1, 2)) s;

-- Serial, parallel and partition-wise the same
CREATE TABLE parted (LIKE sample) PARTITION BY HASH (id);
CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parted SELECT * FROM sample;
SET enable_partitionwise_aggregate = on;
EXPLAIN (COSTS OFF) SELECT crm.clv_fit(x, t_x, t, value) FROM parted;
SELECT fitted::text = b.m::text AS same FROM fitted, (SELECT crm.clv_fit(x, t_x, t, value) m FROM parted) b;
SET enable_partitionwise_aggregate = off;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT crm.clv_fit(x, t_x, t, value) FROM sample;
SELECT fitted::text = b.m::text AS same FROM fitted, (SELECT crm.clv_fit(x, t_x, t, value) m FROM sample) b;
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- What has no maximum says so
CREATE FUNCTION outcome(m crm.clv_model) RETURNS text LANGUAGE sql AS $$ SELECT format('%s %s %s', m.converged, m.value_converged, m.reason) $$;
SELECT outcome(crm.clv_fit(x, t_x, t, value)) FROM sample WHERE false;
SELECT outcome(crm.clv_fit(0, 0, 10, NULL)) FROM generate_series(1, 10);
SELECT outcome(crm.clv_fit(x, t, t, 10 + x)) FROM generate_series(1, 5) x, generate_series(10, 20) t;		-- nobody drops out
SELECT outcome(crm.clv_fit(3, 5, 10, 20)) FROM generate_series(1, 10);										-- all the same
SELECT outcome(crm.clv_fit(1, 0, 0, 20));																	-- no time
SELECT outcome(crm.clv_fit(x, t_x, t, NULL)) FROM sample;
SELECT outcome(crm.clv_fit(x, t_x, t, CASE WHEN id % 2 = 0 THEN 0 ELSE -1 END)) FROM sample;

-- Rows that are not known are passed over
SELECT (crm.clv_fit(x, t_x, t, value)).customers FROM (VALUES (NULL, 1, 2, 3), (1, NULL, 2, 3), (1, 2, NULL, 3), (1, 1.5, 2, 3)) v (x, t_x, t, value);

-- The state
SELECT crm.clv_sample_add(NULL, 1, 0.5, 2, 3), crm.clv_sample_add(NULL, 0, 0, 2, NULL);
SELECT crm.clv_sample_merge(NULL, NULL) IS NULL AS nothing, crm.clv_sample_merge(s, NULL)::text = s::text AS same, crm.clv_sample_merge(NULL, s)::text = s::text AS same,
	   crm.clv_sample_merge(s, s)::text = s::text || substr(s::text, 5) AS twice FROM crm.clv_sample_add(NULL, 1, 0.5, 2, 3) s;
SELECT (crm.clv_sample_fit(s)).customers FROM crm.clv_sample_add(crm.clv_sample_add(NULL, 1, 0.5, 2, 3), 0, 0, 2, NULL) s;
CREATE TEMP TABLE state AS SELECT s FROM crm.clv_sample_add(crm.clv_sample_add(NULL, 1, 0.5, 2, 3), 0, 0, 2, NULL) s;
CREATE TEMP TABLE sent (s crm.clv_sample);
COPY state TO PROGRAM 'cat >regression_clv.tmp' (FORMAT binary);
COPY sent FROM PROGRAM 'cat regression_clv.tmp && rm regression_clv.tmp' (FORMAT binary);
SELECT state.s::text = sent.s::text AS same FROM state, sent;

-- Any bytes give a sample or an error of class 22
CREATE FUNCTION pg_temp.fuzz(cases int) RETURNS TABLE (outcome text, met boolean) LANGUAGE plpgsql AS $$
DECLARE
	source bytea := (SELECT crm.clv_sample_send(s) FROM state);
	bytes bytea;
	accepted int := 0;
	refused int := 0;
BEGIN
	FOR k IN 1 .. cases LOOP
		bytes := source;
		FOR j IN 0 .. floor(random() * 3)::int LOOP
			bytes := set_byte(bytes, floor(random() * length(bytes))::int, floor(random() * 256)::int);
		END LOOP;
		IF random() < 0.2 THEN
			bytes := substr(bytes, 1, floor(random() * length(bytes))::int);
		END IF;
		BEGIN
			PERFORM crm.clv_sample_fit(crm.clv_sample_merge(bytes::text::crm.clv_sample, bytes::text::crm.clv_sample));
			accepted := accepted + 1;
		EXCEPTION WHEN data_exception OR invalid_text_representation OR invalid_binary_representation THEN
			refused := refused + 1;
		END;
	END LOOP;
	RETURN QUERY VALUES ('accepted', accepted > 0), ('refused', refused > 0), ('all', accepted + refused = cases);
END $$;
SELECT setseed(0.2);
SELECT * FROM pg_temp.fuzz(2000);

------------------------------------------------------------------------------------------------------------------
-- Of a population, and by the feed
------------------------------------------------------------------------------------------------------------------

CREATE TABLE shop_order (user_id int, placed_at timestamptz, total numeric);
INSERT INTO shop_order VALUES
	(1, '2026-01-01 10:00Z', 50), (1, '2026-01-01 18:00Z', 10), (1, '2026-01-15 10:00Z', 20.50), (1, '2026-01-22Z', 21), (1, '2026-06-20Z', NULL),
	(2, '2026-06-30 22:00Z', 5), (2, '2026-06-30 23:00Z', -5),
	(3, '2026-05-06Z', 0), (3, '2026-05-07Z', 0), (3, '2026-05-08Z', -7),
	(4, '2026-07-02Z', 1);
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'UTC') AS p FROM shop_order) o, crm.clv_summary(o.p) s;
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'orders', 'UTC') AS p FROM shop_order) o, crm.clv_summary(o.p, '2026-06-01', 1) s;
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'Europe/Moscow') AS p FROM shop_order) o, crm.clv_summary(o.p, unit_days => 1) s WHERE s.customer = 2;
SELECT count(*) FROM crm.clv_summary(NULL);
-- further apart than 63 bits of microseconds tell
SELECT s.x, round(s.t_x) AS t_x, round(s.t) AS t
  FROM (SELECT crm.rfm_agg(1, at, 1, 'orders', 'UTC') AS p FROM (VALUES ('4714-11-24 00:00Z BC'::timestamptz), ('294276-12-31 00:00Z')) AS v (at)) o, crm.clv_summary(o.p, '294276-12-31 12:00Z', 1) s;

SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount FROM public.shop_order');
-- Refunds are no orders, unless they are said to be
SELECT customer, x, t_x, t, value FROM crm.clv(model => (SELECT m FROM model));
SELECT customer, x, t_x, t, value FROM crm.clv(model => (SELECT m FROM model), refunds => true);
SELECT c.customer, round(p_alive::numeric, 6) AS p_alive, round(expected_orders::numeric, 6) AS expected_orders, round(expected_value::numeric, 6) AS expected_value, round(clv::numeric, 6) AS clv,
	   p_alive = crm.p_alive(m, x, t_x, t) AND abs(expected_orders / crm.expected_orders(m, x, t_x, t, 365.2425 / 7) - 1) < 1e-9
	   AND abs(expected_value / crm.expected_value(m, x, value::float8) - 1) < 1e-9 AND abs(clv / crm.clv_of(m, x, t_x, t, value::float8) - 1) < 1e-9 AS same
  FROM model, crm.clv(model => m) c;
SELECT customer, expected_value, clv FROM crm.clv(model => (SELECT m FROM model), refunds => true) WHERE customer = 3;

SELECT crm.define_event('few', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount FROM public.shop_order WHERE user_id < 10');

-- Fitted to the feed, as to the population
INSERT INTO shop_order SELECT id + 10, '2026-07-01Z'::timestamptz - make_interval(days => (7 * (t - t_x * k / greatest(x, 1)))::int), coalesce(value, 5) + k FROM sample, generate_series(0, x) k;
SELECT (m).customers, (m).converged, (m).value_converged FROM crm.fit_clv() m;
SELECT m::text = (SELECT crm.clv_fit(x, t_x, t, value::float8)::text FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'UTC') AS p FROM shop_order WHERE total >= 0 OR total IS NULL) o, crm.clv_summary(o.p) s) AS same FROM crm.fit_clv() m;
SELECT count(*), count(*) FILTER (WHERE c.clv = d.clv) AS same FROM crm.clv() c FULL JOIN crm.clv(model => crm.fit_clv()) d USING (customer);

-- What did not converge says nothing
SELECT customer, x, t_x, t, value, p_alive, expected_orders, expected_value, clv FROM crm.clv('2026-02-20', since => '2026-01-15', kind => 'few');
SELECT * FROM crm.clv('2020-01-01');

-- A series of millions of terms can be cancelled
SET statement_timeout = '100ms';
DO $$
DECLARE
	start timestamptz := clock_timestamp();
BEGIN
	PERFORM FROM (SELECT min(placed_at) AS at FROM shop_order) o, crm.clv(o.at, model => crm.make_clv_model(0.5, 1e-6, 10, 0.01, 6, 4, 15));
	RAISE WARNING 'not cancelled';
EXCEPTION WHEN query_canceled THEN
	RAISE WARNING 'cancelled, % too late', CASE WHEN clock_timestamp() - start < interval '20 seconds' THEN 'not' ELSE 'much' END;
END
$$;
RESET statement_timeout;

-- Errors
SELECT crm.p_alive(crm.make_clv_model(0, 1, 1, 1), 1, 1, 2);
SELECT crm.p_alive(crm.make_clv_model(1, 1, 1, 'NaN'), 1, 1, 2);
SELECT crm.p_alive(crm.make_clv_model(1, NULL, 1, 1), 1, 1, 2) IS NULL AS nothing;
SELECT crm.p_alive(m, -1, 0, 2) FROM model;
SELECT crm.p_alive(m, 1, 3, 2) FROM model;
SELECT crm.p_alive(m, 1, 1, 'infinity') FROM model;
SELECT crm.expected_orders(m, 1, 1, 2, -1) FROM model;
SELECT crm.expected_orders(m, 1, 1, 2, 1e9) FROM model;
SELECT crm.expected_value(m, 1, -1) FROM model;
SELECT crm.clv_value_log_likelihood(m, 0, 1) FROM model;
SELECT crm.clv_of(m, 1, 1, 2, 3, months => 0) FROM model;
SELECT crm.clv_of(m, 1, 1, 2, 3, discount => -1) FROM model;
SELECT crm.clv_of(m, 1, 1, 2, 3, margin => 'NaN') FROM model;
SELECT crm.clv_of(m, 1, 1, 2, 3, unit_days => 0) FROM model;
SELECT crm.clv_fit(-1, 0, 1, 1);
SELECT crm.clv_fit(1, 2, 1, 1);
SELECT crm.clv_fit(1, 1, 1, 'infinity');
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM shop_order) o, crm.clv_summary(o.p) s;
SELECT s.* FROM (SELECT crm.rfm_agg(user_id, placed_at, total, 'days', 'UTC') AS p FROM shop_order) o, crm.clv_summary(o.p, unit_days => -1) s;
SELECT count(*) FROM crm.clv(kind => 'oder');
SELECT count(*) FROM crm.clv(months => 0);
SELECT count(*) FROM crm.clv(discount => NULL);
SELECT count(*) FROM crm.clv('infinity');
SELECT crm.fit_clv(unit_days => 0);

SELECT crm.drop_event('order'), crm.drop_event('few');
DROP TABLE shop_order, parted, sample, model, fitted CASCADE;
DROP FUNCTION outcome(crm.clv_model), behave(int);

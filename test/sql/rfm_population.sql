-- crm.population: the state of crm.rfm_agg, in parts, in parallel, stored, and as bytes that nobody should trust.

SET client_min_messages = warning;
SET search_path = public, crm;
SET TimeZone = 'UTC';
SET DateStyle = 'ISO';
SET crm_marketing.now = '2026-07-01 12:00:00Z';

-- The text form is the bytes: version 1, by rows, in seconds, no zone, scale 2, two customers, and so on
SELECT crm.rfm_agg(c, t, a) FROM (VALUES (7, '2026-06-01Z'::timestamptz, 10.50), (9, '2026-06-02Z', -3), (7, '2026-06-02Z', 1)) v (c, t, a);
SELECT crm.rfm_agg(c, t, a, 'days', 'UTC') FROM (VALUES (7, '2026-06-01Z'::timestamptz, 10.50), (9, '2026-06-02Z', -3), (7, '2026-06-02Z', 1)) v (c, t, a);
SELECT crm.rfm_agg(c, t, a, 'orders', 'UTC') FROM (VALUES (7, '2026-06-01 00:00:00.000001Z'::timestamptz, 1e30), (9, '2026-06-02Z', -3), (7, '2026-06-02Z', 1)) v (c, t, a);

------------------------------------------------------------------------------------------------------------------
-- In parts
------------------------------------------------------------------------------------------------------------------

-- 20,000 orders of 1,500 customers; amounts of several scales, some of them unknown, some too long for an integer
CREATE TABLE fact (customer bigint, at timestamptz, amount numeric) PARTITION BY HASH (customer);
CREATE TABLE fact_0 PARTITION OF fact FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE fact_1 PARTITION OF fact FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE fact_2 PARTITION OF fact FOR VALUES WITH (MODULUS 3, REMAINDER 2);
SELECT setseed(0.4);
INSERT INTO fact
SELECT CASE WHEN i % 7 = 0 THEN -1 ELSE 1 END * (1000 * random())::bigint,
	   '2025-01-01Z'::timestamptz + (random() * 400 * 24)::int * interval '1 hour',
	   CASE i % 50 WHEN 0 THEN NULL WHEN 1 THEN 1.0 / 3 WHEN 2 THEN 1e25 WHEN 3 THEN -20.5 WHEN 4 THEN 100 / 1.2 ELSE (random() * 100)::numeric(12,2) END
  FROM generate_series(1, 20000) AS i;
ANALYZE fact;
CREATE TABLE answer (how text, what text, p crm.population);
CREATE FUNCTION ask(how text) RETURNS void LANGUAGE sql AS $$
	INSERT INTO answer SELECT how, 'rows', crm.rfm_agg(customer, at, amount) FROM fact;
	INSERT INTO answer SELECT how, c, crm.rfm_agg(customer, at, amount, c, 'Europe/Moscow') FROM fact, unnest('{orders,days}'::text[]) c GROUP BY c;
	INSERT INTO answer SELECT how, 'aggregated', crm.rfm_agg(customer, at, amount, n) FROM (SELECT customer, at, amount, 1 + abs(customer) % 3 AS n FROM fact) f;
$$;

SET max_parallel_workers_per_gather = 0;
SELECT ask('serial');
SET enable_partitionwise_aggregate = on;
EXPLAIN (COSTS OFF) SELECT crm.rfm_agg(customer, at, amount) FROM fact;
SELECT ask('partition-wise');
SET enable_partitionwise_aggregate = off;
SET max_parallel_workers_per_gather = 2;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT crm.rfm_agg(customer, at, amount) FROM fact;
SELECT ask('parallel');
RESET max_parallel_workers_per_gather;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;

-- By parts of a day that are stored, and put together from the last to the first
CREATE TABLE part AS
SELECT date_trunc('week', at) AS week, crm.rfm_agg(customer, at, amount) AS by_rows, crm.rfm_agg(customer, at, amount, 'days', 'Europe/Moscow') AS by_days
  FROM fact GROUP BY 1;
CREATE FUNCTION put_together() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	part record;
	by_rows crm.population;
	by_days crm.population;
BEGIN
	FOR part IN SELECT * FROM part ORDER BY week DESC LOOP
		by_rows := crm.population_merge(by_rows, part.by_rows);
		by_days := crm.population_merge(part.by_days, by_days);
	END LOOP;
	INSERT INTO answer VALUES ('stored parts', 'rows', by_rows), ('stored parts', 'days', by_days);
END $$;
SELECT put_together();

-- Row by row, as if it were no aggregate
CREATE FUNCTION add_up() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	f record;
	by_rows crm.population;
	by_days crm.population;
BEGIN
	FOR f IN SELECT * FROM fact ORDER BY at LIMIT 1000 LOOP
		by_rows := crm.population_add(by_rows, f.customer, f.at, f.amount);
		by_days := crm.population_add(by_days, f.customer, f.at, f.amount, 'days', 'Europe/Moscow');
	END LOOP;
	INSERT INTO answer VALUES ('added', 'rows of 1000', by_rows), ('added', 'days of 1000', by_days);
END $$;
SELECT add_up();
INSERT INTO answer
SELECT 'aggregated', 'rows of 1000', crm.rfm_agg(customer, at, amount) FROM (SELECT * FROM fact ORDER BY at LIMIT 1000) f;
INSERT INTO answer
SELECT 'aggregated', 'days of 1000', crm.rfm_agg(customer, at, amount, 'days', 'Europe/Moscow') FROM (SELECT * FROM fact ORDER BY at LIMIT 1000) f;

-- However it came about, it is the same
SELECT what, count(*) AS ways, count(DISTINCT p::text) AS answers, bool_and(p::text::crm.population::text = p::text) AS read_back FROM answer GROUP BY what ORDER BY what;
-- and what SQL says
SELECT e.what, count(*), count(*) FILTER (WHERE s.frequency = e.n AND s.monetary = e.total AND s.monetary::text = e.total::text AND s.recency = '2026-07-01' - e.last) AS same
  FROM (SELECT a.what, s.* FROM answer a, crm.scores_of(a.p, zone => 'Europe/Moscow') s WHERE a.how = 'serial') s
  FULL JOIN (SELECT w AS what, customer, coalesce(sum(amount), 0) AS total, (max(at) AT TIME ZONE 'Europe/Moscow')::date AS last,
					CASE w WHEN 'rows' THEN count(*) WHEN 'orders' THEN count(DISTINCT at) WHEN 'days' THEN count(DISTINCT (at AT TIME ZONE 'Europe/Moscow')::date)
						   ELSE count(*) * (1 + abs(customer) % 3) END AS n
			   FROM fact, unnest('{rows,orders,days,aggregated}'::text[]) w GROUP BY 1, 2) e ON e.customer = s.customer AND e.what = s.what
 GROUP BY e.what ORDER BY e.what;

-- A running population
SELECT d, s.customer, s.frequency, s.monetary FROM (SELECT d, crm.rfm_agg(c, d, 10) OVER (ORDER BY d, c) AS p FROM (VALUES ('2026-06-01Z'::timestamptz, 1), ('2026-06-02Z', 2), ('2026-06-03Z', 1)) v (d, c)) o, crm.scores_of(o.p) s;

-- Put together with nothing
SELECT crm.population_merge(NULL, NULL) IS NULL AS nothing,
	   crm.population_merge(p, NULL)::text = p::text AS same, crm.population_merge(NULL, p)::text = p::text AS same FROM answer WHERE how = 'serial' AND what = 'days';
-- Put together with itself: twice as many, of twice the money
SELECT s.customer, s.frequency, s.monetary, d.frequency, d.monetary
  FROM (SELECT crm.rfm_agg(c, '2026-06-01Z', 1.5) AS p FROM generate_series(1, 2) c) o, crm.scores_of(o.p) s, crm.scores_of(crm.population_merge(o.p, o.p)) d WHERE s.customer = d.customer;
-- Not of one kind
SELECT crm.population_merge(a.p, b.p) FROM answer a, answer b WHERE a.how = 'serial' AND b.how = 'serial' AND a.what = 'days' AND b.what = 'rows';
SELECT crm.population_merge(a.p, b.p) FROM answer a, (SELECT crm.rfm_agg(1, now(), 1, 'days', 'UTC') AS p) b WHERE a.how = 'serial' AND a.what = 'days';
SELECT crm.population_add(p, 1, now(), 1) IS NULL FROM answer WHERE how = 'serial' AND what = 'orders';

-- In binary
CREATE TEMP TABLE sent (how text, what text, p crm.population);
COPY answer TO PROGRAM 'cat >regression_population.tmp' (FORMAT binary);
COPY sent FROM PROGRAM 'cat regression_population.tmp && rm regression_population.tmp' (FORMAT binary);
SELECT count(*), count(*) FILTER (WHERE s.p::text = a.p::text) AS same FROM sent s FULL JOIN answer a USING (how, what);

-- Much smaller than the rows
SELECT what, pg_column_size(p) < 20 * 1700 AS small FROM answer WHERE how = 'serial' AND what IN ('rows', 'aggregated');

------------------------------------------------------------------------------------------------------------------
-- Bytes that are none
------------------------------------------------------------------------------------------------------------------

\set VERBOSITY terse
SELECT ''::crm.population;
SELECT '\x'::crm.population;
SELECT '\x0'::crm.population;
SELECT '\x0g'::crm.population;
SELECT '\x02000000000000'::crm.population;			-- another version
SELECT '\x01030000000000'::crm.population;			-- counted by nothing known
SELECT '\x01000200000000'::crm.population;			-- another unit
SELECT '\x0102000000000000'::crm.population;		-- days of no zone
SELECT '\x01000003555443000000'::crm.population;	-- a zone, and no days
SELECT ('\x01020007' || encode('Nowhere', 'hex') || '000000')::crm.population;
SELECT ('\x01020003' || '550043' || '000000')::crm.population;
SELECT ('\x01020002' || 'c328' || '000000')::crm.population;
SELECT '\x01000000130000'::crm.population;			-- a scale that no amount has
SELECT '\x0100000000ffffffffffffffffff0100'::crm.population;	-- more customers than bytes
SELECT '\x0100000000ffffffffffffffffffff0100'::crm.population;	-- more bits than 64
SELECT '\x0100000000800000'::crm.population;		-- a number in two forms
SELECT '\x010000000001000000000000'::crm.population;	-- no orders
SELECT '\x010000000001000000000001'::crm.population;
SELECT '\x01000000000100000000000100'::crm.population;	-- something after the end
SELECT '\x0100000000010000000000'::crm.population;	-- cut off
\set VERBOSITY default

-- Any bytes give a population, or an error of class 22 or 54; what is read prints as what is read again
CREATE FUNCTION mutate(bytes bytea, other bytea) RETURNS bytea LANGUAGE plpgsql AS $$
DECLARE
	n int;
	i int;
BEGIN
	FOR k IN 0 .. floor(random() * random() * 4)::int LOOP
		n := length(bytes);
		EXIT WHEN n = 0;
		i := floor(random() * least(n, CASE WHEN random() < 0.5 THEN 24 ELSE n END))::int;
		bytes := CASE floor(random() * 6)::int
			WHEN 0 THEN set_byte(bytes, i, floor(random() * 256)::int)
			WHEN 1 THEN set_byte(bytes, i, (get_byte(bytes, i) + CASE WHEN random() < 0.5 THEN 1 ELSE 255 END) % 256)
			WHEN 2 THEN substr(bytes, 1, i) || substr(bytes, i + 2)
			WHEN 3 THEN substr(bytes, 1, i) || set_byte('\x00', 0, floor(random() * 256)::int) || substr(bytes, i + 1)
			WHEN 4 THEN substr(bytes, 1, i)
			ELSE substr(bytes, 1, i) || substr(other, 1 + floor(random() * length(other))::int) END;
	END LOOP;
	RETURN bytes;
END $$;
CREATE FUNCTION fuzz(cases int, OUT accepted boolean, OUT class text, OUT number int) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
	seeds bytea[] := ARRAY(SELECT crm.population_send(p) FROM (
		SELECT crm.rfm_agg(c, '2026-06-01Z'::timestamptz - c * interval '30 hours', 10.25 * c) AS p FROM generate_series(1, 20) c
		UNION ALL SELECT crm.rfm_agg(c / 3, '2026-06-01Z'::timestamptz - c * interval '30 hours', 10.25 * c, 'days', 'Europe/Moscow') FROM generate_series(1, 20) c
		UNION ALL SELECT crm.rfm_agg(c / 3, '2026-06-01 00:00:00.5Z'::timestamptz - c * interval '30 hours', 1e18 * c, 'orders', 'UTC') FROM generate_series(1, 20) c
		UNION ALL SELECT crm.rfm_agg(1, '2026-06-01Z', 1e40) UNION ALL SELECT crm.rfm_agg(1, '2026-06-01Z', 0.33333333333333333333, 'days', 'UTC')) s);
	counts jsonb := '{}';
	bytes bytea;
	p crm.population;
	outcome text;
BEGIN
	FOR k IN 1 .. cases LOOP
		bytes := mutate(seeds[1 + floor(random() * cardinality(seeds))::int], seeds[1 + floor(random() * cardinality(seeds))::int]);
		BEGIN
			p := bytes::text::crm.population;
			IF p::text::crm.population::text <> p::text THEN
				RAISE EXCEPTION 'read back otherwise: %', bytes USING ERRCODE = 'XX000';
			END IF;
			PERFORM count(*) FROM crm.scores_of(p);
			PERFORM count(*) FROM crm.scores_of(crm.population_merge(p, p), method => 'r', bins => 9);
			IF get_byte(bytes, 1) > 0 THEN
				PERFORM count(*) FROM crm.clv_summary(p), crm.ltv_of(p);
			END IF;
			outcome := 'accepted';
		EXCEPTION WHEN OTHERS THEN
			outcome := left(SQLSTATE, 2);
			IF outcome NOT IN ('22', '54') THEN
				RAISE;
			END IF;
		END;
		counts := counts || jsonb_build_object(outcome, coalesce((counts ->> outcome)::int, 0) + 1);
	END LOOP;
	RETURN QUERY SELECT c.key = 'accepted', c.key, c.value::int FROM jsonb_each_text(counts) c;
END $$;
SELECT setseed(0.7);
SELECT sum(number) AS cases, bool_or(accepted) AS some_accepted, bool_or(NOT accepted) AS some_refused FROM fuzz(2000);

DROP TABLE fact, answer, part;
DROP FUNCTION ask(text), put_together(), add_up(), mutate(bytea, bytea), fuzz(int);

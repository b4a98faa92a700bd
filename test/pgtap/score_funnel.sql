-- Funnels against the published cases of ClickHouse's windowFunnel and retention, and against evaluations in plain SQL on
-- random inputs in every mode. (test/bench/funnel.sh asks ClickHouse itself.)
--
-- The published cases do not lie in this project; give their directory as crm_data, else those tests skip. For other random
-- inputs, or more of them:  psql -v seed=0.5 -v cases=5000 -f test/pgtap/score_funnel.sql

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

\if :{?seed}
\else
\set seed 0.2026
\endif
\if :{?cases}
\else
\set cases 400
\endif
\if :{?crm_data}
\else
\set crm_data ''
\endif

BEGIN;

SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
SET LOCAL jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE EXTENSION IF NOT EXISTS crm_marketing;

\ir include/score_common.sql
\ir include/score_funnel_oracle.sql

SELECT plan(47);

------------------------------------------------------------------------------------------------------------------
-- Published cases
------------------------------------------------------------------------------------------------------------------

SELECT :'crm_data' || '/clickhouse/window_funnel_cases.csv' AS funnel_csv,
	   :'crm_data' || '/clickhouse/retention_cases.csv' AS retention_csv \gset
SELECT :'crm_data' <> '' AND (pg_stat_file(:'funnel_csv', true)).size IS NOT NULL AS present \gset

\if :present

CREATE TEMP TABLE published (name text, win bigint, modes text, events text, steps text, expected int) ON COMMIT DROP;
SELECT format('COPY published FROM %L WITH (FORMAT csv, HEADER)', :'funnel_csv') \gexec

-- Seconds of a clock that is ClickHouse's
CREATE FUNCTION pg_temp.published_level(c published) RETURNS int LANGUAGE sql AS $$
	SELECT crm.window_funnel(make_interval(secs => least(c.win, 100000000000)::float8),
							 coalesce(string_to_array(c.modes, ' '), '{}'),
							 to_timestamp(split_part(e, ':', 1)::bigint),
							 VARIADIC ARRAY(SELECT split_part(e, ':', 2) = s
											  FROM unnest(string_to_array(c.steps, ' ')) WITH ORDINALITY AS u (s, n)
											 ORDER BY n))
	  FROM unnest(string_to_array(c.events, ' ')) AS e
$$;

SELECT cmp_ok((SELECT count(*) FROM published), '>=', 28::bigint, 'there are published cases of windowFunnel');
SELECT is_empty($$
	SELECT p.name, p.modes, p.expected, pg_temp.published_level(p) FROM published AS p
	 WHERE pg_temp.published_level(p) IS DISTINCT FROM p.expected
$$, 'published cases of windowFunnel');

CREATE TEMP TABLE visit ON COMMIT DROP AS
	SELECT '00688' AS test, uid, 'd06' AS day FROM generate_series(0, 79) AS uid
	UNION ALL SELECT '00688', uid, 'd07' FROM generate_series(0, 49) AS uid
	UNION ALL SELECT '00688', uid, 'd08' FROM generate_series(0, 59) AS uid
	UNION ALL SELECT 'docs', uid, 'd01' FROM generate_series(0, 4) AS uid
	UNION ALL SELECT 'docs', uid, 'd02' FROM generate_series(0, 9) AS uid
	UNION ALL SELECT 'docs', uid, 'd03' FROM generate_series(0, 14) AS uid
	UNION ALL SELECT '00938', uid, 'd06' FROM generate_series(0, 7) AS uid
	UNION ALL SELECT '00938', uid, 'd07' FROM generate_series(0, 5) AS uid;

CREATE FUNCTION pg_temp.sums(test text, VARIADIC days text[]) RETURNS text LANGUAGE sql AS $$
	SELECT string_agg(n::text, ' ' ORDER BY i)
	  FROM (SELECT i, count(*) FILTER (WHERE met) AS n
			  FROM (SELECT uid, crm.retention(VARIADIC ARRAY(SELECT v.day = d FROM unnest(days) WITH ORDINALITY AS u (d, n)
															  ORDER BY n)) AS r
					  FROM visit AS v
					 WHERE v.test = sums.test
					 GROUP BY uid) AS u,
				   unnest(r) WITH ORDINALITY AS x (met, i)
			 GROUP BY i) AS s
$$;

CREATE TEMP TABLE published_retention (test text, data text, conditions text, expected text) ON COMMIT DROP;
SELECT format('COPY published_retention FROM %L WITH (FORMAT csv, HEADER)', :'retention_csv') \gexec
SELECT results_eq(
	$$SELECT pg_temp.sums(test, VARIADIC string_to_array(conditions, ',')) FROM published_retention
	   WHERE test IN ('00688', 'docs') ORDER BY test, conditions$$,
	$$SELECT expected FROM published_retention WHERE test IN ('00688', 'docs') ORDER BY test, conditions$$,
	'published sums of retention');

\else
SELECT * FROM skip('cases of ClickHouse are not here: set crm_data to the directory that holds clickhouse/', 3);
\endif

SELECT is_empty($$
	SELECT uid, crm.retention(true, day = 'd06', day = 'd07'), crm.retention(uid % 2 = 0, day = 'd06', day = 'd07')
	  FROM (VALUES (0, 'd06'), (0, 'd07'), (1, 'd06'), (1, 'd07')) AS v (uid, day)
	 GROUP BY uid
	HAVING crm.retention(true, day = 'd06', day = 'd07') <> '{t,t,t}'
		OR crm.retention(uid % 2 = 0, day = 'd06', day = 'd07') <> CASE WHEN uid % 2 = 0 THEN '{t,t,t}' ELSE '{f,f,f}' END::bool[]
$$, 'retention: nothing without the first condition');

------------------------------------------------------------------------------------------------------------------
-- Random inputs
------------------------------------------------------------------------------------------------------------------

SELECT setseed(:seed) \g /dev/null

CREATE TEMP TABLE event ON COMMIT DROP AS
SELECT c.id, c.steps, c.win, floor(random() * c.span)::int AS at,
	   CASE WHEN random() < 0.1 THEN 0
			WHEN random() < c.plain THEN 1 << floor(random() * c.steps)::int
			ELSE floor(random() * (1 << c.steps))::int END AS mask
  FROM (SELECT id, 1 + id % 5 AS steps, (ARRAY[0, 1, 3, 10, 40])[1 + floor(random() * 5)::int] AS win,
			   1 + floor(random() * 10)::int AS size, (ARRAY[2, 8, 30])[1 + floor(random() * 3)::int] AS span,
			   random() * 1.2 AS plain
		  FROM generate_series(1, :cases) AS id) AS c, generate_series(1, size);

CREATE TEMP TABLE mode ON COMMIT DROP AS
SELECT ARRAY(SELECT w FROM unnest('{strict_deduplication,strict_order,strict_increase,strict_once,allow_reentry}'::text[])
						   WITH ORDINALITY AS u (w, i)
			  WHERE (m >> (i - 1)::int) & 1 = 1) AS modes
  FROM generate_series(0, 31) AS m
 WHERE m & 16 = 0 OR m & 2 <> 0;

CREATE TEMP TABLE answer ON COMMIT DROP AS
SELECT m.modes, id, steps, win,
	   crm.window_funnel(make_interval(secs => win), m.modes, to_timestamp(at),
						 VARIADIC ARRAY(SELECT (mask >> k) & 1 = 1 FROM generate_series(0, steps - 1) AS k)) AS level,
	   array_agg(ROW(at, mask)::funnel_oracle.event ORDER BY random()) AS events
  FROM event, mode AS m
 GROUP BY m.modes, id, steps, win;

SELECT is_empty(
	format($$SELECT id, modes, level, funnel_oracle.level(win, modes, steps, events), win, events FROM answer
			  WHERE modes = %L AND level IS DISTINCT FROM funnel_oracle.level(win, modes, steps, events)$$, modes),
	format('random inputs: %s', modes))
  FROM mode
 ORDER BY modes;

SELECT is_empty(
	$$SELECT id, modes, level, win, events FROM answer
	   WHERE modes IN ('{}', '{strict_once}')
		 AND level IS DISTINCT FROM funnel_oracle.exists_level(win, modes <> '{}', steps, events)$$,
	'without modes, and with strict_once, it is whether there are such events');

SELECT is_empty(
	$$SELECT id FROM event GROUP BY id, steps, win
	  HAVING crm.window_funnel(make_interval(secs => win), to_timestamp(at),
							   VARIADIC ARRAY(SELECT (mask >> k) & 1 = 1 FROM generate_series(0, steps - 1) AS k))
		  <> crm.window_funnel(make_interval(secs => win), '{}', to_timestamp(at),
							   VARIADIC ARRAY(SELECT (mask >> k) & 1 = 1 FROM generate_series(0, steps - 1) AS k))$$,
	'without modes and with none is the same');

------------------------------------------------------------------------------------------------------------------
-- Serial, parallel, by partitions
------------------------------------------------------------------------------------------------------------------

CREATE TABLE public.click (customer int, at timestamptz, kind text) PARTITION BY HASH (at);
CREATE TABLE public.click_0 PARTITION OF public.click FOR VALUES WITH (MODULUS 3, REMAINDER 0);
CREATE TABLE public.click_1 PARTITION OF public.click FOR VALUES WITH (MODULUS 3, REMAINDER 1);
CREATE TABLE public.click_2 PARTITION OF public.click FOR VALUES WITH (MODULUS 3, REMAINDER 2);
INSERT INTO public.click
SELECT floor(random() * 300)::int, '2026-01-01'::timestamptz + floor(random() * 500) * interval '1 minute',
	   (ARRAY['view', 'cart', 'order', 'visit'])[1 + floor(random() * 4)::int]
  FROM generate_series(1, 6000);
ANALYZE public.click;

\set query 'SELECT customer, crm.window_funnel(\'1 hour\', \'{strict_order,allow_reentry}\', at, kind = \'view\', kind = \'cart\', kind = \'order\'), crm.window_funnel(\'2 hours\', at, kind = \'view\', kind = \'cart\'), crm.retention(kind = \'view\', kind = \'order\') FROM public.click GROUP BY customer'

SELECT matches(common.plan(:'query', 2), 'Partial .*Aggregate', 'there is a parallel plan');
SELECT is(common.answer(:'query', 2), common.answer(:'query', 0), 'a parallel plan answers as a serial one');

-- The states as values: stored, merged by hand, finished
CREATE AGGREGATE pg_temp.funnel_partial(interval, timestamptz, VARIADIC boolean[]) (
	SFUNC = crm.funnel_state_add, STYPE = crm.funnel_state);
CREATE AGGREGATE pg_temp.funnel_partial(interval, text[], timestamptz, VARIADIC boolean[]) (
	SFUNC = crm.funnel_state_add, STYPE = crm.funnel_state);
CREATE AGGREGATE pg_temp.funnel_union(crm.funnel_state) (
	SFUNC = crm.funnel_state_merge, STYPE = crm.funnel_state);

CREATE TEMP TABLE stored ON COMMIT DROP AS
SELECT customer, at::date AS day, extract(minute FROM at)::int % 3 AS part,
	   pg_temp.funnel_partial('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') AS state
  FROM public.click
 GROUP BY 1, 2, 3;

SELECT is_empty($$
	SELECT customer, crm.funnel_state_final(pg_temp.funnel_union(state)) FROM stored GROUP BY customer
	EXCEPT
	SELECT customer, crm.window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order')
	  FROM public.click GROUP BY customer
$$, 'states that were stored and merged give the same');

SELECT is_empty($$
	SELECT customer, pg_temp.funnel_union(state)::text FROM stored GROUP BY customer
	EXCEPT
	SELECT customer, pg_temp.funnel_partial('1 hour', at, kind = 'view', kind = 'cart', kind = 'order'
											ORDER BY random())::text
	  FROM public.click GROUP BY customer
$$, 'and are the same as text, in whatever order events came');

-- A window's frame moves: the state of one row must not be changed by the next.
CREATE TEMP TABLE numbered ON COMMIT DROP AS
SELECT customer, at, kind, row_number() OVER (PARTITION BY customer ORDER BY at, kind) AS n
  FROM public.click
 WHERE customer < 20;

SELECT is_empty($$
	SELECT c.customer, c.n
	  FROM (SELECT customer, n,
				   crm.window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') OVER w AS level,
				   pg_temp.funnel_partial('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') OVER w AS state
			  FROM numbered
			WINDOW w AS (PARTITION BY customer ORDER BY n ROWS BETWEEN 5 PRECEDING AND CURRENT ROW)
			 ORDER BY random()) AS c
	  JOIN numbered AS x ON x.customer = c.customer AND x.n BETWEEN c.n - 5 AND c.n
	 GROUP BY c.customer, c.n, c.level, c.state::text
	HAVING crm.window_funnel('1 hour', x.at, x.kind = 'view', x.kind = 'cart', x.kind = 'order') <> c.level
		OR crm.funnel_state_final(c.state::text::crm.funnel_state) <> c.level
$$, 'in a moving frame of a window');

SELECT is_empty($$
	SELECT customer, at FROM (
		SELECT customer, at, crm.funnel_state_final(s) AS stored, level FROM (
			SELECT customer, at, pg_temp.funnel_partial('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') OVER w AS s,
				   crm.window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') OVER w AS level
			  FROM public.click WHERE customer < 20
			WINDOW w AS (PARTITION BY customer ORDER BY at, kind)) AS r ORDER BY random()) AS q
	 WHERE stored <> level
$$, 'states of a growing frame, looked at later');

------------------------------------------------------------------------------------------------------------------
-- States: parameters, limits, any bytes
------------------------------------------------------------------------------------------------------------------

SELECT throws_ok($$SELECT crm.funnel_state_merge(pg_temp.funnel_partial('1 hour', now(), true, true),
												 pg_temp.funnel_partial('2 hours', now(), true, true))$$, '22023', NULL,
				 'states of different windows');
SELECT throws_ok($$SELECT crm.funnel_state_merge(pg_temp.funnel_partial('1 hour', now(), true, true),
												 pg_temp.funnel_partial('1 hour', now(), true))$$, '22023', NULL,
				 'states of different numbers of steps');
SELECT throws_ok($$SELECT crm.funnel_state_merge(pg_temp.funnel_partial('1 hour', '{}', now(), true),
												 pg_temp.funnel_partial('1 hour', '{strict_once}', now(), true))$$, '22023',
				 NULL, 'states of different modes');
SELECT throws_ok($$SELECT crm.retention_merge(1::bigint << 32, 2::bigint << 32)$$, '22023', NULL,
				 'retentions of different numbers of conditions');
SELECT throws_ok($$SELECT crm.retention_final(x) FROM unnest(ARRAY[-1, 0, 1::bigint << 40]) AS x$$, '22023', NULL,
				 'a number that is no state of retention');
SELECT throws_ok($$SELECT crm.window_funnel(x, now(), true) FROM unnest('{1 hour,2 hours}'::interval[]) AS x$$, '22023', NULL,
				 'a window that differs within a group');

SELECT is_empty(
	format('SELECT * FROM common.fuzz(''crm.funnel_state'', %L, ''crm.funnel_state_final(crm.funnel_state_merge(s, s))'', 8000)',
		   (SELECT array_agg(state::text) FROM (SELECT state FROM stored ORDER BY customer LIMIT 40) AS s)),
	'any bytes as the text of a state give an error or a value');
SELECT is_empty(
	format('SELECT * FROM common.fuzz_binary(''crm.funnel_state'', %L, 400)',
		   (SELECT array_agg(state::text) FROM (SELECT state FROM stored ORDER BY customer LIMIT 40) AS s)),
	'any bytes that are received give an error or a value');

------------------------------------------------------------------------------------------------------------------
-- On the feeds
------------------------------------------------------------------------------------------------------------------

SELECT crm.define_event('view', $$SELECT customer AS customer_id, at FROM public.click WHERE kind = 'view'$$) \g /dev/null
SELECT crm.define_event('cart', $$SELECT customer AS customer_id, at FROM public.click WHERE kind = 'cart'$$) \g /dev/null
SELECT crm.define_event('order', $$SELECT customer AS customer_id, at FROM public.click WHERE kind = 'order'$$) \g /dev/null

CREATE TEMP TABLE level ON COMMIT DROP AS
	SELECT customer, crm.window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order') AS level
	  FROM public.click GROUP BY customer;
PREPARE by_agg AS
	SELECT k::int, (SELECT count(*) FROM level WHERE level >= k)
	  FROM generate_series(1, 3) AS k;
SELECT results_eq($$SELECT step, customers FROM crm.funnel('{view,cart,order}', '1 hour', until => 'infinity')$$, 'by_agg',
				  'crm.funnel counts what crm.window_funnel says');

-- Memory for a few rows only: the rest is in files.
SET LOCAL maintenance_work_mem = '1MB';
INSERT INTO public.click SELECT customer, at + i * interval '7 days', kind FROM public.click, generate_series(1, 14) AS i;
TRUNCATE level;
INSERT INTO level
	SELECT customer, crm.window_funnel('1 hour', at, kind = 'view', kind = 'cart', kind = 'order')
	  FROM public.click GROUP BY customer;
SELECT results_eq($$SELECT step, customers FROM crm.funnel('{view,cart,order}', '1 hour', until => 'infinity')$$, 'by_agg',
				  'the same through temporary files');

-- The times of the run that came so far first: of two steps that is the first cart that follows a view in time, and the
-- latest view before it.
CREATE TEMP TABLE first_run ON COMMIT DROP AS
	SELECT DISTINCT ON (c.customer) c.customer, c.at - v.at AS time
	  FROM public.click AS c
	  JOIN public.click AS v ON v.customer = c.customer AND v.at BETWEEN c.at - interval '1 hour' AND c.at
	 WHERE c.kind = 'cart' AND v.kind = 'view'
	 ORDER BY c.customer, c.at, v.at DESC;
SELECT results_eq(
	$$SELECT customers, median_time, median_total FROM crm.funnel('{view,cart}', '1 hour', until => 'infinity') WHERE step = 2$$,
	$$SELECT count(*), percentile_cont(0.5) WITHIN GROUP (ORDER BY time), percentile_cont(0.5) WITHIN GROUP (ORDER BY time)
		FROM first_run$$,
	'median time of a step');

SELECT * FROM finish();
ROLLBACK;

-- refresh_segments() against the evaluator, customer by customer: in random shops, whose customers are keyed by integers,
-- uuids or texts, in time zones on days when their calendars are odd, with random predicates and segments that name
-- others. What is stored, what is logged, and what segment_size() says of the past must be what crm.matches and
-- crm.periods say of each customer's profile; and things go on happening between the refreshes.
--
-- A failing case is printed whole. To try others:
--     psql -v seed=S -v worlds=20 -f test/pgtap/refresh_oracle.sql

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

\if :{?seed}
\else
\set seed refresh
\endif
\if :{?worlds}
\else
\set worlds 4
\endif

SET client_min_messages = error;		-- strangers, and predicates that can never be true, are wanted here
SET TimeZone = 'UTC';
SET jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA oracle;

\ir include/oracle_time.sql
\ir include/oracle_value.sql
\ir include/oracle_tree.sql
\ir include/oracle_random.sql
\ir include/oracle_candidates.sql
\ir include/oracle_run.sql
\ir include/refresh_shop.sql
\ir include/refresh_run.sql

SELECT plan(13);

SELECT pg_stat_force_next_flush() \g /dev/null
SELECT pg_stat_get_db_temp_files(oid) AS files FROM pg_database WHERE datname = current_database() \gset

\o /dev/null
SELECT format('SELECT judge.run_world(%L, %L, %L, %s, %s)', :'seed' || ':' || n,
			  (ARRAY['integer', 'uuid', 'text', 'bigint'])[1 + n % 4], CASE WHEN n % 2 = 1 THEN '1MB' ELSE '64MB' END, 60, 48)
FROM generate_series(1, :worlds) n
\gexec
\o

SELECT diag(format('seed %s: %s', :'seed', (SELECT string_agg(s, '; ' ORDER BY s)
	FROM (SELECT format('%s %s (%s true)', what, sum(n), sum(trues)) AS s FROM judge.tally GROUP BY what) x)));
SELECT diag(format(E'%s: %s at %s\n  %s', what, world, instant, left(detail, 3000)))
FROM (SELECT *, row_number() OVER (PARTITION BY what ORDER BY length(detail), n) AS nth FROM judge.failure) f
WHERE nth <= 4 ORDER BY what, nth;

SELECT is((SELECT count(*) FROM judge.failure WHERE what = x.what), 0::bigint, x.test)
FROM (VALUES (1, 'membership', 'what a refresh stores is what the evaluator says of each customer'),
			 (2, 'rows', 'rows of memberships are ascending and not empty'),
			 (3, 'one by one', 'so is the fresh answer'),
			 (4, 'counts', 'a refresh returns the population and the changes that it logged'),
			 (5, 'second refresh', 'a second refresh at the same instant finds nothing'),
			 (6, 'replay', 'the log replayed is what is stored'),
			 (7, 'alternation', 'customers enter and leave by turns'),
			 (8, 'instants', 'every change lies between the two refreshes, with a reason of the kind that fits'),
			 (9, 'flips', 'where nothing but time and events was, changes are logged at their very instants'),
			 (10, 'reason', 'the reason is an event at that instant, or time'),
			 (11, 'size', 'segment_size at the instant of a refresh is the size stored'),
			 (12, 'past size', 'segment_size over a time is what refreshes at its instants give')) x (n, what, test)
ORDER BY n;
-- A customer's notes are long enough for that; every second world has no more than 1 MB to work in.
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT cmp_ok(pg_stat_get_db_temp_files(oid), '>', :files::bigint, 'with little memory facts went through temporary files')
FROM pg_database WHERE datname = current_database();
SELECT * FROM finish();

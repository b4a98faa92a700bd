-- Whatever comes in, a value or an error that tells the user what is wrong: 200,000 mutated predicates and profiles, as
-- text, in binary and as jsonb.  Each gives a value or an error of class 22, 42 or 54, and never a crash; values print
-- as what reads back the same, and can be asked.
--
-- All comes from random() after setseed().  For other cases, or more of them:
--     psql -v seed=0.5 -v scale=10 -f test/pgtap/mutation.sql

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

\if :{?seed}
\else
\set seed 0.2026
\endif
\if :{?scale}
\else
\set scale 1
\endif

BEGIN;

SET LOCAL client_min_messages = error;
SET LOCAL search_path = public, crm;
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL crm_marketing.now = '2026-01-05 12:00:00Z';
SET LOCAL jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA mutation;

\ir include/mutation_corpus.sql
\ir include/mutation_run.sql

-- Batches, each a statement of its own with a seed of its own: should the server crash, its log names the batch.
CREATE TABLE mutation.batch AS
SELECT row_number() OVER (ORDER BY b.n, i)::int AS n, b.what, b.cases
FROM (VALUES (1, 'predicate text', 11000, 10), (2, 'predicate binary', 4000, 1), (3, 'profile text', 9000, 5),
			 (4, 'profile binary', 4000, 1), (5, 'jsonb cast', 7000, 3), (6, 'profile_agg', 6000, 2), (7, 'track', 4000, 1))
		b (n, what, cases, batches),
	generate_series(1, b.batches * :scale) i;

\o /dev/null
SELECT format('SELECT mutation.run(%L, %s, %s)', what, (:seed + n / 1000.0)::numeric % 1, cases)
FROM mutation.batch ORDER BY n
\gexec
\o
SELECT format('COPY (SELECT 1 WHERE false) TO PROGRAM %L', 'rm -f crm_mutation_' || oid) FROM pg_database WHERE datname = current_database()
\gexec

SELECT plan((SELECT 2 * count(*)::int + 1 FROM mutation.tally));

SELECT diag(format('%s: %s cases, %s accepted, the longest took %s s', what, cases, accepted,
				   (SELECT round(max(seconds), 2) FROM mutation.slow s WHERE s.what = t.what)))
FROM mutation.tally t ORDER BY what;
SELECT diag(format(E'%s: %s\n  input (%s characters) %s', what, complaint, length(input), left(input, 2000)))
FROM (SELECT *, row_number() OVER (PARTITION BY what ORDER BY length(input), n) AS nth FROM mutation.failure) f
WHERE nth <= 5 ORDER BY what, nth;

SELECT is((SELECT count(*) FROM mutation.failure f WHERE f.what = t.what), 0::bigint,
		  what || ': a good value, or an error of class 22, 42 or 54')
FROM mutation.tally t ORDER BY what;
-- mutations that all fail, or all succeed, test little
SELECT ok(accepted BETWEEN cases / 20 AND cases * 19 / 20, what || ': some are accepted and some are refused')
FROM mutation.tally t ORDER BY what;
SELECT cmp_ok((SELECT sum(cases) FROM mutation.tally), '>=', 200000 * :scale::numeric, 'all cases were run');

SELECT * FROM finish();
ROLLBACK;

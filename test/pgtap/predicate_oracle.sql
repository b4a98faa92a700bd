-- The predicate language against an oracle that was written from the language document alone, in SQL: facts are rows,
-- a window is a condition on their times, "undecided" is NULL, and local time is PostgreSQL's own.
--
-- First cases worked by hand, which both must meet; then random worlds, where the extension must agree with the oracle.
-- A failing case is printed whole.  To see a world again, give its seed and number:
--     psql -v seed=S -v world=N -v cases=1 -f test/pgtap/predicate_oracle.sql
-- and to try longer, -v cases=50000.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

\if :{?seed}
\else
\set seed marketing
\endif
\if :{?world}
\else
\set world 1
\endif
\if :{?cases}
\else
\set cases 5200
\endif

BEGIN;

SET LOCAL client_min_messages = warning;
SET LOCAL TimeZone = 'UTC';
SET LOCAL jit = off;

CREATE EXTENSION IF NOT EXISTS pgtap;
CREATE SCHEMA oracle;

\ir include/oracle_time.sql
\ir include/oracle_value.sql
\ir include/oracle_tree.sql
\ir include/oracle_candidates.sql
\ir include/oracle_random.sql
\ir include/oracle_run.sql
\ir include/oracle_hand.sql

SELECT plan((SELECT 2 * count(*)::int + 9 FROM oracle.hand));

SELECT is(h.by_oracle, h.expected, 'oracle: ' || h.label) FROM oracle.hand_answer h ORDER BY n;
SELECT is(h.by_extension, h.expected, h.label || ': ' || h.predicate) FROM oracle.hand_answer h ORDER BY n;

-- bucket is only promised to be stable and in 0..99
CREATE TEMP TABLE bucket AS
SELECT id, (SELECT array_agg(k) FROM generate_series(-1, 101) k
			WHERE crm.matches(format('{"customer": %s, "attributes": {}, "events": []}', id)::crm.profile,
							  format('bucket(''salt'') = %s', k)::crm.predicate, '2024-01-01Z', NULL, 'UTC')) AS k
FROM generate_series(1, 60) id;
SELECT is((SELECT count(*) FROM bucket WHERE cardinality(k) = 1 AND k[1] BETWEEN 0 AND 99), 60::bigint,
		  'every customer is in one bucket of 0..99');
SELECT cmp_ok((SELECT count(DISTINCT k) FROM bucket), '>', 20::bigint, 'customers spread over the buckets');
SELECT is((SELECT count(*) FROM bucket WHERE crm.matches(
			format('{"customer": %s, "attributes": {"a": 1}, "events": [{"kind": "x", "at": "2024-01-01T00:00:00Z"}]}', id)::crm.profile,
			format('bucket(''salt'') = %s and count(x) >= 0', k[1])::crm.predicate, '2030-06-01Z', '2029-01-01Z', 'Europe/Berlin')),
		  60::bigint, 'a bucket does not depend on facts, instant, entry or zone');

SELECT oracle.run(:'seed', :world, :cases) \g /dev/null

SELECT diag(format('seed %s from world %s: %s', :'seed', :world,
				   (SELECT string_agg(s, '; ' ORDER BY s) FROM
					(SELECT format('%s %s (%s true or not empty)', what, sum(n), sum(trues)) AS s FROM oracle.tally GROUP BY what) x)));
SELECT diag(format(E'%s: seed and world %s, zone %s, entry %s\n  profile %s\n  predicate %s\n  instant %s\n  expected %s\n  got %s',
				   what, seed, zone, coalesce(entry::text, 'NULL'), profile, predicate, coalesce(instant, '-'), expected, got))
FROM (SELECT *, row_number() OVER (PARTITION BY what ORDER BY length(profile) + 3 * length(predicate), n) AS nth FROM oracle.failure) f
WHERE nth <= 5 ORDER BY what, nth;

SELECT is((SELECT count(*) FROM oracle.failure WHERE what = x.what), 0::bigint, x.test)
FROM (VALUES (1, 'oracle', 'oracle: truth is constant between candidates'),
			 (2, 'matches', 'matches agrees with the oracle'),
			 (3, 'canonical text', 'canonical text reads back the same'),
			 (4, 'next_change', 'next_change agrees with the oracle'),
			 (5, 'periods', 'periods agrees with the oracle'),
			 (6, 'occurrences', 'occurrences agrees with the oracle')) x (n, what, test)
ORDER BY n;

SELECT * FROM finish();
ROLLBACK;

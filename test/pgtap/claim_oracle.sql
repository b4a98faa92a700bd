-- crm.claim_messages() and crm.decide() against the rules written down as plain statements: in random shops with merged people, consents,
-- suppressed addresses, holdouts, goals, conditions, deciding events, codes, pauses, quiet hours, caps, rates, and all that was handed out
-- before, each message gets the same verdict, until the same instant, at the same address; and a claim hands out the same messages in
-- the same order, and does the same with the others.
--
-- To try others: psql -v first=1000 -v shops=200 -f test/pgtap/claim_oracle.sql; what differs is in oracle.difference, with the seed.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off
\if :{?shops} \else \set shops 40 \endif
\if :{?first} \else \set first 1 \endif
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET jit = off;
CREATE EXTENSION IF NOT EXISTS pgtap;
\ir include/claim_rules.sql
\ir include/claim_shop.sql
\ir include/claim_run.sql

SELECT plan(4);
\o /dev/null
SELECT format('SELECT oracle.compare(%s, 6)', n / 100000.0) FROM generate_series(:first, :first + :shops - 1) AS n \gexec
\o
SELECT is((SELECT string_agg(format('%s, %s: %s', d.seed, d.what, d.detail), E'\n') FROM (SELECT * FROM oracle.difference ORDER BY 1, 2, 3 LIMIT 20) AS d), NULL,
		  'decisions and claims are those of the plain rules');
SELECT is((SELECT string_agg(w, ', ') FROM unnest('{goes,stopped,late,paused,"paused until","no address","no consent",suppressed,holdout,code,void,goal,condition,gone,"quiet hours until","cap until"}'::text[]) AS w
		    WHERE w NOT IN (SELECT s.what FROM oracle.seen AS s)), NULL, 'each verdict was met');
SELECT cmp_ok((SELECT count(*) FROM oracle.handed AS h WHERE h.n > 1), '>', (:shops)::bigint, 'claims handed something out');
SELECT is((SELECT count(*) FROM crm.outbox AS o LEFT JOIN crm.message AS m ON m.message_id = o.message_id
		    WHERE m.state IS DISTINCT FROM CASE WHEN o.lane = -1 THEN 'unknown' ELSE 'queued' END), 0::bigint, 'no message without its record');
SELECT * FROM finish();

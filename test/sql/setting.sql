--
-- Settings, the clock and the zone
--

-- The real time, until somebody sets another
SELECT crm.now() = pg_catalog.now() AS real_time;
SHOW crm_marketing.now;

-- Kept as UTC, whatever zone it was given in
SET TimeZone = 'Europe/Moscow';
SET crm_marketing.now = '2026-01-05 10:00';
SHOW crm_marketing.now;
SELECT crm.now();
SET TimeZone = 'America/New_York';
SELECT crm.now();
SET crm_marketing.now = '2026-07-01T12:00:00.123456+05:30';
SHOW crm_marketing.now;
SET crm_marketing.now = '2026-07-01 12:00 Europe/London';
SHOW crm_marketing.now;
SET crm_marketing.now = '0044-03-15 12:00+00 BC';
SHOW crm_marketing.now;
SET TimeZone = 'UTC';
SELECT crm.now();

-- Nothing that is no instant; the one before stays
SET crm_marketing.now = 'soon';
\echo :SQLSTATE
SET crm_marketing.now = 'infinity';
SET crm_marketing.now = '2026-02-30 00:00+00';
SET crm_marketing.now = '294277-01-01 00:00+00';
SET crm_marketing.now = '12:00';
SHOW crm_marketing.now;

SET crm_marketing.now = '';
SELECT crm.now() = pg_catalog.now() AS real_time;
SET crm_marketing.now = '2026-01-05 10:00+00';
RESET crm_marketing.now;
SELECT crm.now() = pg_catalog.now() AS real_time;

-- A local setting ends with its transaction
BEGIN;
SET LOCAL crm_marketing.now = '2026-01-05 10:00+00';
SELECT crm.now();
ROLLBACK;
SELECT crm.now() = pg_catalog.now() AS real_time;

-- Parallel workers have the same clock and zone
BEGIN;
SET LOCAL TimeZone = 'Asia/Tokyo';
SET LOCAL crm_marketing.now = '2026-01-05 10:00';
SELECT crm.configure('timezone', 'Asia/Kathmandu');
CREATE TABLE setting_parallel AS SELECT i FROM generate_series(1, 1000) AS i;
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT count(*) FROM setting_parallel
 WHERE crm.now() = '2026-01-05 01:00+00' AND crm.timezone() = 'Asia/Kathmandu';
SELECT count(*) FROM setting_parallel
 WHERE crm.now() = '2026-01-05 01:00+00' AND crm.timezone() = 'Asia/Kathmandu';
ROLLBACK;

-- Only superusers move the clock, and names under the prefix are ours
CREATE ROLE regress_crm_setting;
SET ROLE regress_crm_setting;
SET crm_marketing.now = '2026-01-05 10:00+00';
SELECT crm.configure('timezone', 'UTC');
SELECT * FROM crm.setting;
RESET ROLE;
SET crm_marketing.nonesuch = 1;

-- The zone: the shop's, not the session's
SELECT crm.timezone();
SELECT crm.configure('timezone', 'Europe/Moscow');
SELECT crm.timezone();
SET search_path = pg_temp;
CREATE TEMP TABLE setting (name text, value text);
INSERT INTO setting VALUES ('timezone', 'Mars/Olympus');
SELECT crm.timezone();
RESET search_path;
SELECT crm.configure('timezone', 'europe/LONDON');
SELECT * FROM crm.setting;

-- Who may call it need not be able to read the table
GRANT USAGE ON SCHEMA crm TO regress_crm_setting;
GRANT EXECUTE ON FUNCTION crm.timezone() TO regress_crm_setting;
SET ROLE regress_crm_setting;
SELECT crm.timezone();
SELECT crm.now();
SELECT * FROM crm.setting;
RESET ROLE;
REVOKE EXECUTE ON FUNCTION crm.timezone() FROM regress_crm_setting;
REVOKE USAGE ON SCHEMA crm FROM regress_crm_setting;
DROP ROLE regress_crm_setting;

-- Seen at once by what comes after in the same transaction, and taken back with it
BEGIN;
SELECT crm.configure('timezone', 'Asia/Tokyo');
SELECT crm.timezone();
ROLLBACK;
SELECT crm.timezone();

-- Refused
\set SHOW_CONTEXT never
SELECT crm.configure('timezone', 'MSK');
\echo :SQLSTATE
SELECT crm.configure('timezone', '+03');
SELECT crm.configure('timezone', 'MSK-3');
SELECT crm.configure('timezone', 'Etc/GMT+99');
SELECT crm.configure('timezone', 'localtime');
SELECT crm.configure('timezone', '');
SELECT crm.configure('time_zone', 'UTC');
\echo :SQLSTATE
SELECT crm.configure(NULL, 'UTC');
\echo :SQLSTATE
SELECT crm.timezone();

-- The session keeps its own
SHOW TimeZone;
SELECT crm.configure('timezone', 'etc/gmt-3');
SELECT * FROM crm.setting;
SHOW TimeZone;

-- Back to the default
SELECT crm.configure('timezone', NULL);
SELECT crm.timezone();
SELECT crm.configure('timezone', NULL);
SELECT crm.configure('nonesuch', NULL);
SELECT * FROM crm.setting;

-- The country
SELECT crm.country();
SELECT crm.configure('country', 'ru');
SELECT crm.country();
SELECT crm.configure('country', 'RUS');
\echo :SQLSTATE
SELECT crm.configure('country', '');
SELECT crm.configure('country', 'Ру');
SELECT crm.configure('country', E'RU\n');
SELECT crm.country(), crm.timezone();
SELECT * FROM crm.setting;
CREATE ROLE regress_crm_setting;
GRANT USAGE ON SCHEMA crm TO regress_crm_setting;
GRANT EXECUTE ON FUNCTION crm.country() TO regress_crm_setting;
SET ROLE regress_crm_setting;
SELECT crm.country();
RESET ROLE;
REVOKE EXECUTE ON FUNCTION crm.country() FROM regress_crm_setting;
REVOKE USAGE ON SCHEMA crm FROM regress_crm_setting;
DROP ROLE regress_crm_setting;
SELECT crm.configure('country', NULL);
SELECT crm.country();
SELECT * FROM crm.setting;

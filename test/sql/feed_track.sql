-- Tracked events.
SET search_path = public, crm;
SET timezone = 'UTC';
SELECT crm.track(1, 'view', '{"item": "SKU-1", "price": 10.50, "sale": true, "seen": "2026-01-05", "tags": ["a", "b"], "none": null}',
	'2026-01-15 10:00:00Z');
SELECT crm.track(1, 'view', at => '2026-01-31 23:59:59.999999Z');
SELECT crm.track(1, 'search', '{"query": "shoes"}', '2026-02-01 00:00:00Z');
SELECT crm.track(-5, 'view', at => '2025-12-31 23:59:59.999999Z');
SELECT c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound
  FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'crm.event'::regclass ORDER BY 1;
SELECT indexdef FROM pg_indexes WHERE schemaname = 'crm' AND tablename = 'event_2026_01';
SELECT kind, state, reason, definer, indexed, columns FROM crm.feeds;
SELECT crm.profile_of(1);
SELECT crm.profile_of(-5);

-- A repeat is no event: for the same customer and kind.
SELECT crm.track(1, 'view', '{"n": 1}', '2026-01-16 00:00:00Z', 'k');
SELECT crm.track(1, 'view', '{"n": 2}', '2026-03-16 00:00:00Z', 'k');
SELECT crm.track(1, 'search', '{"n": 3}', '2026-01-16 00:00:00Z', 'k');
SELECT crm.track(2, 'view', '{"n": 4}', '2026-01-16 00:00:00Z', 'k');
SELECT kind, customer_id, properties FROM crm.event WHERE properties ? 'n' ORDER BY properties -> 'n';
SELECT * FROM crm.event_key ORDER BY kind, customer_id;

-- crm.now() is the default instant.
SET crm_marketing.now = '2026-02-03 04:05:06Z';
SELECT crm.track(3, 'view');
RESET crm_marketing.now;
SELECT at FROM crm.event WHERE customer_id = 3;

-- Errors are the caller's own.
SELECT crm.track(NULL, 'view');
SELECT crm.track(1, NULL);
SELECT crm.track(1, 'view', NULL);
SELECT crm.track(1, 'view', at => NULL);
SELECT crm.track(1, 'view', on_error => NULL);
SELECT crm.track(1, 'view', on_error => 'ignore');
SELECT crm.track(1, '');
SELECT crm.track(1, repeat('x', 64));
SELECT crm.track(1, 'customer');
SELECT crm.track(1, 'view', '[1]');
SELECT crm.track(1, 'view', '1');
SELECT crm.track(1, 'view', '{"weekday": 1}');
SELECT crm.track(1, 'view', '{"kind": 1}');
SELECT crm.track(1, 'view', '{"": 1}');
SELECT crm.track(1, 'view', '{"a": {"b": 1}}');
SELECT crm.track(1, 'view', '{"a": [[1]]}');
SELECT crm.track(1, 'view', '{"a": [1, "x"]}');
SELECT crm.track(1, 'view', at => 'infinity');
SELECT crm.track(1, 'view', at => '20000-01-01 00:00:00Z');
SELECT crm.track(1, 'view', at => '0001-01-01 00:00:00Z BC');

-- Or a warning, and what was done before stays done.
BEGIN;
SELECT crm.track(4, 'view', '{"n": 5}', '2026-01-16 00:00:00Z', on_error => 'warn');
SELECT crm.track(4, 'view', '{"month": 1}', '2026-01-16 00:00:00Z', 'lost', on_error => 'warn');
SELECT crm.track(4, 'view', '{"n": 5}', 'infinity', on_error => 'warn');
SELECT crm.track(4, 'view', '{"n": 6}', '2026-01-17 00:00:00Z', 'lost', on_error => 'warn');
COMMIT;
SELECT crm.track(NULL, 'view', on_error => 'warn');
SELECT crm.track(4, NULL, on_error => 'warn');
SELECT crm.track(4, 'view', NULL, on_error => 'warn');
SELECT crm.track(4, 'view', at => NULL, on_error => 'warn');
SELECT crm.track(4, 'view', event_key => repeat('x', 1025), on_error => 'warn');
SELECT properties FROM crm.event WHERE customer_id = 4 ORDER BY at;
SELECT crm.track(4, 'view', at => '2026-01-16 00:00:00Z', event_key => (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 32) AS i));

-- A kind is either defined or tracked.
SELECT crm.define_event('view', 'SELECT 1 AS customer_id, ''2026-01-01 00:00:00Z''::timestamptz AS at');
SELECT crm.define_event('order', 'SELECT 1 AS customer_id, ''2026-01-01 00:00:00Z''::timestamptz AS at');
SELECT crm.track(1, 'order');
SELECT crm.drop_event('order');
SELECT crm.drop_event('view');
SELECT crm.drop_event('view', NULL);
SELECT crm.drop_event('view', with_events => true);
SELECT kind, count(*) FROM crm.event GROUP BY kind;
SELECT crm.profile_of(4) IS NULL AS nothing_left;

-- A transaction that comes to nothing leaves nothing, not even the partition.
BEGIN;
SELECT crm.track(1, 'wishlist', at => '2020-05-05 00:00:00Z');
ROLLBACK;
SELECT to_regclass('crm.event_2020_05') IS NULL AS no_partition;
SELECT crm.profile_of(1);

-- With this month's partition the next one is made, and with no other.
BEGIN;
SELECT crm.track(5, 'view', at => now());
SELECT count(*) AS made FROM pg_class
 WHERE oid IN (to_regclass('crm.event_' || to_char(now() AT TIME ZONE 'UTC', 'YYYY_MM')),
	to_regclass('crm.event_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month', 'YYYY_MM')))
   AND relispartition;
SELECT crm.track(5, 'view', at => date_trunc('month', now(), 'UTC') + interval '2 years');
SELECT to_regclass('crm.event_' || to_char(date_trunc('month', now() AT TIME ZONE 'UTC') + interval '25 months', 'YYYY_MM')) IS NULL AS not_made;
ROLLBACK;

-- A partition that was taken out, but is still there
BEGIN;
SELECT crm.track(5, 'view', at => '2021-05-05 00:00:00Z');
ALTER TABLE crm.event DETACH PARTITION crm.event_2021_05;
SELECT crm.track(5, 'view', at => '2021-05-06 00:00:00Z', on_error => 'warn');
ALTER TABLE crm.event ATTACH PARTITION crm.event_2021_05 FOR VALUES FROM ('2021-05-01 00:00:00Z') TO ('2021-06-01 00:00:00Z');
SELECT crm.track(5, 'view', at => '2021-05-06 00:00:00Z', on_error => 'warn');
ROLLBACK;

-- Retention.
BEGIN;
SET LOCAL lock_timeout = '7s';
SELECT crm.drop_events_before('2000-01-01');
SHOW lock_timeout;
COMMIT;
SELECT crm.drop_events_before(NULL);
SELECT crm.drop_events_before('2026-01-31 23:59:59Z');
SELECT crm.drop_events_before('2026-02-01 00:00:00Z');
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
 WHERE i.inhparent = 'crm.event'::regclass ORDER BY 1;
SELECT * FROM crm.event_key;
SELECT crm.profile_of(1);
SELECT crm.drop_event('search', true);
SELECT crm.drop_events_before('9999-12-31');
SELECT count(*) FROM crm.source WHERE NOT own;

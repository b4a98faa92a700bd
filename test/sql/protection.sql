-- What is told to a person, what is forgotten of him, and what is not kept too long.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
SET search_path = public, crm;
\set SHOW_CONTEXT never
CREATE TABLE users (id bigint PRIMARY KEY, city text, phone text, email text);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, placed_at timestamptz, amount numeric);
CREATE INDEX ON orders (user_id);
INSERT INTO users VALUES (1, 'Moscow', '+7 999 123-45-67', 'anna@example.org'), (2, NULL, '+79991234567', 'anna2@example.org'),
						 (3, 'Perm', '+79990000003', 'c@example.org'), (4, 'Omsk', NULL, 'd@example.org');
INSERT INTO orders (user_id, placed_at, amount) SELECT g % 4 + 1, '2026-01-01Z'::timestamptz + g * interval '1 hour', g FROM generate_series(0, 19) AS g;
SELECT define_customers('SELECT id AS customer_id, city, phone, email FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, amount FROM public.orders');
SET crm_marketing.now = '2026-02-01Z';
SELECT track(4, 'view', '{}', '2026-01-05Z');
SELECT create_segment('buyers', 'has order'), create_segment('reachable', 'reachable contains ''sms'''),
	   create_segment('readers', 'has view'), create_static_segment('by hand', ARRAY[1, 3]::bigint[]);
SELECT * FROM refresh_segments();
UPDATE crm.identity SET added_at = '2026-01-15 12:00Z';
SELECT identify('cookie', 'c00k1e') AS visitor \gset
SELECT track(:visitor, 'view', '{"item": "SKU-1"}', '2026-01-05Z', 'k1'), track(1, 'view', '{"item": "SKU-2"}', '2026-01-06Z');
SELECT link_identity(1, 'cookie', 'c00k1e'), link_identity(1, 'card', '4000 1234');
UPDATE crm.identity SET added_at = '2026-01-16 12:00Z' WHERE source <> 'feed';
SELECT merge_customers(1, 2, 'same phone'), forbid_merge(3, 4, 'twins'), forbid_merge(1, 4, 'cousins');
SELECT set_contact(2, 'telegram', '@anna'), record_consent(1, 'sms', proof => '{"ip": "192.0.2.1"}', at => '2026-01-10Z'),
	   record_consent(3, 'sms', at => '2026-01-10Z'), suppress_address('email', 'anna@example.org', 'bounced');
UPDATE crm.consent SET recorded_at = at;
SELECT set_attributes(1, '{"pet": "cat"}'), set_attributes(2, '{"job": "medic"}'), add_tag(2, 'vip'), share_identity('phone', '+79991234567'),
	   share_identity('email', 'anna2@example.org');
INSERT INTO crm.customer_score (customer_id, rfm, ltv) VALUES (1, '5-4-3', 100.10);
INSERT INTO crm.score_change (customer_id, at, name, new) VALUES (1, '2026-01-20Z', 'rfm', '5-4-3');
INSERT INTO crm.item_due VALUES (2, 'SKU-1', '2026-02-20Z');
SELECT * FROM refresh_segments();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;

-- told
SELECT export_customer(NULL), export_customer(99) - 'exported_at' AS nobody;
SELECT x -> 'customer' AS customer, x -> 'ids' AS ids, x -> 'exported_at' AS at, x -> 'segments' AS segments,
	   x -> 'profile' -> 'attributes' -> 'pet' AS pet, jsonb_array_length(x -> 'profile' -> 'events') AS events
  FROM export_customer(2) AS x;
SELECT t.key AS "table", jsonb_array_length(t.value) AS rows, (t.value -> 0) - '{by_role,merge_id,seen_at,change_id,consent_id,slot}'::text[] AS first
  FROM jsonb_each(export_customer(1) -> 'tables') AS t ORDER BY 1;

-- forgotten; live, and while the shop goes on
SELECT count(*) > 0 FROM tick('2026-02-01Z');
CALL run_ticks();
SELECT watch('order', 'public.orders'), watch('customer', 'public.users');
INSERT INTO orders (user_id, placed_at, amount) VALUES (2, '2026-01-30Z', 1000), (3, '2026-01-30Z', 1000);
SELECT erase_customer(2, 'asked for it');
SELECT erase_customer(1), erase_customer(2);
SELECT profile_of(1), profile_of(2), customer_card(1), export_customer(:visitor) -> 'tables' AS tables;
SELECT customer_id, erased_at, reason FROM crm.erased_customer ORDER BY 1;
SELECT n || ':' || v AS known_by, is_erased(n, v)
  FROM (VALUES ('email', 'anna@example.org'), ('email', 'anna2@example.org'), ('phone', '+79991234567'), ('cookie', 'c00k1e'), ('card', '4000 1234'),
			   ('telegram', '@anna'), ('customer', '1'), ('customer', '2'), ('customer', '3'), ('email', 'c@example.org'), ('email', NULL)) AS t(n, v);
SELECT channel, reason, count(*) FROM crm.suppression GROUP BY 1, 2 ORDER BY 1, 2;
SELECT namespace, value FROM crm.shared_identity;
CALL run_ticks();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
-- the shop still has him
UPDATE users SET city = 'Tver' WHERE id IN (1, 4);
INSERT INTO orders (user_id, placed_at, amount) VALUES (1, '2026-01-31Z', 5);
CALL run_ticks();
SELECT * FROM refresh_segments();
SELECT refresh_identities();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT array_agg(m ORDER BY m) FROM matching('true') AS m;
SELECT array_agg(m ORDER BY m) FROM matching('city = ''Tver'' or sum(order.amount) > 100') AS m;
SELECT customer, monetary FROM rfm_scores() ORDER BY 1;
SELECT array_agg(DISTINCT customer_id ORDER BY customer_id) FROM crm.identity;
SELECT * FROM verify_segments(10);
SELECT matches_segment(1, 'buyers'), is_member(1, 'buyers');

-- he is not taken up again
SELECT track(1, 'view', '{"item": "SKU-2"}', '2026-01-07Z') AS tracked, track(:visitor, 'view', '{}', '2026-01-07Z', 'k1') AS tracked;
SELECT count(*) FROM crm.event WHERE customer_id IN (1, 2, :visitor);
SELECT set_attributes(1, '{"pet": "cat"}');
SELECT add_tag(2, 'vip');
SELECT identify('email', 'Anna@example.org');
SELECT link_identity(3, 'phone', '+7 999 123-45-67');
SELECT link_identity(1, 'card', '1');
SELECT set_contact(3, 'telegram', '@anna');
SELECT record_consent(1, 'sms');
SELECT unsubscribe(1);
SELECT merge_customers(3, 1);
SELECT identify('cookie', 'c00k1e') < :visitor AS somebody_new;
SELECT count(*) FROM crm.consent WHERE customer_id = 1;
-- whoever has one of his addresses cannot be written to there
INSERT INTO users VALUES (5, NULL, '+79991234567', 'new@example.org');
CALL run_ticks();
SELECT channel, address, suppressed FROM contacts_of(5) WHERE channel IN ('email', 'sms');
-- save when he has come back
SELECT readmit_customer(1), readmit_customer(1), readmit_customer(NULL), readmit_identity('email', 'ANNA@example.org'),
	   readmit_identity('phone', '+79991234567'), readmit_identity('phone', '+79991234567');
CALL run_ticks();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT is_erased('customer', '1'), is_erased('email', 'anna@example.org');
SELECT channel, suppressed FROM contacts_of(1) WHERE channel IN ('email', 'sms');

-- a lead, who is only here; somebody who is nowhere
SELECT identify('email', 'lead@example.org') AS lead \gset
SELECT erase_customer(:lead);
SELECT erase_customer(1000);
SELECT erase_customer(NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT erase_customer(3);
ROLLBACK;
SELECT release_feeds();
SELECT erase_customer(3);
SELECT rebuild_feeds();
-- all or nothing
BEGIN;
SELECT erase_customer(3);
SELECT profile_of(3);
ROLLBACK;
SELECT profile_of(3) IS NOT NULL AS back, is_member(3, 'by hand'), is_erased('customer', '3');

-- kept as long as was said
SELECT * FROM apply_retention();
SELECT track(3, 'view', '{}', m), track(3, 'search', '{}', m, m::text), track(4, 'login', '{}', m)
  FROM unnest(ARRAY['2025-01-15Z', '2025-06-15Z', '2025-06-25Z', '2025-12-15Z', '2026-01-15Z']::timestamptz[]) AS m;
SELECT merge_customers(4, 5), unmerge_customers(5);
SELECT set_retention('event', '6 months'), set_retention('merge_log', '1 day');
SELECT * FROM crm.retention ORDER BY 1;
SELECT * FROM apply_retention('2025-12-20Z');
SELECT kind, array_agg(at ORDER BY at) FROM crm.event GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM crm.event_key;
-- one kind for less, another for longer than the others
SELECT set_retention('event:search', '1 month'), set_retention('event:login', '2 years');
SELECT * FROM apply_retention('2026-01-20Z');
SELECT kind, array_agg(at ORDER BY at) FROM crm.event GROUP BY 1 ORDER BY 1;
SELECT * FROM apply_retention('2026-06-20Z');
SELECT kind, array_agg(at ORDER BY at) FROM crm.event GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM crm.event_key;
SELECT set_retention('event', NULL), set_retention('event:login', NULL), set_retention('event:login', NULL), set_retention('membership_change', '1 year'),
	   set_retention('score_change', '1 year');
SELECT * FROM apply_retention('2030-01-01Z');
SELECT count(*) FROM crm.merge_log;
-- what was stored beside an erasure
INSERT INTO crm.tag VALUES (2, 'late', 'x', now());
INSERT INTO crm.identity (namespace, value, customer_id) VALUES ('card', 'late', 2);
INSERT INTO crm.static_member SELECT 2, s.segment_id FROM crm.segment AS s WHERE s.name = 'by hand';
SELECT profile_of(2);
SELECT * FROM refresh_segments(clock_timestamp());
SELECT customer_id FROM segment_member WHERE segment = 'by hand' ORDER BY 1;
SELECT * FROM apply_retention('2030-01-01Z') WHERE kind = 'erased';

SELECT set_retention(NULL, '1 day');
SELECT set_retention('events', '1 day');
SELECT set_retention('event:order', '1 day');
SELECT set_retention('event:nothing', '1 day');
SELECT set_retention('event', '0');
SELECT set_retention('event', '1 month -31 days');
SELECT * FROM apply_retention(NULL);
SELECT * FROM apply_retention('infinity');

-- a shop whose keys are no integers
SELECT drop_event('order');
DROP TABLE users, orders CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
CREATE TABLE users (id uuid PRIMARY KEY, email text);
INSERT INTO users VALUES ('00000000-0000-0000-0000-000000000001', 'anna@example.org'), ('00000000-0000-0000-0000-000000000002', NULL);
SELECT define_customers('SELECT id AS customer_id, email FROM public.users');
SELECT refresh_identities();
SELECT erase_customer(find_customer('shop', '00000000-0000-0000-0000-000000000001'));
SELECT refresh_identities(), refresh_identities();
SELECT key, customer_id FROM customer_key;
SELECT is_erased('shop', '00000000-0000-0000-0000-000000000001'), find_customer('shop', '00000000-0000-0000-0000-000000000001'),
	   find_customer('email', 'anna@example.org');
SELECT readmit_identity('shop', '00000000-0000-0000-0000-000000000001'), refresh_identities();
SELECT count(*) FROM customer_key;
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

-- The dossier of a person, and addresses that are not shown whole.
\pset null -
SET timezone = 'America/New_York';
SET client_min_messages = warning;
SET search_path = public, crm;
\set SHOW_CONTEXT never
CREATE TABLE users (id bigint PRIMARY KEY, city text, phone text, email text, birthday date);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, placed_at timestamptz, amount numeric);
CREATE INDEX ON orders (user_id);
INSERT INTO users VALUES (1, 'Moscow', '+7 999 123-45-67', 'anna@example.org', '1990-01-03'), (2, NULL, NULL, 'B@example.org', NULL),
						 (3, NULL, NULL, NULL, NULL);
INSERT INTO orders (user_id, placed_at, amount)
SELECT 1, '2026-01-01Z'::timestamptz + g * interval '1 day', 100 + g FROM generate_series(1, 22) AS g;
INSERT INTO orders (user_id, placed_at, amount) VALUES (2, '2026-01-30Z', 0.10), (1, '2026-03-01Z', 5);
SELECT define_customers('SELECT id AS customer_id, city, phone, email, birthday FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, amount FROM public.orders');
SET crm_marketing.now = '2026-02-01Z';

-- nobody, and somebody of whom next to nothing is known
SELECT customer_card(NULL), customer_card(99);
SELECT jsonb_pretty(customer_card(3));

SELECT refresh_identities();
UPDATE crm.identity SET added_at = '2026-01-15 12:00Z';
SELECT link_identity(2, 'card', '4000 1234');
SELECT link_identity(1, 'telegram', '@anna');
UPDATE crm.identity SET added_at = '2026-01-16 12:00Z' WHERE source <> 'feed';
SELECT set_contact(2, 'push', 'token-1');
SELECT record_consent(1, 'email', proof => '{"form": "footer", "ip": "192.0.2.1"}', at => '2026-01-10Z'),
	   record_consent(2, 'email', 'news', at => '2026-01-11Z'), record_consent(1, 'sms', at => '2026-01-12Z'),
	   unsubscribe(1, 'sms', at => '2026-01-13Z');
SELECT suppress_address('email', 'b@example.org', 'bounced');
SELECT set_attributes(1, '{"pets": ["cat"], "size \"x\"": 42}'), set_attributes(2, '{"pets": ["dog"], "job": "medic"}', 'questionnaire:a'),
	   add_tag(1, 'vip'), add_tag(2, 'new');
SELECT track(2, 'view', '{"item": "SKU \"1\"", "when": "2026-01-05", "n": [1, 2]}', '2026-01-31 23:59Z');
SELECT track(1, 'visit', '{}', '2026-02-01Z');
INSERT INTO crm.customer_score (customer_id, rfm, ltv, next_order) VALUES (1, '5-4-3', 100.10, '2026-03-01Z');
INSERT INTO crm.customer_score (customer_id, ltv, abc, xyz) VALUES (2, 7, 'A', 'Z');
SELECT create_segment('buyers', 'has order');
SELECT create_static_segment('"by hand"', ARRAY[2]::bigint[]);
SELECT * FROM refresh_segments();

SELECT jsonb_pretty(customer_card(2));
-- one person; events are the last twenty of both
SELECT merge_customers(1, 2);
SELECT * FROM refresh_segments();
SELECT jsonb_pretty(customer_card(2));
SELECT customer_card(2) = customer_card(1) AS same;
SELECT unmerge_customers(2);
SELECT c -> 'customer' AS customer, c -> 'ids' AS ids, c -> 'tags' AS tags, c -> 'segments' AS segments, c -> 'scores' AS scores,
	   jsonb_array_length(c -> 'events') AS events
  FROM unnest(ARRAY[1, 2]) AS id, customer_card(id) AS c;
-- a lead without account
SELECT identify('email', 'lead@example.org') AS lead \gset
SELECT customer_card(:lead) -> 'identities' -> 0 ->> 'value' AS value, customer_card(:lead) -> 'events' AS events;
-- a feed that cannot be read is told of
SELECT release_feeds();
SELECT customer_card(1);
SELECT rebuild_feeds();

-- masks
SELECT n, v, mask_address(n, v)
  FROM (VALUES ('phone', '+79991234567'), ('phone', '+1234567890'), ('phone', '+12345678'), ('phone', '+123456'), ('phone', ''),
			   ('email', 'anna@example.org'), ('email', 'a@b.c'), ('email', '@b.c'), ('email', 'no address here'), ('email', 'x@y@z.org'),
			   ('telegram', '@anna'), ('telegram', '@annabelle'), ('card', '4000 1234'), ('cookie', 'яяяяяяяя'), ('push', NULL),
			   (NULL, '+79991234567')) AS t(n, v);
SELECT namespace, value, customer_id, source FROM crm.identity_masked ORDER BY customer_id, namespace;
SELECT set_contact(1, 'email', NULL), set_contact(1, 'sms', '+79990000001');
SELECT customer_id, channel, address FROM crm.contact_masked ORDER BY 1, 2;

DROP TABLE users, orders CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

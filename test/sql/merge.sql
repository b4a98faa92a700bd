-- Two customers who are one person, and two again. The shop is made of three, of whom one turns out to be another.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
SET search_path = public, crm;
CREATE TABLE users (id bigint PRIMARY KEY, city text, email text, tags text[]);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, placed_at timestamptz, amount numeric);
CREATE INDEX ON orders (user_id);
INSERT INTO users VALUES (1, 'Moscow', NULL, NULL), (2, 'Perm', 'b@example.org', '{new}'), (3, NULL, NULL, NULL), (4, 'Omsk', 'd@example.org', NULL);
INSERT INTO orders (user_id, placed_at, amount)
VALUES (1, '2026-01-01Z', 10), (2, '2026-01-02Z', 20), (3, '2026-01-03Z', 30), (4, '2026-01-04Z', 5);
SELECT define_customers('SELECT id AS customer_id, city, email, tags FROM public.users');
SELECT define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, amount FROM public.orders');
SET crm_marketing.now = '2026-02-01Z';
SELECT track(2, 'view', '{"item": "SKU-1"}', '2026-01-05Z');
SELECT create_segment('big', 'sum(order.amount) >= 30');
SELECT create_segment('has mail', 'email is known');
SELECT create_static_segment('vip', ARRAY[2]::bigint[]);
SELECT create_segment('vip and big', 'sum(order.amount) >= 30 and in segment ''vip''');
CREATE VIEW now_in AS
	SELECT s.segment, array_agg(s.customer_id ORDER BY s.customer_id) AS customers FROM crm.segment_member AS s GROUP BY 1;
SELECT * FROM refresh_segments();
TABLE now_in ORDER BY 1;

-- 2 is 1
SELECT merge_customers(1, 2, 'same passport');
SELECT * FROM refresh_segments();
TABLE now_in ORDER BY 1;
SELECT profile_of(1);
SELECT profile_of(2) = profile_of(1) AS same;
SELECT is_member(2, 'vip'), is_member(1, 'vip'), matches_segment(2, 'vip and big'), matches_segment(1, 'vip and big');
SELECT customer_id, segment, entered, at, reason FROM segment_change WHERE seen_at > '2000-01-01' AND reason = 'merge' ORDER BY change_id, segment;

-- facts that come later, under either id; what is asked of the alias is asked of the customer
INSERT INTO orders (user_id, placed_at, amount) VALUES (2, '2026-01-20Z', 1000), (1, '2026-01-21Z', 1);
SELECT track(1, 'view', '{"item": "SKU-2"}', '2026-01-22Z');
SELECT customers FROM (SELECT array_agg(m) AS customers FROM matching('sum(order.amount) > 1000') AS m) AS x;
SELECT customer, monetary FROM rfm_scores() ORDER BY 1;

-- a chain: 1, who is 2 as well, is 3
SELECT merge_customers(3, 2);
SELECT merge_customers(3, 1), merge_customers(1, 3), merge_customers(2, 2);
SELECT alias, into_id, customer_id FROM crm.alias ORDER BY 1;
SELECT resolve_customer(1), resolve_customer(2), resolve_customer(3), resolve_customer(99), resolve_customer(NULL), ids_of(3), ids_of(1), ids_of(NULL);
SELECT profile_of(2);
-- its inner part is taken back, then the outer one
SELECT unmerge_customers(2, 'two passports');
SELECT alias, into_id, customer_id FROM crm.alias ORDER BY 1;
SELECT profile_of(2);
SELECT merge_customers(1, 2);
SELECT unmerge_customers(1);
SELECT alias, into_id, customer_id FROM crm.alias ORDER BY 1;
SELECT unmerge_customers(2);
SELECT * FROM refresh_segments();
TABLE now_in ORDER BY 1;
SELECT alias, customer_id, merged, reason FROM crm.merge_log ORDER BY merge_id;

-- static segments go by people: whoever is removed is, by whichever id he was put in
SELECT merge_customers(1, 2);
SELECT add_to_segment('vip', ARRAY[1, 2, 4]::bigint[]);
SELECT * FROM refresh_segments();
TABLE now_in ORDER BY 1;
SELECT remove_from_segment('vip', ARRAY[1]::bigint[]);
SELECT customer_id FROM crm.static_member;
SELECT unmerge_customers(2);
SELECT * FROM refresh_segments();
TABLE now_in ORDER BY 1;

-- two people for sure
SELECT forbid_merge(4, 3, 'twins');
SELECT merge_customers(3, 2);
\set SHOW_CONTEXT never
SELECT merge_customers(2, 4);
SELECT forbid_merge(2, 3);
SELECT merge_customers(1, 99);
SELECT merge_customers(NULL, 1);
SELECT unmerge_customers(3);
SELECT unmerge_customers(NULL);
SELECT lock_people('{NULL,1}'), lock_people(NULL);
SELECT forbid_merge(NULL, 3);
SELECT allow_merge(3, 4), allow_merge(3, 4), allow_merge(NULL, 4);
SELECT merge_customers(2, 4);
DROP VIEW now_in;
DROP TABLE users, orders CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

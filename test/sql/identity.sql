-- Who is it: identities given, found, linked, shared; those of the customers' feed; visitors who sign in.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public, crm;
CREATE TABLE users (id bigint PRIMARY KEY, name text, phone text, email text, card text);
INSERT INTO users VALUES
	(1, 'Anna', '+7 916 123-45-67', 'Anna@Example.ORG', 'C-1'), (2, 'Boris', '8 (916) 123-45-67', 'boris@пример.рф', NULL),
	(3, 'Clara', 'none', 'not an address', ''), (4, 'Dora', NULL, NULL, NULL);
SELECT define_customers('SELECT id AS customer_id, name, phone, email, card FROM public.users');
SELECT refresh_identities();
SELECT namespace, value, customer_id, source, raw FROM identity ORDER BY 1, 2, 3;
-- a number without + has a country once the shop has one
SELECT configure('country', 'ru');
SELECT refresh_identities();
SELECT namespace, value, customer_id, source, raw FROM identity WHERE namespace = 'phone' ORDER BY 1, 2, 3;
SELECT find_customers('phone', '8 916 1234567');
SELECT find_customer('phone', '8 916 1234567'), find_customer('phone', '+79161234567'),
	   find_customer('email', ' ANNA@example.org '), find_customer('email', 'boris@xn--e1afmkfd.xn--p1ai'), find_customer('card', 'C-1');
SELECT find_customer('phone', '8 495 123-45-67'), find_customer('phone', 'nobody'), find_customer('email', NULL), find_customer(NULL, 'x'),
	   find_customer('phone', '+44 20 7946 0958', 'GB');
-- the feed changes: what was there goes, what is new comes
UPDATE users SET phone = '+7 916 765 43 21', card = 'C-2' WHERE id = 1;
UPDATE users SET email = 'clara@example.org' WHERE id = 3;
DELETE FROM users WHERE id = 2;
SELECT sync_identities(ARRAY[1]::bigint[]);
SELECT namespace, value, customer_id, source, raw FROM identity ORDER BY 1, 2, 3;
SELECT sync_identities();
SELECT sync_identities();
SELECT namespace, value, customer_id, source, raw FROM identity ORDER BY 1, 2, 3;
-- the feed says in other words what somebody has said by hand
SELECT link_identity(4, 'email', 'Dora@example.org');
UPDATE users SET email = 'dora@EXAMPLE.org' WHERE id = 4;
SELECT refresh_identities();
SELECT namespace, value, customer_id, source, raw FROM identity WHERE customer_id = 4;
UPDATE users SET email = NULL WHERE id = 4;
SELECT refresh_identities();
SELECT namespace, value, customer_id, source, raw FROM identity WHERE customer_id = 4;
-- somebody says by hand what the feed has said: it outlasts the feed
UPDATE users SET email = 'd@example.org' WHERE id = 4;
SELECT refresh_identities();
SELECT link_identity(4, 'email', 'D@example.org');
UPDATE users SET email = NULL WHERE id = 4;
SELECT refresh_identities();
SELECT namespace, value, source, raw FROM identity WHERE customer_id = 4 ORDER BY 2;

-- a visitor looks, and signs in
SELECT identify('cookie', 'f3a9') AS visitor \gset
SELECT :visitor < 0 AS is_nobodys, identify('cookie', ' f3a9 ') = :visitor AS known, find_customer('cookie', 'f3a9') = :visitor AS found;
SELECT track(:visitor, 'view', '{"item": "SKU-1"}', '2026-01-05Z');
SELECT link_identity(1, 'cookie', 'f3a9');
SELECT find_customer('cookie', 'f3a9'), resolve_customer(:visitor);
SELECT count(*) FROM events_of(profile_of(1));
SELECT link_identity(1, 'cookie', 'f3a9'), link_identity(:visitor, 'cookie', 'f3a9');
-- somebody else signs in with the same browser: from now on it is his, what was seen before is not
SELECT link_identity(3, 'cookie', 'f3a9');
SELECT find_customer('cookie', 'f3a9'), resolve_customer(:visitor);
SELECT identify('phone', '8 916 000-11-22') AS caller \gset
SELECT link_identity(3, 'phone', '+7 916 000 11 22');
SELECT resolve_customer(:caller) AS caller;
-- a phone of a family merges nobody
SELECT identify('phone', '+7 916 000 33 44') AS family \gset
SELECT share_identity('phone', '8 916 000 33 44', reason => 'a family');
SELECT link_identity(3, 'phone', '+7 916 000 33 44');
SELECT resolve_customer(:family) = :family AS apart, array_length(ARRAY(SELECT find_customers('phone', '+79160003344')), 1) AS have_it;
SELECT unshare_identity('phone', '+79160003344'), unshare_identity('phone', '+79160003344');
SELECT unlink_identity(3, 'phone', '8 916 000 33 44'), unlink_identity(3, 'phone', '8 916 000 33 44'), unlink_identity(NULL, 'card', 'C-2'),
	   unlink_identity(1, 'card', 'C-2');
-- leads are customers: segments see them
SELECT create_segment('everybody', 'true');
SELECT refresh_segments();
SELECT count(*) FROM segment_member;

-- errors
SELECT identify('phone', '12');
SELECT identify('phone', NULL);
SELECT identify('email', 'nobody');
SELECT identify('cookie', '  ');
SELECT identify('Cookie!', 'x');
SELECT identify('shop', '77');
SELECT identify('cookie', repeat('x', 1025));
SELECT link_identity(NULL, 'cookie', 'x');
SELECT link_identity(1, 'shop', 'x');
SELECT link_identity(1, 'cookie', 'x', source => 'feed');
SELECT share_identity(NULL, 'x');
SELECT define_channel('ad:google', 'email');
SELECT define_channel('Ad', 'email');
SELECT define_channel('sms', 'email');
SELECT define_channel('fax', 'shop');
SELECT define_channel(NULL, 'email');
SELECT read_attributes('{name,nothing}', '{1}'), read_attributes('{nothing}');
SELECT read_attributes('{name}', '{NULL}');

-- a stale feed says nothing, and is an error where it is asked
DROP TABLE users CASCADE;
SELECT sync_identities();
SELECT count(*) FROM identity WHERE source = 'feed';
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

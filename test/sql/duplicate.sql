-- Who may be one person.
\pset null -
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public, crm;
CREATE EXTENSION pg_trgm SCHEMA public;
CREATE TABLE users (id bigint PRIMARY KEY, name text, city text, phone text, email text);
INSERT INTO users VALUES
	(1, 'Anna Ivanova', 'Moscow', '+7 916 123-45-67', 'anna@example.org'),
	(2, 'Ivanova, Anna', 'moscow ', '+7 916 765-43-21', 'anna.i@example.org'),
	(3, 'Anna Ivanowa', 'Moscow', '+7 (916) 123 45 67', 'ANNA@example.org'),
	(4, 'Anna Ivanova', 'Perm', NULL, NULL), (5, 'Boris Ivanov', 'Moscow', NULL, 'info@example.org'),
	(6, NULL, NULL, '+7 916 765-43-21', 'info@example.org'), (7, '  ', 'Moscow', NULL, NULL), (8, 'Annabella Ivanovskaya', 'Moscow', NULL, NULL);
SELECT define_customers('SELECT id AS customer_id, name, city, phone, email FROM public.users');
SELECT refresh_identities();
SELECT * FROM duplicates();
SELECT customer_a, customer_b, similarity FROM duplicates(0.3) WHERE reason LIKE 'similar%';
-- what is several people's, and who is not who
SELECT share_identity('email', 'info@example.org', reason => 'the firm''s');
SELECT forbid_merge(1, 3, 'mother and daughter');
SELECT * FROM duplicates();
SELECT merge_customers(2, 3);
SELECT * FROM duplicates();
-- more than twenty are nobody
INSERT INTO users SELECT n, NULL, NULL, '+7 916 000-00-00', NULL FROM generate_series(101, 121) AS n;
SELECT refresh_identities();
SELECT count(*) FROM duplicates();
DELETE FROM users WHERE id = 121;
SELECT refresh_identities();
SELECT count(*) FROM duplicates();
SELECT duplicates(NULL);
SELECT duplicates(1.5);
-- without pg_trgm, and without names
DELETE FROM users WHERE id > 100;
SELECT refresh_identities();
DROP EXTENSION pg_trgm;
SELECT customer_a, customer_b, reason FROM duplicates();
SELECT define_customers('SELECT id AS customer_id, phone FROM public.users');
SELECT customer_a, customer_b, reason FROM duplicates();
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

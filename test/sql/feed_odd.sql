-- Shops that are not like the manual's: names that need quoting, keys that are no integers, rows that lack something.
SET search_path = feed_odd, public, crm;
SET timezone = 'UTC';
CREATE SCHEMA feed_odd;

-- Names that need quoting, everywhere.
CREATE SCHEMA "Odd ""Shop""";
CREATE TABLE "Odd ""Shop"""."My Users" ("Id" bigint PRIMARY KEY, "E-Mail" text, "select" text, "Имя" text, tags text[]);
CREATE TABLE "Odd ""Shop"""."Order" ("User" smallint, "When" timestamptz, "quote""d" numeric);
CREATE INDEX ON "Odd ""Shop"""."Order" ("User");
INSERT INTO "Odd ""Shop"""."My Users" VALUES (7, 'x@y', 'where', 'Ольга', '{a,b}');
INSERT INTO "Odd ""Shop"""."Order" VALUES (7, '2026-01-01 00:00:00Z', 1.50);
SET search_path = "Odd ""Shop""", "$user", public;
SELECT crm.define_customers('SELECT "Id" AS customer_id, "E-Mail", "select", "Имя", tags, tags[1] AS day FROM "My Users"');
SELECT crm.define_event('My "Order"', 'SELECT "User" AS customer_id, "When" AS at, "quote""d" FROM "Order"');
SET search_path = feed_odd, public, crm;
SELECT kind, columns, indexed, tables FROM crm.feeds;
SELECT search_path FROM crm.source WHERE NOT own;
SELECT crm.profile_of(7);
SELECT crm.release_feeds(), crm.rebuild_feeds();
SELECT crm.profile_of(7);
SELECT crm.drop_event('My "Order"');
DELETE FROM crm.source WHERE NOT own;
DROP VIEW crm_feed.customer;
DROP SCHEMA "Odd ""Shop""" CASCADE;

-- An empty shop; then rows without customer or time, far past and future, infinite times, duplicates.
CREATE TABLE users (id integer, city text);
CREATE INDEX ON users (id);
CREATE TABLE visits (user_id integer, at timestamptz, page text);
CREATE INDEX ON visits (user_id);
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('visit', 'SELECT user_id AS customer_id, at, page FROM visits');
SELECT crm.profile_of(1) IS NULL AS nobody;
INSERT INTO users VALUES (1, 'Moscow'), (2, NULL), (NULL, 'Nowhere');
INSERT INTO visits VALUES (1, '2026-01-01 00:00:00Z', '/'), (1, NULL, '/null'), (NULL, '2026-01-01 00:00:00Z', '/nobody'),
	(1, 'infinity', '/ever'), (1, '-infinity', '/never'), (1, '2999-01-01 00:00:00Z', '/future'),
	(1, '0001-01-01 00:00:00Z', '/past'), (3, '2026-01-02 00:00:00Z', NULL);
SELECT crm.profile_of(1);
SELECT crm.profile_of(2);
SELECT crm.profile_of(3);
SELECT crm.profile_of(-1) IS NULL AS nobody;
INSERT INTO users VALUES (2, 'Oslo');
SELECT crm.profile_of(2) IS NOT NULL AS somebody;
SELECT crm.drop_event('visit');
DROP VIEW crm_feed.customer;
DELETE FROM crm.source WHERE NOT own;
DROP TABLE users, visits;

-- Keys that are uuids.
CREATE TABLE users (id uuid PRIMARY KEY, city text);
CREATE TABLE orders (user_id uuid, at timestamptz, total numeric);
CREATE INDEX ON orders (user_id);
INSERT INTO users SELECT md5(i::text)::uuid, 'City ' || i FROM generate_series(1, 3) AS i;
INSERT INTO orders SELECT md5(i::text)::uuid, '2026-01-01 00:00:00Z', i FROM generate_series(1, 4) AS i;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, total FROM orders');
SELECT kind, key_type, indexed, tables FROM crm.feeds;
SELECT count(*), count(DISTINCT customer_id), min(namespace) FROM crm.identity;
SELECT u.city, o.total, o.customer_id = c.customer_id AS same
  FROM users AS u
  JOIN crm.customer_key AS k ON k.key = u.id::text
  JOIN crm_feed.customer AS c USING (customer_id)
  JOIN crm_feed."order" AS o USING (customer_id)
 ORDER BY o.total;
SELECT count(*) AS orders, count(customer_id) AS of_customers FROM crm_feed."order";
INSERT INTO users VALUES (md5('4')::uuid, 'City 4');
SELECT crm.refresh_identities(), crm.refresh_identities();
SELECT count(*) AS orders, count(customer_id) AS of_customers FROM crm_feed."order";
SELECT replace(crm.profile_of(k.customer_id)::text, k.customer_id::text, '<id>') AS profile
  FROM crm.customer_key AS k WHERE k.key = md5('4')::uuid::text;
DELETE FROM users WHERE id = md5('4')::uuid;
DELETE FROM orders WHERE user_id = md5('4')::uuid;
SELECT replace(crm.profile_of(k.customer_id)::text, k.customer_id::text, '<id>') AS without_anything
  FROM crm.customer_key AS k WHERE k.key = md5('4')::uuid::text;

-- Another type of key does not fit, not even text.
SELECT crm.define_event('visit', 'SELECT user_id::text AS customer_id, at FROM orders');
SELECT crm.drop_event('order');
SELECT crm.define_customers('SELECT ''c'' || city AS customer_id, city FROM users');
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
DELETE FROM crm.identity;
DROP VIEW crm_feed.customer;
DELETE FROM crm.source WHERE NOT own;
DROP TABLE users, orders;

-- Keys that are texts, of any collation.
CREATE TABLE users (login text COLLATE "C" PRIMARY KEY, code character(5), short varchar(10));
CREATE TABLE visits (login varchar(20) COLLATE "POSIX", at timestamptz);
CREATE TABLE calls (code character(5), at timestamptz);
CREATE INDEX ON visits (login);
CREATE INDEX ON calls (code);
INSERT INTO users VALUES ('anna', 'anna', 'a'), ('o''hara "x"', 'ohara', 'b');
INSERT INTO visits VALUES ('anna', '2026-01-01 00:00:00Z');
INSERT INTO calls VALUES ('anna', '2026-01-02 00:00:00Z');
SELECT crm.define_customers('SELECT login AS customer_id, short FROM users');
SELECT crm.define_event('visit', 'SELECT login AS customer_id, at FROM visits');
SELECT crm.define_event('call', 'SELECT code AS customer_id, at FROM calls');
SELECT kind, key_type, indexed FROM crm.feeds;
SELECT replace(crm.profile_of(k.customer_id)::text, k.customer_id::text, '<id>') AS profile
  FROM crm.customer_key AS k ORDER BY k.key;
SELECT crm.drop_event(kind) FROM crm.source WHERE kind <> 'customer' AND NOT own;
DROP VIEW crm_feed.customer;
DELETE FROM crm.source WHERE NOT own;
DELETE FROM crm.identity;

-- Tables that are partitioned, and views of the shop.
CREATE TABLE people (id bigint PRIMARY KEY, city text);
CREATE TABLE sales (user_id bigint, at timestamptz, total numeric) PARTITION BY RANGE (at);
CREATE TABLE sales_old PARTITION OF sales FOR VALUES FROM (MINVALUE) TO ('2026-01-01 00:00:00Z');
CREATE TABLE sales_new PARTITION OF sales FOR VALUES FROM ('2026-01-01 00:00:00Z') TO (MAXVALUE);
CREATE INDEX ON sales_old (user_id);
CREATE VIEW sold AS SELECT user_id, at, total FROM sales;
INSERT INTO people VALUES (1, 'Moscow');
INSERT INTO sales VALUES (1, '2025-06-01 00:00:00Z', 1), (1, '2026-06-01 00:00:00Z', 2);
SELECT crm.define_customers('SELECT id AS customer_id, city FROM people');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, total FROM sold');
SELECT crm.profile_of(1);
CREATE INDEX ON sales_new (user_id);
SELECT crm.profile_of(1);
SELECT kind, tables FROM crm.feeds;

SELECT crm.drop_event('order');
DROP VIEW crm_feed.customer;
DELETE FROM crm.source WHERE NOT own;
DROP SCHEMA feed_odd CASCADE;

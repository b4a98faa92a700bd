-- Defining feeds: what a query may be, and what is said when it may not.
SET search_path = feed_shop, public, crm;
SET timezone = 'Asia/Tokyo';
CREATE SCHEMA feed_shop;
CREATE TABLE users (id integer PRIMARY KEY, email text, city text, birthday date, created_at timestamptz);
CREATE TABLE orders (id integer PRIMARY KEY, user_id integer, placed_at timestamptz, total numeric(12, 2), status text,
	paid_at timestamp, delivery_day date, info jsonb, slot interval, raw bytea, price money, hours timestamp[], visits point);
CREATE INDEX ON orders (user_id);
INSERT INTO users VALUES (1, 'a@example.com', 'Moscow', '1990-01-03', '2025-01-01 00:00:00Z'), (2, NULL, 'Oslo', NULL, NULL);
INSERT INTO orders VALUES
	(1, 1, '2026-01-05 07:00:00Z', 100.10, 'done', '2026-01-05 12:00:00', '2026-01-07'),
	(2, 1, '2026-02-05 07:00:00Z', 20, 'cancelled', NULL, NULL);

-- As it should be; a semicolon and a comment at the end are no harm.
SELECT crm.define_customers($$ SELECT id AS customer_id, email, city, birthday, created_at AS registered FROM users; $$);
SELECT crm.define_event('order', $$ SELECT user_id AS customer_id, placed_at AS at, total AS amount, status
	FROM orders WHERE status <> 'cancelled' -- not those $$);
SELECT kind, state, reason, indexed, key_type, columns, tables, query FROM crm.feeds;
SELECT crm.profile_of(1);
SELECT crm.profile_of(2);
SELECT crm.profile_of(3) IS NULL AS unknown, crm.profile_of(NULL) IS NULL AS of_null;

-- Define again replaces.
SELECT crm.define_event('order', $$ TABLE (SELECT 1) $$);
SELECT crm.define_event('order', $$ WITH o AS (SELECT * FROM orders) SELECT user_id AS customer_id, placed_at AS at, total FROM o $$);
SELECT crm.profile_of(1);
SELECT columns FROM crm.feeds WHERE kind = 'order';

-- The text is kept as it was written, with its comments, on every major.
SELECT crm.define_event('order', $$/* paid; or not */ -- all
	SELECT user_id AS customer_id, placed_at AS at FROM orders /* end */ ; -- gone
$$);
SELECT query FROM crm.feeds WHERE kind = 'order';
SELECT crm.define_event('order', $$ ; SELECT user_id AS customer_id, placed_at AS at, total FROM orders$$);
SELECT quote_literal(query) FROM crm.feeds WHERE kind = 'order';

-- Local times are read in the zone of the shop, not of the session.
SELECT crm.configure('timezone', 'Europe/Moscow');
SELECT crm.define_event('payment', $$ SELECT user_id AS customer_id, paid_at AS at, paid_at AS entered FROM orders $$);
SELECT crm.define_event('delivery', $$ SELECT user_id AS customer_id, delivery_day AS at FROM orders $$);
SELECT crm.profile_of(1);
SELECT crm.configure('timezone', NULL);
SELECT crm.profile_of(1);
SELECT crm.drop_event('payment');
SELECT crm.drop_event('delivery');

-- NULL, and the name of the kind.
SELECT crm.define_customers(NULL);
SELECT crm.define_event(NULL, 'SELECT 1');
SELECT crm.define_event('x', NULL);
SELECT crm.define_event('', 'SELECT 1');
SELECT crm.define_event(repeat('x', 64), 'SELECT 1');
SELECT crm.define_event('customer', 'SELECT 1');
SELECT crm.drop_event(NULL);
SELECT crm.drop_event('nothing');
SELECT crm.drop_event('customer');

-- One SELECT.
SELECT crm.define_event('x', '');
SELECT crm.define_event('x', ' ; ');
SELECT crm.define_event('x', 'SELECT 1; SELECT 2');
SELECT crm.define_event('x', 'DELETE FROM orders');
SELECT crm.define_event('x', 'SELECT 1 INTO y');
SELECT crm.define_event('x', 'SELECT 1 AS customer_id) AS f; DROP TABLE orders; SELECT (1');
SELECT crm.define_event('x', 'SELECT nonsense FROM orders');
SELECT crm.define_event('x', 'SELECT 1 FROM no_such_table');
SELECT crm.define_event('x', 'WITH gone AS (DELETE FROM orders RETURNING *) SELECT user_id AS customer_id, placed_at AS at FROM gone');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at FROM orders WHERE id = $1');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at FROM orders FOR UPDATE');
CREATE TEMP TABLE mine (user_id integer, at timestamptz);
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, at FROM mine');
DROP TABLE mine;
SELECT crm.define_event('x', 'SELECT customer_id, at FROM crm_feed."order"');

-- Columns.
SELECT crm.define_event('x', 'SELECT user_id, placed_at AS at FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at FROM orders');
SELECT crm.define_customers('SELECT id, email FROM users');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, total * 2 FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, total, status AS total FROM orders');
SELECT crm.define_event('x', 'SELECT total AS customer_id, placed_at AS at FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, status AS at FROM orders');
SELECT crm.define_event('x', 'SELECT user_id::text AS customer_id, placed_at AS at FROM orders');
SELECT crm.define_event('x', format('SELECT user_id AS customer_id, placed_at AS at, 1 AS %I FROM orders', name))
  FROM unnest(ARRAY['hour', 'week_of']) AS name;
DO $$
DECLARE
	word text;
BEGIN
	FOREACH word IN ARRAY ARRAY['hour', 'weekday', 'day', 'week', 'month', 'year', 'date', 'week_of', 'month_of', 'kind'] LOOP
		BEGIN
			PERFORM crm.define_event('x', format('SELECT user_id AS customer_id, placed_at AS at, 1 AS %I FROM orders', word));
			RAISE EXCEPTION 'accepted %', word;
		EXCEPTION WHEN reserved_name THEN
			RAISE NOTICE 'refused: %', word;
		END;
	END LOOP;
END $$;
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, info FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, slot FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, raw FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, price FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, hours FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, visits AS "Last Visit" FROM orders');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, orders FROM orders');

-- The same rows for the same data.
CREATE FUNCTION dice() RETURNS integer LANGUAGE sql AS 'SELECT 4';
CREATE VIEW lucky AS SELECT user_id AS customer_id, placed_at AS at FROM orders WHERE random() < 0.5;
CREATE VIEW recent AS SELECT user_id AS customer_id, placed_at AS at FROM orders WHERE placed_at > now() - interval '1 day';
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, dice() AS luck FROM orders');
SELECT crm.define_event('x', 'TABLE lucky');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at FROM orders TABLESAMPLE system (10)');

-- Nothing that flows with time.
SELECT crm.define_event('x', 'TABLE recent');
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at FROM orders WHERE delivery_day > current_date');
SELECT crm.define_event('x', format('SELECT user_id AS customer_id, placed_at AS at, %s AS y FROM orders', x))
  FROM unnest(ARRAY['(current_timestamp > placed_at)']) AS x;
DO $$
DECLARE
	expression text;
	detail text;
BEGIN
	FOREACH expression IN ARRAY ARRAY['now()', 'current_date', 'current_time::text', 'current_timestamp', 'current_timestamp(0)',
		'localtime::text', 'localtimestamp', 'clock_timestamp()', 'statement_timestamp()', 'transaction_timestamp()',
		'timeofday()', 'age(placed_at)::text', 'age(paid_at)::text', 'crm.now()', '''today''::date', 'timestamptz ''now'''] LOOP
		BEGIN
			PERFORM crm.define_event('x',
				format('SELECT user_id AS customer_id, placed_at AS at, (SELECT %s) AS y FROM orders', expression));
			RAISE EXCEPTION 'accepted %', expression;
		EXCEPTION WHEN invalid_object_definition THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
			RAISE NOTICE '%: %', expression, detail;
		END;
	END LOOP;
END $$;
SELECT kind FROM crm.feeds;

-- Two arguments of age() are two facts, and stay.
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, age(placed_at, ''2026-01-01'')::text AS y FROM orders');
SELECT crm.drop_event('x');

-- A customer's key is one and the same.
SELECT crm.define_customers('SELECT email AS customer_id, city FROM users WHERE email IS NOT NULL');

-- Lookup by index.
DROP INDEX orders_user_id_idx;
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at FROM orders');
SELECT crm.profile_of(id) FROM users ORDER BY id;
SELECT kind, indexed FROM crm.feeds;
CREATE INDEX ON orders (user_id);
SELECT crm.profile_of(1);
SELECT crm.refresh_identities();
SELECT kind, indexed FROM crm.feeds;
SELECT crm.define_event('order', 'SELECT user_id + 0 AS customer_id, placed_at AS at FROM orders');
SELECT crm.profile_of(1);
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, max(placed_at) AS at FROM orders GROUP BY user_id');
SELECT crm.profile_of(1);

-- A migration of the shop's tables.
DROP TABLE orders;
SELECT crm.release_feeds();
SELECT kind, state, reason FROM crm.feeds;
SELECT crm.profile_of(1);
SELECT crm.release_feeds();
ALTER TABLE orders RENAME TO orders_old;
CREATE TABLE orders (LIKE orders_old INCLUDING ALL);
SELECT crm.rebuild_feeds();
SELECT kind, state, reason FROM crm.feeds;
SELECT crm.profile_of(1);

-- Renamed and swapped behind our back.
ALTER TABLE orders RENAME TO orders_new;
SELECT kind, state, reason FROM crm.feeds WHERE kind = 'order';
ALTER TABLE orders_old RENAME TO orders;
SELECT kind, state, reason FROM crm.feeds WHERE kind = 'order';
SELECT crm.profile_of(1);
SELECT crm.rebuild_feeds();
SELECT crm.profile_of(1);
ALTER TABLE orders DROP COLUMN user_id CASCADE;
SELECT kind, state, reason FROM crm.feeds WHERE kind = 'order';
SELECT crm.rebuild_feeds();
SELECT crm.drop_event('order');

-- An error of the shop's query says whose it is.
SELECT crm.define_event('broken', 'SELECT id AS customer_id, created_at AS at, 1 / (id - 1) AS x FROM users');
SELECT crm.profile_of(1);
SELECT crm.drop_event('broken');

DROP VIEW crm_feed.customer;
SELECT kind, state, reason FROM crm.feeds;
DROP SCHEMA feed_shop CASCADE;
DELETE FROM crm.source;

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
-- A literal is an instant of today when it becomes a time, however that is written; as a text it may say what it likes.
CREATE FUNCTION refused(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	PERFORM crm.define_event('x', query);
	PERFORM crm.drop_event('x');
	RETURN 'accepted';
EXCEPTION WHEN invalid_object_definition OR feature_not_supported THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN SQLERRM || ': ' || detail;
END $$;
SELECT x AS expression, regexp_replace(refused('SELECT user_id AS customer_id, placed_at AS at FROM orders WHERE ' || x), '^.*uses (.*)\.$', '\1') AS uses
  FROM unnest(ARRAY[
	$$ placed_at > 'now' $$, $$ placed_at > 'Today' $$, $$ delivery_day = ' tomorrow ' $$, $$ placed_at > 'today 10:00'::timestamp $$,
	$$ placed_at > 'now'::text::timestamptz $$, $$ placed_at > date('yesterday') $$, $$ placed_at = ANY ('{now,2026-01-01}') $$,
	$$ placed_at = ANY (ARRAY['2026-01-01', 'today']::date[]) $$, $$ placed_at = ANY ('{now}'::text[]::timestamptz[]) $$,
	$$ placed_at <@ tstzrange('yesterday', NULL) $$, $$ placed_at <@ '[2026-01-01,now)'::tstzrange $$,
	$$ placed_at <@ '{[2026-01-01,now)}'::tstzmultirange $$, $$ placed_at::time > 'now' $$, $$ placed_at > U&'\006eow' $$,
	$$ placed_at > coalesce(paid_at, 'now') $$, $$ placed_at IN (SELECT 'today'::date) $$,
	$$ status = 'now' $$, $$ status = ANY ('{today,tomorrow}') $$, $$ status LIKE 'today %' $$, $$ status::text <> 'yesterday'::varchar $$,
	$$ placed_at > 'epoch' $$, $$ placed_at < 'infinity' $$, $$ delivery_day > '2026-01-01' $$]) AS x;
SELECT x AS expression, refused('SELECT user_id AS customer_id, placed_at AS at, ' || x || ' AS y FROM orders')
  FROM unnest(ARRAY['txid_current()::text', 'pg_current_xact_id()::text', 'pg_current_snapshot()::text', 'age(xmin)', 'session_user::text',
	'current_setting(''app.shop'')', 'pg_backend_pid()', 'current_user::text']) AS x;
-- Functions in SQL are looked into; of others what they declare is believed.
CREATE FUNCTION today_text() RETURNS date LANGUAGE sql STABLE AS 'SELECT CURRENT_DATE';
CREATE FUNCTION now_text() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT pg_catalog.now()';
CREATE FUNCTION since_text(timestamptz) RETURNS interval LANGUAGE sql STABLE AS 'SELECT age($1)';
CREATE FUNCTION now_parsed() RETURNS timestamptz LANGUAGE sql STABLE RETURN statement_timestamp();
CREATE FUNCTION now_through() RETURNS timestamptz LANGUAGE sql STABLE RETURN now_parsed();
CREATE FUNCTION between_text(timestamptz) RETURNS text LANGUAGE sql STABLE AS 'SELECT age($1, ''2026-01-01'')::text';
CREATE FUNCTION trusted() RETURNS integer LANGUAGE sql STABLE AS 'SELECT (random() * 0)::integer';
CREATE FUNCTION loaded(integer, integer) RETURNS integer LANGUAGE sql VOLATILE AS 'SELECT 6';
CREATE AGGREGATE loaded_sum(integer) (sfunc = loaded, stype = integer);
CREATE OPERATOR +# (leftarg = integer, rightarg = integer, function = loaded);
CREATE FUNCTION pg_temp.mine(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT 1';
CREATE TYPE pg_temp.state AS ENUM ('done', 'cancelled');
SELECT x AS expression, regexp_replace(refused('SELECT user_id AS customer_id, placed_at AS at, (' || x || ') AS y FROM orders'), 'pg_temp_\d+', 'pg_temp')
  FROM unnest(ARRAY['today_text()', 'now_text()', 'since_text(placed_at)::text', 'now_parsed()', 'now_through()', 'between_text(placed_at)',
	'trusted()', 'SELECT loaded_sum(id) FROM users', 'SELECT sum(id) OVER () FROM users LIMIT 1', 'id +# 1',
	'SELECT max(g) FROM generate_series(1, loaded(1, 1)) AS g', 'pg_temp.mine(id)', 'status::pg_temp.state', 'status::pg_temp.state::text']) AS x;
CREATE VIEW locking AS SELECT user_id AS customer_id, placed_at AS at FROM orders FOR SHARE;
CREATE VIEW over_locking AS TABLE locking;
CREATE VIEW over_feed AS SELECT customer_id, at FROM crm_feed."order";
CREATE VIEW over_over_feed AS TABLE over_feed;
SELECT v, refused('TABLE ' || v) FROM unnest(ARRAY['locking', 'over_locking', 'over_feed', 'over_over_feed']) AS v;
DROP VIEW over_feed CASCADE;
-- Settings of the session do not change what a text means.
SET transform_null_equals = on;
SET array_nulls = off;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT crm.define_event('x', 'SELECT user_id AS customer_id, placed_at AS at, coalesce(status = NULL, false) AS nothing, ''{NULL}''::text[] AS list, ' ||
	'''a' || chr(92) || 'n''::text AS slash FROM orders');
SELECT crm.profile_of(1)::text::jsonb -> 'events' -> -1;
RESET transform_null_equals;
RESET array_nulls;
RESET standard_conforming_strings;
RESET escape_string_warning;
SELECT crm.rebuild_feeds();
SELECT crm.profile_of(1)::text::jsonb -> 'events' -> -1;
SELECT crm.drop_event('x');

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

-- An index that is not entered by the customer is no lookup, and a table's being empty is no reason to miss one that is.
CREATE FUNCTION is_indexed(query text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM crm.define_event('x', query);
	RETURN indexed FROM crm.feeds WHERE kind = 'x';
END $$;
CREATE TABLE calls (kind text, number integer, user_id integer, at timestamptz);
CREATE INDEX ON calls (kind);
CREATE TABLE numbers (kind text PRIMARY KEY, number integer UNIQUE);
CREATE VIEW tried (shape, query) AS VALUES
	('by kind', 'SELECT user_id AS customer_id, at FROM calls WHERE kind = ''in'''),
	('by kinds', 'SELECT user_id AS customer_id, at FROM calls WHERE kind IN (''in'', ''out'') OR kind > ''x'''),
	('newest', 'SELECT user_id AS customer_id, max(at) AS at FROM calls WHERE kind = ''in'' GROUP BY user_id'),
	('some', 'SELECT user_id AS customer_id, at FROM calls WHERE kind = ''in'' LIMIT 10'),
	('of one number', 'SELECT user_id AS customer_id, at FROM calls CROSS JOIN numbers AS n WHERE n.kind = ''in'''),
	('of numbers', 'SELECT user_id AS customer_id, at FROM calls AS c JOIN numbers AS n USING (number)');
SELECT shape, is_indexed(query) FROM tried;
SELECT crm.profile_of(1) IS NOT NULL AS noticed;
CREATE INDEX ON calls (user_id) WHERE kind = 'in';
SELECT shape, is_indexed(query) FROM tried;
DROP INDEX calls_user_id_idx;
CREATE INDEX ON calls (user_id);
SELECT shape, is_indexed(query) FROM tried;
SELECT crm.drop_event('x');

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
DELETE FROM crm.source WHERE NOT own;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

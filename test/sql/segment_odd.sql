-- Segments of shops that are not like the manual's.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;
RESET client_min_messages;
SET search_path = segment_odd, public, crm;
SET datestyle = 'ISO, YMD';
SET timezone = 'UTC';
SET crm_marketing.now = '2026-01-20 00:00:00Z';
CREATE SCHEMA segment_odd;

--
-- No shop at all: no customers, no events, no segments
--
SELECT * FROM crm.refresh_segments();
SELECT * FROM crm.preview('true');
SELECT crm.matching('true');
SELECT * FROM crm.population_size('true', '{2026-01-01}');
SELECT * FROM crm.segments;
SELECT * FROM crm.segment_member;
SELECT crm.members('vip');
SELECT crm.is_member(1, 'vip');
SELECT crm.matches_segment(1, 'vip');
SELECT * FROM crm.explain(1, 'vip');
SELECT crm.evaluate_segment(1, 'true') IS NULL AS of_nobody;
SELECT crm.create_segment('everybody', 'true');
SELECT crm.create_segment('buyers', 'has order');
SELECT crm.create_segment('muscovites', 'city = ''Moscow''');
SELECT crm.preview('has order');
-- ad hoc an unknown name is just unknown
SELECT crm.matching('has order or city = ''Moscow''');
SELECT crm.create_static_segment('invited', '{1}');
SELECT * FROM crm.refresh_segments();
VACUUM ANALYZE crm.membership;
SELECT name, size FROM crm.segments ORDER BY name;
SELECT crm.members('everybody');
SELECT crm.members('evrybody');
SELECT crm.is_member(1, 'evrybody');
SELECT * FROM crm.segment_size('everybody', '2026-01-01', '2026-01-02', '1 day');
SELECT * FROM crm.alter_segment('everybody', 'not false');
SELECT customer_id, entered, reason FROM crm.segment_change ORDER BY change_id;
SELECT crm.drop_segment('invited'), crm.drop_segment('everybody');
TRUNCATE crm.membership_change;

--
-- Tables without rows; then a customer without events, events that lie ahead, of strangers, before all time
--
CREATE TABLE users (id bigint, city text);
CREATE INDEX ON users (id);
CREATE TABLE orders (user_id bigint, at timestamptz, total numeric);
CREATE INDEX ON orders (user_id);
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, total FROM orders');
SELECT crm.create_segment('everybody', 'true');
SELECT crm.create_segment('buyers', 'has order');
SELECT crm.create_segment('none', 'no order');
SELECT crm.create_segment('soon', 'has order in next 10 days');
SELECT crm.create_segment('big', 'sum(order.total) >= 10');
SELECT * FROM crm.refresh_segments();
INSERT INTO users VALUES (1, 'Moscow'), (2, NULL), (-3, 'Lead'), (0, 'Zero'),
	(9223372036854775807, 'Last'), (-9223372036854775808, 'First');
INSERT INTO orders VALUES (1, '2026-01-25 00:00:00Z', 5), (-3, '2026-01-02 00:00:00Z', 10), (0, '2026-01-03 00:00:00Z', NULL),
	(9223372036854775807, '0001-01-01 00:00:00Z', 10), (-9223372036854775808, '9999-12-31 00:00:00Z', 10),
	(77, '2026-01-01 00:00:00Z', 1), (77, '2026-01-02 00:00:00Z', 1);
SELECT * FROM crm.refresh_segments();
SELECT segment, array_agg(customer_id ORDER BY customer_id) AS members FROM crm.segment_member GROUP BY segment
 ORDER BY segment COLLATE "C";
SELECT u.id, crm.matches_segment(u.id, 'buyers') AS buyers, crm.matches_segment(u.id, 'none') AS none,
	crm.matches_segment(u.id, 'soon') AS soon, crm.matches_segment(u.id, 'big') AS big
  FROM users AS u ORDER BY u.id;
-- The order that lay ahead has come.
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT customer_id, s.name, entered, at, reason
  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id)
 WHERE at > '2026-01-20 00:00:00Z' ORDER BY at, segment_id, customer_id;
SELECT * FROM crm.segment_size('soon', '2026-01-14', '2026-01-26', '4 days');
-- A stranger has facts, but is in no segment until the shop knows them.
SELECT crm.matching('true') AS customer EXCEPT SELECT id FROM users;
INSERT INTO users VALUES (77, 'Known now');
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.is_member(77, 'buyers');

--
-- Rows without customer or time, rows of one customer twice
--
INSERT INTO users VALUES (NULL, 'Nowhere');
INSERT INTO orders VALUES (2, NULL, 100), (NULL, '2026-01-01 00:00:00Z', 100), (2, 'infinity', 100), (2, '-infinity', 100);
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.is_member(2, 'buyers'), crm.matches_segment(2, 'buyers'), crm.matches_segment(2, 'none');
INSERT INTO users VALUES (1, 'Oslo'), (1, 'Abakan');
SELECT crm.matching('city = ''Abakan''');
SELECT crm.create_segment('in Moscow', 'city = ''Moscow''');
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.members('in Moscow');
SELECT kind, state, reason FROM crm.feeds;
DELETE FROM users WHERE id = 1 AND city <> 'Moscow' OR id IS NULL;
DELETE FROM orders WHERE user_id IS NULL OR at IS NULL OR NOT isfinite(at);
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.members('in Moscow');
SELECT kind, state, reason FROM crm.feeds;
-- All at once: nobody is a customer any more.
DELETE FROM users;
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT count(*) AS stored FROM crm.membership;
SELECT reason, count(*) FROM crm.segment_change WHERE NOT entered GROUP BY reason ORDER BY reason;
-- An earlier instant than that of the last refresh
SELECT * FROM crm.refresh_segments('2026-01-25 00:00:00Z');
-- A feed that is released, and one whose query fails for one row
SELECT crm.release_feeds();
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT * FROM crm.preview('true', '2026-01-26 00:00:00Z');
SELECT crm.rebuild_feeds();
INSERT INTO users VALUES (1, 'Moscow');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, 1 / (total - 5) AS total FROM orders');
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.matches_segment(1, 'big');
-- A kind and a segment's property that are gone are just unknown, and nothing breaks.
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders');
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT crm.drop_event('order');
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT segment FROM crm.segment_member WHERE customer_id = 1 ORDER BY segment COLLATE "C";
SELECT crm.drop_segment(name) FROM (SELECT name FROM crm.segment ORDER BY segment_id) AS s;
TRUNCATE crm.membership_change;
TRUNCATE users, orders;

--
-- Names that need quoting, everywhere
--
CREATE TABLE "Us""ers" ("I d" smallint PRIMARY KEY, "E-Mail" text, "order" numeric, "Имя" text);
CREATE TABLE "Or.ders" ("Us er" smallint, "At" timestamptz, "pri""ce" numeric);
CREATE INDEX ON "Or.ders" ("Us er");
INSERT INTO "Us""ers" VALUES (1, 'a@b', 1, 'Ольга'), (2, NULL, 2, '');
INSERT INTO "Or.ders" VALUES (1, '2026-01-10 00:00:00Z', 9.90);
SELECT crm.define_customers('SELECT "I d" AS customer_id, "E-Mail", "order", "Имя" FROM "Us""ers"');
SELECT crm.define_event('In-Store "Order"', 'SELECT "Us er" AS customer_id, "At" AS at, "pri""ce" FROM "Or.ders"');
SELECT crm.create_segment('O''Hara''s "best" %s', 'has "In-Store ""Order"""["pri""ce" > 9 and customer."order" < 2] in last 1 month');
SELECT crm.create_segment('Покупатели', '"E-Mail" is known and "Имя" = ''Ольга'' and in segment ''O''''Hara''''s "best" %s''');
SELECT crm.create_segment('1', '"order" >= 1 and not in segment ''Покупатели''');
SELECT name, definition FROM crm.segments ORDER BY segment_id;
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT segment, customer_id FROM crm.segment_member ORDER BY segment_id, customer_id;
SELECT depth, text, value, truth FROM crm.explain(1, 'Покупатели', '2026-01-26 00:00:00Z');
SELECT crm.rename_segment('O''Hara''s "best" %s', '";--');
SELECT definition FROM crm.segments WHERE name = 'Покупатели';
SELECT crm.create_segment('x', 'has "in-store ""order"""');
SELECT crm.create_segment('x', '"e-mail" is known');
SELECT crm.create_segment('x', 'имя is known');
SELECT crm.drop_segment('1'), crm.drop_segment('Покупатели'), crm.drop_segment('";--');
SELECT crm.drop_event('In-Store "Order"');
DROP VIEW crm_feed.customer;
DELETE FROM crm.source WHERE NOT own;
TRUNCATE crm.membership_change;

--
-- The same shop by integers, by uuids and by texts: the same segments
--
CREATE TABLE shop_users AS
	SELECT i AS id, (ARRAY['Moscow', 'Oslo', NULL])[i % 3 + 1] AS city, i % 4 = 0 AS vip FROM generate_series(1, 40) AS i;
CREATE TABLE shop_orders AS
	SELECT i * 7 % 41 AS user_id, '2026-01-26 00:00:00Z'::timestamptz - make_interval(hours => i * i % 3000) AS at, i % 50 AS total
	  FROM generate_series(1, 150) AS i;
CREATE TABLE answer (variant text, segment text, customers bigint[]);
CREATE FUNCTION run_variant(variant text, expression text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE format('CREATE TABLE keyed_users AS SELECT id, %s AS key, city, vip FROM shop_users', expression);
	EXECUTE format('CREATE TABLE keyed_orders AS SELECT %s AS key, at, total FROM (SELECT user_id AS id, * FROM shop_orders) AS o',
				   expression);
	CREATE UNIQUE INDEX ON keyed_users (key);
	CREATE INDEX ON keyed_orders (key);
	PERFORM crm.define_customers('SELECT key AS customer_id, city, vip FROM keyed_users');
	PERFORM crm.define_event('order', 'SELECT key AS customer_id, at, total FROM keyed_orders');
	PERFORM crm.create_segment('often', 'count(order in last 2 months) >= 3');
	PERFORM crm.create_segment('lost', 'has order and no order in last 1 month');
	PERFORM crm.create_segment('rich', 'avg(order.total) > 20 or vip = true');
	PERFORM crm.create_segment('both', 'in segment ''often'' and in segment ''rich'' and city <> ''Oslo''');
	PERFORM crm.refresh_segments('2026-01-26 00:00:00Z');
	EXECUTE format($q$
		INSERT INTO answer
		SELECT %L, m.segment, array_agg(u.id ORDER BY u.id)
		  FROM keyed_users AS u
		  JOIN crm.segment_member AS m ON m.customer_id = %s
		 GROUP BY m.segment$q$, variant,
		CASE WHEN variant IN ('integer', 'negative') THEN 'u.key'
			 ELSE '(SELECT k.customer_id FROM crm.customer_key AS k WHERE k.key = u.key::text)' END);
	-- by index, for each customer, it is the same
	EXECUTE format($q$
		INSERT INTO answer
		SELECT %L, s.name, array_agg(u.id ORDER BY u.id)
		  FROM keyed_users AS u CROSS JOIN crm.segment AS s
		 WHERE crm.matches_segment(%s, s.name, '2026-01-26 00:00:00Z')
		 GROUP BY s.name$q$, variant || ' by index',
		CASE WHEN variant IN ('integer', 'negative') THEN 'u.key'
			 ELSE '(SELECT k.customer_id FROM crm.customer_key AS k WHERE k.key = u.key::text)' END);
	PERFORM crm.drop_segment(name) FROM (SELECT name FROM crm.segment ORDER BY segment_id DESC) AS s;
	PERFORM crm.drop_event('order');
	DROP VIEW crm_feed.customer;
	DELETE FROM crm.source WHERE NOT own;
	DROP TABLE keyed_users, keyed_orders;
END
$$;
SELECT run_variant('integer', 'id');
SELECT run_variant('negative', '(-id)::bigint * 1000000007');
SELECT run_variant('uuid', 'md5(id::text)::uuid');
SELECT count(*) AS identities FROM crm.identity;
DELETE FROM crm.identity;
SELECT run_variant('text', '''Customer "'' || id || ''"''');
DELETE FROM crm.identity;
SELECT segment, cardinality(customers) AS customers, array_agg(variant ORDER BY variant) AS variants
  FROM answer GROUP BY segment, customers ORDER BY segment;

--
-- Segments that name each other in many ways are explained once each
--
CREATE TABLE twins (id int PRIMARY KEY);
INSERT INTO twins VALUES (1);
SELECT crm.define_customers('SELECT id AS customer_id FROM twins');
SELECT crm.create_segment('d0', 'true') > 0 AS made;
SELECT count(crm.create_segment('d' || i, format('in segment ''d%s'' and (in segment ''d%s'' or false)', i - 1, i - 1)::crm.predicate))
  FROM generate_series(1, 40) AS i;
SELECT depth, text, truth FROM crm.explain(1, 'd2');
SELECT count(*) FROM crm.explain(1, 'd40');
SELECT count(*) FROM (SELECT crm.drop_segment('d' || i) FROM generate_series(40, 0, -1) AS i) AS dropped;

--
-- A name that was good for long, and then is not, with no segment left
--
SELECT crm.create_segment('worn out', 'true') > 0 AS made;
SELECT max(a.stay) FROM generate_series(1, 8) AS i CROSS JOIN LATERAL crm.alter_segment('worn out', 'true', clock_timestamp() + i * interval '1 s') AS a;
SELECT crm.drop_segment('worn out');
ANALYZE crm.segment;
SELECT * FROM crm.alter_segment('worn out', 'true');

--
-- A feed may do what a parallel worker may not; so whatever reads feeds stays with the leader
--
CREATE TABLE many_twins AS SELECT i AS id FROM generate_series(1, 2000) AS i;
CREATE FUNCTION careful(id int) RETURNS int LANGUAGE plpgsql STABLE AS $$
BEGIN
	RETURN 1 / (id - 1);
EXCEPTION WHEN division_by_zero THEN
	RETURN 0;
END $$;
SELECT crm.define_customers('SELECT id AS customer_id, careful(id) AS careful FROM twins');
SELECT crm.create_segment('careful', 'careful = 0') > 0 AS made;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = '32kB';			-- of our tables here, none has so much
SET parallel_leader_participation = off;
SELECT count(*) FROM many_twins AS t WHERE crm.matches_segment(t.id, 'careful');
SELECT count(*) FROM many_twins AS t WHERE id < 3 AND (SELECT customers FROM crm.preview('careful = 0', samples => t.id)) > 0;
SELECT count(*) FROM many_twins AS t
 WHERE id < 3 AND (SELECT stay + enter FROM crm.preview_edit('careful', 'careful = 0', samples => t.id)) > 0;
SELECT count(*) FROM many_twins AS t
 WHERE id < 3 AND (SELECT max(size) FROM crm.segment_size('careful', '2026-01-01', '2026-01-02', make_interval(days => t.id))) > 0;
RESET parallel_setup_cost;
RESET parallel_tuple_cost;
RESET min_parallel_table_scan_size;
RESET parallel_leader_participation;
SELECT crm.drop_segment('careful');

--
-- What is checked before a definition is stored
--
CREATE TABLE people (id int PRIMARY KEY, city text, age int, vip boolean, born date, tags text[], sizes int[], seen timestamptz);
CREATE TABLE sales (user_id int, at timestamptz, amount numeric, item text, promised timestamptz, tags text[], paid boolean);
CREATE INDEX ON sales (user_id);
SELECT crm.define_customers('SELECT id AS customer_id, city, age, vip, born, tags, sizes, seen FROM people');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, amount, item, promised, tags, paid FROM sales');
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, at, amount AS item FROM sales');
SELECT crm.track(1, 'login', '{"campaign": "x"}');
-- these are all well
SELECT crm.check_predicate(p::crm.predicate) FROM unnest(ARRAY[
	'has order[hour between 9 and 18 and weekday in (6, 7)]', 'distinct(order.month_of previous 6 months) = 6',
	'has login[campaign = ''x'' and depth > 3 and same = ''a'']', 'has order[at > promised + 1 hour]', 'born in next 3 days',
	'seen > ''2026-01-01''', 'city in (''a'', ''2026-01-01'')', 'tags contains all (''a'', ''b'')', 'sizes contains 3',
	'has order[item = customer.city]', 'last(order.tags) contains ''x''', 'age + 1 > 2 * avg(order.amount)',
	'has cart[not followed by order within 1 hour] in last 1 day', '''2026-06-21'' in next 3 days', 'vip = true',
	'has login[preceded by order[same item]]', 'no cart[not followed by order within 1 month] in last 40 days']) AS p;
SELECT crm.check_predicate('has order since entry', true), crm.check_predicate(NULL);
-- names
SELECT crm.check_predicate('has ordr');
SELECT crm.check_predicate('has customer');
SELECT crm.check_predicate('count(ordr) > 1');
SELECT crm.check_predicate('has order[amout > 1]');
SELECT crm.check_predicate('has order[weekdy = 1]');
SELECT crm.check_predicate('has order[something_else = 1]');
SELECT crm.check_predicate('has order[city = ''x'']');
SELECT crm.check_predicate('has order[customer.cty = ''x'']');
SELECT crm.check_predicate('sum(order.amont) > 1');
SELECT crm.check_predicate('citty = ''x''');
SELECT crm.check_predicate('anniversary(birthday) today');
SELECT crm.check_predicate('has cart[not followed by ordr]');
SELECT crm.check_predicate('has cart[followed by order[same price]]');
SELECT crm.check_predicate('has order since entry');
-- types
SELECT crm.check_predicate('city > 5');
SELECT crm.check_predicate('5 < city');
SELECT crm.check_predicate('age = ''5''');
SELECT crm.check_predicate('age = ''five''');
SELECT crm.check_predicate('age between 1 and ''x''');
SELECT crm.check_predicate('vip = ''yes''');
SELECT crm.check_predicate('vip = 1');
SELECT crm.check_predicate('born = ''yesterday''');
SELECT crm.check_predicate('born > 1990');
SELECT crm.check_predicate('city contains ''Mos''');
SELECT crm.check_predicate('tags = ''a''');
SELECT crm.check_predicate('tags like ''a%''');
SELECT crm.check_predicate('tags contains 3');
SELECT crm.check_predicate('sizes contains any (3, ''x'')');
SELECT crm.check_predicate('age like ''1%''');
SELECT crm.check_predicate('city in (''a'', 2)');
SELECT crm.check_predicate('city in last 3 days');
SELECT crm.check_predicate('anniversary(city) today');
SELECT crm.check_predicate('city + 1 > 2');
SELECT crm.check_predicate('-city > 2');
SELECT crm.check_predicate('city + 1 day in last 2 days');
SELECT crm.check_predicate('sum(order.item) > 1');
SELECT crm.check_predicate('avg(order.promised) > 1');
SELECT crm.check_predicate('max(order.tags) > ''a''');
SELECT crm.check_predicate('last(order.item) > 3');
SELECT crm.check_predicate('most(order.item) = ''x''');
SELECT crm.check_predicate('mode(order.item) = 3');
SELECT crm.check_predicate('has order[paid = ''x'']');
SELECT crm.check_predicate('has cart[followed by order[same item]]');
SELECT crm.check_predicate('has order[hour = ''9'']');
-- what can never become true
SELECT crm.check_predicate('has cart[not followed by order within 1 day] in last 1 day');
SELECT crm.check_predicate('has cart[item > 3 and not followed by order within 2 days] between 1 hour and 1 day ago');
SELECT crm.check_predicate('no cart[not followed by order[amount > 1] within 1 year] in last 100 days');
SELECT crm.check_predicate('has cart[not followed by order within 1 hour] in last 1 day');
SELECT crm.create_segment('never', 'has cart[not followed by order within 1 day] in last 24 hours');
SELECT name, crm.nearest_name(name, ARRAY['visit', NULL, 'order', 'Москва', '', 'x'])
  FROM unnest(ARRAY['ordr', 'visti', 'Мосва', 'москва', 'something', 'or', '', NULL]) AS name;
SELECT crm.nearest_name('order', '{}') IS NULL AS none;

--
-- Little memory: facts go through temporary files, with the same result
--
DROP VIEW crm_feed.customer, crm_feed."order", crm_feed.cart;
DELETE FROM crm.source WHERE NOT own;
SELECT crm.drop_segment('never');
CREATE TABLE many (id int, city text, note text);
CREATE TABLE visits (user_id int, at timestamptz, page text, price numeric, tags text[]);
INSERT INTO many SELECT i, 'city ' || i % 100, repeat('note ' || i, 20) FROM generate_series(1, 1500) AS i;
INSERT INTO visits SELECT i % 1503, '2026-01-26 00:00:00Z'::timestamptz - make_interval(mins => i * 37 % 600000),
	CASE WHEN i % 5 = 0 THEN repeat('long ' || i % 9, 20) ELSE '/page' || i % 1000 END,
	CASE WHEN i % 7 = 0 THEN i::numeric * 12345678901234567890.123 ELSE i % 100 END,
	CASE WHEN i % 11 = 0 THEN ARRAY['a' || i % 3, repeat('z', 70)] END
	FROM generate_series(1, 20000) AS i;
SET client_min_messages = warning;		-- of strangers, and of lookups without index
SELECT crm.define_customers('SELECT id AS customer_id, city, note FROM many');
SELECT crm.define_event('visit', 'SELECT user_id AS customer_id, at, page, price, tags FROM visits');
SELECT crm.create_segment('s' || row_number() OVER (), p::crm.predicate) FROM unnest(ARRAY[
	'count(visit in last 2 months) >= 3', 'sum(visit.price) > 1000000000000000000000', 'note like ''%7note%''',
	'distinct(visit.page) >= 13', 'last(visit.tags) contains ''a1''', 'mode(visit.page) like ''long%''',
	'has visit[tags contains ''a2'' and followed by visit[price < 50] within 20 days] in last 2 months', 'first(visit) before 12 months ago',
	'city in (''city 3'', ''city 33'') and no visit in last 1 week']) AS p;
SET maintenance_work_mem = '1MB';
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
CREATE TABLE spilled AS SELECT * FROM crm.membership;
CREATE TABLE spilled_matching AS SELECT crm.matching('has visit[price > 90] in last 1 month', '2026-01-26 00:00:00Z') AS customer;
-- a second pass, spilling as well, finds no difference
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SET maintenance_work_mem = '256MB';
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
TRUNCATE crm.membership;
SELECT * FROM crm.refresh_segments('2026-01-26 00:00:00Z');
SELECT count(*) AS different FROM spilled AS s FULL JOIN crm.membership AS m USING (customer_id)
 WHERE s.segments IS DISTINCT FROM m.segments;
SELECT count(*) AS different FROM spilled_matching AS s
  FULL JOIN crm.matching('has visit[price > 90] in last 1 month', '2026-01-26 00:00:00Z') AS m(customer) USING (customer)
 WHERE s IS NULL OR m IS NULL;
SELECT segment, count(*) FROM crm.segment_member GROUP BY segment ORDER BY segment;
-- and it is what plain SQL says
SELECT (SELECT count(*) FROM (SELECT user_id FROM visits WHERE user_id BETWEEN 1 AND 1500
	AND at > '2026-01-26 00:00:00Z'::timestamptz - interval '2 months' AND at <= '2026-01-26 00:00:00Z'
	GROUP BY 1 HAVING count(*) >= 3) AS v) AS s1,
	(SELECT count(*) FROM (SELECT user_id FROM visits WHERE user_id BETWEEN 1 AND 1500 AND at <= '2026-01-26 00:00:00Z'
	GROUP BY 1 HAVING sum(price) > 1000000000000000000000) AS v) AS s2,
	(SELECT count(*) FROM many WHERE note LIKE '%7note%') AS s3,
	(SELECT count(*) FROM (SELECT user_id FROM visits WHERE user_id BETWEEN 1 AND 1500 AND at <= '2026-01-26 00:00:00Z'
	GROUP BY 1 HAVING count(DISTINCT page) >= 13) AS v) AS s4,
	(SELECT count(DISTINCT a.user_id) FROM visits AS a JOIN visits AS b USING (user_id) WHERE a.user_id BETWEEN 1 AND 1500
	AND 'a2' = ANY (a.tags) AND a.at > '2026-01-26 00:00:00Z'::timestamptz - interval '2 months' AND b.price < 50
	AND b.at > a.at AND b.at <= a.at + interval '20 days' AND b.at <= '2026-01-26 00:00:00Z') AS s7;
RESET maintenance_work_mem;

-- Rows that somebody has spoilt past us are written anew
CREATE TEMP TABLE before AS SELECT * FROM crm.membership;
UPDATE crm.membership SET segments = array_fill(segments[1], ARRAY[100000]);
SELECT count(*) > 0 AS spoilt FROM crm.membership WHERE cardinality(segments) = 100000;
SELECT customers > 0 AS refreshed FROM crm.refresh_segments((SELECT max(evaluated_at) FROM crm.segment));
SELECT count(*) FROM (TABLE before EXCEPT TABLE crm.membership) d;
UPDATE crm.membership SET segments = ARRAY[segments[1], NULL, -5, 2000000000];
SELECT customers > 0 AS refreshed FROM crm.refresh_segments((SELECT max(evaluated_at) FROM crm.segment));
SELECT count(*) FROM (TABLE before EXCEPT TABLE crm.membership) d;
DROP TABLE before;

DROP SCHEMA segment_odd CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

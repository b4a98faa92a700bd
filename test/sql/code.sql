-- Promo codes: a stock, who gets which, and what the till says.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
\set SHOW_CONTEXT never
SET search_path = public, crm;
SET crm_marketing.now = '2026-03-01Z';
CREATE TABLE users (id bigint PRIMARY KEY, city text);
INSERT INTO users SELECT g, 'Perm' FROM generate_series(1, 9) AS g;
SELECT define_customers('SELECT id AS customer_id, city FROM public.users');
SELECT configure('timezone', 'Europe/Moscow');
SELECT create_segment('redeemed', 'has redeem[pool = ''spring''] in last 7 days');
CALL run_ticks();

-- a stock of codes that were printed
SELECT define_code_pool('spring', valid_for => '1 month', valid_until => '2026-06-01Z', low_at => 2);
SELECT add_codes('spring', '{Spring-A,Spring-B,SPRING-C,spring-a}');
SELECT add_codes('spring', '{SPRING-B,Spring-D}'), add_codes('spring', '{}');
SELECT * FROM code_stock;
SELECT code_is_valid('Spring-A');
SELECT * FROM take_code('spring', 1, 'birthday 2026');
-- once for each occasion
SELECT * FROM take_code('spring', 1, 'birthday 2026', '2026-03-05Z');
SELECT * FROM take_code('spring', 1, 'cart 17', '2026-05-20 12:00Z');
-- a rollback gives it back
BEGIN;
SELECT * FROM take_code('spring', 2, 'birthday 2026');
ROLLBACK;
SELECT * FROM take_code('spring', 3, 'birthday 2026');
SELECT * FROM code_stock;
SELECT * FROM status WHERE item LIKE 'code pool%';
SELECT code_id, pool, code, taken_at, valid_until FROM crm.promo_code ORDER BY 1;
SELECT * FROM crm.customer_code ORDER BY code_id;
-- the last one, and none
SELECT * FROM take_code('spring', 4, 'x');
SELECT * FROM take_code('spring', 5, 'x');
SELECT * FROM take_code('spring', 4, 'x');
SELECT empty FROM crm.code_pool;
SELECT * FROM code_stock;
SELECT * FROM status WHERE item LIKE 'code pool%';
SELECT * FROM take_code('spring', 5, 'x');
SELECT add_codes('spring', '{Spring-E}');
SELECT empty FROM crm.code_pool;
SELECT * FROM take_code('spring', 5, 'x');
-- a stock that a rollback has made to have holes is not empty
SELECT add_codes('spring', '{Spring-F,Spring-G}');
BEGIN;
SELECT code FROM take_code('spring', 6, 'x');
SELECT code FROM take_code('spring', 6, 'y');
SELECT code FROM take_code('spring', 6, 'z');
ROLLBACK;
SELECT withdraw_code('Spring-F');
SELECT code FROM take_code('spring', 6, 'x');
SELECT code FROM take_code('spring', 6, 'y');

-- one with a hole at its front
SELECT define_code_pool('holes', low_at => NULL), add_codes('holes', '{H1,H2}');
BEGIN;
SELECT code FROM take_code('holes', 1, 'a');
SAVEPOINT s;
SELECT code FROM take_code('holes', 1, 'b');
ROLLBACK TO s;
DELETE FROM crm.customer_code WHERE pool = 'holes';
UPDATE crm.promo_code SET taken_at = NULL WHERE pool = 'holes';
SELECT code FROM take_code('holes', 1, 'c');
COMMIT;
BEGIN;
-- as when H1 was given back after H2 was taken
DELETE FROM crm.customer_code WHERE pool = 'holes';
UPDATE crm.promo_code SET taken_at = CASE code WHEN 'H2' THEN now() END WHERE pool = 'holes';
INSERT INTO crm.customer_code SELECT 2, c.pool, 'x', c.code_id, c.code, now() FROM crm.promo_code AS c WHERE c.code = 'H2';
COMMIT;
SELECT code FROM take_code('holes', 1, 'd');
SELECT pool, free, taken, low FROM code_stock ORDER BY 1;

-- at the till
SELECT code_is_valid('spring-a'), code_is_valid(E' SPRING-A\n'), code_is_valid('Spring-A', '2026-03-31 23:59:59Z'),
	   code_is_valid('Spring-A', '2026-04-01Z'), code_is_valid('Spring-F'), code_is_valid('Spring-Z'), code_is_valid(''),
	   code_is_valid(NULL), code_is_valid('Spring-A', NULL);
SELECT redeem_code('Spring-A', 2, 'order 1');
SELECT redeem_code('Spring-A', 1, 'order 1', '2026-04-01Z');
SELECT redeem_code(' spring-a ', 1, 'order 1');
SELECT redeem_code('Spring-A', 1, 'order 1'), redeem_code('Spring-A', 2, 'order 2'), redeem_code('Spring-A'),
	   redeem_code('Spring-Z'), redeem_code(''), redeem_code(NULL);
SELECT code_is_valid('Spring-A');
SELECT add_codes('spring', '{Spring-H}');
SELECT redeem_code('Spring-H', 2), redeem_code('Spring-F', 2);
SELECT withdraw_code('spring-c'), withdraw_code('Spring-C'), withdraw_code('Spring-Z'), withdraw_code(NULL);
SELECT redeem_code('Spring-C', 3), code_is_valid('Spring-C');
-- the code of the last second is as good
SELECT redeem_code('Spring-B', 1, 'order 2', '2026-05-31 23:59:59Z');
SELECT redeem_code('Spring-D', NULL, repeat('long ', 1000), 'infinity'), redeem_code('Spring-E', 5, NULL, NULL);
SELECT redeem_code('Spring-D', NULL, repeat('long ', 1000)), redeem_code('Spring-E', 5, NULL);
SELECT customer_id, at, pool, occasion, left(reference, 12) AS reference FROM crm_feed.redeem ORDER BY 1, 2;
CALL run_ticks();
SELECT customer_id FROM segment_member WHERE segment = 'redeemed' ORDER BY 1;
SELECT (profile_of(5)::jsonb) -> 'events';

-- an order that is cancelled
SELECT release_code('order 1'), release_code('order 1'), release_code(NULL), release_code('order 99');
SELECT code_is_valid('Spring-A'), redeem_code('Spring-A', 1, 'order 3', '2026-03-10Z');
SELECT release_code(repeat('long ', 1000)), release_code('order 2');
SELECT code_is_valid('Spring-D'), code_is_valid('Spring-B'), code_is_valid('Spring-B', '2026-06-01Z');
-- one that was withdrawn meanwhile
SELECT withdraw_code('Spring-A'), redeem_code('Spring-A', 1, 'order 3'), redeem_code('Spring-A', 1, 'order 4');
SELECT release_code('order 3'), code_is_valid('Spring-A'), redeem_code('Spring-A', 1, 'order 3');
CALL run_ticks();
SELECT customer_id FROM segment_member WHERE segment = 'redeemed' ORDER BY 1;
SELECT * FROM verify_segments();
SELECT * FROM code_stock ORDER BY pool;
SET crm_marketing.now = '2026-07-01Z';
SELECT * FROM code_stock ORDER BY pool;
-- a pool whose time is over
SELECT * FROM take_code('spring', 7, 'x');
SELECT * FROM take_code('spring', 1, 'cart 17');
SET crm_marketing.now = '2026-03-01Z';

-- a person with several ids
SELECT define_code_pool('merged'), add_codes('merged', '{M1,M2,M3,M4}');
SELECT code FROM take_code('merged', 8, 'x');
SELECT merge_customers(7, 8);
SELECT code FROM take_code('merged', 7, 'x');
SELECT code FROM take_code('merged', 8, 'y');
SELECT code FROM take_code('merged', 7, 'y');
SELECT customer_id, occasion, code FROM crm.customer_code WHERE pool = 'merged' ORDER BY code;
SELECT redeem_code('M1', 6, 'order 5'), redeem_code('M1', 7, 'order 5');
SELECT unmerge_customers(8);
SELECT redeem_code('M2', 7, 'order 6');
SELECT code FROM take_code('merged', 7, 'x');

-- anybody's
SELECT define_code_pool('merged', personal => false);
SELECT redeem_code('M2', 7, 'order 6');
SELECT customer_id, occasion, reference FROM crm_feed.redeem WHERE pool = 'merged' ORDER BY 3;

-- made by a pattern
SELECT define_code_pool('made', 'SPRING-####-####', valid_for => '36 hours');
SELECT code ~ '^SPRING-[2-9A-HJ-NP-Z]{4}-[2-9A-HJ-NP-Z]{4}$' AS matches, valid_until FROM take_code('made', 1, 'x', '2026-03-28 22:30Z');
SELECT (take_code('made', 1, 'x')).code = (take_code('made', 1, 'x')).code AS same,
	   (take_code('made', 1, 'x')).code <> (take_code('made', 2, 'x')).code AS another;
SELECT count(DISTINCT (take_code('made', 3, g::text)).code) FROM generate_series(1, 200) AS g;
SELECT count(DISTINCT s) AS symbols FROM crm.promo_code AS c, regexp_split_to_table(replace(substr(c.code, 8), '-', ''), '') AS s WHERE c.pool = 'made';
SELECT redeem_code(lower(code), 1) FROM take_code('made', 1, 'x');
SELECT length(crm.generate_code(repeat('#', 64))), crm.generate_code('no place'), crm.generate_code(''), crm.generate_code(NULL);
SELECT * FROM code_stock WHERE pool = 'made';
-- an hour that is not there: days are those of the shop
SELECT define_code_pool('day', 'D-####', valid_for => '1 day');
SELECT valid_until AT TIME ZONE 'Europe/Moscow' FROM take_code('day', 1, 'x', '2011-03-26 12:00 Europe/Moscow');
-- a pattern that has too few is noticed before all are used; nobody defines such a pool
UPDATE crm.code_pool SET pattern = 'D-##' WHERE pool = 'day';
CREATE FUNCTION use_up() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
BEGIN
	FOR i IN 1 .. 1024 LOOP
		PERFORM crm.take_code('day', 1, i::text);
	END LOOP;
	RETURN 'all of them';
EXCEPTION WHEN program_limit_exceeded THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
	RETURN concat_ws('; ', SQLERRM, detail);
END
$$;
SELECT use_up();
DROP FUNCTION use_up;

-- who was erased has no code, and nobody else gets it
SELECT (take_code('merged', 9, 'secret occasion')).code, redeem_code('M3', 9, 'secret order');
SELECT export_customer(9) -> 'tables' -> 'customer_code', export_customer(9) -> 'tables' -> 'code_redemption';
SELECT erase_customer(9);
SELECT code, taken_at, redeemed_at, reference FROM crm.promo_code WHERE code = 'M3';
SELECT count(*) FROM crm.customer_code WHERE occasion ~ 'secret';
SELECT take_code('merged', 9, 'x');
SELECT redeem_code('M3', 1, 'secret order'), release_code('secret order');
SELECT code FROM take_code('merged', 6, 'x');
-- a code of his that is still valid is good for whoever brings it
SELECT take_code('holes', 1, 'd');
SELECT erase_customer(1);
SELECT redeem_code('H1', 2, 'order 7');
SELECT customer_id, occasion FROM crm_feed.redeem WHERE reference = 'order 7';
-- and for somebody of whom nothing is to be stored
SELECT (take_code('made', 2, 'x')).code AS code \gset
SELECT define_code_pool('made', 'SPRING-####-####', personal => false);
SELECT redeem_code(:'code', 9, 'order 8');
SELECT count(*) FROM crm_feed.redeem WHERE reference = 'order 8';

-- kept as long as was said
SELECT set_retention('promo_code', '1 year');
SELECT count(*), count(redeemed_at), count(withdrawn_at) FROM crm.promo_code WHERE pool <> 'made';
SELECT * FROM apply_retention('2027-03-01Z');
SELECT * FROM apply_retention('2027-03-02Z') WHERE kind = 'promo_code';
SELECT c.pool, c.code, c.taken_at IS NOT NULL AS taken FROM crm.promo_code AS c WHERE pool NOT IN ('made', 'day') ORDER BY 1, 2;
SELECT count(*) FROM crm.customer_code AS h WHERE NOT EXISTS (SELECT FROM crm.promo_code AS c WHERE c.code_id = h.code_id);
SELECT count(*) FROM crm_feed.redeem;

-- dropped
SELECT drop_code_pool('merged');
SELECT drop_code_pool('merged', force => true);
SELECT code_is_valid('M4'), redeem_code('M4');
SELECT drop_code_pool('holes', NULL);
SELECT drop_code_pool('spring');
SET crm_marketing.now = '2026-06-01Z';
SELECT drop_code_pool('spring');
SET crm_marketing.now = '2026-03-01Z';
SELECT pool FROM code_stock ORDER BY 1;
SELECT count(*) FROM crm.promo_code WHERE pool NOT IN ('made', 'day');

-- errors
SELECT define_code_pool(NULL);
SELECT define_code_pool('');
SELECT define_code_pool('x', personal => NULL);
SELECT define_code_pool('x', 'SPRING ####');
SELECT define_code_pool('x', repeat('#', 65));
SELECT define_code_pool('x', 'SPRING-###');
SELECT define_code_pool('x', valid_for => '0');
SELECT define_code_pool('x', valid_for => '1 month -31 days');
SELECT define_code_pool('x', valid_for => '1001 years');
SELECT define_code_pool('x', valid_until => 'infinity');
SELECT define_code_pool('x', low_at => -1);
SELECT define_code_pool('made');
SELECT define_code_pool('stock'), add_codes('stock', '{S1}');
SELECT define_code_pool('stock', 'S-####');
SELECT define_code_pool('stock', low_at => 5);
SELECT add_codes('nothing', '{A}');
SELECT add_codes(NULL, '{A}');
SELECT add_codes('stock', NULL);
SELECT add_codes('stock', '{A,NULL}');
SELECT add_codes('stock', ARRAY['A', '']);
SELECT add_codes('stock', ARRAY['A', 'B', 'C ']);
SELECT add_codes('stock', ARRAY[repeat('A', 65)]);
SELECT add_codes('made', '{A}');
SELECT define_code_pool('stock 2');
SELECT add_codes('stock 2', '{B,s1}');
SELECT take_code('nothing', 2, 'x');
SELECT take_code(NULL, 2, 'x');
SELECT take_code('stock', NULL, 'x');
SELECT take_code('stock', 2, NULL);
SELECT take_code('stock', 2, '');
SELECT take_code('stock', 2, repeat('x', 256));
SELECT take_code('stock', 2, 'x', NULL);
SELECT take_code('stock', 2, 'x', 'infinity');
SELECT drop_code_pool('nothing');
SELECT drop_code_pool(NULL);
SELECT define_event('redeem', 'SELECT id AS customer_id, timestamptz ''2026-01-01Z'' AS at FROM public.users');
SELECT track(2, 'redeem');
SELECT set_retention('promo_codes', '1 day');
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

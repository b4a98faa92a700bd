-- Time alone: with no fact at all, ticks move those whose deadline has come, at the deadline, and look at nobody else.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;
SET client_min_messages = warning;
CREATE TABLE users (id int PRIMARY KEY, birthday date);
CREATE TABLE orders (user_id int, at timestamptz);
CREATE INDEX ON orders (user_id);
CREATE TABLE carts (user_id int, at timestamptz);
CREATE INDEX ON carts (user_id);
SELECT crm.configure('timezone', 'Europe/Berlin');
SELECT crm.define_customers('SELECT id AS customer_id, birthday FROM users'),
	   crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders'),
	   crm.define_event('cart', 'SELECT user_id AS customer_id, at FROM carts');
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts');
SET TimeZone = 'Europe/Berlin';

-- Twelve who ordered one after the other, a microsecond apart at the end; month ends; a birthday beyond the year's end
INSERT INTO users SELECT g, CASE g WHEN 40 THEN date '1990-01-03' END FROM generate_series(1, 60) AS g;
INSERT INTO orders SELECT g, timestamptz '2026-01-10 10:00' + g * interval '1 hour' FROM generate_series(1, 10) AS g;
INSERT INTO orders VALUES (11, '2026-01-10 20:00:00.000001'), (12, '2026-01-10 20:00:00.000002');
INSERT INTO orders VALUES (20, '2026-01-28 12:00'), (21, '2026-01-29 12:00'), (22, '2026-01-30 12:00'), (23, '2026-01-31 12:00');
SELECT crm.create_segment('days', 'has order in last 30 days'),
	   crm.create_segment('month', 'has order in last 1 month'),
	   crm.create_segment('birthday', 'anniversary(birthday) in next 7 days'),
	   crm.create_segment('cart today', 'has cart today and no order today');
SET crm_marketing.now = '2026-02-01 00:00';
CALL crm.run_ticks();

CREATE TABLE ticks (n int GENERATED ALWAYS AS IDENTITY, at timestamptz, touched bigint, due bigint, entered bigint, "left" bigint);
CREATE PROCEDURE tick_at(at timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	t record;
	sum_touched bigint := 0; sum_due bigint := 0; sum_entered bigint := 0; sum_left bigint := 0;
BEGIN
	PERFORM set_config('crm_marketing.now', at::text, false);
	COMMIT;
	LOOP
		t := crm.tick();
		sum_touched := sum_touched + t.touched; sum_due := sum_due + t.due;
		sum_entered := sum_entered + t.entered; sum_left := sum_left + t.left;
		COMMIT;
		EXIT WHEN NOT t.more AND t.touched + t.due = 0;
	END LOOP;
	INSERT INTO ticks (at, touched, due, entered, "left") VALUES (tick_at.at, sum_touched, sum_due, sum_entered, sum_left);
	COMMIT;
END
$p$;
CREATE FUNCTION last_tick() RETURNS text LANGUAGE sql AS
	$$SELECT format('touched %s, due %s, entered %s, left %s', touched, due, entered, "left") FROM ticks ORDER BY n DESC LIMIT 1$$;
CREATE FUNCTION changes(what text) RETURNS TABLE (customer bigint, entered boolean, at text, reason text) LANGUAGE sql AS
	$$SELECT c.customer_id, c.entered, c.at::text, c.reason FROM crm.segment_change AS c WHERE c.segment = what AND c.reason <> 'edit' ORDER BY c.at, 1$$;

SELECT plan(23);
CALL tick_at('2026-02-08 00:00');
SELECT is(last_tick(), 'touched 0, due 0, entered 0, left 0', 'before any deadline nobody is looked at');
CALL tick_at('2026-02-09 10:59:59.999999');
SELECT is(last_tick(), 'touched 0, due 0, entered 0, left 0', 'nor a microsecond before the first one');
CALL tick_at('2026-02-09 11:00');
SELECT is(last_tick(), 'touched 0, due 1, entered 0, left 1', 'at the deadline, one is');
SELECT is((SELECT at FROM changes('days')), '2026-02-09 11:00:00+01', 'and leaves at it');
CALL tick_at('2026-02-09 15:30');
SELECT is(last_tick(), 'touched 0, due 4, entered 0, left 4', 'a tick that comes late takes all whose deadline has come');
SELECT results_eq($$SELECT at FROM changes('days') OFFSET 1$$,
				  $$SELECT (timestamptz '2026-02-09 11:00' + g * interval '1 hour')::text FROM generate_series(1, 4) AS g$$,
				  'each leaves at the deadline of his own');
CALL tick_at('2026-02-09 20:00:00.000001');
SELECT results_eq($$SELECT customer, at FROM changes('days') WHERE at >= '2026-02-09 20' ORDER BY 1$$,
				  $$VALUES (10::bigint, '2026-02-09 20:00:00+01'), (11, '2026-02-09 20:00:00.000001+01')$$, 'to the microsecond');
CALL tick_at('2026-02-09 20:00:00.000002');
SELECT is(last_tick(), 'touched 0, due 1, entered 0, left 1', 'and the next one a microsecond later');
SELECT is_empty('SELECT * FROM crm.verify_segments()', 'then all is right');

-- Months end on other days
CALL tick_at('2026-03-02 00:00');
SELECT results_eq($$SELECT customer, at FROM changes('month') WHERE customer >= 20$$,
				  $$VALUES (20::bigint, '2026-02-28 12:00:00+01'), (21, '2026-02-28 12:00:00+01'), (22, '2026-02-28 12:00:00+01'),
						   (23, '2026-02-28 12:00:00+01')$$, 'a month from the 28th, 29th, 30th and 31st of January ends on the 28th of February');
SELECT is_empty('SELECT * FROM crm.verify_segments()', 'then all is right');

-- Local midnight, on the day that summer time begins
INSERT INTO carts VALUES (30, '2026-03-28 20:00'), (31, '2026-03-29 01:30'), (32, '2026-03-29 05:00'), (33, '2026-03-29 06:00');
CALL tick_at('2026-03-28 23:00');
SELECT is(ARRAY(SELECT crm.members('cart today') ORDER BY 1), '{30}', 'a cart of today');
CALL tick_at('2026-03-29 12:00');
SELECT results_eq($$SELECT * FROM changes('cart today') OFFSET 1$$,
				  $$VALUES (30::bigint, false, '2026-03-29 00:00:00+01', 'time'), (31, true, '2026-03-29 01:30:00+01', 'fact'),
						   (32, true, '2026-03-29 05:00:00+02', 'fact'), (33, true, '2026-03-29 06:00:00+02', 'fact')$$,
				  'ends at local midnight; those that lie ahead begin when they come');
INSERT INTO orders VALUES (33, '2026-03-29 12:00:00.5');
CALL tick_at('2026-03-29 12:00:01');
SELECT results_eq($$SELECT * FROM changes('cart today') OFFSET 5$$, $$VALUES (33::bigint, false, '2026-03-29 12:00:00.5+02', 'fact')$$,
				  'payment ends it at once');
CALL tick_at('2026-03-30 12:00');
SELECT results_eq($$SELECT customer, at FROM changes('cart today') OFFSET 6$$,
				  $$VALUES (31::bigint, '2026-03-30 00:00:00+02'), (32, '2026-03-30 00:00:00+02')$$, 'a short day has its own midnight');
SELECT is_empty('SELECT * FROM crm.verify_segments()', 'then all is right');

-- A pulse while the server slept
INSERT INTO carts VALUES (35, '2026-04-10 09:00');
CALL tick_at('2026-04-01 00:00');
CALL tick_at('2026-04-20 00:00');
SELECT results_eq($$SELECT entered, at FROM changes('cart today') WHERE customer = 35$$,
				  $$VALUES (true, '2026-04-10 09:00:00+02'), (false, '2026-04-11 00:00:00+02')$$, 'is logged though nobody looked');

-- A birthday beyond the end of the year
CALL tick_at('2026-12-20 00:00');
SELECT is((SELECT count(*) FROM crm.members('birthday')), 0::bigint, 'the third of January is not yet near');
CALL tick_at('2026-12-31 00:00');
SELECT is(ARRAY(SELECT crm.members('birthday')), '{40}', 'but it is before the year ends');
SELECT matches((SELECT at FROM changes('birthday')), '^2026-12-2[67] 00:00:00', 'from seven days before it');
CALL tick_at('2027-01-10 00:00');
SELECT is((SELECT count(*) FROM crm.members('birthday')), 0::bigint, 'and over when it is over');
SELECT is_empty('SELECT * FROM crm.verify_segments()', 'then all is right');
CALL tick_at('2026-06-01 00:00');
SELECT is(last_tick(), 'touched 0, due 0, entered 0, left 0', 'a tick at an earlier instant changes nothing');
SELECT * FROM finish();

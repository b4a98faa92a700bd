-- Time alone: with no fact, ticks at simulated instants move exactly the customers whose deadline has come, and look at nobody
-- else; the log has the deadline itself, to the microsecond. No clock of the server's is waited for.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE users (id int PRIMARY KEY, birthday date);
CREATE TABLE orders (user_id int, at timestamptz);
CREATE INDEX ON orders (user_id);
CREATE TABLE carts (user_id int, at timestamptz);
CREATE INDEX ON carts (user_id);
SELECT crm.configure('timezone', 'Europe/Berlin') \g /dev/null
SELECT crm.define_customers('SELECT id AS customer_id, birthday FROM users') \g /dev/null
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders') \g /dev/null
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, at FROM carts') \g /dev/null
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts') \g /dev/null

-- One thing after another: what a tick does at an instant, in one line; and the changes it has logged
CREATE FUNCTION tick_at(instant timestamptz) RETURNS text LANGUAGE plpgsql AS $f$
DECLARE
	t record;
BEGIN
	PERFORM set_config('crm_marketing.now', instant::text, false);
	t := crm.tick();
	RETURN format('touched %s due %s entered %s left %s%s', t.touched, t.due, t.entered, t."left",
				  CASE WHEN t.refreshed THEN ' refreshed' END);
END
$f$;
-- Everything there is to be done at an instant, by as many ticks as it needs
CREATE PROCEDURE settle(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	t record;
BEGIN
	PERFORM set_config('crm_marketing.now', instant::text, false);
	COMMIT;
	LOOP
		t := crm.tick();
		COMMIT;
		EXIT WHEN NOT t.more AND t.routed = 0;
	END LOOP;
	TRUNCATE crm.membership_change;
END
$p$;
CREATE FUNCTION logged(segment text) RETURNS text[] LANGUAGE sql AS $f$
	SELECT coalesce(array_agg(format('%s %s %s %s', customer_id, CASE WHEN entered THEN 'enters' ELSE 'leaves' END,
									 at AT TIME ZONE 'Europe/Berlin', reason) ORDER BY at, customer_id, change_id), '{}')
	  FROM crm.segment_change WHERE segment_id = (SELECT segment_id FROM crm.segment WHERE name = $1)
$f$;
-- A tick where there is nothing to be done must change nothing
CREATE FUNCTION all_right(instant timestamptz) RETURNS SETOF text LANGUAGE plpgsql AS $f$
BEGIN
	PERFORM set_config('crm_marketing.now', instant::text, false);
	RETURN QUERY SELECT v::text FROM crm.verify_segments() AS v;
END
$f$;

INSERT INTO users SELECT g FROM generate_series(1, 300) AS g;
SELECT plan(58);

-- To the microsecond
INSERT INTO orders VALUES (1, '2026-01-01 10:00:00.123456+00'), (2, '2026-01-01 10:00:00.123457+00'), (3, '2026-01-01 12:00+00'),
						  (4, '2025-11-01 12:00+00');
SELECT crm.create_segment('recent', 'has order in last 30 days') \g /dev/null
CALL settle('2026-01-02 00:00+00');
SELECT is((SELECT count(*) FROM crm.deadline), 3::bigint, 'only those have a deadline whose answer time alone can change');
SELECT is(tick_at('2026-01-31 10:00:00.123455+00'), 'touched 0 due 0 entered 0 left 0', 'a microsecond before a deadline nobody is looked at');
SELECT is(tick_at('2026-01-31 10:00:00.123456+00'), 'touched 0 due 1 entered 0 left 1', 'at the deadline, one of 300');
SELECT is(logged('recent'), '{1 leaves 2026-01-31 11:00:00.123456 time}', 'whose leave has that instant');
SELECT is(tick_at('2026-01-31 10:00:00.123456+00'), 'touched 0 due 0 entered 0 left 0', 'once');
SELECT is(tick_at('2026-01-31 10:00:00.123457+00'), 'touched 0 due 1 entered 0 left 1', 'a microsecond later the next one');
SELECT is(tick_at('2026-01-31 16:00+00'), 'touched 0 due 1 entered 0 left 1', 'a tick that comes late');
SELECT is(logged('recent'), '{1 leaves 2026-01-31 11:00:00.123456 time,2 leaves 2026-01-31 11:00:00.123457 time,3 leaves 2026-01-31 13:00:00 time}',
		  'logs the deadline, not itself');
SELECT is(tick_at('2026-01-15 00:00+00'), 'touched 0 due 0 entered 0 left 0', 'an instant that is past changes nothing');
SELECT is((SELECT count(*) FROM crm.deadline), 0::bigint, 'then nobody waits for anything');
SELECT is_empty($$SELECT all_right('2026-01-31 16:00+00')$$, 'and all is right');
SELECT crm.drop_segment('recent') \g /dev/null

-- The ends of months
DELETE FROM orders;
SELECT crm.create_segment('month', 'has order in last 1 month') \g /dev/null
INSERT INTO orders SELECT u, a AT TIME ZONE 'Europe/Berlin' FROM (VALUES
	(11, timestamp '2026-01-28 13:00'), (12, '2026-01-29 11:00'), (13, '2026-01-30 10:00'), (14, '2026-01-31 00:00'),
	(15, '2026-01-30 12:00'), (15, '2026-01-31 00:00')) AS v (u, a);
CALL settle('2026-02-01 00:00+00');
SELECT is(tick_at('2026-02-27 22:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'no month ends before the 28th of February');
SELECT matches(tick_at('2026-02-28 13:00+00'), '^touched 0 due [56] entered 0 left 5', 'all end on it');
SELECT is(logged('month'), '{14 leaves 2026-02-28 00:00:00 time,13 leaves 2026-02-28 10:00:00 time,12 leaves 2026-02-28 11:00:00 time,15 leaves 2026-02-28 12:00:00 time,11 leaves 2026-02-28 13:00:00 time}',
		  'each at his order''s time of day, and who has two when both have ended');
CALL settle('2026-02-28 14:00+00');
INSERT INTO orders SELECT u, a AT TIME ZONE 'Europe/Berlin' FROM (VALUES
	(16, timestamp '2026-02-28 12:00'), (17, '2026-03-01 00:00')) AS v (u, a);
CALL settle('2026-03-01 00:00+00');
SELECT is(tick_at('2026-03-28 10:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'the month of the 28th of February');
SELECT is(tick_at('2026-03-28 11:00+00'), 'touched 0 due 1 entered 0 left 1', 'ends on the 28th of March');
SELECT crm.drop_segment('month') \g /dev/null

-- Today: until local midnight, on days of 23 and of 25 hours; or until the payment
SELECT crm.create_segment('cart', 'has cart today and no order today') \g /dev/null
INSERT INTO carts SELECT u, a AT TIME ZONE 'Europe/Berlin' FROM (VALUES
	(21, timestamp '2026-03-28 14:00'), (22, '2026-03-29 00:30'), (23, '2026-03-29 12:00'), (24, '2026-03-29 12:00')) AS v (u, a);
CALL settle('2026-03-28 15:00+00');
SELECT is(ARRAY(SELECT crm.members('cart')), '{21}', 'a cart is in no day before its own instant');
SELECT is(tick_at('2026-03-28 22:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'the last microsecond of a local day');
SELECT is(tick_at('2026-03-28 23:00+00'), 'touched 0 due 1 entered 0 left 1', 'its end');
CALL settle('2026-03-29 11:00+00');
SELECT is(ARRAY(SELECT crm.members('cart') ORDER BY 1), '{22,23,24}', 'carts that lay ahead have come');
INSERT INTO orders VALUES (24, '2026-03-29 11:30+00');
SELECT is(tick_at('2026-03-29 11:31+00'), 'touched 1 due 0 entered 0 left 1', 'whoever pays leaves at once');
SELECT is(logged('cart'), '{24 leaves 2026-03-29 13:30:00 fact}', 'by that fact, at its instant');
SELECT is(tick_at('2026-03-29 21:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'a day of 23 hours');
-- who has paid is looked at too: his deadline is that of a day without an order
SELECT is(tick_at('2026-03-29 22:00+00'), 'touched 0 due 3 entered 0 left 2', 'ends an hour earlier');
INSERT INTO carts VALUES (25, '2026-10-24 22:10+00');
CALL settle('2026-10-25 00:00+00');
SELECT is(tick_at('2026-10-25 22:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'a day of 25 hours');
SELECT is(tick_at('2026-10-25 23:00+00'), 'touched 0 due 1 entered 0 left 1', 'ends an hour later');
SELECT is_empty($$SELECT all_right('2026-10-25 23:00+00')$$, 'and all is right');
SELECT crm.drop_segment('cart') \g /dev/null

-- Birthdays
SELECT crm.create_segment('birthday', 'anniversary(birthday) in next 7 days') \g /dev/null
UPDATE users SET birthday = '1990-01-03' WHERE id = 31;
UPDATE users SET birthday = '1990-12-30' WHERE id = 32;
UPDATE users SET birthday = '1992-02-29' WHERE id = 33;
CALL settle('2026-12-01 00:00+00');
SELECT is(tick_at('2026-12-22 22:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'eight days before a birthday');
SELECT is(tick_at('2026-12-22 23:00+00'), 'touched 0 due 1 entered 1 left 0', 'seven days');
SELECT is(tick_at('2026-12-26 23:00+00'), 'touched 0 due 1 entered 1 left 0', 'a birthday of next year');
SELECT matches(tick_at('2027-03-01 00:00+00'), '^touched 0 due [34] entered [0-9]+ left [0-9]+', 'a long time with nobody awake');
SELECT is(logged('birthday'), ARRAY['32 enters 2026-12-23 00:00:00 time', '31 enters 2026-12-27 00:00:00 time',
		  '32 leaves 2026-12-31 00:00:00 time', '31 leaves 2027-01-04 00:00:00 time',
		  '33 enters 2027-02-21 00:00:00 time', '33 leaves 2027-03-01 00:00:00 time'], 'is made up for, instant by instant');
SELECT is_empty($$SELECT all_right('2027-03-01 00:00+00')$$, 'and all is right');
SELECT crm.drop_segment('birthday') \g /dev/null

-- A long sleep: what came and went in it is logged
SELECT crm.create_segment('today', 'has cart today'), crm.create_segment('early', 'has order in last 1 hour') \g /dev/null
INSERT INTO carts SELECT u, a AT TIME ZONE 'Europe/Berlin' FROM (VALUES
	(41, timestamp '2027-03-10 12:00'), (41, '2027-03-11 09:00'), (41, '2027-03-20 09:00'), (42, '2027-05-31 12:00')) AS v (u, a);
INSERT INTO orders SELECT 43, timestamptz '2027-03-12 09:00+00';
CALL settle('2027-03-10 13:00+00');
INSERT INTO carts VALUES (44, '2027-03-15 09:00+00');
SELECT is(tick_at('2027-05-31 12:00+00') ~ 'touched 1 due 3', true, 'a tick after months');
SELECT is(logged('today'), ARRAY['41 leaves 2027-03-11 00:00:00 time', '41 enters 2027-03-11 09:00:00 fact', '41 leaves 2027-03-12 00:00:00 time',
		  '44 enters 2027-03-15 10:00:00 fact', '44 leaves 2027-03-16 00:00:00 time', '41 enters 2027-03-20 09:00:00 fact',
		  '41 leaves 2027-03-21 00:00:00 time', '42 enters 2027-05-31 12:00:00 fact'], 'logs all that came and went');
SELECT is(logged('early'), ARRAY['43 enters 2027-03-12 10:00:00 fact', '43 leaves 2027-03-12 11:00:00 time'], 'and what it finds as it was');
SELECT is_empty($$SELECT all_right('2027-05-31 12:00+00')$$, 'and all is right');
SELECT crm.drop_segment('today'), crm.drop_segment('early') \g /dev/null

-- Where a day begins at one o'clock, because there is no midnight
SELECT crm.configure('timezone', 'America/Santiago') \g /dev/null
SELECT crm.create_segment('today', 'has cart today') \g /dev/null
INSERT INTO carts VALUES (51, '2027-09-05 03:59+00'), (52, '2027-09-05 04:01+00');
CALL settle('2027-09-05 03:59+00');
SELECT is(tick_at('2027-09-05 03:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'the last microsecond before a midnight that is left out');
SELECT is(tick_at('2027-09-05 04:00+00'), 'touched 0 due 1 entered 0 left 1', 'the next one is in the next day');
SELECT is(tick_at('2027-09-06 02:59:59.999999+00'), 'touched 0 due 1 entered 1 left 0', 'which has 23 hours');
SELECT is(tick_at('2027-09-06 03:00+00'), 'touched 0 due 1 entered 0 left 1', 'and no more');
SELECT crm.drop_segment('today') \g /dev/null

-- A leap year, and a wave that is more than a tick takes
SELECT crm.configure('timezone', 'UTC') \g /dev/null
SELECT crm.create_segment('month', 'has order in last 1 month') \g /dev/null
DELETE FROM orders;
INSERT INTO orders SELECT u, timestamptz '2028-01-29 00:00+00' + (u % 3) * interval '1 day' FROM generate_series(1, 90) AS u;
CALL settle('2028-02-01 00:00+00');
SELECT is(tick_at('2028-02-28 23:59:59.999999+00'), 'touched 0 due 0 entered 0 left 0', 'in a leap year');
SELECT set_config('crm_marketing.now', '2028-02-29 00:00+00', false) \g /dev/null
SELECT cmp_ok((crm.tick(max_customers => 20)).due, '<', 90::bigint, 'a wave does not fit into a batch');
CALL crm.run_ticks(max_customers => 20);
SELECT is((SELECT count(*) FROM crm.segment_change WHERE segment = 'month' AND NOT entered AND at = '2028-02-29 00:00+00' AND reason = 'time'),
		  90::bigint, 'the months of three days end on one, each once');
SELECT is(ARRAY(SELECT crm.members('month')), '{}', 'for everybody');
SELECT is_empty($$SELECT all_right('2028-02-29 00:00+00')$$, 'and all is right');
SELECT crm.drop_segment('month') \g /dev/null

-- A sleep that a refresh ends
SELECT crm.create_segment('birthday', 'anniversary(birthday) today') \g /dev/null
CALL settle('2028-03-01 00:00+00');
SELECT set_config('crm_marketing.now', '2029-01-01 00:00+00', false) \g /dev/null
SELECT is((crm.refresh_segments()).entered, 1::bigint, 'a refresh counts what came and went');
SELECT is(logged('birthday'), '{32 enters 2028-12-30 01:00:00 time,32 leaves 2028-12-31 01:00:00 time}', 'and logs it');
SELECT is_empty($$SELECT all_right('2029-01-01 00:00+00')$$, 'and all is right');
SELECT crm.drop_segment('birthday') \g /dev/null

-- Who is looked at twice in the middle of a wave has come and gone once
SELECT crm.create_segment('month', 'has order in last 1 month'), crm.create_segment('today', 'has cart today') \g /dev/null
DELETE FROM carts;
DELETE FROM orders;
INSERT INTO orders SELECT u, '2028-12-15 00:00+00' FROM generate_series(100, 299) AS u;
CALL settle('2029-01-14 00:00+00');
INSERT INTO carts VALUES (61, '2029-01-15 10:00+00');
SELECT set_config('crm_marketing.now', '2029-01-16 10:00+00', false) \g /dev/null
SELECT (crm.tick(max_customers => 1)).more \g /dev/null
SELECT crm.touch('{61}') \g /dev/null
SELECT is((crm.tick(max_customers => 1)).more, true, 'the wave goes on');
SELECT is(logged('today'), '{61 enters 2029-01-15 11:00:00 fact,61 leaves 2029-01-16 01:00:00 time}', 'a pulse is logged once');
INSERT INTO carts VALUES (61, '2029-01-16 09:00+00');
SELECT is((crm.tick(max_customers => 1)).more, true, 'the wave still goes on');
SELECT is(logged('today'), '{61 enters 2029-01-15 11:00:00 fact,61 leaves 2029-01-16 01:00:00 time,61 enters 2029-01-16 10:00:00 fact}',
		  'also when another entry follows');
CALL crm.run_ticks();
SELECT is_empty($$SELECT all_right('2029-01-16 10:00+00')$$, 'and all is right');

-- Of two who find that a refresh is needed, the one whose clock is behind may come second
SELECT crm.rebuild_feeds(), crm.tick() \g /dev/null
SELECT crm.rebuild_feeds() \g /dev/null
SELECT set_config('crm_marketing.now', '2029-01-16 09:59+00', false) \g /dev/null
SELECT ok((crm.tick()).refreshed, 'a tick that is behind another one''s refresh');
SELECT is((SELECT count(*) FROM crm.segment WHERE evaluated_at < '2029-01-16 10:00+00'), 0::bigint, 'does not go back behind it');
SELECT is_empty($$SELECT all_right('2029-01-16 10:00+00')$$, 'and all is right');
SELECT is((SELECT count(*) FROM crm.tick_error), 0::bigint, 'without an error');
SELECT * FROM finish();

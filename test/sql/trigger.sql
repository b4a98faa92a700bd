-- Triggers: each event that makes a segment's predicate true is told once, at whatever instant it is noticed.
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET crm_marketing.now = '2026-03-01 09:00Z';
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE carts (id int PRIMARY KEY, user_id int, at timestamptz);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, at timestamptz);
CREATE INDEX ON carts (user_id);
CREATE INDEX ON orders (user_id);
INSERT INTO users SELECT n, 'Perm' FROM generate_series(1, 5) AS n;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, at, id AS cart FROM carts');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, id AS number FROM orders');
SELECT crm.watch('customer', 'users'), crm.watch('cart', 'carts'), crm.watch('order', 'orders');

-- a cart from before the trigger was set is nobody's business
INSERT INTO carts VALUES (0, 1, '2026-03-01 07:30Z');
SELECT crm.create_segment('abandoned', 'has cart[not followed by order within 1 hour] in last 1 day') AS abandoned \gset
SELECT crm.create_segment('moscow', $$city = 'Moscow'$$) AS moscow \gset
SELECT crm.set_trigger(:abandoned, crm.now(), '12 hours'), crm.set_trigger(:moscow, crm.now(), '12 hours');

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
END
$p$;
CREATE VIEW told AS
	SELECT s.name, q.customer_id, q.kind, q.event_at, q.started_at
	  FROM crm.occurrence_queue AS q JOIN crm.segment AS s USING (segment_id) ORDER BY q.started_at, q.customer_id;
CALL settle('2026-03-01 09:00Z');
TABLE told;

-- two carts of one customer, of which the second comes while the first still makes the segment true
INSERT INTO carts VALUES (1, 1, '2026-03-01 09:10Z'), (2, 2, '2026-03-01 09:20Z');
CALL settle('2026-03-01 09:30Z');
TABLE told;
INSERT INTO carts VALUES (3, 1, '2026-03-01 10:00Z');
CALL settle('2026-03-01 10:30Z');
TABLE told;
CALL settle('2026-03-01 11:00Z');
TABLE told;

-- who has ordered in time is not told of; looking again tells nothing again
INSERT INTO carts VALUES (4, 3, '2026-03-01 11:00Z');
INSERT INTO orders VALUES (1, 3, '2026-03-01 11:20Z');
INSERT INTO orders VALUES (2, 1, '2026-03-01 11:20Z');
CALL settle('2026-03-01 12:30Z');
SELECT count(*) FROM told;

-- an entry where no event decides; leaving and entering again is another one
UPDATE users SET city = 'Moscow' WHERE id IN (4, 5);
CALL settle('2026-03-01 13:00Z');
UPDATE users SET city = 'Perm' WHERE id = 4;
CALL settle('2026-03-01 13:01Z');
UPDATE users SET city = 'Moscow' WHERE id = 4;
CALL settle('2026-03-01 13:02Z');
SELECT * FROM told WHERE name = 'moscow';

-- a cart that becomes known late is told while the window lasts, and not after; nobody ticked for hours
INSERT INTO carts VALUES (5, 4, '2026-03-01 09:30Z'), (6, 5, '2026-03-01 10:05Z');
CALL settle('2026-03-01 22:40Z');
SELECT * FROM told WHERE customer_id IN (4, 5) AND kind = 'cart';

-- a refresh finds the same, and the same once more is not told
INSERT INTO carts VALUES (7, 2, '2026-03-01 21:00Z');
SELECT entered, "left" FROM crm.refresh_segments();
SELECT * FROM told WHERE started_at > '2026-03-01 21:30Z';
CALL settle('2026-03-01 22:45Z');
SELECT count(*) FROM told;

-- whoever is of interest is heard of when anything of theirs changes, also what no segment asks for
SELECT crm.track(1, 'login', '{}');
INSERT INTO crm.interest VALUES (1), (3);
CALL settle('2026-03-01 22:50Z');
SELECT customer_id FROM crm.heard;
SELECT crm.track(2, 'login', '{}'), crm.track(3, 'login', '{}');
CALL settle('2026-03-01 22:51Z');
SELECT customer_id FROM crm.heard ORDER BY seq;
-- under the name of whom he was merged into as well
SELECT crm.merge_customers(2, 3);
CALL settle('2026-03-01 22:52Z');
DELETE FROM crm.heard;
INSERT INTO orders VALUES (3, 2, '2026-03-01 22:52Z');
CALL settle('2026-03-01 22:53Z');
SELECT customer_id FROM crm.heard ORDER BY seq;
-- where nobody knows whose facts have changed, of all; a new segment is no such thing
DELETE FROM crm.heard;
SELECT crm.create_segment('new', 'has cart');
CALL settle('2026-03-01 22:54Z');
SELECT customer_id FROM crm.heard;
SELECT crm.touch(NULL, 'order');
CALL settle('2026-03-01 22:55Z');
SELECT customer_id FROM crm.heard ORDER BY customer_id;
SELECT crm.drop_segment('new');

-- what no trigger looks back to is forgotten
SELECT crm.forget_occurrences('2026-03-02 23:30Z');
SELECT count(*) FROM crm.occurrence;
SELECT crm.set_trigger(:abandoned, NULL, NULL);
INSERT INTO carts VALUES (8, 2, '2026-03-01 21:30Z');
CALL settle('2026-03-01 23:10Z');
SELECT count(*) FROM told;
SET client_min_messages = warning;
DROP EXTENSION crm_marketing CASCADE;
DROP TABLE users, carts, orders CASCADE;
DROP PROCEDURE settle;
CREATE EXTENSION crm_marketing;

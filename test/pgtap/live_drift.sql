-- Live segments against a fresh evaluation: random shops, random changes, random instants; after each round of ticks what is
-- stored is what a fresh evaluation gives, and what was logged by time alone has the very instant.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
SET client_min_messages = warning;
CREATE TABLE users (id int PRIMARY KEY, city text, birthday date);
CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int, placed_at timestamptz, total numeric,
					 status text);
CREATE INDEX ON orders (user_id);
CREATE TABLE items (order_id int, sku text, qty int);
CREATE INDEX ON items (order_id);
SELECT crm.configure('timezone', 'Europe/Berlin');
SELECT crm.define_customers('SELECT id AS customer_id, city, birthday FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, status FROM orders WHERE status <> ''cancelled''');
SELECT crm.define_event('purchase', 'SELECT o.user_id AS customer_id, o.placed_at AS at, i.sku AS item, i.qty FROM items i JOIN orders o ON o.id = i.order_id');
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('purchase', 'orders'),
	   crm.watch('purchase', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $1');
SELECT crm.track(1, 'cart', '{}', '2026-01-01');

SELECT setseed(0.42);
INSERT INTO users SELECT g, (ARRAY['Berlin', 'Bonn', NULL])[1 + g % 3], '1990-01-01'::date + g * 7 FROM generate_series(1, 60) AS g;
INSERT INTO orders (user_id, placed_at, total, status)
SELECT 1 + (random() * 70)::int, '2026-03-20'::timestamptz - random() * interval '120 days', (random() * 200)::numeric(8, 2),
	   (ARRAY['paid', 'new', 'cancelled'])[1 + (random() * 2)::int]
  FROM generate_series(1, 300);
INSERT INTO items SELECT 1 + (random() * 299)::int, 's' || (random() * 5)::int, 1 + (random() * 3)::int FROM generate_series(1, 400);
SELECT crm.create_static_segment('vips', ARRAY[3, 5, 8]);
SELECT crm.create_segment('recent', 'has order in last 30 days'),
	   crm.create_segment('sleeping', 'has order and no order in last 2 months'),
	   crm.create_segment('rich', 'sum(order.amount in last 3 months) > 250'),
	   crm.create_segment('cart today', 'has cart today and no order today'),
	   crm.create_segment('birthday', 'anniversary(birthday) in next 7 days'),
	   crm.create_segment('s1', 'count(purchase[item = ''s1''] in last 45 days) >= 2'),
	   crm.create_segment('vip recent', 'in segment ''vips'' and in segment ''recent'''),
	   crm.create_segment('forgot', 'has cart[not followed by order within 2 hours] in last 3 days'),
	   crm.create_segment('berlin', 'city = ''Berlin''');

CREATE TABLE clock (now timestamptz);
INSERT INTO clock VALUES ('2026-03-20 12:00+00');
CREATE TABLE drift (round int, segment text, customer_id bigint, stored boolean, fresh boolean);

CREATE FUNCTION change_something() RETURNS void LANGUAGE plpgsql AS $f$
DECLARE
	at timestamptz := (SELECT now FROM clock);
	who int := 1 + (random() * 65)::int;
BEGIN
	CASE (random() * 13)::int
		WHEN 0, 1, 2 THEN INSERT INTO orders (user_id, placed_at, total, status)
			VALUES (who, at - random() * random() * interval '3 days', (random() * 200)::numeric(8, 2), 'paid');
		WHEN 3 THEN UPDATE orders SET total = total * 2 WHERE user_id = who;
		WHEN 4 THEN UPDATE orders SET status = 'cancelled' WHERE user_id = who AND random() < 0.5;
		WHEN 5 THEN UPDATE orders SET user_id = who WHERE id = 1 + (random() * 300)::int;
		WHEN 6 THEN DELETE FROM orders WHERE id = 1 + (random() * 300)::int;
		WHEN 7 THEN INSERT INTO items VALUES (1 + (random() * 310)::int, 's1', 2);
		WHEN 8 THEN UPDATE items SET order_id = 1 + (random() * 300)::int WHERE order_id = 1 + (random() * 300)::int;
		WHEN 9 THEN DELETE FROM items WHERE order_id = 1 + (random() * 300)::int;
		WHEN 10 THEN PERFORM crm.track(who, 'cart', '{}', at - random() * interval '1 day');
		WHEN 11 THEN UPDATE users SET city = 'Berlin', birthday = birthday + 1 WHERE id = who;
		WHEN 12 THEN DELETE FROM users WHERE id = who AND random() < 0.3;
		ELSE INSERT INTO users VALUES (who, 'Bonn', '1980-03-25') ON CONFLICT DO NOTHING;
	END CASE;
END
$f$;

CREATE PROCEDURE play(rounds int) LANGUAGE plpgsql AS $p$
DECLARE
	done record;
BEGIN
	FOR r IN 1 .. rounds LOOP
		UPDATE clock SET now = now + random() * random() * interval '5 days';
		PERFORM set_config('crm_marketing.now', (SELECT now::text FROM clock), false);
		COMMIT;
		FOR i IN 1 .. (random() * 6)::int LOOP
			PERFORM change_something();
			IF random() < 0.1 THEN ROLLBACK; ELSE COMMIT; END IF;
		END LOOP;
		IF r % 17 = 0 THEN
			PERFORM crm.add_to_segment('vips', ARRAY[1 + (random() * 60)::int]::bigint[]);
		ELSIF r % 23 = 0 THEN
			PERFORM crm.remove_from_segment('vips', ARRAY[3, 5]);
		ELSIF r % 29 = 0 THEN
			PERFORM crm.alter_segment('recent', format('has order in last %s days', 10 + r % 40)::crm.predicate);
		ELSIF r % 31 = 0 THEN
			PERFORM crm.refresh_segments();
		ELSIF r % 37 = 0 THEN
			TRUNCATE items;
		END IF;
		COMMIT;
		LOOP
			done := crm.tick(max_customers => 1 + (random() * 40)::int);
			COMMIT;
			EXIT WHEN NOT done.more AND done.routed = 0;
		END LOOP;
		INSERT INTO drift SELECT r, v.* FROM crm.verify_segments() AS v;
		COMMIT;
	END LOOP;
END
$p$;
CALL play(200);

SELECT plan(7);
SELECT is_empty('SELECT * FROM drift', 'after each of 200 rounds, what is stored is what a fresh evaluation gives');
SELECT is_empty($$
	SELECT c.customer_id, c.segment_id, c.at
	  FROM (SELECT c.*, lag(c.entered) OVER (PARTITION BY c.customer_id, c.segment_id ORDER BY c.change_id, c.at) AS before
			  FROM crm.segment_change AS c) AS c
	 WHERE c.entered IS NOT DISTINCT FROM c.before OR (c.before IS NULL AND NOT c.entered)
$$, 'each enters and leaves by turns');
SELECT is_empty($$
	SELECT customer_id, segment_id, at, entered FROM crm.segment_change
	 GROUP BY 1, 2, 3, 4 HAVING count(*) > 1
$$, 'nothing is logged twice');
SELECT is_empty($$
	SELECT segment_id, customer_id FROM crm.segment_change
	 GROUP BY 1, 2
	HAVING (array_agg(entered ORDER BY change_id DESC, at DESC))[1] <>
		   EXISTS (SELECT FROM crm.segment_member AS m WHERE m.segment_id = segment_change.segment_id AND m.customer_id = segment_change.customer_id)
$$, 'the log leads to what is stored');
SELECT cmp_ok((SELECT count(*) FROM crm.segment_change WHERE reason = 'time'), '>', 100::bigint, 'time has moved many');
SELECT cmp_ok((SELECT count(*) FROM crm.segment_change WHERE reason = 'fact'), '>', 100::bigint, 'and facts');
SELECT is((SELECT count(*) FROM crm.tick_error), 0::bigint, 'without an error');
SELECT * FROM finish();

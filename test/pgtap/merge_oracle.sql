-- Random people who are merged and unmerged, with facts before, between and after: profiles, memberships, contacts and
-- consents are those that plain SQL works out from what was ever said and from who is whom. Many sequences run side by
-- side, each with six ids; :steps things happen in each, and after each step all of it is compared. Segments are live.

BEGIN;
CREATE EXTENSION IF NOT EXISTS pgtap;
COMMIT;

\set ECHO none
\if :{?sequences} \else \set sequences 500 \endif
\if :{?steps} \else \set steps 8 \endif
\if :{?seed} \else \set seed 0.5 \endif
SET client_min_messages = warning;
SET jit = off;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
CREATE TABLE users (id bigint PRIMARY KEY, city text, phone text);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL, at timestamptz NOT NULL, amount numeric NOT NULL);
CREATE INDEX ON orders (user_id);
-- who was merged into whom, as the test itself knows it
CREATE TABLE link (alias bigint PRIMARY KEY, into_id bigint NOT NULL, at timestamptz NOT NULL);
CREATE INDEX ON link (into_id);
CREATE TABLE static (id bigint PRIMARY KEY);
CREATE TABLE done (step int, what text, customer bigint);

SELECT set_config('crm_marketing.now', '2026-01-01 00:00Z', false), setseed(:seed) \g /dev/null
INSERT INTO users
SELECT s * 10 + n, CASE WHEN random() < 0.6 THEN chr(65 + (random() * 3)::int) END,
	   CASE WHEN random() < 0.7 THEN format('+7916%s', lpad((s * 10 + n)::text, 7, '0')) END
  FROM generate_series(1, :sequences) AS s, generate_series(1, 6) AS n;
SELECT crm.define_customers('SELECT id AS customer_id, city, phone FROM users'),
	   crm.define_event('order', 'SELECT user_id AS customer_id, at, amount FROM orders'),
	   crm.watch('customer', 'users'), crm.watch('order', 'orders') \g /dev/null
SELECT crm.create_segment('big', 'sum(order.amount) >= 50'), crm.create_segment('recent', 'has order in last 3 hours'),
	   crm.create_segment('in A', 'city = ''A'''), crm.create_segment('sms', 'reachable contains ''sms'''),
	   crm.create_static_segment('chosen', '{}'), crm.create_segment('chosen, big', 'in segment ''chosen'' and sum(order.amount) >= 50') \g /dev/null

-- Who is whom, from the links alone
CREATE FUNCTION people() RETURNS TABLE (customer bigint, id bigint, joined_at timestamptz) LANGUAGE sql STABLE AS $f$
	WITH RECURSIVE up AS (
		SELECT u.id, u.id AS at_id, '-infinity'::timestamptz AS joined_at FROM users AS u
		 UNION ALL
		SELECT p.id, l.into_id, greatest(p.joined_at, l.at) FROM up AS p JOIN link AS l ON l.alias = p.at_id
	)
	SELECT p.at_id, p.id, p.joined_at FROM up AS p WHERE NOT EXISTS (SELECT FROM link AS l WHERE l.alias = p.at_id)
$f$;

-- An address that anybody may be reached at by SMS for marketing, from what was said
CREATE FUNCTION reach() RETURNS TABLE (customer bigint, id bigint, address text) LANGUAGE sql STABLE SET enable_nestloop = off AS $f$
	WITH person AS MATERIALIZED (
		SELECT * FROM people()
	), word AS MATERIALIZED (
		SELECT DISTINCT ON (p.id) p.customer, p.id, p.joined_at, c.granted, c.at
		  FROM person AS p
		  JOIN crm.consent AS c ON c.customer_id = p.id AND c.channel IN ('sms', '*') AND c.purpose IN ('marketing', '*')
		 ORDER BY p.id, c.at DESC, c.granted, c.consent_id DESC
	), refused AS (
		SELECT r.customer
		  FROM word AS r
		 WHERE NOT r.granted
		   AND NOT EXISTS (SELECT
							 FROM word AS o
							WHERE o.customer = r.customer AND o.granted AND o.at > r.at AND o.at > greatest(o.joined_at, r.joined_at))
	)
	SELECT DISTINCT p.customer, p.id, a.address
	  FROM word AS g
	  JOIN person AS p ON p.customer = g.customer AND (p.id = g.id OR g.at > greatest(g.joined_at, p.joined_at))
	 CROSS JOIN LATERAL (SELECT coalesce((SELECT CASE WHEN c.address IS NULL THEN '' ELSE c.address END
											FROM crm.contact AS c WHERE c.customer_id = p.id AND c.channel = 'sms'),
										 (SELECT u.phone FROM users AS u WHERE u.id = p.id)) AS address) AS a
	 WHERE g.granted AND a.address <> '' AND g.customer NOT IN (SELECT customer FROM refused)
	   AND NOT EXISTS (SELECT FROM crm.suppression AS s
						WHERE s.channel IN ('sms', '*') AND s.address_hash = sha256(convert_to('phone:' || a.address, 'UTF8')))
$f$;

CREATE FUNCTION expected_members(now timestamptz) RETURNS TABLE (segment text, customer bigint) LANGUAGE sql STABLE AS $f$
	WITH person AS MATERIALIZED (
		SELECT * FROM people()
	), bought AS (
		SELECT p.customer, sum(o.amount) AS amount, max(o.at) AS last FROM person AS p JOIN orders AS o ON o.user_id = p.id GROUP BY 1
	), lives AS (
		SELECT DISTINCT ON (p.customer) p.customer, u.city
		  FROM person AS p JOIN users AS u USING (id)
		 WHERE u.city IS NOT NULL
		 ORDER BY p.customer, p.id <> p.customer, p.id
	), chosen AS (
		SELECT DISTINCT p.customer FROM person AS p JOIN static AS s USING (id)
	)
	SELECT 'big', b.customer FROM bought AS b WHERE b.amount >= 50
	 UNION ALL
	SELECT 'recent', b.customer FROM bought AS b WHERE b.last > now - interval '3 hours'
	 UNION ALL
	SELECT 'in A', l.customer FROM lives AS l WHERE l.city = 'A'
	 UNION ALL
	SELECT 'chosen', c.customer FROM chosen AS c
	 UNION ALL
	SELECT 'chosen, big', b.customer FROM bought AS b WHERE b.amount >= 50 AND b.customer IN (SELECT customer FROM chosen)
	 UNION ALL
	SELECT DISTINCT 'sms', r.customer FROM reach() AS r
$f$;

CREATE FUNCTION wrong_members() RETURNS TABLE (what text, segment text, customer bigint) LANGUAGE sql STABLE AS $f$
	SELECT 'missing', x.* FROM (SELECT * FROM expected_members(crm.now()) EXCEPT SELECT m.segment, m.customer_id FROM crm.segment_member AS m) AS x
	 UNION ALL
	SELECT 'too many', x.* FROM (SELECT m.segment, m.customer_id FROM crm.segment_member AS m EXCEPT SELECT * FROM expected_members(crm.now())) AS x
$f$;

-- Profiles, asked by every id: the customer's own, or the one into whom it was merged
CREATE FUNCTION wrong_profiles() RETURNS TABLE (id bigint, has text, wants text) LANGUAGE sql STABLE SET enable_nestloop = off AS $f$
	WITH person AS MATERIALIZED (
		SELECT * FROM people()
	), lives AS (
		SELECT DISTINCT ON (p.customer) p.customer, u.city
		  FROM person AS p JOIN users AS u USING (id)
		 WHERE u.city IS NOT NULL
		 ORDER BY p.customer, p.id <> p.customer, p.id
	), bought AS (
		SELECT p.customer, array_agg(o.at || ' ' || o.amount ORDER BY o.at, o.amount) AS orders
		  FROM person AS p JOIN orders AS o ON o.user_id = p.id
		 GROUP BY 1
	), wanted AS MATERIALIZED (
		SELECT p.customer, l.city, b.orders
		  FROM person AS p
		  LEFT JOIN lives AS l USING (customer)
		  LEFT JOIN bought AS b USING (customer)
		 WHERE p.customer = p.id
	)
	SELECT p.id, h.text, w.text
	  FROM person AS p
	  JOIN wanted AS d ON d.customer = p.customer
	 CROSS JOIN LATERAL (SELECT format('%s %s %s', d.customer, d.city, d.orders) AS text) AS w
	 CROSS JOIN LATERAL (SELECT crm.profile_of(p.id) AS profile) AS f
	 CROSS JOIN LATERAL (SELECT format('%s %s %s', crm.customer_of(f.profile),
									   (SELECT a.value #>> '{}' FROM crm.attributes_of(f.profile) AS a WHERE a.name = 'city'),
									   (SELECT array_agg(e.at || ' ' || (e.properties ->> 'amount') ORDER BY e.at, (e.properties ->> 'amount')::numeric)
										  FROM crm.events_of(f.profile) AS e WHERE e.kind = 'order')) AS text) AS h
	 WHERE h.text <> w.text
$f$;

-- The addresses that may be used, by id
CREATE FUNCTION usable() RETURNS TABLE (customer bigint, id bigint, address text) LANGUAGE sql STABLE AS $f$
	SELECT r.customer_id, r.id, r.address FROM crm.contact_rows(NULL) AS r
	 WHERE r.channel = 'sms' AND 'marketing' = ANY (r.purposes) AND NOT r.suppressed
$f$;
CREATE FUNCTION wrong_contacts() RETURNS TABLE (what text, customer bigint, id bigint, address text) LANGUAGE sql STABLE AS $f$
	SELECT 'missing', x.* FROM (SELECT * FROM reach() EXCEPT SELECT * FROM usable()) AS x
	 UNION ALL
	SELECT 'too many', x.* FROM (SELECT * FROM usable() EXCEPT SELECT * FROM reach()) AS x
$f$;

CREATE FUNCTION root(id bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $f$
DECLARE
	up bigint := id;
BEGIN
	LOOP
		id := up;
		SELECT l.into_id INTO up FROM link AS l WHERE l.alias = root.id;
		EXIT WHEN NOT FOUND;
	END LOOP;
	RETURN id;
END
$f$;

-- One thing happens to each of the sequences
CREATE PROCEDURE happen(step int, sequences int) LANGUAGE plpgsql AS $p$
DECLARE
	whose bigint;
	other bigint;
	what text;
BEGIN
	FOR s IN 1 .. sequences LOOP
		whose := s * 10 + 1 + floor(random() * 6)::int;
		other := s * 10 + 1 + floor(random() * 6)::int;
		what := (ARRAY['order', 'order', 'city', 'phone', 'agree', 'agree', 'refuse', 'refuse all', 'set', 'suppress', 'choose', 'drop',
					   'merge', 'merge', 'merge', 'unmerge', 'unmerge'])[1 + floor(random() * 17)::int];
		IF what = 'unmerge' THEN
			SELECT l.alias INTO whose FROM link AS l WHERE l.alias BETWEEN s * 10 AND s * 10 + 9 ORDER BY random() LIMIT 1;
		ELSIF what = 'merge' AND root(whose) = root(other) THEN
			CONTINUE;
		END IF;
		CONTINUE WHEN whose IS NULL;
		INSERT INTO done VALUES (step, what, whose);
		CASE what
			WHEN 'order' THEN
				INSERT INTO orders (user_id, at, amount) VALUES (whose, crm.now() - random() * interval '5 hours', 5 + floor(random() * 40));
			WHEN 'city' THEN
				UPDATE users AS u SET city = CASE WHEN random() < 0.8 THEN chr(65 + (random() * 3)::int) END WHERE u.id = whose;
			WHEN 'phone' THEN
				UPDATE users AS u SET phone = CASE WHEN random() < 0.8 THEN format('+7917%s', lpad(floor(random() * 300)::text, 7, '0')) END
				 WHERE u.id = whose;
			WHEN 'agree' THEN
				PERFORM crm.record_consent(whose, 'sms', at => crm.now() - CASE WHEN random() < 0.3 THEN interval '150 minutes' ELSE '0' END);
			WHEN 'refuse' THEN
				PERFORM crm.unsubscribe(whose, 'sms');
			WHEN 'refuse all' THEN
				PERFORM crm.unsubscribe(whose);
			WHEN 'set' THEN
				PERFORM crm.set_contact(whose, 'sms', CASE WHEN random() < 0.7 THEN format('+7917%s', lpad(floor(random() * 300)::text, 7, '0')) END);
			WHEN 'suppress' THEN
				PERFORM crm.suppress_address('sms', format('+7917%s', lpad(floor(random() * 300)::text, 7, '0')));
			WHEN 'choose' THEN
				PERFORM crm.add_to_segment('chosen', ARRAY[whose]);
				INSERT INTO static VALUES (whose) ON CONFLICT DO NOTHING;
			WHEN 'drop' THEN
				PERFORM crm.remove_from_segment('chosen', ARRAY[whose]);
				DELETE FROM static AS t WHERE t.id BETWEEN s * 10 AND s * 10 + 9 AND root(t.id) = root(whose);
			WHEN 'merge' THEN
				PERFORM crm.merge_customers(whose, other);
				INSERT INTO link SELECT root(other), root(whose), crm.now();
			WHEN 'unmerge' THEN
				PERFORM crm.unmerge_customers(whose);
				DELETE FROM link AS l WHERE l.alias = whose;
		END CASE;
	END LOOP;
END
$p$;

-- Ticks until there is nothing to do; of steps that are a multiple of four, a refresh
CREATE PROCEDURE settle(step int) LANGUAGE plpgsql AS $p$
BEGIN
	IF step % 4 = 0 THEN
		PERFORM crm.refresh_segments();
		COMMIT;
	END IF;
	FOR n IN 1 .. 200 LOOP
		EXIT WHEN NOT (crm.tick()).more;
		COMMIT;
	END LOOP;
	COMMIT;
END
$p$;

SELECT plan(6);
CREATE TABLE wrong (step int, what text, detail text);
CREATE TABLE before (customer bigint, id bigint, address text);
CREATE PROCEDURE run(steps int, sequences int) LANGUAGE plpgsql AS $p$
BEGIN
	FOR this_step IN 1 .. steps LOOP
		PERFORM set_config('crm_marketing.now', (timestamptz '2026-01-01 00:00Z' + this_step * interval '1 hour')::text, false);
		COMMIT;
		TRUNCATE before;
		INSERT INTO before SELECT * FROM usable();
		CALL happen(this_step, sequences);
		COMMIT;
		-- Where the only thing that happened was a merge, no address may be used that could not be used before
		INSERT INTO wrong
		SELECT this_step, 'wider', u::text
		  FROM usable() AS u
		 WHERE EXISTS (SELECT FROM done AS d WHERE d.step = this_step AND d.what = 'merge' AND d.customer / 10 = u.id / 10)
		   AND NOT EXISTS (SELECT FROM before AS b WHERE b.id = u.id AND b.address = u.address);
		CALL settle(this_step);
		INSERT INTO wrong SELECT this_step, 'members', w::text FROM wrong_members() AS w;
		INSERT INTO wrong SELECT this_step, 'contacts', w::text FROM wrong_contacts() AS w;
		IF this_step % 3 = 0 OR this_step = steps THEN
			INSERT INTO wrong SELECT this_step, 'profiles', w::text FROM wrong_profiles() AS w;
		END IF;
		COMMIT;
	END LOOP;
END
$p$;
CALL settle(1);
CALL run(:steps, :sequences);
SELECT ok(count(*) FILTER (WHERE what = 'merge') > :sequences / 2 AND count(*) FILTER (WHERE what = 'unmerge') > :sequences / 5,
		  format('%s merges and %s unmerges among %s things in %s sequences', count(*) FILTER (WHERE what = 'merge'),
				 count(*) FILTER (WHERE what = 'unmerge'), count(*), :sequences)) FROM done;
SELECT is_empty($$SELECT * FROM wrong WHERE what = 'profiles' ORDER BY step LIMIT 5$$, 'profiles are those of the people that there are');
SELECT is_empty($$SELECT * FROM wrong WHERE what = 'members' ORDER BY step LIMIT 5$$, 'so are memberships');
SELECT is_empty($$SELECT * FROM wrong WHERE what = 'contacts' ORDER BY step LIMIT 5$$, 'and contacts with their consents');
SELECT is_empty($$SELECT * FROM wrong WHERE what = 'wider' ORDER BY step LIMIT 5$$, 'no merge makes anybody reachable who was not');
SELECT is((SELECT count(*) FROM crm.verify_segments() AS v), 0::bigint, 'and nothing has drifted');
SELECT * FROM finish();

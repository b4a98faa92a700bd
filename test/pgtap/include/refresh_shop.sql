-- Random shops for the test of refresh_segments(): the profiles that oracle_random.sql draws become rows of a shop's
-- tables and tracked events. What a typed column cannot hold is NULL there; tracked events keep it.

CREATE SCHEMA shop;

CREATE TABLE shop.world (name text, zone text, key_type text, day timestamptz);

-- The shop's key of the n-th person, as text
CREATE FUNCTION shop.key(n int) RETURNS text LANGUAGE sql AS $$
	SELECT CASE key_type WHEN 'uuid' THEN md5(n::text)::uuid::text
						 WHEN 'text' THEN format('клиент "%s", O''Hara', n)
						 WHEN 'bigint' THEN (n::bigint * 4000000007 - 9000000000)::text
						 ELSE n::text END
	FROM shop.world
$$;

-- The id of the n-th person, who may have none yet
CREATE FUNCTION shop.customer(n int) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	own text := shop.key(n);
BEGIN
	IF (SELECT key_type IN ('uuid', 'text') FROM shop.world) THEN
		RETURN (SELECT k.customer_id FROM crm.customer_key k WHERE k.key = own);
	END IF;
	RETURN own::bigint;
END $$;

-- Texts that a program may stumble over
CREATE FUNCTION shop.odd_text(t text) RETURNS text LANGUAGE sql VOLATILE
RETURN CASE WHEN t IS NULL OR random() < 0.9 THEN t
	ELSE oracle.pick('', ' ', E'a\nb\t"\\', '2024-03-31', '2024-03-31T01:30:00Z', 'NULL', '1e5', 'true', '😀', 'İstanbul', 'ß',
					 repeat('long ', 300), t || ' ') END;

-- Makes the tables for a kind of key, and the feeds over them.
CREATE FUNCTION shop.open(seed text, key_type text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	zone text := oracle.new_world(seed);
BEGIN
	DELETE FROM shop.world;
	INSERT INTO shop.world VALUES (seed, zone, key_type, oracle.anchor()::timestamptz);
	TRUNCATE oracle.customer, oracle.event;

	PERFORM crm.drop_segment(s.name) FROM (SELECT name FROM crm.segment ORDER BY segment_id DESC) s;
	PERFORM crm.drop_event(f.kind, true) FROM (SELECT kind FROM crm.source WHERE kind <> 'customer' AND NOT own ORDER BY kind) f;
	DROP VIEW IF EXISTS crm_feed.customer;
	DELETE FROM crm.source WHERE NOT own;
	TRUNCATE crm.identity, crm.membership, crm.membership_change;
	DROP TABLE IF EXISTS shop.users, shop.orders, shop.views;

	EXECUTE format('CREATE TABLE shop.users (n int PRIMARY KEY, id %s UNIQUE, city text, "Name" varchar, age numeric, score float8, '
		'vip bool, birthday date, registered timestamptz, tags text[], sizes numeric[], dates date[], odd text, "first" numeric, '
		'"day" int, "Weight, kg" numeric(30, 2))', key_type);
	EXECUTE format('CREATE TABLE shop.orders (n int, user_id %s, at timestamptz, amount numeric, qty numeric, item text, status text, '
		'gift bool, promised timestamptz, due date, tags text[], note text)', key_type);
	EXECUTE format('CREATE TABLE shop.views (n int, user_id %s, seen timestamptz, amount real, qty numeric, item text, status text, '
		'gift bool, promised timestamp, due date, tags text[])', key_type);
	CREATE INDEX ON shop.orders (user_id);
	CREATE INDEX ON shop.views (user_id);

	PERFORM crm.configure('timezone', zone);
	PERFORM crm.define_customers('SELECT id AS customer_id, city, "Name", age, score, vip, birthday, registered, tags, sizes, dates, '
		'odd, "first", "day", "Weight, kg" FROM shop.users');
	PERFORM crm.define_event('order', 'SELECT user_id AS customer_id, at, amount, qty, item, status, gift, promised, due, tags, note '
		'FROM shop.orders');
	PERFORM crm.define_event('view', 'SELECT user_id AS customer_id, seen AS at, amount, qty, item, status, gift, promised, due, tags '
		'FROM shop.views');
END $$;

CREATE FUNCTION shop.add_event(n int, kind text, at timestamptz, p jsonb, js jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	key text := shop.key(n);
	key_type text := (SELECT w.key_type FROM shop.world w);
	tags text[] := CASE WHEN p #> '{tags,a}' IS NOT NULL
						THEN ARRAY(SELECT x ->> 't' FROM jsonb_array_elements(p #> '{tags,a}') x) END;
BEGIN
	IF kind = 'order' THEN
		EXECUTE format('INSERT INTO shop.orders VALUES ($1, $2::%s, $3, $4, $5, $6, $7, $8, $9, $10, $11, '
					   'CASE WHEN random() < 0.7 THEN repeat(md5(random()::text), 400) END)', key_type)
		USING n, key, at, (p #>> '{amount,n}')::numeric, (p #>> '{qty,n}')::numeric, shop.odd_text(p #>> '{item,t}'),
			shop.odd_text(p #>> '{status,t}'), (p #>> '{gift,b}')::bool, (p #>> '{promised,z}')::timestamptz, (p #>> '{due,d}')::date, tags;
	ELSIF kind = 'view' THEN
		EXECUTE format('INSERT INTO shop.views VALUES ($1, $2::%s, $3, $4, $5, $6, $7, $8, $9, $10, $11)', key_type)
		USING n, key, at, (p #>> '{amount,n}')::real, (p #>> '{qty,n}')::numeric, shop.odd_text(p #>> '{item,t}'), p #>> '{status,t}',
			(p #>> '{gift,b}')::bool, (p #>> '{promised,z}')::timestamptz::timestamp, (p #>> '{due,d}')::date, tags;
	ELSE
		PERFORM crm.track(shop.customer(n), kind, js, at);
	END IF;
END $$;

CREATE FUNCTION shop.add_person(n int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	c oracle.customer;
	e oracle.event;
BEGIN
	PERFORM oracle.gen_profile(n);
	SELECT * INTO c FROM oracle.customer x WHERE x.profile = n;
	EXECUTE format('INSERT INTO shop.users VALUES ($1, $2::%s, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)',
				   (SELECT key_type FROM shop.world))
	USING n, shop.key(n), shop.odd_text(c.p #>> '{city,t}'), shop.odd_text(c.p #>> '{Name,t}'), (c.p #>> '{age,n}')::numeric,
		(c.p #>> '{score,n}')::float8, (c.p #>> '{vip,b}')::bool, (c.p #>> '{birthday,d}')::date, (c.p #>> '{registered,z}')::timestamptz,
		(SELECT array_agg(nullif(x ->> 't', 'Z')) FROM jsonb_array_elements(c.p #> '{tags,a}') x),
		(SELECT array_agg((x ->> 'n')::numeric) FROM jsonb_array_elements(c.p #> '{sizes,a}') x),
		(SELECT array_agg((x ->> 'd')::date) FROM jsonb_array_elements(c.p #> '{dates,a}') x),
		c.p #>> '{odd,t}', (c.p #>> '{first,n}')::numeric, least((c.p #>> '{day,n}')::numeric, 1e9)::int, (c.p #>> '{"Weight, kg",n}')::numeric;
	-- ids first: tracked events need them
	IF (SELECT key_type IN ('uuid', 'text') FROM shop.world) THEN
		PERFORM crm.refresh_identities();
	END IF;
	FOR e IN SELECT * FROM oracle.event x WHERE x.profile = n ORDER BY x.id LOOP
		PERFORM shop.add_event(n, e.kind, e.at, e.p, e.js);
	END LOOP;
END $$;

-- What no shop is free of: rows of nobody, rows without time, rows of strangers
CREATE FUNCTION shop.add_dirt() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO shop.users (n, id, city) VALUES (-1, NULL, 'a');
	INSERT INTO shop.orders (n, user_id, at, amount)
		SELECT -1, u.id, a.at::timestamptz, 5
		FROM (VALUES (NULL), ('infinity'), ('-infinity')) a (at), (SELECT id FROM shop.users WHERE id IS NOT NULL ORDER BY n LIMIT 3) u;
	INSERT INTO shop.orders (n, user_id, at, amount) SELECT -1, NULL, at, amount FROM shop.orders WHERE n > 0 LIMIT 5;
	INSERT INTO shop.views (n, user_id, seen, item)
		SELECT -2, o.user_id, o.at, 'a' FROM shop.orders o WHERE o.n > 0 ORDER BY o.n LIMIT 3;
END $$;

-- Between two instants things happen to some people; shop.touched remembers to whom.
CREATE TABLE shop.touched (n int PRIMARY KEY);

CREATE FUNCTION shop.touch(who int) RETURNS void LANGUAGE sql
AS $$ INSERT INTO shop.touched VALUES (who) ON CONFLICT DO NOTHING $$;

CREATE FUNCTION shop.go_on(lo timestamptz, hi timestamptz, newcomers int[]) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_variable
<<add>>
DECLARE
	who int;
	model oracle.event;
	at timestamptz;
	everybody int[] := ARRAY(SELECT n FROM shop.users WHERE id IS NOT NULL ORDER BY n);
BEGIN
	DELETE FROM shop.touched;
	FOREACH who IN ARRAY newcomers LOOP
		PERFORM shop.add_person(who), shop.touch(who);
	END LOOP;
	FOR i IN 1 .. cardinality(everybody) / 4 LOOP
		who := everybody[1 + oracle.rnd(cardinality(everybody))];
		PERFORM shop.touch(who);
		CASE oracle.rnd(10)
			WHEN 0 THEN
				DELETE FROM shop.orders o WHERE o.n = who AND random() < 0.5;
			WHEN 1 THEN
				UPDATE shop.orders o SET amount = oracle.gen_number(), status = oracle.gen_word() WHERE o.n = who AND random() < 0.5;
			WHEN 2 THEN
				UPDATE shop.users u SET city = oracle.pick('a', 'b', NULL), vip = random() < 0.5, birthday = oracle.gen_date() WHERE u.n = who;
			WHEN 3 THEN
				DELETE FROM shop.users u WHERE u.n = who AND random() < 0.5;
			ELSE
				-- just now, late, or ahead
				at := CASE WHEN random() < 0.7 THEN lo + random() * (hi - lo) WHEN random() < 0.5 THEN lo - random() * interval '40 days'
						   WHEN random() < 0.5 THEN hi ELSE hi + random() * interval '9 days' END;
				SELECT * INTO model FROM oracle.event e ORDER BY md5(e.profile || '.' || e.id || '.' || i || '.' || lo) LIMIT 1;
				IF shop.customer(who) IS NOT NULL AND
					NOT EXISTS (SELECT FROM crm.event x WHERE x.customer_id = shop.customer(who) AND x.at = add.at
								UNION ALL SELECT FROM shop.orders x WHERE x.n = who AND x.at = add.at
								UNION ALL SELECT FROM shop.views x WHERE x.n = who AND x.seen = add.at) THEN
					PERFORM shop.add_event(who, model.kind, at, model.p, model.js);
				END IF;
		END CASE;
	END LOOP;
END $$;

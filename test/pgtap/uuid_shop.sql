-- The shop of demo/, whose customers have integer keys, once more with uuids and once more with texts: the files of the demo
-- define feeds and segments as they are, and every segment must have the very same people in it.

\set ON_ERROR_STOP on
\set QUIET on
\pset format unaligned
\pset tuples_only on
\pset pager off

SET client_min_messages = warning;

CREATE EXTENSION IF NOT EXISTS pgtap;
DROP EXTENSION IF EXISTS crm_marketing CASCADE;		-- demo/feeds.sql makes it

SELECT plan(26);

\o /dev/null
\ir ../../demo/shop.sql
\o
SET client_min_messages = warning;

-- The tables of the demo by integers; each variant copies them to where the feeds look for them.
CREATE SCHEMA by_integer;
ALTER TABLE public.users SET SCHEMA by_integer;
ALTER TABLE public.visits SET SCHEMA by_integer;
ALTER TABLE public.product_views SET SCHEMA by_integer;
ALTER TABLE public.carts SET SCHEMA by_integer;
ALTER TABLE public.orders SET SCHEMA by_integer;

CREATE SCHEMA answer;
CREATE TABLE answer.size (variant text, segment text, size bigint);
CREATE TABLE answer.member (variant text, segment text, n bigint);
CREATE TABLE answer.change (variant text, segment text, n bigint, entered boolean, at timestamptz, reason text);
CREATE TABLE answer.past (variant text, at timestamptz, size bigint);
CREATE TABLE answer.profile (variant text, n bigint, profile text);
CREATE TABLE answer.one (variant text, segment text, n bigint);
CREATE TABLE answer.feed (variant text, kind text, state text, key_type text, indexed boolean);
CREATE TABLE answer.count (variant text, customers bigint, identities bigint);

-- The key is an expression over "n", the integer
CREATE FUNCTION answer.open(key text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	DROP TABLE IF EXISTS public.users, public.visits, public.product_views, public.carts, public.orders;
	EXECUTE format('CREATE TABLE public.users AS SELECT n, %s AS id, email, phone, city, birthday, profession, created_at '
				   'FROM (SELECT id AS n, * FROM by_integer.users) AS u', key);
	EXECUTE format('CREATE TABLE public.visits AS SELECT %s AS user_id, visited_at, source '
				   'FROM (SELECT user_id AS n, visited_at, source FROM by_integer.visits) AS v', key);
	EXECUTE format('CREATE TABLE public.product_views AS SELECT %s AS user_id, sku, viewed_at '
				   'FROM (SELECT user_id AS n, sku, viewed_at FROM by_integer.product_views) AS v', key);
	EXECUTE format('CREATE TABLE public.carts AS SELECT %s AS user_id, sku, qty, created_at '
				   'FROM (SELECT user_id AS n, sku, qty, created_at FROM by_integer.carts) AS c', key);
	EXECUTE format('CREATE TABLE public.orders AS SELECT id, %s AS user_id, placed_at, status, total '
				   'FROM (SELECT id, user_id AS n, placed_at, status, total FROM by_integer.orders) AS o', key);
	CREATE UNIQUE INDEX ON public.users (id);
	CREATE UNIQUE INDEX ON public.orders (id);
	CREATE INDEX ON public.visits (user_id);
	CREATE INDEX ON public.product_views (user_id);
	CREATE INDEX ON public.carts (user_id);
	CREATE INDEX ON public.orders (user_id);
	ANALYZE public.users, public.visits, public.product_views, public.carts, public.orders;
END $$;

-- What is known after the demo's refresh, and after another one three weeks later; people by their integers. "integral" says
-- that the shop's key is the customer's id.
CREATE FUNCTION answer.take(variant text, integral boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TABLE answer.person (n bigint PRIMARY KEY, customer_id bigint UNIQUE);
	IF integral THEN
		INSERT INTO answer.person SELECT u.n, u.id::text::bigint FROM public.users AS u;
	ELSE
		INSERT INTO answer.person
			SELECT u.n, i.customer_id FROM public.users AS u JOIN crm.identity AS i ON i.namespace = 'shop' AND i.value = u.id::text;
	END IF;
	INSERT INTO answer.size SELECT variant, s.name, s.size FROM crm.segments AS s;
	INSERT INTO answer.member SELECT variant, m.segment, p.n FROM crm.segment_member AS m LEFT JOIN answer.person AS p USING (customer_id);
	INSERT INTO answer.past
		SELECT variant, z.at, z.size FROM crm.segment_size('sleeping', '2025-07-01 00:00+03', '2026-06-01 00:00+03', '1 month') AS z;
	INSERT INTO answer.one
		SELECT variant, s.name, p.n FROM answer.person AS p, crm.segment AS s
		 WHERE p.n % 400 = 7 AND crm.matches_segment(p.customer_id, s.name, '2026-06-15 12:00+00');
	INSERT INTO answer.profile
		SELECT variant, p.n, replace(crm.profile_of(p.customer_id)::text, '"customer": ' || p.customer_id, '"customer": ' || p.n)
		  FROM answer.person AS p WHERE p.n % 200 = 7;
	INSERT INTO answer.feed SELECT variant, f.kind, f.state, f.key_type, f.indexed FROM crm.feeds AS f;

	INSERT INTO answer.count SELECT variant, r.customers, (SELECT count(*) FROM crm.identity AS i WHERE i.namespace = 'shop')
		FROM crm.refresh_segments('2026-07-06 12:00+00') AS r;
	INSERT INTO answer.change
		SELECT variant, s.name, p.n, c.entered, c.at, c.reason
		  FROM crm.segment_change AS c JOIN crm.segment AS s USING (segment_id) LEFT JOIN answer.person AS p USING (customer_id);
	DROP TABLE answer.person;
END $$;

\o /dev/null
SELECT answer.open('n');
\ir ../../demo/feeds.sql
\ir ../../demo/segments.sql
SELECT answer.take('integer', true);
DROP EXTENSION crm_marketing CASCADE;

SELECT answer.open('md5(''customer '' || n)::uuid');
\ir ../../demo/feeds.sql
\ir ../../demo/segments.sql
SELECT answer.take('uuid', false);
DROP EXTENSION crm_marketing CASCADE;

SELECT answer.open('format(''Клиент "%s", O''''Hara'', n)');
\ir ../../demo/feeds.sql
\ir ../../demo/segments.sql
SELECT answer.take('text', false);
\o

SELECT is(count(*), 15::bigint, 'the demo has its segments') FROM answer.size WHERE variant = 'integer';
SELECT cmp_ok(min(size), '>', 0::bigint, 'each has somebody in it') FROM answer.size WHERE variant = 'integer';
SELECT is(count(*), 12::bigint, 'and there are sizes of the past') FROM answer.past WHERE variant = 'integer';
SELECT cmp_ok(count(*), '>', 1000::bigint, 'time alone moves people') FROM answer.change WHERE variant = 'integer' AND reason = 'time';
SELECT cmp_ok(count(*), '>', 0::bigint, 'some are found by index') FROM answer.one WHERE variant = 'integer';
SELECT is(count(*), 100::bigint, 'and some profiles') FROM answer.profile WHERE variant = 'integer' AND profile LIKE '%"kind": "%';
SELECT results_eq('SELECT customers, identities FROM answer.count WHERE variant = ''integer''', 'VALUES (20000::bigint, 0::bigint)',
				  'integers need no identities');
SELECT results_eq('SELECT segment FROM answer.one WHERE variant = ''integer'' ORDER BY 1, n',
				  'SELECT segment FROM answer.member WHERE variant = ''integer'' AND n % 400 = 7 ORDER BY 1, n',
				  'the fresh answer is the stored one');

SELECT results_eq(format('SELECT customers, identities FROM answer.count WHERE variant = %L', v), 'VALUES (20000::bigint, 20000::bigint)',
				  v || ': each customer has one identity') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT results_eq(format('SELECT kind, state, key_type, indexed FROM answer.feed WHERE variant = %L ORDER BY 1', v),
				  format('SELECT kind, state, %L, indexed FROM answer.feed WHERE variant = ''integer'' ORDER BY 1', v),
				  v || ': the same feeds, looked up by index') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT is((SELECT bool_and(indexed AND state = 'ok') FROM answer.feed), true, 'all feeds are sound and looked up by index');
SELECT is((SELECT count(*) FROM answer.member WHERE n IS NULL) + (SELECT count(*) FROM answer.change WHERE n IS NULL), 0::bigint,
		  'nobody is in a segment but the shop''s customers');
SELECT results_eq(format('SELECT segment, size FROM answer.size WHERE variant = %L ORDER BY 1', v),
				  'SELECT segment, size FROM answer.size WHERE variant = ''integer'' ORDER BY 1', v || ': the same sizes')
  FROM unnest(ARRAY['uuid', 'text']) AS v;

-- (bag_eq would say the same, slowly)
CREATE FUNCTION answer.same(variant text, relation text, columns text, test text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	wrong text;
BEGIN
	EXECUTE format('SELECT string_agg(d::text, E''\n'') FROM (SELECT * FROM ((SELECT %1$s FROM %2$s WHERE variant = %3$L EXCEPT ALL '
		'SELECT %1$s FROM %2$s WHERE variant = ''integer'') UNION ALL (SELECT %1$s FROM %2$s WHERE variant = ''integer'' EXCEPT ALL '
		'SELECT %1$s FROM %2$s WHERE variant = %3$L)) AS x LIMIT 10) AS d', columns, relation, variant) INTO wrong;
	RETURN is(wrong, NULL, variant || ': ' || test);
END $$;
SELECT answer.same(v, 'answer.member', 'segment, n', 'the same members') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT answer.same(v, 'answer.change', 'segment, n, entered, at, reason', 'the same changes three weeks later')
  FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT answer.same(v, 'answer.past', 'at, size', 'the same sizes in the past') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT answer.same(v, 'answer.one', 'segment, n', 'the same fresh answers') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT answer.same(v, 'answer.profile', 'n, profile', 'the same profiles') FROM unnest(ARRAY['uuid', 'text']) AS v;
SELECT * FROM finish();

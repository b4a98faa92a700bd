-- What is asked of refresh_segments() in a random shop, and how the answers are judged: customer by customer, by crm.matches
-- and crm.periods over crm.profile_of. Segments that name others are judged by what the others' answers make of them.

CREATE SCHEMA judge;

CREATE TABLE judge.failure (n int GENERATED ALWAYS AS IDENTITY, what text, world text, instant timestamptz, detail text);
CREATE TABLE judge.tally (what text, n bigint, trues bigint);

-- op: base (its own predicate), static, and, or, without (of the segments a and b)
CREATE TABLE judge.segment (id int PRIMARY KEY, name text, op text, a int, b int, predicate crm.predicate);
CREATE TABLE judge.facts (customer bigint PRIMARY KEY, profile crm.profile, touched bool);
CREATE TABLE judge.answer (segment int, customer bigint, truth bool, PRIMARY KEY (segment, customer));
CREATE TABLE judge.listed (segment int, customer bigint);
-- the log as it was before the last refresh, and the sizes that refreshes gave
CREATE TABLE judge.mark (change_id bigint);

CREATE FUNCTION judge.check_none(what text, instant timestamptz, wrong text[], looked_at bigint, trues bigint) RETURNS void
LANGUAGE sql AS $$
	INSERT INTO judge.tally VALUES (what, looked_at, trues);
	INSERT INTO judge.failure (what, world, instant, detail)
		SELECT check_none.what, w.name || ' ' || w.zone || ' ' || w.key_type, check_none.instant, x
		FROM unnest(wrong) x, shop.world w WHERE x IS NOT NULL;
$$;

-- So many segments of random predicates; those that the checks of names and types refuse are drawn again. Few of them look
-- only so far back, and a refresh reads no more than that; among many there is always one that looks at everything.
CREATE FUNCTION judge.make_segments(count int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	few bool := count < 6;
	predicate text;
	made int := 0;
	id int;
	a judge.segment;
	b judge.segment;
	op text;
BEGIN
	PERFORM crm.drop_segment(s.name) FROM (SELECT name FROM crm.segment ORDER BY segment_id DESC) s;
	TRUNCATE crm.membership_change;
	DELETE FROM judge.segment;
	DELETE FROM judge.listed;
	IF NOT few THEN
		-- a long text that is read, so that little memory is soon full
		PERFORM crm.create_segment('note', 'has order[note like ''%abc%'']');
		INSERT INTO judge.segment SELECT s.segment_id, s.name, 'base', NULL, NULL, s.predicate FROM crm.segment s WHERE s.name = 'note';
	END IF;
	WHILE made < count LOOP
		predicate := oracle.txt(oracle.gen_truth(0, CASE WHEN few THEN oracle.rnd(2) ELSE oracle.rnd(4) END), 1);
		BEGIN
			id := crm.create_segment('base ' || made, predicate::crm.predicate);
		EXCEPTION WHEN undefined_object OR undefined_column OR datatype_mismatch OR invalid_parameter_value THEN
			CONTINUE;
		END;
		INSERT INTO judge.segment VALUES (id, 'base ' || made, 'base', NULL, NULL, predicate::crm.predicate);
		made := made + 1;
	END LOOP;
	IF few THEN
		RETURN;
	END IF;
	FOR i IN 1 .. 2 LOOP
		id := crm.create_static_segment('static ' || i, ARRAY(SELECT shop.customer(u.n) FROM shop.users u
				WHERE u.id IS NOT NULL AND random() < 0.4), at => (SELECT day - interval '60 days' FROM shop.world));
		INSERT INTO judge.segment VALUES (id, 'static ' || i, 'static');
		INSERT INTO judge.listed SELECT id, m FROM crm.members('static ' || i) m;
	END LOOP;
	FOR i IN 1 .. count / 6 LOOP
		SELECT * INTO a FROM judge.segment s ORDER BY s.id OFFSET oracle.rnd(made + 2 + i) LIMIT 1;
		SELECT * INTO b FROM judge.segment s WHERE s.id <> a.id ORDER BY s.id OFFSET oracle.rnd(made + 1 + i) LIMIT 1;
		op := oracle.pick('and', 'or', 'without');
		id := crm.create_segment('nest ' || i, format(CASE op WHEN 'and' THEN 'in segment %L and in segment %L'
			WHEN 'or' THEN 'in segment %L or in segment %L' ELSE 'in segment %L and not in segment %L' END, a.name, b.name)::crm.predicate);
		INSERT INTO judge.segment VALUES (id, 'nest ' || i, op, a.id, b.id);
	END LOOP;
END $$;

-- The population and its facts, by index, read again where something happened; then who is in which segment.
CREATE FUNCTION judge.evaluate(instant timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	s judge.segment;
	zone text := (SELECT w.zone FROM shop.world w);
	happened bigint[] := ARRAY(SELECT coalesce(shop.customer(t.n), 0) FROM shop.touched t);
	population bigint[] := ARRAY(SELECT f.customer_id FROM crm_feed.customer f WHERE f.customer_id IS NOT NULL
								 UNION SELECT i.customer_id FROM crm.identity i);
BEGIN
	DELETE FROM judge.facts f WHERE f.touched OR f.customer = ANY (happened) OR f.customer <> ALL (population);
	INSERT INTO judge.facts
		SELECT p, crm.profile_of(p), p = ANY (happened) FROM unnest(population) p
		WHERE NOT EXISTS (SELECT FROM judge.facts f WHERE f.customer = p);
	DELETE FROM judge.answer;
	INSERT INTO judge.answer
		SELECT g.id, f.customer, crm.matches(f.profile, g.predicate, instant, NULL, zone)
		FROM judge.segment g, judge.facts f WHERE g.op = 'base';
	INSERT INTO judge.answer
		SELECT g.id, f.customer, EXISTS (SELECT FROM judge.listed l WHERE l.segment = g.id AND l.customer = f.customer)
		FROM judge.segment g, judge.facts f WHERE g.op = 'static';
	FOR s IN SELECT * FROM judge.segment g WHERE g.a IS NOT NULL ORDER BY g.id LOOP
		INSERT INTO judge.answer
			SELECT s.id, x.customer, CASE s.op WHEN 'and' THEN x.truth AND y.truth WHEN 'or' THEN x.truth OR y.truth
											   ELSE x.truth AND NOT y.truth END
			FROM judge.answer x JOIN judge.answer y USING (customer) WHERE x.segment = s.a AND y.segment = s.b;
	END LOOP;
END $$;

CREATE FUNCTION judge.periods(segment int, customer bigint, profile crm.profile, lo timestamptz, hi timestamptz)
RETURNS tstzmultirange LANGUAGE plpgsql AS $$
DECLARE
	s judge.segment;
	x tstzmultirange;
	y tstzmultirange;
BEGIN
	SELECT * INTO s FROM judge.segment g WHERE g.id = periods.segment;
	IF s.op = 'base' THEN
		RETURN crm.periods(profile, s.predicate, lo, hi, NULL, (SELECT w.zone FROM shop.world w));
	ELSIF s.op = 'static' THEN
		RETURN CASE WHEN EXISTS (SELECT FROM judge.listed l WHERE l.segment = s.id AND l.customer = periods.customer)
					THEN tstzmultirange(tstzrange(lo, hi)) ELSE '{}' END;
	END IF;
	x := judge.periods(s.a, customer, profile, lo, hi);
	y := judge.periods(s.b, customer, profile, lo, hi);
	RETURN CASE s.op WHEN 'and' THEN x * y WHEN 'or' THEN x + y ELSE x - y END;
END $$;

-- What is stored, against the evaluation
CREATE FUNCTION judge.check_stored(instant timestamptz) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	PERFORM judge.check_none('membership', instant, array_agg(format('customer %s, segment %s, expected %s, stored %s: %s', customer,
			coalesce(s.name, '?'), a.truth, m.segment_id IS NOT NULL, s.predicate))
			FILTER (WHERE coalesce(a.truth, false) <> (m.segment_id IS NOT NULL)), count(*), count(*) FILTER (WHERE a.truth))
	FROM judge.answer a FULL JOIN (SELECT o.customer_id AS customer, o.segment_id AS segment, o.segment_id FROM crm.segment_member o) m
		USING (customer, segment) LEFT JOIN judge.segment s ON s.id = segment;

	PERFORM judge.check_none('rows', instant, array_agg(m::text) FILTER (WHERE m.segments = '{}' OR m.segments <>
			ARRAY(SELECT DISTINCT i FROM unnest(m.segments) i ORDER BY i)), count(*), 0)
	FROM crm.membership m;

	-- what segment_size() says of this very instant, for every fifth segment: each is a pass of its own
	PERFORM judge.check_none('size', instant, array_agg(format('%s: segment_size %s, stored %s: %s', s.name, z.size, m.size, s.predicate))
			FILTER (WHERE z.size IS DISTINCT FROM m.size), count(*), sum(m.size)::bigint)
	FROM judge.segment s CROSS JOIN LATERAL crm.segment_size(s.name, instant, instant, '1 day') z
		CROSS JOIN LATERAL (SELECT count(*) AS size FROM crm.members(s.name)) m
	WHERE s.id % 5 = abs(hashint8(extract(epoch FROM instant)::bigint) % 5);

	-- by index, for some customers and segments
	PERFORM judge.check_none('one by one', instant, array_agg(format('customer %s, segment %s: stored %s, fresh %s: %s', a.customer, s.name,
			a.truth, f.fresh, s.predicate)) FILTER (WHERE f.fresh IS DISTINCT FROM a.truth), count(*), count(*) FILTER (WHERE a.truth))
	FROM judge.answer a JOIN judge.segment s ON s.id = a.segment
		CROSS JOIN LATERAL (SELECT crm.matches_segment(a.customer, s.name, instant) AS fresh) f
	WHERE hashint8(a.customer) % 97 = s.id % 97;
END $$;

-- What the last refresh logged, and what all refreshes did
CREATE FUNCTION judge.check_log(lo timestamptz, hi timestamptz, first bool) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	kinds text[] := ARRAY(SELECT unnest(crm.event_kinds(s.predicate)) FROM judge.segment s);
BEGIN
	DROP TABLE IF EXISTS judge.fresh;
	CREATE TABLE judge.fresh AS SELECT c.* FROM crm.segment_change c WHERE c.change_id > (SELECT k.change_id FROM judge.mark k);

	-- all of it replayed is what is stored
	PERFORM judge.check_none('replay', hi, array_agg(format('customer %s, segment %s: logged %s, stored %s', customer_id, segment_id,
			l.member, m.customer_id IS NOT NULL)) FILTER (WHERE coalesce(l.member, false) <> (m.segment_id IS NOT NULL)), count(*), 0)
	FROM (SELECT DISTINCT ON (c.customer_id, c.segment_id) c.customer_id, c.segment_id, c.entered AS member
		  FROM crm.segment_change c ORDER BY c.customer_id, c.segment_id, c.at DESC, c.change_id DESC) l
		FULL JOIN crm.segment_member m USING (customer_id, segment_id);

	PERFORM judge.check_none('alternation', hi, array_agg(x::text) FILTER (WHERE wrong), count(*), 0)
	FROM (SELECT c.*, c.entered IS NOT DISTINCT FROM coalesce(lag(c.entered) OVER same, false)
				OR c.change_id < lag(c.change_id) OVER same AS wrong
		  FROM crm.segment_change c WINDOW same AS (PARTITION BY c.customer_id, c.segment_id ORDER BY c.at, c.change_id)) x;

	PERFORM judge.check_none('instants', hi, array_agg(c::text) FILTER (WHERE NOT CASE
			WHEN first THEN c.reason = 'edit' AND c.at = hi AND c.entered
			WHEN c.reason = 'gone' THEN c.at = hi AND NOT c.entered
				AND NOT EXISTS (SELECT FROM judge.facts f WHERE f.customer = c.customer_id)
			ELSE c.reason IN ('fact', 'time') AND c.at > lo AND c.at <= hi END), count(*), 0)
	FROM judge.fresh c;

	-- Nothing happened to these people but what the feeds said before: every change is logged at its very instant, and "fact"
	-- is one that has an event at that instant, of a kind that is read at all.
	IF NOT first THEN
		PERFORM judge.check_none('flips', hi, array_agg(format('customer %s, segment %s: logged %s, periods %s: %s, %s', x.customer_id,
				s.name, x.logged, p.flips, s.predicate, f.profile)) FILTER (WHERE x.logged IS DISTINCT FROM p.flips), count(*), 0)
		FROM (SELECT c.customer_id, c.segment_id, array_agg((c.at, c.entered)::text ORDER BY c.at) AS logged
			  FROM judge.fresh c GROUP BY 1, 2) x
			JOIN judge.facts f ON f.customer = x.customer_id AND NOT f.touched
			JOIN judge.segment s ON s.id = x.segment_id
			CROSS JOIN LATERAL (SELECT array_agg((b.at, b.up)::text ORDER BY b.at) AS flips
				FROM unnest(judge.periods(s.id, f.customer, f.profile, lo, hi + interval '1 microsecond')) r,
					LATERAL (VALUES (lower(r), true), (upper(r), false)) b (at, up)
				WHERE b.at > lo AND b.at <= hi) p;

		PERFORM judge.check_none('reason', hi, array_agg(format('%s: event %s', c, e.happened)) FILTER (WHERE (c.reason = 'fact') <> e.happened),
				count(*), count(*) FILTER (WHERE e.happened))
		FROM judge.fresh c JOIN judge.facts f ON f.customer = c.customer_id AND NOT f.touched
			CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM crm.events_of(f.profile) v WHERE v.at = c.at AND v.kind = ANY (kinds)) AS happened) e;
	END IF;
END $$;

CREATE FUNCTION judge.refresh(lo timestamptz, hi timestamptz, first bool) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	zone text := (SELECT w.zone FROM shop.world w);
	done record;
	again record;
	marked bigint;
BEGIN
	DELETE FROM judge.mark;
	INSERT INTO judge.mark SELECT coalesce(max(c.change_id), 0) FROM crm.membership_change c;
	PERFORM oracle.elsewhere(zone);		-- the session's zone is of no account
	SELECT * INTO done FROM crm.refresh_segments(hi);
	SELECT max(c.change_id) INTO marked FROM crm.membership_change c;
	SELECT * INTO again FROM crm.refresh_segments(hi);
	PERFORM judge.check_none('second refresh', hi, ARRAY[CASE WHEN again.entered <> 0 OR again."left" <> 0 OR again.customers <> done.customers
			OR marked IS DISTINCT FROM (SELECT max(c.change_id) FROM crm.membership_change c)
		THEN format('first %s, second %s', done, again) END], 1, 0);
	PERFORM judge.evaluate(hi);
	PERFORM judge.check_stored(hi);
	PERFORM judge.check_log(lo, hi, first);
	PERFORM judge.check_none('counts', hi, ARRAY[CASE WHEN (done.customers, done.entered, done."left") IS DISTINCT FROM
			((SELECT count(*) FROM judge.facts), (SELECT count(*) FROM judge.fresh f WHERE f.entered),
			 (SELECT count(*) FROM judge.fresh f WHERE NOT f.entered))
		THEN format('%s', done) END], 1, 0);
	PERFORM oracle.here(zone);
END $$;

-- Sizes computed beforehand, and refreshes at those instants, with nothing else happening
CREATE FUNCTION judge.check_past_sizes(lo timestamptz, step interval, steps int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	one record;
BEGIN
	DROP TABLE IF EXISTS judge.size;
	CREATE TABLE judge.size AS
		SELECT s.id, s.name, z.at, z.size FROM judge.segment s
			CROSS JOIN LATERAL crm.segment_size(s.name, lo, lo + steps * step, step) z WHERE z.at > lo;
	FOR one IN SELECT z.at FROM judge.size z GROUP BY z.at ORDER BY z.at LOOP
		PERFORM crm.refresh_segments(one.at);
		PERFORM judge.check_none('past size', one.at, array_agg(format('%s: segment_size %s, refresh %s: %s', z.name, z.size, m.size,
				(SELECT s.predicate FROM judge.segment s WHERE s.id = z.id))) FILTER (WHERE m.size IS DISTINCT FROM z.size),
			count(*), sum(z.size)::bigint)
		FROM judge.size z CROSS JOIN LATERAL (SELECT count(*) AS size FROM crm.members(z.name)) m WHERE z.at = one.at;
	END LOOP;
END $$;

CREATE FUNCTION judge.run_series(instants timestamptz[]) RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
	lo timestamptz := instants[1];
	hi timestamptz;
	known int;
BEGIN
	DELETE FROM shop.touched;
	PERFORM judge.refresh(NULL, lo, true);
	FOREACH hi IN ARRAY instants[2 :] LOOP
		DELETE FROM shop.touched;
		-- now and then nothing but time passes
		IF random() < 0.75 THEN
			SELECT max(profile) INTO known FROM oracle.customer;
			PERFORM shop.go_on(lo, hi, ARRAY(SELECT known + i FROM generate_series(1, oracle.rnd(3)) i));
		END IF;
		PERFORM judge.refresh(lo, hi, false);
		lo := hi;
	END LOOP;
	RETURN lo;
END $$;

CREATE FUNCTION judge.run_world(seed text, key_type text, memory text, people int, segments int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	day timestamptz;
	last timestamptz;
BEGIN
	PERFORM set_config('maintenance_work_mem', memory, true);
	PERFORM shop.open(seed, key_type);
	DELETE FROM judge.facts;
	PERFORM shop.add_person(n) FROM generate_series(1, people) n;
	PERFORM shop.add_dirt();
	ANALYZE shop.users, shop.orders, shop.views;
	SELECT w.day INTO day FROM shop.world w;

	PERFORM judge.make_segments(segments);
	last := judge.run_series(ARRAY(SELECT x FROM (
		SELECT day + o::interval AS x FROM unnest('{-35 days,-2 days,0,1 microsecond,26 hours,1 year}'::text[]) o
		UNION SELECT oracle.gen_instant() FROM generate_series(1, 2)) y ORDER BY x));
	PERFORM judge.check_past_sizes(last, oracle.pick('1 day', '7 hours', '1 month', '1 day 1 hour')::interval, 4);

	FOR i IN 1 .. 6 LOOP
		PERFORM judge.make_segments(1 + oracle.rnd(3));
		PERFORM judge.run_series(ARRAY(SELECT x FROM (SELECT DISTINCT oracle.gen_instant() AS x FROM generate_series(1, 4)) y ORDER BY x));
	END LOOP;
END $$;

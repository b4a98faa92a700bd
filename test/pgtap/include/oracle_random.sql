-- Random worlds (a zone and a day where its calendar is odd), profiles and predicates.  Everything is drawn from
-- random() after setseed(), so a seed gives a case again.  The zone is the session's, the day is oracle.anchor.

CREATE FUNCTION oracle.rnd(n int) RETURNS int LANGUAGE sql VOLATILE
RETURN floor(random() * n)::int;

CREATE FUNCTION oracle.pick(VARIADIC choices text[]) RETURNS text LANGUAGE sql VOLATILE
RETURN choices[1 + oracle.rnd(cardinality(choices))];

-- Seeds the generator and sets zone and anchor.
CREATE FUNCTION oracle.new_world(seed text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	world text;
BEGIN
	PERFORM setseed(('x' || substr(md5(seed), 1, 7))::bit(28)::int / 268435456.0);
	world := oracle.pick(
		'Europe/Berlin 2024-03-31', 'Europe/Berlin 2024-10-27', 'Europe/Berlin 2024-02-29', 'Europe/Berlin 2023-12-31',
		'America/New_York 2024-03-10', 'America/New_York 2024-11-03', 'America/New_York 2023-02-28',
		'Australia/Lord_Howe 2024-04-07', 'Australia/Lord_Howe 2023-10-01',		-- half an hour of summer time
		'America/Sao_Paulo 2018-11-04', 'America/Sao_Paulo 2018-02-18',			-- no midnight; 23:00 twice
		'America/Havana 2024-03-10', 'America/Havana 2024-11-03',				-- no midnight; midnight twice
		'America/St_Johns 2010-11-07', 'America/St_Johns 2011-03-13',			-- set back at 00:01, over midnight
		'Pacific/Apia 2011-12-30', 'Pacific/Apia 2012-04-01',					-- a day that never was
		'Asia/Beirut 2022-03-27', 'Atlantic/Azores 2023-10-29', 'Asia/Kolkata 2024-02-29', 'Asia/Kolkata 2024-12-31',
		'UTC 2024-02-29', 'UTC 2025-01-01', 'UTC 2023-08-31');
	PERFORM set_config('TimeZone', split_part(world, ' ', 1), true);
	PERFORM set_config('oracle.anchor', split_part(world, ' ', 2), true);
	RETURN split_part(world, ' ', 1);
END $$;

CREATE FUNCTION oracle.anchor() RETURNS date LANGUAGE sql STABLE
RETURN current_setting('oracle.anchor')::date;

CREATE FUNCTION oracle.gen_date() RETURNS date LANGUAGE sql VOLATILE
RETURN oracle.anchor() + CASE WHEN random() < 0.75 THEN oracle.rnd(9) - 5
	ELSE oracle.pick('-400', '-366', '-365', '-92', '-62', '-61', '-60', '-32', '-31', '-30', '-29', '-28', '-14', '-8', '-7',
					 '7', '8', '14', '28', '29', '30', '31', '60', '61', '365')::int END;

CREATE FUNCTION oracle.gen_instant() RETURNS timestamptz LANGUAGE sql VOLATILE
RETURN CASE WHEN random() < 0.75 THEN
		(oracle.gen_date()::text || oracle.pick(' 00:00', ' 00:00', ' 00:00:00.000001', ' 00:00:30', ' 00:30', ' 01:00',
			' 01:30', ' 01:59:59.999999', ' 02:00', ' 02:15', ' 02:30', ' 03:00', ' 09:41:07.5', ' 12:00', ' 12:00', ' 22:30',
			' 23:00', ' 23:30', ' 23:59:59.999999'))::timestamptz
	ELSE (oracle.anchor()::text || oracle.pick(' 00:00', ' 01:00', ' 02:00', ' 03:00'))::timestamptz
		+ oracle.pick('0', '1 microsecond', '-1 microsecond', '15 minutes', '30 minutes', '-30 minutes', '1 hour', '-1 hour',
			'90 minutes', '2 hours', '-2 hours', '4 hours', '-24 hours', '24 hours')::interval END;

CREATE FUNCTION oracle.gen_word() RETURNS text LANGUAGE sql VOLATILE
RETURN oracle.pick('a', 'a', 'b', 'b', 'A', 'ab', 'SKU-1', 'Größe', 'GRÖSSE', 'москва', 'Москва', 'it''s', 'a_b', '100%', '', 'Z');

CREATE FUNCTION oracle.gen_pattern() RETURNS text LANGUAGE sql VOLATILE
RETURN oracle.pick('a%', '%b', '_', '%', 'А%', 'М%', 'м%', 'gr_sse', '%\%', 'a\_b', 'a_b', 'sku%', '', '%''%', 'A', 'z');

CREATE FUNCTION oracle.gen_number() RETURNS numeric LANGUAGE sql VOLATILE
RETURN oracle.pick('0', '1', '1', '2', '2', '3', '5', '10', '-1', '1.5', '0.1', '0.2', '2.00', '100.10', '33.33', '12345678901234567890.01')::numeric;

-- A value for a property or attribute by the type that its name promises, NULL now and then, and "rough" of another
-- type now and then.
CREATE FUNCTION oracle.gen_value(name text, rough bool) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	r int := oracle.rnd(100);
BEGIN
	IF r < 14 THEN
		RETURN NULL;
	ELSIF r < 19 AND rough THEN
		RETURN CASE oracle.rnd(4) WHEN 0 THEN jsonb_build_object('n', oracle.gen_number())
								  WHEN 1 THEN jsonb_build_object('t', oracle.gen_word())
								  WHEN 2 THEN jsonb_build_object('b', random() < 0.5)
								  -- never the start of a day, lest it equal a date
								  ELSE oracle.z((oracle.gen_date()::text || ' 12:34:56.7')::timestamptz) END;
	END IF;
	CASE
		WHEN name IN ('amount', 'qty', 'age', 'score', 'first', 'day', 'Weight, kg') THEN
			RETURN jsonb_build_object('n', oracle.gen_number());
		WHEN name IN ('item', 'status', 'city', 'Name') THEN
			RETURN jsonb_build_object('t', CASE WHEN random() < 0.6 THEN oracle.pick('a', 'b') ELSE oracle.gen_word() END);
		WHEN name = 'odd' THEN
			RETURN jsonb_build_object('t', oracle.gen_date());
		WHEN name IN ('gift', 'vip') THEN
			RETURN jsonb_build_object('b', random() < 0.5);
		WHEN name = 'due' THEN
			RETURN jsonb_build_object('d', oracle.gen_date());
		WHEN name IN ('promised', 'registered') THEN
			RETURN oracle.z(oracle.gen_instant());
		WHEN name = 'birthday' THEN
			RETURN jsonb_build_object('d', CASE oracle.rnd(4) WHEN 0 THEN oracle.pick('1996-02-29', '1988-02-29', '1990-12-31', '1970-01-01')::date
				WHEN 1 THEN oracle.gen_date()
				ELSE (oracle.gen_date() - make_interval(years => oracle.rnd(40)))::date END);
		WHEN name = 'tags' THEN
			RETURN jsonb_build_object('a', (SELECT coalesce(jsonb_agg(jsonb_build_object('t', oracle.gen_word())), '[]')
											FROM generate_series(1, 1 + oracle.rnd(3))));
		WHEN name = 'sizes' THEN
			RETURN jsonb_build_object('a', (SELECT coalesce(jsonb_agg(jsonb_build_object('n', oracle.gen_number())), '[]')
											FROM generate_series(1, 1 + oracle.rnd(3))));
		WHEN name = 'dates' THEN
			RETURN jsonb_build_object('a', (SELECT coalesce(jsonb_agg(jsonb_build_object('d', oracle.gen_date()
													- CASE WHEN random() < 0.5 THEN 730 ELSE 0 END)), '[]')
											FROM generate_series(1, 1 + oracle.rnd(3))));
		ELSE
			RETURN NULL;
	END CASE;
END $$;

CREATE FUNCTION oracle.gen_profile(who int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	attributes jsonb := '{}';
	events jsonb := '[]';
	e jsonb;
	k text;
	v jsonb;
	name text;
	at timestamptz;
	ats timestamptz[] := '{}';
	lonely bool;
	far bool := random() < 0.3;
BEGIN
	FOREACH name IN ARRAY '{city,Name,age,score,vip,birthday,registered,tags,sizes,dates,odd,first,day,"Weight, kg"}'::text[] LOOP
		v := oracle.untyped(oracle.gen_value(name, true));
		IF v IS NOT NULL OR random() < 0.2 THEN
			attributes := attributes || jsonb_build_object(name, v);
		END IF;
	END LOOP;
	FOR i IN 1 .. oracle.rnd(5) + oracle.rnd(9) LOOP
		at := CASE WHEN i > 1 AND random() < 0.2 THEN ats[1 + oracle.rnd(i - 1)]
				   WHEN i > 1 AND random() < 0.25 THEN ats[1 + oracle.rnd(i - 1)]
						+ oracle.pick('1 hour', '30 minutes', '-1 hour', '2 days', '1 day', '1 microsecond')::interval
				   WHEN far THEN oracle.gen_instant() - make_interval(months => oracle.rnd(14))
				   ELSE oracle.gen_instant() END;
		k := oracle.pick('order', 'order', 'order', 'view', 'view', 'cart', 'Chat');
		-- of events of one kind at one instant the values are of one type and no arrays: their order is not defined
		lonely := NOT EXISTS (SELECT FROM jsonb_array_elements(events) x WHERE x ->> 'kind' = k AND (x ->> 'at')::timestamptz = at);
		ats := ats || at;
		e := jsonb_build_object('kind', k, 'at', oracle.utc_text(at));
		FOREACH name IN ARRAY '{amount,item,status,gift,promised,due,tags,qty}'::text[] LOOP
			v := oracle.untyped(oracle.gen_value(name, false));
			IF v IS NOT NULL AND (name <> 'tags' OR lonely) THEN
				e := e || jsonb_build_object(name, v);
			END IF;
		END LOOP;
		events := events || e;
	END LOOP;
	-- another type now and then
	SELECT jsonb_agg(CASE WHEN NOT twin AND random() < 0.2 THEN
						x || coalesce((SELECT jsonb_build_object(p, oracle.untyped(
									CASE WHEN p = 'due' AND random() < 0.5 THEN
											oracle.z((oracle.gen_date()::text || ' 12:34:56.7')::timestamptz)
										 WHEN p = 'amount' THEN jsonb_build_object('t', oracle.gen_word())
										 ELSE jsonb_build_object('n', oracle.gen_number()) END))
								FROM (SELECT oracle.pick('amount', 'item', 'due', 'gift', 'promised') AS p) q), '{}')
						ELSE x END ORDER BY CASE WHEN far THEN n ELSE 0 END, x ->> 'at')
	INTO events
	FROM (SELECT x, n, count(*) OVER (PARTITION BY x -> 'kind', x -> 'at') > 1 AS twin
		  FROM jsonb_array_elements(events) WITH ORDINALITY u (x, n) ORDER BY n) y;
	PERFORM oracle.store(who, jsonb_build_object('customer', who, 'attributes', attributes, 'events', coalesce(events, '[]')));
END $$;

CREATE FUNCTION oracle.gen_iv(small bool DEFAULT false) RETURNS text LANGUAGE sql VOLATILE
RETURN CASE WHEN small OR random() < 0.35 THEN
		oracle.pick('30 minutes', '1 hour', '1 hour', '90 minutes', '1 hour 30 minutes', '24 hours', '1 day', '1 day', '2 days',
					'1 day 12 hours', '1 second', '36 hours')
	ELSE oracle.pick('1 day', '2 days', '3 days', '1 week', '7 days', '29 days', '30 days', '1 month', '1 month', '1 month 1 day',
					 '2 months', '60 days', '3 months', '1 quarter', '1 year', '365 days', '13 months', '1 month 2 hours', '25 hours') END;

-- An ISO string.
CREATE FUNCTION oracle.gen_iso() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	i timestamptz := oracle.gen_instant();
BEGIN
	RETURN CASE oracle.rnd(7)
		WHEN 0 THEN oracle.utc_text(i)
		WHEN 1 THEN to_char(i AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
		WHEN 2 THEN to_char(i AT TIME ZONE 'UTC' + interval '5 hours 30 minutes', 'YYYY-MM-DD HH24:MI:SS') || '+05:30'
		WHEN 3 THEN to_char(i, 'YYYY-MM-DD HH24:MI:SS')
		WHEN 4 THEN to_char(i, 'YYYY-MM-DD"T"HH24:MI')
		ELSE i::date::text END;
END $$;

CREATE FUNCTION oracle.gen_window(of_event bool) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	a text;
	b text;
	u text;
BEGIN
	CASE oracle.pick('last', 'last', 'last', 'ago', 'ago2', 'next', 'next', 'since', 'before', 'from', 'entry', 'this', 'this',
					 'previous', 'previous', 'previous_n', 'tomorrow')
		WHEN 'last' THEN RETURN jsonb_build_object('w', 'last', 'iv', oracle.gen_iv());
		WHEN 'ago' THEN RETURN jsonb_build_object('w', 'ago', 'iv', oracle.gen_iv());
		WHEN 'next' THEN RETURN jsonb_build_object('w', 'next', 'iv', oracle.gen_iv());
		WHEN 'ago2' THEN
			LOOP
				a := oracle.gen_iv();
				b := oracle.gen_iv();
				EXIT WHEN oracle.iv(a) < oracle.iv(b);
			END LOOP;
			RETURN jsonb_build_object('w', 'ago2', 'd1', jsonb_build_object('iv', a), 'd2', jsonb_build_object('iv', b));
		WHEN 'since' THEN RETURN jsonb_build_object('w', 'since', 'l', oracle.gen_iso());
		WHEN 'before' THEN RETURN jsonb_build_object('w', 'before', 'l', oracle.gen_iso());
		WHEN 'from' THEN
			LOOP
				a := oracle.gen_iso();
				b := oracle.gen_iso();
				EXIT WHEN oracle.start(oracle.iso(a)) < oracle.start(oracle.iso(b));
			END LOOP;
			RETURN jsonb_build_object('w', 'from', 't1', jsonb_build_object('l', a), 't2', jsonb_build_object('l', b));
		WHEN 'entry' THEN RETURN '{"w": "entry"}';
		WHEN 'tomorrow' THEN RETURN '{"w": "tomorrow", "u": "day"}';
		WHEN 'previous_n' THEN
			u := oracle.pick('minute', 'hour', 'day', 'day', 'week', 'month', 'month', 'quarter');
			RETURN jsonb_build_object('w', 'previous', 'u', u, 'k', (1 + oracle.rnd(4))::text);
		WHEN 'this' THEN
			RETURN jsonb_build_object('w', 'this', 'u', oracle.pick('day', 'day', 'day', 'second', 'minute', 'hour', 'hour', 'week',
																	'week', 'month', 'month', 'quarter', 'year'));
		ELSE
			RETURN jsonb_build_object('w', 'previous', 'u', oracle.pick('day', 'day', 'day', 'minute', 'hour', 'week', 'week',
																		'month', 'month', 'quarter', 'year'));
	END CASE;
END $$;

-- ctx is 0 outside of brackets, else the depth of the brackets.
CREATE FUNCTION oracle.gen_events(ctx int, filter_chance float DEFAULT 0.35) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	e jsonb := jsonb_build_object('kind', oracle.pick('order', 'order', 'order', 'view', 'view', 'cart', 'cart', 'Chat'));
BEGIN
	IF random() < 0.04 THEN
		e := '{"kind": "nothing"}';
	END IF;
	IF random() < filter_chance THEN
		e := e || jsonb_build_object('f', oracle.gen_truth(1, CASE WHEN random() < 0.4 THEN 2 ELSE 1 END));
	END IF;
	IF random() < 0.7 THEN
		e := e || jsonb_build_object('w', oracle.gen_window(true));
	END IF;
	RETURN e;
END $$;

CREATE FUNCTION oracle.lit(v anyelement) RETURNS jsonb LANGUAGE sql IMMUTABLE
AS $$
	SELECT jsonb_build_object('op', 'lit', 'v', jsonb_build_object(
		CASE pg_typeof(v)::text WHEN 'numeric' THEN 'n' WHEN 'boolean' THEN 'b' ELSE 'l' END, v))
$$;

CREATE FUNCTION oracle.gen_any_literal() RETURNS jsonb LANGUAGE sql VOLATILE
RETURN CASE oracle.rnd(4) WHEN 0 THEN oracle.lit(oracle.gen_number()) WHEN 1 THEN oracle.lit(random() < 0.5)
	WHEN 2 THEN oracle.lit(oracle.gen_iso()) ELSE oracle.lit(oracle.gen_word()) END;

CREATE FUNCTION oracle.gen_name(type text, ctx int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	n text;
	attribute bool := ctx = 0 OR random() < 0.12;
BEGIN
	IF random() < 0.02 THEN
		n := 'missing';
	ELSIF attribute THEN
		n := CASE type WHEN 'n' THEN oracle.pick('age', 'score', 'first', 'day', 'Weight, kg')
			WHEN 't' THEN oracle.pick('city', 'Name', 'odd') WHEN 'b' THEN 'vip'
			WHEN 'a' THEN oracle.pick('tags', 'tags', 'sizes', 'dates')
			ELSE oracle.pick('birthday', 'registered') END;
	ELSE
		n := CASE type WHEN 'n' THEN oracle.pick('amount', 'amount', 'amount', 'qty', 'qty', 'hour', 'weekday', 'day', 'week', 'month', 'year')
			WHEN 't' THEN oracle.pick('item', 'status') WHEN 'b' THEN 'gift'
			WHEN 'a' THEN 'tags'
			ELSE oracle.pick('at', 'at', 'promised', 'due', 'date', 'week_of', 'month_of') END;
	END IF;
	RETURN jsonb_build_object('op', CASE WHEN attribute AND ctx > 0 THEN 'cust' ELSE 'name' END, 'name', n);
END $$;

CREATE FUNCTION oracle.gen_agg(f text, property text) RETURNS jsonb LANGUAGE sql VOLATILE
RETURN jsonb_build_object('op', 'agg', 'f', f, 'e', oracle.gen_events(0, 0.25), 'name', property);

CREATE FUNCTION oracle.gen_num(ctx int, size int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	r int := oracle.rnd(100);
BEGIN
	IF size > 0 AND r < 25 THEN
		RETURN jsonb_build_object('op', 'arith', 'f', oracle.pick('+', '-', '*', '/'),
								  'a', oracle.gen_num(ctx, size - 1), 'b', oracle.gen_num(ctx, size - 1));
	ELSIF r < 28 THEN
		RETURN jsonb_build_object('op', 'neg', 'a', oracle.gen_name('n', ctx));
	ELSIF r < 35 AND size < 2 THEN
		RETURN oracle.lit(oracle.gen_number());
	ELSIF ctx = 0 AND r < 55 THEN
		RETURN jsonb_build_object('op', 'count', 'e', oracle.gen_events(0));
	ELSIF ctx = 0 AND r < 80 THEN
		RETURN oracle.gen_agg(oracle.pick('sum', 'avg', 'min', 'max', 'first', 'last', 'mode'), oracle.pick('amount', 'amount', 'qty', 'hour', 'weekday'));
	ELSIF ctx = 0 AND r < 90 THEN
		RETURN oracle.gen_agg(oracle.pick('distinct', 'most'), oracle.pick('amount', 'item', 'gift', 'due', 'date', 'week_of', 'month_of', 'tags', 'status'));
	END IF;
	RETURN oracle.gen_name('n', ctx);
END $$;

-- Something that stands for a moment.
CREATE FUNCTION oracle.gen_moment(ctx int, size int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	r int := oracle.rnd(100);
BEGIN
	IF size > 0 AND r < 30 THEN
		RETURN jsonb_build_object('op', 'shift', 'f', oracle.pick('+', '-'), 'a', oracle.gen_moment(ctx, size - 1), 'iv', oracle.gen_iv());
	ELSIF r < 36 THEN
		RETURN oracle.lit(oracle.gen_iso());
	ELSIF ctx = 0 AND r < 50 THEN
		RETURN jsonb_build_object('op', 'edge', 'f', oracle.pick('first', 'last'), 'e', oracle.gen_events(0));
	ELSIF ctx = 0 AND r < 62 THEN
		RETURN oracle.gen_agg(oracle.pick('min', 'max', 'first', 'last', 'mode'), oracle.pick('promised', 'due', 'at', 'date'));
	END IF;
	RETURN oracle.gen_name('m', ctx);
END $$;

CREATE FUNCTION oracle.gen_list(type text) RETURNS jsonb LANGUAGE sql VOLATILE AS $$
	SELECT jsonb_agg(CASE WHEN oracle.rnd(10) + n * 0 = 0 THEN oracle.gen_any_literal() -> 'v'
			WHEN type = 'n' THEN jsonb_build_object('n', oracle.gen_number())
			WHEN type = 'm' THEN jsonb_build_object('l', oracle.gen_iso())
			WHEN type = 'b' THEN jsonb_build_object('b', random() < 0.5)
			ELSE jsonb_build_object('l', oracle.gen_word()) END)
	FROM generate_series(1, 1 + oracle.rnd(4)) n
$$;

CREATE FUNCTION oracle.gen_leaf(ctx int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	cmp text := oracle.pick('=', '<>', '<', '<=', '>', '>=');
	neg bool := random() < 0.25;
	type text;
	x jsonb;
	y jsonb;
	what text := CASE WHEN ctx = 0 THEN
			oracle.pick('has', 'has', 'has', 'has', 'has', 'has', 'no', 'no', 'no', 'num', 'num', 'num', 'num', 'num', 'text', 'bool', 'moment', 'win', 'win', 'win',
						'anniv', 'in', 'between', 'like', 'contains', 'known')
		ELSE oracle.pick('num', 'num', 'num', 'text', 'text', 'bool', 'moment', 'win', 'win', 'in', 'between', 'like', 'contains', 'known',
						 'followed', 'followed', 'followed', 'followed', 'preceded', 'preceded',
						 CASE WHEN ctx > 1 THEN 'same' ELSE 'text' END, CASE WHEN ctx > 1 THEN 'same' ELSE 'moment' END,
						 CASE WHEN random() < 0.2 THEN 'anniv' ELSE 'num' END) END;
BEGIN
	CASE what
		WHEN 'has', 'no' THEN
			RETURN jsonb_build_object('op', what, 'e', oracle.gen_events(0));
		WHEN 'followed', 'preceded' THEN
			x := jsonb_build_object('op', what, 'kind', oracle.pick('order', 'order', 'view', 'cart', 'Chat'));
			IF random() < 0.75 THEN
				x := x || jsonb_build_object('iv', oracle.gen_iv(random() < 0.6));
			END IF;
			IF ctx < 3 AND random() < 0.55 THEN
				x := x || jsonb_build_object('f', oracle.gen_truth(ctx + 1, oracle.rnd(2)));
			END IF;
			RETURN x;
		WHEN 'same' THEN
			RETURN jsonb_build_object('op', 'same', 'name', oracle.pick('item', 'item', 'status', 'amount', 'gift', 'due', 'tags', 'hour', 'date', 'at'));
		WHEN 'num' THEN
			x := oracle.gen_num(ctx, oracle.rnd(2));
			RETURN jsonb_build_object('op', 'cmp', 'f', cmp, 'a', x,
				'b', CASE WHEN (x ->> 'op' = 'count' OR x ->> 'f' IN ('distinct', 'most')) AND random() < 0.7
						THEN oracle.lit(oracle.pick('0', '1', '1', '2', '2', '3')::numeric)
					WHEN random() < 0.6 THEN oracle.lit(oracle.gen_number()) ELSE oracle.gen_num(ctx, oracle.rnd(3)) END);
		WHEN 'text' THEN
			IF random() < 0.04 THEN
				RETURN jsonb_build_object('op', 'cmp', 'f', cmp, 'a', oracle.lit(oracle.gen_word()), 'b', oracle.lit(oracle.gen_word()));
			END IF;
			x := CASE WHEN ctx = 0 AND random() < 0.4 THEN
					oracle.gen_agg(oracle.pick('min', 'max', 'first', 'last', 'mode'), oracle.pick('item', 'status'))
				ELSE oracle.gen_name('t', ctx) END;
			RETURN jsonb_build_object('op', 'cmp', 'f', cmp, 'a', x,
				'b', CASE oracle.rnd(8) WHEN 0 THEN oracle.gen_name('t', ctx) WHEN 1 THEN oracle.lit(oracle.gen_date()::text)
						WHEN 2 THEN CASE WHEN x ->> 'op' IN ('name', 'cust') THEN oracle.gen_any_literal() ELSE oracle.lit(oracle.gen_word()) END
						WHEN 3 THEN oracle.lit(oracle.gen_word())
						ELSE oracle.lit(oracle.pick('a', 'b')) END);
		WHEN 'bool' THEN
			RETURN jsonb_build_object('op', 'cmp', 'f', oracle.pick('=', '<>'), 'a', oracle.gen_name('b', ctx),
				'b', CASE oracle.rnd(6) WHEN 0 THEN oracle.gen_name('b', ctx) WHEN 1 THEN oracle.gen_any_literal()
						ELSE oracle.lit(random() < 0.5) END);
		WHEN 'moment' THEN
			RETURN jsonb_build_object('op', 'cmp', 'f', cmp, 'a', oracle.gen_moment(ctx, oracle.rnd(2)),
				'b', CASE oracle.rnd(3) WHEN 0 THEN oracle.lit(oracle.gen_iso()) ELSE oracle.gen_moment(ctx, oracle.rnd(2)) END);
		WHEN 'win' THEN
			LOOP	-- inside brackets a window is over the event's own moments
				x := oracle.gen_moment(ctx, oracle.rnd(2));
				EXIT WHEN ctx = 0 OR NOT x @? '$.** ? (@.op == "cust")';
			END LOOP;
			RETURN jsonb_build_object('op', 'win', 'neg', neg, 'a', x, 'w', oracle.gen_window(false));
		WHEN 'anniv' THEN
			x := CASE WHEN ctx > 0 THEN jsonb_build_object('op', 'name', 'name', oracle.pick('at', 'due', 'promised'))
				WHEN random() < 0.5 THEN '{"op": "name", "name": "birthday"}'
				WHEN random() < 0.4 THEN '{"op": "name", "name": "dates"}'
				ELSE oracle.gen_moment(ctx, oracle.rnd(2)) END;
			LOOP	-- a window that ends, mostly
				y := oracle.gen_window(false);
				EXIT WHEN y ->> 'w' NOT IN ('ago', 'since', 'before', 'from', 'entry') OR random() < 0.1;
			END LOOP;
			RETURN jsonb_build_object('op', 'win', 'neg', neg, 'a', jsonb_build_object('op', 'anniv', 'a', x), 'w', y);
		WHEN 'in' THEN
			type := oracle.pick('n', 't', 't', 'm', 'b');
			x := CASE WHEN type = 'n' THEN oracle.gen_num(ctx, 0) ELSE oracle.gen_name(type, ctx) END;
			IF x ->> 'op' = 'lit' THEN
				x := oracle.gen_name(type, ctx);
			END IF;
			RETURN jsonb_build_object('op', 'in', 'neg', neg, 'a', x, 'list', oracle.gen_list(type));
		WHEN 'between' THEN
			type := oracle.pick('n', 'n', 't', 'm');
			RETURN jsonb_build_object('op', 'between', 'neg', neg,
				'a', CASE type WHEN 'n' THEN oracle.gen_num(ctx, 1) ELSE oracle.gen_name(type, ctx) END,
				'lo', CASE type WHEN 'n' THEN oracle.gen_num(ctx, 0) WHEN 't' THEN oracle.lit(oracle.gen_word()) ELSE oracle.gen_name(type, ctx) END,
				'hi', CASE type WHEN 'n' THEN oracle.gen_num(ctx, 1) WHEN 't' THEN oracle.lit(oracle.gen_word()) ELSE oracle.lit(oracle.gen_iso()) END);
		WHEN 'like' THEN
			RETURN jsonb_build_object('op', 'like', 'neg', neg, 'ci', random() < 0.5, 'pat', oracle.gen_pattern(),
				'a', CASE WHEN ctx = 0 AND random() < 0.3 THEN oracle.gen_agg(oracle.pick('first', 'last', 'min', 'max', 'mode'), oracle.pick('item', 'status'))
						ELSE oracle.gen_name(CASE WHEN random() < 0.05 THEN 'n' ELSE 't' END, ctx) END);
		WHEN 'contains' THEN
			x := oracle.gen_name(CASE WHEN random() < 0.08 THEN 't' ELSE 'a' END, ctx);
			y := oracle.gen_list(CASE x ->> 'name' WHEN 'sizes' THEN 'n' WHEN 'dates' THEN 'm' ELSE 't' END);
			type := oracle.pick('one', 'any', 'all');
			IF type = 'one' THEN
				y := jsonb_build_array(y -> 0);
			END IF;
			RETURN jsonb_build_object('op', 'contains', 'neg', neg, 'a', x, 'how', type, 'list', y);
		WHEN 'known' THEN
			RETURN jsonb_build_object('op', 'known', 'neg', neg,
				'a', CASE oracle.rnd(3) WHEN 0 THEN oracle.gen_num(ctx, 1) WHEN 1 THEN oracle.gen_moment(ctx, 1)
						ELSE oracle.gen_name(oracle.pick('n', 't', 'b', 'm', 'a'), ctx) END);
	END CASE;
END $$;

CREATE FUNCTION oracle.gen_truth(ctx int, size int) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	r int := oracle.rnd(100);
	n int;
BEGIN
	IF size <= 0 OR r < 15 THEN
		RETURN oracle.gen_leaf(ctx);
	ELSIF r < 35 THEN
		RETURN jsonb_build_object('op', 'not', 'x', oracle.gen_truth(ctx, size - 1));
	END IF;
	n := 2 + oracle.rnd(2);
	RETURN jsonb_build_object('op', CASE WHEN r < 68 THEN 'and' ELSE 'or' END,
							  'x', (SELECT jsonb_agg(oracle.gen_truth(ctx, size - 1 - i * 0)) FROM generate_series(1, n) i));
END $$;

-- A conjunction with a has in it, for occurrences.
CREATE FUNCTION oracle.gen_conjunction() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
	parts jsonb[] := ARRAY[jsonb_build_object('op', 'has', 'e', oracle.gen_events(0, 0.5))];
	x jsonb;
BEGIN
	FOR i IN 1 .. oracle.rnd(3) LOOP
		LOOP
			x := oracle.gen_truth(0, oracle.rnd(2));
			EXIT WHEN x ->> 'op' <> 'and';
		END LOOP;
		parts := CASE WHEN random() < 0.5 THEN parts || x ELSE x || parts END;
	END LOOP;
	RETURN CASE WHEN cardinality(parts) = 1 THEN parts[1] ELSE jsonb_build_object('op', 'and', 'x', to_jsonb(parts)) END;
END $$;

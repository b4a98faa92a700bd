-- A predicate as a tree (jsonb), and from it its text in the language and its meaning in SQL.
--
-- Truths: {op: and|or, x: [..]} {op: not, x} {op: cmp, f, a, b} {op: in, neg, a, list} {op: between, neg, a, lo, hi}
--     {op: like, neg, ci, a, pat} {op: contains, neg, a, how, list} {op: known, neg, a} {op: win, neg, a, w}
--     {op: has|no, e} {op: followed|preceded, kind, f, iv} {op: same, name}
-- Values and moments: {op: lit, v} {op: name, name} {op: cust, name} {op: arith, f, a, b} {op: neg, a}
--     {op: shift, f, a, iv} {op: count, e} {op: edge, f, e} {op: agg, f, e, name} {op: anniv, a}
-- Events e: {kind, f, w}.
-- Windows: {w: last|next|ago, iv} {w: ago2, d1: {iv}, d2: {iv}} {w: since|before, l} {w: from, t1: {l}, t2: {l}}
--     {w: entry} {w: this, u} {w: previous, u, k} {w: tomorrow, u}

-- A keyword, now and then shouted.
CREATE FUNCTION oracle.kw(words text) RETURNS text LANGUAGE sql VOLATILE
RETURN CASE WHEN random() < 0.03 THEN upper(words) ELSE words END;

CREATE FUNCTION oracle.name_text(name text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE WHEN name ~ '^[a-z_][a-z0-9_]*$'
			 AND name <> ALL ('{and,or,not,in,between,like,ilike,contains,is,has,no,true,false}') THEN name
			ELSE '"' || replace(name, '"', '""') || '"' END;

CREATE FUNCTION oracle.string_text(s text) RETURNS text LANGUAGE sql IMMUTABLE
RETURN '''' || replace(s, '''', '''''') || '''';

CREATE FUNCTION oracle.literal_text(v jsonb) RETURNS text LANGUAGE sql IMMUTABLE
RETURN CASE WHEN v ? 'l' THEN oracle.string_text(v ->> 'l') ELSE v ->> oracle.kind(v) END;

CREATE FUNCTION oracle.list_text(list jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT string_agg(oracle.literal_text(x), ', ' ORDER BY n) FROM jsonb_array_elements(list) WITH ORDINALITY u (x, n)
$$;

CREATE FUNCTION oracle.window_text(w jsonb) RETURNS text LANGUAGE plpgsql STRICT AS $$
DECLARE
	u text := w ->> 'u';
BEGIN
	CASE w ->> 'w'
		WHEN 'last' THEN RETURN oracle.kw('in last') || ' ' || (w ->> 'iv');
		WHEN 'next' THEN RETURN oracle.kw('in next') || ' ' || (w ->> 'iv');
		WHEN 'ago' THEN RETURN oracle.kw('before') || ' ' || (w ->> 'iv') || ' ago';
		WHEN 'ago2' THEN RETURN format('between %s and %s ago', w #>> '{d1,iv}', w #>> '{d2,iv}');
		WHEN 'since' THEN RETURN oracle.kw('since') || ' ' || oracle.string_text(w ->> 'l');
		WHEN 'before' THEN RETURN 'before ' || oracle.string_text(w ->> 'l');
		WHEN 'from' THEN RETURN format('between %s and %s', oracle.string_text(w #>> '{t1,l}'),
									   oracle.string_text(w #>> '{t2,l}'));
		WHEN 'entry' THEN RETURN 'since entry';
		WHEN 'this' THEN RETURN CASE WHEN u = 'day' AND random() < 0.7 THEN oracle.kw('today') ELSE 'this ' || u END;
		WHEN 'tomorrow' THEN RETURN oracle.kw('tomorrow');
		WHEN 'previous' THEN
			RETURN CASE WHEN w ? 'k' THEN format('previous %s %s%s', w ->> 'k', u,
												 CASE WHEN w ->> 'k' <> '1' OR random() < 0.3 THEN 's' ELSE '' END)
						WHEN u = 'day' AND random() < 0.7 THEN oracle.kw('yesterday')
						ELSE 'previous ' || u END;
	END CASE;
END $$;

CREATE FUNCTION oracle.filter_text(f jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN CASE WHEN f IS NULL THEN '' ELSE '[' || oracle.txt(f, 1) || ']' END;
END $$;

CREATE FUNCTION oracle.events_text(e jsonb, property text DEFAULT NULL) RETURNS text LANGUAGE sql AS $$
	SELECT oracle.name_text(e ->> 'kind') || oracle.filter_text(e -> 'f') || coalesce('.' || oracle.name_text(property), '')
		|| coalesce(' ' || oracle.window_text(e -> 'w'), '')
$$;

-- The text of a node that stands where one of at least the binding strength "wanted" must be: or 1, and 2, not 3, relation 4,
-- sum 5, product 6, sign 7, atom 8.
CREATE FUNCTION oracle.txt(node jsonb, wanted int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	op text := node ->> 'op';
	neg text := CASE WHEN (node ->> 'neg')::bool THEN oracle.kw('not') || ' ' ELSE '' END;
	s text;
	p int;
BEGIN
	CASE op
		WHEN 'and', 'or' THEN
			p := CASE op WHEN 'or' THEN 1 ELSE 2 END;
			SELECT string_agg(oracle.txt(x, p + 1), ' ' || oracle.kw(op) || ' ' ORDER BY n) INTO s
			FROM jsonb_array_elements(node -> 'x') WITH ORDINALITY u (x, n);
		WHEN 'not' THEN
			p := 3;
			s := oracle.kw('not') || ' ' || oracle.txt(node -> 'x', 4);
		WHEN 'cmp' THEN
			p := 4;
			s := format('%s %s %s', oracle.txt(node -> 'a', 5),
						CASE WHEN node ->> 'f' = '<>' AND random() < 0.2 THEN '!=' ELSE node ->> 'f' END,
						oracle.txt(node -> 'b', 5));
		WHEN 'in' THEN
			p := 4;
			s := format('%s %sin (%s)', oracle.txt(node -> 'a', 5), neg, oracle.list_text(node -> 'list'));
		WHEN 'between' THEN
			p := 4;
			s := format('%s %sbetween %s and %s', oracle.txt(node -> 'a', 5), neg, oracle.txt(node -> 'lo', 5),
						oracle.txt(node -> 'hi', 5));
		WHEN 'like' THEN
			p := 4;
			s := format('%s %s%s %s', oracle.txt(node -> 'a', 5), neg,
						CASE WHEN (node ->> 'ci')::bool THEN 'ilike' ELSE 'like' END, oracle.string_text(node ->> 'pat'));
		WHEN 'contains' THEN
			p := 4;
			s := format(CASE node ->> 'how' WHEN 'one' THEN '%s %scontains %s%s' ELSE '%s %scontains %s (%s)' END,
						oracle.txt(node -> 'a', 5), neg, nullif(node ->> 'how', 'one'), oracle.list_text(node -> 'list'));
		WHEN 'known' THEN
			p := 4;
			s := format('%s is %sknown', oracle.txt(node -> 'a', 5), neg);
		WHEN 'win' THEN
			p := 4;
			s := format('%s %s%s', oracle.txt(node -> 'a', 5), neg, oracle.window_text(node -> 'w'));
		WHEN 'arith' THEN
			p := CASE WHEN node ->> 'f' IN ('+', '-') THEN 5 ELSE 6 END;
			s := format('%s %s %s', oracle.txt(node -> 'a', p), node ->> 'f', oracle.txt(node -> 'b', p + 1));
		WHEN 'shift' THEN
			p := 5;
			s := format('%s %s %s', oracle.txt(node -> 'a', 5), node ->> 'f', node ->> 'iv');
		WHEN 'neg' THEN
			p := 7;
			s := '-' || oracle.txt(node -> 'a', 8);
		WHEN 'lit' THEN
			s := oracle.literal_text(node -> 'v');
			p := CASE WHEN left(s, 1) = '-' THEN 7 ELSE 8 END;
		ELSE
			p := 8;
			s := CASE op
				WHEN 'has' THEN oracle.kw('has') || ' ' || oracle.events_text(node -> 'e')
				WHEN 'no' THEN oracle.kw('no') || ' ' || oracle.events_text(node -> 'e')
				WHEN 'followed' THEN 'followed by ' || oracle.events_text(node) || coalesce(' within ' || (node ->> 'iv'), '')
				WHEN 'preceded' THEN 'preceded by ' || oracle.events_text(node) || coalesce(' within ' || (node ->> 'iv'), '')
				WHEN 'same' THEN 'same ' || oracle.name_text(node ->> 'name')
				WHEN 'name' THEN oracle.name_text(node ->> 'name')
				WHEN 'cust' THEN 'customer.' || oracle.name_text(node ->> 'name')
				WHEN 'count' THEN format('count(%s)', oracle.events_text(node -> 'e'))
				WHEN 'edge' THEN format('%s(%s)', node ->> 'f', oracle.events_text(node -> 'e'))
				WHEN 'agg' THEN format('%s(%s)', node ->> 'f', oracle.events_text(node -> 'e', node ->> 'name'))
				WHEN 'anniv' THEN format('anniversary(%s)', oracle.txt(node -> 'a', 5))
			END;
	END CASE;
	IF s IS NULL THEN
		RAISE 'no text for %', node;
	END IF;
	RETURN CASE WHEN p < wanted OR random() < 0.02 THEN '(' || s || ')' ELSE s END;
END $$;

-- The condition that a moment with start s and end e lies in window w at tt.t.
CREATE FUNCTION oracle.window_sql(w jsonb, s text, e text, of_event bool, entry timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	d text := quote_literal(oracle.iv(w ->> 'iv')) || '::interval';
	u text := quote_literal(w ->> 'u');
	c text;
BEGIN
	IF w IS NULL THEN
		RETURN format('tt.t >= %s', s);
	END IF;
	c := CASE w ->> 'w'
		WHEN 'last' THEN format('tt.t >= %1$s AND tt.t < %1$s + %2$s', s, d)
		WHEN 'ago' THEN format('tt.t >= %s + %s', s, d)
		WHEN 'ago2' THEN format('tt.t >= %1$s + %2$L::interval AND tt.t < %1$s + %3$L::interval', s,
								oracle.iv(w #>> '{d1,iv}'), oracle.iv(w #>> '{d2,iv}'))
		WHEN 'next' THEN format('tt.t >= %s - %s AND tt.t < %s', s, d, e)
		WHEN 'since' THEN format('%s >= %L::timestamptz', s, oracle.start(oracle.iso(w ->> 'l')))
		WHEN 'before' THEN format('%s < %L::timestamptz', s, oracle.start(oracle.iso(w ->> 'l')))
		WHEN 'from' THEN format('%1$s >= %2$L::timestamptz AND %1$s < %3$L::timestamptz', s,
								oracle.start(oracle.iso(w #>> '{t1,l}')), oracle.start(oracle.iso(w #>> '{t2,l}')))
		WHEN 'entry' THEN format('%s > %L::timestamptz', s, entry)
		WHEN 'this' THEN format('tt.t >= oracle.period_at(%1$s, %2$s, 0) AND tt.t < oracle.period_at(%1$s, %2$s, 1)', s, u)
		WHEN 'previous' THEN format('tt.t >= oracle.period_at(%1$s, %2$s, 1) AND tt.t < oracle.period_at(%1$s, %2$s, 1 + %3$s)',
									s, u, coalesce(w ->> 'k', '1'))
		WHEN 'tomorrow' THEN format('tt.t >= oracle.period_at(%1$s, ''day'', -1) AND tt.t < oracle.period_at(%1$s, ''day'', 0)', s)
	END;
	IF of_event AND w ->> 'w' NOT IN ('next', 'tomorrow') THEN
		c := format('tt.t >= %s AND %s', s, c);
	END IF;
	RETURN '(' || c || ')';
END $$;

-- FROM and WHERE of the events e, of alias me.
CREATE FUNCTION oracle.events_sql(e jsonb, me text, entry timestamptz) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN format('FROM oracle.event %1$s WHERE %1$s.profile = c.profile AND %1$s.kind = %2$L AND %3$s', me, e ->> 'kind',
				  oracle.window_sql(e -> 'w', me || '.at', me || '.at', true, entry))
		|| CASE WHEN e ? 'f' THEN format(' AND (%s) IS TRUE', oracle.sql(e -> 'f', me, NULL, 1, entry)) ELSE '' END;
END $$;

-- A node as an SQL expression over c (the customer), tt.t (the instant), me and outr (the innermost event and the
-- one directly outside, inside brackets).  A truth is a boolean, where NULL is "undecided", so that SQL's own AND, OR
-- and NOT are Kleene's; a value is a jsonb as oracle_value.sql has it, where NULL is the unknown.
CREATE FUNCTION oracle.sql(node jsonb, me text, outr text, depth int, entry timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
	op text := node ->> 'op';
	neg text := CASE WHEN (node ->> 'neg')::bool THEN 'NOT ' ELSE '' END;
	a text := CASE WHEN node ? 'a' THEN oracle.sql(node -> 'a', me, outr, depth, entry) END;
	b text := CASE WHEN node ? 'b' THEN oracle.sql(node -> 'b', me, outr, depth, entry) END;
	x text;
	strict_op text;
	d text;
BEGIN
	IF node IS NULL THEN
		RETURN NULL;
	END IF;
	CASE op
		WHEN 'and', 'or' THEN
			SELECT '(' || string_agg(oracle.sql(y, me, outr, depth, entry), ' ' || upper(op) || ' ' ORDER BY n) || ')' INTO x
			FROM jsonb_array_elements(node -> 'x') WITH ORDINALITY u (y, n);
			RETURN x;
		WHEN 'not' THEN RETURN format('(NOT %s)', oracle.sql(node -> 'x', me, outr, depth, entry));
		WHEN 'cmp' THEN RETURN format('oracle.cmp(%s, %L, %s)', a, node ->> 'f', b);
		WHEN 'in' THEN RETURN format('(%soracle.is_in(%s, %L))', neg, a, node -> 'list');
		WHEN 'between' THEN
			RETURN format('(%1$s(oracle.cmp(%2$s, ''>='', %3$s) AND oracle.cmp(%2$s, ''<='', %4$s)))', neg, a,
						  oracle.sql(node -> 'lo', me, outr, depth, entry), oracle.sql(node -> 'hi', me, outr, depth, entry));
		WHEN 'like' THEN RETURN format('(%soracle.is_like(%s, %L, %L))', neg, a, node ->> 'pat', (node ->> 'ci')::bool);
		WHEN 'contains' THEN RETURN format('(%soracle.contains(%s, %L, %L))', neg, a, node ->> 'how', node -> 'list');
		WHEN 'known' THEN RETURN format('(%s IS %sNULL)', a, CASE WHEN (node ->> 'neg')::bool THEN '' ELSE 'NOT ' END);
		WHEN 'win' THEN
			RETURN format('(%sEXISTS (SELECT FROM oracle.moments(%s, tt.t, %L) m WHERE %s))', neg, a,
						  node #>> '{w,w}' IN ('ago', 'since', 'before', 'from', 'entry'),
						  oracle.window_sql(node -> 'w', 'm.s', 'm.e', false, entry));
		WHEN 'has' THEN RETURN format('EXISTS (SELECT %s)', oracle.events_sql(node -> 'e', 'e1', entry));
		WHEN 'no' THEN RETURN format('(NOT EXISTS (SELECT %s))', oracle.events_sql(node -> 'e', 'e1', entry));
		WHEN 'followed', 'preceded' THEN
			x := 'e' || (depth + 1);
			d := quote_literal(oracle.iv(node ->> 'iv')) || '::interval';
			strict_op := CASE WHEN op = 'followed' THEN '>' ELSE '<' END;
			RETURN format('(SELECT CASE WHEN bool_or(q.f) THEN true %s ELSE false END FROM (SELECT (%s) AS f FROM oracle.event %s '
						  'WHERE %3$s.profile = c.profile AND %3$s.kind = %L AND %3$s.at <= tt.t '
						  'AND (%3$s.at %5$s %6$s.at OR %3$s.at = %6$s.at AND %3$s.kind <> %6$s.kind)%s) q)',
				CASE WHEN node ? 'iv' THEN
					format('WHEN tt.t < %s.at%s OR bool_or(q.f IS NULL) THEN NULL', me,
						   CASE WHEN op = 'followed' THEN ' + ' || d ELSE '' END)
					ELSE '' END,
				coalesce(oracle.sql(node -> 'f', x, me, depth + 1, entry), 'true'), x, node ->> 'kind', strict_op, me,
				CASE WHEN NOT node ? 'iv' THEN ''
					 WHEN op = 'followed' THEN format(' AND %s.at <= %s.at + %s', x, me, d)
					 ELSE format(' AND %s.at >= %s.at - %s', x, me, d) END);
		WHEN 'same' THEN
			RETURN format('oracle.cmp(%s.p -> %2$L, ''='', %3$s.p -> %2$L)', me, node ->> 'name', outr);
		WHEN 'lit' THEN RETURN format('%L::jsonb', node -> 'v');
		WHEN 'name' THEN RETURN format('(%s.p -> %L)', coalesce(me, 'c'), node ->> 'name');
		WHEN 'cust' THEN RETURN format('(c.p -> %L)', node ->> 'name');
		WHEN 'arith' THEN RETURN format('oracle.arith(%s, %L, %s)', a, node ->> 'f', b);
		WHEN 'neg' THEN RETURN format('oracle.arith(''{"n": 0}'', ''-'', %s)', a);
		WHEN 'shift' THEN RETURN format('oracle.shift(%s, %L, %L)', a, node ->> 'f', oracle.iv(node ->> 'iv'));
		WHEN 'anniv' THEN RETURN format('(SELECT jsonb_build_object(''y'', v) FROM (SELECT %s) y(v) WHERE v IS NOT NULL)', a);
		WHEN 'count' THEN
			RETURN format('(SELECT jsonb_build_object(''n'', count(*)) %s)', oracle.events_sql(node -> 'e', 'e1', entry));
		WHEN 'edge' THEN
			RETURN format('(SELECT oracle.z(%s(e1.at)) %s)', CASE node ->> 'f' WHEN 'first' THEN 'min' ELSE 'max' END,
						  oracle.events_sql(node -> 'e', 'e1', entry));
		WHEN 'agg' THEN
			RETURN format('(SELECT oracle.agg(%L, array_agg(e1.p -> %L), array_agg(e1.at)) %s)', node ->> 'f', node ->> 'name',
						  oracle.events_sql(node -> 'e', 'e1', entry));
	END CASE;
END $$;

-- The facts, and the truth of an expression at given instants.
CREATE TABLE oracle.customer (profile int PRIMARY KEY, p jsonb, js text);
CREATE TABLE oracle.event (profile int, id int, kind text, at timestamptz, p jsonb, js jsonb);
CREATE INDEX ON oracle.event (profile, kind);

CREATE FUNCTION oracle.truth(who int, expression text, instants timestamptz[]) RETURNS TABLE (at timestamptz, truth bool)
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('SELECT tt.t, %s FROM oracle.customer c, unnest($2) WITH ORDINALITY tt (t, n) '
								'WHERE c.profile = $1 ORDER BY tt.n', expression)
		USING who, instants;
END $$;

-- What every event has besides its own properties.
CREATE FUNCTION oracle.derived(at timestamptz) RETURNS jsonb LANGUAGE sql STABLE
RETURN jsonb_build_object('at', oracle.z(at),
	'hour', jsonb_build_object('n', extract(hour FROM at)), 'weekday', jsonb_build_object('n', extract(isodow FROM at)),
	'day', jsonb_build_object('n', extract(day FROM at)), 'week', jsonb_build_object('n', extract(week FROM at)),
	'month', jsonb_build_object('n', extract(month FROM at)), 'year', jsonb_build_object('n', extract(year FROM at)),
	'date', jsonb_build_object('d', at::date), 'week_of', jsonb_build_object('d', date_trunc('week', at::timestamp)::date),
	'month_of', jsonb_build_object('d', date_trunc('month', at::timestamp)::date));

-- Stores a profile given as JSON.
CREATE FUNCTION oracle.store(who int, j jsonb) RETURNS void LANGUAGE sql AS $$
	INSERT INTO oracle.customer VALUES (who, oracle.typed_all(coalesce(j -> 'attributes', '{}')), j::text);
	INSERT INTO oracle.event
	SELECT who, n, e ->> 'kind', (e ->> 'at')::timestamptz,
		   oracle.typed_all(e - '{kind,at}'::text[]) || oracle.derived((e ->> 'at')::timestamptz), e - '{kind,at}'::text[]
	FROM jsonb_array_elements(j -> 'events') WITH ORDINALITY u (e, n);
$$;

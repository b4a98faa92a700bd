-- The language: what is refused, and what the person who wrote it is told.
SET search_path = crm, public;
\pset format unaligned
\pset tuples_only on

CREATE FUNCTION public.refuse(VARIADIC sources text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	source text;
	message text;
	detail text;
	hint text;
	differs boolean;
BEGIN
	FOREACH source IN ARRAY sources LOOP
		BEGIN
			message := 'ACCEPTED as ' || (source::crm.predicate)::text;
			detail := '';
			hint := '';
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			-- where the server can ask for it softly, the same is said
			IF current_setting('server_version_num')::int >= 160000 THEN
				EXECUTE 'SELECT ($2, $3, $4, $5) IS DISTINCT FROM (e.message, coalesce(e.detail, ''''), coalesce(e.hint, ''''), e.sql_error_code)
					FROM pg_input_error_info($1, ''crm.predicate'') e' INTO differs USING source, message, detail, hint, SQLSTATE;
				IF differs THEN
					RETURN NEXT 'ANOTHER ERROR, SOFTLY, THAN FOR:';
				END IF;
			END IF;
			message := SQLSTATE || ' ' || message;
		END;
		RETURN NEXT '[ ' || CASE WHEN length(source) > 100 THEN left(source, 100) || ' ...' ELSE source END || ' ]';
		RETURN NEXT '  ' || message;
		IF detail <> '' THEN
			RETURN NEXT '  ' || detail;
		END IF;
		IF hint <> '' THEN
			RETURN NEXT '  ' || hint;
		END IF;
	END LOOP;
END
$function$;

-- Characters and words
SELECT public.refuse('', '   ', 'a # 1', 'a ; b', 'a = 5 % 2', 'a == 1', 'a => 1', 'a =< 1', 'a = 1 && b = 2', 'a = 1 & b = 2',
	'a = 1 || b = 2', '!a', 'a = `x`', 'has order{amount > 1}', 'a /* x */ = 1', 'a = $1', 'a = @b',
	'a = ''x', 'a = ''x''''', '"a = 1', '"" = 1', 'a = 5abc', 'a = 1.5.5', 'a = 1..5', 'a = 1e5', 'a = 5days', 'x in last 30d',
	'x in last 2h', 'a = 1_000', 'a = 0x1F', 'a = .', 'a--5 = 1', 'count(a) >= 3 -- loyal', 'a = 1--', 'a.', 'a . 5', 'a = 1 .', '}', 'a | b', 'a = ?');

-- What word processors make of quotes, dashes and blanks
SELECT public.refuse('city = ‘Москва’', 'city = “Moscow”', 'city = «Москва»', 'count(order) – 1 > 2', 'count(order) ≥ 3', 'count(order) ≤ 3', 'a ≠ 1', 'a = 2 × b',
	'a =' || U&'\00A0' || '1', 'город = ''Тверь'' и район = ''Центр''', 'город = ''' || repeat('ж', 50));

-- Junctions and parentheses
SELECT public.refuse('a = 1 and', 'and a = 1', 'a = 1 and or b = 2', 'or', 'not', 'a = 1 not b = 2', 'not not a = 1', '(a = 1', 'a = 1)',
	'((a = 1)', '()', 'a = ()', 'a = 1 (b = 2)', 'a = 1 or', 'a = 1 b = 2', 'has order city = 1', 'has order has view', 'a = 1, b = 2', 'a = 1 adn b = 2', 'a = 1 an b = 2',
	'has order ro has view', 'a = (1', 'a = 1]', '[a = 1]', 'a not', 'a not 5', 'a not is known', 'a not known', 'a not = 1', 'a = not b');

-- Relations
SELECT public.refuse('a =', '= 1', 'a < b < c', 'a = b = c', 'a = 1 > 2', 'a is null', 'a is not null', 'count(order) is null', 'a is true',
	'a is not false', 'a is ''x''', 'a is not 5', 'a is', 'a is not', 'a is unknown', 'a is knwon', 'a in', 'a in 5', 'a in ''x''', 'a in ()', 'a in (b)',
	'a in ("x")', 'a in (1 2)', 'a in (1,', 'a in (1,)', 'a in (1', 'a in (1 + 2)', 'a in (null)', 'a in b', 'a in segment ''vip''',
	'a between 1', 'a between 1 and', 'a between 1, 5', 'a between 1 or 5', 'a between', 'a like', 'a like 5', 'a like b', 'a like "x"',
	'a like ''x\''', 'a ilike ''\\\''', 'a contains', 'a contains b', 'a contains "x"', 'a contains (1, 2)', 'a contains any', 'a contains any 1',
	'a contains all ()', 'a contains any (1,)', 'a contains (null)', 'a contains null', 'a contians ''x''', 'a = 1 in last 3 days', 'count(order) > 3 in last 30 days', 'count(order) > 3 this month',
	'a = 1 where b = 2', 'a = null and b is null', 'a null', 'count(order) null', 'like ''x''', 'between 1 and 2', '* > 1', 'a is known * 2', 'a = ''x'' ''y''');

-- Windows and intervals
SELECT public.refuse('has order in last month', 'has order in last days', 'has order in next week', 'has order in 3 days', 'has order in this month',
	'has order in previous month', 'has order in last', 'has order in last ''3 days''', 'has order in last x', 'has order in last 3',
	'has order in last 3 dyas', 'has order in last 3 mon', 'has order in last 5 min', 'has order in last 3 foo', 'has order in last 3 "days"',
	'has order in last 0 days', 'has order in last -3 days', 'has order in last 1.5 days', 'has order in last 1 day 0 hours',
	'has order in last 10001 years', 'has order in last 99999999999999999999 days', 'has order in last 9223372036854775807 seconds',
	'has order in last 9000 years 4000 quarters 3 months', 'has order in last 9999999999 weeks',
	'has order last 3 days', 'has order next 3 days', 'has order within 3 days', 'has order 3 days ago', 'has order ago',
	'has order since 3 months ago', 'has order since 3 months', 'has order since 1 month 2 days', 'has order since 2026-01-01', 'has order since',
	'has order since yesterday', 'has order since ''yesterday''', 'has order since ''2026-02-30''', 'has order since ''2026-13-01''',
	'has order before 3 months', 'has order before 3 ago', 'has order before', 'has order before yesterday', 'has order before ''x''',
	'has order before 2026-01-01', 'has order before last month', 'has order since ''2026-01-01 25:00''', 'has order since ''31.12.2026''',
	'has order between 7 days and 8 days', 'has order between 8 days and 7 days ago', 'has order between 1 week and 7 days ago',
	'has order between 1 month and 30 days ago', 'has order between 7 and 8 days ago', 'has order between 7 days ago and 8 days ago',
	'has order between ''2026-01-02'' and ''2026-01-01''', 'has order between ''2026-01-01'' and ''2026-01-01''',
	'has order between ''2026-01-02T00:00:00Z'' and ''2026-01-02T03:00:00+03''', 'has order between ''2026-01-03'' and ''2026-01-01T00:00:00Z''',
	'has order between ''x'' and ''y''',
	'has order between ''2026-01-01'' and 3 days ago', 'has order between',
	'x between 7 days and 8 days', 'x between 8 days and 7 days ago', 'x between 7 days and 5', 'x between ''2026-01-02'' and ''2026-01-01''',
	'x between 1 day and ''2026-01-01''',
	'has order this', 'has order this months', 'has order this monht', 'has order this 3 months', 'has order previous', 'has order previous months',
	'has order previous 0 months', 'has order previous 1.5 months', 'has order previous 3', 'has order previous 3 moons',
	'has order previous 20000 years', 'has order tody', 'x tomorow', 'x sinse ''2026-01-01''', 'x in last 3 days ago', 'x not last 3 days',
	'has order in last 3 days in last 5 days', 'has order not in last 3 days', 'no order not in last 3 days', 'x today today');

-- Names, events and aggregates
SELECT public.refuse('has', 'no', 'has in', 'has ''order''', 'has 5', 'has no order', 'has not order', 'has order.amount > 5', 'has order(amount > 5)',
	'has count(order)', 'has orders > 3', 'no order = 0', 'has order = true', 'has order[amount > 5', 'has order[]', 'has order[amount]',
	'has order[amount > 5].status = 1', 'has order amount > 5', 'has order where amount > 5', 'has order[amount > 5][b = 1]', 'has order city', 'no order is known', 'not has',
	'> 3 orders', 'count(order) > 3 orders', 'a > 3 dollars', 'a > 3 month', 'a > 3 dayz',
	'count()', 'count(*) > 1', 'count order > 1', 'count(order', 'count(order.item) > 1', 'count(distinct order.item) > 1', 'count(order > 3)',
	'count(order, view) > 1', 'count(order) > 3, a = 1', 'a > 1 b > 2', 'a > 1 last(b.c) > 2', 'count(order where a = 1) > 1', 'count(has order) > 1', 'count(order) in last 3 days', 'count(order in last 3 days) in last 5 days',
	'sum(order) > 1', 'sum(amount) > 1', 'sum(order in last 3 days) > 1', 'sum(order in last 3 days.amount) > 1', 'first(order in last 3 days.amount) > 1', 'sum(order.amount) in last 3 days',
	'sum(order.) > 1', 'sum(has order) > 1', 'sum(order.amount[a = 1]) > 1', 'sum(order.amount.x) > 1', 'sum(order.amount * 2) > 1', 'avg(order) > 1', 'distinct(order) > 1',
	'cuont(order) > 1', 'average(order.amount) > 1', 'total(order.amount) > 1', 'foo(order) > 1', 'now() > a', 'date(a) = b', '"count"(order) > 1',
	'order.amount > 5', 'has order[order.amount > 5]', 'customer.city = 1', 'has order[customer = 1].x',
	'interval ''3 days'' > 1', 'a > interval ''3 days''', 'a > date ''2026-01-01''', 'bucket() < 50', 'bucket(5) < 50', 'bucket(a) < 50',
	'bucket(''a'', 5) < 1', 'bucket(''a''', 'anniversary() today', 'anniversary(birthday', 'anniversary(birthday) and a = 1',
	'in segment', 'in segment vip', 'in segment "vip"', 'in vip', 'in (1)', 'in segment -1', 'in segment 1.5', 'in segment 2147483648',
	'in segment ''a'' = true', 'nearest in segment 1',
	repeat('a', 256) || ' = 1', '"' || repeat('a', 256) || '" = 1', 'a = ' || repeat('1', 1001));

-- Brackets
SELECT public.refuse('has a[count(b) > 1]', 'has a[has b]', 'has a[no b]', 'has a[first(b) today]', 'has a[last(b.x) = 1]', 'has a[in segment ''x'']',
	'has a[bucket(''x'') < 5]', 'followed by b', 'a = 1 and not preceded by b', 'same item', 'same "item" = 1', 'has a[same item]',
	'has a[followed by b[same]]', 'has a[followed by b[same 5]]', 'has a[followed by b[same in]]', 'has a[followed by b and same x]',
	'has a[followed b]', 'has a[followed by]', 'has a[followed by 5]', 'has a[followed by b within]', 'has a[followed by b within 3]', 'has a[followed by b within day]',
	'has a[followed by b within 0 days]', 'has a[followed by b within -1 days]', 'has a[followed by b in last 3 days]', 'has a[preceded by b in 3 days]', 'has a[followed by b today]',
	'has a[followed by b.x]', 'has a[followed by b within 1 hour ago]', 'has a[customer.]', 'has a[x = customer.city.x]',
	'has a[followed by b[followed by c[followed by d[followed by e[x = 1]]]]]', 'has a[x', 'has a[followed by b[x = 1]', 'has a[x = 1)]');

-- Parts that do not fit together
SELECT public.refuse('reachable', 'not reachable', 'a and b', 'a = 1 or reachable', '(city)', '''x''', '5', '-5', '''2026-01-01''', 'count(order)', 'last(order.paid)',
	'a + 1', '-a', 'first(order)', 'x + 1 day', 'anniversary(birthday)', '3 days', 'bucket(''x'')', 'has a[customer.x]', 'not count(order)',
	'first(order) > 10', 'last(order[a = 1]) <= 10', '10 < first(order)', 'first(order) > ''x''', 'first(order) = true', 'first(order) > count(order)',
	'first(order) between 1 and 5', 'first(order) between registered and 5', '5 between first(order) and x', 'first(order) in (1, 2)',
	'first(order) in (''2026-01-01'', ''x'')', 'x + 1 day > 5', 'first(order) like ''2026%''', 'first(order) contains 5', 'x + 1 day ilike ''a''',
	'a > 3 days', '3 days < a', '3 days = 3 days', 'a = (b = c)', '(a = 1) = true', '(a = 1) is known', 'has order is known', '(a = 1) in (true)', '(a = 1) like ''x''',
	'now - registered > 3 days', '3 days is known', '3 days in (1)', '3 days today', '(3 days) in last 5 days',
	'5 in last 3 days', '''x'' in last 3 days', 'true today', 'count(order) today', 'a * 2 today', 'bucket(''x'') today', '(a = 1) in last 3 days', 'has order[a = 1] not today',
	'first(order) - last(order) > 1', 'first(order) - registered > 1', 'registered - first(order) > 1', 'first(order) + 5 > 1', 'first(order) * 2 > 1',
	'-first(order) = 1', 'x * 3 days = 1', 'x / 1 day > 3', '3 days + x > y', '3 days + 5 days = x', '3 days * 2 = x', '5 + 3 days > x', 'count(order) - 1 day > x',
	'-3 days > x', 'x + -3 days > y', 'x + (3 days) * 2 > y', '-(3 days) > x', 'a + true = 1', '''5'' * 2 = a', 'a - ''2026-01-01'' > 5', '-''x'' = a', '-true = a', '(a = 1) + 1 = 2',
	'has order + 1 > 2', 'anniversary(birthday) > ''2026-01-01''', 'anniversary(birthday) is known', 'anniversary(birthday) + 1 day = x', 'anniversary(birthday) in (''2026-01-01'')',
	'x between anniversary(birthday) and y', 'anniversary(birthday) between ''2026-01-01'' and x', 'anniversary(anniversary(birthday)) today',
	'anniversary(anniversary(birthday) + 1 day) today', 'anniversary(5) today', 'anniversary(''x'') today', 'anniversary(3 days) today', 'anniversary(a = 1) today',
	'anniversary(count(order)) today', 'anniversary(has order) today');

-- Limits
SELECT public.refuse(repeat('(', 129) || 'a = 1' || repeat(')', 129), repeat('(', 100000) || 'a = 1', repeat('not (', 65) || 'a = 1' || repeat(')', 65),
	repeat('not ', 129) || 'a = 1', repeat('-(', 65) || 'a' || repeat(')', 65) || ' = 1', repeat('anniversary(', 100) || repeat('(', 100), 'has ' || repeat('a[followed by ', 10000),
	'a = ''' || repeat('x', 262144) || '''', 'a = 1' || repeat(' or a = 1', 20000), 'a in (' || repeat('1,', 131070) || '1)',
	'a!=''' || repeat('x', 262138) || '''');
SELECT length((repeat('(', 128) || 'a = 1' || repeat(')', 128))::predicate::text),
	length((repeat('not (', 64) || 'a = 1' || repeat(')', 64))::predicate::text),
	length(('a = 1' || repeat(' or a = 1', 6665))::predicate::text);
SELECT (repeat('not (', 64) || 'a = 1' || repeat(')', 64))::predicate && (repeat('not (', 64) || 'a = 1' || repeat(')', 64))::predicate IS NOT NULL;
SELECT !! (repeat('not (', 64) || 'a = 1' || repeat(')', 64))::predicate;

-- Positions are counted in characters, over lines too
SELECT 'a = 1
and b ==
2'::predicate;

DROP FUNCTION public.refuse;

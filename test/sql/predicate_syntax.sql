-- The language: what is read, and how it is printed. Each predicate is shown as it is printed; "same" tells that it was
-- written that way already. What is printed must read back to the same bytes.
SET search_path = crm, public;
\pset format unaligned
\pset tuples_only on
\pset fieldsep ' | '

CREATE FUNCTION public.show(VARIADIC sources text[]) RETURNS SETOF text
	LANGUAGE plpgsql AS $function$
DECLARE
	source text;
	printed text;
BEGIN
	FOREACH source IN ARRAY sources LOOP
		printed := source::crm.predicate::text;
		IF printed::crm.predicate::text <> printed THEN
			RAISE EXCEPTION 'printed % reads back as %', printed, printed::crm.predicate::text;
		END IF;
		RETURN NEXT CASE WHEN printed = source THEN 'same: ' ELSE source || E'\n   -> ' END || printed;
	END LOOP;
END
$function$;

-- Examples a marketer begins with
SELECT public.show(
	$$has order and no order in last 90 days$$,
	$$city = 'Moscow' and registered is known and no order in last 1 month$$,
	$$has cart[not followed by order within 1 hour] in last 1 day$$,
	$$anniversary(birthday) in next 30 days$$,
	$$has purchase[item = 'SKU-7'] in last 1 month$$,
	$$has purchase[category = 'laptop'] between 7 days and 8 days ago$$,
	$$has click[campaign = 'accessories' and not followed by order within 2 days] in last 3 days$$,
	$$most(view.item in last 14 days) >= 3 and no order in last 14 days$$,
	$$count(purchase) >= 3 and distinct(purchase.brand) = 1$$,
	$$avg(order.amount in last 90 days) <= avg(order.amount before 90 days ago)$$,
	$$has delivery[at > promised + 1 hour] in last 7 days$$,
	$$first(order) in last 7 days and first(order) before 1 day ago$$,
	$$distinct(order.month_of previous 6 months) = 6$$,
	$$profession = 'medic' and '2026-06-21' in next 3 days$$,
	$$next_order in next 5 days and not reachable contains 'email'$$,
	$$not x < 5$$,
	$$last(order.status) <> 'done'$$,
	$$a <> b$$);

-- Junctions: precedence, needless parentheses, chains laid open, order kept
SELECT public.show(
	'true', 'false', 'not true', '((true))',
	'a = 1 or b = 2 and c = 3',
	'(a = 1 or b = 2) and c = 3',
	'a = 1 or (b = 2 and c = 3)',
	'a = 1 and (b = 2 and c = 3)',
	'(a = 1 or b = 2) or (c = 3 or (d = 4 or e = 5))',
	'a = 1 and (b = 2 or c = 3) and (d = 4 and (e = 5 or f = 6))',
	'not a = 1 and b = 2',
	'not (a = 1 and b = 2)',
	'not (a = 1)',
	'not (not a = 1)',
	'not (not (not a = 1))',
	'not (has order)', 'not no order', 'not (a = 1 or not b = 2)',
	'b = 2 and a = 1 and b = 2');

-- not: goes into the relations that have a negated form, once
SELECT public.show(
	'not x in (1)', 'x not in (1)', 'not (x in (1))', 'not x not in (1)', 'not (x not in (1))',
	'not x between 1 and 2', 'x not between 1 and 2', 'not x not between 1 and 2',
	'not x like ''a%''', 'x not like ''a%''', 'not x ilike ''a%''', 'x not ilike ''a%''', 'not x not like ''a''',
	'not x contains 1', 'x not contains 1', 'not x not contains any (1)',
	'not x is known', 'x is not known', 'not x is not known',
	'not x in last 1 day', 'x not in last 1 day', 'not x today', 'x not today', 'not x not since ''2026-01-01''',
	'x not between 1 day and 2 days ago', 'not x between ''2026-01-01'' and ''2026-02-01''',
	'not x = 1', 'not in segment ''vip''', 'not has order', 'not true');

-- Relations
SELECT public.show(
	'a = 1', 'a <> 1', 'a != 1', 'a < 1', 'a <= 1', 'a > 1', 'a >= 1', 'a=b', '1 < a', '''x'' = a', 'a = true', 'true = a',
	'a in (1, -2, ''x'', true, false, 1, 1.50, ''2026-01-01'')', 'a in(1,2,3)',
	'a between 1 and 5', 'a between b + 1 and c * 2', 'a between ''b'' and ''c''', 'a between ''2026-01-01'' and b',
	'a between b + 1 day and c - 1 day', 'a between ''2026-01-01'' and ''zzz''',
	'a like ''Mos%''', 'a ilike ''mos_ow''', 'a like ''100\%''', 'a like ''\\''', 'a like ''''',
	'a contains ''x''', 'a contains -1', 'a contains true', 'a contains any (''x'', ''y'')', 'a contains all (1)',
	'a is known', 'count(order) is known', 'first(order) is not known', 'true is known');

-- Arithmetic: only the parentheses that matter stay
SELECT public.show(
	'a + b + c = 1', '(a + b) + c = 1', 'a + (b + c) = 1', 'a - (b - c) = 1', '(a - b) - c = 1', 'a + (b - c) = 1',
	'a * b * c = 1', 'a * (b * c) = 1', 'a / (b / c) = 1', '(a / b) / c = 1',
	'a + b * c = 1', '(a + b) * c = 1', 'a * (b + c) = 1', '(a * b) + c = 1', 'a / (b + c) - d = 1',
	'-a = 1', '- a = 1', '-(a) = 1', '-(a + b) = 1', '-(a * b) = 1', '-a * b = 1', '-(-a) = 1',
	'-5 = a', '- 5 = a', '- -5 = a', '-(5) = a', '-(-5) = a', '-(-(-5)) = a', '-0 = a', '-(0) = a', '- -0 = a',
	'a -5 = 1', 'a - -5 = 1', 'a * -5 = 1', 'a - (-5) = 1', '-5 * a = 1', '-(5 * a) = 1',
	'-count(order) < 0', 'sum(order.amount) / count(order) > 100');

-- Numbers
SELECT public.show(
	'a = 0', 'a = 007', 'a = 1.50', 'a = 1.0', 'a = 1.', 'a = .5', 'a = -.50', 'a = 0.0', 'a = -0.00', 'a = 10', 'a = 100.00',
	'a = 123456789012345678901234567890.123456789012345678901234567890',
	'a = 0.000000000000000000000000000000000001', 'a = 00000000000000000000000000000000.10000000000000000000000000000000',
	'a = 9223372036854775807', 'a = 9223372036854775808', 'a = -9223372036854775808', 'a = 1000000000000000000000');
SELECT length(('a = ' || repeat('9', 1000))::predicate::text), length(('a = 0.' || repeat('0', 998))::predicate::text);

-- Strings, and those that are dates
SELECT public.show(
	'a = ''''', 'a = ''O''''Hara''', 'a = ''""''', 'a = ''back\slash''',
	'a = ''2026-01-01''', 'a = ''2026-02-30''', '''2026-06-21'' today', '''2026-06-21 12:00'' in next 3 days',
	'''2026-06-21T12:00:00Z'' in last 3 days', '''2026-01-01'' + 1 day in last 3 days');
SELECT 'a = ''two
lines''
	and
b   =	1'::predicate;

-- Names: folded, quoted when they must be
SELECT public.show(
	'City = 1', '"City" = 1', '"city" = 1', '"a b" = 1', '"a""b" = 1', 'a$b = 1', '_a = 1', '"1a" = 1', '"a-b" = 1',
	'"and" = 1', '"true" = 1',
	'first = 1', 'day = 1', 'days = 1', 'count = 1', 'followed = 1', 'same = 1', 'customer = 1', 'since = 1', 'today = 1',
	'segment = 1', 'any = 1', 'known = 1', 'entry = 1', 'bucket = 1', 'by = 1', 'quarter > year', 'null = 1', 'weekday = 1',
	'today today', 'last in last 3 days', 'same today', 'this this month', 'previous is known', 'count + min > max',
	'has count', 'has "order item"', 'has day[month = 3 and hour >= 18]', 'sum(first.last) > 1', 'has "has"',
	'has order["in" = 1]', 'has cart[followed by order[same "today"]]', 'has cart[followed by order[same today]]',
	'has cart[followed by order[same day and same "Item"]]', 'has order[customer.first = first]', 'has customer[customer = 1]');

-- Keywords in any case
SELECT public.show(
	'HAS Order AND NO order IN LAST 90 DAYS', 'NOT x IS NOT KNOWN', 'Count(order In Last 3 Days) > 1', 'x = TRUE',
	'x Between 3 Days And 1 Week Ago');

-- Windows
SELECT public.show(
	'x in last 3 days', 'x in last 1 day', 'x in last 1 days', 'x in last 2 day', 'x in next 1 week 2 days',
	'x in last 1 year 2 quarters 3 months 4 weeks 5 days 6 hours 7 minutes 8 seconds', 'x in last 01 months',
	'x in last 2.0 days', 'x in last 1 day 1 day', 'x in last 10000 years', 'x in last 5270400000 minutes',
	'x before 3 months ago', 'x before 1 day 12 hours ago', 'x between 7 days and 8 days ago', 'x between 1 day and 25 hours ago',
	'x between (7 days) and (8 days) ago',
	'x between ''2026-01-01T03:00:00+03'' and ''2026-01-01''',
	'x since ''2026-01-01''', 'x since ''2026-01-01 10:00''', 'x since ''2026-01-01T10:00:00+03''', 'x since entry',
	'x before ''2026-01-01''', 'x between ''2026-01-01'' and ''2026-01-02''', 'x between ''2026-01-01'' and ''2026-01-01 00:01''',
	'x today', 'x yesterday', 'x tomorrow', 'x this day', 'x previous day', 'x previous 1 day', 'x previous 1 days',
	'x this hour', 'x this week', 'x this month', 'x this quarter', 'x this year', 'x previous month', 'x previous 6 months',
	'x previous 1 month', 'x previous 2 quarter', 'x previous second');

-- Moments before a window
SELECT public.show(
	'first(order) in last 7 days', 'last(order[amount > 10] this year) before 1 day ago', 'max(order.at) in last 7 days',
	'x + 1 day in last 7 days', 'x - 1 day + 2 hours in last 7 days', 'first(order) + 1 month today',
	'(x + 1 day) - 1 hour today', 'anniversary(birthday) today', 'anniversary(first(order)) in next 3 days',
	'anniversary(birthday) - 3 days today', 'anniversary(birthday + 1 day) - 3 days today', 'x > y + 1 day',
	'first(order) > registered', 'first(order) > ''2026-01-01''', 'first(order) in (''2026-01-01'', ''2026-02-01'')',
	'first(order) between registered and registered + 3 days', 'last(order) - 1 hour < last(visit)');

-- Events and aggregates
SELECT public.show(
	'has order', 'no order', 'has order today', 'has order in last 3 days', 'has order in next 3 days', 'no order this month',
	'has order between 1 day and 2 days ago', 'has order between ''2026-01-01'' and ''2026-02-01''', 'no order since entry',
	'has order before ''2026-01-01''', 'has order previous 2 weeks', 'has order[true]', 'has order[(amount > 1)]',
	'has order[amount > 1 and (status = ''paid'' or status = ''sent'')] yesterday',
	'count(order) = 1', 'count(order[amount > 5] in last 1 day) = 1', 'count( order ) = 1',
	'sum(order.amount) > 1', 'avg(order.amount this year) > 1', 'min(order.amount) > 1', 'max(order.amount) > 1',
	'first(order.status) = 1', 'last(order[a = 1].status in last 3 days) = 1', 'distinct(order.item) > 1',
	'most(order.item) > 1', 'mode(order.item) = ''SKU''', 'mode(order.item) = last(view.item)',
	'last(delivery.promised) before 1 day ago', 'bucket(''spring'') < 50', 'bucket('''') < 50',
	'in segment ''vip''', 'in segment 12', 'in segment ''vip'' and not in segment ''it''''s''',
	'count(order) in (1, 2)', 'count(order) between 1 and 5', 'has order in last 3 days and x in (1)');

-- Brackets
SELECT public.show(
	'has a[x = customer.x]', 'has a[at in last 3 days]', 'has a[at today and at since entry]', 'has a[anniversary(x) today]',
	'has a[x contains any (1, 2) and x is known]', 'has a[followed by b]', 'has a[not followed by b within 1 hour]',
	'has a[preceded by b[x = 1] within 1 day 2 hours]', 'has a[followed by b[same item and same "Brand"]]',
	'has a[followed by b and preceded by c]', 'has a[(followed by b or x = 1) and not (preceded by c)]',
	'has a[followed by b[followed by c[followed by d[x = 1]]]]',
	'has a[followed by b[preceded by c[same x] within 2 days and same y] within 1 day] in last 3 days',
	'count(a[followed by a[same x]]) > 1', 'has a["followed" = 1 and followed > 2]');

-- Joining
SELECT 'a = 1'::predicate && 'b = 2';
SELECT 'a = 1'::predicate && 'b = 2' && 'c = 3';
SELECT 'a = 1'::predicate && ('b = 2'::predicate && 'c = 3');
SELECT 'a = 1 or b = 2'::predicate && 'c = 3 or d = 4';
SELECT 'a = 1 or b = 2'::predicate || 'c = 3 or d = 4';
SELECT 'a = 1 and b = 2'::predicate || 'c = 3 and d = 4';
SELECT 'not a = 1'::predicate && 'not b = 2';
SELECT !! 'a = 1'::predicate, !! 'a = 1 and b = 2'::predicate, !! 'not a = 1'::predicate, !! 'x in (1)'::predicate,
	!! 'x not in (1)'::predicate, !! 'has order'::predicate, !! !! 'no order'::predicate;
SELECT 'a = 1'::predicate && NULL IS NULL;

-- What it depends on
SELECT event_kinds($$has order and no view[followed by click[preceded by "Open"]] and first(order) today and a = 1$$),
	event_kinds('a = 1'), event_kinds($$sum(z.a) > max(y.b) or count(y) > 1$$);
SELECT attributes($$has order[amount > customer.cap and status = 'x'] and city = 'Moscow' and anniversary(birthday) today
	and has a[followed by b[same c and d = customer.city]] and b + last(order.e) > 1$$), attributes('has order');

-- Made from text
SELECT predicate('has   order'), 'has   order'::text::predicate, predicate(NULL::text) IS NULL;

DROP FUNCTION public.show;

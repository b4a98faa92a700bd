-- What is mutated: predicates with every construct of the language, profiles with every kind of value, and scraps to
-- put into them.  All texts are valid as they stand here.

CREATE TABLE mutation.predicate (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text, tokens text[]);

INSERT INTO mutation.predicate (source) VALUES
	($$has order and no order in last 90 days$$),
	($$city = 'Moscow' and registered is known and no order in last 1 month$$),
	($$has cart[not followed by order within 1 hour] in last 1 day$$),
	($$anniversary(birthday) in next 30 days$$),
	($$has purchase[category = 'laptop'] between 7 days and 8 days ago or no purchase[item = 'SKU-7'] in last 1 month$$),
	($$has click[campaign = 'accessories' and not followed by order within 2 days] in last 3 days$$),
	($$most(view.item in last 14 days) >= 3 and no order in last 14 days$$),
	($$count(purchase) >= 3 and distinct(purchase.brand) = 1$$),
	($$avg(order.amount in last 90 days) <= avg(order.amount before 90 days ago)$$),
	($$has delivery[at > promised + 1 hour] in last 7 days$$),
	($$first(order) in last 7 days and first(order) before 1 day ago$$),
	($$distinct(order.month_of previous 6 months) = 6$$),
	($$profession = 'medic' and '2026-06-21' in next 3 days$$),
	($$next_order in next 5 days and not reachable contains 'email'$$),
	($$x in (1, -2.50, 'a', true, false) or x not in ('2026-01-01')$$),
	($$x between 1 and 2 or x not between a + 1 and a * 2 / 3 - -4$$),
	($$city like 'Mos%' and city not ilike '_ос%' or "Weight, kg" <> 1.5$$),
	($$tags contains any ('a', 'b') and tags not contains all ('c') and sizes contains 3$$),
	($$not (a is known and not b is not known or true = false)$$),
	($$sum(order.amount this month) > sum(order.amount previous month) * 1.1$$),
	($$min(order.amount since '2025-01-01') + max(order.amount before '2026-01-01 10:00') > 0$$),
	($$mode(view.item between '2025-01-01' and '2026-06-01T00:00:00Z') = 'SKU-1'$$),
	($$last(order.status) <> 'done' and first(order.amount) = 100.10$$),
	($$has order today or has order yesterday or has visit tomorrow or has order this week$$),
	($$count(order previous 3 quarters) > 0 and count(order this year) = 0 and has order[hour >= 18 and weekday in (6, 7)]$$),
	($$has enter since entry and count(order since entry) < 2$$),
	($$bucket('salt') < 50 and bucket('salt') >= 10$$),
	($$anniversary(dates) - 3 days this week or anniversary(first(order)) in last 1 day$$),
	($$first(order) + 1 month 2 days 3 hours in next 1 week and last(order) - 1 year before '2026-01-01'$$),
	($$has order[amount > 10 and followed by order[same item and amount < 5 and preceded by cart[same item] within 2 days]]$$),
	($$has order[followed by view[followed by cart[followed by order[same item] within 1 day] within 3 hours] within 9 days]$$),
	($$has order[customer.city = 'Moscow' and at in last 40 days and due between '2026-01-01' and '2026-02-01']$$),
	($$has order[month = 1 and day = 5 and year = 2026 and week = 2 and date = '2026-01-05' and week_of < month_of]$$),
	($$registered + 2 days before 3 days ago and registered not in last 1 hour and birthday not today$$),
	($$-count(order) * (2 + 3) / -(4 - a) < 0.000001 and 3 / 0 = 1$$),
	($$min(order.due) in last 2 months and max(order.at) between 1 day and 26 hours ago$$),
	($$has visit in next 2 weeks and has visit previous hour or has visit this minute or count(visit previous 90 seconds) > 1$$),
	($$first = 1 and day = 2 and "count" = 3 and "has" = 4 and same = 5 and "a ""b""" = 'it''s'$$),
	($$amount > sum(order[item = 'SKU-1' and not preceded by order within 30 minutes].amount in last 1 year)$$),
	($$has order["2026-01-05" = 1 and gift = true and tags contains 'a' and status is not known]$$);

-- A word, number, quoted text or sign is a token.
CREATE FUNCTION mutation.tokens(source text) RETURNS text[] LANGUAGE sql IMMUTABLE
RETURN ARRAY(SELECT m[1] FROM regexp_matches(source, $$('(?:[^']|'')*'|"(?:[^"]|"")*"|\w+(?:\.\d+)?|<=|>=|<>|\S)$$, 'g') m);

UPDATE mutation.predicate SET tokens = mutation.tokens(source);

CREATE TABLE mutation.profile (n int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, source text, tokens text[]);

INSERT INTO mutation.profile (source) VALUES
	($${"attributes": {}, "events": []}$$),
	($${"customer": 42, "attributes": {"city": "Moscow", "birthday": "1990-01-03", "age": 36, "vip": true}, "events": []}$$),
	($${"customer": -7, "attributes": {"registered": "2025-12-31T21:00:00Z", "tags": ["a", "b"], "sizes": [3, 3.50],
		"dates": ["1996-02-29", "2000-12-31"], "Weight, kg": 0.5, "2026-01-05": 1, "x": null},
		"events": [{"kind": "order", "at": "2026-01-05T07:00:00Z", "amount": 100.10, "tags": ["a", "b"]}]}$$),
	($${"customer": 9223372036854775807, "attributes": {"x": -123456789012345678901234567890.12, "y": {"text": "2026-01-05"},
		"z": {"date": "infinity"}, "t": {"instant": "-infinity"}, "u": {"date": "0044-03-15 BC"}}, "events": [
		{"kind": "cart", "at": "2026-01-04T10:30:00.000001+03:00", "item": "SKU-1", "amount": 5},
		{"kind": "order", "at": "2026-01-04T10:40:00+03:00", "item": "SKU-1", "amount": 5, "due": "2026-01-09", "gift": true},
		{"kind": "order", "at": "2026-01-04 07:40:00Z", "item": "SKU-2", "amount": 4.50, "status": "done"},
		{"kind": "view", "at": "2026-01-01T00:00:00Z", "item": "SKU-1"}, {"kind": "view", "at": "2025-10-26T01:30:00Z", "item": "SKU-1"},
		{"kind": "visit", "at": "2026-01-07T09:00:00Z"}]}$$),
	($${"attributes": {"naïve \"x\" \\ \u00e9\ud83d\ude00": "tab\there"}, "events": [
		{"kind": "purchase", "at": "2025-12-01T00:00:00Z", "brand": "b", "category": "laptop", "item": "SKU-7", "2026-01-05": 1},
		{"kind": "delivery", "at": "2026-01-03T12:00:00Z", "promised": "2026-01-03T10:00:00Z", "empty": [], "flags": [true, false]},
		{"kind": "enter", "at": {"instant": "4713-01-01T00:00:00Z BC"}}, {"kind": "click", "at": "294276-12-31T23:59:59.999999Z"}]}$$);

-- In JSON a text is a token with its quotes, and so is a number with its sign.
UPDATE mutation.profile SET tokens =
	ARRAY(SELECT m[1] FROM regexp_matches(source, $$("(?:[^"\\]|\\.)*"|-?[0-9.]+|\w+|\S)$$, 'g') m);

-- Scraps.  The many of the corpus itself are added to these few.
CREATE TABLE mutation.scrap (what text PRIMARY KEY, scraps text[]);

INSERT INTO mutation.scrap
SELECT 'predicate', array_agg(DISTINCT token) || ARRAY['(', ')', '[', ']', '(', ')', '[', ']', ',', '.', '-', 'and', 'or', 'not',
	'0', '1', '-1', '00', '1e5', '10000 years', '3660000 days', '120000 months', '40000 quarters', '316224000000000 seconds',
	'87840000 hours', '10000 years 120000 months 3660000 days 87840000 hours', '9223372036854775807', '9223372036854775808 days',
	'2147483648 months', '0 days', '1 day 1 day', '0.5 days', '1 second', repeat('9', 400), repeat('9', 1001), '0.' || repeat('0', 900) || '1',
	'1000000000000000000', '0.000000000000000001', '99999999999999999.99', '''0001-01-01''', '''294276-12-31''',
	'''294276-12-31T23:59:59.999999Z''', '''0001-01-01 00:00''', '''2026-02-30''', '''2026-03-29 02:30''', '''2026-01-05T00:00:00+15:59:59''',
	'''' || repeat('x', 5000) || '''', '"' || repeat('y', 255) || '"', '"' || repeat('y', 256) || '"', repeat('z', 256), '''', '"', '''''',
	'""', '''%''', '''\''', '''%%%%%%%%_''', '“', '’', '—', U&'\00A0', U&'\+01F600', 'é', 'И', '/*', '--', ';', '{', '$1', '==', '=>', '!',
	'null', 'in segment ''s''', 'since entry', 'same', 'customer', 'in last', 'in next', 'previous 9223372036854775807 years',
	'previous 10000 years', 'previous 3660000 days', 'between 1 day and 10000 years ago', 'anniversary(', 'followed by', 'within']
FROM mutation.predicate, unnest(tokens) token;

INSERT INTO mutation.scrap
SELECT 'profile', array_agg(DISTINCT token) || ARRAY['{', '}', '[', ']', ',', ':', '{}', '[]', 'null', 'true', '0', '-0', '1e5', '1e-5',
	'1e1000', '1e100000', '1e131071', '1e-16383', '1e131072', '-1e-20000', '123456789012345678', '1234567890123456789', '9223372036854775808',
	'-9223372036854775808', '-9223372036854775809', '0.' || repeat('0', 17) || '1', '0.' || repeat('0', 18) || '1', repeat('9', 2000), 'NaN',
	'Infinity', '"NaN"', '"\u0000"', '"\ud800"', '"\udc00\ud800"', '"\ud83d\ude00"', '"\u0001"', '"' || repeat('k', 255) || '"',
	'"' || repeat('k', 256) || '"', '"' || repeat('v', 70000) || '"', '""', '"', '\', '"at"', '"kind"', '"hour"', '"customer"', '"text"', '"date"',
	'"instant"', '"attributes"', '"events"', '{"text": "2026-01-05"}', '{"date": "x"}', '{"instant": "infinity"}', '{"date": "5874897-12-31"}',
	'{"date": "4714-11-24 BC"}', '{"date": "4714-11-23 BC"}', '{"instant": "4714-11-24T00:00:00Z BC"}', '{"instant": "4714-11-23T23:59:59Z BC"}',
	'"294276-12-31T23:59:59.999999Z"', '"294276-12-31T23:59:59.999999-15:59"', '"294277-01-01T00:00:00Z"', '"0001-01-01T00:00:00+15:59"',
	'"0001-01-01"', '"2026-02-29"', '"2024-02-29"', '"2026-01-05T24:00:00Z"', '"2026-01-05T07:00:60Z"', '"2026-01-05T07:00"', '"infinity"',
	'"now"', '"9999999-01-01"', '[[1]]', '[1, "a"]', '[null, null]', '["2026-01-05", "x"]', '{"a": 1, "b": 2}']
FROM mutation.profile, unnest(tokens) token;

-- Letters and bytes that a changed one may become.
INSERT INTO mutation.scrap VALUES
	('letter', string_to_array('a b z A Z 0 1 9 _ . , ; : '' " ( ) [ ] { } < > = ! + - * / \ % $ # @ & | ^ ~ ` ? é И 中 ' ||
							   U&'\00A0 \2019 \FEFF \200B \+01F600', ' ') || ARRAY[' ', E'\t', E'\n', E'\r', E'\f', E'\x01', E'\x7f']);

-- Facts to ask mutated predicates of, questions to put to mutated profiles, and when and where.
CREATE TABLE mutation.facts AS
SELECT n, source::crm.profile AS profile FROM mutation.profile;

INSERT INTO mutation.facts
SELECT 6, crm.profile_agg(k, t, p) FROM (
	SELECT 'customer' AS k, NULL::timestamptz AS t, '{"customer_id": 3, "city": "Moscow", "birthday": "1996-02-29", "a": 2, "x": 1.5}'::jsonb AS p
	UNION ALL
	SELECT (ARRAY['order', 'view', 'cart', 'click', 'purchase', 'visit'])[1 + (i + 6) % 6],
		'2026-01-05 12:00:00Z'::timestamptz - i * i * interval '1 hour 7 minutes',
		jsonb_build_object('item', 'SKU-' || i % 4, 'amount', i / 3.0, 'status', CASE WHEN i % 5 > 1 THEN 'done' END)
	FROM generate_series(-3, 40) i) x;

CREATE TABLE mutation.question AS
SELECT n, source::crm.predicate AS predicate FROM mutation.predicate;

CREATE TABLE mutation.place (n int PRIMARY KEY, at timestamptz, entry timestamptz, zone text);

INSERT INTO mutation.place VALUES
	(1, '2026-01-05 09:00:00Z', '2026-01-01 00:00:00Z', 'UTC'),
	(2, '2026-01-05 09:00:00Z', '2026-01-04 07:30:00Z', 'Europe/Moscow'),
	(3, '2026-03-29 00:59:59.999999Z', '2025-10-26 00:30:00Z', 'Europe/Berlin'),
	(4, '2026-01-05 09:00:00Z', 'infinity', 'Pacific/Apia'),
	(5, '2024-02-29 23:00:00Z', '-infinity', 'America/St_Johns'),
	(6, 'infinity', '2026-01-01 00:00:00Z', 'Asia/Kolkata'),
	(7, '-infinity', '2026-01-01 00:00:00Z', 'America/New_York'),
	(8, '294276-12-31 23:59:59.999999Z', '294276-12-31 23:59:59.999999Z', 'Pacific/Kiritimati'),
	(9, '294276-12-31 12:00:00Z', NULL, 'Etc/GMT+12'),
	(10, '4714-11-24 00:00:00Z BC', '4714-11-24 00:00:00Z BC', 'Pacific/Kiritimati'),
	(11, '4714-11-26 00:00:00Z BC', NULL, 'Etc/GMT+12'),
	(12, '2026-01-05 09:00:00Z', NULL, '<+15:59:59>-15:59:59'),
	(13, '2026-01-05 09:00:00Z', '2026-01-01 00:00:00Z', 'No/Where');

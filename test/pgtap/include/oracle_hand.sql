-- Cases worked by hand from the language document: the periods in [lo, hi) at which a predicate is true.

CREATE TABLE oracle.hand (n int GENERATED ALWAYS AS IDENTITY, label text, zone text, facts jsonb, tree jsonb,
	lo timestamptz, hi timestamptz, entry timestamptz, expected text);

CREATE FUNCTION oracle.has(kind text, w jsonb, f jsonb DEFAULT NULL) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN jsonb_build_object('op', 'has', 'e', jsonb_strip_nulls(jsonb_build_object('kind', kind, 'w', w, 'f', f)));

-- An order at noon on the eve of summer time, in every window of an event.
INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, entry, expected)
SELECT 'order ' || w, 'Europe/Berlin', '{"events": [{"kind": "order", "at": "2024-03-30T11:00:00Z"}]}', oracle.has('order', w::jsonb),
	'2024-03-01Z', '2024-05-10Z', entry::timestamptz, expected
FROM (VALUES
	('null', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "last", "iv": "1 day"}', NULL, '{[2024-03-30 11:00Z, 2024-03-31 10:00Z)}'),
	('{"w": "last", "iv": "24 hours"}', NULL, '{[2024-03-30 11:00Z, 2024-03-31 11:00Z)}'),
	('{"w": "last", "iv": "1 month"}', NULL, '{[2024-03-30 11:00Z, 2024-04-30 10:00Z)}'),
	('{"w": "last", "iv": "1 day 2 hours"}', NULL, '{[2024-03-30 11:00Z, 2024-03-31 12:00Z)}'),
	('{"w": "ago", "iv": "1 day"}', NULL, '{[2024-03-31 10:00Z, 2024-05-10Z)}'),
	('{"w": "ago", "iv": "1 quarter"}', NULL, '{}'),
	('{"w": "ago2", "d1": {"iv": "1 day"}, "d2": {"iv": "2 days"}}', NULL, '{[2024-03-31 10:00Z, 2024-04-01 10:00Z)}'),
	('{"w": "ago2", "d1": {"iv": "23 hours"}, "d2": {"iv": "1 day"}}', NULL, '{}'),
	('{"w": "next", "iv": "1 day"}', NULL, '{[2024-03-29 11:00Z, 2024-03-30 11:00Z)}'),
	('{"w": "next", "iv": "90 minutes"}', NULL, '{[2024-03-30 09:30Z, 2024-03-30 11:00Z)}'),
	('{"w": "since", "l": "2024-03-30"}', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "since", "l": "2024-03-30 12:00:00"}', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "since", "l": "2024-03-30T11:00:00.000001Z"}', NULL, '{}'),
	('{"w": "before", "l": "2024-03-31"}', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "before", "l": "2024-03-30T12:00"}', NULL, '{}'),
	('{"w": "from", "t1": {"l": "2024-03-30T11:00:00Z"}, "t2": {"l": "2024-03-31"}}', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "from", "t1": {"l": "2024-03-29"}, "t2": {"l": "2024-03-30"}}', NULL, '{}'),
	('{"w": "entry"}', '2024-03-30 10:59:59.999999Z', '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "entry"}', '2024-03-30 11:00Z', '{}'),
	('{"w": "this", "u": "second"}', NULL, '{[2024-03-30 11:00Z, 2024-03-30 11:00:01Z)}'),
	('{"w": "this", "u": "hour"}', NULL, '{[2024-03-30 11:00Z, 2024-03-30 12:00Z)}'),
	('{"w": "this", "u": "day"}', NULL, '{[2024-03-30 11:00Z, 2024-03-30 23:00Z)}'),
	('{"w": "this", "u": "week"}', NULL, '{[2024-03-30 11:00Z, 2024-03-31 22:00Z)}'),
	('{"w": "this", "u": "month"}', NULL, '{[2024-03-30 11:00Z, 2024-03-31 22:00Z)}'),
	('{"w": "this", "u": "year"}', NULL, '{[2024-03-30 11:00Z, 2024-05-10Z)}'),
	('{"w": "previous", "u": "minute"}', NULL, '{[2024-03-30 11:01Z, 2024-03-30 11:02Z)}'),
	('{"w": "previous", "u": "day"}', NULL, '{[2024-03-30 23:00Z, 2024-03-31 22:00Z)}'),
	('{"w": "previous", "u": "month"}', NULL, '{[2024-03-31 22:00Z, 2024-04-30 22:00Z)}'),
	('{"w": "previous", "u": "quarter"}', NULL, '{[2024-03-31 22:00Z, 2024-05-10Z)}'),
	('{"w": "previous", "u": "week", "k": "2"}', NULL, '{[2024-03-31 22:00Z, 2024-04-14 22:00Z)}'),
	('{"w": "previous", "u": "day", "k": "1"}', NULL, '{[2024-03-30 23:00Z, 2024-03-31 22:00Z)}'),
	('{"w": "tomorrow", "u": "day"}', NULL, '{[2024-03-28 23:00Z, 2024-03-29 23:00Z)}')) x (w, entry, expected);

-- A moment has no "not before its own instant"; a date ends with its day; the 31st has 23 hours here.
INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, entry, expected)
SELECT name || ' ' || w, 'Europe/Berlin', '{"attributes": {"m": "2024-03-30T11:00:00Z", "d": "2024-03-31"}}',
	jsonb_build_object('op', 'win', 'a', jsonb_build_object('op', 'name', 'name', name), 'w', w::jsonb),
	'2024-03-01Z', '2024-05-10Z', '2024-03-30 10:00Z', expected
FROM (VALUES
	('m', '{"w": "last", "iv": "1 day"}', '{[2024-03-30 11:00Z, 2024-03-31 10:00Z)}'),
	('m', '{"w": "next", "iv": "1 day"}', '{[2024-03-29 11:00Z, 2024-03-30 11:00Z)}'),
	('m', '{"w": "this", "u": "day"}', '{[2024-03-29 23:00Z, 2024-03-30 23:00Z)}'),
	('m', '{"w": "since", "l": "2024-03-30"}', '{[2024-03-01Z, 2024-05-10Z)}'),
	('m', '{"w": "before", "l": "2024-03-30"}', '{}'),
	('m', '{"w": "entry"}', '{[2024-03-01Z, 2024-05-10Z)}'),
	('d', '{"w": "last", "iv": "1 day"}', '{[2024-03-30 23:00Z, 2024-03-31 22:00Z)}'),
	('d', '{"w": "last", "iv": "24 hours"}', '{[2024-03-30 23:00Z, 2024-03-31 23:00Z)}'),
	('d', '{"w": "next", "iv": "1 day"}', '{[2024-03-29 23:00Z, 2024-03-31 22:00Z)}'),
	('d', '{"w": "next", "iv": "1 hour"}', '{[2024-03-30 22:00Z, 2024-03-31 22:00Z)}'),
	('d', '{"w": "ago", "iv": "2 days"}', '{[2024-04-01 22:00Z, 2024-05-10Z)}'),
	('d', '{"w": "this", "u": "day"}', '{[2024-03-30 23:00Z, 2024-03-31 22:00Z)}'),
	('d', '{"w": "this", "u": "hour"}', '{[2024-03-30 23:00Z, 2024-03-31 00:00Z)}'),
	('d', '{"w": "previous", "u": "day"}', '{[2024-03-31 22:00Z, 2024-04-01 22:00Z)}'),
	('d', '{"w": "tomorrow", "u": "day"}', '{[2024-03-29 23:00Z, 2024-03-30 23:00Z)}'),
	('d', '{"w": "since", "l": "2024-03-31"}', '{[2024-03-01Z, 2024-05-10Z)}'),
	('d', '{"w": "from", "t1": {"l": "2024-03-30"}, "t2": {"l": "2024-03-31"}}', '{}'),
	('missing', '{"w": "before", "l": "2024-03-31"}', '{}')) x (name, w, expected);

-- Odd days and month ends.
INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, expected)
SELECT label, zone, jsonb_build_object('events', jsonb_build_array(jsonb_build_object('kind', 'order', 'at', at))),
	oracle.has('order', w::jsonb), at::timestamptz - interval '3 days', at::timestamptz + interval '60 days', expected
FROM (VALUES
	('a day without midnight', 'America/Sao_Paulo', '2018-11-03T15:00:00Z', '{"w": "previous", "u": "day"}', '{[2018-11-04 03:00Z, 2018-11-05 02:00Z)}'),
	('23 o''clock twice', 'America/Sao_Paulo', '2018-02-18T01:30:00Z', '{"w": "this", "u": "day"}', '{[2018-02-18 01:30Z, 2018-02-18 03:00Z)}'),
	('midnight twice', 'America/Havana', '2024-11-03T04:30:00Z', '{"w": "this", "u": "day"}', '{[2024-11-03 04:30Z, 2024-11-04 05:00Z)}'),
	('midnight twice, the day after', 'America/Havana', '2024-11-02T16:00:00Z', '{"w": "previous", "u": "day"}', '{[2024-11-03 04:00Z, 2024-11-04 05:00Z)}'),
	('set back over midnight', 'America/St_Johns', '2010-11-07T03:00:00Z', '{"w": "this", "u": "day"}', '{[2010-11-07 03:00Z, 2010-11-08 03:30Z)}'),
	('set back over midnight, before', 'America/St_Johns', '2010-11-07T02:00:00Z', '{"w": "this", "u": "day"}', '{[2010-11-07 02:00Z, 2010-11-07 02:30Z)}'),
	('a day that never was', 'Pacific/Apia', '2011-12-30T09:00:00Z', '{"w": "previous", "u": "day"}', '{}'),
	('a day that never was and the next', 'Pacific/Apia', '2011-12-30T09:00:00Z', '{"w": "previous", "u": "day", "k": "2"}', '{[2011-12-30 10:00Z, 2011-12-31 10:00Z)}'),
	('half an hour back', 'Australia/Lord_Howe', '2024-04-06T14:45:00Z', '{"w": "last", "iv": "1 day"}', '{[2024-04-06 14:45Z, 2024-04-07 15:15Z)}'),
	('end of January', 'UTC', '2024-01-31T12:00:00Z', '{"w": "last", "iv": "1 month"}', '{[2024-01-31 12:00Z, 2024-02-29 12:00Z)}'),
	('29 days are more than February', 'UTC', '2023-01-31T12:00:00Z', '{"w": "ago2", "d1": {"iv": "29 days"}, "d2": {"iv": "1 month"}}', '{}'),
	('month ends clip backwards', 'UTC', '2023-03-30T12:00:00Z', '{"w": "next", "iv": "1 month"}', '{[2023-03-27 12:00Z, 2023-03-30 12:00Z)}'),
	('year end', 'Asia/Kolkata', '2024-12-31T18:29:59Z', '{"w": "this", "u": "year"}', '{[2024-12-31 18:29:59Z, 2024-12-31 18:30Z)}'),
	('ISO week at year end', 'UTC', '2024-12-30T00:00:00Z', '{"w": "previous", "u": "week"}', '{[2025-01-06 00:00Z, 2025-01-13 00:00Z)}')
) x (label, zone, at, w, expected);

-- Anniversaries.
INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, expected)
SELECT label, 'UTC', jsonb_build_object('attributes', jsonb_build_object('m', m::jsonb)),
	jsonb_build_object('op', 'win', 'a', '{"op": "anniv", "a": {"op": "name", "name": "m"}}'::jsonb, 'w', w::jsonb),
	'2022-12-15Z', '2025-01-15Z', expected
FROM (VALUES
	('29 February', '"1996-02-29"', '{"w": "this", "u": "day"}', '{[2023-02-28Z, 2023-03-01Z), [2024-02-29Z, 2024-03-01Z)}'),
	('over the year''s end', '"1990-01-01"', '{"w": "next", "iv": "3 days"}', '{[2022-12-29Z, 2023-01-02Z), [2023-12-29Z, 2024-01-02Z), [2024-12-29Z, 2025-01-02Z)}'),
	('not in the year itself', '"2023-05-01"', '{"w": "this", "u": "day"}', '{[2024-05-01Z, 2024-05-02Z)}'),
	('an instant', '"2020-02-29T10:00:00Z"', '{"w": "last", "iv": "1 hour"}', '{[2023-02-28 10:00Z, 2023-02-28 11:00Z), [2024-02-29 10:00Z, 2024-02-29 11:00Z)}'),
	('any of an array', '["2000-06-01", "2023-07-01"]', '{"w": "this", "u": "day"}', '{[2023-06-01Z, 2023-06-02Z), [2024-06-01Z, 2024-06-02Z), [2024-07-01Z, 2024-07-02Z)}'),
	('of the unknown', 'null', '{"w": "this", "u": "year"}', '{}'),
	('of a text', '{"text": "2000-06-01"}', '{"w": "this", "u": "year"}', '{}')) x (label, m, w, expected);

-- Brackets: a cart at 10:00 and what else happened that day.
CREATE FUNCTION oracle.day_of(others text) RETURNS jsonb LANGUAGE sql AS $$
	SELECT jsonb_build_object('events', jsonb_build_array('{"kind": "cart", "at": "2024-05-01T10:00:00Z", "item": "a", "amount": 5}'::jsonb)
		|| coalesce(jsonb_agg(jsonb_build_object('kind', split_part(o, ' ', 1), 'at', '2024-05-01T' || split_part(o, ' ', 2) || 'Z')
							  || CASE WHEN split_part(o, ' ', 3) <> '' THEN jsonb_build_object('item', split_part(o, ' ', 3)) ELSE '{}' END), '[]'))
	FROM unnest(string_to_array(nullif(others, ''), ', ')) o
$$;

INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, expected)
SELECT label, 'UTC', oracle.day_of(others), oracle.has('cart', NULL, f::jsonb), '2024-05-01Z', '2024-05-02Z',
	CASE WHEN since = 'never' THEN '{}'
		 ELSE format('{[2024-05-01 %sZ, 2024-05-01 %sZ)}', split_part(since, ' to ', 1), coalesce(nullif(split_part(since, ' to ', 2), ''), '24:00')) END
FROM (VALUES
	('abandoned', '', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}', '11:00'),
	('not abandoned', 'order 10:30:00', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}', 'never'),
	('ordered on the stroke', 'order 11:00:00', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}', 'never'),
	('ordered just too late', 'order 11:00:00.000001', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}', '11:00'),
	('ordered at once', 'order 10:00:00', '{"op": "followed", "kind": "order", "iv": "1 hour"}', '10:00'),
	('followed', 'order 10:30:00', '{"op": "followed", "kind": "order", "iv": "1 hour"}', '10:30'),
	('followed at any time', 'order 23:00:00', '{"op": "followed", "kind": "order"}', '23:00'),
	('not yet followed', 'order 23:00:00', '{"op": "not", "x": {"op": "followed", "kind": "order"}}', '10:00 to 23:00'),
	('true or undecided', '', '{"op": "or", "x": [{"op": "cmp", "f": ">", "a": {"op": "name", "name": "amount"}, "b": {"op": "lit", "v": {"n": 1}}}, {"op": "followed", "kind": "order", "iv": "1 hour"}]}', '10:00'),
	('false or undecided', '', '{"op": "or", "x": [{"op": "cmp", "f": ">", "a": {"op": "name", "name": "amount"}, "b": {"op": "lit", "v": {"n": 5}}}, {"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}]}', '11:00'),
	('not false and undecided', '', '{"op": "not", "x": {"op": "and", "x": [{"op": "cmp", "f": ">", "a": {"op": "name", "name": "amount"}, "b": {"op": "lit", "v": {"n": 5}}}, {"op": "followed", "kind": "order", "iv": "1 hour"}]}}', '10:00'),
	('the same item', 'order 10:10:00 b, order 10:20:00 a', '{"op": "followed", "kind": "order", "f": {"op": "same", "name": "item"}}', '10:20'),
	('same of the unknown', 'order 10:10:00', '{"op": "followed", "kind": "order", "f": {"op": "same", "name": "item"}}', 'never'),
	('same of the unknown, not', 'order 10:10:00', '{"op": "followed", "kind": "order", "f": {"op": "not", "x": {"op": "same", "name": "item"}}}', '10:10'),
	('preceded', 'view 09:00:00', '{"op": "preceded", "kind": "view", "iv": "1 hour"}', '10:00'),
	('preceded too early', 'view 08:59:59.999999', '{"op": "preceded", "kind": "view", "iv": "1 hour"}', 'never'),
	('not preceded', 'view 08:59:59.999999', '{"op": "not", "x": {"op": "preceded", "kind": "view", "iv": "1 hour"}}', '10:00'),
	('of one kind strictly later', 'cart 10:00:00', '{"op": "followed", "kind": "cart"}', 'never'),
	('of one kind strictly earlier', 'cart 10:00:00', '{"op": "preceded", "kind": "cart", "iv": "1 hour"}', 'never'),
	('second cart', 'cart 10:20:00', '{"op": "preceded", "kind": "cart", "iv": "1 hour"}', '10:20'),
	('nested, undecided to the end of the inner', 'order 10:50:00', '{"op": "followed", "kind": "order", "iv": "1 hour", "f": {"op": "not", "x": {"op": "followed", "kind": "view", "iv": "30 minutes"}}}', '11:20'),
	('nested, the inner decides against', 'order 10:50:00, view 11:10:00', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour", "f": {"op": "not", "x": {"op": "followed", "kind": "view", "iv": "30 minutes"}}}}', '11:10'),
	('nested, the inner decides early', 'order 10:50:00, view 10:55:00', '{"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour", "f": {"op": "not", "x": {"op": "followed", "kind": "view", "iv": "30 minutes"}}}}', '11:00'),
	('never undecided without within', 'order 10:50:00', '{"op": "not", "x": {"op": "followed", "kind": "order", "f": {"op": "not", "x": {"op": "followed", "kind": "view", "iv": "30 minutes"}}}}', '10:00 to 11:20'),
	('preceded by one still undecided', 'view 09:50:00', '{"op": "preceded", "kind": "view", "iv": "1 hour", "f": {"op": "not", "x": {"op": "followed", "kind": "order", "iv": "1 hour"}}}', '10:50'),
	('not preceded by one still undecided', 'view 09:50:00', '{"op": "not", "x": {"op": "preceded", "kind": "view", "iv": "1 hour", "f": {"op": "followed", "kind": "order", "iv": "1 hour"}}}', '10:50'),
	('a window inside', '', '{"op": "win", "a": {"op": "name", "name": "at"}, "w": {"w": "ago", "iv": "2 hours"}}', '12:00'),
	('local properties', '', '{"op": "and", "x": [{"op": "cmp", "f": "=", "a": {"op": "name", "name": "weekday"}, "b": {"op": "lit", "v": {"n": 3}}}, {"op": "cmp", "f": "=", "a": {"op": "name", "name": "hour"}, "b": {"op": "lit", "v": {"n": 10}}}, {"op": "cmp", "f": "=", "a": {"op": "name", "name": "week_of"}, "b": {"op": "lit", "v": {"l": "2024-04-29"}}}, {"op": "cmp", "f": "=", "a": {"op": "name", "name": "week"}, "b": {"op": "lit", "v": {"n": 18}}}]}', '10:00')
) x (label, others, f, since);

-- Values: true always or never.
INSERT INTO oracle.hand (label, zone, facts, tree, lo, hi, expected)
SELECT label, 'America/New_York', '{"attributes": {"five": 5, "half": 0.5, "five_too": 5.00, "word": "b", "yes": true, "d": "2024-03-10",
		"z": "2024-03-10T05:00:00Z", "text": {"text": "2024-03-10"}, "tags": ["a", "b"], "none": null},
	"events": [{"kind": "order", "at": "2024-01-01T00:00:00Z", "v": "x", "n": 1, "m": 2}, {"kind": "order", "at": "2024-01-02T00:00:00Z", "v": "y", "n": 1.00},
		{"kind": "order", "at": "2024-01-03T00:00:00Z", "v": "y", "n": "z", "m": "2024-01-01"}, {"kind": "order", "at": "2024-01-03T00:00:00Z", "v": "x", "n": "a", "m": true},
		{"kind": "order", "at": "2024-01-03T00:00:00Z"}]}',
	tree, '2024-02-01Z', '2024-02-02Z', CASE WHEN truth THEN '{[2024-02-01Z, 2024-02-02Z)}' ELSE '{}' END
FROM (
	SELECT label, truth, jsonb_build_object('op', 'cmp', 'f', f, 'a', a::jsonb, 'b', b::jsonb) FROM (VALUES
	('equal numbers', true, '{"op": "name", "name": "five"}', '=', '{"op": "name", "name": "five_too"}'),
	('unknown is not less', false, '{"op": "name", "name": "none"}', '<', '{"op": "lit", "v": {"n": 5}}'),
	('unknown is not equal', false, '{"op": "name", "name": "none"}', '=', '{"op": "name", "name": "missing"}'),
	('unknown is other', true, '{"op": "name", "name": "none"}', '<>', '{"op": "name", "name": "missing"}'),
	('another type is other', true, '{"op": "name", "name": "five"}', '<>', '{"op": "lit", "v": {"l": "5"}}'),
	('another type is not more', false, '{"op": "name", "name": "five"}', '>', '{"op": "name", "name": "word"}'),
	('quotient', true, '{"op": "arith", "f": "/", "a": {"op": "lit", "v": {"n": 3}}, "b": {"op": "lit", "v": {"n": 2}}}', '=', '{"op": "lit", "v": {"n": 1.5}}'),
	('division by zero', false, '{"op": "arith", "f": "/", "a": {"op": "name", "name": "five"}, "b": {"op": "lit", "v": {"n": 0}}}', '>=', '{"op": "lit", "v": {"n": 0}}'),
	('division by zero is other', true, '{"op": "arith", "f": "/", "a": {"op": "name", "name": "five"}, "b": {"op": "lit", "v": {"n": 0}}}', '<>', '{"op": "lit", "v": {"n": 0}}'),
	('products bind', true, '{"op": "arith", "f": "+", "a": {"op": "lit", "v": {"n": 1}}, "b": {"op": "arith", "f": "*", "a": {"op": "lit", "v": {"n": 2}}, "b": {"op": "name", "name": "five"}}}', '=', '{"op": "lit", "v": {"n": 11}}'),
	('differences lean left', true, '{"op": "arith", "f": "-", "a": {"op": "arith", "f": "-", "a": {"op": "lit", "v": {"n": 9}}, "b": {"op": "lit", "v": {"n": 2}}}, "b": {"op": "name", "name": "five"}}', '=', '{"op": "lit", "v": {"n": 2}}'),
	('sign of the unknown', true, '{"op": "neg", "a": {"op": "name", "name": "none"}}', '<>', '{"op": "lit", "v": {"n": 0}}'),
	('date with literal', true, '{"op": "name", "name": "d"}', '=', '{"op": "lit", "v": {"l": "2024-03-10"}}'),
	('date with timestamptz, its local start', true, '{"op": "name", "name": "d"}', '=', '{"op": "name", "name": "z"}'),
	('timestamptz with date', false, '{"op": "name", "name": "z"}', '<', '{"op": "lit", "v": {"l": "2024-03-10"}}'),
	('date with time literal', true, '{"op": "name", "name": "d"}', '<', '{"op": "lit", "v": {"l": "2024-03-10 00:00:00.000001"}}'),
	('text that looks like a date', true, '{"op": "name", "name": "text"}', '=', '{"op": "lit", "v": {"l": "2024-03-10"}}'),
	('text with a date', false, '{"op": "name", "name": "text"}', '=', '{"op": "name", "name": "d"}'),
	('a day of 23 hours', true, '{"op": "shift", "f": "+", "a": {"op": "name", "name": "d"}, "iv": "1 day"}', '=', '{"op": "shift", "f": "+", "a": {"op": "name", "name": "z"}, "iv": "23 hours"}'),
	('a literal plus an interval', true, '{"op": "shift", "f": "+", "a": {"op": "lit", "v": {"l": "2024-03-09"}}, "iv": "1 day"}', '=', '{"op": "name", "name": "z"}'),
	('arrays do not compare', false, '{"op": "name", "name": "tags"}', '=', '{"op": "name", "name": "tags"}'),
	('count', true, '{"op": "count", "e": {"kind": "order"}}', '=', '{"op": "lit", "v": {"n": 5}}'),
	('sum skips text', true, '{"op": "agg", "f": "sum", "e": {"kind": "order"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 2}}'),
	('avg skips the unknown', true, '{"op": "agg", "f": "avg", "e": {"kind": "order"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 1}}'),
	('sum of nothing', true, '{"op": "agg", "f": "sum", "e": {"kind": "nothing"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 0}}'),
	('last of nothing', true, '{"op": "agg", "f": "last", "e": {"kind": "nothing"}, "name": "v"}', '<>', '{"op": "lit", "v": {"l": "done"}}'),
	('first of an instant', true, '{"op": "agg", "f": "first", "e": {"kind": "order", "w": {"w": "since", "l": "2024-01-02T12:00:00Z"}}, "name": "v"}', '=', '{"op": "lit", "v": {"l": "x"}}'),
	('last of an instant', true, '{"op": "agg", "f": "last", "e": {"kind": "order"}, "name": "v"}', '=', '{"op": "lit", "v": {"l": "y"}}'),
	('first takes the first event''s value, though unknown', false, '{"op": "agg", "f": "first", "e": {"kind": "order", "w": {"w": "since", "l": "2024-01-02T00:00:00Z"}}, "name": "m"}', '=', '{"op": "lit", "v": {"b": true}}'),
	('min prefers numbers', true, '{"op": "agg", "f": "min", "e": {"kind": "order"}, "name": "m"}', '=', '{"op": "lit", "v": {"n": 2}}'),
	('then moments', true, '{"op": "agg", "f": "max", "e": {"kind": "order", "w": {"w": "since", "l": "2024-01-02T00:00:00Z"}}, "name": "m"}', '=', '{"op": "lit", "v": {"l": "2024-01-01"}}'),
	('distinct', true, '{"op": "agg", "f": "distinct", "e": {"kind": "order"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 3}}'),
	('most', true, '{"op": "agg", "f": "most", "e": {"kind": "order"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 2}}'),
	('mode', true, '{"op": "agg", "f": "mode", "e": {"kind": "order"}, "name": "n"}', '=', '{"op": "lit", "v": {"n": 1}}'),
	('mode of equals, seen at one instant, the least', true, '{"op": "agg", "f": "mode", "e": {"kind": "order"}, "name": "v"}', '=', '{"op": "lit", "v": {"l": "x"}}'),
	('mode of equals, the latest', true, '{"op": "agg", "f": "mode", "e": {"kind": "order", "w": {"w": "before", "l": "2024-01-02T12:00:00Z"}}, "name": "v"}', '=', '{"op": "lit", "v": {"l": "y"}}'),
	('months of orders are local', true, '{"op": "agg", "f": "distinct", "e": {"kind": "order"}, "name": "month_of"}', '=', '{"op": "lit", "v": {"n": 2}}'),
	('first moment', true, '{"op": "edge", "f": "first", "e": {"kind": "order"}}', '<', '{"op": "lit", "v": {"l": "2024-01-01"}}')
	) x (label, truth, a, f, b)
	UNION ALL
	SELECT label, truth, tree::jsonb FROM (VALUES
	('not less includes the unknown', true, '{"op": "not", "x": {"op": "cmp", "f": "<", "a": {"op": "name", "name": "none"}, "b": {"op": "lit", "v": {"n": 5}}}}'),
	('between is closed', true, '{"op": "between", "neg": false, "a": {"op": "name", "name": "five"}, "lo": {"op": "lit", "v": {"n": 1}}, "hi": {"op": "lit", "v": {"n": 5}}}'),
	('not between of the unknown', true, '{"op": "between", "neg": true, "a": {"op": "name", "name": "none"}, "lo": {"op": "lit", "v": {"n": 1}}, "hi": {"op": "lit", "v": {"n": 5}}}'),
	('between dates as a window is half open', false, '{"op": "win", "a": {"op": "name", "name": "d"}, "w": {"w": "from", "t1": {"l": "2024-03-01"}, "t2": {"l": "2024-03-10"}}}'),
	('in', true, '{"op": "in", "a": {"op": "name", "name": "word"}, "list": [{"n": 5}, {"l": "b"}]}'),
	('a date in a list', true, '{"op": "in", "a": {"op": "name", "name": "d"}, "list": [{"l": "2024-03-10"}]}'),
	('not in of the unknown', true, '{"op": "in", "neg": true, "a": {"op": "name", "name": "none"}, "list": [{"n": 5}]}'),
	('like', false, '{"op": "like", "ci": false, "a": {"op": "name", "name": "word"}, "pat": "B%"}'),
	('ilike', true, '{"op": "like", "ci": true, "a": {"op": "name", "name": "word"}, "pat": "B%"}'),
	('like of a number', false, '{"op": "like", "ci": false, "a": {"op": "name", "name": "five"}, "pat": "%"}'),
	('contains', true, '{"op": "contains", "a": {"op": "name", "name": "tags"}, "how": "one", "list": [{"l": "a"}]}'),
	('contains any', true, '{"op": "contains", "a": {"op": "name", "name": "tags"}, "how": "any", "list": [{"l": "c"}, {"l": "b"}]}'),
	('contains all', false, '{"op": "contains", "a": {"op": "name", "name": "tags"}, "how": "all", "list": [{"l": "c"}, {"l": "b"}]}'),
	('a text contains nothing', false, '{"op": "contains", "a": {"op": "name", "name": "word"}, "how": "one", "list": [{"l": "b"}]}'),
	('null is not known', false, '{"op": "known", "a": {"op": "name", "name": "none"}}'),
	('avg of nothing is not known', true, '{"op": "known", "neg": true, "a": {"op": "agg", "f": "avg", "e": {"kind": "nothing"}, "name": "n"}}'),
	('a first moment is never ahead', false, '{"op": "win", "a": {"op": "edge", "f": "first", "e": {"kind": "order"}}, "w": {"w": "next", "iv": "1 year"}}'),
	('no', true, '{"op": "no", "e": {"kind": "order", "w": {"w": "last", "iv": "1 week"}}}')
	) y (label, truth, tree)
) v (label, truth, tree);

-- The answers to them, of both.
CREATE TABLE oracle.hand_answer (n int, label text, predicate text, expected text, by_oracle text, by_extension text);

DO $$
DECLARE
	h oracle.hand;
	predicate text;
	by_oracle text;
	by_extension text;
	p tstzmultirange;
	bad text;
BEGIN
	PERFORM setseed(0.5);
	FOR h IN SELECT * FROM oracle.hand ORDER BY n LOOP
		PERFORM oracle.here(h.zone);
		PERFORM oracle.store(-h.n, '{"attributes": {}, "events": []}' || h.facts);
		predicate := oracle.txt(h.tree, 1);
		SELECT q.periods INTO p FROM oracle.periods(-h.n, h.tree, oracle.sql(h.tree, NULL, NULL, 0, h.entry), h.lo, h.hi, h.entry) q;
		SET LOCAL TimeZone = 'UTC';
		by_oracle := p::text;
		PERFORM oracle.elsewhere(h.zone);
		BEGIN
			p := crm.periods(('{"customer": 1, "attributes": {}, "events": []}' || h.facts)::text::crm.profile, predicate::crm.predicate,
							 h.lo, h.hi, h.entry, h.zone);
			-- matches must say the same at every bound and just before it
			SELECT string_agg(x::text, ', ') INTO bad
			FROM (SELECT unnest(ARRAY[lower(r), lower(r) - interval '1 microsecond', upper(r), upper(r) - interval '1 microsecond'])
				  FROM unnest(h.expected::tstzmultirange) r UNION SELECT h.lo) b (x)
			WHERE x >= h.lo AND x < h.hi
			  AND crm.matches(('{"customer": 1, "attributes": {}, "events": []}' || h.facts)::text::crm.profile, predicate::crm.predicate,
							  x, h.entry, h.zone) <> (h.expected::tstzmultirange @> x);
			SET LOCAL TimeZone = 'UTC';
			by_extension := p::text || coalesce('; matches disagrees at ' || bad, '');
		EXCEPTION WHEN OTHERS THEN
			by_extension := SQLSTATE || ' ' || SQLERRM;
		END;
		SET LOCAL TimeZone = 'UTC';
		INSERT INTO oracle.hand_answer VALUES (h.n, h.label, predicate, h.expected::tstzmultirange::text, by_oracle, by_extension);
	END LOOP;
END $$;

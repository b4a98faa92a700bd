-- Attributes and tags that somebody has told: sources and their precedence, types, merged customers, live segments.
\pset null -
SET timezone = 'UTC';
SET client_min_messages = warning;
SET search_path = public, crm;
\set SHOW_CONTEXT never
CREATE TABLE users (id bigint PRIMARY KEY, city text);
INSERT INTO users SELECT g, CASE WHEN g < 4 THEN 'Moscow' END FROM generate_series(1, 6) AS g;
SELECT define_customers('SELECT id AS customer_id, city FROM public.users');
SET crm_marketing.now = '2026-02-01Z';

-- types are those that profiles see
SELECT v, attribute_type('x', v::jsonb)
  FROM unnest(ARRAY['"Perm"', '5', '5.50', 'true', 'null', '"2026-01-05"', '"2026-01-05T10:00:00Z"', '"2026-01-05T10:00:00"',
					'"2026-02-30"', '{"text": "2026-01-05"}', '{"instant": "infinity"}', '["a", "b"]', '[1, 2]', '[]', '[null]',
					'["2026-01-05"]', '1e-200']) AS v;
SELECT attribute_type(NULL, '1'), attribute_type('x', NULL);
SELECT attribute_type('x', '{"a": 1}');
SELECT attribute_type('x', '[[1]]');
SELECT attribute_type('x', '[1, "a"]');

SELECT set_attributes(1, '{"city2": "Perm", "children": 2, "married": true, "wedding": "2020-06-01", "seen": "2026-01-05T10:00:00+03:00",
						   "sizes": [42, 43], "pets": ["cat", "dog"], "nothing": null}');
SELECT set_attributes(1, '{"city2": "Perm", "children": 2}') AS unchanged, set_attributes(1, '{"city2": "Perm", "children": 3}') AS one,
	   set_attributes(1, '{}') AS none;
SELECT * FROM crm.attribute ORDER BY customer_id, name, source;
SELECT name, type FROM crm.source_property WHERE kind = 'customer.attribute' ORDER BY 1;
SELECT * FROM attribute_states(NULL);
SELECT * FROM attribute_states('{1, 2, 99}');
SELECT profile_of(1);

-- null takes back; what was said later stays, of the same source only
SELECT set_attributes(1, '{"children": null, "married": null, "unheard": null}', at => '2026-01-31Z') AS older,
	   set_attributes(1, '{"children": null, "unheard": null}') AS now;
SELECT set_attributes(1, '{"city2": "Omsk"}', at => '2026-01-01Z') AS older, set_attributes(1, '{"city2": "Omsk"}', at => '2026-02-02Z') AS later,
	   set_attributes(1, '{"city2": "Tver"}', at => '2026-02-02Z') AS same_instant;
SELECT set_attributes(1, '{"city2": "Tver"}', at => '2026-02-05Z') AS confirmed;
SELECT value, set_at FROM crm.attribute WHERE name = 'city2';

-- sources: the last word, unless one is to be believed first
SELECT set_attributes(1, '{"city2": "Sochi"}', 'questionnaire:autumn', '2026-02-03Z');
SELECT properties -> 'city2' AS city2 FROM attribute_states('{1}');
SELECT set_attributes(1, '{"city2": "Sochi"}', 'questionnaire:autumn', '2026-02-06Z') AS confirmed;
SELECT properties -> 'city2' AS city2 FROM attribute_states('{1}');
SELECT set_source_priority('given', 1);
SELECT properties -> 'city2' AS city2 FROM attribute_states('{1}');
SELECT set_source_priority('questionnaire:autumn', 2), set_source_priority('given', NULL);
SELECT set_source_priority('a', -1), set_source_priority('a', -1), set_source_priority('a', NULL), set_source_priority('a', NULL);
SELECT * FROM crm.attribute_source;
SELECT set_attributes(1, '{"city2": null}', 'questionnaire:autumn', '2026-02-07Z');
-- of equals, the greater name
SELECT set_attributes(1, '{"city2": "B"}', 'b', '2026-02-08Z'), set_attributes(1, '{"city2": "A"}', 'a', '2026-02-08Z');
SELECT properties -> 'city2' AS city2 FROM attribute_states(NULL);
SELECT set_attributes(1, '{"city2": "Perm"}', 'c', '2026-02-09Z');

-- what the customers' feed has goes first
SET client_min_messages = notice;
SELECT set_attributes(1, '{"city": "Perm"}'), set_attributes(5, '{"city": "Perm"}');
SET client_min_messages = warning;
SELECT (profile_of(1)::jsonb) -> 'attributes' -> 'city' AS city1, (profile_of(5)::jsonb) -> 'attributes' -> 'city' AS city5;

-- tags
SELECT add_tag(1, 'vip'), add_tag(1, 'vip', 'another'), add_tag(1, 'Ünïcode "q" ''s'), add_tag(2, 'new');
SELECT * FROM crm.tag ORDER BY customer_id, tag COLLATE "C";
SELECT * FROM crm_feed."customer.tag" ORDER BY 1;
SELECT * FROM tag_states('{2, 1, 99}') ORDER BY 1;
SELECT remove_tag(2, 'vip'), remove_tag(2, 'new'), remove_tag(2, 'new'), remove_tag(NULL, 'new'), remove_tag(2, NULL);

-- predicates
SELECT create_segment('x', $$ city2 = 'Perm' and tags contains 'vip' $$);
SELECT create_segment('big feet', 'sizes contains 43 and children > 1');
SELECT create_segment('anniversary', 'anniversary(wedding) in next 200 days or seen in last 1 month');
SELECT create_segment('bad', $$ city3 = 'Perm' $$);
SELECT create_segment('bad', $$ tag contains 'vip' $$);
SELECT create_segment('bad', $$ children = 'two' $$);
SELECT create_segment('bad', $$ tags contains 5 $$);
SELECT set_attributes(1, '{"children": 2}');
SELECT * FROM refresh_segments();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT customers FROM (SELECT array_agg(m) AS customers FROM matching('pets contains ''cat'' and married = true') AS m) AS m;
SELECT matches_segment(1, 'x'), matches_segment(2, 'x');

-- live
SELECT count(*) > 0 FROM tick('2026-02-01Z');
CALL run_ticks();
SELECT set_attributes(2, '{"city2": "Perm"}'), add_tag(2, 'vip'), set_attributes(1, '{"city2": null}', 'c', '2026-02-10Z');
CALL run_ticks();
SELECT segment, customer_id FROM segment_member WHERE segment = 'x' ORDER BY 1, 2;
SELECT remove_tag(2, 'vip');
CALL run_ticks();
SELECT segment, customer_id FROM segment_member WHERE segment = 'x' ORDER BY 1, 2;

-- one person: his own id first, what it lacks by the others' order; tags of all. Taken back, each has his own
SELECT set_attributes(3, '{"city2": "Omsk", "children": 1}', 'c', '2026-03-01Z'), set_attributes(4, '{"city2": "Perm", "children": 4, "seen": "2026-01-30T00:00:00Z"}'), add_tag(4, 'vip'),
	   set_attributes(5, '{"children": 5, "pets": ["fish"]}');
SELECT merge_customers(3, 5), merge_customers(3, 4);
SELECT * FROM attribute_states('{3, 4, 5}');
SELECT * FROM attribute_states(NULL) ORDER BY 1;
SELECT * FROM tag_states('{3, 4}');
SELECT * FROM tag_states(NULL) ORDER BY 1;
SELECT set_attributes(3, '{"city2": null}', 'c', '2026-03-01Z'), add_tag(3, 'vip') AS had, add_tag(4, 'other') AS had_not;
SELECT profile_of(5);
CALL run_ticks();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT matches_segment(4, 'x');
SELECT unmerge_customers(4);
CALL run_ticks();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT * FROM attribute_states('{3, 4, 5}') ORDER BY 1;
SELECT * FROM tag_states('{3, 4, 5}') ORDER BY 1;
-- whoever takes a tag from a person takes it from all of him
SELECT merge_customers(3, 4), remove_tag(4, 'vip'), remove_tag(4, 'other'), remove_tag(3, 'other');
SELECT * FROM tag_states(NULL) ORDER BY 1;
CALL run_ticks();
SELECT segment, customer_id FROM segment_member ORDER BY 1, 2;
SELECT * FROM verify_segments(10);

-- odd names
SELECT set_attributes(6, '{"Größe \"x\"": 1, "order": "a", "И": "b", "a.b": true, "customer": 1}');
SELECT customers FROM (SELECT array_agg(m) AS customers FROM matching($$ "Größe ""x""" = 1 and "order" = 'a' and "И" = 'b' and "a.b" = true and "customer" = 1 $$) AS m) AS m;
SELECT set_attributes(6, jsonb_build_object(repeat('n', 63), repeat('long ', 10000), 'long tags', to_jsonb(ARRAY[repeat('x', 3000)])), repeat('s', 255));
SELECT length(properties ->> repeat('n', 63)) FROM attribute_states('{6}');
SELECT add_tag(6, repeat('я', 127));

-- errors
SELECT set_attributes(6, jsonb_build_object(repeat('я', 32), 1));
SELECT set_attributes(6, '{"": 1}');
SELECT set_attributes(6, '{"tags": ["a"]}');
SELECT set_attributes(6, '{"reachable": "a"}');
SELECT set_attributes(6, '{"rfm": "a"}');
SELECT set_attributes(6, '{"phone": "+79991234567"}');
SELECT set_attributes(6, '{"customer_id": 1}');
SELECT set_attributes(6, '{"children": "two"}');
SELECT set_attributes(6, '{"wedding": "two"}');
SELECT set_attributes(6, '{"city2": "2026-01-01"}');
SELECT set_attributes(6, '{"city2": {"text": "2026-01-01"}}');
SELECT set_attributes(6, '{"a": {"b": 1}}');
SELECT set_attributes(6, '{"a": [1, "b"]}');
SELECT set_attributes(6, '[1]');
SELECT set_attributes(6, '"a"');
SELECT set_attributes(NULL, '{}');
SELECT set_attributes(6, NULL);
SELECT set_attributes(6, '{}', NULL);
SELECT set_attributes(6, '{}', '');
SELECT set_attributes(6, '{}', repeat('s', 256));
SELECT set_attributes(6, '{}', at => NULL);
SELECT set_attributes(6, '{}', at => 'infinity');
SELECT set_source_priority(NULL, 1);
SELECT set_source_priority('', 1);
SELECT add_tag(NULL, 'a');
SELECT add_tag(6, NULL);
SELECT add_tag(6, '');
SELECT add_tag(6, repeat('x', 256));
SELECT add_tag(6, 'a', NULL);
SELECT * FROM attribute_states('{}');
SELECT * FROM attribute_states('{NULL}');
SELECT * FROM tag_states('{NULL}');

-- few of many are found by index
INSERT INTO crm.attribute SELECT g, 'children', 'bulk', '1', now() FROM generate_series(100, 20000) AS g;
INSERT INTO crm.tag SELECT g, 'bulk', 'bulk', now() FROM generate_series(100, 20000) AS g;
ANALYZE crm.attribute, crm.tag, crm.alias;
CREATE FUNCTION uses(query text, node text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN ' || query LOOP
		IF line ~ node THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;
SELECT uses('SELECT * FROM crm.attribute_states(ARRAY[1, 100])', 'attribute_pkey') AS attributes,
	   uses('SELECT * FROM crm.attribute_states(ARRAY[1, 100])', 'Seq Scan on attribute') AS scanned,
	   uses('SELECT * FROM crm.tag_states(ARRAY[1, 100])', 'tag_pkey') AS tags,
	   uses('SELECT * FROM crm.tag_states(ARRAY[1, 100])', 'Seq Scan on tag') AS scanned;
SELECT crm.set_attributes(1, '{"sizes": [1, 2]}');
SELECT kind, state, columns FROM crm.feeds WHERE kind LIKE 'customer.%';
DROP FUNCTION uses;
DROP TABLE users CASCADE;
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

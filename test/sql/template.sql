-- Templates: the mustache language over jsonb, and the templates of channels.
\pset null -
\set SHOW_CONTEXT never
SET search_path = public, crm;

-- values
SELECT render_text(t, '{"a": "x", "b": {"c": 1.50, "d": null}, "t": true, "l": [1, "two", null, {"k": "v"}], "h": "<a href=\"x\">''`=&"}')
  FROM unnest(ARRAY['', 'none', '{{a}}', '{{ a }}', '[{{b.c}}]', '[{{b.d}}]', '[{{missing}}]', '[{{b.missing.x}}]', '{{t}}', '{{l}}', '{{b}}', '{{h}}', '{{{h}}}', '{{&h}}',
	'{{! a comment }}x', '{ {a} }', '{{=<% %>=}}<%a%>{{a}}<%={{ }}=%>{{a}}']) WITH ORDINALITY AS t(t, n) ORDER BY n;
SELECT render_text('{{h}} {{{h}}} {{&h}}', '{"h": "<a href=\"x\">''`=&"}', 'html');
SELECT render_text('http://shop/?q={{q}}', '{"q": "ä b&c/d~"}', 'url');

-- sections
SELECT render_text(t, '{"a": "x", "f": false, "n": null, "e": [], "s": "", "z": 0, "l": [{"k": "v"}, {"k": "w", "a": "y"}], "o": {"k": "q"}, "m": [[1, 2], [3]]}')
  FROM unnest(ARRAY['{{#a}}[{{.}}]{{/a}}', '{{#f}}no{{/f}}{{^f}}yes{{/f}}', '{{^n}}yes{{/n}}', '{{^e}}yes{{/e}}', '{{^s}}yes{{/s}}', '{{#z}}zero is something{{/z}}',
	'{{#l}}{{k}}{{a}};{{/l}}', '{{#o}}{{k}}{{/o}}', '{{#m}}({{#.}}{{.}},{{/.}}){{/m}}', '{{^missing}}yes{{/missing}}', '{{#l}}{{#o}}{{k}}{{/o}}{{/l}}']) WITH ORDINALITY AS t(t, n) ORDER BY n;
-- a tag alone on its line leaves no line behind
SELECT render_text(E'Dear {{name}},\n{{#items}}\n  * {{name}}\n  {{! nothing }}\n{{/items}}\nBye', '{"name": "Anna", "items": [{"name": "x"}, {"name": "y"}]}');
SELECT render_text(E'a\r\n{{#t}}\r\nb\r\n{{/t}}\r\nc', '{"t": true}') = E'a\r\nb\r\nc';
SELECT template_names('{{b.c}} {{#l}}{{k}}{{.}}{{/l}}{{^a}}{{a}}{{/a}}'), template_names('none'), template_names(NULL);
SELECT render_text(NULL, '{}'), render_text('x', NULL), render_text('{{x}}', '[1]'), render_text('{{.}}', '"x"');

-- what is wrong
SELECT render_text(E'one\n  two {{#a}}', '{}');
SELECT render_text('{{/a}}', '{}');
SELECT render_text('{{#a}}{{#b}}{{/a}}{{/b}}', '{}');
SELECT render_text('ä {{a', '{}');
SELECT render_text('{{{a}}', '{}');
SELECT render_text('{{a b}}', '{}');
SELECT render_text('{{a..b}}', '{}');
SELECT render_text('{{}}', '{}');
SELECT render_text('{{=a=}}', '{}');
SELECT render_text('{{= a b c =}}', '{}');
SELECT render_text('{{> footer}}', '{}');
SELECT render_text(repeat('{{#a}}', 65), '{}');
SELECT render_text(repeat('x', 6000000) || '{{a}}', jsonb_build_object('a', repeat('y', 6000000)));
SELECT render_text('x', '{}', 'xml');

-- templates
SELECT set_template('hello', 'email', '{"subject": "Hello {{customer.name}}", "html": "<b>{{customer.name}}</b>", "text": "Hello {{customer.name}}"}');
SELECT set_template('hello', 'email', '{"subject": "Hello {{customer.name}}", "html": "<b>{{customer.name}}</b>", "text": "Hello {{customer.name}}"}') AS same;
SELECT set_template('hello', 'email', '{"subject": "Hallo {{customer.name}}"}', 'de'), set_template('hello', 'sms', '{"text": "Hi"}');
-- a value brings no header with it, and no markup
SELECT render_template('hello', 'email', E'{"customer": {"name": "A\\r\\nBcc: <all>"}}');
SELECT render_template('hello', 'email', '{"customer": {"name": "Anna"}}', l) FROM unnest(ARRAY['de', 'de-AT', 'fr', '']) AS l;
SELECT set_template('hello', 'email', '{"subject": "Hi"}') AS second, (newest_template('hello', 'email')).version;
SELECT drop_template('hello', 'email', ''), drop_template('hello', 'email', 'fr'), drop_template(NULL);
SELECT render_template('hello', 'email', '{}');
SELECT set_template('hello', 'email', '{"subject": "Hi"}') AS third;
SELECT set_template('hello', 'letter', '{"text": "x"}');
SELECT set_template('hello', NULL, '{"text": "x"}');
SELECT set_template(NULL, 'email', '{"text": "x"}');
SELECT set_template(' hello', 'email', '{"text": "x"}');
SELECT set_template('hello', 'email', '[]');
SELECT set_template('hello', 'email', '{}');
SELECT set_template('hello', 'email', '{"text": 1}');
SELECT set_template('hello', 'email', '{"Text": "x"}');
SELECT set_template('hello', 'email', '{"text": "{{#a}}"}');
SELECT set_template('hello', 'email', '{"text": "x"}', 'German');
SELECT render_template('goodbye', 'email', '{}');
SELECT render_parts('[]', '{}');
DROP EXTENSION crm_marketing CASCADE;
CREATE EXTENSION crm_marketing;

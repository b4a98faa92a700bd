--
-- Normal forms of phone numbers and e-mail addresses
--
\set SHOW_CONTEXT never

-- What a function makes of a value, or with which words it refuses it
CREATE FUNCTION address_try(function text, VARIADIC arguments text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	result text;
	reason text;
BEGIN
	EXECUTE format('SELECT crm.%I(%s)', function,
				   (SELECT string_agg(quote_nullable(a), ', ' ORDER BY n)
					  FROM unnest(arguments) WITH ORDINALITY AS u(a, n)))
	   INTO result;
	RETURN result;
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS reason = PG_EXCEPTION_DETAIL;
	RETURN coalesce(nullif(reason, ''), SQLERRM);
END
$$;
-- A value with what is not seen as a question mark, and a long one cut
CREATE FUNCTION address_shown(value text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN length(value) > 40 THEN left(value, 20) || '... ' || length(value)
				ELSE regexp_replace(quote_literal(value), E'[\\n\\t\\u00A0\\u200B\\uFEFF]', '?', 'g') END
$$;
\pset null NULL

--
-- Phones
--

-- One number in many spellings, in its country and without one
SELECT address_shown(phone) AS phone, address_try('normalize_phone', phone, 'RU') AS ru,
	   address_try('normalize_phone', phone, NULL) AS nowhere
  FROM (VALUES
	(1, '+79161234567'),
	(2, '+7 (916) 123-45-67'),
	(3, '(+7) 916.123.45.67'),
	(4, E'  \t+7 916 1234567\n'),
	(5, '++79161234567'),
	(6, 'tel:+7-916-123-45-67'),
	(7, '+7 8 916 123-45-67'),
	(8, '8 (916) 123-45-67'),
	(9, '89161234567'),
	(10, '9161234567'),
	(11, '79161234567'),
	(12, 'Phone: 8-916-123-45-67'),
	(13, '8 916 123-45-67 ext. 12'),
	(14, '+7 916 123-45-67 x12'),
	(15, 'tel:+7-916-123-45-67;ext=12'),
	(16, '8 916 123-45-67 доб. 12'),
	(17, U&'8\00A0916\00A0123\201145\201167'),
	(18, '８９１６１２３４５６７'),
	(19, '＋７９１６１２３４５６７'),
	(20, '٨٩١٦١٢٣٤٥٦٧'),
	(21, '+७९१६१२३४५६७')
  ) AS v(n, phone)
 ORDER BY n;

-- Each country dials in its own way
SELECT phone, country, address_try('normalize_phone', phone, country)
  FROM (VALUES
	(1, '8 (495) 123-45-67', 'RU'),
	(2, '8 800 555-35-35', 'RU'),
	(3, '810 44 20 7946 0018', 'RU'),
	(4, '+44 (0)20 7946 0018', 'RU'),
	(5, '020 7946 0018', 'GB'),
	(6, '020 7946 0018', 'gb'),
	(7, '00 7 916 123-45-67', 'GB'),
	(8, '(202) 456-1111', 'US'),
	(9, '1-202-456-1111', 'US'),
	(10, '011 7 916 123 4567', 'US'),
	(11, '030 901820', 'DE'),
	(12, '06 12 34 56 78', 'FR'),
	(13, '06 6982', 'IT'),
	(14, '+39 06 6982', NULL),
	(15, '03-3580-3311', 'JP'),
	(16, '+800 1234 5678', NULL)
  ) AS v(n, phone, country)
 ORDER BY n;

-- With + a number need only be possible; without it must be valid
SELECT phone, address_try('normalize_phone', phone, 'RU')
  FROM (VALUES (1, '+7 100 123-45-67'), (2, '8 100 123-45-67'), (3, '100 123-45-67')) AS v(n, phone)
 ORDER BY n;

-- What is no phone number, and why
SELECT address_shown(phone) AS phone, address_try('normalize_phone', phone, 'RU')
  FROM (VALUES
	(1, ''),
	(2, '   '),
	(3, '+'),
	(4, '+7'),
	(5, 'none'),
	(6, 'anna@example.org'),
	(7, '0'),
	(8, '112'),
	(9, '123-45-67'),
	(10, '+7 916 123'),
	(11, '+7 916 123-45-67 89 01 23 45'),
	(12, '+7 000 000-00-00'),
	(13, '8 000 000-00-00'),
	(14, '+0 123 456 7890'),
	(15, '+999 123 456 789'),
	(16, '+8 916 123-45-67'),
	(17, '8 916 123-45-67, 8 916 123-45-68'),
	(18, '89161234567/89161234568'),
	(19, '+79161234567 +79161234568'),
	(20, '8916o1234567'),
	(21, '8916l234567'),
	(22, '1-800-FLOWERS'),
	(23, '89161234567abc'),
	(24, '8916abc1234567 ext. 12'),
	(25, U&'8916\0301234567'),
	(26, repeat('1', 250)),
	(27, repeat('1', 251)),
	(28, '+7916123456' || repeat(' ', 300) || '7'),
	(29, repeat('+7', 500000)),
	(30, repeat('9', 1000000))
  ) AS v(n, phone)
 ORDER BY n;
SELECT crm.normalize_phone(repeat(' ', 1000000) || '+79161234567');

-- The errors in full
SELECT crm.normalize_phone('8 916 123-45-67');
\echo :SQLSTATE
SELECT crm.normalize_phone('8 100 123-45-67', 'RU');
SELECT crm.normalize_phone('916', 'RU');
SELECT crm.normalize_phone(repeat('я', 100), 'RU');
SELECT crm.normalize_phone('+79161234567', 'XX');
\echo :SQLSTATE
SELECT address_try('normalize_phone', '+79161234567', country)
  FROM unnest(ARRAY['', 'R', 'RUS', '7', 'ZZ', '001', 'Р', 'UK', repeat('RU', 500000)]) AS country;

-- NULL
SELECT crm.normalize_phone(NULL), crm.normalize_phone(NULL, 'RU'), crm.normalize_phone(NULL, 'nonsense'),
	   crm.normalize_phone('+79161234567', NULL);

-- The country that is set for the shop
SELECT crm.configure('country', 'ru');
SELECT crm.normalize_phone('8 916 123-45-67'), crm.normalize_phone('020 7946 0018', 'GB');
SELECT crm.normalize_phone('020 7946 0018');
SELECT crm.configure('country', 'XX');
SELECT crm.normalize_phone('+79161234567');
SELECT crm.configure('country', 'GB');
SELECT crm.normalize_phone('020 7946 0018') FROM generate_series(1, 2);
-- also for who may only call the function, here for a view
CREATE ROLE regress_crm_address;
CREATE VIEW address_view AS SELECT crm.normalize_phone('020 7946 0018') AS phone;
GRANT SELECT ON address_view TO regress_crm_address;
GRANT EXECUTE ON FUNCTION crm.normalize_phone(text, text) TO regress_crm_address;
SET ROLE regress_crm_address;
SELECT * FROM address_view;
RESET ROLE;
DROP VIEW address_view;
REVOKE EXECUTE ON FUNCTION crm.normalize_phone(text, text) FROM regress_crm_address;
DROP ROLE regress_crm_address;
-- crm.normal_form takes the one that it is given
SELECT crm.normal_form('phone', '020 7946 0018'), crm.normal_form('phone', '020 7946 0018', crm.country());
SELECT crm.configure('country', NULL);

--
-- E-mail addresses
--

SELECT address_shown(email) AS email, address_try('normalize_email', email)
  FROM (VALUES
	(1, 'anna@example.org'),
	(2, E' \t\r\n Anna.Smith+Shop@Example.ORG\n'),
	(3, 'o''brien_{1}~!#$%&*/=?^`|@x.ie'),
	(4, 'a@b.co'),
	(5, '123@456.com'),
	(6, 'a@1-2.example.org'),
	(7, 'a@ab--cd.com'),
	(8, 'Анна@example.org'),
	(9, 'anna@münchen.de'),
	(10, 'anna@MÜNCHEN.DE'),
	(11, U&'anna@mu\0308nchen.de'),
	(12, 'anna@xn--mnchen-3ya.de'),
	(13, 'anna@XN--MNCHEN-3YA.de'),
	(14, 'info@пример.рф'),
	(15, 'info@ПРИМЕР.РФ'),
	(16, 'info@xn--e1afmkfd.рф'),
	(17, 'a@straße.de'),
	(18, 'a@例え.テスト'),
	(19, 'a@ｅｘａｍｐｌｅ。com'),
	(20, 'a@مثال.إختبار'),
	(21, repeat('a', 64) || '@example.org'),
	(22, 'a@' || repeat('b', 63) || '.org'),
	(23, 'a@' || repeat('b.', 125) || 'org')
  ) AS v(n, email)
 ORDER BY n;

SELECT address_shown(email) AS email, address_try('normalize_email', email)
  FROM (VALUES
	(1, ''),
	(2, '  '),
	(3, '@'),
	(4, 'anna'),
	(5, 'anna@'),
	(6, '@example.org'),
	(7, 'anna@@example.org'),
	(8, 'anna@home@example.org'),
	(9, 'anna@example.org, ben@example.org'),
	(10, 'Anna <anna@example.org>'),
	(11, '<anna@example.org>'),
	(12, 'mailto:anna@example.org'),
	(13, '"anna"@example.org'),
	(14, '"anna@home"@example.org'),
	(15, 'anna smith@example.org'),
	(16, E'anna\x01@example.org'),
	(17, U&'anna\00A0smith@example.org'),
	(18, U&'\FEFFanna@example.org'),
	(19, U&'anna\200B@example.org'),
	(20, 'anna(work)@example.org'),
	(21, 'anna,smith@example.org'),
	(22, '.anna@example.org'),
	(23, 'anna.@example.org'),
	(24, 'anna..smith@example.org'),
	(25, repeat('a', 65) || '@example.org'),
	(26, repeat('я', 33) || '@example.org'),
	(27, 'anna@localhost'),
	(28, 'anna@.example.org'),
	(29, 'anna@example.org.'),
	(30, 'anna@example..org'),
	(31, 'anna@пример..рф'),
	(32, 'anna@-example.org'),
	(33, 'anna@example-.org'),
	(34, 'anna@пример-.рф'),
	(35, 'anna@exam ple.org'),
	(36, 'anna@exam_ple.org'),
	(37, 'anna@пример_1.рф'),
	(38, 'anna@example.org;'),
	(39, 'anna@192.0.2.1'),
	(40, 'anna@[192.0.2.1]'),
	(41, 'anna@☺.de'),
	(42, 'anna@i❤.ws'),
	(43, 'anna@xn--i-7iq.ws'),
	(44, 'anna@xn--zzzzzz.de'),
	(45, 'anna@xn--.de'),
	(46, 'anna@aא.com'),
	(47, 'anna@' || repeat('b', 64) || '.org'),
	(48, 'anna@' || repeat('ж', 63) || '.рф'),
	(49, 'anna@' || repeat('b.', 126) || 'org'),
	(50, 'anna@' || repeat('ж.', 100) || 'рф'),
	(51, repeat('a', 1000) || '@' || repeat('b', 1000)),
	(52, repeat('a@b.ru', 200000)),
	(53, repeat(' ', 1000000) || '@')
  ) AS v(n, email)
 ORDER BY n;

SELECT crm.normalize_email('anna.example.org');
\echo :SQLSTATE
SELECT crm.normalize_email('Anna <anna@example.org>');
SELECT crm.normalize_email('anna@☺.de');
SELECT crm.normalize_email(repeat('я', 100) || '@example.org');
SELECT crm.normalize_email(NULL);

--
-- Whatever an identity may be
--

SELECT namespace, address_shown(value) AS value, country, crm.normal_form(namespace, value, country)
  FROM (VALUES
	(1, 'phone', '8 (916) 123-45-67', 'RU'),
	(2, 'phone', '8 (916) 123-45-67', 'ru'),
	(3, 'phone', '8 (916) 123-45-67', NULL),
	(4, 'phone', '8 (916) 123-45-67', 'XX'),
	(5, 'phone', '8 (916) 123-45-67', 'Russia'),
	(6, 'phone', '+7 (916) 123-45-67', NULL),
	(7, 'phone', '+7 (916) 123-45-67', 'XX'),
	(8, 'phone', '+7 (916) 123-45-67', 'Russia'),
	(9, 'phone', 'none', 'RU'),
	(10, 'phone', '', 'RU'),
	(11, 'phone', repeat('7', 1000000), 'RU'),
	(12, 'email', ' Anna@Example.org ', NULL),
	(13, 'email', 'anna@пример.рф', 'RU'),
	(14, 'email', 'anna', NULL),
	(15, 'email', '', NULL),
	(16, 'email', repeat('a@b.ru', 200000), NULL),
	(17, 'card', E' \t4000 1234\n', NULL),
	(18, 'card', 'ABC', 'RU'),
	(19, 'card', ' ', NULL),
	(20, 'card', '', NULL),
	(21, 'Phone', ' 8 916 ', 'RU'),
	(22, '', ' x ', NULL),
	(23, NULL, '1', 'RU'),
	(24, 'phone', NULL, 'RU'),
	(25, 'email', NULL, NULL),
	(26, 'card', NULL, NULL)
  ) AS v(n, namespace, value, country)
 ORDER BY n;
SELECT length(crm.normal_form('card', repeat('7', 1000000) || ' '));

-- A normal form stays as it is, also where libphonenumber would take away one more 0 each time
SELECT phone, crm.normal_form('phone', once) IS NOT DISTINCT FROM once AS stays
  FROM (VALUES ('+44 (0)0 7946 8018'), ('+49 00 901820'), ('+44 (0)0000 7946 8018'), ('+52 1 55 1234 5678')) AS v(phone),
	   crm.normal_form('phone', phone) AS once;
SELECT namespace, value, crm.normal_form(namespace, value, 'US') = value AS stays
  FROM (VALUES
	('phone', '+79161234567'), ('phone', '+390669812345'), ('phone', '+442079460018'), ('phone', '+71001234567'),
	('email', 'anna@example.org'), ('email', 'anna@xn--e1afmkfd.xn--p1ai'), ('card', '4000 1234')
  ) AS v(namespace, value);

-- The same in a parallel worker
BEGIN;
CREATE TABLE address_parallel AS SELECT '8916' || 1000000 + i AS phone FROM generate_series(1, 1000) AS i;
SELECT crm.configure('country', 'RU');
SET LOCAL parallel_setup_cost = 0;
SET LOCAL parallel_tuple_cost = 0;
SET LOCAL min_parallel_table_scan_size = 0;
SET LOCAL max_parallel_workers_per_gather = 2;
SET LOCAL parallel_leader_participation = off;
EXPLAIN (COSTS OFF) SELECT min(crm.normalize_phone(phone)), max(crm.normal_form('phone', phone, 'RU')) FROM address_parallel;
SELECT min(crm.normalize_phone(phone)), max(crm.normal_form('phone', phone, 'RU')) FROM address_parallel;
ROLLBACK;

-- No bytes do any harm
SELECT count(crm.normal_form('phone', value, 'RU')) < 1000 AS phones, count(crm.normal_form('email', value)) < 1000 AS emails
  FROM (SELECT string_agg(chr(CASE (i + k) % 4 WHEN 0 THEN 43 + (i * k) % 22 WHEN 1 THEN 1 + (i * k * 7) % 126
									 WHEN 2 THEN 160 + (i * k * 131) % 50000 ELSE 65536 + (i * k * 8191) % 900000 END),
						  '') AS value
		  FROM generate_series(1, 1000) AS i, generate_series(1, 12) AS k
		 GROUP BY i) AS v;

DROP FUNCTION address_try;
DROP FUNCTION address_shown;

--
-- Other encodings of the database
--

\set main :DBNAME
CREATE DATABASE regress_crm_latin1 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_crm_latin1
CREATE EXTENSION crm_marketing;
SET client_encoding = 'UTF8';
SELECT crm.normalize_email('Jürgen@München.de'), crm.normalize_email('ANNA@xn--e1afmkfd.xn--p1ai'),
	   crm.normalize_phone(U&'8\00A0916\00A0123-45-67', 'RU');
SELECT crm.normalize_email('Jürgen@§.de');
SELECT crm.normal_form('email', 'Jürgen@§.de'), crm.normal_form('phone', 'Jürgen'), crm.normal_form('card', ' ü ');
\c :main
DROP DATABASE regress_crm_latin1;

-- Nobody knows what bytes are here: they are taken for UTF-8 when they can be
CREATE DATABASE regress_crm_ascii ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
\c regress_crm_ascii
CREATE EXTENSION crm_marketing;
SET client_encoding = 'SQL_ASCII';
SELECT crm.normalize_email('jürgen@münchen.de'), crm.normalize_phone('＋７９１６１２３４５６７');
SELECT crm.normal_form('email', E'j\xFCrgen@example.org'), crm.normal_form('email', E'anna@m\xFCnchen.de'),
	   crm.normal_form('phone', E'\xFF\xFE+79161234567'), crm.normal_form('email', E'a\xE2\x82@b.ru');
\set VERBOSITY terse
SELECT crm.normalize_email(E'anna@example.org\xFC\xC3') IS NULL;
SELECT crm.normalize_phone(E'8 916 \xC3') IS NULL;
-- what has no form in UTF-8 is no address of any kind, and stops no refresh
SELECT crm.normal_form('telegram', E'\xC3') IS NULL AS none;
SELECT crm.define_customers($$SELECT 1 AS customer_id, E'\xC3' AS telegram$$);
SELECT crm.create_segment('reached', 'channels contains ''telegram''') > 0 AS made;
SELECT * FROM crm.refresh_segments();
SELECT crm.set_contact(1, 'telegram', E'\xC3');
\set VERBOSITY default
\c :main
DROP DATABASE regress_crm_ascii;

# Dump and restore: what comes back is what there was, by whatever way pg_dump and pg_restore offer; and the extension goes
# without leaving anything behind.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "timezone = 'UTC'\nmax_connections = 20\nautovacuum = off\nlog_statement = none\n");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', <<'SQL');
CREATE ROLE shop_owner;
CREATE ROLE marketer LOGIN;
CREATE ROLE "The ""Analyst""" LOGIN;
CREATE ROLE nobody LOGIN;
SQL

# A shop with everything in it that is kept. $key makes the shop's key of the integer i.
sub build
{
	my ($db, $key) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, <<"SQL");
CREATE SCHEMA "Web ""Shop""" AUTHORIZATION shop_owner;
SET ROLE shop_owner;
SET search_path = "Web ""Shop""";
CREATE TABLE "Users" AS SELECT $key AS id, 'City ' || i % 7 AS city, date '1960-01-01' + i * 37 AS birthday,
		CASE WHEN i % 5 > 0 THEN ARRAY['a' || i % 3, 'it''s "x"'] END AS tags, 'Имя ' || i AS "Имя"
	FROM generate_series(1, 300) AS i;
CREATE TABLE orders AS SELECT o AS id, (SELECT $key FROM (SELECT o * 7 % 290 + 1 AS i) AS k) AS user_id,
		timestamptz '2026-01-20 00:00:00Z' - o * o % 9000 * interval '1 hour' AS placed_at, (o % 50 + 0.10)::numeric(12, 2) AS total
	FROM generate_series(1, 1500) AS o;
ALTER TABLE "Users" ADD PRIMARY KEY (id);
ALTER TABLE orders ADD PRIMARY KEY (id);
CREATE INDEX ON orders (user_id);
CREATE FUNCTION half(numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT \$1 / 2';
RESET ROLE;

CREATE EXTENSION crm_marketing;
SELECT crm.configure('timezone', 'Europe/Moscow');
SELECT crm.grant_access('shop_owner', 'marketer');
GRANT EXECUTE ON FUNCTION crm.define_customers(text), crm.define_event(text, text) TO shop_owner;
GRANT SELECT (name) ON crm.setting TO nobody;
SET ROLE shop_owner;
SELECT crm.define_customers('SELECT id AS customer_id, city, birthday, tags, "Имя" FROM "Users"');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, half(total) AS half FROM orders');
SELECT crm.define_event('In-Store "Order"', 'SELECT user_id AS customer_id, placed_at::date AS at FROM orders WHERE id % 10 = 0');
RESET ROLE;
SELECT crm.grant_access('marketer', 'marketer');
SELECT crm.grant_access('"The ""Analyst"""', 'analyst');

-- of customers, whatever their ids are
SELECT crm.track(c.customer_id, CASE WHEN n % 2 = 0 THEN 'view' ELSE 'Chat "x"' END,
		jsonb_build_object('item', 'SKU-' || n, 'price', n * 1.10, 'seen', '2026-01-0' || n % 9 + 1, 'tags', ARRAY['a', 'b']),
		timestamptz '2026-01-19 10:00:00Z' - n * interval '30 hours', CASE WHEN n % 3 = 0 THEN 'key ' || n END)
	FROM (SELECT f.customer_id, row_number() OVER (ORDER BY f."Имя") AS n FROM crm_feed.customer AS f) AS c WHERE n <= 90;

SELECT crm.create_segment('buyers', 'has order');
SELECT crm.create_segment('recent', 'has order in last 20 days or has "Chat ""x""" in last 20 days');
SELECT crm.create_segment('both', 'in segment ''recent'' and in segment ''buyers'' and city <> ''City 3''');
SELECT crm.create_segment('big', 'sum(order.half) > 40 and not in segment ''both''');
SELECT crm.create_static_segment('invited', ARRAY(SELECT customer_id FROM crm_feed.customer ORDER BY "Имя" LIMIT 20));
SELECT crm.create_static_segment('snapshot', predicate => 'has "In-Store ""Order""" in last 3 months', at => '2026-01-10');
SELECT crm.create_segment('Я "x"', 'anniversary(birthday) in next 10 days or in segment ''invited''');
SELECT crm.rename_segment('buyers', 'all buyers');
SELECT crm.refresh_segments('2026-01-20 00:00:00Z');
SELECT crm.alter_segment('big', 'sum(order.half) > 30 and not in segment ''both''', '2026-01-20 00:00:00Z');

-- people: merged, and one of them back; known by this and that; agreeing and refusing; one who is to be forgotten
CREATE TEMP TABLE person AS SELECT row_number() OVER (ORDER BY f."Имя") AS n, f.customer_id AS id FROM crm_feed.customer AS f;
CREATE FUNCTION pg_temp.person(n int) RETURNS bigint LANGUAGE sql AS 'SELECT p.id FROM person AS p WHERE p.n = \$1';
SELECT crm.configure('country', 'RU'), crm.define_channel('ad:google', 'email');
SELECT crm.merge_customers(pg_temp.person(1), pg_temp.person(2), 'it''s "him"'), crm.merge_customers(pg_temp.person(3), pg_temp.person(1)),
	crm.merge_customers(pg_temp.person(4), pg_temp.person(5)), crm.unmerge_customers(pg_temp.person(5)), crm.forbid_merge(pg_temp.person(4), pg_temp.person(5));
SELECT crm.identify('cookie', 'f3a9'), crm.link_identity(pg_temp.person(6), 'phone', '8 916 123-45-67'), crm.share_identity('email', 'info\@example.org');
SELECT crm.set_contact(pg_temp.person(6), 'sms', '+7 916 123-45-67'), crm.record_consent(pg_temp.person(6), 'sms', proof => '{"form": 1}'),
	crm.unsubscribe(pg_temp.person(7)), crm.suppress_address('call', '+79161234567', 'asked for it');
SELECT crm.set_attributes(pg_temp.person(8), '{"pet": "cat", "children": 2, "since": "2026-01-01", "sizes": [1, 2]}', 'questionnaire:1'),
	crm.set_source_priority('questionnaire:1', 5), crm.add_tag(pg_temp.person(8), 'vip'), crm.set_retention('event', '2 years');
SELECT crm.define_code_pool('it''s "printed"', valid_for => '3 months', low_at => 1), crm.add_codes('it''s "printed"', '{Code-A,Code-Ж,Code-C}'),
	crm.define_code_pool('made', 'MADE-######', personal => false);
SELECT crm.take_code('it''s "printed"', pg_temp.person(n), 'welcome'), crm.take_code('made', pg_temp.person(n), 'cart ' || n) FROM unnest('{8,9}'::int[]) AS n;
SELECT crm.redeem_code('code-a', pg_temp.person(8), 'order 17'), crm.withdraw_code('Code-C');
SELECT crm.erase_customer(pg_temp.person(9));
SELECT crm.create_segment('people', 'pet = ''cat'' or reachable contains ''sms'' or tags contains ''vip''');
INSERT INTO "Web ""Shop""".orders SELECT id + 5000, user_id, '2026-01-22 00:00:00Z', 99 FROM "Web ""Shop""".orders WHERE id % 40 = 0;
DELETE FROM "Web ""Shop"""."Users" WHERE "Имя" = 'Имя 299';
SELECT crm.refresh_segments('2026-01-24 00:00:00Z');
-- the last ids that were given are nobody's any more
SELECT crm.create_segment('short-lived', 'true');
SELECT crm.refresh_segments('2026-01-24 00:00:00Z');
SELECT crm.drop_segment('short-lived', '2026-01-24 00:00:00Z');
SQL
	return;
}

# Everything there is to be compared. "core" leaves out whose it all is.
my %core = (
	settings => 'SELECT * FROM crm.setting ORDER BY 1',
	feeds => 'SELECT kind, state, reason, definer, indexed, key_type, columns, tables::text, query FROM crm.feeds',
	sources => 'SELECT * FROM crm.source WHERE NOT own ORDER BY kind',
	identities => 'SELECT * FROM crm.identity ORDER BY 1, 2, 3',
	people => q{SELECT t, x.rows FROM unnest('{alias,attribute,attribute_source,cannot_link,channel,code_pool,code_redemption,consent,contact,
			customer_code,erased,erased_customer,merge_log,promo_code,retention,shared_identity,source_property,static_member,suppression,tag}'::name[]) AS t,
		LATERAL query_to_xml(format('SELECT count(*), string_agg(t::text, %L ORDER BY t::text) FROM crm.%I AS t', E'\n', t), true, true, '') AS x(rows)
		ORDER BY 1},
	cards => q{SELECT p.c, crm.customer_card(p.c) FROM (SELECT DISTINCT customer_id FROM crm.identity UNION SELECT customer_id FROM crm.tag) AS p(c) ORDER BY 1},
	events => 'SELECT tableoid::regclass, * FROM crm.event ORDER BY 2, 3, 4',
	'event keys' => 'SELECT * FROM crm.event_key ORDER BY 1, 2, 3',
	partitions => q{SELECT c.relname, pg_get_expr(c.relpartbound, c.oid), ARRAY(SELECT indexdef FROM pg_indexes AS i
		WHERE i.schemaname = 'crm' AND i.tablename = c.relname) FROM pg_class AS c WHERE c.relispartition ORDER BY 1},
	segments => 'SELECT segment_id, name, predicate, version, created_at, changed_at, evaluated_at FROM crm.segment ORDER BY 1',
	definitions => 'SELECT * FROM crm.segments ORDER BY 1',
	memberships => 'SELECT * FROM crm.membership ORDER BY 1',
	members => 'SELECT s.name, array_agg(m ORDER BY m) FROM crm.segment AS s, crm.members(s.name) AS m GROUP BY 1 ORDER BY 1',
	changes => 'SELECT * FROM crm.membership_change ORDER BY 1',
	'profiles, to the byte' => q{SELECT c, encode(crm.profile_send(crm.profile_of(c)), 'hex') FROM
		(SELECT customer_id FROM crm_feed.customer UNION SELECT customer_id FROM crm.identity) AS x(c) ORDER BY 1},
	answers => q{SELECT s.name, array_agg(x.c ORDER BY x.c) FROM crm.segment AS s, (SELECT DISTINCT customer_id FROM crm_feed.customer
		WHERE customer_id % 9 = 0) AS x(c) WHERE crm.matches_segment(x.c, s.name, '2026-01-24 00:00:00Z') GROUP BY 1 ORDER BY 1},
	sequences => q{SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2},
	members_of_extension => q{SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'crm_marketing') ORDER BY 1},
	views => q{SELECT c.oid::regclass, pg_get_viewdef(c.oid) FROM pg_class AS c WHERE relnamespace = 'crm_feed'::regnamespace ORDER BY c.relname},
);
my %rights = (
	owners => q{SELECT c.oid::regclass::text, pg_get_userbyid(relowner) FROM pg_class AS c
		WHERE relnamespace::regnamespace::text IN ('crm', 'crm_feed', '"Web ""Shop"""') ORDER BY 1},
	grants => q{SELECT x.kind, x.name, a.grantor::regrole, a.grantee::regrole, a.privilege_type, a.is_grantable FROM (
			SELECT 'relation' AS kind, c.oid::regclass::text AS name, coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char",
				relowner)) AS acl FROM pg_class AS c WHERE relnamespace::regnamespace::text IN ('crm', 'crm_feed')
			UNION ALL SELECT 'column', attrelid::regclass || '.' || attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL
			UNION ALL SELECT 'function', p.oid::regprocedure::text, coalesce(proacl, acldefault('f', proowner)) FROM pg_proc AS p
				WHERE pronamespace = 'crm'::regnamespace
			UNION ALL SELECT 'type', t.oid::regtype::text, coalesce(typacl, acldefault('T', typowner)) FROM pg_type AS t
				WHERE typnamespace = 'crm'::regnamespace
			UNION ALL SELECT 'schema', nspname::text, coalesce(nspacl, acldefault('n', nspowner)) FROM pg_namespace WHERE nspname LIKE 'crm%'
			UNION ALL SELECT 'default', format('%s %s %s', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype), defaclacl
				FROM pg_default_acl) AS x, aclexplode(x.acl) AS a ORDER BY 1, 2, 3, 4, 5, 6},
);

# By one call of psql: a line before each answer tells which it is.
sub state_of
{
	my ($db, %queries) = @_;
	my @names = sort keys %queries;
	my $out = $node->safe_psql($db, join("\n", 'SET client_min_messages = warning;', map { "SELECT '==$_=='; $queries{$_};" } @names));
	my %state = map { $_ => '' } @names;
	my $name;
	foreach my $line (split(/\n/, $out))
	{
		if ($line =~ /^==(.*)==$/)
		{
			$name = $1;
			next;
		}
		$state{$name} .= "$line\n";
	}
	return \%state;
}

sub same_state
{
	my ($db, $expected, $name, %queries) = @_;
	my $got = state_of($db, %queries);
	is($got->{$_}, $expected->{$_}, "$name: $_") for sort keys %queries;
	return;
}

# A dump as text, without what is different in each (the key of \restrict) and without blank lines.
sub dump_text
{
	my ($db) = @_;
	my $file = "$dir/text.sql";
	$node->command_ok([ 'pg_dump', '-f', $file, $db ], "$db: dump as text") or return '';
	return join("\n", grep { $_ ne '' && !/^\\(un)?restrict / } split(/\n/, slurp_file($file)));
}

# No row may be there only because it was empty before
sub check_fixture
{
	my ($state, $name) = @_;
	ok($state->{$_} ne '', "$name: there are $_") for grep { $_ ne 'identities' } sort keys %core;
	return;
}

# How the shop goes on in a restored database: as if nothing had been.
sub goes_on
{
	my ($db, $original, $key, $name) = @_;
	my $later = 'SELECT * FROM crm.refresh_segments(\'2026-02-10 00:00:00Z\')';
	my $nothing = $node->safe_psql($db, q{SELECT entered, "left" FROM crm.refresh_segments('2026-01-24 00:00:00Z')});
	is($nothing, '0|0', "$name: a refresh finds nothing to change");

	my ($change, $segment) = split(/\|/, $node->safe_psql($original, 'SELECT max(change_id), max(segment_id) FROM crm.segment_change'));
	is($node->safe_psql($db, $later), $node->safe_psql($original, "BEGIN; $later; ROLLBACK"),
		"$name: a later refresh finds what it would have found there");
	cmp_ok($node->safe_psql($db, "SELECT count(*) FROM crm.membership_change WHERE change_id > $change"),
		'>', 0, "$name: it found something");
	is($node->safe_psql($db, "SELECT count(*) - count(DISTINCT change_id) FROM crm.membership_change"), 0, "$name: no id of a change comes twice");
	cmp_ok($node->safe_psql($db, q{SELECT crm.create_segment('new', 'true')}),
		'>', $segment, "$name: the id of a dropped segment is not used again");
	is($node->safe_psql($db, q{SELECT crm.track(customer_id, kind, '{}', at, event_key) FROM crm.event_key LIMIT 1}), 'f',
		"$name: a repeat of a tracked event is known as one");
	is($node->safe_psql($db, q{SELECT crm.track(1, 'view', '{}', '2026-01-19 00:00:00Z')}), 't', "$name: a month goes on");
	is($node->safe_psql($db, q{SELECT crm.track(1, 'view', '{}', '2027-01-01 00:00:00Z')}), 't', "$name: another begins");
	$node->safe_psql($db, qq{INSERT INTO "Web ""Shop"""."Users" SELECT $key, 'New' FROM (VALUES (1001)) AS x(i)});
	my $new = $node->safe_psql($db, q{SET client_min_messages = warning; SELECT crm.refresh_segments('2026-02-10 00:00:00Z');
		SELECT customer_id FROM crm_feed.customer WHERE city = 'New'});
	$new =~ s/.*\n//s;
	is($node->safe_psql($db, "SELECT count(*) FROM crm.identity WHERE customer_id = $new OR $new <= (SELECT max(customer_id) FROM crm.identity
		WHERE customer_id <> $new)"), $key eq 'i' ? 0 : 1, "$name: a new customer has an id of their own");
	is($node->safe_psql($db, "SELECT crm.is_member($new, 'new')"), 't', "$name: and is seen by a refresh");
	return;
}

sub as_role
{
	my ($db, $role, $sql) = @_;
	my ($code, $out, $err) = $node->psql($db, "SET ROLE $role; $sql");
	return $code == 0 ? $out : $err =~ s/^.*ERROR:\s+//r;
}

foreach my $shop ([ 'by_integer', 'i', [ 'plain', 'custom', 'sections' ] ], [ 'by_uuid', q{md5(i::text)::uuid}, [ 'plain', 'jobs' ] ])
{
	my ($db, $key, $ways) = @$shop;
	my $other = "${db}_$ways->[1]";
	build($db, $key);
	my $before = state_of($db, %core, %rights);
	check_fixture($before, $db);
	my $text = dump_text($db);

	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$db.custom", $db ], "$db: custom dump");
	$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/$db.directory", $db ], "$db: directory dump");
	$node->command_ok([ 'pg_dump', '-Fp', '-f', "$dir/$db.sql", $db ], "$db: plain dump");

	# Many ways to the same end
	my %ways = (
		custom => [ [ 'pg_restore', '--exit-on-error', '-d', "${db}_custom", "$dir/$db.custom" ] ],
		jobs => [ [ 'pg_restore', '--exit-on-error', '--jobs=3', '-d', "${db}_jobs", "$dir/$db.directory" ] ],
		plain => [ [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', "${db}_plain", '-f', "$dir/$db.sql" ] ],
		sections => [ map { [ 'pg_restore', '--exit-on-error', "--section=$_", '-d', "${db}_sections", "$dir/$db.custom" ] }
			  'pre-data', 'data', 'post-data' ]);
	foreach my $way (@$ways)
	{
		$node->safe_psql('postgres', "CREATE DATABASE ${db}_$way");
		$node->command_ok($_, "$db, $way: restore") for @{ $ways{$way} };
		same_state("${db}_$way", $before, "$db, $way", %core, %rights);
	}

	# A second round, over what is there, in one transaction
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$db.second", "${db}_plain" ], "$db: second dump");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '--single-transaction', '--clean', '--if-exists', '-d', "${db}_plain",
			"$dir/$db.second" ], "$db: second restore, over the first");
	same_state("${db}_plain", $before, "$db, second round", %core, %rights);
	is(dump_text("${db}_plain"), $text, "$db: a dump after two rounds is the same dump");

	# Who could do something can, who could not cannot
	foreach my $d ($db, $other)
	{
		is(as_role($d, '"The ""Analyst"""', q{SELECT count(*) FROM crm.members('invited')}), 17, "$d: the analyst reads");
		like(as_role($d, '"The ""Analyst"""', q{SELECT crm.drop_segment('invited')}), qr/^permission denied for function/, "$d: and drops nothing");
		like(as_role($d, 'nobody', q{SELECT crm.members('invited')}), qr/^permission denied/, "$d: nobody reads nothing");
		is(as_role($d, 'marketer', q{BEGIN; SELECT crm.drop_segment('Я "x"'); ROLLBACK}), '', "$d: the marketer drops a segment");
		like(as_role($d, 'shop_owner', q{BEGIN; SELECT crm.define_event('order',
				'SELECT id AS customer_id, placed_at AS at FROM "Web ""Shop""".orders'); ROLLBACK}),
			$db eq 'by_integer' ? qr/^$/ : qr/has type integer/, "$d: the definer defines a feed anew");
	}

	# Feeds made again are the feeds that were restored
	is($node->safe_psql("${db}_plain", q{SET client_min_messages = warning; SELECT crm.rebuild_feeds()}), 3, "$db: feeds are rebuilt");
	same_state("${db}_plain", $before, "$db, rebuilt", map { $_ => $core{$_} } 'views', 'profiles, to the byte', 'answers');

	goes_on($other, $db, $key, $other);

	# Into other hands: all that was granted is left out, everything belongs to who restores
	$node->safe_psql('postgres', "CREATE DATABASE ${db}_mine");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '--no-owner', '--no-privileges', '-d', "${db}_mine", "$dir/$db.custom" ],
		"$db: restore without owners");
	same_state("${db}_mine", $before, "$db, without owners", map { $_ => $core{$_} } grep { $_ ne 'feeds' } keys %core);
	is($node->safe_psql("${db}_mine", q{SELECT bool_and(state IN ('ok', 'tracked')) FROM crm.feeds}), 't', "$db: all feeds can be read");
	is($node->safe_psql("${db}_mine", q{SET client_min_messages = warning; SELECT crm.rebuild_feeds();
			SELECT DISTINCT definer FROM crm.source WHERE NOT tracked AND NOT own}), "3\n" . $node->safe_psql('postgres', 'SELECT current_user'), "$db: and belong to who restored them");
}

# A dump while feeds are released has their texts only
$node->safe_psql('by_integer_plain', 'SELECT crm.release_feeds()');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/released", 'by_integer_plain' ], 'dump of released feeds');
$node->safe_psql('postgres', 'CREATE DATABASE released');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'released', "$dir/released" ], 'restore of released feeds');
is($node->safe_psql('released', q{SELECT count(*), min(state) FROM crm.feeds WHERE state <> 'tracked'}), '3|released', 'they are released there');
is($node->safe_psql('released', 'SELECT crm.rebuild_feeds()'), 3, 'and are rebuilt');
same_state('released', state_of('by_integer', %core), 'released and rebuilt', map { $_ => $core{$_} } 'views', 'profiles, to the byte', 'answers');

# A dump of the schema only has the views without their texts: feeds are defined again
$node->command_ok([ 'pg_dump', '--schema-only', '-Fc', '-f', "$dir/schema", 'by_uuid' ], 'dump of the schema only');
$node->safe_psql('postgres', 'CREATE DATABASE bare');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'bare', "$dir/schema" ], 'restore of the schema only');
is($node->safe_psql('bare', 'SELECT count(*) FROM crm.source WHERE NOT own'), 0, 'no feeds are known');
$node->safe_psql('bare', q{SET search_path = "Web ""Shop"""; SELECT crm.define_customers('SELECT id AS customer_id, city FROM "Users"');
	INSERT INTO "Users" VALUES (md5('x')::uuid, 'x'); SELECT crm.create_segment('x', 'city = ''x'''); SELECT crm.refresh_segments()});
is($node->safe_psql('bare', q{SELECT count(*) FROM crm.members('x')}), 1, 'a feed is defined in the place of its view');

# Leaving
my $leftovers = q{SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname LIKE 'crm%'
	UNION ALL SELECT 'relation ' || relname FROM pg_class WHERE relname ~ '^(crm|event_|segment|membership)'
	UNION ALL SELECT 'function ' || proname FROM pg_proc WHERE probin LIKE '%crm_marketing%'
	UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typname IN ('profile', 'predicate')
	UNION ALL SELECT 'rights ' || classoid::text FROM pg_init_privs WHERE privtype = 'e'
	UNION ALL SELECT 'default rights ' || defaclobjtype::text FROM pg_default_acl
	UNION ALL SELECT 'dependency ' || pg_describe_object(classid, objid, objsubid) FROM pg_shdepend
		WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND refobjid = 'marketer'::regrole};
my $shop = q{SELECT count(*), (SELECT count(*) FROM "Web ""Shop"""."Users") FROM "Web ""Shop""".orders};

foreach my $db ('by_integer_custom', 'by_uuid_plain')
{
	my $rows = $node->safe_psql($db, $shop);
	isnt($node->safe_psql($db, $leftovers), '', "$db: there is something to leave behind");
	my ($code, $out, $err) = $node->psql($db, 'DROP EXTENSION crm_marketing');
	like($err, qr/cannot drop extension crm_marketing because other objects depend on it/, "$db: feeds hold the extension");
	is($node->safe_psql($db, 'SELECT count(*) FROM crm.members(\'invited\')'), 17, "$db: and it is whole");
	$node->safe_psql($db, 'DROP EXTENSION crm_marketing CASCADE');
	is($node->safe_psql($db, $leftovers), '', "$db: DROP EXTENSION CASCADE leaves nothing");
	is($node->safe_psql($db, $shop), $rows, "$db: but the shop");
}
foreach my $db ('by_integer_mine', 'by_uuid_mine')
{
	my $rows = $node->safe_psql($db, $shop);
	$node->safe_psql($db, 'SELECT crm.release_feeds(); DROP EXTENSION crm_marketing');
	is($node->safe_psql($db, $leftovers), '', "$db: DROP EXTENSION after crm.release_feeds() leaves nothing");
	is($node->safe_psql($db, $shop), $rows, "$db: but the shop");
}

# Coming back, twice, and elsewhere at the same time
my ($code, $out, $err) = $node->psql('by_uuid', 'CREATE EXTENSION crm_marketing');
like($err, qr/extension "crm_marketing" already exists/, 'it is created once');
my $before = state_of('by_uuid', %core);
$node->safe_psql('by_uuid', 'CREATE EXTENSION IF NOT EXISTS crm_marketing');
same_state('by_uuid', $before, 'created if it did not exist', %core);
foreach my $db ('by_uuid_plain', 'postgres')
{
	$node->safe_psql($db, q{CREATE EXTENSION crm_marketing; CREATE TABLE people (id int); INSERT INTO people VALUES (1), (2);
		SELECT crm.define_customers('SELECT id AS customer_id FROM people'); SELECT crm.create_segment('all', 'true');
		SELECT crm.refresh_segments()});
	is($node->safe_psql($db, q{SELECT segment_id, segment, count(*) FROM crm.segment_member GROUP BY 1, 2}), '1|all|2', "$db: a new one begins anew");
	is($node->safe_psql($db, 'SELECT crm.timezone(), (SELECT count(*) FROM crm.event)'), 'UTC|0', "$db: and knows nothing of others");
}

$node->stop;
done_testing();

# Live segments on a subscriber: what logical replication applies is captured as what a session writes. And what works on a
# standby: all that only reads.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shop = PostgreSQL::Test::Cluster->new('shop');
$shop->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
$shop->start;
my $crm = PostgreSQL::Test::Cluster->new('crm');
$crm->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
$crm->start;

my $tables = <<'SQL';
CREATE TABLE users (id int PRIMARY KEY);
CREATE TABLE orders (id int PRIMARY KEY, user_id int, at timestamptz);
CREATE INDEX ON orders (user_id);
SQL
$shop->safe_psql('postgres', $tables . 'INSERT INTO users SELECT generate_series(1, 9); CREATE PUBLICATION everything FOR ALL TABLES;');
$crm->safe_psql('postgres', $tables);
my $connstr = $shop->connstr . ' dbname=postgres';
$crm->safe_psql('postgres', "CREATE SUBSCRIPTION everything CONNECTION '$connstr' PUBLICATION everything");
$crm->wait_for_subscription_sync($shop, 'everything') if $crm->can('wait_for_subscription_sync');
$crm->poll_query_until('postgres', 'SELECT count(*) = 9 FROM users') or die 'no first copy';

$crm->safe_psql('postgres', <<'SQL');
CREATE EXTENSION crm_marketing;
SELECT crm.define_customers('SELECT id AS customer_id FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at FROM orders');
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders');
SELECT crm.create_segment('bought', 'has order');
SQL
$crm->safe_psql('postgres', 'CALL crm.run_ticks()');

sub arrives
{
	my ($sql, $members, $name) = @_;
	$shop->safe_psql('postgres', $sql);
	$shop->wait_for_catchup('everything');
	$crm->safe_psql('postgres', 'CALL crm.run_ticks()');
	is($crm->safe_psql('postgres', q{SELECT coalesce(string_agg(m::text, ',' ORDER BY m), '') FROM crm.members('bought') AS m}), $members, $name);
	is($crm->safe_psql('postgres', 'SELECT * FROM crm.verify_segments()'), '', 'and all is right');
	return;
}

arrives(q{INSERT INTO orders SELECT g, g, '2026-01-01' FROM generate_series(1, 3) AS g}, '1,2,3', 'inserts that are applied are captured');
arrives(q{UPDATE orders SET user_id = 7 WHERE id = 1}, '2,3,7', 'and updates');
arrives(q{DELETE FROM orders WHERE id = 2}, '3,7', 'and deletes');
arrives(q{BEGIN; INSERT INTO orders VALUES (4, 4, '2026-01-01'); SAVEPOINT a; DELETE FROM orders; ROLLBACK TO a; COMMIT}, '3,4,7',
	'and what is left of a transaction');
arrives(q{TRUNCATE orders}, '', 'and a truncate');
arrives(q{INSERT INTO orders VALUES (5, 5, '2026-01-01')}, '5', 'and what comes after it');

# A standby of the subscriber
$crm->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($crm, 'base', has_streaming => 1);
$standby->start;
$crm->wait_for_catchup($standby);
my %reads = (
	q{SELECT * FROM crm.members('bought')} => '5',
	q{SELECT crm.is_member(5, 'bought')} => 't',
	q{SELECT crm.matches_segment(5, 'bought')} => 't',
	q{SELECT customers FROM crm.preview('has order')} => '1',
	q{SELECT count(*) > 0 FROM crm.explain(5, 'bought')} => 't',
	q{SELECT name, size FROM crm.segments} => 'bought|1',
	q{SELECT count(*) FROM crm.segment_change WHERE customer_id = 5} => '1',
	q{SELECT crm.profile_of(5) IS NOT NULL} => 't',
	q{SELECT state FROM crm.status WHERE item = 'segments'} => 'live',
	q{SELECT * FROM crm.verify_segments()} => '',
);
for my $sql (sort keys %reads)
{
	is($standby->safe_psql('postgres', $sql), $reads{$sql}, "on a standby: $sql");
}
for my $sql ('SELECT crm.tick()', 'SELECT crm.refresh_segments()', q{SELECT crm.create_segment('x', 'has order')}, 'CALL crm.run_ticks()')
{
	my ($status, $out, $err) = $standby->psql('postgres', $sql);
	isnt($status, 0, "on a standby not: $sql");
	like($err, qr/read-only|recovery/, 'and it says why');
}

$standby->stop;
$crm->stop;
$shop->stop;
done_testing();

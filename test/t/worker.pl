# The background workers keep segments live through all that happens to a server: they are terminated, killed, their databases
# are dropped and renamed, the extension goes and comes, feeds fail. Nobody is asked how long it took; only that it comes.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'crm_marketing'
crm_marketing.naptime = '200ms'
timezone = 'UTC'
log_statement = none
restart_after_crash = on
max_prepared_transactions = 10
CONF
$node->start;

my $shop = <<'SQL';
CREATE EXTENSION crm_marketing;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM public.users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount FROM public.orders');
SELECT crm.watch('customer', 'public.users'), crm.watch('order', 'public.orders');
SELECT crm.create_segment('buyers', 'has order'), crm.create_segment('now', 'has order in last 2 seconds');
SQL

sub build
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, <<'SQL');
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, user_id int, placed_at timestamptz DEFAULT clock_timestamp(), total numeric DEFAULT 1);
CREATE INDEX ON orders (user_id);
INSERT INTO users SELECT g, 'c' FROM generate_series(1, 1000) AS g;
SQL
	$node->safe_psql($db, $shop);
	return;
}

sub pid
{
	my ($db, $which) = @_;
	return $node->safe_psql($db, "SELECT ${which}_pid FROM crm.worker_status()");
}

# The next customer buys, is let in, and by and by is no longer one of those of now.
my $customer = 0;

sub is_live
{
	my ($db, $name) = @_;
	$customer++;
	$node->safe_psql($db, "INSERT INTO orders (user_id) VALUES ($customer)");
	ok($node->poll_query_until($db, "SELECT crm.is_member($customer, 'buyers')"), "$name: a commit moves a customer")
	  or diag($node->safe_psql($db, 'SELECT * FROM crm.status; SELECT * FROM crm.tick_error'));
	return;
}

sub is_idle
{
	my ($db) = @_;
	return $node->poll_query_until('postgres',
		"SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = '$db' AND backend_type = 'crm_marketing worker'");
}

# A statement that nobody else may be connected for; it may wait, as PostgreSQL does, but need not be tried again.
sub succeeds
{
	my ($sql, $name) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql);
	is($err, '', $name);
	return;
}

build('shop');
is($node->safe_psql('shop', 'SELECT preloaded, launcher_pid > 0, last_tick IS NULL FROM crm.worker_status()'), 't|t|t', 'the launcher runs');
ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'crm_marketing launcher'"), 'and is shown');
is($node->safe_psql('shop', 'SELECT count(*) FROM crm.slot'), '0', 'a database is left alone until somebody ticks');
$node->safe_psql('shop', 'CALL crm.run_ticks()');

is_live('shop', 'after the first tick');
is($node->safe_psql('shop', 'SELECT last_tick IS NOT NULL FROM crm.worker_status()'), 't', 'the last tick is told');
like($node->safe_psql('shop', "SELECT state FROM crm.status WHERE item = 'worker'"), qr/^(ticking|waiting|resting|starting)$/, 'and how the worker is');

# A deadline: from psql's end on nobody is connected; the worker, which may have ended, comes by itself.
$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (999)');
ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM crm.segment_change WHERE customer_id = 999 AND segment = 'now' AND entered}), 'an order lets in');
sleep 4;
is($node->safe_psql('shop', q{SELECT entered, reason FROM crm.segment_change WHERE customer_id = 999 AND segment = 'now' ORDER BY change_id DESC LIMIT 1}),
	'f|time', 'and a deadline puts out, with nobody connected');
ok(is_idle('shop'), 'a worker without work ends by itself');
is($node->safe_psql('shop', 'SELECT state, worker_pid IS NULL FROM crm.worker_status()'), 'resting|t', 'and rests');
$node->safe_psql('shop', q{INSERT INTO orders (user_id, placed_at) SELECT 998, clock_timestamp() + interval '8 seconds'});
ok(is_idle('shop'), 'it ends again');
ok($node->poll_query_until('shop', q{SELECT count(*) = 2 FROM crm.segment_change WHERE customer_id = 998 AND segment = 'now'}),
	'a deadline that comes while it rests is kept');
is_live('shop', 'after a rest');

# A transaction that was prepared commits without waking anybody.
$node->safe_psql('shop', "BEGIN; INSERT INTO orders (user_id) VALUES (997); PREPARE TRANSACTION 'p'");
$node->safe_psql('shop', "COMMIT PREPARED 'p'");
ok($node->poll_query_until('shop', q{SELECT crm.is_member(997, 'buyers')}), 'a prepared transaction moves a customer');

# The ends of processes
sub present
{
	my ($which) = @_;
	is_live('shop', "before the end of a $which");
	for (1 .. 100)
	{
		my $pid = pid('shop', $which);
		return $pid if $pid ne '';
		$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (996)');
		sleep 0.1;
	}
	die "there is no $which";
}

foreach my $which ('worker', 'launcher')
{
	my $pid = present($which);
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)");
	ok($node->poll_query_until('shop', "SELECT coalesce(${which}_pid, 0) <> $pid FROM crm.worker_status()"), "a terminated $which ends");
	is_live('shop', "after a terminated $which");
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'crm_marketing launcher'"), 'there is one launcher');
}
$node->safe_psql('postgres', 'SELECT pg_cancel_backend(' . present('worker') . ')');
is_live('shop', 'after a cancelled worker');

foreach my $which ('worker', 'launcher')
{
	kill 9, present($which);
	sleep 0.5;
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die 'the server does not come back';
	is_live('shop', "after a killed $which");
}

my $begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 30, 'a fast shutdown ends soon');
$node->start;
is_live('shop', 'after a restart');

# Settings
$node->append_conf('postgresql.conf', "crm_marketing.worker = off\n");
$node->reload;
ok(is_idle('shop'), 'a worker ends when it is switched off');
ok($node->poll_query_until('shop', q{SELECT state = 'off' FROM crm.worker_status()}), 'and says so');
$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (995)');
sleep 0.5;
is($node->safe_psql('shop', q{SELECT crm.is_member(995, 'buyers')}), 'f', 'nobody ticks');
$node->safe_psql('shop', 'CALL crm.run_ticks()');
is($node->safe_psql('shop', q{SELECT crm.is_member(995, 'buyers')}), 't', 'but who wants to');
$node->append_conf('postgresql.conf', "crm_marketing.worker = on\ncrm_marketing.databases = 'nobody, \"No One\"'\n");
$node->reload;
ok($node->poll_query_until('shop', q{SELECT state IN ('not listed', 'not visited') FROM crm.worker_status()}), 'a database that is not listed is left alone')
	or diag($node->safe_psql('shop', 'SELECT * FROM crm.worker_status()'));
$node->append_conf('postgresql.conf', "crm_marketing.databases = 'nobody, shop, second, third'\n");
$node->reload;
is_live('shop', 'listed');

# Many databases, few workers
$node->append_conf('postgresql.conf', "crm_marketing.max_workers = 1\ncrm_marketing.databases = ''\n");
$node->reload;
build($_), $node->safe_psql($_, 'CALL crm.run_ticks()') foreach ('second', 'third');
foreach (1 .. 3)
{
	is_live($_, 'one worker for all') foreach ('shop', 'second', 'third');
}
$node->append_conf('postgresql.conf', "crm_marketing.max_workers = 4\n");
$node->reload;

# What nobody may be connected for, while the worker is at work
is_live('second', 'before it is renamed');
# a deadline every 50 ms for a minute: there is always something to do
$node->safe_psql('second', q{INSERT INTO orders (user_id, placed_at) SELECT 500 + g % 400, clock_timestamp() + g * interval '50 ms'
	FROM generate_series(1, 1200) AS g});
ok($node->poll_query_until('second', q{SELECT count(*) >= 10 FROM crm.segment_change WHERE segment = 'now' AND customer_id BETWEEN 500 AND 900}),
	'the worker is busy');
succeeds('ALTER DATABASE second RENAME TO other', 'a live database can be renamed');
is_live('other', 'after it was renamed');
succeeds('CREATE DATABASE copy TEMPLATE other', 'and copied');
is_live('other', 'after it was copied');
$node->safe_psql('copy', 'CALL crm.run_ticks()');
is_live('copy', 'the copy');
succeeds('DROP DATABASE copy', 'and dropped');
is_live('other', 'the other one');
succeeds('DROP DATABASE other WITH (FORCE)', 'by force too');
is_live('shop', 'after a drop');

# The extension goes and comes
$node->safe_psql('shop', 'DROP EXTENSION crm_marketing CASCADE');
$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (994)');
$node->safe_psql('shop', $shop);
$node->safe_psql('shop', 'CALL crm.run_ticks()');
is($node->safe_psql('shop', q{SELECT crm.is_member(994, 'buyers')}), 't', 'the extension comes back');
is_live('shop', 'after the extension came back');
$node->safe_psql('shop', 'SELECT crm.stop_ticks()');
$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (993)');
sleep 1;
is($node->safe_psql('shop', 'SELECT count(*) FROM crm.slot'), '0', 'who has stopped ticking is left alone');
$node->safe_psql('shop', 'CALL crm.run_ticks()');
is_live('shop', 'live again');

# A schema that looks like ours is not ours: nothing in it is called.
$node->safe_psql('postgres', <<'SQL');
CREATE SCHEMA crm;
CREATE TABLE crm.slot AS SELECT 1 AS slot;
CREATE TABLE crm.called (who text);
CREATE FUNCTION crm.tick(max_customers int, mend bool, OUT routed bigint, OUT touched bigint, OUT due bigint, OUT refreshed bool, OUT more bool)
	LANGUAGE plpgsql AS $$ BEGIN INSERT INTO crm.called VALUES (current_user); routed := 0; touched := 0; due := 0; refreshed := false; more := false; END $$;
SQL
$node->restart;
is_live('shop', 'after a restart');
sleep 1;
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.called'), '0', 'what only looks like the extension is not called');

# A feed that fails
$node->safe_psql('shop', <<'SQL');
CREATE FUNCTION fails(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN IF n = 992 THEN RAISE 'no such customer'; END IF; RETURN n; END $$;
SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, placed_at AS at, fails(user_id) AS n FROM public.orders');
SELECT crm.watch('cart', 'public.orders');
SELECT crm.create_segment('carts', 'has cart[n > 0]');
CALL crm.run_ticks();
SQL
is_live('shop', 'with another feed');
$node->safe_psql('shop', 'INSERT INTO orders (user_id) VALUES (992)');
ok($node->poll_query_until('shop', q{SELECT count(*) > 0 FROM crm.tick_error WHERE message LIKE '%no such customer%'}), 'an error of a feed is stored')
  or diag($node->safe_psql('shop', 'SELECT * FROM crm.status'));
ok($node->poll_query_until('shop', q{SELECT count(*) > 0 FROM crm.status WHERE item = 'last error' AND detail LIKE '%no such customer%'}), 'and shown');
$node->safe_psql('shop', 'CREATE OR REPLACE FUNCTION fails(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN n; END $$');
is_live('shop', 'when it fails no more');
ok($node->poll_query_until('shop', q{SELECT crm.is_member(992, 'carts')}), 'and who was in the way is let in');

# Settings of the database's owner do not reach the worker
$node->safe_psql('postgres', <<'SQL');
ALTER DATABASE shop SET default_transaction_isolation = 'serializable';
ALTER DATABASE shop SET default_transaction_read_only = on;
ALTER DATABASE shop SET search_path = public, pg_catalog;
SQL
$node->restart;
$customer++;
$node->safe_psql('shop', "BEGIN READ WRITE; INSERT INTO orders (user_id) VALUES ($customer); COMMIT");
ok($node->poll_query_until('shop', "SELECT crm.is_member($customer, 'buyers')"), 'in a database whose sessions are read-only and serializable by default');
$node->safe_psql('postgres', 'ALTER DATABASE shop RESET ALL');

# In the end all is right
ok($node->poll_query_until('shop', q{SELECT NOT EXISTS (SELECT FROM crm.verify_segments())}), 'there is no drift');
$begin = time;
$node->stop('fast');
cmp_ok(time - $begin, '<', 30, 'the last shutdown ends soon');
unlike(slurp_file($node->logfile), qr/PANIC|signal 11|signal 6|TRAP/, 'nothing has crashed that was not killed');
unlike(slurp_file($node->logfile), qr/database \d+ does not exist|ERROR:.*relation|could not start a worker/, 'and workers have not complained');
done_testing();

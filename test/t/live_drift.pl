# Drift is 0: sessions that write at random, edit segments, refresh and tick side by side, while backends and the postmaster
# are killed. When all has come to rest, and ticks have done what is left, what is stored is what a fresh evaluation gives.
#
# CRM_DRIFT_SECONDS says how long it goes on; ten minutes are the real thing, the default is what a run of all tests bears.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $seconds = $ENV{CRM_DRIFT_SECONDS} // 24;
my $seed = $ENV{CRM_SEED} // 4711;
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
log_statement = none
restart_after_crash = on
max_prepared_transactions = 10
deadlock_timeout = 100ms
CONF
$node->start;

$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION crm_marketing;
CREATE TABLE users (id int PRIMARY KEY, city text);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, user_id int, placed_at timestamptz, total numeric)
	PARTITION BY RANGE (id);
CREATE TABLE orders_1 PARTITION OF orders FOR VALUES FROM (0) TO (1000);
CREATE TABLE orders_2 PARTITION OF orders FOR VALUES FROM (1000) TO (1000000000);
CREATE INDEX ON orders (user_id);
CREATE TABLE items (order_id bigint, sku text);
CREATE INDEX ON items (order_id);
INSERT INTO users SELECT g, 'c' || g % 3 FROM generate_series(1, 300) AS g;
SELECT crm.define_customers('SELECT id AS customer_id, city FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount FROM orders');
SELECT crm.define_event('purchase',
	'SELECT o.user_id AS customer_id, o.placed_at AS at, i.sku AS item FROM items i JOIN orders o ON o.id = i.order_id');
SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('purchase', 'orders'),
	crm.watch('purchase', 'items', '{order_id}', 'SELECT user_id FROM orders WHERE id = $1');
SELECT crm.track(1, 'cart', '{}');
SELECT crm.create_segment('now', 'has order in last 3 seconds'), crm.create_segment('many', 'count(order in last 20 seconds) >= 3'),
	crm.create_segment('rich', 'sum(order.amount) > 100'), crm.create_segment('s1', 'has purchase[item = ''s1''] in last 10 seconds'),
	crm.create_segment('cart', 'has cart in last 5 seconds and no order in last 4 seconds'),
	crm.create_segment('c1 now', 'city = ''c1'' and in segment ''now''');
SELECT crm.create_static_segment('vips', ARRAY[1, 2, 3]);
SELECT crm.create_segment('vip now', 'in segment ''vips'' and in segment ''now''');
SQL
$node->safe_psql('postgres', 'CALL crm.run_ticks()');

# One statement or transaction of the shop's
sub shop
{
	my ($n) = @_;
	my $who = 1 + int(rand(320));
	my $order = 1 + int(rand(2000));
	my $age = sprintf('%.3f', rand() * rand() * 30);
	my @all = (
		("INSERT INTO orders (user_id, placed_at, total) VALUES ($who, clock_timestamp() - interval '$age seconds', 10);") x 5,
		"UPDATE orders SET total = total + 5 WHERE user_id = $who;",
		"UPDATE orders SET user_id = $who WHERE id = $order;",
		"DELETE FROM orders WHERE id = $order;",
		"INSERT INTO items VALUES ($order, 's' || $order % 4);",
		"UPDATE items SET sku = 's1' WHERE order_id = $order;",
		"DELETE FROM items WHERE order_id = $order;",
		"SELECT crm.track($who, 'cart', '{}', clock_timestamp() - interval '$age seconds');",
		"UPDATE users SET city = 'c' || (random() * 3)::int WHERE id = $who;",
		"DELETE FROM users WHERE id = $who;",
		"INSERT INTO users VALUES ($who, 'c1') ON CONFLICT DO NOTHING;",
		"BEGIN; INSERT INTO orders (user_id, placed_at, total) VALUES ($who, clock_timestamp(), 1); SELECT pg_sleep(random() * 0.3); COMMIT;",
		"BEGIN; SAVEPOINT a; UPDATE orders SET total = 1 WHERE user_id = $who; ROLLBACK TO a; INSERT INTO orders (user_id, placed_at, total) VALUES ($who + 1, clock_timestamp(), 30); COMMIT;",
		"BEGIN; INSERT INTO orders (user_id, placed_at, total) SELECT 1 + (g * 7) % 300, clock_timestamp(), 2 FROM generate_series(1, 30) AS g; ROLLBACK;",
		"BEGIN; INSERT INTO orders (user_id, placed_at, total) VALUES ($who, clock_timestamp(), 7); PREPARE TRANSACTION 'p$n'; SELECT pg_sleep(random() * 0.2); COMMIT PREPARED 'p$n';",
		$n % 40 == 0 ? 'TRUNCATE items;' : 'SELECT 1;',
		$n % 50 == 0 ? 'SET crm_marketing.capture_max_keys = 5; UPDATE orders SET total = total + 1 WHERE id % 7 = 0; RESET crm_marketing.capture_max_keys;' : 'SELECT 1;',
	);
	return $all[ int(rand(@all)) ];
}

sub edit
{
	my $days = 2 + int(rand(20));
	my $who = 1 + int(rand(300));
	my @all = (
		"SELECT crm.alter_segment('now', 'has order in last $days seconds', clock_timestamp());",
		"SELECT crm.add_to_segment('vips', ARRAY[$who, $who + 1]::bigint[]);",
		"SELECT crm.remove_from_segment('vips', ARRAY[$who, 2]::bigint[]);",
		"SELECT crm.refresh_segments(clock_timestamp());",
		"SELECT crm.create_segment('x$who', 'has order in last $days seconds');",
		"SELECT crm.drop_segment('x$who', clock_timestamp());",
	);
	return $all[ int(rand(@all)) ] . " SELECT pg_sleep(random() * 0.5);";
}

# A psql that runs what a generator gives, and is started again when its session was killed
sub start_session
{
	my ($name, $generate) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . "/$name.sql";
	open(my $file, '>', $script) or die;
	print $file $generate->($_), "\n" for 1 .. 3000;
	close($file);
	return IPC::Run::start([ 'psql', '-X', '-q', '-o', '/dev/null', '-d', $node->connstr('postgres'), '-f', $script ],
		'>', '/dev/null', '2>', "$script.err");
}

my %generators = (
	shop1 => \&shop,
	shop2 => sub { shop($_[0] + 5000) },
	edit => \&edit,
	tick1 => sub { 'CALL crm.run_ticks(0.5, 50, 0.01);' },
	tick2 => sub { 'SELECT crm.tick(clock_timestamp(), 20); SELECT pg_sleep(0.02);' },
);
my %sessions = map { $_ => start_session($_, $generators{$_}) } keys %generators;
my $end = time() + $seconds;
my $next_kill = time() + 3;
my ($killed, $crashed) = (0, 0);
while (time() < $end)
{
	sleep(0.2);
	for my $name (keys %sessions)
	{
		next if $sessions{$name}->pumpable;
		$sessions{$name}->finish;
		$sessions{$name} = start_session($name, $generators{$name});
	}
	next if time() < $next_kill;
	$next_kill = time() + 2 + rand(4);
	if (rand() < 0.3)
	{
		$node->stop('immediate');
		$node->start;
		$crashed++;
	}
	else
	{
		# one backend killed restarts all of them
		my ($status, $pid) = $node->psql('postgres', 'SELECT pid FROM pg_stat_activity WHERE backend_type = \'client backend\' '
			  . 'AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1');
		if ($status == 0 && defined $pid && $pid =~ /^\d+$/)
		{
			kill(rand() < 0.5 ? 'KILL' : 'TERM', $pid);
			$killed++;
		}
	}
}
$_->kill_kill(grace => 1) for values %sessions;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
for my $gid (split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts'))
{
	$node->safe_psql('postgres', "COMMIT PREPARED '$gid'");
}
cmp_ok($killed + $crashed, '>', 0, "sessions were killed ($killed) and the server was stopped at once ($crashed)");

# Until all windows are over, time goes on; then what is stored is compared at the instant that it stands at
$node->safe_psql('postgres', 'CALL crm.run_ticks()') for 1 .. 3;
my $drift = $node->safe_psql('postgres', <<'SQL');
CREATE TEMP TABLE verdict AS SELECT * FROM crm.verify_segments(at => (SELECT max(watermark) FROM crm.slot)) LIMIT 0;
DO $$
BEGIN
	-- the last tick of all slots at one instant, and the comparison at the same one
	FOR i IN 1 .. 20 LOOP
		PERFORM crm.tick(max_customers => 100000);
	END LOOP;
	INSERT INTO verdict SELECT * FROM crm.verify_segments();
END $$;
SELECT segment, count(*), min(customer_id) FROM verdict GROUP BY 1;
SQL
is($drift, '', 'what is stored is what a fresh evaluation gives');
is( $node->safe_psql(
		'postgres', q{
	SELECT count(*) FROM (
		SELECT c.entered, lag(c.entered) OVER (PARTITION BY c.customer_id, c.segment_id ORDER BY c.change_id, c.at) AS before
		  FROM crm.segment_change AS c) AS c
	 WHERE c.entered IS NOT DISTINCT FROM c.before}),
	'0', 'each enters and leaves by turns');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM crm.segment_change WHERE reason = 'fact'}), '>', 20, 'facts have moved many');
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM crm.segment_change WHERE reason = 'time'}), '>', 20, 'and time');
my $errors = $node->safe_psql('postgres', q{SELECT DISTINCT sqlstate || ' ' || message FROM crm.tick_error WHERE sqlstate NOT IN ('40P01')});
is($errors, '', 'no tick had an error');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6|XX000/, 'and the server no crash of its own');
$node->stop;
done_testing();

# A refresh that is cancelled, or whose process is killed, leaves what was stored before it; one that ends leaves what an
# undisturbed one leaves. There is nothing in between, no temporary file stays, and the next refresh succeeds.

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

srand($ENV{CRM_SEED} // 4711);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# little memory, so that facts are spilled to files; and a server that comes back after a crash
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
autovacuum = off
log_statement = none
shared_buffers = 128MB
max_wal_size = 4GB
maintenance_work_mem = 2MB
restart_after_crash = on
CONF
$node->start;

# 100,000 customers, whose keys are uuids: so a refresh also gives ids. What happens before the n-th refresh happens in the
# same way in both databases. Reading the feed of orders waits where somebody holds the advisory lock, half way through.
sub build
{
	my ($db) = @_;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, <<'SQL');
CREATE TABLE users (id uuid, city text, birthday date);
CREATE TABLE orders (n int, user_id uuid, at timestamptz, total int, status text);
CREATE FUNCTION wait_here(n int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	PERFORM pg_advisory_xact_lock_shared(1);
	RETURN n;
END $$;
CREATE FUNCTION go_on(step int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO users SELECT md5(step || '.' || i)::uuid, 'City ' || i % 9, date '1950-01-01' + i % 20000
		FROM generate_series(1, CASE step WHEN 1 THEN 100000 ELSE 1000 END) AS i;
	INSERT INTO orders SELECT CASE step WHEN 1 THEN i ELSE -i END, md5('1.' || (1 + i::bigint * 7919 % 90000))::uuid,
			timestamptz '2026-01-01 00:00:00Z' + make_interval(days => 10 * step) - (i::bigint * 104729 % 9000) * interval '1 hour', i % 100,
			CASE i % 3 WHEN 0 THEN 'done' WHEN 1 THEN 'new order, to be paid when the parcel comes to the door number ' || i END
		FROM generate_series(1, CASE step WHEN 1 THEN 150000 ELSE 5000 END) AS i;
	ANALYZE users, orders;
END $$;
CREATE EXTENSION crm_marketing;
SELECT crm.define_customers('SELECT id AS customer_id, city, birthday FROM users');
SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, total, status FROM orders
	WHERE CASE n WHEN 75000 THEN wait_here(n) ELSE n END IS NOT NULL');
SELECT crm.create_segment('s' || n, p::crm.predicate) FROM unnest(ARRAY['has order', 'no order in last 30 days',
	'count(order in last 90 days) >= 2', 'sum(order.total in last 180 days) > 100', 'last(order.status) like ''%7''',
	'anniversary(birthday) in next 30 days']) WITH ORDINALITY AS x(p, n);
SELECT crm.create_segment('both', 'in segment ''s2'' and city <> ''City 4''');
SQL
	return;
}

sub instant
{
	my ($step) = @_;
	return sprintf("timestamptz '2026-01-01 00:00:00Z' + interval '%d days'", 10 * $step);
}

# All that a refresh writes, by the shop's keys: ids may differ where one was given and rolled back.
my $fingerprint = q{
	SELECT 'members', count(*), sum(hashtextextended(i.value || m.segments::text, 0)::numeric)
		FROM crm.membership AS m LEFT JOIN crm.identity AS i USING (customer_id)
	UNION ALL SELECT 'changes', count(*), sum(hashtextextended(concat_ws('|', i.value, extract(epoch FROM c.at), c.reason, c.entered, c.exited), 0)::numeric)
		FROM crm.membership_change AS c LEFT JOIN crm.identity AS i USING (customer_id)
	UNION ALL SELECT 'identities', count(*), sum(hashtextextended(value, 0)::numeric) FROM crm.identity
	UNION ALL SELECT 'evaluated', count(evaluated_at), min(extract(epoch FROM evaluated_at)) FROM crm.segment
	UNION ALL SELECT 'stale', count(stale_reason), NULL FROM crm.source ORDER BY 1};

sub stored
{
	return $node->safe_psql('shop', $fingerprint);
}

sub temporary_files
{
	return scalar(grep { -f } glob($node->data_dir . '/base/pgsql_tmp/*'));
}

# An undisturbed shop says what is right after each refresh, and how long one takes here.
my $steps = 4;
my (@right, @seconds);
build('undisturbed');
foreach my $step (1 .. $steps)
{
	push @right, $node->safe_psql('undisturbed', $fingerprint) if $step == 1;
	$node->safe_psql('undisturbed', "SELECT go_on($step)");
	my $start = time;
	$node->safe_psql('undisturbed', 'SELECT crm.refresh_segments(' . instant($step) . ')');
	push @seconds, time - $start;
	push @right, $node->safe_psql('undisturbed', $fingerprint);
}
note('seconds of a refresh: ', join(', ', map { sprintf('%.2f', $_) } @seconds));
cmp_ok(scalar(keys %{ { map { $_ => 1 } @right } }), '==', $steps + 1, 'each refresh changes something');
is($node->safe_psql('undisturbed', q{SELECT string_agg(s.name, ', ') FROM crm.segment AS s WHERE s.name IN ('s3', 's5', 'both') AND
		ARRAY(SELECT m FROM crm.members(s.name) AS m ORDER BY m) <> ARRAY(SELECT crm.matching(format('in segment %s', s.segment_id)::crm.predicate, }
	  . instant($steps) . '))'), '', 'and what is stored is what is so');

build('shop');

my %session;

# A session that goes on by itself; its end is awaited by finish().
sub begin_session
{
	my ($name, @sql) = @_;
	my $s = $session{$name} = { out => '', err => '' };
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', 
			$node->connstr('shop') . " application_name=$name options='-c client_min_messages=error'", map { ('-c', $_) } @sql ],
		'>', \$s->{out}, '2>', \$s->{err});
	return;
}

sub finish
{
	my ($name) = @_;
	my $s = delete $session{$name};
	$s->{run}->finish;
	return $s->{err};
}

sub pid_of
{
	my ($name) = @_;
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE application_name = '$name' AND backend_type = 'client backend'");
}

# Somebody who holds a lock until told to let go
sub hold
{
	my ($sql) = @_;
	begin_session('holder', "BEGIN; $sql; SELECT pg_sleep(1000)");
	$node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'", '1')
	  or die 'nobody holds the lock';
	return;
}

sub let_go
{
	my $pid = pid_of('holder');
	$node->safe_psql('postgres', "SELECT pg_terminate_backend($pid)") if $pid ne '';
	finish('holder');
	return;
}

# A new postmaster can start when the old one, and the last of its children, is gone.
sub kill_postmaster
{
	my ($pid) = split(/\n/, slurp_file($node->data_dir . '/postmaster.pid'));
	$node->kill9;
	for (1 .. 600)
	{
		return unless kill 0, $pid;
		sleep 0.1;
	}
	die 'the postmaster does not go';
}

sub start_again
{
	for (1 .. 600)
	{
		return if $node->start(fail_ok => 1);
		sleep 0.1;
	}
	die 'the server does not start any more';
}

my %end = (
	cancel => sub { $node->safe_psql('postgres', "SELECT pg_cancel_backend($_[0])"); },
	'kill the backend' => sub { kill 9, $_[0]; },
	'kill the postmaster' => \&kill_postmaster);
my %said = (
	cancel => qr/canceling statement due to user request/,
	'kill the backend' => qr/server closed the connection|terminating connection/,
	'kill the postmaster' => qr/server closed the connection|terminating connection/);

sub come_back
{
	my ($how) = @_;
	start_again() if $how eq 'kill the postmaster';
	$node->poll_query_until('postgres', 'SELECT 1', '1') or die 'the server does not come back';
	return;
}

# Where the refresh surely is in the middle, because it waits there.
my %place = (
	'reading a feed' => 'SELECT pg_advisory_xact_lock(1)',
	'all members written' => q{SELECT FROM crm.segment WHERE name = 's1' FOR UPDATE});

sub end_at
{
	my ($step, $where, $how) = @_;
	my $name = "refresh $step, $where, $how";

	hold($place{$where});
	begin_session('refresher', 'SELECT crm.refresh_segments(' . instant($step) . ')');
	$node->poll_query_until('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE application_name = 'refresher' AND wait_event_type = 'Lock'}, '1')
	  or die 'the refresh does not come to where it should wait';
	cmp_ok(temporary_files(), '>', 0, "$name: there are temporary files") if $where eq 'reading a feed';
	my $pid = pid_of('refresher');
	$pid > 0 or die 'there is no refresh';
	$end{$how}->($pid);
	like(finish('refresher'), $said{$how}, "$name: it ended by that");
	come_back($how);
	let_go();
	is(stored(), $right[ $step - 1 ], "$name: nothing of it is stored");
	is(temporary_files(), 0, "$name: no temporary file stays");
	return;
}

# At any moment: it may come too late. True when the refresh is done.
sub end_somewhere
{
	my ($step, $how) = @_;
	my $wait = rand() * $seconds[ $step - 1 ];
	my $name = sprintf('refresh %d, after %.2f s, %s', $step, $wait, $how);
	my $refresh = 'SELECT crm.refresh_segments(' . instant($step) . ')';
	my $err;

	if ($how eq 'time out')
	{
		begin_session('refresher', sprintf('SET statement_timeout = %d', 1 + 1000 * $wait), $refresh);
		$err = finish('refresher');
		like($err, qr/^$|canceling statement due to statement timeout/, "$name: it ended by that, or well");
	}
	else
	{
		begin_session('refresher', $refresh);
		sleep $wait;
		my $pid = pid_of('refresher');
		$end{$how}->($pid) if $pid ne '' || $how eq 'kill the postmaster';
		$err = finish('refresher');
		like($err, qr/^$|$said{$how}/, "$name: it ended by that, or well");
		come_back($how);
	}
	my $now = stored();
	my $done = $now eq $right[$step];
	note(sprintf('%s: %s', $name, $done ? 'was done' : 'was not done'));
	# a killed one may have committed and not have said so any more
	if ($err eq '')
	{
		is($now, $right[$step], "$name: all of it is stored");
	}
	elsif ($how =~ /^kill/)
	{
		ok($done || $now eq $right[ $step - 1 ], "$name: all of it is stored, or nothing") or diag($now);
	}
	else
	{
		is($now, $right[ $step - 1 ], "$name: nothing of it is stored");
	}
	is(temporary_files(), 0, "$name: no temporary file stays");
	return $done;
}

sub succeed
{
	my ($step) = @_;
	$node->safe_psql('shop', 'SELECT crm.refresh_segments(' . instant($step) . ')');
	is(stored(), $right[$step], "refresh $step: the next one succeeds");
	return;
}

my @plan = (
	[ [ 'reading a feed', 'cancel' ], 'time out' ],
	[ [ 'all members written', 'cancel' ], [ 'reading a feed', 'kill the backend' ], 'cancel' ],
	[ [ 'all members written', 'kill the backend' ], 'kill the backend', [ 'reading a feed', 'kill the postmaster' ] ],
	[ [ 'all members written', 'kill the postmaster' ], 'kill the postmaster' ]);
foreach my $step (1 .. $steps)
{
	$node->safe_psql('shop', "SELECT go_on($step)");
	foreach my $trial (@{ $plan[ $step - 1 ] })
	{
		if (ref $trial)
		{
			end_at($step, @$trial);
		}
		elsif (end_somewhere($step, $trial))
		{
			last;				# it was done already
		}
	}
	succeed($step);
}

$node->stop;
done_testing();

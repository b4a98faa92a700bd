# The outbox loses nothing and sends nothing twice: eight senders claim, send and acknowledge, while they, their backends and the
# server are killed. What they send is appended to files. A message whose lease ran out is looked for there: acknowledged if it
# was sent, queued again if not. In the end each was sent once and is acknowledged, or is dead with a reason and was not sent.
#
# CRM_OUTBOX_MESSAGES says how many there are; 200,000 are the real thing, the default is what a run of all tests bears.

use strict;
use warnings;

use Fcntl qw(:flock);
use IO::Handle;
use IPC::Open2;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $messages = $ENV{CRM_OUTBOX_MESSAGES} // 8000;
my $seed = $ENV{CRM_SEED} // 4711;
my $lease = 2;
my $claimers = 8;
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
# a disk that is asked to write, and a log that goes out late where somebody lets it
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
log_statement = none
restart_after_crash = on
fsync = on
wal_writer_delay = 10s
wal_writer_flush_after = 1GB
CONF
$node->start;
my $connection = $node->connstr('postgres');
my $directory = PostgreSQL::Test::Utils::tempdir();

# A third is about orders, the others need consent and have a cap, which never binds; of some the template is broken
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION crm_marketing;
SELECT crm.set_template('letter', 'email', '{"subject": "Hello", "text": "Message {{message.id}}{{{more}}}"}');
SELECT crm.set_template('lost', 'email', '{"subject": "Hello"}');
SELECT crm.set_channel_rule('email', retry_after => '100 milliseconds', max_attempts => 100);
SELECT crm.set_cap('many', 100000, per => '1 day');
SELECT count(crm.set_contact(c, 'email', 'c' || c || '\@example.org')), count(crm.record_consent(c, 'email'))
  FROM generate_series(1, greatest($messages / 10, 1)) AS c;
SELECT count(crm.send_message(1 + n % greatest($messages / 10, 1), 'email', CASE WHEN n % 1000 = 7 THEN 'lost' ELSE 'letter' END,
							  transactional => n % 3 = 0, purpose => CASE WHEN n % 3 = 0 THEN 'service' ELSE 'marketing' END, priority => n % 10))
  FROM generate_series(1, $messages) AS n;
SELECT crm.drop_template('lost');
ANALYZE crm.message, crm.outbox;
SQL
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.outbox'), $messages, "$messages messages wait");

# ---- a sender ----

# What one is to do with a message. Some are refused for good, some at first.
sub refused
{
	my ($id) = @_;
	return $id % 211 == 0;
}

sub busy
{
	my ($id, $attempt) = @_;
	return $id % 13 == 0 && $attempt == 1;
}

# Ends when there is nothing more to hear from the server. Nothing is sent when the lease may be over: the clock is looked at under
# the file's lock, which the one who asks what was sent has, too.
sub claim_and_send
{
	my ($number) = @_;
	open(my $file, '>>', "$directory/sent.$number") or die;
	$file->autoflush(1);
	my $pid = open2(my $from, my $to, 'psql', '-XAtq', '-F', ' ', '-v', 'ON_ERROR_STOP=1', '-d', $connection);
	my $ask = sub {
		my @rows;
		print $to "$_[0]\n\\echo end\n" or return;
		while (my $line = <$from>)
		{
			chomp $line;
			return \@rows if $line eq 'end';
			push @rows, [ split / /, $line ];
		}
		return;
	};
	# they do not wait for the disk when they commit, where it is left to them
	$ask->('SET synchronous_commit = off;') or return;
	while (1)
	{
		my $until = time() + $lease;
		my $max = (1, 10, 50, 50)[ int(rand(4)) ];
		# committed when the end comes
		my $claimed = $ask->("BEGIN; SELECT message_id, token, attempt FROM crm.claim_messages('email', 'sender $number', $max, '$lease seconds'); COMMIT;")
		  // return;
		if (!@$claimed)
		{
			sleep 0.05;
			next;
		}
		my (@sent, $token);
		foreach my $row (@$claimed)
		{
			(my $id, $token, my $attempt) = @$row;
			if (refused($id) || busy($id, $attempt))
			{
				$ask->("SELECT crm.nack_message($id, $token, 'refused', permanent => " . (refused($id) ? 'true' : 'false') . ');') // return;
				next;
			}
			flock($file, LOCK_EX);
			if (time() < $until)
			{
				syswrite($file, "$id $token\n");
				$file->sync;
				push @sent, $id;
			}
			flock($file, LOCK_UN);
		}
		# a provider takes its time, and meanwhile somebody is killed
		sleep rand(0.4);
		$ask->(sprintf(q{SELECT crm.ack_messages('{%s}', %s, '{%s}');}, join(',', @sent), $token, join(',', map { "$_ $token" } @sent))) // return if @sent;
	}
}

my %running;
sub start_claimer
{
	my ($number) = @_;
	my $child = fork() // die "cannot fork: $!";
	if ($child == 0)
	{
		srand($seed + $$);
		$SIG{PIPE} = 'IGNORE';
		open(STDERR, '>>', "$directory/err.$number");
		eval { claim_and_send($number) };
		print STDERR $@ if $@;
		POSIX::_exit(0);
	}
	$running{$child} = $number;
	return;
}

# Those that ended because their session did are started again
sub look_after_claimers
{
	while ((my $child = waitpid(-1, POSIX::WNOHANG())) > 0)
	{
		my $number = delete $running{$child};
		start_claimer($number) if defined $number;
	}
	return;
}

# ---- who finds out ----

# By id: the tokens with which it was sent
sub sent
{
	my %sent;
	foreach my $name (glob("$directory/sent.*"))
	{
		open(my $file, '<', $name) or die;
		flock($file, LOCK_EX);
		while (my $line = <$file>)
		{
			push @{ $sent{$1} }, $2 if $line =~ /^(\d+) (\d+)\n/;
		}
		close($file);
	}
	return \%sent;
}

my %count = (acknowledged => 0, redriven => 0);
sub reconcile
{
	my ($status, $unknown) = $node->psql('postgres', q{SELECT count(*) FROM crm.expire_leases(); SELECT message_id, token FROM crm.unknown_messages('email')});
	return if $status != 0;
	my (%found, @lost);
	my $sent = sent();
	foreach my $line (split /\n/, $unknown)
	{
		my ($id, $token) = $line =~ /^(\d+)\|(\d+)$/ or next;
		if (grep { $_ == $token } @{ $sent->{$id} // [] })
		{
			push @{ $found{$token} }, $id;
		}
		else
		{
			push @lost, $id;
		}
	}
	foreach my $token (keys %found)
	{
		($status, my $done) = $node->psql('postgres', sprintf(q{SELECT crm.ack_messages('{%s}', %s, '{%s}')},
			join(',', @{ $found{$token} }), $token, join(',', map { "$_ $token" } @{ $found{$token} })));
		$count{acknowledged} += $done if $status == 0;
	}
	if (@lost)
	{
		($status, my $done) = $node->psql('postgres', sprintf(q{SELECT crm.redrive_messages('{%s}')}, join(',', @lost)));
		$count{redriven} += $done if $status == 0;
	}
	return;
}

# ---- kills ----

sub start_again
{
	for (1 .. 600)
	{
		return if $node->start(fail_ok => 1);
		sleep 0.1;
	}
	die 'the server does not start any more';
}

my %killed = map { $_ => 0 } ('sender', 'session', 'backend', 'postmaster', 'immediate stop');
my %kill = (
	sender => sub {
		my @all = keys %running;
		kill 9, $all[ int(rand(@all)) ] if @all;
	},
	session => sub {
		$node->psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
	},
	backend => sub {
		my ($status, $pid) = $node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
		kill 9, $pid if $status == 0 && defined $pid && $pid =~ /^\d+$/;
	},
	postmaster => sub {
		my ($pid) = split(/\n/, slurp_file($node->data_dir . '/postmaster.pid'));
		$node->kill9;
		for (1 .. 600)
		{
			last unless kill 0, $pid;
			sleep 0.1;
		}
		start_again();
	},
	'immediate stop' => sub {
		$node->stop('immediate');
		start_again();
	});
my @how = ('sender', 'session', 'postmaster', 'backend', 'immediate stop', 'sender', 'sender', 'session', 'sender', 'sender');

start_claimer($_) for 0 .. $claimers - 1;
my ($next_kill, $next_look, $kills) = (time() + 0.7, time() + 1, 0);
my ($left, $moved) = ($messages, time());
while (1)
{
	sleep 0.05;
	look_after_claimers();
	if (time() > $next_kill && $left > 0)
	{
		my $how = $how[ $kills++ % @how ];
		$kill{$how}->();
		$killed{$how}++;
		$next_kill = time() + 0.2 + rand(0.8);
	}
	next if time() < $next_look;
	reconcile();
	my ($status, $now) = $node->psql('postgres', q{SELECT count(*) FROM crm.message WHERE state IN ('queued', 'unknown')});
	if ($status == 0)
	{
		last if $now == 0;
		$moved = time() if $now != $left;
		$left = $now;
		die "nothing moves any more, $left are left" if time() > $moved + 120;
	}
	$next_look = time() + 1;
}
kill 9, keys %running;
waitpid($_, 0) for keys %running;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");

# ---- what became of them ----

cmp_ok($killed{$_}, '>', 0, "killed: $_ $killed{$_} times") foreach sort keys %killed;
cmp_ok($count{$_}, '>', 0, "found out: $count{$_} were $_") foreach sort keys %count;
my $sent = sent();
my @twice = grep { @{ $sent->{$_} } > 1 } sort { $a <=> $b } keys %$sent;
is(scalar(@twice), 0, 'none was sent twice') or diag("such as $twice[0]: ", $node->safe_psql('postgres', "SELECT m FROM crm.message AS m WHERE message_id = $twice[0]"), " @{ $sent->{$twice[0]} }");
my (%state, @wrong);
foreach my $line (split /\n/, $node->safe_psql('postgres', 'SELECT message_id, state, reason, token, provider_id FROM crm.message'))
{
	my ($id, $state, $reason, $token, $provider) = split /\|/, $line, -1;
	my $tokens = $sent->{$id} // [];
	$state{$state eq 'dead' ? "dead: $reason" : $state}++;
	# by whom it was sent he has said so, or somebody by his token; and refused ones have not gone
	push @wrong, $line unless $state eq 'sent' && $reason eq '' && "@$tokens" eq $token && $provider eq "$id $token" && !refused($id)
	  || $state eq 'dead' && $reason ne '' && !@$tokens;
}
is(scalar(@wrong), 0, 'each was sent and acknowledged once, or is dead and was not sent') or diag("such as $wrong[0]");
my $total = 0;
$total += $_ foreach values %state;
is($total, $messages, 'none is lost: ' . join(', ', map { "$_ $state{$_}" } sort keys %state));
is(join(', ', sort keys %state), 'dead: refused, dead: there is no such template, sent', 'and there are all kinds');
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.outbox'), '0', 'nothing waits');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6|XX000|deadlock/, 'and the server had no crash of its own');

$node->stop;
done_testing();

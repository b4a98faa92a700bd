# No double send and no loss: eight senders claim, "send" and acknowledge, while their sessions, they themselves and the server are
# killed. What a sender sends it writes down, with fsync, before it acknowledges. In the end, when the leases are over and what is
# unknown was looked up in what was written down, every message is acknowledged exactly once, or dead with a reason, and none was
# sent twice.
#
# CRM_OUTBOX_MESSAGES says how many; 200,000 are the real thing, the default is what a run of all tests bears.

use strict;
use warnings;

use IO::Handle;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $messages = $ENV{CRM_OUTBOX_MESSAGES} // 20000;
my $seed = $ENV{CRM_SEED} // 4711;
my $senders = 8;
srand($seed);

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
log_statement = none
restart_after_crash = on
max_locks_per_transaction = 256
CONF
$node->start;

$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION crm_marketing;
CREATE TABLE users AS SELECT n AS id, 'u' || n || '\@example.org' AS email FROM generate_series(1, 2000) AS n;
ALTER TABLE users ADD PRIMARY KEY (id);
SELECT crm.define_customers('SELECT id AS customer_id, email FROM public.users');
SELECT crm.refresh_identities();
INSERT INTO crm.consent (customer_id, channel, purpose, granted, at, source) SELECT id, 'email', 'marketing', true, now(), 'test' FROM users WHERE id % 10 > 0;
SELECT crm.set_template('letter', 'email', '{"text": "Hello"}'), crm.set_channel_rule('email', lease => '3 seconds', retry_after => '0', max_attempts => 3);
SELECT count(crm.enqueue_message(1 + n % 2000, 'email', CASE WHEN n % 997 = 0 THEN 'none' ELSE 'letter' END, priority => n % 3)) FROM generate_series(1, $messages) AS n;
SQL

# A sender: claims, writes down what it sends, acknowledges; one in a hundred it refuses
my $program = <<'PERL';
use strict; use warnings; use IO::Handle; use IPC::Open2;
my ($connection, $file, $seed) = @ARGV; srand($seed);
open(my $sent, '>>', $file) or die; $sent->autoflush(1);
my $pid = open2(my $out, my $in, 'psql', '-X', '-q', '-At', '-v', 'ON_ERROR_STOP=1', '-d', $connection) or die;
sub ask { print $in "$_[0]\n\\echo .\n"; my @rows; while (1) { my $row = <$out>; exit 1 if !defined $row; chomp $row; last if $row eq '.'; push @rows, $row; } return @rows; }
my $idle = 0;
while ($idle < 20) {
	my @rows = ask("SELECT message_id, token FROM crm.claim_messages('email', 'sender', 1 + (random() * 40)::int);");
	if (!@rows) { $idle++; select(undef, undef, undef, 0.1); next; }
	$idle = 0;
	my (@ids, $token);
	for (@rows) {
		(my $id, $token) = split /\|/;
		if (rand() < 0.01) { ask("SELECT crm.nack_message($id, $token, 'refused');"); next; }
		print $sent "$id $token\n"; $sent->flush; $sent->sync;
		push @ids, $id;
	}
	ask("SELECT crm.ack_messages(ARRAY[" . join(',', @ids) . "]::bigint[], $token);") if @ids;
}
PERL
my $dir = PostgreSQL::Test::Utils::tempdir();
open(my $handle, '>', "$dir/sender.pl") or die;
print $handle $program;
close($handle);

my $started = 0;
sub start_sender
{
	my ($n) = @_;
	$started++;
	return IPC::Run::start([ $^X, "$dir/sender.pl", $node->connstr('postgres'), "$dir/sent.$n", $seed + $started ],
		'>', '/dev/null', '2>', '/dev/null');
}
# What was written down: which hand-out sent a message
sub written
{
	my %sent;
	for my $n (1 .. $senders)
	{
		open(my $file, '<', "$dir/sent.$n") or next;
		while (my $line = <$file>)
		{
			push @{ $sent{$1} }, $2 if $line =~ /^(\d+) (\d+)\n$/;
		}
		close($file);
	}
	return \%sent;
}
# What nobody has said anything of is looked up
sub reconcile
{
	my $sent = written();
	my @unknown = split /\n/, $node->safe_psql('postgres', q{SELECT message_id || ' ' || token FROM crm.unknown_messages('email')});
	my %by_token;
	my @again;
	for (@unknown)
	{
		my ($id, $token) = split / /;
		if (grep { $_ == $token } @{ $sent->{$id} // [] }) { push @{ $by_token{$token} }, $id; }
		else { push @again, $id; }
	}
	$node->safe_psql('postgres', join("\n", map { "SELECT crm.ack_messages(ARRAY[" . join(',', @{ $by_token{$_} }) . "]::bigint[], $_);" } keys %by_token)
		  . "SELECT crm.redrive_messages(ARRAY[" . join(',', @again) . "]::bigint[]);");
	return scalar(@unknown);
}

my %running = map { $_ => start_sender($_) } 1 .. $senders;
my ($senders_killed, $sessions_killed, $crashes, $unknown) = (0, 0, 0, 0);
my $next = time() + 1;
my $deadline = time() + 60 + $messages / 400;
for (;;)
{
	sleep(0.1);
	for my $n (keys %running)
	{
		next if $running{$n}->pumpable;
		eval { $running{$n}->finish; };
		$running{$n} = start_sender($n);
	}
	my $left = eval { $node->safe_psql('postgres', 'SELECT count(*) FROM crm.outbox WHERE lane > -2') };
	last if defined $left && $left < $messages / 20 || time() > $deadline;
	next if time() < $next;
	$next = time() + 0.2 + rand(0.8);
	if (rand() < 0.2)
	{
		$node->stop('immediate');
		$node->start;
		$crashes++;
	}
	elsif (rand() < 0.5)
	{
		my $n = 1 + int(rand($senders));
		$running{$n}->signal('KILL');
		$senders_killed++;
	}
	else
	{
		my ($status, $pid) = $node->psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1});
		if ($status == 0 && defined $pid && $pid =~ /^\d+$/)
		{
			kill('KILL', $pid);
			$sessions_killed++;
		}
	}
}
$_->kill_kill(grace => 1) for values %running;
$node->poll_query_until('postgres', 'SELECT true') or die 'the server does not come back';
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()");
cmp_ok($senders_killed + $sessions_killed + $crashes, '>', 3, "senders ($senders_killed), sessions ($sessions_killed) and the server ($crashes) were killed");

# Until there is nothing left: leases run out, what is unknown is looked up, and somebody sends the rest
for my $round (1 .. 30)
{
	sleep(3.5);
	$node->safe_psql('postgres', 'SELECT crm.expire_leases()') for 1 .. 3;
	$unknown += reconcile();
	my $rest = start_sender(1);
	$rest->finish;
	last if $node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM crm.outbox) + (SELECT count(*) FROM crm.message WHERE state = 'unknown')}) == 0;
}
my $sent = written();
my $twice = grep { @$_ > 1 } values %$sent;
my %state = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{SELECT state, count(*) FROM crm.message GROUP BY 1});
note("$messages messages: " . join(', ', map { "$state{$_} $_" } sort keys %state) . "; $unknown were unknown for a time");
is($twice, 0, 'nothing was sent twice');
is($node->safe_psql('postgres', q{SELECT count(*) FROM crm.message WHERE state NOT IN ('sent', 'dead', 'suppressed') OR state <> 'sent' AND reason IS NULL}), '0',
	'every message was acknowledged, or is dead or suppressed with a reason');
is($node->safe_psql('postgres', 'SELECT count(*) FROM crm.outbox'), '0', 'and none is left');
my @acknowledged = split /\n/, $node->safe_psql('postgres', q{SELECT message_id FROM crm.message WHERE state = 'sent'});
is(scalar(grep { !$sent->{$_} } @acknowledged), 0, 'what was acknowledged was sent');
is(scalar(keys %$sent) - scalar(@acknowledged), 0, 'and what was sent was acknowledged');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT reason, ', ' ORDER BY reason) FROM crm.message WHERE state IN ('dead', 'suppressed')}),
	'no consent, there is no such template', 'the others have their reason');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|signal 11|signal 6|XX000/, 'and the server no crash of its own');
$node->stop;
done_testing();

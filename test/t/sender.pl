# The example sender of e-mail, examples/sender: wherever it is killed, and the server, every letter is accepted by the relay
# exactly once, and what the outbox says of it is so. Nobody is asked how long it took.

use strict;
use warnings;

use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

srand($ENV{CRM_SEED} // 4711);

# The system's Python, where the modules are that its packages brought, or another that has them
my ($python) = grep { IPC::Run::run([ $_, '-c', 'import psycopg2, aiosmtpd' ], '>', '/dev/null', '2>', '/dev/null') }
  grep { IPC::Run::run([ 'sh', '-c', "command -v $_" ], '>', '/dev/null') } ('/usr/bin/python3', 'python3');
plan skip_all => 'there is no python3 with psycopg2 and aiosmtpd' unless defined $python;

my $program = "$FindBin::RealBin/../../examples/sender/sender.py";
my $directory = PostgreSQL::Test::Utils::tempdir();

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
log_statement = none
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE shop');
$node->safe_psql('shop', <<'SQL');
CREATE EXTENSION crm_marketing;
SELECT crm.set_template('letter', 'email', jsonb_build_object('subject', U&'Caf\00E9', 'text', E'Hello\n.a dot\n',
	'html', '<p>Hello</p>', 'reply_to', 'care@shop.example'));
SELECT crm.set_template('broken', 'email', '{"subject": "Hello"}');
SELECT crm.set_channel_rule('email', retry_after => '100 milliseconds', max_attempts => 100);
CREATE ROLE mailer LOGIN;
SELECT crm.grant_access('mailer', 'sender');
-- The next letters to people of a name
CREATE SEQUENCE customer;
CREATE FUNCTION write_to(name text, number int, template text DEFAULT 'letter') RETURNS void LANGUAGE sql AS $$
	SELECT crm.send_message(c.id, 'email', template)
	  FROM generate_series(1, number)
	 CROSS JOIN LATERAL (SELECT nextval('public.customer') AS id) AS c
	 WHERE crm.set_contact(c.id, 'email', name || '.' || c.id || '@customer.example') IS NOT NULL
$$;
SQL

# ---- processes ----

my %running;		# pid -> name
my $kills = 0;

sub run_python
{
	my ($name, @command) = @_;
	append_to_file("$directory/$name.out", '');
	my $pid = fork() // die "cannot fork: $!";
	if ($pid == 0)
	{
		open(STDOUT, '>>', "$directory/$name.out");
		open(STDERR, '>&', \*STDOUT);
		exec($python, @command) or exit 127;
	}
	$running{$pid} = $name;
	return $pid;
}

# Its status, when it has ended
sub reap
{
	my ($pid) = @_;
	waitpid($pid, 0);
	delete $running{$pid};
	return $?;
}

END
{
	my $status = $?;
	foreach my $pid (keys %running)
	{
		kill 9, $pid;
		waitpid($pid, 0);
	}
	$? = $status;
}

sub wait_until
{
	my ($what, $code) = @_;
	for (1 .. 1800)
	{
		my $result = $code->();
		return $result if $result;
		sleep 0.1;
	}
	foreach my $file (glob("$directory/*.out"))
	{
		diag("$file:\n", join("\n", (split(/\n/, slurp_file($file)))[ -20 .. -1 ] // ()));
	}
	diag($node->safe_psql('shop', 'SELECT state, reason, count(*) FROM crm.message GROUP BY 1, 2; SELECT * FROM crm.outbox LIMIT 20'));
	die "waited in vain: $what";
}

run_python('relay', "$FindBin::RealBin/relay.py", $directory);
my $port = wait_until('the relay starts', sub { -e "$directory/port" && slurp_file("$directory/port") });

sub start_sender
{
	my ($name, @options) = @_;
	return run_python($name, $program, '--dsn', $node->connstr('shop') . ' user=mailer', '--smtp', "127.0.0.1:$port", '--helo', 'shop.example',
		'--from', 'The Shop <news@shop.example>', '--worker', $name, '--max', 8, '--lease', 3, '--timeout', 1.5, '--settle', 4, '--poll', 0.2, @options);
}

sub kill_sender
{
	my ($pid) = @_;
	$kills += kill 9, $pid;
	is(reap($pid) & 127, 9, "$kills: a sender was killed");
	return;
}

sub ends_well
{
	my ($pid, $name) = @_;
	kill 'TERM', $pid;
	is(reap($pid), 0, $name);
	return;
}

# What the relay has accepted: message id -> how often
sub accepted
{
	my %times;
	return {} unless -e "$directory/accepted";
	$times{$_}++ foreach slurp_file("$directory/accepted") =~ /^<crm\.(\d+)\@shop\.example> /mg;
	return \%times;
}

sub slow_ones
{
	my @found = slurp_file("$directory/accepted") =~ / slow\./g;
	return scalar(@found);
}

sub messages
{
	my ($condition) = @_;
	return [ split(/\n/, $node->safe_psql('shop', "SELECT message_id FROM crm.message WHERE $condition ORDER BY message_id")) ];
}

sub is_consistent
{
	my ($name) = @_;
	my $times = accepted();
	is_deeply([ grep { $times->{$_} > 1 } sort keys %$times ], [], "$name: nothing was accepted twice");
	is_deeply(messages(q{state = 'sent'}), [ sort { $a <=> $b } keys %$times ], "$name: sent is what was accepted, nothing else");
	is($node->safe_psql('shop', 'SELECT count(*) FROM crm.outbox'), '0', "$name: nothing waits");
	return;
}

# ---- a relay that cannot be reached ----

$node->safe_psql('shop', q{SELECT write_to('keep', 1)});
my $lonely = start_sender('lonely', '--smtp', '127.0.0.1:1');
wait_until('the sender complains', sub { slurp_file("$directory/lonely.out") =~ /relay: .*refused/ });
ends_well($lonely, 'a sender without relay ends well');
is($node->safe_psql('shop', 'SELECT lane, attempts FROM crm.outbox'), '9|0', 'and has claimed nothing');

# ---- kills ----

my @log = ('--accepted-log', "$directory/accepted");
append_to_file("$directory/accepted", '');
my @rounds = ('any', 'slow', 'any', 'slow', 'any', 'server', 'any', 'slow', 'long', 'slow', 'any', 'slow', 'server', 'slow', 'any', 'long', 'slow', 'any');
my %senders;
foreach my $round (0 .. $#rounds)
{
	# 300 in all, with the one that waits, and two odd ones
	my $plain = $round == 0 ? 101 : 5;
	$node->safe_psql('shop', q{SELECT write_to(U&'pl\00E4in', 1), write_to('broken', 1, 'broken')}) if $round == 0;
	$node->safe_psql('shop', qq{SELECT write_to('plain', $plain), write_to('slow', 2), write_to('busy', 1), write_to('drop', 1), write_to('hang', 1)});
	$node->safe_psql('shop', qq{SELECT write_to('gone', 1)}) if $round % 2;
	$node->safe_psql('shop', qq{SELECT write_to('late', 1), write_to('spam', 1)}) if $round % 3 == 1;
	my $slow = slow_ones();
	$senders{$_} //= start_sender($_, @log) foreach ('a', 'b');

	if ($rounds[$round] eq 'slow')
	{
		# Both, while the relay has accepted a letter and has not said so yet
		wait_until('a slow letter', sub { slow_ones() > $slow });
		kill_sender(delete $senders{$_}) foreach ('a', 'b');
	}
	elsif ($rounds[$round] eq 'server')
	{
		sleep rand() * 1.5;
		$node->stop('immediate');
		$node->start;
		sleep 2;
	}
	else
	{
		sleep($rounds[$round] eq 'long' ? 9 : 0.2 + 2 * rand());
		kill_sender(delete $senders{ rand() < 0.5 ? 'a' : 'b' });
	}
}
cmp_ok($kills, '>=', 15, 'senders were killed');
$senders{$_} //= start_sender($_, @log) foreach ('a', 'b');
wait_until('all is finished', sub { $node->safe_psql('shop', q{SELECT count(*) FROM crm.message WHERE state IN ('queued', 'unknown')}) eq '0' });
ends_well($senders{$_}, "sender $_ ends well") foreach ('a', 'b');

is_consistent('after kills');
is($node->safe_psql('shop', 'SELECT count(*) FROM crm.message'), '300', 'there were 300 letters');
is($node->safe_psql('shop', q{SELECT split_part(a.address, '.', 1), m.state, m.reason, count(*) FROM crm.message AS m
	JOIN crm.contact AS a USING (customer_id) WHERE m.state <> 'sent' GROUP BY 1, 2, 3 ORDER BY 1}),
	"broken|dead|the template has neither text nor html|1\n"
	  . "gone|dead|550 5.1.1 <the address>: nobody of this name|9\nspam|dead|554 5.7.1 we do not like it|6", 'and only those that were refused are dead, with the reason');
is($node->safe_psql('shop', q{SELECT bool_and(provider_id = '250 2.0.0 Ok: queued as crm.' || message_id) FROM crm.message WHERE state = 'sent'}), 't',
	'the relay\'s word is kept where it came');
my $said = slurp_file("$directory/a.out") . slurp_file("$directory/b.out");
like($said, qr/reconciled: \d+ accepted/, 'kills have hit letters that were accepted');
like($said, qr/reconciled: \d+ not accepted, queued again/, 'and claimed ones that were not');
like($said, qr/database: /, 'and the server\'s crash was noticed');
unlike($said, qr/Traceback|could not be acknowledged/, 'no sender has failed by itself');
unlike($said, qr/customer\.example/, 'and none tells addresses');

my ($kept) = glob("$directory/keep.*");
my $letter = slurp_file($kept);
like($letter, qr/^From: The Shop <news\@shop\.example>\r?$/m, 'a letter: From');
like($letter, qr/^To: keep\.\d+\@customer\.example\r?$/m, 'To');
like($letter, qr/^Subject: =\?utf-8\?q\?Caf=C3=A9\?=\r?$/m, 'Subject');
like($letter, qr/^Reply-To: care\@shop\.example\r?$/m, 'a header of the template\'s');
like($letter, qr/^Message-ID: <crm\.1\@shop\.example>\r?$/m, 'Message-ID');
like($letter, qr/^\.a dot\r?$/m, 'a line that begins with a dot');
like($letter, qr/^<p>Hello<\/p>\r?$/m, 'HTML');

# ---- an end that is asked for ----

$node->safe_psql('shop', q{SELECT write_to('slow', 20)});
my $slow = slow_ones();
my $asked = start_sender('asked');
wait_until('a slow letter', sub { slow_ones() > $slow });
ends_well($asked, 'a sender that is asked to end ends well');
is($node->safe_psql('shop', q{SELECT count(*) FILTER (WHERE token IS NOT NULL), count(*) > 0, max(attempts) FROM crm.outbox}), '0|t|0', 'it has given back what it had not begun, which was no attempt');
is_deeply(messages(q{state = 'sent'}), [ sort { $a <=> $b } keys %{ accepted() } ], 'and told what it had sent');

# ---- the journal instead of the relay's list ----

my @journal = ('--journal', "$directory/journal");
my $before = $kills;
for my $round (1 .. 6)
{
	$node->safe_psql('shop', q{SELECT write_to('plain', 5), write_to('slow', 1)});
	$slow = slow_ones();
	my $pid = start_sender('j', @journal);
	$round % 2 ? wait_until('a slow letter', sub { slow_ones() > $slow }) : sleep(0.2 + 1.5 * rand());
	kill_sender($pid);
}
my $last = start_sender('j', @journal);
my $asked_of = sub { my %ids; $ids{$_} = 1 foreach slurp_file("$directory/j.out") =~ /message (\d+): nobody here can tell/g; return \%ids; };
wait_until('only the doubtful ones are left', sub {
	my $ids = $asked_of->();
	return @{ messages(q{state = 'queued'}) } == 0 && !grep { !$ids->{$_} } @{ messages(q{state = 'unknown'}) };
});
my $unknown = messages(q{state = 'unknown'});
cmp_ok(scalar(@$unknown), '>=', 3, 'with a journal, letters that were just going out are left to people');
cmp_ok(scalar(@$unknown), '<=', $kills - $before, 'but not more than one for each kill');
my $times = accepted();
is_deeply([ grep { $times->{$_} > 1 } sort keys %$times ], [], 'and nothing was accepted twice');
my $second = start_sender('second', @journal);
isnt(reap($second), 0, 'a journal is for one sender');
like(slurp_file("$directory/second.out"), qr/the journal cannot be used/, 'it says so');
ends_well($last, 'a sender with a journal ends well');

# Somebody gives the list after all
$last = start_sender('j', @journal, @log);
wait_until('all is finished', sub { @{ messages(q{state IN ('queued', 'unknown')}) } == 0 });
ends_well($last, 'a sender with both ends well');
is_consistent('after the journal');
unlike(slurp_file("$directory/j.out"), qr/Traceback|could not be acknowledged/, 'no sender has failed by itself');

# ---- a letter that is accepted when the lease of a dead sender has long been over ----

$node->safe_psql('shop', q{SELECT write_to('long', 1)});
my $dying = start_sender('dying');
wait_until('the relay has the letter', sub { -e "$directory/long" });
kill_sender($dying);
is($node->safe_psql('shop', 'SELECT count(*) FROM crm.outbox'), '1', 'it waits');
my $heir = start_sender('heir', @log, '--settle', 8);
wait_until('all is finished', sub { @{ messages(q{state IN ('queued', 'unknown')}) } == 0 });
ends_well($heir, 'its heir ends well');
is_consistent('after a late one');
like(slurp_file("$directory/heir.out"), qr/reconciled: 1 accepted/, 'the heir has waited for it');

# ---- the hint ----

my $patient = start_sender('patient', '--poll', 100000);
ok($node->poll_query_until('shop', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE usename = 'mailer' AND state = 'idle' AND query = 'COMMIT'}), 'a sender waits');
$node->safe_psql('shop', q{BEGIN; SELECT write_to('plain', 1); NOTIFY crm_outbox; COMMIT});
wait_until('it wakes', sub { @{ messages(q{state = 'queued'}) } == 0 });
ends_well($patient, 'and sends when it is hinted at');
is_consistent('in the end');

$node->stop;
done_testing();

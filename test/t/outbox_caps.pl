# Caps are exact: fifty claim at once, on three channels, and nobody gets a fourth message in a week; the three are those of the
# highest priority. Then fifty claim while others make messages, say that some were not sent, and merge people: a merged person
# has what his ids have had, and gets no more than the rest.

use strict;
use warnings;

use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $people = 400;
my $seed = $ENV{CRM_SEED} // 4711;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', <<'CONF');
timezone = 'UTC'
log_statement = none
fsync = off
max_connections = 100
max_locks_per_transaction = 256
CONF
$node->start;

# Time stands still, but for what a claim is told
$node->safe_psql('postgres', <<"SQL");
CREATE EXTENSION crm_marketing;
ALTER DATABASE postgres SET crm_marketing.now = '2026-03-02 09:00Z';
CREATE TABLE users AS SELECT n AS id FROM generate_series(1, 2 * $people) AS n;
ALTER TABLE users ADD PRIMARY KEY (id);
CREATE TABLE merged (n int GENERATED ALWAYS AS IDENTITY, a int, b int, had int);
SQL
$node->safe_psql('postgres', <<"SQL");
SELECT crm.define_customers('SELECT id AS customer_id FROM public.users');
SELECT count(crm.set_contact(id, 'email', id || '\@example.org')), count(crm.set_contact(id, 'sms', '+491511' || 2340000 + id)),
	   count(crm.set_contact(id, 'whatsapp', '+491511' || 2340000 + id)) FROM users;
SELECT count(crm.record_consent(id, c)) FROM users, unnest(ARRAY['email', 'sms', 'whatsapp']) AS c;
SELECT crm.set_template('hello', c, '{"text": "Hello"}') FROM unnest(ARRAY['email', 'sms', 'whatsapp']) AS c;
SELECT crm.set_cap('weekly', 3, per => '7 days'), crm.set_cap('sms', 1, per => '7 days', channels => '{sms}');
CREATE FUNCTION enqueue(first int, last int, n int) RETURNS bigint LANGUAGE sql AS \$\$
	SELECT count(crm.enqueue_message(u.id, (ARRAY['email', 'sms', 'whatsapp'])[1 + (random() * 3 - 0.5)::int % 3], 'hello', priority => (random() * 9)::int))
	  FROM users AS u, generate_series(1, n) WHERE u.id BETWEEN first AND last
\$\$;
SELECT setseed(0.$seed);
SELECT enqueue(1, $people, 8);
-- the right ones: an auction by priority, three in all, one by sms
CREATE TABLE expected (message_id bigint);
DO \$\$
DECLARE
	m record;
	person bigint := 0;
	taken int;
	sms int;
BEGIN
	FOR m IN SELECT customer_id, channel, message_id FROM crm.message ORDER BY customer_id, priority DESC, message_id LOOP
		IF m.customer_id <> person THEN
			person := m.customer_id; taken := 0; sms := 0;
		END IF;
		CONTINUE WHEN taken = 3 OR m.channel = 'sms' AND sms = 1;
		taken := taken + 1;
		sms := sms + (m.channel = 'sms')::int;
		INSERT INTO expected VALUES (m.message_id);
	END LOOP;
END \$\$;
ANALYZE;
SQL

my $directory = PostgreSQL::Test::Utils::tempdir();
sub pgbench
{
	my ($name, $transactions, %scripts) = @_;
	my @files;
	foreach my $script (sort keys %scripts)
	{
		append_to_file("$directory/$name.$script", $scripts{$script}[1]);
		push @files, '-f', "$directory/$name.$script\@$scripts{$script}[0]";
	}
	my ($out, $err);
	my $status = IPC::Run::run([ 'pgbench', '-n', '-c', '50', '-j', '2', '-t', $transactions, "--random-seed=$seed", @files, $node->connstr('postgres') ],
		'>', \$out, '2>', \$err);
	ok($status, "$name: fifty at once") or diag($err);
	return;
}

# Those who got too many, of what may have been sent
my $exceeded = q{
	SELECT count(*) FROM (
		SELECT m.customer_id FROM crm.outbox AS o JOIN crm.message AS m USING (message_id) WHERE o.handed_at IS NOT NULL AND NOT m.transactional
		 GROUP BY m.customer_id HAVING count(*) > 3 OR count(*) FILTER (WHERE m.channel = 'sms') > 1) AS x};
my $claim = q{
\set channel random(1, 3)
\set max random(1, 20)
SELECT count(*) FROM crm.claim_messages((ARRAY['email', 'sms', 'whatsapp'])[:channel], 'bench', :max, at => '2026-03-02 09:00Z'::timestamptz + interval '61 seconds' * :minute);
};

# All is due, and time stands still until nothing goes any more; then what was put off for a minute, if there is room after all
foreach my $minute (0 .. 2)
{
	pgbench("minute $minute", 25, claim => [ 1, $claim =~ s/:minute/$minute/r ]);
	is($node->safe_psql('postgres', $exceeded), '0', "minute $minute: nobody gets more than the caps allow");
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM (SELECT o.message_id FROM crm.outbox AS o WHERE o.token IS NOT NULL EXCEPT TABLE expected) AS x}), '0', 'none of lower priority goes');
is($node->safe_psql('postgres', q{SELECT count(*) FROM crm.outbox WHERE token IS NOT NULL}), $node->safe_psql('postgres', 'SELECT count(*) FROM expected'), 'all of the highest priority go');
is($node->safe_psql('postgres', q{SELECT count(*), min(due_at) FROM crm.outbox WHERE token IS NULL AND due_at < '2026-03-09 09:00Z'}), '0|', 'the others wait until there is room');

# ---- with everything else that happens at once ----

$node->safe_psql('postgres', "DELETE FROM crm.outbox; DELETE FROM crm.lease; DELETE FROM crm.message; SELECT enqueue(1, 2 * $people, 4)");
$node->safe_psql('postgres', <<"SQL");
CREATE FUNCTION join_people(a int, b int) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
	IF EXISTS (SELECT FROM crm.alias AS x WHERE x.alias IN (a, b) OR x.customer_id IN (a, b)) THEN
		RETURN;
	END IF;
	PERFORM crm.merge_customers(a, b);
	-- what they have had by then: nobody gets anything until this commits
	INSERT INTO public.merged (a, b, had) SELECT join_people.a, join_people.b, count(*) FROM crm.outbox AS o WHERE o.customer_id IN (a, b) AND o.handed_at IS NOT NULL;
END \$\$;
CREATE FUNCTION fail_some() RETURNS void LANGUAGE sql AS \$\$
	SELECT crm.nack_message(o.message_id, o.token, 'busy', '0') FROM (SELECT * FROM crm.outbox AS o WHERE o.token IS NOT NULL ORDER BY random() LIMIT 1) AS o
\$\$;
SQL
pgbench('mixed', 80,
	claim => [ 6, $claim =~ s/:minute/0/r ],
	enqueue => [ 1, "\\set a random(1, 2 * $people)\nSELECT enqueue(:a, :a, 1);\n" ],
	fail => [ 1, "SELECT fail_some();\n" ],
	merge => [ 2, "\\set a random(1, $people)\n\\set swap random(0, 1)\nSELECT join_people(CASE :swap WHEN 0 THEN :a ELSE :a + $people END, CASE :swap WHEN 0 THEN :a + $people ELSE :a END);\n" ]);
is($node->safe_psql('postgres', $exceeded), '0', 'mixed: nobody gets more than the caps allow');
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM merged WHERE had < 3'), '>', 20, 'mixed: people were merged before they had all');
is($node->safe_psql('postgres', q{
	SELECT count(*) FROM (
		SELECT FROM merged AS p JOIN crm.outbox AS o ON o.customer_id IN (p.a, p.b) AND o.handed_at IS NOT NULL
		 GROUP BY p.n, p.had HAVING count(*) > greatest(p.had, 3)) AS x}), '0', 'mixed: nor does he who was merged');
unlike(slurp_file($node->logfile), qr/ERROR|PANIC|TRAP|signal 11|signal 6/, 'and there was no error');

$node->stop;
done_testing();

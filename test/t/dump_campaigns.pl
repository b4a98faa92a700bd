# Dump and restore amid campaigns: what was going on goes on, as if there had been no dump. Whoever waits, is held out or has
# something in the outbox is where he was, nobody begins twice, and what one has in hand, others do not get.
#
# After the dump the shop lives on, in the database that was dumped and in those that were made of it: the same days, by the clock
# that crm_marketing.now sets. What comes of it must be the same, but for the ids: nobody says in which order a tick looks at people.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$node->append_conf('postgresql.conf', "timezone = 'UTC'\nmax_connections = 20\nautovacuum = off\nlog_statement = none\n");
$node->start;
my $dir = PostgreSQL::Test::Utils::tempdir();

$node->safe_psql('postgres', 'CREATE DATABASE shop');
# a worker
$node->safe_psql('shop', slurp_file("$FindBin::RealBin/../pgtap/include/campaign_tick.sql"));
$node->safe_psql('shop', <<'SQL');
SET client_min_messages = warning;
CREATE TABLE users (id bigint PRIMARY KEY, name text, email text, phone text, language text);
CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, amount numeric);
CREATE TABLE carts (id bigserial PRIMARY KEY, user_id bigint, at timestamptz, visit text);
CREATE INDEX ON orders (user_id);
CREATE INDEX ON carts (user_id);
INSERT INTO users SELECT n, 'Имя ' || n, 'u' || n || '@example.org', '+7900000' || 1000 + n FROM generate_series(1, 80) AS n;

-- a sender, who notes what he sends
CREATE TABLE sent (customer_id bigint, campaign text, step text, at timestamptz, content jsonb, message_id bigint,
	ours boolean DEFAULT true);
CREATE PROCEDURE send_at(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	batch bigint[];
	claim bigint;
BEGIN
	LOOP
		WITH claimed AS MATERIALIZED (
			SELECT c.* FROM unnest('{email,sms}'::text[]) AS h, crm.claim_messages(h, 'sender') AS c
		), posted AS (
			INSERT INTO sent SELECT c.customer_id, c.campaign, c.step, instant, c.content, c.message_id FROM claimed AS c
		)
		SELECT array_agg(c.message_id), max(c.token) INTO batch, claim FROM claimed AS c;
		COMMIT;
		EXIT WHEN batch IS NULL;
		PERFORM crm.ack_messages(array_agg(o.message_id), o.token)
		   FROM crm.outbox AS o WHERE o.message_id = ANY (batch) AND o.token IS NOT NULL GROUP BY o.token;
		COMMIT;
	END LOOP;
END
$p$;
-- to an instant, stopping wherever something is due
CREATE PROCEDURE go_on(instant timestamptz) LANGUAGE plpgsql AS $p$
DECLARE
	due timestamptz;
BEGIN
	LOOP
		SELECT min(x.due) INTO due
		  FROM (SELECT r.wake_at FROM crm.run AS r JOIN crm.campaign AS c USING (campaign_id) WHERE r.state = 'active' AND c.state <> 'paused'
				UNION ALL SELECT o.due_at FROM crm.outbox AS o
				UNION ALL SELECT l.until FROM crm.lease AS l
				UNION ALL SELECT d.due FROM crm.deadline AS d) AS x(due)
		 WHERE x.due > current_setting('crm_marketing.now')::timestamptz;
		EXIT WHEN due IS NULL OR due >= instant;
		CALL tick_at(due);
		CALL send_at(due);
	END LOOP;
	CALL tick_at(instant);
	CALL send_at(instant);
	CALL tick_at(instant);
END
$p$;
CREATE FUNCTION remember(customer bigint, run jsonb) RETURNS void LANGUAGE sql AS $f$
	INSERT INTO public.sent (customer_id, campaign, step, at, ours)
	VALUES (customer, run ->> 'campaign', run ->> 'step', (run ->> 'at')::timestamptz, false)
$f$;

CREATE EXTENSION crm_marketing;
SET crm_marketing.now = '2026-03-02 09:00Z';
SELECT crm.configure('timezone', 'Europe/Berlin'), crm.configure('holdout', '5');
SELECT crm.define_customers('SELECT id AS customer_id, name, email, phone, language FROM public.users'),
	crm.define_event('order', 'SELECT user_id AS customer_id, at, amount, id AS number FROM public.orders'),
	crm.define_event('cart', 'SELECT user_id AS customer_id, at, id AS cart, visit FROM public.carts'),
	crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts');
SELECT crm.record_consent(n, c, at => '2026-01-01') FROM generate_series(1, 80) AS n, unnest('{email,sms,task}'::text[]) AS c WHERE n % 10 > 0;
SELECT crm.define_channel('ad:google', 'email');
SELECT crm.record_consent(n, 'ad:google', at => '2026-01-01') FROM generate_series(1, 80) AS n;
SELECT crm.set_template(t, c, jsonb_build_object('text', t || ' for {{customer.name}}'))
  FROM unnest('{cart,coupon,vip,order,news,short,old,broken}'::text[]) AS t, unnest('{email,sms}'::text[]) AS c;
SELECT crm.set_template('cart', 'email', '{"subject": "Your cart", "text": "Dear {{customer.name}}, {{event.cart}} waits"}'),
	crm.set_template('cart', 'email', '{"subject": "Ваша корзина", "text": "{{event.cart}}"}', 'ru'), crm.drop_template('old');
SELECT crm.set_template('broken', 'email', '{"text": "{{#customer.name}}{{{message.id}}}{{/customer.name}}"}');
SELECT crm.set_cap('weekly', 2, per => '7 days'), crm.set_cap('daily', 1, calendar => 'day', channels => '{sms}'),
	crm.set_channel_rule('email', quiet_from => '22:00', quiet_to => '08:00', retry_after => '10 minutes'),
	crm.set_channel_rule('sms', rate => 3, rate_per => '1 hour', on_expiry => 'retry');
SELECT crm.define_code_pool('coupons', 'CODE-######');
SELECT crm.create_static_segment('invited', ARRAY(SELECT generate_series(40, 75)::bigint));
SELECT crm.create_segment('buyers', 'sum(order.amount) > 100');
SELECT crm.create_audience('vips', 'ad:google'), crm.create_audience('buyers', 'ad:google', 'buyers');

SELECT crm.campaign_from_json('{"campaign": "cart", "trigger": "has cart in last 1 day", "goal": "has order since entry", "holdout": 20,
	"occurrence_key": "cart", "useful_for": "3 days", "steps": [
	{"step": "letter", "wait": "1 hour", "message": {"channel": "email", "template": "cart", "if": "not in segment ''buyers''"}},
	{"step": "arms", "split": [{"arm": "A", "percent": 50, "go_to": "tag"}, {"arm": "B", "percent": 50, "go_to": "call"}]},
	{"step": "tag", "add_tag": "carted", "go_to": "clicked"},
	{"step": "call", "task": {"script": "Call {{customer.name}}", "assignees": ["anna", "boris"], "deadline": "6 days"}},
	{"step": "clicked", "until": "has click since entry", "timeout": "5 days", "otherwise": "leave"},
	{"step": "code", "code": {"pool": "coupons"}},
	{"step": "coupon", "message": {"channel": "email", "template": "coupon", "useful_for": "2 days"}},
	{"step": "shop", "wait": "1 day", "call": "public.remember"}]}'), crm.start_campaign('cart');
-- no event decides this one: an entry does
SELECT crm.create_campaign('vip', 'sum(order.amount) > 100', reentry => 'once'), crm.add_step('vip', 'audience', add_to_audience => 'vips'),
	crm.add_step('vip', 'thanks', wait => '2 days', channel => 'sms', template => 'vip'), crm.start_campaign('vip');
SELECT crm.create_campaign('on hold', 'has order in last 2 days', reentry => '30 days', priority => 9, useful_for => '5 days'),
	crm.add_step('on hold', 'letter', channel => 'email', template => 'order'), crm.start_campaign('on hold');
SELECT crm.create_campaign('being drawn', 'has order[amount > 50] in last 30 days', 'in segment ''buyers'''),
	crm.add_step('being drawn', 'letter', wait => '1 hour', channel => 'sms', template => 'short');
SELECT crm.create_campaign('given up', 'has cart in last 1 day'), crm.add_step('given up', 'letter', channel => 'sms', template => 'short'),
	crm.start_campaign('given up'), crm.stop_campaign('given up');
SELECT crm.create_broadcast('news', 'invited', 'email', 'news', send_at => '2026-03-02 11:00Z', spread => '4 hours', holdout => 10),
	crm.create_broadcast('later', 'invited', 'sms', 'short', send_at => '2026-03-03 09:00Z', spread => '2 hours');
CALL tick_at('2026-03-02 09:00Z');

INSERT INTO carts (user_id, at, visit) SELECT n, '2026-03-02 10:00Z', 'visit ' || n FROM generate_series(1, 24) AS n;
CALL tick_at('2026-03-02 10:00Z');
UPDATE users SET language = 'ru' WHERE id < 5;
INSERT INTO orders (user_id, at, amount) SELECT n, '2026-03-02 10:30Z', 30 * (n % 5) FROM generate_series(20, 39) AS n;
CALL tick_at('2026-03-02 10:30Z');
SELECT crm.sync_audience();
SELECT crm.ack_audience(array_agg(entry_id), min(token)) FROM crm.claim_audience('buyers', 2);
SELECT count(*) FROM crm.claim_audience('vips', 1, '1 day');
SELECT crm.pause_campaign('on hold');
-- letters: what becomes of them is told of all but two; of one of those, which is handed out for a minute only, nobody knows
CALL tick_at('2026-03-02 11:00Z');
SELECT count(*) FROM crm.claim_messages('email', 'hasty', 1, '1 minute');
SET crm_marketing.now = '2026-03-02 11:02Z';
SELECT crm.expire_leases();
SELECT count(crm.nack_message(message_id, token, 'mailbox full')) FROM crm.claim_messages('email', 'refused', 1);
SELECT count(crm.nack_message(message_id, token, 'no such user', permanent => true)) FROM crm.claim_messages('email', 'refused', 1);
SELECT count(*) FROM crm.claim_messages('email', 'slow', 1, '1 day');
CALL send_at('2026-03-02 11:02Z');
SELECT count(crm.record_delivery(message_id, k, '2026-03-02 11:30Z', k || message_id))
  FROM sent, unnest('{delivered,open}'::text[]) AS k WHERE campaign = 'cart' AND customer_id % 3 > 0;
SELECT count(crm.record_delivery(message_id, 'click', '2026-03-02 12:00Z', 'k'))
  FROM sent WHERE campaign = 'cart' AND customer_id % 3 = 1;
SELECT crm.send_message(3, 'email', 'order', message_key => 'order 1'),
	crm.send_message(4, 'email', 'order', message_key => 'later', due_at => '2026-03-05Z');
-- some have clicked and are queued for the coupon; the broadcast is amid its four hours
CALL tick_at('2026-03-02 12:00Z');
SELECT count(*) FROM crm.next_task('anna');
-- a second version; who was on his way stays on the first
SELECT crm.campaign_from_json(jsonb_set(crm.campaign_to_json('cart'), '{steps,0,wait}', '"2 hours"')), crm.start_campaign('cart');
INSERT INTO carts (user_id, at, visit) SELECT n, '2026-03-02 12:30Z', 'visit ' || n FROM generate_series(5, 34) AS n WHERE n NOT BETWEEN 8 AND 24;
CALL tick_at('2026-03-02 12:30Z');
-- occasions are another thing from now on; that is no new occasion for those who have had one
SELECT crm.campaign_from_json(jsonb_set(crm.campaign_to_json('cart'), '{occurrence_key}', '"visit"')), crm.start_campaign('cart');
CALL tick_at('2026-03-02 12:35Z');

-- Somebody becomes a buyer, and a tick has seen it, but no campaign yet
INSERT INTO orders (user_id, at, amount) VALUES (74, '2026-03-02 12:36Z', 500);
INSERT INTO carts (user_id, at, visit) VALUES (71, '2026-03-02 12:36Z', 'visit 71');
SET crm_marketing.now = '2026-03-02 12:36Z';
SELECT crm.tick();
SELECT crm.tick();
-- and this no tick has seen: a cart, a buyer, the goal of one who waits, a click that two wait for
INSERT INTO carts (user_id, at, visit) VALUES (72, '2026-03-02 12:37Z', 'visit 72');
INSERT INTO orders (user_id, at, amount) VALUES (73, '2026-03-02 12:37Z', 500), (6, '2026-03-02 12:37Z', 10), (2, '2026-03-02 12:37Z', 10);
SET crm_marketing.now = '2026-03-02 12:38Z';
SELECT count(crm.record_delivery(message_id, 'click', '2026-03-02 12:38Z', 'k'))
  FROM sent WHERE campaign = 'cart' AND customer_id IN (5, 8, 11, 14);
SQL

# ---- what there is ----

# psql's lines of a query at an instant
sub at
{
	my ($db, $at, $sql) = @_;
	return $node->safe_psql($db, "SET client_min_messages = warning; SET crm_marketing.now = '$at'; $sql");
}

my $now = '2026-03-02 12:40Z';

# As is(), but tells the lines only that differ
sub same
{
	my ($got, $expected, $name) = @_;
	my %count;
	$count{$_}++ for split(/\n/, $expected);
	$count{$_}-- for split(/\n/, $got);
	ok($got eq $expected, $name)
	  or diag(join("\n", map { ($count{$_} < 0 ? 'not expected: ' : 'missing: ') . $_ } grep { $count{$_} != 0 } sort keys %count));
	return;
}

# Each table that is dumped, with those of its rows that are
my $tables = q{SELECT t.name, x.rows
	  FROM (SELECT c.oid::regclass::text AS name, d.condition
			  FROM pg_extension AS e
			 CROSS JOIN LATERAL unnest(e.extconfig, e.extcondition) AS d(id, condition)
			  JOIN pg_class AS c ON c.oid = d.id AND c.relkind = 'r'
			 WHERE e.extname = 'crm_marketing') AS t
	 CROSS JOIN LATERAL query_to_xml(format('SELECT string_agg(o::text, E''\n'' ORDER BY o::text) FROM (SELECT * FROM %s %s) AS o',
		t.name, t.condition), true, true, '') AS x(rows)
	 ORDER BY 1};
my %state = (
	tables => $tables,
	sequences => q{SELECT schemaname, sequencename, last_value FROM pg_sequences
		WHERE sequencename NOT IN ('change_log_lost', 'listener_queue_seq', 'pending_seq', 'tick_error_id_seq') ORDER BY 1, 2},
	campaigns => 'SELECT * FROM crm.campaigns',
	drawn => q{SELECT campaign, crm.campaign_to_json(campaign) FROM crm.campaign ORDER BY 1},
	versions => q{SELECT campaign, v.version, crm.campaign_to_json(campaign, v.version)
		FROM crm.campaign JOIN crm.campaign_version AS v USING (campaign_id) ORDER BY 1, 2},
	report => q{SELECT c.campaign, r.* FROM crm.campaign AS c, crm.campaign_report(c.campaign) AS r WHERE c.version IS NOT NULL ORDER BY 1, 2, 3},
	'dry run' => q{SELECT c.campaign, d.* FROM unnest('{cart,vip,on hold,being drawn}'::text[]) AS c(campaign), crm.dry_run(c.campaign) AS d},
	'backtest' => q{SELECT * FROM crm.backtest('cart', '2026-03-01', '2026-03-02 12:40Z')},
	load => q{SELECT c, l.* FROM unnest('{cart,vip,on hold}'::text[]) AS c, crm.dry_run_load(c) AS l},
	audiences => 'SELECT * FROM crm.audience_size ORDER BY 1',
	feeds => 'SELECT kind, state, reason, tables::text FROM crm.feeds ORDER BY 1',
	templates => q{SELECT t, l, (crm.newest_template(t, 'email', l)).version
		FROM unnest('{cart,old,news}'::text[]) AS t, unnest('{"",ru,ru-RU,de}'::text[]) AS l},
	holdouts => q{SELECT array_agg(n) FILTER (WHERE crm.in_global_holdout(n)), array_agg(n) FILTER (WHERE crm.in_holdout(n, 'campaign:1', 20))
		FROM generate_series(1, 80) AS n});
my %before = map { $_ => at('shop', $now, $state{$_}) } sort keys %state;

# That all of it is there, so that it can be lost
my %there = (
	'runs at several steps' => q{SELECT count(DISTINCT r.step) FROM crm.run AS r WHERE r.state = 'active' AND r.campaign_id = 1},
	'runs on two versions' => q{SELECT count(DISTINCT r.version) - 1 FROM crm.run AS r WHERE r.state = 'active' AND r.campaign_id = 1},
	'those held out' => q{SELECT count(*) FROM crm.run AS r WHERE r.state = 'active' AND r.held},
	'a wave that is half done' => q{SELECT count(*) FROM crm.run AS r JOIN crm.campaign AS c USING (campaign_id)
		WHERE c.campaign = 'news' AND r.state = 'active' AND r.step = 1},
	'messages that are queued' => q{SELECT count(*) FROM crm.outbox AS o JOIN crm.message AS m USING (message_id)
		WHERE o.token IS NULL AND m.step = 'coupon'},
	'one that is tried again' => q{SELECT count(*) FROM crm.outbox WHERE token IS NULL AND attempts > 0},
	'one that is handed out' => q{SELECT count(*) FROM crm.outbox WHERE lane >= 0 AND token IS NOT NULL},
	'one of which nobody knows' => q{SELECT count(*) FROM crm.outbox WHERE lane = -1},
	'one that is paused' => q{SELECT count(*) FROM crm.message WHERE state = 'queued' AND campaign = 'on hold'},
	(map { ("messages that are $_" => "SELECT count(*) FROM crm.message WHERE state = '$_'") } 'sent', 'dead', 'suppressed'),
	deliveries => 'SELECT count(*) FROM crm.delivery',
	codes => q{SELECT count(*) FROM crm.run WHERE code IS NOT NULL},
	'tasks that are open' => q{SELECT count(*) FROM crm.task WHERE state = 'open'},
	'a task that is taken' => q{SELECT count(*) FROM crm.task WHERE state = 'taken'},
	(map { ("entries of the ledger: $_" => "SELECT count(*) FROM crm.audience_ledger WHERE state = '$_'") } 'add', 'adding', 'present'),
	'an entry that no campaign has seen' => q{SELECT count(*) FROM crm.occurrence_queue WHERE kind = ''});
cmp_ok(at('shop', $now, $there{$_}), '>', 0, "amid it: $_") for sort keys %there;
isnt($before{$_}, '', "there is something: $_") for sort keys %before;

# ---- dump and restore ----

$node->command_ok([ 'pg_dump', '-Fp', '-f', "$dir/shop.sql", 'shop' ], 'plain dump');
$node->command_ok([ 'pg_dump', '-Fd', '-j2', '-f', "$dir/shop.directory", 'shop' ], 'directory dump');
$node->safe_psql('postgres', "CREATE DATABASE $_") for 'plain', 'jobs';
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', 'plain', '-f', "$dir/shop.sql" ], 'plain restore');
$node->command_ok([ 'pg_restore', '--exit-on-error', '--jobs=3', '-d', 'jobs', "$dir/shop.directory" ], 'restore by several jobs');
foreach my $db ('plain', 'jobs')
{
	same(at($db, $now, $state{$_}), $before{$_}, "$db: the same $_") for sort keys %state;
}

# ---- and on it goes ----

my $later = <<'SQL';
-- what was handed out before the dump, is acknowledged after it
SELECT 'slow', crm.ack_messages(array_agg(message_id), min(token)) FROM crm.outbox WHERE worker = 'slow';
SELECT 'again', crm.ack_messages(array_agg(message_id), min(token)) FROM crm.message WHERE state = 'sent' AND handed_at = '2026-03-02 11:02Z';
SELECT 'hasty', customer_id, worker, crm.ack_messages(ARRAY[message_id], token) FROM crm.unknown_messages('email');
SELECT 'same key', crm.send_message(3, 'email', 'order', message_key => 'order 1') IS NULL;
SELECT 'new', count(crm.send_message(n, 'email', 'order', message_key => 'order 2')) FROM generate_series(1, 5) AS n;
SELECT 'template', crm.set_template('cart', 'email', '{"subject": "Your cart"}'), crm.set_template('old', 'email', '{"text": "new"}'),
	crm.set_template('short', 'sms', '{"text": "short for {{customer.name}}"}');
SELECT 'campaign', crm.create_campaign('another', 'has order'), crm.create_guard('another');
SELECT 'known delivery', bool_or(crm.record_delivery(message_id, 'click', '2026-03-03', 'k')) FROM crm.delivery WHERE kind = 'click';
CALL tick_at('2026-03-02 12:41Z');
SELECT 'audience', operation, hash FROM crm.claim_audience('buyers', at => '2026-03-02 12:41Z') ORDER BY 2, 3;
SELECT 'audience', crm.ack_audience(array_agg(entry_id), min(token))
  FROM crm.audience_ledger WHERE state = 'adding' AND audience_id = crm.audience_id('vips');
CALL go_on('2026-03-02 14:45Z');
SELECT 'task', crm.finish_task(task_id, 'reached', at => crm.now()) FROM crm.task WHERE state = 'taken';
SELECT crm.start_campaign('on hold');
CALL go_on('2026-03-03 08:00Z');
INSERT INTO orders (user_id, at, amount) VALUES (12, '2026-03-03 08:00Z', 70), (72, '2026-03-03 08:00Z', 10);
INSERT INTO carts (user_id, at, visit) VALUES (1, '2026-03-03 08:00Z', 'visit 100'), (72, '2026-03-03 08:00Z', 'visit 72');
SELECT count(crm.record_delivery(message_id, 'click', '2026-03-03 07:59Z', 'late')) FROM sent WHERE ours AND customer_id % 4 = 2;
CALL go_on('2026-03-05 10:00Z');
SELECT crm.start_campaign('being drawn');
CALL go_on('2026-03-12 10:00Z');
SELECT count(*) FROM crm.sync_audience();
SELECT * FROM crm.audience_size ORDER BY 1;
SQL
my %outcome = (
	runs => q{SELECT c.campaign, r.customer_id, r.occurrence, r.version, r.event, r.entry, r.held, r.state, r.reason, r.step, r.step_at,
			r.goal_at, r.finished_at, r.arms, r.code IS NOT NULL, r.errors
		FROM crm.run AS r JOIN crm.campaign AS c USING (campaign_id) ORDER BY 1, 2, 3},
	steps => q{SELECT c.campaign, r.customer_id, r.occurrence, s.step, s.arm, s.at, s.outcome
		FROM crm.run_step AS s JOIN crm.run AS r USING (customer_id, run_id) JOIN crm.campaign AS c ON c.campaign_id = r.campaign_id
		ORDER BY 1, 2, 3, s.at, 4, 7},
	messages => q{SELECT m.customer_id, m.campaign, m.step, m.message_key, m.channel, m.arm, m.entry, m.due_at, m.state, m.reason, m.handed_at,
			m.finished_at
		FROM crm.message AS m ORDER BY 1, 2, 3, 4, m.due_at, m.state},
	outbox => q{SELECT o.customer_id, m.campaign, m.step, m.message_key, o.lane, o.due_at, o.attempts, o.reason
		FROM crm.outbox AS o JOIN crm.message AS m USING (message_id) ORDER BY 1, 2, 3, 4, 6},
	letters => q{SELECT customer_id, campaign, step, at, regexp_replace(content::text, '\d{6,}', ''), ours FROM sent ORDER BY 1, 2, 3, 4, 5},
	tasks => q{SELECT t.customer_id, t.campaign, t.step, t.state, t.reason, t.result, t.due_at, t.deadline, t.finished_at
		FROM crm.task AS t ORDER BY 1, 2, 3, t.due_at},
	tags => 'SELECT t.customer_id, t.tag FROM crm.tag AS t ORDER BY 1, 2',
	report => $state{report});

my $said = at('shop', $now, $later);
my %after = map { $_ => at('shop', '2026-03-12 10:00Z', $outcome{$_}) } sort keys %outcome;
foreach my $db ('plain', 'jobs')
{
	my $message = at($db, $now, 'SELECT max(message_id) FROM crm.message');
	same(at($db, $now, $later), $said, "$db: what is said is answered as there");
	same(at($db, '2026-03-12 10:00Z', $outcome{$_}), $after{$_}, "$db: the same has become of the $_") for sort keys %outcome;
	is(at($db, $now, "SELECT count(*) - count(DISTINCT message_id) FROM crm.message"), 0, "$db: no two messages have one id");
	cmp_ok(at($db, $now, "SELECT min(message_id) FROM crm.message WHERE message_key = 'order 2'"),
		'>', $message, "$db: new messages come after the old ones");
	is(at($db, $now, q{SELECT count(*) - count(DISTINCT (customer_id, campaign_id, event_at)) FROM crm.run WHERE event_kind IS NOT NULL}), 0,
		"$db: nobody has begun twice for one event");
}
like($after{runs}, qr/^vip\|74\|/m, 'who has become a buyer just before the dump, is thanked');

$node->stop;
done_testing();

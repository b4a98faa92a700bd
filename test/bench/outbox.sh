#!/usr/bin/env bash
#
# outbox.sh: how fast messages are handed out and acknowledged, beside queues that decide nothing; how fast runs advance.
#
#     MESSAGES             how many are due, by default a million
#     CUSTOMERS            how many people they are for, by default a fifth of that
#     RUN_SECONDS          how long each is measured at a time, ours and pgmq by turns, by default 2
#     PAIRS                how often, by default 3
#     HELD                 how many messages go while somebody holds an old snapshot, by default 240000
#     RUNS                 how many runs of campaigns are advanced, by default 20000
#     PGMQ_SQL             the path of pgmq's SQL (pgmq-extension/sql/pgmq.sql); without it pgmq is left out
#     PGQ_EVENTS           how many events PgQ hands out, where the server has it (Debian: postgresql-15-pgq3), by default 200000
#     DAILY                how many messages are sent on each day of the simulated year, by default 5000
#     PARTS                which of: rate snapshot runs year; by default all
#
# settings: -c fsync=on -c full_page_writes=on -c synchronous_commit=on -c max_locks_per_transaction=256

set -euo pipefail
. "$(dirname "$0")/lib.sh"
messages=${MESSAGES:-1000000}
customers=${CUSTOMERS:-$((messages / 5))}
run_seconds=${RUN_SECONDS:-2}
pairs=${PAIRS:-3}
held=${HELD:-240000}
runs=${RUNS:-20000}
pgq_events=${PGQ_EVENTS:-200000}
daily=${DAILY:-5000}
parts=${PARTS:-rate snapshot runs year}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has() {
	[[ " $parts " == *" $1 "* ]]
}

sql() {
	PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning" psql -X -q -At -d "$1" -v ON_ERROR_STOP=1 -c "$2"
}

machine
createdb outbox
sql outbox "
	CREATE EXTENSION crm_marketing;
	CREATE TABLE users AS SELECT n AS id, 'name ' || n AS name, 'u' || n || '@example.org' AS email FROM generate_series(1, $customers) AS n;
	ALTER TABLE users ADD PRIMARY KEY (id);
	CREATE TABLE orders AS SELECT 1 + n % $customers AS user_id, now() - interval '10 days' AS at, 10 AS amount FROM generate_series(1, 4 * $customers) AS n;
	CREATE INDEX ON orders (user_id);
	SELECT crm.define_customers('SELECT id AS customer_id, name, email FROM public.users');
	SELECT crm.define_event('order', 'SELECT user_id AS customer_id, at, amount FROM public.orders');
	SELECT crm.refresh_identities();
	INSERT INTO crm.consent (customer_id, channel, purpose, granted, at, source)
	SELECT id, 'email', 'marketing', true, now(), 'bench' FROM users;
	SELECT crm.set_template('letter', 'email', '{\"subject\": \"Hello\", \"text\": \"Your parcel {{parcel}} is here\"}');
	SELECT crm.create_guard('bench', goal => 'has order since entry');
	SELECT crm.set_cap('weekly', 1000, per => '7 days'), crm.set_channel_rule('email', quiet_from => '03:59', quiet_to => '04:00')" >/dev/null

# fill decided|plain: messages that are all due, with everything to be decided, or with nothing
fill() {
	sql outbox "
		TRUNCATE crm.message, crm.outbox, crm.lease;
		INSERT INTO crm.message (customer_id, channel, purpose, transactional, priority, guard_id, template, language, data, entry, created_at, due_at)
		SELECT 1 + n % $customers, 'email', 'marketing', '$1' = 'plain', 5, CASE WHEN '$1' = 'decided' THEN 1 END, 'letter', '', '{\"parcel\": 1}',
			   now(), now(), now() - interval '1 minute' FROM generate_series(1, $messages) AS n;
		INSERT INTO crm.outbox (message_id, customer_id, channel, lane, due_at) SELECT message_id, customer_id, channel, priority, due_at FROM crm.message"
	sql outbox 'VACUUM ANALYZE crm.message'
	sql outbox 'VACUUM ANALYZE crm.outbox'
}

cat >"$work/ours.sql" <<'SQL'
SELECT coalesce(array_agg(message_id), '{}') AS ids, coalesce(max(token), 0) AS token FROM crm.claim_messages('email', 'bench', :n) \gset
SELECT crm.ack_messages(:ids, :token);
SQL
cat >"$work/pgmq.sql" <<'SQL'
SELECT coalesce(array_agg(msg_id), '{}') AS ids FROM pgmq.read('bench', 300, :n) \gset
SELECT count(*) FROM pgmq.archive('bench', :ids::bigint[]);
SQL

# handed DATABASE SCRIPT CLAIMERS BATCH COUNT: how many messages are acknowledged while it is measured once
handed() {
	local before after
	before=$(sql "$1" "$5")
	pgbench -n -M prepared -D n="$4" -c "$3" -j 2 -T "$run_seconds" -f "$work/$2" "$1" >/dev/null 2>&1
	after=$(sql "$1" "$5")
	echo $((after - before))
}
ours_sent="SELECT count(*) FROM crm.message WHERE state = 'sent'"
pgmq_sent='SELECT count(*) FROM pgmq.a_bench'

pgmq=
if [ -n "${PGMQ_SQL:-}" ]; then
	createdb pgmq
	sql pgmq 'CREATE SCHEMA pgmq'
	# as plain SQL: it is not installed as an extension here
	grep -v 'pg_extension_config_dump\|^\\echo\|^CREATE SCHEMA' "$PGMQ_SQL" | PGOPTIONS='-c client_min_messages=warning' psql -X -q -d pgmq >/dev/null
	sql pgmq "SELECT pgmq.create('bench')" >/dev/null
	pgmq=pgmq
else
	echo 'PGMQ_SQL is not set: pgmq is left out'
fi
fill_pgmq() {
	sql pgmq "TRUNCATE pgmq.q_bench, pgmq.a_bench" >/dev/null
	sql pgmq "SELECT count(*) FROM (SELECT pgmq.send_batch('bench', array_agg(jsonb_build_object('parcel', n)))
				FROM generate_series(1, $messages) AS n GROUP BY n / 10000) AS s" >/dev/null
	sql pgmq 'VACUUM ANALYZE pgmq.q_bench'
}

if has rate; then
	declare -A ours
	for mode in plain decided; do
		echo "$messages messages due, $([ "$mode" = plain ] && echo 'nothing to be decided' || echo 'goal, consent, a cap and quiet hours decided'):"
		for claimers in 1 4 8; do
			fill "$mode"
			[ -z "$pgmq" ] || fill_pgmq
			for batch in 1 10 100; do
				mine=0
				rival=0
				# by turns, so that what else the machine does falls on both
				for ((pair = 1; pair <= pairs; pair++)); do
					mine=$((mine + $(handed outbox ours.sql "$claimers" "$batch" "$ours_sent")))
					[ -z "$pgmq" ] || rival=$((rival + $(handed pgmq pgmq.sql "$claimers" "$batch" "$pgmq_sent")))
				done
				seconds=$((pairs * run_seconds))
				ours[$mode.$claimers.$batch]=$((mine / seconds))
				echo "  $claimers claimers, batches of $batch: $((mine / seconds)) a second$([ -z "$pgmq" ] || echo "; pgmq $((rival / seconds)), ratio $(ratio "$mine" "$rival")")"
			done
			# what a session left in hand is what pgbench was stopped amid
			sql outbox "SELECT format('  %s sent, none twice: %s; %s were left', count(*) FILTER (WHERE state = 'sent'),
											count(*) = count(DISTINCT message_id), count(*) FILTER (WHERE state = 'queued')) FROM crm.message"
			[ "$(sql outbox "SELECT count(*) FROM crm.outbox WHERE token IS NULL")" -gt 0 ] || { echo 'MESSAGES are too few for this machine'; exit 1; }
			[ -z "$pgmq" ] || [ "$(sql pgmq 'SELECT count(*) FROM pgmq.q_bench WHERE vt <= now()')" -gt 0 ] ||
				{ echo 'MESSAGES are too few for this machine'; exit 1; }
		done
	done
fi

# PgQ gives a consumer whatever came between two ticks: a tick after each hundred events, as its ticker would make them. The
# consumer takes a batch, reads it, and says that it is done, with a commit each, as one must who sends what he reads.
if has rate && sql postgres "SELECT 1 FROM pg_available_extensions WHERE name = 'pgq'" | grep -q 1; then
	createdb pgq
	sql pgq "CREATE EXTENSION pgq"
	sql pgq "SELECT pgq.create_queue('bench'), pgq.set_queue_config('bench', 'ticker_max_count', '50'), pgq.register_consumer('bench', 'c')" >/dev/null
	PGOPTIONS='-c synchronous_commit=off' sql pgq "
		DO \$\$ BEGIN
			FOR batch IN 1 .. $pgq_events / 100 LOOP
				PERFORM pgq.insert_event('bench', 'letter', '{\"parcel\": 1}') FROM generate_series(1, 100);
				COMMIT;
				PERFORM pgq.ticker('bench');
				COMMIT;
			END LOOP;
		END \$\$"
	sql pgq 'VACUUM ANALYZE'
	batches=$(sql pgq 'SELECT count(*) - 1 FROM pgq.tick')
	events=$(sql pgq 'SELECT count(*) FROM pgq.event_1')
	cat >"$work/pgq.sql" <<-'SQL'
		SELECT pgq.next_batch('bench', 'c') AS batch \gset
		SELECT coalesce(array_agg(ev_id), '{}') AS ids FROM pgq.get_batch_events(:batch) \gset
		SELECT pgq.finish_batch(:batch);
	SQL
	second=$(pgbench -n -M prepared -c 1 -t "$batches" -f "$work/pgq.sql" pgq 2>/dev/null |
		awk -v n="$((events / batches))" '/^tps/ { printf "%d", $3 * n }')
	[ "$(sql pgq "SELECT pending_events FROM pgq.get_consumer_info('bench', 'c')")" = 0 ] || { echo 'PgQ has not handed out all'; exit 1; }
	echo "PgQ, one consumer, batches of $((events / batches)): $second a second ($events events)$(
		for mode in plain decided; do echo -n "; ours $([ "$mode" = plain ] && echo 'deciding nothing' || echo 'deciding all'), ratio $(ratio "${ours[$mode.1.100]}" "$second")"; done)"
else
	! has rate || echo 'PgQ is not installed (Debian: postgresql-15-pgq3): it is left out'
fi

if has snapshot; then
	# by turns the same number of messages, so that what is left behind, not the time, makes it slower
	slowing() {
		local database=$1 script=$2 first last start tenth=$((held / 10))
		coproc HOLDER { psql -X -q -d "$database" 2>/dev/null; }
		echo 'BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class;' >&"${HOLDER[1]}"
		sleep 1
		for ((i = 1; i <= 10; i++)); do
			start=$(date +%s%N)
			pgbench -n -M prepared -D n=100 -c 2 -j 2 -t $((tenth / 200)) -f "$work/$script" "$database" >/dev/null 2>&1
			last=$(((tenth / 200) * 200 * 1000000000 / ($(date +%s%N) - start)))
			[ "$i" -gt 1 ] || first=$last
		done
		echo '\q' >&"${HOLDER[1]}"
		wait "$HOLDER_PID" 2>/dev/null || true
		echo "$first a second at first, $last at the end: $(ratio "$last" "$first")"
	}
	fill decided
	echo "$held messages while somebody holds a snapshot, 2 claimers, batches of 100: $(slowing outbox ours.sql)"
	if [ -n "$pgmq" ]; then
		fill_pgmq
		echo "pgmq likewise: $(slowing pgmq pgmq.sql)"
	fi
fi

if has runs; then
	sql outbox "
		TRUNCATE crm.message, crm.outbox, crm.lease;
		SELECT crm.create_campaign('bench', 'has order in last 1 day', 'has order since entry');
		SELECT crm.add_step('bench', 'letter', wait => '1 hour', channel => 'email', template => 'letter');
		SELECT crm.start_campaign('bench');
		INSERT INTO crm.run (customer_id, campaign_id, version, occurrence, entry, begun_at, state, step_at, looked_at, wake_at)
		SELECT n, 1, 1, 'bench', now() - interval '1 hour', now(), 'active', now() - interval '1 hour', now() - interval '1 hour', now() - interval '1 second'
		  FROM generate_series(1, $runs) AS n" >/dev/null
	sql outbox 'VACUUM ANALYZE crm.run'
	seconds=$(timed outbox 'SELECT 1' "SELECT crm.advance_campaigns(max => $runs)")
	echo "$runs runs advanced over a wait, a message and their end: $(awk -v n="$runs" -v t="$seconds" 'BEGIN { printf "%d", n / t }') a second by one session"
fi

if has year; then
	# each day its messages and clicks, and what is older than 90 days goes; the tables are vacuumed, as a server does by itself
	sql outbox "TRUNCATE crm.message, crm.outbox, crm.lease, crm.delivery; SELECT crm.set_retention('message', '90 days')" >/dev/null
	sizes=()
	for ((month = 1; month <= 12; month++)); do
		for ((day = 1; day <= 30; day++)); do
			sql outbox "
				WITH sent AS (
					INSERT INTO crm.message (customer_id, channel, purpose, transactional, priority, template, language, data, created_at, due_at, state,
											 handed_at, finished_at, token)
					SELECT 1 + n % $customers, 'email', 'marketing', false, 5, 'letter', '', '{\"parcel\": 1}', d, d, 'sent', d, d, n
					  FROM generate_series(1, $daily) AS n, (SELECT timestamptz '2026-01-01Z' + interval '1 day' * ($month * 30 + $day)) AS t(d)
					RETURNING customer_id, message_id, finished_at)
				INSERT INTO crm.delivery SELECT customer_id, message_id, 'click', 'k', finished_at FROM sent WHERE message_id % 10 = 0;
				SELECT FROM crm.apply_retention(timestamptz '2026-01-01Z' + interval '1 day' * ($month * 30 + $day))"
		done >/dev/null
		sql outbox 'VACUUM crm.message'
		sql outbox 'VACUUM crm.delivery'
		sizes+=("$(sql outbox "SELECT (pg_total_relation_size('crm.message') + pg_total_relation_size('crm.delivery')) / 1048576")")
	done
	echo "a year of $daily messages a day, kept for 90 days: MB at the end of each month: ${sizes[*]}"
fi

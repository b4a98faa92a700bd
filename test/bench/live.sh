#!/usr/bin/env bash
#
# live.sh: what capture costs the shop, and how fast and how evenly ticks follow.
#
#     CUSTOMERS, ORDERS    the shop, by default a million and ten millions
#     PAIRS                how many interleaved pairs of runs with capture on and off, by default 7
#     RUN_SECONDS          how long each of them takes, by default 5
#     LOAD_SECONDS         how long the orders come in beside ticks, by default 20
#     HOLD_SECONDS         how long somebody holds an old snapshot, by default 60
#     PARTS                which of: capture copy speed latency wave snapshot; by default all
#
# settings: -c fsync=on -c full_page_writes=on -c synchronous_commit=on

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-10000000}
pairs=${PAIRS:-7}
run_seconds=${RUN_SECONDS:-5}
load_seconds=${LOAD_SECONDS:-20}
hold_seconds=${HOLD_SECONDS:-60}
parts=${PARTS:-capture copy speed latency wave snapshot}
database=live
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sql() {
	PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning" psql -X -q -At -d "$database" -v ON_ERROR_STOP=1 -c "$1"
}

has() {
	[[ " $parts " == *" $1 "* ]]
}

machine
echo "fsync $(psql -X -At -d postgres -c 'SHOW fsync'), wal_level $(psql -X -At -d postgres -c 'SHOW wal_level')"
make_shop "$database" "$customers" "$orders"
echo "shop: $customers customers, $orders orders"
sql "
	CREATE TABLE carts AS
	SELECT n AS id, 1 + n * 7919 % $customers AS user_id,
		   timestamptz '2026-06-15 12:00Z' - (n * 7907 % 8640000) * interval '1 second' AS created_at
	  FROM generate_series(1::bigint, $orders / 4) AS n;
	CREATE INDEX ON carts (user_id);
	CREATE SEQUENCE order_id START 1000000000;
	ALTER TABLE orders ALTER id SET DEFAULT nextval('order_id'), ALTER placed_at SET DEFAULT crm.now(), ALTER status SET DEFAULT 'paid';
	SELECT crm.define_event('cart', 'SELECT user_id AS customer_id, created_at AS at FROM public.carts');
	SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders'), crm.watch('cart', 'carts');
	ALTER DATABASE $database SET crm_marketing.now = '2026-06-15 12:00Z'" >/dev/null
# so many segments, over all three feeds
segments() {
	sql "
		SELECT crm.create_segment('s' || n, CASE n % 4
			WHEN 0 THEN format('count(order in last %s hours) >= 2 and sum(order.amount in last %s hours) > 2000', 700 + n * 7, 700 + n * 7)
			WHEN 1 THEN format('has cart in last %s hours and no order in last %s hours', 100 + n, 100 + n)
			WHEN 2 THEN format('city = ''city %s'' and last(order.amount) > %s', n % 50, n % 190)
			ELSE format('no order in last %s hours and count(order) > %s', 1000 + n * 5, 5 + n % 7) END::crm.predicate)
		  FROM generate_series((SELECT count(*) FROM crm.segment) + 1, $1) AS n" >/dev/null
}
segments 20
sql 'VACUUM ANALYZE carts'
sql 'SELECT * FROM crm.tick()' >/dev/null
echo "making 20 segments live, with the deadlines of all customers: $(timed "$database" 'SELECT * FROM crm.tick()') s"
sql 'VACUUM ANALYZE crm.membership'
sql 'VACUUM ANALYZE crm.deadline'
sql 'CHECKPOINT'

echo "INSERT INTO orders (user_id, total) VALUES (1 + (random() * ($customers - 1))::bigint, 10);" >"$work/order.sql"

# tps CAPTURE SYNCHRONOUS_COMMIT: single-row orders a second of one session
tps() {
	PGOPTIONS="-c crm_marketing.capture=$1 -c synchronous_commit=$2" \
		pgbench -n -f "$work/order.sql" -T "$run_seconds" -c 1 "$database" 2>/dev/null | awk '/^tps/ { print $3 }'
}

# Interleaved runs with capture on, and hard: not at all
if has capture; then
	for commit in on off; do
		ratios=()
		ons=()
		offs=()
		for ((i = 0; i < pairs; i++)); do
			if ((i % 2)); then
				off=$(tps hard $commit)
				on=$(tps on $commit)
			else
				on=$(tps on $commit)
				off=$(tps hard $commit)
			fi
			ratios+=("$(ratio "$on" "$off")")
			ons+=("$on")
			offs+=("$off")
			sql 'SELECT crm.tick()' >/dev/null
		done
		echo "single-row orders a second, synchronous_commit $commit: capture on $(median "${ons[@]}"), none $(median "${offs[@]}")," \
			"ratio $(median "${ratios[@]}") (pairs: ${ratios[*]})"
	done
	sql 'CALL crm.run_ticks()'
fi

if has copy; then
	sql "CREATE TABLE imported (LIKE orders INCLUDING DEFAULTS)"
	sql "SELECT crm.define_event('import', 'SELECT user_id AS customer_id, placed_at AS at FROM public.imported');
		 SELECT crm.watch('import', 'imported')" >/dev/null
	sql "COPY (SELECT n, 1 + n * 31 % $customers, '2026-06-15 11:00Z'::timestamptz, 10, 'paid' FROM generate_series(1::bigint, 1000000) AS n)
		 TO '$work/rows.csv' (FORMAT csv)" 2>/dev/null || {
		chmod 777 "$work"
		sql "COPY (SELECT n, 1 + n * 31 % $customers, '2026-06-15 11:00Z'::timestamptz, 10, 'paid' FROM generate_series(1::bigint, 1000000) AS n)
			 TO '$work/rows.csv' (FORMAT csv)"
	}
	copy() {
		sql 'TRUNCATE imported'
		timed "$database" "SET crm_marketing.capture = $1" "COPY imported FROM '$work/rows.csv' (FORMAT csv)"
	}
	ratios=()
	ons=()
	offs=()
	copy on >/dev/null
	for ((i = 0; i < pairs; i++)); do
		if ((i % 2)); then
			off=$(copy hard)
			on=$(copy on)
		else
			on=$(copy on)
			off=$(copy hard)
		fi
		ratios+=("$(ratio "$off" "$on")")
		ons+=("$on")
		offs+=("$off")
	done
	echo "COPY of a million rows: capture on $(median "${ons[@]}") s, none $(median "${offs[@]}") s," \
		"ratio of speeds $(median "${ratios[@]}") (pairs: ${ratios[*]})"
	sql "SELECT crm.unwatch('import'), crm.drop_event('import')" >/dev/null
	sql 'DROP TABLE imported'
	sql 'CALL crm.run_ticks()'
fi

# Orders one by one, each by a customer who is not in the segment that it puts him into; a session ticks all the time. The
# latency is from just before the commit to when the membership is there to be read: seen_at of the log and the tick's commit.
latencies() {
	psql -X -q -At -d "$database" -c "
		SELECT format('median %s ms, p99 %s ms, of %s orders', round(1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY s)::numeric, 1),
					  round(1000 * percentile_cont(0.99) WITHIN GROUP (ORDER BY s)::numeric, 1), count(*))
		  FROM (SELECT extract(epoch FROM c.seen_at - p.sent_at) AS s
				  FROM probe AS p
				 CROSS JOIN LATERAL (SELECT c.seen_at FROM crm.segment_change AS c
									  WHERE c.customer_id = p.user_id AND c.segment = 'probed' AND c.entered AND c.seen_at >= p.sent_at
									  ORDER BY c.change_id LIMIT 1) AS c) AS x"
}
if has latency || has wave || has snapshot; then
	sql "
		CREATE TABLE probe (user_id bigint, at timestamptz DEFAULT crm.now(), sent_at timestamptz DEFAULT clock_timestamp());
		CREATE INDEX ON probe (user_id);
		SELECT crm.define_event('probe', 'SELECT user_id AS customer_id, at FROM public.probe');
		SELECT crm.watch('probe', 'probe');
		SELECT crm.create_segment('probed', 'has probe')" >/dev/null
	sql 'CALL crm.run_ticks()'
	echo 'INSERT INTO probe (user_id) VALUES (nextval($$probed_id$$));' >"$work/probe.sql"
	sql "CREATE SEQUENCE probed_id"
fi
if has latency; then
	psql -X -q -d "$database" -c "CALL crm.run_ticks($load_seconds, 1000, 0.005)" &
	pgbench -n -f "$work/probe.sql" -R 200 -T "$((load_seconds - 1))" -c 1 "$database" >/dev/null 2>&1
	wait
	echo "commit to membership, 200 orders a second, one ticking session: $(latencies)"
	refresh=$(timed "$database" "CREATE MATERIALIZED VIEW probed AS SELECT user_id FROM probe GROUP BY user_id" \
		"CREATE MATERIALIZED VIEW IF NOT EXISTS m20 AS SELECT u.id FROM users AS u JOIN orders AS o ON o.user_id = u.id
		  WHERE o.placed_at > '2026-06-15 12:00Z'::timestamptz - interval '700 hours' GROUP BY u.id HAVING count(*) >= 2 AND sum(o.total) > 2000")
	echo "the rival: REFRESH MATERIALIZED VIEW of one such segment of the 20: $(timed "$database" 'REFRESH MATERIALIZED VIEW m20') s," \
		"for each refresh (made in $refresh s)"
fi

if has wave; then
	# the deadlines of a hundred thousand customers, all at one midnight
	sql "TRUNCATE probe; ALTER SEQUENCE probed_id RESTART"
	sql "CALL crm.run_ticks()"
	sql "SELECT crm.create_segment('today', 'has cart today');
		 INSERT INTO carts SELECT -n, n, '2026-06-15 11:00Z' FROM generate_series(1, least(100000, $customers)) AS n" >/dev/null
	sql 'CALL crm.run_ticks()'
	sql "ALTER DATABASE $database SET crm_marketing.now = '2026-06-16 00:00Z'"
	due=$(sql "SELECT count(*) FROM crm.deadline WHERE due <= crm.now()")
	(
		t=$(timed "$database" 'CALL crm.run_ticks()')
		echo "a wave of $due deadlines, worked off while 100 orders a second come in: $t s"
		psql -X -q -d "$database" -c "CALL crm.run_ticks(3)"
	) &
	pgbench -n -f "$work/probe.sql" -R 100 -T 5 -c 1 "$database" >/dev/null 2>&1
	wait
	echo "commit to membership during the wave: $(latencies)"
fi

if has snapshot; then
	# ticks in each quarter, while a session holds the snapshot that it took at the beginning
	sql "CREATE TABLE IF NOT EXISTS ticked (at timestamptz DEFAULT clock_timestamp())"
	psql -X -q -d "$database" -c "BEGIN ISOLATION LEVEL REPEATABLE READ" -c "SELECT count(*) FROM users" \
		-c "SELECT pg_sleep($hold_seconds + 2)" -c COMMIT >/dev/null &
	sleep 1
	echo 'SELECT crm.tick(); INSERT INTO ticked DEFAULT VALUES;' >"$work/tick.sql"
	pgbench -n -f "$work/order.sql" -R 300 -T "$hold_seconds" -c 1 "$database" >/dev/null 2>&1 &
	pgbench -n -f "$work/tick.sql" -T "$hold_seconds" -c 1 -P "$((hold_seconds / 6))" "$database" 2>&1 |
		awk '/^progress/ { r[++n] = $4 } END { printf "ticks a second while a snapshot is held, by sixths of the time:";
			for (i = 1; i <= n; i++) printf " %d", r[i]; printf "; last / first = %.2f\n", r[n] / r[1] }'
	wait
fi

if has speed; then
	for n in 20 200 1000; do
		segments "$n"
		sql 'CALL crm.run_ticks()'
		sql 'VACUUM ANALYZE crm.membership'
		times=()
		for i in 1 2 3; do
			sql "INSERT INTO orders (user_id, total) SELECT 1 + (n * 7907 + $i * 13) % $customers, 10 FROM generate_series(1::bigint, 20000) AS n"
			times+=("$(timed "$database" 'CALL crm.run_ticks()')")
		done
		time=$(median "${times[@]}")
		echo "20000 changed customers, $n segments over three feeds: $time s, $(ratio 20000 "$time") customers a second in one session"
	done
fi

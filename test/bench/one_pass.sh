#!/usr/bin/env bash
#
# one_pass.sh: a hundred segments refreshed in one pass, beside a hundred queries that do the same.
#
#     CUSTOMERS, ORDERS    the size of the shop, by default a million and ten millions
#     PAIRS                how often the pass and one GROUP BY are timed in turn, by default 3
#
# The segments are "at least two orders worth more than 100 in the last N days", N from 7 to 700. The rivals count the same
# customers, and must find as many: in this PostgreSQL by a hundred queries that one would write by hand, and in DuckDB on
# a table of its own, loaded before the clock starts. The pass includes reading what is stored and comparing it.

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-10000000}
pairs=${PAIRS:-3}
at="'2026-06-15 12:00Z'"
rich="SET maintenance_work_mem = '2GB'"
tight="SET maintenance_work_mem = '64MB'"

machine
echo "shop: $customers customers, $orders orders"
make_shop one_pass "$customers" "$orders"
psql -X -q -d one_pass -c "
	SELECT crm.create_segment('last ' || n * 7, format('count(order in last %s days) >= 2 and sum(order.amount in last %s days) > 100',
													   n * 7, n * 7)::crm.predicate)
	  FROM generate_series(1, 100) AS n" >/dev/null

first=$(timed one_pass "$rich" "SELECT * FROM crm.refresh_segments($at)")
found=$(psql -X -At -d one_pass -c 'SELECT sum(cardinality(segments)) FROM crm.membership')
psql -X -q -d one_pass -c 'VACUUM ANALYZE crm.membership' -c 'VACUUM ANALYZE crm.membership_change'
echo "first refresh, storing $found memberships: $first s"

group_by="SELECT user_id, count(*), sum(total), max(placed_at) FROM orders GROUP BY 1"
passes=()
scans=()
for ((i = 0; i < pairs; i++)); do
	passes+=("$(timed one_pass "$rich" "SELECT * FROM crm.refresh_segments($at)")")
	# counted, not sent: the client is no part of it
	scans+=("$(timed one_pass "SET work_mem = '2GB'" "SELECT count(*), sum(n) FROM ($group_by) AS s (u, n)")")
done
pass=$(median "${passes[@]}")
scan=$(median "${scans[@]}")
echo "one pass over all segments, nothing to change (median of $pairs: ${passes[*]}): $pass s"
echo "one GROUP BY of count, sum and max (median of $pairs: ${scans[*]}): $scan s"
echo "later=$(timed one_pass "$rich" "SELECT * FROM crm.refresh_segments(timestamptz $at + interval '1 hour')")" |
	sed 's/later=/a refresh one hour later, with few changes: /; s/$/ s/'
read -r memory seconds <<<"$(peak_memory one_pass "$tight" "SELECT * FROM crm.refresh_segments(timestamptz $at + interval '1 hour')")"
read -r idle _ <<<"$(peak_memory one_pass "$tight" "SELECT pg_sleep(1)")"
echo "the same with maintenance_work_mem = 64MB: $seconds s, peak of the backend's memory $memory MB (idle $idle MB)"

echo "now the hundred queries by hand ..."
start=$(date +%s.%N)
by_hand=$(for n in $(seq 1 100); do
	echo "SELECT count(*) FROM (SELECT user_id FROM orders WHERE placed_at > timestamptz $at - interval '$((n * 7)) days'
		AND placed_at <= $at GROUP BY user_id HAVING count(*) >= 2 AND sum(total) > 100) AS s;"
done | psql -X -q -At -d one_pass -c "SET work_mem = '2GB'" -f - | awk '{ n += $1 } END { print n }')
queries=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.2f", b - a }')
echo "100 queries in PostgreSQL: $queries s; they find $by_hand memberships"
[ "$by_hand" = "$found" ] || { echo "that is not what the pass has found" >&2; exit 1; }

find_duckdb
if [ -n "$duckdb" ]; then
	psql -X -q -d one_pass -c "COPY orders (user_id, placed_at, total) TO STDOUT (FORMAT csv, HEADER)" >"$duckdb/orders.csv"
	cat >"$duckdb/one_pass.mjs" <<-'JS'
		import { DuckDBInstance } from '@duckdb/node-api';
		const instance = await DuckDBInstance.create('one_pass.db', { threads: '2' });
		const c = await instance.connect();
		await c.run("SET TimeZone = 'UTC'");
		await c.run(`CREATE TABLE orders AS SELECT * FROM read_csv('orders.csv', columns =
			{'user_id': 'BIGINT', 'placed_at': 'TIMESTAMPTZ', 'total': 'DECIMAL(12,2)'})`);
		await c.run('CHECKPOINT');
		const at = "timestamptz '2026-06-15 12:00:00Z'";
		const times = [];
		let found;
		for (let round = 0; round < 3; round++) {
			const start = Date.now();
			found = 0n;
			for (let n = 1; n <= 100; n++) {
				const result = await c.runAndReadAll(`SELECT count(*) FROM (SELECT user_id FROM orders
					WHERE placed_at > ${at} - interval ${n * 7} day AND placed_at <= ${at}
					GROUP BY user_id HAVING count(*) >= 2 AND sum(total) > 100)`);
				found += result.getRows()[0][0];
			}
			times.push((Date.now() - start) / 1000);
		}
		const version = (await c.runAndReadAll('SELECT version()')).getRows()[0][0];
		console.log(version, String(found), times.sort((a, b) => a - b)[1].toFixed(2));
	JS
	read -r version by_duckdb duck_seconds <<<"$(cd "$duckdb" && node one_pass.mjs)"
	echo "100 queries in DuckDB $version, 2 threads, its own table (median of 3): $duck_seconds s; they find $by_duckdb memberships"
	[ "$by_duckdb" = "$found" ] || { echo "that is not what the pass has found" >&2; exit 1; }
fi

echo
echo "ratios: 100 queries / pass = $(ratio "$queries" "$pass")"
[ -z "$duckdb" ] || echo "        DuckDB / pass = $(ratio "$duck_seconds" "$pass")"
echo "        pass / one GROUP BY = $(ratio "$pass" "$scan")"
echo "        first refresh with storing / one GROUP BY = $(ratio "$first" "$scan")"

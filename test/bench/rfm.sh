#!/usr/bin/env bash
#
# rfm.sh: RFM scores of all customers beside the SQL that one would write by hand, and beside DuckDB on its own table.
#
#     CUSTOMERS, ORDERS    by default a million and ten millions; PAIRS, how often they take turns, by default 5

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-10000000}
pairs=${PAIRS:-5}
at="'2026-06-15 12:00Z'"

# Three windows over one GROUP BY. Equal values in any order, as one would write it; and by customer, as crm.ntile does,
# to compare the answers
by_hand="SELECT user_id, ntile(5) OVER (ORDER BY last) AS r, ntile(5) OVER (ORDER BY n) AS f, ntile(5) OVER (ORDER BY total) AS m
	FROM (SELECT user_id, max(placed_at) AS last, count(*) AS n, sum(total) AS total FROM orders GROUP BY user_id) AS c"
by_hand_exactly="SELECT user_id, ntile(5) OVER (ORDER BY last, user_id) AS r, ntile(5) OVER (ORDER BY n, user_id) AS f, ntile(5) OVER (ORDER BY total, user_id) AS m
	FROM (SELECT user_id, max(placed_at)::date AS last, count(*) AS n, sum(total) AS total FROM orders GROUP BY user_id) AS c"
ours="SELECT customer, crm.rfm_r(score) AS r, crm.rfm_f(score) AS f, crm.rfm_m(score) AS m FROM crm.rfm_scores($at, method => 'ntile')"

machine
echo "shop: $customers customers, $orders orders; seconds"
make_shop rfm "$customers" "$orders"

# Both with room for their hash tables and sorts, in one session each
session=("SET work_mem = '256MB'" "SET TimeZone = 'UTC'")
total() {
	printf 'SELECT count(*), sum(r), sum(f), sum(m) FROM (%s) AS s' "$1"
}

echo "the answers are the same for $(PGOPTIONS='-c work_mem=256MB -c TimeZone=UTC' psql -X -At -d rfm -c "SELECT count(*) FROM ($ours) AS a
	JOIN ($by_hand_exactly) AS b ON b.user_id = a.customer AND (b.r, b.f, b.m) = (a.r, a.f, a.m)") customers of $(psql -X -At -d rfm -c 'SELECT count(DISTINCT user_id) FROM orders')"

hand=()
mine=()
ratios=()
for _ in $(seq 1 "$pairs"); do
	hand+=("$(timed rfm "${session[@]}" "$(total "$by_hand")")")
	mine+=("$(timed rfm "${session[@]}" "$(total "$ours")")")
	ratios+=("$(ratio "${hand[-1]}" "${mine[-1]}")")
done
scan=$(timed rfm "${session[@]}" 'SELECT count(*), max(placed_at), sum(total) FROM orders')
small=$(timed rfm "SET work_mem = '4MB'" "SET TimeZone = 'UTC'" "$(total "$ours")")
small_hand=$(timed rfm "SET work_mem = '4MB'" "SET TimeZone = 'UTC'" "$(total "$by_hand")")
matrix=$(timed rfm "SELECT * FROM crm.rfm_matrix($at, method => 'ntile')")
aggregate="SELECT count(*), sum(crm.rfm_r(s.score)) FROM (SELECT crm.rfm_agg(user_id, placed_at, total) AS p FROM orders) AS o, crm.scores_of(o.p, $at, method => 'ntile') AS s"
parallel=$(timed rfm 'SET max_parallel_workers_per_gather = 2' "$aggregate")
serial=$(timed rfm 'SET max_parallel_workers_per_gather = 0' "$aggregate")
read -r memory _ <<<"$(peak_memory rfm "SELECT count(*) FROM ($ours) AS s")"
read -r hand_memory _ <<<"$(peak_memory rfm "${session[@]}" "SET max_parallel_workers_per_gather = 0" "$(total "$by_hand")")"

printf '%-64s %8s\n' 'GROUP BY and three ntile windows, work_mem 256MB' "$(median "${hand[@]}")" \
	'crm.rfm_scores(method => ntile), work_mem 256MB' "$(median "${mine[@]}")" \
	'the first with work_mem 4MB, once' "$small_hand" 'the second with work_mem 4MB, once' "$small" \
	'crm.rfm_matrix(), once' "$matrix" \
	'crm.scores_of(crm.rfm_agg()), parallel, once' "$parallel" 'crm.scores_of(crm.rfm_agg()), serial, once' "$serial" \
	'one scan of the orders, for comparison' "$scan"
echo "peak of the backend's memory: crm.rfm_scores $memory MB, the SQL in one process $hand_memory MB"

find_duckdb
if [ -n "$duckdb" ]; then
	psql -X -q -d rfm -c 'COPY orders (user_id, placed_at, total) TO STDOUT (FORMAT csv, HEADER)' >"$duckdb/orders.csv"
	cat >"$duckdb/rfm.mjs" <<-'JS'
		import { DuckDBInstance } from '@duckdb/node-api';
		const instance = await DuckDBInstance.create('rfm.db', { threads: '2' });
		const c = await instance.connect();
		await c.run("SET TimeZone = 'UTC'");
		await c.run(`CREATE TABLE orders AS SELECT * FROM read_csv('orders.csv', columns =
			{'user_id': 'BIGINT', 'placed_at': 'TIMESTAMPTZ', 'total': 'DECIMAL(12,2)'})`);
		await c.run('CHECKPOINT');
		const times = [];
		for (let round = 0; round < 5; round++) {
			const start = Date.now();
			await c.runAndReadAll(`SELECT count(*), sum(r), sum(f), sum(m) FROM (
				SELECT user_id, ntile(5) OVER (ORDER BY last) AS r, ntile(5) OVER (ORDER BY n) AS f, ntile(5) OVER (ORDER BY total) AS m
				  FROM (SELECT user_id, max(placed_at) AS last, count(*) AS n, sum(total) AS total FROM orders GROUP BY user_id))`);
			times.push((Date.now() - start) / 1000);
		}
		const version = (await c.runAndReadAll('SELECT version()')).getRows()[0][0];
		console.log(version, times.sort((a, b) => a - b)[2].toFixed(2));
	JS
	read -r version duck_seconds <<<"$(cd "$duckdb" && node rfm.mjs)"
	rm -f "$duckdb/orders.csv" "$duckdb/rfm.db"
	echo "the same query in DuckDB $version, 2 threads, its own table (median of 5): $duck_seconds"
fi

echo
echo "ratios: SQL by hand / crm.rfm_scores = $(median "${ratios[@]}") (median of $pairs pairs: ${ratios[*]})"
[ -z "$duckdb" ] || echo "        crm.rfm_scores / DuckDB = $(ratio "$(median "${mine[@]}")" "$duck_seconds")"
echo "        crm.rfm_scores / one scan = $(ratio "$(median "${mine[@]}")" "$scan")"

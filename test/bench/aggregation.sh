#!/usr/bin/env bash
#
# aggregation.sh: profile_agg over many small groups, hashed and sorted, at little and at much work_mem, beside array_agg.
#
#     CUSTOMERS, ORDERS    groups and rows, by default a million and three millions

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-3000000}

machine
echo "shop: $customers customers, $orders orders; seconds (median of 3)"
make_shop aggregation "$customers" "$orders"
printf '%-8s %-8s %14s %14s %8s %10s\n' plan work_mem array_agg profile_agg ratio 'peak MB'
for plan in hashed sorted; do
	if [ $plan = hashed ]; then
		settings='SET enable_sort = off; SET enable_hashagg = on; SET enable_indexscan = off'
	else
		settings='SET enable_hashagg = off; SET enable_indexscan = off'
	fi
	settings+='; SET max_parallel_workers_per_gather = 0'
	for work_mem in 4MB 256MB; do
		array=()
		profile=()
		for _ in 1 2 3; do
			array+=("$(timed aggregation "$settings" "SET work_mem = '$work_mem'" \
				"SELECT count(a) FROM (SELECT array_agg(o) AS a FROM (SELECT user_id, placed_at, total FROM orders) AS o GROUP BY user_id) AS s")")
			profile+=("$(timed aggregation "$settings" "SET work_mem = '$work_mem'" \
				"SELECT count(a) FROM (SELECT crm.profile_agg('order', placed_at, o) AS a FROM (SELECT user_id, placed_at, total FROM orders) AS o GROUP BY user_id) AS s")")
		done
		read -r memory _ <<<"$(peak_memory aggregation "$settings" "SET work_mem = '$work_mem'" \
			"SELECT count(a) FROM (SELECT crm.profile_agg('order', placed_at, o) AS a FROM (SELECT user_id, placed_at, total FROM orders) AS o GROUP BY user_id) AS s")"
		printf '%-8s %-8s %14s %14s %8s %10s\n' $plan $work_mem "$(median "${array[@]}")" "$(median "${profile[@]}")" \
			"$(ratio "$(median "${profile[@]}")" "$(median "${array[@]}")")" "$memory"
	done
done

echo
echo "how it grows with the groups, hashed, work_mem 256MB:"
for share in 8 4 2 1; do
	printf '%12s groups %8s s\n' $((customers / share)) "$(timed aggregation 'SET enable_sort = off; SET enable_indexscan = off' \
		"SET work_mem = '256MB'" 'SET max_parallel_workers_per_gather = 0' "SELECT count(a) FROM (SELECT crm.profile_agg('order', placed_at, o) AS a
			FROM (SELECT user_id, placed_at, total FROM orders WHERE user_id <= $((customers / share))) AS o GROUP BY user_id) AS s")"
done

#!/usr/bin/env bash
#
# growth.sh: how the time of a refresh grows with the number of segments and of orders.
#
#     CUSTOMERS, ORDERS    the largest shop, by default a million and ten millions

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-10000000}
rich="SET maintenance_work_mem = '2GB'"

machine
echo "seconds of a refresh that finds nothing to change (median of 3), by orders (one customer for every $((orders / customers)) orders) and segments"
printf '%12s %10s' orders 'GROUP BY'
for segments in 1 10 100 1000; do
	printf ' %9s' "$segments"
done
printf '\n'
for share in 10 3 1; do
	n=$((orders / share))
	make_shop "growth_$n" "$((customers / share))" "$n"
	database=growth_$n
	printf '%12s %10s' "$n" "$(timed "$database" "SET work_mem = '2GB'" \
		"SELECT count(*), sum(n) FROM (SELECT user_id, count(*), sum(total), max(placed_at) FROM orders GROUP BY 1) AS s (u, n)")"
	made=0
	for segments in 1 10 100 1000; do
		# all of different lengths, so that none is a copy of another; the store is made small by asking for much
		psql -X -q -d "$database" -c "
			SELECT crm.create_segment('s' || n, format('count(order in last %s hours) >= 2 and sum(order.amount in last %s hours) > 2500',
													   17520 - n * 3, 17520 - n * 3)::crm.predicate)
			  FROM generate_series($made + 1, $segments) AS n" >/dev/null
		made=$segments
		timed "$database" "$rich" "SELECT * FROM crm.refresh_segments('2026-06-15 12:00Z')" >/dev/null
		psql -X -q -d "$database" -c 'VACUUM ANALYZE crm.membership'
		times=()
		for _ in 1 2 3; do
			times+=("$(timed "$database" "$rich" "SELECT * FROM crm.refresh_segments('2026-06-15 12:00Z')")")
		done
		printf ' %9s' "$(median "${times[@]}")"
	done
	printf '\n'
	dropdb "$database"
done

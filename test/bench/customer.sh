#!/usr/bin/env bash
#
# customer.sh: finding a caller, and refreshing segments of people who were merged.
#
#     IDENTITIES           how many phones are known, by default five millions
#     CUSTOMERS, ORDERS    the shop of the second part, by default a million and ten millions
#     ALIASES              how many of its customers were merged into others, by default a tenth
#     PAIRS                how often each is measured, by turns, by default 5
#     RUN_SECONDS          how long lookups are measured each time, by default 5
#     PARTS                which of: lookup refresh; by default both

set -euo pipefail
. "$(dirname "$0")/lib.sh"
identities=${IDENTITIES:-5000000}
customers=${CUSTOMERS:-1000000}
orders=${ORDERS:-10000000}
aliases=${ALIASES:-$((customers / 10))}
pairs=${PAIRS:-5}
run_seconds=${RUN_SECONDS:-5}
parts=${PARTS:-lookup refresh}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

has() {
	[[ " $parts " == *" $1 "* ]]
}

machine

# The rival is the least that a lookup can be: a table of phones with a primary key
if has lookup; then
	createdb lookup
	psql -X -q -d lookup -v ON_ERROR_STOP=1 -v n="$identities" <<-'SQL'
		CREATE EXTENSION crm_marketing;
		INSERT INTO crm.identity (namespace, value, customer_id)
		SELECT 'phone', '+7' || (9000000000 + n), n FROM generate_series(1, :n) AS n;
		CREATE TABLE phonebook (phone text PRIMARY KEY, customer_id bigint NOT NULL);
		INSERT INTO phonebook SELECT value, customer_id FROM crm.identity;
		VACUUM ANALYZE crm.identity;
		VACUUM ANALYZE phonebook;
		SELECT crm.configure('country', 'RU') \g /dev/null
	SQL
	echo "$identities identities; medians of single lookups by one session, prepared statements"
	lookup() {
		printf '\\set n random(1, %s)\n%s\n' "$identities" "$1" >"$work/lookup.sql"
		rm -f "$work"/log.*
		(cd "$work" && pgbench -n -M prepared -c 1 -T "$run_seconds" -l --log-prefix=log -f lookup.sql lookup >/dev/null 2>&1)
		cut -d ' ' -f 3 "$work"/log.* | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
	}
	key="SELECT customer_id FROM phonebook WHERE phone = '+7' || (9000000000 + :n);"
	index="SELECT customer_id FROM crm.identity WHERE namespace = 'phone' AND value = '+7' || (9000000000 + :n);"
	whole="SELECT crm.find_customer('phone', '+7' || (9000000000 + :n));"
	national="SELECT crm.find_customer('phone', '8' || (9000000000 + :n));"
	keys=() indexes=() wholes=() nationals=() ratios=()
	for ((i = 0; i < pairs; i++)); do
		keys+=("$(lookup "$key")")
		wholes+=("$(lookup "$whole")")
		indexes+=("$(lookup "$index")")
		nationals+=("$(lookup "$national")")
		ratios+=("$(ratio "${wholes[i]}" "${keys[i]}")")
	done
	echo "primary key: $(median "${keys[@]}") us; the same of crm.identity: $(median "${indexes[@]}") us;" \
		"crm.find_customer() of a number with +: $(median "${wholes[@]}") us, $(median "${ratios[@]}") times the primary key;" \
		"of one as it is dialled: $(median "${nationals[@]}") us"
fi

if has refresh; then
	make_shop merged "$customers" "$orders"
	psql -X -q -d merged -v ON_ERROR_STOP=1 >/dev/null <<-'SQL'
		SELECT crm.create_segment('s' || n, CASE n % 4
			WHEN 0 THEN format('count(order in last %s days) >= 2 and sum(order.amount in last %s days) > 200', 60 + n * 7, 60 + n * 7)
			WHEN 1 THEN format('has order in last %s days and no order in last %s days', 100 + n * 3, 30 + n)
			WHEN 2 THEN format('city = ''city %s'' and last(order.amount) > %s', n, n)
			ELSE format('no order in last %s days and count(order) > %s', 100 + n * 5, 5 + n % 7) END::crm.predicate)
		  FROM generate_series(1, 20) AS n;
		ALTER DATABASE merged SET crm_marketing.now = '2026-06-15 12:00Z';
	SQL
	# what is stored follows each time, and is not measured: only the pass is, which finds nothing to store
	refresh() {
		timed merged 'SELECT * FROM crm.refresh_segments()' 'VACUUM ANALYZE crm.membership' 'SELECT * FROM crm.refresh_segments()'
	}
	none=() some=() ratios=()
	for ((i = 0; i < pairs; i++)); do
		none+=("$(refresh)")
		psql -X -q -d merged -v ON_ERROR_STOP=1 -c "
			INSERT INTO crm.alias (alias, into_id, customer_id, merged_at, joined_at)
			SELECT n * ($customers / $aliases), n * ($customers / $aliases) - 1, n * ($customers / $aliases) - 1, crm.now(), crm.now()
			  FROM generate_series(1, $aliases) AS n" -c 'VACUUM ANALYZE crm.alias'
		some+=("$(refresh)")
		psql -X -q -d merged -v ON_ERROR_STOP=1 -c 'TRUNCATE crm.alias'
		ratios+=("$(ratio "${some[i]}" "${none[i]}")")
	done
	echo "refresh of 20 segments, $customers customers, $orders orders: $(median "${none[@]}") s; with $aliases of them merged into others:" \
		"$(median "${some[@]}") s, ratio $(median "${ratios[@]}") (pairs: ${ratios[*]})"
fi

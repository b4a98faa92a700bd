#!/usr/bin/env bash
#
# bot.sh: a customer with very many events (a bot, a wholesaler) in a tick, by how far back the segments look.
#
#     CUSTOMERS, EVENTS    of the others, and of the one, by default 10,000 and a million, one each minute
#     RUNS                 how often each is measured, by default 11

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-10000}
events=${EVENTS:-1000000}
runs=${RUNS:-11}

machine
make_shop bot "$customers" $((customers * 10))
psql -X -q -d bot -v ON_ERROR_STOP=1 -v events="$events" >/dev/null <<-'SQL'
	INSERT INTO orders SELECT 1000000000 + n, 1, timestamptz '2026-06-15 12:00Z' - n * interval '1 minute', 10, 'paid'
	  FROM generate_series(1, :events) AS n;
	-- the index that a lookup of a customer's latest events needs
	CREATE INDEX ON orders (user_id, placed_at);
	VACUUM ANALYZE orders;
	SELECT crm.watch('customer', 'users'), crm.watch('order', 'orders');
	ALTER DATABASE bot SET crm_marketing.now = '2026-06-15 12:00Z';
SQL

# milliseconds of the tick that looks at a customer again, the median
tick_of() {
	local times=() i
	for ((i = 0; i < runs; i++)); do
		times+=("$(psql -X -q -At -d bot -v ON_ERROR_STOP=1 -c "SELECT crm.touch('{$1}', 'order')" -c 'SELECT * FROM crm.tick(max_customers => 1000)' \
			-c "SELECT crm.touch('{$1}', 'order')" -c '\timing on' -c 'SELECT touched FROM crm.tick(max_customers => 1000)' |
			awk '/^Time:/ { t = $2 } END { print t }')")
	done
	median "${times[@]}"
}

for back in '1 day' '7 days' '90 days' ''; do
	psql -X -q -d bot -v ON_ERROR_STOP=1 >/dev/null <<-SQL
		SELECT crm.drop_segment(name) FROM crm.segments;
		SELECT crm.create_segment('s', 'count(order ${back:+in last $back}) > 100'), crm.create_segment('t', 'sum(order.amount ${back:+in last $back}) > 1000');
		CALL crm.run_ticks();
	SQL
	echo "segments that look back ${back:-for ever}: a tick with another customer $(tick_of 2) ms, with the one of $events events $(tick_of 1) ms"
done

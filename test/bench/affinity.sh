#!/usr/bin/env bash
#
# affinity.sh: pairs of items that are bought together, beside the self-join that one would write by hand.
#
#     LINES, ITEMS    order lines and different items, by default five millions and 5,000; ORDERS by default a third of LINES
#     PAIRS           how often they take turns, by default 3; MIN_PAIRS, the rarest pairs that are wanted, by default 5
#
# An order has 1 to 8 lines, 3 on average. Items are as unequal as in a shop: the n-th of them is bought about n times less
# than the first one; and one line in three goes with the first line of its order, so that there is something to find.

set -euo pipefail
. "$(dirname "$0")/lib.sh"
lines=${LINES:-5000000}
items=${ITEMS:-5000}
orders=${ORDERS:-$((lines / 3))}
pairs=${PAIRS:-3}
min_pairs=${MIN_PAIRS:-5}

machine
createdb affinity
psql -X -q -d affinity -v ON_ERROR_STOP=1 -v lines="$lines" -v items="$items" -v orders="$orders" <<-'SQL'
	CREATE FUNCTION pg_temp.draw(key bigint, salt int, upto bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
		RETURN (hashint8extended(key, salt) & 9223372036854775807) % upto;
	CREATE FUNCTION pg_temp.item(key bigint, salt int, items int) RETURNS int LANGUAGE sql IMMUTABLE PARALLEL SAFE
		RETURN floor((items + 1) ^ (pg_temp.draw(key, salt, 1000000) / 1000000.0::float8))::int;
	CREATE TABLE order_line (order_id bigint NOT NULL, user_id bigint NOT NULL, placed_at timestamptz NOT NULL,
							 product_id int NOT NULL);
	-- A product is once in an order, and no customer has two orders at one instant, so that a basket is an order. As some
	-- lines fall out, more orders are made than are needed
	INSERT INTO order_line
	SELECT order_id, 1 + pg_temp.draw(order_id, 1, :orders / 5 + 1),
		   timestamptz '2026-06-15 12:00Z' - pg_temp.draw(order_id, 2, 730 * 86400) * interval '1 second'
			   + order_id % 1000000 * interval '1 microsecond',
		   product_id
	  FROM (SELECT DISTINCT order_id,
				   CASE WHEN line > 1 AND pg_temp.draw(order_id * 8 + line, 3, 3) = 0
						THEN 1 + (pg_temp.item(order_id * 8 + 1, 4, :items) * 7 + pg_temp.draw(order_id * 8 + line, 5, 6)) % :items
						ELSE pg_temp.item(order_id * 8 + line, 4, :items) END AS product_id
			  FROM generate_series(1, :orders * 2::bigint) AS order_id,
				   generate_series(1, ('{1,1,1,1,1,1,2,2,2,2,2,3,3,4,4,4,5,6,7,8}'::int[])[1 + pg_temp.draw(order_id, 0, 20)]) AS line
			 ORDER BY order_id, product_id
			 LIMIT :lines) AS l;
	-- As a shop has it, and all that a self-join can wish for
	ALTER TABLE order_line ADD PRIMARY KEY (order_id, product_id);
	VACUUM ANALYZE order_line;
	CREATE EXTENSION crm_marketing;
	SELECT crm.configure('timezone', 'UTC') \g /dev/null
	SELECT crm.define_event('purchase', 'SELECT user_id AS customer_id, placed_at AS at, product_id AS item
										  FROM public.order_line') \g /dev/null
SQL
psql -X -At -d affinity -c "SELECT format('shop: %s lines of %s orders by %s customers, %s items of which the first is in %s orders; seconds',
	sum(n), max(orders), max(customers), count(*), max(n))
	FROM (SELECT count(*) AS n FROM order_line GROUP BY product_id) AS p,
		 (SELECT count(DISTINCT order_id) AS orders, count(DISTINCT user_id) AS customers FROM order_line) AS o"

# Each pair once, and then in both directions
by_hand="WITH bought AS (SELECT product_id, count(*) AS n FROM order_line GROUP BY product_id),
		 together AS (SELECT a.product_id AS a, b.product_id AS b, count(*) AS pairs
						FROM order_line AS a JOIN order_line AS b ON b.order_id = a.order_id AND b.product_id > a.product_id
					   GROUP BY a.product_id, b.product_id HAVING count(*) >= $min_pairs)
	SELECT d.item, d.other, pairs, i.n AS with_item, o.n AS with_other, cases, pairs::numeric / cases AS support,
		   pairs::numeric / i.n AS confidence, pairs::numeric * cases / (i.n * o.n) AS lift
	  FROM together, LATERAL (VALUES (a, b), (b, a)) AS d (item, other), bought AS i, bought AS o,
		   (SELECT count(DISTINCT order_id) AS cases FROM order_line) AS c
	 WHERE i.product_id = d.item AND o.product_id = d.other"
figures='pairs, with_item, with_other, cases, support, confidence, lift'
by_feed="SELECT item::int, other::int, $figures FROM crm.affinity(min_pairs => $min_pairs, until => 'infinity')"
by_agg="SELECT item::int, other::int, $figures
	FROM (SELECT crm.purchase_agg(user_id, placed_at, product_id::text) AS sales FROM order_line) AS l,
		 crm.affinity_of(l.sales, min_pairs => $min_pairs)"
rich="SET work_mem = '1GB'"
room="SET maintenance_work_mem = '1GB'"
serial='SET max_parallel_workers_per_gather = 0'
total() {
	printf 'SELECT count(*), sum(pairs), sum(lift) FROM (%s) AS s' "$1"
}

same=$(psql -X -q -At -F ' ' -d affinity -c "$rich" -c "$room" -c "
	SELECT count(*) FILTER (WHERE a IS NOT NULL AND b IS NOT NULL), count(*)
	  FROM ($by_hand) AS a FULL JOIN ($by_feed) AS b USING (item, other, $figures)")
echo "pairs with figures that are the same: ${same% *} of ${same#* }"
[ "${same% *}" = "${same#* }" ] || { echo 'crm.affinity does not say what the SQL says' >&2; exit 1; }

hand=()
feed=()
ratios=()
for ((i = 0; i < pairs; i++)); do
	hand+=("$(timed affinity "$rich" "$(total "$by_hand")")")
	feed+=("$(timed affinity "$room" "$(total "$by_feed")")")
	ratios+=("$(ratio "${hand[-1]}" "${feed[-1]}")")
done
small_hand=$(timed affinity "SET work_mem = '64MB'" "$(total "$by_hand")")
agg=$(timed affinity "$rich" "$room" "$(total "$by_agg")")
next=$(timed affinity "$room" "SELECT count(*) FROM crm.affinity('next', min_pairs => $min_pairs, until => 'infinity')")
scan=$(timed affinity 'SELECT count(*), max(placed_at), max(product_id) FROM order_line')
read -r hand_memory hand_serial <<<"$(peak_memory affinity "$rich" "$serial" "$(total "$by_hand")")"
read -r feed_memory feed_serial <<<"$(peak_memory affinity "$room" "$serial" "$(total "$by_feed")")"
read -r feed_small feed_small_seconds <<<"$(peak_memory affinity "SET maintenance_work_mem = '64MB'" "$serial" "$(total "$by_feed")")"
read -r agg_memory agg_serial <<<"$(peak_memory affinity "$rich" "$room" "$serial" "$(total "$by_agg")")"

printf '%-66s %8s\n' 'the self-join by hand, work_mem 1GB' "$(median "${hand[@]}")" \
	'crm.affinity, maintenance_work_mem 1GB' "$(median "${feed[@]}")" \
	'the first with work_mem 64MB, once' "$small_hand" \
	'crm.affinity_of(crm.purchase_agg()), once' "$agg" \
	'crm.affinity(next): what is bought after what, once' "$next" \
	'one scan of the lines, for comparison' "$scan" \
	'in one process: the self-join' "$hand_serial" 'in one process: crm.affinity' "$feed_serial" \
	'in one process: crm.affinity_of(crm.purchase_agg())' "$agg_serial"
echo "peak of the backend's memory in one process: the self-join $hand_memory MB, crm.affinity $feed_memory MB ($feed_small MB and $feed_small_seconds s with"
echo "    maintenance_work_mem 64MB), crm.affinity_of $agg_memory MB"

echo
echo "ratios: by hand / crm.affinity = $(median "${ratios[@]}") (median of $pairs pairs: ${ratios[*]}), in one process $(ratio "$hand_serial" "$feed_serial")"
echo "        crm.affinity / one scan = $(ratio "$(median "${feed[@]}")" "$scan"), crm.affinity_of / crm.affinity = $(ratio "$agg" "$(median "${feed[@]}")")"

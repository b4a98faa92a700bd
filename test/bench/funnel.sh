#!/usr/bin/env bash
#
# funnel.sh: a funnel of three steps over many events, beside the SQL that one would write by hand and beside ClickHouse on
# a table of its own; before that, random funnels in every mode, which must be answered as ClickHouse does.
#
#     CUSTOMERS, EVENTS    by default a million and twenty millions; PAIRS, how often they take turns, by default 3
#     CASES                random inputs to compare with ClickHouse, by default 2400

set -euo pipefail
. "$(dirname "$0")/lib.sh"
customers=${CUSTOMERS:-1000000}
events=${EVENTS:-20000000}
pairs=${PAIRS:-3}
cases=${CASES:-2400}

# ClickHouse as a package of node's; sets clickhouse to a directory to run node in, or to nothing
clickhouse=
folder=$PWD/tmp_clickhouse
mkdir -p "$folder"
if command -v npm >/dev/null && (cd "$folder" && npm install --silent --no-audit --no-fund chdb >npm.log 2>&1); then
	clickhouse=$folder
	cp test/bench/funnel.js "$folder"
else
	echo 'npm cannot install chdb: ClickHouse is left out'
fi

machine

# Random funnels: small groups with many events at one instant, in every mode
if [ -n "$clickhouse" ]; then
	createdb funnel_cases
	psql -X -q -d funnel_cases -v ON_ERROR_STOP=1 -v cases="$cases" -v folder="$clickhouse" <<-'SQL'
		CREATE EXTENSION crm_marketing;
		SET search_path = public, crm;
		SELECT setseed(0.2026) \g /dev/null
		CREATE TEMP TABLE event AS
		SELECT c.steps, c.win, c.id, floor(random() * c.span)::int AS at,
			   CASE WHEN random() < 0.1 THEN 0
					WHEN random() < c.plain THEN 1 << floor(random() * c.steps)::int
					ELSE floor(random() * (1 << c.steps))::int END AS mask, n
		  FROM (SELECT 1 + id % 6 AS steps, (ARRAY[0, 1, 3, 10, 40])[1 + id / 6 % 5] AS win, id,
					   1 + floor(random() * 21)::int AS size, (ARRAY[2, 8, 30])[1 + floor(random() * 3)::int] AS span,
					   random() * 1.2 AS plain
				  FROM generate_series(1, :cases) AS id) AS c, generate_series(1, size) AS n;
		CREATE TEMP TABLE answer AS
		SELECT array_to_string(m.modes, ' ') AS modes, steps, win, id,
			   window_funnel(make_interval(secs => win), m.modes, to_timestamp(at),
							 VARIADIC ARRAY(SELECT (mask >> k) & 1 = 1 FROM generate_series(0, steps - 1) AS k))::text AS level
		  FROM event,
			   (SELECT ARRAY(SELECT w FROM unnest('{strict_deduplication,strict_order,strict_increase,strict_once,allow_reentry}'::text[])
										   WITH ORDINALITY AS u (w, i)
							  WHERE (m >> (i - 1)::int) & 1 = 1) AS modes
				  FROM generate_series(0, 31) AS m
				 WHERE m & 16 = 0 OR m & 2 <> 0) AS m
		 GROUP BY m.modes, steps, win, id;
		INSERT INTO answer
		SELECT 'retention', steps, win, id, array_to_string(ARRAY(SELECT x::int FROM unnest(
			   retention(VARIADIC ARRAY(SELECT (mask >> k) & 1 = 1 FROM generate_series(0, steps - 1) AS k))) AS x), '')
		  FROM event
		 WHERE steps > 1
		 GROUP BY steps, win, id;
		\cd :folder
		\copy (SELECT * FROM event ORDER BY random()) TO 'events.csv' (FORMAT csv)
		\copy answer TO 'answers.csv' (FORMAT csv)
	SQL
	dropdb funnel_cases
	echo "$cases random funnels, in 24 combinations of modes and without order:"
	(cd "$clickhouse" && node funnel.js compare events.csv answers.csv)
	rm -f "$clickhouse"/*.csv
fi

echo "shop: $customers customers, $events events; seconds"
createdb funnel
psql -X -q -d funnel -v ON_ERROR_STOP=1 -v customers="$customers" -v events="$events" <<-'SQL'
	CREATE FUNCTION pg_temp.draw(key bigint, salt int, upto bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
		RETURN (hashint8extended(key, salt) & 9223372036854775807) % upto;
	CREATE TABLE click (user_id bigint NOT NULL, at timestamptz NOT NULL, kind text NOT NULL);
	INSERT INTO click
	SELECT 1 + pg_temp.draw(n, 1, :customers),
		   timestamptz '2026-01-01 00:00Z' + pg_temp.draw(n, 2, 90 * 86400) * interval '1 second',
		   (ARRAY['visit', 'visit', 'visit', 'view', 'view', 'view', 'view', 'cart', 'cart', 'order'])[1 + pg_temp.draw(n, 3, 10)]
	  FROM generate_series(1, :events) AS n;
	VACUUM ANALYZE click;
	CREATE EXTENSION crm_marketing;
	SELECT crm.define_event(k, format('SELECT user_id AS customer_id, at FROM public.click WHERE kind = %L', k))
	  FROM unnest('{view,cart,order}'::text[]) AS k \g /dev/null
SQL

# The latest view before each cart, and the latest such view before each order
by_hand="SELECT level, count(*) FROM (
	SELECT user_id, CASE WHEN bool_or(kind = 'order' AND at <= carted + interval '1 day') THEN 3 WHEN max(carted) IS NOT NULL THEN 2
						 WHEN max(viewed) IS NOT NULL THEN 1 ELSE 0 END AS level
	  FROM (SELECT *, max(CASE WHEN kind = 'cart' AND at <= viewed + interval '1 day' THEN viewed END) OVER (PARTITION BY user_id ORDER BY at) AS carted
			  FROM (SELECT user_id, at, kind, max(CASE WHEN kind = 'view' THEN at END) OVER (PARTITION BY user_id ORDER BY at) AS viewed
					  FROM click WHERE kind IN ('view', 'cart', 'order')) AS v) AS c
	 GROUP BY user_id) AS l
	GROUP BY level ORDER BY level"
by_agg="SELECT level, count(*) FROM (
	SELECT user_id, crm.window_funnel('1 day', at, kind = 'view', kind = 'cart', kind = 'order') AS level
	  FROM click WHERE kind IN ('view', 'cart', 'order') GROUP BY user_id) AS l
	GROUP BY level ORDER BY level"
by_feed="SELECT * FROM crm.funnel('{view,cart,order}', '24 hours', until => 'infinity')"
rich="SET work_mem = '1GB'"
serial='SET max_parallel_workers_per_gather = 0'
room="SET maintenance_work_mem = '1GB'"

levels=$(psql -X -At -d funnel -c "$rich" -c "$by_hand" | grep -v SET)
[ "$levels" = "$(psql -X -At -d funnel -c "$rich" -c "$by_agg" | grep -v SET)" ] ||
	{ echo 'crm.window_funnel does not say what the SQL says' >&2; exit 1; }
echo "customers by the steps they came: $(tr '\n' ' ' <<<"$levels")"

hand=()
agg=()
feed=()
for ((i = 0; i < pairs; i++)); do
	hand+=("$(timed funnel "$rich" "$by_hand")")
	agg+=("$(timed funnel "$rich" "$by_agg")")
	feed+=("$(timed funnel "$room" "$by_feed")")
done
scan=$(timed funnel "SELECT count(*), max(at) FROM click WHERE kind IN ('view', 'cart', 'order')")
read -r hand_memory hand_serial <<<"$(peak_memory funnel "$rich" "$serial" "$by_hand")"
read -r agg_memory agg_serial <<<"$(peak_memory funnel "$rich" "$serial" "$by_agg")"
read -r agg_small agg_small_seconds <<<"$(peak_memory funnel "SET work_mem = '64MB'" "$serial" "$by_agg")"
read -r feed_memory _ <<<"$(peak_memory funnel "$room" "$serial" "$by_feed")"
read -r feed_small feed_small_seconds <<<"$(peak_memory funnel "SET maintenance_work_mem = '64MB'" "$serial" "$by_feed")"

printf '%-66s %8s\n' 'windows and GROUP BY by hand, work_mem 1GB' "$(median "${hand[@]}")" \
	'GROUP BY with crm.window_funnel, work_mem 1GB' "$(median "${agg[@]}")" \
	'crm.funnel, with losses and times, maintenance_work_mem 1GB' "$(median "${feed[@]}")" \
	'one scan of the events, for comparison' "$scan" \
	'in one process: the SQL by hand' "$hand_serial" 'in one process: crm.window_funnel' "$agg_serial"
echo "peak of the backend's memory in one process: by hand $hand_memory MB, crm.window_funnel $agg_memory MB ($agg_small MB and $agg_small_seconds s with work_mem 64MB),"
echo "    crm.funnel $feed_memory MB ($feed_small MB and $feed_small_seconds s with maintenance_work_mem 64MB)"

if [ -n "$clickhouse" ]; then
	psql -X -q -d funnel -c "COPY (SELECT user_id, extract(epoch FROM at)::bigint, kind FROM click) TO STDOUT (FORMAT csv)" >"$clickhouse/click.csv"
	read -r version ch_levels ch_seconds ch_memory <<<"$(cd "$clickhouse" && node funnel.js bench click.csv "$pairs")"
	echo "ClickHouse $version, 2 threads, its own table sorted by customer and time: $ch_seconds s, memory of its process $ch_memory MB"
	[ "$(grep -v '^0|' <<<"$levels" | tr '\n' ' ')" = "$(tr ',' ' ' <<<"$ch_levels") " ] || { echo "it says $ch_levels" >&2; exit 1; }
fi

echo
echo "ratios: by hand / crm.window_funnel = $(ratio "$(median "${hand[@]}")" "$(median "${agg[@]}")"), in one process $(ratio "$hand_serial" "$agg_serial")"
echo "        by hand / crm.funnel = $(ratio "$(median "${hand[@]}")" "$(median "${feed[@]}")")"
[ -z "$clickhouse" ] || echo "        crm.window_funnel / ClickHouse = $(ratio "$(median "${agg[@]}")" "$ch_seconds"), crm.funnel / ClickHouse = $(ratio "$(median "${feed[@]}")" "$ch_seconds")"

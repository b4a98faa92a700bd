# lib.sh: what the benchmarks share. Sourced by bash; the cluster is that of the environment (see tools/bench.sh).

# A shop of so many customers and orders over two years, with its feeds. Everything is drawn by hashing, the same each time.
make_shop() {
	local database=$1 customers=$2 orders=$3
	createdb "$database"
	psql -X -q -d "$database" -v ON_ERROR_STOP=1 -v customers="$customers" -v orders="$orders" <<-'SQL'
		CREATE FUNCTION pg_temp.draw(key bigint, salt int, upto bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
			RETURN (hashint8extended(key, salt) & 9223372036854775807) % upto;
		CREATE TABLE users (id bigint NOT NULL, city text NOT NULL);
		INSERT INTO users SELECT n, 'city ' || pg_temp.draw(n, 0, 50) FROM generate_series(1, :customers) AS n;
		CREATE TABLE orders (id bigint NOT NULL, user_id bigint NOT NULL, placed_at timestamptz NOT NULL,
							 total numeric(12,2) NOT NULL, status text NOT NULL);
		INSERT INTO orders
		SELECT n, 1 + pg_temp.draw(n, 1, :customers),
			   timestamptz '2026-06-15 12:00Z' - pg_temp.draw(n, 2, 730 * 86400) * interval '1 second',
			   pg_temp.draw(n, 3, 20000) / 100.0, 'paid'
		  FROM generate_series(1, :orders) AS n;
		ALTER TABLE users ADD PRIMARY KEY (id);
		CREATE INDEX ON orders (user_id);
		VACUUM ANALYZE users;
		VACUUM ANALYZE orders;
		CREATE EXTENSION crm_marketing;
		SELECT crm.configure('timezone', 'UTC') \g /dev/null
		SELECT crm.define_customers('SELECT id AS customer_id, city FROM public.users') \g /dev/null
		SELECT crm.define_event('order', 'SELECT user_id AS customer_id, placed_at AS at, total AS amount, status
										   FROM public.orders') \g /dev/null
	SQL
}

# timed DATABASE SQL...: runs the statements in one session, prints the seconds that the last one took
timed() {
	local database=$1 file
	shift
	file=$(mktemp)
	{
		printf '%s;\n' "${@:1:$#-1}"
		printf '\\timing on\n%s \\g /dev/null\n' "${!#}"
	} >"$file"
	PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning" \
		psql -X -q -d "$database" -v ON_ERROR_STOP=1 -f "$file" | awk '/^Time:/ { t = $2 } END { printf "%.2f\n", t / 1000 }'
	rm -f "$file"
}

# peak_memory DATABASE SQL...: runs the statements in one session, prints the peak of the backend's own memory in MB
# (without shared buffers), and the seconds of the last one
peak_memory() {
	local database=$1 file pid=unknown peak=0 now out
	shift
	file=$(mktemp)
	out=$(mktemp)
	{
		printf 'SELECT pg_backend_pid() \\g (tuples_only format=unaligned) %s.pid\n' "$out"
		printf '%s;\n' "${@:1:$#-1}"
		printf '\\timing on\n%s \\g /dev/null\n' "${!#}"
	} >"$file"
	PGOPTIONS="${PGOPTIONS:-} -c client_min_messages=warning" psql -X -q -d "$database" -v ON_ERROR_STOP=1 -f "$file" >"$out" &
	while kill -0 $! 2>/dev/null; do
		[ "$pid" != unknown ] || pid=$(cat "$out.pid" 2>/dev/null || true)
		[ -n "$pid" ] || pid=unknown
		now=$(awk '/^RssAnon:/ { print $2 }' "/proc/$pid/status" 2>/dev/null || true)
		if [ "${now:-0}" -gt "$peak" ]; then
			peak=$now
		fi
		sleep 0.05
	done
	wait $!
	echo "$((peak / 1024)) $(awk '/^Time:/ { t = $2 } END { printf "%.2f\n", t / 1000 }' "$out")"
	rm -f "$file" "$out" "$out.pid"
}

median() {
	printf '%s\n' "$@" | sort -n | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}

# What it was measured on
machine() {
	printf 'machine: %s cores of %s, %s GB; PostgreSQL %s, shared_buffers %s\n' "$(nproc)" \
		"$(awk -F ': *' '/^model name/ { print $2; exit }' /proc/cpuinfo)" \
		"$(awk '/^MemTotal:/ { printf "%d", $2 / 1048576 + 0.5 }' /proc/meminfo)" \
		"$(psql -X -At -d postgres -c 'SHOW server_version' | cut -d ' ' -f 1)" \
		"$(psql -X -At -d postgres -c 'SHOW shared_buffers')"
}

# DuckDB as a package of node's, in a folder of its own; sets duckdb to a directory to run node in, or to nothing
find_duckdb() {
	duckdb=
	command -v npm >/dev/null || { echo 'no npm: DuckDB is left out'; return 0; }
	# in the copy of the tree, which goes with the cluster
	local folder=$PWD/tmp_duckdb
	mkdir -p "$folder"
	if (cd "$folder" && npm install --silent --no-audit --no-fund @duckdb/node-api >npm.log 2>&1); then
		duckdb=$folder
	else
		echo 'npm cannot install @duckdb/node-api: DuckDB is left out'
	fi
}

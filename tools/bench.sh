#!/usr/bin/env bash
#
# bench.sh [NAME [ARGUMENT...]]: runs the benchmark test/bench/NAME.sh, or every one, each in a cluster of its own.
#
# Each prints ratios measured within one run, which hold on another machine too; seconds do not.

set -euo pipefail
cd "$(dirname "$0")/.."

if [ $# -gt 0 ]; then
	benches=("test/bench/$1.sh")
	shift
	[ -x "${benches[0]}" ] || { echo "no benchmark ${benches[0]}" >&2; exit 2; }
else
	shopt -s nullglob
	benches=(test/bench/*.sh)
	[ ${#benches[@]} -gt 0 ] || { echo "there are no benchmarks" >&2; exit 1; }
fi

# A quarter of the memory for buffers, as on a server; no checkpoint and no autovacuum in the middle of a measurement
memory=$(awk '/^MemTotal:/ { print int($2 / 4096) }' /proc/meminfo 2>/dev/null || echo 512)
[ "$memory" -le 2048 ] || memory=2048
settings="-c shared_buffers=${memory}MB -c max_wal_size=16GB -c checkpoint_timeout=1h -c autovacuum=off
	-c synchronous_commit=off -c wal_level=minimal -c max_wal_senders=0 -c jit=off"

status=0
for bench in "${benches[@]}"; do
	# A library of the others is no benchmark
	[ -x "$bench" ] || continue
	printf '\n==== %s\n' "$(basename "$bench" .sh)"
	# what a benchmark needs otherwise stands in its head
	own=$(sed -n 's/^# settings: //p' "$bench")
	CRM_CLUSTER_OPTS="$settings $own ${CRM_CLUSTER_OPTS:-}" tools/with-cluster.sh "$bench" "$@" || {
		echo "$bench failed" >&2
		status=1
	}
done
exit "$status"

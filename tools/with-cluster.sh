#!/usr/bin/env bash
#
# with-cluster.sh COMMAND...: runs COMMAND with a throw-away cluster that has the extension installed.
#
# Everything happens in one temporary directory: a copy of the server's programs (PostgreSQL is relocatable: a copied
# pg_config reports places beside itself, so that "make install" needs no rights and touches nothing of the
# system's), a copy of this source tree, and the cluster, which listens on a socket in there only. COMMAND runs in the
# copy of the tree, as postgres where this is root (a server refuses to run as root), else as the user. It finds
# PGHOST, PGPORT, PGUSER, PATH and PG_CONFIG set, and CRM_DATA where there is test data.
#
#     PG_CONFIG=...             the server to use, else the newest one installed
#     CRM_CLUSTER_OPTS='-c ..'  further settings of the cluster
#     CRM_DATA=...              the directory of the test data, else ../shared/data beside this tree, where there is one
#     KEEP=1                    leaves the cluster running when COMMAND succeeds, and tells how to reach and remove it
#
# with-cluster.sh --remove DIR: removes a kept one.

set -euo pipefail
cd "$(dirname "$0")/.."
. tools/lib.sh
root=$PWD
marker=.crm_marketing_cluster

if [ "$(id -u)" -eq 0 ]; then
	id postgres >/dev/null 2>&1 || { say "A server does not run as root, and there is no user postgres."; exit 1; }
	as_user=(runuser -u postgres --)
else
	as_user=()
fi

# Stops the cluster of directory $1, if it runs, and removes it
remove() {
	cd /
	if [ -e "$1/data/postmaster.pid" ]; then
		"${as_user[@]}" "$(cat "$1/$marker")/pg_ctl" -D "$1/data" -s -m immediate stop >/dev/null 2>&1 || true
	fi
	rm -rf "$1"
}

if [ "${1:-}" = --remove ] && [ $# -eq 2 ]; then
	[ -e "$2/$marker" ] || { say "$2 is no cluster that this program made."; exit 1; }
	remove "$2"
	exit
fi
[ $# -gt 0 ] || { say "usage: with-cluster.sh COMMAND..."; exit 2; }

system_config=$(find_pg_config) || { say "No server of PostgreSQL 15 to 19 is found; tools/setup.sh installs one."; exit 1; }
system_config=$(realpath "$system_config")

# The directory must be one that postgres can reach, and short enough for the path of a socket
base=${TMPDIR:-/tmp}
if [ ${#base} -gt 60 ] || ! "${as_user[@]}" test -x "$base"; then
	base=/tmp
fi
work=$(mktemp -d "$base/crm_marketing.XXXXXX")
keep=
cleanup() {
	local status=$?
	trap - EXIT
	# A second Ctrl-C must not leave half of it behind
	trap '' INT TERM HUP
	if [ -z "$keep" ]; then
		remove "$work"
	fi
	exit "$status"
}
trap cleanup EXIT
# Ctrl-C reaches COMMAND too, which decides what it means (psql cancels a query); we go on when it returns
trap 'interrupted=1' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
interrupted=
check_interrupted() {
	[ -z "$interrupted" ] || exit 130
}

chmod 755 "$work"
log=$work/log
mkdir "$work/pg" "$work/src" "$work/socket" "$work/home"

# The copy keeps the places of programs, libraries and shared files relative to each other
bindir=$("$system_config" --bindir)
echo "$work/pg$bindir" >"$work/$marker"
say "== copying $("$system_config" --version | sed 's/ *(.*//')"
mkdir -p "$work/pg$bindir"
for program in postgres initdb pg_ctl pg_config psql createdb dropdb createuser dropuser pg_dump pg_dumpall pg_restore \
	pg_isready pg_basebackup pg_controldata pg_resetwal pg_upgrade pg_waldump pgbench reindexdb vacuumdb clusterdb \
	pg_receivewal pg_recvlogical pg_rewind pg_verifybackup pg_amcheck pg_checksums; do
	if [ -x "$bindir/$program" ]; then
		cp -a "$bindir/$program" "$work/pg$bindir/"
	fi
done
for directory in "$("$system_config" --pkglibdir)" "$("$system_config" --sharedir)"; do
	mkdir -p "$work/pg$directory"
	cp -a "$directory/." "$work/pg$directory/"
done
# A copy of the extension that the system has would hide what this tree does not install
rm -f "$work/pg$("$system_config" --sharedir)/extension/crm_marketing"* \
	"$work/pg$("$system_config" --pkglibdir)/crm_marketing"{,_address}.so
# Headers are only read
for directory in "$("$system_config" --includedir)" "$("$system_config" --includedir-server)"; do
	if [ ! -e "$work/pg$directory" ]; then
		mkdir -p "$(dirname "$work/pg$directory")"
		ln -s "$directory" "$work/pg$directory"
	fi
done
check_interrupted

tar -cf - --exclude=./.git --exclude='*.o' --exclude='*.bc' --exclude='*.so' --exclude=./results --exclude=./tmp_check \
	--exclude="./sql/crm_marketing--$(sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" crm_marketing.control).sql" . |
	tar -xf - -C "$work/src"

if [ -z "${CRM_DATA:-}" ] && [ -d "$root/../shared/data" ]; then
	CRM_DATA=$(realpath "$root/../shared/data")
fi
if [ "$(id -u)" -eq 0 ]; then
	if [ -n "${CRM_DATA:-}" ] && ! "${as_user[@]}" test -r "$CRM_DATA/."; then
		cp -r "$CRM_DATA" "$work/testdata"
		CRM_DATA=$work/testdata
	fi
	chown -R postgres: "$work"
fi

# What a session of the user's has set must not steer the one in here
unset PGHOSTADDR PGDATABASE PGPASSWORD PGPASSFILE PGSERVICE PGSERVICEFILE PGOPTIONS PGCLIENTENCODING PGDATESTYLE PGTZ \
	PGDATA PGSSLMODE PGAPPNAME MAKEFLAGS MAKELEVEL MFLAGS
export LC_ALL=C.UTF-8 HOME=$work/home PATH=$work/pg$bindir:$PATH PG_CONFIG=$work/pg$bindir/pg_config
export PGHOST=$work/socket PGPORT=5432 PGUSER=postgres
if [ -n "${CRM_DATA:-}" ]; then
	export CRM_DATA
fi

# Prints what FILE has gathered and gives up
give_up() {
	check_interrupted
	say "== $1 failed"
	tail -n 60 "$2" >&2 || true
	exit 1
}

say "== building"
cd "$work/src"
# Bitcode would double the time; nobody runs long enough here to gain by inlining
"${as_user[@]}" make -j "$(nproc 2>/dev/null || echo 1)" with_llvm=no PG_CONFIG="$PG_CONFIG" all 2>"$work/make.err" |
	sed -u -n 's/.* -c -o [^ ]* \(src[^ ]*\.cc\{0,1\}\)$/   \1/p; s/.* -c -o \(src[^ ]*\)\.o .*/   \1.c/p' >&2 ||
	give_up make "$work/make.err"
"${as_user[@]}" make -s with_llvm=no PG_CONFIG="$PG_CONFIG" install >"$work/make.err" 2>&1 ||
	give_up "make install" "$work/make.err"
check_interrupted

say "== making a cluster"
"${as_user[@]}" initdb -D "$work/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync >"$work/initdb.log" 2>&1 ||
	give_up initdb "$work/initdb.log"
check_interrupted
# One line of it: pg_ctl hands it to a shell
options=${CRM_CLUSTER_OPTS:-}
options=${options//[$'\n\t']/ }
# Anybody who reaches the socket is superuser: only the owner (and root) may
"${as_user[@]}" pg_ctl -D "$work/data" -s -w -l "$log" -o "-c listen_addresses='' \
	-c unix_socket_directories='$PGHOST' -c unix_socket_permissions=0700 -c port=$PGPORT -c fsync=off \
	-c full_page_writes=off -c timezone=UTC -c max_prepared_transactions=8 $options" start ||
	give_up "starting the cluster" "$log"
check_interrupted

status=0
# runuser gives postgres his own HOME back
"${as_user[@]}" env HOME="$HOME" "$@" || status=$?

# A crash may hide behind a test that reconnects
if grep -E 'PANIC|was terminated by signal' "$log" >&2; then
	say "== the server crashed"
	[ "$status" -ne 0 ] || status=1
fi

if [ "${KEEP:-}" = 1 ] && [ "$status" -eq 0 ] && [ -z "$interrupted" ]; then
	keep=1
	say ""
	say "The cluster goes on running. To use it:"
	say "    $work/pg$bindir/psql -h $PGHOST -U $PGUSER ${CRM_DATABASE:-shop}"
	say "To remove it:"
	say "    $root/tools/with-cluster.sh --remove $work"
fi
exit "$status"

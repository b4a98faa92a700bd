#!/usr/bin/env bash
#
# test-major.sh MAJOR [COMMAND...]: runs the tests against another major of PostgreSQL than the machine has.
#
# It unpacks that major's server, with the compiler of its time, from the Debian suite that has it, into a directory
# like a chroot, and runs COMMAND (tools/test.sh, unless one is given) there with tools/with-cluster.sh, as a user who
# is not root. Nothing is installed: apt-get resolves, fetches and verifies, from the mirror in its own configuration,
# and no package's script is run. It needs root, or sudo, and 0.8 GB for each major.
#
#     CACHE=DIR                 where the unpacked directories stay for the next run, else
#                               ${XDG_CACHE_HOME:-~/.cache}/crm_marketing
#     REFRESH=1                 unpacks anew, to have the newest packages
#     DEBIAN_MIRROR=URL         the mirror, where apt's configuration names none of Debian's
#     CRM_CLUSTER_OPTS, CRM_DATA, COPT    as for tools/with-cluster.sh and make
#
# The status is that of COMMAND, or 3 when the major cannot be had.

set -euo pipefail
cd "$(dirname "$0")/.."
. tools/lib.sh

[ $# -gt 0 ] || { say "usage: test-major.sh MAJOR [COMMAND...]"; exit 2; }
major=$1
shift
[ $# -gt 0 ] || set -- tools/test.sh

# Debian has one major a release; 16 was in none
case $major in
	15) suite=bookworm ;;
	17) suite=trixie ;;
	18) suite=forky ;;
	19) suite=experimental ;;
	*) say "No suite of Debian has PostgreSQL $major; there are 15, 17, 18 and 19."; exit 2 ;;
esac

for tool in apt-get dpkg-deb chroot flock; do
	command -v "$tool" >/dev/null || { say "This needs Debian's tools; there is no $tool."; exit 3; }
done
cache=$(realpath -m "${CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/crm_marketing}")
if [ "$(id -u)" -ne 0 ]; then
	command -v sudo >/dev/null || { say "A chroot needs root, and there is no sudo."; exit 1; }
	exec sudo CACHE="$cache" REFRESH="${REFRESH:-}" DEBIAN_MIRROR="${DEBIAN_MIRROR:-}" COPT="${COPT:-}" \
		CRM_CLUSTER_OPTS="${CRM_CLUSTER_OPTS:-}" CRM_DATA="${CRM_DATA:-}" "$PWD/tools/test-major.sh" "$major" "$@"
fi

root=$cache/postgresql-$major
bindir=/usr/lib/postgresql/$major/bin
mkdir -p "$cache"
# One run at a time in a root, so that each may clear away what a killed one left
exec 9>"$root.lock"
flock -n 9 || { say "== waiting for another run with PostgreSQL $major"; flock 9; }

# Removes what is not to stay: an unfinished root, and all that a run has made in a finished one
clean_up() {
	rm -rf "$root.new" "$root.apt"
	if [ -d "$root" ]; then
		rm -rf "$root"/tmp/* "$root"/dev/shm/*
	fi
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
clean_up

unpack() {
	local apt=$root.apt mirror keyring file link device deb candidate wanted
	local -a options packages bare

	mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' |
		sort -u | head -n 1)}
	[ -n "$mirror" ] || { say "apt knows no mirror of Debian's; name one with DEBIAN_MIRROR=URL."; return 3; }
	keyring=
	for file in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp}; do
		[ ! -e "$file" ] || keyring=$file
	done
	[ -n "$keyring" ] || { say "Debian's keys are missing: install debian-archive-keyring."; return 3; }

	# An apt of its own: it knows nothing of this machine's packages
	mkdir -p "$apt"/{none,lists/partial,cache/archives/partial}
	: >"$apt/status"
	: >"$apt/preferences"
	printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$apt/sources.list"
	packages=(base-files libc-bin dash mawk bash coreutils findutils diffutils sed grep tar gzip perl make gcc g++ libc6-dev
		libphonenumber-dev libidn2-dev python3-psycopg2 python3-aiosmtpd
		"postgresql-$major" libipc-run-perl libtap-parser-sourcehandler-pgtap-perl)
	# Without what these depend on: a whole clang and llvm, for bitcode that is not built here
	bare=("postgresql-server-dev-$major" libpq-dev)
	if [ "$suite" = experimental ]; then
		# That suite is no whole one: only the server comes from it
		printf 'deb [signed-by=%s] %s sid main\n' "$keyring" "$mirror" >>"$apt/sources.list"
		printf '%s\n' "Package: libpq5 libpq-dev postgresql-*$major*" 'Pin: release a=experimental' 'Pin-Priority: 990' \
			'' 'Package: *' 'Pin: release a=experimental' 'Pin-Priority: -1' >"$apt/preferences"
	fi
	options=(-qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts="$apt/none"
		-o Dir::Etc::preferences="$apt/preferences" -o Dir::Etc::preferencesparts="$apt/none"
		-o Dir::State::lists="$apt/lists" -o Dir::State::status="$apt/status" -o Dir::Cache="$apt/cache"
		-o APT::Sandbox::User=root -o APT::Install-Recommends=false -o Acquire::Languages=none
		-o Acquire::http::Timeout=30 -o Acquire::Retries=1 -o APT::Update::Error-Mode=any)

	say "== fetching PostgreSQL $major from Debian's suite $suite"
	apt-get "${options[@]}" update >&2 || { say "Debian's suite $suite cannot be reached."; return 3; }
	candidate=$(apt-cache "${options[@]}" policy "postgresql-$major" | sed -n 's/^ *Candidate: *//p')
	if [ -z "$candidate" ] || [ "$candidate" = '(none)' ]; then
		say "Debian's suite $suite has no PostgreSQL $major any more."
		return 3
	fi
	# A new major has no pgTAP for some time
	wanted=postgresql-$major-pgtap
	if [ -n "$(apt-cache "${options[@]}" policy "$wanted" | sed -n '/Candidate: [^(]/p')" ]; then
		packages+=("$wanted")
	fi
	apt-get "${options[@]}" -y --download-only install "${packages[@]}" >&2 &&
		(cd "$apt/cache/archives" && apt-get "${options[@]}" download "${bare[@]}" >&2) ||
		{ say "The packages cannot be fetched."; return 3; }

	say "== unpacking PostgreSQL $candidate"
	mkdir -p "$root.new"/usr/{bin,lib,lib64,sbin}
	for link in bin lib lib64 sbin; do
		ln -s "usr/$link" "$root.new/$link"
	done
	for deb in "$apt"/cache/archives/*.deb; do
		dpkg-deb --fsys-tarfile "$deb" | tar -xf - -C "$root.new" --keep-directory-symlink \
			--exclude='./usr/share/man' --exclude='./usr/share/doc' --exclude='./usr/share/locale'
	done
	# What the packages' scripts would have done, as far as it matters
	mkdir -p "$root.new"/{etc,tmp,dev/shm}
	chmod 1777 "$root.new"/{tmp,dev/shm}
	printf 'root:x:0:0::/root:/bin/sh\ntester:x:%s:%s::/tmp:/bin/sh\n' "$(id -u nobody)" "$(id -g nobody)" \
		>"$root.new/etc/passwd"
	printf 'root:x:0:\ntester:x:%s:\n' "$(id -g nobody)" >"$root.new/etc/group"
	for device in null zero random urandom; do
		[ -e "$root.new/dev/$device" ] || cp -a "/dev/$device" "$root.new/dev/"
	done
	[ -e "$root.new/usr/bin/sh" ] || ln -s dash "$root.new/usr/bin/sh"
	[ -e "$root.new/usr/bin/awk" ] || ln -s mawk "$root.new/usr/bin/awk"
	chroot "$root.new" /sbin/ldconfig
	chroot --userspec=tester "$root.new" /bin/sh -c ': >/dev/null' ||
		{ say "Devices do not work below $cache; name another directory with CACHE=DIR."; return 1; }
	rm -rf "$root"
	mv "$root.new" "$root"
	rm -rf "$apt"
}

# One from before the build needed libphonenumber is of no use any more
if [ "${REFRESH:-}" = 1 ] || [ ! -e "$root/usr/include/phonenumbers/phonenumberutil.h" ]; then
	unpack
fi

# The tree and its data, for with-cluster.sh to copy from
mkdir "$root/tmp/tree"
tar -cf - --exclude=./.git . | tar -xf - -C "$root/tmp/tree"
data=
if [ -z "${CRM_DATA:-}" ] && [ -d ../shared/data ]; then
	CRM_DATA=../shared/data
fi
if [ -n "${CRM_DATA:-}" ]; then
	data=/tmp/data
	cp -r "$CRM_DATA" "$root$data"
fi
chroot "$root" chown -R tester: /tmp/tree ${data:+"$data"}

say "== $(chroot "$root" "$bindir/postgres" --version)," \
	"$(chroot "$root" gcc --version | head -n 1)"
chroot --userspec=tester "$root" /usr/bin/env -i PATH="$bindir:/usr/sbin:/usr/bin" LC_ALL=C.UTF-8 HOME=/tmp \
	PG_CONFIG="$bindir/pg_config" ${COPT:+COPT="$COPT"} ${data:+CRM_DATA="$data"} \
	${CRM_CLUSTER_OPTS:+CRM_CLUSTER_OPTS="$CRM_CLUSTER_OPTS"} \
	/bin/bash /tmp/tree/tools/with-cluster.sh "$@"

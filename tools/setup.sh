#!/usr/bin/env bash
#
# setup.sh [bench]: sees to it that what the tests and the demo need is there.
#
# On Debian and its relatives it installs the missing packages, as root or through sudo, and says which; elsewhere it
# says what is missing. It never starts, stops or makes a cluster of the system's, and never updates an installed
# server unasked: other people's clusters may run on it. CI=true takes every question for answered with yes.
#
# PG_CONFIG, when set, names the server to use; otherwise it is the newest installed one.

set -euo pipefail
cd "$(dirname "$0")/.."
. tools/lib.sh

purpose=${1:-}

missing_tools=()
for tool in gcc g++ make perl diff tar; do
	command -v "$tool" >/dev/null || missing_tools+=("$tool")
done
if [ "$purpose" = bench ]; then
	for tool in node npm; do
		command -v "$tool" >/dev/null || missing_tools+=("$tool")
	done
fi

# What is missing of the server with this pg_config; nothing when all is there
missing_of_server() {
	local config=$1 sharedir
	[ -x "$("$config" --bindir)/postgres" ] || echo server
	[ -e "$("$config" --pgxs 2>/dev/null)" ] && [ -e "$("$config" --includedir-server)/postgres.h" ] || echo headers
	sharedir=$("$config" --sharedir)
	[ -e "$sharedir/extension/pgtap.control" ] || echo pgtap
	perl -MIPC::Run -e 1 2>/dev/null || echo IPC::Run
}

# Does this compiler find this header?
finds_header() {
	printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$2" | "$1" -E - >/dev/null 2>&1
}

# The libraries without headers
missing_libraries() {
	finds_header gcc idn2.h || echo libidn2
	finds_header g++ phonenumbers/phonenumberutil.h || echo libphonenumber
}

# What one test needs, test/t/sender.pl, which is skipped without it
python_packages=(python3-psycopg2 python3-aiosmtpd)
missing_python() {
	[ "$purpose" = bench ] || /usr/bin/python3 -c 'import psycopg2, aiosmtpd' 2>/dev/null || echo "${python_packages[*]}"
}

libraries=$(missing_libraries)
python=$(missing_python)
# Where nothing else is missing: nobody is to be kept from the tests by it
install_python() {
	local root=()
	command -v apt-get >/dev/null && command -v dpkg-query >/dev/null || return 1
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null && sudo -n true 2>/dev/null || return 1
		root=(sudo)
	fi
	say "Installing $python"
	{ "${root[@]}" apt-get -qq update &&
		"${root[@]}" env DEBIAN_FRONTEND=noninteractive \
			apt-get -y -qq --no-install-recommends --no-remove --no-upgrade -o Dpkg::Use-Pty=0 install "${python_packages[@]}"; } \
		>/dev/null 2>&1 && [ -z "$(missing_python)" ]
}

config=$(find_pg_config) || config=
if [ -n "$config" ]; then
	missing=$(missing_of_server "$config")
	if [ -z "$missing$libraries" ] && [ ${#missing_tools[@]} -eq 0 ]; then
		[ -z "$python" ] || install_python ||
			say "Without $python the test of the example sender is skipped."
		exit 0
	fi
else
	missing='server headers pgtap IPC::Run'
fi

# Packages are of use to Debian's own servers only, not to one that somebody built and named
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null ||
	{ [ -n "$config" ] && [[ "$("$config" --bindir)" != /usr/lib/postgresql/* ]]; }; then
	say "Something is missing, and this script installs it for Debian's own servers only:"
	[ -z "$missing" ] || say "  of PostgreSQL 15 to 19:" $missing
	[ ${#missing_tools[@]} -eq 0 ] || say "  programs: ${missing_tools[*]}"
	[ -z "$libraries" ] || say "  libraries with their headers:" $libraries
	say "Needed are a server of PostgreSQL 15 or later with its headers (PGXS), pgTAP, Perl's IPC::Run, gcc, g++, make,"
	say "libphonenumber and libidn2."
	say "If they are there, name the server: make PG_CONFIG=/path/to/pg_config ..."
	exit 1
fi

if [ "$(id -u)" -eq 0 ]; then
	as_root=()
elif command -v sudo >/dev/null; then
	as_root=(sudo)
else
	as_root=(false)
fi

# The server's major: that of the installed one, else what the package "postgresql" stands for
major=
if [ -n "$config" ]; then
	major=$("$config" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
else
	major=$(installed_majors | tail -n 1)
fi

need_root() {
	if [ "${as_root[*]-}" = false ]; then
		say "$1, but this is not root and there is no sudo. As root, run:"
		say "    $PWD/tools/setup.sh${purpose:+ $purpose}"
		exit 1
	fi
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "$1" 2>/dev/null | cut -c 1-2)" = ii ]
}

if [ -z "$major" ]; then
	need_root "PostgreSQL is to be installed"
	say "Asking the package archive"
	"${as_root[@]}" apt-get -qq update
	major=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
	updated=1
	if [ -z "$major" ] || [ "$major" -lt 15 ]; then
		say "The archive has PostgreSQL ${major:-(none)}; 15 or later is needed."
		say "See https://www.postgresql.org/download/ for newer packages."
		exit 1
	fi
fi

packages=()
for package in "postgresql-$major" "postgresql-server-dev-$major" "postgresql-$major-pgtap" gcc g++ make libc6-dev \
	libphonenumber-dev libidn2-dev perl libipc-run-perl libtap-parser-sourcehandler-pgtap-perl; do
	installed "$package" || packages+=("$package")
done
if [ "$purpose" = bench ]; then
	command -v node >/dev/null || packages+=(nodejs)
	command -v npm >/dev/null || packages+=(npm)
elif [ ${#packages[@]} -gt 0 ] && [ -n "$python" ]; then
	packages+=("${python_packages[@]}")
fi
# A server that did not come by packages, or tools that did not: apt has nothing to add
if [ ${#packages[@]} -eq 0 ]; then
	say "Missing:" $missing $libraries "${missing_tools[@]}" "although the packages are installed."
	exit 1
fi

need_root "Packages are missing (${packages[*]})"
if [ -z "${updated-}" ]; then
	say "Asking the package archive"
	"${as_root[@]}" apt-get -qq update
fi

# What apt-get would do, in the words of its simulation
plan=
simulate() {
	plan=$(LC_ALL=C apt-get -s --no-install-recommends install "$@" 2>&1)
}
# "Inst NAME [old version] (new version ...)" is an update of what is installed
server_updates() {
	printf '%s\n' "$plan" | sed -n -E 's/^Inst (postgresql-[0-9]+) \[([^]]*)\] \(([^ ]+).*/    \1 from \2 to \3/p'
}
simulate "${packages[@]}" || {
	say "apt-get cannot install ${packages[*]}:"
	printf '%s\n' "$plan" >&2
	exit 1
}
updates=$(server_updates)
if [ -n "$updates" ]; then
	# Perhaps the archive still has the headers of just the installed version
	version=$(dpkg-query -W -f '${Version}' "postgresql-$major")
	same=("${packages[@]/%postgresql-server-dev-$major/postgresql-server-dev-$major=$version}")
	installed libpq-dev || same+=("libpq-dev=$version")
	if simulate "${same[@]}" && [ -z "$(server_updates)" ]; then
		packages=("${same[@]}")
		updates=
	fi
fi
if [ -n "$updates" ] && [ "${CI:-}" != true ]; then
	say "To install ${packages[*]}, apt-get would update a server that is installed, and restart its clusters:"
	say "$updates"
	if [ -t 0 ] && [ -t 2 ]; then
		read -r -p "Go ahead? [y/N] " answer
		[ "$answer" = y ] || [ "$answer" = Y ] || exit 1
	else
		say "Run it yourself when that suits: apt-get install --no-install-recommends ${packages[*]}"
		say "or say CI=true to go ahead."
		exit 1
	fi
fi

# A server package makes and starts a cluster when it is new on the machine. Ours are throw-away ones: forbid it for
# the time of the installation.
guard=
if [[ " ${packages[*]} " == *" postgresql-$major "* ]]; then
	guard=/etc/postgresql-common/createcluster.d/crm_marketing.conf
	trap '"${as_root[@]}" rm -f "$guard"' EXIT
	"${as_root[@]}" mkdir -p "$(dirname "$guard")"
	printf 'create_main_cluster = false\n' | "${as_root[@]}" tee "$guard" >/dev/null
fi

say "Installing ${packages[*]}"
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
	apt-get -y -q --no-install-recommends -o Dpkg::Use-Pty=0 install "${packages[@]}" |
	sed -u -n 's/^Setting up \([^ ]*\).*/    \1/p'

config=$(find_pg_config) || { say "The server is still not found."; exit 1; }
missing=$(missing_of_server "$config"; missing_libraries)
if [ -n "$missing" ]; then
	say "Still missing:" $missing
	exit 1
fi

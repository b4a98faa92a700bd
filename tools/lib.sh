# lib.sh: what the tools share. Sourced by bash.

# What the tools say themselves goes to standard error; standard output is for results.
say() {
	printf '%s\n' "$*" >&2
}

# The majors, among those supported, whose server is installed the Debian way; ascending
installed_majors() {
	local major
	for major in 15 16 17 18 19; do
		if [ -x "/usr/lib/postgresql/$major/bin/postgres" ]; then
			echo "$major"
		fi
	done
}

# The pg_config of the server to use: PG_CONFIG, else that of the newest server installed the Debian way, else that of
# the PATH
find_pg_config() {
	local major config best=
	if [ -n "${PG_CONFIG:-}" ]; then
		command -v "$PG_CONFIG" || { say "PG_CONFIG=$PG_CONFIG is no program"; return 1; }
		return
	fi
	for major in $(installed_majors); do
		config=/usr/lib/postgresql/$major/bin/pg_config
		if [ -x "$config" ]; then
			best=$config
		fi
	done
	if [ -n "$best" ]; then
		echo "$best"
		return
	fi
	# Debian's /usr/bin/pg_config belongs to the client library and knows no server
	if [ ! -d /usr/lib/postgresql ] && config=$(command -v pg_config) &&
		[ -x "$("$config" --bindir)/postgres" ]; then
		case $("$config" --version) in
			"PostgreSQL 15"* | "PostgreSQL 16"* | "PostgreSQL 17"* | "PostgreSQL 18"* | "PostgreSQL 19"*)
				echo "$config"
				return
				;;
		esac
	fi
	return 1
}

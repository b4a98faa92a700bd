#!/usr/bin/env bash
#
# test.sh: runs all tests against the cluster that the environment names, and ends with "N passed, M failed".
#
# In a built and installed tree; "make test" makes the cluster and everything. The status is 0 only when nothing failed
# and something passed.

set -uo pipefail
cd "$(dirname "$0")/.."

passed=0
failed=0
failures=()
out=$(mktemp)
trap 'rm -f "$out"' EXIT
make=(make -s --no-print-directory with_llvm=no "PG_CONFIG=${PG_CONFIG:-pg_config}")

count() {
	passed=$((passed + $1))
	failed=$((failed + $2))
}

# One kind of what installcheck runs; the others are emptied
regress() {
	local name=$1 status ok bad
	shift
	echo "== $name"
	rm -f regression.diffs
	"${make[@]}" installcheck "$@" 2>&1 | tee "$out"
	status=${PIPESTATUS[0]}
	# "test x ... ok" until PostgreSQL 15, "ok 1 - x" from 16 on
	ok=$(grep -cE '^ok +[0-9]|^(test +| +)[^ ]+ +\.\.\. ok' "$out")
	bad=$(grep -cE '^not ok +[0-9]|^(test +| +)[^ ]+ +\.\.\. FAILED' "$out")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	count "$ok" "$bad"
	if [ "$bad" -ne 0 ]; then
		failures+=("$name")
		[ ! -s regression.diffs ] || cat regression.diffs
	fi
}

if compgen -G 'test/sql/*.sql' >/dev/null; then
	regress regression ISOLATION= TAP_TESTS=
fi
if compgen -G 'test/specs/*.spec' >/dev/null; then
	regress isolation REGRESS= TAP_TESTS=
fi
if compgen -G 'test/t/*.pl' >/dev/null; then
	echo "== TAP"
	"${make[@]}" installcheck REGRESS= ISOLATION= PROVE_FLAGS=--verbose 2>&1 | tee "$out"
	status=${PIPESTATUS[0]}
	ok=$(grep -cE '^ok [0-9]' "$out")
	bad=$(grep -cE '^not ok [0-9]+' "$out")
	if [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
		bad=1
	fi
	[ "$bad" -eq 0 ] || failures+=(TAP)
	count "$ok" "$bad"
fi

# A pgTAP file has a database of its own, with the extension already in it. Its output is judged here: all that its
# plan promises must have come, and psql must have reached the end.
judge='
	/^1\.\.[0-9]+/			{ plan = substr($1, 4) + 0; planned = 1; if (plan == 0) skipall = 1 }
	/^ok [0-9]+.*# (SKIP|skip)/	{ skipped++; next }
	/^ok [0-9]/			{ ok++ }
	/^not ok [0-9]+.*# (TODO|todo)/	{ skipped++; next }
	/^not ok [0-9]/			{ bad++ }
	END				{ print ok + 0, bad + 0, skipped + 0, planned ? plan : -1 }'

pgtap() {
	local file=$1 name database status ok bad skipped plan complaint=
	name=$(basename "$file" .sql)
	database=pgtap_$name
	if ! { createdb "$database" &&
		psql -X -q -d "$database" -v ON_ERROR_STOP=1 -c 'CREATE EXTENSION crm_marketing'; }; then
		echo "$file ... cannot make its database"
		failures+=("$file")
		count 0 1
		return
	fi
	PGOPTIONS='-c client_min_messages=warning' \
		psql -X -q -A -t -P pager=off -d "$database" -v ON_ERROR_STOP=1 -v "crm_data=${CRM_DATA:-}" -f "$file" \
		>"$out" 2>&1
	status=$?
	read -r ok bad skipped plan <<<"$(awk "$judge" "$out")"
	if [ "$status" -ne 0 ]; then
		complaint="psql ended with status $status"
	elif [ "$plan" -lt 0 ]; then
		complaint="no plan was made"
	elif [ $((ok + bad + skipped)) -ne "$plan" ]; then
		complaint="$plan tests were planned, $((ok + bad + skipped)) ran"
	fi
	if [ -n "$complaint" ]; then
		bad=$((bad + 1))
	fi
	count "$ok" "$bad"
	printf '%-44s ... %s passed, %s failed' "$file" "$ok" "$bad"
	[ "$skipped" -eq 0 ] || printf ', %s skipped' "$skipped"
	[ "$plan" -ne 0 ] || printf ', all skipped: %s' "$(sed -n 's/^1\.\.0 *# *//p' "$out")"
	printf '\n'
	if [ "$bad" -ne 0 ]; then
		failures+=("$file")
		[ -z "$complaint" ] || echo "   $complaint"
		grep -vE '^ok [0-9]|^1\.\.' "$out" | head -n 200 | sed 's/^/   /'
	fi
	dropdb --force "$database"
}

if compgen -G 'test/pgtap/*.sql' >/dev/null; then
	echo "== pgTAP"
	for file in test/pgtap/*.sql; do
		pgtap "$file"
	done
fi

if [ ${#failures[@]} -gt 0 ]; then
	printf 'Failed: %s\n' "${failures[@]}"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]

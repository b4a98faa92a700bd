#!/usr/bin/env bash
#
# demo.sh: builds a small shop, points the extension at it, and looks around. "make demo" makes the cluster for it.
#
# At a terminal it ends in psql, in the shop; what the cluster holds is gone when that is left, unless KEEP=1.

set -euo pipefail
cd "$(dirname "$0")/.."

database=shop
step() {
	local title=$1 file=$2 start=$SECONDS
	printf '\n== %s  (%s)\n\n' "$title" "$file"
	psql -X -q -P pager=off -v ON_ERROR_STOP=1 -d "$database" -f "$file"
	printf '\n   %s s\n' "$((SECONDS - start))"
}

createdb "$database"
step 'A shop: customers, visits, carts, orders' demo/shop.sql
step 'Feeds: what the shop tells about itself' demo/feeds.sql
step 'Segments, in the words of a marketer' demo/segments.sql
step 'A tour' demo/tour.sql
step 'A campaign, before it is started' demo/campaign.sql
# Whoever goes on playing finds the clock of the tour: the shop's last order is of that day
psql -X -q -d "$database" -c "ALTER DATABASE $database SET search_path = public, crm" \
	-c "ALTER DATABASE $database SET crm_marketing.now = '2026-06-15 12:00+00'"

echo
if [ "${KEEP:-}" = 1 ]; then
	exit 0
fi
if [ -t 0 ] && [ -t 1 ] && [ -z "${CI:-}" ]; then
	echo 'You are in the shop now, to go on playing; \q leaves, and all of it is removed.'
	echo 'Its clock stands at noon of 15 June 2026 (crm_marketing.now).'
	echo "Try: SELECT crm.preview(\$\$has order and no order in last 60 days\$\$);"
	echo
	psql -X -d "$database" || true
else
	echo 'The shop is removed now. To keep it and connect with psql:  make demo KEEP=1'
fi

#!/usr/bin/env bash
# growth.sh - how a learner grows: bytes per record and time per round from 10^4 to 10^7 users and items in memory, pages read per
# user that is not.  Prints a table (Markdown).
#
#   tests/bench/growth.sh [N …]     users and items (default: 10000 100000 1000000; 10000000 takes 16 GiB and a minute or two)
#
# GROWTH        the program       (default build/release/tests/growth)
# GROWTH_USERS  users on the disk (default 300000, of which 10000 fit into memory)
# Users arrive whole in the first table (as from a published version); in the second they grow with each event, for the holes that
# outgrown blocks leave.  The ratio is of the median time of a round (fill a list of 24, a click, settle) to the first N's.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
growth=${GROWTH:-build/release/tests/growth}
[[ -x $growth ]] || { echo "growth: $growth is not built (make dev or make build)" >&2; exit 77; }
dir=$(mktemp -d -p "${TMPDIR:-/tmp}")
trap 'rm -rf "$dir"' EXIT
export FRESHET_SOURCE=$PWD

echo "| users and items | bytes an item | bytes a user of 3 events | of 20 | an open slate of 24 | MiB in all | ns a round (median) | p99.9 | most | ratio | allocations a round |"
echo "|---|---|---|---|---|---|---|---|---|---|---|"
first=
for n in "${@:-10000 100000 1000000}"; do
    for one in $n; do
        line=$("$growth" "$one" "$one" 5000)
        [[ -n $first ]] || first=$(jq .median_ns <<<"$line")
        jq -r --argjson first "$first" '[.users, .item_bytes, .user_bytes, .full_user_bytes, .open_slate_bytes, .rss_mib,
            .median_ns, .p999_ns, .max_ns, (.median_ns / $first * 100 | round / 100), .allocations_per_round]
            | "| " + (map(tostring) | join(" | ")) + " |"' <<<"$line"
    done
done
echo
echo "| users who come to 3 events by clicks | one after the other: bytes a user | all by turns |"
echo "|---|---|---|"
for n in "${@:-10000 100000 1000000}"; do
    for one in $n; do
        echo "| $one | $("$growth" "$one" 10000 alone | jq .user_bytes) | $("$growth" "$one" 10000 among | jq .user_bytes) |"
    done
done
users=${GROWTH_USERS:-300000}
"$growth" "$users" 10000 0 "$dir" 10000
sync
"$growth" "$users" 10000 5000 "$dir" 10000 |
    jq -r '"\n\(.users) users, 10000 of them in memory: \(.missing) read back in 5000 rounds, \(.pages_per_missing) pages each; \(.median_ns) ns a round"'

#!/bin/sh
# flat.sh - a learner's memory does not grow with the length of its log: an hour of 100 events/s takes what twenty minutes take.
# labels: slow
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "flat: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "flat: skipped, no jq"; exit 77; }
! ldd "$freshet" | grep -q 'lib[at]san' || { echo "flat: skipped, a sanitizer's memory is not the program's"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
# The same shop: users whose histories are full early, items that are there from the first, lists that wait ten seconds.
peak() {
    "$freshet" simulate --users 300 --items 200 --events "$1" --seed 6 --rate 70 --delay-ms 1000 --window-ms 10000 \
        --new-items 0 --no-best 2>err |
        "$freshet" replay --quiet --report "$1.json" -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
            -o model.parts=numeric,hashed -o kernels.threads=1 -o join.window_ms=10000 -o history.pairs=20 -o history.events=20 \
            -o ingest.dedupe_ids=10000 -o ingest.queue=2 - 2>err || { echo "flat: replay"; cat err; exit 1; }
    jq .peak_rss_bytes "$1.json"
}
short=$(peak 120000)
long=$(peak 360000)
[ "$((long - short))" -lt "$((short / 50 + 1048576))" ] || { echo "flat: $short bytes after a third, $long at the end"; exit 1; }
echo "flat: $((short / 1024)) KiB after a third, $((long / 1024)) KiB at the end"

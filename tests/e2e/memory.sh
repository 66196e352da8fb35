#!/bin/sh
# memory.sh - with small bounds a learner stays below the memory bound that it prints, on a log that needs more without them.
# labels: fault
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "memory: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+lmdb' || { echo "memory: skipped, built without LMDB"; exit 77; }
command -v jq >/dev/null || { echo "memory: skipped, no jq"; exit 77; }
! ldd "$freshet" | grep -q 'lib[at]san' || { echo "memory: skipped, a sanitizer's memory is not the program's"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "memory: $*"; cat err; exit 1; }
"$freshet" simulate --events 40000 --users 20000 --items 6000 --seed 4 --rate 500 --delay-ms 2000 --no-best >log 2>err
"$freshet" replay --report report.json -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
    -o model.parts=numeric,hashed -o kernels.threads=1 -o kernels.cache_bytes=1048576 -o history.max_bytes=1048576 \
    -o catalogue.max_bytes=8388608 -o join.max_bytes=1048576 -o state.dirty_max_bytes=1048576 -o ingest.queue=2 \
    -o state.dir="$dir/state" log 2>err || fail "replay"
bound=$(sed -n 's/.* memory total_mib=\([0-9]*\) .*/\1/p' err)
peak=$(jq '.peak_rss_bytes / 1048576 | ceil' report.json)
[ -n "$bound" ] && [ "$bound" -lt 180 ] || fail "a bound of '$bound' MiB"
[ "$peak" -lt "$bound" ] || fail "$peak MiB, above the bound of $bound MiB"
[ "$(jq '.slates > 10000 and .open < 1000' report.json)" = true ] || fail "the oldest slates were not settled early"
echo "memory: $peak MiB at most, below the bound of $bound MiB"

#!/bin/sh
# bench.sh - freshet bench: every case is checked and timed, the JSON agrees with the table, refusals. Never judges a time.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "bench: skipped, $freshet is not built"; exit 77; }
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "bench: $*"; cat out err 2>/dev/null; exit 1; }
run() { # want exit status, then arguments
    want=$1 rc=0
    shift
    TMPDIR=$dir "$freshet" bench "$@" >out 2>err || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
tiny_bert base
run 0 --quick --json figures.json -o model.base=base -o model.hashed_bits=10
grep -qE '^one core, measured now: f32 peak [0-9.]+ GFLOP/s, memory [0-9.]+ GB/s, disk [0-9.]+ MB/s' out || fail "no limits"
for c in tokenize encode.16 encode.32 encode.128 parse train score.100 checkpoint swap; do
    grep -qE "^$c +[0-9.]+ .* (sentences/s|events/s|examples/s|ms) +[0-9.]+% (f32 peak|memory|disk)" out || fail "no line of $c"
    grep -q "\"name\": \"$c\"" figures.json || fail "no figure of $c"
done
if command -v jq >/dev/null; then
    jq -e '.machine.f32_flop_per_s > 1e9 and (.cases | length) == 9' figures.json >/dev/null || fail "JSON"
    jq -e '[.cases[] | .min > 0 and .min <= .median and .median <= .max and .samples >= 3 and .share > 0] | all' figures.json >/dev/null ||
        fail "spread or share"
    jq -e '[.cases[] | select(.unit == "ms") | .median <= .p99 and .p99 <= .max] | length == 3 and all' figures.json >/dev/null || fail "p99"
fi
[ -z "$(find . -name 'freshet-bench-*')" ] || fail "the temporary folder stays"
run 0 --quick --only tokenize -o model.base=base
[ "$(grep -cE '^[a-z0-9.]+ .*%' out)" -eq 1 ] || fail "--only shows others"
run 1 --quick --only nonsense -o model.base=base
run 1 --quick -o model.base=none
grep -q 'none' err || fail "the folder is not named"
run 2 --quick -o model.base=base -o model.item_view=tokens
run 2 --quick 5
run 1 --quick --only tokenize --json none/figures.json -o model.base=base
[ -z "$(find . -name 'freshet-bench-*')" ] || fail "the temporary folder stays after a failure"

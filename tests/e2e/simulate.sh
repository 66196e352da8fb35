#!/bin/sh
# simulate.sh - freshet simulate: every line is JSON in time order, equal seeds, the truth file, options, a reader that leaves.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "simulate: skipped, $freshet is not built"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "simulate: $*"; cat "$dir/err"; exit 1; }

run() { # want exit status, then arguments
    want=$1 rc=0
    shift
    "$freshet" simulate "$@" >"$dir/out" 2>"$dir/err" || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
refused() { # text that the message must hold, then arguments
    text=$1
    shift
    run 2 "$@"
    grep -q -- "$text" "$dir/err" || fail "no '$text' in the message of: $*"
    [ ! -s "$dir/out" ] || fail "output beside an error of: $*"
}

# the log: so many lines, in time order, all valid to a strict reader (the native parser rejects nothing)
run 0 --events 3000 --users 100 --items 80 --seed 7 --truth "$dir/truth.json"
cp "$dir/out" "$dir/log"
[ "$(wc -l <"$dir/log")" -eq 3000 ] || fail "not 3000 lines"
grep -q 'best_auc=0\.' "$dir/err" || fail "no best reachable AUC on stderr"
sed -E 's/.*"time":([0-9]+).*/\1/' "$dir/log" | sort -nc 2>"$dir/err" || fail "not in time order"
for type in item impression click purchase; do grep -q "^{\"type\":\"$type\"" "$dir/log" || fail "no $type"; done
grep -qE '"best_auc": 0\.[0-9]+' "$dir/truth.json" || fail "no best_auc in the truth file"
grep -qE '"events": 3000' "$dir/truth.json" || fail "no count in the truth file"
if command -v jq >/dev/null; then
    jq -e 'select(.type != "item" and .user == null)' "$dir/log" >/dev/null && fail "a behaviour without a user"
    [ "$(jq -c . "$dir/log" | wc -l)" -eq 3000 ] || fail "jq does not read every line"
    jq -e '.lists * 10 == .shown and .oracle_auc > .best_auc' "$dir/truth.json" >/dev/null || fail "truth: figures that disagree"
fi
if "$freshet" convert --help >/dev/null 2>&1; then
    "$freshet" convert "$dir/log" >"$dir/converted" 2>"$dir/err" || fail "convert refuses the log"
    [ "$(wc -l <"$dir/converted")" -eq 3000 ] || fail "convert rejects lines"
fi

# a truth file that has no place is told before the log is written
run 1 --events 10 --truth "$dir/none/truth.json"
[ ! -s "$dir/out" ] || fail "the log was written first"

# equal seeds, equal bytes; another seed, another log; the filter and the truth file change no byte
run 0 --events 3000 --users 100 --items 80 --seed 7 --no-best
cmp -s "$dir/out" "$dir/log" || fail "equal options, other bytes"
grep -q 'best_auc' "$dir/err" && fail "--no-best gives a best AUC"
run 0 --events 3000 --users 100 --items 80 --seed 8 --no-best
cmp -s "$dir/out" "$dir/log" && fail "another seed, equal bytes"

run 0 --events 50 --language zh
grep -q '灯\|色' "$dir/out" || fail "no Chinese titles"
run 0 --events 50 -o describe.language=zh
grep -q '灯\|色' "$dir/out" || fail "no Chinese titles by the configuration"
run 0 --events 5 --start 2026-03-01T00:00:00Z
head -1 "$dir/out" | grep -q '"time":1772323200000' || fail "--start by RFC 3339"
run 0 --events 5 --start 1772323200000
head -1 "$dir/out" | grep -q '"time":1772323200000' || fail "--start in milliseconds"
now=$(date +%s)
run 0 --events 5 --start now
at=$(head -1 "$dir/out" | sed -E 's/.*"time":([0-9]+)[0-9]{3},.*/\1/')
[ "$at" -ge "$now" ] && [ "$at" -le $((now + 60)) ] || fail "--start now is $at at $now"

# paced: 40 lists at 20 a second and double speed take about a second; each line is there when it is due
before=$(date +%s%N)
run 0 --events 100 --items 20 --new-items 0 --rate 20 --delay-ms 100 --speed 2
took=$((($(date +%s%N) - before) / 1000000))
[ "$took" -ge 400 ] || fail "--speed 2 took $took ms"

# a reader that leaves, a stop in order
{ "$freshet" simulate --events 1000000 --no-best --truth "$dir/early.json" 2>"$dir/err"; echo $? >"$dir/rc"; } | head -3 >"$dir/out"
[ "$(cat "$dir/rc")" -eq 0 ] || fail "exit $(cat "$dir/rc") when the reader left"
[ "$(wc -l <"$dir/out")" -eq 3 ] || fail "head got no lines"
[ -s "$dir/early.json" ] || fail "no truth of what was written"
rm "$dir/out"
"$freshet" simulate --speed 1 --rate 5 --items 5 --truth "$dir/stopped.json" >"$dir/out" 2>"$dir/err" &
pid=$!
while [ ! -s "$dir/out" ]; do kill -0 $pid || fail "ended by itself"; done
kill -TERM $pid
rc=0
wait $pid || rc=$?
[ "$rc" -eq 0 ] || fail "exit $rc after SIGTERM"
grep -q oracle "$dir/stopped.json" || fail "no truth after SIGTERM"
tail -c1 "$dir/out" | od -An -c | grep -q '\\n' || fail "the last line is cut"

run 0 --help
grep -q -- '--new-items' "$dir/out" || fail "help without its options"
refused 'users' --users 0
refused 'users' --users ten
refused 'whole number' --items 1.5
refused 'drift' --drift 1.5
refused 'slate' --slate 101
refused 'language' --language fr
refused 'start' --start yesterday
refused 'milliseconds' --start 1772323200
refused 'no-best' --users 5000000
refused '9999' --events 1000000000000 --rate 0.001 --no-best
refused 'unexpected' 100
refused 'nonsense' --nonsense 1
run 1 --events 10 --truth "$dir/none/truth.json"
grep -q 'none/truth.json' "$dir/err" || fail "the truth file is not named"
if [ -c /dev/full ]; then
    rc=0
    "$freshet" simulate --events 100000 --no-best >/dev/full 2>"$dir/err" || rc=$?
    [ "$rc" -eq 1 ] || fail "exit $rc on a full disk"
fi

#!/bin/sh
# cut_off.sh - lists whose window had not ended with the log are in no figure of fit and worth.
#
# Two logs: one ends when every window has, the other has lists besides that nobody could take yet.  All figures are the same.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "cut_off: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+lmdb' || { echo "cut_off: skipped, built without LMDB"; exit 77; }
command -v jq >/dev/null || { echo "cut_off: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "cut_off: $*"; tail -n 20 err; exit 1; }

"$freshet" simulate --events 3000 --users 40 --items 60 --seed 23 --rate 0.01 --delay-ms 60000 --no-best >raw 2>err
jq -c 'if .type == "impression" then .propensity = [1 / range(.items | length; 0; -1)] else . end' raw >lists
last=$(tail -n 1 lists | jq .time)
jq -nc --argjson t $((last + 7200000)) 'range(200) | {type: "impression", time: ($t + .), user: "u\(. % 40)", request: "young\(.)",
    items: [range(10) | {item: "i\(.)"}], propensity: [1 / range(10; 0; -1)]}' >young
jq -nc --argjson t $((last + 7200300)) '{type: "user", time: $t, user: "of no list"}' >after
cat lists after >ended
cat lists young after >open
options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=12 -o join.window_ms=3600000
    -o kernels.threads=1 -o gate.holdout_frac=0.2 -o gate.share=1"
same() { # WHAT, what is left of its report
    for log in ended open; do jq -S "$2" "$1.$log.json" >"$log.figures" || fail "$1: no report of $log"; done
    cmp -s ended.figures open.figures || fail "$1 counts lists of which labels could still come: $(diff ended.figures open.figures | head -n 20)"
}
has() { # REPORT EXPRESSION
    jq -e "$2" "$1" >tried || fail "$1: not so: $2"
}

for log in ended open; do
    "$freshet" fit $options -o state.dir=$log.state --epochs 3 --validate 12h --report fit.$log.json $log 2>$log.err || fail "fit of $log: $(cat $log.err)"
    grep '^ *[0-9] ' $log.err >$log.epochs || fail "no epoch is told of: $(cat $log.err)"
done
cmp -s ended.epochs open.epochs || fail "the epoch is chosen by labels that could still come: $(cat ended.epochs open.epochs)"
same fit '{progressive, baselines, by, off_policy, shown, curve, intervals}'
has fit.open.json '.progressive.positives > 20 and .shown.lists > 20 and .open == 0'

for log in ended open; do
    "$freshet" worth $options --quiet --from 1 --what-if 'model.features=item.price' --report worth.$log.json $log >$log.table 2>err || fail "worth of $log"
done
same worth '[.models[] | {name, gauc, logloss, calibration, live_gains_gauc, live_gains_logloss}]'
echo "cut_off: lists that could still get a label count in no figure of fit and worth"

#!/usr/bin/env bash
# sweep.sh - settings by successive halving: a good one wins over bad ones, is reported on later days, and wrong usage is told.
# labels: long
# timeout: 120
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "sweep: $*"; cat err 2>/dev/null | tail -n 20; exit 1; }

"$freshet" simulate --events 12000 --users 60 --items 80 --rate 0.005 --delay-ms 1000 --no-best >log 2>err # a day has 432 lists
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 -o join.organic=false
    -o join.window_ms=60000 -o kernels.threads=1)
"$freshet" sweep "${options[@]}" --try 'train.linear_rate=0.1|0|9; train.hashed_rate=0.05|0' --warmup 1 --choose-before 5 --rounds 2 \
    --report sweep.json --svg sweep.svg log >table 2>err || fail "sweep"
jq -e '.trials | length == 7' sweep.json >/dev/null || fail "six combinations and the configuration itself: $(jq '.trials | length' sweep.json)"
jq -e '.trials[0] | .rounds | length == 2' sweep.json >/dev/null || fail "the best went through both rounds"
jq -e '[.trials[] | select(.rounds | length == 2)] | length <= 3' sweep.json >/dev/null || fail "a third goes on, and the configuration"
jq -e '.trials[0].late.gauc > 0.5' sweep.json >/dev/null || fail "late days"
jq -e '[.trials[] | select(.settings["train.linear_rate"] == "0" and .settings["train.hashed_rate"] == "0")][0].rounds | length == 1' sweep.json \
    >/dev/null || fail "what learns nothing goes no further"
jq -e '.trials[0].settings["train.linear_rate"] != "0"' sweep.json >/dev/null || fail "the best learns"
jq -e '.trials[0].late.days > 5 and .trials[0].late.days < 60' sweep.json >/dev/null || fail "late days are the log's: $(jq -c '.trials[0].late' sweep.json)"
grep -q '^chosen on days before 5 by GAUC: ' table || fail "the choice is said"
grep -q '<polyline class="b"\|<polyline class="c"' sweep.svg || fail "the picture"

# A log that ends before the late days has none: rounds end where it ends, no two are of the same days, and that is said.
"$freshet" sweep "${options[@]}" --try 'train.linear_rate=0.1|0' --warmup 1d --choose-before 90d --report short.json log >table 2>err || fail "sweep without late days"
jq -e '.trials[0] | .settings["train.linear_rate"] != "0" and (has("failed") or has("late") | not)' short.json >/dev/null || fail "no late days: $(cat table)"
jq -e '.log_days as $all | $all > 5 and $all < 60 and ([.trials[].rounds[].days] | max == $all) and
    all(.trials[]; [.rounds[].days] | . == unique)' short.json >/dev/null || fail "days that the log does not have: $(jq -c . short.json)"
days=$(jq '.log_days * 10 | round / 10' short.json)
grep -q "^chosen on all $days days, none were left to report on, by GAUC: " table && ! grep -q "^chosen .*=0$" table || fail "no late days: $(cat table)"
jq -e --arg why "the log's $days days end before --choose-before 90" '.trials[0].late_failed == $why' short.json >/dev/null &&
    grep -q "   none: the log's $days days end before --choose-before 90" table || fail "that there are no late days is said: $(cat table)"
rc=0
"$freshet" sweep "${options[@]}" --try 'train.seed=1|2' log >table 2>err || rc=$?
((rc == 1)) && grep -q "nothing would be counted: the log has $days days, and --warmup leaves the first 30 out" err || fail "nothing to count: $rc"

# Lists of one item have no GAUC: log-loss chooses, and nothing says otherwise.
jq -c 'if .type == "impression" then .items = .items[:1] else . end' log >ones
"$freshet" sweep "${options[@]}" --try 'train.linear_rate=0.1|9' --warmup 1 --choose-before 5 --rounds 2 --report ones.json --svg ones.svg ones >table 2>err || fail "sweep without GAUC"
grep -q '^no list has both labels' err && grep -q '^chosen on days before 5 by log-loss: ' table && ! grep -qi 'nan' table ones.svg || fail "no GAUC: $(cat table)"
jq -e '.by == "logloss" and (.trials[0].rounds | length == 2) and .trials[0].rounds[1].logloss <= .trials[1].rounds[1].logloss' ones.json >/dev/null || fail "chosen by log-loss: $(jq -c . ones.json)"

# The same log again gives the same figures; --until ends a replay early and a later one goes on.
"$freshet" replay --quiet "${options[@]}" -o state.dir=state --until 3d --report first.json log 2>err || fail "replay --until"
"$freshet" replay --quiet "${options[@]}" -o state.dir=state --report rest.json log 2>err || fail "the rest"
"$freshet" replay --quiet "${options[@]}" --report whole.json log 2>err || fail "the whole"
[[ $(jq .events first.json) -lt $(jq .events whole.json) ]] || fail "--until read all"
[[ $(jq .model.sha256 rest.json) == "$(jq .model.sha256 whole.json)" ]] || fail "in two parts it is not the same"

# Told to stop it leaves nothing behind, nor do its replays.
mkdir left
TMPDIR=$PWD/left "$freshet" sweep "${options[@]}" --try 'train.seed=1|2|3|4' --warmup 1 --choose-before 5 --rounds 2 --jobs 2 log >table 2>err &
pid=$!
for _ in $(seq 400); do [[ $(ls left | wc -l) -lt 3 ]] || break; sleep 0.05; done
kill -TERM $pid
rc=0
wait $pid || rc=$?
((rc == 1)) && [[ -z $(ls left) ]] || fail "stopped, it ended with $rc and left $(ls left)"

refused() { # TEXT ARGUMENT...
    local rc=0 text=$1
    shift
    "$freshet" sweep "$@" log >table 2>err || rc=$?
    ((rc == 2)) && grep -q "$text" err || fail "sweep $* ended with $rc and did not say '$text'"
}
refused "no key" --try ';'
refused "train.linear_rat" --try 'train.linear_rat=1|2'
refused "train.seed" --try 'train.seed=a'
refused "train.seed twice" --try 'train.seed=1|2; train.batch_slates=1; train.seed=3'
for key in 'join.window_ms=1000|1800000' 'join.negatives=1|4' 'eval.k=1|2'; do # the figures of such trials are of other lists
    refused "try ${key%%=*}: this key changes which lists" --try "$key" --by logloss
done
refused "'1h' is not a whole number" --try 'train.seed=1|2' --warmup 1h
refused "'d' is not a whole number" --try 'train.seed=1|2' --warmup d
refused "choose-before" --try 'train.seed=1|2' --warmup 10 --choose-before 5
refused "says what is tried"
for option in --report --svg; do # known before the first replay
    rc=0
    "$freshet" sweep --try 'train.seed=1|2' "$option" no/such/folder log >table 2>err || rc=$?
    ((rc == 1)) && grep -q "can't be written to no/such/folder: No such file" err && ! grep -q round err || fail "sweep $option to nowhere: $rc"
done
rc=0
"$freshet" sweep --try 'train.seed=1|2' - <log >table 2>err || rc=$?
((rc == 2)) && grep -q -- '- can be read only once, and each trial reads the logs' err || fail "sweep of stdin ended with $rc"
rc=0
"$freshet" replay --until 3x log >table 2>err || rc=$?
((rc == 2)) || fail "--until 3x ended with $rc"
echo "sweep: ok"

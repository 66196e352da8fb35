#!/usr/bin/env bash
# fit.sh - a first model by epochs over a log: better on the last days than one pass, repeatable, and goes on online.
# labels: long
# timeout: 120
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "fit: $*"; tail -n 20 err 2>/dev/null || true; exit 1; }

"$freshet" simulate --events 12000 --users 60 --items 80 --rate 0.005 --delay-ms 1000 --drift 0 --no-best >log 2>err
head -n 9000 log >begin
tail -n +9001 log >rest
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=14 -o join.organic=false
    -o join.window_ms=60000 -o kernels.threads=1)
fit() { # NAME ARGUMENT...
    local name=$1
    shift
    "$freshet" fit "${options[@]}" -o state.dir="$name" --report "$name.json" --validate 2d --epochs 6 "$@" 2>"$name.err"
}
fit one begin || fail "fit: $(cat one.err)"
fit two begin || fail "fit again"
[[ $(jq -r .model.sha256 one.json) == "$(jq -r .model.sha256 two.json)" ]] || fail "twice the same gives other weights"
grep -q '^ *1 .*best$' one.err || fail "the first epoch is the best so far: $(cat one.err)"
epochs=$(awk '$4 == "|" && NF <= 9 && $1 + 0 > 0' one.err | wc -l) best=$(grep -c ' best$' one.err)
((epochs >= 2 && best >= 1 && epochs <= 6)) || fail "$epochs epochs, $best of them better than before"
# The evaluator saw the last days alone, each list before it was learnt.
jq -e '.progressive.examples > 1000 and .progressive.examples < 0.7 * .examples and .progressive.gauc > 0.55' one.json >/dev/null ||
    fail "figures of the last days: $(jq -c .progressive one.json)"
# Online from there; what was fitted is not learnt again.
"$freshet" replay --quiet "${options[@]}" -o state.dir=one --report on.json begin rest 2>err || fail "going on"
jq -e '.progressive.gauc > 0.55' on.json >/dev/null || fail "figures after it: $(jq -c .progressive on.json)"
[[ $(jq .events on.json) == 12000 ]] || fail "$(jq .events on.json) events in all"

# Challengers are fitted too, each by itself, and change nothing for the default line.
"$freshet" fit "${options[@]}" -o state.dir=both --report both.json --validate 2d --epochs 6 -o variant.b.train.linear_rate=0.05 begin 2>both.err || fail "fit of two"
[[ $(jq -r .model.sha256 both.json) == "$(jq -r .model.sha256 one.json)" ]] || fail "beside a variant it gives other weights"
"$freshet" fit "${options[@]}" -o state.dir=alone --report alone.json --validate 2d --epochs 6 -o train.linear_rate=0.05 begin 2>alone.err || fail "fit of b alone"
[[ $(jq -r .variants.b.sha256 both.json) == "$(jq -r .model.sha256 alone.json)" ]] || fail "a variant is not what it is alone: $(cat both.err)"

# Of lists without a positive there is neither GAUC nor calibration.
jq -c 'select(.type == "item" or .type == "impression")' begin >unmarked
"$freshet" fit "${options[@]}" -o state.dir=unmarked.state --validate 2d --epochs 1 unmarked 2>unmarked.err || fail "fit without positives: $(cat unmarked.err)"
grep -q '^ *1 .* - *-  best$' unmarked.err || fail "figures that are not defined: $(grep '^ *1 ' unmarked.err)"

# A label is learnt when it is settled, whatever is scored before: here each list is shown four times within 1.5 hours and clicked by the
# toss of a coin ten hours later.  One epoch a slate at a time is what a replay is, to the last digit.  The last day's lists, of which clicks
# could still come, are in neither's figures, and the last days end before it.
awk 'BEGIN {
    srand(5); hour = 3600000; first = 1767225600000
    for (i = 0; i < 60; i++) printf "%.0f\t{\"type\":\"item\",\"time\":%.0f,\"item\":\"i%d\",\"title\":\"thing %d\"}\n", first, first, i, i
    for (day = 0; day < 8; day++) for (u = 0; u < 20; u++) {
        from = int(rand() * 60); step = 1 + int(rand() * 6)
        for (k = 0; k < 6; k++) { item[k] = "i" (from + k * step) % 60; clicked[k] = rand() < 0.5 }
        for (n = 0; n < 4; n++) {
            t = first + hour * (1 + 24 * day + n / 2) + u * 60000; list = ""
            for (k = 0; k < 6; k++) list = list (k ? "," : "") "{\"item\":\"" item[k] "\"}"
            who = "\"user\":\"u" u "\",\"request\":\"r" ++r "\""
            printf "%.0f\t{\"type\":\"impression\",\"time\":%.0f,%s,\"items\":[%s]}\n", t, t, who, list
            for (k = 0; k < 6; k++) if (clicked[k])
                printf "%.0f\t{\"type\":\"click\",\"time\":%.0f,%s,\"item\":\"%s\"}\n", t + 9 * hour + k, t + 9 * hour + k, who, item[k]
        }
    }
}' | sort -n -s -k1,1 | cut -f2 >coins
coins=("${options[@]}" -o join.window_ms=43200000 -o train.batch_slates=1)
"$freshet" fit --quiet "${coins[@]}" -o state.dir=coins.state --epochs 1 --validate 2d --report coins.json coins 2>err || fail "fit of coins"
slates=$(jq ".progressive.examples / 6" coins.json)
"$freshet" replay --quiet "${coins[@]}" --warmup $((560 - slates)) --report live.json coins 2>err || fail "replay of coins"
((slates == 161)) && [[ $(jq -c .progressive coins.json) == "$(jq -c .progressive live.json)" ]] ||
    fail "it knew labels too early: $(jq -c .progressive coins.json), live $(jq -c .progressive live.json)"

refused() { # STATUS TEXT ARGUMENT...
    local rc=0 want=$1 text=$2
    shift 2
    "$freshet" fit "${options[@]}" "$@" 2>err || rc=$?
    ((rc == want)) && grep -q "$text" err || fail "fit $* ended with $rc and did not say '$text'"
}
refused 1 "holds a model already" -o state.dir=one begin
refused 2 "set state.dir" begin
refused 2 "is a duration" -o state.dir=x --validate soon begin
refused 1 "choose another --validate" -o state.dir=three --validate 9000d begin
# A log that breaks off, with an order waiting: no version of what was read by then.
gzip -c begin >whole.gz
head -c 50000 whole.gz >cut.gz
mkdir -p five/commands
order='"kind":"promote","version":0,"name":"","who":"t","reason":"t","wall_ms":1'
echo '{"id":"00112233445566778899aabbccddeeff",'"$order"'}' >five/commands/00112233445566778899aabbccddeeff
refused 1 "cut.gz" -o state.dir=five -o gate.share=0.2 cut.gz
fit five -o gate.share=0.2 begin || fail "after a log that broke off: $(cat five.err)"
# Stopped before its end it leaves nothing that another start would take for a model, dead letters or not.
{ cat begin; echo "no event"; } >spoilt
"$freshet" fit "${options[@]}" -o ingest.dead_letters=letters -o state.dir=four --validate 2d --epochs 1000 --patience 1000 \
    spoilt 2>four.err &
pid=$!
for _ in $(seq 200); do grep -q '^ *1 ' four.err && break; sleep 0.05; done
kill -TERM $pid
rc=0
wait $pid || rc=$?
((rc == 1)) || fail "stopped, it ended with $rc" # what follows it after && would begin with an empty model
grep -q 'no model was written' four.err || fail "it says that no model was written: $(tail -n 1 four.err)"
fit four -o ingest.dead_letters=letters spoilt || fail "the folder is as new: $(cat four.err)"
[[ $(jq -r .model.sha256 four.json) == "$(jq -r .model.sha256 one.json)" ]] || fail "after a stop it gives other weights"
[[ $(wc -l <letters) == 1 ]] || fail "one letter, not $(wc -l <letters)"
echo "fit: $epochs epochs, GAUC of the last days $(jq .progressive.gauc one.json)"

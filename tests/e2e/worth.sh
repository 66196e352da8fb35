#!/usr/bin/env bash
# worth.sh - live learning against the same model frozen, daily and hourly; other settings on the same lists; wrong usage.
# labels: long
# timeout: 180
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "worth: $*"; tail -n 20 err 2>/dev/null || true; exit 1; }

# The same settings, NAME: nothing is gained, and nothing is less than that.
plain() { # NAME JSON
    grep -q "^$1 .* +0.0000 (+0.0000 … +0.0000)   +0.0000 (+0.0000 … +0.0000)$" table || fail "the same settings: $(cat table)"
    ! grep -h -e '-0\.0*\([^0-9.]\|$\)' table "$2" >tried || fail "less than nothing: $(cat tried)"
}

# Tastes drift a fifth of their variance a day, over about eight days: who stands still falls behind.
"$freshet" simulate --events 20000 --users 100 --items 100 --rate 0.01 --delay-ms 1000 --drift 0.2 --no-best >log 2>err
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=14 -o join.organic=false
    -o join.window_ms=60000 -o kernels.threads=1)
"$freshet" worth "${options[@]}" --quiet --from 2 --what-if 'model.parts=numeric' --what-if 'train.linear_rate=0; train.hashed_rate=0' \
    --what-if train.linear_rate=0.1 --report one.json log >table 2>err || fail "worth"
"$freshet" replay "${options[@]}" --quiet --warmup 2d --report whole.json log 2>err || fail "replay"
of() { jq ".models[] | select(.name == \"$1\")$2" one.json; }
[[ $(jq -r '[.models[].name] | join(" ")' one.json) == "live frozen-after-2-days daily hourly what if model.parts=numeric what if train.linear_rate=0 train.hashed_rate=0 what if train.linear_rate=0.1" ]] || fail "models: $(jq -c '[.models[].name]' one.json)"
# The live one is what a replay alone makes; the others do not disturb it.
jq -e --argjson gauc "$(of live .gauc)" '.progressive.gauc == $gauc' whole.json >/dev/null || fail "live is $(of live .gauc), alone $(jq .progressive.gauc whole.json)"
jq -e '[.models[].settings] == [null, null, null, null, {"model.parts": "numeric"}, {"train.linear_rate": "0", "train.hashed_rate": "0"}, {"train.linear_rate": "0.1"}]' one.json >/dev/null ||
    fail "settings: $(jq -c '[.models[].settings]' one.json)"
jq -e '.models[5].gauc < .models[4].gauc and .models[5].live_gains_gauc.lower > 0' one.json >/dev/null || fail "what learns nothing: $(jq -c '.models[5]' one.json)"
jq -e '.models[1].live_gains_gauc.lower > 0 and .models[1].gauc < .models[2].gauc and .models[2].gauc < .models[3].gauc + 0.002' one.json >/dev/null ||
    fail "frozen, daily, hourly: $(jq -c '[.models[].gauc]' one.json)"
# A mean of paired differences is the difference of the means.
jq -e '(.models[0].gauc - .models[4].gauc - .models[4].live_gains_gauc.mean) | fabs < 1e-9' one.json >/dev/null || fail "pairs"
plain 'what if train.linear_rate=0.1' one.json
# What a model knows was learnt by somebody: by live, up to the day on which it stood still or was refreshed last.
jq -e '[.models[:4][].learn_core_seconds] | .[1] > 0 and .[1] < 0.9 * .[2] and .[2] < .[3] and .[3] <= .[0]' one.json >/dev/null ||
    fail "who learns pays: $(jq -c '[.models[].learn_core_seconds]' one.json)"
jq -e '.learn_seconds > 0 and .learn_core_seconds > 0 and .score_core_seconds > 0' whole.json >/dev/null || fail "costs of a replay"
grep -q '^live instead of frozen-after-2-days: GAUC +0\.[0-9]* for .* core-seconds, 0*\.*0*[1-9][0-9.]* for each 0.01' table || fail "the verdict: $(cat table)"
grep -q '^live instead of daily: GAUC +0\.[0-9]* for the same learning$' table || fail "daily needs the same learning: $(cat table)"
grep -q '^core-seconds: score, of all lists; learn, of the steps behind' table || fail "what the column is: $(cat table)"
spent=$(awk '/^live instead of frozen/ { print $8 }' table)
jq -e --argjson spent "$spent" '(.models[0].learn_core_seconds - .models[1].learn_core_seconds - $spent) | fabs < 0.006' one.json >/dev/null ||
    fail "what both learnt is billed: $spent of $(of live .learn_core_seconds)"

# Settings of features are a second replay, paired list by list, and so is when a list is learnt; the same settings differ by nothing.
"$freshet" worth "${options[@]}" -o model.parts=numeric --quiet --from 2 --what-if 'model.features=item.price,item.age' --what-if 'join.loss=fnw; train.linear_rate=0.05' \
    --what-if describe.language=en --report two.json log >table 2>err || fail "features"
jq -e '.models[4].name == "what if model.features=item.price,item.age" and .models[4].live_gains_logloss.upper < 0' two.json >/dev/null || fail "fewer features: $(jq -c '.models[4]' two.json)"
# A replay of its own is billed what a variant is: not its start, its reading and its counters.
jq -e '[.models[0, 6] | .score_core_seconds + .learn_core_seconds] | .[1] > 0 and .[1] < 2 * .[0]' two.json >/dev/null ||
    fail "the same settings cost $(jq -c '[.models[0, 6] | .score_core_seconds, .learn_core_seconds]' two.json)"
jq -e '.models[6].live_gains_gauc.mean == 0 and .models[6].live_gains_logloss.mean == 0' two.json >/dev/null || fail "the same settings differ: $(jq -c '.models[6]' two.json)"
plain 'what if describe.language=en' two.json

# A catalogue that came days before the first list: the frozen model is there when the first list counts, and not an empty one.
jq -c 'if .type == "item" then .time -= 5 * 86400000 else . end' log >early
"$freshet" worth "${options[@]}" -o model.parts=numeric --quiet --from 7 --report early.json early >table 2>err || fail "an early catalogue"
"$freshet" worth "${options[@]}" -o model.parts=numeric --quiet --from 2 --report late.json log >table 2>err || fail "no early catalogue"
jq -s -e '(.[0].models[1].gauc - .[1].models[1].gauc) | fabs < 0.02' early.json late.json >/dev/null ||
    fail "frozen: $(jq -s -c 'map([.models[].gauc])' early.json late.json)"

# Probabilities may surely gain where the order does not: "no gain" is said of neither alone.
head -n 9000 log >begin
"$freshet" worth "${options[@]}" -o model.parts=numeric --quiet --from 1 --report three.json begin >table 2>err || fail "a short log"
jq -e '.models[2] | .live_gains_gauc.lower <= 0 and .live_gains_logloss.upper < 0' three.json >/dev/null || fail "the log no longer shows it: $(jq -c '.models[2]' three.json)"
grep -q '^live instead of daily: log-loss -0\.[0-9]* for the same learning; no gain of GAUC that its interval is sure of$' table || fail "the verdict: $(cat table)"

refused() { # STATUS TEXT ARGUMENT...
    local rc=0 want=$1 text=$2
    shift 2
    [[ -r ${*: -1} ]] || set -- "$@" log
    "$freshet" worth "${options[@]}" --quiet "$@" >table 2>err || rc=$?
    [[ ! -s table ]] || fail "worth $* printed a table"
    ((rc == want)) && grep -q "$text" err || fail "worth $* ended with $rc and did not say '$text'"
}
refused 2 "model.partz" --what-if 'model.partz=numeric'
refused 2 "is not key=value" --what-if 'model.parts'
refused 2 "from 1 to 36500" --from 0
refused 2 "variants of its own" -o variant.x.share=0.1
refused 1 "report can't be written to no/such/folder.json: No such file" --report no/such/folder.json # known before anything is read
for setting in join.window_ms=5 join.cascade=true ingest.max_jump_ms=1000 eval.unsampled_frac=0 type.click.label=negative redis.url=unix:/x; do
    refused 2 "what-if $setting: this key changes which lists" --what-if "$setting"
done
refused 2 "join.wait_ms" --what-if 'join.loss=importance; join.wait_ms=60000' # not less than the window: said before the replay
refused 2 "can be read only once, and a --what-if of this kind" --what-if model.events=5 <(cat log)
refused 2 "at most 4" --what-if train.seed=2 --what-if train.seed=3 --what-if train.seed=4 --what-if train.seed=5 --what-if train.seed=6
head -n 3000 log >short
jq -c 'select(.type == "item" or .type == "purchase") | del(.request)' short >orders # negatives are drawn from the catalogue
refused 1 "what if catalogue.items=50: this changes candidates or labels, so there is nothing to compare list by list" -o join.organic=true \
    --from 1 --what-if catalogue.items=50 orders
# Figures of nothing are none.
refused 1 "after 100 days (--from), the log has [0-9.]* days" --from 100 short
: >empty
refused 1 "the log has no events" empty
echo "worth: live $(of live .gauc), frozen $(jq '.models[1].gauc' one.json), daily $(jq '.models[2].gauc' one.json), hourly $(jq '.models[3].gauc' one.json)"

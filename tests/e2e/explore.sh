#!/bin/sh
# explore.sh - some requests get a drawn list that says how likely it was; impressions echo that, and the report estimates from it
# what the learner's own ranking would have earned.
# labels: redis
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin explore "redis http" curl
serving_redis
options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=12 -o join.window_ms=10000
    -o kernels.threads=1 -o redis.url=unix:$dir/redis -o state.dir=$dir/state"
"$freshet" simulate --events 2000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
"$freshet" replay --quiet $options --report before.json log 2>err || fail "replay ended with $?"
is before.json 'has("off_policy") | not'

serve $options -o serving.explore=plackett_luce -o serving.explore_frac=0.5
wait_for 20 "version" curl -sf "$at/v2/health/ready"
ask() { # request, user, more
    curl -s -m 20 -o answer -d "{\"request\":\"$1\",\"user\":\"$2\",\"items\":[\"i1\",\"i2\",\"i3\",\"i4\",\"i5\",\"i6\"]${3:-}}" "$at/v1/rerank"
}

# --- drawn by the request's id: the same again, another one otherwise, about the share that is asked for
ask r1 u1
jq -c '[.items[] | [.item, .propensity]], .explored' answer >first
ask r1 u1
jq -c '[.items[] | [.item, .propensity]], .explored' answer | cmp -s - first || fail "the same request got another list"
i=0
: >lists
while [ $i -lt 100 ]; do
    ask "r-$i" "u$((i % 40))"
    jq -c '.' answer >>lists
    i=$((i + 1))
done
jq -s '.' lists >all
is all '[.[] | select(.explored)] | length > 30 and length < 70'
is all 'all(.[] | select(.explored); all(.items[]; .propensity > 0 and .propensity <= 1) and .items[-1].propensity > 0.9999)'
is all 'all(.[] | select(.explored | not); all(.items[]; has("propensity") | not) and ([.items[].score] | . == (sort | reverse)))'
is all '[.[] | select(.explored) | [.items[].score] | . == (sort | reverse)] | any(. == false)'
is all '[.[] | select(.explored) | [.items[].item]] | unique | length > 10'
ask cut u1 ',"limit":2'
is answer '(.items | length) == 2'
wait_for 10 "log of answers" sh -c "redis-cli -s redis --json xrange fr:default:served - + | jq -e 'length >= 103'"
redis-cli -s redis --json xrange fr:default:served - + |
    jq -c '[.[][1] | [range(0; length; 2) as $i | {(.[$i]): .[$i + 1]}] | add | .items |= fromjson]' >served
is served 'all(.[]; (.explored == "1") == (.items[0] | has("propensity")))'

# --- shown, clicked, echoed: the log of what was served, after everything that was learnt
last=$(jq -r 'select(.time != null) | .time' log | tail -n 1)
jq -c --arg last "$last" '(($last | tonumber? // ($last | sub("\\.[0-9]+"; "") | fromdateiso8601 * 1000)) + 20000) as $t0
    | to_entries[] | (.key * 20000 + $t0) as $t | .value as $l
    | {type: "impression", time: $t, user: "u\(.key % 40)", request: $l.request, items: [$l.items[].item],
       variant: $l.model.variant, version: ($l.model.version | tostring)} + (if $l.explored then {propensity: [$l.items[].propensity]} else {} end),
      (if .key % 3 == 0 then {type: "click", time: ($t + 500), user: "u\(.key % 40)", request: $l.request, item: $l.items[.key % 2].item}
       else empty end)' all >shown.jsonl
jq -c '{type: "user", time: (.time + 20000), user: "after all windows"}' shown.jsonl | tail -n 1 >after
cat after >>shown.jsonl
"$freshet" replay --quiet $options --flush --report after.json shown.jsonl 2>err || fail "replay ended with $?"
is after.json '.rejected == 0'
explored=$(jq '[.[] | select(.explored)] | length' all)
is after.json ".off_policy.lists == $explored and .off_policy.partial == 0"
is after.json '.off_policy | all(.logged, .ips, .snips, .dr; .mean != null and .lower <= .mean and .mean <= .upper)'
is after.json '.off_policy.effective_lists > 1 and .off_policy.logged.mean > 0'
# What nobody looked at earned nothing, and was shown all the same.
for cascade in false true; do
    "$freshet" replay --quiet --flush --no-learn -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed \
        -o join.window_ms=10000 -o kernels.threads=1 -o join.cascade=$cascade --report $cascade.json shown.jsonl 2>err || fail "cascade $cascade"
done
is true.json ".off_policy.lists == $explored and .examples < $(jq .examples false.json)"
[ "$(jq -c .off_policy true.json)" = "$(jq -c .off_policy false.json)" ] || fail "estimates of lists that are read from above are other ones"

# --- thompson: the linear part's weights are drawn, where their precision is learnt
serve_over
"$freshet" serve $options -o serving.explore=thompson --listen 127.0.0.1:0 2>err && fail "draws from a precision that nobody learns"
grep -q 'train.numeric_order' err || fail "the refusal does not say what is missing"
options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric -o train.numeric_order=2 -o join.window_ms=10000
    -o kernels.threads=1 -o redis.url=unix:$dir/redis -o state.dir=$dir/second -o model.name=second"
head -n 300 log >little
"$freshet" replay --quiet $options little 2>err || fail "replay ended with $?"
serve $options -o serving.explore=thompson -o serving.explore_frac=1
wait_for 20 "version" curl -sf "$at/v2/health/ready"
i=0
: >lists
while [ $i -lt 20 ]; do
    ask "t-$i" u1
    jq -c . answer >>lists
    i=$((i + 1))
done
jq -s '.' lists >all
is all 'all(.[]; .explored and all(.items[]; has("propensity") | not))'
is all '[.[] | [.items[].item]] | unique | length > 3'
is all '[.[] | [.items[] | {(.item): .score}] | add] | unique | length == 1'
echo "explore: drawn, said, echoed, estimated"

#!/bin/sh
# served_skew.sh - what a scorer answers comes back as recorded lists that echo version, variant and scores: the report then has
# the figures of what was served and the skew between scorer and learner, which is nothing where neither has moved on.
# labels: quick redis
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin served_skew "redis http" curl
serving_redis
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o join.organic=false -o eval.unsampled_frac=0"
"$freshet" simulate --events 3000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
"$freshet" replay --quiet --flush $options -o redis.url="unix:$dir/redis" -o state.dir="$dir/state" log 2>err || fail "replay"
serve $options -o redis.url="unix:$dir/redis" -o serving.poll_ms=20
wait_for 20 version curl -sf "$at/v2/health/ready"

# thirty answers, shown as they are in thirty milliseconds; each first item is clicked afterwards
now=$(tail -n 1 log | jq .time)
for u in $(seq 0 29); do
    time=$((now + 60000 + u))
    jq -nc "{user: \"u$u\", time: $time, items: [range(12) | \"i\\(. * 6 + $u % 6)\"]}" |
        curl -sf -m 20 -d @- "$at/v1/rerank" >answer || fail "no answer"
    jq -c "{type: \"impression\", time: $time, user: \"u$u\", request, version: (.model.version | tostring), variant: .model.variant, items} |
        del(.variant | nulls)" answer
    jq -c "{type: \"click\", time: ($now + 61000 + $u), user: \"u$u\", request, item: .items[0].item}" answer >>clicks
done >shown
cat clicks >>shown
[ "$(wc -l <shown)" -eq 60 ] || fail "not thirty answers"
for copy in apart sums gone; do cp -r state $copy; done
replay() { # state, report, log
    { cat "$3"; jq -nc "{type: \"user\", time: ($now + 95000), user: \"after all windows\"}"; } >ended
    "$freshet" replay --quiet --no-learn $options -o state.dir="$dir/$1" --report "$2" ended 2>err || fail "replay of $3"
}
replay state same shown
holds() { jq -e "$2" "$1" >tried || fail "$1 has not: $2, but $(jq -c .served "$1")"; }
holds same '.served.lists == 30 and .served.figures.examples == 360 and .served.figures.positives == 30'
holds same '.served.skew | .most < 0.001 and .p50 <= .p99 and .p99 <= .most'
holds same '.served.figures.gauc == 1' # the first of each answer was clicked
holds same '(.served.figures.logloss - .served.learner.logloss | fabs) < 0.0001'
holds same ".segments.version | keys == [\"$(jq -rs '.[0].version' shown)\"]"

# whoever and whatever was deleted is unknown to both, and scored alike; Redis has no record of the user
[ "$(redis-cli -s redis exists fr:default:user:u1)" -eq 1 ] || fail "Redis has no record of u1"
jq -nc "{type: \"user\", time: ($now + 70000), user: \"u1\", deleted: true}, {type: \"item\", time: ($now + 70000), item: \"i6\", deleted: true}" >deletions
"$freshet" replay --quiet $options -o redis.url="unix:$dir/redis" -o state.dir="$dir/gone" deletions 2>err || fail "replay of deletions"
[ "$(redis-cli -s redis exists fr:default:user:u1)" -eq 0 ] || fail "Redis has a record of a deleted user"
for user in u1 u2; do
    jq -nc "{user: \"$user\", time: ($now + 80000), items: [range(12) | \"i\\(.)\"]}" | curl -sf -m 20 -d @- "$at/v1/rerank" >answer || fail "no answer"
    [ $user = u2 ] || is answer '.user_known == false'
    is answer '[.items[] | select(.known | not) | .item] == ["i6"]'
    jq -c "{type: \"impression\", time: ($now + 80000), user: \"$user\", request, version: (.model.version | tostring), items}" answer
done >unknown
replay gone deleted unknown
holds deleted '.served.lists == 2 and (.served.skew.most < 0.001)'

# scores that were not the learner's are seen to be others
jq -c 'if .type == "impression" then .items |= map(.score *= 0.8) else . end' shown >worse
replay apart other worse
holds other '.served.lists == 30 and .served.skew.mean > 0.2 and .served.skew.p50 > 0.2'
holds other '.served.figures.calibration < .served.learner.calibration'

# a score above 1 is a sum (rank.utility): it tells of its whole list, so that no list is judged by its low scores alone
jq -c 'if .type == "impression" then .items[0].score += 1 else . end' shown >sums.log
replay sums none sums.log
holds none '.served.lists == 0'

echo "served_skew: 30 answers, at most $(jq .served.skew.most same) of a logit apart"

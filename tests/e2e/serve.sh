#!/bin/sh
# serve.sh - a scorer beside a learner: swaps under load, the trainer's own scores, limits, Redis gone, an orderly end.
# labels: redis threads
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin serve "redis http" curl
serving_redis
token='a secret'
echo "$token" >token
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o model.parts=text,match,numeric,hashed,idvec,itembias,deep -o model.idvec_bits=8 -o join.window_ms=10000 -o kernels.threads=1"
"$freshet" simulate --events 3000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err

# --- before there is a version
serve $options -o redis.url="unix:$dir/redis" -o redis.timeout_ms=500 -o serving.poll_ms=20 -o serving.max_items=50 \
    -o serving.max_body_bytes=20000 -o serving.token_file="$dir/token"
ask() { # wanted status, path, more for curl
    want=$1 path=$2
    shift 2
    got=$(curl -s -m 20 -o answer -w '%{http_code}' -H "Authorization: Bearer $token" "$@" "$at$path") || fail "curl failed at $path"
    [ "$got" = "$want" ] || fail "$path answers $got, not $want"
}
holds() { jq -e "$1" answer >tried || fail "the answer has not: $1"; }
ask 503 /v2/health/ready
ask 200 /v2/health/live
ask 503 /v1/rerank -d '{"user":"u1","items":["i1"]}'
holds '.error.code == "no_model"'

# --- swaps under load: clients ask without a pause while versions come; first one, then two beside a learner that goes on
jq -n '{user: "u1", items: [range(30) | "i\(.)"]}' >body
head -n 1500 log >first.log
tail -n +1501 log >second.log
learn() { # log
    "$freshet" replay --quiet $options -o redis.url="unix:$dir/redis" -o state.dir="$dir/state" --publish-every 20 --speed 25x \
        --report report.json "$1" 2>err &
    learner=$!
}
learnt() {
    rc=0
    wait $learner || rc=$?
    learner=
    [ $rc -eq 0 ] || fail "replay ended with $rc"
}
client() { # answers to $1, each a line; anything else but 200 to $1.failed
    while kill -0 $learner 2>/dev/null; do
        curl -s -m 20 -w '\n%{http_code}\n' -H "Authorization: Bearer $token" -d @body "$at/v1/rerank?n=[1-20]" >"$1.some" || echo "curl: $?" >>"$1.failed"
        grep -v '^{' "$1.some" | grep -vx '200' >>"$1.failed" || true
        grep '^{"request"' "$1.some" >>"$1" || true
    done
}
learn first.log
wait_for 30 "version" curl -sf "$at/v2/health/ready"
client one
learnt
learn second.log
client two &
beside=$!
client three
wait $beside
learnt
for client in one two three; do
    [ ! -s $client.failed ] || fail "requests failed: $(head -n 3 $client.failed)"
    [ "$(wc -l <$client)" -ge 50 ] || fail "client $client made only $(wc -l <$client) requests"
done
# One client never sees a version go back; of two that ask at once, one may still meet the version before, while it is replaced.
jq -r .model.version one | sort -nc 2>tried || fail "a version went back: $(cat tried)"
for client in two three; do
    jq -r .model.version $client | awk '$1 < most - 1 { exit 1 } $1 > most { most = $1 }' || fail "versions went back at client $client"
done
cat one two three >all
redis-cli -s redis xrange 'fr:{default}:log' - + | grep -x -A1 'version\|sha256' | grep -vx 'version\|sha256\|--' | paste -d' ' - - | sort >published
jq -r '"\(.model.version) \(.model.sha256)"' all | sort -u >seen
[ "$(comm -13 published seen | wc -l)" -eq 0 ] || fail "versions were served that nobody published: $(comm -13 published seen)"
swaps=$(($(wc -l <seen) - 1))
[ $swaps -ge 10 ] || fail "only $swaps swaps were seen"
jq -se 'all(.[]; (.items | length) == 30 and ([.items[].score] | . == (sort | reverse)) and all(.items[].score; . > 0 and . < 1))' \
    all >tried || fail "an answer is not a ranking"

# --- the trainer's own scores: the learner's state, asked for two lists at the time of its last event, without learning
newest=$(jq .model.version report.json)
wait_for 20 "version $newest" grep -q " version=$newest " serve.log
time=$(tail -n 1 log | jq .time)
cp -r state probed
for user in u1 u12 nobody; do
    jq -cn --arg user $user --argjson time "$time" '{type: "impression", request: $user, user: $user, time: $time, context: {query: "red lamp"},
        items: ([range(0; 56; 2) | {item: "i\(.)"}] + [{item: "new", title: "red wooden lantern", price: 3}, {item: "strange"}])}'
done >probe
"$freshet" replay --quiet $options -o state.dir="$dir/probed" --no-learn --flush --dump-examples dump probe 2>err || fail "replay of the probe"
for user in u1 u12 nobody; do
    jq -c "select(.user == \"$user\") | {user, time, context, items, explain: true}" probe >body
    ask 200 /v1/rerank -d @body
    holds ".model.version == $newest and .model.sha256 == $(jq .model.sha256 report.json)"
    holds ".user_known == $([ $user = nobody ] && echo false || echo true)"
    jq -s --arg user $user '
        def near($a; $b): ($a - $b) | fabs <= 1e-5;
        (.[0].items | map({(.item): .}) | add) as $served |
        [.[1:][] | select(.request == $user)] |
        length == 30 and all(.[]; . as $mine | $served[.item] as $it | near($it.logit; .logit) and near($it.score; .score) and
            ($it.parts | to_entries | all(near(.value; $mine.parts[.key]))))' answer dump >equal
    [ "$(cat equal)" = true ] || fail "user $user: other scores than the trainer's"
    holds '[.items[].score] | min < max'
done
holds '[.items[] | select(.known | not).item] | sort == ["new", "strange"]' # items that no catalogue knows, one with a title
ask 200 /v1/rerank -d '{"items":["i1","i2","i3"],"limit":2,"history":[{"type":"click","item":"i2"}],"attributes":{"age":"30"}}'
holds '(.items | length) == 2 and .user_known == false'

# --- what it refuses
token=another
ask 401 /v1/rerank -d '{"items":["i1"]}'
token=
ask 401 /v1/models
ask 200 /v2/health/ready
token=$(cat token)
ask 400 /v1/rerank -d '{"items":["i1"'
ask 400 /v1/rerank -d '{"user":"u1"}'
holds '.error.message | test("items")'
ask 400 /v1/rerank -d '{"items":["i1","i1"]}'
holds '.error.message | test("i1")'
ask 400 /v1/rerank -d '{"items":["i1"],"itms":1}'
holds '.error.message | test("itms")'
jq -n '{items: [range(51) | "i\(.)"]}' >body
ask 413 /v1/rerank -d @body
holds '.error.message | test("serving.max_items")'
head -c 30000 /dev/zero | tr '\0' ' ' >body
ask 413 /v1/rerank --data-binary @body
holds '.error.message | test("serving.max_body_bytes")'
ask 413 /v1/rerank --data-binary @body -H 'Transfer-Encoding: chunked'
ask 404 /v1/nothing
ask 405 /v1/rerank
ask 501 /v1/events -d '{}'
ask 200 /metrics
grep -q '413.* 3$' answer || fail "/metrics does not count the refusals"
ask 200 /v1/models
holds ".models | length == 1 and .[0].version == $newest"

# --- a scorer that makes features otherwise than the learner serves, and says so
! grep 'otherwise' serve.log >tried || fail "a scorer with the learner's options warns: $(cat tried)"
"$freshet" serve $options -o redis.url="unix:$dir/redis" -o serving.listen=127.0.0.1:0 -o history.pairs=1 2>other.log &
other=$!
wait_for 20 "word of other features" grep -q ' warn version .*makes sentences or features otherwise .*history.pairs' other.log
kill -TERM $other
wait $other || fail "it did not end in order"

# --- Redis gone: the last version stays, and says how old it is
kill -KILL $redis
wait $redis 2>tried || true
redis=
ask 200 /v1/rerank -d '{"user":"u1","items":["i1","i2","i3"]}'
holds ".model.version == $newest and .degraded == true and (.items | length) == 3"
age=$(jq .model.age_ms answer)
sleep 0.2
ask 200 /v1/rerank -d '{"user":"u1","items":["i1","i2","i3"]}'
holds ".model.age_ms >= $age + 200"
ask 200 /v2/health/ready

kill -TERM $scorer
rc=0
wait $scorer || rc=$?
scorer=
[ $rc -eq 0 ] || fail "serve ended with $rc after SIGTERM"
grep -q ' stopping requests=' serve.log || fail "no word of its end"
echo "serve: $(wc -l <all) requests during $swaps swaps, none failed; scores equal the trainer's"

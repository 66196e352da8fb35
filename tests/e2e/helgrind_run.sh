#!/bin/sh
# helgrind_run.sh - the whole stream job and a scorer with its intake under helgrind: events out of Kafka, versions through
# Redis, requests, events into Kafka, and an orderly end; any race or lock error of ours fails.
#
# On librdkafka's mock cluster, and short: valgrind is slow.  One kernel thread: the pool (base/pool.h) hands tasks over by C11
# atomics, whose order helgrind does not follow; ThreadSanitizer does, and watches it.
# labels: helgrind
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "helgrind_run: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis.*+http' || { echo "helgrind_run: skipped, built without Kafka, Redis or HTTP"; exit 77; }
for tool in jq curl valgrind redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "helgrind_run: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' job='' scorer=''
end() {
    for pid in $scorer $job $kafka $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "helgrind_run: $*"; head -n 60 helgrind.* 2>/dev/null; tail -n 10 run.log serve.log redis.log 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
checked() { name=$1; shift; HELGRIND_OPTIONS="--log-file=$dir/helgrind.$name" exec "$source/tests/tools/helgrind.sh" "$freshet" "$@"; }

redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" shop:2 >bootstrap 2>err &
kafka=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
servers=$(cat bootstrap)
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=60000 -o kernels.threads=1
    -o redis.url=unix:$dir/redis -o redis.timeout_ms=20000 -o ingest.topics=shop -o kafka.bootstrap.servers=$servers"
"$freshet" simulate --events 400 --users 20 --items 30 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >log 2>err
"$freshet" convert log --topic shop -o kafka.bootstrap.servers="$servers" 2>err || fail "convert: $(cat err)"

checked run run --quiet $options -o state.dir="$dir/state" -o join.idle_ms=100 -o publish.every_ms=1000 -o train.batch_slates=3 2>run.log &
job=$!
checked serve serve $options -o serving.poll_ms=50 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
metric() { redis-cli -s redis hget fr:default:metrics "$1"; }
has() { [ "$(metric "$1")" -ge "$2" ] 2>/dev/null; }
wait_for 120 "400 events" has events_total 400
wait_for 60 port grep -q listening serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
wait_for 60 version curl -sf "$at/v2/health/ready"
for user in u1 u2 u3 nobody; do
    jq -cn --arg user $user '{user: $user, items: [range(10) | "i\(.)"]}' >body
    for i in 1 2 3; do
        curl -sf -m 60 -d @body "$at/v1/rerank" >answer || fail "a request failed"
    done
done
jq -cn --argjson time "$(tail -n 1 log | jq .time)" '{type: "purchase", time: ($time + 1000), user: "u1", item: "i1"}' >body
[ "$(curl -s -m 60 -o answer -w '%{http_code}' --data-binary @body "$at/v1/events")" = 202 ] || fail "the event was not taken: $(cat answer)"
wait_for 60 "the event that came through the scorer" has events_total 401
for name in run serve; do
    [ $name = run ] && pid=$job || pid=$scorer
    kill -TERM $pid
    rc=0
    wait $pid || rc=$?
    [ $rc -eq 0 ] || fail "$name ended with $rc"
done
job='' scorer=''
[ ! -s helgrind.run ] && [ ! -s helgrind.serve ] || fail "helgrind has something to say"
echo "helgrind_run: 401 events, 12 requests, $(redis-cli -s redis get 'fr:{default}:current') versions: no race, no lock error"

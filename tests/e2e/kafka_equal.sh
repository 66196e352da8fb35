#!/bin/sh
# kafka_equal.sh - a log written to Kafka by convert and read by run gives what replay gives of the file.
#
# On librdkafka's mock cluster.  One partition: the same figures and the same weight hash, also when the stream comes in
# two halves with a stop between them, and when the job is killed again and again.  Four partitions: each event once.
# labels: kafka redis
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "kafka_equal: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis' || { echo "kafka_equal: skipped, built without Kafka or Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "kafka_equal: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' job=''
end() {
    for pid in $job $kafka $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "kafka_equal: $*"; tail -n 30 err redis.log 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
wait_worth() { [ -z "$job" ] || kill -0 "$job" 2>/dev/null; }

redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" one:1 killed:1 four:4 >bootstrap 2>err &
kafka=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
servers=$(cat bootstrap)

# items without a user, lists, clicks and purchases; every click belongs to a list, so examples don't depend on the order in
# which partitions are read
"$freshet" simulate --events 4000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >log 2>err
head -n 2500 log >a
tail -n +2501 log >b
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=60000 -o join.organic=false
    -o train.batch_slates=3 -o kernels.threads=1"
produce() { # topic, file, events
    "$freshet" convert "$2" --topic "$1" -o kafka.bootstrap.servers="$servers" 2>produced || fail "convert $2"
    grep -q "^$3 records, $3 events, 0 rejected" produced || fail "convert $2: $(cat produced)"
}
metric() { redis-cli -s redis hget "fr:$model:metrics" "$1"; }
caught_up() { [ "$(metric events_total)" = "$1" ] && [ "$(metric lag_events)" = 0 ]; }
start() { # model (topic and state folder too), more options
    model=$1
    shift
    redis-cli -s redis del "fr:$model:metrics" >tried # what the last run said is not what this one says
    "$freshet" run --quiet $options -o model.name="$model" -o ingest.topics="$model" -o state.dir="$dir/$model" \
        -o kafka.bootstrap.servers="$servers" -o redis.url="unix:$dir/redis" -o ingest.membership=assign -o join.idle_ms=100 -o publish.every_ms=500 "$@" 2>err &
    job=$!
}
stop() {
    rc=0
    kill -TERM "$job"
    wait "$job" || rc=$?
    job=
    [ $rc -eq 0 ] || fail "run ended with $rc after SIGTERM"
}
replay() { "$freshet" replay --quiet --report "$1.json" $options -o state.dir="$dir/state.$1" "$2" 2>err || fail "replay $2"; }
sha256() { "$freshet" model versions --json "$dir/$1" 2>err | jq -r '[.state.versions[] | select(.newest)][0].sha256'; }
equal() { # model, report: everything that both say
    for pair in examples_total:examples slates_total:slates open_slates:open logloss:progressive.logloss gauc:progressive.gauc \
        auc:progressive.auc calibration:progressive.calibration; do
        want=$(jq ".${pair#*:}" "$2.json") have=$(metric "${pair%:*}")
        jq -ne --argjson a "$want" --argjson b "$have" '($a - $b) | fabs <= 1e-6 * (1 + ($a | fabs))' >tried || fail "$1: ${pair%:*} is $have, not $want as of replay"
    done
    [ "$(sha256 "$1")" = "$(jq -r .model.sha256 "$2.json")" ] || fail "$1: other weights than of replay"
}

# one partition, in two halves: the second run goes on where the first stopped
replay first a
replay whole log
[ "$(jq '.examples > 2000 and .unmatched == 0 and .late == 0 and .rejected == 0' whole.json)" = true ] || fail "a log of no use: $(cat whole.json)"
produce one a 2500
start one
wait_for 60 "end of the first half" caught_up 2500
stop
equal one first
produce one b 1500
start one
wait_for 60 "end of the second half" caught_up 4000
stop
equal one whole
start one # nothing is new: nothing is learnt twice
wait_for 60 "third start" caught_up 4000
stop
equal one whole
[ "$(redis-cli -s redis hget fr:one:info sha256)" = "$(jq -r .model.sha256 whole.json)" ] || fail "Redis names other weights"

# killed: half a stream is there when the first starts, the rest comes while it is shot at, as soon as one kill has left
# something to go on from; a busy machine is given longer each time
produce killed a 2500
kills=0 resumed=0 pause=3 rest=
while [ $kills -lt 5 ] || [ $resumed -eq 0 ]; do
    [ $kills -lt 20 ] || fail "none of $kills kills fell between the first checkpoint and the end"
    start killed -o state.checkpoint_every_ms=20
    if [ $resumed -gt 0 ] && [ -z "$rest" ]; then
        produce killed b 1500
        rest=1
    fi
    sleep "$((pause / 10)).$((pause % 10))"
    kill -KILL $job
    wait $job 2>tried || true
    job=
    kills=$((kills + 1))
    at=$("$freshet" model versions --json "$dir/killed" 2>tried | jq '[.state.versions[].examples] | max // 0')
    if [ "${at:-0}" -eq 0 ]; then
        pause=$((pause + 3))
    else
        [ "$at" -ge "$(jq .examples whole.json)" ] || resumed=$((resumed + 1))
        pause=$((pause > 7 ? pause : pause + 1))
    fi
done
[ -n "$rest" ] || produce killed b 1500
start killed
wait_for 60 "end after $kills kills" caught_up 4000
stop
equal killed whole

# four partitions: which is read first is the broker's, that each event is taken once is ours
produce four log 4000
start four
wait_for 60 "end of four partitions" caught_up 4000
stop
sum=$(($(metric slates_total) + $(metric open_slates)))
[ $sum -eq "$(grep -c '"type":"impression"' log)" ] || fail "four partitions: $sum slates"
for zero in rejected_total duplicates_total late_total unmatched_total; do
    [ "$(metric $zero)" = 0 ] || fail "four partitions: $zero is $(metric $zero)"
done
start four
wait_for 60 "second start of four" caught_up 4000
stop
[ $sum -eq $(($(metric slates_total) + $(metric open_slates))) ] || fail "four partitions: slates were made twice"
echo "kafka_equal: one partition the same weights, also after $kills kills; four partitions: $sum slates once"

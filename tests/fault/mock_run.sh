#!/usr/bin/env bash
# mock_run.sh - the whole of `freshet run` on a cluster whose answers are wrong: each kind of request, each code that a broker
# may give to it, brokers gone, slow and moved; on librdkafka's mock cluster.
#
# The learner never ends by itself, takes each event once (its report's chain of the partition is that of an undisturbed run)
# and learns the same weights.  test_mock_source tries every code there is on the source alone.  FRESHET_LONG=1 tries more that
# make a member join anew.
# labels: fault kafka
# timeout: 180
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[[ -x $freshet && -x $build/tests/mock_kafka ]] || { echo "mock_run: skipped, not built"; exit 77; }
[[ $("$freshet" --version) == *+kafka* ]] || { echo "mock_run: skipped, built without Kafka"; exit 77; }
for tool in jq kcat; do command -v $tool >/dev/null || { echo "mock_run: skipped, no $tool"; exit 77; }; done
dir=$(mktemp -d)
started=()
end() {
    for pid in "${started[@]}"; do kill -KILL "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "mock_run: $*"; tail -n 12 err; exit 1; }
: >err

mkfifo to from
"$build/tests/mock_kafka" -b 3 events-assign:1 events-group:1 letters-assign:1 letters-group:1 letters-calm:1 <to >from 2>mock.err &
started+=($!)
exec {to}>to {from}<from
read -rt 10 -u "$from" servers || fail "no mock cluster"
mock() {
    echo "$*" >&"$to"
    read -rt 10 -u "$from" said || fail "the mock does not answer to: $*"
    [[ $said == ok ]] || fail "$*: $said"
}
"$freshet" simulate --events 5400 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 20000 --no-best >good 2>err
awk '{ print } NR % 9 == 0 { printf "not json %d\n", NR }' good >messages # each tenth is a dead letter
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=10 -o join.window_ms=20000
    -o join.organic=false -o kernels.threads=1 -o kafka.bootstrap.servers="$servers" -o join.idle_ms=50 -o state.checkpoint_every_ms=50)
tune=()
for pair in fetch.error.backoff.ms=20 retry.backoff.ms=20 reconnect.backoff.ms=20 reconnect.backoff.max.ms=200 heartbeat.interval.ms=200 \
    session.timeout.ms=4500 fetch.wait.max.ms=20 topic.metadata.refresh.fast.interval.ms=50; do tune+=(-o "kafka.$pair"); done
run() { # NAME MEMBERSHIP: its topic and its letters' are named after it
    "$freshet" run --quiet --report "$1.json" "${options[@]}" "${tune[@]}" -o ingest.membership="$2" -o model.name="$1" \
        -o ingest.topics="${3:-events-$1}" -o ingest.dead_letters="topic:letters-$1" -o state.dir="$dir/$1" 2>err &
    learner=$!
    started+=($learner)
    name=$1
}
produced=0
produce() { # events
    sed -n "$((produced + 1)),$((produced + $1))p" messages | kcat -P -b "$servers" -t "events-$name" -p 0 2>kcat.err || fail "kcat: $(cat kcat.err)"
    produced=$((produced + $1))
}
unread() { # the first that the group has not stored; "?": no answer.  kcat may hang or abort when it has said all, and leaves
    timeout -s KILL 10 kcat -b "$servers" -X group.id="freshet-$name" -X enable.auto.commit=false -X auto.offset.reset=earliest -o stored \
        -C -t "$1" -p 0 -e -f '%o\n' >kcat.out 2>kcat.err || true
    grep -q 'Reached end' kcat.err || echo '?'
    head -n 1 kcat.out
}
taken() { # TOPIC: all that is there is learnt and durable
    for ((i = 0; i < 400; i++)); do
        kill -0 $learner 2>/dev/null || fail "$name: the learner ended during: $now"
        [[ -n $(unread "$1") ]] || return 0
        sleep 0.1
    done
    fail "$name: not all taken 40 s after: $now"
}
stop() {
    local rc=0
    kill -TERM $learner
    wait $learner || rc=$?
    ((rc == 0)) || fail "$name: ended with $rc"
}
try() { # WHAT COMMAND...: the trouble, and some events
    now=$1
    shift
    mock "$@"
    produce 60
    sleep 0.1
    kill -0 $learner 2>/dev/null || fail "$name: the learner ended during: $now"
    troubles=$((troubles + 1))
}
brokers() { # gone, slow, moved
    now='all brokers down'
    mock down -1
    sleep 1
    mock up -1
    try 'broker 2 back' up 2
    try 'slow' rtt -1 100
    mock rtt -1 0
    try 'another leader' leader "events-$name" 0 3
    try 'another coordinator' coordinator "freshet-$name" 2
    mock leader "events-$name" 0 -1
    sleep 0.3
    try 'a leader again' leader "events-$name" 0 1
}
troubles=0
commits='-195 -1 7 12 14 15 16 22 27 28 30'
run assign assign
for code in -195 -1 1 3 5 6 7 9 56 74 75 76; do try "Fetch $code" push 1 "$code" 2; done
for code in $commits; do try "OffsetCommit $code" push 8 "$code" 1; done
for code in 3 5 29; do try "Metadata $code" topic letters-assign "$code"; done
mock topic letters-assign 0
brokers
produce $((6000 - produced))
taken events-assign
stop
produced=0
run group group
produce 60
taken events-group
# each rejoin takes the mock 3 s and more, and is waited for: else they pile up
rejoin() { # WHAT COMMAND...
    try "$@"
    taken events-group
    for api in 8 11 12 14; do mock clear $api; done
}
heartbeats=27 commits='15 22' joins=16 syncs=''
[[ -z ${FRESHET_LONG:-} ]] || { heartbeats='-195 6 7 14 15 16 22 25 27' commits='-195 -1 7 12 14 15 16 22 25 27 28 30' joins='14 16 22 25' syncs='16 22 27'; }
for code in $heartbeats; do rejoin "Heartbeat $code" push 12 "$code" 1; done
for code in $commits; do rejoin "OffsetCommit $code" push 8 "$code" 1; done
for code in $joins; do
    mock push 11 "$code" 1
    rejoin "JoinGroup $code" push 12 27 1
done
for code in $syncs; do
    mock push 14 "$code" 1
    rejoin "SyncGroup $code" push 12 27 1
done
brokers
produce $((6000 - produced))
taken events-group
stop
run calm assign events-assign # the same events, and nothing happens
now=nothing
taken events-assign
stop
[[ $(jq .events calm.json) == 6000 && $(jq .rejected calm.json) == 600 ]] || fail "the calm run has $(jq -c '{events, rejected}' calm.json)"
for name in assign group; do
    for key in .events .rejected .slates .examples .duplicates .model.sha256 '.partitions[0].chain'; do
        [[ $(jq "$key" $name.json) == "$(jq "$key" calm.json)" && $(jq "$key" calm.json) != null ]] ||
            fail "$name: $key is $(jq "$key" $name.json), not $(jq "$key" calm.json)"
    done
    kcat -C -b "$servers" -t letters-$name -e -q -f '%o\n' 2>kcat.err | wc -l >letters
    [[ $(cat letters) -eq 600 ]] || fail "$name: $(cat letters) dead letters of 600"
done
echo "mock_run: $troubles troubles; 6000 events, 600 dead letters, the weights and the chain of an undisturbed run, twice"

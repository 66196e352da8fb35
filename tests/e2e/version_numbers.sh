#!/bin/sh
# version_numbers.sh - one number never means two contents: whoever begins beside a line that Redis knows goes on above it.
#
# An empty folder waits for a Redis that does not answer, then goes on with what it holds; --fresh, a replay into a new
# folder and an older copy of the folder put back by hand take numbers that nobody has seen.  The log of publications is
# the judge.
# labels: kafka redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "version_numbers: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis' || { echo "version_numbers: skipped, built without Kafka or Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "version_numbers: skipped, no $tool"; exit 77; }
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
fail() { echo "version_numbers: $*"; tail -n 12 err 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
wait_worth() { [ -z "$job" ] || kill -0 "$job" 2>/dev/null; }
start_redis() {
    redis-server --unixsocket "$dir/redis" --port 0 --dbfilename dump.rdb --save '' --appendonly no >redis.log 2>&1 &
    redis=$!
    wait_for 20 Redis redis-cli -s redis ping
}
stop_redis() {
    ask save >tried
    kill -KILL $redis
    wait $redis 2>tried || true
    redis=
}
"$build/tests/mock_kafka" events:1 second:1 >bootstrap 2>err &
kafka=$!
start_redis
wait_for 20 Kafka test -s bootstrap
servers=$(cat bootstrap)
ask() { redis-cli -s redis "$@"; }
state() { ask hget fr:default:info state; }
version() { ask get 'fr:{default}:current'; }

"$freshet" simulate --events 1500 --users 40 --items 80 --seed 4 --rate 5 --delay-ms 1000 --window-ms 5000 --no-best >log 2>err
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=5000 -o join.organic=false
    -o kernels.threads=1 -o redis.url=unix:$dir/redis -o redis.timeout_ms=500 -o state.checkpoint_every_ms=100" # more often than a version is published
for part in 1 2 3; do sed -n "$((part * 500 - 499)),$((part * 500))p" log >log.$part; done
produce() { "$freshet" convert "$1" --topic events -o kafka.bootstrap.servers="$servers" 2>tried || fail "convert $1"; }
run() { # state folder, options
    folder=$1
    shift
    : >err # what the run before said is not the word of this one: it would be stopped before it can be told
    "$freshet" run --quiet $options -o state.dir="$dir/$folder" -o kafka.bootstrap.servers="$servers" -o join.idle_ms=100 \
        -o ingest.membership=assign -o ingest.gaps=expected -o publish.every_ms=1000 "$@" 2>err &
    job=$!
}
stop() {
    rc=0
    kill -TERM $job
    wait $job || rc=$?
    job=
    [ $rc -eq 0 ] || fail "exit $rc"
}
above() { [ "$(version)" -gt "$1" ]; }
# Each number in the log has one SHA-256; the log goes upwards.
judge() {
    ask --json xrange 'fr:{default}:log' - + | jq -r '.[][1] | [range(0; length; 2) as $i | {key: .[$i], value: .[$i + 1]}]
        | from_entries | select(.kind == "publish")
        | "\(.version) \(.sha256)"' >published
    [ -s published ] || fail "no publication in the log"
    [ "$(sort -u published | wc -l)" -eq "$(sort -u published | cut -d ' ' -f 1 | sort -u | wc -l)" ] ||
        fail "$1: one number, two contents: $(sort -u published | tr '\n' ';')"
}

# --- a line
run state
wait_for 30 "the learner at work" eval '[ "$(state)" = learning ]'
produce log.1
wait_for 30 "a version" above 1
stop
cp -r state early
first=$(version)
run state
wait_for 30 "the learner at work" eval '[ "$(state)" = learning ]'
produce log.2
wait_for 30 "more versions" above "$first"
stop
newest=$(version)
judge "two runs"

# --- an empty folder, and Redis away: it waits, and ends when told; then it goes on with what Redis holds
stop_redis
run other
wait_for 20 "word of its waiting" grep -q 'warn warm .*waits="the folder is empty, and Redis does not say' err
sleep 1
kill -0 $job || fail "it ended while Redis was away"
[ -z "$(ls other/weights)" ] || fail "it made a version while Redis was away"
stop
run other --fresh
wait_for 20 "word of its waiting" grep -q 'warn warm .*waits="the folder is empty, and Redis does not say' err
stop
run other
wait_for 20 "word of its waiting" grep -q 'warn warm .*waits=' err
start_redis
wait_for 20 "warm start" grep -q "warn warm model=default version=$newest " err
wait_for 20 "a version above" above "$newest"
stop
judge "an empty folder"

# --- --fresh, a replay into another new folder, an older copy put back
newest=$(version)
run anew --fresh
wait_for 20 "a version above" above "$newest"
produce log.3
stop
judge "--fresh"
newest=$(version)
"$freshet" replay --quiet --report replayed.json $options -o state.dir=replayed log.2 2>err || fail "replay"
[ "$(jq .model.version replayed.json)" -gt "$newest" ] || fail "the replay took number $(jq .model.version replayed.json), $newest was there"
judge "a replay"
newest=$(version)
run early
wait_for 20 "a version above" above "$newest"
grep -q "warn warm .*published=$newest next_version_above=$newest" err || fail "it does not say what it goes on above"
stop
stop_at=$(ask get "fr:{default}:manifest:$(version)" | jq '[.offsets[] | .next] | add')
judge "an older copy"

# --- an empty folder and topics in another order: offsets go with their names; none of the names: refused
newest=$(version)
rc=0
run strange -o ingest.topics=second
wait $job || rc=$?
job=
[ $rc -ne 0 ] || fail "offsets of another topic were taken"
grep -q 'learnt from the topics events, ingest.topics is second, and no name is in both' err || fail "the refusal does not name both lists"
ask del fr:default:metrics >tried # what the run before said
run turned -o ingest.topics=second,events
wait_for 20 "warm start" grep -q "warn warm model=default version=$newest " err
wait_for 20 "a version above" above "$newest"
"$freshet" convert log.3 --topic second -o kafka.bootstrap.servers="$servers" 2>tried || fail "convert log.3"
wait_for 20 "the other topic's events" eval '[ "$(ask hget fr:default:metrics events_total)" = $((2000 - stop_at)) ]'
stop
[ "$(ask get "fr:{default}:manifest:$(version)" | jq -c '[.topics, ([.offsets[] | {(.topic | tostring): .next}] | add)]')" = \
    "[[\"second\",\"events\"],{\"1\":1500,\"0\":500}]" ] ||
    fail "offsets went to other names: $(ask get "fr:{default}:manifest:$(version)" | jq -c '[.topics, .offsets]')"
judge "topics in another order"
echo "version_numbers: $(sort -u published | wc -l) versions, $(wc -l <published) publications, no number twice"

#!/bin/sh
# standby.sh - one learner per model: a second is refused, a standby takes over, an owner that slept through it stops.
#
# One partition of a mock Kafka (read by assignment: the mock has no static members), one folder: whoever is killed, stopped or hung, the end is the figures and the
# weights of a replay of the whole log.
# labels: kafka redis
# timeout: 180
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "standby: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis' || { echo "standby: skipped, built without Kafka or Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "standby: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' owner='' second=''
end() {
    for pid in $owner $second $kafka $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "standby: $*"; tail -n 12 owner.err second.err 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
ended() { # pid, expected exit status, seconds
    wait_for "$3" "end of $1" eval "! kill -0 $1 || grep -q '^State:.Z' /proc/$1/status"
    rc=0
    wait "$1" || rc=$?
    [ $rc -eq "$2" ] || fail "ended with $rc, not $2"
}
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" events:1 alone:1 >bootstrap 2>owner.err &
kafka=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
servers=$(cat bootstrap)
ask() { redis-cli -s redis "$@"; }
metric() { ask hget fr:default:metrics "$1"; }
state() { ask hget fr:default:info state; }

"$freshet" simulate --events 4000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >log 2>owner.err
for part in 1 2 3 4; do sed -n "$((part * 1000 - 999)),$((part * 1000))p" log >log.$part; done
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=60000 -o join.organic=false
    -o train.batch_slates=3 -o kernels.threads=1"
"$freshet" replay --quiet --report whole.json $options -o state.dir="$dir/whole" log 2>owner.err || fail "replay"
produce() { "$freshet" convert "$2" --topic "$1" -o kafka.bootstrap.servers="$servers" 2>tried || fail "convert $2"; }
run() { # file for stderr, options
    file=$1
    shift
    exec "$freshet" run --quiet $options -o state.dir="$dir/state" -o kafka.bootstrap.servers="$servers" -o join.idle_ms=100 -o ingest.membership=assign -o ingest.gaps=expected \
        -o redis.url="unix:$dir/redis" -o publish.every_ms=500 -o state.checkpoint_every_ms=200 "$@" 2>"$file"
}
caught_up() { [ "$(metric events_total)" = "$1" ] && [ "$(metric lag_events)" = 0 ] && [ "$(state)" = learning ]; }

# --- an owner; a second is refused before it touches the folder, and names the first
produce events log.1
run owner.err &
owner=$!
wait_for 30 "owner at work" caught_up 1000
rc=0
(run second.err) || rc=$?
[ $rc -eq 1 ] || fail "a second learner ended with $rc"
grep -q "host $(hostname), pid $owner)" second.err || fail "the refusal does not name pid $owner: $(cat second.err)"

# --- a standby says for whom it waits, writes nothing of its own, and goes when told
run second.err --standby &
second=$!
wait_for 20 "word of the standby" grep -q "standby model=default .*pid $owner)" second.err
[ "$(state)" = learning ] || fail "the standby put state=$(state) over the owner's"
kill -TERM $second
ended $second 0 5
! grep '^[^ ]* warn' second.err >tried || fail "a standby that waits warns: $(head -3 tried)"

# --- the owner is killed: the standby takes over where its checkpoint is
run second.err --standby &
second=$!
wait_for 20 "word of the standby" grep -q "standby model=default" second.err
produce events log.2
kill -KILL $owner
wait $owner 2>tried || true
from=$(date +%s%N)
wait_for 12 "take-over" grep -q 'take-over .*ready_ms' second.err
killed_ms=$((($(date +%s%N) - from) / 1000000))
owner=$second second=''
mv second.err owner.err
wait_for 30 "second part" caught_up 2000

# --- the owner is stopped: the standby waits for the lease to end, and the sleeper finds itself out when it wakes
run second.err --standby &
second=$!
wait_for 20 "word of the standby" grep -q "standby model=default .*pid $owner)" second.err
epoch=$(ask get 'fr:{default}:lease' | jq .epoch)
kill -STOP $owner
produce events log.3
from=$(date +%s%N)
wait_for 15 "take-over from a stopped owner" grep -q 'take-over .*ready_ms' second.err
stopped_ms=$((($(date +%s%N) - from) / 1000000))
[ "$(ask get 'fr:{default}:lease' | jq .epoch)" -gt "$epoch" ] || fail "the new owner's epoch is no larger"
wait_for 30 "third part" caught_up 3000
in_force() { ask get "fr:{default}:manifest:$(ask get 'fr:{default}:current')" | jq .epoch; }
wait_for 10 "version of the new owner" eval '[ "$(in_force)" -gt "$epoch" ]'
kill -CONT $owner
ended $owner 1 5
grep -q "pid $second" owner.err || fail "the woken owner does not name pid $second: $(cat owner.err)"
[ "$(in_force)" -gt "$epoch" ] || fail "the woken owner published"
owner=$second second=''
mv second.err owner.err
produce events log.4
wait_for 30 "fourth part" caught_up 4000
kill -TERM $owner
ended $owner 0 5
owner=''
sum() { "$freshet" model versions --json "$dir/state" 2>tried | jq -r '[.state.versions[] | select(.newest)][0].sha256'; }
[ "$(sum)" = "$(jq -r .model.sha256 whole.json)" ] || fail "other weights than of a replay of the whole log"
[ "$(metric examples_total)" = "$(jq .examples whole.json)" ] || fail "$(metric examples_total) examples, not $(jq .examples whole.json)"

# --- without the state folder: on with the newest version in Redis, its offsets, users and items
version() { ask get 'fr:{default}:current'; }
before=$(version)
mv state kept
head -n 500 log >more # new events: at least the clicks' slates are new
run owner.err &
owner=$!
wait_for 20 "warm start" grep -q "warn warm model=default version=$before " owner.err
grep -q 'lost="optimiser moments' owner.err || fail "it does not say what is lost"
produce events more
wait_for 30 "events after the warm start" caught_up 500
[ "$(version)" -gt "$before" ] || fail "version $(version) after $before"
[ "$(metric users)" -ge 30 ] && [ "$(metric items)" -ge 60 ] || fail "$(metric users) users, $(metric items) items came back"
kill -TERM $owner
ended $owner 0 5
owner=''
rm -rf state
rc=0
(run second.err -o model.parts=numeric) || rc=$?
[ $rc -eq 1 ] || fail "another model's version was gone on with: $rc"
grep -q 'begin anew with --fresh' second.err || fail "no way out is named: $(cat second.err)"
run owner.err --fresh -o model.parts=numeric &
owner=$!
wait_for 30 "a line of its own" caught_up 4500
kill -TERM $owner
ended $owner 0 5
owner=''

# --- without Redis: the folder's lock alone; and a standby that waits for it
alone() { # file, options
    file=$1
    shift
    exec "$freshet" run --quiet $options -o state.dir="$dir/alone" -o kafka.bootstrap.servers="$servers" -o join.idle_ms=100 -o ingest.membership=assign -o ingest.gaps=expected \
        -o ingest.topics=alone -o state.checkpoint_every_ms=200 "$@" 2>"$file"
}
produce alone log.1
alone owner.err &
owner=$!
in_folder() { "$freshet" model versions --json "$dir/alone" 2>tried | jq -e '[.state.versions[].version] | max >= '"$1"; }
wait_for 30 "a version" in_folder 1
rc=0
(alone second.err) || rc=$?
[ $rc -eq 1 ] || fail "a second learner on the folder ended with $rc"
grep -q "$owner" second.err || fail "the refusal does not name pid $owner: $(cat second.err)"
alone second.err --standby &
second=$!
wait_for 20 "word of the standby" grep -q "standby model=default" second.err
kill -TERM $owner
ended $owner 0 5
wait_for 10 "take-over of the folder" grep -q 'take-over .*ready_ms' second.err
kill -TERM $second
ended $second 0 5
echo "standby: refused once, taken over ${killed_ms} ms after a kill, ${stopped_ms} ms after a stop, examples $(jq .examples whole.json) once"

#!/bin/sh
# disk_full.sh - a full disk pauses learning, says so everywhere, loses nothing, and learning goes on when there is room.
#
# State folder and dead letters lie on a real file system of 24 MiB, which is filled to the brim again and again while the job
# starts and reads one partition of librdkafka's mock; the end is the weights of a replay that had room.
# labels: kafka redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "disk_full: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis' || { echo "disk_full: skipped, built without Kafka or Redis"; exit 77; }
for tool in jq redis-server redis-cli kcat unshare; do
    command -v $tool >/dev/null || { echo "disk_full: skipped, no $tool"; exit 77; }
done
if [ "${DISK_FULL_INSIDE:-}" != 1 ]; then # mounts of our own, gone with the last process
    export DISK_FULL_INSIDE=1
    unshare -m true 2>/dev/null && exec unshare -m "$0" "$@"
    unshare -rm true 2>/dev/null && exec unshare -rm "$0" "$@"
    echo "disk_full: skipped, no mounts allowed here"
    exit 77
fi
dir=$(mktemp -d)
kafka='' redis='' job='' listener=''
end() {
    for pid in $job $kafka $redis $listener; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    umount "$dir/small" 2>/dev/null || true
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "disk_full: $*"; tail -n 12 err told 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
wait_worth() { [ -z "$job" ] || kill -0 "$job" 2>/dev/null; }
mkdir small
mount -t tmpfs -o size=24m tmpfs small 2>err || { echo "disk_full: skipped, $(cat err)"; exit 77; }
fill() { dd if=/dev/zero of=small/filler bs=4096 2>tried || true; }
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" events:1 >bootstrap 2>err &
kafka=$!
"$build/tests/notify_listen" "$dir/notify" >>told &
listener=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
wait_for 20 listener test -S notify
servers=$(cat bootstrap)
ask() { redis-cli -s redis "$@"; }
metric() { ask hget fr:default:metrics "$1"; }
state() { ask hget fr:default:info state; }

"$freshet" simulate --events 3000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best 2>err |
    awk '{ print } NR % 50 == 0 { printf "{\"type\":\"click\",\"broken\":%d\n", NR }' >log
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o model.user_bits=6 -o join.window_ms=60000 -o join.organic=false
    -o train.batch_slates=3 -o kernels.threads=1"
"$freshet" replay --quiet --report whole.json $options -o state.dir="$dir/whole" log 2>err || fail "replay"
produce() { sed -n "$1p" log | kcat -P -b "$servers" -t events 2>err || fail "kcat"; }
run() {
    : >err # here, not by the process: what the last one said is looked at no more
    NOTIFY_SOCKET="$dir/notify" "$freshet" run --quiet $options -o state.dir="$dir/small/state" -o join.idle_ms=100 -o ingest.membership=assign -o ingest.gaps=expected \
        -o kafka.bootstrap.servers="$servers" -o redis.url="unix:$dir/redis" -o state.checkpoint_every_ms=200 \
        -o publish.every_ms=300 -o ingest.dead_letters="$dir/small/dead.jsonl" 2>err &
    job=$!
}
taken() {
    events=$(metric events_total) rejected=$(metric rejected_total)
    [ $((${events:-0} + ${rejected:-0})) -ge "$1" ] && [ "$(state)" = learning ]
}

# --- full at the very start: it waits for room, whatever the first file is that finds none
for room in 0 4096 8192; do
    fill
    truncate -s -$room small/filler
    run
    if [ $room -lt 8192 ]; then
        wait_for 20 "word of the full disk" grep -q 'error paused state=.*next="goes on by itself' err
        grep -q 'STATUS=paused: disk full' told || fail "systemd was not told at the start"
        sleep 0.3
        kill -0 $job || fail "it ended on a full disk at its start"
    fi
    rm small/filler
    wait_for 20 "start once there is room" eval '[ "$(state)" = learning ]'
    rc=0
    kill -TERM $job
    wait $job || rc=$?
    job=
    [ $rc -eq 0 ] || fail "exit $rc after room was made at the start"
    rm -rf small/state small/dead.jsonl
    ask flushall >tried
done
: >told

run
produce 1,1000
wait_for 30 "first part" taken 1000
i=0
while [ $i -lt 2 ]; do
    fill
    from=$((1001 + i * 600))
    produce "$from,$((from + 599))"
    wait_for 20 "pause" eval '[ "$(state)" = "paused: disk full" ]'
    grep -q 'error paused state=.*next="goes on by itself' err || fail "the log does not say that learning is paused"
    grep -q 'STATUS=paused: disk full' told || fail "systemd was not told"
    [ "$(metric paused)" = 1 ] || fail "the metrics don't say that learning is paused"
    before=$(metric events_total)
    sleep 1.2
    [ "$(metric events_total)" = "$before" ] || fail "events were taken while it was paused"
    kill -0 $job || fail "it ended on a full disk"
    rm small/filler
    wait_for 20 "learning again" taken $((from + 599))
    grep -q 'info resumed paused_ms=' err || fail "the log does not say that it goes on"
    i=$((i + 1))
done

# --- told to stop while it is paused
fill
produce "2201,\$"
wait_for 20 "pause" eval '[ "$(state)" = "paused: disk full" ]'
version=$("$freshet" model versions --json small/state 2>tried | jq '[.state.versions[].version] | max')
rc=0
kill -TERM $job
wait $job || rc=$?
job=
[ $rc -eq 1 ] || fail "SIGTERM on a full disk: exit $rc"
grep -q "told to stop while learning is paused (.*what came since version $version is not durable and will be read again" err || fail "it does not say what is read again"
rm small/filler
run
wait_for 30 "end" taken "$(wc -l <log)"
rc=0
kill -TERM $job
wait $job || rc=$?
job=
[ $rc -eq 0 ] || fail "exit $rc"
sum() { "$freshet" model versions --json small/state 2>tried | jq -r '[.state.versions[] | select(.newest)][0].sha256'; }
[ "$(sum)" = "$(jq -r .model.sha256 whole.json)" ] || fail "other weights than of a replay with room"
[ "$(metric examples_total)" = "$(jq .examples whole.json)" ] || fail "$(metric examples_total) examples, not $(jq .examples whole.json)"
want=$(jq .rejected whole.json)
[ "$(wc -l <small/dead.jsonl)" -eq "$want" ] || fail "$(wc -l <small/dead.jsonl) dead letters of $want"
[ "$(jq -r .offset small/dead.jsonl | sort -u | wc -l)" -eq "$want" ] || fail "dead letters are doubled"
echo "disk_full: paused three times, $(jq .examples whole.json) examples once, $want dead letters once"

#!/bin/sh
# signals.sh - SIGTERM ends a job with exit 0 in under 5 s, whatever is away; SIGHUP reads the live keys again; systemd is told.
# labels: kafka redis
# timeout: 180
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "signals: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis.*+systemd' || { echo "signals: skipped, built without Kafka, Redis or systemd"; exit 77; }
for tool in jq redis-server redis-cli curl; do
    command -v $tool >/dev/null || { echo "signals: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' job='' listener=''
end() {
    for pid in $job $kafka $redis $listener; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "signals: $*"; tail -n 12 err told 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
now_ms() { echo $(($(date +%s%N) / 1000000)); }
worst=0
stop() { # what is tried, signal: exit 0 in under 5 s
    from=$(now_ms) rc=0
    kill "-${2:-TERM}" "$job"
    wait "$job" || rc=$?
    ms=$(($(now_ms) - from))
    job=
    [ $rc -eq 0 ] || fail "$1: exit $rc"
    [ $ms -lt 5000 ] || fail "$1: ended after $ms ms"
    [ $ms -le $worst ] || worst=$ms
}
start_redis() {
    redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
    redis=$!
    wait_for 20 Redis redis-cli -s redis ping
}
start_redis
"$build/tests/mock_kafka" events:1 busy:1 >bootstrap 2>err &
kafka=$!
"$build/tests/notify_listen" "$dir/notify" >>told &
listener=$!
wait_for 20 Kafka test -s bootstrap
wait_for 20 listener test -S notify
servers=$(cat bootstrap)
ask() { redis-cli -s redis "$@"; }
metric() { ask hget fr:default:metrics "$1"; }
state() { ask hget fr:default:info state; }

"$freshet" simulate --events 6000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >log 2>err
head -n 1000 log >few
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=60000 -o join.organic=false
    -o kernels.threads=1 -o redis.url=unix:$dir/redis"
for pair in events:few busy:log; do
    "$freshet" convert "${pair#*:}" --topic "${pair%:*}" -o kafka.bootstrap.servers="$servers" 2>err || fail "convert"
done
run() { # options
    : >err # here, not by the process: what the last one said is looked at no more
    "$freshet" run --quiet $options -o kafka.bootstrap.servers="$servers" -o join.idle_ms=100 -o ingest.membership=assign -o ingest.gaps=expected "$@" 2>err &
    job=$!
}
caught_up() { [ "$(metric events_total)" = "$1" ] && [ "$(metric lag_events)" = 0 ]; }
told() { grep -q "$1" told; }

# --- what systemd is told: readiness once the first batch can be taken, a status line, the watchdog while work goes on
cat >job.ini <<END
[publish]
every_ms = 400
features_ms = 60
[state]
checkpoint_every_ms = 300
END
export NOTIFY_SOCKET="$dir/notify" WATCHDOG_USEC=1000000
run --config job.ini -o state.dir="$dir/state" -o publish.features_ms=70
wait_for 30 "end of the events" caught_up 1000
wait_for 10 READY told 'READY=1'
wait_for 10 "status line" told 'STATUS=learning; version [1-9][0-9]*, .* events/s, 0 events behind'
wait_for 10 watchdog told 'WATCHDOG=1'
: >told
wait_for 10 "watchdog of an idle job" told 'WATCHDOG=1'
kill -STOP $job
sleep 0.3
: >told
sleep 0.8
! told 'WATCHDOG=1' || fail "a stopped job fed its watchdog"
kill -CONT $job

# --- SIGHUP: live keys are taken, flags stay above the file, others are named, a broken file changes nothing
sed -i 's/every_ms = 400/every_ms = 350/; s/features_ms = 60/features_ms = 90/' job.ini
printf '[train]\nseed = 9\n[serving]\njoint_top = 7\n' >>job.ini
kill -HUP $job
wait_for 10 "reload" grep -q 'reload key=publish.every_ms old=400 new=350' err
wait_for 10 "key named" grep -q 'reload key=train.seed changed="no: it needs a restart"' err
! grep -q 'key=publish.features_ms' err || fail "the file won over a flag"
wait_for 10 "RELOADING" told 'RELOADING=1 MONOTONIC_USEC='
wait_for 10 "READY after RELOADING" eval "sed '1,/RELOADING/d' told | grep -q 'READY=1'"
echo 'every_ms = soon' >>job.ini
kill -HUP $job
wait_for 10 "refusal" grep -q 'reload refused="job.ini:.*changed=nothing' err
stop "an idle job"
wait_for 10 STOPPING told 'STOPPING=1'
[ "$(state)" = stopped ] || fail "state=$(state) after a stop"
unset NOTIFY_SOCKET WATCHDOG_USEC

# --- SIGTERM in the middle of a backlog, and again while a batch is on; then the rest is there, once
ask del fr:default:metrics >tried
i=0
while [ $i -lt 3 ]; do
    run -o state.dir="$dir/busy" -o ingest.topics=busy -o model.name=busy
    wait_for 20 "word" eval '[ "$(ask hget fr:busy:info state)" = learning ]'
    sleep "0.$((i * 2))"
    stop "a busy job"
    i=$((i + 1))
done
ask del fr:busy:metrics >tried # what the run before said
run -o state.dir="$dir/busy" -o ingest.topics=busy -o model.name=busy
wait_for 60 "end of the backlog" eval '[ "$(ask hget fr:busy:metrics events_total)" = 6000 ]'
stop "a job at its end"
[ $(($(ask hget fr:busy:metrics slates_total) + $(ask hget fr:busy:metrics open_slates))) -eq "$(grep -c '"type":"impression"' log)" ] ||
    fail "slates lost or doubled over stops"

# --- SIGTERM with Redis gone, hung, and never there
run -o state.dir="$dir/state"
wait_for 30 "learning" eval '[ "$(state)" = learning ]'
kill -STOP $redis
sleep 0.2
stop "Redis hangs"
kill -CONT $redis
run -o state.dir="$dir/state"
wait_for 30 "learning" eval '[ "$(state)" = learning ]'
kill -STOP $redis
sleep 0.2
from=$(now_ms) rc=0
kill -INT $job
sleep 0.1
kill -INT $job # somebody at a terminal who does not want to wait
wait $job 2>tried || rc=$?
job=
[ $rc -eq 130 ] || fail "two SIGINT: $rc"
[ $(($(now_ms) - from)) -lt 1000 ] || fail "two SIGINT did not end the job at once"
kill -KILL $redis
wait $redis 2>tried || true
run -o state.dir="$dir/state"
sleep 1
stop "Redis never there" INT
start_redis

# --- with Kafka gone while it runs, and never there (during start-up)
run -o state.dir="$dir/state" -o kafka.bootstrap.servers=127.0.0.1:1
sleep 0.7
stop "Kafka never there"
grep -q 'stopped before="the first batch"' err || fail "it does not say that it had not begun"
run -o state.dir="$dir/state" -o history.max_bytes=1000000000000000
wait_for 30 "learning" eval '[ "$(state)" = learning ]'
wait_for 10 "warning of memory" grep -q 'warn memory bound_mib=.* less than all bounds together' err
kill -KILL $kafka
wait $kafka 2>tried || true
kafka=
sleep 0.5
stop "Kafka gone"

# --- in the first 100 ms: a stop is a stop, and SIGHUP ends nothing
handlers_are_set() { grep -q '^SigCgt:.*[4-7c-f]..[13579bdf]$' "/proc/$job/status"; }
early() { # what, signal, ms in seconds
    wait_for 10 "handlers of $1" handlers_are_set
    sleep "$3"
    if [ "$2" = HUP ]; then
        kill -HUP "$job"
        sleep 0.1
    fi
    stop "$1, $2 after $3 s"
}
for after in 0.005 0.02 0.05 0.1; do
    for signal in TERM HUP; do
        run -o state.dir="$dir/state"
        early run $signal $after
        "$freshet" serve --listen 127.0.0.1:0 -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
            -o kernels.threads=1 -o redis.url="unix:$dir/redis" 2>err &
        job=$!
        early serve $signal $after
    done
done

# --- a replay
"$freshet" replay --quiet $options -o model.name=log -o state.dir="$dir/log.state" --speed 20x log 2>err &
job=$!
sleep 0.7
stop "a replay"
"$freshet" model versions --json "$dir/log.state" 2>err | jq -e '[.state.versions[].version] | max >= 1' >tried || fail "the replay left no version"

# --- a scorer: ready when it has a version, live keys with the next request
export NOTIFY_SOCKET="$dir/notify" WATCHDOG_USEC=1000000
printf '[serving]\nmax_items = 10\n' >serve.ini
: >told
"$freshet" serve --config serve.ini --listen 127.0.0.1:0 -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
    -o kernels.threads=1 -o redis.url="unix:$dir/redis" 2>err &
job=$!
wait_for 20 "scorer" grep -q 'listening address' err
port=$(sed -n 's/.*listening .*port=\([0-9]*\).*/\1/p' err)
rerank() { curl -s -o answer -w '%{http_code}' "http://127.0.0.1:$port/v1/rerank" -d '{"user":"u1","items":["a","b","c"]}'; }
wait_for 20 "version" eval '[ "$(rerank)" = 200 ]'
wait_for 10 "READY of the scorer" told 'READY=1'
wait_for 10 "status of the scorer" told 'STATUS=serving; version [1-9]'
wait_for 10 "watchdog of the scorer" told 'WATCHDOG=1'
sed -i 's/10/2/' serve.ini
kill -HUP $job
wait_for 10 "the scorer's new bound" eval '[ "$(rerank)" = 413 ]'
stop "a scorer"
wait_for 10 "STOPPING of the scorer" told 'STOPPING=1'
echo "signals: every stop exit 0, the slowest after $worst ms"

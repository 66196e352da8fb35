#!/bin/sh
# swap_faults.sh - a scorer through everything that may happen to it and to its Redis, with requests all the while: no Redis
# at the start, a wrong password, kill -9 of Redis, FLUSHALL, versions that are damaged, missing, rolled back, two scorers at
# once, kill -9 of a scorer, SIGTERM with requests under way beside clients that dawdle.
#
# labels: redis fault
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] && [ -x "$build/tests/swap_load" ] || { echo "swap_faults: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis.*+http' || { echo "swap_faults: skipped, built without Redis or HTTP"; exit 77; }
for tool in jq curl bash redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "swap_faults: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
publisher='' scorer='' other='' load='' redis='' slow=''
end() {
    for pid in $slow $load $scorer $other $publisher $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "swap_faults: $*"; tail -n 8 publisher.err serve.log load.err 2>/dev/null; head -c 1000 answer 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
now_ms() { date +%s%3N; }
options="model.hashed_bits=12 kernels.threads=1"

# --- scorers
start() { # log; sets $port; the pid is $!
    set -- "$1" $options
    log=$1
    shift
    args=
    for option in "$@"; do args="$args -o $option"; done
    : >"$log" # here, not by the process: what an earlier one said of its port is gone
    "$freshet" serve $args -o model.base="$dir/base" -o redis.url="unix:$dir/at/socket" -o redis.timeout_ms=300 \
        -o serving.poll_ms=20 -o serving.drain_ms=2000 --listen 127.0.0.1:0 2>"$log" &
}
port_of() { sed -n 's/.* listening .* port=\([0-9]*\) .*/\1/p' "$1"; }
ask() { # wanted status, path, more for curl
    want=$1 path=$2
    shift 2
    got=$(curl -s -m 20 -o answer -w '%{http_code}' "$@" "http://127.0.0.1:$port$path") || fail "curl failed at $path"
    [ "$got" = "$want" ] || fail "$path answers $got, not $want"
}
holds() { jq -e "$1" answer >tried || fail "the answer has not: $1"; }
says() { curl -s -m 20 "http://127.0.0.1:$port/v2/health/ready" | jq -e "$1"; }
metric() { curl -sf "http://127.0.0.1:$port/metrics" | sed -n "s/^freshet_$1 //p"; }
load() { # more for swap_load
    "$build/tests/swap_load" "$port" table 4 60 "$@" >loaded 2>load.err &
    load=$!
}
unload() { # what
    kill -TERM $load 2>tried || true
    rc=0
    wait $load || rc=$?
    load=''
    [ $rc -eq 0 ] || fail "requests failed during $1: $(cat loaded)"
    echo "swap_faults: $1: $(jq -c '{requests, failed, degraded, p99_ms, max_ms}' loaded)"
}

# --- no Redis at the start; the base folder is there
mkfifo commands
"$build/tests/swap_publish" table $options <commands >said 2>publisher.err &
publisher=$!
exec 3>commands
wait_for 60 publisher grep -q '^ready ' said
real=$(sed -n 's/^ready unix:\([^ ]*\) .*/\1/p' said)
ln -s "$(sed -n 's/^ready [^ ]* //p' said)" base
start serve.log
scorer=$!
wait_for 60 port grep -q ' listening ' serve.log
port=$(port_of serve.log)
wait_for 20 "word of Redis" says '.error.message | test("Redis is away")'
ask 200 /v2/health/live
ask 503 /v2/health/ready
ask 503 /v1/rerank -d '{"items":["i1"]}'
holds '.error.code == "no_model" and (.error.message | test("Redis is away"))'
ask 200 /v1/models
holds '.models == [] and .fetch.state == "redis_away" and .fetch.failures >= 1'
ln -s "${real%/*}" at
cli() { redis-cli -s "$real" "$@" >tried; }
wait_for 20 "word of nothing" says '.error.message | test("published none")'
echo 'versions 1 0' >&3
wait_for 20 "version 1" says '.version == 1 and .fetch.state == "ok"'

# --- versions that are damaged, missing, rolled back; the publisher sleeps, since it would mend them
stands() { ! grep -h '^State:' /proc/"$1"/task/*/status | grep -qv 'T (stopped)'; }
stand() { # process: all its threads, which go on until the one that takes the signal has run
    kill -STOP "$1"
    wait_for 20 "process $1 to stand" stands "$1"
}
pause_publisher() { stand $publisher; }
publish_unseen() { # N: a version that the scorer meets only after the commands given
    stand $scorer
    echo 'versions 1 0' >&3
    wait_for 20 "version $1" grep -qx "done $1" said
    pause_publisher
}
goes_on() { kill -CONT $scorer; }
publish_unseen 2
byte=$(redis-cli -s "$real" getrange 'fr:{default}:chunk:2:0' 30000 30000 | od -An -tx1 | cut -c2-3)
cli copy 'fr:{default}:chunk:2:0' kept
cli setrange 'fr:{default}:chunk:2:0' 30000 "$([ "$byte" = 41 ] && echo B || echo A)"
goes_on
load
wait_for 20 "refusal" says '.version == 1 and .fetch.state == "refused" and .fetch.reason == "chunk" and .fetch.version == 2 and .fetch.failures >= 3'
[ "$(metric refused_version)" = 2 ] || fail "the metric of the refused version"
[ "$(metric 'fetch_failures_total{reason="chunk"}')" -ge 3 ] || fail "the failures are not counted"
cli copy kept 'fr:{default}:chunk:2:0' replace
wait_for 20 "version 2" says '.version == 2 and .fetch.state == "ok"'
cli set 'fr:{default}:current' 999
wait_for 20 "refusal of 999" says '.version == 2 and .fetch.reason == "manifest" and .fetch.version == 999'
cli set 'fr:{default}:current' 1
wait_for 20 "rollback" says '.version == 1 and .fetch.state == "ok"'
cli set 'fr:{default}:current' 2
wait_for 20 "version 2 again" says '.version == 2'
kill -CONT $publisher
unload "damage and rollback"

# --- a second scorer, and kill -9 of it
start other.log
other=$!
wait_for 60 "second port" grep -q ' listening ' other.log
first=$port
port=$(port_of other.log)
wait_for 20 "the second scorer's version" says '.version == 2'
kill -KILL $other
wait $other 2>tried || true
from=$(now_ms)
start other.log
other=$!
wait_for 60 "second port" grep -q ' listening ' other.log
port=$(port_of other.log)
wait_for 20 "the second scorer's version" says '.version == 2'
echo "swap_faults: ready $(($(now_ms) - from)) ms after kill -9 of the scorer and its new start"
kill -TERM $other
wait $other || fail "the second scorer ended with $?"
other=''
port=$first

# --- a password that the scorer has not; then Redis hangs; then kill -9 of Redis
load degraded
cli config set requirepass secret
redis-cli -s "$real" -a secret --no-auth-warning client kill type normal >tried || true
wait_for 20 "word of the password" says '.ready and .fetch.state != "ok"'
redis-cli -s "$real" -a secret --no-auth-warning config set requirepass '' >tried
wait_for 20 "recovery" says '.fetch.state == "ok"'
unload "a wrong password"
load degraded
pid=$(redis-cli -s "$real" info server | tr -d '\r' | sed -n 's/^process_id://p')
kill -STOP "$pid"
wait_for 20 "word of a Redis that hangs" says '.ready and .fetch.state == "redis_away"'
sleep 1
kill -CONT "$pid"
wait_for 20 "recovery" says '.fetch.state == "ok"'
unload "a Redis that hangs"
load degraded
kill -KILL "$pid"
wait_for 20 "word of Redis" says '.ready and .fetch.state == "redis_away"'
age=$(says .age_ms)
sleep 0.3
[ "$(says .age_ms)" -ge $((age + 300)) ] || fail "its version does not age"
unload "kill -9 of Redis"
# without 3: else the publisher's commands would never end
redis-server --unixsocket "$real" --port 0 --save '' --appendonly no >redis.log 2>&1 3>&- &
redis=$!
from=$(now_ms)
load status
wait_for 20 "recovery" says '.fetch.state == "ok"'
echo "swap_faults: $(($(now_ms) - from)) ms from the new start of Redis to a scorer that follows it"
cli flushall
echo 'versions 1 0' >&3
wait_for 20 "version 3" says '.version == 3'
unload "a new Redis and FLUSHALL"

# --- SIGTERM with requests under way, beside connections that dawdle: half a head, half a body, nothing
bash -c 'for text in "" "POST /v1/rerank HTTP/1.1\r\nHost: " "POST /v1/rerank HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\n{"; do
    for i in 1 2 3 4 5; do exec {fd}<>/dev/tcp/127.0.0.1/'"$port"' && printf "$text" >&$fd; done; done; exec sleep 60' 2>slow.err &
slow=$!
load status
wait_for 20 connections sh -c "[ \"\$(curl -sf http://127.0.0.1:$port/metrics | sed -n 's/^freshet_connections //p')\" -ge 19 ]"
from=$(now_ms)
kill -TERM $scorer
rc=0
wait $scorer || rc=$?
took=$(($(now_ms) - from))
scorer=''
[ $rc -eq 0 ] || fail "serve ended with $rc"
[ $took -lt 5000 ] || fail "the end took $took ms with serving.drain_ms=2000"
unload "SIGTERM ($took ms beside 15 dawdling connections)"
kill -KILL $slow
slow=''
exec 3>&-
wait $publisher || fail "the publisher ended with $?"
publisher=''

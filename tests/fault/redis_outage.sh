#!/bin/sh
# redis_outage.sh - Redis stops, dies, is flushed and comes back older while a learner runs: it learns the same, and at the end
# Redis holds the same as if nothing had happened.
# labels: redis fault
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "redis_outage: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "redis_outage: skipped, built without Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "redis_outage: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' replica='' learner=''
end() {
    for pid in $learner $redis $replica; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "redis_outage: $*"; tail -n 12 err 2>/dev/null; exit 1; }
ask() { redis-cli -s redis.sock "$@"; }
. "$source/tests/support/wait.sh"
start() { # socket: a server without a disk
    rm -f "$1"
    redis-server --unixsocket "$dir/$1" --port 0 --save '' --appendonly no --repl-diskless-sync-delay 0 --enable-debug-command yes \
        >>redis.log 2>&1 &
    started=$!
    wait_for 20 Redis redis-cli -s "$1" ping
}
contents() { # users and items with their bytes, and the version in force
    for kind in user item; do
        ask --scan --pattern "fr:default:$kind:*" | sort | while read -r key; do echo "$key $(ask dump "$key" | sha256sum)"; done
    done
    ask get 'fr:{default}:manifest:'"$(ask get 'fr:{default}:current')" | jq -c '[.sha256, .examples]'
}
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=1
    -o redis.url=unix:$dir/redis.sock -o redis.timeout_ms=500 -o publish.every_ms=200"
"$freshet" simulate --events 3000 --users 60 --items 40 --seed 5 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err

start redis.sock
redis=$started
"$freshet" replay --quiet --report calm.json $options -o state.dir=calm log 2>err || fail "replay"
contents >calm.txt
[ "$(wc -l <calm.txt)" -ge 80 ] || fail "only $(wc -l <calm.txt) records"
kill -KILL $redis
wait $redis 2>/dev/null || true

# --- the same log at a pace, with all that may happen to Redis in between
start redis.sock
redis=$started
"$freshet" replay --report rough.json $options -o state.dir=rough --speed 14x log >out 2>err &
learner=$!
version() { [ "$(ask get 'fr:{default}:current' || true)" -gt "$1" ] 2>/dev/null; }
here() { kill -0 $learner 2>/dev/null || fail "the learner is gone"; }
wait_for 30 "version" version 0
kill -STOP $redis # hangs: accepts, never answers
sleep 1.5
kill -CONT $redis
now=$(ask get 'fr:{default}:current')
wait_for 10 "version after the stop" version "$now"
here
kill -KILL $redis # dies, comes back empty
wait $redis 2>/dev/null || true
sleep 0.5
start redis.sock
redis=$started
wait_for 10 "version after the restart" version "$now"
here
ask flushall >tried # flushed
wait_for 10 "version after FLUSHALL" version "$now"
here
start replica.sock # a replica that falls behind and is promoted at the first one's death
replica=$started
port=$((20000 + $(od -An -N2 -tu2 /dev/urandom) % 30000))
ask config set port $port >tried
redis-cli -s replica.sock replicaof 127.0.0.1 $port >tried
synced() { redis-cli -s replica.sock info replication | grep -q 'master_link_status:up' && [ -n "$(redis-cli -s replica.sock get 'fr:{default}:current')" ]; }
wait_for 20 "replica" synced
redis-cli -s replica.sock replicaof no one >tried
old=$(redis-cli -s replica.sock get 'fr:{default}:current')
sleep 1.5
version "$old" || fail "the first one is no further than its replica"
here
kill -KILL $redis
wait $redis 2>/dev/null || true
redis=$replica replica=''
mv replica.sock redis.sock
now=$old
wait_for 10 "version on the promoted replica" version "$now"
rc=0
wait $learner || rc=$?
learner=
[ $rc = 0 ] || fail "the learner ended with $rc"
[ "$(jq -r .model.sha256 rough.json)" = "$(jq -r .model.sha256 calm.json)" ] || fail "it learnt something else"
contents >rough.txt
diff calm.txt rough.txt >differ || fail "Redis holds something else: $(head -n 5 differ)"
[ "$(grep -c 'lost what was published' err)" -ge 3 ] || fail "a loss was not noticed: $(grep -c 'lost what was published' err)"
echo "redis_outage: stopped, killed, flushed, replaced by an older one; $(wc -l <calm.txt) lines of contents equal"

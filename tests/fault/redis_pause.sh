#!/bin/sh
# redis_pause.sh - a learner that is stopped for longer than its lease and wakes up finds itself fenced: nothing of it reaches
# Redis, it names its successor and ends.
# labels: redis fault
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "redis_pause: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "redis_pause: skipped, built without Redis"; exit 77; }
for tool in redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "redis_pause: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' first='' second=''
end() {
    for pid in $first $second $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "redis_pause: $*"; tail -n 8 first.log second.log 2>/dev/null; exit 1; }
ask() { redis-cli -s redis.sock "$@"; }
. "$source/tests/support/wait.sh"
redis-server --unixsocket "$dir/redis.sock" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
wait_for 20 Redis redis-cli -s redis.sock ping
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=1
    -o redis.url=unix:$dir/redis.sock -o publish.every_ms=100 -o publish.features_ms=20"
"$freshet" simulate --events 30000 --users 60 --items 40 --seed 5 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >long 2>err
head -n 800 long >short
version() { [ -n "$(ask get 'fr:{default}:current')" ]; }
"$freshet" replay --quiet $options -o state.dir=one --speed 50x long 2>first.log &
first=$!
wait_for 30 "version of the first" version
kill -STOP $first

# a stopped process is no dead one: while its lease lasts nobody takes over
rc=0
"$freshet" replay --quiet $options -o state.dir=two short 2>second.log || rc=$?
[ $rc = 1 ] || fail "a second learner ended with $rc while the first one's lease lasts"
grep -q "pid $first)" second.log || fail "it does not name pid $first"
gone() { [ "$(ask exists 'fr:{default}:lease')" = 0 ]; }
wait_for 15 "end of the lease" gone
"$freshet" replay --quiet $options -o state.dir=two --speed 50x long 2>second.log &
second=$!
owned() { ask get 'fr:{default}:lease' | grep -q "\"pid\":$second,"; }
wait_for 20 "lease of the second" owned
epoch=$(ask hget fr:default:info epoch)
[ "$epoch" -ge 2 ] || fail "the second one's epoch is $epoch"
kill -STOP $second # holds still, its lease lasts: whatever changes now is the first one's doing
sleep 0.2
contents() { ask --scan | sort | while read -r key; do echo "$key $(ask dump "$key" | sha256sum)"; done; }
contents >before
kill -CONT $first
rc=0
wait $first || rc=$?
pid=$first first=
[ $rc = 1 ] || fail "the first one ended with $rc"
grep -q "pid $second)" first.log || fail "the first one does not name pid $second: $(tail -n 2 first.log)"
contents >after
grep -v ':lease ' before >b && grep -v ':lease ' after >a
cmp -s a b || fail "the one that woke up wrote: $(diff b a | head -n 3)"
kill -CONT $second
next() { [ "$(ask hget fr:default:info beat)" -gt "$1" ]; }
beat=$(ask hget fr:default:info beat)
wait_for 10 "sign of life of the second" next "$beat"
kill -TERM $second
rc=0
wait $second || rc=$?
second=
[ $rc = 0 ] || fail "the second one ended with $rc"
[ "$(ask exists 'fr:{default}:lease')" = 0 ] || fail "it did not give the lease back"
echo "redis_pause: pid $pid fenced by epoch $epoch; $(wc -l <before) keys as they were"

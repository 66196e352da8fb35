#!/bin/sh
# redis_refill.sh - a flushed Redis is filled again in slices of the learner's time: every user and item, none of them held up by
# more than a blink.
# labels: redis fault
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "redis_refill: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "redis_refill: skipped, built without Redis"; exit 77; }
for tool in redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "redis_refill: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis=''
end() {
    for pid in $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "redis_refill: $*"; tail -n 8 err; exit 1; }
redis-server --unixsocket "$dir/redis.sock" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
for _ in $(seq 400); do redis-cli -s redis.sock ping >tried 2>&1 && break || sleep 0.05; done
options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=12 -o join.window_ms=10000
    -o kernels.threads=1 -o redis.url=unix:$dir/redis.sock -o history.users=500 -o state.dir=state"
"$freshet" simulate --events 90000 --users 60000 --items 400 --seed 5 --rate 50 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
"$freshet" replay --quiet $options log 2>err || fail "replay"
contents() { # every record, by its bytes
    redis-cli -s redis.sock --scan --pattern 'fr:default:[ui][st]e[rm]:*' | sort >keys
    awk '{ print "dump " $0 }' keys | redis-cli -s redis.sock | sha256sum >sum
    wc -l <keys >>sum
    cat sum
}
contents >before
users=$(grep -c ':user:' keys)
[ "$users" -ge 10000 ] || fail "only $users users"
redis-cli -s redis.sock flushall >tried
"$freshet" replay --quiet $options /dev/null 2>err || fail "resume"
contents >after
cmp -s before after || fail "other contents: $(cat before after)"
line=$(grep ' refill stored_users=' err) || fail "no word of the refill"
slices=$(echo "$line" | sed 's/.*slices=\([0-9]*\).*/\1/')
longest=$(echo "$line" | sed 's/.*longest_slice_ms=\([0-9]*\).*/\1/')
[ "$slices" -ge 2 ] || fail "all in $slices slice: $line"
[ "$longest" -le 300 ] || fail "a slice of $longest ms: $line"
echo "redis_refill: ${line#*refill }"

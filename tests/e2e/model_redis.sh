#!/bin/sh
# model_redis.sh - freshet model versions on a private Redis: what is kept, what is in force, the log; an order that
# nobody answers.
# labels: redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "model_redis: skipped, $freshet is not built"; exit 77; }
command -v redis-server >/dev/null || { echo "model_redis: skipped, redis-server is not installed"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "model_redis: skipped, built without Redis"; exit 77; }
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
redis=
trap '[ -z "$redis" ] || kill $redis; rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "model_redis: $*"; cat out err redis.log 2>/dev/null; exit 1; }
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
for _ in $(seq 100); do
    redis-cli -s redis ping >out 2>&1 && break
    kill -0 $redis || fail "Redis did not start"
    sleep 0.05
done
url=unix:$dir/redis
"$freshet" model versions -o redis.url="$url" >out 2>err || fail "versions of an empty Redis"
grep -q 'nothing is published' out || fail "an empty Redis has versions"

tiny_bert base
"$freshet" simulate --events 1200 --users 30 --items 40 --no-best --delay-ms 2000 --window-ms 10000 >log.jsonl 2>err
"$freshet" replay log.jsonl --flush --publish-every 60 --quiet -o state.dir=state -o model.base=base -o join.window_ms=10000 \
    -o model.hashed_bits=10 -o redis.url="$url" >out 2>err || fail "replay"
current=$(redis-cli -s redis get 'fr:{default}:current')
"$freshet" model versions state -o redis.url="$url" >out 2>err || fail "versions"
grep -qE "^ +$current .* newest\$" out || fail "the state folder's newest is not $current"
grep -qE "^ +$current  [0-9a-f]{12} .* in force" out || fail "version $current is not in force"
grep -qE "^20.*publish +version $current " out || fail "the log does not name version $current"
"$freshet" model versions -o redis.url="$url" --json --log 1 >out 2>err || fail "JSON"
if command -v jq >/dev/null; then
    jq -e ".redis.in_force == $current and (.redis.log | length) == 1 and (.redis.versions | map(select(.in_force)) | length) == 1" out >/dev/null ||
        fail "JSON of Redis"
fi
# --- an order that nobody answers: gone by itself after a while whatever comes, and taken back though Redis was away
redis-cli -s redis set 'fr:{default}:lease' '{"owner":"nobody"}' >out
"$freshet" model unpin -o redis.url="$url" -o redis.timeout_ms=200 --wait 1 >out 2>err &
order=$!
for _ in $(seq 200); do
    [ "$(redis-cli -s redis llen 'fr:{default}:commands')" = 0 ] || break
    sleep 0.02
done
ttl=$(redis-cli -s redis ttl 'fr:{default}:commands')
[ "$ttl" -ge 20 ] || fail "the order's time is $ttl"
kill -STOP $redis
sleep 1.5
kill -CONT $redis
rc=0
wait $order || rc=$?
[ "$rc" -eq 1 ] || fail "exit $rc of an order without an answer"
[ "$(redis-cli -s redis llen 'fr:{default}:commands')" = 0 ] || fail "the order is still there: $(cat err)"

kill $redis
wait $redis || true
redis=
rc=0
"$freshet" model versions -o redis.url="$url" >out 2>err || rc=$?
[ "$rc" -eq 1 ] || fail "exit $rc without a server"
grep -q "$url" err || fail "the message does not name the server"

#!/bin/sh
# serve_events.sh - POST /v1/events of a scorer: what is good is in the topic, in order and whole, before 202 is said; a bad
# line keeps the whole body out, as too many do; without a broker the answer is 503, and nobody else waits for it.
#
# On librdkafka's mock cluster.
# labels: kafka redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "serve_events: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka.*+redis.*+http' || { echo "serve_events: skipped, built without Kafka, Redis or HTTP"; exit 77; }
for tool in jq curl kcat redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "serve_events: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' scorer=''
end() {
    for pid in $scorer $kafka $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "serve_events: $*"; tail -n 10 serve.log 2>/dev/null; cat answer 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"

redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" shop:1 >bootstrap 2>err &
kafka=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
"$freshet" serve -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 \
    -o redis.url="unix:$dir/redis" -o ingest.topics=shop,other -o kafka.bootstrap.servers="$(cat bootstrap)" \
    -o kafka.message.timeout.ms=3000 -o serving.threads=2 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
wait_for 20 port grep -q listening serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
post() { # wanted status; the body is on stdin
    got=$(curl -s -m 60 -o answer -w '%{http_code}' --data-binary @- "$at/v1/events") || fail "curl failed"
    [ "$got" = "$1" ] || fail "$got, not $1"
}
# What the topic holds, one message a line.
topic() { kcat -C -b "$(cat bootstrap)" -t shop -p 0 -o beginning -e -q -f '%k %s\n' 2>kcat.err || fail "kcat: $(cat kcat.err)"; }

for i in 1 2 3; do
    echo "{\"type\":\"click\",\"time\":176722560000$i,\"user\":\"u$i\",\"item\":\"i$i\"}"
done >good
post 202 <good
[ "$(jq .accepted answer)" = 3 ] || fail "not three accepted"
awk '{ printf "u%d %s\n", NR, $0 }' good >want
topic >got
cmp -s want got || fail "the topic holds: $(cat got)"

{ cat good; echo '{"type":"click","time":1767225600004,"user":"u4"}'; } | post 400 # no item
jq -e '.error.code == "invalid_event" and (.error.message | startswith("line 4"))' answer >tried || fail "another error"
printf 'nonsense' | post 400
printf '\n \n' | post 400
yes "$(head -n 1 good)" | head -n 10001 | post 413
topic >got
cmp -s want got || fail "a refused body left something: $(cat got)"

kill -KILL "$kafka"
wait "$kafka" 2>tried || true
kafka=''
posts=''
for i in 1 2 3 4; do
    curl -s -m 20 -o "answer$i" -w '%{http_code}' --data-binary @good "$at/v1/events" >"code$i" &
    posts="$posts $!"
done
sleep 0.5 # they are in
for i in 1 2 3; do
    [ "$(curl -s -m 2 -o answer -w '%{http_code}' "$at/v2/health/live")" = 200 ] || fail "not alive while events wait for Kafka"
done
[ ! -s code1 ] || [ ! -s code2 ] || [ ! -s code3 ] || [ ! -s code4 ] || fail "no post waited while health was asked"
for pid in $posts; do wait "$pid" || fail "a post was not answered"; done # one waits for Kafka, not each in its turn
for i in 1 2 3 4; do
    [ "$(cat "code$i")" = 503 ] || fail "$(cat "code$i"), not 503"
    jq -e '.error.code == "intake_away"' "answer$i" >tried || fail "another error"
done
post 503 <good # at once, or after another try
jq -e '.error.code == "intake_away"' answer >tried || fail "another error"
kill -TERM "$scorer"
wait "$scorer" || fail "exit status $?"
scorer=''
echo "serve_events: 202 after Kafka has it, 400 and 503 leave nothing behind"

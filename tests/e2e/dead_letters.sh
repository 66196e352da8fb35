#!/bin/sh
# dead_letters.sh - a rejected message is kept once and whole, whatever is killed, and can be tried again once.
#
# Events with bad ones among them go through run, which is shot at: every bad message's letter is in the file exactly once,
# and in the topic exactly once, with its own bytes.  check says what they are and what to do.  replay --dead-letters tries
# them again into the same state folder, as often as one likes: what was learnt is not learnt twice.
# labels: kafka
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "dead_letters: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+kafka' || { echo "dead_letters: skipped, built without Kafka"; exit 77; }
for tool in jq kcat; do
    command -v $tool >/dev/null || { echo "dead_letters: skipped, no $tool"; exit 77; }
done
kills=${DEAD_LETTERS_KILLS:-8}
dir=$(mktemp -d)
kafka='' job=''
end() {
    for pid in $job $kafka; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "dead_letters: $*"; tail -n 20 err 2>/dev/null; exit 1; }
: >err

# --- a log of 6,000 messages, each tenth bad in one of five ways, as the topic has them
"$freshet" simulate --events 5400 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 20000 --no-best >good 2>err
awk '{ print } NR % 9 == 0 { k = NR / 9 % 5; n++
    if (k == 0) printf "not json %d\n", n
    if (k == 1) printf "{\"type\":\"view\",\"time\":1767225600,\"user\":\"u%d\",\"item\":\"i1\"}\n", n
    if (k == 2) printf "{\"type\":\"wishlist\",\"time\":1767225600000,\"user\":\"u%d\",\"item\":\"i1\"}\n", n
    if (k == 3) printf "{\"type\":\"view\",\"user\":\"u%d\",\"item\":\"i1\"}\n", n
    if (k == 4) printf "{\"type\":\"view\",\"time\":1767225600000,\"user\":\"u%d\xff\",\"item\":\"i1\"}\n", n }' good >messages
LC_ALL=C grep -avxFf good messages >bad
[ "$(wc -l <bad)" -eq 600 ] && [ "$(wc -l <messages)" -eq 6000 ] || fail "$(wc -l <bad) bad of $(wc -l <messages)"

"$build/tests/mock_kafka" events:2 letters:3 >bootstrap 2>err &
kafka=$!
for _ in $(seq 200); do [ -s bootstrap ] && break; sleep 0.02; done
servers=$(cat bootstrap)
kcat -P -b "$servers" -t events -p 0 -H trace=abc -H trace=def -l messages 2>err || fail "kcat: $(cat err)"

options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=10 -o join.window_ms=20000
    -o kernels.threads=1 -o kafka.bootstrap.servers=$servers -o ingest.topics=events -o ingest.membership=assign"
start() { # state folder, where the letters go
    "$freshet" run --quiet $options -o state.dir="$dir/$1" -o ingest.dead_letters="$2" -o state.checkpoint_every_ms=20 \
        -o model.name="$1" -o join.idle_ms=50 2>>err &
    job=$!
}
unread() { # model: the first offset behind what the group was told after the newest checkpoint; nothing at the end
    kcat -b "$servers" -X group.id="freshet-$1" -X enable.auto.commit=false -X auto.offset.reset=earliest -o stored -C -t events -p 0 -e -q -f '%o\n' 2>tried | head -n 1
}
shoot() { # state folder, letters
    i=0
    while [ $i -lt "$kills" ]; do
        start "$1" "$2"
        sleep "0.$(((i * 7 + 11) % 40 + 12))"
        kill -KILL $job
        wait $job 2>tried || true
        i=$((i + 1))
    done
    start "$1" "$2"
    for _ in $(seq 400); do
        kill -0 $job 2>tried || fail "run ended by itself"
        [ -n "$(unread "$1")" ] || break
        sleep 0.1
    done
    sleep 0.2
    rc=0
    kill -TERM $job
    wait $job || rc=$?
    job=''
    [ $rc -eq 0 ] || fail "run ended with $rc after SIGTERM"
}
once() { # file of letters: each bad message once, with its bytes, its place and its headers
    jq -se 'length == 600 and ([.[] | [.topic, .partition, .offset]] | unique | length) == 600' "$1" >tried ||
        fail "$1: $(wc -l <"$1") letters, $(jq -c '[.topic, .partition, .offset]' "$1" | sort | uniq -d | wc -l) places twice"
    jq -r .value_base64 "$1" | while read -r value; do echo "$value" | base64 -d; echo; done >values
    LC_ALL=C sort values >have
    LC_ALL=C sort bad | cmp -s - have || fail "$1: other bytes than the bad messages"
    jq -se 'all(.[]; .topic == "events" and .stage == "parse" and .headers == {trace: ["abc", "def"]} and .time > 1600000000000)' "$1" >tried ||
        fail "$1: other headers, times or stages: $(head -n 1 "$1")"
}

# --- a file: cut back at each start
shoot file "$dir/letters"
once letters

# --- a topic: read back at each start
shoot topic topic:letters
kcat -C -b "$servers" -t letters -e -q -J 2>tried | jq -c '[.headers as $h | range(0; $h | length; 2) | {($h[.]): $h[. + 1]}] | add' >headers
[ "$(wc -l <headers)" -eq 600 ] || fail "$(wc -l <headers) letters in the topic"
jq -se '(map(.["__connect.errors.topic"] + .["__connect.errors.partition"] + "/" + .["__connect.errors.offset"]) | unique | length) == 600
    and all(.[]; .["__connect.errors.connector.name"] == "freshet-topic" and .["__connect.errors.task.id"] == "0"
        and .["__connect.errors.stage"] == "parse" and (.["__connect.errors.class.name"] | length) > 0
        and (.["__connect.errors.exception.class.name"] | length) > 0 and (.["__connect.errors.exception.message"] | length) > 0
        and (.["freshet.reason"] | length) > 0)' headers >tried || fail "headers of the topic: $(head -n 1 headers)"
"$freshet" check --dead-letters topic:letters --save saved -o kafka.bootstrap.servers="$servers" >out 2>err || fail "check of the topic: $(cat out)"
once saved
jq -S 'del(.time)' -c letters | sort >a
jq -S 'del(.time)' -c saved | sort | cmp -s - a || fail "file and topic hold other letters"

# --- what they are, when, and what to do
"$freshet" check --dead-letters letters >out 2>err || fail "check: $(cat out)"
for line in 'dead letters *letters: 600' 'parse *bad_json *120$' 'parse *unknown_type *120$' 'parse *time_seconds *120$' 'parse *missing_time *120$' \
    'parse *bad_utf8 *120$' ' from 20.*Z to 20.*Z' 'events 0:[0-9]*: not json' '-> declare it' '-> the producer sends seconds'; do
    grep -q -- "$line" out || fail "no '$line' in the summary: $(cat out)"
done

# --- tried again, into the folder that refused them, as they are and with bytes mended by hand
again() { # report, file, where what is still bad goes
    "$freshet" replay --quiet --dead-letters --report "$1" $options -o model.name=file -o state.dir="$dir/file" -o ingest.dead_letters="$dir/$3" "$2" 2>err ||
        fail "replay of $2: $(cat err)"
    jq -se 'all(.[]; .topic == "events" and .headers == {trace: ["abc", "def"]})' "$3" >tried || fail "letters refused again lost their place or headers: $(head -n 1 "$3")"
}
mend() { # reason, what, by what
    jq -c --arg r "$1" --arg a "$2" --arg b "$3" 'if .reason == $r then .value_base64 |= (@base64d | sub($a; $b) | @base64) else . end'
}
duplicates=0
tried_again() { # report, still bad, letters learnt before
    [ "$(wc -l <"still.$1")" -eq "$2" ] || fail "$1: $(wc -l <"still.$1") letters still bad, not $2"
    had=$duplicates
    duplicates=$(jq .duplicates "$1")
    [ $((duplicates - had)) -eq "$3" ] || fail "$1: $((duplicates - had)) letters were known as learnt, not $3"
}
again first letters still.first
duplicates=$(jq .duplicates first)
[ "$(wc -l <still.first)" -eq 600 ] || fail "$(wc -l <still.first) letters still bad when nothing was mended"
mend unknown_type wishlist view <letters >mended
again second mended still.second
tried_again second 480 0
again third mended still.third
tried_again third 480 120
mend time_seconds 1767225600 1767225600000 <still.third >more # the letters of the second try are letters too
again fourth more still.fourth
tried_again fourth 360 0
mend time_seconds 1767225600 1767225600000 <mended >all
again fifth all still.fifth
tried_again fifth 360 240
jq -e '.events == 6000 + 4 * 600 + 480' fifth >tried || fail "$(jq .events fifth) events in all"
[ "$(wc -l <letters)" -eq 600 ] || fail "the letters were changed by trying them again"

# --- a retry that is killed goes on where it was: 60,000 letters, of which 12,000 are good now
mend unknown_type wishlist view <saved | jq -c 'range(100) as $i | .offset += 10000 * $i' >many
retry() { # more options
    exec "$freshet" replay --quiet --dead-letters $options -o model.name=topic -o state.dir="$dir/topic" -o ingest.dead_letters="$dir/rest" \
        -o state.checkpoint_every_ms=10 "$@" many 2>>err
}
for pause in 15 18 21; do
    retry &
    job=$!
    sleep 0.$pause
    kill -KILL $job 2>tried || true
    ! wait $job 2>tried || fail "the retry ended before it could be killed"
    job=''
done
(retry --report killed) || fail "replay after kills"
jq -se '(length == 48000) and ([.[] | [.topic, .partition, .offset]] | unique | length) == 48000' rest >tried ||
    fail "$(wc -l <rest) letters of 48000 that are still bad after a killed retry"
[ "$(jq .duplicates killed)" -eq 0 ] || fail "letters were learnt before they were tried: $(jq .duplicates killed)"
jq -e '.events == 66000' killed >tried || fail "$(jq .events killed) events in all"
echo "dead_letters: 600 of 6000 rejected; file and topic each hold each of them once after $kills kills; tried again five times, learnt once"

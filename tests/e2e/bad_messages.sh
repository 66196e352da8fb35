#!/bin/sh
# bad_messages.sh - hundreds of bad messages between good ones: each is refused for its own reason, its bytes are kept, and
# what is learnt is, to the bit, what is learnt without them.
#
# From a file and through Kafka (librdkafka's mock cluster); messages that are odd but right do no harm either; events from
# the year 2999 neither settle a list nor move the watermark for good.
# labels: quick kafka redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -x "$freshet" ] || { echo "bad_messages: skipped, $freshet is not built"; exit 77; }
for tool in jq cmp; do
    command -v $tool >/dev/null || { echo "bad_messages: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
kafka='' redis='' job=''
end() {
    for pid in $job $kafka $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "bad_messages: $*"; tail -n 20 err 2>/dev/null; exit 1; }
mix() { "$build/tests/bad_messages" "$1" "$2" "$3" <"$4" >"$5" || fail "no $2 messages of $1 in $4"; }
# no negatives are drawn: a draw is named by its message's place in the log, which bad messages before it move
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=60000 -o join.organic=false
    -o train.batch_slates=3 -o kernels.threads=1"
replay() { # report, arguments
    report=$1
    shift
    # shellcheck disable=SC2086  # a list of options
    "$freshet" replay --quiet --report "$report" $options "$@" 2>err || fail "replay $*"
}
is() { # file, jq expression
    jq -e "$2" "$1" >tried || fail "$1 has not: $2, but $(jq -c '{events, rejected, rejects, examples, open, model}' "$1")"
}
same_model() { # report, as report
    [ "$(jq -c '[.examples, .slates, .open, .model.sha256]' "$1")" = "$(jq -c '[.examples, .slates, .open, .model.sha256]' "$2")" ] ||
        fail "$1: other examples or weights than $2: $(jq -c '[.examples, .slates, .open, .model.sha256]' "$1" "$2")"
}
# the dead letters are the bad messages: each for its reason, in their order, byte for byte
same_letters() { # letters
    jq -r .reason "$1" | cmp -s - bad_messages.reasons ||
        fail "$1: other reasons: $(jq -r .reason "$1" | diff - bad_messages.reasons | head -n 5)"
    jq -r .value_base64 "$1" | cmp -s - bad_messages.base64 || fail "$1: bytes of a message were changed"
    jq -se 'all(.[]; (.message | length) > 0 and .stage == "parse")' "$1" >tried || fail "$1: a letter without a reason or from elsewhere"
}
counts_of_reasons() { sort bad_messages.reasons | uniq -c | jq -Rn '[inputs | capture("(?<n>[0-9]+) (?<k>.*)") | {(.k): (.n | tonumber)}] | add'; }

# --- from a file
"$freshet" simulate --events 3000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >good 2>err
replay good.json good
is good.json '.examples > 1000 and .rejected == 0 and .open > 0'
mix native bad 20000000 good mixed
bad=$(wc -l <bad_messages.reasons)
[ "$bad" -ge 400 ] || fail "only $bad bad messages"
replay mixed.json -o ingest.dead_letters=letters mixed
is mixed.json ".events == 3000 + $bad and .rejected == $bad and .rejects == $(counts_of_reasons)"
same_model mixed.json good.json
same_letters letters

# --- every message again, from its dead letter: refused for the same reason, and none is lost (those that were too long were cut)
replay again.json --dead-letters -o ingest.dead_letters=still letters
is again.json ".events == $bad and .rejected == $bad"
jq -r .value_base64 still | cmp -s - bad_messages.base64 || fail "dead letters tried again have other bytes"

# --- the other formats
"$freshet" convert good >native 2>err || fail "convert"
jq -c 'def fields: to_entries | map(select(.key | IN("title", "category", "brand", "price"))) | map({name: .key, value});
    if .type == "item" then {event: "item", id: "x", timestamp: "\(.time)", item, fields: fields}
    elif .type == "impression" then {event: "ranking", id: .request, timestamp: "\(.time)", user, items: [.items[] | {id: .}]}
    else {event: "interaction", id: "e\(input_line_number)", timestamp: "\(.time)", user, item, type, ranking: .request} end' native >meta
replay meta.json --schema metarank meta
mix metarank bad 20000000 meta mixed
replay mixed.json --schema metarank -o ingest.dead_letters=letters mixed
is mixed.json ".rejected == $(wc -l <bad_messages.reasons) and .rejects == $(counts_of_reasons)"
same_model mixed.json meta.json
same_letters letters
printf '[time]\nformat = %%Y-%%m-%%d %%H:%%M:%%S\n[fields]\ntime = t\nitem = i\nuser = u\ntitle = n\nprice = p | number\nquantity = q | abs\n[constants]\ntype = purchase\n' >map.ini
{
    echo t,i,u,n,p,q
    for i in $(seq 10 59); do echo "2026-01-01 00:00:$i,i$((i % 7)),u$((i % 5)),red lantern,3.5,1"; done
} >table
csv="--schema csv --map map.ini -o join.organic=true -o join.negatives=0 --flush"
# shellcheck disable=SC2086  # a list of options
replay table.json $csv table
mix csv bad 20000000 table mixed
# shellcheck disable=SC2086
replay mixed.json $csv -o ingest.dead_letters=letters mixed
is mixed.json ".rejected == $(wc -l <bad_messages.reasons) and .rejects == $(counts_of_reasons) and .events == 50 + .rejected"
same_letters letters

# --- odd, but right: prices of any size, times of any year; figures stay numbers, and weights finite (export refuses others)
mix native ok 20000000 good mixed
replay odd.json -o state.dir="$dir/odd" -o ingest.dead_letters=letters mixed
is odd.json '.rejects | keys == ["time_jump"]'
is odd.json '[.progressive | .. | numbers] | length >= 6'
is odd.json '[.progressive, .parts | .. | select(. == null)] == []'
is odd.json ".examples >= $(jq .examples good.json)"
"$freshet" model export out $options -o state.dir="$dir/odd" 2>err || fail "the weights learnt from odd messages can't be exported"

# --- one event from the year 2999, and one more later: neither settles a list nor moves the watermark for good
far='{"type":"click","time":"2999-01-01T00:00:00Z","user":"u1","item":"i1"}'
{ head -n 1000 good; echo "$far"; sed -n 1001,2000p good; echo "$far"; tail -n +2001 good; } >far
replay far.json -o ingest.dead_letters=letters far
is far.json '.rejects == {time_jump: 2}'
same_model far.json good.json
jq -r .value_base64 letters | base64 -d | cmp -s - "$(printf '%s%s' "$far" "$far" >twice; echo twice)" || fail "the year 2999 has not its bytes among the dead letters"

# --- through Kafka
"$freshet" --version | grep -q '+kafka.*+redis' || exit 0
command -v kcat >/dev/null && command -v redis-server >/dev/null || exit 0
. "$source/tests/support/wait.sh"
wait_worth() { [ -z "$job" ] || kill -0 "$job" 2>/dev/null; }
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
"$build/tests/mock_kafka" shop:1 >bootstrap 2>err &
kafka=$!
wait_for 20 Redis redis-cli -s redis ping
wait_for 20 Kafka test -s bootstrap
{ head -n 1500 far; echo "$far"; tail -n +1501 far; } >further
mix native bad 900000 further mixed
kcat -q -P -b "$(cat bootstrap)" -t shop -p 0 -l mixed 2>err || fail "kcat"
# shellcheck disable=SC2086
"$freshet" run --quiet $options -o model.name=shop -o ingest.topics=shop -o state.dir="$dir/state" -o redis.url="unix:$dir/redis" \
    -o kafka.bootstrap.servers="$(cat bootstrap)" -o ingest.membership=assign -o join.idle_ms=100 -o publish.every_ms=500 \
    -o ingest.dead_letters=letters.kafka 2>err &
job=$!
caught_up() { [ "$(redis-cli -s redis hget fr:shop:metrics events_total)" = "$(wc -l <mixed)" ]; }
wait_for 30 "events in the metrics" caught_up
kill -TERM $job
rc=0
wait $job || rc=$?
job=
[ $rc -eq 0 ] || fail "run ended with $rc after SIGTERM"
sha=$("$freshet" model versions --json "$dir/state" 2>err | jq -r '[.state.versions[] | select(.newest)][0].sha256')
[ "$sha" = "$(jq -r .model.sha256 good.json)" ] || fail "through Kafka other weights are learnt"
jq -c 'select(.reason == "time_jump")' letters.kafka | wc -l | grep -qx 3 || fail "through Kafka the year 2999 is not refused three times"
jq -c 'select(.reason != "time_jump")' letters.kafka >others
same_letters others

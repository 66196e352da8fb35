#!/bin/sh
# model_warm.sh - states made beforehand: a scorer that starts with them computes none and answers bit by bit as one without.
# labels: redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "model_warm: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis.*+http' || { echo "model_warm: skipped, built without Redis or HTTP"; exit 77; }
for tool in jq curl redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "model_warm: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' scorer='' warming=''
end() {
    for pid in $warming $scorer $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "model_warm: $*"; tail -n 5 err serve.log 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"
model="-o model.base=$source/tests/fixtures/uncased"
options="$model -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=2"
warm() { # wanted status, arguments
    want=$1 rc=0
    shift
    "$freshet" model warm "$@" >out 2>err || rc=$?
    [ $rc -eq "$want" ] || fail "model warm $* ended with $rc, not $want"
    [ ! -s out ] || fail "model warm writes to stdout"
}
says() { grep -q -- "$1" err || fail "no '$1' on stderr"; }
figure() { sed -n "s/.* $1=\([0-9]*\) .*/\1/p" err; }

"$freshet" simulate --events 3000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
wait_for 20 Redis redis-cli -s redis ping
learn() { # report, state folder, more options
    report=$1 state=$2
    shift 2
    "$freshet" replay --quiet $options "$@" -o state.dir="$dir/$state" --report "$report" log 2>err || fail "replay to $report"
}
learn plain.json state -o redis.url="unix:$dir/redis"

# --- what cannot be: nothing is written
warm 2 $model --out states
says 'no catalogue is named'
warm 2 $model log
says 'kernels.states_dir'
warm 1 $model --out states --state nowhere
says 'is no state folder'
warm 1 $model --out states missing.log
says 'missing.log'
warm 1 $model --out states -o model.parts=numeric log
says 'model.parts=numeric reads no sentences'
warm 1 $model --out states --redis -o redis.url="unix:$dir/none"
says 'redis'
warm 1 -o model.base="$source/tests/fixtures/zh" --out states --state state
says 'another base model'
[ "$(find states -type f 2>/dev/null | wc -l)" -eq 0 ] || fail "files after failures: $(ls states)"

# --- the file: made once, kept the second time to the byte; the same from a log, a state folder and Redis
warm 0 $model --out states log
made=$(figure sentences)
[ "$(figure new)" -eq "$made" ] && [ "$made" -gt 150 ] || fail "$(figure new) of $made sentences are new"
file=$(ls states/*.states)
[ "$(ls states | wc -l)" -eq 1 ] && [ "$(stat -c %s "$file")" -eq "$(figure bytes)" ] || fail "it said otherwise: $(ls -l states)"
cp "$file" first
warm 0 $model --out states log
[ "$(figure kept) $(figure new) $(figure dropped)" = "$made 0 0" ] || fail "a second run does not keep all"
cmp "$file" first || fail "a second run writes other bytes"
warm 1 $model --out states - </dev/null
says 'no item'
cmp "$file" first || fail "an empty catalogue touches the file"
head -n 20 log >few
warm 0 $model --out states --add few
[ "$(figure kept) $(figure dropped)" = "$made 0" ] || fail "--add drops sentences"
warm 0 $model --out states few
[ "$(figure dropped)" -gt 0 ] && [ "$(figure new)" -eq 0 ] || fail "what is gone is not dropped"
warm 0 --out of_state --state state $model
warm 0 --out of_redis --redis -o redis.url="unix:$dir/redis" $options
[ "$(stat -c %s of_state/*.states)" -eq "$(stat -c %s of_redis/*.states)" ] || fail "state folder and Redis tell of different sentences"
warm 0 $model --out states --state state log --quiet

mkdir empty
"$freshet" check $model -o kernels.states_dir="$dir/states" >out 2>err || true
grep -q '^ok  *states .*1 files' out || fail "check does not see the file"
"$freshet" check $model -o kernels.states_dir="$dir/empty" >out 2>err || true
grep -q '^warn  *states .*0 files' out || fail "check does not miss the file"

# --- stopped by a signal: what was computed stays, and the next run goes on
mkfifo slow
"$freshet" model warm $model --out stopped --quiet - <slow 2>err &
warming=$!
exec 3>slow
head -n 600 log >&3
wait_for 20 "temporary file" sh -c 'ls stopped/*.tmp'
kill -INT $warming
tail -n +601 log >&3 2>/dev/null || true
exec 3>&-
rc=0
wait $warming || rc=$?
warming=
[ $rc -eq 1 ] || fail "after a signal it ends with $rc"
says 'stopped by a signal'
warm 0 $model --out stopped log
[ "$(figure kept)" -gt 0 ] || fail "nothing is kept of what was stopped"
[ "$(ls stopped | wc -l)" -eq 1 ] || fail "left behind: $(ls stopped)"

# --- a learner: the same weights; another kind of entry is another file in the same folder
learn warm.json warm_state -o kernels.states_dir="$dir/states" -o redis.url="unix:$dir/redis" -o model.name=warm
grep -q 'info states file=' err || fail "the learner does not say that it has a file"
[ "$(jq .model.sha256 plain.json)" = "$(jq .model.sha256 warm.json)" ] || fail "the file of states changes what is learnt"
metric() { redis-cli -s redis hget fr:warm:metrics "$1"; }
[ "$(metric state_file_hits_total)" -gt 100 ] || fail "the learner read $(metric state_file_hits_total) from the file"
awk -v f="$(metric state_hit_frac)" 'BEGIN { exit !(f > 0.5 && f < 1) }' || fail "hit rate $(metric state_hit_frac)"
"$freshet" top --once --json -o redis.url="unix:$dir/redis" -o model.name=warm | jq -e '.metrics.state_entries > 100' >tried || fail "top has no state_entries"
warm 0 $options --out states -o model.item_view=tokens log
[ "$(ls states | wc -l)" -eq 2 ] || fail "token states share a file: $(ls states)"
learn tokens.json tokens_state -o model.item_view=tokens
learn warm_tokens.json warm_tokens_state -o model.item_view=tokens -o kernels.states_dir="$dir/states"
[ "$(jq .model.sha256 tokens.json)" = "$(jq .model.sha256 warm_tokens.json)" ] || fail "token states change what is learnt"

warm 0 $options --out states -o kernels.precision=bf16 log
[ "$(ls states | wc -l)" -eq 3 ] || fail "precisions share a file: $(ls states)"
learn bf16.json bf16_state -o kernels.precision=bf16
learn warm_bf16.json warm_bf16_state -o kernels.precision=bf16 -o kernels.states_dir="$dir/states"
[ "$(jq .model.sha256 bf16.json)" = "$(jq .model.sha256 warm_bf16.json)" ] || fail "states in bf16 change what is learnt"
[ "$(jq .model.sha256 bf16.json)" != "$(jq .model.sha256 plain.json)" ] || fail "bf16 is f32"

# --- a scorer, when Redis has no states: none is computed, and the answers are the same to the last digit
redis-cli -s redis --scan --pattern 'fr:default:state:*' | xargs redis-cli -s redis del >tried
serve() { # more options
    rm -f serve.log
    "$freshet" serve $options -o redis.url="unix:$dir/redis" -o serving.poll_ms=20 --listen 127.0.0.1:0 "$@" 2>serve.log &
    scorer=$!
    wait_for 20 "port" grep -q 'listening' serve.log
    at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
    wait_for 20 "version" curl -sf "$at/v2/health/ready"
}
ask_all() { # file
    for user in $(seq 0 2 39); do
        jq -cn --arg user "u$user" '{user: $user, items: ([range(80) | "i\(.)"] + ["strange"]), explain: true, time: 1800000000000}' |
            curl -sf -m 20 -d @- "$at/v1/rerank" | jq -c .items
    done >"$1"
    curl -sf "$at/metrics" >metrics
}
counts() { awk -v name="freshet_$1" '$1 == name { print $2 }' metrics; }
stop() {
    kill -TERM $scorer
    wait $scorer || fail "serve ended with $?"
    scorer=
}
serve
ask_all cold
[ "$(counts states_computed_total)" -gt 100 ] || fail "without the file only $(counts states_computed_total) states were computed"
[ "$(counts state_file_hits_total)" -eq 0 ] || fail "no file, but it was read"
stop
serve -o kernels.states_dir="$dir/states"
ask_all warmed
[ "$(counts states_computed_total)" -eq 0 ] || fail "$(counts states_computed_total) states were computed beside the file"
[ "$(counts state_file_hits_total)" -gt 100 ] || fail "the file was not read"
awk -v f="$(counts state_hit_frac)" 'BEGIN { exit !(f > 0.8 && f < 1) }' || fail "hit rate $(counts state_hit_frac)"
cmp cold warmed || fail "answers differ with states from the file"
stop

# --- a damaged record is computed, and said; a damaged file is left alone, and said
tokens=$(ls -S states/*.states | head -n 1)
plain=$file
printf '\377' | dd of="$plain" bs=1 seek=100 conv=notrunc 2>/dev/null
serve -o kernels.states_dir="$dir/states"
ask_all damaged
[ "$(counts state_file_damaged_total)" -eq 1 ] || fail "$(counts state_file_damaged_total) damaged records were counted"
grep -q 'warn states .*damaged' serve.log || fail "the damaged record is not in the log"
cmp cold damaged || fail "a damaged record was served"
stop
cp "$tokens" "$plain"
serve -o kernels.states_dir="$dir/states"
grep -q 'warn states left=.*token states' serve.log || fail "a file of another kind is not refused by name"
ask_all other
cmp cold other || fail "a file of another kind was read"
stop
warm 0 $model --out states log
says 'anew=.*token states'
[ "$(figure kept)" -eq 0 ] || fail "it kept states of another kind"

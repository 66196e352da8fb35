#!/usr/bin/env bash
# kill_all.sh - SIGKILL to the broker, to Redis, to a scorer, to the learner, and to all of them at once.
#
#   kill_all.sh [--rounds N] [--seed N]      the short form is one round, a long one --rounds 50
#
# A second scorer survives; what is asked of it all the while never fails.  Events come between the kills.  Afterwards each
# of them was learnt once, Redis (which lost everything each time) holds the newest version, and both scorers serve it.
# labels: broker kafka redis fault
# timeout: 500
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"

rounds=1 seed=$RANDOM
while (($# > 0)); do
    case $1 in
    --rounds) rounds=$2 ;;
    --seed) seed=$2 ;;
    *) sed -n '2,/^# labels/{/labels/d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
    esac
    shift 2
done
stream_begin kill_all curl
[[ $("$freshet" --version) == *+http* ]] || skip "built without HTTP"
RANDOM=$seed
echo "kill_all: seed $seed"
victims=(learner broker redis scorer all)
steps=$((rounds * ${#victims[@]} + 1)) each=500 # events of one step

options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 -o join.window_ms=20000 -o join.organic=false
    -o kernels.threads=1 -o join.idle_ms=200 -o state.checkpoint_every_ms=100 -o publish.every_ms=200 -o redis.url="unix:$dir/redis"
    -o redis.timeout_ms=1000 -o serving.poll_ms=50 -o model.name=shop)
stream_redis
stream_kafka
options+=(-o kafka.bootstrap.servers="$servers" -o ingest.topics=shop)
broker() { KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" "$@" >tried 2>&1 || fail "kafka.sh $*: $(tail -n 2 tried)"; }
broker topic shop 4
"$freshet" simulate --events $((steps * each)) --users 100 --items 80 --seed "$seed" --rate 20 --delay-ms 5000 --window-ms 20000 \
    --no-best >log 2>tool.err || fail "simulate"
produced=0
produce() { # the next step's events
    sed -n "$((produced + 1)),$((produced + each))p" log >part
    "$freshet" convert part --topic shop -o kafka.bootstrap.servers="$servers" 2>tool.err || fail "convert"
    produced=$((produced + each))
}

# --- the processes
start_learner() {
    "$freshet" run --quiet --report report.json "${options[@]}" -o state.dir="$dir/state" 2>>err &
    learner_pid=$!
    started+=("$learner_pid")
}
start_scorer() { # NAME: its port is in NAME.port
    : >"$1.log"
    "$freshet" serve "${options[@]}" --listen 127.0.0.1:0 2>"$1.log" &
    printf -v "$1_pid" %s $!
    started+=($!)
    stream_wait 30 "port of $1" grep -q ' port=' "$1.log"
    sed -n 's/.* port=\([0-9]*\).*/\1/p' "$1.log" | head -n 1 >"$1.port"
}
answers() { curl -sf -m 10 "http://127.0.0.1:$(cat "$1.port")/v1/rerank" -d @body -o "$1.answer"; }
ready() { curl -sf -m 10 "http://127.0.0.1:$(cat "$1.port")/v2/health/ready"; }

# --- who asks: without a pause, one after the other; what is not 200 is kept
ask() {
    local code
    while [[ ! -e enough ]]; do
        code=$(curl -s -m 30 -o "steady.answer.part" -w '%{http_code} %{time_total}' -d @body "http://127.0.0.1:$(cat steady.port)/v1/rerank" || true)
        echo "$code" >>asked
        nap 0.02
    done
}

metric() { redis hget fr:shop:metrics "$1" 2>/dev/null; }
all_taken() { [[ $(metric events_total) == "$produced" && $(metric lag_events) == 0 ]]; }

shoot() { # WHO: killed now, at once where it is several; back when it returns
    local pids=()
    case $1 in learner | all) pids+=("$learner_pid") ;; esac
    case $1 in scorer | all) pids+=("$scorer_pid") ;; esac
    case $1 in redis | all) pids+=("$redis_pid") ;; esac
    case $1 in broker | all) pids+=("$(cat kafka/nodes/1/pid)") ;; esac
    kill -KILL "${pids[@]}"
    wait "${pids[@]}" 2>/dev/null || true
    nap 0.$((RANDOM % 10))
    case $1 in broker | all) broker start ;; esac
    case $1 in redis | all) stream_redis ;; esac
    case $1 in scorer | all) start_scorer scorer ;; esac
    case $1 in learner | all) start_learner ;; esac
}

# --- the story
jq -n '{user: "u1", items: [range(20) | "i\(.)"]}' >body
start_learner
produce
stream_wait 60 "the first events" all_taken
start_scorer steady
start_scorer scorer
stream_wait 60 "first version in the steady scorer" answers steady
ask &
asker=$!
started+=("$asker")
for ((round = 1; round <= rounds; round++)); do
    for who in "${victims[@]}"; do
        produce
        nap 0.$(printf %03d $((RANDOM % 600)))
        shoot "$who"
        stream_wait 60 "what was produced before $who died" all_taken
        stream_wait 60 "the scorer after $who died" answers scorer
        kill -0 "$steady_pid" || fail "the steady scorer ended when $who died"
    done
done

# --- afterwards
newest() { "$freshet" model versions --json "$dir/state" 2>tool.err | jq '.state.versions[] | select(.newest).version'; }
published() { [[ $(redis get 'fr:{shop}:current') == "$(newest)" ]]; }
serves() { answers "$1" && [[ $(jq .model.version "$1.answer") == "$(redis get 'fr:{shop}:current')" ]]; }
kill -TERM "$learner_pid"
wait "$learner_pid" || fail "the learner ended with $?"
published || fail "Redis has version $(redis get 'fr:{shop}:current'), the state folder $(newest)"
for who in steady scorer; do stream_wait 20 "version $(newest) in $who" serves $who; done
touch enough
wait "$asker"
failed=$(grep -vc '^200 ' asked || true)
((failed == 0)) || fail "$failed of $(wc -l <asked) requests failed: $(grep -v '^200 ' asked | sort | uniq -c | head -n 5)"
"$freshet" run --quiet --report whole.json "${options[@]}" -o model.name=whole -o ingest.membership=assign -o state.dir="$dir/whole" 2>err &
learner_pid=$!
started+=("$learner_pid")
whole_taken() { [[ $(redis hget fr:whole:metrics events_total) == "$produced" && $(redis hget fr:whole:metrics watermark_ms) == "$(jq -s 'map(.time) | max' log)" ]]; }
stream_wait 60 "the same without kills" whole_taken
kill -TERM "$learner_pid"
wait "$learner_pid" || fail "the learner without kills ended with $?"
same='{events, rejected, duplicates, all: (.slates + .open), partitions: (.partitions | map([.partition, .next, .records, .chain]))}'
[[ $(jq -c "$same" report.json) == "$(jq -c "$same" whole.json)" ]] || fail "$(jq -c "$same" report.json) instead of $(jq -c "$same" whole.json)"
echo "kill_all: $((rounds * ${#victims[@]})) kills of learner, broker, Redis, scorer, all at once; $produced events learnt once;" \
    "$(wc -l <asked) requests, 0 failed, slowest $(cut -d' ' -f2 asked | sort -g | tail -n 1) s"

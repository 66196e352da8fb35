#!/usr/bin/env bash
# network_kafka.sh - a bad network between the learner and a real Kafka: slow, thin, in slices, cut, silent, reset, away.
#
# Events go on meanwhile.  The learner neither ends nor grows, an answer is given to each request by the scorer behind it, and
# within seconds after the trouble each event is learnt, once: four partitions in the group, by their records and by the counts of the report.
# NETWORK_S=10 NETWORK_ROUNDS=5 is the long form (seconds of each trouble, rounds).
# labels: broker fault kafka redis
# timeout: 240
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"
# shellcheck source=tests/support/network.sh
. "$source/tests/support/network.sh"
hold=${NETWORK_S:-0.8} rounds=${NETWORK_ROUNDS:-1}
stream_begin network_kafka curl
[[ -x $build/tests/proxy ]] || skip "proxy is not built"
stream_redis
behind=$((20000 + RANDOM % 20000))
network_proxy 0 $behind
KAFKA_PROXIED=$behind:$proxy_at stream_kafka
KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" topic events 4 2>tool.err || fail "no topic"

"$freshet" simulate --events 6000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >simulated 2>tool.err
"$freshet" convert simulated >log 2>tool.err
"$freshet" run --quiet --report run.json -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 \
    -o join.window_ms=60000 -o join.organic=false -o kernels.threads=1 -o redis.url="unix:$dir/redis" -o state.dir="$dir/state" \
    -o kafka.bootstrap.servers="127.0.0.1:$proxy_at" -o kafka.session.timeout.ms=3000 -o kafka.heartbeat.interval.ms=500 \
    -o kafka.socket.timeout.ms=2000 -o kafka.reconnect.backoff.max.ms=500 -o join.idle_ms=100 -o publish.every_ms=300 \
    -o state.checkpoint_every_ms=200 2>err &
learner=$!
started+=($learner)

metric() { redis hget fr:default:metrics "$1"; }
produced=0
produce() { # events
    sed -n "$((produced + 1)),$((produced + $1))p" log >part
    "$freshet" convert part --topic events -o kafka.bootstrap.servers="$servers" 2>tool.err || fail "convert"
    produced=$((produced + $1))
}
settled() {
    kill -0 $learner || fail "the learner ended"
    [[ $(metric events_total) == "$produced" ]]
}
produce 1200
stream_wait 40 "first events" settled
"$freshet" serve -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 -o redis.url="unix:$dir/redis" \
    -o kernels.threads=1 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
started+=($scorer)
stream_wait 20 "scorer" grep -q 'listening' serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
stream_wait 20 "ready scorer" curl -sf "$at/v2/health/ready"
network_ask "$at" &
started+=($!)
before=$(network_rss $learner)

network_rounds 60 6000
produce $((6000 - produced))
stream_wait 60 "the end" settled
answers=$(wc -l <answers) failed=$(grep -cv '^200 ' answers || true)
rc=0
kill -TERM $learner
wait $learner || rc=$?
((rc == 0)) || fail "the learner ended with $rc"
want=$(for p in 0 1 2 3; do echo "$p $(kcat -C -b "$servers" -t events -p $p -o beginning -e -q 2>tool.err | wc -l)"; done)
have=$(jq -r '.partitions | sort_by(.partition)[] | "\(.partition) \(.records)"' run.json)
[[ $have == "$want" ]] || fail "taken (partition, records) $(echo $have), written $(echo $want)"
jq -e '.events == 6000 and .rejected == 0 and .duplicates == 0 and ((.gaps // 0) == 0)' run.json >tried || fail "the report: $(jq -c '{events, rejected, duplicates}' run.json)"
[[ $(($(jq .slates run.json) + $(jq '.open // 0' run.json))) -eq $(grep -c '"type":"impression"' log) ]] ||
    fail "$(jq -c '{slates, open}' run.json) of $(grep -c '"type":"impression"' log) impressions"
((answers > 50 && failed == 0)) || fail "$failed of $answers requests failed"
((most <= before + 64)) || fail "memory grew: $before to $most MiB"
echo "network_kafka: $answers requests, 0 failed; learner $before to $most MiB; 6000 events of 4 partitions learnt once each"

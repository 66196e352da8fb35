#!/usr/bin/env bash
# network_redis.sh - a bad network between learner, scorer and Redis: slow, thin, in slices, cut, silent, reset, away.
#
# Events go on meanwhile.  Neither ends, memory stays where it was, the scorer answers each request, and afterwards Redis has
# all there is within seconds; the whole is learnt as a replay of the log learns it, to the last bit of the weights.
# NETWORK_S=10 NETWORK_ROUNDS=5 is the long form (seconds of each trouble, rounds).
# labels: fault redis kafka
# timeout: 180
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"
# shellcheck source=tests/support/network.sh
. "$source/tests/support/network.sh"
hold=${NETWORK_S:-0.8} rounds=${NETWORK_ROUNDS:-1}
stream_begin network_redis curl
for program in proxy mock_kafka; do [[ -x $build/tests/$program ]] || skip "$program is not built"; done
stream_redis
network_proxy 0 "unix:$dir/redis"
"$build/tests/mock_kafka" events:1 >bootstrap 2>tool.err &
started+=($!)
stream_wait 10 "mock cluster" test -s bootstrap
servers=$(cat bootstrap)

"$freshet" simulate --events 6000 --users 40 --items 80 --seed 9 --rate 5 --delay-ms 5000 --window-ms 60000 --no-best >simulated 2>tool.err
"$freshet" convert simulated >log 2>tool.err
options=(-o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 -o join.window_ms=60000
    -o join.organic=false -o kernels.threads=1 -o redis.timeout_ms=700)
"$freshet" replay --quiet --report whole.json "${options[@]}" log 2>tool.err || fail replay
"$freshet" run --quiet --report run.json "${options[@]}" -o redis.url="redis://127.0.0.1:$proxy_at/0" -o state.dir="$dir/state" \
    -o kafka.bootstrap.servers="$servers" -o ingest.membership=assign -o join.idle_ms=100 -o publish.every_ms=200 \
    -o state.checkpoint_every_ms=200 2>err &
learner=$!
started+=($learner)

metric() { redis hget fr:default:metrics "$1"; }
produced=0
produce() { # events
    sed -n "$((produced + 1)),$((produced + $1))p" log | kcat -P -b "$servers" -t events -p 0 2>tool.err || fail kcat
    produced=$((produced + $1))
}
settled() { # all is learnt, published and shown
    local version
    kill -0 $learner || fail "the learner ended"
    version=$(redis get 'fr:{default}:current')
    [[ $(metric events_total) == "$produced" &&
        $(redis hget fr:default:info sha256) == "$(redis get "fr:{default}:manifest:$version" | jq -r .sha256)" ]]
}
produce 1200
stream_wait 30 "first events" settled
"$freshet" serve "${options[@]}" -o redis.url="redis://127.0.0.1:$proxy_at/0" -o serving.poll_ms=50 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
started+=($scorer)
stream_wait 20 "scorer" grep -q 'listening' serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
ready() { curl -sf "$at/v2/health/ready"; }
stream_wait 20 "ready scorer" ready
network_ask "$at" &
started+=($!)
before=$(network_rss $learner) before_scorer=$(network_rss $scorer)

network_rounds 30 6000
produce $((6000 - produced))
stream_wait 30 "the end" settled
answers=$(wc -l <answers) failed=$(grep -cv '^200 ' answers || true)
rc=0
kill -TERM $learner
wait $learner || rc=$?
((rc == 0)) || fail "the learner ended with $rc"
for key in events rejected slates examples duplicates .model.sha256; do
    [[ $(jq ".${key#.}" run.json) == "$(jq ".${key#.}" whole.json)" ]] || fail "$key is $(jq ".${key#.}" run.json), a replay has $(jq ".${key#.}" whole.json)"
done
((answers > 50 && failed == 0)) || fail "$failed of $answers requests failed: $(grep -v '^200 ' answers | sort | uniq -c | head -n 3)"
((most <= before + 64 && most_scorer <= before_scorer + 64)) || fail "memory grew: learner $before to $most MiB, scorer $before_scorer to $most_scorer MiB"
echo "network_redis: $answers requests, 0 failed; slowest $(sort -k2 -n answers | tail -n 1 | cut -d' ' -f2) s; learner $before to $most MiB, scorer $before_scorer to $most_scorer MiB; 6000 events learnt as by replay"

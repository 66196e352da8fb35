#!/usr/bin/env bash
# idle_settle.sh - lists settle because a partition has gone idle, without a new event: what they taught is a version of its own.
#
# Partition 0 holds shown lists, partition 1 an event much later.  Event time stands at the lists until partition 0 is idle;
# before that a version is published, then the lists are settled and learnt.  One version number never has two contents.
# labels: redis kafka
# timeout: 90
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"
stream_begin idle_settle
[[ -x $build/tests/mock_kafka ]] || skip "mock_kafka is not built"
stream_redis
"$build/tests/mock_kafka" events:2 >bootstrap 2>tool.err &
started+=($!)
stream_wait 10 "mock cluster" test -s bootstrap
servers=$(cat bootstrap)

for i in $(seq 40); do
    printf '{"type":"impression","time":%d,"user":"u%d","request":"r%d","items":["a","b","c"]}\n' $((1000000000000 + i)) "$i" "$i"
    printf '{"type":"click","time":%d,"user":"u%d","request":"r%d","item":"a"}\n' $((1000000000100 + i)) "$i" "$i"
done >lists
printf '{"type":"item","time":1000000100000,"item":"z","title":"later"}\n' >later
kcat -P -b "$servers" -t events -p 0 <lists 2>tool.err || fail kcat
kcat -P -b "$servers" -t events -p 1 <later 2>tool.err || fail kcat

"$freshet" run --quiet --report run.json -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 \
    -o join.window_ms=10000 -o join.order_gap_ms=1000 -o join.idle_ms=3000 -o kernels.threads=1 -o redis.url="unix:$dir/redis" \
    -o state.dir="$dir/state" -o kafka.bootstrap.servers="$servers" -o ingest.membership=assign -o publish.every_ms=100 \
    -o state.checkpoint_every_ms=100 2>err &
learner=$!
started+=($learner)
metric() { redis hget fr:default:metrics "$1"; }
read_all() { [[ $(metric events_total) == 81 ]]; }
current() { redis get 'fr:{default}:current'; }
published() { read_all && [[ -n $(current) ]]; }
settled() { [[ $(metric slates_total) == 40 && $(metric steps_total) -gt 0 ]]; }
stream_wait 20 "version before the lists are settled" published
if settled; then fail "the lists were settled before partition 0 was idle"; fi
before=$(current)
stream_wait 20 "settled lists" settled
later() { (($(current) > before)); }
stream_wait 10 "a later version" later
nap 1
kill -TERM $learner
wait $learner || fail "the learner ended with $?"
redis --raw xrange 'fr:{default}:log' - + >log
sha=$(jq -r .model.sha256 run.json)
[[ $(redis get "fr:{default}:manifest:$(current)" | jq -r .sha256) == "$sha" ]] || fail "what is in force is not what was learnt"
awk '$0 == "version" {getline v} $0 == "sha256" {getline s; if (v in of && of[v] != s) {print "version " v " had two contents"; bad = 1} of[v] = s}
    END {exit bad}' log || fail "one number, two contents"
echo "idle_settle: version $before before, $(current) after the lists were settled; 40 slates learnt"

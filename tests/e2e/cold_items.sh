#!/bin/sh
# cold_items.sh - a request with many items that nobody has heard of keeps nobody else waiting while their sentences are encoded.
# labels: redis
# timeout: 180
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin cold_items "redis http" curl
model=$source/models/all-MiniLM-L6-v2
[ -e "$model/model.safetensors" ] || skip "no $model: deploy/setup.sh fetches it"
serving_redis
options="-o model.base=$model -o model.parts=text,match,numeric -o redis.url=unix:$dir/redis -o kernels.threads=1"
"$freshet" simulate --events 300 --users 10 --items 30 --seed 11 --no-best >log 2>err
"$freshet" replay --quiet $options log 2>err
serve $options
wait_for 20 version curl -sf "$at/v2/health/ready"
ask() { curl -sS -f -m 150 -o "$1.answer" -d @"$1" "$at/v1/rerank"; }
computing() { curl -sf "$at/metrics" | awk '$1 == "freshet_states_computed_total" && $2 >= 500 { found = 1 } END { exit !found }'; }
jq -n '{user: "u1", items: [range(20) | "i\(.)"]}' >known
jq -n '{user: "u1", items: [range(500) | {item: "new\(.)", title: "\(. * 7919) garden chair of oak and steel, with a cushion, number \(.)"}]}' >new
ask known || fail "known items are not ranked" # their states are there from here on

ask new &
asking=$!
started=$asking
wait_for 20 "the new items" computing
n=0
while [ $n -lt 20 ]; do
    ask known || fail "known items are not ranked beside new ones"
    kill -0 $asking 2>/dev/null || fail "request $n of 20 for known items came after the new ones"
    n=$((n + 1))
done
wait $asking || fail "the new items are not ranked"
is new.answer '.items | length == 500'
serve_over

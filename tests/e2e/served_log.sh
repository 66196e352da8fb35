#!/bin/sh
# served_log.sh - a stream job reads the log of answers: lists that echo nothing but the request's id are joined with what was served,
# by version and variant; the learner's own features and the version that answered agree with the scorer; a job that was away reads
# what it missed; no weight knows any of it, and without Redis only these figures are missing.
# labels: redis kafka threads
# timeout: 150
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin served_log "kafka redis http" curl kcat
[ -x "$build/tests/mock_kafka" ] || skip "mock_kafka is not built"
serving_redis
"$build/tests/mock_kafka" events:1 >bootstrap 2>tool.err &
started=$!
wait_for 10 "mock cluster" test -s bootstrap
servers=$(cat bootstrap)
produce() { kcat -P -b "$servers" -t events -p 0 <"$1" 2>tool.err || fail kcat; }

cat >conf.ini <<CONF
[model]
base = $source/tests/fixtures/uncased
hashed_bits = 12
[join]
window_ms = 10000
organic = false
order_gap_ms = 1000
idle_ms = 100000000
[eval]
unsampled_frac = 0
served_checked = 1
served_every_ms = 0
[kernels]
threads = 1
[ingest]
topics = events
membership = assign
[kafka]
bootstrap.servers = $servers
[serving]
poll_ms = 20
[variant.b]
share = 0.4
model.parts = numeric,hashed
CONF
url="unix:$dir/redis"
"$freshet" simulate --events 2000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
now=$(tail -n 1 log | jq .time)
settle() { jq -nc "{type: \"item\", time: ($now + $1), item: \"z\", title: \"later\"}"; } # all lists before it
settle 30000 >>log
produce log
learn() { # state, then arguments
    state=$1
    shift
    "$freshet" run --quiet --config conf.ini -o state.dir="$dir/$state" --report "$state.json" -o publish.every_ms=200 "$@" 2>>learner.log &
    learner=$!
}
learner_over() {
    kill -TERM $learner
    wait $learner || fail "the learner ended with $?"
    learner=
}
metric() { redis-cli -s redis hget fr:default:metrics "$1"; }
reached() { [ "$(metric "$1")" = "$2" ]; }
learn state -o redis.url="$url"
wait_for 40 "all events" reached events_total 2001
newest() { # of both lines: one that knows nothing yet scores all items alike
    [ "$(redis-cli -s redis hget fr:default:info version)" = "$(metric version)" ] &&
        [ "$(redis-cli -s redis get 'fr:{default}:variant:b:current')" = "$(metric version)" ]
}
wait_for 20 "newest version" newest
serve --config conf.ini -o redis.url="$url"
wait_for 20 "both versions" sh -c "curl -s $at/v1/models | jq -e '.models | length == 2'"

# thirty answers of twelve, shown half a second later; the first of each is clicked
batch() { # name, event time after the log, first user
    for u in $(seq "$3" $(($3 + 29))); do
        time=$((now + $2 + u))
        jq -nc "{request: \"$1-$u\", user: \"u$u\", time: $time, items: [range(12) | \"i\\(. * 6 + $u % 6)\"]}" |
            curl -sf -m 20 -d @- "$at/v1/rerank" >answer || fail "no answer"
        jq -c "{type: \"impression\", time: ($time + 500), user: \"u$u\", request, items: [.items[].item]}" answer >>"$1"
        jq -c "{type: \"click\", time: ($time + 1500), user: \"u$u\", request, item: .items[0].item}" answer >>"$1.clicks"
    done
    settle $(($2 + 30000)) >>"$1.clicks"
    rm answer
}
whole() { # a batch and its ends
    cat "$1.clicks" >>"$1"
    produce "$1"
}
batch first 60000 0
logged() { [ "$(metric served_answers_total)" -ge "$1" ]; }
wait_for 10 "read answers" logged 30
whole first
wait_for 20 "joined lists" reached served_joined_total 30
wait_for 20 "their ends" reached events_total $((2001 + $(wc -l <first)))
learner_over
is state.json '.served.lists == 0' # nothing was echoed
is state.json '.served.log | .answers == 30 and .joined == 30 and .unmatched == 0'
is state.json '.served.log | .lists == 30 and .figures.examples == 360 and .figures.positives == 30 and .figures.gauc == 1'
is state.json '.served.log.by_variant | keys == ["b", "default"] and ([.[].lists] | add == 30 and min > 3)'
is state.json '.served.log.by_version | ([.[].lists] | add) == 30'
is state.json '.served.log.checked | .lists == 30 and .items == 360 and .features_equal == 1'
is state.json '.served.log.checked | .same_version_items == 360 and .same_version_skew.most == 0'
is state.json '.served.log.skew.p99 > .served.log.checked.same_version_skew.most' # half a second older features

# answers while nobody learns: read when the job is back, from where it was
batch second 120000 30
whole second
learn state -o redis.url="$url"
wait_for 20 "joined lists" reached served_joined_total 60
learner_over
is state.json '.served.log | .answers == 60 and .joined == 60 and .checked.features_equal == 1'

# killed twice while lists are open: what was answered is read again until they settle
batch third 180000 60
produce third
for _ in 1 2; do
    redis-cli -s redis del fr:default:metrics >tried
    learn state -o redis.url="$url" -o state.checkpoint_every_ms=100
    wait_for 20 "open lists" reached open_slates 30
    sleep 1 # and they are durable
    kill -KILL $learner
    wait $learner 2>tried || true
done
learn state -o redis.url="$url"
produce third.clicks
cat third.clicks >>third
wait_for 20 "joined lists" reached served_joined_total 90
learner_over
is state.json '.served.log | .answers == 90 and .joined == 90 and .unmatched == 0'

# the same stream without the log, and with a Redis that is gone: the same weights
learn without -o redis.url="$url" -o eval.served_answers=0 -o model.name=without
all_of() { [ "$(redis-cli -s redis hget fr:without:metrics events_total)" = "$(cat log first second third | wc -l)" ]; }
wait_for 40 "all events" all_of
learner_over
is without.json '.served.log.answers == 0'
[ "$(jq -r .model.sha256 without.json)" = "$(jq -r .model.sha256 state.json)" ] || fail "the log of answers changed what was learnt"
# a folder that was lost: every line goes on from its own version in Redis, and who was in charge is
redis-cli -s redis set 'fr:{default}:champion' b >tried
learn warm -o redis.url="$url"
wait_for 40 "both lines' versions" grep -q 'warm variant=b version=' learner.log
taken_up() { [ "$(redis-cli -s redis hget fr:default:info state)" = learning ]; }
wait_for 20 "a learner that goes on" taken_up
learner_over
is warm.json '.variants.b.in_charge and .variants.b.learnt_examples > 4000 and .variants.default.learnt_examples > 4000'
[ "$(jq -r .variants.b.sha256 warm.json)" = "$(jq -r .variants.b.sha256 state.json)" ] || fail "b is not what it was"

serve_over
kill -KILL $redis
wait $redis 2>/dev/null || true
redis=
before=$(jq .model.version state.json)
jq -nc "{type: \"impression\", time: ($now + 240000), user: \"u1\", request: \"last\", items: [\"i1\", \"i2\"]}" >last
produce last
learn state -o redis.url="$url" -o state.checkpoint_every_ms=50
newer() { [ "$(ls state/weights | sort -n | tail -n 1 | cut -d. -f1)" -gt "$before" ]; }
wait_for 20 "a durable state without Redis" newer
learner_over
is state.json '.events == 2185 and .served.log.joined == 90'
echo "served_log: 90 lists joined by their request, features equal, the version that answered within $(jq .served.log.checked.same_version_skew.most state.json) of a logit"

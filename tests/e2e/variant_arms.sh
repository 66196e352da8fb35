#!/bin/sh
# variant_arms.sh - a challenger beside the default configuration: learnt in one job, published under keys of its own, served to its
# share of the users, to none as a shadow, and to all the others once it is promoted.
# labels: redis threads
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin variant_arms "redis http" curl
serving_redis
cat >conf.ini <<CONF
[model]
base = $source/tests/fixtures/uncased
hashed_bits = 12
name = shop
[join]
window_ms = 10000
[kernels]
threads = 1
[redis]
url = unix:$dir/redis
[state]
dir = $dir/state
[serving]
poll_ms = 20
[variant.b]
share = 0.3
model.parts = numeric,hashed
train.linear_rate = 0.05
[variant.watcher]
shadow = true
train.linear_rate = 0.2
CONF
"$freshet" simulate --events 2000 --users 40 --items 80 --seed 11 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err

# --- one job, three lines
"$freshet" replay --quiet --config conf.ini --report report.json log 2>err || fail "replay ended with $?"
is report.json '.variants | keys == ["b", "default", "watcher"]'
is report.json '.variants.default.in_charge and (.variants.default | has("paired") | not)'
is report.json '.variants.default.share == 0.7 and .variants.b.share == 0.3 and .variants.watcher.share == 0'
is report.json '.variants.b.paired.slates == .slates and .variants.b.paired.logloss.lower < .variants.b.paired.logloss.upper'
is report.json '.variants.default.sha256 == .model.sha256 and .variants.b.sha256 != .model.sha256'
ls state/weights | grep -qx '[0-9]*\.b' || fail "no weight file of b beside the default's"

# --- Redis: keys of its own in the model's slot, the default's as ever
current=$(redis-cli -s redis get 'fr:{shop}:current')
[ "$(redis-cli -s redis get 'fr:{shop}:variant:b:current')" = "$current" ] || fail "b is not at version $current"
redis-cli -s redis get "fr:{shop}:variant:b:manifest:$current" >manifest
[ "$(jq -r .sha256 manifest)" = "$(jq -r .variants.b.sha256 report.json)" ] || fail "b's manifest has another hash"
redis-cli -s redis get "fr:{shop}:manifest:$current" >manifest
[ "$(jq -r .sha256 manifest)" = "$(jq -r .model.sha256 report.json)" ] || fail "the default's manifest has another hash"
[ "$(redis-cli -s redis exists 'fr:{shop}:champion')" = 0 ] || fail "somebody is in charge who was not promoted"
[ "$(redis-cli -s redis hget fr:shop:variant:b:metrics paired_slates)" -gt 0 ] || fail "b has no figures"

"$freshet" top --once --config conf.ini >top.txt 2>err || fail "top ended with $?"
grep -q 'variant *default: share 0.7, in charge' top.txt || fail "top does not say who is in charge"
grep -q 'variant *b: share 0.3, GAUC 0.*, log-loss .*lists' top.txt || fail "top does not compare b"

# --- a scorer without variants reads what it always read
sed '/^\[variant/,$d' conf.ini >plain.ini
serve_all() { # configuration
    serve --config "$1"
    wait_for 20 "version" curl -sf "$at/v2/health/ready"
}
ask() { # user
    curl -s -m 20 -o answer -d "{\"user\":\"$1\",\"items\":[\"i1\",\"i2\",\"i3\",\"i4\"]}" "$at/v1/rerank"
}
serve_all plain.ini
ask u1
is answer '.model.variant == "default"'
serve_over

# --- a share for a variant that nobody has published is said, and answered by the default
{ cat conf.ini; printf '[variant.nobody]\nshare = 0.6\n'; } >missing.ini
serve_all missing.ini
wait_for 10 "word of the missing variant" grep -q 'variant=nobody share=0.6 reason="it has no version yet: default answers' serve.log
for user in u1 u2 u3 u4 u5 u6 u7 u8; do
    ask $user
    is answer '.model.variant == "default" or .model.variant == "b"'
done
serve_over

# --- routing: the same user the same variant, about the configured share, the variant's own weights
redis-cli -s redis del fr:shop:served >tried
serve_all conf.ini
wait_for 20 "all versions" sh -c "curl -s $at/v1/models | jq -e '.models | length == 3'"
curl -s "$at/v1/models" >answer
is answer '[.models[] | {(.variant): .share}] | add == {"default": 0.7, "b": 0.3, "watcher": 0}'
is answer '.models[] | select(.variant == "b") | .parts == ["numeric", "hashed"]'
i=0
while [ $i -lt 120 ]; do
    ask "user-$i"
    jq -r '"\(.model.variant) \(.model.sha256)"' answer
    i=$((i + 1))
done >first
i=0
while [ $i -lt 30 ]; do
    ask "user-$i"
    jq -r '"\(.model.variant) \(.model.sha256)"' answer
    i=$((i + 1))
done >again
head -n 30 first | cmp -s - again || fail "a user changed sides"
n=$(grep -c '^b ' first)
[ "$n" -gt 18 ] && [ "$n" -lt 55 ] || fail "b answered $n of 120 users, 36 were to be expected"
grep -q '^watcher' first && fail "the shadow was served"
sort -u first >sides
[ "$(grep '^b ' sides)" = "b $(jq -r .variants.b.sha256 report.json)" ] || fail "b answers with other weights than b's"
curl -s -o answer -d '{"items":["i1","i2"]}' "$at/v1/rerank"
is answer '.model.variant == "default"'

# --- what was served says by whom; the shadow's rankings are beside it
all_served() {
    redis-cli -s redis --json xrange fr:shop:served - + |
        jq -c '[.[][1] | [range(0; length; 2) as $i | {(.[$i]): .[$i + 1]}] | add]' >served
    jq -e '([.[] | select(.shadow == "0")] | length == 151) and ([.[] | select(.shadow == "1")] | length > 60)' served
}
wait_for 20 "151 answers and the shadows' rankings" all_served
is served 'all(.[]; (.shadow == "1") == (.variant == "watcher"))'
is served '[.[] | select(.shadow == "1") | .request] - [.[] | select(.shadow == "0") | .request] == []'
is served '[.[] | select(.variant == "b")] | length > 18'

# --- a request that is refused leaves nothing for the shadows in the hands that held an answer before
seq 1000 | jq -cn '{request: "many", items: [inputs | tostring]}' >many
for i in 1 2 3 4; do
    [ "$(curl -s -m 20 -o answer -w '%{http_code}' -d @many "$at/v1/rerank")" = 200 ] || fail "a thousand items are refused"
    [ "$(curl -s -m 20 -o answer -w '%{http_code}' -d '{"items":["i1"],"limit":"broken"}' "$at/v1/rerank")" = 400 ] ||
        fail "a broken request is not"
done
many_served() {
    redis-cli -s redis --json xrange fr:shop:served - + |
        jq -c '[.[][1] | [range(0; length; 2) as $i | {(.[$i]): .[$i + 1]}] | add]' >served
    jq -e '[.[] | select(.request == "many" and .shadow == "0")] | length == 4' served
}
last=none
last_served() { # a shadow may pass over a request, not over all of them
    many_served && jq -e "any(.[]; .shadow == \"1\" and .request == \"$last\")" served && return
    ask user-1
    last=$(jq -r .request answer)
    return 1
}
wait_for 20 "four long answers, and a later one's shadow" last_served
is served '[.[] | select(.shadow == "1") | .request] | map(select(. != "many")) | length == (unique | length)'
is served '[.[] | select(.request == "many" and .shadow == "1")] | length <= 4'

# --- promoted: everyone that no other share names gets it, in the same process
redis-cli -s redis set 'fr:{shop}:champion' b >tried
wait_for 10 "b in charge" sh -c "curl -s $at/v1/models | jq -e '.models[] | select(.variant == \"b\") | .in_charge'"
i=0
while [ $i -lt 40 ]; do
    ask "user-$i"
    is answer '.model.variant == "b"'
    i=$((i + 1))
done
redis-cli -s redis set 'fr:{shop}:champion' 'no such' >tried
wait_for 10 "a word on the unknown variant in charge" grep -q 'configuration lacks' serve.log
ask user-1
is answer '.model.variant == "b"'
serve_over

# --- a changed variant is refused by name, shares are not
sed 's/^train.linear_rate = 0.05/train.linear_rate = 0.06/' conf.ini >changed.ini
"$freshet" replay --quiet --config changed.ini log 2>err && fail "a variant with another rate went on in the old folder"
grep -q 'variant b.*train.linear_rate' err || fail "the refusal does not name variant and key"
sed 's/^share = 0.3/share = 0.4/' conf.ini >shares.ini
"$freshet" replay --quiet --config shares.ini log 2>err || fail "another share is refused"
sed 's/^train.linear_rate = 0.05/join.window_ms = 5/' conf.ini >world.ini
"$freshet" replay --quiet --config world.ini log 2>err && fail "a variant changed the world"
grep -q 'world.ini:[0-9]*: variant.b.join.window_ms' err || fail "the refusal does not name line and key"
echo "variant_arms: learnt, published, routed, shadowed, put in charge"

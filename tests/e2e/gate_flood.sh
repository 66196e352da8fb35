#!/bin/sh
# gate_flood.sh - one user floods the stream with clicks on what nobody else wants: the line that learns it serves all others worse, is
# found out, goes back to its blessed version (which scorers get under a new number), rests, and learns on when it is over.  Kills
# around it change no bit; an honest log has no rollback, and with the gate the same weights as without.
# labels: redis
# timeout: 300
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin gate_flood "redis http" curl
# From list r5000 to r6500 each list comes three times more, to the user `bot`, who clicks what the first one did not.
"$freshet" simulate --events 30000 --users 400 --items 60 --rate 5 --seed 3 --delay-ms 2000 --window-ms 10000 --no-best >honest 2>err
cat >flood.jq <<'JQ'
def number: .request[1:] | tonumber;
(map(select(.type == "click") | {("\(.request)/\(.item)"): 1}) | add) as $clicked
| map(., (select(.type == "impression" and number >= 5000 and number < 6500) | . as $list | range(3) as $n | "b\($n)\($list.request)" as $id
    | ($list | .id = $id | .request = $id | .user = "bot"),
      ($list.items[] | select($clicked["\($list.request)/\(.)"] == null)
        | {type: "click", time: ($list.time + 1000), id: "\($id).\(.)", request: $id, user: "bot", item: .})))
| sort_by(.time)[]
JQ
jq -c -s -f flood.jq honest >flooded
# Features that know no user, so that the line can't keep the bot apart from the others.
model="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric -o model.features=item.price,item.age,item.rate"
options="--quiet --flush $model -o join.window_ms=10000 -o kernels.threads=1 -o gate.share=0.6 -o gate.bless_slates=1000
    -o gate.bless_ms=300000 -o gate.cooldown_ms=60000 -o gate.margin=0.02 -o gate.margin_auc=0.05 -o guard.mode=off -o guard.user_examples=0"

# --- honest: no rollback, and the gate changes no weight
"$freshet" replay $options --report honest.json honest 2>err || fail "replay of the honest log"
"$freshet" replay $options -o gate.share=0 --report without.json honest 2>err || fail "replay without a gate"
jq -e '.gate.rollbacks == 0 and .gate.blessings >= 2 and .gate.judged > 2000' honest.json >tried || fail "honest: $(jq -c .gate honest.json)"
[ "$(jq -r .model.sha256 honest.json)" = "$(jq -r .model.sha256 without.json)" ] || fail "the gate changed what was learnt"

# --- flooded: found, gone back from, rested, learnt on
"$freshet" replay $options --report flooded.json -o state.dir=state flooded 2>err || fail "replay of the flood"
jq -e '.gate.rollbacks >= 1 and .gate.slates_not_learnt > 100' flooded.json >tried || fail "flood: $(jq -c .gate flooded.json)"
"$freshet" model versions state --json >versions || fail "versions"
jq -e '[.state.verdicts[] | select(.kind == "rollback")] | length >= 1 and all(.who == "gate" and .about > 0
    and (.learnt_and_discarded | length) == 1 and .learnt_and_discarded[0].from < .learnt_and_discarded[0].to)' versions >tried ||
    fail "the version log: $(jq -c .state.verdicts versions)"
"$freshet" model versions state >versions || fail "versions"
grep -q 'learnt into the discarded line: 0/0 \[' versions || fail "no ranges: $(cat versions)"
newest=$(jq -r .model.sha256 flooded.json)
[ "$newest" != "$(jq -r .model.sha256 honest.json)" ] || fail "nothing was left out"

# --- killed again and again: the same bits
kills=0
while :; do
    "$freshet" replay $options -o state.dir=killed -o state.checkpoint_every_ms=50 --report killed.json flooded 2>err &
    learner=$!
    (sleep "0.$((5 + kills % 5))" && kill -KILL $learner 2>/dev/null) &
    rc=0
    wait $learner || rc=$?
    learner=
    [ $rc -ne 0 ] || break
    kills=$((kills + 1))
    [ $kills -lt 300 ] || fail "killed $kills times and not through"
done
[ "$(jq -r .model.sha256 killed.json)" = "$newest" ] || fail "other bits after $kills kills"
[ "$(jq -c '.gate | .judged, .rollbacks' killed.json)" = "$(jq -c '.gate | .judged, .rollbacks' flooded.json)" ] ||
    fail "another judge after $kills kills"

# --- through Redis: what scorers get after the rollback is the blessed version, under a new number
serving_redis
serve $model -o redis.url="unix:$dir/redis" -o serving.poll_ms=20
"$freshet" replay $options -o redis.url="unix:$dir/redis" -o state.dir=published --report published.json -o publish.keep=1000 \
    -o publish.every_ms=300 --speed 400x flooded 2>err || fail "replay with Redis"
[ "$(jq -r .model.sha256 published.json)" = "$newest" ] || fail "Redis changed what was learnt"
"$freshet" model versions published -o redis.url="unix:$dir/redis" --log 1000 --json >versions || fail "versions of both"
jq -e '[.redis.log[] | select(.kind == "publish" and .reason == "rollback")] as $back
    | [.redis.log[] | select(.kind == "rollback")] as $said
    | ($back | length) >= 1 and ($said | length) >= 1 and $said[-1].who == "gate"
    and ([.redis.log[] | select(.kind == "publish" and .version == $said[-1].about)][0].sha256 == $back[-1].sha256)' versions >tried ||
    fail "what was published: $(jq -c '[.redis.log[] | select(.kind != "publish" or .reason != "interval")]' versions)"
served() { curl -s -m 20 -d '{"user":"u1","items":["i1","i2"]}' "$at/v1/rerank" | jq -e ".model.sha256 == \"$newest\""; }
wait_for 10 "the newest version at the scorer" served
echo "gate_flood: $(jq -c '.gate | [.rollbacks, .slates_not_learnt]' flooded.json) rollbacks and slates not learnt; $kills kills"

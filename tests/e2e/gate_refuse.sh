#!/bin/sh
# gate_refuse.sh - a version that is no good by itself (here: its scores further from the blessed one's than gate.max_drift) is not published: it is
# held back while learning goes on, or the line goes back, as gate.on_refuse says; the variants' versions are looked at likewise.
# A Redis that has lost everything gets the blessed version from a learner that starts with a refused one.
# labels: redis
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin gate_refuse "redis http"
serving_redis
ask() { redis-cli -s redis "$@"; }
"$freshet" simulate --events 20000 --users 200 --items 60 --rate 5 --seed 4 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
options="-o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=12 -o kernels.threads=1"
learn() { # model, log, then arguments
    model=$1
    shift
    "$freshet" replay --quiet -o model.name="$model" $options -o join.window_ms=10000 -o gate.bless_slates=500 -o gate.cooldown_ms=30000 \
        -o redis.url="unix:$dir/redis" --publish-every 200 --report "$model.json" "$@" 2>err || fail "exit $? of $model"
}
current() { ask get "fr:{$1}:current"; }
kinds() { ask --json xrange "fr:{$1}:log" - + | jq -r '[.[][1] | .[index("kind") + 1]] | map(select(. == "'"$2"'")) | length'; }

# --- all is well
learn fine log
is fine.json '.gate.refused == 0 and .gate.blessings >= 1'
[ "$(current fine)" = "$(jq .model.version fine.json)" ] || fail "the newest version is not in force"

# --- held back: the blessed one stays in force, learning goes on
learn held log -o gate.max_drift=0.001
is held.json '.gate.refused > 3 and .gate.rollbacks == 0'
[ "$(jq -r .model.sha256 held.json)" = "$(jq -r .model.sha256 fine.json)" ] || fail "what is learnt is another thing"
[ "$(current held)" -lt "$(jq .model.version held.json)" ] || fail "a refused version is in force"
[ "$(kinds held refuse)" -ge 1 ] || fail "the log of versions says nothing"

# --- gone back
learn back log -o gate.max_drift=0.001 -o gate.on_refuse=rollback
is back.json '.gate.refused >= 1 and .gate.rollbacks >= 1'
[ "$(kinds back rollback)" -ge 1 ] || fail "the log of versions says nothing of a rollback"
[ "$(jq -r .model.sha256 back.json)" != "$(jq -r .model.sha256 fine.json)" ] || fail "the line did not go back"

# --- Redis is empty when the next learner starts, and the newest version is refused: the blessed one is published; later the newest
head -n 15000 log >first.log
tail -n +15001 log | head -n 4000 >second.log
tail -n +19001 log >third.log
learn bare first.log -o state.dir=bare
blessed=$(jq .gate.blessed_version bare.json)
[ "$blessed" -gt 0 ] && [ "$blessed" -lt "$(jq .model.version bare.json)" ] || fail "nothing is blessed, or the newest is: $blessed"
ask flushall >tried
learn bare second.log -o state.dir=bare -o gate.max_drift=0.001 -o gate.bless_slates=1000000
is bare.json ".gate.refused > 0 and .gate.blessed_version == $blessed"
[ "$(current bare)" = "$blessed" ] || fail "version '$(current bare)' is in force, not the blessed one ($blessed)"
ask get "fr:{bare}:manifest:$blessed" >manifest
is manifest '.verdict == "blessed"'
serve -o model.name=bare $options -o redis.url="unix:$dir/redis"
wait_for 20 "the blessed version" grep -q " version=$blessed " serve.log
learn bare third.log -o state.dir=bare -o gate.max_drift=0
[ "$(current bare)" = "$(jq .model.version bare.json)" ] || fail "the newest version is not in force"
wait_for 20 "the newest version" grep -q " version=$(current bare) .*sha256=$(jq -r .model.sha256 bare.json)" serve.log
serve_over
echo "gate_refuse: $(jq .gate.refused held.json) versions held back, or $(jq .gate.rollbacks back.json) times back"

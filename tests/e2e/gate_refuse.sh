#!/bin/sh
# gate_refuse.sh - a version that is no good by itself (here: further from the blessed one than gate.max_drift) is not published: it is
# held back while learning goes on, or the line goes back, as gate.on_refuse says; the variants' versions are looked at likewise.
# labels: redis
# timeout: 120
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin gate_refuse redis
serving_redis
ask() { redis-cli -s redis "$@"; }
"$freshet" simulate --events 20000 --users 200 --items 60 --rate 5 --seed 4 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
learn() { # model, then arguments
    model=$1
    shift
    "$freshet" replay --quiet -o model.name="$model" -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed \
        -o model.hashed_bits=12 -o kernels.threads=1 -o join.window_ms=10000 -o gate.bless_slates=500 -o gate.cooldown_ms=30000 \
        -o redis.url="unix:$dir/redis" --publish-every 200 --report "$model.json" log "$@" 2>err || fail "exit $? of $model"
}
current() { ask get "fr:{$1}:current"; }
kinds() { ask --json xrange "fr:{$1}:log" - + | jq -r '[.[][1] | .[index("kind") + 1]] | map(select(. == "'"$2"'")) | length'; }

# --- all is well
learn fine
is fine.json '.gate.refused == 0 and .gate.blessings >= 1'
[ "$(current fine)" = "$(jq .model.version fine.json)" ] || fail "the newest version is not in force"

# --- held back: the blessed one stays in force, learning goes on
learn held -o gate.max_drift=0.001
is held.json '.gate.refused > 3 and .gate.rollbacks == 0'
[ "$(jq -r .model.sha256 held.json)" = "$(jq -r .model.sha256 fine.json)" ] || fail "what is learnt is another thing"
[ "$(current held)" -lt "$(jq .model.version held.json)" ] || fail "a refused version is in force"
[ "$(kinds held refuse)" -ge 1 ] || fail "the log of versions says nothing"

# --- gone back
learn back -o gate.max_drift=0.001 -o gate.on_refuse=rollback
is back.json '.gate.refused >= 1 and .gate.rollbacks >= 1'
[ "$(kinds back rollback)" -ge 1 ] || fail "the log of versions says nothing of a rollback"
[ "$(jq -r .model.sha256 back.json)" != "$(jq -r .model.sha256 fine.json)" ] || fail "the line did not go back"
echo "gate_refuse: $(jq .gate.refused held.json) versions held back, or $(jq .gate.rollbacks back.json) times back"

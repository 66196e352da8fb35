#!/bin/sh
# variant_orders.sh - orders while a challenger is in charge: a rollback and a blessing are its own, a pin holds what users are ranked by,
# and who is promoted is in charge even where the default line's version is refused.
# labels: redis
# timeout: 200
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin variant_orders "redis"
serving_redis
ask() { redis-cli -s redis "$@"; }
cat >conf.ini <<CONF
[model]
base = $source/tests/fixtures/uncased
parts = numeric,hashed
hashed_bits = 12
[join]
window_ms = 10000
[kernels]
threads = 1
[gate]
bless_slates = 800
cooldown_ms = 30000
[publish]
every_ms = 100
keep = 1000
[redis]
url = unix:$dir/redis
[state]
dir = $dir/state
keep = 1000
[variant.b]
share = 0.3
train.linear_rate = 0.05
CONF
order() { # exit status, text of the answer, order...
    want=$1 text=$2 rc=0
    shift 2
    "$freshet" model "$@" -o redis.url="unix:$dir/redis" >answer 2>&1 || rc=$?
    [ $rc -eq "$want" ] || fail "$*: exit $rc, not $want"
    grep -q -- "$text" answer || fail "$*: '$(cat answer)' says nothing of '$text'"
}
start() { # ARGUMENT...
    "$freshet" replay --quiet --config conf.ini --speed 100x "$@" log 2>>learner.log &
    learner=$!
}
over() {
    kill -TERM $learner
    wait $learner || fail "the learner ended with $?"
    learner=
}
of_b() { ask get 'fr:{default}:variant:b:current'; }
of_default() { ask get 'fr:{default}:current'; }
sha_of_b() { ask get "fr:{default}:variant:b:manifest:$1" | jq -r .sha256; }
"$freshet" simulate --events 90000 --users 300 --items 60 --rate 5 --seed 4 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err

start
at_least() { [ "$(of_b)" -ge "$1" ]; }
wait_for 30 "a version of b" at_least 1
order 0 'variant b is in charge' promote b
[ "$(ask get 'fr:{default}:champion')" = b ] || fail "b is not in charge"
order 1 'nothing is blessed yet' rollback --reason 'too early'

# --- it is judged against what it is now, goes back to that, and is what it was
order 0 'variant b, which is in charge, is judged against its version' promote --reason 'good enough'
blessed=$(sed 's/.* version \([0-9]*\) .*/\1/' answer)
wait_for 10 "it in force" at_least "$blessed"
wait_for 20 "b three versions on" at_least "$((blessed + 3))"
order 0 'variant b, which is in charge, went back to its blessed version, as version' rollback --reason 'looks odd'
version=$(sed 's/.*as version \([0-9]*\);.*/\1/' answer)
wait_for 10 "it in force" at_least "$version"
[ "$(sha_of_b "$version")" = "$(sha_of_b "$blessed")" ] || fail "version $version of b is not what $blessed was"
order 1 'of the line default, and variant b is in charge' rollback 1
order 1 'of the line default, and variant b is in charge' promote "$(of_default)"

# --- a pin holds both lines, an older one too, and outlives a restart and an empty Redis
order 0 'stays published while learning goes on' pin
pinned=$(sed 's/^version \([0-9]*\) .*/\1/' answer)
newer() { [ "$(ask hget fr:default:metrics version)" -gt "$((pinned + 3))" ]; }
wait_for 20 "learning behind the pin" newer
[ "$(of_b) $(of_default)" = "$pinned $pinned" ] || fail "pinned is $pinned, in force $(of_default) and $(of_b) of b"
order 0 "version $blessed stays published" pin "$blessed"
both() { [ "$(of_b) $(of_default)" = "$blessed $blessed" ]; }
wait_for 10 "version $blessed of both" both
over
ask flushall >tried
start
wait_for 30 "version $blessed of both after a restart" both
[ "$(ask get 'fr:{default}:champion')" = b ] || fail "b is not in charge any more"
order 0 'no longer pinned' unpin
wait_for 20 "b's newest version" at_least "$((pinned + 3))"
over

# --- a default line that may not be published keeps nobody from being in charge
start -o gate.max_drift=1e-9
learns() { [ "$(ask exists 'fr:{default}:lease')" = 1 ]; }
wait_for 20 "a learner" learns
order 0 'variant default is in charge' promote default
order 0 'the line is judged against it' promote
refused() { grep -q 'verdict=refuse' learner.log; }
wait_for 20 "a refused version" refused
[ "$(ask exists 'fr:{default}:champion')" = 0 ] || fail "default is not in charge"
order 0 'variant b is in charge' promote b
[ "$(ask get 'fr:{default}:champion')" = b ] || fail "b is not in charge while the default line's versions are refused"
over

"$freshet" model versions state --log 100 >versions || fail "versions"
for what in 'variant .* by .*@.* pid .*: b went back to its blessed version: looks odd' 'variant .*: b as it is was blessed: good enough' 'champion .*: variant b is in charge'; do
    grep -q "$what" versions || fail "the version log has no '$what': $(cat versions)"
done
echo "variant_orders: judged, gone back, pinned and promoted while a challenger is in charge"

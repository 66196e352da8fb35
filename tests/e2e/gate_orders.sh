#!/bin/sh
# gate_orders.sh - freshet model rollback, promote, pin, unpin: through Redis to a learner that runs, through its folder with and
# without one, with the answers, the version log, and what is in force afterwards.
# labels: redis
# timeout: 200
set -eu
# shellcheck source=tests/support/serving.sh
. "$(dirname "$0")/../support/serving.sh"
serving_begin gate_orders "redis"
serving_redis
ask() { redis-cli -s redis "$@"; }
url=unix:$dir/redis
order() { # exit status, text of the answer, order...
    want=$1 text=$2 rc=0
    shift 2
    "$freshet" model "$@" >answer 2>&1 || rc=$?
    [ $rc -eq "$want" ] || fail "$*: exit $rc, not $want"
    grep -q -- "$text" answer || fail "$*: '$(cat answer)' says nothing of '$text'"
}
"$freshet" simulate --events 90000 --users 300 --items 60 --rate 5 --seed 4 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
options="--quiet -o model.base=$source/tests/fixtures/uncased -o model.parts=numeric,hashed -o model.hashed_bits=14 -o kernels.threads=1
    -o join.window_ms=10000 -o gate.bless_slates=1500 -o gate.cooldown_ms=30000 -o publish.every_ms=100 -o publish.features_ms=20
    -o state.keep=1000 -o publish.keep=1000"

# --- nobody there
order 2 'give --redis URL, or --state DIR' rollback
order 1 'no learner of model default lives' rollback --redis "$url"
order 1 'is no state folder' rollback --state "$dir"

start() {
    "$freshet" replay $options -o redis.url="$url" -o state.dir=state --speed "$1" log 2>>learner.log &
    learner=$!
}
current() { ask get 'fr:{default}:current'; }
at_least() { [ "$(current)" -ge "$1" ]; }
blessed() { [ "$(ask hget fr:default:metrics gate_blessed_version)" -gt 0 ]; }
sha() { ask get "fr:{default}:manifest:$1" | jq -r .sha256; }
start 100x
wait_for 30 "version in force" at_least 1
order 1 'nothing is blessed yet' rollback --redis "$url" --reason 'too early'
wait_for 60 "blessed version" blessed
first=$(ask hget fr:default:metrics gate_blessed_version)

# --- through Redis: within a second or two, and in force when the answer comes
order 2 "'v' is no version" rollback v --redis "$url"
order 2 "'18446744073709551615' is no version" pin 18446744073709551615 --redis "$url" # which its reader could not take
order 2 'its field "reason" is not valid' pin --state state --reason "$(printf 'shop down\nsee ticket 7')"
order 2 'its field "name" is not valid' promote "$(printf 'a\tb')" --redis "$url"
before=$(date +%s%3N)
order 0 "went back to version $first, as version" rollback --redis "$url" --reason 'looks odd'
took=$(($(date +%s%3N) - before))
version=$(sed 's/.*as version \([0-9]*\);.*/\1/' answer)
at_least "$version" || fail "version $version is not in force, $(current) is"
[ "$(sha "$version")" = "$(sha "$first")" ] || fail "version $version is not what $first was"
[ "$took" -lt 5000 ] || fail "it took $took ms"
[ "$(ask llen 'fr:{default}:commands')" = 0 ] || fail "the order is still there"
order 0 'the line is judged against it' promote --redis "$url" --reason 'good enough'
promoted=$(sed 's/^version \([0-9]*\) .*/\1/' answer)
promoted() { [ "$(ask hget fr:default:metrics gate_blessed_version)" -gt "$version" ]; }
wait_for 10 "promoted version" promoted


# --- an entry of the log has the number and the hash of what it is about
entry() { # kind, number: the newest entry's number and hash
    "$freshet" model versions -o redis.url="$url" --log 1000 --json | jq -e --arg k "$1" --arg n "$2" --arg sha "$(sha "$2")" \
        '[.redis.log[] | select(.kind == $k)][0] | .version == $n and .sha256 == $sha and (.at | tonumber) >= 1' >tried ||
        fail "$1 of version $2 ($(sha "$2")) is logged as $("$freshet" model versions -o redis.url="$url" --log 1000 | grep " $1 ")"
}
entry bless "$first"
entry rollback "$first"
entry promote "$promoted"

# --- pinned: what is in force stays while checkpoints go on; then an older one; then the newest again
order 0 'stays published while learning goes on' pin --redis "$url"
pinned=$(sed 's/^version \([0-9]*\) .*/\1/' answer)
sleep 1
[ "$(current)" = "$pinned" ] || fail "pinned is $pinned, in force $(current)"
newer() { [ "$(ask hget fr:default:metrics version)" -gt "$((pinned + 2))" ]; }
wait_for 20 "learning behind the pin" newer
order 0 'stays published while learning goes on' pin --redis "$url" --reason 'once more'
entry pin "$pinned"
[ "$(current)" = "$pinned" ] || fail "pinned is $pinned, in force $(current)"
order 0 "version $first stays published" pin "$first" --redis "$url" --reason 'the first one'
old() { [ "$(current)" = "$first" ]; }
wait_for 10 "version $first in force" old
[ "$(sha "$first")" = "$(sha "$version")" ] || true # newer manifests have left
order 1 'is not kept' pin 999999 --redis "$url"

# --- the pin outlives a restart and a Redis that lost everything
kill -TERM $learner
wait $learner || fail "the learner ended with $?"
learner=
ask flushall >/dev/null
start 100x
wait_for 30 "version $first in force after a restart" old
order 0 'no longer pinned' unpin --redis "$url"
wait_for 20 "newest version in force" at_least "$((version + 3))"
order 1 'no version is pinned' unpin --redis "$url"

# --- through the folder of a learner that runs
order 0 'went back to version' rollback --state state --reason 'by its folder'
[ -z "$(ls state/commands)" ] || fail "left behind: $(ls state/commands)"
# --- another version than the blessed one: from its weight file
target=$(ls state/weights | grep -x '[0-9]*' | sort -n | sed -n 3p)
order 0 "went back to version $target, as version" rollback "$target" --state state
version=$(sed 's/.*as version \([0-9]*\);.*/\1/' answer)
wait_for 10 "it in force" at_least "$version"
"$freshet" model versions state --json >versions
jq -e --argjson a "$target" --argjson b "$version" '[.state.versions[] | select(.version == $a or .version == $b).sha256] | .[0] == .[1] and length == 2' versions >tried ||
    fail "version $version is not what $target was"

# --- a stopped learner's folder: written down, done at the next start, before anything is learnt
kill -KILL $learner
wait $learner 2>/dev/null || true
learner=
for n in 1 2 3; do
    order 0 'it is done at the next start' pin "$target" --state state --reason "written $n"
    order 0 'it is done at the next start' unpin --state state --reason "taken $n"
done
order 0 'it is done at the next start' pin "$first" --state state --reason 'while it is down'
order 1 'version 9999 is not kept in state' pin 9999 --state state # known at once: nobody would read the refusal later
order 1 'version 9999 is not kept in state' rollback 9999 --state state
order 1 "no variant 'nosuch' has learnt in state" promote nosuch --state state
newest=$("$freshet" model versions state --json | jq '.state.versions[0].version')
order 1 'promote blesses the line as it is, whose newest version is [0-9]*; to go back to 1 use rollback' promote 1 --state state
order 0 'it is done at the next start' promote "$newest" --state state --reason 'the line as it is' # which the orders before it have left behind
[ "$(ls state/commands | wc -l)" = 8 ] || fail "written down: $(ls state/commands)"
for i in $(seq 40); do # answers of a year, that nobody waited for
    printf '{"id":"%032x","ok":true,"version":1,"text":"long ago"}' "$i" >"state/commands/$(printf %032x "$i").answer"
    touch -d "$i days ago" "state/commands/$(printf %032x "$i").answer"
done
"$freshet" model versions state >versions || fail "versions"
grep -q 'waiting  pin .*while it is down' versions || fail "an order that waits is not listed: $(cat versions)"
[ "$(sed -n 's/.* waiting  .*: \(written\|taken\|while\|the line\).*/\1/p' versions | tr '\n' ,)" = 'the line,while,taken,written,taken,written,taken,written,' ] ||
    fail "not the newest order first: $(cat versions)"
order 1 'taken back' pin --redis "$url" --wait 1 # its lease outlives a killed learner for a while
start 100x
wait_for 30 "pinned version" old
[ "$(sed -n 's/.* info command kind=.* reason="\(written\|taken\|while\)\( [1-3]\)\{0,1\}.*/\1\2/p' learner.log | tr '\n' ,)" = 'written 1,taken 1,written 2,taken 2,written 3,taken 3,while,' ] ||
    fail "orders were followed as $(grep 'info command' learner.log)"
followed() { ! ls state/commands | grep -qv 'answer$'; }
wait_for 10 "the last order" followed
ls state/commands >left
[ "$(grep -c 'answer$' left)" = 32 ] || fail "answers that are kept: $(cat left)"
[ -e "state/commands/$(printf %032x 24).answer" ] && ! [ -e "state/commands/$(printf %032x 25).answer" ] || fail "not the newest ones are kept"

# --- a learner that sleeps: what it has not begun is taken back, and never done
kill -STOP $learner
order 1 'no answer within 1 s; the order was taken back' rollback --state state --wait 1 --reason 'too late'
[ -z "$(ls state/commands | grep -v 'answer$')" ] || fail "the order is still there: $(ls state/commands)"
kill -CONT $learner
kill -TERM $learner
wait $learner || fail "the learner ended with $?"
learner=
grep -q 'too late' learner.log && fail "what was taken back was done"

# --- who, when and why
"$freshet" model versions state --log 100 >versions || fail "versions"
for what in 'rollback .* by .*@.* pid .*: looks odd' 'promote .*: good enough' 'pin .*: the first one' 'pin .*: while it is down' 'rollback .*: by its folder'; do
    grep -q "$what" versions || fail "the version log has no '$what': $(cat versions)"
done
grep -q 'refused  promote blesses the line as it is' versions || fail "what came of an order that nobody waited for is not listed: $(cat versions)"
sed -n '/^said of them/,/^$/s/^\([0-9T:.-]*Z\) .*/\1/p' versions >times
[ "$(wc -l <times)" -ge 4 ] || fail "the version log has no times: $(cat versions)"
sort -c -r times || fail "the version log is not in one kind of time: $(cat times)"
"$freshet" model versions -o redis.url="$url" --log 1000 >versions || fail "versions of Redis"
grep -q 'pin .*while it is down, by .*@' versions || fail "Redis' log has no pin: $(cat versions)"
"$freshet" model versions state -o redis.url="$url" --log 1000 --json >versions || fail "versions of both"
jq -e '[.redis.log[] | {v: (.version | tonumber), sha256}] + [.state.versions[] | {v: .version, sha256}] | group_by(.v)
    | all(map(.sha256) | unique | length == 1) and all(.[]; .[0].sha256 | length == 64)' versions >tried ||
    fail "a version has several contents: $(jq -c '.redis.log[] | [.kind, .version, .at, .sha256[:8]]' versions)"
jq -e '[.redis.log[] | select(.kind == "unpin" or .kind == "pin") | .version == .about] | length >= 3 and all' versions >tried ||
    fail "a pin is not about what was pinned: $(jq -c '.redis.log[]' versions)"
# what is no order is told of and goes
ask rpush 'fr:{default}:commands' '{"id":"x"}' >/dev/null
start 100x
gone() { [ "$(ask exists 'fr:{default}:commands')" = 0 ]; }
wait_for 20 "end of what is no order" gone
# while the line rests, operators read so
order 0 'went back to version' rollback --redis "$url" --reason 'to see it rest'
rests() { ask hget fr:default:info state | grep -qx 'paused: rolled back' && ask hget fr:default:info trouble | grep -q 'rests: nothing is learnt'; }
wait_for 10 "state and trouble of a line that rests" rests
kill -TERM $learner
wait $learner || fail "the learner ended with $?"
learner=
grep -q 'command .*refused="order: its field "id"' learner.log || fail "nothing is said of what is no order"
echo "gate_orders: a rollback took $took ms; $(grep -c 'command kind=' learner.log) orders"

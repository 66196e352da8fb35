#!/bin/sh
# redis_view.sh - Redis holds nothing that the job does not fill in again, one learner per model writes to it, and it says what is amiss.
# labels: redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "redis_view: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "redis_view: skipped, built without Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "redis_view: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' learner=''
end() {
    for pid in $learner $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "redis_view: $*"; tail -n 8 err 2>/dev/null; exit 1; }
ask() { redis-cli -s redis "$@"; }
. "$source/tests/support/wait.sh"
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
wait_for 20 Redis redis-cli -s redis ping
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=1
    -o redis.url=unix:$dir/redis"
"$freshet" simulate --events 2500 --users 60 --items 40 --seed 5 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
keys() { ask --scan --pattern "fr:default:$1:*" | sort; }
bytes() { # all users and items, with their contents
    for kind in user item; do
        keys $kind | while read -r key; do echo "$key $(ask dump "$key" | sha256sum)"; done
    done
}

# --- what a learner leaves behind is marked as whole; every metric is a number and there from the first write
"$freshet" replay --quiet $options -o state.dir=state -o history.users=20 -o publish.features_ms=60000 log 2>err || fail "replay"
keys user >users
[ "$(wc -l <users)" -ge 50 ] || fail "only $(wc -l <users) users"
[ "$(ask hget fr:default:info state)" = stopped ] || fail "the info does not say that the learner stopped"
[ "$(ask hget fr:default:info version)" = "$(ask get 'fr:{default}:current')" ] || fail "the info names another version than the one in force"
[ "$(ask --json hgetall fr:default:metrics | jq '[.[] | tonumber] | length')" -ge 38 ] || fail "metrics that are no numbers"
[ "$(ask hget fr:default:metrics watermark_ms)" = "$(tail -n 1 log | jq .time)" ] || fail "the watermark is not exact"
ask --json xrevrange fr:default:metrics:ts + - count 1 | jq -r '.[0][1] | [.[range(0; length; 2)]] | sort[]' >series
ask hkeys fr:default:metrics | sort >fields
cmp -s series fields || fail "hash and series have other fields: $(comm -3 series fields)"
ask hkeys fr:default:info | while read -r field; do
    sed -n '/^## .*fr:m:info/,/^## Scorer/p' "$source/docs/METRICS.md" | grep -q "^| .$field. |" || fail "docs/METRICS.md has no $field of fr:m:info"
done || exit 1
bytes >before

# --- flushed while no learner ran: the next one, with no event to learn from, fills it again; users that left memory too
ask flushall >tried
"$freshet" replay --quiet $options -o state.dir=state -o history.users=20 /dev/null 2>err || fail "resume on an empty Redis"
bytes >after
cmp -s before after || fail "users and items differ after the refill: $(comm -3 before after | wc -l) of $(wc -l <before)"

# --- whole as it was left: nothing is written again
writes() { ask info commandstats | sed -n 's/^cmdstat_set:calls=\([0-9]*\),.*/\1/p'; }
sets=$(writes)
"$freshet" replay --quiet $options -o state.dir=state -o history.users=20 /dev/null 2>err || fail "resume"
more=$(($(writes) - sets))
[ $more -lt 20 ] || fail "$more records were written to a Redis that had them all"

# --- users that are deleted leave Redis, and the state, and stay away: with an order under assembly, with an open list, as they are; of a
# user that the learner does not know a record that Redis has leaves too
now=$(tail -n 1 log | jq .time)
event() { echo "{\"time\":$((now + $1)),$2}"; }
{
    event 1000 '"type":"purchase","user":"order-1","item":"i1","order":"o1"'
    event 1000 '"type":"impression","user":"list-1","request":"r1","items":["i1","i2"]'
    event 1000 '"type":"user","user":"plain-1","age":33'
} >erase
ask set fr:default:user:left-1 anything >tried
"$freshet" replay --quiet $options -o state.dir=state -o history.users=20 erase 2>err || fail "replay of some to be deleted"
[ "$(ask exists fr:default:user:plain-1)" -eq 1 ] || fail "no record of plain-1"
{
    for user in order-1 list-1 plain-1 left-1; do event 1500 "\"type\":\"user\",\"user\":\"$user\",\"deleted\":true"; done
    event 400000 '"type":"view","user":"u1","item":"i1"'
} >erase
"$freshet" replay --quiet --flush $options -o state.dir=state -o history.users=20 erase 2>err || fail "replay of deletions"
for user in order-1 list-1 plain-1 left-1; do
    [ "$(ask exists "fr:default:user:$user")" -eq 0 ] || fail "Redis has a record of $user, which was deleted"
done

# --- flushed under a learner
ask flushall >tried
"$freshet" replay --quiet $options -o state.dir=beside --speed 3x log 2>err &
learner=$!
some() { [ "$(keys user | wc -l)" -ge 5 ] && [ -n "$(ask get 'fr:{default}:current')" ]; }
wait_for 60 "users" some
keys user >users
ask flushall >tried
full() { [ "$(keys user | comm -13 - users | wc -l)" -eq 0 ] && [ -n "$(ask get 'fr:{default}:current')" ]; }
wait_for 20 "refill" full

# --- a second learner of the model refuses to start and names the first
rc=0
"$freshet" replay --quiet $options -o state.dir=second log 2>second.err || rc=$?
[ $rc -eq 1 ] || fail "a second learner ended with $rc"
[ -z "$(ls second/weights 2>tried)" ] || fail "a second learner learnt before it was refused"
grep -q "pid $learner)" second.err || fail "the refusal does not name pid $learner: $(cat second.err)"
"$freshet" replay --quiet $options -o state.dir=third -o model.name=other log 2>err || fail "another model beside it"

# --- a lease that another took stops its learner
kill -0 $learner || fail "the learner ended too early"
ask set 'fr:{default}:lease' '{"owner":"x","epoch":99,"host":"elsewhere","pid":77}' >tried
rc=0
wait $learner || rc=$?
learner=
[ $rc -eq 1 ] || fail "a learner whose lease was taken ended with $rc"
grep -q 'elsewhere, pid 77' err || fail "it does not name who has the lease"

# --- what keeps a source out is said where operators look
"$freshet" simulate --events 55000 --users 300 --items 200 --seed 3 --no-best --fault labels1 --fault-at 9000000 --fault-ms 3600000 --sources 3 \
    >sourced 2>err || fail "simulate"
"$freshet" replay --quiet -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed -o model.hashed_bits=12 -o kernels.threads=1 \
    -o redis.url="unix:$dir/redis" -o model.name=sourced -o guard.quarantine_ms=7200000 -o ingest.dead_letters=letters sourced 2>err || fail "replay"
ask hget fr:sourced:info trouble | grep -q '^1 source in quarantine, s0 until 2026-.* goes to the dead letters' ||
    fail "of a quarantine is said '$(ask hget fr:sourced:info trouble)'"
echo "redis_view: $(wc -l <before) records filled in again; a second learner refused"

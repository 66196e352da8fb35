#!/bin/sh
# acl.sh - Redis with the ACL files of deploy/redis: each role does its work with its own password file, and nothing else.
# labels: redis
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "acl: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis.*+http' || { echo "acl: skipped, built without Redis or HTTP"; exit 77; }
for tool in jq curl redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "acl: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' scorer='' learner=''
end() {
    for pid in $learner $scorer $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "acl: $*"; tail -n 5 err serve.log learner.log 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"

# --- the server as deploy/redis says, and an administrator for this test
"$source/deploy/redis/users.sh" default "$dir" 2>err || fail "users.sh"
cp users.acl first.acl
"$source/deploy/redis/users.sh" default "$dir" 2>err || fail "users.sh again"
cmp -s users.acl first.acl || fail "users.sh gave other passwords to roles that had some"
[ "$(stat -c %a learner.password users.acl | sort -u)" = 600 ] || fail "secrets that others can read"
echo 'user admin on nopass ~* &* +@all' >>users.acl
redis-server "$source/deploy/redis/redis.conf" --dir "$dir" --enable-debug-command yes >redis.log 2>&1 &
redis=$!
admin() { redis-cli -s redis.sock --user admin --pass x --no-auth-warning "$@"; }
wait_for 20 Redis admin ping
as() { # role, command
    role=$1
    shift
    REDISCLI_AUTH=$(cut -d : -f 2- "$role.password") redis-cli -s redis.sock --user "$role" "$@" 2>&1 || true
}
[ "$(as learner ping)" = PONG ] || fail "a learner may not even ping: $(as learner ping)"
redis-cli -s redis.sock ping 2>&1 | grep -q NOAUTH || fail "who gives no password gets in"

# --- each role at work
options="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=12 -o join.window_ms=10000 -o kernels.threads=1
    -o redis.url=unix:$dir/redis.sock"
"$freshet" simulate --events 2500 --users 40 --items 40 --seed 3 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
"$freshet" replay $options -o state.dir=state -o redis.password_file=learner.password -o publish.every_ms=300 --speed 80x log \
    >learner.out 2>learner.log &
learner=$!
some_version() { as learner get 'fr:{default}:current' | grep -qE '^[0-9]+$'; }
wait_for 30 "version" some_version
"$freshet" serve $options -o redis.password_file=scorer.password -o serving.poll_ms=20 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
wait_for 20 "port" grep -q listening serve.log
at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
ready() { curl -sf "$at/v2/health/ready"; }
wait_for 20 "ready scorer" ready
rerank() { curl -sf -m 20 -o answer -d '{"user":"u1","items":["i1","i2","i3"]}' "$at/v1/rerank"; }
rerank || fail "no answer"
jq -e '.items | all(.[]; .known)' answer >tried || fail "a scorer that may not read items: $(cat answer)"
top() { "$freshet" top --once --json -o redis.url="unix:$dir/redis.sock" -o redis.password_file=dashboard.password >top.json 2>err; }
wait_for 20 "dashboard" top
freshness() { rerank && top && jq -e '.metrics.freshness_p50_ms > 0 and .metrics.events_total > 0 and (.log | length) > 0' top.json; }
wait_for 20 "freshness, written by the scorer" freshness
served() { [ "$(admin xlen fr:default:served)" -gt 0 ]; }
wait_for 20 "served answers" served
for role in learner scorer; do # a scorer reads the model, a learner its leavings: nothing is WRONG for either
    "$freshet" check $options -o redis.password_file=$role.password >check.out 2>err || fail "check as $role: $(cat check.out)"
done
"$freshet" model versions -o redis.url="unix:$dir/redis.sock" -o redis.password_file=dashboard.password >versions 2>err ||
    fail "model versions as dashboard"
# (the learner may have come to the end of its log: then nobody has the lease, which the operator may see)
"$freshet" model promote --reason "a try" -o redis.url="unix:$dir/redis.sock" -o redis.password_file=operator.password >answer 2>&1 ||
    grep -qE 'no learner of model default lives|no answer within' answer || fail "an order as operator: $(cat answer)"
for command in 'rpush fr:{default}:commands x' 'expire fr:{default}:commands 9' 'lrem fr:{default}:commands 0 x' 'get fr:{default}:answer:x' \
    'get fr:{default}:lease' 'xrevrange fr:{default}:log + - COUNT 1' 'hgetall fr:default:metrics'; do
    as operator $command >answer
    ! grep -q NOPERM answer || fail "refused to the operator: $command"
done

as learner xread COUNT 1 STREAMS fr:default:served 0-0 >answer
grep -q features answer || fail "the learner may not read what was served: $(cat answer)"
grep -q 'redis memory' check.out || fail "check says nothing of memory: $(cat check.out)"
"$freshet" check $options -o redis.password_file=learner.password >check.out 2>err || fail "check"
grep -q 'this model needs [0-9.]* MiB for 6 versions' check.out || fail "check does not say what the model needs: $(cat check.out)"
wait_for 20 "word of the memory that is needed" grep -q 'needs="[0-9.]* MiB for 6 versions' learner.log

# --- everything else is refused, to each
set -f
refused() { # role, command
    as "$@" >answer
    grep -q NOPERM answer || { echo "acl: not refused: $*: $(head -c 300 answer)"; bad=1; }
    n=$((n + 1))
}
n=0 bad=0
for role in learner scorer dashboard operator; do
    for command in flushall flushdb 'config get *' 'config set maxmemory 1' 'keys *' 'debug sleep 0' 'debug segfault' 'script flush' \
        'script load return' 'eval return 0' 'evalsha x 0' 'fcall f 0' 'function list' shutdown 'acl list' 'acl setuser x on' 'acl whoami' \
        'client list' 'client kill 1' monitor 'slaveof no one' 'replicaof no one' sync 'psync x 1' failover save bgsave bgrewriteaof \
        lastsave 'module list' 'slowlog get' 'latency doctor' 'cluster info' 'subscribe x' 'publish x y' 'swapdb 0 1' 'move k 1' \
        randomkey dbsize 'migrate h 1 k 0 1' 'restore k 0 x' 'dump fr:default:info' 'rename a b' 'object encoding fr:default:info' \
        'get fr:other:info' 'get fr:{other}:current' 'hgetall fr:other:metrics' 'get fr:default' 'get secret' \
        'set fr:{other}:current 1' 'set fr:other:user:u1 x' 'set foreign x' 'unlink fr:{other}:current' 'hset fr:other:metrics a 1' \
        'xadd fr:other:served * a b' 'xread STREAMS fr:other:served 0' 'xread STREAMS fr:{default}:log 0' 'sort fr:default:metrics' 'append fr:{default}:current 1' 'setrange fr:{default}:chunk:1:0 0 x' \
        'copy fr:{default}:current fr:other:x' 'memory usage fr:default:info' 'lolwut' 'wait 1 1' 'readonly'; do
        refused $role $command
    done
done
for command in 'set fr:{default}:current 1' 'set fr:{default}:manifest:1 x' 'set fr:{default}:chunk:1:0 x' 'unlink fr:{default}:chunk:1:0' \
    'del fr:{default}:current' 'set fr:{default}:lease x' 'get fr:{default}:lease' 'set fr:default:user:u1 x' 'set fr:default:item:i1 x' \
    'set fr:default:state:0 x' 'hset fr:default:info state stopped' 'hgetall fr:default:info' 'hgetall fr:default:metrics' \
    'xadd fr:default:metrics:ts * a 1' 'hset fr:default:served a 1' 'xadd fr:default:metrics * a 1' 'xrange fr:default:served - +' \
    'xtrim fr:default:served maxlen 0' 'xrange fr:{default}:log - +' 'expire fr:default:user:u1 1' 'persist fr:{default}:chunk:1:0' \
    'scan 0' info 'multi' 'watch fr:{default}:lease'; do
    refused scorer $command
done
for command in 'set fr:{default}:current 1' 'hset fr:default:metrics a 1' 'hset fr:default:info state x' 'xadd fr:default:metrics:ts * a 1' \
    'xadd fr:{default}:log * a 1' 'xadd fr:default:served * a 1' 'del fr:default:metrics' 'unlink fr:default:metrics' 'expire fr:default:metrics 1' \
    'hdel fr:default:metrics auc' 'xtrim fr:default:metrics:ts maxlen 0' 'get fr:default:user:u1' 'get fr:default:item:i1' \
    'get fr:default:state:0' 'get fr:{default}:chunk:1:0' 'get fr:{default}:lease' 'xrange fr:default:served - +' 'scan 0' info multi; do
    refused dashboard $command
    case $command in *lease*) ;; *) refused operator $command ;; esac
done
for command in 'set fr:{default}:lease x' 'rpush fr:{default}:answer:x y' 'del fr:{default}:commands' 'lrange fr:{default}:commands 0 1' \
    'expire fr:{default}:current 1' 'lrem fr:{other}:commands 0 x'; do
    refused operator $command
done
for command in 'xadd fr:default:served * a 1' 'xrange fr:default:served - +' 'del fr:default:served' 'lrange x 0 1'; do
    refused learner $command
done

set +f
[ $bad = 0 ] || fail "forbidden commands were not refused"

# --- a new password: connections that are made from now on use what the file says now
admin acl setuser scorer resetpass '>new-secret' >tried
admin client kill user scorer >tried
echo 'scorer:new-secret' >scorer.password
rerank || fail "no answer while the password changed"
connected() { curl -sf "$at/metrics" | grep -q '^freshet_redis_up 1'; }
wait_for 20 "scorer with the new password" connected
rc=0
wait $learner || rc=$?
learner=
[ $rc = 0 ] || fail "the learner ended with $rc"
last=$(admin get 'fr:{default}:current')
newest() { [ "$(curl -sf "$at/metrics" | sed -n 's/^freshet_version \([0-9]*\).*/\1/p')" = "$last" ]; }
wait_for 20 "version $last in the scorer" newest

# --- secrets stay where they belong
for secret in $(cut -d : -f 2- learner.password scorer.password dashboard.password operator.password); do
    ! grep -q "$secret" serve.log learner.log redis.log users.acl err || fail "a password is in a log"
    ! tr '\0' ' ' </proc/$scorer/cmdline | grep -q "$secret" || fail "a password is on a command line"
done
echo "acl: four roles at work, $n forbidden commands refused"

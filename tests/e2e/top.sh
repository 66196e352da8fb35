#!/bin/sh
# top.sh - freshet top over a private Redis: before a learner, after a replay, refreshed, and without a server.
# labels: redis
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "top: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis' || { echo "top: skipped, built without Redis"; exit 77; }
for tool in jq redis-server redis-cli; do
    command -v $tool >/dev/null || { echo "top: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
redis='' top=''
end() {
    for pid in $top $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "top: $*"; cat out err 2>/dev/null; exit 1; }
redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
redis=$!
for _ in $(seq 400); do
    redis-cli -s redis ping >out 2>&1 && break
    kill -0 $redis || fail "Redis did not start: $(cat redis.log)"
    sleep 0.05
done
url=unix:$dir/redis
show() { "$freshet" top -o redis.url="$url" "$@" >out 2>err || fail "exit $? of top $*"; }
holds() { jq -e "$1" out >tried || fail "not so: $1"; }

# nobody has learnt yet
for json in '' --json; do
    rc=0
    "$freshet" top --once $json -o redis.url="$url" -o model.name=nosuch >out 2>err || rc=$?
    [ $rc -eq 1 ] && [ ! -s out ] && grep -q "$url has nothing of a model nosuch" err || fail "exit $rc where nothing is there"
done
"$freshet" top --json --every 60 -o redis.url="$url" >out 2>err &
top=$!
for _ in $(seq 200); do
    [ "$(wc -l <out)" -lt 2 ] || break
    sleep 0.05
done
kill -TERM $top
wait $top || fail "exit $? of a watch"
top=
holds '.model == "default" and .metrics == {} and .info == {} and .log == []' # a watch waits for one

"$freshet" simulate --events 2000 --users 20 --items 40 --seed 4 --rate 5 --delay-ms 2000 --window-ms 10000 --no-best >log 2>err
echo 'not json' >>log
"$freshet" replay --quiet --report report --publish-every 50 -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=10 \
    -o join.window_ms=10000 -o kernels.threads=1 -o redis.url="$url" log 2>err || fail "replay"
show --once --json
[ "$(wc -l <out)" -eq 1 ] || fail "not one line"
for pair in events_total:events examples_total:examples rejected_total:rejected slates_total:slates open_slates:open \
    logloss:progressive.logloss auc:progressive.auc gauc:progressive.gauc calibration:progressive.calibration \
    evaluated_examples:progressive.examples version:model.version; do
    jq -e --slurpfile r report "(.metrics.${pair%:*} - \$r[0].${pair#*:}) | fabs < 1e-6" out >tried ||
        fail "${pair%:*} is $(jq ".metrics.${pair%:*}" out), the report says $(jq ".${pair#*:}" report)"
done
holds '.metrics | all(.[]; type == "number")'
jq -e --slurpfile r report '.info.sha256 == $r[0].model.sha256 and .info.version == ($r[0].model.version | tostring)' out >tried || fail "other weights"
jq -e --slurpfile r report '.log | length >= 2 and .[0].kind == "publish" and .[0].sha256 == $r[0].model.sha256' out >tried || fail "the log"
redis-cli -s redis xlen fr:default:metrics:ts | grep -qE '^[1-9]' || fail "no series of the metrics"
show --once
grep -qE "^ +events +$(jq .events report) " out || fail "the table has not the events"
grep -q "$(jq -r .model.sha256 report)" out || fail "the table has not the version"
# two hours after a learner has stopped in order its last checkpoint is two hours old
redis-cli -s redis del fr:default:metrics:ts >tried
redis-cli -s redis xadd fr:default:metrics:ts "$(($(date +%s) - 7200))000-0" x 1 >tried
show --once
grep -q 'checkpoint 120 min ago' out || fail "the checkpoint's age stands still"

# refreshed until a signal
"$freshet" top --json --every 60 -o redis.url="$url" >out 2>err &
top=$!
for _ in $(seq 200); do
    [ "$(wc -l <out)" -lt 3 ] || break
    sleep 0.05
done
kill -TERM $top
rc=0
wait $top || rc=$?
top=
[ $rc -eq 0 ] || fail "exit $rc after SIGTERM"
[ "$(jq -c .model out | wc -l)" -ge 3 ] || fail "not refreshed"

# in 80 columns and 18 rows nothing scrolls away; a learner that is gone is said; Redis that goes is said and waited for
if command -v tmux >tried; then
    tmux -S screen -f /dev/null new-session -d -x 80 -y 18 "exec $freshet top --every 60 -o redis.url=$url 2>top.err"
    sees() { # what
        for _ in $(seq 200); do
            tmux -S screen capture-pane -p >out 2>err && grep -q "$1" out && return
            sleep 0.05
        done
        fail "the screen has no: $1"
    }
    top=$(tmux -S screen display-message -p '#{pane_pid}')
    sees '^freshet default '
    sees "$(jq -r .model.sha256 report)"
    sees '  publish '
    grep -q '^freshet default ' out || fail "the first line scrolled away"
    ! grep -q TROUBLE out || fail "trouble without cause"
    redis-cli -s redis hset fr:default:info state learning >tried
    redis-cli -s redis del fr:default:metrics:ts >tried
    redis-cli -s redis xadd fr:default:metrics:ts $(($(date +%s%3N) - 60000))-0 a 1 >tried
    sees 'TROUBLE   these figures are 6[0-9] s old'
    kill -KILL $redis
    wait $redis 2>tried || true
    sees 'TROUBLE   redis '
    rm -f redis
    redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
    redis=$!
    sees 'no metrics yet'
    kill -TERM "$top"
    top=
fi

# no server
kill -KILL $redis
wait $redis 2>tried || true
redis=
for json in '' --json; do
    rc=0
    "$freshet" top --once $json -o redis.url="$url" >out 2>err || rc=$?
    [ $rc -eq 1 ] || fail "exit $rc without a server"
    grep -q "$url" err || fail "the message does not name the server"
    [ ! -s out ] || fail "output beside the error"
done

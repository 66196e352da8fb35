#!/bin/sh
# swap.sh - versions replace each other under request load: no request fails, and every answer is one whole version's.
#
#   SWAPS=1000 CLIENTS=4 GAP_MS=0 OPTIONS="section.key=value ..." tests/fault/swap.sh
#
# The long form is the real model: SWAPS=10000 OPTIONS="model.base=$PWD/models/all-MiniLM-L6-v2" FRESHET_BUILD=... .
# Prints p99 with swaps over p99 without, measured in the same run on the same scorer.
# labels: redis fault threads
# timeout: 180
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
[ -z "${FRESHET_SANITIZE:-}" ] || SWAPS=${SWAPS:-100}
swaps=${SWAPS:-1000} clients=${CLIENTS:-4} gap=${GAP_MS:-0} quiet_s=${QUIET_S:-3}
options="model.hashed_bits=12 kernels.threads=1 ${OPTIONS:-}"
[ -x "$freshet" ] && [ -x "$build/tests/swap_load" ] || { echo "swap: skipped, $freshet is not built"; exit 77; }
"$freshet" --version | grep -q '+redis.*+http' || { echo "swap: skipped, built without Redis or HTTP"; exit 77; }
for tool in jq curl redis-server; do
    command -v $tool >/dev/null || { echo "swap: skipped, no $tool"; exit 77; }
done
dir=$(mktemp -d)
publisher='' scorer='' load=''
end() {
    for pid in $load $scorer $publisher; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
cd "$dir"
fail() { echo "swap: $*"; tail -n 5 publisher.err serve.log load.err 2>/dev/null; cat with without 2>/dev/null; exit 1; }
. "$source/tests/support/wait.sh"

mkfifo commands
"$build/tests/swap_publish" table $options <commands >said 2>publisher.err &
publisher=$!
exec 3>commands
wait_for 60 publisher grep -q '^ready ' said
redis=$(sed -n 's/^ready \([^ ]*\) .*/\1/p' said)
base=$(sed -n 's/^ready [^ ]* //p' said)
echo 'versions 1 0' >&3
wait_for 60 'first version' grep -qx 'done 1' said
set --
for option in model.base="$base" $options; do set -- "$@" -o "$option"; done
"$freshet" serve "$@" -o redis.url="$redis" -o serving.poll_ms=1 --listen 127.0.0.1:0 2>serve.log &
scorer=$!
wait_for 60 port grep -q ' listening ' serve.log
port=$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
wait_for 60 version curl -sf "http://127.0.0.1:$port/v2/health/ready"
metric() { curl -sf "http://127.0.0.1:$port/metrics" | sed -n "s/^freshet_$1 //p"; }

"$build/tests/swap_load" "$port" table "$clients" "$quiet_s" >without 2>load.err || fail "requests failed without swaps"
before=$(metric versions_loaded_total)
"$build/tests/swap_load" "$port" table "$clients" 3600 >with 2>load.err &
load=$!
start=$(date +%s%N)
printf 'port %s\nversions %s %s\n' "$port" "$swaps" "$gap" >&3
wait_for 3000 'last version' grep -qx "done $((swaps + 1))" said
seconds=$(awk "BEGIN { print ($(date +%s%N) - $start) / 1e9 }")
kill -TERM $load
rc=0
wait $load || rc=$?
load=''
[ $rc -eq 0 ] || fail "requests failed while versions were swapped"
loaded=$(($(metric versions_loaded_total) - before))
[ "$loaded" -eq "$swaps" ] || fail "$loaded swaps instead of $swaps"
[ "$(metric versions_refused_total)" = 0 ] || fail "a version was refused"
[ "$(jq .version_changes with)" -ge "$swaps" ] || fail "the clients saw only $(jq .version_changes with) changes"
jq -nr --slurpfile a without --slurpfile b with --argjson swaps "$swaps" --argjson seconds "$seconds" '
    "swap: \($swaps) swaps in \($seconds) s under \($b[0].requests) requests (\($b[0].requests_per_s)/s), 0 failed; p99 with swaps \($b[0].p99_ms) ms, " +
    "without \($a[0].p99_ms) ms: \($b[0].p99_ms / $a[0].p99_ms * 100 | round / 100) times; longest \($b[0].max_ms) and \($a[0].max_ms) ms"'
echo "swap: a request waited at most $(metric hand_wait_max_ms) ms for a free pass"
kill -TERM $scorer
rc=0
wait $scorer || rc=$?
scorer=''
[ $rc -eq 0 ] || fail "serve ended with $rc after SIGTERM"
exec 3>&-
wait $publisher || fail "the publisher ended with $?"
publisher=''

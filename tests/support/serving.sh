# serving.sh - sourced by the scripts that have Redis, and most of them a scorer, beside a learner; sh.
#
#   serving_begin NAME LIBRARIES TOOL...  a temporary folder, now the current one; skips where the program lacks one of LIBRARIES
#                                         ("redis http") or a tool is absent
#   serving_redis                         Redis on ./redis, again after it was ended: $redis (pid)
#   serve ARGUMENT...                     a scorer on a free port, listening: $scorer (pid), $at; what it says is in ./serve.log
#   serve_over                            the end of it, which has to be a good one
#   wait_for SECONDS WHAT COMMAND...      (support/wait.sh)
#   is FILE FILTER                        what jq has to find in it
#   fail TEXT                             the end, with what was said last
#
# Sets source, build, freshet, dir, name.  Ends what $redis, $scorer and $learner name, and the pids in $started.
# shellcheck shell=sh disable=SC2034  # the caller uses them

source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
redis='' scorer='' learner='' started=''

skip() { echo "$name: skipped, $*"; exit 77; }
fail() {
    echo "$name: $*"
    tail -n 6 err learner.log serve.log 2>/dev/null || true
    [ ! -f answer ] || head -c 1500 answer
    exit 1
}

serving_end() {
    for pid in $learner $scorer $started $redis; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$dir"
}

serving_begin() { # NAME LIBRARIES TOOL...
    name=$1 libraries=$2
    shift 2
    [ -x "$freshet" ] || skip "$freshet is not built"
    for library in $libraries; do
        "$freshet" --version | grep -q "+$library" || skip "built without $library"
    done
    for tool in jq redis-server redis-cli "$@"; do command -v "$tool" >/dev/null || skip "no $tool"; done
    dir=$(mktemp -d)
    trap serving_end EXIT
    trap 'exit 1' INT TERM
    cd "$dir"
}

. "$source/tests/support/wait.sh"

serving_redis() {
    redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >redis.log 2>&1 &
    redis=$!
    wait_for 20 Redis redis-cli -s redis ping
}

serve() { # ARGUMENT...
    : >serve.log # what an earlier one said of its port is gone
    "$freshet" serve "$@" --listen 127.0.0.1:0 2>serve.log &
    scorer=$!
    wait_for 20 port grep -q listening serve.log
    at=http://127.0.0.1:$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' serve.log)
}

serve_over() {
    kill -TERM $scorer
    wait $scorer || fail "the scorer ended with $?"
    scorer=
}

is() { jq -e "$2" "$1" >tried 2>&1 || fail "$1 has not: $2 ($(head -c 300 tried))"; }

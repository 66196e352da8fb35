# stream.sh - sourced by the scripts that run the whole stream: a Kafka broker, Redis, learners; bash.
#
#   stream_begin NAME TOOL...   a temporary folder, now the current one; skips where what is needed is absent
#   stream_kafka [N] [FOLDER]   a real cluster in ./FOLDER (kafka): $servers; KAFKA_* of deploy/kafka.sh apply
#   stream_redis                Redis on ./redis, again after it was killed: $redis_pid; redis COMMAND...
#   stream_wait SECONDS WHAT COMMAND...
#   nap SECONDS                 without a process
#   fail TEXT                   the end, with the last lines of ./tool.err and ./err
#
# Sets source, build, freshet, dir, name.  What is started is ended with the script: pids in `started`.  STREAM_KEEP=1 keeps
# the folder.
# shellcheck shell=bash disable=SC2034  # the caller uses them

source=${FRESHET_SOURCE:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
export KAFKA_JARS=${KAFKA_JARS:-$source/build/kafka/jars} KAFKA_WAIT_S=${KAFKA_WAIT_S:-180} # on a busy machine, too
started=() folders=()

skip() { echo "$name: skipped, $*"; exit 77; }
fail() {
    {
        echo "$name: $*"
        tail -n 20 "$dir/tool.err" "$dir/err" 2>/dev/null || true
    } >&"$say_fd" # also out of a command that stream_wait tries
    exit 1
}

stream_end() {
    local pid folder
    for pid in "${started[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true # or bash says that it was killed
    done
    for folder in "${folders[@]}"; do
        for pid in 1 2 3; do KAFKA_DIR=$folder "$source/deploy/kafka.sh" kill $pid >/dev/null 2>&1 || true; done
    done
    [[ -n ${STREAM_KEEP:-} || -z ${dir:-} ]] || rm -rf "$dir"
}

stream_begin() { # NAME TOOL...
    local tool
    name=$1
    shift
    [[ -x $freshet ]] || skip "$freshet is not built"
    [[ $("$freshet" --version) == *+kafka*+redis* ]] || skip "built without Kafka or Redis"
    for tool in java jq kcat redis-server redis-cli "$@"; do
        command -v "$tool" >/dev/null || skip "no $tool (deploy/setup.sh installs it)"
    done
    [[ -d $KAFKA_JARS ]] || command -v mvn >/dev/null || skip "no mvn to fetch Kafka with (deploy/setup.sh installs it)"
    dir=$(mktemp -d)
    trap stream_end EXIT
    trap 'exit 1' INT TERM
    cd "$dir" || exit 1
    exec {nap_fd}<> <(:) {say_fd}>&1
}

nap() { # SECONDS
    read -rt "$1" -u "$nap_fd" || true
}

stream_wait() { # SECONDS WHAT COMMAND...
    local until=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >"$dir/tried" 2>&1; do
        ((SECONDS < until)) || fail "still no $what: $(tail -n 1 "$dir/tried")"
        nap 0.05
    done
}

stream_kafka() { # [N] [FOLDER]
    local folder=$dir/${2:-kafka}
    folders+=("$folder")
    KAFKA_DIR=$folder KAFKA_PORT=${KAFKA_PORT:-auto} "$source/deploy/kafka.sh" start "${1:-1}" 2>"$dir/kafka.err" ||
        fail "no broker: $(tail -n 3 "$dir/kafka.err")"
    servers=$(KAFKA_DIR=$folder "$source/deploy/kafka.sh" bootstrap)
}

redis() { redis-cli -s "$dir/redis" "$@"; }
stream_redis() {
    redis-server --unixsocket "$dir/redis" --port 0 --save '' --appendonly no >"$dir/redis.log" 2>&1 &
    redis_pid=$!
    started+=("$redis_pid")
    stream_wait 20 Redis redis ping
}

#!/usr/bin/env bash
# kafka_script.sh - deploy/kafka.sh itself: wrong use, three brokers of which one dies, what is there already, stale pid files.
# labels: broker kafka
# timeout: 400
set -euo pipefail
# shellcheck source=tests/support/stream.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/stream.sh"
stream_begin kafka_script
folders+=("$dir/kafka")
export KAFKA_DIR=$dir/kafka
script=$source/deploy/kafka.sh
ends_with() { # STATUS TEXT COMMAND...: its exit status, and what it says
    local want=$1 text=$2 rc=0
    shift 2
    "$@" >said 2>&1 || rc=$?
    ((rc == want)) || fail "$*: exit status $rc instead of $want: $(tail -n 1 said)"
    [[ -z $text ]] || grep -q -- "$text" said || fail "$*: says '$(tail -n 1 said)' and not '$text'"
}

# --- wrong use and missing tools say what to do
ends_with 2 'deploy/kafka.sh fetch' "$script"
ends_with 2 'unknown command nonsense' "$script" nonsense
ends_with 2 'N is 1 or 3, not 2' "$script" start 2
ends_with 2 'too many arguments' "$script" start 1 1
ends_with 2 'KAFKA_PORT=http' env KAFKA_PORT=http "$script" start
ends_with 2 'KAFKA_VERSION=2.8.0' env KAFKA_VERSION=2.8.0 "$script" fetch
ends_with 2 'KAFKA_SECURITY=yes' env KAFKA_SECURITY=yes "$script" start
ends_with 1 'there is no cluster in' "$script" status
ends_with 1 'there is no cluster in' "$script" topic a 1
ends_with 0 'KAFKA_DIR ' "$script" --help
ends_with 0 '' "$script" stop
mkdir tools
for tool in bash dirname mkdir cat sed flock mktemp sha256sum sort cut rm; do ln -s "$(command -v $tool)" tools; done
ends_with 1 'apt-get install maven' env PATH="$dir/tools" KAFKA_JARS="$dir/none" "$script" fetch
ends_with 1 'apt-get install openjdk-17-jre-headless' env PATH="$dir/tools" "$script" start

# --- three brokers; one dies
ends_with 0 'ready: .*3 brokers' env KAFKA_PORT=auto "$script" start 3
servers=$("$script" bootstrap)
[[ $servers =~ ^127.0.0.1:[0-9]+,127.0.0.1:[0-9]+,127.0.0.1:[0-9]+$ ]] || fail "bootstrap: $servers"
cp kafka/nodes/1/pid pid
ends_with 0 'ready: ' "$script" start
cmp -s pid kafka/nodes/1/pid || fail "start of a running cluster started a broker"
ends_with 1 'holds a cluster of 3' "$script" start 1
ends_with 1 'without KAFKA_SECURITY=1' "$script" bootstrap tls
ends_with 0 '' "$script" topic three 4 3 min.insync.replicas=2
ends_with 0 '' "$script" topic three 4
ends_with 1 'topic three is there with 4 partitions, not 5' "$script" topic three 5
ends_with 1 'nonsense' "$script" topic other 1 1 nonsense.key=1
ends_with 2 'RF: 1 to 3' "$script" topic other 1 4
ends_with 0 'broker 2 .*killed' "$script" kill 2
ends_with 1 'broker 2: down' "$script" status
ends_with 1 'broker 2 does not run' "$script" kill 2
seq 100 | kcat -P -b "$servers" -t three -X request.timeout.ms=6000 -X acks=all 2>tool.err || fail "no writing without one of three"
ends_with 0 'ready: ' "$script" start
ends_with 0 'broker 2: pid' "$script" status
[[ $(kcat -C -b "$servers" -t three -e -q | sort -n | tail -n 1) == 100 ]] || fail "what was written is not there"

# --- a pid file that names another process is not believed
ends_with 0 '' "$script" stop
ends_with 1 'broker 1: down' "$script" status
sleep 60 &
started+=($!)
echo $! >kafka/nodes/1/pid
ends_with 1 'broker 1: down' "$script" status
ends_with 1 'does not run' env KAFKA_WAIT_S=2 "$script" kill 1
ends_with 0 '' "$script" clean
kill -0 "${started[-1]}" || fail "another process was killed"
[[ ! -e kafka/nodes && ! -e kafka/cluster ]] || fail "clean left something"
echo "kafka_script: three brokers, one killed, all as it should be"

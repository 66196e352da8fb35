#!/usr/bin/env bash
# kafka_consume.sh - how many small messages a second come out of a real broker through source_next, the parser left out
# and the parser in, from 1 and from 4 partitions.  Broker, its clients and the reader share this machine's cores.
#
#   tests/bench/kafka_consume.sh [MESSAGES]      of about 100 bytes (default 3000000)
#
# FRESHET_BUILD  the build folder (default build/release)
# KAFKA_JARS     where Kafka's jars are kept (default: fetched into a temporary folder)
# Every record's place in its partition is checked before a rate is said.  Exit status 77: no Java.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
bench=${FRESHET_BUILD:-build/release}/tests/ingest_bench
messages=${1:-3000000}
[[ -x $bench ]] || { echo "kafka_consume: $bench is not there; make build" >&2; exit 77; }
command -v java >/dev/null || { echo "kafka_consume: no java (deploy/setup.sh installs it)" >&2; exit 77; }
KAFKA_DIR=$(mktemp -d)
export KAFKA_DIR KAFKA_PORT=auto
trap 'deploy/kafka.sh stop >/dev/null 2>&1 || true; rm -rf "$KAFKA_DIR"' EXIT
trap 'exit 130' INT TERM
deploy/kafka.sh start
servers=$(deploy/kafka.sh bootstrap)

echo "$(nproc) cores, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1); $messages messages"
printf '%-24s %-12s %12s %12s %12s\n' what unit least median most
for partitions in 1 4; do
    deploy/kafka.sh topic "small.$partitions" "$partitions"
    "$bench" produce "small.$partitions" "$messages" -o kafka.bootstrap.servers="$servers"
    echo "$partitions partition(s):"
    for parser in raw parsed; do
        "$bench" kafka "$parser" "$messages" -o kafka.bootstrap.servers="$servers" -o ingest.topics="small.$partitions" \
            -o ingest.membership=assign
    done
done

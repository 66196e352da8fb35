#!/usr/bin/env bash
# ingest.sh - how fast events come in: parsed, read from log files, through the whole job without learning, from Kafka.
#
#   tests/bench/ingest.sh [WHAT...]      parse files replay kafka   (default: all)
#
# FRESHET_BUILD  the build folder                (default build/release)
# FRESHET_DATA   folder with online-retail/      (default ../shared/data; without it a simulated log alone is replayed)
# Counts are checked first: a wrong one ends it.  Least, median and most of the rounds are printed.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${FRESHET_BUILD:-build/release} rounds=5
freshet=$build/freshet bench=$build/tests/ingest_bench
real=${FRESHET_DATA:-../shared/data}/online-retail/online_retail.csv.xz
csv=(--schema csv --map deploy/maps/online-retail.ini)
for program in "$freshet" "$bench"; do [[ -x $program ]] || { echo "ingest: $program is not there; make build" >&2; exit 77; }; done
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
trap 'exit 130' INT TERM

simulated() { # a million lines
    [[ -f $out/log.jsonl ]] ||
        "$freshet" simulate --events 1000000 --users 20000 --items 5000 --rate 20 --no-best >"$out/log.jsonl" 2>/dev/null
}
replay() { # NAME EVENTS LOG OPTIONS...
    local name=$1 events=$2 log=$3
    shift 3
    for ((i = 0; i < rounds; i++)); do
        "$freshet" replay --quiet --no-learn "$@" --report "$out/report.json" "$log" 2>/dev/null
        jq -e --argjson n "$events" '.events == $n and .rejected == 0 and .examples > 0' "$out/report.json" >/dev/null ||
            { echo "ingest: $name: $(jq -c '{events, rejected, examples}' "$out/report.json"), $events events expected" >&2; exit 1; }
        jq '.events / .seconds' "$out/report.json"
    done | sort -n >"$out/rates" || exit 1
    awk -v name="$name" '{ r[NR] = $1 } END { printf "%-24s %-12s %12.0f %12.0f %12.0f\n", name, "events/s", r[1], r[int((NR + 1) / 2)], r[NR] }' "$out/rates"
}
run_parse() { "$bench" parse; }
run_files() {
    simulated
    gzip -1 -k "$out/log.jsonl"
    zstd -q -1 -k "$out/log.jsonl"
    for file in log.jsonl log.jsonl.gz log.jsonl.zst; do
        echo "$file:"
        for parser in raw parsed; do "$bench" source "$parser" 1000000 "$out/$file"; done
    done
    rm -f "$out"/log.jsonl.*
    [[ -r $real ]] || return 0
    echo "online_retail.csv.xz:"
    for parser in raw parsed; do
        "$bench" source "$parser" 541909 -o ingest.schema=csv -o ingest.map=deploy/maps/online-retail.ini "$real"
    done
}
run_replay() {
    simulated
    [[ ! -r $real ]] || replay "replay online retail" 541909 "$real" "${csv[@]}"
    replay "replay simulated" 1000000 "$out/log.jsonl"
}
run_kafka() { FRESHET_BUILD=$build tests/bench/kafka_consume.sh; }

echo "$(nproc) cores, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)"
printf '%-24s %-12s %12s %12s %12s\n' what unit least median most
for what in "${@:-parse files replay kafka}"; do for w in $what; do "run_$w"; done; done

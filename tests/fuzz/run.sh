#!/bin/sh
# run.sh - fuzz targets, each from its committed corpus, for so many seconds; two at a time.
#
#   tests/fuzz/run.sh [SECONDS [TARGET...]]      default: 10, all that are built
#
# A target's own options stand in its first 30 lines, as ` * fuzz: -max_len=4096 -dict=json`.  What it finds is kept in
# findings/ of the build folder and fails the run; FRESHET_FUZZ_KEEP=FOLDER keeps the grown corpora too.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${FRESHET_BUILD:-$source/build/fuzz}
export FRESHET_SOURCE="$source"
export ASAN_OPTIONS="detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=16:abort_on_error=0:${ASAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:${UBSAN_OPTIONS:-}"

run_one() { # seconds, program
    name=${2#fuzz_}
    work=${FRESHET_FUZZ_KEEP:+$FRESHET_FUZZ_KEEP/$name}
    [ -n "$work" ] || work=$(mktemp -d)
    mkdir -p "$work" "$build/findings"
    options=$(sed -n '1,30s/^ \* fuzz: //p' "$source/tests/fuzz/$2.c" | sed "s|-dict=|-dict=$source/tests/fuzz/dict/|")
    rc=0
    # shellcheck disable=SC2086  # a list of options
    "$build/tests/fuzz/$2" -max_total_time="$1" -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 -max_len=16384 \
        -print_final_stats=1 -verbosity=1 -artifact_prefix="$build/findings/$name-" $options \
        "$work" "$source/tests/fuzz/corpus/$name" >"$work.log" 2>&1 || rc=$?
    if [ $rc -ne 0 ]; then
        tail -n 60 "$work.log"
        echo "fuzz: $name: found something; its input is the last line's file: add it to tests/fuzz/corpus/$name"
    else
        grep -E 'stat::number_of_executed_units|stat::average_exec|DONE|peak_rss' "$work.log" | sed "s/^/$name: /"
    fi
    [ -n "${FRESHET_FUZZ_KEEP:-}" ] || rm -rf "$work" "$work.log"
    return $rc
}

if [ "${1:-}" = --one ]; then
    run_one "$2" "$3"
    exit
fi
seconds=${1:-10}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2046  # a list of names
[ $# -gt 0 ] || set -- $(cd "$source/tests/fuzz" && ls fuzz_*.c | sed 's/\.c$//')
if [ $# -eq 1 ]; then
    run_one "$seconds" "$1"
    exit
fi
printf '%s\n' "$@" | xargs -P 2 -n 1 "$0" --one "$seconds"

#!/bin/sh
# check_prefixes.sh - every non-static symbol of a room begins with one of the room's prefixes (prefixes.txt).
#
# Reads the built libraries with nm, so it sees what the compiler saw; prints file:line of each symbol out of place.
# labels: quick style
set -eu
cd "${FRESHET_SOURCE:-$(dirname "$0")/../..}"
build=${FRESHET_BUILD:-build/release}
table=tests/tools/prefixes.txt
rc=0

where() { # room symbol: the first line that could be its definition
    grep -rnE "(^|[^a-z0-9_])$2( ?\(|;|\[| =)" "$1" --include='*.c' | grep -vE ':[0-9]+:[[:space:]]' | head -1 | cut -d: -f1-2
}

for lib in "$build"/libfreshet_*.a; do
    room=${lib##*libfreshet_}
    room=${room%.a}
    prefixes=$(awk -v room="$room" '$1 == room { for (i = 2; i <= NF; i++) printf "%s%s", (i > 2 ? "|" : ""), $i }' $table)
    if [ -z "$prefixes" ]; then
        echo "$table:1: room $room has no line"
        rc=1
        continue
    fi
    # names with a leading __ or a dot are the compiler's and the sanitizers'
    for symbol in $(nm -g --defined-only "$lib" 2>/dev/null | awk 'NF == 3 && $3 !~ /^__|\./ { print $3 }' | sort -u |
        grep -vE "^($prefixes)(_|$)" || true); do
        at=$(where "$room" "$symbol")
        echo "${at:-$room}: $symbol: room $room has the prefixes $prefixes; rename it, make it static, or add to $table"
        rc=1
    done
done
[ -e "$build/libfreshet_base.a" ] || { echo "$build: nothing built here"; rc=1; }
exit $rc

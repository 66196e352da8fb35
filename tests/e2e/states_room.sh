#!/bin/sh
# states_room.sh - a batch whose lists have more sentences than kernels.cache_bytes holds at once is learnt in smaller groups: the same
# bits each time, and the figures that more room gives.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "states_room: skipped, $freshet is not built"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "states_room: $*"; tail -n 3 err; exit 1; }
lists() { # N ITEMS: so many lists of so many items each, no item twice, no title twice
    awk -v lists="$1" -v items="$2" 'BEGIN {
        t = 1767225600000
        for (i = 0; i < lists * items; i++)
            printf "{\"type\":\"item\",\"time\":%.0f,\"item\":\"i%d\",\"title\":\"red lamp %d\"}\n", t, i, i
        for (l = 0; l < lists; l++) {
            printf "{\"type\":\"impression\",\"time\":%.0f,\"user\":\"u%d\",\"request\":\"r%d\",\"items\":[", t + 1000 + l, l, l
            for (i = 0; i < items; i++) printf "%s\"i%d\"", i ? "," : "", l * items + i
            printf "]}\n{\"type\":\"click\",\"time\":%.0f,\"user\":\"u%d\",\"request\":\"r%d\",\"item\":\"i%d\"}\n", t + 1000 + l, l, l, l * items
        }
        printf "{\"type\":\"user\",\"time\":%.0f,\"user\":\"after all windows\"}\n", t + 3600000
    }'
}
learn() { # REPORT LOG OPTION...: exit status in $rc
    rc=0
    "$freshet" replay --quiet --flush -o model.base="$source/tests/fixtures/uncased" -o model.parts=text,numeric -o model.hashed_bits=8 \
        -o model.item_view=tokens -o train.batch_slates=4 -o kernels.cache_bytes=1200000 --report "$@" >out 2>err || rc=$?
}
lists 4 900 >short
learn one.json short
[ $rc -eq 0 ] || fail "four lists of 900"
learn two.json short
[ "$(jq -r .model.sha256 one.json)" = "$(jq -r .model.sha256 two.json)" ] || fail "two runs differ"
learn wide.json short -o kernels.cache_bytes=268435456
[ $rc -eq 0 ] || fail "with more room"
jq -es ".[0].progressive.auc - .[1].progressive.auc | fabs < 1e-3" one.json wide.json >/dev/null || fail "other figures with more room"

#!/bin/sh
# joins.sh - which list a behaviour labels, when it is too late, and what becomes of orders that no list claims.
#
# Small logs by hand; what was learnt is read from the dumped examples.
# labels: quick
# timeout: 60
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "joins: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "joins: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "joins: $*"; cat err; exit 1; }
items() { # number: the catalogue, at second 0
    i=0
    while [ $i -lt "$1" ]; do
        echo "item 0 \"item\":\"i$i\",\"title\":\"red mug\""
        i=$((i + 1))
    done
}
replay() { # lines `type second fields` on stdin; options
    awk '{ type = $1; s = $2; $1 = $2 = ""; printf "{\"type\":\"%s\",\"time\":%.0f,%s}\n", type, 1767225600000 + s * 1000, $0 }' >log
    "$freshet" replay --quiet --flush --report report --dump-examples examples -o model.base="$source/tests/fixtures/uncased" \
        -o model.hashed_bits=10 -o kernels.threads=1 "$@" log 2>err || fail "replay ended with $?"
}
is() { # what, expression over the report, wanted
    [ "$(jq -c "$2" report)" = "$3" ] || fail "$1: $2 is $(jq -c "$2" report), not $3"
}
lists() { # what, wanted "request item=label ..." of the recorded lists
    got=$(jq -r 'select(.source == "impression") | "\(.request) \(.item)=\(.label)"' examples |
        awk '{ if ($1 != last) printf "%s%s", (NR > 1 ? "; " : ""), $1; last = $1; printf " %s", $2 } END { print "" }')
    [ "$got" = "$2" ] || fail "$1: $got, not $2"
}
orders() { # what, wanted positives and negatives of all orders, sorted
    got=$(jq -r 'select(.source == "organic") | "\(.item)=\(.label)"' examples | sort | tr '\n' ' ')
    [ "${got% }" = "$2" ] || fail "$1: ${got% }, not $2"
}

{
    items 6
    cat <<'END'
impression 10 "user":"u","request":"r1","items":["i1","i2","i3"]
impression 20 "user":"u","request":"r2","items":["i1","i2","i4"]
click 30 "user":"u","item":"i1","request":"r1"
click 40 "user":"u","item":"i2"
click 50 "user":"u","item":"i3"
click 1815 "user":"u","item":"i4"
view 4000 "user":"v","item":"i1"
END
} | replay
lists "by request, else the newest list that shows it" "r1 i1=1 i2=0 i3=1; r2 i1=0 i2=1 i4=1"
orders "all clicks have their lists" ""
is "counts" '[.slates, .examples, .open, .late]' '[2,6,0,0]'

# a click after its list's window labels nothing, and is no order either: the item was shown and not taken in time
{
    items 6
    cat <<'END'
impression 10 "user":"u","request":"r1","items":["i1","i2"]
click 1811 "user":"u","item":"i1","request":"r1"
view 4000 "user":"v","item":"i1"
purchase 4100 "user":"u","item":"i2","request":"r1"
END
} | replay
lists "late behaviours" "r1 i1=0 i2=0"
orders "late behaviours" ""
is "late behaviours" '[.late, .slates]' '[2,1]'

# an order of which a list claims one item: the rest is a slate of its own, in which the claimed one is no negative
{
    items 6
    cat <<'END'
impression 5 "user":"u","request":"r","items":["i1","i4"]
purchase 10 "user":"u","item":"i1","order":"o"
purchase 10 "user":"u","item":"i2","order":"o"
END
} | replay
lists "half an order" "r i1=1 i4=0"
orders "half an order" "i0=0 i2=1 i3=0 i4=0 i5=0"

# lines of two users' orders between each other
{
    items 40
    cat <<'END'
purchase 10 "user":"a","item":"i1","order":"x"
purchase 11 "user":"b","item":"i2","order":"x"
view 12 "user":"a","item":"i9"
purchase 13 "user":"a","item":"i3","order":"x"
purchase 14 "user":"b","item":"i4","order":"x"
purchase 15 "user":"a","item":"i5","order":"y"
END
} | replay
got=$(jq -s -c '[group_by(.slate)[] | [.[0].user, (map(select(.label == 1).item)), length]] | sort' examples)
[ "$got" = '[["a",["i1","i3"],10],["a",["i5"],5],["b",["i2","i4"],10]]' ] || fail "interleaved orders: $got"

# the dumped history: newest first, with each event's item, type and age (i9 was only viewed, and is no candidate here)
got=$(jq -s -c '(map({key: .item_hash, value: .item}) | from_entries) as $name | map(select(.item == "i5"))[-1]
    | [(.history_hash | map($name[.])), (.history_type | length), .history_type[0] == .history_type[2],
       .history_type[0] == .history_type[1], (.history_minutes | map(. * 60 | round))]' examples)
[ "$got" = '[["i3",null,"i1"],3,true,false,[2,3,5]]' ] || fail "dumped history: $got"

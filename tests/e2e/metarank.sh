#!/bin/sh
# metarank.sh - a Metarank log replays with per-slate figures: labels and GAUC worked out apart, and natively the same.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "metarank: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "metarank: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
log=$dir/log
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "metarank: $*"; cat err; exit 1; }
# and one event after all windows
{
    cat "$source/tests/fixtures/metarank.jsonl"
    echo '{"event":"user","id":"after","timestamp":1661998090000,"user":"after","fields":[]}'
} >"$log"
replay() { # report, then arguments
    report=$1
    shift
    "$freshet" replay --quiet --flush --report "$report" -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
        -o join.organic=false -o kernels.threads=1 "$@" 2>err || fail "replay $*"
}
replay report --dump-examples dump --schema metarank "$log"
[ "$(jq .events report)" -eq "$(wc -l <"$log")" ] || fail "$(jq .events report) events"
[ "$(jq '.rejected + .late + .unmatched + .open' report)" -eq 0 ] || fail "events without a place: $(jq -c '[.rejects, .late, .unmatched, .open]' report)"
[ "$(jq .slates report)" -eq "$(grep -c '"event":"ranking"' "$log")" ] || fail "$(jq .slates report) slates"
jq -e '.progressive | .slates >= 50 and .gauc > 0 and .gauc < 1 and .logloss > 0 and .examples >= 400' report >tried || fail "figures: $(jq -c .progressive report)"

# every ranking's items in their order, each labelled by the interactions that name the ranking (one click names none: that
# user's newest ranking that shows the item has it)
jq -cn '[inputs] | map(select(.event == "interaction")) as $did | .[] | select(.event == "ranking") | . as $r | .items[] |
    {request: $r.id, user: $r.user, item: .id, label: ([.id as $i | $did[] | select(.ranking == $r.id and .item == $i)] | if length > 0 then 1 else 0 end)}' \
    "$log" >wanted
jq -c '{request, user, item, label: .label}' dump >got
[ "$(diff wanted got | grep -c '^[<>]')" -le 2 ] || fail "labels differ: $(diff wanted got | head -n 4)"
[ "$(jq -s 'map(.label) | add' got)" -eq $(($(jq -s 'map(.label) | add' wanted) + 1)) ] || fail "the click without a ranking found no slate"

# GAUC: in each slate the share of (taken, not taken) pairs in the right order, ties half
jq -s 'group_by(.slate) | map([.[] | select(.label == 1).logit] as $p | [.[] | select(.label == 0).logit] as $n |
    select(($p | length) > 0 and ($n | length) > 0) | [$p[] as $a | $n[] as $b | if $a > $b then 1 elif $a == $b then 0.5 else 0 end] | add / length) |
    [length, add / length]' dump >gauc
jq -e --slurpfile r report '.[0] == $r[0].progressive.slates and (.[1] - $r[0].progressive.gauc | fabs) < 1e-9' gauc >tried ||
    fail "GAUC $(jq -c . gauc), the report says $(jq -c .progressive report)"

"$freshet" convert --schema metarank "$log" >native 2>err || fail "convert"
replay native.json native
[ "$(jq .model.sha256 native.json)" = "$(jq .model.sha256 report)" ] || fail "the converted log teaches something else"

#!/bin/sh
# report_figures.sh - what the report of a replay says beyond its first figures: segments that add up, curves, intervals, the page.
#
# Lists with echoes of version and variant, context and user attributes; checked against counts made with jq from the log.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "report_figures: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "report_figures: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "report_figures: $*"; cat "$dir/err"; exit 1; }

"$freshet" simulate --events 8000 --users 60 --items 120 --seed 5 --rate 5 --no-best >"$dir/raw" 2>"$dir/err"
{
    jq -nc 'range(60) | {type: "user", time: 1767225600000, user: "u\(.)", country: ["de", "fr", "<x&y>"][. % 3]}'
    jq -c 'if .type == "impression" then . + {version: "\((.time / 6000 | floor) % 40)", variant: (if .user < "u3" then "a" else "b" end),
           context: {page: (if (.request | ltrimstr("r") | tonumber) % 2 == 0 then "home" else "search" end)}} else . end' "$dir/raw"
} >"$dir/log"
"$freshet" replay --report "$dir/report" --report-html "$dir/page" --flush -o model.base="$source/tests/fixtures/uncased" \
    -o model.parts=match,numeric -o join.window_ms=30000 -o join.organic=false -o eval.unsampled_frac=1 \
    -o eval.segments=user.country,item.category,context.page,user.nothing "$dir/log" 2>"$dir/err" || fail "replay"
holds() { jq -e "$1" "$dir/report" >"$dir/tried" || fail "not so: $1"; }

# each column's values are all of the examples, and each slate's
for column in event.type position variant user.country item.category context.page user.nothing; do
    holds "[.segments[\"$column\"][].examples] | add == $(jq .progressive.examples "$dir/report")"
    holds "[.segments[\"$column\"][].positives] | add == $(jq .progressive.positives "$dir/report")"
done
holds '.segments["user.country"] | keys == ["<x&y>", "de", "fr"]'
holds '.segments["user.nothing"] | keys == ["(none)"]'
holds '.segments.version | length == 17 and has("older") and ([.[].examples] | add) > 0'
# all lists whose window was over when the log ended (--flush settles the others too, and they are in no figure)
jq -s '(map(.time) | max) as $last | [.[] | select(.type == "impression" and .time + 30000 < $last)]' "$dir/log" >"$dir/old"
young=$(($(jq -s '[.[] | select(.type == "impression")] | length' "$dir/log") - $(jq length "$dir/old")))
[ "$young" -gt 0 ] || fail "the log has no young lists"
holds ".cut_off == $young and .open == 0"
for page in home search; do
    shown=$(jq "[.[] | select(.context.page == \"$page\") | .items | length] | add" "$dir/old")
    holds ".segments[\"context.page\"].$page.examples == $shown"
done
holds ".segments.position[\"1\"].examples == $(jq length "$dir/old")"
holds '.by.impression == .progressive and .by.organic.examples == 0'
holds '.by.first_time.examples + .by.repeated.examples == .progressive.examples'

# the curve is the whole, parted by time; its cohorts are the lists
holds '([.curve[].model.examples] | add) == .progressive.examples and (.curve | length) > 2'
holds '([.curve[].cohort.shown] | add) == .progressive.examples and ([.curve[].cohort.taken] | add) == .progressive.positives'
holds '[.curve[] | .to_ms - .from_ms] | unique | length == 1'
holds '([.curve[] | .model.logloss * .model.examples] | add) / .progressive.examples - .progressive.logloss | fabs < 1e-9'

# intervals hold their value, and what is better than chance is so
holds '.intervals | .gauc.lower < .gauc.mean and .gauc.mean < .gauc.upper and .gauc_over.constant.lower > 0'
holds '.intervals.gauc.mean == .progressive.gauc'
holds '.intervals.gauc_over.popularity.mean - (.progressive.gauc - .baselines.popularity.gauc) | fabs < 1e-12'
holds '.ranking.model.ndcg["5"] > .ranking.constant.ndcg["5"] and .ranking.model.recall["10"] == 1'
holds '.reliability.bins | length > 5 and ([.[].examples] | add) == '"$(jq .progressive.examples "$dir/report")"
holds '.baselines.cheap.gauc != .progressive.gauc'

# among all active items it is harder, for popularity too; every slate was checked
holds '.unsampled.model.slates == ([.segments["event.type"][].slates] | add) or .unsampled.model.slates > 1000'
holds '.unsampled.items > 50 and .unsampled.items <= 120'
holds '.unsampled.model.recall["5"] < .ranking.model.recall["5"] and .unsampled.model.recall["20"] > 0.17'
holds '.unsampled.popularity.ndcg["10"] > 0'
holds '.from_ms <= .curve[0].to_ms and .to_ms > .from_ms'
holds ".lists.lists == $(jq length "$dir/old") and .lists.coverage == 1"
holds '([.lists.by_item_age[].top] | add) == .progressive.examples'
holds '.lists.diversity_categories > 0 and .lists.diversity_vectors > 0'
holds '.served.lists == 0 and .served.skew.mean == null'

# the page stands alone, is closed, and what came from outside is escaped
grep -q '^</body></html>$\|</body></html>' "$dir/page" || fail "the page is cut off"
! grep -Eq '(src|href)=|https?://|@import|url\(' "$dir/page" || fail "the page fetches something"
grep -q '&lt;x&amp;y&gt;' "$dir/page" || fail "a segment's name is missing"
! grep -q '<x&y>' "$dir/page" || fail "a segment's name is not escaped"
[ "$(grep -c '<svg' "$dir/page")" -ge 4 ] || fail "plots are missing"
grep -q '<td>running window of 24 h and the 1 before it</td>' "$dir/page" || fail "what the windows are is not said: $(grep -o '<td>[^<]*window[^<]*' "$dir/page")"
grep -q 'were among the first 10 of a list (a shorter one' "$dir/page" || fail "coverage is not said"
grep -q 'since the last line' "$dir/err" || fail "no running table"

# of lists without a positive, and of one user alone, the page says only what is known
jq -c 'select(.type == "item" or .type == "impression")' "$dir/raw" | head -n 200 >"$dir/unmarked"
jq -c 'select(.type == "item" or .user == "u3")' "$dir/raw" >"$dir/alone"
"$freshet" replay --quiet --report-html "$dir/none" --flush -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric \
    "$dir/unmarked" 2>"$dir/err" || fail "replay without positives"
jq -c 'select(.type == "item")' "$dir/raw" >"$dir/items"
"$freshet" replay --quiet --report-html "$dir/empty" -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric \
    "$dir/items" 2>"$dir/err" || fail "replay without lists"
grep -q 'No list was recorded, and no order' "$dir/empty" || fail "why there is no coverage is not said"
grep -q 'GAUC: mean AUC of the slates with both labels\. Intervals' "$dir/none" || fail "GAUC of no list: $(grep -o 'GAUC: mean.*' "$dir/none" | head -c 200)"
"$freshet" replay --quiet --report-html "$dir/one" -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric \
    -o join.window_ms=30000 "$dir/alone" 2>"$dir/err" || fail "replay of one user"
grep -q 'GAUC of the model 0\.[0-9]*\. Intervals' "$dir/one" || fail "one user's interval: $(grep -o 'GAUC: mean.*' "$dir/one" | head -c 200)"

# warm-up is left out of what says how good the model is; a baseline without sentence states is no measured 0.5
cp "$dir/report" "$dir/first"
"$freshet" replay --quiet --report "$dir/report" --warmup 1000 -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric \
    -o join.window_ms=30000 -o join.organic=false "$dir/log" 2>"$dir/err" || fail "replay with a warm-up"
holds '.windows.last_28.examples == .progressive.examples and .decayed.figures.examples <= .progressive.examples'
holds '([.curve[].model.examples] | add) == .progressive.examples + 10000'
holds '.baselines.frozen.gauc == null and .baselines.popularity.gauc > 0.5 and .intervals.gauc_over.frozen.mean == null'
mv "$dir/first" "$dir/report"

# lists that all show the whole catalogue, read from above: shown is what was shown, and among all items is among these; long names
# in the page are cut between characters
jq -nc '("x" * 62 + "é…") as $long |
    (range(12) | {type: "item", time: 1767225600000, item: "i\(.)", title: "mug \(.)", category: $long}),
    (range(100) | {time: (1767225600000 + 1000 * .), user: "u\(. % 7)", request: "r\(.)"} as $of |
     $of + {type: "impression", items: [range(12) | {item: "i\(.)"}], version: "1", variant: $long},
     (select(. % 2 == 0) | $of + {type: "click", time: ($of.time + 1), item: "i\(. * 5 % 12)"})),
    {type: "item", time: 1767312000000, item: "i12", title: "of another day"}' >"$dir/whole"
"$freshet" replay --quiet --report "$dir/report" --report-html "$dir/page" -o model.base="$source/tests/fixtures/uncased" \
    -o model.parts=numeric -o join.window_ms=30000 -o join.cascade=true -o eval.unsampled_frac=1 -o eval.segments=item.category \
    "$dir/whole" 2>"$dir/err" || fail "replay of whole catalogues"
holds '.shown.lists == 100 and .shown.shown == 1200 and .shown.taken == 50 and .progressive.examples < 1200'
holds '.unsampled.model.slates == 50 and .unsampled.items == 12 and .unsampled.model.recall["20"] == 1'
holds '.segments["item.category"] | keys == ["x" * 62]'
holds '.segments.variant | keys == ["x" * 62]'
iconv -f UTF-8 -t UTF-8 "$dir/page" >"$dir/tried" 2>"$dir/err" || fail "the page is no UTF-8"

# a key that does not name an attribute is refused, and so is a fifth cut
refused() { # SETTING TEXT
    rc=0
    "$freshet" replay --quiet -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric -o "$1" "$dir/log" 2>"$dir/err" || rc=$?
    [ "$rc" = 2 ] || fail "$1: exit status $rc, wrong configurations have 2"
    grep -q "$2" "$dir/err" || fail "the refusal of $1 does not say '$2'"
}
refused eval.segments=country "eval.segments: 'country' is not user.NAME"
refused eval.segments=user.a,user.b,user.c,user.d,user.e,user.f,user.g,user.h,item.i "names 9 attributes, at most 8"
refused eval.k=1,2,3,4,5 "eval.k: '1,2,3,4,5' has 5 numbers, at most 4"
refused eval.k=1001 "eval.k: 1001 is not a whole number from 1 to 1000"
refused eval.k=5,1,5 "eval.k: '5,1,5' names 5 twice"
echo "report_figures: $(jq -c '[.progressive.gauc, .intervals.gauc.lower, .intervals.gauc.upper]' "$dir/report")"

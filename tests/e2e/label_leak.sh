#!/bin/sh
# label_leak.sh - what only the labelled event itself says must not help: a log whose labels show in nothing else scores 0.5.
#
# Who takes what is drawn at random, but every event that makes a label carries a price and a title that no catalogue entry
# has; right after, the catalogue is put back.  A model that saw the label's own fields would reach an AUC near 1.  Orders
# (sampled negatives) and lists (recorded clicks) are tried apart.  In the control the same reader gets a log whose
# catalogue prices decide, and must find out.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "label_leak: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "label_leak: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "label_leak: $*"; cat "$dir/err"; exit 1; }

# orders | lists | prices, number of slates -> a log: 100 items, 150 users, a slate every 3 minutes
log() {
    awk -v kind="$1" -v slates="$2" '
    function draw(n) { seed = (16807 * seed) % 2147483647; return int(seed / 2147483647 * n) }
    function item(i) { printf "{\"type\":\"item\",\"time\":%.0f,\"item\":\"i%d\",\"title\":\"%s\",\"price\":%d}\n", t, i, title[i], price[i] }
    function taken(type, u, i, more) {
        printf "{\"type\":\"%s\",\"time\":%.0f,\"user\":\"u%d\",\"item\":\"i%d\"%s%s}\n", type, t, u, i, more,
            kind == "prices" ? "" : ",\"price\":5000,\"title\":\"sold\""
    }
    BEGIN {
        seed = 20260301
        t = 1772323200000
        n = split("red blue green black white", colour, " ")
        m = split("mug lamp chair shelf bowl vase tray box", thing, " ")
        for (i = 0; i < 100; i++) {
            title[i] = colour[1 + draw(n)] " " thing[1 + draw(m)]
            price[i] = 10 + draw(90)
            item(i)
        }
        for (s = 0; s < slates; s++) {
            t += 180000
            u = draw(150)
            i = draw(100)
            if (kind == "lists") {
                shown = ""
                for (k = 0; k < 5; k++) shown = shown (k ? "," : "") "{\"item\":\"i" ((i + 17 * k) % 100) "\"}"
                printf "{\"type\":\"impression\",\"time\":%.0f,\"request\":\"l%d\",\"user\":\"u%d\",\"items\":[%s]}\n", t, s, u, shown
                t += 1000
                i = (i + 17 * draw(5)) % 100
                taken("click", u, i, ",\"request\":\"l" s "\"")
                t += 1000
                item(i)
                continue
            }
            if (kind == "prices") while (price[i] > 30) i = draw(100)
            taken("purchase", u, i, ",\"order\":\"o" s "\"")
            t += 120000
            if (kind != "prices") item(i) # the order is complete by then
        }
    }' >"$dir/log"
}
score() { # arguments of replay
    "$freshet" replay --quiet --flush --report "$dir/report" -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
        -o join.window_ms=60000 -o join.negatives_uniform_frac=1 -o kernels.threads=1 "$@" "$dir/log" 2>"$dir/err" || fail "exit $? of replay $*"
    slates=$(jq .slates "$dir/report")
    [ "$(jq .rejected "$dir/report")" -eq 0 ] || fail "rejected: $(jq -c .rejects "$dir/report")"
}

# A slate of one positive and four others has an AUC of variance 1/8 when nothing is known: over 4,000 slates the mean
# strays 0.0056 (one standard deviation).  0.025 is more than four of them; the pooled AUC strays less.
for kind in orders lists; do
    log $kind 4000
    score
    [ "$slates" -ge 3900 ] || fail "$kind: only $slates slates"
    jq -e '.progressive | .gauc > 0.475 and .gauc < 0.525 and .auc > 0.475 and .auc < 0.525' "$dir/report" >"$dir/out" ||
        fail "$kind: GAUC $(jq .progressive.gauc "$dir/report"), AUC $(jq .progressive.auc "$dir/report") where nothing can be known"
    echo "label_leak: $kind: GAUC $(jq .progressive.gauc "$dir/report"), AUC $(jq .progressive.auc "$dir/report") over $slates slates"
done

# The control: about a quarter of the catalogue costs at most 30, and only that is bought.  A perfect reader of the price
# reaches 0.5 * share + (1 - share) = about 0.88.
log prices 1000
score -o model.parts=numeric -o model.features=item.price
jq -e '.progressive.gauc > 0.7 and .progressive.auc > 0.7' "$dir/report" >"$dir/out" ||
    fail "the catalogue's prices decide, yet GAUC is $(jq .progressive.gauc "$dir/report")"
echo "label_leak: control: GAUC $(jq .progressive.gauc "$dir/report") over $slates slates"

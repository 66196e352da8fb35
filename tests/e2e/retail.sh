#!/bin/sh
# retail.sh - the whole Online Retail file through the parts that need no encoder: rows, skips, GAUC, calibration.
#
# A few seconds.  The file is looked for in $FRESHET_DATA/online-retail (default: shared/data beside the source folder).
# labels: data slow
# timeout: 300
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "retail: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "retail: skipped, no jq"; exit 77; }
log=${FRESHET_DATA:-$source/../shared/data}/online-retail/online_retail.csv.xz
[ -r "$log" ] || { echo "retail: skipped, no $log (set FRESHET_DATA)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "retail: $*"; cat err; exit 1; }
"$freshet" replay --quiet --report report --schema csv --map "$source/deploy/maps/online-retail.ini" --warmup 62d \
    -o join.max_positives=8 -o model.parts=numeric,hashed -o model.base="$source/tests/fixtures/uncased" "$log" 2>err || fail "replay"
holds() { jq -e "$1" report >tried || fail "not so: $1, but $(jq -c '[.events, .rejects, .slates, .progressive]' report)"; }
# counted apart with a CSV reader: 2995 rows of postage and the like, then 1324 without a quantity, then 1161 without a price
holds '.events == 541909 and .rejected == 0 and .duplicates == 0 and .late == 0'
holds '.rejects == {"skipped.no_product_code": 2995, "skipped.no_quantity": 1324, "skipped.no_price": 1161}'
holds '.slates > 18000 and .progressive.examples > 500000'
holds '.progressive | .gauc >= 0.79 and .calibration >= 0.95 and .calibration <= 1.05'
holds '.progressive.gauc > .baselines.popularity.gauc + 0.05 and .progressive.gauc > .baselines.repeat.gauc + 0.02'
holds '.progressive.gauc as $all | .parts | all(.[]; .gauc_without < $all)'
holds '.peak_rss_bytes < 2147483648'

# items of the same orders: what lists of 128 bring, and that lists long enough for nearly every pair bring no more
with() { "$freshet" replay --quiet --report "with$1" --schema csv --map "$source/deploy/maps/online-retail.ini" --warmup 62d \
    -o join.max_positives=8 -o model.parts=numeric,cooccur -o cooccur.neighbours="$1" -o model.base="$source/tests/fixtures/uncased" \
    "$log" 2>err || fail "replay with cooccur.neighbours=$1"; }
with 128
with 1024
jq -e -s '(.[0].progressive.gauc - .[0].parts.cooccur.gauc_without) > 0.007 and
    (.[0].progressive.gauc - .[1].progressive.gauc | fabs) < 0.001' with128 with1024 >tried ||
    fail "co-occurrence: GAUC $(jq .progressive.gauc with128) with 128 neighbours, $(jq .progressive.gauc with1024) with 1024"
echo "retail: GAUC $(jq .progressive.gauc report), calibration $(jq .progressive.calibration report), $(jq .seconds report) s"

#!/bin/sh
# convert.sh - freshet convert: presets to native lines that read back equal, rejects summarised and kept, exit codes.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "convert: skipped, $freshet is not built"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "convert: $*"; cat "$dir/err"; exit 1; }

run() { # want exit status, then arguments
    want=$1 rc=0
    shift
    "$freshet" convert "$@" >"$dir/out" 2>"$dir/err" || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
log=$source/tests/fixtures/metarank.jsonl

run 0 --schema metarank "$log"
mv "$dir/out" "$dir/native"
[ "$(wc -l <"$dir/native")" -eq "$(wc -l <"$log")" ] || fail "lines are missing"
[ "$(grep -c '"type":"impression"' "$dir/native")" -eq 72 ] || fail "not every ranking is an impression"
run 0 "$dir/native"
cmp "$dir/out" "$dir/native" || fail "native lines change when they are converted again"
gzip -c "$dir/native" >"$dir/packed"
run 0 - <"$dir/packed"
cmp "$dir/out" "$dir/native" || fail "standard input, compressed"

cat >"$dir/shop.csv" <<'CSV'
Order,Code,Name,Qty,When,Price,Customer
1,10001A," TEA ""POT"", red ",2,2010-12-01 08:26:00,2.50,17850.0
1,POST,POSTAGE,1,2010-12-01 08:26:00,9,17850.0
C2,10001a,,-1,2010-12-02 08:26:00,2.50,
3,10002,CUP,1,yesterday,1,1
3,10002,CUP,1
CSV
sed -e 's/InvoiceDate/When/; s/InvoiceNo/Order/; s/StockCode/Code/; s/CustomerID/Customer/; s/Description/Name/' \
    -e 's/UnitPrice/Price/; s/= Quantity/= Qty/' "$source/deploy/maps/online-retail.ini" >"$dir/shop.ini"
run 0 --schema csv --map "$dir/shop.ini" --dead-letters "$dir/dead" "$dir/shop.csv"
cat >"$dir/want" <<'JSON'
{"type":"purchase","time":1291191960000,"user":"17850","item":"10001A","order":"1","title":"TEA \"POT\", red","price":2.5,"quantity":2,"currency":"GBP"}
{"type":"refund","time":1291278360000,"item":"10001A","order":"C2","price":2.5,"quantity":1,"currency":"GBP"}
JSON
diff "$dir/want" "$dir/out" || fail "rows of a CSV file"
grep -q '^5 records, 2 events, 2 rejected' "$dir/err" || fail "the summary"
grep -q 'skipped: no_product_code *1$' "$dir/err" || fail "the skipped row"
grep -q 'bad_time *1  first: .*yesterday' "$dir/err" || fail "the first bad time"
[ "$(wc -l <"$dir/dead")" -eq 2 ] || fail "dead letters"
grep -q '"reason":"csv_columns"' "$dir/dead" || fail "dead letters lack the short row"

head -c 300 "$dir/packed" >"$dir/cut.gz"
run 1 "$dir/cut.gz"
grep -q 'cut.gz: .*byte 300' "$dir/err" || fail "a cut file is named with its byte"
run 1 "$dir/none.jsonl"
sed 's/Price/Cost/' "$dir/shop.csv" >"$dir/other.csv"
run 1 --schema csv --map "$dir/shop.ini" "$dir/other.csv"
grep -q 'other.csv: no column "Price"' "$dir/err" || fail "a missing column is named with its file"
run 1 --topic t "$dir/native"
grep -q 'kafka.bootstrap.servers' "$dir/err" || fail "what --topic needs is named"
run 2
run 2 --schema csv "$dir/shop.csv"
run 2 --schema nonsense "$dir/native"
run 0 --help
[ -s "$dir/out" ] || fail "help goes to standard output"

# --- no output is lost without a word
head -n 1 "$dir/native" >"$dir/one"
rc=0
"$freshet" convert "$dir/one" >/dev/full 2>"$dir/err" || rc=$?
[ $rc -eq 1 ] && grep -q 'stdout: No space left' "$dir/err" || fail "a full disk: exit $rc"
(cat "$dir/one" && sleep 0.3 && cat "$dir/one") | "$freshet" convert - >"$dir/out" 2>"$dir/err" || fail "a pipe that pauses"
[ "$(wc -l <"$dir/out")" -eq 2 ] || fail "a pipe that pauses: $(wc -l <"$dir/out") of 2 lines"
mkfifo "$dir/pipe"
"$freshet" convert - <"$dir/pipe" >"$dir/out" 2>"$dir/err" &
job=$!
exec 3>"$dir/pipe" # held open: there is no end
cat "$dir/one" >&3
sleep 0.3
kill -TERM $job
rc=0
wait $job || rc=$?
exec 3>&-
[ $rc -eq 1 ] && grep -q 'stopped by a signal' "$dir/err" || fail "SIGTERM: exit $rc"
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "SIGTERM: what was read is not there"

"$freshet" convert "$dir/native" 2>"$dir/err" | head -1 >"$dir/out" # a reader that goes away is no fault
[ "$(wc -l <"$dir/out")" -eq 1 ] || fail "a reader that goes away"

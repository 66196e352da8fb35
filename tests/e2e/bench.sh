#!/bin/sh
# bench.sh - freshet bench: every case is checked and timed, the JSON agrees with the table, refusals. Never judges a time.
# labels: redis
# timeout: 300
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "bench: skipped, $freshet is not built"; exit 77; }
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "bench: $*"; cat out err 2>/dev/null; exit 1; }
run() { # want exit status, then arguments
    want=$1 rc=0
    shift
    TMPDIR=$dir "$freshet" bench "$@" >out 2>err || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
tiny_bert base
run 0 --list
cut -d ' ' -f 1 out >names
[ "$(sort names | uniq -d | wc -l)" -eq 0 ] || fail "a name stands twice"
for c in gemm.f32 gemm.bf16 gemm.int8 encode.f32.16 encode.bf16.32 encode.int8.128 encode.int8.all.32 tokenize parse train \
    train.dense score.100 rerank.10 rerank.100.cold rerank.1000.load fresh.served take publish publish.bytes checkpoint swap; do
    grep -qx "$c" names || fail "--list has no $c"
done
run 0 --quick --json figures.json --svg figures.svg --report figures.html -o model.base=base -o model.hashed_bits=10
for limit in 'f32 peak' 'bf16 peak' 'int8 peak' memory disk; do
    grep -q "^  .* $limit" out || fail "the heading has no $limit"
done
grep -qE '^  one core +[0-9.]+ GFLOP/s +[0-9.]+ GFLOP/s +[0-9.]+ GOP/s +[0-9.]+ GB/s +[0-9.]+ MB/s$' out || fail "no limits"
while read -r c; do
    grep -qE "^  $c +(skipped: .+|[0-9.]+ +[0-9.]+ +[0-9.]+  [A-Za-z/]+( +[0-9.]+% +[0-9.]+%  (f32|bf16|int8) peak| +[0-9.]+% +[0-9.]+%  (memory|disk))?)$" out ||
        fail "no line of $c"
done <names
for c in $(cat names); do
    grep -q ">$c<" figures.html || fail "the page has no $c"
    grep -q "$c .*%" out && { grep -q ">$c<" figures.svg || fail "the picture has no $c"; }
done
grep -qE '(src|href)=' figures.html && fail "the page needs something beside it"
if command -v python3 >/dev/null; then
    python3 -c 'import sys, xml.dom.minidom as x
page = open("figures.html").read()
for text in open("figures.svg").read(), page[page.index("<svg"):page.index("</svg>") + 6]: x.parseString(text)' || fail "the picture is no XML"
fi
[ "$(awk '{ if (length($0) > n) n = length($0) } END { print n }' out)" -le 100 ] || fail "wider than 100 columns"
if command -v jq >/dev/null; then
    jq -r '.cases[].name' figures.json | cmp -s - names || fail "the JSON's cases are not those of --list"
    jq -e '.format == 1 and .machine.cores >= 1 and .machine.one_core.f32_flop_per_s > 1e9 and
        ([.machine.one_core, .machine.all_cores | .[]] | length == 10 and all(. > 0))' figures.json >/dev/null || fail "machine"
    jq -e '[.cases[] | select(.skipped == null) | .min > 0 and .min <= .median and .median <= .p99 and .p99 <= .p999 and
        .p999 <= .max and .samples >= (if .topic == "memory" or .topic == "fresh" then 1 else 3 end) and (.better == "higher" or .better == "lower")] | all' figures.json >/dev/null || fail "spread"
    jq -e '[.cases[] | select(.share != null) | .share > 0 and .share <= 1.05 and .share_worst > 0 and .share_worst <= .share] |
        length >= 11 and all' figures.json >/dev/null || fail "share"
fi
[ -z "$(find . -name 'freshet-bench-*')" ] || fail "the temporary folder stays"
run 0 --quick --only tokenize --against figures.json -o model.base=base
grep -qE '^  tokenize +[0-9.e+]+ +[0-9.e+]+  sentences/s +[0-9.]+x( \*)?$' out || fail "no ratio"
run 0 --quick --only tokenize --json - -o model.base=base
grep -q '^  tokenize ' err || fail "the table is nowhere"
! command -v jq >/dev/null || jq -e '.cases[0].name == "tokenize"' out >/dev/null || fail "stdout is no JSON alone"
[ ! -e ./- ] || fail "a file is named -"
run 2 --quick --only tokenize --json same --svg same -o model.base=base
grep -q 'written to same' err || fail "the file that is named twice is not said"
echo '{}' >other.json
run 1 --quick --only tokenize --against other.json -o model.base=base
run 0 --quick --only tokenize -o model.base=base
[ "$(grep -cE '^  [a-z0-9.]+ .*%' out)" -eq 1 ] || fail "--only shows others"
printf '0.01\n0\n' | TMPDIR=$dir "$freshet" bench --ask --quick --only tokenize -o model.base=base >out 2>err || fail "--ask"
[ "$(grep -cE '^\{"units":[1-9][0-9]*,"seconds":[0-9.e-]+\}$' out)" -eq 2 ] || fail "--ask has not two answers"
head -n 1 out | grep -q '^{"ready":{"kernels":"[^"]*","slates":\[' || fail "--ask does not say what it works on"
run 2 --ask --quick -o model.base=base </dev/null
run 2 --ask --quick --only mem -o model.base=base </dev/null
grep -q 'is named mem' err || fail "the case that can't be asked for is not said"
run 0 --list --only encode
[ "$(wc -l <out)" -eq "$(grep -c '^encode' names)" ] || fail "--list --only shows others"
run 2 --quick --only nonsense -o model.base=base
grep -q 'nonsense' err || fail "the name is not said"
run 1 --quick -o model.base=none
grep -q 'none' err || fail "the folder is not named"
run 2 --quick -o model.base=base -o model.item_view=tokens
run 2 --quick 5
run 2 --only
run 2 --nonsense
for option in '--json none/figures' '--svg none/figures' '--report none/figures' '--against none.json' '--json .'; do
    run 1 --quick --only tokenize $option -o model.base=base
    [ ! -s out ] || fail "it measured first, with $option"
done
if [ -e /dev/full ]; then
    run 1 --quick --only tokenize --json /dev/full -o model.base=base
    grep -q 'No space left' err || fail "why the JSON was not written is not said"
fi
# A learner's configuration tells where its events come from; the benchmark's come from its shop.
run 0 --quick --only rerank.10.cold -o model.base=base -o model.hashed_bits=10 -o ingest.schema=metarank -o train.ranks=2 \
    -o redis.password_file=none -o kafka.bootstrap.servers=127.0.0.1:1 -o model.name=other -o join.loss=importance
# Told to stop, it leaves nothing behind.
TMPDIR=$dir "$freshet" bench --only gemm -o model.base=base >out 2>err &
pid=$!
i=0
until grep -q '^gemm' out || [ $i -ge 600 ]; do sleep 0.05 && i=$((i + 1)); done
kill -TERM $pid
rc=0
wait $pid || rc=$?
[ "$rc" -eq 1 ] && grep -q 'told to stop by a signal' err || fail "exit $rc after SIGTERM"
[ -z "$(find . -name 'freshet-bench-*')" ] || fail "the temporary folder stays after a failure"

#!/bin/sh
# model_versions.sh - freshet model: inspect, versions, export and diff of a state folder that a replay made; what is refused.
# labels: quick
# timeout: 120
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "model_versions: skipped, $freshet is not built"; exit 77; }
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "model_versions: $*"; cat out err 2>/dev/null; exit 1; }
run() { # want exit status, then arguments of `freshet model`
    want=$1 rc=0
    shift
    "$freshet" model "$@" >out 2>err || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: model $*"
}
holds() { grep -qE -- "$1" out || fail "output without '$1'"; }
says() { grep -qE -- "$1" err || fail "no '$1' on stderr"; }

tiny_bert base
"$freshet" simulate --events 1200 --users 30 --items 40 --no-best --delay-ms 2000 --window-ms 10000 >log.jsonl 2>err
"$freshet" replay log.jsonl --flush --publish-every 60 --quiet -o state.dir=state -o model.base=base -o join.window_ms=10000 \
    -o model.hashed_bits=10 >out 2>err || fail "replay"
newest=$(ls state/weights | sort -n | tail -1)
[ "$newest" -ge 2 ] || fail "$newest versions"

# inspect: the folder
run 0 inspect base
holds '^architecture BERT: 2 layers of 32, 4 heads, FFN 64, gelu'
holds '^tokenizer +48 ids'
holds '^pooling +mean of tokens, normalised'
holds "^sha256 +$(sha256sum base/model.safetensors | cut -d' ' -f1)"
holds '^fingerprint +[0-9a-f]{16}$'
grep -q 'encoder.layer.0' out && fail "tensors of a folder without --tensors"
run 0 inspect base --tensors
holds '^encoder.layer.1.attention.self.query.weight +F32 +32x32 +[0-9.]+ +-[0-9.]+ +[0-9.]+$'
run 0 inspect base --json
if command -v jq >/dev/null; then
    jq -e '.layers == 2 and .hidden == 32 and .pooling == "mean" and .tokenizer.ids == 48 and (.tensors | length) > 30' out >/dev/null ||
        fail "JSON of the folder"
fi

# inspect: state folder, one of its versions, a weight file
run 0 inspect state
holds "^version +$newest\$"
holds '^text.layer.1.qkv.weight +F32 +96x32 '
holds '^hashed.weight +F32 +1024 '
sha=$(sed -nE 's/^sha256 +([0-9a-f]{64}) .*/\1/p' out)
run 0 inspect state --version 1
holds '^version +1$'
run 0 inspect "state/weights/$newest" --json
grep -q "\"sha256\": \"$sha\"" out || fail "the weight file has another hash than the state folder's newest"

# versions
run 0 versions state
holds '^ +version +sha256 +time +examples +bytes'
[ "$(grep -cE '^ +[0-9]+  [0-9a-f]{12}  20' out)" -eq "$newest" ] || fail "not every version is listed"
holds "^ +$newest  $(echo "$sha" | cut -c1-12) .* newest\$"
run 0 versions --json -o state.dir=state
if command -v jq >/dev/null; then
    jq -e "[.state.versions[].examples] | length == $newest and (. == (sort | reverse)) and .[-1] > 0" out >/dev/null || fail "examples by version"
    jq -e '[.state.versions[] | select(.newest)] | length == 1' out >/dev/null || fail "one newest"
fi
printf 'x' | dd of=state/weights/1 bs=1 seek=2000 conv=notrunc 2>/dev/null
run 0 versions state
holds '^ +1 .* damaged: '
run 1 inspect state --version 1
rm state/weights/1

# export: what is learnt is in, all else as it was
run 0 export exported -o state.dir=state -o model.base=base
says "exported: version $newest, 1 learnt layers"
for f in config.json vocab.txt tokenizer_config.json modules.json 1_Pooling/config.json; do
    cmp -s "base/$f" "exported/$f" || fail "$f is not the base's"
done
grep -q "\"sha256\": \"$sha\"" exported/freshet.json || fail "freshet.json names another version"
run 0 inspect exported
holds '2 layers of 32'
run 0 diff base exported
[ "$(grep -cE '^ +[0-9.]+% .* encoder\.layer\.1\.' out)" -eq 16 ] || fail "not all 16 tensors of the top layer changed"
holds '^16 changed, [0-9]+ unchanged$'
grep -q 'layer\.0' out && fail "a frozen layer changed"
run 0 inspect exported/freshet.safetensors
holds '^text.head +F32 +1x32 '
holds '^hashed.weight '
grep -q 'text\.layer' out && fail "a layer stands twice"
run 0 diff "state/weights/$newest" exported/freshet.safetensors
holds '^0 changed, [0-9]+ unchanged$'
run 0 export exported --version 2 --state state -o model.base=base # again, another version, over the same folder
grep -q '"version": 2' exported/freshet.json || fail "--version 2"

# diff of two versions: biggest change first, the same file unchanged
run 0 diff 2 "$newest" -o state.dir=state
[ "$newest" -eq 2 ] || sed -nE 's/^ +([0-9.]+)% .*/\1/p' out | sort -c -g -r 2>err || fail "not the biggest change first"
run 0 diff state state --json
if command -v jq >/dev/null; then jq -e '.changed == [] and .unchanged > 20 and .a.sha256 == .b.sha256' out >/dev/null || fail "JSON of no change"; fi

# refusals
run 2
run 2 nonsense
says "unknown subcommand 'nonsense'"
for sub in rollback promote pin unpin; do
    run 2 "$sub" # neither Redis nor a folder is named
    says 'give --redis URL, or --state DIR'
    run 1 "$sub" --state empty-place
    says 'empty-place'
done
run 2 rollback seven --state state
says "'seven' is no version"
run 0 --help
holds '^  export '
holds '^  rollback '
run 2 inspect
run 2 export out-dir
says 'state.dir'
run 2 versions
says 'redis.url'
run 1 inspect none
says 'none: No such file'
run 1 inspect state --version 99
says 'keeps no version 99'
mkdir empty
run 1 inspect empty
says 'config.json'
run 1 versions empty
run 1 export x -o state.dir=empty
echo garbage >file
run 1 inspect file
run 1 export base -o state.dir=state -o model.base=base
says 'base model'
run 1 diff base state
says 'no tensor in common'
tiny_bert other
printf 'x' | dd of=other/model.safetensors bs=1 seek=140000 conv=notrunc 2>/dev/null
run 1 export x -o state.dir=state -o model.base=other
says 'learnt on another base model'

#!/bin/sh
# chinese.sh - a shop in Chinese: its characters are in the vocabulary, sentences are Chinese, and it is learnt from.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "chinese: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "chinese: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "chinese: $*"; cat err; exit 1; }
"$freshet" simulate --language zh --events 8000 --users 60 --items 120 --seed 8 --rate 2 --no-best >log 2>err || fail "simulate"
replay() { # model folder, then arguments
    base=$source/tests/fixtures/$1
    shift
    "$freshet" replay --quiet --report report -o model.base="$base" -o model.hashed_bits=14 \
        -o describe.language=zh -o join.window_ms=60000 -o kernels.threads=1 "$@" log 2>err || fail "replay $*"
}
replay zh --warmup 300 --dump-examples whole
tail -n 500 whole >dump
jq -e '.rejected == 0 and .tokens > 1000 and .unknown_tokens < 0.05 * .tokens' report >tried ||
    fail "unknown tokens: $(jq -c '[.unknown_tokens, .tokens]' report)"
jq -e '.progressive | .gauc > 0.6 and .auc > 0.6' report >tried || fail "nothing was learnt: $(jq -c .progressive report)"
jq -e -s 'map(.history[]) | length > 1000 and all(.[]; test("\\p{Han}"))' dump >tried || fail "sentences without a Chinese character"
grep -q '我 购 买 了' dump || fail "the shipped templates were not used: $(jq -r '.history[0] // empty' dump | head -n 1)"
"$freshet" check --model "$source/tests/fixtures/zh" -o describe.language=zh log >out 2>err || fail "check: $(cat out)"
grep -q 'UNK' out && ! grep -q '^warn .*UNK' out || fail "check on a Chinese vocabulary: $(cat out)"

# The sentences alone, read by an encoder of random weights: over 1,500 slates the mean of knowing nothing strays 0.008.
replay zh --warmup 300 -o model.parts=text
jq -e '.progressive | .slates > 1400 and .gauc > 0.525' report >tried || fail "the sentences teach nothing: $(jq -c .progressive report)"

# an English vocabulary knows hardly any of the characters
replay uncased --warmup 300
jq -e '.unknown_tokens > 0.3 * .tokens' report >tried || fail "unknown tokens with an English vocabulary: $(jq -c '[.unknown_tokens, .tokens]' report)"
"$freshet" check --model "$source/tests/fixtures/uncased" -o describe.language=zh log >out 2>err || fail "check: $(cat out)"
grep -q '^warn .*UNK' out || fail "check does not warn of [UNK]: $(cat out)"

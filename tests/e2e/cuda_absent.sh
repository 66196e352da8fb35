#!/bin/sh
# cuda_absent.sh - kernels.backend=cuda where the plug-in is not: the error names what was looked for and the next step, and
# kernels.fallback=cpu goes on with a warning.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "cuda_absent: $*"; exit 1; }
embed() { echo '{"text":"a"}' | "$freshet" embed --model "$source/tests/fixtures/uncased" -o kernels.backend=cuda "$@"; }
cp "$freshet" "$dir/freshet" # where no plug-in stands beside it
freshet=$dir/freshet
rc=0
embed >"$dir/out" 2>"$dir/err" || rc=$?
[ $rc = 1 ] || fail "exit status $rc"
for text in freshet_cuda.so 'cmake --preset cuda' kernels.plugin kernels.backend=cpu; do
    grep -qF "$text" "$dir/err" || fail "the error does not say '$text': $(cat "$dir/err")"
done
embed -o kernels.fallback=cpu >"$dir/out" 2>"$dir/err" || fail "fallback: $(cat "$dir/err")"
grep -q '"embedding"' "$dir/out" || fail "no embedding"
grep -q 'the processor computes instead' "$dir/err" || fail "no warning: $(cat "$dir/err")"

#!/bin/sh
# bench_checks.sh - what freshet bench checks before it times holds for right kernels, in each precision and instruction set.
# That wrong ones are refused is seen by the lines of tests/mutants.txt that end in bench_checks.  And a record's memory is that of
# one more, however many there were.
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "bench_checks: skipped, $freshet is not built"; exit 77; }
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
tiny_bert base
checked() { # cases, then settings
    only=$1
    shift
    TMPDIR=$dir "$freshet" bench --quick --only "$only" -o model.base=base -o model.hashed_bits=10 "$@" >out 2>err || {
        echo "bench_checks: --only $only $*"
        cat out err
        exit 1
    }
    grep -qE "^  $only[a-z0-9.]* +[0-9.]+ " out || { echo "bench_checks: nothing was timed of $only"; cat out; exit 1; }
}
checked gemm
checked train.all
checked train.dense -o kernels.train_precision=f32
checked train.dense -o kernels.cpu=base
checked train.dense -o train.clip_norm=0 -o model.parts=numeric,hashed

bytes() { # case, further options
    only=$1
    shift
    TMPDIR=$dir "$freshet" bench --only "$only" "$@" -o model.base=base -o model.hashed_bits=10 2>err | awk -v c="$only" '$1 == c { print int($3) }'
}
for c in memory.user memory.item memory.slate; do
    few=$(bytes $c --quick)
    [ "$few" -gt 0 ] || continue # an allocator that does not tell (a sanitizer's)
    many=$(bytes $c)
    [ "$few" -gt 100 ] && [ $((few * 10)) -lt $((many * 11)) ] && [ $((many * 10)) -lt $((few * 11)) ] ||
        { echo "bench_checks: $c: $few bytes of few, $many of many"; exit 1; }
done

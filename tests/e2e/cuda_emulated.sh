#!/usr/bin/env bash
# cuda_emulated.sh - the whole CUDA plug-in on an emulated device (tests/cuda/): it learns and scores a log as `ref` does, to the
# rounding of f32, the same bits twice; and what it lacks at the start is said by name.
# labels: quick
# timeout: 240
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
plugins=${FRESHET_PLUGINS:-$build/tests}
[ -f "$plugins/freshet_cuda_emulated.so" ] || { echo "cuda_emulated: skipped, not built with sanitizers"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "cuda_emulated: $*"; tail -n 5 err 2>/dev/null || true; exit 1; }

"$freshet" simulate --events 60 --users 8 --items 20 --no-best >log 2>err
options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=8 -o model.idvec_bits=6 -o model.events=4
    -o model.parts=text,match,numeric,cooccur,hashed,idvec -o join.window_ms=5000 -o kernels.threads=1 -o train.batch_slates=5 -o train.step_slates=2)
cuda=(-o kernels.backend=cuda -o kernels.device_mb=240 -o kernels.plugin="$plugins/freshet_cuda_emulated.so")
export FRESHET_CUBLASLT="$plugins/fake_cublaslt.so"
for precision in f32 bf16; do
    p=(-o kernels.precision=$precision -o kernels.train_precision=$precision)
    "$freshet" replay "${options[@]}" "${p[@]}" -o kernels.backend=ref --quiet --flush --report ref.json log 2>err || fail "ref $precision"
    for run in one two; do
        "$freshet" replay "${options[@]}" "${p[@]}" "${cuda[@]}" --quiet --flush --report $run.json log 2>err || fail "cuda $precision"
    done
    [ "$(jq -r .model.sha256 one.json)" = "$(jq -r .model.sha256 two.json)" ] || fail "$precision: two runs differ"
    # What comes again is a recording; where recording fails it is launched, to the same bits.
    FRESHET_EMULATED_FAULT=capture "$freshet" replay "${options[@]}" "${p[@]}" "${cuda[@]}" --quiet --flush --report two.json log 2>err ||
        fail "cuda $precision without recordings"
    grep -q "launches can't be recorded" err || fail "$precision: nothing was to be recorded"
    [ "$(jq -r .model.sha256 one.json)" = "$(jq -r .model.sha256 two.json)" ] || fail "$precision: recordings differ from launches"
    # Frozen states that go up each time instead of being kept there.
    "$freshet" replay "${options[@]}" "${p[@]}" "${cuda[@]}" -o kernels.device_cache_mb=0 --quiet --flush --report two.json log 2>err ||
        fail "cuda $precision, nothing kept"
    [ "$(jq -r .model.sha256 one.json)" = "$(jq -r .model.sha256 two.json)" ] || fail "$precision: rows that are kept differ"
    jq -es '.[0].progressive as $r | .[1].progressive as $c | $r.examples > 100 and $r.examples == $c.examples and
        ($r.auc - $c.auc | fabs) < 0.002 and ($r.gauc - $c.gauc | fabs) < 0.002 and ($r.logloss - $c.logloss | fabs) < 1e-4' \
        ref.json one.json >/dev/null || fail "$precision: $(jq -c .progressive ref.json one.json)"
done

refused() { # TEXT NAME=VALUE... -- OPTION...
    local text=$1 set=()
    shift
    while [ "$1" != -- ]; do set+=("$1") && shift; done
    shift
    if echo '{"text":"a"}' | env "${set[@]}" "$freshet" embed --model "$source/tests/fixtures/uncased" "${cuda[@]}" "$@" >out 2>err; then
        fail "not refused: $text"
    fi
    grep -qF "$text" err || fail "the error does not say '$text'"
}
refused 'no NVIDIA driver is installed' FRESHET_EMULATED_FAULT=driver --
refused 'compute capability 7.x' FRESHET_EMULATED_FAULT=old --
refused 'libcublasLt.so' FRESHET_CUBLASLT=/nowhere.so --
refused 'has not 900 MiB of memory free' A=b -- -o kernels.device_mb=900
refused 'device memory for products; raise kernels.device_mb' A=b -- -o kernels.device_mb=8
refused 'kernels.device=3' A=b -- -o kernels.device=3
refused 'int8 is for backend cpu' A=b -- -o kernels.precision=int8

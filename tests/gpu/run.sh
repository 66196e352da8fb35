#!/usr/bin/env bash
# run.sh - everything that wants a GPU, in one command: build, tables of operations per precision, gradients, parity of a replay,
# benchmark; what came of it goes into GPU.md.
#
#   tests/gpu/run.sh            on a machine with a GPU, its driver, cuBLASLt and what building freshet needs (deploy/setup.sh)
#   tests/gpu/run.sh --pack     where there is no GPU: builds, and gathers program, plug-in, tests and the libraries that they need
#                               in build/gpu, which travels; there the first form finds it and builds nothing
#
# Kafka, Redis, LMDB and HTTP are left out of the build: the numeric part stands alone.  A step that fails is noted in GPU.md and
# the others go on; the exit status is the number of those that failed.
set -uo pipefail
cd "$(dirname "$0")/../.."
out=${OUT:-build/gpu-results}
tests="kern_attention kern_linear kern_loss kern_norm kern_rows kern_update"
mkdir -p "$out"
failed=0
say() { echo "gpu: $*" >&2; }

build() {
    CCACHE_BASEDIR=$PWD cmake -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release -DFRESHET_WITH_CUDA=ON -DFRESHET_WITH_KAFKA=OFF \
        -DFRESHET_WITH_REDIS=OFF -DFRESHET_WITH_LMDB=OFF -DFRESHET_WITH_HTTP=OFF -DFRESHET_WITH_SYSTEMD=OFF &&
        cmake --build build/cuda -j"$(nproc)" --target freshet freshet_cuda $(printf 'test_%s ' $tests)
}

pack() {
    local f library
    rm -rf build/gpu
    mkdir -p build/gpu/lib
    cp build/cuda/freshet build/cuda/freshet_cuda.so build/gpu/
    for f in $tests; do cp "build/cuda/tests/test_$f" build/gpu/; done
    # Of the C library the machine has its own.
    for library in $(ldd build/gpu/freshet build/gpu/test_* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u); do
        case $library in */libc.so.* | */libm.so.* | */ld-linux*) ;; *) cp -L "$library" build/gpu/lib/ ;; esac
    done
    strip -g build/gpu/freshet build/gpu/test_* build/gpu/lib/*
    du -sh build/gpu >&2
}

if [ "${1:-}" = --pack ]; then
    deploy/cuda.sh && build && pack
    exit
fi
if [ ! -x build/gpu/freshet ]; then
    deploy/cuda.sh --where >/dev/null 2>&1 || deploy/cuda.sh || { say "no CUDA toolkit"; exit 1; }
    build >"$out/build.log" 2>&1 && pack || { say "the build failed: $out/build.log"; exit 1; }
fi
gpu=$PWD/build/gpu
export LD_LIBRARY_PATH="$gpu/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FRESHET_SOURCE=$PWD
export FRESHET_KERNELS_PLUGIN="$gpu/freshet_cuda.so" FRESHET_GPU_MUST=1
freshet=$gpu/freshet
base=models/all-MiniLM-L6-v2
[ -f $base/model.safetensors ] || base=tests/fixtures/uncased

lines=()
step() { # NAME COMMAND...: one line of the report
    local name=$1 start end
    shift
    start=$(date +%s)
    if "$@" >"$out/${name// /-}.log" 2>&1; then
        end=$(($(date +%s) - start))
        lines+=("| $name | passed | $end s |")
    else
        lines+=("| $name | **failed** | $(tail -n 1 "$out/${name// /-}.log" | tr '|' '/' | cut -c1-160) |")
        failed=$((failed + 1))
    fi
    say "${lines[-1]}"
}

# f32 and bf16 are in each table; TF32 is a run of its own.  The same tables hold gradients.
for t in $tests; do
    step "operations $t" "$gpu/test_$t"
    step "operations $t TF32" env FRESHET_TF32=1 "$gpu/test_$t"
done

# The same log, learnt on the processor in f32 and on the device in each precision: AUC within 0.002.
parity() { # PRECISION
    local options=(-o model.base=$base -o model.hashed_bits=16 -o join.window_ms=60000 --quiet --flush)
    [ -s "$out/log" ] || "$freshet" simulate --events 3000 --users 100 --items 100 --no-best >"$out/log"
    [ -s "$out/cpu.json" ] || "$freshet" replay "${options[@]}" -o kernels.train_precision=f32 --report "$out/cpu.json" "$out/log"
    "$freshet" replay "${options[@]}" -o kernels.backend=cuda -o kernels.precision="$1" -o kernels.train_precision="$1" \
        --report "$out/$1.json" "$out/log" || return 1
    "$freshet" replay "${options[@]}" -o kernels.backend=cuda -o kernels.precision="$1" -o kernels.train_precision="$1" \
        --report "$out/again.json" "$out/log" || return 1
    python3 - "$out/cpu.json" "$out/$1.json" "$out/again.json" <<'PYTHON'
import json, sys
cpu, gpu, again = (json.load(open(f)) for f in sys.argv[1:])
print(cpu["progressive"], gpu["progressive"])
assert gpu["model"]["sha256"] == again["model"]["sha256"], "two runs differ"
assert abs(cpu["progressive"]["auc"] - gpu["progressive"]["auc"]) < 0.002, "AUC"
PYTHON
}
for precision in f32 tf32 bf16; do step "replay $precision" parity $precision; done

# Two processes that learn as one: over NCCL where there are two devices, else over sockets on the one there is.
ranks() {
    local options=(-o model.base=$base -o model.hashed_bits=16 -o join.window_ms=60000 -o kernels.backend=cuda -o train.batch_slates=8
        -o train.ranks=2 -o train.ranks_address=unix:"$PWD/$out/meet" --quiet --flush) second=0 hash
    [ "$(nvidia-smi --list-gpus | wc -l)" -lt 2 ] || second=1
    [ $second = 1 ] || options+=(-o train.ranks_reduce=sockets -o kernels.device_mb=8192)
    for run in one two; do
        "$freshet" replay "${options[@]}" -o train.rank=1 -o kernels.device=$second "$out/log" 2>"$out/rank-1.log" &
        "$freshet" replay "${options[@]}" --report "$out/ranks-$run.json" "$out/log" || { wait; return 1; }
        wait
        hash=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"]["sha256"])' "$out/ranks-$run.json")
        grep "sha256=$hash" "$out/rank-1.log" || { echo "rank 1 has other weights than $hash"; return 1; }
    done
    cmp <(grep -o '"sha256":"[^"]*"' "$out/ranks-one.json") <(grep -o '"sha256":"[^"]*"' "$out/ranks-two.json")
}
step "two ranks" ranks

bench() {
    "$freshet" bench -o model.base=$base -o kernels.backend=cuda -o kernels.precision=bf16 --only "$1" --json "$out/bench-$1.json"
}
for topic in gemm encode train; do step "bench $topic" bench $topic; done

{
    sed '/^<!-- results -->$/q' GPU.md
    echo
    echo "$(date -u +%Y-%m-%d), $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1):"
    printf '\n| step | result | |\n|---|---|---|\n'
    printf '%s\n' "${lines[@]}"
    for topic in gemm encode train; do
        printf '\n```\n'
        cat "$out/bench-$topic.log" 2>/dev/null
        printf '```\n'
    done
} >"$out/GPU.md"
cp "$out/GPU.md" GPU.md
exit $failed

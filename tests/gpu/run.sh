#!/usr/bin/env bash
# run.sh - everything that wants a GPU, in one command: build, tables of operations per precision, gradients, parity of a replay,
# benchmarks, PyTorch 2 in the same run; what came of it goes into GPU.md.
#
#   tests/gpu/run.sh            on a machine with a GPU, its driver, cuBLASLt and what building freshet needs (deploy/setup.sh)
#   tests/gpu/run.sh --pack     where there is no GPU: builds, and gathers program, plug-in, tests and the libraries that they need
#                               in build/gpu and, smaller, in build/gpu.tar.gz; where either has travelled to, the first form builds
#                               nothing
#
# Kafka, Redis and HTTP are left out of the build, LMDB too where it is not installed: the numeric part stands alone.  Without LMDB nothing
# is learnt, so replays and steps of learning are left out.  A step that fails or takes too long is noted in GPU.md and the others go
# on; the exit status is the number of those that failed.
#
# Logs and results are in build/gpu-results; GPU.md there is written anew after every step.
#
# OUT             a folder that gets GPU.md as well, after every step, and all logs in one file at the end
# FRESHET_GPU_S   seconds for all steps together, those that are left when they are spent are left out (default 780)
# FRESHET_CUBLASLT  the library, where the linker does not find it      (default: that of python3's packages, if there is one)
set -uo pipefail
cd "$(dirname "$0")/../.."
out=build/gpu-results
tests="kern_attention kern_linear kern_loss kern_norm kern_rows kern_stack kern_update"
mkdir -p "$out"
failed=0
say() { echo "gpu: $*" >&2; }
version() { git describe --always --dirty --exclude '*' 2>/dev/null; }

build() {
    local lmdb=OFF
    ! pkg-config --exists lmdb || lmdb=ON
    CCACHE_BASEDIR=$PWD cmake -S . -B build/cuda -DCMAKE_BUILD_TYPE=Release -DFRESHET_WITH_CUDA=ON -DFRESHET_WITH_KAFKA=OFF \
        -DFRESHET_WITH_REDIS=OFF -DFRESHET_WITH_LMDB=$lmdb -DFRESHET_WITH_HTTP=OFF -DFRESHET_WITH_SYSTEMD=OFF &&
        cmake --build build/cuda -j"$(nproc)" --target freshet freshet_cuda $(printf 'test_%s ' $tests) && learns build/cuda/freshet
}

# What is sent away has learnt something here, on the processor.
learns() {
    local log rc=0
    "$1" --version | grep -q '+lmdb' || { say "built without LMDB: nothing can be learnt"; return 0; }
    log=$(mktemp)
    "$1" simulate --events 200 --users 20 --items 30 --no-best >"$log" 2>/dev/null &&
        "$1" replay --quiet --flush -o model.base=tests/fixtures/uncased -o model.hashed_bits=10 "$log" || rc=1
    rm -f "$log"
    return $rc
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
    version >build/gpu/version
    tar -czf build/gpu.tar.gz -C build gpu
    du -sh build/gpu build/gpu.tar.gz >&2
}

if [ "${1:-}" = --pack ]; then
    deploy/cuda.sh && build && pack
    exit
fi
[ -x build/gpu/freshet ] || [ ! -f build/gpu.tar.gz ] || tar -xzf build/gpu.tar.gz -C build
if [ ! -x build/gpu/freshet ]; then
    deploy/cuda.sh --where >/dev/null 2>&1 || deploy/cuda.sh || { say "no CUDA toolkit"; exit 1; }
    build >"$out/build.log" 2>&1 && pack || {
        tail -n 5 "$out/build.log" >&2
        say "the build failed ($out/build.log): it wants deploy/setup.sh --build-only, or what --pack has made elsewhere"
        exit 1
    }
fi
made=$(cat build/gpu/version 2>/dev/null)
here=$(version)
[ -z "$here" ] || [ "$made" = "$here" ] || say "build/gpu was made of ${made:-an unknown version}, this is $here"
gpu=$PWD/build/gpu
export FRESHET_SOURCE=$PWD FRESHET_KERNELS_PLUGIN="$gpu/freshet_cuda.so" FRESHET_GPU_MUST=1
# The libraries that travelled are for our programs alone: Python has its own.
freshet=$PWD/$out/freshet
printf '#!/bin/sh\nexec env LD_LIBRARY_PATH="%s/lib:$LD_LIBRARY_PATH" "%s/freshet" "$@"\n' "$gpu" "$gpu" >"$freshet"
chmod +x "$freshet"
base=models/all-MiniLM-L6-v2
[ -f $base/model.safetensors ] || base=tests/fixtures/uncased
spent=${FRESHET_GPU_S:-780}

# PyTorch's wheels bring NVIDIA's libraries, in folders that no linker knows; cuDNN compiles with NVRTC.
for library in cublasLt cudnn nvrtc; do
    name=FRESHET_${library^^}
    [ -z "${!name:-}" ] && ! ldconfig -p 2>/dev/null | grep -q "lib$library\.so" || continue
    folders=$(python3 -c 'import site, sys; print(*site.getsitepackages(), *sys.path)' 2>/dev/null)
    # shellcheck disable=SC2086
    found=$(find $folders -path '*nvidia*' -name "lib$library.so.*" 2>/dev/null | head -n 1)
    [ -n "$found" ] || continue
    say "$library: $found"
    export "$name=$found" LD_LIBRARY_PATH="$(dirname "$found")${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
with=(env LD_LIBRARY_PATH="$gpu/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}")

lines=()
# What learns wants LMDB in the build.
learning() { # as step
    if "$freshet" --version | grep -q '+lmdb'; then step "$@"; else lines+=("| $1 | left out | built without LMDB |"); fi
}
step() { # NAME SECONDS COMMAND...: one line of the report
    local name=$1 limit=$2 start=$SECONDS log
    shift 2
    log=$out/${name// /-}.log
    if [ $SECONDS -ge "$spent" ]; then
        lines+=("| $name | left out | the time was spent |")
    elif timeout -k 5 "$limit" "$@" >"$log" 2>&1; then
        lines+=("| $name | passed | $((SECONDS - start)) s |")
    else
        local rc=$?
        [ $rc -eq 124 ] && echo "stopped after $limit s" >>"$log"
        lines+=("| $name | **failed** | $(tail -n 1 "$log" | tr '|' '/' | cut -c1-160) |")
        failed=$((failed + 1))
    fi
    say "${lines[-1]}"
    report
}
report() { # what is known so far, as GPU.md
    {
        sed '/^<!-- results -->$/q' GPU.md
        echo
        echo "$(date -u +%Y-%m-%d), freshet ${made:-unknown}, $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | head -n 1):"
        printf '\n| step | result | |\n|---|---|---|\n'
        printf '%s\n' "${lines[@]}"
        grep -hs 'attention of cuDNN' "$out"/*.log | sort -u # where it is not trusted
        cat "$out/peers.md" 2>/dev/null
        for log in "$out"/bench-*.log; do
            [ -s "$log" ] || continue
            printf '\n`%s`\n\n```\n' "$(basename "$log" .log)"
            cat "$log"
            printf '```\n'
        done
    } >"$out/GPU.md"
    [ -z "${OUT:-}" ] || cp "$out/GPU.md" "$OUT/"
}

# f32 and bf16 are in each table; TF32 is a run of its own.  The same tables hold gradients.
for t in $tests; do
    step "operations $t" 40 "${with[@]}" "$gpu/test_$t"
    step "operations $t TF32" 40 "${with[@]}" FRESHET_TF32=1 "$gpu/test_$t"
done

# The goals' shapes: random weights where the models are not at hand.
for kind in minilm bert; do
    step "model $kind" 60 python3 tests/gpu/made_model.py "$out/$kind" $kind
done
bench() { # MODEL TOPIC SECONDS [cuDNN: auto|off]
    local how=step name="bench $1 $2${4:+ cudnn $4}"
    case $2 in train | score) how=learning ;; esac
    $how "$name" "$3" "$freshet" bench -o model.base="$out/$1" -o kernels.backend=cuda -o kernels.precision=bf16 \
        -o kernels.train_precision=bf16 -o kernels.min_cosine=0 -o model.trainable_layers=2 -o kernels.cudnn="${4:-auto}" \
        --only "$2" --json "$out/${name// /-}.json"
}
for kind in minilm bert; do
    for threads in "" all.; do bench $kind encode.bf16.${threads}32 60; done
done

# Ours beside PyTorch; where that is not installed its rows say so.
torch=no
python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null && torch=yes
if [ $torch = yes ]; then
    step "beside PyTorch" 360 python3 tests/gpu/peers.py "$freshet" "$out" --budget 280
else
    lines+=("| beside PyTorch | left out | python3 has no torch that sees a GPU |")
fi

# The same log, learnt on the processor in f32 and on the device in each precision: AUC within 0.002.
for precision in f32 tf32 bf16; do learning "replay $precision" 90 tests/gpu/parity.sh "$freshet" "$out" $base $precision; done

# Attention of learnt layers by cuDNN, and by kernels of our own.
for kind in minilm bert; do
    for cudnn in auto off; do bench $kind train 60 $cudnn; done
done
bench minilm gemm 60
bench minilm score 60

learning "two ranks" 60 tests/gpu/ranks.sh "$freshet" "$out" $base

report
cp "$out/GPU.md" GPU.md
[ -z "${OUT:-}" ] || tar -czf "$OUT/logs.tar.gz" -C "$out" --exclude='*.safetensors' .
exit $failed

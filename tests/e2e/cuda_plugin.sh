#!/bin/sh
# cuda_plugin.sh - the built plug-in as a file: it shows one symbol, needs no library of CUDA to load, and on a machine without
# driver or cuBLASLt refuses by name; with a GPU it embeds a sentence as the processor does.  What it has written out of cuDNN's header is what stands there.
# labels: gpu
# timeout: 300
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/cuda}
freshet=${FRESHET:-$build/freshet}
plugin=$build/freshet_cuda.so
[ -f "$plugin" ] || { echo "cuda_plugin: skipped, no plug-in here (cmake --preset cuda)"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "cuda_plugin: $*"; exit 1; }
shown=$(nm -D --defined-only "$plugin" | awk '{ print $3 }' | tr '\n' ' ')
[ "$shown" = "freshet_kern_plugin " ] || fail "it shows: $shown"
if readelf -d "$plugin" | grep -E 'NEEDED.*(cuda|cublas|cudnn|freshet)'; then fail "it needs what it should open"; fi
headers=$("$source/deploy/cuda.sh" --where)/include
if [ -f "$headers/cudnn_graph.h" ]; then
    cc -std=gnu11 -fsyntax-only -I"$source" -I"$headers" "$source/tests/cuda/dnn_agrees.c" || fail "dnn_calls.h is not what cuDNN's header says"
fi
embed() { echo '{"text":"a red lamp"}' | "$freshet" embed --model "$source/tests/fixtures/uncased" "$@"; }
if embed -o kernels.backend=cuda -o kernels.plugin="$plugin" >"$dir/gpu" 2>"$dir/err"; then
    embed -o kernels.backend=ref >"$dir/ref" 2>"$dir/err" || fail "ref"
    jq -es '[.[0].embedding, .[1].embedding] | transpose | map(.[0] * .[1]) | add > 0.9999' "$dir/gpu" "$dir/ref" >/dev/null ||
        fail "embeddings differ"
else
    grep -qE 'no NVIDIA driver is installed|no device can be used|libcublasLt' "$dir/err" || fail "refused without a reason: $(cat "$dir/err")"
    echo "cuda_plugin: no GPU here, and it says so: $(tail -1 "$dir/err")"
fi

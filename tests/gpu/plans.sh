#!/usr/bin/env bash
# Does cuDNN take the graphs that kernels/cuda/ describes?  Without a GPU: the real library makes plans for an H200 that is described
# to it, compiles them and takes them back from disk, in the table test of attention and the tests of when cuDNN is used; what they
# compute comes from the fake (tests/cuda/).
#
#   tests/gpu/plans.sh [VERSION …]   of the PyPI package nvidia-cudnn-cu13; 1.5 GB are fetched into build/cudnn once
#
# Needs build/release (make build), pip, unzip and cc.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- 9.15.1.9
to=$PWD/build/cudnn
tests=${FRESHET_BUILD:-$PWD/build/release}/tests

fetch() { # fetch PACKAGE==VERSION FOLDER
    [ -e "$to/$2/ready" ] && return
    echo "plans: $1" >&2
    rm -rf "${to:?}/$2" && mkdir -p "$to/$2"
    python3 -m pip download -q --disable-pip-version-check --no-deps --dest "$to/$2" "$1"
    unzip -q "$to/$2"/*.whl 'nvidia/*/lib/*' -d "$to/$2"
    rm "$to/$2"/*.whl
    touch "$to/$2/ready"
}

[ -x "$tests/test_kern_attention" ] || { echo "plans: error: no $tests/test_kern_attention; run make build first" >&2; exit 1; }
fetch nvidia-cuda-nvrtc==13.0.88 nvrtc
fetch nvidia-cublas==13.1.0.3 cublas
cc -std=gnu11 -O2 -shared -fPIC -Wl,-soname,libcuda.so.1 -o "$to/libcuda.so.1" tests/cuda/stub_libcuda.c
cc -std=gnu11 -O2 -shared -fPIC -I. -Itests/cuda -o "$to/deviceless_cudnn.so" tests/cuda/deviceless_cudnn.c
for version; do
    fetch "nvidia-cudnn-cu13==$version" "cudnn-$version"
    lib=$(dirname "$(find "$to/cudnn-$version" -name libcudnn.so.9)")
    export FRESHET_GPU_MUST=1 FRESHET_PLUGINS=$tests FRESHET_CUBLASLT=$tests/fake_cublaslt.so FRESHET_CUDNN=$to/deviceless_cudnn.so
    export DEVICELESS_CUDNN=$lib/libcudnn.so.9 DEVICELESS_FAKE=$tests/fake_cudnn.so
    export LD_LIBRARY_PATH=$to:$lib:$(dirname "$(find "$to/nvrtc" -name libnvrtc.so.13)"):$(dirname "$(find "$to/cublas" -name libcublasLt.so.13)")
    FRESHET_KERNELS_PLUGIN=$tests/freshet_cuda_emulated.so "$tests/test_kern_attention"
    "$tests/test_kern_cudnn"
done

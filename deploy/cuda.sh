#!/bin/sh
# cuda.sh - what building kernels/cuda/ needs where no CUDA toolkit is installed: the compiler, and headers of the libraries.
#
#   deploy/cuda.sh          leaves it in build/cuda-toolkit (or in $1); does nothing where it is there already
#   deploy/cuda.sh --where  prints where the toolkit is: an installed one, else that folder; exit 1: neither
#
# The pieces are NVIDIA's wheels, pinned by version, through pip; that download is all Python does.  Of cuBLAS and cuDNN only
# headers are kept: the plug-in opens the libraries at run time, so building it needs neither them nor a GPU.
set -eu
cd "$(dirname "$0")/.."

compilers="nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 nvidia-cuda-runtime==13.0.96
    nvidia-cuda-cccl==13.0.85"
headers="nvidia-cublas==13.1.0.3 nvidia-cudnn-cu13==9.15.1.9"

say() { echo "cuda: $*" >&2; }
die() { echo "cuda: error: $*" >&2; exit 1; }

installed() { # prints the folder of a toolkit of version 12 or later that has its headers
    for d in "${CUDA_HOME:-}" "${CUDA_PATH:-}" /usr/local/cuda /opt/cuda; do
        [ -n "$d" ] && [ -x "$d/bin/nvcc" ] && [ -f "$d/include/cublasLt.h" ] && { echo "$d"; return 0; }
    done
    return 1
}

if [ "${1:-}" = --where ]; then
    installed && exit 0
    [ -f build/cuda-toolkit/ready ] || die "no CUDA toolkit; run deploy/cuda.sh, or set CUDA_HOME to one"
    echo "$PWD/build/cuda-toolkit"
    exit 0
fi

to=${1:-build/cuda-toolkit}
want="$compilers $headers"
[ "$(cat "$to/ready" 2>/dev/null || true)" = "$want" ] && exit 0
command -v unzip >/dev/null || die "unzip is missing: apt-get install unzip"
python3 -m pip --version >/dev/null 2>&1 || die "pip is missing: apt-get install python3-pip"

rm -rf "$to.part"
mkdir -p "$to.part/wheels"
trap 'rm -rf "$to.part"' EXIT
for piece in $want; do
    say "$piece"
    python3 -m pip download -q --disable-pip-version-check --no-deps --dest "$to.part/wheels" "$piece" ||
        die "cannot fetch $piece"
    only='nvidia/*'
    case " $headers " in *" $piece "*) only='nvidia/*/include/*' ;; esac
    unzip -q -o "$to.part"/wheels/*.whl "$only" -d "$to.part" || die "$piece: not as expected"
    rm -f "$to.part"/wheels/*.whl
done
rmdir "$to.part/wheels"
# The toolkit proper is one folder in the wheels; cuDNN's headers stand in another.
mv "$to.part/nvidia/cu13"/* "$to.part/"
[ ! -d "$to.part/nvidia/cudnn" ] || cp -r "$to.part/nvidia/cudnn/include/." "$to.part/include/"
rm -rf "$to.part/nvidia"
chmod -R u+x "$to.part/bin" "$to.part/nvvm/bin"
[ -e "$to.part/lib64" ] || ln -s lib "$to.part/lib64"
echo "$want" >"$to.part/ready"
rm -rf "$to"
mv "$to.part" "$to"
trap - EXIT
say "the toolkit is in $to"

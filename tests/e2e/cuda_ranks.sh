#!/usr/bin/env bash
# cuda_ranks.sh - two processes that learn as one on emulated devices (tests/cuda/): sums by an NCCL of plain loops have the bits of
# those over sockets; what is missing or fails is said by name, on both.
# labels: quick
# timeout: 300
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
plugins=${FRESHET_PLUGINS:-$build/tests}
[ -f "$plugins/freshet_cuda_emulated.so" ] || { echo "cuda_ranks: skipped, not built with sanitizers"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "cuda_ranks: $*"; tail -n 5 err.* 2>/dev/null || true; exit 1; }

"$freshet" simulate --events 50 --users 8 --items 20 --no-best >log 2>err.log
cuda=(-o kernels.backend=cuda -o kernels.device_mb=240 -o kernels.plugin="$plugins/freshet_cuda_emulated.so")
options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=8 -o model.idvec_bits=6 -o model.events=4
    -o model.parts=text,match,numeric,cooccur,hashed,idvec -o join.window_ms=5000 -o kernels.threads=1 -o train.batch_slates=3
    -o train.ranks=2 -o train.ranks_address=unix:"$dir/meet")
export FRESHET_CUBLASLT="$plugins/fake_cublaslt.so" FRESHET_NCCL="$plugins/fake_nccl.so"
two() { # RC0 RC1 ARG...: rank 1 has the options `second` and the environment `second_env`
    local want0=$1 want1=$2 rc0=0 rc1=0
    shift 2
    env "${second_env[@]}" "$freshet" replay "${options[@]}" "${second[@]}" -o train.rank=1 --quiet --flush "$@" log 2>err.1 &
    "$freshet" replay "${options[@]}" "${cuda[@]}" --quiet --flush --report report.json "$@" log 2>err.0 || rc0=$?
    wait $! || rc1=$?
    [ "$rc0 $rc1" = "$want0 $want1" ] || fail "ended with $rc0 and $rc1, not $want0 and $want1"
}
second=("${cuda[@]}") second_env=(A=b)
says() { for r in 0 1; do grep -qF "$1" err.$r || fail "rank $r does not say '$1'"; done; }

two 0 0 -o train.ranks_reduce=sockets
says 'sums=sockets'
sockets=$(jq -r .model.sha256 report.json)
two 0 0
says 'sums=nccl'
[ "$(jq -r .model.sha256 report.json)" = "$sockets" ] || fail "other sums than over sockets"
jq -e '.examples > 50 and .progressive.auc != null' report.json >/dev/null || fail "nothing was learnt"

# Where it cannot be had, sockets carry the sums, unless NCCL was asked for.
head -n 25 log >short && mv short log
second_env=(FRESHET_FAKE_NCCL_FAULT=join)
two 0 0
says 'sums=sockets'
grep -q 'rank 1 cannot: cuda: rank 1 cannot join the others through NCCL' err.0 || fail "why it is sockets is not said"
second_env=(FRESHET_NCCL=/nowhere.so)
[ ! -e /usr/lib/x86_64-linux-gnu/libnccl.so.2 ] || { echo "cuda_ranks: a real NCCL is here; the rest is skipped"; exit 0; }
two 1 1 -o train.ranks_reduce=nccl
says 'train.ranks_reduce = nccl: rank 1 cannot: cuda: libnccl.so.2 is not to be found'

# A sum that fails ends it on both.
second_env=(FRESHET_FAKE_NCCL_FAULT=sum)
two 1 1
says 'a sum of gradients over all ranks failed: remote process exited or there was a network error'

#!/usr/bin/env bash
# ranks.sh - two processes that learn as one, over NCCL where there are two devices, else over sockets on the one there is: equal
# weights on both, and the same bits twice.
#
#   tests/gpu/ranks.sh FRESHET OUT MODEL      one step of run.sh
set -euo pipefail
freshet=$1 out=$2 base=$3 second=0
options=(-o model.base="$base" -o model.hashed_bits=16 -o join.window_ms=60000 -o kernels.backend=cuda -o train.batch_slates=8
    -o train.ranks=2 -o train.ranks_address=unix:"$PWD/$out/meet" --quiet --flush)
[ -s "$out/log" ] || "$freshet" simulate --events 3000 --users 100 --items 100 --no-best >"$out/log"
[ "$(nvidia-smi --list-gpus | wc -l)" -lt 2 ] || second=1
[ $second = 1 ] || options+=(-o train.ranks_reduce=sockets -o kernels.device_mb=8192)
before=
for run in one two; do
    "$freshet" replay "${options[@]}" -o train.rank=1 -o kernels.device=$second "$out/log" 2>"$out/rank-1.log" &
    "$freshet" replay "${options[@]}" --report "$out/ranks-$run.json" "$out/log" || { wait; exit 1; }
    wait
    hash=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["model"]["sha256"])' "$out/ranks-$run.json")
    grep "sha256=$hash" "$out/rank-1.log" || { echo "rank 1 has other weights than $hash"; exit 1; }
    [ "${before:-$hash}" = "$hash" ] || { echo "two runs differ: $before and $hash"; exit 1; }
    before=$hash
done

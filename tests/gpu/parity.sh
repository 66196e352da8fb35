#!/usr/bin/env bash
# parity.sh - a log learnt on the processor in f32 and on the device: AUC within 0.002, and the same bits twice on the device.
#
#   tests/gpu/parity.sh FRESHET OUT MODEL PRECISION      one step of run.sh
set -euo pipefail
freshet=$1 out=$2 base=$3 precision=$4
options=(-o model.base="$base" -o model.hashed_bits=16 -o join.window_ms=60000 --quiet --flush)
device=(-o kernels.backend=cuda -o kernels.precision="$precision" -o kernels.train_precision="$precision")
[ -s "$out/log" ] || "$freshet" simulate --events 3000 --users 100 --items 100 --no-best >"$out/log"
[ -s "$out/cpu.json" ] || "$freshet" replay "${options[@]}" -o kernels.train_precision=f32 --report "$out/cpu.json" "$out/log"
for run in "$precision" again; do "$freshet" replay "${options[@]}" "${device[@]}" --report "$out/$run.json" "$out/log"; done
python3 - "$out/cpu.json" "$out/$precision.json" "$out/again.json" <<'PYTHON'
import json, sys
cpu, gpu, again = (json.load(open(f)) for f in sys.argv[1:])
print(cpu["progressive"], gpu["progressive"])
assert gpu["model"]["sha256"] == again["model"]["sha256"], "two runs differ"
assert abs(cpu["progressive"]["auc"] - gpu["progressive"]["auc"]) < 0.002, "AUC"
PYTHON

#!/bin/sh
# export_transformers.sh - an exported folder opens in transformers, with the outputs and the learnt numbers that we have.
# labels: data
# timeout: 300
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
python=${FRESHET_PYTHON:-python3}
[ -x "$freshet" ] || { echo "export_transformers: skipped, $freshet is not built"; exit 77; }
"$python" -c 'import torch, transformers' 2>/dev/null || {
    echo "export_transformers: skipped, $python has no torch and transformers (FRESHET_PYTHON names another one)"
    exit 77
}
. "$source/tests/support/tiny_bert.sh"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "export_transformers: $*"; cat out err 2>/dev/null; exit 1; }
"$freshet" simulate --events 1200 --users 30 --items 40 --no-best --delay-ms 2000 --window-ms 10000 >log.jsonl 2>err

check() { # base model folder, layers to learn
    rm -rf state exported
    "$freshet" replay log.jsonl --flush --quiet -o state.dir=state -o model.base="$1" -o join.window_ms=10000 -o model.hashed_bits=10 \
        -o model.trainable_layers="$2" >out 2>err || fail "replay on $1"
    "$freshet" model export exported -o state.dir=state -o model.base="$1" >out 2>err || fail "export"
    "$python" "$source/tests/e2e/export_transformers.py" "$freshet" "$1" exported "state/weights/$(ls state/weights | sort -n | tail -1)" ||
        fail "what transformers makes of $1 with $2 learnt layers"
}
tiny_bert base
check base 1
check base 2
[ ! -e "$source/models/all-MiniLM-L6-v2/model.safetensors" ] || check "$source/models/all-MiniLM-L6-v2" 2

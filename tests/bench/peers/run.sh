#!/usr/bin/env bash
# run.sh - freshet and the engines that a user would pick, on the same weights, sentences and slates, in the same run.
# Writes BENCHMARKS.md.  README.md beside this file says what is compared and how fairness is kept.
#
#   tests/bench/peers/run.sh [--quick] [--only TOPIC,…] [--threads N] [--report FILE]       or  make bench-peers ARGS=--quick
#
# FRESHET        the binary                                   (default build/release/freshet)
# FRESHET_MODEL  Hugging Face folder                          (default models/all-MiniLM-L6-v2)
# FRESHET_DATA   folder with online-retail/                   (default ../shared/data)
# PEERS_VENV     where the peers are installed, about 2 GB    (default build/peers-venv)
set -euo pipefail
cd "$(dirname "$0")/../../.."
here=tests/bench/peers
venv=${PEERS_VENV:-build/peers-venv}
lock=$here/requirements.txt
python=/usr/bin/python3 # Debian's, where the system has one: the list is made for its version
[[ -x $python ]] || python=python3

# The list is whole (every dependency is named), so nothing else is drawn in: without --no-deps torch brings 3 GB of CUDA.
install() {
    "$python" -c "import ensurepip" 2>/dev/null || { echo "bench-peers: $python has no venv; install python3-venv" >&2; exit 1; }
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --no-deps -r "$lock" ||
        while read -r package; do # what can't be had is left out; its rows say so
            "$venv/bin/pip" install --quiet --no-deps "$package" || echo "bench-peers: no $package" >&2
        done <"$lock"
    torch=$("$venv/bin/python" -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])') &&
        "$venv/bin/python" $here/cuda_stubs.py "$torch/lib"
    cp "$lock" "$venv/installed.txt"
}
cmp -s "$lock" "$venv/installed.txt" || install

# Debian's OpenBLAS may have been told to be careful; the peers' own libraries choose for themselves.
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
export TOKENIZERS_PARALLELISM=true HF_HUB_OFFLINE=1 TORCHINDUCTOR_CACHE_DIR=$PWD/build/peers/inductor
exec "$venv/bin/python" $here/peers.py "$@"

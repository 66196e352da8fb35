#!/usr/bin/env bash
# run.sh - what the model learns beside other learners, on the same examples.  Writes QUALITY.md.  README.md says how.
#
#   tests/quality/run.sh [--quick] [--only TOPIC,…] [--seeds N] [--report FILE]       or  make quality ARGS=--quick
#
# FRESHET        the binary                                   (default build/release/freshet)
# FRESHET_MODEL  Hugging Face folder                          (default models/all-MiniLM-L6-v2)
# FRESHET_DATA   folder with online-retail/                   (default ../shared/data)
# QUALITY_VENV   where the other learners are installed       (default build/quality-venv)
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=${QUALITY_VENV:-build/quality-venv}
lock=tests/quality/requirements.txt
python=/usr/bin/python3
[[ -x $python ]] || python=python3
if ! cmp -s "$lock" "$venv/installed.txt"; then
    "$python" -c "import ensurepip" 2>/dev/null || { echo "quality: $python has no venv; install python3-venv" >&2; exit 1; }
    "$python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --no-deps -r "$lock" ||
        while read -r package; do # what can't be had is left out; its rows say so
            "$venv/bin/pip" install --quiet --no-deps "$package" || echo "quality: no $package" >&2
        done <"$lock"
    cp "$lock" "$venv/installed.txt"
fi
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1} # small products: its threads would wait for each other
exec "$venv/bin/python" tests/quality/quality.py "$@"

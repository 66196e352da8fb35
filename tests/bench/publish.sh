#!/usr/bin/env bash
# publish.sh - what one more version costs, by how much of it changed: bytes written to Redis, the learner's hand-over, the
# upload, the scorer's fetch with all its checks, and binding.  Prints a table (Markdown) with the machine it ran on.
#
#   tests/bench/publish.sh [section.key=value…]     (default: the shipped model with 2^22 hashed weights)
#
# FRESHET_BUILD  build folder (default build/release)
# ROUNDS         of each kind, after one that is not counted (15)
# MODEL          folder of the encoder (default models/all-MiniLM-L6-v2)
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
tool=${FRESHET_BUILD:-build/release}/tests/publish_cost
[[ -x $tool ]] || { echo "publish: $tool is not built" >&2; exit 77; }
rounds=${ROUNDS:-15}
echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, Redis on a Unix socket; $rounds rounds, median (least, most), ms"
echo
"$tool" "$rounds" "model.base=${MODEL:-models/all-MiniLM-L6-v2}" model.hashed_bits=22 "$@" 2>/dev/null | awk -F '\t' '
    function ms(at) { return sprintf("%.1f (%.1f, %.1f)", $at, $(at + 1), $(at + 2)) }
    $1 == "sha256" {
        printf "SHA-256 of all learnt parameters, once a version: %s\n\n", ms(2)
        print "| changed | MB written | MB fetched | hand-over | upload | fetch and check | bind |"
        print "|---|---|---|---|---|---|---|"
        next
    }
    { printf "| %s | %.3f | %.3f | %s | %s | %s | %s |\n", $1, $3 / 1e6, $4 / 1e6, ms(5), ms(8), ms(11), ms(14) }'

#!/usr/bin/env bash
# ranks.sh - what several processes that learn as one (train.ranks) take for a step, on CPUs over a Unix socket.  Prints a table
# (Markdown): seconds of a replay that learns, of the same one that only scores (which every rank does), and their difference a step.
#
#   tests/bench/ranks.sh [EVENTS] [RANKS...]     default 3000, 1 2
#
# FRESHET  the program (default build/release/freshet);  MODEL  the encoder (default models/all-MiniLM-L6-v2)
# Each rank has one thread; so times mean something where there are as many free processors as ranks; processor time (which includes
# reading the model) says elsewhere what a rank's share takes.  The best of three runs.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
freshet=${FRESHET:-build/release/freshet}
model=${MODEL:-models/all-MiniLM-L6-v2}
[[ -x $freshet ]] || { echo "ranks: $freshet is not built (make build)" >&2; exit 77; }
[[ -f $model/model.safetensors ]] || { echo "ranks: no model in $model" >&2; exit 77; }
events=${1:-3000}
shift || true
[[ $# -gt 0 ]] || set -- 1 2
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$freshet" simulate --events "$events" --users 50 --items 200 --no-best >"$dir/all" 2>/dev/null
head -n 500 "$dir/all" >"$dir/first"
tail -n +501 "$dir/all" >"$dir/log"
options=(-o model.base="$model" -o kernels.threads=1 -o kernels.pin=false -o join.window_ms=5000 -o train.batch_slates=16 -o
    model.trainable_layers=2 -o model.item_view=tokens -o train.ranks_address=unix:"$dir/meet" -o state.dir="$dir/state" --quiet)
"$freshet" replay "${options[@]}" "$dir/first" 2>"$dir/err"
mv "$dir/state" "$dir/begin"

seconds() { # RANKS OPTION...: of a run, from the same state each time
    local ranks=$1
    shift
    rm -rf "$dir/state" && cp -r "$dir/begin" "$dir/state"
    for ((r = 1; r < ranks; r++)); do
        "$freshet" replay "${options[@]}" -o train.ranks="$ranks" -o train.rank=$r --flush "$@" "$dir/log" 2>"$dir/err.$r" &
    done
    # In a shell of its own: this one's `time` would count the other ranks, too.
    bash -c 'TIMEFORMAT="%U %S"; err=$1; shift; time "$@" 2>"$err"' - "$dir/err.0" "$freshet" replay "${options[@]}" \
        -o train.ranks="$ranks" --flush --report "$dir/report" "$@" "$dir/log" 2>"$dir/cpu"
    wait
    echo "$(jq .seconds "$dir/report") $(awk '{ print $1 + $2 }' "$dir/cpu")"
}
best() { # of each by itself
    for _ in 1 2 3; do seconds "$@"; done | awk 'NR == 1 || $1 < t { t = $1 } NR == 1 || $2 < c { c = $2 } END { print t, c }'
}
read -r score score_cpu <<<"$(best 1 --no-learn)"
slates=$(jq .slates "$dir/report")
echo "load of the machine before: $(cut -d' ' -f1-3 /proc/loadavg), processors: $(nproc), slates: $slates"
echo
echo "| ranks | replay | of that beside learning | a step of 16 slates | processor time of rank 0 | a step's |"
echo "|---|---|---|---|---|---|"
for ranks in "$@"; do
    read -r all cpu <<<"$(best "$ranks")"
    awk -v n="$ranks" -v all="$all" -v score="$score" -v cpu="$cpu" -v other="$score_cpu" -v steps="$((slates / 16))" \
        'BEGIN { printf "| %d | %.1f s | %.1f s | %.1f ms | %.1f s | %.1f ms |\n", n, all, score, 1000 * (all - score) / steps, cpu,
                 1000 * (cpu - other) / steps }'
done

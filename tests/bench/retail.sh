#!/usr/bin/env bash
# retail.sh - the main job on UCI Online Retail: what the whole model reaches, each choice of parts beside it, one run after
# the other on the same slates.  Prints a table (Markdown) with the machine it ran on.
#
#   tests/bench/retail.sh [NAME …]     names: all numeric notext text tokens concat part   (default: all numeric notext text)
#
# FRESHET       the binary                       (default build/release/freshet)
# FRESHET_DATA  folder with online-retail/       (default ../shared/data)
# `text`, `tokens` and `concat` are the text part alone in its three views.  `concat` (the way people write it by hand: no
# cache, about 100 times as dear) runs on the first 6,000 lines without warm-up; `part` is `text` on the same lines.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
freshet=${FRESHET:-build/release/freshet}
log=${FRESHET_DATA:-../shared/data}/online-retail/online_retail.csv.xz
[[ -r $log ]] || { echo "retail: $log is not there (set FRESHET_DATA)" >&2; exit 77; }
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

declare -A options=(
    [all]='' [numeric]='-o model.parts=numeric' [notext]='-o model.parts=match,numeric,cooccur,hashed,deep' [text]='-o model.parts=text'
    [tokens]='-o model.parts=text -o model.item_view=tokens'
    [part]='-o model.parts=text'
    [concat]='-o model.parts=text -o model.user_view=concat -o model.item_view=concat')

run() {
    local name=$1 input=$log warmup=62d
    if [[ $name == concat || $name == part ]]; then
        xz -dc "$log" >"$out/all.csv"
        head -n 6001 "$out/all.csv" >"$out/part.csv"
        input=$out/part.csv warmup=0
    fi
    # shellcheck disable=SC2086
    "$freshet" replay --quiet --schema csv --map deploy/maps/online-retail.ini --warmup "$warmup" -o join.max_positives=8 \
        ${options[$name]} --report "$out/$name.json" "$input"
    jq -r --arg name "$name" '[$name, (.progressive | .gauc, .auc, .logloss, .ne, .calibration, .examples),
        (.baselines | .popularity.gauc, .repeat.gauc, .frozen.gauc), .seconds, (.peak_rss_bytes / 1048576), .rejected]
        | map(if type == "number" then . * 10000 | round / 10000 else . end) | "| " + (map(tostring) | join(" | ")) + " |"' \
        "$out/$name.json"
}

echo "$(nproc) cores, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1)"
echo
echo "| parts | GAUC | AUC | log-loss | NE | calibration | examples | popularity | repeat | frozen | seconds | MiB | rejected |"
echo "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
for name in "${@:-all numeric notext text}"; do for n in $name; do run "$n"; done; done
[[ ! -f $out/all.json ]] || { echo; echo "Left out of \`all\`, part by part (GAUC without it):"; jq -r '.parts | to_entries[] | "  \(.key) \(.value.gauc_without)"' "$out/all.json"; }

#!/usr/bin/env bash
# rerank.sh - what a re-rank request costs, through HTTP and Redis, on real item texts: p50, p99, p99.9 and requests a
# second at 10, 100, 1,000 and 10,000 candidates, cold and warm, one and several in flight.  Prints a table (Markdown)
# with the machine it ran on and writes the figures as JSON.
#
#   tests/bench/rerank.sh [CANDIDATES …]      default: 10 100 1000 10000
#
# FRESHET        the binary; rerank_load is taken from tests/ beside it     (default build/release/freshet)
# FRESHET_DATA   folder with online-retail/; without it: freshet simulate   (default ../shared/data)
# LINES          of the log that are learnt first                           (default 10000)
# SECONDS_EACH   of each timing                                             (default 5)
# IN_FLIGHT      "1 4": requests at a time                                  (default 1, and twice the cores)
# JSON           where the figures go                                       (default: nowhere)
# OPTIONS        "section.key=value …" of learner and scorer                (default: none)
#
# The catalogue is the log's own items and, so that there are more than 10,000, each three times more with a word added
# to its title; all of them are in Redis, as are their frozen states.  Cold: a scorer that was just started, each item for
# the first time.  Every answer of the cold walk and the first few of each timing are checked: status, items, order.
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
freshet=$(realpath "${FRESHET:-build/release/freshet}")
load=$(dirname "$freshet")/tests/rerank_load
log=${FRESHET_DATA:-../shared/data}/online-retail/online_retail.csv.xz
lines=${LINES:-10000} each=${SECONDS_EACH:-5} flights=${IN_FLIGHT:-1 $((2 * $(nproc)))}
[[ -x $freshet && -x $load ]] || { echo "rerank: $freshet or $load is not built" >&2; exit 77; }
for tool in jq curl redis-server; do command -v $tool >/dev/null || { echo "rerank: no $tool" >&2; exit 77; }; done
dir=$(mktemp -d)
redis='' scorer=''
end() {
    for pid in $scorer $redis; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$dir"
}
trap end EXIT
trap 'exit 1' INT TERM
fail() { echo "rerank: $*" >&2; tail -n 5 "$dir"/*.err >&2; exit 1; }
wait_for() { # seconds, what, command
    local until=$(($(date +%s) + $1)) what=$2
    shift 2
    until "$@" >"$dir/tried" 2>&1; do [[ $(date +%s) -lt $until ]] || fail "still no $what"; sleep 0.05; done
}
options=()
for option in ${OPTIONS:-}; do options+=(-o "$option"); done

# --- a log: behaviours, then the whole catalogue as announcements at the last behaviour's time
if [[ -r $log ]]; then
    xz -dc "$log" >"$dir/log.csv" # whole: the catalogue is drawn from all of it
    "$freshet" convert --schema csv --map deploy/maps/online-retail.ini "$dir/log.csv" >"$dir/all" 2>"$dir/convert.err"
    source="UCI Online Retail"
else
    "$freshet" simulate --events 60000 --users 2000 --items 4000 --seed 1 --no-best >"$dir/all" 2>"$dir/convert.err"
    source="freshet simulate"
fi
head -n "$lines" "$dir/all" >"$dir/log.jsonl"
now=$(tail -n 1 "$dir/log.jsonl" | jq .time)
jq -rc 'select(.title and .item) | [.item, .title, .price]' "$dir/all" | sort -u | jq -sc 'unique_by(.[0])[]' |
    jq -c --argjson t "$now" '. as $i | ["", "LARGE", "SMALL", "BLUE"] | .[] | . as $word |
        {type: "item", time: $t, item: ($i[0] + $word), title: ($i[1] + " " + $word | rtrimstr(" ")), price: ($i[2] // 1)}' \
    >"$dir/catalogue.jsonl"
cat "$dir/catalogue.jsonl" >>"$dir/log.jsonl"
jq -r .item "$dir/catalogue.jsonl" >"$dir/items"
head -n "$lines" "$dir/log.jsonl" | jq -r '.user // empty' | sort -u >"$dir/users"

# --- learnt and published
redis-server --unixsocket "$dir/redis" --port 0 --dir "$dir" --save '' --appendonly no >"$dir/redis.err" 2>&1 &
redis=$!
wait_for 20 Redis test -S "$dir/redis"
"$freshet" replay --quiet -o redis.url="unix:$dir/redis" -o join.max_positives=2 "${options[@]}" --flush \
    "$dir/log.jsonl" 2>"$dir/replay.err" || fail "nothing was learnt"

fresh_scorer() {
    if [[ -n $scorer ]]; then kill "$scorer"; wait "$scorer" || true; fi
    "$freshet" serve -o redis.url="unix:$dir/redis" -o serving.drain_ms=0 "${options[@]}" --listen 127.0.0.1:0 2>"$dir/serve.err" &
    scorer=$!
    wait_for 60 port grep -q ' listening ' "$dir/serve.err"
    port=$(sed -n 's/.* port=\([0-9]*\) .*/\1/p' "$dir/serve.err")
    wait_for 60 version curl -sf "http://127.0.0.1:$port/v2/health/ready"
}

echo "$(nproc) cores, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1); $("$freshet" --version | head -1)"
echo "$source, $lines events learnt, $(wc -l <"$dir/items") items in the catalogue; options: ${OPTIONS:-none}"
echo
echo "| candidates | in flight | state | requests | requests/s | p50 ms | p99 ms | p99.9 ms | longest ms |"
echo "|---|---|---|---|---|---|---|---|---|"
for candidates in "${@:-10 100 1000 10000}"; do for n in $candidates; do
    fresh_scorer
    cold=fresh
    for flight in $flights; do
        "$load" "$port" "$dir/items" "$dir/users" "$n" "$flight" "$each" $cold >"$dir/one" || fail "a wrong answer"
        cold=
        cat "$dir/one" >>"$dir/figures"
        jq -r '. as $f | ("cold", "warm") as $s | select(.[$s]) | .[$s] as $t | "| \($f.candidates) | \(if $s == "cold" then 1 else $f.in_flight end) | \($s) | \($t.requests) | " +
            "\(if $s == "cold" then "" else $f.requests_per_s end) | \($t.p50_ms) | \($t.p99_ms) | \($t.p999_ms) | \($t.max_ms) |"' "$dir/one"
    done
done; done
[[ -z ${JSON:-} ]] || jq -s --arg cores "$(nproc)" --arg source "$source" --arg options "${OPTIONS:-}" \
    '{cores: ($cores | tonumber), source: $source, options: $options, figures: .}' "$dir/figures" >"$JSON"

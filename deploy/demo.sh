#!/usr/bin/env bash
# demo.sh - freshet live, on nothing but this machine: a simulated shop streams events at a visible pace, a learner
# fine-tunes the top of a pretrained encoder on them, versions go through a private Redis, a scorer swaps them in and
# re-ranks over HTTP.  Leaves nothing behind; --stay keeps everything up until Ctrl-C.
#
#   deploy/demo.sh [--stay] [--seconds N]
set -euo pipefail
cd "$(dirname "$0")/.."

stay=0 seconds=60
while (($#)); do
    case $1 in
        --stay) stay=1 ;;
        --seconds) seconds=${2:?--seconds needs a number}; shift ;;
        *) echo "usage: deploy/demo.sh [--stay] [--seconds N]" >&2; exit 2 ;;
    esac
    shift
done

freshet=${FRESHET:-build/release/freshet}
[[ -x $freshet ]] || { echo "demo: $freshet is not built (make build)" >&2; exit 1; }
dir=$(mktemp -d "${TMPDIR:-/tmp}/freshet-demo-XXXXXX")
pids=()
clean() {
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[i]}" 2>/dev/null || true; done
    for p in "${pids[@]}"; do wait "$p" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
fail() { echo "demo: $1" >&2; shift; for f in "$@"; do echo "--- $f" >&2; tail -n 15 "$f" >&2; done; exit 1; }
await() { # await SECONDS COMMAND…
    local end=$((SECONDS + $1)); shift
    until "$@" >/dev/null 2>&1; do ((SECONDS < end)) || return 1; sleep 0.2; done
}

cat >"$dir/freshet.ini" <<EOF
[model]
name = demo
hashed_bits = 18
[join]
window_ms = 1000
[publish]
every_ms = 1000
[redis]
url = unix:$dir/redis.sock
[serving]
listen = 127.0.0.1:0
[state]
dir = $dir/state
checkpoint_every_ms = 5000
EOF
conf=(--config "$dir/freshet.ini")

say "1. A private Redis on a Unix socket"
redis-server --port 0 --unixsocket "$dir/redis.sock" --save '' --appendonly no --dir "$dir" >"$dir/redis.log" 2>&1 &
pids+=($!)
await 10 redis-cli -s "$dir/redis.sock" ping || fail "Redis did not start" "$dir/redis.log"
echo "   $dir/redis.sock"

say "2. A simulated shop (400 items, 60 lists a second, clicks after half a second) streams into the learner"
lists=60
mkfifo "$dir/events"
"$freshet" simulate --start now --speed 1 --rate $lists --delay-ms 300 --window-ms 1000 --users 300 --items 400 --drift 0 \
    --events $((lists * (seconds + 40) * 4)) --no-best >"$dir/events" 2>"$dir/simulate.log" &
pids+=($!)
"$freshet" replay - "${conf[@]}" <"$dir/events" 2>"$dir/learner.log" &
learner=$!
pids+=("$learner")

say "3. A scorer, which waits for the first version and then swaps in every new one"
"$freshet" serve "${conf[@]}" 2>"$dir/scorer.log" &
pids+=($!)
listening() { grep -qo 'port=[0-9]*' "$dir/scorer.log"; }
await 30 listening || fail "the scorer did not start" "$dir/scorer.log" "$dir/learner.log"
url=http://127.0.0.1:$(grep -o 'port=[0-9]*' "$dir/scorer.log" | head -1 | cut -d= -f2)
ready() { curl -fsS "$url/v2/health/ready"; }
await 60 ready || fail "no version was published" "$dir/scorer.log" "$dir/learner.log"
echo "   $url   (the page; /metrics; POST /v1/rerank)"

# One user's ten candidates, and one that no catalogue has: known by its words alone.
user=u3
request() {
    local items=$1
    printf '{"user":"%s","items":[%s,{"item":"brand-new","title":"red wooden lantern","category":"lighting"}]}' "$user" "$items"
}
candidates=$(for i in 5 17 29 41 53 65 77 89 101 113; do printf '"i%s",' "$i"; done)
candidates=${candidates%,}
title() { # of an item, as the learner knows it from the event stream
    sed -n "s/.*\"item\":\"$1\",\"title\":\"\([^\"]*\)\".*/\1/p" "$dir/catalogue" | head -1
}
"$freshet" simulate --start now --users 300 --items 400 --events 400 --drift 0 --new-items 0 --no-best 2>/dev/null >"$dir/catalogue" || true
rerank() {
    curl -fsS -H 'Content-Type: application/json' -d "$(request "$candidates")" "$url/v1/rerank" >"$dir/reply.json" ||
        fail "the re-rank request failed" "$dir/scorer.log"
    echo "   version $(jq -r .model.version "$dir/reply.json"), $(jq -r .model.age_ms "$dir/reply.json") ms old"
    jq -r '.items[] | "\(.rank) \(.score) \(.item) \(.known)"' "$dir/reply.json" | while read -r rank score item known; do
        name=$(title "$item")
        [[ $item == brand-new ]] && name="red wooden lantern   <- unknown item, ranked by its text alone"
        printf '   %3s  %.4f  %-10s %s\n' "$rank" "$score" "$item" "$name"
    done
}

say "4. Before: user $user, almost nothing learnt yet"
rerank

# Requests go on all the while: none may fail, whatever is swapped.
while :; do
    curl -sS -o /dev/null -w '%{http_code}\n' -d "{\"user\":\"u$((RANDOM % 300))\",\"items\":[$candidates]}" "$url/v1/rerank" || echo failed
    sleep 0.1
done >"$dir/codes" 2>/dev/null &
pids+=($!)

say "5. $seconds seconds of events; ten requests a second go on all the while (GAUC: every list was scored before it was learnt)"
printf '   %8s %9s %9s %8s %8s %8s %9s %12s\n' seconds events examples gauc auc version events/s freshness
first=$SECONDS
while ((SECONDS - first < seconds)); do
    sleep 5
    kill -0 "$learner" 2>/dev/null || fail "the learner ended" "$dir/learner.log"
    "$freshet" top --once --json "${conf[@]}" >"$dir/top.json" 2>"$dir/top.log" || fail "freshet top failed" "$dir/top.log"
    jq -r --arg s $((SECONDS - first)) '.metrics | [$s, .events_total, .examples_total, .gauc, .auc, .version,
        .events_per_s, .freshness_p50_ms] | @tsv' "$dir/top.json" |
        awk '{printf "   %8s %9d %9d %8.4f %8.4f %8d %8.0f/s %9.0f ms\n", $1, $2, $3, $4, $5, $6, $7, $8}'
done

say "6. After: the same request"
rerank

say "7. What happened"
"$freshet" top --once --json "${conf[@]}" >"$dir/top.json"
failed=$(grep -vc '^200$' "$dir/codes" || true)
echo "   $(wc -l <"$dir/codes") requests were answered while versions were swapped, $failed failed."
jq -r '.metrics | "   \(.events_total|floor) events became \(.examples_total|floor) examples; \(.version|floor) versions were published.\n   Progressive GAUC \(.gauc*10000|round/10000) against \(.popularity_gauc*10000|round/10000) for popularity (each list was scored before it was learnt).\n   Freshness, from the event that settled a list to the first answer with the new weights: p50 \(.freshness_p50_ms|floor) ms, p99 \(.freshness_p99_ms|floor) ms (the window is 1,000 ms)."' "$dir/top.json"

if ((stay)); then
    say "Staying up. Page: $url   dashboard: $freshet top --config $dir/freshet.ini   Ctrl-C ends everything."
    wait "$learner" || true
    while :; do sleep 3600 & wait $!; done
fi
say "Where to go next"
echo "   make demo ARGS=--stay        keep it up and open the page"
echo "   README.md, \"How do I …\"      your own log, your own Kafka, your own model folder"

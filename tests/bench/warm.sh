#!/usr/bin/env bash
# warm.sh - how soon a restarted scorer is fast: its first 1,000 re-ranks of 100 real items through HTTP and Redis, one
# request at a time, with its states nowhere, in Redis, and in a file that `freshet model warm` made.  Rounds alternate; the
# answers of all three are compared in each.  Prints a table (Markdown) with the machine it ran on: medians and the spread.
#
#   tests/bench/warm.sh [ROUNDS]       (default 5)
#
# FRESHET       the binary                       (default build/release/freshet)
# FRESHET_DATA  folder with online-retail/       (default ../shared/data)
# WARM_ROWS     rows of the log behind the catalogue and the histories   (default 60000)
# WARM_KEEP     folder that keeps the prepared state from one run to the next   (default: none is kept)
# WARM_OPTIONS  more options for all commands, such as -o kernels.precision=bf16
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
cd "$(dirname "$0")/../.."
freshet=$(realpath "${FRESHET:-build/release/freshet}")
log=$(realpath -m "${FRESHET_DATA:-../shared/data}/online-retail/online_retail.csv.xz")
rounds=${1:-5}
[[ -r $log ]] || { echo "warm: $log is not there (set FRESHET_DATA)" >&2; exit 77; }
for tool in jq curl redis-server redis-cli xz; do command -v $tool >/dev/null || { echo "warm: no $tool" >&2; exit 77; }; done
out=$(mktemp -d)
redis='' scorer=''
end() {
    for pid in $scorer $redis; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$out"
}
trap end EXIT
kept=${WARM_KEEP:-$out/kept}
mkdir -p "$kept"
# shellcheck disable=SC2206
options=(-o model.base="$PWD/models/all-MiniLM-L6-v2" ${WARM_OPTIONS:-})
form=(--schema csv --map "$PWD/deploy/maps/online-retail.ini")

start_redis() {
    redis-server --unixsocket "$out/redis" --port 0 --save '' --appendonly no --dir "$kept" --dbfilename kept.rdb >"$out/redis.log" 2>&1 &
    redis=$!
    until redis-cli -s "$out/redis" ping 2>/dev/null | grep -q PONG; do sleep 0.05; done
}
ask_redis() { redis-cli -s "$out/redis" "$@"; }

# --- once: a learner's catalogue, histories and version in Redis; the file; the requests
start_redis
if [[ ! -f $kept/requests ]]; then
    (xz -dc "$log" || true) | head -n $((${WARM_ROWS:-60000} + 1)) >"$kept/part.csv"
    "$freshet" replay --quiet --no-learn --flush "${form[@]}" "${options[@]}" -o join.max_positives=8 \
        -o redis.url="unix:$out/redis" -o state.dir="$kept/state" "$kept/part.csv" 2>"$out/err" || { cat "$out/err"; exit 1; }
    "$freshet" model warm --quiet "${options[@]}" --redis -o redis.url="unix:$out/redis" --out "$kept/states" 2>"$kept/made"
    ask_redis --scan --pattern 'fr:default:item:*' | sed 's/^fr:default:item://' | sort >"$kept/items"
    ask_redis --scan --pattern 'fr:default:user:*' | sed 's/^fr:default:user://' | sort >"$kept/users"
    awk 'BEGIN { srand(7) } FNR == NR { item[NR] = $0; n = NR; next } { user[FNR] = $0; m = FNR }
        END { for (r = 0; r < 1000; r++) { line = user[1 + int(rand() * m)]; for (k = 1; k <= 100; k++) { # the first hundred of a shuffle
            at = k + int(rand() * (n - k + 1)); held = item[k]; item[k] = item[at]; item[at] = held; line = line "\t" item[k] } print line } }' \
        "$kept/items" "$kept/users" | jq -Rc 'split("\t") | {user: .[0], items: .[1:], time: 1330000000000}' >"$kept/requests"
    ask_redis save >/dev/null
fi

serve() { # more options
    rm -f "$out/serve.log"
    began=$(date +%s%N)
    "$freshet" serve "${options[@]}" -o redis.url="unix:$out/redis" -o serving.poll_ms=5 --listen 127.0.0.1:0 "$@" 2>"$out/serve.log" &
    scorer=$!
    until grep -q ' listening ' "$out/serve.log" 2>/dev/null; do sleep 0.005; done
    at=http://127.0.0.1:$(sed -n 's/.* listening .*port=\([0-9]*\) .*/\1/p' "$out/serve.log")
    until curl -sf -o /dev/null "$at/v2/health/ready"; do sleep 0.005; done
    ready=$(date +%s%N)
}
stop() {
    kill -TERM "$scorer"
    wait "$scorer"
    scorer=''
}
# One connection, one request after the other; -w: each answer's time.
ask() { # lines of requests, file of times
    jq -r --arg at "$at" '"url = \"\($at)/v1/rerank\"", "data = \(tojson | tojson)", "silent", "write-out = \"\\n%{stderr}%{time_total}\\n\"", "next"' \
        <<<"$1" | sed '$d' | curl -K - >"$out/answers" 2>"$2"
}
counts() { curl -sf "$at/metrics" | awk -v name="freshet_$1" '$1 == name { print $2 }'; }

declare -A more=([nowhere]='' [redis]='' [file]="-o kernels.states_dir=$kept/states")
restart_redis() { # with the states, or without
    kill "$redis"
    wait "$redis" || true
    start_redis
    [[ $1 == redis ]] || ask_redis eval "local c = '0' repeat local r = redis.call('SCAN', c, 'MATCH', 'fr:default:state:*', 'COUNT', 1000) c = r[1] if #r[2] > 0 then redis.call('DEL', unpack(r[2])) end until c == '0'" 0 >/dev/null
}
run() { # kind
    restart_redis "$1"
    # shellcheck disable=SC2086
    serve ${more[$1]}
    ask "$(head -n 1 "$kept/requests")" "$out/first"
    ask "$(tail -n +2 "$kept/requests")" "$out/times"
    local now
    now=$(date +%s%N)
    sort -g "$out/times" >"$out/sorted"
    echo "$1 $(((ready - began) / 1000)) $(awk '{ printf "%d", $1 * 1e6 }' "$out/first") $(((now - ready) / 1000)) \
$(awk '{ t[NR] = $1 } END { printf "%d %d", t[int(NR / 2)] * 1e6, t[int(NR * 0.99)] * 1e6 }' "$out/sorted") $(counts states_computed_total) $(counts states_fetched_total) $(counts state_file_hits_total)" >>"$out/all"
        jq -c '[.items[] | [.item, .score]]' "$out/answers" >"$out/answers.$1"
    stop
}
for ((i = 0; i < rounds; i++)); do
    for kind in nowhere redis file; do run $kind; done
    cmp "$out/answers.nowhere" "$out/answers.redis"
    cmp "$out/answers.nowhere" "$out/answers.file"
done

echo "$(nproc) cores, $(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1); $(wc -l <"$kept/items") items, $(wc -l <"$kept/users") users; $rounds rounds"
sed -n 's/.*\(sentences=[^ ]*\).*\(bytes=.*\)/model warm: \1 \2/p' "$kept/made"
echo
echo "| states | start to ready ms | first answer ms | first 1,000 answers s | p50 ms | p99 ms | computed | from Redis | from the file |"
echo "|---|---|---|---|---|---|---|---|---|"
middle() { # kind, column, divisor
    awk -v kind="$1" -v c="$2" -v by="$3" '$1 == kind { print $c / by }' "$out/all" | sort -g |
        awk '{ t[NR] = $1 } END { printf "%.4g (%.4g..%.4g)", t[int((NR + 1) / 2)], t[1], t[NR] }'
}
for kind in nowhere redis file; do
    echo "| $kind | $(middle $kind 2 1e3) | $(middle $kind 3 1e3) | $(middle $kind 4 1e6) | $(middle $kind 5 1e3) | $(middle $kind 6 1e3) | $(middle $kind 7 1) | $(middle $kind 8 1) | $(middle $kind 9 1) |"
done

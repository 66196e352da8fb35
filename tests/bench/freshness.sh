#!/usr/bin/env bash
# freshness.sh - how old is what a scorer serves?  Events with the time of now go through a real Kafka broker, a learner, Redis
# and a scorer, which is asked all the while.  Prints percentiles of each stage of every version that was served, and of
# all events from their own time to the first answer that had learnt from them (Markdown).
#
#   tests/bench/freshness.sh [section.key=value…]     options of learner and scorer
#
# FRESHET, FRESHET_BUILD   binary and build folder (build/release)
# KAFKA_JARS               as deploy/kafka.sh
# SECONDS_LONG             of measuring, after as many versions as it takes to be warm (45)
# RATE                     orders a second, of one item each (100)
# EVERY_MS                 publish.every_ms (1000)
# MODEL                    folder of the encoder (models/all-MiniLM-L6-v2)
#
# Stages: event (its own time) → consumed (the learner took it off its queue) → learnt (its order was settled and learnt
# from) → published (its checkpoint is durable, its upload begins) → loaded (uploaded, fetched, verified, in force in the
# scorer) → served (the time of the first request answered with it).
. "$(dirname "$0")/../support/usage.sh"
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/support/stream.sh
. "$here/tests/support/stream.sh"
long=${SECONDS_LONG:-45} rate=${RATE:-100} every=${EVERY_MS:-1000} model=$(realpath "${MODEL:-$here/models/all-MiniLM-L6-v2}")
stream_begin freshness
[[ -r $model/config.json ]] || skip "no model in $model"
options=(-o "model.base=$model" -o "redis.url=unix:$dir/redis" -o "publish.every_ms=$every" -o publish.keep=100
    -o serving.served_max=1000000 -o join.order_gap_ms=0)
for option in "$@"; do options+=(-o "$option"); done

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

items() {
    local i
    for ((i = 0; i < 200; i++)); do
        printf '{"type":"item","time":%d,"item":"i%d","title":"a thing of kind %d, colour %d","price":%d}\n' \
            "$(($(now_ms) - 60000))" $i $((i % 17)) $((i % 5)) $((1 + i % 30))
    done
}

# Each order is closed by the next one's time.
orders() {
    local n=0 t due
    t=$(now_ms) due=$t
    while [[ ! -e $dir/stop ]]; do
        t=$(now_ms)
        while ((due <= t)); do
            printf '{"type":"purchase","time":%d,"user":"u%d","item":"i%d","order":"o%d","id":"p%d"}\n' \
                "$t" $((RANDOM % 300)) $((RANDOM * RANDOM % 200)) $n $n
            n=$((n + 1)) due=$((due + 1000 / rate))
            echo "$t" >&"$times_fd"
        done
        nap 0.002
    done
}

# One request after the other on one connection.
ask() {
    local head n
    exec {http}<>"/dev/tcp/127.0.0.1/$port"
    while [[ ! -e $dir/stop ]]; do
        local body='{"user":"u'$((RANDOM % 300))'","items":["i1","i2","i3","i4","i5","i6","i7","i8","i9","i10"]}'
        printf 'POST /v1/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s' \
            ${#body} "$body" >&"$http"
        n=0
        while read -r -u "$http" head && head=${head%$'\r'} && [[ -n $head ]]; do
            [[ ${head,,} == content-length:* ]] && n=${head#*: }
        done
        read -r -N "$n" -u "$http" head
        nap 0.005
    done
}

stream_kafka
stream_redis
KAFKA_DIR=$dir/kafka "$source/deploy/kafka.sh" topic events 1 2>"$dir/tool.err"
"$freshet" run --quiet "${options[@]}" -o "kafka.bootstrap.servers=$servers" -o "state.dir=$dir/state" -o join.idle_ms=100 2>"$dir/err" &
started+=("$!")
"$freshet" serve "${options[@]}" -o serving.listen=127.0.0.1:0 -o serving.poll_ms=10 2>"$dir/serve.err" &
started+=("$!")
learning() { [[ $(redis hget fr:default:info state) == learning ]]; }
stream_wait 60 "a learner at work" learning
kafka=(kcat -P -b "$servers" -t events -X linger.ms=0 -X compression.codec=none)
items | "${kafka[@]}"
exec {times_fd}>"$dir/times"
orders | "${kafka[@]}" &
producer=$!
started+=("$producer")
stream_wait 60 "a port of the scorer" grep -q ' listening ' "$dir/serve.err"
port=$(sed -nE 's/.* listening .* port=([0-9]+).*/\1/p' "$dir/serve.err")
stream_wait 60 "a version that is served" grep -q 'version version=' "$dir/serve.err"
ask &
asker=$!
started+=("$asker")
nap 5
from=$(now_ms)
nap "$long"
to=$(now_ms)
nap 3
touch "$dir/stop"
wait "$producer" "$asker" || true

# version settled consumed learnt published
for version in $(redis --raw xrange 'fr:{default}:log' - + | awk '$0 == "version" { getline; print }' | sort -un); do
    redis --raw get "fr:{default}:manifest:$version"
done | jq -r 'select(.learnt_wall_ms > 0) | [.version, .settled_ms, .consumed_wall_ms, .learnt_wall_ms, .published_wall_ms, .examples] | @tsv' |
    sort -n >"$dir/versions"
# version loaded
sed -nE 's/^([^ ]+) info version version=([0-9]+) .*/\2 \1/p' "$dir/serve.err" | while read -r version time; do
    printf '%d\t%d\n' "$version" "$(($(date -d "$time" +%s%N) / 1000000))"
done >"$dir/loaded"
# version served
redis --raw xrange fr:default:served - + | awk '
    $0 == "version" { getline; v = $0 } $0 == "time_ms" { getline; if (!(v in first) || $0 < first[v]) first[v] = $0 }
    END { for (v in first) printf "%d\t%s\n", v, first[v] }' >"$dir/served"

echo "machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores; Kafka, learner, Redis, scorer, producer and client share them"
echo "$rate orders/s, publish.every_ms=$every, serving.poll_ms=10, ${*:-default model}, ${long} s; ms"
echo
awk -F '\t' -v from="$from" -v to="$to" '
    function row(name, a, n,   i, j, t) {
        for (i = 2; i <= n; i++) { t = a[i]; for (j = i - 1; j > 0 && a[j] > t; j--) a[j + 1] = a[j]; a[j + 1] = t }
        printf "| %s | %d | %d | %d | %d | %d |\n", name, n, at(a, n, 0.5), at(a, n, 0.9), at(a, n, 0.99), a[n]
    }
    function at(a, n, q) { return a[int(q * (n - 1) + 0.5) + 1] }
    FILENAME ~ /loaded$/ { loaded[$1] = $2; next }
    FILENAME ~ /served$/ { served[$1] = $2; next }
    FILENAME ~ /versions$/ {
        if (!($1 in served) || !($1 in loaded)) next
        order[++versions] = $1; settled[$1] = $2
        if ($2 < from || $2 > to) next
        n++
        s1[n] = $3 - $2; s2[n] = $4 - $3; s3[n] = $5 - $4; s4[n] = loaded[$1] - $5; s5[n] = served[$1] - loaded[$1]; s6[n] = served[$1] - $2
        next
    }
    # an event is in the first version that is served whose newest settling event came after it
    $1 >= from && $1 <= to {
        while (k + 1 <= versions && settled[order[k + 1]] <= $1) k++
        if (k + 1 <= versions) events[++m] = served[order[k + 1]] - $1
    }
    END {
        if (n == 0) { print "no version was served"; exit 1 }
        print "| stage | of | p50 | p90 | p99 | most |"
        print "|---|---|---|---|---|---|"
        row("event to consumed", s1, n); row("consumed to learnt", s2, n); row("learnt to published", s3, n)
        row("published to loaded", s4, n); row("loaded to served", s5, n)
        row("a version: settling event to served", s6, n)
        print "| an event: its time to served | " m " | " percent(events, m) " |"
    }
    function percent(a, n,   i, h, c, v) { # many: counted, not sorted
        for (i = 1; i <= n; i++) { h[int(a[i])]++; if (a[i] > v) v = a[i] }
        c = 0
        split("0.5 0.9 0.99", q, " ")
        out = ""; k = 1
        for (i = 0; i <= v && k <= 3; i++) { c += h[i]; while (k <= 3 && c >= q[k] * n) { out = out i " | "; k++ } }
        return out v
    }' "$dir/loaded" "$dir/served" "$dir/versions" "$dir/times"
echo
echo "the scorer's own figures: $(redis hmget fr:default:metrics freshness_p50_ms freshness_p99_ms | tr '\n' ' ')(p50, p99 of versions)"

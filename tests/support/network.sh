# network.sh - sourced by the scripts that put the proxy of tests/fault in the way; bash, after stream.sh.
#
#   network_proxy LISTEN TARGET    starts it; $proxy_at is its port or path
#   network COMMAND...             a command to it (tests/fault/proxy.c has the list); fails unless it says ok
#   network_toxics                 the names that network_begin knows
#   network_begin NAME             one of them begins; network_end: the network is as it should be
#   network_rss PID                resident MiB
#   network_ask URL                somebody who asks a scorer without pause: ./answers
#   network_rounds SECONDS TOTAL   every trouble in turn while events come; SECONDS: the longest recovery
# The caller has learner and scorer (pids), produce N and produced, settled, hold (seconds) and rounds.
# shellcheck shell=bash disable=SC2034,SC2154

network_proxy() { # LISTEN TARGET
    mkfifo "$dir/to.proxy" "$dir/from.proxy"
    "$build/tests/proxy" "$1" "$2" <"$dir/to.proxy" >"$dir/from.proxy" 2>"$dir/proxy.err" &
    started+=($!)
    exec {to_proxy}>"$dir/to.proxy" {from_proxy}<"$dir/from.proxy"
    read -rt 10 -u "$from_proxy" proxy_at || fail "the proxy does not start: $(cat "$dir/proxy.err")"
}
network() {
    echo "$*" >&"$to_proxy"
    read -rt 10 -u "$from_proxy" network_said || fail "the proxy does not answer to: $*"
    [[ $network_said == *ok ]] || fail "the proxy says to '$*': $network_said"
}

network_toxics='latency bandwidth slice limit swallow slow_close reset down half'
network_begin() {
    case $1 in
    latency) network latency both 120 80 ;;
    bandwidth) network bandwidth both 30000 ;;
    slice) network slice both 7 ;;
    limit) network limit both 3000 ;;
    swallow) network swallow both 1 ;;
    half) network swallow down 1 ;; # what is asked arrives, no answer comes back
    slow_close) network slow_close both 700 && network limit down 20000 ;;
    reset) network reset ;;
    down) network down ;;
    esac
}
network_again() { [[ $1 != reset ]] || network reset; } # those that are over at once, once more
network_end() { network clear && network up; }

network_rss() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$1/status" 2>/dev/null || echo 0; }

# Somebody who asks the scorer without pause: a line per answer, its status and its milliseconds.
network_ask() { # URL
    while :; do
        curl -s -m 10 -o /dev/null -w '%{http_code} %{time_total}\n' -d '{"user":"u1","items":["i1","i2","i3","i4"]}' "$1/v1/rerank" || true
        nap 0.04
    done >"$dir/answers" 2>/dev/null
}

# Each trouble lasts twice `hold`, `rounds` times over, and the rest of TOTAL events comes meanwhile.  The most memory that was
# seen is left in most and most_scorer (MiB).
network_rounds() { # SECONDS TOTAL
    local round toxic rss from each=$((($2 - produced) / (rounds * 9)))
    most=0 most_scorer=0
    for ((round = 0; round < rounds; round++)); do
        for toxic in $network_toxics; do
            network_begin "$toxic"
            produce $((each / 2))
            nap "$hold"
            network_again "$toxic"
            produce $((each - each / 2))
            nap "$hold"
            rss=$(network_rss "$learner")
            ((rss <= most)) || most=$rss
            rss=$(network_rss "$scorer")
            ((rss <= most_scorer)) || most_scorer=$rss
            network_end
            from=$(date +%s%3N)
            stream_wait "$1" "recovery from $toxic" settled
            printf '%s: %-10s recovered in %5d ms\n' "$name" "$toxic" $(($(date +%s%3N) - from))
            kill -0 "$scorer" || fail "the scorer ended in $toxic"
        done
    done
    network counters
    echo "$name: $network_said"
}

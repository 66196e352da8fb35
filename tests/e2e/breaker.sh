#!/bin/sh
# breaker.sh - a stream that turns bad is noticed, not learnt, and learnt again when it is good; what it had taught by then is taken
# back; nothing is said of a good one.
#
# Four faults (an hour; the flood half of one) in a shop's log (freshet simulate --fault): half of all labels turned over, one user flooding, an
# upstream that calls everything clicked, one that has lost all prices.  Prints when each was noticed, how long users were ranked by a
# line that had learnt from it (from the first list of the fault that was settled until the line went back; STATED minutes at most), and when
# learning went on.
# A fault of one source of three is told from one of all: that source goes to the dead letters, and its letters can be tried again.
# A replay that is cut into two through one state folder ends with the same weights and figures.
# labels: long
# timeout: 600
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "breaker: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "breaker: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "breaker: $*"; tail -n 30 "$dir/err"; exit 1; }

events=50000 start=1767225600000 at=9000000 long=3600000
shop() { # log, then options: four hours and more
    log=$1
    shift
    "$freshet" simulate --events "$events" --users 300 --items 200 --seed 3 --no-best --fault-at $at --fault-ms $long "$@" >"$dir/$log" 2>"$dir/err"
}
replay() { # report, then arguments; what is said stays in err
    report=$1
    shift
    "$freshet" replay --quiet --report "$dir/$report" -o model.base="$source/tests/fixtures/uncased" -o model.parts=numeric,hashed \
        -o model.hashed_bits=12 -o kernels.threads=1 -o gate.bless_slates=500 -o gate.bless_ms=1800000 "$@" 2>"$dir/err" || fail "exit $? of replay $*"
}
minutes() { # of the first line with that word: from the fault's beginning, or from its end
    sed -n "s/.* guard $1 at_ms=\([0-9]*\) .*/\1/p" "$dir/err" | "$3" -n 1 | awk -v from="$2" '{ printf "%.1f", ($1 - from) / 60000 }'
}
within() { # value, least, most, what
    awk -v x="$1" -v a="$2" -v b="$3" 'BEGIN { exit !(x != "" && x + 0 >= a && x + 0 <= b) }' || fail "$4 is '$1', not $2 to $3"
}

shop good
replay good.json "$dir/good"
! grep -q ' guard ' "$dir/err" || fail "something was said of a good stream"
[ "$(jq '.guard.alarms + .guard.paused_slates + .guard.capped_user_examples + .guard.loss_spikes' "$dir/good.json")" -eq 0 ] || fail "$(jq .guard "$dir/good.json")"

back() { # minutes from the fault's beginning until the line went back; nothing: it did not
    sed -n 's/.* gate verdict=rollback event_ms=\([0-9]*\) .*/\1/p' "$dir/err" | head -n 1 | awk -v from=$((start + at)) '{ printf "%.1f", ($1 - from) / 60000 }'
}
each() { # label window, minutes; then arguments of every replay
    window=$1
    shift
    for fault in flip flood labels1 prices0; do
        [ $fault = flood ] && events=145000 long=1800000 || events=95000 long=3600000 # a flood brings many
        shop $fault --fault $fault --window-ms $((window * 60000)) --delay-ms $((window * 12000))
        replay $fault.json -o join.window_ms=$((window * 60000)) "$@" "$dir/$fault"
        noticed=$(minutes alarm $((start + at)) head) again=$(minutes resumed $((start + at + long)) tail) back=$(back)
        bad=$(echo "${back:-0}" | awk -v w=$window '{ print ($1 > w) ? $1 - w : 0 }') # the fault's first lists settle a window later
        kept=$(jq .guard.paused_slates "$dir/$fault.json")
        by=$(sed -n 's/.* guard alarm .*monitor="\([^"]*\)".*/\1/p' "$dir/err" | head -n 1)
        printf '%-9s %3s min %11s min %10s min %21s min %12s min %17s   %s\n' $fault $window "$noticed" "${back:--}" "$again" "$bad" "$kept" "$by"
        within "$noticed" 0 45 "$fault: minutes until it was noticed"
        within "$again" 0 75 "$fault: minutes until learning went on"
        within "$bad" 0 $stated "$fault: minutes in which users were ranked by what it taught"
        [ "$(jq .guard.paused "$dir/$fault.json")" = false ] || fail "$fault: still paused"
        [ "$kept" -gt 1000 ] || fail "$fault: $kept slates were kept from learning"
    done
}
stated=15 # minutes
echo "fault      window   noticed after   gone back   learning again after its end   bad line for   slates not learnt   noticed by"
each 30 # labels come so late that nothing bad has been learnt when it is noticed
each 3

# after a pause the optimiser may begin anew: once, and what is learnt is another
replay anew.json -o guard.restart=optimiser "$dir/labels1"
[ "$(jq -c '[.guard.pauses, .guard.optimiser_restarts]' "$dir/anew.json")" = "[1,1]" ] || fail "restarts: $(jq -c .guard "$dir/anew.json")"
[ "$(jq .guard.optimiser_restarts "$dir/labels1.json")" -eq 0 ] || fail "a restart that nobody asked for"
[ "$(jq .model.sha256 "$dir/anew.json")" != "$(jq .model.sha256 "$dir/labels1.json")" ] || fail "a restart changed nothing"

# what is deleted during a pause stays so, also where nothing else is counted then
one() { echo "{\"time\":$1,$2}"; }
{
    one $start '"type":"user","user":"erased","age":33'
    awk -v at=$((start + at + 3540000)) '!said && match($0, /"time":[0-9]+/) && substr($0, RSTART + 7, RLENGTH - 7) + 0 >= at {
        print "{\"time\":" at ",\"type\":\"user\",\"user\":\"erased\",\"deleted\":true}"
        print "{\"time\":" at ",\"type\":\"item\",\"item\":\"i5\",\"deleted\":true}"
        said = 1
    } 1' "$dir/labels1"
    one "$(tail -n 1 "$dir/labels1" | jq .time)" '"type":"impression","user":"erased","request":"late","items":["i5","i6"]'
} >"$dir/erasing"
mkfifo "$dir/examples"
grep '"late"' "$dir/examples" >"$dir/late" &
replay erasing.json --flush --dump-examples "$dir/examples" -o guard.counts=false "$dir/erasing"
wait $!
[ "$(jq .guard.pauses "$dir/erasing.json")" -eq 1 ] || fail "no pause"
[ "$(jq -sc '[.[].numeric | [."user.known", ."item.known"]]' "$dir/late")" = "[[0,0],[0,1]]" ] || fail "deleted in a pause, but there: $(cut -c1-300 "$dir/late")"

events=80000 long=3600000
# one source of three: it alone goes to the dead letters, learning goes on
shop sourced --fault labels1 --sources 3
replay sourced.json -o ingest.dead_letters="$dir/letters" -o guard.quarantine_ms=7200000 -o state.dir="$dir/state" "$dir/sourced"
grep -q 'guard quarantined .*source="s0"' "$dir/err" || fail "s0 is not in quarantine"
! grep -q 'guard paused\|source="s[12]"' "$dir/err" || fail "learning was paused, or another source met it"
grep -q 'guard released .*source="s0"' "$dir/err" || fail "s0 was not released"
jq -se 'length > 1000 and all(.[]; .stage == "anomaly" and .reason == "anomaly" and (.value_base64 | @base64d | contains("\"source\":\"s0\"")))' \
    "$dir/letters" >"$dir/tried" || fail "letters: $(head -n 1 "$dir/letters")"
letters=$(wc -l <"$dir/letters")
[ "$(jq .guard.quarantined_events "$dir/sourced.json")" -eq "$letters" ] || fail "$letters letters, $(jq .guard "$dir/sourced.json")"
"$freshet" check --dead-letters "$dir/letters" >"$dir/out" 2>"$dir/err" || fail "check: $(cat "$dir/out")"
grep -q 'anomaly' "$dir/out" || fail "check does not name the stage: $(cat "$dir/out")"
replay tried.json --dead-letters -o guard.quarantine_ms=7200000 -o state.dir="$dir/state" -o ingest.dead_letters="$dir/still" "$dir/letters"
[ ! -s "$dir/still" ] || fail "$(wc -l <"$dir/still") letters were refused again: $(head -n 1 "$dir/still")"
[ "$(jq .events "$dir/tried.json")" -eq $((events + letters)) ] || fail "$(jq .events "$dir/tried.json") events after the letters"

# cut in the middle of a pause: the state carries the guard
cut=55000
head -n $cut "$dir/labels1" >"$dir/a"
tail -n +$((cut + 1)) "$dir/labels1" >"$dir/b"
replay first.json -o join.window_ms=180000 -o state.dir="$dir/cut" "$dir/a"
replay second.json -o join.window_ms=180000 -o state.dir="$dir/cut" "$dir/b"
for key in .model.sha256 .guard .progressive .slates; do
    [ "$(jq -S "$key" "$dir/labels1.json")" = "$(jq -S "$key" "$dir/second.json")" ] || fail "$key differs when the replay is cut"
done

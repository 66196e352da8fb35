#!/bin/sh
# replay.sh - a replay is repeatable to the weight hash; cut in two, killed and resumed, grown, or with another number of threads.
#
# On a tiny random BERT folder with all parts, so that every kind of state is in play.
# labels: quick
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "replay: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "replay: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "replay: $*"; cat "$dir/err"; exit 1; }

events=12000 rate=5
[ -z "${FRESHET_SANITIZE:-}" ] || events=6000 rate=2.5 # every run takes ten times as long
"$freshet" simulate --events $events --users 60 --items 120 --seed 5 --rate $rate --no-best >"$dir/log" 2>"$dir/err"
head -$((events * 2 / 5)) "$dir/log" >"$dir/a"
tail -n +$((events * 2 / 5 + 1)) "$dir/log" >"$dir/b"

replay() { # report, then arguments
    report=$1
    shift
    "$freshet" replay --quiet --report "$report" -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=12 \
        -o join.window_ms=600000 -o train.batch_slates=5 -o train.step_slates=2 -o train.batch_wait_ms=700 -o eval.segments=item.category,user.none -o eval.unsampled_frac=0.05 "$@" 2>"$dir/err" || fail "exit $? of replay $*"
}
same() { # what two reports must agree in
    for key in .model.sha256 .progressive .baselines .by .parts .examples .slates .open .rejected \
        .ranking .intervals .reliability .windows .decayed .curve .lists .segments .unsampled .served; do
        [ "$(jq -S "$key" "$1")" = "$(jq -S "$key" "$2")" ] || fail "$key differs between $1 and $2"
    done
}

replay "$dir/whole.json" "$dir/log"
[ "$(jq .events "$dir/whole.json")" -eq $events ] || fail "not all events were read"
[ "$(jq '.examples * 3 > .events and .rejected == 0 and .open > 0' "$dir/whole.json")" = true ] || fail "examples: $(jq .examples "$dir/whole.json")"
replay "$dir/again.json" "$dir/log"
same "$dir/whole.json" "$dir/again.json"
replay "$dir/threads.json" -o kernels.threads=1 "$dir/log"
same "$dir/whole.json" "$dir/threads.json"
replay "$dir/other.json" -o train.seed=2 "$dir/log"
[ "$(jq .model.sha256 "$dir/other.json")" != "$(jq .model.sha256 "$dir/whole.json")" ] || fail "another seed gave the same weights"

# scores that only order are said to be so, once
head -n 300 "$dir/log" >"$dir/few"
replay "$dir/few.json" "$dir/few"
! grep -q 'are no probabilities' "$dir/err" || fail "scores are probabilities"
replay "$dir/few.json" -o train.softmax_share=1 -o train.recalibration=false "$dir/few"
[ "$(grep -c 'are no probabilities' "$dir/err")" -eq 1 ] || fail "scores are no probabilities, and nothing says so"

# replay A, then replay B, is replay A B; both given at once, merged by time, too
replay "$dir/part.json" -o state.dir="$dir/ab" "$dir/a"
replay "$dir/both.json" -o state.dir="$dir/ab" "$dir/b"
same "$dir/whole.json" "$dir/both.json"
replay "$dir/merged.json" "$dir/a" "$dir/b"
same "$dir/whole.json" "$dir/merged.json"

# what was learnt before is not learnt again
replay "$dir/noop.json" -o state.dir="$dir/ab" "$dir/a" "$dir/b"
same "$dir/whole.json" "$dir/noop.json"

# a named pipe is read once, from its first byte
mkfifo "$dir/pipe"
cat "$dir/log" >"$dir/pipe" &
replay "$dir/pipe.json" "$dir/pipe"
same "$dir/whole.json" "$dir/pipe.json"

# killed at whatever moment, resumed until it is through
kills=0
while ! [ -s "$dir/killed.json" ] && [ $kills -lt 60 ]; do
    "$freshet" replay --quiet --report "$dir/killed.json" -o model.base="$source/tests/fixtures/uncased" \
        -o model.hashed_bits=12 -o join.window_ms=600000 -o train.batch_slates=5 -o train.step_slates=2 -o train.batch_wait_ms=700 -o state.dir="$dir/killed" \
        -o eval.segments=item.category,user.none -o eval.unsampled_frac=0.05 -o state.checkpoint_every_ms=20 "$dir/log" 2>"$dir/err" &
    pid=$!
    sleep "$(awk "BEGIN { print 0.05 + 0.005 * $kills * $kills }")" # longer each time: a slow machine gets through as well
    kill -KILL $pid 2>/dev/null && kills=$((kills + 1))
    wait $pid 2>/dev/null || true
done
[ -s "$dir/killed.json" ] || fail "still not through after $kills kills"
same "$dir/whole.json" "$dir/killed.json"
[ $kills -gt 0 ] || fail "the run was over before the first kill"

# another configuration may not go on in the same folder
if "$freshet" replay --quiet -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=13 -o join.window_ms=600000 \
    -o train.batch_slates=5 -o train.step_slates=2 -o train.batch_wait_ms=700 -o eval.segments=item.category,user.none -o eval.unsampled_frac=0.05 -o state.dir="$dir/ab" "$dir/log" 2>"$dir/err"; then fail "another configuration was accepted"; fi
grep -q 'model.hashed_bits' "$dir/err" || fail "the refusal does not name the key"

# logs that grow, together or one after the other, are learnt from once; a last line that is half written, when it is whole
cheap="-o model.parts=numeric,cooccur,hashed"
list='"type":"impression"'
learnt() { # report: each event of the log once
    [ "$(jq -c '[.events, .rejected, .duplicates]' "$1")" = "[$events,0,0]" ] || fail "$1: $(jq -c '[.events, .rejected, .duplicates]' "$1")"
}
replay "$dir/cheap.json" $cheap "$dir/log"
head -1000 "$dir/a" >"$dir/a1"
tail -n +1001 "$dir/a" >"$dir/a2"
replay "$dir/grown.json" $cheap -o state.dir="$dir/together" "$dir/a1" "$dir/a2"
replay "$dir/grown.json" $cheap -o state.dir="$dir/alone" "$dir/a1"
replay "$dir/grown.json" $cheap -o state.dir="$dir/alone" "$dir/a2"
head -c -40 "$dir/b" >>"$dir/a2"
for state in together alone; do
    replay "$dir/grown.json" $cheap -o state.dir="$dir/$state" "$dir/a1" "$dir/a2"
    grep -q "file=$dir/a2 left=" "$dir/err" || fail "nothing is said of a line that is half written"
done
tail -c 40 "$dir/b" >>"$dir/a2"
for state in together alone; do
    replay "$dir/grown.json" $cheap -o state.dir="$dir/$state" "$dir/a2"
    learnt "$dir/grown.json"
    same "$dir/cheap.json" "$dir/grown.json"
done

# several, merged and cut off in the midst; the same, where they grow meanwhile, lists before their labels
grep "$list" "$dir/log" >"$dir/lists"
grep -v "$list" "$dir/log" >"$dir/others"
replay "$dir/merged.json" $cheap "$dir/lists" "$dir/others"
for until in 5m 11m; do
    replay "$dir/resumed.json" $cheap -o state.dir="$dir/cut" --until $until "$dir/lists" "$dir/others"
done
replay "$dir/resumed.json" $cheap -o state.dir="$dir/cut" "$dir/lists" "$dir/others"
same "$dir/merged.json" "$dir/resumed.json"
for until in 4m 400d; do
    grep "$list" "$dir/a" >"$dir/lists"
    head -$((events * 3 / 10)) "$dir/log" | grep -v "$list" >"$dir/others"
    replay "$dir/resumed.json" $cheap -o state.dir="$dir/cut$until" --until $until "$dir/lists" "$dir/others"
    grep "$list" "$dir/log" >"$dir/lists"
    grep -v "$list" "$dir/log" >"$dir/others"
    replay "$dir/resumed.json" $cheap -o state.dir="$dir/cut$until" "$dir/lists" "$dir/others"
    learnt "$dir/resumed.json"
    [ "$(jq .examples "$dir/resumed.json")" -eq "$(jq .examples "$dir/merged.json")" ] || fail "grown logs give other examples"
done

# --flush settles what is open
replay "$dir/flushed.json" --flush "$dir/log"
[ "$(jq '.open' "$dir/flushed.json")" -eq 0 ] || fail "slates are open after --flush"
echo "replay: same bits in 11 ways, $kills kills"

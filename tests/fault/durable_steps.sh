#!/bin/bash
# durable_steps.sh - each durable step of a whole checkpoint cycle fails once, in several ways; every time the next start comes
# up by itself and the replay ends with the bits of the undisturbed run.
#
# Three cycles: a fresh folder (first checkpoints and a backup), a folder that is gone on with, and a damaged one that falls back
# to its backup.  The library tests/fault/shim.c lets the n-th step fail.  Short form: one of its seven modes for every n,
# another for the next; all of them:  DURABLE_MODES=all tests/fault/durable_steps.sh
# labels: fault
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
shim=${FRESHET_BUILD:-$source/build/release}/tests/libshim.so
[ -x "$freshet" ] && [ -e "$shim" ] || { echo "durable_steps: skipped, $freshet or $shim is not built"; exit 77; }
command -v jq >/dev/null || { echo "durable_steps: skipped, no jq"; exit 77; }
if nm "$freshet" | grep -q __asan_init; then echo "durable_steps: skipped, a sanitizer must be the first library"; exit 77; fi
place=${TMPDIR:-/tmp}
[ -w /dev/shm ] && place=/dev/shm # no disk has to be waited for
dir=$(mktemp -d "$place/freshet-durable-XXXXXX")
trap 'rm -rf "$dir"' EXIT
fail() { echo "durable_steps: $*"; tail -n 5 "$dir/err" "$dir/err2" 2>/dev/null; exit 1; }
modes=(EIO ENOSPC full torn before after tornkill)
take=1
[ "${DURABLE_MODES:-}" = all ] && take=${#modes[@]}

"$freshet" simulate --events 400 --users 20 --items 30 --seed 5 --rate 5 --no-best >"$dir/log" 2>/dev/null
head -200 "$dir/log" >"$dir/half"
replay() { # report, state folder, logs
    timeout --foreground -s KILL "${limit:-60}" "$freshet" replay --quiet --report "$1" -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=8 \
        -o join.window_ms=60000 -o train.batch_slates=3 -o state.backup_every_ms=1 -o state.checkpoint_every_ms=10 \
        --publish-every "${every:-10}" -o state.dir="$2" "${@:3}"
}
sha() { jq -r .model.sha256 "$1"; }

# the undisturbed run, and what the cycles begin with
replay "$dir/whole.json" "$dir/whole" "$dir/log" 2>"$dir/err" || fail "the undisturbed run"
want=$(sha "$dir/whole.json")
mkdir "$dir/fresh"
for _ in 1 2 3 4 5; do # a backup under way when the run ends is given up: on a busy machine that may be the only one
    rm -rf "$dir/begun"
    every=3 replay "$dir/x.json" "$dir/begun" "$dir/half" 2>"$dir/err" || fail "the first half"
    ! ls "$dir"/begun/backup/[0-9]* >/dev/null 2>&1 || break
done
cp -r "$dir/begun" "$dir/damaged"
ls "$dir"/damaged/backup/[0-9]* >/dev/null 2>&1 || fail "no backup was made"
printf x | dd of="$dir/damaged/state.mdb" bs=1 seek=17 conv=notrunc 2>/dev/null

runs=0
killed=0

# One folder, one step, one way to fail; then the next start.
try() { # cycle, n, mode
    rm -rf "$dir/s" "$dir/r1.json" "$dir/r2.json"
    cp -r "$dir/$1" "$dir/s"
    rc=0
    patience=60
    [ "$3" = full ] && patience=0.5 # it waits for room, and is killed while it waits
    { every=10 LD_PRELOAD=$shim SHIM_UNDER=$dir/s SHIM_AT=$2 SHIM_MODE=$3 limit=$patience \
        replay "$dir/r1.json" "$dir/s" "$dir/log" 2>"$dir/err" || rc=$?; } 2>/dev/null
    runs=$((runs + 1))
    [ $rc -ge 128 ] && killed=$((killed + 1))
    case $rc in
    0) [ "$(sha "$dir/r1.json")" = "$want" ] || fail "$1, step $2, $3: other bits in the run that failed a step" ;;
    1 | 137) ;;
    *) fail "$1, step $2, $3: exit $rc" ;;
    esac
    replay "$dir/r2.json" "$dir/s" "$dir/log" 2>"$dir/err2" || fail "$1, step $2, $3: the next start fails"
    [ "$(sha "$dir/r2.json")" = "$want" ] || fail "$1, step $2, $3: other bits after the next start"
    [ "$(jq .events "$dir/r2.json")" = 400 ] || fail "$1, step $2, $3: $(jq .events "$dir/r2.json") events"
    if [ "$1" != damaged ] && grep -q 'damaged=' "$dir/err2"; then fail "$1, step $2, $3: the step left damage"; fi
    left=$(find "$dir/s" -name '*.tmp*' -o -name '*.take*' | grep -v '/damaged-' || true)
    [ -z "$left" ] || fail "$1, step $2, $3: left behind: $left"
}

# The whole log goes on behind its first half: a log that grew is still itself.
total=0
for cycle in fresh begun damaged; do
    rm -rf "$dir/s"
    cp -r "$dir/$cycle" "$dir/s"
    LD_PRELOAD=$shim SHIM_UNDER=$dir/s SHIM_COUNT=$dir/count replay "$dir/x.json" "$dir/s" "$dir/log" 2>"$dir/err" ||
        fail "$cycle without a fault"
    [ "$(sha "$dir/x.json")" = "$want" ] || fail "$cycle without a fault: other bits"
    steps=$(cat "$dir/count")
    total=$((total + steps))
    for n in $(seq 1 "$steps"); do
        for k in $(seq 1 $take); do try $cycle "$n" "${modes[$(((n + 3 * k) % 7))]}"; done
    done
    echo "durable_steps: $cycle: $steps steps"
done
[ $killed -gt 0 ] || fail "no run was killed"
echo "durable_steps: $total steps, $runs faults, $killed of them deaths; $runs sound starts, $runs times the same bits"

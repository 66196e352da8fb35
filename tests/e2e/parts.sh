#!/bin/sh
# parts.sh - learned item vectors and biases, second-order numeric, forgetting, schedules, replay and distillation: in the state to the bit, in what is
# exported, and refused by name where they do not fit.
# labels: quick
# timeout: 240
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "parts: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "parts: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
fail() { echo "parts: $*"; cat "$dir/err"; exit 1; }
cd "$dir"

"$freshet" simulate --events 6000 --users 40 --items 80 --seed 8 --rate 5 --no-best >log 2>err
head -2500 log >a
tail -n +2501 log >b
base="-o model.base=$source/tests/fixtures/uncased -o model.hashed_bits=10 -o join.window_ms=20000 -o train.batch_slates=3"
all="-o model.parts=text,match,numeric,hashed,idvec,itembias,deep -o model.idvec_bits=7 -o train.numeric_order=2
    -o train.half_life_examples=2000 -o train.schedule=cosine_restart -o train.schedule_steps=50 -o train.l2_sp=0.01
    -o train.replay_share=0.3 -o train.reservoir_slates=200 -o train.distill=0.2 -o gate.bless_slates=100 -o gate.bless_ms=1000"
replay() { # report, then arguments
    report=$1
    shift
    "$freshet" replay --quiet --report "$report" $base "$@" 2>err || fail "exit $? of replay $*"
}
same() {
    for key in .model.sha256 .progressive .parts .examples; do
        [ "$(jq -S "$key" "$1")" = "$(jq -S "$key" "$2")" ] || fail "$key differs between $1 and $2"
    done
}

replay whole.json $all log
replay again.json $all -o kernels.threads=1 log
same whole.json again.json
replay a.json $all -o state.dir=ab a
replay ab.json $all -o state.dir=ab b
same whole.json ab.json
[ "$(jq -r '.parts | keys_unsorted | join(",")' whole.json)" = text,match,numeric,hashed,idvec,itembias,deep ] || fail "parts: $(jq -c .parts whole.json)"
[ "$(jq '.parts | all(.[]; .gauc_without != null)' whole.json)" = true ] || fail "a part without figures"
[ "$(jq '.parts.idvec.logloss_without == .progressive.logloss' whole.json)" = false ] || fail "idvec brings nothing at all"
[ "$(jq '.costs | all(.[]; .score_us_per_candidate > 0 and .learn_us_per_example > 0 and .share > 0)' whole.json)" = true ] ||
    fail "costs: $(jq -c .costs whole.json)"

[ "$(jq -c ".reservoir | [.held, .replayed > 400, .offered > 1000, .bytes > 10000]" whole.json)" = "[200,true,true,true]" ] ||
    fail "reservoir: $(jq -c .reservoir whole.json)"

[ "$(jq -c ".hashed | [.rows, .used > 500 and .used <= .rows, .collision_rate == .used / .rows]" whole.json)" = "[1024,true,true]" ] ||
    fail "hashed: $(jq -c .hashed whole.json)"

# every setting is learnt with, not only taken
head -1200 log >few
replay few.json $all few
changes="train.numeric_order=1 train.half_life_examples=0 train.schedule=constant train.l2_sp=0 train.idvec_rate=0.1
    train.itembias_rate=0.2 model.deep_units=32 train.numeric_ridge=2 train.schedule_steps=70 train.replay_share=0 train.reservoir_slates=50
    train.reservoir_horizon_slates=300 train.distill=0"
[ -z "${FRESHET_SANITIZE:-}" ] || changes="train.numeric_order=1 train.replay_share=0 train.distill=0" # each is two runs of ten times as long
for change in $changes; do
    replay other.json $all -o "$change" few
    [ "$(jq .model.sha256 other.json)" != "$(jq .model.sha256 few.json)" ] || fail "$change gives the same weights"
    "$freshet" replay --quiet $base $all -o "$change" -o state.dir=ab /dev/null 2>err && fail "a state is resumed with $change"
    grep -q "${change%=*}" err || fail "the refusal does not name ${change%=*}"
done

"$freshet" model export out -o state.dir=ab -o model.base="$source/tests/fixtures/uncased" >exported 2>err || fail "export"
size=$(od -An -t u8 -N 8 out/freshet.safetensors | tr -d ' ')
tail -c +9 out/freshet.safetensors | head -c "$size" >header
[ "$(jq -c '.["idvec.vector"].shape[0], .["itembias.weight"].shape, .["numeric.precision"].shape[1] > 9' header | tr '\n' ' ')" = "128 [128] true " ] ||
    fail "exported tensors: $(jq -c 'keys' header)"

"$freshet" replay --quiet $base -o model.parts=text,idvec log 2>err && fail "idvec without match"
grep -q 'put match into model.parts too' err || fail "idvec without match is refused in other words"

"$freshet" replay --quiet $base -o train.distill=0.1 -o gate.share=0 log 2>err && fail "distillation without a gate"
grep -q 'set gate.share above 0' err || fail "distillation without a gate is refused in other words"
"$freshet" replay --quiet $base -o train.replay_share=0.1 -o join.loss=fnw log 2>err && fail "replay of early copies"
grep -q "can't be learnt again" err || fail "replay of early copies is refused in other words"
"$freshet" replay --quiet $base -o train.distill=0.1 -o variant.b.train.seed=2 log 2>err && fail "distillation in a variant"
grep -q 'variant.b: train.distill' err || fail "distillation in a variant is refused in other words"

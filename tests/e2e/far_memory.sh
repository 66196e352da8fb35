#!/usr/bin/env bash
# far_memory.sh - a backend whose memory the host cannot touch (tests/plugins/kern_far.c) trains and scores to the same bits as
# `ref`: every part, view and rule of the optimiser, resumed in the middle too.
# labels: quick
# timeout: 240
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
plugin=${FRESHET_PLUGINS:-$build/tests}/kern_far.so
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "far_memory: $*"; tail -n 20 err 2>/dev/null || true; exit 1; }
[ -f "$plugin" ] || fail "no plug-in in $plugin"

"$freshet" simulate --events 300 --users 12 --items 20 --no-best >log 2>err
head -n 150 log >first
tail -n +151 log >second
cp log whole
options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=8 -o model.idvec_bits=6 -o model.events=4
    -o join.window_ms=5000 -o kernels.threads=1 -o state.checkpoint_every_ms=10)
far=(-o kernels.backend=cuda -o kernels.plugin="$plugin")
whole() { # NAME OPTION...: its figures and the hash of what it learnt
    local name=$1
    shift
    "$freshet" replay "${options[@]}" "$@" --quiet --flush --report "$name.json" log 2>err || fail "$name: replay $*"
    jq -c '[.model.sha256, .progressive, .parts, .examples]' "$name.json" >"$name"
}
same() { # WHAT OPTION...
    local what=$1
    shift
    whole near -o kernels.backend=ref "$@"
    whole far "${far[@]}" "$@"
    cmp -s near far || fail "$what: $(diff near far)"
    jq -e '.examples > 100 and .progressive.auc != null' near.json >/dev/null || fail "$what: nothing was learnt: $(cat near)"
}
same "all parts" -o model.parts=text,match,numeric,cooccur,hashed,idvec,itembias -o model.trainable_layers=2 -o train.batch_slates=3
same "f32, tokens, tasks, forgetting, small steps" -o train.batch_slates=6 -o train.step_slates=2 -o model.item_view=tokens \
    -o train.tasks=click,purchase -o train.half_life_examples=1000 \
    -o kernels.train_precision=f32 -o train.numeric_order=2
same "tasks of thinned lists" -o model.parts=numeric,hashed -o train.tasks=click,purchase,dislike -o join.negative_rate=0.6
# What is learnt stays there; the snapshot that teaches the line from then on sees it all the same.
same "a blessed version" -o model.parts=text,numeric -o train.distill=0.3 -o gate.share=1 -o gate.bless_slates=20 -o gate.bless_ms=10
jq -es '.[0].gate == .[1].gate and .[0].gate.blessings > 0' near.json far.json >/dev/null || fail "gate: $(jq -c .gate near.json far.json)"
# Many slates share a tape there, and linear parts see them all at once: the same but for the order in which gradients are summed.
near_enough() { # WHAT OPTION...
    local what=$1
    shift
    whole near -o kernels.backend=ref -o train.batch_slates=40 -o train.batch_wait_ms=1000000 "$@"
    whole far "${far[@]}" -o train.batch_slates=40 -o train.batch_wait_ms=1000000 "$@"
    jq -es '.[0].examples > 100 and .[0].examples == .[1].examples and (.[0].progressive.logloss - .[1].progressive.logloss | fabs) < 1e-5 and
        (.[0].progressive.auc - .[1].progressive.auc | fabs) < 1e-3' near.json far.json >/dev/null || fail "$what: $(cat near far)"
}
near_enough "40 slates at once" -o model.parts=numeric,cooccur,hashed,deep
sums() { # how often sparse rows are summed with so many slates a batch: once a list that is scored, and once for all that are learnt together
    FAR_SAYS=1 "$freshet" replay "${options[@]}" "${far[@]}" -o train.batch_slates="$1" -o train.batch_wait_ms=1000000 -o model.parts=hashed \
        --quiet --flush log 2>&1 | sed -n 's/^far: \([0-9]*\) sparse sums$/\1/p'
}
few=$(sums 8) many=$(sums 40)
[ "$few" -gt 50 ] && [ $((many * 10)) -lt $((few * 7)) ] || fail "$few sparse sums with 8 slates a batch, $many with 40: they were not at once"
near_enough "40 thinned lists at once" -o model.parts=text,numeric,hashed -o join.negative_rate=0.5
head -n 60 first >log # concat is dear
same "concat, dropout, an anchor, small steps" -o train.batch_slates=4 -o train.step_slates=1 -o model.parts=text,numeric \
    -o model.user_view=concat -o model.item_view=concat \
    -o model.dropout=0.1 -o train.l2_sp=0.01 -o kernels.precision=bf16

cp whole log

# What a resume reads is what the steps left: moments come back from the other memory, and go there again.
for kind in near far; do
    backend=(-o kernels.backend=ref)
    [ $kind = near ] || backend=("${far[@]}")
    "$freshet" replay "${options[@]}" "${backend[@]}" -o state.dir=state-$kind --quiet first 2>err || fail "first half, $kind"
    "$freshet" replay "${options[@]}" "${backend[@]}" -o state.dir=state-$kind --quiet --flush --report $kind.json second 2>err ||
        fail "second half, $kind"
done
[ "$(jq -r .model.sha256 near.json)" = "$(jq -r .model.sha256 far.json)" ] || fail "resumed: $(jq .model near.json far.json)"

# Sentences through the frozen encoder, and a model folder's states.
for backend in ref cuda; do
    echo '{"text":"a red lamp"}' | "$freshet" embed --model "$source/tests/fixtures/uncased" -o kernels.backend=$backend \
        -o kernels.plugin="$plugin" >$backend.out 2>err || fail "embed, $backend"
done
cmp -s ref.out cuda.out || fail "embeddings differ"

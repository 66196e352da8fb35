#!/usr/bin/env bash
# replay_ranks.sh - several processes that replay as one (train.ranks): the same weights on all and from run to run, the figures of one
# process, resumed and stopped in order too; whoever is lost, late, or of another mind ends it for all, by name and in time.
# labels: quick
# timeout: 240
set -euo pipefail
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${FRESHET_BUILD:-$source/build/release}
freshet=${FRESHET:-$build/freshet}
plugins=${FRESHET_PLUGINS:-$build/tests}
dir=$(mktemp -d)
others=()
end() {
    for p in "${others[@]}"; do kill -9 "$p" 2>/dev/null || true; done
    rm -rf "$dir"
}
trap end EXIT
cd "$dir"
fail() { echo "replay_ranks: $*"; tail -n 5 err.* 2>/dev/null || true; exit 1; }

"$freshet" simulate --events 1500 --users 40 --items 60 --no-best >log 2>err.log
head -n 700 log >first
tail -n +701 log >second
options=(-o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=10 -o model.idvec_bits=6 -o model.events=4
    -o model.parts=text,match,numeric,cooccur,hashed,idvec,itembias,deep -o model.trainable_layers=2 -o join.window_ms=5000
    -o kernels.threads=1 -o train.batch_slates=4 -o train.ranks_address=unix:"$dir/meet" --quiet)

# spawn RANK RANKS ARG...: in the background; its last words in err.RANK.
spawn() {
    local rank=$1 ranks=$2
    shift 2
    : >"err.$rank" # here, not by the process: what an earlier one said is looked at no more
    "$freshet" replay "${options[@]}" -o train.ranks="$ranks" -o train.rank="$rank" --report "$name.$rank.json" "$@" 2>"err.$rank" &
    pids[rank]=$!
    others+=($!)
}
# both RC...: what became of ranks 0, 1, …
both() {
    local rank=0 rc
    for want in "$@"; do
        rc=0
        wait "${pids[rank]}" || rc=$?
        [ "$rc" = "$want" ] || fail "$name: rank $rank ended with $rc, not $want"
        rank=$((rank + 1))
    done
}
met() { # they have found each other, and learn
    for ((i = 0; i < 1200; i++)); do
        if grep -q 'sums=' err.0; then return 0; fi
        sleep 0.05
    done
    fail "$name: they did not meet"
}
together() { # NAME RANKS ARG...: all end well, with one hash, that of rank 0's report; leaves it in $hash
    name=$1
    local ranks=$2 rcs=()
    shift 2
    pids=()
    for ((r = 0; r < ranks; r++)); do
        spawn "$r" "$ranks" "$@"
        rcs+=(0)
    done
    both "${rcs[@]}"
    hash=$(jq -r .model.sha256 "$name.0.json")
    for ((r = 1; r < ranks; r++)); do
        grep -q "rank=$r steps=[1-9][0-9]* sha256=$hash" "err.$r" || fail "$name: rank $r has not rank 0's weights $hash"
        [ ! -e "$name.$r.json" ] || fail "$name: rank $r wrote a report"
    done
}
close() { # NAME NAME: the same work, figures within 0.002
    jq -es '.[0].progressive as $a | .[1].progressive as $b | $a.examples > 1000 and $a.examples == $b.examples and
        ($a.auc - $b.auc | fabs) < 0.002 and ($a.gauc - $b.gauc | fabs) < 0.002 and ($a.logloss - $b.logloss | fabs) < 1e-3' \
        "$1.0.json" "$2.0.json" >/dev/null || fail "$1 and $2: $(jq -c .progressive "$1.0.json" "$2.0.json")"
}

together one 1 --flush log
alone=$hash
together two 2 --flush log
two=$hash
[ "$two" != "$alone" ] || fail "two ranks learnt nothing together"
close one two
together again 2 --flush log
[ "$hash" = "$two" ] || fail "two runs of two ranks differ: $two $hash"
together three 3 --flush log
close one three

# Forgetting, dropout, tasks, a gate, spikes and a challenger: replicas all the same.  A batch smaller than the ranks.
printf '[variant.small]\ntrain.batch_slates = 1\ntrain.distill = 0\ntrain.replay_share = 0\nmodel.parts = numeric,hashed\n' >variants.ini
together rules 2 --config variants.ini -o model.dropout=0.1 -o train.tasks=click,purchase -o train.half_life_examples=500 -o gate.share=0.5 \
    -o gate.bless_slates=50 -o gate.bless_ms=1000 -o train.distill=0.2 -o train.replay_share=0.2 -o guard.loss_spike=3 --flush log
grep -q 'ranks without a slate' err.* && fail "batches of 4 were called too small"

# A backend whose memory is apart goes through copies, to the same bits.
if [ -f "$plugins/kern_far.so" ]; then
    cp log whole && head -n 400 whole >log
    together near 2 -o kernels.backend=ref --flush log
    near=$hash
    together far 2 -o kernels.backend=cuda -o kernels.plugin="$plugins/kern_far.so" --flush log
    [ "$hash" = "$near" ] || fail "other memory, other weights: $near $hash"
    mv whole log
fi

# What one leaves in state.dir, all go on from; the same bits as in one go, over TCP as well.
together half 2 -o state.dir=state first
together rest 2 -o state.dir=state -o train.ranks_address=127.0.0.1:27411 --flush second
[ "$hash" = "$two" ] || fail "resumed: $hash, in one go $two"

# Told to stop, whoever is: all stop at one record, and go on later.
name=stopped pids=()
for r in 0 1; do spawn "$r" 2 -o state.dir=stopped --speed 60x log; done
met
sleep 1
kill -TERM "${pids[1]}"
both 0 0
before=$(jq .events stopped.0.json)
[ "$before" -gt 0 ] && [ "$before" -lt 1500 ] || fail "stopped after $before of 1500 events"
together gone_on 2 -o state.dir=stopped --flush log
[ "$hash" = "$two" ] || fail "stopped and gone on: $hash, in one go $two"

# What goes wrong is said by name, on every rank, in time.
says() { # RANK TEXT
    grep -qF "$2" "err.$1" || fail "$name: rank $1 does not say '$2'"
}
name=killed pids=()
for r in 0 1 2; do spawn "$r" 3 --speed 60x log; done
met
kill -9 "${pids[2]}"
both 1 1 137
says 0 'rank 2 is gone: its connection closed at operation'
says 1 'rank 2 is gone: its connection closed at operation'
name=hangs pids=()
for r in 0 1; do spawn "$r" 2 -o train.ranks_timeout_ms=5000 --speed 60x log; done
met
kill -STOP "${pids[1]}"
wait "${pids[0]}" && fail "rank 1 hung, and nobody minded"
says 0 'rank 1 sent nothing to rank 0 for 5000 ms at operation'
kill -CONT "${pids[1]}"
wait "${pids[1]}" && fail "rank 1 went on without rank 0"
says 1 'rank 1 sent nothing to rank 0'
name=seeds pids=()
spawn 0 2 log
spawn 1 2 -o train.seed=2 log
both 1 1
for r in 0 1; do says "$r" 'rank 1 has train.seed=2, rank 0 has train.seed=1'; done
name=logs pids=()
sed 's/"price":[0-9.]*/"price":3/; s/"type":"click"/"type":"cart"/' second >other
spawn 0 2 first second
spawn 1 2 first other
both 1 1
for r in 0 1; do says "$r" 'rank 1 has another'; done
name=states pids=()
spawn 0 2 -o state.dir=state second
spawn 1 2 second
both 1 1
for r in 0 1; do says "$r" "rank 1 has another state than rank 0: version=0 against version=2;"; done
name=absent pids=()
spawn 0 2 -o train.ranks_timeout_ms=300 log
both 1
says 0 'did not see rank 1: start each with train.ranks=2'
spawn 1 2 -o train.ranks_timeout_ms=300 log
wait "${pids[1]}" && fail "rank 1 learnt without rank 0"
says 1 'rank 1 found no rank 0 at unix:'
name=others
"$freshet" run -o train.ranks=2 -o state.dir=s 2>err.0 && fail "run with ranks"
says 0 '`run` learns alone so far'
"$freshet" replay -o train.ranks=2 -o train.rank=2 log 2>err.0 && fail "a third of two"
says 0 'train.rank = 2 with train.ranks = 2: the ranks are 0 to 1'
"$freshet" replay -o train.ranks=2 -o train.step_slates=2 log 2>err.0 && fail "ranks with steps within a batch"
says 0 'train.step_slates = 2 with train.ranks = 2'

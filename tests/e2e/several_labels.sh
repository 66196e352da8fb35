#!/bin/sh
# several_labels.sh - several labels on one trunk: which behaviour is an example of which task, what is refused, and that a replay in
# two halves ends with the same weights.
# labels: quick
# timeout: 60
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "several_labels: skipped, $freshet is not built"; exit 77; }
command -v jq >/dev/null || { echo "several_labels: skipped, no jq"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
fail() { echo "several_labels: $*"; cat err; exit 1; }
events() { awk '{ type = $1; s = $2; $1 = $2 = ""; printf "{\"type\":\"%s\",\"time\":%.0f,%s}\n", type, 1767225600000 + s * 1000, $0 }'; }
replay() {
    "$freshet" replay --quiet -o model.base="$source/tests/fixtures/uncased" -o model.hashed_bits=10 \
        -o model.parts=numeric,hashed -o kernels.threads=1 -o train.tasks=click,cart,purchase,refund,dislike "$@" 2>err ||
        fail "replay ended with $?"
}
marks() { # what, wanted "item=label:tasks that are set ..."
    got=$(jq -r '"\(.item)=\(.label):\(.task_labels | to_entries | map(select(.value == 1).key) | join("+"))"' examples |
        tr '\n' ' ')
    [ "${got% }" = "$2" ] || fail "$1: ${got% }, not $2"
}

for i in 1 2 3 4 5; do echo "item 0 \"item\":\"i$i\",\"title\":\"red mug $i\",\"price\":$i"; done | events >catalogue
{
    cat catalogue
    events <<'END'
impression 10 "user":"u","request":"r1","items":["i1","i2","i3","i4","i5"]
click 20 "user":"u","item":"i1","request":"r1"
purchase 900 "user":"u","item":"i1"
refund 1500 "user":"u","item":"i1"
dislike 30 "user":"u","item":"i2"
purchase 40 "user":"u","item":"i3"
click 50 "user":"u","item":"i4"
click 60 "user":"u","item":"i4"
END
} >log
replay --flush --dump-examples examples log
marks "a purchase finds the list of its click; a refund takes nothing back" \
    "i1=1:click+purchase+refund i2=0:dislike i3=1:purchase i4=1:click i5=0:"
{ cat log; echo 'item 7200 "item":"i6","title":"of another day","price":1' | events; } >later # its window is over
replay --flush --report report.json later
jq -e '.shown == {from_ms: .shown.from_ms, to_ms: .shown.to_ms, lists: 1, shown: 5, taken: 3, rate: 0.6, converted: 2, converted_lists: 1,
    conversion: 1, post_click: (2 / 3)}' report.json >/dev/null || fail "conversion: $(jq -c .shown report.json)"
jq -e '.join.duplicate == 1' report.json >/dev/null || fail "repeats: $(jq -c .join report.json), a label that a click did not give is none"
replay --flush --report report.json -o eval.conversion=dislike later
jq -e '.shown | .converted == 1 and .taken == 3' report.json >/dev/null || fail "another conversion: $(jq -c .shown report.json)"
jq -e '.tasks | length == 5 and all(type == "number")' examples >/dev/null || fail "no logits of the tasks"

refused() { # option, sentence, more options
    option=$1 text=$2
    shift 2
    if "$freshet" replay --quiet --flush -o "$option" "$@" log >/dev/null 2>err; then fail "$option was taken"; fi
    grep -q "$text" err || fail "$option: not told '$text'"
}
refused train.tasks=view "type.view.label is none"
refused train.tasks=clik "'clik' is no behaviour type"
refused train.tasks=click,click "stands there twice"
refused eval.conversion=sale "'sale' is no behaviour type"
refused rank.utility=click=1 "'click' is not among train.tasks"
refused rank.utility=click "not of the form task=number"
refused rank.utility=click=1,click=2 "'click' stands there twice" -o train.tasks=click

# Two thousand lists in one go and in two halves: the same weights.
awk 'BEGIN {
    srand(7)
    for (n = 0; n < 2000; n++) {
        t = 100 + n * 40
        printf "impression %d \"user\":\"u%d\",\"request\":\"r%d\",\"items\":[\"i1\",\"i2\",\"i3\",\"i4\",\"i5\"]\n", t, n % 50, n
        for (i = 1; i <= 5; i++) {
            if (rand() < 0.06 * i) {
                printf "click %d \"user\":\"u%d\",\"item\":\"i%d\",\"request\":\"r%d\"\n", t + i, n % 50, i, n
                if (rand() < 0.5 - 0.08 * i) printf "purchase %d \"user\":\"u%d\",\"item\":\"i%d\",\"request\":\"r%d\"\n", t + 10 + i, n % 50, i, n
            }
        }
    }
}' | sort -k2,2n -s | events >lists
cat catalogue lists >whole
half=$(($(wc -l <whole) / 2))
head -n $half whole >first
tail -n +$((half + 1)) whole >second
replay --flush --report whole.json whole
replay --report first.json -o state.dir=state first
replay --flush --report second.json -o state.dir=state second
[ "$(jq -r .model.sha256 whole.json)" = "$(jq -r .model.sha256 second.json)" ] || fail "two halves end with other weights"
[ "$(jq -c .tasks whole.json)" = "$(jq -c .tasks second.json)" ] || fail "two halves report other figures of the tasks"
jq -e '.tasks | (keys | length == 5) and (.click.gauc > 0.55)' whole.json >/dev/null || fail "figures of the tasks: $(jq -c .tasks whole.json)"
[ "$(jq -c .progressive whole.json)" = "$(jq -c .progressive second.json)" ] || fail "two halves report other figures"
# Once labels are known, a share of few has no trace of the half that it began with.
replay --flush --warmup 300 --report settled.json whole
jq -e '.tasks.purchase.calibration | . > 0.95 and . < 1.06' settled.json >/dev/null || fail "purchases: $(jq -c .tasks.purchase settled.json)"

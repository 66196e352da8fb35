#!/bin/sh
# tokenize.sh - freshet tokenize: objects keep their bytes, plain lines, exit codes, the line that is named.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
freshet=${FRESHET:-$source/build/release/freshet}
[ -x "$freshet" ] || { echo "tokenize: skipped, $freshet is not built"; exit 77; }
zh=$source/tests/fixtures/zh
out=$(mktemp)
trap 'rm -f "$out" "$out.err"' EXIT
fail() { echo "tokenize: $*"; cat "$out" "$out.err"; exit 1; }

run() { # want exit status, input, then arguments
    want=$1 input=$2 rc=0
    shift 2
    printf "$input" | "$freshet" tokenize "$@" >"$out" 2>"$out.err" || rc=$?
    [ "$rc" -eq "$want" ] || fail "exit $rc, not $want, of: $*"
}
says() { [ "$(cat "$out")" = "$1" ] || fail "expected $1"; }

run 0 '{ "k":1.50, "text":"red 茶 [SEP]" }\n{"ids":[9],"text":"a"}' --model "$zh"
says '{ "k":1.50, "text":"red 茶 [SEP]" ,"ids":[2,120,483,3,3]}
{"text":"a","ids":[2,77,3]}'
run 0 'a"b\n\n' --plain --model "$zh"
says '{"text":"a\"b","ids":[2,77,6,78,3]}
{"text":"","ids":[2,3]}'
run 0 'x' --plain -o model.base="$zh"
run 0 '' --model "$zh"
run 0 '' --help
run 1 '{"text":"a"}\n{"text":3}\n' --model "$zh"
grep -q 'line 2: ' "$out.err" || fail "the line is not named"
run 1 '{"text":"a"}\n{"text":"b"} x\n' --model "$zh"
grep -q 'line 2: ' "$out.err" || fail "the line is not named"
run 1 'x' --plain --model "$zh/none"
run 2 '' --nonsense
run 2 '' --model "$zh" file.txt

#!/bin/sh
# mutants.sh - is a test worth its name?  Applies each line of tests/mutants.txt to a copy of the sources, builds, and
# demands that the test named there turns red.
#
#   tests/tools/mutants.sh [PATTERN]   only lines that match PATTERN (an extended regular expression)
#
# A mutant that survives, does not apply or does not build is an error.  Slow; not part of make test.
set -eu
cd "$(dirname "$0")/../.."
source=$PWD
pattern=${1:-.}
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
trap 'exit 130' INT TERM

tar -cf - --exclude=./build --exclude=./models --exclude=./.git . | tar -xf - -C "$copy"
[ ! -d models ] || ln -s "$source/models" "$copy/models"
cmake -S "$copy" -B "$copy/build" -DCMAKE_BUILD_TYPE=RelWithDebInfo >"$copy/log" || { cat "$copy/log"; exit 1; }

build() { # ctest name: its program, or everything for a script
    if ls "$copy"/tests/*/test_"$1".c >/dev/null 2>&1; then
        cmake --build "$copy/build" -j 2 --target "test_$1" >"$copy/log" 2>&1
    else
        cmake --build "$copy/build" -j 2 >"$copy/log" 2>&1
    fi
}

green() { (cd "$copy/build" && ctest -R "^$1\$" --no-tests=error >"$copy/log" 2>&1); }

lines=$(grep -vE '^(#|$)' tests/mutants.txt | grep -E "$pattern" || true)
[ -n "$lines" ] || { echo "mutants: no line of tests/mutants.txt matches '$pattern'"; exit 1; }
for name in $(echo "$lines" | sed 's/.*|//' | sort -u); do
    build "$name" && green "$name" || { cat "$copy/log"; echo "mutants: $name is not green to begin with"; exit 1; }
done

total=0 bad=0
complain() { bad=$((bad + 1)); echo "$1: $line"; }
echo "$lines" >"$copy/lines"
while IFS= read -r line; do
    file=${line%%|*} rest=${line#*|}
    name=${rest##*|} edit=${rest%|*}
    total=$((total + 1))
    sed -i "$edit" "$copy/$file"
    if cmp -s "$file" "$copy/$file"; then
        complain "DOES NOT APPLY"
    elif ! build "$name"; then
        complain "DOES NOT BUILD"
    elif green "$name"; then
        complain "SURVIVED"
    else
        echo "caught: $line"
    fi
    cp -p "$file" "$copy/$file"
    touch "$copy/$file" # newer than the mutant's object
done <"$copy/lines"
echo "mutants: $((total - bad)) of $total caught"
[ $bad = 0 ]

#!/bin/sh
# check_mutants.sh - every line of tests/mutants.txt still changes the file that it names: one that does not tests nothing.
# labels: quick style
set -eu
cd "${FRESHET_SOURCE:-$(dirname "$0")/../..}"
rc=0
while IFS= read -r line; do
    case $line in '' | '#'*) continue ;; esac
    file=${line%%|*} rest=${line#*|}
    edit=${rest%|*}
    if [ ! -f "$file" ]; then
        echo "tests/mutants.txt: there is no $file: $line"
        rc=1
    elif sed "$edit" "$file" | cmp -s - "$file"; then
        echo "tests/mutants.txt: changes nothing: $line"
        rc=1
    fi
done <tests/mutants.txt
exit $rc

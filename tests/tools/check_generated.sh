#!/bin/sh
# check_generated.sh - files that are made from others are up to date; `make docs` makes them anew.
# labels: quick style
set -eu
cd "${FRESHET_SOURCE:-$(dirname "$0")/../..}"
freshet=${FRESHET:-build/release/freshet}
made=$(mktemp)
trap 'rm -f "$made"' EXIT
rc=0

same() { # file
    cmp "$made" "$1" >/dev/null 2>&1 && return 0
    diff "$1" "$made" 2>&1 | head -5
    echo "$1:1: not what its source makes of it: run make docs and commit the result"
    rc=1
}
"$freshet" check --print-config-doc >"$made" || rc=1
same CONFIG.md
"$freshet" check --print-metrics-doc >"$made" || rc=1
same docs/METRICS.md
featurize/templates/embed.sh >"$made"
same featurize/describe_templates.inc
exit $rc

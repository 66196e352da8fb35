#!/bin/sh
# units.sh - systemd understands the service files, and what they allow is little.
# labels: quick
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
command -v systemd-analyze >/dev/null || { echo "units: skipped, no systemd-analyze"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for unit in "$source"/deploy/systemd/*.service; do
    name=$(basename "$unit")
    grep -q '^Type=notify$' "$unit" && grep -q '^WatchdogSec=' "$unit" || { echo "units: $name has no watchdog"; exit 1; }
    # the program and the user are not there on a machine that only tests
    sed 's#^ExecStart=/usr/local/bin/freshet#ExecStart=/bin/true#; /^User=/d; /^Group=/d; /^Documentation=/d' "$unit" >"$dir/$name"
    systemd-analyze verify "$dir/$name" 2>"$dir/said" || { echo "units: $name"; cat "$dir/said"; exit 1; }
    ! grep "$name" "$dir/said" || { echo "units: $name"; exit 1; }
    # 0 is everything forbidden, 10 everything allowed
    if systemd-analyze security --offline=yes --threshold=25 "$unit" >"$dir/said" 2>&1; then
        echo "units: $name $(grep -o 'Overall exposure level.*: [0-9.]* [A-Z]*' "$dir/said")"
    else
        tail -n 3 "$dir/said"
        exit 1
    fi
done

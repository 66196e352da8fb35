#!/bin/sh
# bench_peers.sh - what `make bench-peers` makes of its rounds: ratios inside a round, rows of contenders that fail, the report.
#
# With made-up contenders; the peers themselves are not installed for a test.
# labels: quick
# timeout: 60
set -eu
source=${FRESHET_SOURCE:-$(cd "$(dirname "$0")/../.." && pwd)}
command -v python3 >/dev/null || { echo "bench_peers: skipped, no python3"; exit 77; }
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cp "$source"/tests/bench/peers/*.py "$dir"
cd "$dir"
for file in *.py; do python3 -m py_compile "$file"; done
cat >try.py <<'END'
import report
from rounds import Figure, alternate

order = []


def contender(name, values, better="higher"):
    left = list(values)

    def measure():
        order.append(name)
        value = left.pop(0)
        if value is None:
            raise RuntimeError("ran\naway")
        return value

    return Figure(name, "x/s", better), measure


ours, slow, broken = contender("ours", [10, 30, 60]), contender("slow", [5, 10, 30]), contender("broken", [1, None, 1])
missing = (Figure("missing", "x/s", error="not measured: no such package"), None)
figures = alternate([ours, slow, broken, missing], 3, lambda text: None)
assert order == ["ours", "slow", "broken"] * 2 + ["ours", "slow"], order
assert figures[0].ratio_to(figures[1]) == (2, 2, 3), figures[0].ratio_to(figures[1])
assert figures[2].values == [1] and figures[2].error == "ran away" and figures[3].values == []
late, early = contender("late", [4, 8], "lower"), contender("early", [1, 4], "lower")
alternate([late, early], 2, lambda text: None)
assert early[0].ratio_to(late[0]) == (3, 2, 4), early[0].ratio_to(late[0])


class World:
    threads, rounds, load, peaks, arguments, versions = 2, 3, 1e6, "f32 100 GFLOP/s", " ARGS=--quick", {"engine": "1.2"}


section = report.Section("Work", "Text.")
section.tables.append(report.Table("Table", ["contender", "figure"], [["ours", "30 x/s"], ["missing"]]))
section.claims.append(("ours against slow", figures[0].ratio_to(figures[1])))
report.write(World, [section], "out.md")
text = open("out.md").read()
for part in ("make bench-peers ARGS=--quick", "3 alternating rounds", "engine 1.2", "others used the machine", "f32 100 GFLOP/s", "| ours against slow | 2.00 (2.00 – 3.00) |", "| missing |  |"):
    assert part in text, (part, text)
END
python3 try.py || { echo "bench_peers: see above"; exit 1; }

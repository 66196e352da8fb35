"""BENCHMARKS.md: machine, versions, commands, tables of figures, ratios with their spread."""
import datetime
import os
import platform
import re
import subprocess


BUSY = 0.5  # load of a core before the run starts


class Table:
    def __init__(self, title, head, rows):
        self.title, self.head, self.rows = title, head, rows

    def lines(self):
        width = len(self.head)
        yield f"**{self.title}**"
        yield ""
        for row in (self.head, ["---"] * width, *self.rows):
            yield "| " + " | ".join([*row, *[""] * (width - len(row))]) + " |"
        yield ""


class Section:
    """claims: [(sentence, (median, least, greatest))]"""

    def __init__(self, title, text):
        self.title, self.text, self.tables, self.claims, self.notes = title, text, [], [], []

    def lines(self):
        yield f"## {self.title}"
        yield ""
        yield self.text
        yield ""
        for table in self.tables:
            yield from table.lines()
        for note in self.notes:
            yield note
            yield ""


def spread(ratio):
    return "{} ({} – {})".format(*(f"{x:.2f}" if x < 10 else f"{x:.1f}" if x < 100 else f"{x:.0f}" for x in ratio))


def processor():
    with open("/proc/cpuinfo") as info:
        text = info.read()
    name = re.search(r"model name\s*: (.*)", text)
    flags = set(re.search(r"flags\s*: (.*)", text)[1].split()) if "flags" in text else set()
    known = [flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8") if flag in flags]
    family = re.search(r"cpu family\s*: (\d+)\nmodel\s*: (\d+)", text)
    which = f", family {family[1]} model {family[2]}" if family else ""
    return f"{name[1] if name else platform.machine()}{which} ({' '.join(known)})"


def machine(world):
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    yield f"- {processor()}, {os.cpu_count()} cores, {memory:.0f} GiB; {world.threads} threads for everybody; Linux {platform.release().split('-')[0]}"
    if world.load > BUSY * os.cpu_count():
        yield f"- **others used the machine** (load {world.load:.1f} on {os.cpu_count()} cores as the run began): these figures are no measure of anybody; repeat it alone"
    if world.peaks:
        yield f"- measured by `freshet bench` in the same run, one core: {world.peaks}"


def version_of_ours():
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def write(world, sections, path):
    lines = ["# Benchmarks: freshet beside other engines", "",
             "Written by `make bench-peers`; do not edit. What is compared, and how fairness is kept: [tests/bench/peers/README.md](tests/bench/peers/README.md).", "",
             f"- {datetime.date.today()}, freshet {version_of_ours()}; command: `make bench-peers{world.arguments}`; {world.rounds} alternating rounds", *machine(world),
             f"- Python {platform.python_version()}, " + ", ".join(f"{name} {version}" for name, version in sorted(world.versions.items())), ""]
    claims = [claim for section in sections for claim in section.claims]
    if claims:
        lines += ["| work | how many times ours is faster: median (least – greatest round) |", "|---|---|",
                  *(f"| {text} | {spread(ratio)} |" for text, ratio in claims), ""]
    for section in sections:
        lines += section.lines()
    with open(path, "w") as out:
        out.write("\n".join(lines).rstrip() + "\n")

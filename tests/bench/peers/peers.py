"""The run as a whole: arguments, topics one after the other, report."""
import argparse
import importlib
import os
import sys
import time

import report
from freshet import Freshet
from worker import Worker

TOPICS = ("embed", "cross", "train", "quality", "vw")


class World:
    """What all topics share."""

    def __init__(self, options):
        self.folder = os.path.abspath("build/peers")
        os.makedirs(self.folder, exist_ok=True)
        self.model = os.path.abspath(os.environ.get("FRESHET_MODEL", "models/all-MiniLM-L6-v2"))
        self.data = os.environ.get("FRESHET_DATA", "../shared/data")
        self.threads, self.quick = options.threads, options.quick
        self.rounds, self.seconds = (5, 0.4) if self.quick else (7, 1.0)
        self.freshet = Freshet(os.environ.get("FRESHET", "build/release/freshet"), self.model, self.threads, self.folder)
        self.versions, self.peaks = {}, ""
        self.arguments = f" ARGS=\"{' '.join(sys.argv[1:])}\"" if sys.argv[1:] else ""
        self.started, self.load = time.time(), os.getloadavg()[0]

    def log(self, text):
        print(f"{time.time() - self.started:6.0f} s  {text}", file=sys.stderr, flush=True)

    def note_peaks(self, machine):
        """What freshet bench measured of this machine, for the head of the report."""
        limits = machine.get("one_core", machine)
        units = {"f32_flop_per_s": ("f32", "GFLOP/s"), "bf16_flop_per_s": ("bf16", "GFLOP/s"), "int8_op_per_s": ("int8", "GOP/s"),
                 "memory_bytes_per_s": ("memory", "GB/s")}
        self.peaks = ", ".join(f"{name} {limits[key] / 1e9:.0f} {unit}" for key, (name, unit) in units.items() if key in limits)

    def refused(self, setting):
        """"" when the binary takes it, else the row's text"""
        return f"not in this binary: {setting}" if self.freshet.knows(setting) else ""


def options():
    parser = argparse.ArgumentParser(prog="make bench-peers ARGS=…", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds, fewer cases: under 5 minutes")
    parser.add_argument("--only", default=",".join(TOPICS), help=f"topics, comma-separated ({','.join(TOPICS)})")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of every contender (all cores)")
    parser.add_argument("--report", default="BENCHMARKS.md", help="file to write")
    given = parser.parse_args()
    unknown = set(given.only.split(",")) - set(TOPICS)
    if unknown:
        parser.error(f"--only {','.join(sorted(unknown))}: topics are {', '.join(TOPICS)}")
    return given


def main():
    given = options()
    world, sections = World(given), []
    for topic in TOPICS:
        if topic in given.only.split(","):
            sections.append(importlib.import_module(topic).run(world))
            Worker.close_all()
            report.write(world, sections, given.report)
    world.log(f"written: {given.report}")


main()

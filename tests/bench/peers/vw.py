"""Topic vw: Vowpal Wabbit's linear model on the same dumped examples, beside our linear parts."""
import importlib.metadata
import json
import subprocess
import sys
import time

from log_prefix import OurReplay, Prefix
from report import Section, Table, spread
from rounds import Figure, alternate, format_value
from slates import hashed, read

UNIT = "examples/s"
PARTS = "model.parts=numeric,hashed"
LEARN = """
import sys, time
import vowpalwabbit
start = time.perf_counter()
vw = vowpalwabbit.Workspace(sys.argv[1])
seconds = time.perf_counter() - start
print(vw.get_sum_loss() / vw.get_weighted_examples(), seconds)
vw.finish()
"""
BY_SLATE = """
import math, sys
import vowpalwabbit
vw = vowpalwabbit.Workspace(sys.argv[2])
total = count = 0
with open(sys.argv[1]) as lines:
    for size in map(int, sys.stdin.read().split()):
        slate = [(line.startswith('1'), vw.parse(line)) for line, _ in zip(lines, range(size))]
        for taken, example in slate:
            p = 1 / (1 + math.exp(-vw.predict(example)))
            total -= math.log(max(p if taken else 1 - p, 1e-7))
        for _, example in slate:
            vw.learn(example)
            vw.finish_example(example)
        count += size
print(total / count)
vw.finish()
"""


def write_examples(slates, tokens, path):
    """VW's text format: namespace n numeric features, h our hashed crosses (same keys, same values)."""
    with open(path, "w") as out:
        for slate in slates:
            crosses = [[] for _ in slate.label]
            for row, key, value in hashed(slate, tokens):
                crosses[row].append(f"{'_'.join(str(x).replace(' ', '_').replace(':', '_') for x in key)}:{value:.6g}")
            for row, label in enumerate(slate.label):
                numbers = " ".join(f"{at}:{x:.6g}" for at, x in enumerate(slate.numeric[row]) if x != 0)
                out.write(f"{1 if label > 0.5 else -1} |n {numbers} |h {' '.join(crosses[row])}\n")


class Vowpal:
    """One pass, in a process of its own; its own progressive loss is the mean log-loss before each example is learnt: of what it has just
    learnt of the same slate it knows then."""

    MODEL = "--loss_function logistic -b 22 --quiet"

    def __init__(self, path, sizes):
        self.path, self.sizes = path, sizes
        self.arguments = f"-d {path} {self.MODEL} --no_stdin"
        self.own_loss = None

    def ask(self, script, *arguments, text=None):
        done = subprocess.run([sys.executable, "-c", script, *arguments], input=text, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return [float(word) for word in done.stdout.split()]

    def rate(self):
        self.own_loss, seconds = self.ask(LEARN, self.arguments)
        return sum(self.sizes) / seconds

    def loss(self):
        """As ours is measured: every slate scored whole before any of it is learnt.  Not timed."""
        return self.ask(BY_SLATE, self.path, self.MODEL, text=" ".join(map(str, self.sizes)))[0]


def tokens_of(model, sentences):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(48)
    return [encoding.ids for encoding in tokenizer.encode_batch(sentences)]


def run(world):
    lines = 20000 if world.quick else 100000
    world.log(f"vw: the slates of the log's first {lines} lines")
    prefix = Prefix(world, lines)
    dump, report = prefix.dump("vw", PARTS)
    slates, sentences = read(dump)
    path, examples = f"{world.folder}/vw.txt", report["examples"]
    write_examples(slates, tokens_of(world.model, sentences), path)
    vowpal, ours = Vowpal(path, [len(slate.label) for slate in slates]), OurReplay(prefix, examples, [PARTS])
    peer = Figure("Vowpal Wabbit, reads its text file and learns", UNIT)
    try:
        world.versions["vowpalwabbit"] = importlib.metadata.version("vowpalwabbit")
    except importlib.metadata.PackageNotFoundError:
        peer.error = "not measured: vowpalwabbit could not be installed"
    names = "whole replay", "learning", "scores and steps"
    mine = [Figure(f"freshet numeric,hashed, {name}", UNIT) for name in names]
    figures = alternate([*zip(mine, (ours.whole, ours.learning, ours.model)), (peer, vowpal.rate)], world.rounds, world.log)
    loss = {peer.name: vowpal.loss() if peer.values else None, **{f.name: report["progressive"]["logloss"] for f in mine}}
    rows = [[f.name, f.error] if not f.values else
            [f.name, format_value(f.median, UNIT), f"{loss[f.name]:.4f}", spread(f.ratio_to(peer)) if f in mine and peer.values else ""] for f in figures]
    section = Section("Linear model", f"""The first {lines:,} lines of Online Retail: {examples:,} examples. Vowpal Wabbit (`{vowpal.arguments.replace(path, 'FILE')}`, one core, one
pass) gets the same numeric features and the same crosses as text; ours makes them from the log ("whole replay": parsing, counters, features, scoring, learning; only
its start is left out) or, for "learning", is the difference to `--no-learn`, with the state that it leaves durable on disk, the gate's own scores and snapshots and the check among all items.
"Scores and steps" are what both do and VW does alone: each example scored, then learnt (the report's `score_core_seconds` and `learn_core_seconds`).
Log-loss is of slates that are scored whole before any of them is learnt, VW's in a pass of its own, not timed: its own figure ({'none' if vowpal.own_loss is None else f'{vowpal.own_loss:.4f}'}) is
of examples one by one, so by a slate's later ones it has learnt what else was taken of it.""")
    section.tables.append(Table("Linear model", ["contender", "median", "progressive log-loss", "times faster than VW"], rows))
    if peer.values:
        section.claims += [(f"linear model, {f.name.removeprefix('freshet numeric,hashed, ')} against Vowpal Wabbit", f.ratio_to(peer)) for f in mine if f.values]
    return section

"""Ours and PyTorch 2 on one GPU in the same run: same weights, same sentences, slates of the same sizes; alternating rounds.

    peers.py FRESHET OUT [--seconds S] [--rounds N] [--budget S] [--device cuda|cpu] [--layers N]

Writes OUT/peers.md, table by table as they are done, and OUT/peers.json.  A contender that fails has a row that says so.  When the
budget is spent the rest is left out.  freshet answers through `freshet bench --ask`; kernels.plugin comes from the environment.
(--device cpu and --layers are for trying this script where there is no GPU.)
"""
import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(here, "..", "bench", "peers"))
sys.path.insert(0, here)
from made_model import SHAPES  # noqa: E402
from rounds import Figure, alternate, format_value, short  # noqa: E402
from worker import Worker  # noqa: E402

MODELS = {"minilm": "MiniLM-L6", "bert": "BERT-base"}
TOKENS, TRAINABLE, NUMERIC, HASHED = 32, 2, 64, 30


class Ours(Worker):
    """freshet with one case of its benchmark; the protocol is the workers'."""

    def __init__(self, binary, case, settings, log):
        arguments = [part for setting in settings for part in ("-o", setting)]
        with open(log, "a") as errors:
            self.process = subprocess.Popen([binary, "bench", "--ask", "--quick", "--only", case, *arguments], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        Worker.alive.append(self)
        self.facts = self.answer()["ready"]

    def ask(self, seconds):
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return self.answer()


class Run:
    def __init__(self, given):
        self.given, self.started, self.text, self.figures = given, time.monotonic(), [], {}
        self.out = given.out
        os.environ["PYTHONPATH"] = os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])
        os.makedirs("build/peers", exist_ok=True)

    def left(self):
        return self.given.budget - (time.monotonic() - self.started)

    def log(self, text):
        print(f"{time.monotonic() - self.started:6.0f} s  {text}", file=sys.stderr, flush=True)

    def folder(self, kind):
        path = f"{self.out}/{kind}"
        layers = [str(self.given.layers)] if self.given.layers else []
        if not os.path.exists(f"{path}/model.safetensors"):
            subprocess.run([sys.executable, f"{here}/made_model.py", path, kind, *layers], check=True)
        return path

    def settings(self, kind):
        device = ["kernels.backend=cuda", "kernels.device_mb=40000", "kernels.train_precision=bf16"]
        return [f"model.base={self.folder(kind)}", "kernels.precision=bf16", "kernels.min_cosine=0", f"model.trainable_layers={TRAINABLE}",
                "model.parts=text,match,numeric,hashed", "model.user_units=0", *(device if self.given.device == "cuda" else [])]

    def start(self, name, unit, make):
        """(Figure, measure, worker)"""
        figure, worker = Figure(name, unit), None
        try:
            worker = make()
            figure.note = str(worker.facts.get("batch", ""))
        except Exception as problem:
            figure.error = f"not measured: {short(problem)}"
        self.log(f"{name}: {figure.error or 'started'}")
        return figure, lambda: worker.rate(self.given.seconds), worker

    def peers(self, what, unit, **settings):
        """Eager and compiled; compiling takes most of a minute, so both start at once."""
        def start(name, compiled):
            return self.start(f"PyTorch bf16, {name}", unit, lambda: Worker(f"contenders:{what}", 8, device=self.given.device, compiled=compiled, **settings))
        with ThreadPoolExecutor() as both:
            return list(both.map(start, ("eager", "torch.compile"), (False, True)))

    def compare(self, title, contenders):
        figures = alternate([(figure, measure) for figure, measure, _ in contenders], self.given.rounds, self.log)
        for worker in [worker for _, _, worker in contenders if worker is not None]:
            worker.process.stdin.close()
            worker.process.wait()
            Worker.alive.remove(worker)
        self.text += [f"\n{title}\n", "| | median | least – greatest | ours is so many times faster: median (least – greatest) |", "|---|---|---|---|"]
        ours = figures[0]
        for figure in figures:
            if not figure.values:
                self.text.append(f"| {figure.name} | {figure.error} | | |")
                continue
            ratio = ""
            if figure is not ours and ours.values:
                ratio = "{:.2f} ({:.2f} – {:.2f})".format(*ours.ratio_to(figure))
            note = f" ({figure.note})" if figure.note else ""
            spread = f"{format_value(min(figure.values), '')}– {format_value(max(figure.values), '')}"
            self.text.append(f"| {figure.name}{note} | {format_value(figure.median, figure.unit)} | {spread} | {ratio} |")
        self.figures[title] = {figure.name: figure.values or figure.error for figure in figures}
        self.write()

    def write(self):
        with open(f"{self.out}/peers.md", "w") as file:
            file.write("\n".join(self.text) + "\n")
        with open(f"{self.out}/peers.json", "w") as file:
            json.dump(self.figures, file, indent=1)


def encode(run, kind):
    folder, batches = run.folder(kind), [512, 2048] if run.given.device == "cuda" else [16]
    ours = run.start("freshet bf16", "sentences/s", lambda: Ours(run.given.freshet, f"encode.bf16.{TOKENS}", run.settings(kind), f"{run.out}/peers.log"))
    torch = run.peers("Encode", "sentences/s", folder=folder, tokens=TOKENS, batches=batches)
    run.compare(f"{MODELS[kind]}, encode, sentences of {TOKENS} tokens", [ours, *torch])


def train(run, kind, examples):
    C, H, _ = SHAPES[kind]
    case = f"train.{examples}" if run.given.device == "cuda" else "train"
    ours = run.start("freshet bf16", "examples/s", lambda: Ours(run.given.freshet, case, run.settings(kind), f"{run.out}/peers.log"))
    sizes = ours[2].facts["slates"] if ours[2] is not None else [[40, 20]] * 200
    torch = run.peers("Train", "examples/s", sizes=sizes, examples=examples, columns=C, heads=H, layers=TRAINABLE, numeric=NUMERIC, hashed=HASHED)
    run.compare(f"{MODELS[kind]}, train step, top {TRAINABLE} layers trainable, {examples} examples", [ours, *torch])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("freshet")
    parser.add_argument("out")
    parser.add_argument("--seconds", type=float, default=0.5, help="of a contender's round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=300, help="seconds; no comparison begins after them")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--layers", type=int, help="of both models, instead of theirs")
    run = Run(parser.parse_args())
    for kind, work, *more in (("minilm", encode), ("minilm", train, 64), ("bert", encode), ("minilm", train, 2048), ("bert", train, 64), ("bert", train, 2048)):
        if run.left() <= 0:
            run.text.append(f"\n{MODELS[kind]}, {work.__name__} {more}: left out, the time was spent.")
            run.write()
            continue
        try:
            work(run, kind, *more)
        except Exception as problem:
            run.text.append(f"\n{MODELS[kind]}, {work.__name__}: {short(problem)}")
            run.write()
    Worker.close_all()


main()

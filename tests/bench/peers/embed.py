"""Topic embed: sentences of 16, 32 and 128 tokens to vectors, and how near each contender's vectors are to f32."""
import itertools

import numpy as np

import onnx_models_made
from report import Section, Table, spread
from rounds import Figure, alternate, format_value
from sentences import Maker
from worker import Worker

LENGTHS = {16: 512, 32: 512, 128: 128}  # tokens: distinct sentences
ACCURACY = 64  # sentences whose vectors are compared
OURS = ("f32", "bf16", "int8")


class OurEmbed:
    """freshet embed, whose start (weights read, checked, packed) is no part of its rate: N lines and 2N lines are timed, and
    the difference is N lines' time."""

    def __init__(self, freshet, folder, precision):
        self.freshet, self.folder, self.setting = freshet, folder, f"kernels.precision={precision}"

    def write(self, texts, count):
        path = f"{self.folder}/embed.{count}.txt"
        with open(path, "w") as lines:
            lines.writelines(text + "\n" for text in itertools.islice(itertools.cycle(texts), count))
        return path

    def prepare(self, texts, seconds):
        """N so that N lines take about so long."""
        self.texts, few = texts, 256
        once, thrice = (self.freshet.embed_seconds(self.write(texts, n), self.setting) for n in (few, 3 * few))
        self.count = max(few, int(seconds * 2 * few / max(thrice - once, 1e-3)))
        self.paths = [self.write(texts, n) for n in (self.count, 2 * self.count)]

    def rate(self, _):
        one, two = (self.freshet.embed_seconds(path, self.setting) for path in self.paths)
        if two <= one:
            raise RuntimeError("not measured: the machine is too busy for a difference of two runs")
        return self.count / (two - one)

    def vectors(self):
        return self.freshet.vectors(self.write(self.texts, ACCURACY), self.setting)


def peers(world):
    """(name, how to start it), in the order that they are measured."""
    model, threads = world.model, world.threads

    def torch(**settings):
        return lambda: Worker("embed_peers:Torch", threads, model=model, **settings)

    def onnx(precision):
        return lambda: Worker("embed_peers:Onnx", threads, model=model, path=onnx_models_made.paths(world, "embed")[precision])

    return [("PyTorch f32", torch()), ("PyTorch bf16", torch(precision="bf16")),
            ("PyTorch bf16, torch.compile", torch(precision="bf16", compiled=True)),
            ("sentence-transformers", lambda: Worker("embed_peers:SentenceTransformers", threads, model=model)),
            ("ONNX Runtime f32", onnx("f32")), ("ONNX Runtime int8", onnx("int8"))]


def start(world):
    """{name: worker or the text of what went wrong}"""
    started = {}
    for name, make in peers(world):
        try:
            started[name] = make()
            world.versions.update(started[name].facts)
        except Exception as problem:
            started[name] = f"not measured: {problem}"[:160]
        world.log(f"  {name}: {started[name] if isinstance(started[name], str) else 'started'}")
    return started


def prepare_peer(figure, worker, texts, best, world):
    batches = [best["batch"]] if "compile" in figure.name and best else [8, 32] if world.quick else [8, 32, 128]
    chosen = worker.call("prepare", texts=texts, batches=batches)
    if figure.name == "PyTorch bf16":
        best.update(chosen)
    figure.note = f"batch {chosen['batch']}"


def contenders(world, started, texts):
    """[(Figure, measure)], {name: vectors}"""
    out, vectors, best = [], {}, {}
    for precision in OURS:
        figure = Figure(f"freshet {precision}", "sentences/s", error=world.refused(f"kernels.precision={precision}"))
        ours = OurEmbed(world.freshet, world.folder, precision)
        if not figure.error:
            ours.prepare(texts, world.seconds)
            vectors[figure.name] = ours.vectors()
            if precision != "f32" and np.array_equal(vectors[figure.name], vectors["freshet f32"]):
                figure.error = f"this binary's embed takes {ours.setting} and gives f32's vectors"
        out.append((figure, lambda ours=ours: ours.rate(None)))
    for name, worker in started.items():
        figure = Figure(name, "sentences/s", error=worker if isinstance(worker, str) else "")
        if not figure.error:
            try:
                prepare_peer(figure, worker, texts, best, world)
                vectors[name] = np.load(worker.call("vectors", path=f"{world.folder}/vectors.npy", count=ACCURACY))
            except Exception as problem:
                figure.error = f"not measured: {problem}"[:160]
        out.append((figure, lambda worker=worker: worker.rate(world.seconds)))
    return out, vectors


def cosines(vectors):
    """{name: (mean, least) cosine to PyTorch's f32 vectors}"""
    truth = vectors.get("PyTorch f32", vectors["freshet f32"])

    def unit(x):
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    return {name: (float(c.mean()), float(c.min())) for name, v in vectors.items() for c in [(unit(v) * unit(truth)).sum(1)]}


def table(length, figures, near):
    ours = [f for f in figures if f.name.startswith("freshet") and f.values]
    rows = []
    for f in figures:
        if not f.values:
            rows.append([f.name, f.error])
            continue
        ratios = [spread(o.ratio_to(f)) if o is not f else "" for o in ours]
        rows.append([f.name + (f" ({f.note})" if f.note else ""), format_value(f.median, ""), "{:.5f} / {:.5f}".format(*near[f.name]), *ratios])
    return Table(f"{length} tokens", ["contender", "sentences/s", "cosine to f32, mean / least", *[f"times faster: {o.name}" for o in ours]], rows)


def claims(length, figures):
    """What the reach table asks, at this length."""
    by = {f.name: f for f in figures if f.values}
    bf16 = max((by[n] for n in ("PyTorch bf16", "PyTorch bf16, torch.compile") if n in by), key=lambda f: f.median, default=None)
    peer = max((f for n, f in by.items() if not n.startswith("freshet")), key=lambda f: f.median, default=None)
    out = []
    if "freshet bf16" in by and bf16:
        out.append((f"encode {length} tokens: freshet bf16 against PyTorch bf16 (the faster of eager and compiled)", by["freshet bf16"].ratio_to(bf16)))
    if "freshet int8" in by and peer:
        out.append((f"encode {length} tokens: freshet int8 against best peer ({peer.name})", by["freshet int8"].ratio_to(peer)))
    if "freshet f32" in by and "PyTorch f32" in by:
        out.append((f"encode {length} tokens: freshet f32 against PyTorch f32", by["freshet f32"].ratio_to(by["PyTorch f32"])))
    return out


def run(world):
    maker, started = Maker(world.data, world.model), start(world)
    section = Section("Sentence vectors", """Text in, vectors out, tokenizing included, distinct real item titles joined to exactly that many tokens ([CLS] and [SEP] included; so nothing
is padded for anybody). Peers are warm processes at the fastest batch size of a few. `freshet embed` is timed with N and with 2N lines and the difference counts, so its
start is left out and its writing of JSON is not. A ratio is the median over the rounds (least – greatest).""")
    for length, count in LENGTHS.items():
        if world.quick and length == 128:
            count = 32
        world.log(f"embed: {length} tokens")
        pairs, vectors = contenders(world, started, maker.sentences(count, length))
        figures = alternate(pairs, world.rounds, world.log)
        section.tables.append(table(length, figures, cosines(vectors)))
        section.claims += claims(length, figures)
    return section

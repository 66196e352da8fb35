"""Where the top layers pay: a simulated shop of short-lived items (`freshet simulate --scenario parade`), the same lists for every arm."""
import json
import os
import random
import shutil
import struct
import subprocess

import numpy as np

from compare import bootstrap, show_difference

PHASES = ("first words", "second words", "flipped")
LEAK = 0.1  # of the small network: without it all its units are dead before the words change
BEGINNING = 0.3  # of the first phase, in which everybody begins to learn: not counted


class Arm:
    """Scored examples of one run: by slate, in order.  Slates are the same in every arm."""

    def __init__(self, lines, keep_text=False):
        slate, label, logit, user, self.item, self.history = [], [], [], [], [], []
        for line in lines:
            e = json.loads(line)
            slate.append(e["slate"])
            label.append(e["label"])
            logit.append(e["logit"])
            user.append(int(e["user"][1:]))
            if keep_text:
                self.item.append(e["sentence"])
                self.history.append(tuple(e["history"]))
        self.slate, self.label, self.logit, self.user = np.array(slate), np.array(label), np.array(logit, np.float64), np.array(user)
        edge = np.flatnonzero(np.diff(self.slate)) + 1
        self.bounds = list(zip([0, *edge], [*edge, len(self.slate)]))


def auc_by_slate(arm, score):
    """(auc, user, number of the list) of slates with both labels."""
    out, users, place = [], [], []
    for at, (a, b) in enumerate(arm.bounds):
        y, z = arm.label[a:b] > 0, score[a:b]
        if y.all() or not y.any():
            continue
        apart = z[y][:, None] - z[~y][None, :]
        out.append((apart > 0).mean() + 0.5 * (apart == 0).mean())
        users.append(arm.user[a])
        place.append(at)
    return np.array(out), np.array(users), np.array(place)


def random_model(model, folder):
    """The same architecture with normal numbers of deviation 0.02 (norms 1, biases 0), as BERT is initialised."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder, symlinks=False)
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as read:
        size = struct.unpack("<Q", read.read(8))[0]
        header = json.loads(read.read(size))
        data = bytearray(read.read())
    rng = np.random.default_rng(1)
    types = {"F32": np.float32, "F16": np.float16}
    for name, tensor in header.items():
        if name == "__metadata__" or tensor["dtype"] not in types:
            continue
        a, b = tensor["data_offsets"]
        shape, kind = tensor["shape"], types[tensor["dtype"]]
        if name.endswith("LayerNorm.weight"):
            values = np.ones(shape, kind)
        elif name.endswith("bias"):
            values = np.zeros(shape, kind)
        else:
            values = (0.02 * rng.standard_normal(shape)).astype(kind)
        data[a:b] = values.tobytes()
    os.chmod(path, 0o644)
    with open(path, "wb") as out:
        head = json.dumps(header).encode()
        head += b" " * (-len(head) % 8)
        out.write(struct.pack("<Q", len(head)) + head + data)
    return folder


def permuted(log, out, block=400):
    """Titles exchanged among items announced near each other: the words of a phase stay in it."""
    with open(log) as lines:
        events = [json.loads(line) for line in lines]
    items = [e for e in events if e["type"] == "item"]
    dice = random.Random(1)
    for first in range(0, len(items), block):
        titles = [e["title"] for e in items[first:first + block]]
        dice.shuffle(titles)
        for e, title in zip(items[first:first + block], titles):
            e["title"] = title
    with open(out, "w") as to:
        to.writelines(json.dumps(e, separators=(",", ":")) + "\n" for e in events)
    return out


def frozen_vectors(binary, model, sentences):
    done = subprocess.run([binary, "embed", "--plain", "--model", model], input="\n".join(sentences) + "\n", stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          check=True)
    return np.array([json.loads(line)["embedding"] for line in done.stdout.splitlines()], np.float32)


def network(arm, base, vectors, index, hidden=64, rate=1e-3, user_rate=0.2, scale=5.0, start=0.1, recent=10):
    """A small network on frozen pooled states beside the cheap parts: [user; item; user*item] → 64 → 1, Adam, one pass, each slate scored
    before it is learnt.  With user_rate above 0 every user has an output row of their own beside the common one, by AdaGrad, as in part
    `text`.  Returns its logits added to base."""
    rng = np.random.default_rng(1)
    n = vectors.shape[1]
    w = [rng.standard_normal((3 * n, hidden)).astype(np.float32) * np.sqrt(2 / (3 * n)), np.zeros(hidden, np.float32), np.zeros(hidden, np.float32), np.zeros(1, np.float32)]
    rows = (start * rng.standard_normal((arm.user.max() + 1, hidden)) * (user_rate > 0)).astype(np.float32)
    squares = np.full_like(rows, 1e-10)
    m, v, step = [np.zeros_like(x) for x in w], [np.zeros_like(x) for x in w], 0
    out = base.copy()
    for a, b in arm.bounds:
        history = [index[s] for s in arm.history[a][:recent]]
        user = vectors[history].mean(0) if history else np.zeros(n, np.float32)
        item = vectors[[index[s] for s in arm.item[a:b]]]
        x = np.concatenate([np.broadcast_to(user, item.shape), item, item * user * np.sqrt(n)], 1) * np.float32(scale)
        h = x @ w[0] + w[1]
        slope = np.where(h > 0, 1, LEAK).astype(np.float32)
        h *= slope
        who = arm.user[a]
        head = w[2] + rows[who]
        z = base[a:b] + h @ head + w[3]
        out[a:b] = z
        d = ((1 / (1 + np.exp(-np.clip(z, -30, 30)))) - arm.label[a:b]).astype(np.float32) / (b - a)
        dh = np.outer(d, head) * slope
        step += 1
        if user_rate > 0:
            g = h.T @ d
            squares[who] += g * g
            rows[who] -= user_rate * g / np.sqrt(squares[who])
        for k, g in enumerate((x.T @ dh, dh.sum(0), h.T @ d, np.array([d.sum()], np.float32))):
            m[k] += 0.1 * (g - m[k])
            v[k] += 0.001 * (g * g - v[k])
            w[k] -= rate * (m[k] / (1 - 0.9**step)) / (np.sqrt(v[k] / (1 - 0.999**step)) + 1e-8)
    return out


class Layers:
    def __init__(self, world, events):
        self.world, self.folder = world, os.path.join(world.folder, "parade")
        os.makedirs(self.folder, exist_ok=True)
        self.log = os.path.join(self.folder, "log")
        truth = os.path.join(self.folder, "truth.json")
        with open(self.log, "w") as out:
            subprocess.run([world.binary, "simulate", "--scenario", "parade", "--events", str(events), "--flip", "0.75", "--truth", truth], stdout=out,
                           stderr=subprocess.DEVNULL, check=True)
        with open(truth) as read:
            self.truth = json.load(read)
        counts = list(self.truth["phase_lists"].values())
        edges = np.cumsum([0, *counts])
        self.phases = list(zip([int(BEGINNING * counts[0]), *edges[1:-1]], edges[1:]))  # lists from a to b

    def run(self, settings, model=None, log=None, keep_text=False):
        """(Arm, core-seconds)"""
        keys = [f"model.base={model or self.world.model}", "join.organic=false", "join.window_ms=60000", "guard.mode=warn", *settings]
        before = os.times()
        with subprocess.Popen([self.world.binary, "replay", "--quiet", "--flush", "--dump-examples", "-", *(p for key in keys for p in ("-o", key)), log or self.log],
                              stdout=subprocess.PIPE, text=True) as run:
            arm = Arm(run.stdout, keep_text)
        after = os.times()
        if run.returncode != 0:
            raise RuntimeError(f"freshet replay ended with {run.returncode}")
        return arm, after.children_user + after.children_system - before.children_user - before.children_system

    def row(self, name, arm, score, other, core):
        """GAUC in each phase, and the paired difference to `other` in the first two."""
        auc, user, place = auc_by_slate(arm, score)
        cells = [f"{auc[(place >= a) & (place < b)].mean():.4f}" for a, b in self.phases]
        difference = ""
        if other is not None:
            chosen = (place >= self.phases[0][0]) & (place < self.phases[1][1])
            difference = show_difference(bootstrap(auc[chosen] - other[chosen], user[chosen]))
        return auc, [name, *cells, difference, f"{core:.0f}" if core else ""]


TOKENS = ["model.item_view=tokens"]
KINDS = ("pretrained", "random", "titles permuted")
MATCH, POOLED, TOKENS_ARM = ("+ match", "match", [], KINDS), ("+ text, pooled", "text", [], KINDS), ("+ text, tokens", "text", TOKENS, KINDS)
COMMON = ("+ text, pooled, users without rows", "text", ["model.user_units=0"], KINDS[:1])
LONG = (POOLED, COMMON, (*MATCH[:3], KINDS[:1]))
SHORT = (POOLED, COMMON, TOKENS_ARM, MATCH, ("+ text and match", "text,match", [], KINDS[:1]))


def arms_of(world, events, arms, table):
    """One length: the cheap parts, the network beside them, then each arm pretrained, random and with titles permuted."""
    l = Layers(world, events)
    cheap_parts = ",".join(p for p in world.parts.split(",") if p not in ("text", "match"))
    world.say(f"layers: {events:,} lines, cheap parts")
    cheap, core = l.run([f"model.parts={cheap_parts}"], keep_text=True)
    rows = [["utilities themselves (nobody can do better)", *(f"{l.truth['oracle_gauc'][k] or float('nan'):.4f}" for k in ("first_words", "second_words", "flipped")), "", ""]]
    rows.append(l.row(f"cheap parts ({cheap_parts})", cheap, cheap.logit, None, core)[1])
    sentences = sorted({*cheap.item, *(s for h in set(cheap.history) for s in h)})
    index = {s: i for i, s in enumerate(sentences)}
    world.say(f"layers: small network on {len(sentences)} frozen states")
    vectors = frozen_vectors(world.binary, world.model, sentences)
    rows.append(l.row("+ small network on frozen states", cheap, network(cheap, cheap.logit, vectors, index, user_rate=0), None, 0)[1])
    net, cells = l.row("+ small network on frozen states, users with rows", cheap, network(cheap, cheap.logit, vectors, index), None, 0)
    rows.append(cells)
    other = permuted(l.log, os.path.join(l.folder, "permuted"))
    noise = random_model(world.model, os.path.join(l.folder, "random"))
    inputs = dict(zip(KINDS, ((None, None), (noise, None), (None, other))))
    for name, parts, settings, kinds in arms:
        for kind in kinds[:1] if world.quick else kinds:
            model, log = inputs[kind]
            world.say(f"layers: {name}, {kind}")
            arm, core = l.run([f"model.parts={parts},{cheap_parts}", *settings], model, log)
            rows.append(l.row(f"{name}, {kind}", arm, arm.logit, net, core)[1])
    return [f"{events:,} lines: {l.truth['lists']:,} lists of 10, {l.truth['items']:,} items of 5 to 50 impressions each.", "",
            *table(["arm", *PHASES, "− network", "core-seconds"], rows)]


def layers(world, table):
    """The whole topic: lines of Markdown.  A dear arm is on shorter logs, beside all the others there."""
    events = world.options.lines or (20_000 if world.quick else 100_000)
    lines = [f"The words change at half of the log's lines, every preference turns round at three quarters. Differences are to the small network whose users have rows, on all lists before the flip but the first {BEGINNING * 100:.0f} % of the first words, clustered by user.", ""]
    for length, arms in ((events, LONG), (events // 5, SHORT)):
        lines += arms_of(world, length, arms, table)
    return lines

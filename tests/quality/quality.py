"""QUALITY.md: topics in order, each a section with tables.  README.md beside this file says what is measured and how."""
import argparse
import datetime
import itertools
import json
import lzma
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback

import numpy as np

import baselines
from compare import LATE, WARMUP, Slates, bootstrap, calibration, show, show_difference, sigmoid
from forget import forget
from layers import layers
from replay import SLICES, Replay
from titles import permute

FIRST_MS, LAST_MS = 1291191960000, 1323435000000  # 2010-12-01 08:26 and 2011-12-09 12:50 UTC, the log's first and last line


class World:
    """What the topics share."""

    def __init__(self, options):
        self.options = options
        self.quick = options.quick
        self.seeds = range(1, (1 if options.quick else options.seeds) + 1)
        self.folder = tempfile.mkdtemp(prefix="freshet-quality-")
        self.binary = os.environ.get("FRESHET", "build/release/freshet")
        self.model = os.environ.get("FRESHET_MODEL", "models/all-MiniLM-L6-v2")
        self.log = os.path.join(os.environ.get("FRESHET_DATA", "../shared/data"), "online-retail/online_retail.csv.xz")
        self.replay = Replay(self.binary, self.model, self.part() if options.quick else self.log, self.folder)
        self.parts = options.parts or self.default_parts()

    def default_parts(self):
        text = subprocess.run([self.binary, "replay", "--help"], capture_output=True, text=True).stdout
        line = next((line for line in text.splitlines() if line.strip().startswith("model.parts")), "")
        return line.rsplit("[", 1)[1].rstrip("]") if "[" in line else "text,match,numeric,cooccur,hashed,deep"

    def part(self):
        """The first quarter of the log, compressed as the whole is."""
        path = os.path.join(self.folder, "part.csv.xz")
        with lzma.open(self.log, "rt", encoding="utf-8") as whole, lzma.open(path, "wt", encoding="utf-8", preset=0) as out:
            out.writelines(itertools.islice(whole, 135_000))
        return path

    def say(self, text):
        print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def table(head, rows):
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(str(x) for x in row) + " |" for row in rows), ""]


def versus(world, title, settings):
    """One protocol: the whole model, each learner beside it on the same slates, paired differences."""
    world.say(f"{title}: the whole model, examples dumped")
    examples, report = world.replay.examples([f"model.parts={world.parts}", *settings], first_ms=FIRST_MS)
    slates = Slates(examples)
    ours = slates.auc(examples.logit)
    every = world.options.every or (7 if world.quick else 1)
    often = "daily" if every == 1 else f"every {every} days"
    seldom = max(every, 7)
    learners = {
        "popularity": lambda: examples.popularity,
        "repeat": lambda: examples.repeat,
        "frozen cosine": lambda: examples.cosine,
        "item-kNN": lambda: baselines.item_knn(examples, world.replay.log),
        "Vowpal Wabbit, online, hashed crosses and all features": lambda: baselines.vowpal(examples),
        f"logistic regression, all features, retrained every {seldom} days": lambda: baselines.logistic_daily(examples, WARMUP, seldom),
        f"LightGBM, all features, retrained {often}": lambda: baselines.lightgbm_daily(examples, WARMUP, every),
    }
    rows = [["**freshet, all parts**", show(bootstrap(ours, slates.user)), show(bootstrap(ours[slates.late], slates.user[slates.late])) if slates.late.any() else "", ""]]
    for name, score in learners.items():
        world.say(f"{title}: {name}")
        try:
            theirs = slates.auc(score().astype(np.float64))
            rows.append([name, show(bootstrap(theirs, slates.user)), show(bootstrap(theirs[slates.late], slates.user[slates.late])) if slates.late.any() else "",
                         show_difference(bootstrap(ours - theirs, slates.user))])
        except Exception as problem:
            rows.append([name, f"not measured: {problem}"[:120], "", ""])
    lines = [f"{len(examples):,} scored examples, {len(slates.rows):,} slates counted; the replay took {report['seconds']:.0f} s, its dump included.", ""]
    lines += table(["learner", "GAUC (95 %)", f"days ≥ {LATE}", "ours − theirs, paired"], rows)
    return examples, report, slates, lines


def calibrations(examples):
    p, late = sigmoid(examples.logit), examples.day >= LATE
    masks = {"all": late, **{name: late & getattr(examples, name) for name in SLICES}, "warm item": late & ~examples.cold_item, "seen before": late & ~examples.first_time}
    rows = []
    for name, mask in masks.items():
        ratio, loss, n = calibration(examples, p, mask)
        rows.append([name, f"{n:,}", f"{ratio:.3f}", f"{loss:.4f}"])
    return table([f"slice, days ≥ {LATE}", "examples", "predicted / observed", "log-loss"], rows)


def curve(examples, slates):
    """GAUC by months of the log."""
    ours, pop = slates.auc(examples.logit), slates.auc(examples.popularity)
    month = np.array([examples.day[a] for a, _ in slates.rows]) // 30
    return table(["days", *(f"{30 * m}–{30 * m + 29}" for m in np.unique(month))],
                 [[name, *(f"{values[month == m].mean():.4f}" for m in np.unique(month))] for name, values in (("freshet", ours), ("popularity", pop))])


def plain(world):
    examples, _, slates, lines = versus(world, "plain", [])
    lines += ["Calibration:", "", *calibrations(examples), "Over time (GAUC by 30 days):", "", *curve(examples, slates)]
    return lines


def basket(world):
    return versus(world, "basket", ["join.basket=true"])[3]


def cold(world):
    """Twice: what a shop meets all the time, and a new catalogue with an empty model."""
    lines = ["Only items first sold in the trailing 60 days are candidates:", "", *versus(world, "cold", ["join.max_item_age_days=60"])[3]]
    settings = [f"join.items_from_ms={LAST_MS - 60 * 86_400_000}"]
    return [*lines, "", "Only items first sold in the log's last 60 days, and a model that is empty when they begin:", "", *versus(world, "new catalogue", settings)[3]]


UNDER = {"deep": "numeric", "idvec": "match"}  # what a part reads is another's


def without(parts, part):
    return ",".join(p for p in parts.split(",") if part not in (p, UNDER.get(p)))


def parts(world):
    """Each part left out and the model learnt anew without it, all seeds."""
    rows, gauc, core = [], {}, {}
    for name in ["", *world.parts.split(",")]:
        chosen = without(world.parts, name)
        world.say(f"parts: {chosen}")
        reports = [world.replay.report([f"model.parts={chosen}"], seed) for seed in world.seeds]
        gauc[name] = np.array([r["progressive"]["gauc"] for r in reports])
        core[name] = np.mean([r["core_seconds"] for r in reports])
    for name in world.parts.split(","):
        gain = gauc[""] - gauc[name]
        gone = ", ".join(f"`{p}`" for p in world.parts.split(",") if p not in without(world.parts, name).split(","))
        rows.append([f"without {gone}", f"{gauc[name].mean():.4f}", f"{gain.mean():+.4f} ({gain.min():+.4f} – {gain.max():+.4f})", f"{core[''] - core[name]:.0f}"])
    head = ["all parts", f"{gauc[''].mean():.4f} ({gauc[''].min():.4f} – {gauc[''].max():.4f})", "", f"{core['']:.0f} in all"]
    return [f"Learnt anew without each part; {len(gauc[''])} seeds: mean (least – greatest).", "",
            *table(["parts", "GAUC", "what the part adds", "its core-seconds"], [head, *rows])]


def alone(part):
    return [f"model.parts={part}", "train.recalibration=false"]


def text(world):
    """The text part alone, beside frozen cosine and popularity; pooled, tokens.  The offsets of recalibration know what was bought before
    and what is popular: with them no part is alone."""
    rows = []
    runs = {"`text` alone (pooled)": alone("text"), "`text` alone (tokens)": [*alone("text"), "model.item_view=tokens"],
            "`text` (pooled) and recalibration": ["model.parts=text"]}
    for name, settings in runs.items():
        world.say(f"text: {name}")
        r = world.replay.report(settings)
        rows.append([name, f"{r['progressive']['gauc']:.4f}", f"{r['baselines']['frozen']['gauc']:.4f}", f"{r['baselines']['popularity']['gauc']:.4f}", f"{r['core_seconds']:.0f}"])
    return ["The offsets of recalibration know what was bought before and what is popular: with them no part is alone.", "",
            *table(["parts", "GAUC", "frozen cosine", "popularity", "core-seconds"], rows)]


def titles(world):
    """Titles permuted among items: what survives is identity, not language."""
    other = permute(world.replay.log, os.path.join(world.folder, "permuted.csv"))
    rows = []
    for name, settings in (("all parts", [f"model.parts={world.parts}"]), ("`text` alone", alone("text")), ("`match` alone", alone("match"))):
        world.say(f"titles: {name}")
        mine, theirs = world.replay.report(settings), world.replay.report(settings, log=other)
        a, b = mine["progressive"]["gauc"], theirs["progressive"]["gauc"]
        rows.append([name, f"{a:.4f}", f"{b:.4f}", f"{a - b:+.4f}", f"{mine['baselines']['frozen']['gauc']:.4f}", f"{theirs['baselines']['frozen']['gauc']:.4f}"])
    return ["What survives a permutation is identity, not language. Single parts are without recalibration.", "",
            *table(["parts", "GAUC", "titles permuted", "language brings", "frozen cosine", "permuted"], rows)]


def concat(world):
    """`concat`, what people write by hand, on a beginning of the log that it can afford."""
    path, lines = os.path.join(world.folder, "begin.csv"), 3_000 if world.quick else 12_000
    with lzma.open(world.log, "rt", encoding="utf-8") as whole, open(path, "w", encoding="utf-8") as out:
        out.writelines(itertools.islice(whole, 1 + lines))
    rows = []
    for name, settings in (("text, pooled", []), ("text, tokens", ["model.item_view=tokens"]), ("text, concat, top layer", ["model.user_view=concat", "model.item_view=concat"])):
        world.say(f"concat: {name}")
        r = world.replay.report(["model.parts=text", *settings], warmup="0", log=path)
        rows.append([name, f"{r['progressive']['gauc']:.4f}", f"{r['progressive']['logloss']:.4f}", f"{r['examples']:,}", f"{r['core_seconds']:.0f}"])
    return [f"The log's first {lines:,} lines, `text` alone, nothing warmed up.", "", *table(["view", "GAUC", "log-loss", "examples", "core-seconds"], rows)]


def still(world):
    """No online learning: the model as it was after the warm-up, against the one that goes on."""
    state = os.path.join(world.folder, "still")
    begin, rest = os.path.join(world.folder, "begin.csv"), os.path.join(world.folder, "rest.csv")
    with lzma.open(world.replay.log, "rt", encoding="utf-8") as whole, open(begin, "w", encoding="utf-8") as first, open(rest, "w", encoding="utf-8") as second:
        header = whole.readline()
        first.write(header)
        second.write(header)
        for line in whole:
            (first if line.split(",")[-4] < "2011-02-01" else second).write(line)
    rows = []
    world.say("still: frozen after 62 days")
    world.replay.report([f"model.parts={world.parts}", f"state.dir={state}"], log=begin)
    os.system(f"cp -r '{state}' '{state}.live'")
    command, _ = world.replay.arguments([f"model.parts={world.parts}", f"state.dir={state}"], 1, "0", rest)
    for name, folder, more in (("frozen after 62 days", state, ["--no-learn"]), ("learning on", f"{state}.live", [])):
        path = os.path.join(world.folder, "report.json")
        subprocess.run([*(part.replace(f"state.dir={state}", f"state.dir={folder}") for part in command), *more, "--report", path, rest], check=True)
        with open(path) as read:
            r = json.load(read)
        rows.append([name, f"{r['progressive']['gauc']:.4f}", f"{r['progressive']['logloss']:.4f}", f"{r['progressive']['calibration']:.3f}"])
    return ["Counters and histories go on in both; only parameters stand still in the first.", "",
            *table(["model", "GAUC", "log-loss", "calibration"], rows)]


def batch_arms(size):
    """What is tried at so many slates a batch: one step, steps of two within it, and a bound on what a batch waits."""
    if size <= 2:
        return {"one": []}
    waits = {"one, an hour at most": ["train.batch_wait_ms=3600000"]} if size == 512 else {}
    return {"one": [], **waits, "`train.step_slates=2`": ["train.step_slates=2"]}


def batch(world):
    """What larger batches cost in progressive GAUC, learnt in one step and in small ones."""
    rows, reference = [], None
    for size in (1, 2, 16, 64, 128, 256, 512):
        for name, settings in batch_arms(size).items():
            world.say(f"batch: {size}, {name}")
            reports = [world.replay.report([f"model.parts={world.parts}", f"train.batch_slates={size}", *settings], seed) for seed in world.seeds]
            gauc = np.array([r["progressive"]["gauc"] for r in reports])
            rows.append([size, name, gauc, f"{np.mean([r['progressive']['logloss'] for r in reports]):.4f}", f"{np.mean([r['core_seconds'] for r in reports]):.0f}"])
            reference = gauc if size == 2 else reference
    shown = [[size, name, f"{g.mean():.4f} ({g.min():.4f} – {g.max():.4f})", f"{(g - reference).mean():+.4f} ({(g - reference).min():+.4f} – {(g - reference).max():+.4f})", *rest]
             for size, name, g, *rest in rows]
    return [f"Slates a batch (`train.batch_slates`) on the plain protocol; {len(reference)} seeds: mean (least – greatest). The log has 48 orders a day: where a step waits for "
            "more of them, what it will teach comes later too.", "", *table(["slates", "steps", "GAUC", "− two slates", "log-loss", "core-seconds"], shown)]


DELAYS_BY_ITEM = (  # found by hand, on a log made for it
    "Delays here follow one law for all items. Where they differ by item (means of 0.5, 2, 7 and 15 minutes for items taken at 2, 10, 30 and 60 %; 30,000 l"
    "ists of 8, their later half), what is predicted over what is seen is by these segments 1.013, 1.007, 1.024, 0.990 with `wait`, 1.070, 1.011, 0.984, 1."
    "005 with `fnw` and 1.102, 1.034, 0.961, 1.012 with `importance`, whose estimate of delays is one for all items (`numeric,cooccur,hashed`; `hashed` alo"
    "ne: within 1.4, 1.7 and 2.8 %)."
)


def delay(world):
    """Each way to learn from labels that come late, on logs whose clicks are late by a third of the window."""
    rows, window = [], 1_800_000
    for lines in (10_000, 30_000 if world.quick else 100_000):
        log = os.path.join(world.folder, "late.jsonl")
        with open(log, "w") as out:
            subprocess.run([world.binary, "simulate", "--events", str(lines), "--window-ms", str(window), "--delay-ms", str(window // 3), "--no-best"], stdout=out,
                           stderr=subprocess.DEVNULL, check=True)
        with open(log) as read:
            lists = sum('"type":"impression"' in line for line in read)
        for parts, loss in itertools.product(("hashed", "numeric,hashed", "numeric,cooccur,hashed,deep"), ("wait", "fnw", "importance")):
            world.say(f"delay: {lines:,} lines, {loss}, {parts}")
            report, cells = os.path.join(world.folder, "report.json"), []
            keys = [f"model.parts={parts}", f"model.base={world.model}", f"join.window_ms={window}", f"join.loss={loss}"]
            for warmup in (0, lists // 2):
                subprocess.run([world.binary, "replay", "--quiet", "--flush", "--warmup", str(warmup), *(part for key in keys for part in ("-o", key)), "--report", report, log],
                               stderr=subprocess.DEVNULL, check=True)
                with open(report) as read:
                    p = json.load(read)["progressive"]
                cells += [f"{p['gauc']:.4f}", f"{p['logloss']:.4f}", f"{p['calibration']:.3f}"]
            rows.append([f"{lines:,}", f"`{parts}`", f"`{loss}`", *cells])
    return ["Shown lists of a simulated shop; clicks come after 10 minutes in the mean, a list is settled after 30. Scored when shown: what is learnt sooner serves the "
            "next lists.  With `fnw` and `importance` the parts that read no counts learn early, by themselves, and those that do (numeric, cooccur, deep) what is missing to "
            "them, when a list is settled.  *Later*: the second half of the log.", "", DELAYS_BY_ITEM, "", *table(["lines", "parts", "`join.loss`", "GAUC", "log-loss", "calibration", "later: GAUC", "log-loss", "calibration"], rows)]


def best(world):
    """Simulated shop with known truth: how near the best reachable AUC the last quarter comes."""
    events, rows = 100_000 if world.quick else 400_000, []
    log, truth = os.path.join(world.folder, "shop.jsonl"), os.path.join(world.folder, "truth.json")
    with open(log, "w") as out:
        subprocess.run([world.binary, "simulate", "--events", str(events), "--truth", truth], stdout=out, stderr=subprocess.DEVNULL, check=True)
    with open(truth) as read:
        reachable = json.load(read)
    report = os.path.join(world.folder, "report.json")
    subprocess.run([world.binary, "replay", "--quiet", "-o", f"model.base={world.model}", "-o", f"model.parts={world.parts}", "--dump-examples",
                    os.path.join(world.folder, "shop.examples"), "--report", report, log], check=True)
    labels, logits = [], []
    with open(os.path.join(world.folder, "shop.examples")) as lines:
        for line in lines:
            e = json.loads(line)
            labels.append(e["label"])
            logits.append(e["logit"])
    y, z = np.array(labels[3 * len(labels) // 4:]), np.array(logits[3 * len(logits) // 4:])
    order = np.argsort(np.concatenate((z[y > 0], z[y == 0])), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(1, len(order) + 1)
    n, m = int((y > 0).sum()), int((y == 0).sum())
    auc = (rank[:n].sum() - n * (n + 1) / 2) / (n * m)
    with open(report) as read:
        whole = json.load(read)["progressive"]["auc"]
    rows.append([f"{events:,}", f"{whole:.4f}", f"{auc:.4f}", f"{reachable['best_auc_last_quarter']:.4f}"])
    return table(["events", "AUC, all", "AUC, last quarter", "best reachable"], rows)


TOPICS = {
    "plain": ("Plain protocol", plain), "basket": ("Baskets", basket), "cold": ("Cold items", cold), "parts": ("What each part brings", parts),
    "text": ("Text alone", text), "titles": ("Permuted titles", titles), "concat": ("Views of text", concat), "still": ("Without online learning", still),
    "best": ("Simulated shop", best), "layers": ("Where the top layers pay", lambda world: layers(world, table)),
    "batch": ("Larger steps", batch), "delay": ("Labels that come late", delay),
    "forget": ("Not forgetting", lambda world: forget(world, table)),
}


def machine():
    with open("/proc/cpuinfo") as info:
        name = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the start"


def version():
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--exclude", "*"], capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def put(report, title, section):
    """Writes the section into the report, in the order of the topics; the others, of this run or of earlier ones, stay."""
    sections = {}
    if os.path.exists(report):
        with open(report) as read:
            for text in re.split(r"^## ", read.read(), flags=re.M)[1:]:
                head, _, rest = text.partition("\n")
                sections[head] = rest.strip("\n") + "\n"
    sections[title] = section
    lines = ["# What the model learns", "", "Written by `make quality`, each section by the command below it; do not edit.  How it is measured: "
             "[tests/quality/README.md](tests/quality/README.md).", ""]
    for known, _ in TOPICS.values():
        if known in sections:
            lines += [f"## {known}", "", sections[known].strip("\n"), ""]
    with open(report, "w") as out:
        out.write("\n".join(lines))


def main():
    ask = argparse.ArgumentParser(description="What the model learns beside other learners; writes QUALITY.md.")
    ask.add_argument("--quick", action="store_true", help="one seed, first quarter of the log, peers retrained weekly")
    ask.add_argument("--only", default=",".join(TOPICS), help="topics, comma-separated: " + " ".join(TOPICS))
    ask.add_argument("--seeds", type=int, default=3, help="seeds of the ablations (3)")
    ask.add_argument("--every", type=int, default=0, help="days between two trainings of the batch learners (1; 7 with --quick)")
    ask.add_argument("--lines", type=int, default=0, help="layers: lines of the simulated log (100000; 20000 with --quick); dear arms have a fifth or a twenty-fifth")
    ask.add_argument("--parts", help="model.parts of the whole model (the default of the configuration)")
    ask.add_argument("--report", default="QUALITY.md", help="file to write")
    options = ask.parse_args()
    chosen = options.only.split(",")
    for name in chosen:
        if name not in TOPICS:
            ask.error(f"no topic '{name}'; there are {' '.join(TOPICS)}")
    world = World(options)
    if not os.path.exists(world.log):
        print(f"quality: skipped, {world.log} is not there (set FRESHET_DATA)", file=sys.stderr)
        return 77
    command = "make quality" + (f' ARGS="{" ".join(sys.argv[1:])}"' if sys.argv[1:] else "")
    for name in chosen:
        title, run = TOPICS[name]
        where, start = machine(), time.perf_counter()
        try:
            section = run(world)
        except Exception as problem:
            traceback.print_exc()
            section = [f"not measured: {problem}", ""]
        said = (f"({datetime.date.today()}, freshet {version()}: `{command}`, {time.perf_counter() - start:.0f} s; parts `{world.parts}`; "
                f"seeds {', '.join(map(str, world.seeds))}; {where})")
        put(options.report, title, "\n".join([*section, said, ""]))
    subprocess.run(["rm", "-rf", world.folder])
    return 0


if __name__ == "__main__":
    sys.exit(main())

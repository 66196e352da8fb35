"""Guards against forgetting under drift: a simulated shop whose tastes are others in every second season and come back (`freshet
simulate --season-ms`), the same lists for every guard."""
import json
import os
import subprocess

import numpy as np

from compare import bootstrap, show_difference

LIST = np.dtype([("seconds", "u4"), ("user", "u4"), ("loss", "f4"), ("auc", "f4")])  # tests/bench/forget_sim.c
PHASES = (("at once", 0.0, 0.02), ("early", 0.02, 0.1), ("late", 0.5, 1.0))
CHEAP = {
    "no guard": [],
    "`train.half_life_examples` = a season": ["train.half_life_examples={season}"],
    "`train.half_life_examples` = a third of a season": ["train.half_life_examples={third}"],
    "`train.half_life_examples` = a tenth of a season": ["train.half_life_examples={tenth}"],
    "`train.replay_share=0.25`, all of the past": ["train.replay_share=0.25"],
    "`train.replay_share=0.25`, horizon a fifth of a season": ["train.replay_share=0.25", "train.reservoir_horizon_slates={near}"],
    "`train.distill=0.2`": ["train.distill=0.2"],
    "`guard.restart=optimiser`, `guard.loss_shift=0.1`": ["guard.restart=optimiser", "guard.loss_shift=0.1"],
    "both: restart and `train.replay_share=0.25`": ["guard.restart=optimiser", "guard.loss_shift=0.1", "train.replay_share=0.25"],
}
TEXT = {
    "no guard": [],
    "`train.l2_sp=1`, pretrained": ["train.l2_sp=1"],
    "`train.l2_sp=10`, pretrained": ["train.l2_sp=10"],
    "`train.l2_sp=10`, blessed": ["train.l2_sp=10", "train.l2_sp_anchor=blessed"],
    "`train.schedule=inverse_sqrt`": ["train.schedule=inverse_sqrt", "train.schedule_steps=1000"],
    "`train.schedule=cosine_restart`": ["train.schedule=cosine_restart", "train.schedule_steps=1000"],
    "`train.replay_share=0.25`": ["train.replay_share=0.25"],
    "`train.distill=0.2`": ["train.distill=0.2"],
}


class Stream:
    """A log of seasons; what each arm lost on each of its lists."""

    def __init__(self, world, name, seasons, lists, options, settings):
        self.world, self.season_s, self.settings = world, lists, settings  # one list a second
        self.sim = os.environ.get("FORGET_SIM", os.path.join(os.path.dirname(world.binary), "tests", "forget_sim"))
        self.fill = {"season": 10 * lists, "third": 10 * lists // 3, "tenth": lists, "near": lists // 5}
        self.log, self.out = (os.path.join(world.folder, f"{name}.{end}") for end in ("jsonl", "lists"))
        lines = int(3.35 * seasons * lists)  # a list, its clicks, its purchases
        with open(self.log, "w") as out:
            subprocess.run([world.binary, "simulate", "--no-best", "--drift", "0", "--new-items", "0", "--items", "200", "--events", str(lines), "--season-ms",
                            str(1000 * lists), *options], stdout=out, stderr=subprocess.DEVNULL, check=True)

    def run(self, settings):
        """(lists, what the arm says of itself)"""
        keys = [f"model.base={self.world.model}", "join.organic=false", "guard.mode=warn", "kernels.threads=1", *self.settings, *(s.format(**self.fill) for s in settings)]
        done = subprocess.run([self.sim, self.log, self.out, *keys], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        return np.fromfile(self.out, LIST), json.loads(done.stdout)

    def measure(self, arms, table):
        rows, base = [], None
        for name, settings in arms.items():
            self.world.say(f"forget: {name}")
            lists, said = self.run(settings)
            base = lists if base is None else base
            rows.append(row(name, lists, base, said, self.season_s))
        return table(HEAD, rows)


HEAD = ["guard", *(f"log-loss, {name}" for name, _, _ in PHASES), *(f"− no guard, {name}" for name, _, _ in PHASES), "AUC − no guard, early", "late", "learning, core-s", "all"]


def row(name, lists, base, said, season_s):
    """Seasons from the third on: what is learnt in each was learnt before, and undone since."""
    place, season = lists["seconds"] % season_s / season_s, lists["seconds"] // season_s
    assert (lists["user"] == base["user"]).all()
    cells, differences, aucs = [], [], []
    for _, a, b in PHASES:
        chosen = (season >= 2) & (place >= a) & (place < b)
        cells.append(f"{lists['loss'][chosen].mean(dtype=np.float64):.4f}")
        pair = (lists["loss"].astype(np.float64) - base["loss"])[chosen]
        differences.append(show_difference(bootstrap(pair, lists["user"][chosen])) if lists is not base else "")
        told = chosen & ~np.isnan(lists["auc"])
        pair = (lists["auc"].astype(np.float64) - base["auc"])[told]
        aucs.append(show_difference(bootstrap(pair, lists["user"][told])) if lists is not base else "")
    note = f" ({said['restarts']} restarts)" if said["restarts"] else ""
    return [name + note, *cells, *differences, *aucs[1:], f"{said['learn_core_s']:.0f}", f"{said['core_seconds']:.0f}"]


def forget(world, table):
    """The whole topic: lines of Markdown."""
    lists, text_lists = (10_000, 1_000) if world.quick else (100_000, 4_000)
    cheap = Stream(world, "seasons", 10.25, lists, ["--users", "200"], ["model.parts=numeric,cooccur,hashed"])
    lines = [*intro(f"{10.25 * lists * 10:,.0f} examples, {lists:,} lists a season; parts `numeric,cooccur,hashed`."), *cheap.measure(CHEAP, table)]
    text = Stream(world, "text", 4.2, text_lists, ["--users", "50", "--window-ms", "60000", "--delay-ms", "5000"],
                  ["model.parts=text,numeric,hashed", "model.events=8", "train.batch_slates=4", "train.learning_rate=2e-4", "join.window_ms=60000", "gate.bless_slates=1000",
                   "gate.bless_ms=600000"])
    return lines + [f"With a trained layer (`text,numeric,hashed`), {text_lists:,} lists a season, four seasons:", "", *text.measure(TEXT, table)]


def intro(first):
    return [f"{first} Tastes are others in every second season and come back with the next. *At once*: the first 2 % of a season, when hardly a label of it has "
            "come; *early*: 2 % to 10 %; *late*: its second half; seasons from the third on. Differences are paired by list and clustered by user (below 0: less lost).", ""]

"""Our binary on a log, and the examples it scored as arrays."""
import json
import os
import subprocess
import time

import numpy as np

DAY_MS = 86_400_000
SLICES = ("cold_user", "cold_item", "first_time")


class Examples:
    """One row a scored example, in the order scored: slate, user, item (numbers by first appearance), label, time_ms, day (from the log's
    first event), logit, parts {name: logit}, numeric (n, F), names (F), popularity, repeat, cosine, slices {name: bool}, request, item_id."""

    def __init__(self, lines, first_ms):
        users, items = {}, {}
        columns = {name: [] for name in ("slate", "user", "item", "label", "time", "logit", "popularity", "repeat", "cosine", *SLICES)}
        numeric, parts, self.request, self.item_id, self.words = [], [], [], [], []
        self.names = self.part_names = None
        for line in lines:
            e = json.loads(line)
            for name in ("slate", "label", "time", "logit", "popularity", "repeat", *SLICES):
                columns[name].append(e[name])
            columns["cosine"].append(e.get("cosine", 0.0))
            columns["user"].append(users.setdefault(e["user"], len(users)))
            columns["item"].append(items.setdefault(e["item"], len(items)))
            self.request.append(e["request"])
            self.item_id.append(e["item"])
            self.words.append(e["sentence"])
            self.names = self.names or [*e["numeric"], *(f"cooccur.{i}" for i in range(len(e.get("cooccur", []))))]
            self.part_names = self.part_names or list(e["parts"])
            numeric.append(np.array([*e["numeric"].values(), *e.get("cooccur", [])], np.float32))
            parts.append(np.array(list(e["parts"].values()), np.float32))
        for name, values in columns.items():
            setattr(self, name, np.array(values))
        self.numeric = np.array(numeric)
        self.parts = {name: column for name, column in zip(self.part_names or [], np.array(parts).T)}
        self.day = (self.time - first_ms) // DAY_MS
        self.users = list(users)

    def __len__(self):
        return len(self.label)


class Replay:
    """binary: its path; log: the file; settings: for every run.  Reports and sums of seconds are kept by name."""

    def __init__(self, binary, model, log, folder, settings=()):
        self.binary, self.model, self.log, self.folder, self.settings = binary, model, log, folder, list(settings)

    def arguments(self, settings, seed, warmup, log):
        keys = [f"model.base={self.model}", f"train.seed={seed}", "join.max_positives=8", *self.settings, *settings]
        return [self.binary, "replay", "--quiet", "--schema", "csv", "--map", "deploy/maps/online-retail.ini", "--warmup", warmup,
                *(part for key in keys for part in ("-o", key))], log or self.log

    def report(self, settings=(), seed=1, warmup="62d", log=None):
        """The report of a run, with core_seconds added."""
        command, log = self.arguments(settings, seed, warmup, log)
        path = os.path.join(self.folder, "report.json")
        before = os.times()
        subprocess.run([*command, "--report", path, log], check=True)
        after = os.times()
        with open(path) as read:
            report = json.load(read)
        report["core_seconds"] = after.children_user + after.children_system - before.children_user - before.children_system
        return report

    def examples(self, settings=(), seed=1, log=None, first_ms=None):
        """(Examples, report): all examples, those of the warm-up included (they train other learners)."""
        command, log = self.arguments(settings, seed, "62d", log)
        path = os.path.join(self.folder, "report.json")
        start = time.perf_counter()
        with subprocess.Popen([*command, "--report", path, "--dump-examples", "-", log], stdout=subprocess.PIPE, text=True) as run:
            examples = Examples(run.stdout, first_ms)
        if run.returncode != 0:
            raise RuntimeError(f"freshet replay ended with {run.returncode}")
        with open(path) as read:
            report = json.load(read)
        report["with_dump_seconds"] = time.perf_counter() - start
        return examples, report

"""Our binary, run as a user would run it."""
import json
import os
import subprocess
import tempfile
import time

import numpy as np


class Freshet:
    def __init__(self, binary, model, threads, folder):
        self.binary, self.model, self.threads, self.folder = binary, model, threads, folder

    def run(self, *arguments, stdin=None, stdout=subprocess.DEVNULL):
        """Seconds from start to end and its CPU seconds."""
        start, before = time.perf_counter(), os.times()
        done = subprocess.run([self.binary, *arguments], stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, text=True)
        after = os.times()
        if done.returncode != 0:
            raise RuntimeError(f"freshet {arguments[0]}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return time.perf_counter() - start, cpu

    def settings(self, *more):
        keys = [f"model.base={self.model}", f"kernels.threads={self.threads}", *more]
        return [part for key in keys for part in ("-o", key)]

    def knows(self, key_value):
        """Does this binary take the setting?  None, or what it says."""
        with open(os.devnull) as nothing:
            try:
                self.run("embed", "--plain", *self.settings(key_value), stdin=nothing)
            except RuntimeError as refusal:
                return str(refusal)

    def embed_seconds(self, path, *more):
        with open(path) as lines:
            return self.run("embed", "--plain", *self.settings(*more), stdin=lines)[0]

    def vectors(self, path, *more):
        with open(path) as lines, tempfile.TemporaryFile("w+") as out:
            self.run("embed", "--plain", *self.settings(*more), stdin=lines, stdout=out)
            out.seek(0)
            return np.array([json.loads(line)["embedding"] for line in out], dtype=np.float32)

    def bench(self, only, *more, quick=True):
        """{case: its JSON}, machine"""
        path = f"{self.folder}/bench.json"
        self.run("bench", *(["--quick"] if quick else []), "--only", only, "--json", path, *self.settings(*more))
        with open(path) as figures:
            read = json.load(figures)
        return {case["name"]: case for case in read["cases"]}, read["machine"]

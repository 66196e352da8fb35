"""The beginning of the real log, and what our replay makes of it."""
import json
import lzma
import os


class Prefix:
    """lines of the log as a file; its slates (dumped examples, not timed) and the folder with our initial weights."""

    def __init__(self, world, lines):
        self.world, self.path = world, f"{world.folder}/log.{lines}.csv"
        with lzma.open(f"{world.data}/online-retail/online_retail.csv.xz", "rt", encoding="utf-8") as whole, open(self.path, "w") as out:
            for number, line in zip(range(lines + 1), whole):
                out.write(line)
                if number == 1:
                    first = line
        self.first = f"{world.folder}/log.first.csv"
        with open(self.path) as log, open(self.first, "w") as out:
            out.write(log.readline() + first)

    def replay(self, *arguments, path=None, settings=()):
        """(seconds, CPU seconds)"""
        world = self.world
        return world.freshet.run("replay", "--quiet", "--schema", "csv", "--map", "deploy/maps/online-retail.ini", "-o", "join.max_positives=8",
                                 *world.freshet.settings(*settings), *arguments, path or self.path)

    def dump(self, name, *settings):
        """The examples of a replay with these settings, and its report."""
        examples, report = f"{self.world.folder}/{name}.jsonl", f"{self.world.folder}/{name}.json"
        self.replay("--dump-examples", examples, "--report", report, settings=settings)
        with open(report) as read:
            return examples, json.load(read)

    def states(self):
        """A folder with the frozen states of all its sentences, as `freshet model warm` makes it."""
        world, folder = self.world, f"{self.world.folder}/states"
        world.freshet.run("model", "warm", "--quiet", "--schema", "csv", "--map", "deploy/maps/online-retail.ini", "--out", folder,
                          *world.freshet.settings(), self.path)
        return folder

    def initial(self):
        """A Hugging Face folder and freshet.safetensors with the weights before the first step."""
        world = self.world
        state, folder = f"{world.folder}/initial.state", f"{world.folder}/initial"
        for old in (state, folder):
            os.system(f"rm -rf '{old}'")
        self.replay("--no-learn", path=self.first, settings=[f"state.dir={state}"])
        world.freshet.run("model", "export", folder, "--state", state, "-o", f"model.base={world.model}")
        return folder


class OurReplay:
    """Examples a second of a replay.  Start-up (a log of one line) is left out.  learning: only what the model adds to a replay that
    parses, counts, samples and evaluates the same slates without asking it (--no-learn): scoring each slate, then learning from it.
    steps: the learning from it alone.  model: scoring and learning alone, in core-seconds."""

    def __init__(self, prefix, examples, settings=()):
        self.prefix, self.examples, self.settings = prefix, examples, settings

    def seconds(self, *arguments, path=None):
        return self.prefix.replay(*arguments, path=path, settings=self.settings)[0]

    def rate(self, less):
        spent = self.seconds() - less
        if spent <= 0:
            raise RuntimeError("not measured: the machine is too busy for a difference of two runs")
        return self.examples / spent

    def whole(self):
        return self.rate(self.seconds(path=self.prefix.first))

    def learning(self):
        return self.rate(self.seconds("--no-learn"))

    def steps(self):
        """Of the steps alone (forward, backward, optimiser), by the report's learn_seconds."""
        return self.examples / self.reported("learn_seconds")

    def model(self):
        return self.examples / self.reported("score_core_seconds", "learn_core_seconds")

    def reported(self, *fields):
        path = f"{self.prefix.world.folder}/reported.json"
        self.seconds("--report", path)
        with open(path) as read:
            report = json.load(read)
        return sum(report[field] for field in fields)

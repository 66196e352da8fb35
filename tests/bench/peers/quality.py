"""Topic quality: seconds and core-seconds to equal GAUC, beside people's code, on a bounded beginning of the real log."""
import json

import numpy as np

from log_prefix import Prefix
from report import Section, Table, spread
from slates import read
from worker import Worker


def auc(label, logit):
    """Of one slate; ties half; None without both labels."""
    up, down = logit[label > 0.5], logit[label <= 0.5]
    if len(up) == 0 or len(down) == 0:
        return None
    apart = up[:, None] - down[None, :]
    return float(((apart > 0) + 0.5 * (apart == 0)).mean())


def gauc_curve(slates, logits):
    """Mean AUC of the slates 1 … n, for each n."""
    values, total, count = [], 0.0, 0
    for slate, z in zip(slates, logits):
        value = auc(slate.label, z)
        if value is not None:
            total, count = total + value, count + 1
        values.append(total / max(count, 1))
    return np.array(values)


def people(world, dump, slates, whole, seconds):
    """(name, answer of progress() or the text of what went wrong)"""
    name = f"PyTorch, people's code, {'whole model' if whole else 'top layer'}"
    try:
        worker = Worker("train_peers:People", world.threads, model=world.model, dump=dump, slates=len(slates), whole=whole)
        answer = worker.call("progress", seconds=seconds)
        return name, answer
    except Exception as problem:
        return name, f"not measured: {problem}"[:160]


def split(slates, flat):
    out, at = [], 0
    for slate in slates:
        out.append(np.array(flat[at:at + len(slate.label)]))
        at += len(slate.label)
    return out


def reached(curve, target, least=20):
    """Slates after which our curve stays at the target or above it; None if it never does."""
    below = np.nonzero(curve[least:] < target)[0]
    first = least + (below[-1] + 1 if len(below) else 0)
    return first + 1 if first < len(curve) else None


def row(name, answer, slates, ours, cost):
    """A peer's row, and its claims.  cost: our (seconds, core-seconds) for one slate."""
    n = answer["slates"]
    theirs = gauc_curve(slates[:n], split(slates[:n], answer["logits"]))[-1]
    cells = [name, f"{n}", f"{sum(len(s.label) for s in slates[:n]):,}", f"{answer['seconds']:.1f}", f"{answer['cpu']:.1f}", f"{theirs:.4f}", f"{ours[n - 1]:.4f}"]
    need = reached(ours, theirs)
    if need is None:
        return [*cells, "not reached"], []
    seconds, cores = need * cost[0], need * cost[1]
    times = answer["seconds"] / seconds, answer["cpu"] / cores
    return ([*cells, f"{need} slates, {seconds:.2f} s, {cores:.2f} core-s"],
            [(f"seconds to the GAUC of {name} after {n} slates", (times[0],) * 3), (f"core-seconds to the same", (times[1],) * 3)])


def run(world):
    lines, seconds = (3000, 15) if world.quick else (12000, 90)
    prefix = Prefix(world, lines)
    dump, report = prefix.dump("quality")
    slates, _ = read(dump)
    ours = gauc_curve(slates, [s.logit for s in slates])
    whole, cpu = prefix.replay()
    start, start_cpu = prefix.replay(path=prefix.first)
    cost = (whole - start) / len(slates), (cpu - start_cpu) / len(slates)
    section = Section("Time to equal quality", f"""Progressive GAUC (each slate scored before it is learnt) on the slates of the log's first {lines:,} lines, cold start. People's code learns them in order for
{seconds} seconds, once; then: how much of the same log ours has to read until its GAUC is, and stays, at least that. Our time is a whole replay's (parsing to evaluation),
spread evenly over its slates. One run, so no spread; small prefixes are noisy (± 0.02).""")
    rows = []
    for whole_model in (False, True):
        name, answer = people(world, dump, slates, whole_model, seconds)
        world.log(f"  {name}: {answer if isinstance(answer, str) else '%d slates' % answer['slates']}")
        if isinstance(answer, str):
            rows.append([name, answer])
            continue
        cells, claims = row(name, answer, slates, ours, cost)
        rows.append(cells)
        section.claims += claims
    rows.append(["freshet, whole replay", f"{len(slates)}", f"{report['examples']:,}", f"{whole - start:.1f}", f"{cpu - start_cpu:.1f}", f"{ours[-1]:.4f}"])
    section.tables.append(Table("Progressive GAUC", ["contender", "slates", "examples", "seconds", "core-seconds", "GAUC", "ours on the same slates", "ours equals it after"], rows))
    return section

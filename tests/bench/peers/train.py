"""Topic train: examples a second learnt, on the slates of the real log, two slates a step, all parts, K = 1."""
from log_prefix import OurReplay, Prefix
from report import Section, Table, spread
from rounds import Figure, alternate, format_value
from worker import Worker

UNIT = "examples/s"
# One loss, so that the logits can be compared: the PyTorch model has no softmax share, and says what it has learnt as it is.
ALIKE = ["train.softmax_share=0", "train.recalibration=false", "train.sampling_correction=false"]


def ours(world, prefix, examples, precision):
    """[(Figure, measure)] of one train precision: the steps alone, what the model adds to a replay, the whole replay.  Frozen states come
    from a file."""
    setting = f"kernels.train_precision={precision}"
    refusal = world.refused(setting)
    states = f"kernels.states_dir={prefix.states()}"
    replay = OurReplay(prefix, examples, ALIKE + [states] + ([setting] if not refusal else []))
    if refusal and precision == "f32":
        refusal = ""  # a binary from before the key
    names = [f"freshet {precision}, {what}" for what in ("steps", "learning", "whole replay")]
    return [(Figure(name, UNIT, error=refusal), measure) for name, measure in zip(names, (replay.steps, replay.learning, replay.whole))]


def ways(world, autocast):
    """Compiling takes most of a minute for each way."""
    if not world.quick:
        return ["eager", "compiled", "compiled, dynamic"]
    return ["eager", "compiled, dynamic"] if autocast else ["eager"]


def best(world, dump, exported, slates, autocast):
    """(Figure, measure, check)"""
    figure, check = Figure(f"PyTorch {'bf16' if autocast else 'f32'}, our model, best effort", UNIT), None
    try:
        worker = Worker("train_peers:Best", world.threads, model=world.model, dump=dump, exported=exported, folder=world.folder, slates=slates,
                        autocast=autocast)
        world.versions.update(worker.facts)
        check = worker.call("check")
        figure.note = worker.call("prepare", ways=ways(world, autocast))["way"]
    except Exception as problem:
        figure.error = f"not measured: {problem}"[:160]
        return figure, None, check
    return figure, lambda: worker.rate(world.seconds), check


def people(world, dump, slates, whole):
    figure = Figure(f"PyTorch f32, people's code, {'whole model' if whole else 'top layer'}", UNIT)
    try:
        worker = Worker("train_peers:People", world.threads, model=world.model, dump=dump, slates=slates, whole=whole)
        worker.rate(0)
    except Exception as problem:
        figure.error = f"not measured: {problem}"[:160]
        return figure, None
    return figure, lambda: worker.rate(0 if world.quick else world.seconds)


def check_note(check):
    if check is None:
        return "The best-effort model could not be checked."
    return (f"Checked before timing (f32, from the weights that `freshet model export` gives): logits of the first 5 steps differ from ours by at most {check['first']:.1g}, of "
            f"{check['steps']} steps by {check['worst']:.1g}; progressive log-loss {check['mine']:.5f}, ours {check['ours']:.5f}.")


def table(figures):
    mine = [f for f in figures if f.name.startswith("freshet") and f.values]
    rows = []
    for f in figures:
        if not f.values:
            rows.append([f.name, f.error])
        else:
            rows.append([f.name + (f" ({f.note})" if f.note else ""), format_value(f.median, UNIT), *(spread(o.ratio_to(f)) if f not in mine else "" for o in mine)])
    return Table("Learning", ["contender", "median", *[f"times faster: {o.name}" for o in mine]], rows)


def claims(figures):
    by = {f.name: f for f in figures if f.values}
    mine = [f for name, f in by.items() if name.startswith("freshet") and "replay" not in name]
    peers = [f for name, f in by.items() if name.startswith("PyTorch")]
    for o in mine:
        for p in peers:
            yield f"train, {o.name} against {p.name}", o.ratio_to(p)


def run(world):
    lines, slates = (12000, 100) if world.quick else (30000, 300)
    world.log(f"train: the slates of the log's first {lines} lines")
    prefix = Prefix(world, lines)
    exact = "kernels.train_precision=f32"  # of the logits that PyTorch's are compared with
    dump, report = prefix.dump("train", *ALIKE, *([] if world.refused(exact) else [exact]))
    section = Section("Learning", f"""The first {lines:,} lines of Online Retail: {report['slates']} slates, {report['examples']:,} examples, 2 slates a step, on all cores. "steps" are
forward, backward and optimiser on these slates, as PyTorch's figures are (the report's `learn_seconds`), all six parts, binary cross-entropy alone. "learning" is what the model adds to our replay of exactly these
slates (a replay minus one with `--no-learn`, which parses, counts and evaluates the same without asking it): scoring every slate when it is shown, then learning from it when it is settled, by other weights; "whole replay"
has parsing, sentences, counters and evaluation in it too, only its start is left out. Frozen states come from a file made beforehand (`freshet model warm`). PyTorch has
less to do: tensors of the first {slates} slates lie ready, frozen states are cached, and one forward pass serves for scoring and learning. "People's code" tokenizes, pads to 128 and trains BertForSequenceClassification with AdamW, whole or from the last layer up.""")
    f32, f32_measure, check = best(world, dump, prefix.initial(), slates, False)
    bf16, bf16_measure, _ = best(world, dump, f"{world.folder}/initial", slates, True)
    precisions = ("bf16",) if world.quick else ("f32", "bf16")
    contenders = [*(pair for precision in precisions for pair in ours(world, prefix, report["examples"], precision)),
                  (f32, f32_measure), (bf16, bf16_measure), people(world, dump, slates, False), people(world, dump, slates, True)]
    figures = alternate(contenders, world.rounds, world.log)
    section.tables.append(table(figures))
    section.notes.append(check_note(check))
    section.claims += claims(figures)
    return section

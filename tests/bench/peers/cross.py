"""Topic cross: what a list of 100 candidates costs: a cross-encoder over 100 pairs, and our joint model."""
import onnx_models_made
from log_prefix import Prefix
from report import Section, Table, spread
from rounds import Figure, alternate, format_value
from sentences import Maker
from site_of_ours import Site
from worker import Worker

PAIRS, ITEM_TOKENS = 100, 10
SERVED, SCORED = "freshet, 100 candidates through HTTP and Redis", "freshet, 100 candidates scored in memory"


def pairs(maker, length):
    """100 (user text, item text) of together exactly `length` tokens, [CLS] and two [SEP] included."""
    items = maker.sentences(PAIRS, ITEM_TOKENS, seed=2)  # 8 tokens of text
    users = maker.sentences(PAIRS, length - ITEM_TOKENS + 1, seed=3)
    return users, items


def our_case(world, case, figure):
    """The case's median, in its unit; figure's note says on how many cores."""
    cases, machine = world.freshet.bench(case)
    world.note_peaks(machine)
    if case not in cases:
        raise RuntimeError(f"this binary's bench has no case {case}")
    if "skipped" in cases[case]:
        raise RuntimeError(cases[case]["skipped"])
    figure.note = f"{cases[case].get('cores', 'one')} core{'s' if cases[case].get('cores') == 'all' else ''}"
    return cases[case]["median"]


def served(world):
    """(Figure, measure, the site to close)"""
    figure = Figure(SERVED, "ms", better="lower")
    try:
        site = Site(world, Prefix(world, 6000), PAIRS)
    except Exception as problem:
        figure.error = f"not measured: {problem}"[:160]
        return figure, None, None
    return figure, lambda: site.median_ms(world.seconds), site


def peer(world, length, precision, maker):
    figure = Figure(f"ONNX Runtime {precision}, 100 pairs of {length} tokens", "ms", better="lower")
    try:
        worker = Worker("cross_peers:Cross", world.threads, model=world.model, path=onnx_models_made.paths(world, "cross")[precision])
        world.versions.update(worker.facts)
        users, items = pairs(maker, length)
        figure.note = "batch {batch}".format(**worker.call("prepare", users=users, items=items, batches=[25, 100] if world.quick else [10, 25, 50, 100]))
    except Exception as problem:
        figure.error = f"not measured: {problem}"[:160]
        return figure, None
    return figure, lambda: 1e3 / worker.rate(world.seconds)


def table(figures):
    ours = [f for f in figures if f.name.startswith("freshet") and f.values]
    rows = []
    for f in figures:
        if not f.values:
            rows.append([f.name, f.error])
            continue
        ratios = [spread(o.ratio_to(f)) if f not in ours else "" for o in ours]
        rows.append([f.name + (f" ({f.note})" if f.note else ""), format_value(f.median, "ms"), *ratios])
    return Table("One list of 100", ["contender", "median", *[f"times faster: {o.name}" for o in ours]], rows)


def claims(figures):
    by = {f.name: f for f in figures if f.values}
    for ours in (SERVED, SCORED):
        for length in (32, 128):
            it = by.get(f"ONNX Runtime int8, 100 pairs of {length} tokens")
            if ours in by and it:
                yield f"{ours} against ONNX Runtime int8 cross-encoder, pairs of {length} tokens", by[ours].ratio_to(it)


def run(world):
    section = Section("Re-ranking 100 candidates", """A user who re-ranks with a cross-encoder runs user text and item text together through all layers, 100 times; here tokenizing included, nothing padded. Ours, all
parts: through HTTP and Redis, the whole way (request, Redis, scoring, JSON; a model learnt from the real log, its items and users, warm, one kept connection); and in
memory (`freshet bench`, synthetic shop). Both answer the same question, not with the same network: the peer's is the same encoder with a
classification head. One request at a time; milliseconds are a round's median.""")
    maker = Maker(world.data, world.model)
    figure, measure, site = served(world)
    scored = Figure(SCORED, "ms", better="lower")
    contenders = [(figure, measure), (scored, lambda: our_case(world, "score.100", scored))]
    contenders += [peer(world, length, precision, maker) for length in (32, 128) for precision in ("f32", "int8")]
    world.log("cross: 100 pairs")
    figures = alternate(contenders, world.rounds, world.log)
    if site:
        site.close()
    section.tables.append(table(figures))
    section.claims += claims(figures)
    return section

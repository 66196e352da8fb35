"""Other learners on exactly the dumped examples: each returns a score for every example, made before that example's day or order was
learnt from.  All features: the numeric ones, co-occurrence, popularity, repeat and frozen cosine."""
import csv
import lzma
import math
import re
from collections import Counter, defaultdict

import numpy as np


def features(examples):
    extra = np.stack([np.log1p(examples.popularity), np.log1p(examples.repeat), examples.cosine], 1)
    return np.concatenate([examples.numeric, extra], 1).astype(np.float32)


def daily(examples, fit, first_day, every=1):
    """Scores by models retrained after every `every` days on all examples before; 0 before first_day, and while there are none."""
    score, x = np.zeros(len(examples), np.float32), features(examples)
    last = int(examples.day.max())
    for day in range(first_day, last + 1, every):
        train, test = examples.day < day, (examples.day >= day) & (examples.day < day + every)
        if test.any() and 0 < examples.label[train].sum() < train.sum():
            score[test] = fit(x[train], examples.label[train])(x[test])
    return score


def lightgbm_daily(examples, first_day, every=1):
    import lightgbm

    settings = {"objective": "binary", "num_leaves": 31, "learning_rate": 0.1, "min_data_in_leaf": 50, "verbosity": -1, "deterministic": True, "seed": 1}

    def fit(x, y):
        model = lightgbm.train(settings, lightgbm.Dataset(x, y, free_raw_data=True), num_boost_round=100)
        return lambda other: model.predict(other, raw_score=True)

    return daily(examples, fit, first_day, every)


def logistic_daily(examples, first_day, every=1):
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    warm = {}

    def fit(x, y):
        scale = StandardScaler().fit(x)
        model = LogisticRegression(C=1.0, max_iter=30, warm_start=True)
        if "model" in warm:
            model = warm["model"]
        model.fit(np.clip(scale.transform(x), -5, 5), y)
        warm["model"] = model
        return lambda other: model.decision_function(np.clip(scale.transform(other), -5, 5))

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return daily(examples, fit, first_day, every)


def vowpal_line(examples, x, i):
    """Example i in VW's text: its numeric features, its user, item and words, and the user crossed with both."""
    numbers = " ".join(f"{k}:{v:.5g}" for k, v in enumerate(x[i]) if v)
    user, item = examples.user[i], examples.item[i]
    words = re.findall(r"\w+", examples.words[i])[:24]
    crosses = [f"u{user}", f"i{item}", f"u{user}i{item}", *(f"w{w}" for w in words), *(f"u{user}w{w}" for w in words)]
    return f"{1 if examples.label[i] else -1} |n {numbers} |h {' '.join(crosses)}"


def vowpal(examples):
    """One online pass over numeric features and hashed crosses.  Every slate is scored whole before any of it is learnt, as for everybody:
    positives of an order share words, so who learns its first lines before scoring the next is told what else was bought."""
    import vowpalwabbit

    model = vowpalwabbit.Workspace("--loss_function logistic -b 22 --quiet")
    x, score = features(examples), np.empty(len(examples), np.float32)
    edges = [0, *(np.flatnonzero(np.diff(examples.slate)) + 1), len(examples)]
    for a, b in zip(edges, edges[1:]):
        parsed = [model.parse(vowpal_line(examples, x, i)) for i in range(a, b)]
        score[a:b] = [model.predict(example) for example in parsed]
        for example in parsed:
            model.learn(example)
            model.finish_example(example)
    model.finish()
    return score


def orders(log):
    """(invoice, customer, distinct items) in the log's order, by the protocol's rules; an invoice is one order even if its lines are apart."""
    out, last = {}, None
    with lzma.open(log, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            item, invoice = row["StockCode"].strip().upper(), row["InvoiceNo"].strip()
            if not re.fullmatch(r"[0-9]{5}[A-Za-z]{0,2}", item) or invoice.startswith("C"):
                continue
            if float(row["Quantity"]) <= 0 or float(row["UnitPrice"]) <= 0:
                continue
            last = out.setdefault(invoice, (row["CustomerID"].strip().removesuffix(".0"), {}))
            last[1][item] = True
    return [(invoice, customer, list(items)) for invoice, (customer, items) in out.items()]


def item_knn(examples, log, recent=20, longest=150):
    """Mean over the customer's last items of c_ij / sqrt(n_i n_j), counted over whole orders before the one scored."""
    rows = defaultdict(list)
    for i, request in enumerate(examples.request):
        rows[request].append(i)
    score = np.zeros(len(examples), np.float32)
    near, seen, history = defaultdict(Counter), Counter(), defaultdict(list)
    for invoice, customer, items in orders(log):
        last = history[customer][-recent:] if customer else []
        for i in rows.get(invoice, ()):
            item = examples.item_id[i]
            pairs = [near[item][j] / math.sqrt(seen[item] * seen[j]) for j in last if j != item and near[item][j]]
            score[i] = sum(pairs) / max(len(last), 1)
        if len(items) <= longest:
            for a in items:
                for b in items:
                    if a != b:
                        near[a][b] += 1
        seen.update(items)
        if customer:
            history[customer] += items
    return score

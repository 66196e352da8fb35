"""Figures over slates: GAUC, paired differences with an interval, calibration by slice."""
import numpy as np

WARMUP, LATE, DRAWS = 62, 190, 1000


class Slates:
    """Rows of each slate of some examples; only those with both labels and of counted days."""

    def __init__(self, examples, first_day=WARMUP):
        edge = np.flatnonzero(np.diff(examples.slate)) + 1
        bounds = np.concatenate(([0], edge, [len(examples)]))
        self.rows = []
        for a, b in zip(bounds, bounds[1:]):
            positives = examples.label[a:b].sum()
            if b > a and examples.day[a] >= first_day and 0 < positives < b - a:
                self.rows.append((a, b))
        self.user = np.array([examples.user[a] for a, _ in self.rows])
        self.late = np.array([examples.day[a] >= LATE for a, _ in self.rows])
        self.label = examples.label

    def auc(self, score):
        """AUC of every slate, ties half."""
        out = np.empty(len(self.rows))
        for at, (a, b) in enumerate(self.rows):
            y, z = self.label[a:b] > 0, score[a:b]
            apart = z[y][:, None] - z[~y][None, :]
            out[at] = (apart > 0).mean() + 0.5 * (apart == 0).mean()
        return out


def bootstrap(values, user, seed=1, draws=DRAWS):
    """(mean, low, high): 95 % by resampling users with all their slates; values (slates) or differences of them."""
    _, group = np.unique(user, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    rng = np.random.default_rng(seed)
    n = len(sums)
    means = np.empty(draws)
    for i in range(draws):
        weight = np.bincount(rng.integers(0, n, n), minlength=n)
        means[i] = (weight @ sums) / (weight @ counts)
    return (values.mean(), *np.quantile(means, (0.025, 0.975)))


def show(interval, digits=4):
    return "{:.{d}f} ({:.{d}f} – {:.{d}f})".format(*interval, d=digits)


def show_difference(interval, digits=4):
    return "{:+.{d}f} ({:+.{d}f} – {:+.{d}f})".format(*interval, d=digits)


def calibration(examples, probability, mask):
    """(predicted over observed, log-loss, examples) where mask."""
    y, p = examples.label[mask], np.clip(probability[mask], 1e-7, 1 - 1e-7)
    if not y.sum():
        return float("nan"), float("nan"), int(mask.sum())
    loss = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    return p.sum() / y.sum(), loss, int(mask.sum())


def sigmoid(z):
    return 1 / (1 + np.exp(-np.clip(z, -30, 30)))

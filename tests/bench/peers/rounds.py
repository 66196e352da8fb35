"""Contenders measured in alternating rounds: each once, one after the other, then each again.

A machine that slows down for a while slows all of a round, so what counts is the ratio inside a round; it is given as the
median over the rounds with the least and the greatest.
"""
import statistics


class Figure:
    """What one contender reached: a value a round (a rate, or milliseconds), or why there is none."""

    def __init__(self, name, unit, better="higher", note="", error=""):
        self.name, self.unit, self.better, self.note, self.error = name, unit, better, note, error
        self.values, self.facts = [], {}

    @property
    def median(self):
        return statistics.median(self.values)

    def ratio_to(self, other):
        """(median, least, greatest) of how many times better self is than other, round by round."""
        pairs = list(zip(self.values, other.values))
        ratios = [a / b if self.better == "higher" else b / a for a, b in pairs]
        return statistics.median(ratios), min(ratios), max(ratios)


def alternate(contenders, rounds, log):
    """contenders: [(Figure, measure)]; measure() returns the round's value.  One that fails keeps its error and is left out."""
    for number in range(rounds):
        for figure, measure in contenders:
            if figure.error:
                continue
            try:
                figure.values.append(measure())
            except Exception as problem:  # whatever a peer throws is its row's text
                figure.error = short(problem)
            log(f"  round {number + 1}/{rounds}  {figure.name:34} {figure.error or format_value(figure.values[-1], figure.unit)}")
    return [figure for figure, _ in contenders]


def short(problem):
    return (" ".join(str(problem).split()) or type(problem).__name__)[:160]


def format_value(value, unit):
    digits = 0 if value >= 1000 else 1 if value >= 10 else 3
    return f"{value:,.{digits}f} {unit}"

"""The log with titles permuted among items: every item keeps one title, another's, all through the log."""
import csv
import lzma
import random


def permute(log, out, seed=1):
    titles = {}
    with lzma.open(log, "rt", encoding="utf-8") as text:
        for row in csv.DictReader(text):
            titles.setdefault(row["StockCode"].strip().upper(), row["Description"])
    items = sorted(titles)
    others = items[:]
    random.Random(seed).shuffle(others)
    given = {item: titles[other] for item, other in zip(items, others)}
    with lzma.open(log, "rt", encoding="utf-8") as text, open(out, "w", encoding="utf-8", newline="") as to:
        rows = csv.DictReader(text)
        writer = csv.DictWriter(to, rows.fieldnames)
        writer.writeheader()
        for row in rows:
            row["Description"] = given[row["StockCode"].strip().upper()]
            writer.writerow(row)
    return out

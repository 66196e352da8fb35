"""Sentences of an exact number of tokens, from real item titles put one after the other."""
import csv
import lzma
import random


def titles(data):
    """Distinct titles of the log, in order of appearance."""
    with lzma.open(f"{data}/online-retail/online_retail.csv.xz", "rt", encoding="utf-8") as log:
        rows = csv.DictReader(log)
        seen = {}
        for row in rows:
            seen.setdefault(row["Description"].strip().lower())
            if len(seen) >= 2500:
                break
    return [title for title in seen if title.isascii() and len(title) > 4]


class Maker:
    def __init__(self, data, model):
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.words = [title.split() for title in titles(data)]

    def tokens(self, text):
        """[CLS] and [SEP] included"""
        return len(self.tokenizer.encode(text).ids)

    def one(self, rand, length):
        """Words of random titles until the next one would overshoot; then any word that fits."""
        words, have = [], 2
        while have < length:
            for word in rand.choice(self.words):
                size = len(self.tokenizer.encode(word, add_special_tokens=False).ids)
                if have + size <= length:
                    words.append(word)
                    have += size
        return " ".join(words)

    def sentences(self, count, length, seed=1):
        rand, out = random.Random(seed * 1000 + length), []
        while len(out) < count:
            text = self.one(rand, length)
            if self.tokens(text) == length:
                out.append(text)
        return out

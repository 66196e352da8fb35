"""The slates that `freshet replay --dump-examples` wrote, as arrays: the model's input as it was, in the order learnt.

A sentence is an index into `sentences`; its frozen states are made by frozen_states() with transformers.  Everything that
does not depend on a weight is computed here, before any clock runs.
"""
import json
import math
import re

import numpy as np

EVENTS, AGES, RECENT, WORDS, HASHED = 20, 16, 8, 24, 1 << 22
FAMILIES = ("item", "user", "user item", "recent item", "word", "user word")  # of hashed features


class Slate:
    """K candidates: label, logit (ours, when it was scored), sentence, numeric (K, F), cooccur (K, 2), item; E events: sentence, age, type, item."""

    def __init__(self, examples, sentence_index):
        first = examples[0]
        self.user, self.examples = first["user"], examples
        self.label = np.array([e["label"] for e in examples], np.float32)
        self.logit = np.array([e["logit"] for e in examples], np.float32)
        self.sentence = np.array([sentence_index(e["sentence"]) for e in examples])
        self.item = [e["item_hash"] for e in examples]
        self.numeric = np.array([list(e["numeric"].values()) for e in examples], np.float32)
        self.cooccur = np.array([e["cooccur"] for e in examples], np.float32)
        self.event_sentence = np.array([sentence_index(s) for s in first["history"]], np.int64)
        self.event_item = first["history_hash"]
        self.event_type = np.array(first["history_type"], np.int64)
        self.event_age = np.array([age_bucket(m) for m in first["history_minutes"]], np.int64)
        self.self_event = np.array([[a == b for b in self.event_item] for a in self.item], bool).reshape(len(self.item), -1)


def age_bucket(minutes):
    return min(AGES - 1, int(math.log2(1 + minutes) / 1.5)) if minutes > 0 else 0


def read(path, most=None):
    """[Slate], [sentence]"""
    index, groups, last = {}, [], None
    with open(path) as lines:
        for line in lines:
            example = json.loads(line)
            if example["slate"] != last:
                if most and len(groups) == most:
                    break
                groups.append([])
                last = example["slate"]
            groups[-1].append(example)
    slates = [Slate(group, lambda text: index.setdefault(text, len(index))) for group in groups]
    return slates, list(index)


def hashed(slate, tokens):
    """Features of part `hashed` (featurize/feat_hashed.c) as this log has them: [(row, key, value)]."""
    out = []
    for row, item in enumerate(slate.item):
        words = tokens[slate.sentence[row]][1:-1][:WORDS]
        recent = slate.event_item[:RECENT]
        out += [(row, ("item", item), 1.0), (row, ("user", slate.user), 1.0), (row, ("user item", slate.user, item), 1.0)]
        out += [(row, ("recent item", other, item), 1 / math.sqrt(len(recent))) for other in recent]
        for word in words:
            out += [(row, ("word", word), 1 / math.sqrt(len(words))), (row, ("user word", slate.user, word), 1 / math.sqrt(len(words)))]
    return out


class Standardiser:
    """Running mean and deviation of part `numeric` (model/part_numeric.c): those known before a step, clipped at 5."""

    def __init__(self, count):
        self.n, self.mean, self.m2 = 0, np.zeros(count), np.zeros(count)

    def apply(self, raw):
        scale = 1 / np.maximum(np.sqrt(self.m2 / self.n), 1e-3) if self.n else np.zeros_like(self.mean)
        return np.clip((raw - self.mean.astype(np.float32)) * scale.astype(np.float32), -5, 5).astype(np.float32)

    def learn(self, raw):
        n, mean = len(raw), raw.astype(np.float64).mean(0)
        apart = mean - self.mean
        self.m2 += ((raw - mean) ** 2).sum(0) + apart**2 * self.n * n / (self.n + n)
        self.mean += apart * n / (self.n + n)
        self.n += n


def probe():
    """Sentences (ids) on which the mean token norm of a layer is measured."""
    with open("model/encoder_probe.inc") as source:
        numbers = [int(x) for x in re.findall(r"\d+", source.read().split("*/")[1])]
    while numbers:
        yield numbers[1:1 + numbers[0]]
        numbers = numbers[1 + numbers[0]:]


def frozen_states(model, sentences, trainable_layers=1):
    """tokens, pooled (n, C), final (n, C): mean after layer L-K at that layer's mean token norm, and the sentence vector, bf16."""
    import torch
    from transformers import AutoTokenizer, BertModel

    bert, tokenizer = BertModel.from_pretrained(model).eval(), AutoTokenizer.from_pretrained(model)
    middle = bert.config.num_hidden_layers - trainable_layers
    tokens = tokenizer(sentences, truncation=True, max_length=48)["input_ids"]

    def states(ids):
        with torch.inference_mode():
            hidden = bert(torch.tensor(ids), output_hidden_states=True).hidden_states
        return hidden[middle], hidden[-1]

    norms = torch.cat([states([ids])[0][0].norm(dim=-1) for ids in probe()])
    pooled, final = torch.empty(len(tokens), bert.config.hidden_size), torch.empty(len(tokens), bert.config.hidden_size)
    by_length = {}
    for at, ids in enumerate(tokens):
        by_length.setdefault(len(ids), []).append(at)
    for places in by_length.values():
        for some in (places[i:i + 64] for i in range(0, len(places), 64)):
            mid, last = (x.mean(1) for x in states([tokens[at] for at in some]))
            pooled[some] = torch.nn.functional.normalize(mid, dim=1) * norms.mean()
            final[some] = torch.nn.functional.normalize(last, dim=1)
    return tokens, pooled.bfloat16().float(), final.bfloat16().float()

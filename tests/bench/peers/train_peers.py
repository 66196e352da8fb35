"""Workers that learn from the dumped slates, two a step."""
import itertools
import os
import time

import torch

from joint import Trainer, load_exported, make_steps
from slates import frozen_states, read


def cached_states(model, sentences, folder):
    """Frozen states are made once a run folder and log; no clock runs over them."""
    path = f"{folder}/states.pt"
    if os.path.exists(path):
        saved = torch.load(path)
        if saved["sentences"] == sentences:
            return saved["states"]
    states = frozen_states(model, sentences)
    torch.save({"sentences": sentences, "states": states}, path)
    return states


class Best:
    """Our exact model, as PyTorch does it best: whichever of eager and compiled (fixed or dynamic shapes) is fastest."""

    def __init__(self, model, threads, dump, exported, folder, slates, autocast):
        torch.set_num_threads(threads)
        some, sentences = read(dump, slates)
        self.steps = make_steps(some, cached_states(model, sentences, folder))
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model)
        self.new = lambda **how: Trainer(load_exported(exported, config.num_hidden_layers - 1), config.num_attention_heads, autocast=autocast, **how)
        self.facts = {"torch": torch.__version__}

    def check(self):
        """f32, eager, from our initial weights: how far its logits before each step are from ours, and both log-losses."""
        trainer, worst, mine, ours, examples = self.new(), [], 0.0, 0.0, 0
        trainer.autocast = False
        for step in self.steps:
            n, z = step.examples, trainer.learn(step)[:step.examples]
            label, logits = step.label[:n], torch.from_numpy(step.logits)
            worst.append(float((z - logits).abs().max()))
            mine += float(torch.nn.functional.binary_cross_entropy_with_logits(z, label, reduction="sum"))
            ours += float(torch.nn.functional.binary_cross_entropy_with_logits(logits, label, reduction="sum"))
            examples += n
        return {"first": max(worst[:5]), "worst": max(worst), "steps": len(worst), "mine": mine / examples, "ours": ours / examples}

    def prepare(self, ways):
        """ways: names of those tried; the fastest stays."""
        speed = {}
        for way in ways:
            how = {"eager": {}, "compiled": {"compiled": True}, "compiled, dynamic": {"compiled": True, "dynamic": True}}[way]
            try:
                trainer = self.new(**how)
                for step in self.steps[:40]:  # all shapes
                    trainer.learn(step)
                start = time.perf_counter()
                for step in self.steps[:40]:
                    trainer.learn(step)
                speed[way] = 1 / (time.perf_counter() - start), trainer
            except Exception as problem:
                speed[way] = 0.0, str(problem)
        way = max(speed, key=lambda name: speed[name][0])
        self.trainer, self.turn = speed[way][1], itertools.cycle(self.steps)
        if isinstance(self.trainer, str):
            raise RuntimeError(self.trainer)
        return {"way": way}

    def step(self):
        step = next(self.turn)
        self.trainer.learn(step)
        return step.examples


class People:
    """As people write it: BertForSequenceClassification over [user text ; item text], padded to 128, AdamW, dropout as it comes."""

    def __init__(self, model, threads, dump, slates, whole):
        from transformers import AutoTokenizer, BertForSequenceClassification

        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.slates, self.at = read(dump, slates)[0], 0
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = BertForSequenceClassification.from_pretrained(model, num_labels=1).train()
        for name, p in self.model.named_parameters():
            top = f"encoder.layer.{self.model.config.num_hidden_layers - 1}." in name or "pooler" in name or "classifier" in name
            p.requires_grad = whole or top
        self.optimizer = torch.optim.AdamW((p for p in self.model.parameters() if p.requires_grad), lr=5e-5)
        self.facts = {"torch": torch.__version__}

    def learn(self, pair):
        examples = [e for slate in pair for e in slate.examples]
        batch = self.tokenizer([". ".join(e["history"]) for e in examples], [e["sentence"] for e in examples], padding="max_length",
                               truncation="only_first", max_length=128, return_tensors="pt")
        labels = torch.tensor([float(e["label"]) for e in examples])
        logits = self.model(**batch).logits[:, 0]
        self.optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(logits, labels).backward()
        self.optimizer.step()
        return logits.detach()

    def step(self):
        pair = self.slates[self.at:self.at + 2]
        self.at = (self.at + 2) % (len(self.slates) - 1)
        self.learn(pair)
        return sum(len(s.label) for s in pair)

    def progress(self, seconds):
        """From the start, in order, for so long: logits before each step (those of the training forward), seconds, CPU seconds."""
        logits, count, start, cpu = [], 0, time.perf_counter(), time.process_time()
        for at in range(0, len(self.slates) - 1, 2):
            logits += self.learn(self.slates[at:at + 2]).tolist()
            count = at + 2
            if time.perf_counter() - start > seconds:
                break
        return {"slates": count, "logits": logits, "seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu}

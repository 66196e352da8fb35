"""Workers that turn texts into sentence vectors: text in, unit vectors out, tokenizing included (as freshet embed does).

All sentences of a run have one length, so nothing is padded for anybody.  Each contender takes the batch size that it is
fastest with, found while it warms up.
"""
import time

import numpy as np


class Embedder:
    """What they share; a contender gives encode(texts) → (n, C) array."""

    def prepare(self, texts, batches, warm_seconds=0.3):
        self.texts, self.at = texts, 0
        speed = {}
        for batch in batches:
            self.batch = min(batch, len(texts))
            self.step()  # compiles, allocates
            start, units = time.perf_counter(), 0
            while time.perf_counter() - start < warm_seconds:
                units += self.step()
            speed[self.batch] = units / (time.perf_counter() - start)
        self.batch = max(speed, key=speed.get)
        self.at = 0
        return {"batch": self.batch}

    def step(self):
        some = self.texts[self.at:self.at + self.batch]
        self.at = (self.at + self.batch) % len(self.texts)
        self.encode(some)
        return len(some)

    def vectors(self, path, count):
        """Of the first sentences, and again from the start if there are fewer; in batches as timed (another size is compiled anew)."""
        out = []
        while len(out) < count:
            at = len(out) % len(self.texts)
            out.extend(np.asarray(self.encode(self.texts[at:at + self.batch]), dtype=np.float32))
        np.save(path, np.array(out[:count]))
        return path


class Torch(Embedder):
    def __init__(self, model, threads, precision="f32", compiled=False):
        import torch
        from transformers import AutoTokenizer

        from onnx_models import Mean
        from transformers import BertModel

        torch.set_num_threads(threads)
        self.torch = torch
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.model = Mean(BertModel.from_pretrained(model)).eval()
        if precision == "bf16":
            self.model = self.model.bfloat16()
        self.run = torch.compile(self.model, dynamic=False) if compiled else self.model
        self.facts = {"torch": torch.__version__}

    def encode(self, texts):
        with self.torch.inference_mode():
            return self.run(**self.tokenizer(texts, padding=True, return_tensors="pt")).float().numpy()


class SentenceTransformers(Embedder):
    def __init__(self, model, threads):
        import torch
        from sentence_transformers import SentenceTransformer, __version__

        torch.set_num_threads(threads)
        self.model = SentenceTransformer(model, device="cpu")
        self.facts = {"sentence-transformers": __version__}

    def encode(self, texts):
        return self.model.encode(texts, batch_size=len(texts), normalize_embeddings=True, show_progress_bar=False)


class Onnx(Embedder):
    def __init__(self, model, threads, path):
        import onnxruntime
        from transformers import AutoTokenizer

        from onnx_session import Session

        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.session = Session(path, threads)
        self.facts = {"onnxruntime": onnxruntime.__version__}

    def encode(self, texts):
        return self.session(self.tokenizer(texts, padding=True, return_tensors="np"))

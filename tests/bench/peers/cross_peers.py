"""Worker: a cross-encoder (the same encoder with a classification head) that scores pairs of texts, tokenizing included."""
import time


class Cross:
    def __init__(self, model, threads, path):
        import onnxruntime
        from transformers import AutoTokenizer

        from onnx_session import Session

        self.tokenizer, self.session = AutoTokenizer.from_pretrained(model), Session(path, threads)
        self.facts = {"onnxruntime": onnxruntime.__version__}

    def prepare(self, users, items, batches):
        """One request scores every item for one user; at the batch size that is fastest."""
        self.users, self.items = users, items
        seconds = {}
        for self.batch in batches:
            self.step()
            start = time.perf_counter()
            self.step()
            seconds[self.batch] = time.perf_counter() - start
        self.batch = min(seconds, key=seconds.get)
        return {"batch": self.batch}

    def step(self):
        for at in range(0, len(self.items), self.batch):
            encoded = self.tokenizer(self.users[at:at + self.batch], self.items[at:at + self.batch], padding=True, return_tensors="np")
            self.session(encoded)
        return 1

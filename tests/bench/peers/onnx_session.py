"""ONNX Runtime with a thread pool of its own; apart from onnx_models.py, so that its process needs no torch."""
import onnxruntime


class Session:
    """One ONNX model with its inputs made by transformers' tokenizer."""

    def __init__(self, path, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def __call__(self, encoded):
        return self.session.run(None, {name: encoded[name] for name in ("input_ids", "attention_mask", "token_type_ids")})[0]

"""The same weights as ONNX models: f32 as ONNX Runtime's own optimiser leaves it, and int8 quantised from that.

Chosen by trial, for speed and accuracy: the TorchScript exporter and eager attention (the dynamo exporter's graph is not
fused to Attention nodes and is slower), weights per channel (per tensor is slower and loses accuracy).
"""
import os

import torch


class Mean(torch.nn.Module):
    """Sentence vectors: mean of tokens under the mask, unit length."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, input_ids, attention_mask, token_type_ids):
        states = self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        return torch.nn.functional.normalize((states * weights).sum(1) / weights.sum(1), dim=1)


class Logits(Mean):
    def forward(self, input_ids, attention_mask, token_type_ids):
        return self.bert(input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).logits


def load(model, kind):
    from transformers import BertForSequenceClassification, BertModel

    if kind == "embed":
        return Mean(BertModel.from_pretrained(model, attn_implementation="eager")).eval()
    torch.manual_seed(1)  # the head is new
    return Logits(BertForSequenceClassification.from_pretrained(model, num_labels=1, attn_implementation="eager")).eval()


def export(model, kind, path):
    names = ["input_ids", "attention_mask", "token_type_ids"]
    ids = torch.randint(1000, 2000, (2, 32))
    torch.onnx.export(load(model, kind), (ids, torch.ones_like(ids), torch.zeros_like(ids)), path, dynamo=False, opset_version=17,
                      input_names=names, output_names=["out"], dynamic_axes={name: {0: "batch", 1: "length"} for name in names})


def fuse(model, path, out):
    from onnxruntime.transformers import optimizer
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model)
    optimizer.optimize_model(path, model_type="bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size,
                             opt_level=1).save_model_to_file(out)


def quantise(path, out):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(path, out, weight_type=QuantType.QInt8, per_channel=True,
                     extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT})


def prepare(model, kind, folder):
    """Paths {"f32": …, "int8": …}; kind: embed or cross.  Made once."""
    made = {precision: f"{folder}/{kind}.{precision}.onnx" for precision in ("f32", "int8")}
    if not all(os.path.exists(path) for path in made.values()):
        export(model, kind, f"{folder}/{kind}.onnx")
        fuse(model, f"{folder}/{kind}.onnx", made["f32"])
        quantise(made["f32"], made["int8"])
    return made


if __name__ == "__main__":
    import sys

    prepare(*sys.argv[1:])
